package sqlstore

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func benchmarkOnBoth(b *testing.B, f func(b *testing.B, x storage)) {
	for _, d := range []Dialect{SQLite, PostgreSQL} {
		b.Run(d.String(), func(b *testing.B) { f(b, newStorage(b, d)) })
	}
}

// BenchmarkDecision decides by a store, and by the same policy in memory.
func BenchmarkDecision(b *testing.B) {
	config := policy.WAMPConfig()
	config.Delegation = true
	fill := func(s *policy.Store) {
		require.NoError(b, s.Update(b.Context(), policy.Root(), func(tx *policy.Tx) error {
			for i := range 10_000 {
				_ = tx.Grant(fmt.Sprint("r", i%100), fmt.Sprintf("com.a%d.b%d", i%100, i), "publish")
			}
			return tx.AssignRoles("ann", "r1", "r2", "r3")
		}))
	}
	memory, err := policy.New(config)
	require.NoError(b, err)
	fill(memory)
	stored := newStorage(b, SQLite).open(b, Options{})
	fill(stored.Policy())
	for _, x := range []struct {
		name string
		a    *policy.Authorizer
	}{{"memory", memory.Authorizer()}, {"store", stored.Authorizer()}} {
		b.Run(x.name, func(b *testing.B) {
			ctx := context.Background()
			who := chansec.Principal{SystemID: "ann"}
			b.ReportAllocs()
			for b.Loop() {
				d, err := x.a.Decide(ctx, chansec.Request{Principal: who, ChannelID: "com.a1.b101.c.d", Operation: chansec.OpWrite})
				if !d.Allowed || err != nil {
					b.Fatal(d, err)
				}
			}
		})
	}
}

// BenchmarkChanges makes durable changes in transactions of a hundred grants.
func BenchmarkChanges(b *testing.B) {
	benchmarkOnBoth(b, func(b *testing.B, x storage) {
		const batch = 100
		s := x.open(b, Options{})
		n := 0
		for b.Loop() {
			require.NoError(b, s.Policy().Update(b.Context(), policy.Root(), func(tx *policy.Tx) error {
				for range batch {
					n++
					_ = tx.Grant(fmt.Sprint("r", n%50), fmt.Sprintf("com.a%d.b%d", n%100, n), "publish")
				}
				return nil
			}))
		}
		b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "changes/s")
	})
}

// BenchmarkLoad opens a store of a million grants.
func BenchmarkLoad(b *testing.B) {
	if testing.Short() {
		b.Skip("It takes a while to fill.")
	}
	benchmarkOnBoth(b, func(b *testing.B, x storage) {
		const batches, batch = 100, 10_000
		s := x.migrated(b)
		back := &policyBackend{store: s}
		p, err := policy.Open(b.Context(), Options{}.must(b).Policy, logOnly{back})
		require.NoError(b, err)
		for i := range batches {
			require.NoError(b, p.Update(b.Context(), policy.Root(), func(tx *policy.Tx) error {
				for j := range batch {
					n := i*batch + j
					_ = tx.Grant(fmt.Sprint("r", n%1000), fmt.Sprintf("com.a%d.b%d.c%d", n%100, n%1000, n), "publish")
				}
				return nil
			}))
		}
		require.NoError(b, p.Compact(b.Context()))
		require.NoError(b, setTables(b.Context(), s.db, p.Version())) // the tables are not what is measured
		for b.Loop() {
			s, err := x.openWith(b.Context(), Options{})
			require.NoError(b, err)
			b.StopTimer()
			_, _, ok := s.Policy().Snapshot().Assigned("r999", "com.a99.b999.c999999")
			require.True(b, ok)
			require.NoError(b, s.Close())
			b.StartTimer()
		}
	})
}

// logOnly is a backend without the tables.
type logOnly struct{ policy.Backend }

func (o Options) must(b *testing.B) Options {
	o, err := o.checked()
	require.NoError(b, err)
	return o
}
