package main

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/topicvectors"
	"github.com/chansec/chansec/policy"
)

// The command line answers as the vectors say, of a file, and of a database, where there are no rows that deny.
func TestChecksOfTheVectorsByHand(t *testing.T) {
	for name, v := range topicvectors.Checks(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put := func(name, text string) string {
				file := filepath.Join(dir, name)
				require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
				return file
			}
			config := policy.WAMPConfig()
			config.Delegation, config.DenyRows = true, v.Optional
			store, err := policy.New(config)
			require.NoError(t, err)
			require.NoError(t, store.Update(t.Context(), policy.Root(), v.DB.Fill))
			script := put("policy.script", store.Snapshot().Script())

			type asked struct {
				Name       string `json:"name"`
				As         string `json:"as"`
				Permission string `json:"permission"`
				Path       string `json:"path"`
				Match      string `json:"match"`
				Allow      bool   `json:"allow"`
				DecidedBy  string `json:"decided_by"`
			}
			var cases []asked
			for _, c := range v.Cases {
				a := asked{c.ID, c.User, c.Action, c.Topic, string(cmp.Or(c.Match, policy.MatchExact)), c.Allowed, ""}
				if c.DecidedBy != nil {
					a.DecidedBy = *c.DecidedBy
				}
				cases = append(cases, a)
			}
			written := func(name string) string {
				text, err := json.Marshal(cases)
				require.NoError(t, err)
				return put(name, string(text))
			}
			right := written("right.json")
			cases[len(cases)-1].Allow = !cases[len(cases)-1].Allow
			wrong := written("wrong.json")
			check := func(of string, flags ...string) {
				got := ran(t.Context(), "", nil, append([]string{"policy", "test", of, right}, flags...)...)
				require.Equal(t, exitDone, got.status, "%s%s", got.out, got.err)
				got = ran(t.Context(), "", nil, append([]string{"policy", "test", of, wrong}, flags...)...)
				require.Equal(t, exitRefused, got.status)
				require.Contains(t, got.out, "FAIL")
			}
			flags := []string{"--kind", "wamp", "--delegation"}
			if v.Optional {
				check(script, append(flags, "--deny-rows")...)
				return
			}
			check(script, flags...)
			onBothEngines(t, func(t *testing.T, database string) {
				besides(t, database)
				got := ran(t.Context(), "", nil, "policy", "apply", database, script, "--yes")
				require.Equal(t, exitDone, got.status, got.err)
				check(database)
			})
		})
	}
}

func TestPatternsAreExplained(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "p.script")
	require.NoError(t, os.WriteFile(file, []byte("set \"family\" path \"com.home\" permissions [subscribe]\nassign roles \"greg\" [\"family\"]\n"), 0o600))
	explain := func(args ...string) answer {
		return ran(t.Context(), "", nil, append([]string{"policy", "explain", file, "--as", "greg", "subscribe"}, args...)...)
	}
	require.Equal(t, answer{exitDone, "all that matches the prefix \"com.home.\" has in common \"com.home\"\n" +
		"allowed: subscribe on \"com.home\" at revision 1\ndecided by what is assigned at \"com.home\"\n  family: [subscribe]\n", ""},
		explain("com.home.", "--match", "prefix", "--kind", "wamp"))
	for name, tt := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"a prefix of more than is granted":     {[]string{"com.ho", "--match", "prefix", "--kind", "wamp"}, exitRefused, `in common "com"`},
		"a prefix that has nothing in common":  {[]string{"com", "--match", "prefix", "--kind", "wamp"}, exitRefused, `in common ""`},
		"a wildcard below what is granted":     {[]string{"com.home..open", "--match", "wildcard", "--kind", "wamp"}, exitDone, `in common "com.home"`},
		"a wildcard above what is granted":     {[]string{"com..open", "--match", "wildcard", "--kind", "wamp"}, exitRefused, `in common "com"`},
		"an exact name":                        {[]string{"com.home", "--match", "exact", "--kind", "wamp"}, exitDone, "allowed"},
		"a way to match that there is not":     {[]string{"com.home", "--match", "prefx", "--kind", "wamp"}, exitMisused, "did you mean prefix?"},
		"a pattern where there are none":       {[]string{"com.home.", "--match", "prefix"}, exitMisused, "--match is for --kind wamp"},
		"for programs, with what it was about": {[]string{"com.home.", "--match", "prefix", "--kind", "wamp", "--json"}, exitDone, `"pattern": "com.home."`},
	} {
		got := explain(tt.args...)
		require.Equal(t, tt.status, got.status, "%s: %s", name, got.err)
		require.Contains(t, got.out+got.err, tt.says, name)
	}
}

// What would make of a database something that its programs cannot read is not even asked.
func TestADatabaseIsOfOneKind(t *testing.T) {
	database := filepath.Join(t.TempDir(), "c.db")
	besides(t, database)
	for _, flags := range [][]string{{"--kind", "diffusion"}, {"--kind", "plain"}, {"--deny-rows"}, {"--variables"}} {
		for _, args := range [][]string{{"check", database}, {"lint", database}, {"explain", database, "--as", "greg", "call", "com"},
			{"apply", database, "new.script", "--yes"}, {"diff", database, "new.script"}} {
			got := ran(t.Context(), "", nil, append(append([]string{"policy"}, args...), flags...)...)
			require.Equal(t, exitMisused, got.status, "%v %v", args, flags)
			require.Contains(t, got.err, "a database is of the kind wamp", "%v %v", args, flags)
		}
	}
	require.Equal(t, exitDone, ran(t.Context(), "", nil, "policy", "lint", database, "--kind", "wamp", "--delegation").status)
}
