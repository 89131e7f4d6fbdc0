package session_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/session"
)

// chain lets in whoever names themselves, unless login says otherwise.
type chain struct {
	mu    sync.Mutex
	asked []authn.Request
	login func(r *authn.Request) (*authn.Login, error)
}

func (c *chain) Login(ctx context.Context, r *authn.Request) (*authn.Login, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	asked := *r
	asked.Properties = maps.Clone(r.Properties)
	c.asked = append(c.asked[max(0, len(c.asked)-8):], asked)
	login := c.login
	c.mu.Unlock()
	if login != nil {
		return login(r)
	}
	return in(r), nil
}

func (c *chain) answer(login func(r *authn.Request) (*authn.Login, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.login = login
}

func (c *chain) last() authn.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[len(c.asked)-1]
}

// in is a plain yes.
func in(r *authn.Request) *authn.Login {
	return &authn.Login{Principal: chansec.Principal{SystemID: r.Principal, Proof: "test", Roles: r.Roles}}
}

func refused(*authn.Request) (*authn.Login, error) { return nil, &authn.RefusedError{By: "test"} }

// sessionsOf returns sessions that end with the test.
func sessionsOf(t testing.TB, c session.Config) *session.Sessions {
	if c.Chain == nil {
		c.Chain = &chain{}
	}
	s, err := session.New(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func as(principal string, roles ...string) *authn.Request {
	return &authn.Request{Principal: principal, Roles: roles, Connection: authn.Connection{Transport: "test", RemoteAddr: "192.0.2.1:77"}}
}

func open(t testing.TB, s *session.Sessions, principal string, roles ...string) *session.Session {
	n, err := s.Open(t.Context(), as(principal, roles...))
	require.NoError(t, err)
	return n
}

func broadcast(t testing.TB, z chansec.ChannelSecurity, opts ...chansec.Option) *chansec.BroadcastChannel[int] {
	c, err := chansec.NewBroadcast[int]("c", append(opts, chansec.WithSecurity(z))...)
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// roleReads lets those in who have the role "reader", and systems that the program wires.
type roleReads struct{ chansec.OpenSecurity }

func (roleReads) Decide(_ context.Context, r chansec.Request) (chansec.Decision, error) {
	allowed := r.Principal.Proof == "" // wired by the program
	for _, role := range r.Principal.Roles {
		allowed = allowed || role == "reader"
	}
	return chansec.Decision{Allowed: allowed}, nil
}

// Version never changes.
func (roleReads) Version() uint64 { return 1 }

func (roleReads) Changed() <-chan struct{} { return nil }

// trail is an observer that remembers.
type trail struct {
	mu     sync.Mutex
	events []session.Event
}

func (l *trail) observe(e session.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *trail) all() []session.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]session.Event(nil), l.events...)
}

func (l *trail) kinds() (kinds []session.Kind) {
	for _, e := range l.all() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// over requires that a lease ends, and returns why.
func over[T any](t testing.TB, l chansec.Lease[T]) error {
	t.Helper()
	select {
	case <-l.Done():
		return l.Err()
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the lease did not end")
		return nil
	}
}

func requireEnded(t testing.TB, err error, cause session.Cause) *session.EndedError {
	t.Helper()
	e, ok := errors.AsType[*session.EndedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, cause, e.Cause)
	return e
}

// logTo returns a logger, and what it has written.
func logTo() (*slog.Logger, func() string) {
	var b lockedBuilder
	return slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})), b.String
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
