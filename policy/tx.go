package policy

import (
	"slices"
	"time"

	"github.com/chansec/chansec/internal/hamt"
)

// Tx is a change in the making. Its methods are the commands of Diffusion's scripts (diffusion.md 7.2), and those that
// the other rule needs; each acts on what those before it left. The first that fails makes the whole transaction fail,
// whatever the function that got the Tx returns. A Tx is for one goroutine, until that function returns.
//
// In a store with Delegation, an actor who does not hold the Modify permission may set, grant, revoke and remove what a
// role has at a path, if it administers both; give and take roles that it administers; add roles that are bound to a
// topic, and topics, where it has the Admin permission above them; and remove them. To administer a path is to have
// that permission there or above; to administer a role is to administer the topic that it is bound to. Where that is
// missing the error is NoAdminRole or NoAdminTopic; every other change is an [AccessError] without a kind.
type Tx struct {
	state
	edit      *hamt.Edit // nil once the transaction is over
	actor     Actor
	delegated bool // the actor may do what follows from what it administers, and nothing else
	err       error
	log       *lines // what was done, for a backend; nil if there is none

	touched touched
}

// touched is what a transaction was about.
type touched struct {
	changed    bool
	everybody  bool // or these principals only
	principals map[string]struct{}
}

func (s *state) begin(actor Actor) *Tx {
	return &Tx{state: *s, edit: new(hamt.Edit), actor: actor, touched: touched{principals: map[string]struct{}{}}}
}

// fail keeps the first failure.
func (tx *Tx) fail(err error) error {
	if tx.err == nil {
		tx.err = err
	}
	return err
}

// over reports a transaction that is done.
func (tx *Tx) over() error {
	switch {
	case tx.edit == nil:
		return refuse(Ended, "transaction", "over", "a use before Update returns")
	case tx.err != nil:
		return tx.err
	}
	return nil
}

// Expect fails with Conflict unless the store was at that revision when the transaction began.
func (tx *Tx) Expect(revision uint64) error {
	if err := tx.over(); err != nil {
		return err
	}
	if tx.revision != revision {
		return tx.fail(conflict(tx.revision, revision))
	}
	return nil
}

func conflict(is, want uint64) error {
	return refuse(Conflict, "revision", utoa(is), utoa(want))
}

// Revision returns the revision at which the transaction began.
func (tx *Tx) Revision() uint64 { return tx.revision }

// edits is subject for a command that is not for delegated administrators.
func (tx *Tx) edits(name string) (uint32, error) {
	if err := tx.reserved(); err != nil {
		return 0, err
	}
	return tx.subject(name)
}

// subject checks that a role is not locked for the actor, and returns its number.
func (tx *Tx) subject(name string) (uint32, error) {
	if err := tx.over(); err != nil {
		return 0, err
	}
	if err := checkName("role", name); err != nil {
		return 0, tx.fail(err)
	}
	r := tx.roleNamed(name)
	if r == nil {
		return 0, nil
	}
	if r.lockedBy != "" && !tx.actor.root && tx.actor.principal != r.lockedBy {
		return 0, tx.fail(refuse(Locked, "role", name, "its locking principal "+quote(r.lockedBy)))
	}
	return r.id, nil
}

// everybody notes that a change is about everybody, and does a command on a role.
func (tx *Tx) onRole(name string, f func(*roleRecord)) {
	id := tx.mention(tx.edit, name)
	tx.changeRole(tx.edit, id, f)
	tx.close(tx.edit, id)
	tx.touched.about(true)
}

// SetGlobalPermissions replaces the global permissions of a role; none takes them away.
func (tx *Tx) SetGlobalPermissions(role string, permissions ...string) error {
	id, err := tx.edits(role)
	if err != nil {
		return err
	}
	set, err := tx.config.global.set(permissions)
	if err != nil {
		return tx.fail(err)
	}
	tx.log.add(word("set"), role, word("permissions"), words{&tx.config.global, set})
	if id == 0 && set == 0 || id != 0 && tx.role(id).globals == set {
		return nil
	}
	tx.onRole(role, func(r *roleRecord) { r.globals = set })
	return nil
}

