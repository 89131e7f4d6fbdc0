package chansec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec/driver"
	"github.com/chansec/chansec/internal/memory"
)

// Defaults and bounds of a channel.
const (
	DefaultMaxMessages  = 10_000    // what a channel retains
	DefaultQueueSize    = 1_000_000 // what a work queue holds before it pushes back
	DefaultMaxReaders   = 100_000   // readers with a position, and workers with claims
	DefaultMaxLeases    = 1_000_000
	DefaultClaimTimeout = 5 * time.Minute
	MaxReadLimit        = 1000 // messages of one read or claim
)

// Visibility says whether a channel is meant to be published. It allows nothing by itself.
type Visibility string

// The visibilities.
const (
	Private Visibility = "private"
	Public  Visibility = "public"
)

// Info describes a channel. In JSON it is sssn's channel info.
type Info struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Visibility  Visibility `json:"visibility"`
	Period      float64    `json:"period"` // seconds between two cycles of a channel that has a loop
}

// defaultPeriod is sssn's; the channels here have no loop.
const defaultPeriod = 60

// Option configures a channel. An option that makes no sense is an error of the constructor.
type Option func(*options) error

type options struct {
	kind         kind
	security     ChannelSecurity
	require      bool
	log          *slog.Logger
	sinks        []sink
	info         Info
	maxMessages  int
	maxAge       time.Duration
	claimTimeout time.Duration
	maxReaders   int
	maxLeases    int
	backend      driver.Opener[[]byte] // nil: in memory
}

// kind is what a type of channel does and does not do.
type kind struct {
	name   string
	claims bool
	boxes  bool
	queue  bool // has no reads
	keys   bool // holds one message of each key
}

// refuses reports whether a full channel of the kind refuses rather than forgets.
func (k kind) refuses() bool { return k.queue || k.keys }

var (
	passthrough = kind{name: "passthrough channel", claims: true}
	broadcast   = kind{name: "broadcast channel"}
	workQueue   = kind{name: "work queue", claims: true, queue: true}
	mailbox     = kind{name: "mailbox", claims: true, boxes: true}
	keyed       = kind{name: "keyed channel", keys: true}
)

// WithSecurity sets the security. Without it, and without RequireSecurity, everybody who is wired in is let in.
func WithSecurity(s ChannelSecurity) Option {
	return func(o *options) error {
		if s == nil {
			return &InvalidError{What: "ChannelSecurity", Value: "nil", Want: "a security; OpenSecurity lets everybody in"}
		}
		o.security = s
		return nil
	}
}

// RequireSecurity refuses to start the channel, or to do anything on it, while no security was set.
func RequireSecurity() Option {
	return func(o *options) error { o.require = true; return nil }
}

// WithAudit adds a sink for decision events. Its failures are logged once and stop nothing.
func WithAudit(s AuditSink) Option { return withSink(s, false) }

// WithRequiredAudit adds a sink without which nothing is done: an operation whose event it does not take is refused.
func WithRequiredAudit(s AuditSink) Option { return withSink(s, true) }

func withSink(s AuditSink, required bool) Option {
	return func(o *options) error {
		if s == nil {
			return &InvalidError{What: "AuditSink", Value: "nil", Want: "a sink"}
		}
		o.sinks = append(o.sinks, sink{s, required})
		return nil
	}
}

// WithLogger sets where the channel logs; slog.Default otherwise.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) error {
		if l == nil {
			return &InvalidError{What: "logger", Value: "nil", Want: "a *slog.Logger"}
		}
		o.log = l
		return nil
	}
}

// WithDescription sets the name and description of the channel's Info.
func WithDescription(name, description string) Option {
	return func(o *options) error { o.info.Name, o.info.Description = name, description; return nil }
}

// WithVisibility sets the visibility of the channel's Info; Private otherwise.
func WithVisibility(v Visibility) Option {
	return func(o *options) error {
		if v != Private && v != Public {
			return invalid("visibility", string(v), `"public" or "private"`)
		}
		o.info.Visibility = v
		return nil
	}
}

// WithMaxMessages sets how many messages are kept: the oldest go first, except in work queues and keyed channels, which
// refuse more. From 1 to 1<<30; DefaultMaxMessages or DefaultQueueSize otherwise.
func WithMaxMessages(n int) Option {
	return func(o *options) error { o.maxMessages = n; return between("maximum of messages", n, 1, 1<<30) }
}

