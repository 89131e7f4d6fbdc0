package token

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// Door verifies the tokens of one [Profile]. It is immutable and may be used
// concurrently; verifying takes no lock. The zero Door and a nil *Door refuse
// every token.
type Door struct {
	profile Profile
	known   []string  // names of all claims that have a meaning
	parts   sync.Pool // of *parts
	tokens  sync.Pool // of *Token, for Borrow
	seed    maphash.Seed
	headers [8]atomic.Pointer[knownHeader]
}

// knownHeader is the header of a token that was verified. All tokens that a key
// signs usually have the same, so that it need not be read again.
type knownHeader struct {
	text string
	header
}

// maxKnownHeader bounds the text of a knownHeader.
const maxKnownHeader = 1 << 10

// NewDoor returns a door for a profile, or a *[ProfileError].
func NewDoor(profile Profile) (*Door, error) {
	profile, err := profile.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Door{
		profile: profile,
		known:   append(registeredClaims(), profile.Claims...),
		parts:   sync.Pool{New: func() any { return newParts() }},
		tokens:  sync.Pool{New: func() any { return new(Token) }},
		seed:    maphash.MakeSeed(),
	}, nil
}

// Verify returns what a token says if one of the keys verifies it and it meets
// the profile. Otherwise the token is nil and the error is a [Reason].
func (d *Door) Verify(keys *KeySet, text string) (*Token, error) {
	t, err := d.Borrow(keys, text)
	if err != nil {
		return nil, err
	}
	defer d.Return(t)
	own := t.WithoutClaims()
	own.claims = slices.Clone(t.claims)
	return &own, nil
}

// Borrow is [Door.Verify] for those who need the token for a short time only and
// then give it to [Door.Return].
func (d *Door) Borrow(keys *KeySet, text string) (*Token, error) {
	if d == nil || d.profile.Now == nil {
		return nil, UnknownKey
	}
	p := d.parts.Get().(*parts)
	defer d.parts.Put(p)

	if len(text) > d.profile.MaxBytes {
		return nil, TooLong
	}
	if !p.split(text) || len(p.payload) == 0 {
		return nil, Malformed
	}
	key, reason := d.verifySignature(keys, p)
	if reason != 0 {
		return nil, reason
	}
	t := d.tokens.Get().(*Token)
	t.Key = key
	reason = d.readClaims(t, string(p.payload))
	if reason == 0 {
		reason = d.checkTimes(t)
	}
	if reason == 0 {
		reason = d.checkParties(t)
	}
	if reason != 0 {
		d.Return(t)
		return nil, reason
	}
	return t, nil
}

// Return takes back the memory of a token that Borrow returned. Neither the
// token nor its claims may be used any more; values of claims may.
func (d *Door) Return(t *Token) {
	clear(t.claims)
	*t = Token{claims: t.claims[:0]}
	d.tokens.Put(t)
}

// Recheck tells whether a token that this door let in before is still valid at
// the present time. Its key may have been removed since; that is for the caller
// to find out.
func (d *Door) Recheck(t *Token) error {
	if d == nil || d.profile.Now == nil || t == nil || t.Key == nil {
		return BadClaims
	}
	if reason := d.checkTimes(t); reason != 0 {
		return reason
	}
	return nil
}

// verifySignature reads the header of a token that was taken apart and returns
// the key that verifies it.
func (d *Door) verifySignature(keys *KeySet, p *parts) (*Key, Reason) {
	place := &d.headers[maphash.Bytes(d.seed, p.header)%uint64(len(d.headers))]
	if known := place.Load(); known != nil && known.text == string(p.header) {
		return keys.verify(p, known.header)
	}
	text := string(p.header)
	h, reason := parseHeader(text, &d.profile, p.members[:0])
	if reason != 0 {
		return nil, reason
	}
	key, reason := keys.verify(p, h)
	if reason == 0 && len(text) <= maxKnownHeader {
		place.Store(&knownHeader{text, h})
	}
	return key, reason
}
