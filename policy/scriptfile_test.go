package policy_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

// A store in one file, which people may edit.
func ExampleNewScriptFile() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "policy")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "policy.script")
	store, err := policy.Open(ctx, policy.PlainConfig(), policy.NewScriptFile(name, "set 'READER' path 'news' permissions [read]\n"))
	if err != nil {
		log.Fatal(err)
	}
	err = store.Update(ctx, policy.Root(), func(tx *policy.Tx) error { return tx.AssignRoles("ann", "READER") })
	if err != nil {
		log.Fatal(err)
	}
	text, _ := os.ReadFile(name)
	fmt.Print(string(text))

	edited := strings.Replace(string(text), "[read]", "[read rite]", 1)
	_ = os.WriteFile(name, []byte(edited), 0o600)
	err = store.Refresh(ctx)
	fmt.Println(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""))
	// Output:
	// # policy revision 2
	// set roles for anonymous sessions []
	// set roles for named sessions []
	// set 'READER' path 'news' permissions [read]
	// assign roles 'ann' ['READER']
	// policy: damaged: revision 3 in policy.script: line 4, column 1: policy: unknown-permission: path permission "rite": want one of admin, read, write
}

// scriptFile is the file of a store.
type scriptFile struct {
	*testing.T
	name string
}

func newScriptFile(t *testing.T, text string) *scriptFile {
	f := &scriptFile{t, filepath.Join(t.TempDir(), "policy.script")}
	if text != "" {
		f.write(text)
	}
	return f
}

func (f *scriptFile) write(text string) {
	f.Helper()
	require.NoError(f, os.WriteFile(f.name, []byte(text), 0o644))
}

func (f *scriptFile) text() string {
	f.Helper()
	text, err := os.ReadFile(f.name)
	require.NoError(f, err)
	return string(text)
}

func (f *scriptFile) open() *policy.Store {
	f.Helper()
	s, err := f.try("")
	require.NoError(f, err)
	return s
}

func (f *scriptFile) try(initial string) (*policy.Store, error) {
	return policy.Open(f.Context(), policy.DiffusionConfig(), policy.NewScriptFile(f.name, initial))
}

func TestScriptFilesThatAreMissing(t *testing.T) {
	t.Run("are written with the initial script", func(t *testing.T) {
		f := newScriptFile(t, "")
		s, err := f.try(policy.Predefined())
		require.NoError(t, err)
		require.Equal(t, uint64(1), s.Version())
		require.Equal(t, "# policy revision 1\n"+policy.Predefined(), f.text())
		info, err := os.Stat(f.name)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
		require.Equal(t, s.Snapshot().Script(), f.open().Snapshot().Script())
	})
	t.Run("are not written with one that fails", func(t *testing.T) {
		f := newScriptFile(t, "")
		_, err := f.try("isolate path 'a'\nisolate path '/'")
		require.ErrorIs(t, err, policy.Damaged)
		require.ErrorContains(t, err, "the initial script of "+f.name+": line 2, column 1: policy: invalid-path")
		require.NoFileExists(t, f.name)
	})
	t.Run("are not written without one", func(t *testing.T) {
		f := newScriptFile(t, "")
		s := f.open()
		require.NoFileExists(t, f.name)
		require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("a")))
		require.Contains(t, f.text(), "isolate path 'a'")
	})
	t.Run("are of one of those who begin at once", func(t *testing.T) {
		f := newScriptFile(t, "")
		var wg sync.WaitGroup
		stores := make([]*policy.Store, 8)
		for i := range stores {
			wg.Go(func() {
				s, err := f.try(fmt.Sprintf("isolate path 'p%d'", i%2))
				if err != nil {
					t.Error(err)
				}
				stores[i] = s
			})
		}
		wg.Wait()
		for _, s := range stores {
			require.NoError(t, s.Refresh(t.Context()))
			require.Equal(t, f.open().Snapshot().Script(), s.Snapshot().Script())
		}
	})
	t.Run("and have no folder are an error", func(t *testing.T) {
		f := newScriptFile(t, "")
		f.name = filepath.Join(filepath.Dir(f.name), "none", "policy.script")
		_, err := f.try(policy.Predefined())
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

func TestScriptFilesAreLoadedWhateverIsLocked(t *testing.T) {
	f := newScriptFile(t, "set role 'R' locked by principal 'ann'\nset 'R' path 'a' permissions [READ_TOPIC] \r\n\n# why\nassign roles 'ann' ['R']\n")
	s := f.open().Snapshot()
	require.Equal(t, []string{"READ_TOPIC"}, s.PathPermissions(s.Session("ann"), "a/b"))
}

func TestScriptFilesThatAreWrong(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no command", "isolate path 'a'\nisolate bath 'b'", "line 2, column 9: policy: syntax: script \"bath\": want path"},
		{"a string without an end", "isolate path 'a", "line 1, column 14"},
		{"a role that includes itself", "set 'A' includes ['B']\n\nset 'B' includes ['A']", "line 3, column 1: policy: cycle"},
		{"an unknown permission", "set 'A' permissions [FLY]", "line 1, column 1: policy: unknown-permission"},
		{"the root", "isolate path '/'", "line 1, column 1: policy: invalid-path"},
		{"no text", "isolate path 'a'\n\xff", "line 2, column 1: policy: syntax"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newScriptFile(t, tt.text)
			_, err := f.try(policy.Predefined())
			require.ErrorIs(t, err, policy.Damaged)
			require.ErrorContains(t, err, "in "+f.name+": "+tt.want)
			require.Equal(t, tt.text, f.text(), "the file is as it was")
		})
	}
}

