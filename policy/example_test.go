package policy_test

import (
	"context"
	"fmt"
	"log"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// A store of roles decides on channels. A change acts on what is open.
func Example() {
	ctx := context.Background()
	store, err := policy.New(policy.DiffusionConfig())
	if err != nil {
		log.Fatal(err)
	}
	err = store.Update(ctx, policy.Root(), func(tx *policy.Tx) error {
		tx.SetPathPermissions("FEED", "prices", "UPDATE_TOPIC")
		tx.SetPathPermissions("TRADER", "prices", "READ_TOPIC", "SELECT_TOPIC")
		tx.AssignRoles("feed-1", "FEED")
		return tx.AssignRoles("alice", "TRADER")
	})
	if err != nil {
		log.Fatal(err)
	}

	security, err := chansec.Join(chansec.OpenSecurity{}, store.Authorizer(), chansec.OpenSecurity{})
	if err != nil {
		log.Fatal(err)
	}
	fx, err := chansec.NewBroadcast[float64]("prices/fx", chansec.WithSecurity(security))
	if err != nil {
		log.Fatal(err)
	}
	defer fx.Close()
	if err := fx.Start(ctx); err != nil {
		log.Fatal(err)
	}
	lease, err := fx.As("alice").Subscribe(ctx)
	fmt.Println("alice subscribes:", err)
	_, err = fx.As("alice").Write(ctx, 1.08)
	fmt.Println("alice writes:", err)
	_, err = fx.As("feed-1").Write(ctx, 1.09)
	fmt.Println("feed-1 writes:", err)

	err = store.Update(ctx, policy.Root(), func(tx *policy.Tx) error { return tx.IsolatePath("prices/fx") })
	if err != nil {
		log.Fatal(err)
	}
	<-lease.Done()
	fmt.Println("alice's lease:", lease.Err())
	// Output:
	// alice subscribes: <nil>
	// alice writes: chansec: permission denied: "alice" may not write on "prices/fx": what is assigned there does not allow it
	// feed-1 writes: <nil>
	// alice's lease: chansec: revoked: chansec: permission denied: "alice" may not subscribe on "prices/fx": the path is isolated
}
