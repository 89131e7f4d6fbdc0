package memory

import "slices"

// ring is a queue of increasing sequence numbers with random access.
type ring struct {
	buf     []uint64 // length a power of two, or nil
	head, n int
}

func (r *ring) at(i int) uint64 { return r.buf[(r.head+i)&(len(r.buf)-1)] }

func (r *ring) push(seq uint64) {
	if r.n == len(r.buf) {
		grown := make([]uint64, max(8, 2*len(r.buf)))
		for i := range r.n {
			grown[i] = r.at(i)
		}
		r.buf, r.head = grown, 0
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = seq
	r.n++
}

func (r *ring) pop() {
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
}

// search returns the index of the first number that is at least seq.
func (r *ring) search(seq uint64) int {
	lo, hi := 0, r.n
	for lo < hi {
		if mid := (lo + hi) / 2; r.at(mid) < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// spans is a set of numbers kept as disjoint, ascending, closed intervals.
type spans []span

type span struct{ lo, hi uint64 }

// maxSpans bounds the memory for numbers removed here and there. Beyond it the oldest interval is forgotten, so that a
// reader that is further behind than that many intervals is told of more missed entries than there were.
const maxSpans = 4096

func (s *spans) add(lo, hi uint64) (forgotten uint64) {
	if n := len(*s); n > 0 && (*s)[n-1].hi+1 == lo { // what is done in order
		(*s)[n-1].hi = hi
		return 0
	}
	i, _ := slices.BinarySearchFunc(*s, lo, func(x span, lo uint64) int {
		if x.hi+1 < lo {
			return -1
		}
		return 1
	})
	j := i
	for j < len(*s) && (*s)[j].lo <= hi+1 {
		lo, hi = min(lo, (*s)[j].lo), max(hi, (*s)[j].hi)
		j++
	}
	if i == j && len(*s) == maxSpans {
		if i == 0 {
			return hi
		}
		forgotten = (*s)[0].hi
		*s = slices.Delete(*s, 0, 1)
		i, j = i-1, j-1
	}
	*s = slices.Replace(*s, i, j, span{lo, hi})
	return forgotten
}

// count returns how many numbers of [lo, hi] are in the set.
func (s spans) count(lo, hi uint64) (n uint64) {
	i, _ := slices.BinarySearchFunc(s, lo, func(x span, lo uint64) int {
		if x.hi < lo {
			return -1
		}
		return 1
	})
	for ; i < len(s) && s[i].lo <= hi; i++ {
		n += min(hi, s[i].hi) - max(lo, s[i].lo) + 1
	}
	return n
}

// minHeap is a binary heap of sequence numbers, the smallest first.
type minHeap []uint64

func (h *minHeap) push(seq uint64) {
	*h = append(*h, seq)
	a := *h
	for i := len(a) - 1; i > 0; {
		up := (i - 1) / 2
		if a[up] <= a[i] {
			break
		}
		a[up], a[i] = a[i], a[up]
		i = up
	}
}

func (h *minHeap) pop() {
	a := *h
	last := len(a) - 1
	a[0] = a[last]
	a = a[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(a); c++ {
			if a[c] < a[least] {
				least = c
			}
		}
		if least == i {
			break
		}
		a[i], a[least] = a[least], a[i]
		i = least
	}
	*h = a
}
