package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoginPrintsWhatItPromises(t *testing.T) {
	want, err := os.ReadFile("testdata/output.txt")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, 1000))
	require.Equal(t, string(want), out.String(), "if this is right: go run ./examples/login > examples/login/testdata/output.txt")
}
