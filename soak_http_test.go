package chansec_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// TestSoakHTTP keeps many subscribers on real connections while their tokens are revoked, expire and are renewed, and
// writers write. The full form takes a minute:
//
//	CHANSEC_SOAK=60s go test -run TestSoakHTTP -count=1 -v .
//
// Three things hold for every stream and every subscriber:
//
//   - Law 1, by an argument without times: one counter is advanced before every write, and the message carries it; it is
//     advanced after every revocation returned. A stream whose right was taken at c must not have seen a message with more
//     than c, because that one's write began later.
//   - The stream says why it ended, if it was not the subscriber who hung up.
//   - All subscribers are there before the first write, and each of them gets every message of every writer once and in
//     order, however many streams it took: a token that is lost is no message that is lost, for those who get another.
//
// Afterwards nothing is left of it: see requireHeap.
func TestSoakHTTP(t *testing.T) {
	streams, life := 100, 3*time.Second
	if testing.Short() {
		life = time.Second
	}
	if text := os.Getenv("CHANSEC_SOAK"); text != "" {
		var err error
		life, err = time.ParseDuration(text)
		require.NoError(t, err, "CHANSEC_SOAK")
		streams = 1000
	}
	w := newSoak(t, streams, life)
	// Two that the channel starts once serve it until it is closed: one follows the security, one wakes many subscribers.
	goroutines := runtime.NumGoroutine() + 2
	w.warmUp()
	requireGoroutines(t, goroutines)
	heap := heapInUse()

	var all sync.WaitGroup
	for i := range streams {
		fate := soakFates[i%len(soakFates)]
		w.opening.Add(1)
		w.completing.Add(1)
		s := &soakSubscriber{soak: w, name: fmt.Sprintf("%s-%d", fate.name, i), fate: fate}
		all.Go(s.live)
	}
	w.await(&w.opening, "every subscriber has begun")
	began := time.Now()
	for i := range soakWriters {
		all.Go(func() { w.write(i) })
	}
	select {
	case <-time.After(life):
	case <-w.ctx.Done():
	}
	peakGoroutines, peakHeap := runtime.NumGoroutine(), heapInUse()
	close(w.over)
	w.await(&w.completing, "every subscriber has the last message of every writer")
	took := time.Since(began)
	require.True(t, w.transport.Unmount("soak"))
	w.await(&all, "every stream has ended")
	require.Empty(t, w.problems)

	_, err := w.channel.As("host").Clear(t.Context())
	require.NoError(t, err)
	w.client.CloseIdleConnections()
	requireGoroutines(t, goroutines)
	left := requireHeap(t, heap+heapTolerance(streams))
	t.Logf("%d subscribers, %d writers, %s: %d streams; %d writes, %d deliveries (%.0f/s); the ends: %v; goroutines %d, %d at work, %d after; heap %d KiB, %d KiB at work, %d KiB after",
		streams, soakWriters, took.Round(time.Millisecond), w.streams.Load(), w.writes.Load(), w.deliveries.Load(), float64(w.deliveries.Load())/took.Seconds(),
		w.ends, goroutines, peakGoroutines, runtime.NumGoroutine(), heap>>10, peakHeap>>10, left>>10)
	for _, f := range soakFates {
		if f.end != "" {
			require.NotZero(t, w.ends[f.end], "%s happened to nobody", f.name)
		}
	}
}

const (
	soakWriters = 4
	soakPace    = 100 * time.Millisecond // of each writer, beside what follows a revocation
)

// soakFate is what happens to the streams of a subscriber.
type soakFate struct {
	name string
	life time.Duration // of its tokens
	end  string        // the last event of its streams; "" where none but the last is ended by the server
	take func(s *soakSubscriber, p chansec.Principal) error
}

var soakFates = []soakFate{
	{name: "keeps its token", life: time.Hour},
	{name: "token is revoked", life: time.Hour, end: "revoked", take: func(s *soakSubscriber, p chansec.Principal) error {
		return s.jwt.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt)
	}},
	{name: "subject is revoked", life: time.Hour, end: "revoked", take: func(s *soakSubscriber, p chansec.Principal) error {
		return s.jwt.RevokeSubject(s.name, time.Now())
	}},
	{name: "token expires", life: 2 * time.Second, end: "expired"},
	{name: "renews its token in time", life: time.Hour},
	{name: "dials", life: 2 * time.Second},
}

type soakNote struct {
	Writer  int    `json:"writer"`
	N       uint64 `json:"n"`       // counts the writer's messages
	Started uint64 `json:"started"` // by the clock, before the write
	Last    bool   `json:"last"`
}

// soak is a server on a real listener, with its limits, and those who use it.
type soak struct {
	*site
	ctx     context.Context
	stop    context.CancelFunc
	url     string
	client  *http.Client
	channel *chansec.BroadcastChannel[soakNote]
	every   time.Duration // about how often a subscriber's fate comes over it

	clock      atomic.Uint64
	taken      chan struct{}  // a right was: time for a write
	opening    sync.WaitGroup // subscribers that have not begun
	completing sync.WaitGroup // subscribers that lack a message
	over       chan struct{}  // closed when nothing more is revoked, and the writers write their last message

	streams, writes, deliveries atomic.Int64

	mu       sync.Mutex
	ends     map[string]int
	problems []string
}

