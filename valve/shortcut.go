package valve

import (
	"fmt"
	"slices"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/unistring"
)

// read is a member of data, oldData or the user that a rule reads by names only, such as data.a["b"].c. A rule that assigns
// to nothing has a second form, in which these are parameters of it, looked up without making the objects that they are in.
// Where a lookup is not plain (through null, through a list, or of an object that is reached in another way as well), and
// where the second form throws, the first one is run.
type read struct {
	root    string
	path    []string
	name    string // of the parameter
	number  bool   // it becomes a number
	touched bool   // it matters only whether it is there
	alone   bool   // what it finds is found by no other read, so that it may be an object
}

// readOf is the read that an expression is; false if it is none. What values have without having it themselves is not read so,
// but for the length.
func readOf(e ast.Expression) (r read, ok bool) {
	var left ast.Expression
	var key string
	switch n := e.(type) {
	case *ast.Identifier:
		r.root = n.Name.String()
		return r, r.root == "data" || r.root == "oldData" || r.root == "user"
	case *ast.DotExpression:
		left, key = n.Left, n.Identifier.Name.String()
	case *ast.BracketExpression:
		s, isText := n.Member.(*ast.StringLiteral)
		if !isText {
			return r, false
		}
		left, key = n.Left, s.Value.String()
	default:
		return r, false
	}
	r, ok = readOf(left)
	_, index := arrayIndex(key)
	if !ok || index || key != "length" && builtin()[key] || len(r.path) > 0 && r.path[len(r.path)-1] == "length" {
		return r, false
	}
	r.path = append(r.path, key)
	return r, true
}

// shortcut replaces a read by a parameter, in the second form of a rule.
func (c *checker) shortcut(e *ast.Expression, touched bool) bool {
	r, ok := readOf(*e)
	if !ok || len(r.path) == 0 && !touched {
		return false
	}
	c.plain++
	if !c.quick {
		return false
	}
	r.touched = touched
	reads := &c.code.reads
	i := slices.IndexFunc(*reads, func(o read) bool { return o.same(&r) })
	if i < 0 {
		i = len(*reads)
		r.name = readName(i)
		*reads = append(*reads, r)
	}
	*e = &ast.Identifier{Name: unistring.String(readName(i)), Idx: (*e).Idx0()}
	return true
}

func (r *read) same(o *read) bool {
	return r.root == o.root && r.touched == o.touched && slices.Equal(r.path, o.path)
}

// within reports whether what one finds is in what the other finds, or the same.
func (r *read) within(o *read) bool {
	return r.root == o.root && len(r.path) >= len(o.path) && slices.Equal(r.path[:len(o.path)], o.path)
}

// separate notes which reads are alone.
func (c *code) separate() {
	for i := range c.reads {
		r := &c.reads[i]
		r.alone = !c.uses.of(r.root).any() && (r.root != "oldData" || !c.uses.records)
		for j := range c.reads {
			o := &c.reads[j]
			r.alone = r.alone && (i == j || o.touched || !r.within(o) && !o.within(r))
		}
	}
}

// readPrefix is what the parameters begin with that reads are replaced by. No rule may name one.
const readPrefix = "__valve_read_"

func readName(i int) string { return fmt.Sprint(readPrefix, i) }

// lookup returns what is at a path, and whether that is plainly so.
func (r *read) lookup(m *machine, d *document) (goja.Value, bool) {
	for i, key := range r.path {
		switch {
		case d == nil, d.kind == scalarDocument && (goja.IsNull(d.scalar) || goja.IsUndefined(d.scalar)):
			return nil, false // that throws
		case d.kind == objectDocument:
			if below := d.get(key); below != nil {
				d = below
				continue
			}
		case key == "length" && d.kind == listDocument:
			return numberValue(float64(len(d.values))), true
		case key == "length":
			if s, ok := d.scalar.(goja.String); ok {
				return numberValue(float64(s.Length())), true
			}
		case d.kind == listDocument:
			return nil, false
		}
		return goja.Undefined(), i == len(r.path)-1
	}
	switch {
	case d == nil:
		return nil, false
	case d.kind == scalarDocument:
		return d.scalar, true
	case r.touched:
		return m.object, true
	}
	return d.value(m.vm), r.alone
}

// shortcuts appends what the reads of the second form find to its arguments. False is that the first form is to be run.
func (e *round) shortcuts(c *code, args []goja.Value, body *document) ([]goja.Value, bool) {
	for i := range c.reads {
		v, ok := e.find(&c.reads[i], body)
		if !ok || c.reads[i].number && misread(v) {
			return nil, false
		}
		args = append(args, v)
	}
	e.m.args = args
	return args, true
}

func (e *round) find(r *read, body *document) (goja.Value, bool) {
	switch r.root {
	case "data":
		if body == nil && len(r.path) == 0 {
			if !e.rule.data {
				return goja.Null(), true
			}
			return goja.Undefined(), true
		}
		return r.lookup(e.m, body)
	case "oldData":
		record, loaded := e.records[e.query.Name]
		if !e.rule.oldData || !loaded {
			return goja.Undefined(), len(r.path) == 0
		}
		if record == nil {
			return goja.Null(), len(r.path) == 0
		}
		return r.lookup(e.m, record)
	}
	if len(r.path) == 0 {
		return e.m.object, true
	}
	below := read{path: r.path[1:], touched: r.touched, alone: r.alone}
	switch r.path[0] {
	case "id":
		return below.lookup(e.m, &document{scalar: goText8(e.query.User)})
	case "isAuthenticated":
		return below.lookup(e.m, &document{scalar: constant(e.query.User != "open")})
	case "data":
		return below.lookup(e.m, e.user)
	}
	return goja.Undefined(), len(below.path) == 0
}
