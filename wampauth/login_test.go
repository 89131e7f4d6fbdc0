package wampauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/router/auth"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
	"github.com/chansec/chansec/wampauth"
)

func TestTheSecretLetsInAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	c, err := w.connect("ann", bySecret(secretOf("ann")))
	require.NoError(t, err)
	defer c.Close()
	details := c.RealmDetails()
	require.Equal(t, "ann", details["authid"])
	require.Equal(t, "user", details["authrole"])
	require.Equal(t, "wampcra", details["authmethod"])
	for name, try := range map[string]func() (*client.Client, error){
		"another secret":   func() (*client.Client, error) { return w.connect("ann", bySecret("guess")) },
		"no secret":        func() (*client.Client, error) { return w.connect("ann", bySecret("")) },
		"an unknown login": func() (*client.Client, error) { return w.connect("bob", bySecret(secretOf("bob"))) },
		"another's secret": func() (*client.Client, error) { return w.connect("bob", byKey(keyOf(t, "ann"))) },
		"no login":         func() (*client.Client, error) { return w.connect("", bySecret(secretOf("ann"))) },
		"nobody at all":    func() (*client.Client, error) { return w.connect("ann", nil) },
		"another method": func() (*client.Client, error) {
			return w.connect("ann", map[string]client.AuthFunc{"anonymous": nil, "scram": nil})
		},
		"a login in other case": func() (*client.Client, error) { return w.connect("ANN", byKey(keyOf(t, "ann"))) },
		"an answer of no base64": func() (*client.Client, error) {
			return w.connect("ann", map[string]client.AuthFunc{"wampcra": answers("%")})
		},
		"an answer that is long": func() (*client.Client, error) {
			return w.connect("ann", map[string]client.AuthFunc{"wampcra": answers(strings.Repeat("A", 1<<20))})
		},
	} {
		_, err := try()
		require.ErrorContains(t, err, "authenticat", name)
	}
}

func answers(s string) client.AuthFunc {
	return func(*wamp.Challenge) (string, wamp.Dict) { return s, wamp.Dict{} }
}

// challenged returns the challenge that a login gets, and what becomes of an answer.
func (w *world) challenged(login string, answer func(*wamp.Challenge) wamp.Message) (c *wamp.Challenge, abort *wamp.Abort) {
	w.Helper()
	p := w.attach(nil)
	defer p.Close()
	p.Send() <- &wamp.Hello{Realm: "realm1", Details: wamp.Dict{"authid": login, "authmethods": wamp.List{"wampcra"}, "roles": wamp.Dict{"caller": wamp.Dict{}}}}
	select {
	case msg := <-p.Recv():
		if a, ok := msg.(*wamp.Abort); ok {
			return nil, a
		}
		c = msg.(*wamp.Challenge)
	case <-time.After(5 * time.Second):
		require.Fail(w, "no challenge")
	}
	if answer == nil {
		return c, nil
	}
	p.Send() <- answer(c)
	return c, receive[*wamp.Abort](w, p)
}

func TestNobodyCanTellWhetherALoginExists(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	wrong := func(*wamp.Challenge) wamp.Message { return &wamp.Authenticate{Signature: "AAAA"} }
	known, refusedKnown := w.challenged("ann", wrong)
	unknown, refusedUnknown := w.challenged("bob", wrong)
	require.Equal(t, refusedKnown, refusedUnknown)
	shape := func(c *wamp.Challenge) map[string]string {
		fields := map[string]string{}
		for k, v := range c.Extra {
			fields[k] = fmt.Sprintf("%T", v)
		}
		var inner map[string]any
		require.NoError(t, json.Unmarshal([]byte(c.Extra["challenge"].(string)), &inner))
		for k, v := range inner {
			fields["challenge "+k] = fmt.Sprintf("%T of %d", v, len(fmt.Sprint(v))/8)
		}
		delete(fields, "challenge timestamp") // of which zeros at the end are left out
		delete(fields, "challenge session")
		return fields
	}
	require.Equal(t, shape(known), shape(unknown))
	require.Len(t, known.Extra, 4)
	require.Equal(t, known.Extra["iterations"], unknown.Extra["iterations"])
	require.Equal(t, known.Extra["keylen"], unknown.Extra["keylen"])
	require.Len(t, unknown.Extra["salt"], len(known.Extra["salt"].(string)))
	again, _ := w.challenged("bob", nil)
	other, _ := w.challenged("eve", nil)
	require.Equal(t, unknown.Extra["salt"], again.Extra["salt"], "the same each time")
	require.NotEqual(t, unknown.Extra["salt"], other.Extra["salt"])
	require.NotEqual(t, unknown.Extra["challenge"], again.Extra["challenge"], "but for the nonce")
}

