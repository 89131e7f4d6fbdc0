package sqlstore

import (
	"context"
	"database/sql"
	"hash/maphash"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chansec/chansec/internal/hamt"
	"github.com/chansec/chansec/internal/signal"
)

// roster is the active users in memory, as of a revision of the family users. Who asks it takes no lock.
type roster struct {
	now      atomic.Pointer[rosterState]
	revision atomic.Uint64 // set after now

	mu      sync.Mutex // of changes
	changed signal.Signal
}

// rosterState never changes.
type rosterState struct {
	logins hamt.Map[string, rosterUser]
	users  hamt.Map[int64, rosterUser]
	costs  map[int]int // how many users have so many iterations
	count  int
}

type rosterUser struct {
	id         int64
	login      string
	iterations int
}

var seed = maphash.MakeSeed()

func hashLogin(s string) uint64 { return maphash.String(seed, s) }
func hashNumber(n int64) uint64 { return maphash.Comparable(seed, n) }

func (r *roster) init() {
	r.now.Store(&rosterState{})
}

// Active reports whether a login is that of an active user, as far as this process knows. It is what a decision asks.
func (r *roster) Active(login string) bool {
	_, ok := r.user(login)
	return ok
}

func (r *roster) user(login string) (rosterUser, bool) {
	return r.now.Load().logins.Get(hashLogin(login), login)
}

// logins returns the active users, sorted.
func (r *roster) logins() (list []string) {
	for login := range r.now.Load().logins.All() {
		list = append(list, login)
	}
	slices.Sort(list)
	return list
}

func (r *roster) len() int { return r.now.Load().count }

// follow takes over what has changed. Between reading it and putting it in force it calls before.
func (r *roster) follow(ctx context.Context, q querier, revision uint64, before func(context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := r.revision.Load()
	if revision <= since {
		return nil
	}
	next := *r.now.Load()
	next.costs = maps.Clone(next.costs)
	if next.costs == nil {
		next.costs = map[int]int{}
	}
	var edit hamt.Edit
	err := collect(ctx, q, `select id, login, inactive, iterations, revision from "user" where revision > $1 order by revision, id`, []any{int64(since)}, func(row scanner) error {
		var u rosterUser
		var login sql.NullString
		var inactive bool
		var at int64
		if err := row.Scan(&u.id, &login, &inactive, &u.iterations, &at); err != nil {
			return err
		}
		u.login = login.String
		next.remove(&edit, u.id)
		if login.Valid && !inactive {
			next.add(&edit, u)
		}
		revision = max(revision, uint64(at))
		return nil
	})
	if err == nil {
		err = before(ctx)
	}
	if err != nil {
		return err
	}
	r.now.Store(&next)
	r.revision.Store(revision)
	r.changed.Give()
	return nil
}

func (s *rosterState) add(e *hamt.Edit, u rosterUser) {
	s.logins = s.logins.Set(e, hashLogin, u.login, u)
	s.users = s.users.Set(e, hashNumber, u.id, u)
	s.costs[u.iterations]++
	s.count++
}

func (s *rosterState) remove(e *hamt.Edit, id int64) {
	u, ok := s.users.Get(hashNumber(id), id)
	if !ok {
		return
	}
	s.users = s.users.Delete(e, hashNumber, id)
	if now, _ := s.logins.Get(hashLogin(u.login), u.login); now.id == id {
		s.logins = s.logins.Delete(e, hashLogin, u.login)
	}
	if s.costs[u.iterations]--; s.costs[u.iterations] == 0 {
		delete(s.costs, u.iterations)
	}
	s.count--
}

// wait waits until the roster has a revision.
func (r *roster) wait(ctx context.Context, closed <-chan struct{}, revision uint64) error {
	for {
		changed := r.changed.Next()
		if r.revision.Load() >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return Closed
		}
	}
}

// usual returns the iterations of some user, picked by a number so that each is as frequent as among the users.
func (r *roster) usual(pick uint64, or int) int {
	s := r.now.Load()
	if s.count == 0 {
		return or
	}
	place, _ := bits.Mul64(pick, uint64(s.count)) // not the remainder, which would be another one with every new user
	at := int(place)
	for _, iterations := range slices.Sorted(maps.Keys(s.costs)) {
		if at -= s.costs[iterations]; at < 0 {
			return iterations
		}
	}
	return or
}

// dearest returns the most iterations that a user has, or more.
func (r *roster) dearest(or int) int {
	for iterations := range r.now.Load().costs {
		or = max(or, iterations)
	}
	return or
}
