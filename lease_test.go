package chansec

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

// take ranges over a lease until it has some messages.
func take(t *testing.T, lease Lease[string], n int) (got []string) {
	t.Helper()
	for m, err := range lease.Messages(t.Context()) {
		require.NoError(t, err)
		if got = append(got, m.Content); len(got) == n {
			break
		}
	}
	return got
}

func TestLeaseFollowsWhatIsWrittenFromNowOn(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	write(t, ch, "before")
	lease := subscribe(t, ch.as("r"))
	write(t, ch, "1", "2")
	require.Equal(t, []string{"1", "2"}, take(t, lease, 2))
	require.NoError(t, lease.Err())
}

func TestLeaseCanBeginBehindAnyMessage(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	write(t, ch, "0")
	id, err := ch.as("w").Write(t.Context(), "1")
	require.NoError(t, err)
	write(t, ch, "2", "3")
	lease, err := ch.as("r").(Subscriber[string]).SubscribeAfter(t.Context(), id)
	require.NoError(t, err)
	write(t, ch, "4")
	require.Equal(t, []string{"2", "3", "4"}, take(t, lease, 3))
}

func TestLeaseSeesWhatWorkersClaimed(t *testing.T) {
	ch := aPassthrough.started(t, WithSecurity(OpenSecurity{}))
	lease := subscribe(t, ch.as("r"))
	write(t, ch, "1", "2")
	_, err := ch.as("worker").(Worker[string]).Claim(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2"}, take(t, lease, 2))
}

func TestLeaseWhoseLoopWasLeftGoesOnWhereItStopped(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	lease := subscribe(t, ch.as("r"))
	write(t, ch, "1", "2", "3", "4")
	require.Equal(t, []string{"1", "2"}, take(t, lease, 2))
	require.Equal(t, []string{"3"}, take(t, lease, 1), "what was yielded is read, and nothing else")
	func() {
		defer func() { require.NotNil(t, recover()) }()
		for range lease.Messages(t.Context()) {
			panic("of the loop's body")
		}
	}()
	write(t, ch, "5")
	require.Equal(t, []string{"5"}, take(t, lease, 1), "4 was yielded to the body that panicked")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range lease.Messages(ctx) {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, lease.Err(), "the end of a loop's context is not that of the lease")
	write(t, ch, "6")
	require.Equal(t, []string{"6"}, take(t, lease, 1))
}

func TestLeaseEndsItsLoopWithTheContext(t *testing.T) {
	t.Run("while it waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
			lease := subscribe(t, ch.as("r"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.ErrorIs(t, collect(ctx, lease).err(), context.DeadlineExceeded)
			require.NoError(t, lease.Err())
		})
	})
	t.Run("between two messages of a batch", func(t *testing.T) {
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
		lease := subscribe(t, ch.as("r"))
		write(t, ch, "1", "2")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []string
		for m, err := range lease.Messages(ctx) {
			if err != nil {
				require.ErrorIs(t, err, context.Canceled)
				continue
			}
			got = append(got, m.Content)
			cancel()
		}
		require.Equal(t, []string{"1"}, got)
		require.Equal(t, []string{"2"}, take(t, lease, 1))
	})
	t.Run("while a driver works", func(t *testing.T) {
		s := newSpy()
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), WithBackend(func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
			b, err := s.open(ctx, id, cfg)
			return impatient{b}, err
		}))
		lease := subscribe(t, ch.as("r"))
		write(t, ch, "1")
		ctx, cancel := context.WithCancel(t.Context())
		s.before("Reader.Next", cancel)
		for _, err := range lease.Messages(ctx) {
			require.ErrorIs(t, err, context.Canceled)
		}
		require.NoError(t, lease.Err())
		require.Equal(t, []string{"1"}, take(t, lease, 1))
	})
}

// impatient is a backend that honours the context, as one that does I/O must.
type impatient struct{ driver.Backend[[]byte] }

func (b impatient) Open(ctx context.Context, v driver.View, from driver.From) (driver.Reader[[]byte], error) {
	r, err := b.Backend.Open(ctx, v, from)
	return impatientReader{r}, err
}

type impatientReader struct{ driver.Reader[[]byte] }

