// Custom shows a security of one's own: OAuth, in oauth.go, asks an OAuth server about every token. The
// server runs in this program, on a free port of this machine.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"github.com/chansec/chansec"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

type channel = chansec.BroadcastChannel[string]

func run(ctx context.Context, out io.Writer) error {
	server := &oauthServer{secret: rand.Text(), tokens: map[string]answer{
		"token-of-sensor":    {Active: true, Sub: "sensor", Scope: "write", Channels: []string{"readings"}},
		"token-of-dashboard": {Active: true, Sub: "dashboard", Scope: "read", Channels: []string{"readings", "alarms"}},
		"token-of-intern":    {Active: true, Sub: "intern", Scope: "read"},
	}}
	endpoint, stop, err := server.listen()
	if err != nil {
		return err
	}
	defer stop()
	security := &OAuth{Endpoint: endpoint, Secret: server.secret, Believe: time.Second, Client: &http.Client{Timeout: time.Second}}

	readings, err := open(ctx, "readings", security)
	if err != nil {
		return err
	}
	defer readings.Close()
	alarms, err := open(ctx, "alarms", security)
	if err != nil {
		return err
	}
	defer alarms.Close()

	reach(ctx, out, readings, alarms)
	return lifetime(ctx, out, server, stop, readings)
}

func open(ctx context.Context, id string, security chansec.ChannelSecurity) (*channel, error) {
	c, err := chansec.NewBroadcast[string](id, chansec.WithSecurity(security))
	if err != nil {
		return nil, err
	}
	return c, c.Start(ctx)
}

// reach shows how far each token goes.
func reach(ctx context.Context, out io.Writer, readings, alarms *channel) {
	read := func(p chansec.BroadcastPort[string]) error { _, err := p.Read(ctx, 1); return err }
	write := func(p chansec.BroadcastPort[string]) error { _, err := p.Write(ctx, "21.5"); return err }
	try := func(c *channel, token string, do func(chansec.BroadcastPort[string]) error) string {
		caller, err := c.Authenticate(ctx, token)
		if err == nil {
			err = do(c.For(caller))
		}
		return outcome(err)
	}

	fmt.Fprint(out, `1. THE SERVER SAYS WHO A TOKEN BELONGS TO, AND HOW FAR IT REACHES

`)
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "   token\tthe server says\twrite readings\tread readings\tread alarms")
	for _, t := range []struct{ token, says string }{
		{"token-of-sensor", "sensor: write, on readings"},
		{"token-of-dashboard", "dashboard: read, on readings and alarms"},
		{"token-of-intern", "intern: read, on nothing"},
		{"made-up", "inactive"},
	} {
		fmt.Fprintf(table, "   %s\t%s\t%s\t%s\t%s\n", t.token, t.says,
			try(readings, t.token, write), try(readings, t.token, read), try(alarms, t.token, read))
	}
	local := readings.As("sensor")
	fmt.Fprintf(table, "   (none)\tnot asked: a port by name\t%s\t%s\t%s\n",
		outcome(write(local)), outcome(read(local)), outcome(read(alarms.As("sensor"))))
	table.Flush()
	fmt.Fprint(out, `
   Authenticate puts the answer into a grant, and the guard of every channel enforces it.
   This security believes the server only, so that a name without a token gets nothing.

`)
}

// lifetime shows for how long an answer is believed.
func lifetime(ctx context.Context, out io.Writer, server *oauthServer, stop func() error, readings *channel) error {
	dashboard, err := readings.Authenticate(ctx, "token-of-dashboard")
	if err != nil {
		return err
	}
	lease, err := readings.For(dashboard).Subscribe(ctx)
	if err != nil {
		return err
	}
	server.revoke("token-of-dashboard")
	cameBack := func() string { _, err := readings.Authenticate(ctx, "token-of-dashboard"); return outcome(err) }
	meanwhile := "the lease goes on: the answer is still believed"
	if lease.Err() != nil {
		meanwhile = lease.Err().Error()
	}
	<-lease.Done()

	fmt.Fprint(out, `2. AN ANSWER IS BELIEVED FOR A SECOND

   The dashboard subscribes to the readings. Then:

`)
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "   the server revokes its token\t%s\n", meanwhile)
	fmt.Fprintf(table, "   the second is over\t%v\n", lease.Err())
	fmt.Fprintf(table, "   it shows the token again\t%s\n", cameBack())
	if err := stop(); err != nil {
		return err
	}
	fmt.Fprintf(table, "   the server is gone\t%s\n", cameBack())
	table.Flush()
	fmt.Fprint(out, `
   The grant's ExpiresAt bounds how long a revocation at the server may go unnoticed, also by whoever is subscribed.
   A server that cannot be asked is no reason for a yes, and no proof that the token is bad either.
`)
	return nil
}

// outcome says in a word how an attempt ended.
func outcome(err error) string {
	switch {
	case err == nil:
		return "allowed"
	case errors.Is(err, chansec.ErrUnauthenticated):
		return "refused"
	case errors.Is(err, chansec.ErrPermission):
		return "denied"
	}
	return "could not be found out"
}
