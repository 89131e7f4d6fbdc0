package wampauth_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/jsclient"
)

func TestRealClientsSeeWhatThePolicySays(t *testing.T) {
	dir := jsclient.Install(t)
	for _, kind := range jsclient.Kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			sockets := router.NewWebsocketServer(w.router)
			sockets.EnableRequestCapture = true
			server := httptest.NewServer(sockets)
			defer server.Close()
			url := "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
			require.NoError(t, w.guard.Serve(t.Context(), nil))
			w.user("ann")
			for permission, topics := range map[string][]string{"publish": {"com.home"}, "subscribe": {"com.home"}, "call": {"com.home", "sys.session"}, "register": {"com.home.door"}} {
				w.grant("ann", permission, topics...)
			}
			program := w.local()

			stranger := jsclient.Start(t, dir, kind, url, "realm1", "ann", "a guess")
			ann := jsclient.Start(t, dir, kind, url, "realm1", "ann", secretOf("ann")) // each derives a key, which takes autobahn seconds
			require.Equal(t, string(wamp.ErrAuthenticationFailed), stranger.Hears("closed"))
			require.Equal(t, "ann", ann.Hears("open"))
			ann.May("publish", "com.home.door", "")
			ann.MayNot("publish", "com.work", "")
			ann.May("subscribe", "com.home.door", "")
			ann.May("subscribe", "com.home.l", "prefix")
			ann.May("subscribe", "com.home.shade", "")
			ann.MayNot("subscribe", "com.home", "prefix")
			ann.MayNot("subscribe", "com..door", "wildcard")
			ann.May("register", "com.home.door.open", "")
			ann.MayNot("register", "com.home.garage", "")
			ann.MayNot("register", "sys.user.add", "")
			ann.MayNot("call", "com.work.f", "")
			ann.MayNot("call", "wamp.session.list", "")
			answer, err := doCall(program, "com.home.door.open")
			require.NoError(t, err)
			require.Equal(t, "done", answer)
			require.Equal(t, "com.home.door.open", ann.Hears("called"))

			list, failed := ann.Does("call", "sys.session.list", "", map[string]any{"arguments": map[string]any{}})
			require.Empty(t, failed)
			one := list.([]any)[0].(map[string]any)
			require.Equal(t, "ann", one["login"])
			require.Contains(t, one["remote"], "127.0.0.1:", "the transport says where they are")

			require.NoError(t, doPublish(program, "com.home.light"))
			require.Equal(t, "com.home.light", ann.Hears("event"))
			w.revoke("ann", "subscribe", "com.home")
			require.NoError(t, doPublish(program, "com.home.light"))
			require.NoError(t, doPublish(program, "com.barrier")) // the broker is through with the one before
			w.grant("ann", "subscribe", "com.home.shade")
			require.NoError(t, doPublish(program, "com.home.shade"))
			require.Equal(t, "com.home.shade", ann.Hears("event"), "and nothing before")

			require.Equal(t, 1, w.guard.KickLogin("ann", "adm", "enough"))
			ann.Hears("closed")
			require.Equal(t, 0, w.guard.KickLogin("ann", "adm", "enough"))
		})
	}
}
