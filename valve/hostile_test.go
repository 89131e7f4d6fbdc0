package valve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// publishing loads a file with one rule, for publishing under "x/$v".
func publishing(t testing.TB, rule string, opts ...Option) (*Permissions, error) {
	text, err := json.Marshal(rule)
	require.NoError(t, err)
	return ParseJSON([]byte(`{"record": {"*": {}}, "rpc": {"*": {}}, "presence": {"*": {}}, "event": {"*": {}, "x/$v": {"publish": `+string(text)+`}}}`),
		append([]Option{sharing}, opts...)...)
}

func asked(data any) *Query {
	return &Query{User: "ann", UserData: map[string]any{"role": "user", "list": []any{"a"}}, Section: Event, Action: ActionEmit, Name: "x/y",
		HasData: data != nil, Data: data}
}

func TestRulesThatCouldRunOrGrowWithoutBoundDoNotLoad(t *testing.T) {
	doubled := func(first, again string) string {
		return "($v = " + first + strings.Repeat(", $v = "+again, 30) + ", '' + $v)"
	}
	for name, rule := range map[string]string{
		"a chain of comparisons":               "3 > 2 > 1",
		"in parentheses, too":                  "3 > (2 > 1)",
		"a chain of others":                    "'a' in data instanceof user",
		"a computed call":                      "name[data.f]()",
		"a call of what is chosen":             "(0, ''['constructor']['constructor'])('return 1')",
		"a call of a call":                     "name.trim()(1)",
		"an optional call of what is computed": "name[$v]?.()",
		"a tagged template":                    "name.trim`x`",
		"a call under a name that is assigned": "(trim = 1, trim (1))",
		"a longer list":                        "(data.length = 4000000000, '' + data)",
		"a longer list by its name":            "(data['length'] = 4000000000, '' + data)",
		"a far element":                        "(data[4294967294] = 1, '' + data)",
		"a far element by its name":            "(data['4294967294'] = 1, '' + data)",
		"a property that is computed":          "data[data.k] = 5",
		"a length in a pattern":                "([data.length] = [4000000000])",
		"an increment of a length":             "data.length++",
		"a function under another name":        "({ repeat: user.trim } = '', user.trim(1e9))",
		"in a list":                            "([user.match] = [''.repeat])",
		"as the cross reference":               "([_] = [''.constructor.constructor])",
		"by a shorthand":                       "({ trim } = '', ({ trim }).trim())",
		"another prototype":                    "({ __proto__: [], length: 4000000000 }).includes(1)",
		"another prototype by assignment":      "(user.__proto__ = [], user.includes(1))",
		"a getter":                             "({ get trim() { return this.trim } }).trim",
		"a method":                             "({ trim() { return this.trim() } }).trim()",
		"a class with something in it":         "(class { static x = 1 })",
		"a class of another":                   "(class extends Array {})",
		"a large power":                        "10n ** 100000000n > 1n",
		"a power of a power":                   "($v = 9n ** 999n, $v = $v ** 999n, $v = $v ** 999n, true)",
		"a shift":                              "1n << 1000000000n",
		"doubled texts":                        doubled("data.s", "$v + $v"),
		"doubled templates":                    doubled("data.s", "`${$v}${$v}`"),
		"doubled by addition":                  "($v = data.s" + strings.Repeat(", $v += $v", 30) + ", true)",
		"doubled lists":                        doubled("data", "[$v, $v]"),
		"lists that are spread":                doubled("data", "[...$v, ...$v]"),
		"objects that are spread":              doubled("data", "({ a: $v, b: $v, ...$v })"),
		"doubled in a property":                "(user.x = data.s" + strings.Repeat(", user.x = user.x + user.x", 30) + ", true)",
		"a great many texts":                   strings.Repeat("data.s + ", 400) + "'x'",
		"a statement":                          "1; if (1) 2",
		"a loop":                               "1; for (;;) 2",
		"a variable that nobody declared":      "(x = 1, typeof x === 'undefined')",
		"a global property":                    "(globalThis.x = 1, typeof x === 'undefined')",
		"a property of a prototype":            "(({}).__proto__.x = 1, user.x === undefined)",
		"a property that every object has":     "(user.toString = 1, user.toString !== 1)",
		"through a constructor":                "(user.data.constructor.prototype.x = 1, user.x === undefined)",
		"through a method":                     "(user.id.trim.x = 1, ''.trim.x === undefined)",
		"a deletion of what all share":         "(delete globalThis.Math, typeof Math === 'object')",
		"the cross reference":                  "(_ = ''.constructor, true)",
		"the reserved name":                    "__valve_stored",
		"arguments that are spread":            "name.includes(...data)",
	} {
		_, err := publishing(t, rule)
		e, ok := errors.AsType[*LoadError](err)
		require.True(t, ok, "%s: %v", name, err)
		require.Contains(t, []Code{Unsafe, UnsupportedFunction}, e.Code, "%s: %v", name, err)
		require.NotEmpty(t, e.Want, name)
	}
}

