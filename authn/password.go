package authn

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/chansec/chansec"
)

// ProofPassword is a password that was compared with what is stored.
const ProofPassword chansec.Proof = "password"

// Costs of a password, in rounds of PBKDF2.
const (
	DefaultIterations = 600_000   // about 0.1 to 0.3 s of one core
	MaxIterations     = 6_000_000 // of anything that is read: a hash that costs more is refused, not computed
)

// MaxPassword is how long a password may be, in bytes.
const MaxPassword = 1024

// pbkdf2Mark is how a hash of ours begins (diffusion.md 12).
const pbkdf2Mark = "$pbkdf2-sha256$"

// HashPassword returns what to store of a password: $pbkdf2-sha256$i=600000$<salt>$<hash>, with a new random salt of 16
// bytes, both in base64 without padding. 0 iterations are DefaultIterations; fewer than these are for tests.
func HashPassword(password string, iterations int) (string, error) {
	setDefault(&iterations, DefaultIterations)
	switch {
	case iterations < 1 || iterations > MaxIterations:
		return "", invalid("iterations of a password", strconv.Itoa(iterations), "1 to 6000000, or 0 for 600000")
	case password == "" || len(password) > MaxPassword || !isText([]byte(password)):
		return "", invalid("password", "", "1 to 1024 bytes of UTF-8 without NUL")
	}
	p, err := newPassword(password, iterations)
	if err != nil {
		return "", err
	}
	return p.write(), nil
}

// newPassword hashes a password with a new random salt.
func newPassword(password string, iterations int) (*Password, error) {
	p := &Password{method: ours, iterations: iterations, salt: make([]byte, 16)}
	_, _ = rand.Read(p.salt) // never fails
	var err error
	if p.key, err = p.derive([]byte(password), iterations); err != nil { // a program in FIPS mode takes no short passwords
		return nil, fmt.Errorf("authn: a password could not be hashed: %w", err)
	}
	return p, nil
}

// write returns a hash of ours as it is stored.
func (p *Password) write() string {
	b := base64.RawStdEncoding
	return pbkdf2Mark + "i=" + strconv.Itoa(p.iterations) + "$" + b.EncodeToString(p.salt) + "$" + b.EncodeToString(p.key)
}

// Password is what is stored of a password. Its zero value is that of nobody. It writes itself without what it is.
type Password struct {
	method     method
	iterations int // 0: clear text
	salt       []byte
	key        []byte // or of clear text the SHA-256
}

// Format writes a mark, whatever the verb.
func (Password) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(password)")) }

// MarshalJSON returns the mark.
func (Password) MarshalJSON() ([]byte, error) { return []byte(`"(password)"`), nil }

// method is a way to make a key of a password.
type method struct {
	hash   string
	length int // of the key in bytes
}

const sha256Name = "sha256"

// ours is how hashes of ours are made.
var ours = method{sha256Name, sha256.Size}

// hashes is what PBKDF2 may be made of, under the names that deepstream has.
var hashes = map[string]func() hash.Hash{
	"md5": md5.New, "sha1": sha1.New, "sha224": sha256.New224, sha256Name: sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
	"sha3-256": func() hash.Hash { return sha3.New256() }, "sha3-512": func() hash.Hash { return sha3.New512() },
}

// rounds is the work of one iteration, in rounds of the hash: a long key takes several.
func (m method) rounds() int {
	return (m.length + hashes[m.hash]().Size() - 1) / hashes[m.hash]().Size()
}

func (p *Password) derive(password []byte, iterations int) ([]byte, error) {
	return pbkdf2.Key(hashes[p.method.hash], string(password), p.salt, iterations, p.method.length)
}

// ParsePassword reads what HashPassword returned. Its errors do not hold it.
func ParsePassword(text string) (Password, error) {
	wrong := invalid("password hash", "", "$pbkdf2-sha256$i=600000$<salt>$<hash>, as HashPassword makes it")
	rest, ok := strings.CutPrefix(text, pbkdf2Mark)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 3 {
		return Password{}, wrong
	}
	count, ok := strings.CutPrefix(parts[0], "i=")
	iterations, err := strconv.Atoi(count)
	if !ok || err != nil || strconv.Itoa(iterations) != count {
		return Password{}, wrong
	}
	if iterations < 1 || iterations > MaxIterations {
		return Password{}, invalid("iterations of a password", count, "1 to 6000000")
	}
	b := base64.RawStdEncoding.Strict()
	salt, err1 := b.DecodeString(parts[1])
	key, err2 := b.DecodeString(parts[2])
	if err1 != nil || err2 != nil || strings.ContainsAny(rest, "\r\n") || len(salt) < 8 || len(salt) > 64 || len(key) != sha256.Size {
		return Password{}, wrong
	}
	return Password{ours, iterations, salt, key}, nil
}

// DeepstreamHash is deepstream's settings for stored passwords (valve.md 15.2).
type DeepstreamHash struct {
	Hash       string // "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256" or "sha3-512"
	Iterations int
	KeyLength  int // in bytes
}

