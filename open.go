package chansec

import "context"

// OpenSecurity lets everybody do everything: a token is the name it claims to be (sssn's default). It is for programs
// that trust all they wire together, and for tests. Its principals have no proof, so that transports refuse them.
type OpenSecurity struct{}

var (
	_ ChannelSecurity = OpenSecurity{}
	_ Decider         = OpenSecurity{}
	_ Versioned       = OpenSecurity{}
	_ ContentBlind    = OpenSecurity{}
)

// Authenticate returns a principal without proof whose system ID is the token itself, whatever it is.
func (OpenSecurity) Authenticate(_ context.Context, token string) (Principal, error) {
	return Principal{SystemID: token}, nil
}

// AuthorizeRead says yes.
func (OpenSecurity) AuthorizeRead(context.Context, string, string) (bool, error) { return true, nil }

// AuthorizeWrite says yes.
func (OpenSecurity) AuthorizeWrite(context.Context, string, string) (bool, error) { return true, nil }

// AuthorizeAdmin says yes.
func (OpenSecurity) AuthorizeAdmin(context.Context, string, string) (bool, error) { return true, nil }

// Decide says yes to every known operation.
func (OpenSecurity) Decide(_ context.Context, req Request) (Decision, error) {
	if req.Operation.Role() == "" {
		return Decision{Reason: "unknown operation"}, nil
	}
	return Decision{Allowed: true, Reason: "open"}, nil
}

// GenerateToken returns the system ID. Nothing else of the request is looked at.
func (OpenSecurity) GenerateToken(_ context.Context, req TokenRequest) (string, error) {
	return req.SystemID, nil
}

// Version is always 0, and Changed never closes: there is nothing to change.
func (OpenSecurity) Version() uint64          { return 0 }
func (OpenSecurity) Changed() <-chan struct{} { return nil }

// ContentBlind says that messages make no difference.
func (OpenSecurity) ContentBlind() {}
