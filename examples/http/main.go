// Http makes two channels available over HTTP and shows what a client sees, line by line as curl would. With -serve it then
// stays up, for the curl lines of the README.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/chansec/chansec"
)

func main() {
	serve := flag.Bool("serve", false, "stay up until interrupted")
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen with -serve")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	where := "127.0.0.1:0"
	if *serve {
		where = *addr
	}
	if err := run(ctx, os.Stdout, where, *serve); err != nil {
		log.Fatal(err)
	}
}

// reading is what the channel readings carries.
type reading struct {
	Celsius float64 `json:"celsius"`
}

// service is what this program consists of.
type service struct {
	security *chansec.JWTSecurity
	readings *chansec.BroadcastChannel[reading]
	jobs     *chansec.WorkQueueChannel[string]
	handler  *chansec.HTTPTransport
}

func newService(ctx context.Context) (s *service, err error) {
	secret := make([]byte, 32)
	if _, err = rand.Read(secret); err != nil {
		return nil, err
	}
	key, err := chansec.HMACKey("", "HS256", secret)
	if err != nil {
		return nil, err
	}
	s = &service{}
	if s.security, err = chansec.NewJWTSecurity(key); err != nil {
		return nil, err
	}
	if s.readings, err = chansec.NewBroadcast[reading]("readings", chansec.WithSecurity(s.security)); err != nil {
		return nil, err
	}
	if s.jobs, err = chansec.NewWorkQueue[string]("jobs", chansec.WithSecurity(s.security)); err != nil {
		return nil, err
	}
	if s.handler, err = chansec.NewHTTPTransport(chansec.HTTPLogger(slog.New(slog.DiscardHandler)), chansec.HTTPTokens(s.security, nil)); err != nil {
		return nil, err
	}
	return s, errors.Join(s.readings.Start(ctx), s.jobs.Start(ctx), s.handler.Mount(s.readings), s.handler.Mount(s.jobs))
}

func (s *service) close() { _ = errors.Join(s.handler.Close(), s.readings.Close(), s.jobs.Close()) }

func run(ctx context.Context, out io.Writer, addr string, serve bool) error {
	s, err := newService(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := s.handler.Server("")
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		<-served
	}()

	d := &demo{out: out, base: "http://" + listener.Addr().String(), service: s, tokens: make(map[string]string)}
	if err := d.mint(ctx); err != nil {
		return err
	}
	if serve {
		d.invite()
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			served <- err
			return err
		}
	}
	for _, show := range []func(context.Context) error{d.requests, d.stream, d.ports} {
		if err := show(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mint makes the tokens: a writer, a reader, and an administrator of everything.
func (d *demo) mint(ctx context.Context) error {
	for _, t := range []struct {
		name string
		req  chansec.TokenRequest
	}{
		{"SENSOR", chansec.TokenRequest{SystemID: "sensor", Role: chansec.RoleWrite, Channels: []string{"readings"}}},
		{"DASHBOARD", chansec.TokenRequest{SystemID: "dashboard", Role: chansec.RoleRead, Channels: []string{"readings"}}},
		{"WORKER", chansec.TokenRequest{SystemID: "worker", Role: chansec.RoleWrite, Channels: []string{"jobs"}}},
		{"ADMIN", chansec.TokenRequest{SystemID: "admin", Role: chansec.RoleAdmin, AllChannels: true}},
	} {
		text, err := d.service.security.GenerateToken(ctx, t.req)
		if err != nil {
			return err
		}
		d.tokens[t.name] = text
	}
	return nil
}

// invite prints what a newcomer needs to try the server.
func (d *demo) invite() {
	fmt.Fprintf(d.out, "Serving. In another terminal:\n\n    URL=%s\n", d.base)
	for _, name := range []string{"SENSOR", "DASHBOARD", "WORKER", "ADMIN"} {
		fmt.Fprintf(d.out, "    %s=%s\n", name, d.tokens[name])
	}
	fmt.Fprint(d.out, `
    curl -i -X PUT $URL/channels/readings -H "Authorization: Bearer $SENSOR" -d '{"celsius": 21.5}'
    curl -i $URL/channels/readings -H "Authorization: Bearer $DASHBOARD"
    curl -N $URL/channels/readings/events -H "Authorization: Bearer $DASHBOARD"

Ctrl-C ends it.
`)
}
