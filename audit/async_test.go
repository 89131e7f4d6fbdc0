package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// gate is a sink that works while it is open.
type gate struct {
	mu      sync.Mutex
	open    chan struct{} // closed: open
	err     error
	records []Record
	batches []int
}

func newGate(open bool) *gate {
	g := &gate{open: make(chan struct{})}
	if open {
		close(g.open)
	}
	return g
}

func (g *gate) Record(ctx context.Context, r Record) error { return g.RecordAll(ctx, []Record{r}) }

func (g *gate) RecordAll(ctx context.Context, records []Record) error {
	select {
	case <-g.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return g.err
	}
	g.records = append(g.records, records...)
	g.batches = append(g.batches, len(records))
	return nil
}

func (g *gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

// said returns what it has: who, and how many were dropped.
func (g *gate) said() (all []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.records {
		if r.Operation == OpDrop {
			all = append(all, fmt.Sprint("dropped ", r.Version))
		} else {
			all = append(all, r.Principal)
		}
	}
	return all
}

func decision(who string, o chansec.Outcome) Record {
	return Decision(chansec.Event{Time: time.Now(), ChannelID: "readings", Operation: chansec.OpWrite, SystemID: who, Outcome: o})
}

func inBubble(t *testing.T, size int, g Sink, do func(t *testing.T, a *Async)) {
	synctest.Test(t, func(t *testing.T) {
		a, err := NewAsync(g, size)
		require.NoError(t, err)
		do(t, a)
		require.NoError(t, a.Close(t.Context()))
	})
}

func TestQueuesThatMakeNoSense(t *testing.T) {
	for _, size := range []int{-1, 1, 3, MaxQueue + 1} {
		_, err := NewAsync(Tee(), size)
		require.ErrorIs(t, err, chansec.ErrInvalid, size)
	}
	_, err := NewAsync(nil, 0)
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

func TestAQueueHandsOverWhatGathersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		a, err := NewAsync(g, 0)
		require.NoError(t, err)
		pass(time.Second)
		for i := range 600 {
			require.NoError(t, a.Record(t.Context(), decision(fmt.Sprint(i), chansec.Allowed)))
		}
		close(g.open)
		require.NoError(t, a.Flush(t.Context()))
		synctest.Wait()
		require.LessOrEqual(t, len(g.batches), 4, "what it had already taken, and the rest in batches")
		require.LessOrEqual(t, slices.Max(g.batches), asyncBatch)
		require.Len(t, g.records, 600)
		for i, who := range g.said() {
			require.Equal(t, fmt.Sprint(i), who)
		}
		require.Zero(t, a.Stats())
		require.NoError(t, a.Close(t.Context()))
		require.NoError(t, a.Close(t.Context()), "twice")
		require.ErrorIs(t, a.Record(t.Context(), login("late")), chansec.ErrClosed)
	})
}

// A full queue drops allowed decisions first; what else it has no room for is counted apart. Both make Record fail, at once,
// and the trail says how many are missing.
func TestAQueueHandsOverCleanRecords(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"nothing to clean":                  func(*Record) {},
		"text that is not UTF-8":            func(r *Record) { r.Reason = "a\xffb" },
		"text that is too long":             func(r *Record) { r.Rule = strings.Repeat("r", MaxTextBytes+1) },
		"text of the greatest length":       func(r *Record) { r.Rule = strings.Repeat("r", MaxTextBytes) },
		"details that may be longer":        func(r *Record) { r.Detail = strings.Repeat("d", MaxTextBytes+1) },
		"details that are too long":         func(r *Record) { r.Detail = strings.Repeat("d", MaxDetailBytes+1) },
		"too many votes":                    func(r *Record) { r.Votes = make([]Vote, MaxVotes+1) },
		"no votes, and a place for them":    func(r *Record) { r.Votes = []Vote{} },
		"a vote of a text that is no UTF-8": func(r *Record) { r.Votes = []Vote{{Answer: "\xff"}} },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(false)
			inBubble(t, 8, g, func(t *testing.T, a *Async) {
				r := decision("ann", chansec.Allowed)
				change(&r)
				want, err := r.Clean()
				require.NoError(t, err)
				require.NoError(t, a.Record(t.Context(), r))
				for i := range r.Votes {
					r.Votes[i] = Vote{Answer: "what was written there afterwards"}
				}
				close(g.open)
				require.NoError(t, a.Flush(t.Context()))
				require.Equal(t, []Record{want}, g.records)
			})
		})
	}
}

func TestAFullQueueDropsAllowedDecisionsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		a, err := NewAsync(g, 8)
		require.NoError(t, err)
		began := time.Now()
		for i := range 8 {
			err := a.Record(t.Context(), decision(fmt.Sprint("let in ", i), chansec.Allowed))
			require.Equal(t, i >= 6, errors.Is(err, ErrDropped), i)
		}
		require.NoError(t, a.Record(t.Context(), decision("refused", chansec.Denied)))
		require.NoError(t, a.Record(t.Context(), login("came in")), "a record that is no decision is not dropped first, either")
		require.ErrorIs(t, a.Record(t.Context(), decision("nobody knew", chansec.Undecided)), ErrDropped)
		require.ErrorIs(t, a.Record(t.Context(), Record{}), chansec.ErrInvalid)
		require.Zero(t, time.Since(began), "nobody waited")
		require.Equal(t, AsyncStats{Queued: 8, DroppedAllowed: 2, DroppedOthers: 1}, a.Stats())

		close(g.open)
		require.NoError(t, a.Flush(t.Context()))
		synctest.Wait()
		require.Equal(t, []string{"let in 0", "let in 1", "let in 2", "let in 3", "let in 4", "let in 5", "refused", "came in", "dropped 3"}, g.said())
		require.Contains(t, g.records[8].Reason, "2 of allowed decisions and 1 others")
		require.NoError(t, a.Record(t.Context(), decision("let in", chansec.Allowed)))
		require.NoError(t, a.Close(t.Context()))
		require.Equal(t, "let in", g.said()[9])
		require.Len(t, g.records, 10, "what was said once is not said again")
	})
}

func TestAQueueTriesASinkAgainThatFails(t *testing.T) {
	g := newGate(true)
	inBubble(t, 16, g, func(t *testing.T, a *Async) {
		g.fail(errDisk)
		require.NoError(t, a.Record(t.Context(), login("alice")))
		pass(time.Hour)
		require.ErrorIs(t, a.Stats().Failing, errDisk)
		require.NoError(t, a.Record(t.Context(), login("bob")))
		g.fail(nil)
		pass(asyncPause + asyncLinger)
		synctest.Wait()
		require.Equal(t, []string{"alice", "bob"}, g.said())
		require.Zero(t, a.Stats())
	})
}

// plainSink is a sink that takes one record after the other, and some never.
type plainSink struct{ *gate }

func (p plainSink) RecordAll() {}

func (p plainSink) Record(ctx context.Context, r Record) error {
	if strings.HasPrefix(r.Principal, "bad") {
		return &chansec.InvalidError{What: "name", Want: "another"}
	}
	return p.gate.Record(ctx, r)
}

func TestWhatASinkRefusesForGoodIsDropped(t *testing.T) {
	g := newGate(true)
	inBubble(t, 16, plainSink{g}, func(t *testing.T, a *Async) {
		for _, who := range []string{"alice", "bad 1", "bob", "bad 2"} {
			require.NoError(t, a.Record(t.Context(), login(who)))
		}
		pass(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"alice", "bob", "dropped 2"}, g.said())
		require.Equal(t, uint64(2), a.Stats().DroppedOthers)
	})
}

