package authn_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

const secret = "correct horse battery staple"

// cheap hashes a password at a cost for tests.
func cheap(t testing.TB, password string) string {
	hash, err := authn.HashPassword(password, 10)
	require.NoError(t, err)
	return hash
}

func TestAFileSaysWhoIsWho(t *testing.T) {
	t.Parallel()
	file, err := openText(t, `{"users": {
		"alice": {"password": "`+cheap(t, secret)+`", "roles": ["TRADER", "A"], "clientData": {"theme": "dark"}, "serverData": {"team": "fx"}},
		"bob": {"password": "`+cheap(t, "b")+`"},
		"nothing": {"password": "`+cheap(t, "n")+`", "roles": []}
	}}`, authn.FileConfig{})
	require.NoError(t, err)
	c := chain(t, authn.Config{Roles: func(string) []string { return []string{"CLIENT"} }}, file)
	login, err := c.Login(t.Context(), by("alice", secret))
	require.NoError(t, err)
	require.Equal(t, chansec.Principal{SystemID: "alice", Proof: authn.ProofPassword, Roles: []string{"A", "TRADER"},
		Attributes: map[string]any{"team": "fx"}}, login.Principal)
	require.Equal(t, map[string]any{"theme": "dark"}, login.ClientData)
	login, err = c.Login(t.Context(), by("bob", "b"))
	require.NoError(t, err)
	require.Equal(t, []string{"CLIENT"}, login.Principal.Roles, "the default ones")
	login, err = c.Login(t.Context(), by("nothing", "n"))
	require.NoError(t, err)
	require.Empty(t, login.Principal.Roles, "none is what is there")

	for name, r := range map[string]*authn.Request{
		"another's password":     by("bob", secret),
		"a part of it":           by("alice", secret[1:]),
		"no password":            {Principal: "alice"},
		"an empty password":      by("alice", ""),
		"an unknown user":        by("carol", secret),
		"another case":           by("Alice", secret),
		"a blank after":          by("alice ", secret),
		"nobody":                 by("", secret),
		"a NUL after":            by("alice", secret+"\x00"),
		"the name of a property": by("password", secret),
	} {
		_, err := c.Login(t.Context(), r)
		require.ErrorIs(t, err, chansec.ErrUnauthenticated, name)
	}
}

func TestWrongPasswordsAreFinalOrPassedOn(t *testing.T) {
	t.Parallel()
	text := `{"users": {"alice": {"password": "` + cheap(t, secret) + `"}}}`
	for _, row := range []struct {
		name    string
		config  authn.PasswordConfig
		request *authn.Request
		want    authn.Answer
	}{
		{"a wrong password", authn.PasswordConfig{}, by("alice", "x"), authn.Deny},
		{"a wrong password, passed on", authn.PasswordConfig{PassOn: true}, by("alice", "x"), authn.Abstain},
		{"an unknown user", authn.PasswordConfig{}, by("bob", "x"), authn.Abstain},
		{"no password", authn.PasswordConfig{}, &authn.Request{Principal: "alice"}, authn.Abstain},
		{"no name", authn.PasswordConfig{}, by("", "x"), authn.Abstain},
		{"no password, alone", authn.PasswordConfig{RefuseIncomplete: true}, &authn.Request{Principal: "alice"}, authn.Deny},
		{"no name, alone", authn.PasswordConfig{RefuseIncomplete: true}, by("", "x"), authn.Deny},
		{"no password, both", authn.PasswordConfig{RefuseIncomplete: true, PassOn: true}, &authn.Request{Principal: "alice"}, authn.Abstain},
	} {
		file, err := openText(t, text, authn.FileConfig{PasswordConfig: row.config})
		require.NoError(t, err)
		require.Equal(t, row.want, ask(t, file, row.request).Answer, row.name)
		require.Equal(t, authn.Allow, ask(t, file, by("alice", secret)).Answer, row.name)
	}
}

