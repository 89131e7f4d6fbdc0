// Package policytest checks what users of the package policy write themselves: backends.
package policytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chansec/chansec/policy"
)

// TestBackend checks a policy.Backend. newStorage makes an empty storage and returns how to open it, which is done more
// than once: what one of them keeps, all of them have. A policy.WholeBackend promises to keep the last state, and neither
// the single changes, nor their times and actors, nor what is no script.
func TestBackend(t *testing.T, newStorage func(t *testing.T) (open func() policy.Backend)) {
	for _, r := range backendRules {
		t.Run(r.name, func(t *testing.T) {
			x := &backendTrial{T: t, open: newStorage(t)}
			_, x.whole = x.open().(policy.WholeBackend)
			if r.of == changesOnly && x.whole || r.of == statesOnly && !x.whole {
				t.Skip("It is no rule for this kind of backend.")
			}
			t.Log(r.rule)
			r.check(x)
		})
	}
}

// The kinds of backends that rules may be for.
const (
	all = iota
	changesOnly
	statesOnly
)

// backendRules are what a Backend promises.
var backendRules = []struct {
	name, rule string
	check      func(*backendTrial)
	of         int
}{
	{"empty", "A new storage holds nothing.", checkEmpty, all},
	{"order", "Changes come back in their order, with all that was in them, also to those who open the storage later.", checkOrder, all},
	{"revisions", "A change whose revision is not the next one is a Conflict, and is not kept.", checkRevisions, all},
	{"since", "Changes yields what came after a revision, and stops when it is told to.", checkSince, changesOnly},
	{"compaction", "After Compact, the whole state comes first for those who are behind it, and nothing changes for the others.", checkCompaction, changesOnly},
	{"wrong compaction", "A whole state of a revision that the backend does not have is a Conflict, and so is a single change.", checkWrongCompaction, changesOnly},
	{"text", "Scripts and actors are kept byte for byte.", checkText, changesOnly},
	{"race", "Of many who append the same revision, one succeeds, and the others get a Conflict.", checkRace, all},
	{"contexts", "With a context that has ended, nothing is kept and nothing is yielded but its error.", checkContexts, all},
	{"replacement", "Replace keeps the state after one change, and Compact another script for the same one; all else is a Conflict.", checkReplacement, statesOnly},
}

type backendTrial struct {
	*testing.T
	open  func() policy.Backend
	whole bool // it is a policy.WholeBackend
}

func change(revision uint64) policy.Change {
	return policy.Change{Revision: revision, At: time.Date(2030, 1, 2, 3, 4, 5, int(revision), time.UTC), Actor: fmt.Sprint("actor ", revision),
		Script: fmt.Sprintf("isolate path 'p%d'", revision)}
}

func whole(revision uint64) policy.Change {
	c := change(revision)
	c.Whole, c.Actor, c.Script = true, "", fmt.Sprintf("isolate path 'all until %d'", revision)
	return c
}

func (x *backendTrial) append(b policy.Backend, revisions ...uint64) {
	x.Helper()
	for _, n := range revisions {
		if err := b.Append(x.Context(), change(n)); err != nil {
			x.Fatalf("Append of revision %d: %v", n, err)
		}
	}
}

// holds checks what is yielded after a revision.
func (x *backendTrial) holds(b policy.Backend, after uint64, want ...policy.Change) {
	x.Helper()
	var got []policy.Change
	for c, err := range b.Changes(x.Context(), after) {
		if err != nil {
			x.Fatalf("Changes after revision %d: %v", after, err)
		}
		got = append(got, c)
	}
	if x.whole {
		x.holdsState(got, after, want)
		return
	}
	if !slices.EqualFunc(got, want, same) {
		x.Fatalf("Changes after revision %d yields\n%v, want\n%v", after, got, want)
	}
}

