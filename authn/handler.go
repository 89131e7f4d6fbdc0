package authn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/chansec/chansec"
)

// Answer is what a handler says to a request. Its zero value is Deny.
type Answer uint8

// The answers.
const (
	Deny    Answer = iota // final: nobody else is asked
	Allow                 // final
	Abstain               // the next handler is asked; where there is none, it is a denial
)

func (a Answer) String() string {
	switch a {
	case Deny:
		return "deny"
	case Allow:
		return "allow"
	case Abstain:
		return "abstain"
	}
	return fmt.Sprintf("Answer(%d)", uint8(a))
}

// Handler finds out whether somebody is who they say they are (diffusion.md 9.2). It may be called from many goroutines at
// once, and must not keep what the request refers to. Its error counts as Deny, whatever the response is, and must not
// hold credentials.
type Handler interface {
	Authenticate(ctx context.Context, r *Request) (Response, error)
}

// HandlerFunc makes a handler of a function.
type HandlerFunc func(ctx context.Context, r *Request) (Response, error)

// Authenticate calls f.
func (f HandlerFunc) Authenticate(ctx context.Context, r *Request) (Response, error) {
	return f(ctx, r)
}

// Request is somebody who wants to be let in, or an open session that wants to be somebody else. It is read-only.
type Request struct {
	Principal   string // whom they say they are; empty is anonymous
	Credentials []byte // what is to prove it, in a form that the handler understands: a password, a token

	Change     bool              // of the principal of an open session
	Properties map[string]string // of that session, or of who is about to have one: then fixed ones only, with $Principal as proposed
	Proposed   map[string]string // what the client wants its properties to be. Hostile: copy nothing unchecked
	Roles      []string          // what they have if the handler does not say otherwise

	Connection Connection
}

// Connection is how somebody came.
type Connection struct {
	Transport  string // such as "http"
	RemoteAddr string
	Header     http.Header
	TLS        *tls.ConnectionState // nil without TLS
}

// Format writes the request without its credentials, headers and properties, whatever the verb.
func (r Request) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "authn.Request{Principal: %q, Change: %t, Connection: %v}", r.Principal, r.Change, r.Connection)
}

// LogValue logs the request without its credentials, headers and properties.
func (r Request) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// MarshalJSON fails: a request is not for writing down.
func (r Request) MarshalJSON() ([]byte, error) {
	return nil, errors.New("authn: a request holds credentials and is not written as JSON")
}

// Format writes the connection without its headers, whatever the verb.
func (c Connection) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "authn.Connection{Transport: %q, RemoteAddr: %q, TLS: %t}", c.Transport, c.RemoteAddr, c.TLS != nil)
}

// MarshalJSON fails, as that of Request does.
func (c Connection) MarshalJSON() ([]byte, error) { return Request{}.MarshalJSON() }

// LogValue logs the connection without its headers.
func (c Connection) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Response is the answer to a request. Its zero value is a denial. For Deny and Abstain only Reason and ClientData count.
type Response struct {
	Answer Answer
	Reason string // for the audit trail, never shown to the caller; no credentials

	Principal  string            // who they are; empty is the name in the request
	Proof      chansec.Proof     // how that was proved
	Roles      []string          // nil: the default ones, see Chain.Login. Not nil: exactly these
	Properties map[string]string // of the session; of those with a leading $ only those that a handler may set count
	ServerData map[string]any    // kept for rules: the principal's attributes
	ClientData any               // returned to the caller, as JSON; also with Deny
	Grant      *chansec.Grant    // the most that the credential lets them do; nil sets no bound
	ExpiresAt  time.Time         // when the session ends unless it is renewed; zero is never

	// Verified is what a chansec.Authenticator found out, where one was asked: the revocation of that credential, and its
	// bound, go on to act on who was let in. The other fields say who that is.
	Verified *chansec.Principal
}

// Login is somebody who was let in.
type Login struct {
	Principal  chansec.Principal // SystemID is empty for an anonymous one
	Properties map[string]string
	ClientData any
	ExpiresAt  time.Time // zero is never
	By         string    // the name of the handler that let them in
	Votes      []Vote    // of all handlers that were asked and counted, in the order of the chain
}

// Vote is what one handler of a chain said. It holds no credentials.
type Vote struct {
	Handler string
	Answer  Answer // Deny where Err is not nil
	Reason  string
	Err     error // a failure, a panic or a time-out
	Took    time.Duration
}

// RefusedError is why somebody was not let in. It is chansec.ErrUnauthenticated, unless a handler failed: then nobody could
// say, and it is chansec.ErrUndecided and whatever the failure is.
type RefusedError struct {
	By         string // the name of the handler that refused; empty where all abstained
	Votes      []Vote
	ClientData any   // what the handler wants the caller to know, as JSON
	Err        error // the failure; nil for a plain no
}

// Error says no more than that, so that whoever tries learns nothing.
func (e *RefusedError) Error() string {
	switch {
	case e.Err != nil && e.By != "":
		return "authn: not authenticated: the handler " + strconv.Quote(e.By) + " failed"
	case e.Err != nil:
		return "authn: not authenticated: no handler could be asked"
	}
	return "authn: not authenticated"
}

// Is makes the error chansec.ErrUndecided or chansec.ErrUnauthenticated.
func (e *RefusedError) Is(target error) bool {
	if e.Err != nil {
		return target == chansec.ErrUndecided
	}
	return target == chansec.ErrUnauthenticated
}

// Unwrap returns the failure.
func (e *RefusedError) Unwrap() error { return e.Err }
