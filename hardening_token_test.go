package chansec

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// The tests in this file are attacks on the token check, one each, through Authenticate. Every one of them shows first that
// the token would do without the attack.

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// signWith signs with a method of golang-jwt, which does what it is told.
func signWith(t testing.TB, method jwt.SigningMethod, key any, header, claims string) string {
	t.Helper()
	signed := b64(header) + "." + b64(claims)
	signature, err := method.Sign(signed, key)
	require.NoError(t, err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// signHMAC signs with any bytes and hash.
func signHMAC(newHash func() hash.Hash, secret []byte, header, claims string) string {
	signed := b64(header) + "." + b64(claims)
	mac := hmac.New(newHash, secret)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// requireRefused presents tokens to a security that already remembers a good one.
func requireRefused(t testing.TB, j *JWTSecurity, tokens map[string]string) {
	t.Helper()
	for name, token := range tokens {
		require.Equal(t, refused, answerTo(t, j, token), "%s: %.200q", name, token)
	}
}

// secured returns a security for an algorithm and shows that it takes what its key signed.
func secured(t testing.TB, algorithm string, opts ...JWTOption) (j *JWTSecurity, good string) {
	t.Helper()
	signs, _, _ := keyPair(t, "", algorithm)
	j = jwtWith(t, signs, append(opts, stopped(theTime))...)
	good = mint(t, j, TokenRequest{SystemID: "s", Role: RoleAdmin, AllChannels: true})
	require.Equal(t, accepted, answerTo(t, j, good))
	return j, good
}

func TestAttackUnsigned(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		j, good := secured(t, algorithm)
		signature := good[strings.LastIndexByte(good, '.')+1:]
		for _, none := range []string{`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `""`, `null`, `"none "`, `"n\u006fne"`, `["none"]`, `{}`, `0`, `false`} {
			unsigned := b64(`{"alg":`+none+`,"typ":"JWT"}`) + "." + b64(claimsWith())
			requireRefused(t, j, map[string]string{
				"two parts":                  unsigned,
				"no signature":               unsigned + ".",
				"a signature of something":   unsigned + "." + signature,
				"a signature of one byte":    unsigned + ".AA",
				"no signature, another part": unsigned + "..",
			})
		}
		parts := strings.Split(good, ".")
		requireRefused(t, j, map[string]string{
			"its own parts, unsigned": parts[0] + "." + parts[1] + ".",
			"its own parts, two":      parts[0] + "." + parts[1],
			"no header":               "." + parts[1] + "." + parts[2],
			"no claims":               parts[0] + ".." + parts[2],
		})
	}
}

// TestAttackPublicKeyAsSecret: whoever knows the public key uses it as an HMAC secret.
func TestAttackPublicKeyAsSecret(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		signs, verifies, public := keyPair(t, "k", algorithm)
		var raw []byte
		switch key := public.(type) {
		case *rsa.PublicKey:
			raw = key.N.Bytes()
		case *ecdsa.PublicKey:
			raw = must(key.Bytes())
		case ed25519.PublicKey:
			raw = key
		}
		der := must(x509.MarshalPKIXPublicKey(public))
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		secrets := [][]byte{raw, der, text, bytes.TrimSpace(text), []byte(base64.StdEncoding.EncodeToString(der)), nil}
		if key, ok := public.(*rsa.PublicKey); ok {
			pkcs1 := x509.MarshalPKCS1PublicKey(key)
			secrets = append(secrets, pkcs1, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}))
		}
		for _, key := range []Key{signs, verifies} {
			j := jwtWith(t, key, stopped(theTime))
			for i, secret := range secrets {
				requireRefused(t, j, map[string]string{
					fmt.Sprint("HS256 ", i):             signHMAC(sha256.New, secret, `{"alg":"HS256"}`, claimsWith()),
					fmt.Sprint("HS512 ", i):             signHMAC(sha512.New, secret, `{"alg":"HS512","kid":"k"}`, claimsWith()),
					fmt.Sprint("under its own alg ", i): signHMAC(sha256.New, secret, `{"alg":"`+algorithm+`"}`, claimsWith()),
				})
			}
		}
	}
}

// TestAttackAnotherAlgorithmOfTheSameKey: the algorithm is the key's, not the token's.
func TestAttackAnotherAlgorithmOfTheSameKey(t *testing.T) {
	t.Parallel()
	j, _ := secured(t, "HS512")
	requireRefused(t, j, map[string]string{
		"HS256":                   signHMAC(sha256.New, tokenSecret, `{"alg":"HS256"}`, claimsWith()),
		"HS384":                   signHMAC(sha512.New384, tokenSecret, `{"alg":"HS384"}`, claimsWith()),
		"HS256 that says HS512":   signHMAC(sha256.New, tokenSecret, `{"alg":"HS512"}`, claimsWith()),
		"HS512 that says HS256":   signHMAC(sha512.New, tokenSecret, `{"alg":"HS256"}`, claimsWith()),
		"HS512/256 that says it ": signHMAC(sha512.New512_256, tokenSecret, `{"alg":"HS512"}`, claimsWith()),
	})
	for _, algorithm := range []string{"RS256", "PS256"} {
		j, _ := secured(t, algorithm)
		for _, method := range []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512,
			jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512} {
			for _, says := range []string{method.Alg(), algorithm} {
				token := signWith(t, method, rsaKeyForTests(), `{"alg":"`+says+`"}`, claimsWith())
				want := refused
				if method.Alg() == algorithm {
					want = accepted
				}
				require.Equal(t, want, answerTo(t, j, token), "%s that says %s", method.Alg(), says)
			}
		}
	}
	ps256, _ := secured(t, "PS256")
	for _, salt := range []int{1, 20, 31, 33, 64, rsa.PSSSaltLengthAuto} { // RFC 7518 wants one as long as the hash
		method := &jwt.SigningMethodRSAPSS{SigningMethodRSA: jwt.SigningMethodPS256.SigningMethodRSA, Options: &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA256}}
		requireRefused(t, ps256, map[string]string{fmt.Sprint("a salt of ", salt): signWith(t, method, rsaKeyForTests(), `{"alg":"PS256"}`, claimsWith())})
	}
}

// TestAttackKeyInHeader: a token that brings the key that verifies it, or says where to find it.
func TestAttackKeyInHeader(t *testing.T) {
	t.Parallel()
	attacker := ecKey(elliptic.P256())
	point := must(attacker.PublicKey.Bytes())
	encode := base64.RawURLEncoding.EncodeToString
	jwk := fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q,"kid":"k"}`, encode(point[1:33]), encode(point[33:]))
	signs, _, _ := keyPair(t, "k", "ES256")
	hmacSecurity := jwtWith(t, hs256(t, "k"), stopped(theTime))
	for _, j := range []*JWTSecurity{jwtWith(t, signs, stopped(theTime)), hmacSecurity} {
		tokens := map[string]string{}
		for name, parameter := range map[string]string{
			"jwk":                  `"jwk":` + jwk,
			"jwk and kid":          `"kid":"k","jwk":` + jwk,
			"jku":                  `"jku":"https://attacker.example/keys"`,
			"x5u":                  `"x5u":"https://attacker.example/cert"`,
			"x5c":                  `"x5c":["` + base64.StdEncoding.EncodeToString(point) + `"]`,
			"x5t":                  `"x5t":"AAAA"`,
			"an octet key":         `"jwk":{"kty":"oct","k":""}`,
			"a kid that is a path": `"kid":"/dev/null"`,
			"a kid that is SQL":    `"kid":"x' UNION SELECT 'secret"`,
			"a kid with a NUL":     `"kid":"k\u0000"`,
			"a kid of 4 KiB":       `"kid":"` + strings.Repeat("k", 4096) + `"`,
		} {
			tokens[name] = signWith(t, jwt.SigningMethodES256, attacker, `{"alg":"ES256",`+parameter+`}`, claimsWith())
			tokens[name+", with no secret"] = signHMAC(sha256.New, nil, `{"alg":"HS256",`+parameter+`}`, claimsWith())
		}
		requireRefused(t, j, tokens)
	}
	require.Equal(t, accepted, answerTo(t, hmacSecurity, forge(`{"alg":"HS256","jku":"https://attacker.example/keys","jwk":`+jwk+`}`, claimsWith())),
		"where our own key signed it, they are only ignored")
}

// TestAttackSignatureThatFitsAnything: values with which broken verifiers accept every text.
func TestAttackSignatureThatFitsAnything(t *testing.T) {
	t.Parallel()
	number := func(n *big.Int, size int) string { return string(n.FillBytes(make([]byte, size))) }
	p256 := elliptic.P256().Params()
	zero, one := new(big.Int), big.NewInt(1)
	modulus := rsaKeyForTests().N
	identity := "\x01" + strings.Repeat("\x00", 31)
	for algorithm, signatures := range map[string]map[string]string{
		"ES256": {
			"r and s are 0": number(zero, 64), "r is 0": number(zero, 32) + number(one, 32), "s is 0": number(one, 32) + number(zero, 32),
			"r and s are 1": number(one, 32) + number(one, 32), "r and s are the order": number(p256.N, 32) + number(p256.N, 32),
			"r is the order": number(p256.N, 32) + number(one, 32), "r is the prime": number(p256.P, 32) + number(one, 32),
			"ASN.1": "\x30\x06\x02\x01\x01\x02\x01\x01", "ASN.1 of zeros": "\x30\x06\x02\x01\x00\x02\x01\x00", "one byte": "\x00",
			"65 zeros": number(zero, 65), "63 zeros": number(zero, 63), "96 zeros": number(zero, 96),
		},
		"RS256": {
			"0": number(zero, 256), "1": number(one, 256), "the modulus": number(modulus, 256), "the modulus and 1": number(new(big.Int).Add(modulus, one), 256),
			"a byte": "\x01", "257 bytes": number(one, 257), "255 bytes": number(one, 255),
		},
		"PS256": {"0": number(zero, 256), "1": number(one, 256), "the modulus less 1": number(new(big.Int).Sub(modulus, one), 256)},
		"EdDSA": {
			"zeros": number(zero, 64), "the identity": identity + number(zero, 32), "half": identity, "65 zeros": number(zero, 65),
			"a great s": identity + strings.Repeat("\xff", 32),
		},
		"HS256": {"zeros": number(zero, 32), "half": number(zero, 16), "a byte": "\x00", "64 zeros": number(zero, 64)},
	} {
		j, _ := secured(t, algorithm)
		tokens := map[string]string{}
		for name, signature := range signatures {
			tokens[algorithm+": "+name] = b64(`{"alg":"`+algorithm+`"}`) + "." + b64(claimsWith()) + "." + b64(signature)
		}
		requireRefused(t, j, tokens)
	}
}

// TestAttackPartOfASignature: not one byte less or more.
func TestAttackPartOfASignature(t *testing.T) {
	t.Parallel()
	for _, algorithm := range everyAlgorithm {
		j, good := secured(t, algorithm)
		at := strings.LastIndexByte(good, '.') + 1
		signature := must(base64.RawURLEncoding.DecodeString(good[at:]))
		tokens := map[string]string{}
		for _, n := range []int{1, 8, len(signature) / 2, len(signature) - 1} {
			tokens[fmt.Sprint("the first ", n)] = good[:at] + b64(string(signature[:n]))
			tokens[fmt.Sprint("the last ", n)] = good[:at] + b64(string(signature[len(signature)-n:]))
		}
		tokens["a zero more"] = good[:at] + b64(string(signature)+"\x00")
		tokens["a zero before"] = good[:at] + b64("\x00"+string(signature))
		tokens["twice"] = good[:at] + b64(string(signature)+string(signature))
		requireRefused(t, j, tokens)
	}
}

// TestAttackTwinOfAnECDSASignature: the holder of a token can turn its (r, s) into (r, n-s), a text that verifies as well.
// It is the same token by name, and cut with it.
func TestAttackTwinOfAnECDSASignature(t *testing.T) {
	t.Parallel()
	j, good := secured(t, "ES256")
	at := strings.LastIndexByte(good, '.') + 1
	signature := must(base64.RawURLEncoding.DecodeString(good[at:]))
	s := new(big.Int).SetBytes(signature[32:])
	twin := good[:at] + b64(string(signature[:32])+string(s.Sub(elliptic.P256().Params().N, s).FillBytes(make([]byte, 32))))
	require.NotEqual(t, good, twin)
	p := authenticated(t, j, good)
	if answerTo(t, j, twin) == accepted {
		require.Equal(t, p.Grant.TokenID, authenticated(t, j, twin).Grant.TokenID)
	}
	require.NoError(t, j.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt))
	require.NotEqual(t, accepted, answerTo(t, j, good))
	require.NotEqual(t, accepted, answerTo(t, j, twin))
}

// TestAttackPartsOfSeveralTokens: what was signed together stays together.
func TestAttackPartsOfSeveralTokens(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, "k"), stopped(theTime))
	a := strings.Split(forge(`{"alg":"HS256","kid":"k"}`, claimsWith("role", `"read"`)), ".")
	b := strings.Split(forge(plainHeader, claimsWith("role", `"admin"`, "exp", "1799999999")), ".")
	for i := range 8 {
		parts := []string{a[0], a[1], a[2]}
		for part := range parts {
			if i>>part&1 == 1 {
				parts[part] = b[part]
			}
		}
		want := refused
		switch i {
		case 0:
			want = accepted
		case 7:
			want = tooLate
		}
		require.Equal(t, want, answerTo(t, j, strings.Join(parts, ".")))
	}
}

