package sqlstore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"

	"github.com/chansec/chansec"
)

// SealingKey encrypts at rest what logs users in.
type SealingKey struct {
	ID  string // that rows remember, 1 to 64 letters, digits, _ or -
	Key []byte `json:"-"` // 32 bytes: AES-256-GCM
}

// Format writes the ID only, whatever the verb.
func (k SealingKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "sealing key "+k.ID) }

// ring is the keys that open; the first of them seals. An empty ring leaves everything as it is.
type ring struct {
	seals string // the ID of the first
	opens map[string]cipher.AEAD
}

func newRing(keys []SealingKey) (*ring, error) {
	r := &ring{opens: map[string]cipher.AEAD{}}
	for i, k := range keys {
		if !isWord(k.ID, 64) || r.opens[k.ID] != nil {
			return nil, &chansec.InvalidError{What: "ID of a sealing key", Value: quote(k.ID), Want: "1 to 64 letters, digits, _ or -, another one for each key"}
		}
		if len(k.Key) != 32 {
			return nil, &chansec.InvalidError{What: "sealing key " + k.ID, Value: strconv.Itoa(len(k.Key)) + " bytes", Want: "32 bytes"}
		}
		block, err := aes.NewCipher(k.Key)
		if err != nil {
			return nil, fmt.Errorf("sqlstore: sealing key %s: %w", k.ID, err)
		}
		if r.opens[k.ID], err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("sqlstore: sealing key %s: %w", k.ID, err)
		}
		if i == 0 {
			r.seals = k.ID
		}
	}
	return r, nil
}

// seal returns a text as it is stored, and the ID of the key that it takes to read it. What it belongs to is bound to it,
// so that it can't be moved to somebody else.
func (r *ring) seal(text, of string) (sealed, id string) {
	if r.seals == "" {
		return text, ""
	}
	a := r.opens[r.seals]
	nonce := make([]byte, a.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.StdEncoding.EncodeToString(a.Seal(nonce, nonce, []byte(text), []byte(of))), r.seals
}

// open is the reverse of seal. Its error is ErrKey.
func (r *ring) open(sealed, id, of string) (string, error) {
	if id == "" {
		return sealed, nil
	}
	a := r.opens[id]
	if a == nil {
		return "", fmt.Errorf("%w: it takes the sealing key %s, which Options does not have", ErrKey, quote(id))
	}
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(raw) < a.NonceSize() {
		return "", fmt.Errorf("%w: what is stored is not what was sealed", ErrKey)
	}
	text, err := a.Open(nil, raw[:a.NonceSize()], raw[a.NonceSize():], []byte(of))
	if err != nil {
		return "", fmt.Errorf("%w: the sealing key %s does not open it, or it is another row's", ErrKey, quote(id))
	}
	return string(text), nil
}

// isWord reports whether a text is letters, digits, _ and -.
func isWord(s string, most int) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= most
}
