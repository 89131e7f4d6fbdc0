//go:build unix

package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"syscall"
)

// unprivileged is whom the server runs as where root runs the tests, for it refuses to run as root; nil is who runs them.
var unprivileged = sync.OnceValue(func() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, e1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, e2 := strconv.ParseUint(u.Gid, 10, 32)
		if e1 == nil && e2 == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	return nil
})

// as makes a command one of theirs.
func as(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Credential: unprivileged()} }

// alone keeps signals for the group of this process from a command.
func alone(cmd *exec.Cmd) { cmd.SysProcAttr.Setpgid = true }

// give makes a file theirs.
func give(name string) error {
	c := unprivileged()
	if c == nil {
		return nil
	}
	if err := os.Chown(name, int(c.Uid), int(c.Gid)); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	return nil
}
