package policy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chansec/chansec/internal/atomicfile"
)

// ScriptFile keeps a store in one file (diffusion.md 12): the script that makes it from nothing, in the language of [Tx.Run],
// which people may edit.
//
//	store, err := policy.Open(ctx, policy.DiffusionConfig(), policy.NewScriptFile("policy.script", policy.Predefined()))
//
// The file is loaded as it is, whatever is locked. Anything wrong in it is Damaged, with the line and the column. Every
// change of the store writes all of it anew, in the canonical order of [Snapshot.Script] and without the comments that were
// in it: into a file beside it, for its owner alone, that is synced and then takes its name, after which the folder is
// synced. A crash leaves the old state or the new one. For stores that are large and change often there is [FileBackend].
//
// What somebody wrote into the file comes into force at the next [Store.Refresh], or before the next change. Where it is
// damaged, or the file is gone, both fail; what was in force stays so, and the file as it is.
//
// The first line says the revision. Edits by hand need not change it: a program that runs counts them, and one that starts
// does not. Several processes may use a file at once on systems with flock, which is held on the folder while the file
// is written; elsewhere only one.
type ScriptFile struct {
	path, initial string
	fault         func(step string) error // of the folder

	mu sync.Mutex // of writing
	// What the last text was that a store took or gave, and which revision it is.
	known struct {
		is       bool
		revision uint64
		sum      [sha256.Size]byte
	}
}

var _ WholeBackend = (*ScriptFile)(nil)

// NewScriptFile returns a backend for the file of that name. If there is none when the store is opened, it is written with
// the initial script, once that has run without an error; an empty one is written with the first change only.
func NewScriptFile(path, initial string) *ScriptFile {
	return &ScriptFile{path: path, initial: initial}
}

// revisionLine is the first line of a file.
const revisionLine = "# policy revision "

// mostRevision is the highest that a first line is believed to say.
const mostRevision = 1 << 62

// encode returns the text of a file.
func encodeScript(revision uint64, script string) []byte {
	text := revisionLine + utoa(revision) + "\n" + script
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return []byte(text)
}

// saidRevision is what the first line of a file says, and how long the line is. Without such a line it is 1.
func saidRevision(text []byte) (n uint64, length int) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if said, ok := bytes.CutPrefix(line, []byte(revisionLine)); ok {
		if n, err := strconv.ParseUint(strings.TrimSuffix(string(said), "\r"), 10, 64); err == nil && 0 < n && n <= mostRevision {
			return n, min(len(line)+1, len(text))
		}
	}
	return 1, 0
}

// read returns the text of the file and its revision; 0 if there is no file, and has been none.
func (f *ScriptFile) read() (text []byte, revision uint64, err error) {
	text, err = readFile(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.number(text, err)
}

// number finds out the revision of a text: the known one, or a later one if it is another text.
func (f *ScriptFile) number(text []byte, err error) ([]byte, uint64, error) {
	switch {
	case errors.Is(err, fs.ErrNotExist) && !f.known.is:
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	case f.known.is && sha256.Sum256(text) == f.known.sum:
		return text, f.known.revision, nil
	}
	said, _ := saidRevision(text)
	if f.known.is {
		said = max(said, f.known.revision+1)
	}
	return text, said, nil
}

// knows notes a text that a store took or gave.
func (f *ScriptFile) knows(text []byte, revision uint64) {
	f.known.is, f.known.revision, f.known.sum = true, revision, sha256.Sum256(text)
}

// Changes yields the state of the file, if it is a later one. Which file it is that is missing or damaged, the error says.
func (f *ScriptFile) Changes(ctx context.Context, after uint64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		text, revision, err := f.read()
		if err == nil {
			err = ctx.Err()
		}
		switch {
		case err != nil:
			yield(Change{}, err)
			return
		case revision > after:
			if !yield(Change{Revision: revision, Whole: true, At: time.Now(), Script: string(text), Where: f.path}, nil) {
				return // it may be damaged, so that it is not known
			}
			f.mu.Lock()
			f.knows(text, revision)
			f.mu.Unlock()
			return
		case revision > 0 || after > 0 || f.initial == "":
			return
		}
		if !yield(Change{Revision: 1, Whole: true, At: time.Now(), Script: f.initial, Where: "the initial script of " + f.path}, nil) {
			return
		}
		first := encodeScript(1, f.initial)
		err = f.write(ctx, 1, 0, func([]byte) []byte { return first })
		if errors.Is(err, Conflict) { // another process was faster; it may have written something else
			f.mu.Lock()
			f.knows(first, 1)
			f.mu.Unlock()
			f.Changes(ctx, 1)(yield)
		} else if err != nil {
			yield(Change{}, err)
		}
	}
}

// Append adds the commands of a change to the script. A store uses Replace.
func (f *ScriptFile) Append(ctx context.Context, c Change) error {
	if c.Whole {
		return conflict(0, c.Revision)
	}
	return f.write(ctx, c.Revision, c.Revision-1, func(was []byte) []byte {
		_, n := saidRevision(was)
		script := string(was[n:])
		if script != "" && !strings.HasSuffix(script, "\n") {
			script += "\n"
		}
		return encodeScript(c.Revision, script+c.Script)
	})
}

// Replace writes the file anew with another state.
func (f *ScriptFile) Replace(ctx context.Context, whole Change) error {
	return f.rewrite(ctx, whole, whole.Revision-1)
}

// Compact writes the file anew with the same state, in the canonical order.
func (f *ScriptFile) Compact(ctx context.Context, whole Change) error {
	return f.rewrite(ctx, whole, whole.Revision)
}

func (f *ScriptFile) rewrite(ctx context.Context, whole Change, from uint64) error {
	if !whole.Whole || whole.Revision == 0 {
		return conflict(0, whole.Revision)
	}
	return f.write(ctx, whole.Revision, from, func([]byte) []byte { return encodeScript(whole.Revision, whole.Script) })
}

// write replaces the file, which must be at a revision, by what is made of it.
func (f *ScriptFile) write(ctx context.Context, revision, from uint64, make func(was []byte) []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	path, err := target(f.path)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	dir, name := filepath.Split(path)
	in := &folder{atomicfile.Folder{Dir: filepath.Clean(dir), Fault: f.fault}}
	unlock, err := in.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	was, is, err := f.number(readFile(path))
	if err != nil {
		return err
	}
	if is != from {
		return conflict(is, from)
	}
	if err := in.Tidy(name); err != nil {
		return ours(err)
	}
	text := make(was)
	draft, err := in.draft(ctx, name, text)
	if err != nil {
		return err
	}
	defer os.Remove(draft)
	if err := in.Rename(draft, name); err != nil {
		return ours(err)
	}
	f.knows(text, revision)
	return nil
}

// target returns what is to be written for a name: what a link points to, also if that is not there yet, and not the link.
func target(name string) (string, error) {
	for range 40 { // as many as Linux follows
		path, err := filepath.EvalSymlinks(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return path, err
		}
		to, err := os.Readlink(name)
		if err != nil {
			return name, nil // there is nothing of that name
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(name), to)
		}
		name = to
	}
	return "", fmt.Errorf("%s: too many links", name)
}
