package authn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/chansec/chansec/internal/atomicfile"
)

// systemFile is where a store is kept: a script that makes it from nothing, below a line with the revision and a sum, by
// which the store sees that somebody edited the file.
type systemFile struct {
	path   string
	folder atomicfile.Folder
	sum    [sha256.Size]byte // of what was read or written last
}

// maxSystemFileBytes bounds what is read, and what is written.
const maxSystemFileBytes = 64 << 20

// OpenSystemStore returns a store that is kept in a file (diffusion.md 12), which it writes, without principals and with
// deny anonymous connections, if it is not there. One process at a time may use a file.
//
// The file is a script that people can read and edit while no process has it open, or before [SystemStore.Reload]. In it,
// and nowhere else, a password may be given as its hash. One in clear text is replaced by its hash at once: the file is
// written anew, for its owner alone and without comments. Of a file that is wrong there is no store; the error holds a
// ScriptError with line and column.
func OpenSystemStore(ctx context.Context, c SystemConfig, path string) (*SystemStore, error) {
	s, err := NewSystemStore(c)
	if err != nil {
		return nil, err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // it is the file that is replaced, and no link to it
	}
	s.file = &systemFile{path: path, folder: atomicfile.Folder{Dir: filepath.Dir(path)}}
	if err := s.file.folder.Tidy(filepath.Base(path)); err != nil {
		return nil, s.file.wrap(err)
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return s, s.file.wrap(s.file.replace(s.current.Load().encode()))
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the file again after somebody edited it. If that is wrong, or gone, the store stays as it is. A store in
// memory has nothing to read.
func (s *SystemStore) Reload(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer func() { <-s.turn }()
	if s.file == nil {
		return nil
	}
	return s.load(ctx)
}

// load puts in force what the file holds. The turn is the caller's.
func (s *SystemStore) load(ctx context.Context) error {
	text, private, err := s.file.read()
	if err != nil {
		return s.file.wrap(err)
	}
	was := s.current.Load()
	sum := sha256.Sum256(text)
	if sum == s.file.sum && private {
		s.unsure = false
		return nil
	}
	next, err := s.decode(ctx, string(text))
	if err != nil {
		return s.file.wrap(err)
	}
	edited := string(next.encode()) != string(text)
	first := s.file.sum == [sha256.Size]byte{}
	if edited || !first && next.revision <= was.revision {
		next.revision = max(next.revision, was.revision) + 1
		edited = true
	}
	before := s.file.sum
	s.file.sum = sum
	if edited || !private {
		if err := s.save(next); err != nil {
			s.file.sum = before // what is there is not in force
			return err
		}
	}
	s.unsure = false
	s.current.Store(next)
	return nil
}

// The first line of a file is between these.
const (
	fileMark     = "# system authentication store, revision "
	fileSumWords = ", sha256 "
)

// encode returns the text of a file.
func (s *systemState) encode() []byte {
	body := s.script() + "\n"
	sum := sha256.Sum256([]byte(body))
	return []byte(fileMark + strconv.FormatUint(s.revision, 10) + fileSumWords + hex.EncodeToString(sum[:]) + "\n" + body)
}

// decode reads the text of a file.
func (s *SystemStore) decode(ctx context.Context, text string) (*systemState, error) {
	tx := &Tx{store: s, ctx: ctx, actor: Root(), loading: true}
	tx.begin(&systemState{})
	if err := tx.run(text); err != nil {
		return nil, err
	}
	tx.weigh(s.config.Iterations)
	is := tx.systemState
	is.revision = revisionOf(text)
	return &is, nil
}

// revisionOf returns the revision in the first line of a file; 0 if there is none.
func revisionOf(text string) uint64 {
	first, _, _ := strings.Cut(text, "\n")
	number, _, _ := strings.Cut(strings.TrimPrefix(first, fileMark), fileSumWords)
	n, err := strconv.ParseUint(number, 10, 62)
	if err != nil {
		return 0
	}
	return n
}

// save makes a state durable. The turn is the caller's.
func (s *SystemStore) save(is *systemState) error {
	text := is.encode()
	if len(text) > maxSystemFileBytes {
		return refuse(Limit, "file", strconv.Itoa(len(text))+" bytes", "at most "+strconv.Itoa(maxSystemFileBytes))
	}
	there, _, err := s.file.read()
	if err != nil {
		return s.file.wrap(err)
	}
	if sha256.Sum256(there) != s.file.sum {
		return s.file.wrap(refuse(Conflict, "file", "", "the one that the store wrote: somebody edited it, and Reload takes that over"))
	}
	s.unsure = true
	if err := s.file.replace(text); err != nil {
		return s.file.wrap(err)
	}
	s.unsure = false
	return nil
}

// wrap says of an error which file it is about.
func (f *systemFile) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("authn: the store's file %q: %w", f.path, err)
}

// read returns the file, and whether it is its owner's alone.
func (f *systemFile) read() (text []byte, private bool, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, false, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, false, refuse(InvalidArgument, "file", info.Mode().Type().String(), "a regular file")
	case info.Size() > maxSystemFileBytes:
		return nil, false, refuse(Limit, "file", strconv.FormatInt(info.Size(), 10)+" bytes", "at most "+strconv.Itoa(maxSystemFileBytes))
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	text, err = io.ReadAll(io.LimitReader(file, maxSystemFileBytes+1))
	if err == nil && int64(len(text)) != info.Size() {
		err = refuse(Conflict, "file", "", "one that nobody writes to meanwhile")
	}
	return text, info.Mode().Perm()&0o077 == 0, err
}

// replace writes the file anew, so that a crash leaves the old one or the new one.
func (f *systemFile) replace(text []byte) error {
	if err := f.folder.Replace(filepath.Base(f.path), text); err != nil {
		return err
	}
	f.sum = sha256.Sum256(text)
	return nil
}
