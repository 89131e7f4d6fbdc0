package policy_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func pattern(t testing.TB, syntax policy.PatternSyntax, text string) policy.Pattern {
	p, err := policy.ParsePattern(syntax, text)
	require.NoError(t, err, text)
	return p
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		syntax  policy.PatternSyntax
		text    string
		yes, no []string
	}{
		{policy.MQTTFilter, "a/b", []string{"a/b"}, []string{"a", "a/b/c", "a/c", ""}},
		{policy.MQTTFilter, "a/+", []string{"a/b", "a/c"}, []string{"a", "a/b/c", "a/", "b/b"}},
		{policy.MQTTFilter, "a/#", []string{"a", "a/b", "a/b/c"}, []string{"b", "ab"}},
		{policy.MQTTFilter, "#", []string{"a", "a/b"}, nil},
		{policy.MQTTFilter, "+/b/#", []string{"a/b", "a/b/c"}, []string{"a", "b"}},
		{policy.NATSSubject, "a.*", []string{"a.b"}, []string{"a", "a.b.c"}},
		{policy.NATSSubject, "a.>", []string{"a.b", "a.b.c"}, []string{"a", "b.c"}},
		{policy.WAMPWildcard, "a..c", []string{"a.b.c"}, []string{"a.c", "a.b.d", "a.b.c.d"}},
		{policy.WAMPPrefix, "com.ho", []string{"com.ho", "com.home", "com.hotel.x"}, []string{"com", "com.x", "com.h"}},
		{policy.WAMPPrefix, "com.", []string{"com.", "com.x", "com..x"}, []string{"com", "comx"}},
	} {
		p := pattern(t, tt.syntax, tt.text)
		require.Equal(t, tt.text, p.String())
		for _, path := range tt.yes {
			require.True(t, p.Matches(path), "%s matches %q", p, path)
		}
		for _, path := range tt.no {
			require.False(t, p.Matches(path), "%s does not match %q", p, path)
		}
	}
}

func TestPatternsThatMakeNoSense(t *testing.T) {
	for _, tt := range []struct {
		syntax policy.PatternSyntax
		text   string
	}{
		{0, "a"}, {policy.ExactPath, "a"}, {9, "a"},
		{policy.MQTTFilter, ""}, {policy.MQTTFilter, "a//b"}, {policy.MQTTFilter, "a/#/b"}, {policy.MQTTFilter, "a#"}, {policy.MQTTFilter, "a+/b"},
		{policy.NATSSubject, "a..b"}, {policy.NATSSubject, "a.>.b"}, {policy.NATSSubject, "a*"},
		{policy.WAMPPrefix, ".a"}, {policy.WAMPPrefix, "a\x00"},
	} {
		_, err := policy.ParsePattern(tt.syntax, tt.text)
		require.ErrorIs(t, err, policy.InvalidArgument, "%q", tt.text)
	}
}

func TestCoverage(t *testing.T) {
	store := newStore(t, policy.PlainConfig())
	change(t, store, func(tx *policy.Tx) {
		tx.SetPathPermissions("R", "home", "read")
		tx.SetPathPermissions("R", "home/vault")
		tx.SetPathPermissions("R", "home/vault/door", "read")
		tx.SetPathPermissions("R", "shop/a/sales", "read")
		tx.SetPathPermissions("R", "shop/b/sales", "read")
		tx.AssignRoles("ann", "R")
	})
	for _, tt := range []struct {
		pattern string
		answer  policy.Answer
		parts   []string
	}{
		{"home", policy.Narrow, []string{"home"}},
		{"home/garden/#", policy.Narrow, []string{"home/garden/#"}},
		{"home/+/light", policy.Filter, nil},
		{"home/#", policy.Filter, nil},
		{"home/vault/#", policy.Narrow, []string{"home/vault/door/#"}},
		{"home/vault/+", policy.Narrow, []string{"home/vault/door"}},
		{"home/vault", policy.Reject, nil},
		{"shop/+/sales", policy.Narrow, []string{"shop/a/sales", "shop/b/sales"}},
		{"shop/#", policy.Narrow, []string{"shop/a/sales/#", "shop/b/sales/#"}},
		{"shop/+", policy.Reject, nil},
		{"shop/+/+/+", policy.Narrow, []string{"shop/a/sales/+", "shop/b/sales/+"}},
		{"other/#", policy.Reject, nil},
		{"#", policy.Filter, nil},
	} {
		c, err := store.Authorizer().Cover(chansec.Principal{SystemID: "ann"}, pattern(t, policy.MQTTFilter, tt.pattern))
		require.NoError(t, err)
		require.Equal(t, tt.answer, c.Answer, tt.pattern)
		require.Equal(t, tt.parts, written(c.Patterns), tt.pattern)
	}
	_, err := store.Authorizer().Cover(chansec.Principal{SystemID: "ann"}, pattern(t, policy.NATSSubject, "a.>"))
	require.ErrorIs(t, err, policy.InvalidArgument, "the separator is another")
	_, err = store.Authorizer().Cover(chansec.Principal{SystemID: "ann"}, policy.Pattern{})
	require.ErrorIs(t, err, policy.InvalidArgument)
}

