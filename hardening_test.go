package chansec_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// The tests in this file and in those called hardening_http_*_test.go are attacks on the HTTP transport, one each. Here it is
// the credential. What the token check does with each spelling of each claim is tested below HTTP, in
// hardening_token_test.go; here it is that every answer is a refusal on the wire.

// signed signs header and claims with any HMAC.
func signed(newHash func() hash.Hash, secret []byte, header, claims string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(newHash, secret)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// forged signs with the site's own secret.
func forged(header, claims string) string { return signed(sha256.New, siteSecret, header, claims) }

const plainHeader = `{"alg":"HS256","typ":"JWT"}`

// claiming is a set of claims that would do, with more members.
func claiming(more string) string {
	return fmt.Sprintf(`{"sub":"eve","role":"admin","exp":%d%s}`, time.Now().Add(time.Hour).Unix(), more)
}

// attacked is a site with one channel, "c", that holds one message.
func attacked(t *testing.T, opts ...chansec.HTTPOption) *site {
	t.Helper()
	s := newSite(t, opts...)
	s.mount(chansec.NewPassthrough[any]("c", chansec.WithSecurity(s.jwt)))
	require.Equal(t, 200, s.send("PUT /channels/c", s.token("ann", chansec.RoleWrite), `"good"`).Status)
	return s
}

// requireNobody requires the answer to a credential that proves nobody (RFC 6750, section 3).
func requireNobody(t *testing.T, a answered, name string) {
	t.Helper()
	require.Equal(t, 401, a.Status, "%s: %s", name, a.Body)
	require.True(t, strings.HasPrefix(a.Header.Get("WWW-Authenticate"), `Bearer realm="chansec"`), name)
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), name)
	require.Equal(t, "not authenticated", a.json(t)["detail"], name)
}

// requireTokensRefused presents each token to a route that reads and to one that writes.
func requireTokensRefused(t *testing.T, s *site, channel string, tokens map[string]string) {
	t.Helper()
	for name, token := range tokens {
		for _, line := range []string{"GET /channels/" + channel, "PUT /channels/" + channel} {
			a := s.send(line, token, `1`)
			requireNobody(t, a, name)
			require.Contains(t, a.Header.Get("WWW-Authenticate"), `error="invalid_token"`, name)
		}
	}
}

// Unsigned tokens (RFC 8725 section 3.2; CWE-347).
func TestHTTPAttackUnsignedToken(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	good := s.token("ann", chansec.RoleAdmin)
	require.Equal(t, 200, s.send("GET /channels/c", good, "").Status)
	signature := good[strings.LastIndexByte(good, '.')+1:]
	for _, none := range []string{"none", "None", "NONE", "nOnE", "", "none ", "n\\u006fne"} {
		unsigned := strings.TrimSuffix(signed(sha256.New, nil, `{"alg":"`+none+`","typ":"JWT"}`, claiming("")), signature)
		unsigned = unsigned[:strings.LastIndexByte(unsigned, '.')+1]
		requireTokensRefused(t, s, "c", map[string]string{
			none + ", no signature":        unsigned,
			none + ", another's signature": unsigned + signature,
			none + ", two parts":           strings.TrimSuffix(unsigned, "."),
		})
	}
	parts := strings.Split(good, ".")
	requireTokensRefused(t, s, "c", map[string]string{
		"a good token without its signature":  parts[0] + "." + parts[1] + ".",
		"a good token with a longer one":      good + "AA",
		"a good token with one letter less":   good[:len(good)-1],
		"a good token's claims, under none":   base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"a good token, and its signature too": good + "." + parts[2],
	})
}

