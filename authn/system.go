package authn

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// SystemConfig is what a system authentication store is made for.
type SystemConfig struct {
	// Permits finds out who holds PermissionViewSecurity and PermissionModifySecurity. Without it only Root may change the store and look at it.
	Permits Permits

	// Audit is told of every attempt to change the store, of those that were made in their order. It must not change the
	// store itself.
	Audit func(context.Context, SystemChange)

	// Iterations of new passwords; 0 is DefaultIterations. Fewer are refused, here and in files, unless AllowWeak is set,
	// which is for tests: each guess at such a password costs next to nothing.
	Iterations int
	AllowWeak  bool

	// WrongGuesses bounds how often verify password may be wrong about each principal in a minute, since whoever may change
	// the store can guess with it (diffusion.md 15); 0 is DefaultWrongGuesses. Logins are another matter.
	WrongGuesses int
}

// DefaultWrongGuesses is how often verify password may be wrong about a principal in a minute.
const DefaultWrongGuesses = 10

// SystemChange is an attempt to change a store. It holds no password and no hash.
type SystemChange struct {
	Time     time.Time
	Actor    string // the principal, or "root"
	Script   string // what was to be done, as a script with '***' for passwords
	Revision uint64 // that it led to; 0 if it failed or nothing changed
	Err      error  // why nothing was changed
}

// SystemStore is Diffusion's system authentication store: principals with passwords, of which only hashes are kept, the
// answer to anonymous callers, and which properties that clients propose are trusted (diffusion.md 1.1). It is also the
// handler that answers by it (diffusion.md 9.3). It may be used from many goroutines at once; logins look at an immutable
// snapshot, and wait for nobody but for a processor that hashes.
type SystemStore struct {
	config  SystemConfig
	current atomic.Pointer[systemState]
	hashing *hashing
	file    *systemFile // nil: in memory only

	turn    chan struct{} // of the one who changes the store, and of what is below
	guesses map[string]*guesses
	unsure  bool // the file may hold a change that is not in force
}

// NewSystemStore returns a store in memory, without principals, which denies anonymous connections.
func NewSystemStore(c SystemConfig) (*SystemStore, error) {
	if c.Iterations == 0 {
		c.Iterations = DefaultIterations
	}
	if c.WrongGuesses == 0 {
		c.WrongGuesses = DefaultWrongGuesses
	}
	switch least := c.leastIterations(); {
	case c.Iterations < least || c.Iterations > MaxIterations:
		return nil, refuse(InvalidArgument, "iterations", strconv.Itoa(c.Iterations), strconv.Itoa(least)+" to "+strconv.Itoa(MaxIterations))
	case c.WrongGuesses < 0:
		return nil, refuse(InvalidArgument, "wrong guesses", strconv.Itoa(c.WrongGuesses), "a positive number, or 0 for the default")
	}
	s := &SystemStore{config: c, hashing: newHashing(0, 0), turn: make(chan struct{}, 1), guesses: map[string]*guesses{}}
	s.current.Store(&systemState{work: work{ours: c.Iterations}})
	return s, nil
}

func (c *SystemConfig) leastIterations() int {
	if c.AllowWeak {
		return 1
	}
	return DefaultIterations
}

// Update changes the store: f makes the changes, which come into force together when Update returns or, if f or one of
// its commands failed, not at all. It takes PermissionModifySecurity, without which f is not called. Nothing happens, and there is
// no new revision, if f changed nothing. Changes wait for one another, as long as their contexts last; logins wait for
// none of them. f must not start another change of the store.
//
// With a file, the change is durable before it is in force. After an error of the file it may be in the file; the store
// looks there before the next change.
func (s *SystemStore) Update(ctx context.Context, actor Actor, f func(*Tx) error) error {
	return s.change(ctx, actor, "", f)
}

// UpdateScript changes the store by a script (diffusion.md 7.3): all of it or, where a ScriptError says what was wrong in
// which line and column, nothing. Who may not change the store learns nothing about the script.
func (s *SystemStore) UpdateScript(ctx context.Context, actor Actor, script string) error {
	return s.change(ctx, actor, script, func(tx *Tx) error { return tx.Run(script) })
}

// Bootstrap adds the first administrator, and reports whether it did: a store that has principals is left as it is. The
// policy must give one of the roles, or every session with a principal, the permission to administrate.
func (s *SystemStore) Bootstrap(ctx context.Context, principal, password string, roles ...string) (added bool, err error) {
	err = s.Update(ctx, Root(), func(tx *Tx) error {
		if added = len(tx.principals) == 0; !added {
			return nil
		}
		return tx.AddPrincipal(principal, password, roles...)
	})
	return added && err == nil, err
}