func TestAFileThatIsNotInOrderIsRefused(t *testing.T) {
	t.Parallel()
	hash := cheap(t, secret)
	parts := strings.Split(hash, "$") // "", mark, cost, salt, key
	with := func(i int, text string) string {
		changed := slices.Clone(parts)
		changed[i] = text
		return strings.Join(changed, "$")
	}
	user := func(password string) string {
		return "{\"users\": {\n \"alice\": {\"password\": \"" + password + "\"}}}"
	}
	for _, row := range []struct {
		name, text string
		at         string // line:column
		where      string
	}{
		{"nothing", "", "1:1", ""},
		{"no object", "[]", "1:1", ""},
		{"half of one", "{\"users\": {\n", "2:1", ""},
		{"something after it", user(hash) + "\n{}", "3:1", ""},
		{"no users", "{}", "1:1", "users"},
		{"an empty list of users", "{\"users\": {}}", "1:11", "users"},
		{"users that are a list", "{\"users\": []}", "1:11", "users"},
		{"another member", "{\n\"users\": {\"a\": {\"password\": \"" + hash + "\"}},\n\"user\": 1}", "3:9", ""},
		{"two users of one name", "{\"users\": {\"a\": {},\n\"a\": {}}}", "2:9", ""}, // the end of the list
		{"a user without a name", "{\"users\": {\n\"\": {}}}", "2:5", `user ""`},
		{"a user who is no object", "{\"users\": {\n\"a\": 7}}", "2:6", `user "a"`},
		{"a user without a password", "{\"users\": {\n\"a\": {\"roles\": []}}}", "2:6", `user "a": password`},
		{"a member that is misspelt", "{\"users\": {\n\"a\": {\"pasword\": \"\"}}}", "2:18", `user "a"`},
		{"a password that is a number", "{\"users\": {\n\"a\": {\"password\": 5}}}", "2:19", `user "a": password`},
		{"a password in clear text", user(secret), "2:24", `user "alice": password`},
		{"a cost of 0", user(with(2, "i=0")), "2:24", `user "alice": password`},
		{"a cost that takes minutes", user(with(2, "i=6000001")), "2:24", `user "alice": password`},
		{"a cost with a zero before", user(with(2, "i=010")), "2:24", `user "alice": password`},
		{"a cost that is none", user(with(2, "10")), "2:24", `user "alice": password`},
		{"a short salt", user(with(3, "AAAA")), "2:24", `user "alice": password`},
		{"a salt that is no base64", user(with(3, "!!!!!!!!!!!!!!!!")), "2:24", `user "alice": password`},
		{"a salt with padding", user(with(3, "AAAAAAAAAAAAAAAAAAAAAA==")), "2:24", `user "alice": password`},
		{"a salt with a line feed", user(with(3, `AAAAAAAAAAA\nAAAAAAAAAAA`)), "2:24", `user "alice": password`},
		{"a short key", user(with(4, "AAAAAAAAAAAAAAAAAAAAAA")), "2:24", `user "alice": password`},
		{"a part too many", user(hash + "$"), "2:24", `user "alice": password`},
		{"roles that are a text", "{\"users\": {\"a\": {\"password\": \"" + hash + "\",\n\"roles\": \"A\"}}}", "2:10", `user "a": roles`},
		{"a role without a name", "{\"users\": {\"a\": {\"password\": \"" + hash + "\",\n\"roles\": [\"\"]}}}", "2:10", `user "a": roles`},
		{"server data that is a list", "{\"users\": {\"a\": {\"password\": \"" + hash + "\",\n\"serverData\": [1]}}}", "2:15", `user "a": serverData`},
		{"an unknown hash", "{\"hash\": \"crc\", \"iterations\": 1, \"keyLength\": 32,\n\"users\": {\"a\": {\"password\": \"\"}}}", "1:10", "hash"},
		{"a hash that is true", "{\"hash\": true, \"users\": {\"a\": {\"password\": \"\"}}}", "1:10", "hash"},
		{"a cost of deepstream's that takes minutes", "{\"hash\": \"md5\", \"iterations\": 400000, \"keyLength\": 1024, \"users\": {\"a\": {\"password\": \"\"}}}", "1:10", "hash"},
		{"a report that is a text", "{\"reportInvalidParameters\": \"no\", \"users\": {\"a\": {\"password\": \"\"}}}", "1:29", "reportInvalidParameters"},
		{"a hash of deepstream's that is too short", "{\"hash\": \"md5\", \"iterations\": 1, \"keyLength\": 32,\n\"users\": {\"a\": {\"password\": \"" + secret + "\"}}}", "2:29", `user "a": password`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := openText(t, row.text, authn.FileConfig{})
			e, ok := errors.AsType[*authn.FileError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, row.at, fmt.Sprintf("%d:%d", e.Line, e.Column), "%v", err)
			require.Equal(t, row.where, e.Where)
			require.Equal(t, "users.json", filepath.Base(e.Path))
			require.NotContains(t, err.Error(), secret)
			require.NotContains(t, err.Error(), parts[4])
		})
	}
	_, err := openText(t, user(hash), authn.FileConfig{})
	require.NoError(t, err, "the neighbour of all of them")
	_, err = authn.OpenFile(filepath.Join(t.TempDir(), "none.json"), authn.FileConfig{})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = authn.OpenFile(t.TempDir(), authn.FileConfig{})
	require.Error(t, err, "a folder")
	_, err = openText(t, user(hash)+strings.Repeat(" ", authn.MaxFileBytes), authn.FileConfig{})
	require.ErrorIs(t, err, chansec.ErrInvalid, "a file that is too long")
}