// SetDefaultPathPermissions replaces what a role has wherever no assignment and no isolated path decides.
func (tx *Tx) SetDefaultPathPermissions(role string, permissions ...string) error {
	id, err := tx.edits(role)
	if err != nil {
		return err
	}
	if tx.config.inheritance == AnyAncestor {
		return tx.fail(tx.only(NearestAssignment, "default path permissions"))
	}
	set, err := tx.config.path.set(permissions)
	if err != nil {
		return tx.fail(err)
	}
	tx.log.add(word("set"), role, word("default path permissions"), words{&tx.config.path, set})
	if id == 0 && set == 0 || id != 0 && tx.role(id).defaults == set {
		return nil
	}
	tx.onRole(role, func(r *roleRecord) { r.defaults = set })
	return nil
}

// SetPathPermissions replaces what a role has at a path. With NearestAssignment an empty set is an assignment as well,
// which hides what is above it; with AnyAncestor it is none.
func (tx *Tx) SetPathPermissions(role, path string, permissions ...string) error {
	return tx.assign(role, path, permissions, false)
}

// SetPathDenials replaces the rows that deny a role something at a path. The store must have DenyRows.
func (tx *Tx) SetPathDenials(role, path string, permissions ...string) error {
	return tx.assign(role, path, permissions, true)
}

func (tx *Tx) assign(name, path string, names []string, deny bool) error {
	if _, err := tx.subject(name); err != nil {
		return err
	}
	if deny && !tx.config.denyRows {
		return tx.fail(refuse(InvalidArgument, "command", "deny", "a store with DenyRows"))
	}
	path, err := tx.config.normal(path)
	if err != nil {
		return tx.fail(err)
	}
	set, err := tx.config.path.set(names)
	if err != nil {
		return tx.fail(err)
	}
	if err := tx.administersGrant(name, path, set != 0); err != nil {
		return err
	}
	tx.put(name, path, set, deny)
	return nil
}

// put replaces what a role has at a normal path, or what is denied it there.
func (tx *Tx) put(name, path string, set permissions, deny bool) {
	if deny {
		tx.log.add(word("set"), name, word("path"), path, word("denials"), words{&tx.config.path, set})
	} else {
		tx.log.add(word("set"), name, word("path"), path, word("permissions"), words{&tx.config.path, set})
	}
	id := tx.mention(tx.edit, name)
	changed := tx.setRule(tx.edit, path, id, func(is *rule) bool {
		if deny {
			is.deny = set
		} else {
			is.allow = set
		}
		return tx.config.inheritance == NearestAssignment || is.allow|is.deny != 0
	})
	tx.touched.about(changed)
	if tx.config.delegation && set != 0 {
		tx.setTopic(path, true)
	}
}

// about notes a change of what roles may do, which is about everybody.
func (t *touched) about(changed bool) {
	t.changed = t.changed || changed
	t.everybody = t.everybody || changed
}

// RemovePathPermissions removes the assignment of a role at a path, rows that deny included, so that what is above counts
// again. None there is none to remove.
func (tx *Tx) RemovePathPermissions(role, path string) error {
	id, err := tx.subject(role)
	if err != nil {
		return err
	}
	path, err = tx.config.normal(path)
	if err != nil {
		return tx.fail(err)
	}
	if err := tx.administersGrant(role, path, false); err != nil {
		return err
	}
	tx.log.add(word("remove"), role, word("permissions for path"), path)
	if id == 0 {
		return nil
	}
	tx.touched.about(tx.setRule(tx.edit, path, id, func(*rule) bool { return false }))
	return nil
}

// SetRoleIncludes replaces the roles that a role includes. Those that do not exist come into being.
func (tx *Tx) SetRoleIncludes(role string, includes ...string) error {
	id, err := tx.edits(role)
	if err != nil {
		return err
	}
	for _, name := range includes {
		if err := checkName("role", name); err != nil {
			return tx.fail(err)
		}
		other := tx.roleNamed(name)
		if name == role || id != 0 && other != nil && tx.reaches(other.id, id) {
			return tx.fail(refuse(Cycle, "role", name, "a role that does not include "+quote(role)))
		}
	}
	tx.log.add(word("set"), role, word("includes"), includes)
	if id == 0 && len(includes) == 0 {
		return nil
	}
	id = tx.mention(tx.edit, role)
	ids := tx.mentions(includes)
	if slices.Equal(ids, tx.role(id).includes) {
		return nil
	}
	tx.setIncludes(tx.edit, id, ids)
	tx.touched.about(true)
	return nil
}

// mentions returns the numbers of names, sorted, each once.
func (tx *Tx) mentions(names []string) []uint32 {
	var ids []uint32
	for _, name := range names {
		ids = append(ids, tx.mention(tx.edit, name))
	}
	slices.Sort(ids)
	return slices.Clip(slices.Compact(ids))
}

