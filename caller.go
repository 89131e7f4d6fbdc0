package chansec

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"
)

// Caller is somebody whose credential was verified, as they are now. A port made by For asks it at every operation and
// delivery, so that a refresh, a change of principal, a kick or an expiry acts on what is already open. It may be called
// from many goroutines at once.
type Caller interface {
	// Principal returns who the caller is now, or an error if they are nobody any more, which ends what they hold.
	Principal() (Principal, error)
	// Changed returns a channel that is closed when what Principal returns becomes another than it is now, or nil if
	// that never happens. A change is published before the channel is closed, and the channel is closed before
	// the call that made the change returns.
	Changed() <-chan struct{}
}

// Expiring is a Caller who is nobody from some time on. The guard holds the time of every message against it, as it does
// with a credential's, so that none is delivered that was written between that time and the moment somebody notices.
type Expiring interface {
	Caller
	// ExpiresAt returns the end of what Principal returns; zero is never. To move it is a change.
	ExpiresAt() time.Time
}

// StaticCaller returns a caller that is always the same principal: the holder of one token. The token's expiry and
// revocation act all the same, since the guard watches both. Only a principal that Live returned becomes whatever its caller does.
func StaticCaller(p Principal) Caller {
	if p.live == nil {
		return staticCaller{p}
	}
	as := p
	as.live = nil
	return &liveCaller{live: p.live, as: as, altered: !p.live.was.same(&as)}
}

// Live returns who a caller is now, tied to the caller: what a transport opens for the principal follows the caller from then
// on. It is what an Authenticator returns whose tokens stand for something that changes and ends, such as a session.
func Live(c Caller) (Principal, error) {
	if c == nil {
		return Principal{}, &InvalidError{What: "caller", Value: "nil", Want: "a Caller"}
	}
	p, err := c.Principal()
	if err != nil {
		return Principal{}, err
	}
	p.live = &liveness{c, p}
	return p, nil
}

// liveness is what a principal of Live is tied to.
type liveness struct {
	Caller
	was Principal
}

// liveCaller follows the caller behind a principal. Where that principal was altered on its way, by a decorator that narrows
// its grant perhaps, it stays as it was altered, and is over when the caller changes: nobody could say what to make of that.
type liveCaller struct {
	live    *liveness
	as      Principal
	altered bool
}

func (c *liveCaller) Principal() (Principal, error) {
	now, err := c.live.Principal()
	switch {
	case err != nil || !c.altered:
		return now, err
	case !now.same(&c.live.was):
		return Principal{}, fmt.Errorf("%w: the caller changed after something else had altered who it is", ErrRevoked)
	}
	return c.as, nil
}

func (c *liveCaller) Changed() <-chan struct{} { return c.live.Changed() }

func (c *liveCaller) ExpiresAt() (at time.Time) {
	if e, ok := c.live.Caller.(Expiring); ok {
		at = e.ExpiresAt()
	}
	return at
}

// same reports whether two principals are the same, down to the grant and the attributes that they share.
func (p *Principal) same(q *Principal) bool {
	return p.SystemID == q.SystemID && p.Proof == q.Proof && p.Grant == q.Grant && p.credential == q.credential &&
		slices.Equal(p.Roles, q.Roles) && reflect.ValueOf(p.Attributes).Pointer() == reflect.ValueOf(q.Attributes).Pointer()
}

type staticCaller struct{ principal Principal }

func (c staticCaller) Principal() (Principal, error) { return c.principal, nil }
func (c staticCaller) Changed() <-chan struct{}      { return nil }

// subject is whom a port acts for: a name that the program wired (As) or a caller (For).
type subject struct {
	systemID string
	caller   Caller // nil for a wired name
	err      error  // a name or caller that can never be allowed anything

	last [4]atomic.Pointer[ticket] // yes to the operations that ports do again and again
}

// kept is where the last yes to an operation is kept; nil for the rarer ones.
func (s *subject) kept(op Operation) *atomic.Pointer[ticket] {
	switch op {
	case OpWrite:
		return &s.last[0]
	case OpRead:
		return &s.last[1]
	case OpClaim:
		return &s.last[2]
	case OpAcknowledge:
		return &s.last[3]
	}
	return nil
}

func wired(systemID string) *subject {
	return &subject{systemID: systemID, err: CheckSystemID(systemID)}
}

func verified(caller Caller) *subject {
	if caller == nil {
		return &subject{err: &InvalidError{What: "caller", Value: "nil", Want: "a Caller"}}
	}
	return &subject{caller: caller}
}

// principal fills in who the subject is now, and, in the ticket, how long that lasts: the channel that is closed when it
// changes, which is taken first, so that no change falls between the two, and the caller's end.
func (s *subject) principal(p *Principal, t *ticket) (err error) {
	p.SystemID = s.systemID
	if s.err != nil || s.caller == nil {
		return s.err
	}
	t.changed = s.caller.Changed()
	if *p, err = s.caller.Principal(); err != nil {
		return err
	}
	if e, ok := s.caller.(Expiring); ok {
		if at := e.ExpiresAt(); !at.IsZero() {
			if t.expire(at); !time.Now().Before(at) {
				return ErrExpired
			}
		}
	}
	if p.live != nil {
		// The principal was another caller's when this one took it over, as that of a session that was opened with the token
		// of a session. It is over when that one changes, of which nothing is heard here: it is asked each time.
		if _, err := (&liveCaller{live: p.live, as: *p, altered: true}).Principal(); err != nil {
			return err
		}
		t.perMessage = true
	}
	return CheckSystemID(p.SystemID)
}

// Unbounded returns who a caller is now, for what concerns no single channel, such as to administrate: their time is not over,
// their credential was not revoked, and it reaches every channel as an administrator, or has no bound at all. The error is
// that of Caller.Principal, ErrExpired, ErrRevoked or ErrGrant, an InvalidError for a name that nobody can have, and
// ErrUndecided where the caller panicked, or nobody can say whether the credential was revoked; beside what is wrong with a
// credential the principal is whose it was. What somebody who is unbounded may do is another question.
func Unbounded(c Caller) (p Principal, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = Principal{}, &UndecidedError{Operation: OpAdmin, Cause: fmt.Errorf("the caller panicked with a %T", r)}
		}
	}()
	var t ticket
	if err := verified(c).principal(&p, &t); err != nil {
		return Principal{}, err
	}
	if k := p.credential; k != nil {
		if err := k.revoked(); err != nil {
			return p, err
		}
	}
	if err := covered(&p, "", OpAdmin, &t); err != nil {
		return p, err
	}
	if p.Grant != nil && !p.Grant.AllChannels {
		return p, ErrGrant
	}
	return p, nil
}

// principalKey carries the principal of a For port to those parts of this package that are asked by name only. It is
// never read as a source of identity: it can turn the in-process yes of JWTSecurity into a no, and nothing else.
type principalKey struct{}

func withPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

func principalOf(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}
