package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	nexus "github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/sqlstore"
	"github.com/chansec/chansec/wampauth"
)

// longestEnd is how long the service takes at most to end what is open.
const longestEnd = 10 * time.Second

// longestMessage is how many bytes a message to the router has at most, as in nexus for raw sockets.
const longestMessage = 16 << 20

// service is a router and channels over HTTP, over one database.
type service struct {
	config config
	log    *slog.Logger
	store  *sqlstore.Store
	admin  *sqlstore.Administration
	tokens *chansec.JWTSecurity // nil without http
	guard  *wampauth.Guard
	router nexus.Router
	failed chan error
	wampAt string // where they listen
	httpAt string
	ends   []func(context.Context) error // the last one first
}

// close ends everything, in the reverse order of its beginning.
func (s *service) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), longestEnd)
	defer cancel()
	var all []error
	for i := len(s.ends) - 1; i >= 0; i-- {
		all = append(all, s.ends[i](ctx))
	}
	return errors.Join(all...)
}

// start begins a service. What was begun is ended if the rest fails.
func (p *program) start(ctx context.Context, c config) (s *service, err error) {
	s = &service{config: c, log: slog.New(slog.NewTextHandler(p.err, nil)), failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	keys, err := p.sealingKeys(ctx, c.SealingKeys)
	if err != nil {
		return s, err
	}
	s.store, err = p.openStore(ctx, c.Database, sqlstore.Options{Node: c.Node, MaxStaleness: c.MaxStaleness, Logger: s.log,
		Activity: sqlstore.ActivityOptions{Required: c.Activity.Required}, Users: sqlstore.UserOptions{Keys: keys}})
	if err != nil {
		return s, err
	}
	s.ends = append(s.ends, func(context.Context) error { return s.store.Close() })
	if err := s.store.Users().CheckKeys(ctx); err != nil { // or nobody could log in
		return s, err
	}
	if c.HTTP != nil {
		if err := s.openTokens(ctx, p); err != nil {
			return s, err
		}
	}
	if c.WAMP != nil {
		if err := s.startWAMP(ctx); err != nil {
			return s, err
		}
	}
	if c.HTTP != nil {
		if err := s.startHTTP(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

// startWAMP begins the router, with the administration.
func (s *service) startWAMP(ctx context.Context) (err error) {
	w := s.config.WAMP
	sessions := s.store.Sessions()
	var tickets chansec.Authenticator
	if w.Tickets {
		tickets = s.tokens
	}
	s.guard, err = wampauth.New(wampauth.Config{Tickets: tickets, Policy: s.store.Users().Authorizer(), Base: w.Base, Sessions: sessions, Log: s.log,
		Activity: audit.SinkFunc(s.store.Activity().Offer), RequireActivity: s.config.Activity.Required,
		Keys: wampauth.KeysFunc(func(ctx context.Context, login string) (wampauth.Key, error) {
			k, err := s.store.Users().CRA(ctx, login)
			return wampauth.Key{Key: k.Key(), Salt: k.Salt, Iterations: k.Iterations, KeyLength: k.KeyLen}, err
		})})
	if err != nil {
		return err
	}
	realm := &nexus.RealmConfig{URI: wamp.URI(w.Realm)}
	if err := s.guard.Protect(realm); err != nil {
		return err
	}
	if s.router, err = nexus.NewRouter(&nexus.Config{RealmConfigs: []*nexus.RealmConfig{realm}}, log.New(io.Discard, "", 0)); err != nil {
		return err
	}
	s.ends = append(s.ends, func(context.Context) error { s.router.Close(); return nil })
	if err := s.guard.Start(ctx, s.router); err != nil {
		return err
	}
	s.ends = append(s.ends, s.guard.Close)
	sessions.OnKick(func(k sqlstore.Kick) {
		if err := s.guard.KickSession(k.Number, k.By, k.Reason); err != nil && !errors.Is(err, wampauth.ErrNoSession) {
			s.log.Error("a session was not ended", "session", k.Number, "error", err)
		}
	})
	s.admin, err = s.store.Administration(sqlstore.AdministrationOptions{Base: w.Base, Router: s.guard.Numbers})
	if err != nil {
		return err
	}
	if err := s.guard.Serve(ctx, s.admin); err != nil {
		return err
	}
	handler := nexus.NewWebsocketServer(wampauth.CopyEvents(s.router))
	handler.EnableRequestCapture = true // attempts to log in are counted by address
	handler.KeepAlive = 30 * time.Second
	if len(w.Origins) > 0 {
		if err := handler.AllowOrigins(w.Origins); err != nil {
			return fmt.Errorf("wamp.origins: %w", err)
		}
	}
	bounded, err := wampauth.LimitMessages(handler, longestMessage)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(w.Path, bounded)
	s.wampAt, err = s.listen(&http.Server{Addr: w.Listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10})
	return err
}

// startHTTP begins the channels. A token proves a user, who may do what both the token and the policy allow.
// openTokens opens what verifies tokens, for both.
func (s *service) openTokens(ctx context.Context, p *program) error {
	h := s.config.HTTP
	_, key, err := p.loadKey(ctx, h.Key, "", "")
	if err != nil {
		return err
	}
	opts := []chansec.JWTOption{chansec.JWTMaxStaleness(cmp.Or(s.config.MaxStaleness, sqlstore.DefaultMaxStaleness))}
	if h.Issuer != "" {
		opts = append(opts, chansec.JWTIssuer(h.Issuer))
	}
	if h.Audience != "" {
		opts = append(opts, chansec.JWTAudience(h.Audience))
	}
	if s.tokens, err = chansec.OpenJWTSecurity(ctx, s.store.Revocations(), key, opts...); err != nil {
		return err
	}
	return s.store.Revocations().OnChange(ctx, s.tokens.Refresh)
}

func (s *service) startHTTP(ctx context.Context) error {
	h := s.config.HTTP
	security, err := chansec.Join(s.tokens, s.store.Users().Authorizer(), s.tokens)
	if err != nil {
		return err
	}
	transport, err := chansec.NewHTTPTransport(chansec.HTTPLogger(s.log))
	if err != nil {
		return err
	}
	s.ends = append(s.ends, func(context.Context) error { return transport.Close() })
	trail := chansec.WithAudit(audit.Decisions(audit.SinkFunc(s.store.Activity().Log)))
	if s.config.Activity.Required {
		trail = chansec.WithRequiredAudit(audit.Decisions(audit.SinkFunc(s.store.Activity().Log)))
	}
	for _, c := range h.Channels {
		channel, err := newChannel(c, chansec.WithSecurity(security), trail)
		if err != nil {
			return err
		}
		s.ends = append(s.ends, func(context.Context) error { return channel.Close() })
		if err := errors.Join(channel.Start(ctx), transport.Mount(channel)); err != nil {
			return err
		}
	}
	s.httpAt, err = s.listen(transport.Server(h.Listen))
	return err
}

// served is a channel that can be made available.
type served interface {
	chansec.Channel
	Start(context.Context) error
	Close() error
}

func newChannel(c channelConfig, opts ...chansec.Option) (served, error) {
	switch c.Kind {
	case "queue":
		return chansec.NewWorkQueue[any](c.ID, opts...)
	case "mailbox":
		return chansec.NewMailbox[any](c.ID, opts...)
	default:
		return chansec.NewBroadcast[any](c.ID, opts...)
	}
}

// listen begins a server, and returns where it listens.
func (s *service) listen(server *http.Server) (string, error) {
	server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)
	l, err := net.Listen("tcp", server.Addr)
	if err != nil {
		return "", err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var err error
		if t := s.config.TLS; t.Certificate != "" {
			err = server.ServeTLS(l, t.Certificate, t.Key)
		} else {
			err = server.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	s.ends = append(s.ends, func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		<-ended
		return err
	})
	return l.Addr().String(), nil
}

// wait waits until the context ends or a server fails.
func (s *service) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-s.failed:
		return err
	}
}

const exampleConfig = `  database: chansec.db             # a file of SQLite, or postgres://user@host/name
  sealing_keys: [sealing.jwk]      # what logs users in is encrypted with the first; all can open it
  activity: {required: true}       # no log, no action
  wamp:
    listen: 127.0.0.1:8080
    realm: realm1
    tickets: true                  # tokens of the key below let in, too
  http:
    listen: 127.0.0.1:8081
    key: signing.jwk               # see chansec key new
    channels:
      - {id: com.home.garage, kind: broadcast}`

func (p *program) serveCommand() *cobra.Command {
	var file, listen, where string
	var demo bool
	cmd := &cobra.Command{Use: "serve (--config FILE | --demo)", Short: "Run a guarded WAMP router, and channels over HTTP, over one database",
		Long: `Run a guarded WAMP router, and channels over HTTP, over one database, until interrupted. The file is YAML:

` + exampleConfig + `

A database without users gets the administrator adm, whose secret is that of CHANSEC_ADMIN_SECRET, or made up and shown once on
a terminal. --demo makes a database with a garage, a safe and a user, and says what to try.

Without sealing_keys, the keys in CHANSEC_SEALING_KEYS seal, if there are any. To begin with a key, or to replace one: make it by
chansec key new a256gcm; put it last, and start what serves the database anew; put it first, and start it anew; have what is
stored encrypted with it by chansec user reseal; take the old one out.`,
		Example: "  chansec serve --config chansec.yaml\n  chansec serve --demo", Args: exactly(), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var c config
			switch {
			case demo == (file != ""):
				return misused("", "say either --config FILE or --demo")
			case !demo && (cmd.Flags().Changed("listen") || cmd.Flags().Changed("database")):
				return misused("say so in the file", "--listen and --database are for --demo")
			case demo && p.json:
				return misused("leave out --json", "--demo is for people")
			case demo:
				c = config{Database: where, WAMP: &wampConfig{Listen: listen}}
				if problems := c.complete(); len(problems) > 0 {
					return misused("", "%s", problems[0])
				}
			default:
				var err error
				if c, err = p.loadConfig(ctx, file); err != nil {
					return err
				}
			}
			s, err := p.start(ctx, c)
			if err != nil {
				return err
			}
			if demo {
				err = p.demo(ctx, s)
			} else {
				err = p.bootstrap(ctx, s)
			}
			if err == nil {
				err = s.wait(ctx)
			}
			if closing := s.close(); closing != nil {
				p.complain("while ending: " + closing.Error())
			}
			return err
		}}
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", "", "the file that says what to serve")
	f.BoolVar(&demo, "demo", false, "show what this is without a file")
	f.StringVar(&listen, "listen", "127.0.0.1:8080", "where the demo listens")
	f.StringVarP(&where, "database", "d", "chansec-demo.db", "the database of the demo")
	return cmd
}

// bootstrap gives a new database its administrator, and says where the service is.
func (p *program) bootstrap(ctx context.Context, s *service) error {
	secret := p.env("CHANSEC_ADMIN_SECRET")
	if _, ok := terminal(p.out); secret == "" && !ok {
		users, err := s.store.Users().List(ctx)
		if err != nil {
			return err
		}
		if len(users) == 0 {
			return errors.New("the database has no users: set CHANSEC_ADMIN_SECRET, or run this once on a terminal, which is shown the secret that is made up")
		}
	}
	generated, done, err := s.store.Bootstrap(ctx, secret)
	if err == nil && done && s.admin != nil && s.config.WAMP.Base != sqlstore.DefaultBase {
		err = s.grantBase(ctx) // or there would be an administrator who may call nothing
	}
	if err != nil {
		return err
	}
	var b strings.Builder
	if done && generated != "" {
		fmt.Fprintf(&b, "The administrator adm has the secret %s, which is not shown again.\n", generated)
	}
	at, realm := s.where()
	if at.WAMP != "" {
		fmt.Fprintf(&b, "WAMP router: %s, realm %s\n", at.WAMP, realm)
	}
	if at.HTTP != "" {
		fmt.Fprintf(&b, "Channels:    %s\n", at.HTTP)
	}
	if done {
		at.Secret = generated
	}
	return p.show(at, b.String()+"Ctrl-C ends it.\n")
}

// grantBase lets the administrator call what is below the base, as below that of sqlauth.md 3.1.
func (s *service) grantBase(ctx context.Context) error {
	for _, x := range []struct {
		operation string
		arguments map[string]any
	}{
		{"topic.add", map[string]any{"name": s.config.WAMP.Base}},
		{"topicrole.add", map[string]any{"topic_name": s.config.WAMP.Base, "name": "adm", "activity": "call"}},
	} {
		arguments, err := json.Marshal(x.arguments)
		if err != nil {
			return err
		}
		// A base such as com is there, and perhaps granted.
		if _, err := s.admin.Do(ctx, policy.Root(), x.operation, arguments); err != nil && !errors.Is(err, sqlstore.Exists) {
			return fmt.Errorf("%s: %w", x.operation, err)
		}
	}
	return nil
}

// serves is where a service listens.
type serves struct {
	WAMP   string `json:"wamp,omitempty"`
	HTTP   string `json:"http,omitempty"`
	Secret string `json:"secret,omitempty"` // of the administrator, where it was made up
}

// where says where the service listens, and the realm of the router.
func (s *service) where() (at serves, realm string) {
	secure := ""
	if s.config.TLS.Certificate != "" {
		secure = "s"
	}
	if s.wampAt != "" {
		at.WAMP, realm = "ws"+secure+"://"+s.wampAt+s.config.WAMP.Path, s.config.WAMP.Realm
	}
	if s.httpAt != "" {
		at.HTTP = "http" + secure + "://" + s.httpAt + "/channels/"
	}
	return at, realm
}
