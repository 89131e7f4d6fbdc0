package chansec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// eventLog is a sink that keeps events.
type eventLog struct {
	mu     sync.Mutex
	events []Event
}

func (l *eventLog) Record(_ context.Context, e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	return nil
}

func (l *eventLog) all() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Event(nil), l.events...)
}

func (l *eventLog) last(t testing.TB) Event {
	t.Helper()
	all := l.all()
	require.NotEmpty(t, all)
	return all[len(all)-1]
}

func TestEveryOperationMakesOneEvent(t *testing.T) {
	for _, k := range everyKind {
		t.Run(k.name, func(t *testing.T) {
			events, s := &eventLog{}, newSpy()
			ch := k.started(t, WithSecurity(aclOf(t, ACLAdmin("boss"))), WithAudit(events), s.option())
			for who, outcome := range map[string]Outcome{"boss": Allowed, "nobody": Denied} {
				for _, op := range operationsOf(ch.as(who)) {
					ctx, cancel := context.WithCancel(t.Context())
					s.after("WakeClaim", cancel) // ClaimNext waits for nothing
					before := len(events.all())
					_ = op.do(ctx)
					cancel()
					all := events.all()
					require.Len(t, all, before+1, op.name)
					require.Equal(t, outcome, all[before].Outcome, op.name)
					require.Equal(t, op.op, all[before].Operation, op.name)
					require.Equal(t, who, all[before].SystemID, op.name)
					require.Equal(t, "room", all[before].ChannelID, op.name)
				}
			}
		})
	}
}

func TestEventSaysWhatWasDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		began := time.Now()
		events := &eventLog{}
		z := &decided{decide: func(req Request) (Decision, error) {
			pass(3 * time.Millisecond)
			return Decision{Allowed: req.Operation != OpWrite, Reason: "floor 2", Rule: "floors#7", Version: 42}, nil
		}}
		ch := aBroadcast.started(t, WithSecurity(z), WithAudit(events))
		p := Principal{SystemID: "x", Proof: "tls", Grant: &Grant{Role: RoleAdmin, AllChannels: true, ExpiresAt: began.Add(time.Hour), TokenID: "jti-1"}}
		port := ch.of(StaticCaller(p))
		_, err := port.Info(ctx)
		require.NoError(t, err)
		want := Event{Time: began, ChannelID: "room", Operation: OpInfo, SystemID: "x", Proof: "tls", TokenID: "jti-1",
			Outcome: Allowed, Reason: "floor 2", Rule: "floors#7", Version: 42, Latency: 3 * time.Millisecond}
		require.Equal(t, want, events.last(t))

		_, err = port.Write(ctx, "m")
		require.ErrorIs(t, err, ErrPermission)
		want.Time, want.Operation, want.Outcome = began.Add(3*time.Millisecond), OpWrite, Denied
		require.Equal(t, want, events.last(t))

		p.Grant = &Grant{TokenID: "jti-2"}
		_, err = ch.of(StaticCaller(p)).Info(ctx)
		require.ErrorIs(t, err, ErrExpired)
		want = Event{Time: began.Add(6 * time.Millisecond), ChannelID: "room", Operation: OpInfo, SystemID: "x", Proof: "tls", TokenID: "jti-2",
			Outcome: Denied, Reason: "the credential has expired"}
		require.Equal(t, want, events.last(t))
	})
}

func TestDecisionThatIsUsedAgainMakesNoEvent(t *testing.T) {
	ctx := t.Context()
	events := &eventLog{}
	acl := aclOf(t, ACLWrite("w"), ACLRead("r"))
	ch := aPassthrough.started(t, WithSecurity(acl), WithAudit(events))
	lease, err := ch.as("r").(Subscriber[string]).Subscribe(ctx)
	require.NoError(t, err)
	for range 5 {
		_, err := ch.as("w").Write(ctx, "m")
		require.NoError(t, err)
	}
	n := len(events.all())
	got := 0
	for _, err := range lease.Messages(ctx) {
		require.NoError(t, err)
		if got++; got == 5 {
			break
		}
	}
	require.Len(t, events.all(), n)

	_, err = ch.as("r").(Worker[string]).Claim(ctx, 2)
	require.NoError(t, err)
	require.Len(t, events.all(), n+1, "one for the operation, none for each message or for the worker's watch")
	_, err = ch.as("r").(Reader[string]).Read(ctx, 10)
	require.NoError(t, err)
	require.Len(t, events.all(), n+2)
}

