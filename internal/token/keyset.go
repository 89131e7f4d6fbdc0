package token

import (
	"errors"
	"slices"
)

// ErrKeySet matches every refusal of a key set.
var ErrKeySet = errors.New("token: key set refused")

// KeySetProblem says why a key set was refused. errors.Is matches it with
// itself and with [ErrKeySet]. Its text is constant.
type KeySetProblem string

// The reasons for which a key set is refused.
const (
	EmptyKeySet    KeySetProblem = "no keys"
	TooManyKeys    KeySetProblem = "more than 16 keys"
	UnusableKey    KeySetProblem = "a key is nil or zero"
	DuplicateKeyID KeySetProblem = "two keys have the same ID"
	MixedKeySet    KeySetProblem = "HMAC keys beside public keys"
)

// Error returns the problem after the prefix "token: key set refused: ".
func (p KeySetProblem) Error() string { return ErrKeySet.Error() + ": " + string(p) }

// Is reports whether target is [ErrKeySet].
func (p KeySetProblem) Is(target error) bool { return target == ErrKeySet }

// MaxKeys is how many keys a [KeySet] may hold. A token without a key ID is
// tried with every key of its algorithm, so this bounds what it costs.
const MaxKeys = 16

// KeySet is an immutable set of keys that tokens are verified with. It may be
// used concurrently. The zero KeySet and a nil *KeySet verify nothing.
type KeySet struct {
	keys []*Key
}

// NewKeySet returns a set of one to [MaxKeys] keys. Several keys may have no
// ID; otherwise IDs are unique. HMAC keys and public keys do not mix, so that
// no token can have one taken for the other.
func NewKeySet(keys ...*Key) (*KeySet, error) {
	if len(keys) == 0 {
		return nil, EmptyKeySet
	}
	if len(keys) > MaxKeys {
		return nil, TooManyKeys
	}
	for i, key := range keys {
		if !key.CanVerify() {
			return nil, UnusableKey
		}
		if key.isHMAC() != keys[0].isHMAC() {
			return nil, MixedKeySet
		}
		sameID := func(other *Key) bool { return other.ID() == key.ID() }
		if key.ID() != "" && slices.ContainsFunc(keys[:i], sameID) {
			return nil, DuplicateKeyID
		}
	}
	return &KeySet{keys: slices.Clone(keys)}, nil
}

// find returns the key with an ID, or nil. The empty ID is that of no key.
func (s *KeySet) find(id string) *Key {
	for _, key := range s.keys {
		if id != "" && id == key.ID() {
			return key
		}
	}
	return nil
}

// verify returns the key that verifies the token. A key ID in the header
// selects exactly one key; without it, the keys of the algorithm are tried in
// their order.
func (s *KeySet) verify(p *parts, h header) (*Key, Reason) {
	if s == nil {
		return nil, UnknownKey
	}
	candidates := s.keys
	if h.hasKeyID {
		key := s.find(h.keyID)
		if key == nil {
			return nil, UnknownKey
		}
		candidates = []*Key{key}
	}
	refusal := WrongAlg
	for _, key := range candidates {
		if key.Algorithm() != h.algorithm {
			continue
		}
		if key.material.verify(p) {
			return key, 0
		}
		refusal = BadSignature
	}
	return nil, refusal
}
