package chansec

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// yesSecurity is a custom security with the five methods that says yes to everything. It believes names.
type yesSecurity struct{}

func (yesSecurity) Authenticate(_ context.Context, token string) (Principal, error) {
	return Principal{SystemID: token}, nil
}
func (yesSecurity) AuthorizeRead(context.Context, string, string) (bool, error)  { return true, nil }
func (yesSecurity) AuthorizeWrite(context.Context, string, string) (bool, error) { return true, nil }
func (yesSecurity) AuthorizeAdmin(context.Context, string, string) (bool, error) { return true, nil }
func (yesSecurity) GenerateToken(_ context.Context, r TokenRequest) (string, error) {
	return r.SystemID, nil
}

// onlyFive hides what a security can do beyond its interface, as a decorator does.
type onlyFive struct{ ChannelSecurity }

// asked is a custom security that answers every authorization by a function.
type asked struct {
	yesSecurity
	answer func(role Role, systemID, channelID string) (bool, error)
}

func (a asked) AuthorizeRead(_ context.Context, s, c string) (bool, error) {
	return a.answer(RoleRead, s, c)
}
func (a asked) AuthorizeWrite(_ context.Context, s, c string) (bool, error) {
	return a.answer(RoleWrite, s, c)
}
func (a asked) AuthorizeAdmin(_ context.Context, s, c string) (bool, error) {
	return a.answer(RoleAdmin, s, c)
}

// decided is a custom security with a Decide.
type decided struct {
	yesSecurity
	decide func(Request) (Decision, error)
}

func (d *decided) Decide(_ context.Context, req Request) (Decision, error) { return d.decide(req) }

// versionedDecided is decided with a version.
type versionedDecided struct {
	decided
	mu      sync.Mutex
	n       uint64
	changed chan struct{}
}

func (d *versionedDecided) Version() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

func (d *versionedDecided) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	return d.changed
}

// bump announces a change.
func (d *versionedDecided) bump() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// answering is a security that gives one answer, asked in either way.
func answering(ok bool, err error) map[string]ChannelSecurity {
	return map[string]ChannelSecurity{
		"asked by Authorize*": asked{answer: func(Role, string, string) (bool, error) { return ok, err }},
		"asked by Decide":     &decided{decide: func(Request) (Decision, error) { return Decision{Allowed: ok}, err }},
		"asked by Decide, with a version": &versionedDecided{decided: decided{decide: func(Request) (Decision, error) {
			return Decision{Allowed: ok}, err
		}}},
	}
}

// requireDenied requires that an error is a denial and nothing else.
func requireDenied(t *testing.T, err error, op operation, systemID string) {
	t.Helper()
	require.ErrorIs(t, err, ErrPermission, op.name)
	var p *PermissionError
	require.True(t, errors.As(err, &p), op.name)
	require.Equal(t, PermissionError{SystemID: systemID, ChannelID: "room", Operation: op.op, Reason: p.Reason, Cause: p.Cause}, *p, op.name)
	require.NotEmpty(t, p.Reason, op.name)
	for _, other := range []error{ErrUndecided, ErrClosed, ErrNotAccepting, ErrUnknownMessage, ErrClaimLost, ErrFull, ErrLimit, ErrLagged, ErrBusy} {
		require.NotErrorIs(t, err, other, op.name)
	}
}

// stages puts a channel into each of its states, or under some strain, in which an operation has another reason to fail.
var stages = []struct {
	name string
	set  func(testing.TB, anyChannel)
}{
	{"before it starts", func(testing.TB, anyChannel) {}},
	{"while it runs", func(t testing.TB, ch anyChannel) { require.NoError(t, ch.Start(t.Context())) }},
	{"when it is full", func(t testing.TB, ch anyChannel) {
		require.NoError(t, ch.Start(t.Context()))
		for range 2 {
			_, err := ch.as("boss").Write(t.Context(), "m")
			require.NoError(t, err)
		}
	}},
	{"when it is drained", func(t testing.TB, ch anyChannel) {
		require.NoError(t, ch.Start(t.Context()))
		require.NoError(t, ch.Drain(t.Context()))
	}},
	{"when it is closed", func(t testing.TB, ch anyChannel) { require.NoError(t, ch.Close()) }},
}

