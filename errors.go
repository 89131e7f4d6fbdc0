package chansec

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// What callers branch on, with errors.Is. The structs below carry the details, with errors.As.
var (
	// ErrPermission: the operation was decided and denied (HTTP: 403, or 401 where the credential is the reason).
	ErrPermission = errors.New("chansec: permission denied")
	// ErrUndecided: nobody could say whether the operation is allowed, so it was not done (HTTP: 503). An
	// error that is ErrUndecided is never also ErrPermission.
	ErrUndecided = errors.New("chansec: undecided")
	// ErrUnauthenticated: the credential proves nobody. Says no more, so that whoever tries learns nothing.
	ErrUnauthenticated = errors.New("chansec: not authenticated")
	// ErrExpired: the credential's time is over.
	ErrExpired = errors.New("chansec: expired")
	// ErrRevoked: what was allowed no longer is; it ends leases and claims, and refuses revoked tokens.
	ErrRevoked = errors.New("chansec: revoked")
	// ErrGrant: the credential does not reach as far as that operation on that channel.
	ErrGrant = errors.New("chansec: not covered by the credential's grant")

	// ErrInvalid: an argument makes no sense; see InvalidError.
	ErrInvalid = errors.New("chansec: invalid")
	// ErrNotAccepting: the channel is not started, or is draining, and takes no messages.
	ErrNotAccepting = errors.New("chansec: the channel is not accepting writes")
	// ErrUnknownChannel: a remote channel does not exist, and the caller would be allowed to use it if it did.
	ErrUnknownChannel = errors.New("chansec: no such channel")
	// ErrClosed: the channel, lease or subscription was closed.
	ErrClosed = errors.New("chansec: closed")
	// ErrFull: a work queue holds all it may hold; acknowledge or raise WithMaxMessages. Nothing was lost.
	ErrFull = errors.New("chansec: the channel is full")
	// ErrLimit: a bound of this channel or security was reached; nothing was changed.
	ErrLimit = errors.New("chansec: limit reached")
	// ErrLagged: retention discarded messages before they were read; see LaggedError.
	ErrLagged = errors.New("chansec: messages were missed")
	// ErrUnknownMessage: the channel never had a message of that ID.
	ErrUnknownMessage = errors.New("chansec: unknown message")
	// ErrUnknownKey: a keyed channel holds nothing under that key.
	ErrUnknownKey = errors.New("chansec: nothing is held under that key")
	// ErrChanged: a keyed channel holds another message under the key than the one that was to be replaced.
	ErrChanged = errors.New("chansec: the message of the key is another one")
	// ErrClaimLost: the claim ended before (acknowledged, given back, timed out and taken over, or revoked).
	ErrClaimLost = errors.New("chansec: the claim is no longer held")
	// ErrUnsupported: channels of that kind do not have the operation.
	ErrUnsupported = errors.New("chansec: not an operation of this kind of channel")
	// ErrBusy: somebody is already ranging over the messages of that lease.
	ErrBusy = errors.New("chansec: the lease is being read")
	// ErrSecurityFixed: the security cannot be changed after Start or the first operation.
	ErrSecurityFixed = errors.New("chansec: the security is fixed once the channel is in use")
	// ErrSecurityRequired: RequireSecurity was asked for and no security was set.
	ErrSecurityRequired = errors.New("chansec: no security was set: use WithSecurity or SetSecurity")
	// ErrNoSigner: the security holds no key that it could sign with.
	ErrNoSigner = errors.New("chansec: no signing key")
	// ErrNotKept: a revocation is in force in this process, but its backend failed, so that it may be lost at a restart and
	// not reach others. Do it again.
	ErrNotKept = errors.New("chansec: revoked here, but the backend did not keep it")
	// ErrAudit: a required audit sink did not take the event. It is also ErrUndecided.
	ErrAudit = fmt.Errorf("%w: the audit sink failed", ErrUndecided)
)

// InvalidError says which argument was refused and what would be right. It is ErrInvalid.
type InvalidError struct {
	What  string // the argument, such as "channel id"
	Value string // as given, quoted and shortened; empty where it may be secret
	Want  string // what would be right
}

