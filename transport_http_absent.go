package chansec

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// absent is a channel that does not exist, for somebody whom one security knows, or several: only if each would allow what
// they ask for are they told that it does not exist.
type absent []stranger

// stranger is somebody whom a security knows, with the guard that a channel of that security would have.
type stranger struct {
	gate *guard
	who  *subject
}

func (a absent) refuse(ctx context.Context, op Operation) error {
	for _, s := range a {
		if _, err := s.gate.authorize(ctx, s.who, op, nil); err != nil {
			return err
		}
	}
	return &wireError{notFound}
}

// write shows the security the messages if it wants to see them: whether and when they are read must tell nothing either.
func (a absent) write(ctx context.Context, load func() ([]wireMessage, error)) ([]uuid.UUID, error) {
	load = sync.OnceValues(load)
	for _, s := range a {
		if err := s.write(ctx, load); err != nil {
			return nil, err
		}
	}
	return nil, &wireError{notFound}
}

func (s stranger) write(ctx context.Context, load func() ([]wireMessage, error)) error {
	for i := 0; ; i++ {
		n := 0
		_, err := s.gate.authorize(ctx, s.who, OpWrite, func(systemID string) (message, previous *Message[any], err error) {
			list, err := load()
			if n = len(list); err != nil || i >= n {
				return nil, nil, nil
			}
			b, err := readBody[any](&list[i])
			if err != nil {
				return nil, nil, nil
			}
			return b.unwritten()(systemID)
		})
		if err != nil || i+1 >= n {
			return err
		}
	}
}

func (a absent) read(ctx context.Context, _ *uuid.UUID, _ int) ([]*frame, error) {
	return nil, a.refuse(ctx, OpRead)
}

func (a absent) claim(ctx context.Context, _ int, _ time.Duration) ([]wireClaim, error) {
	return nil, a.refuse(ctx, OpClaim)
}

func (a absent) settle(ctx context.Context, op Operation, _ func() ([]Receipt, error)) (int, error) {
	return 0, a.refuse(ctx, op)
}

func (a absent) follow(ctx context.Context, _ *uuid.UUID) (stream, uuid.UUID, error) {
	return nil, uuid.Nil, a.refuse(ctx, OpSubscribe)
}

func (a absent) list(ctx context.Context, _ *uuid.UUID, _ int) ([]*frame, error) {
	return nil, a.refuse(ctx, OpRemove)
}

func (a absent) Clear(ctx context.Context) (int, error) { return 0, a.refuse(ctx, OpClear) }

func (a absent) EvictBefore(ctx context.Context, _ time.Time) (int, error) {
	return 0, a.refuse(ctx, OpEvict)
}

func (a absent) EvictBeyond(ctx context.Context, _ int) (int, error) {
	return 0, a.refuse(ctx, OpEvict)
}

func (a absent) Remove(ctx context.Context, _ ...uuid.UUID) (int, error) {
	return 0, a.refuse(ctx, OpRemove)
}

func (a absent) Len(ctx context.Context) (int, error) { return 0, a.refuse(ctx, OpAdmin) }

func (a absent) Info(ctx context.Context) (Info, error) { return Info{}, a.refuse(ctx, OpInfo) }
