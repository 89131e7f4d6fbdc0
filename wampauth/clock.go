package wampauth

import (
	"sync/atomic"
	"time"
)

// clock tells the time of day for half of what time.Now takes, which reads two clocks: it goes on from a reading of both by the
// monotonic one, for a short time, so that it follows the time of day where that is set anew. It is for records; what decides
// asks time.Now.
type clock struct{ read atomic.Pointer[time.Time] }

const clockHolds = 10 * time.Millisecond

func (c *clock) now() time.Time {
	if at := c.read.Load(); at != nil {
		if since := time.Since(*at); since < clockHolds {
			return at.Add(since)
		}
	}
	now := time.Now()
	c.read.Store(&now)
	return now
}
