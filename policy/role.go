package policy

import (
	"slices"

	"github.com/chansec/chansec/internal/hamt"
)

// roleRecord is everything about a name that is used as a role. A name has a number for as long as anything mentions it; it is
// a role that people see only while it has something of its own or is included (diffusion.md 1.1).
type roleRecord struct {
	id                uint32
	name              string
	globals, defaults permissions
	includes          []uint32 // sorted
	lockedBy          string   // the principal that alone may edit it; empty: anybody
	binding           string   // the topic that it is bound to; empty: none
	paths             int      // at how many paths it has a rule
	mentions          int      // by how many principals and default lists it is named

	includedBy hamt.Map[uint32, struct{}]

	// What follows from the hierarchy, for this role and all that it includes.
	closed                  []uint32 // sorted, itself among them
	allGlobals, allDefaults permissions
}

// visible reports whether the role is one that people see.
func (r *roleRecord) visible() bool {
	return r.globals|r.defaults != 0 || len(r.includes) > 0 || r.lockedBy != "" || r.binding != "" || r.paths > 0 || !r.includedBy.Empty()
}

// role returns the role of a number. Every number that a state mentions has one.
func (s *state) role(id uint32) *roleRecord {
	r, _ := s.roles.Get(hashID(id), id)
	return r
}

// roleNamed returns the role of a name, or nil.
func (s *state) roleNamed(name string) *roleRecord {
	id, ok := s.names.Get(hashText(name), name)
	if !ok {
		return nil
	}
	return s.role(id)
}

// mention returns the number of a name, which it gets now if it has none.
func (s *state) mention(e *hamt.Edit, name string) uint32 {
	if id, ok := s.names.Get(hashText(name), name); ok {
		return id
	}
	for s.lastRole++; s.lastRole == 0 || s.role(s.lastRole) != nil; {
		s.lastRole++ // numbers come again after four billion names, of which somebody may have made most for nothing
	}
	s.size++
	r := &roleRecord{id: s.lastRole, name: name, closed: []uint32{s.lastRole}}
	s.names = s.names.Set(e, hashText, name, r.id)
	s.roles = s.roles.Set(e, hashID, r.id, r)
	return r.id
}

// changeRole replaces a role by what f makes of it, or forgets it if nothing is left.
func (s *state) changeRole(e *hamt.Edit, id uint32, f func(*roleRecord)) {
	r := *s.role(id)
	f(&r)
	if !r.visible() && r.mentions == 0 {
		s.size--
		s.names = s.names.Delete(e, hashText, r.name)
		s.roles = s.roles.Delete(e, hashID, id)
		return
	}
	s.roles = s.roles.Set(e, hashID, id, &r)
}

// setIncludes replaces what a role includes, unless that would make a cycle.
func (s *state) setIncludes(e *hamt.Edit, id uint32, includes []uint32) {
	s.size += len(includes) - len(s.role(id).includes)
	had := s.role(id).includes
	for _, was := range had {
		if _, stays := slices.BinarySearch(includes, was); !stays {
			s.changeRole(e, was, func(r *roleRecord) { r.includedBy = r.includedBy.Delete(e, hashID, id) })
		}
	}
	for _, is := range includes {
		if _, there := slices.BinarySearch(had, is); !there {
			s.changeRole(e, is, func(r *roleRecord) { r.includedBy = r.includedBy.Set(e, hashID, id, struct{}{}) })
		}
	}
	s.changeRole(e, id, func(r *roleRecord) { r.includes = includes })
	s.close(e, id)
}

// close works out what follows from the hierarchy again, for a role that changed and for all that include it, each after
// those that it includes.
func (s *state) close(e *hamt.Edit, id uint32) {
	s.hierarchy = new(hierarchy)
	if s.role(id) == nil {
		return
	}
	var order []uint32
	seen := map[uint32]bool{}
	var visit func(uint32)
	visit = func(id uint32) {
		if seen[id] {
			return
		}
		seen[id] = true
		for by := range s.role(id).includedBy.All() {
			visit(by)
		}
		order = append(order, id)
	}
	visit(id)
	slices.Reverse(order)
	for _, id := range order {
		s.changeRole(e, id, func(r *roleRecord) {
			r.closed, r.allGlobals, r.allDefaults = []uint32{id}, r.globals, r.defaults
			for _, i := range r.includes {
				below := s.role(i)
				r.closed = append(r.closed, below.closed...)
				r.allGlobals |= below.allGlobals
				r.allDefaults |= below.allDefaults
			}
			slices.Sort(r.closed)
			r.closed = slices.Clip(slices.Compact(r.closed))
		})
	}
}

// reaches reports whether a role includes another, directly or not, or is it.
func (s *state) reaches(from, to uint32) bool {
	_, ok := slices.BinarySearch(s.role(from).closed, to)
	return ok
}
