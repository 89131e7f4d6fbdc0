package atomicmap

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

type key = [2]string

// newMap returns a map of numbers of which the negative ones are dead, and the keys that it dropped.
func newMap() (*Map[key, int], map[key]int) {
	var m Map[key, int]
	dropped := make(map[key]int)
	m.Init(func(v *int) bool { return *v < 0 }, func(k key) { dropped[k]++ })
	return &m, dropped
}

func get(m *Map[key, int], a, b string) any {
	if v := m.Get(key{a, b}); v != nil {
		return *v
	}
	return nil
}

func TestKeysArePairs(t *testing.T) {
	m, _ := newMap()
	keys := []key{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a", ""}, {"", "a"}, {"", ""}, {"b", "a"}, {"a\x00b", ""}, {"a", "\x00b"}, {"\xff", "\xfe"}}
	for i, k := range keys {
		require.Nil(t, get(m, k[0], k[1]), "%q before it was set", k)
		m.Set(k, &i)
	}
	for i, k := range keys {
		require.Equal(t, i, get(m, k[0], k[1]), "%q", k)
	}
	require.Equal(t, len(keys), m.Places())
}

func TestSetReplaces(t *testing.T) {
	m, _ := newMap()
	m.Set(key{"a", ""}, new(1))
	old := m.Get(key{"a", ""})
	m.Set(key{"a", ""}, new(2))
	require.Equal(t, 2, get(m, "a", ""))
	require.Equal(t, 1, *old, "a value that somebody looks at stays as it is")
	require.Equal(t, 1, m.Places())
}

func TestDeadEntriesAreDroppedWhenTheTableIsRebuilt(t *testing.T) {
	m, dropped := newMap()
	m.Set(key{"dead", "x"}, new(-1))
	m.Set(key{"live", "x"}, new(1))
	require.Equal(t, -1, get(m, "dead", "x"), "until then it is there")
	require.Equal(t, 1, m.Rebuild())
	require.Nil(t, get(m, "dead", "x"))
	require.Equal(t, 1, get(m, "live", "x"))
	require.Equal(t, map[key]int{{"dead", "x"}: 1}, dropped)

	m.Set(key{"dying", ""}, new(5))
	m.Set(key{"dying", ""}, new(-5))
	for i := range 1000 { // rebuilds come by themselves
		m.Set(key{fmt.Sprint(i), ""}, &i)
	}
	require.Equal(t, 1, dropped[key{"dying", ""}])
	require.Equal(t, 1001, m.Places())
}

func TestTableIsAtMostHalfFull(t *testing.T) {
	m, _ := newMap()
	for i := range 5000 {
		m.Set(key{"key", fmt.Sprint(i)}, &i)
		require.LessOrEqual(t, 2*m.used, len(*m.table.Load()))
	}
	require.Less(t, len(*m.table.Load()), 8*5000)
	for i := range 5000 {
		m.Set(key{"key", fmt.Sprint(i)}, new(-1))
	}
	require.Zero(t, m.Rebuild())
	require.Len(t, *m.table.Load(), minSize, "it shrinks, too")
}

func TestAll(t *testing.T) {
	m, _ := newMap()
	want := map[key]int{}
	for i := range 100 {
		k := key{fmt.Sprint(i), fmt.Sprint(i % 3)}
		m.Set(k, &i)
		want[k] = i
	}
	m.Set(key{"dead", ""}, new(-1))
	got := map[key]int{}
	for k, v := range m.All() {
		got[k] = *v
	}
	require.Equal(t, want, got)
	n := 0
	for range m.All() {
		if n++; n == 3 {
			break
		}
	}
	require.Equal(t, 3, n)
}

func TestMapEqualsAMapOfGo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		m, dropped := newMap()
		want := map[key]int{}
		for range 5000 {
			a, b := fmt.Sprint(r.IntN(300)), fmt.Sprint(r.IntN(3))
			switch r.IntN(10) {
			case 0, 1, 2, 3:
				v := r.IntN(1000) - 300
				m.Set(key{a, b}, &v)
				want[key{a, b}] = v
			case 4:
				if r.IntN(50) == 0 {
					m.Rebuild()
				}
			default:
				w, ok := want[key{a, b}]
				switch got := m.Get(key{a, b}); {
				case got != nil:
					require.True(t, ok)
					require.Equal(t, w, *got)
				case ok:
					require.Negative(t, w, "only dead entries may be missing")
					require.Positive(t, dropped[key{a, b}], "and then the owner was told")
				}
			}
		}
	}
}

// TestReadersSeeWhatWasSet lets readers race with changes and rebuilds: what was set before a look-up began is what it
// finds, or something newer.
func TestReadersSeeWhatWasSet(t *testing.T) {
	const keys = 200
	m, _ := newMap()
	var set [keys]atomic.Int64
	name := func(i int) string { return fmt.Sprint("key ", i) }
	var done atomic.Bool
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 9))
			for !done.Load() {
				i := r.IntN(keys)
				least := set[i].Load()
				v := m.Get(key{name(i), ""})
				if least > 0 && (v == nil || int64(*v) < least) {
					t.Errorf("%s: found %v, at least %d was set", name(i), v, least)
					return
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(7, 8))
	for n := range 50_000 {
		i := r.IntN(keys)
		m.Set(key{name(i), ""}, new(n+1))
		set[i].Store(int64(n + 1))
		if n%3 == 0 { // dead entries make the table be rebuilt now and then
			m.Set(key{"dead", fmt.Sprint(n)}, new(-1))
		}
	}
	done.Store(true)
	wg.Wait()
}

func TestLookUpsAllocateNothing(t *testing.T) {
	m, _ := newMap()
	m.Set(key{"system", "channel"}, new(1))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_ = m.Get(key{"system", "channel"})
		_ = m.Get(key{"system", ""})
	}))
}
