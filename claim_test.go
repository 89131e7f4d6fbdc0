package chansec

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

// workQueueOf is a started queue of the kind's own type.
func workQueueOf(t *testing.T, opts ...Option) *WorkQueueChannel[string] {
	t.Helper()
	q, err := NewWorkQueue[string]("room", append([]Option{WithSecurity(OpenSecurity{})}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, q.Close()) })
	require.NoError(t, q.Start(t.Context()))
	return q
}

func enqueue(t *testing.T, q *WorkQueueChannel[string], list ...string) {
	t.Helper()
	for _, m := range list {
		_, err := q.As("producer").Write(t.Context(), m)
		require.NoError(t, err)
	}
}

// claim claims up to n messages.
func claim(t *testing.T, q *WorkQueueChannel[string], name string, n int) []Claim[string] {
	t.Helper()
	c, err := q.As(name).Claim(t.Context(), n)
	require.NoError(t, err)
	return c
}

func TestClaimIsOneWorkersUntilItIsSettled(t *testing.T) {
	ctx := t.Context()
	q := workQueueOf(t)
	enqueue(t, q, "1", "2", "3")
	a := claim(t, q, "a", 2)
	require.Equal(t, []string{"1", "2"}, claimed(a), "the oldest first")
	require.EqualValues(t, 1, a[0].Attempt)
	require.Equal(t, "producer", a[0].Message.SenderID)
	require.Equal(t, []string{"3"}, claimed(claim(t, q, "a", 10)), "asking again gives others, not the same again")
	require.Empty(t, claim(t, q, "b", 10), "none is no error")

	require.NoError(t, a[0].Acknowledge(ctx))
	require.ErrorIs(t, a[0].Acknowledge(ctx), ErrClaimLost, "twice")
	require.ErrorIs(t, a[0].Nack(ctx), ErrClaimLost)
	require.ErrorIs(t, a[0].Extend(ctx), ErrClaimLost)
	n, err := q.As("host").Len(ctx)
	require.NoError(t, err)
	require.Equal(t, 2, n, "what is done is gone")

	require.NoError(t, a[1].Nack(ctx))
	enqueue(t, q, "4")
	b := claim(t, q, "b", 10)
	require.Equal(t, []string{"2", "4"}, claimed(b), "what was given back comes first")
	require.EqualValues(t, 2, b[0].Attempt)
	require.ErrorIs(t, a[1].Acknowledge(ctx), ErrClaimLost, "the late one cannot touch the new holder's claim")
	require.NoError(t, b[0].Acknowledge(ctx))
}

func TestReceiptsTakeEffectForTheirHolderOnly(t *testing.T) {
	ctx := t.Context()
	q := workQueueOf(t)
	enqueue(t, q, "1", "2", "3")
	c := claim(t, q, "a", 3)
	mine, foreign := c[0].Receipt(), uuid.New()
	require.Equal(t, Receipt{ID: c[0].Message.ID, Attempt: 1}, mine)

	for name, settle := range map[string]func(context.Context, ...Receipt) (int, error){
		"Acknowledge": q.As("b").Acknowledge, "Nack": q.As("b").Nack, "Extend": q.As("b").Extend,
	} {
		n, err := settle(ctx, mine, Receipt{ID: foreign, Attempt: 1}, Receipt{})
		require.NoError(t, err, name)
		require.Zero(t, n, "%s by another worker, of an unknown message, and of none", name)
	}
	a := q.As("a")
	n, err := a.Extend(ctx, mine, c[1].Receipt(), mine, Receipt{ID: foreign, Attempt: 1})
	require.NoError(t, err)
	require.Equal(t, 3, n)
	n, err = a.Acknowledge(ctx, mine, mine, Receipt{ID: c[1].Message.ID, Attempt: 2})
	require.NoError(t, err)
	require.Equal(t, 1, n, "once, and no attempt that never was")
	n, err = a.Nack(ctx, c[1].Receipt(), c[2].Receipt(), c[1].Receipt())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"2", "3"}, claimed(claim(t, q, "b", 3)))
}

func TestBareReceiptIsGoodWhileTheMessageWasClaimedOnce(t *testing.T) {
	ctx := t.Context()
	q := workQueueOf(t)
	enqueue(t, q, "1", "2")
	c := claim(t, q, "a", 2)
	bare := func(i int) Receipt { return Receipt{ID: c[i].Message.ID} }
	n, err := q.As("a").Acknowledge(ctx, bare(0))
	require.NoError(t, err)
	require.Equal(t, 1, n)

	n, err = q.As("a").Nack(ctx, bare(1))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	again := claim(t, q, "a", 1)
	for name, settle := range map[string]func(context.Context, ...Receipt) (int, error){
		"Acknowledge": q.As("a").Acknowledge, "Nack": q.As("a").Nack, "Extend": q.As("a").Extend,
	} {
		n, err := settle(ctx, bare(1))
		require.NoError(t, err, name)
		require.Zero(t, n, "%s: which of the two claims is meant?", name)
	}
	require.NoError(t, again[0].Acknowledge(ctx))
}

func TestClaimThatTakesTooLongGoesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		q := workQueueOf(t, WithClaimTimeout(time.Minute))
		enqueue(t, q, "1", "2")
		a := claim(t, q, "a", 2)
		require.True(t, a[0].Deadline.Equal(time.Now().Add(time.Minute)))
		later(59 * time.Second)
		require.Empty(t, claim(t, q, "b", 2))
		require.NoError(t, a[1].Extend(ctx))
		later(time.Second)
		b := claim(t, q, "b", 2)
		require.Equal(t, []string{"1"}, claimed(b), "the other one was extended")
		require.ErrorIs(t, a[0].Acknowledge(ctx), ErrClaimLost)
		n, err := q.As("a").Nack(ctx, a[0].Receipt(), Receipt{ID: a[0].Message.ID})
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, b[0].Acknowledge(ctx))
		later(59 * time.Second)
		require.Equal(t, []string{"2"}, claimed(claim(t, q, "b", 2)), "a minute after it was extended")
	})
}

func TestClaimIsLostAtItsDeadlineWhetherSomebodyTookItOrNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workQueueOf(t, WithClaimTimeout(time.Minute))
		enqueue(t, q, "1", "2")
		a := claim(t, q, "a", 2)
		later(time.Minute - 1)
		require.NoError(t, a[0].Acknowledge(t.Context()))
		later(1)
		require.ErrorIs(t, a[1].Extend(t.Context()), ErrClaimLost)
		require.ErrorIs(t, a[1].Acknowledge(t.Context()), ErrClaimLost)
		require.Equal(t, []string{"2"}, claimed(claim(t, q, "b", 2)))
	})
}

func TestClaimNextWaits(t *testing.T) {
	// next starts a worker and returns what it gets.
	next := func(ctx context.Context, q *WorkQueueChannel[string], name string) func() (string, error) {
		var c Claim[string]
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err = q.As(name).ClaimNext(ctx)
		}()
		return func() (string, error) { <-done; return c.Message.Content, err }
	}
	for _, row := range []struct {
		name string
		act  func(t *testing.T, q *WorkQueueChannel[string], held Claim[string])
	}{
		{"for a message", func(t *testing.T, q *WorkQueueChannel[string], _ Claim[string]) { enqueue(t, q, "2") }},
		{"for one that is given back", func(t *testing.T, _ *WorkQueueChannel[string], held Claim[string]) {
			require.NoError(t, held.Nack(t.Context()))
		}},
		{"for one that was held too long", func(*testing.T, *WorkQueueChannel[string], Claim[string]) { later(time.Minute) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := workQueueOf(t, WithClaimTimeout(time.Minute))
				enqueue(t, q, "1")
				held := claim(t, q, "a", 1)[0]
				first, second := next(t.Context(), q, "b"), next(t.Context(), q, "b")
				synctest.Wait()
				row.act(t, q, held)
				synctest.Wait()
				enqueue(t, q, "3")
				m1, err := first()
				require.NoError(t, err)
				m2, err := second()
				require.NoError(t, err)
				require.NotEqual(t, m1, m2)
				require.Contains(t, []string{m1, m2}, "3")
			})
		})
	}
	t.Run("until the context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := workQueueOf(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := next(ctx, q, "b")()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			enqueue(t, q, "1")
			require.Equal(t, []string{"1"}, claimed(claim(t, q, "c", 1)), "nothing was claimed on the way out")
		})
	})
	t.Run("until the channel is closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := workQueueOf(t)
			got := next(t.Context(), q, "b")
			synctest.Wait()
			require.NoError(t, q.Close())
			_, err := got()
			require.ErrorIs(t, err, ErrClosed)
			require.NotErrorIs(t, err, ErrRevoked)
		})
	})
	t.Run("not, where there is one already", func(t *testing.T) {
		q := workQueueOf(t)
		enqueue(t, q, "1")
		m, err := next(t.Context(), q, "b")()
		require.NoError(t, err)
		require.Equal(t, "1", m)
	})
	t.Run("not, where one came before it waited", func(t *testing.T) {
		s := newSpy()
		q := workQueueOf(t, s.option())
		s.before("WakeClaim", once(func() { enqueue(t, q, "1") }))
		m, err := next(t.Context(), q, "b")()
		require.NoError(t, err)
		require.Equal(t, "1", m)
	})
	t.Run("again, if somebody was quicker", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSpy()
			q := workQueueOf(t, s.option())
			s.after("WakeClaim", once(func() {
				enqueue(t, q, "1")
				require.Len(t, claim(t, q, "quick", 1), 1)
			}))
			got := next(t.Context(), q, "b")
			synctest.Wait()
			enqueue(t, q, "2")
			m, err := got()
			require.NoError(t, err)
			require.Equal(t, "2", m)
		})
	})
}