func (e *InvalidError) Error() string {
	if e.Value == "" {
		return "chansec: invalid " + e.What + ": want " + e.Want
	}
	return "chansec: invalid " + e.What + " " + e.Value + ": want " + e.Want
}

// Is makes the error ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

func invalid(what, value, want string) error {
	return &InvalidError{What: what, Value: quote(value), Want: want}
}

// quote shortens and quotes text that came from outside, so that an error stays one short line.
func quote(s string) string {
	const most = 64
	n := min(most, len(s))
	q := strconv.Quote(s[:n])
	for len(q) > 2*most+2 { // escapes
		n /= 2
		q = strconv.Quote(s[:n])
	}
	if n == len(s) {
		return q
	}
	return q + "... (" + strconv.Itoa(len(s)) + " bytes)"
}

// because is the end of an error's text.
func because(cause error) string {
	if cause == nil {
		return ""
	}
	return ": " + cause.Error()
}

// PermissionError is a denial. It is ErrPermission, and whatever Cause is: ErrExpired, ErrRevoked or ErrGrant where the
// credential is the reason.
type PermissionError struct {
	SystemID  string
	ChannelID string
	Operation Operation
	Reason    string
	Cause     error // nil where the security simply said no
}

func (e *PermissionError) Error() string {
	return "chansec: permission denied: " + quote(e.SystemID) + " may not " + e.Operation.text() + " on " +
		quote(e.ChannelID) + ": " + e.Reason
}

// Is makes the error ErrPermission.
func (e *PermissionError) Is(target error) bool { return target == ErrPermission }

// Unwrap returns the cause.
func (e *PermissionError) Unwrap() error { return e.Cause }

// UndecidedError says that an authorizer or a required audit sink failed. It is ErrUndecided and whatever Cause is, but
// never ErrPermission.
type UndecidedError struct {
	ChannelID string
	Operation Operation
	Cause     error
}

func (e *UndecidedError) Error() string {
	return "chansec: undecided: " + e.Operation.text() + " on " + quote(e.ChannelID) + because(e.Cause)
}

// Is makes the error ErrUndecided.
func (e *UndecidedError) Is(target error) bool { return target == ErrUndecided }

// Unwrap returns the cause.
func (e *UndecidedError) Unwrap() error { return e.Cause }

// StaleError says that it is not known any more what others revoked: see JWTMaxStaleness. It is ErrUndecided, and nothing
// else: Err is why another call failed, and says nothing about the credential or the context of this one.
type StaleError struct {
	Since time.Time     // when the last Refresh that succeeded began
	Limit time.Duration // of JWTMaxStaleness
	Err   error         // why the last one since failed; nil if there was none, or it has not returned
}

func (e *StaleError) Error() string {
	return "chansec: the revocations that are known are older than " + e.Limit.String() + ": they were read at " +
		e.Since.UTC().Format(time.RFC3339) + because(e.Err)
}

// Is makes the error ErrUndecided.
func (e *StaleError) Is(target error) bool { return target == ErrUndecided }

// RevokedError ends a lease that was cut. It is ErrRevoked, and whatever Cause is: the denial, or the failure to decide,
// that the guard met when it asked again. An expired credential makes it ErrExpired as well.
type RevokedError struct {
	At    time.Time
	Cause error
}

func (e *RevokedError) Error() string { return "chansec: revoked" + because(e.Cause) }

// Is makes the error ErrRevoked.
func (e *RevokedError) Is(target error) bool { return target == ErrRevoked }

// Unwrap returns the cause.
func (e *RevokedError) Unwrap() error { return e.Cause }

// LaggedError tells a reader or lease that it fell behind what the channel retains. Reading goes on at the oldest message
// that is still there. It is ErrLagged.
type LaggedError struct {
	Missed uint64 // how many messages are gone
	AtMost bool   // Missed is an upper bound: the backend cannot tell exactly. The one in memory can
}

func (e *LaggedError) Error() string {
	return "chansec: " + strconv.FormatUint(e.Missed, 10) + " messages were discarded before they were read"
}

// Is makes the error ErrLagged.
func (e *LaggedError) Is(target error) bool { return target == ErrLagged }
