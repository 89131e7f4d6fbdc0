package session_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/session"
)

// passwords is a chain of one: it knows everybody by one password each. A program uses an authn.Chain.
type passwords map[string]string

func (known passwords) Login(_ context.Context, r *authn.Request) (*authn.Login, error) {
	if password, ok := known[r.Principal]; !ok || password != string(r.Credentials) {
		return nil, &authn.RefusedError{By: "passwords"}
	}
	return &authn.Login{Principal: chansec.Principal{SystemID: r.Principal, Proof: "password", Roles: r.Roles}, By: "passwords"}, nil
}

// A live lease ends when its session is kicked.
func ExampleAdmin_Kick() {
	ctx := context.Background()
	sessions, err := session.New(ctx, session.Config{
		Chain: passwords{"alice": "correct horse", "bob": "battery staple"},
		Permits: authn.Permits(func(p chansec.Principal, _ string) (bool, error) {
			return p.SystemID == "bob", nil
		}),
	})
	if err != nil {
		panic(err)
	}
	defer sessions.Close(ctx)
	alice, err := sessions.Open(ctx, &authn.Request{Principal: "alice", Credentials: []byte("correct horse")})
	if err != nil {
		panic(err)
	}
	bob, err := sessions.Open(ctx, &authn.Request{Principal: "bob", Credentials: []byte("battery staple")})
	if err != nil {
		panic(err)
	}

	prices, err := chansec.NewBroadcast[int]("prices", chansec.WithSecurity(chansec.OpenSecurity{}))
	if err != nil {
		panic(err)
	}
	defer prices.Close()
	lease, err := prices.For(alice).Subscribe(ctx)
	if err != nil {
		panic(err)
	}

	_, err = sessions.For(alice).Kick(ctx, session.OfPrincipal("bob"), "so there")
	fmt.Println(err)
	n, err := sessions.For(bob).Kick(ctx, session.OfPrincipal("alice"), "on holiday")
	fmt.Println(n, err)
	<-lease.Done()
	var ended *session.EndedError
	fmt.Println(errors.As(lease.Err(), &ended), ended)
	_, err = prices.For(alice).Read(ctx, 1)
	fmt.Println(errors.Is(err, chansec.ErrPermission))
	// Output:
	// session: "alice" may not kick sessions: it takes MODIFY_SESSION
	// 1 <nil>
	// true session: kicked by "bob": "on holiday"
	// true
}

// A session becomes somebody else if the chain lets it. What it has open is looked at again for whoever it is now.
func ExampleSession_ChangePrincipal() {
	ctx := context.Background()
	sessions, err := session.New(ctx, session.Config{Chain: passwords{"alice": "correct horse", "carol": "hunter2"}})
	if err != nil {
		panic(err)
	}
	defer sessions.Close(ctx)
	s, err := sessions.Open(ctx, &authn.Request{Principal: "alice", Credentials: []byte("correct horse")})
	if err != nil {
		panic(err)
	}
	acl, err := chansec.NewACLSecurity(chansec.ACLRead("alice"))
	if err != nil {
		panic(err)
	}
	prices, err := chansec.NewBroadcast[int]("prices", chansec.WithSecurity(acl))
	if err != nil {
		panic(err)
	}
	defer prices.Close()
	lease, err := prices.For(s).Subscribe(ctx)
	if err != nil {
		panic(err)
	}

	err = s.ChangePrincipal(ctx, &authn.Request{Principal: "carol", Credentials: []byte("wrong")})
	fmt.Println(err, "- still", s.Info().Principal, lease.Err())
	err = s.ChangePrincipal(ctx, &authn.Request{Principal: "carol", Credentials: []byte("hunter2")})
	fmt.Println(err, "- now", s.Info().Principal)
	select {
	case <-lease.Done():
		fmt.Println("carol may not read prices:", errors.Is(lease.Err(), chansec.ErrRevoked))
	case <-time.After(time.Minute):
	}
	// Output:
	// authn: not authenticated - still alice <nil>
	// <nil> - now carol
	// carol may not read prices: true
}
