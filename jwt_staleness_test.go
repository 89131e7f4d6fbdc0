package chansec

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
)

// staleWorld is a security with JWTMaxStaleness of a minute, and what rests on it. It is for a bubble.
type staleWorld struct {
	t       *testing.T
	backend *frailRevocations
	jwt     *JWTSecurity
	text    string // of "ann", an administrator of every channel
	ann     Principal
}

func newStaleWorld(t *testing.T, opts ...JWTOption) *staleWorld {
	w := &staleWorld{t: t, backend: frail()}
	var err error
	w.jwt, err = OpenJWTSecurity(t.Context(), w.backend, hs256(t, ""), append([]JWTOption{JWTMaxStaleness(time.Minute)}, opts...)...)
	require.NoError(t, err)
	w.text, err = w.jwt.GenerateToken(t.Context(), TokenRequest{SystemID: "ann", Role: RoleAdmin, AllChannels: true})
	require.NoError(t, err)
	w.ann, err = w.jwt.Authenticate(t.Context(), w.text)
	require.NoError(t, err)
	return w
}

// channel makes a channel that is closed with the test.
func (w *staleWorld) channel(s ChannelSecurity) *PassthroughChannel[int] {
	ch, err := NewPassthrough[int]("c", WithSecurity(s))
	require.NoError(w.t, err)
	require.NoError(w.t, ch.Start(w.t.Context()))
	w.t.Cleanup(func() { require.NoError(w.t, ch.Close()) })
	return ch
}

// answered is what a Decider says.
func answered(d Decision, err error) error {
	if err == nil && !d.Allowed {
		return errors.New("no: " + d.Reason)
	}
	if err != nil && d.Allowed {
		return errors.New("a yes with an error")
	}
	return err
}

func said(ok bool, err error) error { return answered(Decision{Allowed: ok}, err) }

// staleWays are the ways in which a security is asked, each in a world of its own.
var staleWays = map[string]struct {
	opts []JWTOption
	ways func(w *staleWorld) map[string]func(context.Context) error
}{
	"alone": {nil, func(w *staleWorld) map[string]func(context.Context) error {
		j, ch := w.jwt, w.channel(w.jwt)
		about := Request{Principal: w.ann, ChannelID: "c", Operation: OpRead}
		local := Request{Principal: Principal{SystemID: "x"}, ChannelID: "c", Operation: OpRead, local: true}
		port, wired := ch.For(StaticCaller(w.ann)), ch.As("x")
		return map[string]func(context.Context) error{
			"Authenticate":   func(ctx context.Context) error { _, err := j.Authenticate(ctx, w.text); return err },
			"AuthorizeToken": func(ctx context.Context) error { _, err := j.AuthorizeToken(ctx, w.text, "c", OpRead); return err },
			"Delegate": func(ctx context.Context) error {
				_, err := j.Delegate(ctx, w.ann, TokenRequest{SystemID: "child", Role: RoleRead, AllChannels: true})
				return err
			},
			"Decide of a token":             func(ctx context.Context) error { return answered(j.Decide(ctx, about)) },
			"Decide of a wired name":        func(ctx context.Context) error { return answered(j.Decide(ctx, local)) },
			"AuthorizeRead":                 func(ctx context.Context) error { return said(j.AuthorizeRead(ctx, "x", "c")) },
			"AuthorizeWrite":                func(ctx context.Context) error { return said(j.AuthorizeWrite(ctx, "x", "c")) },
			"AuthorizeAdmin":                func(ctx context.Context) error { return said(j.AuthorizeAdmin(ctx, "x", "c")) },
			"AuthorizeRead of a caller":     func(ctx context.Context) error { return said(j.AuthorizeRead(withPrincipal(ctx, w.ann), "ann", "c")) },
			"a port of a caller":            func(ctx context.Context) error { _, err := port.Write(ctx, 1); return err },
			"a port of a wired name":        func(ctx context.Context) error { _, err := wired.Read(ctx, 1); return err },
			"a port that is made each time": func(ctx context.Context) error { _, err := ch.For(StaticCaller(w.ann)).Info(ctx); return err },
			"Channel.Authenticate":          func(ctx context.Context) error { _, err := ch.Authenticate(ctx, w.text); return err },
			"Unbounded":                     func(context.Context) error { _, err := Unbounded(StaticCaller(w.ann)); return err },
		}
	}},
	"without a cache": {[]JWTOption{JWTCache(0)}, func(w *staleWorld) map[string]func(context.Context) error {
		return map[string]func(context.Context) error{
			"Authenticate": func(ctx context.Context) error { _, err := w.jwt.Authenticate(ctx, w.text); return err },
		}
	}},
	"with a local authorizer": {[]JWTOption{JWTLocal(OpenSecurity{})}, func(w *staleWorld) map[string]func(context.Context) error {
		wired := w.channel(w.jwt).As("x")
		return map[string]func(context.Context) error{
			"a port of a wired name": func(ctx context.Context) error { _, err := wired.Write(ctx, 1); return err },
			"AuthorizeRead":          func(ctx context.Context) error { return said(w.jwt.AuthorizeRead(ctx, "x", "c")) },
		}
	}},
	"joined with another authorizer": {nil, func(w *staleWorld) map[string]func(context.Context) error {
		ch := w.channel(joinOf(w.t, w.jwt, aclWith(w.t, ACLAdmin("ann")), w.jwt))
		port := ch.For(StaticCaller(w.ann))
		return map[string]func(context.Context) error{
			"a port of a caller": func(ctx context.Context) error { _, err := port.Write(ctx, 1); return err },
		}
	}},
	"behind a decorator": {nil, func(w *staleWorld) map[string]func(context.Context) error {
		ch := w.channel(&decorated{w.jwt})
		port, wired := ch.For(StaticCaller(w.ann)), ch.As("x")
		return map[string]func(context.Context) error{
			"a port of a caller":     func(ctx context.Context) error { _, err := port.Write(ctx, 1); return err },
			"a port of a wired name": func(ctx context.Context) error { _, err := wired.Write(ctx, 1); return err },
		}
	}},
}

