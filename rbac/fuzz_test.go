package rbac_test

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/rbac"
)

// reference is what golang-jwt makes of a token, with its best options.
func reference(key any, text string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithStrictDecoding()).
		ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return key, nil })
	return claims, err
}

// FuzzAuthorization: no header makes a panic, and none is let in but a bearer token that golang-jwt takes, too.
func FuzzAuthorization(f *testing.F) {
	text, err := os.ReadFile("testdata/requests.json")
	require.NoError(f, err)
	var vectors vectorFile
	require.NoError(f, json.Unmarshal(text, &vectors))
	for _, v := range vectors.Services {
		for _, c := range v.Cases {
			if c.Authorization != nil {
				f.Add(*c.Authorization)
			}
		}
	}
	keys, err := rbac.KeyFiles{PublicKeyPath: "testdata/keys/appkernel.pub"}.Verifying()
	require.NoError(f, err)
	text, err = os.ReadFile("testdata/keys/appkernel.pub")
	require.NoError(f, err)
	public, err := jwt.ParseRSAPublicKeyFromPEM(text)
	require.NoError(f, err)
	tokens, err := rbac.NewTokens(keys, rbac.Application("test_app"))
	require.NoError(f, err)
	handler := newMux(f, newService(f, tokens, new(rbac.Rules).DenyAll().Require(rbac.Role("user"), "GET")))

	f.Fuzz(func(t *testing.T, header string) {
		r := request("GET", "/x", "")
		r.Header["Authorization"] = []string{header}
		w := serve(handler, r)
		if w.Code != http.StatusOK {
			require.Contains(t, []int{401, 403}, w.Code)
			if len(header) > 40 {
				require.NotContains(t, w.Body.String(), header[7:])
			}
			return
		}
		scheme, text, _ := strings.Cut(header, " ")
		require.Equal(t, "bearer", strings.ToLower(scheme))
		claims, err := reference(public, text)
		require.NoError(t, err)
		require.Contains(t, claims["roles"], "user")
	})
}

// FuzzToken: whatever a token that our key signed may say, we accept no more than golang-jwt does, and read the same.
func FuzzToken(f *testing.F) {
	for _, claims := range []string{`{"sub":"U1","exp":4102444800,"roles":["user"]}`, `{"exp":4102444800,"roles":[1,"user",null]}`,
		`{"exp":4102444800,"sub":"","roles":"user"}`, `{"exp":1}`, `{}`, `[]`, `{"exp":4102444800,"aud":"x"}`} {
		f.Add(goodHeader, claims)
	}
	f.Add(`{"alg":"RS256","kid":7,"jwk":{}}`, `{"exp":4102444800}`)
	f.Add(`{"alg":"none"}`, `{"exp":4102444800}`)
	tokens := newTokens(f)
	f.Fuzz(func(t *testing.T, header, claims string) {
		text := signed(t, header, claims)
		got, err := tokens.Verify(t.Context(), text)
		if err != nil {
			require.Nil(t, got)
			require.EqualError(t, err, "chansec: not authenticated")
			return
		}
		want, err := reference(&rsaKey().PublicKey, text)
		if err != nil { // by the real clock, which is not ours, a token may be of the past or the future
			require.True(t, isAny(err, jwt.ErrTokenExpired, jwt.ErrTokenNotValidYet), "%v", err)
			return
		}
		require.NotContains(t, want, "aud")
		if got.Subject != "" {
			require.Equal(t, want["sub"], got.Subject)
		}
		var roles []string
		list, _ := want["roles"].([]any)
		for _, r := range list {
			if name, ok := r.(string); ok {
				roles = append(roles, name)
			}
		}
		require.True(t, slices.Equal(roles, got.Roles))
	})
}

// FuzzRules: a table of any calls decides as one that is replayed call by call for every question.
func FuzzRules(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 1, 0, 2, 2, 1, 4, 3, 1})
	f.Add([]byte{1, 0, 0, 3, 3, 0, 5, 0, 1, 0, 0, 0, 2, 1, 1})
	f.Fuzz(func(t *testing.T, program []byte) {
		methods := []string{"GET", "HEAD", "POST", "BREW"}
		endpoints := []string{rbac.Every, "a", "b"}
		permissions := []rbac.Permission{rbac.Denied, rbac.Anonymous, rbac.Role("user"), rbac.AnyOf{rbac.Role("admin"), rbac.CurrentSubject("object_id")}}
		type step struct{ call, method, endpoint, permission int }
		rules := new(rbac.Rules)
		var steps []step
		for len(program) >= 3 && len(steps) < 50 {
			s := step{int(program[0]) % 5, int(program[1]) % len(methods), int(program[1]>>4) % len(endpoints), int(program[2]) % len(permissions)}
			program = program[3:]
			action := endpoints[s.endpoint]
			switch {
			case s.call == 0:
				rules.DenyAll()
			case s.call == 1:
				rules.AllowAll()
			case s.call == 2 && action == rbac.Every:
				rules.Require(permissions[s.permission], methods[s.method])
			case s.call == 2:
				rules.RequireAction(action, permissions[s.permission], methods[s.method])
			case s.call == 3 && action == rbac.Every:
				s.permission = 0
				rules.Deny(methods[s.method])
			case s.call == 3:
				s.permission = 0
				rules.DenyAction(action, methods[s.method])
			case action == rbac.Every:
				s.permission = 1
				rules.Exempt(methods[s.method])
			default:
				s.permission = 1
				rules.ExemptAction(action, methods[s.method])
			}
			steps = append(steps, s)
		}
		s := newService(t, verifierFunc(nil), rules)

		// last returns the permission of the last step that says something of a method and an endpoint, or -1.
		last := func(method, endpoint int) int {
			found := -1
			for _, s := range steps {
				switch {
				case s.call < 2 && endpoint == 0:
					found = -1
				case s.call >= 2 && s.method == method && s.endpoint == endpoint:
					found = s.permission
				}
			}
			return found
		}
		for m, method := range methods {
			for e, endpoint := range endpoints {
				want := -1
				for _, place := range [][2]int{{m, e}, {m, 0}, {0, e}, {0, 0}} {
					if want < 0 && (place[0] == m || method == "HEAD") {
						want = last(place[0], place[1])
					}
				}
				for i := len(steps) - 1; i >= 0 && want < 0; i-- {
					if steps[i].call < 2 {
						want = steps[i].call // DenyAll is Denied, AllowAll is Anonymous
					}
				}
				reason := map[int]rbac.Reason{-1: rbac.NoRule, 0: rbac.DeniedToAll, 1: rbac.AllowedToAll, 2: rbac.MissingHeader, 3: rbac.MissingHeader}[want]
				require.Equal(t, reason, s.Authorize(t.Context(), rbac.Request{Method: method, Endpoint: endpoint}).Reason, "%s on %s", method, endpoint)
			}
		}
	})
}
