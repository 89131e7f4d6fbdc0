package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math"
)

// The families of what changes. Each has a revision in the table head, so that what others changed is known from
// one small table.
const (
	policyFamily      = "policy"
	usersFamily       = "users"
	sessionsFamily    = "sessions"
	revocationsFamily = "revocations"
)

// channel is PostgreSQL's channel of notifications: a family and its revision.
const channel = "chansec"

// querier is a database or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// raise raises the revision of a family that the transaction changes, and tells of it when that is committed. Until
// then, all others who change the family wait.
func (d Dialect) raise(ctx context.Context, q querier, family string) (revision uint64, err error) {
	var told string
	err = q.QueryRowContext(ctx, "update head set revision = revision + 1 where family = $1 "+d.returning(), family).Scan(&revision, &told)
	return revision, err
}

// raiseTo is raise if that leads to a revision; otherwise it changes nothing and reports false.
func (d Dialect) raiseTo(ctx context.Context, q querier, family string, revision uint64) (bool, error) {
	if revision == 0 || revision > math.MaxInt64 {
		return false, nil
	}
	var is uint64
	var told string
	err := q.QueryRowContext(ctx, "update head set revision = $2 where family = $1 and revision = $2 - 1 "+d.returning(), family, int64(revision)).
		Scan(&is, &told)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// returning is the end of a statement that raises a revision: it tells of it, in the same round trip.
func (d Dialect) returning() string {
	if d == PostgreSQL {
		return "returning revision, pg_notify('" + channel + "', family || ' ' || revision)::text"
	}
	return "returning revision, ''"
}

// raise is Dialect.raise in the transaction.
func (t *tx) raise(ctx context.Context, family string) (uint64, error) {
	return t.dialect.raise(ctx, t.Tx, family)
}

// heads returns the revisions of all families.
func heads(ctx context.Context, q querier) (map[string]uint64, error) {
	rows, err := q.QueryContext(ctx, "select family, revision from head")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := map[string]uint64{}
	for rows.Next() {
		var family string
		var revision uint64
		if err := rows.Scan(&family, &revision); err != nil {
			return nil, err
		}
		list[family] = revision
	}
	return list, rows.Err()
}
