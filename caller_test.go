package chansec

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
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

// expiringCaller is a sessionCaller that is nobody from a time on, and does not notice by itself.
type expiringCaller struct {
	*sessionCaller
	at time.Time
}

func (c *expiringCaller) ExpiresAt() time.Time { return c.at }

func TestCallerThatExpiresIsHeldToItsTime(t *testing.T) {
	for _, follow := range []struct {
		name string
		by   func(t *testing.T, c Caller) Caller
	}{
		{"the caller", func(_ *testing.T, c Caller) Caller { return c }},
		{"a principal of it", func(t *testing.T, c Caller) Caller {
			p, err := Live(c)
			require.NoError(t, err)
			return StaticCaller(p)
		}},
	} {
		t.Run(follow.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				caller := &expiringCaller{newSessionCaller(Principal{SystemID: "a"}), time.Now().Add(time.Minute)}
				ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
				port := ch.of(follow.by(t, caller))
				lease, err := port.(Subscriber[string]).Subscribe(ctx)
				require.NoError(t, err)
				w := ch.as("w")
				time.Sleep(time.Minute - 1)
				_, err = w.Write(ctx, "in time")
				require.NoError(t, err)
				time.Sleep(time.Nanosecond)
				_, err = w.Write(ctx, "too late")
				require.NoError(t, err)
				for m, err := range lease.Messages(ctx) {
					if err != nil {
						require.ErrorIs(t, err, ErrExpired)
						continue
					}
					require.Equal(t, "in time", m.Content)
				}
				_, err = port.Write(ctx, "m")
				require.ErrorIs(t, err, ErrExpired)
				require.ErrorIs(t, err, ErrPermission)

				caller.at = time.Time{} // never
				caller.set(Principal{SystemID: "a"}, nil)
				_, err = port.Write(ctx, "m")
				require.NoError(t, err)
				<-lease.Done()
				require.ErrorIs(t, lease.Err(), ErrRevoked, "a cut is final")
			})
		})
	}
}

// A principal of Live leads to its caller, whatever it went through: a Join, a decorator, a channel.
func TestPrincipalOfLiveFollowsItsCaller(t *testing.T) {
	ctx := t.Context()
	caller := newSessionCaller(Principal{SystemID: "a", Roles: []string{"x"}, Attributes: map[string]any{"k": 1}})
	authenticate := func() Principal {
		p, err := Live(caller)
		require.NoError(t, err)
		return p
	}
	for _, row := range []struct {
		name   string
		alter  func(p *Principal)
		stays  bool // after the caller has become another
		denied bool // from the start
	}{
		{"as it was", func(*Principal) {}, true, false},
		{"with other copies of the same roles", func(p *Principal) { p.Roles = []string{"x"} }, true, false},
		{"with a grant that reaches so far", func(p *Principal) {
			p.Grant = &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: time.Now().Add(time.Hour)}
		}, false, false},
		{"with a grant that does not", func(p *Principal) { p.Grant = &Grant{} }, false, true},
		{"with another name", func(p *Principal) { p.SystemID = "b" }, false, false},
		{"with another proof", func(p *Principal) { p.Proof = "x" }, false, false},
		{"with other roles", func(p *Principal) { p.Roles = nil }, false, false},
		{"with other attributes", func(p *Principal) { p.Attributes = map[string]any{"k": 1} }, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			caller.set(caller.p, nil)
			ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
			p := authenticate()
			row.alter(&p)
			port := ch.of(StaticCaller(p))
			_, err := port.Write(ctx, "m")
			if row.denied {
				require.ErrorIs(t, err, ErrPermission)
				return
			}
			require.NoError(t, err)
			lease, err := port.(Subscriber[string]).Subscribe(ctx)
			require.NoError(t, err)

			was := caller.p
			caller.set(Principal{SystemID: "c"}, nil)
			_, err = port.Write(ctx, "m")
			if row.stays {
				require.NoError(t, err)
				require.NoError(t, lease.Err())
			} else {
				require.ErrorIs(t, err, ErrRevoked)
				<-lease.Done()
			}
			caller.set(Principal{}, fmt.Errorf("%w: kicked", ErrRevoked))
			_, err = port.Write(ctx, "m")
			require.ErrorIs(t, err, ErrRevoked)
			<-lease.Done()
			require.ErrorIs(t, lease.Err(), ErrRevoked)
			caller.set(was, nil)
		})
	}
	_, err := Live(nil)
	require.ErrorIs(t, err, ErrInvalid)
	caller.set(Principal{}, ErrExpired)
	_, err = Live(caller)
	require.Equal(t, ErrExpired, err)
}