func written(patterns []policy.Pattern) (list []string) {
	for _, p := range patterns {
		list = append(list, p.String())
	}
	return list
}

// In Diffusion, a selector that may match a path for which SELECT_TOPIC is missing is refused, not trimmed.
func TestSelectorsNeedSelectForAllTheyMatch(t *testing.T) {
	store := newStore(t, policy.DiffusionConfig())
	change(t, store, func(tx *policy.Tx) {
		tx.SetPathPermissions("R", "a", "SELECT_TOPIC")
		tx.SetPathPermissions("R", "a/b", "SELECT_TOPIC", "READ_TOPIC")
		tx.SetPathPermissions("R", "c", "SELECT_TOPIC", "READ_TOPIC")
		tx.SetPathPermissions("R", "c/d", "READ_TOPIC")
		tx.AssignRoles("ann", "R")
	})
	for text, want := range map[string]policy.Answer{"a/#": policy.Narrow, "c/#": policy.Reject, "c/+/x": policy.Reject, "c": policy.Narrow} {
		c, err := store.Authorizer().Cover(chansec.Principal{SystemID: "ann"}, pattern(t, policy.MQTTFilter, text))
		require.NoError(t, err)
		require.Equal(t, want, c.Answer, text)
	}
}

// TestWhatIsDeliveredIsWhatIsGranted takes random stores over a small alphabet, every pattern of up to three segments, and
// every path of up to five: what a subscriber gets is what is granted path by path. CHANSEC_POLICY_COVERS sets how many
// stores there are.
func TestWhatIsDeliveredIsWhatIsGranted(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	stores := 20
	if s := os.Getenv("CHANSEC_POLICY_COVERS"); s != "" {
		var err error
		stores, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	denying := policy.WAMPConfig()
	denying.DenyRows = true
	dotted := policy.PlainConfig()
	dotted.Separator = policy.Dot
	dotted.Variables = true
	variables := policy.PlainConfig()
	variables.Variables = true
	for name, x := range map[string]struct {
		config   policy.Config
		syntaxes []policy.PatternSyntax
	}{
		"nearest":                 {policy.PlainConfig(), []policy.PatternSyntax{policy.MQTTFilter}},
		"nearest, variables":      {variables, []policy.PatternSyntax{policy.MQTTFilter}},
		"nearest, dots":           {dotted, []policy.PatternSyntax{policy.NATSSubject, policy.WAMPWildcard, policy.WAMPPrefix}},
		"any ancestor":            {policy.WAMPConfig(), []policy.PatternSyntax{policy.NATSSubject, policy.WAMPWildcard, policy.WAMPPrefix}},
		"any ancestor, deny rows": {denying, []policy.PatternSyntax{policy.NATSSubject, policy.WAMPWildcard, policy.WAMPPrefix}},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			answers := map[policy.Answer]int{}
			for range stores {
				store := randomTree(t, r, x.config)
				for _, syntax := range x.syntaxes {
					for _, p := range allPatterns(t, syntax) {
						answers[deliver(t, store, x.config, p)]++
					}
				}
			}
			require.Positive(t, answers[policy.Reject])
			require.Positive(t, answers[policy.Narrow])
			if x.config.Inheritance == policy.AnyAncestor {
				require.Zero(t, answers[policy.Filter], "nothing below a grant takes it back, so that the granted part is always a union of patterns")
			} else {
				require.Positive(t, answers[policy.Filter])
			}
		})
	}
}

