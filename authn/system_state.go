package authn

import (
	"maps"
	"regexp"
	"slices"

	"github.com/chansec/chansec/internal/script"
)

// systemState is a store at one revision. One that is published is never changed.
type systemState struct {
	revision       uint64
	principals     map[string]*systemPrincipal
	anonymous      Answer
	anonymousRoles []string // sorted
	trusted        map[string]*validation
	work           work // what every login takes: the most of any principal
}

// systemPrincipal is never changed.
type systemPrincipal struct {
	password *Password
	roles    []string // sorted
	lockedBy string
}

// validation says which values of a property are trusted. It is never changed.
type validation struct {
	values []string       // sorted; nil if there is a regex
	regex  *regexp.Regexp // which finds the longest match
}

// maxMatchedBytes bounds values that are held against an expression.
const maxMatchedBytes = 4096

func (v *validation) accepts(value string) bool {
	if v.regex == nil {
		_, found := slices.BinarySearch(v.values, value)
		return found
	}
	if len(value) > maxMatchedBytes {
		return false
	}
	at := v.regex.FindStringIndex(value)
	return at != nil && at[0] == 0 && at[1] == len(value)
}

func (v *validation) equal(w *validation) bool {
	if w == nil || (v.regex == nil) != (w.regex == nil) {
		return false
	}
	return slices.Equal(v.values, w.values) && (v.regex == nil || v.regex.String() == w.regex.String())
}

// weigh finds out how much work a login takes.
func (s *systemState) weigh(iterations int) {
	s.work = work{ours: iterations}
	for _, p := range s.principals {
		s.work.include(p.password)
	}
}

// script returns the commands that make the state from nothing, with hashes: the answer to anonymous callers, then
// principals and properties by name. It is for the store's file alone.
func (s *systemState) script() string {
	var l script.Lines
	switch s.anonymous {
	case Allow:
		l.Add(script.Word("allow anonymous connections"), s.anonymousRoles)
	case Abstain:
		l.Add(script.Word("abstain anonymous connections"))
	default:
		l.Add(script.Word("deny anonymous connections"))
	}
	for _, name := range slices.Sorted(maps.Keys(s.principals)) {
		p := s.principals[name]
		parts := []any{script.Word("add principal"), name, script.Secret(p.password.write())}
		if len(p.roles) > 0 {
			parts = append(parts, p.roles)
		}
		if p.lockedBy != "" {
			parts = append(parts, script.Word("locked by"), p.lockedBy)
		}
		l.Add(parts...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.trusted)) {
		if v := s.trusted[name]; v.regex != nil {
			l.Add(script.Word("trust client proposed property"), name, script.Word("if value matches"), v.regex.String())
		} else {
			l.Add(script.Word("trust client proposed property"), name, script.Word("if value in"), v.values)
		}
	}
	return l.String()
}