func TestAuthorizationComesFirst(t *testing.T) {
	j := jwtOf(t)
	forever := time.Now().Add(time.Hour)
	denied := map[string]struct {
		security func(testing.TB) ChannelSecurity
		systemID string
		caller   Caller // nil: wired
	}{
		"somebody who is not listed":              {func(t testing.TB) ChannelSecurity { return aclOf(t, ACLAdmin("boss")) }, "nobody", nil},
		"somebody whom a custom security refuses": {func(testing.TB) ChannelSecurity { return refusing{"boss"} }, "nobody", nil},
		"an empty name":                           {func(testing.TB) ChannelSecurity { return OpenSecurity{} }, "", nil},
		"an impossible name":                      {func(testing.TB) ChannelSecurity { return OpenSecurity{} }, "a\nb", nil},
		"a caller who is nobody":                  {func(testing.TB) ChannelSecurity { return OpenSecurity{} }, "", &sessionCaller{err: ErrUnauthenticated}},
		"a caller with the zero principal":        {func(testing.TB) ChannelSecurity { return OpenSecurity{} }, "", StaticCaller(Principal{})},
		"a caller with the zero grant":            {func(testing.TB) ChannelSecurity { return OpenSecurity{} }, "x", StaticCaller(Principal{SystemID: "x", Grant: &Grant{}})},
		"a token for another channel": {func(testing.TB) ChannelSecurity { return j }, "x",
			holderOf(t, j, TokenRequest{SystemID: "x", Role: RoleAdmin, Channels: []string{"elsewhere"}})},
		"a grant for no channel": {func(testing.TB) ChannelSecurity { return OpenSecurity{} }, "x",
			StaticCaller(Principal{SystemID: "x", Grant: &Grant{Role: RoleAdmin, ExpiresAt: forever}})},
	}
	for _, k := range everyKind {
		for _, stage := range stages {
			t.Run(k.name+" "+stage.name, func(t *testing.T) {
				for who, row := range denied {
					s := newSpy()
					ch := k.open(t, WithSecurity(row.security(t)), WithMaxMessages(2), s.option())
					stage.set(t, ch)
					port := ch.as(row.systemID)
					if row.caller != nil {
						port = ch.of(row.caller)
					}
					s.noted()
					for _, op := range operationsOf(port) {
						err := op.do(t.Context())
						t.Run(who+" "+op.name, func(t *testing.T) { requireDenied(t, err, op, row.systemID) })
					}
					require.Empty(t, s.noted(), "%s reached the driver", who)
				}
			})
		}
	}
}

// refusing is a custom security that lets one system in.
type refusing struct{ boss string }

func (r refusing) Authenticate(context.Context, string) (Principal, error) {
	return Principal{}, ErrUnauthenticated
}
func (r refusing) AuthorizeRead(_ context.Context, s, _ string) (bool, error) {
	return s == r.boss, nil
}
func (r refusing) AuthorizeWrite(_ context.Context, s, _ string) (bool, error) {
	return s == r.boss, nil
}
func (r refusing) AuthorizeAdmin(_ context.Context, s, _ string) (bool, error) {
	return s == r.boss, nil
}
func (r refusing) GenerateToken(context.Context, TokenRequest) (string, error) {
	return "", ErrNoSigner
}

func TestZeroValuesMeetTheGuard(t *testing.T) {
	ctx := t.Context()
	t.Run("Decision", func(t *testing.T) {
		ch := aBroadcast.started(t, WithSecurity(&decided{decide: func(Request) (Decision, error) { return Decision{}, nil }}))
		_, err := ch.as("x").Write(ctx, "m")
		require.ErrorIs(t, err, ErrPermission)
	})
	t.Run("Grant", func(t *testing.T) {
		require.Error(t, (&Grant{}).Covers("room", OpRead, time.Time{}))
		require.Error(t, (&Grant{}).Covers("", "", time.Time{}.Add(-time.Hour)))
		require.ErrorIs(t, (*Grant)(nil).Covers("room", OpRead, time.Time{}), ErrGrant)
	})
	t.Run("Request, to the securities", func(t *testing.T) {
		for _, z := range []Decider{OpenSecurity{}, aclOf(t), jwtOf(t)} {
			d, err := z.Decide(ctx, Request{})
			require.NoError(t, err)
			require.False(t, d.Allowed, "%T", z)
		}
	})
	t.Run("Outcome", func(t *testing.T) { require.Equal(t, Denied, Outcome(0)) })
	t.Run("Claim", func(t *testing.T) {
		var c Claim[string]
		require.ErrorIs(t, c.Acknowledge(ctx), ErrClaimLost)
	})
}

