package chansec

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"
	"weak"

	"github.com/chansec/chansec/internal/atomicmap"
)

// Revocation revokes one token, by its ID, or the tokens of a subject that were issued up to some time: one of the two. It
// cannot be taken back.
type Revocation struct {
	// Revision is given by the backend. It is 0 in what is to be revoked.
	Revision uint64

	// TokenID is the ID (jti) of a token, and ExpiresAt when that expires. After that the revocation may be forgotten;
	// with a zero time it never is.
	TokenID   string
	ExpiresAt time.Time

	// Subject is whose tokens (sub) are revoked if they were issued (iat) before a time, or in the same second, or without
	// saying when.
	Subject      string
	IssuedBefore time.Time
}

// RevocationBackend keeps the revocations of the JWTSecurities that share it: they survive a restart, and reach the other
// processes. It decides nothing. Its methods may be called from many goroutines at once and, unless it says otherwise, by
// many processes. What it is given is valid: IDs are 1 to 512 bytes of UTF-8 without control characters, compared byte for
// byte; times are whole seconds of UTC in the years 1970 to 9999, or zero. TestRevocations of the package chansectest tests
// it.
type RevocationBackend interface {
	// Append keeps a revocation; it is durable, and Changes yields it, when Append returns. After an error it may be kept
	// or not, but never in part.
	Append(ctx context.Context, r Revocation) error
	// Changes yields the revocations with a revision above a given one, in that order. Revisions begin at 1. None may appear
	// at or below one that was yielded before: where the number is given before the transaction ends, as by a sequence of a
	// database, those who write must wait for each other. It may leave out what another one outdoes, which is of the same
	// token with at least that ExpiresAt, or of the same subject with at least that IssuedBefore, and tokens that expired
	// more than RevocationGrace ago. What it holds but cannot read is an error, the last thing it yields.
	Changes(ctx context.Context, after uint64) iter.Seq2[Revocation, error]
}

// RevocationGrace is for how long a RevocationBackend keeps the revocation of a token that has expired: clocks differ, and
// securities allow for that.
const RevocationGrace = time.Hour

// OpenJWTSecurity returns a NewJWTSecurity that keeps its revocations in a backend, with all that are there already in
// force. If they cannot be read, or are more than JWTMaxRevocations, which is ErrLimit, there is no security. What other
// processes revoke afterwards is taken over by Refresh; JWTMaxStaleness says what to do when that fails.
func OpenJWTSecurity(ctx context.Context, b RevocationBackend, key Key, opts ...JWTOption) (*JWTSecurity, error) {
	if b == nil {
		return nil, &InvalidError{What: "RevocationBackend", Value: "nil", Want: "one, or NewJWTSecurity for revocations in memory"}
	}
	j, err := newJWTSecurity(b, key, opts)
	if err != nil {
		return nil, err
	}
	if err := j.Refresh(ctx); err != nil {
		return nil, err
	}
	return j, nil
}

// Refresh takes over what other processes revoked: everything that was acknowledged before it was called is in force when
// it returns, and has ended what was open, as if it had been revoked here. Call it when the backend is known to have
// changed, and at an interval, which is how late a revocation can be. After an error what came before it is in force, and
// what was from earlier remains so: the backend failed, or holds what makes no sense (ErrInvalid) or more than
// JWTMaxRevocations (ErrLimit). Until it succeeds, tokens that others revoked may be accepted here, with JWTMaxStaleness for
// no longer than that.
func (j *JWTSecurity) Refresh(ctx context.Context) error {
	if j.backend == nil {
		return nil
	}
	select {
	case j.turn <- struct{}{}:
		defer func() { <-j.turn }()
	case <-ctx.Done():
		return fmt.Errorf("chansec: the revocations were not read: %w", ctx.Err())
	}
	asked := time.Now()
	err := j.takeOver(ctx)
	j.refreshed(asked, err)
	return err
}

// takeOver is Refresh for whoever has the turn.
func (j *JWTSecurity) takeOver(ctx context.Context) error {
	for r, err := range j.backend.Changes(ctx, j.revision) {
		if err != nil {
			return fmt.Errorf("chansec: the revocations were not read: %w", err)
		}
		if r.Revision <= j.revision {
			return &InvalidError{What: "revision of a revocation", Value: strconv.FormatUint(r.Revision, 10), Want: "one above " + strconv.FormatUint(j.revision, 10)}
		}
		revision := r.Revision
		if r, err = r.check(); err == nil && !j.over(r) {
			err = j.apply(r)
		}
		if err != nil {
			return fmt.Errorf("chansec: revocation %d: %w", revision, err)
		}
		j.revision = revision
	}
	return nil
}

