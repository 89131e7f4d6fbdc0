package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

var testKey = []byte("a key of thirty-two bytes or more")

func openTest(t testing.TB, c FileConfig) *File {
	t.Helper()
	f, err := OpenFile(c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func login(who string) Record {
	return Record{Time: time.Now(), Kind: KindSession, Operation: OpLogin, Outcome: chansec.Allowed, Principal: who}
}

// principals returns who is in a trail, without what it says about itself.
func principals(t testing.TB, dir string) (all []string) {
	t.Helper()
	for r, err := range Search(t.Context(), dir, Filter{}) {
		require.NoError(t, err)
		if r.Kind != KindTrail {
			all = append(all, r.Principal)
		}
	}
	return all
}

// about returns what a trail says about itself.
func aboutItself(t testing.TB, dir string) (all []Record) {
	t.Helper()
	for r, err := range Search(t.Context(), dir, Filter{Kind: KindTrail}) {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

func requireVerified(t testing.TB, dir string, key []byte, anchor *Head) Verified {
	t.Helper()
	v, err := Verify(t.Context(), dir, VerifyConfig{Key: key, Anchor: anchor})
	require.NoError(t, err)
	return v
}

func TestOptionsOfAFileThatMakeNoSense(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]FileConfig{
		"no folder":                        {},
		"a key that is short":              {Dir: dir, Key: make([]byte, 31)},
		"files of less than a page":        {Dir: dir, MaxFileBytes: 4095},
		"files of a negative size":         {Dir: dir, MaxFileBytes: -1},
		"room for one file only":           {Dir: dir, MaxFileBytes: 1 << 20, MaxTotalBytes: 1<<21 - 1},
		"a sync before it was written":     {Dir: dir, SyncEvery: -1},
		"a file that ends before it began": {Dir: dir, RotateEvery: -1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := OpenFile(c)
			require.ErrorIs(t, err, chansec.ErrInvalid)
		})
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestFilesAreTheirOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "trail")
	f := openTest(t, FileConfig{Dir: dir})
	require.NoError(t, f.Record(t.Context(), login("alice")))
	for name, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, fileName(1)): 0o600, filepath.Join(dir, lockName): 0o600} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}
}

func TestATrailGoesOnWhereItEnded(t *testing.T) {
	for name, c := range map[string]FileConfig{"plain": {}, "with hashes": {Chain: true}, "with a key": {Key: testKey}, "lazy": {Chain: true, SyncEvery: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			c.Dir = t.TempDir()
			var want []string
			for i := range 5 {
				f := openTest(t, c)
				for j := range i {
					want = append(want, fmt.Sprint(i, j))
					require.NoError(t, f.Record(t.Context(), login(fmt.Sprint(i, j))))
				}
				require.NoError(t, f.Close())
				require.NoError(t, f.Close(), "twice")
				require.ErrorIs(t, f.Record(t.Context(), login("late")), chansec.ErrClosed)
				require.Equal(t, uint64(len(want)), f.Head().Seq)
			}
			require.Equal(t, want, principals(t, c.Dir))
			files, err := listFiles(os.DirFS(c.Dir))
			require.NoError(t, err)
			require.Len(t, files, 1)
			if c.Chain || c.Key != nil {
				v := requireVerified(t, c.Dir, c.Key, nil)
				require.Equal(t, uint64(len(want)), v.Records)
			}
		})
	}
}

func TestAFolderHasOneWriter(t *testing.T) {
	c := FileConfig{Dir: t.TempDir()}
	f := openTest(t, c)
	_, err := OpenFile(c)
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, f.Close())
	openTest(t, c)
}

func TestAFolderHasOneKindOfChain(t *testing.T) {
	kinds := map[string]FileConfig{"plain": {}, "with hashes": {Chain: true}, "with a key": {Key: testKey}}
	for was, first := range kinds {
		for is, second := range kinds {
			first.Dir = t.TempDir()
			second.Dir = first.Dir
			require.NoError(t, openTest(t, first).Close())
			f, err := OpenFile(second)
			if was == is {
				require.NoError(t, err)
				require.NoError(t, f.Close())
				continue
			}
			require.ErrorIs(t, err, chansec.ErrInvalid, "%s, and then %s", was, is)
		}
	}
	c := FileConfig{Dir: t.TempDir(), Key: testKey}
	require.NoError(t, openTest(t, c).Close())
	c.Key = append([]byte("another"), testKey...)
	_, err := OpenFile(c)
	require.ErrorIs(t, err, ErrDamaged)
	require.NotContains(t, err.Error(), string(testKey))
}

