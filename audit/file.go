package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec"
)

// FileConfig is what a File writes where.
type FileConfig struct {
	// Dir is the folder of the trail, which is made, for its owner alone, if it is not there. It is used for nothing else, and
	// by one File at a time.
	Dir string

	// SyncEvery says when records are safe from a loss of power. Zero is before Record returns. Otherwise that is so long
	// after they were written; they are safe from the end of the process as soon as Record returns in any case.
	SyncEvery time.Duration

	// Chain puts a hash at the end of each line, of it and the line before, so that Verify finds what was changed.
	Chain bool
	// Key makes the hashes HMACs, which nobody can make who does not know it: 32 bytes or more. It implies Chain.
	Key []byte

	MaxFileBytes  int64         // of one file, from 4096 on; 0 is DefaultMaxFileBytes. A file has one record at least
	MaxTotalBytes int64         // of all files, twice that at least; 0 is DefaultMaxTotalBytes. The oldest are removed first
	RotateEvery   time.Duration // begin a new file after so long, too; 0: only when one is full
}

// The bounds of a trail that says none.
const (
	DefaultMaxFileBytes  = 64 << 20
	DefaultMaxTotalBytes = 1 << 30
)

// maxPending is how many records wait at most while a disk hangs. Those whose callers have left are among them.
const maxPending = 8192

// File is a store of files, one record a line, which people and programs can read. It may be used from many goroutines at
// once: those who record at the same time share one write and one sync.
//
// A file is full before it would be longer than MaxFileBytes; then a new one begins. Nothing that was written is ever changed
// or renamed. When all of them would be longer than MaxTotalBytes, a record says so and the oldest files are removed.
//
// What a crash tears is the end of the last line; OpenFile cuts it off, and a record says so and keeps it. When the disk
// fails, what it took of the records that Record failed for is cut off as well: it is there as a whole or not at all.
// Record fails until the disk works again.
type File struct {
	dir      string
	chain    *chain
	maxFile  int64
	maxTotal int64
	every    time.Duration // between syncs
	rotate   time.Duration

	mu      sync.Mutex
	pending *group // waits to be written; nil if there is none
	closed  bool

	commit chan struct{} // held by who writes, and guards what follows
	lock   io.Closer
	w      *os.File
	first  uint64 // the number of the first record of w, there or not
	began  time.Time
	at     mark // the end of what is written
	synced mark // the end of what is safe
	torn   bool // there is something behind at
	folder bool // the folder is to be synced
	older  []dirFile
	pruned uint64 // what the last record of a removal said is kept
	lost   uint64 // records that Record took and a sync failed for
	buf    []byte

	head   atomic.Pointer[Head]
	unsafe chan struct{} // tells the syncer that there is something to sync
	stop   chan struct{}
	syncer sync.WaitGroup

	hook func(step string, do func() error) error // does every step that may fail; nil but in tests
}

var (
	_ Store     = (*File)(nil)
	_ BatchSink = (*File)(nil)
)

// mark is a place at the end of a line.
type mark struct {
	size int64
	seq  uint64
	sum  [sha256.Size]byte
}

// group is records that are written together.
type group struct {
	records []Record
	done    chan struct{}
	err     error
}

// Head is the end of a trail: the number of the last record, and the hash of the last line, which stands for all before it.
// Kept where nobody who can write the trail can write, it is an anchor: Verify finds out if what was there then is not there
// any more. It holds no secret.
type Head struct {
	Seq  uint64
	Hash string // 64 hexadecimal digits; empty without a chain
}

// String returns the number and the hash, with a colon between.
func (h Head) String() string { return strconv.FormatUint(h.Seq, 10) + ":" + h.Hash }

// ParseHead is the reverse of String.
func ParseHead(s string) (Head, error) {
	seq, sum, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(seq, 10, 64)
	raw, bad := hex.DecodeString(sum)
	if h := (Head{n, sum}); ok && err == nil && bad == nil && len(raw)%sha256.Size == 0 && len(raw) <= sha256.Size &&
		h.String() == s && sum == strings.ToLower(sum) {
		return h, nil
	}
	return Head{}, invalid("head of a trail", s, "a number, a colon, and 64 hexadecimal digits or none")
}

