package chansec_test

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

// refChannel is everything that was ever written, and who stands where in it.
type refChannel struct {
	world   *refWorld
	id      string
	boxes   bool // a recipient alone sees what is addressed to them
	queue   bool // refuses what it cannot hold
	keyed   bool // holds the last message of each key, and refuses more keys than it has room for
	max     int
	age     time.Duration // 0: no limit
	timeout time.Duration // of claims

	accepts   bool
	closed    bool
	messages  []*refMessage
	positions map[string]int // of readers: how many messages are behind them
	leases    []*refLease
	workers   []*refWorker
}

type refMessage struct {
	chansec.Message[int]
	fate     refFate
	attempts uint64
	claim    *refClaim
}

type refFate int

const (
	stored    refFate = iota
	forgotten         // by retention or eviction: who had not read it is told
	removed           // on purpose: acknowledged, removed or cleared
)

// refClaim lasts until it is settled, its message goes, its worker loses the right, or its deadline comes.
type refClaim struct {
	system   string
	worker   *refWorker
	deadline time.Time
}

// refLease and refWorker are a yes that lasts.
type refLease struct {
	who      *refSubject
	system   string // when it began
	position int
	unknown  int // how many it may have missed before it began
	end      refError
}

type refWorker struct {
	who    *refSubject
	system string
	ended  bool
}

func (c *refChannel) decide(who *refSubject, op chansec.Operation) (string, refError) {
	return c.world.decide(who, c.id, op)
}

// sees says whether a message is for everyone or for that system. Whether they may see it is another matter.
func (c *refChannel) sees(system string, m *refMessage) bool {
	return !c.boxes || m.RecipientID == "" || m.RecipientID == system
}

// may says whether a system gets a message.
func (c *refChannel) may(system string, m *refMessage) bool {
	return c.sees(system, m) && c.world.passes(system, m.Content)
}

func (c *refChannel) held() (list []*refMessage) {
	for _, m := range c.messages {
		if m.fate == stored {
			list = append(list, m)
		}
	}
	return list
}

func (m *refMessage) discard(fate refFate) { m.fate, m.claim = fate, nil }

// evicted is what becomes of what is evicted. Of a keyed channel nobody misses that: it is the same as deleting the key.
func (c *refChannel) evicted() refFate {
	if c.keyed {
		return removed
	}
	return forgotten
}

// forget discards the oldest messages beyond the newest keep.
func (c *refChannel) forget(keep int) (n int) {
	for held := c.held(); len(held)-n > keep; n++ {
		held[n].discard(c.evicted())
	}
	return n
}

// write stores a message; the caller fills in what only the channel could know.
func (c *refChannel) write(who *refSubject, m chansec.Message[int], invalid bool) (*refMessage, refError) {
	system, no := c.decide(who, chansec.OpWrite)
	switch {
	case !no.ok():
		return nil, no
	case !c.world.passes(system, m.Content):
		return nil, oneOf("permission")
	case invalid || m.SenderID != "" && m.SenderID != system:
		return nil, oneOf("invalid")
	case c.closed:
		return nil, oneOf("closed")
	case !c.accepts:
		return nil, oneOf("not accepting")
	case c.queue && len(c.held()) >= c.max:
		return nil, oneOf("full")
	}
	c.forget(c.max - 1)
	m.SenderID, m.Timestamp = system, c.world.now
	stored := &refMessage{Message: m}
	c.messages = append(c.messages, stored)
	return stored, nil
}

// under returns what lies under a key, or nil.
func (c *refChannel) under(key string) *refMessage {
	for _, m := range c.held() {
		if m.Key == key {
			return m
		}
	}
	return nil
}

// unread reports whether a rule cannot be asked about what lies under a key, since the channel was closed.
func (c *refChannel) unread(key string) bool { return c.closed && c.world.rule && key != "" }

// keep stores a message under a key, if what lies there is of the last ID, where one is given.
func (c *refChannel) keep(who *refSubject, m chansec.Message[int], last *uuid.UUID) (*refMessage, refError) {
	system, no := c.decide(who, chansec.OpWrite)
	old := c.under(m.Key)
	switch {
	case c.unread(m.Key):
		return nil, append(no, "undecided+closed")
	case !no.ok():
		return nil, no
	case !c.world.passes(system, m.Content) || !c.world.replaces(system, old):
		return nil, oneOf("permission")
	case m.Key == "":
		return nil, oneOf("invalid")
	case c.closed:
		return nil, oneOf("closed")
	case !c.accepts:
		return nil, oneOf("not accepting")
	case last != nil && (old == nil && *last != uuid.Nil || old != nil && *last != old.ID):
		return nil, oneOf("changed")
	case old == nil && len(c.held()) >= c.max:
		return nil, oneOf("full")
	case old != nil:
		old.discard(removed)
	}
	m.SenderID, m.Timestamp = system, c.world.now
	stored := &refMessage{Message: m}
	c.messages = append(c.messages, stored)
	return stored, nil
}

