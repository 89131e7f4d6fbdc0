package policy

import (
	"slices"
	"strings"
	"time"
)

// lines is a script in its canonical form (diffusion.md 7.4): one command a line, without a line end behind the last,
// strings in single quotes, blanks between the items of lists. A nil *lines takes commands and forgets them.
type lines struct {
	text []byte
}

// word is keywords, which are written as they are.
type word string

// words is a list of permissions.
type words struct {
	*scope
	permissions
}

var isolation = map[bool]word{true: "isolate path", false: "deisolate path"}

// add adds one command: a word, a string to be quoted, or a list of either.
func (l *lines) add(parts ...any) {
	if l == nil {
		return
	}
	if len(l.text) > 0 {
		l.text = append(l.text, '\n')
	}
	for i, p := range parts {
		if i > 0 {
			l.text = append(l.text, ' ')
		}
		switch p := p.(type) {
		case word:
			l.text = append(l.text, p...)
		case string:
			l.text = appendQuoted(l.text, p)
		case []string:
			l.text = appendList(l.text, p, appendQuoted)
		case words:
			l.text = appendList(l.text, p.list(p.permissions), appendWord)
		case []word:
			l.text = appendList(l.text, p, func(b []byte, w word) []byte { return append(b, w...) })
		}
	}
}

func appendWord(b []byte, s string) []byte { return append(b, s...) }

func appendList[T any](b []byte, items []T, item func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, x := range items {
		if i > 0 {
			b = append(b, ' ')
		}
		b = item(b, x)
	}
	return append(b, ']')
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '\'')
	for i := range len(s) {
		if s[i] == '\'' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '\'')
}

// untilText is the end of a grant in a script.
func untilText(nanoseconds int64) string {
	if nanoseconds == 0 {
		return ""
	}
	return time.Unix(0, nanoseconds).UTC().Format(time.RFC3339Nano)
}

// script returns the commands that make the state from nothing, in the order of diffusion.md 12: the roles of sessions,
// then role by role its global permissions, defaults, paths, includes, lock and binding, then the isolated paths and the
// topics that nothing else makes one. What Diffusion keeps in its other store, the roles of principals, comes last.
func (s *state) script() string {
	type place struct {
		path string
		rule rule
	}
	places := map[uint32][]place{}
	var isolated, topics []string
	for path, n := range s.tree.all(s.config.separator, "") {
		if n.isolated {
			isolated = append(isolated, path)
		}
		if n.topic && n.rules.empty() && s.boundTo(path) == nil {
			topics = append(topics, path)
		}
		for r := range n.rules.all() {
			places[r.role] = append(places[r.role], place{path, r})
		}
	}
	l := &lines{}
	l.add(word("set roles for anonymous sessions"), s.namesOf(s.anonymous))
	l.add(word("set roles for named sessions"), s.namesOf(s.named))
	for _, r := range s.sortedRoles() {
		if r.globals != 0 {
			l.add(word("set"), r.name, word("permissions"), words{&s.config.global, r.globals})
		}
		if r.defaults != 0 {
			l.add(word("set"), r.name, word("default path permissions"), words{&s.config.path, r.defaults})
		}
		at := places[r.id]
		slices.SortFunc(at, func(x, y place) int { return strings.Compare(x.path, y.path) })
		for _, p := range at {
			if p.rule.allow != 0 || p.rule.deny == 0 {
				l.add(word("set"), r.name, word("path"), p.path, word("permissions"), words{&s.config.path, p.rule.allow})
			}
			if p.rule.deny != 0 {
				l.add(word("set"), r.name, word("path"), p.path, word("denials"), words{&s.config.path, p.rule.deny})
			}
		}
		if len(r.includes) > 0 {
			l.add(word("set"), r.name, word("includes"), s.namesOf(r.includes))
		}
		if r.lockedBy != "" {
			l.add(word("set role"), r.name, word("locked by principal"), r.lockedBy)
		}
		if r.binding != "" {
			l.add(word("set role"), r.name, word("bound to"), r.binding)
		}
	}
	slices.Sort(isolated)
	for _, path := range isolated {
		l.add(isolation[true], path)
	}
	slices.Sort(topics)
	for _, path := range topics {
		l.add(word("add topic"), path)
	}
	for _, name := range s.sortedPrincipals() {
		p, _ := s.principals.Get(hashText(name), name)
		var always []uint32
		for _, m := range p.holds {
			if m.until == 0 {
				always = append(always, m.role)
			}
		}
		if len(always) > 0 {
			l.add(word("assign roles"), name, s.namesOf(always))
		}
		holds := slices.Clone(p.holds)
		slices.SortFunc(holds, func(x, y membership) int { return strings.Compare(s.role(x.role).name, s.role(y.role).name) })
		for _, m := range holds {
			if m.until != 0 {
				l.add(word("assign role"), name, s.role(m.role).name, word("until"), untilText(m.until))
			}
		}
	}
	return string(l.text)
}

// sortedRoles returns the roles that people see, by name.
func (s *state) sortedRoles() []*roleRecord {
	var list []*roleRecord
	for _, r := range s.roles.All() {
		if r.visible() {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(x, y *roleRecord) int { return strings.Compare(x.name, y.name) })
	return list
}

// sortedPrincipals returns the names of those who were given roles.
func (s *state) sortedPrincipals() []string {
	var list []string
	for name := range s.principals.All() {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
