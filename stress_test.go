package chansec_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// stressWorld is what the methods below are called on: a channel that holds something, with a lease, a claim and the
// securities behind it.
type stressWorld struct {
	ctx     context.Context
	channel any // *chansec.MailboxChannel[int] and so on
	port    any // of "ann", who may do everything
	lease   chansec.Lease[int]
	claim   chansec.Claim[int]
	first   uuid.UUID
	acl     *chansec.ACLSecurity
	jwt     *chansec.JWTSecurity
	token   string
	caller  chansec.Caller
}

// stressKinds makes a channel of each kind, with the port of a system.
var stressKinds = map[string]func(opts ...chansec.Option) (channel, port any){
	"passthrough": func(opts ...chansec.Option) (any, any) {
		c := must(chansec.NewPassthrough[int]("c", opts...))
		return c, struct{ chansec.PassthroughPort[int] }{c.As("ann")}
	},
	"broadcast": func(opts ...chansec.Option) (any, any) {
		c := must(chansec.NewBroadcast[int]("c", opts...))
		return c, struct{ chansec.BroadcastPort[int] }{c.As("ann")}
	},
	"work queue": func(opts ...chansec.Option) (any, any) {
		c := must(chansec.NewWorkQueue[int]("c", opts...))
		return c, struct{ chansec.WorkQueuePort[int] }{c.As("ann")}
	},
	"mailbox": func(opts ...chansec.Option) (any, any) {
		c := must(chansec.NewMailbox[int]("c", opts...))
		return c, struct{ chansec.MailboxPort[int] }{c.As("ann")}
	},
	"keyed channel": func(opts ...chansec.Option) (any, any) {
		c := must(chansec.NewKeyed[int]("c", opts...))
		return c, struct{ chansec.KeyedPort[int] }{c.As("ann")}
	},
}

func newStressWorld(ctx context.Context, kind string) *stressWorld {
	w := &stressWorld{ctx: ctx}
	w.acl = must(chansec.NewACLSecurity(chansec.ACLAdmin("ann")))
	w.jwt = must(chansec.OpenJWTSecurity(ctx, chansec.NewMemoryRevocations(), law1Keys[0], chansec.JWTKeys(law1Keys[1])))
	w.token = must(w.jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleAdmin, AllChannels: true}))
	w.caller = chansec.StaticCaller(must(w.jwt.Authenticate(ctx, w.token)))
	security := must(chansec.Join(w.jwt, w.acl, w.jwt))
	w.channel, w.port = stressKinds[kind](chansec.WithSecurity(security), chansec.WithMaxMessages(4))
	if err := w.channel.(modelReal).Start(ctx); err != nil {
		panic(err)
	}
	switch p := w.port.(type) {
	case chansec.Writer[int]:
		w.first = must(p.Write(ctx, 1))
		must(p.Write(ctx, 2))
	case chansec.Keeper[int]:
		w.first = must(p.Set(ctx, "k", 1))
		must(p.Set(ctx, "l", 2))
	}
	if s, ok := w.port.(chansec.Subscriber[int]); ok {
		w.lease = must(s.Subscribe(ctx))
	}
	if k, ok := w.port.(chansec.Worker[int]); ok {
		w.claim = must(k.Claim(ctx, 1))[0]
	}
	return w
}

// a stressCall calls one exported method. It returns its error.
type stressCall func(w *stressWorld) error

func on[P any](call func(w *stressWorld, p P) error) stressCall {
	return func(w *stressWorld) error {
		for _, v := range []any{w.port, w.channel, w.lease, w.acl, w.jwt} {
			if p, ok := v.(P); ok {
				return call(w, p)
			}
		}
		return nil // that kind of channel has no such thing
	}
}

// soon is a context for what waits.
func (w *stressWorld) soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(w.ctx, 100*time.Microsecond)
}

func err2[T any](_ T, err error) error { return err }