func TestFullWorkQueuePushesBackAndLosesNothing(t *testing.T) {
	ctx := t.Context()
	q := workQueueOf(t, WithMaxMessages(2))
	enqueue(t, q, "1", "2")
	_, err := q.As("producer").Write(ctx, "3")
	require.ErrorIs(t, err, ErrFull)
	c := claim(t, q, "a", 1)
	_, err = q.As("producer").Write(ctx, "3")
	require.ErrorIs(t, err, ErrFull, "what is being done is not done")
	require.NoError(t, c[0].Acknowledge(ctx))
	enqueue(t, q, "3")
	require.Equal(t, []string{"2", "3"}, claimed(claim(t, q, "a", 10)))
}

func TestClaimTakesItsBounds(t *testing.T) {
	q := workQueueOf(t)
	for i := range MaxReadLimit + 1 {
		enqueue(t, q, fmt.Sprint(i))
	}
	require.Len(t, claim(t, q, "a", MaxReadLimit), MaxReadLimit)
	require.Len(t, claim(t, q, "a", MaxReadLimit), 1)
}

func TestClaimsAreFoundAgainAfterHostOperations(t *testing.T) {
	ctx := t.Context()
	q := workQueueOf(t)
	enqueue(t, q, "1", "2", "3")
	c := claim(t, q, "a", 2)
	n, err := q.As("host").Remove(ctx, c[0].Message.ID)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.ErrorIs(t, c[0].Acknowledge(ctx), ErrClaimLost, "it was removed")
	require.NoError(t, c[1].Nack(ctx))
	_, err = q.As("host").Clear(ctx)
	require.NoError(t, err)
	require.Empty(t, claim(t, q, "a", 3))
	enqueue(t, q, "4")
	require.Equal(t, []string{"4"}, claimed(claim(t, q, "a", 3)))
}

func TestManyWorkersDoEveryMessageOnce(t *testing.T) {
	const n, workers = 300, 6
	q := workQueueOf(t)
	done := make(map[string]int)
	var mu sync.Mutex
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for i := range workers {
		all.Go(func() {
			for {
				c, err := q.As(fmt.Sprint("worker-", i)).ClaimNext(ctx)
				if err != nil {
					return
				}
				if c.Attempt == 1 && len(c.Message.Content)%3 == 0 { // now and then one is given back
					if c.Nack(t.Context()) != nil {
						return
					}
					continue
				}
				if c.Acknowledge(t.Context()) != nil {
					return
				}
				mu.Lock()
				if done[c.Message.Content]++; len(done) == n {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		enqueue(t, q, fmt.Sprint(i))
	}
	all.Wait()
	cancel()
	require.Len(t, done, n)
	for m, times := range done {
		require.Equal(t, 1, times, m)
	}
}

// Claims end together with the right of whom they belong to: those of a token with the token, those of a name with the name.
func TestClaimsOfOneSubjectEndByToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := jwtOf(t)
		q := workQueueOf(t, WithSecurity(j))
		enqueue(t, q, "1", "2", "3")
		first, second := tokenOf(t, j, time.Hour), tokenOf(t, j, time.Hour)
		a, err := q.For(first).Claim(t.Context(), 1)
		require.NoError(t, err)
		b, err := q.For(second).Claim(t.Context(), 1)
		require.NoError(t, err)
		wired, err := q.As(victim).Claim(t.Context(), 1)
		require.NoError(t, err)
		require.NoError(t, j.RevokeToken(tokenID(t, first), time.Time{}))
		synctest.Wait()
		require.Equal(t, []string{"1"}, claimed(claim(t, q, "other", 3)), "only those of the revoked token are back")

		n, err := q.For(second).Acknowledge(t.Context(), a[0].Receipt(), b[0].Receipt())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = q.For(second).Acknowledge(t.Context(), wired[0].Receipt())
		require.NoError(t, err)
		require.Equal(t, 1, n, "receipts are good for the whole system")
	})
}

// Credentials without an ID cannot be told from each other, so that each port answers for its own claims.
func TestClaimsOfACredentialWithoutAnIDEndByPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		grant := func(d time.Duration) Caller {
			return StaticCaller(Principal{SystemID: "x", Grant: &Grant{Role: RoleRead, AllChannels: true, ExpiresAt: time.Now().Add(d)}})
		}
		q := workQueueOf(t, WithSecurity(yesSecurity{}), WithClaimTimeout(24*time.Hour))
		enqueue(t, q, "1", "2")
		long, err := q.For(grant(2*time.Hour)).Claim(t.Context(), 1)
		require.NoError(t, err)
		_, err = q.For(grant(time.Hour)).Claim(t.Context(), 1)
		require.NoError(t, err)
		pass(time.Hour)
		require.Equal(t, []string{"2"}, claimed(claim(t, q, "other", 3)))
		require.NoError(t, long[0].Acknowledge(t.Context()))
	})
}

