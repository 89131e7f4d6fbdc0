package policy_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

// call is one call of a builder in the vectors: strings, or lists of strings.
type call struct {
	Method string
	Args   []json.RawMessage
}

func (c call) text(t *testing.T, i int) (s string) {
	require.NoError(t, json.Unmarshal(c.Args[i], &s))
	return s
}

func (c call) list(t *testing.T, i int) (list []string) {
	if i < len(c.Args) {
		require.NoError(t, json.Unmarshal(c.Args[i], &list))
	}
	return list
}

func TestBuildersWriteWhatDiffusionsWrite(t *testing.T) {
	var v struct {
		Cases []struct {
			ID, Target, Script string
			Calls              []call
		}
	}
	readVector(t, "testdata/paths/builder.json", &v)
	for _, c := range v.Cases {
		if c.Target != "security" {
			continue // the test is beside that builder, in authn
		}
		t.Run(c.ID, func(t *testing.T) {
			var b policy.SecurityScriptBuilder
			for _, call := range c.Calls {
				buildSecurity(t, &b, call)
			}
			got, err := b.Build()
			require.NoError(t, err)
			require.Equal(t, c.Script, got)
			require.NoError(t, newStore(t, policy.DiffusionConfig()).UpdateScript(t.Context(), policy.Root(), got), "a store takes it")
		})
	}
}

func buildSecurity(t *testing.T, b *policy.SecurityScriptBuilder, c call) {
	switch c.Method {
	case "setRolesForAnonymousSessions":
		b.SetRolesForAnonymousSessions(c.list(t, 0)...)
	case "setRolesForNamedSessions":
		b.SetRolesForNamedSessions(c.list(t, 0)...)
	case "setGlobalPermissions":
		b.SetGlobalPermissions(c.text(t, 0), c.list(t, 1)...)
	case "setDefaultPathPermissions":
		b.SetDefaultPathPermissions(c.text(t, 0), c.list(t, 1)...)
	case "setPathPermissions":
		b.SetPathPermissions(c.text(t, 0), c.text(t, 1), c.list(t, 2)...)
	case "removePathPermissions":
		b.RemovePathPermissions(c.text(t, 0), c.text(t, 1))
	case "isolatePath":
		b.IsolatePath(c.text(t, 0))
	case "deisolatePath":
		b.DeisolatePath(c.text(t, 0))
	case "setRoleIncludes":
		b.SetRoleIncludes(c.text(t, 0), c.list(t, 1)...)
	case "setRoleLockedByPrincipal":
		b.SetRoleLockedByPrincipal(c.text(t, 0), c.text(t, 1))
	default:
		t.Fatal(c.Method)
	}
}

func TestBuildersRefuseWhatNoScriptCanHold(t *testing.T) {
	for name, build := range map[string]func() (string, error){
		"a line end in a name":           new(policy.SecurityScriptBuilder).IsolatePath("a\nisolate path 'b'").Build,
		"a control character":            new(policy.SecurityScriptBuilder).SetRoleIncludes("A", "B\x00").Build,
		"text that is not UTF-8":         new(policy.SecurityScriptBuilder).IsolatePath("a\xff").Build,
		"a permission that is a command": new(policy.SecurityScriptBuilder).SetGlobalPermissions("A", "X] isolate").Build,
		"an error before others":         new(policy.SecurityScriptBuilder).IsolatePath("\n").IsolatePath("a").Build,
	} {
		_, err := build()
		require.ErrorIs(t, err, policy.InvalidArgument, name)
	}
}
