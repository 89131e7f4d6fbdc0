package chansec

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// lifecycle is what can be done to a channel, and what its state makes of it.
func TestLifecycle(t *testing.T) {
	start := func(ctx context.Context, ch anyChannel) error { return ch.Start(ctx) }
	drain := func(ctx context.Context, ch anyChannel) error { return ch.Drain(ctx) }
	shut := func(_ context.Context, ch anyChannel) error { return ch.Close() }
	write := func(ctx context.Context, ch anyChannel) error { _, err := ch.as("x").Write(ctx, "m"); return err }
	info := func(ctx context.Context, ch anyChannel) error { _, err := ch.as("x").Info(ctx); return err }
	length := func(ctx context.Context, ch anyChannel) error { _, err := ch.as("x").Len(ctx); return err }
	evict := func(ctx context.Context, ch anyChannel) error { _, err := ch.as("x").EvictBeyond(ctx, 10); return err }
	type event struct {
		name string
		do   func(context.Context, anyChannel) error
	}
	for _, state := range []struct {
		name string
		by   []func(context.Context, anyChannel) error
		// what the events return, in the order of the list below, and where Start, Drain and Close lead to
		events [7]error
		to     [3]int32
	}{
		{"fresh", nil,
			[7]error{nil, nil, nil, ErrNotAccepting, nil, nil, nil}, [3]int32{running, fresh, closed}},
		{"running", []func(context.Context, anyChannel) error{start},
			[7]error{nil, nil, nil, nil, nil, nil, nil}, [3]int32{running, drained, closed}},
		{"drained", []func(context.Context, anyChannel) error{start, drain},
			[7]error{nil, nil, nil, ErrNotAccepting, nil, nil, nil}, [3]int32{running, drained, closed}},
		{"running again", []func(context.Context, anyChannel) error{start, drain, start},
			[7]error{nil, nil, nil, nil, nil, nil, nil}, [3]int32{running, drained, closed}},
		{"closed while fresh", []func(context.Context, anyChannel) error{shut},
			[7]error{ErrClosed, ErrClosed, nil, ErrClosed, ErrClosed, ErrClosed, ErrClosed}, [3]int32{closed, closed, closed}},
		{"closed while running", []func(context.Context, anyChannel) error{start, shut},
			[7]error{ErrClosed, ErrClosed, nil, ErrClosed, ErrClosed, ErrClosed, ErrClosed}, [3]int32{closed, closed, closed}},
		{"closed while drained", []func(context.Context, anyChannel) error{start, drain, shut},
			[7]error{ErrClosed, ErrClosed, nil, ErrClosed, ErrClosed, ErrClosed, ErrClosed}, [3]int32{closed, closed, closed}},
	} {
		for i, e := range []event{{"Start", start}, {"Drain", drain}, {"Close", shut}, {"Write", write}, {"Info", info}, {"Len", length}, {"Evict", evict}} {
			t.Run(state.name+", then "+e.name, func(t *testing.T) {
				for _, k := range everyKind {
					ch := k.open(t, WithSecurity(OpenSecurity{}))
					for _, act := range state.by {
						require.NoError(t, act(t.Context(), ch))
					}
					before := ch.state.Load()
					err := e.do(t.Context(), ch)
					if state.events[i] == nil {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, state.events[i])
					}
					if i < 3 {
						before = state.to[i]
					}
					require.Equal(t, before, ch.state.Load())
				}
			})
		}
	}
}

func TestClosedChannelRefusesEverything(t *testing.T) {
	for _, k := range everyKind {
		t.Run(k.name, func(t *testing.T) {
			ch := k.started(t, WithSecurity(aclOf(t, ACLAdmin("boss"))))
			_, err := ch.as("boss").Write(t.Context(), "m")
			require.NoError(t, err)
			require.NoError(t, ch.Close())
			for _, op := range operationsOf(ch.as("boss")) {
				if op.wrong || op.name == "Acknowledge of nothing" {
					continue
				}
				require.ErrorIs(t, op.do(t.Context()), ErrClosed, op.name)
			}
		})
	}
}

func TestClosedChannelRefusesWhoHadReadBefore(t *testing.T) {
	for _, k := range []anyKind{aPassthrough, aBroadcast, aMailbox} {
		t.Run(k.name, func(t *testing.T) {
			ch := k.started(t, WithSecurity(OpenSecurity{}))
			write(t, ch, "1", "2")
			r := ch.as("r").(Reader[string])
			_, err := r.Read(t.Context(), 1)
			require.NoError(t, err)
			require.NoError(t, ch.Close())
			m, err := r.Read(t.Context(), 1)
			require.ErrorIs(t, err, ErrClosed)
			require.Empty(t, m)
		})
	}
}

