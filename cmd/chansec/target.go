package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/chansec/chansec/policy"
)

// The defaults of sqlauth.md 9. There is none of a user, and none of a secret.
const (
	defaultURL   = "ws://127.0.0.1:8080/ws"
	defaultRealm = "realm1"
	defaultBase  = "sys"
)

// target is what is administered, and by whom.
type target struct {
	program *program

	database               string
	url, realm, base, user string
	secretFile, ca         string
	sealingKeys            []string
	args                   string
	verbose, insecure      bool
	timeout                time.Duration

	said func(flag string) bool // on the command line
}

func (t *target) flags(cmd *cobra.Command) {
	env := func(variable, otherwise string) string {
		if v := t.program.env(variable); v != "" {
			return v
		}
		return otherwise
	}
	f := cmd.PersistentFlags()
	t.said = f.Changed
	f.StringVarP(&t.database, "database", "d", env("CHANSEC_DATABASE", ""), "a database, instead of a router: a file of SQLite or postgres://... (CHANSEC_DATABASE)")
	f.StringArrayVar(&t.sealingKeys, "sealing-key", nil, "a file of a key that the database's users are sealed with; may be repeated: the first seals; otherwise "+sealingVariable)
	f.StringVarP(&t.url, "url", "w", env("CHANSEC_URL", defaultURL), "the router (CHANSEC_URL)")
	f.StringVarP(&t.realm, "realm", "r", env("CHANSEC_REALM", defaultRealm), "its realm (CHANSEC_REALM)")
	f.StringVarP(&t.base, "base", "t", env("CHANSEC_BASE", defaultBase), "what the names of its administration begin with (CHANSEC_BASE)")
	f.StringVarP(&t.user, "user", "u", env("CHANSEC_USER", ""), "who you are (CHANSEC_USER)")
	f.StringVar(&t.secretFile, "secret-file", "", `a file with your secret; "-" is standard input; otherwise CHANSEC_SECRET or a prompt`)
	f.StringVar(&t.ca, "ca", "", "a file with the certificates that the router's is signed with, in PEM, if not those of the system")
	f.StringVarP(&t.args, "args", "a", "", `the arguments as an object of JSON, "-" or "@FILE"`)
	f.BoolVarP(&t.verbose, "verbose", "v", false, "say what is done where")
	f.BoolVar(&t.insecure, "insecure", false, "connect to another machine without encryption")
	f.DurationVar(&t.timeout, "timeout", 30*time.Second, "how long to wait for an answer")
	for _, flag := range []string{"url", "realm", "base", "user", "args", "timeout"} {
		completes(cmd, flag)
	}
}

// settle says whether a database or a router is meant, where the command line and the environment name both.
func (t *target) settle() error {
	switch {
	case t.timeout <= 0:
		return misused("", "--timeout %s: want a positive time", t.timeout)
	case t.said("url") && t.said("database"):
		return misused("", "say either --url or --database")
	case t.said("url"):
		t.database = ""
	}
	return nil
}

// late replaces the error of what took too long.
func (t *target) late(ctx, bounded context.Context, err error) error {
	deadline, _ := bounded.Deadline() // a connection may see that it has passed before the context does
	if err != nil && ctx.Err() == nil && !time.Now().Before(deadline) {
		return fmt.Errorf("there was no answer within %s; --timeout says how long to wait", t.timeout)
	}
	return err
}

// do does an operation and prints what came of it.
func (t *target) do(ctx context.Context, what thing, v verb, arguments json.RawMessage) error {
	operation := what.name + "." + v.name
	a, err := t.program.open(t, ctx)
	if err != nil {
		return err
	}
	defer a.Close()
	if t.verbose {
		where, who := t.url, t.user
		if t.database != "" {
			where, who = t.database, cmp.Or(t.user, policy.Root().String())
		}
		t.program.complain(fmt.Sprintf("%s on %s as %s", operation, quoted(where), quoted(who)))
	}
	bounded, cancel := context.WithTimeout(ctx, t.timeout) // not before a secret was typed
	defer cancel()
	bar := t.program.progress(operation, -1)
	result, err := a.Do(bounded, operation, arguments)
	bar.end()
	if err != nil {
		return t.failed(ctx, t.late(ctx, bounded, err))
	}
	return t.program.present(what, v, arguments, result)
}

// failed makes a misuse of an operation that was refused because of its arguments.
func (t *target) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r, ok := err.(*refusal); ok && r.name == "invalid" {
		return &misuse{text: r.Error()}
	}
	return err
}

// connect opens the database, or logs in to the router.
func (t *target) connect(ctx context.Context) (administrator, error) {
	if t.database != "" {
		bounded, cancel := context.WithTimeout(ctx, t.timeout)
		defer cancel()
		d, err := openDatabase(bounded, t)
		return opened(d, t.late(ctx, bounded, err))
	}
	if len(t.sealingKeys) > 0 {
		return nil, misused("say --database, or leave out --sealing-key", "keys that seal are for a database, and no router gets them")
	}
	u, err := url.Parse(t.url)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss":
		return nil, misused("such as "+defaultURL, "--url: want the address of a router, ws:// or wss://")
	case u.User != nil:
		return nil, misused("say who you are by --user", "--url: a name or a password in an address can be read by others")
	case u.Scheme == "ws" && !t.insecure && !loopback(u.Hostname()):
		return nil, misused("use wss://, or --insecure if you know that nobody listens", "--url %s: it is on another machine, and not encrypted", quoted(t.url))
	case t.user == "":
		return nil, misused("say --user NAME, or set CHANSEC_USER", "who are you?")
	}
	secret, err := t.program.secret(ctx, secretSource{what: "secret of " + visible(t.user), file: t.secretFile, flag: "secret-file", variable: "CHANSEC_SECRET"})
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	r, err := dialRouter(bounded, u, t, secret)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return opened(r, t.late(ctx, bounded, err))
}

// opened is nil where nothing was opened.
func opened[A administrator](a A, err error) (administrator, error) {
	if err != nil {
		return nil, err
	}
	return a, nil
}
