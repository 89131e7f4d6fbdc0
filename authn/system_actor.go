package authn

import (
	"errors"
	"time"

	"github.com/chansec/chansec"
)

// Actor is who changes a store or looks at it. Its zero value may do nothing.
type Actor struct {
	principal chansec.Principal
	root      bool
}

// Root is the program itself: it may do everything, whatever is locked. Hand it to nobody.
func Root() Actor { return Actor{root: true} }

// ActorOf is a principal that was authenticated. One with a grant must be granted everything.
func ActorOf(p chansec.Principal) Actor { return Actor{principal: p} }

// String returns the name, or "root".
func (a Actor) String() string {
	if a.root {
		return "root"
	}
	return a.principal.SystemID
}

// may returns a AccessError unless the actor holds a permission, and an error that is chansec.ErrUndecided where
// that could not be found out.
func (s *SystemStore) may(a Actor, permission, operation string) error {
	if a.root {
		return nil
	}
	refused := &AccessError{Actor: a.String(), Operation: operation, Needs: permission}
	if a.principal.SystemID == "" || s.config.Permits == nil {
		return refused
	}
	if g := a.principal.Grant; g != nil && (!g.AllChannels || g.Covers("", chansec.OpAdmin, time.Now()) != nil) {
		refused.Needs = "a credential that reaches everything"
		return refused
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
