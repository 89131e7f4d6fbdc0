package audit

import (
	"context"
	"iter"
	"strconv"
	"sync/atomic"

	"github.com/chansec/chansec"
)

// Ring is a store in memory that keeps the last records. Neither those who record nor those who ask wait for anybody. It
// may be used from many goroutines at once.
type Ring struct {
	slots []atomic.Pointer[Record]
	last  atomic.Uint64 // the number that was given out last
}

var _ Store = (*Ring)(nil)

// MaxRing is the most that a ring may hold.
const MaxRing = 1 << 24

// NewRing returns a ring for so many records, from 1 to MaxRing. A record takes some 300 bytes, and its text, of which
// MaxTextBytes and MaxDetailBytes are the bounds.
func NewRing(size int) (*Ring, error) {
	if size < 1 || size > MaxRing {
		return nil, invalid("size of a ring", strconv.Itoa(size), "1 to "+strconv.Itoa(MaxRing)+" records")
	}
	return &Ring{slots: make([]atomic.Pointer[Record], size)}, nil
}

// Record keeps the record, in the place of the oldest one if the ring is full. A record that Clean refuses is refused.
func (r *Ring) Record(_ context.Context, rec Record) error {
	if err := rec.clean(); err != nil {
		return err
	}
	kept := new(rec)
	kept.Seq = r.last.Add(1)
	slot := r.slot(kept.Seq)
	for {
		old := slot.Load()
		if old != nil && old.Seq > kept.Seq { // the ring went round in between
			return nil
		}
		if slot.CompareAndSwap(old, kept) {
			return nil
		}
	}
}

func (r *Ring) slot(seq uint64) *atomic.Pointer[Record] { return &r.slots[seq%uint64(len(r.slots))] }

// Records yields the records that are there when it begins, but for those that are overwritten while it runs.
func (r *Ring) Records(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := f.Check(); err != nil {
			yield(Record{}, err)
			return
		}
		last, left := r.last.Load(), f.Limit
		first := uint64(1)
		if size := uint64(len(r.slots)); last > size {
			first = last - size + 1
		}
		for n := range last - first + 1 {
			seq := first + n
			if f.NewestFirst {
				seq = last - n
			}
			if n%1024 == 0 && ctx.Err() != nil {
				yield(Record{}, ctx.Err())
				return
			}
			kept := r.slot(seq).Load()
			if kept == nil || kept.Seq != seq || !f.matches(kept) {
				continue
			}
			if !yield(*kept, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// Len returns how many records there are.
func (r *Ring) Len() int { return int(min(r.last.Load(), uint64(len(r.slots)))) }

// Total returns how many records there have been.
func (r *Ring) Total() uint64 { return r.last.Load() }

// Denied returns the filter for what was not done: denied, and what nobody could decide.
func Denied() Filter {
	return Filter{Outcomes: []chansec.Outcome{chansec.Denied, chansec.Undecided}}
}
