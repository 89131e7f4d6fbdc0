package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func TestPermitsIsAboutGlobalPermissions(t *testing.T) {
	s := newStore(t, policy.DiffusionConfig())
	change(t, s, func(tx *policy.Tx) {
		tx.SetGlobalPermissions("ADMINISTRATOR", "MODIFY_SECURITY")
		tx.SetRoleIncludes("BOSS", "ADMINISTRATOR")
		tx.SetGlobalPermissions("CLIENT", "VIEW_SERVER")
		tx.SetRolesForNamedSessions("CLIENT")
		tx.SetRolesForAnonymousSessions("BOSS")
		tx.AssignRoles("ann", "BOSS")
	})
	for _, tt := range []struct {
		name       string
		principal  chansec.Principal
		permission string
		want       bool
	}{
		{"a role that is stored, by what it includes", chansec.Principal{SystemID: "ann"}, "MODIFY_SECURITY", true},
		{"in any case of letters", chansec.Principal{SystemID: "ann"}, "modify_security", true},
		{"another permission", chansec.Principal{SystemID: "ann"}, "VIEW_SECURITY", false},
		{"a role that is vouched for", chansec.Principal{SystemID: "bob", Roles: []string{"ADMINISTRATOR"}}, "MODIFY_SECURITY", true},
		{"no role", chansec.Principal{SystemID: "bob"}, "MODIFY_SECURITY", false},
		{"a role of everybody with a name", chansec.Principal{SystemID: "bob"}, "VIEW_SERVER", true},
		{"nobody", chansec.Principal{}, "MODIFY_SECURITY", false},
		{"nobody, with a role", chansec.Principal{Roles: []string{"ADMINISTRATOR"}}, "MODIFY_SECURITY", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Permits(tt.principal, tt.permission)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	for _, permission := range []string{"", "READ_TOPIC", "FLY"} {
		got, err := s.Permits(chansec.Principal{SystemID: "ann"}, permission)
		require.ErrorIs(t, err, policy.UnknownPermission)
		require.False(t, got)
	}
}
