package chansec

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// theTime is when the tests of tokens take place.
var theTime = time.Unix(1_800_000_000, 0)

// stopped is a clock that stands still.
func stopped(at time.Time) JWTOption { return JWTClock(func() time.Time { return at }) }

const plainHeader = `{"alg":"HS256","typ":"JWT"}`

// claimsWith returns good claims, some of them replaced by this JSON, or left out for "".
func claimsWith(changes ...string) string {
	claims := []string{"sub", `"s"`, "role", `"write"`, "channels", `["c"]`, "exp", "1800003600"}
	for i := 0; i < len(changes); i += 2 {
		at := slices.Index(claims, changes[i])
		switch {
		case at < 0 && changes[i+1] == "":
		case at < 0:
			claims = append(claims, changes[i], changes[i+1])
		case changes[i+1] == "":
			claims = slices.Delete(claims, at, at+2)
		default:
			claims[at+1] = changes[i+1]
		}
	}
	var members []string
	for i := 0; i < len(claims); i += 2 {
		members = append(members, fmt.Sprintf("%q:%s", claims[i], claims[i+1]))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// answer is what becomes of a token.
type answer string

const (
	accepted answer = "accepted"
	refused  answer = "refused"
	tooLate  answer = "refused as expired"
	cutOff   answer = "refused as revoked"
)

// answerTo presents a token, twice, since the second time it may come from the cache.
func answerTo(t testing.TB, a Authenticator, token string) (is answer) {
	t.Helper()
	for i := range 2 {
		p, err := a.Authenticate(t.Context(), token)
		again := accepted
		switch {
		case err == nil:
			require.NotEmpty(t, p.SystemID)
			require.Equal(t, ProofToken, p.Proof)
			require.NotNil(t, p.Grant)
		default:
			require.ErrorIs(t, err, ErrUnauthenticated)
			require.NotErrorIs(t, err, ErrPermission)
			require.Equal(t, ErrUnauthenticated.Error(), err.Error(), "the text is always the same")
			require.Zero(t, p)
			switch again = refused; {
			case errors.Is(err, ErrExpired):
				again = tooLate
			case errors.Is(err, ErrRevoked):
				again = cutOff
			}
		}
		if is = again; i == 1 {
			require.Equal(t, is, again)
		}
	}
	return is
}

// TestJWTClaims goes through every claim that is looked at.
func TestJWTClaims(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`"c",`, n), ",") + "]" }
	type claims = []string
	for _, row := range []struct {
		name   string
		claims claims
		want   answer
	}{
		{"all that is needed", nil, accepted},

		{"no subject", claims{"sub", ""}, refused},
		{"an empty subject", claims{"sub", `""`}, refused},
		{"a subject that is a number", claims{"sub", "7"}, refused},
		{"a subject that is null", claims{"sub", "null"}, refused},
		{"a subject that is a list", claims{"sub", `["s"]`}, refused},
		{"a subject with a control character", claims{"sub", `"a\u0000"`}, refused},
		{"a subject that was damaged", claims{"sub", `"a\ufffd"`}, refused},
		{"a subject with half a surrogate pair", claims{"sub", `"a\ud800"`}, refused},
		{"a subject that is not UTF-8", claims{"sub", "\"a\xff\""}, refused},
		{"a subject of 512 bytes", claims{"sub", long(512)}, accepted},
		{"a subject of 513 bytes", claims{"sub", long(513)}, refused},
		{"a subject in escapes", claims{"sub", `"\u0073"`}, accepted},

		{"no role", claims{"role", ""}, refused},
		{"a role that is null", claims{"role", "null"}, refused},
		{"an empty role", claims{"role", `""`}, refused},
		{"a role that is a number", claims{"role", "3"}, refused},
		{"a role that is a list", claims{"role", `["admin"]`}, refused},
		{"an unknown role", claims{"role", `"superuser"`}, refused},
		{"a role with a space", claims{"role", `" admin"`}, refused},
		{"a role in capitals", claims{"role", `"ADMIN"`}, accepted},
		{"a role in Turkish capitals", claims{"role", `"ADM\u0130N"`}, refused},

		{"no channels", claims{"channels", ""}, accepted},
		{"channels that are null", claims{"channels", "null"}, accepted},
		{"an empty list of channels", claims{"channels", "[]"}, accepted},
		{"channels that are a string", claims{"channels", `"c"`}, refused},
		{"channels that are a star", claims{"channels", `"*"`}, refused},
		{"channels that are an object", claims{"channels", `{"c":true}`}, refused},
		{"channels that are a number", claims{"channels", "0"}, refused},
		{"channels that are true", claims{"channels", "true"}, refused},
		{"channels that are false", claims{"channels", "false"}, refused},
		{"a list with a number", claims{"channels", `["c",1]`}, refused},
		{"a list with null", claims{"channels", `["c",null]`}, refused},
		{"a list of lists", claims{"channels", `[["c"]]`}, refused},
		{"a list with an empty ID", claims{"channels", `["c",""]`}, refused},
		{"a list with a control character", claims{"channels", `["c\n"]`}, refused},
		{"a list with a damaged ID", claims{"channels", `["\ufffd"]`}, refused},
		{"a list with an ID of 512 bytes", claims{"channels", "[" + long(512) + "]"}, accepted},
		{"a list with an ID of 513 bytes", claims{"channels", "[" + long(513) + "]"}, refused},
		{"256 channels", claims{"channels", list(256)}, accepted},
		{"257 channels", claims{"channels", list(257)}, refused},

		{"no expiry", claims{"exp", ""}, refused},
		{"an expiry that is null", claims{"exp", "null"}, refused},
		{"an expiry in quotes", claims{"exp", `"1800003600"`}, refused},
		{"an expiry of 0", claims{"exp", "0"}, refused},
		{"an expiry before 1970", claims{"exp", "-1"}, refused},
		{"an expiry of 1e400", claims{"exp", "1e400"}, refused},
		{"an expiry of 1e30", claims{"exp", "1e30"}, refused},
		{"an expiry beyond int64", claims{"exp", "9223372036854775808"}, refused},
		{"an expiry in the year 10000", claims{"exp", "253402300800"}, refused},
		{"an expiry that is a list", claims{"exp", "[1800003600]"}, refused},
		{"an expiry that is true", claims{"exp", "true"}, refused},
		{"expired now", claims{"exp", "1800000000"}, tooLate},
		{"expired a second ago", claims{"exp", "1799999999"}, tooLate},
		{"expired long ago", claims{"exp", "1"}, tooLate},
		{"expired by a fraction", claims{"exp", "1799999999.999"}, tooLate},
		{"expires in a second", claims{"exp", "1800000001"}, accepted},
		{"expires in a fraction of a second", claims{"exp", "1800000000.001"}, accepted},
		{"expires in scientific notation", claims{"exp", "1.800000001e9"}, accepted},
		{"expires in a day", claims{"exp", "1800086400"}, accepted},
		{"expires in a day and a second", claims{"exp", "1800086401"}, refused},
		{"expires in a day and a bit", claims{"exp", "1800086400.5"}, refused},

		{"good from now on", claims{"nbf", "1800000000"}, accepted},
		{"good in a second", claims{"nbf", "1800000001"}, refused},
		{"good in a bit", claims{"nbf", "1800000000.25"}, refused},
		{"good from a time in quotes", claims{"nbf", `"1"`}, refused},
		{"good from a time that is null", claims{"nbf", "null"}, refused},
		{"good from a time beyond int64", claims{"nbf", "1e19"}, refused},
		{"good from a time before 1970", claims{"nbf", "-9223372036854775808"}, refused},

		{"issued now", claims{"iat", "1800000000"}, accepted},
		{"issued in a second", claims{"iat", "1800000001"}, refused},
		{"issued in a bit", claims{"iat", "1800000000.25"}, refused},
		{"issued long ago", claims{"iat", "1"}, accepted},
		{"issued at a time in quotes", claims{"iat", `"1"`}, refused},
		{"issued at no time", claims{"iat", "null"}, refused},
		{"issued at 0", claims{"iat", "0"}, refused},

		{"any issuer where none is expected", claims{"iss", `"somebody"`}, accepted},
		{"an issuer that is a number", claims{"iss", "1"}, refused},
		{"an issuer that is empty", claims{"iss", `""`}, refused},
		{"an audience where none is expected", claims{"aud", `"chansec"`}, refused},
		{"a list of audiences where none is expected", claims{"aud", `["chansec"]`}, refused},
		{"an empty list of audiences where none is expected", claims{"aud", `[]`}, refused},
		{"an empty audience where none is expected", claims{"aud", `""`}, refused},
		{"a null audience where none is expected", claims{"aud", `null`}, refused},

		{"a name", claims{"jti", `"7f"`}, accepted},
		{"a name of 255 bytes", claims{"jti", long(255)}, accepted},
		{"a name of 256 bytes", claims{"jti", long(256)}, refused},
		{"a name that is a number", claims{"jti", "7"}, refused},
		{"a name that is empty", claims{"jti", `""`}, refused},
		{"a name that was damaged", claims{"jti", `"\ufffd"`}, refused},

		{"what means nothing here", claims{"scope", `"x"`, "cnf", `{"jkt":"x"}`, "admin", "true"}, accepted},
	} {
		j := jwtWith(t, hs256(t, ""), stopped(theTime))
		require.Equal(t, row.want, answerTo(t, j, forge(plainHeader, claimsWith(row.claims...))), row.name)
	}
}

