package memory

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

// reader implements driver.Reader.
type reader[V any] struct {
	log    *Log[V]
	view   driver.View
	w      atomic.Pointer[waiter]
	closed atomic.Bool
	once   sync.Once

	n     int         // lanes in use
	lane  [2]lane[V]  // the whole log; or everyone's box and that of the view
	pos   [2]uint64   // ordinal of the last entry consumed, per lane
	moved [2]uint64   // pos after Commit(0): behind what the last batch reported as missed
	spent [2]uint64   // pos after Commit of the whole batch: behind what was discarded on purpose, too
	ords  [][2]uint64 // pos after Commit of the first, of the first two ... entries of a batch of copies
	lost  uint64      // before the reader was opened: at most so many are to be told of as missed
	buf   []driver.Entry[V]
	last  []driver.Entry[V] // the last batch

	holds atomic.Pointer[segment[V]] // what the last batch lies in, where it is no copy: not to be used again
	at    int                        // place in log.open, under the mutex
}

func (l *Log[V]) Open(_ context.Context, view driver.View, from driver.From) (driver.Reader[V], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return nil, driver.ErrClosed
	}
	after := l.first.Load() - 1
	switch {
	case from.Tail:
		after = l.tail.Load()
	case from.After != uuid.Nil:
		seq, ours := l.ids.seq(from.After)
		if !ours || seq > l.tail.Load() {
			return nil, driver.ErrNotFound
		}
		after = seq
	}
	r := &reader[V]{log: l, view: view, n: 1, lane: [2]lane[V]{{&l.all, l}}}
	if l.boxes != nil && !view.All {
		r.lane[0].box = l.boxes[""]
		if view.Box != "" {
			own, err := l.box(view.Box)
			if err != nil {
				return nil, err
			}
			r.n, r.lane[1] = 2, lane[V]{own, l}
		}
	}
	for i := range r.n {
		r.lane[i].readers++
		r.pos[i] = r.lane[i].after(after)
	}
	if first := l.first.Load(); after+1 < first && !r.lane[0].whole() {
		// It is not known any more which of those that went were for whom.
		r.lost = first - 1 - after - l.all.gone.count(after+1, first-1)
	}
	if l.lockFree {
		r.at = len(l.open)
		l.open = append(l.open, r)
	}
	return r, nil
}

func (r *reader[V]) Next(_ context.Context, limit int) (driver.Batch[V], error) {
	if r.closed.Load() || r.log.closed.Load() {
		return driver.Batch[V]{}, driver.ErrClosed
	}
	if r.log.lockFree {
		return r.share(limit)
	}
	return r.copy(limit)
}

// share returns a run of entries where they lie in their segment.
func (r *reader[V]) share(limit int) (b driver.Batch[V], err error) {
	l := r.log
	r.moved = r.pos
	for {
		// The tail before the directory: a segment is in force before its entries are published.
		tail := l.tail.Load()
		if first := l.first.Load(); r.moved[0]+1 < first {
			l.mu.Lock()
			first = l.first.Load()
			b.AtMost = b.AtMost || r.moved[0] < l.all.vague
			b.Missed += first - 1 - r.moved[0] - l.all.gone.count(r.moved[0]+1, first-1)
			l.mu.Unlock()
			r.moved[0] = first - 1
		}
		d := l.dir.Load()
		for seq := r.moved[0] + 1; seq <= tail; {
			if (seq-1)>>segmentShift < d.base {
				break // retention went on; look again
			}
			seg := d.segment(seq)
			lo, hi := index(seq), min(index(seq)+limit, segmentSize, index(seq)+int(tail-seq)+1)
			if seg == nil {
				if r.moved[0]+1 < l.first.Load() {
					break // it was retention that took it
				}
				seq += uint64(segmentSize - lo)
				continue
			}
			if r.holds.Load() != seg {
				r.holds.Store(seg)
				if r.closed.Load() {
					return driver.Batch[V]{}, driver.ErrClosed // it may not have seen what is held
				}
				d = l.dir.Load()
				continue // it may have been given up before it was held, and be in use elsewhere
			}
			for lo < hi && seg.entries[lo].ID == uuid.Nil {
				lo++
				seq++
			}
			end := lo
			for end < hi && seg.entries[end].ID != uuid.Nil {
				end++
			}
			if end > lo {
				b.Entries = seg.entries[lo:end:end]
				r.last = b.Entries
				return b, nil
			}
		}
		if r.moved[0]+1 >= l.first.Load() {
			r.moved[0] = max(r.moved[0], tail) // what is between was discarded on purpose
			r.last = nil
			return b, nil
		}
	}
}

