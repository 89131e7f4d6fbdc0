package rbac_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/rbac"
)

func TestToken(t *testing.T) {
	decode := func(text string) (header, claims string) {
		parts := strings.Split(text, ".")
		require.Len(t, parts, 3)
		h, err := base64.RawURLEncoding.DecodeString(parts[0])
		require.NoError(t, err)
		c, err := base64.RawURLEncoding.DecodeString(parts[1])
		require.NoError(t, err)
		return string(h), string(c)
	}
	for name, tt := range map[string]struct {
		opts   []rbac.TokenOption
		id     rbac.Identity
		claims string
	}{
		"a role lasts an hour":           {nil, rbac.Identity{ID: "U1", Roles: []string{"user"}}, `{"sub":"U1","iat":1800000000,"exp":1800003600,"roles":["user"]}`},
		"no roles are no claim":          {nil, rbac.Identity{ID: "U1"}, `{"sub":"U1","iat":1800000000,"exp":1800003600}`},
		"nor is an empty list":           {nil, rbac.Identity{ID: "U1", Roles: []string{}}, `{"sub":"U1","iat":1800000000,"exp":1800003600}`},
		"the application is an audience": {[]rbac.TokenOption{rbac.Application("app")}, rbac.Identity{ID: "U1"}, `{"sub":"U1","iat":1800000000,"exp":1800003600,"aud":"app"}`},
		"the lifetime can be set":        {[]rbac.TokenOption{rbac.Lifetime(time.Minute)}, rbac.Identity{ID: "U1"}, `{"sub":"U1","iat":1800000000,"exp":1800000060}`},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := newTokens(t, tt.opts...)
			text, err := tokens.Token(tt.id)
			require.NoError(t, err)
			header, claims := decode(text)
			require.Equal(t, goodHeader, header)
			require.JSONEq(t, tt.claims, claims)
			got, err := tokens.Verify(t.Context(), text)
			require.NoError(t, err)
			require.Equal(t, tt.id.ID, got.Subject)
			require.Len(t, got.Roles, len(tt.id.Roles))
			require.Equal(t, testNow, got.IssuedAt)
		})
	}
}

func TestTokenRefused(t *testing.T) {
	tokens := newTokens(t)
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("role-%d", i)
	}
	for name, id := range map[string]rbac.Identity{
		"no id":                 {Roles: []string{"user"}},
		"an id with a tab":      {ID: "a\t"},
		"an id that is broken":  {ID: "a\xff"},
		"a role without name":   {ID: "U1", Roles: []string{""}},
		"a role called denied":  {ID: "U1", Roles: []string{"denied"}},
		"or ANONYMOUS":          {ID: "U1", Roles: []string{"user", "ANONYMOUS"}},
		"a role that is broken": {ID: "U1", Roles: []string{"\uFFFD"}},
		"more than a token has": {ID: "U1", Roles: many},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := tokens.Token(id)
			require.ErrorIs(t, err, chansec.ErrInvalid)
			require.Empty(t, text)
		})
	}
	keys, err := rbac.NewKeys(nil, &rsaKey().PublicKey)
	require.NoError(t, err)
	verifying, err := rbac.NewTokens(keys)
	require.NoError(t, err)
	for _, tokens := range []*rbac.Tokens{verifying, nil, {}} {
		_, err = tokens.Token(rbac.Identity{ID: "U1"})
		require.ErrorIs(t, err, chansec.ErrNoSigner)
	}
}

func TestGenerateToken(t *testing.T) {
	tokens := newTokens(t, rbac.Lifetime(time.Hour))
	for name, tt := range map[string]struct {
		req    chansec.TokenRequest
		roles  []string // nil: refused
		expiry time.Duration
	}{
		"the role is a role":               {chansec.TokenRequest{SystemID: "a", Role: "WRITE", AllChannels: true}, []string{"write"}, time.Hour},
		"the lifetime is the request's":    {chansec.TokenRequest{SystemID: "a", Role: "read", AllChannels: true, ExpiresIn: time.Minute}, []string{"read"}, time.Minute},
		"no request is none":               {chansec.TokenRequest{}, nil, 0},
		"no token is for some channels":    {chansec.TokenRequest{SystemID: "a", Role: "read", Channels: []string{"c"}}, nil, 0},
		"nor for none":                     {chansec.TokenRequest{SystemID: "a", Role: "read"}, nil, 0},
		"nor for all and some":             {chansec.TokenRequest{SystemID: "a", Role: "read", AllChannels: true, Channels: []string{"c"}}, nil, 0},
		"nor for nobody":                   {chansec.TokenRequest{Role: "read", AllChannels: true}, nil, 0},
		"nor with another role":            {chansec.TokenRequest{SystemID: "a", Role: "user", AllChannels: true}, nil, 0},
		"nor for less than no time at all": {chansec.TokenRequest{SystemID: "a", Role: "read", AllChannels: true, ExpiresIn: -1}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := tokens.GenerateToken(t.Context(), tt.req)
			if tt.roles == nil {
				require.ErrorIs(t, err, chansec.ErrInvalid)
				return
			}
			require.NoError(t, err)
			p, err := tokens.Authenticate(t.Context(), text)
			require.NoError(t, err)
			require.Equal(t, chansec.Principal{SystemID: "a", Proof: chansec.ProofToken, Roles: tt.roles,
				Grant: &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: testNow.Add(tt.expiry)}}, p)
		})
	}
}

