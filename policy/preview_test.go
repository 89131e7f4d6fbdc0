package policy_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func desk(t *testing.T) *policy.Store {
	s := newStore(t, policy.DiffusionConfig())
	change(t, s, func(tx *policy.Tx) {
		tx.SetPathPermissions("TRADER", "desk", "READ_TOPIC", "SELECT_TOPIC")
		tx.SetPathPermissions("TRADER", "desk/fx/notes")
		tx.SetPathPermissions("HEAD", "desk/fx", "UPDATE_TOPIC", "READ_TOPIC", "SELECT_TOPIC")
		tx.SetRoleIncludes("HEAD", "TRADER")
		tx.SetDefaultPathPermissions("CLIENT", "READ_TOPIC")
		tx.SetRolesForNamedSessions("CLIENT")
		tx.AssignRoles("tom", "TRADER")
		tx.AssignRoles("hedda", "HEAD")
	})
	return s
}

func TestPreviewSaysWhoGainsAndLosesWhat(t *testing.T) {
	one := func(name, path string, gained, lost []string) policy.Difference {
		if gained == nil {
			gained = []string{}
		}
		if lost == nil {
			lost = []string{}
		}
		return policy.Difference{Whom: policy.OnePrincipal, Principal: name, Path: path, Gained: gained, Lost: lost}
	}
	read := []string{"READ_TOPIC"}
	both := []string{"READ_TOPIC", "SELECT_TOPIC"}
	for _, tt := range []struct {
		name    string
		do      func(tx *policy.Tx)
		paths   []policy.Difference
		globals []policy.Difference
	}{
		{"nothing", func(tx *policy.Tx) { tx.IsolatePath("x"); tx.DeisolatePath("x") }, nil, nil},
		{"a rule that nobody's roles have", func(tx *policy.Tx) { tx.Grant("NEW", "desk", "READ_TOPIC") }, nil, nil},
		{"isolation where only the others had something, by default", func(tx *policy.Tx) { tx.IsolatePath("desk/fx/notes/old") }, []policy.Difference{
			{Whom: policy.OtherPrincipals, Path: "desk/fx/notes/old", Gained: []string{}, Lost: read},
		}, nil},
		{"isolation of a path that has an assignment", func(tx *policy.Tx) { tx.IsolatePath("desk/fx") }, []policy.Difference{
			{Whom: policy.OtherPrincipals, Path: "desk/fx", Gained: []string{}, Lost: read},
			one("tom", "desk/fx", nil, both), one("tom", "desk/fx/notes", nil, nil),
		}, nil},
		{"a permission more", func(tx *policy.Tx) { tx.Grant("TRADER", "desk", "UPDATE_TOPIC") }, []policy.Difference{
			one("hedda", "desk", []string{"UPDATE_TOPIC"}, nil), one("hedda", "desk/fx", nil, nil),
			one("tom", "desk", []string{"UPDATE_TOPIC"}, nil), one("tom", "desk/fx/notes", nil, nil),
		}, nil},
		{"a nearer assignment takes", func(tx *policy.Tx) { tx.SetPathPermissions("TRADER", "desk/fx/live") }, []policy.Difference{
			one("hedda", "desk/fx/live", nil, []string{"READ_TOPIC", "SELECT_TOPIC", "UPDATE_TOPIC"}), one("tom", "desk/fx/live", nil, both),
		}, nil},
		{"a role for somebody new", func(tx *policy.Tx) { tx.AssignRoles("nina", "TRADER") }, []policy.Difference{
			one("nina", "desk", []string{"SELECT_TOPIC"}, nil), one("nina", "desk/fx/notes", nil, read),
		}, nil},
		{"a default for everybody", func(tx *policy.Tx) { tx.SetDefaultPathPermissions("CLIENT") }, []policy.Difference{
			{Whom: policy.OtherPrincipals, Gained: []string{}, Lost: read},
			one("hedda", "", nil, read), one("hedda", "desk", nil, nil), one("tom", "", nil, read), one("tom", "desk", nil, nil),
		}, nil},
		{"roles for those without a name", func(tx *policy.Tx) { tx.SetRolesForAnonymousSessions("CLIENT") }, []policy.Difference{
			{Whom: policy.AnonymousSessions, Gained: read, Lost: []string{}},
		}, nil},
		{"a global permission", func(tx *policy.Tx) { tx.SetGlobalPermissions("TRADER", "VIEW_SERVER") }, nil, []policy.Difference{
			one("hedda", "", []string{"VIEW_SERVER"}, nil), one("tom", "", []string{"VIEW_SERVER"}, nil),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := desk(t)
			before := s.Snapshot()
			p, err := s.Preview(t.Context(), policy.Root(), func(tx *policy.Tx) error { tt.do(tx); return nil })
			require.NoError(t, err)
			require.Equal(t, tt.paths, p.Paths)
			require.Equal(t, tt.globals, p.Globals)
			require.Equal(t, before, s.Snapshot(), "nothing was changed")
		})
	}
}