// holdsState checks that what is yielded is the state that changes from the first one on lead to, of which those after a revision
// are wanted.
func (x *backendTrial) holdsState(got []policy.Change, after uint64, want []policy.Change) {
	x.Helper()
	if len(want) == 0 {
		if len(got) > 0 {
			x.Fatalf("Changes after revision %d yields %v, want nothing", after, got)
		}
		return
	}
	last := want[len(want)-1]
	script := last.Script
	if !last.Whole {
		script = ""
		for n := range last.Revision {
			script += change(n+1).Script + "\n"
		}
	}
	if len(got) != 1 || !got[0].Whole || got[0].Revision != last.Revision || x.canonical(got[0].Script) != x.canonical(script) {
		x.Fatalf("Changes after revision %d yields\n%v, want the whole state at revision %d, which is\n%s", after, got, last.Revision, script)
	}
}

// canonical is the script of what a script makes.
func (x *backendTrial) canonical(script string) string {
	x.Helper()
	store, err := policy.New(policy.DiffusionConfig())
	if err == nil {
		err = store.Restore(x.Context(), policy.Root(), script)
	}
	if err != nil {
		x.Fatalf("%q is no script: %v", script, err)
	}
	return store.Snapshot().Script()
}

func same(x, y policy.Change) bool {
	return x.Revision == y.Revision && x.Whole == y.Whole && x.At.Equal(y.At) && x.Actor == y.Actor && x.Script == y.Script
}

func (x *backendTrial) conflict(what string, err error) {
	x.Helper()
	if !errors.Is(err, policy.Conflict) {
		x.Fatalf("%s: %v, want a Conflict", what, err)
	}
}

func checkEmpty(x *backendTrial) {
	x.holds(x.open(), 0)
	x.holds(x.open(), 7)
}

func checkOrder(x *backendTrial) {
	b := x.open()
	x.append(b, 1, 2, 3)
	x.holds(b, 0, change(1), change(2), change(3))
	again := x.open()
	x.holds(again, 0, change(1), change(2), change(3))
	x.append(again, 4)
	x.holds(b, 3, change(4))
	x.append(b, 5)
	x.holds(again, 3, change(4), change(5))
}

func checkRevisions(x *backendTrial) {
	b := x.open()
	for _, n := range []uint64{0, 2, 1 << 63} {
		x.conflict(fmt.Sprint("first revision ", n), b.Append(x.Context(), change(n)))
	}
	x.append(b, 1, 2)
	for _, n := range []uint64{0, 1, 2, 4} {
		x.conflict(fmt.Sprint("revision ", n, " after 2"), b.Append(x.Context(), change(n)))
	}
	x.holds(b, 0, change(1), change(2))
	x.append(b, 3)
}

func checkSince(x *backendTrial) {
	b := x.open()
	x.append(b, 1, 2, 3)
	x.holds(b, 1, change(2), change(3))
	x.holds(b, 3)
	x.holds(b, 100)
	for c, err := range b.Changes(x.Context(), 0) {
		if err != nil || c.Revision != 1 {
			x.Fatalf("the first is %v, %v", c, err)
		}
		break
	}
}

func checkCompaction(x *backendTrial) {
	b := x.open()
	x.append(b, 1, 2, 3, 4)
	for round, last := range []uint64{4, 5} {
		if err := b.Compact(x.Context(), whole(3+uint64(round))); err != nil {
			x.Fatalf("Compact: %v", err)
		}
		for _, b := range []policy.Backend{b, x.open()} {
			rest := []policy.Change{}
			for n := 4 + uint64(round); n <= last; n++ {
				rest = append(rest, change(n))
			}
			x.holds(b, 0, append([]policy.Change{whole(3 + uint64(round))}, rest...)...)
			x.holds(b, 2, append([]policy.Change{whole(3 + uint64(round))}, rest...)...)
			x.holds(b, 3+uint64(round), rest...)
			x.holds(b, last)
		}
		x.conflict("a revision that is there", b.Append(x.Context(), change(last)))
		x.append(x.open(), last+1)
	}
}

func checkWrongCompaction(x *backendTrial) {
	b := x.open()
	x.conflict("an empty storage", b.Compact(x.Context(), whole(1)))
	x.conflict("revision 0", b.Compact(x.Context(), whole(0)))
	x.append(b, 1, 2)
	x.conflict("a revision to come", b.Compact(x.Context(), whole(3)))
	x.conflict("a single change", b.Compact(x.Context(), change(2)))
	x.conflict("a whole state to append", b.Append(x.Context(), whole(3)))
	if err := b.Compact(x.Context(), whole(2)); err != nil {
		x.Fatalf("Compact: %v", err)
	}
	x.conflict("a revision that is gone", b.Compact(x.Context(), whole(1)))
	x.holds(b, 0, whole(2))
}

