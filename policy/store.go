package policy

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
)

// Store is who has which role, and which role may do what where. It may be used from many goroutines at once. Whoever
// asks it looks at an immutable snapshot: no lock, no allocation, and the same cost however many rules there are; a
// change copies what it changes and publishes the rest as it is.
type Store struct {
	config  *config
	backend Backend // nil: in memory only
	current atomic.Pointer[state]

	changing   sync.Mutex // one change at a time
	unsure     bool       // the backend failed: it may hold a change that is not in force
	publishing sync.Mutex // held by nobody who waits for a backend
	announcements
}

// New returns an empty store in memory.
func New(c Config) (*Store, error) {
	checked, err := newConfig(c)
	if err != nil {
		return nil, err
	}
	s := &Store{config: checked}
	s.current.Store(newState(checked))
	return s, nil
}

// Update changes the store: f makes the changes, which come into force together when Update returns, for open leases
// too, or, if f or one of its commands failed, not at all. The actor must hold the vocabulary's Modify permission
// (diffusion.md 8), which is checked before f is called; in a store with Delegation, who does not hold it may run those
// commands that [Tx] says, on what they administer. Nothing happens, and there is no new revision, if f changed
// nothing.
//
// With a backend, the change is durable before it is in force. If another process changed the store in the meantime, f
// is called again on what that left, also where it failed or changed nothing; it must therefore do nothing but change the Tx.
func (s *Store) Update(ctx context.Context, actor Actor, f func(*Tx) error) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.update(ctx, actor, f)
}

// mostAttempts is how often a change is tried anew because another process was faster.
const mostAttempts = 100

func (s *Store) update(ctx context.Context, actor Actor, f func(*Tx) error) error {
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.unsure {
			if err := s.refresh(ctx); err != nil {
				return err
			}
		}
		var log *lines
		if s.backend != nil || s.config.observe != nil {
			log = &lines{}
		}
		before := s.current.Load()
		tx, err := before.try(actor, f, log)
		if err != nil || !tx.touched.changed {
			// What is refused, or does nothing, might do something to what another process left.
			e := s.refresh(ctx)
			if e == nil && s.current.Load().revision != before.revision && attempt < mostAttempts {
				continue
			}
			if err != nil {
				_ = s.observe(ctx, actor, log, 0, err) // it is refused in any case
				return err
			}
			return e
		}
		if err := s.observe(ctx, actor, log, tx.revision, nil); err != nil {
			return err
		}
		if s.backend == nil {
			s.publish(&tx.state, &tx.touched)
			return nil
		}
		if err = keep(ctx, s.backend, actor, before, tx); err == nil {
			s.publish(&tx.state, &tx.touched)
			return nil
		}
		_ = s.observe(ctx, actor, log, 0, err)
		if !errors.Is(err, Conflict) || attempt == mostAttempts {
			s.unsure = true
			return err
		}
		if err := s.refresh(ctx); err != nil {
			return err
		}
	}
}

// try makes a change, and keeps it to itself. The log, if there is one, is told of every command.
func (s *state) try(actor Actor, f func(*Tx) error, log *lines) (*Tx, error) {
	const operation = "change the policy"
	if err := actor.reaches(operation); err != nil {
		return nil, err
	}
	err := s.may(actor, s.config.modify, operation)
	if err != nil && (!s.config.delegation || !actor.known) {
		return nil, err
	}
	tx := s.begin(actor)
	tx.log, tx.delegated = log, err != nil
	defer func() { tx.edit = nil }() // also if f panics
	if err := f(tx); err != nil {
		return nil, err
	}
	if tx.err != nil {
		return nil, tx.err
	}
	if tx.size > max(s.size, s.config.maxSize) {
		return nil, refuse(Limit, "store", strconv.Itoa(tx.size)+" roles, rules and the like", "at most "+strconv.Itoa(s.config.maxSize))
	}
	if err := s.administratorLeft(&tx.state, actor); err != nil {
		return nil, err
	}
	if !actor.root && s.config.ceiling {
		if err := s.ceiling(&tx.state, actor); err != nil {
			return nil, err
		}
	}
	tx.revision++
	return tx, nil
}

// publish puts a state in force and tells those who wait for it.
func (s *Store) publish(is *state, t *touched) {
	next := *is // without the transaction around it
	s.publishing.Lock()
	defer s.publishing.Unlock()
	now := s.current.Load()
	next.turns, next.suspended = now.turns, now.suspended
	s.current.Store(&next)
	s.announce(next.revision, t)
}

// Version returns the store's revision, which is one more after every change.
func (s *Store) Version() uint64 { return s.current.Load().revision }

// Snapshot returns the store as it is now.
func (s *Store) Snapshot() *Snapshot { return &Snapshot{s.current.Load()} }

// UpdateScript changes the store by a script of the security store's commands (diffusion.md 7.2): all of it or, where
// a ScriptError says what was wrong in which line and column, nothing. Who may not change the store learns nothing
// about the script. Who administers a part of it may set permissions there; [Tx.Run] takes the other commands that they
// may run.
func (s *Store) UpdateScript(ctx context.Context, actor Actor, script string) error {
	return s.Update(ctx, actor, func(tx *Tx) error { return tx.runScript(script, securityCommands) })
}

// Restore replaces everything in the store by what a [Snapshot.Script] says, as one change. Locks are checked where roles
// that exist would change.
func (s *Store) Restore(ctx context.Context, actor Actor, script string) error {
	return s.Update(ctx, actor, func(tx *Tx) error { return tx.Restore(script) })
}