func TestFailedAuthenticationMakesAnEvent(t *testing.T) {
	ctx := t.Context()
	for _, row := range []struct {
		name    string
		z       ChannelSecurity
		outcome Outcome
	}{
		{"of a name that is not listed", aclOf(t), Denied},
		{"of no token at all", jwtOf(t), Denied},
		{"of a security that failed", failing{}, Undecided},
		{"of a security that proves the zero principal", panicking{in: "nothing"}, Allowed},
	} {
		events := &eventLog{}
		ch := aBroadcast.open(t, WithSecurity(row.z), WithAudit(events))
		caller, err := ch.Authenticate(ctx, canary)
		if row.outcome == Allowed {
			require.NoError(t, err)
			require.NotNil(t, caller)
			require.Empty(t, events.all(), "one that succeeds makes none: the operations will")
			continue
		}
		require.Error(t, err)
		require.Nil(t, caller)
		require.NotContains(t, err.Error(), canary)
		all := events.all()
		require.Len(t, all, 1, row.name)
		require.Equal(t, OpAuthenticate, all[0].Operation)
		require.Equal(t, row.outcome, all[0].Outcome)
		require.Equal(t, "room", all[0].ChannelID)
		require.Empty(t, all[0].SystemID)
		require.NotEmpty(t, all[0].Reason)
	}
}

// failing is a security that cannot find anything out.
type failing struct{ yesSecurity }

func (failing) Authenticate(context.Context, string) (Principal, error) {
	return Principal{SystemID: "x"}, errors.New("directory down")
}

func TestPrincipalWithoutAPossibleNameIsNobody(t *testing.T) {
	events := &eventLog{}
	ch := aBroadcast.open(t, WithSecurity(OpenSecurity{}), WithAudit(events))
	for _, name := range []string{"", "a\nb", "\xff", strings.Repeat("x", 513)} {
		_, err := ch.Authenticate(t.Context(), name)
		require.Error(t, err, "%q", name)
		require.Equal(t, Denied, events.last(t).Outcome)
	}
}

// A token for another security may end up at one that takes it for a name.
func TestRefusedNameIsNotInTheError(t *testing.T) {
	ch := aBroadcast.open(t, WithSecurity(OpenSecurity{}))
	_, err := ch.Authenticate(t.Context(), canary+strings.Repeat("x", 600))
	require.ErrorIs(t, err, ErrUnauthenticated)
	require.NotContains(t, err.Error(), canary)
}

func TestRequiredSinkThatFailsRefusesTheOperation(t *testing.T) {
	full := errors.New("disk full")
	for _, row := range []struct {
		name string
		sink AuditSink
		is   error
	}{
		{"by an error", AuditFunc(func(context.Context, Event) error { return full }), full},
		{"by a panic", AuditFunc(func(context.Context, Event) error { panic(canary) }), ErrAudit},
		{"by being nil inside", AuditFunc(nil), ErrAudit},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, k := range everyKind {
				s, second := newSpy(), &eventLog{}
				ch := k.started(t, WithSecurity(aclOf(t, ACLAdmin("boss"))), WithRequiredAudit(row.sink), WithRequiredAudit(second), s.option())
				ops := operationsOf(ch.as("boss"))
				for _, op := range ops {
					err := op.do(t.Context())
					require.ErrorIs(t, err, ErrAudit, op.name)
					require.ErrorIs(t, err, ErrUndecided, op.name)
					require.ErrorIs(t, err, row.is, op.name)
					require.NotErrorIs(t, err, ErrPermission, op.name)
					require.NotContains(t, err.Error(), canary)
				}
				require.Empty(t, s.noted())
				require.Len(t, second.all(), len(ops), "the other sinks are told all the same")

				_, err := ch.as("nobody").Info(t.Context())
				require.ErrorIs(t, err, ErrPermission, "a denial stays one")
				_, err = ch.Authenticate(t.Context(), "nobody")
				require.ErrorIs(t, err, ErrAudit)
				_, err = ch.Authenticate(t.Context(), "boss")
				require.NoError(t, err, "proves somebody, and makes no event")
			}
		})
	}
}

// A sink may itself write to a channel.
func TestRequiredSinkThatWasDeniedIsNotADenialOfTheOperation(t *testing.T) {
	sink := AuditFunc(func(context.Context, Event) error { return fmt.Errorf("audit channel: %w", ErrPermission) })
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), WithRequiredAudit(sink))
	_, err := ch.as("x").Info(t.Context())
	require.ErrorIs(t, err, ErrAudit)
	require.NotErrorIs(t, err, ErrPermission)
}