// No method of a port ends in these operations; a Decider's own code and later ones may.
func TestGuardDeniesUnknownOperations(t *testing.T) {
	for name, z := range answering(true, nil) {
		ch := aBroadcast.open(t, WithSecurity(z))
		who := wired("x")
		for _, op := range []Operation{"", "READ", "fly", OpAuthenticate} {
			_, err := ch.authorize(t.Context(), who, op, nil)
			require.ErrorIs(t, err, ErrPermission, "%s: %q", name, op)
			require.ErrorIs(t, err, ErrInvalid)
		}
	}
	t.Run("also for a grant of everything", func(t *testing.T) {
		ch := aBroadcast.open(t, WithSecurity(yesSecurity{}))
		who := verified(StaticCaller(Principal{SystemID: "x", Grant: &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: time.Now().Add(time.Hour)}}))
		_, err := ch.authorize(t.Context(), who, "fly", nil)
		require.ErrorIs(t, err, ErrPermission)
	})
}

func TestAnswersOfASecurity(t *testing.T) {
	down := errors.New("the directory is down")
	for _, row := range []struct {
		name      string
		ok        bool
		err       error
		want, not []error
	}{
		{"yes", true, nil, nil, nil},
		{"no", false, nil, []error{ErrPermission}, []error{ErrUndecided}},
		{"a failure is undecided", false, down, []error{ErrUndecided, down}, []error{ErrPermission}},
		{"a yes with a failure is undecided", true, down, []error{ErrUndecided, down}, []error{ErrPermission}},
		{"a failure that is a denial is one, and keeps its cause", false, fmt.Errorf("%w: %w", ErrPermission, down), []error{ErrPermission, down}, []error{ErrUndecided}},
		{"a yes with a denial is a denial", true, ErrPermission, []error{ErrPermission}, []error{ErrUndecided}},
		{"a failure that claims to be both is undecided", false, fmt.Errorf("%w: %w", ErrPermission, ErrUndecided), []error{ErrUndecided}, []error{ErrPermission}},
		{"a time-out is undecided", false, context.DeadlineExceeded, []error{ErrUndecided, context.DeadlineExceeded}, []error{ErrPermission}},
	} {
		for way, z := range answering(row.ok, row.err) {
			t.Run(row.name+", "+way, func(t *testing.T) {
				s := newSpy()
				ch := aPassthrough.started(t, WithSecurity(z), s.option())
				for _, op := range operationsOf(ch.as("x")) {
					if op.wrong || op.name == "ClaimNext" {
						continue
					}
					s.noted()
					err := op.do(t.Context())
					if row.want == nil {
						require.NoError(t, err, op.name)
						continue
					}
					for _, want := range row.want {
						require.ErrorIs(t, err, want, op.name)
					}
					for _, not := range row.not {
						require.NotErrorIs(t, err, not, op.name)
					}
					require.Empty(t, s.noted(), "%s reached the driver", op.name)
				}
			})
		}
	}
}

const canary = "canary-3f1c" // planted where a secret could be

func TestPanicOfASecurityIsAFailureToDecide(t *testing.T) {
	log, logged := logTo()
	boom := func() { panic(canary) }
	for name, z := range map[string]ChannelSecurity{
		"in Authorize*": asked{answer: func(Role, string, string) (bool, error) { boom(); return true, nil }},
		"in Decide":     &decided{decide: func(Request) (Decision, error) { boom(); return Decision{Allowed: true}, nil }},
	} {
		t.Run(name, func(t *testing.T) {
			s, events := newSpy(), &eventLog{}
			ch := aPassthrough.started(t, WithSecurity(z), s.option(), log, WithAudit(events))
			for _, op := range operationsOf(ch.as("x")) {
				s.noted()
				err := op.do(t.Context())
				require.ErrorIs(t, err, ErrUndecided, op.name)
				require.NotErrorIs(t, err, ErrPermission)
				require.NotContains(t, err.Error(), canary)
				require.Empty(t, s.noted())
				require.Equal(t, Undecided, events.last(t).Outcome)
			}
			require.NotContains(t, fmt.Sprintf("%+v", events.all()), canary)
		})
	}
	require.Contains(t, logged(), "panicked")
	require.Contains(t, logged(), "guard.go", "the stack helps to find it")
	require.NotContains(t, logged(), canary)
}

