package policy_test

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func delegating(change ...func(*policy.Config)) policy.Config {
	c := policy.WAMPConfig()
	c.Delegation = true
	for _, f := range change {
		f(&c)
	}
	return c
}

// as does a change as a principal.
func as(t *testing.T, s *policy.Store, name string, f func(tx *policy.Tx) error) error {
	return s.Update(t.Context(), policy.ActorNamed(name), f)
}

// office is the example of sqlauth.md 6.1: adm, who administers adm, made the role ops and put greg into it, who
// administers adm.disk by it. ann is in com, and old is a role that is bound to nothing.
func office(t *testing.T, c policy.Config) *policy.Store {
	s := newStore(t, c)
	change(t, s, func(tx *policy.Tx) {
		tx.AddTopic("role")
		for _, name := range []string{"adm", "com"} {
			tx.AddRole(name, "")
			tx.Grant(name, "role."+name, "admin")
			tx.Grant(name, name, "admin", "call")
		}
		tx.Grant("old", "com.old", "call")
		tx.AssignRoles("adm", "adm")
		tx.AssignRoles("ann", "com")
	})
	require.NoError(t, as(t, s, "adm", func(tx *policy.Tx) error {
		tx.AddRole("ops", "adm")
		tx.Grant("ops", "role.adm.ops", "admin")
		tx.AssignNewRole("greg", "ops")
		tx.AddTopic("adm.disk")
		return tx.GrantNew("ops", "adm.disk", "admin", "publish")
	}))
	return s
}

