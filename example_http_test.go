package chansec_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"github.com/chansec/chansec"
)

// Channels are mounted on an http.Handler, and used from elsewhere like local ones.
func ExampleHTTPTransport() {
	ctx := context.Background()
	key, _ := chansec.HMACKey("", "HS256", []byte("a secret of at least 32 random bytes"))
	security, _ := chansec.NewJWTSecurity(key)
	readings, _ := chansec.NewBroadcast[float64]("readings", chansec.WithSecurity(security))
	_ = readings.Start(ctx)
	defer readings.Close()

	transport, _ := chansec.NewHTTPTransport()
	_ = transport.Mount(readings)
	server := httptest.NewServer(transport) // or transport.Server(":8080").ListenAndServe()
	defer server.Close()

	token, _ := security.GenerateToken(ctx, chansec.TokenRequest{SystemID: "sensor", Role: chansec.RoleWrite, Channels: []string{"readings"}})
	remote, _ := chansec.Dial[float64](chansec.ChannelURL(server.URL, "readings"), chansec.DialToken(token))
	defer remote.Close()
	sensor := remote.Broadcast()
	_, err := sensor.Write(ctx, 21.5)
	fmt.Println("written:", err == nil)
	_, err = sensor.Clear(ctx)
	fmt.Println("cleared:", !errors.Is(err, chansec.ErrPermission))

	messages, _ := readings.As("dashboard").Read(ctx, 10)
	fmt.Println(messages[0].SenderID, messages[0].Content)
	// Output:
	// written: true
	// cleared: false
	// sensor 21.5
}

// A token's holder hands on a part of what it reaches.
func ExampleJWTSecurity_Delegate() {
	ctx := context.Background()
	key, _ := chansec.HMACKey("", "HS256", []byte("a secret of at least 32 random bytes"))
	security, _ := chansec.NewJWTSecurity(key)
	token, _ := security.GenerateToken(ctx, chansec.TokenRequest{SystemID: "boss", Role: chansec.RoleWrite, Channels: []string{"a", "b"}})
	boss, _ := security.Authenticate(ctx, token)

	_, err := security.Delegate(ctx, boss, chansec.TokenRequest{SystemID: "helper", Role: chansec.RoleAdmin, Channels: []string{"a"}})
	fmt.Println(err)
	part, _ := security.Delegate(ctx, boss, chansec.TokenRequest{SystemID: "helper", Role: chansec.RoleRead, Channels: []string{"a"}})
	helper, _ := security.Authenticate(ctx, part)
	fmt.Println(helper.SystemID, helper.Grant.Role, helper.Grant.Channels)

	_ = security.RevokeToken(boss.Grant.TokenID, boss.Grant.ExpiresAt)
	_, err = security.Authenticate(ctx, part)
	fmt.Println(err)
	// Output:
	// chansec: not covered by the credential's grant
	// helper read [a]
	// chansec: not authenticated
}
