package chansec

import (
	"sync"
	"sync/atomic"
)

// version implements Versioned.
type version struct {
	_  [64]byte // alone on its cache line: every delivery of every lease reads it
	n  atomic.Uint64
	_  [56]byte
	mu sync.Mutex
	ch chan struct{} // nil while nobody asked for it
}

// Version returns a number that is another after every change.
func (v *version) Version() uint64 { return v.n.Load() }

// Changed returns a channel that is closed at the next change.
func (v *version) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ch == nil {
		v.ch = make(chan struct{})
	}
	return v.ch
}

// bump announces a change that was published before.
func (v *version) bump() uint64 {
	n := v.n.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ch != nil {
		close(v.ch)
		v.ch = nil
	}
	return n
}
