package session_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/session"
)

// TestNothingSecretIsSaid lets everything happen that makes an error, a line of a log, an event or a record, and looks for the
// password, the tokens and their hashes in whatever can be printed.
func TestNothingSecretIsSaid(t *testing.T) {
	const password = "hunter2-hunter2"
	var said strings.Builder
	log, logged := logTo()
	say := func(values ...any) {
		for _, v := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
				fmt.Fprintf(&said, verb+"\n", v)
			}
			if text, err := json.Marshal(v); err == nil {
				said.Write(text)
			}
			log.Info("said", "value", v)
			slog.New(slog.NewJSONHandler(&said, nil)).Info("said", "value", v)
			if err, ok := v.(error); ok {
				for ; err != nil; err = errors.Unwrap(err) {
					fmt.Fprintf(&said, "%v %+v %#v\n", err, err, err)
				}
			}
		}
	}
	c := &chain{}
	b := &faulty{MemoryBackend: memory(t)}
	s := sessionsOf(t, session.Config{Chain: c, Backend: b, Log: log, Permits: byRole, Observe: func(e session.Event) {
		say(e, e.Err, e.Session, e.Before, e.Session.Properties())
	}})
	r := func() *authn.Request {
		r := as("alice", "reader")
		r.Credentials = []byte(password)
		r.Connection.Header = map[string][]string{"Authorization": {"Bearer " + password}}
		r.Proposed = map[string]string{"password": password}
		return r
	}
	n, err := s.Open(t.Context(), r())
	require.NoError(t, err)
	var secrets []string
	for range 2 {
		token, err := n.NewToken()
		require.NoError(t, err)
		secrets = append(secrets, token)
		_, err = s.Authenticate(t.Context(), token)
		require.NoError(t, err)
		_, err = s.Authenticate(t.Context(), token+"x")
		say(err)
	}
	p, err := s.Authenticate(t.Context(), secrets[1])
	require.NoError(t, err)
	caller := chansec.StaticCaller(p)
	say(n, s, p, caller, n.Info())
	require.NoError(t, n.Refresh(t.Context(), r()))
	for _, login := range []func(*authn.Request) (*authn.Login, error){
		refused,
		func(*authn.Request) (*authn.Login, error) { return nil, &authn.RefusedError{By: "db", Err: errDisk} },
		func(r *authn.Request) (*authn.Login, error) { panic(string(r.Credentials)) },
		func(r *authn.Request) (*authn.Login, error) { // somebody typed it into the wrong field
			return &authn.Login{Principal: chansec.Principal{SystemID: password + "\n"}}, nil
		},
	} {
		c.answer(login)
		say(n.ChangePrincipal(t.Context(), r()))
		_, err := s.Open(t.Context(), r())
		say(err)
	}
	c.answer(nil)
	_, err = s.For(n).Kick(t.Context(), session.All, "")
	say(err)
	for _, how := range []int32{1, 2, 0} {
		b.open.Store(how)
		_, err := s.Open(t.Context(), r())
		say(err)
	}
	ch := broadcast(t, roleReads{})
	lease, err := ch.For(n).Subscribe(t.Context())
	require.NoError(t, err)
	_, err = s.Root().Kick(t.Context(), session.All, "why")
	require.NoError(t, err)
	say(over(t, lease), n.Err(), n, s)
	_, err = ch.For(n).Read(t.Context(), 1)
	say(err)
	_, err = s.Resume(secrets[1])
	say(err)
	for record, err := range b.Records(t.Context(), false) {
		say(record, err)
	}

	text := strings.ToLower(said.String() + logged())
	require.Greater(t, len(text), 10_000)
	require.Contains(t, text, strings.ToLower(n.ID()), "an ID is no secret, so this looks where it should")
	for _, secret := range append(secrets, password) {
		hash := sha256.Sum256([]byte(secret))
		for what, spelled := range map[string]string{"itself": secret, "in hexadecimal": hex.EncodeToString([]byte(secret)), "in base64": base64.StdEncoding.EncodeToString([]byte(secret)),
			"as bytes": strings.Trim(fmt.Sprint([]byte(secret)), "[]"), "its hash": hex.EncodeToString(hash[:]), "its hash in base64": base64.StdEncoding.EncodeToString(hash[:]),
			"its hash as bytes": strings.Trim(fmt.Sprint(hash[:]), "[]")} {
			require.NotContains(t, text, strings.ToLower(spelled), what)
		}
	}
}