type panicking struct {
	yesSecurity
	in string
}

func (p panicking) Authenticate(context.Context, string) (Principal, error) {
	if p.in == "Authenticate" {
		panic(canary)
	}
	return Principal{SystemID: "x"}, nil
}

func (p panicking) Version() uint64 {
	if p.in == "Version" {
		panic(canary)
	}
	return 1
}

func (p panicking) Changed() <-chan struct{} { return nil }

func TestPanicOfAnAuthenticatorProvesNobody(t *testing.T) {
	events := &eventLog{}
	ch := aBroadcast.open(t, WithSecurity(panicking{in: "Authenticate"}), WithAudit(events))
	caller, err := ch.Authenticate(t.Context(), "token")
	require.Nil(t, caller)
	require.Error(t, err)
	require.NotContains(t, err.Error(), canary)
	require.Equal(t, Undecided, events.last(t).Outcome)
}

func TestFailureOfAnAuthenticatorIsUndecided(t *testing.T) {
	ch := aBroadcast.open(t, WithSecurity(panicking{in: "Authenticate"}))
	_, err := ch.Authenticate(t.Context(), "token")
	require.ErrorIs(t, err, ErrUndecided)
}

func TestPanicOfAVersionIsAFailureToDecide(t *testing.T) {
	log, logged := logTo()
	ch := aBroadcast.started(t, WithSecurity(panicking{in: "Version"}), log)
	_, err := ch.as("x").Write(t.Context(), "m")
	require.ErrorIs(t, err, ErrUndecided)
	require.NotContains(t, err.Error()+logged(), canary)
}

func TestPanicOfALaterVersionIsAFailureToDecide(t *testing.T) {
	log, _ := logTo()
	z := &brittle{versionedDecided: versionedDecided{decided: decided{decide: func(Request) (Decision, error) { return Decision{Allowed: true}, nil }}}}
	ch := aBroadcast.started(t, WithSecurity(z), log)
	port := ch.as("x")
	_, err := port.Write(t.Context(), "m")
	require.NoError(t, err)
	z.broken.Store(true)
	_, err = port.Write(t.Context(), "m")
	require.ErrorIs(t, err, ErrUndecided)
}

func TestPanicOfALaterVersionEndsALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := logTo()
		z := &brittle{versionedDecided: versionedDecided{decided: decided{decide: func(Request) (Decision, error) { return Decision{Allowed: true}, nil }}}}
		lease := subscribe(t, aBroadcast.started(t, WithSecurity(z), log).as("x"))
		z.broken.Store(true)
		z.bump()
		<-lease.Done()
		require.ErrorIs(t, lease.Err(), ErrUndecided)
	})
}

// brittle is a security whose version breaks.
type brittle struct {
	versionedDecided
	broken atomic.Bool
}

func (b *brittle) Version() uint64 {
	if b.broken.Load() {
		panic(canary)
	}
	return b.versionedDecided.Version()
}

// What the grant of a principal does not cover is denied, however often the security says yes.
func TestGrantIsEnforcedByTheGuard(t *testing.T) {
	const room = "room"
	for _, k := range everyKind {
		for _, role := range []Role{"", "superuser", RoleRead, RoleWrite, RoleAdmin, "ADMIN", "İADMIN"} {
			for _, where := range []struct {
				name string
				set  func(*Grant)
				here bool
			}{
				{"every channel", func(g *Grant) { g.AllChannels = true }, true},
				{"this channel", func(g *Grant) { g.Channels = []string{"lobby", room} }, true},
				{"no channel", func(*Grant) {}, false},
				{"a channel with another case", func(g *Grant) { g.Channels = []string{"Room"} }, false},
				{"a channel of which this is a part", func(g *Grant) { g.Channels = []string{"room/1", "roo", "*"} }, false},
			} {
				for _, when := range []struct {
					name  string
					after time.Duration
					valid bool
				}{
					{"for an hour more", time.Hour, true},
					{"until now", 0, false},
					{"until an hour ago", -time.Hour, false},
				} {
					t.Run(fmt.Sprintf("%s/%q on %s %s", k.name, role, where.name, when.name), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							s := newSpy()
							ch := k.started(t, WithSecurity(yesSecurity{}), s.option())
							g := &Grant{Role: role, ExpiresAt: time.Now().Add(when.after), TokenID: "t"}
							where.set(g)
							port := ch.of(StaticCaller(Principal{SystemID: "x", Grant: g}))
							for _, op := range operationsOf(port) {
								if op.wrong || op.name == "ClaimNext" {
									continue
								}
								s.noted()
								err := op.do(t.Context())
								held := map[Role]int{RoleRead: 1, RoleWrite: 2, RoleAdmin: 3, "ADMIN": 3}[role]
								needed := map[Role]int{RoleRead: 1, RoleWrite: 2, RoleAdmin: 3}[op.op.Role()]
								if where.here && when.valid && held >= needed {
									require.NoError(t, err, op.name)
									continue
								}
								requireDenied(t, err, op, "x")
								if when.valid {
									require.ErrorIs(t, err, ErrGrant, op.name)
								} else {
									require.ErrorIs(t, err, ErrExpired, op.name)
								}
								require.Empty(t, s.noted(), op.name)
							}
						})
					})
				}
			}
		}
	}
}

