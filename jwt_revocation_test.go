package chansec

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// openedJWT is a security on a backend, with the clock of theTime.
func openedJWT(t *testing.T, b RevocationBackend, opts ...JWTOption) *JWTSecurity {
	t.Helper()
	j, err := OpenJWTSecurity(t.Context(), b, hs256(t, ""), append([]JWTOption{stopped(theTime)}, opts...)...)
	require.NoError(t, err)
	return j
}

// frailRevocations is a backend that can be told to fail, and of which tests look at what happens inside.
type frailRevocations struct {
	*MemoryRevocations
	away     atomic.Bool
	onAppend func(Revocation)
	yields   []Revocation // in the place of what is kept
}

var errStorage = errors.New("the storage is away")

func (f *frailRevocations) Append(ctx context.Context, r Revocation) error {
	if f.onAppend != nil {
		f.onAppend(r)
	}
	if f.away.Load() {
		return errStorage
	}
	return f.MemoryRevocations.Append(ctx, r)
}

func (f *frailRevocations) Changes(ctx context.Context, after uint64) iter.Seq2[Revocation, error] {
	if f.yields == nil && !f.away.Load() {
		return f.MemoryRevocations.Changes(ctx, after)
	}
	return func(yield func(Revocation, error) bool) {
		for _, r := range f.yields {
			if !yield(r, nil) {
				return
			}
		}
		if f.away.Load() {
			yield(Revocation{}, errStorage)
		}
	}
}

func frail() *frailRevocations { return &frailRevocations{MemoryRevocations: NewMemoryRevocations()} }

func kept(t *testing.T, b RevocationBackend) (list []Revocation) {
	t.Helper()
	for r, err := range b.Changes(t.Context(), 0) {
		require.NoError(t, err)
		r.Revision = 0
		list = append(list, r)
	}
	return list
}

// tokenNamed is a token with an ID of its own.
func tokenNamed(id string) string {
	return forge(plainHeader, claimsWith("jti", fmt.Sprintf("%q", id)))
}

func tokenFor(subject string) string {
	return forge(plainHeader, claimsWith("sub", fmt.Sprintf("%q", subject)))
}

func TestRevocationsSurviveARestart(t *testing.T) {
	t.Parallel()
	b := NewMemoryRevocations()
	j := openedJWT(t, b)
	require.NoError(t, j.RevokeToken("a", theTime.Add(time.Hour)))
	require.NoError(t, j.RevokeToken("b", time.Time{}))
	require.NoError(t, j.RevokeSubject("ann", theTime))
	require.NoError(t, j.Revoke(t.Context(), Revocation{TokenID: "c", ExpiresAt: theTime.Add(time.Hour)}))
	require.NoError(t, j.Revoke(t.Context(), Revocation{Subject: "t", IssuedBefore: theTime}))
	for name, j := range map[string]*JWTSecurity{"here": j, "after a restart": openedJWT(t, b)} {
		for _, text := range []string{tokenNamed("a"), tokenNamed("b"), tokenNamed("c"), tokenFor("ann"), tokenFor("t")} {
			require.Equal(t, cutOff, answerTo(t, j, text), name)
		}
		for _, text := range []string{tokenNamed("d"), tokenFor("u")} {
			require.Equal(t, accepted, answerTo(t, j, text), name)
		}
	}
	require.Equal(t, accepted, answerTo(t, jwtWith(t, hs256(t, ""), stopped(theTime)), tokenNamed("a")), "without a backend nothing is kept")
}

// Of one token the last ExpiresAt counts and of one subject the last cut-off, in whatever order they arrive.
func TestRevocationsOnlyEverGetStronger(t *testing.T) {
	t.Parallel()
	early, late := theTime.Add(time.Minute), theTime.Add(time.Hour)
	for _, row := range []struct {
		tokens   [2]time.Time
		until    int64
		subjects [2]time.Time
	}{
		{[2]time.Time{early, late}, late.UnixNano(), [2]time.Time{early, late}},
		{[2]time.Time{late, early}, late.UnixNano(), [2]time.Time{late, early}},
		{[2]time.Time{early, {}}, forever, [2]time.Time{late, late}},
		{[2]time.Time{{}, early}, forever, [2]time.Time{late, theTime}},
	} {
		b := NewMemoryRevocations()
		j, other := openedJWT(t, b), openedJWT(t, b)
		for i := range 2 {
			require.NoError(t, j.RevokeToken("a", row.tokens[i]))
			require.NoError(t, j.RevokeSubject("s", row.subjects[i]))
			require.NoError(t, other.Refresh(t.Context()))
		}
		for name, j := range map[string]*JWTSecurity{"here": j, "elsewhere": other, "after a restart": openedJWT(t, b)} {
			require.Equal(t, row.until, j.tokens.Get("a").until, name)
			require.Equal(t, late.Unix(), j.subjects.Get("s").cutOff, name)
		}
	}
}

