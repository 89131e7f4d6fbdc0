package rbac

import (
	"maps"
	"slices"
	"strings"
)

// Every is the endpoint of a rule that holds for the default endpoints and for every action without a rule of its own.
const Every = "*"

// Action is an endpoint of its own beside the default ones, with rules of its own, such as POST change_password.
type Action struct {
	Name      string
	Methods   []string   // none: POST if it has Arguments, else GET
	Arguments bool       // it takes arguments in the request's body
	Require   Permission // nil: Denied
}

// Rules is a table of who may call what, written by calls that can be chained and take effect in their order
// (appkernel.md 4). The zero value is ready, and lets nobody do anything.
//
//	new(rbac.Rules).DenyAll().Require(rbac.Role("user"), "GET")
//
// Methods are upper-cased. A call with an argument that makes no sense has no effect, and [NewService] fails with an error
// for each of them. Rules are not for concurrent use; services do not change with them.
type Rules struct {
	actions map[key]*rule
	table   map[key]*rule
	every   *rule           // of all methods that have no rule, on Every
	named   map[string]bool // endpoints that exist
	calls   int
	errs    []error
}

type key struct{ method, endpoint string }

// Action declares an action. Its rules come before those of all other calls, whatever their order, and outlast DenyAll and
// AllowAll.
func (r *Rules) Action(a Action) *Rules {
	call := r.call("Action")
	methods, permission := a.Methods, a.Require
	if len(methods) == 0 {
		methods = []string{"GET"}
		if a.Arguments {
			methods = []string{"POST"}
		}
	}
	if permission == nil {
		permission = Denied
	}
	for k := range r.actions {
		if k.endpoint == a.Name {
			return r.refuse(call, complaint{"the action " + quote(a.Name), "each action once"})
		}
	}
	return r.setAction(call, &r.actions, a.Name, permission, methods)
}

// DenyAll refuses every method of the default endpoints, and forgets what was said of them so far.
func (r *Rules) DenyAll() *Rules { return r.all("DenyAll", Denied) }

// AllowAll lets everybody use every method of the default endpoints, and forgets what was said of them so far. A method that
// differs only in case from one with a rule of its own is not among them: it has no rule.
func (r *Rules) AllowAll() *Rules { return r.all("AllowAll", Anonymous) }

func (r *Rules) all(name string, k Kind) *Rules {
	r.call(name)
	maps.DeleteFunc(r.table, func(k key, _ *rule) bool { return k.endpoint == Every })
	r.every, _ = newRule(k)
	return r
}

// Require says what methods of the default endpoints take: the last call for a method counts, nothing is merged.
func (r *Rules) Require(p Permission, methods ...string) *Rules {
	return r.set(r.call("Require"), &r.table, Every, p, methods)
}

// RequireAction is Require for an action.
func (r *Rules) RequireAction(action string, p Permission, methods ...string) *Rules {
	return r.setAction(r.call("RequireAction"), &r.table, action, p, methods)
}

// Deny refuses everybody.
func (r *Rules) Deny(methods ...string) *Rules {
	return r.set(r.call("Deny"), &r.table, Every, Denied, methods)
}

// DenyAction is Deny for an action.
func (r *Rules) DenyAction(action string, methods ...string) *Rules {
	return r.setAction(r.call("DenyAction"), &r.table, action, Denied, methods)
}

// Exempt lets everybody in, without a token.
func (r *Rules) Exempt(methods ...string) *Rules {
	return r.set(r.call("Exempt"), &r.table, Every, Anonymous, methods)
}

// ExemptAction is Exempt for an action.
func (r *Rules) ExemptAction(action string, methods ...string) *Rules {
	return r.setAction(r.call("ExemptAction"), &r.table, action, Anonymous, methods)
}

// call counts a call and says which one it is.
func (r *Rules) call(name string) RuleError {
	r.calls++
	return RuleError{Call: name, Number: r.calls}
}

func (r *Rules) refuse(call RuleError, c complaint) *Rules {
	call.Value, call.Want = c.value, c.want
	r.errs = append(r.errs, &call)
	return r
}

// setAction is set for an action.
func (r *Rules) setAction(call RuleError, table *map[key]*rule, action string, p Permission, methods []string) *Rules {
	if action == Every || !goodName(action) {
		return r.refuse(call, complaint{"the action " + quote(action), "the name of an action"})
	}
	return r.set(call, table, action, p, methods)
}

// set enters the rule of a call in a table.
func (r *Rules) set(call RuleError, table *map[key]*rule, endpoint string, p Permission, methods []string) *Rules {
	entered, c := newRule(p)
	if c != nil {
		return r.refuse(call, *c)
	}
	if len(methods) == 0 {
		return r.refuse(call, complaint{"no methods", `at least one, such as "GET"`})
	}
	for _, m := range methods {
		if !isMethod(m) {
			return r.refuse(call, complaint{"the method " + quote(m), `one method in each string, such as "GET"`})
		}
	}
	if *table == nil {
		*table = make(map[key]*rule)
	}
	for _, m := range methods {
		(*table)[key{strings.ToUpper(m), endpoint}] = entered
	}
	if r.named == nil {
		r.named = make(map[string]bool)
	}
	r.named[endpoint] = true
	return r
}

// isMethod reports whether a text is a token (RFC 9110 section 5.6.2), and not "*", which a pattern might be taken for.
func isMethod(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != "" && s != "*" && len(s) <= 64
}

// rules are Rules in force. They are immutable.
type rules struct {
	table map[key]*rule
	every *rule
	named map[string]bool
}

// inForce returns what the rules are now.
func (r *Rules) inForce() rules {
	table := make(map[key]*rule, len(r.actions)+len(r.table))
	maps.Copy(table, r.actions)
	maps.Copy(table, r.table)
	return rules{table, r.every, maps.Clone(r.named)}
}

// find returns the rule of a method on an endpoint, or nil (appkernel.md 4.1).
func (r *rules) find(method, endpoint string) *rule {
	if found := r.exactly(method, endpoint); found != nil {
		return found
	}
	if method == "HEAD" {
		if found := r.exactly("GET", endpoint); found != nil {
			return found
		}
	}
	if upper := strings.ToUpper(method); upper != method && r.find(upper, endpoint) != r.every {
		return nil // methods are case-sensitive (RFC 9110 section 9.1), and not every handler knows that
	}
	return r.every
}

func (r *rules) exactly(method, endpoint string) *rule {
	if endpoint != Every {
		if found := r.table[key{method, endpoint}]; found != nil {
			return found
		}
	}
	return r.table[key{method, Every}]
}

// methods returns the methods that have a rule of their own on an endpoint, sorted.
func (r *rules) methods(endpoint string) []string {
	var list []string
	for k := range r.table {
		if (k.endpoint == endpoint || k.endpoint == Every) && !slices.Contains(list, k.method) {
			list = append(list, k.method)
		}
	}
	slices.Sort(list)
	return list
}
