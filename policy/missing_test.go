package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

func TestMissing(t *testing.T) {
	denying, variable := policy.WAMPConfig(), policy.DiffusionConfig()
	denying.DenyRows, variable.Variables = true, true
	for _, tt := range []struct {
		name      string
		config    policy.Config
		script    string
		principal chansec.Principal
		path      string
		want      string
	}{
		{"more for the role that decided", policy.DiffusionConfig(), "set 'R' path 'a' permissions [READ_TOPIC]\nassign roles 'ann' ['R']", chansec.Principal{SystemID: "ann"}, "a/b",
			"set 'R' path 'a' permissions [READ_TOPIC UPDATE_TOPIC]"},
		{"an assignment for a role that is held", policy.DiffusionConfig(), "isolate path 'a'\nassign roles 'ann' ['R']", chansec.Principal{SystemID: "ann"}, "a/b",
			"set 'R' path 'a/b' permissions [UPDATE_TOPIC]"},
		{"for a role that is only vouched for", policy.DiffusionConfig(), "", chansec.Principal{SystemID: "ann", Roles: []string{"", "R"}}, "a",
			"set 'R' path 'a' permissions [UPDATE_TOPIC]"},
		{"as near as a path can be", policy.DiffusionConfig(), "assign roles 'ann' ['R']", chansec.Principal{SystemID: "ann"}, "a/b\x00/c",
			"set 'R' path 'a' permissions [UPDATE_TOPIC]"},
		{"defaults, where it is the root", policy.DiffusionConfig(), "set 'R' default path permissions [READ_TOPIC]\nassign roles 'ann' ['R']", chansec.Principal{SystemID: "ann"}, "//",
			"set 'R' default path permissions [READ_TOPIC UPDATE_TOPIC]"},
		{"a role for somebody who has none", policy.DiffusionConfig(), "set 'R' path 'a' permissions [UPDATE_TOPIC]", chansec.Principal{SystemID: "ann"}, "a/b",
			"assign roles 'ann' ['R']"},
		{"the nearest, where that one decides", policy.DiffusionConfig(), "set 'R' path 'a' permissions [UPDATE_TOPIC]\nset 'S' path 'a/b' permissions [UPDATE_TOPIC]",
			chansec.Principal{SystemID: "ann"}, "a/b", "assign roles 'ann' ['S']"},
		{"a role for everybody without a name", policy.DiffusionConfig(), "set 'R' path 'a' permissions [UPDATE_TOPIC]", chansec.Principal{}, "a/b",
			"set roles for anonymous sessions ['R']"},
		{"nothing, where no role has it and none is held", policy.DiffusionConfig(), "set 'R' path 'a' permissions [READ_TOPIC]", chansec.Principal{SystemID: "ann"}, "a/b", ""},
		{"a role besides one that ends, which still ends", policy.WAMPConfig(), "assign role 'ann' 'R' until '2190-01-01T00:00:00Z'", chansec.Principal{SystemID: "ann"}, "a",
			"set 'R' path 'a' permissions [publish]"},

		{"the end of a denial", denying, "set 'R' path 'a' denials [publish call]\nset 'R' path 'a.b' permissions [publish]\nassign roles 'ann' ['R']", chansec.Principal{SystemID: "ann"}, "a.b",
			"set 'R' path 'a' denials [call]"},
		{"a grant above a denial", denying, "set 'R' path 'a.b' denials [publish]\nassign roles 'ann' ['R']", chansec.Principal{SystemID: "ann"}, "a.b.c",
			"set 'R' path 'a' permissions [publish]"},
		{"without the roles that deny", denying, "set 'R' path 'a' denials [publish]\nset 'S' path 'a' denials [publish]\nset 'T' path 'a' permissions [publish]\nassign roles 'ann' ['R' 'S' 'T' 'U']",
			chansec.Principal{SystemID: "ann"}, "a", "assign roles 'ann' ['T' 'U']"},
		{"another role in their place", denying, "set 'R' path 'a' denials [publish]\nset 'T' path 'a' permissions [publish]\nassign roles 'ann' ['R']",
			chansec.Principal{SystemID: "ann"}, "a", "assign roles 'ann' ['T']"},
		{"without an inclusion", denying, "set 'R' path 'a' denials [publish]\nset 'S' path 'a' denials [publish]\nset 'T' path 'a' permissions [publish]\nset 'T' includes ['R' 'S' 'U']\nset roles for named sessions ['T']",
			chansec.Principal{SystemID: "ann"}, "a", "set 'T' includes ['U']"},
		{"nothing, at names that begin with a dot", denying, "assign roles 'ann' ['R']", chansec.Principal{SystemID: "ann"}, ".a", ""},
		{"something, at names that end with one", denying, "assign roles 'ann' ['R']", chansec.Principal{SystemID: "ann"}, "a..", "set 'R' path 'a' permissions [publish]"},

		{"one's own, beside what is everybody's own", variable, "set 'R' path 'inbox/$principal' permissions []\nset roles for named sessions ['R']", chansec.Principal{SystemID: "ann"}, "inbox/ann",
			"set 'R' path 'inbox/ann' permissions [UPDATE_TOPIC]"},
		{"above a path that is called as the variable is", variable, "set roles for named sessions ['R']", chansec.Principal{SystemID: "ann"}, "inbox/$principal/x",
			"set 'R' path 'inbox' permissions [UPDATE_TOPIC]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, tt.config)
			require.NoError(t, s.Restore(t.Context(), policy.Root(), tt.script))
			ask := func() policy.Explanation {
				x, err := s.Authorizer().Explain(tt.principal, chansec.OpWrite, tt.path)
				require.NoError(t, err)
				return x
			}
			x := ask()
			require.False(t, x.Allowed)
			require.Equal(t, tt.want, x.Missing)
			if tt.want != "" {
				change(t, s, func(tx *policy.Tx) { require.NoError(t, tx.Run(x.Missing)) })
				require.True(t, ask().Allowed)
			}
		})
	}
}

