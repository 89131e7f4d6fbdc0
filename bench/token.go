package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	jwxt "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/chansec/chansec"
)

// Tokens: whom does this text prove, and what may they do? First sight goes round a pool of different tokens, larger
// than any cache; the same token again goes round a thousand that were all seen before. Every contender reads the same
// texts and has to find the subject in them.

const (
	keyID    = "k1"
	repeated = 1_000 // tokens that come again
)

// claims are what a token of chansec carries.
type claims struct {
	Role     string   `json:"role"`
	Channels []string `json:"channels"`
	jwt.RegisteredClaims
}

// A wallet is tokens of one algorithm, with the keys to check them.
type wallet struct {
	alg     string
	private any // a secret for HMAC
	public  any
	tokens  []string
}

func newWallet(alg string, n int) (*wallet, error) {
	w := &wallet{alg: alg}
	switch alg {
	case "HS256":
		secret := make([]byte, 32)
		rand.Read(secret)
		w.private, w.public = secret, secret
	case "RS256":
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		w.private, w.public = k, &k.PublicKey
	case "ES256":
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		w.private, w.public = k, &k.PublicKey
	case "EdDSA":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		w.private, w.public = private, public
	}
	for i := range n {
		text, err := w.mint(i, time.Now().Add(12*time.Hour), w.alg, w.private)
		if err != nil {
			return nil, err
		}
		w.tokens = append(w.tokens, text)
	}
	return w, nil
}

func subject(i int) string { return fmt.Sprintf("system-%07d", i) }

func (w *wallet) mint(i int, expires time.Time, alg string, key any) (string, error) {
	t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), claims{
		Role:     "write",
		Channels: []string{channelID, "commands"},
		RegisteredClaims: jwt.RegisteredClaims{
			Subject:   subject(i),
			ID:        rand.Text(),
			IssuedAt:  jwt.NewNumericDate(time.Now()),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
	})
	t.Header["kid"] = keyID
	return t.SignedString(key)
}

// forged are texts that must be refused, by what is wrong with them.
func (w *wallet) forged() (map[string]string, error) {
	good := w.tokens[0]
	dot := strings.LastIndexByte(good, '.')
	first := strings.IndexByte(good, '.')
	flip := func(s string, at int) string {
		c := byte('A')
		if s[at] == c {
			c = 'B'
		}
		return s[:at] + string(c) + s[at+1:]
	}
	other, err := newWallet(w.alg, 1)
	if err != nil {
		return nil, err
	}
	none, err := w.mint(0, time.Now().Add(time.Hour), "none", jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		return nil, err
	}
	expired, err := w.mint(0, time.Now().Add(-time.Hour), w.alg, w.private)
	return map[string]string{
		"changed signature": flip(good, dot+3),
		"changed claims":    flip(good, first+20),
		"no signature":      good[:dot+1],
		"algorithm none":    none,
		"another key":       other.tokens[0],
		"expired":           expired,
		"empty":             "",
	}, err
}

// A door is an opened verifier: it returns the subject of a token.
type door func(token string) (string, error)

func (d door) check(w *wallet) error {
	for i, text := range w.tokens[:min(len(w.tokens), 100)] {
		for range 2 { // the second time from the cache, if there is one
			if sub, err := d(text); sub != subject(i) || err != nil {
				return fmt.Errorf("token of %s: %q, %v", subject(i), sub, err)
			}
		}
	}
	forged, err := w.forged()
	if err != nil {
		return err
	}
	for what, text := range forged {
		for range 2 {
			if sub, err := d(text); err == nil {
				return fmt.Errorf("%s: accepted as %q", what, sub)
			}
		}
	}
	return nil
}

// round takes the tokens from start on in a circle; it returns where the next one begins.
func (d door) round(tokens []string, start, n int) (int, error) {
	for range n {
		if sub, err := d(tokens[start]); sub == "" || err != nil {
			return start, errors.Join(errWrong, err)
		}
		if start++; start == len(tokens) {
			start = 0
		}
	}
	return start, nil
}

