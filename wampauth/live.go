package wampauth

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/session"
)

const (
	routerTimeout = 5 * time.Second  // for the router to answer the guard
	compareEvery  = 10 * time.Second // the sessions with the router's list
	joining       = 10 * time.Second // how long a session that was let in may take to be on that list
)

// Session is a session that is open.
type Session struct {
	Number   int64     `json:"session"` // the router's
	Login    string    `json:"login"`
	Remote   string    `json:"remote,omitempty"`
	Start    time.Time `json:"start"`
	Duration float64   `json:"duration"`          // in seconds
	Warning  string    `json:"warning,omitempty"` // what does not fit together
}

// Numbers returns the numbers of the sessions that the router has, in their order, without those of local clients. It does not
// ask the records.
func (g *Guard) Numbers(ctx context.Context) ([]int64, error) {
	if !g.open.Load() {
		return nil, ErrUnavailable
	}
	res, err := g.router(ctx, wamp.MetaProcSessionList, nil, nil)
	if err != nil {
		return nil, err
	}
	there, _ := numbers(res.Arguments)
	var list []int64
	for _, id := range slices.Sorted(maps.Keys(there)) {
		if m := g.members.Get(id); m != nil && !m.gone.Load() || !g.isLocal(ctx, id) {
			list = append(list, int64(id))
		}
	}
	return list, nil
}

// Sessions returns the sessions that are open, by their numbers: those that the router and the records have in common
// (sqlauth.md 7.1). What only the router has is there with a warning; what only the records have is not, and logged: where
// several routers share the records, those of the others, too.
func (g *Guard) Sessions(ctx context.Context) ([]Session, error) {
	there, err := g.Numbers(ctx)
	if err != nil {
		return nil, err
	}
	recorded := make(map[string]bool)
	if g.config.Sessions != nil {
		for r, err := range g.config.Sessions.Records(ctx, true) {
			if err != nil {
				return nil, err
			}
			if r.Transport == transport {
				recorded[r.ID] = true
			}
		}
	}
	var list []Session
	for _, n := range there {
		m := g.members.Get(wamp.ID(n))
		number := strconv.FormatInt(n, 10)
		if m == nil || m.gone.Load() {
			list = append(list, Session{Number: n, Warning: "the router has a session that did not log in"})
			delete(recorded, number)
			continue
		}
		s := Session{Number: n, Login: m.principal.SystemID, Remote: m.remote, Start: m.since, Duration: time.Since(m.since).Seconds()}
		if m.ended.Load() != nil {
			s.Warning = "the session has ended, and the router is closing it"
		} else if g.config.Sessions != nil && !recorded[number] {
			s.Warning = "the session has no record"
		}
		delete(recorded, number)
		list = append(list, s)
	}
	if len(recorded) > 0 {
		g.config.Log.Warn("wampauth: sessions are recorded as open that this router does not have", "sessions", slices.Sorted(maps.Keys(recorded)))
	}
	return list, nil
}

// isLocal reports whether a session is a client within the program.
func (g *Guard) isLocal(ctx context.Context, id wamp.ID) bool {
	res, err := g.router(ctx, wamp.MetaProcSessionGet, wamp.List{id}, nil)
	if err != nil || len(res.Arguments) == 0 {
		return err != nil // it is gone meanwhile
	}
	details, _ := wamp.AsDict(res.Arguments[0])
	method, _ := wamp.AsString(details["authmethod"])
	return method == "local"
}

// KickSession ends a session (sqlauth.md 7.3): when it returns, nothing that the session does is allowed and nothing is delivered
// to it; the router closes it with wamp.close.killed. By and reason are for the records, and the reason for the client; a
// reason is one line. It fails with ErrNoSession. It does not wait, and may be called from anywhere.
func (g *Guard) KickSession(number int64, by, reason string) error {
	m := g.members.Get(wamp.ID(number))
	if m == nil || m.gone.Load() || !g.end(m, session.Kicked, by, reason) {
		return ErrNoSession
	}
	return nil
}

// KickLogin ends all sessions of a login, as KickSession does, and returns how many.
func (g *Guard) KickLogin(login, by, reason string) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for m := range g.byLogin[login] {
		if g.endLocked(m, session.Kicked, by, reason) {
			n++
		}
	}
	return n
}

