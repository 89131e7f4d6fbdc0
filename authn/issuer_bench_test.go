package authn_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/authn"
)

// What a login by a token costs: choosing the issuer, the signature, the claims.
func BenchmarkIssuers(b *testing.B) {
	for _, key := range []signer{rsaSigner(), ecSigner("ec"), edSigner("ed")} {
		b.Run(key.algorithm, func(b *testing.B) {
			h := newIssuers(b, oneIssuer(newKeyServer(key)))
			r := &authn.Request{Credentials: []byte(key.token(nil))}
			b.ReportAllocs()
			for b.Loop() {
				got, err := h.Authenticate(b.Context(), r)
				if err != nil || got.Answer != authn.Allow {
					require.NoError(b, err)
					require.Equal(b, authn.Allow, got.Answer, got.Reason)
				}
			}
		})
	}
	b.Run("a key that is unknown", func(b *testing.B) {
		h := newIssuers(b, oneIssuer(newKeyServer(edSigner("1"))))
		r := &authn.Request{Credentials: []byte(edSigner("2").token(nil))}
		b.ReportAllocs()
		for b.Loop() {
			if got, err := h.Authenticate(b.Context(), r); err != nil || got.Answer != authn.Deny {
				b.Fatal(got, err)
			}
		}
	})
}
