package chansec

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A client is told to try again, and nothing of the backend or of the token; what it had opened ends.
func TestHTTPAnswersThatAreUndecidedWhenTheyAreStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStaleWorld(t)
		transport, err := NewHTTPTransport(HTTPLogger(slog.New(slog.DiscardHandler)), HTTPTokens(w.jwt, nil))
		require.NoError(t, err)
		defer transport.Close()
		ch, err := NewBroadcast[any]("c", WithSecurity(w.jwt))
		require.NoError(t, err)
		defer ch.Close()
		require.NoError(t, ch.Start(t.Context()))
		require.NoError(t, transport.Mount(ch))
		send := func(line, token, body string) *httptest.ResponseRecorder {
			method, path, _ := strings.Cut(line, " ")
			r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			a := httptest.NewRecorder()
			transport.ServeHTTP(a, r)
			return a
		}
		all := map[string]string{"GET /channels/c": "", "PUT /channels/c": `{"content":1}`, "POST /tokens": `{"role":"read","channels":["c"]}`}
		ask := func(status int) {
			for line, body := range all {
				a := send(line, w.text, body)
				require.Equal(t, status, a.Code, "%s: %s", line, a.Body)
				if status != http.StatusServiceUnavailable {
					continue
				}
				require.Equal(t, "1", a.Header().Get("Retry-After"), line)
				require.Empty(t, a.Header().Get("WWW-Authenticate"), line)
				require.Contains(t, a.Body.String(), problemPrefix+problemUndecided)
				for _, secret := range []string{errStorage.Error(), "revocation", "1m0s", w.text, "ann"} {
					require.NotContains(t, a.Body.String(), secret, line)
				}
			}
		}
		ask(http.StatusOK)
		stream := make(chan *httptest.ResponseRecorder, 1)
		go func() { stream <- send("GET /channels/c/events", w.text, "") }()
		synctest.Wait()
		w.backend.away.Store(true)
		require.ErrorIs(t, w.jwt.Refresh(t.Context()), errStorage)
		sleep(time.Minute)
		a := <-stream
		require.Equal(t, http.StatusOK, a.Code)
		require.Contains(t, a.Body.String(), "event: revoked\ndata: {\"reason\":\"revoked\"}")
		require.NotContains(t, a.Body.String(), errStorage.Error())
		ask(http.StatusServiceUnavailable)
		require.Equal(t, http.StatusUnauthorized, send("GET /channels/c", "nonsense", "").Code)
		w.backend.away.Store(false)
		require.NoError(t, w.jwt.Refresh(t.Context()))
		ask(http.StatusOK)
	})
}
