package chansec_test

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/memory"
)

// modelVariant is one kind of security to compare under.
type modelVariant struct {
	name   string
	list   bool          // an ACLSecurity decides
	tokens bool          // a JWTSecurity authenticates
	local  bool          // and lets the list decide for those without a token
	strict bool          // and refuses them
	plain  bool          // behind a decorator that shows the required methods only
	rule   bool          // beside the list, a rule decides each message by itself
	unit   time.Duration // of time passing
}

// Without Versioned, what is idle is looked at every second: there, time passes in seconds.
var modelVariants = []modelVariant{
	{name: "ACL", list: true, unit: 10 * time.Millisecond},
	{name: "JWT", tokens: true, unit: 10 * time.Millisecond},
	{name: "JWT and ACL joined", tokens: true, list: true, unit: 10 * time.Millisecond},
	{name: "ACL behind a decorator", list: true, plain: true, unit: time.Second},
	{name: "JWT behind a decorator, local ports refused", tokens: true, strict: true, plain: true, unit: time.Second},
	{name: "JWT with a local ACL", tokens: true, list: true, local: true, unit: time.Second},
	{name: "ACL and a rule", list: true, rule: true, unit: time.Second},
}

// patient reports whether a change takes up to a second to reach what is idle.
func (v modelVariant) patient() bool { return v.unit == time.Second }

// modelWorld is the library and the reference side by side.
type modelWorld struct {
	variant modelVariant
	rng     *rand.Rand // the choices of the present operation
	ref     *refWorld

	acl      *chansec.ACLSecurity
	jwt      *chansec.JWTSecurity
	distant  *chansec.JWTSecurity // of another process, with the same revocations
	kept     *modelRevocations    // where both keep them
	channels []*modelChannel
	subjects []*modelSubject
	tokens   []*modelToken
	keys     []modelKey // in force
	retired  []modelKey
	audit    modelAudit
	names    map[uuid.UUID]*refMessage
	hazy     map[*refMessage]bool // may have been claimed more often
	serial   int

	did       *doing // what the present operation asked the guard for
	changed   bool   // whether it changed the security
	tracing   bool
	problem   string
	described string
}

// doing is an operation of a port, for the check of its audit event.
type doing struct {
	who     *modelSubject
	channel *modelChannel
	op      chansec.Operation
}

// modelReal is what the five kinds of channel have in common.
type modelReal interface {
	ID() string
	Authenticate(ctx context.Context, token string) (chansec.Caller, error)
	Start(ctx context.Context) error
	Drain(ctx context.Context) error
	SetSecurity(s chansec.ChannelSecurity) error
	Close() error
}

type modelChannel struct {
	modelReal
	ref    *refChannel
	as     func(string) any // a port with the methods of its kind, and no others
	by     func(chansec.Caller) any
	leases []*modelLease
	claims []modelClaim // seen lately, held or not
	waiter *modelWaiter
}

type modelLease struct {
	chansec.Lease[int]
	ref *refLease

	mu    sync.Mutex
	calls []chansec.Message[int] // what the callback was called with; of a lease with a callback
	push  bool
}

// modelWaiter is a ClaimNext under way.
type modelWaiter struct {
	who    *modelSubject
	worker *refWorker
	cancel context.CancelFunc
	done   chan struct{}
	claim  chansec.Claim[int]
	err    error
}

func (x *modelWaiter) ended() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

type modelClaim struct {
	claim chansec.Claim[int]
	who   *modelSubject
}

func (c modelClaim) take() (*chansec.Claim[int], *modelSubject) { return &c.claim, c.who }

type modelSubject struct {
	ref   *refSubject
	ports map[*modelChannel][]any
	live  *liveCaller
	proof chansec.Proof
	jti   string // as audit events show it
}

type modelToken struct {
	ref  *refToken
	text string
}

type modelKey struct {
	ref refKey
	key chansec.Key
}

var errKicked = errors.New("kicked")

// liveCaller is a caller whose principal changes.
type liveCaller struct {
	mu        sync.Mutex
	principal chansec.Principal
	err       error
	changed   chan struct{}
}

func newLiveCaller(p chansec.Principal) *liveCaller {
	return &liveCaller{principal: p, changed: make(chan struct{})}
}

func (c *liveCaller) Principal() (chansec.Principal, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return chansec.Principal{}, c.err
	}
	return c.principal, nil
}

func (c *liveCaller) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *liveCaller) become(p chansec.Principal, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.principal, c.err = p, err
	close(c.changed)
	c.changed = make(chan struct{})
}

// plainSecurity hides whatever a security can do beyond the five methods.
type plainSecurity struct{ chansec.ChannelSecurity }

// modelRule decides by the list, by each message and by what that replaces.
type modelRule struct {
	chansec.Versioned
	ref *refWorld
}

