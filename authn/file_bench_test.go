package authn_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/authn"
)

// guesses is what can be tried on a file of users whose hashes differ in cost and kind.
var guesses = []struct {
	name, user, password string
}{
	{"right", "alice", secret},
	{"wrong", "alice", "not the password at all"},
	{"wrong_and_empty", "alice", ""},
	{"wrong_and_long", "alice", strings.Repeat("x", 1000)},
	{"unknown", "nobody", secret},
	{"right_of_a_cheaper_hash", "cheap", secret},
	{"wrong_of_a_cheaper_hash", "cheap", "not the password at all"},
	{"right_of_another_kind", "legacy", "password"},
	{"wrong_of_another_kind", "legacy", "not the password at all"},
}

// guessed opens a file for the guesses: a user at a cost, one at a tenth of it, and one of deepstream's.
func guessed(b testing.TB, iterations int) *authn.File {
	hash := func(n int) string {
		text, err := authn.HashPassword(secret, n)
		require.NoError(b, err)
		return text
	}
	file, err := openText(b, fmt.Sprintf(`{"hash": "md5", "iterations": 100, "keyLength": 32, "users": {
		"legacy": {"password": "rCOSZxJrgze2AZdVQh12c6ErDMOG0M+Rx5Yu7S5d91c=GS4SbTQYmoaGwjm2shEobg=="},
		"alice": {"password": "%s"}, "cheap": {"password": "%s"}}}`, hash(iterations), hash(iterations/10)), authn.FileConfig{})
	require.NoError(b, err)
	return file
}

// shortest is the time that each guess takes at least, of many that are tried in turns: that is the work, not the machine.
type shortest []time.Duration

func (s shortest) round(t testing.TB, file *authn.File) {
	for i, g := range guesses {
		began := time.Now()
		ask(t, file, by(g.user, g.password))
		if took := time.Since(began); s[i] == 0 || took < s[i] {
			s[i] = took
		}
	}
}

func TestGuessesTakeTheSameTime(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures time")
	}
	file, s := guessed(t, 1000), make(shortest, len(guesses))
	same := func() bool { return float64(slices.Max(s)) < 3*float64(slices.Min(s)) }
	for n := 0; n < 40 || n < 200 && !same(); n++ { // on a busy machine it takes longer until each was lucky once
		s.round(t, file)
	}
	for i, g := range guesses {
		t.Logf("%-24s %v", g.name, s[i])
	}
	require.True(t, same())
}

// BenchmarkGuesses is a round of guesses at the default cost, and the shortest time of each.
func BenchmarkGuesses(b *testing.B) {
	file, s := guessed(b, authn.DefaultIterations), make(shortest, len(guesses))
	for b.Loop() {
		s.round(b, file)
	}
	for i, g := range guesses {
		b.ReportMetric(float64(s[i])/1e6, g.name+"-ms")
	}
}

// BenchmarkLogin is what a chain costs around its handlers.
func BenchmarkLogin(b *testing.B) {
	for name, config := range map[string]authn.Config{"serial": {}, "parallel": {Parallel: true}} {
		b.Run(name, func(b *testing.B) {
			config.Handlers = []authn.Entry{{Name: "a", Handler: says(authn.Abstain)}, {Name: "b", Handler: says(authn.Allow)}}
			c, err := authn.NewChain(config)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Login(b.Context(), alice); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCache is an answer from memory, and one that is not.
func BenchmarkCache(b *testing.B) {
	r := by("alice", secret)
	r.Connection.RemoteAddr = "10.0.0.1:7"
	for name, config := range map[string]authn.CacheConfig{"hit": {Yes: time.Hour, No: time.Hour}, "miss": {No: time.Hour}} {
		b.Run(name, func(b *testing.B) {
			cache, _ := newCache(b, says(authn.Allow), config)
			b.ReportAllocs()
			for b.Loop() {
				ask(b, cache, r)
			}
		})
	}
}
