package rbac_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/rbac"
)

// says answers with whose token it was.
var says = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	claims, ok := rbac.ClaimsFrom(r.Context())
	if !ok {
		_, _ = w.Write([]byte("nobody"))
		return
	}
	_, _ = w.Write([]byte(claims.Subject))
})

var never = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the handler ran") })

func users() *rbac.Rules {
	return new(rbac.Rules).
		Action(rbac.Action{Name: "change_password", Methods: []string{"POST"}, Require: rbac.AnyOf{rbac.CurrentSubject("object_id"), rbac.Role("admin")}}).
		DenyAll().
		Require(rbac.Role("user"), "GET").
		Require(rbac.CurrentSubject("object_id"), "PATCH").
		Exempt("PUT")
}

func newHandler(t testing.TB, s *rbac.Service, h http.Handler) http.Handler {
	t.Helper()
	var mux rbac.Mux
	mux.Handle("/users/{object_id}", s, h)
	mux.Handle("GET /files/{path...}", s, h)
	mux.HandleAction("POST /users/{object_id}/change_password", s, "change_password", h)
	handler, err := mux.Handler()
	require.NoError(t, err)
	return handler
}

func TestMux(t *testing.T) {
	tokens := newTokens(t)
	handler := newHandler(t, newService(t, tokens, users()), says)
	slashed := newToken(t, tokens, "a/b", "user")
	u1, u2, admin := newToken(t, tokens, "U1", "user"), newToken(t, tokens, "U2"), newToken(t, tokens, "U3", "admin")
	for name, tt := range map[string]struct {
		method, path, token string
		status              int
		body                string // of a handler that ran
	}{
		"a role reaches the handler, which knows whose": {"GET", "/users/U9", u1, 200, "U1"},
		"who lacks it does not":                         {"GET", "/users/U2", u2, 403, ""},
		"nor does nobody":                               {"GET", "/users/U1", "", 401, ""},
		"a subject reaches what is its own":             {"PATCH", "/users/U2", u2, 200, "U2"},
		"and nothing else":                              {"PATCH", "/users/U1", u2, 403, ""},
		"letters count":                                 {"PATCH", "/users/u2", u2, 403, ""},
		"escaped it is the same":                        {"PATCH", "/users/%552", u2, 200, "U2"},
		"escaped twice it is not":                       {"PATCH", "/users/%25552", u2, 403, ""},
		"a slash may be escaped":                        {"PATCH", "/users/a%2Fb", slashed, 200, "a/b"},
		"a part of it is not it":                        {"PATCH", "/users/a", slashed, 403, ""},
		"a blank behind it makes another":               {"PATCH", "/users/U2%20", u2, 403, ""},
		"what is exempt needs no token":                 {"PUT", "/users/U1", "", 200, "nobody"},
		"and no good one":                               {"PUT", "/users/U1", "nonsense", 200, "nobody"},
		"DenyAll is for the rest":                       {"DELETE", "/users/U1", admin, 403, ""},
		"an action is open to the subject":              {"POST", "/users/U2/change_password", u2, 200, "U2"},
		"and to an admin":                               {"POST", "/users/U2/change_password", admin, 200, "U3"},
		"and to nobody else":                            {"POST", "/users/U2/change_password", u1, 403, ""},
		"HEAD takes what GET takes":                     {"HEAD", "/users/U9", u1, 200, "U1"},
		"no less":                                       {"HEAD", "/users/U9", u2, 403, ""},
		"what no route matches is for the mux":          {"GET", "/nothing", "", 404, ""},
		"also a method that none does":                  {"GET", "/users/U2/change_password", u1, 405, ""},
		"and a path that is not clean":                  {"GET", "/users/../files/x", "", 307, ""},
		"a slash at the end is another route":           {"GET", "/users/U1/", u1, 404, ""},
		"a token that is no good is none":               {"GET", "/users/U1", u1 + "x", 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(handler, request(tt.method, tt.path, tt.token))
			require.Equal(t, tt.status, w.Code)
			if tt.status == http.StatusOK {
				require.Equal(t, tt.body, w.Body.String())
			}
		})
	}
}