// Whatever a crash leaves of the last record is cut off, and kept in the record that says so.
func TestATornEndIsRepaired(t *testing.T) {
	for name, c := range map[string]FileConfig{"plain": {}, "with hashes": {Chain: true}} {
		t.Run(name, func(t *testing.T) {
			model := t.TempDir()
			c.Dir = model
			f := openTest(t, c)
			for _, who := range []string{"alice", "bob"} {
				require.NoError(t, f.Record(t.Context(), login(who)))
			}
			require.NoError(t, f.Close())
			text, err := os.ReadFile(filepath.Join(model, fileName(1)))
			require.NoError(t, err)
			start := strings.LastIndex(strings.TrimSuffix(string(text), "\n"), "\n") + 1
			for _, tail := range []string{string(text[start : len(text)-1]), string(text[start : start+1]), string(text[start : start+40]), "\x00", strings.Repeat("\x00", 9000), "\xff{"} {
				c.Dir = t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(c.Dir, fileName(1)), append(text[:start:start], tail...), 0o600))
				f := openTest(t, c)
				require.NoError(t, f.Record(t.Context(), login("carol")))
				require.NoError(t, f.Close())
				require.Equal(t, []string{"alice", "carol"}, principals(t, c.Dir))
				said := aboutItself(t, c.Dir)
				require.Len(t, said, 1)
				require.Equal(t, OpRepair, said[0].Operation)
				require.Contains(t, said[0].Reason, fmt.Sprintf("%d bytes", len(tail)))
				require.Equal(t, strings.ToValidUTF8(tail, "\uFFFD"), said[0].Detail)
				if c.Chain {
					requireVerified(t, c.Dir, nil, nil)
				}
			}
		})
	}
}

func TestAFileThatWasChangedIsNotGoneOnWith(t *testing.T) {
	c := FileConfig{Dir: t.TempDir(), Chain: true}
	f := openTest(t, c)
	for i := range 3 {
		require.NoError(t, f.Record(t.Context(), login(fmt.Sprint("user ", i))))
	}
	require.NoError(t, f.Close())
	name := filepath.Join(c.Dir, fileName(1))
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	for what, changed := range map[string]string{
		"a name":          strings.Replace(string(text), "user 1", "user 9", 1),
		"no header":       strings.Join(lines[1:], ""),
		"a record less":   lines[0] + lines[1] + lines[3],
		"two that moved":  lines[0] + lines[2] + lines[1] + lines[3],
		"an empty line":   lines[0] + "\n" + lines[1],
		"nothing":         "",
		"a foreign line":  string(text) + "{}\n",
		"an endless line": string(text) + strings.Repeat("x", maxLineBytes+2) + "\n",
	} {
		t.Run(what, func(t *testing.T) {
			require.NoError(t, os.WriteFile(name, []byte(changed), 0o600))
			_, err := OpenFile(c)
			require.ErrorIs(t, err, ErrDamaged)
			require.NotContains(t, err.Error(), "user")
			after, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, changed, string(after), "it is left as it was found")
		})
	}
	require.NoError(t, os.WriteFile(name, text, 0o600))
	openTest(t, c)
}