func checkText(x *backendTrial) {
	b := x.open()
	var want []policy.Change
	for i, text := range []string{"", "\n", "# a comment", "isolate path 'ü\"\\\\'\r\n\n", "set 'it\\'s' permissions []\n# sha256 0000\n", "x"} {
		c := change(uint64(i + 1))
		c.Script, c.Actor = text, text
		if err := b.Append(x.Context(), c); err != nil {
			x.Fatalf("Append of %q: %v", text, err)
		}
		want = append(want, c)
	}
	x.holds(b, 0, want...)
	x.holds(x.open(), 0, want...)
}

func checkRace(x *backendTrial) {
	const writers, revisions = 8, 10
	all := make([]policy.Backend, writers)
	for i := range all {
		all[i] = x.open()
	}
	for n := uint64(1); n <= revisions; n++ {
		var wg sync.WaitGroup
		errs := make([]error, writers)
		for i, b := range all {
			wg.Go(func() { errs[i] = b.Append(context.Background(), change(n)) })
		}
		wg.Wait()
		kept := 0
		for _, err := range errs {
			if err == nil {
				kept++
			} else {
				x.conflict("a loser", err)
			}
		}
		if kept != 1 {
			x.Fatalf("%d of %d changes with revision %d were acknowledged", kept, writers, n)
		}
	}
	var want []policy.Change
	for n := uint64(1); n <= revisions; n++ {
		want = append(want, change(n))
	}
	x.holds(all[0], 0, want...)
}

func checkContexts(x *backendTrial) {
	b := x.open()
	x.append(b, 1)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Append(over, change(2)); !errors.Is(err, context.Canceled) {
		x.Fatalf("Append: %v", err)
	}
	if err := b.Compact(over, whole(1)); !errors.Is(err, context.Canceled) {
		x.Fatalf("Compact: %v", err)
	}
	for c, err := range b.Changes(over, 0) {
		if !errors.Is(err, context.Canceled) {
			x.Fatalf("Changes: %v, %v", c, err)
		}
	}
	x.holds(b, 0, change(1))
}

func checkReplacement(x *backendTrial) {
	b := x.open().(policy.WholeBackend)
	x.append(b, 1)
	if err := b.Replace(x.Context(), whole(2)); err != nil {
		x.Fatalf("Replace: %v", err)
	}
	x.holds(b, 0, whole(2))
	other := x.open().(policy.WholeBackend)
	x.holds(other, 1, whole(2))
	x.holds(other, 2)
	for _, n := range []uint64{0, 1, 2, 4} {
		x.conflict(fmt.Sprint("replacement ", n, " after 2"), b.Replace(x.Context(), whole(n)))
	}
	for _, n := range []uint64{0, 1, 3} {
		x.conflict(fmt.Sprint("compaction of ", n, " at 2"), b.Compact(x.Context(), whole(n)))
	}
	x.conflict("a single change", b.Replace(x.Context(), change(3)))
	x.conflict("a single change to compact", b.Compact(x.Context(), change(2)))
	x.conflict("a whole state to append", b.Append(x.Context(), whole(3)))
	if err := other.Replace(x.Context(), whole(3)); err != nil {
		x.Fatalf("Replace: %v", err)
	}
	x.conflict("what another did already", b.Replace(x.Context(), whole(3)))
	x.holds(b, 2, whole(3))
	c := whole(3)
	c.Script = "# the same\n" + c.Script
	if err := b.Compact(x.Context(), c); err != nil {
		x.Fatalf("Compact: %v", err)
	}
	x.holds(x.open(), 0, whole(3))
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Replace(over, whole(4)); !errors.Is(err, context.Canceled) {
		x.Fatalf("Replace: %v", err)
	}
	x.holds(b, 0, whole(3))
}