// TestRefusals: both columns of appkernel.md 6, what the client is told, and that no handler runs.
func TestRefusals(t *testing.T) {
	tokens := newTokens(t)
	good := "Bearer " + newToken(t, tokens, "U1", "user")
	for name, tt := range map[string]struct {
		method    string
		header    []string
		reason    rbac.Reason
		status    int
		original  int
		challenge string
		message   string
	}{
		"no header":               {"GET", nil, rbac.MissingHeader, 401, 401, `Bearer`, "authorization header missing"},
		"an empty one":            {"GET", []string{""}, rbac.MissingHeader, 401, 401, `Bearer`, "authorization header missing"},
		"a scheme without more":   {"GET", []string{"Bearer"}, rbac.MalformedHeader, 401, 401, `Bearer error="invalid_request"`, "authorization header malformed"},
		"or with a blank":         {"GET", []string{"Bearer "}, rbac.MalformedHeader, 401, 401, `Bearer error="invalid_request"`, "authorization header malformed"},
		"another scheme":          {"GET", []string{"Basic dTpw"}, rbac.MalformedHeader, 401, 401, `Bearer error="invalid_request"`, "authorization header malformed"},
		"no scheme":               {"GET", []string{strings.TrimPrefix(good, "Bearer ")}, rbac.MalformedHeader, 401, 401, `Bearer error="invalid_request"`, "authorization header malformed"},
		"two headers":             {"GET", []string{good, good}, rbac.MalformedHeader, 401, 401, `Bearer error="invalid_request"`, "authorization header malformed"},
		"an empty one before it":  {"GET", []string{"", good}, rbac.MalformedHeader, 401, 401, `Bearer error="invalid_request"`, "authorization header malformed"},
		"a tab for the blank":     {"GET", []string{strings.Replace(good, " ", "\t", 1)}, rbac.MalformedHeader, 401, 401, `Bearer error="invalid_request"`, "authorization header malformed"},
		"two blanks":              {"GET", []string{strings.Replace(good, " ", "  ", 1)}, rbac.InvalidToken, 401, 403, `Bearer error="invalid_token"`, "token not valid"},
		"two tokens":              {"GET", []string{good + ", " + good}, rbac.InvalidToken, 401, 403, `Bearer error="invalid_token"`, "token not valid"},
		"no token":                {"GET", []string{"Bearer hunter2"}, rbac.InvalidToken, 401, 403, `Bearer error="invalid_token"`, "token not valid"},
		"a token of the past":     {"GET", []string{"Bearer " + signed(t, goodHeader, `{"exp":1}`)}, rbac.Expired, 401, 403, `Bearer error="invalid_token"`, "token expired"},
		"a token without roles":   {"GET", []string{"Bearer " + newToken(t, tokens, "U1")}, rbac.Insufficient, 403, 403, `Bearer error="insufficient_scope"`, "required permission missing"},
		"what is denied":          {"DELETE", []string{good}, rbac.DeniedToAll, 403, 403, ``, "not allowed to access method"},
		"what is denied, for all": {"DELETE", nil, rbac.DeniedToAll, 403, 403, ``, "not allowed to access method"},
		"what has no rule":        {"POST", []string{good}, rbac.NoRule, 403, 403, ``, "not allowed to access method"},
	} {
		t.Run(name, func(t *testing.T) {
			rules := new(rbac.Rules).Require(rbac.Role("user"), "GET").Deny("DELETE")
			for _, original := range []bool{false, true} {
				var opts []rbac.Option
				status, contentType, kind := tt.status, "application/problem+json", "unauthenticated"
				title := "not authenticated"
				if tt.status == 403 {
					kind, title = "forbidden", "permission denied"
				}
				if original {
					opts = append(opts, rbac.OriginalStatus())
					status, contentType = tt.original, "application/json"
				}
				s := newService(t, tokens, rules, opts...)
				guard, err := s.Middleware(rbac.Every)
				require.NoError(t, err)
				mux := http.NewServeMux()
				mux.Handle("/{object_id}", guard(never))
				r := request(tt.method, "/x", "")
				if tt.header != nil {
					r.Header["Authorization"] = tt.header
				}
				require.Equal(t, tt.reason, s.Authorize(t.Context(), rbac.Request{Method: r.Method, Header: r.Header}).Reason)

				w := serve(mux, r)
				require.Equal(t, status, w.Code)
				require.Equal(t, contentType, w.Header().Get("Content-Type"))
				require.Equal(t, tt.challenge, w.Header().Get("WWW-Authenticate"))
				require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
				require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
				body := map[string]any{"_type": "ErrorMessage", "code": status, "message": tt.message}
				if !original {
					body["type"], body["title"] = "urn:chansec:problem:"+kind, title
					body["status"], body["detail"] = status, tt.message
				}
				require.JSONEq(t, encode(t, body), w.Body.String())
				require.Equal(t, tt.status, tt.reason.Status())
				require.Equal(t, tt.original, tt.reason.OriginalStatus())
			}
		})
	}
}

