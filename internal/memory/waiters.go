package memory

import (
	"sync"
	"sync/atomic"
)

// waiters are those to be woken by the next change. A writer that finds many of them leaves the waking to a goroutine
// of the log, since waking a thousand takes far longer than a write.
type waiters struct {
	mu       sync.Mutex
	n        atomic.Int32 // len(armed)
	armed    []*waiter
	spare    []*waiter
	gen      uint64        // of the list in armed
	notifier chan struct{} // nil until there were many waiters
	ended    sync.WaitGroup
	closed   bool
}

// waiter is in the list armed if it was put there in this generation and not taken out since.
type waiter struct {
	ch  chan<- struct{} // has room for one value; fixed
	gen uint64
	at  int
}

// wakeInline is how many waiters a writer wakes itself.
const wakeInline = 2

// arm puts w on the list. The caller looks again afterwards whether there is still a reason to wait: whoever published
// before did not see w.
func (ws *waiters) arm(w *waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		w.wake()
		return
	}
	if w.gen == ws.gen+1 { // generations are stored plus one: zero is never armed
		return
	}
	w.gen, w.at = ws.gen+1, len(ws.armed)
	ws.armed = append(ws.armed, w)
	ws.n.Store(int32(len(ws.armed)))
}

// disarm takes w off the list; a wake-up may still be under way.
func (ws *waiters) disarm(w *waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w.gen != ws.gen+1 {
		return
	}
	last := len(ws.armed) - 1
	ws.armed[w.at] = ws.armed[last]
	ws.armed[w.at].at = w.at
	ws.armed[last] = nil
	ws.armed = ws.armed[:last]
	w.gen = 0
	ws.n.Store(int32(last))
}

func (w *waiter) wake() {
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

// take empties the list.
func (ws *waiters) take() []*waiter {
	list := ws.armed
	ws.armed, ws.spare = ws.spare[:0], nil
	ws.gen++
	ws.n.Store(0)
	return list
}

// give returns a list that was taken for reuse.
func (ws *waiters) give(list []*waiter) {
	clear(list)
	ws.mu.Lock()
	ws.spare = list[:0]
	ws.mu.Unlock()
}

// wake wakes everybody on the list, after the caller published what they wait for.
func (ws *waiters) wake() {
	if n := ws.n.Load(); n != 0 {
		ws.wakeAll(n)
	}
}

func (ws *waiters) wakeAll(n int32) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return
	}
	if n <= wakeInline {
		for _, w := range ws.armed {
			w.wake()
		}
		clear(ws.armed)
		ws.armed = ws.armed[:0]
		ws.gen++
		ws.n.Store(0)
		return
	}
	if ws.notifier == nil {
		ws.notifier = make(chan struct{}, 1)
		ws.ended.Go(ws.notify)
	}
	select {
	case ws.notifier <- struct{}{}:
	default:
	}
}

func (ws *waiters) notify() {
	for range ws.notifier {
		ws.mu.Lock()
		list := ws.take()
		ws.mu.Unlock()
		for _, w := range list {
			w.wake()
		}
		ws.give(list)
	}
}

// close wakes everybody for the last time and ends the goroutine.
func (ws *waiters) close() {
	ws.mu.Lock()
	ws.closed = true
	for _, w := range ws.take() {
		w.wake()
	}
	if ws.notifier != nil {
		close(ws.notifier)
	}
	ws.mu.Unlock()
	ws.ended.Wait()
}
