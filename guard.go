package chansec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// guard is the one place that decides: nothing else in this package asks a security, builds a PermissionError or makes a
// decision event, and no operation reaches a driver before authorize returned without an error.
//
//	caller's principal -> credential not revoked -> grant covers -> authorizer -> event
type guard struct {
	channelID  string
	log        *slog.Logger
	sinks      []sink
	sinkFailed []sync.Once
	require    bool            // refuse to fall back to Open
	life       context.Context // ends when the channel closes

	mu    sync.Mutex
	set   ChannelSecurity // nil: none was set
	fixed atomic.Pointer[authority]

	watched watchList
}

// authority is the security of a channel in use, with what it can do beyond its interface.
type authority struct {
	ChannelSecurity
	decider   Decider
	versioned Versioned
	version   func() uint64 // of versioned; one that panics is another version every time
	content   bool          // the decider looks at messages
}

// setSecurity sets the security, unless it is fixed already.
func (g *guard) setSecurity(s ChannelSecurity) error {
	if s == nil {
		return &InvalidError{What: "ChannelSecurity", Value: "nil", Want: "a security; OpenSecurity lets everybody in"}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fixed.Load() != nil {
		return ErrSecurityFixed
	}
	g.set = s
	return nil
}

// authority returns the security in force and fixes it.
func (g *guard) authority() (*authority, error) {
	if a := g.fixed.Load(); a != nil {
		return a, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if a := g.fixed.Load(); a != nil {
		return a, nil
	}
	s := g.set
	if s == nil {
		if g.require {
			return nil, ErrSecurityRequired
		}
		g.log.Warn("chansec: no security was set, everybody is let in", "channel", g.channelID)
		s = OpenSecurity{}
	}
	a := newAuthority(s)
	g.fixed.Store(a)
	return a, nil
}

func newAuthority(s ChannelSecurity) *authority {
	a := &authority{ChannelSecurity: s}
	a.versioned, _ = s.(Versioned)
	switch v := s.(type) {
	case *ACLSecurity, *JWTSecurity:
		a.version = v.(Versioned).Version
	case Versioned:
		var broken atomic.Uint64
		a.version = func() (n uint64) {
			defer func() {
				if recover() != nil {
					n = ^broken.Add(1)
				}
			}()
			return v.Version()
		}
	}
	if d, ok := s.(Decider); ok {
		a.decider = d
		_, blind := s.(ContentBlind)
		a.content = !blind
	}
	return a
}

// ticket is a yes and what it depends on.
type ticket struct {
	systemID string
	tokenID  string
	granted  int64 // when the grant ends, in Unix nanoseconds; 0 if there is none

	authority  *authority
	version    uint64 // of the authority, read before it was asked
	credential credential
	credited   uint64          // version of the credential, read before it was checked
	changed    <-chan struct{} // of the caller, taken before it was asked; nil never changes
	until      int64           // Unix nanoseconds from which it no longer holds
	perMessage bool
}

const forever = math.MaxInt64

// holds reports whether the ticket is still good, at a time in Unix nanoseconds, without asking anybody.
func (t *ticket) holds(at int64) bool {
	if at >= t.until || t.perMessage || t.authority.version == nil || t.authority.version() != t.version {
		return false
	}
	if t.credential != nil && t.credential.Version() != t.credited {
		return false
	}
	if t.changed != nil {
		select {
		case <-t.changed:
			return false
		default:
		}
	}
	return true
}

// reusable reports whether the ticket can hold for more than the operation it was made for.
func (t *ticket) reusable() bool { return !t.perMessage && t.authority.versioned != nil }

// stillHolds is holds for the end of an operation, which may have taken time.
func (t *ticket) stillHolds() bool {
	at := int64(math.MinInt64)
	if t.until != forever {
		at = time.Now().UnixNano()
	}
	return t.holds(at)
}

// verdict is a decision on its way to becoming a ticket or an error.
type verdict struct {
	req      Request
	ticket   ticket
	decision Decision
	reason   string
	err      error
}

// matter gives a decider that looks at messages the one in question, as one of the system's if it is to be written, and the
// one that it replaces; nil where there is none.
type matter func(systemID string) (message, previous *Message[any], err error)

// authorize decides an operation and makes its event. about is nil where no message is in question.
//
// Where nobody listens to events, a port's last yes to the same operation serves again for as long as it holds.
func (g *guard) authorize(ctx context.Context, who *subject, op Operation, about matter) (*ticket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(g.sinks) > 0 {
		return g.audited(ctx, who, op, about)
	}
	kept := who.kept(op)
	if kept != nil {
		if t := kept.Load(); t != nil && t.stillHolds() {
			return t, nil
		}
	}
	var v verdict
	g.decide(ctx, who, op, about, &v)
	if v.err != nil {
		return nil, v.err
	}
	t := v.ticket
	if kept != nil && t.reusable() {
		kept.Store(&t)
	}
	return &t, nil
}

// audited decides an operation and tells the sinks, before the operation is done.
func (g *guard) audited(ctx context.Context, who *subject, op Operation, about matter) (*ticket, error) {
	var v verdict
	began := time.Now()
	g.decide(ctx, who, op, about, &v)
	e := Event{Time: began, ChannelID: g.channelID, Operation: op, SystemID: v.req.Principal.SystemID,
		Proof: v.req.Principal.Proof, TokenID: v.ticket.tokenID, Outcome: v.outcome(), Reason: v.reason,
		Rule: v.decision.Rule, Version: v.decision.Version, Latency: time.Since(began)}
	if err := g.record(ctx, e); err != nil && v.err == nil {
		v.err = notDecided(g.channelID, op, err)
	}
	if v.err != nil {
		return nil, v.err
	}
	t := v.ticket
	return &t, nil
}

func (v *verdict) outcome() Outcome {
	switch {
	case v.err == nil:
		return Allowed
	case errors.Is(v.err, ErrPermission):
		return Denied
	}
	return Undecided
}

// decide fills in a verdict. It is the only place that asks an authorizer. A panic of anything it asks is a failure to
// decide.
func (g *guard) decide(ctx context.Context, who *subject, op Operation, about matter, v *verdict) {
	defer func() {
		if r := recover(); r != nil {
			g.log.Error("chansec: a security panicked", "channel", g.channelID, "type", fmt.Sprintf("%T", r), "stack", string(debug.Stack()))
			g.undecided(v, op, "the security panicked", fmt.Errorf("the security panicked with a %T", r))
		}
	}()
	v.req.ChannelID, v.req.Operation, v.req.local = g.channelID, op, who.caller == nil
	p := &v.req.Principal
	v.ticket.until = forever
	err := who.principal(p, &v.ticket)
	switch {
	case errors.Is(err, ErrUndecided):
		g.undecided(v, op, "nobody could say who the caller is", err)
		return
	case err != nil:
		g.deny(v, op, "the caller is nobody (any more)", err)
		return
	}
	v.ticket.systemID = p.SystemID
	a, err := g.authority()
	if err != nil {
		g.undecided(v, op, "no security was set", err)
		return
	}
	v.ticket.authority = a
	if a.versioned != nil {
		v.ticket.version = a.versioned.Version()
	}

	if p.Grant != nil {
		v.ticket.tokenID, v.ticket.granted = p.Grant.TokenID, unixNano(p.Grant.ExpiresAt)
	}
	var unsure error // whether the credential was revoked, which excuses nothing that is wrong with it all the same
	if c := p.credential; c != nil {
		v.ticket.credential, v.ticket.credited = c, c.Version()
		if unsure = c.revoked(); unsure != nil && !errors.Is(unsure, ErrUndecided) {
			g.deny(v, op, "the credential was revoked", unsure)
			return
		}
	}
	if err := covered(p, g.channelID, op, &v.ticket); err != nil {
		g.deny(v, op, grantReason(err), err)
		return
	}
	if unsure != nil {
		g.undecided(v, op, "nobody could say whether the credential was revoked", unsure)
		return
	}
	if op.Role() == "" {
		g.deny(v, op, "unknown operation", invalid("operation", string(op), "one of the Op constants"))
		return
	}

	if a.content && about != nil {
		if v.req.Message, v.req.Previous, err = about(p.SystemID); err != nil {
			g.undecided(v, op, "what it is about could not be read", err)
			return
		}
	}
	err = g.ask(ctx, a, v)
	d := &v.decision
	switch {
	case errors.Is(err, ErrPermission) && !errors.Is(err, ErrUndecided):
		g.deny(v, op, "the security refused", err)
		return
	case err != nil:
		g.undecided(v, op, "the security failed", err)
		return
	case !d.Allowed:
		reason := d.Reason
		if reason == "" {
			reason = "the security said no"
		}
		g.deny(v, op, reason, nil)
		return
	}
	v.reason = d.Reason
	v.ticket.perMessage = v.ticket.perMessage || d.PerMessage
	if !d.Until.IsZero() {
		v.ticket.expire(d.Until)
	}
}

// covered checks both bounds of a principal: the grant as it was handed on, and the credential as it was issued.
func covered(p *Principal, channelID string, op Operation, t *ticket) error {
	if p.Grant == nil && p.credential == nil {
		return nil
	}
	now := time.Now()
	if p.Grant != nil {
		if err := p.Grant.Covers(channelID, op, now); err != nil {
			return err
		}
		t.expire(p.Grant.ExpiresAt)
	}
	if p.credential != nil {
		if err := p.credential.covers(channelID, op, now); err != nil {
			return err
		}
		t.expire(p.credential.expires())
	}
	return nil
}

// ask asks the authorizer.
func (g *guard) ask(ctx context.Context, a *authority, v *verdict) (err error) {
	if a.decider != nil {
		v.decision, err = a.decider.Decide(ctx, v.req)
		return err
	}
	p := &v.req.Principal
	if !v.req.local {
		ctx = withPrincipal(ctx, *p)
	}
	d := &v.decision
	switch v.req.Operation.Role() {
	case RoleRead:
		d.Allowed, err = a.AuthorizeRead(ctx, p.SystemID, g.channelID)
	case RoleWrite:
		d.Allowed, err = a.AuthorizeWrite(ctx, p.SystemID, g.channelID)
	case RoleAdmin:
		d.Allowed, err = a.AuthorizeAdmin(ctx, p.SystemID, g.channelID)
	}
	return err
}

// expire makes the ticket end at a time, if it would last longer.
func (t *ticket) expire(at time.Time) { t.until = min(t.until, unixNano(at)) }

// unixNano is t.UnixNano, which is undefined beyond the year 2262, with forever and the beginning of time there.
func unixNano(t time.Time) int64 {
	const most = math.MaxInt64 / int64(time.Second)
	switch s := t.Unix(); {
	case s >= most:
		return forever
	case s <= -most:
		return math.MinInt64
	}
	return t.UnixNano()
}

func grantReason(err error) string {
	if errors.Is(err, ErrExpired) {
		return "the credential has expired"
	}
	return "the credential does not reach that far"
}

func (g *guard) deny(v *verdict, op Operation, reason string, cause error) {
	v.reason = reason
	v.err = denied(v.req.Principal.SystemID, g.channelID, op, reason, cause)
}

// denied is the only maker of a PermissionError.
func denied(systemID, channelID string, op Operation, reason string, cause error) error {
	return &PermissionError{SystemID: systemID, ChannelID: channelID, Operation: op, Reason: reason, Cause: cause}
}

func (g *guard) undecided(v *verdict, op Operation, reason string, cause error) {
	v.reason = reason
	v.err = notDecided(g.channelID, op, cause)
}

// notDecided makes an UndecidedError, which is never also a denial.
func notDecided(channelID string, op Operation, cause error) error {
	if errors.Is(cause, ErrPermission) {
		cause = errors.New(cause.Error())
	}
	return &UndecidedError{ChannelID: channelID, Operation: op, Cause: cause}
}

// again is authorize for something that an earlier ticket allowed, if that does not hold any more. It serves operations
// that reach the driver in between: what the driver returned is handed out only after the ticket was looked at again.
func (g *guard) again(ctx context.Context, who *subject, op Operation, t *ticket) (*ticket, error) {
	if t.stillHolds() {
		return t, nil
	}
	fresh, err := g.authorize(ctx, who, op, nil)
	if err != nil {
		return nil, err
	}
	if fresh.systemID != t.systemID {
		return nil, g.another(op, t)
	}
	return fresh, nil
}

// another is the denial of what a caller did who is not the same as at its start.
func (g *guard) another(op Operation, t *ticket) error {
	return denied(t.systemID, g.channelID, op, "the caller became another", ErrRevoked)
}

// authenticate finds out whom a token proves; a failure makes an event.
func (g *guard) authenticate(ctx context.Context, token string) (p Principal, err error) {
	began := time.Now()
	a, err := g.authority()
	if err == nil {
		p, err = g.askWho(ctx, a, token)
	}
	if err == nil && CheckSystemID(p.SystemID) != nil {
		err = ErrUnauthenticated // without the name, which may be the token
	}
	if err == nil {
		return p, nil
	}
	outcome, reason := Denied, "the credential proves nobody"
	if !errors.Is(err, ErrUnauthenticated) {
		outcome, reason = Undecided, "the authenticator failed"
		err = notDecided(g.channelID, OpAuthenticate, err)
	}
	e := Event{Time: began, ChannelID: g.channelID, Operation: OpAuthenticate, Outcome: outcome, Reason: reason, Latency: time.Since(began)}
	if failed := g.record(ctx, e); failed != nil {
		err = failed
	}
	return Principal{}, err
}

func (g *guard) askWho(ctx context.Context, a *authority, token string) (p Principal, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = Principal{}, fmt.Errorf("the security panicked with a %T", r)
		}
	}()
	return a.Authenticate(ctx, token)
}
