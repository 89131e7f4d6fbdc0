package token

//lint:file-ignore SA1019 wrong keys cannot be made without the deprecated fields

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeysOfAllAlgorithms(t *testing.T) {
	t.Parallel()
	door := newTestDoor(t, testProfile())
	for _, alg := range allAlgorithms() {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			key := signingKey(t, "k1", alg)
			require.Equal(t, "k1", key.ID())
			require.Equal(t, alg, key.Algorithm())
			require.True(t, key.CanSign())
			require.True(t, key.CanVerify())

			text := signRaw(t, key, `{"alg":"`+alg+`","kid":"k1"}`, goodClaims)
			token, err := door.Verify(newTestKeys(t, key), text)
			require.NoError(t, err)
			require.Equal(t, "alice", token.Subject)
			require.Same(t, key, token.Key)

			if alg[:2] == "HS" {
				other, err := NewHMACKey("k1", alg, slices.Concat(testSecret, testSecret))
				require.NoError(t, err)
				text = signRaw(t, other, `{"alg":"`+alg+`","kid":"k1"}`, goodClaims)
				_, err = door.Verify(newTestKeys(t, key), text)
				require.Equal(t, BadSignature, err)
				return
			}
			private := map[string]crypto.Signer{"R": rsaPrivate(), "P": rsaPrivate(), "E": ecPrivate(t, elliptic.P256())}[alg[:1]]
			switch alg {
			case "ES384":
				private = ecPrivate(t, elliptic.P384())
			case "ES512":
				private = ecPrivate(t, elliptic.P521())
			case "EdDSA":
				private = edPrivate()
			}
			key, err = NewSigningKey("k1", alg, private)
			require.NoError(t, err)
			public, err := NewVerifyKey("k2", alg, private.Public())
			require.NoError(t, err)
			require.False(t, public.CanSign())
			require.True(t, public.CanVerify())
			_, err = door.Verify(newTestKeys(t, public), signRaw(t, key, `{"alg":"`+alg+`"}`, goodClaims))
			require.NoError(t, err)
			_, err = Sign(public, "", nil)
			require.Equal(t, CannotSign, err)
		})
	}
}

func TestHMACKeyRefused(t *testing.T) {
	t.Parallel()
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(rsaPrivate().Public()))(t)})
	tests := []struct {
		name    string
		id, alg string
		secret  []byte
		want    KeyProblem
	}{
		{"no algorithm", "", "", testSecret, UnknownAlgorithm},
		{"none", "", "none", testSecret, UnknownAlgorithm},
		{"None", "", "None", testSecret, UnknownAlgorithm},
		{"lower case", "", "hs256", testSecret, UnknownAlgorithm},
		{"A256GCM", "", "A256GCM", testSecret, UnknownAlgorithm},
		{"HS1", "", "HS1", testSecret, UnknownAlgorithm},
		{"ES256K", "", "ES256K", testSecret, UnknownAlgorithm},
		{"RSA algorithm", "", "RS256", testSecret, WrongKeyType},
		{"EdDSA", "", "EdDSA", testSecret, WrongKeyType},
		{"nil", "", "HS256", nil, ShortSecret},
		{"empty", "", "HS256", []byte{}, ShortSecret},
		{"HS256 short", "", "HS256", testSecret[:31], ShortSecret},
		{"HS384 short", "", "HS384", testSecret[:47], ShortSecret},
		{"HS512 short", "", "HS512", testSecret[:63], ShortSecret},
		{"PEM", "", "HS256", public, PEMSecret},
		{"PEM after other text", "", "HS256", slices.Concat([]byte("# key\n"), public), PEMSecret},
		{"long ID", strings.Repeat("k", 256), "HS256", testSecret, BadKeyID},
		{"ID with control character", "a\nb", "HS256", testSecret, BadKeyID},
		{"ID with DEL", "a\x7f", "HS256", testSecret, BadKeyID},
		{"ID with C1 control character", "a\u0085", "HS256", testSecret, BadKeyID},
		{"ID with U+FFFD", "a\uFFFD", "HS256", testSecret, BadKeyID},
		{"ID not UTF-8", "a\xff", "HS256", testSecret, BadKeyID},
	}
	for _, tt := range tests {
		key, err := NewHMACKey(tt.id, tt.alg, tt.secret)
		require.Equal(t, tt.want, err, tt.name)
		require.ErrorIs(t, err, ErrKey)
		require.Nil(t, key)
	}
	for _, tt := range []struct {
		id, alg string
		size    int
	}{{"", "HS256", 32}, {"", "HS384", 48}, {"", "HS512", 64}, {strings.Repeat("k", 255), "HS256", 1000}, {"ключ", "HS256", 32}} {
		_, err := NewHMACKey(tt.id, tt.alg, make([]byte, tt.size))
		require.NoError(t, err)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		require.NoError(t, err)
		return v
	}
}

