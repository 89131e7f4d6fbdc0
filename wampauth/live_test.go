package wampauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
	"github.com/chansec/chansec/wampauth"
)

func TestSessionsAreRecordedFromTheirStartToTheirEnd(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.login("ann"), w.login("bob")
	require.Equal(t, map[string]string{text(number(ann)): "ann", text(number(bob)): "bob"}, w.openRecords())
	require.NoError(t, ann.Close())
	eventually(t, "the record is closed", func() bool { return len(w.openRecords()) == 1 })
	cause := map[string]session.Cause{}
	eventually(t, "with its cause", func() bool {
		for r := range w.sessions.Records(t.Context(), false) {
			cause[r.Principal] = r.End.Cause
		}
		return cause["ann"] == session.LoggedOut
	})
	require.Equal(t, []string{"login  allowed", "logout  allowed"}, w.did("ann", audit.OpLogin, audit.OpLogout))

	raw := w.raw("eve")
	require.Len(t, w.openRecords(), 2)
	raw.Close() // without a word
	eventually(t, "it is lost", func() bool {
		for r := range w.sessions.Records(t.Context(), false) {
			if r.Principal == "eve" {
				return r.End.Cause == session.Lost
			}
		}
		return false
	})
}

func TestWhatAnEarlierRunLeftOpenIsClosed(t *testing.T) {
	var before *session.MemoryBackend
	w := newWorld(t, func(c *wampauth.Config) {
		before = c.Sessions.(*session.MemoryBackend)
		require.NoError(t, before.Open(t.Context(), session.Record{ID: "123", Principal: "ann", Transport: "wamp", OpenedAt: time.Now()}))
	})
	require.Empty(t, w.openRecords())
}