// A verifier that believes the header's algorithm (RFC 8725 section 3.1; CWE-327, CWE-347).
func TestHTTPAttackAlgorithmConfusion(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for algorithm, key := range map[string]crypto.Signer{"RS256": rsaKey, "ES256": ecKey} {
		jwt := must(chansec.NewJWTSecurity(must(chansec.SigningKey("", algorithm, key))))
		s.mount(chansec.NewPassthrough[any](algorithm, chansec.WithSecurity(jwt)))
		good := must(jwt.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleAdmin, AllChannels: true}))
		require.Equal(t, 200, s.send("GET /channels/"+algorithm, good, "").Status)

		der := must(x509.MarshalPKIXPublicKey(key.Public()))
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		secrets := map[string][]byte{"DER": der, "PEM": text, "PEM without the last line end": text[:len(text)-1], "nothing": nil}
		if algorithm == "RS256" {
			secrets["PKCS #1"] = x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)
			secrets["the modulus"] = rsaKey.N.Bytes()
		}
		for name, secret := range secrets {
			requireTokensRefused(t, s, algorithm, map[string]string{
				name + " as a secret":                     signed(sha256.New, secret, plainHeader, claiming("")),
				name + " as a secret for HS512":           signed(sha512.New, secret, `{"alg":"HS512"}`, claiming("")),
				name + " as a secret, under its own name": signed(sha256.New, secret, `{"alg":"`+algorithm+`"}`, claiming("")),
			})
		}
	}
	require.Equal(t, 200, s.send("GET /channels/c", forged(plainHeader, claiming("")), "").Status)
	requireTokensRefused(t, s, "c", map[string]string{
		"HS512 under a key for HS256":       signed(sha512.New, siteSecret, `{"alg":"HS512"}`, claiming("")),
		"HS384 under a key for HS256":       signed(sha512.New384, siteSecret, `{"alg":"HS384"}`, claiming("")),
		"HS512 that says HS256":             signed(sha512.New, siteSecret, plainHeader, claiming("")),
		"HS256 that says HS512":             signed(sha256.New, siteSecret, `{"alg":"HS512"}`, claiming("")),
		"HS256 that says it in lower case":  forged(`{"alg":"hs256"}`, claiming("")),
		"HS256 that does not say it at all": forged(`{"typ":"JWT"}`, claiming("")),
	})
}

// A token that brings its key, or says where to find it (RFC 8725 section 3.10; CWE-918, CWE-22, CWE-89). No request leaves
// the server: the URLs lead to a listener that counts.
func TestHTTPAttackKeyInHeader(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	asked := make(chan string, 100)
	lure := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer lure.Close()
	own := []byte("a secret that the attacker knows")
	jwk := `{"kty":"oct","k":"` + base64.RawURLEncoding.EncodeToString(own) + `"}`
	// In a header that is otherwise right and signed by the right key, all of these but a key's ID mean nothing.
	for name, member := range map[string]string{
		"jwk":              `"jwk":` + jwk,
		"jku":              `"jku":"` + lure.URL + `/keys"`,
		"x5u":              `"x5u":"` + lure.URL + `/certificate"`,
		"x5c":              `"x5c":["` + base64.StdEncoding.EncodeToString(own) + `"]`,
		"x5t":              `"x5t":"AA"`,
		"kid, a path":      `"kid":"../../../../dev/null"`,
		"kid, a file URL":  `"kid":"file:///etc/hostname"`,
		"kid, a URL":       `"kid":"` + lure.URL + `/kid"`,
		"kid, a query":     `"kid":"' UNION SELECT 'secret' --"`,
		"kid, a command":   `"kid":"|/bin/true"`,
		"kid, a NUL":       `"kid":"\u0000"`,
		"kid, an object":   `"kid":{"jwk":` + jwk + `}`,
		"crit, an unknown": `"crit":["x"],"x":1`,
		"b64":              `"b64":false,"crit":["b64"]`,
		"zip":              `"zip":"DEF"`,
	} {
		header := `{"alg":"HS256",` + member + `}`
		requireTokensRefused(t, s, "c", map[string]string{
			name + ", signed by the attacker": signed(sha256.New, own, header, claiming("")),
			name + ", signed with nothing":    signed(sha256.New, nil, header, claiming("")),
		})
	}
	requireTokensRefused(t, s, "c", map[string]string{
		"a key ID that nobody knows": forged(`{"alg":"HS256","kid":"../c"}`, claiming("")),
		"a critical extension":       forged(`{"alg":"HS256","crit":["x"],"x":1}`, claiming("")),
		"a payload as it is":         forged(`{"alg":"HS256","b64":false,"crit":["b64"]}`, claiming("")),
	})
	require.Empty(t, asked)
}

