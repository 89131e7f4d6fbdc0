package authn

import (
	"context"
	"slices"
)

var _ Handler = (*SystemStore)(nil)

// Authenticate answers by the store (diffusion.md 9.3). Without a principal the answer is what the store says about that. A
// principal that it knows is allowed with the right password, as the credentials, and denied with another; somebody whom
// it does not know is left to the next handler. It takes the same time to hash whoever it is, and whatever the password.
//
// Whoever is allowed has the roles of the request, those of the principal, and of the properties that the client proposed
// those that are trusted. An error is ErrOverloaded, if too many wait for a processor, or the context's.
func (s *SystemStore) Authenticate(ctx context.Context, r *Request) (Response, error) {
	if r.Principal == "" {
		is := s.current.Load()
		a := Response{Answer: is.anonymous, Reason: "what the store says of anonymous connections"}
		if a.Answer == Allow {
			a.Roles, a.Properties = united(r.Roles, is.anonymousRoles), is.trustedOf(r.Proposed)
		}
		return a, nil
	}
	for {
		is := s.current.Load()
		var stored *Password
		if p := is.principals[r.Principal]; p != nil {
			stored = p.password
		}
		right := false
		err := s.hashing.do(ctx, func() (err error) {
			right, err = is.work.verify(stored, r.Credentials)
			return err
		})
		switch {
		case err != nil:
			return Response{Reason: "the password could not be hashed"}, err
		case stored == nil:
			return Response{Answer: Abstain, Reason: "no such principal"}, nil
		case !right:
			return Response{Answer: Deny, Reason: "another password"}, nil
		}
		// It took a while: what counts is the store as it is now.
		is = s.current.Load()
		if p := is.principals[r.Principal]; p != nil && p.password == stored {
			return Response{
				Answer: Allow, Reason: "the password is right", Principal: r.Principal, Proof: ProofPassword,
				Roles: united(r.Roles, p.roles), Properties: is.trustedOf(r.Proposed),
			}, nil
		}
	}
}

// single makes the handler one of which a chain has one at most (diffusion.md 9).
func (s *SystemStore) single() string { return "system" }

// united returns all of two lists, sorted, each once.
func united(x, y []string) []string {
	return append([]string{}, slices.Compact(slices.Sorted(slices.Values(slices.Concat(x, y))))...)
}

// trustedOf returns the properties that are trusted and whose values are.
func (s *systemState) trustedOf(proposed map[string]string) map[string]string {
	kept := map[string]string{}
	for name, value := range proposed {
		if v := s.trusted[name]; v != nil && v.accepts(value) {
			kept[name] = value
		}
	}
	return kept
}
