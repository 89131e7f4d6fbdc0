package wampauth_test

import (
	"testing"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/topicvectors"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/wampauth"
)

// message is what does an action.
func message(action, topic, match string) wamp.Message {
	options := wamp.Dict{}
	if match != "" {
		options[wamp.OptMatch] = match
	}
	switch action {
	case "call":
		return &wamp.Call{Request: wamp.GlobalID(), Procedure: wamp.URI(topic), Options: options}
	case "register":
		return &wamp.Register{Request: 1, Procedure: wamp.URI(topic), Options: options}
	case "subscribe":
		return &wamp.Subscribe{Request: 1, Topic: wamp.URI(topic), Options: options}
	case "publish":
		return &wamp.Publish{Request: 1, Topic: wamp.URI(topic), Options: options}
	}
	return nil // admin is no action of a router
}

func TestVectorsAreDecidedAsTheySay(t *testing.T) {
	for name, c := range topicvectors.Checks(t) {
		t.Run(name, func(t *testing.T) {
			kind := policy.WAMPConfig()
			kind.DenyRows = true
			// The vectors know nothing of names that are the administration's.
			w := newWorldOf(t, kind, func(c *wampauth.Config) { c.Base = "elsewhere" })
			require.NoError(t, w.store.Update(t.Context(), policy.Root(), c.DB.FillGrants))
			sessions := map[string]*wamp.Session{}
			for _, user := range c.DB.Users {
				in := w.login(user)
				sessions[user] = &wamp.Session{ID: in.ID(), Details: wamp.Dict{"authid": "adm"}}
			}
			ran := 0
			for _, v := range c.Cases {
				msg := message(v.Action, v.Topic, string(v.Match))
				if msg == nil {
					continue
				}
				s := sessions[v.User]
				if s == nil {
					s = &wamp.Session{ID: 5, Details: wamp.Dict{"authid": "adm"}} // nobody who logged in
				}
				if call, ok := msg.(*wamp.Call); ok {
					call.Request = wamp.ID(ran + 1)
				}
				ran++
				allowed, err := w.authorizer().Authorize(s, msg)
				require.NoError(t, err, v.ID)
				require.Equal(t, v.Allowed, allowed, "%s: %s %s %q %s", v.ID, v.User, v.Action, v.Topic, v.Match)
			}
			require.Greater(t, ran, 5)
		})
	}
}

// authorizer is what the guard put into the realm.
func (w *world) authorizer() router.Authorizer { return w.realm.Authorizer }
