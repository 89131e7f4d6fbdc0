package session_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/session"
)

// crowd is many sessions with leases on one channel.
type crowd struct {
	sessions   *session.Sessions
	channel    *chansec.BroadcastChannel[int]
	principals int
	leases     map[string][]chansec.Lease[int] // by principal
}

func newCrowd(t testing.TB, principals, sessionsEach, leasesEach int) *crowd {
	c := &crowd{sessions: sessionsOf(t, session.Config{}), channel: broadcast(t, roleReads{}), principals: principals, leases: make(map[string][]chansec.Lease[int])}
	for p := range principals {
		c.join(t, fmt.Sprint("p", p), sessionsEach, leasesEach)
	}
	return c
}

func (c *crowd) join(t testing.TB, name string, sessionsEach, leasesEach int) {
	c.leases[name] = nil
	for range sessionsEach {
		port := c.channel.For(open(t, c.sessions, name, "reader"))
		for range leasesEach {
			l, err := port.Subscribe(context.Background())
			require.NoError(t, err)
			c.leases[name] = append(c.leases[name], l)
		}
	}
}

// kick kicks a principal and returns after what time Kick returned, and after what time all of its leases were over.
func (c *crowd) kick(t testing.TB, name string) (returned, ended time.Duration) {
	began := time.Now()
	_, err := c.sessions.Root().Kick(context.Background(), session.OfPrincipal(name), "test")
	returned = time.Since(began)
	for _, l := range c.leases[name] {
		<-l.Done()
	}
	ended = time.Since(began)
	require.NoError(t, err)
	return returned, ended
}

// TestScaleKickAmongManyCutsOneAndNobodyElse: 10,000 sessions of 1,000 principals hold 100,000 leases; one principal is kicked
// while somebody writes.
func TestScaleKickAmongManyCutsOneAndNobodyElse(t *testing.T) {
	c := newCrowd(t, 1000, 10, 10)
	writer := c.channel.As("w")
	stop, stopped := make(chan struct{}), make(chan int)
	go func() { // 0, 1, 2 and so on, before, while and after
		n := 0
		for ; n < 2000; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
			}
			if _, err := writer.Write(context.Background(), n); err != nil {
				break
			}
		}
		<-stop
		stopped <- n
	}()
	returned, ended := c.kick(t, "p500")
	t.Logf("Kick returned after %v, 100 leases were over after %v", returned, ended)
	close(stop)
	n := <-stopped
	for range 3 {
		_, err := writer.Write(t.Context(), n)
		require.NoError(t, err)
		n++
	}

	for _, l := range c.leases["p500"] {
		for _, err := range l.Messages(t.Context()) {
			require.Error(t, err, "no message to a lease that was cut")
			requireEnded(t, err, session.Kicked)
			require.ErrorIs(t, err, chansec.ErrRevoked)
		}
	}
	require.Equal(t, 9990, c.sessions.Len())
	most := 100 // what the race detector has the time for
	for name, leases := range c.leases {
		if name == "p500" {
			continue
		}
		for i, l := range leases {
			require.NoError(t, l.Err())
			if i > 0 && most <= 0 {
				continue
			}
			most--
			want := 0
			for m, err := range l.Messages(t.Context()) {
				if err != nil || m.Content != want {
					require.FailNow(t, "something is lost", "%s got %d instead of %d: %v", name, m.Content, want, err)
				}
				if want++; want == n {
					break
				}
			}
		}
	}
}

// TestScaleOfWhatIsOverNothingIsKept: a million sessions opened and closed, 100,000 of them by default.
func TestScaleOfWhatIsOverNothingIsKept(t *testing.T) {
	memory, err := session.NewMemoryBackend(100)
	require.NoError(t, err)
	s := sessionsOf(t, session.Config{Backend: memory, MaxIdle: time.Hour})
	var tokens []string
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	cycle := func(rounds int) {
		for range rounds {
			var batch []*session.Session
			for i := range 1000 {
				n := open(t, s, fmt.Sprint("p", i%50))
				token, err := n.NewToken()
				require.NoError(t, err)
				tokens = append(tokens[:0], token)
				batch = append(batch, n)
			}
			for _, n := range batch[:900] {
				require.NoError(t, n.Close())
			}
			_, err := s.Root().Kick(t.Context(), session.All, "")
			require.NoError(t, err)
		}
	}
	caughtUp := func() {
		for len(ids(t, memory, true)) > 0 {
			runtime.Gosched()
		}
	}
	cycle(10)
	caughtUp()
	before := heap()
	cycle(scaleRounds())
	caughtUp()
	after := heap()
	t.Logf("%d sessions: the heap had %d KiB after the first 10,000, and %d KiB at the end", scaleRounds()*1000, before>>10, after>>10)
	require.Less(t, after, before+4<<20)
	require.Zero(t, s.Len())
	_, err = s.Resume(tokens[0])
	require.ErrorIs(t, err, chansec.ErrUnauthenticated)
}

// BenchmarkKick kicks one of many principals, and reports medians: until Kick returned, after which no message is delivered,
// and until every lease was over.
func BenchmarkKick(b *testing.B) {
	for _, bb := range []struct {
		name                         string
		principals, sessions, leases int
	}{
		{"one principal of 1000, 10 sessions of 10000, 100 leases of 100000", 1000, 10, 10},
		{"one principal of 10, 1000 sessions of 10000, 10000 leases of 100000", 10, 1000, 10},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := newCrowd(b, bb.principals, bb.sessions, bb.leases)
			var returned, ended []time.Duration
			for i := 0; b.Loop(); i++ {
				name := fmt.Sprint("p", i%bb.principals)
				r, e := c.kick(b, name)
				returned, ended = append(returned, r), append(ended, e)
				b.StopTimer()
				c.join(b, name, bb.sessions, bb.leases)
				b.StartTimer()
			}
			median := func(d []time.Duration) float64 {
				slices.Sort(d)
				return float64(d[len(d)/2].Microseconds())
			}
			b.ReportMetric(median(returned), "us-to-return")
			b.ReportMetric(median(ended), "us-to-end")
		})
	}
}

// scaleRounds is how many thousands of sessions come and go.
func scaleRounds() int {
	if os.Getenv("CHANSEC_SCALE") != "" {
		return 1000
	}
	if testing.Short() {
		return 20
	}
	return 100
}

// BenchmarkPrincipal is what a decision asks a session.
func BenchmarkPrincipal(b *testing.B) {
	n := open(b, sessionsOf(b, session.Config{}), "alice", "reader")
	b.ReportAllocs()
	for b.Loop() {
		changed := n.Changed()
		if _, err := n.Principal(); err != nil || changed == nil {
			b.Fatal(err)
		}
	}
}
