package chansec

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

// A port is a channel opened for somebody, and what they hold. Every operation asks the guard first, before it looks at its
// arguments or at the state of the channel. It returns a PermissionError if it was denied, an UndecidedError if that could
// not be found out, ErrClosed once the channel is closed, and the context's error if that had ended before. Ports may
// be used from many goroutines at once.
//
// The interfaces below are what the ports of the kinds of channel are made of. Code that only writes takes a Writer,
// whichever kind it is, and whether the channel is in this process or behind a transport.

// Writer writes.
type Writer[T any] interface {
	// Write stores a message with this content, sent by the port's system, and returns its ID. A channel that is not
	// started or drains returns ErrNotAccepting, a full work queue ErrFull.
	Write(ctx context.Context, content T) (uuid.UUID, error)
	// WriteMessage is Write with the content, metadata, correlation ID, reply-to and recipient of m. ID and time must be
	// zero, and the sender empty or the port's system: anything else is an InvalidError.
	WriteMessage(ctx context.Context, m Message[T]) (uuid.UUID, error)
}

// Reader reads from a position that the channel keeps for the port's system, and that starts at the oldest message.
type Reader[T any] interface {
	// Read returns up to limit (1 to MaxReadLimit) messages and moves the position behind them. None and no error means
	// that there are none now. If messages were discarded before they were read, it returns a LaggedError once
	// and goes on at the oldest one that is left. Messages that somebody holds a claim on are passed over.
	Read(ctx context.Context, limit int) ([]Message[T], error)
	// ReadAfter is Read from behind the message of that ID, or ErrUnknownMessage.
	ReadAfter(ctx context.Context, after uuid.UUID, limit int) ([]Message[T], error)
}

// Subscriber follows a channel live.
type Subscriber[T any] interface {
	// Subscribe returns a lease on every message that is written from now on.
	Subscribe(ctx context.Context) (Lease[T], error)
	// SubscribeAfter is Subscribe from behind the message of that ID, or ErrUnknownMessage.
	SubscribeAfter(ctx context.Context, after uuid.UUID) (Lease[T], error)
	// SubscribeFunc calls fn for every message that is written from now on, one at a time, on a goroutine of the lease,
	// which ends with the context, with Close, with the first error that fn returns or that the lease meets, and
	// with a panic of fn. The lease's Err says which it was.
	SubscribeFunc(ctx context.Context, fn func(context.Context, Message[T]) error) (Lease[T], error)
}

// Worker takes messages that nobody else then gets, until it acknowledges them, gives them back or takes too long.
// Acknowledge, Nack and Extend do nothing for receipts of claims that the port's system does not hold any more.
type Worker[T any] interface {
	// Claim returns up to limit (1 to MaxReadLimit) messages: first those that were given back, then the oldest.
	// It does not wait.
	Claim(ctx context.Context, limit int) ([]Claim[T], error)
	// ClaimNext waits for one message.
	ClaimNext(ctx context.Context) (Claim[T], error)
	// Acknowledge discards messages that are done, and returns how many of the receipts took effect.
	Acknowledge(ctx context.Context, receipts ...Receipt) (int, error)
	// Nack gives messages back for others at once, and returns how many of the receipts took effect.
	Nack(ctx context.Context, receipts ...Receipt) (int, error)
	// Extend starts the claim timeout anew, and returns for how many of the receipts it did.
	Extend(ctx context.Context, receipts ...Receipt) (int, error)
}

// Host manages what a channel holds. Its operations need the admin role. All return how many messages went.
type Host[T any] interface {
	// Clear discards every message.
	Clear(ctx context.Context) (int, error)
	// EvictBefore discards what was received before a time, and EvictBeyond the oldest messages beyond the newest keep.
	// Readers that had not come so far are told what they missed, except in a keyed channel, where nobody misses anything.
	EvictBefore(ctx context.Context, t time.Time) (int, error)
	EvictBeyond(ctx context.Context, keep int) (int, error)
	// Remove discards the messages of these IDs, and RemoveFunc those that match.
	Remove(ctx context.Context, ids ...uuid.UUID) (int, error)
	RemoveFunc(ctx context.Context, match func(Message[T]) bool) (int, error)
	// Len returns how many messages are stored.
	Len(ctx context.Context) (int, error)
}