// TestAttackTwoMeanings: members that one reader takes in one way and another in another. All of it is signed by our key, as
// by an issuer who can be made to say what they did not mean.
func TestAttackTwoMeanings(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	with := func(more string) string {
		good := claimsWith()
		return forge(plainHeader, good[:len(good)-1]+","+more+"}")
	}
	require.Equal(t, accepted, answerTo(t, j, with(`"x":1`)))
	tokens := map[string]string{}
	for name, more := range map[string]string{
		"two subjects":                       `"sub":"root"`,
		"the same subject twice":             `"sub":"s"`,
		"two roles":                          `"role":"admin"`,
		"two lists of channels":              `"channels":null`,
		"two expiries":                       `"exp":1800086400`,
		"two of what means nothing":          `"x":1,"x":1`,
		"two of what means nothing, deep":    `"x":{"y":[{"z":1,"z":2}]}`,
		"two subjects, one in escapes":       `"\u0073ub":"root"`,
		"a role in capitals":                 `"ROLE":"admin"`,
		"channels in capitals":               `"Channels":null`,
		"an expiry in capitals":              `"EXP":1800086400`,
		"a long s":                           `"\u017fub":"root"`,
		"a long s in channels":               `"channel\u017f":null`,
		"the issuer in capitals":             `"ISS":"x"`,
		"the name in capitals":               `"JTI":"x"`,
		"an audience in capitals":            `"Aud":"x"`,
		"half a surrogate pair in a value":   `"x":"\ud800"`,
		"half a surrogate pair in a name":    `"\udc00":1`,
		"a value that is not UTF-8":          "\"x\":\"\xff\"",
		"a name that is not UTF-8":           "\"\xc0\xaf\":1",
		"an overlong quote":                  "\"x\":\"\xc0\xa2\"",
		"a control character in a value":     "\"x\":\"\x01\"",
		"a NUL between members":              "\x00\"x\":1",
		"a number beyond every range":        `"x":1e999`,
		"a number that vanishes":             `"x":1e-999`,
		"a number that loses its last digit": `"x":99999999999999999999`,
		"a comment":                          `/* "x" */ "x":1`,
		"a trailing comma":                   `"x":1,`,
		"a single quote":                     `'x':1`,
		"no quotes":                          `x:1`,
	} {
		tokens[name] = with(more)
	}
	for name, claims := range map[string]string{
		"a byte order mark":       "\ufeff" + claimsWith(),
		"a second object":         claimsWith() + claimsWith("role", `"admin"`),
		"what comes after":        claimsWith() + "x",
		"a NUL after":             claimsWith() + "\x00",
		"a list of claims":        "[" + claimsWith() + "]",
		"a string of claims":      string(must(json.Marshal(claimsWith()))),
		"null":                    "null",
		"nothing":                 " ",
		"UTF-16":                  "\xff\xfe" + strings.Join(strings.Split(claimsWith(), ""), "\x00") + "\x00",
		"an open object":          strings.TrimSuffix(claimsWith(), "}"),
		"a number in other forms": claimsWith("exp", "01800003600"),
		"a number with a plus":    claimsWith("exp", "+1800003600"),
		"a hexadecimal number":    claimsWith("exp", "0x6b49d200"),
		"NaN":                     claimsWith("exp", "NaN"),
		"Infinity":                claimsWith("exp", "Infinity"),
		"less than zero":          claimsWith("exp", "-1800003600"),
		"a point and nothing":     claimsWith("exp", "1800003600."),
		"an underscore":           claimsWith("exp", "1_800_003_600"),
		"minus zero":              claimsWith("exp", "-0"),
		"a date":                  claimsWith("exp", `"2027-01-15T09:00:00Z"`),
		"an object for a time":    claimsWith("exp", `{"seconds":1800003600}`),
	} {
		tokens[name] = forge(plainHeader, claims)
	}
	for name, header := range map[string]string{
		"two algorithms":                 `{"alg":"HS256","alg":"HS256"}`,
		"two algorithms, one none":       `{"alg":"none","alg":"HS256"}`,
		"two algorithms, one in escapes": `{"alg":"HS256","\u0061lg":"none"}`,
		"an algorithm in capitals":       `{"alg":"HS256","ALG":"none"}`,
		"a key in Kelvin":                `{"alg":"HS256","\u212aid":"x"}`,
		"something critical in capitals": `{"alg":"HS256","CRIT":["exp"]}`,
		"a second header":                `{"alg":"HS256"}{"alg":"none"}`,
		"a header and more":              `{"alg":"HS256"}x`,
	} {
		tokens[name] = forge(header, claimsWith())
	}
	requireRefused(t, j, tokens)
}

