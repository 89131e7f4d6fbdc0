package strictjson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// readString reads a string with its quotes.
func (s *scanner) readString() (Value, error) {
	text, start := s.text, s.pos
	escaped := false
	i := start + 1 // after the opening quote
	for {
		for _, c := range []byte(text[i:]) {
			if special[c] {
				break
			}
			i++
		}
		s.pos = i
		switch s.peek() {
		case '"':
			s.pos++
			return Value{raw: text[start:s.pos], kind: KindString, escaped: escaped}, nil
		case '\\':
			_, size, reason := readEscape(text[i:])
			if reason != "" {
				return Value{}, s.fail(reason)
			}
			escaped = true
			i += size
		default:
			return Value{}, s.fail(BadString)
		}
	}
}

// special are the bytes that do not stand for themselves in a string.
var special = func() (table [256]bool) {
	for c := range 0x20 {
		table[c] = true
	}
	table['"'], table['\\'] = true, true
	return table
}()

// readEscape reads the escape sequence, or the two of a surrogate pair, that
// text begins with. The reason is empty if there is no error.
func readEscape(text string) (r rune, size int, reason Reason) {
	if len(text) < 2 {
		return 0, 0, BadEscape
	}
	switch c := text[1]; c {
	case '"', '\\', '/':
		return rune(c), 2, ""
	case 'b':
		return '\b', 2, ""
	case 'f':
		return '\f', 2, ""
	case 'n':
		return '\n', 2, ""
	case 'r':
		return '\r', 2, ""
	case 't':
		return '\t', 2, ""
	}
	r, ok := readHex(text)
	if !ok {
		return 0, 0, BadEscape
	}
	if !utf16.IsSurrogate(r) {
		return r, 6, ""
	}
	// DecodeRune returns U+FFFD unless a high surrogate precedes a low one, and
	// no pair of surrogates stands for U+FFFD. A second escape that is missing
	// or malformed reads as 0.
	low, _ := readHex(text[6:])
	r = utf16.DecodeRune(r, low)
	if r == utf8.RuneError {
		return 0, 0, LoneSurrogate
	}
	return r, 12, ""
}

// readHex reads a backslash, the letter u and four hexadecimal digits.
func readHex(text string) (r rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for i := 2; i < 6; i++ {
		c := text[i]
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape replaces the escape sequences of the content of a string that
// readString has accepted.
func unescape(content string) string {
	out := make([]byte, 0, len(content))
	for i := 0; i < len(content); {
		if content[i] != '\\' {
			out = append(out, content[i])
			i++
			continue
		}
		r, size, _ := readEscape(content[i:])
		out = utf8.AppendRune(out, r)
		i += size
	}
	return string(out)
}
