package policy

import (
	"context"
	"iter"
	"sync"
	"time"
)

// Backend keeps the changes of one store, in order and without gaps: the first has revision 1, each further one a
// revision more. It decides nothing and understands no script. The package policytest tests it.
//
// It may be called from many goroutines at once, and, unless it says otherwise, by many processes.
type Backend interface {
	// Changes yields the changes after a revision, in order. Where the first of them were compacted, it yields the
	// whole state first, and goes on behind that. What it holds but cannot read is an error that is Damaged, the
	// last thing it yields.
	Changes(ctx context.Context, after uint64) iter.Seq2[Change, error]
	// Append keeps one change; it is durable when Append returns. If its revision is not the next one, the error is
	// Conflict and nothing is kept. After any other error it may be kept or not, but never in part.
	Append(ctx context.Context, c Change) error
	// Compact replaces the changes up to that revision, all of which it must have, by the whole state there.
	Compact(ctx context.Context, whole Change) error
}

// WholeBackend is a Backend that keeps the last state in the place of the changes that made it, such as a file which people
// may edit: its Changes yields one change at most, which is whole. A store gives it the whole state at every change.
type WholeBackend interface {
	Backend
	// Replace keeps the state after one change; what is said of Append holds for it, too.
	Replace(ctx context.Context, whole Change) error
}

// ProjectingBackend is a Backend that keeps beside the changes what they make, such as tables for people.
type ProjectingBackend interface {
	Backend
	// AppendProjected is Append with the states before and after the change; [Snapshot.Since] says what lies between them.
	AppendProjected(ctx context.Context, c Change, before, after *Snapshot) error
}

// Change is one revision of a store.
type Change struct {
	Revision uint64
	Whole    bool // the script makes the state from nothing; otherwise from the revision before
	At       time.Time
	Actor    string // the principal who did it; empty for the program itself
	Script   string // in the language of [Tx.Run]
	Where    string // where it was read, such as a file, for errors; may be empty
}

