package rbac_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// discard is a ResponseWriter that costs nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// contenders are a mux whose handlers verify the token themselves and do no more, and one of the same routes that is guarded
// by rules.
func contenders(tb testing.TB) (bare, guarded http.Handler, r *http.Request) {
	tokens := newTokens(tb)
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	verifies := func(w http.ResponseWriter, r *http.Request) {
		text, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if _, err := tokens.Verify(r.Context(), text); err != nil || !found {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		ok.ServeHTTP(w, r)
	}
	mux := http.NewServeMux()
	for _, pattern := range []string{"/users/{object_id}", "GET /files/{path...}", "POST /users/{object_id}/change_password"} {
		mux.HandleFunc(pattern, verifies)
	}
	return mux, newHandler(tb, newService(tb, tokens, users()), ok), request("GET", "/users/U1", newToken(tb, tokens, "U1", "user"))
}

// BenchmarkRequest reports what a request costs behind a handler that only verifies its token and behind rules, in
// rounds that take turns, and the median of their ratios, which is to be at most 1.1. The other two are for counting
// instructions: valgrind --tool=callgrind --toggle-collect='*takeAll*' ./rbac.test -test.bench Request/bare -test.benchtime 1000x
func BenchmarkRequest(b *testing.B) {
	bare, guarded, r := contenders(b)
	b.Run("rounds", func(b *testing.B) { takeTurns(b, bare, guarded, r) })
	b.Run("bare", func(b *testing.B) { takeAll(b, bare, r) })
	b.Run("guarded", func(b *testing.B) { takeAll(b, guarded, r) })
}

func takeAll(b *testing.B, h http.Handler, r *http.Request) {
	b.ReportAllocs()
	w := &discard{header: make(http.Header)}
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func takeTurns(b *testing.B, bare, guarded http.Handler, r *http.Request) {
	const batch = 20
	var rounds [2][]float64
	var ratios []float64 // of the two of a round, which ran under the same load of the machine
	for i := 0; b.Loop(); i++ {
		var took [2]float64
		for turn := range 2 {
			which := (i + turn) % 2
			h := []http.Handler{bare, guarded}[which]
			w := &discard{header: make(http.Header)}
			began := time.Now()
			for range batch {
				h.ServeHTTP(w, r)
			}
			took[which] = float64(time.Since(began)) / batch
			rounds[which] = append(rounds[which], took[which])
			require.Equal(b, http.StatusOK, w.status)
		}
		ratios = append(ratios, took[1]/took[0])
	}
	median := func(list []float64) float64 { slices.Sort(list); return list[len(list)/2] }
	b.ReportMetric(0, "ns/op") // of both together, which says nothing
	b.ReportMetric(median(rounds[0]), "bare-ns")
	b.ReportMetric(median(rounds[1]), "guarded-ns")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(allocations(bare, r), "bare-allocs")
	b.ReportMetric(allocations(guarded, r), "guarded-allocs")
}

func allocations(h http.Handler, r *http.Request) float64 {
	w := &discard{header: make(http.Header)}
	return testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) })
}

// TestARequestAllocatesLittleMore: the claims in the context of a copy of the request, and the path values as a function.
func TestARequestAllocatesLittleMore(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	bare, guarded, r := contenders(t)
	require.LessOrEqual(t, allocations(guarded, r), allocations(bare, r)+3)
}

// BenchmarkRefusal is a request without a token.
func BenchmarkRefusal(b *testing.B) {
	_, guarded, _ := contenders(b)
	r := request("GET", "/users/U1", "")
	w := &discard{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		guarded.ServeHTTP(w, r)
	}
}