// TestJWTGrants: what a token says is what its principal may do, and no more.
func TestJWTGrants(t *testing.T) {
	t.Parallel()
	many := `["1","2","3","4","5","6","7","8","9","c"]`
	for _, row := range []struct {
		name   string
		claims []string
		want   Grant
		covers map[string]bool
	}{
		{"one channel", nil, Grant{Role: RoleWrite, Channels: []string{"c"}}, map[string]bool{"c": true, "C": false, "d": false, "": false}},
		{"no list", []string{"channels", ""}, Grant{Role: RoleWrite, AllChannels: true}, map[string]bool{"c": true, "d": true}},
		{"null", []string{"channels", "null"}, Grant{Role: RoleWrite, AllChannels: true}, map[string]bool{"c": true, "d": true}},
		{"an empty list", []string{"channels", "[]"}, Grant{Role: RoleWrite}, map[string]bool{"c": false, "d": false, "": false}},
		{"a star", []string{"channels", `["*"]`}, Grant{Role: RoleWrite, Channels: []string{"*"}}, map[string]bool{"*": true, "c": false}},
		{"the same twice", []string{"channels", `["c","c"]`}, Grant{Role: RoleWrite, Channels: []string{"c", "c"}}, map[string]bool{"c": true, "d": false}},
		{"many", []string{"channels", many}, Grant{Role: RoleWrite, Channels: strings.Split("1 2 3 4 5 6 7 8 9 c", " ")}, map[string]bool{"1": true, "c": true, "10": false, "": false}},
		{"a role in capitals", []string{"role", `"READ"`}, Grant{Role: RoleRead, Channels: []string{"c"}}, map[string]bool{"c": false}},
		{"a name", []string{"jti", `"7f"`}, Grant{Role: RoleWrite, Channels: []string{"c"}, TokenID: "7f"}, map[string]bool{"c": true}},
		{"a fraction", []string{"exp", "1800000000.25"}, Grant{Role: RoleWrite, Channels: []string{"c"}, ExpiresAt: theTime.Add(time.Second / 4)}, map[string]bool{"c": true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			j := jwtWith(t, hs256(t, ""), stopped(theTime))
			token := forge(plainHeader, claimsWith(row.claims...))
			for range 2 {
				p := authenticated(t, j, token)
				require.Equal(t, "s", p.SystemID)
				require.Equal(t, ProofToken, p.Proof)
				require.Empty(t, p.Roles)
				require.Empty(t, p.Attributes)
				if row.want.ExpiresAt.IsZero() {
					row.want.ExpiresAt = theTime.Add(time.Hour)
				}
				require.True(t, p.Grant.ExpiresAt.Equal(row.want.ExpiresAt))
				row.want.ExpiresAt = p.Grant.ExpiresAt
				if len(row.want.Channels) == 0 {
					require.Empty(t, p.Grant.Channels)
					p.Grant.Channels = nil
				}
				require.Equal(t, row.want, *p.Grant)
				for channel, want := range row.covers {
					_, err := j.AuthorizeToken(t.Context(), token, channel, OpWrite)
					require.Equal(t, want, err == nil, "%q", channel)
				}
			}
		})
	}
}

// TestJWTRefuseAllChannels: neither tokens without a list of channels, nor requests for one.
func TestJWTRefuseAllChannels(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime), JWTRefuseAllChannels())
	for claim, want := range map[string]answer{"": refused, "null": refused, "[]": accepted, `["c"]`: accepted} {
		require.Equal(t, want, answerTo(t, j, forge(plainHeader, claimsWith("channels", claim))), "%q", claim)
	}
	_, err := j.GenerateToken(t.Context(), TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "JWTRefuseAllChannels")
	mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"c"}})
}

// TestJWTHeaders goes through every header parameter that is looked at.
func TestJWTHeaders(t *testing.T) {
	t.Parallel()
	type options = []JWTOption
	for _, row := range []struct {
		name   string
		header string
		opts   options
		want   answer
	}{
		{"all that is needed", `{"alg":"HS256"}`, nil, accepted},
		{"the usual", plainHeader, nil, accepted},
		{"in another order", `{"typ":"JWT","alg":"HS256"}`, nil, accepted},
		{"with spaces", "{ \"alg\" : \"HS256\" ,\n\t\"typ\":\"JWT\"}", nil, accepted},
		{"a type in small letters", `{"alg":"HS256","typ":"jwt"}`, nil, accepted},
		{"another type", `{"alg":"HS256","typ":"at+jwt"}`, nil, refused},
		{"the long form of the type", `{"alg":"HS256","typ":"application/jwt"}`, nil, refused},
		{"a type that is empty", `{"alg":"HS256","typ":""}`, nil, refused},
		{"a type that is null", `{"alg":"HS256","typ":null}`, nil, refused},
		{"a type that is a number", `{"alg":"HS256","typ":1}`, nil, refused},
		{"the type that is wanted", `{"alg":"HS256","typ":"at+jwt"}`, options{JWTType("at+jwt")}, accepted},
		{"the type that is wanted, in capitals", `{"alg":"HS256","typ":"AT+JWT"}`, options{JWTType("at+jwt")}, refused},
		{"no type where one is wanted", `{"alg":"HS256"}`, options{JWTType("at+jwt")}, refused},
		{"the usual type where another is wanted", plainHeader, options{JWTType("at+jwt")}, refused},
		{"the key's name", `{"alg":"HS256","kid":"k"}`, nil, accepted},
		{"another key's name", `{"alg":"HS256","kid":"K"}`, nil, refused},
		{"an empty key's name", `{"alg":"HS256","kid":""}`, nil, refused},
		{"a key's name that is null", `{"alg":"HS256","kid":null}`, nil, refused},
		{"a key's name that is a path", `{"alg":"HS256","kid":"../../dev/null"}`, nil, refused},
		{"no algorithm", `{"typ":"JWT"}`, nil, refused},
		{"an algorithm in small letters", `{"alg":"hs256"}`, nil, refused},
		{"an algorithm that is a list", `{"alg":["HS256"]}`, nil, refused},
		{"another algorithm", `{"alg":"HS384"}`, nil, refused},
		{"something critical", `{"alg":"HS256","crit":["exp"],"exp":1}`, nil, refused},
		{"nothing critical", `{"alg":"HS256","crit":[]}`, nil, refused},
		{"null that is critical", `{"alg":"HS256","crit":null}`, nil, refused},
		{"a payload that is not encoded", `{"alg":"HS256","b64":false,"crit":["b64"]}`, nil, refused},
		{"a payload that is", `{"alg":"HS256","b64":true}`, nil, refused},
		{"a nested token", `{"alg":"HS256","cty":"JWT"}`, nil, refused},
		{"a compressed one", `{"alg":"HS256","zip":"DEF"}`, nil, refused},
		{"an encrypted one", `{"alg":"HS256","enc":"A128GCM"}`, nil, refused},
		{"what means nothing here", `{"alg":"HS256","x-tenant":"a"}`, nil, accepted},
		{"no object", `["HS256"]`, nil, refused},
		{"nothing", ``, nil, refused},
	} {
		j := jwtWith(t, hs256(t, "k"), append(row.opts, stopped(theTime))...)
		require.Equal(t, row.want, answerTo(t, j, forge(row.header, claimsWith())), row.name)
	}
}