func TestReadsAndSubscriptionsNeedNoStart(t *testing.T) {
	for _, k := range []anyKind{aPassthrough, aBroadcast, aMailbox} {
		ch := k.open(t, WithSecurity(OpenSecurity{}))
		m, err := ch.as("r").(Reader[string]).Read(t.Context(), 10)
		require.NoError(t, err, k.name)
		require.Empty(t, m)
		lease := subscribe(t, ch.as("r"))
		require.NoError(t, ch.Start(t.Context()))
		write(t, ch, "1")
		require.NoError(t, ch.Drain(t.Context()))
		require.Equal(t, []string{"1"}, take(t, lease, 1), "everything but writing goes on")
		m, err = ch.as("r").(Reader[string]).Read(t.Context(), 10)
		require.NoError(t, err)
		require.Len(t, m, 1)
		require.NoError(t, ch.Start(t.Context()))
		write(t, ch, "2")
		require.Equal(t, []string{"2"}, take(t, lease, 1), "the lease survives all that")
	}
}

// slowWrite starts a write that is under way until finish is called, which returns what it returned.
func slowWrite(t *testing.T, s *spy, ch anyChannel) (finish func() error) {
	began, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s.before("Append", once(func() { close(began); <-release }))
	go func() {
		_, err := ch.as("w").Write(t.Context(), "slow")
		done <- err
	}()
	<-began
	return func() error { close(release); return <-done }
}

func TestDrainWaitsForWritesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy()
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), s.option())
		finish := slowWrite(t, s, ch)
		drained := make(chan error, 1)
		go func() { drained <- ch.Drain(t.Context()) }()
		synctest.Wait()
		require.Empty(t, drained)
		_, err := ch.as("w").Write(t.Context(), "late")
		require.ErrorIs(t, err, ErrNotAccepting, "no new ones meanwhile")
		require.Empty(t, drained, "and those do not count")
		require.NoError(t, finish())
		require.NoError(t, <-drained)
		m, err := ch.as("r").(Reader[string]).Read(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, []string{"slow"}, contents(m))
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy()
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), s.option())
		finish := slowWrite(t, s, ch)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, ch.Drain(ctx), context.DeadlineExceeded)
		_, err := ch.as("w").Write(t.Context(), "late")
		require.ErrorIs(t, err, ErrNotAccepting, "it stays drained")
		require.NoError(t, finish(), "and the write is not given up")
		require.NoError(t, ch.Drain(t.Context()))
		require.NoError(t, ch.Start(t.Context()))
		write(t, ch, "again")
	})
}

func TestDrainsAtTheSameTimeAllReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy()
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), s.option())
		finish := slowWrite(t, s, ch)
		var drains sync.WaitGroup
		for range 3 {
			drains.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				require.NoError(t, ch.Drain(ctx))
			})
		}
		synctest.Wait()
		require.NoError(t, finish())
		drains.Wait()
	})
}

func TestDrainReturnsThoughTheChannelStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy()
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), s.option())
		finish := slowWrite(t, s, ch)
		drained := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			drained <- ch.Drain(ctx)
		}()
		synctest.Wait()
		require.NoError(t, ch.Start(t.Context()))
		require.NoError(t, finish())
		require.NoError(t, <-drained)
	})
}

func TestDrainReturnsWhenTheChannelCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpy()
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), s.option())
		finish := slowWrite(t, s, ch)
		drained := make(chan error, 1)
		go func() { drained <- ch.Drain(t.Context()) }()
		synctest.Wait()
		require.NoError(t, ch.Close(), "which does not wait for writes")
		require.ErrorIs(t, finish(), ErrClosed)
		<-drained
	})
}

func TestWritesAtTheTimeOfADrainAreStoredOrRefused(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	var stored, refused int
	var mu sync.Mutex
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 200 {
				_, err := ch.as("w").Write(t.Context(), "m")
				mu.Lock()
				if err == nil {
					stored++
				} else {
					refused++
				}
				mu.Unlock()
			}
		})
	}
	for range 20 {
		require.NoError(t, ch.Drain(t.Context()))
		require.NoError(t, ch.Start(t.Context()))
	}
	writers.Wait()
	require.NoError(t, ch.Drain(t.Context()))
	n, err := ch.as("host").Len(t.Context())
	require.NoError(t, err)
	require.Equal(t, stored, n)
	require.Equal(t, 1600, stored+refused)
}

func TestCloseIsDoneOnceByManyAtATime(t *testing.T) {
	s := newSpy()
	ch := aPassthrough.started(t, WithSecurity(OpenSecurity{}), s.option())
	lease := subscribe(t, ch.as("r"))
	var closers sync.WaitGroup
	for range 8 {
		closers.Go(func() {
			require.NoError(t, ch.Close())
			require.ErrorIs(t, lease.Err(), ErrClosed, "whoever comes back finds everything ended")
		})
	}
	closers.Wait()
	n := 0
	for _, m := range driverCalls(s.noted()) {
		if m == "Close" {
			n++
		}
	}
	require.Equal(t, 1, n)
}

func TestStartAndDrainWithAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ch := aBroadcast.open(t, WithSecurity(OpenSecurity{}))
	require.ErrorIs(t, ch.Start(ctx), context.Canceled)
	_, err := ch.as("w").Write(t.Context(), "m")
	require.ErrorIs(t, err, ErrNotAccepting)
	require.NoError(t, ch.Start(t.Context()))
	require.NoError(t, ch.Drain(ctx), "with nothing to wait for")
}