func TestWhatIsRevokedIsInForceBeforeTheBackendHasIt(t *testing.T) {
	t.Parallel()
	b := frail()
	j := openedJWT(t, b)
	asked := 0
	b.onAppend = func(Revocation) {
		asked++
		require.Equal(t, cutOff, answerTo(t, j, tokenNamed("a")))
	}
	require.NoError(t, j.RevokeToken("a", theTime.Add(time.Hour)))
	require.Equal(t, 1, asked)
	require.Len(t, kept(t, b), 1, "and it is durable when the call returns")
}

func TestARevocationThatIsNotKeptIsAnErrorAndInForceHere(t *testing.T) {
	t.Parallel()
	b := frail()
	j := openedJWT(t, b)
	b.away.Store(true)
	for name, err := range map[string]error{
		"RevokeToken":   j.RevokeToken("a", theTime.Add(time.Hour)),
		"RevokeSubject": j.RevokeSubject("t", theTime),
		"Revoke":        j.Revoke(t.Context(), Revocation{TokenID: "b"}),
	} {
		require.ErrorIs(t, err, ErrNotKept, name)
		require.ErrorIs(t, err, errStorage, name)
	}
	for _, text := range []string{tokenNamed("a"), tokenNamed("b"), tokenFor("t")} {
		require.Equal(t, cutOff, answerTo(t, j, text))
	}
	b.away.Store(false)
	require.Empty(t, kept(t, b))
	require.Equal(t, accepted, answerTo(t, openedJWT(t, b), tokenNamed("a")), "nobody said that this was kept")

	require.NoError(t, j.RevokeToken("a", theTime.Add(time.Hour)), "once more")
	require.Equal(t, cutOff, answerTo(t, openedJWT(t, b), tokenNamed("a")))

	over, cancel := context.WithCancel(t.Context())
	cancel()
	err := j.Revoke(over, Revocation{TokenID: "c"})
	require.ErrorIs(t, err, ErrNotKept)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, cutOff, answerTo(t, j, tokenNamed("c")))
}

func TestWhatIsNoRevocationIsRefused(t *testing.T) {
	t.Parallel()
	b := frail()
	b.onAppend = func(r Revocation) { t.Errorf("%v reached the backend", r) }
	j := openedJWT(t, b)
	version := j.Version()
	for name, r := range map[string]Revocation{
		"of nothing":                      {},
		"of a time only":                  {ExpiresAt: theTime},
		"of a cut-off only":               {IssuedBefore: theTime},
		"of both":                         {TokenID: "a", Subject: "s", IssuedBefore: theTime},
		"of a token with a cut-off":       {TokenID: "a", IssuedBefore: theTime},
		"of a subject with an expiry":     {Subject: "s", IssuedBefore: theTime, ExpiresAt: theTime},
		"of a subject without a cut-off":  {Subject: "s"},
		"of a token ID that is no text":   {TokenID: "\xff"},
		"of a token ID with a line break": {TokenID: "a\n"},
		"of a subject that is no text":    {Subject: "\xff", IssuedBefore: theTime},
	} {
		require.ErrorIs(t, j.Revoke(t.Context(), r), ErrInvalid, name)
	}
	require.Equal(t, version, j.Version())
	require.ErrorIs(t, new(JWTSecurity).Revoke(t.Context(), Revocation{TokenID: "a"}), ErrInvalid, "a zero security")
	require.ErrorIs(t, new(JWTSecurity).RevokeSubject("a", theTime), ErrInvalid)
	require.NoError(t, new(JWTSecurity).Refresh(t.Context()))
}

