package policy

// The two rules of inheritance. Both walk down the path once; what they find on the way is all that can matter.

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

// step is one path that a walk came by and that had something to say; see [Explanation].
type step struct {
	end         int
	node        *node
	any         bool // a role of the set has a rule there
	allow, deny permissions
}

// evaluate returns what a set of roles has of the wanted permissions at a path. It stops when they are decided. trace, if
// it is not nil, is told of every path with rules or isolation that the walk came by; it changes nothing.
func (s *state) evaluate(set *roleSet, path string, wanted permissions, trace *[]step) answer {
	if s.config.separator.nobodys(path) {
		return answer{}
	}
	if s.config.inheritance == AnyAncestor {
		return s.anyAncestor(set, path, wanted, trace)
	}
	return s.nearest(set, path, wanted, trace)
}

// nearest is diffusion.md 6: the nearest path, from the asked one upwards, where any of the roles has an assignment
// decides, with the union of theirs (D1, D2). An isolated path without one ends the search with nothing. Where the
// search gets to the top, the union of the defaults decides. On the way down that is: the last one wins.
func (s *state) nearest(set *roleSet, path string, wanted permissions, trace *[]step) (a answer) {
	if a.granted = set.defaults & wanted; set.defaults != 0 {
		a.basis = Defaults
	}
	sep, n := s.config.separator, s.tree
	for at := 0; ; {
		segment, end, ok := sep.next(path, at)
		if !ok {
			return a
		}
		if n = n.child(segment); n == nil {
			return a
		}
		allow, _, any := n.rules.of(set)
		switch {
		case any:
			a = answer{allow & wanted, Assigned, end}
		case n.isolated:
			a = answer{0, IsolatedPath, end}
		}
		if trace != nil && (n.isolated || !n.rules.empty()) {
			*trace = append(*trace, step{end, n, any, allow, 0})
		}
		at = end
	}
}

// anyAncestor is sqlauth.md 4: for each permission the shortest path with a row for it decides; a row that denies wins
// over those that allow at the same path (4.2).
func (s *state) anyAncestor(set *roleSet, path string, wanted permissions, trace *[]step) (a answer) {
	sep, n := s.config.separator, s.tree
	for at, open := 0, wanted; open != 0; {
		segment, end, ok := sep.next(path, at)
		if !ok {
			return a
		}
		if n = n.child(segment); n == nil {
			return a
		}
		allow, deny, any := n.rules.of(set)
		if rows := (allow | deny) & open; rows != 0 {
			a.granted |= rows &^ deny
			a.basis, a.end = Assigned, end
			open &^= rows
		}
		if trace != nil && !n.rules.empty() {
			*trace = append(*trace, step{end, n, any, allow, deny})
		}
		at = end
	}
	return a
}
