package chansec

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// ending is one way in which somebody's right ends while they hold a lease, claims and a place. All of it is set up inside
// a bubble.
type ending struct {
	name string
	// set returns the channel's security, and what ends the right of the victim, who is wired under that name or, if there is
	// one, a caller.
	set func(*testing.T) (z ChannelSecurity, victim Caller, end func())
	is  []error // what the error that ends a lease is, beside ErrRevoked
	// idle is how long it may take until a lease ends on which nobody waits; at once if zero. It is for securities that
	// cannot say that they changed.
	idle time.Duration
}

const victim = "victim"

// others is everybody beside the victim, in tests that use a list.
func others() []ACLOption { return []ACLOption{ACLWrite("w", "other"), ACLAdmin("boss")} }

func tokenOf(t *testing.T, j *JWTSecurity, lifetime time.Duration) Caller {
	return holderOf(t, j, TokenRequest{SystemID: victim, Role: RoleWrite, Channels: []string{"room"}, ExpiresIn: lifetime})
}

func tokenID(t *testing.T, c Caller) string {
	p, err := c.Principal()
	require.NoError(t, err)
	return p.Grant.TokenID
}

// jwtEndings are the ways in which a token ends, under securities that check tokens by j and pass the rest on.
func jwtEndings(under string, make func(t *testing.T, j *JWTSecurity) ChannelSecurity) []ending {
	set := func(act func(t *testing.T, j *JWTSecurity, c Caller)) func(*testing.T) (ChannelSecurity, Caller, func()) {
		return func(t *testing.T) (ChannelSecurity, Caller, func()) {
			old := hmacOf(t, "old")
			j := jwtOf(t)
			require.NoError(t, j.Rotate(old))
			c := tokenOf(t, j, time.Hour)
			require.NoError(t, j.Rotate(hmacOf(t, "new")))
			return make(t, j), c, func() { act(t, j, c) }
		}
	}
	return []ending{
		{name: "a token is revoked, under " + under, is: []error{ErrPermission, ErrRevoked},
			set: set(func(t *testing.T, j *JWTSecurity, c Caller) {
				require.NoError(t, j.RevokeToken(tokenID(t, c), time.Time{}))
			})},
		{name: "a subject is revoked, under " + under, is: []error{ErrPermission, ErrRevoked},
			set: set(func(t *testing.T, j *JWTSecurity, _ Caller) { require.NoError(t, j.RevokeSubject(victim, time.Now())) })},
		{name: "a key is removed, under " + under, is: []error{ErrPermission, ErrRevoked},
			set: set(func(t *testing.T, j *JWTSecurity, _ Caller) { require.NoError(t, j.RemoveKey("old")) })},
		{name: "a token expires, under " + under, is: []error{ErrPermission, ErrExpired},
			set: set(func(*testing.T, *JWTSecurity, Caller) { later(time.Hour) })},
	}
}

// listEndings are the ways in which an entry of a list ends, under securities that ask the list.
func listEndings(under string, idle time.Duration, make func(*testing.T, *ACLSecurity) ChannelSecurity) []ending {
	set := func(act func(*testing.T, *ACLSecurity), entries ...ACLEntry) func(*testing.T) (ChannelSecurity, Caller, func()) {
		return func(t *testing.T) (ChannelSecurity, Caller, func()) {
			acl := aclOf(t, others()...)
			for _, e := range entries {
				if e.ExpiresAt.IsZero() {
					require.NoError(t, acl.Add(e))
					continue
				}
				e.ExpiresAt = time.Now().Add(time.Hour)
				require.NoError(t, acl.Add(e))
			}
			return make(t, acl), nil, func() { act(t, acl) }
		}
	}
	all := ACLEntry{SystemID: victim, Role: RoleWrite, AllChannels: true}
	here := ACLEntry{SystemID: victim, Role: RoleWrite, ChannelID: "room"}
	hour := all
	hour.ExpiresAt = time.Unix(1, 0) // an hour from when it is set
	is := []error{ErrPermission}
	return []ending{
		{"everything is taken, under " + under, set(func(t *testing.T, a *ACLSecurity) { require.True(t, a.Revoke(victim)) }, all, here), is, idle},
		{"the role is taken, under " + under, set(func(t *testing.T, a *ACLSecurity) {
			ok, err := a.RevokeRole(victim, RoleRead)
			require.True(t, ok && err == nil)
		}, all, here), is, idle},
		{"the channel is taken, under " + under, set(func(t *testing.T, a *ACLSecurity) {
			ok, err := a.RevokeOn(victim, RoleRead, "room")
			require.True(t, ok && err == nil)
		}, here), is, idle},
		{"the entry expires, under " + under, set(func(*testing.T, *ACLSecurity) { later(time.Hour) }, hour), is, idle},
	}
}

// callerEndings are what a caller's change can do.
func callerEndings() []ending {
	set := func(p Principal, err error) func(*testing.T) (ChannelSecurity, Caller, func()) {
		return func(t *testing.T) (ChannelSecurity, Caller, func()) {
			c := newSessionCaller(Principal{SystemID: victim})
			return aclOf(t, append(others(), ACLWrite(victim))...), c, func() { c.set(p, err) }
		}
	}
	narrow := &Grant{Role: RoleAdmin, Channels: []string{"elsewhere"}, ExpiresAt: time.Now().Add(1 << 62)}
	return []ending{
		{name: "the caller is kicked", set: set(Principal{}, ErrUnauthenticated), is: []error{ErrPermission, ErrUnauthenticated}},
		{name: "nobody can say any more who the caller is", set: set(Principal{}, ErrUndecided), is: []error{ErrUndecided}},
		{name: "the caller becomes somebody without a right", set: set(Principal{SystemID: "stranger"}, nil), is: []error{ErrPermission}},
		{name: "the caller's grant does not reach here any more", set: set(Principal{SystemID: victim, Grant: narrow}, nil), is: []error{ErrPermission, ErrGrant}},
		{name: "the caller's grant expires", is: []error{ErrPermission, ErrExpired}, set: func(t *testing.T) (ChannelSecurity, Caller, func()) {
			g := &Grant{Role: RoleWrite, AllChannels: true, ExpiresAt: time.Now().Add(time.Hour)}
			return yesSecurity{}, StaticCaller(Principal{SystemID: victim, Grant: g}), func() { later(time.Hour) }
		}},
	}
}