// Every change writes the whole file anew, in the canonical order; what was in force and what is loaded are the same.
func TestScriptFilesAreRewrittenInOrder(t *testing.T) {
	f := newScriptFile(t, "# mine\nassign roles 'ann' ['R']\nisolate path 'z'\nset 'R' includes ['A']\nset 'A' path 'y' permissions []\nset 'A' path 'x' permissions [read_topic]")
	s := f.open()
	require.Contains(t, f.text(), "# mine", "until it changes")
	require.NoError(t, s.UpdateScript(t.Context(), policy.Root(), "isolate path 'b'"))
	require.Equal(t, "# policy revision 2\n"+s.Snapshot().Script()+"\n", f.text())
	again := f.open()
	require.Equal(t, s.Snapshot().Script(), again.Snapshot().Script())
	require.Equal(t, uint64(2), again.Version())
	require.Error(t, s.UpdateScript(t.Context(), policy.Root(), "isolate path 'c'\nisolate path '/'"))
	require.NoError(t, s.UpdateScript(t.Context(), policy.Root(), "isolate path 'b'"))
	require.Equal(t, "# policy revision 2\n"+s.Snapshot().Script()+"\n", f.text(), "what changes nothing, does not write")
	require.NoError(t, s.Compact(t.Context()))
	require.Equal(t, "# policy revision 2\n"+s.Snapshot().Script()+"\n", f.text())
	entries, err := os.ReadDir(filepath.Dir(f.name))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else is left in the folder")
}

func TestEditsByHand(t *testing.T) {
	t.Run("come into force when the store is told to look", func(t *testing.T) {
		f := newScriptFile(t, "isolate path 'a'")
		s := f.open()
		changed := s.Changed()
		f.write("isolate path 'b'")
		require.Contains(t, s.Snapshot().Script(), "'a'")
		require.NoError(t, s.Refresh(t.Context()))
		require.Contains(t, s.Snapshot().Script(), "'b'")
		require.Equal(t, uint64(2), s.Version())
		<-changed
		require.NoError(t, s.Refresh(t.Context()))
		require.Equal(t, uint64(2), s.Version(), "once")
	})
	t.Run("are never overwritten", func(t *testing.T) {
		f := newScriptFile(t, "isolate path 'a'")
		s := f.open()
		f.write("isolate path 'b'")
		require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("c")))
		require.Contains(t, f.text(), "isolate path 'b'\nisolate path 'c'\n")
		require.NotContains(t, f.text(), "'a'")
		require.Equal(t, uint64(3), s.Version())
		f.write("isolate path 'd'")
		require.ErrorIs(t, s.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
			tx.IsolatePath("e")
			return tx.Expect(3)
		}), policy.Conflict)
		require.Equal(t, "isolate path 'd'", f.text())
	})
	t.Run("that are wrong are refused, and what was in force stays", func(t *testing.T) {
		f := newScriptFile(t, "isolate path 'a'")
		s := f.open()
		script := s.Snapshot().Script()
		f.write("isolate path 'b'\nisolate path")
		for range 2 {
			for _, err := range []error{s.Refresh(t.Context()), s.Update(t.Context(), policy.Root(), isolate("c")), s.Compact(t.Context())} {
				require.Error(t, err)
			}
		}
		err := s.Refresh(t.Context())
		require.ErrorIs(t, err, policy.Damaged)
		require.ErrorContains(t, err, f.name+": line 2, column 13")
		require.Equal(t, script, s.Snapshot().Script())
		require.Equal(t, "isolate path 'b'\nisolate path", f.text())
		f.write("isolate path 'b'\nisolate path 'c'")
		require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("d")), "once it is put right, all goes on")
		require.Contains(t, f.text(), "isolate path 'b'\nisolate path 'c'\nisolate path 'd'\n")
	})
	t.Run("that remove the file are errors", func(t *testing.T) {
		f := newScriptFile(t, "isolate path 'a'")
		s := f.open()
		require.NoError(t, os.Remove(f.name))
		require.ErrorIs(t, s.Refresh(t.Context()), fs.ErrNotExist)
		require.ErrorIs(t, s.Update(t.Context(), policy.Root(), isolate("b")), fs.ErrNotExist)
		require.Contains(t, s.Snapshot().Script(), "isolate path 'a'")
	})
	t.Run("that empty it make an empty store", func(t *testing.T) {
		f := newScriptFile(t, "isolate path 'a'")
		s := f.open()
		f.write("")
		require.NoError(t, s.Refresh(t.Context()))
		require.NotContains(t, s.Snapshot().Script(), "'a'")
	})
	t.Run("may say any revision, and none lower than what was", func(t *testing.T) {
		f := newScriptFile(t, "# policy revision 7\nisolate path 'a'")
		s := f.open()
		require.Equal(t, uint64(7), s.Version())
		f.write("# policy revision 3\nisolate path 'b'")
		require.NoError(t, s.Refresh(t.Context()))
		require.Equal(t, uint64(8), s.Version())
		f.write("# policy revision 18446744073709551615\nisolate path 'c'")
		require.NoError(t, s.Refresh(t.Context()))
		require.Equal(t, uint64(9), s.Version())
	})
}