// SetRoleLockedByPrincipal lets only that principal run commands whose subject is the role, from the next command on. The
// empty name removes the lock.
func (tx *Tx) SetRoleLockedByPrincipal(role, principal string) error {
	id, err := tx.edits(role)
	if err != nil {
		return err
	}
	if principal != "" {
		if err := checkName("principal", principal); err != nil {
			return tx.fail(err)
		}
	}
	tx.log.add(word("set role"), role, word("locked by principal"), principal)
	if id == 0 && principal == "" || id != 0 && tx.role(id).lockedBy == principal {
		return nil
	}
	id = tx.mention(tx.edit, role)
	tx.changeRole(tx.edit, id, func(r *roleRecord) { r.lockedBy = principal })
	tx.touched.changed = true
	return nil
}

// IsolatePath lets a path, and those below it, inherit nothing from above, nor from defaults.
func (tx *Tx) IsolatePath(path string) error { return tx.isolate(path, true) }

// DeisolatePath undoes IsolatePath.
func (tx *Tx) DeisolatePath(path string) error { return tx.isolate(path, false) }

func (tx *Tx) isolate(path string, is bool) error {
	if err := tx.reserved(); err != nil {
		return err
	}
	if tx.config.inheritance == AnyAncestor {
		return tx.fail(tx.only(NearestAssignment, "isolated paths"))
	}
	path, err := tx.config.normal(path)
	if err != nil {
		return tx.fail(err)
	}
	tx.log.add(isolation[is], path)
	n := tx.tree.find(tx.config.separator, path)
	if (n != nil && n.isolated) == is {
		return nil
	}
	tx.touched.about(true)
	tx.change(tx.edit, path, func(n *node) { n.isolated = is })
	if tx.size--; is {
		tx.size += 2
	}
	return nil
}

func (tx *Tx) only(rule Inheritance, what string) error {
	return refuse(InvalidArgument, "command", what, map[Inheritance]string{
		NearestAssignment: "a store where the nearest assignment counts", AnyAncestor: "a store where any ancestor counts",
	}[rule])
}

// SetRolesForAnonymousSessions replaces the roles of those who have no principal.
func (tx *Tx) SetRolesForAnonymousSessions(roles ...string) error {
	return tx.sessions(&tx.anonymous, roles, "set roles for anonymous sessions")
}

// SetRolesForNamedSessions replaces the roles that everybody with a principal has.
func (tx *Tx) SetRolesForNamedSessions(roles ...string) error {
	return tx.sessions(&tx.named, roles, "set roles for named sessions")
}

func (tx *Tx) sessions(list *[]uint32, roles []string, command word) error {
	if err := tx.reserved(); err != nil {
		return err
	}
	if err := tx.checkNames(roles); err != nil {
		return err
	}
	tx.log.add(command, roles)
	tx.setSessions(list, tx.mentions(roles))
	return nil
}

// setSessions replaces one of the lists of roles that sessions have anyway.
func (tx *Tx) setSessions(list *[]uint32, is []uint32) {
	was := *list
	*list, tx.hierarchy = is, new(hierarchy)
	tx.mentioned(is, 1)
	tx.mentioned(was, -1)
	if !slices.Equal(was, is) {
		tx.touched.about(true)
	}
}

func (tx *Tx) checkNames(roles []string) error {
	for _, name := range roles {
		if err := checkName("role", name); err != nil {
			return tx.fail(err)
		}
	}
	return nil
}

// mentioned notes that roles are named once more, or once less.
func (tx *Tx) mentioned(ids []uint32, n int) {
	for _, id := range ids {
		tx.changeRole(tx.edit, id, func(r *roleRecord) { r.mentions += n })
	}
}

// AssignRoles replaces the roles that are stored for a principal, for ever. None forgets the principal.
func (tx *Tx) AssignRoles(principal string, roles ...string) error {
	if err := tx.over(); err != nil {
		return err
	}
	if err := checkName("principal", principal); err != nil {
		return tx.fail(err)
	}
	if err := tx.checkNames(roles); err != nil {
		return err
	}
	tx.log.add(word("assign roles"), principal, roles)
	var holds []membership
	for _, id := range tx.mentions(roles) {
		holds = append(holds, membership{role: id})
	}
	return tx.give(principal, holds)
}