// A token reaches as far as it says, whatever is made of the exported fields on the way.
func TestCredentialIsEnforcedBesideTheGrant(t *testing.T) {
	ctx := t.Context()
	j := jwtOf(t)
	token, err := j.GenerateToken(ctx, TokenRequest{SystemID: "x", Role: RoleRead, Channels: []string{"room"}})
	require.NoError(t, err)
	p, err := j.Authenticate(ctx, token)
	require.NoError(t, err)
	wide := &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: time.Now().Add(time.Hour)}
	for _, row := range []struct {
		name   string
		change func(*Principal)
	}{
		{"left alone", func(*Principal) {}},
		{"with a wider grant", func(p *Principal) { p.Grant = wide }},
		{"with no grant at all", func(p *Principal) { p.Grant = nil }},
	} {
		for _, z := range []ChannelSecurity{j, yesSecurity{}, OpenSecurity{}} {
			t.Run(fmt.Sprintf("%s under %T", row.name, z), func(t *testing.T) {
				p := p
				row.change(&p)
				port := aBroadcast.started(t, WithSecurity(z)).of(StaticCaller(p))
				_, err := port.(Reader[string]).Read(ctx, 1)
				require.NoError(t, err)
				_, err = port.Write(ctx, "m")
				require.ErrorIs(t, err, ErrGrant)
				require.ErrorIs(t, err, ErrPermission)
			})
		}
	}
	t.Run("and so is its revocation", func(t *testing.T) {
		port := aBroadcast.started(t, WithSecurity(yesSecurity{})).of(StaticCaller(p))
		require.NoError(t, j.RevokeToken(p.Grant.TokenID, time.Time{}))
		_, err := port.(Reader[string]).Read(ctx, 1)
		require.ErrorIs(t, err, ErrPermission)
		require.ErrorIs(t, err, ErrRevoked)
	})
}

func TestDeciderIsToldWhatItIsAbout(t *testing.T) {
	var got []Request
	z := &decided{decide: func(req Request) (Decision, error) {
		req.local = false
		got = append(got, req)
		return Decision{Allowed: true}, nil
	}}
	ctx := t.Context()
	ch := aPassthrough.started(t, WithSecurity(z))
	last := func() Request { return got[len(got)-1] }
	p := Principal{SystemID: "x", Proof: "tls", Roles: []string{"operator"}, Attributes: map[string]any{"floor": 2}}
	port := ch.of(StaticCaller(p)).(PassthroughPort[string])

	id, err := port.WriteMessage(ctx, Message[string]{Content: "m", CorrelationID: "c", Metadata: map[string]any{"k": "v"}, ReplyTo: "r", RecipientID: "y"})
	require.NoError(t, err)
	m := Message[any]{SenderID: "x", Content: "m", CorrelationID: "c", Metadata: map[string]any{"k": "v"}, ReplyTo: "r", RecipientID: "y"}
	require.Equal(t, Request{Principal: p, ChannelID: "room", Operation: OpWrite, Message: &m}, last(), "what is to be written has no ID and time yet")

	_, err = port.Clear(ctx)
	require.NoError(t, err)
	require.Equal(t, Request{Principal: p, ChannelID: "room", Operation: OpClear}, last(), "the operation itself, not its class")

	lease, err := port.SubscribeAfter(ctx, id)
	require.NoError(t, err)
	require.Equal(t, Request{Principal: p, ChannelID: "room", Operation: OpSubscribe}, last())
	id, err = port.Write(ctx, "n")
	require.NoError(t, err)
	for delivered, err := range lease.Messages(ctx) {
		require.NoError(t, err)
		require.Equal(t, id, delivered.ID)
		break
	}
	require.Equal(t, id, last().Message.ID, "what is to be delivered has both")
	require.Equal(t, "n", last().Message.Content)
	require.False(t, last().Message.Timestamp.IsZero())
}

