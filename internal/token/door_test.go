package token

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/strictjson"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "k1")
	keys := newTestKeys(t, key)
	door := newTestDoor(t, testProfile())
	text := signRaw(t, key, `{"alg":"HS256","kid":"k1","typ":"JWT"}`,
		`{"iss":"us","sub":"alice","exp":1800000060.25,"nbf":1800000000,"iat":1.8e9,"jti":"t\u0031","role":"read","x":[1,{}],"channels":["a","b"]}`)
	token, err := door.Verify(keys, text)
	require.NoError(t, err)
	require.Same(t, key, token.Key)
	require.Equal(t, "alice", token.Subject)
	require.Equal(t, "us", token.Issuer)
	require.Equal(t, "t1", token.ID)
	require.Equal(t, int64(1800000060_250_000_000), token.ExpiresAt.UnixNano())
	require.Equal(t, int64(1800000000), token.NotBefore.Unix())
	require.Equal(t, int64(1800000000), token.IssuedAt.Unix())

	role, ok := token.Claim("role")
	require.True(t, ok)
	name, ok := role.Text()
	require.True(t, ok)
	require.Equal(t, "read", name)
	channels, ok := token.Claim("channels")
	require.True(t, ok)
	list, ok := channels.Strings(10)
	require.True(t, ok)
	require.Equal(t, []string{"a", "b"}, list)
	x, ok := token.Claim("x")
	require.True(t, ok)
	require.Equal(t, `[1,{}]`, x.Raw())
	for _, absent := range []string{"Role", "ROLE", "aud", "", "k"} {
		value, ok := token.Claim(absent)
		require.False(t, ok)
		require.Equal(t, strictjson.KindNone, value.Kind())
	}
	// The result does not change when the door reads other tokens.
	for range 100 {
		_, err = door.Verify(keys, signRaw(t, key, `{"alg":"HS256","kid":"k1"}`, goodClaims))
		require.NoError(t, err)
	}
	require.Equal(t, "alice", token.Subject)
	require.Equal(t, `[1,{}]`, x.Raw())
}