func TestFilesRotateBySizeAndTheOldestGo(t *testing.T) {
	c := FileConfig{Dir: t.TempDir(), Key: testKey, MaxFileBytes: 4096, MaxTotalBytes: 16384, SyncEvery: time.Hour}
	f := openTest(t, c)
	anchors := []Head{f.Head()}
	for i := range 500 {
		require.NoError(t, f.Record(t.Context(), login(fmt.Sprint(i))))
		if i%50 == 0 {
			require.NoError(t, f.Flush(t.Context()))
			anchors = append(anchors, f.Head())
		}
		files, err := listFiles(os.DirFS(c.Dir))
		require.NoError(t, err)
		total := int64(0)
		for _, file := range files {
			require.LessOrEqual(t, file.size, c.MaxFileBytes)
			total += file.size
		}
		require.LessOrEqual(t, total, c.MaxTotalBytes)
	}
	require.NoError(t, f.Close())
	v := requireVerified(t, c.Dir, testKey, new(f.Head()))
	require.Greater(t, v.First, uint64(300), "old files went")
	require.Greater(t, v.Files, 2)
	require.Equal(t, f.Head(), v.Head)
	said := aboutItself(t, c.Dir)
	require.Equal(t, OpPrune, said[len(said)-1].Operation)
	require.Equal(t, v.First, said[len(said)-1].Version)
	names := principals(t, c.Dir)
	require.Equal(t, "499", names[len(names)-1])
	for i := range names {
		require.Equal(t, fmt.Sprint(500-len(names)+i), names[i], "nothing is missing after the first one")
	}

	for _, a := range anchors {
		_, err := Verify(t.Context(), c.Dir, VerifyConfig{Key: testKey, Anchor: &a})
		require.Equal(t, a.Seq >= v.First, err == nil, "record %d: what is gone cannot be compared", a.Seq)
	}
	files, err := listFiles(os.DirFS(c.Dir))
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(c.Dir, files[0].name)))
	_, err = Verify(t.Context(), c.Dir, VerifyConfig{Key: testKey})
	requireFault(t, err, FaultMissing)
}

func requireFault(t testing.TB, err error, want ...Fault) {
	t.Helper()
	require.ErrorIs(t, err, ErrDamaged)
	var damaged *DamagedError
	require.ErrorAs(t, err, &damaged)
	var got []Fault
	for _, p := range damaged.Problems {
		got = append(got, p.Fault)
	}
	require.Equal(t, want, got, err)
}

func TestFilesRotateByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := FileConfig{Dir: t.TempDir(), Chain: true, RotateEvery: 24 * time.Hour}
		f := openTest(t, c)
		for range 4 {
			require.NoError(t, f.Record(t.Context(), login("early")))
			require.NoError(t, f.Record(t.Context(), login("late")))
			pass(24 * time.Hour)
		}
		pass(1000 * time.Hour)
		require.NoError(t, f.Close())
		f = openTest(t, c)
		require.NoError(t, f.Record(t.Context(), login("after it was opened again")))
		require.NoError(t, f.Close())
		v := requireVerified(t, c.Dir, nil, nil)
		require.Equal(t, 5, v.Files, "a file without records does not rotate")
		require.Equal(t, uint64(9), v.Records)
	})
}

// pass lets time go by, in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestRotationUnderManyWritersLosesNothing(t *testing.T) {
	for name, c := range map[string]FileConfig{"that sync at once": {Chain: true}, "that sync later": {Chain: true, SyncEvery: time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			c.Dir, c.MaxFileBytes = t.TempDir(), 8192
			f := openTest(t, c)
			const writers, each = 16, 60
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for i := range each {
						if err := f.Record(t.Context(), login(fmt.Sprint(w, "/", i))); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			require.NoError(t, f.Close())
			v := requireVerified(t, c.Dir, nil, new(f.Head()))
			require.Equal(t, uint64(writers*each), v.Records)
			require.Greater(t, v.Files, 5)
			next := map[string]int{}
			for _, who := range principals(t, c.Dir) {
				w, i, _ := strings.Cut(who, "/")
				require.Equal(t, fmt.Sprint(next[w]), i, "each writer's records are in their order")
				next[w]++
			}
		})
	}
}

// Who records at the same time shares a sync.
func TestWritersShareSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		syncs := 0
		f, err := openTrail(FileConfig{Dir: t.TempDir()}, func(step string, do func() error) error {
			if step == "sync" {
				syncs++
				pass(time.Second) // a slow disk
			}
			return do()
		})
		require.NoError(t, err)
		var all sync.WaitGroup
		began := time.Now()
		for i := range 50 {
			all.Go(func() {
				if err := f.Record(t.Context(), login(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		require.LessOrEqual(t, syncs, 3)
		require.LessOrEqual(t, time.Since(began), 3*time.Second)
		require.NoError(t, f.Close())
		require.Len(t, principals(t, f.dir), 50)
	})
}

func TestAContextEndsTheWaitForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := openTrail(FileConfig{Dir: t.TempDir()}, func(step string, do func() error) error {
			if step == "sync" {
				pass(time.Hour)
			}
			return do()
		})
		require.NoError(t, err)
		go func() { _ = f.Record(t.Context(), login("first")) }()
		synctest.Wait()
		ctx, cancel := contextOf(t, time.Minute)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, f.Record(ctx, login("second")), ctx.Err())
		require.Equal(t, time.Minute, time.Since(began))
		require.ErrorIs(t, f.Record(ctx, login("third")), ctx.Err())
		require.NoError(t, f.Close())
		require.Equal(t, []string{"first", "second"}, principals(t, f.dir), "what began to wait may be recorded, and what did not is not")
	})
}

func TestADiskThatHangsDoesNotFillTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := openTrail(FileConfig{Dir: t.TempDir(), SyncEvery: 24 * time.Hour}, func(step string, do func() error) error {
			if step == "write" {
				pass(time.Hour)
			}
			return do()
		})
		require.NoError(t, err)
		go func() { _ = f.Record(t.Context(), login("first")) }()
		synctest.Wait()
		batch := make([]Record, maxPending)
		for i := range batch {
			batch[i] = login("in a batch")
		}
		ctx, cancel := contextOf(t, time.Second)
		defer cancel()
		require.ErrorIs(t, f.RecordAll(ctx, batch), context.DeadlineExceeded)
		require.ErrorIs(t, f.Record(t.Context(), login("too much")), ErrDropped)
		pass(time.Hour)
		require.NoError(t, f.Record(t.Context(), login("last")))
		require.NoError(t, f.Close())
		all := principals(t, f.dir)
		require.Len(t, all, maxPending+2)
		require.Equal(t, "last", all[maxPending+1])
	})
}

var errDisk = fmt.Errorf("write: %w", syscall.ENOSPC)

// halfWrite does a write, and then takes the end of it back: what a disk that is full may have taken.
func halfWrite(t *testing.T, dir string, do func() error) {
	files, err := listFiles(os.DirFS(dir))
	require.NoError(t, err)
	before := files[len(files)-1]
	require.NoError(t, do())
	name := filepath.Join(dir, before.name)
	after, err := os.Stat(name)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(name, (before.size+after.Size())/2))
}

// A disk that fails at any step leaves a trail that can be verified and gone on with, in which everything is that Record
// took, and nothing twice.
func TestDisksThatFail(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	const records = 18
	for _, lazy := range []bool{false, true} {
		for _, forGood := range []bool{false, true} {
			for n := 1; ; n++ {
				c := FileConfig{Dir: t.TempDir(), Chain: true, MaxFileBytes: 4096, MaxTotalBytes: 3 * 4096}
				if lazy {
					c.SyncEvery = time.Hour
				}
				steps, failed := 0, false
				f, err := openTrail(c, func(step string, do func() error) error {
					steps++
					if steps == n || forGood && steps > n {
						failed = true
						if step == "write" {
							halfWrite(t, c.Dir, do)
						}
						return errDisk
					}
					if strings.HasPrefix(step, "sync") {
						return nil // nobody pulls the plug
					}
					return do()
				})
				took := map[string]bool{}
				closed := true
				if err == nil {
					for i := range records {
						if lazy && i%5 == 4 {
							_ = f.Flush(t.Context())
						}
						r := login(fmt.Sprint("user ", i))
						r.Reason = strings.Repeat("because ", 120)
						err := f.Record(t.Context(), r)
						if err != nil {
							require.ErrorIs(t, err, errDisk)
						}
						took[r.Principal] = err == nil
					}
					if !forGood && failed {
						require.NoError(t, f.Record(t.Context(), login("after all")), "step %d", n)
					}
					did := failed
					err := f.Close()
					require.False(t, err != nil && did && !forGood, err)
					closed = err == nil
				} else {
					require.ErrorIs(t, err, errDisk)
				}
				about := fmt.Sprintf("lazy %v, for good %v, step %d", lazy, forGood, n)
				if closed && err == nil {
					requireVerified(t, c.Dir, nil, new(f.Head()))
				}
				again := openTest(t, FileConfig{Dir: c.Dir, Chain: true})
				require.NoError(t, again.Record(t.Context(), login("the end")))
				require.NoError(t, again.Close())
				requireVerified(t, c.Dir, nil, new(again.Head()))

				found := map[string]int{}
				first := ""
				for _, who := range principals(t, c.Dir) {
					if first == "" {
						first = who
					}
					found[who]++
					require.Equal(t, 1, found[who], "%s: %s", about, who)
				}
				lost := uint64(0)
				for _, r := range aboutItself(t, c.Dir) {
					if r.Operation == OpDrop {
						lost += r.Version
					}
				}
				missing, begun := uint64(0), false
				for i := range records {
					who := fmt.Sprint("user ", i)
					if !forGood && !took[who] {
						require.Zero(t, found[who], "%s: %s is there although Record failed", about, who)
					}
					begun = begun || who == first || found["user 0"] > 0
					if begun && took[who] && found[who] == 0 {
						missing++
					}
				}
				if !lazy {
					require.Zero(t, missing, about)
				} else if !forGood || closed {
					require.LessOrEqual(t, missing, lost, "%s: what a sync lost is counted", about)
				}
				if !failed {
					require.Greater(t, n, records)
					break
				}
			}
		}
	}
}

