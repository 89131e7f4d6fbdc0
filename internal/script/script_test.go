package script

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var commands = []Command[string]{
	New("add S SECRET [NAMES]", "add"),
	New("add S SECRET locked by S", "add locked"),
	New("grant|allow PERMS", "grant"),
	New("close", "close"),
}

func TestParse(t *testing.T) {
	list, problems := Parse("# a comment\n\n  ADD 'a\\'b' \"p\\w\" ['x', 'y']\r\nallow [A B]\nadd '' '' Locked BY 'z'", commands)
	require.Empty(t, problems)
	require.Equal(t, []Line[string]{
		{3, 3, "add", []string{"a'b", `p\w`}, []string{"x", "y"}},
		{4, 1, "grant", nil, []string{"A", "B"}},
		{5, 1, "add locked", []string{"", "", "z"}, nil},
	}, list)
}

func TestParseSaysWhereAndWhat(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		want         Problem
	}{
		{"no such word", "close\nfly", Problem{2, 1, "script", "fly", "add or grant or allow or close"}},
		{"an end too early", "add 'ä'", Problem{1, 8, "script", "end of line", "a string in quotes"}},
		{"a list of the wrong things", "grant [A 'b']", Problem{1, 10, "script", "b", "a list of permissions in brackets"}},
		{"forms that differ behind", "add 'a' 'b' 'c'", Problem{1, 13, "script", "c", "a list of strings in brackets or locked"}},
		{"two commands on a line", "close close", Problem{1, 7, "script", "close", "the end of the line"}},
		{"not UTF-8", "close \xff", Problem{1, 1, "script", "close \xff", "UTF-8"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, problems := Parse(tt.script, commands)
			require.Nil(t, list)
			want := tt.want
			want.Want = strings.ReplaceAll(want.Want, "grant or allow", "grant|allow")
			require.Equal(t, []Problem{want}, problems)
		})
	}
	_, problems := Parse(strings.Repeat("fly\n", 1000), commands)
	require.Len(t, problems, mostProblems)
}

func TestRedactLeavesNothingSecret(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"a secret", "  add 'a' 'hunter2' [ 'x' ]\r\nclose", "  add 'a' '***' [ 'x' ]\nclose"},
		{"a secret before more", `ADD "a" "hunter2\"" locked by 'z'`, `ADD "a" '***' locked by 'z'`},
		{"other strings stay", "grant [A]", "grant [A]"},
		{"a comment may hold anything", "# add 'a' 'hunter2'\n\n #", "# a comment\n\n# a comment"},
		{"so may what is no command", "add a hunter2\nadd 'a' 'hunter2' 'x'\nadd 'hunter2", "# not a command\n# not a command\n# not a command"},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, Redact(tt.script, commands)) })
	}
}

func TestLinesAreWhatParseReads(t *testing.T) {
	var l Lines
	l.Add(Word("add"), `it's a \ "name"`, Secret("p'w"), []string{"x", "y"})
	l.Add(Word("grant"), Words{"A", "B"})
	require.Equal(t, `add 'it\'s a \\ "name"' 'p\'w' ['x' 'y']`+"\ngrant [A B]", l.String())
	list, problems := Parse(l.String(), commands)
	require.Empty(t, problems)
	require.Equal(t, []string{`it's a \ "name"`, "p'w"}, list[0].Texts)
}

func TestBuilderKeepsTheFirstProblem(t *testing.T) {
	var b Builder
	b.Add(Word("add"), "a", Secret("hunter2\n"))
	b.Add(Word("grant"), Words{"A] close"})
	_, bad := b.Build()
	require.Equal(t, &Problem{What: "password", Want: "UTF-8 without control characters"}, bad)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"add 'a' 'b' ['c', 'd']", "# x\n\nclose\r", `add "\\\"" '' locked by '\d'`, "grant [A,B]", "add 'a'\tx"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, problems := Parse(text, commands)
		redacted, again := Parse(Redact(text, commands), commands)
		require.Empty(t, again, "what is left of any script is a script")
		if problems != nil {
			return
		}
		require.Len(t, redacted, len(list))
		for i := range list {
			require.Equal(t, list[i].Line, redacted[i].Line)
			require.Equal(t, list[i].List, redacted[i].List)
			if list[i].Do != "grant" && list[i].Do != "close" {
				list[i].Texts[1] = "***"
			}
			require.Equal(t, list[i].Texts, redacted[i].Texts)
		}
	})
}
