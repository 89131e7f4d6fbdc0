package policy_test

import (
	"maps"
	"slices"
	"strings"

	"github.com/chansec/chansec/policy"
)

// reference is the two specifications once more, as slowly and as literally as they can be written.
type reference struct {
	rule       policy.Inheritance
	separator  string
	roles      map[string]*referenceRole
	isolated   map[string]bool
	named      []string
	anonymous  []string
	principals map[string][]string
	ends       map[string][][2]string // by time, the principals and roles that end then

	bindings map[string]string // by role
	topics   map[string]bool
}

type referenceRole struct {
	globals, defaults []string
	paths             map[string][]string
	denials           map[string][]string
	includes          []string
}

func newReference(c policy.Config) *reference {
	return &reference{rule: c.Inheritance, separator: string(rune(c.Separator)), roles: map[string]*referenceRole{},
		isolated: map[string]bool{}, principals: map[string][]string{}, bindings: map[string]string{}, topics: map[string]bool{}}
}

// clone is for transactions that fail.
func (r *reference) clone() *reference {
	c := *r
	c.roles = map[string]*referenceRole{}
	for name, x := range r.roles {
		y := *x
		y.paths, y.denials = maps.Clone(x.paths), maps.Clone(x.denials)
		c.roles[name] = &y
	}
	c.isolated, c.principals = maps.Clone(r.isolated), maps.Clone(r.principals)
	c.bindings, c.topics = maps.Clone(r.bindings), maps.Clone(r.topics)
	return &c
}

func (r *reference) role(name string) *referenceRole {
	if r.roles[name] == nil {
		r.roles[name] = &referenceRole{paths: map[string][]string{}, denials: map[string][]string{}}
	}
	return r.roles[name]
}

// normal is diffusion.md 3: split on /, drop empty segments, join with /. Topics are taken as they are.
func (r *reference) normal(path string) string {
	if r.separator != "/" {
		return path
	}
	var kept []string
	for _, segment := range strings.Split(path, "/") {
		if segment != "" {
			kept = append(kept, segment)
		}
	}
	return strings.Join(kept, "/")
}

// effective is diffusion.md 4: the roles and, transitively, every role they include.
func (r *reference) effective(roles []string) map[string]bool {
	visited := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		if visited[name] {
			return
		}
		visited[name] = true
		if role := r.roles[name]; role != nil {
			for _, i := range role.includes {
				visit(i)
			}
		}
	}
	for _, name := range roles {
		visit(name)
	}
	return visited
}

// held is the roles of a session: diffusion.md 9.3.
func (r *reference) held(principal string, vouched []string) []string {
	if principal == "" {
		return slices.Concat(vouched, r.anonymous)
	}
	return slices.Concat(vouched, r.named, r.principals[principal])
}

func (r *reference) globals(roles []string) []string {
	set := map[string]bool{}
	for name := range r.effective(roles) {
		if role := r.roles[name]; role != nil {
			addAll(set, role.globals)
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func (r *reference) permissions(roles []string, path string) []string {
	if r.rule == policy.AnyAncestor {
		return r.topic(roles, path)
	}
	return r.nearest(roles, r.normal(path))
}

// nearest is the algorithm of diffusion.md 6, step by step.
func (r *reference) nearest(roles []string, path string) []string {
	e := r.effective(roles)
	set := map[string]bool{}
	for p := path; p != ""; {
		found := false
		for name := range e {
			if role := r.roles[name]; role != nil {
				if list, ok := role.paths[p]; ok {
					found = true
					addAll(set, list)
				}
			}
		}
		if found {
			return slices.Sorted(maps.Keys(set)) // 1
		}
		if r.isolated[p] {
			return nil // 2
		}
		i := strings.LastIndex(p, r.separator) // 3
		p = p[:max(i, 0)]
	}
	for name := range e { // 4
		if role := r.roles[name]; role != nil {
			addAll(set, role.defaults)
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// topic is the check of sqlauth.md 4, for every action.
func (r *reference) topic(roles []string, topic string) (allowed []string) {
	e := r.effective(roles)
	parts := strings.Split(topic, r.separator)
	for _, action := range policy.WAMP().Path {
		for n := 1; n <= len(parts); n++ { // shortest first, the topic itself last
			candidate := strings.Join(parts[:n], r.separator)
			allow, deny := false, false
			for name := range e {
				if role := r.roles[name]; role != nil {
					allow = allow || slices.Contains(role.paths[candidate], action)
					deny = deny || slices.Contains(role.denials[candidate], action)
				}
			}
			if allow || deny {
				if !deny {
					allowed = append(allowed, action)
				}
				break
			}
		}
	}
	slices.Sort(allowed)
	return allowed
}

func addAll(set map[string]bool, list []string) {
	for _, x := range list {
		set[x] = true
	}
}
