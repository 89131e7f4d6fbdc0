package policy_test

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func inboxes(t *testing.T) *policy.Store {
	c := policy.DiffusionConfig()
	c.Variables = true
	s := newStore(t, c)
	change(t, s, func(tx *policy.Tx) {
		tx.SetRolesForNamedSessions("USER")
		tx.SetRolesForAnonymousSessions("USER")
		tx.SetPathPermissions("USER", "inbox", "UPDATE_TOPIC")
		tx.SetPathPermissions("USER", "inbox/$principal", "READ_TOPIC", "SELECT_TOPIC")
		tx.SetPathPermissions("USER", "inbox/$principal/sent")
		tx.SetPathPermissions("BOSS", "inbox/ann", "MODIFY_TOPIC")
		tx.AssignRoles("ann", "BOSS")
		tx.IsolatePath("vault/$principal")
		tx.SetPathPermissions("USER", "vault", "READ_TOPIC")
	})
	return s
}

func TestVariables(t *testing.T) {
	s := inboxes(t).Snapshot()
	for _, tt := range []struct {
		name, who, path string
		want            []string
	}{
		{"one's own", "bob", "inbox/bob", []string{"READ_TOPIC", "SELECT_TOPIC"}},
		{"below it", "bob", "inbox/bob/today", []string{"READ_TOPIC", "SELECT_TOPIC"}},
		{"a nearer assignment below it", "bob", "inbox/bob/sent/x", []string{}},
		{"another's", "bob", "inbox/carol", []string{"UPDATE_TOPIC"}},
		{"what is above", "bob", "inbox", []string{"UPDATE_TOPIC"}},
		{"together with an assignment of that very name", "ann", "inbox/ann/x", []string{"MODIFY_TOPIC", "READ_TOPIC", "SELECT_TOPIC"}},
		{"isolation of one's own", "bob", "vault/bob/x", []string{}},
		{"no isolation of another's", "bob", "vault/carol/x", []string{"READ_TOPIC"}},
		{"nobody", "", "inbox/", []string{"UPDATE_TOPIC"}},
		{"a channel that is called as the variable is", "bob", "inbox/$principal", []string{"UPDATE_TOPIC"}},
		{"a caller who is called as the variable is", "$principal", "inbox/$principal", []string{"UPDATE_TOPIC"}},
		{"a caller whose name is a path", "bob/sent", "inbox/bob/sent", []string{"UPDATE_TOPIC"}},
		{"a name in another place", "bob", "bob/bob", []string{}},
	} {
		require.Equal(t, tt.want, s.PathPermissions(s.Session(tt.who), tt.path), tt.name)
		x, err := s.Explain(s.Session(tt.who), tt.path, "READ_TOPIC")
		require.NoError(t, err)
		require.Equal(t, strings.Contains(strings.Join(tt.want, " "), "READ_TOPIC"), x.Allowed, tt.name)
	}
	require.Equal(t, map[string][]string{
		"inbox": {"UPDATE_TOPIC"}, "inbox/bob": {"READ_TOPIC", "SELECT_TOPIC"}, "inbox/bob/sent": {}, "inbox/ann": {},
		"vault": {"READ_TOPIC"}, "vault/bob": {},
	}, merge(maps.Collect(s.WhatCan(s.Session("bob"))), map[string][]string{"inbox/ann": {}}))
}

func merge(x, y map[string][]string) map[string][]string { maps.Copy(x, y); return x }

func TestVariablesOnTheDecidingPath(t *testing.T) {
	a := inboxes(t).Authorizer()
	for who, want := range map[string]bool{"bob": true, "carol": false} {
		request := chansec.Request{Principal: chansec.Principal{SystemID: who}, ChannelID: "inbox/bob", Operation: chansec.OpSubscribe}
		d, err := a.Decide(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, want, d.Allowed)
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = a.Decide(context.Background(), request) }))
	}
}

func TestVariablesEverywhere(t *testing.T) {
	c := policy.DiffusionConfig()
	c.Variables = true
	s := newStore(t, c)
	path, deepest := "", ""
	change(t, s, func(tx *policy.Tx) {
		for range 8 {
			require.NoError(t, tx.SetPathPermissions("R", path+"$principal", "READ_TOPIC"))
			deepest = path + "$principal/x"
			path += "bob/"
		}
		require.NoError(t, tx.SetPathPermissions("R", deepest, "UPDATE_TOPIC"))
	})
	who := policy.Session{Principal: "bob", Roles: []string{"R"}}
	require.Equal(t, []string{"UPDATE_TOPIC"}, s.Snapshot().PathPermissions(who, path+"x"))
	require.Equal(t, []string{"READ_TOPIC"}, s.Snapshot().PathPermissions(who, path+"bob/bob/bob"))
}

func TestVariablesThatMakeNoSense(t *testing.T) {
	s := inboxes(t)
	for _, path := range []string{"a/$user", "a/$", "$principal/b/$principal", "1/2/3/4/5/6/7/8/$principal"} {
		err := s.Update(t.Context(), policy.Root(), isolate(path))
		require.ErrorIs(t, err, policy.InvalidPath, path)
	}
	require.NoError(t, s.Update(t.Context(), policy.Root(), isolate("a/x$principal")), "only a whole segment is a variable")

	plain := newStore(t, policy.DiffusionConfig())
	change(t, plain, func(tx *policy.Tx) { tx.SetPathPermissions("R", "inbox/$principal", "READ_TOPIC") })
	allowed, err := plain.Snapshot().Allowed(policy.Session{Principal: "bob", Roles: []string{"R"}}, "READ_TOPIC", "inbox/bob")
	require.NoError(t, err)
	require.False(t, allowed, "without the option it is a segment as others are")
}

func TestPreviewsOfVariables(t *testing.T) {
	p, err := inboxes(t).Preview(t.Context(), policy.Root(), func(tx *policy.Tx) error {
		return tx.SetPathPermissions("USER", "inbox/$principal", "READ_TOPIC")
	})
	require.NoError(t, err)
	lost := []string{"SELECT_TOPIC"}
	require.Equal(t, []policy.Difference{
		{Whom: policy.OtherPrincipals, Path: "inbox/$principal", Gained: []string{}, Lost: lost},
		{Whom: policy.OtherPrincipals, Path: "inbox/$principal/sent", Gained: []string{}, Lost: []string{}},
		{Whom: policy.OnePrincipal, Principal: "ann", Path: "inbox/ann", Gained: []string{}, Lost: lost},
		{Whom: policy.OnePrincipal, Principal: "ann", Path: "inbox/ann/sent", Gained: []string{}, Lost: []string{}},
	}, p.Paths)
}
