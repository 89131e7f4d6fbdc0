package memory

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

// What the contract says in places that random operations seldom reach.

// TestReaderIsToldWhenRetentionEmptiesASegmentUnderIt stops a writer between the two steps of discarding the last entry
// of a segment, which is where a reader without a lock may look.
func TestReaderIsToldWhenRetentionEmptiesASegmentUnderIt(t *testing.T) {
	f := newFixture(t, driver.Config{})
	r := f.open(driver.View{}, driver.From{})
	f.fill(200)
	b, err := r.Next(t.Context(), segmentSize-1)
	require.NoError(t, err)
	r.Commit(len(b.Entries))
	require.EqualValues(t, segmentSize-1, r.pos[0])

	f.keep(200 - segmentSize + 1) // only the last entry of the first segment is left
	e, seg := f.entry(segmentSize)
	f.discard(e, seg, false)
	b, err = r.Next(t.Context(), 10)
	require.NoError(t, err)
	missed, read := b.Missed, len(b.Entries)
	r.Commit(read)
	f.advance()
	rest, more := f.read(r)
	require.EqualValues(t, 1, missed+more)
	require.Equal(t, 200-segmentSize, read+len(rest))
}

// TestReadersAtTheEdgeOfRetention lets readers open at the oldest entry while it is being overtaken: every entry is read
// or missed.
func TestReadersAtTheEdgeOfRetention(t *testing.T) {
	for _, size := range []int{200, 2000} {
		f := newFixture(t, driver.Config{MaxMessages: size})
		var done atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !done.Load() {
					opened, err := f.Open(t.Context(), driver.View{}, driver.From{})
					if err != nil {
						t.Errorf("Open: %v", err)
						return
					}
					r := opened.(*reader[int])
					for range 20 {
						pos := r.pos[0]
						b, err := r.Next(t.Context(), 1)
						if err != nil || len(b.Entries) > 0 && pos+b.Missed+1 != b.Entries[0].Seq {
							t.Errorf("entry %d after position %d with %d missed (%v)", b.Entries[0].Seq, pos, b.Missed, err)
						}
						r.Commit(len(b.Entries))
					}
					r.Close()
				}
			})
		}
		f.fill(3 * stressWrites())
		done.Store(true)
		wg.Wait()
	}
}

func TestKeyWhoseLastEntryWentStillHasTheOneBefore(t *testing.T) {
	f := newFixture(t, driver.Config{})
	s := f.append(driver.Head{Key: "k"}, 1, 2)
	require.Equal(t, 1, f.remove(s[1]))
	e, err := f.Last(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, 1, e.Value)
	_, err = f.AppendIf(t.Context(), driver.Head{Key: "k"}, 3, 0)
	require.ErrorIs(t, err, driver.ErrConflict)
	_, err = f.AppendIf(t.Context(), driver.Head{Key: "k"}, 3, s[0].Seq)
	require.NoError(t, err)
}

func TestKeysWithoutEntriesAreForgotten(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {0, 2, 1}} {
		t.Run(fmt.Sprint("removed in the order ", order), func(t *testing.T) {
			f := newFixture(t, driver.Config{})
			f.append(driver.Head{}, 0) // older than all of them
			s := f.append(driver.Head{Key: "k"}, 1, 2, 3)
			for _, i := range order {
				require.Equal(t, 1, f.remove(s[i]))
			}
			if len(f.keys) > 0 {
			}
		})
	}
}

func TestMissedIsMarkedWhereItIsNotExact(t *testing.T) {
	t.Run("after removals in more places than are remembered", func(t *testing.T) {
		f := newFixture(t, driver.Config{MaxMessages: 3 * maxSpans, Claims: true})
		r := f.open(driver.View{}, driver.From{})
		for i := range 2 * (maxSpans + 50) {
			s := f.append(driver.Head{}, i)
			if i%2 == 0 {
				f.remove(s[0])
			}
		}
		f.keep(0)
		b, err := r.Next(t.Context(), 1)
		require.NoError(t, err)
		if b.AtMost {
			require.GreaterOrEqual(t, b.Missed, uint64(maxSpans+50))
		} else {
			require.EqualValues(t, maxSpans+50, b.Missed)
		}
	})

	t.Run("from an entry of a box that retention took long ago", func(t *testing.T) {
		f := newFixture(t, driver.Config{Boxes: true})
		s := f.append(driver.Head{Box: "a"}, 1, 2, 3, 4, 5)
		f.keep(1)
		b, err := f.open(driver.View{Box: "a"}, driver.From{After: s[0].ID}).Next(t.Context(), 10)
		require.NoError(t, err)
		if b.AtMost {
			require.GreaterOrEqual(t, b.Missed, uint64(3))
		} else {
			require.EqualValues(t, 3, b.Missed)
		}
	})
}