const yesInThePast = "a yes is in the past"

// decisionEndings are what a Decider can say.
func decisionEndings() []ending {
	set := func(d Decision, versioned bool) func(*testing.T) (ChannelSecurity, Caller, func()) {
		return func(t *testing.T) (ChannelSecurity, Caller, func()) {
			var ended atomic.Bool
			decide := func(req Request) (Decision, error) {
				if req.Principal.SystemID == victim && ended.Load() {
					return Decision{Reason: "ended"}, nil
				}
				yes := d
				yes.Allowed = true
				return yes, nil
			}
			if !versioned {
				return &decided{decide: decide}, nil, func() { ended.Store(true) }
			}
			z := &versionedDecided{decided: decided{decide: decide}}
			return z, nil, func() { ended.Store(true); z.bump() }
		}
	}
	return []ending{
		{"a decision changes", set(Decision{}, true), []error{ErrPermission}, 0},
		{"a decision for one message only changes", set(Decision{PerMessage: true}, true), []error{ErrPermission}, 0},
		{"a decision changes that has no version", set(Decision{}, false), []error{ErrPermission}, time.Second},
		{"a decision for one message only changes that has no version", set(Decision{PerMessage: true}, false), []error{ErrPermission}, time.Second},
		{"a decision's time is over and the next is a no", func(t *testing.T) (ChannelSecurity, Caller, func()) {
			end := time.Now().Add(time.Hour)
			z := &versionedDecided{decided: decided{decide: func(req Request) (Decision, error) {
				if req.Principal.SystemID != victim {
					return Decision{Allowed: true}, nil
				}
				return Decision{Allowed: time.Now().Before(end), Until: end}, nil
			}}}
			return z, nil, func() { later(time.Hour) }
		}, []error{ErrPermission}, 0},
		{"a decision's time is over and the next is none", func(t *testing.T) (ChannelSecurity, Caller, func()) {
			end := time.Now().Add(time.Hour)
			z := &versionedDecided{decided: decided{decide: func(req Request) (Decision, error) {
				switch {
				case req.Principal.SystemID != victim:
					return Decision{Allowed: true}, nil
				case !time.Now().Before(end):
					return Decision{}, errors.New("directory down")
				}
				return Decision{Allowed: true, Until: end}, nil
			}}}
			return z, nil, func() { later(time.Hour) }
		}, []error{ErrUndecided}, 0},
		{yesInThePast, func(t *testing.T) (ChannelSecurity, Caller, func()) {
			end := time.Now().Add(time.Hour)
			z := &versionedDecided{decided: decided{decide: func(req Request) (Decision, error) {
				if req.Principal.SystemID != victim {
					return Decision{Allowed: true}, nil
				}
				return Decision{Allowed: true, Until: end}, nil
			}}}
			return z, nil, func() { later(time.Hour) }
		}, []error{ErrPermission, ErrExpired}, 0},
	}
}

func endings() []ending {
	list := slices.Concat(
		listEndings("the list", 0, func(_ *testing.T, a *ACLSecurity) ChannelSecurity { return a }),
		listEndings("a decorator of the list", time.Second, func(_ *testing.T, a *ACLSecurity) ChannelSecurity { return onlyFive{a} }),
		listEndings("JWT with the list for in-process ports", time.Second, func(t *testing.T, a *ACLSecurity) ChannelSecurity { return jwtOf(t, JWTLocal(a)) }),
		listEndings("JWT with a decorator of the list for in-process ports", time.Second, func(t *testing.T, a *ACLSecurity) ChannelSecurity { return jwtOf(t, JWTLocal(onlyFive{a})) }),
		jwtEndings("JWT", func(_ *testing.T, j *JWTSecurity) ChannelSecurity { return j }),
		jwtEndings("a decorator of JWT", func(_ *testing.T, j *JWTSecurity) ChannelSecurity { return onlyFive{j} }),
		jwtEndings("JWT joined with a list", func(t *testing.T, j *JWTSecurity) ChannelSecurity {
			z, err := Join(j, aclOf(t, append(others(), ACLWrite(victim))...), j)
			require.NoError(t, err)
			return z
		}),
		jwtEndings("JWT joined with a decorator of a list", func(t *testing.T, j *JWTSecurity) ChannelSecurity {
			z, err := Join(onlyFive{j}, onlyFive{aclOf(t, append(others(), ACLWrite(victim))...)}, j)
			require.NoError(t, err)
			return z
		}),
		jwtEndings("a custom yes", func(*testing.T, *JWTSecurity) ChannelSecurity { return yesSecurity{} }),
		callerEndings(), decisionEndings())
	return append(list, ending{
		name: "the list is asked by a token, and the entry is taken", is: []error{ErrPermission},
		set: func(t *testing.T) (ChannelSecurity, Caller, func()) {
			j, acl := jwtOf(t), aclOf(t, append(others(), ACLWrite(victim))...)
			z, err := Join(j, acl, j)
			require.NoError(t, err)
			return z, tokenOf(t, j, time.Hour), func() { require.True(t, acl.Revoke(victim)) }
		}})
}

// victimOf opens a channel and the victim's port.
func (e ending) open(t *testing.T, k anyKind, opts ...Option) (ch anyChannel, port anyPort, end func()) {
	z, caller, end := e.set(t)
	ch = k.started(t, append(opts, WithSecurity(z))...)
	if caller != nil {
		return ch, ch.of(caller), end
	}
	return ch, ch.as(victim), end
}

// requireEnds requires the error that ends what was held.
func (e ending) requireEnds(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, ErrRevoked)
	var revoked *RevokedError
	require.ErrorAs(t, err, &revoked)
	require.False(t, revoked.At.IsZero())
	require.NotEmpty(t, revoked.Error())
	for _, is := range e.is {
		require.ErrorIs(t, err, is)
	}
	if !slices.Contains(e.is, ErrUndecided) {
		require.NotErrorIs(t, err, ErrUndecided)
	} else {
		require.NotErrorIs(t, err, ErrPermission)
	}
}

