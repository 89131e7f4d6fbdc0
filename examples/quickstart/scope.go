package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/chansec/chansec"
)

func scope(ctx context.Context, out io.Writer) error {
	jwt, err := newJWT()
	if err != nil {
		return err
	}
	token, err := jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "contractor", Role: chansec.RoleWrite, Channels: []string{"readings"}})
	if err != nil {
		return err
	}

	fmt.Fprint(out, `4. A TOKEN REACHES THE CHANNELS THAT IT NAMES

   A contractor holds a token that says: write, on the channel readings.

`)
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "   channel\twrite\tread\tclear")
	var last error
	for _, id := range []string{"readings", "billing"} {
		channel, err := chansec.NewBroadcast[float64](id, chansec.WithSecurity(jwt))
		if err != nil {
			return err
		}
		defer channel.Close()
		if err := channel.Start(ctx); err != nil {
			return err
		}
		contractor, err := channel.Authenticate(ctx, token)
		if err != nil {
			return err
		}
		p := channel.For(contractor)
		last = write(ctx, p)
		fmt.Fprintf(table, "   %s\t%s\t%s\t%s\n", id, outcome(last), outcome(read(ctx, p)), outcome(erase(ctx, p)))
	}
	table.Flush()
	fmt.Fprintf(out, `
   Whoever may write may read, too. The token bounds them both, whatever else the security would allow:
     %v
`, last)
	return nil
}
