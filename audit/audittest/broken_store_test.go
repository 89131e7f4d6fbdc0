package audittest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/audit"
)

// broken is a store in memory of which a test replaces methods.
type broken struct {
	audit.Store
	mu        sync.Mutex
	onRecord  func(audit.Store, audit.Record) error
	onRecords func(context.Context, audit.Store, audit.Filter) iter.Seq2[audit.Record, error]
	onBatch   func(audit.Store, []audit.Record) error
}

func (b *broken) Record(ctx context.Context, r audit.Record) error {
	if b.onRecord == nil {
		return b.Store.Record(ctx, r)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.onRecord(b.Store, r)
}

func (b *broken) Records(ctx context.Context, f audit.Filter) iter.Seq2[audit.Record, error] {
	if b.onRecords == nil {
		return b.Store.Records(ctx, f)
	}
	return b.onRecords(ctx, b.Store, f)
}

func (b *broken) RecordAll(ctx context.Context, records []audit.Record) error {
	if b.onBatch != nil {
		return b.onBatch(b.Store, records)
	}
	for _, r := range records {
		if _, err := r.Clean(); err != nil {
			return err
		}
	}
	for _, r := range records {
		if err := b.Store.Record(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// changed makes a query that yields other records.
func changed(change func(*audit.Record)) func(*broken) {
	return func(b *broken) {
		b.onRecords = func(ctx context.Context, s audit.Store, f audit.Filter) iter.Seq2[audit.Record, error] {
			return func(yield func(audit.Record, error) bool) {
				for r, err := range s.Records(ctx, f) {
					if err == nil {
						change(&r)
					}
					if !yield(r, err) {
						return
					}
				}
			}
		}
	}
}

// asked makes a query for something else.
func asked(change func(*audit.Filter)) func(*broken) {
	return func(b *broken) {
		b.onRecords = func(ctx context.Context, s audit.Store, f audit.Filter) iter.Seq2[audit.Record, error] {
			change(&f)
			return s.Records(ctx, f)
		}
	}
}

func TestEveryRuleFindsAStoreThatBreaksIt(t *testing.T) {
	covered := map[string]bool{}
	for _, row := range []struct {
		rule, name string
		fault      func(*broken)
		forgets    bool // what it took when it is opened again
	}{
		{rule: "empty", name: "holds something", fault: func(b *broken) { _ = b.Store.Record(context.Background(), sample(1)) }},
		{rule: "whole", name: "forgets the rule", fault: changed(func(r *audit.Record) { r.Rule = "" })},
		{rule: "whole", name: "keeps microseconds only", fault: changed(func(r *audit.Record) { r.Time = r.Time.Truncate(1000) })},
		{rule: "whole", name: "keeps a version as a signed number", fault: changed(func(r *audit.Record) { r.Version &= 1<<63 - 1 })},
		{rule: "whole", name: "forgets everything when it is closed", forgets: true},
		{rule: "numbers", name: "keeps the numbers that it is given", fault: changed(func(r *audit.Record) { r.Seq = 77 })},
		{rule: "filter", name: "does not look at the target", fault: asked(func(f *audit.Filter) { f.Target = "" })},
		{rule: "filter", name: "takes letters for the same as small ones", fault: asked(func(f *audit.Filter) { f.Principal = strings.ToLower(f.Principal) })},
		{rule: "filter", name: "takes the end of a time for part of it", fault: asked(func(f *audit.Filter) {
			if !f.To.IsZero() {
				f.To = f.To.Add(1)
			}
		})},
		{rule: "order", name: "has one order only", fault: asked(func(f *audit.Filter) { f.NewestFirst = false })},
		{rule: "order", name: "does not know limits", fault: asked(func(f *audit.Filter) { f.Limit = 0 })},
		{rule: "stop", name: "holds nothing", fault: asked(func(f *audit.Filter) { f.Kind = audit.KindToken })},
		{rule: "clean", name: "takes what makes no sense without a word", fault: func(b *broken) {
			b.onRecord = func(s audit.Store, r audit.Record) error { _ = s.Record(context.Background(), r); return nil }
		}},
		{rule: "clean", name: "cuts more than it should", fault: changed(func(r *audit.Record) { r.Detail = r.Detail[:min(len(r.Detail), 100)] })},
		{rule: "query", name: "takes filters that make no sense", fault: asked(func(f *audit.Filter) { *f = audit.Filter{} })},
		{rule: "batch", name: "keeps what is before the wrong one", fault: func(b *broken) {
			b.onBatch = func(s audit.Store, records []audit.Record) error {
				for _, r := range records {
					if err := s.Record(context.Background(), r); err != nil {
						return err
					}
				}
				return nil
			}
		}},
		{rule: "batch", name: "turns batches round", fault: func(b *broken) {
			b.onBatch = func(s audit.Store, records []audit.Record) (failed error) {
				for _, r := range slices.Backward(records) {
					failed = errors.Join(failed, s.Record(context.Background(), r))
				}
				return failed
			}
		}},
		{rule: "race", name: "loses one in a hundred", fault: func(b *broken) {
			n := 0
			b.onRecord = func(s audit.Store, r audit.Record) error {
				if n++; n%100 == 99 {
					return nil
				}
				return s.Record(context.Background(), r)
			}
		}},
		{rule: "contexts", name: "does not look at the context", fault: func(b *broken) {
			b.onRecords = func(_ context.Context, s audit.Store, f audit.Filter) iter.Seq2[audit.Record, error] {
				return s.Records(context.Background(), f)
			}
		}},
	} {
		covered[row.rule] = true
		t.Run(row.rule+": it "+row.name, func(t *testing.T) {
			newStore := func() audit.Store {
				ring, err := audit.NewRing(1000)
				require.NoError(t, err)
				b := &broken{Store: ring}
				if row.fault != nil {
					row.fault(b)
				}
				return b
			}
			open := newStore
			if !row.forgets {
				s := newStore()
				open = func() audit.Store { return s }
			}
			i := slices.IndexFunc(storeRules, func(r storeRule) bool { return r.name == row.rule })
			x := &storeTrial{ctx: t.Context(), open: open}
			x.run(storeRules[i].check)
			require.NotEmpty(t, x.problems)
		})
	}
	for _, r := range storeRules {
		require.True(t, covered[r.name], "no broken store shows that the rule %q can find anything", r.name)
	}
}
