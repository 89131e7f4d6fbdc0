package policy

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chansec/chansec/internal/hamt"
)

// FindingKind is what a lint finds.
type FindingKind uint8

// The kinds, in the order in which Lint returns them. Everybody is whom [Snapshot.Lint] looks at.
const (
	// OverBroad: a role that all sessions with a principal, or all without, have by the default role lists gives the
	// vocabulary's Write or Admin on a path without a variable, or any default path permission, or the global Modify; or
	// any role gives Admin on a path of one segment, or by default.
	OverBroad FindingKind = iota + 1
	// Contradictory: a role has rows that allow and rows that deny the same permission at the same path. Those that
	// allow mean nothing.
	Contradictory
	// HidingRole: with NearestAssignment, a role that takes something away from somebody (diffusion.md 6.1): its assignment
	// at the path hides what another of the session's roles gives higher up. Without the role, and those that are
	// held by it alone, the session would have Permissions there as well. There is one finding for each assignment, about
	// the first session.
	HidingRole
	// Sealed: an isolated path that nobody can reach: nothing is assigned there or below it to a role that is held.
	Sealed
	// Unheld: a role that gives something, and that nobody holds: it is in no default role list, nor held by a principal
	// until now or later, nor included by a role that is.
	Unheld
	// Unreachable: an assignment with the variable, none of whose holders has a name that can be a segment.
	Unreachable
	// Shadowed: with AnyAncestor, rows that decide for none of their holders: a shorter path, or a denial at the same one,
	// always decides before them. (With NearestAssignment an assignment always decides at its own path; what does not
	// matter there is Redundant.)
	Shadowed
	// Redundant: an assignment, default path permissions, or rows whose removal changes no decision for anybody. Each is
	// so by itself: two of them may be so because of each other.
	Redundant
	// IdleIsolation: an isolated path whose deisolation changes no decision for anybody.
	IdleIsolation
	// EmptyRole: a name in a default role list, among the roles of a principal or the inclusions of a role that, with all
	// that it includes, gives nothing, and hides nothing either.
	EmptyRole
	// Unfinished: the store is of the kind for which it takes too long to find everything. What there is besides is true.
	Unfinished
)

func (k FindingKind) String() string {
	return [...]string{"none", "over-broad", "contradictory", "hiding role", "sealed", "unheld", "unreachable", "shadowed", "redundant",
		"idle isolation", "empty role", "unfinished"}[k]
}

// Finding is something in a store that may be a mistake.
type Finding struct {
	Kind FindingKind
	Role string // empty for what is about a path alone
	Path string // empty for default path permissions, and for what is about a role as a whole
	// Session is the one that a HidingRole takes something from.
	Session     Session
	Permissions []string // those that it is about, sorted; all of an assignment's if it is about all of it
	Message     string   // one line, for people
	// Fix is the one command, in the language of [Tx.Run], that ends it, where there is one that asks for no decision. For
	// Contradictory, Shadowed, Redundant, IdleIsolation and EmptyRole it changes no decision for anybody. For
	// HidingRole it gives the session what was hidden, and to others who hold the same roles; see [Store.Preview].
	Fix string
}

// String is the message, with what to do about it.
func (f Finding) String() string {
	text := f.Kind.String() + ": " + f.Message
	if f.Fix != "" {
		text += "; to end it: " + f.Fix
	}
	return text
}

