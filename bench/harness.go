package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A contender is one line of one row: a library, or a floor, doing that row's work.
type contender struct {
	row   string // such as "decide/random/100k"; all contenders of a row do the same work
	name  string
	floor bool // the line that the others of its row are compared with
	open  func() (*work, error)
}

// id is what -run and go test's -bench select by.
func (c contender) id() string { return c.row + "/" + strings.ReplaceAll(c.name, " ", "_") }

// Work is an opened contender.
type work struct {
	check func() error             // are the answers right? Asked before anything is timed
	bench func(b *testing.B) error // does b.N operations; a metric named ns/op replaces the elapsed time
	close func()                   // may be nil
	batch int                      // a round does a multiple of so many operations; may be 0
	mixed bool                     // bench also does what is not timed, so that its CPU time says nothing
}

// A group is contenders that are opened together, run in interleaved rounds and are closed together, so that
// one group's million subjects do not lie in the heap, and in the garbage collector's way, of the next one.
type group []contender

// A family is the rows that share a subject.
type family struct {
	name   string
	groups func(scale) []group
}

var families = []family{
	{"Decide", decideGroups},
	{"Policy", policyGroups},
	{"Rules", rulesGroups},
	{"Change", changeGroups},
	{"Token", tokenGroups},
	{"Deliver", deliverGroups},
	{"Queue", queueGroups},
	{"Revoke", revokeGroups},
	{"HTTP", httpGroups},
}

func (f family) contenders(s scale) []contender { return slices.Concat(f.groups(s)...) }

// Scale is how large the cases are.
type scale struct {
	subjects   []int // of the ACL
	hot        int   // subjects asked for in the hot pattern
	peerMax    int   // more subjects than this are not loaded into casbin and cedar
	subs       []int // subscribers
	stored     []int // messages that lie in the work queue
	peerStored int   // more than this are not loaded into watermill, which holds each in a goroutine
	tokens     int   // different tokens for "first sight"
	leases     int   // live leases for the revocation
	perOwner   int   // leases of one principal
	streams    int   // subscribers over HTTP
	swept      int   // leases that a policy change re-checks
}

var (
	fullScale = scale{
		subjects: []int{10, 1_000, 100_000, 1_000_000}, hot: 1_000, peerMax: 100_000,
		subs: []int{1, 10, 1_000}, stored: []int{0, 100_000, 1_000_000}, peerStored: 100_000,
		tokens: 16_384, leases: 10_000, perOwner: 10, swept: 100_000, streams: 100,
	}
	// The answer checks of go test use this one.
	smallScale = scale{
		subjects: []int{10, 1_000}, hot: 10, peerMax: 1_000,
		subs: []int{1, 10}, stored: []int{0, 100}, peerStored: 100,
		tokens: 64, leases: 100, perOwner: 10, swept: 100, streams: 5,
	}
)

// count writes 100000 as 100k.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1_000 && n%1_000 == 0:
		return fmt.Sprintf("%dk", n/1_000)
	}
	return fmt.Sprint(n)
}

// A sample is what one round of one contender took.
type sample struct {
	ns            float64 // per operation
	cpu           float64 // nanoseconds of CPU time per operation, of all threads
	allocs, bytes int64   // per operation
	extra         map[string]float64
}

// A line is a contender with its samples.
type line struct {
	contender
	work    *work
	n       int // operations per round
	samples []sample
}

