package valve

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/valve/internal/v8"
)

// v8Cases is how many questions are put to V8 and to this package. CHANSEC_VALVE_CASES sets it, and CHANSEC_VALVE_SEED the first
// of the seeds.
func v8Cases(t testing.TB) (cases int, seed uint64) {
	cases, seed = 5_000, 1
	if testing.Short() {
		cases = 1_500
	}
	for name, set := range map[string]func(int){"CHANSEC_VALVE_CASES": func(n int) { cases = n }, "CHANSEC_VALVE_SEED": func(n int) { seed = uint64(n) }} {
		if s := os.Getenv(name); s != "" {
			n, err := strconv.Atoi(s)
			require.NoError(t, err, name)
			set(n)
		}
	}
	return cases, seed
}

// contest asks V8 and this package the same.
type contest struct {
	t      *testing.T
	v8     *v8.Engine
	found  map[string]int // differences by class
	shown  map[string]int
	counts map[string]int
}

// put puts rules, and returns what V8 made of them.
func (c *contest) put(rules []v8.Rule) []v8.Verdict {
	verdicts := v8.Ask[v8.Rule, v8.Verdict](c.v8, rules)
	for i, r := range rules {
		c.compare(r, verdicts[i])
	}
	return verdicts
}

func (c *contest) differs(class, format string, args ...any) {
	c.found[class]++
	if c.shown[class]++; c.shown[class] <= shownOf(class) {
		c.t.Logf("%s: %s", class, fmt.Sprintf(format, args...))
	}
}

func shownOf(class string) int {
	if harmless(class) {
		return 0
	}
	return 40
}

// The classes of differences that there may be: these are safe, and the package comment says them.
func harmless(class string) bool {
	for _, prefix := range []string{"refused here: unsafe: ", "refused here: old syntax", "refused by both", "bound: ", "failed here: a function that may be stored", "failed here: a computed key that objects inherit", "failed here: old syntax"} {
		if strings.HasPrefix(class, prefix) {
			return true
		}
	}
	return false
}

// oldSyntax is what only browsers had to take: comments of HTML, and decimal numbers that begin with 0.
var oldSyntax = regexp.MustCompile(`<!--|-->|0[0-9]*[89]`)

// stores finds rules that may store a function.
var stores = regexp.MustCompile(`(?s)[=:{].*(arguments|toString|valueOf|constructor|class|Object|includes|indexOf|trim|match|Symbol|_[^(])|(toString|valueOf|constructor|class|Object|includes|indexOf|trim|match).*[=:{]`)

func (c *contest) compare(r v8.Rule, want v8.Verdict) {
	c.counts["rules"]++
	path := "r/" + strings.Join(r.Variables, "/")
	p, err := ParseJSON(fileOf(c.t, path, r), sharing, TimeLimit(time.Minute))
	if err != nil {
		e, ok := errors.AsType[*LoadError](err)
		require.True(c.t, ok, "%q: %v", r.Text, err)
		switch {
		case want.Code == "" && e.Code == Unsafe:
			c.differs("refused here: unsafe: "+e.Problem, "%q", r.Text)
		case want.Code == "" && e.Code == SyntaxError && oldSyntax.MatchString(r.Text):
			c.differs("refused here: old syntax", "%q", r.Text)
		case want.Code == "" && strings.Contains(err.Error(), "Invalid left-hand side"):
			c.differs("refused here: old syntax", "%q", r.Text) // an assignment to a call, which fails when it is run
		case want.Code == "" && strings.Contains(r.Text, `\p{`):
			c.differs("refused here: unsafe: a property that goja does not take", "%q", r.Text)
		case want.Code == "":
			c.differs("refused here: "+string(e.Code), "%q: %v", r.Text, err)
		case e.Code == Unsafe:
			c.found["refused by both, here as unsafe"]++
		case want.Code != string(e.Code):
			c.found["refused by both, with another code"]++
		}
		return
	}
	if want.Code != "" {
		c.differs("LOADED", "%q: %s in deepstream", r.Text, want.Code)
		return
	}
	for i, asked := range r.Cases {
		c.counts["cases"]++
		c.compareCase(p, &r, &asked, want.Cases[i])
	}
}

