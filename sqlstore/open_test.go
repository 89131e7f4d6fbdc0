package sqlstore

import (
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	file, err := sql.Open("sqlite", filepath.Join(dir, "x.db"))
	require.NoError(t, err)
	defer file.Close()
	memory, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	memory.SetMaxOpenConns(1)
	defer memory.Close()
	for name, tt := range map[string]struct {
		db      *sql.DB
		dialect Dialect
		options Options
		want    error
	}{
		"no dialect":                {file, 0, Options{}, InvalidArgument},
		"one that is not there":     {file, 3, Options{}, InvalidArgument},
		"no database":               {nil, SQLite, Options{}, InvalidArgument},
		"one in memory":             {memory, SQLite, Options{}, InvalidArgument},
		"a poll in the past":        {file, SQLite, Options{Poll: -1}, InvalidArgument},
		"staleness within the poll": {file, SQLite, Options{Poll: time.Minute}, InvalidArgument},
		"a policy that is wrong":    {file, SQLite, Options{Policy: policy.Config{Vocabulary: policy.Plain()}}, policy.InvalidArgument},
		"a file":                    {file, SQLite, Options{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), tt.db, tt.dialect, tt.options)
			require.ErrorIs(t, err, tt.want)
			if err == nil {
				require.NoError(t, s.Close())
				require.NoError(t, tt.db.Ping(), "the database stays the caller's")
			}
		})
	}
	_, err = OpenSQLite(t.Context(), "", Options{})
	require.ErrorIs(t, err, InvalidArgument)
	_, err = OpenSQLite(t.Context(), filepath.Join(dir, "missing", "x.db"), Options{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	const secret = "hunter2"
	_, err = OpenPostgreSQL(t.Context(), "postgres://ann:"+secret+"@localhost:no/x", Options{})
	require.ErrorIs(t, err, InvalidArgument)
	require.NotContains(t, err.Error(), secret)
	_, err = OpenPostgreSQL(t.Context(), "postgres://ann:"+secret+"@127.0.0.1:1/x?sslmode=disable", Options{})
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
}

func TestAFileIsItsOwnersAlone(t *testing.T) {
	x := newStorage(t, SQLite)
	s := x.open(t, Options{})
	grant(t, s, "r", "p")
	for _, ending := range []string{"", "-wal", "-shm"} {
		is, err := os.Stat(x.where + ending)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), is.Mode().Perm(), ending)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		require.NoError(t, s.db.QueryRow("pragma "+pragma).Scan(&got))
		require.Equal(t, want, got, pragma)
	}
}

func TestAClosedStoreDeniesAndMayBeClosedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, Options{})
		grant(t, s, "r", "p")
		member(t, s, "ann", "r")
		require.True(t, writes(t, s, "ann", "p"))
		require.NoError(t, s.Close())
		ok, err := s.Authorizer().AuthorizeWrite(t.Context(), "ann", "p")
		require.False(t, ok)
		require.ErrorIs(t, err, Closed)
		require.ErrorIs(t, s.fresh(), Closed)
	})
}