// TestJWTIssuerAndAudience: who made it, and for whom.
func TestJWTIssuerAndAudience(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		claim string
		json  string
		want  answer
	}{
		{"the issuer", "iss", `"https://issuer"`, accepted},
		{"another issuer", "iss", `"https://issuer/"`, refused},
		{"the issuer in capitals", "iss", `"https://ISSUER"`, refused},
		{"no issuer", "iss", "", refused},
		{"a list of issuers", "iss", `["https://issuer"]`, refused},
		{"the audience", "aud", `"chansec"`, accepted},
		{"the audience among others", "aud", `["other","chansec"]`, accepted},
		{"another audience", "aud", `"Chansec"`, refused},
		{"other audiences", "aud", `["other","chansec2"]`, refused},
		{"no audience", "aud", "", refused},
		{"an empty list of audiences", "aud", `[]`, refused},
		{"a null audience", "aud", `null`, refused},
		{"the audience beside a number", "aud", `["chansec",1]`, refused},
		{"a number of an audience", "aud", `1`, refused},
	} {
		j := jwtWith(t, hs256(t, ""), stopped(theTime), JWTIssuer("https://issuer"), JWTAudience("chansec"))
		claims := []string{"iss", `"https://issuer"`, "aud", `"chansec"`, row.claim, row.json}
		require.Equal(t, row.want, answerTo(t, j, forge(plainHeader, claimsWith(claims...))), row.name)
	}
	j := jwtWith(t, hs256(t, ""), JWTIssuer("https://issuer"), JWTAudience("chansec"))
	require.Equal(t, accepted, answerTo(t, j, mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})), "its own tokens name both")
	require.Equal(t, refused, answerTo(t, jwtWith(t, hs256(t, "")), mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})), "which others refuse")
}

// TestJWTLeeway goes for exp, nbf and iat alike, and for the maximum lifetime.
func TestJWTLeeway(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		claim string
		at    string
		want  answer
	}{
		{"exp", "1799999970.001", accepted},
		{"exp", "1799999970", tooLate},
		{"nbf", "1800000030", accepted},
		{"nbf", "1800000030.001", refused},
		{"iat", "1800000030", accepted},
		{"iat", "1800000030.001", refused},
		{"exp", "1800003630", accepted},
		{"exp", "1800003630.001", refused},
	} {
		j := jwtWith(t, hs256(t, ""), stopped(theTime), JWTLeeway(30*time.Second), JWTMaxLifetime(time.Hour))
		require.Equal(t, row.want, answerTo(t, j, forge(plainHeader, claimsWith(row.claim, row.at))), "%s %s", row.claim, row.at)
	}
	now := theTime
	j := jwtWith(t, hs256(t, ""), JWTClock(func() time.Time { return now }), JWTLeeway(30*time.Second))
	token := forge(plainHeader, claimsWith())
	p := authenticated(t, j, token)
	require.True(t, p.Grant.ExpiresAt.Equal(theTime.Add(time.Hour+30*time.Second)), "the grant lasts as long as the token is good")
	now = p.Grant.ExpiresAt.Add(-1)
	_, err := j.AuthorizeToken(t.Context(), token, "c", OpRead)
	require.NoError(t, err)
	now = p.Grant.ExpiresAt
	_, err = j.AuthorizeToken(t.Context(), token, "c", OpRead)
	require.ErrorIs(t, err, ErrExpired)
}

// TestJWTMaxLifetimeIsWhatIsLeft: measured from now, not from iat.
func TestJWTMaxLifetimeIsWhatIsLeft(t *testing.T) {
	t.Parallel()
	now := theTime
	j := jwtWith(t, hs256(t, ""), JWTClock(func() time.Time { return now }), JWTMaxLifetime(time.Hour))
	twoHours := forge(plainHeader, claimsWith("iat", "1800000000", "exp", "1800007200"))
	old := forge(plainHeader, claimsWith("iat", "1", "exp", "1800003600"))
	require.Equal(t, refused, answerTo(t, j, twoHours))
	require.Equal(t, accepted, answerTo(t, j, old), "however long it has been good")
	now = theTime.Add(time.Hour - 1)
	require.Equal(t, refused, answerTo(t, j, twoHours))
	now = theTime.Add(time.Hour)
	require.Equal(t, accepted, answerTo(t, j, twoHours), "refused until then, not for ever")
}

// TestJWTFromOtherIssuers: what PyJWT and its like make is accepted.
func TestJWTFromOtherIssuers(t *testing.T) {
	t.Parallel()
	id := "0123456789abcdef0123456789abcdef"
	for _, row := range []struct {
		name           string
		header, claims string
		want           Grant
	}{
		{"sssn for some channels", `{"alg":"HS256","typ":"JWT"}`,
			`{"sub":"svc-a","role":"write","exp":1800003600.123456,"jti":"` + id + `","channels":["secure-events"]}`,
			Grant{Role: RoleWrite, Channels: []string{"secure-events"}, TokenID: id}},
		{"sssn for every channel", `{"alg":"HS256","typ":"JWT"}`,
			`{"sub":"svc-a","role":"read","exp":1800003600.0,"jti":"` + id + `"}`,
			Grant{Role: RoleRead, AllChannels: true, TokenID: id}},
		{"an older PyJWT", `{"typ":"JWT","alg":"HS256"}`,
			`{"sub":"svc-a","role":"Admin","channels":null,"exp":1800003600}`,
			Grant{Role: RoleAdmin, AllChannels: true}},
		{"json.dumps with its own separators", `{"alg": "HS256", "typ": "JWT"}`,
			`{"sub": "svc-a", "role": "read", "channels": ["caf\u00e9", "\ud83d\ude00"], "exp": 1800003600, "iat": 1799999999.5}`,
			Grant{Role: RoleRead, Channels: []string{"caf\u00e9", "\U0001f600"}}},
		{"a minimal one", `{"alg":"HS256"}`, `{"exp":1.8000036e9,"sub":"svc-a","role":"read","channels":[]}`,
			Grant{Role: RoleRead}},
	} {
		for _, key := range []Key{hs256(t, ""), hs256(t, "named")} {
			j := jwtWith(t, key, stopped(theTime))
			p := authenticated(t, j, forge(row.header, row.claims))
			require.Equal(t, "svc-a", p.SystemID, row.name)
			require.WithinDuration(t, theTime.Add(time.Hour), p.Grant.ExpiresAt, time.Second, row.name)
			p.Grant.ExpiresAt = time.Time{}
			if len(p.Grant.Channels) == 0 {
				p.Grant.Channels = nil
			}
			require.Equal(t, row.want, *p.Grant, row.name)
		}
	}
}

// Keys that take long to make are made once.
var (
	rsaKeyForTests = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	edKeyForTests  = sync.OnceValue(func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	})
)

func ecKey(curve elliptic.Curve) *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(curve, rand.Reader))
}

// keyPair returns a key that signs and, where it is public, the one that only verifies, with what golang-jwt verifies by.
func keyPair(t testing.TB, id, algorithm string) (signs, verifies Key, public any) {
	t.Helper()
	var private crypto.Signer
	switch algorithm[:2] {
	case "HS":
		key, err := HMACKey(id, algorithm, tokenSecret)
		require.NoError(t, err)
		return key, key, tokenSecret
	case "RS", "PS":
		private = rsaKeyForTests()
	case "ES":
		private = ecKey(map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[algorithm])
	case "Ed":
		private = edKeyForTests()
	}
	signs, err := SigningKey(id, algorithm, private)
	require.NoError(t, err)
	verifies, err = VerifyKey(id, algorithm, private.Public())
	require.NoError(t, err)
	return signs, verifies, private.Public()
}

var everyAlgorithm = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// TestJWTAlgorithms: what a key of any algorithm signs, it verifies, as do its public half and a stranger's strict parser,
// and no other key.
func TestJWTAlgorithms(t *testing.T) {
	t.Parallel()
	for _, algorithm := range everyAlgorithm {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			signs, verifies, public := keyPair(t, "k1", algorithm)
			require.Equal(t, "k1", signs.ID())
			require.Equal(t, algorithm, signs.Algorithm())
			issuer := jwtWith(t, signs, JWTIssuer("https://issuer"))
			text := mint(t, issuer, TokenRequest{SystemID: "s", Role: RoleWrite, Channels: []string{"c"}})
			require.Equal(t, accepted, answerTo(t, issuer, text))
			require.Equal(t, accepted, answerTo(t, jwtWith(t, verifies), text))

			claims := jwt.MapClaims{}
			parsed, err := jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
				jwt.WithStrictDecoding(), jwt.WithIssuer("https://issuer"), jwt.WithSubject("s")).
				ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return public, nil })
			require.NoError(t, err)
			require.True(t, parsed.Valid)
			require.Equal(t, map[string]any{"alg": algorithm, "kid": "k1", "typ": "JWT"}, parsed.Header)

			for _, other := range everyAlgorithm {
				if other == algorithm && algorithm[:2] != "ES" {
					continue // the same key; those for ES are made anew
				}
				_, stranger, _ := keyPair(t, "k1", other)
				require.Equal(t, refused, answerTo(t, jwtWith(t, stranger), text), "by a key for %s", other)
			}
		})
	}
}