// TestHeader has well signed tokens with good claims and many headers.
func TestHeader(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "k1")
	keys := newTestKeys(t, key)
	deep := strings.Repeat("[", 100_000)
	var many strings.Builder
	for range 40 {
		many.WriteString(`,"x`)
		many.WriteString(strings.Repeat("y", many.Len()%37))
		many.WriteString(strings.Repeat("z", many.Len()%11))
		many.WriteString(`":0`)
	}
	const alg = `{"alg":"HS256"`
	tests := []struct {
		header string
		want   error
	}{
		{alg + `}`, nil},
		{" \t\r\n" + alg + " , \"x\" : 1 } \n", nil},
		{alg + `,"kid":"k1"}`, nil},
		{alg + `,"typ":"JWT"}`, nil},
		{alg + `,"typ":"jwt"}`, nil},
		{alg + `,"typ":"\u004aWT"}`, nil},
		{alg + `,"jwk":{"kty":"oct","k":"AAAA"},"jku":"https://evil","x5u":"https://evil","x5c":["AAAA"],"x5t":"A","x5t#S256":"A"}`, nil},
		{alg + `,"jwk":1,"x5c":null}`, nil},
		{alg + `,"foo":"bar","":0,"algo":1,"typ2":{"a":[1]}}`, nil},

		{alg + `,"typ":"application/jwt"}`, WrongType},
		{alg + `,"typ":"JOSE"}`, WrongType},
		{alg + `,"typ":"at+jwt"}`, WrongType},
		{alg + `,"typ":""}`, WrongType},
		{alg + `,"typ":"JWT "}`, WrongType},
		{alg + `,"typ":"JW\u0166"}`, WrongType},
		{alg + `,"typ":null}`, BadHeader},
		{alg + `,"typ":1}`, BadHeader},
		{alg + `,"typ":["JWT"]}`, BadHeader},

		{`{}`, WrongAlg},
		{`{"typ":"JWT"}`, WrongAlg},
		{`{"alg":""}`, WrongAlg},
		{`{"kid":"k2"}`, WrongAlg},
		{`{"alg":"none"}`, WrongAlg},
		{`{"alg":"None"}`, WrongAlg},
		{`{"alg":"nOnE"}`, WrongAlg},
		{`{"alg":"NONE"}`, WrongAlg},
		{`{"alg":"hs256"}`, WrongAlg},
		{`{"alg":"HS256 "}`, WrongAlg},
		{`{"alg":"HS384"}`, WrongAlg},
		{`{"alg":"RS256"}`, WrongAlg},
		{`{"alg":null}`, BadHeader},
		{`{"alg":true}`, BadHeader},
		{`{"alg":256}`, BadHeader},
		{`{"alg":["HS256"]}`, BadHeader},
		{`{"alg":{"alg":"HS256"}}`, BadHeader},

		{alg + `,"kid":null}`, BadHeader},
		{alg + `,"kid":1}`, BadHeader},
		{alg + `,"kid":["k1"]}`, BadHeader},
		{alg + `,"kid":""}`, UnknownKey},
		{alg + `,"kid":"k2"}`, UnknownKey},
		{alg + `,"kid":"../../k1"}`, UnknownKey},
		{alg + `,"kid":"k1' OR 1=1"}`, UnknownKey},

		{alg + `,"crit":["exp"]}`, BadHeader},
		{alg + `,"crit":["b64"],"b64":true}`, BadHeader},
		{alg + `,"crit":[]}`, BadHeader},
		{alg + `,"crit":null}`, BadHeader},
		{alg + `,"b64":false}`, BadHeader},
		{alg + `,"b64":true}`, BadHeader},
		{alg + `,"cty":"JWT"}`, BadHeader},
		{alg + `,"cty":"json"}`, BadHeader},
		{alg + `,"zip":"DEF"}`, BadHeader},
		{alg + `,"enc":"A128GCM"}`, BadHeader},
		{alg + `,"enc":null}`, BadHeader},

		{alg + `,"alg":"HS256"}`, BadHeader},
		{alg + `,"\u0061lg":"HS256"}`, BadHeader},
		{alg + `,"x":1,"x":1}`, BadHeader},
		{alg + `,"x":{"y":1,"y":1}}`, BadHeader},
		{alg + `,"ALG":"none"}`, BadHeader},
		{alg + `,"Alg":"HS256"}`, BadHeader},
		{`{"ALG":"HS256"}`, BadHeader},
		{alg + `,"KID":"k1"}`, BadHeader},
		{alg + `,"\u212aid":"k1"}`, BadHeader},
		{alg + `,"Typ":"JWT"}`, BadHeader},
		{alg + `,"CRIT":["exp"]}`, BadHeader},
		{alg + `,"B64":false}`, BadHeader},
		{alg + `,"Cty":"JWT"}`, BadHeader},
		{alg + `,"Zip":"DEF"}`, BadHeader},
		{alg + `,"ENC":"x"}`, BadHeader},
		{alg + `,"JWK":{}}`, BadHeader},
		{alg + `,"jKu":""}`, BadHeader},
		{alg + `,"X5U":""}`, BadHeader},
		{alg + `,"X5c":""}`, BadHeader},
		{alg + `,"X5T":""}`, BadHeader},
		{alg + `,"x5t#s256":""}`, BadHeader},
		{alg + `,"x5t#\u017f256":""}`, BadHeader},

		{`null`, BadHeader},
		{`[]`, BadHeader},
		{`"HS256"`, BadHeader},
		{`[` + alg + `}]`, BadHeader},
		{alg, BadHeader},
		{alg + `}}`, BadHeader},
		{alg + `}{}`, BadHeader},
		{alg + `} x`, BadHeader},
		{alg + "}\x00", BadHeader},
		{alg + `,}`, BadHeader},
		{"\ufeff" + alg + `}`, BadHeader},
		{alg + `,"x":"\ud800"}`, BadHeader},
		{alg + `,"x":1e999}`, BadHeader},
		{alg + `,"x":NaN}`, BadHeader},
		{alg + ",\"x\":\"\xff\"}", BadHeader},
		{alg + `,"x":[[[0]]]}`, nil},
		{alg + `,"x":[[[[0]]]]}`, BadHeader},
		{alg + many.String() + `}`, BadHeader},
		{alg + `,"x":` + deep + `}`, BadHeader},
	}
	profile := testProfile()
	profile.MaxBytes = 1 << 20
	door := newTestDoor(t, profile)
	for _, tt := range tests {
		token, err := door.Verify(keys, signRaw(t, key, tt.header, goodClaims))
		if tt.want == nil {
			require.NoError(t, err, "%.80q", tt.header)
			continue
		}
		require.Equal(t, tt.want, err, "%.80q", tt.header)
		require.ErrorIs(t, err, ErrInvalid)
		require.Nil(t, token)
	}
}

func TestConfiguredType(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	profile := testProfile()
	profile.Type = "at+jwt"
	door := newTestDoor(t, profile)
	for typ, want := range map[string]error{
		`,"typ":"at+jwt"`:             nil,
		`,"typ":"\u0061t+jwt"`:        nil,
		``:                            WrongType,
		`,"typ":"JWT"`:                WrongType,
		`,"typ":"AT+JWT"`:             WrongType,
		`,"typ":"application/at+jwt"`: WrongType,
		`,"typ":""`:                   WrongType,
		`,"typ":null`:                 BadHeader,
	} {
		_, err := door.Verify(newTestKeys(t, key), signRaw(t, key, `{"alg":"HS256"`+typ+`}`, goodClaims))
		require.Equal(t, want, err, typ)
	}
}

