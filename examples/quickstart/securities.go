package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/chansec/chansec"
)

type port = chansec.BroadcastPort[float64]

func write(ctx context.Context, p port) error { _, err := p.Write(ctx, 21.5); return err }
func read(ctx context.Context, p port) error  { _, err := p.Read(ctx, 10); return err }
func erase(ctx context.Context, p port) error { _, err := p.Clear(ctx); return err }

type attempt struct {
	what string
	err  error
}

// station wires a sensor and a dashboard to a channel, and tries what they may and may not do. It is handed a security and
// never asks which one: all three pass through these same lines.
func station(ctx context.Context, security chansec.ChannelSecurity) ([]attempt, error) {
	readings, err := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(security))
	if err != nil {
		return nil, err
	}
	defer readings.Close()
	if err := readings.Start(ctx); err != nil {
		return nil, err
	}

	sensor, err := security.GenerateToken(ctx, chansec.TokenRequest{SystemID: "sensor", Role: chansec.RoleWrite, AllChannels: true})
	if err != nil {
		return nil, err
	}
	dashboard, err := security.GenerateToken(ctx, chansec.TokenRequest{SystemID: "dashboard", Role: chansec.RoleRead, AllChannels: true})
	if err != nil {
		return nil, err
	}

	var attempts []attempt
	for _, a := range []struct {
		what  string
		token string
		do    func(context.Context, port) error
	}{
		{"the sensor writes a reading", sensor, write},
		{"the dashboard reads it", dashboard, read},
		{"the dashboard writes one of its own", dashboard, write},
		{"the sensor clears the channel", sensor, erase},
		{`a stranger says "sensor" and writes`, "sensor", write},
		{`a stranger says "mallory" and reads`, "mallory", read},
	} {
		caller, err := readings.Authenticate(ctx, a.token)
		if err == nil {
			err = a.do(ctx, readings.For(caller))
		}
		attempts = append(attempts, attempt{a.what, err})
	}
	return attempts, nil
}

// newJWT returns a security whose tokens only this process can make.
func newJWT() (*chansec.JWTSecurity, error) {
	secret := make([]byte, 32)
	rand.Read(secret)
	key, err := chansec.HMACKey("quickstart", "HS256", secret)
	if err != nil {
		return nil, err
	}
	return chansec.NewJWTSecurity(key)
}

func securities(ctx context.Context, out io.Writer) error {
	acl, err := chansec.NewACLSecurity()
	if err != nil {
		return err
	}
	jwt, err := newJWT()
	if err != nil {
		return err
	}
	underOpen, err := station(ctx, chansec.OpenSecurity{})
	if err != nil {
		return err
	}
	underACL, err := station(ctx, acl)
	if err != nil {
		return err
	}
	underJWT, err := station(ctx, jwt)
	if err != nil {
		return err
	}

	fmt.Fprint(out, `1. THE SAME WIRING UNDER THREE SECURITIES

   A sensor may write and a dashboard may read. Each shows the token it was given.

`)
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "   what is tried\tOpen\tACL\tJWT")
	for i := range underOpen {
		fmt.Fprintf(table, "   %s\t%s\t%s\t%s\n", underOpen[i].what,
			outcome(underOpen[i].err), outcome(underACL[i].err), outcome(underJWT[i].err))
	}
	table.Flush()
	fmt.Fprintf(out, `
   Open lets everybody in. ACL looks up a name in a list, and believes whoever says the name.
   JWT wants a signed token, which a stranger does not have: a name alone proves nobody.
   Each refusal says why. To the dashboard that wrote:
     ACL   %v
     JWT   %v
   To the stranger, who shall learn nothing:
     JWT   %v

`, underACL[2].err, underJWT[2].err, underJWT[4].err)
	return nil
}
