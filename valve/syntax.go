package valve

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"unicode/utf16"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/parser"
	"github.com/dop251/goja/token"
	"github.com/dop251/goja/unistring"

	"github.com/chansec/chansec/valve/internal/jsregexp"
)

// code is a rule's text, compiled.
type code struct {
	program  *goja.Program // makes a function that, given the guard, makes the rule
	head     int           // how long what stands in front of the text is
	uses     uses
	quick    *code   // the second form, or nil
	reads    []read  // of a second form, what it is called with beside the other arguments
	memory   float64 // bytes that one run takes at most
	this     bool    // it names this
	volatile bool    // its answer may change although neither the caller, the name nor the file does
	identity bool    // of the user it looks at the ID only
	patterns map[pattern]*jsregexp.Regexp
	simple   *condition // the same without JavaScript, or nil
	nothing  bool       // it answers nothing, since a line ends behind the word return
	dead     bool       // there is more text behind the expression
	unbound  []string   // variables that the path does not have
}

// pattern is a regular expression literal.
type pattern struct{ source, flags string }

// guardName is what a rule's code calls the function by that checks what is stored. No rule may name it.
const guardName = "__valve_stored"

// traceName is what traced code calls the function by that notes the values of expressions.
const traceName = "__valve_trace"

// spreadName is what a rule's code calls the function by that checks what is spread.
const spreadName = "__valve_spread"

// bitsName is what a rule's code calls the function by that what operators on bits take goes through.
const bitsName = "__valve_bits"

// equalName and unequalName are what a rule's code calls the functions by that == and != are.
const (
	equalName   = "__valve_equal"
	unequalName = "__valve_unequal"
)

// numberName is what a rule's code calls the function by that checks what becomes a number, and positionName the one that makes
// a number of where to begin to search.
const (
	numberName   = "__valve_number"
	positionName = "__valve_position"
)

// powerName is what a rule's code calls the function by that ** is.
const powerName = "__valve_power"

// timesName is what a rule's code calls the function by that * is.
const timesName = "__valve_times"

// nextName and previousName are what a rule's code calls the functions by that add 1 and take it away.
const (
	nextName     = "__valve_next"
	previousName = "__valve_previous"
)

// firstName is what a rule's code calls the function by that returns its first argument, after the others were computed.
const firstName = "__valve_first"

// keyName is what a rule's code calls the function by that checks the computed keys of objects.
const keyName = "__valve_key"

// reservedPrefix is what all of these begin with.
const reservedPrefix = "__valve_"

// given are the functions that a rule's code is given.
var given = []string{guardName, traceName, spreadName, bitsName, equalName, unequalName, numberName, positionName, keyName, powerName, timesName, nextName, previousName, firstName}

// parameters are what every rule is called with, before the variables of its path.
var parameters = []string{"_", "user", "data", "oldData", "now", "action", "name"}

func parse(source string) (*ast.Program, error) {
	return parser.ParseFile(nil, "", source, 0, parser.WithDisableSourceMaps)
}

// parses checks that the text is the body of a function.
func (r *rule) parses() *LoadError {
	const head = "(function(){"
	p, err := parse(head + r.text + "\n})")
	if err == nil {
		f := onlyFunction(p)
		switch {
		case f == nil:
			err = errors.New("the text closes a brace that it did not open")
		case ambiguous(f.Body.List):
			return &LoadError{Code: Unsafe, Problem: "the text begins like a statement", Want: "an expression in parentheses"}
		default:
			return nil
		}
	}
	e := &LoadError{Code: SyntaxError, Problem: "the text is no JavaScript: " + err.Error(), Want: "one expression"}
	var list parser.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		e.Problem = "the text is no JavaScript: " + list[0].Message
		before := strings.SplitAfter(r.text, "\n")
		at := list[0].Position
		for i := range min(at.Line-1, len(before)) {
			e.Column += len(utf16.Encode([]rune(before[i])))
		}
		if e.Column += at.Column; at.Line == 1 {
			e.Column -= len(head)
		}
		e.Column = max(e.Column, 1)
	}
	return e
}

// ambiguous reports whether a text is something else where it stands behind the word return: of what follows a block or a class,
// a slash begins a regular expression here and a division there, and deepstream wants both to be JavaScript.
func ambiguous(body []ast.Statement) bool {
	if len(body) < 2 {
		return false
	}
	switch body[0].(type) {
	case *ast.ExpressionStatement, *ast.EmptyStatement:
		return false
	}
	return true
}

// onlyFunction returns the function that a program consists of.
func onlyFunction(p *ast.Program) *ast.FunctionLiteral {
	if len(p.Body) != 1 {
		return nil
	}
	s, ok := p.Body[0].(*ast.ExpressionStatement)
	if !ok {
		return nil
	}
	f, _ := s.Expression.(*ast.FunctionLiteral)
	return f
}

