package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/chansec/chansec/policy"
)

// Policy returns the policy, which is changed by its Update and other methods. A change is durable, and in the tables, before it
// is in force; where another process was faster, it is tried anew on what that left.
func (s *Store) Policy() *policy.Store { return s.policy }

// Authorizer returns what decides by the policy, in memory, as [policy.Store.Authorizer] does. If the store could not ask the
// database for MaxStaleness, all decisions are errors that are chansec.ErrUndecided and a *StaleError.
func (s *Store) Authorizer(opts ...policy.AuthorizerOption) *policy.Authorizer {
	return s.policy.Authorizer(opts...)
}

func (s *Store) openPolicy(ctx context.Context) (err error) {
	if s.policy, err = policy.Open(ctx, s.options.Policy, &policyBackend{store: s}); err != nil {
		return err
	}
	if err := s.mendTables(ctx); err != nil {
		return err
	}
	s.told = s.policy.Snapshot()
	s.follow(policyFamily, s.learnPolicy)
	return nil
}

// learnPolicy takes over what others changed.
func (s *Store) learnPolicy(ctx context.Context, revision uint64) error {
	if s.policy.Version() < revision {
		if err := s.policy.Refresh(ctx); err != nil {
			return err
		}
	}
	switch is := s.policy.Version(); {
	case is < revision:
		return &policy.DamagedError{Revision: is + 1, Where: "policy_change", Err: errors.New("the table head says that it is there")}
	case is > revision:
		// A change of this process that came since head was read; or the database went back, as after an old copy was restored.
		now, err := heads(ctx, s.db)
		if err == nil && now[policyFamily] < is {
			err = &policy.DamagedError{Revision: is, Where: "policy_change", Err: errors.New("the database is at revision " +
				strconv.FormatUint(now[policyFamily], 10) + ", before what was read from it")}
		}
		if err != nil {
			return err
		}
	}
	if err := s.tell(ctx); err != nil {
		return err
	}
	if err := s.compact(ctx); err != nil {
		s.options.Logger.Warn("sqlstore: cannot compact the policy", "error", err) // what is known is known all the same
	}
	return nil
}

// tell tells Options.Changed what is new.
func (s *Store) tell(ctx context.Context) error {
	is := s.policy.Snapshot()
	if s.options.Changed == nil || is.Revision() == s.told.Revision() {
		return nil
	}
	var by []string
	found, err := s.db.QueryContext(ctx, "select distinct actor from policy_change where revision > $1 and revision <= $2",
		int64(s.told.Revision()), int64(is.Revision()))
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var actor string
		if err := found.Scan(&actor); err != nil {
			return err
		}
		by = append(by, actor)
	}
	if err := found.Err(); err != nil {
		return err
	}
	if len(by) != 1 {
		by = []string{""}
	}
	gone, come := is.Since(s.told)
	s.told = is
	return hooked(func() error {
		for _, c := range tableChanges(gone, come, by[0], is.Revision()) {
			s.options.Changed(c)
		}
		return nil
	})
}

// compact puts the whole state in the place of many changes.
func (s *Store) compact(ctx context.Context) error {
	if s.options.CompactAfter < 0 {
		return nil
	}
	is := s.policy.Version()
	if is < s.compactAt {
		return nil
	}
	var least uint64
	if err := s.db.QueryRowContext(ctx, "select coalesce(min(revision), 0) from policy_change").Scan(&least); err != nil {
		return err
	}
	s.compactAt = least + uint64(s.options.CompactAfter)
	if is < s.compactAt {
		return nil
	}
	s.compactAt = is + uint64(s.options.CompactAfter)
	err := s.policy.Compact(ctx)
	if errors.Is(err, policy.Conflict) { // another process did
		return nil
	}
	return err
}

// mendTables makes the tables say what the policy does, if they are at another revision: those who changed it then did not
// write them.
func (s *Store) mendTables(ctx context.Context) error {
	for {
		var is uint64
		var behind bool
		err := s.inTx(ctx, func(t *tx) (err error) {
			if is, err = lockHead(ctx, t, policyFamily); err != nil {
				return err
			}
			at, err := tables(ctx, t)
			if err != nil || at == is {
				return err
			}
			if behind = s.policy.Version() != is; behind {
				return nil
			}
			if err := rebuild(ctx, t, s.policy.Snapshot(), "", time.Now()); err != nil {
				return err
			}
			return setTables(ctx, t, is)
		})
		if err != nil || !behind {
			return err
		}
		if err := s.learnPolicy(ctx, is); err != nil {
			return err
		}
	}
}

