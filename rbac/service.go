package rbac

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/chansec/chansec"
)

// Verifier finds out what a token says. [Tokens] is one; others serve for tokens of a foreign issuer. It may be asked from
// many goroutines at once.
type Verifier interface {
	// Verify returns the claims of a token, or an error: chansec.ErrExpired where only the time is wrong. The error must
	// not hold the token.
	Verify(ctx context.Context, token string) (*Claims, error)
}

// Service decides on requests by rules. It is immutable and may be used from many goroutines at once. The zero Service and
// a nil one refuse everything.
type Service struct {
	rules    rules
	verifier Verifier
	check    func(context.Context, Request) Decision
	original bool
}

// Option configures a Service.
type Option func(*Service) error

// OriginalStatus answers with the statuses and bodies of AppKernel's own implementation, which has 403 for a token that
// is no good, instead of those of RFC 6750.
func OriginalStatus() Option { return func(s *Service) error { s.original = true; return nil } }

// Check decides instead of the rules, about every request of the service (appkernel.md 8). It may be called from many
// goroutines at once. The rules, which may be nil then as the verifier may, say nothing any more but which actions exist.
func Check(check func(ctx context.Context, r Request) Decision) Option {
	return func(s *Service) error {
		s.check = check
		if check == nil {
			return invalid("check", "nil", "a function")
		}
		return nil
	}
}

// NewService returns what decides by the rules as they are now. It fails with a [RuleError] for every call on the rules that
// makes no sense, or with a chansec.InvalidError.
func NewService(v Verifier, r *Rules, opts ...Option) (*Service, error) {
	s := &Service{verifier: v}
	var errs []error
	for _, opt := range opts {
		if opt == nil {
			errs = append(errs, invalid("option", "nil", "an rbac.Option"))
			continue
		}
		errs = append(errs, opt(s))
	}
	if v == nil && s.check == nil {
		errs = append(errs, invalid("verifier", "nil", "what verifies tokens, such as rbac.NewTokens returns"))
	}
	switch {
	case r != nil:
		errs = append(errs, r.errs...)
		s.rules = r.inForce()
	case s.check == nil:
		errs = append(errs, invalid("rules", "nil", "new(rbac.Rules), which is without rules and lets nobody do anything"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Request is what a Service decides on.
type Request struct {
	Method   string
	Endpoint string      // the name of an action; empty or Every is a default endpoint
	Header   http.Header // only Authorization is looked at
	Params   Params      // of the path of the route that matched; nil has none
}

// Decision is the answer to a request. Its zero value is a refusal.
type Decision struct {
	Allowed bool
	Reason  Reason
	Claims  *Claims // of the token, if it was looked at and is valid; read-only
}

// Reason says why a request was allowed or refused.
type Reason string

// The reasons (appkernel.md 5).
const (
	AllowedToAll Reason = "anonymous"
	ByRole       Reason = "role"
	BySubject    Reason = "subject"
	ByAuthority  Reason = "authority" // a permission of your own

	NoRule          Reason = "no-rule"
	DeniedToAll     Reason = "denied"
	MissingHeader   Reason = "missing-header"
	MalformedHeader Reason = "malformed-header"
	InvalidToken    Reason = "invalid-token"
	Expired         Reason = "expired"
	Insufficient    Reason = "insufficient"
)

// Authorize decides on a request.
func (s *Service) Authorize(ctx context.Context, req Request) Decision {
	if s == nil {
		return Decision{Reason: NoRule}
	}
	if s.check != nil {
		return s.check(ctx, req)
	}
	if req.Endpoint == "" {
		req.Endpoint = Every
	}
	r := s.rules.find(req.Method, req.Endpoint)
	switch {
	case r == nil:
		return Decision{Reason: NoRule}
	case r.denied, r.anonymous:
		return r.judge(nil, nil)
	}
	token, problem := bearer(req.Header)
	if problem != "" {
		return Decision{Reason: problem}
	}
	claims, err := s.verifier.Verify(ctx, token)
	switch {
	case errors.Is(err, chansec.ErrExpired):
		return Decision{Reason: Expired}
	case err != nil, claims == nil:
		return Decision{Reason: InvalidToken}
	}
	if req.Params == nil {
		req.Params = func(string) string { return "" }
	}
	return r.judge(claims, req.Params)
}

// bearer returns the token of the one header Authorization (appkernel.md 5, steps 3 and 4).
func bearer(h http.Header) (token string, problem Reason) {
	values := h["Authorization"]
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return "", MissingHeader
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", MalformedHeader
	}
	return token, ""
}