func TestPreviewSaysWhichLeasesWouldBeCut(t *testing.T) {
	p, err := desk(t).Preview(t.Context(), policy.Root(), isolate("desk/fx"))
	require.NoError(t, err)
	require.True(t, p.Cuts(chansec.Principal{SystemID: "tom"}, chansec.OpSubscribe, "desk/fx/eur"))
	require.False(t, p.Cuts(chansec.Principal{SystemID: "tom"}, chansec.OpSubscribe, "desk/bonds"))
	require.False(t, p.Cuts(chansec.Principal{SystemID: "hedda"}, chansec.OpSubscribe, "desk/fx/eur"))
	require.False(t, p.Cuts(chansec.Principal{SystemID: "nobody"}, chansec.OpSubscribe, "desk/fx/eur"), "what is not allowed cannot be cut")
}

func TestPreviewNamesTheLiveLeasesThatTheChangeCuts(t *testing.T) {
	s := desk(t)
	security, err := chansec.Join(chansec.OpenSecurity{}, s.Authorizer(), chansec.OpenSecurity{})
	require.NoError(t, err)
	channel, err := chansec.NewBroadcast[int]("desk/fx", chansec.WithSecurity(security))
	require.NoError(t, err)
	defer channel.Close()
	leases := map[string]chansec.Lease[int]{}
	for _, name := range []string{"tom", "hedda"} {
		leases[name], err = channel.As(name).Subscribe(t.Context())
		require.NoError(t, err)
	}
	p, err := s.Preview(t.Context(), policy.Root(), isolate("desk/fx"))
	require.NoError(t, err)
	cut := slices.Collect(p.Cut(channel.Holders()))
	require.Equal(t, []chansec.Holder{{ChannelID: "desk/fx", Operation: chansec.OpSubscribe, Principal: chansec.Principal{SystemID: "tom"}}}, cut)
	require.NoError(t, leases["tom"].Err(), "nothing was changed")

	require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("desk/fx")))
	<-leases["tom"].Done()
	require.NoError(t, leases["hedda"].Err())
	require.Equal(t, []chansec.Holder{{ChannelID: "desk/fx", Operation: chansec.OpSubscribe, Principal: chansec.Principal{SystemID: "hedda"}}},
		slices.Collect(channel.Holders()), "exactly the others are left")
}

func TestPreviewIsForThoseWhoMayChangeTheStore(t *testing.T) {
	_, err := desk(t).Preview(t.Context(), policy.ActorNamed("tom"), isolate("a"))
	require.ErrorIs(t, err, chansec.ErrPermission)
}

func TestWhatCan(t *testing.T) {
	s := desk(t).Snapshot()
	require.Equal(t, map[string][]string{
		"": {"READ_TOPIC"}, "desk": {"READ_TOPIC", "SELECT_TOPIC"}, "desk/fx": {"READ_TOPIC", "SELECT_TOPIC", "UPDATE_TOPIC"}, "desk/fx/notes": {},
	}, maps.Collect(s.WhatCan(s.Session("hedda"))))
	require.Empty(t, maps.Collect(s.WhatCan(policy.Session{})))
	for path := range s.WhatCan(s.Session("hedda")) {
		require.Empty(t, path, "the root comes first")
		break
	}
}

func TestWhoCan(t *testing.T) {
	s := desk(t).Snapshot()
	for _, tt := range []struct {
		permission, path string
		want             []string
	}{
		{"UPDATE_TOPIC", "desk/fx/eur", []string{"hedda"}},
		{"READ_TOPIC", "desk", []string{"hedda", "tom"}},
		{"READ_TOPIC", "desk/fx/notes", nil},
	} {
		who, err := s.WhoCan(tt.permission, tt.path)
		require.NoError(t, err)
		require.Equal(t, tt.want, slices.Collect(who), tt)
	}
	_, err := s.WhoCan("FLY", "desk")
	require.ErrorIs(t, err, policy.UnknownPermission)
}

func TestPreviewOfARestoreSaysTheSameAsOneOfItsChanges(t *testing.T) {
	s := desk(t)
	changed, err := s.Preview(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.Grant("TRADER", "desk", "UPDATE_TOPIC") })
	require.NoError(t, err)
	restored, err := s.Preview(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.Restore(changed.After.Script()) })
	require.NoError(t, err)
	require.NotEmpty(t, changed.Paths)
	require.Equal(t, changed.Paths, restored.Paths)
	require.Equal(t, changed.After.Script(), restored.After.Script())
	_, err = s.Preview(t.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.Restore("set roles for everybody [\"X\"]") })
	require.ErrorIs(t, err, policy.Syntax)
}