func TestDelegatedAdministration(t *testing.T) {
	later := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		do   func(tx *policy.Tx) error
		want error // nil: greg may
	}{
		{"to add somebody to his role", func(tx *policy.Tx) error { return tx.AssignNewRole("zed", "ops") }, nil},
		{"the same for a time", func(tx *policy.Tx) error { return tx.AssignRoleUntil("zed", "ops", later) }, nil},
		{"somebody who is in it", func(tx *policy.Tx) error { return tx.AssignNewRole("greg", "ops") }, policy.Exists},
		{"to take himself out", func(tx *policy.Tx) error { return tx.UnassignRole("greg", "ops") }, nil},
		{"to take out who is not in it", func(tx *policy.Tx) error { return tx.UnassignRole("zed", "ops") }, nil},
		{"to add somebody to another role", func(tx *policy.Tx) error { return tx.AssignNewRole("zed", "adm") }, policy.NoAdminRole},
		{"to take somebody out of another role", func(tx *policy.Tx) error { return tx.UnassignRole("ann", "com") }, policy.NoAdminRole},
		{"even who is not in it", func(tx *policy.Tx) error { return tx.UnassignRole("zed", "com") }, policy.NoAdminRole},
		{"to let somebody's other role end", func(tx *policy.Tx) error { return tx.AssignRoleUntil("ann", "com", later) }, policy.NoAdminRole},
		{"to replace somebody's other role", func(tx *policy.Tx) error { return tx.AssignRoles("ann", "ops") }, policy.NoAdminRole},
		{"to leave it as it is", func(tx *policy.Tx) error { return tx.AssignRoles("ann", "ops", "com") }, nil},
		{"to forget somebody with another role", func(tx *policy.Tx) error { return tx.RemovePrincipal("ann") }, policy.NoAdminRole},
		{"to add somebody to a role that is not there", func(tx *policy.Tx) error { return tx.AssignNewRole("zed", "ups") }, policy.NotFound},
		{"to add somebody to a role that is bound to nothing", func(tx *policy.Tx) error { return tx.AssignNewRole("zed", "old") }, policy.NoAdminRole},

		{"to grant his role what he administers", func(tx *policy.Tx) error { return tx.Grant("ops", "adm.disk", "subscribe") }, nil},
		{"to replace what it has there", func(tx *policy.Tx) error { return tx.SetPathPermissions("ops", "adm.disk", "call", "admin") }, nil},
		{"to grant what is new", func(tx *policy.Tx) error { return tx.GrantNew("ops", "adm.disk", "call", "register") }, nil},
		{"of which one is not", func(tx *policy.Tx) error { return tx.GrantNew("ops", "adm.disk", "call", "publish") }, policy.Exists},
		{"to take it", func(tx *policy.Tx) error { return tx.Revoke("ops", "adm.disk", "publish", "call") }, nil},
		{"to take all of it", func(tx *policy.Tx) error { return tx.RemovePathPermissions("ops", "adm.disk") }, nil},
		{"to deny it", func(tx *policy.Tx) error { return tx.SetPathDenials("ops", "adm.disk", "publish") }, nil},
		{"a topic that is not there", func(tx *policy.Tx) error { return tx.Grant("ops", "adm.disk.full", "call") }, policy.NotFound},
		{"after he added it", func(tx *policy.Tx) error {
			tx.AddTopic("adm.disk.full")
			return tx.Grant("ops", "adm.disk.full", "call")
		}, nil},
		{"to take from a topic that is not there", func(tx *policy.Tx) error { return tx.Revoke("ops", "adm.disk.full", "call") }, nil},
		{"what he does not administer", func(tx *policy.Tx) error { return tx.Grant("ops", "com", "call") }, policy.NoAdminTopic},
		{"what is above it", func(tx *policy.Tx) error { return tx.Grant("ops", "adm", "call") }, policy.NoAdminTopic},
		{"to take what he does not administer", func(tx *policy.Tx) error { return tx.Revoke("ops", "com", "call") }, policy.NoAdminTopic},
		{"another role what he administers", func(tx *policy.Tx) error { return tx.Grant("com", "adm.disk", "call") }, policy.NoAdminRole},
		{"to take it from another role", func(tx *policy.Tx) error { return tx.RemovePathPermissions("com", "adm.disk") }, policy.NoAdminRole},
		{"to deny it another role", func(tx *policy.Tx) error { return tx.SetPathDenials("com", "adm.disk", "call") }, policy.NoAdminRole},
		{"a role that is not there", func(tx *policy.Tx) error { return tx.Grant("ups", "adm.disk", "call") }, policy.NotFound},
		{"a role that is bound to nothing", func(tx *policy.Tx) error { return tx.Grant("old", "adm.disk", "call") }, policy.NoAdminRole},
		{"what no vocabulary has, whoever may", func(tx *policy.Tx) error { return tx.Grant("com", "com", "fly") }, policy.UnknownPermission},
		{"a name that no topic has, whoever may", func(tx *policy.Tx) error { return tx.Grant("com", "com.a b", "call") }, policy.InvalidPath},

		{"to add a topic below his", func(tx *policy.Tx) error { return tx.AddTopic("adm.disk.a.b") }, nil},
		{"beside his", func(tx *policy.Tx) error { return tx.AddTopic("adm.tape") }, policy.NoAdminTopic},
		{"above all", func(tx *policy.Tx) error { return tx.AddTopic("disk") }, policy.NoAdminTopic},
		{"one that is there", func(tx *policy.Tx) error { return tx.AddTopic("adm.disk") }, policy.Exists},
		{"to remove his topic", func(tx *policy.Tx) error { return tx.RemoveTopic("adm.disk") }, nil},
		{"another one", func(tx *policy.Tx) error { return tx.RemoveTopic("com") }, policy.NoAdminTopic},
		{"one that is not there", func(tx *policy.Tx) error { return tx.RemoveTopic("adm.disk.full") }, policy.NotFound},
		{"the one that binds his role", func(tx *policy.Tx) error { return tx.RemoveTopic("role.adm.ops") }, policy.InUse},

		{"to remove his role", func(tx *policy.Tx) error { return tx.RemoveRole("ops") }, nil},
		{"another role", func(tx *policy.Tx) error { return tx.RemoveRole("com") }, policy.NoAdminRole},
		{"a role that is bound to nothing, either", func(tx *policy.Tx) error { return tx.RemoveRole("old") }, policy.NoAdminRole},
		{"a role that is not there, either", func(tx *policy.Tx) error { return tx.RemoveRole("ups") }, policy.NotFound},
		{"to describe his role", func(tx *policy.Tx) error { return tx.CheckRole("ops") }, nil},
		{"to describe another", func(tx *policy.Tx) error { return tx.CheckRole("com") }, policy.NoAdminRole},
		{"to describe his topic", func(tx *policy.Tx) error { return tx.CheckTopic("adm.disk") }, nil},
		{"to describe another one", func(tx *policy.Tx) error { return tx.CheckTopic("com") }, policy.NoAdminTopic},

		{"what an earlier command took", func(tx *policy.Tx) error {
			tx.Revoke("ops", "adm.disk", "admin")
			return tx.Grant("ops", "adm.disk", "call")
		}, policy.NoAdminTopic},
		{"a role that he left", func(tx *policy.Tx) error {
			tx.UnassignRole("greg", "ops")
			return tx.AssignNewRole("greg", "ops")
		}, policy.NoAdminRole},
		{"a role that he made", func(tx *policy.Tx) error {
			tx.AddRole("crew", "adm.ops")
			tx.GrantNew("crew", "adm.disk", "call")
			return tx.AssignNewRole("zed", "crew")
		}, nil},
		{"a script", func(tx *policy.Tx) error {
			return tx.Run("add topic 'adm.disk.full'\nset 'ops' path 'adm.disk.full' permissions [call]\nassign role 'zed' 'ops' until ''")
		}, nil},
		{"a script that goes further", func(tx *policy.Tx) error {
			return tx.Run("set 'ops' path 'adm.disk' permissions [admin]\nset 'ops' path 'com' permissions [call]")
		}, policy.NoAdminTopic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := office(t, delegating(func(c *policy.Config) { c.DenyRows = true }))
			before := s.Snapshot()
			err := as(t, s, "greg", tt.do)
			if tt.want == nil {
				require.NoError(t, err)
				require.ErrorIs(t, as(t, s, "", tt.do), chansec.ErrPermission, "nobody may")
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, before, s.Snapshot(), "nothing was changed")
			denied := tt.want == policy.NoAdminRole || tt.want == policy.NoAdminTopic
			require.Equal(t, denied, errors.Is(err, chansec.ErrPermission))
			if denied {
				var e *policy.AccessError
				require.ErrorAs(t, err, &e)
				require.Equal(t, tt.want, e.Kind)
				require.Equal(t, "greg", e.Actor)
				require.NoError(t, s.Update(t.Context(), policy.Root(), tt.do), "the program may")
			}
		})
	}
}

