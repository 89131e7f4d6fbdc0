package jsregexp_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/valve/internal/jsregexp"
	"github.com/chansec/chansec/valve/internal/v8"
)

// v8Cases is how many patterns are put to V8. CHANSEC_JSREGEXP_CASES sets it.
func v8Cases(t testing.TB) int {
	if s := os.Getenv("CHANSEC_JSREGEXP_CASES"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	if testing.Short() {
		return 4_000
	}
	return 20_000
}

type inventor struct{ *rand.Rand }

func (r *inventor) of(list ...string) string { return list[r.IntN(len(list))] }

func (r *inventor) one(in int) bool { return r.IntN(in) == 0 }

// pattern is a pattern, mostly a valid one.
func (r *inventor) pattern(depth int) string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		switch k := r.IntN(20); {
		case k < 7:
			b.WriteString(r.atom())
		case k < 10:
			b.WriteString("[" + r.of("", "", "^"))
			for range r.IntN(4) {
				b.WriteString(r.atomInClass() + r.of("", "", "-"+r.atomInClass(), "-"))
			}
			b.WriteString("]")
		case k < 13 && depth < 4:
			b.WriteString(r.of("(", "(", "(?:", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?<n>", "(?<$é>", "(?<\\u0061>", "(?<m", "(?i:", "(?<a1>") + r.pattern(depth+1) + r.of(")", ")", ")", ")", ")", ")", ")", ")", ""))
		case k < 15:
			b.WriteString(r.of("^", "$", "|", "\\b", "\\B", "|"))
		case k < 16 && depth < 4:
			b.WriteString(r.pattern(depth+1) + "|" + r.pattern(depth+1))
		default:
			b.WriteString(r.of("a", "b", "c", "[ab]", "."))
		}
		if r.one(3) {
			b.WriteString(r.of("*", "+", "?", "*?", "+?", "{2}", "{1,2}", "{0}", "{1,}?", "{,2}", "{", "}", "??", "{2,1}", "{0,1}", "{3,}", "{1", "{1,", "{a}", "{1,2}?", "{00}", "{2}{2}", "+*", "{0,0}"))
		}
	}
	return b.String()
}

func (r *inventor) atom() string {
	return r.of("a", "b", "A", "B", "k", "K", "s", "S", ".", ".", "\\d", "\\w", "\\s", "\\D", "\\W", "\\S", "é", "É", "ß", "ẞ", "ſ", "\\u212a", "\\u212A", "\\x41", "😀", "\\u{61}", "\\u{1F600}", "\\u{110000}", "\\/", "/",
		"\\ud83d\\ude00", "\\ud83d", "\\ude00", "σ", "ς", "Σ", "[^]", "[]", "\\0", "\\1", "\\2", "\\3", "\\10", "\\k<n>", "\\k<a1>", "\\k", "\\k<", "\\k<x>", "\\p{L}", "\\P{Lu}", "\\p{Script=Greek}", "\\p{Ll}", "\\pL", "\\p", "\\cA", "\\ca", "\\c", "\\c1", "\\t", "\\n",
		"\\v", "\\f", "\\r", "\\.", "\\-", "\\,", "\\_", "\\$", "5", "1", ",", "-", "=", "!", "<", ">", ":", "\\101", "\\400", "\\377", "\\08", "\\8", "\\9", "\\00", "\\x4", "\\u004", "\\x", "\\u", "İ", "ı", "i", "I", "Ω", "ω", "\\u2126", "ǅ", "ǆ", "Ǆ", "]", "}", "\\", "\\]", "\\}", "\\q", "\\é", "\n", "\u2028", " ", "\u00a0", "_",
		"µ", "μ", "ÿ", "Ÿ", "å", "Å", "\u212b", "ᾳ", "ᾼ", "ﬅ", "ﬆ", "Ꭰ", "ꭰ", "𐐀", "𐐨", "ↄ", "Ↄ", "θ", "ϴ", "ͅ", "ι", "β", "ϐ", "ⱥ", "Ⱥ", "ᲀ", "в", "Ა", "ა", "Ა", "ꙋ", "ᲈ")
}

