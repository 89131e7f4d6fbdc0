package sqlstore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
)

// BenchmarkCheck is a decision for a user, beside the one of the policy alone.
func BenchmarkCheck(b *testing.B) {
	s := newStorage(b, SQLite).open(b, quickly())
	addUsers(b, s, "ann")
	require.NoError(b, s.policy.Update(b.Context(), policy.Root(), func(p *policy.Tx) error {
		p.Grant("com", "com", "publish")
		return p.AssignNewRole("ann", "com")
	}))
	ann := chansec.Principal{SystemID: "ann"}
	check := func(name string, f func(chansec.Principal, string, string) (chansec.Decision, error)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d, err := f(ann, "publish", "com.home.garage.door.open"); err != nil || !d.Allowed {
					b.Fatal(d, err)
				}
			}
		})
	}
	check("policy", s.Authorizer().Check)
	check("users", s.Users().Authorizer().Check)
}

// BenchmarkActivity is records that are written, in the batches of the queue; ns/op is for one record.
func BenchmarkActivity(b *testing.B) {
	for _, d := range []Dialect{SQLite, PostgreSQL} {
		b.Run(d.String(), func(b *testing.B) {
			s := newStorage(b, d).open(b, quickly())
			batch := make([]audit.Record, 256)
			for i := range batch {
				batch[i] = audit.Record{Time: time.Now(), Kind: audit.KindDecision, Principal: "ann", Target: "com.home", Operation: "publish", Outcome: chansec.Allowed}
			}
			b.ReportAllocs()
			for i := 0; i < b.N; i += len(batch) {
				require.NoError(b, s.Activity().RecordAll(b.Context(), batch))
			}
		})
	}
}