func TestWhoMayAddRoles(t *testing.T) {
	for _, tt := range []struct {
		actor, topic string
		may          bool
	}{
		{"adm", "adm", true},
		{"adm", "role.adm.x.y", true},
		{"adm", "com", false},
		{"adm", "", false},
		{"greg", "adm.ops", true},
		{"greg", "adm", false},
		{"greg", "ops", false},
		{"zed", "adm", false},
	} {
		s := office(t, delegating())
		err := as(t, s, tt.actor, func(tx *policy.Tx) error { return tx.AddRole("new", tt.topic) })
		if tt.may {
			require.NoError(t, err, tt)
		} else {
			require.ErrorIs(t, err, policy.NoAdminTopic, tt)
		}
	}
}

func TestNamesAndTopicsOfRolesAreNew(t *testing.T) {
	s := office(t, delegating())
	change(t, s, func(tx *policy.Tx) { tx.AssignRoles("zed", "promised") })
	for name, topic := range map[string]string{"ops": "com", "new": "role.adm.new", "old": "adm", "promised": "adm"} {
		err := as(t, s, "adm", func(tx *policy.Tx) error {
			if name == "new" {
				tx.AddTopic(topic)
			}
			return tx.AddRole(name, topic)
		})
		if name == "ops" {
			require.ErrorIs(t, err, policy.NoAdminTopic, "where she may not add any, she learns nothing")
			topic = "adm"
			err = as(t, s, "adm", func(tx *policy.Tx) error { return tx.AddRole(name, topic) })
		}
		require.ErrorIs(t, err, policy.Exists, name)
	}
}

