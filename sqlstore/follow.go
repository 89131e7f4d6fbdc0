package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/chansec/chansec"
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
	families []*family     // in the order in which they are learned

	learning sync.Mutex // one round at a time
	stale    atomic.Pointer[StaleError]
	gate     sync.Mutex // of stale and the policy's suspension, which go together, and of what follows
	asked    time.Time  // when the database was asked the last time that it answered
	expiry   *time.Timer
}

// family is one of what changes together.
type family struct {
	name  string
	learn func(ctx context.Context, revision uint64) error
	turn  chan struct{} // held by who learns it
	known uint64        // the last revision that was learned; of who has the turn

	always bool // learn is called in every round, also when there is nothing new
}

// StaleError says that the store does not know any more what the database holds. It is chansec.ErrUndecided.
type StaleError struct {
	Since time.Time // when it asked the last time and was answered
	Limit time.Duration
	Err   error // what came of the last attempt; nil if nothing did
}

func (e *StaleError) Error() string {
	text := "sqlstore: what is known of the database is older than " + e.Limit.String() + ": it was asked at " + e.Since.UTC().Format(time.RFC3339)
	if e.Err != nil {
		text += ", and then: " + e.Err.Error()
	}
	return text
}

// Unwrap returns chansec.ErrUndecided and the cause, if there is one.
func (e *StaleError) Unwrap() []error {
	if e.Err == nil {
		return []error{chansec.ErrUndecided}
	}
	return []error{chansec.ErrUndecided, e.Err}
}

func (f *following) init() {
	f.life, f.end = context.WithCancel(context.Background())
	f.wakeup = make(chan struct{}, 1)
}

// follow calls learn whenever the revision of a family is another than when it last returned nil, and once at the beginning,
// one call at a time. Until it succeeds it is called again and again, and what the store decides is not fresh. What learn puts in
// force it must have read before [Store.learnBefore]. It is for openParts.
func (s *Store) follow(name string, learn func(ctx context.Context, revision uint64) error) *family {
	const none = 1<<64 - 1
	f := &family{name: name, learn: learn, turn: make(chan struct{}, 1), known: none}
	s.families = append(s.families, f)
	return f
}

// wake makes the goroutine look.
func (f *following) wake() {
	select {
	case f.wakeup <- struct{}{}:
	default: // it will
	}
}

// fresh returns a StaleError if what is in memory may not be acted on. It costs one atomic load.
func (s *Store) fresh() error {
	if e := s.stale.Load(); e != nil {
		return e
	}
	return nil
}

func (s *Store) startFollowing(ctx context.Context) error {
	if err := s.learn(ctx); err != nil {
		return err
	}
	s.work.Go(s.followAll)
	if s.dialect == PostgreSQL && s.db.Stats().MaxOpenConnections != 1 {
		s.work.Go(s.listen)
	}
	return nil
}

func (s *Store) stopFollowing() {
	s.end()
	s.work.Wait()
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.suspend(&StaleError{Since: time.Now(), Limit: s.options.MaxStaleness, Err: Closed})
}

// Bounds of one round.
const (
	longestAsking   = 5 * time.Second
	longestLearning = time.Minute
)

func (s *Store) followAll() {
	tick := time.NewTicker(s.options.Poll)
	defer tick.Stop()
	failed := false
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
		switch {
		case s.life.Err() != nil:
			return
		case err != nil && !failed:
			s.options.Logger.Warn("sqlstore: cannot follow the database", "error", err)
		case err == nil && failed:
			s.options.Logger.Info("sqlstore: follows the database again")
		}
		failed = err != nil
	}
}

// learn learns what is new.
func (s *Store) learn(ctx context.Context) error {
	s.learning.Lock()
	defer s.learning.Unlock()
	asked := time.Now()
	err := s.learnAll(ctx)
	s.gate.Lock()
	defer s.gate.Unlock()
	switch {
	case s.life.Err() != nil:
		return Closed
	case err != nil:
		if e := s.stale.Load(); e != nil {
			s.suspend(&StaleError{e.Since, e.Limit, err})
		}
		return err
	}
	s.stale.Store(nil)
	if s.policy != nil {
		s.policy.Resume()
	}
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.asked = asked
	s.expiry = time.AfterFunc(time.Until(asked.Add(s.options.MaxStaleness)), func() { s.expire(asked) })
	return nil
}