// Inspector describes the channel.
type Inspector interface {
	Info(ctx context.Context) (Info, error)
}

// PassthroughPort is a port of a PassthroughChannel.
type PassthroughPort[T any] interface {
	Writer[T]
	Reader[T]
	Subscriber[T]
	Worker[T]
	Host[T]
	Inspector
}

// BroadcastPort is a port of a BroadcastChannel.
type BroadcastPort[T any] interface {
	Writer[T]
	Reader[T]
	Subscriber[T]
	Host[T]
	Inspector
}

// WorkQueuePort is a port of a WorkQueueChannel.
type WorkQueuePort[T any] interface {
	Writer[T]
	Worker[T]
	Host[T]
	Inspector
}

// MailboxPort is a port of a MailboxChannel.
type MailboxPort[T any] interface {
	Writer[T]
	Reader[T]
	Subscriber[T]
	Worker[T]
	Host[T]
	Inspector
	// WriteTo is Write for one recipient.
	WriteTo(ctx context.Context, recipientID string, content T) (uuid.UUID, error)
}

// Receipt names one claim: the message, and which attempt at it. A late one cannot touch the claim of whoever holds the
// message now. With attempt 0 it stands for a bare message ID, which is good only while the message was claimed once.
type Receipt = driver.Receipt

// ParseReceipt reads what Receipt.String writes: a message ID, and a dot and the attempt. Anything else is an InvalidError.
func ParseReceipt(s string) (Receipt, error) {
	r, err := driver.ParseReceipt(s)
	if err != nil {
		return r, invalid("receipt", s, "a message ID, and a dot and the attempt")
	}
	return r, nil
}

// Claim is a message in a worker's hands.
type Claim[T any] struct {
	Message  Message[T]
	Attempt  uint64    // from 1; more if others had it before
	Deadline time.Time // when others may have it, unless it is extended
	settle   settler
}

// Receipt names the claim for Acknowledge, Nack and Extend of the port.
func (c *Claim[T]) Receipt() Receipt { return Receipt{ID: c.Message.ID, Attempt: c.Attempt} }

// Acknowledge discards the message, which is done, or returns ErrClaimLost.
func (c *Claim[T]) Acknowledge(ctx context.Context) error {
	return c.end(ctx, OpAcknowledge)
}

// Nack gives the message back for others at once, or returns ErrClaimLost.
func (c *Claim[T]) Nack(ctx context.Context) error {
	return c.end(ctx, OpNack)
}

// Extend starts the claim timeout anew, or returns ErrClaimLost.
func (c *Claim[T]) Extend(ctx context.Context) error {
	return c.end(ctx, OpExtend)
}

func (c *Claim[T]) end(ctx context.Context, op Operation) error {
	if c.settle == nil {
		return ErrClaimLost // no port made it
	}
	return c.settle.settleOne(ctx, op, c.Receipt())
}

type settler interface {
	settleOne(ctx context.Context, op Operation, r Receipt) error
}

// The ports of the kinds: each has the operations of its kind, and no others for a type assertion to find.
type (
	passthroughPort[T any] struct {
		canWrite[T]
		canRead[T]
		canSubscribe[T]
		canWork[T]
		canHost[T]
	}
	broadcastPort[T any] struct {
		canWrite[T]
		canRead[T]
		canSubscribe[T]
		canHost[T]
	}
	workQueuePort[T any] struct {
		canWrite[T]
		canWork[T]
		canHost[T]
	}
	mailboxPort[T any] struct {
		canWrite[T]
		canRead[T]
		canSubscribe[T]
		canWork[T]
		canHost[T]
	}

	canWrite[T any]     struct{ *port[T] }
	canRead[T any]      struct{ *port[T] }
	canSubscribe[T any] struct{ *port[T] }
	canWork[T any]      struct{ *port[T] }
	canHost[T any]      struct{ *port[T] }
)

