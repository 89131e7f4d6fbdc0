package memory

import (
	"context"
	"errors"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

// Latest implements driver.Backend for channels that keep the last entry of each key. Entries lie in one slice in the
// order of their sequence numbers, with gaps where one was replaced; when the gaps outnumber the entries they are closed.
// Readers copy under the mutex.
type Latest[V any] struct {
	max  int
	tail atomic.Uint64 // the newest sequence number

	mu      sync.Mutex
	ids     ids
	entries []driver.Entry[V] // a gap has a zero ID
	live    int               // entries that are no gaps
	keys    map[string]uint64 // the sequence number of each key's entry
	once    once
	readers waiters
	closed  atomic.Bool // set under the mutex
}

// fewGaps are not worth closing.
const fewGaps = 64

func newLatest[V any](cfg driver.Config) *Latest[V] {
	return &Latest[V]{max: cfg.MaxMessages, ids: newIDs(), keys: make(map[string]uint64)}
}

func (l *Latest[V]) Append(_ context.Context, h driver.Head, v V) (driver.Stamp, error) {
	return l.append(&h, &v, func(uint64) bool { return true })
}

func (l *Latest[V]) AppendIf(_ context.Context, h driver.Head, v V, last uint64) (driver.Stamp, error) {
	return l.append(&h, &v, func(is uint64) bool { return is == last })
}

// append stores an entry if ok says so of the sequence number of the key's last one, 0 for none.
func (l *Latest[V]) append(h *driver.Head, v *V, ok func(is uint64) bool) (driver.Stamp, error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return driver.Stamp{}, driver.ErrClosed
	}
	if stamp, done := l.once.stamps[h.Once]; done {
		return stamp, nil
	}
	was := l.keys[h.Key] // 0 if there is none
	seq := l.tail.Load() + 1
	switch {
	case !ok(was):
		return driver.Stamp{}, driver.ErrConflict
	case was == 0 && l.live >= l.max, seq > maxSeq:
		return driver.Stamp{}, driver.ErrFull
	}
	if was != 0 {
		l.discard(l.find(was))
	}
	e := driver.Entry[V]{Stamp: driver.Stamp{Seq: seq, Time: now.Round(0)}, Key: h.Key, Value: *v}
	l.ids.make(&e.ID, now, seq)
	l.entries = append(l.entries, e)
	l.live++
	if h.Key != "" {
		l.keys[h.Key] = seq
	}
	if h.Once != "" {
		l.once.remember(h.Once, e.Stamp)
	}
	l.closeGaps()
	l.tail.Store(seq)
	l.readers.wake()
	return e.Stamp, nil
}

// behind returns the index of the first entry or gap behind a sequence number.
func (l *Latest[V]) behind(seq uint64) int {
	return sort.Search(len(l.entries), func(i int) bool { return l.entries[i].Seq > seq })
}

// find returns the entry of a sequence number, or nil.
func (l *Latest[V]) find(seq uint64) *driver.Entry[V] {
	i := l.behind(seq) - 1
	if i < 0 || l.entries[i].Seq != seq || l.entries[i].ID == uuid.Nil {
		return nil
	}
	return &l.entries[i]
}

// discard makes a gap of an entry. The caller calls closeGaps afterwards.
func (l *Latest[V]) discard(e *driver.Entry[V]) {
	if e.Key != "" {
		delete(l.keys, e.Key)
	}
	*e = driver.Entry[V]{Stamp: driver.Stamp{Seq: e.Seq}}
	l.live--
}

func (l *Latest[V]) closeGaps() {
	if len(l.entries)-l.live <= l.live+fewGaps {
		return
	}
	kept := make([]driver.Entry[V], 0, l.live+l.live/2+fewGaps)
	for i := range l.entries {
		if l.entries[i].ID != uuid.Nil {
			kept = append(kept, l.entries[i])
		}
	}
	l.entries = kept
}

func (l *Latest[V]) Last(_ context.Context, key string) (driver.Entry[V], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return driver.Entry[V]{}, driver.ErrClosed
	}
	if seq := l.keys[key]; seq != 0 {
		return *l.find(seq), nil
	}
	return driver.Entry[V]{}, driver.ErrNotFound
}

func (l *Latest[V]) Newest(context.Context) (id uuid.UUID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return uuid.Nil, driver.ErrClosed
	}
	if seq := l.tail.Load(); seq > 0 {
		l.ids.again(&id, seq)
	}
	return id, nil
}

