package wampauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/router/auth"
	"github.com/gammazero/nexus/v3/stdlog"
	"github.com/gammazero/nexus/v3/wamp"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/internal/atomicmap"
	"github.com/chansec/chansec/session"
)

// Config is what a Guard is made of. It takes a Policy, and Keys or Tickets or both.
type Config struct {
	Policy  Policy
	Keys    Keys                  // for the method wampcra; nil: nobody logs in by it
	Tickets chansec.Authenticator // for the method ticket; nil: nobody logs in by it

	// Base is what the names of the administration's procedures begin with; empty is DefaultBase. Nobody else may register there.
	Base string

	// Sessions keeps a record of every session, of which the ID is the router's number, in decimal, and the transport wamp; nil
	// keeps none. A session that it does not take is not opened. What an earlier run left open is closed by Start.
	Sessions session.Backend

	// Activity is told of every action that was attempted, and of every session's start and end. It must not wait, since the
	// router waits for it. What it has no room for, and must not be left out, it refuses with audit.ErrFull: the guard keeps that
	// and gives it again, and ends the session that was denied more than can be recorded. Nil is nobody.
	Activity audit.Sink
	// RequireActivity refuses what Activity does not take.
	RequireActivity bool

	Attempts Attempts
	// Provider is the authprovider of sessions; empty is DefaultProvider.
	Provider string
	// Timeout is how long a client has to answer a challenge; 0 is DefaultTimeout. Clients that derive their key in
	// plain JavaScript take many seconds.
	Timeout time.Duration

	MaxSessions int // at a time; 0 is DefaultMaxSessions
	MaxPerLogin int // of one login; 0 is DefaultMaxPerLogin
	MaxLogins   int // under way at a time; 0 is DefaultMaxLogins
	// MaxLoginsPerAddress is how many of these may come from one address, counted as Attempts are, so that few addresses that leave
	// challenges unanswered hold nobody up; 0 is DefaultMaxLoginsPerAddress.
	MaxLoginsPerAddress int

	// Log is where failures go; nil is slog.Default.
	Log *slog.Logger
}

// Defaults of a Config.
const (
	DefaultBase        = "sys"
	DefaultProvider    = "chansec"
	DefaultTimeout     = time.Minute
	DefaultMaxSessions = 100_000
	DefaultMaxPerLogin = 1_000
	DefaultMaxLogins   = 1_000

	DefaultMaxLoginsPerAddress = 50
)

const century = 100 * 365 * 24 * time.Hour

// Guard guards one realm of a router: New, Protect, Start, and Close in the end, before the router is closed. It may be used
// from many goroutines at once.
type Guard struct {
	config    Config
	base      string
	logins    *tally
	addresses *tally
	realm     wamp.URI
	methods   int32        // of logging in ...
	asked     atomic.Int32 // ... and how often the router asked for their names: each once for each realm

	members atomicmap.Map[wamp.ID, member] // written under mu

	mu       sync.Mutex
	underWay int            // logins
	from     map[string]int // and these by their address, where that is known
	count    int
	byLogin  map[string]map[*member]bool
	ending   map[*member]bool // to be closed by the router
	tickets  map[*member]bool
	left     []session.EndedError // to be told to Sessions
	callees  map[*member]bool     // who may hold registrations
	lost     map[lost]bool
	crowded  map[*member]bool // who may hold so many that it is time to ask which
	overdue  []audit.Record   // that Activity had no room for, or was not asked under the lock

	reporting sync.Mutex // of who gives these to Activity

	losing      atomic.Int64  // len(lost)
	reviewedAt  atomic.Uint64 // the version of the policy for which lost is true ...
	reviewUntil atomic.Int64  // ... and the time until which; 0: no such time

	delivered atomic.Pointer[delivery] // the last one that had no lists

	protecting atomic.Bool
	open       atomic.Bool // between Start and Close
	closing    atomic.Bool
	local      *client.Client
	nudged     chan struct{}
	ctx        context.Context
	cancel     context.CancelFunc
	ended      sync.WaitGroup
	serving    chan struct{} // a place for each invocation of the administration

	clock      clock
	complained atomic.Int64
}

