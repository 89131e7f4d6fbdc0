package wampauth_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/wampauth"
)

// everything is all that could be granted.
func (w *world) everything(login string) {
	for _, permission := range []string{"call", "register", "subscribe", "publish"} {
		w.grant(login, permission, "wamp", "sys", "com")
	}
}

// asks returns whether a session that may do everything is let through with a message, and what the log says why not.
func (w *world) asks(c *client.Client, msg wamp.Message) (bool, string) {
	w.Helper()
	allowed, err := w.authorizer().Authorize(&wamp.Session{ID: c.ID()}, msg)
	require.NoError(w, err)
	var reason string
	for r := range w.trail.Records(w.Context(), audit.Filter{NewestFirst: true, Limit: 1}) {
		reason = r.Reason
	}
	return allowed, reason
}

func TestWhatNoGrantAllows(t *testing.T) {
	long := "com." + strings.Repeat("x", 252)
	for name, tt := range map[string]struct {
		msg     wamp.Message
		allowed wamp.Message // its neighbour, which is allowed
		because string
	}{
		"to publish what the router says": {
			&wamp.Publish{Topic: "wamp.session.on_leave"}, &wamp.Publish{Topic: "com.wamp.session.on_leave"}, "router"},
		"to publish at the router's root": {&wamp.Publish{Topic: "wamp"}, &wamp.Publish{Topic: "com.wamp"}, "router"},
		"to register a procedure of the router": {
			&wamp.Register{Procedure: "wamp.session.kill_by_all"}, &wamp.Register{Procedure: "com.session.kill"}, "theirs"},
		"to register by a prefix what is the router's": {
			&wamp.Register{Procedure: "wamp.", Options: wamp.Dict{"match": "prefix"}}, &wamp.Register{Procedure: "com.", Options: wamp.Dict{"match": "prefix"}}, "theirs"},
		"to register a procedure of the administration": {&wamp.Register{Procedure: "sys.user.add"}, &wamp.Register{Procedure: "com.sys.user.add"}, "theirs"},
		"to register by a prefix what is the administration's": {
			&wamp.Register{Procedure: "sys.us", Options: wamp.Dict{"match": "prefix"}}, &wamp.Register{Procedure: "com.us", Options: wamp.Dict{"match": "prefix"}}, "theirs"},
		"to register by a wildcard what is the administration's": {
			&wamp.Register{Procedure: "sys..add", Options: wamp.Dict{"match": "wildcard"}}, &wamp.Register{Procedure: "com..add", Options: wamp.Dict{"match": "wildcard"}}, "theirs"},
		"to subscribe to events about subscriptions": {
			&wamp.Subscribe{Topic: "wamp.subscription.on_create"}, &wamp.Subscribe{Topic: "wamp.session.on_join"}, "taken back"},
		"to subscribe to them by a prefix": {
			&wamp.Subscribe{Topic: "wamp.", Options: wamp.Dict{"match": "prefix"}}, &wamp.Subscribe{Topic: "wamp.session.", Options: wamp.Dict{"match": "prefix"}}, "taken back"},
		"to subscribe to them by a wildcard": {
			&wamp.Subscribe{Topic: "wamp..on_create", Options: wamp.Dict{"match": "wildcard"}}, &wamp.Subscribe{Topic: "wamp.session.", Options: wamp.Dict{"match": "wildcard"}}, "taken back"},
		"to leave a testament, which is published without a check": {
			&wamp.Call{Procedure: "wamp.session.add_testament"}, &wamp.Call{Procedure: "wamp.session.flush_testaments"}, "nobody may call"},
		"to say who a session is": {&wamp.Call{Procedure: "wamp.session.modify_details"}, &wamp.Call{Procedure: "wamp.session.get"}, "nobody may call"},
		"to read what others published": {
			&wamp.Call{Procedure: "wamp.subscription.get_events"}, &wamp.Call{Procedure: "wamp.subscription.get"}, "nobody may call"},
		"a way to match that is no text": {
			&wamp.Subscribe{Topic: "com.x", Options: wamp.Dict{"match": 5}}, &wamp.Subscribe{Topic: "com.x", Options: wamp.Dict{"match": "exact"}}, "no text"},
		"an unknown way to match": {
			&wamp.Subscribe{Topic: "com.x", Options: wamp.Dict{"match": "regex"}}, &wamp.Subscribe{Topic: "com.x", Options: wamp.Dict{"match": ""}}, "unknown way"},
		"a way to match in bytes counts as in text": {
			&wamp.Subscribe{Topic: "com", Options: wamp.Dict{"match": []byte("prefix")}}, &wamp.Subscribe{Topic: "com.", Options: wamp.Dict{"match": []byte("prefix")}}, "nothing that could be granted"},
		"eligible sessions that are no list": {
			&wamp.Publish{Topic: "com.x", Options: wamp.Dict{"eligible": "5"}}, &wamp.Publish{Topic: "com.x", Options: wamp.Dict{"eligible": wamp.List{5}}}, "lists"},
		"eligible sessions that are no numbers": {
			&wamp.Publish{Topic: "com.x", Options: wamp.Dict{"eligible": wamp.List{"5"}}}, &wamp.Publish{Topic: "com.x", Options: wamp.Dict{"exclude": wamp.List{5}}}, "numbers"},
		"nobody eligible": {
			&wamp.Publish{Topic: "com.x", Options: wamp.Dict{"eligible": wamp.List{}}}, &wamp.Publish{Topic: "com.x", Options: wamp.Dict{"exclude": wamp.List{}}}, "somebody eligible"},
		"eligible logins that are no texts": {
			&wamp.Publish{Topic: "com.x", Options: wamp.Dict{"eligible_authid": wamp.List{5}}}, &wamp.Publish{Topic: "com.x", Options: wamp.Dict{"eligible_authid": wamp.List{"ann"}}}, "texts"},
		"more excluded than the broker should look through": {
			&wamp.Publish{Topic: "com.x", Options: wamp.Dict{"exclude": make(wamp.List, 1001)}}, &wamp.Publish{Topic: "com.x", Options: wamp.Dict{"exclude_me": false}}, "too many"},
		"payload passthru that was not announced": {
			&wamp.Publish{Topic: "com.x", Options: wamp.Dict{"ppt_scheme": "x_mine"}}, &wamp.Publish{Topic: "com.x", Options: wamp.Dict{"acknowledge": false}}, "did not announce"},
		"payload passthru in what is no text, which would end the router": {
			&wamp.Call{Procedure: "com.x", Options: wamp.Dict{"ppt_scheme": "x_mine", "ppt_serializer": 5}}, &wamp.Call{Procedure: "com.x", Options: wamp.Dict{"disclose_me": true}}, "ppt_serializer is no text"},
		"a name that is too long": {&wamp.Publish{Topic: wamp.URI(long)}, &wamp.Publish{Topic: wamp.URI(long[:255])}, "too long"},
		"an empty name":           {&wamp.Publish{Topic: ""}, &wamp.Publish{Topic: "com"}, "nothing that could be granted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.everything("ann")
			w.grant("ann", "subscribe", "wamp.session")
			ann := plain(w, "ann")
			if call, ok := tt.msg.(*wamp.Call); ok {
				call.Request = 1
			}
			if call, ok := tt.allowed.(*wamp.Call); ok {
				call.Request = 2
			}
			allowed, reason := w.asks(ann, tt.msg)
			require.False(t, allowed)
			require.Contains(t, reason, tt.because)
			allowed, reason = w.asks(ann, tt.allowed)
			require.True(t, allowed, reason)
		})
	}
}