// What is said in TestDisksThatFail, of a channel.
func TestARequiredFileStopsWhatItCannotRecord(t *testing.T) {
	full := true
	f, err := openTrail(FileConfig{Dir: t.TempDir(), Chain: true}, func(step string, do func() error) error {
		if full && step == "write" {
			return errDisk
		}
		return do()
	})
	require.NoError(t, err)
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("w"))
	require.NoError(t, err)
	quiet := chansec.WithLogger(slog.New(slog.DiscardHandler))
	required, err := chansec.NewBroadcast[int]("required", chansec.WithSecurity(acl), chansec.WithRequiredAudit(Decisions(f)), quiet)
	require.NoError(t, err)
	defer required.Close()
	counted := NewOptional(f)
	optional, err := chansec.NewBroadcast[int]("optional", chansec.WithSecurity(acl), chansec.WithAudit(Decisions(f)), chansec.WithRequiredAudit(Decisions(counted)), quiet)
	require.NoError(t, err)
	defer optional.Close()
	require.NoError(t, required.Start(t.Context()))
	require.NoError(t, optional.Start(t.Context()))

	_, err = required.As("w").Write(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrAudit)
	require.ErrorIs(t, err, chansec.ErrUndecided)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotErrorIs(t, err, chansec.ErrPermission)
	_, err = required.As("x").Write(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrPermission, "a denial stays one")
	_, err = optional.As("w").Write(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, uint64(1), counted.Failed())

	full = false
	info, err := required.As("w").Write(t.Context(), 2)
	require.NoError(t, err)
	require.NotEmpty(t, info.ID)
	require.NoError(t, f.Close())
	v := requireVerified(t, f.dir, nil, nil)
	require.Equal(t, uint64(1), v.Records, "nothing is left of what failed")
}

func TestBatchesWithOneWrongRecordAreRefused(t *testing.T) {
	f := openTest(t, FileConfig{Dir: t.TempDir()})
	require.ErrorIs(t, f.RecordAll(t.Context(), []Record{login("a"), {}}), chansec.ErrInvalid)
	require.NoError(t, f.RecordAll(t.Context(), nil))
	require.Empty(t, principals(t, f.dir))
}

// The longest record there can be is a line that can be read.
func TestTheLongestRecordFitsALine(t *testing.T) {
	bad := func(n int) string { return strings.Repeat("\x00", n) }
	r := Record{Time: time.Now(), Kind: KindSession, Operation: chansec.Operation(bad(2000)), Principal: bad(2000), Proof: chansec.Proof(bad(2000)),
		TokenID: bad(2000), Session: bad(2000), Remote: bad(2000), Target: bad(2000), Reason: bad(2000), Rule: bad(2000), Detail: bad(1 << 20), Version: 1 << 63, Latency: 1 << 62}
	for range 100 {
		r.Votes = append(r.Votes, Vote{Handler: bad(2000), Answer: bad(2000), Reason: bad(2000), Took: 1 << 62})
	}
	f := openTest(t, FileConfig{Dir: t.TempDir(), Chain: true, MaxFileBytes: 4096})
	require.NoError(t, f.Record(t.Context(), r))
	require.NoError(t, f.Record(t.Context(), r))
	require.NoError(t, f.Close())
	v := requireVerified(t, f.dir, nil, nil)
	require.Equal(t, uint64(2), v.Records)
	require.Equal(t, 2, v.Files, "a file has one record at least")
	files, err := listFiles(os.DirFS(f.dir))
	require.NoError(t, err)
	require.Less(t, files[0].size, int64(maxLineBytes))
	n := 0
	for _, err := range Search(t.Context(), f.dir, Filter{NewestFirst: true}) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 2, n)
}