// Lint looks for what may be a mistake in a store, and returns it by kind, role, path and permissions.
//
// It looks at everybody whom the store knows: sessions without a principal, those with one that is not stored, and each
// stored principal with the roles that it has now and, where grants end, after each of them; and at the sessions that are
// given, for roles that authenticators vouch for. It knows nothing of others: where roles come from authenticators, they
// are unheld unless they are in such a session.
//
// With variables, assignments next to or below a path of which both a name and the variable are the last segment are not
// said to be redundant or shadowed, and isolated paths there neither sealed nor idle.
//
// The work is bounded: principals with the same roles are looked at once, and there are at most sixteen walks along a path
// for each thing in the store to find what matters to nobody, and as many again to find what hides. Where that is not
// enough, the last finding says so.
func (s *Snapshot) Lint(also ...Session) []Finding {
	l := &linter{state: s.state, rulesOf: map[uint32][]*linted{}, holder: map[uint32]string{}}
	l.collect(&link{node: l.tree}, "", false, false)
	l.group(also)
	l.idle(l.budget())
	l.hiding(l.budget())
	for _, x := range l.rules {
		l.reportRule(x)
	}
	l.reportIsolated()
	l.reportRoles()
	slices.SortFunc(l.findings, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), strings.Compare(x.Role, y.Role), strings.Compare(x.Path, y.Path), slices.Compare(x.Permissions, y.Permissions),
			strings.Compare(x.Message, y.Message))
	})
	return l.findings
}

// linter is a lint in the making.
type linter struct {
	*state
	rules    []*linted // in the order of the tree
	rulesOf  map[uint32][]*linted
	isolated []*lintedIsolation
	groups   []group
	holder   map[uint32]string // of a role, the first principal that holds it itself
	held     map[uint32]bool   // by anybody, also by inclusion
	cut      bool              // not everybody was looked at, so that nothing can be said about all
	findings []Finding
}

// link is a node with those above it.
type link struct {
	node *node
	up   *link
}

// linted is a rule.
type linted struct {
	rule
	path     string
	at       *link
	variable bool // in the path
	beside   bool // a name and the variable are at the same place: what holds there is not looked into
	applies  bool // to anybody
	matters  bool // to somebody, as a whole; where the nearest assignment counts
	// Where any ancestor counts: what decides for nobody so far, and what can be left out.
	deadAllow, deadDeny, spareAllow, spareDeny permissions
	hides                                      *hidden
}

// hidden is what a rule hides from a group.
type hidden struct {
	from *group
	what permissions
	by   *roleRecord // the role that gives it, or the first of some, higher up
	has  permissions // of that role there
}

type lintedIsolation struct {
	path             string
	at               *link
	variable, beside bool
	matters          bool
	from, to         int // the rules at and below it
}

// collect goes through the tree.
func (l *linter) collect(at *link, path string, variable, beside bool) {
	var here []rule
	for r := range at.node.rules.all() {
		here = append(here, r)
	}
	slices.SortFunc(here, func(x, y rule) int { return strings.Compare(l.role(x.role).name, l.role(y.role).name) })
	from := len(l.rules)
	for _, r := range here {
		x := &linted{rule: r, path: path, at: at, variable: variable, beside: beside,
			deadAllow: r.allow, deadDeny: r.deny, spareAllow: r.allow, spareDeny: r.deny}
		l.rules = append(l.rules, x)
		l.rulesOf[r.role] = append(l.rulesOf[r.role], x)
	}
	segments := l.config.segments([]*node{at.node}, principalVariable)
	for _, segment := range segments {
		v := l.config.variables && segment == principalVariable
		mixed := len(segments) > 1 && l.config.variables && at.node.child(principalVariable) != nil
		l.collect(&link{at.node.child(segment), at}, l.config.separator.join(path, segment), variable || v, beside || mixed)
	}
	if at.node.isolated {
		l.isolated = append(l.isolated, &lintedIsolation{path: path, at: at, variable: variable, beside: beside, from: from, to: len(l.rules)})
	}
}

// group is sessions that have the same roles.
type group struct {
	whom      Whom
	name      string // of the first
	others    int    // how many there are besides
	roles     []uint32
	asSegment bool // one of them has a name that can be a segment, and it is that of the first
}

