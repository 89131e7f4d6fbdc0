package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/chansec/chansec"
)

// Answer is what may become of a wildcard subscription.
type Answer uint8

// The answers.
const (
	Reject Answer = iota // nothing that the pattern matches is granted
	Narrow               // exactly the patterns of the Coverage are granted
	Filter               // what is granted is no union of patterns: decide at every delivery
)

func (a Answer) String() string { return [...]string{"reject", "narrow", "filter"}[a] }

// Coverage says which part of a pattern is granted. Its zero value is nothing.
type Coverage struct {
	Answer   Answer
	Patterns []Pattern // for Narrow: parts of the pattern that do not overlap; the pattern itself if all of it is granted
}

// mostParts is into how many patterns one is narrowed. Beyond that it is to be filtered.
const mostParts = 1024

// Cover says which part of a pattern a principal may subscribe to: what is delivered then is what would be granted path by
// path, and never more, as long as the store stays as it is. The syntax must have the store's separator.
//
// Where subscribing takes a permission of its own, as in Diffusion, it must hold for all that the pattern matches, or
// else the answer is Reject (diffusion.md 6.3); the rest is a matter of Read.
func (a *Authorizer) Cover(p chansec.Principal, pattern Pattern) (Coverage, error) {
	s := a.store.current.Load()
	if pattern.syntax == 0 || pattern.separator() != s.config.separator {
		return Coverage{}, refuse(InvalidArgument, "pattern", pattern.String(), "a syntax with the separator of the store")
	}
	var set roleSet
	defer set.release()
	s.held(&set, p.SystemID)
	if !a.storedOnly {
		s.vouched(&set, p.Roles)
	}
	if ask := s.config.subscribe &^ s.config.read; ask != 0 {
		if c := s.cover(&set, pattern, ask); c.extent != whole {
			return Coverage{}, nil
		}
	}
	switch c := s.cover(&set, pattern, s.config.read); c.extent {
	case whole:
		return Coverage{Narrow, []Pattern{pattern}}, nil
	case part:
		return Coverage{Narrow, c.parts}, nil
	case mixed:
		return Coverage{Answer: Filter}, nil
	}
	return Coverage{}, nil
}

// extent is how much of a pattern is granted.
type extent uint8

const (
	none  extent = iota
	whole        // all of it
	part         // exactly some patterns
	mixed        // something that no patterns are
)

type cover struct {
	extent extent
	parts  []Pattern // for part
}

// coverer looks at the part of the tree that a pattern may match.
type coverer struct {
	*state
	set     *roleSet
	pattern Pattern
	wanted  permissions
	budget  int
}

func (s *state) cover(set *roleSet, pattern Pattern, wanted permissions) cover {
	c := &coverer{s, set, pattern, wanted, mostParts}
	w := walk{node: s.tree, principal: set.principal}
	return c.at(w, true, s.top(set, wanted), pattern.segments, pattern.rest, nil)
}

// at covers what of the pattern lies below the path of a walk; there is false if the tree has nothing there. left and more
// are what remains of the pattern, before are the segments that led here.
func (c *coverer) at(w walk, there bool, v standing, left []patternSegment, more rest, before []patternSegment) cover {
	granted := v.granted == c.wanted
	switch {
	case !there || len(left) == 0 && more == nothingMore:
		return all(granted)
	case len(left) > 0 && left[0].kind == literal:
		below, v, there := c.down(w, v, left[0].text)
		return c.at(below, there, v, left[1:], more, with(before, left[0]))
	}
	return c.children(w, v, left, more, before)
}

func all(granted bool) cover {
	if granted {
		return cover{extent: whole}
	}
	return cover{}
}

// children covers a wildcard. Of the segments that it matches, those in the tree are looked at one by one; to all others,
// and there are always others, what holds above applies.
func (c *coverer) children(w walk, v standing, left []patternSegment, more rest, before []patternSegment) cover {
	granted := v.granted == c.wanted
	is := patternSegment{kind: anySegment}
	after := left
	if len(left) > 0 {
		is, after = left[0], left[1:]
	}
	if len(left) == 0 {
		more = anythingMore // one segment is there now
	}
	whollyGranted := true
	var parts []Pattern
	segments, few := c.segments(&w, is)
	if !few {
		return cover{extent: mixed}
	}
	for _, segment := range segments {
		if c.budget--; c.budget < 0 {
			return cover{extent: mixed}
		}
		below, v, there := c.down(w, v, segment)
		at := with(before, patternSegment{literal, segment})
		switch x := c.at(below, there, v, after, more, at); x.extent {
		case whole:
			parts = append(parts, c.parts(at, after, more)...)
		case mixed:
			return x
		case part:
			parts = append(parts, x.parts...)
			whollyGranted = false
		case none:
			whollyGranted = false
		}
	}
	switch {
	case granted && whollyGranted && (len(before) > 0 || c.config.separator == Slash):
		return cover{extent: whole}
	case granted: // all but some; below the root, also but the names that begin with a dot
		return cover{extent: mixed}
	case len(parts) > mostParts:
		return cover{extent: mixed}
	case len(parts) > 0:
		return cover{part, parts}
	}
	return cover{}
}

// segments returns what of a wildcard lies right below a walk, sorted, unless that is more than there is a budget for.
func (c *coverer) segments(w *walk, is patternSegment) (list []string, few bool) {
	all := map[string]struct{}{}
	for _, n := range w.nodes() {
		for segment := range n.children.all() {
			if c.config.variables && segment == principalVariable {
				if segment = w.principal; segment == "" || strings.IndexByte(segment, byte(c.config.separator)) >= 0 {
					continue
				}
			}
			if is.kind == begins && !strings.HasPrefix(segment, is.text) {
				continue
			}
			if all[segment] = struct{}{}; len(all) > c.budget {
				return nil, false
			}
		}
	}
	return slices.Sorted(maps.Keys(all)), true
}

// parts writes what begins with segments of the tree, and goes on as the pattern does, as patterns of its syntax.
func (c *coverer) parts(at, after []patternSegment, more rest) []Pattern {
	segments := slices.Concat(at, after)
	switch {
	case more == nothingMore || c.pattern.syntax == MQTTFilter:
		return []Pattern{{c.pattern.syntax, segments, more}}
	case c.pattern.syntax == WAMPPrefix:
		return []Pattern{{c.pattern.syntax, segments, nothingMore}, {c.pattern.syntax, with(segments, patternSegment{kind: begins}), anythingMore}}
	case len(after) > 0: // the rest is still that of the pattern
		return []Pattern{{c.pattern.syntax, segments, more}}
	}
	if more == somethingMore {
		return []Pattern{{c.pattern.syntax, segments, somethingMore}}
	}
	return []Pattern{{c.pattern.syntax, segments, nothingMore}, {c.pattern.syntax, segments, somethingMore}}
}

// with is a copy of segments with one more.
func with(before []patternSegment, s patternSegment) []patternSegment {
	return append(slices.Clip(before), s)
}

// down goes one segment further.
func (c *coverer) down(w walk, v standing, segment string) (walk, standing, bool) {
	if !w.down(segment, c.config.variables) {
		return w, v, false
	}
	v, _ = c.further(v, c.set, &w, c.wanted)
	return w, v, true
}
