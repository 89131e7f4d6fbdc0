// Package memory is the default backend of a channel: everything in this process, gone with it.
//
// Entries lie in fixed segments in the order of their sequence numbers. Where nobody claims and nothing is addressed
// (a broadcast), an entry never changes once its number was published by an atomic store, and readers go through the
// segments without a lock; each says which one it looks at, so that a segment that was given up can be used again if
// nobody does. Otherwise entries are emptied in place and readers copy them under the mutex.
package memory

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

const (
	segmentShift = 7
	segmentSize  = 1 << segmentShift
)

type segment[V any] struct {
	entries [segmentSize]driver.Entry[V] // an emptied one has a zero ID
	slots   []slot                       // nil unless claims are used
	live    int                          // entries that are stored; under the mutex
	kept    bool                         // never to be used again; under the mutex
}

// directory is an immutable view of the segments in force. Newer directories share its array and only write behind its
// end, or store nil to give a segment up.
type directory[V any] struct {
	base uint64 // number of the first segment
	segs []atomic.Pointer[segment[V]]
}

func (d *directory[V]) segment(seq uint64) *segment[V] {
	i := (seq-1)>>segmentShift - d.base // wraps to a large number before the base
	if i >= uint64(len(d.segs)) {
		return nil
	}
	return d.segs[i].Load()
}

func index(seq uint64) int { return int((seq - 1) & (segmentSize - 1)) }

// Log implements driver.Backend.
type Log[V any] struct {
	cfg      driver.Config
	lockFree bool // readers take no lock

	_     [64]byte      // what readers poll shares a cache line, but not with what else writers change
	tail  atomic.Uint64 // the newest sequence number
	first atomic.Uint64 // the oldest stored sequence number, tail+1 if none is
	dir   atomic.Pointer[directory[V]]
	_     [64]byte

	mu      sync.Mutex
	ids     ids
	count   int
	spare   *segment[V]      // an empty one for reuse
	open    []*reader[V]     // where readers take no lock: those that may be looking at a segment
	all     box              // every entry, by sequence number
	boxes   map[string]*box  // by addressee; nil unless boxes are used
	keys    map[string]*ring // the sequence numbers of each key, discarded ones in part
	once    once
	claims  claims
	readers waiters
	workers waiters
	expiry  *time.Timer // runs while there may be entries and an age limit
	closed  atomic.Bool // set under the mutex
}

// New returns an empty log.
func New[V any](cfg driver.Config) (*Log[V], error) {
	if cfg.MaxMessages < 1 || cfg.MaxAge < 0 || cfg.Boxes && cfg.MaxBoxes < 1 {
		return nil, fmt.Errorf("memory: impossible configuration %+v", cfg)
	}
	l := &Log[V]{cfg: cfg, lockFree: !cfg.Claims && !cfg.Boxes, ids: newIDs()}
	l.dir.Store(&directory[V]{})
	l.first.Store(1)
	l.all.first, l.all.next = 1, 1
	if cfg.Boxes {
		l.boxes = map[string]*box{"": {first: 1, next: 1}}
	}
	l.claims.init()
	return l, nil
}

// Open is a driver.Opener.
func Open[V any](_ context.Context, _ string, cfg driver.Config) (driver.Backend[V], error) {
	switch {
	case !cfg.Keyed:
		return New[V](cfg)
	case cfg.MaxMessages < 1 || cfg.MaxAge != 0 || !cfg.Reject || cfg.Claims || cfg.Boxes:
		return nil, fmt.Errorf("memory: impossible configuration %+v", cfg)
	}
	return newLatest[V](cfg), nil
}

func (l *Log[V]) Append(_ context.Context, h driver.Head, v V) (driver.Stamp, error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return driver.Stamp{}, driver.ErrClosed
	}
	if h.Once != "" {
		if stamp, done := l.once.stamps[h.Once]; done {
			return stamp, nil
		}
	}
	e, err := l.append(now, &h, &v)
	if err != nil {
		return driver.Stamp{}, err
	}
	return e.Stamp, nil
}

func (l *Log[V]) AppendIf(_ context.Context, h driver.Head, v V, last uint64) (driver.Stamp, error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return driver.Stamp{}, driver.ErrClosed
	}
	if stamp, done := l.once.stamps[h.Once]; done {
		return stamp, nil
	}
	if l.lastOf(h.Key) != last {
		return driver.Stamp{}, driver.ErrConflict
	}
	e, err := l.append(now, &h, &v)
	if err != nil {
		return driver.Stamp{}, err
	}
	return e.Stamp, nil
}

// gone reports whether nothing is stored under a sequence number.
func (l *Log[V]) gone(seq uint64) bool {
	e, _ := l.entry(seq)
	return e == nil
}

// ofKey returns the sequence numbers of a key, or nil.
func (l *Log[V]) ofKey(key string) *ring {
	if key == "" {
		return nil
	}
	return l.keys[key]
}