func (c *contest) compareCase(p *Permissions, r *v8.Rule, asked *v8.Case, want v8.Outcome) {
	q := &Query{User: asked.User, UserData: json.RawMessage(asked.UserData), Section: Record, Action: ActionUpdate, Name: asked.Name, Path: "",
		HasData: asked.Data != "", Now: time.UnixMilli(asked.Now),
		Lookup: LookupFunc(func(_ context.Context, name string) (any, bool, error) {
			text, ok := asked.Records[name]
			return json.RawMessage(text), ok, nil
		})}
	if q.HasData {
		q.Data = json.RawMessage(asked.Data)
	}
	if asked.Path != nil {
		q.Action, q.Path = ActionPatch, *asked.Path
	}
	var decoded map[string]any
	if asked.Plain && json.Unmarshal([]byte(asked.UserData), &decoded) == nil && decoded != nil {
		q.UserData = decoded
	}
	got, err := p.Evaluate(c.t.Context(), q)
	about := func() string {
		path := "-"
		if asked.Path != nil {
			path = *asked.Path
		}
		asked.Path = &path
		if len(asked.Records) > 0 {
			path += "."
		}
		return fmt.Sprintf("%s\n    %+v\n    V8: %+v\n    here: %+v %v", r.Text, *asked, want, got, err) + path
	}
	allows := want.Error == "" && want.Truthy
	e, _ := errors.AsType[*EvalError](err)
	if allows {
		c.counts["allowed"]++
	}
	switch {
	case got.Allowed && !allows:
		c.differs("ALLOWED", "%s", about())
	case e != nil && e.Failure == TimedOut:
		c.differs("bound: "+e.Cause.Error(), "%s", about())
	case e != nil && e.Class == "TypeError" && stores.MatchString(r.Text) && (want.Class != e.Class || got.Rounds < want.Rounds):
		c.differs("failed here: a function that may be stored", "%s", about())
	case e != nil && e.Class == "TypeError" && strings.Contains(r.Text, "{ [") && (want.Error == "" || got.Rounds < want.Rounds):
		c.differs("failed here: a computed key that objects inherit", "%s", about())
	case e != nil && e.Failure == CrossRefType && want.Error != string(CrossRefType) && strings.Contains(fmt.Sprint(*asked)+r.Text, `\ud`):
		c.differs("bound: half of a surrogate pair in the name of a record", "%s", about())
	case e != nil && oldSyntax.MatchString(r.Text):
		c.differs("failed here: old syntax", "%s", about())
	case !got.Allowed && allows:
		c.differs("denied", "%s", about())
	case (e != nil) != (want.Error != ""):
		c.differs("failed or not", "%s", about())
	case e != nil && string(e.Failure) != want.Error:
		c.differs("another failure", "%s", about())
	case e != nil && e.Failure == Exception && e.Class != want.Class:
		c.differs("another class", "%s", about())
	case e == nil && got.Value != want.Type:
		c.differs("another type", "%s", about())
	case got.Rounds != want.Rounds || !slices.Equal(got.Loads, want.Loads):
		c.differs("other rounds", "%s", about())
	}
}

func fileOf(t testing.TB, path string, r v8.Rule) []byte {
	text, err := json.Marshal(map[string]map[string]string{path: {r.Kind: r.Text}, "*": {}})
	require.NoError(t, err)
	return []byte(`{"event": {"*": {}}, "rpc": {"*": {}}, "presence": {"*": {}}, "record": ` + string(text) + `}`)
}

// run puts cases until there were enough, and reports what was found.
func (c *contest) run(cases int, seed uint64, invent func(*inventor) string, precise bool) {
	for ; c.counts["cases"] < cases; seed++ {
		inv := &inventor{Rand: rand.New(rand.NewPCG(seed, 7))}
		rules := make([]v8.Rule, 50)
		for i := range rules {
			rules[i] = inv.rule(invent(inv))
		}
		verdicts := c.put(rules)
		if !precise {
			continue
		}
		var next []v8.Rule
		for i, v := range verdicts {
			next = append(next, exactly(rules[i], v)...)
		}
		c.put(next)
	}
	c.report()
}

