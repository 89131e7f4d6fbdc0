// Package signal tells any number of goroutines that something changed.
package signal

import "sync"

// Signal is a channel that is closed at the next change, and made when somebody asks for it. Its zero value is ready for use,
// by many goroutines at once; it must not be copied.
type Signal struct {
	mu sync.Mutex
	ch chan struct{} // nil while nobody asked for it
}

// Next returns a channel that is closed at the next Give.
func (s *Signal) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Give tells all who have asked.
func (s *Signal) Give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
