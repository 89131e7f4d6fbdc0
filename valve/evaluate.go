package valve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dop251/goja"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/valve/internal/jsregexp"
)

// Action is what a client wants to do, by deepstream's name of it.
type Action string

// The actions that chansec's operations become. A Query takes deepstream's others as well.
const (
	ActionRead      Action = "READ"             // record
	ActionFollow    Action = "SUBSCRIBEANDREAD" // record
	ActionCreate    Action = "CREATE"           // record
	ActionUpdate    Action = "UPDATE"           // record
	ActionPatch     Action = "PATCH"            // record
	ActionDelete    Action = "DELETE"           // record
	ActionEmit      Action = "EMIT"             // event
	ActionSubscribe Action = "SUBSCRIBE"        // event, record, presence
	ActionRequest   Action = "REQUEST"          // rpc
	ActionProvide   Action = "PROVIDE"          // rpc
	ActionQuery     Action = "QUERY"            // presence
)

// act is what an action is in a section: its number, and the rule type that it takes.
type act struct {
	number int
	kind   RuleType
	slot   int // of the rule type in its section
}

// actions is every action that takes a rule, by the number of its section.
var actions = [sectionCount]map[Action]*act{
	acts(Record, map[Action]act{
		"READ": {number: 3, kind: Read}, "HEAD": {number: 5, kind: Read}, "SUBSCRIBEANDHEAD": {number: 21, kind: Read},
		"SUBSCRIBEANDREAD": {number: 22, kind: Read}, "SUBSCRIBE": {number: 25, kind: Read}, "CREATE": {number: 15, kind: Create},
		"UPDATE": {number: 18, kind: Write}, "PATCH": {number: 19, kind: Write}, "DELETE": {number: 9, kind: Delete},
		"ERASE": {number: 20, kind: Delete}, "LISTEN": {number: 27, kind: Listen}, "NOTIFY": {number: 2, kind: Notify},
	}),
	acts(Event, map[Action]act{"EMIT": {number: 2, kind: Publish}, "SUBSCRIBE": {number: 3, kind: Subscribe}, "LISTEN": {number: 5, kind: Listen}}),
	acts(RPC, map[Action]act{"REQUEST": {number: 2, kind: Request}, "PROVIDE": {number: 8, kind: Provide}}),
	acts(Presence, map[Action]act{"QUERY_ALL": {number: 2, kind: Allow}, "QUERY": {number: 4, kind: Allow},
		"SUBSCRIBE": {number: 10, kind: Allow}, "SUBSCRIBE_ALL": {number: 12, kind: Allow}}),
}

func acts(s Section, list map[Action]act) map[Action]*act {
	found := map[Action]*act{}
	for name, a := range list {
		a.slot = slices.Index(ruleTypes[s], a.kind)
		found[name] = &a
	}
	return found
}

// actOf returns what an action is in a section, or nil.
func actOf(s Section, a Action) *act {
	n := s.number()
	if n < 0 {
		return nil
	}
	return actions[n][a]
}

// free is the actions that take no rule in deepstream: answers to the server, ends of what was allowed before, and those
// that consist of others, each of which takes its own.
var free = map[Section][]Action{
	Record: {"UNSUBSCRIBE", "UNLISTEN", "LISTEN_ACCEPT", "LISTEN_REJECT", "WRITE_ACKNOWLEDGEMENT", "CREATEANDUPDATE", "CREATEANDPATCH",
		"SUBSCRIBECREATEANDREAD", "SUBSCRIBECREATEANDUPDATE", "HEAD_BULK", "DELETE_BULK"},
	Event:    {"UNSUBSCRIBE", "UNLISTEN", "LISTEN_ACCEPT", "LISTEN_REJECT"},
	RPC:      {"UNPROVIDE", "ACCEPT", "RESPONSE", "REJECT", "REQUEST_ERROR"},
	Presence: {"UNSUBSCRIBE", "UNSUBSCRIBE_ALL"},
}