// stressCalls has every exported method, by its type's and its own name.
var stressCalls = map[string]stressCall{
	"Port.Write": on(func(w *stressWorld, p chansec.Writer[int]) error { return err2(p.Write(w.ctx, 1)) }),
	"Port.WriteMessage": on(func(w *stressWorld, p chansec.Writer[int]) error {
		return err2(p.WriteMessage(w.ctx, chansec.Message[int]{Metadata: map[string]any{"a": 1}, RecipientID: "ann"}))
	}),
	"Port.WriteTo":   on(func(w *stressWorld, p chansec.MailboxPort[int]) error { return err2(p.WriteTo(w.ctx, "ann", 1)) }),
	"Keeper.Get":     on(func(w *stressWorld, p chansec.Keeper[int]) error { return err2(p.Get(w.ctx, "k")) }),
	"Keeper.Set":     on(func(w *stressWorld, p chansec.Keeper[int]) error { return err2(p.Set(w.ctx, "k", 3)) }),
	"Keeper.SetIf":   on(func(w *stressWorld, p chansec.Keeper[int]) error { return err2(p.SetIf(w.ctx, "k", 4, w.first)) }),
	"Keeper.Delete":  on(func(w *stressWorld, p chansec.Keeper[int]) error { return err2(p.Delete(w.ctx, "k")) }),
	"Port.Read":      on(func(w *stressWorld, p chansec.Reader[int]) error { return err2(p.Read(w.ctx, 3)) }),
	"Port.ReadAfter": on(func(w *stressWorld, p chansec.Reader[int]) error { return err2(p.ReadAfter(w.ctx, w.first, 3)) }),
	"Port.Subscribe": on(func(w *stressWorld, p chansec.Subscriber[int]) error { return closeLease(p.Subscribe(w.ctx)) }),
	"Port.SubscribeAfter": on(func(w *stressWorld, p chansec.Subscriber[int]) error {
		return closeLease(p.SubscribeAfter(w.ctx, w.first))
	}),
	"Port.SubscribeFunc": on(func(w *stressWorld, p chansec.Subscriber[int]) error {
		_, err := p.SubscribeFunc(w.ctx, func(context.Context, chansec.Message[int]) error { return nil })
		return err
	}),
	"Port.Claim": on(func(w *stressWorld, p chansec.Worker[int]) error { return err2(p.Claim(w.ctx, 3)) }),
	"Port.ClaimNext": on(func(w *stressWorld, p chansec.Worker[int]) error {
		ctx, cancel := w.soon()
		defer cancel()
		return err2(p.ClaimNext(ctx))
	}),
	"Port.Acknowledge": on(func(w *stressWorld, p chansec.Worker[int]) error {
		return err2(p.Acknowledge(w.ctx, w.claim.Receipt()))
	}),
	"Port.Nack":        on(func(w *stressWorld, p chansec.Worker[int]) error { return err2(p.Nack(w.ctx, w.claim.Receipt())) }),
	"Port.Extend":      on(func(w *stressWorld, p chansec.Worker[int]) error { return err2(p.Extend(w.ctx, w.claim.Receipt())) }),
	"Port.Clear":       on(func(w *stressWorld, p chansec.Host[int]) error { return err2(p.Clear(w.ctx)) }),
	"Port.EvictBefore": on(func(w *stressWorld, p chansec.Host[int]) error { return err2(p.EvictBefore(w.ctx, time.Now())) }),
	"Port.EvictBeyond": on(func(w *stressWorld, p chansec.Host[int]) error { return err2(p.EvictBeyond(w.ctx, 1)) }),
	"Port.Remove":      on(func(w *stressWorld, p chansec.Host[int]) error { return err2(p.Remove(w.ctx, w.first)) }),
	"Port.RemoveFunc": on(func(w *stressWorld, p chansec.Host[int]) error {
		return err2(p.RemoveFunc(w.ctx, func(m chansec.Message[int]) bool { return m.Content == 1 }))
	}),
	"Port.Len":  on(func(w *stressWorld, p chansec.Host[int]) error { return err2(p.Len(w.ctx)) }),
	"Port.Info": on(func(w *stressWorld, p chansec.Inspector) error { return err2(p.Info(w.ctx)) }),

	"Claim.Receipt":     func(w *stressWorld) error { w.claim.Receipt(); return nil },
	"Claim.Acknowledge": on(func(w *stressWorld, _ chansec.Worker[int]) error { return w.claim.Acknowledge(w.ctx) }),
	"Claim.Nack":        on(func(w *stressWorld, _ chansec.Worker[int]) error { return w.claim.Nack(w.ctx) }),
	"Claim.Extend":      on(func(w *stressWorld, _ chansec.Worker[int]) error { return w.claim.Extend(w.ctx) }),

	"Lease.Messages": on(func(w *stressWorld, l chansec.Lease[int]) (end error) {
		ctx, cancel := w.soon()
		defer cancel()
		for _, err := range l.Messages(ctx) {
			end = err
		}
		return end
	}),
	"Lease.Done":  on(func(_ *stressWorld, l chansec.Lease[int]) error { l.Done(); return nil }),
	"Lease.Err":   on(func(_ *stressWorld, l chansec.Lease[int]) error { return l.Err() }),
	"Lease.Close": on(func(_ *stressWorld, l chansec.Lease[int]) error { return l.Close() }),

	"Channel.ID":  on(func(_ *stressWorld, c modelReal) error { c.ID(); return nil }),
	"Channel.As":  on(func(w *stressWorld, _ modelReal) error { return w.another(false) }),
	"Channel.For": on(func(w *stressWorld, _ modelReal) error { return w.another(true) }),
	"Channel.Holders": on(func(_ *stressWorld, c interface {
		Holders() iter.Seq[chansec.Holder]
	}) error {
		for range c.Holders() {
		}
		return nil
	}),
	"Channel.Authenticate": on(func(w *stressWorld, c modelReal) error { return err2(c.Authenticate(w.ctx, w.token)) }),
	"Channel.SetSecurity":  on(func(_ *stressWorld, c modelReal) error { return c.SetSecurity(chansec.OpenSecurity{}) }),
	"Channel.Start":        on(func(w *stressWorld, c modelReal) error { return c.Start(w.ctx) }),
	"Channel.Drain":        on(func(w *stressWorld, c modelReal) error { return c.Drain(w.ctx) }),
	"Channel.Close":        on(func(_ *stressWorld, c modelReal) error { return c.Close() }),

	"ACL.Add": func(w *stressWorld) error {
		return w.acl.Add(chansec.ACLEntry{SystemID: "ann", Role: "admin", ChannelID: "c", ExpiresAt: time.Now().Add(time.Millisecond)})
	},
	"ACL.Grant":          func(w *stressWorld) error { return w.acl.Grant("ann", chansec.RoleAdmin) },
	"ACL.GrantOn":        func(w *stressWorld) error { return w.acl.GrantOn("ann", chansec.RoleAdmin, "c", "d") },
	"ACL.Revoke":         func(w *stressWorld) error { w.acl.Revoke("ann"); return nil },
	"ACL.RevokeRole":     func(w *stressWorld) error { return err2(w.acl.RevokeRole("ann", chansec.RoleWrite)) },
	"ACL.RevokeOn":       func(w *stressWorld) error { return err2(w.acl.RevokeOn("ann", chansec.RoleRead, "c")) },
	"ACL.Entries":        func(w *stressWorld) error { w.acl.Entries(); return nil },
	"ACL.Authenticate":   func(w *stressWorld) error { return err2(w.acl.Authenticate(w.ctx, "ann")) },
	"ACL.AuthorizeRead":  func(w *stressWorld) error { return err2(w.acl.AuthorizeRead(w.ctx, "ann", "c")) },
	"ACL.AuthorizeWrite": func(w *stressWorld) error { return err2(w.acl.AuthorizeWrite(w.ctx, "ann", "c")) },
	"ACL.AuthorizeAdmin": func(w *stressWorld) error { return err2(w.acl.AuthorizeAdmin(w.ctx, "ann", "c")) },
	"ACL.Decide":         func(w *stressWorld) error { return err2(w.acl.Decide(w.ctx, w.request())) },
	"ACL.GenerateToken":  func(w *stressWorld) error { return err2(w.acl.GenerateToken(w.ctx, w.tokenRequest())) },
	"ACL.Version":        func(w *stressWorld) error { w.acl.Version(); return nil },
	"ACL.Changed":        func(w *stressWorld) error { w.acl.Changed(); return nil },
	"ACL.AffectedSince":  func(w *stressWorld) error { w.acl.AffectedSince(w.acl.Version() - 1); return nil },
	"ACL.ContentBlind":   func(w *stressWorld) error { w.acl.ContentBlind(); return nil },

	"JWT.AddKey":         func(w *stressWorld) error { return w.jwt.AddKey(newModelKey("another").key) },
	"JWT.Rotate":         func(w *stressWorld) error { return w.jwt.Rotate(law1Keys[rand.IntN(2)]) },
	"JWT.RemoveKey":      func(w *stressWorld) error { return w.jwt.RemoveKey("new") },
	"JWT.Refresh":        func(w *stressWorld) error { return w.jwt.Refresh(w.ctx) },
	"JWT.Revoke":         func(w *stressWorld) error { return w.jwt.Revoke(w.ctx, chansec.Revocation{TokenID: uuid.NewString()}) },
	"JWT.RevokeToken":    func(w *stressWorld) error { return w.jwt.RevokeToken(uuid.NewString(), time.Time{}) },
	"JWT.RevokeSubject":  func(w *stressWorld) error { return w.jwt.RevokeSubject("ann", time.Now()) },
	"JWT.Authenticate":   func(w *stressWorld) error { return err2(w.jwt.Authenticate(w.ctx, w.token)) },
	"JWT.AuthorizeToken": func(w *stressWorld) error { return err2(w.jwt.AuthorizeToken(w.ctx, w.token, "c", "read")) },
	"JWT.AuthorizeRead":  func(w *stressWorld) error { return err2(w.jwt.AuthorizeRead(w.ctx, "ann", "c")) },
	"JWT.AuthorizeWrite": func(w *stressWorld) error { return err2(w.jwt.AuthorizeWrite(w.ctx, "ann", "c")) },
	"JWT.AuthorizeAdmin": func(w *stressWorld) error { return err2(w.jwt.AuthorizeAdmin(w.ctx, "ann", "c")) },
	"JWT.Decide":         func(w *stressWorld) error { return err2(w.jwt.Decide(w.ctx, w.request())) },
	"JWT.Delegate": func(w *stressWorld) error {
		p, err := w.jwt.Authenticate(w.ctx, w.token)
		if err != nil {
			return err
		}
		return err2(w.jwt.Delegate(w.ctx, p, w.tokenRequest()))
	},
	"JWT.GenerateToken": func(w *stressWorld) error { return err2(w.jwt.GenerateToken(w.ctx, w.tokenRequest())) },
	"JWT.Version":       func(w *stressWorld) error { w.jwt.Version(); return nil },
	"JWT.Changed":       func(w *stressWorld) error { w.jwt.Changed(); return nil },
	"JWT.AffectedSince": func(w *stressWorld) error { w.jwt.AffectedSince(w.jwt.Version() - 1); return nil },
	"JWT.ContentBlind":  func(w *stressWorld) error { w.jwt.ContentBlind(); return nil },
	"JWT.Format":        func(w *stressWorld) error { _ = fmt.Sprintf("%+v", w.jwt); return nil },
}

