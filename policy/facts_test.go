package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// command returns a command that makes a fact true, in a store where those before it are.
func (f Fact) command(tx *Tx) error {
	switch f.Kind {
	case FactPath:
		if f.Isolated {
			return tx.IsolatePath(f.Path)
		}
		if f.Topic && !tx.topic(f.Path) {
			return tx.AddTopic(f.Path)
		}
	case FactRole:
		if f.Path != "" {
			return tx.SetRoleBinding(f.Role, f.Path)
		}
	case FactAssigned:
		return tx.SetPathPermissions(f.Role, f.Path)
	case FactAllowed:
		return tx.Grant(f.Role, f.Path, f.Permission)
	case FactDenied:
		_, denied, _ := (&Snapshot{&tx.state}).Assigned(f.Role, f.Path)
		return tx.SetPathDenials(f.Role, f.Path, append(denied, f.Permission)...)
	case FactDefault, FactGlobal:
		r := tx.roleNamed(f.Role)
		if f.Kind == FactDefault {
			return tx.SetDefaultPathPermissions(f.Role, append(tx.config.path.list(r.ofDefault()), f.Permission)...)
		}
		return tx.SetGlobalPermissions(f.Role, append(tx.config.global.list(r.ofGlobals()), f.Permission)...)
	case FactIncludes:
		var is []string
		if r := tx.roleNamed(f.Role); r != nil {
			is = tx.namesOf(r.includes)
		}
		return tx.SetRoleIncludes(f.Role, append(is, f.Other)...)
	case FactHolds:
		return tx.AssignRoleUntil(f.Principal, f.Role, f.Until)
	case FactNamed:
		return tx.SetRolesForNamedSessions(append(tx.namesOf(tx.named), f.Role)...)
	case FactAnonymous:
		return tx.SetRolesForAnonymousSessions(append(tx.namesOf(tx.anonymous), f.Role)...)
	}
	return nil
}

func (r *roleRecord) ofDefault() permissions {
	if r == nil {
		return 0
	}
	return r.defaults
}

func (r *roleRecord) ofGlobals() permissions {
	if r == nil {
		return 0
	}
	return r.globals
}

// Facts say all that a script says, and the facts since a snapshot are what lies between.
func TestFactsAreAllThatAStoreSays(t *testing.T) {
	delegated := WAMPConfig()
	delegated.Delegation, delegated.DenyRows = true, true
	for name, c := range map[string]Config{"nearest assignment": DiffusionConfig(), "any ancestor": delegated} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			s, err := New(c)
			require.NoError(t, err)
			facts := map[Fact]bool{}
			var before *Snapshot
			for range 400 {
				_ = s.Update(t.Context(), Root(), func(tx *Tx) error {
					for range 1 + r.IntN(4) {
						if err := randomCommand(r, tx); err != nil {
							return err
						}
					}
					return nil
				})
				if r.IntN(3) == 0 {
					continue
				}
				now := s.Snapshot()
				gone, come := now.Since(before)
				for _, f := range gone {
					require.True(t, facts[f], "%+v", f)
					delete(facts, f)
				}
				for _, f := range come {
					require.False(t, facts[f], "%+v", f)
					facts[f] = true
				}
				_, all := now.Since(nil)
				require.Len(t, facts, len(all))
				for _, f := range all {
					require.True(t, facts[f])
				}
				require.True(t, slices.IsSortedFunc(all, Fact.compare))
				before = now
			}
			_, all := s.Snapshot().Since(nil)
			again, err := New(c)
			require.NoError(t, err)
			require.NoError(t, again.Update(t.Context(), Root(), func(tx *Tx) error {
				for _, f := range all {
					if err := f.command(tx); err != nil {
						return fmt.Errorf("%+v: %w", f, err)
					}
				}
				for _, f := range all {
					if f.Kind == FactRole && f.Principal != "" {
						_ = tx.SetRoleLockedByPrincipal(f.Role, f.Principal)
					}
				}
				return nil
			}))
			require.Equal(t, s.Snapshot().Script(), again.Snapshot().Script())
		})
	}
}

