package authn_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

func newJWT(t *testing.T) *chansec.JWTSecurity {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	signer, err := chansec.HMACKey("k", "HS256", key)
	require.NoError(t, err)
	jwt, err := chansec.NewJWTSecurity(signer)
	require.NoError(t, err)
	return jwt
}

func TestTokensAreForWhomTheyAreMade(t *testing.T) {
	t.Parallel()
	jwt := newJWT(t)
	token := func(request chansec.TokenRequest) []byte {
		text, err := jwt.GenerateToken(t.Context(), request)
		require.NoError(t, err)
		return []byte(text)
	}
	good := token(chansec.TokenRequest{SystemID: "alice", Role: chansec.RoleRead, Channels: []string{"c"}})
	revoked := token(chansec.TokenRequest{SystemID: "mallory", Role: chansec.RoleRead, AllChannels: true})
	require.NoError(t, jwt.RevokeSubject("mallory", time.Now().Add(time.Second)))
	foreign, err := newJWT(t).GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "alice", Role: chansec.RoleRead, AllChannels: true})
	require.NoError(t, err)
	h := authn.Tokens(jwt)
	for _, row := range []struct {
		name    string
		request authn.Request
		want    authn.Answer
	}{
		{"a token", authn.Request{Credentials: good}, authn.Allow},
		{"a token of whom the request names", authn.Request{Principal: "alice", Credentials: good}, authn.Allow},
		{"a token of somebody else", authn.Request{Principal: "root", Credentials: good}, authn.Deny},
		{"a token that was revoked", authn.Request{Credentials: revoked}, authn.Deny},
		{"a token of another issuer", authn.Request{Credentials: []byte(foreign)}, authn.Abstain},
		{"no token", authn.Request{Principal: "alice"}, authn.Abstain},
		{"a password", authn.Request{Principal: "alice", Credentials: []byte("pw")}, authn.Abstain},
	} {
		got := ask(t, h, &row.request)
		require.Equal(t, row.want, got.Answer, row.name)
	}
	_, err = chain(t, authn.Config{}, authn.Tokens(brokenAuthenticator{})).Login(t.Context(), &authn.Request{Credentials: good})
	require.ErrorIs(t, err, chansec.ErrUndecided)
}

type brokenAuthenticator struct{}

func (brokenAuthenticator) Authenticate(context.Context, string) (chansec.Principal, error) {
	return chansec.Principal{}, errBroken
}

// TestATokenKeepsItsBoundsThroughAChain: what was opened with it, too, and also where the answer is from a cache.
func TestATokenKeepsItsBoundsThroughAChain(t *testing.T) {
	t.Parallel()
	jwt := newJWT(t)
	cache, _ := newCache(t, authn.Tokens(jwt), authn.CacheConfig{Yes: time.Hour})
	acl, err := chansec.NewACLSecurity()
	require.NoError(t, err)
	require.NoError(t, acl.Grant("alice", chansec.RoleAdmin))
	security, err := chansec.Join(chain(t, authn.Config{}, cache, says(authn.Deny)), acl, jwt)
	require.NoError(t, err)
	readings, err := chansec.NewBroadcast[int]("readings", chansec.WithSecurity(security))
	require.NoError(t, err)
	defer readings.Close()
	require.NoError(t, readings.Start(t.Context()))
	token, err := jwt.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "alice", Role: chansec.RoleRead, AllChannels: true})
	require.NoError(t, err)
	for range 2 {
		p, err := security.Authenticate(t.Context(), token)
		require.NoError(t, err)
		p.Grant.Role = chansec.RoleAdmin
		_, err = readings.For(chansec.StaticCaller(p)).Write(t.Context(), 1)
		require.ErrorIs(t, err, chansec.ErrGrant, "the token only reads")
	}
	p, err := security.Authenticate(t.Context(), token)
	require.NoError(t, err)
	lease, err := readings.For(chansec.StaticCaller(p)).Subscribe(t.Context())
	require.NoError(t, err)
	require.NoError(t, jwt.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt))
	<-lease.Done()
	require.ErrorIs(t, lease.Err(), chansec.ErrRevoked)
	p, err = security.Authenticate(t.Context(), token)
	require.NoError(t, err, "a cache remembers")
	_, err = readings.For(chansec.StaticCaller(p)).Subscribe(t.Context())
	require.ErrorIs(t, err, chansec.ErrRevoked, "but the guard knows better")
}

func TestAnAttemptWithATokenThatNamesNobodyIsARefusal(t *testing.T) {
	t.Parallel()
	var seen []authn.Attempt
	c := chain(t, authn.Config{Observe: func(_ context.Context, a authn.Attempt) error { seen = append(seen, a); return nil }}, says(authn.Allow))
	_, err := c.Authenticate(t.Context(), "garbage")
	require.Equal(t, "a", refused(t, err).By)
	require.Len(t, seen, 1)
	require.Equal(t, chansec.Denied, seen[0].Outcome)
	require.Equal(t, "the token names nobody", seen[0].Reason)
	_, err = chain(t, authn.Config{Token: func(string) (string, []byte) { panic("broken") }}, says(authn.Allow)).Authenticate(t.Context(), "x")
	require.ErrorIs(t, err, chansec.ErrUndecided)
}