func TestVerify(t *testing.T) {
	const rest = `"exp":1800000060`
	for name, tt := range map[string]struct {
		opts           []rbac.TokenOption
		header, claims string
		want           *rbac.Claims // nil: refused
		expired        bool
	}{
		"roles are strings of a list":   {nil, goodHeader, `{"sub":"U1","roles":["a","B c"],` + rest + `}`, &rbac.Claims{Subject: "U1", Roles: []string{"a", "B c"}}, false},
		"others in it are none":         {nil, goodHeader, `{"roles":[1,"a",null,["b"],{"c":"d"},"\u0065\""],` + rest + `}`, &rbac.Claims{Roles: []string{"a", `e"`}}, false},
		"a string is no list":           {nil, goodHeader, `{"roles":"admin",` + rest + `}`, &rbac.Claims{}, false},
		"nor is an object":              {nil, goodHeader, `{"roles":{"admin":true},` + rest + `}`, &rbac.Claims{}, false},
		"nor null":                      {nil, goodHeader, `{"roles":null,` + rest + `}`, &rbac.Claims{}, false},
		"no subject is nobody":          {nil, goodHeader, `{"roles":["a"],` + rest + `}`, &rbac.Claims{Roles: []string{"a"}}, false},
		"an empty one is nobody":        {nil, goodHeader, `{"sub":"",` + rest + `}`, &rbac.Claims{}, false},
		"a number is nobody":            {nil, goodHeader, `{"sub":7,` + rest + `}`, &rbac.Claims{}, false},
		"the key ID is ignored":         {nil, `{"alg":"RS256","kid":"../../etc/passwd"}`, `{` + rest + `}`, &rbac.Claims{}, false},
		"as are keys that it brings":    {nil, `{"alg":"RS256","jwk":{"kty":"oct","k":"AA"},"jku":"https://evil.example","x5u":"https://evil.example"}`, `{` + rest + `}`, &rbac.Claims{}, false},
		"the typ may be left out":       {nil, `{"alg":"RS256"}`, `{` + rest + `}`, &rbac.Claims{}, false},
		"it is no other":                {nil, `{"alg":"RS256","typ":"at+jwt"}`, `{` + rest + `}`, nil, false},
		"nothing is critical":           {nil, `{"alg":"RS256","crit":["exp"],"exp":1}`, `{` + rest + `}`, nil, false},
		"not even nothing":              {nil, `{"alg":"RS256","crit":[]}`, `{` + rest + `}`, nil, false},
		"none is no algorithm":          {nil, `{"alg":"none"}`, `{` + rest + `}`, nil, false},
		"RS512 is another":              {nil, `{"alg":"RS512"}`, `{` + rest + `}`, nil, false},
		"as is PS256":                   {nil, `{"alg":"PS256"}`, `{` + rest + `}`, nil, false},
		"and HS256":                     {nil, `{"alg":"HS256"}`, `{` + rest + `}`, nil, false},
		"letters count in it":           {nil, `{"alg":"rs256"}`, `{` + rest + `}`, nil, false},
		"it is said once":               {nil, `{"alg":"RS256","alg":"RS256"}`, `{` + rest + `}`, nil, false},
		"an expiry is needed":           {nil, goodHeader, `{"sub":"U1"}`, nil, false},
		"it is a time":                  {nil, goodHeader, `{"exp":"1800000060"}`, nil, false},
		"of the future":                 {nil, goodHeader, `{"exp":1800000000}`, nil, true},
		"with leeway of the past":       {[]rbac.TokenOption{rbac.Leeway(time.Minute)}, goodHeader, `{"exp":1799999941}`, &rbac.Claims{}, false},
		"but not much":                  {[]rbac.TokenOption{rbac.Leeway(time.Minute)}, goodHeader, `{"exp":1799999940}`, nil, true},
		"nbf is not of the future":      {nil, goodHeader, `{"nbf":1800000001,` + rest + `}`, nil, false},
		"nbf may be now":                {nil, goodHeader, `{"nbf":1800000000,` + rest + `}`, &rbac.Claims{}, false},
		"an audience is somebody else":  {nil, goodHeader, `{"aud":"app",` + rest + `}`, nil, false},
		"also an empty list of them":    {nil, goodHeader, `{"aud":[],` + rest + `}`, nil, false},
		"the application is among them": {[]rbac.TokenOption{rbac.Application("app")}, goodHeader, `{"aud":["x","app"],` + rest + `}`, &rbac.Claims{}, false},
		"another is not":                {[]rbac.TokenOption{rbac.Application("app")}, goodHeader, `{"aud":["App"],` + rest + `}`, nil, false},
		"none is not":                   {[]rbac.TokenOption{rbac.Application("app")}, goodHeader, `{` + rest + `}`, nil, false},
		"a claim is said once":          {nil, goodHeader, `{"roles":[],"roles":["admin"],` + rest + `}`, nil, false},
		"in its letters":                {nil, goodHeader, `{"Roles":["admin"],` + rest + `}`, nil, false},
		"whatever they look like":       {nil, goodHeader, `{"role\u017f":["admin"],` + rest + `}`, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := newTokens(t, tt.opts...)
			text := signed(t, tt.header, tt.claims)
			got, err := tokens.Verify(t.Context(), text)
			if tt.want == nil {
				require.Nil(t, got)
				require.EqualError(t, err, "chansec: not authenticated")
				require.ErrorIs(t, err, chansec.ErrUnauthenticated)
				require.Equal(t, tt.expired, errors.Is(err, chansec.ErrExpired))
				_, err = tokens.Authenticate(t.Context(), text)
				require.ErrorIs(t, err, chansec.ErrUnauthenticated)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want.Subject, got.Subject)
			require.Equal(t, tt.want.Roles, got.Roles)
			_, err = tokens.Authenticate(t.Context(), text)
			require.Equal(t, got.Subject != "", err == nil, "a principal has a name")
		})
	}
}