// report tells what was found, and fails if it should not have been.
func (c *contest) report() {
	for _, class := range slices.Sorted(maps.Keys(c.found)) {
		c.t.Logf("%7d %s", c.found[class], class)
	}
	c.t.Logf("%v", c.counts)
	for class := range c.found {
		require.True(c.t, harmless(class), "%s: %d", class, c.found[class])
	}
}

// exactly makes rules that are denied if a rule's answers are those that V8 gave, and not just as true or as false.
func exactly(r v8.Rule, v v8.Verdict) (rules []v8.Rule) {
	for i, o := range v.Cases {
		e := "(" + r.Text + ")"
		switch {
		case o.Error != "":
			continue
		case o.Literal == "NaN":
			e += " === 0 || [" + r.Text + "][0] === [" + r.Text + "][0]"
		case o.Literal == "-0":
			e = "1/" + e + " !== -1e999"
		case o.Literal != "":
			e += " !== " + o.Literal
		case o.Text != "":
			e = "'' + " + e + " !== " + o.Text
		default:
			continue
		}
		next := r
		next.Text, next.Cases = e, r.Cases[i:i+1]
		rules = append(rules, next)
	}
	return rules
}

func newContest(t *testing.T) *contest {
	return &contest{t: t, v8: v8.Start(t), found: map[string]int{}, shown: map[string]int{}, counts: map[string]int{}}
}

func TestRulesAgreeWithV8(t *testing.T) {
	cases, seed := v8Cases(t)
	newContest(t).run(cases, seed, func(i *inventor) string { return i.expression(0) }, true)
}

// TestTextsAgreeWithV8 puts texts that are hardly rules: what is one for V8 and what is none must be so here.
func TestTextsAgreeWithV8(t *testing.T) {
	cases, seed := v8Cases(t)
	newContest(t).run(cases/4, seed, (*inventor).garbled, false)
}