// TestJWTTokensSayNoMoreThanTheyMust: header and claims, to the letter.
func TestJWTTokensSayNoMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		key    string
		opts   []JWTOption
		req    TokenRequest
		header string
		claims []string
	}{
		{"for every channel", "", nil, TokenRequest{SystemID: "s", Role: "READ", AllChannels: true},
			`{"alg":"HS256","typ":"JWT"}`, []string{"exp", "iat", "jti", "role", "sub"}},
		{"for some channels", "k1", nil, TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"c"}},
			`{"alg":"HS256","kid":"k1","typ":"JWT"}`, []string{"channels", "exp", "iat", "jti", "role", "sub"}},
		{"with all options", "k1", []JWTOption{JWTIssuer("i"), JWTAudience("a"), JWTType("at+jwt")}, TokenRequest{SystemID: "s", Role: RoleRead},
			`{"alg":"HS256","kid":"k1","typ":"at+jwt"}`, []string{"aud", "channels", "exp", "iat", "iss", "jti", "role", "sub"}},
	} {
		j := jwtWith(t, hs256(t, row.key), append(row.opts, stopped(theTime.Add(time.Second/2)))...)
		ids := map[string]bool{}
		for range 100 {
			parts := strings.Split(mint(t, j, row.req), ".")
			require.Len(t, parts, 3)
			header, err := base64.RawURLEncoding.DecodeString(parts[0])
			require.NoError(t, err)
			require.Equal(t, row.header, string(header), row.name)
			payload, err := base64.RawURLEncoding.DecodeString(parts[1])
			require.NoError(t, err)
			claims := map[string]json.RawMessage{}
			require.NoError(t, json.Unmarshal(payload, &claims))
			var names []string
			for name := range claims {
				names = append(names, name)
			}
			slices.Sort(names)
			require.Equal(t, row.claims, names, row.name)
			require.Equal(t, `"s"`, string(claims["sub"]))
			require.Equal(t, `"read"`, string(claims["role"]))
			require.Equal(t, "1800000000", string(claims["iat"]), "whole seconds, not in anybody's future")
			require.Equal(t, "1800086400", string(claims["exp"]), "whole seconds")
			require.Regexp(t, `^"[0-9a-f]{32}"$`, string(claims["jti"]))
			ids[string(claims["jti"])] = true
		}
		require.Len(t, ids, 100, "every token has a name of its own")
	}
}

// TestJWTKeysThatAreRefused: at construction, with the reason, and without the key in it.
func TestJWTKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	weak := must(rsaWithExponent(3))
	small := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	//lint:ignore SA1019 a key that is wrong cannot be made otherwise
	offCurve := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}
	p256 := ecKey(elliptic.P256())
	//lint:ignore SA1019 a key that is wrong cannot be made otherwise
	foreign := &ecdsa.PrivateKey{PublicKey: ecKey(elliptic.P256()).PublicKey, D: p256.D}
	long := strings.Repeat("k", 256)
	for _, row := range []struct {
		name string
		make func() (Key, error)
		says string
	}{
		{"no secret", func() (Key, error) { return HMACKey("k", "HS256", nil) }, "at least as long as the hash"},
		{"31 bytes for HS256", func() (Key, error) { return HMACKey("k", "HS256", tokenSecret[:31]) }, "at least as long as the hash"},
		{"47 bytes for HS384", func() (Key, error) { return HMACKey("k", "HS384", tokenSecret[:47]) }, "at least as long as the hash"},
		{"63 bytes for HS512", func() (Key, error) { return HMACKey("k", "HS512", tokenSecret[:63]) }, "at least as long as the hash"},
		{"a public key for a secret", func() (Key, error) {
			return HMACKey("k", "HS256", []byte("-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"))
		}, "PEM"},
		{"no algorithm", func() (Key, error) { return HMACKey("k", "", tokenSecret) }, "HS256, HS384"},
		{"the algorithm none", func() (Key, error) { return HMACKey("k", "none", tokenSecret) }, "HS256, HS384"},
		{"an algorithm in small letters", func() (Key, error) { return HMACKey("k", "hs256", tokenSecret) }, "HS256, HS384"},
		{"a secret for RS256", func() (Key, error) { return HMACKey("k", "RS256", tokenSecret) }, "a key of the type"},
		{"an ID with a control character", func() (Key, error) { return HMACKey("k\n", "HS256", tokenSecret) }, "an id of at most"},
		{"an ID that is not UTF-8", func() (Key, error) { return HMACKey("\xff", "HS256", tokenSecret) }, "an id of at most"},
		{"an ID of 256 bytes", func() (Key, error) { return HMACKey(long, "HS256", tokenSecret) }, "an id of at most"},
		{"RSA of 1024 bits", func() (Key, error) { return VerifyKey("k", "RS256", small) }, "2048 to 16384"},
		{"RSA with exponent 3", func() (Key, error) { return VerifyKey("k", "RS256", weak) }, "exponent"},
		{"an even RSA modulus", func() (Key, error) {
			return VerifyKey("k", "PS256", &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int), 2047, 1), E: 65537})
		}, "ROCA"},
		{"no RSA key", func() (Key, error) { return VerifyKey("k", "RS256", (*rsa.PublicKey)(nil)) }, "a key of the type"},
		{"nothing", func() (Key, error) { return VerifyKey("k", "RS256", nil) }, "a key of the type"},
		{"nothing to sign with", func() (Key, error) { return SigningKey("k", "RS256", nil) }, "a key of the type"},
		{"RSA for ES256", func() (Key, error) { return SigningKey("k", "ES256", rsaKeyForTests()) }, "a key of the type"},
		{"RSA for HS256", func() (Key, error) { return VerifyKey("k", "HS256", &rsaKeyForTests().PublicKey) }, "a key of the type"},
		{"ECDSA for RS256", func() (Key, error) { return SigningKey("k", "RS256", p256) }, "a key of the type"},
		{"Ed25519 for ES256", func() (Key, error) { return SigningKey("k", "ES256", edKeyForTests()) }, "a key of the type"},
		{"P-256 for ES384", func() (Key, error) { return SigningKey("k", "ES384", p256) }, "the curve"},
		{"a point that is not on the curve", func() (Key, error) { return VerifyKey("k", "ES256", offCurve) }, "on its curve"},
		{"a private key for another public one", func() (Key, error) { return SigningKey("k", "ES256", foreign) }, "fits its public key"},
		{"an Ed25519 key of 31 bytes", func() (Key, error) { return VerifyKey("k", "EdDSA", ed25519.PublicKey(tokenSecret[:31])) }, "a key of the type"},
		{"an Ed25519 key of small order", func() (Key, error) { return VerifyKey("k", "EdDSA", make(ed25519.PublicKey, 32)) }, "on its curve"},
		{"a signer that is no key", func() (Key, error) { return SigningKey("k", "RS256", remoteSigner{}) }, "a key of the type"},
	} {
		key, err := row.make()
		require.ErrorIs(t, err, ErrInvalid, row.name)
		require.ErrorContains(t, err, row.says, row.name)
		require.NotContains(t, err.Error(), string(tokenSecret[:31]), row.name)
		require.LessOrEqual(t, len(err.Error()), 512, row.name)
		_, err = NewJWTSecurity(key)
		require.ErrorIs(t, err, ErrInvalid, "%s: and what came with the error is no key", row.name)
	}
	for algorithm, n := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		_, err := HMACKey("k", algorithm, tokenSecret[:n])
		require.NoError(t, err)
	}
	_, err := HMACKey(long[:255], "HS256", tokenSecret)
	require.NoError(t, err)
}

func rsaWithExponent(e int) (*rsa.PublicKey, error) {
	return &rsa.PublicKey{N: rsaKeyForTests().N, E: e}, nil
}

type remoteSigner struct{}

func (remoteSigner) Public() crypto.PublicKey { return &rsaKeyForTests().PublicKey }
func (remoteSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no")
}

