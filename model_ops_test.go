package chansec_test

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

// modelOp is one thing that somebody may do: to the library, to the reference, and compare.
type modelOp struct {
	weight int
	do     func(w *modelWorld)
}

// modelOps is what happens under every security; modelListOps and modelTokenOps change what is allowed.
var (
	modelOps = []modelOp{
		{30, (*modelWorld).write}, {16, (*modelWorld).read}, {6, (*modelWorld).readAfter},
		{8, (*modelWorld).subscribe}, {16, (*modelWorld).poll}, {2, (*modelWorld).closeLease},
		{14, (*modelWorld).claim}, {6, (*modelWorld).claimNext}, {14, (*modelWorld).settle}, {6, (*modelWorld).settleOne},
		{4, (*modelWorld).get}, {8, (*modelWorld).set}, {4, (*modelWorld).remake}, {3, (*modelWorld).drop},
		{12, (*modelWorld).sleep}, {5, (*modelWorld).host}, {2, (*modelWorld).info}, {3, (*modelWorld).lifecycle},
		{2, (*modelWorld).changeCaller}, {2, (*modelWorld).strangePort}, {1, (*modelWorld).burst},
	}
	modelListOps = []modelOp{
		{6, (*modelWorld).grant}, {4, (*modelWorld).revoke}, {2, (*modelWorld).askACL}, {2, (*modelWorld).callByName},
	}
	modelTokenOps = []modelOp{
		{6, (*modelWorld).issue}, {3, (*modelWorld).sign}, {4, (*modelWorld).callByToken}, {3, (*modelWorld).revokeToken},
		{2, (*modelWorld).changeKeys}, {2, (*modelWorld).authorizeToken}, {5, (*modelWorld).refresh}, {2, (*modelWorld).outage},
	}
)

var background = context.Background()

// port picks a port of a kind, and says for whom.
func port[P any](w *modelWorld, op chansec.Operation) (P, *modelChannel, *modelSubject, bool) {
	c, s := pick(w, w.channels), pick(w, w.subjects)
	p, ok := s.ports[c][w.rng.IntN(2)].(P)
	if ok {
		w.did = &doing{s, c, op}
	}
	return p, c, s, ok
}

// sleep lets time pass: to a round instant, or to exactly one at which something ends. The library may notice that up to a
// millisecond late, so that nothing else may end so soon afterwards.
func (w *modelWorld) sleep() {
	now := time.Now()
	units := pick(w, []time.Duration{1, 1, 3, 10, 29, 60, 250, 1500})
	until := now.Truncate(w.variant.unit).Add(units * w.variant.unit)
	if until.Sub(now) < w.variant.unit/2 {
		until = until.Add(w.variant.unit)
	}
	if list := w.ref.instants(until); w.chance(3) && !w.variant.patient() {
		if i := w.rng.IntN(len(list)); i+1 < len(list) && list[i+1].Sub(list[i]) > time.Millisecond {
			until = list[i]
		}
	}
	w.say("%s pass", until.Sub(now))
	time.Sleep(until.Sub(now))
}

func (w *modelWorld) host() {
	op := pick(w, []chansec.Operation{chansec.OpEvict, chansec.OpEvict, chansec.OpRemove, chansec.OpRemove, chansec.OpClear, chansec.OpAdmin})
	p, c, s, ok := port[chansec.Host[int]](w, op)
	if !ok {
		return
	}
	var got, want int
	var err error
	var no refError
	switch op {
	case chansec.OpClear:
		got, err = p.Clear(background)
		want, no = c.ref.host(s.ref, op, false, func() int {
			return c.ref.discard(removed, func(*refMessage) bool { return true })
		})
	case chansec.OpAdmin:
		got, err = p.Len(background)
		want, no = c.ref.host(s.ref, op, false, func() int { return len(c.ref.held()) })
	case chansec.OpEvict:
		got, want, err, no = w.evict(p, c, s)
	case chansec.OpRemove:
		got, want, err, no = w.remove(p, c, s)
	}
	if w.described == "" {
		w.say("%s on %s: %s", s.ref.label, c.ref.id, op)
	}
	w.agree(string(op), err, no)
	w.compare(string(op), strconv.Itoa(got), strconv.Itoa(want))
}