// TestAttackOtherForms of signed and encrypted objects, which are no tokens here.
func TestAttackOtherForms(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	good := forge(plainHeader, claimsWith())
	require.Equal(t, accepted, answerTo(t, j, good))
	parts := strings.Split(good, ".")
	requireRefused(t, j, map[string]string{
		"JWS as JSON":          fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, parts[1], parts[0], parts[2]),
		"JWS as flat JSON":     fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]),
		"a detached payload":   parts[0] + ".." + parts[2],
		"JWE":                  good + ".AA.AA",
		"four parts":           good + ".AA",
		"nested":               forge(`{"alg":"HS256","cty":"JWT"}`, good),
		"nested, undeclared":   forge(plainHeader, `"`+good+`"`),
		"nested, as it is":     forge(plainHeader, good),
		"header and claims":    parts[0] + "." + parts[1],
		"a scheme before":      "Bearer " + good,
		"in standard base64":   strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/") + "==",
		"in hexadecimal":       fmt.Sprintf("%x.%x.%x", parts[0], parts[1], parts[2]),
		"not encoded":          plainHeader + "." + claimsWith() + "." + parts[2],
		"claims not encoded":   parts[0] + "." + claimsWith() + "." + parts[2],
		"two, by a comma":      good + "," + good,
		"two, by a space":      good + " " + good,
		"its own name, as ACL": "s",
	})
}