// compile turns the text into code, if it is safe.
func (r *rule) compile(o *options) *LoadError {
	if r.constant {
		return nil
	}
	c, plain, e := r.translate(o, nil, 0)
	if r.code = c; e == nil && plain > 0 {
		c.quick, _, e = r.translate(o, nil, plain)
	}
	return e
}

// translate makes code of the text. Traced code notes the values of its expressions in spans. With room for reads it is the
// second form; otherwise translate says how many reads that has at most.
func (r *rule) translate(o *options, t *tracer, reads int) (*code, int, *LoadError) {
	head := r.head(reads)
	p, err := parse(head + r.text + ";\n})})")
	var body []ast.Statement
	if err == nil {
		if outer := onlyFunction(p); outer != nil && len(outer.Body.List) == 1 {
			if ret, ok := outer.Body.List[0].(*ast.ReturnStatement); ok {
				if inner, ok := ret.Argument.(*ast.FunctionLiteral); ok {
					body = inner.Body.List
				}
			}
		}
		if len(body) == 0 {
			err = errors.New("the text closes a brace that it did not open")
		}
	}
	notCompiled := &LoadError{Code: CompileError, Problem: "the text is no expression", Want: "what can stand behind the word return"}
	if err != nil {
		return nil, 0, notCompiled
	}
	code := &code{head: len(head), patterns: map[pattern]*jsregexp.Regexp{}}
	code.simple = r.simple(body)
	c := &checker{code: code, variables: r.path.names, leaf: float64(o.maxInput), bigints: usesBigInt.MatchString(r.text), quick: reads > 0}
	c.statements(body)
	code.uses.done()
	code.volatile, code.identity = code.uses.volatile(), !code.this && code.uses.identity()
	code.separate()
	if c.foreign != nil && c.reads > 0 {
		c.refuse(c.foreign, "an assignment to what is frozen or not declared", "one to a property of user, data, oldData or a record, or to a variable of the path")
	}
	if code.memory = c.memory(o); c.failed == nil && code.memory > float64(o.maxMemory) {
		c.failed = &unsafeError{problem: "the rule can build values that are too large", want: "fewer concatenations, copies and assignments"}
	}
	if f := c.failed; f != nil {
		e := &LoadError{Code: Unsafe, Problem: f.problem, Want: f.want}
		if f.code != "" {
			e.Code = f.code
		}
		if at := int(f.at) - 1 - len(head); at >= 0 && at < len(r.text) {
			e.Column = 1 + len(utf16.Encode([]rune(r.text[:at])))
		}
		return nil, 0, e
	}
	if ret, ok := body[0].(*ast.ReturnStatement); ok && t != nil && ret.Argument != nil {
		t.head = len(head)
		t.expression(&ret.Argument)
	}
	code.program, err = goja.CompileAST(p, false)
	if err != nil {
		return nil, 0, notCompiled
	}
	if c.writes || code.uses.arguments || c.plain > maxReads {
		c.plain = 0
	}
	return code, c.plain, nil
}

// maxReads bounds how many reads a second form is made for.
const maxReads = 100

// head is what stands in front of the text in the code, with parameters for reads.
func (r *rule) head(reads int) string {
	params := slices.Concat(parameters, r.path.names)
	for i := range reads {
		params = append(params, readName(i))
	}
	return "(function(" + strings.Join(given, ",") + "){return (function(" + strings.Join(params, ",") + "){return "
}

// unsafeError is why a rule is refused although it is JavaScript.
type unsafeError struct {
	code          Code
	at            file.Idx
	problem, want string
}

// What a run takes beside the values that the rule builds, in bytes.
const (
	inputBytes   = 64      // for each byte that may be read: what is read, as values, and the texts of lists
	matchBytes   = 5 << 20 // for all regular expressions: 4 for a step at most, and what there is to go back to
	patternBytes = 7 << 19 // for patterns that are no literals: one that is too large, and the others by their steps
	textFactor   = 2       // units of the texts of all lists, for each byte that may be read
)

// memory is what a run takes at most.
func (c *checker) memory(o *options) float64 {
	size := c.total*unitBytes + inputBytes*float64(o.maxInput)
	if c.matches {
		size += matchBytes
	}
	if c.patterns {
		size += patternBytes
	}
	return size
}

// Sizes of values, in UTF-16 units or elements.
const (
	unitBytes   = 2
	nameUnits   = maxNameBytes
	scalar      = 32  // a number or a boolean, or what a list or an object is beside its members
	textUnits   = 8   // what a text is beside its units
	elementOf   = 32  // an element of a list, as many units
	matchUnits  = 128 // a match in the list of all
	spreadUnits = 26  // an element that is spread, for each unit of it
	letterUnits = 320 // a letter of a text that is spread
)