// enter makes a session a member. It is over again if it cannot be recorded, or if, now that whoever ends sessions sees it, here
// and in the records, the proof does not count any more.
func (g *Guard) enter(ctx context.Context, m *member, still func() error) error {
	login := m.principal.SystemID
	g.mu.Lock()
	switch was := g.members.Get(m.id); {
	case !g.open.Load():
		g.mu.Unlock()
		return ErrUnavailable
	case g.count >= g.config.MaxSessions || len(g.byLogin[login]) >= g.config.MaxPerLogin:
		g.mu.Unlock()
		return ErrSessions
	case was != nil && !was.gone.Load() || m.id <= 1: // nexus draws numbers at random, and means itself by 1
		g.mu.Unlock()
		return ErrUnavailable
	}
	g.members.Set(m.id, m)
	g.count++
	if g.byLogin[login] == nil {
		g.byLogin[login] = make(map[*member]bool)
	}
	g.byLogin[login][m] = true
	if m.caller != nil {
		g.tickets[m] = true
	}
	g.mu.Unlock()

	if g.config.Sessions != nil {
		r := session.Record{ID: m.number, Principal: login, Roles: m.principal.Roles, Transport: transport, RemoteAddr: m.remote, OpenedAt: m.since}
		if err := g.config.Sessions.Open(ctx, r); err != nil {
			g.complain("a session was not recorded, and not opened", err)
			g.abandon(m)
			return ErrUnavailable
		}
	}
	if err := still(); err != nil {
		g.abandon(m)
		return err
	}
	start := g.about(m, audit.OpLogin, "")
	recorded := g.recordLogin(m, &start)
	g.mu.Lock()
	defer g.mu.Unlock()
	e := m.ended.Load()
	if recorded && e == nil {
		m.in = time.Now()
		return nil
	}
	g.abandonLocked(m)
	if e == nil || e.Cause == session.Shutdown {
		return ErrUnavailable
	}
	return errors.Join(ErrLogin, e) // it was ended before the client heard of it
}

// abandon ends a session that was let in and then was not.
func (g *Guard) abandon(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.abandonLocked(m)
}

func (g *Guard) abandonLocked(m *member) {
	m.ended.CompareAndSwap(nil, &session.EndedError{Session: m.number, Cause: session.Abandoned, At: time.Now()})
	g.leaveLocked(m)
}

// about makes a record of a session.
func (g *Guard) about(m *member, op chansec.Operation, reason string) audit.Record {
	r := audit.Record{Time: time.Now(), Kind: audit.KindSession, Principal: m.principal.SystemID, Proof: m.principal.Proof, Session: m.number, Remote: m.remote,
		Operation: op, Outcome: chansec.Allowed, Reason: reason}
	if m.principal.Grant != nil {
		r.TokenID = m.principal.Grant.TokenID
	}
	return r
}

// alive returns why a session may do nothing any more, or nil. The credential of a ticket is asked each time.
func (g *Guard) alive(m *member) error {
	if e := m.ended.Load(); e != nil {
		return e
	}
	if m.caller == nil {
		return nil
	}
	// Unbounded is for administrators; what matters here is all that it says but that the credential does not reach so far.
	_, err := chansec.Unbounded(m.caller)
	if grant := m.principal.Grant; grant != nil && !time.Now().Before(grant.ExpiresAt) {
		err = chansec.ErrExpired
	}
	switch {
	case err == nil || errors.Is(err, chansec.ErrGrant):
		return nil
	case errors.Is(err, chansec.ErrExpired):
		g.end(m, session.Expired, "", "")
	case !errors.Is(err, chansec.ErrUndecided):
		g.end(m, session.Revoked, "", "")
	}
	return err
}

// end ends what a session may do, at once, and has the router close it. It reports whether it had not ended before.
func (g *Guard) end(m *member, cause session.Cause, by, reason string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.endLocked(m, cause, by, reason)
}

func (g *Guard) endLocked(m *member, cause session.Cause, by, reason string) bool {
	if m.gone.Load() || !m.ended.CompareAndSwap(nil, &session.EndedError{Session: m.number, Cause: cause, By: by, Reason: reason, At: time.Now()}) {
		return false
	}
	g.ending[m] = true
	g.nudge()
	return true
}

// onLeave hears from the router that a session has left.
func (g *Guard) onLeave(event *wamp.Event) {
	if len(event.Arguments) == 0 {
		return
	}
	id, _ := wamp.AsID(event.Arguments[0])
	if m := g.members.Get(id); m != nil {
		g.mu.Lock()
		g.leaveLocked(m)
		g.mu.Unlock()
	}
}