// A session and a wired system of the same name are two.
func TestClaimsOfASessionEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workQueueOf(t)
		enqueue(t, q, "1", "2", "3")
		first, second := newSessionCaller(Principal{SystemID: "a"}), newSessionCaller(Principal{SystemID: "a"})
		wired := claim(t, q, "a", 1)
		lost, err := q.For(first).Claim(t.Context(), 1)
		require.NoError(t, err)
		kept, err := q.For(second).Claim(t.Context(), 1)
		require.NoError(t, err)
		first.set(Principal{}, ErrUnauthenticated)
		synctest.Wait()
		require.Equal(t, claimed(lost), claimed(claim(t, q, "b", 3)))
		require.NoError(t, wired[0].Acknowledge(t.Context()))
		require.NoError(t, kept[0].Acknowledge(t.Context()))
	})
}

func TestWorkerWhoseRightEndedMakesRoomForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acl := aclOf(t, ACLWrite("producer"), ACLRead("a", "b"))
		q := workQueueOf(t, WithSecurity(acl), WithMaxReaders(1))
		enqueue(t, q, "1")
		claim(t, q, "a", 1)
		acl.Revoke("a")
		synctest.Wait()
		require.Equal(t, []string{"1"}, claimed(claim(t, q, "b", 1)))
	})
}

// A worker without claims is not worth remembering once others want its place.
func TestWorkerWithoutClaimsMakesRoomForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acl := aclOf(t, ACLWrite("producer"), ACLRead("a", "b", "c"))
		q := workQueueOf(t, WithSecurity(acl), WithMaxReaders(1), WithClaimTimeout(time.Minute))
		enqueue(t, q, "1", "2")
		held := claim(t, q, "a", 1)
		_, err := q.As("b").Claim(t.Context(), 1)
		require.ErrorIs(t, err, ErrLimit)
		time.Sleep(time.Minute)
		require.Len(t, claim(t, q, "b", 1), 1)
		require.ErrorIs(t, held[0].Acknowledge(t.Context()), ErrClaimLost)
		acl.Revoke("b")
		synctest.Wait()
		require.Len(t, claim(t, q, "c", 2), 2, "what b had came back")
	})
}

// A transport opens a port for every request: the claims of one credential must not make many workers.
func TestRequestsOfOneCredentialAreOneWorker(t *testing.T) {
	j := jwtWith(t, hs256(t, ""), stopped(theTime))
	for name, token := range map[string]string{
		"a token with an ID":    mint(t, j, TokenRequest{SystemID: "w", Role: RoleRead, AllChannels: true}),
		"a token without an ID": forge(plainHeader, claimsWith("role", `"read"`, "channels", "null")),
	} {
		t.Run(name, func(t *testing.T) {
			q := workQueueOf(t, WithSecurity(j), WithMaxReaders(1))
			_, err := q.As("producer").Write(t.Context(), "1")
			require.NoError(t, err)
			_, err = q.As("producer").Write(t.Context(), "2")
			require.NoError(t, err)
			for range 2 {
				p, err := j.Authenticate(t.Context(), token)
				require.NoError(t, err)
				claims, err := q.For(StaticCaller(p)).Claim(t.Context(), 1)
				require.NoError(t, err)
				require.Len(t, claims, 1)
			}
		})
	}
	t.Run("a mere name", func(t *testing.T) {
		q := workQueueOf(t, WithSecurity(OpenSecurity{}), WithMaxReaders(1))
		enqueue(t, q, "1", "2")
		for range 2 {
			claims, err := q.For(StaticCaller(Principal{SystemID: "w"})).Claim(t.Context(), 1)
			require.NoError(t, err)
			require.Len(t, claims, 1)
		}
	})
}