func TestOptionalSinkThatFailsStopsNothingAndIsLoggedOnce(t *testing.T) {
	log, logged := logTo()
	broken, second := errors.New("disk full"), errors.New("network down")
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), log,
		WithAudit(AuditFunc(func(context.Context, Event) error { return broken })),
		WithAudit(AuditFunc(func(context.Context, Event) error { return second })))
	for range 10 {
		_, err := ch.as("x").Info(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, 1, strings.Count(logged(), broken.Error()), logged())
	require.Equal(t, 1, strings.Count(logged(), second.Error()), "each sink for itself")
}

func TestSinkIsCalledBeforeTheOperationIsDone(t *testing.T) {
	s := newSpy()
	sink := AuditFunc(func(_ context.Context, e Event) error {
		require.NotContains(t, strings.Join(s.noted(), " "), "Append")
		return nil
	})
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), s.option(), WithRequiredAudit(sink))
	_, err := ch.as("x").Write(t.Context(), "m")
	require.NoError(t, err)
	require.Equal(t, []string{"Append"}, driverCalls(s.noted()))
}

func TestSlogAudit(t *testing.T) {
	e := Event{Time: time.Unix(1, 0), ChannelID: "room", Operation: OpWrite, SystemID: "x", Proof: ProofToken, TokenID: "jti",
		Outcome: Allowed, Reason: "listed", Rule: "r1", Version: 7, Latency: time.Microsecond}
	for outcome, level := range map[Outcome]string{Allowed: "INFO", Denied: "WARN", Undecided: "WARN"} {
		var b bytes.Buffer
		sink := SlogAudit(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})))
		e.Outcome = outcome
		require.NoError(t, sink.Record(t.Context(), e))
		require.Equal(t, "level="+level+` msg="chansec decision" channel=room operation=write system=x proof=token token_id=jti outcome=`+
			outcome.String()+` reason=listed rule=r1 version=7 latency=1µs`+"\n", b.String())
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	for o, name := range map[Outcome]string{Denied: "denied", Allowed: "allowed", Undecided: "undecided", 9: "Outcome(9)"} {
		require.Equal(t, name, o.String())
	}
}

// Law 7: tokens and payloads are planted wherever they can be, and nothing that was written down holds one.
func TestNoEventOrLogHoldsATokenOrAPayload(t *testing.T) {
	const payload = "payload-77aa"
	ctx := t.Context()
	var trail lockedBuffer
	log, logged := logTo()
	events := &eventLog{}
	j := jwtOf(t)
	token, err := j.GenerateToken(ctx, TokenRequest{SystemID: "x", Role: RoleRead, AllChannels: true})
	require.NoError(t, err)

	for _, k := range everyKind {
		ch := k.started(t, WithSecurity(j), log, WithAudit(events), WithAudit(SlogAudit(slog.New(slog.NewJSONHandler(&trail, nil)))),
			WithAudit(AuditFunc(func(context.Context, Event) error { panic(payload) })))
		caller, err := ch.Authenticate(ctx, token)
		require.NoError(t, err)
		_, err = ch.Authenticate(ctx, token+"x")
		require.Error(t, err)
		require.NotContains(t, err.Error(), token[:20])
		_, err = ch.of(caller).Write(ctx, payload)
		require.ErrorIs(t, err, ErrPermission)
		require.NotContains(t, err.Error(), payload)
		_, err = ch.of(caller).WriteMessage(ctx, Message[string]{Content: payload, CorrelationID: payload, Metadata: map[string]any{payload: payload}})
		require.NotContains(t, err.Error(), payload)
		_, err = ch.as("w").Write(ctx, payload)
		require.NoError(t, err)
		for _, op := range operationsOf(ch.of(caller)) {
			if op.name != "ClaimNext" {
				_ = op.do(ctx)
			}
		}
		if p, ok := any(ch.as("w")).(Subscriber[string]); ok && k.name != aWorkQueue.name {
			lease, err := p.SubscribeFunc(ctx, func(_ context.Context, m Message[string]) error { panic(m.Content) })
			require.NoError(t, err)
			_, err = ch.as("w").Write(ctx, payload)
			require.NoError(t, err)
			<-lease.Done()
			require.NotContains(t, lease.Err().Error(), payload)
		}
	}
	require.NotEmpty(t, logged())
	require.NotEmpty(t, trail.String())
	for _, text := range []string{logged(), trail.String(), fmt.Sprintf("%+v", events.all())} {
		require.NotContains(t, text, payload)
		for _, part := range strings.Split(token, ".") {
			require.NotContains(t, text, part)
		}
	}
}