func TestReaderOfTwoBoxesGoesForwardOnly(t *testing.T) {
	f := newFixture(t, driver.Config{Claims: true, Boxes: true})
	r := f.open(driver.View{Box: "a", HideClaimed: true}, driver.From{})
	f.append(driver.Head{}, 1)
	f.append(driver.Head{Box: "a"}, 2)
	held := f.claim("w", "", 1, time.Hour)
	require.Equal(t, []int{1}, values(held))
	got, _ := f.read(r)
	require.Equal(t, []int{2}, got)
	f.nack("w", held[0])
	got, _ = f.read(r)
	require.Empty(t, got, "entry 1 is behind the position; in a log without boxes it would be passed over as well")
}

func TestClaimPrefersWhatWasGivenBackInEveryBox(t *testing.T) {
	f := newFixture(t, driver.Config{Claims: true, Boxes: true})
	f.append(driver.Head{Box: "a"}, 1)
	f.append(driver.Head{}, 2)
	held := f.claim("w", "b", 1, time.Hour)
	require.Equal(t, []int{2}, values(held))
	f.nack("w", held[0])
	require.Equal(t, []int{2, 1}, values(f.claim("w", "a", 2, time.Hour)))
}

func TestClaimEndsAtItsDeadline(t *testing.T) {
	ctx := t.Context()
	for _, tt := range []struct {
		name string
		late time.Duration // when, relative to the deadline
		held bool
	}{
		{"just before", -1, true},
		{"at the deadline", 0, false},
		{"long after, although nobody else wants the entry", time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, driver.Config{Claims: true})
				f.append(driver.Head{}, 1, 2, 3)
				held := f.claim("w", "", 3, time.Second)
				hiding := f.open(driver.View{HideClaimed: true}, driver.From{})
				time.Sleep(time.Second + tt.late)
				_, ok, err := f.Extend(ctx, "w", receipt(held[2]), time.Minute)
				require.NoError(t, err)
				require.Equal(t, tt.held, ok, "Extend")
				ok, err = f.Nack(ctx, "w", receipt(held[1]))
				require.NoError(t, err)
				require.Equal(t, tt.held, ok, "Nack")
				ok, err = f.Ack(ctx, "w", receipt(held[0]))
				require.NoError(t, err)
				require.Equal(t, tt.held, ok, "Ack")
				if !tt.held {
					values, _ := f.read(hiding)
					require.Equal(t, []int{1, 2, 3}, values, "nobody holds them")
				}
			})
		})
	}
	t.Run("and is not among those that are given back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, driver.Config{Claims: true})
			f.append(driver.Head{}, 1)
			f.claim("w", "", 1, time.Second)
			time.Sleep(time.Second)
			n, err := f.Release(t.Context(), driver.Consumer{Name: "w"})
			require.NoError(t, err)
			require.Zero(t, n)
		})
	})
}

