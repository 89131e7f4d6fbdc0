package memory

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

// stressWrites is how many entries the stress tests append: enough for the log to be overtaken thousands of times.
func stressWrites() int {
	if testing.Short() {
		return 20_000
	}
	return 100_000
}

// follow reads until the entry with the last value was seen or missed. It returns how many entries were read and missed
// and fails if any was out of order.
func follow(t *testing.T, r driver.Reader[int], done <-chan struct{}) (read, missed uint64) {
	t.Helper()
	ctx := t.Context()
	wake := make(chan struct{}, 1)
	var last uint64
	for {
		finished := false
		select {
		case <-done:
			finished = true // everything was published before
		default:
		}
		batch, err := r.Next(ctx, 50)
		if err != nil {
			t.Errorf("Next: %v", err)
			return read, missed
		}
		missed += batch.Missed
		for i := range batch.Entries {
			e := &batch.Entries[i]
			if e.Seq <= last || e.ID == uuid.Nil {
				t.Errorf("entry %d (%v) after %d", e.Seq, e.ID, last)
			}
			last = e.Seq
		}
		read += uint64(len(batch.Entries))
		r.Commit(len(batch.Entries))
		if len(batch.Entries) == 0 && batch.Missed == 0 {
			if finished {
				return read, missed
			}
			if !r.Wake(wake) {
				select {
				case <-wake:
				case <-done:
				}
			}
		}
	}
}

func TestReadersThatAreOvertakenAreToldOfEveryEntry(t *testing.T) {
	for _, mode := range modes {
		if mode.cfg.Reject || mode.cfg.MaxAge > 0 {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			for _, size := range []int{1, 5, 127, 128, 200} {
				cfg := mode.cfg
				cfg.MaxMessages = size
				log, err := New[int](cfg)
				require.NoError(t, err)
				done := make(chan struct{})
				var wg sync.WaitGroup
				var sums [4][2]uint64
				for i := range sums {
					r, err := log.Open(t.Context(), driver.View{}, driver.From{})
					require.NoError(t, err)
					wg.Go(func() {
						sums[i][0], sums[i][1] = follow(t, r, done)
						r.Close()
					})
				}
				n := stressWrites() / 4
				for i := range n {
					_, err := log.Append(t.Context(), driver.Head{}, i)
					require.NoError(t, err)
				}
				close(done)
				wg.Wait()
				for _, s := range sums {
					require.Equal(t, uint64(n), s[0]+s[1], "of %d entries %d were read and %d reported as missed (size %d)", n, s[0], s[1], size)
				}
				require.NoError(t, log.Close())
			}
		})
	}
}

// TestReadersNeverMeetWhatWasRemoved lets readers race with every way in which entries go.
func TestReadersNeverMeetWhatWasRemoved(t *testing.T) {
	for _, mode := range modes {
		if mode.cfg.Reject {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			ctx := t.Context()
			cfg := mode.cfg
			cfg.MaxMessages = 300
			log, err := New[int](cfg)
			require.NoError(t, err)
			done := make(chan struct{})
			var gone atomic.Uint64 // everything up to this sequence number was discarded before it was stored here
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					r, err := log.Open(ctx, driver.View{All: true}, driver.From{})
					if err != nil {
						t.Errorf("Open: %v", err)
						return
					}
					defer r.Close()
					for last := uint64(0); ; {
						select {
						case <-done:
							return
						default:
						}
						floor := gone.Load()
						batch, err := r.Next(ctx, 40)
						if err != nil {
							t.Errorf("Next: %v", err)
							return
						}
						for i := range batch.Entries {
							e := &batch.Entries[i]
							if e.Seq <= floor || e.Seq <= last || e.ID == uuid.Nil || uint64(e.Value) != e.Seq {
								t.Errorf("entry %d with value %d after %d, where everything up to %d was gone", e.Seq, e.Value, last, floor)
								return
							}
							last = e.Seq
						}
						r.Commit(len(batch.Entries))
					}
				})
			}
			var live []driver.Stamp // what is stored, except for what retention took meanwhile
			ids := func(stamps ...driver.Stamp) (list []uuid.UUID) {
				for _, s := range stamps {
					list = append(list, s.ID)
				}
				return list
			}
			for i := range stressWrites() / 4 {
				s, err := log.Append(ctx, driver.Head{}, i+1)
				require.NoError(t, err)
				live = append(live, s)
				live = live[max(0, len(live)-300):]
				switch mid := len(live) / 2; {
				case i%701 == 0:
					_, err = log.Clear(ctx)
					live = nil
					gone.Store(s.Seq)
				case i%97 == 0:
					_, err = log.Evict(ctx, time.Time{}, 20)
					live = live[max(0, len(live)-20):]
					gone.Store(live[0].Seq - 1)
				case i%13 == 0: // here and there
					_, err = log.Remove(ctx, ids(live[mid], live[len(live)-1]))
					live = slices.Delete(live[:len(live)-1], mid, min(mid+1, len(live)-1))
				case i%211 == 0: // a stretch that spans segments
					_, err = log.Remove(ctx, ids(live[:mid]...))
					live = live[mid:]
				}
				require.NoError(t, err)
			}
			close(done)
			wg.Wait()
			require.NoError(t, log.Close())
		})
	}
}