// randomCommand does any command, some of which this kind of store refuses.
func randomCommand(r *rand.Rand, tx *Tx) error {
	name := func(of string) string { return fmt.Sprint(of, r.IntN(8)) }
	path := func() string {
		p := name("p")
		for range r.IntN(3) {
			p = tx.config.separator.join(p, name("q"))
		}
		return p
	}
	some := func(s *scope) []string {
		return slices.Compact([]string{s.list(^permissions(0))[r.IntN(5)], s.list(^permissions(0))[r.IntN(5)]})[:r.IntN(2)]
	}
	nearest, delegated := tx.config.inheritance == NearestAssignment, tx.config.delegation
	switch r.IntN(16) {
	case 0, 1, 2, 3:
		return tx.SetPathPermissions(name("r"), path(), some(&tx.config.path)...)
	case 4:
		return tx.RemovePathPermissions(name("r"), path())
	case 5:
		if !nearest {
			return tx.SetPathDenials(name("r"), path(), some(&tx.config.path)...)
		}
		return tx.SetGlobalPermissions(name("r"), some(&tx.config.global)...)
	case 6:
		if nearest {
			return tx.SetDefaultPathPermissions(name("r"), some(&tx.config.path)...)
		}
		return tx.SetRoleBinding(name("r"), []string{"", "role", "a"}[r.IntN(3)])
	case 7:
		return tx.SetRoleIncludes(fmt.Sprint("r", r.IntN(4)), fmt.Sprint("r", 4+r.IntN(4)))
	case 8:
		return tx.SetRoleLockedByPrincipal(name("r"), []string{"", "ann"}[r.IntN(2)])
	case 9:
		if nearest {
			return tx.isolate(path(), r.IntN(2) == 0)
		}
		if p := path(); !tx.topic(p) {
			return tx.AddTopic(p)
		}
	case 10:
		return tx.SetRolesForAnonymousSessions(name("r"))
	case 11:
		return tx.SetRolesForNamedSessions(name("r"), name("r"))
	case 12:
		return tx.AssignRoles(name("u"), name("r"), name("r"))
	case 13:
		return tx.AssignRoleUntil(name("u"), name("r"), time.Unix(int64(4e9+r.IntN(9)), 5))
	case 14:
		return tx.UnassignRole(name("u"), name("r"))
	case 15:
		if delegated && r.IntN(3) == 0 {
			return tx.RemoveRole(name("r"))
		}
		return tx.AssignRoles(name("u"))
	}
	return nil
}

// What is suspended decides nothing, tells so, and comes back with what was changed in the meantime.
func TestASuspendedStoreDecidesNothing(t *testing.T) {
	s, err := New(PlainConfig())
	require.NoError(t, err)
	a := s.Authorizer()
	grant := func(role string) {
		require.NoError(t, s.Update(t.Context(), Root(), func(tx *Tx) error {
			_ = tx.SetPathPermissions("r", "p", "read")
			_ = tx.SetGlobalPermissions("r", "view")
			return tx.AssignRoles("ann", role)
		}))
	}
	grant("r")
	ok, err := a.AuthorizeRead(t.Context(), "ann", "p")
	require.NoError(t, err)
	require.True(t, ok)
	version, changed := a.Version(), a.Changed()

	cause := errors.New("the database is away")
	s.Suspend(cause)
	<-changed
	require.NotEqual(t, version, a.Version())
	require.Empty(t, a.AffectedSince(version), "it is about everybody")
	for _, ask := range []func() (bool, error){
		func() (bool, error) { return a.AuthorizeRead(t.Context(), "ann", "p") },
		func() (bool, error) { return a.AuthorizeWrite(t.Context(), "ann", "p") },
		func() (bool, error) { return a.AuthorizeAdmin(t.Context(), "ann", "p") },
		func() (bool, error) {
			d, err := a.Decide(t.Context(), chansec.Request{Principal: chansec.Principal{SystemID: "ann"}, ChannelID: "p", Operation: chansec.OpRead})
			return d.Allowed, err
		},
		func() (bool, error) { return s.Permits(chansec.Principal{SystemID: "ann"}, "view") },
	} {
		ok, err := ask()
		require.False(t, ok)
		require.ErrorIs(t, err, chansec.ErrUndecided)
		require.ErrorIs(t, err, cause)
	}
	version = a.Version()
	s.Suspend(cause)
	grant("r")
	ok, err = a.AuthorizeRead(t.Context(), "ann", "p")
	require.False(t, ok || err == nil, "a change does not resume it")
	grant("other")

	changed = a.Changed()
	s.Resume()
	<-changed
	require.NotEqual(t, version, a.Version())
	ok, err = a.AuthorizeRead(t.Context(), "ann", "p")
	require.NoError(t, err)
	require.False(t, ok)
	version = a.Version()
	grant("r")
	require.Equal(t, []string{"ann"}, a.AffectedSince(version), "after it as before")
	version = a.Version()
	s.Resume()
	require.Equal(t, version, a.Version(), "what was not suspended")
}
