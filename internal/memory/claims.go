package memory

import (
	"context"
	"slices"
	"time"

	"github.com/chansec/chansec/driver"
)

// slot is what claims need to know of an entry.
type slot struct {
	claim    int32 // index into claims.held, 0 if nobody holds the entry
	attempts uint64
}

// claim is one entry in somebody's hands.
type claim struct {
	seq        uint64
	session    *session
	box        *box
	deadline   time.Duration // since claims.start, by the monotonic clock
	heap       int32         // place in claims.order
	prev, next int32         // other claims of the same session
}

// session is the claims that are released together.
type session struct {
	who  driver.Consumer
	head int32
}

// claims are kept in a slab whose free places are used again, with a 4-ary heap by deadline and a list per session: cost
// and memory depend on what is in hands, not on what is stored.
type claims struct {
	start    time.Time
	wall     time.Time // the clock at read, which is less than a second before the last claim
	read     time.Duration
	held     []claim // index 0 is nobody
	free     []int32
	order    []int32
	sessions map[driver.Consumer]*session // those that claimed and were not released
	recent   *session                     // of the last claim, if it was not released
	timer    *time.Timer                  // runs while somebody waits for a deadline
}

func (c *claims) init() {
	c.start = time.Now()
	c.wall = c.start.Round(0)
	c.held = make([]claim, 1)
	c.sessions = make(map[driver.Consumer]*session)
}

// now is the time since the start by the monotonic clock, which is all that claims end by.
func (c *claims) now() time.Duration { return time.Since(c.start) }

// told is a deadline as its holder is told of it. For that the wall clock is read once a second.
func (c *claims) told(now, deadline time.Duration) time.Time {
	if now-c.read >= time.Second {
		wall := time.Now()
		c.wall, c.read = wall.Round(0), wall.Sub(c.start)
	}
	return c.wall.Add(deadline - c.read)
}

func (c *claims) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
}

// session returns the session of a consumer, made if need be.
func (c *claims) session(who driver.Consumer) *session {
	if c.recent != nil && c.recent.who == who {
		return c.recent
	}
	s := c.sessions[who]
	if s == nil {
		s = &session{who: who}
		c.sessions[who] = s
	}
	c.recent = s
	return s
}

func (c *claims) begin(s *slot, seq uint64, of *session, b *box, deadline time.Duration) {
	var i int32
	if n := len(c.free); n > 0 {
		i, c.free = c.free[n-1], c.free[:n-1]
	} else {
		i = int32(len(c.held))
		c.held = append(c.held, claim{})
	}
	h := &c.held[i]
	h.seq, h.session, h.box, h.deadline = seq, of, b, deadline
	h.heap, h.prev, h.next = int32(len(c.order)), 0, of.head
	c.held[of.head].prev = i
	of.head = i
	c.order = append(c.order, i)
	c.up(len(c.order) - 1)
	s.claim = i
	s.attempts++
}

// end frees the claim of a slot. What becomes of the entry is the caller's business.
func (c *claims) end(s *slot) {
	i := s.claim
	h := &c.held[i]
	c.held[h.next].prev = h.prev
	if h.prev != 0 {
		c.held[h.prev].next = h.next
	} else {
		h.session.head = h.next
	}
	at, last := int(h.heap), len(c.order)-1
	c.order[at] = c.order[last]
	c.held[c.order[at]].heap = int32(at)
	c.order = c.order[:last]
	if at < last {
		c.fix(at)
	}
	h.session, h.box = nil, nil
	c.free = append(c.free, i)
	s.claim = 0
}

func (c *claims) before(i, j int) bool {
	return c.held[c.order[i]].deadline < c.held[c.order[j]].deadline
}

func (c *claims) swap(i, j int) {
	c.order[i], c.order[j] = c.order[j], c.order[i]
	c.held[c.order[i]].heap, c.held[c.order[j]].heap = int32(i), int32(j)
}

func (c *claims) up(i int) {
	for i > 0 && c.before(i, (i-1)/4) {
		c.swap(i, (i-1)/4)
		i = (i - 1) / 4
	}
}

