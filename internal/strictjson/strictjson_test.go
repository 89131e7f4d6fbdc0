package strictjson

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidAccepts(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`null`, `true`, `false`, `""`, `[]`, `{}`, `0`, `-0`, `1`, `-1`, `10`,
		" \t\r\n{} \t\r\n", `[ ]`, `{ }`, `[1, 2]`, `{ "a" : 1 , "b" : 2 }`,
		`[[],[]]`, `{"a":{"a":{"a":1}}}`, `[{"a":1},{"a":1}]`,
		`{"a":1,"A":2}`, `{"é":1,"e\u0301":2}`, // distinct: no folding, no normalisation
		`"\"\\\/\b\f\n\r\t"`, `"\u0041"`, `"\u00e9\u00E9"`, `"\uD834\uDD1E"`, `"\ud834\udd1e"`,
		`"\uFFFD"`, "\"\uFFFD\"", "\"\U0010FFFF\"", "\"\x7f\"", `"\u0000"`, `"\uFFFF"`, `"\uD7FF\uE000"`,
		`9223372036854775807`, `-9223372036854775808`, `18446744073709551615`, `999999999999999999`,
		`1e308`, `-1.7976931348623157e308`, `5e-324`, `0e0`, `0.0`, `-0.0e-999`, `0E+999`,
		`1.5`, `1E2`, `1e+2`, `1e-2`, `100000000000000000000.0`,
	} {
		require.NoError(t, Valid(text, Limits{}), "%q", text)
	}
}

func TestValidRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text   string
		reason Reason
		offset int
	}{
		{"", BadValue, 0},
		{"  ", BadValue, 2},
		{"\ufeff{}", BadValue, 0},
		{"nul", BadValue, 0},
		{"nulL", BadValue, 0},
		{"True", BadValue, 0},
		{"tru", BadValue, 0},
		{"falsE", BadValue, 0},
		{"NaN", BadValue, 0},
		{"Infinity", BadValue, 0},
		{"+1", BadValue, 0},
		{".5", BadValue, 0},
		{"'a'", BadValue, 0},
		{"\x00", BadValue, 0},
		{"\v1", BadValue, 0},
		{"\u00a01", BadValue, 0},
		{"{}\x00", TrailingData, 2},
		{"{}{}", TrailingData, 2},
		{"{} x", TrailingData, 3},
		{"1 2", TrailingData, 2},
		{"null,", TrailingData, 4},
		{"nulll", TrailingData, 4},
		{`""""`, TrailingData, 2},
		{"{}//", TrailingData, 2},
		{"01", TrailingData, 1},
		{"-01", TrailingData, 2},
		{"0x1", TrailingData, 1},
		{"1_0", TrailingData, 1},
		{"1.2.3", TrailingData, 3},

		{"-", BadNumber, 1},
		{"-a", BadNumber, 1},
		{"1.", BadNumber, 2},
		{"1.e1", BadNumber, 2},
		{"1e", BadNumber, 2},
		{"1e+", BadNumber, 3},
		{"1e-", BadNumber, 3},
		{"1E", BadNumber, 2},
		{"-Infinity", BadNumber, 1},
		{"1e999", NumberRange, 5},
		{"-1e999", NumberRange, 6},
		{"1e-999", NumberRange, 6},
		{"9e-999", NumberRange, 6},
		{"5e-999", NumberRange, 6},
		{"0.0001e-999", NumberRange, 11},
		{"0." + strings.Repeat("0", 400) + "1", NumberRange, 403},
		{"18446744073709551616", NumberRange, 20},
		{"-9223372036854775809", NumberRange, 20},
		{strings.Repeat("9", 500), NumberRange, 500},

		{`"`, BadString, 1},
		{`"a`, BadString, 2},
		{"\"\n\"", BadString, 1},
		{"\"\x1f\"", BadString, 1},
		{"\"\x00\"", BadString, 1},
		{`"\`, BadEscape, 1},
		{`"\"`, BadString, 3},
		{`"\x41"`, BadEscape, 1},
		{`"\'"`, BadEscape, 1},
		{`"\U0041"`, BadEscape, 1},
		{`"\u"`, BadEscape, 1},
		{`"\u004"`, BadEscape, 1},
		{`"\u004g"`, BadEscape, 1},
		{`"\u00G0"`, BadEscape, 1},
		{`"\u+041"`, BadEscape, 1},
		{`"\u00`, BadEscape, 1},
		{`"\uD834"`, LoneSurrogate, 1},
		{`"\uD834\n"`, LoneSurrogate, 1},
		{`"\uD834\u0041"`, LoneSurrogate, 1},
		{`"\uD834\uD834"`, LoneSurrogate, 1},
		{`"\uDD1E"`, LoneSurrogate, 1},
		{`"\uDD1E\uD834"`, LoneSurrogate, 1},
		{`"\uD834xuDD1E"`, LoneSurrogate, 1},
		{`"\uD834\xDD1E"`, LoneSurrogate, 1},
		{`"\uD834\uDD1`, LoneSurrogate, 1},

		{"\"\x80\"", BadUTF8, 0},
		{"\"\xc0\x80\"", BadUTF8, 0},
		{"\"\xed\xa0\x80\"", BadUTF8, 0},
		{"\"\xf4\x90\x80\x80\"", BadUTF8, 0},
		{"{}\xff", BadUTF8, 0},

		{"[", BadValue, 1},
		{"[1", BadArray, 2},
		{"[1,", BadValue, 3},
		{"[1,]", BadValue, 3},
		{"[,]", BadValue, 1},
		{"[,1]", BadValue, 1},
		{"[1,,2]", BadValue, 3},
		{"[1 2]", BadArray, 3},
		{"[1:2]", BadArray, 2},
		{"[1}", BadArray, 2},
		{"]", BadValue, 0},
		{"[]]", TrailingData, 2},

		{"{", BadObject, 1},
		{"{,}", BadObject, 1},
		{`{"a"`, BadObject, 4},
		{`{"a"}`, BadObject, 4},
		{`{"a" 1}`, BadObject, 5},
		{`{"a",1}`, BadObject, 4},
		{`{"a":}`, BadValue, 5},
		{`{"a":`, BadValue, 5},
		{`{"a":1`, BadObject, 6},
		{`{"a":1,`, BadObject, 7},
		{`{"a":1,}`, BadObject, 7},
		{`{"a":1]`, BadObject, 6},
		{`{"a":1 "b":2}`, BadObject, 7},
		{`{"a":1;"b":2}`, BadObject, 6},
		{`{a:1}`, BadObject, 1},
		{`{1:1}`, BadObject, 1},
		{`{null:1}`, BadObject, 1},
		{`{"a:1}`, BadString, 6},
		{"}", BadValue, 0},

		{`{"a":1,"a":1}`, DuplicateName, 13},
		{`{"a":1,"\u0061":1}`, DuplicateName, 18},
		{`{"a":1,"b":2,"a":3}`, DuplicateName, 19},
		{`{"":1,"":1}`, DuplicateName, 11},
		{`{"x":{"a":1,"a":1}}`, DuplicateName, 18},
		{`[[{"a":1,"a":1}]]`, DuplicateName, 15},
		{`{"x":{"y":1},"x":{}}`, DuplicateName, 20},
	}
	for _, tt := range tests {
		err := Valid(tt.text, Limits{})
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax, "%q", tt.text)
		require.Equal(t, SyntaxError{tt.offset, tt.reason}, *syntax, "%q", tt.text)
	}
}

