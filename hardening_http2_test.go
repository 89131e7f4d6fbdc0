package chansec_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// secondSite is a site behind HTTP/2 with a channel "c", and how many goroutines there are while nobody is connected.
func secondSite(t *testing.T, opts ...chansec.HTTPOption) (s *site, client *http.Client, before int) {
	t.Helper()
	s = newSite(t, opts...)
	server := httptest.NewUnstartedServer(s.transport)
	server.EnableHTTP2 = true
	own := s.transport.Server("")
	server.Config.HTTP2, server.Config.ErrorLog = own.HTTP2, own.ErrorLog
	server.StartTLS()
	t.Cleanup(server.Close)
	s.Server.Close()
	s.Server = server
	s.mount(chansec.NewPassthrough[any]("c", chansec.WithSecurity(s.jwt)))
	ctx, cancel := context.WithCancel(t.Context())
	r := s.request(ctx, "GET /channels/c/events", s.token("ann", chansec.RoleRead), "")
	serveUntilFlushed(s.transport, httptest.NewRecorder(), r, cancel) // the first subscription starts what watches them all
	return s, server.Client(), runtime.NumGoroutine()
}

func (s *site) request(ctx context.Context, line, token, body string) *http.Request {
	s.t.Helper()
	method, path, _ := strings.Cut(line, " ")
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// Streams that are opened and given up at once, again and again (CVE-2023-44487; CWE-400). The requests are those that last:
// subscriptions, claims that wait, and bodies that do not end. Not in parallel: it counts goroutines.
func TestHTTPAttackRapidReset(t *testing.T) {
	s, client, before := secondSite(t, chansec.HTTPMaxRequests(500), chansec.HTTPMaxStreams(200))
	token := s.token("ann", chansec.RoleAdmin)
	usable := func() {
		resp, err := client.Do(s.request(t.Context(), "PUT /channels/c", token, `1`))
		require.NoError(t, err)
		require.Equal(t, 2, resp.ProtoMajor)
		_, _ = io.Copy(io.Discard, resp.Body)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
	}
	usable()
	lines := []string{"GET /channels/c/events", "GET /channels/c?exclusive=true&wait=30", "PUT /channels/c", "GET /channels/unknown"}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 250 {
				ctx, cancel := context.WithCancel(t.Context())
				who := token
				if i%5 == 0 {
					who = "x.y.z"
				}
				sent := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: cancel})
				r := s.request(sent, lines[(worker+i)%len(lines)], who, "")
				if r.Method == http.MethodPut {
					endless, _ := io.Pipe()
					r.Body, r.ContentLength = endless, -1
				}
				if resp, err := client.Do(r); err == nil {
					_ = resp.Body.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	usable()
	requireAlone(t, client, before)
}

// As many streams on a connection as it may have, all of which live. Not in parallel: it counts goroutines.
func TestHTTPAttackManyStreams(t *testing.T) {
	s, client, before := secondSite(t, chansec.HTTPMaxStreams(60))
	token := s.token("ann", chansec.RoleAdmin)
	ctx, cancel := context.WithCancel(t.Context())
	statuses := map[int]int{}
	var open []*http.Response
	for range 100 {
		resp, err := client.Do(s.request(ctx, "GET /channels/c/events", token, ""))
		require.NoError(t, err)
		open = append(open, resp)
		statuses[resp.StatusCode]++
	}
	require.Equal(t, map[int]int{200: 60, 503: 40}, statuses)
	first := make([]byte, len("id: "))
	for _, resp := range open {
		if resp.StatusCode == 200 {
			_, err := io.ReadFull(resp.Body, first)
			require.NoError(t, err)
			require.Equal(t, "id: ", string(first))
		}
	}
	cancel()
	for _, resp := range open {
		_ = resp.Body.Close()
	}
	requireAlone(t, client, before)
}

// requireAlone closes the client's connections, once they are idle, and requires that nothing else is left of them.
func requireAlone(t *testing.T, client *http.Client, before int) {
	t.Helper()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before && time.Now().Before(deadline); runtime.Gosched() {
		client.CloseIdleConnections()
	}
	requireGoroutines(t, before)
}
