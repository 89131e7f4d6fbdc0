package chansec

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sessionCaller is a caller that can be changed, such as a session.
type sessionCaller struct {
	mu      sync.Mutex
	p       Principal
	err     error
	changed chan struct{}
}

func newSessionCaller(p Principal) *sessionCaller {
	return &sessionCaller{p: p, changed: make(chan struct{})}
}

func (c *sessionCaller) Principal() (Principal, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.p, c.err
}

func (c *sessionCaller) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *sessionCaller) set(p Principal, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.p, c.err = p, err
	close(c.changed)
	c.changed = make(chan struct{})
}

func TestStaticCallerIsAlwaysTheSame(t *testing.T) {
	p := Principal{SystemID: "x", Proof: ProofToken}
	c := StaticCaller(p)
	got, err := c.Principal()
	require.NoError(t, err)
	require.Equal(t, p, got)
	require.Nil(t, c.Changed())
}

func TestPortOfNoCallerIsDeniedEverything(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	for _, op := range operationsOf(ch.of(nil)) {
		err := op.do(t.Context())
		requireDenied(t, err, op, "")
		require.ErrorIs(t, err, ErrInvalid)
	}
}

func TestCallerIsAskedAtEveryOperation(t *testing.T) {
	ctx := t.Context()
	caller := newSessionCaller(Principal{SystemID: "a"})
	ch := aBroadcast.started(t, WithSecurity(aclOf(t, ACLWrite("a", "b"))))
	port := ch.of(caller)

	for _, row := range []struct {
		name      string
		p         Principal
		err       error
		want, not error
	}{
		{"who they are at first", Principal{SystemID: "a"}, nil, nil, nil},
		{"another, who may as well", Principal{SystemID: "b"}, nil, nil, nil},
		{"another, who may not", Principal{SystemID: "c"}, nil, ErrPermission, ErrUndecided},
		{"nobody any more", Principal{SystemID: "a"}, ErrUnauthenticated, ErrPermission, ErrUndecided},
		{"nobody any more, with a reason", Principal{}, fmt.Errorf("%w: kicked", ErrRevoked), ErrRevoked, ErrUndecided},
		{"somebody whom nobody could look up", Principal{SystemID: "a"}, fmt.Errorf("%w: session store", ErrUndecided), ErrUndecided, ErrPermission},
		{"both denied and not to be looked up", Principal{SystemID: "a"}, errors.Join(ErrUndecided, ErrPermission), ErrUndecided, ErrPermission},
		{"an impossible name", Principal{SystemID: "a\x00"}, nil, ErrPermission, ErrUndecided},
		{"back again", Principal{SystemID: "a"}, nil, nil, nil},
	} {
		caller.set(row.p, row.err)
		_, err := port.Write(ctx, row.name)
		if row.want == nil {
			require.NoError(t, err, row.name)
			continue
		}
		require.ErrorIs(t, err, row.want, row.name)
		require.NotErrorIs(t, err, row.not, row.name)
	}
	m, err := ch.as("a").(Reader[string]).Read(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"who they are at first", "another, who may as well", "back again"}, contents(m))
	require.Equal(t, "b", m[1].SenderID)
}

// Each caller has the place of the system that it is.
func TestReadIsFromThePlaceOfWhoeverTheCallerIs(t *testing.T) {
	ctx := t.Context()
	caller := newSessionCaller(Principal{SystemID: "a"})
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	for _, m := range []string{"1", "2"} {
		_, err := ch.as("w").Write(ctx, m)
		require.NoError(t, err)
	}
	port := ch.of(caller).(Reader[string])
	m, err := port.Read(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, contents(m))
	caller.set(Principal{SystemID: "b"}, nil)
	m, err = port.Read(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2"}, contents(m))
	caller.set(Principal{SystemID: "a"}, nil)
	m, err = port.Read(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"2"}, contents(m))
}

// A security with five methods only is told by the context whether a port was wired, which JWTSecurity needs to know.
func TestWiredAndVerifiedPortsOfTheSameNameAreToldApart(t *testing.T) {
	ctx := t.Context()
	for name, z := range map[string]ChannelSecurity{"JWT": jwtOf(t), "JWT behind a decorator": onlyFive{jwtOf(t)}} {
		ch := aBroadcast.started(t, WithSecurity(z))
		_, err := ch.as("x").Info(ctx)
		require.NoError(t, err, "%s: wired", name)
		_, err = ch.of(StaticCaller(Principal{SystemID: "x"})).Info(ctx)
		require.ErrorIs(t, err, ErrPermission, "%s: a caller whom something else authenticated", name)
		g := &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: time.Now().Add(time.Hour)}
		_, err = ch.of(StaticCaller(Principal{SystemID: "x", Grant: g})).Info(ctx)
		require.ErrorIs(t, err, ErrPermission, "%s: a grant is a bound, not a right", name)
	}
}

func TestPanicOfACallerIsAFailureToDecide(t *testing.T) {
	log, logged := logTo()
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), log)
	_, err := ch.of((*sessionCaller)(nil)).Write(t.Context(), "m")
	require.ErrorIs(t, err, ErrUndecided)
	require.Contains(t, logged(), "panicked")
}
