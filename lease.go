package chansec

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/chansec/chansec/driver"
)

// Lease is a subscription that stays true: a place in the channel's messages, and a right to them that is looked at
// again for every one. It buffers nothing, so a slow consumer holds up nobody; one that falls behind what the
// channel retains is told how much it missed.
//
// After a revocation returned, no message whose write starts later reaches the lease, whatever was revoked: a right, a
// token, a session, or by the passing of time. The lease then ends, also when nobody is waiting on it.
type Lease[T any] interface {
	// Messages waits for messages and yields them in order until the lease ends, the context does, or the loop is left;
	// a message counts as read once it was yielded. The last pair of an ended lease or context has an error: RevokedError,
	// ErrClosed, or the context's. A LaggedError is not the last: the loop may go on. A lease whose loop was left can be
	// ranged over again; while it is, a second loop yields ErrBusy.
	Messages(ctx context.Context) iter.Seq2[Message[T], error]
	// Done is closed when the lease has ended. Err is nil until then.
	Done() <-chan struct{}
	Err() error
	// Close ends the lease. Closing it again does nothing.
	Close() error
}

type lease[T any] struct {
	watch  *watch
	reader driver.Reader[body[T]]
	signal chan struct{} // has room for one: something is to be looked at
	busy   atomic.Bool
	idle   func() // called before the loop waits; nil for none
}

// batchSize is how many messages are fetched at a time.
const batchSize = 256

// wake makes the loop look again.
func (l *lease[T]) wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

func (l *lease[T]) Done() <-chan struct{} { return l.watch.done }

func (l *lease[T]) Err() error { return l.watch.err() }

func (l *lease[T]) Close() error {
	l.watch.cut(ErrClosed)
	return nil
}

// onCut frees what the lease holds and wakes whoever is in its loop.
func (l *lease[T]) onCut() {
	l.reader.Close()
	l.wake()
}

func (l *lease[T]) Messages(ctx context.Context) iter.Seq2[Message[T], error] {
	return func(yield func(Message[T], error) bool) {
		if !l.busy.CompareAndSwap(false, true) {
			yield(Message[T]{}, ErrBusy)
			return
		}
		defer l.busy.Store(false)
		// Whatever happens sends to the one channel: waiting on several costs more than all the rest of a delivery.
		defer context.AfterFunc(ctx, l.wake)()
		for {
			if err := l.stopped(ctx); err != nil {
				yield(Message[T]{}, err)
				return
			}
			batch, err := l.reader.Next(ctx, batchSize)
			switch {
			case err != nil && ctx.Err() != nil:
				yield(Message[T]{}, ctx.Err())
				return
			case err != nil:
				l.watch.cut(driverError(err))
				yield(Message[T]{}, l.watch.err())
				return
			case batch.Missed > 0:
				l.reader.Commit(0)
				if !yield(Message[T]{}, lagged(&batch)) {
					return
				}
			case len(batch.Entries) == 0:
				l.reader.Commit(0)
				if l.idle != nil {
					l.idle()
				}
				if !l.reader.Wake(l.signal) {
					<-l.signal
				}
			case !l.deliver(ctx, batch.Entries, yield):
				return
			}
		}
	}
}

// deliver yields entries; it reports whether to go on.
func (l *lease[T]) deliver(ctx context.Context, entries []driver.Entry[body[T]], yield func(Message[T], error) bool) bool {
	n := 0
	defer func() { l.reader.Commit(n) }()
	for i := range entries {
		e := &entries[i]
		if err := ctx.Err(); err != nil {
			yield(Message[T]{}, err)
			return false
		}
		if !l.watch.holds(e.Time) {
			ok, err := l.watch.admit(e.Time, e.Value.matter(&e.Stamp))
			if err != nil {
				yield(Message[T]{}, err)
				return false
			}
			if !ok {
				n++
				continue
			}
		}
		n++
		if !yield(e.Value.message(&e.Stamp), nil) {
			return false
		}
	}
	return true
}

// stopped returns why the loop ends, if it does.
func (l *lease[T]) stopped(ctx context.Context) error {
	if err := l.watch.err(); err != nil {
		return err
	}
	return ctx.Err()
}

// run calls fn for every message until the lease ends.
func (l *lease[T]) run(ctx context.Context, fn func(context.Context, Message[T]) error) {
	end := errors.New("chansec: the callback ended its goroutine") // unless one of the below is the case
	defer func() {
		if r := recover(); r != nil {
			end = fmt.Errorf("chansec: the callback panicked with a %T", r)
			l.watch.guard.log.Error("chansec: a subscriber's callback panicked, its lease ends", "channel", l.watch.guard.channelID, "type", fmt.Sprintf("%T", r))
		}
		l.watch.cut(end)
	}()
	for m, err := range l.Messages(ctx) {
		if err == nil {
			err = fn(ctx, m)
		}
		if err != nil {
			end = err
			return
		}
	}
}
