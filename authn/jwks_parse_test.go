package authn

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/token"
)

var jwksAll = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// jwksEd is a new key in the form of RFC 8037, with changes: a nil value removes a member.
func jwksEd(changes map[string]any) map[string]any {
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	k := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public), "kid": "1", "alg": "EdDSA", "use": "sig"}
	maps.Copy(k, changes)
	maps.DeleteFunc(k, func(_ string, v any) bool { return v == nil })
	return k
}

func jwksEC(curve elliptic.Curve, changes map[string]any) map[string]any {
	private, _ := ecdsa.GenerateKey(curve, rand.Reader)
	point, _ := private.PublicKey.Bytes()
	size := (len(point) - 1) / 2
	k := map[string]any{"kty": "EC", "crv": curve.Params().Name, "x": base64.RawURLEncoding.EncodeToString(point[1 : 1+size]),
		"y": base64.RawURLEncoding.EncodeToString(point[1+size:]), "kid": "1"}
	maps.Copy(k, changes)
	maps.DeleteFunc(k, func(_ string, v any) bool { return v == nil })
	return k
}

func jwksText(keys ...map[string]any) string {
	text, _ := json.Marshal(map[string]any{"keys": keys})
	return string(text)
}

func TestAKeySetIsReadStrictly(t *testing.T) {
	many := func(n int) string {
		var keys []map[string]any
		for i := range n {
			keys = append(keys, jwksEd(map[string]any{"kid": strconv.Itoa(i)}))
		}
		return jwksText(keys...)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	ec := jwksEC(elliptic.P256(), nil)
	good := jwksEd(map[string]any{"kid": "good"})
	for name, c := range map[string]struct {
		text string
		want error // nil: it is fine
	}{
		"a key":                               {jwksText(jwksEd(nil)), nil},
		"a key without a name":                {jwksText(jwksEd(map[string]any{"kid": nil})), nil},
		"two without a name":                  {jwksText(jwksEd(map[string]any{"kid": nil}), jwksEd(map[string]any{"kid": nil})), nil},
		"a key without use and algorithm":     {jwksText(jwksEd(map[string]any{"use": nil, "alg": nil})), nil},
		"a key for verifying":                 {jwksText(jwksEd(map[string]any{"key_ops": []string{"verify"}})), nil},
		"members that are unknown":            {jwksText(jwksEd(map[string]any{"x5c": []string{"MIIB"}, "issuer": "x", "ext": true})), nil},
		"unusable ones beside a good one":     {jwksText(jwksEd(map[string]any{"use": "enc"}), map[string]any{"kty": "new"}, good), nil},
		"of one name, one of them unusable":   {jwksText(jwksEd(map[string]any{"kid": "good", "use": "enc"}), good), nil},
		"sixteen":                             {many(16), nil},
		"seventeen":                           {many(17), jwksTooMany},
		"sixty-five":                          {many(65), jwksTooMany},
		"two of one name":                     {jwksText(jwksEd(nil), jwksEd(nil)), jwksDuplicate},
		"a secret beside a good one":          {jwksText(good, map[string]any{"kty": "oct", "k": "c2VjcmV0"}), jwksSecret},
		"a secret that claims to be a key":    {jwksText(jwksEd(map[string]any{"k": "c2VjcmV0"})), jwksSecret},
		"a private key":                       {jwksText(good, jwksEd(map[string]any{"d": "c2VjcmV0"})), jwksSecret},
		"none":                                {`{"keys":[]}`, jwksUseless},
		"for encryption":                      {jwksText(jwksEd(map[string]any{"use": "enc"})), jwksUseless},
		"for nothing known":                   {jwksText(jwksEd(map[string]any{"use": 1})), jwksUseless},
		"for signing only":                    {jwksText(jwksEd(map[string]any{"key_ops": []string{"sign"}})), jwksUseless},
		"for no operation":                    {jwksText(jwksEd(map[string]any{"key_ops": []string{}})), jwksUseless},
		"for what is no list of operations":   {jwksText(jwksEd(map[string]any{"key_ops": "verify"})), jwksUseless},
		"of another algorithm":                {jwksText(jwksEd(map[string]any{"alg": "ES256"})), jwksUseless},
		"of an algorithm that is null":        {jwksText(jwksEd(map[string]any{"alg": nil, "ALG": "EdDSA", "kty": nil})), jwksUseless},
		"of an algorithm with secrets":        {jwksText(jwksEd(map[string]any{"alg": "HS256"})), jwksUseless},
		"of no algorithm":                     {jwksText(jwksEd(map[string]any{"alg": "none"})), jwksUseless},
		"an empty name":                       {jwksText(jwksEd(map[string]any{"kid": ""})), jwksUseless},
		"a name that is a number":             {jwksText(jwksEd(map[string]any{"kid": 1})), jwksUseless},
		"a type in other letters":             {jwksText(jwksEd(map[string]any{"kty": "okp"})), jwksUseless},
		"another curve":                       {jwksText(jwksEd(map[string]any{"crv": "Ed448"})), jwksUseless},
		"a curve for agreement":               {jwksText(jwksEd(map[string]any{"crv": "X25519", "x": base64.RawURLEncoding.EncodeToString(x25519.PublicKey().Bytes())})), jwksUseless},
		"a point that is short":               {jwksText(jwksEd(map[string]any{"x": "AAAA"})), jwksUseless},
		"a point of small order":              {jwksText(jwksEd(map[string]any{"x": base64.RawURLEncoding.EncodeToString(make([]byte, 32))})), jwksUseless},
		"a point with padding":                {jwksText(jwksEd(map[string]any{"x": good["x"].(string) + "="})), jwksUseless},
		"a point with a line break":           {jwksText(jwksEd(map[string]any{"x": good["x"].(string)[:20] + "\n" + good["x"].(string)[20:]})), jwksUseless},
		"P-256":                               {jwksText(ec), nil},
		"P-384":                               {jwksText(jwksEC(elliptic.P384(), nil)), nil},
		"P-521":                               {jwksText(jwksEC(elliptic.P521(), nil)), nil},
		"P-224":                               {jwksText(jwksEC(elliptic.P224(), nil)), jwksUseless},
		"a point that says P-384":             {jwksText(jwksEC(elliptic.P256(), map[string]any{"crv": "P-384"})), jwksUseless},
		"a point that is not on the curve":    {jwksText(jwksEC(elliptic.P256(), map[string]any{"y": ec["y"]})), jwksUseless},
		"a coordinate with a leading zero":    {jwksText(jwksEC(elliptic.P256(), map[string]any{"x": "AA" + ec["x"].(string)})), jwksUseless},
		"the curve of another algorithm":      {jwksText(jwksEC(elliptic.P256(), map[string]any{"alg": "ES512"})), jwksUseless},
		"RSA without a modulus":               {jwksText(map[string]any{"kty": "RSA", "e": "AQAB"}), jwksUseless},
		"RSA with a huge exponent":            {jwksText(map[string]any{"kty": "RSA", "n": strings.Repeat("_", 342), "e": strings.Repeat("_", 40)}), jwksUseless},
		"keys that are no list":               {`{"keys":{}}`, jwksMalformed},
		"keys that are no objects":            {`{"keys":[1]}`, jwksMalformed},
		"no keys":                             {`{}`, jwksMalformed},
		"keys in other letters":               {`{"Keys":[]}`, jwksMalformed},
		"keys twice":                          {`{"keys":[],"keys":[]}`, jwksMalformed},
		"a key of two minds":                  {`{"keys":[{"kty":"OKP","kty":"EC"}]}`, jwksMalformed},
		"a key by itself":                     {strings.TrimSuffix(strings.TrimPrefix(jwksText(good), `{"keys":[`), `]}`), jwksMalformed},
		"a list":                              {`[]`, jwksMalformed},
		"nothing":                             {``, jwksMalformed},
		"more after it":                       {jwksText(good) + "{}", jwksMalformed},
		"deep":                                {`{"keys":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, jwksMalformed},
		"no UTF-8":                            {"{\"keys\":[],\"\xff\":1}", jwksMalformed},
		"more members than any key has":       {`{"keys":[{` + jwksMembers(200) + `}]}`, jwksMalformed},
		"more members than any key set has":   {`{"keys":[],` + jwksMembers(200) + `}`, jwksMalformed},
		"operations without end":              {jwksText(jwksEd(map[string]any{"key_ops": strings.Split(strings.Repeat("verify,", 60), ",")})), jwksUseless},
		"a name that is longer than any name": {jwksText(jwksEd(map[string]any{"kid": strings.Repeat("x", 256)})), jwksUseless},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := parseJWKS(c.text, jwksAll)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, c.want == nil, set != nil)
		})
	}
}

func jwksMembers(n int) string {
	var members []string
	for i := range n {
		members = append(members, fmt.Sprintf(`"m%d":0`, i))
	}
	return strings.Join(members, ",")
}

func TestAKeyIsOnlyGoodForWhatTheIssuerMayUse(t *testing.T) {
	_, err := parseJWKS(jwksText(jwksEd(nil)), []string{"RS256", "ES256"})
	require.ErrorIs(t, err, jwksUseless)
	_, err = parseJWKS(jwksText(jwksEd(map[string]any{"alg": nil})), []string{"RS256", "ES256"})
	require.ErrorIs(t, err, jwksUseless)
}

// Every key that Wycheproof wants refused is, and so is every one of its tokens, none of which says who it is for.
func TestWycheproofsKeysAndTokens(t *testing.T) {
	checked, refused := 0, 0
	for _, name := range []string{"key", "signature", "crypto"} {
		data, err := os.ReadFile(filepath.Join("..", "internal", "token", "testdata", "wycheproof", "wycheproof_json_web_"+name+".json"))
		require.NoError(t, err)
		var file struct {
			TestGroups []struct {
				Comment         string
				Public, Private json.RawMessage
				Tests           []struct {
					TcID   int `json:"tcId"`
					JWS    json.RawMessage
					Expect string `json:"x_expect"`
					Layer  string `json:"x_layer"`
				}
			} `json:"testGroups"`
		}
		require.NoError(t, json.Unmarshal(data, &file))
		for _, group := range file.TestGroups {
			given := group.Public
			secret := given == nil
			if secret {
				given = group.Private
			}
			var document struct {
				Keys json.RawMessage `json:"keys"`
			}
			require.NoError(t, json.Unmarshal(given, &document))
			if document.Keys == nil {
				given = json.RawMessage(`{"keys":[` + string(given) + `]}`)
			}
			set, err := parseJWKS(string(given), jwksAll)
			if secret {
				require.ErrorIs(t, err, jwksSecret, group.Comment)
				continue
			}
			for _, test := range group.Tests {
				checked++
				if test.Layer == "key" && test.Expect == "invalid" {
					refused++
					require.Error(t, err, "%d", test.TcID)
				}
				var text string
				if json.Unmarshal(test.JWS, &text) != nil {
					text = string(test.JWS)
				}
				door, err := token.NewDoor(token.Profile{AllowNoExpiry: true, AllowNoSubject: true})
				require.NoError(t, err)
				got, err := door.Verify(set, text)
				require.Nil(t, got)
				require.Error(t, err)
			}
		}
	}
	require.Greater(t, checked, 150)
	require.Greater(t, refused, 5)
}

func FuzzJWKS(f *testing.F) {
	f.Add(jwksText(jwksEd(nil)))
	f.Add(jwksText(jwksEd(map[string]any{"alg": nil}), jwksEC(elliptic.P521(), map[string]any{"kid": nil})))
	f.Add(`{"keys":[{"kty":"oct","k":"AAAA"}]}`)
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parseJWKS(text, jwksAll)
		if (set == nil) != (err != nil) {
			t.Fatalf("a set and an error, or neither: %v", err)
		}
		if err != nil {
			return
		}
		// What was taken is JSON for everybody else, too, and publishes nothing secret.
		var document struct {
			Keys []map[string]json.RawMessage `json:"keys"`
		}
		if err := json.Unmarshal([]byte(text), &document); err != nil {
			t.Fatal(err)
		}
		if n := len(document.Keys); n == 0 || n > maxJWKS {
			t.Fatalf("%d keys", n)
		}
		for _, key := range document.Keys {
			if _, has := key["d"]; has || string(key["kty"]) == `"oct"` {
				t.Fatal("a secret was taken")
			}
		}
	})
}

func FuzzWebhookAnswer(f *testing.F) {
	for _, kind := range []string{"application/json", "text/plain", "text/html", "application/x+json"} {
		for _, body := range []string{`{"id":"chris","clientData":{"t":1},"serverData":{"role":"admin"}}`, `{"isValid":false}`, `"chris"`, "chris", "null", "", `{"id":7}`, `[`} {
			f.Add(200, kind, body)
			f.Add(401, kind, body)
		}
	}
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		answer := &outboundAnswer{status: status, mediaType: kind, body: body}
		says, problem := readWebhookAnswer(answer)
		if problem != "" && (says.valid || says.id != "") {
			t.Fatal("valid in spite of a problem")
		}
		if says.id != "" {
			// The id stands in the answer, and nowhere does it say that it is not valid.
			var id struct {
				ID      any   `json:"id"`
				IsValid *bool `json:"isValid"`
			}
			if kind != "text/plain" && json.Unmarshal([]byte(body), &id) == nil && says.valid && id.IsValid != nil && !*id.IsValid {
				t.Fatal("valid against its word")
			}
			if kind == "text/plain" && says.id != body {
				t.Fatal("another text than the answer")
			}
		}
		text, err := json.Marshal(webhookRefusal(answer))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 6*maxWebhookClientData+16 {
			t.Fatalf("%d bytes for the caller", len(text))
		}
	})
}