// TestJWTOptionsThatAreRefused: each with what would be right.
func TestJWTOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	ec, _, _ := keyPair(t, "ec", "ES256")
	seventeen := make([]Key, 16)
	for i := range seventeen {
		seventeen[i] = hs256(t, fmt.Sprint("k", i))
	}
	for _, row := range []struct {
		name string
		opt  JWTOption
		says string
	}{
		{"none", nil, "JWTOption"},
		{"a zero key", JWTKeys(Key{}), "keys"},
		{"two keys of one name", JWTKeys(hs256(t, "k")), "different ids"},
		{"two keys of one name beside the first", JWTKeys(hs256(t, "x"), hs256(t, "x")), "different ids"},
		{"17 keys", JWTKeys(seventeen...), "1 to 16"},
		{"a public key beside a secret", JWTKeys(ec), "all HMAC or none"},
		{"an empty issuer", JWTIssuer(""), "issuer"},
		{"a damaged issuer", JWTIssuer("\ufffd"), "issuer"},
		{"an empty audience", JWTAudience(""), "audience"},
		{"an audience with a line feed", JWTAudience("a\n"), "audience"},
		{"an empty type", JWTType(""), "token type"},
		{"a leeway before now", JWTLeeway(-1), "-1ns"},
		{"a leeway of more than a minute", JWTLeeway(time.Minute + 1), "0 to 1m0s"},
		{"a maximum lifetime of less than a second", JWTMaxLifetime(time.Second - 1), "at least 1s"},
		{"no lifetime", JWTMaxLifetime(0), "at least 1s"},
		{"255 bytes at most", JWTMaxBytes(255), "256 to 1048576"},
		{"more than a megabyte at most", JWTMaxBytes(1<<20 + 1), "256 to 1048576"},
		{"nobody to ask", JWTLocal(nil), "Authorizer"},
		{"a cache of fewer than none", JWTCache(-1), "0 to"},
		{"a cache of more than fit", JWTCache(1<<24 + 1), "0 to"},
		{"no revocations", JWTMaxRevocations(0), "1 to"},
		{"more revocations than fit", JWTMaxRevocations(1<<30 + 1), "1 to"},
		{"no clock", JWTClock(nil), "a function"},
	} {
		j, err := NewJWTSecurity(hs256(t, "k"), row.opt)
		require.ErrorIs(t, err, ErrInvalid, row.name)
		require.ErrorContains(t, err, row.says, row.name)
		require.Nil(t, j, row.name)
	}
	_, err := NewJWTSecurity(hs256(t, "k"), JWTStrictLocal(), JWTLocal(aclWith(t)))
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "one of the two")
	jwtWith(t, hs256(t, "k"), JWTKeys(seventeen[:15]...), JWTLeeway(0), JWTLeeway(time.Minute), JWTMaxLifetime(time.Second), JWTMaxBytes(256), JWTMaxBytes(1<<20),
		JWTCache(0), JWTMaxRevocations(1), JWTMaxRevocations(1<<30))
}

// TestJWTMaxBytes: for what comes in and for what goes out.
func TestJWTMaxBytes(t *testing.T) {
	t.Parallel()
	token := func(n int) string { // of n bytes or one less
		pad := 0
		for {
			text := forge(plainHeader, claimsWith("pad", `"`+strings.Repeat("x", pad)+`"`))
			if len(text) >= n-1 {
				return text
			}
			pad += max(1, (n-len(text))*3/4-2)
		}
	}
	for limit, j := range map[int]*JWTSecurity{
		8 << 10: jwtWith(t, hs256(t, ""), stopped(theTime)),
		256:     jwtWith(t, hs256(t, ""), stopped(theTime), JWTMaxBytes(256)),
		1 << 20: jwtWith(t, hs256(t, ""), stopped(theTime), JWTMaxBytes(1<<20)),
	} {
		require.Equal(t, accepted, answerTo(t, j, token(limit)), limit)
		require.Equal(t, refused, answerTo(t, j, token(limit+2)), limit)
	}
	j := jwtWith(t, hs256(t, ""), JWTMaxBytes(256))
	_, err := j.GenerateToken(t.Context(), TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{strings.Repeat("c", 200)}})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "at most 256 bytes")
	req := TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{strings.Repeat("c", 100)}}
	n := len(mint(t, jwtWith(t, hs256(t, ""), JWTMaxBytes(1000)), req))
	mint(t, jwtWith(t, hs256(t, ""), JWTMaxBytes(n)), req)
	_, err = jwtWith(t, hs256(t, ""), JWTMaxBytes(n-1)).GenerateToken(t.Context(), req)
	require.ErrorIs(t, err, ErrInvalid)
}

// TestJWTRotation: a key takes over without a restart, and what the old one signed is good until it is removed.
func TestJWTRotation(t *testing.T) {
	t.Parallel()
	req := TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true}
	for _, algorithm := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			first, firstPublic, _ := keyPair(t, "2026", algorithm)
			second, secondPublic, _ := keyPair(t, "2027", algorithm)
			if algorithm == "HS256" {
				second = must(HMACKey("2027", "HS256", []byte(strings.Repeat("another secret ", 5))))
				secondPublic = second
			}
			issuer := jwtWith(t, first)
			elsewhere := jwtWith(t, firstPublic)
			old := mint(t, issuer, req)
			require.Equal(t, accepted, answerTo(t, elsewhere, old))

			require.NoError(t, elsewhere.AddKey(secondPublic)) // others first
			if algorithm == "HS256" {
				require.NoError(t, elsewhere.Rotate(secondPublic)) // where whoever verifies also signs
			}
			require.NoError(t, issuer.Rotate(second))
			fresh := mint(t, issuer, req)
			header, _ := base64.RawURLEncoding.DecodeString(strings.Split(fresh, ".")[0])
			require.Contains(t, string(header), `"kid":"2027"`)
			for _, j := range []*JWTSecurity{issuer, elsewhere} {
				require.Equal(t, accepted, answerTo(t, j, old))
				require.Equal(t, accepted, answerTo(t, j, fresh))
			}
			for _, j := range []*JWTSecurity{issuer, elsewhere} {
				require.NoError(t, j.RemoveKey("2026"))
				require.Equal(t, accepted, answerTo(t, j, fresh))
				require.NotEqual(t, accepted, answerTo(t, j, old), "although it was remembered")
			}
			require.NoError(t, issuer.Rotate(second), "which signs already")
			require.NoError(t, issuer.Rotate(first), "and back")
			require.Equal(t, accepted, answerTo(t, issuer, mint(t, issuer, req)))
		})
	}
}

// TestJWTKeyChangesThatAreRefused change nothing and announce nothing.
func TestJWTKeyChangesThatAreRefused(t *testing.T) {
	t.Parallel()
	ec, ecPublic, _ := keyPair(t, "ec", "ES256")
	signs, _, _ := keyPair(t, "signs", "EdDSA")
	for _, row := range []struct {
		name   string
		change func(hmac, public *JWTSecurity) error
		says   string
	}{
		{"to sign with a key that cannot", func(_, public *JWTSecurity) error { return public.Rotate(ecPublic) }, "can sign"},
		{"to sign with a public key beside secrets", func(hmac, _ *JWTSecurity) error { return hmac.Rotate(ec) }, "all HMAC or none"},
		{"to sign with a key whose name another has", func(hmac, _ *JWTSecurity) error { return hmac.Rotate(hs256(t, "second")) }, "different ids"},
		{"to add a key whose name another has", func(hmac, _ *JWTSecurity) error { return hmac.AddKey(hs256(t, "second")) }, "different ids"},
		{"to add a public key to secrets", func(hmac, _ *JWTSecurity) error { return hmac.AddKey(ecPublic) }, "all HMAC or none"},
		{"to remove the key that signs", func(hmac, _ *JWTSecurity) error { return hmac.RemoveKey("first") }, "rotate first"},
		{"to remove the last key", func(_, public *JWTSecurity) error { return public.RemoveKey("only") }, "not the last"},
		{"to remove a key that is not there", func(hmac, _ *JWTSecurity) error { return hmac.RemoveKey("third") }, `"third"`},
		{"to remove a key of no name", func(hmac, _ *JWTSecurity) error { return hmac.RemoveKey("") }, `""`},
	} {
		hmac := jwtWith(t, hs256(t, "first"), JWTKeys(hs256(t, "second")))
		_, only, _ := keyPair(t, "only", "ES256")
		public := jwtWith(t, only)
		before := [2]uint64{hmac.Version(), public.Version()}
		err := row.change(hmac, public)
		require.ErrorIs(t, err, ErrInvalid, row.name)
		require.ErrorContains(t, err, row.says, row.name)
		require.Equal(t, before, [2]uint64{hmac.Version(), public.Version()}, row.name)
		require.Equal(t, accepted, answerTo(t, hmac, mint(t, hmac, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})), row.name)
	}
	// What is refused above is not refused for another reason.
	j := jwtWith(t, ecPublic)
	require.NoError(t, j.Rotate(signs))
	require.NoError(t, j.RemoveKey("ec"))
	hmac := jwtWith(t, hs256(t, "first"), JWTKeys(hs256(t, "second")))
	require.NoError(t, hmac.AddKey(hs256(t, "third")))
	require.NoError(t, hmac.RemoveKey("second"))
	require.NoError(t, hmac.Rotate(hs256(t, "fourth")))
	require.NoError(t, hmac.RemoveKey("first"))
}