func TestASessionThatCannotBeRecordedIsNotOpened(t *testing.T) {
	w := newWorld(t, func(c *wampauth.Config) { c.Sessions = full{c.Sessions} })
	_, err := w.connect("ann", byKey(w.user("ann")))
	require.ErrorContains(t, err, wampauth.ErrUnavailable.Error())
	list, err := w.guard.Sessions(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	require.Zero(t, w.guard.KickLogin("ann", "", ""))
}

type full struct{ session.Backend }

func (full) Open(context.Context, session.Record) error { return errors.New("the disk is full") }

func TestTheListIsWhatTheRouterAndTheRecordsHaveInCommon(t *testing.T) {
	w := newWorld(t)
	ann := w.login("ann")
	bob := w.login("bob")
	w.local()
	require.NoError(t, w.sessions.Open(t.Context(), session.Record{ID: "99", Principal: "eve", Transport: "wamp", OpenedAt: time.Now()}))
	require.NoError(t, w.sessions.Close(t.Context(), []session.EndedError{{Session: text(number(bob)), Cause: session.Lost, At: time.Now()}}))
	list, err := w.guard.Sessions(t.Context())
	require.NoError(t, err)
	found := map[string]string{}
	for _, s := range list {
		found[s.Login] = s.Warning
	}
	require.Equal(t, map[string]string{"ann": "", "bob": "the session has no record"}, found, "and not what only the records have")
	require.Equal(t, number(ann), list[map[bool]int{true: 0, false: 1}[number(ann) < number(bob)]].Number, "by their numbers")
}

func TestAKickEndsASessionAtOnce(t *testing.T) {
	w := newWorld(t)
	for _, login := range []string{"ann", "bob"} {
		w.grant(login, "publish", "com")
		w.grant(login, "subscribe", "com")
	}
	ann, bob, program := w.login("ann"), w.login("bob"), w.local()
	events := make(chan *wamp.Event, 10)
	require.NoError(t, doSubscribe(ann, "com.x", "", events))
	require.NoError(t, w.guard.KickSession(number(ann), "adm", "left the company"))
	require.NoError(t, doPublish(program, "com.x"))
	allowed, err := w.authorizer().Authorize(&wamp.Session{ID: ann.ID()}, &wamp.Publish{Topic: "com.x"})
	require.NoError(t, err)
	require.False(t, allowed)
	ends(t, ann, "wamp.close.killed")
	require.Empty(t, events)
	require.NoError(t, doPublish(bob, "com.x"), "nobody else is")
	require.Equal(t, wampauth.ErrNoSession, w.guard.KickSession(number(ann), "adm", "again"))
	require.Equal(t, wampauth.ErrNoSession, w.guard.KickSession(12345, "adm", ""))
	eventually(t, "the record says who did it, and why", func() bool {
		for r := range w.sessions.Records(t.Context(), false) {
			if r.ID == text(number(ann)) && !r.IsOpen() {
				return r.End.Cause == session.Kicked && r.End.By == "adm" && r.End.Reason == "left the company"
			}
		}
		return false
	})
	require.Equal(t, []string{"kick " + text(number(ann)) + " allowed"}, w.did("adm", audit.OpKick))
	require.Equal(t, []string{"login  allowed", "logout  allowed"}, w.did("ann", audit.OpLogin, audit.OpLogout), "and it has an end like any other")
}

func TestTheRouterSaysWhichSessionsItHasWhateverTheRecordsSay(t *testing.T) {
	var said bytes.Buffer
	w := newWorld(t, func(c *wampauth.Config) { c.Log = slog.New(slog.NewTextHandler(&said, nil)) })
	ann, bob := w.login("ann"), w.login("bob")
	w.local()
	require.NoError(t, w.sessions.Open(t.Context(), session.Record{ID: "12345", Principal: "zed", Transport: "wamp", OpenedAt: time.Now()}))
	got, err := w.guard.Numbers(t.Context())
	require.NoError(t, err)
	want := []int64{number(ann), number(bob)}
	slices.Sort(want)
	require.Equal(t, want, got)
	require.Empty(t, said.String(), "another router has that one")
}

func TestAKickOfALoginEndsAllItsSessions(t *testing.T) {
	w := newWorld(t)
	first, second, bob := w.login("ann"), w.login("ann"), w.login("bob")
	require.Equal(t, 2, w.guard.KickLogin("ann", "adm", ""))
	ends(t, first, "wamp.close.killed")
	ends(t, second, "wamp.close.killed")
	require.True(t, bob.Connected())
	require.Zero(t, w.guard.KickLogin("ann", "adm", ""))
	require.True(t, w.login("ann").Connected(), "who may log in may do so again")
}

func TestCloseEndsAllSessionsAndTheirRecords(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "publish", "com")
	ann := w.login("ann")
	require.NoError(t, w.guard.Close(t.Context()))
	ends(t, ann, string(wamp.CloseSystemShutdown))
	require.Empty(t, w.openRecords())
	_, err := w.connect("ann", byKey(keyOf(t, "ann")))
	require.ErrorContains(t, err, wampauth.ErrUnavailable.Error())
	_, err = w.guard.Sessions(t.Context())
	require.Equal(t, wampauth.ErrUnavailable, err)
	require.NoError(t, w.guard.Close(t.Context()), "again does nothing")
	require.Equal(t, []string{"login  allowed", "logout  allowed"}, w.did("ann", audit.OpLogin, audit.OpLogout))
}

func TestARouterThatWasClosedFirstIsNoTrouble(t *testing.T) {
	w := newWorld(t)
	w.login("ann")
	w.router.Close()
	require.NoError(t, w.guard.Close(t.Context()))
	require.Empty(t, w.openRecords())
}