// neighbours are rules that resemble those above, and do load.
func TestRulesThatAreBoundedLoad(t *testing.T) {
	for _, rule := range []string{"3 > 2 && 2 > 1", "(user.x = data.s, true)", "({ n: user.q } = data, true)", "2n ** 10n === 1024n",
		"name?.trim?.() === 'x/y'", "({ __proto__: null }).x === undefined", "[...user.data.list, 'b'].includes('b')", "'a' + data.s + '/' + data.s !== ''"} {
		p, err := publishing(t, rule)
		require.NoError(t, err, rule)
		res, err := p.Evaluate(t.Context(), asked(map[string]any{"s": "x", "n": 1}))
		require.NoError(t, err, rule)
		require.True(t, res.Allowed, rule)
	}
}

func TestFunctionsCannotBeStored(t *testing.T) {
	for _, rule := range []string{"({ trim: ''.repeat }).trim(1e9)", "(user.q = ''.constructor.constructor, true)", "({ trim: arguments.callee }).trim()",
		"(user.x ||= [].concat, true)", "({ ['tr' + 'im']: ''.padEnd }).trim(1e9)"} {
		p, err := publishing(t, rule)
		require.NoError(t, err, rule)
		res, err := p.Evaluate(t.Context(), asked(nil))
		e, ok := errors.AsType[*EvalError](err)
		require.True(t, ok, rule)
		require.Equal(t, "TypeError", e.Class, rule)
		require.ErrorIs(t, err, chansec.ErrPermission)
		require.False(t, res.Allowed, rule)
	}
}

// hostile are payloads that try to make a rule take long or much.
func hostile() map[string]json.RawMessage {
	a := strings.Repeat("a", 30_000)
	wide := "[" + strings.TrimSuffix(strings.Repeat("{},", 10_000), ",") + "]"
	return map[string]json.RawMessage{
		"backtracking":             json.RawMessage(`{"s": "` + a + `", "p": "^(a+)+$b"}`),
		"backtracking back":        json.RawMessage(`{"s": "` + a + `", "p": "^(a+)+\\1b$"}`),
		"backtracking ahead":       json.RawMessage(`{"s": "` + a + `", "p": "^(?=(a+)+b)"}`),
		"a long pattern":           json.RawMessage(`{"s": "` + a + `", "p": "` + a + `"}`),
		"a repeated pattern":       json.RawMessage(`{"s": "` + a + `", "p": "((a{1000}){1000}){1000}"}`),
		"nested groups":            json.RawMessage(`{"s": "a", "p": "` + strings.Repeat("(", 400) + strings.Repeat(")", 400) + `"}`),
		"a needle like the hay":    json.RawMessage(`{"s": "` + strings.Repeat("é", 10_000) + `", "p": "` + strings.Repeat("é", 5_000) + `e"}`),
		"a wide list":              json.RawMessage(`{"s": ` + wide + `, "p": ` + wide + `}`),
		"lists in lists":           json.RawMessage(`{"s": ` + strings.Repeat("[", 190) + strings.Repeat("]", 190) + `, "p": "x"}`),
		"lists too deep":           json.RawMessage(strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000)),
		"a length that lies":       json.RawMessage(`{"s": {"length": 4294967295, "0": 1}, "p": {"length": 1e300}}`),
		"too large":                json.RawMessage(`{"s": "` + strings.Repeat(a, 3) + `", "p": 1}`),
		"numbers that become long": json.RawMessage(`{"s": [` + strings.TrimSuffix(strings.Repeat("1e20,", 6_000), ",") + `], "p": 5}`),
		"a prototype":              json.RawMessage(`{"s": {"__proto__": {"length": 5}}, "p": "x", "constructor": {"prototype": 1}}`),
		"many keys":                json.RawMessage(`{"s": {"a":1` + strings.Repeat(`,"a":1`, 5_000) + `}, "p": "a"}`),
	}
}