// collector follows a lease on a goroutine.
type collector struct {
	mu   sync.Mutex
	got  []string
	last error
	done chan struct{}
}

func collect(ctx context.Context, lease Lease[string]) *collector {
	c := &collector{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for m, err := range lease.Messages(ctx) {
			c.mu.Lock()
			if err == nil {
				c.got = append(c.got, m.Content)
			}
			c.last = err
			c.mu.Unlock()
		}
	}()
	return c
}

func (c *collector) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func (c *collector) err() error {
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Law 1, for every way in which a right can end, and for whatever is held.
func TestNothingReachesWhoseRightHasEnded(t *testing.T) {
	for _, e := range endings() {
		t.Run(e.name, func(t *testing.T) {
			for _, k := range []anyKind{aBroadcast, aPassthrough, aMailbox} {
				t.Run("on a busy lease of a "+k.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { e.busyLease(t, k) })
				})
			}
			t.Run("on an idle lease", func(t *testing.T) { synctest.Test(t, e.idleLease) })
			t.Run("on a callback", func(t *testing.T) { synctest.Test(t, e.callback) })
			t.Run("in a read", func(t *testing.T) { synctest.Test(t, e.read) })
			t.Run("in a read that is under way", func(t *testing.T) { synctest.Test(t, e.readUnderWay) })
			t.Run("in a lease that fetched it", func(t *testing.T) { synctest.Test(t, e.fetched) })
			t.Run("in claims", func(t *testing.T) { synctest.Test(t, e.claims) })
			t.Run("in a claim that is under way", func(t *testing.T) { synctest.Test(t, e.claimUnderWay) })
			t.Run("in a wait for a claim", func(t *testing.T) { synctest.Test(t, e.waiting) })
		})
	}
}

func write(t *testing.T, ch anyChannel, list ...string) {
	t.Helper()
	for _, m := range list {
		_, err := ch.as("w").Write(t.Context(), m)
		require.NoError(t, err)
	}
}

func subscribe(t *testing.T, p anyPort) Lease[string] {
	t.Helper()
	lease, err := p.(Subscriber[string]).Subscribe(t.Context())
	require.NoError(t, err)
	return lease
}

func (e ending) busyLease(t *testing.T, k anyKind) {
	ch, port, end := e.open(t, k)
	lease := subscribe(t, port)
	mine, theirs := collect(t.Context(), lease), collect(t.Context(), subscribe(t, ch.as("other")))
	write(t, ch, "1", "2")
	synctest.Wait()
	end()
	write(t, ch, "3", "4") // nothing settles in between
	synctest.Wait()
	require.Equal(t, []string{"1", "2"}, mine.all())
	ended := time.Now()
	e.requireEnds(t, mine.err())
	require.Equal(t, ended, time.Now(), "at once")
	require.Equal(t, mine.err(), lease.Err())
	if timer := lease.(interface{ deadline() *time.Timer }).deadline(); timer != nil {
		require.False(t, timer.Stop(), "nothing is left to look at")
	}
	require.Equal(t, []string{"1", "2", "3", "4"}, theirs.all(), "those who are still allowed lose nothing")
}

// deadline is the timer of a lease, if it has one.
func (l *lease[T]) deadline() *time.Timer { return l.watch.timer }

func (e ending) idleLease(t *testing.T) {
	ch, port, end := e.open(t, aBroadcast)
	lease, theirs := subscribe(t, port), subscribe(t, ch.as("other"))
	end()
	synctest.Wait()
	if e.idle > 0 {
		pass(e.idle)
	}
	select {
	case <-lease.Done():
	default:
		require.Fail(t, "the lease lives on")
	}
	e.requireEnds(t, lease.Err())
	require.NoError(t, theirs.Err())
	write(t, ch, "1")
	for _, err := range lease.Messages(t.Context()) {
		require.Equal(t, lease.Err(), err)
	}
}

func (e ending) callback(t *testing.T) {
	ch, port, end := e.open(t, aBroadcast)
	var got []string
	lease, err := port.(Subscriber[string]).SubscribeFunc(t.Context(), func(_ context.Context, m Message[string]) error {
		if got = append(got, m.Content); m.Content == "2" {
			end() // 3 is in the lease's hands already
			write(t, ch, "4")
		}
		return nil
	})
	require.NoError(t, err)
	synctest.Wait()
	write(t, ch, "1", "2", "3")
	<-lease.Done()
	synctest.Wait()
	require.NotContains(t, got, "4")
	require.Equal(t, []string{"1", "2"}, got[:2])
	e.requireEnds(t, lease.Err())
}

