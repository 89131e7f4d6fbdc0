package memory

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

func TestNewRefusesImpossibleConfigurations(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  driver.Config
	}{
		{"no room for messages", driver.Config{}},
		{"a negative number of messages", driver.Config{MaxMessages: -1}},
		{"a negative age", driver.Config{MaxMessages: 1, MaxAge: -1}},
		{"boxes without room for any", driver.Config{MaxMessages: 1, Boxes: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New[int](tt.cfg)
			require.Error(t, err)
			_, err = Open[int](t.Context(), "channel", tt.cfg)
			require.Error(t, err)
		})
	}
	for name, cfg := range map[string]driver.Config{
		"keys that may be forgotten": {MaxMessages: 1, Keyed: true},
		"keys without room":          {Keyed: true, Reject: true},
		"keys that grow old":         {MaxMessages: 1, Keyed: true, Reject: true, MaxAge: 1},
		"keys that are claimed":      {MaxMessages: 1, Keyed: true, Reject: true, Claims: true},
		"keys in boxes":              {MaxMessages: 1, Keyed: true, Reject: true, Boxes: true, MaxBoxes: 1},
	} {
		_, err := Open[int](t.Context(), "channel", cfg)
		require.Error(t, err, name)
	}
	b, err := Open[int](t.Context(), "channel", driver.Config{MaxMessages: 1})
	require.NoError(t, err)
	require.NoError(t, b.Close())
}

func TestSegmentsAreGivenUp(t *testing.T) {
	for _, mode := range modes {
		if mode.cfg.Reject || mode.cfg.MaxAge > 0 {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			cfg := mode.cfg
			cfg.MaxMessages = 10
			f := newFixture(t, cfg)
			f.fill(50 * segmentSize)
			require.LessOrEqual(t, f.held(), 2, "what retention took is given up")
			f.keep(0)
			f.fill(segmentSize)
			require.LessOrEqual(t, f.held(), 2, "also after everything was evicted")

			_, err := f.Clear(t.Context())
			require.NoError(t, err)
			require.LessOrEqual(t, f.held(), 1, "and after everything was cleared")
			f.append(driver.Head{}, 7)
			values, missed := f.read(f.open(driver.View{All: true}, driver.From{}))
			require.Equal(t, []int{7}, values)
			require.Zero(t, missed)
		})
	}
}

// held returns how many segments are in memory.
func (f fixture) held() (n int) {
	d := f.dir.Load()
	for i := range d.segs {
		if d.segs[i].Load() != nil {
			n++
		}
	}
	return n
}

func TestSegmentsInTheMiddleAreGivenUp(t *testing.T) {
	for _, mode := range modes {
		if mode.cfg.MaxAge > 0 {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			f := newFixture(t, mode.cfg)
			r := f.open(driver.View{All: true}, driver.From{})
			first := f.append(driver.Head{}, 1)
			var middle []driver.Stamp
			for i := range 3 * segmentSize {
				middle = append(middle, f.append(driver.Head{}, i)...)
			}
			last := f.append(driver.Head{}, 2)
			require.Equal(t, len(middle), f.remove(middle...))
			require.Equal(t, 2, f.held())
			values, missed := f.read(r)
			require.Equal(t, []int{1, 2}, values)
			require.Zero(t, missed, "what was removed on purpose is not missed")
			if mode.cfg.Claims {
				require.Equal(t, []uint64{first[0].Seq, last[0].Seq}, seqs(f.claim("w", "", 9, time.Hour)))
			}
		})
	}
}

func seqs(claims []driver.Claimed[int]) (list []uint64) {
	for _, c := range claims {
		list = append(list, c.Seq)
	}
	return list
}

func TestPositionsAreBounded(t *testing.T) {
	f := newFixture(t, driver.Config{})
	f.tail.Store(maxSeq - 1)
	f.first.Store(maxSeq)
	f.dir.Store(&directory[int]{base: (maxSeq - 1) >> segmentShift})
	s := f.append(driver.Head{}, 1)
	require.EqualValues(t, maxSeq, s[0].Seq)
	_, err := f.Append(t.Context(), driver.Head{}, 2)
	require.ErrorIs(t, err, driver.ErrFull)
}

func TestOnceIsRememberedForAWhile(t *testing.T) {
	f := newFixture(t, driver.Config{MaxMessages: 5})
	first := f.append(driver.Head{Once: "0"}, 0)
	for i := 1; i < driver.OnceWindow; i++ {
		f.append(driver.Head{Once: fmt.Sprint(i)}, i)
	}
	require.Equal(t, first, f.append(driver.Head{Once: "0"}, 99), "also when the entry is long gone")
	f.append(driver.Head{Once: "one more"}, 1)
	require.Len(t, f.once.stamps, driver.OnceWindow, "the oldest was forgotten")
	again := f.append(driver.Head{Once: "0"}, 0)
	require.Greater(t, again[0].Seq, first[0].Seq)
	require.Len(t, f.once.stamps, driver.OnceWindow)
}

