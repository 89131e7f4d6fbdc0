package authn_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/authn"
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

func TestTheBuilderWritesWhatDiffusionsWrites(t *testing.T) {
	var v struct {
		Cases []struct {
			ID, Target, Script string
			Calls              []call
		}
	}
	readVector(t, "testdata/paths/builder.json", &v)
	built := 0
	for _, c := range v.Cases {
		if c.Target == "security" {
			continue // the test is beside that builder, in policy
		}
		built++
		t.Run(c.ID, func(t *testing.T) {
			var b authn.AuthenticationScriptBuilder
			for _, call := range c.Calls {
				build(t, &b, call)
			}
			got, err := b.Build()
			require.NoError(t, err)
			require.Equal(t, c.Script, got)
		})
	}
	require.NotZero(t, built)
}

func build(t *testing.T, b *authn.AuthenticationScriptBuilder, c call) {
	switch c.Method {
	case "addPrincipal":
		if len(c.Args) == 4 {
			b.AddLockedPrincipal(c.text(t, 0), c.text(t, 1), c.text(t, 3), c.list(t, 2)...)
			return
		}
		b.AddPrincipal(c.text(t, 0), c.text(t, 1), c.list(t, 2)...)
	case "removePrincipal":
		b.RemovePrincipal(c.text(t, 0))
	case "assignRoles":
		b.AssignRoles(c.text(t, 0), c.list(t, 1)...)
	case "setPassword":
		b.SetPassword(c.text(t, 0), c.text(t, 1))
	case "verifyPassword":
		b.VerifyPassword(c.text(t, 0), c.text(t, 1))
	case "allowAnonymousConnections":
		b.AllowAnonymousConnections(c.list(t, 0)...)
	case "denyAnonymousConnections":
		b.DenyAnonymousConnections()
	case "abstainAnonymousConnections":
		b.AbstainAnonymousConnections()
	case "trustClientProposedPropertyIn":
		b.TrustClientProposedPropertyIn(c.text(t, 0), c.list(t, 1)...)
	case "trustClientProposedPropertyMatches":
		b.TrustClientProposedPropertyMatches(c.text(t, 0), c.text(t, 1))
	case "ignoreClientProposedProperty":
		b.IgnoreClientProposedProperty(c.text(t, 0))
	default:
		t.Fatal(c.Method)
	}
}

func TestTheBuilderRefusesWhatNoScriptCanHold(t *testing.T) {
	for name, b := range map[string]*authn.AuthenticationScriptBuilder{
		"a line end in a name":       new(authn.AuthenticationScriptBuilder).RemovePrincipal("a\nremove principal 'b'"),
		"a control character":        new(authn.AuthenticationScriptBuilder).AssignRoles("a", "B\x00"),
		"text that is not UTF-8":     new(authn.AuthenticationScriptBuilder).AllowAnonymousConnections("\xff"),
		"a password with a line end": new(authn.AuthenticationScriptBuilder).SetPassword("ann", "hunter2\n"),
		"an error before others":     new(authn.AuthenticationScriptBuilder).AddPrincipal("\n", "hunter2").DenyAnonymousConnections(),
	} {
		_, err := b.Build()
		require.ErrorIs(t, err, authn.InvalidArgument, name)
		require.NotContains(t, err.Error(), "hunter2", "a password is in no error")
	}
}

func TestTheBuilderPrintsNoPassword(t *testing.T) {
	b := new(authn.AuthenticationScriptBuilder).AddPrincipal("ann", "hunter2")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s %x %v %+v %s", b, b, b, b, b, *b, *b, *b), "hunter2")
}