func TestAChallengeHasWhatClientsSign(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	c, _ := w.challenged("ann", nil)
	var inner struct {
		AuthID, AuthRole, AuthMethod, AuthProvider, Nonce, Timestamp string
		Session                                                      uint64
	}
	require.NoError(t, json.Unmarshal([]byte(c.Extra["challenge"].(string)), &inner))
	require.Equal(t, []string{"ann", "user", "wampcra", "chansec"}, []string{inner.AuthID, inner.AuthRole, inner.AuthMethod, inner.AuthProvider})
	nonce, err := base64.StdEncoding.DecodeString(inner.Nonce)
	require.NoError(t, err)
	require.Len(t, nonce, 32)
	at, err := time.Parse(time.RFC3339, inner.Timestamp)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Minute)
	require.NotZero(t, inner.Session)
}

func TestAnAnswerCountsForItsOwnChallengeOnly(t *testing.T) {
	w := newWorld(t)
	key := w.user("ann")
	first, _ := w.challenged("ann", nil)
	_, abort := w.challenged("ann", func(*wamp.Challenge) wamp.Message {
		return &wamp.Authenticate{Signature: crsign.SignChallenge(first.Extra["challenge"].(string), key.Key)}
	})
	require.Equal(t, wamp.ErrAuthenticationFailed, abort.Reason)
	_, abort = w.challenged("ann", func(*wamp.Challenge) wamp.Message { return &wamp.Hello{Realm: "realm1"} })
	require.Equal(t, wamp.ErrAuthenticationFailed, abort.Reason)
}

func TestAChallengeTimesOut(t *testing.T) {
	w := newWorld(t, func(c *wampauth.Config) { c.Timeout = 50 * time.Millisecond })
	w.user("ann")
	p := w.attach(nil)
	defer p.Close()
	p.Send() <- &wamp.Hello{Realm: "realm1", Details: wamp.Dict{"authid": "ann", "authmethods": wamp.List{"wampcra"}, "roles": wamp.Dict{"caller": wamp.Dict{}}}}
	receive[*wamp.Challenge](t, p)
	require.Equal(t, wamp.ErrAuthenticationFailed, receive[*wamp.Abort](t, p).Reason)
}

func TestALoginOutsideTheAlphabetIsNotLookedUp(t *testing.T) {
	w := newWorld(t)
	w.keys.asked = func(login string) { require.Contains(t, []string{"a", "a@b.c-d_e", "0"}, login) }
	for _, login := range []string{"", ".a", "-a", `a","authrole":"x`, "a b", "ä", "a\x00", "a/b", strings.Repeat("a", 256)} {
		c, abort := w.challenged(login, nil)
		require.Nil(t, c, login)
		require.Equal(t, wamp.ErrAuthenticationFailed, abort.Reason)
	}
	for _, login := range []string{"a", "a@b.c-d_e", "0"} {
		c, _ := w.challenged(login, nil)
		require.NotNil(t, c)
	}
}

// request is what the WebSocket server says of a client, with its EnableRequestCapture.
func request(from string) wamp.Dict {
	return wamp.Dict{"auth": wamp.Dict{"request": &http.Request{RemoteAddr: from}}}
}

