package policy_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// The reference of delegated administration: sqlauth.md 5 and 6, table row by table row.

// there reports whether people see a role: it is bound, has something, or is included.
func (r *reference) there(name string) bool {
	x := r.roles[name]
	if r.bindings[name] != "" || x != nil && len(x.globals)+len(x.paths)+len(x.denials)+len(x.includes) > 0 {
		return true
	}
	for _, other := range r.roles {
		if slices.Contains(other.includes, name) {
			return true
		}
	}
	return false
}

// given reports whether anybody was given a role, there or not.
func (r *reference) given(name string) bool {
	for _, list := range r.principals {
		if slices.Contains(list, name) {
			return true
		}
	}
	return slices.Contains(r.named, name) || slices.Contains(r.anonymous, name)
}

func (r *reference) admin(actor, topic string) bool {
	return slices.Contains(r.permissions(r.held(actor, nil), topic), "admin")
}

// adminRole is "existence of the named role before its admin check".
func (r *reference) adminRole(actor, name string) error {
	switch {
	case !r.there(name):
		return policy.NotFound
	case r.bindings[name] == "" || !r.admin(actor, r.bindings[name]):
		return policy.NoAdminRole
	}
	return nil
}

// adminGrant is the gates of topicrole.add and, where nothing is given, topicrole.delete.
func (r *reference) adminGrant(actor, name, topic string, gives bool) error {
	if err := r.adminRole(actor, name); err != nil {
		return err
	}
	switch {
	case !r.admin(actor, topic):
		return policy.NoAdminTopic
	case gives && !r.topics[topic]:
		return policy.NotFound
	}
	return nil
}

var (
	topicName       = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	errOnlyRootMay  = errors.New("reserved")
	errOtherwiseBad = errors.New("invalid")
)

// bindTopic is sqlauth.md 5.
func bindTopic(name, topic string) (string, error) {
	if topic == "" {
		topic = "role." + name
	}
	if !strings.HasPrefix(topic, "role.") {
		topic = "role." + topic
	}
	if !strings.HasSuffix(topic, "."+name) {
		topic += "." + name
	}
	if !topicName.MatchString(topic) || !topicName.MatchString(name) || strings.Contains(name, ".") {
		return "", errOtherwiseBad
	}
	return topic, nil
}

// closure is all roles that an actor has, or may give itself.
func (r *reference) closure(actor string) []string {
	roles := r.held(actor, nil)
	for again := true; again; {
		again = false
		for name, topic := range r.bindings {
			if topic != "" && !slices.Contains(roles, name) && slices.Contains(r.permissions(roles, topic), "admin") {
				roles, again = append(roles, name), true
			}
		}
	}
	return roles
}

// rank is what roles have at a topic, where admin is the right to have all.
func (r *reference) rank(roles []string, topic string) []string {
	list := r.permissions(roles, topic)
	if slices.Contains(list, "admin") {
		return policy.WAMP().Path
	}
	return list
}

// realm is a duel in a store with delegation.
type realm struct{ *duel }

func (d realm) topic() string {
	if d.IntN(3) > 0 {
		return d.pick("a", "b", "a.b", "a.a", "a.b.c", "b.a", "a b", "a..b")
	}
	return d.pick("role", "role.R0", "role.R1", "role.R2.R3", "role.R1.R4", "role.R1.R4.R5", "role.a", "role.R6", "role.R1.x")
}

func (d realm) bindTopic(name string) string {
	if d.IntN(3) > 0 {
		return d.pick("role.R1.", "role.R2.", "role.R1.R4.", "role.a.") + name
	}
	return d.pick("", name, "R1", "R0", "role", "a", "role.", "a..b", "x"+name, "role.R1")
}

