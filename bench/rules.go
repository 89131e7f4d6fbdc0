package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"github.com/dop251/goja"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/valve"
)

// Rules that look at the caller, the name and the message: may this user write that to this channel? Every contender finds
// the path that the name belongs to, binds its variable and decides by the rule. Every error is a denial.

// An application is a question about a rule: half of those that are timed are allowed.
type application struct {
	user       string
	attributes map[string]any
	name       string
	payload    json.RawMessage
	allowed    bool
}

// applied is an opened engine.
type applied func(*application) bool

func (a applied) work(timed, checked []application) *work {
	bench := func(b *testing.B) error {
		for i := range b.N {
			if q := &timed[i%len(timed)]; a(q) != q.allowed {
				return fmt.Errorf("%w: %+v", errWrong, *q)
			}
		}
		return nil
	}
	return &work{bench: bench, check: func() error {
		for _, q := range append(timed[:len(timed):len(timed)], checked...) {
			if a(&q) == q.allowed {
				continue
			}
			return fmt.Errorf("%+v (with the payload %s): %v", q, q.payload, !q.allowed)
		}
		return nil
	}}
}

// languages is a rule in each language, and by hand.
type languages struct {
	valve string
	cel   string
	expr  string
	hand  func(q *application, x string) bool
	reads bool // the payload
}

var (
	ownName = languages{
		valve: "user.id === $x", cel: "id == x", expr: "ID == X",
		hand: func(q *application, x string) bool { return q.user == x },
	}
	hasRole = languages{
		valve: "user.data.role === 'admin'", cel: "attributes.role == 'admin'", expr: "Attributes.role == 'admin'",
		hand: func(q *application, _ string) bool { return q.attributes["role"] == "admin" },
	}
	enough = languages{
		valve: "data.n > 5 && data.text.length < 100", cel: "data.n > 5 && size(data.text) < 100", expr: "Data.n > 5 && len(Data.text) < 100",
		hand: func(q *application, _ string) bool {
			var data struct {
				N    *float64
				Text *string
			}
			return json.Unmarshal(q.payload, &data) == nil && data.N != nil && *data.N > 5 && data.Text != nil && len(*data.Text) < 100
		},
		reads: true,
	}
)

// found is the value of the variable of the path that a name belongs to.
type found func(name string) (x string, ok bool)

// oneSegment is the path <prefix>$x<suffix> by hand.
func oneSegment(name, prefix, suffix string) (x string, ok bool) {
	if x, ok = strings.CutPrefix(name, prefix); ok {
		x, ok = strings.CutSuffix(x, suffix)
	}
	return x, ok && x != "" && strings.IndexByte(x, '/') < 0
}