// verifierFunc is a Verifier of somebody else.
type verifierFunc func(context.Context, string) (*rbac.Claims, error)

func (f verifierFunc) Verify(ctx context.Context, token string) (*rbac.Claims, error) {
	return f(ctx, token)
}

// TestClaimsText: the claims beside ours, for permissions of your own.
func TestClaimsText(t *testing.T) {
	claims, err := newTokens(t).Verify(t.Context(), signed(t, goodHeader, `{"exp":1800000060,"tenant":"T\u0031","n":1}`))
	require.NoError(t, err)
	tenant, ok := claims.Text("tenant")
	require.True(t, ok)
	require.Equal(t, "T1", tenant)
	for _, name := range []string{"n", "Tenant", "", "absent"} {
		_, ok := claims.Text(name)
		require.False(t, ok, name)
	}
	for _, none := range []*rbac.Claims{nil, {}} {
		_, ok := none.Text("tenant")
		require.False(t, ok)
	}
}

// TestEachPublicKeyIsTried: what an old key signed is good for as long as its public half is there.
func TestEachPublicKeyIsTried(t *testing.T) {
	old := newToken(t, newTokens(t), "U1")
	for _, tt := range []struct {
		old, want bool
	}{{true, true}, {false, false}} {
		private := otherRSA()
		keys, err := rbac.NewKeys(private, &private.PublicKey)
		if tt.old {
			keys, err = rbac.NewKeys(private, &private.PublicKey, &rsaKey().PublicKey)
		}
		require.NoError(t, err)
		tokens, err := rbac.NewTokens(keys, rbac.Clock(func() time.Time { return testNow }))
		require.NoError(t, err)
		_, err = tokens.Verify(t.Context(), old)
		require.Equal(t, tt.want, err == nil)
		_, err = tokens.Verify(t.Context(), newToken(t, tokens, "U1"))
		require.NoError(t, err)
	}
}

func TestTokensRefused(t *testing.T) {
	keys, err := rbac.NewKeys(rsaKey(), &rsaKey().PublicKey)
	require.NoError(t, err)
	for name, opt := range map[string]rbac.TokenOption{
		"no application":        rbac.Application(""),
		"one with a line break": rbac.Application("a\n"),
		"less than a second":    rbac.Lifetime(time.Second - 1),
		"less than no leeway":   rbac.Leeway(-1),
		"more than a minute's":  rbac.Leeway(time.Minute + 1),
		"no clock":              rbac.Clock(nil),
		"no option":             nil,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rbac.NewTokens(keys, opt)
			require.ErrorIs(t, err, chansec.ErrInvalid)
		})
	}
	_, err = rbac.NewTokens(rbac.Keys{})
	require.ErrorIs(t, err, chansec.ErrInvalid)
	for _, tokens := range []*rbac.Tokens{nil, {}} {
		_, err := tokens.Verify(t.Context(), "x.y.z")
		require.ErrorIs(t, err, chansec.ErrUnauthenticated)
	}
}

// TestNothingSecretIsPrinted: neither by an error nor by a value that holds a key.
func TestNothingSecretIsPrinted(t *testing.T) {
	tokens := newTokens(t)
	keys, err := rbac.NewKeys(rsaKey(), &rsaKey().PublicKey)
	require.NoError(t, err)
	secrets := []string{rsaKey().D.String(), fmt.Sprintf("%x", rsaKey().D), rsaKey().Primes[0].String()}
	service := newService(t, tokens, new(rbac.Rules).DenyAll())
	for _, value := range []any{tokens, keys, service} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			text := fmt.Sprintf(verb, value)
			for _, s := range secrets {
				require.NotContains(t, text, s)
			}
		}
	}
	require.Equal(t, "rbac.Keys", fmt.Sprintf("%+v", keys))
	require.Equal(t, "rbac.Tokens", fmt.Sprintf("%#v", tokens))
}
