package policy

// The two rules of inheritance. For both, a decision walks down the path once, and keeps what it found so far.

// answer is what a set of roles has at a path.
type answer struct {
	granted permissions
	basis   Basis
	end     int // where in the path the deciding path ends, for Assigned and IsolatedPath
}

// Basis is what kind of fact decided.
type Basis uint8

// The bases.
const (
	Nothing      Basis = iota // no rule reaches that far
	Assigned                  // an assignment, perhaps of an empty set, or a row that denies
	IsolatedPath              // an isolated path cut off what is above it
	Defaults                  // the default path permissions of the roles
)

func (b Basis) String() string {
	return [...]string{"nothing", "assigned", "isolated", "defaults"}[b]
}

// step is one path that a walk came by; see [Explanation].
type step struct {
	end   int
	nodes []*node
}

// walk is where a decision is on its way down the tree: at the node of the path so far and, in stores with variables, at
// those in whose paths a variable stands for the caller's name. Together they are what is assigned at that path.
type walk struct {
	node      *node // nil if there is none
	also      [deepestVariable]*node
	n         int // how many of them there are
	principal string
}

// down goes one segment further, and reports whether there is anything.
func (w *walk) down(segment string, variables bool) bool {
	if variables {
		return w.branch(segment)
	}
	w.node = w.node.child(segment)
	return w.node != nil
}

// branch is down where there are variables. A path has one at most, so that a branch has none any more.
func (w *walk) branch(segment string) bool {
	was := w.n
	w.n = 0
	for _, n := range w.also[:was] {
		w.add(n.child(segment))
	}
	if w.node != nil {
		if segment == w.principal {
			w.add(w.node.child(principalVariable))
		}
		if segment == principalVariable { // a channel of that very name is nobody's
			w.node = nil
		} else {
			w.node = w.node.child(segment)
		}
	}
	return w.node != nil || w.n > 0
}

// add adds a branch, if there is one. There is room, since there is at most one for each place that a variable may have.
func (w *walk) add(n *node) {
	if n != nil {
		w.also[w.n] = n
		w.n++
	}
}

// here returns what the roles of a set have at the path, whether any of them has a rule, and whether it is isolated.
func (w *walk) here(set *roleSet) (allow, deny permissions, any, isolated bool) {
	if w.node != nil {
		allow, deny, any = w.node.rules.of(set)
		isolated = w.node.isolated
	}
	for _, n := range w.also[:w.n] {
		a, d, y := n.rules.of(set)
		allow, deny, any, isolated = allow|a, deny|d, any || y, isolated || n.isolated
	}
	return allow, deny, any, isolated
}

// nodes returns all that the walk is at.
func (w *walk) nodes() []*node {
	var list []*node
	if w.node != nil {
		list = append(list, w.node)
	}
	return append(list, w.also[:w.n]...)
}

// standing is what a set of roles has at a path, as far as the walk down has found out.
type standing struct {
	granted permissions
	open    permissions // not decided yet, where any ancestor counts
}

// top is the standing at the root, where there are defaults and nothing else.
func (s *state) top(set *roleSet, wanted permissions) standing {
	return standing{set.defaults & wanted, wanted}
}

// nearest is diffusion.md 6: the nearest path, from the asked one upwards, where any of the roles has an assignment
// decides, with the union of theirs (D1, D2). An isolated path without one ends the search with nothing. Where the
// search gets to the top, the union of the defaults decides. On the way down that is: the last one wins.
func (v standing) nearest(wanted, allow permissions, any, isolated bool) (standing, Basis) {
	switch {
	case any:
		v.granted = allow & wanted
		return v, Assigned
	case isolated:
		v.granted = 0
		return v, IsolatedPath
	}
	return v, Nothing
}

// anyAncestor is sqlauth.md 4: for each permission the shortest path with a row for it decides; a row that denies wins
// over those that allow at the same path (4.2).
func (v standing) anyAncestor(allow, deny permissions) (standing, Basis) {
	rows := (allow | deny) & v.open
	if rows == 0 {
		return v, Nothing
	}
	return standing{v.granted | rows&^deny, v.open &^ rows}, Assigned
}

// evaluate returns what a set of roles has of the wanted permissions at a path. It stops when they are decided, or, for a
// trace, when there is nothing any more. The trace is told of every path that the walk came by; it changes nothing.
func (s *state) evaluate(set *roleSet, path string, wanted permissions, trace *[]step) (a answer) {
	sep := s.config.separator
	if sep.nobodys(path) {
		return answer{}
	}
	v, w := s.top(set, wanted), walk{node: s.tree, principal: set.principal}
	if set.defaults != 0 {
		a.basis = Defaults
	}
	for at := 0; v.open != 0 || trace != nil; {
		segment, end, ok := sep.next(path, at)
		if !ok || !w.down(segment, s.config.variables) {
			break
		}
		var b Basis
		if v, b = s.further(v, set, &w, wanted); b != Nothing {
			a.basis, a.end = b, end
		}
		if trace != nil {
			*trace = append(*trace, step{end, w.nodes()})
		}
		at = end
	}
	a.granted = v.granted
	return a
}

// further returns the standing one path further down, and what changed it.
func (s *state) further(v standing, set *roleSet, w *walk, wanted permissions) (standing, Basis) {
	allow, deny, any, isolated := w.here(set)
	if s.config.inheritance == AnyAncestor {
		return v.anyAncestor(allow, deny)
	}
	return v.nearest(wanted, allow, any, isolated)
}
