package authn_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// live is a caller that changes.
type live struct {
	mu        sync.Mutex
	principal chansec.Principal
	err       error
	changed   chan struct{}
}

func newLive(name string) *live {
	return &live{principal: chansec.Principal{SystemID: name, Proof: "test"}, changed: make(chan struct{})}
}

func (c *live) Principal() (chansec.Principal, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.principal, c.err
}

func (c *live) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *live) become(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.principal.SystemID, c.err = name, err
	close(c.changed)
	c.changed = make(chan struct{})
}

// permissions is who may do what; a permission can be taken away.
type permissions struct {
	mu     sync.Mutex
	held   map[string]bool // of "name PERMISSION"
	broken error
}

func (p *permissions) permits(who chansec.Principal, permission string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[who.SystemID+" "+permission], p.broken
}

func (p *permissions) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func permissionsOf(names ...string) *permissions {
	p := &permissions{held: map[string]bool{}}
	for _, name := range names {
		p.held[name+" "+authn.PermissionAuthenticate] = true
		p.held[name+" "+authn.PermissionRegisterHandler] = true
	}
	return p
}

// noticed is a handler that is told when it is closed.
type noticed struct {
	authn.Handler
	closed []error
}

func (n *noticed) Closed(cause error) { n.closed = append(n.closed, cause) }

// controlled makes a chain with the control handler "c" before one that allows.
func controlled(t *testing.T, permits authn.Permits) (*authn.Controls, *authn.Chain) {
	controls, err := authn.NewControls(permits, "c")
	require.NoError(t, err)
	t.Cleanup(func() { _ = controls.Close() })
	c, err := authn.NewChain(authn.Config{Handlers: []authn.Entry{controls.Entry("c"), {Name: "last", Handler: says(authn.Allow)}}})
	require.NoError(t, err)
	return controls, c
}

func register(t *testing.T, c *authn.Controls, who authn.Registrant, h authn.Handler) *authn.Registration {
	r, err := c.Register(who, "c", h)
	require.NoError(t, err)
	return r
}

// decider is who lets alice in, or refuses her.
func decider(t *testing.T, c *authn.Chain) string {
	login, err := c.Login(t.Context(), alice)
	if err != nil {
		return refused(t, err).By
	}
	return login.By
}

func TestAControlHandlerComesAndGoes(t *testing.T) {
	t.Parallel()
	controls, c := controlled(t, everybodyMay)
	require.Equal(t, "last", decider(t, c), "nobody has registered")
	h := &noticed{Handler: says(authn.Deny)}
	r := register(t, controls, registrant("s"), h)
	require.NoError(t, r.Err())
	require.Equal(t, "c", decider(t, c))
	_, err := c.Login(t.Context(), alice)
	require.Equal(t, `"s": deny`, refused(t, err).Votes[0].Reason, "the trail knows who spoke for the name")
	r.Close()
	r.Close()
	<-r.Done()
	require.ErrorIs(t, r.Err(), authn.ErrUnregistered)
	require.Equal(t, "last", decider(t, c))
	require.Equal(t, []error{r.Err()}, h.closed, "it is told once")
	register(t, controls, registrant("s"), h)
	require.Equal(t, "c", decider(t, c), "and may come again")
}