func TestEverythingIsErrClosedAfterClose(t *testing.T) {
	ctx := t.Context()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			cfg := mode.cfg
			cfg.MaxMessages = 10
			log, err := New[int](cfg)
			require.NoError(t, err)
			s, err := log.Append(ctx, driver.Head{Key: "k", Once: "once"}, 1)
			require.NoError(t, err)
			r, err := log.Open(ctx, driver.View{}, driver.From{})
			require.NoError(t, err)
			require.NoError(t, log.Close())
			require.NoError(t, log.Close(), "again does nothing")

			name, who, some := "name", driver.Consumer{Name: "name"}, driver.Receipt{ID: s.ID}
			for _, call := range []struct {
				name string
				do   func() error
			}{
				{"Append", func() error { _, err := log.Append(ctx, driver.Head{}, 2); return err }},
				{"Append that was done before", func() error { _, err := log.Append(ctx, driver.Head{Once: "once"}, 2); return err }},
				{"AppendIf", func() error { _, err := log.AppendIf(ctx, driver.Head{Key: "k"}, 2, s.Seq); return err }},
				{"AppendIf that was done before", func() error { _, err := log.AppendIf(ctx, driver.Head{Key: "k", Once: "once"}, 2, 0); return err }},
				{"AppendIf on a wrong condition", func() error { _, err := log.AppendIf(ctx, driver.Head{Key: "k"}, 2, 99); return err }},
				{"Last", func() error { _, err := log.Last(ctx, "k"); return err }},
				{"Open", func() error { _, err := log.Open(ctx, driver.View{}, driver.From{}); return err }},
				{"Next of an open reader", func() error { _, err := r.Next(ctx, 1); return err }},
				{"Claim", func() error { _, err := log.Claim(ctx, who, "", 1, time.Hour, nil); return err }},
				{"Ack", func() error { _, err := log.Ack(ctx, name, some); return err }},
				{"Nack", func() error { _, err := log.Nack(ctx, name, some); return err }},
				{"Extend", func() error { _, _, err := log.Extend(ctx, name, some, time.Hour); return err }},
				{"Release", func() error { _, err := log.Release(ctx, who); return err }},
				{"Remove", func() error { _, err := log.Remove(ctx, []uuid.UUID{s.ID}); return err }},
				{"Evict", func() error { _, err := log.Evict(ctx, time.Time{}, 0); return err }},
				{"Clear", func() error { _, err := log.Clear(ctx); return err }},
				{"Len", func() error { _, err := log.Len(ctx); return err }},
			} {
				t.Run(call.name, func(t *testing.T) {
					require.ErrorIs(t, call.do(), driver.ErrClosed)
				})
			}
		})
	}
}

func TestBoxesThatHoldNothingLeaveRoom(t *testing.T) {
	ctx := t.Context()
	two := func(t *testing.T) fixture {
		return newFixture(t, driver.Config{Boxes: true, Claims: true, MaxBoxes: 2})
	}

	t.Run("as many as are allowed, and everyone's", func(t *testing.T) {
		f := two(t)
		f.append(driver.Head{}, 1)
		f.append(driver.Head{Box: "a"}, 2)
		f.append(driver.Head{Box: "b"}, 3)
		f.append(driver.Head{Box: "a"}, 4)
		f.append(driver.Head{}, 5)
		_, err := f.Append(ctx, driver.Head{Box: "c"}, 6)
		require.ErrorIs(t, err, driver.ErrTooManyBoxes)
		_, err = f.Open(ctx, driver.View{Box: "c"}, driver.From{})
		require.ErrorIs(t, err, driver.ErrTooManyBoxes, "a reader needs one of its own")
		f.open(driver.View{Box: "b"}, driver.From{})
		n, err := f.Len(ctx)
		require.NoError(t, err)
		require.Equal(t, 5, n)
	})
	t.Run("what retention emptied", func(t *testing.T) {
		f := two(t)
		f.append(driver.Head{Box: "a"}, 1)
		f.append(driver.Head{Box: "b"}, 2)
		f.keep(1)
		f.append(driver.Head{Box: "c"}, 3)
		_, err := f.Append(ctx, driver.Head{Box: "a"}, 4)
		require.ErrorIs(t, err, driver.ErrTooManyBoxes)
	})
	t.Run("not while it is read", func(t *testing.T) {
		f := two(t)
		f.append(driver.Head{Box: "a"}, 1)
		f.append(driver.Head{Box: "b"}, 2)
		r := f.open(driver.View{Box: "a"}, driver.From{})
		f.keep(1)
		_, err := f.Append(ctx, driver.Head{Box: "c"}, 3)
		require.ErrorIs(t, err, driver.ErrTooManyBoxes)
		r.Close()
		f.append(driver.Head{Box: "c"}, 3)
	})
	t.Run("what was emptied on purpose, behind an older entry", func(t *testing.T) {
		f := two(t)
		f.append(driver.Head{}, 1)
		s := f.append(driver.Head{Box: "a"}, 2)
		f.append(driver.Head{Box: "b"}, 3)
		require.Equal(t, 1, f.remove(s...))
		f.append(driver.Head{Box: "c"}, 4)
	})
}