func closeLease(l chansec.Lease[int], err error) error {
	if err != nil {
		return err
	}
	return l.Close()
}

// another writes by a port that was made for it.
func (w *stressWorld) another(verified bool) error {
	var p chansec.Writer[int]
	switch c := w.channel.(type) {
	case *chansec.PassthroughChannel[int]:
		if p = c.As("ann"); verified {
			p = c.For(w.caller)
		}
	case *chansec.BroadcastChannel[int]:
		if p = c.As("ann"); verified {
			p = c.For(w.caller)
		}
	case *chansec.WorkQueueChannel[int]:
		if p = c.As("ann"); verified {
			p = c.For(w.caller)
		}
	case *chansec.MailboxChannel[int]:
		if p = c.As("ann"); verified {
			p = c.For(w.caller)
		}
	case *chansec.KeyedChannel[int]:
		p := c.As("ann")
		if verified {
			p = c.For(w.caller)
		}
		return err2(p.Set(w.ctx, "k", 1))
	}
	return err2(p.Write(w.ctx, 1))
}

func (w *stressWorld) request() chansec.Request {
	return chansec.Request{Principal: must(w.caller.Principal()), ChannelID: "c", Operation: chansec.OpRead}
}

func (w *stressWorld) tokenRequest() chansec.TokenRequest {
	return chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleWrite, Channels: []string{"c"}, ExpiresIn: time.Minute}
}

