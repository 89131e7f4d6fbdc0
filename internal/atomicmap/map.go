// Package atomicmap is a hash map for state that is read at every decision and changed now and then: readers take no lock
// and allocate nothing, a change replaces one value and leaves the others alone.
package atomicmap

import (
	"hash/maphash"
	"iter"
	"sync/atomic"
)

// Map maps keys to pointers to values that nobody changes. Readers may be many and need nothing; writers exclude each
// other by a mutex of the owner's. The zero value is an empty map once Init was called.
//
// It is an open-addressing table, at most half full, in which a key lies beside its hash and its pointer: 64 to 128 bytes
// of table per string, and 192 for a while where more than half of them were dropped. Keys are never taken out; a value
// that is dead by the owner's word is dropped when the table is rebuilt, which happens when half of it is in use. A reader
// goes on in the old table meanwhile.
type Map[K comparable, V any] struct {
	seed  maphash.Seed
	table atomic.Pointer[[]slot[K, V]]
	used  int // slots in use, by live and dead values
	dead  func(*V) bool
	drop  func(K)
}

// slot fills half a cache line if its key is a string. Its hash and key never change once its value, set last, is there.
type slot[K comparable, V any] struct {
	hash  uint64
	key   K
	value atomic.Pointer[V]
}

const minSize = 16

// Init makes the map usable. dead says which values need not be kept; drop is told of every key that was not.
func (m *Map[K, V]) Init(dead func(*V) bool, drop func(K)) {
	m.seed = maphash.MakeSeed()
	m.dead, m.drop = dead, drop
	t := make([]slot[K, V], minSize)
	m.table.Store(&t)
}

// Get returns the value of a key, or nil.
func (m *Map[K, V]) Get(key K) *V {
	hash := maphash.Comparable(m.seed, key)
	t := *m.table.Load()
	for i := hash; ; i++ {
		s := &t[i&uint64(len(t)-1)]
		v := s.value.Load()
		if v == nil || s.hash == hash && s.key == key {
			return v
		}
	}
}

// Set replaces the value of a key, as one step for readers.
func (m *Map[K, V]) Set(key K, v *V) {
	hash := maphash.Comparable(m.seed, key)
	t := *m.table.Load()
	s := place(t, hash, key)
	if s.value.Load() == nil {
		if m.used+1 > len(t)/2 {
			s = place(m.rebuild(t), hash, key)
		}
		m.used++
		s.hash, s.key = hash, key
	}
	s.value.Store(v)
}

// place returns where a key is, or belongs.
func place[K comparable, V any](t []slot[K, V], hash uint64, key K) *slot[K, V] {
	for i := hash; ; i++ {
		s := &t[i&uint64(len(t)-1)]
		if s.value.Load() == nil || s.hash == hash && s.key == key {
			return s
		}
	}
}

// rebuild publishes a table without the dead values, at most a third full.
func (m *Map[K, V]) rebuild(old []slot[K, V]) []slot[K, V] {
	live := make([]*slot[K, V], 0, m.used)
	for i := range old {
		switch s := &old[i]; {
		case s.value.Load() == nil:
		case m.dead(s.value.Load()):
			m.drop(s.key)
		default:
			live = append(live, s)
		}
	}
	size := minSize
	for size < 3*(len(live)+1) {
		size *= 2
	}
	t := make([]slot[K, V], size)
	for _, from := range live {
		s := place(t, from.hash, from.key)
		s.hash, s.key = from.hash, from.key
		s.value.Store(from.value.Load())
	}
	m.used = len(live)
	m.table.Store(&t)
	return t
}

// All yields every key whose value is not dead, in no order. It needs the writers' mutex to be a snapshot.
func (m *Map[K, V]) All() iter.Seq2[K, *V] {
	return func(yield func(K, *V) bool) {
		t := *m.table.Load()
		for i := range t {
			if v := t[i].value.Load(); v != nil && !m.dead(v) && !yield(t[i].key, v) {
				return
			}
		}
	}
}

// Places returns how many places of the table are in use, by dead values, too.
func (m *Map[K, V]) Places() int { return m.used }

// Rebuild drops the dead values now and returns how many are left.
func (m *Map[K, V]) Rebuild() int {
	m.rebuild(*m.table.Load())
	return m.used
}
