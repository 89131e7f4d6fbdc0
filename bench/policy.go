package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/cedar-policy/cedar-go"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// Roles on paths: may this principal read that path? Each assignment gives one role reading on one path and below it. A
// principal holds one role or eight. Paths and principals are asked for in a random order that was made beforehand.

// estate is assignments on a tree of paths and principals who hold roles.
type estate struct {
	paths []string // assignment i is of role i%estateRoles on paths[i]
	depth int
}

const (
	estateRoles = 1000
	estateMany  = 8 // roles of those who hold many
	estateAsked = 64
)

func newEstate(n, depth int) *estate {
	e := &estate{paths: make([]string, n), depth: depth}
	for i := range e.paths {
		var path strings.Builder
		rest := i
		for range depth - 1 {
			fmt.Fprintf(&path, "segment-%d/", rest%10)
			rest /= 10
		}
		fmt.Fprintf(&path, "item-%d", rest)
		e.paths[i] = path.String()
	}
	return e
}

func roleName(i int) string { return fmt.Sprintf("role-%d", i%estateRoles) }

// holder is the principal who holds so many roles from one on.
func holder(first, roles int) string { return fmt.Sprintf("%d-from-%d", roles, first%estateRoles) }

// holders calls f for every principal.
func holders(f func(name string, roles []string)) {
	for first := range estateRoles {
		for _, n := range []int{1, estateMany} {
			var roles []string
			for k := range n {
				roles = append(roles, roleName(first+k))
			}
			f(holder(first, n), roles)
		}
	}
}

// A question is about one principal and one path.
type question struct {
	principal, path string
	allowed         bool
}

// questions returns some of one kind: hit, miss or isolated.
func (e *estate) questions(kind string, roles int) []question {
	r := rand.New(rand.NewPCG(1, 2))
	list := make([]question, estateAsked)
	for i := range list {
		n := r.IntN(len(e.paths))
		switch kind {
		case "hit":
			list[i] = question{holder(n, roles), e.paths[n], true}
		case "miss":
			list[i] = question{holder(n+estateRoles/2, roles), e.paths[n], false}
		case "isolated":
			list[i] = question{holder(n, roles), "isolated" + strings.Repeat("/below", e.depth-1), false}
		}
	}
	return list
}

// asks is an opened engine: whether a principal may read a path.
type asks func(q *question) (bool, error)

func (a asks) work(list []question) *work {
	bench := func(b *testing.B) error {
		for i := range b.N {
			q := &list[i%len(list)]
			if ok, err := a(q); ok != q.allowed || err != nil {
				return errors.Join(errWrong, fmt.Errorf("%+v", *q), err)
			}
		}
		return nil
	}
	return &work{bench: bench, check: func() error {
		for i := range list {
			if ok, err := a(&list[i]); ok != list[i].allowed || err != nil {
				return fmt.Errorf("%+v: %v, %v", list[i], ok, err)
			}
		}
		return nil
	}}
}

func policyGroups(s scale) (out []group) {
	for _, n := range s.subjects {
		depths := []int{6}
		if n == s.subjects[len(s.subjects)-1] {
			depths = []int{2, 6, 10}
		}
		for _, depth := range depths {
			out = append(out, policyGroup(s, n, depth))
		}
	}
	return out
}

func policyGroup(s scale, n, depth int) (g group) {
	e := sync.OnceValue(func() *estate { return newEstate(n, depth) })
	engines := []struct {
		name string
		most int // assignments; 0 is any number
		open func() (asks, error)
	}{
		{"floor: one map, asked up the path", 0, sync.OnceValues(func() (asks, error) { return e().floor(), nil })},
		{"chansec Decide", 0, sync.OnceValues(func() (asks, error) { return e().chansec() })},
		{"cedar", s.peerMax, sync.OnceValues(func() (asks, error) { return e().cedar() })},
		{"opa", s.peerMax, sync.OnceValues(func() (asks, error) { return e().opa() })},
		{"casbin keyMatch", s.peerMax, sync.OnceValues(func() (asks, error) { return e().casbin() })},
	}
	for _, roles := range []int{1, estateMany} {
		for _, kind := range []string{"hit", "miss", "isolated"} {
			for _, engine := range engines {
				if engine.most != 0 && n > engine.most {
					continue
				}
				g = append(g, contender{
					row:  fmt.Sprintf("policy/%s/depth%d/roles%d/%s", count(n), depth, roles, kind),
					name: engine.name, floor: strings.HasPrefix(engine.name, "floor"),
					open: func() (*work, error) {
						a, err := engine.open()
						if err != nil {
							return nil, err
						}
						return a.work(e().questions(kind, roles)), nil
					},
				})
			}
		}
	}
	return g
}

// floor looks the path up, and then what is above it, in one map that never changes.
func (e *estate) floor() asks {
	assigned := make(map[string]string, len(e.paths))
	for i, path := range e.paths {
		assigned[path] = roleName(i)
	}
	held := map[string][]string{}
	holders(func(name string, roles []string) { held[name] = roles })
	return func(q *question) (bool, error) {
		roles := held[q.principal]
		for p := q.path; p != ""; p = p[:max(strings.LastIndexByte(p, '/'), 0)] {
			if role, ok := assigned[p]; ok && slices.Contains(roles, role) {
				return true, nil
			}
		}
		return false, nil
	}
}

