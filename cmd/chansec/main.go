// Command chansec does by hand what chansec does for programs: keys and tokens, policies, rules, trails, and the users, roles
// and topics of a database or of a router.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(interruptible(os.Args[1:])) }

// interruptible runs the program until it is done or a signal ends it. A second signal ends it at once.
func interruptible(args []string) int {
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Stop(signals)
		end(signalled{s})
	}()
	return run(ctx, args, os.Stdin, os.Stdout, os.Stderr, os.Getenv)
}

// signalled is why a context ended.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }
