package policy_test

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/topicvectors"
	"github.com/chansec/chansec/policy"
)

// town is the administration service of sqlauth.md 6 over a store, as far as the store answers for it: the first gate, and
// the translation of operations to commands. Its users are names and nothing else.
type town struct {
	*testing.T
	store *policy.Store
	users map[string]bool
}

func newTown(t *testing.T, v topicvectors.Vector, c policy.Config) *town {
	w := &town{t, newStore(t, c), map[string]bool{}}
	for _, name := range v.DB.Users {
		w.users[name] = true
	}
	change(t, w.store, func(tx *policy.Tx) { require.NoError(t, v.DB.Fill(tx)) })
	return w
}

// errorName is what the vectors call an error.
func errorName(err error) string {
	for _, kind := range []policy.Kind{policy.NoAdminRole, policy.NoAdminTopic, policy.NotFound, policy.Exists, policy.InUse} {
		if errors.Is(err, kind) {
			return string(kind)
		}
	}
	for _, kind := range []policy.Kind{policy.InvalidArgument, policy.InvalidPath, policy.UnknownPermission} {
		if errors.Is(err, kind) {
			return "invalid"
		}
	}
	return err.Error()
}

var (
	errNotAuthorized = errors.New("not-authorized")
	login            = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]*$`)
)

// do does one operation, and returns its result.
func (w *town) do(step topicvectors.Step) (result any, err error) {
	s := w.store.Snapshot()
	called, err := s.Allowed(s.Session(step.As), "call", "sys."+step.Op)
	require.NoError(w, err)
	if !called {
		return nil, errNotAuthorized
	}
	text := func(key string) string { value, _ := step.Args[key].(string); return value }
	name, user, topic := text("name"), text("login"), text("topic_name")
	list := func(key string) (list []string) {
		switch value := step.Args[key].(type) {
		case string:
			list = []string{value}
		case []any:
			for _, item := range value {
				list = append(list, item.(string))
			}
		}
		return list
	}
	actions := list("activity")
	if actions == nil {
		actions = policy.WAMP().Path
	}
	by := func(f func(tx *policy.Tx) error) (any, error) {
		return nil, w.store.Update(w.Context(), policy.ActorNamed(step.As), f)
	}
	switch step.Op {
	case "role.add":
		return by(func(tx *policy.Tx) error { return tx.AddRole(name, text("bind_topic")) })
	case "role.delete":
		return by(func(tx *policy.Tx) error { return tx.RemoveRole(name) })
	case "role.list":
		return w.roles(), nil
	case "topic.add":
		return by(func(tx *policy.Tx) error { return tx.AddTopic(name) })
	case "topic.delete":
		return by(func(tx *policy.Tx) error { return tx.RemoveTopic(name) })
	case "topic.list":
		return w.topics(), nil
	case "topicrole.add":
		return by(func(tx *policy.Tx) error { return tx.GrantNew(name, topic, actions...) })
	case "topicrole.delete":
		return by(func(tx *policy.Tx) error { return tx.Revoke(name, topic, actions...) })
	case "topicrole.permission":
		return w.rows(user, topic, text("type_id")), nil
	case "userrole.add":
		return by(func(tx *policy.Tx) error {
			if err := tx.AssignNewRole(user, name); err != nil {
				return err
			}
			return w.user(user)
		})
	case "userrole.delete":
		return by(func(tx *policy.Tx) error { return tx.UnassignRole(user, name) })
	case "user.add":
		if !login.MatchString(user) || text("secret") == "" {
			return nil, policy.InvalidArgument
		}
		if _, err := by(func(tx *policy.Tx) error {
			if err := tx.AssignRoles(user, list("roles")...); err != nil || !w.users[user] {
				return err
			}
			return policy.Exists
		}); err != nil {
			return nil, err
		}
		w.users[user] = true
		return nil, nil
	case "user.delete":
		if err := w.user(user); err != nil {
			return nil, err
		}
		delete(w.users, user)
		return nil, w.store.Update(w.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.AssignRoles(user) })
	case "user.list":
		var all []any
		for _, name := range slices.Sorted(maps.Keys(w.users)) {
			all = append(all, map[string]any{"login": name, "roles": s.Roles(name)})
		}
		return all, nil
	}
	w.Fatalf("the vectors have a new operation: %s", step.Op)
	return nil, nil
}

func (w *town) user(login string) error {
	if !w.users[login] {
		return policy.NotFound
	}
	return nil
}

func (w *town) roles() (all []any) {
	s := w.store.Snapshot()
	for name, binding := range s.Bindings() {
		users := []string{}
		for _, user := range slices.Sorted(maps.Keys(w.users)) {
			if slices.Contains(s.Roles(user), name) {
				users = append(users, user)
			}
		}
		all = append(all, map[string]any{"name": name, "bind": binding, "users": users})
	}
	return all
}

func (w *town) topics() (all []any) {
	s := w.store.Snapshot()
	roles := map[string][]string{}
	for r := range s.Rules() {
		roles[r.Path] = append(roles[r.Path], r.Role)
	}
	for topic := range s.Topics() {
		all = append(all, map[string]any{"name": topic, "roles": roles[topic]})
	}
	return all
}

// rows is sqlauth.md 4.1.
func (w *town) rows(user, topic, action string) []any {
	s := w.store.Snapshot()
	x, err := s.Explain(s.Session(user), topic, action)
	require.NoError(w, err)
	all := []any{}
	for _, p := range x.Passed {
		for _, r := range p.Rules {
			if slices.Contains(r.Permissions, action) {
				all = append(all, map[string]any{"topic": p.Path, "role": r.Role, "allow": true})
			}
		}
	}
	return all
}

func TestAdministrationScenarios(t *testing.T) {
	v := topicvectors.Scenarios(t)
	for name, ceiling := range map[string]bool{"without a ceiling": false, "with one, under which all of it may be done as well": true} {
		t.Run(name, func(t *testing.T) {
			c := policy.WAMPConfig()
			c.Delegation, c.Ceiling = true, ceiling
			done, left := 0, 0
			for _, scenario := range v.Scenarios {
				t.Run(scenario.ID, func(t *testing.T) {
					w := newTown(t, v, c)
					for i, step := range scenario.Steps {
						switch {
						case step.Check != nil:
							s := w.store.Snapshot()
							x, err := s.Explain(s.Session(step.Check.User), step.Check.Topic, step.Check.Action)
							require.NoError(t, err)
							require.Equal(t, step.Expect.Allowed, x.Allowed, "step %d", i)
							require.Equal(t, step.Expect.DecidedBy, decidedBy(x), "step %d", i)
						case step.Op == "" || strings.HasPrefix(step.Op, "session.") || strings.HasPrefix(step.Op, "activity."):
							left++ // what is connected, and what it did, is not the store's to know
							continue
						default:
							before := w.store.Snapshot()
							result, err := w.do(step)
							if !step.Expect.OK {
								require.Error(t, err, "step %d", i)
								require.Equal(t, step.Expect.Error, errorName(err), "step %d", i)
								require.Equal(t, before, w.store.Snapshot(), "nothing was changed")
								break
							}
							require.NoError(t, err, "step %d", i)
							if step.Expect.Result != nil {
								want, err := json.Marshal(step.Expect.Result)
								require.NoError(t, err)
								got, err := json.Marshal(result)
								require.NoError(t, err)
								require.JSONEq(t, string(want), string(got), "step %d", i)
							}
						}
						done++
					}
					restored(t, w.store, c)
				})
			}
			require.Equal(t, []int{73, 24}, []int{done, left}, "steps that were done, and that are about sessions and activity")
		})
	}
}

// restored checks that a store's script makes the same store again.
func restored(t *testing.T, s *policy.Store, c policy.Config) {
	again := newStore(t, c)
	require.NoError(t, again.Restore(t.Context(), policy.Root(), s.Snapshot().Script()))
	require.Equal(t, s.Snapshot().Script(), again.Snapshot().Script())
	require.Equal(t, slices.Collect(s.Snapshot().Topics()), slices.Collect(again.Snapshot().Topics()))
	require.Equal(t, maps.Collect(s.Snapshot().Bindings()), maps.Collect(again.Snapshot().Bindings()))
}
