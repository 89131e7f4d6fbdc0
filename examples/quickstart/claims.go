package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/chansec/chansec"
)

// handOver is what happened to one job that two workers wanted.
type handOver struct {
	alice, bob chansec.Claim[string]
	late       error // what alice's acknowledgement came to
}

// handsOver lets alice claim a job and lose it, and bob, who waits for one, do it.
func handsOver(ctx context.Context, acl *chansec.ACLSecurity, timeout time.Duration, lose func()) (h handOver, err error) {
	jobs, err := chansec.NewWorkQueue[string]("jobs", chansec.WithSecurity(acl), chansec.WithClaimTimeout(timeout))
	if err != nil {
		return h, err
	}
	defer jobs.Close()
	if err := jobs.Start(ctx); err != nil {
		return h, err
	}
	if _, err := jobs.As("foreman").Write(ctx, "photo 7"); err != nil {
		return h, err
	}
	if h.alice, err = jobs.As("alice").ClaimNext(ctx); err != nil {
		return h, err
	}
	lose()
	if h.bob, err = jobs.As("bob").ClaimNext(ctx); err != nil { // waits until a job is free
		return h, err
	}
	h.late = h.alice.Acknowledge(ctx)
	return h, h.bob.Acknowledge(ctx)
}

func claims(ctx context.Context, out io.Writer) error {
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("foreman"), chansec.ACLRead("alice", "bob"))
	if err != nil {
		return err
	}
	slow, err := handsOver(ctx, acl, 500*time.Millisecond, func() { /* her time passes */ })
	if err != nil {
		return err
	}
	revoked, err := handsOver(ctx, acl, time.Hour, func() { acl.Revoke("alice") })
	if err != nil {
		return err
	}

	fmt.Fprint(out, `3. A WORKER LOSES ITS CLAIM, NOBODY LOSES THE JOB

   Alice claims a job. Bob waits for one. Alice takes too long in one case, and is revoked in the other.

`)
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "   what happens\tshe takes too long\tshe is revoked")
	fmt.Fprintf(table, "   alice has\t%s, attempt %d\t%s, attempt %d\n",
		slow.alice.Message.Content, slow.alice.Attempt, revoked.alice.Message.Content, revoked.alice.Attempt)
	fmt.Fprintf(table, "   bob gets\t%s, attempt %d\t%s, attempt %d\n",
		slow.bob.Message.Content, slow.bob.Attempt, revoked.bob.Message.Content, revoked.bob.Attempt)
	fmt.Fprintf(table, "   alice acknowledges\t%s\t%s\n", outcome(slow.late), outcome(revoked.late))
	fmt.Fprintln(table, "   bob acknowledges\tallowed\tallowed")
	table.Flush()
	fmt.Fprintf(out, `
   The job goes to the next worker, and an acknowledgement that comes too late cannot touch his claim.
   Alice is told:
     %v
     %v

`, slow.late, revoked.late)
	return nil
}
