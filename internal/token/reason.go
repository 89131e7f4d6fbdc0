package token

import "errors"

// ErrInvalid matches every refusal of a token. It is all that a stranger
// should be told.
var ErrInvalid = errors.New("token: invalid")

// Reason says why a token was refused, for audit records and metrics. It is
// the error of [Door.Verify]; errors.Is matches it with itself and with
// [ErrInvalid]. Its text is constant and holds nothing of the token. The zero
// Reason is no valid reason.
type Reason uint8

// The reasons for which a token is refused.
const (
	TooLong       Reason = iota + 1 // longer than Profile.MaxBytes
	Malformed                       // not three parts of strict base64url
	BadHeader                       // no strict JSON object, or a parameter that is refused
	WrongType                       // "typ" is not the expected one
	WrongAlg                        // "alg" is not that of a key
	UnknownKey                      // "kid" names no key
	BadSignature                    // no key verifies it
	BadClaims                       // no strict JSON object, or a claim of wrong type or content
	Expired                         // "exp" has passed
	NotYetValid                     // "nbf" or "iat" lies in the future
	TooLongLived                    // "exp" lies too far in the future
	WrongIssuer                     // "iss" is not the expected one
	WrongAudience                   // "aud" does not name us
	reasonCount
)

// String returns the reason in words.
func (r Reason) String() string {
	switch r {
	case TooLong:
		return "too long"
	case Malformed:
		return "malformed"
	case BadHeader:
		return "bad header"
	case WrongType:
		return "wrong type"
	case WrongAlg:
		return "wrong algorithm"
	case UnknownKey:
		return "unknown key"
	case BadSignature:
		return "bad signature"
	case BadClaims:
		return "bad claims"
	case Expired:
		return "expired"
	case NotYetValid:
		return "not yet valid"
	case TooLongLived:
		return "lifetime too long"
	case WrongIssuer:
		return "wrong issuer"
	case WrongAudience:
		return "wrong audience"
	default:
		return "unknown reason"
	}
}

// Error returns the reason in words after the prefix "token: ".
func (r Reason) Error() string { return "token: " + r.String() }

// Is reports whether target is [ErrInvalid].
func (r Reason) Is(target error) bool { return target == ErrInvalid }
