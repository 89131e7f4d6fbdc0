package audit

import (
	"encoding/json"
	"expvar"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

func TestCountersCount(t *testing.T) {
	c := NewCounters()
	sink := Measure(c)
	say := func(op chansec.Operation, o chansec.Outcome, reason string, took time.Duration) {
		require.NoError(t, sink.Record(t.Context(), Decision(chansec.Event{Operation: op, Outcome: o, Reason: reason, Latency: took})))
	}
	require.Empty(t, c.Counts())
	require.JSONEq(t, `{"counts":[],"latencies":[],"latency_bounds_ns":[100,200,500,1000,2000,5000,10000,20000,50000,100000,200000,500000,1000000,2000000,5000000,10000000,20000000,50000000,100000000,200000000,500000000,1000000000]}`, c.String())
	say(chansec.OpWrite, chansec.Allowed, "listed as a writer", 100)
	say(chansec.OpWrite, chansec.Allowed, "listed as an admin", 101)
	say(chansec.OpWrite, chansec.Denied, "not listed", time.Hour)
	say(chansec.OpRead, chansec.Undecided, "the security failed", 0)
	say("made up", chansec.Denied, "not listed", 5)
	require.NoError(t, sink.Record(t.Context(), login("alice")))
	require.Equal(t, []Count{
		{KindDecision, Other, "denied", "not listed", 1},
		{KindDecision, chansec.OpRead, "undecided", "the security failed", 1},
		{KindDecision, chansec.OpWrite, "allowed", "", 2},
		{KindDecision, chansec.OpWrite, "denied", "not listed", 1},
		{KindSession, OpLogin, "allowed", "", 1},
	}, c.Counts())
	all := c.Latencies()
	require.Len(t, all, 3)
	write := all[2]
	require.Equal(t, chansec.OpWrite, write.Operation)
	require.Equal(t, uint64(3), write.Count)
	require.Equal(t, time.Hour+201, write.Sum)
	require.Equal(t, []uint64{1, 1}, write.Buckets[:2], "a bound is part of its bucket")
	require.Equal(t, uint64(1), write.Buckets[len(LatencyBounds())], "what takes longer than all bounds")

	var v expvar.Var = c
	var read struct {
		Counts    []Count   `json:"counts"`
		Latencies []Latency `json:"latencies"`
	}
	require.NoError(t, json.Unmarshal([]byte(v.String()), &read))
	require.Equal(t, c.Counts(), read.Counts)
	require.Equal(t, all, read.Latencies)
}

// However many names and reasons come from outside, there is a bounded number of counters.
func TestLabelsAreBounded(t *testing.T) {
	c := NewCounters()
	sink := Measure(c)
	for i := range 10 * MaxReasons {
		require.NoError(t, sink.Record(t.Context(), Record{Kind: Kind(fmt.Sprint("kind ", i)), Operation: chansec.Operation(fmt.Sprint("op ", i)),
			Outcome: chansec.Outcome(i), Reason: fmt.Sprint("reason ", i)}))
		require.NoError(t, sink.Record(t.Context(), decision(fmt.Sprint("user ", i), chansec.Allowed)))
	}
	counts := c.Counts()
	require.LessOrEqual(t, len(counts), 2*MaxReasons+4)
	total := uint64(0)
	for _, n := range counts {
		total += n.Count
	}
	require.Equal(t, uint64(20*MaxReasons), total)
	require.NoError(t, sink.Record(t.Context(), Record{Kind: KindDecision, Operation: chansec.OpRead, Reason: "a new one"}))
	require.Contains(t, c.Counts(), Count{KindDecision, chansec.OpRead, "denied", Other, 1})
	require.NoError(t, sink.Record(t.Context(), Record{Kind: KindDecision, Operation: chansec.OpRead, Reason: "reason 3"}))
	require.Contains(t, c.Counts(), Count{KindDecision, chansec.OpRead, "denied", "reason 3", 1}, "those that are known stay")
}

func TestCountersUnderManyWriters(t *testing.T) {
	c := NewCounters()
	sink := Measure(c)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 500 {
				_ = sink.Record(t.Context(), Decision(chansec.Event{Operation: chansec.OpRead, Reason: fmt.Sprint(w, i%20), Latency: 1}))
				if i%50 == 0 {
					_ = c.String()
				}
			}
		})
	}
	all.Wait()
	total := uint64(0)
	for _, n := range c.Counts() {
		total += n.Count
	}
	require.Equal(t, uint64(4000), total)
	require.Equal(t, uint64(4000), c.Latencies()[0].Count)
}

func TestCountingMakesNoGarbage(t *testing.T) {
	sink := Measure(NewCounters())
	r := decision("alice", chansec.Denied)
	r.Reason = "not listed"
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = sink.Record(t.Context(), r) }))
}

// Every operation that the packages name has a label of its own.
func TestNoConstantIsOther(t *testing.T) {
	for _, file := range []string{"../security.go", "../audit.go", "record.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		found := 0
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if ok && len(spec.Names) == 1 && strings.HasPrefix(spec.Names[0].Name, "Op") && len(spec.Values) == 1 {
				found++
				name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				require.Contains(t, knownOperations, chansec.Operation(name), spec.Names[0].Name)
			}
			return true
		})
		require.NotZero(t, found, file)
	}
}
