package session_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/session"
)

func TestMemoryBackendForgetsTheOldestThatIsClosed(t *testing.T) {
	b, err := session.NewMemoryBackend(2)
	require.NoError(t, err)
	for i := range 1000 {
		id := fmt.Sprint(i)
		require.NoError(t, b.Open(t.Context(), session.Record{ID: id}))
		if i != 7 {
			require.NoError(t, b.Close(t.Context(), []session.EndedError{{Session: id, Cause: session.LoggedOut}}))
		}
	}
	require.Equal(t, []string{"7", "998", "999"}, ids(t, b, false))
	_, err = session.NewMemoryBackend(-1)
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

func ids(t testing.TB, b session.Backend, open bool) (list []string) {
	for r, err := range b.Records(t.Context(), open) {
		require.NoError(t, err)
		list = append(list, r.ID)
	}
	return list
}

func memory(t testing.TB) *session.MemoryBackend {
	b, err := session.NewMemoryBackend(0)
	require.NoError(t, err)
	return b
}

// faulty fails in the operations that are on, by panicking in those that are two.
type faulty struct {
	*session.MemoryBackend
	start, open, change, close atomic.Int32
	closes                     atomic.Int32
}

var errDisk = errors.New("the disk is full")

func fault(of *atomic.Int32, or func() error) error {
	switch of.Load() {
	case 1:
		return errDisk
	case 2:
		panic(errDisk)
	}
	return or()
}

func (f *faulty) Start(ctx context.Context, at time.Time) (n int, err error) {
	return n, fault(&f.start, func() (err error) { n, err = f.MemoryBackend.Start(ctx, at); return err })
}

func (f *faulty) Open(ctx context.Context, r session.Record) error {
	return fault(&f.open, func() error { return f.MemoryBackend.Open(ctx, r) })
}

func (f *faulty) Change(ctx context.Context, r session.Record) error {
	return fault(&f.change, func() error { return f.MemoryBackend.Change(ctx, r) })
}

func (f *faulty) Close(ctx context.Context, ends []session.EndedError) error {
	f.closes.Add(1)
	return fault(&f.close, func() error { return f.MemoryBackend.Close(ctx, ends) })
}

var _ session.Backend = (*faulty)(nil)

func TestRecordsSayWhoWasHereAndHowItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		s := sessionsOf(t, session.Config{Backend: b, MaxAge: time.Hour})
		began := time.Now()
		out, lost, kicked, expired := open(t, s, "out"), open(t, s, "lost"), open(t, s, "kicked"), open(t, s, "expired", "r")
		require.NoError(t, expired.ChangePrincipal(t.Context(), as("other", "q")))
		require.NoError(t, out.Close())
		lost.Lose()
		_, err := s.Root().Kick(t.Context(), session.ID(kicked.ID()), "why")
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		var got []string
		for r, err := range b.Records(t.Context(), false) {
			require.NoError(t, err)
			require.True(t, began.Equal(r.OpenedAt))
			got = append(got, fmt.Sprint(r.Principal, " ", r.Roles, " ", r.Transport, " ", r.RemoteAddr, " ", r.End.Cause, " ", r.End.By, " ", r.End.Reason, " ", r.End.At.Sub(began)))
		}
		require.Equal(t, []string{
			"out [] test 192.0.2.1:77 logged out   0s",
			"lost [] test 192.0.2.1:77 lost   0s",
			"kicked [] test 192.0.2.1:77 kicked root why 0s",
			"other [q] test 192.0.2.1:77 expired   1h0m0s",
		}, got)
		last := open(t, s, "last")
		require.NoError(t, s.Close(t.Context()))
		require.Empty(t, ids(t, b, true), "Close waits until all is kept")
		requireEnded(t, last.Err(), session.Shutdown)
	})
}

func TestRecordsThatAnEarlierRunLeftOpenAreClosed(t *testing.T) {
	b := memory(t)
	require.NoError(t, b.Open(t.Context(), session.Record{ID: "left"}))
	log, logged := logTo()
	s := sessionsOf(t, session.Config{Backend: b, Log: log})
	require.Empty(t, ids(t, b, true))
	require.Contains(t, logged(), "earlier run")
	require.Zero(t, s.Len())
}