// get returns what lies under a key. Of a key with nothing under it a rule says the same as of the content 0.
func (c *refChannel) get(who *refSubject, key string) (*refMessage, refError) {
	system, no := c.decide(who, chansec.OpRead)
	m := c.under(key)
	switch {
	case !no.ok():
		return nil, no
	case key == "":
		return nil, oneOf("invalid")
	case c.closed:
		return nil, oneOf("closed")
	case m == nil && c.world.passes(system, 0):
		return nil, oneOf("unknown key")
	case m == nil || !c.world.passes(system, m.Content):
		return nil, oneOf("permission")
	}
	return m, nil
}

// drop takes away what lies under a key, and reports whether anything did.
func (c *refChannel) drop(who *refSubject, key string) (bool, refError) {
	system, no := c.decide(who, chansec.OpDelete)
	old := c.under(key)
	switch {
	case c.unread(key):
		return false, append(no, "undecided+closed")
	case !no.ok():
		return false, no
	case !c.world.replaces(system, old):
		return false, oneOf("permission")
	case key == "":
		return false, oneOf("invalid")
	case c.closed:
		return false, oneOf("closed")
	case !c.accepts:
		return false, oneOf("not accepting")
	case old == nil:
		return false, nil
	}
	old.discard(removed)
	return true, nil
}

// find returns the position behind a message, be it gone, or 0.
func (c *refChannel) find(id uuid.UUID) int {
	return slices.IndexFunc(c.messages, func(m *refMessage) bool { return m.ID == id }) + 1
}

// orClosed is a reason that a closed channel need not give.
func (c *refChannel) orClosed(reason string) refError {
	if c.closed {
		return oneOf(reason, "closed")
	}
	return oneOf(reason)
}

// oldest is the position before the oldest message that is held.
func (c *refChannel) oldest() int {
	for i, m := range c.messages {
		if m.fate == stored {
			return i
		}
	}
	return len(c.messages)
}

// refMissed is how many messages retention took before they were read, or at most how many.
type refMissed struct {
	n      int
	atMost bool
}

// missed counts what retention took before a system read it, and returns the position behind that.
func (c *refChannel) missed(system string, position int) (n, behind int) {
	behind = position
	for i := position; i < len(c.messages); i++ {
		if m := c.messages[i]; m.fate == forgotten && c.sees(system, m) {
			n, behind = n+1, i+1
		}
	}
	return n, behind
}

// from returns the position behind a message that was written once. In a mailbox, nobody remembers for whom those were that
// are gone: from behind one of them, any of those after it may have been missed.
func (c *refChannel) from(id uuid.UUID) (position, unknown int) {
	position = c.find(id)
	if oldest := c.oldest(); c.boxes && position < oldest {
		for _, m := range c.messages[position:oldest] {
			if m.fate == forgotten {
				unknown++
			}
		}
		position = oldest
	}
	return position, unknown
}

const maxReadLimit = 1000

// read reads on from where the system stands, or from behind a message.
func (c *refChannel) read(who *refSubject, after *uuid.UUID, limit int) (list []*refMessage, missed refMissed, err refError) {
	system, no := c.decide(who, chansec.OpRead)
	position, known := c.positions[system]
	unknown := 0
	switch {
	case !no.ok():
		return nil, missed, no
	case limit < 1 || limit > maxReadLimit:
		return nil, missed, oneOf("invalid")
	case after != nil && c.find(*after) == 0:
		return nil, missed, c.orClosed("unknown")
	case c.closed:
		return nil, missed, oneOf("closed")
	case after != nil:
		position, unknown = c.from(*after)
	case !known:
		position = c.oldest()
	}
	n, position := c.missed(system, position)
	c.positions[system] = position
	if n += unknown; n > 0 {
		return nil, refMissed{n, unknown > 0}, oneOf("lagged")
	}
	for i, m := range c.messages[position:] {
		if len(list) == limit {
			break
		}
		if m.fate != stored || !c.sees(system, m) || m.claim != nil {
			continue
		}
		c.positions[system] = position + i + 1
		if c.may(system, m) {
			list = append(list, m)
		}
	}
	return list, missed, nil
}

