package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// trail is the text of a trail, which tests change.
type trail struct {
	key   []byte
	head  Head
	names []string
	lines map[string][]string // by file, with their line feeds
}

// newTrail writes a trail of so many records, in files of some seventeen.
func newTrail(t testing.TB, records int, c FileConfig) *trail {
	t.Helper()
	c.Dir, c.MaxFileBytes, c.SyncEvery = t.TempDir(), 4096, time.Hour
	f := openTest(t, c)
	for i := range records {
		r := login(fmt.Sprintf("user %02d", i))
		r.Time = time.Date(2030, 1, 2, 3, 4, i, 0, time.UTC)
		if i%3 == 1 {
			r.Kind, r.Operation, r.Outcome, r.Target, r.Reason = KindDecision, chansec.OpWrite, chansec.Denied, "readings", `not "listed"`
		}
		require.NoError(t, f.Record(t.Context(), r))
	}
	require.NoError(t, f.Close())
	x := &trail{key: c.Key, head: f.Head(), lines: map[string][]string{}}
	files, err := listFiles(os.DirFS(c.Dir))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(c.Dir, file.name))
		require.NoError(t, err)
		x.names = append(x.names, file.name)
		x.lines[file.name] = slices.Collect(strings.Lines(string(text)))
	}
	return x
}

// changed returns a copy that can be changed.
func (x *trail) changed(change func(*trail)) *trail {
	y := &trail{key: x.key, head: x.head, names: slices.Clone(x.names), lines: map[string][]string{}}
	for name, lines := range x.lines {
		y.lines[name] = slices.Clone(lines)
	}
	change(y)
	return y
}

// verify verifies the trail.
func (x *trail) verify(t testing.TB, anchor *Head) error {
	t.Helper()
	folder := fstest.MapFS{}
	for name, lines := range x.lines {
		folder[name] = &fstest.MapFile{Data: []byte(strings.Join(lines, ""))}
	}
	_, err := VerifyFS(t.Context(), folder, VerifyConfig{Key: x.key, Anchor: anchor})
	return err
}

// places returns the file and the line of every record.
func (x *trail) places() (all []Problem) {
	for _, name := range x.names {
		for i := range x.lines[name][1:] {
			all = append(all, Problem{File: name, Line: i + 2})
		}
	}
	return all
}

func firstProblem(t testing.TB, err error) Problem {
	t.Helper()
	require.ErrorIs(t, err, ErrDamaged)
	var damaged *DamagedError
	require.ErrorAs(t, err, &damaged)
	return damaged.Problems[0]
}

var chains = map[string]FileConfig{"hashes": {Chain: true}, "hashes with a key": {Key: testKey}}

// Of fifty records in several files, each in turn is removed, exchanged with the next one, edited, and put in twice.
func TestVerifyFindsEverySingleChange(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	for name, c := range chains {
		t.Run(name, func(t *testing.T) {
			x := newTrail(t, 50, c)
			require.Greater(t, len(x.names), 2)
			require.NoError(t, x.verify(t, nil))
			require.NoError(t, x.verify(t, &x.head))
			places := x.places()
			require.Len(t, places, 50)
			for i, p := range places {
				at := func(y *trail) *string { return &y.lines[p.File][p.Line-1] }

				removed := x.changed(func(y *trail) { y.lines[p.File] = slices.Delete(y.lines[p.File], p.Line-1, p.Line) })
				if i == 49 {
					require.NoError(t, removed.verify(t, nil), "nobody can know without an anchor that there was more")
					requireFault(t, removed.verify(t, &x.head), FaultAnchor)
				} else {
					found := firstProblem(t, removed.verify(t, nil))
					require.Equal(t, FaultMissing, found.Fault, i)
					next := places[i+1]
					if next.File != p.File {
						next.Line = 2 // the header says which record it should follow
					}
					require.Equal(t, Problem{File: next.File, Line: next.Line - 1}, Problem{File: found.File, Line: found.Line})
				}
				edited := x.changed(func(y *trail) { *at(y) = strings.Replace(*at(y), `"principal":"user`, `"principal":"User`, 1) })
				found := firstProblem(t, edited.verify(t, nil))
				require.Equal(t, Problem{File: p.File, Line: p.Line, Fault: FaultHash, Text: found.Text}, found)

				twice := x.changed(func(y *trail) { y.lines[p.File] = slices.Insert(y.lines[p.File], p.Line, *at(y)) })
				requireFault(t, twice.verify(t, nil), FaultOrder)

				if i == 49 {
					continue
				}
				swapped := x.changed(func(y *trail) {
					other := &y.lines[places[i+1].File][places[i+1].Line-1]
					*at(y), *other = *other, *at(y)
				})
				found = firstProblem(t, swapped.verify(t, nil))
				require.Contains(t, []Fault{FaultMissing, FaultOrder}, found.Fault)
				require.Equal(t, Problem{File: p.File, Line: p.Line}, Problem{File: found.File, Line: found.Line})

				for j := i + 1; j < len(places); j += 7 { // and others that are not neighbours
					exchanged := x.changed(func(y *trail) {
						other := &y.lines[places[j].File][places[j].Line-1]
						*at(y), *other = *other, *at(y)
					})
					require.ErrorIs(t, exchanged.verify(t, nil), ErrDamaged)
				}
			}
		})
	}
}