func TestContentBlindDeciderIsShownNoMessage(t *testing.T) {
	var shown atomic.Int32
	z := &blindDecided{decided{decide: func(req Request) (Decision, error) {
		if req.Message != nil {
			shown.Add(1)
		}
		return Decision{Allowed: true}, nil
	}}}
	ch := aBroadcast.started(t, WithSecurity(z))
	_, err := ch.as("x").Write(t.Context(), "m")
	require.NoError(t, err)
	require.Zero(t, shown.Load())
}

type blindDecided struct{ decided }

func (*blindDecided) ContentBlind() {}

func TestDefaultSecurityIsOpenAndSaidOnce(t *testing.T) {
	log, logged := logTo()
	const warning = "no security was set"
	warnings := func() int { return strings.Count(logged(), warning) }

	for i, k := range everyKind {
		ch := k.open(t, log)
		require.Equal(t, i, warnings(), "not before it is used")
		var users sync.WaitGroup
		for range 8 {
			users.Go(func() {
				_, err := ch.as("anyone").Info(t.Context())
				require.NoError(t, err)
			})
		}
		users.Wait()
		require.NoError(t, ch.Start(t.Context()))
		require.NoError(t, ch.Drain(t.Context()))
		require.NoError(t, ch.Start(t.Context()))
		_, err := ch.as("anyone").Clear(t.Context())
		require.NoError(t, err)
		require.Equal(t, i+1, warnings(), "once per channel")
		require.Contains(t, logged(), "level=WARN")
		require.Contains(t, logged(), "channel=room")
	}
	ch := aBroadcast.started(t, log, WithSecurity(OpenSecurity{}))
	_, err := ch.as("anyone").Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, len(everyKind), warnings(), "not for who asked for it")
}

func TestDefaultSecurityIsSaidOnceByManyAtATime(t *testing.T) {
	for range 50 {
		log, logged := logTo()
		ch := aBroadcast.open(t, log)
		start := make(chan struct{})
		var users sync.WaitGroup
		for range 4 {
			users.Go(func() {
				<-start
				_, err := ch.as("anyone").Info(t.Context())
				require.NoError(t, err)
			})
		}
		close(start)
		users.Wait()
		require.Equal(t, 1, strings.Count(logged(), "no security was set"))
	}
}

// Where nobody listens to events, a yes to what ports do again and again is asked for once, for as long as it holds.
func TestDecisionThatHoldsServesAgain(t *testing.T) {
	always := func(Request) Decision { return Decision{Allowed: true} }
	for _, row := range []struct {
		name   string
		decide func(Request) Decision
		plain  bool // without a version
		opts   []Option
		change func(*versionedDecided, *sessionCaller)
		asked  int // for three writes, with a change before the last
	}{
		{"with a version", always, false, nil, nil, 1},
		{"with a version that changes", always, false, nil, func(z *versionedDecided, _ *sessionCaller) { z.bump() }, 2},
		{"of a caller who changes", always, false, nil, func(_ *versionedDecided, c *sessionCaller) { c.set(Principal{SystemID: "y"}, nil) }, 2},
		{"until a time", func(Request) Decision { return Decision{Allowed: true, Until: time.Now().Add(time.Minute)} }, false, nil,
			func(*versionedDecided, *sessionCaller) { later(time.Minute) }, 2},
		{"for one message", func(Request) Decision { return Decision{Allowed: true, PerMessage: true} }, false, nil, nil, 3},
		{"without a version", always, true, nil, nil, 3},
		{"where events are listened to", always, false, []Option{WithAudit(&eventLog{})}, nil, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				versioned := &versionedDecided{decided: decided{decide: func(req Request) (Decision, error) {
					asked++
					return row.decide(req), nil
				}}}
				var z ChannelSecurity = versioned
				if row.plain {
					z = &versioned.decided
				}
				ch := aBroadcast.started(t, append(row.opts, WithSecurity(z))...)
				c := newSessionCaller(Principal{SystemID: "x"})
				port := ch.of(c)
				for i := range 3 {
					if i == 2 && row.change != nil {
						row.change(versioned, c)
					}
					_, err := port.Write(t.Context(), "m")
					require.NoError(t, err)
				}
				require.Equal(t, row.asked, asked)
			})
		})
	}
}