func (r impatientReader) Next(ctx context.Context, limit int) (driver.Batch[[]byte], error) {
	b, err := r.Reader.Next(ctx, limit)
	if ctx.Err() != nil {
		return driver.Batch[[]byte]{}, ctx.Err()
	}
	return b, err
}

func TestLeaseIsReadByOneLoopAtATime(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	lease := subscribe(t, ch.as("r"))
	write(t, ch, "1", "2")
	for m, err := range lease.Messages(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "1", m.Content)
		for _, err := range lease.Messages(t.Context()) {
			require.ErrorIs(t, err, ErrBusy)
		}
		break
	}
	require.Equal(t, []string{"2"}, take(t, lease, 1), "the second loop did no harm")
}

func TestLeaseThatIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
		lease, other := subscribe(t, ch.as("r")), subscribe(t, ch.as("r"))
		mine := collect(t.Context(), lease)
		write(t, ch, "1")
		synctest.Wait()
		require.NoError(t, lease.Err())
		select {
		case <-lease.Done():
			require.Fail(t, "it has not ended")
		default:
		}
		require.NoError(t, lease.Close(), "from another goroutine than the loop's")
		require.ErrorIs(t, mine.err(), ErrClosed)
		<-lease.Done()
		require.ErrorIs(t, lease.Err(), ErrClosed)
		require.NotErrorIs(t, lease.Err(), ErrRevoked)
		require.NoError(t, lease.Close(), "again")
		write(t, ch, "2")
		for _, err := range lease.Messages(t.Context()) {
			require.ErrorIs(t, err, ErrClosed)
		}
		require.Equal(t, []string{"1", "2"}, take(t, other, 2), "another lease of the same system is another")
	})
}

func TestLeaseThatIsClosedByItsOwnLoop(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	lease := subscribe(t, ch.as("r"))
	write(t, ch, "1", "2")
	var got []string
	var last error
	for m, err := range lease.Messages(t.Context()) {
		if last = err; err == nil {
			got = append(got, m.Content)
			require.NoError(t, lease.Close())
		}
	}
	require.Equal(t, []string{"1"}, got)
	require.ErrorIs(t, last, ErrClosed)
}

func TestSlowConsumerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), WithMaxMessages(100))
		slow, fast := subscribe(t, ch.as("slow")), collect(t.Context(), subscribe(t, ch.as("fast")))
		stuck, release := make(chan struct{}), make(chan struct{})
		callback, err := ch.as("stuck").(Subscriber[string]).SubscribeFunc(t.Context(), func(context.Context, Message[string]) error {
			close(stuck)
			<-release
			return ErrBusy
		})
		require.NoError(t, err)
		var want []string
		began := time.Now()
		for i := range 1000 {
			m := fmt.Sprint(i)
			write(t, ch, m)
			want = append(want, m)
			synctest.Wait()
		}
		<-stuck
		require.Equal(t, began, time.Now(), "no writer waited")
		require.Equal(t, want, fast.all())

		// The slow one is told exactly what it cost, once, and goes on.
		var got []string
		var missed []uint64
		for m, err := range slow.Messages(t.Context()) {
			var lagged *LaggedError
			if errors.As(err, &lagged) {
				missed = append(missed, lagged.Missed)
				continue
			}
			require.NoError(t, err)
			if got = append(got, m.Content); m.Content == "999" {
				break
			}
		}
		require.Equal(t, []uint64{900}, missed)
		require.Equal(t, want[900:], got)
		close(release)
		<-callback.Done()
	})
}

