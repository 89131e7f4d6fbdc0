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
	driver, source := "pgx", x.where
	if x.dialect == SQLite {
		var err error
		driver = "sqlite"
		source, err = sqliteSource(x.where)
		require.NoError(t, err)
	}
	db, err := sql.Open(driver, source)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func newStorage(t testing.TB, d Dialect) storage {
	t.Helper()
	if d == SQLite {
		return storage{d, filepath.Join(t.TempDir(), "a b#?%.db")}
	}
	return storage{d, pgtest.Database(t)}
}

// onBoth runs a test on each of the engines.
func onBoth(t *testing.T, f func(t *testing.T, x storage)) {
	for _, d := range []Dialect{SQLite, PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) { f(t, newStorage(t, d)) })
	}
}
