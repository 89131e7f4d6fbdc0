package chansec

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

// KeyedChannel is a channel that holds the last message of each key, such as the state of a thing under its name. It keeps
// no more keys than it has room for (WithMaxMessages; a million otherwise), refuses more with ErrFull, and forgets none by
// itself. Who reads or follows it sees the last message of every key; one that was replaced before a slow reader came to
// it is not seen and was not missed. That a key was deleted, be it with others by eviction, is no message, and nobody missed
// it. Over HTTP it is read and followed, and not written.
//
// A security that looks at messages sees what a write replaces, and what is stored is what it decided about: where another
// writer came first, it is asked again. So of two writers only one can pass on the same old message.
type KeyedChannel[T any] struct{ *core[T] }

// KeyedPort is a port of a KeyedChannel.
type KeyedPort[T any] interface {
	Keeper[T]
	Reader[T]
	Subscriber[T]
	Host[T]
	Inspector
}

// Keeper reads and writes what a channel holds under keys, which are 1 to 512 bytes of UTF-8 without control characters.
type Keeper[T any] interface {
	// Get returns the message of a key, or ErrUnknownKey.
	Get(ctx context.Context, key string) (Message[T], error)
	// Set stores a message with this content under a key, in the place of the one that is there, and returns its ID. A
	// channel that is not started or drains returns ErrNotAccepting, one without room for another key ErrFull.
	Set(ctx context.Context, key string, content T) (uuid.UUID, error)
	// SetIf is Set on the condition that the key's message is still the one of that ID, or that there is none where it is
	// zero. Otherwise it stores nothing and returns ErrChanged.
	SetIf(ctx context.Context, key string, content T, last uuid.UUID) (uuid.UUID, error)
	// Delete takes the message of a key away, and reports whether there was one.
	Delete(ctx context.Context, key string) (bool, error)
}

// NewKeyed returns a channel that is not started yet. It fails with an InvalidError.
func NewKeyed[T any](id string, opts ...Option) (*KeyedChannel[T], error) {
	c, err := newCore[T](keyed, id, opts)
	if err != nil {
		return nil, err
	}
	return &KeyedChannel[T]{c}, nil
}

// As returns the port of a system that the program itself wires in. Whoever holds it acts under that name. An impossible
// name makes a port whose every operation is denied.
func (c *KeyedChannel[T]) As(systemID string) KeyedPort[T] {
	return newKeyedPort(c.core, wired(systemID))
}

// For returns the port of a verified caller, as they are at each operation: a transport's way in.
func (c *KeyedChannel[T]) For(caller Caller) KeyedPort[T] {
	return newKeyedPort(c.core, verified(caller))
}

type (
	keyedPort[T any] struct {
		canKeep[T]
		canRead[T]
		canSubscribe[T]
		canHost[T]
	}
	canKeep[T any] struct{ *port[T] }
)

func newKeyedPort[T any](c *core[T], who *subject) KeyedPort[T] {
	p := &port[T]{c: c, who: who}
	return &keyedPort[T]{canKeep[T]{p}, canRead[T]{p}, canSubscribe[T]{p}, canHost[T]{p}}
}

// slot is what lies under a key, as it was when somebody looked.
type slot[T any] struct {
	looked bool
	driver.Entry[body[T]]
}

// look finds out what lies under a key, which may be nothing.
func (c *core[T]) look(ctx context.Context, key string, s *slot[T]) (previous *Message[any], err error) {
	if checkID("key", key) != nil {
		return nil, nil // refused once the guard has spoken
	}
	s.Entry, err = c.backend.Last(ctx, key)
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return nil, driverError(err)
	}
	if s.looked = true; err == nil {
		previous = s.Value.untyped(&s.Stamp)
	}
	return previous, nil
}