// command does one command on both, and returns what it must fail with. For Root the gates are open.
func (d realm) command(tx *policy.Tx, actor string, next *reference) (err, want error) {
	root := actor == ""
	aims := !root && d.IntN(4) > 0 // at what they administer
	aim := func(pick func() string, right func(string) bool) (s string) {
		for i := range 8 {
			if s = pick(); !aims || i == 7 || right(s) {
				break
			}
		}
		return s
	}
	administers := func(topic string) bool { return next.admin(actor, topic) }
	name := aim(d.roleName, func(name string) bool { return next.adminRole(actor, name) == nil })
	topic, who := aim(d.topic, administers), d.pick("alice", "bob", "carol")
	gate := func(err error) error {
		if root {
			return nil
		}
		return err
	}
	list := d.permissions()
	is, denied := []string(nil), []string(nil)
	if r := next.roles[name]; r != nil {
		is, denied = r.paths[topic], r.denials[topic]
	}
	put := func(list []string) { next.put(name, topic, list, denied) }
	check := func(gives bool) error {
		if !topicName.MatchString(topic) {
			return errOtherwiseBad
		}
		return gate(next.adminGrant(actor, name, topic, gives))
	}
	switch c := d.IntN(17); {
	case c < 2:
		if want = check(len(list) > 0); want == nil {
			put(list)
		}
		return tx.SetPathPermissions(name, topic, list...), want
	case c < 4:
		if want = check(len(list) > 0); want == nil && len(list) > 0 {
			put(append(slices.Clone(is), list...))
		}
		return tx.Grant(name, topic, list...), want
	case c == 4:
		want = check(len(list) > 0)
		switch {
		case want != nil:
		case !next.there(name) || !next.topics[topic]:
			want = policy.NotFound
		case slices.ContainsFunc(list, func(p string) bool { return slices.Contains(is, p) }):
			want = policy.Exists
		case len(list) > 0:
			put(append(slices.Clone(is), list...))
		}
		return tx.GrantNew(name, topic, list...), want
	case c == 5:
		if want = check(false); want == nil && len(is) > 0 {
			put(without(is, list))
		}
		return tx.Revoke(name, topic, list...), want
	case c == 6:
		if want = check(false); want == nil {
			next.put(name, topic, nil, nil)
		}
		return tx.RemovePathPermissions(name, topic), want
	case c == 7:
		names := d.roleNames()
		if aims {
			names = append(without(next.principals[who], []string{d.roleName()}), name)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		changed := append(without(names, next.principals[who]), without(next.principals[who], names)...)
		switch {
		case !root && slices.ContainsFunc(changed, func(r string) bool { return !next.there(r) }):
			want = policy.NotFound
		case !root && slices.ContainsFunc(changed, func(r string) bool { return next.adminRole(actor, r) != nil }):
			want = policy.NoAdminRole
		default:
			next.principals[who] = names
		}
		return tx.AssignRoles(who, names...), want
	case c == 8 || c == 9:
		want = gate(next.adminRole(actor, name))
		switch {
		case want == nil && !next.there(name):
			want = policy.NotFound
		case want == nil && c == 8 && slices.Contains(next.principals[who], name):
			want = policy.Exists
		case want == nil && c == 8:
			next.principals[who] = append(slices.Clone(next.principals[who]), name)
		case want == nil:
			next.principals[who] = without(next.principals[who], []string{name})
		}
		if c == 8 {
			return tx.AssignNewRole(who, name), want
		}
		return tx.UnassignRole(who, name), want
	case c == 10 || c == 11:
		name := aim(d.roleName, func(name string) bool { return !next.there(name) })
		given := aim(func() string { return d.bindTopic(name) }, func(given string) bool {
			binding, _ := bindTopic(name, given)
			return administers(binding)
		})
		binding, err := bindTopic(name, given)
		switch {
		case err != nil:
			want = err
		case !root && !next.admin(actor, binding):
			want = policy.NoAdminTopic
		case next.there(name) || next.given(name) || next.topics[binding]:
			want = policy.Exists
		default:
			next.bindings[name] = binding
			if next.put(name, binding, []string{"admin"}, nil); d.config.NoSelfGrant {
				next.put(name, binding, nil, nil)
			}
			next.topics[binding] = true
		}
		return tx.AddRole(name, given), want
	case c == 12:
		if want = gate(next.adminRole(actor, name)); want == nil && !next.there(name) {
			want = policy.NotFound
		}
		if want == nil {
			next.remove(name)
		}
		return tx.RemoveRole(name), want
	case c == 13:
		switch {
		case !topicName.MatchString(topic):
			want = errOtherwiseBad
		case !root && !next.admin(actor, topic):
			want = policy.NoAdminTopic
		case next.topics[topic]:
			want = policy.Exists
		case !root && !strings.Contains(topic, "."):
			want = policy.NoAdminTopic
		default:
			next.topics[topic] = true
		}
		return tx.AddTopic(topic), want
	case c == 14:
		switch {
		case !topicName.MatchString(topic):
			want = errOtherwiseBad
		case !root && !next.admin(actor, topic):
			want = policy.NoAdminTopic
		case !next.topics[topic]:
			want = policy.NotFound
		case slices.Contains(slices.Collect(maps.Values(next.bindings)), topic):
			want = policy.InUse
		default:
			next.clear(topic)
		}
		return tx.RemoveTopic(topic), want
	case c == 15 && d.config.DenyRows:
		if want = check(len(list) > 0); want == nil {
			next.put(name, topic, is, list)
		}
		return tx.SetPathDenials(name, topic, list...), want
	case c == 15:
		return nil, nil
	}
	return d.reserved(tx, root, next, name)
}

// reserved does one command that is Root's.
func (d realm) reserved(tx *policy.Tx, root bool, next *reference, name string) (err, want error) {
	if !root {
		want = errOnlyRootMay
	}
	switch d.IntN(4) {
	case 0:
		includes := d.roleNames()
		for _, i := range includes {
			if root && next.effective([]string{i})[name] {
				want = policy.Cycle
			}
		}
		if want == nil {
			next.role(name).includes = includes
		}
		return tx.SetRoleIncludes(name, includes...), want
	case 1:
		names := d.roleNames()
		if root {
			next.named = names
		}
		return tx.SetRolesForNamedSessions(names...), want
	case 2:
		given := d.bindTopic(name)
		binding, err := bindTopic(name, given)
		switch {
		case !root:
		case given == "":
			delete(next.bindings, name)
		case err != nil:
			want = err
		default:
			next.bindings[name], next.topics[binding] = binding, true
		}
		return tx.SetRoleBinding(name, given), want
	}
	if !root {
		return tx.SetRoleLockedByPrincipal(name, "alice"), want
	}
	return nil, nil
}

// put replaces what a role has at a topic.
func (r *reference) put(name, topic string, allow, deny []string) {
	role := r.role(name)
	if delete(role.paths, topic); len(allow) > 0 {
		role.paths[topic], r.topics[topic] = allow, true
	}
	if delete(role.denials, topic); len(deny) > 0 {
		role.denials[topic], r.topics[topic] = deny, true
	}
}

// clear is topic.delete.
func (r *reference) clear(topic string) {
	delete(r.topics, topic)
	for _, role := range r.roles {
		delete(role.paths, topic)
		delete(role.denials, topic)
	}
}

// remove is role.delete.
func (r *reference) remove(name string) {
	if topic := r.bindings[name]; topic != "" {
		r.clear(topic)
	}
	delete(r.bindings, name)
	delete(r.roles, name)
	gone := []string{name}
	for _, role := range r.roles {
		role.includes = without(role.includes, gone)
	}
	for who, list := range r.principals {
		r.principals[who] = without(list, gone)
	}
	r.named, r.anonymous = without(r.named, gone), without(r.anonymous, gone)
}

// TestDelegatedAdministrationRaisesNobody lets principals administer at random: each command ends as the reference says, and
// nobody has what they had not before and the actor neither had nor administered. CHANSEC_POLICY_ADMINISTRATIONS sets how
// many operations there are.
func TestDelegatedAdministrationRaisesNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	for name, change := range map[string]func(*policy.Config){
		"without a ceiling":                       func(*policy.Config) {},
		"roles that do not administer themselves": func(c *policy.Config) { c.NoSelfGrant = true },
		"with a ceiling":                          func(c *policy.Config) { c.Ceiling = true },
		"with a ceiling, where to take a role may be to end a denial": func(c *policy.Config) { c.Ceiling, c.DenyRows = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			c := policy.WAMPConfig()
			c.Delegation = true
			change(&c)
			realm{newDuel(t, c, 5)}.administer(administrations(t))
		})
	}
}