func rulesGroups(scale) (out []group) {
	admin, guest := map[string]any{"role": "admin"}, map[string]any{"role": "guest"}
	payload := func(n string) json.RawMessage {
		text := fmt.Sprintf(`{"n": %s, "tags": ["a", "b"], "at": 1700000000, "by": "ann", "text": "`, n)
		return json.RawMessage(text + strings.Repeat("x", 98-len(text)) + `"}`)
	}
	user := func(name string) (string, bool) { return oneSegment(name, "user/", "") }
	out = append(out,
		rulesGroup("rules/identity", ownName, []string{"user/$x"}, user, user,
			[]application{{user: "ann", name: "user/ann", allowed: true}, {user: "bob", name: "user/ann"}},
			[]application{{user: "ann", name: "user/"}, {user: "ann", name: "user/ann/x"}, {name: "user/ann"}, {user: "ann", name: "ann"}, {}}),
		rulesGroup("rules/role", hasRole, []string{"user/$x"}, user, user,
			[]application{{user: "ann", attributes: admin, name: "user/ann", allowed: true}, {user: "ann", attributes: guest, name: "user/ann"}},
			[]application{{user: "ann", name: "user/ann"}, {user: "ann", attributes: map[string]any{"role": []any{"admin"}}, name: "user/ann"},
				{user: "admin", attributes: map[string]any{"roles": "admin"}, name: "user/admin"}, {attributes: admin, name: "user"}}),
		rulesGroup("rules/payload100", enough, []string{"user/$x"}, user, user,
			[]application{{user: "ann", name: "user/ann", payload: payload("17"), allowed: true}, {user: "ann", name: "user/ann", payload: payload("3")}},
			[]application{{name: "user/ann", payload: json.RawMessage(`{"n": 6}`)}, {name: "user/ann", payload: json.RawMessage(`{"n": 6, "text": "x"`)},
				{name: "user/ann", payload: json.RawMessage(`{"n": 6, "text": "` + strings.Repeat("x", 100) + `"}`)},
				{name: "user/ann"}, {name: "user/", payload: payload("17")},
				{name: "user/ann", payload: json.RawMessage(`{"n": 5.5, "text": ""}`), allowed: true}}),
	)
	for _, n := range []int{1, 10, 100, 1000} {
		paths := make([]string, n)
		rooms := make(map[string]bool, n)
		for i := range paths {
			paths[i] = fmt.Sprintf("room-%d/$x/m", i)
			rooms[fmt.Sprintf("room-%d", i)] = true
		}
		byHand := func(name string) (string, bool) {
			room, rest, ok := strings.Cut(name, "/")
			if !ok || !rooms[room] {
				return "", false
			}
			return oneSegment(rest, "", "/m")
		}
		var timed []application
		for i := range 64 {
			timed = append(timed, application{user: []string{"ann", "bob"}[i%2], name: fmt.Sprintf("room-%d/ann/m", i*37%n), allowed: i%2 == 0})
		}
		out = append(out, rulesGroup("rules/paths/"+count(n), ownName, paths, byHand, walk(paths), timed, []application{
			{user: "ann", name: fmt.Sprintf("room-%d/ann/m", n)}, {user: "ann", name: "room-0/ann/x/m"}, {user: "ann", name: "room-0//m"},
			{user: "ann", name: "room-0/ann/n"}, {user: "ann", name: "xroom-0/ann/m"}, {}}))
	}
	return out
}

// walk tries the paths from the longest to the shortest, each as the regular expression that deepstream makes of it.
func walk(paths []string) found {
	var compiled []*regexp.Regexp
	for i := len(paths) - 1; i >= 0; i-- { // they are in ascending order
		compiled = append(compiled, regexp.MustCompile("^"+strings.ReplaceAll(paths[i], "$x", "([^/]+)")+"$"))
	}
	return func(name string) (string, bool) {
		for _, re := range compiled {
			if at := re.FindStringSubmatchIndex(name); at != nil {
				return name[at[2]:at[3]], true
			}
		}
		return "", false
	}
}

func rulesGroup(row string, rule languages, paths []string, byHand, peers found, timed, checked []application) (g group) {
	for _, engine := range []struct {
		name string
		open func() (applied, error)
	}{
		{"floor: Go by hand", func() (applied, error) {
			return func(q *application) bool {
				x, ok := byHand(q.name)
				return ok && rule.hand(q, x)
			}, nil
		}},
		{"chansec Evaluate", func() (applied, error) { return rule.evaluate(paths) }},
		{"chansec Decide", func() (applied, error) { return rule.decide(paths) }},
		{"cel", func() (applied, error) { return rule.byCel(peers) }},
		{"expr", func() (applied, error) { return rule.byExpr(peers) }},
		{"goja alone", func() (applied, error) { return rule.byGoja(peers) }},
	} {
		g = append(g, contender{row: row, name: engine.name, floor: strings.HasPrefix(engine.name, "floor"), open: func() (*work, error) {
			a, err := engine.open()
			if err != nil {
				return nil, err
			}
			return a.work(timed, checked), nil
		}})
	}
	return g
}

// permissions is a file with the rule for every path.
func (l *languages) permissions(paths []string) (*valve.Permissions, error) {
	type types map[valve.RuleType]string
	event := map[string]types{"*": {}}
	for _, p := range paths {
		event[p] = types{valve.Publish: l.valve}
	}
	source, err := json.Marshal(map[valve.Section]any{valve.Event: event, valve.Record: map[string]types{"*": {}},
		valve.RPC: map[string]types{"*": {}}, valve.Presence: map[string]types{"*": {}}})
	if err != nil {
		return nil, err
	}
	return valve.ParseJSON(source)
}

