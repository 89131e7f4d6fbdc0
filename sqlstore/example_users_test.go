package sqlstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/sqlstore"
)

// open opens a store in a file of its own, with the administrator adm.
func open(ctx context.Context) (*sqlstore.Store, func()) {
	dir, err := os.MkdirTemp("", "chansec")
	check(err)
	store, err := sqlstore.OpenSQLite(ctx, filepath.Join(dir, "chansec.db"), sqlstore.Options{})
	check(err)
	secret, done, err := store.Bootstrap(ctx, "")
	check(err)
	if !done || secret == "" {
		panic("a new store has no users")
	}
	return store, func() {
		check(store.Close())
		check(os.RemoveAll(dir))
	}
}

// An administrator adds a user, and a role that she may hand out herself.
func ExampleStore_Administration() {
	ctx := context.Background()
	store, done := open(ctx)
	defer done()
	admin, err := store.Administration(sqlstore.AdministrationOptions{})
	check(err)
	do := func(by, operation, arguments string) (any, error) {
		return admin.Do(ctx, policy.ActorNamed(by), operation, json.RawMessage(arguments))
	}
	for _, step := range [][2]string{
		{"user.add", `{"login": "greg", "secret": "correct horse", "fullname": "Greg", "tzname": "America/Chicago"}`},
		{"role.add", `{"name": "garage", "bind_topic": "adm", "description": "who may open the garage door"}`},
		{"topic.add", `{"name": "adm.garage"}`},
		{"topicrole.add", `{"topic_name": "adm.garage", "name": "garage", "activity": ["call"]}`},
		{"userrole.add", `{"login": "greg", "name": "garage"}`},
	} {
		_, err := do("adm", step[0], step[1])
		check(err)
	}

	users := store.Users().Authorizer()
	for _, topic := range []string{"adm.garage.door.open", "adm.safe.open"} {
		d, err := users.Check(chansec.Principal{SystemID: "greg"}, "call", topic)
		check(err)
		fmt.Println(topic, d.Allowed)
	}
	_, err = do("greg", "user.add", `{"login": "zed", "secret": "s"}`)
	kind, _ := sqlstore.KindOf(err)
	fmt.Println(string(kind), errors.Is(err, chansec.ErrPermission))
	result, err := do("adm", "role.get", `{"name": "garage"}`)
	check(err)
	text, err := json.Marshal(result)
	check(err)
	fmt.Println(string(text))
	// Output:
	// adm.garage.door.open true
	// adm.safe.open false
	// not-authorized true
	// {"name":"garage","description":"who may open the garage door","bind":"role.adm.garage","users":["greg"]}
}

// The same users log in by password, wherever an authn.Chain is asked.
func ExampleUsers_Passwords() {
	ctx := context.Background()
	store, done := open(ctx)
	defer done()
	_, err := store.Users().Add(ctx, policy.Root(), sqlstore.NewUser{Login: "greg", Secret: "correct horse"})
	check(err)
	passwords, err := store.Users().Passwords(authn.PasswordConfig{})
	check(err)
	for _, secret := range []string{"correct horse", "wrong horse"} {
		r, err := passwords.Authenticate(ctx, &authn.Request{Principal: "greg", Credentials: []byte(secret)})
		check(err)
		fmt.Println(r.Answer)
	}
	// Output:
	// allow
	// deny
}

// What logs users in is sealed with one key, and then with another.
func ExampleUsers_Reseal() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "chansec")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	open := func(keys ...sqlstore.SealingKey) *sqlstore.Store {
		s, err := sqlstore.OpenSQLite(ctx, filepath.Join(dir, "chansec.db"), sqlstore.Options{Users: sqlstore.UserOptions{Keys: keys}})
		check(err)
		return s
	}
	last := sqlstore.SealingKey{ID: "2025", Key: []byte("32 bytes that nobody else knows!")}
	next := sqlstore.SealingKey{ID: "2026", Key: []byte("another 32 that nobody else has!")}

	store := open(last)
	_, err = store.Users().Add(ctx, policy.Root(), sqlstore.NewUser{Login: "greg", Secret: "correct horse"})
	check(err)
	check(store.Close())

	store = open(next, last) // the first seals, all of them open
	n, err := store.Users().Reseal(ctx)
	check(err)
	fmt.Println(n, "resealed")
	check(store.Close())

	store = open(last)
	fmt.Println(store.Users().CheckKeys(ctx))
	check(store.Close())
	// Output:
	// 1 resealed
	// sqlstore: the key of a user cannot be read: it takes the sealing key "2026", which was not given
}
