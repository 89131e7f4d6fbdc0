package script

import (
	"strings"
	"unicode/utf8"
)

// token is a word, a string or a list.
type token struct {
	kind    byte  // 'w', 's' or, for a list, '['
	at, end int32 // of an outer token, where it begins and ends in the line, in bytes
	column  int32 // where it begins, in characters from 1
	text    string
	items   []token
}

// scanner splits a line into tokens.
type scanner struct {
	line string
	at   int

	counted, characters int // how many bytes of the line were counted, and how many characters they are
}

// column returns where in the line a byte is, in characters from 1. It counts on from where it stopped, since lines may be
// long.
func (s *scanner) column(at int) int {
	if at < s.counted {
		s.counted, s.characters = 0, 0
	}
	s.characters += utf8.RuneCountInString(s.line[s.counted:at])
	s.counted = at
	return s.characters + 1
}

func (s *scanner) complain(at int, value, want string) *Problem {
	return &Problem{Column: s.column(at), What: "script", Value: value, Want: want}
}

func (s *scanner) blanks() bool {
	from := s.at
	for s.at < len(s.line) && (s.line[s.at] == ' ' || s.line[s.at] == '\t') {
		s.at++
	}
	return s.at > from || s.at == len(s.line)
}

// tokens returns all of the line.
func (s *scanner) tokens() (list []token, bad *Problem) {
	list = make([]token, 0, 6) // the longest of the usual commands has no more
	for {
		apart := s.blanks()
		if s.at == len(s.line) {
			return list, nil
		}
		if !apart && len(list) > 0 {
			return nil, s.complain(s.at, s.line[s.at:], "a blank before it")
		}
		from := s.at
		t, bad := s.token(true)
		if bad != nil {
			return nil, bad
		}
		t.at, t.end = int32(from), int32(s.at)
		list = append(list, t)
	}
}

func (s *scanner) token(lists bool) (token, *Problem) {
	from := s.at
	switch c := s.line[from]; {
	case isLetter(c):
		for s.at < len(s.line) && IsWordByte(s.line[s.at]) {
			s.at++
		}
		return token{kind: 'w', column: int32(s.column(from)), text: s.line[from:s.at]}, nil
	case c == '\'' || c == '"':
		return s.text(c)
	case c == '[' && lists:
		return s.list()
	}
	_, n := utf8.DecodeRuneInString(s.line[from:])
	return token{}, s.complain(from, s.line[from:from+n], "a word, a string in quotes or a list in brackets")
}

// text reads a string. \\, \' and \" stand for their second character; any other pair is kept, so that a regular
// expression may be typed as it is.
func (s *scanner) text(quote byte) (token, *Problem) {
	from := s.at
	var b strings.Builder
	for s.at++; s.at < len(s.line); s.at++ {
		c := s.line[s.at]
		if c == quote {
			s.at++
			return token{kind: 's', column: int32(s.column(from)), text: b.String()}, nil
		}
		if c == '\\' && s.at+1 < len(s.line) && strings.IndexByte(`\'"`, s.line[s.at+1]) >= 0 {
			s.at++
			c = s.line[s.at]
		}
		b.WriteByte(c)
	}
	return token{}, s.complain(from, s.line[from:], "a closing quote on the same line")
}

// list reads a list: items apart by blanks, by one comma, or by both.
func (s *scanner) list() (token, *Problem) {
	t := token{kind: '[', column: int32(s.column(s.at))}
	from := s.at
	s.at++
	comma := true // before the first item nothing need be
	for first := true; ; first = false {
		apart := s.blanks() || comma
		if s.at == len(s.line) {
			return t, s.complain(from, s.line[from:], "a closing bracket on the same line")
		}
		switch c := s.line[s.at]; {
		case c == ']':
			if comma && !first {
				return t, s.complain(s.at, "]", "an item behind the comma")
			}
			s.at++
			return t, nil
		case c == ',':
			if comma {
				return t, s.complain(s.at, ",", "an item before the comma")
			}
			s.at++
			comma = true
		case !apart:
			return t, s.complain(s.at, s.line[s.at:], "a blank or a comma between items")
		default:
			item, bad := s.token(false)
			if bad != nil {
				return t, bad
			}
			t.items = append(t.items, item)
			comma = false
		}
	}
}

// IsWord reports whether a script may have the text as a bare word.
func IsWord(s string) bool {
	for i := range len(s) {
		if !IsWordByte(s[i]) || i == 0 && !isLetter(s[0]) {
			return false
		}
	}
	return s != ""
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// IsWordByte reports whether bare words may have the byte, behind their first letter.
func IsWordByte(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' || c == '_' }