func TestTheTwoConsequences(t *testing.T) {
	addZed := func(tx *policy.Tx) error { return tx.AssignNewRole("zed", "new") }
	for _, without := range []bool{false, true} {
		s := office(t, delegating(func(c *policy.Config) { c.NoSelfGrant = without }))
		require.NoError(t, as(t, s, "adm", func(tx *policy.Tx) error {
			tx.AddRole("new", "adm")
			return tx.AssignNewRole("ann", "new")
		}))
		err := as(t, s, "ann", addZed)
		if without {
			require.ErrorIs(t, err, policy.NoAdminRole, "without the self-grant, members do not")
			require.NoError(t, as(t, s, "adm", addZed), "but who administers its topic")
		} else {
			require.NoError(t, err, "every member of a role administers it")
		}
	}
	s := office(t, delegating())
	session := s.Snapshot().Session("greg")
	require.Equal(t, []string{"admin", "publish"}, s.Snapshot().PathPermissions(session, "adm.disk"))
	require.NoError(t, as(t, s, "greg", func(tx *policy.Tx) error { return tx.Grant("ops", "adm.disk", policy.WAMP().Path...) }))
	require.Equal(t, []string{"admin", "call", "publish", "register", "subscribe"}, s.Snapshot().PathPermissions(session, "adm.disk"),
		"who administers a topic, and is in a role, may do anything there")
}

func TestTopicsThatBindRoles(t *testing.T) {
	for _, tt := range []struct{ name, given, want string }{
		{"administrator", "test", "role.test.administrator"},
		{"r2", "role.test.r2", "role.test.r2"},
		{"r3", "r3", "role.r3"},
		{"r4", "", "role.r4"},
		{"r5", "role", "role.role.r5"},
		{"r7", "a.xr7", "role.a.xr7.r7"},
		{"R", "r", "role.r.R"},
		{"role", "role", "role.role"},
		{"a-b_1", "x", "role.x.a-b_1"},
		{"r8", "role.", ""},
		{"r9", "a..b", ""},
		{"r9", ".r9", ""},
		{"r9", "x.", ""},
		{"r9", ".", ""},
		{"r9", "a b", ""},
		{"r9", "$principal", ""},
		{"r9", strings.Repeat("x", 255), ""},
		{"a.b", "x", ""},
		{"", "x", ""},
		{"ä", "x", ""},
		{"a b", "x", ""},
		{strings.Repeat("x", 256), "", ""},
	} {
		for command, do := range map[string]func(tx *policy.Tx) error{
			"AddRole":        func(tx *policy.Tx) error { return tx.AddRole(tt.name, tt.given) },
			"SetRoleBinding": func(tx *policy.Tx) error { return tx.SetRoleBinding(tt.name, tt.given) },
		} {
			if command == "SetRoleBinding" && tt.given == "" {
				continue // unbinds
			}
			s := newStore(t, delegating(func(c *policy.Config) { c.Variables = true }))
			err := s.Update(t.Context(), policy.Root(), do)
			if tt.want == "" {
				require.Equal(t, "invalid", errorName(err), "%s %q %q", command, tt.name, tt.given)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, map[string]string{tt.name: tt.want}, maps.Collect(s.Snapshot().Bindings()))
			require.Equal(t, []string{tt.want}, slices.Collect(s.Snapshot().Topics()))
			restored(t, s, delegating())
		}
	}
	slashes := newStore(t, delegating(func(c *policy.Config) { c.Separator = policy.Slash }))
	change(t, slashes, func(tx *policy.Tx) { tx.AddRole("ops", "adm") })
	require.Equal(t, map[string]string{"ops": "role/adm/ops"}, maps.Collect(slashes.Snapshot().Bindings()))
}

