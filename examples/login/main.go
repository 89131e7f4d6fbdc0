// Login shows who is calling: people in a file, partners whom a webhook knows, and machines with signed tokens log in through
// one chain. A session becomes somebody else while its stream goes on, and a kick ends the stream at once. At the end there
// is a trail of all of it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

func main() {
	if err := run(context.Background(), os.Stdout, authn.DefaultIterations); err != nil {
		log.Fatal(err)
	}
}

// desk is what this program consists of.
type desk struct {
	out        io.Writer
	iterations int // of a password's hash
	trail      *audit.Ring
	rules      *policy.Store
	machines   *chansec.JWTSecurity
	sessions   *session.Sessions
	prices     *chansec.BroadcastChannel[float64]
	url        string
}

func run(ctx context.Context, out io.Writer, iterations int) error {
	d := &desk{out: out, iterations: iterations}
	for _, open := range []func(context.Context) (io.Closer, error){d.openRules, d.openSessions, d.openPrices} {
		closer, err := open(ctx)
		if err != nil {
			return err
		}
		defer closer.Close()
	}
	for _, show := range []func(context.Context) error{d.logins, d.stream, d.records} {
		if err := show(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *desk) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// closers closes what was opened last first.
type closers []func()

func (c closers) Close() error {
	for i := len(c) - 1; i >= 0; i-- {
		c[i]()
	}
	return nil
}

// openRules says what the roles may do. Who has which role, the handlers of the chain say, but for the machine.
func (d *desk) openRules(ctx context.Context) (_ io.Closer, err error) {
	if d.trail, err = audit.NewRing(1000); err != nil {
		return nil, err
	}
	config := policy.DiffusionConfig()
	config.Observe = func(ctx context.Context, a policy.Attempt) error { return d.trail.Record(ctx, a.Record()) }
	if d.rules, err = policy.New(config); err != nil {
		return nil, err
	}
	return closers{}, d.rules.Update(ctx, policy.Root(), func(tx *policy.Tx) error {
		tx.SetPathPermissions("TRADER", "prices", "READ_TOPIC", "SELECT_TOPIC")
		tx.SetPathPermissions("PARTNER", "prices/public", "READ_TOPIC", "SELECT_TOPIC")
		tx.SetPathPermissions("FEED", "prices", "UPDATE_TOPIC")
		tx.SetGlobalPermissions("SUPERVISOR", "VIEW_SESSION", "MODIFY_SESSION")
		return tx.AssignRoles("feed-1", "FEED")
	})
}

// openSessions makes the chain, and what it lets in.
func (d *desk) openSessions(ctx context.Context) (io.Closer, error) {
	var open closers
	dir, err := os.MkdirTemp("", "login")
	if err != nil {
		return nil, err
	}
	open = append(open, func() { _ = os.RemoveAll(dir) })
	people, err := openPeople(filepath.Join(dir, "people.json"), d.iterations)
	if err != nil {
		return nil, err
	}
	open = append(open, func() { _ = people.Close() })

	partners := httptest.NewServer(http.HandlerFunc(servePartners))
	webhook, err := authn.NewWebhook(authn.WebhookConfig{
		Endpoint: partners.URL, PermittedStatusCodes: []int{200}, RetryStatusCodes: []int{503},
		RequestTimeout: 5 * time.Second, RetryAttempts: new(1), RetryInterval: 100 * time.Millisecond,
		Roles: &authn.RoleMap{Path: []string{"kind"}, Roles: map[string][]string{"buyer": {"PARTNER"}}},
	})
	if err != nil {
		return nil, err
	}
	open = append(open, partners.Close, func() { _ = webhook.Close() })

	key, err := chansec.HMACKey("", "HS256", []byte("0123456789abcdef0123456789abcdef")) // a program reads its key from elsewhere
	if err != nil {
		return nil, err
	}
	if d.machines, err = chansec.NewJWTSecurity(key); err != nil {
		return nil, err
	}
	chain, err := authn.NewChain(authn.Config{
		Handlers: []authn.Entry{
			{Name: "machines", Handler: authn.Tokens(d.machines)},
			{Name: "people", Handler: people},
			{Name: "partners", Handler: named(webhook)},
		},
		Observe: func(ctx context.Context, a authn.Attempt) error { return d.trail.Record(ctx, a.Record()) },
	})
	if err != nil {
		return nil, err
	}
	d.sessions, err = session.New(ctx, session.Config{
		Chain: chain, Permits: d.rules.Permits,
		Observe: func(e session.Event) {
			if e.Kind == session.Ended || e.By != "" { // of logins and changes the chain tells more
				_ = d.trail.Record(ctx, e.Record())
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return append(open, func() { _ = d.sessions.Close(ctx) }), nil
}

// openPeople writes a file of people and opens it.
func openPeople(file string, iterations int) (*authn.File, error) {
	type user struct {
		Password string   `json:"password"`
		Roles    []string `json:"roles"`
	}
	users := map[string]user{}
	for name, password := range map[string]string{"alice": "correct horse", "bob": "battery staple", "sue": "tr0ub4dor"} {
		hash, err := authn.HashPassword(password, iterations)
		if err != nil {
			return nil, err
		}
		users[name] = user{hash, map[string][]string{"alice": {"TRADER"}, "bob": {"TRADER"}, "sue": {"SUPERVISOR"}}[name]}
	}
	text, err := json.Marshal(map[string]any{"users": users})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	return authn.OpenFile(file, authn.FileConfig{})
}

// named asks a handler about those who say who they are. What says nothing is a token, which is none of the partners'
// business.
func named(h authn.Handler) authn.Handler {
	return authn.HandlerFunc(func(ctx context.Context, r *authn.Request) (authn.Response, error) {
		if r.Principal == "" {
			return authn.Response{Answer: authn.Abstain}, nil
		}
		return h.Authenticate(ctx, r)
	})
}

// servePartners is the partners' own server, which knows one of them.
func servePartners(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		AuthData struct{ Username, Password string } `json:"authData"`
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.AuthData.Username != "acme" || asked.AuthData.Password != "anvil" {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "not one of ours")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"id": "acme", "clientData": {"hello": "Acme"}, "serverData": {"kind": "buyer"}}`)
}

// openPrices makes a channel that is there over HTTP, for whoever has the token of a session.
func (d *desk) openPrices(ctx context.Context) (io.Closer, error) {
	security, err := chansec.Join(d.sessions, d.rules.Authorizer(), d.sessions)
	if err != nil {
		return nil, err
	}
	if d.prices, err = chansec.NewBroadcast[float64]("prices/fx", chansec.WithSecurity(security)); err != nil {
		return nil, err
	}
	if err := d.prices.Start(ctx); err != nil {
		return nil, err
	}
	transport, err := chansec.NewHTTPTransport(chansec.HTTPLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	if err := transport.Mount(d.prices); err != nil {
		return nil, err
	}
	server := httptest.NewServer(transport)
	d.url = server.URL
	return closers{func() { _ = d.prices.Close() }, server.Close, func() { _ = transport.Close() }}, nil
}

// logins is who is let in by the chain, and by which of its handlers.
func (d *desk) logins(ctx context.Context) error {
	token, err := d.machines.GenerateToken(ctx, chansec.TokenRequest{SystemID: "feed-1", Role: chansec.RoleWrite, Channels: []string{"prices/fx"}})
	if err != nil {
		return err
	}
	d.say("Who is let in, and by whom:")
	for _, x := range []struct {
		what            string
		name, presented string
	}{
		{"alice with her password", "alice", "correct horse"},
		{"alice with another", "alice", "wrong horse"},
		{"a partner whom the webhook knows", "acme", "anvil"},
		{"one whom it does not", "mallory", "anvil"},
		{"a machine with its token", "", token},
		{"a machine with a token that was changed", "", token[:len(token)-2]},
	} {
		s, err := d.sessions.Open(ctx, &authn.Request{Principal: x.name, Credentials: []byte(x.presented)})
		var refused *authn.RefusedError
		switch {
		case errors.As(err, &refused):
			d.say("  %-40s refused%s", x.what, said(refused))
		case err != nil:
			return err
		default:
			p, err := s.Principal()
			if err != nil {
				return err
			}
			d.say("  %-40s %s, proved by %s, roles %s", x.what, p.SystemID, p.Proof, strings.Join(p.Roles, " "))
			_ = s.Close()
		}
	}
	return nil
}

// said is what the handler that refused told the caller.
func said(e *authn.RefusedError) string {
	if e.ClientData == nil {
		return ""
	}
	return fmt.Sprint(", and told ", e.ClientData)
}

// stream is a session with a live stream over HTTP, which changes hands and is kicked.
func (d *desk) stream(ctx context.Context) error {
	d.say("\nA live stream, and what becomes of it:")
	shared, err := d.sessions.Open(ctx, &authn.Request{Principal: "alice", Credentials: []byte("correct horse")})
	if err != nil {
		return err
	}
	token, err := shared.NewToken()
	if err != nil {
		return err
	}
	remote, err := chansec.Dial[float64](chansec.ChannelURL(d.url, "prices/fx"), chansec.DialToken(token))
	if err != nil {
		return err
	}
	lease, err := remote.Broadcast().Subscribe(ctx)
	if err != nil {
		return err
	}
	next := func() error {
		if _, err := d.prices.As("feed-1").Write(ctx, 1.08); err != nil {
			return err
		}
		for m, err := range lease.Messages(ctx) {
			if err != nil {
				return err
			}
			p, err := shared.Principal()
			if err != nil {
				return err
			}
			d.say("  %s gets %v from %s", p.SystemID, m.Content, m.SenderID)
			return nil
		}
		return lease.Err()
	}
	if err := next(); err != nil {
		return err
	}
	err = shared.ChangePrincipal(ctx, &authn.Request{Principal: "bob", Credentials: []byte("a guess")})
	d.say("  becoming bob with a guess: %v", err)
	if err := next(); err != nil {
		return err
	}
	err = shared.ChangePrincipal(ctx, &authn.Request{Principal: "bob", Credentials: []byte("battery staple")})
	d.say("  becoming bob with his password: %v", err)
	if err := next(); err != nil {
		return err
	}

	sue, err := d.sessions.Open(ctx, &authn.Request{Principal: "sue", Credentials: []byte("tr0ub4dor")})
	if err != nil {
		return err
	}
	_, err = d.sessions.For(shared).Kick(ctx, session.OfPrincipal("sue"), "")
	d.say("  bob kicks sue: %v", err)
	n, err := d.sessions.For(sue).Kick(ctx, session.OfPrincipal("bob"), "the desk is closed")
	d.say("  sue kicks bob: %d session, %v", n, err)
	for _, err := range lease.Messages(ctx) {
		d.say("  the stream ends, and it is a revocation: %v", errors.Is(err, chansec.ErrRevoked))
	}
	_, err = remote.Broadcast().Read(ctx, 1)
	d.say("  the token opens nothing any more: %v", errors.Is(err, chansec.ErrUnauthenticated))
	return nil
}

// records is what the trail has to say.
func (d *desk) records(ctx context.Context) error {
	d.say("\nThe trail:")
	for r, err := range d.trail.Records(ctx, audit.Filter{Kind: audit.KindSession}) {
		if err != nil {
			return err
		}
		if r.Operation == audit.OpLogout {
			continue
		}
		var votes []string
		for _, v := range r.Votes {
			votes = append(votes, v.Handler+": "+v.Answer)
		}
		who := r.Principal
		if who == "" {
			who = "nobody"
		}
		d.say("  %-16s %-8s %-7s asked %-8q %s", r.Operation, r.Outcome, who, short(r.Target), strings.Join(votes, ", "))
	}
	return nil
}

// short leaves the IDs of sessions out.
func short(target string) string {
	if len(target) > 8 {
		return ""
	}
	return target
}
