package policy

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/chansec/chansec/internal/atomicfile"
)

// folder is an atomicfile.Folder that can be locked, with errors of this package.
type folder struct{ atomicfile.Folder }

// draft writes a draft of a file, for its owner alone, and syncs it.
func (f *folder) draft(ctx context.Context, name string, text []byte) (path string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	path, err = f.Draft(name, text)
	return path, ours(err)
}

// ours says of an error of a file which package it comes from.
func ours(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("policy: %w", err)
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