// tries logs in at the method itself, without a router.
func tries(realm *router.RealmConfig, method, login string, transport wamp.Dict, answer func(*wamp.Challenge) string) error {
	i := 0
	if method == "ticket" {
		i = len(realm.Authenticators) - 1
	}
	return try(realm.Authenticators[i], login, transport, answer)
}

func try(a auth.Authenticator, login string, transport wamp.Dict, answer func(*wamp.Challenge) string) error {
	p := &answering{out: make(chan wamp.Message, 1), in: make(chan wamp.Message, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if msg, ok := <-p.out; ok {
			p.in <- &wamp.Authenticate{Signature: answer(msg.(*wamp.Challenge))}
		}
	}()
	_, err := a.Authenticate(wamp.GlobalID(), wamp.Dict{"authid": login, "transport": transport}, wampauth.Copied(p))
	close(p.out)
	<-done
	return err
}

type answering struct{ out, in chan wamp.Message }

func (*answering) Close()                      {}
func (*answering) IsLocal() bool               { return false }
func (p *answering) Recv() <-chan wamp.Message { return p.in }
func (p *answering) Send() chan<- wamp.Message { return p.out }

func TestAttemptsAreBounded(t *testing.T) {
	wrong := func(*wamp.Challenge) string { return "AAAA" }
	t.Run("by login, whether it exists or not", func(t *testing.T) {
		w := newWorld(t, func(c *wampauth.Config) { c.Attempts = wampauth.Attempts{PerLogin: 3, Every: time.Hour} })
		key := w.user("ann")
		right := func(c *wamp.Challenge) string { return crsign.SignChallenge(c.Extra["challenge"].(string), key.Key) }
		for range 10 {
			require.NoError(t, tries(w.realm, "wampcra", "ann", nil, right), "who is let in is not counted")
		}
		for _, login := range []string{"ann", "bob"} {
			for range 3 {
				require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", login, nil, wrong))
			}
			require.Equal(t, wampauth.ErrAttempts, tries(w.realm, "wampcra", login, nil, wrong))
			require.ErrorIs(t, tries(w.realm, "wampcra", login, nil, wrong), chansec.ErrLimit)
		}
		require.Equal(t, wampauth.ErrAttempts, tries(w.realm, "wampcra", "ann", nil, right), "not even with the secret")
		require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", "eve", nil, wrong), "others are not held up")
	})
	t.Run("by address", func(t *testing.T) {
		w := newWorld(t, func(c *wampauth.Config) { c.Attempts = wampauth.Attempts{PerAddress: 3, Every: time.Hour} })
		for i, from := range []string{"10.0.0.1:5", "10.0.0.1:6", "[::ffff:10.0.0.1]:7"} {
			require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", "user"+text(int64(i)), request(from), wrong))
		}
		require.Equal(t, wampauth.ErrAttempts, tries(w.realm, "wampcra", "another", request("10.0.0.1:8"), wrong))
		require.Equal(t, wampauth.ErrAttempts, tries(w.realm, "ticket", "", request("10.0.0.1:8"), wrong))
		require.Equal(t, wampauth.ErrLogin, tries(w.realm, "ticket", "", request("10.0.0.2:8"), wrong))
		for i, from := range []string{"[2001:db8::1]:5", "[2001:db8::2]:5", "[2001:db8:0:0:ff::]:5"} {
			require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", "six"+text(int64(i)), request(from), wrong))
		}
		require.Equal(t, wampauth.ErrAttempts, tries(w.realm, "wampcra", "seven", request("[2001:db8::9]:5"), wrong), "a network is one address")
		require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", "seven", request("[2001:db8:0:1::9]:5"), wrong))
	})
	t.Run("an address that a client claims does not count", func(t *testing.T) {
		w := newWorld(t, func(c *wampauth.Config) { c.Attempts = wampauth.Attempts{PerAddress: 1, Every: time.Hour} })
		claimed := wamp.Dict{"auth": wamp.Dict{"request": wamp.Dict{"RemoteAddr": "10.0.0.1:5"}}}
		for i := range int64(3) {
			require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", "user"+text(i), claimed, wrong))
		}
	})
	t.Run("they are forgiven with time", func(t *testing.T) {
		w := newWorld(t, func(c *wampauth.Config) { c.Attempts = wampauth.Attempts{PerLogin: 1, Every: 50 * time.Millisecond} })
		require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", "ann", nil, wrong))
		eventually(t, "forgiven", func() bool { return errors.Is(tries(w.realm, "wampcra", "ann", nil, wrong), wampauth.ErrLogin) })
	})
}

func TestSessionsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *wampauth.Config) { c.MaxSessions, c.MaxPerLogin = 3, 2 })
	first := w.login("ann")
	w.login("ann")
	_, err := w.connect("ann", byKey(w.user("ann")))
	require.ErrorContains(t, err, "too many sessions")
	w.login("bob")
	_, err = w.connect("eve", byKey(w.user("eve")))
	require.ErrorContains(t, err, "too many sessions")
	require.NoError(t, first.Close())
	eventually(t, "there is room again", func() bool {
		c, err := w.connect("ann", byKey(keyOf(t, "ann")))
		if err == nil {
			w.Cleanup(func() { _ = c.Close() })
		}
		return err == nil
	})
}

