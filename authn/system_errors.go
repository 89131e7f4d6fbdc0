package authn

import "github.com/chansec/chansec/internal/script"

// Kind is why a change of a system authentication store was refused, and an error to compare with:
// errors.Is(err, authn.Locked). The names are those of diffusion.md 7.3 where it has one.
type Kind string

// The kinds.
const (
	Syntax           Kind = "syntax"           // a script that is not in the grammar
	InvalidArgument  Kind = "invalid-argument" // an empty or malformed name or password
	PrincipalExists  Kind = "principal-exists"
	NoSuchPrincipal  Kind = "no-such-principal"
	Locked           Kind = "locked"            // the principal is locked by another one
	PasswordMismatch Kind = "password-mismatch" // verify password with another password
	InvalidProperty  Kind = "invalid-property"  // a name that no user property can have
	InvalidRegex     Kind = "invalid-regex"     // not in RE2's syntax, or too large
	Limit            Kind = "limit"             // a bound of the store, or of how often passwords may be verified
	Conflict         Kind = "conflict"          // the store is at another revision, or its file is another
	Ended            Kind = "ended"             // a transaction that is over
)

func (k Kind) Error() string { return "authn: " + string(k) }

// Error says what was refused and what would be right. It is its Kind.
type Error struct {
	Kind  Kind
	What  string // such as "principal"
	Value string // as given; empty where it may be secret
	Want  string // what would be right
}

func (e *Error) Error() string {
	text := e.Kind.Error() + ": " + e.What
	if e.Value != "" {
		text += " " + script.Quote(e.Value)
	}
	return text + ": want " + e.Want
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

func refuse(kind Kind, what, value, want string) error {
	return &Error{Kind: kind, What: what, Value: value, Want: want}
}