// TestMiddlewareAroundAMux: what no mux has matched is refused, even where everybody is let in.
func TestMiddlewareAroundAMux(t *testing.T) {
	s := newService(t, newTokens(t), new(rbac.Rules).AllowAll())
	guard, err := s.Middleware(rbac.Every)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/x", never)
	require.Equal(t, http.StatusForbidden, serve(guard(mux), request("GET", "/x", "")).Code)

	outer := http.NewServeMux() // the same, where a mux has
	outer.Handle("/x", guard(says))
	require.Equal(t, http.StatusOK, serve(outer, request("GET", "/x", "")).Code)
}

// TestMuxInAMux: the path values that are judged are those that the handler sees.
func TestMuxInAMux(t *testing.T) {
	tokens := newTokens(t)
	outer := http.NewServeMux()
	outer.Handle("/{object_id}/", newHandler(t, newService(t, tokens, users()), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.PathValue("object_id")))
	})))
	u1 := newToken(t, tokens, "users")
	require.Equal(t, http.StatusForbidden, serve(outer, request("PATCH", "/users/U1", u1)).Code)
	w := serve(outer, request("PATCH", "/users/users", u1))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "users", w.Body.String())
}

func TestMiddlewareRefused(t *testing.T) {
	s := newService(t, newTokens(t), new(rbac.Rules).AllowAll().ExemptAction("ping", "GET"))
	guard, err := s.Middleware("ping")
	require.NoError(t, err)
	require.Nil(t, guard(nil))
	for _, action := range []string{"pong", "", "Ping"} {
		_, err := s.Middleware(action)
		require.ErrorIs(t, err, chansec.ErrInvalid, "what is open for unknown actions, too, must not be found by a typing error")
	}
	var nobody *rbac.Service
	_, err = nobody.Middleware(rbac.Every)
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

// TestRoutesWithoutARule is the check at start-up.
func TestRoutesWithoutARule(t *testing.T) {
	tokens := newTokens(t)
	some := newService(t, tokens, new(rbac.Rules).Require(rbac.Role("user"), "GET").RequireAction("export", rbac.Role("auditor"), "GET"))
	var mux rbac.Mux
	mux.Handle("GET /users/{object_id}", some, says)
	mux.Handle("HEAD /things/{object_id}", some, says)
	mux.Handle("DELETE /users/{object_id}", some, says)
	mux.Handle("/users", some, says)
	mux.HandleAction("GET /users/export", some, "export", says)
	mux.HandleAction("POST example.com/users/export", some, "export", says)
	handler, err := mux.Handler()
	require.Nil(t, handler)
	problem, ok := errors.AsType[*rbac.NoRuleError](err)
	require.True(t, ok)
	require.ErrorIs(t, err, chansec.ErrInvalid)
	require.Equal(t, []rbac.Route{
		{Pattern: "DELETE /users/{object_id}", Endpoint: rbac.Every},
		{Pattern: "/users", Endpoint: rbac.Every, Rule: "GET: ROLE_USER"},
		{Pattern: "POST example.com/users/export", Endpoint: "export"},
	}, problem.Routes)
	require.EqualError(t, err, "rbac: routes without a rule for all of their methods: DELETE /users/{object_id}, /users: GET: ROLE_USER, "+
		"POST example.com/users/export (export): want one for each, or DenyAll first")

	all := newService(t, tokens, new(rbac.Rules).DenyAll().Require(rbac.Role("user"), "GET").Exempt("PUT").RequireAction("export", rbac.Role("auditor"), "GET"))
	mux = rbac.Mux{}
	mux.Handle("/users/{object_id}", all, says)
	mux.HandleAction("/users/export", all, "export", says)
	mux.Handle("DELETE /things/{object_id}", all, says)
	_, err = mux.Handler()
	require.NoError(t, err)
	require.Equal(t, []rbac.Route{
		{Pattern: "/users/{object_id}", Endpoint: rbac.Every, Rule: "GET: ROLE_USER; PUT: ROLE_ANONYMOUS; others: ROLE_DENIED"},
		{Pattern: "/users/export", Endpoint: "export", Rule: "GET: ROLE_AUDITOR; PUT: ROLE_ANONYMOUS; others: ROLE_DENIED"},
		{Pattern: "DELETE /things/{object_id}", Endpoint: rbac.Every, Rule: "ROLE_DENIED"},
	}, mux.Routes())
}

func TestMuxRefused(t *testing.T) {
	s := newService(t, newTokens(t), new(rbac.Rules).AllowAll())
	for name, add := range map[string]func(m *rbac.Mux){
		"nothing at all":             func(*rbac.Mux) {},
		"no service":                 func(m *rbac.Mux) { m.Handle("/x", nil, says) },
		"no handler":                 func(m *rbac.Mux) { m.Handle("/x", s, nil) },
		"an action nobody named":     func(m *rbac.Mux) { m.HandleAction("/x", s, "ping", says) },
		"no pattern":                 func(m *rbac.Mux) { m.Handle("", s, says) },
		"a pattern that is none":     func(m *rbac.Mux) { m.Handle("GET /{", s, says) },
		"two of the same":            func(m *rbac.Mux) { m.Handle("/{a}", s, says); m.Handle("/{b}", s, says) },
		"two that are at odds":       func(m *rbac.Mux) { m.Handle("/{a}/x", s, says); m.Handle("/x/{a}", s, says) },
		"a method that is no method": func(m *rbac.Mux) { m.Handle("G,T /x", s, says) },
	} {
		t.Run(name, func(t *testing.T) {
			var mux rbac.Mux
			add(&mux)
			handler, err := mux.Handler()
			require.Nil(t, handler)
			require.ErrorIs(t, err, chansec.ErrInvalid)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "mux.go", "that it was registered in this package helps nobody")
		})
	}
}

