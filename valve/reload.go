package valve

import (
	"bytes"
	"context"
	"io"
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

// readFile reads a permission file, and one byte more than it may have at most.
func readFile(name string) ([]byte, error) {
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
// one which is still being written is not taken for whole. It tells about every load by calling done with nil, or with why the
// old rules stay in force. It returns when the context ends, with its error, or at once if the rules have no file.
func (r *Rules) Watch(ctx context.Context, interval time.Duration, done func(error)) error {
	if r.file == "" || interval <= 0 || done == nil {
		return &chansec.InvalidError{What: "Watch", Want: "rules that Open returned, an interval and a function"}
	}
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	seen, settled := []byte(nil), []byte(nil)
	unreadable := ""
	for first := true; ; first = false {
		source, err := readFile(r.file)
		switch {
		case err != nil:
			if unreadable != err.Error() { // once
				unreadable = err.Error()
				done(err)
			}
		case first:
			seen = source // loaded below, since it may have changed after Open
		case bytes.Equal(source, seen) && !(settled != nil && bytes.Equal(source, settled)):
			settled, unreadable = source, ""
			done(r.load(source))
		default:
			seen, unreadable = source, ""
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}
