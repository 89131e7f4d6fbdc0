package authn_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

const (
	issuerName   = "https://id.example"
	issuerKeysAt = "https://id.example/keys"
)

// signer is a key of an issuer.
type signer struct {
	id, algorithm string
	private       crypto.Signer
}

func edSigner(id string) signer {
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	return signer{id, "EdDSA", private}
}

var rsaSigner = sync.OnceValue(func() signer {
	private, _ := rsa.GenerateKey(rand.Reader, 2048)
	return signer{"rsa", "RS256", private}
})

func ecSigner(id string) signer {
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return signer{id, "ES256", private}
}

// token signs what is good for an hour, with changes: a nil value removes a claim.
func (s signer) token(changes jwt.MapClaims) string { return s.tokenWith(nil, changes) }

func (s signer) tokenWith(header map[string]any, changes jwt.MapClaims) string {
	now := time.Now()
	claims := jwt.MapClaims{"iss": issuerName, "aud": "chansec", "sub": "alice", "jti": "t1", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	t := jwt.NewWithClaims(jwt.GetSigningMethod(s.algorithm), claims)
	t.Header["kid"] = s.id
	if s.id == "" {
		delete(t.Header, "kid")
	}
	maps.Copy(t.Header, header)
	text, err := t.SignedString(s.private)
	if err != nil {
		panic(err)
	}
	return text
}

func (s signer) key() authn.IssuerKey {
	return authn.IssuerKey{ID: s.id, Algorithm: s.algorithm, Public: s.private.Public()}
}

// jwk is the public key as RFC 7517 writes it.
func (s signer) jwk() map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	k := map[string]any{"kid": s.id, "use": "sig", "alg": s.algorithm}
	switch public := s.private.Public().(type) {
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", b64(public)
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, _ := public.Bytes()
		k["kty"], k["crv"], k["x"], k["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
	}
	if s.id == "" {
		delete(k, "kid")
	}
	return k
}

func jwksOf(signers ...signer) string {
	keys := []any{}
	for _, s := range signers {
		keys = append(keys, s.jwk())
	}
	text, _ := json.Marshal(map[string]any{"keys": keys})
	return string(text)
}

// keyServer is an issuer's web site, in memory.
type keyServer struct {
	mu      sync.Mutex
	pages   map[string]string // JSON by URL; a missing one is a 404
	away    bool
	delay   time.Duration
	fetched []string
	times   []time.Time
}

func newKeyServer(signers ...signer) *keyServer {
	return &keyServer{pages: map[string]string{issuerKeysAt: jwksOf(signers...)}}
}

func (s *keyServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *keyServer) fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fetched)
}

func (s *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.fetched = append(s.fetched, r.URL.String())
	s.times = append(s.times, time.Now())
	page, found := s.pages[r.URL.String()]
	away, delay := s.away, s.delay
	s.mu.Unlock()
	if err := pass(r.Context(), delay); err != nil {
		return nil, err
	}
	switch {
	case away:
		return nil, io.ErrUnexpectedEOF
	case !found:
		return webhookAnswer(404, "application/json", "{}"), nil
	}
	return webhookAnswer(200, "application/json", page), nil
}

// oneIssuer is a configuration of one issuer with keys that are fetched.
func oneIssuer(s *keyServer) authn.IssuersConfig {
	return authn.IssuersConfig{Transport: s, Issuers: []authn.Issuer{{Issuer: issuerName, Audience: "chansec", JWKS: issuerKeysAt,
		Algorithms: []string{"EdDSA", "RS256", "ES256"}}}}
}

