package chansec_test

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

// The rules of this library once more, as plainly as they can be said: lists that are searched from end to end, no caches,
// no timers, no goroutines. TestModel compares the library with them. Whoever changes a rule changes it here, too.

// refError is what an operation may fail with: the classes of its error, as class names them. Where several reasons hold at
// once, any of them may be given. None is success.
type refError []string

func oneOf(classes ...string) refError { return classes }

func (e refError) ok() bool { return len(e) == 0 }

// refWorld is one security and the channels that ask it.
type refWorld struct {
	now      time.Time
	acl      *refACL // nil: there is no list
	jwt      *refJWT // nil: there are no tokens
	suffices bool    // whoever has a token need not be on the list
	rule     bool    // some messages are for some only
	channels []*refChannel
}

// need is the rank of the role that an operation takes: 1 is read, 2 is write, 3 is admin.
func need(op chansec.Operation) int {
	switch op {
	case chansec.OpWrite:
		return 2
	case chansec.OpAdmin, chansec.OpClear, chansec.OpEvict, chansec.OpRemove:
		return 3
	}
	return 1
}

func rank(role chansec.Role) int {
	return slices.Index([]chansec.Role{"", chansec.RoleRead, chansec.RoleWrite, chansec.RoleAdmin}, role)
}

// refACL is a list of who has which role where, and until when.
type refACL struct{ entries []refEntry }

type refEntry struct {
	system  string
	rank    int
	channel string    // "" is all of them
	until   time.Time // zero is never
}

func (e refEntry) holds(now time.Time) bool { return e.until.IsZero() || now.Before(e.until) }

func (a *refACL) add(system string, role chansec.Role, channel string, until time.Time) {
	for r := 1; r <= rank(role); r++ {
		a.list(system, r, channel, until)
	}
}

// list adds a role without those that it includes.
func (a *refACL) list(system string, rank int, channel string, until time.Time) {
	a.entries = append(a.entries, refEntry{system, rank, channel, until})
}

// remove takes out what matches, and reports whether any of it still held.
func (a *refACL) remove(now time.Time, match func(refEntry) bool) bool {
	held := slices.ContainsFunc(a.entries, func(e refEntry) bool { return match(e) && e.holds(now) })
	a.entries = slices.DeleteFunc(a.entries, match)
	return held
}

func (a *refACL) revoke(now time.Time, system string) bool {
	return a.remove(now, func(e refEntry) bool { return e.system == system })
}

func (a *refACL) revokeRole(now time.Time, system string, role chansec.Role) bool {
	return a.remove(now, func(e refEntry) bool { return e.system == system && e.rank >= rank(role) })
}

func (a *refACL) revokeOn(now time.Time, system string, role chansec.Role, channel string) bool {
	return a.remove(now, func(e refEntry) bool {
		return e.system == system && e.rank >= rank(role) && e.channel == channel
	})
}

func (a *refACL) allows(now time.Time, system, channel string, rank int) bool {
	return slices.ContainsFunc(a.entries, func(e refEntry) bool {
		return e.system == system && e.rank >= rank && (e.channel == "" || e.channel == channel) && e.holds(now)
	})
}

func (a *refACL) knows(now time.Time, system string) bool {
	return slices.ContainsFunc(a.entries, func(e refEntry) bool { return e.system == system && e.holds(now) })
}

// longest lists what holds, without what another entry of the same system and channel includes for as long.
func (a *refACL) longest(now time.Time) []refEntry {
	var list []refEntry
	for i, e := range a.entries {
		covered := slices.ContainsFunc(a.entries[i+1:], func(o refEntry) bool { return o == e }) // listed again later
		for _, o := range a.entries {
			longer := o.until.IsZero() && !e.until.IsZero() || o.holds(e.until) && !e.until.IsZero() && e.until.Before(o.until)
			same := o.until.Equal(e.until)
			if o.system == e.system && o.channel == e.channel && (o.rank > e.rank && same || o.rank >= e.rank && longer) {
				covered = true
			}
		}
		if e.holds(now) && !covered {
			list = append(list, e)
		}
	}
	return list
}

// refJWT is the keys in force and everything that was ever revoked.
type refJWT struct {
	keys    []refKey
	signer  string
	strict  bool
	tokens  []string    // revoked
	cutOffs []refCutOff // of subjects
}

type refKey struct {
	id     string
	secret string
}

type refCutOff struct {
	subject string
	at      time.Time
}

type refToken struct {
	id      string // jti
	subject string
	key     refKey
	issued  time.Time // zero: it does not say
	grant   refGrant
}

type refGrant struct {
	rank     int
	all      bool
	channels []string
	until    time.Time
}

// refuses returns every reason why the grant does not reach that far.
func (g refGrant) refuses(now time.Time, channel string, rank int) (reasons refError) {
	if !now.Before(g.until) {
		reasons = append(reasons, "permission+expired")
	}
	if g.rank < rank || !g.all && !slices.Contains(g.channels, channel) {
		reasons = append(reasons, "permission+grant")
	}
	return reasons
}

func (j *refJWT) revoked(t *refToken) bool {
	switch {
	case !slices.Contains(j.keys, t.key), t.id != "" && slices.Contains(j.tokens, t.id):
		return true
	}
	return slices.ContainsFunc(j.cutOffs, func(c refCutOff) bool {
		return c.subject == t.subject && (t.issued.IsZero() || t.issued.Unix() <= c.at.Unix())
	})
}

// authenticate says what a token that was signed by that key proves.
func (j *refJWT) authenticate(now time.Time, t *refToken) refError {
	switch {
	case !slices.Contains(j.keys, t.key):
		return oneOf("unauthenticated", "unauthenticated+revoked")
	case !now.Before(t.grant.until):
		return oneOf("unauthenticated+expired")
	case j.revoked(t):
		return oneOf("unauthenticated+revoked")
	}
	return nil
}

// refSubject is whom ports act for: a name that was wired, or a caller.
type refSubject struct {
	label  string
	wired  bool
	system string    // of a wired name, or as the caller's principal has it
	nobody refError  // an impossible name, no caller, or a caller who is nobody any more
	token  *refToken // what the caller's principal rests on; nil is a principal without proof
	bound  *refGrant // the principal's exported Grant, which others may have changed
}

// decide returns who asks, and the reasons against the operation.
func (w *refWorld) decide(who *refSubject, channel string, op chansec.Operation) (system string, no refError) {
	if !who.nobody.ok() {
		return who.system, who.nobody
	}
	rank := need(op)
	if who.bound != nil {
		no = append(no, who.bound.refuses(w.now, channel, rank)...)
	}
	if who.token != nil {
		no = append(no, who.token.grant.refuses(w.now, channel, rank)...)
		if w.jwt.revoked(who.token) {
			no = append(no, "permission+revoked")
		}
	}
	if no.ok() && !w.allows(who, channel, rank) {
		no = oneOf("permission")
	}
	return who.system, no
}

// allows is what the security says, apart from what a token bounds.
func (w *refWorld) allows(who *refSubject, channel string, rank int) bool {
	switch {
	case w.acl != nil && (who.token == nil || !w.suffices):
		return w.acl.allows(w.now, who.system, channel, rank)
	case who.wired:
		return !w.jwt.strict
	}
	return who.token != nil
}

// passes is a rule about single messages: those that are divisible by 5 are for dan only, who alone may write them, too.
func (w *refWorld) passes(system string, content int) bool {
	return !w.rule || content%5 != 0 || system == "dan"
}

// refChannel is everything that was ever written, and who stands where in it.
type refChannel struct {
	world   *refWorld
	id      string
	boxes   bool // a recipient alone sees what is addressed to them
	queue   bool // refuses what it cannot hold
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

// forget discards the oldest messages beyond the newest keep.
func (c *refChannel) forget(keep int) (n int) {
	for held := c.held(); len(held)-n > keep; n++ {
		held[n].discard(forgotten)
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

// claimable lists what a system may claim, the oldest first.
func (c *refChannel) claimable(system string) (list []*refMessage) {
	for _, m := range c.held() {
		if c.may(system, m) && m.claim == nil {
			list = append(list, m)
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

// settle lets everything happen that follows from the time and from what was changed, without anybody asking.
func (w *refWorld) settle(now time.Time) {
	w.now = now
	for _, c := range w.channels {
		for _, m := range c.messages {
			if m.claim != nil && !now.Before(m.claim.deadline) {
				m.claim = nil
			}
			if c.age > 0 && m.fate == stored && !now.Before(m.Timestamp.Add(c.age)) {
				m.discard(forgotten)
			}
		}
		for _, l := range c.leases {
			if l.end.ok() {
				l.end = c.cut(l.who, l.system, chansec.OpSubscribe, c.boxes)
			}
		}
		for _, worker := range c.workers {
			if worker.ended || c.cut(worker.who, worker.system, chansec.OpClaim, true).ok() {
				continue
			}
			worker.ended = true
			for _, m := range c.messages {
				if m.claim != nil && m.claim.worker == worker {
					m.claim = nil
				}
			}
		}
	}
}

// cut returns why a yes ends, if it does. Where messages are somebody's, it ends when the caller becomes another.
func (c *refChannel) cut(who *refSubject, system string, op chansec.Operation, pinned bool) (end refError) {
	is, no := c.decide(who, op)
	for _, reason := range no {
		end = append(end, with(reason, "revoked"))
	}
	if end.ok() && pinned && is != system {
		return oneOf(with("permission", "revoked"))
	}
	return end
}

// instants lists when something may happen by itself until a time, which is the last.
func (w *refWorld) instants(until time.Time) (list []time.Time) {
	for _, c := range w.channels {
		for _, m := range c.held() {
			if m.claim != nil {
				list = append(list, m.claim.deadline)
			}
			if c.age > 0 {
				list = append(list, m.Timestamp.Add(c.age))
			}
		}
		for _, worker := range c.workers {
			if worker.who.token != nil {
				list = append(list, worker.who.token.grant.until)
			}
			if worker.who.bound != nil {
				list = append(list, worker.who.bound.until)
			}
		}
	}
	if w.acl != nil {
		for _, e := range w.acl.entries {
			list = append(list, e.until)
		}
	}
	list = slices.DeleteFunc(list, func(t time.Time) bool { return !w.now.Before(t) || !t.Before(until) })
	slices.SortFunc(list, time.Time.Compare)
	return append(slices.Compact(list), until)
}