func TestUnboundedIsWhomNothingBinds(t *testing.T) {
	key := hmacOf(t, "k1")
	j, err := NewJWTSecurity(key)
	require.NoError(t, err)
	holder := func(r TokenRequest) Principal {
		r.SystemID = "a"
		text, err := j.GenerateToken(t.Context(), r)
		require.NoError(t, err)
		p, err := j.Authenticate(t.Context(), text)
		require.NoError(t, err)
		return p
	}
	hour := time.Now().Add(time.Hour)
	widened := holder(TokenRequest{Role: RoleRead, AllChannels: true})
	widened.Grant = &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: hour}
	over := newSessionCaller(Principal{SystemID: "a"})
	followed, err := Live(over)
	require.NoError(t, err)
	over.set(Principal{}, ErrRevoked)
	for _, row := range []struct {
		name  string
		c     Caller
		is    error // nil: they are unbounded
		named bool
	}{
		{"a principal without a bound", StaticCaller(Principal{SystemID: "a"}), nil, true},
		{"a grant of everything", StaticCaller(Principal{SystemID: "a", Grant: &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: hour}}), nil, true},
		{"a token of everything", StaticCaller(holder(TokenRequest{Role: RoleAdmin, AllChannels: true})), nil, true},
		{"a session", newSessionCaller(Principal{SystemID: "a"}), nil, true},
		{"nobody", nil, ErrInvalid, false},
		{"the zero principal", StaticCaller(Principal{}), ErrInvalid, false},
		{"a zero grant", StaticCaller(Principal{SystemID: "a", Grant: &Grant{}}), ErrExpired, true},
		{"a grant that only writes", StaticCaller(Principal{SystemID: "a", Grant: &Grant{Role: RoleWrite, AllChannels: true, ExpiresAt: hour}}), ErrGrant, true},
		{"a grant of some channels", StaticCaller(Principal{SystemID: "a", Grant: &Grant{Role: RoleAdmin, Channels: []string{""}, ExpiresAt: hour}}), ErrGrant, true},
		{"a token that only reads", StaticCaller(holder(TokenRequest{Role: RoleRead, AllChannels: true})), ErrGrant, true},
		{"a token that only reads with a wider grant", StaticCaller(widened), ErrGrant, true},
		{"a session that is over", over, ErrRevoked, false},
		{"a principal whose session is over", StaticCaller(followed), ErrRevoked, false},
		{"a caller whose time is over", &expiringCaller{sessionCaller: newSessionCaller(Principal{SystemID: "a"}), at: time.Now()}, ErrExpired, false},
		{"a caller that panics", (*sessionCaller)(nil), ErrUndecided, false},
	} {
		p, err := Unbounded(row.c)
		require.Equal(t, row.named, p.SystemID == "a", row.name)
		if row.is == nil {
			require.NoError(t, err, row.name)
			continue
		}
		require.ErrorIs(t, err, row.is, row.name)
	}

	p := holder(TokenRequest{Role: RoleAdmin, AllChannels: true})
	require.NoError(t, j.RevokeToken(p.Grant.TokenID, time.Time{}))
	p, err = Unbounded(StaticCaller(p))
	require.Equal(t, ErrRevoked, err)
	require.Equal(t, "a", p.SystemID)
}
