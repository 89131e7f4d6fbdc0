package policy

import (
	"iter"
	"slices"
)

// Delegated administration, as sqlauth.md 6 has it. A transaction whose actor may not change everything is checked command
// by command, in the state that the commands before left. What each command needs is asked here and nowhere else.

// reserved refuses a command that only who may change everything may run.
func (tx *Tx) reserved() error {
	if err := tx.over(); err != nil || !tx.delegated {
		return err
	}
	return tx.fail(tx.lacks(tx.actor, tx.config.modify, "change more than the grants, roles and topics that they administer"))
}

// there refuses the name of a role that is not there.
func (tx *Tx) there(role string) error {
	if r := tx.roleNamed(role); r == nil || !r.visible() {
		return tx.fail(refuse(NotFound, "role", role, "a role that is there"))
	}
	return nil
}

// topicThere refuses a normal path that is no topic.
func (tx *Tx) topicThere(path string) error {
	if !tx.topic(path) {
		return tx.fail(refuse(NotFound, "topic", path, "a topic that is there"))
	}
	return nil
}

// admin reports whether an actor has the Admin permission at a normal path, by the path itself or one above it.
func (s *state) admin(a Actor, path string) bool {
	var set roleSet
	defer set.release()
	s.held(&set, a.principal)
	s.vouched(&set, a.roles)
	return s.evaluate(&set, path, s.config.admin, nil).granted == s.config.admin
}

// administersTopic refuses a command on a path that the actor does not administer.
func (tx *Tx) administersTopic(path string) error {
	if !tx.delegated || tx.admin(tx.actor, path) {
		return nil
	}
	return tx.fail(tx.noAdmin(NoAdminTopic, quote(path), "there or above"))
}

// administersRole refuses a command on a role that the actor does not administer: the role must be there, and be bound to
// a topic that they do.
func (tx *Tx) administersRole(role string) error {
	if !tx.delegated {
		return nil
	}
	if err := tx.there(role); err != nil {
		return err
	}
	switch binding := tx.roleNamed(role).binding; {
	case binding == "":
		return tx.fail(&AccessError{NoAdminRole, tx.actor.String(), "administer role " + quote(role), "Root: it is bound to no topic"})
	case !tx.admin(tx.actor, binding):
		return tx.fail(tx.noAdmin(NoAdminRole, "role "+quote(role), "on "+quote(binding)+" or above"))
	}
	return nil
}

func (tx *Tx) noAdmin(kind Kind, what, where string) *AccessError {
	return &AccessError{kind, tx.actor.String(), "administer " + what, tx.config.path.list(tx.config.admin)[0] + " " + where}
}

// administersGrant refuses a change of what a role has at a normal path. Where it gives something, the topic must be there.
func (tx *Tx) administersGrant(role, path string, gives bool) error {
	if !tx.delegated {
		return nil
	}
	if err := tx.administersRole(role); err != nil {
		return err
	}
	if err := tx.administersTopic(path); err != nil || !gives {
		return err
	}
	return tx.topicThere(path)
}

// administersChange refuses a change of what a principal, perhaps nil, holds. Each role that it gets or loses counts, and
// each that it has for another time; those that ended are no loss.
func (tx *Tx) administersChange(p *principal, is []membership) error {
	if !tx.delegated {
		return nil
	}
	was := slices.Collect(p.current())
	var held []membership
	if p != nil {
		held = p.holds
	}
	var roles []string
	for m := range others(was, is) {
		roles = append(roles, tx.role(m.role).name)
	}
	for m := range others(is, held) {
		roles = append(roles, tx.role(m.role).name)
	}
	for _, name := range roles {
		if err := tx.there(name); err != nil {
			return err
		}
	}
	for _, name := range roles {
		if err := tx.administersRole(name); err != nil {
			return err
		}
	}
	return nil
}

// CheckRole is for what a program keeps about roles beside the store, such as descriptions: it fails with NotFound if a role
// is not there, and with NoAdminRole if the actor may not change it as a delegated administrator.
func (tx *Tx) CheckRole(name string) error {
	if err := tx.delegation(); err != nil {
		return err
	}
	if err := tx.there(name); err != nil {
		return err
	}
	return tx.administersRole(name)
}

// CheckTopic is CheckRole for topics: NoAdminTopic, or NotFound.
func (tx *Tx) CheckTopic(path string) error {
	_, err := tx.topicOf(path)
	return err
}

// Bindings yields the roles that are there, by name, each with the topic that it is bound to; the empty string is none.
func (s *Snapshot) Bindings() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, r := range s.state.sortedRoles() {
			if !yield(r.name, r.binding) {
				return
			}
		}
	}
}

// Administrators returns the principals, of those for whom roles are stored, who administer a role in a store with
// Delegation, sorted. If there is no such role the error is NotFound.
func (s *Snapshot) Administrators(role string) ([]string, error) {
	r := s.state.roleNamed(role)
	if r == nil || !r.visible() {
		return nil, refuse(NotFound, "role", role, "a role that is there")
	}
	if r.binding == "" || !s.state.config.delegation {
		return nil, nil
	}
	who, err := s.WhoCan(s.state.config.path.list(s.state.config.admin)[0], r.binding)
	if err != nil {
		return nil, err
	}
	return slices.Collect(who), nil
}

// Administers returns what a session administers in a store with Delegation: roles, and the topmost paths, of which all
// that is below is theirs as well; both are sorted. A role is theirs if they administer the topic that it is bound to.
func (s *Snapshot) Administers(who Session) (roles, paths []string) {
	if !s.state.config.delegation {
		return nil, nil
	}
	var set roleSet
	defer set.release()
	s.state.session(&set, who)
	admin := func(path string) bool {
		return s.state.evaluate(&set, path, s.state.config.admin, nil).granted != 0
	}
	for role, binding := range s.Bindings() {
		if binding != "" && admin(binding) {
			roles = append(roles, role)
		}
	}
	spread(s.state.config, []*node{s.state.tree}, []string{who.Principal}, "", false, admin, func(path string, _ bool) bool {
		paths = append(paths, path)
		return true
	})
	slices.Sort(paths)
	return roles, paths
}
