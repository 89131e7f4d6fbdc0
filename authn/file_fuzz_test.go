package authn

import (
	"errors"
	"strings"
	"testing"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/strictjson"
)

// FuzzFile: a file is refused at a place within it, or has users whose passwords can be looked at in bounded time.
func FuzzFile(f *testing.F) {
	const hash = "$pbkdf2-sha256$i=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, seed := range []string{
		`{"users": {"a": {"password": "` + hash + `", "roles": ["A"], "clientData": 1, "serverData": {"a": [null]}}}}`,
		`{"hash": "sha512", "iterations": 1, "keyLength": 1, "users": {"\"\\": {"password": "cA==s"}}, "reportInvalidParameters": false}`,
		`{"users": {"a": {"password": "x"}, "b": {"pass` + "\n" + `word": ""}}}`,
		`{"hash": false, "users": {"\ud83d\ude00": {"password": ""}}}`,
		"{", `[]`, `{"users": 1}`, "",
	} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, clear bool) {
		users, err := parseFile(text, FileConfig{ClearText: clear})
		if err != nil {
			e, ok := errors.AsType[*FileError](err)
			if !ok || users != nil || e.Line < 1 || e.Line > strings.Count(text, "\n")+1 || e.Column < 1 || e.Column > len(text)+1 {
				t.Fatalf("%#v", err)
			}
			return
		}
		if strictjson.Valid(text, fileLimits) != nil || len(users.users) == 0 {
			t.Fatal("a file that is not in order")
		}
		for name, u := range users.users {
			p := &u.Password
			if chansec.CheckSystemID(name) != nil || len(p.key) == 0 || p.iterations == 0 && !clear {
				t.Fatalf("user %q", name)
			}
			if p.iterations > 0 && p.iterations*p.method.rounds() > MaxIterations {
				t.Fatalf("user %q costs %d", name, p.iterations*p.method.rounds())
			}
		}
	})
}

// FuzzPassword: what is read as a password is one way to write it.
func FuzzPassword(f *testing.F) {
	f.Add("$pbkdf2-sha256$i=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "cA==s")
	f.Fuzz(func(t *testing.T, text, legacy string) {
		if p, err := ParsePassword(text); err == nil {
			if p.iterations < 1 || p.iterations > MaxIterations || len(p.key) != 32 || p.write() != text {
				t.Fatalf("%q", text)
			}
		}
		d := DeepstreamHash{Hash: "md5", Iterations: 1, KeyLength: 1}
		if p, err := d.ParsePassword(legacy); err == nil && (len(p.key) != 1 || legacy[4:] != string(p.salt)) {
			t.Fatalf("%q", legacy)
		}
	})
}

// FuzzTokens: readers of tokens lose nothing and name nobody by accident.
func FuzzTokens(f *testing.F) {
	f.Add("alice:pw")
	f.Add("YWxpY2U6cHc=")
	f.Add(`"A \"x\"", 'B'`)
	f.Fuzz(func(t *testing.T, token string) {
		if name, password := PasswordToken(token); name == "" && string(password) != token || name != "" && name+":"+string(password) != token {
			t.Fatalf("%q", token)
		}
		if name, password := BasicToken(token); name == "" && string(password) != token || strings.Contains(name, ":") {
			t.Fatalf("%q", token)
		}
		if roles, ok := readRoles(token); ok {
			again, ok := readRoles(writeRoles(roles))
			if !ok || strings.Join(again, "\x00") != strings.Join(roles, "\x00") || len(again) != len(roles) {
				t.Fatalf("%q", token)
			}
		}
	})
}

// writeRoles writes roles as the property has them.
func writeRoles(roles []string) string {
	var quoted []string
	for _, r := range roles {
		quoted = append(quoted, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace(r)+`"`)
	}
	return strings.Join(quoted, ",")
}
