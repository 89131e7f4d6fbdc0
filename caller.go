package chansec

import (
	"context"
	"sync/atomic"
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

// StaticCaller returns a caller that is always the same principal: the holder of one token. The token's expiry and
// revocation act all the same, since the guard watches both.
func StaticCaller(p Principal) Caller { return staticCaller{p} }

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

// principal fills in who the subject is now, and returns the channel that is closed when that changes. The channel is
// taken first, so that no change falls between the two.
func (s *subject) principal(p *Principal) (changed <-chan struct{}, err error) {
	p.SystemID = s.systemID
	if s.err != nil || s.caller == nil {
		return nil, s.err
	}
	changed = s.caller.Changed()
	if *p, err = s.caller.Principal(); err != nil {
		return changed, err
	}
	return changed, CheckSystemID(p.SystemID)
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
