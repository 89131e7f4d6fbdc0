package policy_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// sequence is a store that is asked again and again while it changes, so that whatever it remembers is remembered.
type sequence struct {
	*testing.T
	store      *policy.Store
	authorizer *policy.Authorizer
}

func newSequence(t *testing.T, script string) *sequence {
	s := newStore(t, policy.PlainConfig())
	require.NoError(t, s.Restore(t.Context(), policy.Root(), script))
	return &sequence{t, s, s.Authorizer()}
}

// then changes the store by a script, and checks who may write what before and after.
func (x *sequence) then(what, script string, may map[[2]string]bool) {
	x.Helper()
	require.NoError(x, x.store.Update(x.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.Run(script) }), what)
	for range 2 { // the second answer may be a remembered one
		for q, want := range may {
			d, err := x.authorizer.Decide(x.Context(), chansec.Request{Principal: chansec.Principal{SystemID: q[0]}, ChannelID: q[1], Operation: chansec.OpWrite})
			require.NoError(x, err)
			require.Equal(x, want, d.Allowed, "%s: %q on %q", what, q[0], q[1])
			got, err := x.authorizer.AuthorizeWrite(x.Context(), q[0], q[1])
			require.NoError(x, err)
			require.Equal(x, want, got, "%s: %q on %q", what, q[0], q[1])
		}
	}
}

func TestGrantAndRevokeOfAnIncludedRole(t *testing.T) {
	x := newSequence(t, "set 'OUTER' includes ['MIDDLE']\nset 'MIDDLE' includes ['INNER']\nassign roles 'ann' ['OUTER']\nassign roles 'ben' ['MIDDLE']")
	ann, ben := [2]string{"ann", "a/b"}, [2]string{"ben", "a/b"}
	both, none := map[[2]string]bool{ann: true, ben: true}, map[[2]string]bool{ann: false, ben: false}
	for range 3 {
		x.then("nothing is granted", "", none)
		x.then("the innermost role is granted it", "set 'INNER' path 'a' permissions [write]", both)
		x.then("and loses it", "set 'INNER' path 'a' permissions []", none)
		x.then("and has it again", "set 'INNER' path 'a' permissions [write]", both)
		x.then("the outermost role includes nothing any more", "set 'OUTER' includes []", map[[2]string]bool{ann: false, ben: true})
		x.then("but for another with the same below it", "set 'OUTER' includes ['OTHER']\nset 'OTHER' includes ['INNER']", both)
		x.then("the role in the middle is gone, the other is not", "set 'MIDDLE' includes []", map[[2]string]bool{ann: true, ben: false})
		x.then("all is as it was", "set 'OUTER' includes ['MIDDLE']\nset 'MIDDLE' includes ['INNER']\nset 'OTHER' includes []\nremove 'INNER' permissions for path 'a'", none)
	}
}

func TestExplicitRemovalAfterAnswersAreRemembered(t *testing.T) {
	const script = `
		set 'R' path 'a' permissions [write]
		set 'R' default path permissions [write]
		set 'S' includes ['R']
		set roles for named sessions ['BASE']
		assign roles 'ann' ['S']`
	ann, ben := [2]string{"ann", "a/b"}, [2]string{"ben", "a/b"}
	for what, removal := range map[string]string{
		"the assignment, and defaults":      "remove 'R' permissions for path 'a'\nset 'R' default path permissions []",
		"the inclusion":                     "set 'S' includes []",
		"the roles of the principal":        "assign roles 'ann' []",
		"the role, in exchange for another": "assign roles 'ann' ['T']",
		"the ground, by isolation":          "isolate path 'a/b'",
		"the ground, by another role":       "set 'BASE' path 'a/b' permissions []",
	} {
		t.Run(what, func(t *testing.T) {
			x := newSequence(t, script)
			x.then("before", "", map[[2]string]bool{ann: true, ben: false})
			x.then("the role is given to all", "set roles for named sessions ['BASE' 'R']", map[[2]string]bool{ann: true, ben: true})
			x.then("and taken from all", "set roles for named sessions ['BASE']", map[[2]string]bool{ann: true, ben: false})
			x.then("removed", removal, map[[2]string]bool{ann: false, ben: false})
			require.NoError(t, x.store.Restore(t.Context(), policy.Root(), script))
			x.then("put back", "", map[[2]string]bool{ann: true, ben: false})
		})
	}
}

