// Package audittest checks what users of the package audit write themselves: stores.
package audittest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

// TestStore checks an audit.Store. newStorage makes an empty storage, for 1,000 records at least, and returns how to open it,
// which is done more than once, one after the other: what one of them took, the next one has. A store that is an io.Closer
// is closed before.
func TestStore(t *testing.T, newStorage func(t *testing.T) (open func() audit.Store)) {
	for _, rule := range storeRules {
		t.Run(rule.name, func(t *testing.T) {
			t.Log(rule.rule)
			x := &storeTrial{ctx: t.Context(), open: newStorage(t)}
			x.run(rule.check)
			for _, p := range x.problems {
				t.Error(p)
			}
			if x.skipped != "" {
				t.Skip(x.skipped)
			}
		})
	}
}

type storeRule struct {
	name, rule string
	check      func(*storeTrial)
}

// storeRules are what a Store promises.
var storeRules = []storeRule{
	{"empty", "A new storage holds nothing.", checkEmpty},
	{"whole", "A record comes back with all that was in it, to the nanosecond, also from those who open the storage later.", checkWhole},
	{"numbers", "Numbers are given by the store and rise, whatever a record brought along, also after it was opened again.", checkNumbers},
	{"filter", "A query yields what Filter.Matches says, and nothing else.", checkFilter},
	{"order", "Oldest first or newest first is by the numbers, and a limit counts what is yielded.", checkOrder},
	{"stop", "A query ends when nobody wants more.", checkStop},
	{"clean", "What Record.Clean refuses is refused with its error and not kept; what it changes is kept as it is then.", checkClean},
	{"query", "A filter that makes no sense is refused with the error of Filter.Check.", checkQuery},
	{"batch", "A store that is a BatchSink keeps batches in their order, and nothing of one that has a wrong record.", checkBatch},
	{"race", "Who records at once is not lost, and what was recorded before a query began is in it.", checkRace},
	{"contexts", "With a context that has ended, a query yields its error only.", checkContexts},
}

// storeTrial is one rule's look at a store.
type storeTrial struct {
	ctx   context.Context
	open  func() audit.Store
	store audit.Store

	mu       sync.Mutex
	problems []string
	skipped  string
}

// run opens the store and checks a rule, in a goroutine that Fatalf may end.
func (x *storeTrial) run(check func(*storeTrial)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.store = x.open()
		defer x.close()
		check(x)
	}()
	<-done
}

// Errorf notes a violation. It may be called from any goroutine.
func (x *storeTrial) Errorf(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.problems = append(x.problems, fmt.Sprintf(format, args...))
}

// Fatalf notes a violation after which there is nothing more to see.
func (x *storeTrial) Fatalf(format string, args ...any) {
	x.Errorf(format, args...)
	runtime.Goexit()
}

func (x *storeTrial) close() {
	if c, ok := x.store.(io.Closer); ok {
		if err := c.Close(); err != nil {
			x.Errorf("Close: %v", err)
		}
	}
}

func (x *storeTrial) reopen() {
	x.close()
	x.store = x.open()
}

var begin = time.Date(2030, 1, 2, 3, 4, 5, 123456789, time.UTC)

// sample is a record that differs from others in all that a filter looks at.
func sample(i int) audit.Record {
	r := audit.Record{Time: begin.Add(time.Duration(i) * time.Second), Kind: audit.KindDecision, Principal: fmt.Sprint("user ", i%3),
		Proof: chansec.ProofToken, TokenID: fmt.Sprint("jti-", i), Session: fmt.Sprint("s", i%4), Target: fmt.Sprint("channel/", i%5),
		Operation: []chansec.Operation{chansec.OpRead, chansec.OpWrite}[i%2], Outcome: chansec.Outcome(i % 3), Reason: fmt.Sprint("reason ", i),
		Rule: "rule", Version: 1<<63 + uint64(i), Latency: time.Duration(i) + 1}
	if i%7 == 6 {
		r.Kind, r.Operation, r.Remote, r.Detail = audit.KindSession, audit.OpLogin, "192.0.2.1:80", "a line\nand another \"one\" \x1b[0m é 日 \u2028"
		r.Votes = []audit.Vote{{Handler: "a", Answer: "abstain"}, {Handler: "b", Answer: "deny", Reason: "no\x00", Took: 5}}
	}
	return r
}

func (x *storeTrial) record(records ...audit.Record) {
	for _, r := range records {
		if err := x.store.Record(x.ctx, r); err != nil {
			x.Fatalf("Record: %v", err)
		}
	}
}

