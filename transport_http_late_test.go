package chansec_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// A body arrives at its sender's pace. Whoever lost the right meanwhile does nothing with the rest of it.
func TestHTTPRightThatEndsBeforeTheBodyDoes(t *testing.T) {
	for _, route := range []string{"PUT /channels/q", "POST /channels/q/batch", "POST /channels/q/acknowledge"} {
		t.Run(route, func(t *testing.T) {
			s := newSite(t)
			decided := make(chan chansec.Operation, 10)
			s.mount(chansec.NewWorkQueue[any]("q", chansec.WithSecurity(s.jwt), chansec.WithAudit(chansec.AuditFunc(func(_ context.Context, e chansec.Event) error {
				if e.Operation == chansec.OpWrite || e.Operation == chansec.OpAcknowledge {
					decided <- e.Operation
				}
				return nil
			}))))
			token := s.token("ann", chansec.RoleWrite)
			require.Equal(t, 200, s.send("PUT /channels/q", token, "1").Status)
			<-decided
			claimed := s.send("GET /channels/q?exclusive=true", token, "").json(t)["claims"].([]any)[0].(map[string]any)["receipt"]
			body := `[7]`
			if strings.HasSuffix(route, "acknowledge") {
				body = fmt.Sprintf(`{"message_ids":[%q]}`, claimed)
			}
			method, path, _ := strings.Cut(route, " ")
			r, w := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, r)
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+token)
			status := make(chan int)
			go func() {
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					status <- 0
					return
				}
				_ = resp.Body.Close()
				status <- resp.StatusCode
			}()
			_, err = io.WriteString(w, body[:1])
			require.NoError(t, err)
			<-decided
			require.NoError(t, s.jwt.RevokeSubject("ann", time.Now()))
			_, err = io.WriteString(w, body[1:])
			require.NoError(t, err)
			require.NoError(t, w.Close())
			require.Equal(t, 401, <-status)
			length := s.send("GET /channels/q/length", s.token("root", chansec.RoleAdmin), "")
			require.EqualValues(t, 1, length.json(t)["length"])
		})
	}
}

// A page ends with the message that makes it long, and the next one goes on there.
func TestHTTPPagesAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	s := newSite(t)
	c, err := chansec.NewPassthrough[string]("c", chansec.WithSecurity(s.jwt))
	s.mount(c, err)
	for range 20 {
		_, err := c.As("w").Write(t.Context(), strings.Repeat("x", 1<<20))
		require.NoError(t, err)
	}
	token := s.token("r", chansec.RoleAdmin)
	for _, path := range []string{"GET /channels/c?limit=1000", "GET /channels/c?limit=1000&exclusive=true"} {
		total := 0
		for {
			n := len(s.send(path, token, "").messages(t))
			if n == 0 {
				break
			}
			require.LessOrEqual(t, n, 10, path)
			total += n
		}
		require.Equal(t, 20, total, path)
	}
	require.LessOrEqual(t, len(s.send("GET /channels/c/messages", token, "").messages(t)), 10)
}

// Callers with roles and without a token ID are a worker each; those that are gone must not stay.
func TestHTTPWorkersWithoutClaimsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, err := chansec.NewWorkQueue[int]("q", chansec.WithSecurity(chansec.OpenSecurity{}), chansec.WithMaxReaders(1000))
		require.NoError(t, err)
		defer q.Close()
		claim := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			_, err := q.For(chansec.StaticCaller(chansec.Principal{SystemID: "w", Proof: "test", Roles: []string{"r"}})).ClaimNext(ctx)
			return err
		}
		for range 3000 {
			require.ErrorIs(t, claim(), context.DeadlineExceeded)
		}
	})
}

// Several leases of one remote channel outlive the token, each by the one new token that there is.
func TestRemoteLeasesShareARefreshedToken(t *testing.T) {
	s := newSite(t)
	c, err := chansec.NewBroadcast[int]("c", chansec.WithSecurity(s.jwt))
	s.mount(c, err)
	var (
		current string
		until   time.Time
	)
	cached := func(ctx context.Context) (string, error) { // one call at a time
		if time.Until(until) > 0 {
			return current, nil
		}
		var err error
		until = time.Now().Add(2 * time.Second).Truncate(time.Second)
		current, err = s.jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "r", Role: chansec.RoleWrite, AllChannels: true, ExpiresIn: 2 * time.Second})
		return current, err
	}
	port := dial[int](s, "c", "", chansec.DialTokenSource(cached)).Broadcast()
	var leases []chansec.Lease[int]
	for range 4 {
		l, err := port.Subscribe(t.Context())
		require.NoError(t, err)
		leases = append(leases, l)
	}
	first := current
	require.Eventually(t, func() bool {
		_, err := s.jwt.Authenticate(t.Context(), first)
		return errors.Is(err, chansec.ErrExpired)
	}, 10*time.Second, 10*time.Millisecond)
	_, err = c.As("w").Write(t.Context(), 1)
	require.NoError(t, err)
	for _, l := range leases {
		for m, err := range l.Messages(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, 1, m.Content)
			break
		}
	}
}

// A server that ends every stream at once is not asked again and again.
func TestRemoteLeaseDoesNotHammer(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewBroadcast[int]("c", chansec.WithSecurity(s.jwt)))
	url, served := brittleServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Millisecond)
		defer cancel()
		s.transport.ServeHTTP(w, r.WithContext(ctx))
	}), 0)
	remote, err := chansec.Dial[int](chansec.ChannelURL(url, "c"), chansec.DialToken(s.token("r", chansec.RoleRead)), chansec.DialPatience(500*time.Millisecond, time.Minute))
	require.NoError(t, err)
	defer remote.Close()
	lease, err := remote.Broadcast().Subscribe(t.Context())
	require.NoError(t, err)
	<-lease.Done()
	require.Error(t, lease.Err())
	require.Less(t, served.Load(), int64(20))
}

// A server that takes a connection and says nothing is given up after the time for a sign of life.
func TestRemoteLeaseGivesUpOnSilence(t *testing.T) {
	release := make(chan struct{})
	url, _ := brittleServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }), 0)
	t.Cleanup(func() { close(release) })
	remote, err := chansec.Dial[int](chansec.ChannelURL(url, "c"), chansec.DialToken("t"), chansec.DialPatience(time.Minute, 50*time.Millisecond))
	require.NoError(t, err)
	defer remote.Close()
	_, err = remote.Broadcast().Subscribe(t.Context())
	require.ErrorContains(t, err, "no sign of life")
}

// The endpoint for tokens tells nobody which channels another security has.
func TestHTTPTokensTellNothingOfOthers(t *testing.T) {
	s := newIssuingSite(t, nil)
	s.mount(chansec.NewBroadcast[any]("hidden", chansec.WithSecurity(newSite(t).jwt)))
	admin := s.token("boss", chansec.RoleAdmin)
	ask := func(id string) int {
		body, _ := json.Marshal(map[string]any{"role": "read", "channels": []string{id}})
		return s.send("POST /tokens", admin, string(body)).Status
	}
	require.Equal(t, ask("unknown"), ask("hidden"))
}
