package driver

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// The errors that a backend returns for the caller's sake. Any other error means that the backend failed.
var (
	// ErrFull: the backend keeps all it may keep and was configured to refuse rather than to drop.
	ErrFull = errors.New("driver: full")
	// ErrTooManyBoxes: there are entries in, or readers of, as many boxes as there may be.
	ErrTooManyBoxes = errors.New("driver: too many boxes")
	// ErrConflict: AppendIf found another last entry under the key than the caller expected.
	ErrConflict = errors.New("driver: the last entry of the key is another one")
	// ErrNotFound: no entry has that ID, or none is stored under that key.
	ErrNotFound = errors.New("driver: no such entry")
	// ErrUnknownOutcome: the entry may have been stored or not. Repeating the call with the same Head.Once is safe.
	ErrUnknownOutcome = errors.New("driver: unknown whether the entry was stored")
	// ErrClosed: the backend was closed.
	ErrClosed = errors.New("driver: closed")
)

// Config is what a channel asks of its backend. It is fixed for the backend's life.
type Config struct {
	MaxMessages int           // at most so many live entries; at least 1
	MaxAge      time.Duration // entries older than this are discarded; 0 keeps them
	Reject      bool          // at MaxMessages: true refuses with ErrFull, false discards the oldest entry
	Keyed       bool          // of each key only the last entry is kept: an Append discards the one before, on purpose. With Reject alone
	Claims      bool          // Claim and what follows from it will be used
	Boxes       bool          // entries may be addressed to a box
	MaxBoxes    int           // at most so many boxes that hold entries; only with Boxes
}

// Opener makes the backend of one channel. The channel calls it once, when it is constructed, and owns the result.
type Opener[V any] func(ctx context.Context, channelID string, cfg Config) (Backend[V], error)

// Head is what a backend needs to know of an entry. All three are arbitrary bytes; a backend encodes them as it must.
type Head struct {
	Key  string // the last entry of a key can be looked up; "" is no key
	Box  string // addressee; "" is everyone
	Once string // an Append with the same text is the same Append: at least the last OnceWindow of them are remembered; "" is none
}

// OnceWindow is how many values of Head.Once a backend remembers at least.
const OnceWindow = 4096

// Stamp is what a backend gave an entry when it stored it.
type Stamp struct {
	ID   uuid.UUID // name of the entry; the backend finds the position from it in O(log n) or better
	Seq  uint64    // position, from 1, increasing with every entry and never used again; not necessarily dense
	Time time.Time // when the entry was received, by the backend's clock
}

// Entry is one stored value.
type Entry[V any] struct {
	Stamp
	Key   string
	Box   string
	Value V
}

// View says which entries a reader sees: those for everyone and those of one box, or all of them.
type View struct {
	All         bool
	Box         string // "" adds no box to those for everyone
	HideClaimed bool   // leave out what somebody holds a claim on
}

// Sees reports whether an entry addressed to box is in the view.
func (v View) Sees(box string) bool { return v.All || box == "" || box == v.Box }

// From is where a reader begins.
type From struct {
	Tail  bool      // after the newest entry; otherwise after the entry After, and at the oldest one where After is zero
	After uuid.UUID // an entry that is stored, or was: unknown IDs are ErrNotFound
}

// Batch is what a reader found after its position.
type Batch[V any] struct {
	// Missed is how many entries of the view were discarded by retention between the reader's position and the
	// first entry that is still there. Entries that were acknowledged or removed on purpose do not count. A backend that
	// knows only the span of sequence numbers sets AtMost.
	Missed uint64
	AtMost bool
	// Entries are in order of Seq. They belong to the backend: read-only, and valid until the next call of Next, also
	// after Close.
	Entries []Entry[V]
}

// Consumer names who claims. Both parts mean nothing to the backend. Receipts are good for all sessions of a name;
// Release gives back the claims of one session.
type Consumer struct {
	Name    string
	Session uint64
}

// Claimed is an entry that a consumer holds until Deadline.
type Claimed[V any] struct {
	Entry[V]
	Attempt  uint64 // from 1, larger at every claim of the entry
	Deadline time.Time
}

