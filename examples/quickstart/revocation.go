package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/chansec/chansec"
)

// next waits for the next reading of a lease, or for its end.
func next(ctx context.Context, lease chansec.Lease[float64]) string {
	for message, err := range lease.Messages(ctx) {
		if err != nil {
			break
		}
		return fmt.Sprintf("receives %.1f", message.Content)
	}
	return "receives nothing"
}

func state(lease chansec.Lease[float64]) string {
	if lease.Err() != nil {
		return "lease is cut"
	}
	return "lease goes on"
}

func revocation(ctx context.Context, out io.Writer) error {
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("sensor"), chansec.ACLRead("dashboard", "archive"))
	if err != nil {
		return err
	}
	readings, err := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(acl))
	if err != nil {
		return err
	}
	defer readings.Close()
	if err := readings.Start(ctx); err != nil {
		return err
	}
	sensor := readings.As("sensor")
	dashboard, err := readings.As("dashboard").Subscribe(ctx)
	if err != nil {
		return err
	}
	archive, err := readings.As("archive").Subscribe(ctx)
	if err != nil {
		return err
	}

	fmt.Fprint(out, `2. A REVOCATION CUTS A LIVE SUBSCRIPTION

   The dashboard and an archive follow the channel, each with a lease.

`)
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "   what happens\tdashboard\tarchive")
	if _, err := sensor.Write(ctx, 21.5); err != nil {
		return err
	}
	fmt.Fprintf(table, "   the sensor writes 21.5\t%s\t%s\n", next(ctx, dashboard), next(ctx, archive))

	acl.Revoke("dashboard")
	<-dashboard.Done() // though nothing was written
	fmt.Fprintf(table, "   the dashboard is revoked\t%s\t%s\n", state(dashboard), state(archive))

	if _, err := sensor.Write(ctx, 22.0); err != nil {
		return err
	}
	fmt.Fprintf(table, "   the sensor writes 22.0\t%s\t%s\n", next(ctx, dashboard), next(ctx, archive))
	table.Flush()
	fmt.Fprintf(out, `
   Nothing that is written after a revocation reaches the lease it cut; the others miss nothing.
   The dashboard's lease says why it ended:
     %v

`, dashboard.Err())
	return nil
}
