package audit

import (
	"slices"
	"time"

	"github.com/chansec/chansec"
)

// Filter says which records are wanted, and in which order. Its zero value wants all, oldest first. Names are compared byte
// for byte.
type Filter struct {
	Kind      Kind              // empty: any
	Principal string            // empty: any
	Session   string            // empty: any
	Target    string            // the channel of a decision; empty: any
	Operation chansec.Operation // empty: any
	Outcomes  []chansec.Outcome // any of these; empty: any at all

	From time.Time // not before this; zero: from the beginning
	To   time.Time // before this; zero: up to now

	After  uint64 // only those with a higher number
	Before uint64 // only those with a lower number; 0: up to the last

	NewestFirst bool // by their numbers
	Limit       int  // yield no more than so many; 0: all
}

// Check returns a [chansec.InvalidError] for a filter that makes no sense.
func (f Filter) Check() error {
	switch {
	case f.Kind != "" && !slices.Contains(kinds, f.Kind):
		return invalid("kind to look for", string(f.Kind), "one of the Kind constants, or none")
	case f.Limit < 0:
		return invalid("limit of a query", "", "0 for all, or a positive number")
	case !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To):
		return invalid("time to look for", "", "a From before To")
	case f.Before != 0 && f.After >= f.Before-1:
		return invalid("numbers to look for", "", "an After that leaves something below Before")
	}
	for _, o := range f.Outcomes {
		if o > chansec.Undecided {
			return invalid("outcome to look for", o.String(), "one of the outcomes")
		}
	}
	return nil
}

// Matches reports whether a record is wanted, apart from the order and the limit.
func (f Filter) Matches(r Record) bool { return f.matches(&r) }

func (f *Filter) matches(r *Record) bool {
	switch {
	case f.Kind != "" && r.Kind != f.Kind,
		f.Principal != "" && r.Principal != f.Principal,
		f.Session != "" && r.Session != f.Session,
		f.Target != "" && r.Target != f.Target,
		f.Operation != "" && r.Operation != f.Operation,
		len(f.Outcomes) > 0 && !slices.Contains(f.Outcomes, r.Outcome),
		!f.From.IsZero() && r.Time.Before(f.From),
		!f.To.IsZero() && !r.Time.Before(f.To),
		f.After != 0 && r.Seq <= f.After,
		f.Before != 0 && r.Seq >= f.Before:
		return false
	}
	return true
}
