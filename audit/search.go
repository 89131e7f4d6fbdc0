package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
)

// Search yields the records of a trail that match, also while a File writes to it. It does not look at the hashes; see
// Verify. A line that is no record is yielded as a *Problem, after which it may go on; the end of a last line that is not
// there (yet) is not.
func Search(ctx context.Context, dir string, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var files []dirFile
		err := cmp.Or(ctx.Err(), f.Check())
		if err == nil {
			files, err = listFiles(os.DirFS(dir))
		}
		if err != nil {
			yield(Record{}, err)
			return
		}
		left := f.Limit
		for i := range files {
			if f.NewestFirst {
				i = len(files) - 1 - i
			}
			if f.Before != 0 && files[i].first >= f.Before || i+1 < len(files) && files[i+1].first <= f.After+1 {
				continue
			}
			if !searchFile(ctx, dir, files[i].name, &f, &left, yield) {
				return
			}
		}
	}
}

// searchFile searches one file; false ends the search.
func searchFile(ctx context.Context, dir, name string, f *Filter, left *int, yield func(Record, error) bool) bool {
	file, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return true // pruned meanwhile
	}
	if err != nil {
		return yield(Record{}, fmt.Errorf("audit: %w", err))
	}
	defer file.Close()
	next := forward(file)
	if f.NewestFirst {
		next = backward(file)
	}
	for count := 0; ; count++ {
		if count%256 == 0 && ctx.Err() != nil {
			yield(Record{}, ctx.Err())
			return false
		}
		line, number, err := next()
		switch {
		case errors.Is(err, io.EOF):
			return true
		case errors.Is(err, errLongLine):
			return yield(Record{}, &Problem{name, number, FaultSyntax, err.Error()})
		case err != nil:
			return yield(Record{}, fmt.Errorf("audit: %w", err))
		}
		r, err := parseLine(line)
		if err != nil {
			if !yield(Record{}, &Problem{name, number, FaultSyntax, err.Error()}) {
				return false
			}
			continue
		}
		if !f.matches(&r) {
			continue
		}
		if !yield(r, nil) {
			return false
		}
		if *left--; *left == 0 {
			return false
		}
	}
}

// parseLine reads a line with or without a hash. No text of a record can look like the member of the hash, because its
// quotes are escaped.
func parseLine(line []byte) (Record, error) {
	body, _, err := cutHash(line)
	if err != nil {
		body, _, err = cut(line, false)
	}
	if err != nil {
		return Record{}, err
	}
	return parseRecord(body)
}

// forward returns the lines of a file after the header, with their numbers, from the first to the last.
func forward(file *os.File) func() ([]byte, int, error) {
	lines, number := newLineReader(file), 0
	return func() ([]byte, int, error) {
		if number == 0 {
			number++
			if _, err := lines.next(); err != nil {
				return nil, number, err
			}
		}
		number++
		line, err := lines.next()
		return line, number, err
	}
}

// backward returns the lines of a file, without their numbers, from the last one to the one after the header.
func backward(file *os.File) func() ([]byte, int, error) {
	var (
		buf   []byte // what begins at off and ends with a line feed
		off   int64
		block = 64 << 10
	)
	load := func() error {
		n := int(min(int64(block), off))
		more := make([]byte, n, n+len(buf))
		if _, err := file.ReadAt(more, off-int64(n)); err != nil {
			return err
		}
		buf, off = append(more, buf...), off-int64(n)
		return nil
	}
	size, started := int64(0), false
	return func() ([]byte, int, error) {
		if !started {
			info, err := file.Stat()
			if err != nil {
				return nil, 0, err
			}
			size, started = info.Size(), true
			for off = size; ; {
				if i := bytes.LastIndexByte(buf, '\n'); i >= 0 {
					buf = buf[:i+1]
					break
				}
				if off == 0 {
					return nil, 0, io.EOF
				}
				if err := load(); err != nil {
					return nil, 0, err
				}
			}
		}
		for len(buf) > 0 {
			if i := bytes.LastIndexByte(buf[:len(buf)-1], '\n'); i >= 0 {
				line := buf[i+1 : len(buf)-1]
				buf = buf[:i+1]
				return line, 0, nil
			}
			if off == 0 {
				return nil, 0, io.EOF // what is left is the header
			}
			if len(buf) > maxLineBytes {
				return nil, 0, errLongLine
			}
			if err := load(); err != nil {
				return nil, 0, err
			}
		}
		return nil, 0, io.EOF
	}
}