func TestFailingBackendLetsNobodyIn(t *testing.T) {
	for name, how := range map[string]int32{"an error": 1, "a panic": 2} {
		t.Run(name, func(t *testing.T) {
			b := &faulty{MemoryBackend: memory(t)}
			s := sessionsOf(t, session.Config{Backend: b})
			b.open.Store(how)
			_, err := s.Open(t.Context(), as("alice"))
			require.ErrorIs(t, err, chansec.ErrUndecided)
			require.NotErrorIs(t, err, chansec.ErrUnauthenticated)
			require.Zero(t, s.Len())
			b.open.Store(0)
			alice := open(t, s, "alice")

			b.change.Store(how)
			require.ErrorIs(t, alice.ChangePrincipal(t.Context(), as("bob")), chansec.ErrUndecided)
			p, err := alice.Principal()
			require.NoError(t, err)
			require.Equal(t, "alice", p.SystemID, "the old principal stays")
			b.change.Store(0)
			require.NoError(t, alice.ChangePrincipal(t.Context(), as("bob")))
		})
	}
	b := &faulty{MemoryBackend: memory(t)}
	b.start.Store(1)
	_, err := session.New(t.Context(), session.Config{Chain: &chain{}, Backend: b})
	require.ErrorIs(t, err, errDisk)
}

// An end comes into force at once, whatever the backend does, and is kept when it can be.
func TestFailingBackendHoldsUpNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &faulty{MemoryBackend: memory(t)}
		log, logged := logTo()
		s := sessionsOf(t, session.Config{Backend: b, Log: log})
		alice := open(t, s, "alice")
		b.close.Store(1)
		require.NoError(t, alice.Close())
		require.Error(t, alice.Err())
		time.Sleep(time.Minute)
		require.Len(t, ids(t, b, true), 1)
		tries := b.closes.Load()
		require.Less(t, tries, int32(20), "it waits longer and longer")
		require.Greater(t, tries, int32(5))
		require.Contains(t, logged(), errDisk.Error())
		b.close.Store(2)
		time.Sleep(time.Minute)
		b.close.Store(0)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Empty(t, ids(t, b, true))
	})
}

func TestCloseGivesUpOnTheBackendWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &faulty{MemoryBackend: memory(t)}
		log, _ := logTo()
		s := sessionsOf(t, session.Config{Backend: b, Log: log})
		open(t, s, "alice")
		b.close.Store(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, s.Close(ctx), "1 sessions were not recorded")
		require.NoError(t, s.Close(ctx))
	})
}

// slowBackend takes no ends until it is let, and all the rest.
type slowBackend struct {
	let  chan struct{}
	once sync.Once
	ends atomic.Int64
}

func (*slowBackend) Start(context.Context, time.Time) (int, error) { return 0, nil }
func (*slowBackend) Open(context.Context, session.Record) error    { return nil }
func (*slowBackend) Change(context.Context, session.Record) error  { return nil }
func (*slowBackend) Records(context.Context, bool) iter.Seq2[session.Record, error] {
	return func(func(session.Record, error) bool) {}
}

func (b *slowBackend) Close(_ context.Context, ends []session.EndedError) error {
	<-b.let
	b.ends.Add(int64(len(ends)))
	return nil
}

func TestTooManyEndsThatAreNotKeptLetNobodyIn(t *testing.T) {
	b := &slowBackend{let: make(chan struct{})}
	s := sessionsOf(t, session.Config{Backend: b})
	defer b.once.Do(func() { close(b.let) })
	opened := int64(0)
	var refusal error
	for ; refusal == nil && opened < 70_000; opened++ {
		var n *session.Session
		if n, refusal = s.Open(t.Context(), as("alice")); refusal == nil {
			require.NoError(t, n.Close())
		}
	}
	opened--
	require.ErrorIs(t, refusal, chansec.ErrUndecided)
	require.ErrorIs(t, refusal, chansec.ErrLimit)
	for range 1000 {
		_, err := s.Open(t.Context(), as("alice"))
		require.ErrorIs(t, err, chansec.ErrLimit)
	}
	b.once.Do(func() { close(b.let) })
	require.NoError(t, s.Close(t.Context()))
	require.Equal(t, opened, b.ends.Load(), "whoever was not let in has no end to be kept")
}