func tokenGroups(s scale) []group {
	var g group
	wallets := map[string]func() (*wallet, error){}
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		n := s.tokens
		if alg != "HS256" {
			n = min(n, 512) // signing is slow, and these are measured without a cache
		}
		wallets[alg] = sync.OnceValues(func() (*wallet, error) { return newWallet(alg, n) })
	}
	add := func(row, name, alg string, most int, open func(*wallet) (door, error)) {
		g = append(g, contender{
			row: "token/" + row, name: name, floor: strings.HasPrefix(name, "floor: "),
			open: func() (*work, error) {
				w, err := wallets[alg]()
				if err != nil {
					return nil, err
				}
				d, err := open(w)
				tokens := w.tokens[:min(most, len(w.tokens))]
				next := 0
				return &work{
					check: func() error {
						err := d.check(w)
						if err == nil {
							_, err = d.round(tokens, 0, len(tokens)) // fills the cache
						}
						return err
					},
					bench: func(b *testing.B) (err error) {
						next, err = d.round(tokens, next, b.N)
						return err
					},
				}, err
			},
		})
	}
	const all = 1 << 30
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		g = append(g, rawContender(alg, wallets[alg]))
		add(alg+"/first", "chansec, cache off", alg, all, openDoor(0))
		if alg == "HS256" {
			add(alg+"/first", "chansec, cache missed", alg, all, openDoor(s.tokens/16))
		}
		add(alg+"/first", "golang-jwt", alg, all, openGolangJWT)
		add(alg+"/first", "jwx jwt.Parse", alg, all, openJWX)
		add(alg+"/first", "jwx jws.Verify and a struct", alg, all, openJWS)
	}
	add("HS256/again", "floor: map by text", "HS256", repeated, openTextMap)
	add("HS256/again", "chansec", "HS256", repeated, openDoor(s.tokens))
	add("HS256/again", "golang-jwt, verifies again", "HS256", repeated, openGolangJWT)
	return []group{g}
}

// rawContender is the floor: hash and verify, of texts that were split and decoded beforehand.
func rawContender(alg string, open func() (*wallet, error)) contender {
	return contender{row: "token/" + alg + "/first", name: "floor: hash and verify", floor: true, open: func() (*work, error) {
		w, err := open()
		if err != nil {
			return nil, err
		}
		verify, err := rawVerify(w)
		if err != nil {
			return nil, err
		}
		var inputs, sigs [][]byte
		for _, text := range w.tokens {
			dot := strings.LastIndexByte(text, '.')
			sig, err := base64.RawURLEncoding.Strict().DecodeString(text[dot+1:])
			if err != nil {
				return nil, err
			}
			if alg == "ES256" { // the standard library takes ASN.1
				r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
				if sig, err = asn1.Marshal([]*big.Int{r, s}); err != nil {
					return nil, err
				}
			}
			inputs, sigs = append(inputs, []byte(text[:dot])), append(sigs, sig)
		}
		next := 0
		return &work{
			check: func() error {
				for i, input := range inputs {
					if !verify(input, sigs[i]) {
						return fmt.Errorf("token %d refused", i)
					}
					if verify(append(bytes.Clone(input), 'A'), sigs[i]) {
						return fmt.Errorf("token %d accepted although it was changed", i)
					}
				}
				return nil
			},
			bench: func(b *testing.B) error {
				for range b.N {
					if !verify(inputs[next], sigs[next]) {
						return errWrong
					}
					if next++; next == len(inputs) {
						next = 0
					}
				}
				return nil
			},
		}, nil
	}}
}