func TestCallbackGetsMessagesOneAtATimeUntil(t *testing.T) {
	failed := errors.New("no space left")
	for _, row := range []struct {
		name string
		fn   func(Message[string]) error
		act  func(cancel func(), lease Lease[string], ch anyChannel)
		is   error
	}{
		{"it returns an error", func(m Message[string]) error {
			if m.Content == "2" {
				return failed
			}
			return nil
		}, nil, failed},
		{"it panics", func(m Message[string]) error {
			if m.Content == "2" {
				panic(canary)
			}
			return nil
		}, nil, nil},
		{"the context ends", nil, func(cancel func(), _ Lease[string], _ anyChannel) { cancel() }, context.Canceled},
		{"the lease is closed", nil, func(_ func(), lease Lease[string], _ anyChannel) { _ = lease.Close() }, ErrClosed},
		{"the channel is closed", nil, func(_ func(), _ Lease[string], ch anyChannel) { _ = ch.Close() }, ErrClosed},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logged := logTo()
				ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), log)
				other := collect(t.Context(), subscribe(t, ch.as("other")))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var got []string
				lease, err := ch.as("r").(Subscriber[string]).SubscribeFunc(ctx, func(_ context.Context, m Message[string]) error {
					got = append(got, m.Content)
					if row.fn != nil {
						return row.fn(m)
					}
					return nil
				})
				require.NoError(t, err)
				write(t, ch, "1", "2")
				synctest.Wait()
				require.Equal(t, []string{"1", "2"}, got)
				if row.act != nil {
					require.NoError(t, lease.Err())
					row.act(cancel, lease, ch)
				}
				<-lease.Done()
				synctest.Wait()
				require.Error(t, lease.Err())
				if row.is != nil {
					require.ErrorIs(t, lease.Err(), row.is)
				} else {
					require.NotContains(t, lease.Err().Error()+logged(), canary)
					require.Contains(t, logged(), "panicked")
				}
				if ch.state.Load() != closed {
					write(t, ch, "3")
					synctest.Wait()
					require.Equal(t, []string{"1", "2", "3"}, other.all(), "nobody else's lease ends")
				}
				require.Equal(t, []string{"1", "2"}, got)
			})
		})
	}
}

// A test that fails in a callback leaves its goroutine that way.
func TestCallbackThatLeavesItsGoroutine(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	lease, err := ch.as("r").(Subscriber[string]).SubscribeFunc(t.Context(), func(context.Context, Message[string]) error {
		runtime.Goexit()
		return nil
	})
	require.NoError(t, err)
	write(t, ch, "1")
	<-lease.Done()
	require.Error(t, lease.Err())
}

func TestCallbackMayCloseTheChannel(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	lease, err := ch.as("r").(Subscriber[string]).SubscribeFunc(t.Context(), func(context.Context, Message[string]) error {
		return ch.Close()
	})
	require.NoError(t, err)
	write(t, ch, "1")
	<-lease.Done()
	require.ErrorIs(t, lease.Err(), ErrClosed)
}

func TestCallbackIsToldOfALossByTheEndOfItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), WithMaxMessages(1))
		release := make(chan struct{})
		lease, err := ch.as("r").(Subscriber[string]).SubscribeFunc(t.Context(), func(context.Context, Message[string]) error {
			<-release
			return nil
		})
		require.NoError(t, err)
		write(t, ch, "1")
		synctest.Wait()
		write(t, ch, "2", "3")
		close(release)
		<-lease.Done()
		require.Equal(t, &LaggedError{Missed: 1}, lease.Err())
	})
}

func TestLeaseEndsWithTheErrorOfItsDriver(t *testing.T) {
	broken := errors.New("connection lost")
	s := newSpy()
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), WithBackend(func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
		b, err := s.open(ctx, id, cfg)
		return failingReads{b, broken}, err
	}))
	lease := subscribe(t, ch.as("r"))
	for _, err := range lease.Messages(t.Context()) {
		require.ErrorIs(t, err, broken)
	}
	require.ErrorIs(t, lease.Err(), broken)
	require.NotErrorIs(t, lease.Err(), ErrRevoked)

	_, err := ch.as("r").(Reader[string]).Read(t.Context(), 1)
	require.ErrorIs(t, err, broken)
	_, err = ch.as("host").RemoveFunc(t.Context(), func(Message[string]) bool { return true })
	require.ErrorIs(t, err, broken)
}

type failingReads struct {
	driver.Backend[[]byte]
	err error
}

func (b failingReads) Open(ctx context.Context, v driver.View, from driver.From) (driver.Reader[[]byte], error) {
	r, err := b.Backend.Open(ctx, v, from)
	return failingReader{r, b.err}, err
}

type failingReader struct {
	driver.Reader[[]byte]
	err error
}

func (r failingReader) Next(context.Context, int) (driver.Batch[[]byte], error) {
	return driver.Batch[[]byte]{}, r.err
}