// The backend gets whole seconds that every format of times can hold, and never an earlier expiry than the token's.
func TestTimesOfRevocationsAreWholeSeconds(t *testing.T) {
	t.Parallel()
	b := NewMemoryRevocations()
	j := openedJWT(t, b)
	at := time.Date(2040, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	require.NoError(t, j.RevokeToken("fraction", at))
	require.NoError(t, j.RevokeToken("whole", at.Truncate(time.Second)))
	require.NoError(t, j.RevokeToken("far", time.Unix(math.MaxInt64/2, 0)))
	require.NoError(t, j.RevokeToken("before Christ", time.Date(-7, 1, 1, 0, 0, 0, 0, time.UTC)))
	require.NoError(t, j.RevokeSubject("fraction", at))
	require.NoError(t, j.RevokeSubject("far", time.Unix(math.MaxInt64/2, 0)))
	require.NoError(t, j.RevokeSubject("before Christ", time.Date(-7, 1, 1, 0, 0, 0, 0, time.UTC)))
	sec := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	require.Equal(t, []Revocation{
		{TokenID: "fraction", ExpiresAt: sec(at.Unix() + 1)},
		{TokenID: "whole", ExpiresAt: sec(at.Unix())},
		{TokenID: "far"},
		{TokenID: "before Christ", ExpiresAt: sec(0)},
		{Subject: "fraction", IssuedBefore: sec(at.Unix())},
		{Subject: "far", IssuedBefore: sec(lastSecond)},
		{Subject: "before Christ", IssuedBefore: sec(0)},
	}, kept(t, b))
}

func TestOpenJWTSecurityFailsRatherThanStartEmpty(t *testing.T) {
	t.Parallel()
	open := func(ctx context.Context, b RevocationBackend, opts ...JWTOption) error {
		j, err := OpenJWTSecurity(ctx, b, hs256(t, ""), append([]JWTOption{stopped(theTime)}, opts...)...)
		require.Equal(t, err == nil, j != nil)
		return err
	}
	require.ErrorIs(t, open(t.Context(), nil), ErrInvalid, "no backend")
	require.ErrorIs(t, open(t.Context(), frail(), JWTMaxRevocations(0)), ErrInvalid, "an option that makes no sense")

	away := frail()
	away.away.Store(true)
	require.ErrorIs(t, open(t.Context(), away), errStorage)
	away.yields = []Revocation{{Revision: 1, TokenID: "a"}}
	require.ErrorIs(t, open(t.Context(), away), errStorage, "after the first")

	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, open(over, frail()), context.Canceled)

	good := Revocation{Revision: 1, TokenID: "a"}
	for name, list := range map[string][]Revocation{
		"a revision twice":             {good, {Revision: 1, TokenID: "b"}},
		"a revision that is 0":         {{TokenID: "b"}},
		"a revision that goes back":    {{Revision: 2, TokenID: "b"}, good},
		"a revocation of nothing":      {good, {Revision: 2}},
		"a token ID that is damaged":   {good, {Revision: 2, TokenID: "\xff"}},
		"a subject without a cut-off":  {good, {Revision: 2, Subject: "s"}},
		"a subject that is damaged":    {good, {Revision: 2, Subject: "a\ufffd", IssuedBefore: theTime}},
		"a token that is a subject to": {good, {Revision: 2, TokenID: "b", Subject: "s", IssuedBefore: theTime}},
	} {
		require.ErrorIs(t, open(t.Context(), &frailRevocations{yields: list}), ErrInvalid, name)
	}
	require.NoError(t, open(t.Context(), &frailRevocations{yields: []Revocation{good, {Revision: 7, TokenID: "b"}}}), "gaps are what is left of what was outdone")
}

func TestOpenJWTSecurityTakesNoMoreThanItsMaximum(t *testing.T) {
	t.Parallel()
	b := NewMemoryRevocations()
	j := openedJWT(t, b)
	for i := range 3 {
		require.NoError(t, j.RevokeToken(fmt.Sprint(i), theTime.Add(time.Minute)))
		require.NoError(t, j.RevokeToken(fmt.Sprint(i), theTime.Add(time.Hour)), "again: it takes no more room")
		require.NoError(t, j.RevokeSubject(fmt.Sprint(i), theTime))
		require.NoError(t, j.RevokeToken(fmt.Sprint("over ", i), theTime), "nor does what has expired")
	}
	openedJWT(t, b, JWTMaxRevocations(3))
	_, err := OpenJWTSecurity(t.Context(), b, hs256(t, ""), JWTMaxRevocations(2), stopped(theTime))
	require.ErrorIs(t, err, ErrLimit)
	require.ErrorContains(t, err, "2 revoked tokens")
	_, err = OpenJWTSecurity(t.Context(), b, hs256(t, ""), JWTMaxRevocations(2), stopped(theTime.Add(2*time.Hour)))
	require.ErrorContains(t, err, "2 revoked subjects", "the tokens have expired")
}