func (p *mailboxPort[T]) WriteTo(ctx context.Context, recipientID string, content T) (uuid.UUID, error) {
	return p.canWrite.write(ctx, func(string) error { return CheckSystemID(recipientID) }, body[T]{Content: content, Rest: &rest{RecipientID: recipientID}})
}

type port[T any] struct {
	c    *core[T]
	who  *subject
	last atomic.Pointer[turn] // the last claim
}

func (p canWrite[T]) Write(ctx context.Context, content T) (uuid.UUID, error) {
	return p.write(ctx, nil, body[T]{Content: content})
}

func (p canWrite[T]) WriteMessage(ctx context.Context, m Message[T]) (uuid.UUID, error) {
	check := func(systemID string) error {
		switch {
		case m.SenderID != "" && m.SenderID != systemID:
			return invalid("sender", m.SenderID, "none, or the port's own system")
		case m.ID != uuid.Nil:
			return invalid("message id", m.ID.String(), "none: the channel makes it")
		case !m.Timestamp.IsZero():
			return invalid("timestamp", m.Timestamp.String(), "none: the channel's clock counts")
		case m.Key != "":
			return invalid("key", m.Key, "none: this is no keyed channel")
		case m.RecipientID != "":
			return CheckSystemID(m.RecipientID)
		}
		return nil
	}
	r := rest{CorrelationID: m.CorrelationID, ReplyTo: m.ReplyTo, RecipientID: m.RecipientID}
	if len(m.Metadata) > 0 {
		r.Metadata = maps.Clone(m.Metadata)
	}
	return p.write(ctx, check, body[T]{Content: m.Content, Rest: &r})
}

// write stores a body. check looks at the arguments, once the guard has said yes.
func (p *port[T]) write(ctx context.Context, check func(systemID string) error, b body[T]) (uuid.UUID, error) {
	t, err := p.c.authorize(ctx, p.who, OpWrite, b.unwritten())
	if err != nil {
		return uuid.Nil, err
	}
	if check != nil {
		if err := check(t.systemID); err != nil {
			return uuid.Nil, err
		}
	}
	b.SenderID = t.systemID
	if err := p.c.enter(); err != nil {
		return uuid.Nil, err
	}
	defer p.c.leave()
	var h driver.Head
	if p.c.kind.boxes && b.Rest != nil {
		h.Box = b.Rest.RecipientID
	}
	stamp, err := p.c.backend.Append(ctx, h, b)
	return stamp.ID, driverError(err)
}

// position is where a system stands in its reading.
type position[T any] struct {
	mu     sync.Mutex
	reader driver.Reader[body[T]]
}

// box is the addressee whose messages a system sees beside those for everyone.
func (c *core[T]) box(systemID string) string {
	if c.kind.boxes {
		return systemID
	}
	return ""
}

// position returns the position of a system, locked.
func (c *core[T]) position(systemID string) (*position[T], error) {
	c.mu.Lock()
	p := c.readers[systemID]
	if p == nil {
		if len(c.readers) >= c.maxReaders {
			c.mu.Unlock()
			return nil, ErrLimit
		}
		p = &position[T]{}
		c.readers[systemID] = p
	}
	c.mu.Unlock()
	p.mu.Lock()
	return p, nil
}

func (c *core[T]) open(ctx context.Context, systemID string, from driver.From) (driver.Reader[body[T]], error) {
	r, err := c.backend.Open(ctx, driver.View{Box: c.box(systemID), HideClaimed: c.kind.claims}, from)
	return r, driverError(err)
}

func (p canRead[T]) Read(ctx context.Context, limit int) ([]Message[T], error) {
	return p.read(ctx, nil, limit, nil)
}

func (p canRead[T]) ReadAfter(ctx context.Context, after uuid.UUID, limit int) ([]Message[T], error) {
	return p.read(ctx, &after, limit, nil)
}

