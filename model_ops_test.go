package chansec_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing/synctest"
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
		{12, (*modelWorld).sleep}, {5, (*modelWorld).host}, {2, (*modelWorld).info}, {3, (*modelWorld).lifecycle},
		{2, (*modelWorld).changeCaller}, {2, (*modelWorld).strangePort}, {1, (*modelWorld).burst},
	}
	modelListOps = []modelOp{
		{6, (*modelWorld).grant}, {4, (*modelWorld).revoke}, {2, (*modelWorld).askACL}, {2, (*modelWorld).callByName},
	}
	modelTokenOps = []modelOp{
		{6, (*modelWorld).issue}, {3, (*modelWorld).sign}, {4, (*modelWorld).callByToken}, {3, (*modelWorld).revokeToken},
		{2, (*modelWorld).changeKeys}, {2, (*modelWorld).authorizeToken},
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

func (w *modelWorld) write() {
	p, c, s, ok := port[chansec.Writer[int]](w, chansec.OpWrite)
	if !ok {
		return
	}
	m := chansec.Message[int]{Content: w.rng.IntN(1000)}
	var id uuid.UUID
	var err error
	invalid := false
	mail, toBoxes := p.(chansec.MailboxPort[int])
	switch w.rng.IntN(4) {
	case 0:
		if w.chance(2) {
			m.Metadata = map[string]any{"n": strconv.Itoa(m.Content)}
		}
		m.CorrelationID, m.ReplyTo = pick(w, []string{"", "c"}), pick(w, []string{"", "r"})
		m.SenderID = pick(w, append(modelSystems, "", "", "", ""))
		m.RecipientID = pick(w, append(modelSystems, "", "", "", "\x00"))
		asked := m
		switch w.rng.IntN(20) {
		case 0:
			asked.ID, invalid = uuid.New(), true
		case 1:
			asked.Timestamp, invalid = time.Now(), true
		}
		invalid = invalid || m.RecipientID == "\x00"
		w.say("%s writes %+v to %s", s.ref.label, asked, c.ref.id)
		id, err = p.WriteMessage(background, asked)
	case 1:
		if toBoxes {
			m.RecipientID = pick(w, append(modelSystems, modelSystems...))
			if w.chance(20) {
				m.RecipientID, invalid = "", true
			}
			w.say("%s writes %d to %s for %q", s.ref.label, m.Content, c.ref.id, m.RecipientID)
			id, err = mail.WriteTo(background, m.RecipientID, m.Content)
			break
		}
		fallthrough
	default:
		w.say("%s writes %d to %s", s.ref.label, m.Content, c.ref.id)
		id, err = p.Write(background, m.Content)
	}
	w.wrote(c, s, m, invalid, id, err)
}

// burst writes many messages in a row.
func (w *modelWorld) burst() {
	p, c, s, ok := port[chansec.Writer[int]](w, chansec.OpWrite)
	if !ok {
		return
	}
	n := w.rng.IntN(200)
	w.say("%s writes %d messages to %s", s.ref.label, n, c.ref.id)
	for i := range n {
		id, err := p.Write(background, i)
		w.wrote(c, s, chansec.Message[int]{Content: i}, false, id, err)
		w.done()
		w.did = &doing{s, c, chansec.OpWrite}
	}
	w.did = nil
}

func (w *modelWorld) wrote(c *modelChannel, s *modelSubject, m chansec.Message[int], invalid bool, id uuid.UUID, err error) {
	want, no := c.ref.write(s.ref, m, invalid)
	if !w.agree("write", err, no) {
		return
	}
	if last := len(c.ref.messages) - 2; last >= 0 {
		w.compare("order of ids", strconv.FormatBool(c.ref.messages[last].ID.String() < id.String()), "true")
	}
	w.compare("a new id", strconv.FormatBool(w.names[id] == nil && id.Version() == 7), "true")
	want.ID = id
	w.names[id] = want
}

func (w *modelWorld) limit() int { return pick(w, []int{1, 1, 2, 3, 5, 1000, 0, -1, 1001}) }

func (w *modelWorld) read() { w.readFrom(nil) }

func (w *modelWorld) readAfter() {
	id := w.someID()
	w.readFrom(&id)
}

// someID picks the ID of a message that is stored, was, is of another channel, or is of none.
func (w *modelWorld) someID() uuid.UUID {
	if c := pick(w, w.ref.channels); len(c.messages) > 0 && !w.chance(10) {
		recent := c.messages[max(0, len(c.messages)-20):]
		return pick(w, recent).ID
	}
	return pick(w, []uuid.UUID{uuid.Nil, uuid.New(), uuid.Must(uuid.NewV7())})
}

func (w *modelWorld) readFrom(after *uuid.UUID) {
	p, c, s, ok := port[chansec.Reader[int]](w, chansec.OpRead)
	if !ok {
		return
	}
	limit := w.limit()
	var list []chansec.Message[int]
	var err error
	if after == nil {
		w.say("%s reads %d of %s", s.ref.label, limit, c.ref.id)
		list, err = p.Read(background, limit)
	} else {
		w.say("%s reads %d of %s after %s", s.ref.label, limit, c.ref.id, w.nameID(*after))
		list, err = p.ReadAfter(background, *after, limit)
	}
	want, missed, no := c.ref.read(s.ref, after, limit)
	w.agree("read", err, no)
	w.compare("messages read", w.showMessages(list), w.showAll(want))
	w.compareMissed(err, missed)
}

func (w *modelWorld) nameID(id uuid.UUID) string {
	if m := w.names[id]; m != nil {
		return w.name(m)
	}
	return id.String()
}

func (w *modelWorld) compareMissed(err error, want refMissed) {
	if lagged, ok := err.(*chansec.LaggedError); ok {
		w.compare("messages missed", fmt.Sprint(lagged.Missed, lagged.AtMost), fmt.Sprint(want.n, want.atMost))
	}
}

func (w *modelWorld) subscribe() {
	p, c, s, ok := port[chansec.Subscriber[int]](w, chansec.OpSubscribe)
	if !ok || len(c.leases) > 6 {
		w.did = nil
		return
	}
	l := &modelLease{}
	var after *uuid.UUID
	var err error
	switch w.rng.IntN(3) {
	case 0:
		id := w.someID()
		w.say("%s subscribes to %s after %s", s.ref.label, c.ref.id, w.nameID(id))
		after = &id
		l.Lease, err = p.SubscribeAfter(background, id)
	case 1:
		l.push = true
		w.say("%s subscribes to %s with a callback", s.ref.label, c.ref.id)
		l.Lease, err = p.SubscribeFunc(background, func(_ context.Context, m chansec.Message[int]) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.calls = append(l.calls, m)
			return nil
		})
	default:
		w.say("%s subscribes to %s", s.ref.label, c.ref.id)
		l.Lease, err = p.Subscribe(background)
	}
	ref, no := c.ref.subscribe(s.ref, after)
	if w.agree("subscribe", err, no) {
		l.ref = ref
		c.leases = append(c.leases, l)
	}
}

