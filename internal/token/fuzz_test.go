package token

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzVerify presents texts to the whole door. The only one that is let in is
// the one that was signed.
func FuzzVerify(f *testing.F) {
	key, err := NewHMACKey("k1", "HS256", testSecret)
	require.NoError(f, err)
	keys, err := NewKeySet(key)
	require.NoError(f, err)
	good := signRaw(f, key, goodHeader, goodClaims)
	f.Add(good)
	f.Add(good + "\n")
	f.Add(strings.Replace(good, ".", "..", 1))
	f.Add(encode(`{"alg":"none"}`) + "." + encode(goodClaims) + ".AA")
	for _, name := range []string{"signature", "key", "crypto"} {
		var vectors struct {
			Groups []struct {
				Tests []struct {
					JWS json.RawMessage `json:"jws"`
				} `json:"tests"`
			} `json:"testGroups"`
		}
		data, err := os.ReadFile(filepath.Join("testdata", "wycheproof", "wycheproof_json_web_"+name+".json"))
		require.NoError(f, err)
		require.NoError(f, json.Unmarshal(data, &vectors))
		for _, group := range vectors.Groups {
			for _, test := range group.Tests[:1] {
				f.Add(strings.Trim(string(test.JWS), `"`))
			}
		}
	}
	door := newTestDoor(f, testProfile())
	f.Fuzz(func(t *testing.T, text string) {
		token, err := door.Verify(keys, text)
		if text == good {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, ErrInvalid)
		require.Nil(t, token)
	})
}

// FuzzHeader signs arbitrary headers and compares with a slow reading of the
// rules.
func FuzzHeader(f *testing.F) {
	key, err := NewHMACKey("k1", "HS256", testSecret)
	require.NoError(f, err)
	keys, err := NewKeySet(key)
	require.NoError(f, err)
	for _, seed := range []string{
		goodHeader, `{"alg":"HS256","kid":"k1"}`, `{"alg":"HS256","kid":"k2"}`, `{"alg":"none"}`,
		`{"alg":"HS256","crit":["b64"],"b64":false}`, `{"alg":"HS256","ALG":"x"}`, `{"\u0061lg":"HS256","jwk":{"kty":"oct"}}`,
		`{"alg":"HS256","cty":"JWT"}`, `{"alg":"HS256","zip":"DEF"}`, `{"alg":"HS256","\u212aid":"x"}`, `{"alg":"HS256","typ":"jWt"}`,
	} {
		f.Add(seed)
	}
	door := newTestDoor(f, testProfile())
	f.Fuzz(func(t *testing.T, header string) {
		_, err := door.Verify(keys, signRaw(t, key, header, goodClaims))
		require.Equal(t, referenceHeader(header), err == nil, "%q: %v", header, err)
	})
}

// FuzzClaims signs arbitrary claims sets and compares with a slow reading of
// the rules.
func FuzzClaims(f *testing.F) {
	key, err := NewHMACKey("", "HS256", testSecret)
	require.NoError(f, err)
	keys, err := NewKeySet(key)
	require.NoError(f, err)
	for _, seed := range []string{
		goodClaims,
		`{"sub":"a","exp":1800000060.5,"nbf":1.8e9,"iat":1,"iss":"us","jti":"x"}`,
		`{"sub":"a","exp":1800000060,"EXP":1}`, `{"sub":"a","exp":1800000060,"\u017fub":"b"}`,
		`{"sub":"a","exp":"1800000060"}`, `{"sub":"a","exp":1e30}`, `{"sub":"a","exp":1800000060,"aud":["us"]}`,
		`{"sub":"\ufffd","exp":1800000060}`, `{"sub":"a","exp":1800000060,"x":{"y":[1,"\ud834\udd1e",null]}}`,
		`{"sub":"a","exp":1800000060,"x":18446744073709551616}`, `{"sub":"a","sub":"b","exp":1800000060}`,
	} {
		f.Add(seed)
	}
	door := newTestDoor(f, testProfile())
	f.Fuzz(func(t *testing.T, claims string) {
		text := signRaw(t, key, goodHeader, claims)
		if len(text) > DefaultMaxBytes {
			return
		}
		token, err := door.Verify(keys, text)
		want, ok := referenceClaims(claims)
		require.Equal(t, ok, err == nil, "%q: %v", claims, err)
		if ok {
			require.Equal(t, want.subject, token.Subject)
			require.Equal(t, want.issuer, token.Issuer)
			require.Equal(t, want.id, token.ID)
			seconds := float64(token.ExpiresAt.Unix()) + float64(token.ExpiresAt.Nanosecond())/1e9
			require.InDelta(t, want.expires, seconds, 1e-4)
			require.Len(t, token.claims, want.count)
		}
	})
}