func TestEveryAttemptIsInTheLog(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "publish", "com.open")
	ann := w.login("ann")
	require.NoError(t, ann.Publish("com.open", nil, nil, nil))
	require.NoError(t, ann.Publish("com.closed", nil, nil, nil), "who does not ask for an answer gets none")
	refused(t, doSubscribe(ann, "com.", "prefix", make(chan *wamp.Event, 1)))
	require.Equal(t, []string{"login  allowed", "publish com.open allowed", "publish com.closed denied", "subscribe com. denied"},
		w.did("ann", audit.OpLogin, "publish", "subscribe"))
	var last audit.Record
	for r := range w.trail.Records(t.Context(), audit.Filter{Operation: "subscribe"}) {
		last = r
	}
	require.Equal(t, "prefix", last.Detail)
	require.Equal(t, text(number(ann)), last.Session)
	require.Equal(t, wampauth.ProofCRA, last.Proof)
	_, _ = w.connect("bob", bySecret("guess"))
	require.Equal(t, []string{"login bob denied"}, w.did("", audit.OpLogin))
}

// broken is a log that fails when told to.
type broken struct {
	audit.Sink
	fails atomic.Bool
}

func (b *broken) Record(ctx context.Context, r audit.Record) error {
	if b.fails.Load() {
		return errors.New("the disk at /var/log is full")
	}
	return b.Sink.Record(ctx, r)
}

func TestNoLogNoAction(t *testing.T) {
	for _, required := range []bool{true, false} {
		t.Run(strconv.FormatBool(required), func(t *testing.T) {
			trail := &broken{}
			w := newWorld(t, func(c *wampauth.Config) { trail.Sink, c.Activity, c.RequireActivity = c.Activity, trail, required })
			w.grant("ann", "publish", "com")
			ann := w.login("ann")
			require.NoError(t, doPublish(ann, "com.x"))
			trail.fails.Store(true)
			err := doPublish(ann, "com.x")
			_, login := w.connect("ann", byKey(keyOf(t, "ann")))
			if required {
				require.ErrorContains(t, err, string(wamp.ErrAuthorizationFailed))
				require.NotContains(t, err.Error(), "/var/log")
				require.ErrorContains(t, login, wampauth.ErrUnavailable.Error())
				eventually(t, "the record of who was not let in is closed", func() bool { return len(w.openRecords()) == 1 })
			} else {
				require.NoError(t, err)
				require.NoError(t, login)
				refused(t, doPublish(ann, "org"))
			}
			trail.fails.Store(false)
			require.NoError(t, doPublish(ann, "com.x"))
		})
	}
}

func TestManySessionsAtOnce(t *testing.T) {
	w := newWorld(t)
	program := w.local()
	var clients []*client.Client
	for i := range 4 {
		login := "user" + text(int64(i))
		w.keys.mu.Lock()
		w.keys.known[login] = keyOf(t, "ann")
		w.keys.mu.Unlock()
		for _, permission := range []string{"call", "register", "subscribe", "publish"} {
			w.grant(login, permission, "com")
		}
		c, err := w.connect(login, byKey(keyOf(t, "ann")))
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		clients = append(clients, c)
	}
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() {
			events := make(chan *wamp.Event, 1000)
			_ = doSubscribe(c, "com.shared", "", events)
			for n := range 40 {
				_ = doPublish(c, "com.shared")
				_ = doRegister(c, "com.f"+text(int64(i*100+n)), "")
				_, _ = doCall(c, "com.f"+text(int64((i+1)%4*100+n)))
			}
		})
	}
	all.Go(func() {
		for range 30 {
			_ = w.store.Update(context.Background(), policy.Root(), func(tx *policy.Tx) error { return tx.Revoke("of_user1", "com", "register") })
			_ = doPublish(program, "com.shared")
			_ = w.store.Update(context.Background(), policy.Root(), func(tx *policy.Tx) error { return tx.Grant("of_user1", "com", "register") })
			_, _ = w.guard.Sessions(context.Background())
		}
		w.guard.KickLogin("user2", "adm", "")
	})
	all.Wait()
	ends(t, clients[2], "wamp.close.killed")
	require.NoError(t, doPublish(clients[0], "com.shared"))
}

// clerks is an administration of the test.
type clerks struct {
	do func(by policy.Actor, operation string, arguments json.RawMessage) (any, error)
}

func (c clerks) Do(_ context.Context, by policy.Actor, operation string, arguments json.RawMessage) (any, error) {
	return c.do(by, operation, arguments)
}