// decorated shows the five methods only.
type decorated struct{ ChannelSecurity }

// Every way of asking fails from the moment on at which the last Refresh that succeeded is too long ago, and works again
// after the next one.
func TestWhatMayHaveBeenRevokedIsUndecided(t *testing.T) {
	for name, kind := range staleWays {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStaleWorld(t, kind.opts...)
				ways := kind.ways(w)
				serves := func(when string) {
					for way, ask := range ways {
						require.NoError(t, ask(t.Context()), "%s: %s", way, when)
					}
				}
				refuses := func(since time.Time, cause error) {
					for way, ask := range ways {
						err := ask(t.Context())
						require.ErrorIs(t, err, ErrUndecided, way)
						for _, other := range []error{ErrPermission, ErrUnauthenticated, ErrRevoked, ErrGrant, errStorage} {
							require.NotErrorIs(t, err, other, way)
						}
						e, ok := errors.AsType[*StaleError](err)
						require.True(t, ok, "%s: %v", way, err)
						require.True(t, since.Equal(e.Since), way)
						require.Equal(t, time.Minute, e.Limit, way)
						require.ErrorIs(t, e.Err, cause, way)
					}
				}
				began := time.Now()
				serves("at first")
				sleep(time.Minute - 1)
				serves("to the last moment")
				sleep(1)
				refuses(began, nil)

				w.backend.away.Store(true)
				require.ErrorIs(t, w.jwt.Refresh(t.Context()), errStorage)
				refuses(began, errStorage)
				w.backend.away.Store(false)
				require.NoError(t, w.jwt.Refresh(t.Context()))
				serves("after a Refresh")

				again := time.Now()
				w.backend.away.Store(true)
				for range 6 {
					sleep(10*time.Second - 1)
					serves("while it is away")
					sleep(1)
					require.ErrorIs(t, w.jwt.Refresh(t.Context()), errStorage)
				}
				refuses(again, errStorage)
				w.backend.away.Store(false)
				require.NoError(t, w.jwt.Refresh(t.Context()))
				for range 10 {
					sleep(time.Minute - 1)
					serves("with a Refresh in time, for as long as one likes")
					require.NoError(t, w.jwt.Refresh(t.Context()))
				}
			})
		})
	}
}