func (e ending) read(t *testing.T) {
	ch, port, end := e.open(t, aBroadcast)
	write(t, ch, "1", "2")
	m, err := port.(Reader[string]).Read(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, contents(m))
	end()
	_, err = port.(Reader[string]).Read(t.Context(), 1)
	if e.name == yesInThePast {
		require.NoError(t, err, "good for the one operation it was given for")
	} else {
		for _, is := range e.is {
			require.ErrorIs(t, err, is)
		}
	}
	m, err = ch.as("other").(Reader[string]).Read(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2"}, contents(m))
}

// The right ends, and a message is written, after the read was allowed and before the driver is asked.
func (e ending) readUnderWay(t *testing.T) {
	s := newSpy()
	ch, port, end := e.open(t, aBroadcast, s.option())
	write(t, ch, "1")
	s.before("Reader.Next", once(func() { end(); write(t, ch, "2") }))
	m, err := port.(Reader[string]).Read(t.Context(), 10)
	if e.name == yesInThePast {
		require.NoError(t, err, "good for the one operation, for which it was asked again")
		return
	}
	require.Error(t, err)
	require.Empty(t, m)

	// What was fetched counts as unread, for who gets the right back.
	require.Contains(t, driverCalls(s.noted()), "Reader.Next")
	require.NotContains(t, driverCalls(s.noted()), "Reader.Commit")
}

// The right ends, and a message is written, after the lease asked the driver and before it has the answer.
func (e ending) fetched(t *testing.T) {
	s := newSpy()
	ch, port, end := e.open(t, aBroadcast, s.option())
	lease := subscribe(t, port)
	write(t, ch, "1")
	s.before("Reader.Next", once(func() { end(); write(t, ch, "2") }))
	var got []string
	for m, err := range lease.Messages(t.Context()) {
		if err != nil {
			e.requireEnds(t, err)
			break
		}
		got = append(got, m.Content)
	}
	require.NotContains(t, got, "2")
}

func (e ending) claims(t *testing.T) {
	ch, port, end := e.open(t, aWorkQueue, WithClaimTimeout(24*time.Hour))
	write(t, ch, "1", "2", "3")
	mine, err := port.(Worker[string]).Claim(t.Context(), 2)
	require.NoError(t, err)
	require.Len(t, mine, 2)
	theirs, err := ch.as("other").(Worker[string]).Claim(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"3"}, claimed(theirs))
	end()
	synctest.Wait()
	if e.idle > 0 {
		pass(e.idle)
	}
	again, err := ch.as("other").(Worker[string]).Claim(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2"}, claimed(again), "they are back before their time is over")
	require.EqualValues(t, 2, again[0].Attempt)

	require.Error(t, mine[0].Acknowledge(t.Context()), "late")
	_, _ = port.(Worker[string]).Nack(t.Context(), mine[1].Receipt(), Receipt{ID: mine[1].Message.ID})
	for _, c := range append(again, theirs...) {
		require.NoError(t, c.Acknowledge(t.Context()), "the new holder's claim is untouched")
	}
	n, err := ch.as("boss").Len(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func claimed(claims []Claim[string]) (list []string) {
	for _, c := range claims {
		list = append(list, c.Message.Content)
	}
	return list
}

// The right ends after the claim was allowed and before the driver is asked.
func (e ending) claimUnderWay(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		s := newSpy()
		ch, port, end := e.open(t, aWorkQueue, s.option())
		write(t, ch, "1", "2")
		s.hook(when+" Claim", once(end))
		got, err := port.(Worker[string]).Claim(t.Context(), 1)
		require.Error(t, err)
		require.Empty(t, got)
		theirs, err := ch.as("other").(Worker[string]).Claim(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, []string{"1", "2"}, claimed(theirs), "given back at once")
		if !strings.Contains(e.name, "expires") && !strings.Contains(e.name, "time is over") {
			continue
		}
		return // time cannot be turned back for a second channel
	}
}

func (e ending) waiting(t *testing.T) {
	ch, port, end := e.open(t, aWorkQueue, WithClaimTimeout(24*time.Hour))
	type result struct {
		c   Claim[string]
		err error
	}
	got := make(chan result, 1)
	go func() {
		c, err := port.(Worker[string]).ClaimNext(t.Context())
		got <- result{c, err}
	}()
	synctest.Wait()
	end()
	if e.idle == 0 {
		synctest.Wait() // and with nothing to claim
	} else {
		write(t, ch, "1")
	}
	if e.idle > 0 {
		pass(e.idle)
	}
	r := <-got
	for _, is := range e.is {
		require.ErrorIs(t, r.err, is)
	}
	require.Empty(t, r.c.Message.Content)
	if e.idle == 0 {
		write(t, ch, "1")
	}
	c, err := ch.as("other").(Worker[string]).ClaimNext(t.Context())
	require.NoError(t, err)
	require.Equal(t, "1", c.Message.Content)
}

// What is not the victim's right may change as it likes.
func TestChangesThatLeaveARightAloneLoseNothing(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(*testing.T) (ChannelSecurity, Caller, func())
	}{
		{"somebody else loses theirs", func(t *testing.T) (ChannelSecurity, Caller, func()) {
			acl := aclOf(t, append(others(), ACLWrite(victim, "x"))...)
			return acl, nil, func() { acl.Revoke("x") }
		}},
		{"a role that is not needed is taken", func(t *testing.T) (ChannelSecurity, Caller, func()) {
			acl := aclOf(t, append(others(), ACLAdmin(victim), ACLRead(victim))...)
			return acl, nil, func() { _, _ = acl.RevokeRole(victim, RoleAdmin) }
		}},
		{"another token of the subject is revoked", func(t *testing.T) (ChannelSecurity, Caller, func()) {
			j := jwtOf(t)
			mine, other := tokenOf(t, j, time.Hour), tokenOf(t, j, time.Hour)
			return j, mine, func() { require.NoError(t, j.RevokeToken(tokenID(t, other), time.Time{})) }
		}},
		{"another key is removed", func(t *testing.T) (ChannelSecurity, Caller, func()) {
			j := jwtOf(t, JWTKeys(hmacOf(t, "k2")))
			return j, tokenOf(t, j, time.Hour), func() { _ = j.RemoveKey("k2") }
		}},
		{"the caller renews their grant before the old one ends", func(t *testing.T) (ChannelSecurity, Caller, func()) {
			j := jwtOf(t)
			old, err := tokenOf(t, j, time.Hour).Principal()
			require.NoError(t, err)
			c := newSessionCaller(old)
			return j, c, func() {
				fresh, err := tokenOf(t, j, 3*time.Hour).Principal()
				require.NoError(t, err)
				c.set(fresh, nil)
				pass(2 * time.Hour)
			}
		}},
		{"a decision's time is over and the next is a yes", func(t *testing.T) (ChannelSecurity, Caller, func()) {
			z := &versionedDecided{decided: decided{decide: func(Request) (Decision, error) {
				return Decision{Allowed: true, Until: time.Now().Add(time.Minute)}, nil
			}}}
			return z, nil, func() { pass(time.Hour) }
		}},
		{"a security without a version says yes again and again", func(t *testing.T) (ChannelSecurity, Caller, func()) {
			return yesSecurity{}, nil, func() { pass(time.Hour) }
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z, caller, change := row.set(t)
				ch := aPassthrough.started(t, WithSecurity(z), WithClaimTimeout(24*time.Hour))
				port := ch.as(victim)
				if caller != nil {
					port = ch.of(caller)
				}
				mine := collect(t.Context(), subscribe(t, port))
				write(t, ch, "1", "2")
				held, err := port.(Worker[string]).Claim(t.Context(), 1)
				require.NoError(t, err)
				change()
				write(t, ch, "3")
				synctest.Wait()
				change()
				write(t, ch, "4")
				synctest.Wait()
				require.Equal(t, []string{"1", "2", "3", "4"}, mine.all())
				rest, err := ch.as("other").(Worker[string]).Claim(t.Context(), 10)
				require.NoError(t, err)
				require.Equal(t, []string{"2", "3", "4"}, claimed(rest), "the claim is still held")
				require.NoError(t, held[0].Acknowledge(t.Context()))
			})
		})
	}
}

