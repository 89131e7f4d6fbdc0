package sqlstore

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/pgtest"
)

// storage is an empty database, which may be opened more than once.
type storage struct {
	dialect Dialect
	where   string // a file or a URL
}

func (x storage) openWith(ctx context.Context, o Options) (*Store, error) {
	if x.dialect == SQLite {
		return OpenSQLite(ctx, x.where, o)
	}
	return OpenPostgreSQL(ctx, x.where, o)
}

// open opens a store that ends with the test.
func (x storage) open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := x.openWith(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// raw is the database without a store.
func (x storage) raw(t testing.TB) *sql.DB {
	t.Helper()
	db, err := x.database()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func (x storage) database() (*sql.DB, error) {
	if x.dialect == PostgreSQL {
		return sql.Open("pgx", x.where)
	}
	source, err := sqliteSource(x.where)
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite", source)
}

func newStorage(t testing.TB, d Dialect) storage {
	t.Helper()
	if d == SQLite {
		return storage{d, filepath.Join(t.TempDir(), "a b#?%.db")}
	}
	return storage{d, pgtest.Database(t)}
}

// onBoth runs a test on each of the engines, or with -short on PostgreSQL, which the race detector does not slow down.
func onBoth(t *testing.T, f func(t *testing.T, x storage)) {
	engines := []Dialect{SQLite, PostgreSQL}
	if testing.Short() {
		engines = engines[1:]
	}
	for _, d := range engines {
		t.Run(d.String(), func(t *testing.T) { f(t, newStorage(t, d)) })
	}
}