// copy returns copies of entries, merged from the lanes.
func (r *reader[V]) copy(limit int) (b driver.Batch[V], err error) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return b, driver.ErrClosed
	}
	if r.view.HideClaimed && len(l.claims.order) > 0 {
		l.reclaim(l.claims.now())
	}
	b.Missed, b.AtMost = r.lost, r.lost > 0
	r.buf, r.ords = r.buf[:0], r.ords[:0]
	var at, end [2]uint64
	for i := range r.n {
		var first uint64
		first, end[i] = r.lane[i].bounds()
		r.moved[i] = r.pos[i]
		if r.pos[i]+1 < first {
			b.AtMost = b.AtMost || r.pos[i] < r.lane[i].vague
			b.Missed += first - 1 - r.pos[i] - r.lane[i].gone.count(r.pos[i]+1, first-1)
			r.moved[i] = first - 1
		}
		at[i] = r.moved[i] + 1
		r.spent[i] = r.moved[i]
	}
	var hidden [2]bool
	for len(r.buf) < limit {
		i := 0
		if at[0] >= end[0] || r.n == 2 && at[1] < end[1] && r.lane[1].seq(at[1]) < r.lane[0].seq(at[0]) {
			i = 1
		}
		if i == r.n || at[i] >= end[i] {
			break
		}
		seq := r.lane[i].seq(at[i])
		at[i]++
		e, seg := l.entry(seq)
		if e == nil {
			if r.lane[i].whole() && l.dir.Load().segment(seq) == nil {
				at[i] = min(end[i], ((seq-1)>>segmentShift+1)<<segmentShift+1)
			}
			if !hidden[i] {
				r.spent[i] = at[i] - 1
			}
			continue
		}
		if r.view.HideClaimed && seg.slots != nil && seg.slots[index(seq)].claim != 0 {
			hidden[i] = true // it may be given back before anything behind it is read
			continue
		}
		r.buf = append(r.buf, *e)
		r.ords = append(r.ords, [2]uint64{at[0] - 1, at[1] - 1})
	}
	r.last = r.buf
	b.Entries = r.buf
	return b, nil
}

func (r *reader[V]) Commit(n int) {
	r.pos = r.moved
	if r.log.lockFree {
		if n > 0 {
			r.pos[0] = r.last[n-1].Seq
		}
		r.moved = r.pos
		return
	}
	r.lost = 0
	if n > 0 {
		r.pos = r.ords[n-1]
	}
	if n == len(r.ords) {
		r.pos[0], r.pos[1] = max(r.pos[0], r.spent[0]), max(r.pos[1], r.spent[1])
	}
	r.moved, r.ords = r.pos, r.ords[:0]
}

func (r *reader[V]) Wake(ch chan<- struct{}) bool {
	l := r.log
	w := r.w.Load()
	if w == nil || w.ch != ch {
		if w != nil {
			l.readers.disarm(w)
		}
		w = &waiter{ch: ch}
		r.w.Store(w)
	}
	l.readers.arm(w)
	if r.closed.Load() || r.behind() {
		l.readers.disarm(w)
		return true
	}
	return false
}

// behind reports whether there may be entries after the position.
func (r *reader[V]) behind() bool {
	l := r.log
	if r.lane[0].whole() {
		return r.pos[0] < l.tail.Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range r.n {
		if _, end := r.lane[i].bounds(); r.pos[i]+1 < end {
			return true
		}
	}
	return false
}

func (r *reader[V]) Close() {
	r.once.Do(func() {
		r.closed.Store(true)
		l := r.log
		if w := r.w.Load(); w != nil {
			l.readers.disarm(w)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := range r.n {
			r.lane[i].readers--
		}
		if l.lockFree {
			if seg := r.holds.Load(); seg != nil {
				seg.kept = true // the last batch is good until Next is called, which may be never
			}
			last := len(l.open) - 1
			l.open[r.at] = l.open[last]
			l.open[r.at].at = r.at
			l.open[last] = nil
			l.open = l.open[:last]
		}
	})
}