func administrations(t *testing.T) int {
	if s := os.Getenv("CHANSEC_POLICY_ADMINISTRATIONS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	return 4_000
}

func (d realm) administer(operations int) {
	done, refused, excess := 0, 0, 0
	for i := range operations {
		if i%100 == 0 { // a new world, which the program makes
			d.store, d.naive = newStore(d.t, d.config), newReference(d.config)
			d.found()
			for range 20 {
				d.transaction("", 1)
			}
		}
		actor := d.pick("alice", "bob", "carol")
		before := d.naive
		switch err := d.transaction(actor, 1+d.IntN(2)); {
		case errors.As(err, new(*policy.ExcessError)):
			excess++
		case err != nil:
			refused++
		default:
			done++
			d.nobodyIsRaised(before, actor)
		}
		if d.IntN(50) == 0 {
			d.equal()
		}
	}
	require.Positive(d.t, done)
	require.Positive(d.t, refused)
	require.Equal(d.t, d.config.Ceiling, excess > 0)
	if operations > 100_000 {
		d.t.Logf("%d done, %d refused, %d above the ceiling", done, refused, excess)
	}
}

// found makes a world in which there is something to administer.
func (d realm) found() {
	change(d.t, d.store, func(tx *policy.Tx) {
		for i := range 6 {
			name := fmt.Sprint("R", i)
			binding, err := bindTopic(name, d.pick("", "R1", "R1.R4", "a"))
			require.NoError(d.t, err)
			require.NoError(d.t, tx.SetRoleBinding(name, binding))
			d.naive.bindings[name], d.naive.topics[binding] = binding, true
			for _, topic := range []string{d.pick("a", "b", "a.b"), d.pick("role.R1", "role.a", binding, binding)} {
				list := append(d.permissions(), d.pick(policy.WAMP().Path...))
				if topic != "a" && topic != "b" {
					list = append(list, "admin")
				}
				require.NoError(d.t, tx.SetPathPermissions(name, topic, list...))
				d.naive.put(name, topic, list, nil)
			}
		}
		for _, who := range []string{"alice", "bob", "carol"} {
			d.naive.principals[who] = []string{"R" + d.pick("0", "1", "2"), "R" + d.pick("3", "4", "5")}
			require.NoError(d.t, tx.AssignRoles(who, d.naive.principals[who]...))
		}
	})
}

// transaction does some commands; those of an actor without a name are the program's.
func (d realm) transaction(actor string, commands int) error {
	next := d.naive.clone()
	var want error
	who := policy.ActorNamed(actor)
	if actor == "" {
		who = policy.Root()
	}
	err := d.store.Update(d.t.Context(), who, func(tx *policy.Tx) (err error) {
		for range commands {
			if err, want = d.command(tx, actor, next); err != nil || want != nil {
				return err
			}
		}
		return nil
	})
	switch want {
	case nil:
		if err != nil {
			require.ErrorAs(d.t, err, new(*policy.ExcessError))
			return err
		}
		d.naive = next
	case errOnlyRootMay:
		var e *policy.AccessError
		require.ErrorAs(d.t, err, &e)
		require.Empty(d.t, e.Kind)
	case errOtherwiseBad:
		require.Equal(d.t, "invalid", errorName(err))
	default:
		require.ErrorIs(d.t, err, want)
		require.Equal(d.t, want == policy.NoAdminRole || want == policy.NoAdminTopic, errors.Is(err, chansec.ErrPermission))
	}
	return err
}

func (d realm) nobodyIsRaised(before *reference, actor string) {
	holds := before.held(actor, nil)
	if !d.config.Ceiling { // who administers a role may join it
		holds = before.closure(actor)
	}
	for _, who := range []string{"alice", "bob", "carol", "nobody", "", d.roleName()} {
		was, is := before.held(who, nil), d.naive.held(who, nil)
		if len(who) == 2 { // a role by itself
			was, is = []string{who}, []string{who}
		}
		for range 6 {
			topic := d.topic()
			has := d.naive.permissions(is, topic)
			if len(has) == 0 {
				continue
			}
			more := without(without(has, before.permissions(was, topic)), before.rank(holds, topic))
			require.Empty(d.t, more, fmt.Sprintf("%q raised %q on %s", actor, who, topic))
		}
	}
}

// equal holds the store against the reference, and against what its script makes.
func (d realm) equal() {
	s := d.store.Snapshot()
	for _, who := range []string{"alice", "bob", "carol", "nobody", ""} {
		require.ElementsMatch(d.t, d.naive.principals[who], s.Roles(who))
		for range 5 {
			topic := d.topic()
			require.ElementsMatch(d.t, d.naive.permissions(d.naive.held(who, nil), topic), s.PathPermissions(s.Session(who), topic))
		}
	}
	require.ElementsMatch(d.t, slices.Collect(maps.Keys(d.naive.topics)), slices.Collect(s.Topics()))
	for role, topic := range s.Bindings() {
		require.Equal(d.t, d.naive.bindings[role], topic)
		require.True(d.t, d.naive.there(role))
	}
	restored(d.t, d.store, d.config)
}