// plain logs in a client that announces no features.
func plain(w *world, login string) *client.Client {
	w.Helper()
	c, err := client.NewClient(w.attach(nil), client.Config{Realm: "realm1", AuthHandlers: byKey(w.user(login)),
		HelloDetails: wamp.Dict{"authid": login, "roles": wamp.Dict{"publisher": wamp.Dict{}, "subscriber": wamp.Dict{}, "caller": wamp.Dict{}, "callee": wamp.Dict{}}}})
	require.NoError(w, err)
	w.Cleanup(func() { _ = c.Close() })
	return c
}

func TestNobodyButWhoIsGrantedItCallsTheRouter(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "call", "com")
	ann, bob := w.login("ann"), w.login("bob")
	for _, procedure := range []string{"wamp.session.count", "wamp.session.list", "wamp.session.get", "wamp.session.kill", "wamp.session.kill_by_authid",
		"wamp.session.kill_by_authrole", "wamp.session.kill_all", "wamp.registration.list", "wamp.subscription.list"} {
		_, err := doCall(ann, procedure, bob.ID())
		refused(t, err)
	}
	w.grant("ann", "call", "wamp.session.kill")
	_, err := doCall(ann, "wamp.session.kill", bob.ID())
	require.NoError(t, err)
	ends(t, bob, "wamp.close.normal")
	_, err = doCall(ann, "wamp.session.kill_all")
	refused(t, err)
}

