package policy

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/chansec/chansec/internal/script"
)

// Topics and the roles that are bound to one (sqlauth.md 5 and 6). In a store with Delegation there are no assignments but
// on topics: what is assigned to a path by who may change everything makes it one.

// topic reports whether a normal path is one.
func (s *state) topic(path string) bool {
	n := s.tree.find(s.config.separator, path)
	return n != nil && n.topic
}

// boundTo returns the role that a normal path binds, or nil. Its name is the last segment, so that there is one at most.
func (s *state) boundTo(path string) *roleRecord {
	r := s.roleNamed(path[strings.LastIndexByte(path, byte(s.config.separator))+1:])
	if r == nil || r.binding != path {
		return nil
	}
	return r
}

// bindingRoot is the segment below which roles are bound.
const bindingRoot = "role"

// binding returns the topic that binds a role, from what somebody says that it is (sqlauth.md 5): it begins with role and
// ends with the role's name, both of which may be left out. Empty is both.
func (c *config) binding(role, topic string) (string, error) {
	sep := string(rune(c.separator))
	if len(role) > maxTopicBytes || !isTopicSegment(role) {
		return "", refuse(InvalidArgument, "role", role, "letters, digits, _ and -, 255 at most: the topic that binds it ends with its name")
	}
	switch {
	case topic == "":
		topic = bindingRoot + sep + role
	case !strings.HasPrefix(topic, bindingRoot+sep):
		topic = bindingRoot + sep + topic
	}
	if !strings.HasSuffix(topic, sep+role) {
		topic += sep + role
	}
	return topic, c.checkTopic(topic, false)
}

// maxTopicBytes bounds the names of topics, and of roles that are bound to one.
const maxTopicBytes = 255

// checkTopic returns InvalidPath for what is no name of a topic. A variable may be a segment of one where variables are
// possible at all.
func (c *config) checkTopic(path string, variables bool) error {
	if len(path) > maxTopicBytes {
		return refuse(InvalidPath, "topic", path, "at most 255 bytes")
	}
	for segment := range strings.SplitSeq(path, string(rune(c.separator))) {
		if !isTopicSegment(segment) && !(variables && segment == principalVariable) {
			return refuse(InvalidPath, "topic", path, "segments of letters, digits, _ and -, none of them empty")
		}
	}
	return nil
}

