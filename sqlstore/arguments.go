package sqlstore

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/chansec/chansec/internal/strictjson"
)

// Bounds of what an operation is given.
const (
	MaxArguments   = 64 << 10 // bytes
	MaxDescription = 1024     // bytes
	maxListed      = 256      // roles or actions
)

// arguments reads the arguments of an operation: one object, of which every member is read and none is there twice. The
// first thing that is wrong is kept; whatever is read after that is empty.
type arguments struct {
	members []strictjson.Member
	read    []string
	err     error
}

func readArguments(text json.RawMessage) *arguments {
	a := &arguments{}
	if len(text) == 0 {
		return a
	}
	if len(text) > MaxArguments {
		a.err = invalid("arguments", strconv.Itoa(len(text))+" bytes", "at most 65536 bytes")
		return a
	}
	members, err := strictjson.Object(string(text), nil, strictjson.Limits{Depth: 4})
	if err != nil {
		a.err = &Error{Kind: Invalid, What: "arguments", Want: "one JSON object, with no member twice", Err: err}
	}
	a.members = members
	return a
}

func (a *arguments) wrong(what, want string) {
	if a.err == nil {
		a.err = invalid(what, "", want)
	}
}

// value returns a member; of none the kind is KindNone.
func (a *arguments) value(name string) strictjson.Value {
	a.read = append(a.read, name)
	for _, m := range a.members {
		if m.Name == name && a.err == nil {
			return m.Value
		}
	}
	return strictjson.Value{}
}

// optional returns a text, or nil if there is none.
func (a *arguments) optional(name string, most int) *string {
	v := a.value(name)
	if v.Kind() == strictjson.KindNone {
		return nil
	}
	text, ok := v.Text()
	if !ok || len(text) > most {
		a.wrong(name, "a text of at most "+strconv.Itoa(most)+" bytes")
		return nil
	}
	return &text
}

// text returns a text that may be left out, or be empty.
func (a *arguments) text(name string, most int) string {
	if text := a.optional(name, most); text != nil {
		return *text
	}
	return ""
}

// name returns a text that must be there, and says something.
func (a *arguments) name(name string) string {
	text := a.optional(name, MaxName)
	if text == nil || *text == "" {
		a.wrong(name, "a text of 1 to 255 bytes")
		return ""
	}
	return *text
}

// described is a description, one line or several.
func (a *arguments) description() *string {
	text := a.optional("description", MaxDescription)
	if text != nil && a.err == nil {
		a.err = checkLine("description", *text, MaxDescription)
	}
	return text
}

// list returns texts, of which one may stand for itself, or nil if there are none. A list that is there is not empty.
func (a *arguments) list(name string) []string {
	v := a.value(name)
	if v.Kind() == strictjson.KindNone {
		return nil
	}
	list, ok := v.Strings(maxListed)
	if text, single := v.Text(); single {
		list, ok = []string{text}, true
	}
	if !ok || len(list) == 0 || slices.ContainsFunc(list, func(s string) bool { return s == "" || len(s) > MaxName }) {
		a.wrong(name, "a name or a list of 1 to 256 names, each of 1 to 255 bytes")
		return nil
	}
	return list
}

// number returns a number from 1 on, or 0 if there is none.
func (a *arguments) number(name string) int64 {
	v := a.value(name)
	if v.Kind() == strictjson.KindNone {
		return 0
	}
	n, ok := v.Int64()
	if !ok || n < 1 {
		a.wrong(name, "a whole number from 1 on")
	}
	return n
}

func (a *arguments) flag(name string) bool {
	v := a.value(name)
	b, ok := v.Bool()
	if v.Kind() != strictjson.KindNone && !ok {
		a.wrong(name, "true or false")
	}
	return b
}

// time returns a time in RFC 3339, or zero if there is none.
func (a *arguments) time(name string) time.Time {
	text := a.optional(name, 64)
	if text == nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, *text)
	if err != nil {
		a.wrong(name, "a time such as 2006-01-02T15:04:05Z")
	}
	return at
}

// object returns the members of a member that is an object, to be read like arguments.
func (a *arguments) object(name string) *arguments {
	v := a.value(name)
	if v.Kind() == strictjson.KindNone {
		return &arguments{err: a.err}
	}
	if v.Kind() != strictjson.KindObject {
		a.wrong(name, "an object")
		return &arguments{err: a.err}
	}
	return readArguments(json.RawMessage(v.Raw()))
}

// done returns what was wrong first, if anything. A member that nobody read is wrong.
func (a *arguments) done() error {
	for _, m := range a.members {
		if a.err == nil && !slices.Contains(a.read, m.Name) {
			want := "no arguments"
			if len(a.read) > 0 {
				want = "no other arguments than these"
				for i, name := range a.read {
					want += []string{": ", ", "}[btoi(i > 0)] + name
				}
			}
			a.err = invalid("argument", m.Name, want)
		}
	}
	return a.err
}