// lockHead returns the revision of a family, which nobody else changes until the transaction ends.
func lockHead(ctx context.Context, q querier, family string) (revision uint64, err error) {
	err = q.QueryRowContext(ctx, "update head set revision = revision where family = $1 returning revision", family).Scan(&revision)
	return revision, err
}

// UpdateIn changes the policy in a transaction of the caller's, on the store's database: the change is kept if the transaction
// is committed, and comes into force when the store finds it then, which [Store.AtLeast] waits for. The revision is the one
// that it leads to, or, if f changes nothing, the one that is there. An error leaves the transaction as the database left it; after
// Retry, and most others of the database, it can only be rolled back.
//
// Until the transaction ends, all others who change the policy wait. With SQLite, begin it with _txlock=immediate, as
// the database of OpenSQLite does: if it read before, and another wrote since, the error is Retry.
func (s *Store) UpdateIn(ctx context.Context, t *sql.Tx, actor policy.Actor, f func(*policy.Tx) error) (revision uint64, err error) {
	if t == nil {
		return 0, refuse(InvalidArgument, "transaction", "nil", "one of the store's database")
	}
	_, err = lockHead(ctx, t, policyFamily)
	if err == nil {
		err = s.sameUser(ctx, t, actor.String())
	}
	if err == nil {
		revision, err = s.policy.UpdateIn(ctx, &policyBackend{store: s, joined: t}, actor, f)
	}
	if err != nil && transient(err) {
		err = &Error{Kind: Retry, What: "transaction", Want: "to be rolled back and done again", Err: err}
	}
	if err != nil {
		return 0, wrap(ctx, err)
	}
	return revision, nil
}

// sameUser returns NotAuthorized for the name of a user who is not any more, or not the one whom this process knows by it: whoever
// acts here began before that, and must not change anything with the rights of who has the login next.
func (s *Store) sameUser(ctx context.Context, q querier, login string) error {
	if s.users == nil { // not yet, and nobody acts
		return nil
	}
	known, ok := s.users.roster.user(login)
	if !ok {
		return nil
	}
	if is, _, err := find(ctx, q, login); err != nil && !errors.Is(err, NotFound) {
		return err
	} else if is != known.id {
		return no(NotAuthorized, "actor", login, "a user who is still the same")
	}
	return nil
}

// policyBackend keeps the policy in the table policy_change.
type policyBackend struct {
	store  *Store
	joined *sql.Tx // the caller's transaction; nil: each change has its own
}

var _ policy.ProjectingBackend = (*policyBackend)(nil)

func (b *policyBackend) in(ctx context.Context, f func(querier) error) error {
	if b.joined != nil {
		return f(b.joined)
	}
	return b.store.inTx(ctx, func(t *tx) error { return f(t) })
}

// Changes yields the changes that are there when it is called. What was taken from somebody until then is known when it returns,
// and thus before the changes are in force.
func (b *policyBackend) Changes(ctx context.Context, after uint64) iter.Seq2[policy.Change, error] {
	return func(yield func(policy.Change, error) bool) {
		if after > math.MaxInt64 {
			return
		}
		if err := b.changes(ctx, after, yield); err != nil {
			yield(policy.Change{}, wrap(ctx, err))
		}
	}
}

