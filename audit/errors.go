package audit

import (
	"errors"
	"strconv"
	"strings"

	"github.com/chansec/chansec"
)

// What callers branch on, with errors.Is. Wrong arguments are [chansec.ErrInvalid], and what was closed says
// [chansec.ErrClosed].
var (
	// ErrDropped: the queue is full, and the record was left out and counted.
	ErrDropped = errors.New("audit: the queue is full")
	// ErrFull: there is no room now for a record that must not be left out. It was not counted: whoever has it must give it again.
	ErrFull = errors.New("audit: the queue has no room now")
	// ErrDamaged: a trail is not as it was written; see DamagedError.
	ErrDamaged = errors.New("audit: the trail is damaged")
	// ErrInUse: another File, of this process or another, writes to the folder.
	ErrInUse = errors.New("audit: the folder is in use")
)

// Fault is what may be wrong with a trail.
type Fault string

// The faults.
const (
	FaultSyntax  Fault = "syntax"  // a line that this package did not write
	FaultHash    Fault = "hash"    // the hash does not follow from the line and the one before: either was changed, or the key is another
	FaultMissing Fault = "missing" // records that were there are not
	FaultOrder   Fault = "order"   // a record whose number was there before: records changed places, or one is there twice
	FaultTorn    Fault = "torn"    // the last line has no end. A crash leaves this, and OpenFile repairs it
	FaultAnchor  Fault = "anchor"  // the record that was anchored is another, or not there any more
)

// Problem is one fault and where it is. It is ErrDamaged.
type Problem struct {
	File  string // its name in the folder; empty where it is the folder
	Line  int    // from 1 on; 0 where it is the file, or where it was read backwards
	Fault Fault
	Text  string // what was found; nothing of the record
}

func (p *Problem) Error() string {
	where := ""
	if p.File != "" {
		where = p.File + ": "
	}
	if p.Line > 0 {
		where += "line " + strconv.Itoa(p.Line) + ": "
	}
	return "audit: " + where + p.Text
}

// Is makes the error ErrDamaged.
func (p *Problem) Is(target error) bool { return target == ErrDamaged }

// DamagedError lists what is wrong with a trail, in its order, MaxProblems at most. It is ErrDamaged.
type DamagedError struct {
	Problems []Problem
}

// MaxProblems is after how many Verify stops.
const MaxProblems = 100

func (e *DamagedError) Error() string {
	var s strings.Builder
	for i := range e.Problems {
		if i > 0 {
			s.WriteByte('\n')
		}
		s.WriteString(e.Problems[i].Error())
	}
	return s.String()
}

// Is makes the error ErrDamaged.
func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }

func invalid(what, value, want string) error {
	if value != "" {
		shorten(&value, 100)
		value = strconv.Quote(value)
	}
	return &chansec.InvalidError{What: what, Value: value, Want: want}
}
