package chansec_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/driver"
	"github.com/chansec/chansec/internal/memory"
)

// law1Note is the content of a message: when its write started, by the clock that also says when a revocation had returned.
type law1Note struct {
	Started uint64
	Last    bool
	Old     uuid.UUID // of a keyed channel: what it replaces, as its writer sees it
}

// law1World is one channel with its writers, those who are cut off and those who are not.
type law1World struct {
	ctx     context.Context
	kind    string
	jobs    bool // messages are claimed, otherwise read
	chain   bool // the security looks at what is replaced
	clock   atomic.Uint64
	written atomic.Int64
	acked   atomic.Int64
	over    chan struct{} // closed when every revocation has returned

	acl     *chansec.ACLSecurity
	jwt     *chansec.JWTSecurity
	distant *chansec.JWTSecurity // of another process, with the same revocations
	system  func(name string) law1Port
	caller  func(chansec.Caller) law1Port
	close   func() error

	mu       sync.Mutex
	sent     []law1Sent
	done     map[uuid.UUID]int // how often a job was acknowledged
	passed   map[law1Pass]int  // how often somebody passed on an old message of a key
	deleted  map[string]int    // how often a key was
	problems []string
	group    sync.WaitGroup
	racers   sync.WaitGroup // victims who write
}

type law1Sent struct {
	id        uuid.UUID
	recipient string
}

// law1Pass is a key and the message that lay under it.
type law1Pass struct {
	key string
	old uuid.UUID
}

// law1Port is whatever a kind of channel offers of these.
type law1Port struct {
	keeper     chansec.Keeper[law1Note]
	writer     chansec.Writer[law1Note]
	reader     chansec.Reader[law1Note]
	subscriber chansec.Subscriber[law1Note]
	worker     chansec.Worker[law1Note]
}

// law1Victim loses its right at a time.
type law1Victim struct {
	name  string
	cause string
	port  law1Port
	cut   atomic.Uint64 // by the clock, once the revocation has returned
	take  func()        // revokes
}

func (w *law1World) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.problems) < 10 {
		w.problems = append(w.problems, fmt.Sprintf(format, args...))
	}
}

// law1Lazy is a backend that takes its time at random, so that others get in between the guard's look and the driver's.
type law1Lazy struct {
	driver.Backend[[]byte]
	over <-chan struct{}
}

func (b law1Lazy) pause() {
	switch n := rand.IntN(10); {
	case n < 4:
	case n < 9:
		for range n {
			runtime.Gosched()
		}
	default:
		soon := time.NewTimer(200 * time.Microsecond)
		defer soon.Stop()
		select {
		case <-b.over:
		case <-soon.C:
		}
	}
}

func (b law1Lazy) Open(ctx context.Context, view driver.View, from driver.From) (driver.Reader[[]byte], error) {
	b.pause()
	r, err := b.Backend.Open(ctx, view, from)
	return law1LazyReader{r, b}, err
}

func (b law1Lazy) Last(ctx context.Context, key string) (driver.Entry[[]byte], error) {
	b.pause()
	defer b.pause()
	return b.Backend.Last(ctx, key)
}

func (b law1Lazy) Claim(ctx context.Context, who driver.Consumer, box string, limit int, timeout time.Duration, dst []driver.Claimed[[]byte]) ([]driver.Claimed[[]byte], error) {
	b.pause()
	defer b.pause()
	return b.Backend.Claim(ctx, who, box, limit, timeout, dst)
}

type law1LazyReader struct {
	driver.Reader[[]byte]
	backend law1Lazy
}

func (r law1LazyReader) Next(ctx context.Context, limit int) (driver.Batch[[]byte], error) {
	r.backend.pause()
	defer r.backend.pause()
	return r.Reader.Next(ctx, limit)
}

var law1Kinds = []string{"broadcast", "passthrough", "mailbox", "passthrough with claims", "mailbox with claims", "work queue", "keyed"}

