package authn

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzSystemScript runs any text as a script. It does nothing, or what it leaves comes back from the store's own script; and
// what is told of it is a script line for line, of which internal/script fuzzes that it holds no secret.
func FuzzSystemScript(f *testing.F) {
	for _, s := range []string{
		"", "# comment\n\ndeny anonymous connections\r", "ADD principal 'ann' \"pw\\\"\" ['A', 'B']\nassign roles 'ann' []", filled,
		"add principal 'a' 'b' locked by 'c'\nset password 'a' 'd'", "verify password 'bob' 'secret-of-bob'", "remove principal 'bob'", "abstain anonymous connections",
		"trust client proposed property 'P' if value matches '\\\\Qx'\nignore client proposed property 'P'", "allow anonymous connections ['G']", "set password 'bob' 'x' 'y'",
		"add principal 'a' '$pbkdf2-sha256$i=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var told SystemChange
		c := SystemConfig{Iterations: 1, AllowWeak: true, Audit: func(_ context.Context, x SystemChange) { told = x }}
		s, err := NewSystemStore(c)
		require.NoError(t, err)
		require.NoError(t, s.UpdateScript(t.Context(), Root(), "add principal 'bob' 'secret-of-bob' ['R'] locked by 'zoe'"))
		before := s.current.Load()
		err = s.UpdateScript(t.Context(), Root(), text)
		require.Equal(t, strings.Count(text, "\n"), strings.Count(told.Script, "\n"))
		if err != nil {
			require.Same(t, before, s.current.Load())
			return
		}
		text = string(s.current.Load().encode())
		again, err := s.decode(t.Context(), text)
		require.NoError(t, err)
		require.Equal(t, text, string(again.encode()))
	})
}

// FuzzSystemFile reads any text as a store's file. What is taken comes back from what is written of it, which holds no clear
// text; what is refused is refused as a script with line and column.
func FuzzSystemFile(f *testing.F) {
	s, err := NewSystemStore(SystemConfig{Iterations: 1, AllowWeak: true})
	require.NoError(f, err)
	f.Add(string(s.current.Load().encode()))
	require.NoError(f, s.UpdateScript(f.Context(), Root(), filled))
	f.Add(string(s.current.Load().encode()))
	f.Add(filled)
	f.Add(fileMark + "4611686018427387903" + fileSumWords + "\nallow anonymous connections")
	f.Add("add principal 'a' '$pbkdf2-sha256$i=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'")
	f.Add("add principal 'a' '$pbkdf2-sha256$i=0$$'")
	f.Fuzz(func(t *testing.T, text string) {
		is, err := s.decode(t.Context(), text)
		if err != nil {
			_, ok := errors.AsType[*ScriptError](err)
			require.True(t, ok, err)
			return
		}
		for _, p := range is.principals {
			require.True(t, slices.IsSorted(p.roles) && len(p.password.key) == 32 && p.password.iterations >= 1)
		}
		written := string(is.encode())
		again, err := s.decode(t.Context(), written)
		require.NoError(t, err)
		require.Equal(t, written, string(again.encode()))
	})
}