func (clerks) Operations() []string { return []string{"user.add", "user.list"} }

// named is an error with a name for callers.
type named string

func (n named) Error() string     { return "cannot: " + string(n) }
func (n named) ErrorName() string { return string(n) }

func TestTheAdministrationIsCalledByWhoMay(t *testing.T) {
	w := newWorld(t)
	type asked struct{ by, operation, arguments string }
	var last asked
	var result any
	var failure error
	require.NoError(t, w.guard.Serve(t.Context(), clerks{func(by policy.Actor, operation string, arguments json.RawMessage) (any, error) {
		last = asked{by.String(), operation, string(arguments)}
		return result, failure
	}}))
	w.grant("adm", "call", "sys")
	adm, ann := w.login("adm"), w.login("ann")
	_, err := doCall(ann, "sys.user.add")
	refused(t, err)
	require.Zero(t, last)

	call := func(args wamp.List, kwargs wamp.Dict) (any, error) {
		res, err := adm.Call(t.Context(), "sys.user.add", nil, args, kwargs, nil)
		if err != nil {
			return nil, err
		}
		return res.Arguments[0], nil
	}
	t.Run("with an object, by keyword or position", func(t *testing.T) {
		result = map[string]any{"n": 1, "f": 1.5, "list": []string{"a"}}
		object := wamp.Dict{"login": "greg"}
		for _, given := range []func() (any, error){
			func() (any, error) { return call(nil, wamp.Dict{"arguments": object}) },
			func() (any, error) { return call(wamp.List{object}, nil) },
		} {
			last = asked{}
			got, err := given()
			require.NoError(t, err)
			require.Equal(t, map[string]any{"n": int64(1), "f": 1.5, "list": []any{"a"}}, got)
			require.Equal(t, asked{policy.ActorNamed("adm").String(), "user.add", `{"login":"greg"}`}, last)
		}
		_, err := call(nil, nil)
		require.NoError(t, err)
		require.Equal(t, "{}", last.arguments)
	})
	t.Run("with nothing else", func(t *testing.T) {
		last = asked{}
		for _, given := range []func() (any, error){
			func() (any, error) { return call(wamp.List{"greg"}, nil) }, func() (any, error) { return call(wamp.List{wamp.Dict{}, wamp.Dict{}}, nil) },
			func() (any, error) { return call(nil, wamp.Dict{"login": "greg"}) }, func() (any, error) { return call(nil, wamp.Dict{"arguments": nil}) },
			func() (any, error) { return call(wamp.List{wamp.Dict{}}, wamp.Dict{"arguments": wamp.Dict{}}) },
			func() (any, error) {
				return call(nil, wamp.Dict{"arguments": wamp.Dict{"x": string(make([]byte, 1<<20))}})
			},
		} {
			_, err := given()
			require.Equal(t, "sys.error.invalid", errorURI(err))
		}
		require.Zero(t, last)
	})
	t.Run("and is told what went wrong", func(t *testing.T) {
		for err, name := range map[error]string{
			policy.NotFound: "not-found", policy.Exists: "exists", policy.NoAdminRole: "no-admin-role", policy.NoAdminTopic: "no-admin-topic", policy.InUse: "in-use",
			&policy.Error{Kind: policy.InvalidPath, What: "topic", Value: "a..b", Want: "another"}: "invalid", chansec.ErrPermission: "not-authorized",
			policy.Kind("no-session"): "no-session", policy.Kind("denied"): "denied", policy.Kind("not-authorized"): "not-authorized",
			&chansec.InvalidError{What: "secret", Want: "one that is not empty"}: "invalid",
			named("in-use"): "in-use", named("no-admin-role"): "no-admin-role",
			errors.Join(chansec.ErrPermission, named("denied")): "denied", // what names itself is not asked what else it is
			errors.Join(policy.Exists, named("busy")):           "exists", // that is no name of the specification
		} {
			failure = err
			_, got := call(nil, nil)
			require.Equal(t, "sys.error."+name, errorURI(got))
			require.ErrorContains(t, got, err.Error())
		}
		for _, err := range []error{errors.New("the database at 10.0.0.7 is gone"), named("busy at 10.0.0.7"), named("internal"), named("")} {
			failure = err
			_, got := call(nil, nil)
			require.Equal(t, "sys.error.internal", errorURI(got), "%v", err)
			require.NotContains(t, got.Error(), "10.0.0.7")
		}
		failure = nil
		result = func() {}
		_, got := call(nil, nil)
		require.Equal(t, "sys.error.internal", errorURI(got))
		result = nil
	})
	t.Run("but not by a local client, whom nobody proved", func(t *testing.T) {
		last = asked{}
		c, err := client.ConnectLocal(w.router, client.Config{Realm: "realm1", HelloDetails: wamp.Dict{"authid": "adm"}, Logger: log.New(io.Discard, "", 0)})
		require.NoError(t, err)
		defer c.Close()
		_, err = doCall(c, "sys.user.add")
		require.Equal(t, "sys.error.not-authorized", errorURI(err))
		require.Zero(t, last)
	})
	t.Run("nor in somebody else's name", func(t *testing.T) {
		_, err := adm.Call(t.Context(), "sys.user.add", wamp.Dict{"caller_authid": "root", "caller": 1, "disclose_me": true}, nil, nil, nil)
		require.NoError(t, err)
		require.Equal(t, policy.ActorNamed("adm").String(), last.by)
	})
}

