package valve

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/chansec/chansec"
)

// Open returns rules by a permission file, which Reload and Watch read again. The name ends in .yml, .yaml or .json, and
// c.Permissions is nil. It fails with a LoadError, a chansec.InvalidError, or the error of reading the file.
func Open(file string, c Config, opts ...Option) (*Rules, error) {
	if c.Permissions != nil {
		return nil, &chansec.InvalidError{What: "Permissions", Value: "beside a file", Want: "one of the two"}
	}
	source, err := readFile(file)
	if err != nil {
		return nil, err
	}
	if c.Permissions, err = parseFile(file, source, opts); err != nil {
		return nil, err
	}
	r, err := New(c)
	if err != nil {
		return nil, err
	}
	r.file, r.options = file, opts
	return r, nil
}

var errNoFile = errors.New("it is no regular file")

// readFile reads a permission file, and one byte more than it may have at most. It does not wait for anybody, as to open a pipe
// would.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNoFile}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileBytes+1))
}

// Reload reads the file again and puts it in force. If it cannot be read or loaded, the rules stay as they are, and the
// error says why.
func (r *Rules) Reload() error {
	if r.file == "" {
		return &chansec.InvalidError{What: "Reload", Value: "of rules without a file", Want: "rules that Open returned"}
	}
	r.reading.Lock()
	defer r.reading.Unlock()
	source, err := readFile(r.file)
	if err != nil {
		return err
	}
	return r.load(source)
}

// load puts a new text of the file in force. The runtimes are those of the old one.
func (r *Rules) load(source []byte) error {
	runtimes := func(o *options) error {
		o.pool = r.state.Load().pool
		return nil
	}
	p, err := parseFile(r.file, source, append(r.options[:len(r.options):len(r.options)], runtimes))
	if err != nil {
		return err
	}
	return r.Replace(p)
}

// Watch looks at the file at every interval, and loads it when it has changed and stayed the same for one interval, so that
// one which is still being written is not taken for whole. It compares contents, and so sees every way of changing a file: in
// place, by renaming another over it, or by moving a symbolic link on the way to it. It calls done with nil for every load,
// and with why the old rules stay in force if the file cannot be loaded, or not be read for one interval. It returns when
// the context ends, with its error, or at once if the rules have no file.
func (r *Rules) Watch(ctx context.Context, interval time.Duration, done func(error)) error {
	if r.file == "" || interval <= 0 || done == nil {
		return &chansec.InvalidError{What: "Watch", Want: "rules that Open returned, an interval and a function"}
	}
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	var w watched
	for {
		if told, err := w.look(r); told {
			done(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}

// watched is what was seen of a file. What is seen first is told as well: the file may have changed after Open.
type watched struct{ seen, told *sight }

// sight is what there was to see.
type sight struct {
	source string
	err    string
}

// look reads the file, and loads it if it has settled. It reports whether there is something to tell.
func (w *watched) look(r *Rules) (told bool, err error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	source, err := readFile(r.file)
	now := &sight{source: string(source)}
	if err != nil {
		now = &sight{err: err.Error()}
	}
	settled := w.seen != nil && *now == *w.seen
	w.seen = now
	if !settled || w.told != nil && *now == *w.told {
		return false, nil
	}
	w.told = now
	if err != nil {
		return true, err
	}
	return true, r.load(source)
}
