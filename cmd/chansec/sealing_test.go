package main

import (
	"encoding/json"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/sqlstore"
)

// sealingFiles makes files of sealing keys with these IDs, and returns their names and what none of them may show.
func sealingFiles(t *testing.T, ids ...string) (files map[string]string, secrets []string) {
	files = map[string]string{}
	dir := t.TempDir()
	for _, id := range ids {
		files[id] = filepath.Join(dir, id+".jwk")
		got := ran(t.Context(), "", nil, "key", "new", "a256gcm", "--out", files[id], "--id", id)
		require.Zero(t, got.status, got.err)
		text, err := os.ReadFile(files[id])
		require.NoError(t, err)
		var j jwk
		require.NoError(t, json.Unmarshal(text, &j))
		require.Equal(t, []string{"oct", id, "A256GCM", "enc"}, []string{j.Type, j.ID, j.Algorithm, j.Use})
		secrets = append(secrets, j.K)
	}
	return files, secrets
}

func TestADatabaseWithSealedUsersIsServedAndAdministrated(t *testing.T) {
	files, secrets := sealingFiles(t, "one", "two")
	contents := func(ids ...string) string {
		var all string
		for _, id := range ids {
			text, err := os.ReadFile(files[id])
			require.NoError(t, err)
			all += string(text)
		}
		return "CHANSEC_SEALING_KEYS=" + all
	}
	dir := t.TempDir()
	database := filepath.Join(dir, "c.db")
	configured := func(keys string) string {
		file := filepath.Join(dir, "c.yaml")
		require.NoError(t, os.WriteFile(file, []byte("database: "+database+"\n"+keys+"wamp: {listen: '127.0.0.1:0'}\n"), 0o600))
		return file
	}
	do := func(env []string, line string, more ...string) answer {
		got := ran(t.Context(), "", append(env, "CHANSEC_DATABASE="+database, "CHANSEC_NEW_SECRET=her own", "CHANSEC_ADMIN_SECRET=the administrator's"),
			append(strings.Fields(line), more...)...)
		for _, secret := range append(secrets, "her own", "the administrator's") {
			require.NotContains(t, got.out+got.err, secret, line)
		}
		return got
	}
	refused := func(got answer, want ...string) {
		t.Helper()
		require.Equal(t, exitRefused, got.status, got.out)
		require.Empty(t, got.out)
		for _, text := range append(want, "the key of a user cannot be read", "CHANSEC_SEALING_KEYS") {
			require.Contains(t, got.err, text)
		}
	}
	printed, end := serving(t, []string{"CHANSEC_ADMIN_SECRET=the administrator's"}, "--config", configured("sealing_keys: ["+files["one"]+"]\n"))
	adm := []string{"CHANSEC_URL=" + match(t, `(ws://\S+),`, printed), "CHANSEC_USER=adm", "CHANSEC_SECRET=the administrator's", "CHANSEC_NEW_SECRET=her own"}
	require.Zero(t, ran(t.Context(), "", adm, "user", "add", "ann").status, "by the router, which has the key")
	end()

	for name, keys := range map[string]string{"no key": "", "another key": "sealing_keys: [" + files["two"] + "]\n"} {
		got := do(nil, "serve --config", configured(keys))
		refused(got, `"one", which was not given`)
		require.NotContains(t, got.err, "ws://", name)
	}
	refused(do(nil, "user add zed"), `"one", which was not given`)
	refused(do(nil, "user update ann --new-secret --sealing-key", files["two"]), `"one", which was not given`)
	refused(do([]string{strings.ReplaceAll(contents("two"), `"two"`, `"one"`)}, "user update ann --new-secret"), `"one" does not open it`)
	require.Equal(t, answer{0, "login  ann\n", ""}, do(nil, "user get ann"), "what takes no key goes on")
	require.Zero(t, do(nil, "user update ann --fullname Ann").status)
	require.Equal(t, exitRefused, do(nil, "user get zed").status)

	require.Equal(t, answer{0, "user zed: added\n", ""}, do(nil, "user add zed --sealing-key", files["one"]))
	require.Equal(t, answer{0, "user eve: added\n", ""}, do([]string{contents("one")}, "user add eve"))

	got := do(nil, "user reseal")
	require.Equal(t, exitMisused, got.status)
	require.Contains(t, got.err, "no sealing key")
	refused(do(nil, "user reseal --sealing-key", files["two"]), `"one", which was not given`)
	got = do(nil, "user reseal --user adm --sealing-key", files["two"], "--sealing-key", files["one"])
	require.Equal(t, exitMisused, got.status, "whoever has the database and the keys does so, and no user of it: %s", got.err)
	require.Equal(t, answer{0, "user: 4 sealed anew\n", ""}, do(nil, "user reseal --sealing-key", files["two"], "--sealing-key", files["one"]))
	require.Equal(t, answer{0, "{\n  \"users\": 0\n}\n", ""}, do([]string{contents("two", "one")}, "user reseal --json"))
	refused(do(nil, "serve --config", configured("sealing_keys: ["+files["one"]+"]\n")), `"two", which was not given`)

	printed, _ = serving(t, []string{contents("two")}, "--config", configured(""), "--json")
	var at serves
	require.NoError(t, json.Unmarshal([]byte(printed), &at))
	zed := []string{"CHANSEC_URL=" + at.WAMP, "CHANSEC_USER=zed", "CHANSEC_SECRET=her own"}
	require.Contains(t, ran(t.Context(), "", zed, "user", "list").err, "not-authorized: you may not call", "zed is logged in")
	require.Contains(t, ran(t.Context(), "", append(zed[:2:2], "CHANSEC_SECRET=a guess"), "user", "list").err, "refused the login")
}