// checker walks the syntax tree of a rule. It refuses what could run or grow without bound, so that a rule that passes
// takes an effort that can be said beforehand: there are no loops and no functions, and what is built is at most as large
// as the sum of what is read. It changes the tree where a function could be stored: what is stored goes through the guard,
// so that no rule calls a function under another name.
type checker struct {
	code      *code
	variables []string // of the path
	bigints   bool
	leaf      float64  // the largest value that can be read
	total     float64  // all values that are built
	foreign   ast.Node // an assignment that may reach what is frozen, where it does nothing
	reads     int      // of what such an assignment could have changed
	writes    bool     // there are assignments
	plain     int      // reads that could be parameters
	matches   bool     // there are regular expressions
	patterns  bool     // some of them are no literals
	quick     bool     // they are: this is the second form
	failed    *unsafeError
}

func (c *checker) refuse(n ast.Node, problem, want string) {
	if c.failed == nil {
		c.failed = &unsafeError{at: n.Idx0(), problem: problem, want: want}
	}
}

// statements checks a body. Only its first statement, which is "return", is ever run; the others only declare names.
func (c *checker) statements(list []ast.Statement) {
	for i, s := range list {
		_, empty := s.(*ast.EmptyStatement)
		c.code.dead = c.code.dead || i > 0 && !empty
		switch s := s.(type) {
		case *ast.ReturnStatement:
			if c.code.nothing = s.Argument == nil; !c.code.nothing {
				c.expression(&s.Argument)
			}
		case *ast.ExpressionStatement:
			c.expression(&s.Expression)
		case *ast.EmptyStatement:
		default:
			c.refuse(s, "a statement in a rule", "one expression")
		}
	}
}

// build adds up what is built.
func (c *checker) build(size float64) float64 {
	c.total += size
	return size
}

// stored makes an expression, the value of which is stored, go through the guard.
func (c *checker) stored(e *ast.Expression) {
	switch (*e).(type) {
	case *ast.BooleanLiteral, *ast.NullLiteral, *ast.NumberLiteral, *ast.StringLiteral, *ast.TemplateLiteral, *ast.ArrayLiteral,
		*ast.ObjectLiteral, *ast.RegExpLiteral:
		return
	}
	*e = called(guardName, *e)
}

// called is a call of one of the functions that a rule's code is given.
func called(name unistring.String, arguments ...ast.Expression) ast.Expression {
	at, end := arguments[0].Idx0(), arguments[len(arguments)-1].Idx1()-1
	return &ast.CallExpression{Callee: &ast.Identifier{Name: name, Idx: at}, LeftParenthesis: at, ArgumentList: arguments, RightParenthesis: end}
}

// number makes what becomes a number go through the function that checks it, unless it is no text for sure.
func (c *checker) number(e *ast.Expression) {
	switch n := (*e).(type) {
	case *ast.NumberLiteral, *ast.BooleanLiteral, *ast.NullLiteral:
		return
	case *ast.BinaryExpression:
		if n.Operator != token.PLUS && n.Operator != token.LOGICAL_AND && n.Operator != token.LOGICAL_OR && n.Operator != token.COALESCE {
			return
		}
	case *ast.UnaryExpression:
		if n.Operator != token.TYPEOF {
			return
		}
	case *ast.Identifier:
		if i := slices.IndexFunc(c.code.reads, func(r read) bool { return n.Name.String() == r.name }); c.quick && i >= 0 {
			c.code.reads[i].number = true
			return
		}
	}
	*e = called(numberName, *e)
}

// bits makes an operand of an operator on bits go through the function for that.
func (c *checker) bits(e *ast.Expression) {
	if n, ok := (*e).(*ast.NumberLiteral); ok {
		if _, small := n.Value.(int64); small {
			return
		}
	}
	*e = called(bitsName, *e)
}

func (c *checker) expressions(list []ast.Expression) (size float64) {
	for i := range list {
		if list[i] != nil {
			size += c.expression(&list[i])
		}
		size++
	}
	return size
}

