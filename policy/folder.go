package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// folder is where files are written so that a crash leaves all of one or nothing of it.
type folder struct {
	dir   string
	fault func(step string) error // called before every step that a crash may come between; nil but in tests
}

// draftEnding is that of files which do not, or never, count.
const draftEnding = ".draft"

func (f *folder) at(step string) error {
	if f.fault == nil {
		return nil
	}
	return f.fault(step)
}

// draft writes a file under a name that begins like this and means nothing, readable for its owner alone, and syncs it.
func (f *folder) draft(ctx context.Context, begin string, text []byte) (name string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if err := f.at("create"); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(f.dir, begin+"*"+draftEnding) // mode 0600
	if err != nil {
		return "", fmt.Errorf("policy: %w", err)
	}
	if err = f.at("write"); err != nil {
		_, _ = file.Write(text[:len(text)/2]) // what a crash may leave
	} else {
		_, err = file.Write(text)
	}
	if err == nil {
		err = f.at("sync")
	}
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return "", fmt.Errorf("policy: %w", err)
	}
	return file.Name(), nil
}

// rename gives a draft its name, in the place of what had it.
func (f *folder) rename(draft, name string) error {
	if err := f.at("rename"); err != nil {
		return err
	}
	if err := os.Rename(draft, filepath.Join(f.dir, name)); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	return f.sync()
}

// sync makes names durable.
func (f *folder) sync() error {
	if err := f.at("sync folder"); err != nil {
		return err
	}
	d, err := os.Open(f.dir)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	return nil
}

// maxFileBytes is that of a script and the lines around it.
const maxFileBytes = maxScriptBytes + 4096

// readFile reads a file that is not too long.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("policy: %w", err)
	case len(text) > maxFileBytes:
		return nil, refuse(Limit, "file", name, "at most "+strconv.Itoa(maxFileBytes)+" bytes")
	}
	return text, nil
}