func TestDuplicatesAmongMany(t *testing.T) {
	t.Parallel()
	object := func(n int, extra string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"n%d":0,`, i)
		}
		return "{" + b.String() + extra + "}"
	}
	for _, n := range []int{1, 30, 31, 32, 33, 34, 1000} {
		limits := Limits{Items: n + 1}
		require.NoError(t, Valid(object(n, `"x":0`), limits), n)
		for _, repeated := range []int{0, n / 2, n - 1} {
			extra := fmt.Sprintf(`"\u006e%d":0`, repeated)
			requireReason(t, DuplicateName, Valid(object(n, extra), limits))
			requireReason(t, DuplicateName, Valid("["+object(n, extra)+"]", limits))
		}
		// The order of the members is kept.
		members, err := Object(object(n, `"x":0`), nil, limits)
		require.NoError(t, err)
		require.Len(t, members, n+1)
		for i, member := range members[:n] {
			require.Equal(t, "n"+strconv.Itoa(i), member.Name)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	nested := func(depth int) string {
		return strings.Repeat("[", depth) + strings.Repeat("]", depth)
	}
	require.NoError(t, Valid(nested(DefaultDepth), Limits{}))
	requireReason(t, TooDeep, Valid(nested(DefaultDepth+1), Limits{}))
	requireReason(t, TooDeep, Valid(nested(DefaultDepth+1), Limits{Depth: -1}))
	requireReason(t, TooDeep, Valid(strings.Repeat("[", 1<<20), Limits{}))
	requireReason(t, TooDeep, Valid(strings.Repeat(`{"a":`, 1<<20), Limits{}))
	require.NoError(t, Valid(`[{"a":1},{"a":[]},[],{}]`, Limits{Depth: 3}))
	requireReason(t, TooDeep, Valid(`[{"a":1},{"a":[]}]`, Limits{Depth: 2}))
	// Siblings do not add up.
	require.NoError(t, Valid(`[[],[],{},{},[[]],[{}]]`, Limits{Depth: 3}))

	list := func(n int) string { return "[0" + strings.Repeat(",0", n-1) + "]" }
	require.NoError(t, Valid(list(DefaultItems), Limits{}))
	requireReason(t, TooMany, Valid(list(DefaultItems+1), Limits{}))
	requireReason(t, TooMany, Valid(list(DefaultItems+1), Limits{Items: -1}))
	require.NoError(t, Valid(list(3), Limits{Items: 3}))
	requireReason(t, TooMany, Valid(list(4), Limits{Items: 3}))
	require.NoError(t, Valid(`{"a":0,"b":0}`, Limits{Items: 2}))
	requireReason(t, TooMany, Valid(`{"a":0,"b":0,"c":0}`, Limits{Items: 2}))
	require.NoError(t, Valid(`[[1,2],[1,2]]`, Limits{Items: 2}))
}

func TestObject(t *testing.T) {
	t.Parallel()
	const text = ` {"s":"x","e":"\u0041\n","n":-12,"f":1.5,"t":true,"b":false,"z":null,"l":["p","\"q"],"o":{"k":1},"\u006bid":"7"} `
	first := Member{Name: "first"}
	members, err := Object(text, []Member{first}, Limits{})
	require.NoError(t, err)
	require.Len(t, members, 11)
	require.Equal(t, first, members[0])

	want := []struct {
		name, raw string
		kind      Kind
	}{
		{"s", `"x"`, KindString},
		{"e", `"\u0041\n"`, KindString},
		{"n", `-12`, KindNumber},
		{"f", `1.5`, KindNumber},
		{"t", `true`, KindBool},
		{"b", `false`, KindBool},
		{"z", `null`, KindNull},
		{"l", `["p","\"q"]`, KindArray},
		{"o", `{"k":1}`, KindObject},
		{"kid", `"7"`, KindString},
	}
	for i, w := range want {
		got := members[i+1]
		require.Equal(t, w.name, got.Name)
		require.Equal(t, w.raw, got.Value.Raw())
		require.Equal(t, w.kind, got.Value.Kind())
		require.Equal(t, w.kind == KindNull, got.Value.IsNull())
	}

	for _, other := range []string{``, `[]`, `null`, `"{}"`, `1`, ` [{}]`} {
		got, err := Object(other, []Member{first}, Limits{})
		requireReason(t, NotObject, err)
		require.Nil(t, got)
	}
	got, err := Object(`{"a":1}x`, nil, Limits{})
	requireReason(t, TrailingData, err)
	require.Nil(t, got)
	got, err = Object(`{"a":1,}`, nil, Limits{})
	requireReason(t, BadObject, err)
	require.Nil(t, got)
	got, err = Object("{\"a\":\"\xff\"}", nil, Limits{})
	requireReason(t, BadUTF8, err)
	require.Nil(t, got)
}

// read returns the value of a text, which need not be an object.
func read(t *testing.T, text string) Value {
	t.Helper()
	members, err := Object(`{"v":`+text+`}`, nil, Limits{})
	require.NoError(t, err)
	return members[0].Value
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`""`:                         "",
		`"a b"`:                      "a b",
		`"\"\\\/\b\f\n\r\t"`:         "\"\\/\b\f\n\r\t",
		`"\u0041\u00e9\u20AC"`:       "Aé€",
		`"x\uD834\uDD1Ey"`:           "x\U0001D11Ey",
		`"\u0000"`:                   "\x00",
		`"\uFFFD"`:                   "\uFFFD",
		`"é\u00e9"`:                  "éé",
		`"\\u0041"`:                  `\u0041`,
		`"\ud7ff\ue000\udbff\udfff"`: "\uD7FF\uE000\U0010FFFF",
	} {
		got, ok := read(t, text).Text()
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{`null`, `1`, `true`, `["a"]`, `{"a":1}`} {
		got, ok := read(t, text).Text()
		require.False(t, ok, text)
		require.Empty(t, got)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text    string
		integer int64
		isInt   bool
		float   float64
	}{
		{"0", 0, true, 0},
		{"-0", 0, true, math.Copysign(0, -1)},
		{"1700000000", 1700000000, true, 1700000000},
		{"9223372036854775807", math.MaxInt64, true, 1 << 63},
		{"-9223372036854775808", math.MinInt64, true, -1 << 63},
		{"9007199254740993", 9007199254740993, true, 9007199254740992},
		{"9223372036854775808", 0, false, 1 << 63},
		{"1.0", 0, false, 1},
		{"1e2", 0, false, 100},
		{"-1.25e-1", 0, false, -0.125},
	}
	for _, tt := range tests {
		v := read(t, tt.text)
		n, ok := v.Int64()
		require.Equal(t, tt.isInt, ok, tt.text)
		require.Equal(t, tt.integer, n, tt.text)
		f, ok := v.Float64()
		require.True(t, ok, tt.text)
		require.Equal(t, tt.float, f, tt.text)
	}
	for _, text := range []string{`null`, `"1"`, `true`, `[1]`, `{"a":1}`} {
		n, ok := read(t, text).Int64()
		require.False(t, ok, text)
		require.Zero(t, n)
		f, ok := read(t, text).Float64()
		require.False(t, ok, text)
		require.Zero(t, f)
	}
}

func TestBool(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]bool{
		`true`: {true, true}, `false`: {false, true},
		`null`: {}, `"true"`: {}, `1`: {}, `[true]`: {},
	} {
		b, ok := read(t, text).Bool()
		require.Equal(t, want, [2]bool{b, ok}, text)
	}
}

func TestStrings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want []string
		ok   bool
	}{
		{`[]`, []string{}, true},
		{`[ ]`, []string{}, true},
		{`["a"]`, []string{"a"}, true},
		{` [ "a" , "\u0062,]" ,"" ] `, []string{"a", "b,]", ""}, true},
		{`["a","b","c"]`, []string{"a", "b", "c"}, true},
		{`["a","b","c","d"]`, nil, false},
		{`["a",1]`, nil, false},
		{`[null]`, nil, false},
		{`["a",["b"]]`, nil, false},
		{`[{"a":"b"}]`, nil, false},
		{`null`, nil, false},
		{`"a"`, nil, false},
		{`{"a":"b"}`, nil, false},
	}
	for _, tt := range tests {
		got, ok := read(t, tt.text).Strings(3)
		require.Equal(t, tt.ok, ok, tt.text)
		require.Equal(t, tt.want, got, tt.text)
	}
	empty, ok := read(t, `[]`).Strings(0)
	require.True(t, ok)
	require.Empty(t, empty)
}

func TestZeroValueIsNothing(t *testing.T) {
	t.Parallel()
	var v Value
	require.Equal(t, KindNone, v.Kind())
	require.False(t, v.IsNull())
	require.Empty(t, v.Raw())
	_, ok := v.Text()
	require.False(t, ok)
	_, ok = v.Bool()
	require.False(t, ok)
	_, ok = v.Int64()
	require.False(t, ok)
	_, ok = v.Float64()
	require.False(t, ok)
	_, ok = v.Strings(1)
	require.False(t, ok)
}

// TestAccessorsGoByKind has values that no text yields.
func TestAccessorsGoByKind(t *testing.T) {
	t.Parallel()
	for kind := range KindObject + 1 {
		_, ok := Value{kind: kind, raw: "1"}.Int64()
		require.Equal(t, kind == KindNumber, ok)
		_, ok = Value{kind: kind, raw: "1"}.Float64()
		require.Equal(t, kind == KindNumber, ok)
		_, ok = Value{kind: kind, raw: `["a"]`}.Strings(1)
		require.Equal(t, kind == KindArray, ok)
		_, ok = Value{kind: kind, raw: `"a"`}.Text()
		require.Equal(t, kind == KindString, ok)
		_, ok = Value{kind: kind, raw: "true"}.Bool()
		require.Equal(t, kind == KindBool, ok)
	}
}

func TestErrorsHoldNothingOfTheText(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a"
	for _, text := range []string{
		canary, `"` + canary, `{"` + canary + `":1,"` + canary + `":2}`, `{"a":` + canary + `}`, "\xff" + canary,
	} {
		err := Valid(text, Limits{})
		require.Error(t, err)
		require.NotContains(t, err.Error(), canary)
		require.Less(t, len(err.Error()), 100)
	}
	require.Equal(t, "json: data after the value at offset 3", Valid(" 1 2", Limits{}).Error())
}
