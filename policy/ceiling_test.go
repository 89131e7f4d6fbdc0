package policy_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// kingdom is a store with a ceiling, where dora administers what she holds: reading and updating below a, except for a/x.
func kingdom(t *testing.T) *policy.Store {
	c := policy.DiffusionConfig()
	c.Ceiling = true
	s := newStore(t, c)
	change(t, s, func(tx *policy.Tx) {
		tx.SetGlobalPermissions("DELEGATE", "MODIFY_SECURITY")
		tx.SetPathPermissions("DELEGATE", "a", "READ_TOPIC", "UPDATE_TOPIC")
		tx.SetPathPermissions("DELEGATE", "a/x")
		tx.AssignRoles("dora", "DELEGATE")
		tx.SetPathPermissions("RULER", "a", "MODIFY_TOPIC")
		tx.SetDefaultPathPermissions("RULER", "READ_TOPIC")
		tx.SetRoleIncludes("COURT", "PAGE")
		tx.SetPathPermissions("PAGE", "a/x", "READ_TOPIC")
		tx.IsolatePath("a/y")
		tx.AssignRoles("rex", "RULER")
		tx.AssignRoles("pip", "JESTER")
		tx.SetPathPermissions("JESTER", "b/jokes")
		tx.SetPathPermissions("JESTER", "b", "READ_TOPIC")
	})
	return s
}

func TestNobodyHandsOutWhatTheyDoNotHold(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(tx *policy.Tx)
		may  bool
	}{
		{"what she holds", func(tx *policy.Tx) { tx.Grant("JESTER", "a/b", "READ_TOPIC") }, true},
		{"to take something away", func(tx *policy.Tx) { tx.AssignRoles("rex") }, true},
		{"a permission that she does not hold", func(tx *policy.Tx) { tx.Grant("JESTER", "a/b", "MODIFY_TOPIC") }, false},
		{"a path where she holds nothing", func(tx *policy.Tx) { tx.Grant("JESTER", "b", "UPDATE_TOPIC") }, false},
		{"a path with one below it where she holds nothing", func(tx *policy.Tx) { tx.Grant("JESTER", "a", "READ_TOPIC") }, false},
		{"the same with that one taken out", func(tx *policy.Tx) { tx.Grant("JESTER", "a", "READ_TOPIC"); tx.SetPathPermissions("JESTER", "a/x") }, true},
		{"to herself", func(tx *policy.Tx) { tx.Grant("DELEGATE", "a", "MODIFY_TOPIC") }, false},
		{"a role that holds more", func(tx *policy.Tx) { tx.AssignRoles("pip", "RULER") }, false},
		{"a role that includes one", func(tx *policy.Tx) { tx.SetRoleIncludes("JESTER", "RULER") }, false},
		{"a role that nobody holds, but somebody may vouch for", func(tx *policy.Tx) { tx.Grant("NEW", "b", "READ_TOPIC") }, false},
		{"defaults", func(tx *policy.Tx) { tx.SetDefaultPathPermissions("JESTER", "READ_TOPIC") }, false},
		{"roles for everybody", func(tx *policy.Tx) { tx.SetRolesForNamedSessions("RULER") }, false},
		{"roles for nobody in particular", func(tx *policy.Tx) { tx.SetRolesForAnonymousSessions("RULER") }, false},
		{"the end of isolation", func(tx *policy.Tx) { tx.DeisolatePath("a/y") }, false},
		{"the end of an assignment that hides", func(tx *policy.Tx) { tx.RemovePathPermissions("JESTER", "b/jokes") }, false},
		{"a global permission", func(tx *policy.Tx) { tx.SetGlobalPermissions("JESTER", "VIEW_SERVER") }, false},
		{"a global permission that she holds", func(tx *policy.Tx) { tx.SetGlobalPermissions("JESTER", "MODIFY_SECURITY") }, true},
		{"a script", func(tx *policy.Tx) { tx.Run("set 'JESTER' path 'b' permissions [UPDATE_TOPIC]") }, false},
		{"a grant that ends", func(tx *policy.Tx) { tx.Run("assign role 'pip' 'RULER' until '2100-01-01T00:00:00Z'") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := kingdom(t)
			before := s.Snapshot()
			err := s.Update(t.Context(), policy.ActorNamed("dora"), func(tx *policy.Tx) error { tt.do(tx); return nil })
			if tt.may {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, chansec.ErrPermission)
			var e *policy.ExcessError
			require.ErrorAs(t, err, &e)
			require.Equal(t, "dora", e.Actor)
			require.NotEmpty(t, e.Permissions)
			require.Equal(t, before, s.Snapshot())
			require.NoError(t, s.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error { tt.do(tx); return nil }), "the program may")
		})
	}
}

// TestRandomAdministrationRaisesNobody lets actors do anything that comes to mind, and holds what came of it against the
// reference: nobody has what they had not before and the actor had not either. CHANSEC_POLICY_ADMINISTRATIONS sets how
// many operations there are.
func TestRandomAdministrationRaisesNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	config := policy.DiffusionConfig()
	config.Ceiling = true
	d := newDuel(t, config, 11)
	actors := []string{"alice", "bob", "carol"}
	done, refused := 0, 0
	for i := range administrations(t) {
		if i%100 == 0 { // a new world, in which the actors may try
			d.store, d.naive = newStore(t, config), newReference(config)
			for range 20 {
				d.change()
			}
			change(t, d.store, func(tx *policy.Tx) {
				for _, name := range actors {
					d.naive.role("ADMIN").globals = []string{"MODIFY_SECURITY"}
					tx.SetGlobalPermissions("ADMIN", "MODIFY_SECURITY")
					d.naive.principals[name] = append([]string{"ADMIN"}, d.naive.principals[name]...)
					tx.AssignRoles(name, d.naive.principals[name]...)
				}
			})
		}
		actor, next := d.pick(actors...), d.naive.clone()
		err := d.store.Update(t.Context(), policy.ActorNamed(actor), func(tx *policy.Tx) error {
			for range 1 + d.IntN(2) {
				if err := d.command(tx, next); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			refused++
			continue
		}
		done++
		d.nobodyIsRaised(actor, next)
		d.naive = next
	}
	require.Positive(t, done)
	require.Positive(t, refused)
}

func (d *duel) nobodyIsRaised(actor string, next *reference) {
	holds := d.naive.held(actor, nil)
	for _, who := range []string{"alice", "bob", "carol", "nobody", "", d.roleName()} {
		was, is := d.naive.held(who, nil), next.held(who, nil)
		if len(who) == 2 { // a role by itself
			was, is = []string{who}, []string{who}
		}
		for range 10 {
			path := d.path()
			for _, p := range next.permissions(is, path) {
				require.True(d.t, slices.Contains(d.naive.permissions(was, path), p) || slices.Contains(d.naive.permissions(holds, path), p),
					fmt.Sprintf("%q raised %q by %s on %s", actor, who, p, path))
			}
		}
		for _, g := range next.globals(is) {
			require.True(d.t, slices.Contains(d.naive.globals(was), g) || slices.Contains(d.naive.globals(holds), g), g)
		}
	}
}
