package authn

import (
	"errors"

	"github.com/chansec/chansec"
)

// Actor is who changes a store or looks at it. Its zero value may do nothing.
type Actor struct {
	principal chansec.Principal
	root      bool
}

// Root is the program itself: it may do everything, whatever is locked. Hand it to nobody.
func Root() Actor { return Actor{root: true} }

// ActorOf is a principal that was authenticated, with a credential that chansec.Unbounded takes.
func ActorOf(p chansec.Principal) Actor { return Actor{principal: p} }

// String returns the name, or "root".
func (a Actor) String() string {
	if a.root {
		return "root"
	}
	return a.principal.SystemID
}

// may returns an AccessError unless the actor holds a permission, and an error that is chansec.ErrUndecided where
// that could not be found out.
func (s *SystemStore) may(a Actor, permission, operation string) error {
	if a.root {
		return nil
	}
	refused := &AccessError{Actor: a.String(), Operation: operation, Needs: permission}
	if a.principal.SystemID == "" || s.config.Permits == nil {
		return refused
	}
	if p, err := chansec.Unbounded(chansec.StaticCaller(a.principal)); err != nil {
		return unreaching(p, operation, err)
	}
	switch ok, err := s.config.Permits(a.principal, permission); {
	case err != nil:
		if errors.Is(err, chansec.ErrPermission) {
			err = errors.New(err.Error())
		}
		return &chansec.UndecidedError{Operation: chansec.OpAdmin, Cause: err}
	case !ok:
		return refused
	}
	return nil
}