// TestAllOtherCommandsAreForWhoMayChangeEverything finds every command there is, so that a new one cannot be forgotten.
func TestAllOtherCommandsAreForWhoMayChangeEverything(t *testing.T) {
	harmless := map[string]bool{"Revision": true, "Expect": true, "Run": true}
	roles := map[string]bool{"AssignRoles": true, "SetRoleIncludes": true, "SetRolesForAnonymousSessions": true, "SetRolesForNamedSessions": true}
	tx := reflect.TypeFor[*policy.Tx]()
	require.Greater(t, tx.NumMethod(), 25)
	for i := range tx.NumMethod() {
		method := tx.Method(i)
		if harmless[method.Name] {
			continue
		}
		for _, actor := range []policy.Actor{policy.ActorNamed("zed"), policy.ActorNamed("")} {
			s := office(t, delegating(func(c *policy.Config) { c.DenyRows = true }))
			before := s.Snapshot()
			err := s.Update(t.Context(), actor, func(tx *policy.Tx) error {
				values := []reflect.Value{}
				m := reflect.ValueOf(tx).MethodByName(method.Name)
				for k := range m.Type().NumIn() {
					var value any = "adm" // a principal, a role and a topic
					switch m.Type().In(k).Kind() {
					case reflect.Slice:
						if value = "call"; roles[method.Name] {
							value = "com"
						}
					case reflect.Struct:
						value = time.Time{}
					}
					values = append(values, reflect.ValueOf(value))
				}
				err, _ := m.Call(values)[0].Interface().(error)
				return err
			})
			require.ErrorIs(t, err, chansec.ErrPermission, method.Name)
			require.Equal(t, before, s.Snapshot())
		}
	}
	s := office(t, delegating())
	for name, f := range map[string]func(policy.Actor) error{
		"to restore": func(a policy.Actor) error { return s.Restore(t.Context(), a, s.Snapshot().Script()) },
		"to preview what he may not do": func(a policy.Actor) error {
			_, err := s.Preview(t.Context(), a, func(tx *policy.Tx) error { return tx.Grant("com", "com", "call") })
			return err
		},
		"a script of the security store": func(a policy.Actor) error {
			return s.UpdateScript(t.Context(), a, "set 'ops' includes ['adm']")
		},
	} {
		before := s.Snapshot()
		require.ErrorIs(t, f(policy.ActorNamed("greg")), chansec.ErrPermission, name)
		require.Equal(t, before, s.Snapshot())
		require.NoError(t, f(policy.Root()), name)
	}
}

func TestDelegatedAdministratorsPreviewAndScripts(t *testing.T) {
	s := office(t, delegating())
	greg := policy.ActorNamed("greg")
	p, err := s.Preview(t.Context(), greg, func(tx *policy.Tx) error { return tx.AssignNewRole("zed", "ops") })
	require.NoError(t, err)
	require.Equal(t, []policy.Difference{
		{Whom: policy.OnePrincipal, Principal: "zed", Path: "adm.disk", Gained: []string{"admin", "publish"}, Lost: []string{}},
		{Whom: policy.OnePrincipal, Principal: "zed", Path: "role.adm.ops", Gained: []string{"admin"}, Lost: []string{}},
	}, p.Paths)
	require.Empty(t, s.Snapshot().Roles("zed"))

	require.NoError(t, s.UpdateScript(t.Context(), greg, "set 'ops' path 'adm.disk' permissions [admin, call]"))
	err = s.UpdateScript(t.Context(), greg, "# mine\nset 'ops' path 'adm.disk' permissions []\nset 'com' path 'com' permissions []")
	var e *policy.ScriptError
	require.ErrorAs(t, err, &e)
	require.Equal(t, 3, e.Reports[0].Line)
	require.ErrorIs(t, err, policy.NoAdminRole)
	require.EqualError(t, e.Reports[0].Err, `policy: "greg" may not administer role "com": it takes admin on "role.com" or above`)
}

func TestExplanationsOfWhoAdministers(t *testing.T) {
	s := office(t, delegating())
	x, err := s.Snapshot().Explain(s.Snapshot().Session("adm"), "role.adm.ops", "admin")
	require.NoError(t, err)
	require.True(t, x.Allowed)
	require.Equal(t, "role.adm", x.DecidedBy)
	x, err = s.Snapshot().Explain(s.Snapshot().Session("greg"), "adm.disk.full", "call")
	require.NoError(t, err)
	require.False(t, x.Allowed)
	require.NotEmpty(t, x.Missing)
	change(t, s, func(tx *policy.Tx) { require.NoError(t, tx.Run(x.Missing)) })
	allowed, err := s.Snapshot().Allowed(s.Snapshot().Session("greg"), "call", "adm.disk.full")
	require.NoError(t, err)
	require.True(t, allowed, x.Missing)

	change(t, s, func(tx *policy.Tx) { tx.AssignRoles("both", "adm", "ops") })
	x, err = s.Snapshot().Explain(s.Snapshot().Session("both"), "adm.disk", "admin")
	require.NoError(t, err)
	require.Equal(t, "adm", x.DecidedBy)
	require.Len(t, x.Passed, 2, "what is further down than what decided is there as well (sqlauth.md 4.1)")
}

