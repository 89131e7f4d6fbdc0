package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// Defaults of a Config.
const (
	DefaultMaxSessions     = 1_000_000
	DefaultMaxPerPrincipal = 1_000
	DefaultMaxAnonymous    = 10_000
	DefaultMaxAge          = 24 * time.Hour
)

// Chain lets people in, as an authn.Chain does. It may be called from many goroutines at once.
type Chain interface {
	Login(ctx context.Context, r *authn.Request) (*authn.Login, error)
}

// Config is what sessions are made with. Only Chain must be set.
type Config struct {
	Chain Chain

	// Permits finds out who may look at the sessions of others, and change and end them: the method Permits of a policy store,
	// for example. Without it, only Root may.
	Permits authn.Permits
	// DefaultRoles returns the roles that a principal has if no handler says otherwise; the empty name is anonymous. Without
	// it, they are those of the request. It may be called from many goroutines at once.
	DefaultRoles func(principal string) []string
	// Anonymous is the system ID under which sessions without a principal use channels. Nobody can log in by that name. If
	// it is empty, such sessions can be open, and become somebody, but every channel refuses them.
	Anonymous string
	// ServerName is the property $ServerName of all sessions.
	ServerName string

	MaxSessions     int           // at a time; 0 is DefaultMaxSessions
	MaxPerPrincipal int           // of one name; 0 is DefaultMaxPerPrincipal
	MaxAnonymous    int           // without a name; 0 is DefaultMaxAnonymous
	MaxAge          time.Duration // from the last login or refresh, unless the login says earlier; 0 is DefaultMaxAge
	MaxIdle         time.Duration // from the last Touch, also by a token's use; 0 is no such limit. What is open does not count

	// Backend keeps a record of sessions; nil keeps none.
	Backend Backend
	// Observe is told what happened, before the call that did it returns, but after it has come into force. It is called from
	// many goroutines at once, and holds up the caller: a slow one needs a queue of its own. It must not call Sessions.Close, which waits for
	// it. Nil is nobody.
	Observe func(Event)
	// Log is where failures of the backend and of Observe go; nil is slog.Default.
	Log *slog.Logger
}

// Sessions is all who are here now. It may be used from many goroutines at once.
type Sessions struct {
	config Config
	tokens sync.Map // [32]byte, the SHA-256 of a token, to *Session

	mu      sync.Mutex // of changes
	closed  bool
	byID    map[string]*Session
	byName  map[string]*roster
	all     roster
	opening map[string]int // logins by name on their way in, and sessions on their way to be somebody else; they count
	pending int            // all of the former that are no sessions yet
	number  uint64         // of the last event
	due     deadlines

	wake    chan struct{} // the deadlines: something is due earlier than before
	stop    chan struct{}
	ended   sync.WaitGroup
	records *recorder // nil without a backend
}