// hungry are rules that load, and do much with what they read.
var hungry = []string{
	"!data.s.match(data.p)", "data.s.includes(data.p)", "data.s.indexOf(data.p) > 5", "'' + data.s + data.p === ''", "data.s == data.p",
	"!data.s.match(/(a|aa)+$/g)", "!data.s.match(/(?:)/g)", "!data.s.match(/(a*)*b/)", "!data.s.match(/^(a+)+\\1$/)", "`${data.s}${data.s}` > data.p",
	"data.s.toUpperCase().toLowerCase().trim() === data.p", "[...data.s].includes(data.p)", "({ ...data.s }) in data",
	"($v = [data.s, data.s], '' + $v < data.p)", "data.s.startsWith(data.p) || data.s.endsWith(data.p)", "+data.s > -data.p", "data.s.match(data.p)?.length > 500",
}

func TestHostilePayloadsTakeLittleTimeAndMemory(t *testing.T) {
	var slowest time.Duration
	var largest uint64
	where := [2]string{}
	for _, rule := range hungry {
		p, err := publishing(t, rule)
		require.NoError(t, err, rule)
		for name, payload := range hostile() {
			q := asked(payload)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, err := p.Evaluate(t.Context(), q)
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if err != nil {
				require.ErrorIs(t, err, chansec.ErrPermission)
			}
			if took > slowest {
				slowest, where[0] = took, rule+" with "+name
			}
			if size := after.TotalAlloc - before.TotalAlloc; size > largest {
				largest, where[1] = size, rule+" with "+name
			}
		}
	}
	t.Logf("at most %v (%s) and %d KiB allocated in all (%s)", slowest, where[0], largest>>10, where[1])
	require.Less(t, slowest, time.Second, where[0])
	require.Less(t, largest, uint64(64<<20), where[1])
}

func TestEvaluationsNeverSeeEachOthersChanges(t *testing.T) {
	writes := []string{"(leaked = 'yes') === 'yes'", "(user.data.role = 'admin') === 'admin'", "(({}).__proto__.polluted = true)", "(this.mark = 1) === 1",
		"([].__proto__.includes = 0) === 0", "(''.__proto__.trim = 0) === 0", "(user.data.list.x = 1) === 1", "(globalThis.Math = 1) === 1",
		"(arguments.callee.mark = 1) === 1", "(_.mark = 1) === 1", "(delete globalThis.Math, true)", "(Math.PI = 3) === 3", "(data.n = 99) === 99",
		"(arguments.callee.prototype.polluted = 1) === 1", "({ a: user.data.role } = ({ a: 'admin' }), true)", "([].constructor.prototype.mark = 1) === 1"}
	reads := []string{"typeof leaked === 'undefined'", "user.data.role === 'user'", "user.polluted === undefined", "this.mark === undefined",
		"[1].includes(1)", "' x '.trim() === 'x'", "user.data.list.x === undefined", "typeof Math === 'object' && Math.PI > 3.1",
		"arguments.callee.mark === undefined", "_.mark === undefined", "data.n === 1", "[].mark === undefined && [].polluted === undefined"}
	var file strings.Builder
	file.WriteString(`{"record": {"*": {}}, "rpc": {"*": {}}, "presence": {"*": {}}, "event": {"*": {}`)
	for i, rule := range slices.Concat(writes, reads) {
		text, err := json.Marshal(rule)
		require.NoError(t, err)
		fmt.Fprintf(&file, `, "r%d": {"publish": %s}`, i, text)
	}
	p, err := ParseJSON([]byte(file.String()+"}}"), sharing)
	require.NoError(t, err)
	data := map[string]any{"role": "user", "list": []any{"a"}}
	payload := map[string]any{"n": 1}
	ask := func(i int) bool {
		q := asked(payload)
		q.UserData, q.Name = data, fmt.Sprintf("r%d", i)
		res, err := p.Evaluate(t.Context(), q)
		return err == nil && res.Allowed
	}
	for i := range writes {
		ask(i)
		for j, rule := range reads {
			require.True(t, ask(len(writes)+j), "%s after %s", rule, writes[i])
		}
	}
	require.Equal(t, map[string]any{"role": "user", "list": []any{"a"}}, data)
	require.Equal(t, map[string]any{"n": 1}, payload)
}

