package chansec_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/chansec/chansec"
)

type Reading struct{ Celsius float64 }

// A sensor writes and a dashboard follows, until its right is taken.
func ExampleNewBroadcast() {
	ctx := context.Background()
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("sensor-1"), chansec.ACLRead("dashboard"))
	check(err)
	readings, err := chansec.NewBroadcast[Reading]("readings", chansec.WithSecurity(acl))
	check(err)
	defer readings.Close()
	check(readings.Start(ctx))

	sensor, dashboard := readings.As("sensor-1"), readings.As("dashboard")
	lease, err := dashboard.Subscribe(ctx)
	check(err)
	_, err = sensor.Write(ctx, Reading{21.5})
	check(err)
	for message, err := range lease.Messages(ctx) {
		if err != nil {
			fmt.Println("revoked:", errors.Is(err, chansec.ErrRevoked))
			break
		}
		fmt.Println(message.SenderID, message.Content.Celsius)
		acl.Revoke("dashboard")
	}
	_, err = dashboard.Write(ctx, Reading{-40})
	fmt.Println(err)
	// Output:
	// sensor-1 21.5
	// revoked: true
	// chansec: permission denied: "dashboard" may not write on "readings": not listed
}

// A job belongs to the one worker who claimed it, and is gone when it is acknowledged.
func ExampleNewWorkQueue() {
	ctx := context.Background()
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("shop"), chansec.ACLRead("packer-1", "packer-2"))
	check(err)
	orders, err := chansec.NewWorkQueue[string]("orders", chansec.WithSecurity(acl))
	check(err)
	defer orders.Close()
	check(orders.Start(ctx))

	shop, packer1, packer2 := orders.As("shop"), orders.As("packer-1"), orders.As("packer-2")
	_, err = shop.Write(ctx, "two chairs")
	check(err)

	order, err := packer1.ClaimNext(ctx)
	check(err)
	fmt.Println("packer-1 has:", order.Message.Content)
	others, err := packer2.Claim(ctx, 10)
	check(err)
	fmt.Println("left for packer-2:", len(others))

	check(order.Nack(ctx)) // cannot do it
	order, err = packer2.ClaimNext(ctx)
	check(err)
	fmt.Println("packer-2 has:", order.Message.Content, "- attempt", order.Attempt)
	check(order.Acknowledge(ctx))
	fmt.Println(order.Acknowledge(ctx))
	// Output:
	// packer-1 has: two chairs
	// left for packer-2: 0
	// packer-2 has: two chairs - attempt 2
	// chansec: the claim is no longer held
}

// A message with a recipient is seen by nobody else.
func ExampleNewMailbox() {
	ctx := context.Background()
	mail, err := chansec.NewMailbox[string]("mail", chansec.WithSecurity(chansec.OpenSecurity{}))
	check(err)
	defer mail.Close()
	check(mail.Start(ctx))

	_, err = mail.As("bob").WriteTo(ctx, "alice", "lunch?")
	check(err)
	_, err = mail.As("bob").Write(ctx, "to all: I am out until one")
	check(err)
	for _, name := range []string{"alice", "carol"} {
		messages, err := mail.As(name).Read(ctx, 10)
		check(err)
		for _, m := range messages {
			fmt.Printf("%s reads: %s\n", name, m.Content)
		}
	}
	// Output:
	// alice reads: lunch?
	// alice reads: to all: I am out until one
	// carol reads: to all: I am out until one
}

// Every fresh decision makes an event, allowed or not.
func ExampleWithAudit() {
	ctx := context.Background()
	trail := chansec.AuditFunc(func(_ context.Context, e chansec.Event) error {
		fmt.Printf("%s: %q %s on %s (%s)\n", e.Outcome, e.SystemID, e.Operation, e.ChannelID, e.Reason)
		return nil
	})
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("sensor-1"))
	check(err)
	readings, err := chansec.NewBroadcast[Reading]("readings", chansec.WithSecurity(acl), chansec.WithAudit(trail))
	check(err)
	defer readings.Close()
	check(readings.Start(ctx))

	_, _ = readings.As("sensor-1").Write(ctx, Reading{21.5})
	_, _ = readings.As("sensor-1").Clear(ctx)
	_, _ = readings.As("stranger").Read(ctx, 1)
	_, _ = readings.Authenticate(ctx, "a name that is not listed")
	// Output:
	// allowed: "sensor-1" write on readings (listed)
	// denied: "sensor-1" clear on readings (not listed for that role)
	// denied: "stranger" read on readings (not listed)
	// denied: "" authenticate on readings (the credential proves nobody)
}

// floors is a security of one's own: systems may read what is on their own floor. It needs five methods; the guard asks it
// again for every delivery, since it does not say when it changes.
type floors map[string]string // system -> floor, which is the channel's ID

func (f floors) Authenticate(_ context.Context, token string) (chansec.Principal, error) {
	if _, known := f[token]; !known {
		return chansec.Principal{}, chansec.ErrUnauthenticated
	}
	return chansec.Principal{SystemID: token}, nil
}

func (f floors) AuthorizeRead(_ context.Context, systemID, channelID string) (bool, error) {
	return f[systemID] == channelID, nil
}

func (f floors) AuthorizeWrite(_ context.Context, systemID, _ string) (bool, error) {
	return systemID == "caretaker", nil
}

func (f floors) AuthorizeAdmin(context.Context, string, string) (bool, error) { return false, nil }

func (f floors) GenerateToken(context.Context, chansec.TokenRequest) (string, error) {
	return "", chansec.ErrNoSigner
}

func Example_customSecurity() {
	ctx := context.Background()
	notices, err := chansec.NewBroadcast[string]("floor-2", chansec.WithSecurity(floors{"alice": "floor-2", "bob": "floor-3"}))
	check(err)
	defer notices.Close()
	check(notices.Start(ctx))

	_, err = notices.As("caretaker").Write(ctx, "no water from nine to ten")
	check(err)
	for _, name := range []string{"alice", "bob"} {
		messages, err := notices.As(name).Read(ctx, 10)
		fmt.Println(name, len(messages), errors.Is(err, chansec.ErrPermission))
	}
	// Output:
	// alice 1 false
	// bob 0 true
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