// Lookup is where the records are that rules refer to by _(name), and the old data of records where a query brings none.
type Lookup interface {
	// Lookup returns a record's content, or that there is no such record. The content is JSON text in a json.RawMessage, or
	// what encoding/json can encode.
	Lookup(ctx context.Context, name string) (content any, found bool, err error)
}

// LookupFunc is a function as a Lookup.
type LookupFunc func(ctx context.Context, name string) (content any, found bool, err error)

// Lookup calls the function.
func (f LookupFunc) Lookup(ctx context.Context, name string) (content any, found bool, err error) {
	return f(ctx, name)
}

// Query is what is asked: may this user do that? Its zero value is denied.
type Query struct {
	User     string // the user's ID; "open" is nobody
	UserData any    // user.data; nil is null
	Section  Section
	Action   Action
	Name     string // of the record, event or procedure, or the ID of the user whose presence is asked about
	Nameless bool   // there is no name, as in presence of everybody
	Data     any    // the payload, if HasData: JSON text in a json.RawMessage, or what encoding/json can encode
	HasData  bool
	Path     string // of a PATCH, where Data belongs
	Old      any    // the record that there is before the action, if HasOld; else it is looked up
	HasOld   bool
	NoOld    bool      // there is no record before the action
	Now      time.Time // zero is the present
	Lookup   Lookup    // nil: there are no records
}

// Result is an answer. Its zero value is a denial.
type Result struct {
	Allowed bool
	// Rule is the path whose rule decided, or empty where there was none, which is a denial.
	Rule   string
	Type   RuleType
	Rounds int      // how often the rule ran
	Loads  []string // the records that were looked up, in order
	// Value is the kind of value that the rule answered, such as "boolean" or "undefined", and empty where it failed or did
	// not run.
	Value string

	label    string // of the rule: its section, path and type
	reusable bool   // the answer stays as it is as long as the file and the user do
}

// Failure is why a rule gave no answer.
type Failure string

// The failures.
const (
	Exception     Failure = "exception"     // the rule threw
	Iterations    Failure = "iterations"    // after all rounds there was still something to look up
	CrossRefType  Failure = "crossref-type" // _() was called with what is no text
	BadPayload    Failure = "payload"       // the payload is not JSON, or the patch does not fit
	LoadFailed    Failure = "load"          // a record could not be looked up
	TimedOut      Failure = "limit"         // a bound of time, input or memory was reached
	UnknownAction Failure = "unknown-action"
	BadName       Failure = "name" // the name or the user's ID is no text
)

// EvalError is that a rule gave no answer. It is a denial, chansec.ErrPermission, unless records could not be looked up. Its
// text names no content.
type EvalError struct {
	Failure Failure
	Class   string // of what was thrown, such as "TypeError"; may be empty
	Section Section
	Path    string
	Type    RuleType
	Line    int   // of the rule's text, from 1; 0 where it is not known
	Column  int   // in the line, from 1; 0 where it is not known
	Cause   error // of LoadFailed, of TimedOut and of BadPayload
}

