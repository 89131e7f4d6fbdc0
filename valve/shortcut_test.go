package valve

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Payloads, records and attributes for which what a rule reads by names is there, is not, or is of another kind.
var odd = []json.RawMessage{
	[]byte(`{"a": 5, "b": "text", "c": {"d": "é𝄞", "e": {"length": 7}}, "l": [1, {"a": 1}], "n": null}`),
	[]byte(`{"a": "5", "b": null, "c": 7, "l": {"length": "9"}}`),
	[]byte(`{"a": {"a": 1}, "b": ["x"], "c": "abc", "l": "list", "n": false}`),
	[]byte(`{"a": {}, "c": null, "c": {"d": 1, "d": {"e": "last"}}, "__proto__": {"a": 9}, "toString": 1}`),
	[]byte(`{"\u0061": 1e400, "b": "\ud800", "c": [], "n": -0}`),
	[]byte(`[5, {"a": 1}]`), []byte(`"text"`), []byte(`0`), []byte(`null`), []byte(`true`), []byte(`{}`),
}

// forms asks a rule in both of its forms, and requires that the answers are equal. It reports whether there are two.
func forms(t *testing.T, rule string, q *Query) bool {
	p, err := ParseJSON(writing(t, rule), sharing, TimeLimit(time.Minute))
	if err != nil {
		return false
	}
	var code *code
	for _, r := range p.rules {
		if r.code != nil {
			code = r.code
		}
	}
	if code == nil || code.quick == nil {
		return false
	}
	code.simple = nil
	quick, errQuick := p.Evaluate(t.Context(), q)
	code.quick = nil
	plain, errPlain := p.Evaluate(t.Context(), q)
	require.Equal(t, plain, quick, "%s by %+v", rule, q)
	require.Equal(t, errPlain, errQuick, "%s by %+v", rule, q)
	return true
}

// writing is a file with one rule, for writing the record "r/$x".
func writing(t testing.TB, rule string) []byte {
	text, err := json.Marshal(rule)
	require.NoError(t, err)
	return []byte(`{"event": {"*": {}}, "rpc": {"*": {}}, "presence": {"*": {}}, "record": {"*": {}, "r/$x": {"write": ` + string(text) + `}}}`)
}

// writes asks to write a record; what is there are numbers of odd things, or one too many where there is nothing.
func writes(data, old, user int, patch bool) *Query {
	q := &Query{User: []string{"ann", "open"}[user%2], Section: Record, Action: ActionUpdate, Name: "r/x", NoOld: true}
	if data < len(odd) {
		q.HasData, q.Data = true, odd[data]
	}
	if old < len(odd) {
		q.HasOld, q.NoOld, q.Old = true, false, odd[old]
	}
	if user < len(odd) {
		q.UserData = odd[user]
	}
	if patch {
		q.Action, q.Path = ActionPatch, "c.d"
	}
	return q
}

func TestBothFormsOfARuleAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	rules := []string{"data.a > 4 && data.b.length < 9", "data.c.d.length === 3", "data.a === oldData.a", "oldData && oldData.a", "!oldData || !oldData.c.d",
		"user.data && user.data.a === 5", "user.data.c.d", "user.id.length === data.a", "data.l.length", "data.l.includes(1)", "data.l === data.l",
		"data.c === data.c && data.c.d", "data.c && data.c.e.length", "[data.c, data.c.d].includes(oldData.c)", "oldData.a === _('r/x').a", "oldData.c === _('r/x').c",
		"data.n === null", "data.n == undefined", "data.x === undefined", "typeof data.a === 'number'", "data['a'] == 5", "data.toString === 1", "data.__proto__",
		"data.constructor === data.c", "data?.a", "data.c?.d", "'' + data.a + data.c", "`${data.b}`", "data.a.a.a.a", "user.nope.x", "user.nope", "user && user.id",
		"data", "data !== null && data.a", "data && data", "(data && data.c) === data.c", "data ? data.a : oldData.a", "data.b.startsWith(data.b)", "({ a: data.c }).a === data.c",
		"data.a in data.c", "[data, data.a].includes(data)", "user.isAuthenticated === data.n", "user.data.length", "data.length", "-data.a < +oldData.a"}
	two := 0
	for _, rule := range rules {
		for data := range len(odd) + 1 {
			for other := range len(odd) + 1 {
				if forms(t, rule, writes(data, other, (other+data)%(len(odd)+1), other%3 == 0)) {
					two++
				}
			}
		}
	}
	require.Greater(t, two, 4000)
}

func TestRulesThatChangeWhatTheyReadHaveOneForm(t *testing.T) {
	for _, text := range []string{"(data.a = 1, data.a)", "data.a++ < 5", "(delete data.a, data.a)", "({ a: user.x } = data, user.x)", "[user.x] = data.l",
		"arguments[2].a === data.a", "(data = { a: 1 }, data.a)", "(user.x ||= data.a)", "($x = data.a)", "(data.a += 1)", "data", "data[name]", "data[0]"} {
		p, err := ParseJSON(writing(t, text), sharing)
		require.NoError(t, err, text)
		i := slices.IndexFunc(p.rules, func(r *rule) bool { return r.code != nil })
		require.Nil(t, p.rules[i].code.quick, text)
	}
}

// FuzzBothFormsAgree makes rules of reads, and asks them in both forms.
func FuzzBothFormsAgree(f *testing.F) {
	for i := range 60 {
		f.Add([]byte{byte(i), byte(7 * i), byte(i * i), byte(3 * i), byte(i + 9), byte(5 * i), byte(i % 7), byte(11 * i), byte(i / 3)}, byte(i), byte(3*i), byte(5*i))
	}
	f.Fuzz(func(t *testing.T, rolls []byte, data, old, user byte) {
		d := dice(rolls)
		forms(t, d.reading(0), writes(int(data)%(len(odd)+1), int(old)%(len(odd)+1), int(user)%(len(odd)+1), data > 200))
	})
}

// reading writes a rule of what is read by names, and what is done with it.
func (d *dice) reading(depth int) string {
	if depth == 4 || d.roll(3) == 0 {
		e := []string{"data", "oldData", "user", "user.data"}[d.roll(4)]
		for range d.roll(4) {
			e += []string{".a", ".b", ".c", ".d", ".l", ".length", "['n']", ".toString", "?.c", "[0]"}[d.roll(10)]
		}
		return e
	}
	a := func() string { return "(" + d.reading(depth+1) + ")" }
	switch d.roll(14) {
	case 0, 1:
		return a() + " && " + a()
	case 2:
		return a() + " || " + a()
	case 3:
		return "!" + a()
	case 4, 5:
		return a() + []string{" === ", " == ", " !== ", " != "}[d.roll(4)] + []string{"null", "undefined", "5", "'text'"}[d.roll(4)]
	case 6, 7:
		return a() + []string{" === ", " == ", " < ", " >= ", " + ", " - ", " in "}[d.roll(7)] + a()
	case 8:
		return a() + " ? " + a() + " : " + a()
	case 9:
		return "[" + a() + ", " + a() + "].includes(" + a() + ")"
	case 10:
		return "typeof " + d.reading(4)
	case 11:
		return a() + " ?? " + a()
	case 12:
		return "({ x: " + d.reading(depth+1) + " }).x"
	}
	return "`${" + d.reading(depth+1) + "}`"
}
