package valve_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/valve"
)

func ExamplePermissions_Explain() {
	permissions, err := valve.ParseJSON([]byte(`{"record": {"*": {}}, "rpc": {"*": {}}, "presence": {"*": {}}, "event": {"*": {},
		"room/$id": {"publish": "data.text.length < 100 && (user.data.rooms.includes($id) || user.data.admin)"}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(permissions.Explain(context.Background(), &valve.Query{User: "ann", UserData: map[string]any{"rooms": []any{"7"}}, Section: valve.Event,
		Action: valve.ActionEmit, Name: "room/8", HasData: true, Data: map[string]any{"text": "secret"}}, false))
	// Output:
	// denied by section event, path "room/$id", rule publish (line 2): data.text.length < 100 && (user.data.rooms.includes($id) || user.data.admin)
	//   $id = "8"
	//   data.text.length -> number
	//   data.text.length < 100 -> true
	//   user.data.rooms -> array
	//   $id -> string
	//   user.data.rooms.includes($id) -> false
	//   user.data.admin -> undefined
	//   user.data.rooms.includes($id) || user.data.admin -> undefined
	//   data.text.length < 100 && (user.data.rooms.includes($id) || user.data.admin) -> undefined
}

func TestExplainEqualsEvaluate(t *testing.T) {
	for _, f := range vectors(t, "eval") {
		p, _ := loadWithout(t, f)
		for _, c := range f.Cases {
			q := c.query()
			want, wantErr := p.Evaluate(t.Context(), q)
			x := p.Explain(t.Context(), q, true)
			require.Equal(t, want, x.Result, c.ID)
			if wantErr == nil {
				require.NoError(t, x.Err, c.ID)
				continue
			}
			a, b := wantErr.(*valve.EvalError), x.Err.(*valve.EvalError)
			require.Equal(t, a.Failure, b.Failure, c.ID)
			require.Equal(t, a.Class, b.Class, c.ID)
		}
	}
}