// A lease on a broadcast is not bound to a name; mail and claims are.
func TestCallerThatBecomesAnotherWhoMayAsWell(t *testing.T) {
	set := func(t *testing.T, k anyKind) (anyChannel, anyPort, func()) {
		c := newSessionCaller(Principal{SystemID: victim})
		ch := k.started(t, WithSecurity(aclOf(t, ACLWrite("w", victim, "heir"))))
		return ch, ch.of(c), func() { c.set(Principal{SystemID: "heir"}, nil) }
	}
	t.Run("keeps a lease on a broadcast", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch, port, change := set(t, aBroadcast)
			mine := collect(t.Context(), subscribe(t, port))
			write(t, ch, "1")
			change()
			write(t, ch, "2")
			synctest.Wait()
			require.Equal(t, []string{"1", "2"}, mine.all())
		})
	})
	t.Run("loses a lease on a mailbox", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch, port, change := set(t, aMailbox)
			lease := subscribe(t, port)
			mine := collect(t.Context(), lease)
			write(t, ch, "1")
			synctest.Wait()
			change()
			write(t, ch, "2")
			require.ErrorIs(t, mine.err(), ErrRevoked)
			require.ErrorIs(t, mine.err(), ErrPermission)
			require.Equal(t, []string{"1"}, mine.all())
		})
	})
	t.Run("loses claims", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch, port, change := set(t, aWorkQueue)
			write(t, ch, "1")
			mine, err := port.(Worker[string]).Claim(t.Context(), 1)
			require.NoError(t, err)
			change()
			synctest.Wait()
			theirs, err := ch.as("w").(Worker[string]).Claim(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, []string{"1"}, claimed(theirs))
			require.ErrorIs(t, mine[0].Acknowledge(t.Context()), ErrClaimLost)
		})
	})
	t.Run("loses a read that is under way, which would move another's place", func(t *testing.T) {
		s := newSpy()
		c := newSessionCaller(Principal{SystemID: victim})
		ch := aBroadcast.started(t, WithSecurity(aclOf(t, ACLWrite("w", victim, "heir"))), s.option())
		write(t, ch, "1")
		s.before("Reader.Next", once(func() { c.set(Principal{SystemID: "heir"}, nil) }))
		_, err := ch.of(c).(Reader[string]).Read(t.Context(), 1)
		require.ErrorIs(t, err, ErrPermission)
		require.ErrorIs(t, err, ErrRevoked)
		m, err := ch.of(c).(Reader[string]).Read(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []string{"1"}, contents(m))
	})
}

// Many refreshes of one session make one worker, not one each.
func TestRefreshedCallerStaysOneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := jwtOf(t)
		p, err := tokenOf(t, j, time.Hour).Principal()
		require.NoError(t, err)
		c := newSessionCaller(p)
		ch := aWorkQueue.started(t, WithSecurity(j), WithMaxReaders(1))
		port := ch.of(c).(Worker[string])
		for range 3 {
			_, err := port.Claim(t.Context(), 1)
			require.NoError(t, err)
			p, err := tokenOf(t, j, time.Hour).Principal()
			require.NoError(t, err)
			c.set(p, nil)
			synctest.Wait()
		}
	})
}

// The authorizer of Join may be of any type, and so may its other parts.
func TestLeaseUnderASecurityThatCannotBeAMapKey(t *testing.T) {
	acl := aclOf(t, ACLWrite("w"))
	z, err := Join(directory{}, acl, acl)
	require.NoError(t, err)
	ch := aBroadcast.started(t, WithSecurity(z))
	subscribe(t, ch.as("w"))
}

// directory is an authenticator by a table.
type directory map[string]string

func (d directory) Authenticate(_ context.Context, token string) (Principal, error) {
	return Principal{SystemID: d[token]}, nil
}

// Between the decision of a subscription and the lease's place on the list of what is watched, anything may happen.
func TestRightThatEndsWhileItIsBeingSubscribed(t *testing.T) {
	for _, e := range endings() {
		t.Run(e.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSpy()
				ch, port, end := e.open(t, aBroadcast, s.option())
				s.before("Open", once(end))
				lease, err := port.(Subscriber[string]).Subscribe(t.Context())
				require.Nil(t, lease)
				e.requireEnds(t, err)
				require.Contains(t, driverCalls(s.noted()), "Reader.Close", "the reader is given up")
				_ = ch
			})
		})
	}
}

// A caller may come to depend on another security than at first.
func TestWhatARefreshedCallerDependsOnIsLookedOutFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := jwtOf(t), jwtOf(t)
		p, err := tokenOf(t, old, time.Hour).Principal()
		require.NoError(t, err)
		c := newSessionCaller(p)
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
		lease := subscribe(t, ch.of(c))
		p, err = tokenOf(t, fresh, time.Hour).Principal()
		require.NoError(t, err)
		c.set(p, nil)
		synctest.Wait()
		require.NoError(t, old.RevokeSubject(victim, time.Now()))
		synctest.Wait()
		require.NoError(t, lease.Err(), "the old token does not count any more")
		require.NoError(t, fresh.RevokeSubject(victim, time.Now()))
		synctest.Wait()
		require.ErrorIs(t, lease.Err(), ErrRevoked)
	})
}

