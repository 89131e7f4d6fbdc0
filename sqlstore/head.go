package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strconv"
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
	if err := q.QueryRowContext(ctx, "update head set revision = revision + 1 where family = $1 returning revision", family).Scan(&revision); err != nil {
		return 0, err
	}
	return revision, d.notify(ctx, q, family, revision)
}

// raiseTo is raise if that leads to a revision; otherwise it changes nothing and reports false.
func (d Dialect) raiseTo(ctx context.Context, q querier, family string, revision uint64) (bool, error) {
	if revision == 0 || revision > math.MaxInt64 {
		return false, nil
	}
	var is uint64
	err := q.QueryRowContext(ctx, "update head set revision = $2 where family = $1 and revision = $2 - 1 returning revision", family, int64(revision)).Scan(&is)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, d.notify(ctx, q, family, revision)
}

func (d Dialect) notify(ctx context.Context, q querier, family string, revision uint64) error {
	if d != PostgreSQL {
		return nil
	}
	_, err := q.ExecContext(ctx, "select pg_notify($1, $2)", channel, family+" "+strconv.FormatUint(revision, 10))
	return err
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