func TestAFileWarnsOfWeakPasswords(t *testing.T) {
	t.Parallel()
	good := strings.Replace(cheap(t, secret), "i=10$", "i=600000$", 1) // which nobody has to compute here
	file, err := openText(t, `{"users": {"z": {"password": "`+cheap(t, "x")+`"}, "a": {"password": "x"}, "good": {"password": "`+good+`"}}}`, authn.FileConfig{ClearText: true})
	require.NoError(t, err)
	require.Equal(t, []authn.Weakness{{User: "a", Problem: "the password is in clear text"}, {User: "z", Problem: "there are only 10 iterations"}}, file.Weaknesses())
	file, err = openText(t, `{"hash": "md5", "iterations": 100, "keyLength": 32, "users": {"u": {"password": "rCOSZxJrgze2AZdVQh12c6ErDMOG0M+Rx5Yu7S5d91c=GS4SbTQYmoaGwjm2shEobg=="},
		"ours": {"password": "`+cheap(t, secret)+`"}}}`, authn.FileConfig{})
	require.NoError(t, err)
	require.Equal(t, []authn.Weakness{{User: "ours", Problem: "there are only 10 iterations"}, {User: "u", Problem: "the hash is md5, not sha256"}}, file.Weaknesses())
	require.Equal(t, authn.Allow, ask(t, file, by("u", "password")).Answer, "deepstream's own example")
	require.Equal(t, authn.Allow, ask(t, file, by("ours", secret)).Answer, "the two kinds side by side")
}

func TestHashPasswordRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		password   string
		iterations int
	}{{"", 10}, {strings.Repeat("x", authn.MaxPassword+1), 10}, {"x", -1}, {"x", authn.MaxIterations + 1}} {
		_, err := authn.HashPassword(row.password, row.iterations)
		require.ErrorIs(t, err, chansec.ErrInvalid)
	}
	one, err := authn.HashPassword(secret, 10)
	require.NoError(t, err)
	other, err := authn.HashPassword(secret, 10)
	require.NoError(t, err)
	require.NotEqual(t, one, other, "each has its own salt")
	require.Regexp(t, `^\$pbkdf2-sha256\$i=10\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, one)
}

// TestTheStoredHashIsNoPassword: whoever steals the file has to guess all the same.
func TestTheStoredHashIsNoPassword(t *testing.T) {
	t.Parallel()
	hash := cheap(t, secret)
	file, err := openText(t, `{"users": {"a": {"password": "`+hash+`"}}}`, authn.FileConfig{ClearText: true})
	require.NoError(t, err)
	require.Equal(t, authn.Deny, ask(t, file, by("a", hash)).Answer)
	require.Equal(t, authn.Allow, ask(t, file, by("a", secret)).Answer)
}

// TestNoOtherPasswordFits: the key of an HMAC is filled up with NULs, and hashed where it is longer than a block.
func TestNoOtherPasswordFits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(secret, 4)
	digest := sha256.Sum256([]byte(long))
	file, err := openText(t, `{"users": {"a": {"password": "`+cheap(t, secret)+`"}, "long": {"password": "`+cheap(t, long)+`"}}}`, authn.FileConfig{})
	require.NoError(t, err)
	require.Equal(t, authn.Allow, ask(t, file, by("a", secret)).Answer)
	require.Equal(t, authn.Allow, ask(t, file, by("long", long)).Answer)
	for _, other := range []*authn.Request{by("a", secret+"\x00"), by("a", secret+"\x00\x00"), by("long", string(digest[:])), by("long", long[:64])} {
		require.Equal(t, authn.Deny, ask(t, file, other).Answer)
	}
	for _, password := range []string{"a\x00", "\xff"} {
		_, err := authn.HashPassword(password, 10)
		require.ErrorIs(t, err, chansec.ErrInvalid)
	}
}

// write puts a file in its place as editors do, and says it was written at a time, so that no clock is too coarse.
func write(t *testing.T, path, text string, at time.Time) {
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Chtimes(path+".new", at, at))
	require.NoError(t, os.Rename(path+".new", path))
}

func TestAFileIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "users.json")
		users := func(name string) string {
			return `{"users": {"` + name + `": {"password": "` + cheap(t, secret) + `"}}}`
		}
		told := make(chan error, 8)
		write(t, path, users("alice"), time.Now())
		file, err := authn.OpenFile(path, authn.FileConfig{Reloaded: func(err error) { told <- err }})
		require.NoError(t, err)
		defer file.Close()
		in := func(name string) bool { return ask(t, file, by(name, secret)).Answer == authn.Allow }
		poll := func() (all []error) {
			time.Sleep(authn.DefaultPoll)
			synctest.Wait()
			for len(told) > 0 {
				all = append(all, <-told)
			}
			return all
		}
		require.True(t, in("alice"))
		require.Empty(t, poll(), "nothing has changed")

		write(t, path, users("bob"), time.Now())
		require.True(t, in("alice"), "until it is looked at")
		require.Equal(t, []error{nil}, poll())
		require.False(t, in("alice"))
		require.True(t, in("bob"))

		for name, breaks := range map[string]func(){
			"half of it":      func() { write(t, path, users("carol")[:40], time.Now()) },
			"nothing":         func() { write(t, path, "", time.Now()) },
			"another hash":    func() { write(t, path, strings.Replace(users("carol"), "i=", "x=", 1), time.Now()) },
			"it is not there": func() { require.NoError(t, os.Remove(path)) },
		} {
			breaks()
			all := poll()
			require.Len(t, all, 1, name)
			require.Error(t, all[0], name)
			require.Error(t, file.Reload(), name)
			require.Empty(t, poll(), "it is told once: %s", name)
			require.True(t, in("bob"), "the last good one counts: %s", name)
			require.False(t, in("carol"), name)
		}
		write(t, path, users("carol"), time.Now())
		require.Equal(t, []error{nil}, poll())
		require.True(t, in("carol"))
		require.False(t, in("bob"))

		// The same name, size and time, as a coarse clock has them, but not the same text.
		at := time.Now()
		write(t, path, users("carol"), at)
		require.NoError(t, file.Reload())
		require.NoError(t, os.WriteFile(path, []byte(users("david")), 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
		require.Equal(t, []error{nil}, poll())
		require.True(t, in("david"))
	})
}

// TestAReloadLeavesNoGap: somebody who is in both versions is let in all the time.
func TestAReloadLeavesNoGap(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.json")
	text := func(i int) string {
		return fmt.Sprintf(`{"users": {"alice": {"password": "%s"}, "user %d": {"password": "%s"}}}`, cheap(t, secret), i, cheap(t, secret))
	}
	write(t, path, text(0), time.Now())
	file, err := authn.OpenFile(path, authn.FileConfig{Poll: -1})
	require.NoError(t, err)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				answer, err := file.Authenticate(t.Context(), by("alice", secret))
				if err != nil || answer.Answer != authn.Allow {
					t.Errorf("%v %v", answer.Answer, err)
					return
				}
			}
		})
	}
	for i := range 100 {
		if i%3 == 0 {
			write(t, path, "broken", time.Now())
			require.Error(t, file.Reload())
		}
		write(t, path, text(i), time.Now())
		require.NoError(t, file.Reload())
	}
	close(stop)
	wg.Wait()
}

// lookupOnly is users to whom none can be added.
type lookupOnly struct{ authn.Users }

func TestUsersOfAStore(t *testing.T) {
	t.Parallel()
	password, err := authn.ParsePassword(cheap(t, secret))
	require.NoError(t, err)
	store := table{"alice": {Principal: "id-1", Password: password, Roles: []string{"A"}}, "none": {}}
	handler, err := authn.NewPasswords(store, authn.UsersConfig{Iterations: 10})
	require.NoError(t, err)
	got := ask(t, handler, by("alice", secret))
	require.Equal(t, authn.Response{Answer: authn.Allow, Principal: "id-1", Proof: authn.ProofPassword, Roles: []string{"A"}}, got)
	require.Equal(t, authn.Deny, ask(t, handler, by("alice", "x")).Answer)
	require.Equal(t, authn.Abstain, ask(t, handler, by("bob", secret)).Answer)
	for _, guess := range []string{"", "\x00", secret, strings.Repeat("\x00", 32)} {
		require.Equal(t, authn.Deny, ask(t, handler, by("none", guess)).Answer, "a user without a password has none that fits")
	}
	_, err = handler.Authenticate(t.Context(), by("boom", secret))
	require.ErrorIs(t, err, errStore)

	for name, f := range map[string]func() (*authn.Passwords, error){
		"no users": func() (*authn.Passwords, error) { return authn.NewPasswords(nil, authn.UsersConfig{}) },
		"a store that takes none": func() (*authn.Passwords, error) {
			return authn.NewPasswords(lookupOnly{store}, authn.UsersConfig{Create: true})
		},
		"a cost that takes minutes": func() (*authn.Passwords, error) {
			return authn.NewPasswords(store, authn.UsersConfig{Iterations: authn.MaxIterations + 1})
		},
		"a negative queue": func() (*authn.Passwords, error) {
			return authn.NewPasswords(store, authn.UsersConfig{PasswordConfig: authn.PasswordConfig{Queue: -1}})
		},
	} {
		_, err := f()
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
	_, err = openText(t, `{}`, authn.FileConfig{PasswordConfig: authn.PasswordConfig{Hashing: -1}})
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

func TestNewUsersAreCreatedOnlyIfAskedFor(t *testing.T) {
	t.Parallel()
	store := table{}
	handler, err := authn.NewPasswords(store, authn.UsersConfig{Iterations: 10, Create: true})
	require.NoError(t, err)
	require.Equal(t, authn.Abstain, ask(t, handler, by("", secret)).Answer)
	require.Equal(t, authn.Abstain, ask(t, handler, by("alice", "")).Answer, "an empty password makes nobody")
	_, err = handler.Authenticate(t.Context(), by("a\nb", secret))
	require.ErrorIs(t, err, chansec.ErrInvalid)
	require.Empty(t, store)
	require.Equal(t, "id of alice", ask(t, handler, by("alice", secret)).Principal)
	require.Equal(t, authn.Deny, ask(t, handler, by("alice", "x")).Answer)
	plain, err := authn.NewPasswords(store, authn.UsersConfig{Iterations: 10})
	require.NoError(t, err)
	require.Equal(t, authn.Abstain, ask(t, plain, by("bob", secret)).Answer)
	require.Len(t, store, 1)
}
