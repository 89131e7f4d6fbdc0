package policy_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/topicvectors"
	"github.com/chansec/chansec/policy"
)

// The vectors of the two systems, as they are in shared/vectors; their schemas are in diffusion.md 14 and sqlauth.md 12.

// storeVector is a whole store of Diffusion.
type storeVector struct {
	Roles          map[string]roleVector `json:"roles"`
	Isolated       []string              `json:"isolated"`
	AnonymousRoles []string              `json:"anonymousRoles"`
	NamedRoles     []string              `json:"namedRoles"`
}

type roleVector struct {
	Includes []string            `json:"includes,omitempty"`
	Globals  []string            `json:"globals,omitempty"`
	Defaults []string            `json:"defaults,omitempty"`
	Paths    map[string][]string `json:"paths,omitempty"`
	LockedBy string              `json:"lockedBy,omitempty"`
}

func readVector(t *testing.T, name string, into any) {
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into))
}

func vectorFiles(t *testing.T, pattern string) []string {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func newStore(t testing.TB, c policy.Config) *policy.Store {
	s, err := policy.New(c)
	require.NoError(t, err)
	return s
}

// change runs commands as Root.
func change(t testing.TB, s *policy.Store, f func(tx *policy.Tx)) {
	require.NoError(t, s.Update(context.Background(), policy.Root(), func(tx *policy.Tx) error { f(tx); return nil }))
}

// fill puts a vector's store into an empty one.
func (v storeVector) fill(tx *policy.Tx) {
	for name, r := range v.Roles {
		tx.SetGlobalPermissions(name, r.Globals...)
		tx.SetDefaultPathPermissions(name, r.Defaults...)
		for path, list := range r.Paths {
			tx.SetPathPermissions(name, path, list...)
		}
		tx.SetRoleIncludes(name, r.Includes...)
	}
	for name, r := range v.Roles {
		tx.SetRoleLockedByPrincipal(name, r.LockedBy)
	}
	for _, path := range v.Isolated {
		tx.IsolatePath(path)
	}
	tx.SetRolesForAnonymousSessions(v.AnonymousRoles...)
	tx.SetRolesForNamedSessions(v.NamedRoles...)
}

// decisionVector is a store and what it must answer.
type decisionVector struct {
	Name   string
	Store  storeVector
	Script string
	Cases  []struct {
		ID, Path, Permission string
		Roles, Effective     []string
		Allowed              bool
		DecidedBy            *string
	}
	GlobalCases []struct {
		ID, Permission   string
		Roles, Effective []string
		Allowed          bool
	}
}

func (v *decisionVector) check(t *testing.T, s *policy.Snapshot) {
	for _, c := range v.Cases {
		who := policy.Session{Roles: c.Roles}
		require.Equal(t, c.Effective, s.PathPermissions(who, c.Path), c.ID)
		allowed, err := s.Allowed(who, c.Permission, c.Path)
		require.NoError(t, err)
		require.Equal(t, c.Allowed, allowed, c.ID)
		x, err := s.Explain(who, c.Path, c.Permission)
		require.NoError(t, err)
		require.Equal(t, c.Allowed, x.Allowed, c.ID)
		require.Equal(t, c.DecidedBy, decidedBy(x), c.ID)
	}
	for _, c := range v.GlobalCases {
		list := s.GlobalPermissions(policy.Session{Roles: c.Roles})
		require.Equal(t, c.Effective, list, c.ID)
		require.Equal(t, c.Allowed, slices.Contains(list, c.Permission), c.ID)
	}
	require.Equal(t, v.Script, s.Script(), "the dump is in the canonical order")
}

func TestDiffusionDecisions(t *testing.T) {
	for _, file := range vectorFiles(t, "paths/decisions-*.json") {
		var v decisionVector
		readVector(t, file, &v)
		t.Run(v.Name, func(t *testing.T) {
			store := newStore(t, policy.DiffusionConfig())
			change(t, store, v.Store.fill)
			v.check(t, store.Snapshot())
		})
	}
}

// decidedBy is what the vectors call the rule that decided.
func decidedBy(x policy.Explanation) *string {
	switch x.Basis {
	case policy.Assigned:
		return &x.DecidedBy
	case policy.Defaults:
		return new("<default>")
	}
	return nil
}

func TestTopicChecks(t *testing.T) {
	for name, v := range topicvectors.Checks(t) {
		t.Run(name, func(t *testing.T) {
			config := policy.WAMPConfig()
			config.DenyRows = v.Optional
			store := newStore(t, config)
			change(t, store, func(tx *policy.Tx) { require.NoError(t, v.DB.FillGrants(tx)) })
			s := store.Snapshot()
			for _, c := range v.Cases {
				topic, ok := policy.FixedPart(c.Topic, c.Match)
				if !ok {
					require.False(t, c.Allowed, c.ID)
					require.Nil(t, c.DecidedBy, c.ID)
					continue
				}
				x, err := s.Explain(s.Session(c.User), topic, c.Action)
				require.NoError(t, err)
				require.Equal(t, c.Allowed, x.Allowed, c.ID)
				require.Equal(t, c.DecidedBy, decidedBy(x), c.ID)
				allowed, err := s.Allowed(s.Session(c.User), c.Action, topic)
				require.NoError(t, err)
				require.Equal(t, c.Allowed, allowed, c.ID)
			}
		})
	}
}