// WithMaxAge discards messages that are older. It is at least a millisecond, and refused for work queues and keyed channels,
// which lose nothing.
func WithMaxAge(d time.Duration) Option {
	return func(o *options) error {
		if o.kind.refuses() {
			return invalid("option WithMaxAge", o.kind.name, "a channel that may forget")
		}
		o.maxAge = d
		return atLeast("maximum age", d, time.Millisecond)
	}
}

// WithClaimTimeout sets how long a worker may keep a claim without extending it; DefaultClaimTimeout otherwise. It is at
// least a millisecond, and refused for a broadcast, which has no claims.
func WithClaimTimeout(d time.Duration) Option {
	return func(o *options) error {
		if !o.kind.claims {
			return invalid("option WithClaimTimeout", o.kind.name, "a channel with claims")
		}
		o.claimTimeout = d
		return atLeast("claim timeout", d, time.Millisecond)
	}
}

// WithMaxReaders bounds how many readers the channel remembers a position for, and how many workers with claims;
// DefaultMaxReaders otherwise.
func WithMaxReaders(n int) Option {
	return func(o *options) error { o.maxReaders = n; return between("maximum of readers", n, 1, 1<<30) }
}

// WithMaxLeases bounds how many leases and workers there are at a time; DefaultMaxLeases otherwise.
func WithMaxLeases(n int) Option {
	return func(o *options) error { o.maxLeases = n; return between("maximum of leases", n, 1, 1<<30) }
}

func between(what string, n, lo, hi int) error {
	if n < lo || n > hi {
		return &InvalidError{What: what, Value: fmt.Sprint(n), Want: fmt.Sprintf("%d to %d", lo, hi)}
	}
	return nil
}

func atLeast(what string, d, least time.Duration) error {
	if d < least {
		return &InvalidError{What: what, Value: d.String(), Want: "at least " + least.String()}
	}
	return nil
}

// core is a channel: the guard, the backend, and the states in between. The kinds differ in what their ports can do.
type core[T any] struct {
	guard
	kind         kind
	info         Info
	claimTimeout time.Duration
	maxReaders   int
	backend      driver.Backend[body[T]]
	end          context.CancelFunc // of guard.life

	state   atomic.Int32
	writers atomic.Int64  // writes that passed the state check
	drains  atomic.Int64  // those who wait until there are none
	idle    chan struct{} // closed, and made anew, when there are none; under mu
	change  sync.Mutex    // of the state

	mu       sync.Mutex
	readers  map[string]*position[T]
	workers  map[workerKey]*worker
	crowd    int              // of workers, from which on those without claims make room
	extended map[string]int64 // until when, at most, a system's extended claims last, in Unix nanoseconds
	session  uint64

	frames atomic.Pointer[frames] // nil until a transport needs them

	pool sync.Pool // *[1]driver.Claimed[body[T]], for claims of one
}

// The states. A channel goes up and down between fresh or drained and running, and at last to closed.
const (
	fresh int32 = iota
	running
	drained
	closed
)

func newCore[T any](k kind, id string, opts []Option) (*core[T], error) {
	if err := CheckChannelID(id); err != nil {
		return nil, err
	}
	o := options{kind: k, log: slog.Default(), maxMessages: DefaultMaxMessages, claimTimeout: DefaultClaimTimeout,
		maxReaders: DefaultMaxReaders, maxLeases: DefaultMaxLeases,
		info: Info{ID: id, Name: id, Visibility: Private, Period: defaultPeriod}}
	if k.refuses() {
		o.maxMessages = DefaultQueueSize
	}
	for _, opt := range opts {
		if opt == nil {
			return nil, &InvalidError{What: "option", Value: "nil", Want: "an Option"}
		}
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	cfg := driver.Config{MaxMessages: o.maxMessages, MaxAge: o.maxAge, Reject: k.refuses(), Keyed: k.keys, Claims: k.claims, Boxes: k.boxes}
	if k.boxes {
		cfg.MaxBoxes = o.maxReaders
	}
	backend, err := openBackend[T](id, cfg, o.backend)
	if err != nil {
		return nil, err
	}
	c := &core[T]{kind: k, info: o.info, claimTimeout: o.claimTimeout, maxReaders: o.maxReaders, backend: backend,
		idle: make(chan struct{}), readers: make(map[string]*position[T]), workers: make(map[workerKey]*worker), crowd: fewWorkers, extended: make(map[string]int64)}
	c.channelID, c.log, c.require, c.set = id, o.log, o.require, o.security
	c.sinks, c.sinkFailed = o.sinks, make([]sync.Once, len(o.sinks))
	c.pool.New = func() any { return new([1]driver.Claimed[body[T]]) }
	c.life, c.end = context.WithCancel(context.Background())
	c.watched.init(o.maxLeases)
	return c, nil
}

func openBackend[T any](id string, cfg driver.Config, open driver.Opener[[]byte]) (driver.Backend[body[T]], error) {
	if open == nil {
		return memory.Open[body[T]](context.Background(), id, cfg)
	}
	b, err := open(context.Background(), id, cfg)
	if err != nil {
		return nil, driverError(err)
	}
	return encoded[T]{b}, nil
}

// ID returns the channel's ID.
func (c *core[T]) ID() string { return c.channelID }

// SetSecurity sets the security. It is ErrSecurityFixed after Start or the first operation, whichever is earlier.
func (c *core[T]) SetSecurity(s ChannelSecurity) error { return c.setSecurity(s) }

// Authenticate returns a caller, for use with For, for whoever a token proves to the channel's security. A
// failure makes an audit event.
func (c *core[T]) Authenticate(ctx context.Context, token string) (Caller, error) {
	p, err := c.authenticate(ctx, token)
	if err != nil {
		return nil, err
	}
	return StaticCaller(p), nil
}

// Start lets the channel take writes; reads and subscriptions need no start. It fixes the security and fails with
// ErrSecurityRequired or ErrClosed. Starting a running channel does nothing; after Drain it starts again.
func (c *core[T]) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.change.Lock()
	defer c.change.Unlock()
	if c.state.Load() == closed {
		return ErrClosed
	}
	if _, err := c.authority(); err != nil {
		return err
	}
	c.state.Store(running)
	return nil
}

