package chansectest

import (
	"context"
	"slices"
	"sync"

	"github.com/chansec/chansec"
)

// Recorder is an audit sink that remembers what it was told, for tests. Its zero value is ready for use, by many goroutines
// at once.
type Recorder struct {
	mu     sync.Mutex
	events []chansec.Event
	err    error
}

var _ chansec.AuditSink = (*Recorder)(nil)

// Record remembers the event, or returns the error that FailWith set.
func (r *Recorder) Record(_ context.Context, e chansec.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	r.events = append(r.events, e)
	return nil
}

// Events returns a copy of the events so far, in the order in which they came.
func (r *Recorder) Events() []chansec.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Reset forgets the events.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}

// FailWith makes Record fail with an error from now on, and remember nothing; nil makes it work again.
func (r *Recorder) FailWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}
