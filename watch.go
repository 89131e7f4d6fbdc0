package chansec

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// watch is a yes that lasts: a lease, or a worker's claims. It is looked at again for every delivery by those who deliver,
// and on its behalf while it is idle: when the security's version or a credential's changes, when the caller
// changes, when its time is over, and every second where the security cannot say that it changed. Being cut is final.
type watch struct {
	guard  *guard
	who    *subject
	op     Operation
	pinned bool   // ends when the caller becomes another
	onCut  func() // called once, without a lock held, also if the watch never came to be

	ticket atomic.Pointer[ticket]
	cause  atomic.Pointer[error] // why it was cut; nil while it lives
	done   chan struct{}         // closed when it was cut

	asking sync.Mutex // held while the guard is asked, which may call anything, even what cuts this watch

	mu    sync.Mutex // cutting and the timer
	timer *time.Timer

	at     int    // index in the watch list, under its mutex
	system string // whose it was when it was registered
}

const (
	recheckInterval = time.Second     // for securities that are not Versioned
	recheckTimeout  = 5 * time.Second // for a security that may do I/O, per watch
	recheckSoonest  = time.Millisecond
)

// watch registers a watch for what a ticket allows. It fails if that is no longer allowed.
func (g *guard) watch(who *subject, op Operation, t *ticket, pinned bool, onCut func()) (*watch, error) {
	w := &watch{guard: g, who: who, op: op, pinned: pinned, onCut: onCut, done: make(chan struct{}), at: -1}
	w.ticket.Store(t)
	w.mu.Lock()
	w.arm(t)
	w.mu.Unlock()
	if err := g.watched.add(w, t); err != nil {
		w.cut(err)
		return nil, err
	}
	w.refresh() // what changed before the watch was on the list
	if err := w.err(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *watch) err() error {
	if p := w.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// holds is the fast answer for a message written at a time: yes, or look closer.
func (w *watch) holds(at time.Time) bool {
	t := w.ticket.Load()
	if w.cause.Load() != nil {
		return false
	}
	if t.until == forever {
		return t.holds(0)
	}
	return t.holds(at.UnixNano())
}

// admit is the full answer for a message: whether to hand it over, or the error that ends the watch.
func (w *watch) admit(at time.Time, about matter) (bool, error) {
	if w.holds(at) {
		return true, nil
	}
	if err := w.err(); err != nil {
		return false, err
	}
	if w.ticket.Load().perMessage {
		// A no may be meant for this message only: leave it out, and see whether the rest still stands.
		ctx, cancel := w.guard.recheckContext()
		defer cancel()
		t, err := w.guard.authorize(ctx, w.who, w.op, about)
		allowed := err == nil && at.UnixNano() < t.until
		if !allowed || t.systemID != w.ticket.Load().systemID {
			w.renew(nil, at)
		}
		return allowed, w.err()
	}
	w.renew(about, at)
	return true, w.err()
}

// refresh asks again if the ticket does not hold any more.
func (w *watch) refresh() {
	if t := w.ticket.Load(); w.err() == nil && !t.stillHolds() {
		w.renew(nil, time.Now())
	}
}

// renew asks again, as of a time that is not before the last write that was handed over.
func (w *watch) renew(about matter, at time.Time) {
	fresh, err := w.ask(about, at)
	switch {
	case fresh != nil:
		w.guard.watched.follow(fresh)
	case err == nil: // there was no need
	case w.guard.life.Err() != nil:
		w.cut(ErrClosed)
	default:
		w.cut(&RevokedError{At: time.Now(), Cause: err})
	}
}

// ask replaces the ticket, unless it holds again or the watch was cut meanwhile; then it returns nil and nil.
func (w *watch) ask(about matter, at time.Time) (*ticket, error) {
	w.asking.Lock()
	defer w.asking.Unlock()
	old := w.ticket.Load()
	if w.err() != nil || old.stillHolds() && old.holds(at.UnixNano()) {
		return nil, nil
	}
	ctx, cancel := w.guard.recheckContext()
	defer cancel()
	fresh, err := w.guard.authorize(ctx, w.who, w.op, about)
	switch {
	case err != nil:
		return nil, err
	case w.pinned && fresh.systemID != old.systemID:
		return nil, w.guard.another(w.op, old)
	case at.UnixNano() >= fresh.until:
		return nil, denied(old.systemID, w.guard.channelID, w.op, "the decision's time is over", ErrExpired)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err() != nil {
		return nil, nil
	}
	w.ticket.Store(fresh)
	w.arm(fresh)
	return fresh, nil
}

// arm starts the timer for the end of a ticket. The caller holds w.mu.
func (w *watch) arm(t *ticket) {
	if t.until == forever {
		if w.timer != nil {
			w.timer.Stop()
		}
		return
	}
	wait := max(recheckSoonest, time.Duration(t.until-time.Now().UnixNano()))
	if w.timer == nil {
		w.timer = time.AfterFunc(wait, w.timeOver)
	} else {
		w.timer.Reset(wait)
	}
}

func (w *watch) timeOver() {
	w.refresh()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err() == nil { // early, or the decision was renewed
		w.arm(w.ticket.Load())
	}
}

// cut ends the watch, once, and reports whether it was this call.
func (w *watch) cut(cause error) bool {
	w.mu.Lock()
	if !w.cause.CompareAndSwap(nil, &cause) {
		w.mu.Unlock()
		return false
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	close(w.done)
	w.mu.Unlock()
	w.guard.watched.remove(w)
	if w.onCut != nil {
		w.onCut()
	}
	return true
}

// recheckContext bounds a decision that no caller waits for.
func (g *guard) recheckContext() (context.Context, context.CancelFunc) {
	if a := g.fixed.Load(); a.versioned != nil && !a.content {
		return g.life, func() {} // decides in memory
	}
	return context.WithTimeout(g.life, recheckTimeout)
}

// watchList is every watch of a channel, with the goroutines that look at those that are idle. They start with the first
// watch that needs them and end when the channel closes, or with the last watch of a caller.
type watchList struct {
	mu      sync.Mutex
	list    []*watch
	systems map[string]map[*watch]struct{} // as they were registered; a hint whom to look at first
	max     int
	asking  bool               // somebody looks out for changes of the authority
	sources map[Versioned]bool // of credentials: somebody looks out for their changes
	callers map[*subject]*follower
	closed  chan struct{}
	ended   sync.WaitGroup
}

// follower waits for the changes of one caller.
type follower struct {
	watches map[*watch]struct{}
	stop    chan struct{}
}

func (l *watchList) init(max int) {
	l.max = max
	l.systems = make(map[string]map[*watch]struct{})
	l.sources = make(map[Versioned]bool)
	l.callers = make(map[*subject]*follower)
	l.closed = make(chan struct{})
}

func (l *watchList) add(w *watch, t *ticket) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return ErrClosed
	default:
	}
	if len(l.list) >= l.max {
		return ErrLimit
	}
	if err := w.err(); err != nil { // its time was over before it came here
		return err
	}
	w.at = len(l.list)
	l.list = append(l.list, w)
	w.system = t.systemID
	if l.systems[w.system] == nil {
		l.systems[w.system] = make(map[*watch]struct{})
	}
	l.systems[w.system][w] = struct{}{}

	l.followLocked(t)
	if t.changed != nil {
		f := l.callers[w.who]
		if f == nil {
			f = &follower{watches: make(map[*watch]struct{}), stop: make(chan struct{})}
			l.callers[w.who] = f
			l.ended.Go(func() { l.followCaller(w.who.caller, f) })
		}
		f.watches[w] = struct{}{}
	}
	return nil
}

func (l *watchList) remove(w *watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.at < 0 {
		return
	}
	last := len(l.list) - 1
	l.list[w.at] = l.list[last]
	l.list[w.at].at = w.at
	l.list[last] = nil
	l.list = l.list[:last]
	w.at = -1
	if delete(l.systems[w.system], w); len(l.systems[w.system]) == 0 {
		delete(l.systems, w.system)
	}
	if f := l.callers[w.who]; f != nil {
		if delete(f.watches, w); len(f.watches) == 0 {
			delete(l.callers, w.who)
			close(f.stop)
		}
	}
}

// follow sees to it that what a ticket depends on is looked out for.
func (l *watchList) follow(t *ticket) {
	if t.credential == nil {
		return // the rest stays the same for the life of a channel
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followLocked(t)
}

func (l *watchList) followLocked(t *ticket) {
	select {
	case <-l.closed:
		return
	default:
	}
	v := t.authority.versioned
	if !l.asking {
		l.asking = true
		if v != nil {
			l.ended.Go(func() { l.followSource(v, t.version) })
		} else {
			l.ended.Go(l.tick)
		}
	}
	if t.credential == nil {
		return
	}
	if source := t.credential.source(); source != v && !l.sources[source] {
		l.sources[source] = true
		l.ended.Go(func() { l.followSource(source, source.Version()) })
	}
}

// followSource refreshes every watch when a version changes: first those of the systems that a change is about, also of
// one that comes while everybody else's are being looked at.
func (l *watchList) followSource(v Versioned, seen uint64) {
	affected, knows := v.(Affected)
	first := func() {
		if now := calm(seen, v.Version); knows && now != seen {
			for _, id := range calm(nil, func() []string { return affected.AffectedSince(seen) }) {
				l.sweepSystem(id)
			}
			seen = now
		}
	}
	next := func() <-chan struct{} { return calm(always, v.Changed) }
	for changed := next(); ; changed = next() { // before the sweep, so that nothing falls between two
		first()
		l.sweep(first)
		if !l.wait(changed, next, nil) {
			return
		}
	}
}

// always is closed.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// calm asks somebody foreign outside of a decision; if that panics, it returns otherwise.
func calm[V any](otherwise V, ask func() V) (v V) {
	defer func() {
		if recover() != nil {
			v = otherwise
		}
	}()
	return ask()
}

// wait waits for a change; it reports false if there is nobody left to wait for. A source whose channel stays closed
// is looked at every now and then instead.
func (l *watchList) wait(changed <-chan struct{}, next func() <-chan struct{}, stop <-chan struct{}) bool {
	select {
	case <-changed:
	case <-stop:
		return false
	case <-l.closed:
		return false
	}
	if next() != changed {
		return true
	}
	t := time.NewTimer(recheckInterval)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
	case <-l.closed:
	}
	return false
}

func (l *watchList) tick() {
	t := time.NewTicker(recheckInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			l.sweep(func() {})
		case <-l.closed:
			return
		}
	}
}

func (l *watchList) followCaller(c Caller, f *follower) {
	next := func() <-chan struct{} { return calm(always, c.Changed) }
	for changed := next(); ; changed = next() {
		l.refresh(f.watches)
		if !l.wait(changed, next, f.stop) {
			return
		}
	}
}

// sweepSystem refreshes the watches that were registered for a system.
func (l *watchList) sweepSystem(id string) {
	l.mu.Lock()
	some := l.systems[id]
	l.mu.Unlock()
	l.refresh(some)
}

// refresh refreshes the watches of a set that belongs to the list.
func (l *watchList) refresh(set map[*watch]struct{}) {
	l.mu.Lock()
	watches := slices.Collect(maps.Keys(set))
	l.mu.Unlock()
	for _, w := range watches {
		w.refresh()
	}
}

// sweep refreshes every watch, from the end of the list: a removal moves the last one, which was seen already, into the
// gap. The mutex is held for a few at a time, so that nobody waits for long; between is called after each few.
func (l *watchList) sweep(between func()) {
	var some [256]*watch
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.list); i > 0; {
		n := copy(some[:], l.list[max(0, i-len(some)):i])
		l.mu.Unlock()
		for _, w := range some[:n] {
			w.refresh()
		}
		between()
		l.mu.Lock()
		i = min(i-n, len(l.list))
	}
}

// close cuts every watch and waits for the goroutines.
func (l *watchList) close() {
	l.mu.Lock()
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	list := append([]*watch(nil), l.list...)
	l.mu.Unlock()
	for _, w := range list {
		w.cut(ErrClosed)
	}
	l.ended.Wait()
}
