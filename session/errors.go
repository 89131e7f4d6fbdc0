package session

import (
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chansec/chansec"
)

// ErrClosed: the sessions were closed as a whole. It is chansec.ErrClosed.
var ErrClosed = fmt.Errorf("session: the sessions are %w", chansec.ErrClosed)

// Cause is why a session ended.
type Cause string

// The causes.
const (
	LoggedOut Cause = "logged out"
	Lost      Cause = "lost"    // its connection
	Kicked    Cause = "kicked"  // by somebody who may modify sessions
	Revoked   Cause = "revoked" // its authentication was, by somebody who may do that
	Expired   Cause = "expired" // the time that the login gave it, or Config.MaxAge
	Idle      Cause = "idle"    // for Config.MaxIdle
	Shutdown  Cause = "shut down"
	Abandoned Cause = "abandoned" // found open by a later run of the program, or never opened in full
)

// EndedError is what a session that is over says to all who ask who it is, and what ends its leases, claims and streams. It
// is chansec.ErrExpired if its time was over, and chansec.ErrRevoked otherwise.
type EndedError struct {
	Session string // its ID
	Cause   Cause
	By      string // the principal who ended it; empty where nobody in particular did
	Reason  string // what they said
	At      time.Time
}

func (e *EndedError) Error() string {
	text := "session: " + string(e.Cause)
	if e.By != "" {
		text += " by " + quote(e.By)
	}
	if e.Reason != "" {
		text += ": " + quote(e.Reason)
	}
	return text
}

// Is makes the error chansec.ErrExpired or chansec.ErrRevoked.
func (e *EndedError) Is(target error) bool {
	if e.Cause == Expired || e.Cause == Idle {
		return target == chansec.ErrExpired
	}
	return target == chansec.ErrRevoked
}

// LimitError says which bound was reached. Nothing was changed. It is chansec.ErrLimit.
type LimitError struct {
	What string // such as "sessions of a principal"
	Max  int
}

func (e *LimitError) Error() string {
	return "session: the limit of " + strconv.Itoa(e.Max) + " " + e.What + " is reached"
}

// Is makes the error chansec.ErrLimit.
func (e *LimitError) Is(target error) bool { return target == chansec.ErrLimit }

// AnotherError refuses a refresh that proved somebody else. The session stays whose it was. It is chansec.ErrUnauthenticated.
type AnotherError struct{ Session string }

func (e *AnotherError) Error() string {
	return "session: a refresh must prove the principal whose session it is; another takes ChangePrincipal"
}

// Is makes the error chansec.ErrUnauthenticated.
func (e *AnotherError) Is(target error) bool { return target == chansec.ErrUnauthenticated }

// AccessError says that somebody may not look at the sessions of others, or change them. Nothing was looked up. It is
// chansec.ErrPermission, and whatever Cause is.
type AccessError struct {
	Actor     string // who
	Operation string // such as "kick sessions"
	Needs     string // the permission
	Cause     error  // why the actor is nobody, or reaches no further; nil where they simply lack it
}

func (e *AccessError) Error() string {
	text := "session: " + quote(e.Actor) + " may not " + e.Operation + ": it takes " + e.Needs
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Is makes the error chansec.ErrPermission.
func (e *AccessError) Is(target error) bool { return target == chansec.ErrPermission }

// Unwrap returns the cause.
func (e *AccessError) Unwrap() error { return e.Cause }

// undecided is a failure of somebody who was asked, which is never also a denial.
func undecided(what string, cause error) error {
	if errors.Is(cause, chansec.ErrPermission) || errors.Is(cause, chansec.ErrUnauthenticated) {
		return fmt.Errorf("session: %s: %w: %v", what, chansec.ErrUndecided, cause)
	}
	return fmt.Errorf("session: %s: %w: %w", what, chansec.ErrUndecided, cause)
}

func invalid(what, value, want string) error {
	return &chansec.InvalidError{What: what, Value: quote(value), Want: want}
}

// quote shortens and quotes what came from outside, so that an error stays one short line.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "... (" + strconv.Itoa(len(s)) + " bytes)"
	}
	return strconv.Quote(s)
}

// checkText refuses what would not be one line of a log.
func checkText(what, s string, most int) error {
	ok := len(s) <= most && utf8.ValidString(s)
	for _, c := range s {
		ok = ok && !unicode.IsControl(c)
	}
	if !ok {
		return invalid(what, s, "at most "+strconv.Itoa(most)+" bytes of UTF-8 without control characters")
	}
	return nil
}