func TestASinkThatPanicsIsOneThatFails(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	g := newGate(true)
	inBubble(t, 16, SinkFunc(func(ctx context.Context, r Record) error {
		if broken.Load() {
			panic("a secret")
		}
		return g.Record(ctx, r)
	}), func(t *testing.T, a *Async) {
		require.NoError(t, a.Record(t.Context(), login("alice")))
		pass(time.Minute)
		require.Error(t, a.Stats().Failing)
		require.NotContains(t, a.Stats().Failing.Error(), "secret")
		broken.Store(false)
		pass(time.Minute)
		require.Equal(t, []string{"alice"}, g.said())
	})
}

func TestCloseGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(true)
		g.fail(errDisk)
		a, err := NewAsync(g, 16)
		require.NoError(t, err)
		require.NoError(t, a.Record(t.Context(), login("alice")))
		require.NoError(t, a.Record(t.Context(), decision("bob", chansec.Allowed)))
		ctx, cancel := contextOf(t, time.Minute)
		defer cancel()
		began := time.Now()
		err = a.Close(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errDisk)
		require.Equal(t, time.Minute, time.Since(began))
		synctest.Wait() // and the goroutine ends, or the bubble would not
		stats := a.Stats()
		require.Equal(t, [3]uint64{0, 1, 1}, [3]uint64{uint64(stats.Queued), stats.DroppedAllowed, stats.DroppedOthers})
		require.ErrorIs(t, a.Flush(t.Context()), nil, "there is nothing left")
	})
}

func TestFlushHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		a, err := NewAsync(g, 16)
		require.NoError(t, err)
		require.NoError(t, a.Flush(t.Context()))
		require.NoError(t, a.Record(t.Context(), login("alice")))
		ctx, cancel := contextOf(t, time.Minute)
		defer cancel()
		require.ErrorIs(t, a.Flush(ctx), context.DeadlineExceeded)
		close(g.open)
		require.NoError(t, a.Flush(t.Context()))
		require.Equal(t, []string{"alice"}, g.said())
		require.NoError(t, a.Close(t.Context()))
	})
}

// Flush goes on to the file, which is safe then.
func TestFlushMakesTheFileSafe(t *testing.T) {
	f := openTest(t, FileConfig{Dir: t.TempDir(), SyncEvery: time.Hour})
	a, err := NewAsync(f, 0)
	require.NoError(t, err)
	require.NoError(t, a.Record(t.Context(), login("alice")))
	require.Zero(t, f.Head().Seq)
	require.NoError(t, a.Flush(t.Context()))
	require.Equal(t, uint64(1), f.Head().Seq)
	require.NoError(t, a.Close(t.Context()))
}

// A channel whose optional sink hangs goes on at once; one whose required sink is full stops.
func TestAQueueBeforeAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acl, err := chansec.NewACLSecurity(chansec.ACLWrite("w"))
		require.NoError(t, err)
		for _, required := range []bool{false, true} {
			g := newGate(false)
			a, err := NewAsync(g, 8)
			require.NoError(t, err)
			option := chansec.WithAudit(Decisions(a))
			if required {
				option = chansec.WithRequiredAudit(Decisions(a))
			}
			ch, err := chansec.NewBroadcast[int]("readings", chansec.WithSecurity(acl), option, chansec.WithLogger(slog.New(slog.DiscardHandler)))
			require.NoError(t, err)
			require.NoError(t, ch.Start(t.Context()))
			began := time.Now()
			for i := range 20 {
				_, err := ch.As("w").Write(t.Context(), i)
				if required && i >= 3 { // three and three denials leave the reserve
					require.ErrorIs(t, err, ErrDropped)
					require.ErrorIs(t, err, chansec.ErrAudit)
				} else {
					require.NoError(t, err)
				}
				_, err = ch.As("x").Write(t.Context(), i)
				require.ErrorIs(t, err, chansec.ErrPermission)
			}
			require.Zero(t, time.Since(began))
			close(g.open)
			require.NoError(t, a.Close(t.Context()))
			require.NoError(t, ch.Close())
			allowed, denied, dropped := 0, 0, uint64(0)
			for _, r := range g.records {
				switch {
				case r.Operation == OpDrop:
					dropped += r.Version
				case r.Outcome == chansec.Allowed:
					allowed++
				default:
					denied++
				}
			}
			require.Equal(t, 40, allowed+denied+int(dropped), "each decision is there or counted")
			require.Equal(t, 8, allowed+denied)
		}
	})
}

