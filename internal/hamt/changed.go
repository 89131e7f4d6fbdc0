package hamt

import "iter"

// Changed yields the keys that two maps have different values for, or that one of them lacks. What the maps share is not
// looked at, so that it costs what lies between them, and not what they hold.
func Changed[K, V comparable](was, is Map[K, V]) iter.Seq[K] {
	return func(yield func(K) bool) { changed(was.root, is.root, yield) }
}

func changed[K, V comparable](x, y *branch[K, V], yield func(K) bool) bool {
	if x == y {
		return true
	}
	if x == nil || y == nil || x.leaves|x.forks == 0 || y.leaves|y.forks == 0 {
		return changedEntries(x.list(), y.list(), yield)
	}
	for set := x.leaves | x.forks | y.leaves | y.forks; set != 0; set &= set - 1 {
		bit := set & -set
		if x.forks&y.forks&bit != 0 {
			if !changed(x.below[rank(x.forks, bit)], y.below[rank(y.forks, bit)], yield) {
				return false
			}
		} else if !changedEntries(x.at(bit), y.at(bit), yield) {
			return false
		}
	}
	return true
}

// list returns all entries of a branch, which may be nil.
func (b *branch[K, V]) list() (all []entry[K, V]) {
	for k, v := range (Map[K, V]{b}).All() {
		all = append(all, entry[K, V]{k, v})
	}
	return all
}

// at returns what lies behind one bit.
func (b *branch[K, V]) at(bit uint64) []entry[K, V] {
	switch {
	case b.leaves&bit != 0:
		i := rank(b.leaves, bit)
		return b.entries[i : i+1]
	case b.forks&bit != 0:
		return b.below[rank(b.forks, bit)].list()
	}
	return nil
}

func changedEntries[K, V comparable](x, y []entry[K, V], yield func(K) bool) bool {
	if len(x) == 1 && len(y) == 1 && x[0] == y[0] {
		return true
	}
	had := make(map[K]V, len(x))
	for _, e := range x {
		had[e.key] = e.value
	}
	for _, e := range y {
		value, ok := had[e.key]
		delete(had, e.key)
		if (!ok || value != e.value) && !yield(e.key) {
			return false
		}
	}
	for _, e := range x {
		if _, left := had[e.key]; left && !yield(e.key) {
			return false
		}
	}
	return true
}