func newIssuers(t testing.TB, config authn.IssuersConfig) *authn.Issuers {
	t.Helper()
	s, err := authn.NewIssuers(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// tries says what becomes of a token.
func tries(t testing.TB, h authn.Handler, token string) (authn.Response, error) {
	t.Helper()
	got, err := h.Authenticate(t.Context(), &authn.Request{Credentials: []byte(token)})
	if got.Answer != authn.Allow || err != nil {
		require.Empty(t, got.Principal)
	}
	requireNoToken(t, token, got, err)
	return got, err
}

func requireAnswer(t testing.TB, want authn.Answer, h authn.Handler, token string) authn.Response {
	t.Helper()
	got, err := tries(t, h, token)
	require.NoError(t, err)
	require.Equal(t, want, got.Answer, got.Reason)
	return got
}

// requireNoToken checks that no part of a token shows.
func requireNoToken(t testing.TB, token string, things ...any) {
	t.Helper()
	for _, part := range strings.Split(token, ".") {
		if len(part) < 20 {
			continue
		}
		for _, thing := range things {
			require.NotContains(t, fmt.Sprintf("%v %+v %#v", thing, thing, thing), part[:20])
		}
	}
}

func TestATokenOfAnotherIssuerSaysWhoAndUntilWhen(t *testing.T) {
	key := edSigner("1")
	h := newIssuers(t, authn.IssuersConfig{Issuers: []authn.Issuer{{Issuer: issuerName, Audience: "chansec", Keys: []authn.IssuerKey{key.key()}, Leeway: 30 * time.Second}}})
	exp := time.Now().Add(time.Minute).Truncate(time.Second)
	got := requireAnswer(t, authn.Allow, h, key.token(jwt.MapClaims{"exp": exp.Unix(), "role": "admin", "roles": []string{"ADMINISTRATOR"}}))
	until := exp.Add(30 * time.Second)
	require.Equal(t, issuerName+"#alice", got.Principal)
	require.Equal(t, chansec.ProofToken, got.Proof)
	require.True(t, until.Equal(got.ExpiresAt))
	require.Nil(t, got.Roles, "no role comes from a token unasked")
	require.Nil(t, got.ServerData, "nor does anything else")
	require.True(t, until.Equal(got.Grant.ExpiresAt))
	require.Equal(t, "t1", got.Grant.TokenID)
	require.NoError(t, got.Grant.Covers("anything", chansec.OpRemove, until.Add(-1)))
	require.ErrorIs(t, got.Grant.Covers("anything", chansec.OpRead, until), chansec.ErrExpired)
}

func TestWhatIsWrongWithATokenOfAKnownIssuerDenies(t *testing.T) {
	key, other := edSigner("1"), edSigner("1")
	rs := rsaSigner()
	h := newIssuers(t, authn.IssuersConfig{Issuers: []authn.Issuer{
		{Issuer: issuerName, Audience: "chansec", Keys: []authn.IssuerKey{key.key(), rs.key()}},
		{Issuer: "https://other.example", NoAudience: true, Keys: []authn.IssuerKey{other.key()}},
	}})
	requireAnswer(t, authn.Allow, h, key.token(nil))
	requireAnswer(t, authn.Allow, h, rs.token(nil))
	requireAnswer(t, authn.Allow, h, key.token(jwt.MapClaims{"aud": []string{"x", "chansec"}}))
	requireAnswer(t, authn.Allow, h, other.token(jwt.MapClaims{"iss": "https://other.example", "aud": nil}))
	noID := key
	noID.id = ""
	requireAnswer(t, authn.Allow, h, noID.token(nil))

	now := time.Now()
	secret := func(key any) string {
		der, _ := x509.MarshalPKIXPublicKey(key)
		s := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": issuerName, "aud": "chansec", "sub": "alice", "exp": now.Add(time.Hour).Unix()})
		s.Header["kid"] = "rsa"
		text, _ := s.SignedString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		return text
	}
	none := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"iss": issuerName, "aud": "chansec", "sub": "alice", "exp": now.Add(time.Hour).Unix()})
	unsigned, err := none.SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	unknown := edSigner("2")
	good := key.token(nil)
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"the key of another issuer":            other.token(nil),
		"another issuer's name":                key.token(jwt.MapClaims{"iss": "https://other.example", "aud": nil}),
		"a key that nobody has":                unknown.token(nil),
		"no key ID, and a key that nobody has": signer{"", "EdDSA", unknown.private}.token(nil),
		"the ID of a key of another algorithm": signer{"rsa", "EdDSA", key.private}.token(nil),
		"a public key as a secret":             secret(rs.private.Public()),
		"another algorithm of the same key":    signer{"rsa", "RS512", rs.private}.token(nil),
		"another padding with the same key":    signer{"rsa", "PS256", rs.private}.token(nil),
		"a signature of something else":        parts[0] + "." + strings.Split(key.token(jwt.MapClaims{"sub": "root"}), ".")[1] + "." + parts[2],
		"another audience":                     key.token(jwt.MapClaims{"aud": "billing"}),
		"an audience in other letters":         key.token(jwt.MapClaims{"aud": "Chansec"}),
		"no audience":                          key.token(jwt.MapClaims{"aud": nil}),
		"an audience where there is none":      other.token(jwt.MapClaims{"iss": "https://other.example"}),
		"no subject":                           key.token(jwt.MapClaims{"sub": nil}),
		"an empty subject":                     key.token(jwt.MapClaims{"sub": ""}),
		"a subject that is a number":           key.token(jwt.MapClaims{"sub": 7}),
		"a subject with a line break":          key.token(jwt.MapClaims{"sub": "a\nb"}),
		"a subject that is too long here":      key.token(jwt.MapClaims{"sub": strings.Repeat("a", 510)}),
		"no end":                               key.token(jwt.MapClaims{"exp": nil}),
		"an end in the past":                   key.token(jwt.MapClaims{"exp": now.Add(-time.Second).Unix()}),
		"an end too far away":                  key.token(jwt.MapClaims{"exp": now.Add(25 * time.Hour).Unix()}),
		"an end in words":                      key.token(jwt.MapClaims{"exp": "tomorrow"}),
		"a beginning in the future":            key.token(jwt.MapClaims{"nbf": now.Add(time.Minute).Unix()}),
		"an issue in the future":               key.token(jwt.MapClaims{"iat": now.Add(time.Minute).Unix()}),
		"a second end in other letters":        key.token(jwt.MapClaims{"Exp": now.Add(time.Hour).Unix()}),
		"another type":                         key.tokenWith(map[string]any{"typ": "at+jwt"}, nil),
	} {
		t.Run(name, func(t *testing.T) { requireAnswer(t, authn.Deny, h, token) })
	}
	for name, token := range map[string]string{
		"nothing":                         "",
		"a password":                      "hunter2",
		"three words":                     "a.b.c",
		"no signature":                    unsigned,
		"an issuer that is unknown":       key.token(jwt.MapClaims{"iss": "https://stranger.example"}),
		"an issuer with a slash more":     key.token(jwt.MapClaims{"iss": issuerName + "/"}),
		"an issuer in other letters":      key.token(jwt.MapClaims{"iss": "https://ID.example"}),
		"no issuer":                       key.token(jwt.MapClaims{"iss": nil}),
		"an issuer that is a list":        key.token(jwt.MapClaims{"iss": []string{issuerName}}),
		"the name of the issuer in large": key.token(jwt.MapClaims{"iss": nil, "ISS": issuerName}),
		"a critical extension":            key.tokenWith(map[string]any{"crit": []string{"x"}}, nil),
		"a line break at the end":         good + "\n",
		"a space before":                  " " + good,
		"too long":                        key.token(jwt.MapClaims{"x": strings.Repeat("x", 8<<10)}),
	} {
		t.Run(name+" is for others", func(t *testing.T) { requireAnswer(t, authn.Abstain, h, token) })
	}
}

