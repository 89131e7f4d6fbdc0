package token

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireStrictBase64 compares appendDecoded with the strict decoder of the standard library, but for the line ends that
// the latter skips.
func requireStrictBase64(t *testing.T, text string) {
	t.Helper()
	want, err := base64.RawURLEncoding.Strict().DecodeString(text)
	got, ok := appendDecoded([]byte("before"), text)
	require.Equal(t, err == nil && !strings.ContainsAny(text, "\r\n"), ok, "%q", text)
	if ok {
		require.Equal(t, "before"+string(want), string(got), "%q", text)
	}
}

// TestBase64 has every byte at every place of the last eight characters, for every length of the rest.
func TestBase64(t *testing.T) {
	t.Parallel()
	for length := range 14 {
		for _, fill := range []byte("Aw_") {
			text := bytes.Repeat([]byte{fill}, length)
			requireStrictBase64(t, string(text))
			for at := range text {
				for c := range 256 {
					text[at] = byte(c)
					requireStrictBase64(t, string(text))
				}
				text[at] = fill
			}
		}
	}
}

func FuzzBase64(f *testing.F) {
	for _, seed := range []string{"", "A", "AA", "AB", "AAA", "AAB", "AAAA", "-_-_", "+/+/", "AA==", "AA\nA", "\u0141AAA"} {
		f.Add(seed)
	}
	f.Fuzz(requireStrictBase64)
}
