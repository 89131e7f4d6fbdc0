package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// What somebody will have when a role of theirs has ended counts as what they have.
func TestACeilingHoldsWhenRolesEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(tx *policy.Tx, now time.Time)
		may  bool
	}{
		{"a role that hides, until it ends, what another gives where she holds nothing", func(tx *policy.Tx, now time.Time) {
			tx.AssignRoles("pip", "JESTER", "READER")
			tx.AssignRoleUntil("pip", "HIDER", now.Add(time.Minute))
		}, false},
		{"the same for ever", func(tx *policy.Tx, _ time.Time) { tx.AssignRoles("pip", "HIDER", "JESTER", "READER") }, true},
		{"a role that she does not hold, for longer than it was given", func(tx *policy.Tx, now time.Time) {
			tx.AssignRoleUntil("tim", "RULER", now.Add(2*time.Hour))
		}, false},
		{"the same for ever", func(tx *policy.Tx, _ time.Time) { tx.AssignRoleUntil("tim", "RULER", time.Time{}) }, false},
		{"the same for as long", func(tx *policy.Tx, now time.Time) { tx.AssignRoleUntil("tim", "RULER", now.Add(time.Hour)) }, true},
		{"the same for less", func(tx *policy.Tx, now time.Time) { tx.AssignRoleUntil("tim", "RULER", now.Add(time.Minute)) }, true},
		{"an end to what hides", func(tx *policy.Tx, now time.Time) { tx.AssignRoleUntil("hal", "HIDER", now.Add(time.Minute)) }, false},
		{"the end of what hides in the place of what ends", func(tx *policy.Tx, _ time.Time) { tx.RemovePathPermissions("VEIL", "a/x") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, now := kingdom(t), time.Now()
				change(t, s, func(tx *policy.Tx) {
					tx.SetPathPermissions("READER", "a", "READ_TOPIC")
					tx.SetPathPermissions("HIDER", "a/x")
					tx.SetPathPermissions("VEIL", "a/x")
					tx.AssignRoleUntil("tim", "RULER", now.Add(time.Hour))
					tx.AssignRoles("hal", "READER", "HIDER")
					tx.AssignRoles("eve", "READER", "VEIL")
					tx.AssignRoleUntil("eve", "HIDER", now.Add(time.Hour))
				})
				err := s.Update(t.Context(), policy.ActorNamed("dora"), func(tx *policy.Tx) error { tt.do(tx, now); return nil })
				if tt.may {
					require.NoError(t, err)
					return
				}
				var e *policy.ExcessError
				require.ErrorAs(t, err, &e)
			})
		})
	}
}

// Whoever is called as the variable is, does not stand for everybody.
func TestTheNameOfTheVariableIsNobodys(t *testing.T) {
	c := policy.DiffusionConfig()
	c.Variables, c.Ceiling = true, true
	s := newStore(t, c)
	change(t, s, func(tx *policy.Tx) {
		tx.SetRolesForNamedSessions("USER")
		tx.SetPathPermissions("USER", "inbox/$principal", "READ_TOPIC")
		tx.SetPathPermissions("OWNER", "inbox/$principal", "UPDATE_TOPIC")
		tx.SetGlobalPermissions("OWNER", "MODIFY_SECURITY")
		tx.AssignRoles("$principal", "OWNER") // who is no exception for others, either
		tx.AssignRoles("ann", "OWNER")
	})
	for _, who := range []string{"ann", "$principal"} {
		err := s.Update(t.Context(), policy.ActorNamed(who), func(tx *policy.Tx) error { return tx.Grant("USER", "inbox/$principal", "UPDATE_TOPIC") })
		require.ErrorIs(t, err, chansec.ErrPermission, who)
	}

	c = policy.WAMPConfig()
	c.Variables, c.Delegation = true, true
	d := newStore(t, c)
	change(t, d, func(tx *policy.Tx) {
		tx.AddRole("users", "")
		tx.SetRolesForNamedSessions("users")
		tx.SetPathPermissions("users", "inbox.$principal", "admin")
	})
	require.NoError(t, d.Update(t.Context(), policy.ActorNamed("ann"), func(tx *policy.Tx) error { return tx.AddTopic("inbox.ann.x") }), "her own")
	for _, who := range []string{"ann", "$principal"} {
		err := d.Update(t.Context(), policy.ActorNamed(who), func(tx *policy.Tx) error {
			return tx.Grant("users", "inbox.$principal", "publish")
		})
		require.ErrorIs(t, err, policy.NoAdminTopic, who)
	}
}

