package token

import (
	"crypto"
	"crypto/elliptic"

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
	hash   crypto.Hash       // for all but Ed25519
	pss    bool              // for RSA: RSASSA-PSS and not PKCS #1 v1.5
	curve  elliptic.Curve    // for EC
	method jwt.SigningMethod // signs, with all but HMAC
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
		a.family, a.hash, a.method = familyRSA, crypto.SHA256, jwt.SigningMethodRS256
	case "RS384":
		a.family, a.hash, a.method = familyRSA, crypto.SHA384, jwt.SigningMethodRS384
	case "RS512":
		a.family, a.hash, a.method = familyRSA, crypto.SHA512, jwt.SigningMethodRS512
	case "PS256":
		a.family, a.hash, a.pss, a.method = familyRSA, crypto.SHA256, true, jwt.SigningMethodPS256
	case "PS384":
		a.family, a.hash, a.pss, a.method = familyRSA, crypto.SHA384, true, jwt.SigningMethodPS384
	case "PS512":
		a.family, a.hash, a.pss, a.method = familyRSA, crypto.SHA512, true, jwt.SigningMethodPS512
	case "ES256":
		a.family, a.hash, a.curve, a.method = familyEC, crypto.SHA256, elliptic.P256(), jwt.SigningMethodES256
	case "ES384":
		a.family, a.hash, a.curve, a.method = familyEC, crypto.SHA384, elliptic.P384(), jwt.SigningMethodES384
	case "ES512":
		a.family, a.hash, a.curve, a.method = familyEC, crypto.SHA512, elliptic.P521(), jwt.SigningMethodES512
	case "EdDSA":
		a.family, a.method = familyEd25519, jwt.SigningMethodEdDSA
	default:
		return algorithm{}, false
	}
	return a, true
}
