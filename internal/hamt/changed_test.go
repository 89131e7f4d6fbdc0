package hamt

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChangedIsWhatTwoMapsDifferIn(t *testing.T) {
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			var was, is Map[int, int]
			for range 600 {
				switch r.IntN(40) {
				case 0:
					was = is
				case 1:
					was, is = is, was
				case 2:
					was = Map[int, int]{}
				}
				for range r.IntN(4) {
					if k := r.IntN(200); r.IntN(3) == 0 {
						is = is.Delete(nil, hash, k)
					} else {
						is = is.Set(nil, hash, k, r.IntN(3))
					}
				}
				x, y := contents(was), contents(is)
				want := map[int]bool{}
				for k := range 200 {
					v, ok := x[k]
					w, there := y[k]
					if ok != there || v != w {
						want[k] = true
					}
				}
				got := map[int]bool{}
				for k := range Changed(was, is) {
					require.False(t, got[k], "each key once")
					got[k] = true
				}
				require.Equal(t, want, got)
				for range Changed(was, is) {
					break
				}
			}
		})
	}
}

// What two maps share is not looked at.
func TestChangedCostsWhatLiesBetween(t *testing.T) {
	hash := hashes["spread"]
	var m Map[int, int]
	e := new(Edit)
	for k := range 100_000 {
		m = m.Set(e, hash, k, k)
	}
	next := m.Set(nil, hash, 7, 0)
	require.Less(t, testing.AllocsPerRun(10, func() {
		for range Changed(m, next) {
		}
	}), 20.0)
	require.Less(t, int64(testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			for range Changed(m, next) {
			}
		}
	}).NsPerOp()), int64(100_000), "a map of this size takes far longer to walk")
}