func newSoak(t *testing.T, streams int, life time.Duration) *soak {
	most := streams + streams/4 // what is not given back is soon missed
	w := &soak{site: newSite(t, chansec.HTTPHeartbeat(time.Second), chansec.HTTPMaxStreams(most)), taken: make(chan struct{}, soakWriters), over: make(chan struct{}), ends: make(map[string]int),
		every: time.Duration(streams) * 10 * time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), life+2*time.Minute)
	t.Cleanup(cancel)
	w.ctx, w.stop = ctx, cancel
	var err error
	// Everything is kept, so that a slow machine makes nobody lag: retention has its own tests.
	w.channel, err = chansec.NewBroadcast[soakNote]("soak", chansec.WithSecurity(w.jwt), chansec.WithMaxMessages(1<<20), chansec.WithMaxLeases(most))
	w.mount(w.channel, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := w.transport.Server("")
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	w.url = "http://" + listener.Addr().String()
	w.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: soakWriters}}
	return w
}

// warmUp has everything used once, so that what is made once is there before it is counted.
func (w *soak) warmUp() {
	var text string
	for range 2 * chansec.DefaultJWTCache { // it keeps as many tokens as it may
		text, _ = w.mint("warm", time.Hour)
	}
	for range 10 {
		resp, err := w.get(w.ctx, text, "")
		require.NoError(w.t, err)
		_, err = resp.Body.Read(make([]byte, 1))
		require.NoError(w.t, err)
		require.NoError(w.t, resp.Body.Close())
	}
	w.client.CloseIdleConnections()
}

// fail notes what is wrong, and stops everything. What that does is not noted.
func (w *soak) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() == nil {
		w.problems = append(w.problems, fmt.Sprintf(format, args...))
		w.stop()
	}
}

// await waits until a group is done, and fails with what has gone wrong so far if the time is over before.
func (w *soak) await(group *sync.WaitGroup, what string) {
	w.t.Helper()
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-w.ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		w.t.Fatalf("it did not come to this: %s; %q", what, w.problems)
	}
}

func (w *soak) isOver() bool {
	select {
	case <-w.over:
		return true
	default:
		return false
	}
}

// mint makes a token, and the principal that it proves.
func (w *soak) mint(subject string, life time.Duration) (string, chansec.Principal) {
	for ; ; life *= 2 { // it may be over before anybody looks at it
		text := must(w.jwt.GenerateToken(w.ctx, chansec.TokenRequest{SystemID: subject, Role: chansec.RoleWrite, Channels: []string{"soak"}, ExpiresIn: life}))
		if p, err := w.jwt.Authenticate(w.ctx, text); err == nil {
			return text, p
		}
	}
}

