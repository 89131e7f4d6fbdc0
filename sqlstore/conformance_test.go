package sqlstore

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/audit/audittest"
	"github.com/chansec/chansec/chansectest"
	"github.com/chansec/chansec/session"
	"github.com/chansec/chansec/session/sessiontest"
)

// onEach runs a suite on each of the engines. Since databases of PostgreSQL are slow to make, one is emptied again and again.
func onEach(t *testing.T, suite func(t *testing.T, empty func(t *testing.T) storage)) {
	for _, d := range []Dialect{SQLite, PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) {
			if d == SQLite {
				suite(t, func(t *testing.T) storage { return newStorage(t, d) })
				return
			}
			x := newStorage(t, d)
			x.open(t, Options{})
			suite(t, func(t *testing.T) storage {
				_, err := x.raw(t).Exec(`delete from activity; delete from session; delete from node; delete from revocation`)
				require.NoError(t, err)
				return x
			})
		})
	}
}

func TestSessionsAreABackend(t *testing.T) {
	onEach(t, func(t *testing.T, empty func(t *testing.T) storage) {
		sessiontest.TestBackend(t, func(t *testing.T) func() session.Backend {
			x := empty(t)
			return func() session.Backend { return x.open(t, Options{}).Sessions() }
		})
	})
}

func TestActivityIsAStore(t *testing.T) {
	onEach(t, func(t *testing.T, empty func(t *testing.T) storage) {
		audittest.TestStore(t, func(t *testing.T) func() audit.Store {
			x := empty(t)
			return func() audit.Store { return x.open(t, Options{}).Activity() }
		})
	})
}

func TestRevocationsAreABackend(t *testing.T) {
	onEach(t, func(t *testing.T, empty func(t *testing.T) storage) {
		chansectest.TestRevocations(t, func(t *testing.T) func() chansec.RevocationBackend {
			x := empty(t)
			return func() chansec.RevocationBackend { return x.open(t, Options{}).Revocations() }
		})
	})
}

// What another process revokes is refused here without anybody asking.
func TestSecuritiesFollowTheRevocationsOfOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		key, err := chansec.HMACKey("", "HS256", []byte("a secret for tests of at least thirty-two bytes"))
		require.NoError(t, err)
		var list []*chansec.JWTSecurity
		for range 2 {
			s := x.open(t, Options{})
			j, err := chansec.OpenJWTSecurity(t.Context(), s.Revocations(), key)
			require.NoError(t, err)
			require.NoError(t, s.Revocations().OnChange(t.Context(), j.Refresh))
			list = append(list, j)
		}
		token, err := list[0].GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleRead, AllChannels: true})
		require.NoError(t, err)
		_, err = list[1].Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.NoError(t, list[0].Revoke(t.Context(), chansec.Revocation{Subject: "ann", IssuedBefore: time.Now()}))
		within(t, 10*time.Second, "the other one refuses it", func() bool {
			_, err := list[1].Authenticate(t.Context(), token)
			return errors.Is(err, chansec.ErrRevoked)
		})
	})
}

// That nobody revoked anything is news, too: a quiet database makes nobody stale, and one that is not followed any more does.
func TestSecuritiesHearThatNothingWasRevoked(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		const limit = 500 * time.Millisecond
		key, err := chansec.HMACKey("", "HS256", []byte("a secret for tests of at least thirty-two bytes"))
		require.NoError(t, err)
		s := x.open(t, Options{Poll: 20 * time.Millisecond})
		j, err := chansec.OpenJWTSecurity(t.Context(), s.Revocations(), key, chansec.JWTMaxStaleness(limit))
		require.NoError(t, err)
		began, last := time.Now(), new(atomic.Int64)
		require.NoError(t, s.Revocations().OnChange(t.Context(), func(ctx context.Context) error {
			last.Store(int64(time.Since(began)))
			return j.Refresh(ctx)
		}))
		within(t, 10*time.Second, "asked for longer than the limit", func() bool { return time.Duration(last.Load()) > 2*limit })
		token, err := j.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleRead, AllChannels: true})
		require.NoError(t, err)
		within(t, 10*time.Second, "it is fresh", func() bool {
			_, err := j.Authenticate(t.Context(), token)
			return err == nil
		})
		require.NoError(t, s.Close())
		within(t, 10*time.Second, "it is stale", func() bool {
			_, err := j.Authenticate(t.Context(), token)
			_, ok := errors.AsType[*chansec.StaleError](err)
			return ok
		})
	})
}
