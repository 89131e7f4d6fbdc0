package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
)

// ErrKey matches every refusal of a key.
var ErrKey = errors.New("token: key refused")

// KeyProblem says why a key was refused. errors.Is matches it with itself and
// with [ErrKey]. Its text is constant and holds nothing of the key.
type KeyProblem string

// The reasons for which a key is refused.
const (
	UnknownAlgorithm KeyProblem = "unknown algorithm"
	WrongKeyType     KeyProblem = "key is missing or its type does not fit the algorithm"
	BadKeyID         KeyProblem = "key ID is too long, not UTF-8 or has control characters or U+FFFD"
	ShortSecret      KeyProblem = "secret is shorter than the hash of the algorithm"
	PEMSecret        KeyProblem = "secret is PEM text"
	BadModulusSize   KeyProblem = "RSA modulus has less than 2048 or more than 16384 bits"
	BadExponent      KeyProblem = "RSA public exponent is even or less than 65537"
	WeakModulus      KeyProblem = "RSA modulus is even or has the ROCA weakness"
	WrongCurve       KeyProblem = "curve does not fit the algorithm"
	BadPoint         KeyProblem = "public key is not a point on the curve or has a small order"
	BadPrivateKey    KeyProblem = "private key is invalid or does not fit its public key"
)

// Error returns the problem after the prefix "token: key refused: ".
func (p KeyProblem) Error() string { return ErrKey.Error() + ": " + string(p) }

// Is reports whether target is [ErrKey].
func (p KeyProblem) Is(target error) bool { return target == ErrKey }

// maxKeyIDBytes bounds a "kid".
const maxKeyIDBytes = 255

// Key is a key with the one algorithm it may be used for and an optional key
// ID. It is immutable, shares no memory with what it was made from and may be
// used concurrently. However it is printed, it shows only its algorithm. The
// zero Key and a nil *Key can neither sign nor verify.
type Key struct {
	material *material
}

// material is what a key consists of. What is secret is known only to the
// functions: fmt follows pointers, even unexported ones, but prints no more of a
// function than its address.
type material struct {
	id        string
	algorithm algorithm
	verify    func(*parts) bool
	sign      func(signed string) ([]byte, error) // nil if the key only verifies
}

// NewHMACKey returns a key that signs and verifies with HS256, HS384 or HS512.
// The secret must be at least as long as the output of the hash (RFC 7518
// section 3.2) and must not be PEM text, so that a public key can never serve
// as a secret. An empty id means that the key has none.
func NewHMACKey(id, alg string, secret []byte) (*Key, error) {
	m, err := newMaterial(id, alg)
	if err != nil {
		return nil, err
	}
	if m.algorithm.family != familyHMAC {
		return nil, WrongKeyType
	}
	hash := m.algorithm.hash
	if len(secret) < hash.Size() {
		return nil, ShortSecret
	}
	if bytes.Contains(secret, []byte("-----BEGIN")) {
		return nil, PEMSecret
	}
	macs := newMACPool(hash, secret)
	m.verify = macs.verify
	m.sign = func(signed string) ([]byte, error) { return macs.sum(nil, []byte(signed)), nil }
	return &Key{m}, nil
}

// NewVerifyKey returns a key that verifies: with RS256, RS384, RS512, PS256,
// PS384 or PS512 for an *[rsa.PublicKey], with ES256, ES384 or ES512 for an
// *[ecdsa.PublicKey] on the curve of the algorithm, and with EdDSA for an
// [ed25519.PublicKey]. An empty id means that the key has none.
func NewVerifyKey(id, alg string, public crypto.PublicKey) (*Key, error) {
	m, err := newMaterial(id, alg)
	if err != nil {
		return nil, err
	}
	var checked any
	switch public := public.(type) {
	case *rsa.PublicKey:
		checked, err = checkRSAPublic(m.algorithm, public)
	case *ecdsa.PublicKey:
		checked, err = checkECPublic(m.algorithm, public)
	case ed25519.PublicKey:
		checked, err = checkEdPublic(m.algorithm, public)
	default:
		err = WrongKeyType
	}
	if err != nil {
		return nil, err
	}
	m.setVerify(checked)
	return &Key{m}, nil
}

// NewSigningKey returns a key that signs and verifies, with the algorithms of
// [NewVerifyKey], for an *[rsa.PrivateKey], an *[ecdsa.PrivateKey] or an
// [ed25519.PrivateKey]. Other signers are refused: their key cannot be checked.
// An empty id means that the key has none.
func NewSigningKey(id, alg string, private crypto.Signer) (*Key, error) {
	m, err := newMaterial(id, alg)
	if err != nil {
		return nil, err
	}
	var checked, public any
	switch private := private.(type) {
	case *rsa.PrivateKey:
		checked, public, err = checkRSAPrivate(m.algorithm, private)
	case *ecdsa.PrivateKey:
		checked, public, err = checkECPrivate(m.algorithm, private)
	case ed25519.PrivateKey:
		checked, public, err = checkEdPrivate(m.algorithm, private)
	default:
		err = WrongKeyType
	}
	if err != nil {
		return nil, err
	}
	m.setVerify(public)
	m.sign = func(signed string) ([]byte, error) { return m.algorithm.method.Sign(signed, checked) }
	return &Key{m}, nil
}

func newMaterial(id, alg string) (*material, error) {
	a, ok := findAlgorithm(alg)
	if !ok {
		return nil, UnknownAlgorithm
	}
	if id != "" && !isName(id, maxKeyIDBytes) {
		return nil, BadKeyID
	}
	return &material{id: id, algorithm: a}, nil
}

func (m *material) setVerify(public any) {
	hash := m.algorithm.hash
	switch public := public.(type) {
	case *rsa.PublicKey:
		if m.algorithm.pss {
			// RFC 7518 section 3.5 demands salts as long as the hash.
			options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			m.verify = func(p *parts) bool {
				return rsa.VerifyPSS(public, hash, p.digest(hash), p.signature, options) == nil
			}
			return
		}
		m.verify = func(p *parts) bool {
			return rsa.VerifyPKCS1v15(public, hash, p.digest(hash), p.signature) == nil
		}
	case *ecdsa.PublicKey:
		m.verify = func(p *parts) bool {
			der, ok := p.derSignature((public.Params().BitSize + 7) / 8)
			return ok && ecdsa.VerifyASN1(public, p.digest(hash), der)
		}
	case ed25519.PublicKey:
		m.verify = func(p *parts) bool { return ed25519.Verify(public, p.signed, p.signature) }
	}
}

// ID returns the key ID, which is empty if the key has none.
func (k *Key) ID() string {
	if !k.CanVerify() {
		return ""
	}
	return k.material.id
}

// Algorithm returns the name of the algorithm, such as "HS256".
func (k *Key) Algorithm() string {
	if !k.CanVerify() {
		return ""
	}
	return k.material.algorithm.name
}

// CanVerify reports whether the key can verify, as every key can that a
// constructor returned.
func (k *Key) CanVerify() bool { return k != nil && k.material != nil }

// CanSign reports whether the key can sign.
func (k *Key) CanSign() bool {
	return k.CanVerify() && k.material.sign != nil
}

func (k *Key) isHMAC() bool { return k.material.algorithm.family == familyHMAC }

// String returns the algorithm of the key.
func (k *Key) String() string { return "token.Key(" + k.Algorithm() + ")" }

// GoString returns the same as [Key.String].
func (k *Key) GoString() string { return k.String() }

// Format prints the same as [Key.String] for every verb.
func (k *Key) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, k.String()) }