// Reader is a position in the order of entries. It is used by one goroutine at a time, except for Close.
type Reader[V any] interface {
	// Next returns up to max (at least 1) entries after the position, without moving it. It does not wait: no entries
	// and no error means that there are none now. It may return fewer than there are, but at least one of them.
	Next(ctx context.Context, max int) (Batch[V], error)

	// Commit moves the position behind the first n entries of the batch that Next returned last, and behind
	// what that batch reported as missed.
	Commit(n int)

	// Wake arranges that a value is sent on ch, once and without blocking, as soon as there may be entries after
	// the position; it returns false then. It returns true, and arranges nothing, if there are some already.
	// Spurious wake-ups are allowed, lost ones are not. ch must have room for one value.
	Wake(ch chan<- struct{}) bool

	// Close frees what the reader holds. It may be called at any time, more than once.
	Close()
}

// Backend stores the entries of one channel. All methods may be called from many goroutines at once. A method that does
// I/O honours its context; none may block for another reason than I/O. After Close every method returns ErrClosed.
//
// A backend knows no identities and decides nothing: the channel's guard has said yes before any method is called.
type Backend[V any] interface {
	// Append stores v and returns once it is readable (and durable, where the backend is). Where Head.Once was seen
	// before, it stores nothing and returns the stamp of then.
	Append(ctx context.Context, h Head, v V) (Stamp, error)

	// AppendIf is Append on the condition that the last stored entry of the key (not empty) is the one with sequence
	// last, or that none is stored where last is 0. Otherwise it stores nothing and returns ErrConflict.
	AppendIf(ctx context.Context, h Head, v V, last uint64) (Stamp, error)

	// Last returns the last entry of key (not empty), or ErrNotFound.
	Last(ctx context.Context, key string) (Entry[V], error)

	// Newest returns the ID of the entry that was stored last, even if it has gone since, or zero if there never was one.
	// Whoever opens a reader behind it misses nothing that is stored later.
	Newest(ctx context.Context) (uuid.UUID, error)

	// Open returns a reader of the view.
	Open(ctx context.Context, view View, from From) (Reader[V], error)

	// Claim takes up to max entries that are for everyone or for box and that nobody holds, for the time-out, and appends
	// them to dst: first what was given back, then the oldest. It does not wait. Claims whose deadline has passed count
	// as given back. Where it fails, entries may stay out of sight until their deadline.
	Claim(ctx context.Context, who Consumer, box string, max int, timeout time.Duration, dst []Claimed[V]) ([]Claimed[V], error)

	// WakeClaim is Reader.Wake for Claim: ch is sent to when an entry may have become claimable for the box, by an
	// Append, a Nack, a Release or a deadline. Where it did not return true, cancel withdraws the arrangement.
	WakeClaim(box string, ch chan<- struct{}) (cancel func(), ready bool)

	// Ack ends the claim and discards its entry; Nack ends the claim and gives the entry back; Extend moves the deadline
	// to timeout from now. Each reports whether the receipt names a claim that the consumer of that name still holds.
	// A claim ends at its deadline.
	Ack(ctx context.Context, name string, r Receipt) (bool, error)
	Nack(ctx context.Context, name string, r Receipt) (bool, error)
	Extend(ctx context.Context, name string, r Receipt, timeout time.Duration) (time.Time, bool, error)

	// Release gives back every claim of one session and returns how many there were.
	Release(ctx context.Context, who Consumer) (int, error)

	// Remove discards the entries with these IDs, with their claims, and returns how many there were.
	Remove(ctx context.Context, ids []uuid.UUID) (int, error)

	// Evict discards what was received before a time (not if zero), and then the oldest entries beyond the
	// newest keep (not if negative). Clear discards everything. Both return how many entries went. Sequence numbers go on.
	Evict(ctx context.Context, before time.Time, keep int) (int, error)
	Clear(ctx context.Context) (int, error)

	// Len returns how many entries are stored.
	Len(ctx context.Context) (int, error)

	// Close ends the backend and wakes everybody who waits.
	Close() error
}