func newLaw1World(ctx context.Context, rng *rand.Rand) *law1World {
	w := &law1World{ctx: ctx, kind: law1Kinds[rng.IntN(len(law1Kinds))], over: make(chan struct{}), done: make(map[uuid.UUID]int),
		passed: make(map[law1Pass]int), deleted: make(map[string]int)}
	w.jobs = w.kind == "work queue" || w.kind == "passthrough with claims" || w.kind == "mailbox with claims"
	security := w.security(rng.IntN(3))
	if w.kind == "keyed" && rng.IntN(2) == 0 {
		w.chain = true
		security = must(chansec.Join(security, law1Chain{security.(chansec.Versioned), security.(chansec.Decider)}, security))
	}
	opts := []chansec.Option{chansec.WithSecurity(security)}
	if rng.IntN(2) == 0 {
		opts = append(opts, chansec.WithBackend(func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
			b, err := memory.Open[[]byte](ctx, id, cfg)
			return law1Lazy{b, w.over}, err
		}))
	}
	if rng.IntN(2) == 0 { // with it, every operation is decided anew
		opts = append(opts, chansec.WithAudit(chansec.AuditFunc(func(context.Context, chansec.Event) error { return nil })))
	}
	switch w.kind {
	case "broadcast":
		c := must(chansec.NewBroadcast[law1Note]("c", opts...))
		law1Use(w, c, func(p chansec.BroadcastPort[law1Note]) law1Port { return law1Port{nil, p, p, p, nil} }, c.As, c.For)
	case "passthrough", "passthrough with claims":
		c := must(chansec.NewPassthrough[law1Note]("c", opts...))
		law1Use(w, c, func(p chansec.PassthroughPort[law1Note]) law1Port { return law1Port{nil, p, p, p, p} }, c.As, c.For)
	case "mailbox", "mailbox with claims":
		c := must(chansec.NewMailbox[law1Note]("c", opts...))
		law1Use(w, c, func(p chansec.MailboxPort[law1Note]) law1Port { return law1Port{nil, p, p, p, p} }, c.As, c.For)
	case "keyed":
		c := must(chansec.NewKeyed[law1Note]("c", opts...))
		law1Use(w, c, func(p chansec.KeyedPort[law1Note]) law1Port { return law1Port{p, nil, p, p, nil} }, c.As, c.For)
	default:
		c := must(chansec.NewWorkQueue[law1Note]("c", opts...))
		law1Use(w, c, func(p chansec.WorkQueuePort[law1Note]) law1Port { return law1Port{nil, p, nil, nil, p} }, c.As, c.For)
	}
	return w
}

// security makes one of a list, of tokens, or of both: then tokens prove, and the list decides.
func (w *law1World) security(n int) chansec.ChannelSecurity {
	acl := must(chansec.NewACLSecurity(chansec.ACLAdmin("host")))
	revocations := chansec.NewMemoryRevocations()
	jwt := must(chansec.OpenJWTSecurity(w.ctx, revocations, law1Keys[0]))
	w.distant = must(chansec.OpenJWTSecurity(w.ctx, revocations, law1Keys[0]))
	switch n {
	case 0:
		w.acl = acl
		return acl
	case 1:
		w.jwt = jwt
		return jwt
	}
	w.acl, w.jwt = acl, jwt
	return must(chansec.Join(jwt, acl, jwt))
}

// law1Use starts a channel and makes its ports those of the world.
func law1Use[P any](w *law1World, c modelReal, parts func(P) law1Port, as func(string) P, by func(chansec.Caller) P) {
	w.system = func(name string) law1Port { return parts(as(name)) }
	w.caller = func(caller chansec.Caller) law1Port { return parts(by(caller)) }
	w.close = c.Close
	if err := c.Start(w.ctx); err != nil {
		panic(err)
	}
}

// law1Keys are two keys whose tokens can be told apart, so that one can be removed.
var law1Keys = [2]chansec.Key{
	must(chansec.HMACKey("old", "HS256", []byte(law1Secret))),
	must(chansec.HMACKey("new", "HS256", []byte(law1Secret+"new"))),
}

const law1Secret = "0123456789abcdef0123456789abcdef"

// The ways to lose a right, for those who are listed, for those who hold a token, and for any caller.
var (
	law1ListCauses  = []string{"revoke", law1Flicker, "role", "channel", "entry expires"}
	law1TokenCauses = []string{"token", "subject", "elsewhere", "key", "token expires", "grant expires"}
	law1Causes      = []string{"kick", "caller changes"}
)

func (w *law1World) causes() []string {
	list := slices.Clone(law1Causes)
	if w.acl != nil {
		list = append(list, law1ListCauses...)
	}
	if w.jwt != nil {
		list = append(list, law1TokenCauses...)
	}
	return list
}

// law1Flicker revokes and grants several times. Those whom it is about go on until it is over.
const law1Flicker = "revoke and grant"

// law1Life is how long a right lasts that ends by itself.
const law1Life = 3 * time.Millisecond

