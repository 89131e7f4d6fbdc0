package valve

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/dop251/goja"

	"github.com/chansec/chansec/valve/internal/jsregexp"
)

// Bounds of an evaluation.
const (
	maxRegexpSteps = 500_000  // of all matches of one round
	maxMatches     = 1_000    // that match with the flag g returns, and the groups of one
	maxPattern     = 1_000    // units of a pattern that is not a literal
	stepsToCompile = 25       // steps that an instruction of such a pattern counts for
	maxNameBytes   = 64 << 10 // of a name
	maxListDepth   = 1_000    // of lists in one another that become a text
)

// machine is a JavaScript runtime whose objects are frozen. One goroutine uses it at a time.
type machine struct {
	vm             *goja.Runtime
	given          []goja.Value // to the code of rules, in the order of the names of that
	cross          goja.Value
	join, listText goja.Value   // of lists
	object         *goja.Object // stands for one of which it only matters that it is there
	rules          map[*code]goja.Callable
	owner          *Permissions // whose rules they are
	run            *round       // in progress
	args           []goja.Value // that a rule is called with; the memory is used again

	alarm *time.Timer
	mu    sync.Mutex
	armed bool      // the alarm will ring
	rings time.Time // when it does
	until time.Time // when the rule in progress is to be interrupted; zero if there is none
	rang  bool      // it was interrupted
}

// errInterrupted is what an evaluation is stopped with that takes too long.
var errInterrupted = errors.New("the time is up")

// errTooMuch is thrown where a rule goes beyond a bound.
var errTooMuch = errors.New("beyond a bound")

func newMachine() (*machine, error) {
	m := &machine{vm: goja.New(), rules: map[*code]goja.Callable{}}
	m.vm.SetMaxCallStackSize(64)
	guard := m.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		v := call.Argument(0)
		if _, ok := goja.AssertFunction(v); ok {
			panic(m.vm.NewTypeError("a function cannot be stored"))
		}
		return v
	})
	trace := m.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		m.run.note(int(call.Argument(0).ToInteger()), call.Argument(1))
		return call.Argument(1)
	})
	spread := m.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		if s, ok := call.Argument(0).(goja.String); ok && s.Length() > maxMatches {
			m.limited("a long text that is spread")
		}
		return call.Argument(0)
	})
	bits := m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return m.bits(call.Argument(0)) })
	equal := m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return constant(m.equal(call.Argument(0), call.Argument(1))) })
	unequal := m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return constant(!m.equal(call.Argument(0), call.Argument(1))) })
	number := m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return m.numeric(call.Argument(0)) })
	position := m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return m.number(call.Argument(0)) })
	key := m.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		k := call.Argument(0)
		if _, symbol := k.(*goja.Symbol); symbol {
			return k
		}
		name := toText(k)
		if name.String() == "__proto__" { // goja changes the prototype, where JavaScript makes a property
			m.limited("a computed __proto__")
		}
		return name
	})
	power := m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return m.power(call.Argument(0), call.Argument(1)) })
	first := m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return call.Argument(0) })
	times := m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return m.times(call.Argument(0), call.Argument(1)) })
	add := func(n int64) goja.Value {
		return m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return m.add(call.Argument(0), n) })
	}
	m.given = []goja.Value{guard, trace, spread, bits, equal, unequal, number, position, key, power, times, add(1), add(-1), first}
	m.cross = m.vm.ToValue(func(call goja.FunctionCall) goja.Value { return m.run.reference(call.Argument(0)) })
	m.object = m.vm.NewObject()
	for name, method := range map[string]func(goja.FunctionCall) goja.Value{"match": m.match, "trim": m.textMethod(trim),
		"toUpperCase": m.textMethod(upper), "toLowerCase": m.textMethod(lower)} {
		if err := m.replace("String", name, method); err != nil {
			return nil, err
		}
	}
	list := m.vm.Get("Array").ToObject(m.vm).Get("prototype").ToObject(m.vm)
	ordinary, ok := goja.AssertFunction(list.Get("toString"))
	if !ok {
		return nil, errors.New("a list has no text")
	}
	m.join = list.Get("join")
	err := m.replace("Array", "toString", func(call goja.FunctionCall) goja.Value {
		if o, ok := call.This.(*goja.Object); ok && m.plainList(o) {
			var text goja.StringBuilder
			m.writeList(&text, o, 0)
			return text.String()
		}
		text, err := ordinary(call.This)
		if err != nil {
			panic(err)
		}
		return text
	})
	if err != nil {
		return nil, err
	}
	includes, ok := goja.AssertFunction(list.Get("includes"))
	indexOf, okToo := goja.AssertFunction(list.Get("indexOf"))
	if !ok || !okToo {
		return nil, errors.New("a list has no members")
	}
	err = m.replace("Array", "includes", func(call goja.FunctionCall) goja.Value {
		of := includes
		zero := call.Argument(0).StrictEquals(numberValue(0))
		if zero { // goja does not find -0 by includes, but by indexOf
			of = indexOf
		}
		v, err := of(call.This, call.Arguments...)
		if err != nil {
			panic(err)
		}
		if zero {
			return constant(v.ToInteger() >= 0)
		}
		return v
	})
	if err != nil {
		return nil, err
	}
	m.listText = list.Get("toString")
	freeze, err := m.vm.RunString(freezeAll)
	if err != nil {
		return nil, err
	}
	call, _ := goja.AssertFunction(freeze)
	if _, err := call(goja.Undefined(), append(slices.Clone(m.given), m.cross, m.object)...); err != nil {
		return nil, err
	}
	m.alarm = time.AfterFunc(time.Hour, m.ring)
	m.alarm.Stop()
	return m, nil
}

