package authn

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const testIterations = 10

func TestOnlyThePasswordIsRight(t *testing.T) {
	h, err := newPasswordHash("hunter2", testIterations)
	require.NoError(t, err)
	long, err := newPasswordHash(strings.Repeat("x", 65), testIterations)
	require.NoError(t, err)
	for _, tt := range []struct {
		name     string
		hash     *passwordHash
		password string
		want     bool
	}{
		{"the password", h, "hunter2", true},
		{"another", h, "hunter3", false},
		{"a part of it", h, "hunter", false},
		{"none", h, "", false},
		{"with a NUL behind, which is the same key of HMAC", h, "hunter2\x00", false},
		{"the hash itself", h, h.text(), false},
		{"one longer than a block of SHA-256", long, strings.Repeat("x", 65), true},
		{"one longer than any", h, strings.Repeat("x", mostPasswordBytes+1), false},
		{"nobody's", nil, "hunter2", false},
		{"nobody's, empty", nil, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, work := range []int{testIterations, 3 * testIterations} {
				got, err := verifyPassword(tt.hash, tt.password, work)
				require.NoError(t, err)
				require.Equal(t, tt.want, got)
			}
		})
	}
}

// Whoever tries, and with whatever, the work is the same, also where a hash itself took much less. Time is the only measure of
// it from outside: without the work that is done for nothing, it would be a hundredth and less. The cases take turns, and the
// least of many times is what the machine did not disturb.
func TestEverybodyTakesTheSameWork(t *testing.T) {
	const work = 4000
	cheap, err := newPasswordHash("hunter2", testIterations)
	require.NoError(t, err)
	costly, err := newPasswordHash("hunter2", work)
	require.NoError(t, err)
	cases := []struct {
		name     string
		hash     *passwordHash
		password string
	}{
		{"right", costly, "hunter2"},
		{"wrong", costly, "hunter3"},
		{"unknown", nil, "hunter2"},
		{"right, with a cheap hash", cheap, "hunter2"},
		{"wrong, with a cheap hash", cheap, "hunter3"},
		{"no password", costly, ""},
		{"no text", costly, "\xff"},
		{"too long", costly, strings.Repeat("x", 1<<16)},
		{"unknown and too long", nil, strings.Repeat("x", 1<<16)},
	}
	took := make([]time.Duration, len(cases))
	for round := range 10 {
		for i, c := range cases {
			began := time.Now()
			_, err := verifyPassword(c.hash, c.password, work)
			require.NoError(t, err)
			if d := time.Since(began); round == 0 || d < took[i] {
				took[i] = d
			}
		}
	}
	for i, c := range cases {
		require.Greater(t, took[i], took[0]/10, c.name)
		require.Less(t, took[i], took[0]*10, c.name)
	}
}

// The hash was made with Python's hashlib.pbkdf2_hmac.
func TestHashesAreThoseOfOthers(t *testing.T) {
	h, ok := readPasswordHash("$pbkdf2-sha256$i=1000$AAECAwQFBgcICQoLDA0ODw$T0Z5wUqa/rr8kWb7KeLsnYrEP6Go8Ns+sglAvd4sSjw", 1000)
	require.True(t, ok)
	right, err := verifyPassword(h, "pässword", 1000)
	require.NoError(t, err)
	require.True(t, right)
}

func TestHashesAreReadAsTheyAreWritten(t *testing.T) {
	h, err := newPasswordHash("hunter2", testIterations)
	require.NoError(t, err)
	other, err := newPasswordHash("hunter2", testIterations)
	require.NoError(t, err)
	require.NotEqual(t, h.text(), other.text(), "each has a salt of its own")
	again, ok := readPasswordHash(h.text(), testIterations)
	require.True(t, ok)
	require.Equal(t, h.text(), again.text())

	parts := strings.Split(h.text(), "$") // "", name, iterations, salt, key
	with := func(i int, s string) string {
		p := append([]string(nil), parts...)
		p[i] = s
		return strings.Join(p, "$")
	}
	for name, text := range map[string]string{
		"nothing":                       "",
		"the mark alone":                passwordHashPrefix,
		"another hash":                  with(1, "pbkdf2-sha512"),
		"no iterations":                 with(2, "i="),
		"fewer iterations than allowed": with(2, "i=9"),
		"a negative number":             with(2, "i=-10"),
		"a number written otherwise":    with(2, "i=+10"),
		"a zero before it":              with(2, "i=010"),
		"too many iterations":           with(2, "i=6000001"),
		"a huge number":                 with(2, "i=99999999999999999999"),
		"no salt":                       with(3, ""),
		"a short salt":                  with(3, base64.RawStdEncoding.EncodeToString(make([]byte, saltBytes-1))),
		"a huge salt":                   with(3, base64.RawStdEncoding.EncodeToString(make([]byte, mostSaltBytes+1))),
		"padding":                       h.text() + "=",
		"a line end in it":              with(4, parts[4][:9]+"\n"+parts[4][9:]),
		"a short hash":                  with(4, base64.RawStdEncoding.EncodeToString(make([]byte, 31))),
		"not base64":                    with(4, strings.Repeat("!", 43)),
		"more behind it":                h.text() + "$",
	} {
		_, ok := readPasswordHash(text, testIterations)
		require.False(t, ok, name)
	}
}

func TestHashesPrintNothing(t *testing.T) {
	h, err := newPasswordHash("hunter2", testIterations)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		require.Equal(t, "(hash of a password)", fmt.Sprintf(verb, h))
	}
}

func TestHashersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHashers()
		release := make(chan struct{})
		var all sync.WaitGroup
		block := func() error { <-release; return nil }
		for range cap(h.busy) {
			all.Go(func() { require.NoError(t, h.do(t.Context(), block)) })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			require.ErrorIs(t, h.do(ctx, func() error { panic("not its turn") }), context.Canceled)
		})
		for range mostWaiting - 1 {
			all.Go(func() { require.NoError(t, h.do(t.Context(), block)) })
		}
		synctest.Wait()
		require.ErrorIs(t, h.do(t.Context(), block), Limit)
		cancel()
		synctest.Wait()
		all.Go(func() { require.NoError(t, h.do(t.Context(), block)) }) // there is room again
		close(release)
		all.Wait()
		require.Zero(t, h.waiting.Load())
		require.Empty(t, h.busy)
	})
}
