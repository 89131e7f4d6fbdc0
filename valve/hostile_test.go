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
	payloads := map[string]json.RawMessage{"a length that lies": []byte(`{"s": {"length": 4294967295, "0": 1}, "p": {"length": 1e300}}`),
		"a prototype": []byte(`{"s": {"__proto__": {"length": 5}}, "p": "x", "constructor": {"prototype": 1}}`)}
	add := func(name, s, p string) { payloads[name] = json.RawMessage(`{"s": ` + s + `, "p": ` + p + `}`) }
	text := func(of string, n int) string { return `"` + strings.Repeat(of, n) + `"` }
	list := func(of string, n int) string { return "[" + strings.TrimSuffix(strings.Repeat(of+",", n), ",") + "]" }
	nested := func(of string, n int) string { return strings.Repeat("[", n) + of + strings.Repeat("]", n) }
	keys := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ","+format, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	half := text("a", 30_000)
	add("backtracking", half, `"^(a+)+$b"`)
	add("backtracking back", half, `"^(a+)+\\1b$"`)
	add("backtracking ahead", half, `"^(?=(a+)+b)"`)
	add("a long pattern", half, half)
	add("a repeated pattern", half, `"((a{1000}){1000}){1000}"`)
	add("a pattern as large as can be", half, `"(?:a{900}){20}"`)
	add("nested groups", `"a"`, `"`+strings.Repeat("(", 400)+strings.Repeat(")", 400)+`"`)
	add("a needle like the hay", text("é", 10_000), text("é", 5_000))
	add("a text", text("a", 60_000), `"b"`)
	add("a text of digits", text("1", 60_000), `"b"`)
	add("a text of escapes", text(`\u00e9`, 10_000), `"é"`)
	add("a text that grows in upper case", text("ΐ", 30_000), `"b"`)
	add("a text of surrogate pairs", text("𝄞", 15_000), `"b"`)
	add("a text in lists", nested(text("é", 28_000), 190), `"b"`)
	add("a wide list", list("{}", 10_000), list("{}", 10_000))
	add("objects in a list", list("{}", 1_800), `"b"`)
	add("lists in a list", list("[]", 1_900), `"b"`)
	add("lists in lists", nested("", 190), `"x"`)
	add("lists too deep", nested("", 30_000), `"x"`)
	add("texts of nothing", list(`""`, 7_000), `"b"`)
	add("texts of a letter", list(`"é"`, 6_000), `"b"`)
	add("too many texts of nothing", list(`""`, 20_000), `"b"`)
	add("numbers that become long", list("1e20", 1_900), "5")
	add("too many numbers", list("1e20", 6_000), "5")
	add("too large", text("a", 90_000), "1")
	add("many keys", keys(`"k%d": 1`, 1_500), `"k7"`)
	add("many keys of texts", keys(`"k%d": ""`, 3_800), `"k7"`)
	add("one key many times", keys(`"a": "%d"`, 3_000), `"a"`)
	return payloads
}

// hungry are rules that load, and do much with what they read.
var hungry = []string{
	"!data.s.match(data.p)", "data.s.includes(data.p)", "data.s.indexOf(data.p) > 5", "'' + data.s + data.p === ''", "data.s == data.p",
	"!data.s.match(/(a|aa)+$/g)", "!data.s.match(/(?:)/g)", "!data.s.match(/(a*)*b/)", "!data.s.match(/^(a+)+\\1$/)", "`${data.s}${data.s}` > data.p",
	"data.s.toUpperCase().toLowerCase().trim() === data.p", "[...data.s].includes(data.p)", "({ ...data.s }) in data",
	"($v = [data.s, data.s], '' + $v < data.p)", "data.s.startsWith(data.p) || data.s.endsWith(data.p)", "+data.s > -data.p", "data.s.match(data.p)?.length > 500",
	"[...data.s, ...data.s].includes(data.p)", "data[data.s]", "({ [data.s]: data.s })[data.p]", "'' + [data, [data.s, [data.s]]]", "[data.s + data.s, data.s + data.p]",
	"[-data.s, data.s < 5, data.s == 5, data.s >= data.p]", "[data.s.match(/./), data.s.match(/a+/), data.s.match(/(a)(b)?/g)]", "data.s.match(data.p) || data.s.match(data.s)",
	"[data.s.match('a{900}'), data.s.match('(?:a{900}){9}'), data.s.match('(?:a{900}){8}')]", "[...'" + strings.Repeat("x", 1000) + "', ...name]",
	"({ ... data.s, s: { ... data.p } })", "[data.s.toUpperCase(), data.s.toUpperCase(), data.s.toLowerCase()]", "(user.x = data.s, user.y = user.x + user.x, user.y + user.y)",
	"([$v, user.x] = data.s, $v + user.x)", "({ s: $v } = data, `${$v}${$v}`)", "_(data.p) || _('' + data.s)", "data.s + 1n", "[data.s, ... arguments]",
}

