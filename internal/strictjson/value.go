package strictjson

import (
	"strconv"
	"strings"
)

// Kind is the type of a JSON value. The zero Kind is no value at all.
type Kind uint8

// The kinds of JSON values.
const (
	KindNone Kind = iota
	KindNull
	KindBool
	KindNumber
	KindString
	KindArray
	KindObject
)

// Value is one JSON value that has passed all checks of this package. It
// refers to the text it was read from and is immutable. The zero Value has
// KindNone, and every accessor refuses it.
type Value struct {
	raw     string
	kind    Kind
	escaped bool // a string that contains escape sequences
}

// Member is one name and value of an object.
type Member struct {
	Name  string // unescaped
	Value Value
}

// Kind returns the type of the value.
func (v Value) Kind() Kind { return v.kind }

// Raw returns the value as it was written.
func (v Value) Raw() string { return v.raw }

// IsNull reports whether the value is null.
func (v Value) IsNull() bool { return v.kind == KindNull }

// Text returns the content of a string. It allocates only if the string
// contains escape sequences. ok is false if the value is not a string.
func (v Value) Text() (text string, ok bool) {
	if v.kind != KindString {
		return "", false
	}
	return v.content(), true
}

// content is the content of a string.
func (v Value) content() string {
	content := v.raw[1 : len(v.raw)-1]
	if v.escaped {
		return unescape(content)
	}
	return content
}

// Bool returns the value of true or false. ok is false if the value is
// neither.
func (v Value) Bool() (b, ok bool) {
	return v.raw == "true", v.kind == KindBool
}

// Int64 returns a number that is written without fraction and exponent and
// fits int64. ok is false for any other value.
func (v Value) Int64() (n int64, ok bool) {
	if v.kind != KindNumber {
		return 0, false
	}
	if n, ok = digits(v.raw); ok {
		return n, true
	}
	n, err := strconv.ParseInt(v.raw, 10, 64)
	if err != nil {
		return 0, false
	}
	return n, true
}

// digits reads a number of 1 to 18 digits, which cannot overflow.
func digits(raw string) (n int64, ok bool) {
	for _, c := range []byte(raw) {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, 1 <= len(raw) && len(raw) <= 18
}

// Float64 returns the float64 nearest to a number. It is finite. ok is false
// if the value is not a number.
func (v Value) Float64() (f float64, ok bool) {
	if v.kind != KindNumber {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.raw, 64)
	return f, err == nil
}

// Strings returns the elements of an array that holds only strings, at most
// limit of them. ok is false for any other value. The result is empty, and
// not nil, for an empty array.
func (v Value) Strings(limit int) (list []string, ok bool) {
	if v.kind != KindArray {
		return nil, false
	}
	// The array was checked when it was read, so no step below can fail but
	// for the type and the number of the elements.
	s := scanner{text: v.raw, pos: 1}
	list = make([]string, 0, max(0, min(strings.Count(v.raw, ",")+1, limit))) // a comma in an element makes it a little too large
	for {
		s.skipSpace()
		switch s.peek() {
		case ']':
			return list, true
		case ',':
			s.pos++
			s.skipSpace()
		}
		if s.peek() != '"' || len(list) >= limit {
			return nil, false
		}
		element, _ := s.readString()
		list = append(list, element.content())
	}
}

// Elements returns the elements of an array as they are written, at most
// limit of them. The text must have passed [Valid]. ok is false if it is no
// array, or a longer one.
func Elements(text string, limit int) (list []string, ok bool) {
	s := scanner{text: text, limits: Limits{Depth: len(text), Items: len(text)}}
	s.skipSpace()
	if s.peek() != '[' {
		return nil, false
	}
	s.pos++
	for {
		s.skipSpace()
		switch s.peek() {
		case ']':
			return list, true
		case ',':
			s.pos++
			s.skipSpace()
		}
		if len(list) >= limit {
			return nil, false
		}
		v, err := s.readValue()
		if err != nil {
			return nil, false
		}
		list = append(list, v.Raw())
	}
}
