package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

// withApplication makes a table of the caller's own.
func withApplication(t *testing.T, s *Store) (count func() int) {
	_, err := s.DB().Exec("create table thing (name text not null)")
	require.NoError(t, err)
	return func() (n int) {
		require.NoError(t, s.DB().QueryRow("select count(*) from thing").Scan(&n))
		return n
	}
}

func add(name string) func(*policy.Tx) error {
	return func(tx *policy.Tx) error { return tx.Grant("r", name, "publish") }
}

func TestAChangeAndWhatItBelongsToAreOneTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, Options{})
		things := withApplication(t, s)
		begin := func() *sql.Tx {
			tx, err := s.DB().BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = tx.Exec("insert into thing values ('x')")
			require.NoError(t, err)
			return tx
		}
		has := func(s *Store, name string) bool {
			permissions, _, _ := s.Policy().Snapshot().Assigned("r", name)
			return len(permissions) > 0
		}

		tx := begin()
		first, err := s.UpdateIn(t.Context(), tx, policy.Root(), add("a"))
		require.NoError(t, err)
		second, err := s.UpdateIn(t.Context(), tx, policy.Root(), add("b"))
		require.NoError(t, err)
		require.Equal(t, []uint64{1, 2}, []uint64{first, second}, "the second sees the first")
		again, err := s.UpdateIn(t.Context(), tx, policy.Root(), add("b"))
		require.NoError(t, err)
		require.Equal(t, second, again, "nothing changed")
		require.NoError(t, s.learn(t.Context()))
		require.False(t, has(s, "a"), "not before the commit")
		require.NoError(t, tx.Commit())
		require.NoError(t, s.AtLeast(t.Context(), second))
		require.True(t, has(s, "a") && has(s, "b"))
		require.Equal(t, 1, things())
		sameAsTables(t, s)

		tx = begin()
		_, err = s.UpdateIn(t.Context(), tx, policy.Root(), add("c"))
		require.NoError(t, err)
		require.NoError(t, tx.Rollback())
		require.NoError(t, s.learn(t.Context()))
		require.False(t, has(s, "c"), "never after a rollback")
		require.Equal(t, 1, things())

		tx = begin()
		_, err = s.UpdateIn(t.Context(), tx, policy.ActorNamed("nobody"), add("c"))
		require.Error(t, err, "whoever may not")
		_, err = s.UpdateIn(t.Context(), tx, policy.Root(), func(tx *policy.Tx) error {
			_ = tx.Grant("r", "c", "publish")
			return errors.New("no")
		})
		require.EqualError(t, err, "no")
		require.NoError(t, tx.Commit(), "a change that is refused leaves the transaction as it was")
		require.Equal(t, uint64(2), s.Policy().Version())
		require.Equal(t, 2, things())

		require.NoError(t, s.Policy().Update(t.Context(), policy.Root(), add("d")), "and the store goes on")
		require.Equal(t, uint64(3), s.Policy().Version())
		sameAsTables(t, s)
		require.Equal(t, s.Policy().Snapshot().Script(), x.open(t, Options{}).Policy().Snapshot().Script())
		_, err = s.UpdateIn(t.Context(), nil, policy.Root(), add("e"))
		require.ErrorIs(t, err, InvalidArgument)
	})
}

// Many change the policy at once, each in its way; every change is there, once, and revisions are dense.
func TestRevisionsAreDenseWhoeverMakesThem(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		const each = 8
		stores := []*Store{x.open(t, Options{}), x.open(t, Options{})}
		things := withApplication(t, stores[0])
		var wg sync.WaitGroup
		errs := make(chan error, 1000)
		for i, s := range stores {
			wg.Go(func() {
				for n := range each {
					errs <- s.Policy().Update(context.Background(), policy.Root(), add(fmt.Sprintf("own%d_%d", i, n)))
				}
			})
			wg.Go(func() {
				for n := range each {
					errs <- func() error {
						for {
							tx, err := s.DB().BeginTx(context.Background(), nil)
							if err != nil {
								return err
							}
							_, err = s.UpdateIn(context.Background(), tx, policy.Root(), add(fmt.Sprintf("joined%d_%d", i, n)))
							if err == nil {
								_, err = tx.Exec("insert into thing values ('x')")
							}
							if err == nil {
								err = tx.Commit()
							}
							_ = tx.Rollback()
							if !errors.Is(err, Retry) && !transient(err) {
								return err
							}
						}
					}()
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		require.Equal(t, 2*each, things())
		last := x.open(t, Options{})
		require.Equal(t, uint64(4*each), last.Policy().Version())
		for i := range stores {
			for n := range each {
				for _, kind := range []string{"own", "joined"} {
					permissions, _, _ := last.Policy().Snapshot().Assigned("r", fmt.Sprintf("%s%d_%d", kind, i, n))
					require.Equal(t, []string{"publish"}, permissions)
				}
			}
		}
		sameAsTables(t, last)
		var n, most int
		require.NoError(t, last.db.QueryRow("select count(*), max(revision) from policy_change").Scan(&n, &most))
		require.Equal(t, []int{4 * each, 4 * each}, []int{n, most})
	})
}