// expire closes the gate, if nothing was learned since the timer was set. A timer of its own does so, because
// whoever learns may be waiting for the database.
func (s *Store) expire(asked time.Time) {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.life.Err() == nil && s.asked == asked {
		s.suspend(&StaleError{Since: asked, Limit: s.options.MaxStaleness})
	}
}

func (s *Store) suspend(e *StaleError) {
	s.stale.Store(e)
	if s.policy != nil {
		s.policy.Suspend(e)
	}
}

func (s *Store) learnAll(ctx context.Context) error { return s.learnFamilies(ctx, s.families, true) }

// learnBefore learns the families before one, up to all that was committed when it is called. Whoever has read rows of that
// one calls it before these are in force: they may be newer than what the round went by, and what they give to somebody must not
// be had by whom something was taken from in the meantime. The caller must not have anything of the database.
func (s *Store) learnBefore(ctx context.Context, name string) error {
	before := s.families // all that there are, if it is about to be opened
	if i := slices.IndexFunc(before, func(f *family) bool { return f.name == name }); i >= 0 {
		before = before[:i]
	}
	ctx, cancel := context.WithTimeout(ctx, longestLearning)
	defer cancel()
	return s.learnFamilies(ctx, before, false)
}

// learnFamilies learns what is new of some families. In a round, those are learned that are in every one.
func (s *Store) learnFamilies(ctx context.Context, families []*family, round bool) error {
	if len(families) == 0 {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, longestAsking)
	defer cancel()
	var is map[string]uint64
	err := again(asking, func() (err error) {
		is, err = heads(asking, s.db)
		return wrap(asking, err)
	})
	if err != nil {
		return err
	}
	for _, f := range families {
		revision, ok := is[f.name]
		if !ok {
			return fmt.Errorf("sqlstore: the table head has no row for %s", f.name)
		}
		if err := f.upTo(ctx, revision, round && f.always); err != nil {
			return fmt.Errorf("sqlstore: %s: %w", f.name, err)
		}
	}
	return nil
}

// upTo learns a family, if it is at another revision or must be learned in any case.
func (f *family) upTo(ctx context.Context, revision uint64, always bool) error {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if revision == f.known && !always {
		return nil
	}
	if err := f.learn(ctx, revision); err != nil {
		return err
	}
	f.known = revision
	return nil
}

// hooked calls a function that the store was given. A panic is a failure.
func hooked(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("sqlstore: what is told of changes panicked with a %T", p)
		}
	}()
	return f()
}

// AtLeast waits until the policy that decides here is at a revision, which another process may have made, or UpdateIn in a
// transaction that is committed. It returns the context's error if that does not come about, and Closed if the store is.
func (s *Store) AtLeast(ctx context.Context, revision uint64) error {
	for wait := time.Millisecond; ; wait = min(2*wait, s.options.Poll) {
		changed := s.policy.Changed()
		if s.policy.Version() >= revision {
			return nil
		}
		s.wake()
		select {
		case <-changed:
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		case <-s.life.Done():
			return Closed
		}
	}
}

// listen waits for PostgreSQL's notifications, on a connection of its own. While it has none, there is still the polling.
func (s *Store) listen() {
	const shortest, longest = 50 * time.Millisecond, 5 * time.Second
	for wait := shortest; s.life.Err() == nil; wait = min(2*wait, longest) {
		began := time.Now()
		err := s.listenOnce()
		if s.life.Err() != nil {
			return
		}
		s.options.Logger.Warn("sqlstore: no notifications for now", "error", err)
		if errors.Is(err, InvalidArgument) {
			return
		}
		if time.Since(began) > longest {
			wait = shortest
		}
		select {
		case <-time.After(wait):
		case <-s.life.Done():
		}
	}
}

func (s *Store) listenOnce() error {
	c, err := s.db.Conn(s.life)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	var failed error
	err = c.Raw(func(x any) error {
		is, ok := x.(*stdlib.Conn)
		if !ok {
			failed = refuse(InvalidArgument, "driver", fmt.Sprintf("%T", x), "github.com/jackc/pgx/v5/stdlib, for notifications")
			return nil
		}
		conn := is.Conn()
		if _, failed = conn.Exec(s.life, "listen "+channel); failed == nil {
			s.wake() // for those that came before
		}
		for failed == nil {
			if _, failed = conn.WaitForNotification(s.life); failed == nil {
				s.wake()
			}
		}
		return driver.ErrBadConn // it listens, and is nobody else's any more
	})
	return errors.Join(failed, err)
}