// TestJWTChangesAreAnnounced: once each, before the call returns.
func TestJWTChangesAreAnnounced(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, "first"))
	for _, row := range []struct {
		name   string
		change func() error
	}{
		{"a key added", func() error { return j.AddKey(hs256(t, "second")) }},
		{"another key that signs", func() error { return j.Rotate(hs256(t, "third")) }},
		{"a key removed", func() error { return j.RemoveKey("first") }},
		{"a token revoked", func() error { return j.RevokeToken("7", time.Time{}) }},
		{"a subject revoked", func() error { return j.RevokeSubject("s", theTime) }},
	} {
		version, changed := j.Version(), j.Changed()
		require.NoError(t, row.change(), row.name)
		require.Equal(t, version+1, j.Version(), row.name)
		select {
		case <-changed:
		default:
			require.Fail(t, "nobody was told", row.name)
		}
	}
}

// TestJWTVerifyOnly: a security that holds public keys only makes no tokens.
func TestJWTVerifyOnly(t *testing.T) {
	t.Parallel()
	signs, verifies, _ := keyPair(t, "k", "EdDSA")
	j := jwtWith(t, verifies)
	text, err := j.GenerateToken(t.Context(), TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})
	require.ErrorIs(t, err, ErrNoSigner)
	require.Empty(t, text)
	require.Equal(t, accepted, answerTo(t, j, mint(t, jwtWith(t, signs), TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})))

	other, _, _ := keyPair(t, "signs", "ES256")
	j = jwtWith(t, verifies, JWTKeys(other))
	_, err = j.GenerateToken(t.Context(), TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})
	require.ErrorIs(t, err, ErrNoSigner, "the first key signs, or none")
	require.NoError(t, j.Rotate(other))
	mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})
}

// TestJWTKeysWithoutNames are tried in turn, and each can be removed.
func TestJWTKeysWithoutNames(t *testing.T) {
	t.Parallel()
	another := must(HMACKey("", "HS256", []byte(strings.Repeat("another secret ", 5))))
	req := TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true}
	j := jwtWith(t, hs256(t, ""))
	old := mint(t, j, req)
	require.NoError(t, j.Rotate(another))
	require.Equal(t, accepted, answerTo(t, j, old))
	require.Equal(t, accepted, answerTo(t, j, mint(t, j, req)))
	require.NoError(t, j.RemoveKey(""))
	require.NotEqual(t, accepted, answerTo(t, j, old))
	require.Equal(t, accepted, answerTo(t, j, mint(t, j, req)))
}

// TestJWTRemovingOneOfSeveralKeysWithoutNames must not take a key that was not meant, nor leave the one that was.
func TestJWTRemovingOneOfSeveralKeysWithoutNames(t *testing.T) {
	t.Parallel()
	another := must(HMACKey("", "HS256", []byte(strings.Repeat("another secret ", 5))))
	third := must(HMACKey("", "HS256", []byte(strings.Repeat("a third secret ", 5))))
	_, err := NewJWTSecurity(hs256(t, ""), JWTKeys(another))
	if err == nil {
		j := jwtWith(t, hs256(t, "signs"), JWTKeys(another, third))
		err = j.RemoveKey("")
	}
	require.ErrorIs(t, err, ErrInvalid)
}

// TestJWTLifetimes: what was asked for, in whole seconds, and never over at birth.
func TestJWTLifetimes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		asked, most, want time.Duration
	}{
		{0, 24 * time.Hour, 24 * time.Hour},
		{0, time.Hour, time.Hour},
		{0, 48 * time.Hour, 24 * time.Hour},
		{time.Second, 24 * time.Hour, time.Second},
		{90 * time.Minute, 24 * time.Hour, 90 * time.Minute},
		{24 * time.Hour, 24 * time.Hour, 24 * time.Hour},
		{48 * time.Hour, 48 * time.Hour, 48 * time.Hour},
	} {
		j := jwtWith(t, hs256(t, ""), stopped(theTime), JWTMaxLifetime(row.most))
		p := authenticated(t, j, mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true, ExpiresIn: row.asked}))
		require.Equal(t, row.want, p.Grant.ExpiresAt.Sub(theTime))
	}
	for _, tooLong := range []time.Duration{24*time.Hour + 1, math.MaxInt64} {
		_, err := jwtWith(t, hs256(t, "")).GenerateToken(t.Context(), TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true, ExpiresIn: tooLong})
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "at most 24h0m0s")
	}
	// Whatever part of a second it is, and however short it was asked for: sssn loses half of those of half a second.
	for _, offset := range []time.Duration{0, 1, time.Millisecond, time.Second / 2, 999 * time.Millisecond, time.Second - 1} {
		for _, asked := range []time.Duration{1, time.Millisecond, 100 * time.Millisecond, time.Second / 2, time.Second - 1, time.Second, 1500 * time.Millisecond} {
			for _, most := range []time.Duration{time.Second, time.Hour} {
				if asked > most {
					continue
				}
				now := theTime.Add(offset)
				j := jwtWith(t, hs256(t, ""), stopped(now), JWTMaxLifetime(most))
				text := mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true, ExpiresIn: asked})
				require.Equal(t, accepted, answerTo(t, j, text), "%s asked for at .%09d", asked, offset)
				left := authenticated(t, j, text).Grant.ExpiresAt.Sub(now)
				require.Positive(t, left)
				require.LessOrEqual(t, left, max(asked, time.Second))
			}
		}
	}
}

// TestJWTClocksThatMakeNoSense: what no verifier would read is not signed.
func TestJWTClocksThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, now := range []time.Time{{}, time.Unix(-1, 0), time.Unix(0, 0), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<62, 0)} {
		text, err := jwtWith(t, hs256(t, ""), stopped(now)).GenerateToken(t.Context(), TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})
		require.ErrorIs(t, err, ErrInvalid, "%s", now)
		require.Empty(t, text)
	}
}

// TestJWTRevokeToken: by its name, for ever or until it has expired.
func TestJWTRevokeToken(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	named := func(id string) string { return forge(plainHeader, claimsWith("jti", `"`+id+`"`)) }
	for _, id := range []string{"a", "b", "c"} {
		require.Equal(t, accepted, answerTo(t, j, named(id)))
	}
	version, changed := j.Version(), j.Changed()
	require.NoError(t, j.RevokeToken("a", theTime.Add(time.Hour)))
	require.Equal(t, version+1, j.Version())
	<-changed
	require.NoError(t, j.RevokeToken("b", time.Time{}))
	require.NoError(t, j.RevokeToken("never seen", theTime.Add(time.Hour)))
	require.Equal(t, cutOff, answerTo(t, j, named("a")), "seen before")
	require.Equal(t, cutOff, answerTo(t, j, named("b")), "seen before")
	require.Equal(t, cutOff, answerTo(t, j, named("never seen")))
	require.Equal(t, accepted, answerTo(t, j, named("c")))
	require.Equal(t, accepted, answerTo(t, j, named("A")), "names are bytes")
	require.Equal(t, accepted, answerTo(t, j, forge(plainHeader, claimsWith())), "which has no name")
	require.Equal(t, cutOff, answerTo(t, j, forge(plainHeader, claimsWith("jti", `"\u0061"`))), "in another spelling")
	require.NoError(t, j.RevokeToken("a", theTime.Add(time.Hour)), "again")

	for _, id := range []string{"", "a\n", "\xff", "\ufffd", strings.Repeat("x", 513)} {
		err := j.RevokeToken(id, time.Time{})
		require.ErrorIs(t, err, ErrInvalid, "%q", id)
		require.ErrorContains(t, err, "token id")
	}
}

