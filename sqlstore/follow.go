package sqlstore

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// following is what a store does to know what others changed. One goroutine asks the table head, when a notification came,
// when this process changed something, and when Poll is over; what it finds there is all that it goes by, so that it does
// no harm if notifications are lost, late, doubled or in another order.
type following struct {
	life     context.Context
	end      context.CancelFunc
	work     sync.WaitGroup
	closing  sync.Once
	wakeup   chan struct{} // holds one if there may be something new
	families []*family
}

// family is one of what changes together.
type family struct {
	name string
	// is learns what the database holds, which is at a revision or later.
	learn func(ctx context.Context, revision uint64) error
	known uint64 // the last revision that was learned
}

func (f *following) init() {
	f.life, f.end = context.WithCancel(context.Background())
	f.wakeup = make(chan struct{}, 1)
}

// follow calls learn whenever the revision of a family is another than when it last returned nil, and once at the beginning, one call
// at a time. Until it succeeds it is called again and again; what the store decides is not fresh until then. It is
// called while a store is opened.
func (s *Store) follow(name string, learn func(ctx context.Context, revision uint64) error) {
	s.families = append(s.families, &family{name: name, learn: learn})
}

// wake makes the goroutine look.
func (f *following) wake() {
	select {
	case f.wakeup <- struct{}{}:
	default: // it will
	}
}

func (s *Store) startFollowing(ctx context.Context) error {
	for _, f := range s.families {
		f.known = 1<<64 - 1 // none
	}
	if err := s.learn(ctx); err != nil {
		return err
	}
	s.work.Go(s.followAll)
	return nil
}

func (s *Store) stopFollowing() {
	s.end()
	s.work.Wait()
}

// longestLearning bounds one round.
const longestLearning = time.Minute

func (s *Store) followAll() {
	tick := time.NewTicker(s.options.Poll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.wakeup:
		case <-s.life.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.life, longestLearning)
		err := s.learn(ctx)
		cancel()
		if err != nil && s.life.Err() == nil {
			s.options.Logger.Warn("sqlstore: cannot follow the database", "error", err)
		}
	}
}

// learn learns what is new.
func (s *Store) learn(ctx context.Context) error {
	is, err := heads(ctx, s.db)
	if err != nil {
		return wrap(ctx, err)
	}
	for _, f := range s.families {
		revision, ok := is[f.name]
		if !ok {
			return fmt.Errorf("sqlstore: damaged: the table head has no row for %s", f.name)
		}
		if revision == f.known {
			continue
		}
		if err := f.learn(ctx, revision); err != nil {
			return fmt.Errorf("sqlstore: %s: %w", f.name, err)
		}
		f.known = revision
	}
	return nil
}
