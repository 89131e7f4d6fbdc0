package strictjson

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzStrictJSON compares with encoding/json. What we accept means the same to
// both; what only encoding/json accepts breaks a rule that it does not have.
func FuzzStrictJSON(f *testing.F) {
	files, err := filepath.Glob("testdata/JSONTestSuite/*.json")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		if len(data) < 4096 {
			f.Add(string(data))
		}
	}
	for _, seed := range []string{
		`{"alg":"HS256","typ":"JWT"}`, `{"sub":"a","exp":1700000000.25,"aud":["x","y"]}`,
		`{"a":1,"\u0061":2}`, `["\ud834\udd1e","\ud834"]`, `1e400`, `1e-400`, `18446744073709551616`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := Valid(text, Limits{})
		members, objectErr := Object(text, nil, Limits{})
		if err != nil {
			require.Error(t, objectErr)
			if json.Valid([]byte(text)) {
				requireStrictReason(t, text, reasonOf(err))
			}
			return
		}
		require.True(t, json.Valid([]byte(text)), "%q", text)
		requireSameMeaning(t, text)
		if objectErr != nil {
			requireReason(t, NotObject, objectErr)
			require.NotEqual(t, "{", strings.TrimLeft(text, " \t\r\n")[:1])
			return
		}
		var want map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(text), &want))
		require.Len(t, members, len(want))
		for _, member := range members {
			require.Equal(t, string(want[member.Name]), member.Value.Raw())
		}
	})
}

// requireStrictReason checks that a text that encoding/json accepts was refused
// for what the reason says.
func requireStrictReason(t *testing.T, text string, reason Reason) {
	t.Helper()
	switch reason {
	case BadUTF8:
		require.False(t, utf8.ValidString(text))
	case LoneSurrogate:
		require.Contains(t, strings.ToLower(text), `\ud`)
	case NumberRange:
		require.True(t, hasWildNumber(text), "%q", text)
	case DuplicateName:
		require.True(t, hasDuplicateName(t, text), "%q", text)
	case TooDeep:
		require.Greater(t, strings.Count(text, "[")+strings.Count(text, "{"), DefaultDepth)
	case TooMany:
		require.Greater(t, strings.Count(text, ","), DefaultItems-1)
	default:
		t.Fatalf("encoding/json accepts %q, refused here: %s", text, reason)
	}
}

// hasWildNumber reports whether one of the numbers of a text fits no Go type or
// vanishes to zero.
func hasWildNumber(text string) bool {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		number, ok := token.(json.Number)
		if !ok {
			continue
		}
		var wild bool
		if strings.ContainsAny(number.String(), ".eE") {
			f, err := number.Float64()
			mantissa, _, _ := strings.Cut(strings.ToLower(number.String()), "e")
			wild = err != nil || f == 0 && strings.ContainsAny(mantissa, "123456789")
		} else {
			var u uint64
			_, err := number.Int64()
			wild = err != nil && json.Unmarshal([]byte(number), &u) != nil
		}
		if wild {
			return true
		}
	}
}

// hasDuplicateName walks a text with the tokens of encoding/json.
func hasDuplicateName(t *testing.T, text string) bool {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var walk func() bool
	walk = func() bool {
		token, err := decoder.Token()
		require.NoError(t, err)
		found := false
		switch token {
		case json.Delim('['):
			for decoder.More() {
				found = walk() || found
			}
			_, _ = decoder.Token()
		case json.Delim('{'):
			seen := map[string]bool{}
			for decoder.More() {
				name, err := decoder.Token()
				require.NoError(t, err)
				found = found || seen[name.(string)]
				seen[name.(string)] = true
				found = walk() || found
			}
			_, _ = decoder.Token()
		}
		return found
	}
	return walk()
}

// requireSameMeaning compares the scalars of an accepted text.
func requireSameMeaning(t *testing.T, text string) {
	t.Helper()
	members, err := Object(`{"v":`+text+`}`, nil, Limits{Depth: DefaultDepth + 1})
	require.NoError(t, err)
	v := members[0].Value
	switch v.Kind() {
	case KindNull:
		require.Equal(t, "null", v.Raw())
	case KindBool:
		var want bool
		require.NoError(t, json.Unmarshal([]byte(text), &want))
		got, ok := v.Bool()
		require.True(t, ok)
		require.Equal(t, want, got)
	case KindString:
		var want string
		require.NoError(t, json.Unmarshal([]byte(text), &want))
		got, ok := v.Text()
		require.True(t, ok)
		require.Equal(t, want, got)
	case KindNumber:
		var want float64
		require.NoError(t, json.Unmarshal([]byte(text), &want))
		got, ok := v.Float64()
		require.True(t, ok)
		require.Equal(t, want, got)
		var integer int64
		wantErr := json.Unmarshal([]byte(text), &integer)
		n, ok := v.Int64()
		require.Equal(t, wantErr == nil, ok)
		require.Equal(t, integer, n)
	case KindArray:
		var raw []json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(text), &raw))
		var want []string
		wantErr := json.Unmarshal([]byte(text), &want)
		for _, element := range raw {
			if element[0] != '"' {
				wantErr = &json.UnmarshalTypeError{} // a null is no string
			}
			requireSameMeaning(t, string(element))
		}
		got, ok := v.Strings(DefaultItems)
		require.Equal(t, wantErr == nil, ok)
		if ok {
			require.Equal(t, want, got)
		}
	case KindObject:
		var raw map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(text), &raw))
		for _, element := range raw {
			requireSameMeaning(t, string(element))
		}
	default:
		t.Fatalf("%q has no kind", text)
	}
}
