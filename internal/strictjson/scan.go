package strictjson

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Defaults of [Limits].
const (
	DefaultDepth = 32
	DefaultItems = 1024
)

// Limits bounds the shape of a text. The length of the text is for the caller
// to bound. A field that is not positive means the default.
type Limits struct {
	// Depth is how deeply arrays and objects may nest; [] has depth 1. It
	// also bounds the recursion of the reader. The default is 32.
	Depth int
	// Items is how many members one object and how many elements one array
	// may have. The default is 1024.
	Items int
}

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if l.Items <= 0 {
		l.Items = DefaultItems
	}
	return l
}

// Valid returns nil if text is exactly one JSON value that passes all checks
// of this package, and otherwise a *[SyntaxError].
func Valid(text string, limits Limits) error {
	s := scanner{text: text, limits: limits.withDefaults()}
	if err := s.start(); err != nil {
		return err
	}
	if _, err := s.readValue(); err != nil {
		return err
	}
	return s.end()
}

// Object reads text, which must be exactly one JSON object that passes all
// checks of this package, and appends its members to dst in their order. The
// values refer to text. The error is a *[SyntaxError], and the result is then
// nil.
func Object(text string, dst []Member, limits Limits) ([]Member, error) {
	s := scanner{text: text, limits: limits.withDefaults(), members: dst}
	if err := s.start(); err != nil {
		return nil, err
	}
	if s.peek() != '{' {
		return nil, s.fail(NotObject)
	}
	if err := s.readObject(); err != nil {
		return nil, err
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	return s.members, nil
}

// scanner reads one text from left to right. Its read methods expect pos at
// the first byte of what they read and leave it after the last.
type scanner struct {
	text   string
	pos    int
	limits Limits
	depth  int
	// members holds the members that were read of each open object, the
	// outermost first. One slice serves all, so that nesting costs no memory
	// of its own.
	members []Member
}

func (s *scanner) fail(reason Reason) error {
	return &SyntaxError{Offset: s.pos, Reason: reason}
}

// start checks the encoding of the whole text, so that the other methods can
// look at single bytes, and skips leading white space.
func (s *scanner) start() error {
	if !utf8.ValidString(s.text) {
		return s.fail(BadUTF8)
	}
	s.skipSpace()
	return nil
}

// end checks that only white space is left.
func (s *scanner) end() error {
	s.skipSpace()
	if s.pos != len(s.text) {
		return s.fail(TrailingData)
	}
	return nil
}

// peek returns the byte at pos, or 0 at the end of the text. 0 is never valid
// outside of a string, and never inside of one.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) skipSpace() {
	for s.pos < len(s.text) && s.text[s.pos] <= ' ' {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) readValue() (Value, error) {
	start := s.pos
	switch c := s.peek(); c {
	case '"':
		return s.readString()
	case '{':
		outer := len(s.members)
		if err := s.readObject(); err != nil {
			return Value{}, err
		}
		s.members = s.members[:outer]
		return Value{raw: s.text[start:s.pos], kind: KindObject}, nil
	case '[':
		if err := s.readArray(); err != nil {
			return Value{}, err
		}
		return Value{raw: s.text[start:s.pos], kind: KindArray}, nil
	case 't':
		return s.readWord("true", KindBool)
	case 'f':
		return s.readWord("false", KindBool)
	case 'n':
		return s.readWord("null", KindNull)
	default:
		if c == '-' || isDigit(c) {
			return s.readNumber()
		}
		return Value{}, s.fail(BadValue)
	}
}

func (s *scanner) readWord(word string, kind Kind) (Value, error) {
	if !strings.HasPrefix(s.text[s.pos:], word) {
		return Value{}, s.fail(BadValue)
	}
	s.pos += len(word)
	return Value{raw: word, kind: kind}, nil
}

// open reads the opening bracket of an array or object.
func (s *scanner) open() error {
	if s.depth == s.limits.Depth {
		return s.fail(TooDeep)
	}
	s.depth++
	s.pos++
	s.skipSpace()
	return nil
}

// closes reads the closing bracket, if it is next.
func (s *scanner) closes(bracket byte) bool {
	if s.peek() != bracket {
		return false
	}
	s.pos++
	s.depth--
	return true
}

func (s *scanner) readArray() error {
	if err := s.open(); err != nil {
		return err
	}
	if s.closes(']') {
		return nil
	}
	for range s.limits.Items {
		if _, err := s.readValue(); err != nil {
			return err
		}
		s.skipSpace()
		if s.closes(']') {
			return nil
		}
		if s.peek() != ',' {
			return s.fail(BadArray)
		}
		s.pos++
		s.skipSpace()
	}
	return s.fail(TooMany)
}

// readObject reads an object and appends its members to s.members.
func (s *scanner) readObject() error {
	if err := s.open(); err != nil {
		return err
	}
	if s.closes('}') {
		return nil
	}
	outer := len(s.members)
	for range s.limits.Items {
		if s.peek() != '"' {
			return s.fail(BadObject)
		}
		name, err := s.readString()
		if err != nil {
			return err
		}
		s.skipSpace()
		if s.peek() != ':' {
			return s.fail(BadObject)
		}
		s.pos++
		s.skipSpace()
		value, err := s.readValue()
		if err != nil {
			return err
		}
		s.members = append(s.members, Member{Name: name.content(), Value: value})
		s.skipSpace()
		if s.closes('}') {
			if hasDuplicate(s.members[outer:]) {
				return s.fail(DuplicateName)
			}
			return nil
		}
		if s.peek() != ',' {
			return s.fail(BadObject)
		}
		s.pos++
		s.skipSpace()
	}
	return s.fail(TooMany)
}

// hasDuplicate reports whether two members have the same name. Few names are
// compared with each other, which is fastest; many are sorted, so that the time
// stays n log n whatever an attacker sends.
func hasDuplicate(members []Member) bool {
	const few = 32
	if len(members) <= few {
		for i := range members {
			for j := range members[:i] {
				if members[i].Name == members[j].Name {
					return true
				}
			}
		}
		return false
	}
	names := make([]string, len(members))
	for i := range members {
		names[i] = members[i].Name
	}
	slices.Sort(names)
	for i := 1; i < len(names); i++ {
		if names[i] == names[i-1] {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// readDigits reads one or more digits.
func (s *scanner) readDigits() error {
	i := s.pos
	for i < len(s.text) && isDigit(s.text[i]) {
		i++
	}
	if i == s.pos {
		return s.fail(BadNumber)
	}
	s.pos = i
	return nil
}

// readNumber follows the grammar of RFC 8259 section 6 and then checks the
// range.
func (s *scanner) readNumber() (Value, error) {
	start := s.pos
	integer := true
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++ // a second digit is refused by whoever reads on
	} else if err := s.readDigits(); err != nil {
		return Value{}, err
	}
	if s.peek() == '.' {
		integer = false
		s.pos++
		if err := s.readDigits(); err != nil {
			return Value{}, err
		}
	}
	if s.peek() == 'e' || s.peek() == 'E' {
		integer = false
		s.pos++
		if s.peek() == '+' || s.peek() == '-' {
			s.pos++
		}
		if err := s.readDigits(); err != nil {
			return Value{}, err
		}
	}
	raw := s.text[start:s.pos]
	if integer && !integerInRange(raw) || !integer && !floatInRange(raw) {
		return Value{}, s.fail(NumberRange)
	}
	return Value{raw: raw, kind: KindNumber}, nil
}

// integerInRange reports whether a number without fraction and exponent fits
// int64 or uint64.
func integerInRange(raw string) bool {
	if len(raw) <= 18 {
		return true // below 10^18, which is less than 2^63
	}
	if _, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return true
	}
	_, err := strconv.ParseUint(raw, 10, 64)
	return err == nil
}

// floatInRange reports whether a number is finite as a float64 and is not
// rounded to zero unless it is zero.
func floatInRange(raw string) bool {
	f, err := strconv.ParseFloat(raw, 64)
	if err != nil {
		return false
	}
	if f != 0 {
		return true
	}
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == 'e' || c == 'E':
			return true // all digits before were zeros
		case '1' <= c && c <= '9':
			return false
		}
	}
	return true
}
