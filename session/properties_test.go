package session_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/session"
)

func TestRolesAreQuotedAsDiffusionDoes(t *testing.T) {
	for _, row := range []struct {
		roles []string
		text  string
	}{
		{nil, ``},
		{[]string{"a"}, `"a"`},
		{[]string{"a", "b c"}, `"a","b c"`},
		{[]string{`say "x"`}, `"say \"x\""`},
		{[]string{`it's`}, `"it\'s"`},
		{[]string{`a\b`}, `"a\\b"`},
		{[]string{`\"`, `,`, ``}, `"\\\"",",",""`},
		{[]string{"é\U0001F511"}, "\"é\U0001F511\""},
	} {
		require.Equal(t, row.text, session.FormatRoles(row.roles))
		roles, err := session.ParseRoles(row.text)
		require.NoError(t, err)
		require.Equal(t, row.roles, roles)
	}
}

func TestRolesAreReadAsDiffusionDoes(t *testing.T) {
	for text, want := range map[string][]string{
		``:                     nil,
		`nothing in quotes`:    nil,
		`'a'`:                  {"a"},
		`'a' "b"`:              {"a", "b"},
		`"a" ignored, 'b';"c"`: {"a", "b", "c"},
		`"it's"`:               {"it's"},
		`'say "x"'`:            {`say "x"`},
		`'it\'s'`:              {"it's"},
		`"a\b"`:                {"ab"},
		`\"a"`:                 {"a"},
		`""`:                   {""},
	} {
		roles, err := session.ParseRoles(text)
		require.NoError(t, err, text)
		require.Equal(t, want, roles, text)
	}
	for _, text := range []string{`"`, `'`, `"a`, `"a'`, `"a\"`, `"a\`, `"a","b`, `"a" '`} {
		roles, err := session.ParseRoles(text)
		require.ErrorIs(t, err, chansec.ErrInvalid, text)
		require.Nil(t, roles, text)
	}
}

func FuzzRoles(f *testing.F) {
	for _, s := range []string{"", "a", `a"b`, `a'b`, `\`, "a\x00b", `"a","b\"`, `'a\'`} {
		f.Add(s, "b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		roles, err := session.ParseRoles(session.FormatRoles([]string{a, b}))
		require.NoError(t, err)
		require.Equal(t, []string{a, b}, roles)
		roles, err = session.ParseRoles(a)
		if err != nil {
			require.ErrorIs(t, err, chansec.ErrInvalid)
			return
		}
		again, err := session.ParseRoles(session.FormatRoles(roles))
		require.NoError(t, err)
		require.Equal(t, roles, again)
	})
}

func TestNamesOfUserProperties(t *testing.T) {
	for _, name := range []string{"a", "desk", "a$b", "é", "a.b-c_d/e", strings.Repeat("a", session.MaxPropertyName)} {
		require.NoError(t, session.CheckProperty(name), name)
	}
	for _, name := range []string{"", "$", "$Principal", "a b", "a\tb", "a\nb", "a\rb", `a"b`, "a'b", "a(b", "a)b", "a\x00b", "a\xff", strings.Repeat("a", session.MaxPropertyName+1)} {
		require.ErrorIs(t, session.CheckProperty(name), chansec.ErrInvalid, name)
	}
}
