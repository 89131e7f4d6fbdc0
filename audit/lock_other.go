//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package audit

import (
	"fmt"
	"io"
	"os"
)

// lockFolder only makes the file: there is no lock here that ends with the process.
func lockFolder(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return f, nil
}

// syncDir does nothing: not every system can sync a folder.
func syncDir(string) error { return nil }