func (c *FileConfig) chain() (*chain, error) {
	if !c.Chain && len(c.Key) == 0 {
		return nil, nil
	}
	return newChain(c.Key)
}

// OpenFile opens or begins a trail. It reads the last file; one that is not as it was written, but for a torn end, is a
// *DamagedError, and the folder must be put aside. A folder with another kind of chain, or an option that makes no sense, is a
// [chansec.InvalidError]; a folder that another File writes to is ErrInUse, where the system has locks for that.
func OpenFile(c FileConfig) (*File, error) { return openTrail(c, nil) }

func openTrail(c FileConfig, hook func(string, func() error) error) (_ *File, err error) {
	f := &File{dir: c.Dir, maxFile: c.MaxFileBytes, maxTotal: c.MaxTotalBytes, every: c.SyncEvery, rotate: c.RotateEvery,
		commit: make(chan struct{}, 1), unsafe: make(chan struct{}, 1), stop: make(chan struct{}), hook: hook}
	if f.maxFile == 0 {
		f.maxFile = DefaultMaxFileBytes
	}
	if f.maxTotal == 0 {
		f.maxTotal = max(DefaultMaxTotalBytes, 2*f.maxFile)
	}
	switch {
	case f.dir == "":
		return nil, invalid("folder of a trail", "", "a path")
	case f.maxFile < 4096:
		return nil, invalid("MaxFileBytes", strconv.FormatInt(f.maxFile, 10), "4096 or more")
	case f.maxTotal/2 < f.maxFile:
		return nil, invalid("MaxTotalBytes", strconv.FormatInt(f.maxTotal, 10), "twice MaxFileBytes or more")
	case f.every < 0 || f.rotate < 0:
		return nil, invalid("interval of a trail", min(f.every, f.rotate).String(), "0 or more")
	}
	if f.chain, err = c.chain(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if f.lock, err = lockFolder(filepath.Join(f.dir, lockName)); err != nil {
		return nil, err
	}
	if err := f.resume(); err != nil {
		if f.w != nil {
			_ = f.w.Close()
		}
		_ = f.lock.Close()
		return nil, err
	}
	if f.every > 0 {
		f.syncer.Go(f.syncNowAndThen)
	}
	return f, nil
}

// resume finds the end of the trail, or begins it.
func (f *File) resume() error {
	drafts, err := filepath.Glob(filepath.Join(f.dir, "*"+draftEnding))
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for _, d := range drafts {
		if err := os.Remove(d); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
	}
	files, err := listFiles(os.DirFS(f.dir))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return f.begin()
	}
	last := files[len(files)-1]
	f.older, f.first = files[:len(files)-1], last.first
	if f.w, err = os.OpenFile(filepath.Join(f.dir, last.name), os.O_RDWR|os.O_APPEND, 0); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	rest, err := f.findEnd(last)
	if err != nil {
		return err
	}
	f.torn = len(rest) > 0
	if err := f.restore(); err != nil {
		return err
	}
	if err := f.step("sync", f.w.Sync); err != nil { // the process before may not have come to it
		return fmt.Errorf("audit: %w", err)
	}
	f.synced = f.at
	f.setHead()
	if len(rest) == 0 {
		return nil
	}
	repair := about(OpRepair, chansec.Allowed, 0, fmt.Sprintf("the beginning of a record, %d bytes, was cut off", len(rest)), string(rest))
	if err := repair.clean(); err != nil {
		return err
	}
	if err := f.write([]Record{repair}); err != nil {
		return err
	}
	return f.sync()
}

