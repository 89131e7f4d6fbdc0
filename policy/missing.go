package policy

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// Bounds of the search for what is missing.
const (
	mostCandidates = 64   // roles that might be given to somebody, or of which a rule might be another
	mostTries      = 1024 // commands
)

// search looks for the one command after which a denial is a yes.
type search struct {
	*state
	who    asking
	needed permissions
	path   string
	tries  int
	found  string // the command
}

// missing returns the first command, of those that come to mind, after which the decision is a yes.
//
// Nothing but the roles of the session and their rules on the way to the path counts, so that there are three sorts of
// commands: rules of a role that is held, denials of one, and lists of roles. Where the nearest assignment counts, the
// first helps everybody who has a role at all. What of a list has to be there is one role for each permission, whose own
// inclusions do no harm, since what is included by others is too; all else in it is kept as far as that works.
func (s *state) missing(who asking, held []string, needed permissions, x Explanation) string {
	f := &search{state: s, who: who, needed: needed, path: x.Path}
	_ = !s.config.separator.nobodys(x.Path) && (f.more(held, x) || f.lists(x))
	return f.found
}

// try does one command, and reports whether it is the one.
func (f *search) try(command func(*Tx) error) bool {
	if f.tries++; f.tries > mostTries {
		return false
	}
	tx := f.begin(Root())
	tx.log = &lines{}
	if command(tx) != nil || tx.size > max(f.size, f.config.maxSize) {
		return false
	}
	var set roleSet
	defer set.release()
	tx.rolesOf(f.who, &set)
	if tx.evaluate(&set, f.path, f.needed, nil).granted != f.needed {
		return false
	}
	f.found = tx.log.String()
	return true
}

// more tries what gives a role that is held more, or denies it less.
func (f *search) more(held []string, x Explanation) bool {
	want := f.config.path.list(f.needed)
	because := x.Because[:min(len(x.Because), mostCandidates)]
	if x.Basis == Assigned {
		for _, r := range because {
			if f.try(func(tx *Tx) error { return tx.Grant(r.Role, x.DecidedBy, want...) }) {
				return true
			}
		}
		for _, r := range because {
			left := slices.DeleteFunc(slices.Clone(r.Denied), func(p string) bool { return slices.Contains(want, p) })
			for _, path := range f.spellings(x.DecidedBy) {
				if len(r.Denied) > 0 && f.try(func(tx *Tx) error { return tx.SetPathDenials(r.Role, path, left...) }) {
					return true
				}
			}
		}
	}
	i := slices.IndexFunc(held, func(name string) bool { return checkName("role", name) == nil })
	if i < 0 {
		return false
	}
	// Any role that is held will do, at the longest path that can have a rule; where another decides that is above, above it.
	for path := f.path; path != ""; path = path[:max(strings.LastIndexByte(path, byte(f.config.separator)), 0)] {
		if f.try(func(tx *Tx) error { return tx.Grant(held[i], path, want...) }) {
			return true
		}
	}
	role, has := held[i], permissions(0)
	if x.Basis == Defaults {
		role = because[0].Role
		has = f.roleNamed(role).defaults
	}
	return f.try(func(tx *Tx) error { return tx.SetDefaultPathPermissions(role, f.config.path.list(has|f.needed)...) })
}

// spellings returns the paths that a rule may have been assigned at which was found at a path.
func (f *search) spellings(path string) []string {
	list := []string{path}
	if f.config.variables && f.who.principal != "" {
		segments := strings.Split(path, string(rune(f.config.separator)))
		for i, s := range segments {
			if s == f.who.principal {
				other := slices.Clone(segments)
				other[i] = principalVariable
				list = append(list, strings.Join(other, string(rune(f.config.separator))))
			}
		}
	}
	return list
}

// lists tries other lists of roles: those of the principal, those that the roles of the session include, and those of all
// sessions of its kind.
func (f *search) lists(x Explanation) bool {
	var set roleSet
	defer set.release()
	f.rolesOf(f.who, &set)
	gifts := f.gifts(&set)
	if f.who.stored && f.who.principal != "" {
		var stored []uint32
		ends := false
		for m := range f.memberships(f.who.principal) {
			stored = append(stored, m.role)
			ends = ends || m.until != 0
		}
		if !ends && f.list(stored, gifts, func(tx *Tx, roles []string) error { return tx.AssignRoles(f.who.principal, roles...) }) {
			return true
		}
		// Where a role ends, it is to end still.
		for _, gift := range gifts {
			if ends && len(gift) == 1 && f.try(func(tx *Tx) error { return tx.AssignRoleUntil(f.who.principal, f.role(gift[0]).name, time.Time{}) }) {
				return true
			}
		}
	}
	if len(x.Because) > 0 && x.Basis == Assigned { // somebody is denied it
		for i := range set.len() {
			r := f.role(set.at(i))
			if len(r.includes) > 0 && f.list(r.includes, gifts, func(tx *Tx, roles []string) error { return tx.SetRoleIncludes(r.name, roles...) }) {
				return true
			}
		}
	}
	switch {
	case !f.who.stored:
		return false
	case f.who.principal == "":
		return f.list(f.anonymous, gifts, func(tx *Tx, roles []string) error { return tx.SetRolesForAnonymousSessions(roles...) })
	}
	return f.list(f.named, gifts, func(tx *Tx, roles []string) error { return tx.SetRolesForNamedSessions(roles...) })
}