func TestWhoMayRegister(t *testing.T) {
	t.Parallel()
	closed := errors.New("the session is closed")
	bounded := func(g chansec.Grant) authn.Registrant {
		return authn.Registrant{ID: "s", Caller: chansec.StaticCaller(chansec.Principal{SystemID: "both", Grant: &g})}
	}
	hour := time.Now().Add(time.Hour)
	for _, row := range []struct {
		name     string
		who      authn.Registrant
		under    string
		is       error
		access   string // what is missing
		register int    // how often before; the last one is looked at
	}{
		{name: "one with both permissions", who: registrant("both"), under: "c"},
		{name: "one that cannot register", who: registrant("authenticates"), under: "c", is: chansec.ErrPermission, access: authn.PermissionRegisterHandler},
		{name: "one that cannot authenticate", who: registrant("registers"), under: "c", is: chansec.ErrPermission, access: authn.PermissionAuthenticate},
		{name: "one with neither, and a name that is none", who: registrant("neither"), under: "x", is: chansec.ErrPermission, access: authn.PermissionRegisterHandler},
		{name: "a name that is not configured", who: registrant("both"), under: "x", is: chansec.ErrInvalid},
		{name: "the same session again", who: registrant("both"), under: "c", is: authn.ErrRegistered, register: 1},
		{name: "a session that is closed", who: authn.Registrant{ID: "s", Caller: &live{err: closed}}, under: "c", is: closed},
		{name: "a session without an ID", who: authn.Registrant{Caller: newLive("both")}, under: "c", is: chansec.ErrInvalid},
		{name: "nobody", who: authn.Registrant{ID: "s"}, under: "c", is: chansec.ErrInvalid},
		{name: "a token that reaches everything", who: bounded(chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: hour}), under: "c"},
		{name: "a token that only reads", who: bounded(chansec.Grant{Role: chansec.RoleRead, AllChannels: true, ExpiresAt: hour}), under: "c", is: chansec.ErrPermission, access: "a credential that reaches everything"},
		{name: "a token for some channels", who: bounded(chansec.Grant{Role: chansec.RoleAdmin, Channels: []string{""}, ExpiresAt: hour}), under: "c", is: chansec.ErrPermission, access: "a credential that reaches everything"},
		{name: "a token that is over", who: bounded(chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true}), under: "c", is: chansec.ErrPermission, access: "a credential that reaches everything"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := permissionsOf("both")
			p.held["registers "+authn.PermissionRegisterHandler] = true
			p.held["authenticates "+authn.PermissionAuthenticate] = true
			controls, c := controlled(t, p.permits)
			for range row.register {
				register(t, controls, row.who, says(authn.Abstain))
			}
			h := &noticed{Handler: says(authn.Deny)}
			r, err := controls.Register(row.who, row.under, h)
			if row.is == nil {
				require.NoError(t, err)
				require.Equal(t, "c", decider(t, c))
				return
			}
			require.Nil(t, r)
			require.ErrorIs(t, err, row.is)
			if row.access != "" {
				e, ok := errors.AsType[*authn.AccessError](err)
				require.True(t, ok)
				require.Equal(t, row.access, e.Needs)
			}
			require.Equal(t, []error{err}, h.closed, "it is closed at once")
			require.Equal(t, "last", decider(t, c))
		})
	}
}

// tidy is a handler that closes its registration when it is told that it is closed.
type tidy struct {
	authn.Handler
	registration *authn.Registration
	told         int
}

func (h *tidy) Closed(error) {
	h.told++
	_ = h.registration.Close()
}

func TestAHandlerMayCloseItsRegistrationWhenItIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // which sees a deadlock
		controls, _ := controlled(t, everybodyMay)
		h := &tidy{Handler: says(authn.Allow)}
		h.registration = register(t, controls, registrant("s"), h)
		require.NoError(t, h.registration.Close())
		require.Equal(t, 1, h.told)
	})
}

func TestAHandlerGoesWithWhatItTook(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		cut  func(*permissions, *live)
		idle bool // it goes without anybody asking it
	}{
		{"its session is closed", func(_ *permissions, s *live) { s.become("", chansec.ErrClosed) }, true},
		{"its session becomes somebody else", func(_ *permissions, s *live) { s.become("mallory", nil) }, true},
		{"it may not register any more", func(p *permissions, _ *live) {
			p.set(func() { p.held["svc "+authn.PermissionRegisterHandler] = false })
		}, false},
		{"it may not authenticate any more", func(p *permissions, _ *live) {
			p.set(func() { p.held["svc "+authn.PermissionAuthenticate] = false })
		}, false},
		{"its credential is over", func(_ *permissions, s *live) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.principal.Grant = &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: time.Now().Add(-1)}
		}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, s := permissionsOf("svc"), newLive("svc")
				controls, c := controlled(t, p.permits)
				h := &noticed{Handler: says(authn.Deny)}
				r := register(t, controls, authn.Registrant{ID: "s", Caller: s}, h)
				require.Equal(t, "c", decider(t, c))
				row.cut(p, s)
				if row.idle {
					<-r.Done()
				}
				require.Equal(t, "last", decider(t, c))
				require.Error(t, r.Err())
				synctest.Wait()
				require.Len(t, h.closed, 1)
			})
		})
	}
}

