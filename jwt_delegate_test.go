package chansec

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A token that is made from a token never reaches further than that, and dies with it.

func TestDelegateNeverExceedsTheParent(t *testing.T) {
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	parentOf := func(req TokenRequest) Principal {
		req.SystemID = "boss"
		return authenticated(t, j, mint(t, j, req))
	}
	wide := TokenRequest{Role: RoleAdmin, AllChannels: true, ExpiresIn: time.Hour}
	narrow := TokenRequest{Role: RoleWrite, Channels: []string{"a", "b"}, ExpiresIn: time.Hour}
	for _, row := range []struct {
		name   string
		parent TokenRequest
		req    TokenRequest
		want   error
	}{
		{"less of everything", wide, TokenRequest{Role: RoleRead, Channels: []string{"a"}, ExpiresIn: time.Minute}, nil},
		{"as much of everything", wide, TokenRequest{Role: RoleAdmin, AllChannels: true, ExpiresIn: time.Hour}, nil},
		{"some of the channels", narrow, TokenRequest{Role: RoleRead, Channels: []string{"b"}}, nil},
		{"no channels", narrow, TokenRequest{Role: RoleRead}, nil},
		{"a higher role", narrow, TokenRequest{Role: RoleAdmin, Channels: []string{"a"}}, ErrGrant},
		{"another channel", narrow, TokenRequest{Role: RoleRead, Channels: []string{"a", "c"}}, ErrGrant},
		{"all channels", narrow, TokenRequest{Role: RoleRead, AllChannels: true}, ErrGrant},
		{"a longer life", wide, TokenRequest{Role: RoleRead, AllChannels: true, ExpiresIn: time.Hour + time.Second}, ErrGrant},
		{"no role", wide, TokenRequest{AllChannels: true}, ErrInvalid},
		{"a negative life", wide, TokenRequest{Role: RoleRead, AllChannels: true, ExpiresIn: -1}, ErrInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.req.SystemID = "child"
			text, err := j.Delegate(t.Context(), parentOf(row.parent), row.req)
			if row.want != nil {
				require.ErrorIs(t, err, row.want)
				require.Empty(t, text)
				return
			}
			require.NoError(t, err)
			child := authenticated(t, j, text)
			require.Equal(t, "child", child.SystemID)
			require.Equal(t, row.req.Role, child.Grant.Role)
			require.Equal(t, row.req.AllChannels, child.Grant.AllChannels)
			require.Equal(t, len(row.req.Channels), len(child.Grant.Channels))
			require.False(t, child.Grant.ExpiresAt.After(theTime.Add(time.Hour)), "unless asked for less, it lives as long as the parent")
		})
	}
}

func TestDelegateTakesItsOwnPrincipalsOnly(t *testing.T) {
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	req := TokenRequest{SystemID: "child", Role: RoleRead, AllChannels: true}
	good := authenticated(t, j, mint(t, j, TokenRequest{SystemID: "boss", Role: RoleAdmin, AllChannels: true}))
	child, err := j.Delegate(t.Context(), good, req)
	require.NoError(t, err)
	narrowed := good
	narrowed.Grant = &Grant{Role: RoleRead, Channels: []string{"a"}, ExpiresAt: good.Grant.ExpiresAt}
	unbounded := good
	unbounded.Grant = nil
	for name, p := range map[string]Principal{
		"nobody":                                {},
		"a name":                                {SystemID: "boss"},
		"what looks like one":                   {SystemID: "boss", Proof: ProofToken, Grant: good.Grant},
		"one of another security":               authenticated(t, jwtWith(t, hs256(t, ""), stopped(theTime)), mint(t, j, TokenRequest{SystemID: "boss", Role: RoleAdmin, AllChannels: true})),
		"one that was narrowed on the way":      narrowed,
		"one whose bound was taken away":        unbounded,
		"one whose token has no ID":             authenticated(t, j, forge(plainHeader, claimsWith("channels", "null", "role", `"admin"`))),
		"one whose token was made from another": authenticated(t, j, child),
	} {
		_, err := j.Delegate(t.Context(), p, req)
		require.ErrorIs(t, err, ErrGrant, name)
	}
	require.NoError(t, j.RevokeToken(good.Grant.TokenID, time.Time{}))
	_, err = j.Delegate(t.Context(), good, req)
	require.ErrorIs(t, err, ErrGrant, "one that was revoked")
}

