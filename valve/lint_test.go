package valve_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/valve"
)

func TestALargeFileLoads(t *testing.T) {
	var section strings.Builder
	section.WriteString(`{"*": {}`)
	for i := range 50_000 {
		fmt.Fprintf(&section, ",\n\"room%d/$x\": {\"publish\": true}", i)
	}
	began := time.Now()
	p := permit(t, map[valve.Section]string{valve.Event: section.String() + "}"})
	require.Less(t, time.Since(began), 10*time.Second)
	res, err := p.Evaluate(t.Context(), &valve.Query{User: "u", Section: valve.Event, Action: valve.ActionEmit, Name: "room49999/x"})
	require.NoError(t, err)
	require.True(t, res.Allowed)
	res, err = p.Evaluate(t.Context(), &valve.Query{User: "u", Section: valve.Event, Action: valve.ActionEmit, Name: "room50000/x"})
	require.NoError(t, err)
	require.False(t, res.Allowed)
}

func TestLintReportsWhatIsNotMeant(t *testing.T) {
	p, err := valve.ParseYAML([]byte(`
event: {"*": {}}
rpc: {"*": {}}
presence: {"*": {}}
record:
  "*": {read: "user.id === 'x'"}
  forbidden/"*": {read: false}
  a.b: {read: true}
  x/$user_id:
    read: "$user_id === 'x'"
    write: "data === oldData"
    delete: "user.name === 'x' && action === 'DELETE'; true"
    create: "\n true"
`))
	require.NoError(t, err)
	var got []string
	for _, w := range p.Lint() {
		got = append(got, w.String())
	}
	require.Equal(t, []string{
		`line 7: section record: path "forbidden/\"*\"": the quotes belong to the path: it matches only names that have them`,
		`line 8: section record: path "a.b": '.' has the meaning that it has in a regular expression`,
		`line 9: section record: path "x/$user_id": the variable is $user: what follows it is text`,
		`line 10: section record: path "x/$user_id": rule read: the path has no variable $user_id: it throws`,
		`line 11: section record: path "x/$user_id": rule write: oldData is undefined where it stands at the end only: put it into parentheses`,
		`line 12: section record: path "x/$user_id": rule delete: what follows the first expression is never looked at`,
		`line 12: section record: path "x/$user_id": rule delete: user.name does not exist: the name is user.id`,
		`line 12: section record: path "x/$user_id": rule delete: action is a number, and never a text`,
		`line 13: section record: path "x/$user_id": rule create: it never allows: the expression begins on another line than the text`,
	}, got)
}
