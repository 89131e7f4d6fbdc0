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
	},
		chansectest.Skip("append if", "BUG: a key whose last entry was removed counts as empty"),
		chansectest.Skip("last", "BUG: a key whose last entry was removed counts as empty"),
		chansectest.Skip("boxes", "BUG: a box that was emptied counts until retention comes to where its entries were"),
		chansectest.Skip("claims", "BUG: where two boxes are seen, an older entry comes before one that was given back"),
		chansectest.Skip("close", "BUG: Append and AppendIf look at Once and the condition before they look whether the log is closed"),
	)
}
