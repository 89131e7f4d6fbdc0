package policy

import "github.com/chansec/chansec"

// Actor is who changes a store or looks at it. Its zero value may do nothing.
type Actor struct {
	principal string
	roles     []string
	known     bool
	root      bool
}

// Root is the program itself: it may do everything, whatever is locked. Hand it to nobody.
func Root() Actor { return Actor{root: true} }

// ActorOf is a principal that was authenticated, with the roles that its authenticator vouches for.
func ActorOf(p chansec.Principal) Actor {
	return Actor{principal: p.SystemID, roles: p.Roles, known: p.SystemID != ""}
}

// ActorNamed is a principal of that name, of whom the program is sure.
func ActorNamed(principal string) Actor { return Actor{principal: principal, known: principal != ""} }

// String returns the name, or "root".
func (a Actor) String() string {
	if a.root {
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
	needs := "Root: the vocabulary has no permission for it"
	if needed != 0 {
		needs = s.config.global.list(needed)[0]
	}
	return &AccessError{Actor: a.String(), Operation: operation, Needs: needs}
}

// AccessError says that an actor may not change the store or look at it. It is chansec.ErrPermission.
type AccessError struct {
	Actor     string
	Operation string
	Needs     string
}

func (e *AccessError) Error() string {
	return "policy: " + quote(e.Actor) + " may not " + e.Operation + ": it takes " + e.Needs
}

// Is makes the error chansec.ErrPermission.
func (e *AccessError) Is(target error) bool { return target == chansec.ErrPermission }