// Members that one reader takes in one way and another in another (RFC 7519 section 4; CWE-436). All is signed by the site's
// key, as by an issuer who can be made to say what they did not mean.
func TestHTTPAttackDuplicateMembers(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	require.Equal(t, 200, s.send("GET /channels/c", forged(plainHeader, claiming(`,"channels":["c"],"x":1`)), "").Status)
	requireTokensRefused(t, s, "c", map[string]string{
		"two alg":                     forged(`{"alg":"HS256","alg":"HS256"}`, claiming("")),
		"two alg, one of them none":   forged(`{"alg":"none","alg":"HS256"}`, claiming("")),
		"two alg, one of them coded":  forged(`{"alg":"HS256","\u0061lg":"none"}`, claiming("")),
		"two kid":                     forged(`{"alg":"HS256","kid":"a","kid":"b"}`, claiming("")),
		"two sub":                     forged(plainHeader, claiming(`,"sub":"ann"`)),
		"two sub, one of them coded":  forged(plainHeader, claiming(`,"\u0073ub":"ann"`)),
		"two role":                    forged(plainHeader, claiming(`,"role":"admin"`)),
		"two exp":                     forged(plainHeader, claiming(`,"exp":99999999999`)),
		"two channels":                forged(plainHeader, claiming(`,"channels":["x"],"channels":null`)),
		"two of a name unknown to us": forged(plainHeader, claiming(`,"x":1,"x":1`)),
		"two within a member":         forged(plainHeader, claiming(`,"x":{"y":1,"y":1}`)),
		"another case":                forged(plainHeader, claiming(`,"Role":"admin"`)),
		"a letter like it":            forged(plainHeader, claiming(`,"\u017fub":"ann"`)),
		"a text after the claims":     forged(plainHeader, claiming("")+`{}`),
		"a text after the header":     forged(plainHeader+"x", claiming("")),
		"a mark before the claims":    forged(plainHeader, "\ufeff"+claiming("")),
		"channels that are a string":  forged(plainHeader, claiming(`,"channels":"c"`)),
		"channels that are an object": forged(plainHeader, claiming(`,"channels":{"c":1}`)),
		"channels of something else":  forged(plainHeader, claiming(`,"channels":["c",1]`)),
	})
}

// Times in every wrong form (RFC 7519 sections 2 and 4.1.4; RFC 8725 section 3; CWE-613, CWE-681).
func TestHTTPAttackTimes(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	soon := time.Now().Add(time.Hour).Unix()
	with := func(members string) string {
		return forged(plainHeader, `{"sub":"eve","role":"admin"`+members+`}`)
	}
	number := fmt.Sprint(soon)
	require.Equal(t, 200, s.send("GET /channels/c", with(`,"exp":`+number+`,"nbf":1,"iat":1`), "").Status)
	require.Equal(t, 200, s.send("GET /channels/c", with(`,"exp":`+number+`.5`), "").Status)
	wrong := []string{`"` + number + `"`, `""`, `"never"`, `-1`, `-0`, `0`, `0.0`, `0e9`, `1e400`, `-1e400`, `1e30`, `9223372036854775807`, `9223372036854775808`,
		`18446744073709551616`, `253402300800`, `1e-400`, `NaN`, `Infinity`, `-Infinity`, `null`, `true`, `[` + number + `]`, `{}`, `0x7fffffff`, `+` + number, `0` + number, number + `.`, `1_000`, `"NaN"`, `"2099-01-01T00:00:00Z"`}
	tokens := map[string]string{
		"no exp":                               with(``),
		"an exp in the past":                   with(`,"exp":1`),
		"an exp a second ago, in other digits": with(fmt.Sprintf(`,"exp":%de-1`, 10*(time.Now().Unix()-1))),
		"not yet valid":                        with(fmt.Sprintf(`,"exp":%d,"nbf":%d`, soon, soon-1)),
		"issued in the future":                 with(fmt.Sprintf(`,"exp":%d,"iat":%d`, soon, soon-1)),
		"a name like exp":                      with(`,"EXP":` + number),
		"an exp within a member":               with(`,"x":{"exp":` + number + `}`),
		"exp with a zero byte":                 with(`,"exp\u0000":` + number),
		"no longer than the longest":           with(`,"exp":4102444800`),
	}
	for _, w := range wrong {
		tokens["exp "+w] = with(`,"exp":` + w)
	}
	for _, name := range []string{"nbf", "iat"} {
		for _, w := range wrong {
			if w == "null" || w == "0" || w == "-0" || w == "0.0" || w == "0e9" || w == "1e-400" {
				continue // says nothing, or the beginning of time
			}
			tokens[name+" "+w] = with(`,"exp":` + number + `,"` + name + `":` + w)
		}
	}
	requireTokensRefused(t, s, "c", tokens)
}

