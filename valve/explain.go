package valve

import (
	"context"
	"fmt"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/token"
)

// Bounds of an explanation.
const (
	maxNotes    = 200
	maxNoteText = 80 // bytes of an expression or value
)

// Explanation is how an answer came about.
type Explanation struct {
	Result
	Err       error // what Evaluate returned
	Section   Section
	Line      int        // of the rule in the file; 0 where there is none
	Text      string     // of the rule
	Variables []Variable // of the path, in order
	// Values is what the parts of the expression were in the last round, in the order in which they were evaluated; at most
	// 200. What was not evaluated is not there.
	Values []Value

	reason  string // of Rules
	content bool
	spans   []string
	told    []bool // which of them have been, in any round
}

// Variable is a variable of a path and its value.
type Variable struct{ Name, Value string }

// Value is a part of an expression and what it was. Of texts, numbers and whatever holds some there is the kind only, unless
// the content was asked for.
type Value struct{ Text, Value string }

// Explain answers a query as Evaluate does, by the same code, and says how it came to that. With content, values of texts and
// numbers are shown, which may be secret; without it, only their kinds.
func (p *Permissions) Explain(ctx context.Context, q *Query, content bool) *Explanation {
	x := &Explanation{Section: q.Section, content: content}
	x.Result, x.Err = p.answer(ctx, q, x)
	return x
}

// String is the explanation on several lines.
func (x *Explanation) String() string {
	var b strings.Builder
	verdict := "denied"
	if x.Allowed {
		verdict = "allowed"
	}
	switch {
	case x.Rule == "" && x.reason != "":
		fmt.Fprintf(&b, "%s: %s\n", verdict, x.reason)
	case x.Rule == "":
		fmt.Fprintf(&b, "%s: no path of the section %s has a rule %s for it\n", verdict, x.Section, x.Type)
	default:
		fmt.Fprintf(&b, "%s by section %s, path %s, rule %s (line %d): %s\n", verdict, x.Section, quote(x.Rule), x.Type, x.Line, x.Text)
	}
	for _, v := range x.Variables {
		fmt.Fprintf(&b, "  %s = %q\n", v.Name, v.Value)
	}
	for _, v := range x.Values {
		fmt.Fprintf(&b, "  %s -> %s\n", v.Text, v.Value)
	}
	if x.Err != nil {
		fmt.Fprintf(&b, "  %v\n", x.Err)
	}
	return b.String()
}

// chosen notes the rule.
func (x *Explanation) chosen(r *rule, values []binding) {
	x.Line, x.Text = r.line, r.text
	if r.constant {
		x.Text = fmt.Sprint(r.yes)
	}
	for _, v := range values {
		if v.bound {
			x.Variables = append(x.Variables, Variable{v.name, v.value})
		}
	}
}

// trace makes the code of a rule again, so that it tells its values.
func (x *Explanation) trace(r *rule, o *options) (*code, error) {
	t := &tracer{text: r.text}
	c, _, err := r.translate(o, t, 0)
	if err != nil {
		return nil, err
	}
	x.spans, x.told = t.spans, make([]bool, len(t.spans))
	return c, nil
}

// note notes the value of a part.
func (e *round) note(i int, v goja.Value) {
	x := e.explain
	if x == nil || i < 0 || i >= len(x.spans) {
		return
	}
	x.told[i] = true
	if len(x.Values) >= maxNotes {
		return
	}
	text := typeOf(v)
	switch text {
	case "boolean":
		text = v.String()
	case "string", "number", "bigint":
		if x.content {
			text = shortened(v.String())
			if _, ok := v.(goja.String); ok {
				text = fmt.Sprintf("%q", text)
			}
		}
	}
	x.Values = append(x.Values, Value{x.spans[i], text})
}

func shortened(s string) string {
	if len(s) <= maxNoteText {
		return s
	}
	return strings.ToValidUTF8(s[:maxNoteText], "") + "..."
}

// tracer makes an expression tell the values of its parts.
type tracer struct {
	text  string
	head  int
	spans []string
}

// span is the text of an expression. The tree knows no parentheses: those that are missing at its ends are put back.
func (t *tracer) span(e ast.Expression) string {
	from, to := int(e.Idx0())-1-t.head, int(e.Idx1())-1-t.head
	if from < 0 || to > len(t.text) || from >= to {
		return ""
	}
	open, most := 0, 0
	for _, c := range []byte(t.text[from:to]) {
		switch c {
		case '(':
			open++
		case ')':
			open--
			most = max(most, -open)
		}
	}
	for n := open + most; n > 0 && to < len(t.text) && (t.text[to] == ')' || t.text[to] == ' '); to++ {
		if t.text[to] == ')' {
			n--
		}
	}
	for n := most; n > 0 && from > 0 && (t.text[from-1] == '(' || t.text[from-1] == ' '); from-- {
		if t.text[from-1] == '(' {
			n--
		}
	}
	return shortened(t.text[from:to])
}

// tell wraps an expression whose value is to be told.
func (t *tracer) tell(e *ast.Expression, span string) {
	at := (*e).Idx0()
	number := &ast.NumberLiteral{Idx: at, Literal: fmt.Sprint(len(t.spans)), Value: int64(len(t.spans))}
	t.spans = append(t.spans, span)
	*e = &ast.CallExpression{Callee: &ast.Identifier{Name: traceName, Idx: at}, LeftParenthesis: at,
		ArgumentList: []ast.Expression{number, *e}, RightParenthesis: at}
}

// expression wraps an expression, and those of its parts that are only read.
func (t *tracer) expression(e *ast.Expression) {
	span := t.span(*e)
	switch n := (*e).(type) {
	case *ast.BinaryExpression:
		t.expression(&n.Left)
		t.expression(&n.Right)
	case *ast.ConditionalExpression:
		t.expression(&n.Test)
		t.expression(&n.Consequent)
		t.expression(&n.Alternate)
	case *ast.SequenceExpression:
		for i := range n.Sequence {
			t.expression(&n.Sequence[i])
		}
	case *ast.UnaryExpression:
		switch n.Operator {
		case token.NOT, token.PLUS, token.MINUS, token.BITWISE_NOT:
			t.expression(&n.Operand)
		}
	case *ast.CallExpression:
		for i := range n.ArgumentList {
			t.expression(&n.ArgumentList[i])
		}
		if f, ok := n.Callee.(*ast.DotExpression); ok {
			t.expression(&f.Left)
		}
		if f, ok := n.Callee.(*ast.Identifier); ok && strings.HasPrefix(f.Name.String(), reservedPrefix) && f.Name != equalName && f.Name != unequalName {
			return // what is inside tells
		}
	case *ast.DotExpression, *ast.BracketExpression, *ast.OptionalChain, *ast.Identifier, *ast.TemplateLiteral:
	default:
		return // literals tell nothing, and assignments have parts that are not read
	}
	if span != "" {
		t.tell(e, span)
	}
}
