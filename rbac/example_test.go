package rbac_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/rbac"
)

// A service whose users are read by users, changed by admins, and change their own password.
func Example() {
	key, _ := rsa.GenerateKey(rand.Reader, 2048) // usually rbac.KeyFiles{Config: "config"}.Signing()
	keys, err := rbac.NewKeys(key, &key.PublicKey)
	if err != nil {
		panic(err)
	}
	tokens, err := rbac.NewTokens(keys, rbac.Application("users-app"))
	if err != nil {
		panic(err)
	}
	users, err := rbac.NewService(tokens, new(rbac.Rules).
		Action(rbac.Action{Name: "change_password", Methods: []string{"POST"},
			Require: rbac.AnyOf{rbac.CurrentSubject("object_id"), rbac.Role("admin")}}).
		DenyAll().
		Require(rbac.Role("user"), "GET").
		Require(rbac.Role("admin"), "PUT", "DELETE"))
	if err != nil {
		panic(err)
	}

	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := rbac.ClaimsFrom(r.Context())
		fmt.Fprintf(w, "hello %s, this is %s", claims.Subject, r.PathValue("object_id"))
	})
	var mux rbac.Mux
	mux.Handle("/users/{object_id}", users, hello)
	mux.HandleAction("POST /users/{object_id}/change_password", users, "change_password", hello)
	handler, err := mux.Handler()
	if err != nil {
		panic(err)
	}

	token, err := tokens.Token(rbac.Identity{ID: "U1", Roles: []string{"user"}})
	if err != nil {
		panic(err)
	}
	for _, line := range [][2]string{
		{"GET", "/users/U2"}, {"PUT", "/users/U1"}, {"POST", "/users/U1/change_password"}, {"POST", "/users/U2/change_password"},
	} {
		r := httptest.NewRequest(line[0], line[1], http.NoBody)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(line[0], line[1], w.Code)
	}
	// Output:
	// GET /users/U2 200
	// PUT /users/U1 403
	// POST /users/U1/change_password 200
	// POST /users/U2/change_password 403
}

// Every call that makes no sense is reported, and there is no service until all do.
func ExampleNewService() {
	_, err := rbac.NewService(verifierFunc(nil), new(rbac.Rules).
		DenyAll().
		Require(rbac.Role("user"), "GET, HEAD").
		Require(rbac.AnyOf{}, "POST"))
	fmt.Println(err)
	// Output:
	// rbac: call 2, Require: the method "GET, HEAD": want one method in each string, such as "GET"
	// rbac: call 3, Require: an empty list: want at least one permission; rbac.Denied is nobody
}

// At start-up, a route that nobody thought of is found.
func ExampleMux_Handler() {
	users, err := rbac.NewService(verifierFunc(nil), new(rbac.Rules).Require(rbac.Role("user"), "GET"))
	if err != nil {
		panic(err)
	}
	var mux rbac.Mux
	mux.Handle("GET /users/{object_id}", users, http.NotFoundHandler())
	mux.Handle("DELETE /users/{object_id}", users, http.NotFoundHandler())
	_, err = mux.Handler()
	fmt.Println(err)
	for _, r := range mux.Routes() {
		fmt.Println(r)
	}
	// Output:
	// rbac: routes without a rule for all of their methods: DELETE /users/{object_id}: want one for each, or DenyAll first
	// GET /users/{object_id}: ROLE_USER
	// DELETE /users/{object_id}
}

// The same rules decide on channels.
func ExampleService_Authorizer() {
	mail, err := rbac.NewService(verifierFunc(nil), new(rbac.Rules).
		DenyAll().
		Require(rbac.CurrentSubject("object_id"), "GET").
		Require(rbac.Role("sender"), "POST"))
	if err != nil {
		panic(err)
	}
	channels, err := mail.Authorizer("object_id")
	if err != nil {
		panic(err)
	}
	for _, who := range []chansec.Principal{{SystemID: "alice"}, {SystemID: "bob", Roles: []string{"sender"}}} {
		for _, op := range []chansec.Operation{chansec.OpRead, chansec.OpWrite} {
			d, err := channels.Decide(context.Background(), chansec.Request{Principal: who, ChannelID: "alice", Operation: op})
			fmt.Println(who.SystemID, op, d.Allowed, d.Reason, err)
		}
	}
	// Output:
	// alice read true subject <nil>
	// alice write false insufficient <nil>
	// bob read false insufficient <nil>
	// bob write true role <nil>
}
