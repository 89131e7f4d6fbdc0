package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"math/big"
)

// checkRSAPublic returns a copy of a public key that is fit for use.
func checkRSAPublic(a algorithm, key *rsa.PublicKey) (*rsa.PublicKey, error) {
	if a.family != familyRSA || key == nil || key.N == nil || key.N.Sign() <= 0 {
		return nil, WrongKeyType
	}
	// RFC 7518 section 3.3 demands 2048 bits. The upper bound is that of
	// crypto/tls doubled: it limits the work of one verification.
	if bits := key.N.BitLen(); bits < 2048 || bits > 16384 {
		return nil, BadModulusSize
	}
	if key.E < 65537 || key.E%2 == 0 {
		return nil, BadExponent
	}
	if key.N.Bit(0) == 0 || hasROCAFingerprint(key.N) {
		return nil, WeakModulus
	}
	return &rsa.PublicKey{N: new(big.Int).Set(key.N), E: key.E}, nil
}

func checkRSAPrivate(a algorithm, key *rsa.PrivateKey) (*rsa.PrivateKey, *rsa.PublicKey, error) {
	if key == nil {
		return nil, nil, WrongKeyType
	}
	public, err := checkRSAPublic(a, &key.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	private := &rsa.PrivateKey{PublicKey: *public}
	if key.D == nil {
		return nil, nil, BadPrivateKey
	}
	private.D = new(big.Int).Set(key.D)
	for _, prime := range key.Primes {
		if prime == nil {
			return nil, nil, BadPrivateKey
		}
		private.Primes = append(private.Primes, new(big.Int).Set(prime))
	}
	private.Precompute()
	if private.Validate() != nil {
		return nil, nil, BadPrivateKey
	}
	return private, public, nil
}

// hasROCAFingerprint reports whether a modulus was made by the key generator
// of CVE-2017-15361 (Nemec et al., "The Return of Coppersmith's Attack", 2017,
// section 2.2). Its primes are powers of 65537 modulo each of the first primes,
// and so is then the modulus. About one random modulus in 2^27 is too.
func hasROCAFingerprint(n *big.Int) bool {
	for prime := int64(3); prime <= 167; prime += 2 {
		if !big.NewInt(prime).ProbablyPrime(0) {
			continue
		}
		residue := new(big.Int).Mod(n, big.NewInt(prime)).Int64()
		power := int64(1)
		for power != residue {
			power = power * 65537 % prime
			if power == 1 {
				return false // residue is no power of 65537
			}
		}
	}
	return true
}

// checkECPublic returns a copy of a public key that is fit for use. The
// identity has no coordinates on the curve and is refused with other wrong
// points.
func checkECPublic(a algorithm, key *ecdsa.PublicKey) (*ecdsa.PublicKey, error) {
	//lint:ignore SA1019 Bytes panics if a coordinate is missing
	if a.family != familyEC || key == nil || key.X == nil || key.Y == nil {
		return nil, WrongKeyType
	}
	if key.Curve != a.curve {
		return nil, WrongCurve
	}
	encoded, err := key.Bytes() // which checks the point
	if err != nil {
		return nil, BadPoint
	}
	return ecdsa.ParseUncompressedPublicKey(a.curve, encoded)
}

func checkECPrivate(a algorithm, key *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *ecdsa.PublicKey, error) {
	if key == nil {
		return nil, nil, WrongKeyType
	}
	public, err := checkECPublic(a, &key.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	//lint:ignore SA1019 Bytes panics if the number is missing
	if key.D == nil {
		return nil, nil, BadPrivateKey
	}
	encoded, err := key.Bytes()
	if err != nil {
		return nil, nil, BadPrivateKey
	}
	private, err := ecdsa.ParseRawPrivateKey(a.curve, encoded)
	if err != nil || !private.PublicKey.Equal(public) {
		return nil, nil, BadPrivateKey
	}
	return private, public, nil
}

// checkEdPublic returns a copy of a public key that is fit for use.
func checkEdPublic(a algorithm, key ed25519.PublicKey) (ed25519.PublicKey, error) {
	if a.family != familyEd25519 || len(key) != ed25519.PublicKeySize {
		return nil, WrongKeyType
	}
	if !onCurve25519(key) {
		return nil, BadPoint
	}
	return bytes.Clone(key), nil
}

func checkEdPrivate(a algorithm, key ed25519.PrivateKey) (ed25519.PrivateKey, ed25519.PublicKey, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, nil, WrongKeyType
	}
	public, err := checkEdPublic(a, ed25519.PublicKey(key[ed25519.SeedSize:]))
	if err != nil {
		return nil, nil, err
	}
	private := ed25519.NewKeyFromSeed(key.Seed())
	if !private.Equal(key) {
		return nil, nil, BadPrivateKey
	}
	return private, public, nil
}