// New returns a guard. It fails with a chansec.InvalidError.
func New(c Config) (*Guard, error) {
	for _, bound := range []struct {
		what  string
		value *int
		usual int
	}{
		{"MaxSessions", &c.MaxSessions, DefaultMaxSessions}, {"MaxPerLogin", &c.MaxPerLogin, DefaultMaxPerLogin}, {"MaxLogins", &c.MaxLogins, DefaultMaxLogins},
		{"MaxLoginsPerAddress", &c.MaxLoginsPerAddress, DefaultMaxLoginsPerAddress},
		{"Attempts.PerLogin", &c.Attempts.PerLogin, DefaultAttemptsPerLogin}, {"Attempts.PerAddress", &c.Attempts.PerAddress, DefaultAttemptsPerAddress},
	} {
		if *bound.value < 0 {
			return nil, invalid(bound.what, strconv.Itoa(*bound.value), "a positive number, or 0 for "+strconv.Itoa(bound.usual))
		}
		if *bound.value == 0 {
			*bound.value = bound.usual
		}
	}
	for _, span := range []struct {
		what  string
		value *time.Duration
		usual time.Duration
	}{{"Timeout", &c.Timeout, DefaultTimeout}, {"Attempts.Every", &c.Attempts.Every, DefaultAttemptsEvery}} {
		if *span.value < 0 {
			return nil, invalid(span.what, span.value.String(), "a positive time, or 0 for "+span.usual.String())
		}
		if *span.value == 0 {
			*span.value = span.usual
		}
	}
	if most := max(c.Attempts.PerLogin, c.Attempts.PerAddress); c.Attempts.Every > century/time.Duration(most) {
		return nil, invalid("Attempts", strconv.Itoa(most)+" every "+c.Attempts.Every.String(), "what is forgiven within a century")
	}
	if c.Base == "" {
		c.Base = DefaultBase
	}
	if c.Provider == "" {
		c.Provider = DefaultProvider
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	switch {
	case c.Policy == nil:
		return nil, invalid("Policy", "nil", "what decides, such as the Authorizer of a policy.Store")
	case c.Keys == nil && c.Tickets == nil:
		return nil, invalid("Keys and Tickets", "nil", "one of them at least: nobody could log in")
	case !isBase(c.Base) || within(c.Base, routerTree):
		return nil, invalid("Base", quote(c.Base), "components of letters, digits and _, and not those of the router")
	case c.RequireActivity && c.Activity == nil:
		return nil, invalid("RequireActivity", "true", "an Activity that takes the records")
	}
	g := &Guard{
		config: c, base: c.Base, nudged: make(chan struct{}, 1), from: make(map[string]int), serving: make(chan struct{}, maxServing),
		logins: newTally(c.Attempts.PerLogin, c.Attempts.Every), addresses: newTally(c.Attempts.PerAddress, c.Attempts.Every),
		byLogin: make(map[string]map[*member]bool), ending: make(map[*member]bool), tickets: make(map[*member]bool),
		callees: make(map[*member]bool), lost: make(map[lost]bool), crowded: make(map[*member]bool),
	}
	g.members.Init(func(m *member) bool { return m.gone.Load() }, func(wamp.ID) {})
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g, nil
}

// isBase reports whether a text is a name that any router takes.
func isBase(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		for i := range len(part) {
			if c := part[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
				return false
			}
		}
		if part == "" {
			return false
		}
	}
	return len(s) <= MaxName/2
}

// Protect puts the guard into the configuration of a realm, before the router is made of it. It sets how clients log in, what
// decides on messages and deliveries, EnableMetaKill, which the guard closes sessions with, MetaStrict, and RequireLocalAuthz, for
// CopyEvents. It fails with a chansec.InvalidError, and changes nothing, if the configuration lets anybody in or anything through
// by another way, or the guard protects a realm already.
func (g *Guard) Protect(realm *router.RealmConfig) error {
	const want = "that it is left to the guard"
	switch {
	case realm == nil || realm.URI == "":
		return invalid("realm", "", "one with a URI")
	case realm.AnonymousAuth:
		return invalid("AnonymousAuth", "true", "false: nobody is let in without a proof")
	case len(realm.Authenticators) > 0:
		return invalid("Authenticators", "", want)
	case realm.Authorizer != nil:
		return invalid("Authorizer", "", want)
	case realm.PublishFilterFactory != nil:
		return invalid("PublishFilterFactory", "", want)
	case realm.EnableMetaModify:
		return invalid("EnableMetaModify", "true", "false: details of sessions say who they are")
	case len(realm.TopicEventHistoryConfigs) > 0:
		return invalid("TopicEventHistoryConfigs", "", "none: what is kept there is for everybody, whoever may subscribe")
	case realm.RequireLocalAuth || realm.RequireLocalAuthz:
		return invalid("RequireLocalAuth and RequireLocalAuthz", "true", "false: the guard itself is a local client")
	case !g.protecting.CompareAndSwap(false, true):
		return invalid("guard", "", "one for each realm")
	}
	if g.config.Keys != nil {
		realm.Authenticators = append(realm.Authenticators, cra{g})
	}
	if g.config.Tickets != nil {
		realm.Authenticators = append(realm.Authenticators, ticket{g})
	}
	realm.Authorizer, realm.PublishFilterFactory = authorizer{g}, g.deliver
	realm.EnableMetaKill, realm.MetaStrict, realm.RequireLocalAuthz = true, true, true
	g.realm, g.methods = realm.URI, int32(len(realm.Authenticators))
	return nil
}

var (
	_ auth.Authenticator = cra{}
	_ auth.Authenticator = ticket{}
)

