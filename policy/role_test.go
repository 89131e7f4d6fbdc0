package policy

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Numbers of roles that come again are never those of a role that is there.
func TestNumbersOfRolesComeAgain(t *testing.T) {
	s, err := New(DiffusionConfig())
	require.NoError(t, err)
	update := func(f func(*Tx)) {
		require.NoError(t, s.Update(t.Context(), Root(), func(tx *Tx) error { f(tx); return nil }))
	}
	update(func(tx *Tx) { _ = tx.SetGlobalPermissions("RULER", "MODIFY_SECURITY") })
	update(func(tx *Tx) {
		tx.lastRole = math.MaxUint32 // as after so many names
		_ = tx.AssignRoles("pip", "JESTER")
	})
	require.Empty(t, s.Snapshot().GlobalPermissions(s.Snapshot().Session("pip")))
	require.Equal(t, []string{"JESTER"}, s.Snapshot().Roles("pip"))
	require.NotZero(t, s.current.Load().roleNamed("JESTER").id)
}