// taken returns what a decision allocates: all of it, and not only what it holds at the same time.
func taken(t testing.TB, p *Permissions, q *Query) (bytes uint64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = p.Evaluate(t.Context(), q)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, err
}

// mayTake is what a run of the only rule of a file may allocate.
func mayTake(p *Permissions) uint64 {
	for _, r := range p.rules {
		if r.code != nil {
			return uint64(r.code.memory)
		}
	}
	return 0
}

// TestNoDecisionAllocatesMoreThanItsRuleMay counts all that is allocated, garbage too, so that it says the same whatever the
// garbage collector does: what is held at a time is less. The time limit is out of the way; it is tested by itself.
func TestNoDecisionAllocatesMoreThanItsRuleMay(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	var largest uint64
	where := ""
	for _, rule := range hungry {
		p, err := publishing(t, rule, TimeLimit(time.Minute))
		require.NoError(t, err, rule)
		require.LessOrEqual(t, mayTake(p), uint64(DefaultMaxMemory), rule)
		_, _ = p.Evaluate(t.Context(), asked(nil)) // makes the runtime ready
		for name, payload := range hostile() {
			bytes, err := taken(t, p, asked(payload))
			if err != nil {
				require.ErrorIs(t, err, chansec.ErrPermission)
			}
			require.LessOrEqual(t, bytes, mayTake(p), "%s with %s: %v", rule, name, err)
			if bytes > largest {
				largest, where = bytes, rule+" with "+name
			}
		}
	}
	t.Logf("%d KiB at most (%s)", largest>>10, where)
}

func TestWhatIsSpreadAndWhatBecomesATextIsBounded(t *testing.T) {
	for rule, failure := range map[string]Failure{"[... data.s].length > 0": TimedOut, "({ ... data.s })[0] === 'a'": TimedOut, "[... data.p].length === 1": "",
		"[...name].length === 3": "", "'' + [data.l, data.l] !== ''": "", "'' + [data.l, data.l, data.l] + [data.l, data.l, data.l] !== ''": TimedOut} {
		p, err := publishing(t, rule)
		require.NoError(t, err, rule)
		res, err := p.Evaluate(t.Context(), asked(map[string]any{"s": strings.Repeat("a", 1001), "p": "𝄞", "l": []any{strings.Repeat("a", 30_000)}}))
		e, _ := errors.AsType[*EvalError](err)
		require.Equal(t, failure == "", res.Allowed, "%s: %v", rule, err)
		require.Equal(t, failure != "", e != nil, rule)
		if e != nil {
			require.Equal(t, failure, e.Failure, rule)
		}
	}
}

// TestListsBecomeTextsAsInJavaScript compares with what goja makes of them, which is right but takes long.
func TestListsBecomeTextsAsInJavaScript(t *testing.T) {
	for rule, want := range map[string]string{"'' + [1, [2, [], [null, undefined, 'é']], { a: 1 }, -0, true]": "1,2,,,,é,[object Object],0,true", "'' + []": "",
		"'' + [[]]": "", "`${[,'x',]}`": ",x", "[['a'], 'b'] + 'c'": "a,bc", "({ a: 7 })[['a']]": "7", "[5] == 5 && [[5]] == '5'": "true"} {
		p, err := publishing(t, "("+rule+") == '"+want+"' || '' + ("+rule+") === '"+want+"'")
		require.NoError(t, err, rule)
		res, err := p.Evaluate(t.Context(), asked(nil))
		require.NoError(t, err, rule)
		require.True(t, res.Allowed, rule)
	}
	for _, rule := range []string{"'' + [Symbol.iterator]", "'' + [data]"} {
		p, err := publishing(t, rule)
		require.NoError(t, err, rule)
		_, err = p.Evaluate(t.Context(), asked(json.RawMessage(`{"toString": 1, "valueOf": 2}`)))
		e, ok := errors.AsType[*EvalError](err)
		require.True(t, ok, rule)
		require.Equal(t, "TypeError", e.Class, rule)
	}
}

