package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casbin/casbin/v2"
	"github.com/cedar-policy/cedar-go"

	"github.com/chansec/chansec"
)

// Changes: one operation gives one subject the role write, or takes it back, among many subjects that hold read. The
// subjects come in a random order, none twice before all others; what a round did is undone while nothing is timed.

// A ledger is an opened authorizer that can be changed.
type ledger struct {
	grant, revoke func(id string) error         // the role write
	undo          func(granted []string) error  // revoke for many, where it would take too long one by one; may be nil
	may           func(id string) (bool, error) // write
	reads         func(id string) (bool, error) // read
}

func (l ledger) check(ids []string) error {
	for _, id := range []string{ids[0], ids[len(ids)/2], ids[len(ids)-1]} {
		for _, step := range []struct {
			change func(string) error
			want   bool
		}{{nil, false}, {l.grant, true}, {l.revoke, false}} {
			if step.change != nil {
				if err := step.change(id); err != nil {
					return err
				}
			}
			if got, err := l.may(id); got != step.want || err != nil {
				return fmt.Errorf("%s may write: %v, %v; want %v", id, got, err, step.want)
			}
			if got, err := l.reads(id); !got || err != nil {
				return fmt.Errorf("%s may read: %v, %v", id, got, err)
			}
		}
	}
	return nil
}

// benchGrant times grants, in batches that go at most once round the subjects.
func (l ledger) benchGrant(b *testing.B, ids []string) error {
	undo := l.undo
	if undo == nil {
		undo = func(granted []string) error { return each(granted, l.revoke) }
	}
	return batches(b, ids, func([]string) error { return nil }, l.grant, undo)
}

// benchRevoke times taking back what was granted before.
func (l ledger) benchRevoke(b *testing.B, ids []string) error {
	return batches(b, ids, func(batch []string) error { return each(batch, l.grant) }, l.revoke,
		func([]string) error { return nil })
}

func batches(b *testing.B, ids []string, before func([]string) error, change func(string) error, after func([]string) error) error {
	for n := b.N; n > 0; n -= len(ids) {
		batch := ids[:min(n, len(ids))]
		b.StopTimer()
		if err := before(batch); err != nil {
			return err
		}
		b.StartTimer()
		if err := each(batch, change); err != nil {
			return err
		}
		b.StopTimer()
		if err := after(batch); err != nil {
			return err
		}
		b.StartTimer()
	}
	return nil
}

func each(ids []string, do func(string) error) error {
	for _, id := range ids {
		if err := do(id); err != nil {
			return err
		}
	}
	return nil
}

func changeGroups(s scale) (out []group) {
	for _, n := range s.subjects {
		if n < s.peerMax {
			continue
		}
		ids := sync.OnceValue(func() []string {
			ids := newPopulation(n, n).ids
			rand.New(rand.NewPCG(3, 4)).Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			return ids
		})
		var g group
		add := func(name string, open func(ids []string) (ledger, error)) {
			opened := sync.OnceValues(func() (ledger, error) { return open(ids()) })
			line := func(row string, bench func(ledger, *testing.B, []string) error) contender {
				return contender{
					row: row + "/" + count(n), name: name, floor: name == "floor: copy on write per subject",
					open: func() (*work, error) {
						l, err := opened()
						return &work{
							mixed: true,
							check: func() error { return l.check(ids()) },
							bench: func(b *testing.B) error { return bench(l, b, ids()) },
						}, err
					},
				}
			}
			g = append(g, line("change/grant", ledger.benchGrant), line("change/revoke", ledger.benchRevoke))
		}
		add("floor: copy on write per subject", openPointers)
		add("chansec", openChangingACL)
		if n <= s.peerMax {
			add("casbin", openChangingCasbin)
			add("cedar", openChangingCedar)
		}
		for _, f := range []struct {
			name string
			open func() (grant func(id string) error, count func() int, err error)
		}{{"floor: mutex and map", openGrowingMap}, {"chansec", openGrowingACL}} {
			g = append(g, contender{
				row: "change/fill/" + count(n), name: f.name, floor: f.name == "floor: mutex and map",
				open: func() (*work, error) {
					return &work{
						batch: n, mixed: true,
						check: func() error { return checkFill(f.open, ids()) },
						bench: func(b *testing.B) error { return benchFill(b, f.open, ids()) },
					}, nil
				},
			})
		}
		out = append(out, g.sortRows())
	}
	return out
}

// changed makes an error of a change that had no effect.
func changed(ok bool, err error) error {
	if err == nil && !ok {
		err = errWrong
	}
	return err
}

// pointers is the floor: each subject is a pointer to something small that never changes, and a change replaces it.
type pointers map[string]*atomic.Pointer[snapshot]

type snapshot struct {
	roles roleSet
	until int64 // 0 is for ever
}

func (s *snapshot) has(r roleSet) bool {
	return s.roles&r != 0 && (s.until == 0 || time.Now().UnixNano() < s.until)
}