// TestAHandlerKeepsItsRoutes: what is added later is for later handlers.
func TestAHandlerKeepsItsRoutes(t *testing.T) {
	s := newService(t, newTokens(t), new(rbac.Rules).AllowAll())
	var mux rbac.Mux
	mux.Handle("/a", s, says)
	before, err := mux.Handler()
	require.NoError(t, err)
	mux.Handle("/b", s, says)
	after, err := mux.Handler()
	require.NoError(t, err)
	require.Equal(t, 404, serve(before, request("GET", "/b", "")).Code)
	require.Equal(t, 200, serve(after, request("GET", "/b", "")).Code)
	require.Equal(t, 200, serve(after, request("GET", "/a", "")).Code)
}

func TestCheckDecidesInstead(t *testing.T) {
	claims := &rbac.Claims{Subject: "somebody"}
	var asked []rbac.Request
	answer := rbac.Decision{}
	s := newService(t, nil, users(), rbac.Check(func(_ context.Context, r rbac.Request) rbac.Decision {
		asked = append(asked, r)
		return answer
	}))
	handler := newHandler(t, s, says)
	ask := func() *httptest.ResponseRecorder {
		return serve(handler, request("POST", "/users/U1/change_password", "hunter2"))
	}
	require.Equal(t, http.StatusForbidden, ask().Code, "the zero Decision refuses")
	require.Equal(t, "POST", asked[0].Method)
	require.Equal(t, "change_password", asked[0].Endpoint)
	require.Equal(t, "U1", asked[0].Params("object_id"))
	require.Equal(t, "Bearer hunter2", asked[0].Header.Get("Authorization"))

	answer = rbac.Decision{Reason: rbac.MissingHeader}
	require.Equal(t, http.StatusUnauthorized, ask().Code)
	answer = rbac.Decision{Reason: rbac.ByRole}
	require.Equal(t, http.StatusForbidden, ask().Code, "a refusal is one, whatever it is called")
	answer = rbac.Decision{Allowed: true, Claims: claims}
	w := ask()
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "somebody", w.Body.String())

	require.Equal(t, http.StatusOK, serve(newHandler(t, newService(t, nil, users(), rbac.Check(allow)), says), request("GET", "/users/U1", "")).Code)
	guard, err := newService(t, nil, nil, rbac.Check(allow)).Middleware(rbac.Every)
	require.NoError(t, err)
	require.NotNil(t, guard(says))
}

