package chansec

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
	"github.com/chansec/chansec/internal/strictjson"
)

// Channel is a channel of any kind and content, as a transport sees it. The kinds of this package are all there is.
type Channel interface {
	// ID returns the channel's ID.
	ID() string
	gate() *guard
	wire(Caller) wire
}

// wire is a port whose contents are JSON. Like any port it asks the guard before anything else, also where the kind of
// channel cannot do what is asked, which is ErrUnsupported.
type wire interface {
	// write stores what load returns, all of it or, where a part makes no sense or is denied, nothing. load is called
	// once somebody may write, or wants to see what.
	write(ctx context.Context, load func() ([]wireMessage, error)) ([]uuid.UUID, error)
	read(ctx context.Context, after *uuid.UUID, limit int) ([]*frame, error)
	claim(ctx context.Context, limit int, wait time.Duration) ([]wireClaim, error)
	settle(ctx context.Context, op Operation, load func() ([]Receipt, error)) (int, error)
	// follow subscribes behind a message; the zero ID is the beginning, nil is the newest message, which it returns.
	follow(ctx context.Context, after *uuid.UUID) (stream, uuid.UUID, error)
	list(ctx context.Context, after *uuid.UUID, limit int) ([]*frame, error)

	Clear(ctx context.Context) (int, error)
	EvictBefore(ctx context.Context, t time.Time) (int, error)
	EvictBeyond(ctx context.Context, keep int) (int, error)
	Remove(ctx context.Context, ids ...uuid.UUID) (int, error)
	Len(ctx context.Context) (int, error)
	Info(ctx context.Context) (Info, error)
}

// wireMessage is a message that is to be written.
type wireMessage struct {
	content string // JSON
	direct  bool   // content is that of a message: an object
	sender  string // "" is the caller
	once    string // the client's key, unique among its messages
	rest    *rest
}

type wireClaim struct {
	message  *frame
	receipt  Receipt
	deadline time.Time
}

// stream is a lease whose messages go to a writer of events.
type stream interface {
	run(ctx context.Context, out *eventWriter) error
	wake()
	Close() error
}

// over reports whether a decision must be made again, since its ticket no longer holds after what a client sends took its time
// to arrive. Where nobody can say that but by deciding again, a moment does not count.
func (t *ticket) over(took time.Duration) bool {
	const moment = time.Millisecond
	return !t.stillHolds() && (t.reusable() || took > moment)
}

type wirePort[T any] struct{ canHost[T] }

func (c *core[T]) gate() *guard { return &c.guard }

func (c *core[T]) wire(caller Caller) wire {
	return wirePort[T]{canHost[T]{&port[T]{c: c, who: verified(caller)}}}
}

// does reports whether channels of the kind have an operation.
func (k kind) does(op Operation) bool {
	switch op {
	case OpRead, OpSubscribe:
		return !k.queue
	case OpWrite:
		return !k.keys
	case OpClaim, OpAcknowledge, OpNack, OpExtend:
		return k.claims
	}
	return true
}

// can authorizes an operation that the kind of channel does not have, and then says so.
func (p wirePort[T]) can(ctx context.Context, op Operation) error {
	if p.c.kind.does(op) {
		return nil
	}
	if _, err := p.c.authorize(ctx, p.who, op, nil); err != nil {
		return err
	}
	return ErrUnsupported
}

func (p wirePort[T]) write(ctx context.Context, load func() ([]wireMessage, error)) ([]uuid.UUID, error) {
	var (
		does   = p.c.kind.does(OpWrite)
		bodies []body[T]
		asked  []wireMessage
		bad    error
		loaded bool
		took   time.Duration
		first  = true
	)
	get := func() {
		if loaded {
			return
		}
		loaded = true
		began := time.Now()
		defer func() { took = time.Since(began) }()
		if asked, bad = load(); bad != nil {
			return
		}
		bodies = make([]body[T], len(asked))
		for i := range asked {
			if bodies[i], bad = readBody[T](&asked[i]); bad != nil {
				return
			}
		}
	}
	for i := 0; ; i++ {
		t, err := p.c.authorize(ctx, p.who, OpWrite, func(systemID string) (message, previous *Message[any], err error) {
			if get(); bad != nil || i >= len(bodies) {
				return nil, nil, nil
			}
			return bodies[i].unwritten()(systemID)
		})
		switch {
		case err != nil:
			return nil, err
		case does:
		case bad != nil || i+1 >= len(bodies):
			return nil, ErrUnsupported
		default:
			continue // decided as elsewhere, and as where there is no channel: message by message
		}
		if get(); bad != nil {
			return nil, bad
		}
		if first && t.over(took) {
			first = false
			i-- // the right to it may have ended meanwhile
			continue
		}
		if i < len(bodies) {
			if s := asked[i].sender; s != "" && s != t.systemID {
				return nil, invalid("sender", s, "none, or the caller's own system")
			}
			bodies[i].SenderID = t.systemID
		}
		if i+1 >= len(bodies) {
			break
		}
	}
	if err := p.c.enter(); err != nil {
		return nil, err
	}
	defer p.c.leave()
	ids := make([]uuid.UUID, 0, len(bodies))
	for i := range bodies {
		b := &bodies[i]
		var h driver.Head
		if p.c.kind.boxes && b.Rest != nil {
			h.Box = b.Rest.RecipientID
		}
		if key := asked[i].once; key != "" {
			h.Once = b.SenderID + "\x00" + key // names hold no control characters
		}
		stamp, err := p.c.backend.Append(ctx, h, *b)
		if err != nil {
			return ids, driverError(err)
		}
		ids = append(ids, stamp.ID)
	}
	return ids, nil
}

