package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// Session is somebody who is here. It is a chansec.Caller, and for those who act on their behalf: their transport. It may be
// used from many goroutines at once. Whoever asks it looks at an immutable snapshot, without a lock.
type Session struct {
	of                *Sessions
	id                string
	since             time.Time
	transport, remote string

	state atomic.Pointer[state]
	seen  atomic.Int64  // Unix nanoseconds
	turn  chan struct{} // held by the one who changes the principal
	done  chan struct{}

	// Under the mutex of the sessions.
	token *[sha256.Size]byte // the hash of it; nil for none
	at    [rosters]int
	place int   // among the deadlines
	due   int64 // Unix nanoseconds
}

var _ chansec.Expiring = (*Session)(nil)

// state is who a session is. It is immutable.
type state struct {
	principal   chansec.Principal
	name        string // of the principal; empty is anonymous, whatever the system ID
	fixed, user map[string]string
	expires     time.Time
	clientData  any
	ended       *EndedError   // nil while it lives
	changed     chan struct{} // closed when there is another; nil if that never happens
}

// publishLocked replaces a state and says so. The channel is closed before the mutex is given back: whoever changes the
// session next must not return while somebody still believes in a state before the last.
func (s *Session) publishLocked(before, after *state) {
	s.state.Store(after)
	close(before.changed)
}

func newState(a *admitted) *state {
	return &state{principal: a.principal, name: a.name, fixed: a.fixed, user: a.user, expires: a.expires, clientData: a.clientData, changed: make(chan struct{})}
}

// ID returns the session's ID, which cannot be guessed, and is no credential.
func (s *Session) ID() string { return s.id }

// Principal returns who the session is now, or an EndedError.
func (s *Session) Principal() (chansec.Principal, error) {
	is := s.state.Load()
	if is.ended == nil && s.isDue(is, time.Now()) {
		is = s.overdue()
	}
	if is.ended != nil {
		return chansec.Principal{}, is.ended
	}
	return is.principal, nil
}

// overdue ends a session that is past its time before anybody else noticed, so that it stays over if the clock is set back.
func (s *Session) overdue() *state {
	s.of.mu.Lock()
	is, list := s.presentLocked()
	s.of.mu.Unlock()
	s.of.announce(list)
	return is
}

// presentLocked returns the session's state, after it ended the session if its time is over.
func (s *Session) presentLocked() (*state, []Event) {
	var list []Event
	if now := time.Now(); s.isDue(s.state.Load(), now) {
		_, cause := s.deadline()
		list = s.of.endLocked(s, &EndedError{Cause: cause, At: now}, nil)
	}
	return s.state.Load(), list
}

// Changed returns a channel that is closed when the session becomes another or ends; nil when it is over.
func (s *Session) Changed() <-chan struct{} { return s.state.Load().changed }

// ExpiresAt returns when the session ends unless it is renewed.
func (s *Session) ExpiresAt() time.Time { return s.state.Load().expires }

// ClientData returns what the last login wants the client to know, to be encoded as JSON.
func (s *Session) ClientData() any { return s.state.Load().clientData }

// Info returns the session as it is now.
func (s *Session) Info() Info { return s.info(s.state.Load()) }

// Done is closed when the session is over. Err is nil until then, and an EndedError afterwards.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session is over.
func (s *Session) Err() error {
	if e := s.state.Load().ended; e != nil {
		return e
	}
	return nil
}

// Touch says that the client gave a sign of life, which puts off the end by Config.MaxIdle. One that comes after the end is
// too late, also if nobody has noticed the end yet.
func (s *Session) Touch() {
	for now := time.Now(); ; {
		seen := s.seen.Load()
		switch at := now.UnixNano(); {
		case s.isIdle(seen, at):
			s.overdue()
			return
		case at <= seen || s.seen.CompareAndSwap(seen, at):
			return
		}
	}
}

// NewToken makes the session's token, a bearer credential for Sessions.Authenticate and Resume, and ends the one before. Only
// a hash of it is kept: it cannot be had again. It fails with an EndedError.
func (s *Session) NewToken() (string, error) {
	token := tokenPrefix + rand.Text() + rand.Text()
	hash := sha256.Sum256([]byte(token))
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if e := s.state.Load().ended; e != nil {
		return "", e
	}
	if s.token != nil {
		s.of.tokens.Delete(*s.token)
	}
	s.token = &hash
	s.of.tokens.Store(hash, s)
	return token, nil
}

