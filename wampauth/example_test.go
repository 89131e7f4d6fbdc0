package wampauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"

	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/wampauth"
)

// A router in which kids may open the garage door, and nobody may close it.
func Example() {
	ctx := context.Background()
	store, err := policy.New(policy.WAMPConfig())
	fail(err)
	fail(store.Update(ctx, policy.Root(), func(tx *policy.Tx) error {
		if err := tx.Grant("kids", "com.home.garage.door.open", "call"); err != nil {
			return err
		}
		return tx.AssignRoles("kid", "kids")
	}))
	kid, err := wampauth.NewKey("the kid's secret", wampauth.MinIterations)
	fail(err)
	serverSecret := []byte("32 bytes that only this server knows")
	users := wampauth.KeysFunc(func(_ context.Context, login string) (wampauth.Key, error) {
		if login == "kid" {
			return kid, nil
		}
		return wampauth.Decoy(serverSecret, login, wampauth.MinIterations)
	})
	trail, err := audit.NewRing(1000)
	fail(err)

	guard, err := wampauth.New(wampauth.Config{Policy: store.Authorizer(), Keys: users, Activity: trail})
	fail(err)
	realm := &router.RealmConfig{URI: "realm1"}
	fail(guard.Protect(realm))
	quiet := log.New(io.Discard, "", 0)
	r, err := router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{realm}}, quiet)
	fail(err)
	defer r.Close()
	fail(guard.Start(ctx, r))
	defer guard.Close(ctx)
	sockets := router.NewWebsocketServer(wampauth.CopyEvents(r))
	sockets.EnableRequestCapture = true // tells the guard where clients come from
	listener, err := sockets.ListenAndServe("127.0.0.1:0")
	fail(err)
	defer listener.Close()

	c, err := client.ConnectNet(ctx, "ws://"+listener.(net.Listener).Addr().String()+"/ws", client.Config{Realm: "realm1", Logger: quiet, HelloDetails: wamp.Dict{"authid": "kid"},
		AuthHandlers: map[string]client.AuthFunc{"wampcra": func(c *wamp.Challenge) (string, wamp.Dict) {
			return crsign.RespondChallenge("the kid's secret", c, nil), nil
		}}})
	fail(err)
	defer c.Close()
	for _, procedure := range []string{"com.home.garage.door.open", "com.home.garage.door.close"} {
		_, err := c.Call(ctx, procedure, nil, nil, nil, nil)
		failed, _ := errors.AsType[client.RPCError](err)
		fmt.Println(procedure, failed.Err.Error)
	}
	for record := range trail.Records(ctx, audit.Filter{Kind: audit.KindDecision}) {
		fmt.Println(record.Principal, record.Operation, record.Target, record.Outcome)
	}
	// Output:
	// com.home.garage.door.open wamp.error.no_such_procedure
	// com.home.garage.door.close wamp.error.not_authorized
	// kid call com.home.garage.door.open allowed
	// kid call com.home.garage.door.close denied
}

func fail(err error) {
	if err != nil {
		panic(err)
	}
}
