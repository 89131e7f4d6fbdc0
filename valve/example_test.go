package valve_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/valve"
)

// One permission file decides about a chat with public and private rooms, a counter that may only grow, and a purchase
// that needs stock.
func Example() {
	ctx := context.Background()
	source, err := os.ReadFile("testdata/shop.yml")
	if err != nil {
		log.Fatal(err)
	}
	permissions, err := valve.ParseYAML(source)
	if err != nil {
		log.Fatal(err)
	}
	type object = map[string]any
	shop, err := chansec.NewKeyed[object]("shop")
	if err != nil {
		log.Fatal(err)
	}
	rules, err := valve.New(valve.Config{
		Permissions: permissions,
		Channels: []valve.Binding{
			{Channels: "shop", Section: valve.Record},
			{Channels: "buy/*", Section: valve.RPC},
			{Channels: "chat/*", Section: valve.Event},
		},
		Lookup: valve.LookupFunc(func(ctx context.Context, name string) (any, bool, error) {
			m, err := shop.As("rules").Get(ctx, strings.TrimPrefix(name, "shop/"))
			if errors.Is(err, chansec.ErrUnknownKey) {
				return nil, false, nil
			}
			return m.Content, err == nil, err
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	security, err := chansec.Join(chansec.OpenSecurity{}, rules, chansec.OpenSecurity{})
	if err != nil {
		log.Fatal(err)
	}
	if err := shop.SetSecurity(security); err != nil {
		log.Fatal(err)
	}
	board, err := chansec.NewBroadcast[object]("chat/private/board", chansec.WithSecurity(security))
	if err != nil {
		log.Fatal(err)
	}
	buy, err := chansec.NewBroadcast[object]("buy/tea", chansec.WithSecurity(security))
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range []interface{ Start(context.Context) error }{shop, board, buy} {
		if err := c.Start(ctx); err != nil {
			log.Fatal(err)
		}
	}
	defer shop.Close()
	defer board.Close()
	defer buy.Close()

	say := func(what string, err error) {
		if errors.Is(err, chansec.ErrPermission) {
			fmt.Println(what+":", "denied")
			return
		}
		fmt.Println(what+":", err)
	}
	anna := chansec.StaticCaller(chansec.Principal{SystemID: "anna", Proof: chansec.ProofToken, Attributes: object{"rooms": []string{"board"}}})
	_, err = board.For(anna).Write(ctx, object{"text": "hello"})
	say("a member writes", err)
	_, err = board.As("bob").Write(ctx, object{"text": "hello"})
	say("a stranger writes", err)

	_, err = shop.As("bob").Set(ctx, "visits", object{"n": 1})
	say("the counter starts", err)
	_, err = shop.As("bob").Set(ctx, "visits", object{"n": 2})
	say("the counter grows", err)
	_, err = shop.As("bob").Set(ctx, "visits", object{"n": 2})
	say("the counter stays", err)

	_, err = shop.As("warehouse").Set(ctx, "stock/tea", object{"left": 3})
	say("tea arrives", err)
	_, err = buy.As("bob").Write(ctx, object{"amount": 3})
	say("3 are bought", err)
	_, err = buy.As("bob").Write(ctx, object{"amount": 4})
	say("4 are bought", err)
	// Output:
	// a member writes: <nil>
	// a stranger writes: denied
	// the counter starts: <nil>
	// the counter grows: <nil>
	// the counter stays: denied
	// tea arrives: <nil>
	// 3 are bought: <nil>
	// 4 are bought: denied
}
