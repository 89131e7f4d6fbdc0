package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/chansec/chansec"
)

// Revocations is the tokens and subjects that were revoked, for the chansec.JWTSecurities of all processes that share the
// database. It may be used from many goroutines at once.
//
//	security, err := chansec.OpenJWTSecurity(ctx, store.Revocations(), key, chansec.JWTMaxStaleness(sqlstore.DefaultMaxStaleness))
//	err = store.Revocations().OnChange(ctx, security.Refresh)
//
// The option is for where such a security decides without one of the store's authorizers, which deny once the store is stale.
type Revocations struct {
	store *Store

	mu    sync.Mutex
	hooks []func(context.Context) error
}

var _ chansec.RevocationBackend = (*Revocations)(nil)

// OnChange calls a function, and from then on, one call at a time, whenever there may be new revocations, by whichever
// process, and at least every Options.Poll while the database answers. While it fails or panics the store counts as stale. What is
// given to anybody is in force only after it has returned, so that it must not change the policy or the users, nor wait for
// either, and must return when its context ends.
func (r *Revocations) OnChange(ctx context.Context, f func(context.Context) error) error {
	r.mu.Lock()
	r.hooks = append(r.hooks, f)
	r.mu.Unlock()
	return f(ctx)
}

func (r *Revocations) follow(ctx context.Context, _ uint64) error {
	r.mu.Lock()
	hooks := r.hooks // only ever appended to
	r.mu.Unlock()
	var failed error
	for _, f := range hooks {
		failed = errors.Join(failed, hooked(func() error { return f(ctx) }))
	}
	return failed
}

// Append keeps a revocation, and forgets those of tokens that expired more than chansec.RevocationGrace ago.
func (r *Revocations) Append(ctx context.Context, x chansec.Revocation) error {
	if err := checkText("revocation", x.TokenID, x.Subject); err != nil {
		return err
	}
	return r.store.inTx(ctx, func(t *tx) error { return r.insert(ctx, t, x) })
}

func (r *Revocations) insert(ctx context.Context, t *tx, x chansec.Revocation) error {
	kind, name, at := "subject", x.Subject, sql.NullInt64{Int64: x.IssuedBefore.Unix(), Valid: true}
	if x.TokenID != "" {
		kind, name, at = "token", x.TokenID, sql.NullInt64{Int64: x.ExpiresAt.Unix(), Valid: !x.ExpiresAt.IsZero()}
	}
	revision, err := t.raise(ctx, revocationsFamily)
	if err != nil {
		return err
	}
	if _, err := t.ExecContext(ctx, `delete from revocation where kind = 'token' and at < $1`, time.Now().Add(-chansec.RevocationGrace).Unix()); err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `insert into revocation (kind, name, at, revision, modified_at) values ($1, $2, $3, $4, $5)
		on conflict (kind, name) do update set at = excluded.at, revision = excluded.revision, modified_at = excluded.modified_at
		where excluded.at is null and revocation.at is not null or excluded.at > revocation.at`, kind, name, at, int64(revision), stamp(time.Now()))
	return err
}

// Changes yields the revocations after a revision.
func (r *Revocations) Changes(ctx context.Context, after uint64) iter.Seq2[chansec.Revocation, error] {
	const page = 1000
	return func(yield func(chansec.Revocation, error) bool) {
		for last := after; ; {
			list, err := r.page(ctx, last, page)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(chansec.Revocation{}, wrap(ctx, err))
				return
			}
			for _, x := range list {
				if last = x.Revision; !yield(x, nil) {
					return
				}
			}
			if len(list) < page {
				return
			}
		}
	}
}

func (r *Revocations) page(ctx context.Context, after uint64, most int) (list []chansec.Revocation, err error) {
	err = collect(ctx, r.store.db, `select kind, name, at, revision from revocation where revision > $1 order by revision limit $2`,
		[]any{int64(min(after, math.MaxInt64)), most}, func(row scanner) error {
			var kind, name string
			var at sql.NullInt64
			var x chansec.Revocation
			if err := row.Scan(&kind, &name, &at, &x.Revision); err != nil {
				return err
			}
			var when time.Time
			if at.Valid {
				when = time.Unix(at.Int64, 0).UTC()
			}
			if kind == "token" {
				x.TokenID, x.ExpiresAt = name, when
			} else {
				x.Subject, x.IssuedBefore = name, when
			}
			list = append(list, x)
			return nil
		})
	return list, err
}
