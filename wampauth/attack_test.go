package wampauth_test

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/wampauth"
)

func TestAKickBetweenTheProofAndTheWelcomeLetsNobodyIn(t *testing.T) {
	var w *world
	kicking := &deleting{now: func() { require.Equal(t, 1, w.guard.KickLogin("ann", "adm", "enough")) }}
	w = newWorld(t, func(c *wampauth.Config) { kicking.Backend, c.Sessions = c.Sessions, kicking })
	_, err := w.connect("ann", byKey(w.user("ann")))
	require.ErrorContains(t, err, wampauth.ErrLogin.Error())
	eventually(t, "its record is closed", func() bool { return len(w.openRecords()) == 0 })
	require.Empty(t, w.did("ann", audit.OpLogin), "nobody was let in")
}

// The guard compares its sessions with the router's, which does not have one that is being let in.
func TestALoginThatTakesLongIsNotForgottenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, trail := newCrowded(t)
		w.grant("ann", "publish", "com")
		key := w.user("ann")
		trail.full.Store(true)
		p := w.attach(nil)
		defer p.Close()
		p.Send() <- &wamp.Hello{Realm: "realm1", Details: wamp.Dict{"authid": "ann", "authmethods": wamp.List{"wampcra"}, "roles": wamp.Dict{"publisher": wamp.Dict{}}}}
		c := receive[*wamp.Challenge](t, p)
		p.Send() <- &wamp.Authenticate{Signature: crsign.SignChallenge(c.Extra["challenge"].(string), key.Key), Extra: wamp.Dict{}}
		<-time.After(45 * time.Second)
		trail.full.Store(false)
		receive[*wamp.Welcome](t, p)
		p.Send() <- &wamp.Publish{Request: 1, Topic: "com.x", Options: wamp.Dict{"acknowledge": true}}
		receive[*wamp.Published](t, p)
		require.Equal(t, []string{"login  allowed"}, w.did("ann", audit.OpLogin, audit.OpLogout))
		require.Len(t, w.openRecords(), 1)
	})
}

func TestWrongGuessesAreBoundedWhileRightLoginsGoOn(t *testing.T) {
	const most = 5
	w := newWorld(t, func(c *wampauth.Config) {
		c.Attempts = wampauth.Attempts{PerLogin: most, PerAddress: 1000, Every: time.Hour}
		c.MaxLoginsPerAddress = 1000
	})
	ann, eve := w.user("ann"), w.user("eve")
	by := func(k wampauth.Key) func(*wamp.Challenge) string {
		return func(c *wamp.Challenge) string { return crsign.SignChallenge(c.Extra["challenge"].(string), k.Key) }
	}
	var guessed, refused atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			switch err := tries(w.realm, "wampcra", "ann", request("10.0.0.1:5"), func(*wamp.Challenge) string { return "AAAA" }); {
			case errors.Is(err, wampauth.ErrLogin):
				guessed.Add(1)
			case errors.Is(err, wampauth.ErrAttempts):
				refused.Add(1)
			}
		})
		all.Go(func() { _ = tries(w.realm, "wampcra", "ann", request("10.0.0.2:5"), by(ann)) }) // the owner
		all.Go(func() { _ = tries(w.realm, "wampcra", "eve", request("10.0.0.1:6"), by(eve)) }) // who guesses
	}
	all.Wait()
	require.LessOrEqual(t, guessed.Load(), int64(most))
	require.Equal(t, int64(100), guessed.Load()+refused.Load())
}

func TestFewAddressesThatAnswerNothingHoldNobodyUp(t *testing.T) {
	w := newWorld(t, func(c *wampauth.Config) { c.MaxLogins, c.MaxLoginsPerAddress = 10, 2 })
	asked, answer := make(chan bool), make(chan bool)
	var waiting sync.WaitGroup
	silent := func(from string) {
		waiting.Go(func() {
			_ = tries(w.realm, "wampcra", "ann", request(from), func(*wamp.Challenge) string { asked <- true; <-answer; return "" })
		})
		<-asked
	}
	wrong := func(*wamp.Challenge) string { return "" }
	for range 2 {
		silent("10.0.0.1:5")
		silent("[2001:db8::1]:5")
	}
	require.Equal(t, wampauth.ErrSessions, tries(w.realm, "wampcra", "bob", request("10.0.0.1:6"), wrong))
	require.Equal(t, wampauth.ErrSessions, tries(w.realm, "ticket", "", request("[2001:db8::2]:5"), wrong), "whatever the method")
	require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", "bob", request("10.0.0.2:5"), wrong), "others are not held up")
	require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", "bob", nil, wrong))
	close(answer)
	waiting.Wait()
	require.Equal(t, wampauth.ErrLogin, tries(w.realm, "wampcra", "bob", request("10.0.0.1:6"), wrong), "the places are given back")
}

