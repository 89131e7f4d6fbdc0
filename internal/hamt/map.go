// Package hamt is a hash map whose changes leave the map as it was and share most of it with the new one, so that a
// snapshot of everything costs one pointer, and a change costs the same however large the map is.
//
// It is a hash array mapped trie of 64 ways (Bagwell, "Ideal Hash Trees", with entries and branches kept apart as in
// Steindorfer and Vinju, "Optimizing Hash-Array Mapped Tries").
package hamt

import (
	"iter"
	"math/bits"
	"slices"
)

// Map maps keys to values. Its zero value is empty. Readers need nothing; whoever got a map may go on reading it whatever
// is made from it, except by the Edit that made it.
type Map[K comparable, V any] struct {
	root *branch[K, V]
}

// Edit is one series of changes. What was made in a series is changed in place by the rest of it, so that a thousand
// changes do not cost a thousand copies. Dropping the Edit ends the series; nil is a series of one change.
type Edit struct{ _ byte }

// Hash makes the hash of a key. It must be the same for every use of a map.
type Hash[K comparable] func(K) uint64

// branch is what lies behind one prefix of a hash. Bit i of leaves says that the entry of the next six bits i is here, bit
// i of forks that it lies behind a branch of below. Where the hash is used up, both are 0 and the entries are a list.
type branch[K comparable, V any] struct {
	edit          *Edit
	leaves, forks uint64
	entries       []entry[K, V]
	below         []*branch[K, V]
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

const (
	width  = 6
	levels = (64 + width - 1) / width // how many branches a hash lasts for
)

// Get returns the value of a key, whose hash is given.
func (m Map[K, V]) Get(hash uint64, key K) (value V, ok bool) {
	for b := m.root; b != nil; hash >>= width {
		bit := uint64(1) << (hash & (1<<width - 1))
		if b.leaves&bit != 0 {
			e := &b.entries[rank(b.leaves, bit)]
			if e.key == key {
				return e.value, true
			}
			return value, false
		}
		if b.forks&bit == 0 {
			return b.listed(key)
		}
		b = b.below[rank(b.forks, bit)]
	}
	return value, false
}

// listed looks for a key among those that share all of their hash.
func (b *branch[K, V]) listed(key K) (value V, ok bool) {
	if b.leaves|b.forks == 0 {
		for i := range b.entries {
			if b.entries[i].key == key {
				return b.entries[i].value, true
			}
		}
	}
	return value, false
}

// rank is the place of a bit among those that are set.
func rank(set, bit uint64) int { return bits.OnesCount64(set & (bit - 1)) }

// Empty reports whether there is nothing in the map.
func (m Map[K, V]) Empty() bool { return m.root == nil }

// Set returns the map with a key's value replaced.
func (m Map[K, V]) Set(e *Edit, hash Hash[K], key K, value V) Map[K, V] {
	h := hash(key)
	if m.root == nil {
		return Map[K, V]{&branch[K, V]{e, 1 << (h & (1<<width - 1)), 0, []entry[K, V]{{key, value}}, nil}}
	}
	return Map[K, V]{m.root.set(e, hash, h, 1, entry[K, V]{key, value})}
}

// set sets an entry; h is what is left of its hash at this level.
func (b *branch[K, V]) set(e *Edit, hash Hash[K], h uint64, level int, n entry[K, V]) *branch[K, V] {
	b = b.own(e)
	if level > levels {
		if i := slices.IndexFunc(b.entries, func(o entry[K, V]) bool { return o.key == n.key }); i >= 0 {
			b.entries[i].value = n.value
		} else {
			b.entries = append(b.entries, n)
		}
		return b
	}
	bit := uint64(1) << (h & (1<<width - 1))
	switch {
	case b.forks&bit != 0:
		i := rank(b.forks, bit)
		b.below[i] = b.below[i].set(e, hash, h>>width, level+1, n)
	case b.leaves&bit == 0:
		b.entries = insert(b.entries, rank(b.leaves, bit), n)
		b.leaves |= bit
	default:
		i := rank(b.leaves, bit)
		old := b.entries[i]
		if old.key == n.key {
			b.entries[i].value = n.value
			break
		}
		split := (&branch[K, V]{edit: e}).set(e, hash, hash(old.key)>>(width*level), level+1, old)
		split = split.set(e, hash, h>>width, level+1, n)
		b.below = insert(b.below, rank(b.forks, bit), split)
		b.forks |= bit
		b.entries = slices.Delete(b.entries, i, i+1)
		b.leaves &^= bit
	}
	return b
}

// Delete returns the map without a key.
func (m Map[K, V]) Delete(e *Edit, hash Hash[K], key K) Map[K, V] {
	h := hash(key)
	if _, ok := m.Get(h, key); !ok {
		return m
	}
	b := m.root.delete(e, h, 1, key)
	if len(b.entries)+len(b.below) == 0 {
		b = nil
	}
	return Map[K, V]{b}
}

// delete takes out an entry that is there.
func (b *branch[K, V]) delete(e *Edit, h uint64, level int, key K) *branch[K, V] {
	b = b.own(e)
	if level > levels {
		b.entries = slices.DeleteFunc(b.entries, func(o entry[K, V]) bool { return o.key == key })
		return b
	}
	bit := uint64(1) << (h & (1<<width - 1))
	if b.leaves&bit != 0 {
		i := rank(b.leaves, bit)
		b.entries = slices.Delete(b.entries, i, i+1)
		b.leaves &^= bit
		return b
	}
	i := rank(b.forks, bit)
	c := b.below[i].delete(e, h>>width, level+1, key)
	b.below[i] = c
	if len(c.below) == 0 && len(c.entries) == 1 { // an entry lies as high as it can
		b.below = slices.Delete(b.below, i, i+1)
		b.forks &^= bit
		b.entries = insert(b.entries, rank(b.leaves, bit), c.entries[0])
		b.leaves |= bit
	}
	return b
}

// own returns a branch that the edit may change: b itself if the edit made it, or else a copy.
func (b *branch[K, V]) own(e *Edit) *branch[K, V] {
	if e != nil && b.edit == e {
		return b
	}
	return &branch[K, V]{e, b.leaves, b.forks, slices.Clone(b.entries), slices.Clone(b.below)}
}

// insert is slices.Insert with little room to spare, since most branches are small and there are many.
func insert[T any](s []T, i int, v T) []T {
	if len(s) == cap(s) {
		s = append(make([]T, 0, len(s)+1+len(s)/8), s...)
	}
	return slices.Insert(s, i, v)
}

// All yields every key and its value, in the order of their hashes.
func (m Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.root != nil {
			m.root.all(yield)
		}
	}
}

func (b *branch[K, V]) all(yield func(K, V) bool) bool {
	for i := range b.entries {
		if !yield(b.entries[i].key, b.entries[i].value) {
			return false
		}
	}
	for _, c := range b.below {
		if !c.all(yield) {
			return false
		}
	}
	return true
}