// lastOf returns the sequence number of the last stored entry of a key, or 0.
func (l *Log[V]) lastOf(key string) uint64 {
	of := l.ofKey(key)
	if of == nil {
		return 0
	}
	for of.n > 0 {
		seq := of.at(of.n - 1)
		if e, _ := l.entry(seq); e != nil {
			return seq
		}
		of.n--
	}
	delete(l.keys, key)
	return 0
}

func (l *Log[V]) append(now time.Time, h *driver.Head, v *V) (*driver.Entry[V], error) {
	var b *box
	if l.boxes != nil {
		var err error
		if b, err = l.box(h.Box); err != nil {
			return nil, err
		}
	}
	if l.count >= l.cfg.MaxMessages {
		if l.cfg.Reject {
			return nil, driver.ErrFull
		}
		l.dropOldest()
	}
	seq := l.tail.Load() + 1
	if seq > maxSeq {
		return nil, driver.ErrFull
	}
	d := l.dir.Load()
	if (seq-1)>>segmentShift-d.base == uint64(len(d.segs)) {
		d = l.grow(d)
	}
	seg := d.segs[len(d.segs)-1].Load()
	e := &seg.entries[index(seq)]
	e.Seq, e.Time = seq, now.Round(0)
	l.ids.make(&e.ID, now, seq)
	e.Key, e.Value = h.Key, *v
	seg.live++
	l.count++
	if b != nil {
		e.Box = h.Box
		b.seqs.push(seq)
		b.live++
	}
	if h.Key != "" {
		if l.keys == nil {
			l.keys = make(map[string]*ring)
		}
		of := l.keys[h.Key]
		if of == nil {
			of = &ring{}
			l.keys[h.Key] = of
		}
		of.push(seq)
	}
	if h.Once != "" {
		l.once.remember(h.Once, e.Stamp)
	}
	if l.cfg.MaxAge > 0 && l.expiry == nil {
		l.expiry = time.AfterFunc(l.cfg.MaxAge, l.expire)
	}
	l.tail.Store(seq)
	l.readers.wake()
	l.workers.wake()
	return e, nil
}

func (l *Log[V]) grow(d *directory[V]) *directory[V] {
	seg := l.spare
	if l.spare = nil; seg == nil {
		seg = new(segment[V])
		if l.cfg.Claims {
			seg.slots = make([]slot, segmentSize)
		}
	}
	n := len(d.segs)
	segs := d.segs
	if n == cap(segs) {
		segs = make([]atomic.Pointer[segment[V]], n, 2*n+8)
		for i := range n {
			segs[i].Store(d.segs[i].Load())
		}
	}
	segs = segs[:n+1]
	segs[n].Store(seg)
	d = &directory[V]{base: d.base, segs: segs}
	l.dir.Store(d)
	return d
}

// entry returns a stored entry and its segment, or nil.
func (l *Log[V]) entry(seq uint64) (*driver.Entry[V], *segment[V]) {
	if seq < l.first.Load() || seq > l.tail.Load() {
		return nil, nil
	}
	seg := l.dir.Load().segment(seq)
	if seg == nil {
		return nil, nil
	}
	e := &seg.entries[index(seq)]
	if e.ID == uuid.Nil {
		return nil, nil
	}
	return e, seg
}

// byID returns the stored entry of an ID, or nil.
func (l *Log[V]) byID(id uuid.UUID) (*driver.Entry[V], *segment[V]) {
	seq, ours := l.ids.seq(id)
	if !ours {
		return nil, nil
	}
	e, seg := l.entry(seq)
	if e == nil || e.ID != id {
		return nil, nil
	}
	return e, seg
}

// dropOldest discards the oldest entry for retention's sake.
func (l *Log[V]) dropOldest() {
	seq := l.first.Load()
	e, seg := l.entry(seq)
	l.discard(e, seg, false)
	l.advance()
}

// discard empties an entry. onPurpose tells removal from retention: readers are told of what they missed only
// where it was not on purpose. The caller calls advance afterwards.
func (l *Log[V]) discard(e *driver.Entry[V], seg *segment[V], onPurpose bool) {
	seq := e.Seq
	if l.cfg.Claims {
		if s := &seg.slots[index(seq)]; s.claim != 0 {
			l.claims.end(s)
		}
	}
	if of := l.ofKey(e.Key); of != nil {
		for of.n > 0 && (of.at(0) == seq || l.gone(of.at(0))) {
			of.pop()
		}
		for of.n > 0 && (of.at(of.n-1) == seq || l.gone(of.at(of.n-1))) {
			of.n--
		}
		if of.n == 0 {
			delete(l.keys, e.Key)
		}
	}
	var b *box
	if l.boxes != nil {
		b = l.boxes[e.Box]
		b.live--
	}
	if onPurpose {
		l.all.discarded(seq, seq)
		if b != nil {
			b.trim(l.first.Load())
			ord := b.first + uint64(b.seqs.search(seq))
			b.discarded(ord, ord)
		}
	}
	l.count--
	seg.live--
	d := l.dir.Load()
	i := (seq-1)>>segmentShift - d.base
	last := i == uint64(len(d.segs)-1)
	switch {
	case !l.lockFree:
		*e = driver.Entry[V]{}
		if seg.live == 0 && !last {
			l.giveUp(d, i)
		}
	case seg.live == 0 && !last:
		if !onPurpose {
			l.first.Store(seq + 1) // before a reader can find the segment gone
		}
		l.giveUp(d, i)
	case onPurpose || seq != l.first.Load():
		// Readers may be looking at the segment: give the later ones a copy that lacks the entry.
		c := *seg
		c.entries[index(seq)] = driver.Entry[V]{}
		d.segs[i].Store(&c)
	default:
		// The oldest entry of a lock-free log: advance leaves it behind, and it goes with its segment.
		l.first.Store(seq + 1)
	}
}

