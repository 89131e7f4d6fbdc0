package policy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSegments(t *testing.T) {
	for _, tt := range []struct {
		sep  Separator
		path string
		want []string
	}{
		{Slash, "", nil},
		{Slash, "//", nil},
		{Slash, "a", []string{"a"}},
		{Slash, "/a//b/", []string{"a", "b"}},
		{Slash, "a.b/..", []string{"a.b", ".."}},
		{Dot, "", nil},
		{Dot, "a", []string{"a"}},
		{Dot, "a.b", []string{"a", "b"}},
		{Dot, "a..b.", []string{"a", "", "b", ""}},
		{Dot, "a/b", []string{"a/b"}},
	} {
		var got []string
		for at := 0; ; {
			segment, end, ok := tt.sep.next(tt.path, at)
			if !ok {
				break
			}
			got, at = append(got, segment), end
		}
		require.Equal(t, tt.want, got, "%q by %c", tt.path, tt.sep)
	}
}

func TestPathsThatCarryAssignments(t *testing.T) {
	for _, tt := range []struct {
		sep        Separator
		path, want string // want is empty where the path is refused
	}{
		{Slash, "a", "a"},
		{Slash, "/a//b/", "a/b"},
		{Slash, "a.b/ c", "a.b/ c"},
		{Slash, "", ""},
		{Slash, "///", ""},
		{Slash, "a\x00", ""},
		{Slash, "a\xff", ""},
		{Dot, "a.b", "a.b"},
		{Dot, "a/b", "a/b"},
		{Dot, "", ""},
		{Dot, ".a", ""},
		{Dot, "a.", ""},
		{Dot, "a..b", ""},
	} {
		got, err := tt.sep.normal(tt.path)
		if tt.want == "" {
			require.ErrorIs(t, err, InvalidPath, "%q by %c", tt.path, tt.sep)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, tt.want, got)
	}
}

// A name that begins with a dot is nobody's, defaults or not (sqlauth.md 4).
func TestNamesThatAreNobodys(t *testing.T) {
	c := DiffusionConfig()
	c.Separator = Dot
	s, err := New(c)
	require.NoError(t, err)
	require.NoError(t, s.Update(t.Context(), Root(), func(tx *Tx) error { return tx.SetDefaultPathPermissions("R", "READ_TOPIC") }))
	who := Session{Roles: []string{"R"}}
	for path, want := range map[string]bool{"a": true, "a..b": true, "a.": true, "": false, ".": false, ".a": false} {
		got, err := s.Snapshot().Allowed(who, "READ_TOPIC", path)
		require.NoError(t, err)
		require.Equal(t, want, got, "%q", path)
	}
}

func FuzzPaths(f *testing.F) {
	for _, p := range []string{"a/b", "//a", "a..b", ".", "/", "a/./b", "ä/b\x00"} {
		f.Add(p, true)
		f.Add(p, false)
	}
	f.Fuzz(func(t *testing.T, path string, slash bool) {
		sep := Dot
		if slash {
			sep = Slash
		}
		is, err := sep.normal(path)
		if err != nil {
			require.Empty(t, is)
			return
		}
		again, err := sep.normal(is)
		require.NoError(t, err)
		require.Equal(t, is, again, "what is normal stays so")
		require.Equal(t, is, sep.clean(path))
		joined := ""
		for at := 0; ; {
			segment, end, ok := sep.next(path, at)
			if !ok {
				break
			}
			require.NotEmpty(t, segment)
			joined, at = sep.join(joined, segment), end
		}
		require.Equal(t, is, joined)
	})
}