// maxKeyLength is in bytes.
const maxKeyLength = 1024

func (d DeepstreamHash) check() error {
	m := method{d.Hash, d.KeyLength}
	switch {
	case hashes[d.Hash] == nil:
		return invalid("hash", d.Hash, `"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256" or "sha3-512"`)
	case d.KeyLength < 1 || d.KeyLength > maxKeyLength:
		return invalid("keyLength", strconv.Itoa(d.KeyLength), "1 to 1024 bytes")
	case d.Iterations < 1 || d.Iterations > MaxIterations/m.rounds():
		return invalid("iterations", strconv.Itoa(d.Iterations), "at least 1, and for each part of a key that is as long as the hash 6000000 together at most")
	}
	return nil
}

// ParsePassword reads a stored password: the key in base64, and the text of the salt right after it. Its errors do not
// hold it.
func (d DeepstreamHash) ParsePassword(text string) (Password, error) {
	if err := d.check(); err != nil {
		return Password{}, err
	}
	n := base64.StdEncoding.EncodedLen(d.KeyLength)
	if len(text) < n || strings.ContainsAny(text[:n], "\r\n") || len(text) > n+maxKeyLength {
		return Password{}, invalid("password hash", "", "the key in base64 and the salt, made with these settings")
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text[:n])
	if err != nil || len(key) != d.KeyLength {
		return Password{}, invalid("password hash", "", "the key in base64 and the salt, made with these settings")
	}
	return Password{method{d.Hash, d.KeyLength}, d.Iterations, []byte(text[n:]), key}, nil
}

// clearPassword is a password that is stored as it is.
func clearPassword(text string) Password {
	key := sha256.Sum256([]byte(text))
	return Password{key: key[:]}
}

// weakness says what is wrong with what is stored, or "".
func (p *Password) weakness() string {
	switch {
	case p.iterations == 0:
		return "the password is in clear text"
	case p.method.hash != sha256Name && p.method.hash != "sha512":
		return "the hash is " + p.method.hash + ", not sha256"
	case p.method.length < 16:
		return "the key has " + strconv.Itoa(p.method.length) + " bytes, not 16 or more: wrong passwords may fit"
	case len(p.salt) < 8:
		return "the salt has " + strconv.Itoa(len(p.salt)) + " bytes, not 8 or more"
	case p.iterations < DefaultIterations && p.method.hash == sha256Name, p.iterations < 210_000:
		return "there are only " + strconv.Itoa(p.iterations) + " iterations"
	}
	return ""
}

// work is the iterations that a login costs by each method, whoever tries: the most that any of the users needs.
type work map[method]int

func (w work) include(p *Password) {
	if p.iterations > 0 {
		w[p.method] = max(w[p.method], p.iterations)
	}
}

// verify reports whether a password is right; nil is that of nobody. However it ends, and whoever it is, it takes the same
// work: what the user's own hash does not take is done for nothing.
func (w work) verify(stored *Password, password []byte) (bool, error) {
	known := stored != nil && stored.key != nil
	if !known {
		stored = &nobody
	}
	plain := sha256.Sum256(password)
	key := plain[:]
	if stored.iterations > 0 {
		var err error
		if key, err = stored.derive(password, stored.iterations); err != nil {
			return false, err
		}
	}
	for m, most := range w {
		if m == stored.method {
			most -= stored.iterations
		}
		if most > 0 {
			if _, err := (&Password{method: m, salt: nobody.key}).derive(password, most); err != nil {
				return false, err
			}
		}
	}
	return subtle.ConstantTimeCompare(key, stored.key) == 1 && known && isText(password), nil
}

// isText reports whether a password may be one at all. The key of an HMAC is the same with NULs after it, and the same as
// its hash if it is long, so that a password that is no text could be right where it is not the one that was stored.
func isText(password []byte) bool { return utf8.Valid(password) && bytes.IndexByte(password, 0) < 0 }

// nobody has a password that nothing is compared with but for the time it takes.
var nobody = Password{key: make([]byte, sha256.Size)}

// hashing bounds how many passwords are hashed at once, and how many wait for it.
type hashing struct {
	cores   chan struct{}
	waiting atomic.Int64
	queue   int64
}

func newHashing(cores, queue int) *hashing {
	setDefault(&cores, runtime.GOMAXPROCS(0))
	setDefault(&queue, DefaultQueue)
	return &hashing{cores: make(chan struct{}, cores), queue: int64(queue)}
}

// enter waits for a core, as long as the context lasts. Whoever entered leaves.
func (h *hashing) enter(ctx context.Context) error {
	select {
	case h.cores <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > h.queue {
		h.waiting.Add(-1)
		return ErrOverloaded
	}
	defer h.waiting.Add(-1)
	select {
	case h.cores <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hashing) leave() { <-h.cores }

// do runs f when there is a core for it.
func (h *hashing) do(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := h.enter(ctx); err != nil {
		return err
	}
	defer h.leave()
	return f()
}
