package sqlstore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
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

// ErrKey: what logs a user in cannot be read. The error is a KeyError.
var ErrKey = errors.New("sqlstore: the key of a user cannot be read")

// KeyError says which key it takes to read what logs a user in. It is ErrKey.
type KeyError struct {
	ID    string // of the sealing key
	Given bool   // there is one of that ID among the UserOptions, and it does not open what is stored
}

func (e *KeyError) Error() string {
	if e.Given {
		return ErrKey.Error() + ": the sealing key " + quote(e.ID) + " does not open it: another one was given under that ID, or what is stored was changed"
	}
	return ErrKey.Error() + ": it takes the sealing key " + quote(e.ID) + ", which was not given"
}

// Unwrap returns ErrKey.
func (*KeyError) Unwrap() error { return ErrKey }

// Check returns an error that is chansec.ErrInvalid unless the key is one that can be used.
func (k SealingKey) Check() error {
	if !isWord(k.ID, 64) {
		return &chansec.InvalidError{What: "ID of a sealing key", Value: quote(k.ID), Want: "1 to 64 letters, digits, _ or -"}
	}
	if len(k.Key) != 32 {
		return &chansec.InvalidError{What: "sealing key " + quote(k.ID), Value: strconv.Itoa(len(k.Key)) + " bytes", Want: "32 bytes"}
	}
	return nil
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
		if err := k.Check(); err != nil {
			return nil, err
		}
		if r.opens[k.ID] != nil {
			return nil, &chansec.InvalidError{What: "ID of a sealing key", Value: quote(k.ID), Want: "another one for each key"}
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

// open is the reverse of seal. Its error is a KeyError.
func (r *ring) open(sealed, id, of string) (string, error) {
	if id == "" {
		return sealed, nil
	}
	a := r.opens[id]
	if a == nil {
		return "", &KeyError{ID: id}
	}
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(raw) < a.NonceSize() {
		return "", &KeyError{ID: id, Given: true}
	}
	text, err := a.Open(nil, raw[:a.NonceSize()], raw[a.NonceSize():], []byte(of))
	if err != nil {
		return "", &KeyError{ID: id, Given: true}
	}
	return string(text), nil
}

// proofs is how many users may have been damaged before a key that opens none of them is taken for a wrong one.
const proofs = 16

// check returns a KeyError unless the keys are those that users are sealed with: each that is in use opens somebody. Without
// this rule, whoever lacks a key would store beside what is sealed what the others cannot read, or everybody can.
func (r *ring) check(ctx context.Context, q querier) error {
	for id := ""; ; {
		if err := q.QueryRowContext(ctx, `select coalesce(min(key_id), '') from "user" where key_id > $1`, id).Scan(&id); err != nil || id == "" {
			return err
		}
		wrong := error(&KeyError{ID: id})
		if err := collect(ctx, q, `select id, password from "user" where key_id = $1 limit `+strconv.Itoa(proofs), []any{id}, func(row scanner) error {
			var of int64
			var sealed string
			if err := row.Scan(&of, &sealed); err != nil {
				return err
			}
			if _, err := r.open(sealed, id, ofUser(of)); err == nil || wrong != nil {
				wrong = err
			}
			return nil
		}); err != nil {
			return err
		}
		if wrong != nil {
			return wrong
		}
	}
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