// operations are what a rule can do with two values, or with one.
var operations = []string{"data.a == data.b", "data.a != data.b", "data.a === data.b", "data.a < data.b", "data.a <= data.b", "data.a > data.b", "data.a >= data.b", "data.a + data.b",
	"data.a - data.b", "data.a * data.b", "data.a / data.b", "data.a % data.b", "data.a ** data.b", "data.a & data.b", "data.a | data.b", "data.a ^ data.b", "data.a << data.b", "data.a >> data.b",
	"data.a >>> data.b", "1 / (data.a * data.b)", "1 / (data.a % data.b)", "data.a?.[data.b]", "data.a && data.b", "data.a ?? data.b", "data.a.includes(data.b)", "data.a.indexOf(data.b)",
	"data.a.startsWith(data.b)", "data.a.endsWith(data.b)", "'abcabc'.indexOf('c', data.a)", "'abcabc'.includes(data.b, data.a)", "'abcabc'.startsWith(data.b, data.a)", "'abcabc'.endsWith(data.b, data.a)",
	"[1, 'a', null, 1].indexOf(data.b, data.a)", "[1, 'a', null, 1].includes(data.b, data.a)", "[data.a, -0].includes(data.b)", "[data.a,, 5].includes(data.b)", "data.a in data.b", "data.a instanceof Object",
	"+data.a", "-data.a", "1 / -data.a", "~data.a", "1 / +data.a", "`${data.a}`", "'' + data.a", "typeof data.a", "data.a.trim()", "data.a.toUpperCase()", "data.a.toLowerCase()", "data.a.match(data.b)",
	"data.a.match(data.b)?.index", "data.a == 5", "data.a == 0", "1 == data.a", "data.a == true", "false == data.a", "data.a != '5'", "'5' == data.a", "data.a == ''", "data.a == '0x10'", "data.a == 'a'", "data.a == '[object Object]'",
	"data.a == 5n", "data.a < 5n", "'5' == data.a + ''", "data.a < '5'", "data.a > 4", "data.a <= 2.5", "[data.a] == data.b", "[data.a] + [data.b]", "[data.a] < data.b", "data.a.length", "data.a[0]", "data.a['length'] > data.b",
	"data.a ? data.b : data.a", "[...data.a]", "[...data.a].length", "({ ...data.a })[data.b]", "({ [data.a]: 0 })[data.b]", "({ [data.a]: { a: 1 } }).a", "[data.a].indexOf(data.b)", "(data.x = data.a, data.x === data.a)", "(data.x = data.a) + (data.x += data.b)",
	"data.a.match(/^[\\w-]+$/i)", "data.a.match(/./gu)?.length", "data.a.match(/\\s|$/)?.index", "!!data.a", "!data.a", "void data.a", "data.a === data.a", "data.a || data.b", "data.a.valueOf == 1",
	"data.a ** 2", "3 ** data.a", "1 / data.a ** data.b", "data.a++", "data.a--", "++data.a", "--data.a", "[data.a++, data.a, 1 / data.a]", "[--data.a, data.a]", "data.a -= data.b", "(data.a *= data.b, data.a)", "1 / (data.a *= data.b)", "1 / (data.a / data.b)",
	"1 / (data.a - data.b)", "1 / (data.a + data.b)", "1 / (3 * data.a)", "1 / (-3 * data.a)", "data.a * 3n", "5n * -3n + '' + data.a", "-7n / 2n + '' + data.a", "7n % -2n + '' + -7n % 2n", "-7n >> 1n", "5n & -3n", "~5n | 2n",
	"data.a >= 5n", "2n ** 10n > data.a", "(data.n = 5n, data.n *= 3n, data.n + '')", "(data.n = 5n, data.n++, data.n > 5)",
	"data.a /= data.b", "data.a %= data.b", "data.a **= data.b", "data.a |= data.b", "data.a >>>= data.b", "data.a <<= data.b", "(data.b -= data.a++) + data.a", "data['a'] &= data.b ^= 7", "data.a.b -= (data.a = data.b, 2)"}

