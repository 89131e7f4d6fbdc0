package sqlstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/sqlstore"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Two processes share a database: what one of them changes, the other decides by.
func Example() {
	dir, err := os.MkdirTemp("", "sqlstore")
	check(err)
	defer os.RemoveAll(dir)
	ctx := context.Background()

	home, err := sqlstore.OpenSQLite(ctx, filepath.Join(dir, "chansec.db"), sqlstore.Options{})
	check(err)
	defer home.Close()
	other, err := sqlstore.OpenSQLite(ctx, filepath.Join(dir, "chansec.db"), sqlstore.Options{})
	check(err)
	defer other.Close()

	check(home.Policy().Update(ctx, policy.Root(), func(tx *policy.Tx) error {
		_ = tx.Grant("residents", "com.home.garage", "publish")
		return tx.AssignRoles("greg", "residents")
	}))
	check(other.AtLeast(ctx, home.Policy().Version()))
	for _, topic := range []string{"com.home.garage.door.open", "com.home.safe.open"} {
		ok, err := other.Authorizer().AuthorizeWrite(ctx, "greg", topic)
		check(err)
		fmt.Println(topic, ok)
	}
	// Output:
	// com.home.garage.door.open true
	// com.home.safe.open false
}

// The policy and what an application keeps change together, or not at all.
func ExampleStore_UpdateIn() {
	dir, err := os.MkdirTemp("", "sqlstore")
	check(err)
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store, err := sqlstore.OpenSQLite(ctx, filepath.Join(dir, "chansec.db"), sqlstore.Options{})
	check(err)
	defer store.Close()
	_, err = store.DB().ExecContext(ctx, "create table door (topic text not null)")
	check(err)

	tx, err := store.DB().BeginTx(ctx, nil)
	check(err)
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx, "insert into door values ($1)", "com.home.cellar")
	check(err)
	revision, err := store.UpdateIn(ctx, tx, policy.Root(), func(tx *policy.Tx) error {
		return tx.Grant("residents", "com.home.cellar", "call")
	})
	check(err)
	fmt.Println("before the commit:", store.Policy().Version())
	check(tx.Commit())
	check(store.AtLeast(ctx, revision))
	fmt.Println("after it:", store.Policy().Version())
	// Output:
	// before the commit: 0
	// after it: 1
}