func (r modelRule) Decide(ctx context.Context, req chansec.Request) (chansec.Decision, error) {
	d, err := r.Versioned.(chansec.Decider).Decide(ctx, req)
	system, no := req.Principal.SystemID, chansec.Decision{Reason: "the rule says no"}
	if m := req.Message; d.Allowed && m != nil && m.Content != nil && !r.ref.passes(system, m.Content.(int)) {
		return no, nil // nothing is in what is to be deleted
	}
	if m := req.Previous; d.Allowed && m != nil {
		old := &refMessage{Message: chansec.Message[int]{SenderID: m.SenderID, Content: m.Content.(int)}}
		if !r.ref.replaces(system, old) {
			return no, nil
		}
	}
	d.PerMessage = true
	return d, err
}

func (r modelRule) AuthorizeRead(context.Context, string, string) (bool, error)  { return false, nil }
func (r modelRule) AuthorizeWrite(context.Context, string, string) (bool, error) { return false, nil }
func (r modelRule) AuthorizeAdmin(context.Context, string, string) (bool, error) { return false, nil }

// modelAudit remembers events until they are compared.
type modelAudit struct {
	off    bool
	mu     sync.Mutex
	events []chansec.Event
}

func (a *modelAudit) Record(_ context.Context, e chansec.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
	return nil
}

func (a *modelAudit) drain() []chansec.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	events := a.events
	a.events = nil
	return events
}

var modelSystems = []string{"ann", "bob", "cat", "dan"}

// newModelWorld makes the two, in the bubble. rng chooses the sizes.
func newModelWorld(v modelVariant, rng *rand.Rand) *modelWorld {
	w := &modelWorld{variant: v, rng: rng, ref: &refWorld{now: time.Now()}, names: make(map[uuid.UUID]*refMessage), hazy: make(map[*refMessage]bool)}
	security := w.newSecurity()
	// Without audit, a port's last yes serves again. Decisions about single messages make events that are not compared.
	quiet := rng.IntN(2) == 0 || v.rule
	opts := func(kind *refChannel, more ...chansec.Option) []chansec.Option {
		if kind.max = 1 + rng.IntN(12); rng.IntN(3) == 0 {
			kind.max = 400
		}
		if !quiet {
			more = append(more, chansec.WithAudit(&w.audit))
		}
		if rng.IntN(4) == 0 {
			more = append(more, chansec.WithBackend(memory.Open[[]byte]))
		}
		return append(more, chansec.WithSecurity(security), chansec.WithMaxMessages(kind.max))
	}
	age := func(kind *refChannel) chansec.Option {
		if rng.IntN(2) == 0 {
			return chansec.WithDescription("", "")
		}
		kind.age = 200*v.unit + 2*time.Microsecond
		return chansec.WithMaxAge(kind.age)
	}
	timeout := func(kind *refChannel) chansec.Option {
		kind.timeout = 30*v.unit + time.Microsecond
		return chansec.WithClaimTimeout(kind.timeout)
	}

	r := &refChannel{id: "plain"}
	p := must(chansec.NewPassthrough[int](r.id, opts(r, age(r), timeout(r))...))
	w.add(p, r, func(s string) any { return struct{ chansec.PassthroughPort[int] }{p.As(s)} },
		func(c chansec.Caller) any { return struct{ chansec.PassthroughPort[int] }{p.For(c)} })
	r = &refChannel{id: "news"}
	b := must(chansec.NewBroadcast[int](r.id, opts(r, age(r))...))
	w.add(b, r, func(s string) any { return struct{ chansec.BroadcastPort[int] }{b.As(s)} },
		func(c chansec.Caller) any { return struct{ chansec.BroadcastPort[int] }{b.For(c)} })
	r = &refChannel{id: "jobs", queue: true}
	q := must(chansec.NewWorkQueue[int](r.id, opts(r, timeout(r))...))
	w.add(q, r, func(s string) any { return struct{ chansec.WorkQueuePort[int] }{q.As(s)} },
		func(c chansec.Caller) any { return struct{ chansec.WorkQueuePort[int] }{q.For(c)} })
	r = &refChannel{id: "mail", boxes: true}
	m := must(chansec.NewMailbox[int](r.id, opts(r, age(r), timeout(r))...))
	w.add(m, r, func(s string) any { return struct{ chansec.MailboxPort[int] }{m.As(s)} },
		func(c chansec.Caller) any { return struct{ chansec.MailboxPort[int] }{m.For(c)} })
	r = &refChannel{id: "state", keyed: true}
	k := must(chansec.NewKeyed[int](r.id, opts(r)...))
	w.add(k, r, func(s string) any { return struct{ chansec.KeyedPort[int] }{k.As(s)} },
		func(c chansec.Caller) any { return struct{ chansec.KeyedPort[int] }{k.For(c)} })

	for _, name := range modelSystems {
		w.subjects = append(w.subjects, w.wire(name))
	}
	w.audit.off = quiet
	return w
}

