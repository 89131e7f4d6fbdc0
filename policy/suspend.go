package policy

import (
	"errors"
	"fmt"

	"github.com/chansec/chansec"
)

// Suspend makes every decision of the store's authorizers, and Permits, fail with an error that is chansec.ErrUndecided and the
// cause, until Resume: for who follows a backend that others change, and does not know any more what it holds. Leases end.
// Changes, snapshots and Refresh go on as before. A nil cause is one that is not known.
func (s *Store) Suspend(cause error) {
	if cause == nil {
		cause = errors.New("suspended")
	}
	s.turn(fmt.Errorf("%w: policy: %w", chansec.ErrUndecided, cause))
}

// Resume ends what Suspend began.
func (s *Store) Resume() { s.turn(nil) }

func (s *Store) turn(why error) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	next := *s.current.Load()
	if next.suspended == nil && why == nil {
		return
	}
	next.suspended = why
	next.turns++
	s.current.Store(&next)
	s.announceTurn()
}

// The version of a state, for those who remember decisions, is its revision and, in the bits above, how often the store
// was suspended and resumed.
const (
	turnsFrom    = 48
	revisionBits = 1<<turnsFrom - 1
)

func (s *state) version() uint64 { return s.turns<<turnsFrom | s.revision&revisionBits }
