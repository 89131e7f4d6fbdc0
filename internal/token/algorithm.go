package token

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // makes the hash functions of all algorithms available
	_ "crypto/sha512"

	"github.com/golang-jwt/jwt/v5"
)

// family is a kind of key. It is not exported: callers name algorithms.
type family uint8

const (
	familyHMAC family = iota + 1
	familyRSA
	familyEC
	familyEd25519
)

// algorithm is one "alg" of RFC 7518 section 3.1 or RFC 8037 section 3.1.
type algorithm struct {
	name   string
	family family
	hash   crypto.Hash       // for HMAC
	curve  elliptic.Curve    // for EC
	method jwt.SigningMethod // for all but HMAC
}

// findAlgorithm returns the algorithm with exactly this name. There is no
// "none".
func findAlgorithm(name string) (algorithm, bool) {
	a := algorithm{name: name}
	switch name {
	case "HS256":
		a.family, a.hash = familyHMAC, crypto.SHA256
	case "HS384":
		a.family, a.hash = familyHMAC, crypto.SHA384
	case "HS512":
		a.family, a.hash = familyHMAC, crypto.SHA512
	case "RS256":
		a.family, a.method = familyRSA, jwt.SigningMethodRS256
	case "RS384":
		a.family, a.method = familyRSA, jwt.SigningMethodRS384
	case "RS512":
		a.family, a.method = familyRSA, jwt.SigningMethodRS512
	case "PS256":
		a.family, a.method = familyRSA, strictPSS(name, crypto.SHA256)
	case "PS384":
		a.family, a.method = familyRSA, strictPSS(name, crypto.SHA384)
	case "PS512":
		a.family, a.method = familyRSA, strictPSS(name, crypto.SHA512)
	case "ES256":
		a.family, a.method, a.curve = familyEC, jwt.SigningMethodES256, elliptic.P256()
	case "ES384":
		a.family, a.method, a.curve = familyEC, jwt.SigningMethodES384, elliptic.P384()
	case "ES512":
		a.family, a.method, a.curve = familyEC, jwt.SigningMethodES512, elliptic.P521()
	case "EdDSA":
		a.family, a.method = familyEd25519, jwt.SigningMethodEdDSA
	default:
		return algorithm{}, false
	}
	return a, true
}

// strictPSS is an RSASSA-PSS method that accepts only salts as long as the
// hash, as RFC 7518 section 3.5 demands. The methods that golang-jwt registers
// verify any salt length.
func strictPSS(name string, hash crypto.Hash) jwt.SigningMethod {
	return &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: &jwt.SigningMethodRSA{Name: name, Hash: hash},
		Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	}
}
