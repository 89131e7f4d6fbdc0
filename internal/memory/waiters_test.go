package memory

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func newWaiters(n int) (list []*waiter, channels []chan struct{}) {
	for range n {
		ch := make(chan struct{}, 1)
		list, channels = append(list, &waiter{ch: ch}), append(channels, ch)
	}
	return list, channels
}

// woken returns how many of the channels hold a value, and takes it.
func woken(channels []chan struct{}) (n int) {
	synctest.Wait()
	for _, ch := range channels {
		select {
		case <-ch:
			n++
		default:
		}
	}
	return n
}

func TestWaiters(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    int
	}{
		{"one, woken by the writer itself", 1},
		{"two, woken by the writer itself", wakeInline},
		{"three, woken by a goroutine", wakeInline + 1},
		{"many, woken by a goroutine", 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ws waiters
				defer ws.close()
				list, channels := newWaiters(tt.n)
				ws.wake()
				for range 3 { // lists are used again
					for _, w := range list {
						ws.arm(w)
						ws.arm(w) // twice is once
					}
					require.EqualValues(t, tt.n, ws.n.Load())
					require.Zero(t, woken(channels), "nothing happened yet")
					ws.wake()
					require.Equal(t, tt.n, woken(channels))
					require.Zero(t, ws.n.Load())
					ws.wake()
					require.Zero(t, woken(channels), "who is not armed again is left alone")
				}
			})
		})
	}

	t.Run("who is taken off is not woken", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var ws waiters
			defer ws.close()
			list, channels := newWaiters(5)
			for _, w := range list {
				ws.arm(w)
			}
			ws.disarm(list[0])
			ws.disarm(list[0])
			ws.disarm(list[4])
			ws.disarm(&waiter{})
			require.EqualValues(t, 3, ws.n.Load())
			ws.wake()
			require.Equal(t, 3, woken(channels[1:4]))
			require.Zero(t, woken(channels))
			ws.disarm(list[1]) // after it was woken
			require.Zero(t, ws.n.Load())
		})
	})

	t.Run("a full channel holds nobody up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var ws waiters
			defer ws.close()
			list, channels := newWaiters(3)
			channels[1] <- struct{}{}
			for _, w := range list {
				ws.arm(w)
			}
			ws.wake()
			require.Equal(t, 3, woken(channels))
		})
	})

	t.Run("closing wakes everybody, and whoever comes later", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var ws waiters
			list, channels := newWaiters(4)
			for _, w := range list[:3] {
				ws.arm(w)
			}
			ws.wake() // starts the goroutine
			require.Equal(t, 3, woken(channels))
			for _, w := range list[:3] {
				ws.arm(w)
			}
			ws.close()
			require.Equal(t, 3, woken(channels))
			ws.arm(list[3])
			require.Equal(t, 1, woken(channels))
			ws.n.Store(1) // a writer that looked before
			ws.wake()
			require.Zero(t, woken(channels))
		})
	})
}
