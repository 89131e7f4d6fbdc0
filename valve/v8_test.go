package valve

import (
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
	cases, seed = 12_000, 1
	if testing.Short() {
		cases = 3_000
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

// difference is a question to which the answers are not the same.
type difference struct {
	class string
	text  string
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
	for _, prefix := range []string{"refused here: unsafe: ", "refused here: old syntax", "refused by both", "bound: ", "failed here: a function that may be stored"} {
		if strings.HasPrefix(class, prefix) {
			return true
		}
	}
	return false
}

// oldSyntax is what only browsers had to take: comments of HTML, and decimal numbers that begin with 0.
var oldSyntax = regexp.MustCompile(`<!--|-->|0[0-9]*[89]`)

// stores finds rules that may store a function.
var stores = regexp.MustCompile(`(?s)[=:{].*(toString|valueOf|constructor|class|Object|includes|indexOf|trim|match|Symbol|_[^(])|(toString|valueOf|constructor|class|Object|includes|indexOf|trim|match).*[=:{]`)

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
	case e != nil && e.Class == "TypeError" && stores.MatchString(r.Text) && (want.Error == "" || got.Rounds < want.Rounds):
		c.differs("failed here: a function that may be stored", "%s", about())
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
