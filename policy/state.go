package policy

import (
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec/internal/hamt"
)

// state is everything that a store knows at one revision. A published state is never changed.
type state struct {
	config     *config
	revision   uint64
	turns      uint64 // how often the store was suspended and resumed
	suspended  error  // why nothing is decided; nil while it is
	tree       *node  // never nil
	names      hamt.Map[string, uint32]
	roles      hamt.Map[uint32, *roleRecord]
	lastRole   uint32
	principals hamt.Map[string, *principal]

	anonymous, named []uint32 // roles of sessions without and with a principal; sorted
	size             int      // what MaxSize is about
	hierarchy        *hierarchy
}

func newState(c *config) *state { return &state{config: c, tree: &node{}, hierarchy: new(hierarchy)} }

// principal is the roles that a name was given.
type principal struct {
	holds    []membership // by roles; never changed
	compiled atomic.Pointer[compiledRoles]
}

// membership is a role that somebody holds until a time, in Unix nanoseconds; 0 is for ever.
type membership struct {
	role  uint32
	until int64
}

func (m membership) compare(role uint32) int { return int(int64(m.role) - int64(role)) }

// others yields what is among some memberships and not among others, both of which are sorted by roles.
func others(some, than []membership) iter.Seq[membership] {
	return func(yield func(membership) bool) {
		for _, m := range some {
			for len(than) > 0 && than[0].role < m.role {
				than = than[1:]
			}
			if (len(than) == 0 || than[0] != m) && !yield(m) {
				return
			}
		}
	}
}

// change changes the node of a normal path.
func (s *state) change(e *hamt.Edit, path string, f func(*node)) {
	s.tree = s.tree.change(e, s.config.separator, path, 0, f)
	if s.tree == nil {
		s.tree = &node{}
	}
}

// setRule replaces what a role has at a normal path by what f makes of it; f reports whether there is to be a rule at all,
// and setRule whether anything changed.
func (s *state) setRule(e *hamt.Edit, path string, id uint32, f func(is *rule) bool) (changed bool) {
	delta := 0
	s.change(e, path, func(n *node) {
		was, there := n.rules.get(id)
		is := was
		is.role = id
		switch stays := f(&is); {
		case !stays && there:
			delta = -1
			n.rules.remove(e, id)
		case stays && !there:
			delta = 1
			n.rules.set(e, is)
		case stays && is != was:
			changed = true
			n.rules.set(e, is)
		}
	})
	s.size += delta
	s.changeRole(e, id, func(r *roleRecord) { r.paths += delta })
	return changed || delta != 0
}

// held makes a set of the roles of a principal: those stored for it, and those that every session with a principal has, or,
// for the empty name, those of anonymous sessions (diffusion.md 9.2, 9.3).
func (s *state) held(set *roleSet, name string) {
	set.call(name)
	always := s.anonymous
	if name != "" {
		if p, ok := s.principals.Get(hashText(name), name); ok {
			set.holds(s.stored(p))
			return
		}
		always = s.named
	}
	for _, id := range always {
		set.add(s.role(id))
	}
}

// heldAt is held for a principal at another time, in Unix nanoseconds.
func (s *state) heldAt(set *roleSet, name string, now int64) {
	p := s.principal(name)
	if p == nil {
		s.held(set, name)
		return
	}
	set.call(name)
	set.holds(s.compile(p, now))
}

// principal returns what is stored for a name, or nil.
func (s *state) principal(name string) *principal {
	p, _ := s.principals.Get(hashText(name), name)
	return p
}

// current yields what a principal, perhaps nil, holds and has not ended.
func (p *principal) current() iter.Seq[membership] { return p.at(time.Now().UnixNano()) }

// at is current for another time, in Unix nanoseconds.
func (p *principal) at(now int64) iter.Seq[membership] {
	return func(yield func(membership) bool) {
		if p == nil {
			return
		}
		for _, m := range p.holds {
			if m.until != 0 && now >= m.until {
				continue
			}
			if !yield(m) {
				return
			}
		}
	}
}

// memberships yields the roles stored for a principal that have not ended.
func (s *state) memberships(name string) iter.Seq[membership] {
	return s.principal(name).current()
}

// vouched adds roles by their names.
func (s *state) vouched(set *roleSet, names []string) {
	for _, name := range names {
		set.add(s.roleNamed(name))
	}
}

// namesOf returns the names of roles, sorted.
func (s *state) namesOf(ids []uint32) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = s.role(id).name
	}
	slices.Sort(list)
	return list
}
