package policy

import (
	"errors"

	"github.com/chansec/chansec"
)

// Actor is who changes a store or looks at it. Its zero value may do nothing.
type Actor struct {
	principal string
	roles     []string
	known     bool
	root      bool
	caller    chansec.Caller // of a principal that was authenticated; nil for the others
}

// Root is the program itself: it may do everything, whatever is locked. Hand it to nobody.
func Root() Actor { return Actor{root: true} }

// RootFor is Root acting for a principal, whose name is recorded: for a program that did its own checks. Hand it to nobody.
func RootFor(principal string) Actor { return Actor{root: true, principal: principal} }

// IsRoot reports whether the actor is Root, or Root acting for somebody.
func (a Actor) IsRoot() bool { return a.root }

// ActorOf is a principal that was authenticated, with the roles that its authenticator vouches for. What they hold counts
// only with a credential that chansec.Unbounded takes: one that reaches every channel as an administrator, and was not
// revoked.
func ActorOf(p chansec.Principal) Actor {
	return Actor{principal: p.SystemID, roles: p.Roles, known: p.SystemID != "", caller: chansec.StaticCaller(p)}
}

// reaches returns an AccessError, or an error that is chansec.ErrUndecided, if the actor's credential does not reach as far
// as to administrate, whatever the actor holds.
func (a Actor) reaches(operation string) error {
	if a.caller == nil || !a.known {
		return nil
	}
	_, err := chansec.Unbounded(a.caller)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, chansec.ErrUndecided):
		return err
	}
	return &AccessError{Actor: a.String(), Operation: operation, Needs: "a credential that reaches everything: " + err.Error()}
}

// ActorNamed is a principal of that name, of whom the program is sure.
func ActorNamed(principal string) Actor { return Actor{principal: principal, known: principal != ""} }

// May reports whether an actor holds a path permission at a path, now: by what is stored for its name, and by the roles
// that its authenticator vouches for, if its credential reaches as far as to administrate. Root holds everything. An
// unknown permission is an error, and so are a credential of which nobody can say whether it still holds, and a store that
// is suspended.
func (s *Store) May(a Actor, permission, path string) (bool, error) {
	bit, err := s.config.path.bit(permission)
	if err != nil {
		return false, err
	}
	if a.root {
		return true, nil
	}
	if err := a.reaches("do anything"); errors.Is(err, chansec.ErrUndecided) {
		return false, err
	} else if err != nil || !a.known {
		return false, nil
	}
	is := s.current.Load()
	if is.suspended != nil {
		return false, is.suspended
	}
	var set roleSet
	defer set.release()
	is.held(&set, a.principal)
	is.vouched(&set, a.roles)
	return is.evaluate(&set, path, bit, nil).granted == bit, nil
}

// String returns the name, or "root".
func (a Actor) String() string {
	if a.root && a.principal == "" {
		return "root"
	}
	return a.principal
}

// may returns an AccessError unless the actor holds a global permission; 0 is one that nobody holds.
func (s *state) may(a Actor, needed permissions, operation string) error {
	if a.root {
		return nil
	}
	if a.known && needed != 0 {
		var set roleSet
		defer set.release()
		s.held(&set, a.principal)
		s.vouched(&set, a.roles)
		if set.globals&needed == needed {
			return nil
		}
	}
	return s.lacks(a, needed, operation)
}

// lacks says that an actor does not hold a global permission.
func (s *state) lacks(a Actor, needed permissions, operation string) *AccessError {
	needs := "Root: the vocabulary has no permission for it"
	if needed != 0 {
		needs = s.config.global.list(needed)[0]
	}
	return &AccessError{Actor: a.String(), Operation: operation, Needs: needs}
}

// AccessError says that an actor may not change the store or look at it. It is chansec.ErrPermission, and its Kind, if it
// has one.
type AccessError struct {
	Kind      Kind // NoAdminRole, NoAdminTopic or empty
	Actor     string
	Operation string
	Needs     string
}

func (e *AccessError) Error() string {
	return "policy: " + quote(e.Actor) + " may not " + e.Operation + ": it takes " + e.Needs
}

// Is makes the error chansec.ErrPermission, and its Kind.
func (e *AccessError) Is(target error) bool {
	return target == chansec.ErrPermission || e.Kind != "" && target == e.Kind
}

// administratorLeft refuses a change by anybody but Root after which no stored principal may change the store for good,
// where one could before.
func (s *state) administratorLeft(after *state, actor Actor) error {
	if actor.root || s.config.modify == 0 || after.administers(actor.principal) {
		return nil
	}
	for _, x := range []*state{after, s} {
		for name := range x.principals.All() {
			if !x.administers(name) {
				continue
			}
			if x == after {
				return nil
			}
			return refuse(LastAdministrator, "principal", name, "another one with "+s.config.global.list(s.config.modify)[0])
		}
	}
	return nil
}

// administers reports whether a principal holds the permission to change the store by roles that are stored for it without
// an end.
func (s *state) administers(name string) bool {
	p, ok := s.principals.Get(hashText(name), name)
	if !ok {
		return false
	}
	for _, m := range p.holds {
		if m.until == 0 && s.role(m.role).allGlobals&s.config.modify != 0 {
			return true
		}
	}
	return false
}
