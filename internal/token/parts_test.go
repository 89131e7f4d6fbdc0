package token

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"math/rand/v2"
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

// TestDERSignature compares with encoding/asn1, which writes the shortest form, as crypto/ecdsa demands.
func TestDERSignature(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	p := newParts()
	for _, size := range []int{32, 48, 66} {
		for range 2000 {
			p.signature = make([]byte, 2*size)
			for _, half := range [][]byte{p.signature[:size], p.signature[size:]} {
				for i := random.IntN(size + 1); i < size; i++ { // from none to all of the leading bytes are 0
					half[i] = byte(random.Uint32())
				}
			}
			r, s := new(big.Int).SetBytes(p.signature[:size]), new(big.Int).SetBytes(p.signature[size:])
			want, err := asn1.Marshal([]*big.Int{r, s})
			require.NoError(t, err)
			got, ok := p.derSignature(size)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
		for _, length := range []int{0, 1, size, 2*size - 1, 2*size + 1, 3 * size} {
			p.signature = make([]byte, length)
			_, ok := p.derSignature(size)
			require.False(t, ok)
		}
	}
}
