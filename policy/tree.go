package policy

import (
	"iter"
	"maps"
	"slices"

	"github.com/chansec/chansec/internal/hamt"
)

// node is one path, with what is assigned there and what lies below. Once published it is never changed: a change makes
// new nodes from the root down to the path, and shares all others.
type node struct {
	edit     *hamt.Edit
	children children
	rules    rules
	isolated bool
	topic    bool // there, even if nothing is assigned
}

// child returns the node of a segment, or nil.
func (n *node) child(segment string) *node { return n.children.get(segment) }

// find returns the node of a normal path, or nil.
func (n *node) find(sep Separator, path string) *node {
	for at := 0; n != nil; {
		segment, end, ok := sep.next(path, at)
		if !ok {
			break
		}
		n, at = n.child(segment), end
	}
	return n
}

// change returns the tree below n as f leaves the node of a normal path, or nil if nothing is left of it.
func (n *node) change(e *hamt.Edit, sep Separator, path string, from int, f func(*node)) *node {
	switch {
	case n == nil:
		n = &node{edit: e}
	case e == nil || n.edit != e:
		c := *n
		c.edit, n = e, &c
	}
	if segment, end, ok := sep.next(path, from); !ok {
		f(n)
	} else {
		was := n.child(segment)
		switch is := was.change(e, sep, path, end, f); {
		case is == was:
		case is == nil:
			n.children.delete(e, segment)
		default:
			n.children.set(e, segment, is)
		}
	}
	if n.children.empty() && !n.isolated && !n.topic && n.rules.empty() {
		return nil
	}
	return n
}

// all yields the nodes at and below n with their paths, in the order of the paths' segments.
func (n *node) all(sep Separator, path string) iter.Seq2[string, *node] {
	return func(yield func(string, *node) bool) { n.walk(sep, path, yield) }
}

func (n *node) walk(sep Separator, path string, yield func(string, *node) bool) bool {
	if n == nil {
		return true
	}
	if !yield(path, n) {
		return false
	}
	children := maps.Collect(n.children.all())
	for _, segment := range slices.Sorted(maps.Keys(children)) {
		if !children[segment].walk(sep, sep.join(path, segment), yield) {
			return false
		}
	}
	return true
}

// join appends a segment to a path.
func (s Separator) join(path, segment string) string {
	if path == "" {
		return segment
	}
	return path + string(rune(s)) + segment
}

// rule is what a role has at one path. Rows that deny exist only in stores that know them.
type rule struct {
	role        uint32
	allow, deny permissions
}

// rules are the rules at one path. There are two forms, for most paths have one rule and some have a million.
type rules struct {
	bloom uint64 // bit role%64 of every role that has a rule here
	few   []rule // by role, at most fewRules; or
	many  hamt.Map[uint32, rule]
}

const fewRules = 32

func (r *rules) empty() bool { return len(r.few) == 0 && r.many.Empty() }

// get returns the rule of a role.
func (r *rules) get(role uint32) (rule, bool) {
	if !r.many.Empty() {
		return r.many.Get(hashID(role), role)
	}
	if i, ok := r.place(role); ok {
		return r.few[i], true
	}
	return rule{}, false
}

func (r *rules) place(role uint32) (int, bool) {
	return slices.BinarySearchFunc(r.few, role, func(x rule, role uint32) int { return int(int64(x.role) - int64(role)) })
}

// set replaces the rule of a role.
func (r *rules) set(e *hamt.Edit, n rule) {
	r.bloom |= 1 << (n.role % 64)
	i, ok := r.place(n.role)
	switch {
	case !r.many.Empty():
		r.many = r.many.Set(e, hashID, n.role, n)
	case ok:
		r.few = slices.Clone(r.few)
		r.few[i] = n
	case len(r.few) < fewRules:
		few := make([]rule, len(r.few)+1)
		copy(few, r.few[:i])
		few[i] = n
		copy(few[i+1:], r.few[i:])
		r.few = few
	default:
		for _, x := range append(slices.Clip(r.few), n) {
			r.many = r.many.Set(e, hashID, x.role, x)
		}
		r.few = nil
	}
}

// remove takes out the rule of a role.
func (r *rules) remove(e *hamt.Edit, role uint32) {
	if !r.many.Empty() {
		r.many = r.many.Delete(e, hashID, role)
		if r.many.Empty() {
			r.bloom = 0
		}
		return
	}
	if i, ok := r.place(role); ok {
		few := make([]rule, 0, len(r.few)-1)
		r.few = append(append(few, r.few[:i]...), r.few[i+1:]...)
		r.bloom = 0
		for _, x := range r.few {
			r.bloom |= 1 << (x.role % 64)
		}
	}
}

// all yields the rules in no order.
func (r *rules) all() iter.Seq[rule] {
	return func(yield func(rule) bool) {
		for _, x := range r.few {
			if !yield(x) {
				return
			}
		}
		for _, x := range r.many.All() {
			if !yield(x) {
				return
			}
		}
	}
}

// of returns what the roles of a set have here together, and whether any of them has a rule at all.
func (r *rules) of(s *roleSet) (allow, deny permissions, any bool) {
	if r.bloom&s.bloom == 0 {
		return 0, 0, false
	}
	for i := range r.few {
		if x := &r.few[i]; s.has(x.role) {
			allow, deny, any = allow|x.allow, deny|x.deny, true
		}
	}
	if r.many.Empty() {
		return allow, deny, any
	}
	for i := range s.len() {
		if x, ok := r.many.Get(hashID(s.at(i)), s.at(i)); ok {
			allow, deny, any = allow|x.allow, deny|x.deny, true
		}
	}
	return allow, deny, any
}