func TestEveryExportedMethodIsAmongTheStressed(t *testing.T) {
	for name, typ := range map[string]reflect.Type{
		"Port":    reflect.TypeFor[chansec.MailboxPort[int]](),
		"Keeper":  reflect.TypeFor[chansec.Keeper[int]](),
		"Claim":   reflect.TypeFor[*chansec.Claim[int]](),
		"Lease":   reflect.TypeFor[chansec.Lease[int]](),
		"Channel": reflect.TypeFor[*chansec.MailboxChannel[int]](),
		"ACL":     reflect.TypeFor[*chansec.ACLSecurity](),
		"JWT":     reflect.TypeFor[*chansec.JWTSecurity](),
	} {
		for i := range typ.NumMethod() {
			method := name + "." + typ.Method(i).Name
			require.NotNil(t, stressCalls[method], method)
		}
	}
}

// TestEveryPairOfMethodsAtOnce calls each two methods from two goroutines at the same time, and sometimes closes the channel
// meanwhile. The race detector looks on; no call may panic, hang or fail in a way that is not documented, and nothing may
// be left running.
func TestEveryPairOfMethodsAtOnce(t *testing.T) {
	var names []string
	for name := range stressCalls {
		names = append(names, name)
	}
	slices.Sort(names)
	before := runtime.NumGoroutine()
	for kind := range stressKinds {
		t.Run(kind, func(t *testing.T) {
			for i, a := range names {
				for _, b := range names[i:] {
					if testing.Short() && rand.IntN(5) > 0 || kind != "mailbox" && asksOnly(a) && asksOnly(b) {
						continue
					}
					stressPair(t, kind, a, b)
				}
			}
		})
	}
	requireGoroutines(t, before)
}