// findEnd reads the last file, sets at, and returns what is torn.
func (f *File) findEnd(file dirFile) (rest []byte, err error) {
	lines := newLineReader(f.w)
	damaged := func(line int, fault Fault, text string) error {
		return &DamagedError{Problems: []Problem{{file.name, line, fault, text}}}
	}
	line, err := lines.next()
	if err == nil {
		var h header
		var body []byte
		h, body, f.at.sum, err = parseHeader(line)
		if err == nil && h.Chain != f.chain.called() {
			return nil, invalid("chain", f.chain.called(), "that of the trail in this folder: "+h.Chain)
		}
		if err == nil && f.chain != nil {
			var prev [sha256.Size]byte
			_, _ = hex.Decode(prev[:], []byte(h.Prev))
			if f.chain.next(&prev, body) != f.at.sum {
				return nil, damaged(1, FaultHash, "the hash is another: the line was changed, or the key is not that of this trail")
			}
		}
		f.began, f.at.seq, f.at.size = h.Time, h.First-1, int64(len(line))+1
		if err == nil && h.First != file.first {
			err = errors.New("the header of another file")
		}
	}
	if err != nil {
		return nil, damaged(1, FaultSyntax, "no header")
	}
	for n := 2; ; n++ {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return bytes.Clone(line), nil
		case errors.Is(err, errLongLine):
			return nil, damaged(n, FaultSyntax, err.Error())
		case err != nil:
			return nil, fmt.Errorf("audit: %w", err)
		}
		body, sum, err := cut(line, f.chain != nil)
		if err != nil {
			return nil, damaged(n, FaultSyntax, err.Error())
		}
		if f.chain != nil && f.chain.next(&f.at.sum, body) != sum {
			return nil, damaged(n, FaultHash, "the hash does not follow from this line and the one before")
		}
		seq, err := parseSeq(body)
		switch {
		case err != nil:
			return nil, damaged(n, FaultSyntax, "no record")
		case seq != f.at.seq+1:
			return nil, damaged(n, FaultMissing, fmt.Sprintf("record %d where %d should be", seq, f.at.seq+1))
		}
		f.at = mark{f.at.size + int64(len(line)) + 1, seq, sum}
	}
}

func (f *File) step(name string, do func() error) error {
	if f.hook == nil {
		return do()
	}
	return f.hook(name, do)
}

// Record keeps the record, and fails if it cannot. Where the context ends while it waits for others, the record may be kept
// nevertheless. It is ErrDropped if 8192 records wait already.
func (f *File) Record(ctx context.Context, r Record) error { return f.RecordAll(ctx, []Record{r}) }