// A denial in a store where nothing helps is explained all the same, in bounded time.
func TestMissingIsBounded(t *testing.T) {
	c := policy.WAMPConfig()
	c.DenyRows = true
	s := newStore(t, c)
	change(t, s, func(tx *policy.Tx) {
		var roles []string
		for i := range 500 {
			roles = append(roles, fmt.Sprint("R", i))
			tx.SetPathDenials(roles[i], "a", "publish")
			tx.SetPathPermissions(fmt.Sprint("S", i), "a", "publish")
			tx.SetRoleIncludes(roles[i], "X", "Y")
		}
		tx.SetPathDenials("X", "a", "publish")
		tx.SetRolesForNamedSessions(roles...)
		tx.AssignRoles("ann", roles...)
	})
	x, err := s.Authorizer().Explain(chansec.Principal{SystemID: "ann"}, chansec.OpWrite, strings.Repeat("a.", 250)+"a")
	require.NoError(t, err)
	require.False(t, x.Allowed)
}

// TestMissingIsThereWhereverOneCommandHelps tries out, in small stores, all commands there are for denials without one that
// is missing.
func TestMissingIsThereWhereverOneCommandHelps(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	denying, double := policy.WAMPConfig(), policy.PlainConfig()
	denying.DenyRows = true
	double.Vocabulary.Subscribe = "write" // so that subscribing takes two permissions
	for name, config := range map[string]policy.Config{"nearest": double, "any ancestor": policy.WAMPConfig(), "deny rows": denying} {
		t.Run(name, func(t *testing.T) {
			denials, without := 0, 0
			for seed := range uint64(max(differentialCases(t)/200, 100)) {
				w := &scriptWorld{rand.New(rand.NewPCG(seed, 2)), config}
				s := newStore(t, config)
				require.NoError(t, s.Restore(t.Context(), policy.Root(), w.script()))
				naive := referenceOf(t, s, config)
				if len(naive.ends) > 0 {
					continue // a list of roles of which some end cannot be replaced by one command
				}
				sep := string(rune(config.Separator))
				for _, who := range []string{"ann", "ben", "nobody", ""} {
					for range 4 {
						path := append(w.asked(), "", sep+"a", "a"+sep, "a"+sep+sep+"b", "a\n", "b"+sep+"\n"+sep+"a")[w.IntN(36)]
						op := []chansec.Operation{chansec.OpSubscribe, chansec.OpWrite}[w.IntN(2)]
						var vouched []string
						if w.IntN(4) == 0 {
							vouched = []string{"R1"}
						}
						x, err := s.Authorizer().Explain(chansec.Principal{SystemID: who, Roles: vouched}, op, path)
						require.NoError(t, err)
						if x.Allowed {
							continue
						}
						if denials++; x.Missing != "" {
							continue
						}
						without++
						help := naive.helps(who, vouched, path, x.Needed)
						require.Empty(t, help, "%q on %q: %v\n%s", who, path, x.Needed, s.Snapshot().Script())
					}
				}
			}
			t.Logf("%d denials, of which %d cannot be helped", denials, without)
			require.Positive(t, without)
			require.Greater(t, denials, 2*without)
		})
	}
}

// helps returns a command after which somebody has what is needed on a path, if there is one.
func (r *reference) helps(who string, vouched []string, path string, needed []string) string {
	roles := []string{"R0", "R1", "R2", "R3", "R4"}
	has := func(what string, change func(*reference)) string {
		next := r.clone()
		change(next)
		list := next.permissions(next.held(who, vouched), path)
		if len(without(needed, list)) == 0 {
			return what
		}
		return ""
	}
	nearest := r.rule == policy.NearestAssignment
	var found []string
	for _, p := range worldPaths {
		p = strings.ReplaceAll(p, "/", r.separator)
		for _, name := range roles {
			found = append(found,
				has("grant "+name+" "+p, func(n *reference) { n.role(name).paths[p] = slices.Concat(needed, n.role(name).paths[p]) }),
				has("remove "+name+" "+p, func(n *reference) { delete(n.role(name).paths, p); delete(n.role(name).denials, p) }),
				has("allow "+name+" "+p, func(n *reference) { n.role(name).denials[p] = without(n.role(name).denials[p], needed) }))
		}
		if nearest {
			found = append(found, has("deisolate "+p, func(n *reference) { delete(n.isolated, p) }))
		}
	}
	for some := range 1 << len(roles) {
		var list []string
		for i, name := range roles {
			if some>>i&1 != 0 {
				list = append(list, name)
			}
		}
		found = append(found, has(fmt.Sprint("named ", list), func(n *reference) { n.named = list }),
			has(fmt.Sprint("anonymous ", list), func(n *reference) { n.anonymous = list }))
		if who != "" {
			found = append(found, has(fmt.Sprint("assign ", who, list), func(n *reference) { n.principals[who] = list }))
		}
		for _, name := range roles {
			if !r.effective(list)[name] {
				found = append(found, has(fmt.Sprint(name, " includes ", list), func(n *reference) { n.role(name).includes = list }))
			}
		}
	}
	for _, name := range roles {
		if nearest {
			found = append(found, has("default "+name, func(n *reference) { n.role(name).defaults = slices.Concat(needed, n.role(name).defaults) }))
		}
	}
	for _, what := range found {
		if what != "" {
			return what
		}
	}
	return ""
}
