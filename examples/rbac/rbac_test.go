package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRbacPrintsWhatItPromises: nothing of it is different the next time.
func TestRbacPrintsWhatItPromises(t *testing.T) {
	want, err := os.ReadFile("testdata/output.txt")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, "127.0.0.1:0", false))
	require.Equal(t, string(want), out.String(), "if this is right: go run ./examples/rbac > examples/rbac/testdata/output.txt")
}

// TestServing: what -serve prints lets a newcomer in.
func TestServing(t *testing.T) {
	tokens, err := newTokens(t.TempDir())
	require.NoError(t, err)
	var out bytes.Buffer
	d := &demo{out: &out, base: "http://127.0.0.1:8080", tokens: make(map[string]string)}
	require.NoError(t, d.mint(tokens))
	d.invite()
	require.Len(t, d.tokens, 3)
	for name, token := range d.tokens {
		require.Equal(t, 1, strings.Count(out.String(), name+"="+token+"\n"))
		_, err := tokens.Verify(t.Context(), token)
		require.NoError(t, err)
	}
}