// replace puts another function in the place of a method of a class.
func (m *machine) replace(class, method string, f func(goja.FunctionCall) goja.Value) error {
	v := m.vm.ToValue(f)
	if err := v.ToObject(m.vm).DefineDataProperty("name", m.vm.ToValue(method), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE); err != nil {
		return err
	}
	prototype := m.vm.Get(class).ToObject(m.vm).Get("prototype").ToObject(m.vm)
	return prototype.DefineDataProperty(method, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
}

// bits is a value as operators on bits take it (ECMA-262, ToInt32): goja gets numbers wrong that do not fit into 64 bits.
func (m *machine) bits(v goja.Value) goja.Value {
	n := m.number(v)
	if f, ok := n.Export().(float64); ok && math.Abs(f) >= 1<<53 && !math.IsInf(f, 0) {
		return m.vm.ToValue(int64(math.Mod(f, 1<<32)))
	}
	return n
}

// numeric is a value that becomes a number, without objects. It ends the evaluation if goja would make another number of it than
// JavaScript does. An object without a value is left to the operator, to fail there.
func (m *machine) numeric(v goja.Value) goja.Value {
	if o, ok := v.(*goja.Object); ok {
		p, err := m.primitive(o)
		if err != nil {
			return v
		}
		v = p
	}
	if misread(v) {
		m.limited("a text that is nearly a number")
	}
	return v
}

// number is what a value becomes as a number. A BigInt stays one, and what has no number is left to the operator, to fail there.
func (m *machine) number(v goja.Value) goja.Value {
	n := m.numeric(v)
	switch n := n.(type) {
	case goja.String:
		return n.ToNumber()
	case *goja.Symbol, *goja.Object:
		return n
	}
	switch n.Export().(type) {
	case nil, bool:
		return n.ToNumber()
	}
	return n
}

// power is the operator **, for numbers. It ends the evaluation where V8 may round.
func (m *machine) power(a, b goja.Value) goja.Value {
	base, large := m.operand(a)
	exponent, largeToo := m.operand(b)
	if large != nil || largeToo != nil {
		panic(m.vm.NewTypeError("a power of BigInts"))
	}
	p, exact := power(base, exponent)
	if !exact {
		m.limited("a power that is not exact")
	}
	return m.vm.ToValue(p)
}

// times is the operator *.
func (m *machine) times(a, b goja.Value) goja.Value {
	x, large := m.operand(a)
	y, largeToo := m.operand(b)
	switch {
	case large != nil && largeToo != nil:
		return m.vm.ToValue(new(big.Int).Mul(large, largeToo))
	case large != nil || largeToo != nil:
		panic(m.vm.NewTypeError("a BigInt times a number"))
	}
	return m.vm.ToValue(x * y)
}

// add is what ++ and -- make of a value.
func (m *machine) add(v goja.Value, n int64) goja.Value {
	x, large := m.operand(v)
	if large != nil {
		return m.vm.ToValue(new(big.Int).Add(large, big.NewInt(n)))
	}
	return m.vm.ToValue(x + float64(n))
}

// operand is a value as a number, or the BigInt that it is.
func (m *machine) operand(v goja.Value) (float64, *big.Int) {
	n := m.number(v)
	if _, symbol := n.(*goja.Symbol); symbol {
		panic(m.vm.NewTypeError("a symbol is no number"))
	}
	if large, ok := n.Export().(*big.Int); ok {
		return 0, large
	}
	return n.ToFloat(), nil
}

// primitive is what an object is as a number or a text (ECMA-262, OrdinaryToPrimitive). Rules cannot give it functions for that.
func (m *machine) primitive(o *goja.Object) (goja.Value, error) {
	for _, name := range []string{"valueOf", "toString"} {
		f, ok := goja.AssertFunction(o.Get(name))
		if !ok {
			continue
		}
		v, err := f(o)
		if err != nil {
			return nil, err
		}
		if _, ok := v.(*goja.Object); !ok {
			return v, nil
		}
	}
	return nil, errNoValue
}

// errNoValue is that an object is neither a number nor a text.
var errNoValue = errors.New("an object without a value")

// equal is the operator == (ECMA-262, IsLooselyEqual).
func (m *machine) equal(a, b goja.Value) bool {
	if isNil(a) || isNil(b) {
		return isNil(a) && isNil(b)
	}
	x, isObject := a.(*goja.Object)
	y, isObjectToo := b.(*goja.Object)
	var err error
	switch {
	case isObject && isObjectToo:
		return a.StrictEquals(b)
	case isObject:
		a, err = m.primitive(x)
	case isObjectToo:
		b, err = m.primitive(y)
	}
	if errors.Is(err, errNoValue) {
		panic(m.vm.NewTypeError(err.Error()))
	} else if err != nil {
		panic(err)
	}
	_, isText := a.(goja.String)
	_, isTextToo := b.(goja.String)
	switch {
	case isText && isTextToo:
		return a.StrictEquals(b)
	case isText:
		m.numeric(a)
		a, b = b, a
	case isTextToo:
		m.numeric(b)
	}
	if yes, ok := a.Export().(bool); ok {
		a = numberValue(0)
		if yes {
			a = numberValue(1)
		}
	}
	return a.Equals(b)
}

func isNil(v goja.Value) bool { return goja.IsUndefined(v) || goja.IsNull(v) }

// textMethod is a method of texts that makes another one; those of goja lose halves of surrogate pairs.
func (m *machine) textMethod(of func(goja.String) goja.String) func(goja.FunctionCall) goja.Value {
	return func(call goja.FunctionCall) goja.Value {
		if goja.IsUndefined(call.This) || goja.IsNull(call.This) {
			panic(m.vm.NewTypeError("a method of nothing"))
		}
		return of(toText(call.This))
	}
}

// plainList reports whether a list becomes a text as lists do, unless a patch gave it another toString or join.
func (m *machine) plainList(o *goja.Object) bool {
	return o.ClassName() == "Array" && m.listText.SameAs(o.Get("toString")) && m.join.SameAs(o.Get("join"))
}

// writeList is Array.prototype.toString (ECMA-262), which here takes an effort in proportion to the text however deep the
// lists lie in one another: goja writes the innermost text as many times.
func (m *machine) writeList(text *goja.StringBuilder, o *goja.Object, depth int) {
	if depth > maxListDepth {
		m.limited("lists in lists")
	}
	for i := range int(o.Get("length").ToInteger()) {
		if i > 0 {
			m.spend(1)
			text.WriteRune(',')
		}
		v := o.Get(strconv.Itoa(i))
		if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
			continue
		}
		if below, ok := v.(*goja.Object); ok && m.plainList(below) {
			m.writeList(text, below, depth+1)
			continue
		}
		if _, symbol := v.(*goja.Symbol); symbol {
			panic(m.vm.NewTypeError("a symbol is no text"))
		}
		s := toText(v)
		m.spend(s.Length())
		text.WriteString(s)
	}
}

