package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/hamt"
)

func TestShortSegmentsAreOneToOne(t *testing.T) {
	seen := map[shortSegment]string{}
	for n := range mostShort + 1 {
		for _, s := range []string{strings.Repeat("\x00", n), strings.Repeat("a", n), "0123456789abcde"[:n], "edcba9876543210"[:n], strings.Repeat("\xff", n)} {
			is := shorten(s)
			require.Equal(t, s, is.text())
			if other, ok := seen[is]; ok {
				require.Equal(t, s, other)
			}
			seen[is] = s
		}
	}
}

func FuzzShortSegments(f *testing.F) {
	f.Add("a", "b")
	f.Add("01234567", "0123456789abcde")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a) > mostShort || len(b) > mostShort {
			return
		}
		require.Equal(t, a, shorten(a).text())
		require.Equal(t, a == b, shorten(a) == shorten(b))
	})
}

func TestChildrenOfEveryLength(t *testing.T) {
	var c children
	e := new(hamt.Edit)
	want := map[string]*node{}
	for n := range 40 {
		s := strings.Repeat("x", n)
		want[s] = &node{}
		c.set(e, s, &node{})
		c.set(e, s, want[s])
	}
	for s, n := range c.all() {
		require.Same(t, want[s], n)
		require.Same(t, n, c.get(s))
		delete(want, s)
	}
	require.Empty(t, want)
	for n := range 40 {
		c.delete(e, strings.Repeat("x", n))
		require.Nil(t, c.get(strings.Repeat("x", n)))
	}
	require.True(t, c.empty())
}
