package policy

import (
	"iter"
	"slices"
)

// Snapshot is a store at one revision. It never changes, and may be used from many goroutines at once.
type Snapshot struct {
	state *state
}

// View returns the store as it is now, all that it says, to an actor who holds the vocabulary's View permission (diffusion.md
// 8); to others, an AccessError. [Store.Snapshot] is for the program itself, and for what a session may know of itself.
func (s *Store) View(actor Actor) (*Snapshot, error) {
	const operation = "look at the policy"
	if err := actor.reaches(operation); err != nil {
		return nil, err
	}
	is := s.current.Load()
	if err := is.may(actor, s.config.view, operation); err != nil {
		return nil, err
	}
	return &Snapshot{is}, nil
}

// Session is somebody whose roles are exactly these, and those that they include (diffusion.md 1). Its zero value has
// none.
type Session struct {
	Principal string // whom variables stand for; empty is nobody
	Roles     []string
}

// Revision returns the revision of the store that the snapshot is of.
func (s *Snapshot) Revision() uint64 { return s.state.revision }

// Session returns the session of a principal: the roles stored for it, those of all named sessions, and those vouched
// for. The empty name is an anonymous session.
func (s *Snapshot) Session(principal string, vouched ...string) Session {
	roles := append([]string(nil), vouched...)
	if principal == "" {
		roles = append(roles, s.state.namesOf(s.state.anonymous)...)
	} else {
		roles = append(roles, s.state.namesOf(s.state.named)...)
	}
	return Session{principal, append(roles, s.Roles(principal)...)}
}

// PathPermissions returns all that a session may do at a path, sorted.
func (s *Snapshot) PathPermissions(who Session, path string) []string {
	var set roleSet
	defer set.release()
	s.state.session(&set, who)
	return s.state.config.path.list(s.state.evaluate(&set, path, ^permissions(0), nil).granted)
}

// GlobalPermissions returns the global permissions of a session, sorted: those of its roles, and nothing else plays a part
// (diffusion.md 5).
func (s *Snapshot) GlobalPermissions(who Session) []string {
	var set roleSet
	defer set.release()
	s.state.vouched(&set, who.Roles)
	return s.state.config.global.list(set.globals)
}

// Allowed reports whether a session has a path permission at a path. An unknown permission is an error.
func (s *Snapshot) Allowed(who Session, permission, path string) (bool, error) {
	bit, err := s.state.config.path.bit(permission)
	if err != nil {
		return false, err
	}
	var set roleSet
	defer set.release()
	s.state.session(&set, who)
	return s.state.evaluate(&set, path, bit, nil).granted == bit, nil
}

// Roles returns the roles that are stored for a principal and have not ended, sorted.
func (s *Snapshot) Roles(principal string) []string {
	var ids []uint32
	for m := range s.state.memberships(principal) {
		ids = append(ids, m.role)
	}
	return s.state.namesOf(ids)
}

// Script returns the commands that make the store from nothing, in a canonical order: equal stores have equal scripts.
// [Store.Restore] reads it.
func (s *Snapshot) Script() string { return s.state.script() }

// session makes a set of the roles of a session.
func (s *state) session(set *roleSet, who Session) {
	set.call(who.Principal)
	s.vouched(set, who.Roles)
}

// Rule says that a role has an assignment at a path, or, where the path is empty, default path permissions.
type Rule struct{ Role, Path string }

// Assigned returns what is assigned to a role at that very path, and what its rows there deny, both sorted. It reports
// whether there is any assignment.
func (s *Snapshot) Assigned(role, path string) (permissions, denied []string, ok bool) {
	r := s.state.roleNamed(role)
	path, err := s.state.config.normal(path)
	if r == nil || err != nil {
		return nil, nil, false
	}
	n := s.state.tree.find(s.state.config.separator, path)
	if n == nil {
		return nil, nil, false
	}
	x, ok := n.rules.get(r.id)
	if !ok {
		return nil, nil, false
	}
	return s.state.config.path.list(x.allow), s.state.config.path.list(x.deny), true
}

// Rules yields the rules of all roles, by path and then by role; defaults come first.
func (s *Snapshot) Rules() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for _, r := range s.state.sortedRoles() {
			if r.defaults != 0 && !yield(Rule{Role: r.name}) {
				return
			}
		}
		for path, n := range s.state.tree.all(s.state.config.separator, "") {
			var names []string
			for r := range n.rules.all() {
				names = append(names, s.state.role(r.role).name)
			}
			slices.Sort(names)
			for _, name := range names {
				if !yield(Rule{name, path}) {
					return
				}
			}
		}
	}
}