func TestStrictTakesTrueOnly(t *testing.T) {
	for rule, want := range map[string][2]bool{"true && 1": {true, false}, "data.s": {true, false}, "data.s === 'x'": {true, true}, "0": {false, false}, "({})": {true, false}} {
		for i, opts := range [][]Option{nil, {Strict()}} {
			p, err := publishing(t, rule, opts...)
			require.NoError(t, err)
			res, err := p.Evaluate(t.Context(), asked(map[string]any{"s": "x"}))
			require.NoError(t, err)
			require.Equal(t, want[i], res.Allowed, rule)
		}
	}
}

func TestErrorsNameNoContent(t *testing.T) {
	p, err := publishing(t, "data.secret.nope.nope || data[data.secret].x")
	require.NoError(t, err)
	_, err = p.Evaluate(t.Context(), asked(map[string]any{"secret": "hunter2"}))
	require.ErrorContains(t, err, "TypeError at 1:")
	require.NotContains(t, err.Error(), "hunter2")
	_, err = p.Evaluate(t.Context(), asked(json.RawMessage(`{"secret": hunter2}`)))
	require.NotContains(t, err.Error(), "hunter2")
	require.ErrorIs(t, err, chansec.ErrPermission)
}

func TestOperatorsAssociateAsInJavaScript(t *testing.T) {
	for _, rule := range []string{"3 == 3 == true", "!(3 === 3 === 3)", "5 - 3 - 1 === 1", "8 / 4 / 2 === 1", "2 ** 3 ** 2 === 512", "7 % 4 % 2 === 1",
		"64 >> 2 >> 1 === 8", "1 << 2 << 1 === 8", "-1 >>> 30 >>> 1 === 1", "1 + 2 + '3' === '33'", "(null ?? undefined ?? 5) === 5", "(6 & 3 | 8 ^ 1) === 11",
		"(true ? false : true ? 1 : 2) === false", "($v = name = 5) === 5 && name === 5", "1 < 2 == true", "true == 1 < 2", "(1, 2, 3) === 3",
		"typeof typeof 1 === 'string'", "(false && true || true) === true", "(true || true && false) === true", "1 != 2 != 0 == true"} {
		p, err := publishing(t, rule)
		require.NoError(t, err, rule)
		res, err := p.Evaluate(t.Context(), asked(nil))
		require.NoError(t, err, rule)
		require.True(t, res.Allowed, rule)
	}
}

func TestALateAlarmDoesNotStopTheNextRule(t *testing.T) {
	m, err := newMachine()
	require.NoError(t, err)
	m.until = time.Now().Add(time.Hour)
	m.ring()
	v, err := m.vm.RunString("5")
	require.NoError(t, err)
	require.EqualValues(t, 5, v.ToInteger())
	m.until = time.Now()
	m.ring()
	_, err = m.vm.RunString("5")
	require.Error(t, err)
}

func TestWhoFindsNoRuntimeWaitsAsLongAsTheContext(t *testing.T) {
	p, err := publishing(t, "data.s === 1", func(o *options) error { o.pool = newPool(1); return nil })
	require.NoError(t, err)
	m, err := p.pool.take(t.Context(), p)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Evaluate(ctx, asked(map[string]any{"s": 1}))
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, chansec.ErrPermission, "nothing was decided")
	p.pool.give(m)
	res, err := p.Evaluate(t.Context(), asked(map[string]any{"s": 1}))
	require.NoError(t, err)
	require.True(t, res.Allowed)
}