// TestAttackTokenOfANeighbour: the same secret, and yet meant for others.
func TestAttackTokenOfANeighbour(t *testing.T) {
	t.Parallel()
	req := TokenRequest{SystemID: "s", Role: RoleRead, AllChannels: true}
	ours := []JWTOption{JWTIssuer("us"), JWTAudience("us"), JWTType("us+jwt")}
	j := jwtWith(t, hs256(t, ""), ours...)
	require.Equal(t, accepted, answerTo(t, j, mint(t, j, req)))
	for i, other := range []JWTOption{JWTIssuer("them"), JWTAudience("them"), JWTType("them+jwt")} {
		theirs := append(append([]JWTOption(nil), ours...), other)
		require.Equal(t, refused, answerTo(t, j, mint(t, jwtWith(t, hs256(t, ""), theirs...), req)), i)
	}
	require.Equal(t, refused, answerTo(t, j, mint(t, jwtWith(t, hs256(t, "")), req)))
}

// TestAttackNamesThatLookAlike: identity is bytes.
func TestAttackNamesThatLookAlike(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	for _, name := range []string{"admin", "Admin", "admin ", "\u0430dmin", "adm\u0131n", "caf\u00e9", "cafe\u0301", "a\u200bdmin", "*", "admin\u202e"} {
		raw, err := json.Marshal(name)
		require.NoError(t, err)
		token := forge(plainHeader, claimsWith("sub", string(raw), "channels", "["+string(raw)+"]"))
		p := authenticated(t, j, token)
		require.Equal(t, name, p.SystemID)
		for _, channel := range []string{"admin", "caf\u00e9", "*"} {
			_, err := j.AuthorizeToken(t.Context(), token, channel, OpRead)
			require.Equal(t, channel == name, err == nil, "%q on %q", name, channel)
		}
	}
}

