package audit

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

func TestWhoIsDeniedTooOftenIsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, works, written := heldQueue(t)
		keep := func(who string, o chansec.Outcome) error {
			r := gapless(who)
			r.Outcome = o
			return a.Keep(t.Context(), r)
		}
		const flood = 200
		done := make(chan error, flood)
		for range flood {
			go func() { done <- keep("mallory", chansec.Denied) }()
		}
		synctest.Wait() // she waits
		require.LessOrEqual(t, a.Stats().Queued, 8, "her share, and as much that the sink has")
		for i := range 20 {
			require.NoError(t, keep("ann", chansec.Allowed), "what others may do goes on, and is recorded")
			require.NoError(t, keep(fmt.Sprint("ben", i), chansec.Undecided), "and what they may not")
		}
		require.Less(t, len(done), 16)
		close(works)
		for range flood {
			require.NoError(t, <-done, "none of hers is left out")
		}
		require.NoError(t, a.Close(t.Context()))
		require.Equal(t, int64(flood+40), written.Load())
		require.Equal(t, AsyncStats{}, a.Stats())
		require.Empty(t, a.denials)

		// Who does not wait is told so, as ever.
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		r := gapless("mallory")
		require.ErrorIs(t, a.Keep(ended, r), chansec.ErrClosed)
	})
}

// heldQueue is a queue for 64 records whose sink takes nothing until works is closed.
func heldQueue(t *testing.T) (a *Async, works chan struct{}, written *atomic.Int64) {
	works, written = make(chan struct{}), new(atomic.Int64)
	a, err := NewAsync(SinkFunc(func(context.Context, Record) error {
		<-works
		written.Add(1)
		return nil
	}), 64)
	require.NoError(t, err)
	return a, works, written
}

func gapless(who string) Record {
	return Record{Time: time.Unix(1e9, 0), Kind: KindDecision, Principal: who, Operation: "call", Outcome: chansec.Denied}
}

func TestWhoCannotWaitIsToldWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, works, written := heldQueue(t)
		offer := func(who string, o chansec.Outcome) error {
			r := gapless(who)
			r.Outcome = o
			return a.Offer(t.Context(), r)
		}
		taken := 0
		for offer("mallory", chansec.Denied) == nil {
			taken++
		}
		require.Equal(t, 4, taken, "a sixteenth")
		require.ErrorIs(t, offer("mallory", chansec.Undecided), ErrFull)
		require.NoError(t, offer("ann", chansec.Denied), "others have room")
		for i := range 64 {
			taken += btoi(offer(fmt.Sprint("ben", i), chansec.Allowed) == nil)
		}
		require.ErrorIs(t, offer("ann", chansec.Allowed), ErrDropped, "what was allowed may be left out, and is counted")
		dropped := a.Stats().DroppedAllowed
		require.NotZero(t, dropped)
		require.Zero(t, a.Stats().DroppedOthers, "what was not is still to be kept")
		close(works)
		synctest.Wait()
		time.Sleep(time.Second)
		require.NoError(t, offer("mallory", chansec.Denied), "there is room again")
		require.NoError(t, a.Close(t.Context()))
		require.Equal(t, int64(taken+3), written.Load(), "with ann's, mallory's last, and the record of what was left out")
		require.ErrorIs(t, offer("ann", chansec.Denied), chansec.ErrClosed)
		require.ErrorIs(t, a.Offer(t.Context(), Record{}), chansec.ErrInvalid)
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