// TestClaims has well signed tokens with good headers and many claims sets.
func TestClaims(t *testing.T) {
	t.Parallel()
	// base lacks only what a row adds.
	const sub, exp = `"sub":"a"`, `"exp":1800000060`
	claims := func(members ...string) string { return "{" + strings.Join(members, ",") + "}" }
	var many strings.Builder
	for i := range 1024 {
		many.WriteString(`,"x`)
		many.WriteString(strings.Repeat("y", i%16))
		many.WriteByte('a' + byte(i/16%8))
		many.WriteByte('a' + byte(i/128))
		many.WriteString(`":0`)
	}
	tests := []struct {
		claims string
		want   error
	}{
		{claims(sub, exp), nil},
		{claims(sub, exp, `"email":"x","scope":"a b","":null`), nil},

		// exp
		{claims(sub), BadClaims},
		{claims(sub, `"exp":null`), BadClaims},
		{claims(sub, `"exp":"1800000060"`), BadClaims},
		{claims(sub, `"exp":true`), BadClaims},
		{claims(sub, `"exp":[1800000060]`), BadClaims},
		{claims(sub, `"exp":{}`), BadClaims},
		{claims(sub, `"exp":0`), BadClaims},
		{claims(sub, `"exp":-0`), BadClaims},
		{claims(sub, `"exp":0.0`), BadClaims},
		{claims(sub, `"exp":-1`), BadClaims},
		{claims(sub, `"exp":-1.5`), BadClaims},
		{claims(sub, `"exp":1e30`), BadClaims},
		{claims(sub, `"exp":1e999`), BadClaims},
		{claims(sub, `"exp":NaN`), BadClaims},
		{claims(sub, `"exp":Infinity`), BadClaims},
		{claims(sub, `"exp":9223372036854775807`), BadClaims},
		{claims(sub, `"exp":9223372036854775808`), BadClaims},
		{claims(sub, `"exp":18446744073709551616`), BadClaims},
		{claims(sub, `"exp":253402300800`), BadClaims},
		{claims(sub, `"exp":253402300800.0`), BadClaims},
		{claims(sub, `"exp":253402300799`), nil},
		{claims(sub, `"exp":253402300799.5`), nil},
		{claims(sub, `"exp":1.8000001e9`), nil},
		{claims(sub, `"exp":1800000001`), nil},
		{claims(sub, `"exp":1800000000.75`), nil},
		{claims(sub, `"exp":1800000000.5`), Expired},
		{claims(sub, `"exp":1800000000.25`), Expired},
		{claims(sub, `"exp":1800000000`), Expired},
		{claims(sub, `"exp":1`), Expired},
		{claims(sub, `"exp":1e-300`), Expired},

		// nbf and iat
		{claims(sub, exp, `"nbf":1800000000`), nil},
		{claims(sub, exp, `"nbf":1800000000.5`), nil},
		{claims(sub, exp, `"nbf":1800000000.75`), NotYetValid},
		{claims(sub, exp, `"nbf":1800000001`), NotYetValid},
		{claims(sub, exp, `"nbf":9223372036854775808`), BadClaims},
		{claims(sub, exp, `"nbf":18446744073709551617`), BadClaims},
		{claims(sub, exp, `"nbf":1e19`), BadClaims},
		{claims(sub, exp, `"nbf":0`), BadClaims},
		{claims(sub, exp, `"nbf":-1`), BadClaims},
		{claims(sub, exp, `"nbf":null`), BadClaims},
		{claims(sub, exp, `"nbf":"1"`), BadClaims},
		{claims(sub, exp, `"iat":1800000000`), nil},
		{claims(sub, exp, `"iat":1800000000.75`), NotYetValid},
		{claims(sub, exp, `"iat":1800000001`), NotYetValid},
		{claims(sub, exp, `"iat":0`), BadClaims},
		{claims(sub, exp, `"iat":null`), BadClaims},
		{claims(sub, exp, `"iat":"now"`), BadClaims},
		{claims(sub, exp, `"iat":1e400`), BadClaims},

		// sub
		{claims(exp), BadClaims},
		{claims(exp, `"sub":""`), BadClaims},
		{claims(exp, `"sub":null`), BadClaims},
		{claims(exp, `"sub":1`), BadClaims},
		{claims(exp, `"sub":["a"]`), BadClaims},
		{claims(exp, `"sub":"a\u0000"`), BadClaims},
		{claims(exp, `"sub":"a\n"`), BadClaims},
		{claims(exp, `"sub":"\u007f"`), BadClaims},
		{claims(exp, `"sub":"\u0085"`), BadClaims},
		{claims(exp, `"sub":"\ufffd"`), BadClaims},
		{claims(exp, "\"sub\":\"a\uFFFD\""), BadClaims},
		{claims(exp, "\"sub\":\"a\xff\""), BadClaims},
		{claims(exp, `"sub":"\ud800"`), BadClaims},
		{claims(exp, `"sub":"`+strings.Repeat("s", 512)+`"`), nil},
		{claims(exp, `"sub":"`+strings.Repeat("s", 513)+`"`), BadClaims},
		{claims(exp, `"sub":"`+strings.Repeat("é", 257)+`"`), BadClaims},
		{claims(exp, `"sub":" "`), nil},
		{claims(exp, `"sub":"\u202e\ud83d\ude00"`), nil},

		// iss and jti
		{claims(sub, exp, `"iss":"anybody"`), nil},
		{claims(sub, exp, `"iss":""`), BadClaims},
		{claims(sub, exp, `"iss":null`), BadClaims},
		{claims(sub, exp, `"iss":["us"]`), BadClaims},
		{claims(sub, exp, `"iss":"a\t"`), BadClaims},
		{claims(sub, exp, `"iss":"`+strings.Repeat("i", 512)+`"`), nil},
		{claims(sub, exp, `"iss":"`+strings.Repeat("i", 513)+`"`), BadClaims},
		{claims(sub, exp, `"jti":"1"`), nil},
		{claims(sub, exp, `"jti":""`), BadClaims},
		{claims(sub, exp, `"jti":1`), BadClaims},
		{claims(sub, exp, `"jti":null`), BadClaims},
		{claims(sub, exp, `"jti":"a\u001f"`), BadClaims},
		{claims(sub, exp, `"jti":"`+strings.Repeat("j", 255)+`"`), nil},
		{claims(sub, exp, `"jti":"`+strings.Repeat("j", 256)+`"`), BadClaims},

		// aud, which this door does not expect
		{claims(sub, exp, `"aud":"us"`), WrongAudience},
		{claims(sub, exp, `"aud":[]`), WrongAudience},
		{claims(sub, exp, `"aud":null`), WrongAudience},
		{claims(sub, exp, `"aud":""`), WrongAudience},

		// names that are known ones in other letters
		{claims(sub, exp, `"EXP":1`), BadClaims},
		{claims(sub, `"Exp":1800000060`), BadClaims},
		{claims(sub, exp, `"\u0045xp":1`), BadClaims},
		{claims(sub, exp, `"Sub":"root"`), BadClaims},
		{claims(sub, exp, `"\u017fub":"root"`), BadClaims},
		{claims(sub, exp, `"ſub":"root"`), BadClaims},
		{claims(sub, exp, `"i\u017fs":"x"`), BadClaims},
		{claims(sub, exp, `"Aud":"x"`), BadClaims},
		{claims(sub, exp, `"NBF":1`), BadClaims},
		{claims(sub, exp, `"IAT":1`), BadClaims},
		{claims(sub, exp, `"JTI":"x"`), BadClaims},
		{claims(sub, exp, `"ROLE":"admin"`), BadClaims},
		{claims(sub, exp, `"role":"read","Role":"admin"`), BadClaims},
		{claims(sub, exp, `"CHANNELS":null`), BadClaims},
		{claims(sub, exp, `"channel\u017f":null`), BadClaims},
		{claims(sub, exp, `"roles":["admin"],"channel":"x"`), nil},

		// form
		{claims(sub, exp, exp), BadClaims},
		{claims(sub, exp, `"sub":"b"`), BadClaims},
		{claims(sub, exp, `"s\u0075b":"b"`), BadClaims},
		{claims(sub, exp, `"x":1,"x":2`), BadClaims},
		{claims(sub, exp, `"x":{"y":1,"y":2}`), BadClaims},
		{claims(sub, exp, `"x":1e999`), BadClaims},
		{claims(sub, exp, `"x":100000000000000000000`), BadClaims},
		{claims(sub, exp, `"x":"\udead"`), BadClaims},
		{claims(sub, exp) + "x", BadClaims},
		{claims(sub, exp) + claims(sub, exp), BadClaims},
		{claims(sub, exp) + "\x00", BadClaims},
		{"\ufeff" + claims(sub, exp), BadClaims},
		{"[" + claims(sub, exp) + "]", BadClaims},
		{`{`, BadClaims},
		{`{}`, BadClaims},
		{`null`, BadClaims},
		{`"sub"`, BadClaims},
		{` `, BadClaims},
		{claims(sub, exp, `"x":`+strings.Repeat("[", 15)+strings.Repeat("]", 15)), nil},
		{claims(sub, exp, `"x":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)), BadClaims},
		{claims(sub, exp, `"x":`+strings.Repeat("[", 500_000)), BadClaims},
		{`{"sub":"a","exp":1800000060` + many.String()[:8*1022] + `}`, BadClaims},
		{`{"sub":"a","exp":1800000060` + many.String() + `}`, BadClaims},
	}
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	profile := testProfile()
	profile.MaxBytes = 1 << 20
	door := newTestDoor(t, profile)
	for _, tt := range tests {
		token, err := door.Verify(keys, signRaw(t, key, goodHeader, tt.claims))
		if tt.want == nil {
			require.NoError(t, err, "%.80q", tt.claims)
			continue
		}
		require.Equal(t, tt.want, err, "%.80q", tt.claims)
		require.ErrorIs(t, err, ErrInvalid)
		require.Nil(t, token)
	}
}

// TestForm has tokens that are good but for their form.
func TestForm(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	door := newTestDoor(t, testProfile())
	good := signRaw(t, key, goodHeader, goodClaims)
	parts := strings.Split(good, ".")
	header, payload, signature := parts[0], parts[1], parts[2]
	// The signature has 32 bytes, so its last character has two unused bits.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, signature[len(signature)-1])
	require.Zero(t, last&3)
	respelt := signature[:len(signature)-1] + alphabet[last|1:last|1+1]

	_, err := door.Verify(keys, good)
	require.NoError(t, err)
	for name, text := range map[string]string{
		"empty":                   "",
		"one dot":                 ".",
		"two dots":                "..",
		"three dots":              "...",
		"no dot":                  header + payload + signature,
		"two parts":               header + "." + payload,
		"no signature":            header + "." + payload + ".",
		"no payload":              header + ".." + signature,
		"no header":               "." + payload + "." + signature,
		"four parts":              good + ".",
		"four parts, one more":    good + "." + signature,
		"four parts, first empty": "." + good,
		"five parts":              good + "." + payload + "." + signature,
		"padding":                 good + "=",
		"padding in the header":   header + "=." + payload + "." + signature,
		"padding in the payload":  header + "." + payload + "==." + signature,
		"unused bits":             header + "." + payload + "." + respelt,
		"LF at the end":           good + "\n",
		"CR at the end":           good + "\r",
		"LF at the start":         "\n" + good,
		"CR at the start":         "\r" + good,
		"LF in the signature":     header + "." + payload + "." + signature[:5] + "\n" + signature[5:],
		"CRLF in the signature":   header + "." + payload + "." + signature[:5] + "\r\n" + signature[5:],
		"CR in the signature":     header + "." + payload + "." + signature[:5] + "\r" + signature[5:],
		"space at the end":        good + " ",
		"space at the start":      " " + good,
		"tab":                     "\t" + good,
		"NUL":                     good + "\x00",
		"Bearer":                  "Bearer " + good,
		"plus":                    header + "." + payload + "." + "+" + signature[1:],
		"slash":                   header + "." + payload + "." + "/" + signature[1:],
		"percent":                 header + "%2E" + payload + "." + signature,
		"BOM":                     "\ufeff" + good,
		"full width dot":          header + "\uff0e" + payload + "\uff0e" + signature,
		"not UTF-8":               good + "\xff",
		"JSON serialization":      `{"protected":"` + header + `","payload":"` + payload + `","signature":"` + signature + `"}`,
		"impossible length":       header + "." + payload + ".A",
	} {
		token, err := door.Verify(keys, text)
		require.Equal(t, Malformed, err, name)
		require.Nil(t, token)
	}
	for name, text := range map[string]string{
		"signature of nothing":      header + "." + payload + "." + encode("x"),
		"short signature":           header + "." + payload + "." + signature[:40],
		"one byte too many":         header + "." + payload + "." + encode(strings.Repeat("x", 33)),
		"one character too many":    good + "A",
		"signature doubled":         header + "." + payload + "." + encode(strings.Repeat("x", 64)),
		"parts swapped":             payload + "." + header + "." + signature,
		"signature of other header": encode(`{"alg":"HS256"}`) + "." + payload + "." + signature,
	} {
		_, err := door.Verify(keys, text)
		require.ErrorIs(t, err, ErrInvalid, name)
		require.NotEqual(t, Malformed, err, name)
	}
	// A respelt payload or header whose new spelling was signed.
	for _, p := range []string{"e30", "e31"} {
		mac := newMACPool(hashOf("HS256"), testSecret)
		signed := header + "." + p
		_, err := door.Verify(keys, signed+"."+encode(string(mac.sum(nil, []byte(signed)))))
		require.Equal(t, map[string]error{"e30": BadClaims, "e31": Malformed}[p], err)
	}
}

func TestUnsecuredAndConfused(t *testing.T) {
	t.Parallel()
	door := newTestDoor(t, testProfile())
	rsaKey := signingKey(t, "", "RS256")
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		for _, signature := range []string{"", "AA", encode("x")} {
			_, err := door.Verify(newTestKeys(t, rsaKey), encode(`{"alg":"`+alg+`"}`)+"."+encode(goodClaims)+"."+signature)
			require.ErrorIs(t, err, ErrInvalid)
		}
	}
	// A token whose HMAC was made with the public key, and one signed with a
	// right key under another algorithm.
	modulus := rsaPrivate().N.Bytes()
	confused, err := NewHMACKey("", "HS256", modulus)
	require.NoError(t, err)
	_, err = door.Verify(newTestKeys(t, rsaKey), signRaw(t, confused, `{"alg":"HS256"}`, goodClaims))
	require.Equal(t, WrongAlg, err)
	_, err = door.Verify(newTestKeys(t, rsaKey), signRaw(t, confused, `{"alg":"RS256"}`, goodClaims))
	require.Equal(t, BadSignature, err)
	for _, alg := range []string{"RS384", "PS256"} {
		_, err = door.Verify(newTestKeys(t, rsaKey), signRaw(t, signingKey(t, "", alg), `{"alg":"RS256"}`, goodClaims))
		require.Equal(t, BadSignature, err)
	}
}

func TestLengthCap(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	text := signRaw(t, key, goodHeader, goodClaims)
	for size, want := range map[int]error{len(text): nil, len(text) + 1: nil, len(text) - 1: TooLong, 1: TooLong} {
		profile := testProfile()
		profile.MaxBytes = size
		_, err := newTestDoor(t, profile).Verify(keys, text)
		require.Equal(t, want, err)
	}
	door := newTestDoor(t, testProfile())
	_, err := door.Verify(keys, strings.Repeat("A", DefaultMaxBytes))
	require.Equal(t, Malformed, err)
	_, err = door.Verify(keys, strings.Repeat("A", DefaultMaxBytes+1))
	require.Equal(t, TooLong, err)
}

func TestTimesWithLeeway(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	profile := testProfile() // the clock says 1800000000.5
	profile.Leeway = 10 * time.Second
	profile.MaxLifetime = time.Hour
	door := newTestDoor(t, profile)
	for claims, want := range map[string]error{
		`"exp":1799999990.75`:                    nil,
		`"exp":1799999990.5`:                     Expired,
		`"exp":1799999990`:                       Expired,
		`"exp":1800003610.5`:                     nil,
		`"exp":1800003610.75`:                    TooLongLived,
		`"exp":253402300799`:                     TooLongLived,
		`"exp":1800000060,"nbf":1800000010.5`:    nil,
		`"exp":1800000060,"nbf":1800000010.75`:   NotYetValid,
		`"exp":1800000060,"iat":1800000010.5`:    nil,
		`"exp":1800000060,"iat":1800000010.75`:   NotYetValid,
		`"exp":1799999990,"nbf":1800000010.75`:   Expired,
		`"exp":1800000060,"nbf":1,"iat":1`:       nil,
		`"exp":1800000060,"nbf":253402300799.99`: NotYetValid,
	} {
		_, err := door.Verify(keys, signRaw(t, key, goodHeader, `{"sub":"a",`+claims+`}`))
		require.Equal(t, want, err, claims)
	}

	// The longest lifetime that can be asked for does not overflow.
	profile.MaxLifetime = 1<<63 - 1
	door = newTestDoor(t, profile)
	_, err := door.Verify(keys, signRaw(t, key, goodHeader, goodClaims))
	require.NoError(t, err)
}

func TestRecheck(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	now := testNow
	profile := testProfile()
	profile.Now = func() time.Time { return now }
	door := newTestDoor(t, profile)
	token, err := door.Verify(newTestKeys(t, key), signRaw(t, key, goodHeader, goodClaims))
	require.NoError(t, err)
	require.NoError(t, door.Recheck(token))
	now = time.Unix(1800000060, -1)
	require.NoError(t, door.Recheck(token))
	now = time.Unix(1800000060, 0)
	require.Equal(t, Expired, door.Recheck(token))
	now = time.Unix(1799999999, 0)
	require.Equal(t, NotYetValid, door.Recheck(token))

	now = testNow
	for _, none := range []*Token{nil, {}} {
		require.Equal(t, BadClaims, door.Recheck(none))
	}
	for _, none := range []*Door{nil, {}} {
		require.ErrorIs(t, none.Recheck(token), ErrInvalid)
	}
}

// TestSurelyInTime: the short cut lets nothing in that the comparison of the times themselves would not, and it is taken
// for nearly all that this lets in.
func TestSurelyInTime(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	some := func(of ...time.Duration) time.Duration { return of[random.IntN(len(of))] }
	near := func() time.Time {
		return testNow.Add(some(0, 0, time.Second, -time.Second, time.Minute, -time.Minute, time.Hour) + some(0, 0, 1, -1, time.Second/2, time.Second/3))
	}
	sure, good := 0, 0
	for range 200_000 {
		profile := testProfile()
		profile.Leeway = some(0, 0, 1, time.Second/2, time.Second, 1500*time.Millisecond, time.Minute)
		profile.MaxLifetime = some(0, 0, 1, time.Second, 1500*time.Millisecond, time.Minute, time.Hour)
		door := &Door{profile: profile}
		token := &Token{}
		for _, at := range []*time.Time{&token.ExpiresAt, &token.NotBefore, &token.IssuedAt} {
			if random.IntN(4) > 0 {
				*at = near()
			}
		}
		now := near()
		reason := door.compareTimes(token, now)
		if door.surelyInTime(token, now.Unix()) {
			sure++
			require.Zero(t, reason, "%+v at %v with %+v", token, now, profile)
		}
		if reason == 0 {
			good++
		}
	}
	require.Greater(t, sure, good/5, "these are all near the limits")
}

// TestKnownHeaders: a door remembers headers of good tokens only, and gives the same answers as one that remembers none.
func TestKnownHeaders(t *testing.T) {
	t.Parallel()
	first, second, nameless := hmacKey(t, "k1"), hmacKey(t, "k2"), hmacKey(t, "")
	stranger, err := NewHMACKey("k1", "HS256", []byte(strings.Repeat("x", 32)))
	require.NoError(t, err)
	sets := []*KeySet{newTestKeys(t, first), newTestKeys(t, second), newTestKeys(t, first, second, nameless), newTestKeys(t, stranger), newTestKeys(t, nameless), nil}
	known := func(d *Door) (n int) {
		for i := range d.headers {
			if h := d.headers[i].Load(); h != nil {
				require.LessOrEqual(t, len(h.text), maxKnownHeader)
				n++
			}
		}
		return n
	}
	var texts []string
	long := `{"alg":"HS256","kid":"k1","jwk":"` + strings.Repeat("x", maxKnownHeader) + `"}`
	for _, header := range []string{
		`{"alg":"HS256","kid":"k1"}`, `{"alg":"HS256","kid":"k2"}`, `{"alg":"HS256","kid":"k1","typ":"JWT"}`, `{"alg":"HS256"}`, `{"alg":"HS256","typ":"at+jwt"}`,
		`{"alg":"HS384","kid":"k1"}`, `{"alg":"none"}`, `{"alg":"HS256","kid":"k1","crit":[]}`, `{"alg":"HS256","kid":"k1" }`, `{"alg":"HS256","kid":"\u006b1"}`, long,
	} {
		good := signRaw(t, first, header, goodClaims)
		texts = append(texts, good, good[:len(good)-3]+"AAA", signRaw(t, stranger, header, goodClaims), good+"=", signRaw(t, first, header, `{}`))
	}
	for _, typ := range []string{"", "at+jwt"} {
		profile := testProfile()
		profile.Type = typ
		door := newTestDoor(t, profile)
		random := rand.New(rand.NewPCG(5, 6))
		for range 3000 {
			text, keys := texts[random.IntN(len(texts))], sets[random.IntN(len(sets))]
			_, want := newTestDoor(t, profile).Verify(keys, text)
			_, got := door.Verify(keys, text)
			require.Equal(t, want, got, "%q", text)
		}
		require.NotZero(t, known(door))
		for _, text := range texts {
			fresh := newTestDoor(t, profile)
			if _, err := fresh.Verify(sets[3], text); err != nil && !errors.Is(err, BadClaims) {
				require.Zero(t, known(fresh), "%q: %v", text, err)
			}
		}
	}
	door := newTestDoor(t, testProfile())
	_, err = door.Verify(sets[0], signRaw(t, first, long, goodClaims))
	require.NoError(t, err)
	require.Zero(t, known(door), "a long header is not worth it")
}

func TestDefaultClock(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	door := newTestDoor(t, Profile{})
	for offset, want := range map[time.Duration]error{time.Hour: nil, -time.Hour: Expired} {
		text, err := Sign(key, "", []Claim{StringClaim("sub", "a"), IntClaim("exp", time.Now().Add(offset).Unix())})
		require.NoError(t, err)
		_, err = door.Verify(newTestKeys(t, key), text)
		require.Equal(t, want, err)
	}
}

func TestZeroDoorRefuses(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	text := signRaw(t, key, goodHeader, goodClaims)
	for _, door := range []*Door{nil, {}} {
		for _, text := range []string{text, ""} {
			token, err := door.Verify(newTestKeys(t, key), text)
			require.ErrorIs(t, err, ErrInvalid)
			require.Nil(t, token)
		}
	}
}

func TestIssuerAndAudience(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	list := func(n int, last string) string {
		return `["` + strings.Repeat(`x","`, n-1) + last + `"]`
	}
	tests := []struct {
		issuer, audience string
		claims           string
		want             error
	}{
		{"", "", ``, nil},
		{"", "", `,"iss":"you"`, nil},
		{"", "", `,"aud":"us"`, WrongAudience},
		{"us", "", `,"iss":"us"`, nil},
		{"us", "", `,"iss":"u\u0073"`, nil},
		{"us", "", ``, WrongIssuer},
		{"us", "", `,"iss":"you"`, WrongIssuer},
		{"us", "", `,"iss":"US"`, WrongIssuer},
		{"us", "", `,"iss":"us "`, WrongIssuer},
		{"", "us", `,"aud":"us"`, nil},
		{"", "us", `,"aud":["us"]`, nil},
		{"", "us", `,"aud":["you","us"]`, nil},
		{"", "us", `,"aud":` + list(64, "us"), nil},
		{"", "us", `,"aud":` + list(65, "us"), WrongAudience},
		{"", "us", ``, WrongAudience},
		{"", "us", `,"aud":"you"`, WrongAudience},
		{"", "us", `,"aud":"US"`, WrongAudience},
		{"", "us", `,"aud":""`, WrongAudience},
		{"", "us", `,"aud":[]`, WrongAudience},
		{"", "us", `,"aud":["you"]`, WrongAudience},
		{"", "us", `,"aud":["us",1]`, WrongAudience},
		{"", "us", `,"aud":[["us"]]`, WrongAudience},
		{"", "us", `,"aud":null`, WrongAudience},
		{"", "us", `,"aud":1`, WrongAudience},
		{"", "us", `,"aud":{"us":"us"}`, WrongAudience},
		{"us", "us", `,"aud":"us","iss":"us"`, nil},
		{"us", "us", `,"aud":"us"`, WrongIssuer},
	}
	for _, tt := range tests {
		profile := testProfile()
		profile.Issuer, profile.Audience = tt.issuer, tt.audience
		token, err := newTestDoor(t, profile).Verify(keys, signRaw(t, key, goodHeader, `{"sub":"a","exp":1800000060`+tt.claims+`}`))
		require.Equal(t, tt.want, err, tt.claims)
		require.Equal(t, tt.want == nil, token != nil)
	}
}

func TestAllowances(t *testing.T) {
	t.Parallel()
	key := hmacKey(t, "")
	keys := newTestKeys(t, key)
	verify := func(profile Profile, claims string) (*Token, error) {
		return newTestDoor(t, profile).Verify(keys, signRaw(t, key, goodHeader, claims))
	}
	noExpiry, noSubject := testProfile(), testProfile()
	noExpiry.AllowNoExpiry = true
	noSubject.AllowNoSubject = true

	token, err := verify(noExpiry, `{"sub":"a"}`)
	require.NoError(t, err)
	require.True(t, token.ExpiresAt.IsZero())
	require.True(t, token.IssuedAt.IsZero())
	require.True(t, token.NotBefore.IsZero())
	_, err = verify(noExpiry, `{"sub":"a","exp":1}`)
	require.Equal(t, Expired, err)
	_, err = verify(noExpiry, `{"sub":"a","exp":null}`)
	require.Equal(t, BadClaims, err)
	_, err = verify(noExpiry, `{}`)
	require.Equal(t, BadClaims, err)

	token, err = verify(noSubject, `{"exp":1800000060}`)
	require.NoError(t, err)
	require.Empty(t, token.Subject)
	_, err = verify(noSubject, `{"exp":1800000060,"sub":""}`)
	require.Equal(t, BadClaims, err)
	_, err = verify(noSubject, `{"sub":"a"}`)
	require.Equal(t, BadClaims, err)

	// Whoever asks for nothing still gets no damaged claims.
	nothing := testProfile()
	nothing.AllowNoExpiry, nothing.AllowNoSubject = true, true
	_, err = verify(nothing, `{}`)
	require.NoError(t, err)
	for _, claims := range []string{`{`, `[]`, `null`, `{"x":1,"x":1}`, `{}{}`, `{"x":"\ud800"}`} {
		_, err = verify(nothing, claims)
		require.Equal(t, BadClaims, err, claims)
	}
}

func TestProfileRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field   string
		profile Profile
	}{
		{"MaxBytes", Profile{MaxBytes: -1}},
		{"MaxBytes", Profile{MaxBytes: 1<<20 + 1}},
		{"Type", Profile{Type: "a\n"}},
		{"Type", Profile{Type: strings.Repeat("t", 513)}},
		{"Issuer", Profile{Issuer: "a\x00"}},
		{"Issuer", Profile{Issuer: "\xff"}},
		{"Audience", Profile{Audience: "\uFFFD"}},
		{"Leeway", Profile{Leeway: -1}},
		{"Leeway", Profile{Leeway: time.Minute + 1}},
		{"MaxLifetime", Profile{MaxLifetime: -1}},
		{"MaxLifetime", Profile{MaxLifetime: 1, AllowNoExpiry: true}},
		{"Claims", Profile{Claims: []string{""}}},
		{"Claims", Profile{Claims: []string{"a\n"}}},
		{"Claims", Profile{Claims: []string{"exp"}}},
		{"Claims", Profile{Claims: []string{"EXP"}}},
		{"Claims", Profile{Claims: []string{"role", "role"}}},
		{"Claims", Profile{Claims: []string{"role", "Role"}}},
	} {
		door, err := NewDoor(tt.profile)
		require.Equal(t, &ProfileError{tt.field}, err)
		require.Nil(t, door)
		require.Equal(t, "token: invalid profile: "+tt.field, err.Error())
	}
	for _, profile := range []Profile{{}, {MaxBytes: 1 << 20}, {Leeway: time.Minute}, {MaxLifetime: 1}, {Type: "at+jwt", Issuer: "https://us", Audience: "us"}} {
		newTestDoor(t, profile)
	}
	// The caller's list may change afterwards.
	claims := []string{"role"}
	door := newTestDoor(t, Profile{Claims: claims, Now: testProfile().Now})
	claims[0] = "x"
	key := hmacKey(t, "")
	_, err := door.Verify(newTestKeys(t, key), signRaw(t, key, goodHeader, `{"sub":"a","exp":1800000060,"ROLE":"admin"}`))
	require.Equal(t, BadClaims, err)
	_, err = door.Verify(newTestKeys(t, key), signRaw(t, key, goodHeader, `{"sub":"a","exp":1800000060,"X":"admin"}`))
	require.NoError(t, err)
}

func TestReasons(t *testing.T) {
	t.Parallel()
	texts := map[string]bool{}
	for r := TooLong; r < reasonCount; r++ {
		require.ErrorIs(t, r, ErrInvalid)
		require.ErrorIs(t, r, r)
		require.Equal(t, r == Expired, errors.Is(r, Expired))
		require.NotEqual(t, "unknown reason", r.String())
		require.Equal(t, "token: "+r.String(), r.Error())
		require.False(t, texts[r.String()])
		texts[r.String()] = true
	}
	require.Equal(t, "unknown reason", Reason(0).String())
	require.Equal(t, "unknown reason", reasonCount.String())
	require.NotErrorIs(t, Expired, ErrKey)
	require.Equal(t, "token: key refused: unknown algorithm", UnknownAlgorithm.Error())
	require.Equal(t, "token: key set refused: no keys", EmptyKeySet.Error())
	require.Equal(t, "token: not signed: the key cannot sign", CannotSign.Error())
	require.NotErrorIs(t, UnknownAlgorithm, ErrSign)
	require.NotErrorIs(t, EmptyKeySet, ErrKey)
	require.NotErrorIs(t, CannotSign, ErrKey)
}
