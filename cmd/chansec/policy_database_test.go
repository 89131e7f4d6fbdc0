package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

// In the place of a policy file there may be a database, on both engines.
func TestPoliciesOfADatabaseAreExplainedComparedAndChanged(t *testing.T) {
	onBothEngines(t, func(t *testing.T, database string) {
		s := besides(t, database)
		require.NoError(t, s.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
			if err := tx.AddTopic("com.garage"); err != nil {
				return err
			}
			if err := tx.Grant("family", "com.garage", "call"); err != nil {
				return err
			}
			return tx.AssignRoles("greg", "family")
		}))
		revision := s.Policy().Version()
		explain := func(path string) (x explanation, status int) {
			got := ran(t.Context(), "", nil, "policy", "explain", database, "--as", "greg", "call", path, "--json")
			require.NoError(t, json.Unmarshal([]byte(got.out), &x), got.err)
			return x, got.status
		}
		x, status := explain("com.garage.door")
		require.Equal(t, exitDone, status)
		require.Equal(t, revision, x.Revision)
		_, status = explain("com.safe")
		require.Equal(t, exitRefused, status)

		dir := t.TempDir()
		commands := filepath.Join(dir, "new.script")
		require.NoError(t, os.WriteFile(commands, []byte("assign roles \"greg\" []\n"), 0o600))
		got := ran(t.Context(), "", nil, "policy", "diff", database, commands, "--commands")
		require.Equal(t, exitDone, got.status, got.err)
		require.Contains(t, got.out, "greg")
		require.NoError(t, s.Policy().Refresh(t.Context()))
		require.Equal(t, revision, s.Policy().Version(), "to compare changes nothing")
		got = ran(t.Context(), "", nil, "policy", "apply", database, commands, "--commands", "--yes")
		require.Equal(t, exitDone, got.status, got.err)
		_, status = explain("com.garage.door")
		require.Equal(t, exitRefused, status)
		require.NoError(t, s.Policy().Refresh(t.Context()))
		require.NotContains(t, s.Policy().Snapshot().Script(), "greg")

		got = ran(t.Context(), "", nil, "policy", "apply", database, commands, "--commands", "--yes", "--as", "greg")
		require.Equal(t, exitDone, got.status, "no change is allowed to everybody: %s", got.err)
		require.NoError(t, os.WriteFile(commands, []byte("assign roles \"greg\" ['family']\n"), 0o600))
		got = ran(t.Context(), "", nil, "policy", "apply", database, commands, "--commands", "--yes", "--as", "greg")
		require.Equal(t, exitRefused, got.status, got.out)
	})
}

func TestNoAddressOfADatabaseMayHaveAPassword(t *testing.T) {
	got := ran(t.Context(), "", nil, "policy", "lint", "postgres://ann:hunter2@127.0.0.1/db")
	require.Equal(t, exitMisused, got.status)
	require.NotContains(t, got.err, "hunter2")
}