func (b *policyBackend) changes(ctx context.Context, after uint64, yield func(policy.Change, error) bool) error {
	var q querier = b.store.db
	if b.joined != nil {
		q = b.joined
	}
	from := after
	// One statement sees one state of the table, whatever is compacted in the meantime.
	const statement = "select revision, whole, at, actor, script from policy_change where revision > $1 order by revision"
	var found *sql.Rows
	ask := func() (err error) {
		found, err = q.QueryContext(ctx, statement, int64(after))
		return err
	}
	var err error
	if b.joined != nil {
		err = ask() // a transaction that failed is over
	} else {
		err = again(ctx, ask)
	}
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		c := policy.Change{Where: "policy_change"}
		var at string
		if err := found.Scan(&c.Revision, &c.Whole, &at, &c.Actor, &c.Script); err != nil {
			return err
		}
		if c.At, err = parseStamp(at); err == nil && c.Revision != after+1 && !c.Whole {
			err = fmt.Errorf("revision %d is missing", after+1)
		}
		if err != nil {
			return &policy.DamagedError{Revision: c.Revision, Where: c.Where, Err: err}
		}
		after = c.Revision
		if !yield(c, nil) {
			return nil
		}
	}
	if err := found.Err(); err != nil || after == from || b.joined != nil {
		return err
	}
	return b.store.learnBefore(ctx, policyFamily)
}

// Append keeps a change, and leaves the tables behind, which the next that is projected finds.
func (b *policyBackend) Append(ctx context.Context, c policy.Change) error {
	return b.append(ctx, c, nil)
}

// AppendProjected keeps a change, and writes the tables.
func (b *policyBackend) AppendProjected(ctx context.Context, c policy.Change, before, after *policy.Snapshot) error {
	return b.append(ctx, c, func(q querier) error {
		at, err := tables(ctx, q)
		if err != nil {
			return err
		}
		if at == c.Revision-1 {
			gone, come := after.Since(before)
			err = project(ctx, q, gone, come, c.Actor, c.At)
		} else {
			err = rebuild(ctx, q, after, c.Actor, c.At)
		}
		if err != nil {
			return err
		}
		return setTables(ctx, q, c.Revision)
	})
}

func (b *policyBackend) append(ctx context.Context, c policy.Change, project func(querier) error) error {
	if c.Whole {
		return conflict("a whole state", "a single change")
	}
	if err := checkChange(c); err != nil {
		return err
	}
	err := b.in(ctx, func(q querier) error {
		next, err := b.store.dialect.raiseTo(ctx, q, policyFamily, c.Revision)
		if err != nil {
			return err
		}
		if !next {
			return conflict(strconv.FormatUint(c.Revision, 10), "the one after the last")
		}
		if b.joined == nil {
			if err := b.store.sameUser(ctx, q, c.Actor); err != nil {
				return err
			}
		}
		if err := insertChange(ctx, q, c); err != nil || project == nil {
			return err
		}
		return project(q)
	})
	if err != nil || b.joined != nil {
		return err
	}
	return b.store.learnBefore(ctx, policyFamily) // whoever is given something may be another by now
}

func checkChange(c policy.Change) error {
	if err := checkText("actor", c.Actor); err != nil {
		return err
	}
	return checkText("script", c.Script)
}

func insertChange(ctx context.Context, q querier, c policy.Change) error {
	_, err := q.ExecContext(ctx, "insert into policy_change (revision, whole, at, actor, script) values ($1, $2, $3, $4, $5)",
		int64(c.Revision), c.Whole, stamp(c.At), c.Actor, c.Script)
	return err
}

// Compact puts a whole state in the place of the changes up to it.
func (b *policyBackend) Compact(ctx context.Context, whole policy.Change) error {
	if !whole.Whole || whole.Revision == 0 || whole.Revision > math.MaxInt64 {
		return conflict(strconv.FormatUint(whole.Revision, 10), "a whole state of a revision that is there")
	}
	if err := checkChange(whole); err != nil {
		return err
	}
	return b.in(ctx, func(q querier) error {
		if _, err := lockHead(ctx, q, policyFamily); err != nil {
			return err
		}
		deleted, err := q.ExecContext(ctx, "delete from policy_change where revision <= $1 and exists (select 1 from policy_change where revision = $1)",
			int64(whole.Revision))
		if err != nil {
			return err
		}
		n, err := deleted.RowsAffected()
		if err != nil {
			return err
		}
		if n == 0 {
			return conflict(strconv.FormatUint(whole.Revision, 10), "one that is there")
		}
		return insertChange(ctx, q, whole)
	})
}

func conflict(is, want string) error {
	return &policy.Error{Kind: policy.Conflict, What: "revision", Value: is, Want: want}
}