// seen is all that a client sees of an attempt to log in, but for what is another for each.
type seen struct {
	Extra, Challenge []string // what there is in the challenge
	Iterations       int64
	Keylen, Salt     int
	Refusal          string
}

// attempt logs in with a secret, and returns what a client sees, and the salt.
func attempt(t *testing.T, url, login, secret string) (s seen, salt string, in *client.Client) {
	in, err := client.ConnectNet(t.Context(), url, client.Config{Realm: defaultRealm, HelloDetails: wamp.Dict{"authid": login}, Logger: log.New(io.Discard, "", 0),
		AuthHandlers: map[string]client.AuthFunc{"wampcra": func(c *wamp.Challenge) (string, wamp.Dict) {
			s.Extra = slices.Sorted(maps.Keys(c.Extra))
			text, _ := wamp.AsString(c.Extra["challenge"])
			members := map[string]any{}
			require.NoError(t, json.Unmarshal([]byte(text), &members))
			require.Equal(t, login, members["authid"])
			s.Challenge = slices.Sorted(maps.Keys(members))
			s.Iterations, _ = wamp.AsInt64(c.Extra["iterations"])
			length, _ := wamp.AsInt64(c.Extra["keylen"])
			salt, _ = wamp.AsString(c.Extra["salt"])
			s.Keylen, s.Salt = int(length), len(salt)
			return crsign.RespondChallenge(secret, c, nil), nil
		}}})
	if err != nil {
		s.Refusal = err.Error()
	}
	return s, salt, in
}

