package chansec

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzChannelID compares CheckChannelID with its comment, told in another way.
func FuzzChannelID(f *testing.F) {
	for _, id := range []string{"", "a", "a/b.c", "caf\u00e9", "\xff", "a\x00", "a\u0085", "\ufffd", "\u2028", strings.Repeat("x", 512), strings.Repeat("x", 513)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		good := len(id) >= 1 && len(id) <= 512 && utf8.ValidString(id) && strings.IndexFunc(id, unicode.IsControl) < 0
		for _, err := range []error{CheckChannelID(id), CheckSystemID(id)} {
			require.Equal(t, good, err == nil, "%q", id)
			if err != nil {
				require.ErrorIs(t, err, ErrInvalid)
				require.LessOrEqual(t, len(err.Error()), 512)
			}
		}
	})
}

// FuzzRole compares roles with a list of their letters, and what they allow with their order.
func FuzzRole(f *testing.F) {
	for _, text := range []string{"", "read", "WRITE", "Admin", " admin", "ADM\u0130N", "adm\u0131n", "superuser", "\xff", "re\u017fad"} {
		f.Add(text)
	}
	now := time.Unix(1, 0)
	f.Fuzz(func(t *testing.T, text string) {
		rank := 0
		for i, name := range []string{"read", "write", "admin"} {
			if len(text) == len(name) && strings.Map(func(c rune) rune {
				if 'A' <= c && c <= 'Z' {
					return c + 'a' - 'A'
				}
				return c
			}, text) == name {
				rank = i + 1
			}
		}
		role, err := ParseRole(text)
		require.Equal(t, rank > 0, err == nil, "%q", text)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalid)
			require.Empty(t, role)
			require.LessOrEqual(t, len(err.Error()), 512)
		} else {
			require.Equal(t, ranks[rank-1], role)
		}
		grant := &Grant{Role: Role(text), AllChannels: true, ExpiresAt: now.Add(1)}
		for i, op := range []Operation{OpRead, OpWrite, OpAdmin} {
			require.Equal(t, rank > i, grant.Covers("c", op, now) == nil, "%q for %s", text, op)
		}
	})
}

// FuzzAuthenticate presents a text to a security, as it is and with a signature of the security's key. The text gets in only
// if the key signed it, and then means what another reader reads in it.
func FuzzAuthenticate(f *testing.F) {
	signature := func(signed string) string {
		mac := hmac.New(sha256.New, tokenSecret)
		mac.Write([]byte(signed))
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	for _, claims := range []string{
		claimsWith(), claimsWith("channels", ""), claimsWith("channels", "null"), claimsWith("role", `"ADMIN"`), claimsWith("exp", "1800000000.5"),
		claimsWith("nbf", "1800000000", "iat", "1.5e9", "jti", `"7"`, "iss", `"i"`), claimsWith("aud", `["a"]`), claimsWith("sub", `"\u00e9\ud83d\ude00"`),
	} {
		f.Add(plainHeader, claims, signature(b64(plainHeader)+"."+b64(claims)))
	}
	f.Add(`{"alg":"none"}`, claimsWith(), "")
	f.Add(`{"alg":"HS256","kid":"k","jwk":{"kty":"oct","k":""}}`, claimsWith(), "AA")
	f.Add(`{"alg":"HS256","crit":["exp"]}`, `{"sub":"s","SUB":"t"}`, "AA")
	texts, err := filepath.Glob("internal/strictjson/testdata/JSONTestSuite/[ni]_*.json")
	require.NoError(f, err)
	for _, path := range texts {
		if data, err := os.ReadFile(path); err == nil && len(data) < 1000 {
			f.Add(plainHeader, claimsWith("x", string(data)), "")
		}
	}
	cached := jwtWith(f, hs256(f, "k"), stopped(theTime), JWTCache(64))
	plain := jwtWith(f, hs256(f, "k"), stopped(theTime), JWTCache(0))

	f.Fuzz(func(t *testing.T, header, claims, tail string) {
		signed := b64(header) + "." + b64(claims)
		for _, text := range []string{header, signed + "." + tail, header + "." + claims + "." + tail, signed + "." + signature(signed), signed + "." + signature(signed) + tail} {
			p, err := plain.Authenticate(t.Context(), text)
			for range 2 {
				again, err2 := cached.Authenticate(t.Context(), text)
				require.Equal(t, err == nil, err2 == nil)
				require.Equal(t, p.SystemID, again.SystemID)
				require.Equal(t, p.Grant, again.Grant)
			}
			if err != nil {
				require.ErrorIs(t, err, ErrUnauthenticated)
				require.Equal(t, ErrUnauthenticated.Error(), err.Error())
				require.Zero(t, p)
				continue
			}
			at := strings.LastIndexByte(text, '.')
			require.Equal(t, signature(text[:at]), text[at+1:], "signed by our key, and spelt in the one way")
			requireMeans(t, text, p)
		}
	})
}

// requireMeans checks a principal against what encoding/json reads in the token.
func requireMeans(t *testing.T, text string, p Principal) {
	t.Helper()
	parts := strings.Split(text, ".")
	require.Len(t, parts, 3)
	said, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	require.NoError(t, err)
	claims := map[string]any{}
	require.NoError(t, json.Unmarshal(said, &claims))
	require.Equal(t, claims["sub"], p.SystemID)
	require.NoError(t, CheckSystemID(p.SystemID))
	require.Equal(t, ProofToken, p.Proof)
	role, _ := claims["role"].(string)
	require.Equal(t, p.Grant.Role, Role(strings.ToLower(role)))
	require.Contains(t, ranks, p.Grant.Role)
	exp, ok := claims["exp"].(float64)
	require.True(t, ok)
	require.Greater(t, exp, float64(theTime.Unix()))
	require.LessOrEqual(t, exp, float64(theTime.Add(DefaultTokenLifetime).Unix()))
	require.WithinDuration(t, time.UnixMicro(int64(exp*1e6)), p.Grant.ExpiresAt, time.Millisecond)
	for _, name := range []string{"nbf", "iat"} {
		if since, present := claims[name]; present {
			require.LessOrEqual(t, since, float64(theTime.Unix()))
		}
	}
	require.NotContains(t, claims, "aud")
	list, isList := claims["channels"].([]any)
	require.Equal(t, claims["channels"] == nil, p.Grant.AllChannels)
	require.True(t, isList || claims["channels"] == nil)
	require.Len(t, p.Grant.Channels, len(list))
	for i, id := range list {
		require.Equal(t, id, p.Grant.Channels[i])
	}
}