func TestNobodySubscribesToWhoComesAndGoesUnlessGranted(t *testing.T) {
	w := newWorld(t)
	ann := w.login("ann")
	events := make(chan *wamp.Event, 10)
	refused(t, doSubscribe(ann, "wamp.session.on_join", "", events))
	refused(t, doSubscribe(ann, "wamp.session.", "prefix", events))
	w.grant("ann", "subscribe", "wamp.session")
	require.NoError(t, doSubscribe(ann, "wamp.session.on_join", "", events))
	w.login("bob")
	select {
	case e := <-events:
		details, ok := wamp.AsDict(e.Arguments[0])
		require.True(t, ok)
		require.Equal(t, "bob", details["authid"])
		require.NotContains(t, details, "authextra", "what a client said about itself is not handed on")
	case <-time.After(5 * time.Second):
		require.Fail(t, "no event")
	}
}

func TestACallWithTheNumberOfAnotherIsRefused(t *testing.T) {
	w := newWorld(t)
	w.everything("ann")
	ann := w.login("ann") // which announces progressive calls
	progress := wamp.Dict{"progress": true}
	call := func(id wamp.ID, procedure wamp.URI, options wamp.Dict) bool {
		allowed, _ := w.asks(ann, &wamp.Call{Request: id, Procedure: procedure, Options: options})
		return allowed
	}
	require.True(t, call(1, "com.a", nil))
	require.False(t, call(1, "com.a", nil), "the same call again")
	require.True(t, call(5, "com.a", nil))
	require.True(t, call(3, "com.a", nil), "out of order, as of several threads")
	require.False(t, call(3, "com.b", nil))
	require.True(t, call(6, "com.a", progress))
	require.True(t, call(6, "com.a", progress), "more of a progressive call")
	require.False(t, call(6, "com.b", progress), "which names another procedure")
	require.True(t, call(6, "com.a", nil), "the end of it")
	require.False(t, call(6, "com.a", nil))
	require.True(t, call(5000, "com.a", nil))
	require.False(t, call(7, "com.a", nil), "too long ago to be known")
	for id := range wamp.ID(64) {
		require.True(t, call(6000+id, "com.a", progress))
	}
	require.False(t, call(7000, "com.a", progress), "too many at a time")

	bob := plain(w, "bob")
	w.everything("bob")
	allowed, reason := w.asks(bob, &wamp.Call{Request: 1, Procedure: "com.a", Options: progress})
	require.False(t, allowed)
	require.Contains(t, reason, "did not announce")
}