// group finds out who there is.
func (l *linter) group(also []Session) {
	l.groups = []group{{whom: AnonymousSessions, roles: l.anonymous}, {whom: OtherPrincipals, roles: l.named, asSegment: true}}
	places := map[string]int{}
	add := func(name string, roles []uint32) {
		slices.Sort(roles)
		roles = slices.Compact(roles)
		var key []byte
		for _, id := range roles {
			key = append(key, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
		}
		asSegment := name != "" && !strings.Contains(name, string(rune(l.config.separator)))
		if i, ok := places[string(key)]; !ok {
			places[string(key)] = len(l.groups)
			l.groups = append(l.groups, group{OnePrincipal, name, 0, roles, asSegment})
		} else if g := &l.groups[i]; g.name != name {
			if g.others++; asSegment && !g.asSegment {
				g.name, g.asSegment = name, true
			}
		}
	}
	now := time.Now().UnixNano()
	for _, name := range l.sortedPrincipals() {
		p, _ := l.principals.Get(hashText(name), name)
		at := []int64{now}
		for _, m := range p.holds {
			if _, ok := l.holder[m.role]; !ok {
				l.holder[m.role] = name
			}
			if m.until > now {
				at = append(at, m.until)
			}
		}
		slices.Sort(at)
		for _, t := range slices.Compact(at) {
			roles := slices.Clone(l.named)
			for _, m := range p.holds {
				if m.until == 0 || m.until > t {
					roles = append(roles, m.role)
				}
			}
			add(name, roles)
		}
	}
	for _, x := range also {
		var roles []uint32
		for _, name := range x.Roles {
			if r := l.roleNamed(name); r != nil {
				roles = append(roles, r.id)
			}
		}
		add(x.Principal, roles)
	}
}

// budget is how many steps one part of the work may take.
func (l *linter) budget() int { return 16*(l.size+len(l.groups)) + 1<<20 }

// effective makes a set of roles and those that they include, but for one, and those that are included by it alone; 0 is
// none.
func (l *linter) effective(roles []uint32, but uint32) *roleSet {
	set := &roleSet{}
	seen := map[uint32]bool{}
	var add func([]uint32)
	add = func(roles []uint32) {
		for _, id := range roles {
			switch {
			case id == but || seen[id]:
			case but != 0 && l.reaches(id, but):
				seen[id] = true
				set.held = append(set.held, id)
				add(l.role(id).includes)
			default:
				seen[id] = true
				set.held = append(set.held, l.role(id).closed...)
			}
		}
	}
	add(roles)
	slices.Sort(set.held)
	set.held = slices.Compact(set.held)
	for _, id := range set.held {
		set.bloom |= 1 << (id % 64)
		set.defaults |= l.role(id).defaults
	}
	return set
}

// standing is what a set has at a place, found as decisions find it.
func (l *linter) standing(set *roleSet, at *link) standing {
	if at.up == nil {
		return l.top(set, ^permissions(0))
	}
	return l.next(l.standing(set, at.up), set, at.node)
}

func (l *linter) next(above standing, set *roleSet, n *node) standing {
	v, _ := l.further(above, set, &walk{node: n}, ^permissions(0))
	return v
}

// idle finds what makes no difference to any group. What makes one to a group is not looked at again for the next.
func (l *linter) idle(budget int) {
	l.held = map[uint32]bool{}
	left := map[uint32][]*linted{}
	for id, list := range l.rulesOf {
		left[id] = slices.Clone(list)
	}
	isolated := slices.Clone(l.isolated)
	defaults := map[uint32]bool{} // whether they matter
	for i := range l.groups {
		g := &l.groups[i]
		set := l.effective(g.roles, 0)
		budget -= set.len()
		var once, more permissions // of the defaults
		for _, id := range set.held {
			d := l.role(id).defaults
			once, more = once|d, more|once&d
		}
		for _, id := range set.held {
			l.held[id] = true
			defaults[id] = defaults[id] || l.role(id).defaults&^more != 0
			budget -= len(left[id])
			left[id] = slices.DeleteFunc(left[id], func(x *linted) bool { return l.matters(x, g, set) })
		}
		budget -= len(isolated)
		isolated = slices.DeleteFunc(isolated, func(x *lintedIsolation) bool {
			if x.variable && !g.asSegment {
				return false
			}
			above := l.standing(set, x.at.up).granted
			_, _, any := x.at.node.rules.of(set)
			x.matters = above != 0 && !any
			return x.matters
		})
		if l.cut = budget < 0; l.cut {
			return
		}
	}
	for _, r := range l.sortedRoles() {
		if r.defaults != 0 && l.held[r.id] && !defaults[r.id] {
			l.find(Finding{Kind: Redundant, Role: r.name, Permissions: l.config.path.list(r.defaults),
				Message: "whoever holds " + quote(r.name) + " has its default path permissions by other roles as well"},
				word("set"), r.name, word("default path permissions"), []string{})
		}
	}
}

// matters reports whether nothing is left of a rule that makes no difference, as far as a group is concerned.
func (l *linter) matters(x *linted, g *group, set *roleSet) bool {
	if x.variable && !g.asSegment {
		return false
	}
	x.applies = true
	above := l.standing(set, x.at.up)
	without := *x.at.node
	without.rules.remove(new(hamt.Edit), x.role)
	if l.config.inheritance == NearestAssignment {
		x.matters = l.next(above, set, x.at.node) != l.next(above, set, &without)
		return x.matters
	}
	allow, deny, _ := without.rules.of(set) // those of the others
	x.deadAllow &= ^above.open | deny | x.deny
	x.deadDeny &= ^above.open
	x.spareAllow &= ^above.open | deny | x.deny | allow
	spare := ^above.open | deny
	if x.at.node.children.empty() {
		spare |= ^(allow | x.allow) // nothing to deny here, nor below
	}
	x.spareDeny &= spare
	return x.spareAllow|x.spareDeny == 0
}

// hiding finds the roles that take something away. It looks at an assignment until somebody is found.
func (l *linter) hiding(budget int) {
	if l.config.inheritance != NearestAssignment {
		return
	}
	left := map[uint32][]*linted{}
	for id, list := range l.rulesOf {
		left[id] = slices.Clone(list)
	}
	for i := range l.groups {
		g := &l.groups[i]
		set := l.effective(g.roles, 0)
		if set.len() < 2 {
			continue
		}
		for _, id := range set.held {
			if len(left[id]) == 0 {
				continue
			}
			if budget -= set.len() + len(left[id]); budget < 0 {
				l.find(Finding{Kind: Unfinished, Message: "there are too many different sets of roles to find all roles that hide something"})
				return
			}
			less := l.effective(g.roles, id)
			if less.len() == 0 {
				continue
			}
			left[id] = slices.DeleteFunc(left[id], func(x *linted) bool {
				if x.beside || x.variable && (!g.asSegment || g.whom == OtherPrincipals) {
					return false
				}
				what := l.standing(less, x.at).granted &^ l.standing(set, x.at).granted
				if what != 0 {
					by, has := l.giver(less, x.at, what)
					x.hides = &hidden{g, what, by, has}
				}
				return what != 0
			})
		}
	}
}

// giver returns the role by name that gives the most of some permissions at a place, and all that it has where that is decided.
func (l *linter) giver(set *roleSet, at *link, what permissions) (most *roleRecord, has permissions) {
	for ; at.up != nil; at = at.up {
		if _, _, any := at.node.rules.of(set); any {
			break
		}
	}
	for _, id := range set.held {
		r := l.role(id)
		gives := r.defaults
		if at.up != nil {
			x, _ := at.node.rules.get(id)
			gives = x.allow
		}
		n, best := bits.OnesCount64(uint64(gives&what)), bits.OnesCount64(uint64(has&what))
		if n > best || n == best && n > 0 && r.name < most.name {
			most, has = r, gives
		}
	}
	return most, has
}

// find adds a finding, with the command that ends it, if there is one.
func (l *linter) find(f Finding, fix ...any) {
	if len(fix) > 0 {
		text := &lines{}
		text.add(fix...)
		f.Fix = text.String()
	}
	l.findings = append(l.findings, f)
}

// reportRule says what was found out about a rule.
func (l *linter) reportRule(x *linted) {
	c := l.config
	role := l.role(x.role).name
	set := func(rest permissions, what word) []any {
		return []any{word("set"), role, word("path"), x.path, what, words{&c.path, rest}}
	}
	on := func(kind FindingKind, p permissions, message string, fix ...any) {
		l.find(Finding{Kind: kind, Role: role, Path: x.path, Permissions: c.path.list(p), Message: message}, fix...)
	}
	if p := x.allow & x.deny; p != 0 {
		on(Contradictory, p, quote(role)+" is both allowed and denied "+c.path.some(p)+" on "+quote(x.path)+"; the denial counts", set(x.allow&^p, "permissions")...)
	}
	if h := x.hides; h != nil {
		var fix []any
		if h.what&^h.has == 0 {
			fix = []any{word("set"), h.by.name, word("path"), x.path, word("permissions"), words{&c.path, h.has}}
		}
		l.find(Finding{Kind: HidingRole, Role: role, Path: x.path, Session: Session{h.from.name, l.namesOf(h.from.roles)}, Permissions: c.path.list(h.what),
			Message: quote(role) + " takes " + c.path.some(h.what) + " on " + quote(x.path) + " away from " + h.from.String() + ", to whom " + quote(h.by.name) +
				" gives it higher up: the nearer assignment hides it"}, fix...)
	}
	switch {
	case l.cut || !l.held[x.role]:
	case !x.applies:
		on(Unreachable, x.allow|x.deny, "no holder of "+quote(role)+" has a name that "+principalVariable+" in "+quote(x.path)+" could stand for",
			word("remove"), role, word("permissions for path"), x.path)
	case x.beside:
	case c.inheritance == NearestAssignment:
		if !x.matters {
			on(Redundant, x.allow, "whoever holds "+quote(role)+" has the same on "+quote(x.path)+" without its assignment there",
				word("remove"), role, word("permissions for path"), x.path)
		}
	default:
		if p := x.deadAllow &^ x.deny; p != 0 {
			on(Shadowed, p, "what "+quote(role)+" has on "+quote(x.path)+" is decided before for all who hold it: "+c.path.some(p), set(x.allow&^p, "permissions")...)
		}
		if p := x.deadDeny; p != 0 {
			on(Shadowed, p, "what "+quote(role)+" is denied on "+quote(x.path)+" is decided before for all who hold it: "+c.path.some(p), set(x.deny&^p, "denials")...)
		}
		if p := x.spareAllow &^ x.deadAllow; p != 0 {
			on(Redundant, p, "whoever holds "+quote(role)+" has "+c.path.some(p)+" on "+quote(x.path)+" by other roles as well", set(x.allow&^p, "permissions")...)
		}
		if p := x.spareDeny &^ x.deadDeny; p != 0 {
			on(Redundant, p, "whoever holds "+quote(role)+" is denied "+c.path.some(p)+" on "+quote(x.path)+" by other roles as well, or has nothing to be denied",
				set(x.deny&^p, "denials")...)
		}
	}
}

func (l *linter) reportIsolated() {
	if l.cut {
		l.find(Finding{Kind: Unfinished, Message: "there are too many different sets of roles to find what is unheld, unreachable, shadowed, redundant, sealed or idle"})
		return
	}
	for _, x := range l.isolated {
		reaches := func(r *linted) bool { return r.allow != 0 && r.applies }
		switch {
		case x.beside:
		case !x.matters:
			l.find(Finding{Kind: IdleIsolation, Path: x.path, Message: "nobody would have anything on " + quote(x.path) + " from above that they have not now"},
				isolation[false], x.path)
		case !slices.ContainsFunc(l.rules[x.from:x.to], reaches):
			l.find(Finding{Kind: Sealed, Path: x.path, Message: quote(x.path) + " is isolated, and nothing is assigned there or below it to a role that is held: nobody can reach it"})
		}
	}
}

// reportRoles says what is to be said about roles as they are.
func (l *linter) reportRoles() {
	c := l.config
	named, anonymous := l.effective(l.named, 0), l.effective(l.anonymous, 0)
	everybody := func(id uint32) string {
		switch n, a := named.has(id), anonymous.has(id); {
		case n && a:
			return "everybody"
		case n:
			return "everybody with a name"
		case a:
			return "everybody without a name"
		}
		return ""
	}
	broad := func(r *roleRecord, path string, p permissions, message string) {
		l.find(Finding{Kind: OverBroad, Role: r.name, Path: path, Permissions: c.path.list(p), Message: message})
	}
	for _, r := range l.sortedRoles() {
		who := everybody(r.id)
		if p := r.globals & c.modify; who != "" && p != 0 {
			l.find(Finding{Kind: OverBroad, Role: r.name, Permissions: c.global.list(p), Message: who + " may change the store by " + quote(r.name)})
		}
		switch {
		case who != "" && r.defaults != 0:
			broad(r, "", r.defaults, who+" has "+c.path.some(r.defaults)+" by the defaults of "+quote(r.name)+", wherever nothing is assigned")
		case r.defaults&c.admin != 0:
			broad(r, "", c.admin, "whoever holds "+quote(r.name)+" has "+c.path.some(c.admin)+" by default, wherever nothing is assigned")
		}
		for _, x := range l.rulesOf[r.id] {
			p := x.allow &^ x.deny
			_, end, _ := c.separator.next(x.path, 0)
			switch {
			case x.variable:
			case who != "" && p&(c.write|c.admin) != 0:
				broad(r, x.path, p&(c.write|c.admin), who+" has "+c.path.some(p&(c.write|c.admin))+" on "+quote(x.path)+" by "+quote(r.name))
			case p&c.admin != 0 && end == len(x.path):
				broad(r, x.path, c.admin, "whoever holds "+quote(r.name)+" has "+c.path.some(c.admin)+" on all of "+quote(x.path))
			}
		}
		if !l.cut && !l.held[r.id] && l.gives(r) {
			l.find(Finding{Kind: Unheld, Role: r.name, Message: "nobody holds " + quote(r.name) + ", which gives something" + many(r.paths, "assignment", " by ")})
		}
	}
	for _, r := range l.roles.All() {
		if (r.mentions > 0 || !r.includedBy.Empty()) && !l.gives(r) {
			l.find(Finding{Kind: EmptyRole, Role: r.name, Message: quote(r.name) + " is named as a role, and gives nothing"}, l.drop(r)...)
		}
	}
}

// gives reports whether a role, with all that it includes, gives or hides anything.
func (l *linter) gives(r *roleRecord) bool {
	return r.allGlobals|r.allDefaults != 0 || slices.ContainsFunc(r.closed, func(id uint32) bool { return l.role(id).paths > 0 })
}

// drop returns the one command that takes a role out of the one place where it is named, or nothing.
func (l *linter) drop(r *roleRecord) []any {
	rest := func(ids []uint32) []string {
		return l.namesOf(slices.DeleteFunc(slices.Clone(ids), func(id uint32) bool { return id == r.id }))
	}
	var by []uint32
	for id := range r.includedBy.All() {
		by = append(by, id)
	}
	name, isHeld := l.holder[r.id]
	switch {
	case r.mentions+len(by) != 1:
	case len(by) == 1:
		return []any{word("set"), l.role(by[0]).name, word("includes"), rest(l.role(by[0]).includes)}
	case slices.Contains(l.named, r.id):
		return []any{word("set roles for named sessions"), rest(l.named)}
	case slices.Contains(l.anonymous, r.id):
		return []any{word("set roles for anonymous sessions"), rest(l.anonymous)}
	case isHeld:
		p, _ := l.principals.Get(hashText(name), name)
		var roles []uint32
		for _, m := range p.holds {
			if m.until != 0 {
				return nil // the command would take the ends away
			}
			roles = append(roles, m.role)
		}
		return []any{word("assign roles"), name, rest(roles)}
	}
	return nil
}

func (g *group) String() string {
	switch g.whom {
	case AnonymousSessions:
		return "everybody without a name"
	case OtherPrincipals:
		return "everybody with a name"
	}
	if g.name == "" {
		return "a session without a name"
	}
	return quote(g.name) + many(g.others, "other", " and ")
}

// many is a number of things, after a word, or nothing for none.
func many(n int, what, after string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return after + "one " + what
	}
	return after + strconv.Itoa(n) + " " + what + "s"
}

// some names permissions in a sentence.
func (s *scope) some(p permissions) string { return strings.Join(s.list(p), ", ") }