// spend takes units off what the texts of lists may have together in a run.
func (m *machine) spend(units int) {
	if m.run.text -= units; m.run.text < 0 {
		m.limited("the texts of lists")
	}
}

// freezeAll freezes the global object and everything that can be reached from there, from what iterators are made of, and
// from what it is given.
const freezeAll = `(function() {
	const seen = new Set(), todo = [globalThis, [][Symbol.iterator](), ''[Symbol.iterator](), /x/[Symbol.matchAll]('x'),
		new Map()[Symbol.iterator](), new Set()[Symbol.iterator](), function*(){}, async function(){}, (function*(){})(), ...arguments]
	while (todo.length) {
		const x = todo.pop()
		if (x === null || typeof x !== 'object' && typeof x !== 'function' || seen.has(x)) continue
		seen.add(x)
		todo.push(Object.getPrototypeOf(x))
		for (const key of Reflect.ownKeys(x)) {
			const d = Object.getOwnPropertyDescriptor(x, key)
			todo.push(d.value, d.get, d.set)
		}
	}
	for (const x of seen) Object.freeze(x)
})`

// begin has the rule that runs next interrupted after the limit. The alarm that did it for the rule before is not set again
// as long as it rings no later: setting it takes longer than most rules.
func (m *machine) begin(limit time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until = time.Now().Add(limit)
	if !m.armed || m.until.Before(m.rings) {
		m.armed, m.rings = true, m.until
		m.alarm.Reset(limit)
	}
}

