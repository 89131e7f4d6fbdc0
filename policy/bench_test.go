package policy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// big is a store of so many assignments: 1,000 roles, of which each principal holds some, on a tree of paths.
type big struct {
	store      *policy.Store
	authorizer *policy.Authorizer
	paths      []string
	depth      int
}

const bigRoles = 1000

var bigStores sync.Map // func() *big by size and depth

func newBig(b *testing.B, rules, depth int) *big {
	load, _ := bigStores.LoadOrStore([2]int{rules, depth}, sync.OnceValue(func() *big { return loadBig(b, rules, depth) }))
	return load.(func() *big)()
}

// bigPath is the path of a number, of ten children at every depth but the last.
func bigPath(i, depth int) string {
	var s strings.Builder
	for range depth - 1 {
		fmt.Fprintf(&s, "segment-%d/", i%10)
		i /= 10
	}
	fmt.Fprintf(&s, "item-%d", i)
	return s.String()
}

func loadBig(b testing.TB, rules, depth int) *big {
	s := newStore(b, policy.DiffusionConfig())
	x := &big{store: s, authorizer: s.Authorizer(), depth: depth}
	for i := range rules {
		x.paths = append(x.paths, bigPath(i, depth))
	}
	change(b, s, func(tx *policy.Tx) {
		for i, p := range x.paths {
			tx.SetPathPermissions(fmt.Sprint("role-", i%bigRoles), p, "READ_TOPIC", "SELECT_TOPIC")
		}
		tx.IsolatePath("isolated")
		for n := range bigRoles {
			var eight []string
			for k := range 8 {
				eight = append(eight, fmt.Sprint("role-", (n+k)%bigRoles))
			}
			tx.AssignRoles(fmt.Sprint("one-", n), eight[0])
			tx.AssignRoles(fmt.Sprint("eight-", n), eight...)
		}
	})
	return x
}

func BenchmarkDecide(b *testing.B) {
	for _, rules := range []int{10, 1_000, 100_000, 1_000_000} {
		for _, depth := range []int{2, 6, 10} {
			if depth != 6 && rules != 1_000_000 {
				continue
			}
			for _, roles := range []string{"one", "eight"} {
				for _, c := range []string{"hit", "miss", "isolated"} {
					b.Run(fmt.Sprintf("rules=%d/depth=%d/roles=%s/%s", rules, depth, roles, c), func(b *testing.B) {
						x := newBig(b, rules, depth)
						x.decide(b, roles, c, 64)
					})
				}
			}
		}
	}
	b.Run("rules=1000000/depth=6/roles=eight/hit/cold", func(b *testing.B) { newBig(b, 1_000_000, 6).decide(b, "eight", "hit", 1<<17) })
}

// decide asks about some of the paths again and again.
func (x *big) decide(b *testing.B, roles, c string, different int) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	requests := make([]chansec.Request, different)
	for i := range requests {
		n := r.IntN(len(x.paths))
		q := chansec.Request{Principal: chansec.Principal{SystemID: fmt.Sprint(roles, "-", n%bigRoles)}, ChannelID: x.paths[n], Operation: chansec.OpRead}
		switch c {
		case "miss":
			q.Principal.SystemID = fmt.Sprint(roles, "-", (n+100)%bigRoles)
		case "isolated":
			q.ChannelID = "isolated" + strings.Repeat("/below", x.depth-1)
		}
		requests[i] = q
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		d, err := x.authorizer.Decide(ctx, requests[i&(different-1)])
		if err != nil || d.Allowed != (c == "hit") {
			b.Fatal(d, err)
		}
		i++
	}
}

// BenchmarkFloor walks up the same paths in one map of Go, which is the least that a decision can cost.
func BenchmarkFloor(b *testing.B) {
	for _, c := range []struct{ rules, different int }{{1_000, 64}, {1_000_000, 64}, {1_000_000, 1 << 17}} {
		b.Run(fmt.Sprintf("rules=%d/depth=6/different=%d", c.rules, c.different), func(b *testing.B) {
			x := newBig(b, c.rules, 6)
			floor := make(map[string]uint64, len(x.paths))
			for i, p := range x.paths {
				floor[p+"/"] = uint64(i) // never found, so that all of the path is walked
			}
			r := rand.New(rand.NewPCG(1, 2))
			asked := make([]string, c.different)
			for i := range asked {
				asked[i] = x.paths[r.IntN(len(x.paths))]
			}
			i := 0
			for b.Loop() {
				for p := asked[i&(c.different-1)]; p != ""; p = p[:max(strings.LastIndexByte(p, '/'), 0)] {
					if _, ok := floor[p]; ok {
						b.Fatal(p)
					}
				}
				i++
			}
		})
	}
}

