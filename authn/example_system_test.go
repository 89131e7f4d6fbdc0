package authn_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

func Example_system() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store, err := authn.OpenSystemStore(ctx, authn.SystemConfig{
		Permits: func(p chansec.Principal, permission string) (bool, error) { // usually the method Permits of a policy store
			return p.SystemID == "ann", nil
		},
		Iterations: 1000, AllowWeak: true, // for an example that does not take long; leave both out
	}, filepath.Join(dir, "system-authentication"))
	if err != nil {
		panic(err)
	}
	if _, err := store.Bootstrap(ctx, "ann", "correct horse", "ADMINISTRATOR"); err != nil {
		panic(err)
	}

	var b authn.AuthenticationScriptBuilder
	script, err := b.AddPrincipal("bob", "battery staple", "TRADER").TrustClientProposedPropertyIn("TIER", "gold", "silver").Build()
	if err != nil {
		panic(err)
	}
	ann := authn.ActorOf(chansec.Principal{SystemID: "ann"}) // as she was authenticated
	if err := store.UpdateScript(ctx, ann, script); err != nil {
		panic(err)
	}

	answer, err := store.Authenticate(ctx, &authn.Request{
		Principal: "bob", Credentials: []byte("battery staple"),
		Proposed: map[string]string{"TIER": "gold", "ADMIN": "yes"},
		Roles:    []string{"CLIENT"},
	})
	fmt.Println(answer.Answer, answer.Roles, answer.Properties, err)
	answer, err = store.Authenticate(ctx, &authn.Request{Principal: "bob", Credentials: []byte("guess")})
	fmt.Println(answer.Answer, err)
	// Output:
	// allow [CLIENT TRADER] map[TIER:gold] <nil>
	// deny <nil>
}

func ExampleSystemStore_UpdateScript() {
	store, err := authn.NewSystemStore(authn.SystemConfig{Iterations: 10, AllowWeak: true}) // this is a test
	if err != nil {
		panic(err)
	}
	err = store.UpdateScript(context.Background(), authn.Root(), `
add principal 'ann' 'correct horse' ['ADMINISTRATOR']
add principal 'bob' 'battery staple'
add principal 'ann' 'again'`)
	fmt.Println(err)
	fmt.Println(errors.Is(err, authn.PrincipalExists), store.Version())
	// Output:
	// line 4, column 1: authn: principal-exists: principal "ann": want one that is not there
	// true 0
}

func ExampleTx_Expect() {
	store, err := authn.NewSystemStore(authn.SystemConfig{Iterations: 10, AllowWeak: true}) // this is a test
	if err != nil {
		panic(err)
	}
	seen := store.Version()
	allow := func(tx *authn.Tx) error {
		if err := tx.Expect(seen); err != nil {
			return err
		}
		return tx.AllowAnonymousConnections("GUEST")
	}
	fmt.Println(store.Update(context.Background(), authn.Root(), allow))
	fmt.Println(store.Update(context.Background(), authn.Root(), allow))
	// Output:
	// <nil>
	// authn: conflict: revision "1": want 0
}
