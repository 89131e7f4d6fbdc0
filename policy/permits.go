package policy

import "github.com/chansec/chansec"

// Permits reports whether a principal holds a global permission, by the roles stored for it, those that every session with
// a principal has, and those that its authenticator vouches for. Nobody without a name holds any. An unknown permission
// is an error. The stores and services of other rooms ask it who may administrate them, after they asked chansec.Unbounded
// about the credential, at which this does not look.
func (s *Store) Permits(p chansec.Principal, permission string) (bool, error) {
	is := s.current.Load()
	if is.suspended != nil {
		return false, is.suspended
	}
	bit, err := is.config.global.bit(permission)
	if err != nil {
		return false, err
	}
	return is.may(ActorOf(p), bit, "") == nil, nil
}
