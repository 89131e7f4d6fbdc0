package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// visible returns a text in which everything is escaped that a terminal would not show as it is, such as control characters,
// ANSI escapes, and what changes the direction of writing.
func visible(s string) string {
	if strings.IndexFunc(s, hidden) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case hidden(r):
			b.WriteString(escaped(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// hidden reports whether a character does not show as one: controls, formats, separators, what is not assigned.
func hidden(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

func escaped(r rune) string {
	q := strconv.QuoteRuneToASCII(r)
	return q[1 : len(q)-1]
}

// name returns a value as it stands in a table: as it is, or, where it could pass for something else, quoted and in ASCII.
func name(s string) string {
	if s == "" || !odd(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// quoted returns a value in quotes, as it stands in a sentence.
func quoted(s string) string {
	if odd(s) {
		return strconv.QuoteToASCII(s)
	}
	return strconv.Quote(s)
}

// odd reports whether a text may look like another one: it has something hidden, ends or begins with a space, has two of
// them, begins with a quote, piles up marks, mixes alphabets that share shapes, or uses other forms of letters, such as wide ones.
func odd(s string) bool {
	if !utf8.ValidString(s) || strings.IndexFunc(s, hidden) >= 0 || s != strings.TrimSpace(s) || strings.Contains(s, "  ") || strings.HasPrefix(s, `"`) {
		return true
	}
	var seen *unicode.RangeTable
	marks := 0
	for i, r := range s {
		if r < utf8.RuneSelf {
			if 'a' <= r|0x20 && r|0x20 <= 'z' {
				if seen != nil && seen != unicode.Latin {
					return true
				}
				seen = unicode.Latin
			}
			marks = 0
			continue
		}
		if unicode.Is(otherForms, r) {
			return true
		}
		if unicode.Is(unicode.M, r) {
			if marks++; marks > 2 || i == 0 {
				return true
			}
			continue
		}
		marks = 0
		for _, alphabet := range alike {
			if unicode.Is(alphabet, r) {
				if seen != nil && seen != alphabet {
					return true
				}
				seen = alphabet
			}
		}
	}
	return false
}

// alike are alphabets with letters that look the same.
var alike = []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Coptic, unicode.Lisu}

// otherForms are blocks of letters, digits and signs that look like those in ASCII.
var otherForms = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x02b0, Hi: 0x02ff, Stride: 1}, // modifier letters
		{Lo: 0x2000, Hi: 0x206f, Stride: 1}, // dashes, dots and quotes
		{Lo: 0x2070, Hi: 0x209f, Stride: 1}, // raised and lowered
		{Lo: 0x2100, Hi: 0x218f, Stride: 1}, // letterlike, and Roman numbers
		{Lo: 0x2212, Hi: 0x2223, Stride: 1}, // signs like - / \ * | .
		{Lo: 0x2460, Hi: 0x24ff, Stride: 1}, // in circles
		{Lo: 0xa720, Hi: 0xa7ff, Stride: 1}, // further Latin
		{Lo: 0xfe10, Hi: 0xfe6f, Stride: 1}, // small and vertical signs
		{Lo: 0xff00, Hi: 0xffef, Stride: 1}, // wide and narrow
	},
	R32: []unicode.Range32{
		{Lo: 0x1d400, Hi: 0x1d7ff, Stride: 1}, // of mathematics
		{Lo: 0x1f100, Hi: 0x1f1ff, Stride: 1}, // in circles and squares
		{Lo: 0x1fbf0, Hi: 0x1fbf9, Stride: 1}, // digits of segments
	},
}

// visibleJSON escapes in a JSON document what a terminal would not show. Outside of strings everything is ASCII.
func visibleJSON(document string) string {
	var b strings.Builder
	for _, r := range document {
		switch {
		case r == '\n' || !hidden(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// table returns rows under their titles, in aligned columns.
func table(titles []string, rows [][]string) string {
	if len(rows) == 0 {
		return "[no results]\n"
	}
	rows = append([][]string{titles}, rows...)
	widths := make([]int, len(titles))
	cells := make([][]string, len(rows))
	for i, row := range rows {
		for j, value := range row {
			if i > 0 {
				value = name(value)
			}
			cells[i] = append(cells[i], value)
			widths[j] = max(widths[j], uniseg.StringWidth(value))
		}
	}
	var b strings.Builder
	for _, row := range cells {
		var line strings.Builder
		for j, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[j]-uniseg.StringWidth(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// fields returns names and values, one pair a line. Empty values are left out.
func fields(pairs ...string) string {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(&b, "%-*s  %s\n", width, pairs[i], name(pairs[i+1]))
		}
	}
	return b.String()
}

// nearest returns what a misspelt word most likely stands for, of those that the map has for spellings.
func nearest(word string, spellings map[string]string) (string, bool) {
	word = strings.ToLower(word)
	best, least := "", max(1, min(3, len(word)/2))
	if len(word) > 40 {
		return "", false
	}
	for spelling, meaning := range spellings {
		far := distance(word, strings.ToLower(spelling))
		if len(word) >= 3 && strings.HasPrefix(spelling, word) {
			far = min(far, 1)
		}
		if far < least || far == least && (best == "" || meaning < best) {
			best, least = meaning, far
		}
	}
	return best, best != ""
}

// distance is how many letters must be put in, taken out, replaced or exchanged with the next one to make b of a.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		next := make([]int, len(y)+1)
		next[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			next[j+1] = min(next[j]+1, row[j+1]+1, row[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(y)]
}