// fakeSigner is a signer of no known type.
type fakeSigner struct{}

func (fakeSigner) Public() crypto.PublicKey { return edPrivate().Public() }
func (fakeSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, nil
}

func TestVerifyKeyRefused(t *testing.T) {
	t.Parallel()
	good := &rsaPrivate().PublicKey
	rsaKey := func(n *big.Int, e int) *rsa.PublicKey { return &rsa.PublicKey{N: n, E: e} }
	sized := func(bits uint) *big.Int { // odd, of this many bits
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return n.Add(n, big.NewInt(12345))
	}
	p256 := &ecPrivate(t, elliptic.P256()).PublicKey
	p384 := &ecPrivate(t, elliptic.P384()).PublicKey
	p224 := &ecPrivate(t, elliptic.P224()).PublicKey
	point := func(x, y *big.Int) *ecdsa.PublicKey { return &ecdsa.PublicKey{Curve: elliptic.P256(), X: x, Y: y} }
	plusOne := new(big.Int).Add(p256.Y, big.NewInt(1))
	ed := edPrivate().Public().(ed25519.PublicKey)

	tests := []struct {
		name   string
		alg    string
		public crypto.PublicKey
		want   KeyProblem
	}{
		{"none", "none", good, UnknownAlgorithm},
		{"nil", "RS256", nil, WrongKeyType},
		{"typed nil RSA", "RS256", (*rsa.PublicKey)(nil), WrongKeyType},
		{"typed nil EC", "ES256", (*ecdsa.PublicKey)(nil), WrongKeyType},
		{"typed nil Ed25519", "EdDSA", ed25519.PublicKey(nil), WrongKeyType},
		{"RSA by value", "RS256", *good, WrongKeyType},
		{"private key", "RS256", rsaPrivate(), WrongKeyType},
		{"bytes", "RS256", []byte("key"), WrongKeyType},
		{"text", "HS256", "key", WrongKeyType},
		{"RSA for HMAC", "HS256", good, WrongKeyType},
		{"RSA for EC", "ES256", good, WrongKeyType},
		{"RSA for EdDSA", "EdDSA", good, WrongKeyType},
		{"EC for RSA", "PS256", p256, WrongKeyType},
		{"Ed25519 for RSA", "RS256", ed, WrongKeyType},
		{"EC for HMAC", "HS256", p256, WrongKeyType},
		{"Ed25519 for HMAC", "HS256", ed, WrongKeyType},

		{"zero RSA", "RS256", &rsa.PublicKey{}, WrongKeyType},
		{"RSA modulus 0", "RS256", rsaKey(new(big.Int), 65537), WrongKeyType},
		{"negative RSA modulus", "RS256", rsaKey(new(big.Int).Neg(good.N), 65537), WrongKeyType},
		{"RSA 1024", "RS256", rsaKey(sized(1024), 65537), BadModulusSize},
		{"RSA 2047", "PS512", rsaKey(sized(2047), 65537), BadModulusSize},
		{"RSA 16385", "RS256", rsaKey(sized(16385), 65537), BadModulusSize},
		{"e=0", "RS256", rsaKey(good.N, 0), BadExponent},
		{"e=1", "RS256", rsaKey(good.N, 1), BadExponent},
		{"e=3", "RS256", rsaKey(good.N, 3), BadExponent},
		{"e=-65537", "RS256", rsaKey(good.N, -65537), BadExponent},
		{"e=65535", "RS256", rsaKey(good.N, 65535), BadExponent},
		{"e=65538", "RS256", rsaKey(good.N, 65538), BadExponent},
		{"even modulus", "RS256", rsaKey(new(big.Int).Sub(good.N, big.NewInt(1)), 65537), WeakModulus},

		{"zero EC", "ES256", &ecdsa.PublicKey{}, WrongKeyType},
		{"no curve", "ES256", &ecdsa.PublicKey{X: p256.X, Y: p256.Y}, WrongCurve},
		{"no X", "ES256", point(nil, p256.Y), WrongKeyType},
		{"no Y", "ES256", point(p256.X, nil), WrongKeyType},
		{"P-384 for ES256", "ES256", p384, WrongCurve},
		{"P-256 for ES384", "ES384", p256, WrongCurve},
		{"P-256 for ES512", "ES512", p256, WrongCurve},
		{"P-224", "ES256", p224, WrongCurve},
		{"identity", "ES256", point(new(big.Int), new(big.Int)), BadPoint},
		{"not on the curve", "ES256", point(p256.X, plusOne), BadPoint},
		{"negative X", "ES256", point(new(big.Int).Neg(p256.X), p256.Y), BadPoint},
		{"overflow", "ES256", point(new(big.Int).Lsh(p256.X, 256), p256.Y), BadPoint},
		{"not reduced", "ES256", point(new(big.Int).Add(p256.X, elliptic.P256().Params().P), p256.Y), BadPoint},

		{"Ed25519 short", "EdDSA", ed[:31], WrongKeyType},
		{"Ed25519 long", "EdDSA", append(slices.Clone(ed), 0), WrongKeyType},
	}
	for _, tt := range tests {
		key, err := NewVerifyKey("", tt.alg, tt.public)
		require.Equal(t, tt.want, err, tt.name)
		require.ErrorIs(t, err, ErrKey)
		require.Nil(t, key)
	}
	_, err := NewVerifyKey("a\x00", "RS256", good)
	require.Equal(t, BadKeyID, err)
	_, err = NewVerifyKey("", "RS256", rsaKey(sized(2048), 65537))
	require.NoError(t, err)
	_, err = NewVerifyKey("", "RS256", rsaKey(sized(16384), 65539))
	require.NoError(t, err)
}