// operands are values that are read in odd ways.
var operands = []string{"0", "-0", "1", "-1", "5", "2.5", "0.1", "1e21", "1e-7", "1e400", "-1e400", "9007199254740993", "9007199254740992", "9223372036854775808", "-9223372036854775808", "18446744073709551616", "4294967296", "4294967295", "2147483648", "-2147483649",
	"1e308", "5e-324", "123456789012345680000", "1.7976931348623157e308", "0.000001", "1e20", "0.30000000000000004", "100", "3", "-3", "7", "10", "0.5", "1.5", "-1.25", "22", "52", "53", "0.75", "true", "false", "null", `""`, `" "`, `"5"`, `" 5 "`, `"5.0"`, `"05"`, `"5."`, `".5"`, `"."`, `"1e3"`, `"1e"`, `"1E400"`, `"-0"`, `"+0"`, `"-00"`, `"+5"`, `"--5"`, `"5px"`, `"0x10"`,
	`"0X1f"`, `"0x-5"`, `"0x+5"`, `"-0x5"`, `"0x"`, `"0xg"`, `"0b11"`, `"0b-1"`, `"0b12"`, `"0o17"`, `"0o-7"`, `"0O8"`, `"0x1p3"`, `"0x1.8"`, `"0xFFFFFFFFFFFFFFFF"`, `"0x1fffffffffffff"`, `"0x20000000000001"`, `"1_000"`, `"0x1_0"`, `"Infinity"`, `"-Infinity"`, `"+Infinity"`, `"infinity"`, `"INFINITY"`, `"inf"`,
	`"nan"`, `"NaN"`, `"undefined"`, `"true"`, `"9007199254740993"`, `"9223372036854775808"`, `"1e1000"`, `"5n"`, `"５"`, `"\u00855"`, `"5\u0085"`, `"\u0085"`, `"\u00a05"`, `"\ufeff5"`, `"\u180e5"`, `"\u200b5"`, `"\u20285\u2029"`, `"\u000b5\f"`, `"\u00005"`, `"5\u0000"`, `"a"`, `"A"`, `"abc"`, `"é"`, `"e\u0301"`,
	`"ß"`, `"İ"`, `"\u212a"`, `"Σ"`, `"aΣ"`, `"aΣb"`, `"a.Σ"`, `"Σ\u0345"`, `"a\u0345Σ"`, `"\u0345Σ"`, `"ᾳΣ"`, `"ʰΣ"`, `"Σʰ"`, `"aΣ'b"`, `"😀"`, `"😀Σ"`, `"\ud800"`, `"\udc00a"`, `"a\ud800Σ"`, `"\ud800\u00a0"`, `"ŉ"`, `"ﬁ"`, `"ǅ"`, `"ΐ"`, `"ᾳ"`, `"𐐀"`, `"\u2028"`, `"length"`, `"__proto__"`, `"constructor"`, `"0"`, `"1"`, `"-1"`, `"a,b"`,
	`"[object Object]"`, `"["`, `"(a)|b"`, `"\\d"`, `"^a+$"`, "[]", "[5]", "[[5]]", `["5"]`, `["0x-5"]`, `[" "]`, "[null]", "[0]", "[-0]", "[1,2]", `["a","b"]`, "[true]", `["a"]`, "{}", `{"length":2}`, `{"length":"0x-5"}`, `{"toString":1}`, `{"toString":1,"valueOf":2}`, `{"valueOf":5}`, `{"0":"a","length":1}`, `{"a":1}`, `{"__proto__":5}`,
	`{"__proto__":{"a":1}}`, "[[],[]]", "[1e400]", "[1e21]", `["\ud800"]`}

// TestOperationsAgreeWithV8 does everything with everything, and compares what comes out exactly.
func TestOperationsAgreeWithV8(t *testing.T) {
	cases, seed := v8Cases(t)
	c, r := newContest(t), rand.New(rand.NewPCG(seed, 3))
	each := cases / len(operations)
	for _, operation := range operations {
		inv := &inventor{r}
		rule := inv.rule(operation)
		like := rule.Cases[0]
		like.Path, like.Records = nil, map[string]string{"a": `"x"`}
		rule.Cases = nil
		if every := len(operands) * len(operands); each >= every {
			for _, a := range operands {
				for _, b := range operands {
					like.Data = `{"a":` + a + `,"b":` + b + `}`
					rule.Cases = append(rule.Cases, like)
				}
			}
		} else {
			for range each {
				like.Data = `{"a":` + operands[r.IntN(len(operands))] + `,"b":` + operands[r.IntN(len(operands))] + `}`
				rule.Cases = append(rule.Cases, like)
			}
		}
		verdict := c.put([]v8.Rule{rule})[0]
		next := rule
		next.Text, next.Cases = "'' + ("+operation+") !== data.w", nil
		for i, o := range verdict.Cases {
			if text := asText(o); text != "" {
				like := rule.Cases[i]
				like.Data = strings.TrimSuffix(like.Data, "}") + `,"w":` + text + `}`
				next.Cases = append(next.Cases, like)
			}
		}
		if len(next.Cases) > 0 {
			c.put([]v8.Rule{next})
		}
	}
	c.report()
}

// asText is the text that a result becomes, as JSON.
func asText(o v8.Outcome) string {
	switch text := cmp.Or(o.Text, o.Literal); {
	case strings.HasPrefix(text, "'"):
		return `"` + strings.Trim(text, "'") + `"`
	case text == "void 0":
		return `"undefined"`
	case text == "-0":
		return `"0"`
	case strings.HasSuffix(text, "1e999"):
		return `"` + strings.TrimSuffix(text, "1e999") + `Infinity"`
	case text != "":
		return `"` + strings.TrimSuffix(text, "n") + `"`
	}
	return ""
}