// ChangePrincipal makes the session somebody else, or the same principal anew, if the chain lets them in (diffusion.md 10):
// principal, roles, properties and expiry are replaced in one step, and what is open is looked at again. Proposed properties
// make it what Diffusion calls re-authentication. If it fails, nothing changes and the session stays open; it fails as
// Sessions.Open does, or with an EndedError if the session ended meanwhile.
func (s *Session) ChangePrincipal(ctx context.Context, r *authn.Request) error {
	return s.change(ctx, r, changePrincipal, Changed, false)
}

// Refresh renews the session with a new credential of the same principal: what is still allowed loses no message, and the
// rest ends. It is ChangePrincipal, except that a credential of anybody else is refused with AnotherError.
func (s *Session) Refresh(ctx context.Context, r *authn.Request) error {
	return s.change(ctx, r, refreshSession, Refreshed, true)
}

func (s *Session) change(ctx context.Context, r *authn.Request, operation string, kind Kind, same bool) error {
	event, err := s.become(ctx, r, kind, same)
	if err != nil {
		event = Event{Kind: Refused, Operation: operation, Session: s.Info(), Err: err}
	}
	s.of.observe(event) // who may change the session again
	return err
}

func (s *Session) become(ctx context.Context, r *authn.Request, kind Kind, same bool) (Event, error) {
	if r == nil {
		return Event{}, &chansec.InvalidError{What: "request", Value: "nil", Want: "a request"}
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-s.done:
	case <-ctx.Done():
		return Event{}, ctx.Err()
	}
	if _, err := s.Principal(); err != nil {
		return Event{}, err
	}
	was := s.state.Load()
	asked := *r
	asked.Change, asked.Properties = true, s.properties(was)
	login, err := s.of.login(ctx, asked)
	if err != nil {
		return Event{}, err
	}
	now := time.Now()
	a, err := s.of.admit(login, was.fixed, now)
	if err != nil {
		return Event{}, err
	}
	if same && a.name != was.name {
		return Event{}, &AnotherError{Session: s.id}
	}
	if a.name != was.name {
		if err := s.of.reserve(a.name, false); err != nil {
			return Event{}, err
		}
		defer s.of.release(a.name, false)
	}
	is := newState(a)
	if s.of.records != nil {
		if err := s.of.records.changed(ctx, s.record(is)); err != nil {
			return Event{}, err
		}
	}
	s.Touch()
	s.of.mu.Lock()
	before, list := s.presentLocked()
	if before.ended != nil {
		s.of.mu.Unlock()
		s.of.announce(list)
		return Event{}, before.ended
	}
	event := s.of.replaceLocked(s, kind, before, is)
	s.of.mu.Unlock()
	return event, nil
}

// replaceLocked makes a session that is not over another.
func (s *Sessions) replaceLocked(n *Session, kind Kind, before, after *state) Event {
	n.publishLocked(before, after)
	if before.name != after.name {
		s.unnameLocked(before.name, n)
		s.nameLocked(after.name).add(n)
	}
	s.scheduleLocked(n)
	e := s.eventLocked(kind, n, after)
	e.Before = n.info(before)
	return e
}

// Close logs the session out. Closing again does nothing.
func (s *Session) Close() error {
	s.of.end(s, EndedError{Cause: LoggedOut, At: time.Now()})
	return nil
}

// Lose ends the session because its connection is gone.
func (s *Session) Lose() { s.of.end(s, EndedError{Cause: Lost, At: time.Now()}) }

// Format writes the ID, whatever the verb, since what else is inside is not for dumps.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "session "+s.id) }

// Info is a session at some moment.
type Info struct {
	ID         string
	Principal  string // empty is anonymous
	Transport  string // such as "http"
	RemoteAddr string
	Since      time.Time
	LastSeen   time.Time
	ExpiresAt  time.Time

	session *Session
	state   *state
}

func (s *Session) info(is *state) Info {
	return Info{ID: s.id, Principal: is.name, Transport: s.transport, RemoteAddr: s.remote, Since: s.since,
		LastSeen: time.Unix(0, s.seen.Load()), ExpiresAt: is.expires, session: s, state: is}
}

// Roles returns the session's roles.
func (i Info) Roles() []string {
	if i.state == nil {
		return nil
	}
	return slices.Clone(i.state.principal.Roles)
}

// HasRole reports whether the session has a role.
func (i Info) HasRole(role string) bool {
	return i.state != nil && slices.Contains(i.state.principal.Roles, role)
}

// Property returns one of the session's properties, fixed or the user's, and whether it has that.
func (i Info) Property(name string) (string, bool) {
	if i.state == nil {
		return "", false
	}
	return i.session.property(i.state, name)
}

// Properties returns all properties of the session.
func (i Info) Properties() map[string]string {
	if i.state == nil {
		return nil
	}
	return i.session.properties(i.state)
}