// TestROCAFingerprint makes numbers that are 1, and so a power of 65537, modulo
// each odd prime but one.
func TestROCAFingerprint(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	t.Parallel()
	var primes []int64
	for n := int64(3); n <= 167; n += 2 {
		if big.NewInt(n).ProbablyPrime(20) {
			primes = append(primes, n)
		}
	}
	require.Len(t, primes, 38)
	for _, missing := range primes {
		product := big.NewInt(1)
		for _, prime := range primes {
			if prime != missing {
				product.Mul(product, big.NewInt(prime))
			}
		}
		// The multiples of the product run through all residues.
		powers := map[int64]bool{}
		for power := int64(1); !powers[power]; power = power * 65537 % missing {
			powers[power] = true
		}
		n := big.NewInt(1)
		for range missing {
			residue := new(big.Int).Mod(n, big.NewInt(missing)).Int64()
			require.Equal(t, powers[residue], hasROCAFingerprint(n), "%d mod %d", residue, missing)
			n.Add(n, product)
		}
	}
}

// TestSmallOrderEd25519 covers all encodings of points whose order divides 8,
// and texts that are no points.
func TestSmallOrderEd25519(t *testing.T) {
	t.Parallel()
	p := "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
	for name, text := range map[string]string{
		"order 1":                     "0100000000000000000000000000000000000000000000000000000000000000",
		"order 2":                     "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":                     "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, other sign":         "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8":                     "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, other sign":         "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"order 8, other y":            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 8, other y and sign":   "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"order 1, not canonical sign": "0100000000000000000000000000000000000000000000000000000000000080",
		"order 2, not canonical sign": "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"y = p":                       p,
		"y = p, other sign":           p[:62] + "ff",
		"y = p + 1":                   "ee" + p[2:],
		"y = p + 3, 3 being a point":  "f0" + p[2:],
		"y = 2^255 - 1":               "ff" + p[2:],
		"no point":                    "0200000000000000000000000000000000000000000000000000000000000000",
	} {
		key, err := hex.DecodeString(text)
		require.NoError(t, err)
		_, err = NewVerifyKey("", "EdDSA", ed25519.PublicKey(key))
		require.Equal(t, BadPoint, err, name)
	}
	for range 50 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		_, err = NewVerifyKey("", "EdDSA", public)
		require.NoError(t, err)
	}
}