// asksOnly reports whether a method has nothing to do with the channel.
func asksOnly(name string) bool {
	return strings.HasPrefix(name, "ACL.") || strings.HasPrefix(name, "JWT.")
}

func stressPair(t *testing.T, kind string, names ...string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := newStressWorld(ctx, kind)
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			for range 3 {
				err := stressCalls[name](w)
				if known := class(err); err != nil && known == err.Error() {
					t.Errorf("%s beside %s on a %s: %v", name, names, kind, err)
				}
			}
		})
	}
	if rand.IntN(4) == 0 {
		all.Go(func() { _ = w.channel.(modelReal).Close() })
	}
	all.Wait()
	require.NoError(t, ctx.Err(), "%s on a %s did not return", names, kind)
	require.NoError(t, w.channel.(modelReal).Close())
}

// requireGoroutines waits until there are no more goroutines than before.
func requireGoroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines instead of %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// TestRightsThatEndWhileALeaseBegins subscribes with rights that last about as long as subscribing takes, beside a lease
// that lasts and must still end when it is revoked.
func TestRightsThatEndWhileALeaseBegins(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	before := runtime.NumGoroutine()
	ctx := t.Context()
	acl := must(chansec.NewACLSecurity(chansec.ACLRead("kept", "brief")))
	news := must(chansec.NewBroadcast[int]("news", chansec.WithSecurity(acl)))
	kept := must(news.As("kept").Subscribe(ctx))
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 100 {
				soon := chansec.Grant{Role: chansec.RoleRead, AllChannels: true, ExpiresAt: time.Now().Add(100 * time.Microsecond)}
				port := news.For(chansec.StaticCaller(chansec.Principal{SystemID: "brief", Grant: &soon}))
				if lease, err := port.Subscribe(ctx); err == nil {
					defer lease.Close()
				}
			}
		})
	}
	all.Wait()
	acl.Revoke("kept")
	select {
	case <-kept.Done():
	case <-time.After(10 * time.Second):
		t.Error("the lease that was revoked did not end")
	}
	require.NoError(t, news.Close())
	requireGoroutines(t, before)
}