func TestCyclesAreRefusedAndChangeNothing(t *testing.T) {
	for what, script := range map[string]string{
		"of one":                        "set 'A' includes ['A']",
		"of two":                        "set 'C' includes ['B']",
		"of three":                      "set 'C' includes ['D' 'A']",
		"made in one script":            "set 'X' includes ['Y']\nset 'Y' includes ['Z']\nset 'Z' includes ['X']",
		"beside a change that is right": "set 'A' path 'a' permissions []\nset 'C' includes ['A']",
		"that a later line would break": "set 'C' includes ['A']\nset 'A' includes []",
	} {
		t.Run(what, func(t *testing.T) {
			x := newSequence(t, "set 'A' includes ['B']\nset 'B' includes ['C']\nset 'C' path 'a' permissions [write]\nassign roles 'ann' ['A']")
			before := x.store.Snapshot()
			err := x.store.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.Run(script) })
			require.ErrorIs(t, err, policy.Cycle)
			require.Equal(t, before, x.store.Snapshot())
			x.then("after", "", map[[2]string]bool{{"ann", "a"}: true})
		})
	}
	x := newSequence(t, "set 'A' includes ['B']\nset 'B' path 'a' permissions [write]\nassign roles 'ann' ['A']\nassign roles 'ben' ['B']")
	x.then("an inclusion may be turned round", "set 'A' includes []\nset 'B' includes ['A']", map[[2]string]bool{{"ann", "a"}: false, {"ben", "a"}: true})
}

func TestIsolationAboveAndBelow(t *testing.T) {
	x := newSequence(t, "set 'R' path 'a/b' permissions [write]\nset 'R' default path permissions [write]\nassign roles 'ann' ['R']")
	at := func(path string) [2]string { return [2]string{"ann", path} }
	x.then("no isolation", "", map[[2]string]bool{at("z"): true, at("a"): true, at("a/b"): true, at("a/b/c"): true, at("a/b/c/d"): true})
	x.then("above the assignment", "isolate path 'a'", map[[2]string]bool{at("z"): true, at("a"): false, at("a/x"): false, at("a/b"): true, at("a/b/c/d"): true})
	x.then("at it, too", "isolate path 'a/b'", map[[2]string]bool{at("a/x"): false, at("a/b"): true, at("a/b/c/d"): true})
	x.then("and below it", "isolate path 'a/b/c'", map[[2]string]bool{at("a/b"): true, at("a/b/x"): true, at("a/b/c"): false, at("a/b/c/d"): false})
	x.then("with an assignment below that", "set 'R' path 'a/b/c/d' permissions [write]", map[[2]string]bool{at("a/b/c"): false, at("a/b/c/d"): true, at("a/b/c/d/e"): true})
	x.then("which goes again", "remove 'R' permissions for path 'a/b/c/d'", map[[2]string]bool{at("a/b/c/d"): false})
	x.then("the assignment goes, isolation stays", "remove 'R' permissions for path 'a/b'", map[[2]string]bool{at("a/b"): false, at("a/b/x"): false})
	x.then("isolation above goes, that at the path stays", "deisolate path 'a'", map[[2]string]bool{at("a"): true, at("a/x"): true, at("a/b"): false})
	x.then("all goes", "deisolate path 'a/b'\ndeisolate path 'a/b/c'", map[[2]string]bool{at("a/b"): true, at("a/b/c/d"): true})
}

func TestEmptySets(t *testing.T) {
	x := newSequence(t, "set 'R' path 'a' permissions [write]\nset 'R' default path permissions [write]\nassign roles 'ann' ['R']")
	at := func(path string) [2]string { return [2]string{"ann", path} }
	x.then("an empty assignment hides what is above", "set 'R' path 'a/b' permissions []", map[[2]string]bool{at("a"): true, at("a/b"): false, at("a/b/c"): false})
	x.then("and defaults", "set 'R' path 'z' permissions []", map[[2]string]bool{at("z"): false, at("y"): true})
	x.then("one of another role beside it adds nothing", "set 'S' path 'a' permissions []\nassign roles 'ann' ['R' 'S']", map[[2]string]bool{at("a"): true, at("a/b"): false})
	x.then("its removal restores what is above", "remove 'R' permissions for path 'a/b'\nremove 'R' permissions for path 'z'", map[[2]string]bool{at("a/b"): true, at("z"): true})
	x.then("empty defaults are none", "set 'R' default path permissions []", map[[2]string]bool{at("z"): false, at("a"): true})
	x.then("no roles are nothing", "assign roles 'ann' []", map[[2]string]bool{at("a"): false, at("z"): false, {"", "a"}: false})
	x.then("an empty list for all sessions, too", "set roles for named sessions []\nset roles for anonymous sessions []", map[[2]string]bool{at("a"): false, {"", "a"}: false})
	require.Empty(t, x.store.Snapshot().Roles("ann"))
}

