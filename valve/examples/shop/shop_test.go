package main

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/valve"
)

// TestShopPrintsWhatItPromises: nothing of it is different the next time.
func TestShopPrintsWhatItPromises(t *testing.T) {
	want, err := os.ReadFile("testdata/output.txt")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, valve.TimeLimit(time.Minute)), "the machine of the test may be slow")
	require.Equal(t, string(want), out.String(), "if this is right: go run ./examples/shop > examples/shop/testdata/output.txt")
}

func TestPermissions(t *testing.T) { valve.TestFile(t, "permissions.yml") }
