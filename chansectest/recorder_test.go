package chansectest_test

import (
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/chansectest"
)

func TestRecorder(t *testing.T) {
	ctx := t.Context()

	t.Run("remembers events in order, until it is reset", func(t *testing.T) {
		var r chansectest.Recorder
		require.Empty(t, r.Events())
		for _, id := range []string{"a", "b"} {
			require.NoError(t, r.Record(ctx, chansec.Event{SystemID: id}))
		}
		events := r.Events()
		require.Len(t, events, 2)
		require.Equal(t, "b", events[1].SystemID)
		events[0].SystemID = "changed"
		require.Equal(t, "a", r.Events()[0].SystemID, "what it returns is a copy")
		r.Reset()
		require.Empty(t, r.Events())
		require.Len(t, events, 2)
	})

	t.Run("fails when it is told to, and remembers nothing then", func(t *testing.T) {
		var r chansectest.Recorder
		full := errors.New("the disk is full")
		r.FailWith(full)
		require.ErrorIs(t, r.Record(ctx, chansec.Event{}), full)
		require.Empty(t, r.Events())
		r.FailWith(nil)
		require.NoError(t, r.Record(ctx, chansec.Event{}))
		require.Len(t, r.Events(), 1)
	})

	t.Run("stops operations where it is required", func(t *testing.T) {
		var r chansectest.Recorder
		ch, err := chansec.NewBroadcast[int]("readings", chansec.WithSecurity(chansec.OpenSecurity{}), chansec.WithRequiredAudit(&r), chansec.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		require.NoError(t, ch.Start(ctx))
		defer ch.Close()
		r.FailWith(errors.New("the disk is full"))
		_, err = ch.As("sensor").Write(ctx, 1)
		require.ErrorIs(t, err, chansec.ErrAudit)
		r.FailWith(nil)
		_, err = ch.As("sensor").Write(ctx, 2)
		require.NoError(t, err)
		require.Len(t, r.Events(), 1)
	})

	t.Run("serves many goroutines", func(t *testing.T) {
		var r chansectest.Recorder
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					_ = r.Record(ctx, chansec.Event{})
					_ = r.Events()
				}
			})
		}
		wg.Wait()
		require.Len(t, r.Events(), 800)
	})
}