// An Authorizer that hangs is given up, and what rests on it ends.
func TestRecheckThatHangsEndsWhatRestsOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hang atomic.Bool
		z := hanging{hang: &hang}
		ch := aBroadcast.started(t, WithSecurity(z))
		lease := subscribe(t, ch.as(victim))
		hang.Store(true)
		pass(recheckInterval)
		require.NoError(t, lease.Err(), "it is being asked")
		pass(recheckTimeout)
		require.ErrorIs(t, lease.Err(), ErrRevoked)
		require.ErrorIs(t, lease.Err(), ErrUndecided)
		require.ErrorIs(t, lease.Err(), context.DeadlineExceeded)
	})
}

type hanging struct {
	yesSecurity
	hang *atomic.Bool
}

func (h hanging) AuthorizeRead(ctx context.Context, _, _ string) (bool, error) {
	if h.hang.Load() {
		<-ctx.Done()
		return true, ctx.Err()
	}
	return true, nil
}

// A message may be meant for some only. The others pass over it and go on.
func TestDecisionsForOneMessageOnly(t *testing.T) {
	secret := func(req Request) (Decision, error) {
		m := req.Message
		ok := m == nil || req.Operation == OpWrite || m.Content != "secret" || req.Principal.SystemID == "boss"
		return Decision{Allowed: ok, PerMessage: true}, nil
	}
	for name, z := range map[string]func() ChannelSecurity{
		"without a version": func() ChannelSecurity { return &decided{decide: secret} },
		"with a version":    func() ChannelSecurity { return &versionedDecided{decided: decided{decide: secret}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("leases", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ch := aBroadcast.started(t, WithSecurity(z()))
					theirs, boss := collect(t.Context(), subscribe(t, ch.as("x"))), collect(t.Context(), subscribe(t, ch.as("boss")))
					write(t, ch, "1", "secret", "2", "secret", "secret", "3")
					synctest.Wait()
					require.Equal(t, []string{"1", "2", "3"}, theirs.all())
					require.Equal(t, []string{"1", "secret", "2", "secret", "secret", "3"}, boss.all())
				})
			})
			t.Run("reads, which are filled up", func(t *testing.T) {
				ch := aBroadcast.started(t, WithSecurity(z()))
				write(t, ch, "1", "secret", "2", "secret", "secret", "3", "4")
				r := ch.as("x").(Reader[string])
				m, err := r.Read(t.Context(), 3)
				require.NoError(t, err)
				require.Equal(t, []string{"1", "2", "3"}, contents(m))
				m, err = r.Read(t.Context(), 3)
				require.NoError(t, err)
				require.Equal(t, []string{"4"}, contents(m))
			})
			t.Run("claims, where the others are left for others", func(t *testing.T) {
				ch := aWorkQueue.started(t, WithSecurity(z()))
				write(t, ch, "1", "secret", "2")
				mine, err := ch.as("x").(Worker[string]).Claim(t.Context(), 3)
				require.NoError(t, err)
				require.Equal(t, []string{"1", "2"}, claimed(mine))
				theirs, err := ch.as("boss").(Worker[string]).Claim(t.Context(), 3)
				require.NoError(t, err)
				require.Equal(t, []string{"secret"}, claimed(theirs))
			})
		})
	}
}

func TestWorkerThatMayNotHaveTheOldestMessageGetsTheNext(t *testing.T) {
	z := &decided{decide: func(req Request) (Decision, error) {
		m := req.Message
		return Decision{Allowed: m == nil || req.Operation == OpWrite || m.Content != "secret", PerMessage: true}, nil
	}}
	s := newSpy()
	ch := aWorkQueue.started(t, WithSecurity(z), s.option())
	write(t, ch, "secret", "2")
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	s.after("Claim", func() {
		if n++; n == 100 {
			cancel()
		}
	})
	c, err := ch.as("x").(Worker[string]).ClaimNext(ctx)
	require.NoError(t, err)
	require.Equal(t, "2", c.Message.Content)
}

// Where everything there is was refused, a worker waits rather than asks on and on.
func TestWorkerThatMayHaveNothingOfWhatThereIs(t *testing.T) {
	set := func(t *testing.T) (ch anyChannel, allowed *atomic.Bool, asked *atomic.Int64) {
		allowed, asked = new(atomic.Bool), new(atomic.Int64)
		z := &decided{decide: func(req Request) (Decision, error) {
			asked.Add(1)
			m := req.Message
			ok := m == nil || req.Operation == OpWrite || m.Content != "secret" || allowed.Load() || req.Principal.SystemID == "boss"
			return Decision{Allowed: ok, PerMessage: true}, nil
		}}
		ch = aWorkQueue.started(t, WithSecurity(z), WithClaimTimeout(24*time.Hour))
		write(t, ch, "secret", "secret")
		return ch, allowed, asked
	}
	next := func(ctx context.Context, ch anyChannel) (got chan string, failed chan error) {
		got, failed = make(chan string, 1), make(chan error, 1)
		go func() {
			c, err := ch.as("x").(Worker[string]).ClaimNext(ctx)
			if err != nil {
				failed <- err
				return
			}
			got <- c.Message.Content
		}()
		synctest.Wait()
		return got, failed
	}
	for _, row := range []struct {
		name string
		act  func(*testing.T, anyChannel, *atomic.Bool)
		want string
	}{
		{"until it may", func(_ *testing.T, _ anyChannel, allowed *atomic.Bool) { allowed.Store(true) }, "secret"},
		{"until there is something else", func(t *testing.T, ch anyChannel, _ *atomic.Bool) { write(t, ch, "2") }, "2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ch, allowed, asked := set(t)
				got, _ := next(t.Context(), ch)
				pass(time.Minute)
				require.Empty(t, got)
				require.Less(t, asked.Load(), int64(1000))
				row.act(t, ch, allowed)
				pass(time.Second)
				require.Equal(t, row.want, <-got)
				theirs, err := ch.as("boss").(Worker[string]).Claim(t.Context(), 10)
				require.NoError(t, err)
				require.Contains(t, claimed(theirs), "secret", "what was refused is there for others meanwhile")
			})
		})
	}
	t.Run("until its context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch, _, _ := set(t)
			ctx, cancel := context.WithCancel(t.Context())
			_, failed := next(ctx, ch)
			cancel()
			require.ErrorIs(t, <-failed, context.Canceled)
		})
	})
}

