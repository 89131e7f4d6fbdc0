package policy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chansec/chansec"
)

// ExcessError says that a change would hand out what its actor does not hold. It is chansec.ErrPermission.
type ExcessError struct {
	Actor       string
	Whom        string   // who would gain it, for people: a principal, a role, or others
	Path        string   // where; empty is everywhere, or nowhere in particular for global permissions
	Permissions []string // what the actor lacks, sorted
}

func (e *ExcessError) Error() string {
	return "policy: " + quote(e.Actor) + " may not hand out what they do not hold: " + e.Whom + " would gain " +
		strings.Join(e.Permissions, " and ") + " on " + quote(e.Path)
}

// Is makes the error chansec.ErrPermission.
func (e *ExcessError) Is(target error) bool { return target == chansec.ErrPermission }

// ceiling returns an ExcessError if anybody has more in another state than here, and the actor does not hold it here. It
// judges by what comes of a change and not by its commands, so that there is no way around it. Roles are looked at
// by themselves as well, since an authenticator may vouch for them.
func (s *state) ceiling(after *state, actor Actor) error {
	var has roleSet
	defer has.release()
	s.held(&has, actor.principal)
	s.vouched(&has, actor.roles)
	holds := func(path string) permissions {
		p := s.evaluate(&has, path, ^permissions(0), nil).granted
		if s.config.delegation && p&s.config.admin != 0 {
			return ^permissions(0)
		}
		return p
	}
	tops := changedPaths(s.config.separator, s.tree, after.tree, "", nil)

	check := func(whom string, was, is *roleSet, skip func(name string) bool) (err error) {
		defer was.release()
		defer is.release()
		if more := is.globals &^ was.globals &^ has.globals; more != 0 {
			return &ExcessError{actor.principal, whom, "", s.config.global.list(more)}
		}
		places := tops
		if !was.equal(is) {
			places = []string{""}
		}
		at := func(path string) permissions {
			return after.evaluate(is, path, ^permissions(0), nil).granted &^
				s.evaluate(was, path, ^permissions(0), nil).granted &^ holds(path)
		}
		names := []string{is.principal}
		if is.principal == principalVariable {
			names = append(names, s.config.namesakes(places, s.tree, after.tree)...)
		}
		for _, name := range names {
			if skip(name) {
				continue
			}
			was.principal, is.principal = name, name
			everywhere(s, after, places, []string{name, actor.principal}, at, func(path string, more permissions) bool {
				if more != 0 {
					err = &ExcessError{actor.principal, whom, path, s.config.path.list(more)}
				}
				return err == nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	nobody := func(string) bool { return false }
	stored := func(name string) bool { // those are looked at by themselves
		return name != principalVariable && (s.principal(name) != nil || after.principal(name) != nil)
	}
	for _, x := range []struct {
		whom Whom
		text string
	}{{AnonymousSessions, "who has no name"}, {OtherPrincipals, "everybody"}} {
		var was, is roleSet
		s.whoever(&was, x.whom, "")
		after.whoever(&is, x.whom, "")
		if err := check(x.text, &was, &is, stored); err != nil {
			return err
		}
	}
	names := append(s.sortedPrincipals(), after.sortedPrincipals()...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		p, q := s.principal(name), after.principal(name)
		if p == q && s.hierarchy == after.hierarchy && len(tops) == 0 {
			continue
		}
		for i, now := range stages(p, q) {
			var was, is roleSet
			if i == 0 { // which both states remember
				s.held(&was, name)
				after.held(&is, name)
			} else {
				s.heldAt(&was, name, now)
				after.heldAt(&is, name, now)
			}
			if err := check(quote(name), &was, &is, nobody); err != nil {
				return err
			}
		}
	}
	for _, r := range after.sortedRoles() {
		if r.allGlobals|r.allDefaults == 0 && !slices.ContainsFunc(r.closed, func(id uint32) bool { return after.role(id).paths > 0 }) {
			continue // it gives nothing
		}
		was, is := roleSet{principal: principalVariable}, roleSet{principal: principalVariable}
		was.only(s.roleNamed(r.name))
		is.only(r)
		if err := check("role "+quote(r.name), &was, &is, nobody); err != nil {
			return err
		}
	}
	return nil
}

// stages returns the times, in Unix nanoseconds, from which principals, perhaps nil, hold something else than before: now, and
// whenever a role ends.
func stages(principals ...*principal) []int64 {
	list := []int64{time.Now().UnixNano()}
	for _, p := range principals {
		for m := range p.current() {
			if m.until != 0 {
				list = append(list, m.until)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// namesakes returns the segments, sorted, that are somewhere beside a variable, on the way to some paths of two trees or
// below them: for whoever is called so, both count.
func (c *config) namesakes(paths []string, trees ...*node) []string {
	if !c.variables {
		return nil
	}
	all := map[string]struct{}{}
	beside := func(nodes []*node, only func(segment string) bool) {
		if !slices.ContainsFunc(nodes, func(n *node) bool { return n.child(principalVariable) != nil }) {
			return
		}
		for _, n := range nodes {
			for segment := range n.children.all() {
				if segment != principalVariable && only(segment) {
					all[segment] = struct{}{}
				}
			}
		}
	}
	var below func(nodes []*node)
	below = func(nodes []*node) {
		beside(nodes, func(string) bool { return true })
		for _, segment := range c.segments(nodes) {
			below(c.below(nodes, segment))
		}
	}
	for _, path := range paths {
		nodes, at := trees, 0
		for {
			segment, end, ok := c.separator.next(path, at)
			if !ok {
				below(nodes)
				break
			}
			beside(nodes, func(s string) bool { return segment == principalVariable || s == segment })
			nodes, at = c.below(nodes, segment), end
		}
	}
	return slices.Sorted(maps.Keys(all))
}