// readBody makes the content of a message from JSON.
func readBody[T any](m *wireMessage) (b body[T], err error) {
	text := m.content
	if m.direct && !isObject[T]() {
		if text, err = generic(text); err != nil {
			return b, err
		}
	}
	if err := json.Unmarshal([]byte(text), &b.Content); err != nil {
		return b, &InvalidError{What: "content", Want: "JSON of the shape that the channel carries"}
	}
	b.Rest = m.rest
	return b, nil
}

// generic takes {"data": x} apart.
func generic(object string) (string, error) {
	members, err := strictjson.Object(object, nil, wireLimits)
	if err != nil || len(members) != 1 || members[0].Name != "data" {
		return "", &InvalidError{What: "content", Want: `an object with the one member "data"`}
	}
	return members[0].Value.Raw(), nil
}

func (p wirePort[T]) read(ctx context.Context, after *uuid.UUID, limit int) ([]*frame, error) {
	if err := p.can(ctx, OpRead); err != nil {
		return nil, err
	}
	list, err := p.port.read(ctx, after, limit, p.page())
	if err != nil {
		return nil, err
	}
	return p.c.framed(list), nil
}

// pageBytes is how long an answer with messages may become, about: those that have no room come with the next.
const pageBytes = 8 << 20

// page returns what says of one message after the other whether the page is full with it.
func (p wirePort[T]) page() func(*Message[T]) bool {
	n := 0
	return func(m *Message[T]) bool {
		if f := p.c.frame(m); f != nil {
			n += len(f.event)
		}
		return n >= pageBytes
	}
}

// framed encodes messages. One that cannot be encoded, which no transport can have written, is left out.
func (c *core[T]) framed(list []Message[T]) []*frame {
	frames := make([]*frame, 0, len(list))
	for i := range list {
		if f := c.frame(&list[i]); f != nil {
			frames = append(frames, f)
		}
	}
	return frames
}

func (p wirePort[T]) claim(ctx context.Context, limit int, wait time.Duration) ([]wireClaim, error) {
	if err := p.can(ctx, OpClaim); err != nil {
		return nil, err
	}
	work := canWork[T]{p.port}
	if err := between("limit", limit, 1, MaxReadLimit); err != nil {
		return nil, err
	}
	var list []Claim[T]
	full, is := p.page(), false
	if wait > 0 {
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		first, err := work.ClaimNext(waiting)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				err = nil // there was nothing
			}
			return nil, err
		}
		list, is = append(list, first), full(&first.Message)
	}
	for some := defaultReadLimit; len(list) < limit && !is; some *= 2 {
		some = min(some, limit-len(list))
		more, err := work.Claim(ctx, some)
		if err != nil && len(list) == 0 {
			return nil, err // otherwise what was claimed is theirs, and the next call meets the error
		}
		for i := range more {
			is = full(&more[i].Message) || is
		}
		if list = append(list, more...); len(more) < some {
			break
		}
	}
	return p.claimed(list), nil
}

func (p wirePort[T]) claimed(list []Claim[T]) []wireClaim {
	claims := make([]wireClaim, 0, len(list))
	for i := range list {
		c := &list[i]
		if f := p.c.frame(&c.Message); f != nil {
			claims = append(claims, wireClaim{f, c.Receipt(), c.Deadline})
		}
	}
	return claims
}

func (p wirePort[T]) settle(ctx context.Context, op Operation, load func() ([]Receipt, error)) (int, error) {
	if err := p.can(ctx, op); err != nil {
		return 0, err
	}
	return p.settleAll(ctx, op, func(t *ticket) ([]Receipt, error) {
		began := time.Now()
		receipts, err := load()
		if err == nil && t.over(time.Since(began)) {
			_, err = p.c.authorize(ctx, p.who, op, nil)
		}
		return receipts, err
	})
}