// A subtree moves: in one transaction, all that is assigned below one path is assigned below another. No decision in between
// sees half of it.
func TestMovingASubtree(t *testing.T) {
	const items = 20
	from := newSequence(t, "assign roles 'ann' ['R']")
	change(t, from.store, func(tx *policy.Tx) {
		for i := range items {
			tx.SetPathPermissions("R", fmt.Sprintf("old/%d/x", i), "write")
		}
	})
	move := func(from, to string) func(*policy.Tx) error {
		return func(tx *policy.Tx) error {
			for i := range items {
				_ = tx.RemovePathPermissions("R", fmt.Sprintf("%s/%d/x", from, i))
				_ = tx.SetPathPermissions("R", fmt.Sprintf("%s/%d/x", to, i), "write")
			}
			return nil
		}
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				s := from.store.Snapshot()
				who := s.Session("ann")
				var have [2][]bool // of the first, some and the last item
				for j, top := range []string{"old", "new"} {
					for _, n := range []int{0, i % items, items - 1} {
						may, err := s.Allowed(who, "write", fmt.Sprintf("%s/%d/x/y", top, n))
						if err != nil {
							t.Error(err)
						}
						have[j] = append(have[j], may)
					}
				}
				old, moved := have[0][0], have[1][0]
				if old == moved || have[0][1] != old || have[0][2] != old || have[1][1] != moved || have[1][2] != moved {
					t.Errorf("half of a move is seen: %v", have)
					return
				}
			}
		})
	}
	for i := range 40 {
		a, b := "old", "new"
		if i%2 == 1 {
			a, b = b, a
		}
		require.NoError(t, from.store.Update(t.Context(), policy.Root(), move(a, b)))
		for n := range items {
			for top, want := range map[string]bool{a: false, b: true} {
				may, err := from.authorizer.AuthorizeWrite(t.Context(), "ann", fmt.Sprintf("%s/%d/x", top, n))
				require.NoError(t, err)
				require.Equal(t, want, may, "a decision after the move")
			}
		}
	}
	close(done)
	wg.Wait()
}

// Scripts and decisions at once: no decision that starts after a script returned is older than it, and each is that of one
// revision. Of every two scripts the first allows and the second denies.
func TestConcurrentScriptsAndDecisions(t *testing.T) {
	x := newSequence(t, "assign roles 'ann' ['OUTER']\nset 'OUTER' includes ['R']")
	ctx := context.Background()
	start := x.store.Version()
	var returned atomic.Uint64 // the revision of the last script that returned
	returned.Store(start)
	var wg sync.WaitGroup
	done := make(chan struct{})
	var decisions atomic.Int64
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				least := returned.Load()
				d, err := x.authorizer.Decide(ctx, chansec.Request{Principal: chansec.Principal{SystemID: "ann"}, ChannelID: "a/b", Operation: chansec.OpWrite})
				if err != nil || d.Version < least || d.Allowed != ((d.Version-start)%2 == 1) {
					t.Errorf("decision %+v, %v, after revision %d", d, err, least)
					return
				}
				decisions.Add(1)
			}
		})
	}
	scripts := [][2]string{
		{"set 'R' path 'a' permissions [write]", "set 'R' path 'a' permissions []"},
		{"set 'R' path 'a' permissions [write]", "isolate path 'a/b'"},
		{"deisolate path 'a/b'", "set 'OUTER' includes []"},
		{"set 'OUTER' includes ['R']", "set 'OUTER' path 'a/b' permissions []"},
		{"remove 'OUTER' permissions for path 'a/b'", "set 'R' path 'a' permissions []"},
	}
	for i := range 100 {
		for _, script := range scripts[i%len(scripts)] {
			if err := x.store.UpdateScript(ctx, policy.Root(), script); err != nil {
				t.Error(err)
			}
			returned.Store(x.store.Version())
		}
	}
	for decisions.Load() == 0 && !t.Failed() {
		runtime.Gosched() // on a busy machine
	}
	close(done)
	wg.Wait()
	require.Equal(t, start+200, x.store.Version())
}