// remove discards the entries that match and returns how many there were.
func (l *Latest[V]) remove(match func(e *driver.Entry[V]) bool) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return 0, driver.ErrClosed
	}
	for i := range l.entries {
		if e := &l.entries[i]; e.ID != uuid.Nil && match(e) {
			l.discard(e)
			n++
		}
	}
	l.closeGaps()
	return n, nil
}

func (l *Latest[V]) Remove(_ context.Context, ids []uuid.UUID) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return 0, driver.ErrClosed
	}
	for _, id := range ids {
		seq, ours := l.ids.seq(id)
		if e := l.find(seq); ours && e != nil && e.ID == id {
			l.discard(e)
			n++
		}
	}
	l.closeGaps()
	return n, nil
}

func (l *Latest[V]) Evict(_ context.Context, before time.Time, keep int) (int, error) {
	return l.remove(func(e *driver.Entry[V]) bool {
		return !before.IsZero() && e.Time.Before(before) || keep >= 0 && l.live > keep
	})
}

func (l *Latest[V]) Clear(context.Context) (int, error) {
	return l.remove(func(*driver.Entry[V]) bool { return true })
}

func (l *Latest[V]) Len(context.Context) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return 0, driver.ErrClosed
	}
	return l.live, nil
}

func (l *Latest[V]) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed.Swap(true) {
		l.readers.close()
	}
	return nil
}

// errNoClaims: the configuration said that there would be none.
var errNoClaims = errors.New("memory: a keyed channel has no claims")

func (l *Latest[V]) noClaims() error {
	if l.closed.Load() {
		return driver.ErrClosed
	}
	return errNoClaims
}

func (l *Latest[V]) Claim(_ context.Context, _ driver.Consumer, _ string, _ int, _ time.Duration, dst []driver.Claimed[V]) ([]driver.Claimed[V], error) {
	return dst, l.noClaims()
}

// WakeClaim waits for nothing, so that who asks finds out at once.
func (l *Latest[V]) WakeClaim(string, chan<- struct{}) (cancel func(), ready bool) { return nil, true }

func (l *Latest[V]) Ack(context.Context, string, driver.Receipt) (bool, error) {
	return false, l.noClaims()
}

func (l *Latest[V]) Nack(context.Context, string, driver.Receipt) (bool, error) {
	return false, l.noClaims()
}

func (l *Latest[V]) Extend(context.Context, string, driver.Receipt, time.Duration) (time.Time, bool, error) {
	return time.Time{}, false, l.noClaims()
}

func (l *Latest[V]) Release(context.Context, driver.Consumer) (int, error) { return 0, l.noClaims() }

// latestReader implements driver.Reader.
type latestReader[V any] struct {
	log    *Latest[V]
	w      atomic.Pointer[waiter]
	closed atomic.Bool

	pos   uint64 // the sequence number of the last entry consumed
	spent uint64 // pos after Commit of the whole batch: behind the gaps, too
	buf   []driver.Entry[V]
	last  []driver.Entry[V] // the last batch
}

func (l *Latest[V]) Open(_ context.Context, _ driver.View, from driver.From) (driver.Reader[V], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return nil, driver.ErrClosed
	}
	r := &latestReader[V]{log: l}
	switch {
	case from.Tail:
		r.pos = l.tail.Load()
	case from.After != uuid.Nil:
		seq, ours := l.ids.seq(from.After)
		if !ours || seq > l.tail.Load() {
			return nil, driver.ErrNotFound
		}
		r.pos = seq
	}
	return r, nil
}

func (r *latestReader[V]) Next(_ context.Context, limit int) (b driver.Batch[V], err error) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.closed.Load() || l.closed.Load() {
		return b, driver.ErrClosed
	}
	r.buf, r.spent = r.buf[:0], l.tail.Load()
	for i := l.behind(r.pos); i < len(l.entries); i++ {
		e := &l.entries[i]
		if e.ID == uuid.Nil {
			continue
		}
		if len(r.buf) == limit {
			r.spent = e.Seq - 1
			break
		}
		r.buf = append(r.buf, *e)
	}
	r.last = r.buf
	return driver.Batch[V]{Entries: r.buf}, nil
}

func (r *latestReader[V]) Commit(n int) {
	if n > 0 {
		r.pos = r.last[n-1].Seq
	}
	if n == len(r.last) {
		r.pos = max(r.pos, r.spent)
	}
	r.last = nil
}

func (r *latestReader[V]) Wake(ch chan<- struct{}) bool {
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
	if r.closed.Load() || r.pos < l.tail.Load() {
		l.readers.disarm(w)
		return true
	}
	return false
}

func (r *latestReader[V]) Close() {
	if r.closed.Swap(true) {
		return
	}
	if w := r.w.Load(); w != nil {
		r.log.readers.disarm(w)
	}
}
