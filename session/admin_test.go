package session_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/session"
)

// byRole lets those act whose roles are the permissions.
var byRole = authn.Permits(func(p chansec.Principal, permission string) (bool, error) {
	return slices.Contains(p.Roles, permission), nil
})

// acts is everything that an Admin does to the session of victim.
var acts = []struct {
	name  string
	needs []string
	do    func(ctx context.Context, a *session.Admin, f session.Filter) error
}{
	{"list", []string{session.PermissionViewSession}, func(ctx context.Context, a *session.Admin, f session.Filter) error {
		_, err := a.List(ctx, f)
		return err
	}},
	{"get", []string{session.PermissionViewSession}, func(ctx context.Context, a *session.Admin, _ session.Filter) error {
		_, _, err := a.Get(ctx, "id")
		return err
	}},
	{"set properties", []string{session.PermissionViewSession, session.PermissionModifySession}, func(ctx context.Context, a *session.Admin, f session.Filter) error {
		_, err := a.SetProperties(ctx, f, map[string]string{"k": "v"})
		return err
	}},
	{"change roles", []string{session.PermissionModifySession}, func(ctx context.Context, a *session.Admin, f session.Filter) error {
		_, err := a.ChangeRoles(ctx, f, nil, []string{"more"})
		return err
	}},
	{"kick", []string{session.PermissionModifySession}, func(ctx context.Context, a *session.Admin, f session.Filter) error {
		_, err := a.Kick(ctx, f, "")
		return err
	}},
	{"revoke", []string{session.PermissionModifySession, authn.PermissionAuthenticate}, func(ctx context.Context, a *session.Admin, f session.Filter) error {
		_, err := a.Revoke(ctx, f, "")
		return err
	}},
}

// Every act with every set of permissions (diffusion.md 8): those that it takes, all of them, and no others.
func TestAdministrationTakesPermissions(t *testing.T) {
	all := []string{session.PermissionViewSession, session.PermissionModifySession, authn.PermissionAuthenticate}
	for _, act := range acts {
		for set := range 1 << len(all) {
			var holds []string
			allowed := true
			for i, permission := range all {
				held := set&(1<<i) != 0
				if held {
					holds = append(holds, string(permission))
				}
				allowed = allowed && (held || !slices.Contains(act.needs, permission))
			}
			t.Run(fmt.Sprintf("%s with %v", act.name, holds), func(t *testing.T) {
				l := &trail{}
				s := sessionsOf(t, session.Config{Permits: byRole, Observe: l.observe})
				actor, victim := open(t, s, "actor", holds...), open(t, s, "victim")
				before := victim.Info().Properties()
				err := act.do(t.Context(), s.For(actor), session.OfPrincipal("victim"))
				if allowed {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, chansec.ErrPermission)
				require.NotErrorIs(t, err, chansec.ErrUndecided)
				access, ok := err.(*session.AccessError)
				require.True(t, ok)
				require.Equal(t, "actor", access.Actor)
				require.Contains(t, act.needs, access.Needs)
				require.NoError(t, victim.Err())
				require.Equal(t, before, victim.Info().Properties())
				last := l.all()[len(l.all())-1]
				require.Equal(t, session.Refused, last.Kind)
				require.Equal(t, "actor", last.By)
				require.Equal(t, err, last.Err)
			})
		}
	}
}