// expression checks an expression, and returns how large its value can be.
func (c *checker) expression(e *ast.Expression) float64 {
	if c.failed != nil {
		return 0
	}
	switch n := (*e).(type) {
	case *ast.BooleanLiteral, *ast.NullLiteral:
		return scalar
	case *ast.ThisExpression:
		c.reads++
		c.code.this = true
		return scalar
	case *ast.NumberLiteral:
		if b, ok := n.Value.(*big.Int); ok {
			return float64(b.BitLen())/3 + scalar
		}
		return scalar
	case *ast.StringLiteral:
		return float64(len(n.Value))
	case *ast.RegExpLiteral:
		if slashInClass(n.Pattern) { // of which goja makes another text
			c.refuse(n, "a regular expression with / in a class that is not the argument of match", `\/`)
			return 0
		}
		return c.regexp(n)
	case *ast.Identifier:
		c.reads++
		return c.identifier(n)
	case *ast.TemplateLiteral:
		if n.Tag != nil {
			c.refuse(n, "a tagged template", "a template without a tag")
			return 0
		}
		size := c.expressions(n.Expressions)
		for _, t := range n.Elements {
			size += float64(len(t.Literal))
		}
		return c.build(size)
	case *ast.ArrayLiteral:
		size := c.expressions(n.Value)
		return c.build(size + float64(elementOf*len(n.Value)))
	case *ast.SpreadElement:
		return c.spread(n)
	case *ast.ObjectLiteral:
		return c.object(n)
	case *ast.UnaryExpression:
		return c.unary(e, n)
	case *ast.BinaryExpression:
		return c.binary(e, n)
	case *ast.ConditionalExpression:
		c.test(&n.Test)
		return max(c.expression(&n.Consequent), c.expression(&n.Alternate))
	case *ast.SequenceExpression:
		size := 0.0
		for i := range n.Sequence {
			size = c.expression(&n.Sequence[i])
		}
		return size
	case *ast.DotExpression:
		c.reads++
		if c.shortcut(e, false) {
			return c.leaf
		}
		if r := c.code.uses.chain(n); r != nil {
			r.whole = true
			return c.leaf
		}
		size := c.expression(&n.Left)
		if n.Identifier.Name == "length" { // no element, and what else has that name was read
			return c.leaf
		}
		return max(c.leaf, size)
	case *ast.BracketExpression:
		c.reads++
		if c.shortcut(e, false) {
			return c.leaf
		}
		if r := c.code.uses.chain(n); r != nil {
			r.whole = true
			return c.leaf
		}
		size := c.expression(&n.Left)
		c.build(c.expression(&n.Member))
		return max(c.leaf, size)
	case *ast.Optional:
		return c.expression(&n.Expression)
	case *ast.OptionalChain:
		return c.expression(&n.Expression)
	case *ast.CallExpression:
		return c.call(n)
	case *ast.AssignExpression:
		return c.assign(n)
	case *ast.ClassLiteral:
		if n.SuperClass != nil || len(n.Body) > 0 {
			c.refuse(n, "a class", "an empty one at most")
		}
		return float64(len(n.Source))
	}
	c.refuse(*e, "an expression that rules may not have", "values, operators and calls of "+wantFunctions)
	return 0
}

func (c *checker) identifier(n *ast.Identifier) float64 {
	name := n.Name.String()
	c.code.uses.note(name)
	switch {
	case strings.HasPrefix(name, reservedPrefix):
		c.refuse(n, "a reserved name", "another")
	case name == "name", slices.Contains(c.variables, name):
		return max(nameUnits, c.leaf) // it may have been assigned to
	case name[0] == '$':
		c.code.unbound = append(c.code.unbound, name)
	}
	return c.leaf
}

// spread makes what is spread go through a function that refuses long texts: each letter becomes a value.
func (c *checker) spread(n *ast.SpreadElement) float64 {
	size := c.expression(&n.Expression)
	n.Expression = called(spreadName, n.Expression)
	c.build(letterUnits * min(size, maxMatches))
	return spreadUnits * size
}

func (c *checker) regexp(n *ast.RegExpLiteral) float64 {
	var re *jsregexp.Regexp
	err := errors.New("it has no end")
	// Else the parser gave up in the middle, or went over the end of a line, or took what follows a comment for flags.
	if n.Pattern != "" && !strings.ContainsAny(n.Pattern, "\n\r\u2028\u2029") && strings.HasPrefix(n.Literal, "/"+n.Pattern+"/"+n.Flags) {
		re, err = jsregexp.Compile(utf16.Encode([]rune(n.Pattern)), n.Flags)
	}
	if err != nil {
		c.refuse(n, "the regular expression is not valid: "+err.Error(), "one that is")
		if c.failed.code == "" {
			c.failed.code = SyntaxError
		}
		return 0
	}
	c.code.patterns[pattern{n.Pattern, n.Flags}] = re
	return float64(len(n.Literal))
}

// slashInClass reports whether a pattern has a slash without a backslash, which only a class can have.
func slashInClass(pattern string) bool {
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '/':
			return true
		}
	}
	return false
}

