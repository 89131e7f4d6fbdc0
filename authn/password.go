package authn

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/script"
)

// ProofPassword is a password that was compared with its hash.
const ProofPassword chansec.Proof = "password"

// Bounds of passwords and their hashes.
const (
	mostPasswordBytes  = 1024
	mostIterations     = 6_000_000 // of a hash that is read: one that costs more is refused, not computed
	saltBytes          = 16
	mostSaltBytes      = 64
	passwordHashPrefix = "$pbkdf2-sha256$" // diffusion.md 12
)

// isPassword reports whether somebody can have the password. Without control characters none is another with NULs behind
// it, which PBKDF2 would take for the same.
func isPassword(s string) bool { return s != "" && len(s) <= mostPasswordBytes && script.IsText(s) }

// passwordHash is what is stored of a password: PBKDF2 with HMAC-SHA-256. It is never changed, and prints nothing of itself.
type passwordHash struct {
	iterations int
	salt       []byte
	key        []byte
}

// newPasswordHash hashes a password with a random salt.
func newPasswordHash(password string, iterations int) (*passwordHash, error) {
	h := &passwordHash{iterations: iterations, salt: make([]byte, saltBytes)}
	_, _ = rand.Read(h.salt) // never fails
	var err error
	if h.key, err = h.derive(password, iterations); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *passwordHash) derive(password string, iterations int) ([]byte, error) {
	key, err := pbkdf2.Key(sha256.New, password, h.salt, iterations, sha256.Size)
	if err != nil { // a program in FIPS mode takes neither short salts nor short passwords
		return nil, fmt.Errorf("authn: %w", err)
	}
	return key, nil
}

// text returns the hash as a store's file holds it: $pbkdf2-sha256$i=600000$<salt>$<hash>, in base64 without padding.
func (h *passwordHash) text() string {
	b := base64.RawStdEncoding
	return passwordHashPrefix + "i=" + strconv.Itoa(h.iterations) + "$" + b.EncodeToString(h.salt) + "$" + b.EncodeToString(h.key)
}

// readPasswordHash reads what text returned, if it is exactly that and took at least so many iterations.
func readPasswordHash(text string, least int) (h *passwordHash, ok bool) {
	rest, marked := strings.CutPrefix(text, passwordHashPrefix+"i=")
	parts := strings.Split(rest, "$")
	if !marked || len(parts) != 3 {
		return nil, false
	}
	n, err := strconv.Atoi(parts[0])
	if err != nil || n < least || n > mostIterations {
		return nil, false
	}
	b := base64.RawStdEncoding.Strict()
	salt, err1 := b.DecodeString(parts[1])
	key, err2 := b.DecodeString(parts[2])
	h = &passwordHash{iterations: n, salt: salt, key: key}
	ok = err1 == nil && err2 == nil && len(salt) >= saltBytes && len(salt) <= mostSaltBytes && len(key) == sha256.Size && h.text() == text
	return h, ok
}

// Format writes what it is and nothing of it, whatever the verb.
func (*passwordHash) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(hash of a password)") }

// decoy is the hash of no password.
var decoy = &passwordHash{salt: make([]byte, saltBytes)}

// verifyPassword reports whether a password is that of the hash; nil is the hash of nobody. It takes work iterations in
// any case, which must be no fewer than the hash took: what the hash does not take is done for nothing.
func verifyPassword(h *passwordHash, password string, work int) (bool, error) {
	if !isPassword(password) {
		password = "\x00 which nobody's holds"
	}
	key := make([]byte, sha256.Size)
	left := work
	if h != nil {
		left -= h.iterations
		var err error
		if key, err = h.derive(password, h.iterations); err != nil {
			return false, err
		}
	}
	if left > 0 {
		if _, err := decoy.derive(password, left); err != nil {
			return false, err
		}
	}
	return h != nil && subtle.ConstantTimeCompare(key, h.key) == 1, nil
}

// hashers bounds how many passwords are hashed at once, which is work for a processor each, and how many wait for that.
type hashers struct {
	busy    chan struct{}
	waiting atomic.Int64
}

// mostWaiting bounds those who wait; at 0.1 s for a password and two processors it is six seconds.
const mostWaiting = 128

func newHashers() *hashers { return &hashers{busy: make(chan struct{}, runtime.GOMAXPROCS(0))} }

// do runs f when a processor is free, unless the context ends first. One password that is being hashed is not stopped.
func (h *hashers) do(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if h.waiting.Add(1) > mostWaiting {
		h.waiting.Add(-1)
		return refuse(Limit, "passwords to be hashed", "", "at most "+strconv.Itoa(mostWaiting)+" at a time")
	}
	select {
	case h.busy <- struct{}{}:
		h.waiting.Add(-1)
	case <-ctx.Done():
		h.waiting.Add(-1)
		return ctx.Err()
	}
	defer func() { <-h.busy }()
	return f()
}