func TestACeilingInAStoreWithDelegation(t *testing.T) {
	for _, tt := range []struct {
		name, actor string
		do          func(tx *policy.Tx) error
		may         bool
	}{
		{"what she administers, though she does not hold it", "adm", func(tx *policy.Tx) error { return tx.Grant("ops", "adm", "register") }, true},
		{"to add somebody to a role that she administers and is not in", "adm", func(tx *policy.Tx) error { return tx.AssignNewRole("zed", "ops") }, true},
		{"to join it", "adm", func(tx *policy.Tx) error { return tx.AssignNewRole("adm", "ops") }, true},
		{"to join one that has more than she", "adm", func(tx *policy.Tx) error { return tx.AssignNewRole("adm", "spies") }, false},
		{"to put somebody else into it", "adm", func(tx *policy.Tx) error { return tx.AssignNewRole("zed", "spies") }, false},
		{"to take somebody out of it", "adm", func(tx *policy.Tx) error { return tx.UnassignRole("bond", "spies") }, true},
		{"to take somebody out whom it denies something", "adm", func(tx *policy.Tx) error { return tx.UnassignRole("bond", "grounded") }, false},
		{"to remove what denies", "adm", func(tx *policy.Tx) error { return tx.RemoveRole("grounded") }, false},
		{"who changes everything, but holds little", "boss", func(tx *policy.Tx) error { return tx.SetRoleIncludes("ops", "spies") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			setUp := func(ceiling bool) *policy.Store {
				s := office(t, delegating(func(c *policy.Config) {
					c.Ceiling, c.DenyRows = ceiling, true
					c.Vocabulary.Global, c.Vocabulary.Modify = []string{"modify"}, "modify"
				}))
				change(t, s, func(tx *policy.Tx) {
					tx.AddRole("spies", "adm")
					tx.Grant("spies", "com", "call", "publish")
					tx.AddRole("grounded", "adm")
					tx.SetPathDenials("grounded", "com", "publish")
					tx.AssignRoles("bond", "spies", "grounded")
					tx.SetGlobalPermissions("boss", "modify")
					tx.AssignRoles("boss", "boss")
				})
				return s
			}
			require.NoError(t, as(t, setUp(false), tt.actor, tt.do), "without a ceiling")
			err := as(t, setUp(true), tt.actor, tt.do)
			if tt.may {
				require.NoError(t, err)
				return
			}
			require.ErrorAs(t, err, new(*policy.ExcessError))
			require.ErrorIs(t, err, chansec.ErrPermission)
		})
	}
}

func TestRolesThatAreRemovedLeaveNothing(t *testing.T) {
	empty := newStore(t, delegating())
	change(t, empty, func(tx *policy.Tx) {
		tx.AddRole("adm", "")
		tx.AssignRoles("ann", "adm")
		tx.AddTopic("com")
		tx.AddTopic("com.x")
	})
	want := empty.Snapshot().Script()
	s := newStore(t, delegating(func(c *policy.Config) {
		c.Vocabulary.Global = []string{"modify"}
	}))
	change(t, s, func(tx *policy.Tx) { require.NoError(t, tx.Run(want)) })
	change(t, s, func(tx *policy.Tx) {
		tx.AddRole("ops", "adm")
		tx.Grant("ops", "com", "call")
		tx.Grant("ops", "com.x", "call")
		tx.Grant("adm", "role.adm.ops", "call")
		tx.SetGlobalPermissions("ops", "modify")
		tx.SetRoleIncludes("ops", "below")
		tx.SetRoleIncludes("adm", "ops")
		tx.AssignRoles("ann", "adm", "ops")
		tx.AssignRoleUntil("bob", "ops", time.Now().Add(time.Hour))
		tx.SetRolesForNamedSessions("ops")
		tx.SetRolesForAnonymousSessions("ops")
	})
	change(t, s, func(tx *policy.Tx) { require.NoError(t, tx.RemoveRole("ops")) })
	require.Equal(t, want, s.Snapshot().Script())
	change(t, s, func(tx *policy.Tx) { require.NoError(t, tx.AddRole("ops", "adm"), "the name is free") })
	require.Empty(t, s.Snapshot().PathPermissions(s.Snapshot().Session("bob"), "role.adm.ops"))

	require.NoError(t, s.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
		tx.Grant("loose", "com", "call")
		tx.AssignRoles("bob", "loose")
		return tx.RemoveRole("loose")
	}), "one that is bound to nothing")
	require.Empty(t, s.Snapshot().Roles("bob"))
}

