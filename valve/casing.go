package valve

import (
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/dop251/goja"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// trim is String.prototype.trim (ECMA-262).
func trim(s goja.String) goja.String {
	from, to := 0, s.Length()
	for from < to && strings.ContainsRune(jsSpace, rune(s.CharAt(from))) {
		from++
	}
	for from < to && strings.ContainsRune(jsSpace, rune(s.CharAt(to-1))) {
		to--
	}
	return s.Substring(from, to)
}

// upper is String.prototype.toUpperCase (ECMA-262). Halves of surrogate pairs stay as they are.
func upper(s goja.String) goja.String {
	text, whole := goText(s)
	switch {
	case len(text) == s.Length():
		return goText8(strings.ToUpper(text))
	case whole:
		return goText8(cases.Upper(language.Und).String(text))
	}
	u := units(s)
	var out []uint16
	for from := 0; from < len(u); {
		to := from
		for to < len(u) && !half(u, to) {
			to++
		}
		out = append(out, utf16.Encode([]rune(cases.Upper(language.Und).String(string(utf16.Decode(u[from:to])))))...)
		if from = to; from < len(u) {
			out = append(out, u[from])
			from++
		}
	}
	return goja.StringFromUTF16(out)
}

// half reports whether a unit is half of a surrogate pair without the other.
func half(u []uint16, i int) bool {
	switch {
	case u[i]&0xFC00 == 0xD800:
		return i+1 == len(u) || u[i+1]&0xFC00 != 0xDC00
	case u[i]&0xFC00 == 0xDC00:
		return i == 0 || u[i-1]&0xFC00 != 0xD800
	}
	return false
}

// lower is String.prototype.toLowerCase (ECMA-262, and SpecialCasing of Unicode: a capital sigma at the end of a word is another
// letter, and a capital i with a dot becomes two). Halves of surrogate pairs stay as they are.
func lower(s goja.String) goja.String {
	text := s.String()
	if len(text) == s.Length() {
		return goText8(strings.ToLower(text))
	}
	u := units(s)
	out := make([]uint16, 0, len(u)+1)
	cased := false // what is before, but for what is ignored
	for i := 0; i < len(u); {
		r, n := character(u, i)
		switch {
		case r == 'Σ' && cased && !casedAfter(u, i+n):
			out = append(out, 'ς')
		case r == 'İ':
			out = append(out, 'i', '\u0307')
		case utf16.IsSurrogate(r):
			out = append(out, u[i])
		default:
			out = utf16.AppendRune(out, unicode.ToLower(r))
		}
		if !caseIgnorable(r) {
			cased = isCased(r)
		}
		i += n
	}
	return goja.StringFromUTF16(out)
}

// character is the character at a place, and how many units it has.
func character(u []uint16, i int) (rune, int) {
	if u[i]&0xFC00 == 0xD800 && !half(u, i) {
		return utf16.DecodeRune(rune(u[i]), rune(u[i+1])), 2
	}
	return rune(u[i]), 1
}

// casedAfter reports whether a cased letter follows, with nothing but what is ignored in between.
func casedAfter(u []uint16, i int) bool {
	for i < len(u) {
		r, n := character(u, i)
		if !caseIgnorable(r) {
			return isCased(r)
		}
		i += n
	}
	return false
}

// isCased is the property Cased of Unicode.
func isCased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Uppercase, unicode.Other_Lowercase)
}

// caseIgnorable is the property Case_Ignorable of Unicode.
func caseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune(midWord, r)
}

// midWord is what Unicode has in the middle of words (Word_Break: MidLetter, MidNumLet and Single_Quote).
const midWord = "'.:·\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A"
