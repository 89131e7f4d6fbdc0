package rbac

import (
	"context"
	"encoding/json"
	"net/http"
)

// Middleware returns what guards the handlers of an endpoint: the name of an action, or Every for a default endpoint. It
// belongs around the handler that is registered with a http.ServeMux, never around the mux: it decides by the pattern that
// the mux matched and by its path values (http.Request.PathValue), so that nobody matches twice. A request without a
// matched pattern is refused.
//
// An action that the rules do not know is a chansec.InvalidError. OPTIONS is a method as any other: what answers pre-flight
// requests belongs outside. A HEAD takes what GET takes unless there is a rule for it.
//
// [Mux] does the same for many routes, and checks that each has a rule.
func (s *Service) Middleware(endpoint string) (func(http.Handler) http.Handler, error) {
	if !s.knows(endpoint) {
		return nil, invalid("action", quote(endpoint), "one that the rules of the service name")
	}
	return func(next http.Handler) http.Handler {
		if next == nil {
			return nil // as a mux wants it: it refuses it
		}
		return &guard{s, endpoint, next}
	}, nil
}

// knows reports whether there is an endpoint.
func (s *Service) knows(endpoint string) bool {
	return s != nil && (endpoint == Every || s.rules.named[endpoint])
}

// guard is a handler behind the rules of a service.
type guard struct {
	service  *Service
	endpoint string
	next     http.Handler
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := Decision{Reason: NoRule}
	if r.Pattern != "" {
		d = g.service.Authorize(r.Context(), Request{Method: r.Method, Endpoint: g.endpoint, Header: r.Header, Params: r.PathValue})
	}
	if !d.Allowed {
		d.Reason.refuse(w, g.service.original)
		return
	}
	if d.Claims != nil {
		r = r.WithContext(context.WithValue(r.Context(), claimsKey{}, d.Claims))
	}
	g.next.ServeHTTP(w, r)
}

type claimsKey struct{}

// ClaimsFrom returns what the token of a request says that was let in. ok is false where no token was looked at, because
// the rule lets everybody in.
func ClaimsFrom(ctx context.Context) (claims *Claims, ok bool) {
	claims, ok = ctx.Value(claimsKey{}).(*Claims)
	return claims, ok
}

// answer is how a reason is told to a client. Its texts are constant.
type answer struct {
	status, original int
	kind             string // the type of the problem, as the root package has it
	message          string
	challenge        []string
	body, bare       []byte
}

// answers are those to the reasons for a refusal (appkernel.md 6).
var answers = func() map[Reason]*answer {
	const unauthenticated, forbidden = "urn:chansec:problem:unauthenticated", "urn:chansec:problem:forbidden"
	list := map[Reason]*answer{
		MissingHeader:   {401, 401, unauthenticated, "authorization header missing", []string{"Bearer"}, nil, nil},
		MalformedHeader: {401, 401, unauthenticated, "authorization header malformed", []string{`Bearer error="invalid_request"`}, nil, nil},
		InvalidToken:    {401, 403, unauthenticated, "token not valid", []string{`Bearer error="invalid_token"`}, nil, nil},
		Expired:         {401, 403, unauthenticated, "token expired", []string{`Bearer error="invalid_token"`}, nil, nil},
		Insufficient:    {403, 403, forbidden, "required permission missing", []string{`Bearer error="insufficient_scope"`}, nil, nil},
		DeniedToAll:     {403, 403, forbidden, "not allowed to access method", nil, nil, nil},
		NoRule:          {403, 403, forbidden, "not allowed to access method", nil, nil, nil},
	}
	titles := map[string]string{unauthenticated: "not authenticated", forbidden: "permission denied"}
	for _, a := range list {
		a.body = encode(problem{a.kind, titles[a.kind], a.status, a.message, message{"ErrorMessage", a.status, a.message}})
		a.bare = encode(message{"ErrorMessage", a.original, a.message})
	}
	return list
}()

// problem is a problem document (RFC 9457) with the members of AppKernel's own errors beside those of the root package's.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	message
}

// message is an error as AppKernel writes it.
type message struct {
	Type    string `json:"_type"`
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func encode(document any) []byte {
	body, err := json.Marshal(document)
	if err != nil {
		panic(err) // constants
	}
	return body
}

// answer returns how a client is told. For a reason that a Check made up it is the plainest.
func (r Reason) answer() *answer {
	if a := answers[r]; a != nil {
		return a
	}
	return answers[DeniedToAll]
}

// Status returns the HTTP status of RFC 6750 for a refusal. For a reason that is none it is 200 where the package has it
// for requests that it allows, and 403 else.
func (r Reason) Status() int {
	if r.allows() {
		return http.StatusOK
	}
	return r.answer().status
}

// OriginalStatus is Status, as AppKernel's own implementation has it.
func (r Reason) OriginalStatus() int {
	if r.allows() {
		return http.StatusOK
	}
	return r.answer().original
}

func (r Reason) allows() bool {
	return r == AllowedToAll || r == ByRole || r == BySubject || r == ByAuthority
}

var (
	problemJSON = []string{"application/problem+json"}
	plainJSON   = []string{"application/json"}
	noStore     = []string{"no-store"}
	noSniff     = []string{"nosniff"}
)

// refuse answers a request that was refused.
func (r Reason) refuse(w http.ResponseWriter, original bool) {
	a := r.answer()
	status, body, contentType := a.status, a.body, problemJSON
	if original {
		status, body, contentType = a.original, a.bare, plainJSON
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = contentType, noStore, noSniff
	if a.challenge != nil {
		h["Www-Authenticate"] = a.challenge
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