// The bubble does not end while a goroutine that began in it lives.
func TestNoGoroutineOutlivesItsChannel(t *testing.T) {
	for _, k := range []anyKind{aPassthrough, aBroadcast, aMailbox} {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := jwtOf(t)
				z, err := Join(j, onlyFive{yesSecurity{}}, j)
				require.NoError(t, err)
				ch, err := k.try("room", WithSecurity(z))
				require.NoError(t, err)
				require.NoError(t, ch.Start(t.Context()))
				session := newSessionCaller(Principal{SystemID: "s"})
				var leases []Lease[string]
				for _, p := range []anyPort{ch.as("r"), ch.of(tokenOf(t, j, time.Hour)), ch.of(session)} {
					leases = append(leases, subscribe(t, p), subscribe(t, p))
					l, err := p.(Subscriber[string]).SubscribeFunc(t.Context(), func(context.Context, Message[string]) error { return nil })
					require.NoError(t, err)
					leases = append(leases, l)
					collect(t.Context(), leases[0])
					if w, ok := p.(Worker[string]); ok {
						go func() { _, _ = w.ClaimNext(t.Context()) }()
					}
				}
				write(t, ch, "1")
				synctest.Wait()
				require.NoError(t, ch.Close())
				for _, l := range leases {
					<-l.Done()
					require.ErrorIs(t, l.Err(), ErrClosed)
				}
			})
		})
	}
}

// Who follows one caller stops with the last lease of that caller, while the channel lives.
func TestNoGoroutineOutlivesTheLeasesOfACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
		session := newSessionCaller(Principal{SystemID: "s"})
		port := ch.of(session)
		first, second := subscribe(t, port), subscribe(t, port)
		require.NoError(t, first.Close())
		ch.watched.mu.Lock()
		require.Len(t, ch.watched.callers, 1)
		require.Len(t, ch.watched.systems, 1)
		ch.watched.mu.Unlock()
		require.NoError(t, second.Close())
		ch.watched.mu.Lock()
		require.Empty(t, ch.watched.callers)
		require.Empty(t, ch.watched.systems)
		ch.watched.mu.Unlock()
		third := subscribe(t, port)
		session.set(Principal{}, ErrUnauthenticated)
		<-third.Done()
		require.ErrorIs(t, third.Err(), ErrRevoked)
	})
}

// Leases come and go, and callers change, while messages are written: nobody who stays loses one.
func TestLeasesUnderChange(t *testing.T) {
	acl := aclOf(t, ACLWrite("w"), ACLRead("stays"))
	ch := aBroadcast.started(t, WithSecurity(acl), WithMaxMessages(1<<20))
	const n = 500
	stays := subscribe(t, ch.as("stays"))
	var others sync.WaitGroup
	for i := range 8 {
		others.Go(func() {
			for round := range 20 {
				name := fmt.Sprint("guest-", i, "-", round)
				_ = acl.Grant(name, RoleRead)
				lease, err := ch.as(name).(Subscriber[string]).Subscribe(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for range lease.Messages(t.Context()) {
					break
				}
				if i%2 == 0 {
					_ = lease.Close()
				} else {
					acl.Revoke(name)
					<-lease.Done()
				}
			}
		})
	}
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		for i := range n {
			_, err := ch.as("w").Write(t.Context(), fmt.Sprint(i))
			if err != nil {
				return
			}
			runtime.Gosched()
		}
	}()
	<-writer
	got := take(t, stays, n)
	go func() { // guests who came after the last message wait for one
		for {
			if _, err := ch.as("w").Write(t.Context(), "end"); err != nil {
				return
			}
			runtime.Gosched()
		}
	}()
	others.Wait()
	require.Equal(t, n, len(got))
	require.True(t, slices.IsSortedFunc(got, func(a, b string) int {
		var x, y int
		_, _ = fmt.Sscan(a, &x)
		_, _ = fmt.Sscan(b, &y)
		return x - y
	}))
	require.NoError(t, ch.Close())
	_, err := ch.as("stays").(Subscriber[string]).SubscribeAfter(t.Context(), uuid.New())
	require.ErrorIs(t, err, ErrClosed)
}
