package wampauth

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheClockTellsTheTimeOfDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		for _, passes := range []time.Duration{0, time.Nanosecond, clockHolds - time.Nanosecond, clockHolds, 3 * clockHolds, time.Hour} {
			synctest.Wait()
			<-time.After(passes)
			require.True(t, time.Now().Equal(c.now()), "after %v", passes)
			require.WithinDuration(t, time.Now().Round(0), c.now().Round(0), 0, "after %v, by the time of day", passes)
		}
	})
}

func TestTheClockIsReadAnewAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		c.now()
		first := c.read.Load()
		<-time.After(clockHolds - 1)
		c.now()
		require.Same(t, first, c.read.Load())
		<-time.After(1)
		c.now()
		require.NotSame(t, first, c.read.Load())
	})
}