// Drain stops taking writes and waits until those under way are stored, or until the context ends. Everything
// else goes on. Draining a channel that does not take writes only waits.
func (c *core[T]) Drain(ctx context.Context) error {
	c.change.Lock()
	if c.state.Load() == closed {
		c.change.Unlock()
		return ErrClosed
	}
	c.state.CompareAndSwap(running, drained)
	c.change.Unlock()
	c.drains.Add(1)
	defer c.drains.Add(-1)
	c.mu.Lock()
	idle := c.idle
	c.mu.Unlock()
	if c.writers.Load() == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the channel for good: its leases and claims end with ErrClosed, every later operation returns ErrClosed, and
// what was stored in memory is gone. It waits for the channel's goroutines, but not for the callbacks of
// SubscribeFunc, from which it may be called. Closing twice does nothing.
func (c *core[T]) Close() error {
	c.change.Lock()
	defer c.change.Unlock()
	if c.state.Swap(closed) == closed {
		return nil
	}
	c.end()
	c.watched.close()
	return c.backend.Close()
}

// enter begins a write, if the channel takes any. The caller calls leave.
func (c *core[T]) enter() error {
	c.writers.Add(1)
	switch c.state.Load() {
	case running:
		return nil
	case closed:
		c.leave()
		return ErrClosed
	}
	c.leave()
	return ErrNotAccepting
}

func (c *core[T]) leave() {
	if c.writers.Add(-1) == 0 && c.drains.Load() > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(c.idle)
		c.idle = make(chan struct{})
	}
}

// driverError translates what a driver returned.
func driverError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, driver.ErrClosed):
		return ErrClosed
	case errors.Is(err, driver.ErrFull):
		return ErrFull
	case errors.Is(err, driver.ErrTooManyBoxes):
		return fmt.Errorf("%w: the recipients of a mailbox (see WithMaxReaders)", ErrLimit)
	case errors.Is(err, driver.ErrNotFound):
		return ErrUnknownMessage
	}
	return fmt.Errorf("chansec: the channel's backend failed: %w", err)
}

// PassthroughChannel is a plain channel: every reader has a position of its own, and workers may claim messages, which
// hides them from reads while they are held and discards them when they are acknowledged. Leases see every message.
type PassthroughChannel[T any] struct{ *core[T] }

// BroadcastChannel is a channel on which every reader and every lease sees every message. There are no claims.
type BroadcastChannel[T any] struct{ *core[T] }

// WorkQueueChannel is a channel on which each message is done by one worker, who claims and acknowledges it. It holds what
// was not acknowledged, refuses what it cannot hold, and loses nothing.
type WorkQueueChannel[T any] struct{ *core[T] }

// MailboxChannel is a channel on which a message may have a recipient, who alone sees it; without one it is for everyone.
// That goes for reads, leases and claims.
type MailboxChannel[T any] struct{ *core[T] }