// Open returns a store of what a backend keeps, which remembers its changes there. If anything is damaged there is no
// store, and the error says where.
func Open(ctx context.Context, c Config, b Backend) (*Store, error) {
	s, err := New(c)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, refuse(InvalidArgument, "backend", "nil", "one, or New for a store in memory")
	}
	s.backend = b
	if err := s.Refresh(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Refresh takes over what other processes changed. If that fails, for example because the backend is away or damaged, the
// store stays at the revision at which it is.
func (s *Store) Refresh(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.refresh(ctx)
}

func (s *Store) refresh(ctx context.Context) error {
	if s.backend == nil {
		return nil
	}
	is := s.current.Load()
	was := is.revision
	about := touched{principals: map[string]struct{}{}}
	for c, err := range s.backend.Changes(ctx, was) {
		if err != nil {
			return err
		}
		if is, err = is.replay(c, &about); err != nil {
			return err
		}
	}
	s.unsure = false
	if is.revision != was {
		about.everybody = about.everybody || is.revision != was+1
		s.publish(is, &about)
	}
	return nil
}

// replay returns the state after a change. It was authorized when it was made.
func (s *state) replay(c Change, about *touched) (*state, error) {
	from := s
	if c.Whole && c.Revision > s.revision {
		from = newState(s.config)
		about.everybody = true
	} else if c.Whole || c.Revision != s.revision+1 {
		return nil, &DamagedError{Revision: c.Revision, Where: c.Where, Err: conflict(c.Revision, s.revision+1)}
	}
	tx := from.begin(Root())
	tx.touched.principals = about.principals
	err := tx.runScript(c.Script, storeCommands)
	if err != nil {
		return nil, &DamagedError{Revision: c.Revision, Where: c.Where, Err: err}
	}
	about.everybody = about.everybody || tx.touched.everybody
	next := tx.state
	next.revision = c.Revision
	return &next, nil
}

// keep gives a change of a state to a backend.
func keep(ctx context.Context, b Backend, actor Actor, before *state, tx *Tx) error {
	c := Change{Revision: tx.revision, At: time.Now(), Actor: actor.principal, Script: tx.log.String()}
	switch b := b.(type) {
	case WholeBackend:
		c.Whole, c.Script = true, tx.script()
		return b.Replace(ctx, c)
	case ProjectingBackend:
		after := tx.state
		return b.AppendProjected(ctx, c, &Snapshot{before}, &Snapshot{&after})
	}
	return b.Append(ctx, c)
}

// UpdateIn is Update by way of another backend of the same storage than the store's own, such as one within a transaction of a
// database. The change is given to that one, and returned is the revision that it leads to; f changed nothing if that is the
// one from before. It does not come into force: that it does when the store finds it in its own backend, by Refresh. The
// other backend may hold changes that the store does not know yet. If it returns a Conflict, so does UpdateIn: f is called once.
func (s *Store) UpdateIn(ctx context.Context, b Backend, actor Actor, f func(*Tx) error) (revision uint64, err error) {
	before := s.current.Load()
	about := touched{principals: map[string]struct{}{}}
	for c, err := range b.Changes(ctx, before.revision) {
		if err != nil {
			return 0, err
		}
		if before, err = before.replay(c, &about); err != nil {
			return 0, err
		}
	}
	log := &lines{}
	tx, err := before.try(actor, f, log)
	if err != nil {
		_ = s.observe(ctx, actor, log, 0, err) // it is refused in any case
		return 0, err
	}
	if !tx.touched.changed {
		return before.revision, nil
	}
	if err := s.observe(ctx, actor, log, tx.revision, nil); err != nil {
		return 0, err
	}
	if err := keep(ctx, b, actor, before, tx); err != nil {
		_ = s.observe(ctx, actor, log, 0, err)
		return 0, err
	}
	return tx.revision, nil
}

// Compact lets the backend forget the single changes up to now, and keep their result.
func (s *Store) Compact(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.backend == nil {
		return nil
	}
	is := s.current.Load()
	return s.backend.Compact(ctx, Change{Revision: is.revision, Whole: true, At: time.Now(), Script: is.script()})
}

// DamagedError says what of a backend cannot be read, and where. It is Damaged, and whatever Err is.
type DamagedError struct {
	Revision uint64
	Where    string // such as a file
	Line     int    // from 1; 0 where lines mean nothing
	Err      error
}

func (e *DamagedError) Error() string {
	return "policy: damaged: revision " + utoa(e.Revision) + e.where() + ": " + e.Err.Error()
}

func (e *DamagedError) where() string {
	switch {
	case e.Where == "":
		return ""
	case e.Line == 0:
		return " in " + e.Where
	}
	return " in " + e.Where + ", line " + utoa(uint64(e.Line))
}

// Unwrap returns Damaged and what is wrong.
func (e *DamagedError) Unwrap() []error { return []error{Damaged, e.Err} }

// MemoryBackend keeps changes in memory, for tests, and for several stores in one process.
type MemoryBackend struct {
	mu      sync.Mutex
	changes []Change // dense; the first may be whole
}

// NewMemoryBackend returns an empty backend.
func NewMemoryBackend() *MemoryBackend { return &MemoryBackend{} }

// last returns the last revision.
func (b *MemoryBackend) last() uint64 {
	if len(b.changes) == 0 {
		return 0
	}
	return b.changes[len(b.changes)-1].Revision
}

// Changes yields the changes that are there when it is called.
func (b *MemoryBackend) Changes(ctx context.Context, after uint64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		b.mu.Lock()
		changes := b.changes // never changed in place
		b.mu.Unlock()
		for _, c := range changes {
			if err := ctx.Err(); err != nil {
				yield(Change{}, err)
				return
			}
			if c.Revision > after && !yield(c, nil) {
				return
			}
		}
	}
}

// Append keeps a change.
func (b *MemoryBackend) Append(ctx context.Context, c Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.Whole || c.Revision != b.last()+1 {
		return conflict(b.last(), c.Revision-1)
	}
	b.changes = append(b.changes[:len(b.changes):len(b.changes)], c)
	return nil
}

// Compact drops the changes up to a revision.
func (b *MemoryBackend) Compact(ctx context.Context, whole Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !whole.Whole || whole.Revision == 0 || whole.Revision > b.last() || whole.Revision < b.changes[0].Revision {
		return conflict(b.last(), whole.Revision)
	}
	kept := []Change{whole}
	for _, c := range b.changes {
		if c.Revision > whole.Revision {
			kept = append(kept, c)
		}
	}
	b.changes = kept
	return nil
}