func TestDelegatedTokenDiesWithItsParent(t *testing.T) {
	for name, kill := range map[string]func(j *JWTSecurity, parent Principal) error{
		"the parent is revoked":           func(j *JWTSecurity, p Principal) error { return j.RevokeToken(p.Grant.TokenID, time.Time{}) },
		"the parent's subject is revoked": func(j *JWTSecurity, p Principal) error { return j.RevokeSubject(p.SystemID, theTime) },
		"the child's subject is revoked":  func(j *JWTSecurity, _ Principal) error { return j.RevokeSubject("child", theTime) },
	} {
		t.Run(name, func(t *testing.T) {
			j := jwtWith(t, hs256(t, ""), stopped(theTime))
			parent := authenticated(t, j, mint(t, j, TokenRequest{SystemID: "boss", Role: RoleAdmin, AllChannels: true}))
			text, err := j.Delegate(t.Context(), parent, TokenRequest{SystemID: "child", Role: RoleRead, AllChannels: true})
			require.NoError(t, err)
			child := authenticated(t, j, text)
			ch := aBroadcast.started(t, WithSecurity(j))
			lease := subscribe(t, ch.of(StaticCaller(child)))
			require.NoError(t, kill(j, parent))
			_, err = j.Authenticate(t.Context(), text)
			require.ErrorIs(t, err, ErrRevoked)
			<-lease.Done()
			require.ErrorIs(t, lease.Err(), ErrRevoked)
		})
	}
	t.Run("it outlives earlier tokens of the parent's subject", func(t *testing.T) {
		j := jwtWith(t, hs256(t, ""), stopped(theTime))
		parent := authenticated(t, j, mint(t, j, TokenRequest{SystemID: "boss", Role: RoleAdmin, AllChannels: true}))
		text, err := j.Delegate(t.Context(), parent, TokenRequest{SystemID: "child", Role: RoleRead, AllChannels: true})
		require.NoError(t, err)
		require.NoError(t, j.RevokeSubject("boss", theTime.Add(-time.Second)))
		require.Equal(t, accepted, answerTo(t, j, text))
	})
}

func TestParentClaims(t *testing.T) {
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	for _, row := range []struct {
		name   string
		claims []string
		want   answer
	}{
		{"a parent", []string{"parent", `"p"`, "parent_sub", `"s"`, "parent_iat", "1700000000"}, accepted},
		{"a parent that does not say when it was issued", []string{"parent", `"p"`, "parent_sub", `"s"`}, accepted},
		{"a parent without a subject", []string{"parent", `"p"`}, refused},
		{"a parent without an ID", []string{"parent_sub", `"s"`}, refused},
		{"a parent that is null", []string{"parent", "null", "parent_sub", `"s"`}, refused},
		{"a parent that is a number", []string{"parent", "1", "parent_sub", `"s"`}, refused},
		{"a parent of no name", []string{"parent", `""`, "parent_sub", `"s"`}, refused},
		{"a time that is a text", []string{"parent", `"p"`, "parent_sub", `"s"`, "parent_iat", `"1"`}, refused},
		{"a time before time", []string{"parent", `"p"`, "parent_sub", `"s"`, "parent_iat", "-1"}, refused},
		{"a name in other letters", []string{"Parent", `"p"`}, refused},
	} {
		require.Equal(t, row.want, answerTo(t, j, forge(plainHeader, claimsWith(row.claims...))), row.name)
	}
}