func TestATokenCannotBringItsKey(t *testing.T) {
	key, forged := edSigner("1"), edSigner("1")
	s := newKeyServer(key)
	s.pages["https://evil.example/keys"] = jwksOf(forged)
	h := newIssuers(t, oneIssuer(s))
	requireAnswer(t, authn.Allow, h, key.token(nil))
	for name, value := range map[string]any{"jwk": forged.jwk(), "jku": "https://evil.example/keys", "x5u": "https://evil.example/keys", "x5c": []string{"MIIB"}} {
		t.Run(name, func(t *testing.T) {
			requireAnswer(t, authn.Deny, h, forged.tokenWith(map[string]any{name: value}, nil))
			requireAnswer(t, authn.Deny, h, forged.tokenWith(map[string]any{name: value, "kid": "https://evil.example/keys"}, nil))
		})
	}
	require.Equal(t, []string{issuerKeysAt}, s.fetched)
}

func TestTheRequestMayNameOnlyWhomTheTokenNames(t *testing.T) {
	key := edSigner("1")
	h := newIssuers(t, oneIssuer(newKeyServer(key)))
	for principal, want := range map[string]authn.Answer{"": authn.Allow, issuerName + "#alice": authn.Allow, "alice": authn.Deny, "root": authn.Deny} {
		got, err := h.Authenticate(t.Context(), &authn.Request{Principal: principal, Credentials: []byte(key.token(nil))})
		require.NoError(t, err)
		require.Equal(t, want, got.Answer, principal)
	}
}

func TestTwoIssuersNeverNameTheSame(t *testing.T) {
	a, b := edSigner("a"), edSigner("b")
	issuers := func(change func(a, b *authn.Issuer)) (*authn.Issuers, error) {
		list := []authn.Issuer{{Issuer: "a", NoAudience: true, Keys: []authn.IssuerKey{a.key()}}, {Issuer: "b", NoAudience: true, Keys: []authn.IssuerKey{b.key()}}}
		change(&list[0], &list[1])
		return authn.NewIssuers(authn.IssuersConfig{Issuers: list})
	}
	for name, c := range map[string]struct {
		change func(a, b *authn.Issuer)
		a, b   string // what alice is called; empty: refused
	}{
		"by default":                        {func(a, b *authn.Issuer) {}, "a#alice", "b#alice"},
		"with prefixes":                     {func(a, b *authn.Issuer) { a.SubjectPrefix, b.SubjectPrefix = "staff:", "guest:" }, "staff:alice", "guest:alice"},
		"with the same prefix":              {func(a, b *authn.Issuer) { a.SubjectPrefix, b.SubjectPrefix = "x:", "x:" }, "", ""},
		"with a prefix of the other":        {func(a, b *authn.Issuer) { a.SubjectPrefix, b.SubjectPrefix = "x", "x:" }, "", ""},
		"with a prefix of the default":      {func(a, b *authn.Issuer) { a.SubjectPrefix = "b" }, "", ""},
		"one as it is, which was asked for": {func(a, b *authn.Issuer) { a.BareSubject = true }, "alice", "b#alice"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := issuers(c.change)
			if c.a == "" {
				require.ErrorIs(t, err, chansec.ErrInvalid)
				return
			}
			require.NoError(t, err)
			defer h.Close()
			require.Equal(t, c.a, requireAnswer(t, authn.Allow, h, a.token(jwt.MapClaims{"iss": "a", "aud": nil})).Principal)
			require.Equal(t, c.b, requireAnswer(t, authn.Allow, h, b.token(jwt.MapClaims{"iss": "b", "aud": nil})).Principal)
		})
	}
}

