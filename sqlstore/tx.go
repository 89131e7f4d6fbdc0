package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// tx is a transaction of the store's own.
type tx struct {
	*sql.Tx
	dialect Dialect
}

// longestBusy is for how long a transaction is tried again that others are in the way of.
const longestBusy = 30 * time.Second

// inTx does something in a transaction, which is committed if it returns nil. Where others are in the way, as in a deadlock,
// it is done again, so that f must do nothing that a rollback does not undo. After longestBusy of that, the error is
// Busy. After any other error of the database itself the change may be kept or not, but never in part.
func (s *Store) inTx(ctx context.Context, f func(*tx) error) error {
	if s.dialect == SQLite { // which has one writer anyway; here they wait in order
		select {
		case s.writing <- struct{}{}:
			defer func() { <-s.writing }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := again(ctx, func() error { return s.try(ctx, f) }); err != nil {
		return err
	}
	s.wake()
	return nil
}

func (s *Store) try(ctx context.Context, f func(*tx) error) error {
	begun, release, err := s.dialect.begin(ctx, s.db)
	if err != nil {
		return wrap(ctx, err)
	}
	defer release()
	defer func() { _ = begun.Rollback() }() // also if f panics; nothing after a commit
	t := &tx{Tx: begun, dialect: s.dialect}
	if s.dialect == SQLite {
		// The first statement writes, so that the lock is had at once: whoever reads first may find at the first write that
		// it reads what is past.
		if _, err := t.ExecContext(ctx, "update head set revision = revision where family = ''"); err != nil {
			return wrap(ctx, err)
		}
	}
	if err := f(t); err != nil {
		return wrap(ctx, err)
	}
	return wrap(ctx, t.Commit())
}

// read does something in a transaction that only reads. It may be done again, too.
func (s *Store) read(ctx context.Context, f func(*sql.Tx) error) error {
	return again(ctx, func() error {
		t, err := s.dialect.snapshot(ctx, s.db)
		if err != nil {
			return wrap(ctx, err)
		}
		defer func() { _ = t.Rollback() }()
		return wrap(ctx, f(t))
	})
}

// again does something until others are not in its way any more.
func again(ctx context.Context, do func() error) error {
	began := time.Now()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := do()
		if err == nil || !transient(err) {
			return err
		}
		if time.Since(began) > longestBusy {
			return &Error{Kind: Busy, What: "database", Want: "its locks within " + longestBusy.String(), Err: err}
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wrap adds what the errors of databases lack. What a context ended is its error, whatever the driver makes of it.
func wrap(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if e := ctx.Err(); e != nil && !errors.Is(err, e) {
		return fmt.Errorf("sqlstore: %w: %v", e, err)
	}
	return err
}
