package valve

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzPermissionFile loads files. None is loaded with rules that were not checked, and none makes it panic.
func FuzzPermissionFile(f *testing.F) {
	f.Add([]byte(`{"record": {"*": {"read": "true"}}, "event": {"*": {}}, "rpc": {"*": {}}, "presence": {"*": {}}}`), false)
	f.Add([]byte("record: &a {'*': {read: true}}\nevent: *a\nrpc:\n  '*': {}\n  42: {request: data.x}\npresence: {'*': {}}"), true)
	shop, err := os.ReadFile("examples/shop/permissions.yml")
	require.NoError(f, err)
	f.Add(shop, true)
	f.Fuzz(func(t *testing.T, text []byte, asYAML bool) {
		parse := ParseJSON
		if asYAML {
			parse = ParseYAML
		}
		p, err := parse(text, sharing)
		if err != nil {
			e, ok := errors.AsType[*LoadError](err)
			require.True(t, ok, err)
			require.NotEmpty(t, e.Code)
			return
		}
		for _, s := range sections {
			for a := range actions[s.number()] {
				_, _ = p.Evaluate(t.Context(), &Query{User: "u", Section: s, Action: a, Name: "a/b"})
			}
		}
	})
}

// FuzzRuleText loads rules, and runs those that load on one payload each: a hostile one, or one that is small.
func FuzzRuleText(f *testing.F) {
	payloads := hostile()
	names := slices.Sorted(maps.Keys(payloads))
	small := json.RawMessage(`{"s": "x", "p": "x", "n": 5}`)
	texts := map[string]bool{}
	files, err := filepath.Glob("testdata/vectors/*.json")
	require.NoError(f, err)
	for _, name := range files {
		var v struct {
			Permissions struct{ Text string }
			Cases       []struct{ Rule any }
		}
		source, err := os.ReadFile(name)
		require.NoError(f, err)
		require.NoError(f, json.Unmarshal(source, &v))
		var file map[string]map[string]map[string]any
		_ = json.Unmarshal([]byte(v.Permissions.Text), &file)
		for _, types := range file["event"] {
			for _, rule := range types {
				if text, ok := rule.(string); ok {
					texts[text] = true
				}
			}
		}
		for _, c := range v.Cases {
			if text, ok := c.Rule.(string); ok {
				texts[text] = true
			}
		}
	}
	// Each seed is run before anything new is. So they are quick: of the vectors' rules, which other tests run, there is one in
	// eight, and those that take long do so with the payloads that the fuzzer chooses.
	for _, text := range hungry {
		f.Add(text, byte(255))
	}
	for i, text := range slices.Sorted(maps.Keys(texts)) {
		if i%8 == 0 {
			f.Add(text, byte(255))
		}
	}
	f.Fuzz(func(t *testing.T, rule string, which byte) {
		p, err := publishing(t, rule)
		if err != nil {
			_, ok := errors.AsType[*LoadError](err)
			require.True(t, ok, err)
			return
		}
		payload := small
		if int(which) < len(names) {
			payload = payloads[names[which]]
		}
		bytes, err := taken(t, p, asked(payload))
		require.LessOrEqual(t, bytes, uint64(DefaultMaxMemory))
		if err == nil {
			return
		}
		e, ok := errors.AsType[*EvalError](err)
		require.True(t, ok, err)
		require.NotContains(t, err.Error(), "panicked")
		require.NotEmpty(t, e.Failure)
	})
}

// FuzzPath compares plain paths with the regular expressions that deepstream makes of them.
func FuzzPath(f *testing.F) {
	for _, pattern := range []string{"a/$x/b", "a/*", "$x/$y", "*", "a", "$a/$a/*", "x/$", "a$b/*"} {
		f.Add(pattern, "a/b/b")
		f.Add(pattern, "a/\u2028/\n")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(name) || invalidPath(pattern) != "" || len(pattern) > 100 || len(name) > 1000 {
			return
		}
		p := &path{text: pattern}
		if p.compile() != nil || p.re != nil {
			return
		}
		slow := &path{text: pattern, names: p.names}
		require.NoError(t, slow.compileRegexp())
		got, ok, err := p.match(name, nil)
		require.NoError(t, err)
		want, matches, err := slow.match(name, nil)
		require.NoError(t, err)
		require.Equal(t, matches, ok)
		if ok {
			require.True(t, slices.Equal(want, got), "%v %v", want, got)
		}
	})
}

// FuzzPayload compares what is taken for JSON with encoding/json.
func FuzzPayload(f *testing.F) {
	for _, text := range []string{`{"a": [1, -0.5e+3, "x\u00e9\ud83d\ude00\n", true, null]}`, `01`, `"\x"`, `[1,]`, ` 1 `, `{"__proto__": {}}`, `1e400`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := &reader{left: DefaultMaxInput}
		d, err := r.parse(text, everything)
		if errors.Is(err, errTooMuch) {
			return
		}
		require.Equal(t, json.Valid(text) && utf8.Valid(text), err == nil, "%q: %v", text, err)
		if err != nil {
			return
		}
		m, err := shared.take(t.Context(), nil)
		require.NoError(t, err)
		defer shared.give(m)
		require.NotNil(t, d.value(m.vm))
	})
}