// A full table neither forgets nor lets the backend have what it cannot hold itself.
func TestAFullTableKeepsRevocationsOutOfTheBackend(t *testing.T) {
	t.Parallel()
	b := NewMemoryRevocations()
	j, other := openedJWT(t, b, JWTMaxRevocations(1)), openedJWT(t, b, JWTMaxRevocations(2))
	require.NoError(t, j.RevokeToken("a", time.Time{}))
	require.ErrorIs(t, j.RevokeToken("b", time.Time{}), ErrLimit)
	require.Len(t, kept(t, b), 1)

	require.NoError(t, other.RevokeToken("c", time.Time{}))
	for range 2 {
		require.ErrorIs(t, j.Refresh(t.Context()), ErrLimit, "until there is room")
		require.Equal(t, cutOff, answerTo(t, j, tokenNamed("a")))
	}
	require.NoError(t, other.Refresh(t.Context()))
	require.Equal(t, cutOff, answerTo(t, other, tokenNamed("a")))
}

func TestRefreshTakesOverWhatOthersRevoked(t *testing.T) {
	t.Parallel()
	b := frail()
	here, there := openedJWT(t, b), openedJWT(t, b)
	require.NoError(t, there.RevokeToken("a", theTime.Add(time.Hour)))
	require.NoError(t, there.RevokeSubject("ann", theTime))
	require.Equal(t, accepted, answerTo(t, here, tokenNamed("a")), "nobody told it yet")
	version := here.Version()
	require.NoError(t, here.Refresh(t.Context()))
	require.Equal(t, cutOff, answerTo(t, here, tokenNamed("a")))
	require.Equal(t, cutOff, answerTo(t, here, tokenFor("ann")))
	require.Equal(t, version+2, here.Version())

	require.NoError(t, here.Refresh(t.Context()))
	require.NoError(t, there.Refresh(t.Context()))
	require.Equal(t, version+2, here.Version(), "nothing changed")
	require.Equal(t, uint64(2), there.Version(), "what it revoked itself is nothing new")

	require.NoError(t, there.RevokeToken("b", theTime.Add(time.Hour)))
	b.away.Store(true)
	require.ErrorIs(t, here.Refresh(t.Context()), errStorage)
	require.Equal(t, cutOff, answerTo(t, here, tokenNamed("a")), "what was known stays so")
	require.Equal(t, accepted, answerTo(t, here, tokenNamed("b")))
	b.away.Store(false)
	require.NoError(t, here.Refresh(t.Context()))
	require.Equal(t, cutOff, answerTo(t, here, tokenNamed("b")))

	require.NoError(t, jwtWith(t, hs256(t, "")).Refresh(t.Context()), "without a backend there is nothing to take over")
}

// Two revocations by different processes are each between those of the other: no position may skip one.
func TestRefreshSkipsNothingBehindItsOwnRevocations(t *testing.T) {
	t.Parallel()
	b := NewMemoryRevocations()
	here, there := openedJWT(t, b), openedJWT(t, b)
	require.NoError(t, there.RevokeToken("a", time.Time{}))
	require.NoError(t, here.RevokeToken("b", time.Time{}))
	require.NoError(t, here.Refresh(t.Context()))
	require.Equal(t, cutOff, answerTo(t, here, tokenNamed("a")))
}

// Law 1, for what another process revokes: when Refresh has returned, nothing that is written reaches the lease.
func TestRefreshEndsWhatWasOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewMemoryRevocations()
		open := func() *JWTSecurity {
			j, err := OpenJWTSecurity(t.Context(), b, hs256(t, ""))
			require.NoError(t, err)
			return j
		}
		here, there := open(), open()
		ch, err := NewBroadcast[int]("c", WithSecurity(here))
		require.NoError(t, err)
		require.NoError(t, ch.Start(t.Context()))
		defer ch.Close()
		subscribe := func(subject string) (Lease[int], Principal) {
			text, err := here.GenerateToken(t.Context(), TokenRequest{SystemID: subject, Role: RoleRead, AllChannels: true})
			require.NoError(t, err)
			p, err := here.Authenticate(t.Context(), text)
			require.NoError(t, err)
			lease, err := ch.For(StaticCaller(p)).Subscribe(t.Context())
			require.NoError(t, err)
			return lease, p
		}
		token, p := subscribe("ann")
		subject, _ := subscribe("bob")
		good, _ := subscribe("carol")
		require.NoError(t, there.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt))
		require.NoError(t, there.RevokeSubject("bob", time.Now()))
		synctest.Wait()
		for _, l := range []Lease[int]{token, subject, good} {
			require.NoError(t, l.Err())
		}
		require.NoError(t, here.Refresh(t.Context()))
		_, err = ch.As("boss").Write(t.Context(), 1)
		require.NoError(t, err)
		for _, l := range []Lease[int]{token, subject} {
			<-l.Done()
			require.ErrorIs(t, l.Err(), ErrRevoked)
			for m, err := range l.Messages(t.Context()) {
				require.Error(t, err, m)
			}
		}
		require.NoError(t, good.Err())
		require.NoError(t, good.Close())
	})
}

