package authn

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkSystemLogin is a login at the cost of production. Whoever tries, and with whatever, it takes the same time: the cases
// take turns, so that the machine's moods are the same for all of them, and each reports its median.
func BenchmarkSystemLogin(b *testing.B) {
	s, err := NewSystemStore(SystemConfig{})
	require.NoError(b, err)
	ctx := context.Background()
	require.NoError(b, s.UpdateScript(ctx, Root(), "add principal 'ann' 'pw' ['A']"))
	cases := []struct {
		name    string
		request Request
		want    Answer
	}{
		{"right", Request{Principal: "ann", Credentials: []byte("pw")}, Allow},
		{"wrong", Request{Principal: "ann", Credentials: []byte("px")}, Deny},
		{"unknown", Request{Principal: "eve", Credentials: []byte("pw")}, Abstain},
		{"empty", Request{Principal: "ann"}, Deny},
		{"long", Request{Principal: "ann", Credentials: make([]byte, 1<<16)}, Deny},
	}
	took := make([][]time.Duration, len(cases))
	for b.Loop() {
		for i := range cases {
			began := time.Now()
			r, err := s.Authenticate(ctx, &cases[i].request)
			took[i] = append(took[i], time.Since(began))
			if err != nil || r.Answer != cases[i].want {
				b.Fatal(cases[i].name, r.Answer, err)
			}
		}
	}
	for i, c := range cases {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2].Microseconds())/1000, c.name+"-ms")
		b.ReportMetric(float64(took[i][0].Microseconds())/1000, c.name+"-min-ms")
	}
}
