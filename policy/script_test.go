package policy_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func TestSecurityScripts(t *testing.T) {
	var v struct {
		Store storeVector
		Cases []struct {
			ID, As, Script, ErrorKind string
			OK                        bool
			After                     storeVector
			ErrorLine                 int
		}
	}
	readVector(t, "testdata/paths/script-security.json", &v)
	require.NotEmpty(t, v.Cases)
	for _, c := range v.Cases {
		t.Run(c.ID, func(t *testing.T) {
			store := newStore(t, policy.DiffusionConfig())
			change(t, store, v.Store.fill)
			// The one who runs the script holds what it takes, by a role beside the vector's.
			actor := policy.ActorOf(chansec.Principal{SystemID: c.As, Roles: []string{"SECURITY"}})
			security := func(tx *policy.Tx) { tx.SetGlobalPermissions("SECURITY", "MODIFY_SECURITY") }
			change(t, store, security)
			before := store.Snapshot()

			err := store.UpdateScript(t.Context(), actor, c.Script)
			if !c.OK {
				require.ErrorIs(t, err, policy.Kind(c.ErrorKind))
				var e *policy.ScriptError
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.ErrorLine, e.Reports[0].Line)
				require.Positive(t, e.Reports[0].Column)
				require.Equal(t, before, store.Snapshot(), "nothing was changed")
				return
			}
			require.NoError(t, err)
			want := newStore(t, policy.DiffusionConfig())
			change(t, want, c.After.fill)
			change(t, want, security)
			require.Equal(t, want.Snapshot().Script(), store.Snapshot().Script())
		})
	}
}

func TestScriptErrorsSayWhere(t *testing.T) {
	for _, tt := range []struct {
		name         string
		script       string
		kind         policy.Kind
		line, column int
		want         string
	}{
		{"a word that begins no command", "grant 'A' all", policy.Syntax, 1, 1, "want set or remove or isolate or deisolate"},
		{"no string where one must be", "isolate path a", policy.Syntax, 1, 14, "want a string in quotes"},
		{"a command that ends too early", "isolate path", policy.Syntax, 1, 13, "want a string in quotes"},
		{"a command that goes on", "\nisolate path 'a' 'b'", policy.Syntax, 2, 18, "want the end of the line"},
		{"two commands on one line", "isolate path 'a'; isolate path 'b'", policy.Syntax, 1, 17, "a blank before it"},
		{"columns are characters", "isolate path 'äöü' now", policy.Syntax, 1, 20, "want the end of the line"},
		{"a string that does not end", "isolate path 'a", policy.Syntax, 1, 14, "want a closing quote"},
		{"a string that ends on the next line", "isolate path 'a\nb'", policy.Syntax, 1, 14, "want a closing quote"},
		{"a list that does not end", "set 'A' includes ['B'", policy.Syntax, 1, 18, "want a closing bracket"},
		{"a comma too early", "set 'A' includes [, 'B']", policy.Syntax, 1, 19, "an item before the comma"},
		{"a comma too many", "set 'A' includes ['B',, 'C']", policy.Syntax, 1, 23, "an item before the comma"},
		{"a comma too late", "set 'A' includes ['B',]", policy.Syntax, 1, 23, "an item behind the comma"},
		{"items without anything between", "set 'A' includes ['B''C']", policy.Syntax, 1, 22, "a blank or a comma"},
		{"strings where words must be", "set 'A' permissions ['VIEW_SERVER']", policy.Syntax, 1, 22, "a list of permissions"},
		{"words where strings must be", "set 'A' includes [B]", policy.Syntax, 1, 19, "a list of strings"},
		{"includes without a list", "set 'A' includes", policy.Syntax, 1, 17, "a list of strings"},
		{"text that is not UTF-8", "isolate path 'a\xff'", policy.Syntax, 1, 1, "want UTF-8"},
		{"the other store's command", "deny anonymous connections", policy.Syntax, 1, 1, "want set"},
		{"a command of this store that is not Diffusion's", "assign roles 'a' ['A']", policy.Syntax, 1, 1, "want set"},
		{"an unknown permission", "# ok\nisolate path 'a'\n  set 'A' permissions [FLY]", policy.UnknownPermission, 3, 3, `"FLY": want one of AUTHENTICATE`},
		{"a role that would include itself", "set 'A' includes ['A']", policy.Cycle, 1, 1, `a role that does not include "A"`},
		{"a control character in a name", "set 'A\x01' includes []", policy.InvalidArgument, 1, 1, "without control characters"},
		{"the root", "isolate path '//'", policy.InvalidPath, 1, 1, "at least one segment"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newStore(t, policy.DiffusionConfig())
			err := store.UpdateScript(t.Context(), policy.Root(), tt.script)
			require.ErrorIs(t, err, tt.kind)
			var e *policy.ScriptError
			require.ErrorAs(t, err, &e)
			require.Equal(t, []int{tt.line, tt.column}, []int{e.Reports[0].Line, e.Reports[0].Column}, err)
			require.Contains(t, e.Reports[0].Err.Error(), tt.want)
			require.Zero(t, store.Version())
		})
	}
}

func TestScriptsReportEveryLineThatIsWrong(t *testing.T) {
	store := newStore(t, policy.DiffusionConfig())
	err := store.UpdateScript(t.Context(), policy.Root(), "isolate\nisolate path 'a'\nset\n"+strings.Repeat("x\n", 100))
	var e *policy.ScriptError
	require.ErrorAs(t, err, &e)
	require.Len(t, e.Reports, 20)
	require.Equal(t, 3, e.Reports[1].Line)
	require.ErrorContains(t, err, "line 1, column 8: ")
	require.ErrorContains(t, err, "(and 19 more)")
}

func TestScriptsOfThoseWhoMayNotChangeTheStoreAreNotRead(t *testing.T) {
	store := newStore(t, policy.DiffusionConfig())
	for name, actor := range map[string]policy.Actor{
		"nobody":                     {},
		"somebody without roles":     policy.ActorNamed("alice"),
		"a role that nobody defined": policy.ActorOf(chansec.Principal{SystemID: "alice", Roles: []string{"ADMIN"}}),
		"a role without a name":      policy.ActorOf(chansec.Principal{Roles: []string{"ADMIN"}}),
	} {
		err := store.UpdateScript(context.Background(), actor, "this is no script")
		require.ErrorIs(t, err, chansec.ErrPermission, name)
		require.False(t, errors.Is(err, policy.Syntax), name)
	}
}
