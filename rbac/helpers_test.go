package rbac_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/rbac"
)

func newRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// Keys take long to make.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
	otherRSA = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })
)

// testNow is the time of the clocks in tests.
var testNow = time.Unix(1_800_000_000, 0)

func newTokens(t testing.TB, opts ...rbac.TokenOption) *rbac.Tokens {
	t.Helper()
	keys, err := rbac.NewKeys(rsaKey(), &rsaKey().PublicKey)
	require.NoError(t, err)
	tokens, err := rbac.NewTokens(keys, append([]rbac.TokenOption{rbac.Clock(func() time.Time { return testNow })}, opts...)...)
	require.NoError(t, err)
	return tokens
}

func newToken(t testing.TB, tokens *rbac.Tokens, id string, roles ...string) string {
	t.Helper()
	text, err := tokens.Token(rbac.Identity{ID: id, Roles: roles})
	require.NoError(t, err)
	return text
}

func newService(t testing.TB, v rbac.Verifier, r *rbac.Rules, opts ...rbac.Option) *rbac.Service {
	t.Helper()
	s, err := rbac.NewService(v, r, opts...)
	require.NoError(t, err)
	return s
}

// request returns a request as a client sends it, with a token or "".
func request(method, path, token string) *http.Request {
	r := httptest.NewRequest(method, path, http.NoBody)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// signed returns a token with this header and these claims, whatever they are, under the private key.
func signed(t testing.TB, header, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, rsaKey(), crypto.SHA256, sum[:])
	require.NoError(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

const goodHeader = `{"alg":"RS256","typ":"JWT"}`

// allow is a Check that lets everybody in.
func allow(context.Context, rbac.Request) rbac.Decision { return rbac.Decision{Allowed: true} }

// ofTenant is a permission of our own: the claim "tenant" equals a path parameter.
type ofTenant string

func (o ofTenant) Satisfied(claims *rbac.Claims, params rbac.Params) bool {
	tenant, ok := claims.Text("tenant")
	return ok && tenant != "" && tenant == params(string(o))
}

func (ofTenant) String() string { return "AUTHORITY_TENANT" }

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

func encode(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}
