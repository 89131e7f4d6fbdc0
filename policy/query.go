package policy

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// WhatCan yields what a session may do, in the order of paths: each path at which it is something else than right above,
// with the permissions, sorted, that hold there and everywhere below, up to the next path that is yielded. The first
// is the root, "", if there is anything.
func (s *Snapshot) WhatCan(who Session) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		var set roleSet
		defer set.release()
		s.state.session(&set, who)
		at := func(path string) permissions { return s.state.evaluate(&set, path, ^permissions(0), nil).granted }
		spread(s.state.config, []*node{s.state.tree}, []string{who.Principal}, "", 0, at, func(path string, p permissions) bool {
			return yield(path, s.state.config.path.list(p))
		})
	}
}

// WhoCan yields the principals, of those for whom roles are stored, who have a path permission at a path, sorted. An
// unknown permission is an error.
func (s *Snapshot) WhoCan(permission, path string) (iter.Seq[string], error) {
	bit, err := s.state.config.path.bit(permission)
	if err != nil {
		return nil, err
	}
	return func(yield func(string) bool) {
		for _, name := range s.state.sortedPrincipals() {
			var set roleSet
			s.state.held(&set, name)
			has := s.state.evaluate(&set, path, bit, nil).granted == bit
			set.release()
			if has && !yield(name) {
				return
			}
		}
	}, nil
}

// spread walks down trees at once, from the nodes of one path, and yields the paths at which a value is another than right
// above; above is that of the path above the first. Between the paths of the trees no value can change. For variables
// stand the names.
func spread[T comparable](c *config, nodes []*node, names []string, path string, above T, at func(string) T, yield func(string, T) bool) bool {
	v := at(path)
	if v != above && !yield(path, v) {
		return false
	}
	for _, segment := range c.segments(nodes, names...) {
		if !spread(c, c.below(nodes, segment, names...), names, c.separator.join(path, segment), v, at, yield) {
			return false
		}
	}
	return true
}

// segments returns what lies right below any of some nodes, sorted.
func (c *config) segments(nodes []*node, names ...string) []string {
	all := map[string]struct{}{}
	for _, n := range nodes {
		for segment := range n.children.all() {
			if !c.variables || segment != principalVariable {
				all[segment] = struct{}{}
				continue
			}
			for _, name := range names {
				if name != "" && !strings.Contains(name, string(rune(c.separator))) {
					all[name] = struct{}{}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// below returns the nodes of a segment below some nodes.
func (c *config) below(nodes []*node, segment string, names ...string) (list []*node) {
	for _, n := range nodes {
		if x := n.child(segment); x != nil && (!c.variables || segment != principalVariable) {
			list = append(list, x)
		}
		if c.variables && slices.Contains(names, segment) {
			if x := n.child(principalVariable); x != nil {
				list = append(list, x)
			}
		}
	}
	return list
}