func TestAdministrationRefuses(t *testing.T) {
	everything := []string{session.PermissionViewSession, session.PermissionModifySession, authn.PermissionAuthenticate}
	holder := chansec.Principal{SystemID: "actor", Proof: "test", Roles: everything}
	with := func(g chansec.Grant) chansec.Caller {
		p := holder
		p.Grant = &g
		return chansec.StaticCaller(p)
	}
	later := time.Now().Add(time.Hour)
	panics := authn.Permits(func(chansec.Principal, string) (bool, error) { panic("secret") })
	fails := authn.Permits(func(chansec.Principal, string) (bool, error) { return true, errDisk })
	denies := authn.Permits(func(chansec.Principal, string) (bool, error) {
		return true, &chansec.PermissionError{}
	})
	for _, row := range []struct {
		name   string
		may    authn.Permits
		caller func(s *session.Sessions) chansec.Caller
		want   error
	}{
		{"nobody who may", byRole, func(*session.Sessions) chansec.Caller { return chansec.StaticCaller(holder) }, nil},
		{"everybody where nobody says who may", nil, func(*session.Sessions) chansec.Caller { return chansec.StaticCaller(holder) }, chansec.ErrPermission},
		{"no caller", byRole, func(*session.Sessions) chansec.Caller { return nil }, chansec.ErrPermission},
		{"a caller without a name", byRole, func(*session.Sessions) chansec.Caller {
			return chansec.StaticCaller(chansec.Principal{Roles: everything})
		}, chansec.ErrPermission},
		{"who is denied with an error", denies, func(*session.Sessions) chansec.Caller { return chansec.StaticCaller(holder) }, chansec.ErrPermission},
		{"everybody if nobody can say", fails, func(*session.Sessions) chansec.Caller { return chansec.StaticCaller(holder) }, chansec.ErrUndecided},
		{"everybody if it panics", panics, func(*session.Sessions) chansec.Caller { return chansec.StaticCaller(holder) }, chansec.ErrUndecided},
		{"nobody with a grant for all", byRole, func(*session.Sessions) chansec.Caller {
			return with(chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: later})
		}, nil},
		{"a grant of a lesser role", byRole, func(*session.Sessions) chansec.Caller {
			return with(chansec.Grant{Role: chansec.RoleWrite, AllChannels: true, ExpiresAt: later})
		}, chansec.ErrGrant},
		{"a grant for some channels", byRole, func(*session.Sessions) chansec.Caller {
			return with(chansec.Grant{Role: chansec.RoleAdmin, Channels: []string{""}, ExpiresAt: later})
		}, chansec.ErrGrant},
		{"a grant that has expired", byRole, func(*session.Sessions) chansec.Caller {
			return with(chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: time.Now()})
		}, chansec.ErrExpired},
		{"a grant of nothing", byRole, func(*session.Sessions) chansec.Caller { return with(chansec.Grant{}) }, chansec.ErrPermission},
		{"a session that was kicked itself", byRole, func(s *session.Sessions) chansec.Caller {
			n := open(t, s, "actor", everything...)
			_, err := s.Root().Kick(t.Context(), session.ID(n.ID()), "")
			require.NoError(t, err)
			return n
		}, chansec.ErrRevoked},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := sessionsOf(t, session.Config{Permits: row.may})
			a := s.For(row.caller(s))
			for _, act := range acts {
				victim := open(t, s, "victim")
				before := victim.Info().Properties()
				err := act.do(t.Context(), a, session.ID(victim.ID()))
				if row.want == nil {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, row.want, act.name)
				require.Equal(t, row.want == chansec.ErrUndecided, !isPermission(err), act.name)
				require.NotContains(t, err.Error(), "secret")
				require.NoError(t, victim.Err())
				require.Equal(t, before, victim.Info().Properties())
			}
		})
	}
}

func isPermission(err error) bool {
	_, ok := err.(*session.AccessError)
	return ok
}