func TestHeadsAreText(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	for _, h := range []Head{{}, {Seq: 7}, {Seq: 1<<64 - 1, Hash: sum}} {
		got, err := ParseHead(h.String())
		require.NoError(t, err)
		require.Equal(t, h, got)
	}
	for _, s := range []string{"", "7", ":", "x:" + sum, "7:" + sum[2:], "7:" + sum + "00", "7:" + strings.ToUpper(sum), "07:", "-1:", "7:zz"} {
		_, err := ParseHead(s)
		require.ErrorIs(t, err, chansec.ErrInvalid, s)
	}
}

func TestSearchGoesOnAfterALineThatIsNoRecord(t *testing.T) {
	f := openTest(t, FileConfig{Dir: t.TempDir()})
	for _, who := range []string{"alice", "bob", "carol"} {
		require.NoError(t, f.Record(t.Context(), login(who)))
	}
	require.NoError(t, f.Close())
	name := filepath.Join(f.dir, fileName(1))
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	changed := strings.Replace(string(text), `"principal":"bob"`, `"principal" :"bob"`, 1) + `{"seq":4,"ti`
	require.NoError(t, os.WriteFile(name, []byte(changed), 0o600))
	for newest, want := range map[bool][]string{false: {"alice", "line 3", "carol"}, true: {"carol", "a line", "alice"}} {
		var got []string
		for r, err := range Search(t.Context(), f.dir, Filter{NewestFirst: newest}) {
			var p *Problem
			switch {
			case errors.As(err, &p) && p.Line == 3:
				got = append(got, "line 3")
			case errors.As(err, &p):
				got = append(got, "a line")
			default:
				require.NoError(t, err)
				got = append(got, r.Principal)
			}
		}
		require.Equal(t, want, got)
	}
}

func contextOf(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// Bounds that became narrower since a trail was opened last: that old files were removed is said also where the last file has no
// room for it.
func TestARemovalIsSaidWhereTheFileIsFull(t *testing.T) {
	long := func(n int) Record {
		r := login("alice")
		r.Reason = strings.Repeat("x", n)
		return r
	}
	for fill := 300; fill <= 1000; fill += 50 {
		c := FileConfig{Dir: t.TempDir(), Chain: true, MaxFileBytes: 8192, MaxTotalBytes: 1 << 20, SyncEvery: time.Hour}
		f := openTest(t, c)
		for range 14 {
			require.NoError(t, f.Record(t.Context(), long(1000)))
		}
		require.NoError(t, f.Record(t.Context(), long(fill)))
		require.NoError(t, f.Close())
		c.MaxFileBytes, c.MaxTotalBytes = 4096, 8192
		f = openTest(t, c)
		require.NoError(t, f.Record(t.Context(), login("bob")))
		require.NoError(t, f.Close())
		v := requireVerified(t, c.Dir, nil, new(f.Head()))
		require.Greater(t, v.First, uint64(1))
	}
}

// What a sync lost that nobody waited for is known to the next who makes sure.
func TestWhatASyncLostIsTold(t *testing.T) {
	for name, sure := range map[string]func(*File) error{
		"by Flush": func(f *File) error { return f.Flush(context.Background()) },
		"by Close": (*File).Close,
		"by the time that passes": func(*File) error {
			pass(2 * time.Second)
			synctest.Wait()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := FileConfig{Dir: t.TempDir(), Chain: true, SyncEvery: time.Second}
				broken := false
				f, err := openTrail(c, func(step string, do func() error) error {
					if step == "sync" && broken {
						broken = false
						return errDisk
					}
					return do()
				})
				require.NoError(t, err)
				broken = true
				require.NoError(t, f.Record(t.Context(), login("alice")))
				pass(3 * time.Second / 2)
				synctest.Wait()
				require.False(t, broken, "the sync failed, and nobody was there to hear of it")
				require.Empty(t, principals(t, c.Dir))
				require.NoError(t, sure(f))
				said := aboutItself(t, c.Dir)
				require.Len(t, said, 1)
				require.Equal(t, OpDrop, said[0].Operation)
				require.Equal(t, uint64(1), said[0].Version)
				require.Equal(t, said[0].Seq, f.Head().Seq)
				require.NoError(t, f.Close())
			})
		})
	}
}
