package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func TestWhatAnActorMayDoSomewhere(t *testing.T) {
	s := newStore(t, policy.WAMPConfig())
	change(t, s, func(tx *policy.Tx) {
		tx.Grant("com", "com", "call")
		tx.AssignRoles("ann", "com")
	})
	for _, row := range []struct {
		name  string
		actor policy.Actor
		path  string
		may   bool
	}{
		{"by a stored role, below", policy.ActorNamed("ann"), "com.x", true},
		{"not elsewhere", policy.ActorNamed("ann"), "community", false},
		{"not somebody else", policy.ActorNamed("zed"), "com.x", false},
		{"by a role that is vouched for", policy.ActorOf(chansec.Principal{SystemID: "zed", Roles: []string{"com"}}), "com.x", true},
		{"not with a credential that reaches one channel only", policy.ActorOf(chansec.Principal{SystemID: "ann",
			Grant: &chansec.Grant{Role: chansec.RoleAdmin, Channels: []string{"com.x"}}}), "com.x", false},
		{"not nobody", policy.Actor{}, "com.x", false},
		{"the program itself", policy.Root(), "anything", true},
		{"the program, for somebody who may not", policy.RootFor("zed"), "com.x", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			may, err := s.May(row.actor, "call", row.path)
			require.NoError(t, err)
			require.Equal(t, row.may, may)
		})
	}
	_, err := s.May(policy.Root(), "fly", "com.x")
	require.ErrorIs(t, err, policy.UnknownPermission, "an unknown permission is an error, for the program as well")
	s.Suspend(nil)
	may, err := s.May(policy.ActorNamed("ann"), "call", "com.x")
	require.ErrorIs(t, err, chansec.ErrUndecided)
	require.False(t, may)
}

func TestRootForSomebodyIsRecordedUnderTheirName(t *testing.T) {
	b := policy.NewMemoryBackend()
	s, err := policy.Open(t.Context(), policy.WAMPConfig(), b)
	require.NoError(t, err)
	require.NoError(t, s.Update(t.Context(), policy.RootFor("ann"), func(tx *policy.Tx) error { return tx.AssignRoles("zed", "com") }))
	for c, err := range b.Changes(t.Context(), 0) {
		require.NoError(t, err)
		require.Equal(t, "ann", c.Actor)
	}
	require.Equal(t, "ann", policy.RootFor("ann").String())
	require.True(t, policy.RootFor("ann").IsRoot())
	require.False(t, policy.ActorNamed("root").IsRoot(), "a name is not the program")
}