// New returns sessions: none. It closes what the backend holds open from an earlier run. It fails with an InvalidError, or if
// the backend does. Close ends its goroutines.
func New(ctx context.Context, c Config) (*Sessions, error) {
	if c.Chain == nil {
		return nil, &chansec.InvalidError{What: "chain", Value: "nil", Want: "an authentication chain"}
	}
	if c.Anonymous != "" {
		if err := chansec.CheckSystemID(c.Anonymous); err != nil {
			return nil, err
		}
	}
	if err := checkText("server name", c.ServerName, MaxPropertyValue); err != nil {
		return nil, err
	}
	for _, n := range []struct {
		what string
		of   *int
		or   int
	}{{"sessions", &c.MaxSessions, DefaultMaxSessions}, {"sessions of a principal", &c.MaxPerPrincipal, DefaultMaxPerPrincipal},
		{"anonymous sessions", &c.MaxAnonymous, DefaultMaxAnonymous}} {
		if *n.of < 0 {
			return nil, invalid("maximum of "+n.what, fmt.Sprint(*n.of), "a positive number, or 0 for the default")
		}
		if *n.of == 0 {
			*n.of = n.or
		}
	}
	if c.MaxAge < 0 || c.MaxIdle < 0 {
		return nil, invalid("maximum of age or idleness", min(c.MaxAge, c.MaxIdle).String(), "a positive duration, or 0 for the default")
	}
	if c.MaxAge == 0 {
		c.MaxAge = DefaultMaxAge
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &Sessions{config: c, byID: make(map[string]*Session), byName: make(map[string]*roster), opening: make(map[string]int),
		wake: make(chan struct{}, 1), stop: make(chan struct{})}
	if c.Backend != nil {
		n, err := c.Backend.Start(ctx, time.Now())
		if err != nil {
			return nil, fmt.Errorf("session: the backend: %w", err)
		}
		if n > 0 {
			c.Log.Warn("session: an earlier run left sessions open; their records are closed now", "sessions", n)
		}
		s.records = newRecorder(c.Backend, c.Log)
	}
	s.ended.Go(s.watchDeadlines)
	return s, nil
}

// Open lets somebody in: it asks the chain, and returns the session of whom it let in. The request's Properties may say what
// the transport knows of the client: $ClientType, $Connector and $Environment. Its Proposed go to the chain unchecked.
//
// It fails with what the chain says (authn.RefusedError), with a LimitError, with ErrClosed, with an InvalidError for a
// login that no session can have, and with chansec.ErrUndecided if the backend does not take the record.
func (s *Sessions) Open(ctx context.Context, r *authn.Request) (*Session, error) {
	n, err := s.open(ctx, r)
	if err != nil {
		s.observe(Event{Kind: Refused, Operation: openSession, Err: err})
		return nil, err
	}
	return n, nil
}

func (s *Sessions) open(ctx context.Context, r *authn.Request) (*Session, error) {
	if r == nil {
		return nil, &chansec.InvalidError{What: "request", Value: "nil", Want: "a request"}
	}
	fixed, err := transportProperties(r.Properties)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkText("transport", r.Connection.Transport, MaxPropertyName), checkText("remote address", r.Connection.RemoteAddr, MaxPropertyName)); err != nil {
		return nil, err
	}
	if err := s.room(); err != nil { // before somebody hashes a password
		return nil, err
	}
	asked := *r
	asked.Change, asked.Properties = false, s.arriving(r, fixed)
	login, err := s.login(ctx, asked)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	a, err := s.admit(login, fixed, now)
	if err != nil {
		return nil, err
	}
	if err := s.reserve(a.name, true); err != nil {
		return nil, err
	}
	n := &Session{of: s, id: rand.Text(), since: now, transport: r.Connection.Transport, remote: r.Connection.RemoteAddr,
		turn: make(chan struct{}, 1), done: make(chan struct{})}
	n.seen.Store(now.UnixNano())
	is := newState(a)
	n.state.Store(is)
	if s.records != nil {
		if err := s.records.opened(ctx, n.record(is)); err != nil {
			s.release(a.name, true)
			s.abandon(n) // nobody knows whether it was kept
			return nil, err
		}
	}
	s.mu.Lock()
	s.releaseLocked(a.name, true)
	if s.closed {
		s.mu.Unlock()
		s.abandon(n)
		return nil, ErrClosed
	}
	s.byID[n.id] = n
	s.all.add(n)
	s.nameLocked(a.name).add(n)
	s.scheduleLocked(n)
	e := s.eventLocked(Opened, n, is)
	s.mu.Unlock()
	s.observe(e)
	return n, nil
}

// abandon closes the record of a session that never was.
func (s *Sessions) abandon(n *Session) {
	if s.records != nil {
		s.records.ended(EndedError{Session: n.id, At: time.Now(), Cause: Abandoned})
	}
}

// login asks the chain. A panic is a failure.
func (s *Sessions) login(ctx context.Context, r authn.Request) (l *authn.Login, err error) {
	defer func() {
		if p := recover(); p != nil {
			l, err = nil, undecided("the chain", fmt.Errorf("it panicked with a %T", p))
		}
	}()
	if s.config.DefaultRoles != nil {
		r.Roles = s.config.DefaultRoles(r.Principal)
	}
	r.Roles = slices.Clone(r.Roles)
	r.Properties[PropertyRoles] = FormatRoles(r.Roles)
	return s.config.Chain.Login(ctx, &r)
}

