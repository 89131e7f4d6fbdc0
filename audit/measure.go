package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec"
)

// Meter counts, for instance with a Prometheus or OpenTelemetry library. It is called from many goroutines at once, on the
// path of the operation. [Counters] is the one that comes with this package.
type Meter interface {
	Measure(m Measurement)
}

// Measurement is what is counted of a record. Its texts are labels: there is a bounded number of different ones.
type Measurement struct {
	Kind      Kind
	Operation chansec.Operation // one of the constants of chansec or of this package, or "other"
	Outcome   chansec.Outcome
	Reason    string // of what was not allowed; "other" for new ones when there are MaxReasons
	Latency   time.Duration
}

// Bounds of labels.
const (
	MaxReasons = 100     // how many reasons are told apart, the first ones that come
	Other      = "other" // the label of everything beyond
)

var knownOperations = []chansec.Operation{
	chansec.OpRead, chansec.OpSubscribe, chansec.OpClaim, chansec.OpAcknowledge, chansec.OpNack, chansec.OpExtend, chansec.OpInfo,
	chansec.OpWrite, chansec.OpDelete, chansec.OpAdmin, chansec.OpClear, chansec.OpEvict, chansec.OpRemove, chansec.OpAuthenticate,
	OpLogin, OpChange, OpLogout, OpKick, OpScript, OpAssign, OpIssue, OpRevoke, OpDrop, OpRepair, OpPrune,
}

// Measure returns a sink that tells the meter of every record, and keeps nothing.
func Measure(m Meter) Sink {
	s := &meterSink{meter: m}
	s.reasons.Store(&map[string]bool{})
	return s
}

type meterSink struct {
	meter   Meter
	reasons atomic.Pointer[map[string]bool] // immutable
	mu      sync.Mutex                      // of those who add one
}

func (s *meterSink) Record(_ context.Context, r Record) error {
	m := Measurement{Kind: r.Kind, Operation: r.Operation, Outcome: r.Outcome, Latency: r.Latency}
	if !slices.Contains(knownOperations, m.Operation) {
		m.Operation = Other
	}
	if !slices.Contains(kinds, m.Kind) {
		m.Kind = Other
	}
	if m.Outcome > chansec.Undecided {
		m.Outcome = chansec.Undecided
	}
	if m.Outcome != chansec.Allowed {
		m.Reason = s.reason(r.Reason)
	}
	s.meter.Measure(m)
	return nil
}

// reason bounds the reasons, which are free text.
func (s *meterSink) reason(text string) string {
	shorten(&text, 100)
	if known := *s.reasons.Load(); known[text] {
		return text
	} else if len(known) >= MaxReasons {
		return Other
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.reasons.Load()
	switch {
	case known[text]:
		return text
	case len(known) >= MaxReasons:
		return Other
	}
	more := maps.Clone(known)
	more[text] = true
	s.reasons.Store(&more)
	return text
}

// Counters is a Meter in memory: how often what was done with which outcome and why, and how long decisions took. It is an
// expvar.Var, which nobody but its user publishes:
//
//	counters := audit.NewCounters()
//	expvar.Publish("chansec", counters)
//	trail := audit.Tee(file, audit.Measure(counters))
//
// Nobody waits for anybody else who counts. It may be used from many goroutines at once.
type Counters struct {
	counts  family[countKey, atomic.Uint64]
	latency family[chansec.Operation, histogram]
}

var _ Meter = (*Counters)(nil)

// NewCounters returns counters that are zero.
func NewCounters() *Counters { return new(Counters) }

type countKey struct {
	kind      Kind
	operation chansec.Operation
	outcome   chansec.Outcome
	reason    string
}

// family is a map to things that stay where they are, which is read without a lock. Its zero value is empty.
type family[K comparable, V any] struct {
	members atomic.Pointer[map[K]*V] // immutable
	mu      sync.Mutex               // of those who add one
}

func (f *family[K, V]) all() map[K]*V {
	if p := f.members.Load(); p != nil {
		return *p
	}
	return nil
}

func (f *family[K, V]) get(k K) *V {
	if v := f.all()[k]; v != nil {
		return v
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.all()
	if v := known[k]; v != nil {
		return v
	}
	more := make(map[K]*V, len(known)+1)
	maps.Copy(more, known)
	v := new(V)
	more[k] = v
	f.members.Store(&more)
	return v
}

// LatencyBounds are the upper bounds of the buckets of latencies. There is one more bucket for what takes longer.
func LatencyBounds() []time.Duration { return slices.Clone(latencyBounds[:]) }

var latencyBounds = [...]time.Duration{
	100, 200, 500, 1 * time.Microsecond, 2 * time.Microsecond, 5 * time.Microsecond, 10 * time.Microsecond, 20 * time.Microsecond,
	50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond, 1 * time.Millisecond,
	2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, 1 * time.Second,
}

type histogram struct {
	buckets [len(latencyBounds) + 1]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

// Measure counts. Latencies are those of decisions.
func (c *Counters) Measure(m Measurement) {
	c.counts.get(countKey{m.Kind, m.Operation, m.Outcome, m.Reason}).Add(1)
	if m.Kind != KindDecision {
		return
	}
	h := c.latency.get(m.Operation)
	i := 0
	for i < len(latencyBounds) && m.Latency > latencyBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(m.Latency))
}

// Count is how often something happened.
type Count struct {
	Kind      Kind              `json:"kind"`
	Operation chansec.Operation `json:"operation"`
	Outcome   string            `json:"outcome"`
	Reason    string            `json:"reason,omitempty"`
	Count     uint64            `json:"count"`
}

// Latency is how long the decisions about an operation took.
type Latency struct {
	Operation chansec.Operation `json:"operation"`
	Count     uint64            `json:"count"`
	Sum       time.Duration     `json:"sum_ns"`
	Buckets   []uint64          `json:"buckets"` // how many took that long at most, by LatencyBounds, and how many longer; not cumulative
}

// Counts returns all counts that are not zero, sorted by their labels.
func (c *Counters) Counts() []Count {
	all := []Count{}
	for k, n := range c.counts.all() {
		if n := n.Load(); n > 0 {
			all = append(all, Count{k.kind, k.operation, k.outcome.String(), k.reason, n})
		}
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Outcome, b.Outcome),
			cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// Latencies returns the latencies of all operations that were decided, sorted by operation.
func (c *Counters) Latencies() []Latency {
	all := []Latency{}
	for op, h := range c.latency.all() {
		l := Latency{Operation: op, Sum: time.Duration(h.sum.Load())}
		for i := range h.buckets {
			n := h.buckets[i].Load()
			l.Count += n
			l.Buckets = append(l.Buckets, n)
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b Latency) int { return cmp.Compare(a.Operation, b.Operation) })
	return all
}

// String returns all that as one JSON object with the members counts, latencies and latency_bounds_ns, which makes Counters
// an expvar.Var.
func (c *Counters) String() string {
	text, err := json.Marshal(struct {
		Counts    []Count         `json:"counts"`
		Latencies []Latency       `json:"latencies"`
		Bounds    []time.Duration `json:"latency_bounds_ns"`
	}{c.Counts(), c.Latencies(), latencyBounds[:]})
	if err != nil {
		return strconv.Quote(err.Error())
	}
	return string(text)
}