// fresh returns a StaleError if what is known is too old. It costs one atomic load.
func (j *JWTSecurity) fresh() error {
	if e := j.stale.Load(); e != nil {
		return e
	}
	return nil
}

// refreshed notes what came of a Refresh. What it learned is as old as its beginning, however long it took.
func (j *JWTSecurity) refreshed(asked time.Time, err error) {
	if j.maxStaleness == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed = err; err == nil {
		j.asked = asked
	}
	j.judge()
}

// judge says whether what is known is stale, and sees to it that it is called again at the moment when it will be. The
// caller holds j.mu.
//
// The timer holds the security weakly: one that was dropped is garbage at once, and its timer gone after maxStaleness.
func (j *JWTSecurity) judge() {
	was := j.stale.Load()
	left := j.maxStaleness - time.Since(j.asked)
	if left <= 0 {
		if j.stale.Store(&StaleError{Since: j.asked, Limit: j.maxStaleness, Err: j.failed}); was == nil {
			j.bump("")
		}
		return
	}
	if was != nil {
		j.stale.Store(nil)
		j.bump("")
	}
	if j.expiry != nil {
		j.expiry.Reset(left)
		return
	}
	self := weak.Make(j)
	j.expiry = time.AfterFunc(left, func() {
		if j := self.Value(); j != nil {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.judge()
		}
	})
}

// Revoke revokes a token or the tokens of a subject. When it returns, the revocation is in force, what was open has ended,
// and the backend, if there is one, has made it durable. After an InvalidError or ErrLimit, which says that the table is
// full, nothing was revoked. ErrNotKept says that the backend failed: the revocation is in force in this process, and
// perhaps for others; do it again. What is weaker than a revocation from before changes nothing.
func (j *JWTSecurity) Revoke(ctx context.Context, r Revocation) error {
	if j.door == nil {
		return &InvalidError{What: "JWTSecurity", Value: "zero", Want: "one that NewJWTSecurity made"}
	}
	r, err := r.check()
	if err != nil {
		return err
	}
	r.Revision = 0
	// First here: the token is dead at once, however slow the backend is, and the table has room for what is kept.
	if err := j.apply(r); err != nil || j.backend == nil {
		return err
	}
	if err := j.backend.Append(ctx, r); err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	return nil
}

// RevokeToken is Revoke for the token of an ID (jti), without a context. It may be forgotten once the token has expired; with
// a zero time it is remembered for ever.
func (j *JWTSecurity) RevokeToken(tokenID string, expiresAt time.Time) error {
	if err := checkName("token id", tokenID); err != nil {
		return err
	}
	return j.Revoke(context.Background(), Revocation{TokenID: tokenID, ExpiresAt: expiresAt})
}

// RevokeSubject is Revoke for every token of a subject that was issued (iat) before a time, or in the same second, or without
// saying when, without a context. An earlier time than one given before changes nothing.
func (j *JWTSecurity) RevokeSubject(subject string, issuedBefore time.Time) error {
	if err := checkName("system id", subject); err != nil {
		return err
	}
	return j.Revoke(context.Background(), Revocation{Subject: subject, IssuedBefore: issuedBefore})
}

// check returns a revocation with its times as a backend keeps them.
func (r Revocation) check() (Revocation, error) {
	switch {
	case (r.TokenID == "") == (r.Subject == ""), r.TokenID == "" && !r.ExpiresAt.IsZero(), r.Subject == "" && !r.IssuedBefore.IsZero():
		return r, &InvalidError{What: "revocation", Want: "a token id and when it expires, or a subject and a cut-off"}
	case r.TokenID != "":
		if !r.ExpiresAt.IsZero() {
			r.ExpiresAt = second(r.ExpiresAt.Add(time.Second - 1)) // no sooner than it expires
			if r.ExpiresAt.Unix() == lastSecond {
				r.ExpiresAt = time.Time{}
			}
		}
		return r, checkName("token id", r.TokenID)
	case r.IssuedBefore.IsZero():
		return r, &InvalidError{What: "cut-off", Value: "zero", Want: "a time"}
	}
	r.IssuedBefore = second(r.IssuedBefore)
	return r, checkName("system id", r.Subject)
}

// lastSecond is the end of the year 9999, the last that every format of times can hold.
const lastSecond = 253402300799

// second returns the second of a time, or the nearest one that a backend must keep.
func second(t time.Time) time.Time { return time.Unix(min(max(t.Unix(), 0), lastSecond), 0).UTC() }

