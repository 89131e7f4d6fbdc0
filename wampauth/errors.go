package wampauth

import (
	"strconv"

	"github.com/chansec/chansec"
)

// Why a login is refused. Their texts go to the client, and say nothing of whether the login exists; the cause is logged.
var (
	// ErrLogin: the client proved nobody. It is chansec.ErrUnauthenticated.
	ErrLogin error = &refusal{"authentication failed", chansec.ErrUnauthenticated}
	// ErrAttempts: too many attempts for that login, whether it exists or not, or from that address. It is chansec.ErrLimit.
	ErrAttempts error = &refusal{"too many attempts: try again later", chansec.ErrLimit}
	// ErrSessions: a bound of the guard was reached. It is chansec.ErrLimit.
	ErrSessions error = &refusal{"too many sessions: try again later", chansec.ErrLimit}
	// ErrUnavailable: it could not be found out, or not recorded, or the guard is not started. It is chansec.ErrUndecided.
	ErrUnavailable error = &refusal{"logging in is not possible now: try again later", chansec.ErrUndecided}
)

// ErrNoSession: no session of that number or login is open.
var ErrNoSession error = &refusal{"no such session", nil}

// errUndecided is what a client is told about an action on which nobody could decide.
var errUndecided error = &refusal{"it could not be decided whether that is allowed: try again later", chansec.ErrUndecided}

type refusal struct {
	text string
	is   error
}

func (r *refusal) Error() string { return "wampauth: " + r.text }

func (r *refusal) Unwrap() error { return r.is }

func invalid(what, value, want string) error {
	return &chansec.InvalidError{What: what, Value: value, Want: want}
}

// quote shortens and quotes a text, so that an error stays one short line.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "... (" + strconv.Itoa(len(s)) + " bytes)"
	}
	return strconv.Quote(s)
}