func TestOtherMessagesPass(t *testing.T) {
	w := newWorld(t)
	ann := plain(w, "ann")
	for _, msg := range []wamp.Message{&wamp.Yield{}, &wamp.Unsubscribe{}, &wamp.Unregister{}, &wamp.Cancel{}, &wamp.Goodbye{}} {
		allowed, err := w.authorizer().Authorize(&wamp.Session{ID: ann.ID()}, msg)
		require.NoError(t, err)
		require.True(t, allowed, "%s", msg.MessageType())
	}
	allowed, err := w.authorizer().Authorize(&wamp.Session{ID: ann.ID()}, &wamp.Error{Type: wamp.INVOCATION, Request: 1})
	require.NoError(t, err)
	require.False(t, allowed, "an answer to a call, by whom nobody can have called")
	allowed, err = w.authorizer().Authorize(&wamp.Session{ID: 77, Details: wamp.Dict{"authid": "ann", "authmethod": "wampcra"}}, &wamp.Yield{})
	require.NoError(t, err)
	require.False(t, allowed, "of a session that did not log in")
	require.Empty(t, w.did("ann", "call", "register", "subscribe", "publish"), "these are no actions")
}

func TestAResultThatWouldEndTheRouterArrivesWithoutThat(t *testing.T) {
	w := newWorld(t)
	ann := plain(w, "ann")
	yield := &wamp.Yield{Options: wamp.Dict{"ppt_scheme": "x_mine", "ppt_serializer": 5, "progress": true}}
	allowed, err := w.authorizer().Authorize(&wamp.Session{ID: ann.ID()}, yield)
	require.NoError(t, err)
	require.True(t, allowed)
	require.Equal(t, wamp.Dict{"progress": true}, yield.Options)
}

func TestAnErrorOfWhoWasNotCalledDoesNotReachTheCaller(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "call", "com")
	w.grant("bob", "register", "com")
	ann, bob := w.login("ann"), w.login("bob")
	began, goOn := make(chan struct{}), make(chan struct{})
	require.NoError(t, bob.Register("com.slow", func(context.Context, *wamp.Invocation) client.InvokeResult {
		close(began)
		<-goOn
		return client.InvokeResult{Args: wamp.List{"true"}}
	}, nil))
	eve := w.raw("eve")
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
		eve.Send() <- &wamp.Error{Type: wamp.INVOCATION, Request: id, Error: "com.forged", Details: wamp.Dict{}}
	}
	eve.Send() <- &wamp.Publish{Request: 1, Topic: "com.after", Options: wamp.Dict{}}
	eventually(t, "all of it was read", func() bool { return len(w.did("eve", "publish")) == 1 })
	close(goOn)
	require.Equal(t, "true", <-answer)
}

func TestAForgedLeaveChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.everything("eve")
	w.grant("ann", "publish", "com")
	ann, eve := w.login("ann"), w.login("eve")
	err := eve.Publish("wamp.session.on_leave", wamp.Dict{wamp.OptAcknowledge: true}, wamp.List{ann.ID(), "ann", "user"}, nil)
	refused(t, err)
	require.NoError(t, doPublish(ann, "com.x"))
}

func TestTheAdministrationCannotBeStoodInFor(t *testing.T) {
	w := newWorld(t, func(c *wampauth.Config) { c.Base = "com.acme.admin" })
	w.everything("eve")
	eve := w.login("eve")
	for _, at := range []struct{ name, match string }{
		{"com.acme.admin.user.add", ""}, {"com.acme.admin", ""}, {"com.acme.admin.", "prefix"}, {"com.acme.adm", "prefix"}, {"com.", "prefix"},
		{"com..admin.user.add", "wildcard"}, {"com....", "wildcard"}, {"com.acme.admin.user.", "wildcard"},
	} {
		refused(t, doRegister(eve, at.name, at.match))
	}
	for _, at := range []struct{ name, match string }{
		{"com.acme.administrator", ""}, {"com.acme.b", "prefix"}, {"com..other.user.add", "wildcard"}, {"com..", "wildcard"},
	} {
		if at.name == "com.." { // which has the length of the base: it matches the base itself
			refused(t, doRegister(eve, at.name, at.match))
			continue
		}
		require.NoError(t, doRegister(eve, at.name, at.match), at.name)
	}
}
