package authn

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

const testIterations = 10

func TestOnlyThePasswordIsRight(t *testing.T) {
	h, err := newPassword("hunter2", testIterations)
	require.NoError(t, err)
	long, err := newPassword(strings.Repeat("x", 65), testIterations)
	require.NoError(t, err)
	for _, tt := range []struct {
		name     string
		hash     *Password
		password string
		want     bool
	}{
		{"the password", h, "hunter2", true},
		{"another", h, "hunter3", false},
		{"a part of it", h, "hunter", false},
		{"none", h, "", false},
		{"with a NUL behind, which is the same key of HMAC", h, "hunter2\x00", false},
		{"the hash itself", h, h.write(), false},
		{"one longer than a block of SHA-256", long, strings.Repeat("x", 65), true},
		{"one longer than any", h, strings.Repeat("x", MaxPassword+1), false},
		{"nobody's", nil, "hunter2", false},
		{"nobody's, empty", nil, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, w := range []work{nil, {ours: testIterations}, {ours: 3 * testIterations, {"sha1", 20}: 5}} {
				got, err := w.verify(tt.hash, []byte(tt.password))
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
	const most = 4000
	cheap, err := newPassword("hunter2", testIterations)
	require.NoError(t, err)
	costly, err := newPassword("hunter2", most)
	require.NoError(t, err)
	cases := []struct {
		name     string
		hash     *Password
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
			_, err := work{ours: most}.verify(c.hash, []byte(c.password))
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
	h, err := ParsePassword("$pbkdf2-sha256$i=1000$AAECAwQFBgcICQoLDA0ODw$T0Z5wUqa/rr8kWb7KeLsnYrEP6Go8Ns+sglAvd4sSjw")
	require.NoError(t, err)
	right, err := work(nil).verify(&h, []byte("pässword"))
	require.NoError(t, err)
	require.True(t, right)
}

func TestHashesAreReadAsTheyAreWritten(t *testing.T) {
	h, err := newPassword("hunter2", testIterations)
	require.NoError(t, err)
	other, err := newPassword("hunter2", testIterations)
	require.NoError(t, err)
	require.NotEqual(t, h.write(), other.write(), "each has a salt of its own")
	again, err := ParsePassword(h.write())
	require.NoError(t, err)
	require.Equal(t, h.write(), again.write())

	parts := strings.Split(h.write(), "$") // "", name, iterations, salt, key
	with := func(i int, s string) string {
		p := append([]string(nil), parts...)
		p[i] = s
		return strings.Join(p, "$")
	}
	for name, text := range map[string]string{
		"nothing":                    "",
		"the mark alone":             pbkdf2Mark,
		"another hash":               with(1, "pbkdf2-sha512"),
		"no iterations":              with(2, "i="),
		"a negative number":          with(2, "i=-10"),
		"a number written otherwise": with(2, "i=+10"),
		"a zero before it":           with(2, "i=010"),
		"too many iterations":        with(2, "i=6000001"),
		"a huge number":              with(2, "i=99999999999999999999"),
		"no salt":                    with(3, ""),
		"a short salt":               with(3, base64.RawStdEncoding.EncodeToString(make([]byte, 7))),
		"a huge salt":                with(3, base64.RawStdEncoding.EncodeToString(make([]byte, 65))),
		"padding":                    h.write() + "=",
		"a line end in it":           with(4, parts[4][:9]+"\n"+parts[4][9:]),
		"a short hash":               with(4, base64.RawStdEncoding.EncodeToString(make([]byte, 31))),
		"not base64":                 with(4, strings.Repeat("!", 43)),
		"more behind it":             h.write() + "$",
	} {
		_, err := ParsePassword(text)
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
}

func TestHashesPrintNothing(t *testing.T) {
	h, err := newPassword("hunter2", testIterations)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		require.Equal(t, "(password)", fmt.Sprintf(verb, h))
	}
}