func openPointers(ids []string) (ledger, error) {
	p := make(pointers, len(ids))
	for _, id := range ids {
		p[id] = new(atomic.Pointer[snapshot])
		p[id].Store(&snapshot{roles: canRead})
	}
	var mu sync.Mutex // one writer at a time; readers do not take it
	set := func(id string, roles roleSet) error {
		mu.Lock()
		defer mu.Unlock()
		next := *p[id].Load()
		next.roles = roles
		p[id].Store(&next)
		return nil
	}
	return ledger{
		grant:  func(id string) error { return set(id, canRead|canWrite) },
		revoke: func(id string) error { return set(id, canRead) },
		may:    func(id string) (bool, error) { return p[id].Load().has(canWrite), nil },
		reads:  func(id string) (bool, error) { return p[id].Load().has(canRead), nil },
	}, nil
}

func openChangingACL(ids []string) (ledger, error) {
	acl, err := chansec.NewACLSecurity(chansec.ACLRead(ids...))
	ctx := context.Background()
	return ledger{
		grant:  func(id string) error { return acl.Grant(id, chansec.RoleWrite) },
		revoke: func(id string) error { return changed(acl.RevokeRole(id, chansec.RoleWrite)) },
		may:    func(id string) (bool, error) { return acl.AuthorizeWrite(ctx, id, channelID) },
		reads:  func(id string) (bool, error) { return acl.AuthorizeRead(ctx, id, channelID) },
	}, err
}

// openChangingCasbin adds and removes role assignments. Removing one moves all that follow it in casbin's list, so
// that after a timed batch of grants a new enforcer is loaded instead.
func openChangingCasbin(ids []string) (ledger, error) {
	var e *casbin.SyncedEnforcer
	load := func() (err error) {
		e, err = loadCasbin(casbin.NewSyncedEnforcer, nil)
		if err != nil {
			return err
		}
		groups := make([][]string, len(ids))
		for i, id := range ids {
			groups[i] = []string{id, "read", channelID}
		}
		_, err = e.AddGroupingPolicies(groups)
		return err
	}
	return ledger{
		grant:  func(id string) error { return changed(e.AddGroupingPolicy(id, "write", channelID)) },
		revoke: func(id string) error { return changed(e.RemoveGroupingPolicy(id, "write", channelID)) },
		undo:   func([]string) error { return load() },
		may:    func(id string) (bool, error) { return e.Enforce(id, channelID, "messages", "write") },
		reads:  func(id string) (bool, error) { return e.Enforce(id, channelID, "messages", "read") },
	}, load()
}

// lockedEntities are entities that can be changed while they are read. Cedar's EntityGetter is there for that.
type lockedEntities struct {
	mu sync.RWMutex
	m  cedar.EntityMap
}

func (l *lockedEntities) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.m.Get(uid)
}

func openChangingCedar(ids []string) (ledger, error) {
	policies, entities, err := loadCedar(nil)
	l := &lockedEntities{m: entities}
	set := func(id string, role int) error {
		e := cedarSystem(id, role)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.m[e.UID] = e
		return nil
	}
	for _, id := range ids {
		err = errors.Join(err, set(id, 0))
	}
	return ledger{
		grant:  func(id string) error { return set(id, 1) },
		revoke: func(id string) error { return set(id, 0) },
		may:    func(id string) (bool, error) { return cedarAsk(policies, l, id, 1), nil },
		reads:  func(id string) (bool, error) { return cedarAsk(policies, l, id, 0), nil },
	}, err
}

// Filling: one operation gives a new subject its first role. The table starts empty and grows to the row's size, and
// the slowest single grant is reported, since that is where a table shows how it grows.

func benchFill(b *testing.B, open func() (func(string) error, func() int, error), ids []string) error {
	var slowest time.Duration
	for n := b.N; n > 0; n -= len(ids) {
		b.StopTimer()
		grant, _, err := open()
		if err != nil {
			return err
		}
		b.StartTimer()
		for _, id := range ids[:min(n, len(ids))] {
			start := time.Now()
			if err := grant(id); err != nil {
				return err
			}
			slowest = max(slowest, time.Since(start))
		}
	}
	b.ReportMetric(float64(slowest), "slowest-ns")
	return nil
}

func checkFill(open func() (func(string) error, func() int, error), ids []string) error {
	grant, count, err := open()
	if err != nil {
		return err
	}
	if err := each(ids, grant); err != nil {
		return err
	}
	if n := count(); n != len(ids) {
		return fmt.Errorf("%d subjects after %d grants", n, len(ids))
	}
	return nil
}

func openGrowingMap() (func(string) error, func() int, error) {
	var mu sync.Mutex
	m := map[string]*atomic.Pointer[snapshot]{}
	grant := func(id string) error {
		p := new(atomic.Pointer[snapshot])
		p.Store(&snapshot{roles: canRead})
		mu.Lock()
		defer mu.Unlock()
		m[id] = p
		return nil
	}
	return grant, func() int { return len(m) }, nil
}

func openGrowingACL() (func(string) error, func() int, error) {
	acl, err := chansec.NewACLSecurity()
	grant := func(id string) error { return acl.Grant(id, chansec.RoleRead) }
	return grant, func() int { return len(acl.Entries()) }, err
}
