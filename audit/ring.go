package audit

import (
	"cmp"
	"context"
	"iter"
	"strconv"
	"sync"
	"sync/atomic"
)

// Ring is a store in memory that keeps the last records. Who records or asks waits for nobody else longer than it takes to copy
// one record, and hardly ever for that. It may be used from many goroutines at once.
type Ring struct {
	slots []slot
	last  atomic.Uint64 // the number that was given out last
}

type slot struct {
	mu sync.Mutex
	r  Record // Seq 0: none yet
}

var _ Store = (*Ring)(nil)

// MaxRing is the most that a ring may hold.
const MaxRing = 1 << 20

// NewRing returns a ring for so many records, from 1 to MaxRing. Each takes some 270 bytes from the beginning, and then that of
// its texts, which MaxTextBytes and MaxDetailBytes bound.
func NewRing(size int) (*Ring, error) {
	if size < 1 || size > MaxRing {
		return nil, invalid("size of a ring", strconv.Itoa(size), "1 to "+strconv.Itoa(MaxRing)+" records")
	}
	return &Ring{slots: make([]slot, size)}, nil
}

// Record keeps the record, in the place of the oldest one if the ring is full. A record that Clean refuses is refused.
func (r *Ring) Record(_ context.Context, rec Record) error {
	if err := rec.clean(); err != nil {
		return err
	}
	rec.Seq = r.last.Add(1)
	s := r.slot(rec.Seq)
	s.mu.Lock()
	if rec.Seq > s.r.Seq { // or the ring went round in between
		s.r = rec
	}
	s.mu.Unlock()
	return nil
}

func (r *Ring) slot(seq uint64) *slot { return &r.slots[seq%uint64(len(r.slots))] }

// get copies a record, if it is there and wanted.
func (r *Ring) get(seq uint64, f *Filter) (rec Record, ok bool) {
	s := r.slot(seq)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r.Seq != seq || !f.matches(&s.r) {
		return rec, false
	}
	return s.r, true
}

// Records yields the records that are there when it begins, but for those that are overwritten while it runs.
func (r *Ring) Records(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := cmp.Or(ctx.Err(), f.Check()); err != nil {
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
			rec, ok := r.get(seq, &f)
			if !ok {
				continue
			}
			if !yield(rec, nil) {
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
