package wampauth_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/wampauth"
)

// hears publishes on each topic, as the program, and requires that exactly these of them arrive.
func (w *world) hears(by *client.Client, events <-chan *wamp.Event, heard []string, topics ...string) {
	w.Helper()
	for _, topic := range append(topics, "com.end") {
		require.NoError(w, doPublish(by, topic))
	}
	for _, topic := range append(heard, "com.end") {
		arrives(w, events, topic)
	}
}

func TestARevokedSubscriberHearsNothingMore(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "subscribe", "com.news", "com.end")
	ann, program := w.login("ann"), w.local()
	events := make(chan *wamp.Event, 100)
	require.NoError(t, doSubscribe(ann, "com.news", "", events))
	require.NoError(t, doSubscribe(ann, "com.end", "", events))
	w.hears(program, events, []string{"com.news"}, "com.news")
	w.revoke("ann", "subscribe", "com.news")
	w.hears(program, events, nil, "com.news", "com.news")
	w.grant("ann", "subscribe", "com.news")
	w.hears(program, events, []string{"com.news"}, "com.news")
}

func TestAPatternBringsWhatIsGrantedByName(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "subscribe", "com")
	ann, program := w.login("ann"), w.local()
	events := make(chan *wamp.Event, 100)
	require.NoError(t, doSubscribe(ann, "com.", "prefix", events))
	w.hears(program, events, []string{"com.home.door", "com.work"}, "com.home.door", "com.work", "org.home")
	w.grant("ann", "subscribe", "com.home", "com.end")
	w.revoke("ann", "subscribe", "com")
	w.hears(program, events, []string{"com.home.door"}, "com.home.door", "com.work", "com.homely")
	refused(t, doSubscribe(ann, "com.", "prefix", events))
}

func TestPublishersStillChooseWhoHears(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "subscribe", "com")
	w.grant("bob", "publish", "com")
	ann, bob := w.login("ann"), w.login("bob")
	events := make(chan *wamp.Event, 100)
	require.NoError(t, doSubscribe(ann, "com.x", "", events))
	for _, options := range []wamp.Dict{{"eligible_authid": wamp.List{"bob"}}, {"exclude_authid": wamp.List{"ann"}}, {"exclude": wamp.List{ann.ID()}}, {"eligible": wamp.List{5}}} {
		options["acknowledge"] = true
		require.NoError(t, bob.Publish("com.x", options, wamp.List{"not for ann"}, nil))
	}
	require.NoError(t, bob.Publish("com.x", wamp.Dict{"eligible_authid": wamp.List{"ann"}, "acknowledge": true}, wamp.List{"for ann"}, nil))
	arrives(t, events, "for ann")
}

// fragile is a policy that may fail.
type fragile struct {
	wampauth.Policy
	err    atomic.Pointer[error]
	panics atomic.Bool
}

func (f *fragile) Check(p chansec.Principal, permission, topic string) (chansec.Decision, error) {
	if f.panics.Load() {
		panic("at the disco")
	}
	if err := f.err.Load(); err != nil {
		return chansec.Decision{Allowed: true}, *err
	}
	return f.Policy.Check(p, permission, topic)
}

func TestNothingIsAllowedWhileNobodyCanDecide(t *testing.T) {
	frail := &fragile{}
	w := newWorld(t, func(c *wampauth.Config) { frail.Policy, c.Policy = c.Policy, frail })
	w.grant("ann", "subscribe", "com")
	w.grant("ann", "publish", "com")
	w.grant("ann", "call", "com")
	w.grant("bob", "register", "com")
	ann, bob, program := w.login("ann"), w.login("bob"), w.local()
	events := make(chan *wamp.Event, 100)
	require.NoError(t, doSubscribe(ann, "com.", "prefix", events))
	require.NoError(t, doRegister(bob, "com.f", ""))
	for name, fail := range map[string]func(bool){
		"an error": func(on bool) {
			failure := errors.New("the database at 10.0.0.7 is gone")
			frail.err.Store(map[bool]*error{true: &failure}[on])
		},
		"a panic": func(on bool) { frail.panics.Store(on) },
	} {
		t.Run(name, func(t *testing.T) {
			fail(true)
			require.NoError(t, doPublish(program, "com.unheard"))
			for what, err := range map[string]error{
				"publish": doPublish(ann, "com.x"), "subscribe": doSubscribe(ann, "com.y", "", events), "register": doRegister(ann, "com.z", ""),
				"call": func() error { _, err := doCall(ann, "com.f"); return err }(),
			} {
				require.ErrorContains(t, err, string(wamp.ErrAuthorizationFailed), what)
				require.NotContains(t, err.Error(), "10.0.0.7", "no internals")
			}
			require.NoError(t, doPublish(program, "org.barrier")) // the broker takes one after the other
			fail(false)
			require.NoError(t, doPublish(program, "com.heard"))
			arrives(t, events, "com.heard")
			_, err := doCall(ann, "com.f")
			require.NoError(t, err, "and the callee is there still")
			require.Contains(t, w.did("ann", "publish"), "publish com.x undecided")
		})
	}
}

