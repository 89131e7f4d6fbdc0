package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"

	"github.com/chansec/chansec/policy"
)

// demo fills a new database, plays the garage and the safe, and says what to try.
func (p *program) demo(ctx context.Context, s *service) error {
	administrator, done, err := s.store.Bootstrap(ctx, "")
	if err != nil {
		return err
	}
	greg := rand.Text()
	if done {
		for _, x := range []struct {
			operation string
			arguments map[string]any
		}{
			{"topic.add", map[string]any{"name": "com.home", "description": "the house"}},
			{"topic.add", map[string]any{"name": "com.home.garage", "description": "the garage with its door"}},
			{"topic.add", map[string]any{"name": "com.home.safe", "description": "the safe"}},
			{"role.add", map[string]any{"name": "family", "description": "who lives here", "bind_topic": "com"}},
			{"topicrole.add", map[string]any{"topic_name": "com.home.garage", "name": "family", "activity": []string{"call", "subscribe", "publish"}}},
			{"user.add", map[string]any{"login": "greg", "fullname": "Greg", "tzname": "America/Chicago", "secret": greg, "roles": []string{"family"}}},
		} {
			arguments, err := json.Marshal(x.arguments)
			if err != nil {
				return err
			}
			if _, err := s.admin.Do(ctx, policy.Root(), x.operation, arguments); err != nil {
				return fmt.Errorf("%s: %w", x.operation, err)
			}
		}
	}
	house, err := client.ConnectLocal(s.router, client.Config{Realm: s.config.WAMP.Realm, Logger: log.New(io.Discard, "", 0)})
	if err != nil {
		return err
	}
	for procedure, answer := range map[string]string{"com.home.garage.door.open": "the garage door is open", "com.home.safe.open": "the safe is open"} {
		err := house.Register(procedure, func(context.Context, *wamp.Invocation) client.InvokeResult {
			return client.InvokeResult{Args: wamp.List{answer}}
		}, nil)
		if err != nil {
			return err
		}
	}
	url := fmt.Sprintf("ws://%s%s", s.wampAt, s.config.WAMP.Path)
	set := ""
	if url != defaultURL {
		set = "  export CHANSEC_URL=" + url + "\n"
	}
	text := "A guarded WAMP router is at " + url + ", over the database " + quoted(s.config.Database) + ".\n\n"
	if !done {
		return p.print(text + "Its secrets were shown when it was made; delete it to begin anew. Ctrl-C ends it.\n")
	}
	return p.print(text + `adm administrates it, greg lives there. Their secrets are not shown again. In another terminal:

` + set + `  export CHANSEC_USER=greg CHANSEC_SECRET=` + greg + `
  chansec router call com.home.garage.door.open    # he may
  chansec router call com.home.safe.open           # he may not

  export CHANSEC_USER=adm CHANSEC_SECRET=` + administrator + `
  chansec user list
  chansec topicrole permission greg com.home.safe.open call
  chansec topicrole list --role family
  chansec session list
  chansec activity list --all

Ctrl-C ends it.
`)
}