func TestSessionsAreListedAndKilledByWhoMay(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.guard.Serve(t.Context(), nil))
	w.grant("adm", "call", "sys.session")
	adm, ann, bob := w.login("adm"), w.login("ann"), w.login("bob")
	do := func(c *client.Client, verb string, arguments wamp.Dict) (any, error) {
		res, err := c.Call(t.Context(), "sys.session."+verb, nil, nil, wamp.Dict{"arguments": arguments}, nil)
		if err != nil {
			return nil, err
		}
		return res.Arguments[0], nil
	}
	_, err := do(ann, "list", wamp.Dict{})
	refused(t, err)
	list, err := do(adm, "list", wamp.Dict{})
	require.NoError(t, err)
	require.Len(t, list, 3)
	one, err := do(adm, "get", wamp.Dict{"session": number(ann)})
	require.NoError(t, err)
	require.Equal(t, "ann", one.(map[string]any)["login"])
	_, err = do(adm, "get", wamp.Dict{"session": 5})
	require.Equal(t, "sys.error.not-found", errorURI(err))

	for _, bad := range []wamp.Dict{{}, {"session": "x"}, {"session": 1, "login": "ann"}, {"sesion": 1}, {"login": "ann", "reason": "a\nb"}} {
		_, err := do(adm, "kill", bad)
		require.Equal(t, "sys.error.invalid", errorURI(err), "%v", bad)
	}
	killed, err := do(adm, "kill", wamp.Dict{"session": number(ann), "reason": "enough"})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"killed": int64(1)}, killed)
	ends(t, ann, "wamp.close.killed")
	require.Equal(t, "kicked: enough", ann.RouterGoodbye().Details["message"])
	_, err = do(adm, "kill", wamp.Dict{"login": "bob"})
	require.NoError(t, err)
	ends(t, bob, "wamp.close.killed")
	_, err = do(adm, "kill", wamp.Dict{"login": "bob"})
	require.Equal(t, "sys.error.not-found", errorURI(err))
}

func TestServeTakesAGuardThatIsStarted(t *testing.T) {
	store, err := policy.New(policy.WAMPConfig())
	require.NoError(t, err)
	g, err := wampauth.New(wampauth.Config{Policy: store.Authorizer(), Keys: &keys{}, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.Equal(t, wampauth.ErrUnavailable, g.Serve(t.Context(), nil))
	require.NoError(t, g.Protect(&router.RealmConfig{URI: "r"}))
	require.Equal(t, wampauth.ErrUnavailable, g.Serve(t.Context(), nil))
}