func (c *checker) object(n *ast.ObjectLiteral) float64 {
	size := 0.0
	for _, p := range n.Value {
		size += elementOf
		switch p := p.(type) {
		case *ast.SpreadElement:
			size += c.spread(p)
		case *ast.PropertyShort:
			if functionName(p.Name.Name.String()) || p.Initializer != nil {
				c.refuse(n, "a function as a property", "values")
			}
			size += c.identifier(&p.Name)
		case *ast.PropertyKeyed:
			if p.Kind != ast.PropertyKindValue {
				c.refuse(n, "a function as a property", "values")
				return 0
			}
			if p.Computed {
				c.build(c.expression(&p.Key))
				p.Key = called(keyName, p.Key)
			} else if key, ok := p.Key.(*ast.StringLiteral); ok && key.Value == "__proto__" {
				switch p.Value.(type) {
				case *ast.ObjectLiteral, *ast.NullLiteral:
				default:
					c.refuse(n, "another prototype", "an object literal or null as __proto__")
				}
			}
			size += c.expression(&p.Value)
			c.stored(&p.Value)
		}
	}
	return c.build(size)
}

func (c *checker) unary(e *ast.Expression, n *ast.UnaryExpression) float64 {
	if n.Operator == token.INCREMENT || n.Operator == token.DECREMENT {
		return c.step(e, n)
	}
	if n.Operator == token.DELETE {
		reads := c.reads
		c.expression(&n.Operand)
		c.reads = reads
		c.written(n.Operand)
		return scalar
	}
	if n.Operator == token.NOT {
		c.test(&n.Operand)
		return scalar
	}
	size := c.expression(&n.Operand)
	switch n.Operator {
	case token.BITWISE_NOT:
		c.bits(&n.Operand)
	case token.PLUS, token.MINUS:
		c.number(&n.Operand)
	}
	if n.Operator == token.PLUS || n.Operator == token.MINUS || n.Operator == token.BITWISE_NOT {
		c.build(size) // what an object is as a text, for a moment
		if c.bigints {
			return size
		}
	}
	return scalar
}

var relational = []token.Token{token.LESS, token.GREATER, token.LESS_OR_EQUAL, token.GREATER_OR_EQUAL, token.INSTANCEOF, token.IN}

func (c *checker) binary(e *ast.Expression, n *ast.BinaryExpression) float64 {
	if right, ok := n.Right.(*ast.BinaryExpression); ok && slices.Contains(relational, n.Operator) && slices.Contains(relational, right.Operator) {
		c.refuse(n, "a chain of comparisons", "comparisons joined by &&")
		return 0
	}
	switch n.Operator {
	case token.LOGICAL_AND: // what the left side is becomes the value only if it is no object
		return max(c.test(&n.Left), c.expression(&n.Right))
	case token.STRICT_EQUAL, token.STRICT_NOT_EQUAL, token.EQUAL, token.NOT_EQUAL:
		if isNothing(n.Right) {
			c.test(&n.Left)
			return scalar
		}
	}
	if n.Operator == token.EQUAL || n.Operator == token.NOT_EQUAL {
		return c.loose(e, n)
	}
	if n.Operator == token.COALESCE && (isAnd(n.Left) || isAnd(n.Right)) {
		c.refuse(n, "?? beside &&", "?. or ?: in the place of one of them") // goja takes it without parentheses, where JavaScript does not
		return 0
	}
	left, right := c.expression(&n.Left), c.expression(&n.Right)
	switch {
	case n.Operator == token.EXPONENT && !isBigInt(n.Right): // goja rounds some otherwise than V8
		c.build(left + right)
		*e = called(powerName, n.Left, n.Right)
		return scalar
	case n.Operator == token.MULTIPLY && !isPositive(n.Left) && !isPositive(n.Right): // of goja -5 * 0 is 0
		*e = called(timesName, n.Left, n.Right)
		if size := c.build(left + right); c.bigints {
			return size
		}
		return scalar
	}
	switch n.Operator {
	case token.LOGICAL_OR, token.COALESCE:
		return max(left, right)
	case token.AND, token.OR, token.EXCLUSIVE_OR, token.SHIFT_LEFT, token.SHIFT_RIGHT, token.UNSIGNED_SHIFT_RIGHT:
		c.bits(&n.Left)
		c.bits(&n.Right)
	case token.MINUS, token.MULTIPLY, token.SLASH, token.REMAINDER, token.EXPONENT, token.LESS, token.GREATER, token.LESS_OR_EQUAL, token.GREATER_OR_EQUAL:
		c.number(&n.Left)
		c.number(&n.Right)
	}
	switch n.Operator {
	case token.STRICT_EQUAL, token.STRICT_NOT_EQUAL:
		return scalar
	case token.PLUS:
		return c.build(left + right)
	}
	c.build(left + right)
	if c.bigints {
		switch n.Operator {
		case token.EXPONENT, token.SHIFT_LEFT, token.SHIFT_RIGHT:
			exponent := 0.0
			if l, ok := n.Right.(*ast.NumberLiteral); ok {
				exponent = magnitude(l.Value)
			}
			if exponent <= 0 || exponent > 1000 {
				c.refuse(n, "a power beside BigInts", "an exponent of 1 to 1000 that is a literal")
				return 0
			}
			if n.Operator == token.EXPONENT {
				return c.build(left * exponent)
			}
			return c.build(left + exponent)
		}
		return c.build(left + right)
	}
	return scalar
}

