package policy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var errCrash = errors.New("crash")

// kept is a kind of backend in a folder. fault is called before every step that a crash may come between.
type kept struct {
	name string
	in   func(t *testing.T, dir string, fault func(string) error) Backend
}

var kinds = []kept{
	{"changes in a folder", func(t *testing.T, dir string, fault func(string) error) Backend {
		b, err := NewFileBackend(dir)
		require.NoError(t, err)
		b.Fault = fault
		return b
	}},
	{"a script in a file", func(t *testing.T, dir string, fault func(string) error) Backend {
		b := NewScriptFile(filepath.Join(dir, "policy.script"), "isolate path 'first'")
		b.fault = fault
		return b
	}},
}

// crashing is a backend whose n-th step from now on, and every one after it, does not happen.
func (k kept) crashing(t *testing.T, dir string, n int) (Backend, *int) {
	steps := 0
	return k.in(t, dir, func(string) error {
		if steps++; steps >= n {
			return errCrash
		}
		return nil
	}), &steps
}

func (k kept) reopened(t *testing.T, dir string) *Store {
	s, err := Open(t.Context(), DiffusionConfig(), k.in(t, dir, nil))
	require.NoError(t, err)
	return s
}

// After a crash at any step there is the old state or the new one, and the new one if it was acknowledged; and the store
// goes on.
func TestCrashesLeaveTheOldOrTheNewState(t *testing.T) {
	for name, do := range map[string]func(context.Context, *Store) error{
		"a change": func(ctx context.Context, s *Store) error {
			return s.Update(ctx, Root(), func(tx *Tx) error {
				_ = tx.DeisolatePath("old")
				return tx.IsolatePath("new")
			})
		},
		"a compaction": func(ctx context.Context, s *Store) error { return s.Compact(ctx) },
	} {
		for _, kind := range kinds {
			t.Run(name+" of "+kind.name, func(t *testing.T) {
				for n, done := 1, false; !done; n++ {
					dir := t.TempDir()
					first := kind.reopened(t, dir)
					for _, path := range []string{"one", "two", "old"} {
						require.NoError(t, first.Update(t.Context(), Root(), func(tx *Tx) error { return tx.IsolatePath(path) }))
					}
					before := first.Snapshot().Script()
					b, steps := kind.crashing(t, dir, n)
					s, err := Open(t.Context(), DiffusionConfig(), b)
					require.NoError(t, err)
					err = do(t.Context(), s)
					done = *steps < n
					require.Equal(t, done, err == nil, "step %d", n)

					after := kind.reopened(t, dir)
					got := after.Snapshot().Script()
					want := strings.Replace(before, "isolate path 'old'", "isolate path 'new'", 1)
					if name == "a compaction" {
						want = before
					}
					switch {
					case err == nil:
						require.Equal(t, sortedLines(want), sortedLines(got))
					case got != before:
						require.Equal(t, sortedLines(want), sortedLines(got), "step %d", n)
					}
					require.NoError(t, after.Update(t.Context(), Root(), func(tx *Tx) error { return tx.IsolatePath("more") }))
					require.NoError(t, after.Compact(t.Context()))
					require.Equal(t, after.Snapshot().Script(), kind.reopened(t, dir).Snapshot().Script())
					require.NoError(t, s.Refresh(t.Context()), "also for who had the crash")
					require.Equal(t, after.Snapshot().Script(), s.Snapshot().Script())
				}
			})
		}
	}
}

// A crash while a script is written for the first time leaves nothing, or the file.
func TestCrashesAtTheFirstOpening(t *testing.T) {
	for n, done := 1, false; !done; n++ {
		dir := t.TempDir()
		b, steps := kinds[1].crashing(t, dir, n)
		_, err := Open(t.Context(), DiffusionConfig(), b)
		done = *steps < n
		require.Equal(t, done, err == nil, "step %d", n)
		require.Contains(t, kinds[1].reopened(t, dir).Snapshot().Script(), "isolate path 'first'")
	}
}

func sortedLines(s string) map[string]bool {
	lines := map[string]bool{}
	for line := range strings.SplitSeq(s, "\n") {
		lines[line] = true
	}
	return lines
}

// killedEnv makes this test binary a process that changes a store until it is killed.
const killedEnv = "CHANSEC_POLICY_WRITES_TO"