// Whoever waits for another's Refresh waits no longer than their own context lasts, and then reads anew.
func TestRefreshesWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &slowRevocations{NewMemoryRevocations(), make(chan struct{})}
		close(b.gate)
		j := openedJWT(t, b)
		b.gate = make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { require.NoError(t, j.Refresh(t.Context())) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, j.Refresh(ctx), context.DeadlineExceeded)
		require.NoError(t, b.Append(t.Context(), Revocation{TokenID: "a"}))
		all.Go(func() {
			require.NoError(t, j.Refresh(t.Context()))
			require.Equal(t, cutOff, answerTo(t, j, tokenNamed("a")))
		})
		require.NoError(t, j.RevokeToken("b", time.Time{}), "revoking does not wait for it")
		close(b.gate)
		all.Wait()
	})
}

// slowRevocations takes what is there, and then waits.
type slowRevocations struct {
	*MemoryRevocations
	gate chan struct{}
}

func (s *slowRevocations) Changes(ctx context.Context, after uint64) iter.Seq2[Revocation, error] {
	return func(yield func(Revocation, error) bool) {
		var list []Revocation
		for r := range s.MemoryRevocations.Changes(ctx, after) {
			list = append(list, r)
		}
		<-s.gate
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func TestMemoryRevocationsForgetOnlyWhatNobodyNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewMemoryRevocations()
		add := func(r Revocation) { require.NoError(t, b.Append(t.Context(), r)) }
		soon := time.Now().Add(time.Minute)
		add(Revocation{TokenID: "strong"})
		add(Revocation{Subject: "s", IssuedBefore: soon})
		add(Revocation{TokenID: "expires", ExpiresAt: soon})
		for range 10_000 {
			add(Revocation{TokenID: "strong", ExpiresAt: soon})
			add(Revocation{Subject: "s", IssuedBefore: soon.Add(-time.Hour)})
		}
		require.Less(t, len(b.list), 1100)
		time.Sleep(time.Minute + RevocationGrace)
		for range 2000 {
			add(Revocation{Subject: "t", IssuedBefore: soon})
		}
		require.Subset(t, kept(t, b), []Revocation{{TokenID: "strong"}, {Subject: "s", IssuedBefore: soon}, {TokenID: "expires", ExpiresAt: soon}})
		time.Sleep(1)
		for range 2000 {
			add(Revocation{Subject: "t", IssuedBefore: soon})
		}
		list := kept(t, b)
		require.Subset(t, list, []Revocation{{TokenID: "strong"}, {Subject: "s", IssuedBefore: soon}})
		require.NotContains(t, list, Revocation{TokenID: "expires", ExpiresAt: soon})
		require.Less(t, len(b.list), 1100)
	})
}

// TestManyRevokeOnManyNodes: several securities revoke, refresh and are opened at once; at the end all refuse the same.
func TestManyRevokeOnManyNodes(t *testing.T) {
	t.Parallel()
	b := NewMemoryRevocations()
	nodes := []*JWTSecurity{openedJWT(t, b), openedJWT(t, b), openedJWT(t, b)}
	var all sync.WaitGroup
	each := fewer(1000)
	for n, j := range nodes {
		all.Go(func() {
			for i := range each {
				require.NoError(t, j.RevokeToken(fmt.Sprint(n, " ", i), theTime.Add(time.Hour)))
				require.NoError(t, j.RevokeSubject(fmt.Sprint("s", i%7), theTime.Add(time.Duration(i)*time.Second)))
			}
		})
		all.Go(func() {
			for range each / 10 {
				require.NoError(t, j.Refresh(t.Context()))
			}
		})
	}
	all.Go(func() {
		for range 10 {
			openedJWT(t, b)
		}
	})
	all.Wait()
	for _, j := range append(nodes, openedJWT(t, b)) {
		require.NoError(t, j.Refresh(t.Context()))
		for n := range nodes {
			for i := range each {
				require.NotNil(t, j.tokens.Get(fmt.Sprint(n, " ", i)))
			}
		}
		for i := range 7 {
			last := each - 1 - (each-1-i+7)%7
			require.Equal(t, theTime.Unix()+int64(last), j.subjects.Get(fmt.Sprint("s", i)).cutOff)
		}
	}
}