// AssignRoleUntil gives a principal a role until a time, whatever others it has. If it has that role already, for ever or
// for longer or shorter, the new time counts. The zero time is for ever.
func (tx *Tx) AssignRoleUntil(principal, role string, until time.Time) error {
	if err := tx.over(); err != nil {
		return err
	}
	if err := checkName("principal", principal); err != nil {
		return tx.fail(err)
	}
	if err := checkName("role", role); err != nil {
		return tx.fail(err)
	}
	m := membership{}
	if !until.IsZero() {
		if until.Year() < 1970 || until.Year() > 2261 || until.UnixNano() <= 0 {
			return tx.fail(refuse(InvalidArgument, "end of a grant", until.String(), "a time from 1970 to 2261, or zero for ever"))
		}
		m.until = until.UnixNano()
	}
	if err := tx.administersRole(role); err != nil {
		return err
	}
	tx.log.add(word("assign role"), principal, role, word("until"), untilText(m.until))
	m.role = tx.mention(tx.edit, role)
	var held []membership
	if p := tx.principal(principal); p != nil {
		held = p.holds
	}
	i, there := slices.BinarySearchFunc(held, m.role, membership.compare)
	behind := held[i:]
	if there {
		behind = behind[1:]
	}
	tx.hold(principal, slices.Concat(held[:i], []membership{m}, behind))
	return nil
}

// AssignNewRole gives a principal a role for ever. If it has that role already the error is Exists; in a store with
// Delegation the role must be there, or it is NotFound.
func (tx *Tx) AssignNewRole(principal, role string) error {
	if err := tx.membership(principal, role); err != nil {
		return err
	}
	if r := tx.roleNamed(role); r != nil {
		for m := range tx.memberships(principal) {
			if m.role == r.id {
				return tx.fail(refuse(Exists, "role", role, "one that "+quote(principal)+" does not have"))
			}
		}
	}
	return tx.AssignRoleUntil(principal, role, time.Time{})
}

// UnassignRole takes a role from a principal, whatever others it has. If it does not have it there is none to take; in a
// store with Delegation the role must be there, or the error is NotFound.
func (tx *Tx) UnassignRole(principal, role string) error {
	if err := tx.membership(principal, role); err != nil {
		return err
	}
	tx.log.add(word("unassign role"), principal, role)
	p, r := tx.principal(principal), tx.roleNamed(role)
	if p == nil || r == nil {
		return nil
	}
	tx.hold(principal, without(p.holds, r.id))
	return nil
}

// membership checks the names of a principal and a role, and that the actor may give and take the role.
func (tx *Tx) membership(principal, role string) error {
	if err := tx.over(); err != nil {
		return err
	}
	if err := checkName("principal", principal); err != nil {
		return tx.fail(err)
	}
	if err := checkName("role", role); err != nil {
		return tx.fail(err)
	}
	if !tx.config.delegation {
		return nil
	}
	if err := tx.there(role); err != nil {
		return err
	}
	return tx.administersRole(role)
}

// without returns what somebody holds, less one role.
func without(holds []membership, role uint32) []membership {
	return slices.DeleteFunc(slices.Clone(holds), func(m membership) bool { return m.role == role })
}

// RemovePrincipal forgets a principal, which must be stored.
func (tx *Tx) RemovePrincipal(principal string) error {
	if err := tx.over(); err != nil {
		return err
	}
	if tx.principal(principal) == nil {
		return tx.fail(refuse(NoSuchPrincipal, "principal", principal, "one that has roles"))
	}
	tx.log.add(word("assign roles"), principal, []string(nil))
	return tx.give(principal, nil)
}

// give is hold by an actor who may.
func (tx *Tx) give(name string, holds []membership) error {
	if err := tx.administersChange(tx.principal(name), holds); err != nil {
		return err
	}
	tx.hold(name, holds)
	return nil
}

// hold replaces what a principal holds.
func (tx *Tx) hold(name string, holds []membership) {
	var was []membership
	if p := tx.principal(name); p != nil {
		was = p.holds
	}
	if len(holds) == 0 {
		tx.principals = tx.principals.Delete(tx.edit, hashText, name)
	} else {
		tx.principals = tx.principals.Set(tx.edit, hashText, name, &principal{holds: slices.Clip(holds)})
	}
	tx.size += len(holds) - len(was)
	for m := range others(holds, was) {
		tx.mentioned([]uint32{m.role}, 1)
	}
	for m := range others(was, holds) {
		tx.mentioned([]uint32{m.role}, -1)
	}
	if !slices.Equal(was, holds) {
		tx.touched.changed = true
		tx.touched.principals[name] = struct{}{}
	}
}

