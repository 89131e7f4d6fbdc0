package chansec

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests in this file are the "security" block of sssn's own suite (tests/core/test_security.py), one for one and with its
// names, asserting the effect and not the state. Where chansec differs on purpose, the comment of the test says how.

// Differs: the answer is a Principal, and it has no proof, so that no transport takes it.
func TestOpenSecurityAuthenticate(t *testing.T) {
	t.Parallel()
	p, err := OpenSecurity{}.Authenticate(t.Context(), "my-system")
	require.NoError(t, err)
	require.Equal(t, Principal{SystemID: "my-system"}, p)
}

func TestOpenSecurityAllowsAll(t *testing.T) {
	t.Parallel()
	require.Equal(t, [3]bool{true, true, true}, rightsOf(t, OpenSecurity{}, "anyone", "any-channel"))
}

func TestOpenSecurityGenerateToken(t *testing.T) {
	t.Parallel()
	token, err := OpenSecurity{}.GenerateToken(t.Context(), TokenRequest{SystemID: "sys-1", Role: RoleRead})
	require.NoError(t, err)
	require.Equal(t, "sys-1", token)
}

func TestACLGrantRead(t *testing.T) {
	t.Parallel()
	acl := aclWith(t)
	require.NoError(t, acl.Grant("r1", RoleRead))
	require.Equal(t, [3]bool{true, false, false}, rightsOf(t, acl, "r1", "ch"))
}

func TestACLGrantWriteImpliesRead(t *testing.T) {
	t.Parallel()
	acl := aclWith(t)
	require.NoError(t, acl.Grant("w1", RoleWrite))
	require.Equal(t, [3]bool{true, true, false}, rightsOf(t, acl, "w1", "ch"))
}

func TestACLGrantAdminImpliesAll(t *testing.T) {
	t.Parallel()
	acl := aclWith(t)
	require.NoError(t, acl.Grant("a1", RoleAdmin))
	require.Equal(t, [3]bool{true, true, true}, rightsOf(t, acl, "a1", "ch"))
}

// Differs: Revoke reports whether there was anything to take, and acts on what is already open (6.B5).
func TestACLRevoke(t *testing.T) {
	t.Parallel()
	acl := aclWith(t)
	require.NoError(t, acl.Grant("x", RoleAdmin))
	require.True(t, acl.Revoke("x"))
	require.Equal(t, [3]bool{}, rightsOf(t, acl, "x", "ch"))
}

// Differs: an unknown name does not authenticate either (6.A6).
func TestACLUnknownDenied(t *testing.T) {
	t.Parallel()
	acl := aclWith(t)
	require.Equal(t, [3]bool{}, rightsOf(t, acl, "nobody", "ch"))
	_, err := acl.Authenticate(t.Context(), "nobody")
	require.ErrorIs(t, err, ErrUnauthenticated)
}

// Differs: the error is typed. As there, it changes nothing.
func TestACLInvalidRole(t *testing.T) {
	t.Parallel()
	acl := aclWith(t)
	err := acl.Grant("x", "superuser")
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, `"superuser"`)
	require.Empty(t, acl.Entries())
}

func TestACLConstructorLists(t *testing.T) {
	t.Parallel()
	acl := aclWith(t, ACLRead("r1"), ACLWrite("w1"), ACLAdmin("a1"))
	require.Equal(t, [3]bool{true, false, false}, rightsOf(t, acl, "r1", "ch"))
	require.Equal(t, [3]bool{true, true, false}, rightsOf(t, acl, "w1", "ch"))
	require.Equal(t, [3]bool{true, true, true}, rightsOf(t, acl, "a1", "ch"))
}

// Differs: channels and lifetime of the request are honoured, not ignored (6.A7), so that "all" has to be asked for.
func TestACLGenerateTokenGrantsRole(t *testing.T) {
	t.Parallel()
	acl := aclWith(t)
	token, err := acl.GenerateToken(t.Context(), TokenRequest{SystemID: "new-sys", Role: RoleWrite, Channels: []string{"ch"}})
	require.NoError(t, err)
	require.Equal(t, "new-sys", token)
	require.Equal(t, [3]bool{true, true, false}, rightsOf(t, acl, "new-sys", "ch"))
	require.Equal(t, [3]bool{}, rightsOf(t, acl, "new-sys", "other"))
}

