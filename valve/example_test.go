package valve_test

import (
	"context"
	"fmt"
	"log"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/valve"
)

// Whoever is logged in may write in the lobby, and nobody in any other room. The program in examples/shop shows more.
func Example() {
	permissions, err := valve.ParseYAML([]byte(`
record: {"*": {}}
rpc: {"*": {}}
presence: {"*": {}}
event:
  "*": {}
  chat/lobby:
    publish: user.isAuthenticated && data.length > 0
`))
	if err != nil {
		log.Fatal(err)
	}
	rules, err := valve.New(valve.Config{
		Permissions: permissions,
		Channels:    []valve.Binding{{Channels: "chat/*", Section: valve.Event}},
	})
	if err != nil {
		log.Fatal(err)
	}
	security, err := chansec.Join(chansec.OpenSecurity{}, rules, chansec.OpenSecurity{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	for _, room := range []string{"chat/lobby", "chat/board"} {
		channel, err := chansec.NewBroadcast[string](room, chansec.WithSecurity(security))
		if err != nil {
			log.Fatal(err)
		}
		defer channel.Close()
		if err := channel.Start(ctx); err != nil {
			log.Fatal(err)
		}
		for _, text := range []string{"hello", ""} {
			_, err = channel.As("bob").Write(ctx, text)
			fmt.Printf("%s, %q: %t\n", room, text, err == nil)
		}
	}
	// Output:
	// chat/lobby, "hello": true
	// chat/lobby, "": false
	// chat/board, "hello": false
	// chat/board, "": false
}