// A decision for each message may fail for one, too.
func TestFailureToDecideOneMessage(t *testing.T) {
	down := errors.New("directory down")
	set := func(t *testing.T, k anyKind) (anyChannel, *atomic.Bool) {
		var broken atomic.Bool
		z := &decided{decide: func(req Request) (Decision, error) {
			if req.Message != nil && req.Message.Content == "2" && req.Operation != OpWrite && broken.Load() {
				return Decision{}, down
			}
			return Decision{Allowed: true, PerMessage: true}, nil
		}}
		broken.Store(true)
		ch := k.started(t, WithSecurity(z))
		write(t, ch, "1", "2", "3")
		return ch, &broken
	}
	t.Run("ends a read in front of it", func(t *testing.T) {
		ch, broken := set(t, aBroadcast)
		r := ch.as("x").(Reader[string])
		m, err := r.Read(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, []string{"1"}, contents(m), "what was allowed is handed out")
		_, err = r.Read(t.Context(), 10)
		require.ErrorIs(t, err, ErrUndecided)
		require.ErrorIs(t, err, down)
		broken.Store(false)
		m, err = r.Read(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, []string{"2", "3"}, contents(m), "and the rest is not lost")
	})
	t.Run("gives it back to the queue", func(t *testing.T) {
		ch, broken := set(t, aWorkQueue)
		w := ch.as("x").(Worker[string])
		mine, err := w.Claim(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []string{"1"}, claimed(mine))
		_, err = w.Claim(t.Context(), 1)
		require.ErrorIs(t, err, ErrUndecided)
		broken.Store(false)
		mine, err = w.Claim(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, []string{"2", "3"}, claimed(mine))
	})
}

// calledBy reports whether a function of the package is among the callers.
func calledBy(name string) bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "."+name) {
			return true
		}
		if !more {
			return false
		}
	}
}

// heirCaller becomes another between the fetching of a message and the decision about it, before the goroutine that follows
// callers noticed.
type heirCaller struct {
	*sessionCaller
	late chan struct{}
}

func (c heirCaller) Changed() <-chan struct{} {
	if calledBy("followCaller") {
		<-c.late
	}
	return c.sessionCaller.Changed()
}

func TestCallerThatBecomesAnotherLosesNoMessageThatEachIsDecidedFor(t *testing.T) {
	s := newSpy()
	c := heirCaller{newSessionCaller(Principal{SystemID: victim}), make(chan struct{})}
	z := &versionedDecided{decided: decided{decide: func(Request) (Decision, error) {
		return Decision{Allowed: true, PerMessage: true}, nil
	}}}
	ch := aBroadcast.started(t, WithSecurity(z), s.option())
	defer close(c.late)
	lease := subscribe(t, ch.of(c))
	write(t, ch, "1", "2")
	s.after("Reader.Next", once(func() { c.set(Principal{SystemID: "heir"}, nil) }))
	ctx, cancel := context.WithCancel(t.Context())
	s.after("Reader.Wake", cancel)
	var got []string
	for m, err := range lease.Messages(ctx) {
		if err != nil {
			break
		}
		got = append(got, m.Content)
	}
	require.Equal(t, []string{"1", "2"}, got)
}

func TestCallerThatBecomesAnotherDuringAReadLosesNoMessageThatEachIsDecidedFor(t *testing.T) {
	c := newSessionCaller(Principal{SystemID: victim})
	z := &decided{decide: func(req Request) (Decision, error) {
		if req.Operation == OpRead && req.Message != nil && req.Message.Content == "2" {
			c.set(Principal{SystemID: "heir"}, nil)
		}
		return Decision{Allowed: true, PerMessage: true}, nil
	}}
	ch := aBroadcast.started(t, WithSecurity(z))
	write(t, ch, "1", "2", "3")
	m, err := ch.of(c).(Reader[string]).Read(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2"}, contents(m))
	m, err = ch.as(victim).(Reader[string]).Read(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"3"}, contents(m))
}

// Being cut is final, also when the right comes back.
func TestCutIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acl := aclOf(t, append(others(), ACLWrite(victim))...)
		ch := aBroadcast.started(t, WithSecurity(acl))
		lease := subscribe(t, ch.as(victim))
		acl.Revoke(victim)
		synctest.Wait()
		cause := lease.Err()
		require.ErrorIs(t, cause, ErrRevoked)
		require.NoError(t, acl.Grant(victim, RoleWrite))
		write(t, ch, "1")
		synctest.Wait()
		for _, err := range lease.Messages(t.Context()) {
			require.Equal(t, cause, err)
		}
		require.NoError(t, lease.Close())
		require.Equal(t, cause, lease.Err(), "and the reason is the first")
		collect(t.Context(), subscribe(t, ch.as(victim)))
	})
}

// What is fine goes on while another is cut, wherever they stand on the list of what is watched, which is walked in parts.
func TestRevocationAmongManyCutsThoseOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acl := aclOf(t, ACLWrite("w"))
		ch := aBroadcast.started(t, WithSecurity(acl))
		const n = 1000
		leases := make([]Lease[string], n)
		for i := range leases {
			name := fmt.Sprint("r", i%10)
			require.NoError(t, acl.Grant(name, RoleRead))
			leases[i] = subscribe(t, ch.as(name))
		}
		require.NoError(t, leases[n-1].Close())
		require.NoError(t, leases[0].Close())
		acl.Revoke("r3")
		acl.Revoke("r9")
		synctest.Wait()
		for i, lease := range leases {
			switch {
			case i == 0 || i == n-1:
				require.ErrorIs(t, lease.Err(), ErrClosed)
			case i%10 == 3 || i%10 == 9:
				require.ErrorIs(t, lease.Err(), ErrRevoked, "lease %d", i)
			default:
				require.NoError(t, lease.Err(), "lease %d", i)
			}
		}
	})
}

