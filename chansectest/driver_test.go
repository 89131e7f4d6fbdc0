package chansectest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/chansectest"
	"github.com/chansec/chansec/driver"
	"github.com/chansec/chansec/internal/memory"
)

func TestMemory(t *testing.T) {
	chansectest.TestDriver(t, func(t *testing.T, cfg driver.Config) driver.Backend[[]byte] {
		b, err := memory.Open[[]byte](t.Context(), "channel", cfg)
		require.NoError(t, err)
		return b
	})
}
