// Tenants shows one store of roles for several tenants, whose administrators run their own subtree and nothing else: what
// they may and may not do, a change that is looked at before it is made, the live subscription that it cuts, and a denial
// that explains itself.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// platform is what the tenants share.
type platform struct {
	out    io.Writer
	store  *policy.Store
	rules  *policy.Authorizer
	orders *chansec.BroadcastChannel[string]
}

func run(ctx context.Context, out io.Writer) error {
	config := policy.WAMPConfig()
	config.Delegation, config.Ceiling = true, true
	store, err := policy.New(config)
	if err != nil {
		return err
	}
	rules := store.Authorizer()
	security, err := chansec.Join(chansec.OpenSecurity{}, rules, chansec.OpenSecurity{})
	if err != nil {
		return err
	}
	orders, err := chansec.NewBroadcast[string]("acme.orders", chansec.WithSecurity(security))
	if err != nil {
		return err
	}
	defer orders.Close()
	if err := orders.Start(ctx); err != nil {
		return err
	}
	p := &platform{out, store, rules, orders}
	for _, show := range []func(context.Context) error{p.tenants, p.delegation, p.live, p.explanation} {
		if err := show(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *platform) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// try makes a change as somebody, and says what came of it.
func (p *platform) try(ctx context.Context, who, what string, change func(*policy.Tx) error) {
	if err := p.store.Update(ctx, policy.ActorNamed(who), change); err != nil {
		p.say("  %s, to %s: %v", who, what, err)
		return
	}
	p.say("  %s, to %s: done", who, what)
}

// tenants is what the program itself sets up: for each tenant a subtree, and a role that administers it.
func (p *platform) tenants(ctx context.Context) error {
	p.say("Two tenants, each with an administrator:")
	for _, x := range [][2]string{{"acme", "alice"}, {"globex", "gus"}} {
		tenant, admin := x[0], x[1]
		err := p.store.Update(ctx, policy.Root(), func(tx *policy.Tx) error {
			tx.AddTopic(tenant)
			tx.AddTopic("role." + tenant)
			tx.AddRole(tenant+"-admins", "platform")
			tx.Grant(tenant+"-admins", tenant, "admin")
			tx.Grant(tenant+"-admins", "role."+tenant, "admin") // they may add roles of their own
			return tx.AssignRoles(admin, tenant+"-admins")
		})
		if err != nil {
			return err
		}
	}
	s := p.store.Snapshot()
	for _, name := range []string{"alice", "gus"} {
		roles, paths := s.Administers(s.Session(name))
		p.say("  %s administers %s and the roles %s", name, strings.Join(paths, ", "), strings.Join(roles, ", "))
	}
	return nil
}

// delegation is what an administrator of a tenant may do, and what not.
func (p *platform) delegation(ctx context.Context) error {
	p.say("\nWhat alice may do, and what not:")
	p.try(ctx, "alice", "add a role for those who watch orders", func(tx *policy.Tx) error {
		tx.AddTopic("acme.orders")
		tx.AddRole("acme-shop", "acme")
		return tx.Grant("acme-shop", "acme.orders", "subscribe")
	})
	p.try(ctx, "alice", "give it to sam", func(tx *policy.Tx) error { return tx.AssignRoles("sam", "acme-shop") })
	p.try(ctx, "alice", "write orders herself", func(tx *policy.Tx) error {
		return tx.Grant("acme-admins", "acme.orders", "publish", "subscribe")
	})
	p.try(ctx, "alice", "look into the other tenant", func(tx *policy.Tx) error {
		return tx.Grant("acme-shop", "globex", "subscribe")
	})
	p.try(ctx, "alice", "join its administrators", func(tx *policy.Tx) error {
		return tx.AssignRoles("alice", "acme-admins", "globex-admins")
	})
	p.try(ctx, "sam", "give himself more", func(tx *policy.Tx) error { return tx.Grant("acme-shop", "acme.orders", "publish") })
	return nil
}

// live is a subscription, a look at what a script would do to it, and the script.
func (p *platform) live(ctx context.Context) error {
	p.say("\nA live subscription, and a change that is looked at first:")
	sams, err := p.orders.As("sam").Subscribe(ctx)
	if err != nil {
		return err
	}
	alices, err := p.orders.As("alice").Subscribe(ctx)
	if err != nil {
		return err
	}
	if _, err := p.orders.As("alice").Write(ctx, "one anvil"); err != nil {
		return err
	}
	for m, err := range sams.Messages(ctx) {
		if err != nil {
			return err
		}
		p.say("  sam gets %q from %s", m.Content, m.SenderID)
		break
	}

	const change = "remove 'acme-shop' permissions for path 'acme.orders'"
	preview, err := p.store.Preview(ctx, policy.ActorNamed("alice"), func(tx *policy.Tx) error { return tx.Run(change) })
	if err != nil {
		return err
	}
	p.say("  %s", change)
	for _, d := range preview.Paths {
		p.say("    would take %s on %s from %s", strings.Join(d.Lost, ", "), d.Path, d.Principal)
	}
	for h := range preview.Cut(p.orders.Holders()) {
		p.say("    would end a live %s of %s on %s", h.Operation, h.Principal.SystemID, h.ChannelID)
	}
	err = p.store.Update(ctx, policy.ActorNamed("alice"), func(tx *policy.Tx) error { return tx.Run(change) })
	if err != nil {
		return err
	}
	<-sams.Done()
	p.say("  done. sam's lease: %v", sams.Err())
	p.say("  alice's lease goes on: %v", alices.Err() == nil)
	return alices.Close()
}

// explanation is why sam may not any more, and what would help.
func (p *platform) explanation(context.Context) error {
	p.say("\nWhy not?")
	why, err := p.rules.Explain(chansec.Principal{SystemID: "sam"}, chansec.OpSubscribe, "acme.orders")
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(why.String(), "\n") {
		p.say("  %s", line)
	}
	who, err := p.store.Snapshot().WhoCan("subscribe", "acme.orders")
	if err != nil {
		return err
	}
	p.say("  who may: %s", strings.Join(slices.Collect(who), ", "))
	return nil
}
