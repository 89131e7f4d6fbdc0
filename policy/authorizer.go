package policy

import (
	"context"
	"time"

	"github.com/chansec/chansec"
)

// Authorizer decides on channels by a store: the channel's ID is the path, and the store's vocabulary says which
// permissions an operation takes. It may be used from many goroutines at once.
//
// AuthorizeRead says yes only where subscribing is allowed as well, since chansec asks it for both; Decide tells them
// apart.
type Authorizer struct {
	store      *Store
	storedOnly bool
}

var (
	_ chansec.Authorizer   = (*Authorizer)(nil)
	_ chansec.Decider      = (*Authorizer)(nil)
	_ chansec.Affected     = (*Authorizer)(nil)
	_ chansec.ContentBlind = (*Authorizer)(nil)
)

// AuthorizerOption configures an Authorizer.
type AuthorizerOption func(*Authorizer)

// StoredRolesOnly ignores the roles that authenticators vouch for.
func StoredRolesOnly() AuthorizerOption { return func(a *Authorizer) { a.storedOnly = true } }

// Authorizer returns what decides by the store, as it will be at every time. A principal's roles are those stored for its
// name, those of all named sessions, and Principal.Roles.
func (s *Store) Authorizer(opts ...AuthorizerOption) *Authorizer {
	a := &Authorizer{store: s}
	for _, opt := range opts {
		opt(a)
	}
	return a
}

// ContentBlind says that messages make no difference.
func (a *Authorizer) ContentBlind() {}

// Version returns the store's revision, or another number while it is suspended and afterwards.
func (a *Authorizer) Version() uint64 { return a.store.current.Load().version() }

// Changed returns a channel that is closed at the next change of the store.
func (a *Authorizer) Changed() <-chan struct{} { return a.store.Changed() }

// AffectedSince returns whom the changes of the store after a version were about.
func (a *Authorizer) AffectedSince(version uint64) []string { return a.store.AffectedSince(version) }

// AuthorizeRead reports whether the system may read and subscribe to the channel.
func (a *Authorizer) AuthorizeRead(_ context.Context, systemID, channelID string) (bool, error) {
	return a.authorize(systemID, channelID, a.store.config.subscribe)
}

// AuthorizeWrite reports whether the system may write the channel.
func (a *Authorizer) AuthorizeWrite(_ context.Context, systemID, channelID string) (bool, error) {
	return a.authorize(systemID, channelID, a.store.config.write)
}

// AuthorizeAdmin reports whether the system may administer the channel.
func (a *Authorizer) AuthorizeAdmin(_ context.Context, systemID, channelID string) (bool, error) {
	return a.authorize(systemID, channelID, a.store.config.admin)
}

func (a *Authorizer) authorize(systemID, channelID string, needed permissions) (bool, error) {
	s := a.store.current.Load()
	if s.suspended != nil {
		return false, s.suspended
	}
	var set roleSet
	defer set.release()
	s.held(&set, systemID)
	return s.evaluate(&set, channelID, needed, nil).granted == needed, nil
}

// Decide decides by the principal's name and roles. Its Rule is the path that decided.
func (a *Authorizer) Decide(_ context.Context, req chansec.Request) (chansec.Decision, error) {
	s := a.store.current.Load()
	needed := s.config.needs(req.Operation)
	if needed == 0 {
		return chansec.Decision{Reason: "unknown operation", Version: s.version()}, s.suspended
	}
	return a.decide(s, &req.Principal, needed, req.ChannelID)
}

// Check decides as Decide does, but by one path permission of the store's vocabulary, whatever channel operation it stands
// for, if any: that is how other things than channels are guarded, such as the procedures of a router (sqlauth.md 4).
// An unknown permission is an error.
func (a *Authorizer) Check(p chansec.Principal, permission, path string) (chansec.Decision, error) {
	s := a.store.current.Load()
	needed, err := s.config.path.bit(permission)
	if err != nil {
		return chansec.Decision{Version: s.version()}, err
	}
	return a.decide(s, &p, needed, path)
}

func (a *Authorizer) decide(s *state, p *chansec.Principal, needed permissions, path string) (d chansec.Decision, _ error) {
	d.Version = s.version()
	if s.suspended != nil {
		return d, s.suspended
	}
	var set roleSet
	defer set.release()
	s.held(&set, p.SystemID)
	if !a.storedOnly {
		s.vouched(&set, p.Roles)
	}
	found := s.evaluate(&set, path, needed, nil)
	d.Allowed = found.granted == needed
	d.Rule = found.rule(path)
	d.Reason = found.basis.reason(d.Allowed)
	if set.until != 0 {
		d.Until = time.Unix(0, set.until)
	}
	return d, nil
}

// rule is what decided, in a word: a path, "<default>", or nothing.
func (a answer) rule(path string) string {
	switch a.basis {
	case Assigned, IsolatedPath:
		return path[:a.end]
	case Defaults:
		return "<default>"
	}
	return ""
}

// reason says for people what kind of fact decided.
func (b Basis) reason(allowed bool) string {
	switch {
	case b == Assigned && allowed:
		return "assigned"
	case b == Assigned:
		return "what is assigned there does not allow it"
	case b == IsolatedPath:
		return "the path is isolated"
	case b == Defaults && allowed:
		return "allowed by default"
	case b == Defaults:
		return "nothing is assigned there, and the defaults do not allow it"
	}
	return "no role allows it there"
}