func (r *inventor) atomInClass() string {
	if r.one(2) {
		return r.of("a", "z", "A", "Z", "0", "9", "-", "^", "/", "\\b", "\\B", "\\-", "\\]", "[", ".", "\\d", "\\W", "\\cA", "\\c1", "\\c_", "\\c", "\\1", "\\12", "\\8", "\\k", "à", "ÿ")
	}
	if a := r.atom(); !strings.Contains(a, "]") && a != "\\" {
		return a
	}
	return "a"
}

// text is a text to look at, with all that patterns ask for.
func (r *inventor) text() []uint16 {
	var u []uint16
	for range r.IntN(9) {
		switch r.IntN(8) {
		case 0, 1, 2, 3:
			u = append(u, units(r.of("a", "b", "c", "a", "b", "A", "ab", "aa"))...)
		case 4:
			u = append(u, []uint16{0xD83D, 0xDE00, 0xD800, 0, 1, 0x41, 0xFFFF}[r.IntN(7)])
		default:
			u = append(u, units(strings.TrimPrefix(r.atom(), "\\"))...)
		}
	}
	return u
}

func ints(u []uint16) []int {
	list := make([]int, len(u))
	for i, c := range u {
		list[i] = int(c)
	}
	return list
}

// TestPatternsAgreeWithV8 puts patterns and texts to V8 and to this package: what is valid, and where the groups are.
func TestPatternsAgreeWithV8(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	engine := v8.Start(t)
	cases := v8Cases(t)
	valid, found, refused, wrong := 0, 0, map[string]int{}, 0
	for seed := uint64(1); seed <= uint64(cases)/100; seed++ {
		r := &inventor{rand.New(rand.NewPCG(seed, 11))}
		var asked []v8.Pattern
		var texts [][][]uint16
		for range 100 {
			pattern := units(r.pattern(0))
			if r.one(20) && len(pattern) > 0 {
				pattern[r.IntN(len(pattern))] = []uint16{0xD83D, 0xDE00, '(', '[', '\\', '{', '-', '^', '<'}[r.IntN(9)]
			}
			p := v8.Pattern{Ask: "regexp", Pattern: ints(pattern), Flags: r.of("", "", "", "i", "i", "u", "iu", "m", "s", "y", "g", "iy", "ims", "mu", "uy", "su"), From: r.IntN(3) / 2}
			if !strings.ContainsAny(p.Flags, "yg") {
				p.From = 0
			}
			var list [][]uint16
			for range 6 {
				list = append(list, r.text())
				p.Texts = append(p.Texts, ints(list[len(list)-1]))
			}
			asked, texts = append(asked, p), append(texts, list)
		}
		for i, want := range v8.Ask[v8.Pattern, v8.Matches](engine, asked) {
			p := asked[i]
			pattern := make([]uint16, len(p.Pattern))
			for j, c := range p.Pattern {
				pattern[j] = uint16(c)
			}
			about := fmt.Sprintf("/%s/%s", string(utf16.Decode(pattern)), p.Flags)
			re, err := jsregexp.Compile(pattern, p.Flags)
			switch {
			case err != nil && want.Code == "":
				if refused[err.Error()]++; refused[err.Error()] < 3 {
					t.Logf("refused here: %s: %v", about, err)
				}
				continue
			case err != nil:
				continue
			case want.Code != "":
				t.Errorf("%s is not valid", about)
				wrong++
				continue
			}
			valid++
			for j, text := range texts[i] {
				at, err := re.Match(text, p.From, &jsregexp.Budget{Steps: 1_000_000})
				if errors.Is(err, jsregexp.ErrSteps) {
					continue
				}
				require.NoError(t, err)
				if want.Matches[j] != nil {
					found++
				}
				if !slices.Equal(at, want.Matches[j]) && wrong < 60 {
					t.Errorf("%s from %d in %q (%x): %v, and not %v", about, p.From, string(utf16.Decode(text)), text, want.Matches[j], at)
					wrong++
				}
			}
		}
	}
	t.Logf("%d patterns, %d of them valid, %d matches; refused here: %v", cases, valid, found, refused)
}