// read reads up to limit messages, or up to one that is enough.
func (p *port[T]) read(ctx context.Context, after *uuid.UUID, limit int, enough func(*Message[T]) bool) ([]Message[T], error) {
	t, err := p.c.authorize(ctx, p.who, OpRead, nil)
	if err != nil {
		return nil, err
	}
	if err := between("limit", limit, 1, MaxReadLimit); err != nil {
		return nil, err
	}
	at, err := p.c.position(t.systemID)
	if err != nil {
		return nil, err
	}
	defer at.mu.Unlock()

	reader, from := at.reader, driver.From{}
	if after != nil {
		if from.After = *after; *after == uuid.Nil {
			return nil, ErrUnknownMessage
		}
	}
	if after != nil || reader == nil {
		if reader, err = p.c.open(ctx, t.systemID, from); err != nil {
			return nil, err
		}
	}
	messages, err := p.fetch(ctx, t, reader, limit, enough)
	switch {
	case reader == at.reader:
	case err != nil && !isLagged(err):
		reader.Close() // the position stays where it was
	default:
		if at.reader != nil {
			at.reader.Close()
		}
		at.reader = reader
	}
	return messages, err
}

func lagged[V any](b *driver.Batch[V]) error {
	return &LaggedError{Missed: b.Missed, AtMost: b.AtMost}
}

func isLagged(err error) bool {
	_, ok := err.(*LaggedError)
	return ok
}

// fetch reads what a ticket allows. What the driver returned counts as read only if the ticket still held afterwards: a
// write that starts after a revocation returned is never among it.
func (p *port[T]) fetch(ctx context.Context, t *ticket, reader driver.Reader[body[T]], limit int, enough func(*Message[T]) bool) ([]Message[T], error) {
	var messages []Message[T]
	for len(messages) < limit {
		batch, err := reader.Next(ctx, limit-len(messages))
		if err == nil && batch.Missed == 0 && len(batch.Entries) == 0 {
			reader.Commit(0)
			break
		}
		fresh := t
		if err = driverError(err); err == nil {
			fresh, err = p.c.again(ctx, p.who, OpRead, t)
		}
		if err == nil && batch.Missed > 0 && len(messages) == 0 {
			reader.Commit(0)
			err = lagged(&batch)
		}
		if err != nil || batch.Missed > 0 {
			if len(messages) > 0 {
				break // those were allowed, and are read; the next call meets the error
			}
			return nil, err
		}
		t = fresh
		kept := messages
		for i := range batch.Entries {
			e := &batch.Entries[i]
			if t.perMessage {
				ok, err := p.sees(ctx, t, OpRead, e)
				if err != nil {
					reader.Commit(i)
					if len(kept) > 0 {
						return kept, nil
					}
					return nil, err
				}
				if !ok {
					continue
				}
			}
			kept = append(kept, e.Value.message(&e.Stamp))
			if enough != nil && enough(&kept[len(kept)-1]) {
				reader.Commit(i + 1)
				return kept, nil
			}
		}
		reader.Commit(len(batch.Entries))
		messages = kept
	}
	return messages, nil
}

// sees decides one message where a decision holds for one message only. A denial leaves the message out, unless it is of
// somebody else than the ticket.
func (p *port[T]) sees(ctx context.Context, t *ticket, op Operation, e *driver.Entry[body[T]]) (bool, error) {
	fresh, err := p.c.authorize(ctx, p.who, op, e.Value.matter(&e.Stamp))
	denial, _ := err.(*PermissionError)
	switch {
	case err == nil && fresh.systemID == t.systemID:
		return true, nil
	case denial != nil && denial.SystemID == t.systemID:
		return false, nil
	case err == nil || denial != nil && denial.SystemID != "":
		return false, p.c.another(op, t)
	}
	return false, err
}

func (p canSubscribe[T]) Subscribe(ctx context.Context) (Lease[T], error) {
	return p.subscribe(ctx, driver.From{Tail: true})
}