// giveUp takes a segment without entries out of the directory. Where no reader can be looking at it, it is used again.
func (l *Log[V]) giveUp(d *directory[V], i uint64) {
	seg := d.segs[i].Swap(nil)
	switch {
	case seg == nil:
	case !l.lockFree:
		clear(seg.slots)
		l.spare = seg
	case l.spare == nil && !l.seen(seg):
		clear(seg.entries[:])
		l.spare = seg
	}
}

// mostLooked is how many readers are asked whether they look at a segment. With more of them, a new segment costs little
// beside their reading.
const mostLooked = 64

// seen reports whether a reader may be looking at a segment that is not in the directory any more: readers look there
// again after they said which one they hold.
func (l *Log[V]) seen(seg *segment[V]) bool {
	if seg.kept || len(l.open) > mostLooked {
		return true
	}
	for _, r := range l.open {
		if r.holds.Load() == seg {
			return true
		}
	}
	return false
}

// advance moves first over what was discarded and gives up the segments before it.
func (l *Log[V]) advance() {
	was, tail, d := l.first.Load(), l.tail.Load(), l.dir.Load()
	first := was
	for first <= tail {
		seg := d.segment(first)
		if seg == nil {
			first = ((first-1)>>segmentShift+1)<<segmentShift + 1
			continue
		}
		if seg.entries[index(first)].ID != uuid.Nil {
			break
		}
		first++
	}
	if first = min(first, tail+1); first != was {
		l.first.Store(first)
	}
	if n := (first-1)>>segmentShift - d.base; n > 0 && len(d.segs) > 0 {
		n = min(n, uint64(len(d.segs)-1)) // the last segment is where the next entry goes
		for i := range n {
			l.giveUp(d, i)
		}
		l.dir.Store(&directory[V]{base: d.base + n, segs: d.segs[n:]})
	}
}

func (l *Log[V]) Last(_ context.Context, key string) (driver.Entry[V], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return driver.Entry[V]{}, driver.ErrClosed
	}
	e, _ := l.entry(l.lastOf(key))
	if e == nil {
		return driver.Entry[V]{}, driver.ErrNotFound
	}
	return *e, nil
}

func (l *Log[V]) Remove(_ context.Context, ids []uuid.UUID) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return 0, driver.ErrClosed
	}
	n := 0
	for _, id := range ids {
		if e, seg := l.byID(id); e != nil {
			l.discard(e, seg, true)
			n++
		}
	}
	l.advance()
	return n, nil
}

func (l *Log[V]) Evict(_ context.Context, before time.Time, keep int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return 0, driver.ErrClosed
	}
	return l.evict(before, keep), nil
}

func (l *Log[V]) evict(before time.Time, keep int) int {
	was := l.count
	for l.count > 0 {
		e, _ := l.entry(l.first.Load())
		if !(keep >= 0 && l.count > keep || !before.IsZero() && e.Time.Before(before)) {
			break
		}
		l.dropOldest()
	}
	return was - l.count
}

// expire discards what is too old and comes back when the next entry will be.
func (l *Log[V]) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return
	}
	now := time.Now()
	l.evict(now.Add(-l.cfg.MaxAge+1), -1)
	l.expiry = nil
	if e, _ := l.entry(l.first.Load()); e != nil {
		l.expiry = time.AfterFunc(max(time.Millisecond, e.Time.Add(l.cfg.MaxAge).Sub(now)), l.expire)
	}
}

func (l *Log[V]) Clear(context.Context) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return 0, driver.ErrClosed
	}
	n, first, tail := l.count, l.first.Load(), l.tail.Load()
	if l.lockFree { // without touching the entries: readers may be looking at them
		if first <= tail {
			l.all.discarded(first, tail)
		}
		l.first.Store(tail + 1)
		l.dir.Store(&directory[V]{base: tail >> segmentShift})
		l.count = 0
		clear(l.keys)
		return n, nil
	}
	for seq := first; seq <= tail; seq++ {
		if e, seg := l.entry(seq); e != nil {
			l.discard(e, seg, true)
		}
	}
	l.advance()
	return n, nil
}

func (l *Log[V]) Newest(context.Context) (id uuid.UUID, err error) {
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

func (l *Log[V]) Len(context.Context) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return 0, driver.ErrClosed
	}
	return l.count, nil
}

func (l *Log[V]) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return nil
	}
	l.closed.Store(true)
	if l.expiry != nil {
		l.expiry.Stop()
	}
	l.claims.stop()
	l.readers.close()
	l.workers.close()
	return nil
}
