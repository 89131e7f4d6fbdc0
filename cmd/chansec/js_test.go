package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/jsclient"
	"github.com/chansec/chansec/sqlstore"
)

// Clients that are not written in Go see what a database says, and at once what an administrator changes in it.
func TestRealClientsSeeWhatTheDatabaseSays(t *testing.T) {
	dir := jsclient.Install(t)
	onBothEngines(t, func(t *testing.T, database string) {
		w := newTown(t, database)
		w.secrets[sqlstore.LoginAdm] = secretOf(sqlstore.LoginAdm)
		_, _, err := w.own.Bootstrap(t.Context(), w.secrets[sqlstore.LoginAdm])
		require.NoError(t, err)
		w.catchUp()
		adm := func(operation string, args map[string]any) {
			t.Helper()
			_, refused := w.do(sqlstore.LoginAdm, operation, args)
			require.Empty(t, refused, operation)
		}
		adm("topic.add", map[string]any{"name": "com.home"})
		adm("role.add", map[string]any{"name": "family", "bind_topic": "adm"})
		adm("topicrole.add", map[string]any{"topic_name": "com.home", "name": "family", "activity": []any{"publish", "subscribe", "call"}})
		for _, kind := range jsclient.Kinds {
			t.Run(kind, func(t *testing.T) {
				w.user(kind) // with fewer rounds than by the router, which autobahn takes many seconds for
				adm("userrole.add", map[string]any{"login": kind, "name": "family"})
				start := func(secret string) *jsclient.Client {
					return jsclient.Start(t, dir, kind, w.at.String(), "realm1", kind, secret)
				}
				guest, c := start("a guess"), start(secretOf(kind))
				require.Equal(t, "wamp.error.authentication_failed", guest.Hears("closed"))
				require.Equal(t, kind, c.Hears("open"))
				c.May("subscribe", "com.home.door", "")
				c.May("publish", "com.home.door", "")
				c.MayNot("subscribe", "com.safe", "")
				c.MayNot("publish", "com.safe", "")
				c.MayNot("register", "com.home.door.open", "")
				c.MayNot("call", "sys.user.list", "")
				publisher, err := w.logIn(sqlstore.LoginAdm)
				require.NoError(t, err)
				defer func() { require.NoError(t, publisher.Close()) }()
				publish := func(topic string) {
					_, err := publisher.Do(t.Context(), "router.publish", quote(w, map[string]any{"topic": topic, "args": []string{topic}}))
					require.NoError(t, err)
				}
				publish("com.home.door")
				require.Equal(t, "com.home.door", c.Hears("event"))

				adm("topicrole.delete", map[string]any{"topic_name": "com.home", "name": "family", "activity": []any{"subscribe", "publish"}})
				publish("com.home.door") // which nobody hears
				c.MayNot("publish", "com.home.door", "")
				adm("topicrole.add", map[string]any{"topic_name": "com.home", "name": "family", "activity": []any{"subscribe", "publish"}})
				publish("com.home.door")
				require.Equal(t, "com.home.door", c.Hears("event"), "the subscription goes on")
				c.May("publish", "com.home.door", "")

				_, refused := w.do(sqlstore.LoginSys, "session.kill", map[string]any{"login": kind, "reason": "enough"})
				require.Empty(t, refused)
				c.Hears("closed")
				adm("user.delete", map[string]any{"login": kind})
				require.Equal(t, "wamp.error.authentication_failed", start(secretOf(kind)).Hears("closed"))
			})
		}
	})
}
