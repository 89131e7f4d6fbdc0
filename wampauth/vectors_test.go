package wampauth_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/wampauth"
)

// checks is a file of vectors of sqlauth.md 12.
type checks struct {
	DB struct {
		Users     []string
		UserRoles [][2]string
		Grants    []struct {
			Topic, Role, Action string
			Allow               bool
		}
	}
	Cases []struct {
		ID, User, Topic, Action, Match string
		Allowed                        bool
	}
}

func (c *checks) change(tx *policy.Tx) error {
	for _, m := range c.DB.UserRoles {
		if err := tx.AssignNewRole(m[0], m[1]); err != nil {
			return err
		}
	}
	denied := map[[2]string][]string{}
	for _, g := range c.DB.Grants {
		if !g.Allow {
			at := [2]string{g.Role, g.Topic}
			denied[at] = append(denied[at], g.Action)
		} else if err := tx.Grant(g.Role, g.Topic, g.Action); err != nil {
			return err
		}
	}
	for at, actions := range denied {
		if err := tx.SetPathDenials(at[0], at[1], actions...); err != nil {
			return err
		}
	}
	return nil
}

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
	files, err := filepath.Glob("testdata/checks-*.json")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var c checks
			require.NoError(t, json.Unmarshal(text, &c))
			kind := policy.WAMPConfig()
			kind.DenyRows = true
			// The vectors know nothing of names that are the administration's.
			w := newWorldOf(t, kind, func(c *wampauth.Config) { c.Base = "elsewhere" })
			require.NoError(t, w.store.Update(t.Context(), policy.Root(), c.change))
			sessions := map[string]*wamp.Session{}
			for _, user := range c.DB.Users {
				in := w.login(user)
				sessions[user] = &wamp.Session{ID: in.ID(), Details: wamp.Dict{"authid": "adm"}}
			}
			ran := 0
			for _, v := range c.Cases {
				msg := message(v.Action, v.Topic, v.Match)
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
