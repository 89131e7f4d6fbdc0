package sqlstore

import (
	"cmp"
	"context"
	"slices"
)

// scanner is one row.
type scanner interface{ Scan(into ...any) error }

// collect calls a function for every row. It must not use the database.
func collect(ctx context.Context, q querier, query string, args []any, f func(row scanner) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// nextID takes so many numbers for rows of a table, and returns the first. Others who want some wait until the transaction
// is over, so that numbers rise in the order of the commits, without gaps.
func nextID(ctx context.Context, t *tx, table string, n int) (first int64, err error) {
	err = t.QueryRowContext(ctx, `update serial set last = last + $1 where name = $2 returning last`, n, table).Scan(&first)
	return first - int64(n) + 1, err
}

func sortBy[T any, K cmp.Ordered](list []T, key func(T) K) {
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
}

// changed runs a transaction that changes a family, and returns the revision that it leads to. Of those who change it all
// come one after the other, and each sees what those before it left.
func (s *Store) changed(ctx context.Context, family string, f func(t *tx, revision uint64) error) (revision uint64, err error) {
	err = s.inTx(ctx, func(t *tx) (err error) {
		if revision, err = t.raise(ctx, family); err != nil {
			return err
		}
		return f(t, revision)
	})
	return revision, err
}