func (w *soak) get(ctx context.Context, token, after string) (*http.Response, error) {
	req := must(http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/channels/soak/events", nil))
	req.Header.Set("Authorization", "Bearer "+token)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	return w.client.Do(req)
}

// write writes at a pace, and whenever a right was taken, until it is over.
func (w *soak) write(writer int) {
	token, _ := w.mint("writer", time.Hour)
	tick := time.NewTicker(soakPace)
	defer tick.Stop()
	for n := uint64(1); ; n++ {
		last := false
		select {
		case <-tick.C:
		case <-w.taken:
		case <-w.over:
			last = true
		}
		body, _ := json.Marshal(soakNote{writer, n, w.clock.Add(1), last})
		req := must(http.NewRequestWithContext(w.ctx, http.MethodPut, w.url+"/channels/soak", strings.NewReader(string(body))))
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := w.client.Do(req)
		if err != nil {
			w.fail("writer %d: %v", writer, err)
			return
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			w.fail("writer %d: %s %s %v", writer, resp.Status, answer, err)
			return
		}
		w.writes.Add(1)
		if last {
			return
		}
	}
}

// soakSubscriber gets all messages, by as many streams as it takes.
type soakSubscriber struct {
	*soak
	name  string
	fate  soakFate
	begun sync.Once
	last  string // message or place
	count [soakWriters]uint64
	whole int // writers whose last message it has
}

// got looks at a message. Whoever has the last one of every writer has all.
func (s *soakSubscriber) got(n soakNote) {
	s.deliveries.Add(1)
	s.count[n.Writer]++
	if n.N != s.count[n.Writer] {
		s.fail("%s: message %d of writer %d came where %d is the next", s.name, n.N, n.Writer, s.count[n.Writer])
		s.count[n.Writer] = n.N
	}
	if n.Last {
		if s.whole++; s.whole == soakWriters {
			s.completing.Done()
		}
	}
}

func (s *soakSubscriber) complete() bool { return s.whole == soakWriters }

func (s *soakSubscriber) live() {
	if s.fate.name == "dials" {
		s.dial()
		return
	}
	for s.ctx.Err() == nil {
		end := s.stream()
		s.mu.Lock()
		s.ends[end]++
		s.mu.Unlock()
		switch {
		case end == "closed" && s.complete():
			return
		case end == s.fate.end, end == soakHungUp && s.fate.name == "renews its token in time":
			if s.complete() {
				return
			}
		default:
			s.fail("%s: the stream ended with %q", s.name, end)
			return
		}
		if s.fate.name == "subject is revoked" { // a token of the same second is revoked with the others
			waitUntil(time.Now().Truncate(time.Second).Add(time.Second))
		}
	}
}

const soakHungUp = "hung up"

// stream is one token and one stream, which resumes the one before. It returns the name of its last event.
func (s *soakSubscriber) stream() string {
	token, p := s.mint(s.name, s.fate.life)
	ctx, hangUp := context.WithCancel(s.ctx)
	defer hangUp()
	resp, err := s.get(ctx, token, s.last)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized && !time.Now().Before(p.Grant.ExpiresAt) {
		return s.fate.end // it took too long
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	s.streams.Add(1)
	s.begun.Do(s.opening.Done)

	var cut atomic.Uint64 // by the clock, once the right was taken
	took := func(err error) {
		if err != nil {
			s.fail("%s: %v", s.name, err)
			return
		}
		cut.Store(s.clock.Add(1))
		select {
		case s.taken <- struct{}{}:
		default:
		}
	}
	soon := s.every/2 + rand.N(s.every)
	var doom *time.Timer
	switch {
	case s.fate.take != nil:
		doom = time.AfterFunc(soon, func() {
			if !s.isOver() {
				took(s.fate.take(s, p))
			}
		})
	case s.fate.end == "expired":
		doom = time.AfterFunc(time.Until(p.Grant.ExpiresAt), func() {
			waitUntil(p.Grant.ExpiresAt)
			took(nil)
		})
	case s.fate.name == "renews its token in time":
		doom = time.AfterFunc(soon, func() {
			if !s.isOver() {
				hangUp()
			}
		})
	}
	if doom != nil {
		defer doom.Stop()
	}
	end, newest := s.read(resp.Body)
	// What is stored into cut from here on is more than newest: the stream is over.
	if c := cut.Load(); c != 0 && newest > c {
		s.fail("%s: a message whose write began at %d came, though the right had been taken at %d", s.name, newest, c)
	}
	if ctx.Err() != nil && s.ctx.Err() == nil {
		return soakHungUp
	}
	return end
}

// read reads a stream up to its last event, whose name it returns, and when the newest write began that it saw.
func (s *soakSubscriber) read(body io.Reader) (end string, newest uint64) {
	lines := bufio.NewScanner(body)
	var id, name, data string
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			switch {
			case name != "":
				if lines.Scan() {
					s.fail("%s: %q came behind the last event", s.name, lines.Text())
				}
				return name, newest
			case data != "":
				var m struct{ Content soakNote }
				if err := json.Unmarshal([]byte(data), &m); err != nil {
					return err.Error(), newest
				}
				newest = max(newest, m.Content.Started)
				s.got(m.Content)
			}
			if id != "" {
				s.last = id
			}
			id, name, data = "", "", ""
		}
	}
	return fmt.Sprintf("nothing (%v)", lines.Err()), newest
}

// dial subscribes with a client that does all that by itself.
func (s *soakSubscriber) dial() {
	remote, err := chansec.Dial[soakNote](chansec.ChannelURL(s.url, "soak"), chansec.DialClient(s.client), chansec.DialTokenSource(func(context.Context) (string, error) {
		text, _ := s.mint(s.name, s.fate.life)
		s.streams.Add(1)
		return text, nil
	}))
	if err != nil {
		s.fail("%s: %v", s.name, err)
		return
	}
	defer remote.Close()
	lease, err := remote.Broadcast().Subscribe(s.ctx)
	if err != nil {
		s.fail("%s: %v", s.name, err)
		return
	}
	s.begun.Do(s.opening.Done)
	for m, err := range lease.Messages(s.ctx) {
		if err != nil {
			s.fail("%s: %v", s.name, err)
			return
		}
		if s.got(m.Content); s.complete() {
			return
		}
	}
}

// heapInUse returns how many bytes are reachable.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // what a pool keeps survives one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// heapTolerance is what may be left: revocations, which are remembered on purpose, tables, pools and buffers that have grown
// and serve the next ones, and what the runtime keeps of goroutines that have ended, about 0.5 KiB each, of which a stream
// takes five. A stream at work costs some 50 KiB on both sides together, so that one in ten that stayed behind would show.
func heapTolerance(streams int) uint64 { return 1<<20 + uint64(streams)*5<<10 }

func requireHeap(t *testing.T, most uint64) (after uint64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		if after = heapInUse(); after <= most {
			return after
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d KiB of heap instead of %d KiB", after>>10, most>>10)
		}
	}
}