// randomTree is a store with a few rules for ann.
func randomTree(t *testing.T, r *rand.Rand, c policy.Config) *policy.Store {
	s := newStore(t, c)
	read := c.Vocabulary.Read
	change(t, s, func(tx *policy.Tx) {
		tx.AssignRoles("ann", "R", "S")
		for range 1 + r.IntN(5) {
			var segments []string
			for range 1 + r.IntN(3) {
				names := []string{"a", "ab", "ann"}
				if c.Variables && !slices.Contains(segments, "$principal") {
					names = append(names, "$principal")
				}
				segments = append(segments, names[r.IntN(len(names))])
			}
			path, role := strings.Join(segments, string(rune(c.Separator))), []string{"R", "S"}[r.IntN(2)]
			switch {
			case r.IntN(3) > 0:
				require.NoError(t, tx.SetPathPermissions(role, path, read))
			case c.DenyRows:
				require.NoError(t, tx.SetPathDenials(role, path, read))
			case c.Inheritance == policy.NearestAssignment && r.IntN(2) == 0:
				require.NoError(t, tx.IsolatePath(path))
			default:
				require.NoError(t, tx.SetPathPermissions(role, path))
			}
		}
		if c.Inheritance == policy.NearestAssignment && r.IntN(3) == 0 {
			require.NoError(t, tx.SetDefaultPathPermissions("R", read))
		}
	})
	return s
}

func allPatterns(t *testing.T, syntax policy.PatternSyntax) (list []policy.Pattern) {
	sep, alphabet := ".", []string{"a", "ab", "ann", "z", ""}
	rests := []string{""}
	switch syntax {
	case policy.MQTTFilter:
		sep, alphabet, rests = "/", []string{"a", "ann", "z", "+"}, []string{"", "#"}
	case policy.NATSSubject:
		alphabet, rests = []string{"a", "ann", "z", "*"}, []string{"", ">"}
	}
	for _, segments := range sequences(alphabet, 3) {
		for _, rest := range rests {
			text := strings.Join(segments, sep)
			if rest != "" {
				text = strings.TrimPrefix(text+sep+rest, sep)
			}
			if p, err := policy.ParsePattern(syntax, text); err == nil {
				list = append(list, p)
			}
		}
	}
	return list
}

// sequences returns all of up to so many letters.
func sequences(alphabet []string, most int) (list [][]string) {
	list = [][]string{nil}
	from := 0
	for range most {
		end := len(list)
		for _, s := range list[from:end] {
			for _, letter := range alphabet {
				list = append(list, append(slices.Clip(s), letter))
			}
		}
		from = end
	}
	return list
}

var paths = map[policy.Separator][]string{}

// deliver checks one subscription on every path.
func deliver(t *testing.T, store *policy.Store, c policy.Config, p policy.Pattern) policy.Answer {
	if paths[c.Separator] == nil {
		for _, s := range sequences([]string{"a", "ab", "ann", "z"}, 4)[1:] {
			paths[c.Separator] = append(paths[c.Separator], strings.Join(s, string(rune(c.Separator))))
		}
	}
	a := store.Authorizer()
	got, err := a.Cover(chansec.Principal{SystemID: "ann"}, p)
	require.NoError(t, err)
	yes := 0
	for _, path := range paths[c.Separator] {
		if !p.Matches(path) {
			for _, part := range got.Patterns {
				require.False(t, part.Matches(path), "%s is no part of %s", part, p)
			}
			continue
		}
		granted, err := a.AuthorizeRead(t.Context(), "ann", path)
		require.NoError(t, err)
		if granted {
			yes++
		}
		matching := 0
		for _, part := range got.Patterns {
			if part.Matches(path) {
				matching++
			}
		}
		switch got.Answer {
		case policy.Reject:
			require.False(t, granted, "%s was rejected, and %q is granted\n%s", p, path, store.Snapshot().Script())
		case policy.Narrow:
			want := 0
			if granted {
				want = 1
			}
			require.Equal(t, want, matching, "%s became %v: %q\n%s", p, got.Patterns, path, store.Snapshot().Script())
		}
	}
	if got.Answer == policy.Filter && p.Syntax() != policy.WAMPPrefix { // which matches names that are not in the alphabet
		require.Positive(t, yes, "%s is filtered, and nothing is granted\n%s", p, store.Snapshot().Script())
	}
	return got.Answer
}