func (c *refChannel) subscribe(who *refSubject, after *uuid.UUID) (*refLease, refError) {
	system, no := c.decide(who, chansec.OpSubscribe)
	position, unknown := len(c.messages), 0
	switch {
	case !no.ok():
		return nil, no
	case after != nil && c.find(*after) == 0:
		return nil, c.orClosed("unknown")
	case c.closed:
		return nil, oneOf("closed")
	case after != nil:
		position, unknown = c.from(*after)
	}
	l := &refLease{who: who, system: system, position: position, unknown: unknown}
	c.leases = append(c.leases, l)
	return l, nil
}

// poll returns what a lease yields: how many messages it missed, and those that it sees. An ended lease yields its end.
func (c *refChannel) poll(l *refLease) (missed refMissed, list []*refMessage) {
	if !l.end.ok() {
		return missed, nil
	}
	missed.n, l.position = c.missed(l.who.system, l.position)
	missed.n, missed.atMost, l.unknown = missed.n+l.unknown, l.unknown > 0, 0
	for _, m := range c.messages[l.position:] {
		if m.fate == stored && c.may(l.who.system, m) {
			list = append(list, m)
		}
	}
	l.position = len(c.messages)
	return missed, list
}

// claimable lists what a system may claim: first what was given back, then the others, the oldest first.
func (c *refChannel) claimable(system string) (list []*refMessage) {
	for _, claimedBefore := range []bool{true, false} {
		for _, m := range c.held() {
			if c.may(system, m) && m.claim == nil && (m.attempts > 0) == claimedBefore {
				list = append(list, m)
			}
		}
	}
	return list
}

// work returns the worker that claims for a subject.
func (c *refChannel) work(who *refSubject) (*refWorker, refError) {
	system, no := c.decide(who, chansec.OpClaim)
	if !no.ok() {
		return nil, no
	}
	for _, w := range c.workers {
		if w.who == who && w.system == system && !w.ended {
			return w, nil
		}
	}
	w := &refWorker{who: who, system: system}
	if !c.closed {
		c.workers = append(c.workers, w)
	}
	return w, nil
}

func (c *refChannel) claim(who *refSubject, limit int) (list []*refMessage, err refError) {
	w, no := c.work(who)
	switch {
	case !no.ok():
		return nil, no
	case limit < 1 || limit > maxReadLimit:
		return nil, oneOf("invalid")
	case c.closed:
		return nil, oneOf("closed")
	}
	for _, m := range c.claimable(w.system) {
		if len(list) < limit {
			list = append(list, m)
			c.take(w, m)
		}
	}
	return list, nil
}

func (c *refChannel) take(w *refWorker, m *refMessage) {
	m.attempts++
	m.claim = &refClaim{system: w.system, worker: w, deadline: c.world.now.Add(c.timeout)}
}

// settle acknowledges, gives back or extends, and returns how many receipts took effect.
func (c *refChannel) settle(who *refSubject, op chansec.Operation, receipts []chansec.Receipt) (n int, err refError) {
	system, no := c.decide(who, op)
	switch {
	case !no.ok():
		return 0, no
	case c.closed && len(receipts) > 0:
		return 0, oneOf("closed")
	}
	for _, r := range receipts {
		for _, m := range c.held() {
			current := r.Attempt == m.attempts || r.Attempt == 0 && m.attempts == 1
			if m.ID != r.ID || m.claim == nil || m.claim.system != system || !current {
				continue
			}
			n++
			switch op {
			case chansec.OpAcknowledge:
				m.discard(removed)
			case chansec.OpNack:
				m.claim = nil
			case chansec.OpExtend:
				m.claim.deadline = c.world.now.Add(c.timeout)
			}
		}
	}
	return n, nil
}

// host does what only an admin may.
func (c *refChannel) host(who *refSubject, op chansec.Operation, invalid bool, do func() int) (int, refError) {
	_, no := c.decide(who, op)
	switch {
	case !no.ok():
		return 0, no
	case invalid:
		return 0, oneOf("invalid")
	case c.closed:
		return 0, oneOf("closed")
	}
	return do(), nil
}

func (c *refChannel) discard(fate refFate, match func(*refMessage) bool) (n int) {
	for _, m := range c.held() {
		if match(m) {
			m.discard(fate)
			n++
		}
	}
	return n
}

func (c *refChannel) close() {
	c.closed, c.accepts = true, false
	for _, l := range c.leases {
		if l.end.ok() {
			l.end = oneOf("closed")
		}
	}
	for _, w := range c.workers {
		w.ended = true
	}
}
