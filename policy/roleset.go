package policy

import (
	"slices"
	"sync"
	"time"
)

// roleSet is the effective roles of somebody: those held and, transitively, all that they include, which rank alike
// (diffusion.md 4). It lives on the stack. What is stored for a principal was worked out before; what comes on top of
// it, vouched for by an authenticator, is kept near, or, where that is too much, in a slice that is used again and again.
type roleSet struct {
	principal         string // whose set it is, for variables; empty is nobody
	bloom             uint64 // bit role%64 of every role
	globals, defaults permissions
	until             int64    // Unix nanoseconds from which it is another set; 0: never
	held              []uint32 // sorted
	near              [nearRoles]uint32
	n                 int
	far               *[]uint32
}

const nearRoles = 16

var farRoles = sync.Pool{New: func() any { return new([]uint32) }}

// call says whose set it is. Variables stand for nobody who is called as they are.
func (s *roleSet) call(name string) {
	if name != principalVariable {
		s.principal = name
	}
}

// holds puts roles that were worked out before into a set that is empty.
func (s *roleSet) holds(c *compiledRoles) {
	s.bloom, s.globals, s.defaults, s.until, s.held = c.bloom, c.globals, c.defaults, c.until, c.ids
}

// release gives back what the set borrowed.
func (s *roleSet) release() {
	if s.far != nil {
		*s.far = (*s.far)[:0]
		farRoles.Put(s.far)
		s.far = nil
	}
}

// add adds a role with those it includes; nil, a name that nothing mentions, adds nothing (diffusion.md 6.1, D10).
func (s *roleSet) add(r *roleRecord) {
	if r == nil {
		return
	}
	s.globals |= r.allGlobals
	s.defaults |= r.allDefaults
	for _, id := range r.closed {
		switch {
		case s.has(id):
			continue
		case s.n < nearRoles:
			s.near[s.n] = id
			s.n++
		default:
			if s.far == nil {
				s.far = farRoles.Get().(*[]uint32)
			}
			*s.far = append(*s.far, id)
		}
		s.bloom |= 1 << (id % 64)
	}
}

// only makes an empty set one role with those it includes, perhaps many, or, for nil, leaves it empty.
func (s *roleSet) only(r *roleRecord) {
	if r == nil {
		return
	}
	s.globals, s.defaults, s.held = r.allGlobals, r.allDefaults, r.closed
	for _, id := range r.closed {
		s.bloom |= 1 << (id % 64)
	}
}

// has reports whether a role is in the set.
func (s *roleSet) has(id uint32) bool { return s.bloom>>(id%64)&1 != 0 && s.contains(id) }

func (s *roleSet) contains(id uint32) bool {
	if len(s.held) > nearRoles {
		if _, ok := slices.BinarySearch(s.held, id); ok {
			return true
		}
	} else {
		for _, x := range s.held {
			if x == id {
				return true
			}
		}
	}
	for _, x := range s.near[:s.n] {
		if x == id {
			return true
		}
	}
	return s.far != nil && slices.Contains(*s.far, id)
}

// len returns how many roles there are, and at each of them.
func (s *roleSet) len() int {
	n := len(s.held) + s.n
	if s.far != nil {
		n += len(*s.far)
	}
	return n
}

func (s *roleSet) at(i int) uint32 {
	if i < len(s.held) {
		return s.held[i]
	}
	if i -= len(s.held); i < s.n {
		return s.near[i]
	}
	return (*s.far)[i-s.n]
}

// hierarchy stands for one state of everything that effective roles follow from: inclusions, defaults, global permissions
// and the roles of all named sessions. Whenever one of them changes, there is a new one.
type hierarchy struct{ _ byte }

// compiledRoles is what follows from the roles stored for a principal, in one state of the hierarchy.
type compiledRoles struct {
	of                *hierarchy
	bloom             uint64
	globals, defaults permissions
	until             int64
	ids               []uint32 // sorted
}

// stored returns the roles of a principal that is stored. They are worked out when they are asked for the first time
// after the hierarchy changed, or one of them ended; that costs an allocation, once.
func (s *state) stored(p *principal) *compiledRoles {
	c := p.compiled.Load()
	if c != nil && c.of == s.hierarchy && (c.until == 0 || time.Now().UnixNano() < c.until) {
		return c
	}
	c = s.compile(p, time.Now().UnixNano())
	p.compiled.Store(c)
	return c
}

// compile works them out for a time, in Unix nanoseconds.
func (s *state) compile(p *principal, now int64) *compiledRoles {
	c := &compiledRoles{of: s.hierarchy}
	add := func(id uint32) {
		r := s.role(id)
		c.globals |= r.allGlobals
		c.defaults |= r.allDefaults
		c.ids = append(c.ids, r.closed...)
	}
	for _, id := range s.named {
		add(id)
	}
	for m := range p.at(now) {
		if m.until != 0 && (c.until == 0 || m.until < c.until) {
			c.until = m.until
		}
		add(m.role)
	}
	slices.Sort(c.ids)
	c.ids = slices.Clip(slices.Compact(c.ids))
	for _, id := range c.ids {
		c.bloom |= 1 << (id % 64)
	}
	return c
}