func TestRolesStayWhileTheyAreBound(t *testing.T) {
	s := office(t, delegating())
	change(t, s, func(tx *policy.Tx) {
		tx.RemovePathPermissions("com", "role.com")
		tx.RemovePathPermissions("com", "com")
		tx.AssignRoles("ann")
	})
	require.Contains(t, maps.Collect(s.Snapshot().Bindings()), "com")
	restored(t, s, delegating())
	change(t, s, func(tx *policy.Tx) { tx.SetRoleBinding("com", "") })
	require.NotContains(t, maps.Collect(s.Snapshot().Bindings()), "com")
	require.Contains(t, slices.Collect(s.Snapshot().Topics()), "role.com", "its topic stays")
	require.Contains(t, slices.Collect(s.Snapshot().Topics()), "com", "as does one where nothing is assigned any more")
	restored(t, s, delegating())
}

func TestWhoAdministersWhat(t *testing.T) {
	s := office(t, delegating()).Snapshot()
	for name, want := range map[string][2][]string{
		"adm":  {{"adm", "ops"}, {"adm", "role.adm"}},
		"greg": {{"ops"}, {"adm.disk", "role.adm.ops"}},
		"ann":  {{"com"}, {"com", "role.com"}},
		"zed":  {},
		"":     {},
	} {
		roles, paths := s.Administers(s.Session(name))
		require.Equal(t, want, [2][]string{roles, paths}, name)
	}
	for role, want := range map[string][]string{"adm": {"adm"}, "ops": {"adm", "greg"}, "old": nil} {
		who, err := s.Administrators(role)
		require.NoError(t, err)
		require.Equal(t, want, who, role)
	}
	_, err := s.Administrators("ups")
	require.ErrorIs(t, err, policy.NotFound)
	require.Equal(t, map[string]string{"adm": "role.adm", "com": "role.com", "ops": "role.adm.ops", "old": ""}, maps.Collect(s.Bindings()))
	require.Equal(t, []string{"adm", "adm.disk", "com", "com.old", "role", "role.adm", "role.adm.ops", "role.com"}, slices.Collect(s.Topics()))

	has, denied, ok := s.Assigned("ops", "adm.disk")
	require.True(t, ok)
	require.Equal(t, [2][]string{{"admin", "publish"}, {}}, [2][]string{has, denied})
	for role, path := range map[string]string{"ops": "adm.disk.x", "com": "adm.disk", "ups": "com", "adm": "adm..x"} {
		_, _, ok = s.Assigned(role, path)
		require.False(t, ok, "%s at %s", role, path)
	}
}

func TestDelegatedChangesComeBack(t *testing.T) {
	files, err := policy.NewFileBackend(filepath.Join(t.TempDir(), "policy"))
	require.NoError(t, err)
	for name, b := range map[string]policy.Backend{"memory": policy.NewMemoryBackend(), "files": files} {
		t.Run(name, func(t *testing.T) {
			s, err := policy.Open(t.Context(), delegating(), b)
			require.NoError(t, err)
			change(t, s, func(tx *policy.Tx) { require.NoError(t, tx.Run(office(t, delegating()).Snapshot().Script())) })
			for actor, f := range map[string]func(tx *policy.Tx) error{
				"adm": func(tx *policy.Tx) error {
					tx.AddRole("crew", "adm")
					tx.AddTopic("adm.tape")
					tx.GrantNew("crew", "adm.tape", "call")
					tx.AssignNewRole("zed", "crew")
					return tx.UnassignRole("greg", "ops")
				},
				"ann": func(tx *policy.Tx) error {
					tx.AddTopic("com.a")
					tx.AddTopic("com.b")
					return tx.RemoveTopic("com.a")
				},
			} {
				require.NoError(t, as(t, s, actor, f))
			}
			require.NoError(t, as(t, s, "adm", func(tx *policy.Tx) error { return tx.RemoveRole("ops") }))
			same := func(c policy.Config) {
				again, err := policy.Open(t.Context(), c, b)
				require.NoError(t, err)
				require.Equal(t, s.Snapshot().Script(), again.Snapshot().Script())
			}
			same(delegating())
			same(delegating(func(c *policy.Config) { c.NoSelfGrant = true })) // says what new roles get, and nothing about those that are there
			require.NoError(t, s.Compact(t.Context()))
			same(delegating())
			var who []string
			for c, err := range b.Changes(t.Context(), 0) {
				require.NoError(t, err)
				who = append(who, c.Actor)
			}
			require.Equal(t, []string{""}, who)
		})
	}
}