// bombs are tokens that are cheap to send and dear to read, at a size. Nobody signed them.
func bombs(size int) map[string]string {
	n := size*3/4 - 100
	signature := "." + b64(strings.Repeat("x", 32))
	fill := func(head, unit, tail string) string { return head + strings.Repeat(unit, n/len(unit)) + tail }
	return map[string]string{
		"nothing but dots":            strings.Repeat(".", size),
		"one long part":               strings.Repeat("A", size),
		"a deep header":               b64(fill("", "[", "")) + "." + b64("{}") + signature,
		"a deep header parameter":     b64(fill(`{"alg":"HS256","jwk":`, `{"a":`, "")) + "." + b64("{}") + signature,
		"a header of many":            b64(fill(`{"alg":"HS256"`, `,"a":0`, "}")) + "." + b64("{}") + signature,
		"a long key name":             b64(fill(`{"alg":"HS256","kid":"`, "k", `"}`)) + "." + b64("{}") + signature,
		"a key name of escapes":       b64(fill(`{"alg":"HS256","kid":"`, `\u0000`, `"}`)) + "." + b64("{}") + signature,
		"a long number":               b64(fill(`{"alg":`, "9", "}")) + "." + b64("{}") + signature,
		"a header of spaces":          b64(fill(`{`, " ", `"alg":"HS256"}`)) + "." + b64("{}") + signature,
		"deep claims":                 b64(plainHeader) + "." + b64(fill("", "[", "")) + signature,
		"claims of many":              b64(plainHeader) + "." + b64(fill("{", `"a":0,`, `"b":0}`)) + signature,
		"a long signature":            b64(plainHeader) + "." + b64(claimsWith()) + "." + b64(fill("", "x", "")),
		"a signature that is no hash": b64(`{"alg":"RS256"}`) + "." + b64(claimsWith()) + "." + b64(fill("", "x", "")),
	}
}