// TestNobodyIsSkippedWhileNobodyCanSay: a handler whose permissions cannot be looked up is not left out, as it may be the
// one that denies. The login fails.
func TestNobodyIsSkippedWhileNobodyCanSay(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(*permissions, *live){
		"the permissions": func(p *permissions, _ *live) { p.set(func() { p.broken = errBroken }) },
		"the permissions, with what looks like a denial": func(p *permissions, _ *live) { p.set(func() { p.broken = chansec.ErrPermission }) },
		"the session": func(_ *permissions, s *live) { s.become("svc", fmt.Errorf("%w: away", chansec.ErrUndecided)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, s := permissionsOf("svc"), newLive("svc")
			controls, c := controlled(t, p.permits)
			r := register(t, controls, authn.Registrant{ID: "s", Caller: s}, says(authn.Abstain))
			breaks(p, s)
			_, err := c.Login(t.Context(), alice)
			require.ErrorIs(t, err, chansec.ErrUndecided)
			require.Equal(t, "c", refused(t, err).By)
			p.set(func() { p.broken = nil })
			s.become("svc", nil)
			require.Equal(t, "last", decider(t, c))
			require.NoError(t, r.Err(), "it is still there")
		})
	}
}

func TestHandlersOfOneNameTakeTurns(t *testing.T) {
	t.Parallel()
	controls, c := controlled(t, everybodyMay)
	var asked [3]int
	var all []*authn.Registration
	for i := range asked {
		all = append(all, register(t, controls, registrant(fmt.Sprint("s", i)), authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
			asked[i]++
			return authn.Response{Answer: authn.Abstain}, nil
		})))
	}
	for range 30 {
		require.Equal(t, "last", decider(t, c), "one abstains, and the others are not asked")
	}
	require.Equal(t, [3]int{10, 10, 10}, asked)
	all[1].Close()
	for range 30 {
		decider(t, c)
	}
	require.Equal(t, 10, asked[1])
	require.Equal(t, 50, asked[0]+asked[2])
}

func TestARequestInFlightGoesToAnother(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		others int
		want   string
	}{
		{"where there is one", 1, "c"},
		{"and else on to the next name", 0, "last"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				controls, c := controlled(t, everybodyMay)
				entered, told := make(chan struct{}), make(chan error, 1)
				r := register(t, controls, registrant("first"), authn.HandlerFunc(func(ctx context.Context, _ *authn.Request) (authn.Response, error) {
					close(entered)
					<-ctx.Done()
					told <- ctx.Err()
					return authn.Response{Answer: authn.Allow, Principal: "root"}, nil
				}))
				done := make(chan string)
				go func() { done <- decider(t, c) }()
				<-entered
				for range row.others {
					register(t, controls, registrant("second"), says(authn.Deny))
				}
				r.Close()
				require.ErrorIs(t, <-told, context.Canceled, "the handler hears of it")
				require.Equal(t, row.want, <-done)
			})
		})
	}
}

// TestAnAnswerOfALostHandlerDoesNotCount: it had answered when it lost its permission.
func TestAnAnswerOfALostHandlerDoesNotCount(t *testing.T) {
	t.Parallel()
	p := permissionsOf("svc")
	controls, c := controlled(t, p.permits)
	r := register(t, controls, registrant("svc"), authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
		p.set(func() { clear(p.held) })
		return authn.Response{Answer: authn.Allow, Principal: "root"}, nil
	}))
	require.Equal(t, "last", decider(t, c))
	require.ErrorIs(t, r.Err(), chansec.ErrPermission)
}

func TestControlsEndTogether(t *testing.T) {
	t.Parallel()
	controls, c := controlled(t, everybodyMay)
	var all []*authn.Registration
	for i := range 5 {
		all = append(all, register(t, controls, authn.Registrant{ID: fmt.Sprint(i), Caller: newLive("svc")}, says(authn.Deny)))
	}
	controls.Close()
	for _, r := range all {
		require.ErrorIs(t, r.Err(), chansec.ErrClosed)
	}
	require.Equal(t, "last", decider(t, c))
	_, err := controls.Register(registrant("s"), "c", says(authn.Deny))
	require.ErrorIs(t, err, authn.ErrUnregistered)
}

func TestRegistrationsAreBounded(t *testing.T) {
	t.Parallel()
	controls, _ := controlled(t, everybodyMay)
	for i := range authn.MaxRegistrations {
		register(t, controls, registrant(fmt.Sprint(i)), says(authn.Deny))
	}
	_, err := controls.Register(registrant("one more"), "c", says(authn.Deny))
	require.ErrorIs(t, err, chansec.ErrLimit)
}