func TestSigningKeyRefused(t *testing.T) {
	t.Parallel()
	good := rsaPrivate()
	copyRSA := func(change func(*rsa.PrivateKey)) *rsa.PrivateKey {
		key := &rsa.PrivateKey{PublicKey: good.PublicKey, D: good.D, Primes: slices.Clone(good.Primes)}
		change(key)
		return key
	}
	ec, other := ecPrivate(t, elliptic.P256()), ecPrivate(t, elliptic.P256())
	ed := edPrivate()
	otherEd := slices.Clone(ed)
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	copy(otherEd[32:], foreign[32:])
	smallEd := slices.Clone(ed)
	copy(smallEd[32:], slices.Concat([]byte{1}, make([]byte, 31)))

	tests := []struct {
		name    string
		alg     string
		private crypto.Signer
		want    KeyProblem
	}{
		{"none", "none", good, UnknownAlgorithm},
		{"nil", "RS256", nil, WrongKeyType},
		{"typed nil RSA", "RS256", (*rsa.PrivateKey)(nil), WrongKeyType},
		{"typed nil EC", "ES256", (*ecdsa.PrivateKey)(nil), WrongKeyType},
		{"typed nil Ed25519", "EdDSA", ed25519.PrivateKey(nil), WrongKeyType},
		{"nil pointer to Ed25519", "EdDSA", (*ed25519.PrivateKey)(nil), WrongKeyType},
		{"foreign signer", "EdDSA", fakeSigner{}, WrongKeyType},
		{"RSA for HMAC", "HS256", good, WrongKeyType},
		{"RSA for EC", "ES256", good, WrongKeyType},
		{"EC for RSA", "RS256", ec, WrongKeyType},
		{"EC for another curve", "ES384", ec, WrongCurve},
		{"Ed25519 for EC", "ES256", ed, WrongKeyType},
		{"EC for EdDSA", "EdDSA", ec, WrongKeyType},
		{"Ed25519 short", "EdDSA", ed[:63], WrongKeyType},
		{"Ed25519 with another public key", "EdDSA", otherEd, BadPrivateKey},
		{"Ed25519 with a small public key", "EdDSA", smallEd, BadPoint},
		{"zero RSA", "RS256", &rsa.PrivateKey{}, WrongKeyType},
		{"RSA without D", "RS256", copyRSA(func(k *rsa.PrivateKey) { k.D = nil }), BadPrivateKey},
		{"RSA with wrong D", "RS256", copyRSA(func(k *rsa.PrivateKey) { k.D = big.NewInt(12345) }), BadPrivateKey},
		{"RSA without primes", "RS256", copyRSA(func(k *rsa.PrivateKey) { k.Primes = nil }), BadPrivateKey},
		{"RSA with nil prime", "RS256", copyRSA(func(k *rsa.PrivateKey) { k.Primes[1] = nil }), BadPrivateKey},
		{"RSA with wrong prime", "RS256", copyRSA(func(k *rsa.PrivateKey) { k.Primes[1] = big.NewInt(7) }), BadPrivateKey},
		{"RSA with weak exponent", "RS256", copyRSA(func(k *rsa.PrivateKey) { k.E = 3 }), BadExponent},
		{"zero EC", "ES256", &ecdsa.PrivateKey{}, WrongKeyType},
		{"EC without D", "ES256", &ecdsa.PrivateKey{PublicKey: ec.PublicKey}, BadPrivateKey},
		{"EC with D = 0", "ES256", &ecdsa.PrivateKey{PublicKey: ec.PublicKey, D: new(big.Int)}, BadPrivateKey},
		{"EC with D = n", "ES256", &ecdsa.PrivateKey{PublicKey: ec.PublicKey, D: elliptic.P256().Params().N}, BadPrivateKey},
		{"EC with another D", "ES256", &ecdsa.PrivateKey{PublicKey: ec.PublicKey, D: other.D}, BadPrivateKey},
		{"EC off the curve", "ES256", &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P256(), X: ec.X, Y: ec.X}, D: ec.D}, BadPoint},
	}
	for _, tt := range tests {
		key, err := NewSigningKey("", tt.alg, tt.private)
		require.Equal(t, tt.want, err, tt.name)
		require.Nil(t, key)
	}
	_, err = NewSigningKey("a\x00", "RS256", good)
	require.Equal(t, BadKeyID, err)
}

