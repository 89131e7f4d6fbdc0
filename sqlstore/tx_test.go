package sqlstore

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

// Two transactions that wait for each other are a deadlock, which PostgreSQL ends by giving up one of them.
func TestADeadlockIsDoneAgain(t *testing.T) {
	s := newStorage(t, PostgreSQL).open(t, Options{})
	_, err := s.db.Exec("create table pair (name text primary key, n int); insert into pair values ('x', 0), ('y', 0)")
	require.NoError(t, err)
	var both sync.WaitGroup // each has its first row
	both.Add(2)
	var tries atomic.Int32
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, order := range [][]string{{"x", "y"}, {"y", "x"}} {
		wg.Go(func() {
			met := false
			errs[i] = s.inTx(context.Background(), func(t *tx) error {
				tries.Add(1)
				for _, name := range order {
					if _, err := t.Exec("update pair set n = n + 1 where name = $1", name); err != nil {
						return err
					}
					if !met {
						met = true
						both.Done()
						both.Wait()
					}
				}
				return nil
			})
		})
	}
	wg.Wait()
	require.NoError(t, errs[0])
	require.NoError(t, errs[1])
	require.EqualValues(t, 3, tries.Load(), "one was done again")
	var least, most int
	require.NoError(t, s.db.QueryRow("select min(n), max(n) from pair").Scan(&least, &most))
	require.Equal(t, []int{2, 2}, []int{least, most}, "each once")
}

// Whoever holds SQLite's lock, or the row of a family, is waited for, for as long as the context says.
func TestALockIsWaitedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, Options{})
		other := x.raw(t)
		lock := func() (release func()) {
			tx, err := other.Begin()
			require.NoError(t, err)
			_, err = tx.Exec("update head set revision = revision")
			require.NoError(t, err)
			return func() { _ = tx.Rollback() }
		}
		change := func(ctx context.Context) error {
			return s.Policy().Update(ctx, policy.Root(), func(tx *policy.Tx) error { return tx.Grant("r", "p", "call") })
		}
		release := lock()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, change(ctx), context.DeadlineExceeded)
		release()

		release = lock()
		time.AfterFunc(600*time.Millisecond, release) // longer than SQLite waits by itself
		began := time.Now()
		require.NoError(t, change(t.Context()))
		require.Greater(t, time.Since(began), 500*time.Millisecond)
		require.Equal(t, uint64(1), s.Policy().Version())
	})
}

// A transaction whose function fails, or panics, leaves nothing and holds nothing.
func TestATransactionThatFailsLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, Options{})
		half := func(then func() error) func(*tx) error {
			return func(q *tx) error {
				if _, err := q.raise(t.Context(), policyFamily); err != nil {
					return err
				}
				return then()
			}
		}
		require.ErrorIs(t, s.inTx(t.Context(), half(func() error { return Closed })), Closed)
		require.Panics(t, func() { _ = s.inTx(t.Context(), half(func() error { panic("x") })) })
		is, err := heads(t.Context(), s.db)
		require.NoError(t, err)
		require.Zero(t, is[policyFamily])
		grant(t, s, "r", "p")
	})
}