// room says whether there is room for one more session, of whomever.
func (s *Sessions) room() error {
	if s.records != nil {
		if err := s.records.room(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roomLocked()
}

func (s *Sessions) roomLocked() error {
	if s.closed {
		return ErrClosed
	}
	if len(s.byID)+s.pending >= s.config.MaxSessions {
		return &LimitError{"sessions", s.config.MaxSessions}
	}
	return nil
}

// reserve keeps room for a session of a name: for a new one, or for one that is to change its name.
func (s *Sessions) reserve(name string, fresh bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fresh {
		if err := s.roomLocked(); err != nil {
			return err
		}
	}
	l := &LimitError{"sessions of a principal", s.config.MaxPerPrincipal}
	if name == "" {
		l = &LimitError{"anonymous sessions", s.config.MaxAnonymous}
	}
	there := s.opening[name]
	if r := s.byName[name]; r != nil {
		there += r.len()
	}
	if there >= l.Max {
		return l
	}
	s.opening[name]++
	if fresh {
		s.pending++
	}
	return nil
}

func (s *Sessions) release(name string, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(name, fresh)
}

func (s *Sessions) releaseLocked(name string, fresh bool) {
	if s.opening[name]--; s.opening[name] == 0 {
		delete(s.opening, name)
	}
	if fresh {
		s.pending--
	}
}

// nameLocked returns the sessions of a name.
func (s *Sessions) nameLocked(name string) *roster {
	r := s.byName[name]
	if r == nil {
		r = &roster{index: inName}
		s.byName[name] = r
	}
	return r
}

func (s *Sessions) unnameLocked(name string, n *Session) {
	r := s.byName[name]
	if r.remove(n); r.len() == 0 {
		delete(s.byName, name)
	}
}

// endLocked ends a session, unless it is over, and adds what is left to be told to a list.
func (s *Sessions) endLocked(n *Session, e *EndedError, list []Event) []Event {
	before := n.state.Load()
	if before.ended != nil {
		return list
	}
	e.Session = n.id
	after := &state{name: before.name, principal: before.principal, fixed: before.fixed, user: before.user, expires: before.expires, ended: e}
	n.publishLocked(before, after)
	close(n.done)
	delete(s.byID, n.id)
	s.all.remove(n)
	s.unnameLocked(before.name, n)
	s.due.remove(n)
	if n.token != nil {
		s.tokens.Delete(*n.token)
		n.token = nil
	}
	if s.records != nil { // now, so that none comes after Close has seen to it that all are kept
		s.records.ended(*e)
	}
	event := s.eventLocked(Ended, n, after)
	event.By, event.Err = e.By, e
	return append(list, event)
}

// announce tells the observer that sessions are over.
func (s *Sessions) announce(list []Event) {
	for _, e := range list {
		s.observe(e)
	}
}

// end ends one session; it reports whether it was this call.
func (s *Sessions) end(n *Session, e EndedError) bool {
	s.mu.Lock()
	list := s.endLocked(n, &e, nil)
	s.mu.Unlock()
	s.announce(list)
	return len(list) > 0
}

// tokenPrefix marks a session's token, so that those who look for leaked secrets know one.
const tokenPrefix = "chss_"

const maxToken = 256 // bytes, of what is looked at

// Resume returns the session that a token belongs to, for a transport whose clients come and go. It counts as a Touch. It is
// chansec.ErrUnauthenticated if there is none.
func (s *Sessions) Resume(token string) (*Session, error) {
	if len(token) > maxToken || !strings.HasPrefix(token, tokenPrefix) {
		return nil, chansec.ErrUnauthenticated
	}
	n, ok := s.tokens.Load(sha256.Sum256([]byte(token)))
	if !ok {
		return nil, chansec.ErrUnauthenticated
	}
	session := n.(*Session)
	session.Touch()
	return session, nil
}

// Authenticate returns the principal of the session that a token belongs to, tied to the session: whatever a transport opens
// for it ends with the session, and changes with it. It makes Sessions a chansec.Authenticator.
func (s *Sessions) Authenticate(ctx context.Context, token string) (chansec.Principal, error) {
	n, err := s.Resume(token)
	if err != nil {
		return chansec.Principal{}, err
	}
	p, err := chansec.Live(n)
	if err != nil {
		return chansec.Principal{}, chansec.ErrUnauthenticated // it ended just now
	}
	return p, nil
}

// GenerateToken fails with chansec.ErrNoSigner: a session's token is made by NewToken, for somebody who was let in. It is
// there so that chansec.Join makes a security of sessions and an authorizer.
func (s *Sessions) GenerateToken(context.Context, chansec.TokenRequest) (string, error) {
	return "", chansec.ErrNoSigner
}

var (
	_ chansec.Authenticator = (*Sessions)(nil)
	_ chansec.TokenIssuer   = (*Sessions)(nil)
)

// Len returns how many sessions there are.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// Close ends all sessions, with the cause Shutdown, and waits until the backend has taken the records or the context ends. It
// fails if records are left, which the backend's next Start will close. Closing again does nothing.
func (s *Sessions) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var list []Event
	now := time.Now()
	for _, n := range s.all.snapshot() {
		list = s.endLocked(n, &EndedError{Cause: Shutdown, At: now}, list)
	}
	s.mu.Unlock()
	s.announce(list)
	close(s.stop)
	s.ended.Wait()
	if s.records == nil {
		return nil
	}
	return s.records.close(ctx)
}

// Format writes how many sessions there are, whatever the verb, since what is inside is not for dumps.
func (s *Sessions) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprint(s.Len(), " sessions"))
}

// observe tells the observer. A panic is logged and harms nobody.
func (s *Sessions) observe(e Event) {
	if s.config.Observe == nil {
		return
	}
	if e.Number == 0 {
		e.Time = time.Now()
		s.mu.Lock()
		s.number++
		e.Number = s.number
		s.mu.Unlock()
	}
	defer func() {
		if p := recover(); p != nil {
			s.config.Log.Error("session: the observer panicked", "event", string(e.Kind), "type", fmt.Sprintf("%T", p))
		}
	}()
	s.config.Observe(e)
}