// No byte can be another one, wherever it is.
func TestVerifyFindsEveryByteThatWasChanged(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	for name, c := range chains {
		t.Run(name, func(t *testing.T) {
			x := newTrail(t, 20, c)
			require.Len(t, x.names, 2)
			for _, name := range x.names {
				lines := x.lines[name]
				for n, line := range lines {
					if n > 2 && n < len(lines)-1 {
						continue // one like those before
					}
					for i := range line {
						to := []byte{line[i] ^ 1, line[i] ^ 0x20, '\n', 0}[i%4]
						if to == line[i] {
							to ^= 1
						}
						y := x.changed(func(y *trail) { y.lines[name][n] = line[:i] + string(rune(to)) + line[i+1:] })
						require.ErrorIs(t, y.verify(t, nil), ErrDamaged, "byte %d of line %d of %s as %q", i, n+1, name, to)
					}
				}
			}
		})
	}
}

// A trail that ends anywhere else than it did is found, if one knows where that was.
func TestVerifyFindsEveryTruncation(t *testing.T) {
	x := newTrail(t, 20, FileConfig{Key: testKey})
	last := x.names[len(x.names)-1]
	text := strings.Join(x.lines[last], "")
	for n := range text {
		y := x.changed(func(y *trail) { y.lines[last] = []string{text[:n]} })
		err := y.verify(t, nil)
		if n > 0 && text[n-1] == '\n' {
			require.NoError(t, err)
			requireFault(t, y.verify(t, &x.head), FaultAnchor)
			continue
		}
		require.Equal(t, FaultTorn, firstProblem(t, err).Fault)
	}
	for i := range x.names { // and of a file that is not the last one
		if i == len(x.names)-1 {
			break
		}
		lines := x.lines[x.names[i]]
		for n := range lines {
			y := x.changed(func(y *trail) { y.lines[x.names[i]] = lines[:n] })
			require.ErrorIs(t, y.verify(t, nil), ErrDamaged)
		}
	}
}

func TestVerifyFindsFilesThatAreGoneOrElsewhere(t *testing.T) {
	x := newTrail(t, 60, FileConfig{Chain: true})
	require.Greater(t, len(x.names), 3)
	for i, name := range x.names {
		removed := x.changed(func(y *trail) { delete(y.lines, name) })
		if i == len(x.names)-1 {
			require.NoError(t, removed.verify(t, nil))
			requireFault(t, removed.verify(t, &x.head), FaultAnchor)
			continue
		}
		requireFault(t, removed.verify(t, nil), FaultMissing)
		renamed := x.changed(func(y *trail) {
			y.lines["0"+name] = y.lines[name]
			delete(y.lines, name)
		})
		requireFault(t, renamed.verify(t, nil), FaultMissing)
		other := x.names[i+1]
		exchanged := x.changed(func(y *trail) { y.lines[name], y.lines[other] = y.lines[other], y.lines[name] })
		require.ErrorIs(t, exchanged.verify(t, nil), ErrDamaged)
	}
	none := x.changed(func(y *trail) { clear(y.lines) })
	require.NoError(t, none.verify(t, nil))
	requireFault(t, none.verify(t, &x.head), FaultAnchor)
	requireFault(t, x.verify(t, &Head{}), FaultAnchor)
	requireFault(t, x.verify(t, &Head{Seq: x.head.Seq + 1, Hash: x.head.Hash}), FaultAnchor)
}