// TestCharactersAgreeWithV8 asks which characters are in the classes.
func TestCharactersAgreeWithV8(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	engine := v8.Start(t)
	var asked []v8.Class
	ask := func(source, flags string, last int) {
		asked = append(asked, v8.Class{Ask: "matched", Source: "^" + source + "$", Flags: flags, Last: last})
	}
	for _, class := range []string{`\d`, `\w`, `\s`, `[^\W]`, `[a-z]`, `[^A-Z]`, `[à-ÿ]`} {
		for _, flags := range []string{"", "i", "iu"} {
			ask(class, flags, 0x2FFF)
		}
	}
	for i, want := range v8.Ask[v8.Class, v8.Ranges](engine, asked) {
		a := asked[i]
		re, err := jsregexp.Compile(units(a.Source), a.Flags)
		if err != nil {
			t.Logf("refused here: %s: %v", a.Source, err)
			continue
		}
		require.Empty(t, want.Code, a.Source)
		var got []int
		from := -1
		for c := rune(0); c <= rune(a.Last)+1; c++ {
			text := []uint16{uint16(c)}
			if c > 0xFFFF {
				text = utf16.AppendRune(nil, c)
			}
			is := false
			if int(c) <= a.Last {
				at, err := re.Match(text, 0, &jsregexp.Budget{Steps: 1000})
				require.NoError(t, err)
				is = at != nil
			}
			if is && from < 0 {
				from = int(c)
			}
			if !is && from >= 0 {
				got, from = append(got, from, int(c)-1), -1
			}
		}
		if !slices.Equal(want.Ranges, got) {
			at := 0
			for at < min(len(got), len(want.Ranges)) && got[at] == want.Ranges[at] {
				at++
			}
			t.Errorf("/%s/%s: of %d and %d bounds the first that differs is %x, and not %x", a.Source, a.Flags, len(want.Ranges), len(got), want.Ranges[min(at, len(want.Ranges)-1)], got[min(at, len(got)-1)])
		}
	}
}

// TestLettersAreTheSameForV8WhereCaseIsIgnored asks of every letter which others it is.
func TestLettersAreTheSameForV8WhereCaseIsIgnored(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	engine := v8.Start(t)
	wrong := 0
	for _, flags := range []string{"i", "iu"} {
		var letters []rune
		var asked []v8.Pattern
		for c := rune(0x41); c <= unicode.MaxRune; c++ {
			others := [][]int{}
			for _, f := range related(c) {
				others = append(others, ints(utf16.AppendRune(nil, f)))
			}
			if len(others) == 0 || c > 0xFFFF && flags == "i" {
				continue
			}
			letters = append(letters, c)
			asked = append(asked, v8.Pattern{Ask: "regexp", Pattern: ints(append(units("^["), append(utf16.AppendRune(nil, c), units("]$")...)...)), Flags: flags, Texts: others})
		}
		for i, want := range v8.Ask[v8.Pattern, v8.Matches](engine, asked) {
			re, err := jsregexp.Compile(append(units("^["), append(utf16.AppendRune(nil, letters[i]), units("]$")...)...), flags)
			require.NoError(t, err)
			for j, f := range related(letters[i]) {
				at, err := re.Match(utf16.AppendRune(nil, f), 0, &jsregexp.Budget{Steps: 1000})
				require.NoError(t, err)
				if (at == nil) != (want.Matches[j] == nil) && wrong < 40 {
					t.Errorf("/%c/%s (%x) and %c (%x): %v", letters[i], flags, letters[i], f, f, want.Matches[j])
					wrong++
				}
			}
		}
	}
}

// related is the letters that could be the same as one.
func related(c rune) (list []rune) {
	for _, f := range []rune{unicode.ToLower(c), unicode.ToUpper(c), unicode.ToTitle(c), unicode.ToUpper(unicode.ToLower(c)), unicode.ToLower(unicode.ToUpper(c))} {
		list = append(list, f)
		for o := unicode.SimpleFold(f); o != f; o = unicode.SimpleFold(o) {
			list = append(list, o)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(f rune) bool { return f == c })
}