// affecting is a security that knows whom its last change was about.
type affecting struct {
	*versionedDecided
	systemID string
}

func (a *affecting) AffectedSince(uint64) []string { return []string{a.systemID} }

func TestThoseWhomAChangeIsAboutAreLookedAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []string
		z := &affecting{&versionedDecided{decided: decided{decide: func(req Request) (Decision, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, req.Principal.SystemID)
			return Decision{Allowed: true}, nil
		}}}, "r150"}
		ch := aBroadcast.started(t, WithSecurity(z))
		for i := range 300 {
			subscribe(t, ch.as(fmt.Sprint("r", i)))
		}
		synctest.Wait()
		asked = nil
		z.bump()
		synctest.Wait()
		require.Equal(t, "r150", asked[0])
		require.Len(t, asked, 300, "and then everybody else, once")
	})
}

// A source whose change channel stays closed, and a caller of that kind, are looked at once a second.
func TestSourceThatHasAlwaysChangedIsLookedAtNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, revoked atomic.Int64
		always := make(chan struct{})
		close(always)
		z := alwaysChanged{version: &revoked, asked: &asked, always: always}
		ch := aBroadcast.started(t, WithSecurity(z))
		lease, follower := subscribe(t, ch.as(victim)), subscribe(t, ch.of(alwaysCaller{&revoked, always}))
		pass(10*time.Second - time.Millisecond)
		require.NoError(t, lease.Err())
		require.Less(t, asked.Load(), int64(100), "it is not asked in a loop")
		revoked.Store(1)
		pass(time.Second)
		require.ErrorIs(t, lease.Err(), ErrRevoked)
		require.ErrorIs(t, follower.Err(), ErrRevoked)
		subscribe(t, ch.as("other"))
	})
}

type alwaysChanged struct {
	yesSecurity
	version *atomic.Int64
	asked   *atomic.Int64
	always  chan struct{}
}

func (a alwaysChanged) AuthorizeRead(_ context.Context, systemID, _ string) (bool, error) {
	a.asked.Add(1)
	return systemID != victim || a.version.Load() == 0, nil
}
func (a alwaysChanged) Version() uint64          { return uint64(a.version.Load()) }
func (a alwaysChanged) Changed() <-chan struct{} { return a.always }

type alwaysCaller struct {
	kicked *atomic.Int64
	always chan struct{}
}

func (c alwaysCaller) Principal() (Principal, error) {
	if c.kicked.Load() > 0 {
		return Principal{}, ErrUnauthenticated
	}
	return Principal{SystemID: "caller"}, nil
}
func (c alwaysCaller) Changed() <-chan struct{} { return c.always }

// The end of a channel is not a revocation, whatever is being asked at that moment.
func TestChannelThatClosesWhileALeaseIsLookedAt(t *testing.T) {
	s := newSpy()
	ch := aPassthrough.started(t, WithSecurity(yesSecurity{}), s.option())
	write(t, ch, "1", "2")
	// The first thing to be cut takes its time, so that the lease is not yet.
	_, err := ch.as("x").(Worker[string]).Claim(t.Context(), 1)
	require.NoError(t, err)
	m, err := ch.as("y").(Reader[string]).Read(t.Context(), 1)
	require.NoError(t, err)
	lease, err := ch.as(victim).(Subscriber[string]).SubscribeAfter(t.Context(), m[0].ID)
	require.NoError(t, err)
	write(t, ch, "3", "4")
	closing, done := make(chan struct{}), make(chan error)
	s.before("Release", func() { close(closing); <-lease.Done() })
	for m, err := range lease.Messages(t.Context()) {
		if err != nil {
			require.ErrorIs(t, err, ErrClosed)
			require.NotErrorIs(t, err, ErrRevoked)
			break
		}
		if m.Content == "3" {
			go func() { done <- ch.Close() }()
			<-closing
		}
	}
	require.NoError(t, <-done)
}

// A yes may be over before the lease it was given for is on the list of what is watched. The list of the others stays whole.
func TestLeaseThatIsCutBeforeItIsWatchedLeavesOthersAlone(t *testing.T) {
	// With one processor, whoever opens the way passes before whoever waits for it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	acl := aclOf(t, ACLRead("neighbour"))
	var ch anyChannel
	asked := 0
	z := &versionedDecided{}
	z.decide = func(req Request) (Decision, error) {
		if req.Principal.SystemID != victim {
			ok, err := acl.AuthorizeRead(t.Context(), req.Principal.SystemID, req.ChannelID)
			return Decision{Allowed: ok}, err
		}
		switch asked++; asked {
		case 1:
			return Decision{Allowed: true, Until: time.Now().Add(time.Millisecond)}, nil
		case 2:
			ch.watched.mu.Unlock()
		}
		return Decision{}, nil
	}
	ch = aBroadcast.started(t, WithSecurity(z))
	neighbour := subscribe(t, ch.as("neighbour"))
	ch.watched.mu.Lock()
	_, err := ch.as(victim).(Subscriber[string]).Subscribe(t.Context())
	require.ErrorIs(t, err, ErrRevoked)
	require.True(t, len(ch.watched.list) == 1 && ch.watched.list[0] == neighbour.(*lease[string]).watch, "the neighbour alone is on the list")
	acl.Revoke("neighbour")
	z.bump()
	<-neighbour.Done()
}

// Whoever is asked or told during a recheck may act on it at once.
func TestAuditSinkMayCloseTheLeaseItIsToldOf(t *testing.T) {
	acl := aclOf(t, append(others(), ACLWrite(victim))...)
	var lease Lease[string]
	ch := aBroadcast.started(t, WithSecurity(acl), WithAudit(AuditFunc(func(_ context.Context, e Event) error {
		if e.Outcome == Denied {
			return lease.Close()
		}
		return nil
	})))
	lease = subscribe(t, ch.as(victim))
	acl.Revoke(victim)
	<-lease.Done()
}