// TestKilledWritersLoseNothing kills a writing process again and again. CHANSEC_POLICY_KILLS sets how often.
func TestKilledWritersLoseNothing(t *testing.T) {
	if dir := os.Getenv(killedEnv); dir != "" {
		for _, kind := range kinds {
			if filepath.Base(dir) == kind.name {
				writeUntilKilled(t, kind, dir)
			}
		}
		return
	}
	kills := 5
	if s := os.Getenv("CHANSEC_POLICY_KILLS"); s != "" {
		var err error
		kills, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), kind.name)
			require.NoError(t, os.Mkdir(dir, 0o700))
			for round := range kills {
				cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWritersLoseNothing$")
				cmd.Env = append(os.Environ(), killedEnv+"="+dir)
				out, err := cmd.StdoutPipe()
				require.NoError(t, err)
				require.NoError(t, cmd.Start())
				lines := bufio.NewScanner(out)
				last := uint64(0)
				for n := 0; n < 3+round%20 && lines.Scan(); n++ {
					last = parseAcknowledged(t, lines.Text())
				}
				require.NoError(t, cmd.Process.Kill())
				for lines.Scan() { // what it acknowledged before it died
					if strings.HasPrefix(lines.Text(), "acknowledged ") && strings.HasSuffix(lines.Text(), ".") {
						last = parseAcknowledged(t, lines.Text())
					}
				}
				_, _ = io.Copy(io.Discard, out)
				_ = cmd.Wait() // killed
				require.NotZero(t, last)
				s := kind.reopened(t, dir)
				require.GreaterOrEqual(t, s.Version(), last, "an acknowledged change is lost")
				for n := s.Version(); n > 0; n-- {
					node := s.current.Load().tree.find(Slash, fmt.Sprint("change/", n))
					first := n == 1 && kind.name == "a script in a file"
					require.True(t, first || node != nil && node.isolated, "change %d of %d is there", n, s.Version())
				}
			}
			s := kind.reopened(t, dir)
			require.NoError(t, s.Update(t.Context(), Root(), func(tx *Tx) error { return tx.IsolatePath("last") }))
			require.NoError(t, s.Compact(t.Context()))
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, entries, 1, "drafts that were left are removed")
		})
	}
}

func parseAcknowledged(t *testing.T, line string) uint64 {
	var n uint64
	_, err := fmt.Sscanf(line, "acknowledged %d.", &n)
	require.NoError(t, err, line)
	return n
}

func writeUntilKilled(t *testing.T, kind kept, dir string) {
	s := kind.reopened(t, dir)
	for began := time.Now(); time.Since(began) < time.Minute; {
		n := s.Version() + 1
		require.NoError(t, s.Update(context.Background(), Root(), func(tx *Tx) error { return tx.IsolatePath(fmt.Sprint("change/", n)) }))
		fmt.Printf("acknowledged %d.\n", n)
		if n%25 == 0 {
			require.NoError(t, s.Compact(context.Background()))
		}
	}
}

// What was compacted while somebody reads it, is in the whole state that took its place.
func TestChangesThatAreCompactedWhileTheyAreRead(t *testing.T) {
	for _, compactAt := range []uint64{1, 2, 3} {
		dir := t.TempDir()
		s := kinds[0].reopened(t, dir)
		for _, path := range []string{"one", "two", "three"} {
			require.NoError(t, s.Update(t.Context(), Root(), func(tx *Tx) error { return tx.IsolatePath(path) }))
		}
		b := kinds[0].in(t, dir, nil)
		var got []uint64
		for c, err := range b.Changes(t.Context(), 0) {
			require.NoError(t, err)
			if got = append(got, c.Revision); c.Revision == compactAt {
				require.NoError(t, s.Compact(t.Context()))
			}
		}
		require.Equal(t, map[uint64][]uint64{1: {1, 3}, 2: {1, 2, 3}, 3: {1, 2, 3}}[compactAt], got)
	}
}

// Between looking for the next revision and taking its name, another process may take it and compact it away.
func TestAChangeIsNotLostToACompactionByAnother(t *testing.T) {
	dir := t.TempDir()
	other := kinds[0].reopened(t, dir)
	var busy error
	s, err := Open(t.Context(), DiffusionConfig(), kinds[0].in(t, dir, func(step string) error {
		if step == "link" {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if busy = other.Update(ctx, Root(), func(tx *Tx) error { return tx.IsolatePath("other") }); busy == nil {
				busy = other.Compact(ctx)
			}
		}
		return nil
	}))
	require.NoError(t, err)
	require.NoError(t, s.Update(t.Context(), Root(), func(tx *Tx) error { return tx.IsolatePath("mine") }))
	require.ErrorIs(t, busy, context.DeadlineExceeded, "the other waits")
	require.Equal(t, s.Snapshot().Script(), kinds[0].reopened(t, dir).Snapshot().Script())
}

// A kill while a change is written leaves a draft. The next compaction that makes up for the change removes it; that of a
// change which is yet to come may be somebody's who is writing it.
func TestACompactionRemovesTheDraftsThatKillsLeft(t *testing.T) {
	dir := t.TempDir()
	s := kinds[0].reopened(t, dir)
	for _, path := range []string{"one", "two", "three"} {
		require.NoError(t, s.Update(t.Context(), Root(), func(tx *Tx) error { return tx.IsolatePath(path) }))
	}
	draft := func(c Change) string { return "." + fileName(c) + ".4711.draft" }
	left := []string{draft(Change{Revision: 1}), draft(Change{Revision: 3}), draft(Change{Revision: 2, Whole: true}), draft(Change{Revision: 3, Whole: true})}
	kept := []string{draft(Change{Revision: 0}), draft(Change{Revision: 4}), draft(Change{Revision: 4, Whole: true}), ".another.change.4711.draft", "notes.draft"}
	for _, name := range append(left, kept...) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("# policy rev"), 0o600))
	}
	require.NoError(t, s.Compact(t.Context()))
	var names []string
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.ElementsMatch(t, append(kept, fileName(Change{Revision: 3, Whole: true})), names)
	require.Equal(t, s.Snapshot().Script(), kinds[0].reopened(t, dir).Snapshot().Script())
	require.NoError(t, s.Update(t.Context(), Root(), func(tx *Tx) error { return tx.IsolatePath("four") }))
}