// evaluate asks the permission file.
func (l *languages) evaluate(paths []string) (applied, error) {
	permissions, err := l.permissions(paths)
	ctx := context.Background()
	return func(q *application) bool {
		r, err := permissions.Evaluate(ctx, &valve.Query{User: q.user, UserData: q.attributes, Section: valve.Event, Action: valve.ActionEmit,
			Name: q.name, HasData: true, Data: q.payload})
		return err == nil && r.Allowed
	}, err
}

// decide asks the rules as the guard asks them about a write.
func (l *languages) decide(paths []string) (applied, error) {
	permissions, err := l.permissions(paths)
	if err != nil {
		return nil, err
	}
	rules, err := valve.New(valve.Config{Permissions: permissions, Channels: []valve.Binding{{Channels: "*", Section: valve.Event}}})
	if err != nil {
		return nil, err
	}
	ctx, message := context.Background(), &chansec.Message[any]{}
	return func(q *application) bool {
		message.Content = q.payload
		d, err := rules.Decide(ctx, chansec.Request{Principal: chansec.Principal{SystemID: q.user, Attributes: q.attributes},
			ChannelID: q.name, Operation: chansec.OpWrite, Message: message})
		return err == nil && d.Allowed
	}, nil
}

// decode reads the payload for those that have no way of their own to do it.
func (l *languages) decode(q *application) (data map[string]any, ok bool) {
	return data, !l.reads || json.Unmarshal(q.payload, &data) == nil
}

// celNames is what CEL sees of an application.
type celNames struct {
	*application
	x    string
	data map[string]any
}

func (n *celNames) Parent() cel.Activation { return nil }

func (n *celNames) ResolveName(name string) (any, bool) {
	switch name {
	case "id":
		return n.user, true
	case "attributes":
		return n.attributes, true
	case "x":
		return n.x, true
	case "data":
		return n.data, true
	}
	return nil, false
}

func (l *languages) byCel(path found) (applied, error) {
	object := cel.MapType(cel.StringType, cel.DynType)
	env, err := cel.NewEnv(cel.Variable("id", cel.StringType), cel.Variable("attributes", object), cel.Variable("x", cel.StringType),
		cel.Variable("data", object), cel.CrossTypeNumericComparisons(true))
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(l.cel)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	return func(q *application) bool {
		x, ok := path(q.name)
		if !ok {
			return false
		}
		data, ok := l.decode(q)
		if !ok {
			return false
		}
		v, _, err := program.Eval(&celNames{q, x, data})
		return err == nil && v.Value() == true
	}, nil
}

// exprNames is what expr sees of an application.
type exprNames struct {
	ID, X            string
	Attributes, Data map[string]any
}

func (l *languages) byExpr(path found) (applied, error) {
	program, err := expr.Compile(l.expr, expr.Env(&exprNames{}), expr.AsBool())
	if err != nil {
		return nil, err
	}
	machine := &vm.VM{} // used again, as its documentation advises
	return func(q *application) bool {
		x, ok := path(q.name)
		if !ok {
			return false
		}
		data, ok := l.decode(q)
		if !ok {
			return false
		}
		v, err := machine.Run(program, &exprNames{ID: q.user, X: x, Attributes: q.attributes, Data: data})
		return err == nil && v == true
	}, nil
}

func (l *languages) byGoja(path found) (applied, error) {
	runtime := goja.New()
	v, err := runtime.RunString("(function(user, data, $x) { return " + l.valve + " })")
	if err != nil {
		return nil, err
	}
	rule, ok := goja.AssertFunction(v)
	if !ok {
		return nil, fmt.Errorf("%s is no function", l.valve)
	}
	return func(q *application) bool {
		x, ok := path(q.name)
		if !ok {
			return false
		}
		data, ok := l.decode(q)
		if !ok {
			return false
		}
		user := runtime.NewObject()
		if user.Set("id", q.user) != nil || user.Set("data", q.attributes) != nil {
			return false
		}
		v, err := rule(goja.Undefined(), user, runtime.ToValue(data), runtime.ToValue(x))
		return err == nil && v.ToBoolean()
	}, nil
}
