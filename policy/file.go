package policy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chansec/chansec/internal/atomicfile"
)

// FileBackend keeps the changes of a store in a folder, one file each, which people can read: a file is the script of the
// change between a comment that says who changed the store when, and one with a sum over all of it. Several processes
// may use a folder at once on systems with flock, which is held on the folder while a file is written; elsewhere only one
// may compact.
//
// A file is written under another name, synced, and only then gets its own, as one step, after which the folder is
// synced; a crash leaves all of a change or nothing of it. A file that was written to since is refused.
type FileBackend struct {
	folder
	mu sync.Mutex // of changes by this process
}

// NewFileBackend returns a backend in a folder, which is made, for its owner alone, if it is not there.
func NewFileBackend(dir string) (*FileBackend, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return &FileBackend{folder: folder{atomicfile.Folder{Dir: dir}}}, nil
}

// The endings of file names. The name itself is the revision.
const (
	changeEnding = ".change"
	wholeEnding  = ".whole"
)

func fileName(c Change) string {
	if c.Whole {
		return fmt.Sprintf("%020d", c.Revision) + wholeEnding
	}
	return fmt.Sprintf("%020d", c.Revision) + changeEnding
}

// files is what a folder holds.
type files struct {
	whole   uint64   // the last revision that is there as a whole; 0 is none
	changes []uint64 // the revisions of single changes after that, sorted
	past    []string // names of files that the whole one replaces, and of drafts that a crash left of such
}

func (b *FileBackend) list() (f files, err error) {
	entries, err := os.ReadDir(b.Dir)
	if err != nil {
		return f, fmt.Errorf("policy: %w", err)
	}
	type file struct {
		revision uint64
		name     string
	}
	var all []file
	var drafts []file
	for _, e := range entries {
		name := cmp.Or(atomicfile.DraftOf(e.Name()), e.Name())
		ending := filepath.Ext(name)
		if ending != changeEnding && ending != wholeEnding {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(name, ending), 10, 64)
		switch {
		case name != e.Name():
			drafts = append(drafts, file{n, e.Name()}) // 0 is of no revision, and stays
			continue
		case err != nil || n == 0:
			return f, &DamagedError{Where: e.Name(), Err: errors.New("the name is no revision")}
		}
		if all = append(all, file{n, e.Name()}); ending == wholeEnding {
			f.whole = max(f.whole, n)
		}
	}
	for _, x := range all {
		switch {
		case x.revision > f.whole:
			f.changes = append(f.changes, x.revision)
		case x.name != fileName(Change{Revision: f.whole, Whole: true}):
			f.past = append(f.past, x.name)
		}
	}
	for _, x := range drafts {
		if 0 < x.revision && x.revision <= f.whole { // nobody writes that any more: the next to be written is a later one
			f.past = append(f.past, x.name)
		}
	}
	slices.Sort(f.changes)
	return f, nil
}

// last returns the last revision of which there is nothing missing before.
func (f *files) last() (uint64, error) {
	last := f.whole
	for _, n := range f.changes {
		if n != last+1 {
			return 0, &DamagedError{Revision: last + 1, Where: fileName(Change{Revision: last + 1}), Err: fs.ErrNotExist}
		}
		last = n
	}
	return last, nil
}

// Changes yields the changes that are there when it begins.
func (b *FileBackend) Changes(ctx context.Context, after uint64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		var wanted []Change
		f, err := b.list()
		if err == nil {
			_, err = f.last()
		}
		if err != nil {
			if b.compactedBeyond(after, f.whole) {
				b.Changes(ctx, after)(yield)
				return
			}
			yield(Change{}, err)
			return
		}
		if f.whole > after {
			wanted = append(wanted, Change{Revision: f.whole, Whole: true})
		}
		for _, n := range f.changes {
			if n > after {
				wanted = append(wanted, Change{Revision: n})
			}
		}
		for _, c := range wanted {
			err := ctx.Err()
			if err == nil {
				c, err = b.read(c)
			}
			if errors.Is(err, fs.ErrNotExist) && b.compactedBeyond(after, f.whole) {
				b.Changes(ctx, after)(yield)
				return
			}
			if !yield(c, err) || err != nil {
				return
			}
			after = c.Revision
		}
	}
}

// compactedBeyond reports whether another process compacted the changes while somebody read them, who had come to a revision
// and knew of a whole state. What is missing is in a later one then.
func (b *FileBackend) compactedBeyond(after, whole uint64) bool {
	f, err := b.list()
	return err == nil && f.whole > max(after, whole)
}

