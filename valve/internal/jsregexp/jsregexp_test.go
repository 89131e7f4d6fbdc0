package jsregexp_test

import (
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/valve/internal/jsregexp"
)

func units(s string) []uint16 { return utf16.Encode([]rune(s)) }

// find returns the text of each group, "-" for those that took no part, or nil.
func find(t testing.TB, pattern, flags, text string) []string {
	re, err := jsregexp.Compile(units(pattern), flags)
	require.NoError(t, err)
	steps := &jsregexp.Budget{Steps: 1_000_000}
	at, err := re.Match(units(text), 0, steps)
	require.NoError(t, err)
	var groups []string
	for i := 0; i < len(at); i += 2 {
		if at[i] < 0 {
			groups = append(groups, "-")
			continue
		}
		groups = append(groups, string(utf16.Decode(units(text)[at[i]:at[i+1]])))
	}
	return groups
}

func TestMatchIsThatOfJavaScript(t *testing.T) {
	for name, tt := range map[string]struct {
		pattern, flags, text string
		want                 []string
	}{
		"the first alternative wins":             {`a|ab`, "", "ab", []string{"a"}},
		"lazy takes as little as it can":         {`<.+?>`, "", "<a><b>", []string{"<a>"}},
		"greedy as much":                         {`<.+>`, "", "<a><b>", []string{"<a><b>"}},
		"a group that took no part":              {`(x)?y`, "", "y", []string{"y", "-"}},
		"groups are forgotten at each iteration": {`(?:(a)|b)*`, "", "ab", []string{"ab", "-"}},
		"an empty iteration is none":             {`(a?){0,3}b`, "", "b", []string{"b", "-"}},
		"back reference":                         {`^(.)\1$`, "", "aa", []string{"aa", "a"}},
		"back reference that differs":            {`^(.)\1$`, "", "ab", nil},
		"named back reference before its group":  {`\k<n>(?<n>a)`, "", "a", []string{"a", "a"}},
		"lookahead":                              {`.(?=World)`, "", "Hello World", []string{" "}},
		"negative lookahead":                     {`^(?!admin)`, "", "admin", nil},
		"lookbehind":                             {`(?<=Hello )W`, "", "Hello World", []string{"W"}},
		"lookbehind captures from the right":     {`(?<=(\d+)(\d+))$`, "", "1053", []string{"", "1", "053"}},
		"dot is a unit":                          {`^.$`, "", "😀", nil},
		"with u a character":                     {`^.$`, "u", "😀", []string{"😀"}},
		"dot is no line terminator":              {`^.$`, "", "\u2028", nil},
		"unless with s":                          {`^.$`, "s", "\u2028", []string{"\u2028"}},
		"end is the very end":                    {`b$`, "", "b\n", nil},
		"with m the end of a line":               {`^b$`, "m", "a\nb\nc", []string{"b"}},
		"the empty class":                        {`^[]$`, "", "", nil},
		"the full class":                         {`^[^]$`, "", "\n", []string{"\n"}},
		"a brace that is no quantifier":          {`^a{,2}$`, "", "a{,2}", []string{"a{,2}"}},
		"case without u":                         {`^STRASSE$`, "i", "strasse", []string{"strasse"}},
		"Kelvin is no k":                         {`^k$`, "i", "\u212A", nil},
		"with u it is":                           {`^k$`, "iu", "\u212A", []string{"\u212A"}},
		"long s is no s":                         {`^[a-z]$`, "i", "ſ", nil},
		"sharp s stays":                          {`^ß$`, "i", "ẞ", nil},
		"Greek case":                             {`^σ$`, "i", "ς", []string{"ς"}},
		"octal":                                  {`^\101\x42\u0043$`, "", "ABC", []string{"ABC"}},
		"a property":                             {`^\p{Lu}$`, "u", "É", []string{"É"}},
		"is a letter without u":                  {`^\p{Lu}$`, "", "p{Lu}", []string{"p{Lu}"}},
		"digits are ASCII":                       {`^\d$`, "", "٣", nil},
		"space is Unicode":                       {`^\s$`, "", "\uFEFF", []string{"\uFEFF"}},
		"word boundary":                          {`\bfoo\b`, "", "a foo b", []string{"foo"}},
		"none":                                   {`\bfoo\b`, "", "afoo", nil},
		"a negated set in a class":               {`^[\D5]+$`, "", "a5b", []string{"a5b"}},
		"not of a set":                           {`^[^\W]$`, "", "-", nil},
		"sticky":                                 {`a`, "y", "xa", nil},
		"an assertion repeated":                  {`(?=a)*b`, "", "b", []string{"b"}},
		"counted":                                {`^a{2,3}$`, "", "aaaa", nil},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, find(t, tt.pattern, tt.flags, tt.text)) })
	}
}

func TestInvalidPatternsAreRefused(t *testing.T) {
	for _, tt := range [][2]string{{`[`, ""}, {`(`, ""}, {`)`, ""}, {`(?<a`, ""}, {`^+`, ""}, {`a**`, ""}, {`{1}`, ""}, {`[b-a]`, ""},
		{`(?<a>x)(?<a>y)`, ""}, {`\`, ""}, {`a{2,1}`, ""}, {`\p{Nope}`, "u"}, {`]`, "u"}, {`\-`, "u"}, {`a`, "gg"}, {`a`, "x"},
		{`(?<a>x)\k<b>`, ""}, {`\1`, "u"}, {`((a{1000}){1000}){1000}`, ""}, {strings.Repeat("(", 1000) + strings.Repeat(")", 1000), ""}} {
		_, err := jsregexp.Compile(units(tt[0]), tt[1])
		require.Error(t, err, tt)
	}
}

func TestPatternsThatBacktrackAreLinearOrGivenUp(t *testing.T) {
	text := units(strings.Repeat("a", 2000))
	re, err := jsregexp.Compile(units(`^(a+)+(a|aa)*b$`), "")
	require.NoError(t, err)
	steps := &jsregexp.Budget{Steps: 2_000_000}
	at, err := re.Match(text, 0, steps)
	require.NoError(t, err)
	require.Nil(t, at)
	re, err = jsregexp.Compile(units(`^(a+)+\1b$`), "")
	require.NoError(t, err)
	_, err = re.Match(text, 0, steps)
	require.ErrorIs(t, err, jsregexp.ErrSteps)
}

func FuzzCompileAndMatch(f *testing.F) {
	f.Add(`^(a|b)*\1(?<x>[^\d-z]{2,3}?)$`, "iu", "abab")
	f.Add(`(?<=\B.)$|^`, "gm", "x\ny")
	f.Fuzz(func(t *testing.T, pattern, flags, text string) {
		re, err := jsregexp.Compile(units(pattern), flags)
		if err != nil {
			return
		}
		steps := &jsregexp.Budget{Steps: 100_000}
		at, err := re.Match(units(text), 0, steps)
		if err != nil {
			require.ErrorIs(t, err, jsregexp.ErrSteps)
		}
		for i := 0; i < len(at); i += 2 {
			require.LessOrEqual(t, at[i], at[i+1])
		}
	})
}