// TestPermissionOfYourOwn: with the claims, after the header was looked at.
func TestPermissionOfYourOwn(t *testing.T) {
	tokens := newTokens(t)
	s := newService(t, tokens, new(rbac.Rules).DenyAll().Require(rbac.AnyOf{rbac.Role("admin"), ofTenant("tenant")}, "GET"))
	var mux rbac.Mux
	mux.Handle("/{tenant}", s, says)
	mux.Handle("/", s, says)
	handler, err := mux.Handler()
	require.NoError(t, err)
	t1 := signed(t, goodHeader, `{"sub":"U1","exp":1800000060,"tenant":"T1"}`)
	require.Equal(t, 200, serve(handler, request("GET", "/T1", t1)).Code)
	require.Equal(t, 403, serve(handler, request("GET", "/T2", t1)).Code)
	require.Equal(t, 403, serve(handler, request("GET", "/", t1)).Code)
	require.Equal(t, 401, serve(handler, request("GET", "/T1", "")).Code)
	require.Equal(t, 200, serve(handler, request("GET", "/T2", newToken(t, tokens, "U2", "admin"))).Code)

	header := http.Header{"Authorization": {"Bearer " + t1}}
	d := s.Authorize(t.Context(), rbac.Request{Method: "GET", Header: header, Params: func(string) string { return "T1" }})
	require.Equal(t, rbac.ByAuthority, d.Reason)
	require.Equal(t, rbac.Insufficient, s.Authorize(t.Context(), rbac.Request{Method: "GET", Header: header}).Reason, "without parameters")
}

// TestAVerifierOfSomebodyElse: what it does not say is no.
func TestAVerifierOfSomebodyElse(t *testing.T) {
	secret := errors.New("hunter2 does not verify")
	for name, tt := range map[string]struct {
		claims *rbac.Claims
		err    error
		want   rbac.Reason
	}{
		"claims are worth their roles": {&rbac.Claims{Roles: []string{"user"}}, nil, rbac.ByRole},
		"no claims are no yes":         {nil, nil, rbac.InvalidToken},
		"claims beside an error too":   {&rbac.Claims{Roles: []string{"user"}}, secret, rbac.InvalidToken},
		"an expired token is expired":  {nil, chansec.ErrExpired, rbac.Expired},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, verifierFunc(func(context.Context, string) (*rbac.Claims, error) { return tt.claims, tt.err }),
				new(rbac.Rules).DenyAll().Require(rbac.Role("user"), "GET"))
			w := serve(newMux(t, s), request("GET", "/x", "hunter2"))
			require.Equal(t, tt.want.Status(), w.Code)
			require.NotContains(t, w.Body.String(), "hunter2")
		})
	}
}

func newMux(t testing.TB, s *rbac.Service) http.Handler {
	t.Helper()
	var mux rbac.Mux
	mux.Handle("/{object_id}", s, says)
	handler, err := mux.Handler()
	require.NoError(t, err)
	return handler
}

func TestClaimsFromNowhere(t *testing.T) {
	claims, ok := rbac.ClaimsFrom(t.Context())
	require.False(t, ok)
	require.Nil(t, claims)
}