// TestJWTRevokeSubject: what was issued before a time, in its second, or nobody knows when.
func TestJWTRevokeSubject(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime.Add(time.Minute)))
	issued := func(iat string) string { return forge(plainHeader, claimsWith("iat", iat)) }
	cut := theTime.Add(time.Second / 2)
	require.Equal(t, accepted, answerTo(t, j, issued("1")))
	version, changed := j.Version(), j.Changed()
	require.NoError(t, j.RevokeSubject("s", cut))
	require.Equal(t, version+1, j.Version())
	<-changed
	for iat, want := range map[string]answer{
		"1":              cutOff,
		"1799999999":     cutOff,
		"1800000000":     cutOff,
		"1800000000.4":   cutOff,
		"1800000000.999": cutOff,
		"1800000001":     accepted,
		"1800000030":     accepted,
		"":               cutOff,
	} {
		require.Equal(t, want, answerTo(t, j, issued(iat)), "issued at %q", iat)
	}
	require.Equal(t, accepted, answerTo(t, j, forge(plainHeader, claimsWith("sub", `"S"`))), "names are bytes")
	require.NoError(t, j.RevokeSubject("s", theTime.Add(-time.Hour)))
	require.Equal(t, cutOff, answerTo(t, j, issued("1799999999")), "an earlier time changes nothing")
	require.NoError(t, j.RevokeSubject("s", theTime.Add(30*time.Second)))
	require.Equal(t, cutOff, answerTo(t, j, issued("1800000030")), "a later one does")
	require.Equal(t, accepted, answerTo(t, j, issued("1800000031")))
	require.NoError(t, j.RevokeSubject("nobody yet", time.Unix(math.MaxInt64/4, 0)), "until whenever")
	require.NoError(t, j.RevokeSubject("old", time.Unix(-1<<40, 0)))
	require.Equal(t, cutOff, answerTo(t, j, forge(plainHeader, claimsWith("sub", `"old"`))), "before any cut-off, be it before all years")
	require.Equal(t, accepted, answerTo(t, j, forge(plainHeader, claimsWith("sub", `"old"`, "iat", "1"))))

	for _, subject := range []string{"", "a\n", "\xff", "\ufffd", strings.Repeat("x", 513)} {
		err := j.RevokeSubject(subject, theTime)
		require.ErrorIs(t, err, ErrInvalid, "%q", subject)
		require.ErrorContains(t, err, "system id")
	}
	require.ErrorIs(t, j.RevokeSubject("s", time.Time{}), ErrInvalid)
}

// TestJWTRevocationsAreBounded: a full table refuses, and forgets nothing; tokens that have expired make room.
func TestJWTRevocationsAreBounded(t *testing.T) {
	t.Parallel()
	now := theTime
	j := jwtWith(t, hs256(t, ""), JWTClock(func() time.Time { return now }), JWTMaxRevocations(3), JWTLeeway(10*time.Second))
	named := func(id string) string {
		return forge(plainHeader, claimsWith("jti", `"`+id+`"`, "exp", fmt.Sprint(now.Unix()+1000)))
	}
	full := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, ErrLimit)
		require.ErrorContains(t, err, "3 revoked")
	}
	require.NoError(t, j.RevokeToken("a", theTime.Add(time.Minute)))
	require.NoError(t, j.RevokeToken("b", theTime.Add(time.Hour)))
	require.NoError(t, j.RevokeToken("c", time.Time{}))
	version := j.Version()
	full(j.RevokeToken("d", theTime.Add(time.Minute)))
	require.Equal(t, version, j.Version(), "nothing changed")
	require.Equal(t, accepted, answerTo(t, j, named("d")))
	for _, id := range []string{"a", "b", "c"} {
		require.Equal(t, cutOff, answerTo(t, j, named(id)), id)
		require.NoError(t, j.RevokeToken(id, theTime.Add(time.Minute)), "again: it needs no room, and shortens nothing")
	}

	now = theTime.Add(time.Minute + 10*time.Second - 1)
	full(j.RevokeToken("d", theTime.Add(time.Hour)))
	now = now.Add(1) // a has expired, to the last of the leeway
	require.NoError(t, j.RevokeToken("d", theTime.Add(time.Hour)))
	full(j.RevokeToken("e", theTime.Add(time.Hour)))
	for _, id := range []string{"b", "c", "d"} {
		require.Equal(t, cutOff, answerTo(t, j, named(id)), id)
	}
	now = theTime.Add(1000 * time.Hour)
	require.NoError(t, j.RevokeToken("e", now.Add(time.Hour)))
	require.NoError(t, j.RevokeToken("f", now.Add(time.Hour)))
	full(j.RevokeToken("g", now.Add(time.Hour)))
	for _, id := range []string{"c", "e", "f"} {
		require.Equal(t, cutOff, answerTo(t, j, named(id)), id)
	}

	for _, subject := range []string{"s", "t", "u"} {
		require.NoError(t, j.RevokeSubject(subject, now))
	}
	full(j.RevokeSubject("v", now))
	now = now.Add(1e6 * time.Hour)
	full(j.RevokeSubject("v", now))
	require.NoError(t, j.RevokeSubject("s", now), "again: it needs no room")
	require.Equal(t, cutOff, answerTo(t, j, forge(plainHeader, claimsWith("exp", fmt.Sprint(now.Unix()+1000)))), "subjects are never forgotten")
	require.Equal(t, cutOff, answerTo(t, j, forge(plainHeader, claimsWith("exp", fmt.Sprint(now.Unix()+1000), "sub", `"t"`))))
}

// TestJWTForgetsRevokedTokensThatHaveExpired: the table does not grow by what is over.
func TestJWTForgetsRevokedTokensThatHaveExpired(t *testing.T) {
	t.Parallel()
	now := theTime
	j := jwtWith(t, hs256(t, ""), JWTClock(func() time.Time { return now }))
	most := 0
	for i := range fewer(200_000) {
		require.NoError(t, j.RevokeToken(fmt.Sprint("token ", i), now.Add(time.Second)))
		now = now.Add(time.Millisecond)
		most = max(most, j.tokens.Places())
	}
	require.Less(t, most, 16_000, "a thousand at a time")
}

// TestJWTAuthorizeToken is sssn's check in one call, as a table of what a token says and what is asked.
func TestJWTAuthorizeToken(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	revoked := forge(plainHeader, claimsWith("jti", `"revoked"`))
	require.NoError(t, j.RevokeToken("revoked", time.Time{}))
	good := func(changes ...string) string { return forge(plainHeader, claimsWith(changes...)) }
	for _, row := range []struct {
		name    string
		token   string
		channel string
		op      Operation
		want    error // nil, or what the error is, beside ErrPermission for ErrGrant
	}{
		{"its channel and role", good(), "c", OpWrite, nil},
		{"a lower role", good(), "c", OpRead, nil},
		{"a finer operation of that role", good(), "c", OpAcknowledge, nil},
		{"an operation in capitals", good(), "c", "WRITE", nil},
		{"a higher role", good(), "c", OpAdmin, ErrGrant},
		{"a finer operation of a higher role", good(), "c", OpClear, ErrGrant},
		{"another channel", good(), "d", OpRead, ErrGrant},
		{"another channel, as admin", good("role", `"admin"`), "d", OpRead, ErrGrant},
		{"its channel in capitals", good(), "C", OpRead, ErrGrant},
		{"part of its channel", good("channels", `["xx-c-xx"]`), "c", OpRead, ErrGrant},
		{"any channel", good("channels", ""), "whatever", OpRead, nil},
		{"no channel", good("channels", "[]"), "c", OpRead, ErrGrant},
		{"one of many", good("channels", `["1","2","3","4","5","6","7","8","9","c"]`), "c", OpWrite, nil},
		{"none of many", good("channels", `["1","2","3","4","5","6","7","8","9","0"]`), "c", OpWrite, ErrGrant},
		{"one of many, for more", good("channels", `["1","2","3","4","5","6","7","8","9","c"]`), "c", OpAdmin, ErrGrant},
		{"an unknown operation", good("role", `"admin"`, "channels", ""), "c", "destroy", ErrGrant},
		{"no operation", good("role", `"admin"`, "channels", ""), "c", "", ErrGrant},
		{"the operation of a failed authentication", good("role", `"admin"`, "channels", ""), "c", OpAuthenticate, ErrGrant},
		{"garbage", "not-a-jwt", "c", OpRead, ErrUnauthenticated},
		{"nothing", "", "c", OpRead, ErrUnauthenticated},
		{"an expired token", good("exp", "1799999999"), "c", OpRead, ErrExpired},
		{"a revoked token", revoked, "c", OpRead, ErrRevoked},
	} {
		p, err := j.AuthorizeToken(t.Context(), row.token, row.channel, row.op)
		if row.want == nil {
			require.NoError(t, err, row.name)
			require.Equal(t, "s", p.SystemID)
			require.Equal(t, ProofToken, p.Proof)
			continue
		}
		require.Zero(t, p, row.name)
		require.ErrorIs(t, err, row.want, row.name)
		if row.want == ErrGrant {
			requireDenial(t, err, []error{ErrGrant}, row.name)
			require.NotErrorIs(t, err, ErrUnauthenticated, row.name)
			var denial *PermissionError
			require.ErrorAs(t, err, &denial)
			require.Equal(t, row.channel, denial.ChannelID)
			require.Equal(t, "s", denial.SystemID)
		} else {
			require.ErrorIs(t, err, ErrUnauthenticated, row.name)
			require.NotErrorIs(t, err, ErrPermission, row.name)
		}
	}
}

