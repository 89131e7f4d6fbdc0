package wampauth_test

import (
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/wampauth"
)

// FuzzMessages: whatever a client sends, nothing panics, and what is let through is granted for every name that nexus will make
// of it.
func FuzzMessages(f *testing.F) {
	for _, seed := range []string{
		`[16,1,{},"com.home.door",["x"]]`, `[32,1,{"match":"prefix"},"com.home."]`, `[32,1,{"match":"wildcard"},"com..door"]`, `[48,1,{"progress":true},"com.home.f",[]]`,
		`[64,1,{"match":"prefix","invoke":"roundrobin"},"com.home.f"]`, `[16,1,{"eligible":[1],"exclude_authid":["x"],"ppt_scheme":"x_a"},"com.home.x"]`,
		`[70,1,{"ppt_scheme":"x","ppt_serializer":5},[]]`, `[8,68,1,{},"com.err"]`, `[16,1,{"eligible":"x"},"com.home"]`, `[48,1,{},"wamp.session.kill"]`, `[6,{},"x"]`,
	} {
		f.Add([]byte(seed))
	}
	w := newWorld(f, func(c *wampauth.Config) { c.Sessions, c.Activity = nil, nil })
	for _, permission := range []string{"call", "register", "subscribe", "publish"} {
		w.grant("ann", permission, "com.home", "sys", "wamp")
	}
	ann := w.ticket(chansec.TokenRequest{SystemID: "ann", Role: "admin", AllChannels: true})
	snapshot := w.store.Snapshot()
	who := snapshot.Session("ann")
	f.Fuzz(func(t *testing.T, text []byte) {
		msg, err := (&serialize.JSONSerializer{}).Deserialize(text)
		if err != nil {
			return
		}
		if _, ok := msg.(*wamp.Goodbye); ok {
			return
		}
		if call, ok := msg.(*wamp.Call); ok {
			call.Request = wamp.GlobalID()
		}
		allowed, err := w.authorizer().Authorize(&wamp.Session{ID: ann.ID()}, msg)
		require.NoError(t, err)
		if !allowed {
			return
		}
		var permission, name string
		var options wamp.Dict
		switch msg := msg.(type) {
		case *wamp.Publish:
			permission, name, options = "publish", string(msg.Topic), msg.Options
			router.NewSimplePublishFilter(msg)
			require.False(t, strings.HasPrefix(name, "wamp"))
		case *wamp.Subscribe:
			permission, name, options = "subscribe", string(msg.Topic), msg.Options
		case *wamp.Call:
			permission, name, options = "call", string(msg.Procedure), msg.Options
		case *wamp.Register:
			permission, name, options = "register", string(msg.Procedure), msg.Options
			require.False(t, strings.HasPrefix(name, "wamp") || strings.HasPrefix(name, "sys"))
		case *wamp.Yield:
			options = msg.Options
		}
		for _, option := range []string{"ppt_scheme", "ppt_serializer", "ppt_cipher", "ppt_keyid"} {
			if v, ok := options[option]; ok {
				require.IsType(t, "", v)
			}
		}
		if permission == "" {
			return
		}
		require.LessOrEqual(t, len(name), wampauth.MaxName)
		match := ""
		if permission == "subscribe" || permission == "register" {
			match, _ = wamp.AsString(options[wamp.OptMatch])
		}
		for _, name := range matching(name, match) {
			is, err := snapshot.Allowed(who, permission, name)
			require.NoError(t, err)
			require.True(t, is, "%s %q by %q", permission, name, match)
		}
	})
}

// matching returns some names that a pattern of nexus matches.
func matching(name, match string) []string {
	switch match {
	case wamp.MatchPrefix:
		return []string{name, name + "x", name + ".x", name + "el.x"}
	case wamp.MatchWildcard:
		var list []string
		for _, fill := range []string{"x", "home", "com"} {
			parts := strings.Split(name, ".")
			for i := range parts {
				if parts[i] == "" {
					parts[i] = fill
				}
			}
			list = append(list, strings.Join(parts, "."))
		}
		return list
	}
	return []string{name}
}

// FuzzLogins: no login makes a challenge that is no JSON of its own, and none outside the alphabet is looked up.
func FuzzLogins(f *testing.F) {
	for _, seed := range []string{"ann", "a@b.c", "", `a","x":"`, "\x00", "ä", strings.Repeat("a", 256)} {
		f.Add(seed)
	}
	w := newWorld(f, func(c *wampauth.Config) { c.Sessions, c.Attempts.PerLogin, c.Attempts.Every = nil, 1<<30, 1 })
	f.Fuzz(func(t *testing.T, login string) {
		asked := false
		w.keys.asked = func(string) { asked = true }
		err := tries(w.realm, "wampcra", login, nil, func(c *wamp.Challenge) string {
			require.Contains(t, c.Extra["challenge"], `"authid":"`+login+`"`)
			return "AAAA"
		})
		require.ErrorIs(t, err, wampauth.ErrLogin)
		if asked {
			require.Regexp(t, `^[A-Za-z0-9][A-Za-z0-9_.@-]*$`, login)
			require.LessOrEqual(t, len(login), wampauth.MaxName)
		}
	})
}