// sleep lets time pass in a bubble, and all happen that this brings about.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// What was known to be wrong stays so, and is told as what it is: nobody should try that again later.
func TestWhatIsKnownToBeRefusedIsNotUndecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newStaleWorld(t)
		ch := w.channel(w.jwt)
		require.NoError(t, w.jwt.RevokeToken(w.ann.Grant.TokenID, w.ann.Grant.ExpiresAt))
		sleep(time.Hour)
		_, err := w.jwt.Authenticate(t.Context(), w.text)
		require.ErrorIs(t, err, ErrRevoked)
		require.NotErrorIs(t, err, ErrUndecided)
		_, err = w.jwt.Authenticate(t.Context(), w.text[:len(w.text)-4]+"AAAA")
		require.ErrorIs(t, err, ErrUnauthenticated)
		require.NotErrorIs(t, err, ErrUndecided)
		_, err = ch.For(StaticCaller(w.ann)).Write(t.Context(), 1)
		require.ErrorIs(t, err, ErrPermission)
		require.ErrorIs(t, err, ErrRevoked)
		_, err = w.jwt.Delegate(t.Context(), w.ann, TokenRequest{SystemID: "child", Role: RoleRead, AllChannels: true})
		require.ErrorIs(t, err, ErrGrant)
	})
}

// So is what a token never reached, or no longer does: which of the two is known without asking anybody.
func TestWhatATokenDoesNotReachIsDeniedAlsoWhenItIsStale(t *testing.T) {
	for name, secure := range map[string]func(w *staleWorld) ChannelSecurity{
		"alone":              func(w *staleWorld) ChannelSecurity { return w.jwt },
		"joined":             func(w *staleWorld) ChannelSecurity { return joinOf(w.t, w.jwt, aclWith(w.t, ACLAdmin("bob")), w.jwt) },
		"behind a decorator": func(w *staleWorld) ChannelSecurity { return &decorated{w.jwt} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStaleWorld(t)
				ch := w.channel(secure(w))
				text, err := w.jwt.GenerateToken(t.Context(), TokenRequest{SystemID: "bob", Role: RoleRead, Channels: []string{"c"}, ExpiresIn: time.Hour})
				require.NoError(t, err)
				bob, err := w.jwt.Authenticate(t.Context(), text)
				require.NoError(t, err)
				port := ch.For(StaticCaller(bob))
				sleep(time.Minute)
				_, err = port.Write(t.Context(), 1)
				require.ErrorIs(t, err, ErrPermission)
				require.ErrorIs(t, err, ErrGrant)
				require.NotErrorIs(t, err, ErrUndecided)
				_, err = port.Read(t.Context(), 1)
				require.ErrorIs(t, err, ErrUndecided, "it is his, if it was not revoked")
				sleep(time.Hour)
				_, err = port.Read(t.Context(), 1)
				require.ErrorIs(t, err, ErrPermission)
				require.ErrorIs(t, err, ErrExpired)
				require.NotErrorIs(t, err, ErrUndecided)
			})
		})
	}
}

// Without the option, and without a backend, nothing is ever stale.
func TestWithoutALimitNothingIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := frail()
		open, err := OpenJWTSecurity(t.Context(), b, hs256(t, ""))
		require.NoError(t, err)
		b.away.Store(true)
		for name, j := range map[string]*JWTSecurity{"a backend that is away": open, "in memory": jwtWith(t, hs256(t, ""))} {
			version := j.Version()
			text, err := j.GenerateToken(t.Context(), TokenRequest{SystemID: "ann", Role: RoleRead, AllChannels: true})
			require.NoError(t, err)
			sleep(DefaultTokenLifetime - time.Second)
			require.Equal(t, j.backend == nil, j.Refresh(t.Context()) == nil, name)
			require.Equal(t, accepted, answerTo(t, j, text), name)
			require.Equal(t, version, j.Version(), name)
		}
	})
}

