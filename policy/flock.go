//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package policy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock keeps other processes, and others in this one, from writing in the folder. It ends with the process at the latest.
func (f *folder) lock(ctx context.Context) (unlock func(), err error) {
	d, err := os.Open(f.Dir)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = d.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = d.Close()
			return nil, fmt.Errorf("policy: lock of %s: %w", f.Dir, err)
		}
		select {
		case <-ctx.Done():
			_ = d.Close()
			return nil, ctx.Err()
		case <-again.C:
		}
	}
}
