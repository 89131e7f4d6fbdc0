package wampauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

// Policy says what a principal may do. The Authorizer of a policy.Store of policy.WAMPConfig is one. It decides in memory, since
// nothing is delivered meanwhile, and may be called from many goroutines at once.
type Policy interface {
	chansec.Versioned
	// Check decides by one of call, register, subscribe and publish on a topic. An error means that no decision could be
	// made, which allows nothing.
	Check(p chansec.Principal, permission, topic string) (chansec.Decision, error)
}

var _ Policy = (*policy.Authorizer)(nil)

// authorizer is the Guard as the router asks it about messages.
type authorizer struct{ *Guard }

var _ router.Authorizer = authorizer{}

// Authorize decides on a message. It runs under the session's lock, for which the broker may wait: it never waits for the router.
func (g authorizer) Authorize(s *wamp.Session, msg wamp.Message) (bool, error) {
	m := g.members.Get(s.ID)
	if m == nil {
		return isLocal(s), nil // who did not log in here is nobody
	}
	if m.gone.Load() || m.floods.Load() {
		return false, nil
	}
	if m.asksToRegister {
		m.asksToRegister = false
		m.later.Add(1)
	}
	if _, ok := msg.(*wamp.Goodbye); ok {
		m.bye.Store(true)
		return true, nil
	}
	var a action
	if !g.read(&a, msg, m) {
		return g.alive(m) == nil && m.passes(msg), nil
	}
	d, err := g.decide(m, &a)
	return g.conclude(m, &a, d, err)
}

// decide decides on an action. What else must hold is decided with it. The decision is there until the next of that session.
func (g *Guard) decide(m *member, a *action) (*chansec.Decision, error) {
	switch err := g.alive(m); {
	case err != nil:
		return &chansec.Decision{Reason: "the session is over"}, nil
	case a.problem != "":
		return &chansec.Decision{Reason: a.problem}, nil
	case a.path == "":
		return &chansec.Decision{Reason: "nothing that could be granted is part of all that matches"}, nil
	case !m.covers(a.permission, a.name, a.match):
		return &chansec.Decision{Reason: "the credential does not reach that far"}, nil
	}
	if a.permission != register {
		d, err := g.remember(&m.asked, m, a.permission, a.path)
		if d.Allowed && a.permission == call {
			err = g.callable(a.name)
		}
		return d, err
	}
	// What may be held is noted before it is decided, so that no change falls between the two.
	forget, err := g.note(m, held{a.name, a.match})
	if err != nil {
		return &chansec.Decision{}, err
	}
	d, err := g.ask(m, register, a.path)
	if err != nil || !d.Allowed {
		forget()
		return &d, err
	}
	m.called.Store(true)
	g.reviewBy(d.Until)
	return &d, nil
}

// memory is the last decision of some kind, which holds as long as the policy's version. It belongs to one goroutine.
type memory struct {
	permission, path string // an empty path is none: it does not hold
	decision         chansec.Decision
	version          uint64
}

// remember asks the policy, unless it was asked the same last, of the same version. The decision is there until the next.
func (g *Guard) remember(last *memory, m *member, permission, path string) (*chansec.Decision, error) {
	version := g.config.Policy.Version() // before it is asked
	if last.path == path && last.permission == permission && last.version == version && path != "" {
		return &last.decision, nil
	}
	d, err := g.ask(m, permission, path)
	*last = memory{permission, path, d, version}
	if err != nil || !d.Until.IsZero() {
		last.path = ""
	}
	return &last.decision, err
}

// ask asks the policy.
func (g *Guard) ask(m *member, permission, path string) (d chansec.Decision, err error) {
	defer func() {
		if r := recover(); r != nil {
			d, err = chansec.Decision{}, fmt.Errorf("wampauth: the policy panicked with a %T", r)
		}
	}()
	d, err = g.config.Policy.Check(m.principal, permission, path)
	if err != nil {
		d.Allowed = false
	}
	return d, err
}

