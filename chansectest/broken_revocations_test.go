package chansectest

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// faultyRevocations is a backend of which a test breaks something.
type faultyRevocations struct {
	*chansec.MemoryRevocations
	onAppend  func(b *chansec.MemoryRevocations, ctx context.Context, r chansec.Revocation) error
	onChanges func(b *chansec.MemoryRevocations, ctx context.Context, after uint64) iter.Seq2[chansec.Revocation, error]
	onOpen    func(f *faultyRevocations)
}

func (f *faultyRevocations) Append(ctx context.Context, r chansec.Revocation) error {
	if f.onAppend != nil {
		return f.onAppend(f.MemoryRevocations, ctx, r)
	}
	return f.MemoryRevocations.Append(ctx, r)
}

func (f *faultyRevocations) Changes(ctx context.Context, after uint64) iter.Seq2[chansec.Revocation, error] {
	if f.onChanges != nil {
		return f.onChanges(f.MemoryRevocations, ctx, after)
	}
	return f.MemoryRevocations.Changes(ctx, after)
}

func revocationFindings(t *testing.T, name string, fault func(*faultyRevocations)) []string {
	t.Helper()
	i := slices.IndexFunc(revocationRules, func(r rule[*revocationTrial]) bool { return r.name == name })
	require.NotEqual(t, -1, i, "there is no rule %q", name)
	x := &trial{T: t, options: newOptions(nil)}
	b := &faultyRevocations{MemoryRevocations: chansec.NewMemoryRevocations()}
	fault(b)
	open := func() chansec.RevocationBackend {
		if b.onOpen != nil {
			b.onOpen(b)
		}
		return b
	}
	x.do(func() { revocationRules[i].check(&revocationTrial{x, open}) })
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.problems)
}

type (
	memoryRevocations = *chansec.MemoryRevocations
	revocation        = chansec.Revocation
)

// changed is an Append that changes what it is given.
func changed(change func(*revocation)) func(*faultyRevocations) {
	return func(f *faultyRevocations) {
		f.onAppend = func(b memoryRevocations, ctx context.Context, r revocation) error {
			change(&r)
			return b.Append(ctx, r)
		}
	}
}

// yielded is Changes with another list than the right one.
func yielded(change func(b memoryRevocations, after uint64, list []revocation) []revocation) func(*faultyRevocations) {
	return func(f *faultyRevocations) {
		f.onChanges = func(b memoryRevocations, ctx context.Context, after uint64) iter.Seq2[revocation, error] {
			return func(yield func(revocation, error) bool) {
				var list []revocation
				for r, err := range b.Changes(ctx, after) {
					if err != nil {
						yield(r, err)
						return
					}
					list = append(list, r)
				}
				for _, r := range change(b, after, list) {
					if !yield(r, nil) {
						return
					}
				}
			}
		}
	}
}

// all is what a backend yields from the beginning.
func all(b memoryRevocations) (list []revocation) {
	for r := range b.Changes(ctx, 0) {
		list = append(list, r)
	}
	return list
}

func without(list []revocation, drop func(revocation) bool) []revocation {
	return slices.DeleteFunc(slices.Clone(list), drop)
}

// upsert keeps one row for each token and subject, and writes it where better says so.
func upsert(better func(old, r revocation) bool) func(*faultyRevocations) {
	var mu sync.Mutex
	rows := make(map[[2]string]revocation)
	return func(f *faultyRevocations) {
		f.onAppend = func(b memoryRevocations, ctx context.Context, r revocation) error {
			mu.Lock()
			defer mu.Unlock()
			key := [2]string{r.TokenID, r.Subject}
			if old, ok := rows[key]; ok && !better(old, r) {
				return nil
			}
			rows[key] = r
			return b.Append(ctx, r)
		}
		yielded(func(_ memoryRevocations, _ uint64, list []revocation) []revocation {
			mu.Lock()
			defer mu.Unlock()
			return without(list, func(r revocation) bool {
				row := rows[[2]string{r.TokenID, r.Subject}]
				return !row.ExpiresAt.Equal(r.ExpiresAt) || !row.IssuedBefore.Equal(r.IssuedBefore)
			})
		})(f)
	}
}