func (x *storeTrial) query(f audit.Filter) (all []audit.Record) {
	for r, err := range x.store.Records(x.ctx, f) {
		if err != nil {
			x.Fatalf("Records: %v", err)
		}
		all = append(all, r)
	}
	return all
}

// same compares two records without their numbers.
func same(a, b audit.Record) bool {
	a.Seq, b.Seq = 0, 0
	return reflect.DeepEqual(a, b)
}

func (x *storeTrial) holds(f audit.Filter, want ...audit.Record) {
	got := x.query(f)
	if len(got) != len(want) {
		x.Fatalf("%+v: %d records, want %d", f, len(got), len(want))
	}
	for i := range want {
		if !same(got[i], want[i]) {
			x.Fatalf("%+v: record %d is\n%+v, want\n%+v", f, i, got[i], want[i])
		}
	}
}

func checkEmpty(x *storeTrial) {
	x.holds(audit.Filter{})
	x.holds(audit.Filter{NewestFirst: true, Limit: 3})
}

func checkWhole(x *storeTrial) {
	var want []audit.Record
	for i := range 8 {
		want = append(want, sample(i))
	}
	x.record(want...)
	x.holds(audit.Filter{}, want...)
	x.reopen()
	x.holds(audit.Filter{}, want...)
	x.record(sample(8))
	x.holds(audit.Filter{}, append(want, sample(8))...)
}

func checkNumbers(x *storeTrial) {
	for i := range 5 {
		r := sample(i)
		r.Seq = 77
		x.record(r)
	}
	x.reopen()
	x.record(sample(5))
	last := uint64(0)
	for _, r := range x.query(audit.Filter{}) {
		if r.Seq <= last {
			x.Fatalf("number %d after %d", r.Seq, last)
		}
		last = r.Seq
	}
}

func checkFilter(x *storeTrial) {
	for i := range 60 {
		x.record(sample(i))
	}
	all := x.query(audit.Filter{})
	if len(all) != 60 {
		x.Fatalf("%d records, want 60", len(all))
	}
	at := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second) }
	for _, f := range []audit.Filter{
		{Kind: audit.KindSession}, {Kind: audit.KindToken},
		{Principal: "user 1"}, {Principal: "USER 1"}, {Principal: "user"}, {Principal: "%"}, {Principal: "user _"},
		{Session: "s2"}, {Target: "channel/3"}, {Target: "channel/"}, {Operation: chansec.OpWrite},
		{Outcomes: []chansec.Outcome{chansec.Denied}}, {Outcomes: []chansec.Outcome{chansec.Allowed, chansec.Undecided}},
		{From: at(20)}, {From: at(20).Add(1)}, {To: at(20)}, {To: at(20).Add(1)}, {From: at(10), To: at(30)}, {From: at(100)},
		{From: at(10).In(time.FixedZone("x", 3600))},
		{After: all[9].Seq}, {Before: all[9].Seq}, {After: all[9].Seq, Before: all[20].Seq}, {After: all[59].Seq},
		{Principal: "user 1", Target: "channel/3", Operation: chansec.OpRead, From: at(3), To: at(59)},
	} {
		var want []audit.Record
		for _, r := range all {
			if f.Matches(r) {
				want = append(want, r)
			}
		}
		x.holds(f, want...)
	}
}

func checkOrder(x *storeTrial) {
	var all []audit.Record
	for i := range 10 {
		r := sample(i)
		r.Time = begin.Add(-time.Duration(i) * time.Hour) // the order is not that of the times
		all = append(all, r)
	}
	x.record(all...)
	x.holds(audit.Filter{Limit: 3}, all[:3]...)
	x.holds(audit.Filter{NewestFirst: true, Limit: 2}, all[9], all[8])
	x.holds(audit.Filter{Principal: "user 0", NewestFirst: true, Limit: 2}, all[9], all[6])
	x.holds(audit.Filter{Principal: "user 0", Limit: 100}, all[0], all[3], all[6], all[9])
	numbers := x.query(audit.Filter{})
	x.holds(audit.Filter{Before: numbers[5].Seq, NewestFirst: true, Limit: 2}, all[4], all[3])
	x.holds(audit.Filter{After: numbers[5].Seq, Limit: 2}, all[6], all[7])
}

func checkStop(x *storeTrial) {
	for i := range 5 {
		x.record(sample(i))
	}
	for _, newest := range []bool{false, true} {
		n := 0
		for _, err := range x.store.Records(x.ctx, audit.Filter{NewestFirst: newest}) {
			if err != nil {
				x.Fatalf("Records: %v", err)
			}
			if n++; n == 2 {
				break
			}
		}
		if n != 2 {
			x.Fatalf("%d records, want 2", n)
		}
	}
}