//lint:ignore ST1008 two results, each with its error
func (w *modelWorld) evict(p chansec.Host[int], c *modelChannel, s *modelSubject) (got, want int, err error, no refError) {
	if w.chance(2) {
		before := time.Now().Add(-time.Duration(w.rng.IntN(50)) * w.variant.unit)
		if w.chance(20) {
			before = time.Time{}
		}
		w.say("%s evicts what is older than %s from %s", s.ref.label, time.Since(before), c.ref.id)
		got, err = p.EvictBefore(background, before)
		want, no = c.ref.host(s.ref, chansec.OpEvict, before.IsZero(), func() int {
			return c.ref.discard(c.ref.evicted(), func(m *refMessage) bool { return m.Timestamp.Before(before) })
		})
		return got, want, err, no
	}
	keep := w.rng.IntN(8) - 1
	w.say("%s evicts all but %d from %s", s.ref.label, keep, c.ref.id)
	got, err = p.EvictBeyond(background, keep)
	want, no = c.ref.host(s.ref, chansec.OpEvict, keep < 0, func() int { return c.ref.forget(keep) })
	return got, want, err, no
}

//lint:ignore ST1008 two results, each with its error
func (w *modelWorld) remove(p chansec.Host[int], c *modelChannel, s *modelSubject) (got, want int, err error, no refError) {
	if w.chance(2) {
		ids := []uuid.UUID{w.someID(), w.someID()}
		ids = append(ids, ids[0])
		w.say("%s removes %s and %s from %s", s.ref.label, w.nameID(ids[0]), w.nameID(ids[1]), c.ref.id)
		got, err = p.Remove(background, ids...)
		want, no = c.ref.host(s.ref, chansec.OpRemove, false, func() int {
			return c.ref.discard(removed, func(m *refMessage) bool { return slices.Contains(ids, m.ID) })
		})
		return got, want, err, no
	}
	d := w.rng.IntN(5) + 2
	w.say("%s removes multiples of %d from %s", s.ref.label, d, c.ref.id)
	got, err = p.RemoveFunc(background, func(m chansec.Message[int]) bool { return m.Content%d == 0 })
	want, no = c.ref.host(s.ref, chansec.OpRemove, false, func() int {
		return c.ref.discard(removed, func(m *refMessage) bool { return m.Content%d == 0 })
	})
	return got, want, err, no
}

func (w *modelWorld) info() {
	p, c, s, ok := port[chansec.Inspector](w, chansec.OpInfo)
	if !ok {
		return
	}
	w.say("%s asks for the info of %s", s.ref.label, c.ref.id)
	got, err := p.Info(background)
	_, no := c.ref.decide(s.ref, chansec.OpInfo)
	if no.ok() && c.ref.closed {
		no = oneOf("closed")
	}
	if w.agree("info", err, no) {
		w.compare("info", got.ID, c.ref.id)
	}
}

// lifecycle starts a channel, drains it or, rarely, closes it.
func (w *modelWorld) lifecycle() {
	c := pick(w, w.channels)
	closed := refError(nil)
	if c.ref.closed {
		closed = oneOf("closed")
	}
	switch n := w.rng.IntN(40); {
	case n == 0:
		w.say("%s is closed", c.ref.id)
		w.agree("close", c.Close(), nil)
		c.ref.close()
	case n < 4:
		w.say("%s gets another security", c.ref.id)
		w.agree("SetSecurity", c.SetSecurity(chansec.OpenSecurity{}), oneOf("fixed"))
	case n < 12:
		w.say("%s is drained", c.ref.id)
		w.agree("drain", c.Drain(background), closed)
		c.ref.accepts = false
	default:
		w.say("%s is started", c.ref.id)
		w.agree("start", c.Start(background), closed)
		c.ref.accepts = !c.ref.closed
	}
}

// strangePort makes ports for an impossible name or for no caller.
func (w *modelWorld) strangePort() {
	if w.chance(2) {
		w.say("a port for an impossible name")
		w.admit(w.wire(""))
		return
	}
	w.say("a port for no caller")
	w.admit(w.call(nil, &refSubject{}))
}

// admit makes a subject one of those that act, in place of another if there are many.
func (w *modelWorld) admit(s *modelSubject) {
	w.say("%s: %s", w.described, s.ref.label)
	w.subjects = append(w.subjects, s)
	if first := len(modelSystems); len(w.subjects) > first+8 {
		w.retire(first + w.rng.IntN(8))
	}
}

// retire forgets a subject that holds nothing.
func (w *modelWorld) retire(i int) {
	for _, c := range w.channels {
		idle := c.waiter == nil || c.waiter.who != w.subjects[i]
		for _, l := range c.ref.leases {
			idle = idle && l.who != w.subjects[i].ref
		}
		for _, x := range c.ref.workers {
			idle = idle && x.who != w.subjects[i].ref
		}
		if !idle {
			return
		}
	}
	w.subjects = slices.Delete(w.subjects, i, i+1)
}