// One header, one scheme, one token (RFC 9110 section 11.6.2; RFC 6750 section 2.1; CWE-444). The lines are what stands
// between the request line and the end of the headers.
func TestHTTPAttackAuthorizationHeader(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	token := s.token("ann", chansec.RoleRead)
	half := len(token) / 2
	tests := []struct {
		name  string
		lines string
		want  int
	}{
		{"a token is let in", "Authorization: Bearer " + token, 200},
		{"the scheme has no case", "Authorization: bEARER " + token, 200},
		{"the header's name has no case", "aUTHORIZATION: Bearer " + token, 200},
		{"further spaces before the token mean nothing", "Authorization: Bearer    " + token, 200},
		{"white space around the value means nothing", "Authorization: \t Bearer " + token + " \t", 200},
		{"a folded line is one space (RFC 9112 section 5.2)", "Authorization: Bearer\r\n " + token, 200},

		{"no header", "X: y", 401},
		{"an empty header", "Authorization:", 401},
		{"a scheme without a token", "Authorization: Bearer", 401},
		{"a scheme and a space", "Authorization: Bearer ", 401},
		{"a token without a scheme", "Authorization: " + token, 401},
		{"a scheme that sticks to the token", "Authorization: Bearer" + token, 401},
		{"a tab instead of the space", "Authorization: Bearer\t" + token, 401},
		{"a tab after the space", "Authorization: Bearer \t" + token, 401},
		{"a colon after the scheme", "Authorization: Bearer: " + token, 401},
		{"another scheme", "Authorization: Basic " + token, 401},
		{"another scheme, and the right one", "Authorization: Basic eDp5, Bearer " + token, 401},
		{"the right scheme, and another", "Authorization: Bearer " + token + ", Basic eDp5", 401},
		{"the scheme twice", "Authorization: Bearer Bearer " + token, 401},
		{"a list of tokens", "Authorization: Bearer " + token + "," + token, 401},
		{"a list with an empty element", "Authorization: Bearer " + token + ",", 401},
		{"a token in quotation marks", `Authorization: Bearer "` + token + `"`, 401},
		{"a parameter", "Authorization: Bearer token=" + token, 401},
		{"something after the token", "Authorization: Bearer " + token + " x", 401},
		{"the token twice", "Authorization: Bearer " + token + " " + token, 401},
		{"a folded line within the token", "Authorization: Bearer " + token[:half] + "\r\n " + token[half:], 401},
		{"letters that look like the scheme", "Authorization: \u0412earer " + token, 401},
		{"letters that fold to the scheme", "Authorization: Bea\u212arer " + token, 401},
		{"a byte beyond ASCII in the token", "Authorization: Bearer " + token + "\u00a0", 401},
		{"two headers that are the same", "Authorization: Bearer " + token + "\r\nAuthorization: Bearer " + token, 401},
		{"two headers, the first of them empty", "Authorization:\r\nAuthorization: Bearer " + token, 401},
		{"two headers, the second of another scheme", "Authorization: Bearer " + token + "\r\nauthorization: Basic eDp5", 401},
		{"the header of a proxy", "Proxy-Authorization: Bearer " + token, 401},
		{"a header that proxies add", "X-Forwarded-Authorization: Bearer " + token, 401},
		{"an underscore", "X-Authorization: Bearer " + token + "\r\nAuthorization_: Bearer " + token, 401},

		{"a NUL in the token", "Authorization: Bearer " + token + "\x00", 400},
		{"a carriage return in the token", "Authorization: Bearer " + token + "\rX: y", 400},
		{"a space before the colon", "Authorization : Bearer " + token, 400},
		{"a NUL in the header's name", "Authorization\x00: Bearer " + token, 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := s.dial().send("GET /channels/c HTTP/1.1\r\nHost: x\r\n" + test.lines + "\r\n\r\n").next()
			require.Equal(t, test.want, a.Status, a.Body)
			if test.want == 401 {
				requireNobody(t, a, test.name)
			}
		})
	}
}