func (p canSubscribe[T]) SubscribeAfter(ctx context.Context, after uuid.UUID) (Lease[T], error) {
	return p.subscribe(ctx, driver.From{After: after})
}

func (p canSubscribe[T]) SubscribeFunc(ctx context.Context, fn func(context.Context, Message[T]) error) (Lease[T], error) {
	l, err := p.subscribe(ctx, driver.From{Tail: true})
	if err != nil {
		return nil, err
	}
	if fn == nil {
		_ = l.Close()
		return nil, &InvalidError{What: "callback", Value: "nil", Want: "a function"}
	}
	go l.run(ctx, fn)
	return l, nil
}

func (p *port[T]) subscribe(ctx context.Context, from driver.From) (*lease[T], error) {
	return p.subscribeFrom(ctx, func() (driver.From, error) {
		if !from.Tail && from.After == uuid.Nil {
			return from, ErrUnknownMessage
		}
		return from, nil
	})
}

// subscribeFrom subscribes at a place that is asked for once the guard has said yes.
func (p *port[T]) subscribeFrom(ctx context.Context, place func() (driver.From, error)) (*lease[T], error) {
	t, err := p.c.authorize(ctx, p.who, OpSubscribe, nil)
	if err != nil {
		return nil, err
	}
	if p.c.state.Load() == closed {
		return nil, ErrClosed
	}
	from, err := place()
	if err != nil {
		return nil, err
	}
	reader, err := p.c.backend.Open(ctx, driver.View{Box: p.c.box(t.systemID)}, from)
	if err != nil {
		return nil, driverError(err)
	}
	l := &lease[T]{reader: reader, signal: make(chan struct{}, 1)}
	l.watch, err = p.c.watch(p.who, OpSubscribe, t, p.c.kind.boxes, l.onCut)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// workerKey names whose claims end together: those of a wired system, of a mere name, of a token, or of a port where the
// caller may change or nothing else tells its credential from others.
type workerKey struct {
	systemID   string
	tokenID    string
	granted    int64
	credential credential
	named      bool
	who        *subject
}

// workerKey returns the key of who holds a ticket.
func (s *subject) workerKey(t *ticket) workerKey {
	fixed, isFixed := s.caller.(staticCaller)
	switch {
	case s.caller == nil:
		return workerKey{systemID: t.systemID}
	case !isFixed:
	case t.tokenID != "":
		return workerKey{systemID: t.systemID, tokenID: t.tokenID, granted: t.granted}
	case t.credential != nil:
		return workerKey{systemID: t.systemID, credential: t.credential}
	case fixed.principal.Grant == nil && len(fixed.principal.Roles) == 0 && len(fixed.principal.Attributes) == 0:
		return workerKey{systemID: t.systemID, named: true}
	}
	return workerKey{systemID: t.systemID, who: s}
}

// worker is a system that holds claims. When what it may do ends, its claims go back to the queue.
type worker struct {
	key     workerKey
	watch   *watch
	name    driver.Consumer
	busy    atomic.Int64 // until when, at most, unless they were extended, it has claims, in Unix nanoseconds
	waiting atomic.Int32 // calls that wait for a claim
}

// turn is a worker with the ticket it claimed by.
type turn struct {
	*worker
	ticket *ticket
}

// worker returns the worker of a ticket: the one that is known, or one that is to be registered when it has claims.
func (p *port[T]) worker(t *ticket) *worker {
	last := p.last.Load()
	if last != nil && last.ticket == t && last.watch.err() == nil {
		return last.worker
	}
	key := p.who.workerKey(t)
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if w := p.c.workers[key]; w != nil && w.watch.err() == nil {
		p.last.Store(&turn{w, t})
		return w
	}
	p.c.session++
	return &worker{key: key, name: driver.Consumer{Name: t.systemID, Session: p.c.session}}
}

// register sees to it that a worker's claims go back when its right to them ends. It fails, and gives back what the worker
// has, if that is so already.
func (p *port[T]) register(w *worker, t *ticket) error {
	if w.watch != nil {
		return nil
	}
	c := p.c
	if !c.roomForWorker() {
		c.release(w)
		return ErrLimit
	}
	w.busy.CompareAndSwap(0, time.Now().Add(recheckTimeout).UnixNano())
	watch, err := c.watch(p.who, OpClaim, t, true, func() {
		c.mu.Lock()
		if c.workers[w.key] == w {
			delete(c.workers, w.key)
		}
		c.mu.Unlock()
		c.release(w)
	})
	if err != nil {
		return err
	}
	w.watch = watch
	c.mu.Lock()
	if watch.err() == nil {
		c.workers[w.key] = w // where two calls were first, the claims of each are watched
	}
	c.mu.Unlock()
	p.last.Store(&turn{w, t})
	return nil
}

// fewWorkers are worth no search for those without claims.
const fewWorkers = 64

// roomForWorker reports whether one more worker may be looked after. Each time that there are twice as many as before, and
// when there is no room, those that have been without claims for a while make room.
func (c *core[T]) roomForWorker() bool {
	var idle []*worker
	c.mu.Lock()
	if n := len(c.workers); n >= c.maxReaders || n >= c.crowd {
		now := time.Now().UnixNano()
		for _, w := range c.workers {
			if w.waiting.Load() == 0 && max(w.busy.Load(), c.extended[w.key.systemID]) <= now {
				idle = append(idle, w)
			}
		}
		maps.DeleteFunc(c.extended, func(_ string, until int64) bool { return until <= now })
		c.crowd = max(fewWorkers, 2*(n-len(idle)))
	}
	room := len(c.workers)-len(idle) < c.maxReaders
	c.mu.Unlock()
	for _, w := range idle {
		w.watch.cut(ErrLimit)
	}
	return room
}

func (c *core[T]) release(w *worker) {
	ctx, cancel := context.WithTimeout(context.Background(), recheckTimeout)
	defer cancel()
	if _, err := c.backend.Release(ctx, w.name); driverError(err) != nil && err != driver.ErrClosed {
		c.log.Error("chansec: claims of a worker that lost its right could not be given back before their deadline",
			"channel", c.channelID, "system", w.name.Name, "error", err)
	}
}

func (p canWork[T]) Claim(ctx context.Context, limit int) ([]Claim[T], error) {
	t, err := p.c.authorize(ctx, p.who, OpClaim, nil)
	if err != nil {
		return nil, err
	}
	if err := between("limit", limit, 1, MaxReadLimit); err != nil {
		return nil, err
	}
	w := p.worker(t)
	got, _, err := p.take(ctx, t, w, limit, nil)
	if err == nil && len(got) > 0 {
		err = p.register(w, t)
	}
	if err != nil {
		return nil, err
	}
	claims := make([]Claim[T], len(got))
	for i := range got {
		p.hand(&claims[i], &got[i])
	}
	return claims, nil
}

// hand makes an empty claim the one of an entry.
func (p *port[T]) hand(c *Claim[T], e *driver.Claimed[body[T]]) {
	e.Value.fill(&c.Message, &e.Stamp)
	c.Attempt, c.Deadline, c.settle = e.Attempt, e.Deadline, p
}

// take claims entries, and gives them back if the right to them ended meanwhile. Where each message is decided by itself,
// those that are refused are passed over, and given back at the end; refused reports whether there were any.
func (p *port[T]) take(ctx context.Context, t *ticket, w *worker, limit int, dst []driver.Claimed[body[T]]) (kept []driver.Claimed[body[T]], refused bool, err error) {
	var back []Receipt
	defer func() {
		for _, r := range back { // what fails stays out of sight until its deadline
			_, _ = p.c.backend.Nack(context.WithoutCancel(ctx), w.name.Name, r)
		}
	}()
	for len(kept) == 0 && len(back) < MaxReadLimit {
		got, err := p.c.backend.Claim(ctx, w.name, p.c.box(t.systemID), limit, p.c.claimTimeout, dst)
		if err != nil || len(got) == 0 {
			return nil, len(back) > 0, driverError(err)
		}
		w.busy.Store(got[len(got)-1].Deadline.UnixNano())
		if t, err = p.c.again(ctx, p.who, OpClaim, t); err == nil && w.watch != nil {
			// A cut gives back what was claimed before it: what was claimed after it would stay.
			err = w.watch.err()
		}
		if err == nil && !t.perMessage {
			return got, false, nil
		}
		kept = got[:0]
		for i := range got {
			ok := err == nil
			if ok {
				ok, err = p.sees(ctx, t, OpClaim, &got[i].Entry)
			}
			if ok {
				kept = append(kept, got[i])
			} else {
				back = append(back, Receipt{ID: got[i].ID, Attempt: got[i].Attempt})
			}
		}
		if err != nil && len(kept) == 0 {
			return nil, false, err
		}
	}
	return kept, len(back) > 0, nil
}

func (p canWork[T]) ClaimNext(ctx context.Context) (next Claim[T], err error) {
	t, err := p.c.authorize(ctx, p.who, OpClaim, nil)
	if err != nil {
		return next, err
	}
	w := p.worker(t)
	if err := p.register(w, t); err != nil { // it may wait for long
		return next, err
	}
	one := p.c.pool.Get().(*[1]driver.Claimed[body[T]]) // and put back if all goes well
	var wake chan struct{}
	for {
		got, refused, err := p.take(ctx, t, w, 1, one[:0])
		if err != nil {
			return next, err
		}
		if len(got) == 1 {
			p.hand(&next, &got[0])
			one[0] = driver.Claimed[body[T]]{}
			p.c.pool.Put(one)
			return next, nil
		}
		if wake == nil {
			wake = make(chan struct{}, 1)
			w.waiting.Add(1)
			defer w.waiting.Add(-1)
		}
		if err := p.await(ctx, w, p.c.box(t.systemID), wake, refused); err != nil {
			return next, err
		}
	}
}

// await waits until there may be something to claim, or for a while where all there is was refused.
func (p *port[T]) await(ctx context.Context, w *worker, box string, wake chan struct{}, refused bool) error {
	var later <-chan time.Time
	if refused {
		timer := time.NewTimer(recheckInterval)
		defer timer.Stop()
		later = timer.C
	} else {
		cancel, ready := p.c.backend.WakeClaim(box, wake)
		if ready {
			return nil
		}
		defer cancel()
	}
	select {
	case <-wake:
	case <-later:
	case <-w.watch.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return w.watch.err()
}

func (p canWork[T]) Acknowledge(ctx context.Context, receipts ...Receipt) (int, error) {
	return p.settle(ctx, OpAcknowledge, receipts)
}

func (p canWork[T]) Nack(ctx context.Context, receipts ...Receipt) (int, error) {
	return p.settle(ctx, OpNack, receipts)
}

func (p canWork[T]) Extend(ctx context.Context, receipts ...Receipt) (int, error) {
	return p.settle(ctx, OpExtend, receipts)
}

func (p *port[T]) settle(ctx context.Context, op Operation, receipts []Receipt) (int, error) {
	return p.settleAll(ctx, op, func(*ticket) ([]Receipt, error) { return receipts, nil })
}

// settleAll settles claims whose receipts are asked for once the guard has said yes.
func (p *port[T]) settleAll(ctx context.Context, op Operation, load func(*ticket) ([]Receipt, error)) (int, error) {
	t, err := p.c.authorize(ctx, p.who, op, nil)
	if err != nil {
		return 0, err
	}
	receipts, err := load(t)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range receipts {
		ok, err := p.c.settle(ctx, op, t.systemID, r)
		if err != nil {
			return n, err
		}
		if ok {
			n++
		}
	}
	return n, nil
}

func (p *port[T]) settleOne(ctx context.Context, op Operation, r Receipt) error {
	t, err := p.c.authorize(ctx, p.who, op, nil)
	if err != nil {
		return err
	}
	ok, err := p.c.settle(ctx, op, t.systemID, r)
	if err == nil && !ok {
		err = ErrClaimLost
	}
	return err
}

func (c *core[T]) settle(ctx context.Context, op Operation, systemID string, r Receipt) (ok bool, err error) {
	switch op {
	case OpAcknowledge:
		ok, err = c.backend.Ack(ctx, systemID, r)
	case OpNack:
		ok, err = c.backend.Nack(ctx, systemID, r)
	case OpExtend:
		var until time.Time
		if until, ok, err = c.backend.Extend(ctx, systemID, r, c.claimTimeout); ok {
			c.mu.Lock()
			c.extended[systemID] = max(c.extended[systemID], until.UnixNano())
			c.mu.Unlock()
		}
	}
	return ok, driverError(err)
}

func (p canHost[T]) Clear(ctx context.Context) (int, error) {
	if _, err := p.c.authorize(ctx, p.who, OpClear, nil); err != nil {
		return 0, err
	}
	n, err := p.c.backend.Clear(ctx)
	return n, driverError(err)
}

func (p canHost[T]) EvictBefore(ctx context.Context, before time.Time) (int, error) {
	if _, err := p.c.authorize(ctx, p.who, OpEvict, nil); err != nil {
		return 0, err
	}
	if before.IsZero() {
		return 0, &InvalidError{What: "time", Value: "zero", Want: "a time"}
	}
	n, err := p.c.backend.Evict(ctx, before, -1)
	return n, driverError(err)
}

func (p canHost[T]) EvictBeyond(ctx context.Context, keep int) (int, error) {
	if _, err := p.c.authorize(ctx, p.who, OpEvict, nil); err != nil {
		return 0, err
	}
	if err := between("number to keep", keep, 0, 1<<30); err != nil {
		return 0, err
	}
	n, err := p.c.backend.Evict(ctx, time.Time{}, keep)
	return n, driverError(err)
}

func (p canHost[T]) Remove(ctx context.Context, ids ...uuid.UUID) (int, error) {
	if _, err := p.c.authorize(ctx, p.who, OpRemove, nil); err != nil {
		return 0, err
	}
	n, err := p.c.backend.Remove(ctx, ids)
	return n, driverError(err)
}

func (p canHost[T]) RemoveFunc(ctx context.Context, match func(Message[T]) bool) (int, error) {
	t, err := p.c.authorize(ctx, p.who, OpRemove, nil)
	if err != nil {
		return 0, err
	}
	if match == nil {
		return 0, &InvalidError{What: "match function", Value: "nil", Want: "a function"}
	}
	reader, err := p.c.backend.Open(ctx, driver.View{All: true}, driver.From{})
	if err != nil {
		return 0, driverError(err)
	}
	defer reader.Close()
	var ids []uuid.UUID
	for {
		batch, err := reader.Next(ctx, MaxReadLimit)
		if err != nil {
			return 0, driverError(err)
		}
		if t, err = p.c.again(ctx, p.who, OpRemove, t); err != nil {
			return 0, err
		}
		if len(batch.Entries) == 0 && batch.Missed == 0 {
			break
		}
		for i := range batch.Entries {
			if e := &batch.Entries[i]; match(e.Value.message(&e.Stamp)) {
				ids = append(ids, e.ID)
			}
		}
		reader.Commit(len(batch.Entries))
	}
	n, err := p.c.backend.Remove(ctx, ids)
	return n, driverError(err)
}

func (p canHost[T]) Len(ctx context.Context) (int, error) {
	if _, err := p.c.authorize(ctx, p.who, OpAdmin, nil); err != nil {
		return 0, err
	}
	n, err := p.c.backend.Len(ctx)
	return n, driverError(err)
}

func (p canHost[T]) Info(ctx context.Context) (Info, error) {
	if _, err := p.c.authorize(ctx, p.who, OpInfo, nil); err != nil {
		return Info{}, err
	}
	if p.c.state.Load() == closed {
		return Info{}, ErrClosed
	}
	return p.c.info, nil
}
