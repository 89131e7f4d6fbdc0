package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAConfigurationIsReadStrictly(t *testing.T) {
	const good = "database: d.db\nwamp: {listen: '127.0.0.1:8080'}\n"
	for _, tt := range []struct {
		name, text string
		want       []string // of the error; none: it is right
	}{
		{"the least that there can be", good, nil},
		{"all of it", good + "node: a\nmax_staleness: 10s\nactivity: {required: true}\nhttp: {listen: '[::1]:0', key: k.jwk, channels: [{id: com.x, kind: queue}]}\n", nil},
		{"an unknown key", "databse: d.db\nwamp:\n  lsten: x\n", []string{`c.yaml:1: there is no key "databse": did you mean database?`, `c.yaml:3: there is no key "lsten": did you mean listen?`}},
		{"a key that is there twice", good + "node: a\nnode: b\n", []string{`"node" is there twice`}},
		{"keys that seal", good + "sealing_keys: [new.jwk, old.jwk]\n", nil},
		{"one where there is a list", good + "sealing_keys: new.jwk\n", []string{"c.yaml:3: want a list"}},
		{"a file without a name", good + "sealing_keys: [new.jwk, '']\n", []string{"sealing_keys: the name of number 2 is empty"}},
		{"a list where there is one value", good + "node: [a]\n", []string{"c.yaml:3: want one value"}},
		{"a value where there are keys", "database: d.db\nwamp: yes\n", []string{"c.yaml:2: want keys and values"}},
		{"a word where there is a time", good + "max_staleness: soon\n", []string{"line 3"}},
		{"an alias", "database: &d d.db\nnode: *d\n", []string{"anchors and aliases are not used here"}},
		{"two documents", good + "---\n" + good, []string{"more than one document"}},
		{"nothing", "", []string{"is empty"}},
		{"no YAML", "a: [", []string{"c.yaml: line 1"}},
		{"nothing to serve", "database: d.db\n", []string{"nothing to serve"}},
		{"no database", "wamp: {listen: '127.0.0.1:0'}\n", []string{"database is missing"}},
		{"a password in it", "database: postgres://u:hunter2@h/d\nwamp: {listen: '127.0.0.1:0'}\n", []string{"PGPASSWORD"}},
		{"a password behind it", "database: postgres://u@h/d?password=hunter2\nwamp: {listen: '127.0.0.1:0'}\n", []string{"PGPASSWORD"}},
		{"a password among words", "database: host=h password=hunter2\nwamp: {listen: '127.0.0.1:0'}\n", []string{"PGPASSWORD"}},
		{"a password in no address", "database: 'postgres://u:hunter2@h:x/d'\nwamp: {listen: '127.0.0.1:0'}\n", []string{"the database's address is none"}},
		{"nothing but a remark", "# database: d.db\n", []string{"is empty"}},
		{"a key without a value", good + "activity: {required: }\n", []string{"c.yaml:3: want one value"}},
		{"everybody may listen", "database: d.db\nwamp: {listen: ':8080'}\n", []string{"nothing is encrypted"}},
		{"everybody may listen, on purpose", "database: d.db\ninsecure: true\nwamp: {listen: ':8080'}\n", nil},
		{"a path with a place for a word", "database: d.db\nwamp: {listen: '127.0.0.1:0', path: '/{'}\n", []string{"wamp.path"}},
		{"a path with a blank", "database: d.db\nwamp: {listen: '127.0.0.1:0', path: '/a b'}\n", []string{"wamp.path"}},
		{"a path that leads nowhere", "database: d.db\nwamp: {listen: '127.0.0.1:0', path: '/a/../b'}\n", []string{"wamp.path"}},
		{"half a certificate", good + "tls: {key: k.pem}\n", []string{"both certificate and key"}},
		{"a channel of no kind", good + "http: {listen: '127.0.0.1:0', key: k, channels: [{id: x, kind: brodcast}]}\n", []string{"want one of broadcast"}},
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		require.NoError(t, os.WriteFile(file, []byte(tt.text), 0o600))
		_, err := (&program{}).loadConfig(t.Context(), file)
		if tt.want == nil {
			require.NoError(t, err, tt.name)
			continue
		}
		require.Error(t, err, tt.name)
		for _, want := range tt.want {
			require.Contains(t, err.Error(), want, tt.name)
		}
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func FuzzStrict(f *testing.F) {
	for _, seed := range []string{"database: d.db\nwamp: {listen: 'x'}", "a: &x [*x]", "? [a]\n: b", "- a", "!!binary aGk=: 1", "<<: {a: b}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var c config
		if decodeStrict("f", text, &c) == nil {
			c.complete()
		}
		var cases []policyCase
		_ = decodeStrict("f", text, &cases)
	})
}

func FuzzKeys(f *testing.F) {
	for _, kind := range []string{"hs256", "ed25519", "es256", "a256gcm"} {
		m, err := newMaterial(kind, "id")
		if err != nil {
			f.Fatal(err)
		}
		for _, private := range []bool{true, false} {
			text, err := m.text("jwk", private)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte(`{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB","p":"AQAB","q":"AQAB"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"","y":"","d":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := parseKey(text); err == nil {
			_, _ = m.key("", "")
		}
		keys, err := (&program{env: func(string) string { return string(text) }}).sealingKeys(t.Context(), nil)
		for _, k := range keys {
			require.NoError(t, err)
			require.NoError(t, k.Check())
		}
	})
}
