package valve

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// dice makes choices of the bytes that a fuzzer gives.
type dice []byte

func (d *dice) roll(n int) int {
	if len(*d) == 0 {
		return 0
	}
	c := int((*d)[0]) % n
	*d = (*d)[1:]
	return c
}

// ruleText writes a rule of the kind that needs no JavaScript, or nearly so.
func (d *dice) ruleText(depth int) string {
	operands := []string{"user.id", "name", "$x", "$y", "'ann'", "'open'", `"ad\u0301min"`, "''", "user.data.role", "user.data.missing",
		"user.data.n", "user.data.constructor", "user.data.list", "null", "5", "undefined"}
	operators := []string{"===", "!==", "==", "!="}
	if depth > 3 {
		depth = 3
	}
	switch kind := d.roll(8); {
	case kind < 3 || depth == 3:
		return operands[d.roll(len(operands))] + " " + operators[d.roll(len(operators))] + " " + operands[d.roll(len(operands))]
	case kind == 3:
		return []string{"true", "false", "user.isAuthenticated", "user.data.role"}[d.roll(4)]
	case kind == 4:
		return "!(" + d.ruleText(depth+1) + ")"
	case kind == 5:
		return "(" + d.ruleText(depth+1) + ") && (" + d.ruleText(depth+1) + ")"
	case kind == 6:
		return "(" + d.ruleText(depth+1) + ") || (" + d.ruleText(depth+1) + ")"
	}
	return "(" + d.ruleText(depth+1) + ")"
}

var shared = newPool(1)

// sharing makes all files of a test share one runtime, which takes long to make.
func sharing(o *options) error {
	o.pool = shared
	return nil
}

// FuzzConditionsAgreeWithJavaScript makes a rule, and asks it with and without JavaScript.
func FuzzConditionsAgreeWithJavaScript(f *testing.F) {
	for i := range 40 {
		f.Add([]byte{byte(i), byte(7 * i), byte(i * i), byte(3 * i), byte(i + 9), byte(5 * i), byte(i % 7)}, byte(i))
	}
	f.Fuzz(func(t *testing.T, rolls []byte, user byte) {
		d := dice(rolls)
		text, err := json.Marshal(d.ruleText(0))
		require.NoError(t, err)
		file := fmt.Sprintf(`{"record": {"*": {}}, "event": {"*": {}, "a/$x/$y": {"publish": %s}}, "rpc": {"*": {}},
			"presence": {"*": {}}}`, text)
		var answers [2]string
		for i, strict := range []bool{false, true} {
			var opts []Option
			if strict {
				opts = []Option{Strict()}
			}
			opts = append(opts, sharing)
			p, err := ParseJSON([]byte(file), opts...)
			require.NoError(t, err)
			q := &Query{Section: Event, Action: ActionEmit, Name: []string{"a/ann/bob", "a/open/ann", "a/ádmin/x"}[int(user)%3],
				User: []string{"ann", "open", "admin"}[int(user/3)%3]}
			switch user / 9 % 4 {
			case 0:
				q.UserData = map[string]any{"role": "ann", "n": 5, "list": []any{"ann"}}
			case 1:
				q.UserData = map[string]any{"role": true, "n": nil, "list": "open"}
			case 2:
				q.UserData = json.RawMessage(`{"role": "open"}`)
			}
			with, errWith := p.Evaluate(t.Context(), q)
			for _, types := range p.indexes {
				for _, x := range types {
					for j := 0; x != nil && j < len(x.rules); j++ {
						if x.rules[j].code != nil {
							x.rules[j].code.simple = nil
						}
					}
				}
			}
			without, errWithout := p.Evaluate(t.Context(), q)
			require.Equal(t, without.Allowed, with.Allowed, "%s by %+v", text, q)
			require.Equal(t, without.Value, with.Value, "%s by %+v", text, q)
			require.Equal(t, failure(errWithout), failure(errWith), "%s by %+v", text, q)
			answers[i] = fmt.Sprint(with.Allowed)
		}
		require.False(t, answers[0] == "false" && answers[1] == "true", "strict allows more")
	})
}

func failure(err error) string {
	if e, ok := errors.AsType[*EvalError](err); ok {
		return string(e.Failure) + e.Class
	}
	return fmt.Sprint(err)
}