// TestJWTAuthorizeTokenAsksNothingImpossible: a channel that cannot exist is nowhere, whatever a token says.
func TestJWTAuthorizeTokenAsksNothingImpossible(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	for _, channel := range []string{"", "a\n", "\xff", strings.Repeat("x", 513)} {
		_, err := j.AuthorizeToken(t.Context(), forge(plainHeader, claimsWith("channels", "")), channel, OpRead)
		require.ErrorIs(t, err, ErrInvalid, "%q", channel)
	}
}

// TestJWTReasons: people are told why.
func TestJWTReasons(t *testing.T) {
	t.Parallel()
	j, strict := jwtWith(t, hs256(t, "")), jwtWith(t, hs256(t, ""), JWTStrictLocal())
	holder := authenticated(t, j, mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true}))
	revoked := authenticated(t, j, mint(t, j, TokenRequest{SystemID: "t", Role: RoleRead, AllChannels: true}))
	require.NoError(t, j.RevokeToken(revoked.Grant.TokenID, time.Time{}))
	for _, row := range []struct {
		name string
		j    *JWTSecurity
		req  Request
		want string
	}{
		{"an unknown operation", j, Request{Principal: holder, Operation: "destroy"}, "unknown operation"},
		{"the holder of a token", j, Request{Principal: holder, Operation: OpRead}, "token"},
		{"of a revoked one", j, Request{Principal: revoked, Operation: OpRead}, "the token was revoked"},
		{"somebody else's caller", j, Request{Principal: Principal{SystemID: "s"}, Operation: OpRead}, "not authenticated by a token of this security"},
		{"whoever is wired in", j, Request{Principal: Principal{SystemID: "s"}, Operation: OpRead, local: true}, "in-process"},
		{"whoever is wired in, strictly", strict, Request{Principal: Principal{SystemID: "s"}, Operation: OpRead, local: true}, "in-process ports are refused"},
	} {
		d, err := row.j.Decide(t.Context(), row.req)
		require.NoError(t, err)
		require.Equal(t, row.want, d.Reason, row.name)
		require.Equal(t, row.want == "token" || row.want == "in-process", d.Allowed, row.name)
	}
}

// TestJWTLocalAnswers: what the authorizer of JWTLocal says, for how long, and when it cannot say.
func TestJWTLocalAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		acl := aclWith(t, ACLRead("reader"))
		mint(t, acl, TokenRequest{SystemID: "guest", Role: RoleRead, AllChannels: true, ExpiresIn: time.Millisecond})
		mint(t, acl, TokenRequest{SystemID: "lodger", Role: RoleRead, AllChannels: true, ExpiresIn: time.Hour})
		failed := errors.New("the directory is down")
		decide := func(local Authorizer, system string) (Decision, error) {
			j := jwtWith(t, hs256(t, ""), JWTLocal(local))
			return j.Decide(t.Context(), Request{Principal: Principal{SystemID: system}, ChannelID: "c", Operation: OpRead})
		}
		for _, local := range []Authorizer{acl, fiveMethods{acl}} {
			d, err := decide(local, "reader")
			require.NoError(t, err)
			require.True(t, d.Allowed)
			require.True(t, d.PerMessage, "its version is not that of the JWTSecurity, so that a yes is for once only")
			require.True(t, d.Until.Equal(time.Now().Add(time.Second)))
			d, err = decide(local, "nobody")
			require.NoError(t, err)
			require.False(t, d.Allowed)
		}
		d, err := decide(acl, "guest")
		require.NoError(t, err)
		require.True(t, d.Allowed)
		require.True(t, d.Until.Equal(time.Now().Add(time.Millisecond)), "an earlier end stays")
		d, err = decide(acl, "lodger")
		require.NoError(t, err)
		require.True(t, d.Until.Equal(time.Now().Add(time.Second)), "a later one does not")

		for _, local := range []Authorizer{undecided{failed}, fiveMethods{undecided{failed}}} {
			d, err := decide(local, "reader")
			require.ErrorIs(t, err, failed)
			require.Zero(t, d, "nothing, and no yes beside an error")
		}
		j := jwtWith(t, hs256(t, ""), JWTLocal(undecided{failed}))
		ok, err := j.AuthorizeWrite(t.Context(), "s", "c")
		require.ErrorIs(t, err, failed)
		require.False(t, ok)
	})
}

// TestJWTLocalCuts: whoever the authorizer of JWTLocal lets in gets nothing any more once it says no, and loses an idle lease
// within a second.
func TestJWTLocalCuts(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			acl := aclWith(t, ACLWrite("w"), ACLRead("idle", "reader"))
			var local Authorizer = acl
			if plain {
				local = fiveMethods{acl}
			}
			ch, err := NewBroadcast[int]("c", WithSecurity(jwtWith(t, hs256(t, ""), JWTLocal(local))))
			require.NoError(t, err)
			require.NoError(t, ch.Start(t.Context()))
			idle, err := ch.As("idle").Subscribe(t.Context())
			require.NoError(t, err)
			lease, err := ch.As("reader").Subscribe(t.Context())
			require.NoError(t, err)
			var got []int
			var end error
			go func() {
				for m, err := range lease.Messages(t.Context()) {
					if end = err; err == nil {
						got = append(got, m.Content)
					}
				}
			}()
			_, err = ch.As("w").Write(t.Context(), 1)
			require.NoError(t, err)
			synctest.Wait()
			require.True(t, acl.Revoke("reader"))
			require.True(t, acl.Revoke("idle"))
			_, err = ch.As("w").Write(t.Context(), 2)
			require.NoError(t, err)
			synctest.Wait()
			require.Equal(t, []int{1}, got)
			time.Sleep(time.Second)
			synctest.Wait()
			require.ErrorIs(t, end, ErrRevoked)
			require.ErrorIs(t, idle.Err(), ErrRevoked)
			require.NoError(t, ch.Close())
		})
	}
}

// TestJWTClockIsForTokens: what is open ends by the real clock.
func TestJWTClockIsForTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := jwtWith(t, hs256(t, ""), stopped(time.Now()))
		ch, err := NewBroadcast[int]("c", WithSecurity(j))
		require.NoError(t, err)
		token := mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true, ExpiresIn: time.Hour})
		port := ch.For(StaticCaller(authenticated(t, j, token)))
		lease, err := port.Subscribe(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.ErrorIs(t, lease.Err(), ErrExpired)
		_, err = port.Read(t.Context(), 1)
		requireDenial(t, err, []error{ErrExpired})
		require.Equal(t, accepted, answerTo(t, j, token))
		require.NoError(t, ch.Close())
	})
}

// renaming is a decorator that asks about another name, as one for several tenants does.
type renaming struct{ ChannelSecurity }

func (r renaming) AuthorizeRead(ctx context.Context, systemID, channelID string) (bool, error) {
	return r.ChannelSecurity.AuthorizeRead(ctx, "tenant/"+systemID, channelID)
}

// TestJWTIsAskedAboutTheNameItIsGiven: by a decorator, which may have its reasons to ask about another than the caller's.
func TestJWTIsAskedAboutTheNameItIsGiven(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		listed string
		want   bool
	}{
		{"the name that is asked about is listed", "tenant/s", true},
		{"the caller's own name is listed", "s", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			j := jwtWith(t, hs256(t, ""), JWTLocal(aclWith(t, ACLRead(row.listed))))
			ch, err := NewPassthrough[int]("c", WithSecurity(renaming{j}))
			require.NoError(t, err)
			defer ch.Close()
			for _, p := range []Principal{
				{SystemID: "s", Proof: "tls"},
				authenticated(t, j, mint(t, j, TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true})),
			} {
				_, err := ch.For(StaticCaller(p)).Read(t.Context(), 1)
				require.Equal(t, row.want, err == nil, "%s: %v", p.Proof, err)
			}
		})
	}
}

// TestJWTCannotBePrinted: see TestNothingPrintsSecrets.
func TestJWTCannotBePrinted(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		require.Equal(t, "chansec.JWTSecurity", fmt.Sprintf(verb, j))
	}
}
