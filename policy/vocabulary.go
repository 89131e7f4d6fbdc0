package policy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/script"
)

// Vocabulary is the permissions that a store knows. Path permissions are held on paths, global ones on nothing in
// particular. It is data: a program may write its own.
//
// Names are ASCII letters, digits and _, beginning with a letter, and compared without regard to the case of ASCII
// letters; the case in which the vocabulary has them is the one that is printed. A permission's number is its place in
// the list; "" is a number that is not in use.
type Vocabulary struct {
	Path   []string // at most 64
	Global []string // at most 64

	// Read, Write and Admin are the path permissions that stand for the classes of channel operations.
	Read, Write, Admin string
	// Subscribe is the path permission that it takes to subscribe, beside Read. Empty: Read is enough.
	Subscribe string
	// Modify is the global permission that it takes to change a store, and View to look at it. Empty: only Root may.
	Modify, View string
}

// MaxPermissions is how many path permissions a vocabulary has at most, and how many global ones.
const MaxPermissions = 64

// Diffusion returns the permissions of Diffusion, by their numbers in its client protocol (diffusion.md 2). Numbers 8 and
// 10, which its clients use for what is newer than they, stand for nothing.
func Diffusion() Vocabulary {
	return Vocabulary{
		Path: []string{"READ_TOPIC", "UPDATE_TOPIC", "MODIFY_TOPIC", "SEND_TO_MESSAGE_HANDLER", "SEND_TO_SESSION", "SELECT_TOPIC",
			"QUERY_OBSOLETE_TIME_SERIES_EVENTS", "EDIT_TIME_SERIES_EVENTS", "EDIT_OWN_TIME_SERIES_EVENTS", "ACQUIRE_LOCK", "", "EXPOSE_BRANCH"},
		Global: []string{"AUTHENTICATE", "VIEW_SESSION", "MODIFY_SESSION", "REGISTER_HANDLER", "VIEW_SERVER", "CONTROL_SERVER",
			"VIEW_SECURITY", "MODIFY_SECURITY", "", "READ_TOPIC_VIEWS", "MODIFY_TOPIC_VIEWS"},
		Read: "READ_TOPIC", Subscribe: "SELECT_TOPIC", Write: "UPDATE_TOPIC", Admin: "MODIFY_TOPIC",
		Modify: "MODIFY_SECURITY", View: "VIEW_SECURITY",
	}
}

// WAMP returns the actions of a WAMP router, and admin, the right to grant (sqlauth.md 2). To read a channel is to
// subscribe to its topic, to write it is to publish.
func WAMP() Vocabulary {
	return Vocabulary{
		Path: []string{"call", "register", "subscribe", "publish", "admin"},
		Read: "subscribe", Write: "publish", Admin: "admin",
	}
}

// Plain returns read, write and admin, none of which includes another, and the global permissions view and modify, for
// looking at the store and changing it.
func Plain() Vocabulary {
	return Vocabulary{
		Path: []string{"read", "write", "admin"}, Global: []string{"view", "modify"},
		Read: "read", Write: "write", Admin: "admin", View: "view", Modify: "modify",
	}
}

// permissions is a set of permissions of one scope, by their numbers.
type permissions uint64

// vocabulary is a Vocabulary in use.
type vocabulary struct {
	path, global       scope
	read, write, admin permissions
	subscribe          permissions // with read
	modify, view       permissions // 0: only Root
}

// scope is the path permissions, or the global ones.
type scope struct {
	what  string
	names []string
	bits  map[string]permissions // by name in lower case
}

func newVocabulary(v Vocabulary) (*vocabulary, error) {
	c := &vocabulary{}
	var err error
	if c.path, err = newScope("path permission", v.Path); err != nil {
		return nil, err
	}
	if c.global, err = newScope("global permission", v.Global); err != nil {
		return nil, err
	}
	for _, stands := range []struct {
		for_     *permissions
		scope    *scope
		name     string
		required bool
	}{
		{&c.read, &c.path, v.Read, true}, {&c.write, &c.path, v.Write, true}, {&c.admin, &c.path, v.Admin, true},
		{&c.subscribe, &c.path, v.Subscribe, false}, {&c.modify, &c.global, v.Modify, false}, {&c.view, &c.global, v.View, false},
	} {
		if stands.name == "" && !stands.required {
			continue
		}
		if *stands.for_, err = stands.scope.bit(stands.name); err != nil {
			return nil, err
		}
	}
	c.subscribe |= c.read
	return c, nil
}

func newScope(what string, names []string) (scope, error) {
	s := scope{what: what, bits: make(map[string]permissions, len(names))}
	if len(names) > MaxPermissions {
		return s, refuse(Limit, "vocabulary", strconv.Itoa(len(names))+" "+what+"s", "at most "+strconv.Itoa(MaxPermissions))
	}
	for i, name := range names {
		if name == "" {
			continue
		}
		key := asciiLower(name)
		if !script.IsWord(name) || s.bits[key] != 0 {
			return s, refuse(InvalidArgument, what, name, "letters, digits and _ after a letter, each name once")
		}
		s.bits[key] = 1 << i
	}
	s.names = append([]string(nil), names...)
	return s, nil
}

// bit returns the permission of a name.
func (s *scope) bit(name string) (permissions, error) {
	if p, ok := s.bits[name]; ok {
		return p, nil
	}
	if p, ok := s.bits[asciiLower(name)]; ok {
		return p, nil
	}
	return 0, refuse(UnknownPermission, s.what, name, "one of "+strings.Join(s.list(^permissions(0)), ", "))
}

// set returns the permissions of names.
func (s *scope) set(names []string) (p permissions, err error) {
	for _, name := range names {
		bit, err := s.bit(name)
		if err != nil {
			return 0, err
		}
		p |= bit
	}
	return p, nil
}

// list returns the names of a set, sorted.
func (s *scope) list(p permissions) []string {
	names := []string{}
	for i, name := range s.names {
		if name != "" && p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// needs returns the path permissions that a channel operation takes, or 0 for an operation that no permission allows.
func (v *vocabulary) needs(op chansec.Operation) permissions {
	if op == chansec.OpSubscribe {
		return v.subscribe
	}
	switch op.Role() {
	case chansec.RoleRead:
		return v.read
	case chansec.RoleWrite:
		return v.write
	case chansec.RoleAdmin:
		return v.admin
	}
	return 0
}

// asciiLower lower-cases ASCII letters and nothing else.
func asciiLower(s string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}
