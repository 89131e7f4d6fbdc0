package token

//lint:file-ignore SA1019 wrong keys cannot be made without the deprecated fields

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// jwk is a JSON Web Key (RFC 7517) or a set of them. Only tests read them.
type jwk struct {
	Keys       []jwk    `json:"keys"`
	Type       string   `json:"kty"`
	Algorithm  string   `json:"alg"`
	ID         string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	K          string   `json:"k"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	Curve      string   `json:"crv"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
}

// notApplicable returns the name of a condition that this package leaves to
// whoever loads keys, or nothing.
func (k jwk) notApplicable() string {
	for _, member := range k.Keys {
		if condition := member.notApplicable(); condition != "" {
			return condition
		}
	}
	switch {
	case k.Use != "" && k.Use != "sig":
		return "use=" + k.Use
	case k.Operations != nil && !slices.Contains(k.Operations, "verify"):
		return "key_ops without verify"
	}
	return ""
}

func (k jwk) load(t *testing.T) (*Key, error) {
	t.Helper()
	alg := k.Algorithm
	if alg == "ES521" { // misspelt in the vectors
		alg = "ES512"
	}
	bytes := func(text string) []byte {
		data, err := base64.RawURLEncoding.DecodeString(text)
		require.NoError(t, err)
		return data
	}
	number := func(text string) *big.Int { return new(big.Int).SetBytes(bytes(text)) }
	switch k.Type {
	case "oct":
		return NewHMACKey(k.ID, alg, bytes(k.K))
	case "RSA":
		return NewVerifyKey(k.ID, alg, &rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())})
	case "EC":
		curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
		return NewVerifyKey(k.ID, alg, &ecdsa.PublicKey{Curve: curves[k.Curve], X: number(k.X), Y: number(k.Y)})
	case "OKP":
		return NewVerifyKey(k.ID, alg, ed25519.PublicKey(bytes(k.X)))
	}
	t.Fatalf("unknown key type %q", k.Type)
	return nil, nil
}

// loadSet makes a KeySet of a key or a set of keys.
func (k jwk) loadSet(t *testing.T) (*KeySet, error) {
	t.Helper()
	list := k.Keys
	if list == nil {
		list = []jwk{k}
	}
	var keys []*Key
	for _, one := range list {
		key, err := one.load(t)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return NewKeySet(keys...)
}

func readVectors(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into))
}

// verifyJWS does what Verify does before it reads claims.
func verifyJWS(d *Door, keys *KeySet, text string) ([]byte, Reason) {
	p := newParts()
	if !p.split(text) {
		return nil, Malformed
	}
	_, reason := d.verifySignature(keys, p)
	return p.payload, reason
}

// vectorDoors returns doors none of which may let in any of the vectors; the
// last one has a clock at which no example of an RFC has expired.
func vectorDoors(t *testing.T) []*Door {
	t.Helper()
	return []*Door{
		newTestDoor(t, Profile{}),
		newTestDoor(t, testProfile()),
		newTestDoor(t, Profile{MaxBytes: 1 << 20, Now: func() time.Time { return time.Unix(1300819379, 0) }}),
	}
}

func TestWycheproof(t *testing.T) {
	t.Parallel()
	type test struct {
		ID      json.Number     `json:"tcId"`
		Comment string          `json:"comment"`
		JWS     json.RawMessage `json:"jws"`
		Expect  string          `json:"x_expect"`
		Layer   string          `json:"x_layer"`
	}
	type file struct {
		Groups []struct {
			Comment string `json:"comment"`
			Private jwk    `json:"private"`
			Public  *jwk   `json:"public"`
			Tests   []test `json:"tests"`
		} `json:"testGroups"`
	}
	jws := newTestDoor(t, Profile{})
	doors := vectorDoors(t)

	for _, name := range []string{"signature", "key", "crypto"} {
		var vectors file
		readVectors(t, "wycheproof/wycheproof_json_web_"+name+".json", &vectors)
		require.NotEmpty(t, vectors.Groups)
		for _, group := range vectors.Groups {
			key := group.Private
			if group.Public != nil {
				key = *group.Public
			}
			for _, test := range group.Tests {
				t.Run(name+"/"+test.ID.String()+"/"+test.Comment, func(t *testing.T) {
					t.Parallel()
					text := string(test.JWS)
					if text[0] == '"' {
						require.NoError(t, json.Unmarshal(test.JWS, &text))
					}
					if condition := key.notApplicable(); condition != "" {
						require.Equal(t, "key", test.Layer)
						t.Skipf("not applicable: %s is for whoever loads keys", condition)
					}
					keys, err := key.loadSet(t)
					if test.Layer == "key" {
						require.Error(t, err)
						require.Nil(t, keys)
						return
					}
					require.NoError(t, err)
					_, reason := verifyJWS(jws, keys, text)
					require.Equal(t, test.Expect == "valid", reason == 0, "%s", reason)
					for _, door := range doors {
						token, err := door.Verify(keys, text)
						require.ErrorIs(t, err, ErrInvalid)
						require.Nil(t, token)
					}
				})
			}
		}
	}
}