// Beside a variable there may be a path that somebody's name is in, for whom both count.
func TestACeilingHoldsForWhoeverANameInAPathIsOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(tx *policy.Tx)
	}{
		{"an assignment for everybody, which ends the isolation of one", func(tx *policy.Tx) { tx.SetPathPermissions("USER", "inbox/$principal", "READ_TOPIC") }},
		{"an assignment to a role that may be vouched for", func(tx *policy.Tx) { tx.SetPathPermissions("GUEST", "inbox/$principal", "READ_TOPIC") }},
		{"a role for everybody", func(tx *policy.Tx) { tx.SetRolesForNamedSessions("USER", "OWN") }},
	} {
		c := policy.DiffusionConfig()
		c.Variables, c.Ceiling = true, true
		s := newStore(t, c)
		change(t, s, func(tx *policy.Tx) {
			tx.SetRolesForNamedSessions("USER")
			tx.SetPathPermissions("USER", "inbox", "READ_TOPIC")
			tx.SetPathPermissions("GUEST", "inbox", "READ_TOPIC")
			tx.SetPathPermissions("OWN", "inbox/$principal", "READ_TOPIC")
			tx.IsolatePath("inbox/bob")
			tx.SetGlobalPermissions("DELEGATE", "MODIFY_SECURITY")
			tx.AssignRoles("dora", "DELEGATE")
		})
		err := s.Update(t.Context(), policy.ActorNamed("dora"), func(tx *policy.Tx) error { tt.do(tx); return nil })
		require.ErrorIs(t, err, chansec.ErrPermission, tt.name)
	}
}

// A lock that a script sets binds what follows in it, so that it comes last (diffusion.md 12).
func TestTheLockOfARoleComesLast(t *testing.T) {
	c := policy.WAMPConfig()
	c.Delegation = true
	c.Vocabulary.Global, c.Vocabulary.Modify = []string{"MODIFY"}, "MODIFY"
	s := newStore(t, c)
	change(t, s, func(tx *policy.Tx) {
		tx.AddRole("ops", "")
		tx.SetRoleLockedByPrincipal("ops", "rex")
	})
	other := newStore(t, c)
	change(t, other, func(tx *policy.Tx) { tx.SetGlobalPermissions("ADMIN", "MODIFY"); tx.AssignRoles("ann", "ADMIN") })
	require.NoError(t, other.Update(t.Context(), policy.ActorNamed("ann"), func(tx *policy.Tx) error { return tx.Run(s.Snapshot().Script()) }))
}

// Each of these took minutes where every line looked at all others.
func TestLongScriptsTakeTheTimeOfTheirLines(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	const n = 8_000
	lines := func(format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format+"\n", i)
		}
		return b.String()
	}
	c := policy.WAMPConfig()
	c.Delegation = true
	delegated := newStore(t, c)
	change(t, delegated, func(tx *policy.Tx) {
		tx.AddRole("ops", "")
		tx.Grant("ops", "role.x", "admin")
		tx.AssignRoles("ann", "ops")
	})
	c = policy.DiffusionConfig()
	c.Ceiling = true
	ceiling := newStore(t, c)
	change(t, ceiling, func(tx *policy.Tx) {
		tx.SetGlobalPermissions("ADMIN", "MODIFY_SECURITY")
		tx.SetPathPermissions("ADMIN", "a", "READ_TOPIC")
		tx.AssignRoles("ann", "ADMIN")
	})
	includes := "set 'ALL' includes [" + strings.ReplaceAll(strings.TrimSpace(lines("'R%d'")), "\n", " ") + "]"
	var long strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&long, " 'N%d'", i)
	}
	plain := newStore(t, policy.PlainConfig())
	change(t, plain, func(tx *policy.Tx) { tx.SetGlobalPermissions("ADMIN", "modify"); tx.AssignRoles("ann", "ADMIN") })
	for _, step := range []struct {
		name, script string
		store        *policy.Store
	}{
		{"a very long line", "set 'ALL' includes [" + long.String() + "]", plain},
		{"roles are added", lines("add role 'r%d' bound to 'role.x'"), delegated},
		{"one principal gets them, one by one", lines("assign role 'pip' 'r%d' until ''"), delegated},
		{"all are taken", "assign roles 'pip' []", delegated},
		{"and removed", lines("remove role 'r%d'"), delegated},
		{"many paths below a ceiling", lines("set 'ADMIN' path 'a/%d' permissions [READ_TOPIC]"), ceiling},
		{"a long list", includes, ceiling},
		{"another one in its place", strings.ReplaceAll(includes, "R", "S"), ceiling},
	} {
		began := time.Now()
		err := step.store.Update(t.Context(), policy.ActorNamed("ann"), func(tx *policy.Tx) error { return tx.Run(step.script) })
		require.NoError(t, err, step.name)
		require.Less(t, time.Since(began), 15*time.Second, step.name)
	}
}