func TestControlsAreMadeOfWhatMakesSense(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func() (*authn.Controls, error){
		"nobody says who may": func() (*authn.Controls, error) { return authn.NewControls(nil, "c") },
		"a name twice":        func() (*authn.Controls, error) { return authn.NewControls(everybodyMay, "c", "c") },
		"an empty name":       func() (*authn.Controls, error) { return authn.NewControls(everybodyMay, "") },
	} {
		_, err := make()
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
	controls, err := authn.NewControls(everybodyMay)
	require.NoError(t, err)
	entries := controls.Around(authn.Entry{Name: "system", Handler: says(authn.Allow)})
	require.Equal(t, []string{"before-system-handler", "system", "after-system-handler"}, []string{entries[0].Name, entries[1].Name, entries[2].Name})
	_, err = authn.NewChain(authn.Config{Handlers: entries})
	require.NoError(t, err)
	_, err = authn.NewChain(authn.Config{Handlers: []authn.Entry{controls.Entry("unknown")}})
	require.ErrorIs(t, err, chansec.ErrInvalid)
	_, err = controls.Register(registrant("s"), authn.BeforeSystemHandler, nil)
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

// brokenCaller panics.
type brokenCaller struct{ chansec.Caller }

// restless says all the time that it is about to change.
type restless struct{ live }

func TestBrokenCallersDoNoHarm(t *testing.T) {
	t.Parallel()
	controls, c := controlled(t, everybodyMay)
	_, err := controls.Register(authn.Registrant{ID: "s", Caller: brokenCaller{}}, "c", says(authn.Deny))
	require.Error(t, err)
	s := &restless{}
	s.principal.SystemID, s.changed = "svc", make(chan struct{})
	close(s.changed)
	r := register(t, controls, authn.Registrant{ID: "t", Caller: s}, says(authn.Deny))
	<-r.Done()
	require.ErrorIs(t, r.Err(), chansec.ErrInvalid)
	require.Equal(t, "last", decider(t, c))
}

// TestControlsAreUsedByManyAtOnce: everything together, for the race detector.
func TestControlsAreUsedByManyAtOnce(t *testing.T) {
	t.Parallel()
	controls, c := controlled(t, everybodyMay)
	var wg sync.WaitGroup
	var wrong atomic.Int64
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				s := newLive("svc")
				r, err := controls.Register(authn.Registrant{ID: fmt.Sprint(i), Caller: s}, "c", says(authn.Abstain))
				if err != nil {
					wrong.Add(1)
					continue
				}
				if n%2 == 0 {
					s.become("", chansec.ErrClosed)
					<-r.Done()
				} else {
					r.Close()
				}
			}
		})
		wg.Go(func() {
			for range 200 {
				if login, err := c.Login(t.Context(), alice); err != nil || login.By != "last" {
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, wrong.Load())
}

func TestACompositeIsItsFirstAnswer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		handlers []authn.Handler
		answer   authn.Answer
		reason   string
		err      error
	}{
		{"nothing in it", nil, authn.Abstain, "all handlers abstained", nil},
		{"all abstain", []authn.Handler{says(authn.Abstain), says(authn.Abstain)}, authn.Abstain, "all handlers abstained", nil},
		{"the second denies", []authn.Handler{says(authn.Abstain), says(authn.Deny), says(authn.Allow)}, authn.Deny, `"b": deny`, nil},
		{"the first allows", []authn.Handler{says(authn.Allow), says(authn.Deny)}, authn.Allow, `"a": allow`, nil},
		{"the first fails", []authn.Handler{fails(errBroken), says(authn.Allow)}, authn.Deny, `"a"`, errBroken},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var entries []authn.Entry
			for i, h := range row.handlers {
				entries = append(entries, authn.Entry{Name: string(rune('a' + i)), Handler: h})
			}
			composite, err := authn.NewComposite(entries...)
			require.NoError(t, err)
			answer, err := composite.Authenticate(t.Context(), alice)
			require.ErrorIs(t, err, row.err)
			require.Equal(t, row.answer, answer.Answer)
			require.Equal(t, row.reason, answer.Reason)
			_, err = chain(t, authn.Config{}, composite, says(authn.Allow)).Login(t.Context(), alice)
			require.Equal(t, row.answer != authn.Deny, err == nil, "as a part of a chain")
		})
	}
	_, err := authn.NewComposite(authn.Entry{Name: "a"})
	require.ErrorIs(t, err, chansec.ErrInvalid)
}