// Without a permission, nobody learns what there is, and what would have been wrong with the rest of the call.
func TestAdministrationRefusesBeforeItLooks(t *testing.T) {
	s := sessionsOf(t, session.Config{Permits: byRole})
	a := s.For(open(t, s, "actor"))
	for _, act := range acts {
		require.Equal(t, act.do(t.Context(), a, session.All).Error(), act.do(t.Context(), a, session.Filter{}).Error(), act.name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, act := range acts {
		require.ErrorIs(t, act.do(ctx, s.Root(), session.All), context.Canceled, act.name)
	}
}

func TestAdministrationRefusesNonsense(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	n := open(t, s, "alice", "r")
	root, all := s.Root(), session.All
	many := make([]string, session.MaxRoles)
	properties := make(map[string]string)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for i := range session.MaxProperties {
		properties[fmt.Sprint(i)] = ""
	}
	_, err := root.SetProperties(t.Context(), all, map[string]string{"k": "v"})
	require.NoError(t, err)
	before := n.Info().Properties()
	for name, row := range map[string]struct {
		do   func(ctx context.Context) (int, error)
		want error
	}{
		"a kick of nobody in particular": {func(ctx context.Context) (int, error) { return root.Kick(ctx, session.Filter{}, "") }, chansec.ErrInvalid},
		"a reason of two lines":          {func(ctx context.Context) (int, error) { return root.Kick(ctx, all, "a\nb") }, chansec.ErrInvalid},
		"a reason that is too long":      {func(ctx context.Context) (int, error) { return root.Revoke(ctx, all, strings.Repeat("a", 257)) }, chansec.ErrInvalid},
		"no change of roles":             {func(ctx context.Context) (int, error) { return root.ChangeRoles(ctx, all, nil, nil) }, chansec.ErrInvalid},
		"a role to take and to give": {func(ctx context.Context) (int, error) {
			return root.ChangeRoles(ctx, all, []string{"x"}, []string{"y", "x"})
		}, chansec.ErrInvalid},
		"a role without a name":         {func(ctx context.Context) (int, error) { return root.ChangeRoles(ctx, all, nil, []string{""}) }, chansec.ErrInvalid},
		"more roles than there may be":  {func(ctx context.Context) (int, error) { return root.ChangeRoles(ctx, all, nil, many) }, chansec.ErrLimit},
		"roles of nobody in particular": {func(ctx context.Context) (int, error) { return root.ChangeRoles(ctx, session.Filter{}, nil, many[:1]) }, chansec.ErrInvalid},
		"a fixed property": {func(ctx context.Context) (int, error) {
			return root.SetProperties(ctx, all, map[string]string{"$Country": "CH"})
		}, chansec.ErrInvalid},
		"to remove a fixed property": {func(ctx context.Context) (int, error) { return root.SetProperties(ctx, all, nil, "$Principal") }, chansec.ErrInvalid},
		"to set and remove a property": {func(ctx context.Context) (int, error) {
			return root.SetProperties(ctx, all, map[string]string{"k": ""}, "k")
		}, chansec.ErrInvalid},
		"more properties than there may be":  {func(ctx context.Context) (int, error) { return root.SetProperties(ctx, all, properties) }, chansec.ErrLimit},
		"properties of nobody in particular": {func(ctx context.Context) (int, error) { return root.SetProperties(ctx, session.Filter{}, nil, "k") }, chansec.ErrInvalid},
		"a property that is longer than it may": {func(ctx context.Context) (int, error) {
			return root.SetProperties(ctx, all, map[string]string{"k": string(make([]byte, session.MaxPropertyValue+1))})
		}, chansec.ErrLimit},
	} {
		k, err := row.do(t.Context())
		require.ErrorIs(t, err, row.want, name)
		require.Zero(t, k, name)
	}
	require.Equal(t, before, n.Info().Properties())
	_, err = root.List(t.Context(), session.Filter{})
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

func TestChangeRolesCountsWhatItChanges(t *testing.T) {
	l := &trail{}
	s := sessionsOf(t, session.Config{Observe: l.observe})
	a, b, c := open(t, s, "a", "x"), open(t, s, "b", "x", "y"), open(t, s, "c", "y")
	for _, row := range []struct {
		name        string
		f           session.Filter
		remove, add []string
		want        int
		roles       [3][]string
	}{
		{"one is given to those who do not have it", session.All, nil, []string{"y"}, 1, [3][]string{{"x", "y"}, {"x", "y"}, {"y"}}},
		{"one is taken from those who have it", session.All, []string{"x"}, nil, 2, [3][]string{{"y"}, {"y"}, {"y"}}},
		{"one that nobody has is taken", session.All, []string{"z"}, nil, 0, [3][]string{{"y"}, {"y"}, {"y"}}},
		{"one for another, for some", session.OfPrincipal("b"), []string{"y"}, []string{"z", "z"}, 1, [3][]string{{"y"}, {"z"}, {"y"}}},
	} {
		n, err := s.Root().ChangeRoles(t.Context(), row.f, row.remove, row.add)
		require.NoError(t, err, row.name)
		require.Equal(t, row.want, n, row.name)
		require.Equal(t, row.roles, [3][]string{a.Info().Roles(), b.Info().Roles(), c.Info().Roles()}, row.name)
	}
	require.Equal(t, []session.Kind{session.Opened, session.Opened, session.Opened, session.RolesChanged, session.RolesChanged, session.RolesChanged, session.RolesChanged}, l.kinds())
	require.Equal(t, []string{"x"}, l.all()[3].Before.Roles())
	require.Equal(t, []string{"x", "y"}, l.all()[3].Session.Roles())
	require.Equal(t, "root", l.all()[3].By)
}

// A session that would get too many roles keeps all others from getting any.
func TestChangesOfManySessionsAreAllOrNothing(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	var most []string
	for i := range session.MaxRoles {
		most = append(most, fmt.Sprint(i))
	}
	few, full := open(t, s, "few"), open(t, s, "full", most...)
	n, err := s.Root().ChangeRoles(t.Context(), session.All, nil, []string{"one more"})
	require.ErrorIs(t, err, chansec.ErrLimit)
	require.Zero(t, n)
	require.Empty(t, few.Info().Roles())
	require.Equal(t, most, full.Info().Roles())
}

func TestSetPropertiesCountsWhatItChanges(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	a, b := open(t, s, "a"), open(t, s, "b")
	set := func(want int, f session.Filter, properties map[string]string, remove ...string) {
		t.Helper()
		n, err := s.Root().SetProperties(t.Context(), f, properties, remove...)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	user := func(n *session.Session) map[string]string {
		all := n.Info().Properties()
		maps.DeleteFunc(all, func(k, _ string) bool { return k[0] == '$' })
		return all
	}
	given := map[string]string{"k": "1", "l": "2"}
	set(1, session.OfPrincipal("a"), given)
	given["k"] = "changed afterwards"
	set(1, session.All, map[string]string{"k": "1"})
	set(0, session.All, map[string]string{"k": "1"}, "unknown")
	set(1, session.All, nil, "l")
	require.Equal(t, map[string]string{"k": "1"}, user(a))
	require.Equal(t, map[string]string{"k": "1"}, user(b))
	taken := a.Info().Properties()
	taken["k"] = "changed by a reader"
	require.Equal(t, map[string]string{"k": "1"}, user(a))
}

func TestKickSaysWhoAndWhy(t *testing.T) {
	l := &trail{}
	s := sessionsOf(t, session.Config{Permits: byRole, Observe: l.observe})
	admin := s.For(open(t, s, "admin", session.PermissionModifySession, authn.PermissionAuthenticate))
	ch := broadcast(t, roleReads{})
	alice, bob := open(t, s, "alice", "reader"), open(t, s, "bob", "reader")
	of, err := ch.For(alice).Subscribe(t.Context())
	require.NoError(t, err)
	n, err := admin.Kick(t.Context(), session.ID(alice.ID()), "on holiday")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	e := requireEnded(t, over(t, of), session.Kicked)
	require.Equal(t, "admin", e.By)
	require.Equal(t, "on holiday", e.Reason)
	require.Equal(t, alice.ID(), e.Session)
	require.WithinDuration(t, time.Now(), e.At, time.Minute)
	require.NoError(t, bob.Err())
	last := l.all()[len(l.all())-1]
	require.Equal(t, session.Ended, last.Kind)
	require.Equal(t, "admin", last.By)
	require.Equal(t, "alice", last.Session.Principal)
	require.Equal(t, alice.Err(), last.Err)

	n, err = admin.Revoke(t.Context(), session.OfPrincipal("bob"), "")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	requireEnded(t, bob.Err(), session.Revoked)
}

func TestFilters(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	began := time.Now()
	alice, bob, other := open(t, s, "alice", "x", "y"), open(t, s, "bob", "x"), open(t, s, "alice")
	_, err := s.Open(t.Context(), nil)
	require.Error(t, err)
	_, err = s.Root().SetProperties(t.Context(), session.OfPrincipal("bob"), map[string]string{"desk": "7"})
	require.NoError(t, err)
	for _, row := range []struct {
		name string
		f    session.Filter
		want []*session.Session
	}{
		{"all", session.All, []*session.Session{alice, bob, other}},
		{"one", session.ID(bob.ID()), []*session.Session{bob}},
		{"one that is not there", session.ID("x"), nil},
		{"a principal", session.OfPrincipal("alice"), []*session.Session{alice, other}},
		{"a principal who is not there", session.OfPrincipal("carol"), nil},
		{"a role", session.WithRole("x"), []*session.Session{alice, bob}},
		{"a user property", session.WithProperty("desk", "7"), []*session.Session{bob}},
		{"another value of it", session.WithProperty("desk", ""), nil},
		{"a fixed property", session.WithProperty("$Principal", "alice"), []*session.Session{alice, other}},
		{"a transport", session.Over("test"), []*session.Session{alice, bob, other}},
		{"another transport", session.Over("http"), nil},
		{"older", session.OpenedBefore(time.Now().Add(time.Minute)), []*session.Session{alice, bob, other}},
		{"not older", session.OpenedBefore(began), nil},
		{"not seen for long", session.UnseenSince(began), nil},
		{"seen", session.UnseenSince(began).Not(), []*session.Session{alice, bob, other}},
		{"both", session.WithRole("x").And(session.OfPrincipal("alice")), []*session.Session{alice}},
		{"both, the other way round", session.OfPrincipal("alice").And(session.WithRole("x")), []*session.Session{alice}},
		{"two principals", session.OfPrincipal("alice").And(session.OfPrincipal("bob")), nil},
		{"one of a principal", session.OfPrincipal("bob").And(session.ID(bob.ID())), []*session.Session{bob}},
		{"one of another", session.OfPrincipal("alice").And(session.ID(bob.ID())), nil},
		{"all but one", session.ID(bob.ID()).Not(), []*session.Session{alice, other}},
		{"something else", session.Where(func(i session.Info) bool { return len(i.Roles()) == 1 }), []*session.Session{bob}},
	} {
		list, err := s.Root().List(t.Context(), row.f)
		require.NoError(t, err, row.name)
		var want, got []string
		for _, n := range row.want {
			want = append(want, n.ID())
		}
		for i := range list {
			got = append(got, i.ID)
			require.True(t, row.f.Matches(i))
		}
		require.Equal(t, want, got, row.name)
	}
	for name, f := range map[string]session.Filter{"none": {}, "not none": session.Filter{}.Not(), "all and none": session.All.And(session.Filter{}), "none and all": session.Filter{}.And(session.All)} {
		_, err := s.Root().List(t.Context(), f)
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
		require.False(t, f.Matches(alice.Info()), name)
	}
	i, ok, err := s.Root().Get(t.Context(), bob.ID())
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "bob", i.Principal)
	_, ok, err = s.Root().Get(t.Context(), "x")
	require.NoError(t, err)
	require.False(t, ok)
	for range must(s.Root().List(t.Context(), session.All)) {
		break
	}
	require.Nil(t, session.Info{}.Roles())
	require.Nil(t, session.Info{}.Properties())
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// A filter is asked again about a session that became another while it was asked about others.
func TestAFilterMeansSessionsAsTheyAre(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	alice, bob := open(t, s, "alice", "x"), open(t, s, "bob", "x")
	change := true
	f := session.WithRole("x").And(session.Where(func(i session.Info) bool {
		if i.Principal == "bob" && change {
			change = false
			require.NoError(t, alice.Refresh(t.Context(), as("alice")))
		}
		return true
	}))
	n, err := s.Root().Kick(t.Context(), f, "")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, alice.Err())
	require.Error(t, bob.Err())

	bob, change = open(t, s, "bob", "x"), true
	require.NoError(t, alice.Refresh(t.Context(), as("alice", "x")))
	n, err = s.Root().ChangeRoles(t.Context(), f, nil, []string{"y"})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Empty(t, alice.Info().Roles())
	require.Equal(t, []string{"x", "y"}, bob.Info().Roles())
}
