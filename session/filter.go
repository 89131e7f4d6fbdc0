package session

import (
	"time"

	"github.com/chansec/chansec"
)

// Filter says which sessions are meant. Its zero value is none, and refused wherever one is asked for; All is all.
type Filter struct {
	match func(Info) bool
	id    *string // only the session of that ID may match
	name  *string // only sessions of that principal may match
}

// All is every session.
var All = Where(func(Info) bool { return true })

// Where is the sessions for which a function says yes. It must not change sessions, and returns quickly.
func Where(match func(Info) bool) Filter { return Filter{match: match} }

// ID is the session of that ID.
func ID(id string) Filter {
	return Filter{func(i Info) bool { return i.ID == id }, &id, nil}
}

// OfPrincipal is the sessions of a principal; the empty name is the anonymous ones.
func OfPrincipal(name string) Filter {
	return Filter{func(i Info) bool { return i.Principal == name }, nil, &name}
}

// WithRole is the sessions that have a role.
func WithRole(role string) Filter {
	return Where(func(i Info) bool { return i.HasRole(role) })
}

// WithProperty is the sessions of which a property, fixed or the user's, has a value.
func WithProperty(name, value string) Filter {
	return Where(func(i Info) bool {
		v, ok := i.Property(name)
		return ok && v == value
	})
}

// Over is the sessions of a transport, such as "http".
func Over(transport string) Filter {
	return Where(func(i Info) bool { return i.Transport == transport })
}

// OpenedBefore is the sessions that are older.
func OpenedBefore(t time.Time) Filter {
	return Where(func(i Info) bool { return i.Since.Before(t) })
}

// UnseenSince is the sessions whose last sign of life was before a time.
func UnseenSince(t time.Time) Filter {
	return Where(func(i Info) bool { return i.LastSeen.Before(t) })
}

// And is the sessions that both filters mean.
func (f Filter) And(g Filter) Filter {
	if f.match == nil || g.match == nil {
		return Filter{}
	}
	both := Filter{func(i Info) bool { return f.match(i) && g.match(i) }, f.id, f.name}
	if both.id == nil {
		both.id = g.id
	}
	if both.name == nil {
		both.name = g.name
	}
	return both
}

// Not is the sessions that a filter does not mean. That of the zero value is still none.
func (f Filter) Not() Filter {
	if f.match == nil {
		return Filter{}
	}
	return Where(func(i Info) bool { return !f.match(i) })
}

// Matches reports whether a session is meant.
func (f Filter) Matches(i Info) bool { return f.match != nil && f.match(i) }

func (f Filter) check() error {
	if f.match == nil {
		return &chansec.InvalidError{What: "filter", Value: "none", Want: "which sessions are meant; session.All is all"}
	}
	return nil
}

// candidatesLocked returns the sessions that may match, in the order in which they were opened, or became the principal's.
func (s *Sessions) candidatesLocked(f Filter) []*Session {
	switch {
	case f.id != nil:
		if n := s.byID[*f.id]; n != nil {
			return []*Session{n}
		}
		return nil
	case f.name != nil:
		if r := s.byName[*f.name]; r != nil {
			return r.snapshot()
		}
		return nil
	}
	return s.all.snapshot()
}

// matched is a session and the state in which a filter meant it.
type matched struct {
	*Session
	is *state
}

// meant returns the sessions that a filter means. The filter is asked without the mutex: whoever acts on the result under it
// looks whether the state is still the same, and has the filter asked again about those of which it is not.
func (s *Sessions) meant(f Filter) []matched {
	s.mu.Lock()
	list := s.candidatesLocked(f)
	s.mu.Unlock()
	return f.among(list)
}

// among returns those sessions of a list that the filter means.
func (f Filter) among(list []*Session) []matched {
	meant := make([]matched, 0, len(list))
	for _, n := range list {
		if is := n.state.Load(); is.ended == nil && f.match(n.info(is)) {
			meant = append(meant, matched{n, is})
		}
	}
	return meant
}
