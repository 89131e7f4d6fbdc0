package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// hostile are names that somebody chose to do harm.
var hostile = map[string]string{
	"SQL":                `greg'; DROP TABLE "user"; --`,
	"SQL in a list":      `x') OR ('1'='1`,
	"an ANSI escape":     "greg\x1b[2J\x1b[1;31mroot",
	"a title":            "greg\x1b]0;owned\x07",
	"C1 control":         "greg\u009b31m",
	"a line of its own":  "greg\nchansec: done",
	"a carriage return":  "mallory\rgreg   ",
	"a NUL":              "greg\x00adm",
	"a bidi override":    "greg\u202eexe.mda",
	"a zero width":       "gr\u200beg",
	"no UTF-8":           "greg\xff\xfe",
	"Cyrillic":           "gr\u0435g",
	"wide":               "\uff41\uff44\uff4d",
	"mathematical":       "\U0001d41a\U0001d41d\U0001d426",
	"marks":              "g\u0301\u0302\u0303\u0304reg",
	"overlong":           strings.Repeat("a", 5_000),
	"empty":              "",
	"spaces":             " greg ",
	"quotes":             `"greg"`,
	"JSON":               `{"login":"adm"}`,
	"a path":             "../../../etc/passwd",
	"a flag":             "--help=greg",
	"a format":           "%s%n%!d(string=x)",
	"a template":         "{{.}}${HOME}$(id)`id`",
	"a line separator":   "greg\u2028adm",
	"a private use sign": "greg\ue000",
	"a language tag":     "greg\U000e0041",
}

// requireClean fails if a terminal would do anything but show what was printed.
func requireClean(t *testing.T, what, printed string) {
	t.Helper()
	require.True(t, utf8.ValidString(printed), what)
	if i := strings.IndexFunc(printed, func(r rune) bool { return r != '\n' && hidden(r) }); i >= 0 {
		require.Fail(t, "something hidden was printed", "%s: %q", what, printed[max(0, i-60):min(len(printed), i+10)])
	}
}

// echo is an administration that answers with what it got: what somebody wrote into a database, and reads again.
type echo struct {
	operation string
	arguments json.RawMessage
	err       error
}

func (e *echo) Close() error { return nil }

func (e *echo) Do(_ context.Context, operation string, arguments json.RawMessage) (json.RawMessage, error) {
	e.operation, e.arguments = operation, arguments
	if e.err != nil {
		return nil, e.err
	}
	members, err := jsonObject(arguments)
	if err != nil {
		return nil, err
	}
	delete(members, "secret") // which no administration tells
	row := map[string]any{}
	for _, c := range []string{"login", "fullname", "tzname", "roles", "name", "description", "bind_topic", "users", "topic_name", "activity", "topic", "reason"} {
		for _, name := range slices.Sorted(maps.Keys(members)) {
			row[c] = members[name]
		}
	}
	return json.Marshal([]any{row, members})
}

const newUserSecret = "hunter2 secret"

// administer runs the command line with an administration.
func administer(t *testing.T, a administrator, args ...string) answer {
	t.Helper()
	var out, err bytes.Buffer
	p := &program{in: strings.NewReader(""), out: &out, err: &err, env: func(name string) string {
		return map[string]string{"CHANSEC_NEW_SECRET": newUserSecret}[name]
	}, open: func(*target, context.Context) (administrator, error) { return kept{a}, nil }}
	status := p.run(t.Context(), args)
	return answer{status, out.String(), err.String()}
}

// kept is an administrator that stays open.
type kept struct{ administrator }

func (kept) Close() error { return nil }

