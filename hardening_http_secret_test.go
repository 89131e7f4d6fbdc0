package chansec_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/driver"
)

// logBuffer keeps what is logged, at all levels.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// What is secret goes in by every way there is, and comes out nowhere: not in an answer, and not in a log (CWE-209, CWE-532).
// What failed within the server, and why, is for the log alone.
func TestHTTPAttackSecrets(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	t.Parallel()
	log := &logBuffer{}
	s := newSite(t, chansec.HTTPLogger(log.logger()), chansec.HTTPMaxBody(2000))
	with := []chansec.Option{chansec.WithSecurity(s.jwt), chansec.WithLogger(log.logger())}
	s.mount(chansec.NewPassthrough[any]("c", with...))
	s.mount(chansec.NewWorkQueue[string]("q", with...))
	s.mount(chansec.NewPassthrough[any]("failing", chansec.WithSecurity(failing{}), with[1]))
	s.mount(chansec.NewPassthrough[any]("panicking", chansec.WithSecurity(panicking{s.jwt}), with[1]))
	s.mount(chansec.NewPassthrough[any]("broken", append(with, chansec.WithBackend(openBroken))...))
	s.mount(chansec.NewPassthrough[any]("open", chansec.WithSecurity(chansec.OpenSecurity{}), with[1]))

	tokens := []string{
		s.token("ann", chansec.RoleAdmin), s.token("bob", chansec.RoleRead, "x"),
		forged(plainHeader, `{"sub":"ann","role":"admin","exp":1}`), forged(`{"alg":"none"}`, claiming("")), "opaque-token-canary", "\x7ftoken-canary",
	}
	secrets := []string{string(siteSecret)}
	for _, token := range tokens {
		secrets = append(secrets, token, token[strings.LastIndexByte(token, '.')+1:])
	}
	inside := []string{"canary", "hunter2", "10.0.0.7", "goroutine", ".go:", "runtime error"}
	check := func(name string, w *httptest.ResponseRecorder) {
		var header bytes.Buffer
		require.NoError(t, w.Header().Write(&header))
		for _, secret := range append(secrets, inside...) {
			require.NotContains(t, header.String(), secret, name)
			require.NotContains(t, w.Body.String(), secret, name)
		}
	}
	for _, token := range tokens {
		for _, q := range everyRequest() {
			for _, id := range []string{"c", "q", "failing", "panicking", "broken", "open", "unknown"} {
				ctx, cancel := context.WithCancel(t.Context())
				r := httptest.NewRequest(q.method, "http://x/channels/"+id, strings.NewReader(q.body)).WithContext(ctx)
				r.URL.Path, r.URL.RawQuery, _ = strings.Cut(r.URL.Path+q.rest, "?")
				r.Header = q.header.Clone()
				r.Header.Set("Authorization", "Bearer "+token)
				r.Header.Set("Cookie", "token="+token)
				r.Header.Set("Referer", "http://x/?access_token="+token)
				w := httptest.NewRecorder()
				serveUntilFlushed(s.transport, w, r, cancel)
				cancel()
				check(q.String(), w)
				if (id == "c" || id == "q") && (token == tokens[0] || token == tokens[1]) {
					require.NotEqual(t, 500, w.Code, "%s: what a client sends is not the server's fault", q)
				}
			}
		}
		for _, line := range []string{"GET /channels/c?access_token=", "GET /channels/c?after=", "GET /channels/c?limit=", "GET /channels/c?exclusive=", "DELETE /channels/c/messages?id=", "GET /nothing?"} {
			if strings.ContainsRune(token, 0x7f) {
				continue
			}
			for _, credential := range []string{"Bearer " + tokens[0], "Bearer " + tokens[1], "Basic " + token, token, "bearer  " + token + " x", ""} {
				method, target, _ := strings.Cut(line, " ")
				r := httptest.NewRequest(method, target+token, nil)
				r.Header["Authorization"] = []string{credential}
				w := httptest.NewRecorder()
				s.transport.ServeHTTP(w, r)
				check(line, w)
			}
		}
	}
	text := log.String()
	require.Contains(t, text, `"route":"read"`)
	require.Contains(t, text, "hunter2-canary", "what failed is in the log")
	for _, secret := range secrets {
		require.NotContains(t, text, secret)
	}
	require.NotContains(t, text, "panic-canary", "what a panic says may be anything")
}

// serveUntilFlushed serves a request, and ends it when the first part of a stream has come.
func serveUntilFlushed(h http.Handler, w *httptest.ResponseRecorder, r *http.Request, cancel func()) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	h.ServeHTTP(&flushed{w, cancel}, r)
}

type flushed struct {
	*httptest.ResponseRecorder
	cancel func()
}

func (f *flushed) Flush() { f.cancel() }

// panicking is a security with a defect that shows a secret.
type panicking struct{ chansec.ChannelSecurity }

func (panicking) AuthorizeRead(context.Context, string, string) (bool, error) { panic("panic-canary") }

func (panicking) AuthorizeWrite(context.Context, string, string) (bool, error) {
	panic(errors.New("panic-canary"))
}

// openBroken opens a backend whose database answers with what it should keep to itself.
func openBroken(context.Context, string, driver.Config) (driver.Backend[[]byte], error) {
	return broken{}, nil
}

type broken struct{}

func (broken) Append(context.Context, driver.Head, []byte) (driver.Stamp, error) {
	return driver.Stamp{}, errDatabase
}

func (broken) AppendIf(context.Context, driver.Head, []byte, uint64) (driver.Stamp, error) {
	return driver.Stamp{}, errDatabase
}

func (broken) Last(context.Context, string) (driver.Entry[[]byte], error) {
	return driver.Entry[[]byte]{}, errDatabase
}

func (broken) Newest(context.Context) (uuid.UUID, error) { return uuid.Nil, errDatabase }

func (broken) Open(context.Context, driver.View, driver.From) (driver.Reader[[]byte], error) {
	return nil, errDatabase
}

func (broken) Claim(context.Context, driver.Consumer, string, int, time.Duration, []driver.Claimed[[]byte]) ([]driver.Claimed[[]byte], error) {
	return nil, errDatabase
}

func (broken) WakeClaim(string, chan<- struct{}) (cancel func(), ready bool) { return func() {}, true }

func (broken) Ack(context.Context, string, driver.Receipt) (bool, error) { return false, errDatabase }

func (broken) Nack(context.Context, string, driver.Receipt) (bool, error) { return false, errDatabase }

func (broken) Extend(context.Context, string, driver.Receipt, time.Duration) (time.Time, bool, error) {
	return time.Time{}, false, errDatabase
}

func (broken) Release(context.Context, driver.Consumer) (int, error) { return 0, errDatabase }

func (broken) Remove(context.Context, []uuid.UUID) (int, error) { return 0, errDatabase }

func (broken) Evict(context.Context, time.Time, int) (int, error) { return 0, errDatabase }

func (broken) Clear(context.Context) (int, error) { return 0, errDatabase }

func (broken) Len(context.Context) (int, error) { return 0, errDatabase }

func (broken) Close() error { return nil }
