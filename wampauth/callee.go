package wampauth

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

// Who lost the right to a registration must get no more calls. nexus takes no registration away, so the session is closed; that
// takes a moment, in which calls to what it may hold are refused.

// held is a registration that a session may hold: it was let through. Whether it came to be, and was not given back, the router
// knows.
type held struct {
	name  string
	match policy.Match
}

// matches reports whether calls of a procedure may go there.
func (h held) matches(procedure string) bool {
	switch h.match {
	case policy.MatchPrefix:
		return strings.HasPrefix(procedure, h.name)
	case policy.MatchWildcard:
		return wamp.URI(procedure).WildcardMatch(wamp.URI(h.name))
	}
	return procedure == h.name
}

// lost is a registration that a session may hold, and has no right to.
type lost struct {
	member *member
	held   held
}

// MaxRegistrations is how many registrations a session may hold.
const MaxRegistrations = 1000

// note notes that a session may hold a registration from now on. The function takes that back.
func (g *Guard) note(m *member, h held) (forget func(), _ error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was, had := m.held[h]
	if !had && len(m.held) >= MaxRegistrations {
		g.crowded[m] = true
		g.nudge()
		return nil, &refusal{"at most " + strconv.Itoa(MaxRegistrations) + " registrations", chansec.ErrPermission}
	}
	m.asksToRegister = true
	m.held[h] = m.later.Load()
	g.callees[m] = true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if had {
			m.held[h] = was
		} else {
			g.drop(m, h)
		}
	}, nil
}

// drop forgets a registration. The caller holds mu.
func (g *Guard) drop(m *member, h held) {
	delete(m.held, h)
	if len(m.held) == 0 {
		delete(g.callees, m)
	}
}

// callable fails while a session that has no right to it any more may be called by a procedure's name.
func (g *Guard) callable(procedure string) error {
	if err := g.review(); err != nil {
		return err
	}
	if g.losing.Load() == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for l := range g.lost {
		if !l.member.gone.Load() && l.held.matches(procedure) {
			return errLosing
		}
	}
	return nil
}

var errLosing error = &refusal{"a session that may not be called any more is being closed", chansec.ErrUndecided}

// reviewed reports whether what callees hold was looked at since the policy changed, and no right has ended since by itself.
func (g *Guard) reviewed() bool {
	until := g.reviewUntil.Load()
	return g.reviewedAt.Load() == g.config.Policy.Version() && (until == 0 || time.Now().UnixNano() < until)
}

// reviewBy has the next review not later than a time; zero is no such time.
func (g *Guard) reviewBy(at time.Time) {
	if at.IsZero() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := g.reviewUntil.Load(); until == 0 || at.UnixNano() < until {
		g.reviewUntil.Store(at.UnixNano())
	}
}

// review looks at what callees hold if that is due, and notes what they have no right to.
func (g *Guard) review() error {
	if g.reviewed() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reviewed() {
		return nil
	}
	version := g.config.Policy.Version() // before anything is asked
	var until int64
	found := make(map[lost]bool)
	for m := range g.callees {
		for h := range m.held {
			path, _ := policy.FixedPart(h.name, h.match)
			d, err := g.ask(m, register, path)
			if err != nil {
				return err // nothing is known of anybody; calls are refused until it is
			}
			if !d.Allowed {
				found[lost{m, h}] = true
			} else if at := d.Until; !at.IsZero() && (until == 0 || at.UnixNano() < until) {
				until = at.UnixNano()
			}
		}
	}
	g.lost = found
	g.losing.Store(int64(len(found)))
	g.reviewUntil.Store(until)
	g.reviewedAt.Store(version)
	if len(found) > 0 {
		g.nudge()
	}
	return nil
}

// settle ends the sessions that hold what they have no right to, and forgets what is not held.
func (g *Guard) settle(ctx context.Context) {
	g.mu.Lock()
	var doubtful []lost
	for l := range g.lost {
		doubtful = append(doubtful, l)
	}
	for m := range g.crowded {
		for h := range m.held {
			doubtful = append(doubtful, lost{m, h})
		}
	}
	clear(g.crowded)
	g.mu.Unlock()
	for _, l := range doubtful {
		g.mu.Lock()
		asked, ok := l.member.held[l.held]
		g.mu.Unlock()
		if !ok || l.member.gone.Load() || l.member.ended.Load() != nil {
			continue
		}
		// A registration that the session asked for last may still be on its way.
		holds, err := g.holds(ctx, l)
		holds = holds || asked == l.member.later.Load()
		g.mu.Lock()
		switch is := g.lost[l]; {
		case err != nil:
			g.complain("the router did not say who holds a registration", err)
		case !holds && l.member.held[l.held] == asked:
			g.drop(l.member, l.held)
			g.unlose(l)
		case is:
			g.endLocked(l.member, session.Revoked, "", "may not register "+quote(l.held.name)+" any more")
		}
		g.mu.Unlock()
	}
}

// unlose says that a registration is not held any more. The caller holds mu.
func (g *Guard) unlose(l lost) {
	delete(g.lost, l)
	g.losing.Store(int64(len(g.lost)))
}

// holds asks the router whether a session holds a registration.
func (g *Guard) holds(ctx context.Context, l lost) (bool, error) {
	res, err := g.router(ctx, wamp.MetaProcRegLookup, wamp.List{l.held.name, wamp.Dict{wamp.OptMatch: string(l.held.match)}}, nil)
	if err != nil {
		return false, err
	}
	id := wamp.ID(0)
	if len(res.Arguments) > 0 {
		id, _ = wamp.AsID(res.Arguments[0])
	}
	if id == 0 {
		return false, nil
	}
	res, err = g.router(ctx, wamp.MetaProcRegListCallees, wamp.List{id}, nil)
	if isRouterError(err, wamp.ErrNoSuchRegistration) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ids, _ := numbers(res.Arguments)
	return ids[l.member.id], nil
}

// numbers returns the IDs of a list that is the first of some arguments.
func numbers(args wamp.List) (map[wamp.ID]bool, bool) {
	if len(args) == 0 {
		return nil, false
	}
	list, ok := wamp.AsList(args[0])
	ids := make(map[wamp.ID]bool, len(list))
	for _, v := range list {
		if id, ok := wamp.AsID(v); ok {
			ids[id] = true
		}
	}
	return ids, ok
}
