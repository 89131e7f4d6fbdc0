package policy

import (
	"iter"
	"maps"
	"slices"
)

// WhatCan yields what a session may do, in the order of paths: each path at which it is something else than right above,
// with the permissions, sorted, that hold there and everywhere below, up to the next path that is yielded. The first
// is the root, "", if there is anything.
func (s *Snapshot) WhatCan(who Session) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		var set roleSet
		defer set.release()
		s.state.vouched(&set, who.Roles)
		at := func(path string) permissions { return s.state.evaluate(&set, path, ^permissions(0), nil).granted }
		spread(s.state.config.separator, s.state.tree, s.state.tree, "", 0, at, func(path string, p permissions) bool {
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

// spread walks down two trees at once and yields the paths at which a value is another than right above; above is that of
// the path above the first. Between the paths of either tree no value can change.
func spread[T comparable](sep Separator, x, y *node, path string, above T, at func(string) T, yield func(string, T) bool) bool {
	v := at(path)
	if v != above && !yield(path, v) {
		return false
	}
	for _, segment := range segments(x, y) {
		if !spread(sep, x.below(segment), y.below(segment), sep.join(path, segment), v, at, yield) {
			return false
		}
	}
	return true
}

// below is child for a node that may be nil.
func (n *node) below(segment string) *node {
	if n == nil {
		return nil
	}
	return n.child(segment)
}

// segments returns what lies right below either of two nodes, sorted.
func segments(x, y *node) []string {
	all := map[string]struct{}{}
	for _, n := range []*node{x, y} {
		if n != nil {
			for segment := range n.children.All() {
				all[segment] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}