func checkClean(x *storeTrial) {
	for name, change := range map[string]func(*audit.Record){
		"no time":      func(r *audit.Record) { r.Time = time.Time{} },
		"no kind":      func(r *audit.Record) { r.Kind = "" },
		"another kind": func(r *audit.Record) { r.Kind = "gossip" },
		"no operation": func(r *audit.Record) { r.Operation = "" },
		"no outcome":   func(r *audit.Record) { r.Outcome = 3 },
	} {
		r := sample(1)
		change(&r)
		if err := x.store.Record(x.ctx, r); !errors.Is(err, chansec.ErrInvalid) {
			x.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	x.holds(audit.Filter{})
	r := sample(6)
	r.Time = r.Time.In(time.FixedZone("x", 3600))
	r.Principal = strings.Repeat("é", audit.MaxTextBytes)
	r.Target = "not \xff UTF-8"
	r.Detail = strings.Repeat("x", 10*audit.MaxDetailBytes)
	r.Votes = append(r.Votes, make([]audit.Vote, 2*audit.MaxVotes)...)
	x.record(r)
	want, err := r.Clean()
	if err != nil {
		x.Fatalf("Clean: %v", err)
	}
	x.holds(audit.Filter{}, want)
	x.reopen()
	x.holds(audit.Filter{}, want)
}

func checkQuery(x *storeTrial) {
	x.record(sample(1))
	for _, f := range []audit.Filter{{Kind: "gossip"}, {Limit: -1}, {Outcomes: []chansec.Outcome{3}}, {From: begin, To: begin}, {After: 5, Before: 6}} {
		n := 0
		for r, err := range x.store.Records(x.ctx, f) {
			if n++; !errors.Is(err, chansec.ErrInvalid) {
				x.Errorf("%+v yields %+v and %v, want ErrInvalid", f, r, err)
			}
		}
		if n != 1 {
			x.Errorf("%+v yields %d times, want once", f, n)
		}
	}
}

func checkBatch(x *storeTrial) {
	b, ok := x.store.(audit.BatchSink)
	if !ok {
		x.skipped = "no BatchSink"
		return
	}
	batch := []audit.Record{sample(3), sample(1), sample(2)}
	if err := b.RecordAll(x.ctx, batch); err != nil {
		x.Fatalf("RecordAll: %v", err)
	}
	clear(batch) // it belongs to the caller again
	x.holds(audit.Filter{}, sample(3), sample(1), sample(2))
	if err := b.RecordAll(x.ctx, []audit.Record{sample(4), {}, sample(5)}); !errors.Is(err, chansec.ErrInvalid) {
		x.Errorf("RecordAll with a wrong record: %v, want ErrInvalid", err)
	}
	if err := b.RecordAll(x.ctx, nil); err != nil {
		x.Errorf("RecordAll of nothing: %v", err)
	}
	x.holds(audit.Filter{}, sample(3), sample(1), sample(2))
}

func checkRace(x *storeTrial) {
	const writers, each = 8, 50
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				r := sample(i)
				r.Principal = fmt.Sprint("writer ", w)
				if err := x.store.Record(x.ctx, r); err != nil {
					x.Errorf("Record: %v", err)
				}
				if i%10 != 0 {
					continue
				}
				n := 0
				for _, err := range x.store.Records(x.ctx, audit.Filter{Principal: r.Principal}) {
					if n++; err != nil {
						x.Errorf("Records: %v", err)
					}
				}
				if n != i+1 {
					x.Errorf("%d records of one writer, want %d", n, i+1)
				}
			}
		})
	}
	all.Wait()
	got := x.query(audit.Filter{})
	if len(got) != writers*each {
		x.Fatalf("%d records, want %d", len(got), writers*each)
	}
	for i := 1; i < len(got); i++ {
		if got[i].Seq <= got[i-1].Seq {
			x.Fatalf("number %d after %d", got[i].Seq, got[i-1].Seq)
		}
	}
}

func checkContexts(x *storeTrial) {
	x.record(sample(1))
	ctx, cancel := context.WithCancel(x.ctx)
	cancel()
	n := 0
	for r, err := range x.store.Records(ctx, audit.Filter{}) {
		if n++; !errors.Is(err, context.Canceled) {
			x.Errorf("yields %+v and %v, want the context's error", r, err)
		}
	}
	if n != 1 {
		x.Errorf("yields %d times, want once", n)
	}
}
