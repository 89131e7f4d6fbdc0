package policy_test

import (
	"context"
	"errors"
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

// What is missing is one command, which was tried out; a preview says what else it would do.
func ExampleAuthorizer_Explain() {
	ctx := context.Background()
	store, err := policy.New(policy.DiffusionConfig())
	if err != nil {
		log.Fatal(err)
	}
	err = store.UpdateScript(ctx, policy.Root(), `
		set 'CLIENT' default path permissions [READ_TOPIC SELECT_TOPIC]
		set 'TRADER' includes ['CLIENT']
		set 'TRADER' path 'desk' permissions [READ_TOPIC SELECT_TOPIC UPDATE_TOPIC]
		isolate path 'desk/audit'
	`)
	if err != nil {
		log.Fatal(err)
	}
	err = store.Update(ctx, policy.Root(), func(tx *policy.Tx) error { return tx.AssignRoles("tom", "TRADER") })
	if err != nil {
		log.Fatal(err)
	}

	tom := chansec.Principal{SystemID: "tom"}
	why, err := store.Authorizer().Explain(tom, chansec.OpRead, "desk/audit/2030")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(why)

	preview, err := store.Preview(ctx, policy.Root(), func(tx *policy.Tx) error { return tx.Run(why.Missing) })
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range preview.Paths {
		fmt.Printf("%s would gain %v and lose %v on %s\n", d.Principal, d.Gained, d.Lost, d.Path)
	}
	// Output:
	// denied: READ_TOPIC on "desk/audit/2030" at revision 2
	// decided by the isolated path "desk/audit", where the session's roles have nothing
	// missing: set 'TRADER' path 'desk/audit/2030' permissions [READ_TOPIC]
	// tom would gain [READ_TOPIC] and lose [] on desk/audit/2030
}

// Who administers a path and a role may hand them on, and no more: each command is checked by itself.
func ExampleTx_AddRole() {
	ctx := context.Background()
	config := policy.WAMPConfig()
	config.Delegation = true
	store, err := policy.New(config)
	if err != nil {
		log.Fatal(err)
	}
	err = store.Update(ctx, policy.Root(), func(tx *policy.Tx) error {
		tx.AddRole("adm", "") // bound to role.adm, which its members administer
		tx.Grant("adm", "adm", "admin")
		return tx.AssignNewRole("ada", "adm")
	})
	if err != nil {
		log.Fatal(err)
	}

	// Ada makes a role for those who look after the disks, and Greg one of them.
	err = store.Update(ctx, policy.ActorNamed("ada"), func(tx *policy.Tx) error {
		tx.AddRole("ops", "adm")
		tx.AddTopic("adm.disk")
		tx.GrantNew("ops", "adm.disk", "admin", "publish")
		return tx.AssignNewRole("greg", "ops")
	})
	fmt.Println("ada:", err)

	greg := policy.ActorNamed("greg")
	err = store.Update(ctx, greg, func(tx *policy.Tx) error { return tx.Grant("ops", "adm.disk", "subscribe") })
	fmt.Println("greg, his topic to his role:", err)
	err = store.Update(ctx, greg, func(tx *policy.Tx) error { return tx.Grant("ops", "adm", "subscribe") })
	fmt.Println("greg, another topic:", err)
	err = store.Update(ctx, greg, func(tx *policy.Tx) error { return tx.AssignNewRole("zed", "adm") })
	fmt.Println("greg, another role:", err, errors.Is(err, chansec.ErrPermission))
	fmt.Println(store.Snapshot().Administrators("ops"))
	// Output:
	// ada: <nil>
	// greg, his topic to his role: <nil>
	// greg, another topic: policy: "greg" may not administer "adm": it takes admin there or above
	// greg, another role: policy: "greg" may not administer role "adm": it takes admin on "role.adm" or above true
	// [ada greg] <nil>
}
