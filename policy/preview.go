package policy

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/chansec/chansec"
)

// Preview is what a change would do, had it been made.
type Preview struct {
	Before, After *Snapshot

	// Paths says who would gain or lose what, by principals and paths. An entry holds for its path and everything below,
	// up to the next entry of the same principal that is below it; one without gain and loss ends another.
	Paths []Difference
	// Globals says the same of global permissions. Its paths are empty.
	Globals []Difference
}

// Difference is what somebody would gain and lose.
type Difference struct {
	Whom         Whom
	Principal    string // empty unless Whom is OnePrincipal
	Path         string // empty is the root: everywhere; for OtherPrincipals, $principal in it is the name
	Gained, Lost []string
}

// Whom says whom a difference is about.
type Whom uint8

// Those whom a difference may be about.
const (
	AnonymousSessions Whom = iota // who have no principal
	OnePrincipal                  // for whom roles are stored, before or after
	OtherPrincipals               // for whom none are
)

// Preview does all of a change but make it. The actor must be one who may. It says what holds at once, not what roles that
// end leave later; and since its snapshots say everything, it is to be shown to those only who may see that.
func (s *Store) Preview(ctx context.Context, actor Actor, f func(*Tx) error) (*Preview, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	before := s.current.Load()
	tx, err := before.try(actor, f, nil)
	if err != nil {
		return nil, err
	}
	after := tx.state
	p := &Preview{Before: &Snapshot{before}, After: &Snapshot{&after}}
	tops := changedPaths(s.config.separator, before.tree, after.tree, "", nil)
	p.compare(AnonymousSessions, "", tops)
	p.compare(OtherPrincipals, "", tops)
	names := map[string]struct{}{}
	for _, name := range slices.Concat(before.sortedPrincipals(), after.sortedPrincipals()) {
		names[name] = struct{}{}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.compare(OnePrincipal, name, tops)
	}
	return p, nil
}

// Cuts reports whether somebody may do an operation on a channel, and could not any more after the change. A lease is an
// OpSubscribe. The roles that who names count; leave them out for an Authorizer with [StoredRolesOnly].
func (p *Preview) Cuts(who chansec.Principal, op chansec.Operation, channelID string) bool {
	needed := p.Before.state.config.needs(op)
	may := func(s *state) bool {
		var set roleSet
		defer set.release()
		s.held(&set, who.SystemID)
		s.vouched(&set, who.Roles)
		return needed != 0 && s.evaluate(&set, channelID, needed, nil).granted == needed
	}
	return may(p.Before.state) && !may(p.After.state)
}

// Cut yields those of some holders, such as a channel's Holders, whose leases and claims the change would end.
func (p *Preview) Cut(holders iter.Seq[chansec.Holder]) iter.Seq[chansec.Holder] {
	return func(yield func(chansec.Holder) bool) {
		for h := range holders {
			if p.Cuts(h.Principal, h.Operation, h.ChannelID) && !yield(h) {
				return
			}
		}
	}
}

// changedPaths returns the topmost paths whose own rules or isolation differ between two trees. What the trees share is
// not looked at.
func changedPaths(sep Separator, x, y *node, path string, list []string) []string {
	switch {
	case x == y:
		return list
	case !x.sameHere(y):
		return append(list, path)
	}
	all := map[string]struct{}{}
	for _, n := range []*node{x, y} {
		if n != nil {
			for segment := range n.children.all() {
				all[segment] = struct{}{}
			}
		}
	}
	for _, segment := range slices.Sorted(maps.Keys(all)) {
		list = changedPaths(sep, x.below(segment), y.below(segment), sep.join(path, segment), list)
	}
	return list
}

// below is child for a node that may be nil.
func (n *node) below(segment string) *node {
	if n == nil {
		return nil
	}
	return n.child(segment)
}

// sameHere reports whether two nodes, of which either may be nil, have the same rules and isolation.
func (n *node) sameHere(m *node) bool {
	var x, y node
	if n != nil {
		x = *n
	}
	if m != nil {
		y = *m
	}
	if x.isolated != y.isolated {
		return false
	}
	rules := map[rule]struct{}{}
	for r := range x.rules.all() {
		rules[r] = struct{}{}
	}
	count := 0
	for r := range y.rules.all() {
		if _, ok := rules[r]; !ok {
			return false
		}
		count++
	}
	return count == len(rules)
}

// delta is what is gained and lost.
type delta struct{ gained, lost permissions }

func (p *Preview) compare(whom Whom, name string, tops []string) {
	x, y := p.Before.state, p.After.state
	var was, is roleSet
	defer was.release()
	defer is.release()
	x.whoever(&was, whom, name)
	y.whoever(&is, whom, name)
	difference := func(path string, d delta, of *scope) Difference {
		return Difference{whom, name, path, of.list(d.gained), of.list(d.lost)}
	}
	if d := (delta{is.globals &^ was.globals, was.globals &^ is.globals}); d != (delta{}) {
		p.Globals = append(p.Globals, difference("", d, &x.config.global))
	}
	at := func(path string) delta {
		before := x.evaluate(&was, path, ^permissions(0), nil).granted
		after := y.evaluate(&is, path, ^permissions(0), nil).granted
		return delta{after &^ before, before &^ after}
	}
	if !was.equal(&is) {
		tops = []string{""}
	}
	everywhere(x, y, tops, []string{was.principal}, at, func(path string, d delta) bool {
		p.Paths = append(p.Paths, difference(path, d, &x.config.path))
		return true
	})
}

// everywhere spreads over two states, at the topmost of some paths and below them. Elsewhere the value must be the zero one.
func everywhere[T comparable](x, y *state, tops, names []string, at func(string) T, yield func(string, T) bool) {
	var zero T
	for _, top := range topmost(x.config, tops, names) {
		nodes := []*node{x.tree, y.tree}
		for at := 0; ; {
			segment, end, ok := x.config.separator.next(top, at)
			if !ok {
				break
			}
			nodes, at = x.config.below(nodes, segment, names...), end
		}
		if !spread(x.config, nodes, names, top, zero, at, yield) {
			return
		}
	}
}

// topmost returns paths with names for the variable, sorted, without those below others. What stands for nobody is left
// out.
func topmost(c *config, paths, names []string) (tops []string) {
	sep := string(rune(c.separator))
	var all []string
	for _, path := range paths {
		segments := strings.Split(path, sep)
		i := slices.Index(segments, principalVariable)
		if !c.variables || i < 0 {
			all = append(all, path)
			continue
		}
		for _, name := range names {
			if name != "" && !strings.Contains(name, sep) {
				segments[i] = name
				all = append(all, strings.Join(segments, sep))
			}
		}
	}
	slices.Sort(all) // what is above comes first
	is := map[string]struct{}{}
	for _, path := range all {
		above := path
		_, below := is[""]
		for !below && above != "" {
			_, below = is[above]
			above = above[:max(strings.LastIndex(above, sep), 0)]
		}
		if !below {
			is[path] = struct{}{}
			tops = append(tops, path)
		}
	}
	return tops
}

func (s *state) whoever(set *roleSet, whom Whom, name string) {
	switch whom {
	case AnonymousSessions, OnePrincipal:
		s.held(set, name)
	case OtherPrincipals:
		set.principal = principalVariable // whatever their names are
		for _, id := range s.named {
			set.add(s.role(id))
		}
	}
}

// equal reports whether two sets make no difference to any decision.
func (s *roleSet) equal(o *roleSet) bool {
	if s.defaults != o.defaults || s.len() != o.len() {
		return false
	}
	for i := range s.len() {
		if !o.has(s.at(i)) {
			return false
		}
	}
	return true
}
