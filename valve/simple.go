package valve

import (
	"slices"
	"strings"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/token"
)

// condition is a rule, or a part of one, that needs no JavaScript: texts compared with one another, joined by and, or and
// not. Its value is a boolean in JavaScript, too.
type condition struct {
	kind        conditionKind
	yes         bool // of a constant; of a comparison whether it is for equality
	left, right *condition
	a, b        operand
}

type conditionKind uint8

const (
	isConstant conditionKind = iota
	isEqual
	isAuthenticated
	isNot
	isBoth
	isEither
)

// operand is a text, or for data whatever the user's data holds under a key.
type operand struct {
	kind  operandKind
	text  string // of a literal, or the key
	index int    // of a variable
}

type operandKind uint8

const (
	literal operandKind = iota
	userID
	userData
	nameOf
	variable
)

// simple returns the condition that a rule is, or nil.
func (r *rule) simple(body []ast.Statement) *condition {
	s, ok := body[0].(*ast.ReturnStatement)
	if !ok || s.Argument == nil {
		return nil
	}
	return r.condition(s.Argument)
}

func (r *rule) condition(e ast.Expression) *condition {
	switch n := e.(type) {
	case *ast.BooleanLiteral:
		return &condition{kind: isConstant, yes: n.Value}
	case *ast.DotExpression:
		if user, ok := n.Left.(*ast.Identifier); ok && user.Name == "user" && n.Identifier.Name == "isAuthenticated" {
			return &condition{kind: isAuthenticated}
		}
	case *ast.UnaryExpression:
		if n.Operator == token.NOT {
			if c := r.condition(n.Operand); c != nil {
				return folded(&condition{kind: isNot, left: c})
			}
		}
	case *ast.BinaryExpression:
		switch n.Operator {
		case token.LOGICAL_AND, token.LOGICAL_OR:
			left, right := r.condition(n.Left), r.condition(n.Right)
			if left == nil || right == nil {
				return nil
			}
			c := &condition{kind: isBoth, left: left, right: right}
			if n.Operator == token.LOGICAL_OR {
				c.kind = isEither
			}
			return folded(c)
		case token.STRICT_EQUAL, token.STRICT_NOT_EQUAL, token.EQUAL, token.NOT_EQUAL:
			a, okA := r.operand(n.Left)
			b, okB := r.operand(n.Right)
			strict := n.Operator == token.STRICT_EQUAL || n.Operator == token.STRICT_NOT_EQUAL
			if !okA || !okB || !strict && (a.kind == userData || b.kind == userData) || a.kind == userData && b.kind == userData {
				return nil
			}
			equal := n.Operator == token.STRICT_EQUAL || n.Operator == token.EQUAL
			if a.kind == literal && b.kind == literal {
				return &condition{kind: isConstant, yes: (a.text == b.text) == equal}
			}
			return &condition{kind: isEqual, yes: equal, a: a, b: b}
		}
	}
	return nil
}

// folded is a condition without its constant parts, as far as JavaScript does not run what they leave out.
func folded(c *condition) *condition {
	if c.left.kind != isConstant {
		return c
	}
	switch yes := c.left.yes; {
	case c.kind == isNot:
		return &condition{kind: isConstant, yes: !yes}
	case (c.kind == isBoth) == yes: // true && x, false || x
		return c.right
	}
	return c.left
}

func (r *rule) operand(e ast.Expression) (operand, bool) {
	switch n := e.(type) {
	case *ast.StringLiteral:
		text := n.Value.String()
		return operand{kind: literal, text: text}, !strings.ContainsRune(text, '\uFFFD')
	case *ast.Identifier:
		name := n.Name.String()
		if name == "name" {
			return operand{kind: nameOf}, true
		}
		for i, v := range slices.Backward(r.path.names) { // of several the last counts
			if v == name {
				return operand{kind: variable, index: i}, true
			}
		}
	case *ast.DotExpression:
		key := n.Identifier.Name.String()
		switch left := n.Left.(type) {
		case *ast.Identifier:
			return operand{kind: userID}, left.Name == "user" && key == "id"
		case *ast.DotExpression:
			user, ok := left.Left.(*ast.Identifier)
			return operand{kind: userData, text: key}, ok && user.Name == "user" && left.Identifier.Name == "data" && !inherited[key]
		}
	}
	return operand{}, false
}

// inherited is what every object has (ECMA-262, Object.prototype).
var inherited = map[string]bool{"__defineGetter__": true, "__defineSetter__": true, "__lookupGetter__": true, "__lookupSetter__": true,
	"__proto__": true, "constructor": true, "hasOwnProperty": true, "isPrototypeOf": true, "propertyIsEnumerable": true,
	"toLocaleString": true, "toString": true, "valueOf": true}

// holds reports whether the condition holds, unless it takes JavaScript to find out: where the user's data is none that is
// understood here, where a variable has no value, and where the rule throws.
func (c *condition) holds(q *Query, values []binding) (yes, known bool) {
	switch c.kind {
	case isConstant:
		return c.yes, true
	case isAuthenticated:
		return q.User != "open", true
	case isNot:
		yes, known = c.left.holds(q, values)
		return !yes, known
	case isBoth:
		if yes, known = c.left.holds(q, values); !yes || !known {
			return yes, known
		}
		return c.right.holds(q, values)
	case isEither:
		if yes, known = c.left.holds(q, values); yes || !known {
			return yes, known
		}
		return c.right.holds(q, values)
	}
	a, isText, known := c.a.value(q, values)
	if !known {
		return false, false
	}
	b, isTextToo, known := c.b.value(q, values)
	if !known {
		return false, false
	}
	return (isText && isTextToo && a == b) == c.yes, true
}

// value is an operand's text; of the user's data it may be that it is no text, or not known.
func (o *operand) value(q *Query, values []binding) (text string, isText, known bool) {
	switch o.kind {
	case literal:
		return o.text, true, true
	case userID:
		return q.User, true, true
	case nameOf:
		return q.Name, true, true
	case variable:
		v := &values[o.index]
		return v.value, true, v.bound
	}
	data, ok := q.UserData.(map[string]any)
	if !ok || data == nil {
		return "", false, false
	}
	switch v := data[o.text].(type) {
	case string:
		return v, true, true
	case nil, bool, float64, int:
		return "", false, true
	}
	return "", false, false
}
