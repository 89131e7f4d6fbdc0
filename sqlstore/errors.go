package sqlstore

// Kind is why something was refused, and an error to compare with: errors.Is(err, sqlstore.Busy).
type Kind string

// The kinds.
const (
	InvalidArgument  Kind = "invalid-argument"  // an option or a name that cannot be right
	InvalidText      Kind = "invalid-text"      // text that not every database can hold: a NUL, or what is no UTF-8
	FutureSchema     Kind = "future-schema"     // the database was made by a newer version of this package
	ChangedMigration Kind = "changed-migration" // it was made by other migrations than this version has
	Busy             Kind = "busy"              // others kept the database locked for too long; nothing was changed
	Retry            Kind = "retry"             // the database gave up the caller's transaction: roll it back, and do it again
	Closed           Kind = "closed"            // the store
)

func (k Kind) Error() string { return "sqlstore: " + string(k) }

// Error says what was refused and what would be right. It is its Kind, and whatever Err is.
type Error struct {
	Kind  Kind
	What  string // such as "schema"
	Value string // as given, quoted; empty where it may be secret
	Want  string // what would be right
	Err   error  // may be nil
}

func (e *Error) Error() string {
	text := e.Kind.Error() + ": " + e.What
	if e.Value != "" {
		text += " " + e.Value
	}
	text += ": want " + e.Want
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the kind, and the cause if there is one.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

func refuse(kind Kind, what, value, want string) error {
	return &Error{Kind: kind, What: what, Value: value, Want: want}
}