// rewritten changes a record and makes the hashes anew from there on, as somebody can who knows how they are made.
func (x *trail) rewritten(p Problem, key []byte) *trail {
	return x.changed(func(y *trail) {
		c, err := newChain(key)
		if err != nil {
			panic(err)
		}
		var sum [sha256.Size]byte
		begun := false
		for _, name := range y.names {
			for i, line := range y.lines[name] {
				body, was, err := cutHash([]byte(strings.TrimSuffix(line, "\n")))
				if err != nil {
					panic(err)
				}
				if name == p.File && i == p.Line-1 {
					begun, body = true, bytes.Replace(body, []byte("user"), []byte("User"), 1)
				}
				if !begun {
					sum = was
					continue
				}
				if i == 0 {
					h, _, _, err := parseHeader([]byte(strings.TrimSuffix(line, "\n")))
					if err != nil {
						panic(err)
					}
					h.Prev = fmt.Sprintf("%x", sum)
					body = h.appendOpen(nil)
				}
				y.lines[name][i] = string(c.end(slices.Clone(body), 0, &sum))
			}
		}
	})
}

func TestVerifyFindsAChainThatWasMadeAnew(t *testing.T) {
	plain, keyed := newTrail(t, 40, FileConfig{Chain: true}), newTrail(t, 40, FileConfig{Key: testKey})
	for i, p := range plain.places() {
		anew := plain.rewritten(p, nil)
		require.NoError(t, anew.verify(t, nil), "this is what a key or an anchor is for")
		requireFault(t, anew.verify(t, &plain.head), FaultAnchor)
		found := firstProblem(t, keyed.rewritten(keyed.places()[i], bytes.Repeat([]byte("x"), 32)).verify(t, nil))
		require.Equal(t, Problem{File: p.File, Line: p.Line, Fault: FaultHash, Text: found.Text}, found)
		require.NoError(t, keyed.rewritten(keyed.places()[i], testKey).verify(t, nil), "who has the key can do anything")
	}
}

func TestVerifyIsNotTalkedIntoAWeakerChain(t *testing.T) {
	trails := map[string]*trail{"": newTrail(t, 3, FileConfig{}), "sha256": newTrail(t, 3, FileConfig{Chain: true}), "hmac-sha256": newTrail(t, 3, FileConfig{Key: testKey})}
	for _, key := range [][]byte{nil, testKey, append([]byte("x"), testKey...)} {
		for kind, x := range trails {
			good := kind == "sha256" && key == nil || kind == "hmac-sha256" && bytes.Equal(key, testKey)
			x = x.changed(func(y *trail) { y.key = key })
			require.Equal(t, good, x.verify(t, nil) == nil, "%s with %q", kind, key)
		}
	}
	_, err := Verify(t.Context(), t.TempDir(), VerifyConfig{Key: []byte("short")})
	require.ErrorIs(t, err, chansec.ErrInvalid)
	require.NotContains(t, err.Error(), "short")
}

func TestVerifyStops(t *testing.T) {
	x := newTrail(t, 300, FileConfig{Chain: true})
	for name, lines := range x.lines {
		for i := range lines {
			x.lines[name][i] = strings.Replace(lines[i], "user", "User", 1)
		}
	}
	var damaged *DamagedError
	require.ErrorAs(t, x.verify(t, nil), &damaged)
	require.Len(t, damaged.Problems, MaxProblems)
	require.NotContains(t, damaged.Error(), "User", "a problem says nothing of the record")

	f := openTest(t, FileConfig{Dir: t.TempDir(), Chain: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Verify(ctx, f.dir, VerifyConfig{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = Verify(t.Context(), filepath.Join(f.dir, "nothing"), VerifyConfig{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A record of a removal vouches for what is older, and for no more.
func TestVerifyBelievesRecordsOfRemovals(t *testing.T) {
	c := FileConfig{Dir: t.TempDir(), Key: testKey, MaxFileBytes: 4096, MaxTotalBytes: 5 * 4096, SyncEvery: time.Hour}
	f := openTest(t, c)
	for i := range 120 {
		require.NoError(t, f.Record(t.Context(), login(fmt.Sprint(i))))
	}
	require.NoError(t, f.Close())
	requireVerified(t, c.Dir, testKey, &Head{Seq: f.Head().Seq, Hash: f.Head().Hash})
	files, err := listFiles(os.DirFS(c.Dir))
	require.NoError(t, err)
	for _, file := range files[:len(files)-2] {
		require.NoError(t, os.Remove(filepath.Join(c.Dir, file.name)))
		_, err = Verify(t.Context(), c.Dir, VerifyConfig{Key: testKey})
		requireFault(t, err, FaultMissing)
	}
}
