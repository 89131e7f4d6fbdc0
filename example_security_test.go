package chansec_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/chansec/chansec"
)

// A list says who may do what. Taking a name off it acts at once.
func ExampleNewACLSecurity() {
	acl, err := chansec.NewACLSecurity(
		chansec.ACLWrite("sensor-1"),
		chansec.ACLRead("dashboard"),
	)
	if err != nil {
		log.Fatal(err)
	}
	if err := acl.GrantOn("operator", chansec.RoleAdmin, "readings"); err != nil {
		log.Fatal(err)
	}
	readings, err := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(acl))
	if err != nil {
		log.Fatal(err)
	}
	defer readings.Close()
	ctx := context.Background()
	if err := readings.Start(ctx); err != nil {
		log.Fatal(err)
	}

	_, err = readings.As("sensor-1").Write(ctx, 21.5)
	fmt.Println("sensor-1 writes:", err)
	_, err = readings.As("dashboard").Write(ctx, 0)
	fmt.Println("dashboard writes:", err)
	acl.Revoke("sensor-1")
	_, err = readings.As("sensor-1").Write(ctx, 21.6)
	fmt.Println("sensor-1 writes again:", errors.Is(err, chansec.ErrPermission))
	for _, e := range acl.Entries() {
		fmt.Printf("%s: %s on %q\n", e.SystemID, e.Role, e.ChannelID)
	}
	// Output:
	// sensor-1 writes: <nil>
	// dashboard writes: chansec: permission denied: "dashboard" may not write on "readings": not listed for that role
	// sensor-1 writes again: true
	// dashboard: read on ""
	// operator: admin on "readings"
}