func TestNoWakeUpIsLost(t *testing.T) {
	for _, mode := range modes {
		if mode.cfg.Reject {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			cfg := mode.cfg
			cfg.MaxMessages = 1 << 20
			cfg.MaxAge = 0
			log, err := New[int](cfg)
			require.NoError(t, err)
			// Every reader waits for every entry: the next one is appended only when all of them have it.
			const readers = 5
			var wg sync.WaitGroup
			have := make(chan uint64, readers)
			n := stressWrites() / 20
			for range readers {
				r, err := log.Open(t.Context(), driver.View{}, driver.From{})
				require.NoError(t, err)
				wg.Go(func() {
					defer r.Close()
					wake := make(chan struct{}, 1)
					for got := 0; got < n; {
						batch, err := r.Next(t.Context(), 10)
						if err != nil {
							t.Errorf("Next: %v", err)
							return
						}
						for range batch.Entries {
							got++
							have <- 1
						}
						r.Commit(len(batch.Entries))
						if len(batch.Entries) == 0 && !r.Wake(wake) {
							<-wake
						}
					}
				})
			}
			for i := range n {
				_, err := log.Append(t.Context(), driver.Head{}, i)
				require.NoError(t, err)
				for range readers {
					<-have
				}
			}
			wg.Wait()
			require.NoError(t, log.Close())
		})
	}
}

// TestEveryEntryIsClaimedOnceAtATime lets workers of two boxes claim, give back, extend, acknowledge and be released
// while others write and remove, and counts who had what.
func TestEveryEntryIsClaimedOnceAtATime(t *testing.T) {
	ctx := t.Context()
	log, err := New[int](driver.Config{MaxMessages: 1 << 20, Claims: true, Boxes: true, MaxBoxes: 10})
	require.NoError(t, err)
	n := stressWrites() / 5
	holders := make([]atomic.Int32, n+1)
	done := make([]atomic.Int32, n+1)
	var left atomic.Int64
	left.Store(int64(n))
	finished := make(chan struct{})
	var wg sync.WaitGroup
	for id := range 6 {
		who := driver.Consumer{Name: []string{"a", "b"}[id%2], Session: uint64(id)}
		wg.Go(func() {
			wake := make(chan struct{}, 1)
			var buf []driver.Claimed[int]
			for k := 0; left.Load() > 0; k++ {
				got, err := log.Claim(ctx, who, who.Name, 3, time.Hour, buf[:0])
				if err != nil {
					t.Errorf("Claim: %v", err)
					return
				}
				buf = got
				for i := range got {
					c := &got[i]
					if holders[c.Value].Add(1) != 1 {
						t.Errorf("two hold entry %d", c.Seq)
					}
					if c.Box != "" && c.Box != who.Name {
						t.Errorf("%q holds an entry for %q", who.Name, c.Box)
					}
					r := driver.Receipt{ID: c.ID, Attempt: c.Attempt}
					if k%7 == 0 {
						if _, ok, err := log.Extend(ctx, who.Name, r, time.Hour); !ok || err != nil {
							t.Errorf("Extend: %v, %v", ok, err)
						}
					}
					holders[c.Value].Add(-1)
					if k%5 == 0 && i == 0 {
						if ok, err := log.Nack(ctx, who.Name, r); !ok || err != nil {
							t.Errorf("Nack: %v, %v", ok, err)
						}
						continue
					}
					if k%11 == 0 {
						continue // given back with the session
					}
					if ok, err := log.Ack(ctx, who.Name, r); !ok || err != nil {
						t.Errorf("Ack: %v, %v", ok, err)
					}
					done[c.Value].Add(1)
					if left.Add(-1) == 0 {
						close(finished)
					}
				}
				if _, err := log.Release(ctx, who); err != nil {
					t.Errorf("Release: %v", err)
				}
				if len(got) == 0 {
					if cancel, ready := log.WakeClaim(who.Name, wake); !ready {
						select {
						case <-wake:
						case <-finished:
						}
						cancel()
					}
				}
			}
		})
	}
	for i := range n {
		_, err := log.Append(ctx, driver.Head{Box: []string{"", "a", "b"}[i%3]}, i+1)
		require.NoError(t, err)
	}
	wg.Wait()
	for i := range n {
		require.EqualValues(t, 1, done[i+1].Load(), "entry %d", i+1)
	}
	count, err := log.Len(ctx)
	require.NoError(t, err)
	require.Zero(t, count)
	require.NoError(t, log.Close())
}
