package policy

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/chansec/chansec/internal/hamt"
)

// Fact is one thing that a store says. All facts of a snapshot together are all that it says: what keeps them, such as tables
// of a database, can say the same. Fields that a kind does not name are empty.
type Fact struct {
	Kind       FactKind
	Role, Path string
	Principal  string
	Permission string
	Other      string    // a role
	Until      time.Time // in UTC; zero is for ever

	Topic, Isolated bool
}

// FactKind says what a fact is about. Facts are sorted by it: those of paths and roles, which the others mention, come first.
type FactKind uint8

// The kinds of facts, with the fields that they have.
const (
	FactPath      FactKind = iota + 1 // Path is one with something of its own: a Topic, Isolated or neither
	FactRole                          // Role is a name used as a role, bound to the topic Path and locked by Principal, if these are not empty
	FactAssigned                      // Role has an assignment at Path, which may be empty; only where the nearest one counts
	FactAllowed                       // Role has Permission at Path
	FactDenied                        // Role is denied Permission at Path
	FactDefault                       // Role has Permission by default
	FactGlobal                        // Role has the global Permission
	FactIncludes                      // Role includes Other
	FactHolds                         // Principal holds Role, Until
	FactNamed                         // sessions with a principal have Role
	FactAnonymous                     // sessions without one have it
)

func (f Fact) compare(g Fact) int {
	return cmp.Or(cmp.Compare(f.Kind, g.Kind), cmp.Compare(f.Path, g.Path), cmp.Compare(f.Role, g.Role), cmp.Compare(f.Principal, g.Principal),
		cmp.Compare(f.Permission, g.Permission), cmp.Compare(f.Other, g.Other), f.Until.Compare(g.Until))
}

// Since returns the facts of an earlier snapshot of the same store that are none any more, and those that came since, both
// sorted. Nil is the empty store. What the two snapshots share costs nothing, so that the difference that a small change makes is
// had at the price of the change.
func (s *Snapshot) Since(earlier *Snapshot) (gone, come []Fact) {
	was := newState(s.state.config)
	if earlier != nil {
		was = earlier.state
	}
	d := &factDifference{was: was, is: s.state}
	d.compare(was.sessionFacts(), s.state.sessionFacts())
	for id := range hamt.Changed(was.roles, s.state.roles) {
		d.compare(was.roleFacts(id), s.state.roleFacts(id))
	}
	for name := range hamt.Changed(was.principals, s.state.principals) {
		d.compare(was.principalFacts(name), s.state.principalFacts(name))
	}
	d.compareTrees(was.tree, s.state.tree, "")
	slices.SortFunc(d.gone, Fact.compare)
	slices.SortFunc(d.come, Fact.compare)
	return d.gone, d.come
}

type factDifference struct {
	was, is    *state
	gone, come []Fact
}

// compare compares the facts of one thing before and after.
func (d *factDifference) compare(was, is iter.Seq[Fact]) {
	had := map[Fact]struct{}{}
	for f := range was {
		had[f] = struct{}{}
	}
	for f := range is {
		if _, stays := had[f]; stays {
			delete(had, f)
			continue
		}
		d.come = append(d.come, f)
	}
	for f := range had {
		d.gone = append(d.gone, f)
	}
}

// compareTrees compares two nodes of a path, of which either may be nil, and what is below.
func (d *factDifference) compareTrees(was, is *node, path string) {
	if was == is {
		return
	}
	var none node
	x, y := cmp.Or(was, &none), cmp.Or(is, &none)
	d.compare(d.was.nodeFacts(x, path), d.is.nodeFacts(y, path))
	if x.rules.many.Empty() || y.rules.many.Empty() {
		d.compare(d.was.ruleFacts(path, x.rules.all()), d.is.ruleFacts(path, y.rules.all()))
	} else {
		for id := range hamt.Changed(x.rules.many, y.rules.many) {
			d.compare(d.was.ruleFacts(path, x.rules.one(id)), d.is.ruleFacts(path, y.rules.one(id)))
		}
	}
	sep := d.is.config.separator
	for segment := range changedChildren(&x.children, &y.children) {
		d.compareTrees(x.child(segment), y.child(segment), sep.join(path, segment))
	}
}

// changedChildren yields the segments below which two nodes differ.
func changedChildren(x, y *children) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s := range hamt.Changed(x.short, y.short) {
			if !yield(s.text()) {
				return
			}
		}
		for s := range hamt.Changed(x.long, y.long) {
			if !yield(s) {
				return
			}
		}
	}
}

// one yields the rule of a role, if there is one.
func (r *rules) one(role uint32) iter.Seq[rule] {
	return func(yield func(rule) bool) {
		if x, ok := r.get(role); ok {
			yield(x)
		}
	}
}

func (s *state) nodeFacts(n *node, path string) iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		if n.topic || n.isolated || !n.rules.empty() {
			yield(Fact{Kind: FactPath, Path: path, Topic: n.topic, Isolated: n.isolated})
		}
	}
}

func (s *state) ruleFacts(path string, rules iter.Seq[rule]) iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		for r := range rules {
			name := s.role(r.role).name
			if s.config.inheritance == NearestAssignment && !yield(Fact{Kind: FactAssigned, Role: name, Path: path}) ||
				!s.permissionFacts(Fact{Kind: FactAllowed, Role: name, Path: path}, &s.config.path, r.allow, yield) ||
				!s.permissionFacts(Fact{Kind: FactDenied, Role: name, Path: path}, &s.config.path, r.deny, yield) {
				return
			}
		}
	}
}

// permissionFacts yields a fact for each permission of a set.
func (s *state) permissionFacts(f Fact, of *scope, set permissions, yield func(Fact) bool) bool {
	if set == 0 {
		return true
	}
	for _, f.Permission = range of.list(set) {
		if !yield(f) {
			return false
		}
	}
	return true
}

func (s *state) roleFacts(id uint32) iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		r := s.role(id)
		if r == nil || !yield(Fact{Kind: FactRole, Role: r.name, Path: r.binding, Principal: r.lockedBy}) ||
			!s.permissionFacts(Fact{Kind: FactDefault, Role: r.name}, &s.config.path, r.defaults, yield) ||
			!s.permissionFacts(Fact{Kind: FactGlobal, Role: r.name}, &s.config.global, r.globals, yield) {
			return
		}
		for _, other := range r.includes {
			if !yield(Fact{Kind: FactIncludes, Role: r.name, Other: s.role(other).name}) {
				return
			}
		}
	}
}

func (s *state) principalFacts(name string) iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		p := s.principal(name)
		if p == nil {
			return
		}
		for _, m := range p.holds {
			f := Fact{Kind: FactHolds, Principal: name, Role: s.role(m.role).name}
			if m.until != 0 {
				f.Until = time.Unix(0, m.until).UTC()
			}
			if !yield(f) {
				return
			}
		}
	}
}

func (s *state) sessionFacts() iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		for _, id := range s.named {
			if !yield(Fact{Kind: FactNamed, Role: s.role(id).name}) {
				return
			}
		}
		for _, id := range s.anonymous {
			if !yield(Fact{Kind: FactAnonymous, Role: s.role(id).name}) {
				return
			}
		}
	}
}