// list tries a list with each of some gifts: with all that it is, with what of it denies nothing that is needed, and with
// nothing else.
func (f *search) list(is []uint32, gifts [][]uint32, set func(*Tx, []string) error) bool {
	harmless := slices.DeleteFunc(slices.Clone(is), f.denies)
	keeps := [][]uint32{is}
	if len(harmless) < len(is) {
		keeps = append(keeps, harmless)
	}
	if len(is) > 0 && f.config.denyRows {
		keeps = append(keeps, nil)
	}
	for _, keep := range keeps {
		for _, gift := range append([][]uint32{nil}, gifts...) {
			roles := slices.Concat(keep, gift)
			slices.Sort(roles)
			if f.try(func(tx *Tx) error { return set(tx, f.namesOf(slices.Compact(roles))) }) {
				return true
			}
		}
	}
	return false
}

// denies reports whether a role, or one that it includes, denies something of what is needed, anywhere on the way.
func (f *search) denies(id uint32) bool {
	var set roleSet
	defer set.release()
	set.add(f.role(id))
	for n := range f.way() {
		if _, deny, _ := n.rules.of(&set); deny&f.needed != 0 {
			return true
		}
	}
	return false
}

// way yields the nodes on the way to the path, but for the root.
func (f *search) way() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		w := walk{node: f.tree, principal: f.who.principal}
		for at := 0; ; {
			segment, end, ok := f.config.separator.next(f.path, at)
			if !ok || !w.down(segment, f.config.variables) {
				return
			}
			for _, n := range w.nodes() {
				if !yield(n) {
					return
				}
			}
			at = end
		}
	}
}

// gifts returns the roles, nearest first, that have all that is needed somewhere on the way, or by default; and, where it
// takes more than one, those that have it together.
func (f *search) gifts(set *roleSet) (gifts [][]uint32) {
	var levels [][]uint32 // from the top
	budget := mostCandidates
	level := func(gives func(*roleRecord) permissions, ids []uint32) {
		slices.SortFunc(ids, func(x, y uint32) int {
			if xAll, yAll := f.needed&^gives(f.role(x)) == 0, f.needed&^gives(f.role(y)) == 0; xAll != yAll {
				if xAll { // those that have all of it first
					return -1
				}
				return 1
			}
			return strings.Compare(f.role(x).name, f.role(y).name)
		})
		ids = ids[:min(len(ids), budget)]
		budget -= len(ids)
		levels = append(levels, ids)
	}
	var byDefault []uint32
	for _, r := range f.sortedRoles() {
		if r.allDefaults&f.needed != 0 {
			byDefault = append(byDefault, r.id)
		}
	}
	var nodes []*node
	for n := range f.way() {
		nodes = append(nodes, n)
	}
	slices.Reverse(nodes)
	for _, n := range nodes {
		var ids []uint32
		for r := range n.rules.all() {
			if r.allow&f.needed != 0 {
				ids = append(ids, r.role)
			}
		}
		level(func(r *roleRecord) permissions { x, _ := n.rules.get(r.id); return x.allow }, ids)
	}
	level(func(r *roleRecord) permissions { return r.allDefaults }, byDefault)
	var all []uint32
	for _, ids := range levels {
		for _, id := range ids {
			gifts = append(gifts, []uint32{id})
		}
		all = append(all, ids...)
	}
	if f.config.inheritance == AnyAncestor {
		levels = [][]uint32{all}
	}
	for _, ids := range levels {
		gifts = append(gifts, f.together(set, ids)...)
	}
	return gifts
}

// together returns roles that have what is needed when each of them is held besides, if it takes several.
func (f *search) together(held *roleSet, ids []uint32) [][]uint32 {
	var gift []uint32
	for bit := permissions(1); bit != 0 && bit <= f.needed; bit <<= 1 {
		if f.needed&bit == 0 {
			continue
		}
		i := slices.IndexFunc(ids, func(id uint32) bool {
			set := roleSet{principal: f.who.principal}
			defer set.release()
			for i := range held.len() {
				set.add(f.role(held.at(i)))
			}
			set.add(f.role(id))
			return f.evaluate(&set, f.path, bit, nil).granted == bit
		})
		if i < 0 {
			return nil
		}
		gift = append(gift, ids[i])
	}
	slices.Sort(gift)
	if gift = slices.Compact(gift); len(gift) < 2 {
		return nil
	}
	return [][]uint32{gift}
}