// Grant adds permissions to what a role has at a path.
func (tx *Tx) Grant(role, path string, permissions ...string) error {
	path, was, set, err := tx.has(role, path, permissions, true)
	if err == nil && set&^was != 0 {
		tx.put(role, path, was|set, false)
	}
	return err
}

// GrantNew is Grant of what must be new: if the role has any of the permissions at that very path already, the error is
// Exists. In a store with Delegation the role and the topic must be there, or it is NotFound.
func (tx *Tx) GrantNew(role, path string, permissions ...string) error {
	path, was, set, err := tx.has(role, path, permissions, true)
	if err != nil {
		return err
	}
	if tx.config.delegation {
		if err := tx.there(role); err != nil {
			return err
		}
		if err := tx.topicThere(path); err != nil {
			return err
		}
	}
	if set&was != 0 {
		return tx.fail(refuse(Exists, "permission", tx.config.path.list(set & was)[0], "one that "+quote(role)+" does not have at "+quote(path)))
	}
	if set != 0 {
		tx.put(role, path, was|set, false)
	}
	return nil
}

// Revoke takes permissions from what a role has at a path. With NearestAssignment an assignment that becomes empty stays
// one; [Tx.RemovePathPermissions] removes it. Where the role has no assignment there is none to take from.
func (tx *Tx) Revoke(role, path string, permissions ...string) error {
	path, was, set, err := tx.has(role, path, permissions, false)
	if err == nil && was != 0 {
		tx.put(role, path, was&^set, false)
	}
	return err
}

// has returns a normal path, what a role has there itself, and the permissions of names, for an actor who may give or take
// them.
func (tx *Tx) has(role, path string, names []string, gives bool) (at string, was, set permissions, err error) {
	if _, err := tx.subject(role); err != nil {
		return "", 0, 0, err
	}
	if set, err = tx.config.path.set(names); err != nil {
		return "", 0, 0, tx.fail(err)
	}
	if path, err = tx.config.normal(path); err != nil {
		return "", 0, 0, tx.fail(err)
	}
	if err := tx.administersGrant(role, path, gives && set != 0); err != nil {
		return "", 0, 0, err
	}
	if r, n := tx.roleNamed(role), tx.tree.find(tx.config.separator, path); r != nil && n != nil {
		x, _ := n.rules.get(r.id)
		was = x.allow
	}
	return path, was, set, nil
}

// Restore replaces everything in the store by what a script, such as that of [Snapshot.Script], makes from nothing. Locks are
// checked where roles that exist would change.
func (tx *Tx) Restore(script string) error {
	if err := tx.reserved(); err != nil {
		return err
	}
	list, err := parse(script, storeCommands)
	if err != nil {
		return tx.fail(err)
	}
	if err := tx.clear(); err != nil {
		return err
	}
	return tx.run(list)
}

// clear takes everything out of the store, command by command, so that locks hold and the log says it.
func (tx *Tx) clear() error {
	for _, name := range tx.sortedPrincipals() {
		_ = tx.RemovePrincipal(name)
	}
	_ = tx.SetRolesForAnonymousSessions()
	_ = tx.SetRolesForNamedSessions()
	type place struct{ role, path string }
	var isolated, topics []string
	var places []place
	for path, n := range tx.tree.all(tx.config.separator, "") {
		if n.isolated {
			isolated = append(isolated, path)
		}
		if n.topic {
			topics = append(topics, path)
		}
		for r := range n.rules.all() {
			places = append(places, place{tx.role(r.role).name, path})
		}
	}
	for _, path := range isolated {
		_ = tx.DeisolatePath(path)
	}
	for _, p := range places {
		_ = tx.RemovePathPermissions(p.role, p.path)
	}
	for _, r := range tx.sortedRoles() {
		_ = tx.SetGlobalPermissions(r.name)
		if r.defaults != 0 {
			_ = tx.SetDefaultPathPermissions(r.name)
		}
		_ = tx.SetRoleIncludes(r.name)
		_ = tx.SetRoleLockedByPrincipal(r.name, "")
		if r.binding != "" {
			_ = tx.SetRoleBinding(r.name, "")
		}
	}
	for _, path := range topics {
		_ = tx.RemoveTopic(path)
	}
	return tx.err
}
