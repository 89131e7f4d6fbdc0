package audit

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

func TestKeepWaitsWithWhatIsNoAllowedDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(false)
		a, err := NewAsync(g, 4)
		require.NoError(t, err)
		for i := range 4 {
			require.NoError(t, a.Keep(t.Context(), decision(fmt.Sprint("no ", i), chansec.Denied)))
		}
		require.ErrorIs(t, a.Keep(t.Context(), decision("yes", chansec.Allowed)), ErrDropped, "what was allowed is dropped")

		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 2)
		go func() { given <- a.Keep(ctx, decision("impatient", chansec.Denied)) }()
		synctest.Wait()
		require.Empty(t, given, "it waits")
		cancel()
		err = <-given
		require.ErrorIs(t, err, ErrDropped)
		require.ErrorIs(t, err, context.Canceled)

		go func() { given <- a.Keep(t.Context(), decision("patient", chansec.Denied)) }()
		synctest.Wait()
		require.Empty(t, given, "it waits")
		close(g.open)
		require.NoError(t, <-given)
		require.NoError(t, a.Flush(t.Context()))
		require.Equal(t, AsyncStats{DroppedAllowed: 1, DroppedOthers: 1}, a.Stats())
		require.Contains(t, g.said(), "patient")
		require.NotContains(t, g.said(), "impatient")
		require.NoError(t, a.Close(t.Context()))
	})
}