// lease picks a lease to act on.
func (w *modelWorld) lease() (*modelChannel, *modelLease, bool) {
	c := pick(w, w.channels)
	if len(c.leases) == 0 {
		return nil, nil, false
	}
	return c, pick(w, c.leases), true
}

// poll ranges over a lease until there is nothing more.
func (w *modelWorld) poll() {
	c, l, ok := w.lease()
	if !ok {
		return
	}
	w.say("%s polls a lease on %s", l.ref.who.label, c.ref.id)
	if l.push && l.ref.end.ok() {
		for _, err := range l.Messages(background) {
			w.agree("second loop", err, oneOf("busy"))
		}
		return
	}
	ctx, cancel := context.WithCancel(background)
	var list []chansec.Message[int]
	var missed, end error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range l.Messages(ctx) {
			switch {
			case err == nil:
				list = append(list, m)
			case class(err) == "lagged":
				missed = err
			default:
				end = err
			}
		}
	}()
	synctest.Wait()
	cancel()
	<-done
	lost, want := c.ref.poll(l.ref)
	w.compare("messages of a lease", w.showMessages(list), w.showAll(want))
	w.compare("whether any were missed", strconv.FormatBool(missed != nil), strconv.FormatBool(lost.n > 0))
	w.compareMissed(missed, lost)
	if l.ref.end.ok() {
		w.agree("end of the loop", end, oneOf("canceled"))
	} else {
		w.agree("end of the loop", end, l.ref.end)
	}
}

func (w *modelWorld) closeLease() {
	c, l, ok := w.lease()
	if !ok {
		return
	}
	w.say("%s closes a lease on %s", l.ref.who.label, c.ref.id)
	w.agree("closing", l.Close(), nil)
	if l.ref.end.ok() {
		l.ref.end = oneOf("closed")
	}
}

func (w *modelWorld) claim() {
	p, c, s, ok := port[chansec.Worker[int]](w, chansec.OpClaim)
	if !ok {
		return
	}
	limit := w.limit()
	w.say("%s claims %d of %s", s.ref.label, limit, c.ref.id)
	list, err := p.Claim(background, limit)
	if w.ref.rule && len(list) > 0 {
		limit = len(list) // those that were refused may have counted
	}
	w.refused(c, s)
	want, no := c.ref.claim(s.ref, limit)
	w.agree("claim", err, no)
	w.compareClaims(c, s, list, want)
}

// refused notes that what a rule keeps from somebody may have been in their hands for an instant.
func (w *modelWorld) refused(c *modelChannel, s *modelSubject) {
	for _, m := range c.ref.held() {
		if m.claim == nil && !w.ref.passes(s.ref.system, m.Content) {
			w.hazy[m] = true
		}
	}
}

func (w *modelWorld) compareClaims(c *modelChannel, s *modelSubject, list []chansec.Claim[int], want []*refMessage) {
	w.compare("number of claims", strconv.Itoa(len(list)), strconv.Itoa(len(want)))
	for i := range min(len(list), len(want)) {
		w.compareClaim(c, s, list[i], want[i])
	}
}