func TestScriptFilesBehindLinks(t *testing.T) {
	f := newScriptFile(t, "isolate path 'a'")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(f.name, link))
	s := (&scriptFile{t, link}).open()
	require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("b")))
	require.Contains(t, f.text(), "isolate path 'b'", "the file is written, and not the link")

	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	require.NoError(t, os.Symlink("second", first))
	require.NoError(t, os.Symlink(filepath.Join(dir, "file"), second))
	s = (&scriptFile{t, first}).open()
	require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("b")))
	text, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err, "also where it was not there yet")
	require.Contains(t, string(text), "isolate path 'b'")

	circle := filepath.Join(dir, "circle")
	require.NoError(t, os.Symlink("circle", circle))
	_, err = policy.Open(t.Context(), policy.DiffusionConfig(), policy.NewScriptFile(circle, "isolate path 'a'"))
	require.Error(t, err)
}

func TestStoresOfOneScriptFileFollowEachOther(t *testing.T) {
	f := newScriptFile(t, "isolate path 'a'")
	stores := []*policy.Store{f.open(), f.open(), f.open()}
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if err := stores[i%3].Update(context.Background(), policy.Root(), isolate(fmt.Sprint("p", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range stores {
		require.NoError(t, s.Refresh(t.Context()))
		require.Equal(t, f.open().Snapshot().Script(), s.Snapshot().Script())
		require.Equal(t, uint64(25), s.Version())
	}
}

// FuzzScriptFile opens any text as a file. What opens can be changed, and is the same when it is opened again.
func FuzzScriptFile(f *testing.F) {
	for _, text := range []string{"", "# policy revision 7\nisolate path 'a'", "# policy revision 7", "# policy revision -1\n\nset 'A' permissions [VIEW_SERVER]",
		"# policy revision 99999999999999999999\r\nassign roles 'a' ['A']", "isolate path 'x'\nisolate path", "\xef\xbb\xbfisolate path 'x'"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file := &scriptFile{t, filepath.Join(t.TempDir(), "policy.script")}
		file.write(text)
		s, err := file.try("isolate path 'initial'")
		if err != nil {
			require.ErrorIs(t, err, policy.Damaged)
			require.ErrorContains(t, err, file.name+": line ")
			require.Equal(t, text, file.text())
			return
		}
		version := s.Version()
		require.NotZero(t, version)
		toggle := func(tx *policy.Tx) error {
			if strings.Contains(s.Snapshot().Script(), "isolate path 'fuzz'") {
				return tx.DeisolatePath("fuzz")
			}
			return tx.IsolatePath("fuzz")
		}
		require.NoError(t, s.Update(t.Context(), policy.Root(), toggle))
		again := file.open()
		require.Equal(t, s.Snapshot().Script(), again.Snapshot().Script())
		require.Equal(t, version+1, again.Version())
	})
}
