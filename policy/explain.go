package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chansec/chansec"
)

// Explanation is a decision with its reasons. It is made by the code that decides, which notes what it comes by.
type Explanation struct {
	Allowed  bool
	Revision uint64
	Path     string   // without empty segments, where the separator drops them
	Needed   []string // the permissions that were asked for, sorted
	Granted  []string // those among them that are held

	Basis     Basis
	DecidedBy string   // the path whose assignments or isolation decided; "" where none did
	Because   []Reason // the roles that decided, by name: at DecidedBy, or by their defaults
	Passed    []Passed // every path on the way down that has a rule of the session's roles, or is isolated

	// Missing is, for a denial, one command that would turn it into a yes, in the language of [Tx.Run], or empty if no
	// single one would. It was tried out. It is the first that helps of these: more for a role that decided, the end of a
	// denial, something at the path or above it for a role that is held, another list of roles.
	Missing string
}

// Reason is one role's part in a decision.
type Reason struct {
	Role        string
	Through     []string // from a role that is held, by inclusion, to Role; just Role if it is held itself
	Permissions []string // of the role at that path, or its defaults; sorted
	Denied      []string // what its rows there deny; sorted
}

// Passed is a path that a decision came by.
type Passed struct {
	Path     string
	Isolated bool
	Rules    []Reason // of the session's roles; none for a path that is isolated only
}

// Explain explains what [Snapshot.Allowed] says. Permissions that are unknown are an error; several are all needed.
func (s *Snapshot) Explain(who Session, path string, permissions ...string) (Explanation, error) {
	needed, err := s.state.config.path.set(permissions)
	if err == nil && needed == 0 {
		err = refuse(InvalidArgument, "permissions", "none", "at least one")
	}
	if err != nil {
		return Explanation{}, err
	}
	return s.state.explain(asking{principal: who.Principal, roles: who.Roles}, needed, path), nil
}

// Explain explains what Decide says to a principal that does an operation on a channel.
func (a *Authorizer) Explain(p chansec.Principal, op chansec.Operation, channelID string) (Explanation, error) {
	s := a.store.current.Load()
	needed := s.config.needs(op)
	if needed == 0 {
		return Explanation{}, refuse(InvalidArgument, "operation", string(op), "one of chansec's Op constants")
	}
	who := asking{stored: true, principal: p.SystemID, roles: p.Roles}
	if a.storedOnly {
		who.roles = nil
	}
	return s.explain(who, needed, channelID), nil
}

// asking is whom an explanation is about.
type asking struct {
	stored    bool // the roles that are stored for the principal count
	principal string
	roles     []string
}

func (s *state) rolesOf(who asking, set *roleSet) {
	set.call(who.principal)
	if who.stored {
		s.held(set, who.principal)
	}
	s.vouched(set, who.roles)
}

// heldNames returns the names of the roles that somebody holds without inclusion, sorted.
func (s *state) heldNames(who asking) []string {
	names := slices.Clone(who.roles)
	if who.stored && who.principal == "" {
		names = append(names, s.namesOf(s.anonymous)...)
	} else if who.stored {
		names = append(names, s.namesOf(s.named)...)
		for m := range s.memberships(who.principal) {
			names = append(names, s.role(m.role).name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *state) explain(who asking, needed permissions, path string) Explanation {
	var set roleSet
	defer set.release()
	s.rolesOf(who, &set)
	var trace []step
	found := s.evaluate(&set, path, needed, &trace)
	x := Explanation{
		Allowed: found.granted == needed, Revision: s.revision, Path: s.config.separator.clean(path),
		Needed: s.config.path.list(needed), Granted: s.config.path.list(found.granted), Basis: found.basis,
	}
	held := s.heldNames(who)
	for _, t := range trace {
		p := Passed{Path: s.config.separator.clean(path[:t.end])}
		for _, n := range t.nodes {
			p.Isolated = p.Isolated || n.isolated
			for i := range set.len() {
				if r, ok := n.rules.get(set.at(i)); ok {
					p.Rules = append(p.Rules, s.reason(held, r.role, r.allow, r.deny))
				}
			}
		}
		sortReasons(p.Rules)
		if len(p.Rules) > 0 || p.Isolated {
			x.Passed = append(x.Passed, p)
		}
		if t.end == found.end && (found.basis == Assigned || found.basis == IsolatedPath) {
			x.DecidedBy, x.Because = p.Path, p.Rules
		}
	}
	if found.basis == Defaults {
		for i := range set.len() {
			if r := s.role(set.at(i)); r.defaults != 0 {
				x.Because = append(x.Because, s.reason(held, r.id, r.defaults, 0))
			}
		}
		sortReasons(x.Because)
	}
	if !x.Allowed {
		x.Missing = s.missing(who, held, needed, x)
	}
	return x
}

func sortReasons(list []Reason) {
	slices.SortFunc(list, func(x, y Reason) int { return strings.Compare(x.Role, y.Role) })
}

func (s *state) reason(held []string, id uint32, allow, deny permissions) Reason {
	r := s.role(id)
	return Reason{r.name, s.chain(held, id), s.config.path.list(allow), s.config.path.list(deny)}
}

func contains(sorted []string, name string) bool {
	_, ok := slices.BinarySearch(sorted, name)
	return ok
}

// chain returns a shortest way from a role that is held to one that it includes; among several, the first by name.
func (s *state) chain(held []string, to uint32) []string {
	if name := s.role(to).name; contains(held, name) {
		return []string{name}
	}
	type way struct {
		id   uint32
		from *way
	}
	seen := map[uint32]bool{}
	var ways []*way
	for _, name := range held {
		if r := s.roleNamed(name); r != nil && !seen[r.id] {
			seen[r.id] = true
			ways = append(ways, &way{r.id, nil})
		}
	}
	for i := 0; i < len(ways); i++ {
		w := ways[i]
		if w.id == to {
			var names []string
			for ; w != nil; w = w.from {
				names = append(names, s.role(w.id).name)
			}
			slices.Reverse(names)
			return names
		}
		for _, name := range s.namesOf(s.role(w.id).includes) {
			if id := s.roleNamed(name).id; !seen[id] {
				seen[id] = true
				ways = append(ways, &way{id, w})
			}
		}
	}
	return nil
}

// String says it in a few lines, for people.
func (x Explanation) String() string {
	var b strings.Builder
	verdict := "denied"
	if x.Allowed {
		verdict = "allowed"
	}
	fmt.Fprintf(&b, "%s: %s on %q at revision %d\n", verdict, strings.Join(x.Needed, " and "), x.Path, x.Revision)
	switch {
	case x.Basis == Assigned:
		fmt.Fprintf(&b, "decided by what is assigned at %q", x.DecidedBy)
	case x.Basis == IsolatedPath:
		fmt.Fprintf(&b, "decided by the isolated path %q, where the session's roles have nothing", x.DecidedBy)
	case x.Basis == Defaults:
		b.WriteString("decided by default path permissions")
	default:
		b.WriteString("no rule of the session's roles reaches that path")
	}
	for _, r := range x.Because {
		fmt.Fprintf(&b, "\n  %s: [%s]", strings.Join(r.Through, " > "), strings.Join(r.Permissions, " "))
		if len(r.Denied) > 0 {
			fmt.Fprintf(&b, ", denied [%s]", strings.Join(r.Denied, " "))
		}
	}
	if x.Missing != "" {
		fmt.Fprintf(&b, "\nmissing: %s", x.Missing)
	}
	return b.String()
}