func (p canKeep[T]) Get(ctx context.Context, key string) (m Message[T], err error) {
	t, err := p.c.authorize(ctx, p.who, OpRead, nil)
	if err != nil {
		return m, err
	}
	if err := checkID("key", key); err != nil {
		return m, err
	}
	e, err := p.c.backend.Last(ctx, key)
	absent := errors.Is(err, driver.ErrNotFound)
	if err != nil && !absent {
		return m, driverError(err)
	}
	if t, err = p.c.again(ctx, p.who, OpRead, t); err != nil {
		return m, err
	}
	if t.perMessage { // of a key that is not there, too, so that a denial does not tell
		if absent {
			e.Value.Rest = &rest{Key: key}
		}
		fresh, err := p.c.authorize(ctx, p.who, OpRead, e.Value.matter(&e.Stamp))
		switch {
		case err != nil:
			return m, err
		case fresh.systemID != t.systemID:
			return m, p.c.another(OpRead, t)
		}
	}
	if absent {
		return m, ErrUnknownKey
	}
	return e.Value.message(&e.Stamp), nil
}

func (p canKeep[T]) Set(ctx context.Context, key string, content T) (uuid.UUID, error) {
	return p.set(ctx, key, content, nil)
}

func (p canKeep[T]) SetIf(ctx context.Context, key string, content T, last uuid.UUID) (uuid.UUID, error) {
	return p.set(ctx, key, content, &last)
}

// set stores a message, if the key's message is the last one where that is given. What a decision looked at is a
// condition, too: where it is not there any more, there is a new decision.
func (p canKeep[T]) set(ctx context.Context, key string, content T, last *uuid.UUID) (uuid.UUID, error) {
	b := body[T]{Content: content, Rest: &rest{Key: key}}
	for {
		var was slot[T]
		t, err := p.c.authorize(ctx, p.who, OpWrite, func(systemID string) (message, previous *Message[any], err error) {
			if previous, err = p.c.look(ctx, key, &was); err != nil {
				return nil, nil, err
			}
			message, _, err = b.unwritten()(systemID)
			return message, previous, err
		})
		if err != nil {
			return uuid.Nil, err
		}
		if err := checkID("key", key); err != nil {
			return uuid.Nil, err
		}
		b.SenderID = t.systemID
		id, err := p.store(ctx, key, &b, last, &was)
		if !errors.Is(err, driver.ErrConflict) {
			return id, err
		}
	}
}

// store stores a body, or returns driver.ErrConflict where something else lies under the key than somebody looked at.
func (p canKeep[T]) store(ctx context.Context, key string, b *body[T], last *uuid.UUID, was *slot[T]) (uuid.UUID, error) {
	if err := p.c.enter(); err != nil {
		return uuid.Nil, err
	}
	defer p.c.leave()
	if last != nil {
		if !was.looked {
			if _, err := p.c.look(ctx, key, was); err != nil {
				return uuid.Nil, err
			}
		}
		if was.ID != *last {
			return uuid.Nil, ErrChanged
		}
	}
	h := driver.Head{Key: key}
	if !was.looked {
		stamp, err := p.c.backend.Append(ctx, h, *b)
		return stamp.ID, driverError(err)
	}
	stamp, err := p.c.backend.AppendIf(ctx, h, *b, was.Seq)
	if errors.Is(err, driver.ErrConflict) {
		return uuid.Nil, err
	}
	return stamp.ID, driverError(err)
}

func (p canKeep[T]) Delete(ctx context.Context, key string) (bool, error) {
	for {
		var was slot[T]
		_, err := p.c.authorize(ctx, p.who, OpDelete, func(systemID string) (message, previous *Message[any], err error) {
			previous, err = p.c.look(ctx, key, &was)
			return &Message[any]{Key: key, SenderID: systemID}, previous, err
		})
		if err != nil {
			return false, err
		}
		if err := checkID("key", key); err != nil {
			return false, err
		}
		gone, err := p.take(ctx, key, &was)
		if !errors.Is(err, driver.ErrConflict) {
			return gone, err
		}
	}
}

// take removes what somebody looked at, or returns driver.ErrConflict where that does not lie under the key any more.
func (p canKeep[T]) take(ctx context.Context, key string, was *slot[T]) (bool, error) {
	if err := p.c.enter(); err != nil {
		return false, err
	}
	defer p.c.leave()
	if !was.looked {
		if _, err := p.c.look(ctx, key, was); err != nil {
			return false, err
		}
	}
	if was.Seq == 0 {
		return false, nil
	}
	n, err := p.c.backend.Remove(ctx, []uuid.UUID{was.ID})
	if err == nil && n == 0 {
		return false, driver.ErrConflict
	}
	return n > 0, driverError(err)
}