// Start lets clients in, once the router is there: before it, and after Close, all are refused. It closes the records of sessions
// that an earlier run left open. It fails if Sessions or the router does, and with a chansec.InvalidError unless the router made
// one realm, and no other, of the configuration that Protect had: a RealmTemplate of it would make many.
func (g *Guard) Start(ctx context.Context, r router.Router) (err error) {
	if !g.protecting.Load() || g.local != nil || g.ctx.Err() != nil {
		return invalid("start", "", "one, after Protect and before Close")
	}
	if g.config.Sessions != nil {
		n, err := g.config.Sessions.Start(ctx, time.Now())
		if err != nil {
			return err
		}
		if n > 0 {
			g.config.Log.Warn("wampauth: an earlier run left sessions open, which are closed now", "sessions", n)
		}
	}
	mine, theirs := localPeers()
	go r.Attach(theirs) // the client is told
	g.local, err = client.NewClient(mine, client.Config{
		Realm: string(g.realm), HelloDetails: wamp.Dict{"authid": "wampauth"}, Logger: quiet{}, ResponseTimeout: routerTimeout,
	})
	if err == nil {
		if err = g.local.Subscribe(string(wamp.MetaEventSessionOnLeave), g.onLeave, nil); err != nil {
			_ = g.local.Close()
		} else if makesRealms(r); !g.guardsOneRealm() {
			_ = g.local.Close()
			err = invalid("router", "", "one realm of the configuration that the guard protects, and no RealmTemplate of it")
		}
	}
	if err != nil {
		g.local = nil
		return err
	}
	g.ended.Go(g.work)
	g.open.Store(true)
	return nil
}

// guardsOneRealm reports whether the router made one realm of the configuration.
func (g *Guard) guardsOneRealm() bool { return g.asked.Load() == g.methods }

// makesRealms has a router make a realm of its template, if it has one.
func makesRealms(r router.Router) {
	name := "wampauth." + strings.ToLower(rand.Text())
	mine, theirs := localPeers()
	go r.Attach(theirs) // the client is told
	c, err := client.NewClient(mine, client.Config{Realm: name, Logger: quiet{}, ResponseTimeout: routerTimeout})
	if err != nil {
		return
	}
	_ = c.Close()
	r.RemoveRealm(wamp.URI(name))
}

// Close ends all sessions, as the router shutting down, waits until it has closed them, or the context ends, and closes their
// records. It fails if records of sessions are left, which the next Start will close, or if Activity has no room until the context
// ends. Closing again does nothing.
func (g *Guard) Close(ctx context.Context) error {
	if g.closing.Swap(true) {
		return nil
	}
	if !g.open.CompareAndSwap(true, false) {
		g.cancel()
		return nil
	}
	g.mu.Lock()
	for _, m := range g.members.All() {
		g.endLocked(m, session.Shutdown, "", "")
	}
	g.mu.Unlock()
	g.nudge()
	g.compare(ctx, 0)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		g.mu.Lock()
		waiting = g.count > 0 && g.local.Connected()
		g.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			waiting = false
		}
	}
	g.mu.Lock()
	for _, m := range g.members.All() {
		g.leaveLocked(m)
	}
	g.mu.Unlock()
	g.cancel()
	g.ended.Wait()
	if g.local.Connected() {
		_ = g.local.Close()
	}
	for g.loggingIn() || !g.report(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			err := g.tell(ctx)
			if !g.report(ctx) {
				err = errors.Join(err, fmt.Errorf("%w: the log has no room for what sessions did", chansec.ErrAudit))
			}
			return errors.Join(err, ctx.Err())
		}
	}
	return g.tell(ctx)
}

// complain logs what failed, a few times a second at most.
func (g *Guard) complain(what string, err error) {
	now := time.Now().UnixNano()
	if last := g.complained.Load(); now-last > int64(200*time.Millisecond) && g.complained.CompareAndSwap(last, now) {
		g.config.Log.Error("wampauth: "+what, "error", err)
	}
}

// peer is one end of the connection between the guard and the router. That of nexus would block the guard for ever where the
// router was closed first.
type peer struct {
	in     <-chan wamp.Message
	out    chan<- wamp.Message
	closed sync.Once
}

func localPeers() (mine, theirs *peer) {
	up, down := make(chan wamp.Message, 4*maxServing), make(chan wamp.Message, 4096)
	return &peer{in: down, out: up}, &peer{in: up, out: down}
}

func (*peer) IsLocal() bool               { return true }
func (p *peer) Recv() <-chan wamp.Message { return p.in }
func (p *peer) Send() chan<- wamp.Message { return p.out }
func (p *peer) Close()                    { p.closed.Do(func() { close(p.out) }) }

// quiet is the log of the guard's own client, whose failures are returned anyway.
type quiet struct{}

var _ stdlog.StdLog = quiet{}

func (quiet) Print(...any)          {}
func (quiet) Println(...any)        {}
func (quiet) Printf(string, ...any) {}

// isRouterError reports whether a call failed with an error of that name.
func isRouterError(err error, is wamp.URI) bool {
	failed, ok := errors.AsType[client.RPCError](err)
	return ok && failed.Err != nil && failed.Err.Error == is
}
