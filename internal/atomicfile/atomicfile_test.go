package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var errCrash = errors.New("crash")

func names(t *testing.T, dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestAFileIsReplacedAndIsItsOwnersAlone(t *testing.T) {
	f := &Folder{Dir: t.TempDir()}
	path := filepath.Join(f.Dir, "a")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	require.NoError(t, f.Replace("a", []byte("new")))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new", string(text))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.Equal(t, []string{"a"}, names(t, f.Dir))
}

func TestWhateverStepFailsTheFileIsOldOrNew(t *testing.T) {
	steps := []string{"create", "write", "sync", "rename", "sync folder"}
	var seen []string
	for _, at := range steps {
		f := &Folder{Dir: t.TempDir()}
		require.NoError(t, f.Replace("a", []byte("old")))
		f.Fault = func(step string) error {
			seen = append(seen, step)
			if step == at {
				return errCrash
			}
			return nil
		}
		require.ErrorIs(t, f.Replace("a", []byte("new")), errCrash, at)
		text, err := os.ReadFile(filepath.Join(f.Dir, "a"))
		require.NoError(t, err)
		require.Equal(t, map[bool]string{true: "new", false: "old"}[at == "sync folder"], string(text), at)
		require.Equal(t, []string{"a"}, names(t, f.Dir), at)
	}
	require.Equal(t, steps, seen[len(seen)-len(steps):], "in that order")
}

func TestTidyRemovesTheDraftsOfOneFileOnly(t *testing.T) {
	f := &Folder{Dir: t.TempDir()}
	for range 2 {
		_, err := f.Draft("a", []byte("text"))
		require.NoError(t, err)
	}
	keep := []string{".a..draft", ".a.1x.draft", ".a.b.1.draft", ".a.draft", ".a.draft.txt", ".ab.1.draft", "a", "a.draft-notes", "b.a.1.draft"}
	for _, name := range keep {
		require.NoError(t, os.WriteFile(filepath.Join(f.Dir, name), nil, 0o600))
	}
	require.NoError(t, f.Tidy("a"))
	require.Equal(t, keep, names(t, f.Dir))
	require.Error(t, (&Folder{Dir: filepath.Join(f.Dir, "none")}).Tidy("a"))
	require.Error(t, (&Folder{Dir: filepath.Join(f.Dir, "none")}).Replace("a", nil))
}
