package authn

import (
	"context"
	"errors"

	"github.com/chansec/chansec"
)

// Tokens returns a handler for whoever has a token that an authenticator knows, such as a chansec.JWTSecurity. A token that
// it does not know abstains: it may be for another handler. One that is over or revoked is a denial, and so is one of
// somebody else than the request names. Bounds and revocation of the token act on what is opened with it.
func Tokens(a chansec.Authenticator) Handler {
	return HandlerFunc(func(ctx context.Context, r *Request) (Response, error) {
		if len(r.Credentials) == 0 {
			return Response{Answer: Abstain, Reason: "no token"}, nil
		}
		p, err := a.Authenticate(ctx, string(r.Credentials))
		switch {
		case errors.Is(err, chansec.ErrExpired), errors.Is(err, chansec.ErrRevoked):
			return Response{Reason: "the token is over"}, nil
		case errors.Is(err, chansec.ErrUnauthenticated) && !errors.Is(err, chansec.ErrUndecided):
			return Response{Answer: Abstain, Reason: "an unknown token"}, nil
		case err != nil:
			return Response{}, err
		case chansec.CheckSystemID(p.SystemID) != nil:
			return Response{}, invalid("principal of a token", "", "1 to 512 bytes of UTF-8 without control characters")
		case r.Principal != "" && r.Principal != p.SystemID:
			return Response{Reason: "the token of somebody else"}, nil
		}
		return Response{Answer: Allow, Principal: p.SystemID, Proof: p.Proof, Roles: p.Roles, ServerData: p.Attributes, Grant: p.Grant, Verified: &p}, nil
	})
}
