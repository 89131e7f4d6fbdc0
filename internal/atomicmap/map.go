// Package atomicmap is a hash map for state that is read at every decision and changed now and then: readers take no lock
// and allocate nothing, a change replaces one entry and leaves the others alone.
package atomicmap

import (
	"hash/maphash"
	"iter"
	"sync/atomic"
)

// Map maps a pair of strings to a value. Readers may be many and need nothing; writers exclude each other by a mutex of
// the owner's. The zero value is an empty map once Init was called.
//
// It is an open-addressing table of pointers to immutable entries, at most half full: 16 to 32 bytes of table per key. Keys
// are never taken out; a value that is dead by the owner's word is dropped when the table is rebuilt, which happens when
// half of it is in use.
type Map[V any] struct {
	seed  maphash.Seed
	table atomic.Pointer[[]atomic.Pointer[entry[V]]]
	used  int // places in use, by live and dead entries
	dead  func(*V) bool
	drop  func(a, b string)
}

// entry has no room for the hash: with 32 bytes of value it fills a cache line.
type entry[V any] struct {
	a, b string
	v    V
}

const minSize = 16

// Init makes the map usable. dead says which values need not be kept; drop is told of every key that was not.
func (m *Map[V]) Init(dead func(*V) bool, drop func(a, b string)) {
	m.seed = maphash.MakeSeed()
	m.dead, m.drop = dead, drop
	t := make([]atomic.Pointer[entry[V]], minSize)
	m.table.Store(&t)
}

func (m *Map[V]) hash(a, b string) uint64 {
	h := maphash.String(m.seed, a)
	if b != "" {
		h = h*0x9e3779b97f4a7c15 + maphash.String(m.seed, b)
	}
	return h
}

// Get returns the value of a key, which must not be changed, or nil.
func (m *Map[V]) Get(a, b string) *V {
	h := m.hash(a, b)
	t := *m.table.Load()
	mask := uint64(len(t) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		e := t[i].Load()
		if e == nil {
			return nil
		}
		if e.a == a && e.b == b {
			return &e.v
		}
	}
}

// Set replaces the value of a key, as one step for readers.
func (m *Map[V]) Set(a, b string, v V) {
	e := &entry[V]{a: a, b: b, v: v}
	t := *m.table.Load()
	at := m.place(t, e)
	if t[at].Load() == nil {
		if m.used+1 > len(t)/2 {
			t = m.rebuild(t)
			at = m.place(t, e)
		}
		m.used++
	}
	t[at].Store(e)
}

// place returns where the entry of a key is, or belongs.
func (m *Map[V]) place(t []atomic.Pointer[entry[V]], e *entry[V]) uint64 {
	mask := uint64(len(t) - 1)
	for i := m.hash(e.a, e.b) & mask; ; i = (i + 1) & mask {
		if x := t[i].Load(); x == nil || x.a == e.a && x.b == e.b {
			return i
		}
	}
}

// rebuild publishes a table without the dead entries, a quarter full or a little more.
func (m *Map[V]) rebuild(old []atomic.Pointer[entry[V]]) []atomic.Pointer[entry[V]] {
	live := make([]*entry[V], 0, m.used)
	for i := range old {
		switch e := old[i].Load(); {
		case e == nil:
		case m.dead(&e.v):
			m.drop(e.a, e.b)
		default:
			live = append(live, e)
		}
	}
	size := minSize
	for size < 4*(len(live)+1) {
		size *= 2
	}
	t := make([]atomic.Pointer[entry[V]], size)
	for _, e := range live {
		t[m.place(t, e)].Store(e)
	}
	m.used = len(live)
	m.table.Store(&t)
	return t
}

// All yields every key whose value is not dead, in no order. It needs the writers' mutex to be a snapshot.
func (m *Map[V]) All() iter.Seq2[[2]string, *V] {
	return func(yield func([2]string, *V) bool) {
		t := *m.table.Load()
		for i := range t {
			if e := t[i].Load(); e != nil && !m.dead(&e.v) && !yield([2]string{e.a, e.b}, &e.v) {
				return
			}
		}
	}
}

// Places returns how many places of the table are in use, by dead entries, too.
func (m *Map[V]) Places() int { return m.used }

// Rebuild drops the dead entries now and returns how many are left.
func (m *Map[V]) Rebuild() int {
	m.rebuild(*m.table.Load())
	return m.used
}