// revokedToken is remembered until the token has expired.
type revokedToken struct{ until int64 }

// revokedSubject revokes what was issued up to a second. It is remembered for ever: without it, a token of long ago that
// has too much time left today would be good tomorrow.
type revokedSubject struct{ cutOff int64 }

// until returns when a revocation may be forgotten, in Unix nanoseconds.
func (j *JWTSecurity) until(r Revocation) int64 {
	if r.ExpiresAt.IsZero() {
		return forever
	}
	return unixNano(r.ExpiresAt.Add(j.leeway))
}

// over reports whether a revocation need not take a place in the table, because its token has expired.
func (j *JWTSecurity) over(r Revocation) bool {
	return r.TokenID != "" && j.dead(&revokedToken{j.until(r)})
}

func (j *JWTSecurity) dead(r *revokedToken) bool {
	return r.until != forever && r.until <= j.now().UnixNano()
}

// apply puts a checked revocation in force.
func (j *JWTSecurity) apply(r Revocation) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r.TokenID != "" {
		until := j.until(r)
		switch old := j.tokens.Get(r.TokenID); {
		case old != nil && old.until >= until:
			return nil
		case old == nil && !room(&j.tokens, j.max):
			return fmt.Errorf("%w: %d revoked tokens", ErrLimit, j.max)
		}
		j.tokens.Set(r.TokenID, &revokedToken{until})
		j.bump("")
		return nil
	}
	cutOff := r.IssuedBefore.Unix()
	switch old := j.subjects.Get(r.Subject); {
	case old != nil && old.cutOff >= cutOff:
		return nil
	case old == nil && !room(&j.subjects, j.max):
		return fmt.Errorf("%w: %d revoked subjects", ErrLimit, j.max)
	}
	j.subjects.Set(r.Subject, &revokedSubject{cutOff})
	j.bump(r.Subject)
	return nil
}

// room reports whether a table may take one more, after it dropped what is dead.
func room[V any](m *atomicmap.Map[string, V], most int) bool {
	return m.Places() < most || m.Rebuild() < most
}

// MemoryRevocations is a RevocationBackend in memory, for tests, and for several securities in one process. It holds no more
// than what they may: see JWTMaxRevocations.
type MemoryRevocations struct {
	mu   sync.Mutex
	last uint64
	list []Revocation // in order; never changed in place
	tidy int          // at this length what is not needed any more is left out
}

// NewMemoryRevocations returns an empty backend.
func NewMemoryRevocations() *MemoryRevocations { return &MemoryRevocations{} }

// Append keeps a revocation.
func (b *MemoryRevocations) Append(ctx context.Context, r Revocation) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(b.list) >= b.tidy {
		b.list = needed(b.list, time.Now())
		b.tidy = max(1024, 2*len(b.list))
	}
	b.last++
	r.Revision = b.last
	b.list = append(b.list, r)
	return nil
}

// Changes yields the revocations that are there when it is called.
func (b *MemoryRevocations) Changes(ctx context.Context, after uint64) iter.Seq2[Revocation, error] {
	return func(yield func(Revocation, error) bool) {
		b.mu.Lock()
		list := b.list
		b.mu.Unlock()
		if err := ctx.Err(); err != nil {
			yield(Revocation{}, err)
			return
		}
		from, found := slices.BinarySearchFunc(list, after, func(r Revocation, n uint64) int { return cmp.Compare(r.Revision, n) })
		if found {
			from++
		}
		for _, r := range list[from:] {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// needed returns the revocations that no other one outdoes and that are not long over.
func needed(list []Revocation, now time.Time) []Revocation {
	type of struct{ token, subject string }
	most := make(map[of]Revocation, len(list))
	for _, r := range list {
		key := of{r.TokenID, r.Subject}
		if best, ok := most[key]; !ok || !best.outdoes(r) {
			most[key] = r
		}
	}
	var kept []Revocation
	for _, r := range list {
		over := r.TokenID != "" && !r.ExpiresAt.IsZero() && now.Sub(r.ExpiresAt) > RevocationGrace
		if !over && most[of{r.TokenID, r.Subject}].Revision == r.Revision {
			kept = append(kept, r)
		}
	}
	return kept
}

// outdoes reports whether a revocation does all that another one of the same tokens does.
func (r Revocation) outdoes(other Revocation) bool {
	return !r.IssuedBefore.Before(other.IssuedBefore) &&
		(r.ExpiresAt.IsZero() || !other.ExpiresAt.IsZero() && !r.ExpiresAt.Before(other.ExpiresAt))
}