func TestRequireSecurityRefusesTheDefault(t *testing.T) {
	s := newSpy()
	log, logged := logTo()
	events := &eventLog{}
	ch := aPassthrough.open(t, RequireSecurity(), s.option(), log, WithAudit(events))
	require.ErrorIs(t, ch.Start(t.Context()), ErrSecurityRequired)
	for _, op := range operationsOf(ch.as("x")) {
		err := op.do(t.Context())
		require.ErrorIs(t, err, ErrSecurityRequired, op.name)
		require.ErrorIs(t, err, ErrUndecided)
		require.NotErrorIs(t, err, ErrPermission)
		require.Equal(t, Undecided, events.last(t).Outcome)
	}
	_, err := ch.Authenticate(t.Context(), "x")
	require.ErrorIs(t, err, ErrSecurityRequired)
	require.Empty(t, s.noted())
	require.Empty(t, logged())

	require.NoError(t, ch.SetSecurity(aclOf(t, ACLWrite("x"))), "nothing was decided yet")
	require.NoError(t, ch.Start(t.Context()))
	_, err = ch.as("x").Write(t.Context(), "m")
	require.NoError(t, err)
}

func TestSecurityIsFixedByTheFirstUse(t *testing.T) {
	for _, row := range []struct {
		name string
		use  func(context.Context, anyChannel)
	}{
		{"Start", func(ctx context.Context, ch anyChannel) { _ = ch.Start(ctx) }},
		{"an operation that was allowed", func(ctx context.Context, ch anyChannel) { _, _ = ch.as("r").Info(ctx) }},
		{"an operation that was denied", func(ctx context.Context, ch anyChannel) { _, _ = ch.as("x").Info(ctx) }},
		{"an operation that came too early", func(ctx context.Context, ch anyChannel) { _, _ = ch.as("r").Write(ctx, "m") }},
		{"authentication", func(ctx context.Context, ch anyChannel) { _, _ = ch.Authenticate(ctx, "x") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			ch := aBroadcast.open(t, WithSecurity(OpenSecurity{}))
			require.NoError(t, ch.SetSecurity(yesSecurity{}))
			require.NoError(t, ch.SetSecurity(aclOf(t, ACLRead("r"))), "as often as you like before")
			row.use(t.Context(), ch)
			require.ErrorIs(t, ch.SetSecurity(OpenSecurity{}), ErrSecurityFixed)
			_, err := ch.as("x").Info(t.Context())
			require.ErrorIs(t, err, ErrPermission, "the last one set is in force")
			_, err = ch.as("r").Info(t.Context())
			require.NoError(t, err)
		})
	}
	t.Run("but cannot be none", func(t *testing.T) {
		require.ErrorIs(t, aBroadcast.open(t).SetSecurity(nil), ErrInvalid)
	})
	t.Run("not by a Start that came too late", func(t *testing.T) {
		ch := aBroadcast.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, ch.Start(ctx), context.Canceled)
		require.NoError(t, ch.SetSecurity(OpenSecurity{}))
	})
}

func TestTimesBeyondTheClockAreForEverOrLongAgo(t *testing.T) {
	require.EqualValues(t, forever, unixNano(time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)))
	require.EqualValues(t, math.MinInt64, unixNano(time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC)))
	require.Negative(t, unixNano(time.Time{}))
	now := time.Now()
	require.Equal(t, now.UnixNano(), unixNano(now))

	ch := aBroadcast.started(t, WithSecurity(yesSecurity{}))
	for year, ok := range map[int]bool{1: false, 1600: false, 2300: true, 9999: true} {
		g := &Grant{Role: RoleRead, AllChannels: true, ExpiresAt: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}
		_, err := ch.of(StaticCaller(Principal{SystemID: "x", Grant: g})).Info(t.Context())
		require.Equal(t, ok, err == nil, "a grant until %d: %v", year, err)
	}
}
