package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"slices"

	"github.com/chansec/chansec/internal/strictjson"
	"github.com/chansec/chansec/internal/token"
)

// jwksProblem is why a document is no key set. Its text is constant.
type jwksProblem string

func (p jwksProblem) Error() string { return "authn: key set: " + string(p) }

const (
	jwksMalformed jwksProblem = "not strict JSON with a list of keys"
	jwksSecret    jwksProblem = "it publishes a symmetric or a private key"
	jwksDuplicate jwksProblem = "two keys have the same kid"
	jwksTooMany   jwksProblem = "more than 64 keys, or more than 16 that can be used"
	jwksUseless   jwksProblem = "no key that can be used with the algorithms of the issuer"
)

// maxJWKS is how many keys a document may have; token.MaxKeys of them may be usable.
const maxJWKS = 64

// jwksShape bounds the document: a set of keys, each with lists (x5c, key_ops).
var jwksShape = strictjson.Limits{Depth: 8, Items: 128}

// parseJWKS reads a JWK Set (RFC 7517 section 5) for verifying signatures with some algorithms. A key is left out if it is
// for something else (use, key_ops, alg), of an unknown type, malformed or too weak. The whole set is refused if it holds a
// symmetric or private key, which then is no secret any more, if two keys that can be used have the same kid, or if there is
// no key left.
func parseJWKS(text string, algorithms []string) (*token.KeySet, error) {
	document, err := strictjson.Object(text, nil, jwksShape)
	if err != nil {
		return nil, jwksMalformed
	}
	list := jwksMember(document, "keys")
	if list.Kind() != strictjson.KindArray {
		return nil, jwksMalformed
	}
	entries, ok := strictjson.Elements(list.Raw(), maxJWKS)
	if !ok {
		return nil, jwksTooMany
	}
	var keys []*token.Key
	ids := map[string]bool{}
	for _, entry := range entries {
		members, err := strictjson.Object(entry, nil, jwksShape)
		if err != nil {
			return nil, jwksMalformed
		}
		jwk := jwk(members)
		if kind, _ := jwk.text("kty"); kind == "oct" || jwk.has("d") || jwk.has("k") {
			return nil, jwksSecret
		}
		key := jwk.key(algorithms)
		if key == nil {
			continue
		}
		if id := key.ID(); id != "" {
			if ids[id] {
				return nil, jwksDuplicate
			}
			ids[id] = true
		}
		keys = append(keys, key)
	}
	switch {
	case len(keys) == 0:
		return nil, jwksUseless
	case len(keys) > token.MaxKeys:
		return nil, jwksTooMany
	}
	return token.NewKeySet(keys...)
}

func jwksMember(members []strictjson.Member, name string) strictjson.Value {
	for _, member := range members {
		if member.Name == name {
			return member.Value
		}
	}
	return strictjson.Value{}
}

// jwk is one key of a set (RFC 7517 section 4).
type jwk []strictjson.Member

func (k jwk) has(name string) bool { return jwksMember(k, name).Kind() != strictjson.KindNone }

func (k jwk) text(name string) (string, bool) { return jwksMember(k, name).Text() }

// bytes reads base64url without padding and unused bits.
func (k jwk) bytes(name string) []byte {
	text, _ := k.text(name)
	for _, c := range []byte(text) {
		if c == '\r' || c == '\n' { // which the decoder skips
			return nil
		}
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil
	}
	return decoded
}

// key returns what the key is for us, or nil.
func (k jwk) key(algorithms []string) *token.Key {
	if use, ok := k.text("use"); k.has("use") && !(ok && use == "sig") {
		return nil
	}
	if operations, ok := jwksMember(k, "key_ops").Strings(16); k.has("key_ops") && !(ok && slices.Contains(operations, "verify")) {
		return nil
	}
	id, ok := k.text("kid")
	if k.has("kid") && !(ok && id != "") {
		return nil
	}
	public := k.public()
	if public == nil {
		return nil
	}
	if k.has("alg") {
		algorithm, ok := k.text("alg")
		if !ok || !slices.Contains(algorithms, algorithm) {
			return nil
		}
		algorithms = []string{algorithm}
	}
	// A key that names no algorithm is bound to the first one that it fits: never to two.
	for _, algorithm := range algorithms {
		if key, err := token.NewVerifyKey(id, algorithm, public); err == nil {
			return key
		}
	}
	return nil
}

// public reads the key (RFC 7518 section 6, RFC 8037 section 2), or returns nil. Its strength is for token.NewVerifyKey.
func (k jwk) public() crypto.PublicKey {
	kind, _ := k.text("kty")
	curve, _ := k.text("crv")
	switch kind {
	case "RSA":
		n, e := new(big.Int).SetBytes(k.bytes("n")), new(big.Int).SetBytes(k.bytes("e"))
		if !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}
	case "EC":
		var on elliptic.Curve
		switch curve {
		case "P-256":
			on = elliptic.P256()
		case "P-384":
			on = elliptic.P384()
		case "P-521":
			on = elliptic.P521()
		default:
			return nil
		}
		x, y, size := k.bytes("x"), k.bytes("y"), (on.Params().BitSize+7)/8
		if len(x) != size || len(y) != size {
			return nil
		}
		public, err := ecdsa.ParseUncompressedPublicKey(on, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil
		}
		return public
	case "OKP":
		if x := k.bytes("x"); curve == "Ed25519" && len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x)
		}
	}
	return nil
}
