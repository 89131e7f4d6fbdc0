package policy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a store does not know yet counts all the same: a revocation that seems to do nothing, and a change that seems to be
// wrong.
func TestAChangeIsOneOfWhatTheBackendHolds(t *testing.T) {
	b := NewMemoryBackend()
	config := WAMPConfig()
	config.Delegation = true
	one, err := Open(t.Context(), config, b)
	require.NoError(t, err)
	other, err := Open(t.Context(), config, b)
	require.NoError(t, err)
	do := func(s *Store, f func(*Tx) error) error { return s.Update(t.Context(), Root(), f) }

	require.NoError(t, do(one, func(tx *Tx) error {
		_ = tx.AddRole("r", "")
		return tx.AssignRoles("ann", "r")
	}))
	require.NoError(t, do(other, func(tx *Tx) error { return tx.UnassignRole("ann", "r") }), "which the other never saw assigned")
	require.NoError(t, one.Refresh(t.Context()))
	require.Empty(t, one.Snapshot().Roles("ann"))

	require.NoError(t, do(one, func(tx *Tx) error { return tx.AddTopic("a") }))
	require.NoError(t, do(other, func(tx *Tx) error { return tx.RemoveTopic("a") }), "which the other never saw added")
	require.ErrorIs(t, do(one, func(tx *Tx) error { return tx.RemoveTopic("a") }), NotFound)
	calls := 0
	require.ErrorIs(t, do(one, func(tx *Tx) error { calls++; return tx.RemoveTopic("a") }), NotFound)
	require.Equal(t, 1, calls, "nobody changed anything")
}