// conclude records what was decided, and returns what the router is to make of it. An error that is no denial is logged, and
// the client hears that nobody could decide.
func (g *Guard) conclude(m *member, a *action, d *chansec.Decision, err error) (bool, error) {
	r := &m.doing
	r.Time, r.Target, r.Operation, r.Detail = g.clock.now(), a.name, chansec.Operation(a.permission), ""
	r.Outcome, r.Reason, r.Rule, r.Version = chansec.Denied, d.Reason, d.Rule, d.Version
	if a.match != "" && a.match != policy.MatchExact {
		r.Detail = string(a.match)
	}
	switch {
	case err != nil && errors.Is(err, chansec.ErrPermission):
		r.Reason = err.Error()
	case err != nil:
		r.Outcome, r.Reason = chansec.Undecided, err.Error()
		g.complain("nobody could decide on an action", err)
	case d.Allowed:
		r.Outcome = chansec.Allowed
	}
	if !g.record(m, r) || r.Outcome == chansec.Undecided {
		return false, errUndecided
	}
	return r.Outcome == chansec.Allowed, nil
}

// record hands a record of a session to the log, and reports whether what it is about may be done as far as the log is concerned.
// The session is over if the log has no room for what it was refused: it may not be left out, and nobody may wait for it here.
func (g *Guard) record(m *member, r *audit.Record) bool {
	err := g.give(g.ctx, r)
	if errors.Is(err, audit.ErrFull) && r.Outcome != chansec.Allowed {
		m.floods.Store(true)
		g.mu.Lock()
		g.overdue = append(g.overdue, *r)
		g.endLocked(m, session.Kicked, "", "it is refused more than can be recorded")
		g.mu.Unlock()
		return true
	}
	return err == nil || !g.config.RequireActivity
}

// recordLogin is record for a login, which waits until the log has room for it and for all that is overdue: so no more can be
// overdue than of the sessions that are open. It ends with the session, if one was let in, and with the guard; that somebody was
// refused is left to Close then.
func (g *Guard) recordLogin(m *member, r *audit.Record) bool {
	for m == nil || m.ended.Load() == nil {
		err := audit.ErrFull
		if g.report(g.ctx) {
			err = g.give(g.ctx, r)
		}
		if !errors.Is(err, audit.ErrFull) {
			return err == nil || !g.config.RequireActivity
		}
		if g.ctx.Err() != nil {
			if m == nil {
				g.mu.Lock()
				g.overdue = append(g.overdue, *r)
				g.mu.Unlock()
			}
			return false
		}
		select {
		case <-time.After(overdueEvery):
		case <-g.ctx.Done():
		}
	}
	return false
}

// give hands a record to the log. One that it did not take since the context ended is to be given again.
func (g *Guard) give(ctx context.Context, r *audit.Record) error {
	if g.config.Activity == nil {
		return nil
	}
	err := g.config.Activity.Record(ctx, *r)
	if err != nil && ctx.Err() != nil {
		return audit.ErrFull
	}
	if err != nil && !errors.Is(err, audit.ErrFull) {
		g.complain("an action was not recorded", err)
	}
	return err
}

// overdueEvery is how soon the log is asked again whether it has room.
const overdueEvery = 20 * time.Millisecond

// report gives the log what is overdue, in that order, as far as it has room, and reports whether that was all.
func (g *Guard) report(ctx context.Context) bool {
	g.reporting.Lock()
	defer g.reporting.Unlock()
	for {
		g.mu.Lock()
		if len(g.overdue) == 0 {
			g.overdue = nil
			g.mu.Unlock()
			return true
		}
		r := g.overdue[0]
		g.mu.Unlock()
		if errors.Is(g.give(ctx, &r), audit.ErrFull) {
			return false
		}
		g.mu.Lock()
		g.overdue = g.overdue[1:]
		g.mu.Unlock()
	}
}

// passes reports whether a message that is no action may pass.
func (m *member) passes(msg wamp.Message) bool {
	switch msg := msg.(type) {
	case *wamp.Yield:
		// Without its result the caller would wait for ever: what nexus cannot bear is left out instead.
		if m.passthru(msg.Options, wamp.RoleCallee) != "" {
			for _, name := range passthruOptions {
				delete(msg.Options, name)
			}
		}
	case *wamp.Error:
		return m.called.Load() // nexus does not ask whose invocation it is
	}
	return true
}