// measure runs the contender once. Benchtime is what -test.benchtime takes: a time, or a count and an x. It also
// returns the CPU time of the whole process.
func (l *line) measure(benchtime string) (r testing.BenchmarkResult, cpu time.Duration, err error) {
	if err := setBenchtime(benchtime); err != nil {
		return r, 0, err
	}
	var failed error
	r = testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		b.ResetTimer()
		before := cpuTime()
		if err := l.work.bench(b); err != nil {
			failed = err
			b.Fatal(err)
		}
		cpu = cpuTime() - before
	})
	if failed == nil && r.N == 0 {
		failed = fmt.Errorf("no result")
	}
	if failed != nil {
		return r, 0, fmt.Errorf("%s: %w", l.id(), failed)
	}
	return r, cpu, nil
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// calibrate finds out how many operations fit into d. What it takes for that is a warm-up and is not counted.
func (l *line) calibrate(d time.Duration) error {
	benchtime := d.String()
	for range 3 {
		r, _, err := l.measure(benchtime)
		if err != nil {
			return err
		}
		if l.n > 0 && r.T > d/2 {
			break // as many as were thought
		}
		l.n = max(1, int(float64(r.N)*float64(d)/float64(max(r.T, 1))))
		benchtime = fmt.Sprintf("%dx", l.n)
	}
	if batch := l.work.batch; batch > 0 {
		l.n = (l.n + batch - 1) / batch * batch
	}
	return nil
}

// round adds one sample.
func (l *line) round() error {
	r, cpu, err := l.measure(fmt.Sprintf("%dx", l.n))
	if err != nil {
		return err
	}
	s := sample{ns: float64(r.T) / float64(r.N), cpu: float64(cpu) / float64(r.N), allocs: r.AllocsPerOp(), bytes: r.AllocedBytesPerOp(), extra: r.Extra}
	if ns, ok := r.Extra["ns/op"]; ok {
		s.ns = ns
	}
	if l.work.mixed {
		s.cpu = 0
	}
	l.samples = append(l.samples, s)
	return nil
}

func (l *line) shut() {
	if l.work != nil && l.work.close != nil {
		l.work.close()
	}
	l.work = nil
}

// stat gives the median and the minimum of one value of the samples.
func (l *line) stat(value func(sample) float64) (median, least float64) {
	var v []float64
	for _, s := range l.samples {
		v = append(v, value(s))
	}
	slices.Sort(v)
	m := len(v) / 2
	if len(v)%2 == 0 {
		return (v[m-1] + v[m]) / 2, v[0]
	}
	return v[m], v[0]
}

// compare opens and checks the group's selected contenders, then times them in interleaved rounds: each round runs
// each contender once, forwards and backwards in turn. Progress goes to logf.
func compare(g group, sel *regexp.Regexp, rounds int, d time.Duration, logf func(string, ...any)) ([]*line, error) {
	var lines []*line
	defer func() {
		for _, l := range lines {
			l.shut()
		}
	}()
	for _, c := range g {
		if !sel.MatchString(c.id()) {
			continue
		}
		l := &line{contender: c}
		lines = append(lines, l)
		start := time.Now()
		w, err := c.openChecked()
		if err != nil {
			return nil, err
		}
		l.work = w
		if err := l.calibrate(d); err != nil {
			return nil, err
		}
		logf("%s: checked, %d operations a round, ready in %.1fs", c.id(), l.n, time.Since(start).Seconds())
	}
	for r := range rounds {
		for _, l := range lines {
			if err := l.round(); err != nil {
				return nil, err
			}
		}
		slices.Reverse(lines)
		if len(lines) > 0 {
			logf("round %d of %d done", r+1, rounds)
		}
	}
	if rounds%2 == 1 {
		slices.Reverse(lines)
	}
	return lines, nil
}

// openChecked opens the contender and asks for its answers.
func (c contender) openChecked() (*work, error) {
	w, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.id(), err)
	}
	if err := w.check(); err != nil {
		if w.close != nil {
			w.close()
		}
		return nil, fmt.Errorf("%s: wrong answer: %w", c.id(), err)
	}
	return w, nil
}

// sortRows puts the contenders of one row beside each other; otherwise it keeps their order.
func (g group) sortRows() group {
	first := map[string]int{}
	for i := range g {
		if _, ok := first[g[i].row]; !ok {
			first[g[i].row] = i
		}
	}
	slices.SortStableFunc(g, func(a, b contender) int { return first[a.row] - first[b.row] })
	return g
}
