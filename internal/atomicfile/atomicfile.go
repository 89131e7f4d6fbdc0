// Package atomicfile writes files so that a crash leaves all of one or nothing of it: under another name, synced, and only
// then under its own, after which the folder is synced.
package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
)

// Folder is where files are written. Its errors say which file they are about.
type Folder struct {
	Dir string
	// Fault is called before every step that a crash may come between; an error of it is what a crash would do. It is nil
	// but in tests.
	Fault func(step string) error
}

// At is called before a step.
func (f *Folder) At(step string) error {
	if f.Fault == nil {
		return nil
	}
	return f.Fault(step)
}

// ending is that of files which do not, or never, count.
const ending = ".draft"

// DraftOf returns the name of the file that a draft of this name was to be, or "" if it is no draft's.
func DraftOf(draft string) (name string) {
	rest, ok := strings.CutSuffix(draft, ending)
	at := strings.LastIndexByte(rest, '.')
	if !ok || at < 1 || rest[0] != '.' || at+1 == len(rest) || strings.Trim(rest[at+1:], "0123456789") != "" {
		return ""
	}
	return rest[1:at]
}

// Draft writes a text that is to be a file of that name, for its owner alone, and syncs it. It returns the path of the
// draft, which is the caller's to remove: once it has its name, there is none.
func (f *Folder) Draft(name string, text []byte) (path string, err error) {
	if err := f.At("create"); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(f.Dir, "."+name+".*"+ending) // mode 0600
	if err != nil {
		return "", err
	}
	if err = f.At("write"); err != nil {
		_, _ = file.Write(text[:len(text)/2]) // what a crash may leave
	} else {
		_, err = file.Write(text)
	}
	if err == nil {
		err = f.At("sync")
	}
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}

// Rename gives a draft its name, in the place of what had it.
func (f *Folder) Rename(draft, name string) error {
	if err := f.At("rename"); err != nil {
		return err
	}
	if err := os.Rename(draft, filepath.Join(f.Dir, name)); err != nil {
		return err
	}
	return f.Sync()
}

// Replace puts a text in the place of the file of that name, or makes it.
func (f *Folder) Replace(name string, text []byte) error {
	draft, err := f.Draft(name, text)
	if err != nil {
		return err
	}
	defer os.Remove(draft)
	return f.Rename(draft, name)
}

// Sync makes names durable.
func (f *Folder) Sync() error {
	if err := f.At("sync folder"); err != nil {
		return err
	}
	d, err := os.Open(f.Dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// Tidy removes the drafts of a file that crashes left. Nobody may be writing it.
func (f *Folder) Tidy(name string) error {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if DraftOf(e.Name()) == name {
			if err := os.Remove(filepath.Join(f.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
