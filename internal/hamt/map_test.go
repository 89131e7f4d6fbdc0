package hamt

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// hashes from good to none at all.
var hashes = map[string]Hash[int]{
	"identity":   func(k int) uint64 { return uint64(k) },
	"spread":     func(k int) uint64 { return uint64(k) * 0x9e3779b97f4a7c15 },
	"high bits":  func(k int) uint64 { return uint64(k) << 58 },
	"four":       func(k int) uint64 { return uint64(k % 4) },
	"all alike":  func(int) uint64 { return 42 },
	"last digit": func(k int) uint64 { return uint64(k%2) << 63 },
}

func contents(m Map[int, int]) map[int]int { return maps.Collect(m.All()) }

func TestMapEqualsAMapOfGo(t *testing.T) {
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var m Map[int, int]
			want := map[int]int{}
			var e *Edit
			for i := range 4000 {
				if r.IntN(10) == 0 { // a new series, or single changes
					e = nil
					if r.IntN(2) == 0 {
						e = new(Edit)
					}
				}
				k := r.IntN(150)
				if r.IntN(3) == 0 {
					m = m.Delete(e, hash, k)
					delete(want, k)
				} else {
					m = m.Set(e, hash, k, i)
					want[k] = i
				}
				v, ok := m.Get(hash(k), k)
				w, there := want[k]
				require.Equal(t, there, ok)
				require.Equal(t, w, v)
				require.Equal(t, len(want) == 0, m.Empty())
				if i%50 == 0 {
					require.Equal(t, want, contents(m))
				}
			}
			for k := range want {
				m = m.Delete(e, hash, k)
			}
			require.True(t, m.Empty(), "a map from which everything was taken is empty")
		})
	}
}

func TestOlderMapsStayAsTheyWere(t *testing.T) {
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			var m Map[int, int]
			type version struct {
				m    Map[int, int]
				want map[int]int
			}
			var kept []version
			for i := range 60 {
				e := new(Edit)
				for range 20 {
					if k := r.IntN(100); r.IntN(3) == 0 {
						m = m.Delete(e, hash, k)
					} else {
						m = m.Set(e, hash, k, i)
					}
				}
				kept = append(kept, version{m, contents(m)})
			}
			for _, v := range kept {
				require.Equal(t, v.want, contents(v.m))
			}
		})
	}
}

func TestAllCanBeLeft(t *testing.T) {
	var m Map[int, int]
	for k := range 500 {
		m = m.Set(nil, hashes["spread"], k, k)
	}
	n := 0
	for range m.All() {
		if n++; n == 100 {
			break
		}
	}
	require.Equal(t, 100, n)
}

func TestLookUpsAllocateNothing(t *testing.T) {
	var m Map[string, *int]
	hash := func(s string) uint64 { return uint64(len(s)) }
	for i := range 100 {
		m = m.Set(nil, hash, fmt.Sprint(i), &i)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = m.Get(2, "42")
		_, _ = m.Get(3, "142")
	}))
}
