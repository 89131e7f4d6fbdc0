package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// typicalClaims are those of a token that chansec itself makes.
func typicalClaims(now time.Time) []Claim {
	return []Claim{
		StringClaim("sub", "sensor-1"),
		StringClaim("role", "write"),
		IntClaim("exp", now.Add(time.Hour).Unix()),
		IntClaim("iat", now.Unix()),
		StringClaim("jti", "0198f0a2-7c1b-7d3e-9f52-3a6b1c0d4e5f"),
		ListClaim("channels", []string{"readings", "alarms"}),
	}
}

// benchmarkKey measures one algorithm: the raw cryptography over the parts of a
// token that somebody else has taken apart, this package, and golang-jwt with
// its strictest options.
func benchmarkKey(b *testing.B, key *Key, public any, raw func(signed string, signature []byte) bool) {
	keys, err := NewKeySet(key)
	require.NoError(b, err)
	door, err := NewDoor(Profile{Claims: []string{"role", "channels"}})
	require.NoError(b, err)
	text, err := Sign(key, "", typicalClaims(time.Now()))
	require.NoError(b, err)

	b.Run("raw", func(b *testing.B) {
		last := strings.LastIndexByte(text, '.')
		p := newParts()
		require.True(b, p.split(text))
		b.ReportAllocs()
		for b.Loop() {
			if !raw(text[:last], p.signature) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("door", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := door.Verify(keys, text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("golang-jwt", func(b *testing.B) {
		type claims struct {
			jwt.RegisteredClaims
			Role     string   `json:"role"`
			Channels []string `json:"channels"`
		}
		parser := jwt.NewParser(jwt.WithValidMethods([]string{key.Algorithm()}),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding())
		keyFunc := func(*jwt.Token) (any, error) { return public, nil }
		b.ReportAllocs()
		for b.Loop() {
			if _, err := parser.ParseWithClaims(text, &claims{}, keyFunc); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	b.Run("HS256", func(b *testing.B) {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret)
		key, err := NewHMACKey("", "HS256", secret)
		require.NoError(b, err)
		mac := hmac.New(sha256.New, secret)
		var sum []byte
		benchmarkKey(b, key, secret, func(signed string, signature []byte) bool {
			mac.Reset()
			mac.Write([]byte(signed))
			sum = mac.Sum(sum[:0])
			return hmac.Equal(sum, signature)
		})
	})
	b.Run("RS256", func(b *testing.B) {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(b, err)
		key, err := NewSigningKey("", "RS256", private)
		require.NoError(b, err)
		benchmarkKey(b, key, &private.PublicKey, func(signed string, signature []byte) bool {
			digest := sha256.Sum256([]byte(signed))
			return rsa.VerifyPKCS1v15(&private.PublicKey, crypto.SHA256, digest[:], signature) == nil
		})
	})
	b.Run("ES256", func(b *testing.B) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(b, err)
		key, err := NewSigningKey("", "ES256", private)
		require.NoError(b, err)
		benchmarkKey(b, key, &private.PublicKey, func(signed string, signature []byte) bool {
			digest := sha256.Sum256([]byte(signed))
			r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
			return ecdsa.Verify(&private.PublicKey, digest[:], r, s)
		})
	})
	b.Run("EdDSA", func(b *testing.B) {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(b, err)
		key, err := NewSigningKey("", "EdDSA", private)
		require.NoError(b, err)
		benchmarkKey(b, key, public, func(signed string, signature []byte) bool {
			return ed25519.Verify(public, []byte(signed), signature)
		})
	})
}

func BenchmarkRecheck(b *testing.B) {
	key, err := NewHMACKey("", "HS256", make([]byte, 32))
	require.NoError(b, err)
	keys, err := NewKeySet(key)
	require.NoError(b, err)
	door, err := NewDoor(Profile{})
	require.NoError(b, err)
	text, err := Sign(key, "", typicalClaims(time.Now()))
	require.NoError(b, err)
	token, err := door.Verify(keys, text)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if err := door.Recheck(token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	key, err := NewHMACKey("", "HS256", make([]byte, 32))
	require.NoError(b, err)
	claims := typicalClaims(time.Now())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Sign(key, "", claims); err != nil {
			b.Fatal(err)
		}
	}
}