// What a Refresh learned is as old as its beginning: what was revoked while it waited for the answer is not in it.
func TestAgeBeginsBeforeTheBackendIsAsked(t *testing.T) {
	for _, row := range []struct {
		name  string
		takes time.Duration
		fresh time.Duration // for how long after it returned
	}{
		{"a Refresh that takes no time", 0, time.Minute},
		{"one that takes most of the limit", 59 * time.Second, time.Second},
		{"one that takes the limit", time.Minute, 0},
		{"one that takes longer", time.Hour, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &lateRevocations{NewMemoryRevocations(), 0}
				j, err := OpenJWTSecurity(t.Context(), b, hs256(t, ""), JWTMaxStaleness(time.Minute))
				require.NoError(t, err)
				sleep(2 * time.Minute)
				require.ErrorIs(t, j.fresh(), ErrUndecided)
				version := j.Version()

				b.takes = row.takes
				began := time.Now()
				require.NoError(t, j.Refresh(t.Context()))
				if row.fresh > 0 {
					require.NoError(t, j.fresh())
					require.Equal(t, version+1, j.Version())
					sleep(row.fresh - 1)
					require.NoError(t, j.fresh())
					sleep(1)
					require.Equal(t, version+2, j.Version())
				} else {
					require.Equal(t, version, j.Version(), "not even for a moment")
				}
				e, ok := errors.AsType[*StaleError](j.fresh())
				require.True(t, ok)
				require.True(t, began.Equal(e.Since))
				require.NoError(t, e.Err)
			})
		})
	}
}

// A Refresh that hangs keeps nobody from noticing.
func TestARefreshThatDoesNotReturnIsNoRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &lateRevocations{NewMemoryRevocations(), 0}
		j, err := OpenJWTSecurity(t.Context(), b, hs256(t, ""), JWTMaxStaleness(time.Minute))
		require.NoError(t, err)
		b.takes = time.Hour
		var all sync.WaitGroup
		all.Go(func() { require.NoError(t, j.Refresh(t.Context())) })
		sleep(time.Minute)
		require.ErrorIs(t, j.fresh(), ErrUndecided)
		require.NoError(t, j.RevokeToken("a", time.Time{}), "nor from revoking")
		all.Wait()
	})
}

// lateRevocations answers by what was there when it was asked, and takes its time.
type lateRevocations struct {
	*MemoryRevocations
	takes time.Duration
}

func (l *lateRevocations) Changes(ctx context.Context, after uint64) iter.Seq2[Revocation, error] {
	list := l.MemoryRevocations.Changes(ctx, after)
	return func(yield func(Revocation, error) bool) {
		time.Sleep(l.takes)
		list(yield)
	}
}

// Leases and claims end when nobody can say any more whether they should, also idle ones, and new ones begin after a Refresh.
func TestWhatIsOpenEndsWhenItIsStale(t *testing.T) {
	for name, secure := range map[string]func(w *staleWorld) ChannelSecurity{
		"alone": func(w *staleWorld) ChannelSecurity { return w.jwt },
		"joined": func(w *staleWorld) ChannelSecurity {
			return joinOf(w.t, w.jwt, aclWith(w.t, ACLAdmin("ann", "x")), w.jwt)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newStaleWorld(t)
				ch := w.channel(secure(w))
				port := ch.For(StaticCaller(w.ann))
				lease, err := port.Subscribe(t.Context())
				require.NoError(t, err)
				id, err := port.Write(t.Context(), 1)
				require.NoError(t, err)
				claims, err := port.Claim(t.Context(), 1)
				require.NoError(t, err)
				require.Len(t, claims, 1)

				sleep(time.Minute - 1)
				require.NoError(t, lease.Err())
				sleep(1)
				require.ErrorIs(t, lease.Err(), ErrRevoked)
				require.ErrorIs(t, lease.Err(), ErrUndecided)
				require.NotErrorIs(t, lease.Err(), ErrPermission)
				_, ok := errors.AsType[*StaleError](lease.Err())
				require.True(t, ok)
				require.ErrorIs(t, claims[0].Acknowledge(t.Context()), ErrUndecided)

				require.NoError(t, w.jwt.Refresh(t.Context()))
				require.ErrorIs(t, lease.Err(), ErrRevoked, "what has ended stays so")
				again, err := port.Claim(t.Context(), 1)
				require.NoError(t, err)
				require.Len(t, again, 1, "nothing was lost")
				require.Equal(t, id, again[0].Message.ID)
				lease, err = port.Subscribe(t.Context())
				require.NoError(t, err)
				for range 5 {
					sleep(time.Minute - 1)
					require.NoError(t, w.jwt.Refresh(t.Context()))
				}
				require.NoError(t, lease.Err())
				require.NoError(t, lease.Close())
			})
		})
	}
}