// Append keeps a change in a file of its own. Of two processes with the same revision, the second finds the name taken.
func (b *FileBackend) Append(ctx context.Context, c Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	unlock, err := b.lock(ctx) // or another might compact what has the name, and the name be free
	if err != nil {
		return err
	}
	defer unlock()
	f, err := b.list()
	if err != nil {
		return err
	}
	last, err := f.last()
	if err != nil {
		return err
	}
	if c.Whole || c.Revision != last+1 {
		return conflict(last, c.Revision-1)
	}
	draft, err := b.draft(ctx, fileName(c), encodeChange(c))
	if err != nil {
		return err
	}
	defer os.Remove(draft)
	// A link, unlike a rename, refuses to replace what another process put there.
	if err = b.At("link"); err == nil {
		err = os.Link(draft, filepath.Join(b.Dir, fileName(c)))
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return conflict(c.Revision, c.Revision-1)
	case err != nil:
		return fmt.Errorf("policy: %w", err)
	}
	return ours(b.Sync())
}

// Compact puts one file in the place of all up to its revision, drafts included that a crash left.
func (b *FileBackend) Compact(ctx context.Context, whole Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := b.list()
	if err != nil {
		return err
	}
	last, err := f.last()
	if err != nil {
		return err
	}
	if !whole.Whole || whole.Revision == 0 || whole.Revision > last || whole.Revision < f.whole {
		return conflict(last, whole.Revision)
	}
	draft, err := b.draft(ctx, fileName(whole), encodeChange(whole))
	if err != nil {
		return err
	}
	defer os.Remove(draft)
	if err := b.Rename(draft, fileName(whole)); err != nil {
		return ours(err)
	}
	if f, err = b.list(); err != nil {
		return err
	}
	for _, name := range f.past {
		if err := b.At("remove"); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(b.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("policy: %w", err)
		}
	}
	return nil
}

// The lines around the script of a file.
const (
	firstLine = "# policy revision %d"
	wholeWord = " as a whole"
	lastLine  = "# sha256 "
)

// encodeChange returns the text of a file.
func encodeChange(c Change) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, firstLine, c.Revision)
	if c.Whole {
		b.WriteString(wholeWord)
	}
	fmt.Fprintf(&b, "\n# %s by %s\n", c.At.UTC().Format(time.RFC3339Nano), strconv.Quote(c.Actor))
	if b.WriteString(c.Script); c.Script != "" {
		b.WriteByte('\n')
	}
	sum := sha256.Sum256(b.Bytes())
	b.WriteString(lastLine + hex.EncodeToString(sum[:]) + "\n")
	return b.Bytes()
}

// decodeChange reads the text of a file, which must be that of this revision.
func decodeChange(text []byte, is Change) (Change, error) {
	where := fileName(is)
	damaged := func(line int, what string) error {
		return &DamagedError{Revision: is.Revision, Where: where, Line: line, Err: errors.New(what)}
	}
	end := bytes.LastIndex(text, []byte("\n"+lastLine)) + 1
	lines := bytes.Count(text, []byte("\n"))
	if end == 0 || !bytes.HasSuffix(text, []byte("\n")) {
		return is, damaged(lines+1, "the end is missing")
	}
	sum := sha256.Sum256(text[:end])
	if string(text[end:]) != lastLine+hex.EncodeToString(sum[:])+"\n" {
		if list := bytes.Split(text[:end], []byte("\n")); len(list) > 3 {
			var failed *ScriptError
			if _, err := parse(string(text[:end]), storeCommands); errors.As(err, &failed) {
				return is, damaged(failed.Reports[0].Line, failed.Reports[0].Err.Error())
			}
		}
		return is, damaged(lines, "the file is not as it was written: its sum is another")
	}
	first, rest, _ := strings.Cut(string(text[:end]), "\n")
	want := fmt.Sprintf(firstLine, is.Revision)
	if is.Whole {
		want += wholeWord
	}
	if first != want {
		return is, damaged(1, "this is another revision's file")
	}
	second, script, _ := strings.Cut(rest, "\n")
	at, by, ok := strings.Cut(strings.TrimPrefix(second, "# "), " by ")
	var err error
	if is.At, err = time.Parse(time.RFC3339Nano, at); err != nil || !ok {
		return is, damaged(2, "no time")
	}
	if is.Actor, err = strconv.Unquote(by); err != nil {
		return is, damaged(2, "no actor")
	}
	is.Script = strings.TrimSuffix(script, "\n")
	return is, nil
}

func (b *FileBackend) read(c Change) (Change, error) {
	text, err := readFile(filepath.Join(b.Dir, fileName(c)))
	if err != nil {
		return c, err
	}
	return decodeChange(text, c)
}