// TestKeyIsACopy changes all that a key was made from.
func TestKeyIsACopy(t *testing.T) {
	t.Parallel()
	door := newTestDoor(t, testProfile())
	check := func(key *Key, spoil func()) {
		t.Helper()
		header := `{"alg":"` + key.Algorithm() + `"}`
		before := signRaw(t, key, header, goodClaims)
		spoil()
		_, err := door.Verify(newTestKeys(t, key), before)
		require.NoError(t, err)
		_, err = door.Verify(newTestKeys(t, key), signRaw(t, key, header, goodClaims))
		require.NoError(t, err)
	}

	secret := slices.Clone(testSecret)
	key, err := NewHMACKey("", "HS256", secret)
	require.NoError(t, err)
	check(key, func() { clear(secret) })

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	key, err = NewSigningKey("", "RS256", rsaKey)
	require.NoError(t, err)
	check(key, func() {
		for _, n := range []*big.Int{rsaKey.N, rsaKey.D, rsaKey.Primes[0], rsaKey.Primes[1]} {
			n.SetInt64(15)
		}
		rsaKey.E = 3
	})

	ecKey := ecPrivate(t, elliptic.P256())
	key, err = NewSigningKey("", "ES256", ecKey)
	require.NoError(t, err)
	check(key, func() {
		for _, n := range []*big.Int{ecKey.X, ecKey.Y, ecKey.D} {
			n.SetInt64(15)
		}
	})

	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key, err = NewSigningKey("", "EdDSA", edKey)
	require.NoError(t, err)
	check(key, func() { clear(edKey) })

	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := NewSigningKey("", "EdDSA", edKey)
	require.NoError(t, err)
	text := signRaw(t, signer, `{"alg":"EdDSA"}`, goodClaims)
	key, err = NewVerifyKey("", "EdDSA", edPublic)
	require.NoError(t, err)
	clear(edPublic)
	_, err = door.Verify(newTestKeys(t, key), text)
	require.NoError(t, err)

	list := []*Key{signer, key}
	set := newTestKeys(t, list...)
	list[0], list[1] = nil, nil
	_, err = door.Verify(set, text)
	require.NoError(t, err)
}

func TestZeroKeyDoesNothing(t *testing.T) {
	t.Parallel()
	for _, key := range []*Key{nil, {}} {
		require.False(t, key.CanSign())
		require.False(t, key.CanVerify())
		require.Empty(t, key.ID())
		require.Empty(t, key.Algorithm())
		require.Equal(t, "token.Key()", key.String())
		_, err := Sign(key, "", nil)
		require.Equal(t, CannotSign, err)
		_, err = NewKeySet(key)
		require.Equal(t, UnusableKey, err)
	}
	door := newTestDoor(t, testProfile())
	text := signRaw(t, hmacKey(t, ""), goodHeader, goodClaims)
	for _, keys := range []*KeySet{nil, {}} {
		_, err := door.Verify(keys, text)
		require.ErrorIs(t, err, ErrInvalid)
	}
}

