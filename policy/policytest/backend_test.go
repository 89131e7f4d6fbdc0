package policytest_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/policy/policytest"
)

func TestMemoryBackend(t *testing.T) {
	policytest.TestBackend(t, func(*testing.T) func() policy.Backend {
		b := policy.NewMemoryBackend()
		return func() policy.Backend { return b }
	})
}

func TestFileBackend(t *testing.T) {
	policytest.TestBackend(t, func(t *testing.T) func() policy.Backend {
		dir := t.TempDir()
		return func() policy.Backend {
			b, err := policy.NewFileBackend(dir)
			require.NoError(t, err)
			return b
		}
	})
}

func TestScriptFile(t *testing.T) {
	policytest.TestBackend(t, func(t *testing.T) func() policy.Backend {
		name := filepath.Join(t.TempDir(), "policy.script")
		return func() policy.Backend { return policy.NewScriptFile(name, "") }
	})
}