func TestChoosingWhoHearsGivesNobodyARight(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "subscribe", "com")
	w.grant("bob", "publish", "com")
	ann, bob := w.login("ann"), w.login("bob")
	events := make(chan *wamp.Event, 100)
	require.NoError(t, doSubscribe(ann, "com.", "prefix", events))
	w.grant("ann", "subscribe", "com.end")
	w.revoke("ann", "subscribe", "com")
	for _, options := range []wamp.Dict{
		{"eligible": wamp.List{ann.ID()}}, {"eligible_authid": wamp.List{"ann"}}, {"eligible_authrole": wamp.List{"user"}},
		{"exclude_authid": wamp.List{"bob"}}, {"exclude_me": false}, {"retain": true},
	} {
		options["acknowledge"] = true
		require.NoError(t, bob.Publish("com.x", options, wamp.List{"not for ann"}, nil))
	}
	require.ErrorContains(t, bob.Publish("com.x", wamp.Dict{"acknowledge": true, "disclose_me": true}, nil, nil), "disclose_me", "the realm does not allow that")
	require.NoError(t, doPublish(bob, "com.end"))
	arrives(t, events, "com.end")
}

// newGuard is a guard that protects a realm, and no router yet.
func newGuard(t *testing.T) (*wampauth.Guard, *router.RealmConfig) {
	store, err := policy.New(policy.WAMPConfig())
	require.NoError(t, err)
	g, err := wampauth.New(wampauth.Config{Policy: store.Authorizer(), Keys: &keys{}, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	realm := &router.RealmConfig{URI: "realm1"}
	require.NoError(t, g.Protect(realm))
	t.Cleanup(func() { require.NoError(t, g.Close(context.Background())) })
	return g, realm
}

func newRouter(t *testing.T, c *router.Config) router.Router {
	r, err := router.NewRouter(c, log.New(io.Discard, "", 0))
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

func TestAGuardHasOneRealm(t *testing.T) {
	t.Run("that the router made of what is protected", func(t *testing.T) {
		g, realm := newGuard(t)
		other := &router.RealmConfig{URI: "other", AnonymousAuth: true}
		r := newRouter(t, &router.Config{RealmConfigs: []*router.RealmConfig{realm, other}, RealmTemplate: &router.RealmConfig{AnonymousAuth: true}})
		require.NoError(t, g.Start(t.Context(), r), "realms without it are none of its business")
		require.Equal(t, wampauth.ErrLogin, tries(realm, "wampcra", "ann", nil, answersWrong))
	})
	t.Run("not a template", func(t *testing.T) {
		g, realm := newGuard(t)
		r := newRouter(t, &router.Config{RealmConfigs: []*router.RealmConfig{realm}, RealmTemplate: realm})
		require.ErrorIs(t, g.Start(t.Context(), r), chansec.ErrInvalid)
		require.Equal(t, wampauth.ErrUnavailable, tries(realm, "wampcra", "ann", nil, answersWrong))
	})
	t.Run("not two", func(t *testing.T) {
		g, realm := newGuard(t)
		second := *realm
		second.URI = "realm2"
		r := newRouter(t, &router.Config{RealmConfigs: []*router.RealmConfig{realm, &second}})
		require.ErrorIs(t, g.Start(t.Context(), r), chansec.ErrInvalid)
	})
	t.Run("not none", func(t *testing.T) {
		g, realm := newGuard(t)
		r := newRouter(t, &router.Config{RealmConfigs: []*router.RealmConfig{{URI: realm.URI, AnonymousAuth: true}}})
		require.ErrorIs(t, g.Start(t.Context(), r), chansec.ErrInvalid, "the realm of that name is another")
	})
	t.Run("not two later on", func(t *testing.T) {
		g, realm := newGuard(t)
		r := newRouter(t, &router.Config{RealmConfigs: []*router.RealmConfig{realm}})
		require.NoError(t, g.Start(t.Context(), r))
		second := *realm
		second.URI = "realm2"
		require.NoError(t, r.AddRealm(&second))
		require.Equal(t, wampauth.ErrUnavailable, tries(realm, "wampcra", "ann", nil, answersWrong))
	})
}

func answersWrong(*wamp.Challenge) string { return "AAAA" }

func TestAProgressiveCallHasNoTimeout(t *testing.T) {
	w := newWorld(t)
	w.everything("ann")
	ann := w.login("ann")
	allowed, reason := w.asks(ann, &wamp.Call{Request: 1, Procedure: "com.a", Options: wamp.Dict{"progress": true, "timeout": 1000}})
	require.False(t, allowed)
	require.Contains(t, reason, "no timeout")
	allowed, _ = w.asks(ann, &wamp.Call{Request: 2, Procedure: "com.a", Options: wamp.Dict{"timeout": 1000}})
	require.True(t, allowed)
	allowed, _ = w.asks(ann, &wamp.Call{Request: 3, Procedure: "com.a", Options: wamp.Dict{"progress": true}})
	require.True(t, allowed)
}

func TestNobodyAnswersOrCancelsTheCallsOfOthers(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "call", "com")
	w.grant("bob", "register", "com")
	w.grant("eve", "register", "com.eve")
	ann, bob := w.login("ann"), w.login("bob")
	began, goOn := make(chan struct{}), make(chan struct{})
	require.NoError(t, bob.Register("com.slow", func(context.Context, *wamp.Invocation) client.InvokeResult {
		close(began)
		<-goOn
		return client.InvokeResult{Args: wamp.List{"true"}}
	}, nil))
	eve := w.raw("eve")
	eve.Send() <- &wamp.Register{Request: 1, Procedure: "com.eve", Options: wamp.Dict{}}
	receive[*wamp.Registered](t, eve)
	answer := make(chan any, 1)
	go func() {
		res, err := doCall(ann, "com.slow")
		if err != nil {
			res = err
		}
		answer <- res
	}()
	<-began
	for id := range wamp.ID(200) {
		eve.Send() <- &wamp.Yield{Request: id, Options: wamp.Dict{}, Arguments: wamp.List{"forged"}}
		eve.Send() <- &wamp.Cancel{Request: id, Options: wamp.Dict{"mode": "killnowait"}}
	}
	eve.Send() <- &wamp.Publish{Request: 2, Topic: "com.after", Options: wamp.Dict{}}
	eventually(t, "all of it was read", func() bool { return len(w.did("eve", "publish")) == 1 })
	close(goOn)
	require.Equal(t, "true", <-answer)
}

func TestWhoMayNotKillLearnsNothing(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.guard.Serve(t.Context(), nil))
	w.everything("adm")
	w.grant("eve", "call", "com")
	adm, ann, eve := w.login("adm"), w.login("ann"), w.login("eve")
	for _, procedure := range []string{"sys.session.kill", "sys.session.get", "sys.session.list", "wamp.session.kill", "wamp.session.get", "wamp.session.kill_by_authid"} {
		answers := make(map[string]bool)
		for _, about := range []any{ann.ID(), wamp.ID(5), "ann", "nobody", wamp.Dict{"session": number(ann)}, wamp.Dict{"login": "ann"}, wamp.Dict{"login": "nobody"}} {
			_, err := doCall(eve, procedure, about)
			require.Equal(t, string(wamp.ErrNotAuthorized), errorURI(err), procedure)
			answers[err.Error()] = true
		}
		require.Len(t, answers, 1, procedure)
	}
	_, err := doCall(adm, "sys.session.kill", wamp.Dict{"session": number(ann)})
	require.NoError(t, err)
	ends(t, ann, "wamp.close.killed")
}

// selective is a log that takes logins, and nothing else while it is full.
type selective struct{ *crowdedLog }

func (s *selective) Record(ctx context.Context, r audit.Record) error {
	if r.Operation == audit.OpLogin {
		return s.Ring.Record(ctx, r)
	}
	return s.crowdedLog.Record(ctx, r)
}

// Otherwise who logs in, is denied something and logs in again would have the guard keep more and more.
func TestALoginWaitsForWhatIsOverdue(t *testing.T) {
	trail := &selective{&crowdedLog{}}
	w := newWorld(t, func(c *wampauth.Config) { trail.Ring, c.Activity = c.Activity.(*audit.Ring), trail })
	t.Cleanup(func() { trail.full.Store(false) })
	eve := w.login("eve")
	trail.full.Store(true)
	refused(t, doPublish(eve, "org"))
	ends(t, eve, "wamp.close.killed")
	in := make(chan error, 1)
	go func() {
		c, err := w.connect("eve", byKey(keyOf(t, "eve")))
		if err == nil {
			defer func() { _ = c.Close() }()
		}
		in <- err
	}()
	before := trail.refused.Load()
	eventually(t, "the log was asked again", func() bool { return trail.refused.Load() > before+20 })
	select {
	case err := <-in:
		require.Fail(t, "it is let in", "%v", err)
	default:
	}
	trail.full.Store(false)
	require.NoError(t, <-in)
	require.Equal(t, []string{"login  allowed", "publish org denied", "logout  allowed", "login  allowed"},
		w.did("eve", audit.OpLogin, audit.OpLogout, "publish")[:4], "in order")
}

func TestARefusedLoginIsRecordedThoughTheGuardIsClosed(t *testing.T) {
	w, trail := newCrowded(t)
	trail.full.Store(true)
	told := make(chan error, 1)
	go func() { told <- tries(w.realm, "wampcra", "ann", nil, answersWrong) }()
	eventually(t, "it waits for the log", func() bool { return trail.refused.Load() > 1 })
	closed := make(chan error, 1)
	go func() { closed <- w.guard.Close(context.Background()) }()
	require.Equal(t, wampauth.ErrLogin, <-told)
	trail.full.Store(false)
	require.NoError(t, <-closed)
	require.Equal(t, 1, trail.of("ann", func(r audit.Record) bool { return r.Operation == audit.OpLogin && r.Outcome == chansec.Denied }))
}

// prompt is a log that gives up what is being recorded when the context ends.
type prompt struct{ *audit.Ring }

func (p *prompt) Record(ctx context.Context, r audit.Record) error {
	if r.Operation == audit.OpLogout {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return p.Ring.Record(ctx, r)
}

func TestCloseLosesNoRecords(t *testing.T) {
	w := newWorld(t, func(c *wampauth.Config) { c.Activity = &prompt{c.Activity.(*audit.Ring)} })
	for range 3 {
		w.login("ann")
	}
	require.NoError(t, w.guard.Close(t.Context()))
	require.Len(t, w.did("ann", audit.OpLogout), 3)
}

func TestClosingAgainDoesNotDisturbClosing(t *testing.T) {
	w := newWorld(t)
	var clients []*client.Client
	for range 50 {
		clients = append(clients, w.login("ann"))
	}
	closed := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	go func() { closed <- w.guard.Close(ctx) }()
	eventually(t, "it is being closed", func() bool { _, err := w.guard.Numbers(ctx); return errors.Is(err, wampauth.ErrUnavailable) })
	require.NoError(t, w.guard.Close(ctx))
	require.NoError(t, <-closed)
	require.NoError(t, ctx.Err(), "it took no longer than that")
	for _, c := range clients {
		ends(t, c, string(wamp.CloseSystemShutdown))
	}
}

// Two subscriptions by patterns are enough: the broker writes into details that another client is being sent.
func TestEventsByPatternsDoNotEndTheProgram(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "subscribe", "com")
	w.grant("bob", "publish", "com")
	w.user("ann")
	at := "ws://" + w.websocket()
	heard := make(chan *wamp.Event, 1<<17)
	for range 3 {
		c, err := client.ConnectNet(t.Context(), at, client.Config{Realm: "realm1", HelloDetails: wamp.Dict{"authid": "ann"},
			AuthHandlers: byKey(keyOf(t, "ann")), Logger: log.New(io.Discard, "", 0), ResponseTimeout: 5 * time.Second})
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		for _, pattern := range []string{"com.", "com.x", "com.x.", "com.x.y"} {
			require.NoError(t, doSubscribe(c, pattern, "prefix", heard))
		}
	}
	bob := w.login("bob")
	for range 4000 {
		require.NoError(t, doPublish(bob, "com.x.y"))
	}
	arrives(t, heard, "com.x.y")
}

func TestWhoComesByTheRouterItselfIsNotLetIn(t *testing.T) {
	g, realm := newGuard(t)
	r := newRouter(t, &router.Config{RealmConfigs: []*router.RealmConfig{realm}})
	require.NoError(t, g.Start(t.Context(), r))
	for _, tt := range []struct {
		by   router.Router
		want error
	}{{r, wampauth.ErrUnavailable}, {wampauth.CopyEvents(r), wampauth.ErrLogin}} {
		w := &world{TB: t, router: tt.by}
		_, err := w.connect("ann", bySecret("guess"))
		require.ErrorContains(t, err, tt.want.Error())
		_, err = w.connect("ann", nil)
		require.Error(t, err, "nobody is local who comes over a transport")
	}
}
