package policy

import (
	"strconv"

	"github.com/chansec/chansec/internal/script"
)

// Kind is why a change was refused, and an error to compare with: errors.Is(err, policy.Locked). The names are those of
// Diffusion where it has one.
type Kind string

// The kinds.
const (
	Syntax            Kind = "syntax"             // a script that is not in the grammar
	InvalidArgument   Kind = "invalid-argument"   // an empty or malformed name, or what this store's rule does not have
	InvalidPath       Kind = "invalid-path"       // the root, or a path that no channel can have
	UnknownPermission Kind = "unknown-permission" // not in the vocabulary, or of the other scope
	Locked            Kind = "locked"             // the role is locked by another principal
	Cycle             Kind = "cycle"              // a role would include itself
	NoSuchPrincipal   Kind = "no-such-principal"
	LastAdministrator Kind = "last-administrator" // nobody would be left who may change the store
	NoAdminRole       Kind = "no-admin-role"      // the role is not one that the actor administers
	NoAdminTopic      Kind = "no-admin-topic"     // nor is the path
	NotFound          Kind = "not-found"          // a role or topic that is not there
	Exists            Kind = "exists"             // what was to be added is there already
	InUse             Kind = "in-use"             // the topic of a role
	Limit             Kind = "limit"              // a bound of the store
	Conflict          Kind = "conflict"           // the store is at another revision
	Damaged           Kind = "damaged"            // what a backend holds is not what was written
	Ended             Kind = "ended"              // a transaction that is over
)

func (k Kind) Error() string { return "policy: " + string(k) }

// Error says what was refused and what would be right. It is its Kind.
type Error struct {
	Kind  Kind
	What  string // such as "path"
	Value string // as given; empty where it may be secret
	Want  string // what would be right
}

func (e *Error) Error() string {
	value := ""
	if e.Value != "" || e.What != "password" {
		value = " " + quote(e.Value)
	}
	return e.Kind.Error() + ": " + e.What + value + ": want " + e.Want
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

func refuse(kind Kind, what, value, want string) error {
	return &Error{Kind: kind, What: what, Value: value, Want: want}
}

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }

func quote(s string) string { return script.Quote(s) }