func (e *EvalError) Error() string {
	text := fmt.Sprintf("valve: section %s: path %s: rule %s: %s", e.Section, quote(e.Path), e.Type, e.Failure)
	if e.Class != "" {
		text += " " + e.Class
	}
	if e.Line > 0 {
		text += fmt.Sprintf(" at %d:%d", e.Line, e.Column)
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Is makes the error chansec.ErrPermission, unless it is LoadFailed.
func (e *EvalError) Is(target error) bool {
	return target == chansec.ErrPermission && e.Failure != LoadFailed
}

// Unwrap returns the cause.
func (e *EvalError) Unwrap() error { return e.Cause }

// Evaluate answers a query. An action that takes no rule in deepstream is allowed without one; who performs what such as
// CREATEANDUPDATE consists of must ask about CREATE and UPDATE. An error is an EvalError, or that of the context if no runtime became free in time; the result
// is a denial then. It may be called from many goroutines at once.
func (p *Permissions) Evaluate(ctx context.Context, q *Query) (Result, error) {
	return p.answer(ctx, q, nil)
}

// answer is Evaluate, and notes in x how it came about unless that is nil.
func (p *Permissions) answer(ctx context.Context, q *Query, x *Explanation) (Result, error) {
	var res Result
	a := actOf(q.Section, q.Action)
	if a == nil {
		if slices.Contains(free[q.Section], q.Action) {
			res.Allowed = true
			return res, nil
		}
		return res, &EvalError{Failure: UnknownAction, Section: q.Section, Cause: errors.New("there is no such action")}
	}
	res.Type = a.kind
	var room [maxVariables]binding
	name := q.Name
	if q.Nameless {
		name = "undefined"
	}
	if len(name) > maxNameBytes {
		return res, &EvalError{Failure: TimedOut, Section: q.Section, Type: a.kind, Cause: fmt.Errorf("%w: the name is too long", errTooMuch)}
	}
	if !utf8.ValidString(name) || !utf8.ValidString(q.User) {
		return res, &EvalError{Failure: BadName, Section: q.Section, Type: a.kind, Cause: errors.New("it is not valid UTF-8")}
	}
	r, values, err := p.choose(q.Section, a, name, room[:0])
	if r == nil {
		return res, nil
	}
	res.Rule, res.label = r.path.text, r.label
	if err != nil {
		return res, &EvalError{Failure: TimedOut, Section: q.Section, Path: res.Rule, Type: a.kind, Cause: err}
	}
	if x != nil {
		x.chosen(r, values)
	}
	if r.constant {
		res.Allowed, res.reusable, res.Value, res.Rounds = r.yes, true, "boolean", 1
		return res, nil
	}
	if c := r.code.simple; c != nil && x == nil && !q.Nameless && !r.data && !r.oldData {
		if yes, known := c.holds(q, values); known {
			res.Allowed, res.reusable, res.Value, res.Rounds = yes, true, "boolean", 1
			return res, nil
		}
	}
	own := *q // so that a query which takes no JavaScript need not be on the heap
	return p.evaluate(ctx, r, a, &own, slices.Clone(values), res, x)
}

// round is an evaluation in progress, and within it a run of the rule.
type round struct {
	m         *machine
	p         *Permissions
	ctx       context.Context
	rule      *rule
	code      *code        // of the rule, traced if it is to be explained
	explain   *Explanation // or nil
	query     *Query
	action    int
	bindings  []binding
	reader    reader
	user      *document
	payload   *document
	records   map[string]*document // that are loaded; nil are those that do not exist
	values    map[string]goja.Value
	requested []string
	loads     []string
	regexps   jsregexp.Budget
	text      int // units of lists' texts that are left
	failed    *EvalError
}

// evaluate runs a rule, round after round.
func (p *Permissions) evaluate(ctx context.Context, r *rule, a *act, q *Query, values []binding, res Result, x *Explanation) (_ Result, err error) {
	e := &round{p: p, ctx: ctx, rule: r, code: r.code, explain: x, query: q, action: a.number, bindings: values, reader: reader{left: p.options.maxInput}}
	res.reusable = !r.code.volatile
	if x != nil {
		if e.code, err = x.trace(r, p.options); err != nil {
			return res, err
		}
	}
	for {
		if res.Rounds++; res.Rounds > p.options.maxRounds {
			res.Rounds--
			e.fail(Iterations, nil)
		}
		var result goja.Value
		if e.failed == nil {
			result = e.once(&res)
		}
		res.Loads = e.loads
		if e.failed != nil {
			return res, e.failed
		}
		if len(e.requested) == 0 {
			res.Allowed = result.ToBoolean()
			if p.options.strict {
				res.Allowed = result.StrictEquals(truth)
			}
			res.Value = typeOf(result)
			return res, nil
		}
		if e.load(); e.failed != nil {
			res.Loads = e.loads
			return res, e.failed
		}
	}
}

// fail makes the first error final.
func (e *round) fail(f Failure, cause error) {
	if e.failed == nil {
		e.failed = &EvalError{Failure: f, Section: e.rule.section, Path: e.rule.path.text, Type: e.rule.kind, Cause: cause}
	}
}

// typeOf is JavaScript's typeof, with null and lists by themselves.
func typeOf(v goja.Value) string {
	switch {
	case goja.IsUndefined(v):
		return "undefined"
	case goja.IsNull(v):
		return "null"
	}
	if o, ok := v.(*goja.Object); ok {
		if _, ok := goja.AssertFunction(o); ok || o.ClassName() == "Function" {
			return "function"
		}
		if o.ClassName() == "Array" {
			return "array"
		}
		return "object"
	}
	if _, ok := v.(goja.String); ok {
		return "string"
	}
	if _, ok := v.(*goja.Symbol); ok {
		return "symbol"
	}
	switch v.Export().(type) {
	case bool:
		return "boolean"
	case int64, float64:
		return "number"
	}
	return "bigint"
}

// once prepares what the rule reads, and runs it once on a machine.
func (e *round) once(res *Result) (result goja.Value) {
	if e.explain != nil {
		e.explain.Values = nil // of the last round they are
	}
	e.requested, e.values = nil, nil
	e.replenish()
	var body *document
	if e.rule.data {
		if body = e.data(); e.failed != nil {
			return nil
		}
	}
	if e.rule.oldData {
		if e.want(e.query.Name); e.failed != nil {
			return nil
		}
	}
	if see := e.code.uses.user.member("data"); see != nil && e.user == nil {
		d, err := e.reader.goValue(e.query.UserData, see, 0)
		if err != nil {
			e.fail(TimedOut, err)
			return nil
		}
		e.user = &d
	}
	m, err := e.p.pool.take(e.ctx, e.p)
	if err != nil {
		e.fail(LoadFailed, err)
		return nil
	}
	kept := (*machine)(nil) // a machine that panics is not used again
	defer func() {
		if r := recover(); r != nil {
			e.fail(Exception, errors.New("the runtime panicked"))
			result = nil
		}
		e.p.pool.give(kept)
	}()
	e.m, m.run = m, e
	result, err = e.call(body)
	kept, m.run, e.m = m, nil, nil
	if len(e.requested) > 0 && e.failed == nil {
		if errors.Is(err, errInterrupted) {
			e.fail(TimedOut, err)
		}
		return nil // it runs again, whatever it threw
	}
	if err != nil {
		e.thrown(err)
	}
	return result
}

// replenish is that a run begins.
func (e *round) replenish() {
	e.regexps.Steps, e.text = maxRegexpSteps, textFactor*e.p.options.maxInput
}

// call runs the rule for at most as long as the limit: in its second form if it has one, and in its first if that does not do.
// Errors are those of the first.
func (e *round) call(body *document) (goja.Value, error) {
	m := e.m
	m.begin(e.p.options.limit)
	defer func() {
		m.end()
		clear(m.args)
	}()
	if quick := e.code.quick; quick != nil {
		if args, ok := e.shortcuts(quick, e.arguments(quick, body), body); ok {
			result, err := m.call(quick, args)
			if _, threw := errors.AsType[*goja.Exception](err); !threw || e.failed != nil || len(e.requested) > 0 {
				return result, err
			}
			e.replenish()
		}
	}
	return m.call(e.code, e.arguments(e.code, body))
}

// arguments is what the rule is called with; of what it cannot see there is undefined.
func (e *round) arguments(c *code, body *document) []goja.Value {
	q, m, see := e.query, e.m, &c.uses
	var data, old goja.Value = goja.Null(), goja.Undefined()
	if e.rule.data {
		data = goja.Undefined()
		if body != nil && see.data.any() {
			data = body.value(m.vm)
		}
	}
	if e.rule.oldData && see.oldData.any() {
		old = e.record(q.Name)
	}
	args := append(m.args[:0], m.cross, goja.Undefined(), data, old, goja.Undefined(), goja.Undefined(), goja.Undefined())
	if see.user.any() {
		o := m.vm.NewObject()
		if see.user.member("isAuthenticated") != nil {
			define(o, "isAuthenticated", constant(q.User != "open"))
		}
		if see.user.member("id") != nil {
			define(o, "id", goText8(q.User))
		}
		if e.user != nil {
			define(o, "data", e.user.value(m.vm))
		}
		args[1] = o
	}
	if see.now {
		now := q.Now
		if now.IsZero() {
			now = time.Now()
		}
		args[4] = m.vm.ToValue(now.UnixMilli())
	}
	if see.action {
		args[5] = m.vm.ToValue(e.action)
	}
	if see.name && !q.Nameless {
		args[6] = goText8(q.Name)
	}
	for _, b := range e.bindings {
		if b.bound && !q.Nameless && see.variable(b.name) {
			args = append(args, goText8(b.value))
		} else {
			args = append(args, goja.Undefined())
		}
	}
	m.args = args
	return args
}

// thrown makes an error of what a rule threw.
func (e *round) thrown(err error) {
	var x *goja.Exception
	var stopped *goja.InterruptedError
	switch {
	case errors.As(err, &stopped), errors.Is(err, errInterrupted):
		e.fail(TimedOut, errInterrupted)
	case errors.As(err, &x):
		if e.failed == nil {
			e.fail(Exception, nil)
			if o, ok := x.Value().(*goja.Object); ok {
				if class := o.Get("name"); class != nil {
					e.failed.Class = class.String()
				}
			}
			if stack := x.Stack(); len(stack) > 0 {
				for _, frame := range stack {
					if at := frame.Position(); at.Line > 0 {
						e.failed.Line, e.failed.Column = position(at.Line, at.Column, e.code.head)
						break
					}
				}
			}
		}
	default:
		e.fail(Exception, nil)
	}
}

// position is a place in the rule's text, of one in its code, which has a head in front of the text.
func position(line, column, head int) (int, int) {
	if line == 1 {
		column -= head
	}
	return line, max(column, 1)
}

// data is the payload as the rule sees it; nil is undefined.
func (e *round) data() *document {
	q := e.query
	if q.HasData && e.payload == nil {
		if text, ok := q.Data.(json.RawMessage); ok && len(text) == 0 {
			return nil
		}
		see := e.code.uses.data.orNil()
		if q.Action == ActionPatch {
			see = everything
		}
		d, err := e.reader.goValue(q.Data, see, 0)
		if err != nil {
			e.unreadable(err)
			return nil
		}
		e.payload = &d
	}
	if q.Action != ActionPatch {
		return e.payload
	}
	if q.Path == "" {
		return nil
	}
	if e.want(q.Name); len(e.requested) > 0 || e.failed != nil {
		return nil
	}
	record := e.records[q.Name]
	if record == nil {
		e.fail(BadPayload, errors.New("there is no record to patch"))
		return nil
	}
	path := patchPath(q.Path)
	if len(path) == 0 {
		e.fail(BadPayload, errPatch)
		return nil
	}
	d, err := patched(record, path, e.payload)
	if err != nil {
		e.unreadable(err)
	}
	return d
}

func (e *round) unreadable(err error) {
	if errors.Is(err, errTooMuch) {
		e.fail(TimedOut, err)
		return
	}
	e.fail(BadPayload, err)
}

// patchPath takes the path of a patch apart.
func patchPath(text string) (path []step) {
	for part := range strings.SplitSeq(text, ".") {
		if part = strings.Trim(part, jsSpace); part == "" {
			continue
		}
		name, rest, bracketed := strings.Cut(part, "[")
		path = append(path, step{key: name})
		for bracketed {
			var piece string
			piece, rest, bracketed = strings.Cut(rest, "[")
			piece, _, _ = strings.Cut(piece, "]")
			path = append(path, step{key: jsNumber(piece), index: true})
		}
	}
	return path
}

// jsSpace is what JavaScript trims.
const jsSpace = "\t\n\v\f\r \u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000\uFEFF"

// jsNumber is the key that JavaScript makes of the number that it makes of a text: "NaN" of what is none.
func jsNumber(text string) string {
	return goText8(text).ToNumber().String()
}

// want requests a record unless it is loaded.
func (e *round) want(name string) {
	if _, ok := e.records[name]; ok || slices.Contains(e.requested, name) {
		return
	}
	q := e.query
	if name == q.Name && q.Section == Record && (q.HasOld || q.NoOld) {
		if q.NoOld {
			e.loaded(name, nil)
			return
		}
		d, err := e.reader.goValue(q.Old, e.recordReach(name), 0)
		if err != nil {
			e.fail(TimedOut, err)
			return
		}
		e.loaded(name, &d)
		return
	}
	if len(name) > maxNameBytes {
		e.fail(TimedOut, fmt.Errorf("%w: the name of a record is too long", errTooMuch))
		return
	}
	e.requested = append(e.requested, name)
}

// recordReach is what the rule can see of a record.
func (e *round) recordReach(name string) *reach {
	if name != e.query.Name || e.query.Action == ActionPatch || e.code.uses.records {
		return everything
	}
	return e.code.uses.oldData.orNil()
}

// record is the value of a record in this round, always the same one; undefined while it is not loaded.
func (e *round) record(name string) goja.Value {
	e.want(name)
	d, ok := e.records[name]
	if !ok {
		return goja.Undefined()
	}
	if d == nil {
		return goja.Null()
	}
	v, ok := e.values[name]
	if !ok {
		v = d.value(e.m.vm)
		if e.values == nil {
			e.values = map[string]goja.Value{}
		}
		e.values[name] = v
	}
	return v
}

// reference is the function _.
func (e *round) reference(arg goja.Value) goja.Value {
	if goja.IsUndefined(arg) {
		return arg
	}
	text, ok := arg.(goja.String)
	if !ok {
		e.fail(CrossRefType, nil)
		panic(e.m.vm.NewTypeError("_ of what is no text"))
	}
	name, whole := goText(text)
	if strings.Contains(name, "undefined") {
		return goja.Undefined()
	}
	if !whole {
		e.fail(CrossRefType, nil)
		panic(e.m.vm.NewTypeError("_ of half of a surrogate pair"))
	}
	v := e.record(name)
	if e.failed != nil {
		panic(e.m.vm.NewTypeError("a bound"))
	}
	return v
}

// load looks up what was requested.
func (e *round) load() {
	for _, name := range e.requested {
		e.loads = append(e.loads, name)
		if e.query.Lookup == nil {
			e.loaded(name, nil)
			continue
		}
		content, found, err := e.lookup(name)
		if err != nil {
			e.fail(LoadFailed, err)
			return
		}
		if !found {
			e.loaded(name, nil)
			continue
		}
		d, err := e.reader.goValue(content, e.recordReach(name), 0)
		if err != nil {
			if errors.Is(err, errTooMuch) {
				e.fail(TimedOut, err)
			} else {
				e.fail(LoadFailed, errors.New("the record is not JSON"))
			}
			return
		}
		e.loaded(name, &d)
	}
}

// loaded remembers a record, or that there is none.
func (e *round) loaded(name string, d *document) {
	if e.records == nil {
		e.records = map[string]*document{}
	}
	e.records[name] = d
}

// lookup asks the Lookup. Its panic is a failure of it.
func (e *round) lookup(name string) (content any, found bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the lookup panicked with a %T", r)
		}
	}()
	if err := e.ctx.Err(); err != nil {
		return nil, false, err
	}
	return e.query.Lookup.Lookup(e.ctx, name)
}
