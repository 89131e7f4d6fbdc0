package valve

import (
	"slices"

	"github.com/dop251/goja/ast"
)

// reach is what a rule can see of a value: the whole of it, or the members that it reads by name. Nil is nothing. What a
// rule cannot see is checked and counted like the rest, but never made.
//
// A rule sees the whole of whatever it does anything else with than reading a member that is named in its text, or finding
// out whether it is there: comparing, spreading, assigning to, calling a method of, or reading a member under a computed name.
type reach struct {
	name    string // of a member
	whole   bool
	touched bool // whether it is there
	members map[string]*reach
}

// everything is the reach of what may be looked at from elsewhere, too.
var everything = &reach{whole: true}

// any reports whether the rule sees anything of it, if only whether it is there.
func (r *reach) any() bool { return r != nil && (r.whole || r.touched || len(r.members) > 0) }

// orNil is the reach, or nil where the rule sees nothing.
func (r *reach) orNil() *reach {
	if r.any() {
		return r
	}
	return nil
}

// member is the reach of a member. Elements of lists are always wholes, since lists are.
func (r *reach) member(key string) *reach {
	if r == nil || r.whole {
		return r
	}
	return r.members[key]
}

// list is the reach of the elements of a list: a list is made whole, or empty if it only matters whether it is there.
func (r *reach) list() *reach {
	if r == nil || !r.whole && len(r.members) == 0 {
		return nil
	}
	return everything
}

// grow returns the reach of a member, which it makes where there is none.
func (r *reach) grow(key string) *reach {
	below := r.members[key]
	if below == nil {
		below = &reach{name: key}
		if r.members == nil {
			r.members = map[string]*reach{}
		}
		r.members[key] = below
	}
	return below
}

// uses is which of the values that a rule is called with it can see, and how far.
type uses struct {
	data, oldData, user reach
	name, action, now   bool
	variables           []string
	arguments           bool // all of them, whatever their names
	records             bool // it calls _, by which it can reach the record that oldData is
}

// of is the reach of what has that name.
func (u *uses) of(name string) *reach {
	switch name {
	case "data":
		return &u.data
	case "oldData":
		return &u.oldData
	case "user":
		return &u.user
	}
	return nil
}

// variable reports whether the rule can see a variable of its path.
func (u *uses) variable(name string) bool { return u.arguments || slices.Contains(u.variables, name) }

// done is called when the whole rule was looked at. What is reached under several names is reached wholly.
func (u *uses) done() {
	if u.arguments {
		u.data.whole, u.oldData.whole, u.user.whole = true, true, true
		u.name, u.action, u.now = true, true, true
	}
	u.oldData.whole = u.oldData.whole || u.records
}

// volatile reports whether what the rule sees can change although neither the caller, the name nor the file does.
func (u *uses) volatile() bool {
	return u.arguments || u.records || u.now || u.data.any() || u.oldData.any()
}

// identity reports whether the rule sees nothing of the caller but the ID, and nothing of the message and the action.
func (u *uses) identity() bool {
	if u.volatile() || u.action || u.user.whole || u.user.touched {
		return false
	}
	for key := range u.user.members {
		if key != "id" && key != "isAuthenticated" {
			return false
		}
	}
	return true
}

// note notes that a rule names something by itself.
func (u *uses) note(name string) {
	switch name {
	case "data", "oldData", "user":
		u.of(name).whole = true
	case "name":
		u.name = true
	case "action":
		u.action = true
	case "now":
		u.now = true
	case "arguments":
		u.arguments = true
	case "_":
		u.records = true
	default:
		u.variables = append(u.variables, name)
	}
}

// chain returns the reach of what is read from data, oldData or the user by names only, such as data.a["b"].c; nil is that
// it is none such.
func (u *uses) chain(e ast.Expression) *reach {
	var left ast.Expression
	var key string
	switch n := e.(type) {
	case *ast.Identifier:
		return u.of(n.Name.String())
	case *ast.DotExpression:
		left, key = n.Left, n.Identifier.Name.String()
	case *ast.BracketExpression:
		s, ok := n.Member.(*ast.StringLiteral)
		if !ok {
			return nil
		}
		left, key = n.Left, s.Value.String()
	case *ast.Optional:
		return u.chain(n.Expression)
	case *ast.OptionalChain:
		return u.chain(n.Expression)
	default:
		return nil
	}
	if r := u.chain(left); r != nil {
		return r.grow(key)
	}
	return nil
}