// loose makes == and != exact. Where a text is on the left of a number or a boolean, goja is wrong about many ("5.0" == 5); so a
// literal goes to the left, and where there is none a function decides. Texts that are no numbers are equal to texts only.
func (c *checker) loose(e *ast.Expression, n *ast.BinaryExpression) float64 {
	c.build(c.expression(&n.Left) + c.expression(&n.Right))
	switch {
	case noNumber(n.Left), noNumber(n.Right):
	case numeric(&n.Left):
		c.number(&n.Right)
	case numeric(&n.Right):
		n.Left, n.Right = n.Right, n.Left
		c.number(&n.Right)
	default:
		name := unistring.String(equalName)
		if n.Operator == token.NOT_EQUAL {
			name = unequalName
		}
		*e = called(name, n.Left, n.Right)
	}
	return scalar
}

// noNumber reports whether an expression is a text that is no number.
func noNumber(e ast.Expression) bool {
	s, ok := e.(*ast.StringLiteral)
	if !ok {
		return false
	}
	f := toNumber(s.Value.String())
	return f != f && !misread(goText8(s.Value.String()))
}

// numeric reports whether an expression is a number or a boolean, which becomes one.
func numeric(e *ast.Expression) bool {
	switch n := (*e).(type) {
	case *ast.NumberLiteral:
		return true
	case *ast.BooleanLiteral:
		one := &ast.NumberLiteral{Idx: n.Idx, Literal: "0", Value: int64(0)}
		if n.Value {
			one.Literal, one.Value = "1", int64(1)
		}
		*e = one
		return true
	}
	return false
}

// isPositive reports whether an expression is a number above 0 that is written out.
func isPositive(e ast.Expression) bool {
	n, ok := e.(*ast.NumberLiteral)
	return ok && !isBigInt(n) && magnitude(n.Value) > 0
}

func isBigInt(e ast.Expression) bool {
	n, ok := e.(*ast.NumberLiteral)
	if ok {
		_, ok = n.Value.(*big.Int)
	}
	return ok
}

func isAnd(e ast.Expression) bool {
	n, ok := e.(*ast.BinaryExpression)
	return ok && n.Operator == token.LOGICAL_AND
}

// isNothing reports whether an expression is null or undefined, to which no object is equal.
func isNothing(e ast.Expression) bool {
	switch n := e.(type) {
	case *ast.NullLiteral:
		return true
	case *ast.Identifier:
		return n.Name == "undefined"
	}
	return false
}

// test checks an expression of which it only matters whether it is there.
func (c *checker) test(e *ast.Expression) float64 {
	if c.shortcut(e, true) {
		c.reads++
		return c.leaf
	}
	if r := c.code.uses.chain(*e); r != nil {
		c.reads++
		r.touched = true
		return c.leaf
	}
	return c.expression(e)
}

// magnitude is the value of a number literal.
func magnitude(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f
	}
	return 0
}

// functionName reports whether JavaScript calls something of that name, or a rule may.
func functionName(name string) bool {
	switch name {
	case "toString", "valueOf", "toJSON", "next", "return", "throw", "then", "exec", "constructor", "join", "get", "set":
		return true
	}
	return slices.Contains(functions, name)
}