func TestEncryptedTokensAreRefused(t *testing.T) {
	t.Parallel()
	var vectors struct {
		Tests []struct {
			Comment string          `json:"comment"`
			Token   json.RawMessage `json:"token"`
		} `json:"tests"`
	}
	readVectors(t, "wycheproof/jwe_must_reject.json", &vectors)
	require.NotEmpty(t, vectors.Tests)
	var keySets []*KeySet
	for _, alg := range allAlgorithms() {
		keySets = append(keySets, newTestKeys(t, signingKey(t, "", alg)))
	}
	for _, test := range vectors.Tests {
		text := string(test.Token)
		if text[0] == '"' {
			require.NoError(t, json.Unmarshal(test.Token, &text))
		}
		for _, keys := range keySets {
			for _, door := range vectorDoors(t) {
				_, err := door.Verify(keys, text)
				require.ErrorIs(t, err, ErrInvalid, test.Comment)
			}
		}
	}
}

func TestRFCExamples(t *testing.T) {
	t.Parallel()
	var vectors struct {
		Tests []struct {
			Name  string `json:"name"`
			Key   jwk    `json:"key"`
			Token string `json:"token"`
			JWS   string `json:"jws"`
		} `json:"tests"`
	}
	readVectors(t, "rfc_examples.json", &vectors)
	require.NotEmpty(t, vectors.Tests)
	for _, test := range vectors.Tests {
		t.Run(test.Name, func(t *testing.T) {
			t.Parallel()
			keys, err := test.Key.loadSet(t)
			require.NoError(t, err)
			door := newTestDoor(t, Profile{})
			_, reason := verifyJWS(door, keys, test.Token)
			require.Equal(t, test.JWS == "accept", reason == 0, "%s", reason)
			for _, door := range vectorDoors(t) {
				_, err = door.Verify(keys, test.Token)
				require.ErrorIs(t, err, ErrInvalid)
			}
			// One second before it expired, and for a profile that asks for
			// no more, the example is a valid token.
			lax := newTestDoor(t, Profile{
				AllowNoSubject: true, Issuer: "joe",
				Now: func() time.Time { return time.Unix(1300819379, 0) },
			})
			token, err := lax.Verify(keys, test.Token)
			if test.JWS == "accept" {
				require.NoError(t, err)
				require.Equal(t, "joe", token.Issuer)
			} else {
				require.ErrorIs(t, err, ErrInvalid)
			}
		})
	}
}

func TestCookbook(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/cookbook/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			var vector struct {
				jwk
				Input struct {
					Payload string `json:"payload"`
					Key     *jwk   `json:"key"`
					Alg     string `json:"alg"`
				} `json:"input"`
				Signing struct {
					Protected string `json:"protected_b64u"`
					Input     string `json:"sig-input"`
					Sig       string `json:"sig"`
				} `json:"signing"`
				Output map[string]json.RawMessage `json:"output"`
			}
			readVectors(t, filepath.Join("cookbook", filepath.Base(file)), &vector)

			if vector.Input.Key == nil { // a key alone
				defaults := map[string]string{"oct": "HS256", "RSA": "RS256", "EC": "ES512"}
				vector.Algorithm = defaults[vector.Type]
				keys, err := vector.loadSet(t)
				require.NoError(t, err)
				require.NotNil(t, keys)
				return
			}
			key := *vector.Input.Key
			key.Algorithm = vector.Input.Alg
			keys, err := key.loadSet(t)
			require.NoError(t, err)
			door := newTestDoor(t, Profile{})

			forms := []string{vector.Signing.Input + "." + vector.Signing.Sig,
				vector.Signing.Protected + ".." + vector.Signing.Sig}
			for form, raw := range vector.Output {
				text := string(raw)
				if raw[0] == '"' {
					require.NoError(t, json.Unmarshal(raw, &text))
				}
				// The compact form of detached content has no payload.
				if form == "compact" && text == forms[0] {
					payload, reason := verifyJWS(door, keys, text)
					require.Zero(t, reason)
					require.Equal(t, vector.Input.Payload, string(payload))
					continue
				}
				_, reason := verifyJWS(door, keys, text)
				require.NotZero(t, reason, form)
				forms = append(forms, text)
			}
			// No form of any of them is a token.
			for _, text := range forms {
				for _, door := range vectorDoors(t) {
					_, err := door.Verify(keys, text)
					require.ErrorIs(t, err, ErrInvalid)
				}
			}
		})
	}
}