func TestHostileNamesGoThroughEveryVerbAsTheyAreAndSpoofNothing(t *testing.T) {
	for _, what := range slices.Sorted(maps.Keys(hostile)) {
		bad := hostile[what]
		for _, th := range things {
			for _, v := range th.verbs {
				args := []string{th.name, v.name}
				var places []string
				for _, a := range v.arguments {
					switch {
					case a.kind == secret || a.kind == truth:
					case a.flag == "":
						places = append(places, bad)
					default:
						args = append(args, "--"+a.flag+"="+bad)
					}
				}
				for _, mode := range [][]string{nil, {"--json"}} {
					e := &echo{}
					got := administer(t, e, slices.Concat(args, mode, []string{"--"}, places)...)
					where := strings.Join([]string{th.name, v.name, what}, " ")
					requireClean(t, where, got.out)
					requireClean(t, where, got.err)
					require.NotContains(t, got.out+got.err, "hunter2", where)
					require.Contains(t, []int{0, 2}, got.status, where)
					if got.status == 0 && len(mode) > 0 {
						require.True(t, json.Valid([]byte(got.out)), where)
					}
					for _, a := range v.arguments {
						if m, _ := jsonObject(e.arguments); got.status == 0 && a.kind == word && !strings.Contains(a.name, ".") && utf8.ValidString(bad) {
							require.Equal(t, bad, m[a.name], where)
						}
					}
				}
				got := administer(t, &echo{err: &refusal{"not-found", bad}}, slices.Concat(args, []string{"--"}, places)...)
				requireClean(t, what, got.err)
				require.Contains(t, []int{1, 2}, got.status, what)
				require.Empty(t, got.out, what)
			}
		}
	}
}

func TestHostileArgumentsOfAllOtherCommandsSpoofNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, writeTrails(dir))
	script, rules, key := filepath.Join(dir, "p.script"), filepath.Join(dir, "r.yml"), filepath.Join(dir, "k.jwk")
	require.NoError(t, os.WriteFile(script, []byte(`assign roles "alice" ["TRADER"]`), 0o600))
	require.NoError(t, os.WriteFile(rules, []byte("event:\n  \"*\": {publish: true, subscribe: true, listen: true}\n"), 0o600))
	require.Zero(t, ran(t.Context(), "", nil, "key", "new", "hs256", "--out", key).status)
	for _, what := range slices.Sorted(maps.Keys(hostile)) {
		bad := hostile[what]
		for _, args := range [][]string{
			{bad}, {"help", bad}, {"token", bad}, {"completion", bad}, {"--" + bad}, {"-" + bad},
			{"key", "new", bad, "--out", filepath.Join(dir, "x")}, {"key", "new", "hs256", "--out", filepath.Join(dir, "x"), "--id", bad, "--public", bad},
			{"token", "mint", "--key", bad, "--subject", bad, "--role", bad, "--channel", bad},
			{"token", "mint", "--key", key, "--subject", "x", "--role", bad, "--channel", bad},
			{"token", "inspect", bad}, {"token", "verify", "--key", key, bad}, {"token", "verify", "--key", key, "--channel", bad, "--operation", bad},
			{"policy", "check", bad}, {"policy", "check", script, "--kind", bad}, {"policy", "explain", script, "--as", bad, "--role", bad, "READ_TOPIC", bad},
			{"policy", "explain", script, "--as", bad, bad, "x"}, {"policy", "lint", bad}, {"policy", "test", script, bad}, {"policy", "diff", script, bad},
			{"policy", "apply", script, bad, "--yes", "--as", bad}, {"rules", "check", bad}, {"rules", "test", bad},
			{"rules", "explain", rules, "--user", bad, "--section", "event", "--action", "EMIT", bad, "--data", bad},
			{"rules", "explain", rules, "--user", bad, "--section", bad, "--action", bad, bad},
			{"audit", "verify", bad}, {"audit", "verify", filepath.Join(dir, "trail"), "--anchor", bad, "--key", bad}, {"audit", "query", bad},
			{"audit", "query", filepath.Join(dir, "trail"), "--principal", bad}, {"audit", "query", filepath.Join(dir, "trail"), "--from", bad, "--kind", bad},
			{"user", "list", "--url", bad}, {"user", "list", "--user", bad}, {"user", "list", "--args", bad}, {"user", "add", "--args", `{"` + bad + `":1}`},
		} {
			where := what + ": " + strings.Join(args, " ")
			got := ran(t.Context(), "", nil, args...)
			requireClean(t, where, got.out)
			requireClean(t, where, got.err)
			if got.status != 0 {
				require.Contains(t, []int{1, 2}, got.status, where)
			}
			_ = os.Remove(filepath.Join(dir, "x"))
		}
		for _, args := range [][]string{{"policy", "check", "-"}, {"policy", "diff", script, "-"}, {"token", "inspect"}, {"token", "verify", "--key", key},
			{"policy", "test", script, "-"}, {"rules", "check", "-"}, {"user", "add", "--args", "-"}, {"token", "mint", "--key", "-", "--subject", "x", "--role", "read", "--all-channels"}} {
			got := ran(t.Context(), bad, nil, args...)
			requireClean(t, what, got.out)
			requireClean(t, what, got.err)
			require.Contains(t, []int{0, 1, 2}, got.status)
		}
	}
}