func TestTheLimitInterruptsAndNothingElse(t *testing.T) {
	m, err := newMachine()
	require.NoError(t, err)
	run := func(limit time.Duration, text string) error {
		m.begin(limit)
		defer m.end()
		_, err := m.vm.RunString(text)
		return err
	}
	const forever, while = "for (;;) {}", "for (let i = 0; i < 1000; i++) {}"
	for range 3 {
		require.ErrorIs(t, run(time.Millisecond, forever), errInterrupted)
		require.NoError(t, run(time.Hour, while), "the one before is over")
		require.ErrorIs(t, run(time.Millisecond, forever), errInterrupted, "the alarm was set for an hour later")
		began := time.Now()
		require.ErrorIs(t, run(30*time.Millisecond, forever), errInterrupted)
		require.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond, "the alarm of the one before does not ring for this one")
	}
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

// TestNoMutationOutlivesItsRun tries every way to change something that a rule can express on everything that a rule can
// reach, and asks after each whether everything is as it was, by the form of a rule that reads and by the one that makes objects.
func TestNoMutationOutlivesItsRun(t *testing.T) {
	places := []string{"user", "user.data", "user.data.list", "data", "data.o", "data.l", "oldData", "oldData.o", "oldData.l", "_('other')", "_('other').l", "_('r/x')", "this",
		"arguments", "arguments[0]", "arguments.callee", "arguments.callee.prototype", "_", "globalThis", "Math", "Symbol", "({}).__proto__", "[].__proto__", "''.__proto__",
		"(5).__proto__", "true.__proto__", "/x/.__proto__", "/x/", "''.constructor", "[].constructor", "({}).constructor", "''.trim", "''.match", "[].toString",
		"user.data.list.includes", "name.constructor.prototype", "data.o.constructor", "(class {}).prototype", "(5n).__proto__", "Object.prototype.__lookupGetter__",
		"[].values", "undefined", "null", "name", "$x", "now"}
	ways := []string{"(%s.mark = 1, true)", "(%s['mark'] = 1, true)", "(%s.mark += 1, true)", "(%s.mark ||= 1, true)", "(%s.mark ??= 1, true)", "%s.mark++", "--%s.mark",
		"(delete %s.k, true)", "(delete %s.trim, true)", "(delete %s.length, true)", "(delete %s[0], true)", "({ a: %s.mark } = ({ a: 1 }), true)", "([%s.mark] = [1], true)",
		"(%s.k = { mark: 1 }, true)", "(%s.trim = 1, true)", "(%s.includes = 1, true)", "(%s.toString = 1, true)", "(%s.constructor = 1, true)", "(%s.l = [9], true)",
		"(%s = 1, true)", "(%s = { mark: 1 }, true)", "([%s] = [1], true)"}
	asks := []string{
		"user.mark === undefined && user.k === undefined && user.data.k === 1 && user.data.mark === undefined && user.data.list.length === 1 && user.data.role === 'user' && user.id === 'ann'",
		"user.data.list.mark === undefined && user.data.list[0] === 'a' && user.data.list.includes('a') && [user].length === 1",
		"data.k === 1 && data.mark === undefined && data.o.k === 1 && data.o.mark === undefined && data.l.length === 2 && data.l.mark === undefined && data.l[0] === 1",
		"oldData.k === 1 && oldData.mark === undefined && oldData.o.k === 1 && oldData.o.mark === undefined && oldData.l.length === 2 && oldData.l.mark === undefined",
		"_('other').k === 1 && _('other').mark === undefined && _('other').l.length === 2 && _('other').l.mark === undefined && _('r/x') === oldData && !!_",
		"this.mark === undefined && _.mark === undefined && arguments.mark === undefined && arguments.callee.mark === undefined && arguments.length === 8",
		"typeof mark === 'undefined' && globalThis.mark === undefined && globalThis.k === undefined && typeof Math === 'object' && Math.mark === undefined",
		"({}).mark === undefined && ({}).k === undefined && [].mark === undefined && ''.mark === undefined && (5).mark === undefined && true.mark === undefined && /x/.mark === undefined",
		"({}).constructor === Object && [].constructor === Array && ''.constructor === String && String.mark === undefined && Array.mark === undefined && Object.mark === undefined",
		"''.trim.mark === undefined && ''.match.mark === undefined && [].toString.mark === undefined && [].values.mark === undefined && [].includes.mark === undefined",
		"' x '.trim() === 'x' && [1].includes(1) && 'ab'.includes('b') && 'x'.match(/x/).length === 1 && '' + [1, [2]] === '1,2' && [...'ab'].length === 2",
		"'' + {} === '[object Object]' && (5).toString !== 1 && name === 'r/x' && $x === 'x' && action === 18 && now === 5000 && undefined === void 0",
	}
	ask := func(p *Permissions) (Result, error) {
		record := func() map[string]any { return map[string]any{"k": 1, "o": map[string]any{"k": 1}, "l": []any{1, 2}} }
		user, data, old, other := map[string]any{"role": "user", "k": 1, "list": []any{"a"}}, record(), record(), record()
		res, err := p.Evaluate(t.Context(), &Query{User: "ann", UserData: user, Section: Record, Action: ActionUpdate, Name: "r/x", Now: time.UnixMilli(5000),
			HasData: true, Data: data, HasOld: true, Old: old,
			Lookup: LookupFunc(func(context.Context, string) (any, bool, error) { return other, true, nil })})
		require.Equal(t, map[string]any{"role": "user", "k": 1, "list": []any{"a"}}, user)
		for _, r := range []map[string]any{data, old, other} {
			require.Equal(t, record(), r)
		}
		return res, err
	}
	only := newPool(1) // so that all of it happens in one runtime
	share := func(o *options) error { o.pool = only; return nil }
	var asking []*Permissions
	for _, rule := range asks {
		p, err := ParseJSON(writing(t, rule), share)
		require.NoError(t, err, rule)
		asking = append(asking, p)
	}
	intact := func(after string) {
		for i, p := range asking {
			res, err := ask(p)
			require.NoError(t, err, "%s after %s", asks[i], after)
			require.True(t, res.Allowed, "%s after %s", asks[i], after)
		}
	}
	intact("nothing")
	loaded, ran, changed := 0, 0, 0
	for _, place := range places {
		for _, way := range ways {
			rule := fmt.Sprintf(way, place)
			p, err := ParseJSON(writing(t, rule), share)
			if err != nil {
				_, ok := errors.AsType[*LoadError](err)
				require.True(t, ok, err)
				continue
			}
			loaded++
			if _, err = ask(p); err == nil {
				ran++
			}
			seen, err := ParseJSON(writing(t, strings.TrimSuffix(rule, ", true)")+", "+place+".mark === 1)"), share)
			if err == nil {
				if res, err := ask(seen); err == nil && res.Allowed {
					changed++
				}
			}
		}
		intact(place)
	}
	require.Greater(t, loaded, 300)
	require.Greater(t, ran, 100)
	require.Greater(t, changed, 30, "the changes are there while the rule runs")
}