// TestKeysNeverPrint looks for secrets in every way of printing a key or what
// holds one.
func TestKeysNeverPrint(t *testing.T) {
	t.Parallel()
	const canary = "canary-5b1f-canary-5b1f-canary-5b1f-canary"
	hmacKey, err := NewHMACKey("kid", "HS256", []byte(canary))
	require.NoError(t, err)
	rsaKey, err := NewSigningKey("kid", "RS256", rsaPrivate())
	require.NoError(t, err)
	ec := ecPrivate(t, elliptic.P256())
	ecKey, err := NewSigningKey("kid", "ES256", ec)
	require.NoError(t, err)
	edKey, err := NewSigningKey("kid", "EdDSA", edPrivate())
	require.NoError(t, err)

	// Secrets in the forms in which fmt may print them.
	var secrets []string
	addBytes := func(b []byte) {
		decimal := strings.Trim(fmt.Sprint(b[:8]), "[]")
		secrets = append(secrets, string(b[:8]), hex.EncodeToString(b[:8]), strings.ToUpper(hex.EncodeToString(b[:8])),
			decimal, strings.ReplaceAll(decimal, " ", ", "), strings.Trim(fmt.Sprintf("%#v", b[:8]), "[]byte{}"))
	}
	addNumber := func(n *big.Int) {
		secrets = append(secrets, n.String()[:16], n.Text(16)[:16])
		for _, word := range n.Bits() {
			secrets = append(secrets, fmt.Sprint(uint(word)), fmt.Sprintf("%#x", uint(word)))
		}
	}
	addBytes([]byte(canary))
	addBytes(edPrivate())
	addNumber(rsaPrivate().D)
	addNumber(rsaPrivate().Primes[0])
	addNumber(ec.D)

	type nested struct {
		Exported   *Key
		unexported *Key
		value      Key
		any        any
		list       []*Key
		table      map[string]Key
		set        *KeySet
		setValue   KeySet
		token      *Token
	}
	for _, key := range []*Key{hmacKey, rsaKey, ecKey, edKey} {
		set := newTestKeys(t, key)
		holder := nested{key, key, *key, *key, []*Key{key}, map[string]Key{"k": *key}, set, *set, &Token{Key: key}}
		var out strings.Builder
		for _, v := range []any{key, *key, &key, holder, &holder, set, *set, &Token{Key: key}, Token{Key: key}, []any{*key}, key.material, *key.material} {
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t", "%c", "%o"} {
				fmt.Fprintf(&out, format+"\n", v)
			}
			_ = json.NewEncoder(&out).Encode(v)
			slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		}
		require.Contains(t, out.String(), key.String())
		for _, secret := range secrets {
			require.False(t, strings.Contains(out.String(), secret), secret)
		}
	}
	require.Equal(t, "token.Key(HS256)", fmt.Sprintf("%v", hmacKey))
	require.Equal(t, "token.Key(HS256)", fmt.Sprintf("%#v", hmacKey))
	require.Equal(t, "token.Key(HS256)", hmacKey.GoString())
}

func TestKeySet(t *testing.T) {
	t.Parallel()
	hmac := func(id string) *Key { return hmacKey(t, id) }
	ed := signingKey(t, "ed", "EdDSA")
	many := make([]*Key, MaxKeys+1)
	for i := range many {
		many[i] = hmac(fmt.Sprint("k", i))
	}
	tests := []struct {
		name string
		keys []*Key
		want error
	}{
		{"one", []*Key{hmac("")}, nil},
		{"two without ID", []*Key{hmac(""), hmac("")}, nil},
		{"two IDs", []*Key{hmac("a"), hmac("b"), hmac("A")}, nil},
		{"public keys of several algorithms", []*Key{ed, signingKey(t, "r", "RS256"), signingKey(t, "e", "ES256")}, nil},
		{"the most", many[:MaxKeys], nil},
		{"none", nil, EmptyKeySet},
		{"too many", many, TooManyKeys},
		{"nil key", []*Key{hmac(""), nil}, UnusableKey},
		{"zero key", []*Key{{}}, UnusableKey},
		{"same ID", []*Key{hmac("a"), hmac(""), hmac("a")}, DuplicateKeyID},
		{"same ID, other algorithm", []*Key{ed, signingKey(t, "ed", "RS256")}, DuplicateKeyID},
		{"HMAC first", []*Key{hmac(""), ed}, MixedKeySet},
		{"HMAC last", []*Key{ed, hmac("")}, MixedKeySet},
	}
	for _, tt := range tests {
		set, err := NewKeySet(tt.keys...)
		if tt.want == nil {
			require.NoError(t, err, tt.name)
			continue
		}
		require.Equal(t, tt.want, err, tt.name)
		require.ErrorIs(t, err, ErrKeySet)
		require.Nil(t, set)
	}
}

