package main

import (
	"bytes"
	"os"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestQuickstartPrintsWhatItPromises(t *testing.T) {
	want, err := os.ReadFile("testdata/output.txt")
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), &out))
		require.Equal(t, string(want), out.String(), "if this is right: go run ./examples/quickstart > examples/quickstart/testdata/output.txt")
	})
}
