package chansec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

func keyedOf[T any](t testing.TB, opts ...Option) *KeyedChannel[T] {
	t.Helper()
	c, err := NewKeyed[T]("room", opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	require.NoError(t, c.Start(t.Context()))
	return c
}

func TestKeyedChannelsHoldTheLastMessageOfEachKey(t *testing.T) {
	ctx := t.Context()
	for name, opts := range map[string][]Option{"in memory": nil, "over a backend of bytes": {newSpy().option()}} {
		t.Run(name, func(t *testing.T) {
			c := keyedOf[int](t, append(opts, WithSecurity(OpenSecurity{}), WithMaxMessages(2))...)
			p := c.As("ann")
			_, err := p.Get(ctx, "door")
			require.ErrorIs(t, err, ErrUnknownKey)
			_, err = p.Set(ctx, "door", 1)
			require.NoError(t, err)
			id, err := c.As("bob").Set(ctx, "door", 2)
			require.NoError(t, err)
			m, err := p.Get(ctx, "door")
			require.NoError(t, err)
			require.Equal(t, Message[int]{ID: id, Timestamp: m.Timestamp, SenderID: "bob", Content: 2, Key: "door"}, m)

			_, err = p.Set(ctx, "lamp", 3)
			require.NoError(t, err)
			_, err = p.Set(ctx, "safe", 4)
			require.ErrorIs(t, err, ErrFull, "nothing is forgotten for a new key")
			_, err = p.Set(ctx, "door", 5)
			require.NoError(t, err, "what replaces takes no room")
			n, err := p.Len(ctx)
			require.NoError(t, err)
			require.Equal(t, 2, n)

			gone, err := p.Delete(ctx, "door")
			require.NoError(t, err)
			require.True(t, gone)
			gone, err = p.Delete(ctx, "door")
			require.NoError(t, err)
			require.False(t, gone)
			_, err = p.Get(ctx, "door")
			require.ErrorIs(t, err, ErrUnknownKey)
			_, err = p.Set(ctx, "safe", 6)
			require.NoError(t, err, "there is room again")
		})
	}
}

func TestKeyedSetIf(t *testing.T) {
	ctx := t.Context()
	p := keyedOf[int](t, WithSecurity(OpenSecurity{})).As("ann")
	_, err := p.SetIf(ctx, "k", 1, uuid.New())
	require.ErrorIs(t, err, ErrChanged, "there is none")
	one, err := p.SetIf(ctx, "k", 1, uuid.Nil)
	require.NoError(t, err)
	_, err = p.SetIf(ctx, "k", 2, uuid.Nil)
	require.ErrorIs(t, err, ErrChanged, "there is one")
	two, err := p.SetIf(ctx, "k", 2, one)
	require.NoError(t, err)
	_, err = p.SetIf(ctx, "k", 3, one)
	require.ErrorIs(t, err, ErrChanged, "it was replaced")
	m, err := p.Get(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, two, m.ID)
	require.Equal(t, 2, m.Content)
}

// keyedCalls is every operation of a Keeper.
func keyedCalls(p KeyedPort[int], key string) map[Operation]func(context.Context) error {
	return map[Operation]func(context.Context) error{
		OpRead:   func(ctx context.Context) error { _, err := p.Get(ctx, key); return err },
		OpWrite:  func(ctx context.Context) error { _, err := p.Set(ctx, key, 1); return err },
		OpDelete: func(ctx context.Context) error { _, err := p.Delete(ctx, key); return err },
	}
}

func TestKeyedOperationsPassTheGuard(t *testing.T) {
	acl := aclOf(t, ACLRead("reader"), ACLWrite("writer"))
	s := newSpy()
	c := keyedOf[int](t, WithSecurity(acl), s.option(), s.audit())
	_, err := c.As("writer").Set(t.Context(), "k", 1)
	require.NoError(t, err)
	s.noted()
	for who, may := range map[string][]Operation{"nobody": nil, "reader": {OpRead}, "writer": {OpRead, OpWrite, OpDelete}} {
		for op, call := range keyedCalls(c.As(who), "k") {
			err := call(t.Context())
			outcome := Allowed
			if !slices.Contains(may, op) {
				outcome = Denied
				require.ErrorIs(t, err, ErrPermission, "%s may %s", who, op)
			} else if !errors.Is(err, ErrUnknownKey) {
				require.NoError(t, err, "%s may not %s", who, op)
			}
			notes := s.noted()
			require.Equal(t, fmt.Sprint(outcome, " ", op, " of ", who, " on room"), notes[0], "the guard is first")
			require.Equal(t, outcome == Allowed, len(notes) > 1, "the driver is reached after a yes only")
		}
	}
}

func TestKeyedOperationsCheckTheirKeysOnceTheGuardSaidYes(t *testing.T) {
	c := keyedOf[int](t, WithSecurity(aclOf(t, ACLAdmin("ann"))))
	for _, key := range []string{"", "a\nb", "\xff", string(make([]byte, 513))} {
		for op, call := range keyedCalls(c.As("ann"), key) {
			require.ErrorIs(t, call(t.Context()), ErrInvalid, op)
		}
		for op, call := range keyedCalls(c.As("bob"), key) {
			require.ErrorIs(t, call(t.Context()), ErrPermission, op)
		}
	}
	_, err := c.As("ann").Set(t.Context(), "any/key at.all", 1)
	require.NoError(t, err)
}

func TestKeyedWritesNeedAStartedChannel(t *testing.T) {
	c, err := NewKeyed[int]("room", WithSecurity(OpenSecurity{}))
	require.NoError(t, err)
	for op, call := range keyedCalls(c.As("ann"), "k") {
		want := ErrNotAccepting
		if op == OpRead {
			want = ErrUnknownKey
		}
		require.ErrorIs(t, call(t.Context()), want, op)
	}
	require.NoError(t, c.Start(t.Context()))
	require.NoError(t, c.Close())
	for op, call := range keyedCalls(c.As("ann"), "k") {
		require.ErrorIs(t, call(t.Context()), ErrClosed, op)
	}
}

// keyRule is a security that decides by what a message replaces.
type keyRule struct {
	ChannelSecurity // its five methods and no more
	decide          func(Request) (Decision, error)
}

func (r keyRule) Decide(_ context.Context, req Request) (Decision, error) { return r.decide(req) }

// onlyUp lets a number grow by one at a time, and go when it is 3.
func onlyUp(req Request) (Decision, error) {
	d := Decision{Allowed: true, PerMessage: true}
	was := 0
	if req.Previous != nil {
		was = req.Previous.Content.(int)
	}
	switch req.Operation {
	case OpWrite:
		d.Allowed = req.Message.Content.(int) == was+1
	case OpDelete:
		d.Allowed = was == 3
	}
	return d, nil
}

func TestKeyedDecisionsSeeWhatIsReplaced(t *testing.T) {
	var asked []Request
	c := keyedOf[int](t, WithSecurity(keyRule{OpenSecurity{}, func(req Request) (Decision, error) {
		asked = append(asked, req)
		return onlyUp(req)
	}}))
	p := c.As("ann")
	for i := 1; i <= 3; i++ {
		_, err := p.Set(t.Context(), "k", i)
		require.NoError(t, err)
		_, err = p.Set(t.Context(), "k", i+2)
		require.ErrorIs(t, err, ErrPermission)
	}
	last := asked[len(asked)-1]
	require.Equal(t, Message[any]{SenderID: "ann", Content: 5, Key: "k"}, *last.Message)
	require.Equal(t, 3, last.Previous.Content)
	require.Equal(t, "k", last.Previous.Key)
	require.NotZero(t, last.Previous.ID)

	gone, err := p.Delete(t.Context(), "other")
	require.ErrorIs(t, err, ErrPermission)
	require.False(t, gone)
	gone, err = p.Delete(t.Context(), "k")
	require.NoError(t, err)
	require.True(t, gone)
	last = asked[len(asked)-1]
	require.Equal(t, Message[any]{SenderID: "ann", Key: "k"}, *last.Message)
	require.Equal(t, 3, last.Previous.Content)
}

// Of two writers who both were allowed to follow 1, the second to store is asked again.
func TestKeyedWritesAreDecidedAgainWhenAnotherWasFirst(t *testing.T) {
	for name, call := range map[string]func(p KeyedPort[int]) error{
		"set":       func(p KeyedPort[int]) error { _, err := p.Set(t.Context(), "k", 2); return err },
		"delete it": func(p KeyedPort[int]) error { _, err := p.Delete(t.Context(), "k"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpy()
			allow := func(was int) func(Request) (Decision, error) {
				return func(req Request) (Decision, error) {
					d := Decision{PerMessage: true}
					d.Allowed = req.Principal.SystemID == "first" || req.Previous != nil && req.Previous.Content.(int) == was
					return d, nil
				}
			}
			c := keyedOf[int](t, WithSecurity(keyRule{OpenSecurity{}, allow(1)}), s.option())
			_, err := c.As("first").Set(t.Context(), "k", 1)
			require.NoError(t, err)
			var went atomic.Bool
			other := func() {
				if went.CompareAndSwap(false, true) {
					_, err := c.As("first").Set(t.Context(), "k", 7)
					require.NoError(t, err)
				}
			}
			s.before("AppendIf", other)
			s.before("Remove", other)
			require.ErrorIs(t, call(c.As("second")), ErrPermission)
			m, err := c.As("first").Get(t.Context(), "k")
			if err == nil {
				require.Equal(t, 7, m.Content, "what the first stored is there")
			}
		})
	}
}

func TestKeyedWritersNeverPassOnTheSameOldMessage(t *testing.T) {
	c := keyedOf[int](t, WithSecurity(keyRule{OpenSecurity{}, onlyUp}))
	const writers, most = 8, 400
	var done atomic.Int64
	var wg sync.WaitGroup
	for g := range writers {
		wg.Go(func() {
			p := c.As(fmt.Sprint("writer ", g))
			for {
				n := 0
				if m, err := p.Get(t.Context(), "k"); err == nil {
					n = m.Content
				}
				if n >= most {
					return
				}
				if _, err := p.Set(t.Context(), "k", n+1); err == nil {
					done.Add(1)
				} else if !errors.Is(err, ErrPermission) {
					t.Errorf("Set: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	m, err := c.As("reader").Get(t.Context(), "k")
	require.NoError(t, err)
	require.EqualValues(t, m.Content, done.Load(), "as many writes passed as the number grew")
}

func TestKeyedDecisionsWithoutWhatIsReplacedAreNone(t *testing.T) {
	away := errors.New("away")
	c := keyedOf[int](t, WithSecurity(keyRule{OpenSecurity{}, onlyUp}), WithBackend(func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
		s := newSpy()
		_, err := s.open(ctx, id, cfg)
		return lastless{s.Backend, away}, err
	}))
	for op, call := range keyedCalls(c.As("ann"), "k") {
		err := call(t.Context())
		require.ErrorIs(t, err, away, op)
		if op != OpRead {
			require.ErrorIs(t, err, ErrUndecided, op)
		}
	}
}

// lastless is a backend that cannot tell what is last.
type lastless struct {
	driver.Backend[[]byte]
	err error
}

func (l lastless) Last(context.Context, string) (driver.Entry[[]byte], error) {
	return driver.Entry[[]byte]{}, l.err
}

func TestKeyedDenialsDoNotTellWhetherThereIsSomething(t *testing.T) {
	c := keyedOf[int](t, WithSecurity(keyRule{OpenSecurity{}, func(req Request) (Decision, error) {
		secret := req.Message != nil && req.Message.Key[0] == 's' && req.Principal.SystemID != "root"
		return Decision{Allowed: !secret, PerMessage: true}, nil
	}}))
	_, err := c.As("root").Set(t.Context(), "secret", 1)
	require.NoError(t, err)
	_, there := c.As("ann").Get(t.Context(), "secret")
	_, absent := c.As("ann").Get(t.Context(), "s")
	require.ErrorIs(t, there, ErrPermission)
	require.Equal(t, there.Error(), absent.Error())
	_, err = c.As("ann").Get(t.Context(), "open")
	require.ErrorIs(t, err, ErrUnknownKey)
}

func TestKeyedLeases(t *testing.T) {
	acl := aclOf(t, ACLWrite("w"), ACLRead("r"), ACLRead("gone"))
	c := keyedOf[int](t, WithSecurity(acl))
	w := c.As("w")
	slow, err := c.As("r").Subscribe(t.Context())
	require.NoError(t, err)
	cut, err := c.As("gone").Subscribe(t.Context())
	require.NoError(t, err)
	for i := range 10 {
		_, err := w.Set(t.Context(), fmt.Sprint(i%2), i)
		require.NoError(t, err)
	}
	acl.Revoke("gone")
	<-cut.Done()
	require.ErrorIs(t, cut.Err(), ErrRevoked)
	var seen []string
	for m, err := range slow.Messages(t.Context()) {
		require.NoError(t, err)
		if seen = append(seen, fmt.Sprint(m.Key, "=", m.Content)); len(seen) == 2 {
			break
		}
	}
	require.Equal(t, []string{"0=8", "1=9"}, seen, "the last of each key, and nothing missed")
	list, err := c.As("r").Read(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, list, 2)
}

func TestKeysInJSON(t *testing.T) {
	m := Message[int]{Content: 1, Key: `a"b`}
	text, err := json.Marshal(m)
	require.NoError(t, err)
	require.Contains(t, string(text), `"recipient_id":null,"key":"a\"b"}`)
	var back Message[int]
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, m.Key, back.Key)
	m.Key = ""
	text, err = json.Marshal(m)
	require.NoError(t, err)
	require.NotContains(t, string(text), "key", "sssn's members are eight")
}

func TestOtherChannelsHaveNoKeys(t *testing.T) {
	for _, k := range everyKind {
		ch := k.started(t, WithSecurity(OpenSecurity{}))
		_, err := ch.as("ann").WriteMessage(t.Context(), Message[string]{Content: "x", Key: "k"})
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err := NewKeyed[int]("room", WithMaxAge(1<<40))
	require.ErrorIs(t, err, ErrInvalid, "a keyed channel forgets nothing")
	_, err = NewKeyed[int]("room", WithClaimTimeout(1<<40))
	require.ErrorIs(t, err, ErrInvalid)
}

// Law 1 for Get: what is written after a revocation returned is not handed out, wherever it comes in between.
func TestKeyedGetNeverReturnsWhatWasWrittenAfterARevocation(t *testing.T) {
	for _, point := range []string{"before", "after"} {
		for name, sees := range map[string]func(Request) Decision{
			"a decision for all":     func(Request) Decision { return Decision{Allowed: true} },
			"one for each message":   func(Request) Decision { return Decision{Allowed: true, PerMessage: true} },
			"one once it is message": func(r Request) Decision { return Decision{Allowed: true, PerMessage: r.Message != nil} },
		} {
			for _, absent := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s the driver looked, absent %v", name, point, absent), func(t *testing.T) {
					var revoked atomic.Bool
					s := newSpy()
					c := keyedOf[int](t, s.option(), WithSecurity(keyRule{OpenSecurity{}, func(r Request) (Decision, error) {
						if r.Principal.SystemID == "ann" && revoked.Load() {
							return Decision{}, nil
						}
						return sees(r), nil
					}}))
					if !absent {
						_, err := c.As("bob").Set(t.Context(), "k", 1)
						require.NoError(t, err)
					}
					s.hook(point+" Last", func() {
						if revoked.CompareAndSwap(false, true) {
							_, err := c.As("bob").Set(t.Context(), "k", 2)
							require.NoError(t, err)
						}
					})
					m, err := c.As("ann").Get(t.Context(), "k")
					require.ErrorIs(t, err, ErrPermission)
					require.Zero(t, m)
				})
			}
		}
	}
}

// changing is a caller who becomes another.
type changing struct{ name atomic.Pointer[string] }

func (c *changing) Principal() (Principal, error) { return Principal{SystemID: *c.name.Load()}, nil }
func (c *changing) Changed() <-chan struct{}      { return nil }

func TestKeyedGetIsOfWhoeverBeganIt(t *testing.T) {
	for after := range 3 {
		caller, decisions := new(changing), 0
		caller.name.Store(new("ann"))
		c := keyedOf[int](t, WithSecurity(keyRule{OpenSecurity{}, func(Request) (Decision, error) {
			return Decision{Allowed: true, PerMessage: true}, nil
		}}), WithAudit(AuditFunc(func(_ context.Context, e Event) error {
			if e.Operation == OpRead {
				if decisions++; decisions == after+1 {
					caller.name.Store(new("eve"))
				}
			}
			return nil
		})))
		_, err := c.As("bob").Set(t.Context(), "k", 1)
		require.NoError(t, err)
		_, err = c.For(caller).Get(t.Context(), "k")
		if after < 2 {
			require.ErrorIs(t, err, ErrRevoked, "the caller became another after decision %d", after+1)
		} else {
			require.NoError(t, err, "it was done")
		}
	}
}

// unsure is a backend that stores and does not know it.
type unsure struct{ driver.Backend[[]byte] }

func (u unsure) Append(ctx context.Context, h driver.Head, v []byte) (driver.Stamp, error) {
	_, _ = u.Backend.Append(ctx, h, v)
	return driver.Stamp{}, driver.ErrUnknownOutcome
}

func (u unsure) AppendIf(ctx context.Context, h driver.Head, v []byte, last uint64) (driver.Stamp, error) {
	_, _ = u.Backend.AppendIf(ctx, h, v, last)
	return driver.Stamp{}, driver.ErrUnknownOutcome
}

func (u unsure) Remove(ctx context.Context, ids []uuid.UUID) (int, error) {
	_, _ = u.Backend.Remove(ctx, ids)
	return 0, driver.ErrUnknownOutcome
}

// Where nobody knows whether something was stored, the caller is told so, and nothing is done twice.
func TestKeyedWritesOfUnknownOutcomeAreNotRepeated(t *testing.T) {
	for _, security := range []ChannelSecurity{OpenSecurity{}, keyRule{OpenSecurity{}, func(Request) (Decision, error) { return Decision{Allowed: true, PerMessage: true}, nil }}} {
		s := newSpy()
		c := keyedOf[int](t, WithSecurity(security), WithBackend(func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
			b, err := s.open(ctx, id, cfg)
			return unsure{b}, err
		}))
		p := c.As("ann")
		_, err := p.Set(t.Context(), "k", 1)
		require.ErrorIs(t, err, driver.ErrUnknownOutcome)
		m, err := p.Get(t.Context(), "k")
		require.NoError(t, err)
		_, err = p.SetIf(t.Context(), "k", 2, m.ID)
		require.ErrorIs(t, err, driver.ErrUnknownOutcome)
		_, err = p.SetIf(t.Context(), "k", 3, m.ID)
		require.ErrorIs(t, err, ErrChanged, "that is how to find out")
		_, err = p.Delete(t.Context(), "k")
		require.ErrorIs(t, err, driver.ErrUnknownOutcome)
		gone, err := p.Delete(t.Context(), "k")
		require.NoError(t, err)
		require.False(t, gone)
	}
}

// versionedRule is a keyRule whose decisions stay true until its version changes.
type versionedRule struct {
	keyRule
	version *atomic.Uint64
}

func (v versionedRule) Version() uint64          { return v.version.Load() }
func (v versionedRule) Changed() <-chan struct{} { return make(chan struct{}) }

// A yes that is not for one message only is not asked for again; one that is serves no other key, content or old message.
func TestKeyedDecisionsAreKeptAsTheySay(t *testing.T) {
	for _, each := range []bool{false, true} {
		asked := 0
		c := keyedOf[int](t, WithSecurity(versionedRule{keyRule{OpenSecurity{}, func(r Request) (Decision, error) {
			asked++
			return Decision{Allowed: r.Message == nil || r.Message.Key == "k" && (r.Message.Content == nil || r.Message.Content.(int) < 3), PerMessage: each}, nil
		}}, new(atomic.Uint64)}))
		p := c.As("ann")
		_, err := p.Set(t.Context(), "k", 1)
		require.NoError(t, err)
		_, err = p.Set(t.Context(), "k", 2)
		require.NoError(t, err)
		if !each {
			require.Equal(t, 1, asked)
			continue
		}
		_, err = p.Set(t.Context(), "other", 2)
		require.ErrorIs(t, err, ErrPermission)
		_, err = p.Set(t.Context(), "k", 3)
		require.ErrorIs(t, err, ErrPermission)
		_, err = p.Delete(t.Context(), "k")
		require.NoError(t, err)
		_, err = p.Delete(t.Context(), "other")
		require.ErrorIs(t, err, ErrPermission)
		require.Equal(t, 6, asked)
	}
}
