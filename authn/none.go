package authn

import "context"

// OpenPrincipal is whom None makes of those who give no name.
const OpenPrincipal = "open"

// None returns a handler that lets everybody in under whatever name they give, and those who give none as OpenPrincipal
// (valve.md 15.2). Nothing is verified, and the login says so: its Proof is chansec.ProofNone, which transports refuse
// unless told otherwise. Whoever knows the name of an administrator is one.
func None() Handler {
	return HandlerFunc(func(_ context.Context, r *Request) (Response, error) {
		name := r.Principal
		if name == "" {
			name = OpenPrincipal
		}
		return Response{Answer: Allow, Reason: "everybody is let in", Principal: name}, nil
	})
}
