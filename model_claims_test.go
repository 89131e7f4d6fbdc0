package chansec_test

import (
	"context"
	"fmt"
	"strconv"
	"testing/synctest"

	"github.com/chansec/chansec"
)

// The operations of the model test on claims.

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
	w.learn(list...)
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

// learn takes over how often messages were claimed of which that is not known for sure.
func (w *modelWorld) learn(claims ...chansec.Claim[int]) {
	for _, c := range claims {
		if m := w.names[c.Message.ID]; w.hazy[m] {
			m.attempts = max(m.attempts, c.Attempt-1)
			delete(w.hazy, m)
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
	if waits == x.ended() && no.ok() {
		w.compare("whether ClaimNext waits", strconv.FormatBool(!x.ended()), strconv.FormatBool(waits))
		cancel()
		<-x.done
		return
	}
	switch {
	case waits && !w.variant.patient() && w.chance(2):
		x.worker, c.waiter = worker, x
		return
	case waits:
		w.refused(c, s)
		no = oneOf("canceled")
	case no.ok():
		w.learn(x.claim)
		w.refused(c, s)
		want, _ := c.ref.claim(s.ref, 1)
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
