package valve_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
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

func TestRulesExplainWhatTheyDecide(t *testing.T) {
	r := newRules(t, valve.Config{
		Channels: []valve.Binding{{Channels: "docs", Section: valve.Record}, {Channels: "room/*", Section: valve.Event}},
		Permissions: permit(t, map[valve.Section]string{
			valve.Event: `{"*": {}, "room/$id": {"publish": "data.text !== user.id"}}`,
			valve.Record: `{"*": {}, "docs": {"read": "oldData.open"}, "docs/$key": {"create": "user.id === 'ann'", "write": "data.n > 0",
				"read": "oldData.open"}}`,
		}),
	})
	write := func(user, channel, key string, content any) chansec.Request {
		return chansec.Request{Principal: chansec.Principal{SystemID: user}, ChannelID: channel, Operation: chansec.OpWrite,
			Message: &chansec.Message[any]{Key: key, Content: content}}
	}
	for name, tt := range map[string]struct {
		ask  chansec.Request
		want string
	}{
		"no section":       {write("ann", "else", "", nil), "denied: the channel belongs to no section"},
		"no rule type":     {chansec.Request{ChannelID: "room/1", Operation: chansec.OpAdmin}, "denied: there is no rule type for it in the section event"},
		"no path":          {write("ann", "room/1/x", "", nil), `denied: no path has a rule publish for it`},
		"yes":              {write("ann", "room/1", "", map[string]any{"text": "x"}), `allowed by section event, path "room/$id", rule publish`},
		"no":               {write("ann", "room/1", "", map[string]any{"text": "ann"}), `denied by section event, path "room/$id", rule publish`},
		"an error":         {write("ann", "room/1", "", nil), "exception TypeError"},
		"the first of two": {write("bob", "docs", "k", map[string]any{"n": 1}), `denied by section record, path "docs/$key", rule create`},
		"the last of two":  {write("ann", "docs", "k", map[string]any{"n": 0}), `denied by section record, path "docs/$key", rule write`},
		"both":             {write("ann", "docs", "k", map[string]any{"n": 1}), `allowed by section record, path "docs/$key", rule write`},
		"each message": {chansec.Request{Principal: chansec.Principal{SystemID: "ann"}, ChannelID: "docs", Operation: chansec.OpRead},
			"allowed: the rule decides about each message"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := r.Decide(t.Context(), tt.ask)
			x := r.Explain(t.Context(), tt.ask, false)
			require.Contains(t, x.String(), tt.want)
			require.Equal(t, d.Allowed, x.Allowed)
			require.Equal(t, err, x.Err)
		})
	}
}
