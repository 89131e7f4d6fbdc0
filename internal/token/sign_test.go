package token

import (
	"crypto"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func hashOf(alg string) crypto.Hash {
	a, _ := findAlgorithm(alg)
	return a.hash
}

func TestSign(t *testing.T) {
	t.Parallel()
	text, err := Sign(hmacKey(t, "k\"1\\"), "", []Claim{
		StringClaim("sub", `a"b\c/é😀`),
		IntClaim("exp", 1800000060),
		ListClaim("channels", []string{"a", `"`, ""}),
		ListClaim("none", nil),
		IntClaim("n", -5),
		StringClaim("empty", ""),
		StringClaim("aud", "us"),
	})
	require.NoError(t, err)
	parts := strings.Split(text, ".")
	require.Len(t, parts, 3)
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	require.NoError(t, err)
	require.Equal(t, `{"alg":"HS256","kid":"k\"1\\","typ":"JWT"}`, string(header))
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	require.Equal(t, `{"sub":"a\"b\\c/é😀","exp":1800000060,"channels":["a","\"",""],"none":[],"n":-5,"empty":"","aud":"us"}`, string(payload))

	text, err = Sign(hmacKey(t, ""), "at+jwt", nil)
	require.NoError(t, err)
	require.Equal(t, encode(`{"alg":"HS256","typ":"at+jwt"}`)+"."+encode(`{}`), text[:strings.LastIndexByte(text, '.')])
}

func TestSignedTokensVerify(t *testing.T) {
	t.Parallel()
	door := newTestDoor(t, testProfile())
	for _, alg := range allAlgorithms() {
		for _, id := range []string{"", "k1"} {
			key := signingKey(t, id, alg)
			text, err := Sign(key, "", typicalClaims(testNow))
			require.NoError(t, err)
			token, err := door.Verify(newTestKeys(t, key), text)
			require.NoError(t, err, alg)
			require.Equal(t, "sensor-1", token.Subject)
			require.Equal(t, testNow.Unix()+3600, token.ExpiresAt.Unix())
		}
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	long := func(n int) string { return strings.Repeat("x", n) }
	sub := StringClaim("sub", "a")
	for _, tt := range []struct {
		name   string
		claims []Claim
		want   error
	}{
		{"nothing", nil, nil},
		{"no name", []Claim{StringClaim("", "a")}, BadClaimName},
		{"zero", []Claim{{}}, BadClaimName},
		{"long name", []Claim{StringClaim(long(513), "a")}, BadClaimName},
		{"name with control character", []Claim{StringClaim("a\n", "a")}, BadClaimName},
		{"name not UTF-8", []Claim{StringClaim("a\xff", "a")}, BadClaimName},
		{"repeated name", []Claim{sub, sub}, BadClaimName},
		{"repeated own name", []Claim{IntClaim("x", 1), IntClaim("x", 1)}, BadClaimName},
		{"name in other letters", []Claim{IntClaim("role", 1), IntClaim("ROLE", 1)}, BadClaimName},
		{"registered name in other letters", []Claim{IntClaim("EXP", 1)}, BadClaimName},
		{"registered name with long s", []Claim{StringClaim("ſub", "a")}, BadClaimName},
		{"registered name with long s beside it", []Claim{sub, StringClaim("ſub", "a")}, BadClaimName},

		{"no value", []Claim{{name: "x"}}, BadClaimValue},
		{"other type", []Claim{{name: "x", value: 1.5}}, BadClaimValue},
		{"not UTF-8", []Claim{StringClaim("x", "a\xff")}, BadClaimValue},
		{"U+FFFD", []Claim{StringClaim("x", "a\uFFFD")}, BadClaimValue},
		{"control character", []Claim{StringClaim("x", "a\x00")}, BadClaimValue},
		{"surrogate", []Claim{StringClaim("x", "\xed\xa0\x80")}, BadClaimValue},
		{"control character in list", []Claim{ListClaim("x", []string{"a", "\n"})}, BadClaimValue},
		{"not UTF-8 in list", []Claim{ListClaim("x", []string{"\xff"})}, BadClaimValue},

		{"sub not UTF-8", []Claim{StringClaim("sub", "a\xff")}, BadClaimValue},
		{"sub empty", []Claim{StringClaim("sub", "")}, BadClaimValue},
		{"sub as long as can be", []Claim{StringClaim("sub", long(512))}, nil},
		{"sub long", []Claim{StringClaim("sub", long(513))}, BadClaimValue},
		{"sub number", []Claim{IntClaim("sub", 1)}, BadClaimValue},
		{"sub list", []Claim{ListClaim("sub", []string{"a"})}, BadClaimValue},
		{"iss empty", []Claim{StringClaim("iss", "")}, BadClaimValue},
		{"iss long", []Claim{StringClaim("iss", long(513))}, BadClaimValue},
		{"iss number", []Claim{IntClaim("iss", 1)}, BadClaimValue},
		{"jti empty", []Claim{StringClaim("jti", "")}, BadClaimValue},
		{"jti as long as can be", []Claim{StringClaim("jti", long(255))}, nil},
		{"jti long", []Claim{StringClaim("jti", long(256))}, BadClaimValue},
		{"jti number", []Claim{IntClaim("jti", 1)}, BadClaimValue},
		{"aud number", []Claim{IntClaim("aud", 1)}, BadClaimValue},
		{"aud list", []Claim{ListClaim("aud", []string{"a"})}, nil},
		{"aud bad list", []Claim{ListClaim("aud", []string{"\x00"})}, BadClaimValue},
		{"exp string", []Claim{StringClaim("exp", "1")}, BadClaimValue},
		{"exp list", []Claim{ListClaim("exp", nil)}, BadClaimValue},
		{"exp 0", []Claim{IntClaim("exp", 0)}, BadClaimValue},
		{"exp negative", []Claim{IntClaim("exp", -1)}, BadClaimValue},
		{"exp 1", []Claim{IntClaim("exp", 1)}, nil},
		{"exp late", []Claim{IntClaim("exp", maxTime-1)}, nil},
		{"exp too late", []Claim{IntClaim("exp", maxTime)}, BadClaimValue},
		{"nbf 0", []Claim{IntClaim("nbf", 0)}, BadClaimValue},
		{"iat 0", []Claim{IntClaim("iat", 0)}, BadClaimValue},
	} {
		text, err := Sign(key, "", tt.claims)
		require.Equal(t, tt.want, err, tt.name)
		require.Equal(t, tt.want == nil, text != "", tt.name)
		if err != nil {
			require.ErrorIs(t, err, ErrSign)
		}
	}
	for _, typ := range []string{"a\n", "\xff", long(513)} {
		_, err := Sign(key, typ, nil)
		require.Equal(t, BadType, err)
	}
}

func TestSignReportsAFailingKey(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	key.material.sign = func(string) ([]byte, error) { return []byte("x"), errors.New("canary") }
	text, err := Sign(key, "", nil)
	require.Equal(t, CannotSign, err)
	require.Empty(t, text)
}