func TestAge(t *testing.T) {
	const limit = time.Minute
	for _, mode := range modes {
		if mode.cfg.Reject {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := mode.cfg
				cfg.MaxAge, cfg.MaxMessages, cfg.MaxBoxes = limit, 100, 100
				log, err := New[int](cfg)
				require.NoError(t, err)
				f := fixture{t, log}
				count := func() int {
					synctest.Wait()
					n, err := f.Len(t.Context())
					require.NoError(t, err)
					return n
				}
				r := f.open(driver.View{All: true}, driver.From{})
				f.append(driver.Head{}, 1)
				time.Sleep(limit / 2)
				s := f.append(driver.Head{}, 2, 3)
				time.Sleep(limit/2 - 1)
				require.Equal(t, 3, count(), "not before its time")
				time.Sleep(time.Nanosecond)
				require.Equal(t, 2, count(), "at its time")
				f.remove(s[0])
				time.Sleep(limit / 2)
				require.Zero(t, count())
				values, missed := f.read(r)
				require.Empty(t, values)
				require.EqualValues(t, 2, missed, "what age took is missed, what was removed is not")
				time.Sleep(limit)
				f.append(driver.Head{}, 4)
				time.Sleep(limit)
				require.Zero(t, count(), "the timer starts again")
				f.append(driver.Head{}, 5)
				require.NoError(t, f.Log.Close())
				time.Sleep(limit)
				synctest.Wait()
			})
		})
	}

	t.Run("a timer that fires as the log closes does nothing", func(t *testing.T) {
		log, err := New[int](driver.Config{MaxMessages: 1})
		require.NoError(t, err)
		require.NoError(t, log.Close())
		log.expire()
		log.deadline()
	})
}

func TestDeadlineWakesWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, err := New[int](driver.Config{MaxMessages: 10, Claims: true})
		require.NoError(t, err)
		f := fixture{t, log}
		f.append(driver.Head{}, 1, 2)
		held := f.claim("w", "", 2, time.Second)
		ch := make(chan struct{}, 1)
		cancel, ready := f.WakeClaim("", ch)
		require.False(t, ready)
		began := time.Now()
		_, ok, err := f.Extend(t.Context(), "w", receipt(held[0]), time.Minute)
		require.NoError(t, err)
		require.True(t, ok)
		<-ch
		require.Equal(t, time.Second, time.Since(began), "the earlier deadline")
		require.Equal(t, []int{2}, values(f.claim("other", "", 9, time.Hour)))
		cancel()

		cancel, ready = f.WakeClaim("", ch)
		require.False(t, ready)
		<-ch
		require.Equal(t, time.Minute, time.Since(began), "the extended deadline")
		cancel()
		_, ready = f.WakeClaim("", ch)
		require.True(t, ready)

		held = f.claim("third", "", 1, time.Hour)
		_, ready = f.WakeClaim("", ch)
		require.False(t, ready)
		require.NoError(t, f.Log.Close())
		<-ch // closing wakes, too
		_, err = f.Nack(t.Context(), "third", receipt(held[0]))
		require.ErrorIs(t, err, driver.ErrClosed)
	})
}

func TestReceiptsOfALogWithoutClaimsAreNobodys(t *testing.T) {
	f := newFixture(t, driver.Config{})
	s := f.append(driver.Head{}, 1)
	ok, err := f.Ack(t.Context(), "w", driver.Receipt{ID: s[0].ID})
	require.NoError(t, err)
	require.False(t, ok)
	ok, err = f.Ack(t.Context(), "w", driver.Receipt{ID: uuid.New()})
	require.NoError(t, err)
	require.False(t, ok)
}

// TestSessionsOfOneNumber gives back claims of one consumer only, although the log finds them by the session alone.
func TestSessionsOfOneNumber(t *testing.T) {
	f := newFixture(t, driver.Config{Claims: true})
	f.append(driver.Head{}, 1, 2, 3, 4)
	a, b := driver.Consumer{Name: "a", Session: 7}, driver.Consumer{Name: "b", Session: 7}
	for _, who := range []driver.Consumer{a, b, a, b} {
		_, err := f.Claim(t.Context(), who, "", 1, time.Hour, nil)
		require.NoError(t, err)
	}
	n, err := f.Release(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []int{1, 3}, values(f.claim("w", "", 9, time.Hour)))
	n, err = f.Release(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, 2, n)
}

func TestWakeOfAReader(t *testing.T) {
	for _, mode := range modes {
		if mode.cfg.MaxAge > 0 {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, mode.cfg)
				r := f.open(driver.View{Box: "a"}, driver.From{Tail: true})
				one, two := make(chan struct{}, 1), make(chan struct{}, 1)
				require.False(t, r.Wake(one))
				require.False(t, r.Wake(two), "the later channel takes the place of the earlier")
				f.append(driver.Head{Box: "a"}, 1)
				synctest.Wait()
				require.Empty(t, one)
				require.Len(t, two, 1)
				require.True(t, r.Wake(two), "there is something already")
				require.False(t, f.open(driver.View{Box: "a"}, driver.From{Tail: true}).Wake(one))
				r.Close()
				require.True(t, r.Wake(two), "a closed reader has nothing to wait for")
			})
		})
	}
}

func TestValuesThatWentAreNotKept(t *testing.T) {
	log, err := New[*int](driver.Config{MaxMessages: 10, Claims: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	s, err := log.Append(t.Context(), driver.Head{Key: "k"}, new(int))
	require.NoError(t, err)
	_, err = log.Append(t.Context(), driver.Head{}, new(int))
	require.NoError(t, err)
	_, err = log.Remove(t.Context(), []uuid.UUID{s.ID})
	require.NoError(t, err)
	require.Nil(t, log.dir.Load().segs[0].Load().entries[0].Value)
	require.Empty(t, log.keys)
}