func isTopicSegment(s string) bool {
	for i := range len(s) {
		if !script.IsWordByte(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

// delegation begins a command that only stores with Delegation have.
func (tx *Tx) delegation() error {
	if err := tx.over(); err != nil {
		return err
	}
	if !tx.config.delegation {
		return tx.fail(refuse(InvalidArgument, "command", "topics and the roles that they bind", "a store with Delegation"))
	}
	return nil
}

// AddRole adds a role with the topic that it is bound to, both of which must be new; if either is there, or principals hold
// the name already, the error is Exists. The topic is what follows from topic and name (sqlauth.md 5): role is put before
// it, and the name behind, where they are missing; empty is both. Unless the store has NoSelfGrant, the role may administer
// itself.
//
// A delegated administrator needs the Admin permission above the topic. Names are letters, digits, _ and -. The store
// must have Delegation.
func (tx *Tx) AddRole(name, topic string) error {
	if err := tx.delegation(); err != nil {
		return err
	}
	topic, err := tx.config.binding(name, topic)
	if err != nil {
		return tx.fail(err)
	}
	if err := tx.administersTopic(topic); err != nil {
		return err
	}
	if tx.roleNamed(name) != nil {
		return tx.fail(refuse(Exists, "role", name, "a new name"))
	}
	if tx.topic(topic) {
		return tx.fail(refuse(Exists, "topic", topic, "a new one"))
	}
	tx.bind(name, topic)
	if tx.config.selfGrant {
		tx.put(name, topic, tx.config.admin, false)
	}
	return nil
}

// SetRoleBinding binds a role to another topic, which is added if it is not there, or, if topic is empty, to none; then only
// Root may administer the role, and who may change everything. Topics are completed as AddRole does. The one that bound
// the role before stays. A role that is not there comes into being. The store must have Delegation.
func (tx *Tx) SetRoleBinding(role, topic string) error {
	if err := tx.delegation(); err != nil {
		return err
	}
	id, err := tx.edits(role)
	if err != nil {
		return err
	}
	if topic != "" {
		if topic, err = tx.config.binding(role, topic); err != nil {
			return tx.fail(err)
		}
	}
	if id == 0 && topic == "" || id != 0 && tx.role(id).binding == topic {
		return nil
	}
	tx.bind(role, topic)
	return nil
}

func (tx *Tx) bind(name, topic string) {
	tx.log.add(word("set role"), name, word("bound to"), topic)
	tx.changeRole(tx.edit, tx.mention(tx.edit, name), func(r *roleRecord) { r.binding = topic })
	if topic != "" {
		tx.setTopic(topic, true)
	}
	tx.touched.changed = true
}

// setTopic makes a normal path a topic, or none.
func (tx *Tx) setTopic(path string, is bool) {
	if tx.topic(path) == is {
		return
	}
	tx.change(tx.edit, path, func(n *node) { n.topic = is })
	if tx.size--; is {
		tx.size += 2
	}
	tx.touched.changed = true
}

// RemoveRole removes a role with all that it has, from all who hold or include it, and the topic that it is bound to with
// all that is assigned there. If it is not there the error is NotFound. A delegated administrator must administer the
// role. The store must have Delegation.
func (tx *Tx) RemoveRole(name string) error {
	if err := tx.delegation(); err != nil {
		return err
	}
	id, err := tx.subject(name)
	if err != nil {
		return err
	}
	if err := tx.there(name); err != nil {
		return err
	}
	if err := tx.administersRole(name); err != nil {
		return err
	}
	tx.log.add(word("remove role"), name)
	tx.mentioned([]uint32{id}, 1) // it stays until nothing else is left of it
	for _, path := range tx.pathsOf(id) {
		tx.setRule(tx.edit, path, id, func(*rule) bool { return false })
	}
	if binding := tx.role(id).binding; binding != "" {
		tx.clearTopic(binding)
	}
	tx.everybodyLeaves(id)
	for by := range maps.Collect(tx.role(id).includedBy.All()) {
		includes := slices.DeleteFunc(slices.Clone(tx.role(by).includes), func(i uint32) bool { return i == id })
		tx.setIncludes(tx.edit, by, includes)
	}
	tx.setIncludes(tx.edit, id, nil)
	tx.changeRole(tx.edit, id, func(r *roleRecord) {
		r.globals, r.defaults, r.lockedBy, r.binding = 0, 0, "", ""
		r.mentions--
	})
	tx.touched.about(true)
	return nil
}

// pathsOf returns the paths where a role has a rule. It looks where the role is bound first, which is often all.
func (s *state) pathsOf(id uint32) (list []string) {
	r := s.role(id)
	if n := s.tree.find(s.config.separator, r.binding); r.binding != "" && n != nil {
		if _, ok := n.rules.get(id); ok {
			list = append(list, r.binding)
		}
	}
	for path, n := range s.tree.all(s.config.separator, "") {
		if len(list) == r.paths {
			break
		}
		if _, ok := n.rules.get(id); ok && path != r.binding {
			list = append(list, path)
		}
	}
	return list
}

// everybodyLeaves takes a role from all who hold it.
func (tx *Tx) everybodyLeaves(id uint32) {
	for _, list := range []*[]uint32{&tx.anonymous, &tx.named} {
		tx.setSessions(list, slices.DeleteFunc(slices.Clone(*list), func(i uint32) bool { return i == id }))
	}
	if tx.role(id).mentions == 1 { // this removal's own
		return
	}
	members := map[string][]membership{}
	for name, p := range tx.principals.All() {
		if slices.ContainsFunc(p.holds, func(m membership) bool { return m.role == id }) {
			members[name] = p.holds
		}
	}
	for name, holds := range members {
		tx.hold(name, without(holds, id))
	}
}

// clearTopic makes a normal path no topic.
func (tx *Tx) clearTopic(path string) {
	if n := tx.tree.find(tx.config.separator, path); n != nil {
		for _, r := range slices.Collect(n.rules.all()) {
			tx.touched.about(tx.setRule(tx.edit, path, r.role, func(*rule) bool { return false }))
		}
	}
	tx.setTopic(path, false)
}

// AddTopic adds a topic, which stays although nothing is assigned there. If it is there, the error is Exists. A delegated
// administrator needs the Admin permission above it, and adds none that has nothing above it. Segments are letters,
// digits, _ and -. The store must have Delegation.
func (tx *Tx) AddTopic(path string) error {
	if err := tx.delegation(); err != nil {
		return err
	}
	path, err := tx.config.normal(path)
	if err != nil {
		return tx.fail(err)
	}
	if err := tx.administersTopic(path); err != nil {
		return err
	}
	if tx.topic(path) {
		return tx.fail(refuse(Exists, "topic", path, "a new one"))
	}
	if tx.delegated && strings.IndexByte(path, byte(tx.config.separator)) < 0 {
		return tx.fail(&AccessError{NoAdminTopic, tx.actor.String(), "add " + quote(path), "Root: nothing is above it"})
	}
	tx.log.add(word("add topic"), path)
	tx.setTopic(path, true)
	return nil
}

// RemoveTopic removes a topic with all that is assigned there; those below it stay. If it is not there the error is
// NotFound, and if it binds a role, InUse. A delegated administrator must administer it. The store must have Delegation.
func (tx *Tx) RemoveTopic(path string) error {
	path, err := tx.topicOf(path)
	if err != nil {
		return err
	}
	if r := tx.boundTo(path); r != nil {
		return tx.fail(refuse(InUse, "topic", path, "one that binds no role; this one binds "+quote(r.name)))
	}
	tx.log.add(word("remove topic"), path)
	tx.clearTopic(path)
	return nil
}

// topicOf returns the normal path of a topic that is there, for an actor who administers it.
func (tx *Tx) topicOf(path string) (string, error) {
	if err := tx.delegation(); err != nil {
		return "", err
	}
	path, err := tx.config.normal(path)
	if err != nil {
		return "", tx.fail(err)
	}
	if err := tx.administersTopic(path); err != nil {
		return "", err
	}
	return path, tx.topicThere(path)
}

// Topics yields the topics of a store with Delegation, sorted: those that were added, those that bind a role, and those
// that came into being when who may change everything assigned something there.
func (s *Snapshot) Topics() iter.Seq[string] {
	return func(yield func(string) bool) {
		var list []string
		for path, n := range s.state.tree.all(s.state.config.separator, "") {
			if n.topic {
				list = append(list, path)
			}
		}
		slices.Sort(list)
		for _, path := range list {
			if !yield(path) {
				return
			}
		}
	}
}
