package chansec_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"github.com/chansec/chansec"
)

// say describes the present operation for the trace.
func (w *modelWorld) say(format string, args ...any) {
	if w.tracing {
		w.described = fmt.Sprintf(format, args...)
	}
}

// compare notes a difference between what the library did and what the reference says.
func (w *modelWorld) compare(what, got, want string) {
	if got != want && w.problem == "" {
		w.problem = fmt.Sprintf("%s: the library says %q, the reference %q", what, got, want)
	}
}

// agree compares an error with what it may be, and reports whether both are none.
func (w *modelWorld) agree(what string, err error, may refError) bool {
	got := class(err)
	if !may.ok() && slices.Contains(may, got) {
		return false
	}
	w.compare(what, got, strings.Join(may, " or "))
	return err == nil && may.ok()
}

// done lets the world settle after an operation, and compares everything that can be seen without asking.
func (w *modelWorld) done() {
	synctest.Wait()
	if w.changed && w.variant.patient() {
		time.Sleep(w.variant.unit)
		synctest.Wait()
	}
	w.changed = false
	for _, at := range w.ref.instants(time.Now()) {
		w.ref.settle(at)
		for _, c := range w.channels {
			w.resolve(c)
		}
	}
	for _, c := range w.channels {
		if c.waiter != nil && len(c.ref.claimable(c.waiter.worker.system)) > 0 {
			w.compare("ClaimNext of "+c.ref.id, "waits", "claims "+w.showAll(c.ref.claimable(c.waiter.worker.system)))
		}
		for _, l := range c.leases {
			w.checkLease(c, l)
		}
	}
	w.checkEvents()
	for _, c := range w.channels {
		c.leases = slices.DeleteFunc(c.leases, func(l *modelLease) bool { return !l.ref.end.ok() && w.chance(2) })
		c.ref.leases = slices.DeleteFunc(c.ref.leases, func(l *refLease) bool { return !l.end.ok() })
		c.ref.workers = slices.DeleteFunc(c.ref.workers, func(w *refWorker) bool { return w.ended })
	}
}

// resolve compares a ClaimNext that ended with what could be claimed at that time.
func (w *modelWorld) resolve(c *modelChannel) {
	x := c.waiter
	if x == nil || !x.ended() {
		return
	}
	open := c.ref.claimable(x.worker.system)
	switch {
	case x.err != nil && (x.worker.ended || c.ref.closed):
		// When others lost their claims at the same moment, it may have held one of those for an instant.
		for _, m := range open {
			w.hazy[m] = true
		}
		no := oneOf("closed")
		if _, reasons := c.ref.decide(x.who.ref, chansec.OpClaim); !c.ref.closed {
			no = append(c.ref.cut(x.who.ref, x.worker.system, chansec.OpClaim, true), reasons...)
		}
		w.agree("ClaimNext of "+c.ref.id, x.err, no)
	case x.err != nil && w.ref.now.Equal(time.Now()):
		w.compare("ClaimNext of "+c.ref.id, class(x.err), "")
	case x.err != nil || !x.claim.Deadline.Equal(w.ref.now.Add(c.ref.timeout)):
		return // that was later
	default:
		m := w.names[x.claim.Message.ID]
		if !slices.Contains(open, m) {
			w.compare("ClaimNext of "+c.ref.id, w.show(x.claim.Message), w.showAll(open))
			break
		}
		w.learn(x.claim)
		c.ref.take(x.worker, m)
		w.compareClaim(c, x.who, x.claim, m)
	}
	x.cancel()
	c.waiter = nil
}

func (w *modelWorld) compareClaim(c *modelChannel, s *modelSubject, got chansec.Claim[int], want *refMessage) {
	w.compare("claim", w.show(got.Message), w.name(want))
	w.compare("attempt", strconv.FormatUint(got.Attempt, 10), strconv.FormatUint(want.attempts, 10))
	w.compare("deadline", got.Deadline.String(), want.claim.deadline.String())
	if c.claims = append(c.claims, modelClaim{got, s}); len(c.claims) > 8 {
		c.claims = c.claims[1:]
	}
}

// checkLease compares how a lease stands, and what a callback was called with.
func (w *modelWorld) checkLease(c *modelChannel, l *modelLease) {
	w.agree("lease on "+c.ref.id, l.Err(), l.ref.end)
	select {
	case <-l.Done():
		w.compare("Done of a lease", "closed", map[bool]string{true: "open", false: "closed"}[l.ref.end.ok()])
	default:
		w.compare("Done of a lease", "open", map[bool]string{true: "open", false: "closed"}[l.ref.end.ok()])
	}
	if l.push {
		l.mu.Lock()
		got := w.showMessages(l.calls)
		l.calls = nil
		l.mu.Unlock()
		_, list := c.ref.poll(l.ref)
		w.compare("calls on "+c.ref.id, got, w.showAll(list))
	}
}