// Whoever turns to others because of the error must not be told that the caller or the context is to blame.
func TestStaleErrorIsNotItsCause(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, cause := range []error{ErrPermission, ErrUnauthenticated, ErrExpired, ErrRevoked, ErrLimit, ErrInvalid, context.DeadlineExceeded} {
		e := &StaleError{Since: since, Limit: time.Minute, Err: cause}
		require.ErrorIs(t, e, ErrUndecided)
		require.NotErrorIs(t, e, cause)
		require.ErrorContains(t, e, "older than 1m0s")
		require.ErrorContains(t, e, "2026-01-02T03:04:05Z")
		require.ErrorContains(t, e, cause.Error())
	}
	require.NotContains(t, (&StaleError{}).Error(), "nil")
}

func TestJWTMaxStalenessIsPositiveAndNeedsABackend(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{0, -1, -time.Hour} {
		_, err := OpenJWTSecurity(t.Context(), NewMemoryRevocations(), hs256(t, ""), JWTMaxStaleness(d))
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "staleness "+d.String())
		_, err = NewJWTSecurity(hs256(t, ""), JWTMaxStaleness(d))
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err := NewJWTSecurity(hs256(t, ""), JWTMaxStaleness(time.Minute))
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "OpenJWTSecurity")
	_, err = OpenJWTSecurity(t.Context(), nil, hs256(t, ""), JWTMaxStaleness(time.Minute))
	require.ErrorIs(t, err, ErrInvalid)
	for _, d := range []time.Duration{time.Hour, 1<<63 - 1} {
		j, err := OpenJWTSecurity(t.Context(), NewMemoryRevocations(), hs256(t, ""), JWTMaxStaleness(d))
		require.NoError(t, err)
		require.NoError(t, j.fresh())
	}
}

// Nobody has to close a security: its timer does not keep it, and does no harm when it is gone.
func TestASecurityThatWasDroppedIsGarbage(t *testing.T) {
	t.Parallel()
	dropped := func() weak.Pointer[JWTSecurity] {
		j, err := OpenJWTSecurity(t.Context(), NewMemoryRevocations(), hs256(t, ""), JWTMaxStaleness(time.Hour))
		require.NoError(t, err)
		require.NoError(t, j.Refresh(t.Context()))
		return weak.Make(j)
	}()
	for range 10 {
		runtime.GC()
	}
	require.Nil(t, dropped.Value())
}

// The timer, those who refresh and those who decide do not wait for each other, and agree in the end.
func TestManyRefreshWhileItGetsStale(t *testing.T) {
	t.Parallel()
	b := frail()
	j, err := OpenJWTSecurity(t.Context(), b, hs256(t, ""), JWTMaxStaleness(20*time.Microsecond))
	require.NoError(t, err)
	text, err := j.GenerateToken(t.Context(), TokenRequest{SystemID: "ann", Role: RoleRead, AllChannels: true})
	require.NoError(t, err)
	each := fewer(2000)
	var all sync.WaitGroup
	for n := range 2 {
		all.Go(func() {
			for i := range each {
				b.away.Store(n == 0 && i%3 == 0)
				if err := j.Refresh(t.Context()); err != nil {
					require.ErrorIs(t, err, errStorage)
				}
			}
		})
		all.Go(func() {
			for range each {
				if _, err := j.Authenticate(t.Context(), text); err != nil {
					require.ErrorIs(t, err, ErrUndecided)
				}
				if err := said(j.AuthorizeRead(t.Context(), "x", "c")); err != nil {
					require.ErrorIs(t, err, ErrUndecided)
				}
			}
		})
	}
	all.Wait()
	for changed := j.Changed(); j.fresh() == nil; changed = j.Changed() { // it is the timer's turn
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatal("nobody said that it is stale")
		}
	}
}
