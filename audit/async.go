package audit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/chansec/chansec"
)

// Async is a queue before a slow sink, so that nobody waits for it. One goroutine takes what is in the queue and hands it
// to the sink, all at once if it is a BatchSink; Close ends it.
//
// Where the queue is full, Record fails with ErrDropped and counts, and never waits. Allowed decisions are dropped first: a
// quarter of the queue is reserved for everything else, denials above all. One of these that finds no room is counted by
// itself, and its Record fails like any other, so that a required sink stops what cannot be recorded. As soon as there is
// room again, the sink gets a record of the operation OpDrop which says how many are missing: no gap is silent.
//
// A sink that fails is tried again, after 10 ms at first and a second at most, while the queue fills; records that it calls
// [chansec.ErrInvalid] are dropped and counted. A record may so be there twice, where the sink took it before it failed.
//
// What is in the queue is lost if the process is killed. When there is little to do that is what came within the last
// millisecond or two.
type Async struct {
	sink  Sink
	size  int
	spare int // of size, what allowed decisions may not take
	share int // of size, what denials of one principal may take while they wait for room anyway

	mu      sync.Mutex
	queue   [][]Record     // in batches
	unused  [][]Record     // batches that are done with
	queued  int            // with those that the sink is being given
	denials map[string]int // that are in the queue, by principal
	parked  bool           // the worker waits to be woken
	closed  bool
	dropped drops // all
	told    drops // of these, what the sink was told of
	failing error
	put     uint64        // how many were ever put into the queue
	left    uint64        // how many of these left it, one way or the other
	moved   chan struct{} // closed when left changes; nil if nobody waits

	wake   chan struct{}
	ending context.Context // the sink's; ends when Close gives up
	cancel context.CancelFunc
	ended  chan struct{}
}

var _ Sink = (*Async)(nil)

type drops struct{ allowed, others uint64 }

// The bounds of a queue.
const (
	DefaultQueue = 8192
	MaxQueue     = 1 << 20
)

const (
	asyncBatch  = 256                   // the most that the sink is given at once
	asyncLinger = time.Millisecond      // how long the worker lets records gather
	asyncRetry  = 10 * time.Millisecond // doubled up to asyncPause
	asyncPause  = time.Second
)