// end is that the rule has ended. What interrupts comes no more.
func (m *machine) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until = time.Time{}
	if m.rang {
		m.rang = false
		m.vm.ClearInterrupt()
	}
}

// ring interrupts the rule in progress if its time is up. If it is not, that is another rule than the alarm was set for,
// and it is set again.
func (m *machine) ring() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.armed = false
	if m.until.IsZero() {
		return
	}
	if left := time.Until(m.until); left > 0 {
		m.armed, m.rings = true, m.until
		m.alarm.Reset(left)
		return
	}
	m.rang = true
	m.vm.Interrupt(errInterrupted)
}

// rule returns the function of a rule.
func (m *machine) rule(c *code) (goja.Callable, error) {
	if f, ok := m.rules[c]; ok {
		return f, nil
	}
	outer, err := m.vm.RunProgram(c.program)
	if err != nil {
		return nil, err
	}
	build, ok := goja.AssertFunction(outer)
	if !ok {
		return nil, errors.New("a rule is no function")
	}
	f, err := build(goja.Undefined(), m.given...)
	if err != nil {
		return nil, err
	}
	if o := f.ToObject(m.vm); o != nil {
		prototype := o.Get("prototype").ToObject(m.vm)
		for _, x := range []*goja.Object{prototype, o} {
			if err := m.freeze(x); err != nil {
				return nil, err
			}
		}
	}
	call, ok := goja.AssertFunction(f)
	if !ok {
		return nil, errors.New("a rule is no function")
	}
	m.rules[c] = call
	return call, nil
}

func (m *machine) freeze(o *goja.Object) error {
	f, ok := goja.AssertFunction(m.vm.Get("Object").ToObject(m.vm).Get("freeze"))
	if !ok {
		return errors.New("nothing can be frozen")
	}
	_, err := f(goja.Undefined(), o)
	return err
}

// call runs a form of a rule once.
func (m *machine) call(c *code, args []goja.Value) (result goja.Value, err error) {
	f, err := m.rule(c)
	if err != nil {
		return nil, err
	}
	this := goja.Undefined()
	if c.this {
		this = m.vm.NewObject()
	}
	return f(this, args...)
}

// limited ends the evaluation at a bound, whatever the rule would make of it.
func (m *machine) limited(what string) {
	m.run.fail(TimedOut, fmt.Errorf("%w: %s", errTooMuch, what))
	panic(m.vm.NewTypeError(what))
}

// match is String.prototype.match (ECMA-262), with regular expressions of package jsregexp.
func (m *machine) match(call goja.FunctionCall) goja.Value {
	if goja.IsUndefined(call.This) || goja.IsNull(call.This) {
		panic(m.vm.NewTypeError("match of nothing"))
	}
	arg := call.Argument(0)
	var source goja.String
	flags, from := "", 0
	o, isObject := arg.(*goja.Object)
	literal := isObject && o.ClassName() == "RegExp"
	switch {
	case literal:
		source = toText(o.Get("source"))
		flags = o.Get("flags").String()
		from = int(min(max(o.Get("lastIndex").ToInteger(), 0), 1<<30))
	case goja.IsUndefined(arg):
		source = goja.StringFromUTF16(nil)
	case isObject && o.GetSymbol(goja.SymMatch) != nil && !goja.IsUndefined(o.GetSymbol(goja.SymMatch)):
		panic(m.vm.NewTypeError("match by what is no function"))
	default:
		source = toText(arg)
	}
	subject := toText(call.This)
	re := m.regexp(source, flags, literal)
	text := units(subject)
	if re.Global {
		m.continueAt(o, 0)
		return m.matchAll(re, subject, text)
	}
	if !re.Sticky {
		from = 0
	}
	at := m.find(re, text, from)
	if re.Sticky {
		next := 0
		if at != nil {
			next = at[1]
		}
		m.continueAt(o, next)
	}
	if at == nil {
		return goja.Null()
	}
	if len(at)/2 > maxMatches {
		m.limited("too many groups")
	}
	groups := make([]any, len(at)/2)
	for i := range groups {
		groups[i] = goja.Undefined()
		if at[2*i] >= 0 {
			groups[i] = subject.Substring(at[2*i], at[2*i+1])
		}
	}
	result := m.vm.NewArray(groups...)
	var named goja.Value = goja.Undefined()
	if names := re.Names(); len(names) > 0 {
		object := m.vm.CreateObject(nil)
		for _, n := range names {
			define(object, n.Name, groups[n.Group].(goja.Value))
		}
		named = object
	}
	define(result, "index", m.vm.ToValue(at[0]))
	define(result, "input", subject)
	define(result, "groups", named)
	return result
}

