package policy

import (
	"hash/maphash"
	"iter"
	"math/bits"

	"github.com/chansec/chansec/internal/hamt"
)

// children are what lies below a path, by segment. Most segments are short: those are kept as two numbers, which a decision
// finds and compares without looking anywhere else.
type children struct {
	short hamt.Map[shortSegment, *node]
	long  hamt.Map[string, *node]
}

// shortSegment is a segment of at most 15 bytes: the bytes, and their number in the last one.
type shortSegment struct{ low, high uint64 }

const mostShort = 15

// shorten returns a segment that is short enough as numbers.
func shorten(s string) shortSegment {
	n := len(s)
	length := uint64(n) << 56
	switch {
	case n >= 8: // the last eight bytes, without those that are among the first
		return shortSegment{load8(s), load8(s[n-8:])>>(8*(16-n)) | length}
	case n >= 4: // bytes that both halves have fall onto themselves
		return shortSegment{load4(s) | load4(s[n-4:])<<(8*(n-4)), length}
	}
	var low uint64
	for i := range n {
		low |= uint64(s[i]) << (8 * i)
	}
	return shortSegment{low, length}
}

func load8(s string) uint64 { return load4(s) | load4(s[4:])<<32 }

func load4(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

// text is the segment again.
func (s shortSegment) text() string {
	var b [mostShort]byte
	for i := range b {
		if i < 8 {
			b[i] = byte(s.low >> (8 * i))
		} else {
			b[i] = byte(s.high >> (8 * (i - 8)))
		}
	}
	return string(b[:s.high>>56])
}

// seed makes hashes that nobody outside can foresee.
var (
	seed              = maphash.MakeSeed()
	lowSeed, highSeed = maphash.String(seed, "low"), maphash.String(seed, "high")
)

func hashText(s string) uint64 { return maphash.String(seed, s) }

func hashShort(s shortSegment) uint64 {
	high, low := bits.Mul64(s.low^lowSeed, s.high^highSeed)
	return high ^ low
}

// hashID spreads nothing: role numbers are given out one by one, and fill a map best as they are.
func hashID(id uint32) uint64 { return uint64(id) }

// get returns the node of a segment, or nil.
func (c *children) get(segment string) (n *node) {
	if len(segment) <= mostShort {
		s := shorten(segment)
		n, _ = c.short.Get(hashShort(s), s)
		return n
	}
	n, _ = c.long.Get(hashText(segment), segment)
	return n
}

// set replaces the node of a segment, of which it keeps no part of a longer string.
func (c *children) set(e *hamt.Edit, segment string, n *node) {
	switch {
	case len(segment) <= mostShort:
		c.short = c.short.Set(e, hashShort, shorten(segment), n)
	case c.get(segment) == nil:
		c.long = c.long.Set(e, hashText, string([]byte(segment)), n)
	default:
		c.long = c.long.Set(e, hashText, segment, n)
	}
}

func (c *children) delete(e *hamt.Edit, segment string) {
	if len(segment) <= mostShort {
		c.short = c.short.Delete(e, hashShort, shorten(segment))
	} else {
		c.long = c.long.Delete(e, hashText, segment)
	}
}

func (c *children) empty() bool { return c.short.Empty() && c.long.Empty() }

// all yields the segments and their nodes, in no order.
func (c *children) all() iter.Seq2[string, *node] {
	return func(yield func(string, *node) bool) {
		for s, n := range c.short.All() {
			if !yield(s.text(), n) {
				return
			}
		}
		for s, n := range c.long.All() {
			if !yield(s, n) {
				return
			}
		}
	}
}