func (p wirePort[T]) follow(ctx context.Context, after *uuid.UUID) (stream, uuid.UUID, error) {
	if err := p.can(ctx, OpSubscribe); err != nil {
		return nil, uuid.Nil, err
	}
	var at uuid.UUID
	lease, err := p.subscribeFrom(ctx, func() (from driver.From, err error) {
		if after != nil {
			at = *after
		} else if at, err = p.c.backend.Newest(ctx); err != nil {
			return from, driverError(err)
		}
		return driver.From{After: at}, nil
	})
	if err != nil {
		return nil, uuid.Nil, err
	}
	return wireLease[T]{lease, p.c}, at, nil
}

func (p wirePort[T]) list(ctx context.Context, after *uuid.UUID, limit int) ([]*frame, error) {
	t, err := p.c.authorize(ctx, p.who, OpRemove, nil)
	if err != nil {
		return nil, err
	}
	if err := between("limit", limit, 1, MaxReadLimit); err != nil {
		return nil, err
	}
	var from driver.From
	if after != nil {
		from.After = *after
	}
	reader, err := p.c.backend.Open(ctx, driver.View{All: true}, from)
	if err != nil {
		return nil, driverError(err)
	}
	defer reader.Close()
	var list []Message[T]
	full, is := p.page(), false
	for len(list) < limit && !is {
		batch, err := reader.Next(ctx, limit-len(list))
		if err != nil {
			return nil, driverError(err)
		}
		if t, err = p.c.again(ctx, p.who, OpRemove, t); err != nil {
			return nil, err
		}
		if len(batch.Entries) == 0 && batch.Missed == 0 {
			break
		}
		for i := range batch.Entries {
			list = append(list, batch.Entries[i].Value.message(&batch.Entries[i].Stamp))
			if is = full(&list[len(list)-1]); is {
				break
			}
		}
		reader.Commit(len(batch.Entries))
	}
	return p.c.framed(list), nil
}

type wireLease[T any] struct {
	*lease[T]
	c *core[T]
}

func (l wireLease[T]) run(ctx context.Context, out *eventWriter) error {
	l.idle = out.idle
	for m, err := range l.Messages(ctx) {
		if err != nil {
			if missed, ok := err.(*LaggedError); ok && out.missed(missed) {
				continue
			}
			return err
		}
		if f := l.c.frame(&m); f != nil {
			out.send(f)
		}
	}
	return l.Err()
}

// frame is a message as a server-sent event, around its JSON.
type frame struct {
	id    uuid.UUID
	event []byte
}

const (
	frameID   = "id: "
	frameData = "\ndata: "
	frameEnd  = "\n\n"
	frameHead = len(frameID) + 36 + len(frameData)
)

// json returns the message itself.
func (f *frame) json() []byte { return f.event[frameHead : len(f.event)-len(frameEnd)] }

// frames remembers messages that were encoded, so that each is encoded once and not once for every subscriber.
type frames struct {
	slots [1024]atomic.Pointer[frame]
	bytes atomic.Int64
}

// maxFrames is how many bytes a channel remembers, about.
const maxFrames = 16 << 20

// at is the slot of an ID. Those of the backend in memory have their sequence number there, so that neighbours in time are
// neighbours here.
func (f *frames) at(id uuid.UUID) int {
	return int(binary.BigEndian.Uint64(id[8:]) >> 26 % uint64(len(f.slots)))
}

func (f *frames) load(id uuid.UUID) *frame {
	if kept := f.slots[f.at(id)].Load(); kept != nil && kept.id == id {
		return kept
	}
	return nil
}

func (f *frames) store(next *frame) {
	at := f.at(next.id)
	f.replace(at, next)
	for i := at + 1; i < at+len(f.slots) && f.bytes.Load() > maxFrames; i++ {
		f.replace(i%len(f.slots), nil) // the oldest come next
	}
}

func (f *frames) replace(at int, next *frame) {
	old := f.slots[at].Swap(next)
	n := 0
	if next != nil {
		n = len(next.event)
	}
	if old != nil {
		n -= len(old.event)
	}
	f.bytes.Add(int64(n))
}

// frame encodes a message, or returns nil and logs that it cannot be.
func (c *core[T]) frame(m *Message[T]) *frame {
	kept := c.frames.Load()
	if kept == nil {
		c.frames.CompareAndSwap(nil, new(frames))
		kept = c.frames.Load()
	}
	if f := kept.load(m.ID); f != nil {
		return f
	}
	b := make([]byte, 0, 512)
	b = append(b, frameID...)
	b = appendUUID(b, m.ID)
	b = append(b, frameData...)
	b, err := m.appendJSON(b)
	if err != nil {
		c.log.Error("chansec: a message cannot be encoded as JSON and is not handed out", "channel", c.channelID, "message", m.ID, "error", err)
		return nil
	}
	f := &frame{id: m.ID, event: append(b, frameEnd...)}
	kept.store(f)
	return f
}