func TestQueuesUnderManyWriters(t *testing.T) {
	ring, err := NewRing(1 << 16)
	require.NoError(t, err)
	a, err := NewAsync(ring, 64)
	require.NoError(t, err)
	var all sync.WaitGroup
	var took atomic.Uint64
	for w := range 8 {
		all.Go(func() {
			for i := range 2000 {
				outcome := chansec.Outcome(i % 3)
				if a.Record(context.Background(), decision(fmt.Sprint(w), outcome)) == nil {
					took.Add(1)
				}
				if i%500 == 0 {
					_ = a.Flush(context.Background())
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, a.Close(t.Context()))
	stats := a.Stats()
	require.Equal(t, uint64(16000), took.Load()+stats.DroppedAllowed+stats.DroppedOthers)
	kept, dropped := uint64(0), uint64(0)
	for r := range ring.Records(t.Context(), Filter{}) {
		if r.Operation == OpDrop {
			dropped += r.Version
		} else {
			kept++
		}
	}
	require.Equal(t, took.Load(), kept)
	require.Equal(t, stats.DroppedAllowed+stats.DroppedOthers, dropped)
}

// busySink takes a batch, and before it is done, more is put into the queue than there is room for.
type busySink struct {
	*gate
	again func()
}

func (s busySink) RecordAll(ctx context.Context, records []Record) error {
	s.again()
	return s.gate.RecordAll(ctx, records)
}

// A queue that is never empty says what is missing as well, and not with every batch.
func TestAGapIsToldWhileTheQueueIsNeverEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(true)
		var a *Async
		var rounds, dropped atomic.Int64
		s := busySink{g, func() {
			pass(100 * time.Millisecond)
			if rounds.Add(1) > 100 {
				return
			}
			for range 2 * asyncBatch {
				if errors.Is(a.Record(t.Context(), decision("alice", chansec.Allowed)), ErrDropped) {
					dropped.Add(1)
				}
			}
		}}
		a, err := NewAsync(s, 8*asyncBatch)
		require.NoError(t, err)
		require.NoError(t, a.Record(t.Context(), decision("alice", chansec.Allowed)))
		pass(5 * time.Second)
		synctest.Wait()
		require.Less(t, rounds.Load(), int64(100), "it is still busy")
		told := 0
		for _, who := range g.said() {
			if who != "alice" {
				told++
			}
		}
		require.Positive(t, told)
		require.Less(t, told, 10)
		require.NoError(t, a.Close(t.Context()))
		require.EqualValues(t, dropped.Load(), a.Stats().DroppedAllowed)
		sum := uint64(0)
		for _, r := range g.records {
			if r.Operation == OpDrop {
				sum += r.Version
			}
		}
		require.EqualValues(t, dropped.Load(), sum)
	})
}

// A sink that will not have the record of a gap either does not keep a queue busy, nor from its end.
func TestASinkThatRefusesTheRecordOfAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		a, err := NewAsync(SinkFunc(func(context.Context, Record) error {
			asked++
			return &chansec.InvalidError{What: "record", Want: "none"}
		}), 16)
		require.NoError(t, err)
		require.NoError(t, a.Record(t.Context(), login("alice")))
		pass(time.Hour)
		synctest.Wait()
		require.LessOrEqual(t, asked, 10)
		ctx, cancel := contextOf(t, time.Hour)
		defer cancel()
		require.NoError(t, a.Close(ctx))
		require.Equal(t, uint64(1), a.Stats().DroppedOthers)
	})
}
