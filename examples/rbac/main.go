// Rbac guards an HTTP service by roles and shows what clients see, line by line as curl would. With -serve it then stays up,
// and prints curl lines to try it with.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/chansec/chansec/rbac"
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

func run(ctx context.Context, out io.Writer, addr string, serve bool) error {
	config, err := os.MkdirTemp("", "rbac")
	if err != nil {
		return err
	}
	defer os.RemoveAll(config)
	tokens, err := newTokens(config)
	if err != nil {
		return err
	}
	handler, routes, err := newUsers().handler(tokens)
	if err != nil {
		return err
	}

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		<-served
	}()

	d := &demo{out: out, base: "http://" + listener.Addr().String(), tokens: make(map[string]string)}
	if err := d.mint(tokens); err != nil {
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
	d.say("1. THE RULES\n")
	for _, r := range routes {
		d.say("%s", r)
	}
	if err := d.requests(ctx); err != nil {
		return err
	}
	if err := d.columns(tokens); err != nil {
		return err
	}
	return d.mistakes(tokens)
}

// mint makes the tokens: a user, another who has no role, and an administrator.
func (d *demo) mint(tokens *rbac.Tokens) error {
	for _, t := range []struct {
		name string
		id   rbac.Identity
	}{
		{"ALICE", rbac.Identity{ID: "alice", Roles: []string{"user"}}},
		{"BOB", rbac.Identity{ID: "bob"}},
		{"ADMIN", rbac.Identity{ID: "root", Roles: []string{"user", "admin"}}},
	} {
		text, err := tokens.Token(t.id)
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
	for _, name := range []string{"ALICE", "BOB", "ADMIN"} {
		fmt.Fprintf(d.out, "    %s=%s\n", name, d.tokens[name])
	}
	fmt.Fprint(d.out, `
    curl -i $URL/users/bob -H "Authorization: Bearer $ALICE"
    curl -i -X DELETE $URL/users/bob -H "Authorization: Bearer $ALICE"
    curl -i -X POST $URL/users/bob/change_password -H "Authorization: Bearer $BOB" -d 'correct horse'
    curl -i $URL/users/bob/greeting

Ctrl-C ends it.
`)
}