// Differs: the secret must be as long as the hash (6.A13), and the token carries iat.
func TestJWTGenerateAndAuthenticate(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	token, err := j.GenerateToken(t.Context(), TokenRequest{SystemID: "svc-a", Role: RoleRead, AllChannels: true})
	require.NoError(t, err)
	p, err := j.Authenticate(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, "svc-a", p.SystemID)
}

// Differs: a refusal is an error, and says no more than that.
func TestJWTAuthenticateInvalidToken(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	_, err := j.Authenticate(t.Context(), "not-a-jwt")
	require.ErrorIs(t, err, ErrUnauthenticated)
}

// Differs: JWTStrictLocal and JWTLocal end it (6.A4), and it is never the answer for a caller from outside.
func TestJWTLocalAlwaysAllowed(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	require.Equal(t, [3]bool{true, true, true}, rightsOf(t, j, "anyone", "ch"))
	require.Equal(t, [3]bool{}, rightsOf(t, jwtWith(t, hs256(t, ""), JWTStrictLocal()), "anyone", "ch"))
}

// Differs, with the next three: the answer is a Principal and a typed error instead of a name or nothing.
func TestJWTAuthorizeFromTokenRead(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	token := mint(t, j, TokenRequest{SystemID: "svc-a", Role: RoleRead, Channels: []string{"ch-1"}})
	p, err := j.AuthorizeToken(t.Context(), token, "ch-1", "read")
	require.NoError(t, err)
	require.Equal(t, "svc-a", p.SystemID)
}

func TestJWTAuthorizeFromTokenWrongChannel(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	token := mint(t, j, TokenRequest{SystemID: "svc-a", Role: RoleRead, Channels: []string{"ch-1"}})
	p, err := j.AuthorizeToken(t.Context(), token, "ch-2", "read")
	require.ErrorIs(t, err, ErrPermission)
	require.ErrorIs(t, err, ErrGrant)
	require.Zero(t, p)
}

func TestJWTAuthorizeFromTokenInsufficientRole(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	token := mint(t, j, TokenRequest{SystemID: "svc-a", Role: RoleRead, AllChannels: true})
	p, err := j.AuthorizeToken(t.Context(), token, "ch-1", "write")
	require.ErrorIs(t, err, ErrPermission)
	require.ErrorIs(t, err, ErrGrant)
	require.Zero(t, p)
}

// Differs: no list in the request is no channel; every channel has to be asked for (6.A10). In a token that somebody else
// made, no list is every channel, as there, unless JWTRefuseAllChannels is set.
func TestJWTAuthorizeFromTokenNullChannelScope(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	token := mint(t, j, TokenRequest{SystemID: "svc-a", Role: RoleRead, AllChannels: true})
	p, err := j.AuthorizeToken(t.Context(), token, "any-channel", "read")
	require.NoError(t, err)
	require.Equal(t, "svc-a", p.SystemID)

	none := mint(t, j, TokenRequest{SystemID: "svc-a", Role: RoleRead})
	_, err = j.AuthorizeToken(t.Context(), none, "any-channel", "read")
	require.ErrorIs(t, err, ErrGrant)
}

// Differs: exp is required (6.A10), and a negative lifetime makes no token.
func TestJWTExpiredToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := jwtWith(t, hs256(t, ""))
		_, err := j.GenerateToken(t.Context(), TokenRequest{SystemID: "svc-a", Role: RoleRead, AllChannels: true, ExpiresIn: -time.Second})
		require.ErrorIs(t, err, ErrInvalid)

		token := mint(t, j, TokenRequest{SystemID: "svc-a", Role: RoleRead, AllChannels: true, ExpiresIn: time.Second})
		time.Sleep(2 * time.Second)
		_, err = j.AuthorizeToken(t.Context(), token, "ch", "read")
		require.ErrorIs(t, err, ErrUnauthenticated)
		require.ErrorIs(t, err, ErrExpired)

		eternal := forge(`{"alg":"HS256","typ":"JWT"}`, `{"sub":"svc-a","role":"read"}`)
		_, err = j.AuthorizeToken(t.Context(), eternal, "ch", "read")
		require.ErrorIs(t, err, ErrUnauthenticated)
	})
}