func TestARoundDoesNotSeeWhatTheOneBeforeChanged(t *testing.T) {
	for _, rule := range []string{"(user.n = (user.n || 0) + 1, _('a'), user.n === 1)", "(data.n = (data.n || 0) + 1, _('a'), data.n === 1)",
		"(oldData.n = (oldData.n || 0) + 1, _('a'), oldData.n === 1)", "($x = $x + '!', _('a'), $x === 'x!')", "(this.n = (this.n || 0) + 1, _('a'), this.n === 1)"} {
		p, err := ParseJSON(writing(t, rule), sharing)
		require.NoError(t, err, rule)
		q := writes(10, 10, 10, false)
		q.Lookup = LookupFunc(func(context.Context, string) (any, bool, error) { return 1, true, nil })
		res, err := p.Evaluate(t.Context(), q)
		require.NoError(t, err, rule)
		require.True(t, res.Allowed, rule)
		require.Equal(t, 2, res.Rounds, rule)
	}
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
	m.ring() // of a rule that has ended
	m.begin(time.Hour)
	m.ring()
	v, err := m.vm.RunString("5")
	require.NoError(t, err)
	require.EqualValues(t, 5, v.ToInteger())
	m.until = time.Now()
	m.ring()
	_, err = m.vm.RunString("5")
	require.ErrorIs(t, err, errInterrupted)
	m.end()
	_, err = m.vm.RunString("5")
	require.NoError(t, err)
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