func (e *estate) chansec() (asks, error) {
	store, err := policy.New(policy.DiffusionConfig())
	if err != nil {
		return nil, err
	}
	err = store.Update(context.Background(), policy.Root(), func(tx *policy.Tx) error {
		for i, path := range e.paths {
			tx.SetPathPermissions(roleName(i), path, "READ_TOPIC", "SELECT_TOPIC")
		}
		tx.IsolatePath("isolated")
		holders(func(name string, roles []string) { tx.AssignRoles(name, roles...) })
		return nil
	})
	z, ctx := store.Authorizer(), context.Background()
	return func(q *question) (bool, error) {
		d, err := z.Decide(ctx, chansec.Request{Principal: chansec.Principal{SystemID: q.principal}, ChannelID: q.path, Operation: chansec.OpRead})
		return d.Allowed, err
	}, err
}

// cedar has paths as entities below their parents, and each assignment as a group of paths that a role may read.
func (e *estate) cedar() (asks, error) {
	policies, err := cedar.NewPolicySetFromBytes("paths.cedar", []byte(`
		permit (principal, action == Action::"read", resource) when { resource in principal.readable };`))
	if err != nil {
		return nil, err
	}
	entities := cedar.EntityMap{}
	uid := func(path string) cedar.EntityUID { return cedar.NewEntityUID("Path", cedar.String(path)) }
	group := func(role string) cedar.EntityUID { return cedar.NewEntityUID("Readable", cedar.String(role)) }
	above := map[string][]cedar.EntityUID{}
	for i, path := range e.paths {
		for p := path; p != ""; {
			parent := p[:max(strings.LastIndexByte(p, '/'), 0)]
			if _, known := above[p]; known && p != path {
				break
			}
			if parent != "" {
				above[p] = append(above[p], uid(parent))
			} else {
				above[p] = append(above[p], uid("/"))
			}
			p = parent
		}
		above[path] = append(above[path], group(roleName(i)))
	}
	isolated := "isolated" + strings.Repeat("/below", e.depth-1)
	above[isolated] = nil
	for path, parents := range above {
		entities[uid(path)] = cedar.Entity{UID: uid(path), Parents: cedar.NewEntityUIDSet(parents...)}
	}
	holders(func(name string, roles []string) {
		var readable []cedar.Value
		for _, role := range roles {
			readable = append(readable, group(role))
		}
		who := cedar.NewEntityUID("User", cedar.String(name))
		entities[who] = cedar.Entity{UID: who, Attributes: cedar.NewRecord(cedar.RecordMap{"readable": cedar.NewSet(readable...)})}
	})
	read := cedar.NewEntityUID("Action", "read")
	return func(q *question) (bool, error) {
		d, _ := cedar.Authorize(policies, entities, cedar.Request{
			Principal: cedar.NewEntityUID("User", cedar.String(q.principal)), Action: read, Resource: uid(q.path),
		})
		return d == cedar.Allow, nil
	}, nil
}

// opa walks up the path in a document of assignments; the query is prepared beforehand.
func (e *estate) opa() (asks, error) {
	assigned, held := map[string]any{}, map[string]any{}
	for i, path := range e.paths {
		assigned[path] = map[string]any{roleName(i): true}
	}
	holders(func(name string, roles []string) {
		list := make([]any, len(roles))
		for i, role := range roles {
			list[i] = role
		}
		held[name] = list
	})
	ctx := context.Background()
	query, err := rego.New(
		rego.Query("data.paths.allow"),
		rego.Store(inmem.NewFromObject(map[string]any{"assigned": assigned, "held": held})),
		rego.Module("paths.rego", `package paths

default allow := false

allow if {
	segments := split(input.path, "/")
	some n in numbers.range(1, count(segments))
	path := concat("/", array.slice(segments, 0, n))
	some role in data.held[input.principal]
	data.assigned[path][role]
}
`)).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	return func(q *question) (bool, error) {
		results, err := query.Eval(ctx, rego.EvalInput(map[string]any{"principal": q.principal, "path": q.path}))
		return results.Allowed(), err
	}, nil
}

// casbinPaths is RBAC with paths as casbin documents it.
const casbinPaths = `
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.act == p.act && (r.obj == p.obj || keyMatch(r.obj, p.obj + "/*")) && g(r.sub, p.sub)
`

func (e *estate) casbin() (asks, error) {
	m, err := model.NewModelFromString(casbinPaths)
	if err != nil {
		return nil, err
	}
	enforcer, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	var rules, groups [][]string
	for i, path := range e.paths {
		rules = append(rules, []string{roleName(i), path, "read"})
	}
	holders(func(name string, roles []string) {
		for _, role := range roles {
			groups = append(groups, []string{name, role})
		}
	})
	if _, err := enforcer.AddPolicies(rules); err != nil {
		return nil, err
	}
	_, err = enforcer.AddGroupingPolicies(groups)
	return func(q *question) (bool, error) { return enforcer.Enforce(q.principal, q.path, "read") }, err
}
