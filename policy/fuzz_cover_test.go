package policy_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// FuzzCover asks for any pattern and any path that it matches: what is delivered is what is granted.
func FuzzCover(f *testing.F) {
	for _, s := range []struct{ pattern, path string }{{"a/+", "a/b"}, {"#", "ann/a"}, {"ann/#", "ann"}, {"+/ab/#", "ab/ab/z"}} {
		f.Add(uint64(1), s.pattern, s.path)
	}
	f.Fuzz(func(t *testing.T, seed uint64, text, path string) {
		c := policy.PlainConfig()
		c.Variables = true
		p, err := policy.ParsePattern(policy.MQTTFilter, text)
		if err != nil || !p.Matches(path) {
			return
		}
		store := randomTree(t, rand.New(rand.NewPCG(seed, 1)), c)
		a := store.Authorizer()
		granted, err := a.AuthorizeRead(t.Context(), "ann", path)
		require.NoError(t, err)
		got, err := a.Cover(chansec.Principal{SystemID: "ann"}, p)
		require.NoError(t, err)
		matching := 0
		for _, part := range got.Patterns {
			if part.Matches(path) {
				matching++
			}
		}
		switch {
		case got.Answer == policy.Reject:
			require.False(t, granted)
		case got.Answer == policy.Narrow && granted:
			require.Equal(t, 1, matching)
		case got.Answer == policy.Narrow:
			require.Zero(t, matching)
		}
	})
}