func TestARevokedCalleeGetsNoMoreCalls(t *testing.T) {
	for name, tt := range map[string]struct{ procedure, match string }{
		"by its name": {"com.home.open", ""}, "by a prefix": {"com.home.", "prefix"}, "by a wildcard": {"com.home.", "wildcard"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.grant("ann", "call", "com")
			w.grant("bob", "register", "com.home")
			ann, bob := w.login("ann"), w.login("bob")
			var calls atomic.Int64
			options := wamp.Dict{}
			if tt.match != "" {
				options["match"] = tt.match
			}
			require.NoError(t, bob.Register(tt.procedure, func(context.Context, *wamp.Invocation) client.InvokeResult {
				calls.Add(1)
				return client.InvokeResult{}
			}, options))
			_, err := doCall(ann, "com.home.open")
			require.NoError(t, err)
			require.EqualValues(t, 1, calls.Load())
			w.revoke("bob", "register", "com.home")
			for range 10 {
				_, err = doCall(ann, "com.home.open")
				require.Error(t, err)
			}
			require.EqualValues(t, 1, calls.Load())
			ends(t, bob, string(wamp.ErrNotAuthorized))
			eventually(t, "the procedure is gone", func() bool {
				_, err := doCall(ann, "com.home.open")
				return errorURI(err) == string(wamp.ErrNoSuchProcedure)
			})
			w.grant("bob", "register", "com.home")
			require.NoError(t, doRegister(w.login("bob"), tt.procedure, tt.match))
			_, err = doCall(ann, "com.home.open")
			require.NoError(t, err, "who is granted it again is called again")
		})
	}
}

func TestACalleeWhoseRoleRunsOutGetsNoMoreCalls(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "call", "com")
	w.grant("nobody", "register", "com")
	require.NoError(t, w.store.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
		return tx.AssignRoleUntil("bob", "of_nobody", time.Now().Add(time.Second))
	}))
	ann, bob := w.login("ann"), w.login("bob")
	require.NoError(t, doRegister(bob, "com.f", ""))
	_, err := doCall(ann, "com.f")
	require.NoError(t, err)
	ends(t, bob, string(wamp.ErrNotAuthorized))
}

func TestWhoHoldsNothingThatWasTakenStays(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "call", "com")
	w.grant("bob", "register", "com.a", "com.b")
	w.grant("bob", "publish", "com")
	ann, bob := w.login("ann"), w.login("bob")
	require.NoError(t, doRegister(bob, "com.a", ""))
	require.NoError(t, doRegister(bob, "com.b", ""))
	require.NoError(t, bob.Unregister("com.b"))
	w.revoke("bob", "register", "com.b")
	eventually(t, "calls of what nobody holds are not refused for ever", func() bool {
		_, err := doCall(ann, "com.b")
		return errorURI(err) == string(wamp.ErrNoSuchProcedure)
	})
	_, err := doCall(ann, "com.a")
	require.NoError(t, err)
	require.NoError(t, doPublish(bob, "com.x"))
	refused(t, doRegister(bob, "com.b", ""))
	_, err = doCall(ann, "com.a")
	require.NoError(t, err, "to be refused a registration ends nobody")
}

func TestASharedProcedureGoesOnWithThoseWhoMayStill(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "call", "com")
	w.grant("bob", "register", "com")
	w.grant("eve", "register", "com")
	ann, bob, eve := w.login("ann"), w.login("bob"), w.login("eve")
	for _, c := range []*client.Client{bob, eve} {
		require.NoError(t, c.Register("com.f", func(context.Context, *wamp.Invocation) client.InvokeResult {
			return client.InvokeResult{Args: wamp.List{c.ID()}}
		}, wamp.Dict{"invoke": "roundrobin"}))
	}
	w.revoke("eve", "register", "com")
	eventually(t, "calls go to bob", func() bool {
		got, err := doCall(ann, "com.f")
		require.NotEqual(t, eve.ID(), got)
		return err == nil && got == bob.ID()
	})
	ends(t, eve, string(wamp.ErrNotAuthorized))
}

func TestRegistrationsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.grant("bob", "register", "com")
	bob := w.login("bob")
	for i := range int64(wampauth.MaxRegistrations) {
		require.NoError(t, doRegister(bob, "com.f"+text(i), ""))
	}
	refused(t, doRegister(bob, "com.more", ""))
	require.NoError(t, doRegister(w.login("bob"), "com.another", ""), "another session has its own")
	require.NoError(t, bob.Unregister("com.f5"))
	eventually(t, "what was given back makes room", func() bool { return doRegister(bob, "com.more", "") == nil })
}