// checkEvents compares every decision that was recorded with the reference's at that time: each belongs to what was just
// done, or to something that lasts.
func (w *modelWorld) checkEvents() {
	now, mine := w.ref.now, 0
	for _, e := range w.audit.drain() {
		w.ref.now = e.Time
		if w.did != nil && w.matches(e, w.did.channel, w.did.who, w.did.op) {
			mine++
			continue
		}
		ok := false
		for _, c := range w.channels {
			for _, s := range w.lasting(c, e.Operation) {
				ok = ok || w.matches(e, c, s, e.Operation)
			}
		}
		if !ok {
			w.compare("event", fmt.Sprintf("%s %s %q %s on %s: %s (%s)", e.Time.Format(".000000"), e.Outcome, e.SystemID, e.Operation, e.ChannelID, e.Reason, e.TokenID), "")
		}
	}
	w.ref.now = now
	if w.did != nil && !w.audit.off {
		once := !w.variant.patient() && w.did.op != chansec.OpSubscribe && w.did.op != chansec.OpClaim
		if mine == 0 || once && mine > 1 {
			w.compare("events of "+string(w.did.op), strconv.Itoa(mine), "1")
		}
	}
	w.did = nil
}

// lasting lists whose leases or claims an operation may be decided for again.
func (w *modelWorld) lasting(c *modelChannel, op chansec.Operation) (list []*modelSubject) {
	for _, s := range w.subjects {
		for _, l := range c.ref.leases {
			if op == chansec.OpSubscribe && l.who == s.ref {
				list = append(list, s)
			}
		}
		for _, x := range c.ref.workers {
			if op == chansec.OpClaim && x.who == s.ref {
				list = append(list, s)
			}
		}
	}
	return list
}

func (w *modelWorld) matches(e chansec.Event, c *modelChannel, s *modelSubject, op chansec.Operation) bool {
	if e.ChannelID != c.ref.id || e.Operation != op {
		return false
	}
	system, no := c.ref.decide(s.ref, op)
	outcome, proof, jti := chansec.Allowed, s.proof, s.jti
	switch {
	case no.ok():
	case slices.Contains(no, "undecided"):
		outcome = chansec.Undecided
	default:
		outcome = chansec.Denied
	}
	if !s.ref.nobody.ok() && !s.ref.wired {
		system, proof, jti = "", "", ""
	}
	return e.Outcome == outcome && e.SystemID == system && e.Proof == proof && e.TokenID == jti
}

// errorClasses are what an error may be, in the order in which class names them.
var errorClasses = []struct {
	name string
	err  error
}{
	{"permission", chansec.ErrPermission}, {"undecided", chansec.ErrUndecided}, {"unauthenticated", chansec.ErrUnauthenticated},
	{"invalid", chansec.ErrInvalid}, {"kicked", errKicked}, {"expired", chansec.ErrExpired}, {"revoked", chansec.ErrRevoked},
	{"grant", chansec.ErrGrant}, {"closed", chansec.ErrClosed}, {"not accepting", chansec.ErrNotAccepting}, {"full", chansec.ErrFull},
	{"limit", chansec.ErrLimit}, {"lagged", chansec.ErrLagged}, {"unknown", chansec.ErrUnknownMessage}, {"unknown key", chansec.ErrUnknownKey}, {"changed", chansec.ErrChanged},
	{"lost", chansec.ErrClaimLost}, {"not kept", chansec.ErrNotKept}, {"away", errAway},
	{"busy", chansec.ErrBusy}, {"fixed", chansec.ErrSecurityFixed}, {"canceled", context.Canceled}, {"deadline", context.DeadlineExceeded},
}

// class names everything that an error is.
func class(err error) string {
	if err == nil {
		return ""
	}
	var names []string
	for _, c := range errorClasses {
		if errors.Is(err, c.err) {
			names = append(names, c.name)
		}
	}
	if names == nil {
		return err.Error()
	}
	return strings.Join(names, "+")
}

// with adds a class to those of an error.
func with(classes, more string) string {
	has := append(strings.Split(classes, "+"), more)
	var names []string
	for _, c := range errorClasses {
		if slices.Contains(has, c.name) {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, "+")
}

// name is a message in traces: its place in its channel.
func (w *modelWorld) name(m *refMessage) string {
	for _, c := range w.ref.channels {
		if i := slices.Index(c.messages, m); i >= 0 {
			return c.id + "#" + strconv.Itoa(i)
		}
	}
	return "a message that was never written"
}

// show names a message that the library handed out, or all of it if it is not what was written.
func (w *modelWorld) show(m chansec.Message[int]) string {
	want := w.names[m.ID]
	if want == nil || !m.Timestamp.Equal(want.Timestamp) || m.SenderID != want.SenderID || m.Content != want.Content ||
		m.CorrelationID != want.CorrelationID || m.ReplyTo != want.ReplyTo || m.RecipientID != want.RecipientID || m.Key != want.Key ||
		(len(m.Metadata) > 0 || len(want.Metadata) > 0) && !reflect.DeepEqual(m.Metadata, want.Metadata) {
		return fmt.Sprintf("%+v", m)
	}
	return w.name(want)
}

func (w *modelWorld) showMessages(list []chansec.Message[int]) string {
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = w.show(m)
	}
	return strings.Join(names, " ")
}

func (w *modelWorld) showAll(list []*refMessage) string {
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = w.name(m)
	}
	return strings.Join(names, " ")
}

func (w *modelWorld) chance(n int) bool { return w.rng.IntN(n) == 0 }

func pick[T any](w *modelWorld, list []T) T { return list[w.rng.IntN(len(list))] }
