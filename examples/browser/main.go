// Browser serves a channel over HTTP, and a page that shows its messages as they come. Its script, page/chansec.js, is for
// any page.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/chansec/chansec"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen")
	every := flag.Duration("every", 3*time.Second, "how often the clock writes the time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr, *every); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string, every time.Duration) error {
	s, err := newSite(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := s.transport.Server("")
	server.Handler = s.handler()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Printf("Open http://%s in a browser. Ctrl-C ends it.\n", listener.Addr())

	tick := time.NewTicker(every)
	defer tick.Stop()
	clock := s.news.As("clock")
	for {
		select {
		case now := <-tick.C:
			if _, err := clock.Write(ctx, note{"It is " + now.Format(time.TimeOnly)}); err != nil && ctx.Err() == nil {
				return err
			}
		case err := <-served:
			return err
		case <-ctx.Done():
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return server.Shutdown(stopping)
		}
	}
}

// note is what the channel carries.
type note struct {
	Text string `json:"text"`
}

// site is what this program consists of.
type site struct {
	security  *chansec.JWTSecurity
	news      *chansec.BroadcastChannel[note]
	transport *chansec.HTTPTransport
}

func newSite(ctx context.Context) (s *site, err error) {
	secret := make([]byte, 32)
	if _, err = rand.Read(secret); err != nil {
		return nil, err
	}
	key, err := chansec.HMACKey("", "HS256", secret)
	if err != nil {
		return nil, err
	}
	s = &site{}
	if s.security, err = chansec.NewJWTSecurity(key); err != nil {
		return nil, err
	}
	if s.news, err = chansec.NewBroadcast[note]("news", chansec.WithSecurity(s.security)); err != nil {
		return nil, err
	}
	if s.transport, err = chansec.NewHTTPTransport(); err != nil {
		return nil, err
	}
	return s, errors.Join(s.news.Start(ctx), s.transport.Mount(s.news))
}

func (s *site) close() { _ = errors.Join(s.transport.Close(), s.news.Close()) }
