package session_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/session"
)

// An observer may use what it is told about, as an observer does that undoes a change it does not like.
func TestAnObserverMayChangeTheSessionThatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which sees a deadlock
		var n *session.Session
		var undone error
		s := sessionsOf(t, session.Config{MaxPerPrincipal: 1, Observe: func(e session.Event) {
			if e.Kind == session.Changed && e.Session.Principal == "mallory" {
				undone = n.ChangePrincipal(context.Background(), as(e.Before.Principal))
			}
		}})
		n = open(t, s, "alice")
		require.NoError(t, n.ChangePrincipal(t.Context(), as("mallory")))
		require.NoError(t, undone)
		require.Equal(t, "alice", n.Info().Principal)
		require.NoError(t, s.Close(t.Context()))
	})
}

func TestASessionThatChangedCountsOnceWhenItIsTold(t *testing.T) {
	var s *session.Sessions
	var opened error
	s = sessionsOf(t, session.Config{MaxPerPrincipal: 2, Observe: func(e session.Event) {
		if e.Kind == session.Changed {
			_, opened = s.Open(context.Background(), as(e.Session.Principal))
		}
	}})
	n := open(t, s, "alice")
	require.NoError(t, n.ChangePrincipal(t.Context(), as("bob")))
	require.NoError(t, opened)
}

// Whoever watches the deadlines may be held up. A session that was idle too long is over all the same, and nothing revives it.
func TestAnIdleSessionIsOverBeforeAnybodyNotices(t *testing.T) {
	for _, row := range []struct {
		name string
		ask  func(*testing.T, *session.Sessions, *session.Session, string)
	}{
		{"when it is asked who it is", func(t *testing.T, _ *session.Sessions, n *session.Session, _ string) {
			_, err := n.Principal()
			require.ErrorIs(t, err, chansec.ErrExpired)
		}},
		{"when its token comes back", func(t *testing.T, s *session.Sessions, _ *session.Session, token string) {
			_, err := s.Authenticate(t.Context(), token)
			require.ErrorIs(t, err, chansec.ErrUnauthenticated)
		}},
		{"when it is touched", func(t *testing.T, _ *session.Sessions, n *session.Session, _ string) {
			n.Touch()
			require.ErrorIs(t, n.Err(), chansec.ErrExpired)
		}},
		{"when it changes", func(t *testing.T, _ *session.Sessions, n *session.Session, _ string) {
			require.ErrorIs(t, n.ChangePrincipal(t.Context(), as("bob")), chansec.ErrExpired)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				held := make(chan struct{})
				var hold atomic.Bool
				s := sessionsOf(t, session.Config{MaxIdle: time.Hour, Observe: func(e session.Event) {
					if e.Kind == session.Ended && hold.CompareAndSwap(true, false) {
						<-held
					}
				}})
				open(t, s, "first")
				time.Sleep(time.Minute) // in the bubble
				n := open(t, s, "alice")
				token, err := n.NewToken()
				require.NoError(t, err)
				hold.Store(true)
				time.Sleep(2 * time.Hour) // the end of the first holds up the watch
				synctest.Wait()
				row.ask(t, s, n, token)
				e, ok := n.Err().(*session.EndedError)
				require.True(t, ok)
				require.Equal(t, session.Idle, e.Cause)
				close(held)
				require.NoError(t, s.Close(t.Context()))
			})
		})
	}
}

func TestCloseKeepsTheEndsThatAnObserverHoldsUp(t *testing.T) {
	backend, err := session.NewMemoryBackend(0)
	require.NoError(t, err)
	reached, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := sessionsOf(t, session.Config{Backend: backend, Observe: func(e session.Event) {
		if e.Kind == session.Ended {
			once.Do(func() { close(reached); <-held })
		}
	}})
	open(t, s, "alice")
	open(t, s, "bob")
	var kicked sync.WaitGroup
	kicked.Go(func() { _, _ = s.Root().Kick(context.Background(), session.All, "") })
	<-reached
	require.NoError(t, s.Close(t.Context()))
	for r, err := range backend.Records(t.Context(), false) {
		require.NoError(t, err)
		require.Equal(t, session.Kicked, r.End.Cause, r.Principal)
	}
	close(held)
	kicked.Wait()
}
