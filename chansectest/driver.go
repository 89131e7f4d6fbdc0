package chansectest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chansec/chansec/driver"
)

// TestDriver checks a backend. newBackend makes a new and empty one for a configuration; the suite closes it. Every rule
// gets at least one of its own.
//
// Most rules take milliseconds. Those about deadlines and age wait in real time, for as long as ShortestClaim says and no
// longer than they must.
func TestDriver(t *testing.T, newBackend func(t *testing.T, cfg driver.Config) driver.Backend[[]byte], opts ...Option) {
	o := newOptions(opts)
	for _, r := range driverRules {
		run(t, r, o, func(x *trial) *driverTrial { return &driverTrial{x, newBackend} })
	}
}

// driverRules are what TestDriver checks, in order.
var driverRules = []rule[*driverTrial]{
	{"append", "Append returns once the entry is readable, as it was given and with the stamp that was returned: a sequence " +
		"number above all before, an ID of its own and a time.", checkAppend},
	{"bytes", "Keys, boxes and Once are arbitrary bytes: they come back as they were, and no two that differ are mixed up.", checkBytes},
	{"once", "An Append or AppendIf whose Once was seen before stores nothing and returns the stamp of then, for the last " +
		"OnceWindow of them at least.", checkOnce},
	{"append if", "AppendIf stores an entry only if the last stored entry of its key is the one that was named, or if none is " +
		"stored where 0 was; otherwise it returns ErrConflict and stores nothing.", checkAppendIf},
	{"append if races", "Of many AppendIf on the same condition at the same time exactly one succeeds.", checkAppendIfRaces},
	{"newest", "Newest returns the ID of the entry that was stored last, also once it is gone, and zero before there was one.", checkNewest},
	{"last", "Last returns the last stored entry of a key, or ErrNotFound: also after the one behind it was removed.", checkLast},
	{"from", "A reader begins at the oldest entry, behind the newest, or behind one that is or was stored; the IDs of others are " +
		"ErrNotFound.", checkFrom},
	{"batches", "Next returns entries in order, at most as many as asked for and at least one if there is one, each once.", checkBatches},
	{"positions", "Next does not move the position: Commit(n) does, behind n entries of the last batch. Readers do not " +
		"disturb each other.", checkPositions},
	{"views", "A reader sees the entries for everyone and those of its own box, or all of them, and leaves out claimed ones if " +
		"it is to.", checkViews},
	{"missed", "Missed is how many entries of the view retention discarded between the position and the next entry, exactly, or " +
		"an upper bound with AtMost. Commit moves behind them.", checkMissed},
	{"removed is not missed", "What was acknowledged, removed or cleared on purpose does not count as missed (exactly where " +
		"AtMost is not set).", checkRemovedIsNotMissed},
	{"retention", "There are never more than MaxMessages entries: the oldest go first.", checkRetention},
	{"full", "Where entries may not be dropped, an Append beyond MaxMessages returns ErrFull and loses nothing; there is room " +
		"again as soon as an entry went.", checkFull},
	{"keyed", "With Keyed, an Append under a key discards the entry before, which takes no more room than there was and is not " +
		"missed by anybody; readers see the last entry of every key.", checkKeyed},
	{"age", "Entries older than MaxAge are discarded.", checkAge},
	{"boxes", "No more than MaxBoxes boxes hold entries, everyone's aside: one more is ErrTooManyBoxes. A box that was emptied " +
		"leaves room for another.", checkBoxes},
	{"claims", "Claim hands out entries that nobody holds, first what was given back, then the oldest, for everyone or for the box " +
		"that was asked for, appended to dst, and does not wait.", checkClaims},
	{"attempts", "Attempt counts from 1 and is larger at every claim of the entry.", checkAttempts},
	{"receipts", "A receipt is good for every session of the name that claimed, and nobody else; those of earlier attempts have no " +
		"effect, and one without an attempt only while the entry was claimed once.", checkReceipts},
	{"settling", "Ack discards the entry, Nack gives it back at once, Extend returns the new deadline; each reports whether the " +
		"claim was held, and only the first of several has an effect.", checkSettling},
	{"release", "Release gives back the claims of one session, and no others, and returns how many there were.", checkRelease},
	{"deadlines", "A claim ends at its deadline: the entry can be claimed again, and the receipt has no effect. Extend moves the " +
		"deadline.", checkDeadlines},
	{"remove", "Remove discards the entries of these IDs, with their claims, and returns how many there were.", checkRemove},
	{"evict", "Evict discards what was received before a time, and then the oldest beyond the newest keep, and returns how many.", checkEvict},
	{"clear", "Clear discards everything, with all claims, and returns how many entries there were; sequence numbers go on.", checkClear},
	{"wake", "Wake returns true if there are entries after the position; otherwise the channel is sent to as soon as there may be. " +
		"No wake-up is lost.", checkWake},
	{"wake claim", "WakeClaim reports whether something can be claimed; otherwise the channel is sent to when something may have " +
		"become so, by an Append, a Nack, a Release or a deadline. No wake-up is lost.", checkWakeClaim},
	{"close", "Close wakes everybody who waits, and from then on every method returns ErrClosed.", checkClose},
	{"reader close", "A reader may be closed at any time, more than once, also while it is used.", checkReaderClose},
	{"concurrency", "All methods may be called by many goroutines: every reader sees every entry once and in the same order, and " +
		"every entry is done by exactly one worker.", checkConcurrentUse},
	{"contexts", "A method whose context has ended returns soon, having done its work or not.", checkDriverContexts},
}