// NewAsync returns a queue before a sink, for so many records, of 4 to MaxQueue; 0 is DefaultQueue.
func NewAsync(s Sink, size int) (*Async, error) {
	if s == nil {
		return nil, invalid("sink", "nil", "a sink")
	}
	if size == 0 {
		size = DefaultQueue
	}
	if size < 4 || size > MaxQueue {
		return nil, invalid("size of a queue", strconv.Itoa(size), "4 to "+strconv.Itoa(MaxQueue)+" records")
	}
	a := &Async{sink: s, size: size, spare: size / 4, share: max(1, size/16), denials: map[string]int{}, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	a.ending, a.cancel = context.WithCancel(context.Background())
	go a.work()
	return a, nil
}

// Record puts the record into the queue. It never waits. Its errors are ErrDropped, [chansec.ErrClosed] after Close, and
// [chansec.ErrInvalid] for a record that Clean refuses.
func (a *Async) Record(_ context.Context, r Record) error {
	if err := r.admit(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.recordLocked(&r, false)
	return err
}

// Keep is Record, except that it waits for room with what is no allowed decision. Where the context ends before there is
// any, that is dropped and counted, and the error is ErrDropped and the context's.
//
// A sixteenth of the queue is all the room that the denials of one principal have, so that who is denied faster than the sink
// can take it is who waits, and nobody else.
func (a *Async) Keep(ctx context.Context, r Record) error {
	if err := r.admit(); err != nil {
		return err
	}
	for {
		a.mu.Lock()
		moved, err := a.recordLocked(&r, ctx.Err() == nil && !r.sheddable())
		a.mu.Unlock()
		if moved == nil {
			if errors.Is(err, ErrDropped) && ctx.Err() != nil {
				err = errors.Join(err, ctx.Err())
			}
			return err
		}
		select {
		case <-moved:
		case <-a.ended:
		case <-ctx.Done():
		}
	}
}

// admit refuses what Clean refuses, and cuts what is long, so that the queue holds no more of it than the sink will. Looking at
// every text is for the worker, since somebody waits here.
func (r *Record) admit() error {
	if err := r.check(); err != nil {
		return err
	}
	if !r.small() {
		r.tidy()
	}
	return nil
}

// Offer is Keep for those whom others wait for: where Keep would wait, the error is ErrFull, and the record is still to be kept.
func (a *Async) Offer(_ context.Context, r Record) error {
	if err := r.admit(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	moved, err := a.recordLocked(&r, !r.sheddable())
	if moved != nil {
		return ErrFull
	}
	return err
}

// recordLocked puts a record that was admitted into the queue. If there is no room, and somebody waits for it, it returns what is
// closed when there may be some; otherwise the record is dropped.
func (a *Async) recordLocked(r *Record, wait bool) (moved <-chan struct{}, err error) {
	if a.closed {
		return nil, fmt.Errorf("audit: %w", chansec.ErrClosed)
	}
	if wait && r.denial() && a.denials[r.Principal] >= a.share {
		return a.movedLocked(), nil
	}
	room := a.size - a.queued
	if shed := r.sheddable(); room <= 0 || shed && room <= a.spare {
		if wait {
			return a.movedLocked(), nil
		}
		a.dropped.count(shed, 1)
		return nil, ErrDropped
	}
	last := len(a.queue) - 1
	if last < 0 || len(a.queue[last]) == asyncBatch {
		a.queue = append(a.queue, a.newBatch())
		last++
	}
	a.queue[last] = append(a.queue[last], *r)
	a.queued++
	a.put++
	if r.denial() {
		a.denials[r.Principal]++
	}
	if a.parked || a.queued == a.size/2 {
		a.parked = false
		a.nudge()
	}
	return nil, nil
}

// movedLocked returns what is closed when something leaves the queue.
func (a *Async) movedLocked() <-chan struct{} {
	if a.moved == nil {
		a.moved = make(chan struct{})
	}
	return a.moved
}

func (a *Async) newBatch() (b []Record) {
	if n := len(a.unused) - 1; n >= 0 {
		b, a.unused = a.unused[n], a.unused[:n]
		return b
	}
	return make([]Record, 0, asyncBatch)
}

func (d *drops) count(allowed bool, n uint64) {
	if allowed {
		d.allowed += n
	} else {
		d.others += n
	}
}

func (a *Async) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// AsyncStats is what a queue has done so far.
type AsyncStats struct {
	Queued         int    // records that the sink has not taken yet
	DroppedAllowed uint64 // allowed decisions that were left out
	DroppedOthers  uint64 // everything else that was left out
	Failing        error  // what the sink said last, if it does not work now
}

// Stats returns what the queue has done so far.
func (a *Async) Stats() AsyncStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return AsyncStats{Queued: a.queued, DroppedAllowed: a.dropped.allowed, DroppedOthers: a.dropped.others, Failing: a.failing}
}

// Flush waits until everything that was in the queue when it was called has left it, and then for the sink's own Flush, if
// it has one.
func (a *Async) Flush(ctx context.Context) error {
	a.mu.Lock()
	want := a.put
	a.mu.Unlock()
	a.nudge()
	if err := a.drained(ctx, want); err != nil {
		return err
	}
	if f, ok := a.sink.(interface{ Flush(context.Context) error }); ok {
		return f.Flush(ctx)
	}
	return nil
}

// drained waits until so many have left the queue.
func (a *Async) drained(ctx context.Context, want uint64) error {
	for {
		a.mu.Lock()
		if a.left >= want {
			a.mu.Unlock()
			return nil
		}
		moved := a.movedLocked()
		a.mu.Unlock()
		select {
		case <-moved:
		case <-a.ended:
			return fmt.Errorf("audit: %w", chansec.ErrClosed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close takes no more records, and waits until the sink has those that are in the queue. If the context ends before that,
// the sink's context ends too, the rest is dropped and counted, and Close returns the context's error, with what the sink
// said last. It does not close the sink.
func (a *Async) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.nudge()
	select {
	case <-a.ended:
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	err := errors.Join(ctx.Err(), a.failing)
	a.mu.Unlock()
	a.cancel()
	return err
}

// work is the goroutine between queue and sink.
func (a *Async) work() {
	defer close(a.ended)
	defer a.cancel()
	told := time.Now()
	for a.await() {
		for a.handOver() {
			if time.Since(told) >= asyncPause { // it may never be empty
				a.tell()
				told = time.Now()
			}
		}
		a.tell()
	}
}

// await waits until there may be something to do; false is the end.
func (a *Async) await() bool {
	linger := time.NewTimer(asyncLinger)
	defer linger.Stop()
	select { // those who record need not wake anybody meanwhile
	case <-linger.C:
	case <-a.wake:
	case <-a.ending.Done():
	}
	a.mu.Lock()
	if a.queued > 0 || a.told != a.dropped && a.ending.Err() == nil {
		a.mu.Unlock()
		return true
	}
	if a.closed {
		a.mu.Unlock()
		return false
	}
	a.parked = true
	a.mu.Unlock()
	<-a.wake
	return true
}

// handOver brings what was first put into the queue to the sink; false is an empty queue.
func (a *Async) handOver() bool {
	a.mu.Lock()
	if len(a.queue) == 0 {
		a.mu.Unlock()
		return false
	}
	batch := a.queue[0]
	a.queue[0] = nil
	a.queue = a.queue[1:]
	for i := range batch {
		if r := &batch[i]; r.denial() {
			if a.denials[r.Principal]--; a.denials[r.Principal] == 0 {
				delete(a.denials, r.Principal)
			}
		}
	}
	a.mu.Unlock()
	for i := range batch {
		batch[i].tidy()
	}
	lost := a.deliver(batch)
	n := len(batch)
	clear(batch)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unused = append(a.unused, batch[:0])
	a.queued -= n
	a.left += uint64(n)
	a.dropped.allowed += lost.allowed
	a.dropped.others += lost.others
	if a.moved != nil {
		close(a.moved)
		a.moved = nil
	}
	return true
}

// tell brings a record of what was left out to the sink.
func (a *Async) tell() {
	a.mu.Lock()
	known := a.dropped
	allowed, others := known.allowed-a.told.allowed, known.others-a.told.others
	a.mu.Unlock()
	if allowed+others == 0 {
		return
	}
	gap := about(OpDrop, chansec.Denied, allowed+others, fmt.Sprintf(
		"%d records were left out: %d of allowed decisions and %d others", allowed+others, allowed, others), "")
	if a.deliver([]Record{gap}) == (drops{}) || a.ending.Err() == nil { // a sink that refuses it will do so again
		a.mu.Lock()
		a.told = known
		a.mu.Unlock()
	}
}

// deliver brings records to the sink, however long that takes, and returns how many of them the sink refuses for good.
func (a *Async) deliver(batch []Record) (lost drops) {
	if _, ok := a.sink.(BatchSink); !ok && len(batch) > 1 {
		return a.deliverEach(batch)
	}
	for wait := asyncRetry; ; wait = min(2*wait, asyncPause) {
		err := recordAll(a.ending, a.sink, batch)
		a.mu.Lock()
		a.failing = err
		a.mu.Unlock()
		switch {
		case err == nil:
			return lost
		case errors.Is(err, chansec.ErrInvalid) && len(batch) > 1:
			return a.deliverEach(batch)
		case errors.Is(err, chansec.ErrInvalid), a.ending.Err() != nil:
			for i := range batch {
				lost.count(batch[i].sheddable(), 1)
			}
			return lost
		}
		again := time.NewTimer(wait)
		select {
		case <-again.C:
		case <-a.ending.Done():
		}
		again.Stop()
	}
}

func (a *Async) deliverEach(batch []Record) (lost drops) {
	for i := range batch {
		l := a.deliver(batch[i : i+1])
		lost.allowed += l.allowed
		lost.others += l.others
	}
	return lost
}
