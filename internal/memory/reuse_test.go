package memory

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

func TestSegmentsAreUsedAgain(t *testing.T) {
	f := newFixture(t, driver.Config{MaxMessages: 10})
	segments := func(rounds int) int {
		seen := map[*segment[int]]bool{}
		for range rounds {
			f.fill(segmentSize)
			d := f.dir.Load()
			seen[d.segs[len(d.segs)-1].Load()] = true
		}
		return len(seen)
	}
	require.LessOrEqual(t, segments(50), 3, "nobody reads")

	r := f.open(driver.View{}, driver.From{Tail: true})
	f.fill(3)
	b, err := r.Next(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, b.Entries, 3)
	require.LessOrEqual(t, segments(50), 4, "one is kept for a reader")

	for range mostLooked {
		f.open(driver.View{}, driver.From{Tail: true})
	}
	require.Greater(t, segments(50), 40, "with many readers, nobody is asked")
}

func TestEntriesStayUntilTheNextCall(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(f fixture, r *reader[int])
	}{
		{"while retention goes on", func(fixture, *reader[int]) {}},
		{"after Commit", func(_ fixture, r *reader[int]) { r.Commit(3) }},
		{"after Close", func(_ fixture, r *reader[int]) { r.Close() }},
		{"after everything was cleared", func(f fixture, _ *reader[int]) {
			_, err := f.Clear(f.Context())
			require.NoError(f, err)
		}},
		{"after an entry was removed", func(f fixture, _ *reader[int]) {
			f.remove(f.append(driver.Head{}, 1)...)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, driver.Config{MaxMessages: 10})
			f.fill(segmentSize - 7)
			r := f.open(driver.View{}, driver.From{})
			b, err := r.Next(t.Context(), 5)
			require.NoError(t, err)
			was := slices.Clone(b.Entries)
			require.Len(t, was, 5)
			for range 3 {
				tt.then(f, r)
				f.fill(2 * segmentSize)
				require.Equal(t, was, b.Entries)
			}
		})
	}
}

func TestNobodySeesASegmentThatIsUsedAgain(t *testing.T) {
	f := newFixture(t, driver.Config{MaxMessages: 3})
	const rounds = 300
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for round := range rounds {
				r, err := f.Open(t.Context(), driver.View{}, driver.From{})
				if err != nil {
					t.Error(err)
					return
				}
				var closing sync.WaitGroup
				for i := range 20 {
					b, err := r.Next(t.Context(), 1+n)
					if err == driver.ErrClosed {
						break
					}
					if i == 5 && round%2 == 0 {
						closing.Go(r.Close)
					}
					for range 3 {
						for j, e := range b.Entries {
							if e.Value != int(e.Seq) || e.Seq != b.Entries[0].Seq+uint64(j) {
								t.Errorf("entry %d of sequence number %d holds %d", j, e.Seq, e.Value)
							}
						}
					}
					r.Commit(len(b.Entries))
				}
				closing.Wait()
				r.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for i := 1; ; i++ {
		select {
		case <-done:
			require.Empty(t, f.Log.open)
			return
		default:
			f.append(driver.Head{}, i)
		}
	}
}
