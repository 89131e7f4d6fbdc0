// Quickstart shows what chansec does, with nothing but memory behind it: the same wiring under three securities, a
// revocation that cuts a live subscription, workers who lose a claim but not the job, and a token for one channel.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/chansec/chansec"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	for _, show := range []func(context.Context, io.Writer) error{securities, revocation, claims, scope} {
		if err := show(ctx, out); err != nil {
			return err
		}
	}
	return nil
}

// outcome says in one word how an operation ended. What is neither done nor decided is a failure of this program.
func outcome(err error) string {
	switch {
	case err == nil:
		return "allowed"
	case errors.Is(err, chansec.ErrUnauthenticated):
		return "refused"
	case errors.Is(err, chansec.ErrClaimLost):
		return "too late"
	case errors.Is(err, chansec.ErrPermission):
		return "denied"
	}
	return fmt.Sprintf("FAILED: %v", err)
}
