package chansec_test

import (
	"slices"
	"time"

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
	case chansec.OpWrite, chansec.OpDelete:
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

// refJWT is the keys in force and everything that was ever revoked, as far as it is known here, and for how long that counts.
type refJWT struct {
	keys      []refKey
	signer    string
	strict    bool
	known     []refRevocation
	elsewhere []refRevocation // by others, since the last Refresh
	away      bool            // the backend fails
	refreshed time.Time       // when a Refresh last succeeded
	limit     time.Duration   // from then on nobody can say what others revoked; 0 is never
}

// refKey is a key as it was made once: who was proved by one that was removed stays refused, while what it signed is good
// again once an equal one is added.
type refKey struct {
	id     string
	secret string
	made   int
}

// refRevocation is of one token, or of those of a subject up to a second.
type refRevocation struct {
	token   string
	subject string
	before  time.Time
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
	return !slices.Contains(j.keys, t.key) || slices.ContainsFunc(j.known, func(r refRevocation) bool {
		if r.token != "" {
			return r.token == t.id
		}
		return r.subject == t.subject && (t.issued.IsZero() || t.issued.Unix() <= r.before.Unix())
	})
}

// refresh takes over what others revoked.
func (j *refJWT) refresh(now time.Time) {
	j.known, j.elsewhere, j.refreshed = append(j.known, j.elsewhere...), nil, now
}

// stale reports whether nobody can say any more what others revoked.
func (j *refJWT) stale(now time.Time) bool {
	return j.limit > 0 && !now.Before(j.refreshed.Add(j.limit))
}

// authenticate says what a token proves: itself, by the key that verifies it now.
func (j *refJWT) authenticate(now time.Time, t *refToken) (*refToken, refError) {
	i := slices.IndexFunc(j.keys, func(k refKey) bool { return k.id == t.key.id && k.secret == t.key.secret })
	if i < 0 {
		return nil, oneOf("unauthenticated")
	}
	proved := *t
	proved.key = j.keys[i]
	switch {
	case !now.Before(t.grant.until):
		return nil, oneOf("unauthenticated+expired")
	case j.revoked(&proved):
		return nil, oneOf("unauthenticated+revoked")
	case j.stale(now):
		return nil, oneOf("undecided")
	}
	return &proved, nil
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
	switch { // what is known to be wrong comes first: it will not be right later
	case !no.ok():
	case w.jwt != nil && (who.token != nil || w.acl == nil || w.suffices) && w.jwt.stale(w.now):
		no = oneOf("undecided")
	case !w.allows(who, channel, rank):
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

// replaces is a rule about what lies under a key: multiples of 3 are changed by their sender and dan only.
func (w *refWorld) replaces(system string, old *refMessage) bool {
	return !w.rule || old == nil || old.Content%3 != 0 || system == "dan" || system == old.SenderID
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
	if w.jwt != nil && w.jwt.limit > 0 {
		list = append(list, w.jwt.refreshed.Add(w.jwt.limit))
	}
	list = slices.DeleteFunc(list, func(t time.Time) bool { return !w.now.Before(t) || !t.Before(until) })
	slices.SortFunc(list, time.Time.Compare)
	return append(slices.Compact(list), until)
}
