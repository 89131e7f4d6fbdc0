package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHTTPPrintsWhatItPromises: but for what is different every time.
func TestHTTPPrintsWhatItPromises(t *testing.T) {
	want, err := os.ReadFile("testdata/output.txt")
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, "127.0.0.1:0", false))
	sed := exec.Command("sed", "-E", "-f", "testdata/mask.sed")
	sed.Stdin = &out
	got, err := sed.Output()
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "if this is right: go run ./examples/http | sed -E -f examples/http/testdata/mask.sed > examples/http/testdata/output.txt")
}

// TestServing: what -serve prints lets a newcomer in.
func TestServing(t *testing.T) {
	s, err := newService(t.Context())
	require.NoError(t, err)
	defer s.close()
	var out bytes.Buffer
	d := &demo{out: &out, base: "http://127.0.0.1:8080", service: s, tokens: make(map[string]string)}
	require.NoError(t, d.mint(t.Context()))
	d.invite()
	for name, token := range d.tokens {
		require.Equal(t, 1, strings.Count(out.String(), name+"="+token+"\n"))
		_, err := s.security.Authenticate(t.Context(), token)
		require.NoError(t, err)
	}
}