func TestNobodyIsLetInWhileItCannotBeFoundOut(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	w.keys.err = errors.New("the database at 10.0.0.7 is gone")
	for _, login := range []string{"ann", "bob"} {
		_, abort := w.challenged(login, nil)
		require.Equal(t, wamp.ErrAuthenticationFailed, abort.Reason)
		require.Equal(t, wampauth.ErrUnavailable.Error(), abort.Details["message"])
	}
}

func TestAKeyOfTooFewIterationsLetsNobodyIn(t *testing.T) {
	w := newWorld(t)
	key := w.user("ann")
	key.Iterations = 99_999
	w.keys.known["ann"] = key
	_, err := w.connect("ann", byKey(key))
	require.ErrorContains(t, err, wampauth.ErrUnavailable.Error())
	_, err = wampauth.NewKey("secret", 99_999)
	require.ErrorIs(t, err, chansec.ErrInvalid)
	_, err = wampauth.Decoy(serverSecret, "ann", 99_999)
	require.ErrorIs(t, err, chansec.ErrInvalid)
	_, err = wampauth.Decoy([]byte("short"), "ann", wampauth.MinIterations)
	require.ErrorIs(t, err, chansec.ErrInvalid)
	require.Equal(t, "wampauth.Key wampauth.Key", fmt.Sprintf("%v %+v", key, key))
}

func TestALoginThatIsDeletedMeanwhileIsNotLetIn(t *testing.T) {
	w := newWorld(t)
	key := w.user("ann")
	_, err := w.connect("ann", map[string]client.AuthFunc{"wampcra": func(c *wamp.Challenge) (string, wamp.Dict) {
		w.keys.mu.Lock()
		delete(w.keys.known, "ann")
		w.keys.mu.Unlock()
		require.Zero(t, w.guard.KickLogin("ann", "adm", "deleted"), "nobody is in yet")
		return crsign.SignChallenge(c.Extra["challenge"].(string), key.Key), wamp.Dict{}
	}})
	require.ErrorContains(t, err, "authenticat")
	eventually(t, "its record is closed", func() bool { return len(w.openRecords()) == 0 })
}