// victim makes somebody who will lose their right by a cause.
func (w *law1World) victim(name, cause string) *law1Victim {
	v := &law1Victim{name: name, cause: cause}
	if slices.Contains(law1ListCauses, cause) {
		w.listed(v)
		return v
	}
	p := chansec.Principal{SystemID: name}
	if w.acl != nil {
		w.check(w.acl.Grant(name, chansec.RoleAdmin))
	}
	if w.jwt != nil {
		p = w.proven(name)
	}
	if slices.Contains(law1TokenCauses, cause) {
		w.tokened(v, p)
		return v
	}
	caller := newLiveCaller(p)
	v.port = w.caller(caller)
	v.take = func() {
		if cause == "kick" {
			caller.become(chansec.Principal{}, errKicked)
		} else {
			caller.become(chansec.Principal{SystemID: "nobody"}, nil)
		}
	}
	return v
}

// listed gives a right by the list that will be taken from it.
func (w *law1World) listed(v *law1Victim) {
	v.port = w.system(v.name)
	entry := chansec.ACLEntry{SystemID: v.name, Role: chansec.RoleAdmin, AllChannels: true}
	switch v.cause {
	case "revoke":
		v.take = func() { w.acl.Revoke(v.name) }
	case law1Flicker:
		v.take = func() {
			for range 4 {
				w.acl.Revoke(v.name)
				runtime.Gosched()
				w.check(w.acl.Add(entry))
				runtime.Gosched()
			}
			w.acl.Revoke(v.name)
		}
	case "role":
		v.take = func() { must(w.acl.RevokeRole(v.name, chansec.RoleRead)) }
	case "channel":
		entry.AllChannels, entry.ChannelID = false, "c"
		v.take = func() { must(w.acl.RevokeOn(v.name, chansec.RoleRead, "c")) }
	case "entry expires":
		entry.ExpiresAt = time.Now().Add(law1Life)
		for w.acl.Add(entry) != nil { // over before it was listed
			entry.ExpiresAt = time.Now().Add(law1Life)
		}
		v.take = func() { waitUntil(entry.ExpiresAt) }
		return
	}
	w.check(w.acl.Add(entry))
}

// tokened gives a right by a token that will be taken.
func (w *law1World) tokened(v *law1Victim, p chansec.Principal) {
	switch v.cause {
	case "token":
		v.take = func() { w.check(w.jwt.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt)) }
	case "subject":
		v.take = func() { w.check(w.jwt.RevokeSubject(v.name, time.Now())) }
	case "elsewhere":
		v.take = func() {
			w.check(w.distant.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt))
			w.check(w.jwt.Refresh(w.ctx))
		}
	case "key":
		p = must(w.jwt.Authenticate(w.ctx, law1Token("old", v.name, time.Hour)))
		v.take = func() { w.check(w.jwt.RemoveKey("old")) }
	case "token expires":
		until := w.briefly(v.name, &p)
		p.Grant = nil // the guard knows the token all the same
		v.take = func() { waitUntil(until) }
	case "grant expires":
		short := *p.Grant
		short.ExpiresAt = time.Now().Add(law1Life)
		p.Grant = &short
		v.take = func() { waitUntil(short.ExpiresAt) }
	}
	v.port = w.caller(chansec.StaticCaller(p))
}

// briefly makes a principal that of a token which lasts hardly longer than it takes to verify it.
func (w *law1World) briefly(name string, p *chansec.Principal) time.Time {
	for life := law1Life; ; life *= 2 {
		var err error
		if *p, err = w.jwt.Authenticate(w.ctx, law1Token("new", name, life)); err == nil {
			return p.Grant.ExpiresAt
		}
	}
}

// law1Token signs a token by one of the keys.
func law1Token(key, subject string, life time.Duration) string {
	secret := law1Secret
	if key == "new" {
		secret += "new"
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": subject, "role": "admin", "jti": uuid.NewString(),
		"exp": float64(time.Now().Add(life).UnixMilli()) / 1000})
	t.Header["kid"] = key
	return must(t.SignedString([]byte(secret)))
}

// proven returns the principal of a token that nobody revokes unasked.
func (w *law1World) proven(name string) chansec.Principal {
	return must(w.jwt.Authenticate(w.ctx, law1Token("new", name, time.Hour)))
}

// other makes somebody who keeps their right.
func (w *law1World) other(name string) law1Port {
	if w.acl != nil {
		w.check(w.acl.Grant(name, chansec.RoleWrite))
	}
	if w.jwt != nil {
		return w.caller(chansec.StaticCaller(w.proven(name)))
	}
	return w.system(name)
}

func (w *law1World) check(err error) {
	if err != nil {
		w.fail("%v", err)
	}
}

// waitUntil returns once the time has come by the clock that messages are stamped with.
func waitUntil(at time.Time) {
	for time.Now().UnixNano() < at.UnixNano() {
		<-time.After(time.Until(at))
	}
}