// BenchmarkRatio holds decisions against the floor in interleaved rounds, since the machine does other things meanwhile, and
// reports the medians of both and of their ratio.
func BenchmarkRatio(b *testing.B) {
	x := newBig(b, 1_000_000, 6)
	floor := make(map[string]uint64, len(x.paths))
	for i, p := range x.paths {
		floor[p+"/"] = uint64(i)
	}
	for _, different := range []int{64, 1 << 17} {
		b.Run(fmt.Sprintf("rules=1000000/depth=6/roles=eight/hit/different=%d", different), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			requests := make([]chansec.Request, different)
			for i := range requests {
				n := r.IntN(len(x.paths))
				requests[i] = chansec.Request{Principal: chansec.Principal{SystemID: fmt.Sprint("eight-", n%bigRoles)}, ChannelID: x.paths[n], Operation: chansec.OpRead}
			}
			const rounds, each = 41, 20_000
			var walks, decisions, ratios []float64
			for b.Loop() {
				for round := range rounds {
					began := time.Now()
					for i := range each {
						p := requests[(round*each+i)&(different-1)].ChannelID
						for ; p != ""; p = p[:max(strings.LastIndexByte(p, '/'), 0)] {
							if _, ok := floor[p]; ok {
								b.Fatal(p)
							}
						}
					}
					walk := float64(time.Since(began)) / each
					began = time.Now()
					for i := range each {
						if d, _ := x.authorizer.Decide(context.Background(), requests[(round*each+i)&(different-1)]); !d.Allowed {
							b.Fatal(d)
						}
					}
					decision := float64(time.Since(began)) / each
					walks, decisions, ratios = append(walks, walk), append(decisions, decision), append(ratios, decision/walk)
				}
			}
			b.ReportMetric(median(walks), "floor-ns")
			b.ReportMetric(median(decisions), "decision-ns")
			b.ReportMetric(slices.Min(decisions), "fastest-ns")
			b.ReportMetric(median(ratios), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

func BenchmarkChange(b *testing.B) {
	for _, rules := range []int{10, 1_000_000} {
		b.Run(fmt.Sprint("rules=", rules), func(b *testing.B) {
			x := newBig(b, rules, 6)
			ctx := context.Background()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				n := i * 7919 % len(x.paths)
				err := x.store.Update(ctx, policy.Root(), func(tx *policy.Tx) error {
					if i%2 == 0 {
						return tx.Grant(fmt.Sprint("role-", n%bigRoles), x.paths[n], "UPDATE_TOPIC")
					}
					return tx.Revoke(fmt.Sprint("role-", n%bigRoles), x.paths[n], "UPDATE_TOPIC")
				})
				if err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	const rules = 1_000_000
	paths := make([]string, rules)
	for i := range paths {
		paths[i] = bigPath(i, 6)
	}
	roles := make([]string, bigRoles)
	for i := range roles {
		roles[i] = fmt.Sprint("role-", i)
	}
	b.Run("rules=1000000", func(b *testing.B) {
		for b.Loop() {
			before := heap()
			s := newStore(b, policy.DiffusionConfig())
			change(b, s, func(tx *policy.Tx) {
				for i, p := range paths {
					tx.SetPathPermissions(roles[i%bigRoles], p, "READ_TOPIC", "SELECT_TOPIC")
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(heap()-before)/rules, "B/rule")
			runtime.KeepAlive(s)
			b.StartTimer()
		}
	})
	b.Run("script/rules=1000000", func(b *testing.B) {
		script := newBig(b, rules, 6).store.Snapshot().Script()
		for b.Loop() {
			s := newStore(b, policy.DiffusionConfig())
			require.NoError(b, s.Restore(context.Background(), policy.Root(), script))
		}
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