// Version returns the store's revision, which grows with every change, also across restarts where there is a file.
func (s *SystemStore) Version() uint64 { return s.current.Load().revision }

func (s *SystemStore) change(ctx context.Context, actor Actor, text string, f func(*Tx) error) error {
	tx := &Tx{store: s, ctx: ctx, actor: actor}
	const operation = "change the system authentication store"
	err := s.may(actor, PermissionModifySecurity, operation)
	if err == nil {
		err = s.take(ctx)
	}
	if err != nil {
		s.audit(tx, text, err)
		return err
	}
	defer func() { <-s.turn }()
	if err = s.may(actor, PermissionModifySecurity, operation); err == nil { // still, if the turn was late
		err = s.changeNow(tx, f)
	}
	s.audit(tx, text, err)
	return err
}

// audit tells how an attempt ended; the text is its script, if it was one.
func (s *SystemStore) audit(tx *Tx, text string, err error) {
	if s.config.Audit == nil {
		return
	}
	c := SystemChange{Time: time.Now(), Actor: tx.actor.String(), Script: tx.log.String(), Err: err}
	if text != "" {
		c.Script = redactScript(text)
	}
	if err == nil && tx.changed {
		c.Revision = tx.revision
	}
	s.config.Audit(tx.ctx, c)
}

// take waits for one's turn to change the store.
func (s *SystemStore) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *SystemStore) changeNow(tx *Tx, f func(*Tx) error) error {
	if s.unsure {
		if err := s.load(tx.ctx); err != nil {
			return err
		}
	}
	tx.begin(s.current.Load())
	defer func() { tx.ended = true }() // also if f panics
	if err := f(tx); err != nil {
		return err
	}
	if tx.err != nil || !tx.changed {
		return tx.err
	}
	tx.revision++
	tx.weigh(s.config.Iterations)
	if err := tx.ctx.Err(); err != nil {
		return err
	}
	next := tx.systemState
	if s.file != nil {
		if err := s.save(&next); err != nil {
			return err
		}
	}
	s.current.Store(&next)
	return nil
}

// guesses is how often verify password was wrong about a principal.
type guesses struct {
	wrong int
	until time.Time // when it begins anew
}

// mayGuess reports whether a password may be verified; the turn is the caller's.
func (s *SystemStore) mayGuess(principal string) bool {
	g := s.guesses[principal]
	return g == nil || g.wrong < s.config.WrongGuesses || !time.Now().Before(g.until)
}

func (s *SystemStore) guessedWrong(principal string) {
	now := time.Now()
	maps.DeleteFunc(s.guesses, func(_ string, g *guesses) bool { return !now.Before(g.until) })
	g := s.guesses[principal]
	if g == nil {
		g = &guesses{until: now.Add(time.Minute)}
		s.guesses[principal] = g
	}
	g.wrong++
}

// SystemConfiguration is what a store holds, without passwords and hashes.
type SystemConfiguration struct {
	Revision       uint64
	Principals     []SystemPrincipal // by name
	Anonymous      Answer            // to those without a principal
	AnonymousRoles []string          // sorted; they count beside those that the request says
	Trusted        []TrustedProperty // by name
}

// SystemPrincipal is somebody who can log in.
type SystemPrincipal struct {
	Name     string
	Roles    []string // sorted
	LockedBy string   // the principal who alone may change this one; empty is everybody who may change the store
}

// TrustedProperty says which values of a property may be what a client proposes.
type TrustedProperty struct {
	Name   string
	Values []string // these, sorted; nil where Regex says which
	Regex  string   // in RE2's syntax, of the whole value
}

// Configuration returns what the store holds. It takes PermissionViewSecurity.
func (s *SystemStore) Configuration(actor Actor) (SystemConfiguration, error) {
	if err := s.may(actor, PermissionViewSecurity, "look at the system authentication store"); err != nil {
		return SystemConfiguration{}, err
	}
	is := s.current.Load()
	c := SystemConfiguration{Revision: is.revision, Anonymous: is.anonymous, AnonymousRoles: slices.Clone(is.anonymousRoles)}
	for _, name := range slices.Sorted(maps.Keys(is.principals)) {
		p := is.principals[name]
		c.Principals = append(c.Principals, SystemPrincipal{name, slices.Clone(p.roles), p.lockedBy})
	}
	for _, name := range slices.Sorted(maps.Keys(is.trusted)) {
		v := is.trusted[name]
		t := TrustedProperty{Name: name, Values: slices.Clone(v.values)}
		if v.regex != nil {
			t.Regex = v.regex.String()
		}
		c.Trusted = append(c.Trusted, t)
	}
	return c, nil
}