// fix moves the claim at a place in the heap to where its deadline belongs.
func (c *claims) fix(i int) {
	c.up(i)
	for {
		least := i
		for child := 4*i + 1; child <= 4*i+4 && child < len(c.order); child++ {
			if c.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		c.swap(i, least)
		i = least
	}
}

// giveBack ends a claim and makes its entry claimable again.
func (l *Log[V]) giveBack(i int32) {
	h := &l.claims.held[i]
	seq, b := h.seq, h.box
	_, seg := l.entry(seq)
	l.claims.end(&seg.slots[index(seq)])
	b.returned.push(seq)
}

// reclaim gives back what was held too long: whoever looks at claims calls it first, so that a claim ends at its deadline.
func (l *Log[V]) reclaim(now time.Duration) {
	for len(l.claims.order) > 0 && l.claims.held[l.claims.order[0]].deadline <= now {
		l.giveBack(l.claims.order[0])
	}
}

// lanes returns those of everyone and of one box.
func (l *Log[V]) lanes(name string) ([2]lane[V], int) {
	if l.boxes == nil {
		return [2]lane[V]{{&l.all, l}}, 1
	}
	own := l.boxes[name]
	if name == "" || own == nil {
		return [2]lane[V]{{l.boxes[""], l}}, 1
	}
	return [2]lane[V]{{l.boxes[""], l}, {own, l}}, 2
}

// claimable returns the entry of a lane that is to be claimed next, or nil, with its segment, and whether it was given
// back, dropping what is gone from the queues.
func (l *Log[V]) claimable(n lane[V]) (e *driver.Entry[V], seg *segment[V], back bool) {
	for len(n.returned) > 0 {
		if e, seg := l.entry(n.returned[0]); e != nil {
			return e, seg, true
		}
		n.returned.pop()
	}
	first, end := n.bounds()
	for n.next = max(n.next, first); n.next < end; n.next++ {
		seq := n.seq(n.next)
		if e, seg := l.entry(seq); e != nil {
			return e, seg, false
		}
		if n.whole() && l.dir.Load().segment(seq) == nil {
			n.next = ((seq-1)>>segmentShift + 1) << segmentShift // the last of an empty segment
		}
	}
	return nil, nil, false
}

func (l *Log[V]) Claim(_ context.Context, who driver.Consumer, box string, limit int, timeout time.Duration, dst []driver.Claimed[V]) ([]driver.Claimed[V], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return dst, driver.ErrClosed
	}
	now := l.claims.now()
	l.reclaim(now)
	lanes, n := l.lanes(box)
	for range limit {
		from := lanes[0]
		e, seg, back := l.claimable(from)
		if n == 2 {
			own, ownSeg, ownBack := l.claimable(lanes[1])
			if own != nil && (e == nil || ownBack && !back || ownBack == back && own.Seq < e.Seq) {
				from, e, seg, back = lanes[1], own, ownSeg, ownBack
			}
		}
		if e == nil {
			break
		}
		if back {
			from.returned.pop()
		} else {
			from.next++
		}
		s := &seg.slots[index(e.Seq)]
		l.claims.begin(s, e.Seq, l.claims.session(who), from.box, now+timeout)
		dst = slices.Grow(dst, 1)[:len(dst)+1]
		c := &dst[len(dst)-1]
		c.Entry, c.Attempt, c.Deadline = *e, s.attempts, l.claims.told(now, now+timeout)
	}
	l.watchDeadline()
	return dst, nil
}

func (l *Log[V]) WakeClaim(box string, ch chan<- struct{}) (cancel func(), ready bool) {
	w := &waiter{ch: ch}
	l.workers.arm(w)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reclaim(l.claims.now())
	lanes, n := l.lanes(box)
	for _, lane := range lanes[:n] {
		if e, _, _ := l.claimable(lane); e != nil {
			l.workers.disarm(w)
			return nil, true
		}
	}
	l.watchDeadline()
	return func() { l.workers.disarm(w) }, false
}

// watchDeadline runs a timer to the next deadline while there are workers who wait for it.
func (l *Log[V]) watchDeadline() {
	if l.workers.n.Load() == 0 || len(l.claims.order) == 0 || l.closed.Load() {
		return
	}
	wait := l.claims.held[l.claims.order[0]].deadline - l.claims.now()
	if l.claims.timer == nil {
		l.claims.timer = time.AfterFunc(wait, l.deadline)
	} else {
		l.claims.timer.Reset(wait)
	}
}

func (l *Log[V]) deadline() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return
	}
	was := len(l.claims.order)
	l.reclaim(l.claims.now())
	if len(l.claims.order) < was {
		l.workers.wake()
	}
	l.watchDeadline()
}

// held returns the entry and segment of the claim that a receipt names, or nil.
func (l *Log[V]) held(name string, r *driver.Receipt) (*driver.Entry[V], *segment[V], *slot) {
	l.reclaim(l.claims.now())
	e, seg := l.byID(r.ID)
	if e == nil || seg.slots == nil {
		return nil, nil, nil
	}
	s := &seg.slots[index(e.Seq)]
	if s.claim == 0 || l.claims.held[s.claim].session.who.Name != name {
		return nil, nil, nil
	}
	if r.Attempt != s.attempts && (r.Attempt != 0 || s.attempts != 1) {
		return nil, nil, nil
	}
	return e, seg, s
}

func (l *Log[V]) Ack(_ context.Context, name string, r driver.Receipt) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return false, driver.ErrClosed
	}
	e, seg, _ := l.held(name, &r)
	if e == nil {
		return false, nil
	}
	l.discard(e, seg, true)
	l.advance()
	return true, nil
}

func (l *Log[V]) Nack(_ context.Context, name string, r driver.Receipt) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return false, driver.ErrClosed
	}
	_, _, s := l.held(name, &r)
	if s == nil {
		return false, nil
	}
	l.giveBack(s.claim)
	l.workers.wake()
	return true, nil
}

func (l *Log[V]) Extend(_ context.Context, name string, r driver.Receipt, timeout time.Duration) (time.Time, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return time.Time{}, false, driver.ErrClosed
	}
	_, _, s := l.held(name, &r)
	if s == nil {
		return time.Time{}, false, nil
	}
	h, now := &l.claims.held[s.claim], l.claims.now()
	h.deadline = now + timeout
	l.claims.fix(int(h.heap))
	l.watchDeadline()
	return l.claims.told(now, h.deadline), true, nil
}

func (l *Log[V]) Release(_ context.Context, who driver.Consumer) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return 0, driver.ErrClosed
	}
	l.reclaim(l.claims.now())
	of := l.claims.sessions[who]
	if of == nil {
		return 0, nil
	}
	delete(l.claims.sessions, who)
	if l.claims.recent == of {
		l.claims.recent = nil
	}
	n := 0
	for ; of.head != 0; n++ {
		l.giveBack(of.head)
	}
	if n > 0 {
		l.workers.wake()
	}
	return n, nil
}