// leaveLocked forgets a session that has left the router.
func (g *Guard) leaveLocked(m *member) {
	if !m.gone.CompareAndSwap(false, true) {
		return
	}
	cause := session.Lost
	if m.bye.Load() {
		cause = session.LoggedOut
	}
	m.ended.CompareAndSwap(nil, &session.EndedError{Session: m.number, Cause: cause, At: time.Now()})
	end := *m.ended.Load()
	login := m.principal.SystemID
	g.count--
	if delete(g.byLogin[login], m); len(g.byLogin[login]) == 0 {
		delete(g.byLogin, login)
	}
	delete(g.ending, m)
	delete(g.tickets, m)
	delete(g.callees, m)
	delete(g.crowded, m)
	for h := range m.held {
		delete(g.lost, lost{m, h})
	}
	g.losing.Store(int64(len(g.lost)))
	if end.Cause != session.Abandoned && g.config.Activity != nil {
		reason := string(end.Cause)
		if end.Reason != "" {
			reason += ": " + end.Reason
		}
		if end.By != "" {
			g.overdue = append(g.overdue, audit.Record{Time: end.At, Kind: audit.KindSession, Principal: end.By, Operation: audit.OpKick,
				Target: m.number, Outcome: chansec.Allowed, Reason: reason})
		}
		g.overdue = append(g.overdue, g.about(m, audit.OpLogout, reason))
	}
	if g.config.Sessions != nil {
		g.left = append(g.left, end)
	}
	g.nudge()
}

// nudge wakes the guard's goroutine.
func (g *Guard) nudge() {
	select {
	case g.nudged <- struct{}{}:
	default:
	}
}

// work does what must not be done where it is found out.
func (g *Guard) work() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	tokens, _ := g.config.Tickets.(chansec.Versioned)
	compared := time.Now()
	for g.ctx.Err() == nil {
		changed, revoked := g.config.Policy.Changed(), (<-chan struct{})(nil)
		if tokens != nil {
			revoked = tokens.Changed()
		}
		if err := g.review(); err != nil {
			g.complain("nobody could say who may be called", err)
		}
		g.settle(g.ctx)
		g.lapse()
		g.closeEnding(g.ctx)
		if err := g.tell(g.ctx); err != nil && g.ctx.Err() == nil {
			g.complain("the ends of sessions were not recorded", err)
		}
		if time.Since(compared) >= compareEvery {
			g.compare(g.ctx, joining)
			compared = time.Now()
		}
		var again <-chan time.Time
		if !g.report(g.ctx) {
			again = time.After(overdueEvery)
		}
		select {
		case <-g.nudged:
		case <-again:
		case <-changed:
		case <-revoked:
		case <-tick.C:
		case <-g.ctx.Done():
		}
	}
}

// lapse ends the sessions of tickets that do not count any more.
func (g *Guard) lapse() {
	g.mu.Lock()
	list := slices.Collect(maps.Keys(g.tickets))
	g.mu.Unlock()
	for _, m := range list {
		_ = g.alive(m)
	}
}

// goodbyes is what the router closes sessions with.
var goodbyes = map[session.Cause]wamp.URI{
	session.Kicked: "wamp.close.killed", session.Shutdown: wamp.CloseSystemShutdown,
	session.Revoked: wamp.ErrNotAuthorized, session.Expired: wamp.ErrNotAuthorized,
}

// closeEnding has the router close the sessions that have ended. One that it does not know yet is tried again.
func (g *Guard) closeEnding(ctx context.Context) {
	g.mu.Lock()
	list := slices.Collect(maps.Keys(g.ending))
	g.mu.Unlock()
	for _, m := range list {
		e := m.ended.Load()
		message := string(e.Cause)
		if e.Reason != "" {
			message += ": " + e.Reason
		}
		_, err := g.router(ctx, wamp.MetaProcSessionKill, wamp.List{m.id}, wamp.Dict{"reason": string(goodbyes[e.Cause]), "message": message})
		if err != nil && !isRouterError(err, wamp.ErrNoSuchSession) {
			g.complain("the router did not close a session", err)
			return
		}
	}
}

// tell tells the backend which sessions have ended.
func (g *Guard) tell(ctx context.Context) error {
	g.mu.Lock()
	left := g.left
	g.left = nil
	g.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	if err := g.config.Sessions.Close(ctx, left); err != nil {
		g.mu.Lock()
		g.left = append(left, g.left...)
		g.mu.Unlock()
		return err
	}
	return nil
}

// compare forgets the sessions that the router does not have, in case that its news of one was lost, but for those that are
// being let in, or were so short a time ago.
func (g *Guard) compare(ctx context.Context, joining time.Duration) {
	before := time.Now()
	res, err := g.router(ctx, wamp.MetaProcSessionList, nil, nil)
	if err != nil {
		g.complain("the router did not say who is here", err)
		return
	}
	there, ok := numbers(res.Arguments)
	if !ok {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, m := range g.members.All() {
		if !there[id] && !m.in.IsZero() && before.Sub(m.in) >= joining {
			g.leaveLocked(m)
		}
	}
}

// router calls a procedure of the router itself. Never under a session's lock or mu: it may wait for those.
func (g *Guard) router(ctx context.Context, procedure wamp.URI, args wamp.List, kwargs wamp.Dict) (*wamp.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, routerTimeout)
	defer cancel()
	return g.local.Call(ctx, string(procedure), nil, args, kwargs, nil)
}
