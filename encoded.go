package chansec

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chansec/chansec/driver"
)

// WithBackend keeps the channel's messages in another backend than memory. Contents are stored as JSON, so that T must
// survive encoding/json.
func WithBackend(open driver.Opener[[]byte]) Option {
	return func(o *options) error {
		if open == nil {
			return &InvalidError{What: "backend", Value: "nil", Want: "a driver.Opener"}
		}
		o.backend = open
		return nil
	}
}

// encoded makes a backend of bytes one of messages. Each message is encoded once, when it is written, and decoded once per
// reader that takes bytes out.
type encoded[T any] struct {
	driver.Backend[[]byte]
}

func encode[T any](b *body[T]) ([]byte, error) {
	data, err := json.Marshal(b)
	if err != nil {
		return nil, invalid("content", "", "what encoding/json can write: "+err.Error())
	}
	return data, nil
}

func decode[T any](e *driver.Entry[[]byte]) (driver.Entry[body[T]], error) {
	out := driver.Entry[body[T]]{Stamp: e.Stamp, Key: e.Key, Box: e.Box}
	err := json.Unmarshal(e.Value, &out.Value)
	return out, err
}

func (b encoded[T]) Append(ctx context.Context, h driver.Head, v body[T]) (driver.Stamp, error) {
	data, err := encode(&v)
	if err != nil {
		return driver.Stamp{}, err
	}
	return b.Backend.Append(ctx, h, data)
}

func (b encoded[T]) AppendIf(ctx context.Context, h driver.Head, v body[T], last uint64) (driver.Stamp, error) {
	data, err := encode(&v)
	if err != nil {
		return driver.Stamp{}, err
	}
	return b.Backend.AppendIf(ctx, h, data, last)
}

func (b encoded[T]) Last(ctx context.Context, key string) (driver.Entry[body[T]], error) {
	e, err := b.Backend.Last(ctx, key)
	if err != nil {
		return driver.Entry[body[T]]{}, err
	}
	return decode[T](&e)
}

func (b encoded[T]) Open(ctx context.Context, view driver.View, from driver.From) (driver.Reader[body[T]], error) {
	r, err := b.Backend.Open(ctx, view, from)
	if err != nil {
		return nil, err
	}
	return &encodedReader[T]{Reader: r}, nil
}

func (b encoded[T]) Claim(ctx context.Context, who driver.Consumer, box string, limit int, timeout time.Duration, dst []driver.Claimed[body[T]]) ([]driver.Claimed[body[T]], error) {
	got, err := b.Backend.Claim(ctx, who, box, limit, timeout, nil)
	if err != nil {
		return dst, err
	}
	for i := range got {
		e, failed := decode[T](&got[i].Entry)
		if failed != nil {
			// The others must not stay out of sight because of it.
			err = failed
			if _, nack := b.Nack(ctx, who.Name, driver.Receipt{ID: got[i].ID, Attempt: got[i].Attempt}); nack != nil {
				err = nack
			}
			continue
		}
		dst = append(dst, driver.Claimed[body[T]]{Entry: e, Attempt: got[i].Attempt, Deadline: got[i].Deadline})
	}
	if len(dst) > 0 {
		err = nil
	}
	return dst, err
}

type encodedReader[T any] struct {
	driver.Reader[[]byte]
	buf []driver.Entry[body[T]]
}

func (r *encodedReader[T]) Next(ctx context.Context, limit int) (driver.Batch[body[T]], error) {
	raw, err := r.Reader.Next(ctx, limit)
	if err != nil {
		return driver.Batch[body[T]]{}, err
	}
	r.buf = r.buf[:0]
	for i := range raw.Entries {
		e, err := decode[T](&raw.Entries[i])
		if err != nil {
			if i == 0 {
				return driver.Batch[body[T]]{}, err
			}
			break // hand out what is before it
		}
		r.buf = append(r.buf, e)
	}
	return driver.Batch[body[T]]{Missed: raw.Missed, AtMost: raw.AtMost, Entries: r.buf}, nil
}