func TestRolesAndAttributesComeFromATokenByNameOnly(t *testing.T) {
	key := edSigner("1")
	config := oneIssuer(newKeyServer(key))
	config.Issuers[0].Roles = &authn.RoleMap{Path: []string{"realm_access", "roles"}, Roles: map[string][]string{"ops": {"OPERATOR"}}}
	config.Issuers[0].Attributes = []string{"email", "org", "sub"}
	h := newIssuers(t, config)
	got := requireAnswer(t, authn.Allow, h, key.token(jwt.MapClaims{
		"realm_access": map[string]any{"roles": []string{"ops", "ADMINISTRATOR"}}, "roles": []string{"ADMINISTRATOR"},
		"email": "a@example", "org": map[string]any{"id": 7}, "secret": "planted",
	}))
	require.Equal(t, []string{"OPERATOR"}, got.Roles)
	require.Equal(t, map[string]any{"email": "a@example", "org": map[string]any{"id": 7.0}, "sub": "alice"}, got.ServerData)

	got = requireAnswer(t, authn.Allow, h, key.token(nil))
	require.Equal(t, []string{}, got.Roles, "exactly none, and not those of the request")
	require.Equal(t, map[string]any{"sub": "alice"}, got.ServerData)

	requireAnswer(t, authn.Deny, h, key.token(jwt.MapClaims{"realm_access": map[string]any{"roles": 7}}))
	requireAnswer(t, authn.Deny, h, key.token(jwt.MapClaims{"realm_access": "ops"}))
	requireAnswer(t, authn.Deny, h, key.token(jwt.MapClaims{"Email": "b@example"}))
}