// TestAttackSize: what nobody signed costs no more than a few times its length, however long and deep it is, and leaves
// nothing behind.
func TestAttackSize(t *testing.T) {
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	public, _ := secured(t, "RS256")
	for _, size := range []int{1 << 10, 8 << 10, 1 << 20} {
		for name, bomb := range bombs(size) {
			for _, j := range []*JWTSecurity{j, public} {
				require.Equal(t, refused, answerTo(t, j, bomb), name)
				if underRace() {
					continue
				}
				const rounds = 20
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range rounds {
					_, _ = j.Authenticate(t.Context(), bomb)
				}
				runtime.ReadMemStats(&after)
				each := (after.TotalAlloc - before.TotalAlloc) / rounds
				require.LessOrEqual(t, each, uint64(min(4*size, 64<<10)), "%s of %d bytes", name, size)
			}
		}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range fewer(100_000) {
		_, _ = j.Authenticate(t.Context(), fmt.Sprint("garbage.", i, ".x"))
		_, _ = j.Authenticate(t.Context(), b64(plainHeader)+"."+b64(fmt.Sprint(`{"jti":"`, i, `"}`))+".AAAA")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(5<<20))
	require.Zero(t, remembered(j))
}

// TestAttackSignedBombs: also what our key signed has bounds.
func TestAttackSignedBombs(t *testing.T) {
	t.Parallel()
	j := jwtWith(t, hs256(t, ""), stopped(theTime), JWTMaxBytes(1<<20))
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }
	require.Equal(t, accepted, answerTo(t, j, forge(plainHeader, claimsWith("x", deep(10)))))
	require.Equal(t, accepted, answerTo(t, j, forge(plainHeader, claimsWith("x", many(1000)))))
	requireRefused(t, j, map[string]string{
		"deep claims":           forge(plainHeader, claimsWith("x", deep(100))),
		"very deep claims":      forge(plainHeader, claimsWith("x", deep(100_000))),
		"claims of many":        forge(plainHeader, claimsWith("x", many(10_000))),
		"very many channels":    forge(plainHeader, claimsWith("channels", "["+strings.Repeat(`"c",`, 10_000)+`"c"]`)),
		"a deep header":         forge(`{"alg":"HS256","jwk":`+deep(100)+`}`, claimsWith()),
		"a header of many":      forge(`{"alg":"HS256","x":`+many(100)+`}`, claimsWith()),
		"a subject of a MB":     forge(plainHeader, claimsWith("sub", `"`+strings.Repeat("s", 600_000)+`"`)),
		"a key name of a MB":    forge(`{"alg":"HS256","kid":"`+strings.Repeat("k", 600_000)+`"}`, claimsWith()),
		"a number of a MB":      forge(plainHeader, claimsWith("exp", "18"+strings.Repeat("0", 600_000))),
		"a fraction of a MB":    forge(plainHeader, claimsWith("exp", "0."+strings.Repeat("0", 600_000)+"1")),
		"an exponent of digits": forge(plainHeader, claimsWith("exp", "1e"+strings.Repeat("9", 600_000))),
	})
}

