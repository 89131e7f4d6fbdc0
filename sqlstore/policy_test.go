package sqlstore

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/policy/policytest"
)

func TestThePolicyBackendIsOne(t *testing.T) {
	for _, d := range []Dialect{SQLite, PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) {
			policytest.TestBackend(t, func(t *testing.T) func() policy.Backend {
				x := newStorage(t, d)
				return func() policy.Backend { return &policyBackend{store: x.migrated(t)} }
			})
		})
	}
}

// migrated is a store without its parts, which does not read what is there.
func (x storage) migrated(t testing.TB) *Store {
	s := &Store{db: x.raw(t), dialect: x.dialect, writing: make(chan struct{}, 1)}
	s.following.init()
	list, err := migrations(embedded)
	require.NoError(t, err)
	if x.dialect == SQLite {
		require.NoError(t, again(t.Context(), func() error { return writeAhead(context.Background(), s.db) }))
	}
	require.NoError(t, s.migrate(t.Context(), list))
	return s
}
