package wampauth

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
)

// Keys finds what is kept of the secrets of logins. It may be called from many goroutines at once.
type Keys interface {
	// Key returns the key material of a login. One that does not exist, or is not active, has a [Decoy], so that nobody can tell;
	// an error is for what could not be found out.
	Key(ctx context.Context, login string) (Key, error)
}

// KeysFunc makes Keys of a function.
type KeysFunc func(ctx context.Context, login string) (Key, error)

// Key calls f.
func (f KeysFunc) Key(ctx context.Context, login string) (Key, error) { return f(ctx, login) }

// Bounds of a Key.
const (
	MinIterations     = 100_000
	DefaultIterations = 200_000
	MaxIterations     = 10_000_000

	keyBytes  = 32
	saltBytes = 32
)

// Key is what WAMP-CRA takes of a secret (sqlauth.md 8). Who has it can log in: it is as secret as the secret.
type Key struct {
	Key        []byte // the derived key in base64, as text, which is what the client signs with
	Salt       string
	Iterations int
	KeyLength  int // of the derived key, in bytes
}

// NewKey derives a key from a secret, with a random salt: base64(PBKDF2-HMAC-SHA256), as clients of WAMP-CRA do. Iterations are
// MinIterations to MaxIterations; 0 is DefaultIterations. Use the same for all logins, and their decoys.
func NewKey(secret string, iterations int) (Key, error) {
	if secret == "" {
		return Key{}, invalid("secret", "", "one that is not empty")
	}
	salt := make([]byte, saltBytes)
	rand.Read(salt) // it never fails
	k := Key{Salt: base64.StdEncoding.EncodeToString(salt), Iterations: iterations, KeyLength: keyBytes}
	if iterations == 0 {
		k.Iterations = DefaultIterations
	}
	if err := checkIterations(k.Iterations); err != nil {
		return Key{}, err
	}
	derived, err := pbkdf2.Key(sha256.New, secret, []byte(k.Salt), k.Iterations, k.KeyLength)
	if err != nil {
		return Key{}, fmt.Errorf("wampauth: deriving a key: %w", err)
	}
	k.Key = []byte(base64.StdEncoding.EncodeToString(derived))
	return k, nil
}

// Decoy returns the key material of a login that does not exist: it looks like that of NewKey with so many iterations, is the
// same each time, and no secret fits it. The server secret, of 32 bytes or more, is known to nobody else and never changes.
func Decoy(serverSecret []byte, login string, iterations int) (Key, error) {
	if len(serverSecret) < keyBytes {
		return Key{}, invalid("server secret", "", "32 bytes or more")
	}
	if err := checkIterations(iterations); err != nil {
		return Key{}, err
	}
	of := func(what string) string {
		mac := hmac.New(sha256.New, serverSecret)
		mac.Write([]byte(what + "\x00" + login))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return Key{Key: []byte(of("decoy key")), Salt: of("decoy salt"), Iterations: iterations, KeyLength: keyBytes}, nil
}

func checkIterations(n int) error {
	if n < MinIterations || n > MaxIterations {
		return invalid("number of iterations", strconv.Itoa(n), strconv.Itoa(MinIterations)+" to "+strconv.Itoa(MaxIterations))
	}
	return nil
}

// check refuses what nobody may log in with.
func (k Key) check() error {
	switch {
	case len(k.Key) == 0:
		return invalid("key", "", "a derived key in base64")
	case k.Salt == "":
		return invalid("salt of a key", "", "one that is not empty")
	case k.KeyLength < 16:
		return invalid("length of a key", strconv.Itoa(k.KeyLength), "16 bytes or more")
	}
	return checkIterations(k.Iterations)
}

// Format prints the name of the type only.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "wampauth.Key") }

// MaxName is how long a login, a topic and a procedure may be, in bytes (sqlauth.md 11).
const MaxName = 255

// isLogin reports whether a text is in the alphabet of logins (sqlauth.md 6).
func isLogin(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case (c == '_' || c == '.' || c == '@' || c == '-') && i > 0:
		default:
			return false
		}
	}
	return s != "" && len(s) <= MaxName
}