// driverTrial is one run of one rule on a backend.
type driverTrial struct {
	*trial
	fresh func(*testing.T, driver.Config) driver.Backend[[]byte]
}

// store is a backend whose unexpected errors stop the rule.
type store struct {
	driver.Backend[[]byte]
	x *driverTrial
}

// open makes a backend. What the configuration leaves out is filled in.
func (x *driverTrial) open(cfg driver.Config) *store {
	x.Helper()
	if cfg.MaxMessages == 0 {
		cfg.MaxMessages = 10_000
	}
	if cfg.Boxes && cfg.MaxBoxes == 0 {
		cfg.MaxBoxes = 1000
	}
	b := x.fresh(x.T, cfg)
	if b == nil {
		x.Fatal("chansectest: newBackend returned nil")
	}
	x.Cleanup(func() { x.returns(func() { _ = b.Close() }) })
	return &store{b, x}
}

// modes calls a check with every combination of what changes how a backend may work.
func (x *driverTrial) modes(check func(cfg driver.Config)) {
	for _, cfg := range []driver.Config{
		{},
		{Claims: true},
		{Claims: true, Reject: true},
		{Boxes: true},
		{Boxes: true, Claims: true},
	} {
		check(cfg)
	}
}

// failed stops the rule for an error that no rule expects.
func (s *store) failed(what string, err error) {
	if err != nil {
		s.x.stop("%s: %v", what, err)
	}
}

// put appends values.
func (s *store) put(h driver.Head, values ...string) (stamps []driver.Stamp) {
	for _, v := range values {
		stamp, err := s.Append(s.x.Context(), h, []byte(v))
		s.failed("Append", err)
		stamps = append(stamps, stamp)
	}
	return stamps
}

func (s *store) reader(v driver.View, from driver.From) driver.Reader[[]byte] {
	r, err := s.Open(s.x.Context(), v, from)
	s.failed("Open", err)
	s.x.Cleanup(r.Close)
	return r
}

// all is a view and a beginning that leave nothing out.
func (s *store) all() driver.Reader[[]byte] { return s.reader(driver.View{All: true}, driver.From{}) }

// next returns a batch.
func (s *store) next(r driver.Reader[[]byte], limit int) driver.Batch[[]byte] {
	b, err := r.Next(s.x.Context(), limit)
	s.failed("Next", err)
	return b
}

// drain reads everything there is, in batches of different sizes.
func (s *store) drain(r driver.Reader[[]byte]) (values []string, missed uint64, atMost bool) {
	for limit := 1; ; limit = limit*3%64 + 1 {
		b := s.next(r, limit)
		for _, e := range b.Entries {
			values = append(values, string(e.Value))
		}
		missed += b.Missed
		atMost = atMost || b.AtMost
		r.Commit(len(b.Entries))
		if len(b.Entries) == 0 && b.Missed == 0 {
			return values, missed, atMost
		}
	}
}