// A router that lost the key, since somebody sealed with another one while it ran, tells nobody who is there.
func TestWithoutTheKeyNobodySeesWhoIsThere(t *testing.T) {
	key := func(id string) sqlstore.SealingKey {
		return sqlstore.SealingKey{ID: id, Key: []byte(strings.Repeat(id, 32)[:32])}
	}
	database := filepath.Join(t.TempDir(), "c.db")
	users := func(keys ...sqlstore.SealingKey) *sqlstore.Users {
		s, err := sqlstore.OpenSQLite(t.Context(), database, sqlstore.Options{Node: "the test",
			Users: sqlstore.UserOptions{Iterations: sqlstore.MinIterations, Keys: keys}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s.Users()
	}
	_, err := users(key("one")).Add(t.Context(), policy.Root(), sqlstore.NewUser{Login: "kim", Secret: "right"})
	require.NoError(t, err)
	one, err := newJWK(material{id: "one", algorithm: sealingAlgorithm, secret: key("one").Key}, true)
	require.NoError(t, err)
	text, err := json.Marshal(one)
	require.NoError(t, err)
	var said screen
	_, at := routed(t, database, &program{err: &said, env: func(name string) string { return map[string]string{sealingVariable: string(text)}[name] }})
	_, before, in := attempt(t, at.String(), "kim", "right")
	require.NotNil(t, in, "with the key kim is let in")
	require.NoError(t, in.Close())

	n, err := users(key("two"), key("one")).Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n)
	ghost, _, _ := attempt(t, at.String(), "ghost", "right")
	require.Equal(t, []string{"challenge", "iterations", "keylen", "salt"}, ghost.Extra)
	require.NotEmpty(t, ghost.Refusal)
	for _, secret := range []string{"right", "wrong", ""} {
		kim, salt, in := attempt(t, at.String(), "kim", secret)
		require.Nil(t, in)
		require.Equal(t, ghost, kim)
		require.Equal(t, before, salt, "it is not even seen that something happened to kim")
	}
	require.Contains(t, said.String(), `it takes the sealing key \"two\", which was not given`)
	require.NotContains(t, said.String(), "right")
}

func TestSealingKeysThatAreNone(t *testing.T) {
	files, secrets := sealingFiles(t, "one")
	dir := t.TempDir()
	put := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	database := filepath.Join(dir, "c.db")
	s, err := sqlstore.OpenSQLite(t.Context(), database, sqlstore.Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	token := filepath.Join(dir, "token.jwk")
	require.Zero(t, ran(t.Context(), "", nil, "key", "new", "hs256", "--out", token, "--id", "one").status)
	one, err := os.ReadFile(files["one"])
	require.NoError(t, err)
	open := func(file string) []string { return []string{"user", "list", "-d", database, "--sealing-key", file} }
	for _, tt := range []struct {
		name   string
		env    string
		args   []string
		status int
		says   string
	}{
		{"no file of that name", "", open(filepath.Join(dir, "typo.jwk")), exitRefused, "typo.jwk"},
		{"a name that is empty", "", open(""), exitMisused, "--sealing-key"},
		{"a key instead of its file", "", open(string(one)), exitMisused, "a key is a secret, and arguments can be read by others"},
		{"a key of tokens instead of its file", "", []string{"token", "verify", "--key", string(one)}, exitMisused, "a key is a secret"},
		{"a secret instead of its file", "", []string{"user", "list", "--user", "ann", "--secret-file", "hunter2"}, exitRefused, "--secret-file: the file cannot be read"},
		{"a key of tokens", "", open(token), exitRefused, `token.jwk": the key is for "HS256": want A256GCM, as of chansec key new a256gcm`},
		{"a key that says nothing of what it is for", "", open(put("plain.jwk", strings.Replace(string(one), `"alg": "A256GCM",`, "", 1))), exitRefused, "want A256GCM"},
		{"a key without an ID", "", open(put("anonymous.jwk", strings.Replace(string(one), `"kid": "one",`, "", 1))), exitRefused, "ID of a sealing key"},
		{"a short key", "", open(put("short.jwk", `{"kty":"oct","alg":"A256GCM","kid":"one","k":"`+secrets[0][:20]+`"}`)), exitRefused, "want 32 bytes"},
		{"no key at all", "", open(put("none.jwk", "hunter2")), exitRefused, "neither a JSON key (JWK) nor PEM"},
		{"one key twice", "", append(open(files["one"]), "--sealing-key", files["one"]), exitRefused, "another one for each key"},
		{"a name of a file in the variable", files["one"], []string{"user", "list", "-d", database}, exitRefused, sealingVariable},
		{"half a key in the variable", string(one[:len(one)-4]), []string{"user", "list", "-d", database}, exitRefused, sealingVariable},
		{"a key of tokens in the variable", `{"kty":"oct","alg":"HS256","kid":"one","k":"` + secrets[0] + `"}`, []string{"user", "list", "-d", database}, exitRefused, "A256GCM"},
		{"keys for a router", "", []string{"user", "list", "--sealing-key", files["one"]}, exitMisused, "--database"},
		{"to reseal on a router", "", []string{"user", "reseal", "--sealing-key", files["one"]}, exitMisused, "--database"},
		{"a token signed by a sealing key", "", []string{"token", "mint", "--key", files["one"], "--subject", "ann", "--role", "read", "--all-channels"}, exitRefused, "A256GCM"},
		{"a trail chained by a sealing key", "", []string{"audit", "verify", dir, "--key", files["one"]}, exitRefused, "A256GCM"},
		{"an ID that rows cannot hold", "", []string{"key", "new", "a256gcm", "--out", filepath.Join(dir, "x.jwk"), "--id", "a b"}, exitMisused, "ID of a sealing key"},
		{"a public half", "", []string{"key", "new", "a256gcm", "--out", filepath.Join(dir, "x.jwk"), "--public", filepath.Join(dir, "y.jwk")}, exitMisused, "no public half"},
	} {
		got := ran(t.Context(), "", []string{sealingVariable + "=" + tt.env}, tt.args...)
		require.Equal(t, tt.status, got.status, "%s: %s", tt.name, got.err)
		require.Contains(t, got.err, tt.says, tt.name)
		for _, secret := range append(secrets, secrets[0][:20], "hunter2") {
			require.NotContains(t, got.out+got.err, secret, tt.name)
		}
	}
	require.NoFileExists(t, filepath.Join(dir, "x.jwk"))

	require.NoError(t, os.Chmod(files["one"], 0o640))
	got := ran(t.Context(), "", nil, open(files["one"])...)
	require.Zero(t, got.status)
	require.Contains(t, got.err, "warning: other users may read the key")
	made := filepath.Join(dir, "made.jwk")
	got = ran(t.Context(), "", nil, "key", "new", "a256gcm", "--out", made)
	require.Zero(t, got.status, got.err)
	require.Regexp(t, `(?m)^kid +\S+$`, got.out, "rows remember an ID, so that there is one")
	require.Zero(t, ran(t.Context(), "", nil, open(made)...).status)
}
