package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/cedar-policy/cedar-go"

	"github.com/chansec/chansec"
)

// Decisions: may this system read this channel? Subjects are asked for in a random order that was made beforehand,
// the same one for every contender of a row. Every third subject is a reader, a writer, an admin.

const (
	channelID = "readings"
	nobody    = "system-unknown"
)

var errWrong = errors.New("wrong answer while timed")

type roleSet uint8

const (
	canRead roleSet = 1 << iota
	canWrite
	canAdmin
)

// roleOf is the role that subject i holds, as an index: 0 read, 1 write, 2 admin. A higher one implies the lower.
func roleOf(i int) int { return i % 3 }

var (
	roleNames = [...]string{"read", "write", "admin"}
	roleSets  = [...]roleSet{canRead, canRead | canWrite, canRead | canWrite | canAdmin}
)

// A population is the subjects of an ACL and the order in which they are asked for.
type population struct {
	ids   []string
	order []uint32
}

func newPopulation(n, hot int) *population {
	p := &population{ids: make([]string, n), order: make([]uint32, 1<<20)}
	for i := range p.ids {
		p.ids[i] = fmt.Sprintf("system-%07d", i)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := rnd.Perm(n)[:min(n, hot)]
	for i := range p.order {
		p.order[i] = uint32(pick[rnd.IntN(len(pick))])
	}
	return p
}

// at is the subject of the i-th question.
func (p *population) at(i int) string { return p.ids[p.order[i&(1<<20-1)]] }

// A decider is an opened authorizer. Loop asks for n decisions from position start on, all of them allowed.
// One makes a single decision: may id do op (0 read, 1 write, 2 admin)?
type decider struct {
	loop func(p *population, start, n int) error
	one  func(id string, op int) (bool, error)
}

func (d decider) work(p *population, parallel bool) *work {
	w := &work{check: func() error { return d.check(p) }}
	w.bench = func(b *testing.B) error { return d.loop(p, 0, b.N) }
	if parallel {
		w.bench = func(b *testing.B) error { return d.parallel(p, b.N) }
	}
	return w
}

// parallel divides n decisions between GOMAXPROCS goroutines.
func (d decider) parallel(p *population, n int) error {
	var (
		procs = runtime.GOMAXPROCS(0)
		errs  = make([]error, procs)
		wg    sync.WaitGroup
	)
	for k := range procs {
		share := n/procs + b2i(k < n%procs)
		wg.Go(func() { errs[k] = d.loop(p, k*len(p.order)/procs, share) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// check asks for every operation of some subjects, and of one that is not listed.
func (d decider) check(p *population) error {
	for i := 0; i < len(p.ids); i += max(1, len(p.ids)/50) {
		for op := range roleNames {
			got, err := d.one(p.ids[i], op)
			if want := op <= roleOf(i); got != want || err != nil {
				return fmt.Errorf("%s, a %s, may %s: %v, %v", p.ids[i], roleNames[roleOf(i)], roleNames[op], got, err)
			}
		}
	}
	for op := range roleNames {
		if got, err := d.one(nobody, op); got || err != nil {
			return fmt.Errorf("an unknown subject may %s: %v, %v", roleNames[op], got, err)
		}
	}
	return nil
}

func decideGroups(s scale) (out []group) {
	for _, n := range s.subjects {
		out = append(out, decideGroup(s, n, false))
		if n > s.hot {
			out = append(out, decideGroup(s, n, true))
		}
	}
	return out
}

func decideGroup(s scale, n int, parallel bool) (g group) {
	var (
		people = sync.OnceValue(func() *population { return newPopulation(n, n) })
		hot    = sync.OnceValue(func() *population { return newPopulation(n, s.hot) })
		table  = sync.OnceValue(func() deciders { return openMap(people().ids) })
		acl    = sync.OnceValues(func() (deciders, error) { return openACL(people().ids) })
	)
	const floorName = "floor: one immutable map"
	add := func(row, name string, pop func() *population, open func() (decider, error)) {
		g = append(g, contender{
			row: "decide/" + row + "/" + count(n), name: name, floor: name == floorName,
			open: func() (*work, error) {
				d, err := open()
				return d.work(pop(), parallel), err
			},
		})
	}
	floor := func() (decider, error) { return table().authorize, nil }
	floorDecide := func() (decider, error) { return table().decide, nil }
	read := func() (decider, error) { a, err := acl(); return a.authorize, err }
	decide := func() (decider, error) { a, err := acl(); return a.decide, err }
	peer := func(row, name string, open func(ids []string) (decider, error)) {
		if n <= s.peerMax {
			add(row, name, people, func() (decider, error) { return open(people().ids) })
		}
	}
	if parallel {
		add("parallel", floorName, people, floor)
		add("parallel", "chansec AuthorizeRead", people, read)
		peer("parallel", "casbin SyncedEnforcer", openCasbinSynced)
		peer("parallel", "casbin SyncedCachedEnforcer", openCasbinSyncedCached)
		peer("parallel", "cedar", openCedar)
		return g
	}
	add("random", floorName, people, floor)
	add("random", "chansec AuthorizeRead", people, read)
	add("random", "chansec Decide", people, decide)
	peer("random", "casbin Enforcer", openCasbin)
	peer("random", "casbin CachedEnforcer", openCasbinCached)
	peer("random", "cedar", openCedar)
	add("request", floorName, people, floorDecide)
	add("request", "chansec Decide", people, decide)
	if n > s.hot {
		add("hot", floorName, hot, floor)
		add("hot", "chansec AuthorizeRead", hot, read)
	}
	return g
}

// mapDecider is the floor: one map that never changes, behind an atomic pointer. In the request rows it takes a Request and
// returns a Decision as a Decider does, since composing and copying those is the caller's part of both lines.
type mapDecider struct {
	table atomic.Pointer[map[string]roleSet]
}

func (m *mapDecider) Decide(_ context.Context, req chansec.Request) (d chansec.Decision, _ error) {
	var op roleSet
	switch req.Operation {
	case chansec.OpRead:
		op = canRead
	case chansec.OpWrite:
		op = canWrite
	case chansec.OpAdmin:
		op = canAdmin
	}
	if (*m.table.Load())[req.Principal.SystemID]&op != 0 {
		d.Allowed, d.Reason = true, "listed"
	}
	return d, nil
}

func openMap(ids []string) deciders {
	m := make(map[string]roleSet, len(ids))
	for i, id := range ids {
		m[id] = roleSets[roleOf(i)]
	}
	d := new(mapDecider)
	d.table.Store(&m)
	names := decider{
		loop: func(p *population, start, n int) error {
			for i := range n {
				if (*d.table.Load())[p.at(start+i)]&canRead == 0 {
					return errWrong
				}
			}
			return nil
		},
		one: func(id string, op int) (bool, error) { return (*d.table.Load())[id]&(1<<op) != 0, nil },
	}
	return deciders{names, requests(d)}
}

// requests asks as the guard does.
func requests(z chansec.Decider) decider {
	ctx := context.Background()
	request := func(id string, op chansec.Operation) chansec.Request {
		return chansec.Request{Principal: chansec.Principal{SystemID: id}, ChannelID: channelID, Operation: op}
	}
	return decider{
		loop: func(p *population, start, n int) error {
			for i := range n {
				if d, err := z.Decide(ctx, request(p.at(start+i), chansec.OpRead)); !d.Allowed || err != nil {
					return errors.Join(errWrong, err)
				}
			}
			return nil
		},
		one: func(id string, op int) (bool, error) {
			d, err := z.Decide(ctx, request(id, [...]chansec.Operation{chansec.OpRead, chansec.OpWrite, chansec.OpAdmin}[op]))
			return d.Allowed, err
		},
	}
}

// deciders are the two ways to ask: by name, and with a request.
type deciders struct{ authorize, decide decider }

func openACL(ids []string) (deciders, error) {
	acl, err := chansec.NewACLSecurity()
	if err != nil {
		return deciders{}, err
	}
	for i, id := range ids {
		if err := acl.Grant(id, chansec.Role(roleNames[roleOf(i)])); err != nil {
			return deciders{}, err
		}
	}
	ctx := context.Background()
	authorize := decider{
		loop: func(p *population, start, n int) error {
			for i := range n {
				if ok, err := acl.AuthorizeRead(ctx, p.at(start+i), channelID); !ok || err != nil {
					return errors.Join(errWrong, err)
				}
			}
			return nil
		},
		one: func(id string, op int) (bool, error) {
			return [...]func(context.Context, string, string) (bool, error){
				acl.AuthorizeRead, acl.AuthorizeWrite, acl.AuthorizeAdmin,
			}[op](ctx, id, channelID)
		},
	}
	return deciders{authorize, requests(acl)}, nil
}

// casbinModel is RBAC with domains as casbin documents it; the domain is the channel.
const casbinModel = `
[request_definition]
r = sub, dom, obj, act
[policy_definition]
p = sub, dom, obj, act
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub, r.dom) && r.dom == p.dom && r.obj == p.obj && r.act == p.act
`

// enforcer is what casbin's four enforcers have in common.
type enforcer interface {
	Enforce(rvals ...any) (bool, error)
	AddPolicies(rules [][]string) (bool, error)
	AddGroupingPolicies(rules [][]string) (bool, error)
}

func loadCasbin[E enforcer](open func(params ...any) (E, error), ids []string) (E, error) {
	m, err := model.NewModelFromString(casbinModel)
	if err != nil {
		var none E
		return none, err
	}
	e, err := open(m)
	if err != nil {
		return e, err
	}
	var rules, groups [][]string
	for r, role := range roleNames {
		for _, op := range roleNames[:r+1] {
			rules = append(rules, []string{role, channelID, "messages", op})
		}
	}
	for i, id := range ids {
		groups = append(groups, []string{id, roleNames[roleOf(i)], channelID})
	}
	if _, err := e.AddPolicies(rules); err != nil {
		return e, err
	}
	_, err = e.AddGroupingPolicies(groups)
	return e, err
}

func casbinDecider(e enforcer) decider {
	return decider{
		loop: func(p *population, start, n int) error {
			for i := range n {
				if ok, err := e.Enforce(p.at(start+i), channelID, "messages", "read"); !ok || err != nil {
					return errors.Join(errWrong, err)
				}
			}
			return nil
		},
		one: func(id string, op int) (bool, error) { return e.Enforce(id, channelID, "messages", roleNames[op]) },
	}
}

// warm asks once for every subject, so that a cache is measured when it is full.
func warm(d decider, ids []string, err error) (decider, error) {
	for _, id := range ids {
		if err == nil {
			_, err = d.one(id, 0)
		}
	}
	return d, err
}

func openCasbin(ids []string) (decider, error) {
	e, err := loadCasbin(casbin.NewEnforcer, ids)
	return casbinDecider(e), err
}

func openCasbinCached(ids []string) (decider, error) {
	e, err := loadCasbin(casbin.NewCachedEnforcer, ids)
	return warm(casbinDecider(e), ids, err)
}

func openCasbinSynced(ids []string) (decider, error) {
	e, err := loadCasbin(casbin.NewSyncedEnforcer, ids)
	return casbinDecider(e), err
}

func openCasbinSyncedCached(ids []string) (decider, error) {
	e, err := loadCasbin(casbin.NewSyncedCachedEnforcer, ids)
	return warm(casbinDecider(e), ids, err)
}

// cedarPolicies: a system's tags are channels, and a tag's value is the set of what it may do there.
const cedarPolicies = `
permit (principal, action == Action::"read", resource)
when { principal.hasTag(resource.name) && principal.getTag(resource.name).contains("read") };
permit (principal, action == Action::"write", resource)
when { principal.hasTag(resource.name) && principal.getTag(resource.name).contains("write") };
permit (principal, action == Action::"admin", resource)
when { principal.hasTag(resource.name) && principal.getTag(resource.name).contains("admin") };
`

var (
	cedarChannel = cedar.NewEntityUID("Channel", channelID)
	cedarActions = [...]cedar.EntityUID{
		cedar.NewEntityUID("Action", "read"), cedar.NewEntityUID("Action", "write"), cedar.NewEntityUID("Action", "admin"),
	}
)

func cedarSystem(id string, role int) cedar.Entity {
	var may []cedar.Value
	for _, op := range roleNames[:role+1] {
		may = append(may, cedar.String(op))
	}
	return cedar.Entity{
		UID:  cedar.NewEntityUID("System", cedar.String(id)),
		Tags: cedar.NewRecord(cedar.RecordMap{channelID: cedar.NewSet(may...)}),
	}
}

func loadCedar(ids []string) (*cedar.PolicySet, cedar.EntityMap, error) {
	policies, err := cedar.NewPolicySetFromBytes("channels.cedar", []byte(cedarPolicies))
	entities := cedar.EntityMap{cedarChannel: {
		UID:        cedarChannel,
		Attributes: cedar.NewRecord(cedar.RecordMap{"name": cedar.String(channelID)}),
	}}
	for i, id := range ids {
		e := cedarSystem(id, roleOf(i))
		entities[e.UID] = e
	}
	return policies, entities, err
}

func cedarAsk(policies *cedar.PolicySet, entities cedar.EntityGetter, id string, op int) bool {
	d, _ := cedar.Authorize(policies, entities, cedar.Request{
		Principal: cedar.NewEntityUID("System", cedar.String(id)), Action: cedarActions[op], Resource: cedarChannel,
	})
	return d == cedar.Allow
}

func openCedar(ids []string) (decider, error) {
	policies, entities, err := loadCedar(ids)
	return decider{
		loop: func(p *population, start, n int) error {
			for i := range n {
				if !cedarAsk(policies, entities, p.at(start+i), 0) {
					return errWrong
				}
			}
			return nil
		},
		one: func(id string, op int) (bool, error) { return cedarAsk(policies, entities, id, op), nil },
	}, err
}
