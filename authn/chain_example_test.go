package authn_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// usersFile writes a password file in a new folder.
func usersFile(text string) string {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(dir, "users.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	return path
}

// Users in a file say who; an access list says what.
func Example() {
	ctx := context.Background()
	hash, err := authn.HashPassword("wonderland", 10_000) // 0 is the default cost; this one is for an example
	if err != nil {
		log.Fatal(err)
	}
	path := usersFile(`{"users": {"alice": {"password": "` + hash + `"}}}`)
	defer os.RemoveAll(filepath.Dir(path))
	users, err := authn.OpenFile(path, authn.FileConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	chain, err := authn.NewChain(authn.Config{
		Handlers: []authn.Entry{{Name: "users", Handler: users}},
		Token:    authn.PasswordToken,
	})
	if err != nil {
		log.Fatal(err)
	}

	acl, err := chansec.NewACLSecurity()
	if err != nil {
		log.Fatal(err)
	}
	if err := acl.GrantOn("alice", chansec.RoleWrite, "readings"); err != nil {
		log.Fatal(err)
	}
	security, err := chansec.Join(chain, acl, acl)
	if err != nil {
		log.Fatal(err)
	}
	readings, err := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(security))
	if err != nil {
		log.Fatal(err)
	}
	defer readings.Close()
	if err := readings.Start(ctx); err != nil {
		log.Fatal(err)
	}

	for _, token := range []string{"alice:wonderland", "alice:guess", "bob:wonderland"} {
		p, err := security.Authenticate(ctx, token)
		if err != nil {
			fmt.Println(err)
			continue
		}
		_, err = readings.For(chansec.StaticCaller(p)).Write(ctx, 21.5)
		fmt.Println(p.SystemID, "writes:", err)
	}
	// Output:
	// alice writes: <nil>
	// authn: not authenticated
	// authn: not authenticated
}

// Every handler's vote is kept, for the audit trail.
func ExampleChain_Login() {
	blocked := authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
		if strings.HasPrefix(r.Connection.RemoteAddr, "203.0.113.") {
			return authn.Response{Reason: "a blocked network"}, nil // the zero value denies
		}
		return authn.Response{Answer: authn.Abstain}, nil
	})
	chain, err := authn.NewChain(authn.Config{
		Handlers: []authn.Entry{{Name: "blocked", Handler: blocked}, {Name: "everybody", Handler: authn.None()}},
		Observe: func(_ context.Context, a authn.Attempt) error {
			fmt.Printf("audit: %q %s by %q: %s\n", a.Asked, a.Outcome, a.By, a.Reason)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, from := range []string{"192.0.2.1:5000", "203.0.113.9:5000"} {
		_, err := chain.Login(context.Background(), &authn.Request{Principal: "alice", Connection: authn.Connection{RemoteAddr: from}})
		refused, ok := errors.AsType[*authn.RefusedError](err)
		fmt.Println(ok && len(refused.Votes) == 1, errors.Is(err, chansec.ErrUnauthenticated))
	}
	// Output:
	// audit: "alice" allowed by "everybody": everybody is let in
	// false false
	// audit: "alice" denied by "blocked": a blocked network
	// true true
}

// An entry of a password file.
func ExampleHashPassword() {
	hash, err := authn.HashPassword("correct horse battery staple", 0)
	if err != nil {
		log.Fatal(err)
	}
	entry := fmt.Sprintf(`{"users": {"alice": {"password": %q, "roles": ["TRADER"]}}}`, hash)
	fmt.Println(strings.Contains(entry, `"$pbkdf2-sha256$i=600000$`))

	path := usersFile(entry)
	defer os.RemoveAll(filepath.Dir(path))
	users, err := authn.OpenFile(path, authn.FileConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	fmt.Println(users.Weaknesses())
	// Output:
	// true
	// []
}

// A part of the program that registers a handler while the chain is in use, and takes it away again.
func ExampleControls() {
	permits := func(p chansec.Principal, permission string) (bool, error) {
		return slices.Contains(p.Roles, "AUTHENTICATION_HANDLER"), nil // a policy store knows better
	}
	controls, err := authn.NewControls(permits)
	if err != nil {
		log.Fatal(err)
	}
	defer controls.Close()
	chain, err := authn.NewChain(authn.Config{Handlers: controls.Around(authn.Entry{Name: "everybody", Handler: authn.None()})})
	if err != nil {
		log.Fatal(err)
	}
	try := func(when string) {
		_, err := chain.Login(context.Background(), &authn.Request{Principal: "alice"})
		fmt.Println(when, err)
	}
	closedToday := authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
		return authn.Response{Reason: "closed today"}, nil
	})
	doorman := chansec.Principal{SystemID: "doorman", Roles: []string{"AUTHENTICATION_HANDLER"}}

	try("before:")
	registration, err := controls.Register(authn.Registrant{ID: "session-1", Caller: chansec.StaticCaller(doorman)}, authn.BeforeSystemHandler, closedToday)
	if err != nil {
		log.Fatal(err)
	}
	try("meanwhile:")
	registration.Close()
	try("after:")
	_, err = controls.Register(authn.Registrant{ID: "session-2", Caller: chansec.StaticCaller(chansec.Principal{SystemID: "mallory"})}, authn.BeforeSystemHandler, closedToday)
	fmt.Println(err)
	// Output:
	// before: <nil>
	// meanwhile: authn: not authenticated
	// after: <nil>
	// authn: "mallory" may not register an authentication handler: it takes REGISTER_HANDLER
}

// A directory that is slow is asked once, and again when somebody was locked out.
func ExampleCache() {
	directory := authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
		fmt.Println("the directory is asked about", r.Principal)
		return authn.Response{Answer: authn.Allow, Proof: authn.ProofPassword}, nil
	})
	cache, err := authn.NewCache(directory, authn.CacheConfig{Yes: time.Minute, No: 5 * time.Second, IgnoreConnection: true})
	if err != nil {
		log.Fatal(err)
	}
	chain, err := authn.NewChain(authn.Config{Handlers: []authn.Entry{{Name: "directory", Handler: cache}}})
	if err != nil {
		log.Fatal(err)
	}
	login := func() {
		_, err := chain.Login(context.Background(), &authn.Request{Principal: "alice", Credentials: []byte("wonderland")})
		fmt.Println("alice:", err)
	}
	login()
	login()
	fmt.Println("forgotten:", cache.Purge("alice"))
	login()
	// Output:
	// the directory is asked about alice
	// alice: <nil>
	// alice: <nil>
	// forgotten: 1
	// the directory is asked about alice
	// alice: <nil>
}