func TestDelegationKeepsTheStoresOtherRules(t *testing.T) {
	c := delegating(func(c *policy.Config) {
		c.Vocabulary.Global, c.Vocabulary.Modify = []string{"modify"}, "modify"
		c.Variables = true
	})
	s := office(t, c)
	change(t, s, func(tx *policy.Tx) {
		tx.AddRole("boss", "adm")
		tx.SetGlobalPermissions("boss", "modify")
		tx.AssignRoles("boss", "boss")
		tx.SetRoleLockedByPrincipal("ops", "warden")
		tx.SetPathPermissions("everybody", "$principal", "admin")
		tx.SetRolesForNamedSessions("everybody")
	})
	require.ErrorIs(t, as(t, s, "adm", func(tx *policy.Tx) error { return tx.UnassignRole("boss", "boss") }), policy.LastAdministrator)
	require.ErrorIs(t, as(t, s, "greg", func(tx *policy.Tx) error { return tx.Grant("ops", "adm.disk", "call") }), policy.Locked)
	require.ErrorIs(t, as(t, s, "adm", func(tx *policy.Tx) error { return tx.RemoveRole("ops") }), policy.Locked)
	require.NoError(t, as(t, s, "boss", func(tx *policy.Tx) error { return tx.SetRoleBinding("old", "adm") }), "who may change everything may still")
	require.ErrorIs(t, as(t, s, "zed", func(tx *policy.Tx) error { return tx.AddTopic("zed") }), policy.NoAdminTopic,
		"what has nothing above it is the program's, also where a variable makes its name somebody's")
	require.NoError(t, as(t, s, "zed", func(tx *policy.Tx) error { return tx.AddTopic("zed.x") }))
	vouched := policy.ActorOf(chansec.Principal{SystemID: "zed", Roles: []string{"com"}})
	require.NoError(t, s.Update(t.Context(), vouched, func(tx *policy.Tx) error { return tx.AddTopic("com.x") }), "an authenticator vouches for the role")

	c.MaxSize = 3 // two topics and a role
	small := newStore(t, c)
	change(t, small, func(tx *policy.Tx) { tx.SetRoleBinding("a", "a"); tx.AddTopic("b") })
	require.ErrorIs(t, small.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.AddTopic("c") }), policy.Limit)
	require.NoError(t, small.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { tx.RemoveTopic("b"); return tx.AddTopic("c") }))
}

func TestTopicsAndBindingsNeedDelegation(t *testing.T) {
	for name, f := range map[string]func(*policy.Tx) error{
		"AddRole":        func(tx *policy.Tx) error { return tx.AddRole("a", "") },
		"RemoveRole":     func(tx *policy.Tx) error { return tx.RemoveRole("a") },
		"SetRoleBinding": func(tx *policy.Tx) error { return tx.SetRoleBinding("a", "b") },
		"AddTopic":       func(tx *policy.Tx) error { return tx.AddTopic("a") },
		"RemoveTopic":    func(tx *policy.Tx) error { return tx.RemoveTopic("a") },
	} {
		s := newStore(t, policy.WAMPConfig())
		require.ErrorIs(t, s.Update(context.Background(), policy.Root(), f), policy.InvalidArgument, name)
	}
	s := newStore(t, policy.DiffusionConfig())
	change(t, s, func(tx *policy.Tx) {
		tx.GrantNew("R", "a", "READ_TOPIC")
		tx.AssignNewRole("ann", "R")
		tx.AssignNewRole("ann", "S")
		tx.UnassignRole("ann", "R")
		tx.UnassignRole("bob", "R")
	})
	require.Equal(t, []string{"S"}, s.Snapshot().Roles("ann"))
	for _, f := range []func(*policy.Tx) error{
		func(tx *policy.Tx) error { return tx.GrantNew("R", "a", "UPDATE_TOPIC", "READ_TOPIC") },
		func(tx *policy.Tx) error { return tx.AssignNewRole("ann", "S") },
	} {
		require.ErrorIs(t, s.Update(t.Context(), policy.Root(), f), policy.Exists)
	}
}