func TestAnIssuerIsMadeOfWhatIsSafe(t *testing.T) {
	key := edSigner("1")
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		short = nil // a Go that makes none that short
	}
	for name, c := range map[string]struct {
		change func(*authn.Issuer)
		field  string // empty: it is fine
	}{
		"keys":                          {func(i *authn.Issuer) {}, ""},
		"a key set's URL":               {func(i *authn.Issuer) { i.Keys, i.JWKS, i.Algorithms = nil, issuerKeysAt, []string{"RS256"} }, ""},
		"discovery":                     {func(i *authn.Issuer) { i.Keys, i.Discovery, i.Algorithms = nil, true, []string{"RS256"} }, ""},
		"no issuer":                     {func(i *authn.Issuer) { i.Issuer = "" }, "Issuer"},
		"an issuer with a line break":   {func(i *authn.Issuer) { i.Issuer = "a\nb" }, "Issuer"},
		"no audience":                   {func(i *authn.Issuer) { i.Audience = "" }, "Audience"},
		"an audience and none":          {func(i *authn.Issuer) { i.NoAudience = true }, "Audience"},
		"no keys":                       {func(i *authn.Issuer) { i.Keys = nil }, "Keys"},
		"keys and their URL":            {func(i *authn.Issuer) { i.JWKS = issuerKeysAt }, "Keys"},
		"keys and discovery":            {func(i *authn.Issuer) { i.Discovery = true }, "Keys"},
		"keys and algorithms":           {func(i *authn.Issuer) { i.Algorithms = []string{"EdDSA"} }, "Algorithms"},
		"a URL without algorithms":      {func(i *authn.Issuer) { i.Keys, i.JWKS = nil, issuerKeysAt }, "Algorithms"},
		"an algorithm with secrets":     {func(i *authn.Issuer) { i.Keys, i.JWKS, i.Algorithms = nil, issuerKeysAt, []string{"RS256", "HS256"} }, "Algorithms"},
		"no algorithm at all":           {func(i *authn.Issuer) { i.Keys, i.JWKS, i.Algorithms = nil, issuerKeysAt, []string{"none"} }, "Algorithms"},
		"an algorithm in small letters": {func(i *authn.Issuer) { i.Keys, i.JWKS, i.Algorithms = nil, issuerKeysAt, []string{"rs256"} }, "Algorithms"},
		"a URL without TLS":             {func(i *authn.Issuer) { i.Keys, i.JWKS, i.Algorithms = nil, "http://id.example/keys", []string{"RS256"} }, "JWKS"},
		"a URL that is a file":          {func(i *authn.Issuer) { i.Keys, i.JWKS, i.Algorithms = nil, "file:///keys", []string{"RS256"} }, "JWKS"},
		"discovery without TLS": {func(i *authn.Issuer) {
			i.Issuer, i.Keys, i.Discovery, i.Algorithms = "http://id.example", nil, true, []string{"RS256"}
		}, "Issuer"},
		"discovery of what is no URL": {func(i *authn.Issuer) {
			i.Issuer, i.Keys, i.Discovery, i.Algorithms = "corp", nil, true, []string{"RS256"}
		}, "Issuer"},
		"discovery with a query": {func(i *authn.Issuer) {
			i.Issuer, i.Keys, i.Discovery, i.Algorithms = issuerName+"?a", nil, true, []string{"RS256"}
		}, "Issuer"},
		"a key that is none":         {func(i *authn.Issuer) { i.Keys = []authn.IssuerKey{{Algorithm: "EdDSA"}} }, "Keys"},
		"a key of another algorithm": {func(i *authn.Issuer) { i.Keys = []authn.IssuerKey{{Algorithm: "RS256", Public: key.private.Public()}} }, "Keys"},
		"a secret as a key": {func(i *authn.Issuer) {
			i.Keys = []authn.IssuerKey{{Algorithm: "HS256", Public: []byte(strings.Repeat("planted", 9))}}
		}, "Keys"},
		"a private key":                  {func(i *authn.Issuer) { i.Keys = []authn.IssuerKey{{Algorithm: "EdDSA", Public: key.private}} }, "Keys"},
		"a short key":                    {func(i *authn.Issuer) { i.Keys = []authn.IssuerKey{{Algorithm: "RS256", Public: publicOf(short)}} }, "Keys"},
		"two keys of one name":           {func(i *authn.Issuer) { i.Keys = append(i.Keys, edSigner("1").key()) }, "Keys"},
		"a prefix and none":              {func(i *authn.Issuer) { i.SubjectPrefix, i.BareSubject = "x", true }, "SubjectPrefix"},
		"a prefix with a line break":     {func(i *authn.Issuer) { i.SubjectPrefix = "a\nb" }, "SubjectPrefix"},
		"a leeway of an hour":            {func(i *authn.Issuer) { i.Leeway = time.Hour }, "Leeway"},
		"a negative lifetime":            {func(i *authn.Issuer) { i.MaxLifetime = -1 }, "MaxLifetime"},
		"an attribute without a name":    {func(i *authn.Issuer) { i.Attributes = []string{""} }, "Attributes"},
		"attributes that differ in case": {func(i *authn.Issuer) { i.Attributes = []string{"a", "A"} }, "Attributes or Roles"},
		"roles without a path":           {func(i *authn.Issuer) { i.Roles = &authn.RoleMap{Roles: map[string][]string{"a": {"A"}}} }, "Roles.Path"},
		"roles for nothing": {func(i *authn.Issuer) {
			i.Roles = &authn.RoleMap{Path: []string{"a"}, Roles: map[string][]string{"": {"A"}}}
		}, "Roles.Roles"},
	} {
		t.Run(name, func(t *testing.T) {
			i := authn.Issuer{Issuer: issuerName, Audience: "chansec", Keys: []authn.IssuerKey{key.key()}}
			c.change(&i)
			h, err := authn.NewIssuers(authn.IssuersConfig{Issuers: []authn.Issuer{i}})
			if c.field == "" {
				require.NoError(t, err)
				require.NoError(t, h.Close())
				return
			}
			require.Nil(t, h)
			var invalid *chansec.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, "Issuer."+c.field, invalid.What)
			requireSilent(t, err)
		})
	}
	good := authn.Issuer{Issuer: issuerName, Audience: "chansec", Keys: []authn.IssuerKey{key.key()}}
	for field, config := range map[string]authn.IssuersConfig{
		"Issuers":       {},
		"FetchInterval": {Issuers: []authn.Issuer{good}, FetchInterval: time.Millisecond},
		"KeyRefresh":    {Issuers: []authn.Issuer{good}, KeyRefresh: -1},
		"KeyMaxStale":   {Issuers: []authn.Issuer{good}, KeyMaxStale: time.Minute},
		"FetchTimeout":  {Issuers: []authn.Issuer{good}, FetchTimeout: time.Hour},
		"MaxBytes":      {Issuers: []authn.Issuer{good}, MaxBytes: -1},
		"TLS":           {Issuers: []authn.Issuer{good}, TLS: &tls.Config{InsecureSkipVerify: true}},
	} {
		_, err := authn.NewIssuers(config)
		var invalid *chansec.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, "IssuersConfig."+field, invalid.What)
	}
	_, err = authn.NewIssuers(authn.IssuersConfig{Issuers: []authn.Issuer{good, good}})
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

func publicOf(key *rsa.PrivateKey) crypto.PublicKey {
	if key == nil {
		return nil
	}
	return key.Public()
}

