package session_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/session"
)

// site is a channel over HTTP, whose tokens are those of sessions.
type site struct {
	*httptest.Server
	channel *chansec.BroadcastChannel[int]
}

func newSite(t *testing.T, a chansec.Authenticator) *site {
	z, err := chansec.Join(a, roleReads{}, chansec.OpenSecurity{})
	require.NoError(t, err)
	log, logged := logTo()
	transport, err := chansec.NewHTTPTransport(chansec.HTTPLogger(log))
	require.NoError(t, err)
	w := &site{httptest.NewServer(transport), broadcast(t, z)}
	require.NoError(t, transport.Mount(w.channel))
	t.Cleanup(func() {
		_ = transport.Close()
		w.Close()
		require.NotContains(t, logged(), "chss_")
	})
	return w
}

func (w *site) get(t *testing.T, path, token string) *http.Response {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+path, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	a, err := w.Client().Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Body.Close() })
	return a
}

// stream is the events of a subscription: what each carries, or its name if it has one.
func (w *site) stream(t *testing.T, token string) <-chan string {
	a := w.get(t, "/channels/c/events", token)
	require.Equal(t, http.StatusOK, a.StatusCode)
	events := make(chan string, 100)
	started := make(chan struct{})
	go func() {
		defer close(events)
		lines := bufio.NewScanner(a.Body)
		for first := true; lines.Scan(); {
			line := lines.Text()
			if first {
				close(started)
				first = false
			}
			if name, ok := strings.CutPrefix(line, "event: "); ok {
				events <- name
			} else if data, ok := strings.CutPrefix(line, "data: "); ok {
				events <- data
			}
		}
	}()
	<-started
	return events
}

func next(t *testing.T, events <-chan string) string {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(10 * time.Second):
		require.FailNow(t, "no event")
		return ""
	}
}

func (w *site) write(t *testing.T, n int) {
	_, err := w.channel.As("w").Write(t.Context(), n)
	require.NoError(t, err)
}

func tokenOf(t *testing.T, n *session.Session) string {
	token, err := n.NewToken()
	require.NoError(t, err)
	return token
}

// narrow is an authenticator that lets nobody do more than read one channel: it stands for all that alter a principal.
type narrow struct{ chansec.Authenticator }

func (z narrow) Authenticate(ctx context.Context, token string) (chansec.Principal, error) {
	p, err := z.Authenticator.Authenticate(ctx, token)
	p.Grant = &chansec.Grant{Role: chansec.RoleRead, Channels: []string{"c"}, ExpiresAt: time.Now().Add(time.Hour)}
	return p, err
}

// plain hides whatever its authenticator can do beside the interface.
type plain struct{ chansec.Authenticator }

func TestStreamsFollowTheirSession(t *testing.T) {
	for _, row := range []struct {
		name   string
		do     func(t *testing.T, s *session.Sessions, n *session.Session) error
		event  string // with which the stream ends; empty if it goes on
		status int    // of the next request with the token
	}{
		{"a kick", func(t *testing.T, s *session.Sessions, n *session.Session) error {
			_, err := s.Root().Kick(t.Context(), session.OfPrincipal("alice"), "")
			return err
		}, "revoked", http.StatusUnauthorized},
		{"a logout", func(t *testing.T, _ *session.Sessions, n *session.Session) error { return n.Close() }, "revoked", http.StatusUnauthorized},
		{"a principal who may not read", func(t *testing.T, _ *session.Sessions, n *session.Session) error {
			return n.ChangePrincipal(t.Context(), as("bob"))
		}, "revoked", http.StatusForbidden},
		{"a role is taken", func(t *testing.T, s *session.Sessions, n *session.Session) error {
			_, err := s.Root().ChangeRoles(t.Context(), session.All, []string{"reader"}, nil)
			return err
		}, "revoked", http.StatusForbidden},
		{"a principal who may read", func(t *testing.T, _ *session.Sessions, n *session.Session) error {
			return n.ChangePrincipal(t.Context(), as("bob", "reader"))
		}, "", http.StatusOK},
		{"a refresh", func(t *testing.T, _ *session.Sessions, n *session.Session) error {
			return n.Refresh(t.Context(), as("alice", "reader"))
		}, "", http.StatusOK},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := sessionsOf(t, session.Config{})
			w := newSite(t, plain{s})
			n := open(t, s, "alice", "reader")
			token := tokenOf(t, n)
			events := w.stream(t, token)
			w.write(t, 1)
			require.Contains(t, next(t, events), `"data":1`)
			require.NoError(t, row.do(t, s, n))
			w.write(t, 2)
			if row.event == "" {
				require.Contains(t, next(t, events), `"data":2`)
			} else {
				require.Equal(t, row.event, next(t, events))
				require.Contains(t, next(t, events), row.event)
				_, more := <-events
				require.False(t, more, "the stream has ended")
			}
			a := w.get(t, "/channels/c?limit=10", token)
			body, err := io.ReadAll(a.Body)
			require.NoError(t, err)
			require.Equal(t, row.status, a.StatusCode, "%s", body)
		})
	}
}

func TestStreamEndsWhenTheTimeOfItsSessionIsOver(t *testing.T) {
	s := sessionsOf(t, session.Config{MaxAge: 300 * time.Millisecond})
	w := newSite(t, s)
	events := w.stream(t, tokenOf(t, open(t, s, "alice", "reader")))
	require.Equal(t, "expired", next(t, events))
}

// What alters the principal on its way is not undone by following the session.
func TestStreamOfAnAlteredPrincipal(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	w := newSite(t, narrow{s})
	n := open(t, s, "alice", "reader")
	token := tokenOf(t, n)
	events := w.stream(t, token)
	w.write(t, 1)
	require.Contains(t, next(t, events), `"data":1`)
	require.Equal(t, http.StatusForbidden, w.get(t, "/channels/c/messages", token).StatusCode, "the grant is for reading")
	require.NoError(t, n.Refresh(t.Context(), as("alice", "reader", "more")))
	require.Equal(t, "revoked", next(t, events), "nobody could say what the grant of the new principal would be")
	events = w.stream(t, token)
	require.NoError(t, n.Close())
	require.Equal(t, "revoked", next(t, events))
}

// A claim that was made in a request that is long over belongs to the session all the same.
func TestClaimOverHTTPEndsWithItsSession(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	z, err := chansec.Join(s, roleReads{}, s)
	require.NoError(t, err)
	q, err := chansec.NewWorkQueue[int]("q", chansec.WithSecurity(z), chansec.WithClaimTimeout(time.Hour))
	require.NoError(t, err)
	require.NoError(t, q.Start(t.Context()))
	defer q.Close()
	transport, err := chansec.NewHTTPTransport()
	require.NoError(t, err)
	defer transport.Close()
	require.NoError(t, transport.Mount(q))
	w := &site{Server: httptest.NewServer(transport)}
	defer w.Close()
	_, err = q.As("w").Write(t.Context(), 7)
	require.NoError(t, err)
	claim := func(token string) string {
		body, err := io.ReadAll(w.get(t, "/channels/q?exclusive=true&wait=5", token).Body)
		require.NoError(t, err)
		return string(body)
	}
	alice, bob := open(t, s, "alice", "reader"), open(t, s, "bob", "reader")
	require.Contains(t, claim(tokenOf(t, alice)), `"data":7`)
	_, err = s.Root().Kick(t.Context(), session.OfPrincipal("alice"), "")
	require.NoError(t, err)
	require.Contains(t, claim(tokenOf(t, bob)), `"data":7`)
}