func rawVerify(w *wallet) (func(input, sig []byte) bool, error) {
	switch key := w.public.(type) {
	case []byte:
		mac, sum := hmac.New(sha256.New, key), make([]byte, 0, sha256.Size)
		return func(input, sig []byte) bool {
			mac.Reset()
			mac.Write(input)
			return hmac.Equal(mac.Sum(sum), sig)
		}, nil
	case *rsa.PublicKey:
		return func(input, sig []byte) bool {
			sum := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
		}, nil
	case *ecdsa.PublicKey:
		return func(input, sig []byte) bool {
			sum := sha256.Sum256(input)
			return ecdsa.VerifyASN1(key, sum[:], sig)
		}, nil
	case ed25519.PublicKey:
		return func(input, sig []byte) bool { return ed25519.Verify(key, input, sig) }, nil
	}
	return nil, fmt.Errorf("no raw verification with a %T", w.public)
}

// openTextMap is the floor for what was seen before: the whole text is the key, and nothing else is looked at.
func openTextMap(w *wallet) (door, error) {
	var mu sync.RWMutex
	seen := map[string]string{}
	for i, text := range w.tokens {
		seen[text] = subject(i)
	}
	return func(text string) (string, error) {
		mu.RLock()
		sub, ok := seen[text]
		mu.RUnlock()
		if !ok {
			return "", errors.New("never seen")
		}
		return sub, nil
	}, nil
}

// openJWT is our security for the tokens of a wallet.
func openJWT(w *wallet, cache int) (*chansec.JWTSecurity, error) {
	var key chansec.Key
	var err error
	if secret, ok := w.private.([]byte); ok {
		key, err = chansec.HMACKey(keyID, w.alg, secret)
	} else {
		key, err = chansec.VerifyKey(keyID, w.alg, w.public)
	}
	if err != nil {
		return nil, err
	}
	return chansec.NewJWTSecurity(key, chansec.JWTCache(cache))
}

// openDoor is ours, with a cache of so many tokens.
func openDoor(cache int) func(*wallet) (door, error) {
	return func(w *wallet) (door, error) {
		sec, err := openJWT(w, cache)
		ctx := context.Background()
		return func(text string) (string, error) {
			p, err := sec.Authenticate(ctx, text)
			if err != nil {
				return "", err
			}
			return p.SystemID, nil
		}, err
	}
}

func openGolangJWT(w *wallet) (door, error) {
	p := jwt.NewParser(jwt.WithValidMethods([]string{w.alg}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding())
	key := func(*jwt.Token) (any, error) { return w.public, nil }
	return func(text string) (string, error) {
		var c claims
		if _, err := p.ParseWithClaims(text, &c, key); err != nil {
			return "", err
		}
		return c.Subject, nil
	}, nil
}

func openJWX(w *wallet) (door, error) {
	alg, ok := jwa.LookupSignatureAlgorithm(w.alg)
	if !ok {
		return nil, fmt.Errorf("jwx knows no %s", w.alg)
	}
	return func(text string) (string, error) {
		t, err := jwxt.ParseString(text, jwxt.WithKey(alg, w.public), jwxt.WithRequiredClaim(jwxt.ExpirationKey))
		if err != nil {
			return "", err
		}
		var role string
		var channels []any
		sub, ok := t.Subject()
		if err := errors.Join(t.Get("role", &role), t.Get("channels", &channels)); !ok || err != nil {
			return "", errors.Join(errWrong, err)
		}
		return sub, nil
	}, nil
}

// openJWS is what jwx's documentation recommends to those who want speed.
func openJWS(w *wallet) (door, error) {
	alg, ok := jwa.LookupSignatureAlgorithm(w.alg)
	if !ok {
		return nil, fmt.Errorf("jwx knows no %s", w.alg)
	}
	return func(text string) (string, error) {
		body, err := jws.Verify([]byte(text), jws.WithKey(alg, w.public))
		if err != nil {
			return "", err
		}
		var c claims
		if err := json.Unmarshal(body, &c); err != nil {
			return "", err
		}
		now := time.Now()
		if c.ExpiresAt == nil || !now.Before(c.ExpiresAt.Time) || c.IssuedAt == nil || now.Before(c.IssuedAt.Time) {
			return "", errors.New("not now")
		}
		return c.Subject, nil
	}, nil
}
