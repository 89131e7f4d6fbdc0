package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testSecret is as long as the longest hash.
var testSecret = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

// testNow is the time of the clock in tests; testProfile has this clock.
var testNow = time.Unix(1_800_000_000, 500_000_000)

func testProfile() Profile {
	return Profile{Claims: []string{"role", "channels"}, Now: func() time.Time { return testNow }}
}

func newTestDoor(t testing.TB, profile Profile) *Door {
	t.Helper()
	door, err := NewDoor(profile)
	require.NoError(t, err)
	return door
}

func newTestKeys(t testing.TB, keys ...*Key) *KeySet {
	t.Helper()
	set, err := NewKeySet(keys...)
	require.NoError(t, err)
	return set
}

func hmacKey(t testing.TB, id string) *Key {
	t.Helper()
	key, err := NewHMACKey(id, "HS256", testSecret)
	require.NoError(t, err)
	return key
}

// Keys that take long to make are made once.
var (
	rsaPrivate = sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return key
	})
	edPrivate = sync.OnceValue(func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	})
)

func ecPrivate(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

// signingKey returns a key of any algorithm.
func signingKey(t testing.TB, id, alg string) *Key {
	t.Helper()
	a, ok := findAlgorithm(alg)
	require.True(t, ok)
	var key *Key
	var err error
	switch a.family {
	case familyHMAC:
		key, err = NewHMACKey(id, alg, testSecret)
	case familyRSA:
		key, err = NewSigningKey(id, alg, rsaPrivate())
	case familyEC:
		key, err = NewSigningKey(id, alg, ecPrivate(t, a.curve))
	case familyEd25519:
		key, err = NewSigningKey(id, alg, edPrivate())
	}
	require.NoError(t, err)
	return key
}

func allAlgorithms() []string {
	return []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512", "EdDSA"}
}

// signRaw signs any header and payload.
func signRaw(t testing.TB, key *Key, header, payload string) string {
	t.Helper()
	signed := encode(header) + "." + encode(payload)
	signature, err := key.material.sign(signed)
	require.NoError(t, err)
	return signed + "." + encode(string(signature))
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// goodClaims is a claims set that testProfile accepts.
const goodClaims = `{"sub":"alice","role":"read","exp":1800000060,"iat":1800000000,"jti":"t1","channels":["a"]}`

const goodHeader = `{"alg":"HS256","typ":"JWT"}`
