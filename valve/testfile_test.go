package valve_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/valve"
)

// recorder is a test that fails without failing.
type recorder struct{ errors, logs []string }

func (*recorder) Helper() {}
func (r *recorder) Errorf(format string, a ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, a...))
}
func (r *recorder) Logf(format string, a ...any) { r.logs = append(r.logs, fmt.Sprintf(format, a...)) }

func TestTestFileReportsWhatNoCaseExercised(t *testing.T) {
	r := &recorder{}
	valve.TestFile(r, "examples/shop/permissions.yml")
	require.Empty(t, r.errors)
	require.Contains(t, r.logs, "not exercised: line 9: record shop/visits write: data.n === 1")
	require.Contains(t, r.logs, "not exercised: line 32: presence * allow")
	for _, line := range r.logs {
		require.NotContains(t, line, "buy/$item request")
	}
}

func TestTestFileFails(t *testing.T) {
	shop, err := os.ReadFile("examples/shop/permissions.yml")
	require.NoError(t, err)
	for name, tt := range map[string]struct{ cases, want string }{
		"another answer": {`[{"user": "a", "section": "event", "action": "EMIT", "on": "chat/public/x", "allow": true}]`, "want allowed, got\ndenied by section event"},
		"another rule":   {`[{"user": "a", "section": "presence", "action": "QUERY", "on": "x", "rule": "a"}]`, `by the path "a"`},
		"unknown action": {`[{"user": "a", "section": "event", "action": "READ", "on": "x", "allow": true}]`, "unknown-action"},
		"unknown member": {`[{"users": "a"}]`, "unknown field"},
		"no cases":       {`[]`, "0 cases"},
		"no JSON":        {`[] []`, "more text"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "p.yml"), shop, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "p.cases.json"), []byte(tt.cases), 0o600))
			r := &recorder{}
			valve.TestFile(r, filepath.Join(dir, "p.yml"), valve.Sharing)
			require.Len(t, r.errors, 1)
			require.Contains(t, r.errors[0], tt.want)
		})
	}
	r := &recorder{}
	valve.TestFile(r, filepath.Join(t.TempDir(), "none.yml"))
	require.Len(t, r.errors, 1)
}

// A log of what deepstream let through, one Case a line, against its own file: it let a message through whose rule says
// neither yes nor no.
func ExampleCase_Query() {
	permissions, err := valve.ParseYAML([]byte(`
record: {"*": {}}
rpc: {"*": {}}
presence: {"*": {}}
event:
  "*": {}
  news: {publish: user.data.canEdit, subscribe: "true"}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	lines := bufio.NewScanner(strings.NewReader(`
		{"name": "line 1", "user": "ann", "userdata": {}, "section": "event", "action": "SUBSCRIBE", "on": "news", "allow": true}
		{"name": "line 2", "user": "ann", "userdata": {}, "section": "event", "action": "EMIT", "on": "news", "data": "hello", "allow": true}
		{"name": "line 3", "user": "ann", "userdata": {}, "section": "event", "action": "EMIT", "on": "gossip", "data": "hello", "allow": false}`))
	for lines.Scan() {
		var c valve.Case
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			fmt.Println(err)
			return
		}
		if x := permissions.Explain(context.Background(), c.Query(), false); x.Allowed != c.Allow {
			fmt.Printf("%s: deepstream said %t\n%s", c.Name, c.Allow, x)
		}
	}
	// Output:
	// line 2: deepstream said true
	// denied by section event, path "news", rule publish (line 7): user.data.canEdit
	//   user.data.canEdit -> undefined
}
