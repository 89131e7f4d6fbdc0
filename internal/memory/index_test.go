package memory

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpansAdd(t *testing.T) {
	for _, tt := range []struct {
		name string
		add  [][2]uint64
		want spans
	}{
		{"one number", [][2]uint64{{5, 5}}, spans{{5, 5}}},
		{"the next number extends the last interval", [][2]uint64{{5, 5}, {6, 6}}, spans{{5, 6}}},
		{"the number before extends the first interval", [][2]uint64{{5, 5}, {4, 4}}, spans{{4, 5}}},
		{"a gap stays a gap", [][2]uint64{{5, 5}, {7, 7}}, spans{{5, 5}, {7, 7}}},
		{"what fills the gap joins both sides", [][2]uint64{{5, 5}, {7, 7}, {6, 6}}, spans{{5, 7}}},
		{"an earlier interval comes first", [][2]uint64{{9, 9}, {2, 3}}, spans{{2, 3}, {9, 9}}},
		{"an interval swallows those within it", [][2]uint64{{2, 2}, {4, 4}, {6, 6}, {1, 9}}, spans{{1, 9}}},
		{"an interval that reaches over others joins them", [][2]uint64{{1, 3}, {6, 8}, {11, 12}, {2, 10}}, spans{{1, 12}}},
		{"what is there already changes nothing", [][2]uint64{{1, 9}, {3, 4}}, spans{{1, 9}}},
		{"zero is a number", [][2]uint64{{0, 0}, {1, 1}}, spans{{0, 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s spans
			for _, a := range tt.add {
				s.add(a[0], a[1])
			}
			require.Equal(t, tt.want, s)
		})
	}
}

func TestSpansCount(t *testing.T) {
	s := spans{{2, 4}, {8, 8}, {10, 20}}
	for _, tt := range []struct {
		name   string
		lo, hi uint64
		want   uint64
	}{
		{"before all", 0, 1, 0},
		{"between two", 5, 7, 0},
		{"behind all", 21, 100, 0},
		{"part of one", 3, 3, 1},
		{"from the middle of one to the middle of another", 4, 12, 1 + 1 + 3},
		{"everything", 0, 100, 3 + 1 + 11},
		{"an empty range", 4, 3, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, s.count(tt.lo, tt.hi))
		})
	}
}

func TestSpansEqualASet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var s spans
		set := make(map[uint64]bool)
		for range 100 {
			lo := r.Uint64N(300)
			hi := lo + r.Uint64N(r.Uint64N(20)+1)
			if slices.ContainsFunc(numbers(lo, hi), func(n uint64) bool { return set[n] }) {
				continue // the log removes nothing twice
			}
			s.add(lo, hi)
			for _, n := range numbers(lo, hi) {
				set[n] = true
			}
			lo = r.Uint64N(320)
			hi = lo + r.Uint64N(100)
			want := uint64(0)
			for _, n := range numbers(lo, hi) {
				if set[n] {
					want++
				}
			}
			require.Equal(t, want, s.count(lo, hi))
		}
		for i := 1; i < len(s); i++ {
			require.Less(t, s[i-1].hi+1, s[i].lo, "intervals are apart and in order")
		}
	}
}

func numbers(lo, hi uint64) (list []uint64) {
	for n := lo; n <= hi; n++ {
		list = append(list, n)
	}
	return list
}

func TestSpansAreBounded(t *testing.T) {
	var s spans
	for i := range uint64(maxSpans + 100) {
		s.add(1000+2*i, 1000+2*i)
	}
	require.Len(t, s, maxSpans)
	require.Equal(t, span{1200, 1200}, s[0], "the oldest went")
	s.add(5, 5)
	require.Len(t, s, maxSpans)
	require.Equal(t, span{1200, 1200}, s[0], "one that is older still is not kept")
	s.add(1301, 1301)
	require.Len(t, s, maxSpans-1)
	require.EqualValues(t, 3, s.count(1300, 1302), "joining needs no room")
}

func TestRing(t *testing.T) {
	t.Run("keeps the order while it grows and wraps", func(t *testing.T) {
		var r ring
		var want []uint64
		rnd := rand.New(rand.NewPCG(3, 4))
		next := uint64(1)
		for range 5000 {
			if rnd.IntN(100) < 55 || len(want) == 0 {
				next += rnd.Uint64N(3) + 1
				r.push(next)
				want = append(want, next)
			} else {
				r.pop()
				want = want[1:]
			}
			require.Equal(t, len(want), r.n)
			if len(want) > 0 {
				i := rnd.IntN(len(want))
				require.Equal(t, want[i], r.at(i))
			}
			x := next - min(next, rnd.Uint64N(100))
			i, _ := slices.BinarySearch(want, x)
			require.Equal(t, i, r.search(x))
		}
	})
	t.Run("an empty one has no place for anything but its end", func(t *testing.T) {
		var r ring
		require.Zero(t, r.search(7))
	})
}

func TestMinHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var h minHeap
		var want []uint64
		for range 200 {
			if r.IntN(3) > 0 || len(want) == 0 {
				n := r.Uint64N(50)
				h.push(n)
				want = append(want, n)
				slices.Sort(want)
			} else {
				h.pop()
				want = want[1:]
			}
			require.Len(t, h, len(want))
			if len(want) > 0 {
				require.Equal(t, want[0], h[0])
			}
		}
	}
}
