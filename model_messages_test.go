package chansec_test

import (
	"context"
	"fmt"
	"strconv"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

// The operations of the model test on messages: write, read and follow.

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
	if w.agree("write", err, no) {
		w.stored(c, want, id)
	}
}

// stored gives what was written its ID, which is a new one.
func (w *modelWorld) stored(c *modelChannel, want *refMessage, id uuid.UUID) {
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