// TestEveryRuleFindsRevocationBackendsThatBreakIt breaks a backend in one place at a time.
func TestEveryRuleFindsRevocationBackendsThatBreakIt(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	covered := make(map[string]bool)
	for _, tt := range []struct {
		rule  string
		name  string // what the backend does wrong
		fault func(f *faultyRevocations)
		want  string // part of what is found
	}{
		{"empty", "holds something", func(f *faultyRevocations) { _ = f.MemoryRevocations.Append(ctx, revokedUntil("a", later)) }, "never appended"},
		{"empty", "fails", func(f *faultyRevocations) {
			f.onChanges = func(memoryRevocations, context.Context, uint64) iter.Seq2[revocation, error] {
				return func(yield func(revocation, error) bool) { yield(revocation{}, errAway) }
			}
		}, "the database is away"},

		{"append", "fails", func(f *faultyRevocations) {
			f.onAppend = func(memoryRevocations, context.Context, revocation) error { return errAway }
		}, "the database is away"},
		{"append", "keeps nothing", func(f *faultyRevocations) {
			f.onAppend = func(memoryRevocations, context.Context, revocation) error { return nil }
		}, `the token "a" until`},
		{"append", "loses what was there when it is opened again", func(f *faultyRevocations) {
			f.onOpen = func(f *faultyRevocations) { f.MemoryRevocations = chansec.NewMemoryRevocations() }
		}, "one that is opened later: "},
		{"append", "keeps no subjects", func(f *faultyRevocations) {
			f.onAppend = func(b memoryRevocations, ctx context.Context, r revocation) error {
				if r.Subject != "" {
					return nil
				}
				return b.Append(ctx, r)
			}
		}, `the subject "s" up to`},
		{"append", "takes subjects for tokens", changed(func(r *revocation) {
			if r.Subject != "" {
				*r = revocation{TokenID: r.Subject}
			}
		}), `the subject "s" up to`},
		{"append", "drops what has the revision of another", func(f *faultyRevocations) {
			seen := make(map[uint64]bool)
			f.onAppend = func(b memoryRevocations, ctx context.Context, r revocation) error {
				if r.Revision > 0 && seen[r.Revision] || r.Revision > 7 {
					return nil
				}
				seen[r.Revision] = true
				return b.Append(ctx, r)
			}
		}, `the token "b" until`},
		{"append", "fills both times", yielded(func(_ memoryRevocations, _ uint64, list []revocation) []revocation {
			list = slices.Clone(list)
			for i := range list {
				if list[i].TokenID != "" {
					list[i].IssuedBefore = time.Unix(0, 0)
				}
			}
			return list
		}), "has both times"},

		{"order", "yields the newest first", yielded(func(_ memoryRevocations, _ uint64, list []revocation) []revocation {
			list = slices.Clone(list)
			slices.Reverse(list)
			return list
		}), "revision 39 follows 40"},
		{"order", "gives no revisions", yielded(func(_ memoryRevocations, _ uint64, list []revocation) []revocation {
			list = slices.Clone(list)
			for i := range list {
				list[i].Revision = 0
			}
			return list
		}), "revision 0 follows 0"},
		{"order", "can be ranged over once", func(f *faultyRevocations) {
			f.onChanges = func(b memoryRevocations, ctx context.Context, after uint64) iter.Seq2[revocation, error] {
				next, _ := iter.Pull2(b.Changes(ctx, after))
				return func(yield func(revocation, error) bool) {
					for r, err, ok := next(); ok && yield(r, err); r, err, ok = next() {
					}
				}
			}
		}, "the first is"},

		{"since", "begins one too early", yielded(func(b memoryRevocations, after uint64, _ []revocation) []revocation {
			return without(all(b), func(r revocation) bool { return r.Revision < after })
		}), "yields revision 1"},
		{"since", "begins one too late", yielded(func(b memoryRevocations, after uint64, _ []revocation) []revocation {
			return without(all(b), func(r revocation) bool { return r.Revision <= after+1 })
		}), `the token "token 0"`},
		{"since", "takes a revision for an offset that compaction moved", yielded(func(b memoryRevocations, after uint64, _ []revocation) []revocation {
			list := all(b)
			return list[min(int(after)*2, len(list)):]
		}), "is missing"},

		{"bytes", "folds case", changed(func(r *revocation) { r.TokenID, r.Subject = strings.ToLower(r.TokenID), strings.ToLower(r.Subject) }), `the token "A"`},
		{"bytes", "trims spaces", changed(func(r *revocation) { r.TokenID = strings.TrimSpace(r.TokenID) }), `the token "a " until`},
		{"bytes", "cuts long names", changed(func(r *revocation) { r.TokenID = r.TokenID[:min(len(r.TokenID), 255)] }), "xxxx"},
		{"bytes", "normalises", changed(func(r *revocation) { r.TokenID = strings.ReplaceAll(r.TokenID, "a\u0308", "ä") }), "is missing"},

		{"times", "keeps 32 bits", changed(func(r *revocation) {
			if !r.IssuedBefore.IsZero() {
				r.IssuedBefore = time.Unix(int64(int32(r.IssuedBefore.Unix())), 0)
			}
		}), `the subject "before 2147483648" is revoked`},
		{"times", "keeps nanoseconds in 64 bits", changed(func(r *revocation) {
			if !r.ExpiresAt.IsZero() {
				r.ExpiresAt = time.Unix(0, r.ExpiresAt.UnixNano())
			}
		}), `the token "until 9223372037" is revoked`},
		{"times", "takes zero for 1970", changed(func(r *revocation) {
			if r.TokenID != "" && r.ExpiresAt.IsZero() {
				r.ExpiresAt = time.Unix(0, 0)
			}
		}), `the token "never forgotten"`},
		{"times", "rounds to minutes", changed(func(r *revocation) { r.ExpiresAt = r.ExpiresAt.Truncate(time.Minute) }), "is revoked until"},
		{"times", "adds a fraction", yielded(func(_ memoryRevocations, _ uint64, list []revocation) []revocation {
			list = slices.Clone(list)
			for i := range list {
				list[i].IssuedBefore = list[i].IssuedBefore.Add(1)
			}
			return list
		}), "is not of a whole second"},

		{"outdone", "lets the last one win", upsert(func(revocation, revocation) bool { return true }), "is revoked until or up to"},
		{"outdone", "lets the first one win", upsert(func(revocation, revocation) bool { return false }), "is revoked until or up to"},
		{"outdone", "takes a zero time for the earliest", upsert(func(old, r revocation) bool {
			return r.ExpiresAt.After(old.ExpiresAt) || r.IssuedBefore.After(old.IssuedBefore)
		}), "is revoked until"},
		{"outdone", "leaves the revision as it was", yielded(func(b memoryRevocations, after uint64, list []revocation) []revocation {
			known := make(map[string]bool)
			for _, r := range all(b) {
				if r.Revision <= after {
					known[r.TokenID+r.Subject] = true
				}
			}
			return without(list, func(r revocation) bool { return known[r.TokenID+r.Subject] })
		}), "for those who know the first"},

		{"grace", "forgets tokens as soon as they expire", func(f *faultyRevocations) {
			f.onAppend = func(b memoryRevocations, ctx context.Context, r revocation) error {
				if r.TokenID != "" && !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(time.Now()) {
					return nil
				}
				return b.Append(ctx, r)
			}
		}, `the token "expired"`},
		{"grace", "forgets what never expires first", yielded(func(_ memoryRevocations, _ uint64, list []revocation) []revocation {
			return without(list, func(r revocation) bool { return r.TokenID != "" && r.ExpiresAt.IsZero() })
		}), `the token "never"`},
		{"grace", "keeps the last thousand", yielded(func(_ memoryRevocations, _ uint64, list []revocation) []revocation {
			return list[max(0, len(list)-20):]
		}), "is missing"},

		{"follow", "gives revisions before it commits, as a sequence does", func(f *faultyRevocations) {
			var mu sync.Mutex
			var next uint64
			var rows []revocation
			overtaken := make(chan struct{})
			overtake := sync.OnceFunc(func() { close(overtaken) })
			f.onAppend = func(_ memoryRevocations, _ context.Context, r revocation) error {
				mu.Lock()
				next++
				r.Revision = next
				mu.Unlock()
				if r.Revision == 1 {
					<-overtaken
				}
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, r)
				return nil
			}
			f.onChanges = func(_ memoryRevocations, _ context.Context, after uint64) iter.Seq2[revocation, error] {
				return func(yield func(revocation, error) bool) {
					mu.Lock()
					list := without(rows, func(r revocation) bool { return r.Revision <= after })
					mu.Unlock()
					if len(list) > 0 {
						defer overtake()
					}
					slices.SortFunc(list, func(a, b revocation) int { return int(a.Revision) - int(b.Revision) })
					for _, r := range list {
						if !yield(r, nil) {
							return
						}
					}
				}
			}
		}, "who goes on from the last revision"},
		{"follow", "yields again what was known", yielded(func(b memoryRevocations, _ uint64, _ []revocation) []revocation { return all(b) }), "appeared after"},

		{"contexts", "keeps what it should not", func(f *faultyRevocations) {
			f.onAppend = func(b memoryRevocations, c context.Context, r revocation) error {
				_ = b.Append(ctx, r)
				return c.Err()
			}
		}, `the token "b" until`},
		{"contexts", "does not look at the context of Append", func(f *faultyRevocations) {
			f.onAppend = func(b memoryRevocations, _ context.Context, r revocation) error { return b.Append(ctx, r) }
		}, "Append: <nil>"},
		{"contexts", "ends in silence", func(f *faultyRevocations) {
			f.onChanges = func(b memoryRevocations, c context.Context, after uint64) iter.Seq2[revocation, error] {
				if c.Err() != nil {
					return func(func(revocation, error) bool) {}
				}
				return b.Changes(c, after)
			}
		}, "yields the errors []"},
		{"contexts", "does not look at the context of Changes", func(f *faultyRevocations) {
			f.onChanges = func(b memoryRevocations, _ context.Context, after uint64) iter.Seq2[revocation, error] {
				return b.Changes(ctx, after)
			}
		}, `yields the token "a"`},

		{"security", "keeps no tokens", func(f *faultyRevocations) {
			f.onAppend = func(b memoryRevocations, ctx context.Context, r revocation) error {
				if r.TokenID != "" {
					return nil
				}
				return b.Append(ctx, r)
			}
		}, "another one: a revoked token is not refused"},
		{"security", "revokes more than it was told", changed(func(r *revocation) {
			if r.Subject != "" {
				r.Subject = "ann"
			}
		}), "a token that nobody revoked is refused"},
		{"security", "holds what makes no sense", yielded(func(_ memoryRevocations, _ uint64, list []revocation) []revocation {
			list = slices.Clone(list)
			for i := range list {
				list[i].TokenID, list[i].Subject = "a", "b"
			}
			return list
		}), "Refresh: chansec: revocation 1: chansec: invalid revocation"},
	} {
		covered[tt.rule] = true
		t.Run(tt.rule+"/"+tt.name, func(t *testing.T) {
			found := strings.Join(revocationFindings(t, tt.rule, tt.fault), "\n")
			require.Contains(t, found, tt.want)
		})
	}
	for _, r := range revocationRules {
		require.True(t, covered[r.name], "no backend breaks the rule %q", r.name)
	}
	for _, r := range revocationRules {
		require.Empty(t, revocationFindings(t, r.name, func(*faultyRevocations) {}), "the rule %q finds a backend that keeps it", r.name)
	}
}