func TestATicketReachesAsFarAsItsGrant(t *testing.T) {
	for name, tt := range map[string]struct {
		req                                chansec.TokenRequest
		subscribe, publish, call, register bool
		prefix                             bool
	}{
		"read is to subscribe":           {req: chansec.TokenRequest{Role: "read", AllChannels: true}, subscribe: true, prefix: true},
		"write is to publish and call":   {req: chansec.TokenRequest{Role: "write", AllChannels: true}, subscribe: true, prefix: true, publish: true, call: true},
		"admin is to register":           {req: chansec.TokenRequest{Role: "admin", AllChannels: true}, subscribe: true, prefix: true, publish: true, call: true, register: true},
		"channels are exactly the names": {req: chansec.TokenRequest{Role: "admin", Channels: []string{"com.x", "com."}}, subscribe: true, publish: true, call: true, register: true},
		"others are out of reach":        {req: chansec.TokenRequest{Role: "admin", Channels: []string{"com"}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.everything("ann")
			tt.req.SystemID = "ann"
			c := w.ticket(tt.req)
			require.Equal(t, "ann", c.RealmDetails()["authid"])
			require.Equal(t, "ticket", c.RealmDetails()["authmethod"])
			check := func(allowed bool, err error) {
				t.Helper()
				if allowed {
					require.NoError(t, err)
				} else {
					refused(t, err)
				}
			}
			events := make(chan *wamp.Event, 1)
			check(tt.subscribe, doSubscribe(c, "com.x", "", events))
			check(tt.prefix, doSubscribe(c, "com.", "prefix", events))
			check(tt.publish, doPublish(c, "com.x"))
			check(tt.register, doRegister(c, "com.x", ""))
			if _, err := doCall(c, "com.x"); tt.call && !tt.register {
				require.Equal(t, string(wamp.ErrNoSuchProcedure), errorURI(err))
			} else {
				check(tt.call, err)
			}
		})
	}
}

func TestATicketDoesNotReachBeyondThePolicy(t *testing.T) {
	w := newWorld(t)
	c := w.ticket(chansec.TokenRequest{SystemID: "ann", Role: "admin", AllChannels: true})
	refused(t, doPublish(c, "com.x"))
	w.grant("ann", "publish", "com")
	require.NoError(t, doPublish(c, "com.x"))
}

func TestATicketMustBeGoodAndTheOneOfItsLogin(t *testing.T) {
	w := newWorld(t)
	token, err := w.tokens.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "ann", Role: "read", AllChannels: true})
	require.NoError(t, err)
	for name, at := range map[string][2]string{"another login": {"bob", token}, "no token": {"ann", "x"}, "a damaged one": {"ann", token[:len(token)-2]}, "nothing": {"", ""}} {
		_, err := w.connect(at[0], byTicket(at[1]))
		require.ErrorContains(t, err, "authenticat", name)
	}
	c, err := w.connect("ann", byTicket(token))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	open, err := newOpen(t).connect("ann", byTicket("ann"))
	require.ErrorContains(t, err, "authenticat", "a name that nothing proves")
	require.Nil(t, open)
}

// newOpen is a world that takes any name for a ticket.
func newOpen(t *testing.T) *world {
	return newWorld(t, func(c *wampauth.Config) { c.Tickets = chansec.OpenSecurity{} })
}

func TestATicketThatIsRevokedEndsItsSession(t *testing.T) {
	w := newWorld(t)
	w.everything("ann")
	c := w.ticket(chansec.TokenRequest{SystemID: "ann", Role: "write", AllChannels: true})
	other := w.ticket(chansec.TokenRequest{SystemID: "bob", Role: "write", AllChannels: true})
	events := make(chan *wamp.Event, 10)
	require.NoError(t, doSubscribe(c, "com.x", "", events))
	require.NoError(t, w.tokens.RevokeSubject("ann", time.Now().Add(time.Minute)))
	require.NoError(t, doPublish(w.local(), "com.x"))
	require.Error(t, doPublish(c, "com.x"))
	ends(t, c, string(wamp.ErrNotAuthorized))
	require.Empty(t, events)
	require.True(t, other.Connected())
}

func TestATicketThatExpiresEndsItsSession(t *testing.T) {
	w := newWorld(t)
	w.everything("ann")
	c := w.ticket(chansec.TokenRequest{SystemID: "ann", Role: "write", AllChannels: true, ExpiresIn: 2 * time.Second})
	require.NoError(t, doPublish(c, "com.x"))
	ends(t, c, string(wamp.ErrNotAuthorized))
	eventually(t, "the record is closed", func() bool { return len(w.openRecords()) == 0 })
	require.Len(t, w.did("ann", audit.OpLogin, audit.OpLogout), 2)
}

