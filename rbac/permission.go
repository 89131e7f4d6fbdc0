package rbac

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Permission is what a rule asks for: a [Role], a [CurrentSubject], [Anonymous], [Denied], an [AnyOf] of them, or one of your
// own (AppKernel calls it an authority). Yours is asked only about callers with a verified token, from many goroutines at
// once.
type Permission interface {
	// Satisfied reports whether a caller with these claims has the permission for a request with these path parameters.
	Satisfied(claims *Claims, params Params) bool
	// String is the permission's name for logs and listings, such as ROLE_USER.
	String() string
}

// Params returns the decoded path parameter of a name, or "" where there is none, as http.Request.PathValue does.
type Params func(name string) string

// Role is held by callers whose token lists exactly this name among its roles: letters count, blanks too.
type Role string

// Satisfied reports whether the claims list the role.
func (r Role) Satisfied(claims *Claims, _ Params) bool { return claims.HasRole(string(r)) }

// String returns ROLE_ and the name in upper case.
func (r Role) String() string { return "ROLE_" + strings.ToUpper(string(r)) }

// CurrentSubject is held by the one whom the request is about: the token's subject equals the path parameter of this
// name, in AppKernel "object_id". Neither may be empty.
type CurrentSubject string

// Satisfied reports whether the path parameter is the subject of the claims.
func (c CurrentSubject) Satisfied(claims *Claims, params Params) bool {
	return claims != nil && claims.Subject != "" && params != nil && params(string(c)) == claims.Subject
}

// String returns AUTHORITY_CURRENT_USER, AppKernel's name of it, and the path parameter.
func (c CurrentSubject) String() string { return "AUTHORITY_CURRENT_USER(" + string(c) + ")" }

// Kind is a permission that does not depend on who asks. Its zero value is [Denied].
type Kind uint8

// The kinds. They are no names: a token that lists "denied" or "anonymous" among its roles gains nothing by it.
const (
	Denied    Kind = iota // nobody, whatever else the rule holds
	Anonymous             // everybody, with any token or none; the header is not even looked at
)

// Satisfied reports whether the kind is Anonymous.
func (k Kind) Satisfied(*Claims, Params) bool { return k == Anonymous }

// String returns ROLE_ANONYMOUS or ROLE_DENIED.
func (k Kind) String() string {
	if k == Anonymous {
		return "ROLE_ANONYMOUS"
	}
	return "ROLE_DENIED"
}

// AnyOf is a list of permissions, each of which is enough. Denied among them refuses everybody; else Anonymous lets
// everybody in. An empty list is an error of the rule that holds it.
type AnyOf []Permission

// Satisfied reports whether a rule with this list would let the caller in.
func (a AnyOf) Satisfied(claims *Claims, params Params) bool {
	r, problem := newRule(a)
	return problem == nil && r.judge(claims, params).Allowed
}

// String returns the names, with " or " between them.
func (a AnyOf) String() string {
	names := make([]string, len(a))
	for i, p := range a {
		if names[i] = "nothing"; p != nil {
			names[i] = p.String()
		}
	}
	return strings.Join(names, " or ")
}

// rule is what one method of one endpoint takes. It is immutable.
type rule struct {
	denied, anonymous bool
	roles             []Role
	subjects          []CurrentSubject
	authorities       []Permission
	text              string
}

// complaint is what is wrong with an argument of a call.
type complaint struct{ value, want string }

// newRule takes a permission apart.
func newRule(p Permission) (*rule, *complaint) {
	r := &rule{}
	if c := r.add(p, maxNesting); c != nil {
		return nil, c
	}
	var ok bool
	if r.text, ok = nameOf(p); !ok {
		return nil, &complaint{"a permission whose String panics", "one that is ready, and no nil pointer"}
	}
	return r, nil
}

// nameOf returns the name of a permission, unless that is one of somebody else's that panics.
func nameOf(p Permission) (name string, ok bool) {
	defer func() { ok = recover() == nil }()
	return p.String(), true
}

// maxNesting bounds lists in lists: one that holds itself has no end.
const maxNesting = 8

func (r *rule) add(p Permission, nesting int) *complaint {
	switch p := p.(type) {
	case nil:
		return &complaint{"nil", "a permission"}
	case Role:
		if strings.EqualFold(string(p), "denied") || strings.EqualFold(string(p), "anonymous") {
			return &complaint{"Role(" + quote(string(p)) + ")", "rbac.Denied or rbac.Anonymous, which are no names of roles"}
		}
		if !goodName(string(p)) {
			return &complaint{"Role(" + quote(string(p)) + ")", "the name of a role: 1 to 512 bytes of UTF-8 without control characters"}
		}
		r.roles = append(r.roles, p)
	case CurrentSubject:
		if !goodName(string(p)) {
			return &complaint{"CurrentSubject(" + quote(string(p)) + ")", `the name of a path parameter, such as "object_id"`}
		}
		r.subjects = append(r.subjects, p)
	case Kind:
		switch p {
		case Denied:
			r.denied = true
		case Anonymous:
			r.anonymous = true
		default:
			return &complaint{"an unknown Kind", "Denied or Anonymous"}
		}
	case AnyOf:
		if len(p) == 0 {
			return &complaint{"an empty list", "at least one permission; rbac.Denied is nobody"}
		}
		if nesting == 0 {
			return &complaint{"lists in lists", "one list"}
		}
		for _, each := range p {
			if c := r.add(each, nesting-1); c != nil {
				return c
			}
		}
	case *Role, *CurrentSubject, *Kind, *AnyOf:
		return &complaint{"a pointer", "the permission itself"}
	default:
		r.authorities = append(r.authorities, p)
	}
	return nil
}

// judge says what the rule makes of a caller who was identified (appkernel.md 5, steps 6 to 8).
func (r *rule) judge(claims *Claims, params Params) Decision {
	d := Decision{Claims: claims, Reason: Insufficient}
	switch {
	case r.denied:
		d.Reason = DeniedToAll
	case r.anonymous:
		d.Allowed, d.Reason = true, AllowedToAll
	case claims == nil: // nobody
	case satisfied(r.roles, claims, params):
		d.Allowed, d.Reason = true, ByRole
	case satisfied(r.subjects, claims, params):
		d.Allowed, d.Reason = true, BySubject
	case satisfied(r.authorities, claims, params):
		d.Allowed, d.Reason = true, ByAuthority
	}
	return d
}

func satisfied[P Permission](list []P, claims *Claims, params Params) bool {
	for _, p := range list {
		if p.Satisfied(claims, params) {
			return true
		}
	}
	return false
}

// goodName reports whether a text can name a role, an action or a path parameter. What a token cannot hold, no role can
// be called.
func goodName(s string) bool {
	if s == "" || len(s) > 512 {
		return false
	}
	for _, c := range s {
		if unicode.IsControl(c) || c == utf8.RuneError {
			return false
		}
	}
	return true
}