// NewPassthrough returns a channel that is not started yet. It fails with an InvalidError.
func NewPassthrough[T any](id string, opts ...Option) (*PassthroughChannel[T], error) {
	c, err := newCore[T](passthrough, id, opts)
	if err != nil {
		return nil, err
	}
	return &PassthroughChannel[T]{c}, nil
}

// NewBroadcast returns a channel that is not started yet. It fails with an InvalidError.
func NewBroadcast[T any](id string, opts ...Option) (*BroadcastChannel[T], error) {
	c, err := newCore[T](broadcast, id, opts)
	if err != nil {
		return nil, err
	}
	return &BroadcastChannel[T]{c}, nil
}

// NewWorkQueue returns a channel that is not started yet. It fails with an InvalidError.
func NewWorkQueue[T any](id string, opts ...Option) (*WorkQueueChannel[T], error) {
	c, err := newCore[T](workQueue, id, opts)
	if err != nil {
		return nil, err
	}
	return &WorkQueueChannel[T]{c}, nil
}

// NewMailbox returns a channel that is not started yet. It fails with an InvalidError.
func NewMailbox[T any](id string, opts ...Option) (*MailboxChannel[T], error) {
	c, err := newCore[T](mailbox, id, opts)
	if err != nil {
		return nil, err
	}
	return &MailboxChannel[T]{c}, nil
}

// As returns the port of a system that the program itself wires in. Whoever holds it acts under that name. An impossible
// name makes a port whose every operation is denied.
func (c *PassthroughChannel[T]) As(systemID string) PassthroughPort[T] {
	p := &port[T]{c: c.core, who: wired(systemID)}
	return &passthroughPort[T]{canWrite[T]{p}, canRead[T]{p}, canSubscribe[T]{p}, canWork[T]{p}, canHost[T]{p}}
}

// For returns the port of a verified caller, as they are at each operation: a transport's way in.
func (c *PassthroughChannel[T]) For(caller Caller) PassthroughPort[T] {
	p := &port[T]{c: c.core, who: verified(caller)}
	return &passthroughPort[T]{canWrite[T]{p}, canRead[T]{p}, canSubscribe[T]{p}, canWork[T]{p}, canHost[T]{p}}
}

// As returns the port of a system that the program itself wires in. Whoever holds it acts under that name. An impossible
// name makes a port whose every operation is denied.
func (c *BroadcastChannel[T]) As(systemID string) BroadcastPort[T] {
	p := &port[T]{c: c.core, who: wired(systemID)}
	return &broadcastPort[T]{canWrite[T]{p}, canRead[T]{p}, canSubscribe[T]{p}, canHost[T]{p}}
}

// For returns the port of a verified caller, as they are at each operation: a transport's way in.
func (c *BroadcastChannel[T]) For(caller Caller) BroadcastPort[T] {
	p := &port[T]{c: c.core, who: verified(caller)}
	return &broadcastPort[T]{canWrite[T]{p}, canRead[T]{p}, canSubscribe[T]{p}, canHost[T]{p}}
}

// As returns the port of a system that the program itself wires in. Whoever holds it acts under that name. An impossible
// name makes a port whose every operation is denied.
func (c *WorkQueueChannel[T]) As(systemID string) WorkQueuePort[T] {
	p := &port[T]{c: c.core, who: wired(systemID)}
	return &workQueuePort[T]{canWrite[T]{p}, canWork[T]{p}, canHost[T]{p}}
}

// For returns the port of a verified caller, as they are at each operation: a transport's way in.
func (c *WorkQueueChannel[T]) For(caller Caller) WorkQueuePort[T] {
	p := &port[T]{c: c.core, who: verified(caller)}
	return &workQueuePort[T]{canWrite[T]{p}, canWork[T]{p}, canHost[T]{p}}
}

// As returns the port of a system that the program itself wires in. Whoever holds it acts under that name. An impossible
// name makes a port whose every operation is denied.
func (c *MailboxChannel[T]) As(systemID string) MailboxPort[T] {
	p := &port[T]{c: c.core, who: wired(systemID)}
	return &mailboxPort[T]{canWrite[T]{p}, canRead[T]{p}, canSubscribe[T]{p}, canWork[T]{p}, canHost[T]{p}}
}

// For returns the port of a verified caller, as they are at each operation: a transport's way in.
func (c *MailboxChannel[T]) For(caller Caller) MailboxPort[T] {
	p := &port[T]{c: c.core, who: verified(caller)}
	return &mailboxPort[T]{canWrite[T]{p}, canRead[T]{p}, canSubscribe[T]{p}, canWork[T]{p}, canHost[T]{p}}
}