// RecordAll keeps several records, in their order. None is kept if one of them is refused by Clean.
func (f *File) RecordAll(ctx context.Context, records []Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(records) == 0 {
		return nil
	}
	clean := make([]Record, len(records))
	for i, r := range records {
		if err := r.clean(); err != nil {
			return err
		}
		clean[i] = r
	}
	g, err := f.join(clean)
	if err != nil {
		return err
	}
	select {
	case f.commit <- struct{}{}:
		f.writePending()
		<-f.commit
	case <-g.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-g.done
	return g.err
}

// join adds records to those that wait.
func (f *File) join(records []Record) (*group, error) {
	for {
		f.mu.Lock()
		switch {
		case f.closed:
			f.mu.Unlock()
			return nil, fmt.Errorf("audit: %w", chansec.ErrClosed)
		case f.pending == nil:
			f.pending = &group{done: make(chan struct{})}
		case len(f.pending.records) >= maxPending:
			f.mu.Unlock()
			select {
			case f.commit <- struct{}{}: // all whose records wait have left
				f.writePending()
				<-f.commit
				continue
			default:
				return nil, ErrDropped
			}
		}
		g := f.pending
		g.records = append(g.records, records...)
		f.mu.Unlock()
		return g, nil
	}
}

// writePending writes what waits, with the commit held.
func (f *File) writePending() {
	f.mu.Lock()
	g := f.pending
	f.pending = nil
	f.mu.Unlock()
	if g == nil {
		return
	}
	g.err = f.write(g.records)
	close(g.done)
}

// write writes records, and syncs them unless that is for later.
func (f *File) write(records []Record) error {
	if err := f.restore(); err != nil {
		return err
	}
	if f.lost > 0 {
		records = append([]Record{about(OpDrop, chansec.Denied, f.lost, fmt.Sprintf("the disk lost up to %d records", f.lost), "")}, records...)
	}
	lost := f.lost
	for len(records) > 0 {
		if f.rotate > 0 && time.Since(f.began) >= f.rotate && f.at.seq >= f.first {
			if err := f.begin(); err != nil {
				return err
			}
		}
		if err := f.prune(); err != nil {
			return err
		}
		n, to := f.encode(records)
		if n == 0 {
			if err := f.begin(); err != nil {
				return err
			}
			continue
		}
		if err := f.flush(to); err != nil {
			return err
		}
		records = records[n:]
	}
	if f.every > 0 && lost == 0 {
		select {
		case f.unsafe <- struct{}{}:
		default:
		}
		return nil
	}
	if err := f.sync(); err != nil {
		return err
	}
	f.lost -= lost
	return nil
}

// encode puts as many records into buf as the file has room for, and returns where they would end.
func (f *File) encode(records []Record) (n int, to mark) {
	f.buf = f.buf[:0]
	to = f.at
	for i := range records {
		r := &records[i]
		next, start := to, len(f.buf)
		next.seq++
		r.Seq = next.seq
		f.buf = r.appendOpen(f.buf)
		f.buf = f.chain.end(f.buf, start, &next.sum)
		next.size += int64(len(f.buf) - start)
		if next.size > f.maxFile && to.seq >= f.first {
			f.buf = f.buf[:start]
			return i, to
		}
		to = next
	}
	return len(records), to
}

// flush writes buf, which ends there.
func (f *File) flush(to mark) error {
	err := f.step("write", func() error {
		_, err := f.w.Write(f.buf)
		return err
	})
	if cap(f.buf) > maxLineBytes {
		f.buf = nil
	}
	if err != nil {
		f.torn = true
		_ = f.restore()
		return fmt.Errorf("audit: %w", err)
	}
	f.at = to
	return nil
}

// restore cuts off what a write that failed has left, and does what else could not be done then.
func (f *File) restore() error {
	if f.torn {
		if err := f.step("truncate", func() error { return f.w.Truncate(f.at.size) }); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		f.torn = false
	}
	return f.syncFolder()
}

// sync makes what is written safe. If it fails, nobody knows what the disk has of it, and asking again would be answered yes:
// all of it is taken back.
func (f *File) sync() error {
	if f.at == f.synced {
		return nil
	}
	if err := f.step("sync", f.w.Sync); err != nil {
		if f.every > 0 {
			f.lost += f.at.seq - f.synced.seq
		}
		f.at, f.torn = f.synced, true
		_ = f.restore()
		return fmt.Errorf("audit: %w", err)
	}
	f.synced = f.at
	f.setHead()
	return nil
}

func (f *File) setHead() {
	h := Head{Seq: f.synced.seq}
	if f.chain != nil {
		h.Hash = hex.EncodeToString(f.synced.sum[:])
	}
	f.head.Store(&h)
}

// Head returns the end of what is safe from a loss of power.
func (f *File) Head() Head { return *f.head.Load() }

// begin begins a new file. It gets its name when its header is safe, so that there is no file without one.
func (f *File) begin() error {
	if f.w != nil {
		if err := f.sync(); err != nil {
			return err
		}
	}
	h := header{First: f.at.seq + 1, Time: time.Now().Round(0).UTC(), Chain: f.chain.called()}
	if f.chain != nil {
		h.Prev = hex.EncodeToString(f.at.sum[:])
	}
	to := mark{seq: f.at.seq, sum: f.at.sum}
	text := f.chain.end(h.appendOpen(nil), 0, &to.sum)
	to.size = int64(len(text))
	w, err := f.draft(text, fileName(h.First))
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if f.w != nil {
		f.older = append(f.older, dirFile{fileName(f.first), f.first, f.at.size})
		_ = f.w.Close() // it is synced
	}
	f.w, f.first, f.began, f.at, f.synced = w, h.First, h.Time, to, to
	f.folder = true
	if err := f.syncFolder(); err != nil {
		return err
	}
	f.setHead()
	return nil
}

// draft makes a file with a header, which is then open.
func (f *File) draft(text []byte, name string) (w *os.File, err error) {
	path := filepath.Join(f.dir, name)
	err = f.step("create", func() error {
		w, err = os.OpenFile(path+draftEnding, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = f.step("write header", func() error {
		_, err := w.Write(text)
		return err
	})
	if err == nil {
		err = f.step("sync header", w.Sync)
	}
	if err == nil {
		err = f.step("rename", func() error { return os.Rename(path+draftEnding, path) })
	}
	if err != nil {
		_ = w.Close()
		_ = os.Remove(path + draftEnding)
		return nil, err
	}
	return w, nil
}

// syncFolder makes names safe.
func (f *File) syncFolder() error {
	if !f.folder {
		return nil
	}
	if err := f.step("sync folder", func() error { return syncDir(f.dir) }); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	f.folder = false
	return nil
}

// prune removes the oldest files where there is not room for another full one. A record that says so is safe before.
func (f *File) prune() error {
	total := f.maxFile
	for _, o := range f.older {
		total += o.size
	}
	n := 0
	for ; total > f.maxTotal; n++ {
		total -= f.older[n].size
	}
	if n == 0 {
		return nil
	}
	kept := f.first
	if n < len(f.older) {
		kept = f.older[n].first
	}
	if f.pruned != kept {
		said, to := f.encode([]Record{about(OpPrune, chansec.Allowed, kept, fmt.Sprintf("%d old files were removed", n), "")})
		if said == 0 { // the file is full, since the bounds are others than they were
			if err := f.begin(); err != nil {
				return err
			}
			return f.prune()
		}
		if err := f.flush(to); err != nil {
			return err
		}
		if err := f.sync(); err != nil {
			return err
		}
		f.pruned = kept
	}
	for ; n > 0; n-- {
		err := f.step("remove", func() error { return os.Remove(filepath.Join(f.dir, f.older[0].name)) })
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("audit: %w", err)
		}
		f.older = f.older[1:]
		f.folder = true
	}
	return f.syncFolder()
}

// syncNowAndThen is the goroutine of a File that does not sync at once.
func (f *File) syncNowAndThen() {
	var failed error
	for {
		wait := f.every
		if failed == nil {
			select {
			case <-f.unsafe:
			case <-f.stop:
				return
			}
		} else {
			wait = max(wait, asyncPause)
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-f.stop:
			pause.Stop()
			return
		}
		f.commit <- struct{}{}
		failed = f.secure()
		<-f.commit
	}
}

// secure makes safe what is written, and records what an earlier sync lost.
func (f *File) secure() error {
	if err := f.sync(); err != nil {
		return err
	}
	if f.torn || f.lost > 0 {
		return f.write(nil)
	}
	return nil
}

// Flush makes everything safe that Record took, or a record that says how many of them a disk has lost meanwhile.
func (f *File) Flush(ctx context.Context) error {
	select {
	case f.commit <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.commit }()
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	if closed {
		return nil // and safe
	}
	return f.secure()
}

// Close makes everything safe and lets the folder go. Afterwards Record fails with [chansec.ErrClosed], and Records still
// works.
func (f *File) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	f.mu.Unlock()
	close(f.stop)
	f.syncer.Wait()
	f.commit <- struct{}{}
	defer func() { <-f.commit }()
	f.writePending() // of those whose context ended
	err := f.sync()
	if f.torn || f.lost > 0 {
		err = cmp.Or(err, f.write(nil))
	}
	if e := f.w.Close(); err == nil && e != nil {
		err = fmt.Errorf("audit: %w", e)
	}
	if e := f.lock.Close(); err == nil && e != nil {
		err = fmt.Errorf("audit: %w", e)
	}
	return err
}

// Records yields what the files hold. See Search.
func (f *File) Records(ctx context.Context, filter Filter) iter.Seq2[Record, error] {
	return Search(ctx, f.dir, filter)
}