// Keys change without a restart: the new one signs from now on, what the old one signed is good until it is removed.
func ExampleNewJWTSecurity() {
	key := func(id, secret string) chansec.Key {
		k, err := chansec.HMACKey(id, "HS256", []byte(secret))
		if err != nil {
			log.Fatal(err)
		}
		return k
	}
	security, err := chansec.NewJWTSecurity(key("2026", "the secret of 2026, 32 bytes or more"), chansec.JWTMaxLifetime(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	request := chansec.TokenRequest{SystemID: "sensor-1", Role: chansec.RoleWrite, Channels: []string{"readings"}}
	old, err := security.GenerateToken(ctx, request)
	if err != nil {
		log.Fatal(err)
	}

	if err := security.Rotate(key("2027", "the secret of 2027, 32 bytes or more")); err != nil {
		log.Fatal(err)
	}
	fresh, err := security.GenerateToken(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	check := func(name, token string) {
		p, err := security.Authenticate(ctx, token)
		fmt.Printf("%s: %q %v\n", name, p.SystemID, err)
	}
	check("old", old)
	check("fresh", fresh)
	if err := security.RemoveKey("2026"); err != nil {
		log.Fatal(err)
	}
	check("old", old)
	check("fresh", fresh)
	// Output:
	// old: "sensor-1" <nil>
	// fresh: "sensor-1" <nil>
	// old: "" chansec: not authenticated
	// fresh: "sensor-1" <nil>
}

// Tokens prove who somebody is, a list says what they may do. The token bounds it on top.
func ExampleJoin() {
	key, err := chansec.HMACKey("", "HS256", []byte("a secret of at least thirty-two bytes"))
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := chansec.NewJWTSecurity(key)
	if err != nil {
		log.Fatal(err)
	}
	list, err := chansec.NewACLSecurity(chansec.ACLWrite("sensor-1"))
	if err != nil {
		log.Fatal(err)
	}
	security, err := chansec.Join(tokens, list, tokens)
	if err != nil {
		log.Fatal(err)
	}
	readings, err := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(security))
	if err != nil {
		log.Fatal(err)
	}
	defer readings.Close()
	ctx := context.Background()

	for _, system := range []string{"sensor-1", "stranger"} {
		token, err := security.GenerateToken(ctx, chansec.TokenRequest{SystemID: system, Role: chansec.RoleRead, Channels: []string{"readings"}})
		if err != nil {
			log.Fatal(err)
		}
		caller, err := readings.Authenticate(ctx, token)
		if err != nil {
			log.Fatal(err)
		}
		port := readings.For(caller)
		_, err = port.Read(ctx, 10)
		fmt.Println(system, "reads:", err)
		_, err = port.Write(ctx, 21.5)
		fmt.Println(system, "writes, which the token does not say:", errors.Is(err, chansec.ErrGrant))
	}
	// Output:
	// sensor-1 reads: <nil>
	// sensor-1 writes, which the token does not say: true
	// stranger reads: chansec: permission denied: "stranger" may not read on "readings": not listed
	// stranger writes, which the token does not say: true
}

// A revoked token ends what is open, also when nothing happens on it.
func ExampleJWTSecurity_RevokeToken() {
	key, err := chansec.HMACKey("", "HS256", []byte("a secret of at least thirty-two bytes"))
	if err != nil {
		log.Fatal(err)
	}
	security, err := chansec.NewJWTSecurity(key)
	if err != nil {
		log.Fatal(err)
	}
	readings, err := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(security))
	if err != nil {
		log.Fatal(err)
	}
	defer readings.Close()
	ctx := context.Background()

	token, err := security.GenerateToken(ctx, chansec.TokenRequest{SystemID: "dashboard", Role: chansec.RoleRead, AllChannels: true})
	if err != nil {
		log.Fatal(err)
	}
	principal, err := security.Authenticate(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	lease, err := readings.For(chansec.StaticCaller(principal)).Subscribe(ctx)
	if err != nil {
		log.Fatal(err)
	}

	if err := security.RevokeToken(principal.Grant.TokenID, principal.Grant.ExpiresAt); err != nil {
		log.Fatal(err)
	}
	<-lease.Done()
	fmt.Println("the lease was revoked:", errors.Is(lease.Err(), chansec.ErrRevoked))
	_, err = security.Authenticate(ctx, token)
	fmt.Println("the token:", err)
	// Output:
	// the lease was revoked: true
	// the token: chansec: not authenticated
}

// What one process revokes, the others refuse after Refresh, and whoever is opened later at once.
func ExampleOpenJWTSecurity() {
	key, err := chansec.HMACKey("", "HS256", []byte("a secret of at least thirty-two bytes"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	backend := chansec.NewMemoryRevocations() // one in memory; yours keeps them in a database
	here, err := chansec.OpenJWTSecurity(ctx, backend, key)
	if err != nil {
		log.Fatal(err)
	}
	there, err := chansec.OpenJWTSecurity(ctx, backend, key)
	if err != nil {
		log.Fatal(err)
	}
	token, err := here.GenerateToken(ctx, chansec.TokenRequest{SystemID: "dashboard", Role: chansec.RoleRead, AllChannels: true})
	if err != nil {
		log.Fatal(err)
	}

	err = here.Revoke(ctx, chansec.Revocation{Subject: "dashboard", IssuedBefore: time.Now()})
	fmt.Println("revoked and kept:", err == nil)
	err = there.Refresh(ctx)
	fmt.Println("taken over:", err == nil)
	_, err = there.Authenticate(ctx, token)
	fmt.Println("refused there:", errors.Is(err, chansec.ErrRevoked))
	// Output:
	// revoked and kept: true
	// taken over: true
	// refused there: true
}

// A process that cannot ask any more what others revoked lets nobody in for longer than it was told to.
func ExampleJWTMaxStaleness() {
	key, err := chansec.HMACKey("", "HS256", []byte("a secret of at least thirty-two bytes"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	backend := chansec.NewMemoryRevocations()
	security, err := chansec.OpenJWTSecurity(ctx, backend, key, chansec.JWTMaxStaleness(time.Second)) // a minute, more likely
	if err != nil {
		log.Fatal(err)
	}
	readings, err := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(security))
	if err != nil {
		log.Fatal(err)
	}
	defer readings.Close()
	token, err := security.GenerateToken(ctx, chansec.TokenRequest{SystemID: "dashboard", Role: chansec.RoleRead, AllChannels: true})
	if err != nil {
		log.Fatal(err)
	}
	dashboard, err := security.Authenticate(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	lease, err := readings.For(chansec.StaticCaller(dashboard)).Subscribe(ctx)
	if err != nil {
		log.Fatal(err)
	}

	<-lease.Done() // nobody calls Refresh
	fmt.Println("the lease ended undecided:", errors.Is(lease.Err(), chansec.ErrUndecided))
	_, err = security.Authenticate(ctx, token)
	fmt.Println("the token is undecided, too:", errors.Is(err, chansec.ErrUndecided))
	if err := security.Refresh(ctx); err != nil {
		log.Fatal(err)
	}
	_, err = security.Authenticate(ctx, token)
	fmt.Println("after a Refresh:", err)
	// Output:
	// the lease ended undecided: true
	// the token is undecided, too: true
	// after a Refresh: <nil>
}