// continueAt sets where the next match by a regular expression begins.
func (m *machine) continueAt(o *goja.Object, at int) {
	if err := o.Set("lastIndex", at); err != nil {
		panic(m.vm.NewTypeError("lastIndex cannot be set"))
	}
}

func (m *machine) matchAll(re *jsregexp.Regexp, subject goja.String, text []uint16) goja.Value {
	var found []any
	for from := 0; from <= len(text); {
		at := m.find(re, text, from)
		if at == nil {
			break
		}
		if len(found) == maxMatches {
			m.limited("too many matches")
		}
		found = append(found, subject.Substring(at[0], at[1]))
		if from = at[1]; at[0] == at[1] {
			from = re.After(text, from)
		}
	}
	if found == nil {
		return goja.Null()
	}
	return m.vm.NewArray(found...)
}

func (m *machine) find(re *jsregexp.Regexp, text []uint16, from int) []int {
	at, err := re.Match(text, from, &m.run.regexps)
	if err != nil {
		m.limited("a regular expression")
	}
	return at
}

// regexp returns the regular expression of a literal, or compiles one that the rule made up.
func (m *machine) regexp(source goja.String, flags string, literal bool) *jsregexp.Regexp {
	if literal {
		if re := m.run.rule.code.patterns[pattern{source.String(), flags}]; re != nil {
			return re
		}
	}
	if source.Length() > maxPattern {
		m.limited("a long pattern")
	}
	re, err := jsregexp.Compile(units(source), flags)
	if err != nil {
		panic(m.error("SyntaxError"))
	}
	if m.run.regexps.Steps -= stepsToCompile * re.Size(); m.run.regexps.Steps < 0 {
		m.limited("patterns")
	}
	return re
}

// error makes an error of one of JavaScript's classes.
func (m *machine) error(class string) goja.Value {
	v, err := m.vm.New(m.vm.Get(class))
	if err != nil {
		return m.vm.NewTypeError(class)
	}
	return v
}

// toText is JavaScript's ToString.
func toText(v goja.Value) goja.String {
	if o, ok := v.(*goja.Object); ok {
		v = o.ToString()
	}
	if s, ok := v.(goja.String); ok {
		return s
	}
	return goText8(v.String())
}

// units is a text in UTF-16.
func units(s goja.String) []uint16 {
	if text := s.String(); len(text) == s.Length() { // ASCII
		u := make([]uint16, len(text))
		for i := range len(text) {
			u[i] = uint16(text[i])
		}
		return u
	}
	u := make([]uint16, s.Length())
	for i := range u {
		u[i] = s.CharAt(i)
	}
	return u
}

// goText is a text in UTF-8, unless it holds half of a surrogate pair.
func goText(v goja.Value) (string, bool) {
	s, ok := v.(goja.String)
	if !ok {
		return "", false
	}
	text := s.String()
	if len(text) == s.Length() || !strings.ContainsRune(text, '\uFFFD') {
		return text, true
	}
	u := units(s)
	return text, slices.Equal(utf16.Encode(utf16.Decode(u)), u)
}

// pool is a fixed number of machines, made when they are first needed.
type pool struct {
	free chan *machine
}

func newPool(size int) *pool {
	p := &pool{free: make(chan *machine, size)}
	for range size {
		p.free <- nil
	}
	return p
}

// take waits for a machine, and gets it ready for the rules of a file.
func (p *pool) take(ctx context.Context, owner *Permissions) (*machine, error) {
	var m *machine
	select {
	case m = <-p.free:
	default:
		select {
		case m = <-p.free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if m == nil {
		var err error
		if m, err = newMachine(); err != nil {
			p.free <- nil
			return nil, err
		}
	}
	if m.owner != owner {
		clear(m.rules)
		m.owner = owner
	}
	return m, nil
}

// give returns a machine; nil stands for one that broke.
func (p *pool) give(m *machine) { p.free <- m }