func (s *store) len() int {
	n, err := s.Len(s.x.Context())
	s.failed("Len", err)
	return n
}

// contents are the values of everything that is stored.
func (s *store) contents() []string {
	r := s.all()
	defer r.Close()
	values, _, _ := s.drain(r)
	return values
}

func (s *store) claim(who driver.Consumer, box string, limit int, timeout time.Duration) []driver.Claimed[[]byte] {
	got, err := s.Claim(s.x.Context(), who, box, limit, timeout, nil)
	s.failed("Claim", err)
	return got
}

func (s *store) ack(name string, r driver.Receipt) bool {
	ok, err := s.Ack(s.x.Context(), name, r)
	s.failed("Ack", err)
	return ok
}

func (s *store) nack(name string, r driver.Receipt) bool {
	ok, err := s.Nack(s.x.Context(), name, r)
	s.failed("Nack", err)
	return ok
}

func (s *store) extend(name string, r driver.Receipt, timeout time.Duration) (time.Time, bool) {
	at, ok, err := s.Extend(s.x.Context(), name, r, timeout)
	s.failed("Extend", err)
	return at, ok
}

func (s *store) release(who driver.Consumer) int {
	n, err := s.Release(s.x.Context(), who)
	s.failed("Release", err)
	return n
}

func (s *store) remove(stamps ...driver.Stamp) int {
	ids := newIDs(stamps...)
	n, err := s.Remove(s.x.Context(), ids)
	s.failed("Remove", err)
	return n
}

func (s *store) evict(before time.Time, keep int) int {
	n, err := s.Evict(s.x.Context(), before, keep)
	s.failed("Evict", err)
	return n
}

func (s *store) clear() int {
	n, err := s.Clear(s.x.Context())
	s.failed("Clear", err)
	return n
}

// want compares what was found with what the contract says.
func want[T any](x *driverTrial, what string, want, got T) {
	if w, g := fmt.Sprintf("%v", want), fmt.Sprintf("%v", got); w != g {
		x.wrong("%s: want %.300s, got %.300s", what, w, g)
	}
}

// wantError compares an error.
func wantError(x *driverTrial, what string, want, got error) {
	if !errors.Is(got, want) {
		x.wrong("%s: want the error %q, got %v", what, want, got)
	}
}

// wantEntry compares an entry with what was stored.
func wantEntry(x *driverTrial, what string, stamp driver.Stamp, h driver.Head, value []byte, got driver.Entry[[]byte]) {
	switch {
	case got.Seq != stamp.Seq || got.ID != stamp.ID || !got.Time.Equal(stamp.Time):
		x.wrong("%s: want the stamp %v, got %v", what, stamp, got.Stamp)
	case got.Key != h.Key || got.Box != h.Box:
		x.wrong("%s: want key %q and box %q, got %q and %q", what, h.Key, h.Box, got.Key, got.Box)
	case !bytes.Equal(got.Value, value):
		x.wrong("%s: want a value of %d bytes (%.40q), got %d (%.40q)", what, len(value), value, len(got.Value), got.Value)
	}
}

func consumer(name string) driver.Consumer { return driver.Consumer{Name: name, Session: 1} }

func receiptOf(c driver.Claimed[[]byte]) driver.Receipt {
	return driver.Receipt{ID: c.ID, Attempt: c.Attempt}
}

// valuesOf returns what was claimed.
func valuesOf(claims []driver.Claimed[[]byte]) (list []string) {
	for _, c := range claims {
		list = append(list, string(c.Value))
	}
	return list
}

// long is a claim timeout that does not pass.
const long = time.Hour

// soon is a context for what must not take longer than the trial's patience.
func (x *driverTrial) soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(x.Context(), x.patience)
}

// eventually waits until something holds, which happens without a signal.
func (x *driverTrial) eventually(what string, holds func() bool) {
	ctx, cancel := x.soon()
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			x.stop("%s: it did not happen", what)
		}
	}
}