func TestHostileTokensAndKeysAreNotRepeated(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "k.jwk")
	require.Zero(t, ran(t.Context(), "", nil, "key", "new", "hs256", "--out", key).status)
	text, err := os.ReadFile(key)
	require.NoError(t, err)
	var j jwk
	require.NoError(t, json.Unmarshal(text, &j))
	minted := ran(t.Context(), "", nil, "token", "mint", "--key", key, "--subject", "x", "--role", "read", "--all-channels")
	token := strings.TrimSpace(minted.out)
	require.Len(t, strings.Split(token, "."), 3)
	broken := token[:len(token)-4] + "AAAA"
	for _, tt := range []struct {
		stdin string
		args  []string
	}{
		{broken, []string{"token", "verify", "--key", key}}, {token + token, []string{"token", "verify", "--key", key}}, {"", []string{"token", "inspect", token}},
		{"", []string{"token", "verify", "--key", key, token}}, {token + ".x", []string{"token", "inspect"}}, {"", []string{"token", "mint", "--key", token}},
		{string(text) + string(text), []string{"token", "mint", "--key", "-", "--subject", "x", "--role", "read", "--all-channels"}},
		{strings.Replace(string(text), `"k": "`, `"k": "=`, 1), []string{"token", "mint", "--key", "-", "--subject", "x", "--role", "read", "--all-channels"}},
		{strings.Replace(string(text), "HS256", "HS512", 1), []string{"token", "mint", "--key", "-", "--subject", "x", "--role", "read", "--all-channels"}},
	} {
		got := ran(t.Context(), tt.stdin, nil, tt.args...)
		require.NotZero(t, got.status, "%v", tt.args)
		require.NotContains(t, got.out+got.err, token[len(token)-20:], "%v", tt.args)
		require.NotContains(t, got.out+got.err, j.K, "%v", tt.args)
	}
}

func TestEveryCommandHasHelpWithAnExampleThatItUnderstands(t *testing.T) {
	p := &program{env: func(string) string { return "" }}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		require.NotEmpty(t, c.Short, c.CommandPath())
		require.Contains(t, c.Example, "chansec ", c.CommandPath())
		for _, line := range strings.Split(c.Example, "\n") {
			require.True(t, strings.HasPrefix(line, "  "), c.CommandPath())
		}
		got := ran(t.Context(), "", nil, append(strings.Fields(c.CommandPath())[1:], "--help")...)
		require.Zero(t, got.status, c.CommandPath())
		require.Contains(t, got.out, "Examples:", c.CommandPath())
		require.Empty(t, got.err)
		c.Flags().VisitAll(func(f *pflag.Flag) {
			require.NotContains(t, []string{"secret", "password", "token"}, f.Name, "%s: a secret is no value of a flag", c.CommandPath())
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(p.root())
}

func TestShellsAreCompleted(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		got := ran(t.Context(), "", nil, "completion", shell)
		require.Zero(t, got.status)
		require.Contains(t, got.out, "chansec")
	}
	require.Contains(t, ran(t.Context(), "", nil, "__complete", "pol").out, "policy")
	require.Contains(t, ran(t.Context(), "", nil, "__complete", "key", "new", "").out, "ed25519")
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAResultThatCannotBeWrittenIsAFailure(t *testing.T) {
	var err bytes.Buffer
	require.Equal(t, exitRefused, run(t.Context(), []string{"version"}, strings.NewReader(""), full{}, &err, func(string) string { return "" }))
	require.Contains(t, err.String(), "no space left")
}

func TestAnInterruptionEndsWith130(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"policy", "check", "-"}, {"token", "inspect"}} {
		got := ran(ctx, "x", nil, args...)
		if got.status != exitRefused { // what was read before was looked at
			require.Equal(t, answer{exitInterrupted, "", "chansec: interrupted\n"}, got, args)
		}
	}
}