func TestProtectRefusesOtherWaysIn(t *testing.T) {
	store, err := policy.New(policy.WAMPConfig())
	require.NoError(t, err)
	w := newWorld(t)
	for name, realm := range map[string]*router.RealmConfig{
		"none": nil, "no name": {}, "anonymity": {URI: "r", AnonymousAuth: true}, "another authenticator": {URI: "r", Authenticators: []auth.Authenticator{&auth.AnonymousAuth{}}},
		"another authorizer": {URI: "r", Authorizer: w.authorizer()}, "another filter": {URI: "r", PublishFilterFactory: router.NewSimplePublishFilter},
		"changing details": {URI: "r", EnableMetaModify: true}, "local clients that log in": {URI: "r", RequireLocalAuth: true}, "local clients that are checked": {URI: "r", RequireLocalAuthz: true},
		"events that are kept": {URI: "r", TopicEventHistoryConfigs: []*router.TopicEventHistoryConfig{{Topic: "com", Limit: 1}}},
	} {
		g, err := wampauth.New(wampauth.Config{Policy: store.Authorizer(), Keys: w.keys})
		require.NoError(t, err)
		require.ErrorIs(t, g.Protect(realm), chansec.ErrInvalid, name)
		require.ErrorIs(t, g.Start(t.Context(), w.router), chansec.ErrInvalid, "before Protect")
		good := &router.RealmConfig{URI: "r"}
		require.NoError(t, g.Protect(good))
		require.Len(t, good.Authenticators, 1)
		require.ErrorIs(t, g.Protect(&router.RealmConfig{URI: "r2"}), chansec.ErrInvalid, "twice")
		require.Equal(t, wampauth.ErrUnavailable, tries(good, "wampcra", "ann", nil, func(*wamp.Challenge) string { return "" }), "before Start")
		require.NoError(t, g.Close(context.Background()))
	}
}

func TestAConfigMustMakeSense(t *testing.T) {
	store, err := policy.New(policy.WAMPConfig())
	require.NoError(t, err)
	good := wampauth.Config{Policy: store.Authorizer(), Keys: &keys{}}
	for name, change := range map[string]func(*wampauth.Config){
		"no policy": func(c *wampauth.Config) { c.Policy = nil }, "no way in": func(c *wampauth.Config) { c.Keys = nil },
		"a base of the router": func(c *wampauth.Config) { c.Base = "wamp.admin" }, "an empty component": func(c *wampauth.Config) { c.Base = "a..b" },
		"a required log that is none": func(c *wampauth.Config) { c.RequireActivity = true }, "negative time": func(c *wampauth.Config) { c.Timeout = -1 },
		"negative bound": func(c *wampauth.Config) { c.MaxSessions = -1 }, "negative attempts": func(c *wampauth.Config) { c.Attempts.PerLogin = -1 },
		"attempts that are never forgiven": func(c *wampauth.Config) { c.Attempts.PerLogin, c.Attempts.Every = 1<<40, time.Hour },
	} {
		c := good
		change(&c)
		_, err := wampauth.New(c)
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
	_, err = wampauth.New(good)
	require.NoError(t, err)
}

// deleting is sessions whose users go away just before the record is kept.
type deleting struct {
	session.Backend
	now func()
}

func (d *deleting) Open(ctx context.Context, r session.Record) error {
	d.now()
	return d.Backend.Open(ctx, r)
}

func TestALoginThatIsDeletedBeforeItsSessionIsRecordedHasNone(t *testing.T) {
	var w *world
	gone := &deleting{now: func() {
		w.keys.mu.Lock()
		defer w.keys.mu.Unlock()
		delete(w.keys.known, "ann")
	}}
	w = newWorld(t, func(c *wampauth.Config) { gone.Backend, c.Sessions = c.Sessions, gone })
	_, err := w.connect("ann", byKey(w.user("ann")))
	require.ErrorContains(t, err, wampauth.ErrLogin.Error(), "who ends the sessions of a user saw none")
	eventually(t, "its record is closed", func() bool { return len(w.openRecords()) == 0 })
}