func (c *checker) call(n *ast.CallExpression) float64 {
	callee := n.Callee
	if o, ok := callee.(*ast.Optional); ok {
		callee = o.Expression
	}
	size, name := 0.0, ""
	switch f := callee.(type) {
	case *ast.Identifier:
		name = f.Name.String()
		if name != "_" {
			c.refuse(n, "a call of "+quote(name), wantFunctions)
			return 0
		}
		c.identifier(f)
	case *ast.DotExpression:
		name = f.Identifier.Name.String()
		size = c.expression(&f.Left)
	default:
		c.refuse(n, "a call of what is computed", "calls of "+wantFunctions+" by name")
		return 0
	}
	if !slices.Contains(functions, name) {
		c.refuse(n, "a call of "+quote(name), wantFunctions)
		return 0
	}
	for i := range n.ArgumentList {
		if s, ok := n.ArgumentList[i].(*ast.SpreadElement); ok {
			c.refuse(s, "arguments that are spread", "them one by one")
			return 0
		}
	}
	var arguments float64
	literal := false
	if name == "match" && len(n.ArgumentList) > 0 {
		var re *ast.RegExpLiteral
		if re, literal = n.ArgumentList[0].(*ast.RegExpLiteral); literal {
			arguments = c.regexp(re) + c.expressions(n.ArgumentList[1:])
		}
	}
	if !literal {
		arguments = c.expressions(n.ArgumentList)
	}
	switch name {
	case "trim", "toLowerCase", "toUpperCase":
		return c.build(3 * size) // "ΐ" has three letters in upper case
	case "match":
		c.matches = true
		c.patterns = c.patterns || len(n.ArgumentList) > 0 && !literal
		c.build(size + arguments)
		return c.build(min(matchUnits*size, matchUnits*maxMatches))
	case "_":
		return c.leaf
	}
	if len(n.ArgumentList) > 1 {
		n.ArgumentList[1] = called(positionName, n.ArgumentList[1])
	}
	c.build(arguments) // that become texts; what is searched stays as it is
	return scalar
}

// step makes ++ and -- an assignment of the sum, since what is there may be a text that goja makes another number of.
func (c *checker) step(e *ast.Expression, n *ast.UnaryExpression) float64 {
	c.target(n.Operand)
	there := c.again(n.Operand)
	if there == nil {
		return 0
	}
	size := c.build(c.expression(&there))
	name := unistring.String(nextName)
	if n.Operator == token.DECREMENT {
		name = previousName
	}
	var set ast.Expression = &ast.AssignExpression{Operator: token.ASSIGN, Left: n.Operand, Right: called(name, there)}
	if n.Postfix {
		set = called(firstName, called(positionName, c.again(n.Operand)), set)
	}
	*e = set
	if c.bigints {
		c.leaf = max(c.leaf, size)
		return size
	}
	return scalar
}

// again is a second expression for what is assigned to, which may be looked at twice, since a name does nothing. It is nil, and
// the rule is refused, where something else stands before a dot.
func (c *checker) again(e ast.Expression) ast.Expression {
	switch t := e.(type) {
	case *ast.Identifier:
		return new(*t)
	case *ast.ThisExpression:
		return new(*t)
	case *ast.DotExpression:
		if left := c.again(t.Left); left != nil {
			return &ast.DotExpression{Left: left, Identifier: t.Identifier}
		}
		return nil
	case *ast.BracketExpression:
		switch key := t.Member.(type) {
		case *ast.StringLiteral, *ast.NumberLiteral:
			if left := c.again(t.Left); left != nil {
				return &ast.BracketExpression{Left: left, Member: key, LeftBracket: t.LeftBracket, RightBracket: t.RightBracket}
			}
			return nil
		}
	}
	c.refuse(e, "an operator that changes a property of what is computed", "the operator, and then an assignment with =")
	return nil
}

func (c *checker) assign(n *ast.AssignExpression) float64 {
	switch n.Left.(type) {
	case *ast.ArrayPattern, *ast.ObjectPattern:
		size := c.expression(&n.Right)
		c.pattern(n.Left)
		c.leaf = max(c.leaf, elementOf*size)
		return size
	}
	c.target(n.Left)
	switch n.Operator {
	case token.ASSIGN, token.LOGICAL_AND, token.LOGICAL_OR, token.COALESCE, token.PLUS:
	default: // the operator by itself, since what is there may be a text that goja makes another number of
		there := c.again(n.Left)
		if there == nil {
			return 0
		}
		n.Operator, n.Right = token.ASSIGN, &ast.BinaryExpression{Operator: n.Operator, Left: there, Right: n.Right}
	}
	size := c.expression(&n.Right)
	switch n.Operator {
	case token.ASSIGN:
		c.stored(&n.Right)
	case token.LOGICAL_AND, token.LOGICAL_OR, token.COALESCE:
		size = max(size, c.leaf)
		c.stored(&n.Right)
	case token.PLUS:
		size = c.build(size + c.leaf)
	}
	c.leaf = max(c.leaf, size)
	return size
}

// target checks what is assigned to: neither what a rule may call nor the length or the elements of a list.
func (c *checker) target(e ast.Expression) {
	reads := c.reads
	defer func() { c.reads = reads }()
	c.written(e)
	const want = "a variable or a property with a name of its own"
	switch t := e.(type) {
	case *ast.Identifier:
		c.identifier(t)
		return
	case *ast.DotExpression:
		c.member(e, t.Identifier.Name.String())
		c.expression(&t.Left)
		return
	case *ast.BracketExpression:
		if key, ok := t.Member.(*ast.StringLiteral); ok {
			c.member(e, key.Value.String())
			c.expression(&t.Left)
			return
		}
	}
	c.refuse(e, "an assignment to what is computed", want)
}