func TestKeySelection(t *testing.T) {
	t.Parallel()
	key := func(id, alg string, fill byte) *Key {
		k, err := NewHMACKey(id, alg, slices.Repeat([]byte{fill}, 64))
		require.NoError(t, err)
		return k
	}
	a, b, plain, hs512 := key("a", "HS256", 1), key("b", "HS256", 2), key("", "HS256", 3), key("c", "HS512", 4)
	set := newTestKeys(t, a, b, plain, hs512)
	door := newTestDoor(t, testProfile())
	tests := []struct {
		name   string
		key    *Key
		header string
		want   error
	}{
		{"by ID", a, `{"alg":"HS256","kid":"a"}`, nil},
		{"by ID, last", hs512, `{"alg":"HS512","kid":"c"}`, nil},
		{"without ID, first", a, `{"alg":"HS256"}`, nil},
		{"without ID, second", b, `{"alg":"HS256"}`, nil},
		{"without ID, third", plain, `{"alg":"HS256"}`, nil},
		{"without ID, other algorithm", hs512, `{"alg":"HS512"}`, nil},
		{"escaped", a, `{"\u0061lg":"HS\u003256","kid":"\u0061"}`, nil},
		{"ID of another key", b, `{"alg":"HS256","kid":"a"}`, BadSignature},
		{"unknown ID", a, `{"alg":"HS256","kid":"x"}`, UnknownKey},
		{"ID in other letters", a, `{"alg":"HS256","kid":"A"}`, UnknownKey},
		{"empty ID", plain, `{"alg":"HS256","kid":""}`, UnknownKey},
		{"algorithm of another key", a, `{"alg":"HS512","kid":"a"}`, WrongAlg},
		{"algorithm of no key", a, `{"alg":"HS384"}`, WrongAlg},
		{"key of another algorithm", hs512, `{"alg":"HS256","kid":"c"}`, WrongAlg},
		{"signed by nobody", key("", "HS256", 9), `{"alg":"HS256"}`, BadSignature},
		{"algorithm in other letters", a, `{"alg":"hs256"}`, WrongAlg},
	}
	for _, tt := range tests {
		token, err := door.Verify(set, signRaw(t, tt.key, tt.header, goodClaims))
		if tt.want == nil {
			require.NoError(t, err, tt.name)
			require.Same(t, tt.key, token.Key, tt.name)
			continue
		}
		require.Equal(t, tt.want, err, tt.name)
		require.Nil(t, token)
	}
}

// TestPSSSaltLength signs with salts that RFC 7518 does not allow.
func TestPSSSaltLength(t *testing.T) {
	t.Parallel()
	key := signingKey(t, "", "PS256")
	door := newTestDoor(t, testProfile())
	signed := encode(`{"alg":"PS256"}`) + "." + encode(goodClaims)
	digest := crypto.SHA256.New()
	digest.Write([]byte(signed))
	for _, salt := range []int{1, 20, 31, 32, 33, 64} {
		signature, err := rsa.SignPSS(rand.Reader, rsaPrivate(), crypto.SHA256, digest.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
		require.NoError(t, err)
		_, err = door.Verify(newTestKeys(t, key), signed+"."+encode(string(signature)))
		if salt == 32 {
			require.NoError(t, err)
		} else {
			require.Equal(t, BadSignature, err)
		}
	}
}