// jwkKeys returns the keys of a JSON Web Key or a set of them, or why one of them is refused.
func jwkKeys(t *testing.T, raw json.RawMessage) (keys []Key, err error) {
	t.Helper()
	var set struct{ Keys []json.RawMessage }
	require.NoError(t, json.Unmarshal(raw, &set))
	if set.Keys == nil {
		set.Keys = []json.RawMessage{raw}
	}
	for _, one := range set.Keys {
		var k struct{ Kty, Alg, Kid, K, N, E, Crv, X, Y string }
		require.NoError(t, json.Unmarshal(one, &k))
		if k.Alg == "ES521" { // misspelt in the vectors
			k.Alg = "ES512"
		}
		decode := func(text string) []byte { return must(base64.RawURLEncoding.DecodeString(text)) }
		number := func(text string) *big.Int { return new(big.Int).SetBytes(decode(text)) }
		var key Key
		var public crypto.PublicKey
		switch k.Kty {
		case "oct":
			if key, err = HMACKey(k.Kid, k.Alg, decode(k.K)); err != nil {
				return nil, err
			}
			keys = append(keys, key)
			continue
		case "RSA":
			public = &rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}
		case "EC":
			curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Crv]
			//lint:ignore SA1019 a key that is wrong cannot be made otherwise
			public = &ecdsa.PublicKey{Curve: curve, X: number(k.X), Y: number(k.Y)}
		case "OKP":
			public = ed25519.PublicKey(decode(k.X))
		default:
			t.Fatalf("unknown key type %q", k.Kty)
		}
		if key, err = VerifyKey(k.Kid, k.Alg, public); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func vectors(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("internal", "token", "testdata", file))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into))
}

// asText returns a token that the vectors give as a string, or the text of one that they give as an object.
func asText(raw json.RawMessage) (text string) {
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	return text
}

// TestAttackVectors: none of the tokens of Wycheproof, the RFCs and the JOSE cookbook gets in, under its own key or any
// other, at any time. Their verdicts on the signature alone are tested in internal/token.
func TestAttackVectors(t *testing.T) {
	t.Parallel()
	var strangers []*JWTSecurity
	for _, algorithm := range everyAlgorithm {
		j, _ := secured(t, algorithm)
		strangers = append(strangers, j)
	}
	tokens, tried := 0, 0
	try := func(text string, key json.RawMessage) {
		tokens++
		securities := strangers
		if key != nil {
			if keys, err := jwkKeys(t, key); err == nil {
				for _, at := range []time.Time{theTime, time.Unix(1300819379, 0)} {
					if j, err := NewJWTSecurity(keys[0], JWTKeys(keys[1:]...), stopped(at), JWTMaxBytes(1<<20)); err == nil {
						securities = append(securities[:len(securities):len(securities)], j)
						tried++
					} else {
						require.ErrorIs(t, err, ErrInvalid)
					}
				}
			} else {
				require.ErrorIs(t, err, ErrInvalid)
			}
		}
		for _, j := range securities {
			p, err := j.Authenticate(t.Context(), text)
			require.ErrorIs(t, err, ErrUnauthenticated, "%.100q", text)
			require.Zero(t, p)
		}
	}
	for _, name := range []string{"signature", "key", "crypto"} {
		var file struct {
			TestGroups []struct {
				Private, Public json.RawMessage
				Tests           []struct{ JWS json.RawMessage }
			}
		}
		vectors(t, "wycheproof/wycheproof_json_web_"+name+".json", &file)
		for _, group := range file.TestGroups {
			key := group.Private
			if group.Public != nil {
				key = group.Public
			}
			for _, test := range group.Tests {
				try(asText(test.JWS), key)
			}
		}
	}
	var encrypted struct {
		Tests []struct{ Token json.RawMessage }
	}
	vectors(t, "wycheproof/jwe_must_reject.json", &encrypted)
	for _, test := range encrypted.Tests {
		try(asText(test.Token), nil)
	}
	var rfc struct {
		Tests []struct {
			Alg, Token string
			Key        json.RawMessage
		}
	}
	vectors(t, "rfc_examples.json", &rfc)
	for _, test := range rfc.Tests {
		try(test.Token, nil)
		if test.Alg != "none" && test.Key != nil {
			var key map[string]any
			require.NoError(t, json.Unmarshal(test.Key, &key))
			key["alg"] = test.Alg
			try(test.Token, must(json.Marshal(key)))
		}
	}
	cookbook, err := filepath.Glob("internal/token/testdata/cookbook/*_*.json")
	require.NoError(t, err)
	for _, path := range cookbook {
		var example struct {
			Output struct {
				Compact  string
				JSON     json.RawMessage
				JSONFlat json.RawMessage `json:"json_flat"`
			}
		}
		vectors(t, filepath.Join("cookbook", filepath.Base(path)), &example)
		for _, text := range []string{example.Output.Compact, string(example.Output.JSON), string(example.Output.JSONFlat)} {
			try(text, nil)
		}
	}
	require.GreaterOrEqual(t, tokens, 241+16+31+84+3, "all of them")
	require.GreaterOrEqual(t, tried, 400, "most of them under their own key, at two times")
}