// claimNext begins to wait for a message, and may go on waiting while other things happen.
func (w *modelWorld) claimNext() {
	p, c, s, ok := port[chansec.Worker[int]](w, chansec.OpClaim)
	if !ok || c.waiter != nil {
		w.did = nil
		return
	}
	ctx, cancel := context.WithCancel(background)
	x := &modelWaiter{who: s, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		x.claim, x.err = p.ClaimNext(ctx)
	}()
	synctest.Wait()
	worker, no := c.ref.work(s.ref)
	if no.ok() && c.ref.closed {
		no = oneOf("closed")
	}
	waits := no.ok() && len(c.ref.claimable(worker.system)) == 0
	w.say("%s waits for a claim of %s", s.ref.label, c.ref.id)
	switch {
	case waits && !w.variant.patient() && w.chance(2):
		x.worker, c.waiter = worker, x
		return
	case waits:
		w.refused(c, s)
		no = oneOf("canceled")
	case no.ok():
		w.refused(c, s)
		want, _ := c.ref.claim(s.ref, 1)
		<-x.done
		w.compareClaims(c, s, []chansec.Claim[int]{x.claim}, want)
	}
	cancel()
	<-x.done
	w.agree("ClaimNext", x.err, no)
}

// receipts picks some of what was claimed lately, by whomever, and spoils some.
func (w *modelWorld) receipts(c *modelChannel) (list []chansec.Receipt) {
	for range w.rng.IntN(3) + 1 {
		if len(c.claims) == 0 {
			break
		}
		claim, _ := pick(w, c.claims).take()
		r := claim.Receipt()
		switch w.rng.IntN(8) {
		case 0:
			r.Attempt = 0
		case 1:
			r.Attempt++
		case 2:
			r.ID = w.someID()
		}
		list = append(list, r)
	}
	return list
}

func (w *modelWorld) settle() {
	op := pick(w, []chansec.Operation{chansec.OpAcknowledge, chansec.OpNack, chansec.OpExtend})
	p, c, s, ok := port[chansec.Worker[int]](w, op)
	if !ok {
		return
	}
	list := w.receipts(c)
	w.say("%s on %s: %s %s", s.ref.label, c.ref.id, op, w.showReceipts(list))
	var n int
	var err error
	switch op {
	case chansec.OpAcknowledge:
		n, err = p.Acknowledge(background, list...)
	case chansec.OpNack:
		n, err = p.Nack(background, list...)
	case chansec.OpExtend:
		n, err = p.Extend(background, list...)
	}
	want, no := c.ref.settle(s.ref, op, list)
	w.agree(string(op), err, no)
	w.compare(string(op), strconv.Itoa(n), strconv.Itoa(want))
}

func (w *modelWorld) showReceipts(list []chansec.Receipt) (text string) {
	for _, r := range list {
		text += fmt.Sprintf("%s/%d ", w.nameID(r.ID), r.Attempt)
	}
	return text
}

// settleOne settles a claim by its own methods, through the port that claimed it.
func (w *modelWorld) settleOne() {
	c := pick(w, w.channels)
	if len(c.claims) == 0 {
		return
	}
	claim, s := pick(w, c.claims).take()
	op := pick(w, []chansec.Operation{chansec.OpAcknowledge, chansec.OpNack, chansec.OpExtend})
	w.did = &doing{s, c, op}
	w.say("%s on %s: %s of its claim %s", s.ref.label, c.ref.id, op, w.showReceipts([]chansec.Receipt{claim.Receipt()}))
	var err error
	switch op {
	case chansec.OpAcknowledge:
		err = claim.Acknowledge(background)
	case chansec.OpNack:
		err = claim.Nack(background)
	case chansec.OpExtend:
		err = claim.Extend(background)
	}
	n, no := c.ref.settle(s.ref, op, []chansec.Receipt{claim.Receipt()})
	if no.ok() && n == 0 {
		no = oneOf("lost")
	}
	w.agree(string(op), err, no)
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

func (w *modelWorld) evict(p chansec.Host[int], c *modelChannel, s *modelSubject) (got, want int, err error, no refError) {
	if w.chance(2) {
		before := time.Now().Add(-time.Duration(w.rng.IntN(50)) * w.variant.unit)
		if w.chance(20) {
			before = time.Time{}
		}
		w.say("%s evicts what is older than %s from %s", s.ref.label, time.Since(before), c.ref.id)
		got, err = p.EvictBefore(background, before)
		want, no = c.ref.host(s.ref, chansec.OpEvict, before.IsZero(), func() int {
			return c.ref.discard(forgotten, func(m *refMessage) bool { return m.Timestamp.Before(before) })
		})
		return got, want, err, no
	}
	keep := w.rng.IntN(8) - 1
	w.say("%s evicts all but %d from %s", s.ref.label, keep, c.ref.id)
	got, err = p.EvictBeyond(background, keep)
	want, no = c.ref.host(s.ref, chansec.OpEvict, keep < 0, func() int { return c.ref.forget(keep) })
	return got, want, err, no
}

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