// written notes an assignment to, or the deletion of, what does not surely belong to this evaluation. What is frozen, and the
// global object, stay as they are without an error. So that no rule is answered by what it did not change, such an assignment
// must be all that the rule does.
func (c *checker) written(e ast.Expression) {
	c.writes = true
	if !c.own(e, true) && c.foreign == nil {
		c.foreign = e
	}
}

// own reports whether an assignment changes a variable, or an object that was made for this evaluation. target is that it is
// what is assigned to, and not what that belongs to.
func (c *checker) own(e ast.Expression, target bool) bool {
	switch t := e.(type) {
	case *ast.Identifier:
		name := t.Name.String()
		return name != "_" && (slices.Contains(parameters, name) || slices.Contains(c.variables, name))
	case *ast.ThisExpression:
		return !target
	case *ast.CallExpression:
		f, ok := t.Callee.(*ast.Identifier)
		return !target && ok && f.Name == "_"
	case *ast.DotExpression:
		return !builtin()[t.Identifier.Name.String()] && c.own(t.Left, false)
	case *ast.BracketExpression:
		switch key := t.Member.(type) {
		case *ast.StringLiteral:
			return !builtin()[key.Value.String()] && c.own(t.Left, false)
		case *ast.NumberLiteral:
			return c.own(t.Left, false)
		}
	}
	return false
}

// builtin is the names of what values have without having it themselves.
var builtin = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	vm := goja.New()
	for _, class := range []string{"Object", "Array", "String", "Number", "Boolean", "BigInt", "Symbol", "RegExp"} {
		for _, name := range vm.Get(class).ToObject(vm).Get("prototype").ToObject(vm).GetOwnPropertyNames() {
			names[name] = true
		}
	}
	return names
})

func (c *checker) member(n ast.Node, name string) {
	if _, index := arrayIndex(name); index || name == "length" || name == "lastIndex" || name == "__proto__" {
		c.refuse(n, fmt.Sprintf("an assignment to the property %s", quote(name)), "another property")
	}
}

// pattern checks what a destructuring assigns to. What it stores does not pass the guard, so nothing that could be called
// may be among it.
func (c *checker) pattern(e ast.Expression) {
	switch t := e.(type) {
	case nil:
	case *ast.Identifier:
		if functionName(t.Name.String()) {
			c.refuse(t, "an assignment to a function", "a variable")
		}
		c.written(t)
		c.identifier(t)
	case *ast.DotExpression:
		if functionName(t.Identifier.Name.String()) {
			c.refuse(t, "an assignment to a function", "a property with a name of its own")
		}
		c.patternTarget(t, t.Left)
	case *ast.BracketExpression:
		if key, ok := t.Member.(*ast.StringLiteral); ok && functionName(key.Value.String()) {
			c.refuse(t, "an assignment to a function", "a property with a name of its own")
		}
		c.patternTarget(t, t.Left)
	case *ast.ArrayPattern:
		for _, element := range t.Elements {
			if element != nil {
				c.pattern(element)
			}
		}
		if t.Rest != nil {
			c.refuse(t, "the rest of a pattern", "names")
		}
	case *ast.ObjectPattern:
		for _, p := range t.Properties {
			switch p := p.(type) {
			case *ast.PropertyShort:
				c.pattern(&p.Name)
				if p.Initializer != nil {
					c.expression(&p.Initializer)
				}
			case *ast.PropertyKeyed:
				if p.Computed {
					c.build(c.expression(&p.Key))
				}
				c.pattern(p.Value)
			default:
				c.refuse(t, "a pattern that rules may not have", "names")
			}
		}
		if t.Rest != nil {
			c.refuse(t, "the rest of a pattern", "names")
		}
	case *ast.AssignExpression: // a default
		c.pattern(t.Left)
		c.leaf = max(c.leaf, c.expression(&t.Right))
	default:
		c.refuse(e, "a pattern that rules may not have", "names")
	}
}

// patternTarget checks a property that a pattern assigns to. goja and V8 look for what has the property at different times, which
// nobody can tell unless it is looked up by a call.
func (c *checker) patternTarget(e, of ast.Expression) {
	for {
		switch t := of.(type) {
		case *ast.DotExpression:
			of = t.Left
			continue
		case *ast.BracketExpression:
			of = t.Left
			continue
		case *ast.Identifier, *ast.ThisExpression:
		default:
			c.refuse(e, "a pattern that assigns to what is computed", "a property of a variable")
		}
		break
	}
	c.target(e)
}