// TestAttackJSON: the texts of JSONTestSuite, signed by our key as claims, as header and within good claims.
func TestAttackJSON(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("internal/strictjson/testdata/JSONTestSuite/*.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 191)
	j := jwtWith(t, hs256(t, ""), stopped(theTime), JWTMaxBytes(1<<20))
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		name, text := filepath.Base(path), string(data)
		requireRefused(t, j, map[string]string{
			name + " as claims": forge(plainHeader, text),
			name + " as header": forge(text, claimsWith()),
		})
		// What is up to the reader is a number out of range, half a surrogate pair or not UTF-8: refused, too.
		want := refused
		if strings.HasPrefix(name, "y_") && !strings.Contains(name, "duplicated_key") {
			want = accepted
		}
		require.Equal(t, want, answerTo(t, j, forge(plainHeader, claimsWith("x", text))), name)
	}
}

// TestAttackMutations changes good tokens at random: CHANSEC_MUTATIONS of them, if that is set, as in
//
//	CHANSEC_MUTATIONS=1000000 go test -run TestAttackMutations
//
// None gets in but the very same text.
func TestAttackMutations(t *testing.T) {
	t.Parallel()
	type target struct {
		j    *JWTSecurity
		text string
	}
	var targets []target
	for _, algorithm := range []string{"HS256", "HS512", "EdDSA", "ES256", "RS256"} {
		j, good := secured(t, algorithm)
		targets = append(targets, target{j, good})
	}
	random := rand.New(rand.NewPCG(1, 2))
	refuse := func(to target, text string) {
		if text == to.text {
			return
		}
		if p, err := to.j.Authenticate(t.Context(), text); err == nil || p.SystemID != "" {
			t.Fatalf("let in %q, made from %q", text, to.text)
		}
	}
	for _, to := range targets[:2] {
		for i := range to.text {
			for bit := range 8 {
				changed := []byte(to.text)
				changed[i] ^= 1 << bit
				refuse(to, string(changed))
			}
		}
	}
	for n := countFrom(t, "CHANSEC_MUTATIONS", fewer(20_000)); n > 0; n-- {
		to := targets[random.IntN(2)]
		if n%50 == 0 {
			to = targets[random.IntN(len(targets))] // the others cost more
		}
		text := to.text
		for range 1 + random.IntN(3) {
			text = mutated(random, text, targets[random.IntN(len(targets))].text)
		}
		refuse(to, text)
	}
}

// mutated makes one change to a token, in its text or in what a part says.
func mutated(random *rand.Rand, text, other string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\r\x00\xff"
	if text == "" {
		return other
	}
	at := random.IntN(len(text))
	to := min(len(text), at+1+random.IntN(8))
	character := string(alphabet[random.IntN(len(alphabet))])
	parts, others := strings.Split(text, "."), strings.Split(other, ".")
	part := random.IntN(len(parts))
	switch random.IntN(8) {
	case 0:
		return text[:at] + character + text[at:]
	case 1:
		return text[:at] + text[to:]
	case 2:
		return text[:at] + character + text[at+1:]
	case 3:
		return text[:to] + text[at:]
	case 4:
		return text[:at]
	case 5:
		parts[part] = others[random.IntN(len(others))]
	case 6:
		swap := random.IntN(len(parts))
		parts[part], parts[swap] = parts[swap], parts[part]
	default:
		if said, err := base64.RawURLEncoding.DecodeString(parts[part]); err == nil && len(said) > 0 {
			switch at := random.IntN(len(said)); random.IntN(3) {
			case 0:
				said[at] ^= 1 << random.IntN(8)
			case 1:
				said = append(said[:at], said[at+1:]...)
			default:
				said = bytes.Replace(said, []byte("read"), []byte("admin"), 1)
			}
			parts[part] = b64(string(said))
		}
	}
	return strings.Join(parts, ".")
}