// A right that ended and came back during a claim ended all the same: what was claimed after the worker's claims had been
// given back would be nobody's to give back.
func TestClaimOfAWorkerThatWasCutMeanwhile(t *testing.T) {
	acl := aclOf(t, ACLWrite("producer"), ACLRead("a", "b"))
	s := newSpy()
	q := workQueueOf(t, WithSecurity(acl), s.option())
	enqueue(t, q, "1", "2")
	port := q.As("a")
	_, err := port.Claim(t.Context(), 1)
	require.NoError(t, err)
	released := make(chan struct{})
	s.after("Release", once(func() { close(released) }))
	s.before("Claim", once(func() {
		acl.Revoke("a")
		<-released
		require.NoError(t, acl.Grant("a", RoleRead))
	}))
	_, err = port.Claim(t.Context(), 1)
	require.ErrorIs(t, err, ErrRevoked)
	require.Equal(t, []string{"1", "2"}, claimed(claim(t, q, "b", 2)))
	_, err = port.Claim(t.Context(), 1)
	require.NoError(t, err, "and the next one is allowed")
}

// Whether two first claims of one system become one worker or two, both end with its right.
func TestFirstClaimsAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q *WorkQueueChannel[string]
		var mine []string
		var asked, ended atomic.Int32
		z := &decided{decide: func(req Request) (Decision, error) {
			if req.Operation == OpClaim && req.Principal.SystemID == "a" {
				if asked.Add(1) == 2 { // the first one has what it claimed, and nobody knows of it yet
					mine = claimed(claim(t, q, "a", 1))
				}
			}
			return Decision{Allowed: ended.Load() == 0 || req.Principal.SystemID != "a"}, nil
		}}
		q = workQueueOf(t, WithSecurity(z))
		enqueue(t, q, "1", "2")
		require.Equal(t, []string{"1"}, claimed(claim(t, q, "a", 1)))
		require.Equal(t, []string{"2"}, mine)
		ended.Store(1)
		pass(recheckInterval)
		require.Equal(t, []string{"1", "2"}, claimed(claim(t, q, "b", 2)))
	})
}

// What a driver does not take back is free when the time of the claim is over.
func TestClaimThatCannotBeGivenBack(t *testing.T) {
	broken := errors.New("connection lost")
	set := func(t *testing.T) (q *WorkQueueChannel[string], s *spy, acl *ACLSecurity, released chan struct{}, logged func() string) {
		acl = aclOf(t, ACLWrite("producer", "a", "b"))
		log, logged := logTo()
		s, released = newSpy(), make(chan struct{}, 1)
		q = workQueueOf(t, WithSecurity(acl), log, WithClaimTimeout(time.Minute), WithBackend(func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
			b, err := s.open(ctx, id, cfg)
			return deafQueue{b, broken, released}, err
		}))
		enqueue(t, q, "1")
		return q, s, acl, released, logged
	}
	t.Run("by who lost the right while claiming", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, s, acl, _, _ := set(t)
			s.after("Claim", once(func() { acl.Revoke("a") }))
			_, err := q.As("a").Claim(t.Context(), 1)
			require.ErrorIs(t, err, ErrPermission, "which is what matters")
			later(time.Minute)
			require.Equal(t, []string{"1"}, claimed(claim(t, q, "b", 1)))
		})
	})
	t.Run("for who lost the right afterwards, which is logged", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, _, acl, released, logged := set(t)
			claim(t, q, "a", 1)
			acl.Revoke("a")
			<-released
			synctest.Wait()
			require.Contains(t, logged(), broken.Error())
			later(time.Minute)
			require.Equal(t, []string{"1"}, claimed(claim(t, q, "b", 1)))
		})
	})
}

func TestFailureOfTheDriverToSettleIsReported(t *testing.T) {
	broken := errors.New("connection lost")
	q := workQueueOf(t, WithBackend(func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
		b, err := newSpy().open(ctx, id, cfg)
		return deafQueue{b, broken, make(chan struct{}, 9)}, err
	}))
	enqueue(t, q, "1")
	c := claim(t, q, "a", 1)
	require.ErrorIs(t, c[0].Nack(t.Context()), broken)
	n, err := q.As("a").Nack(t.Context(), c[0].Receipt())
	require.ErrorIs(t, err, broken)
	require.Zero(t, n)
}

// deafQueue takes nothing back.
type deafQueue struct {
	driver.Backend[[]byte]
	err      error
	released chan struct{}
}

func (b deafQueue) Nack(context.Context, string, driver.Receipt) (bool, error) { return false, b.err }
func (b deafQueue) Release(context.Context, driver.Consumer) (int, error) {
	b.released <- struct{}{}
	return 0, b.err
}