// A token anywhere else ends up in logs, histories and pages of others (RFC 6750 sections 2.2, 2.3 and 5.3; CWE-598,
// CWE-352).
func TestHTTPAttackTokenElsewhere(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	token := s.token("ann", chansec.RoleAdmin)
	form := "access_token=" + token
	for name, a := range map[string]answered{
		"in the query":                         s.send("GET /channels/c?"+form, "", ""),
		"in the query, coded":                  s.send("GET /channels/c?access%5Ftoken="+token, "", ""),
		"in the query, another name":           s.send("GET /channels/c?token="+token+"&authorization=Bearer+"+token, "", ""),
		"in a cookie":                          s.send("GET /channels/c", "", "", "Cookie", "Authorization="+token+"; access_token="+token+"; token="+token),
		"in a form":                            s.send("PUT /channels/c", "", form, "Content-Type", "application/x-www-form-urlencoded"),
		"in a form that is posted":             s.send("POST /channels/c/acknowledge", "", form, "Content-Type", "application/x-www-form-urlencoded"),
		"in a body":                            s.send("PUT /channels/c", "", `{"access_token":"`+token+`"}`),
		"in the path":                          s.send("GET /channels/c/"+token, "", ""),
		"as the user of the URL":               s.dial().send("GET http://" + token + "@x/channels/c HTTP/1.1\r\nHost: x\r\n\r\n").next(),
		"as a WebSocket's subprotocol":         s.send("GET /channels/c/events", "", "", "Sec-Websocket-Protocol", "bearer, "+token),
		"in a header, and in the query":        s.send("GET /channels/c?"+form, token, ""),
		"in a header, and in the query, coded": s.send("GET /channels/c?access%5ftoken="+token, token, ""),
		"after the body": s.dial().send("PUT /channels/c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n" +
			"1\r\n1\r\n0\r\nAuthorization: Bearer " + token + "\r\n\r\n").next(),
	} {
		requireNobody(t, a, name)
	}
}

// None of the tokens of Wycheproof, the RFCs and the JOSE cookbook gets in. Every secret among them that may be a key of
// ours has a channel.
func TestHTTPAttackVectors(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	channels := map[string]string{"": "c"} // by secret
	tried, own := 0, 0
	try := func(raw, key json.RawMessage) {
		var jwk struct{ Kty, K, Alg string }
		_ = json.Unmarshal(key, &jwk)
		if _, known := channels[jwk.K]; !known && jwk.Kty == "oct" {
			channels[jwk.K] = ""
			if secret, err := chansec.HMACKey("", jwk.Alg, must(base64.RawURLEncoding.DecodeString(jwk.K))); err == nil {
				own++
				channels[jwk.K] = fmt.Sprint("v", own)
				s.mount(chansec.NewPassthrough[any](channels[jwk.K], chansec.WithSecurity(must(chansec.NewJWTSecurity(secret)))))
			}
		}
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		tried++
		for _, id := range []string{"c", channels[jwk.K], "unknown"} {
			r := httptest.NewRequest("GET", "/channels/"+id, nil)
			r.Header.Set("Authorization", "Bearer "+text) // also what no client would send
			w := httptest.NewRecorder()
			s.transport.ServeHTTP(w, r)
			require.Equal(t, 401, w.Code, "%.100q", text)
		}
	}
	read := func(file string, into any) {
		data, err := os.ReadFile(filepath.Join("internal/token/testdata", file))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, into))
	}
	for _, name := range []string{"signature", "key", "crypto"} {
		var file struct {
			TestGroups []struct {
				Private json.RawMessage
				Tests   []struct{ JWS json.RawMessage }
			}
		}
		read("wycheproof/wycheproof_json_web_"+name+".json", &file)
		for _, group := range file.TestGroups {
			for _, test := range group.Tests {
				try(test.JWS, group.Private)
			}
		}
	}
	var file struct {
		Tests []struct{ Token, Key json.RawMessage }
	}
	read("wycheproof/jwe_must_reject.json", &file)
	for _, test := range file.Tests {
		try(test.Token, nil)
	}
	read("rfc_examples.json", &file)
	for _, test := range file.Tests {
		try(test.Token, test.Key)
	}
	examples, err := filepath.Glob("internal/token/testdata/cookbook/*.json")
	require.NoError(t, err)
	for _, path := range examples {
		var example struct {
			Input  struct{ Key json.RawMessage }
			Output map[string]json.RawMessage
		}
		read(filepath.Join("cookbook", filepath.Base(path)), &example)
		for _, text := range example.Output {
			try(text, example.Input.Key)
		}
	}
	require.Greater(t, tried, 350, "all of them")
	require.GreaterOrEqual(t, own, 4, "some under their own key")
}
