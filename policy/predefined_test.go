package policy_test

import (
	"context"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

// A store with the predefined roles has nobody in it. The program names the first administrator, who goes on from there.
func ExampleStore_Bootstrap() {
	ctx := context.Background()
	store, err := policy.New(policy.DiffusionConfig())
	if err != nil {
		log.Fatal(err)
	}
	if err := store.UpdateScript(ctx, policy.Root(), policy.Predefined()); err != nil {
		log.Fatal(err)
	}
	for range 2 { // at every start of the program
		added, err := store.Bootstrap(ctx, "ann", "ADMINISTRATOR")
		fmt.Println(added, err)
	}
	err = store.UpdateScript(ctx, policy.ActorNamed("ann"), "set 'TRADER' path 'desk' permissions [UPDATE_TOPIC]")
	fmt.Println("ann:", err)
	err = store.UpdateScript(ctx, policy.ActorNamed("ben"), "set 'TRADER' path 'desk' permissions []")
	fmt.Println("ben:", err)
	// Output:
	// true <nil>
	// false <nil>
	// ann: <nil>
	// ben: policy: "ben" may not change the policy: it takes MODIFY_SECURITY
}

func TestPredefinedStore(t *testing.T) {
	var v decisionVector
	readVector(t, "testdata/paths/decisions-13-predefined-roles.json", &v)
	store := newStore(t, policy.DiffusionConfig())
	require.NoError(t, store.UpdateScript(t.Context(), policy.Root(), policy.Predefined()))
	v.check(t, store.Snapshot())
	s := store.Snapshot()
	require.Empty(t, s.PathPermissions(s.Session(""), "news"), "anonymous sessions are let in by whoever wants that")
	require.NotContains(t, s.Script(), "assign", "there are no principals")
}

func TestTheFirstAdministrator(t *testing.T) {
	predefined := func() *policy.Store {
		s := newStore(t, policy.DiffusionConfig())
		require.NoError(t, s.UpdateScript(t.Context(), policy.Root(), policy.Predefined()))
		return s
	}
	t.Run("keeps the roles that they have", func(t *testing.T) {
		s := predefined()
		change(t, s, func(tx *policy.Tx) { tx.AssignRoles("ann", "OPERATOR") })
		added, err := s.Bootstrap(t.Context(), "ann", "ADMINISTRATOR")
		require.NoError(t, err)
		require.True(t, added)
		require.Equal(t, []string{"ADMINISTRATOR", "OPERATOR"}, s.Snapshot().Roles("ann"))
	})
	t.Run("does not come back after another has taken over", func(t *testing.T) {
		s := predefined()
		_, err := s.Bootstrap(t.Context(), "ann", "ADMINISTRATOR")
		require.NoError(t, err)
		change(t, s, func(tx *policy.Tx) { tx.AssignRoles("ben", "ADMINISTRATOR"); tx.AssignRoles("ann") })
		added, err := s.Bootstrap(t.Context(), "ann", "ADMINISTRATOR")
		require.NoError(t, err)
		require.False(t, added)
		require.Empty(t, s.Snapshot().Roles("ann"))
	})
	t.Run("one for a while is none", func(t *testing.T) {
		s := predefined()
		change(t, s, func(tx *policy.Tx) { tx.AssignRoleUntil("ben", "ADMINISTRATOR", time.Now().Add(time.Hour)) })
		added, err := s.Bootstrap(t.Context(), "ann", "ADMINISTRATOR")
		require.NoError(t, err)
		require.True(t, added)
	})
	t.Run("must be one", func(t *testing.T) {
		s := predefined()
		for _, role := range []string{"CLIENT", "UNHEARD-OF", ""} {
			added, err := s.Bootstrap(t.Context(), "ann", role)
			require.ErrorIs(t, err, policy.InvalidArgument, role)
			require.False(t, added)
		}
		_, err := s.Bootstrap(t.Context(), "", "ADMINISTRATOR")
		require.ErrorIs(t, err, policy.InvalidArgument)
		_, err = newStore(t, policy.WAMPConfig()).Bootstrap(t.Context(), "ann", "R")
		require.ErrorIs(t, err, policy.InvalidArgument, "where only the program may change the store")
		require.Empty(t, s.Snapshot().Roles("ann"))
	})
}
