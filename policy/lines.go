package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/chansec/chansec/internal/script"
)

// lines is a script in its canonical form. A nil *lines takes commands and forgets them.
type lines struct {
	script.Lines
}

// word is keywords, which are written as they are.
type word = script.Word

// words is a list of permissions.
type words struct {
	*scope
	permissions
}

var isolation = map[bool]word{true: "isolate path", false: "deisolate path"}

// add adds one command: a word, a string to be quoted, or a list of strings or permissions.
func (l *lines) add(parts ...any) {
	if l == nil {
		return
	}
	for i, p := range parts {
		if p, ok := p.(words); ok {
			parts[i] = script.Words(p.list(p.permissions))
		}
	}
	l.Add(parts...)
}

// untilText is the end of a grant in a script.
func untilText(nanoseconds int64) string {
	if nanoseconds == 0 {
		return ""
	}
	return time.Unix(0, nanoseconds).UTC().Format(time.RFC3339Nano)
}

// script returns the commands that make the state from nothing, in the order of diffusion.md 12: the roles of sessions,
// then role by role its global permissions, defaults, paths, includes, binding and lock, then the isolated paths and the
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
		if r.binding != "" {
			l.add(word("set role"), r.name, word("bound to"), r.binding)
		}
		if r.lockedBy != "" { // the last: it binds what follows
			l.add(word("set role"), r.name, word("locked by principal"), r.lockedBy)
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
	return l.String()
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