func TestTenThousandUnknownKeysCauseOneFetchPerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := edSigner("good")
		s := newKeyServer(key)
		s.delay = time.Second
		h := newIssuers(t, oneIssuer(s))
		good := key.token(nil)
		_, rest, _ := strings.Cut(good, ".")
		forged := func(id string) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"`+id+`"}`)) + "." + rest
		}
		requireAnswer(t, authn.Allow, h, good)
		for round, tokens := range []int{10_000, 500, 500} {
			time.Sleep(authn.DefaultFetchInterval) // fake
			var denied, undecided atomic.Int32
			var callers sync.WaitGroup
			for i := range tokens {
				callers.Go(func() {
					got, err := h.Authenticate(t.Context(), &authn.Request{Credentials: []byte(forged(fmt.Sprintf("%d/%d", round, i)))})
					switch {
					case got.Answer != authn.Deny:
						t.Errorf("got %v", got.Answer)
					case err == nil:
						denied.Add(1)
					case errors.Is(err, chansec.ErrUndecided):
						undecided.Add(1)
					}
				})
			}
			requireAnswer(t, authn.Allow, h, key.token(nil))
			callers.Wait()
			require.EqualValues(t, tokens, denied.Load()+undecided.Load())
			require.EqualValues(t, 64, denied.Load(), "those who waited for the fetch; the others are turned away")
			require.Equal(t, 2+round, s.fetches())
			for i := range 100 { // one after the other
				requireAnswer(t, authn.Deny, h, forged(fmt.Sprintf("again %d/%d", round, i)))
			}
			require.Equal(t, 2+round, s.fetches())
		}
		for i := 1; i < len(s.times); i++ {
			require.GreaterOrEqual(t, s.times[i].Sub(s.times[i-1]), authn.DefaultFetchInterval)
		}
	})
}

func TestKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := edSigner("old"), edSigner("next")
		s := newKeyServer(old)
		h := newIssuers(t, oneIssuer(s))
		requireAnswer(t, authn.Allow, h, old.token(nil))
		requireAnswer(t, authn.Deny, h, next.token(nil))

		time.Sleep(authn.DefaultFetchInterval) // fake, as below
		s.set(func() { s.pages[issuerKeysAt] = jwksOf(next, old) })
		requireAnswer(t, authn.Allow, h, next.token(nil)) // at once, as it is unknown
		requireAnswer(t, authn.Allow, h, old.token(nil))

		s.set(func() { s.pages[issuerKeysAt] = jwksOf(next) })
		requireAnswer(t, authn.Allow, h, old.token(nil)) // nobody can know yet
		time.Sleep(authn.DefaultKeyRefresh)
		requireAnswer(t, authn.Allow, h, next.token(nil)) // which is when somebody looks
		synctest.Wait()
		requireAnswer(t, authn.Deny, h, old.token(nil))
		requireAnswer(t, authn.Allow, h, next.token(nil))

		impostor := edSigner("next")
		s.set(func() { s.pages[issuerKeysAt] = jwksOf(impostor) })
		time.Sleep(authn.DefaultFetchInterval)
		requireAnswer(t, authn.Allow, h, impostor.token(nil)) // the issuer gave the name to another key
		requireAnswer(t, authn.Deny, h, next.token(nil))
	})
}

func TestTheLastGoodKeysServeForAStatedTime(t *testing.T) {
	for name, spoil := range map[string]func(s *keyServer){
		"the issuer is away":            func(s *keyServer) { s.away = true },
		"its keys are gone":             func(s *keyServer) { delete(s.pages, issuerKeysAt) },
		"it serves something else":      func(s *keyServer) { s.pages[issuerKeysAt] = "<html>" },
		"it serves no keys":             func(s *keyServer) { s.pages[issuerKeysAt] = `{"keys":[]}` },
		"it publishes a secret":         func(s *keyServer) { s.pages[issuerKeysAt] = `{"keys":[{"kty":"oct","k":"cGxhbnRlZA"}]}` },
		"it stalls":                     func(s *keyServer) { s.delay = time.Hour },
		"it serves more than there may": func(s *keyServer) { s.pages[issuerKeysAt] += strings.Repeat(" ", authn.DefaultFetchBytes) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, unknown := edSigner("1"), edSigner("2")
				s := newKeyServer(key)
				good := s.pages[issuerKeysAt]
				h := newIssuers(t, oneIssuer(s))
				began := time.Now()
				requireAnswer(t, authn.Allow, h, key.token(nil))
				s.set(func() { spoil(s) })
				for time.Since(began) < authn.DefaultKeyMaxStale-time.Minute {
					time.Sleep(time.Minute)
					was := time.Now()
					requireAnswer(t, authn.Allow, h, key.token(nil))
					require.Equal(t, was, time.Now(), "nobody who has a known key waits")
				}
				if got, err := tries(t, h, unknown.token(nil)); err != nil { // the issuer, who would know, is away
					require.ErrorIs(t, err, chansec.ErrUndecided)
				} else {
					require.Equal(t, authn.Deny, got.Answer)
				}
				time.Sleep(time.Until(began.Add(authn.DefaultKeyMaxStale)))
				_, err := tries(t, h, key.token(nil))
				var failure *authn.IssuerError
				require.ErrorAs(t, err, &failure)
				require.Equal(t, issuerName, failure.Issuer)
				require.ErrorIs(t, err, chansec.ErrUndecided)
				requireSilent(t, err, failure, h)

				before := s.fetches()
				for range 100 {
					_, err := tries(t, h, key.token(nil))
					require.ErrorIs(t, err, chansec.ErrUndecided)
				}
				require.LessOrEqual(t, s.fetches(), before+1, "an issuer in trouble is not asked more often")

				s.set(func() { s.away, s.delay, s.pages[issuerKeysAt] = false, 0, good })
				time.Sleep(authn.DefaultFetchInterval)
				requireAnswer(t, authn.Allow, h, key.token(nil))
			})
		})
	}
}

func TestWhoeverWaitsForKeysWaitsNoLongerThanTheyWant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := edSigner("1")
		s := newKeyServer(key)
		s.delay = 5 * time.Second
		h := newIssuers(t, oneIssuer(s))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := h.Authenticate(ctx, &authn.Request{Credentials: []byte(key.token(nil))})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, chansec.ErrUndecided)
		requireAnswer(t, authn.Allow, h, key.token(nil)) // the fetch was not theirs alone
		require.Equal(t, 1, s.fetches())
	})
}

func TestAClosedHandlerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := edSigner("1")
		s := newKeyServer(key)
		s.delay = time.Hour
		h := newIssuers(t, oneIssuer(s))
		done := make(chan error)
		go func() {
			_, err := h.Authenticate(t.Context(), &authn.Request{Credentials: []byte(key.token(nil))})
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, h.Close())
		require.ErrorContains(t, <-done, "closed")
		_, err := h.Authenticate(t.Context(), &authn.Request{Credentials: []byte(key.token(nil))})
		require.ErrorContains(t, err, "closed")
	})
}

func TestAnIssuerIsDiscovered(t *testing.T) {
	const wellKnown = issuerName + "/.well-known/openid-configuration"
	for name, c := range map[string]struct {
		document string
		problem  string // empty: it is found
	}{
		"as it should be":                  {`{"issuer":"https://id.example","jwks_uri":"https://keys.example/1","token_endpoint":"https://id.example/t"}`, ""},
		"another issuer":                   {`{"issuer":"https://evil.example","jwks_uri":"https://keys.example/1"}`, "another issuer"},
		"an issuer with a slash more":      {`{"issuer":"https://id.example/","jwks_uri":"https://keys.example/1"}`, "another issuer"},
		"no issuer":                        {`{"jwks_uri":"https://keys.example/1"}`, "another issuer"},
		"two issuers":                      {`{"issuer":"https://id.example","issuer":"https://id.example","jwks_uri":"https://keys.example/1"}`, "strict JSON"},
		"keys without TLS":                 {`{"issuer":"https://id.example","jwks_uri":"http://keys.example/1"}`, "jwks_uri"},
		"keys on this machine":             {`{"issuer":"https://id.example","jwks_uri":"http://127.0.0.1/1"}`, "jwks_uri"},
		"keys on this machine, with TLS":   {`{"issuer":"https://id.example","jwks_uri":"https://localhost/1"}`, "jwks_uri"},
		"keys in a file":                   {`{"issuer":"https://id.example","jwks_uri":"file:///etc/keys"}`, "jwks_uri"},
		"keys for a user":                  {`{"issuer":"https://id.example","jwks_uri":"https://me:planted@keys.example/1"}`, "jwks_uri"},
		"no keys":                          {`{"issuer":"https://id.example"}`, "jwks_uri"},
		"keys that are not there":          {`{"issuer":"https://id.example","jwks_uri":"https://keys.example/2"}`, "status 200"},
		"keys that are only in the config": {`{"issuer":"https://id.example","jwks":{"keys":[]}}`, "jwks_uri"},
		"a page":                           {`<html>`, "strict JSON"},
		"a list":                           {`[]`, "strict JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			key := edSigner("1")
			s := &keyServer{pages: map[string]string{wellKnown: c.document, "https://keys.example/1": jwksOf(key)}}
			config := oneIssuer(s)
			config.Issuers[0].JWKS, config.Issuers[0].Discovery = "", true
			h := newIssuers(t, config)
			if c.problem == "" {
				requireAnswer(t, authn.Allow, h, key.token(nil))
				require.Equal(t, []string{wellKnown, "https://keys.example/1"}, s.fetched)
				return
			}
			_, err := tries(t, h, key.token(nil))
			require.ErrorIs(t, err, chansec.ErrUndecided)
			require.ErrorContains(t, err, c.problem)
			requireSilent(t, err)
		})
	}
	t.Run("with a path and a slash at the end", func(t *testing.T) {
		key := edSigner("1")
		const name = "https://id.example/tenant/"
		s := &keyServer{pages: map[string]string{"https://id.example/tenant/.well-known/openid-configuration": `{"issuer":"` + name + `","jwks_uri":"https://keys.example/1"}`,
			"https://keys.example/1": jwksOf(key)}}
		config := oneIssuer(s)
		config.Issuers[0].Issuer, config.Issuers[0].JWKS, config.Issuers[0].Discovery = name, "", true
		requireAnswer(t, authn.Allow, newIssuers(t, config), key.token(jwt.MapClaims{"iss": name}))
	})
}

func TestKeysComeOverTLSAndOnlyFromWhereTheyAre(t *testing.T) {
	key := edSigner("1")
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = io.WriteString(w, jwksOf(key))
	})
	mux.Handle("/moved", http.RedirectHandler("/keys", http.StatusFound))
	s := httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = discardLog
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	try := func(path string, config *tls.Config) error {
		h := newIssuers(t, authn.IssuersConfig{TLS: config, Issuers: []authn.Issuer{{Issuer: issuerName, Audience: "chansec", JWKS: s.URL + path, Algorithms: []string{"EdDSA"}}}})
		got, err := tries(t, h, key.token(nil))
		if err == nil {
			require.Equal(t, authn.Allow, got.Answer)
		}
		return err
	}
	require.NoError(t, try("/keys", &tls.Config{RootCAs: pool}))
	require.ErrorContains(t, try("/keys", nil), "not trusted")
	require.ErrorContains(t, try("/moved", &tls.Config{RootCAs: pool}), "status 200")
	require.EqualValues(t, 1, asked.Load())
}

func TestAnIssuerThatMisbehavesLetsInNobody(t *testing.T) {
	key := edSigner("1")
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	body := jwksOf(key)
	full := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
	for name, c := range map[string]struct {
		say func(net.Conn)
		ok  bool
	}{
		"it does as it should":      {func(c net.Conn) { _, _ = io.WriteString(c, full) }, true},
		"it says nothing":           {stall, false},
		"it hangs up":               {func(net.Conn) {}, false},
		"it stops in the body":      {func(c net.Conn) { _, _ = io.WriteString(c, full[:len(full)-9]); stall(c) }, false},
		"it is cut off in the body": {func(c net.Conn) { _, _ = io.WriteString(c, full[:len(full)-9]) }, false},
		"it says too little of it":  {func(c net.Conn) { _, _ = io.WriteString(c, head+"Content-Length: 20\r\n\r\n"+body) }, false},
		"it floods the body": {func(c net.Conn) {
			_, err := io.WriteString(c, head+"\r\n"+body)
			for err == nil {
				_, err = io.WriteString(c, strings.Repeat(" ", 1000))
			}
		}, false},
		"it fails":           {func(c net.Conn) { _, _ = io.WriteString(c, strings.Replace(full, "200 OK", "500 Oh", 1)) }, false},
		"it gives a created": {func(c net.Conn) { _, _ = io.WriteString(c, strings.Replace(full, "200 OK", "201 Created", 1)) }, false},
		"it has a page":      {func(c net.Conn) { _, _ = io.WriteString(c, strings.Replace(full, "application/json", "text/html", 1)) }, false},
		"it has no type":     {func(c net.Conn) { _, _ = io.WriteString(c, strings.Replace(full, "Content-Type", "X-Type", 1)) }, false},
		"it redirects": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
		}, false},
		"it switches protocols": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			stall(c)
		}, false},
		"it says it is compressed": {func(c net.Conn) {
			_, _ = io.WriteString(c, strings.Replace(full, "Content-Length", "Content-Encoding: gzip\r\nContent-Length", 1))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, connections := webhookWire(t, c.say)
			h := newIssuers(t, authn.IssuersConfig{FetchTimeout: 200 * time.Millisecond, Issuers: []authn.Issuer{{Issuer: issuerName, Audience: "chansec", JWKS: url + "/keys", Algorithms: []string{"EdDSA"}}}})
			for range 20 {
				got, err := tries(t, h, key.token(nil))
				require.Equal(t, c.ok, err == nil && got.Answer == authn.Allow)
				if !c.ok {
					require.ErrorIs(t, err, chansec.ErrUndecided)
				}
			}
			require.EqualValues(t, 1, connections.Load(), "not asked again within the interval")
		})
	}
}

func TestTheEndOfATokenEndsWhatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := edSigner("1")
		h := newIssuers(t, oneIssuer(newKeyServer(key)))
		got := requireAnswer(t, authn.Allow, h, key.token(jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix()}))
		acl, err := chansec.NewACLSecurity(chansec.ACLRead(got.Principal))
		require.NoError(t, err)
		ch, err := chansec.NewBroadcast[string]("readings", chansec.WithSecurity(acl))
		require.NoError(t, err)
		require.NoError(t, ch.Start(t.Context()))
		defer ch.Close()
		caller := chansec.StaticCaller(chansec.Principal{SystemID: got.Principal, Proof: got.Proof, Grant: got.Grant})
		lease, err := ch.For(caller).Subscribe(t.Context())
		require.NoError(t, err)
		began := time.Now()
		<-lease.Done()
		require.ErrorIs(t, lease.Err(), chansec.ErrExpired)
		require.Equal(t, time.Minute, time.Since(began).Round(time.Second))
	})
}

func TestManyMayPresentTokensAtOnce(t *testing.T) {
	keys := []signer{edSigner("1"), rsaSigner(), ecSigner("ec")}
	s := newKeyServer(keys...)
	h := newIssuers(t, oneIssuer(s))
	var callers sync.WaitGroup
	for i := range 60 {
		text := keys[i%3].token(jwt.MapClaims{"sub": fmt.Sprint("user", i)})
		callers.Go(func() {
			got, err := h.Authenticate(t.Context(), &authn.Request{Credentials: []byte(text)})
			if err != nil || got.Principal != fmt.Sprintf("%s#user%d", issuerName, i) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	callers.Wait()
	require.Equal(t, 1, s.fetches())
}