// referenceObject reads an object with encoding/json and the rules that it does
// not have.
func referenceObject(text string, depth, items int) (map[string]any, bool) {
	if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
		return nil, false
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	v, ok := referenceValue(decoder, depth, items)
	object, isObject := v.(map[string]any)
	return object, ok && isObject && !hasLoneSurrogate(text)
}

func referenceValue(decoder *json.Decoder, depth, items int) (any, bool) {
	token, err := decoder.Token()
	if err != nil {
		return nil, false
	}
	switch token := token.(type) {
	case json.Delim:
		if depth == 0 {
			return nil, false
		}
		object := map[string]any{}
		count := 0
		for decoder.More() {
			count++
			name := ""
			if token == '{' {
				next, err := decoder.Token()
				if err != nil {
					return nil, false
				}
				name = next.(string)
				if _, repeated := object[name]; repeated {
					return nil, false
				}
			}
			value, ok := referenceValue(decoder, depth-1, items)
			if !ok {
				return nil, false
			}
			object[name] = value
		}
		_, err := decoder.Token()
		if token == '[' {
			return []any{}, err == nil && count <= items
		}
		return object, err == nil && count <= items
	case json.Number:
		text := token.String()
		if !strings.ContainsAny(text, ".eE") {
			var signed int64
			var unsigned uint64
			ok := json.Unmarshal([]byte(text), &signed) == nil || json.Unmarshal([]byte(text), &unsigned) == nil
			return token, ok
		}
		f, err := token.Float64()
		mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
		return token, err == nil && (f != 0 || !strings.ContainsAny(mantissa, "123456789"))
	default:
		return token, true
	}
}

// hasLoneSurrogate looks for escaped surrogates that form no pair.
func hasLoneSurrogate(text string) bool {
	var pending bool // a high surrogate came just before
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			if pending {
				return true
			}
			i++
			continue
		}
		if text[i+1] != 'u' {
			if pending {
				return true
			}
			i += 2
			continue
		}
		hex := strings.ToLower(text[i+2 : i+6])
		high := hex[0] == 'd' && strings.ContainsRune("89ab", rune(hex[1]))
		low := hex[0] == 'd' && strings.ContainsRune("cdef", rune(hex[1]))
		if pending != low {
			return true
		}
		pending = high
		i += 6
	}
	return pending
}

func foldsToKnown(object map[string]any, known ...string) bool {
	for name := range object {
		for _, k := range known {
			if name != k && strings.EqualFold(name, k) {
				return true
			}
		}
	}
	return false
}

func referenceHeader(text string) bool {
	object, ok := referenceObject(text, 4, 32)
	if !ok || object["alg"] != "HS256" {
		return false
	}
	if id, present := object["kid"]; present && id != "k1" {
		return false
	}
	if typ, present := object["typ"]; present {
		text, ok := typ.(string)
		if !ok || strings.ToUpper(text) != "JWT" {
			return false
		}
	}
	for _, refused := range []string{"crit", "b64", "cty", "zip", "enc"} {
		if _, present := object[refused]; present {
			return false
		}
	}
	return !foldsToKnown(object, "alg", "kid", "typ", "crit", "b64", "cty", "zip", "enc",
		"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256")
}

type referenceResult struct {
	subject, issuer, id string
	expires             float64
	count               int
}

func referenceClaims(text string) (referenceResult, bool) {
	object, ok := referenceObject(text, 16, 1024)
	if !ok || foldsToKnown(object, "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "role", "channels") {
		return referenceResult{}, false
	}
	ok = true
	name := func(claim string, limit int) string {
		value, present := object[claim]
		text, isText := value.(string)
		bad := func(r rune) bool { return unicode.IsControl(r) || r == '\uFFFD' }
		if present && (!isText || text == "" || len(text) > limit || strings.ContainsFunc(text, bad)) {
			ok = false
		}
		return text
	}
	date := func(claim string, absent float64) float64 {
		value, present := object[claim]
		if !present {
			return absent
		}
		number, isNumber := value.(json.Number)
		f, err := number.Float64()
		if !isNumber || err != nil || f <= 0 || f >= 253402300800 {
			ok = false
		}
		return f
	}
	const now = 1800000000.5
	result := referenceResult{
		subject: name("sub", 512), issuer: name("iss", 512), id: name("jti", 255),
		expires: date("exp", math.Inf(-1)), count: len(object),
	}
	_, audience := object["aud"]
	late := date("nbf", 0) > now || date("iat", 0) > now
	return result, ok && result.subject != "" && result.expires > now && !late && !audience
}