func (w *modelWorld) add(real modelReal, ref *refChannel, as func(string) any, by func(chansec.Caller) any) {
	ref.world, ref.positions = w.ref, make(map[string]int)
	w.ref.channels = append(w.ref.channels, ref)
	w.channels = append(w.channels, &modelChannel{modelReal: real, ref: ref, as: as, by: by})
}

// newSecurity makes the security of the variant.
func (w *modelWorld) newSecurity() (security chansec.ChannelSecurity) {
	v := w.variant
	if v.list {
		w.acl = must(chansec.NewACLSecurity(chansec.ACLRead("ann"), chansec.ACLWrite("ann", "bob"), chansec.ACLAdmin("dan")))
		w.ref.acl = &refACL{}
		w.ref.acl.list("ann", 1, "", time.Time{})
		w.ref.acl.list("ann", 2, "", time.Time{})
		w.ref.acl.list("bob", 2, "", time.Time{})
		w.ref.acl.list("dan", 3, "", time.Time{})
		security = w.acl
	}
	if v.tokens {
		first := newModelKey("k0")
		w.keys = []modelKey{first}
		w.ref.jwt = &refJWT{keys: []refKey{first.ref}, signer: first.ref.id, strict: v.strict}
		var opts []chansec.JWTOption
		if w.ref.suffices = v.local; v.local {
			opts = append(opts, chansec.JWTLocal(w.acl))
		}
		if v.strict {
			opts = append(opts, chansec.JWTStrictLocal())
		}
		w.ref.jwt.refreshed = time.Now()
		if w.chance(2) {
			w.ref.jwt.limit = 300*v.unit + v.unit/4 + 3*time.Microsecond // a time at which nothing else happens
			opts = append(opts, chansec.JWTMaxStaleness(w.ref.jwt.limit))
		}
		w.kept = &modelRevocations{MemoryRevocations: chansec.NewMemoryRevocations()}
		w.jwt = must(chansec.OpenJWTSecurity(background, w.kept, first.key, opts...))
		w.distant = must(chansec.OpenJWTSecurity(background, w.kept, first.key))
		security = w.jwt
	}
	if v.tokens && v.list && !v.local {
		security = must(chansec.Join(w.jwt, w.acl, w.jwt))
	}
	if w.ref.rule = v.rule; v.rule {
		security = must(chansec.Join(w.acl, modelRule{w.acl, w.ref}, w.acl))
	}
	if v.plain {
		security = plainSecurity{security}
	}
	return security
}

var errAway = errors.New("away")

// modelRevocations is a backend of revocations that may be away.
type modelRevocations struct {
	*chansec.MemoryRevocations
	away bool
}

func (r *modelRevocations) Append(ctx context.Context, x chansec.Revocation) error {
	if r.away {
		return errAway
	}
	return r.MemoryRevocations.Append(ctx, x)
}

func (r *modelRevocations) Changes(ctx context.Context, after uint64) iter.Seq2[chansec.Revocation, error] {
	if r.away {
		return func(yield func(chansec.Revocation, error) bool) { yield(chansec.Revocation{}, errAway) }
	}
	return r.MemoryRevocations.Changes(ctx, after)
}

// newModelKey makes a key whose secret follows from its ID, so that it can come back.
func newModelKey(id string) modelKey {
	secret := strings.Repeat(id, 16)
	return modelKey{refKey{id: id, secret: secret}, must(chansec.HMACKey(id, "HS256", []byte(secret)))}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// wire makes the ports of a name, two for each channel: one is as good as the other.
func (w *modelWorld) wire(name string) *modelSubject {
	s := &modelSubject{ref: &refSubject{label: "As(" + strconv.Quote(name) + ")", wired: true, system: name}, ports: make(map[*modelChannel][]any)}
	if chansec.CheckSystemID(name) != nil {
		s.ref.nobody = oneOf("permission+invalid")
	}
	for _, c := range w.channels {
		s.ports[c] = []any{c.as(name), c.as(name)}
	}
	return s
}

// call makes the ports of a caller.
func (w *modelWorld) call(caller chansec.Caller, ref *refSubject) *modelSubject {
	w.serial++
	ref.label = "caller " + strconv.Itoa(w.serial)
	s := &modelSubject{ref: ref, ports: make(map[*modelChannel][]any)}
	if caller == nil {
		s.ref.nobody = oneOf("permission+invalid")
	}
	for _, c := range w.channels {
		s.ports[c] = []any{c.by(caller), c.by(caller)}
	}
	return s
}

// is makes a subject's reference side follow a principal.
func (s *modelSubject) is(p chansec.Principal, token *refToken) {
	s.ref.nobody, s.ref.system, s.ref.token, s.ref.bound, s.proof, s.jti = nil, p.SystemID, token, nil, p.Proof, ""
	if g := p.Grant; g != nil {
		s.ref.bound = &refGrant{rank: rank(g.Role), all: g.AllChannels, channels: g.Channels, until: g.ExpiresAt}
		s.jti = g.TokenID
	}
}
