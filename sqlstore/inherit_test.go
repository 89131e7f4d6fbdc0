package sqlstore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

func TestATokenOfADeletedUserIsNotOneOfWhoHasTheLoginNext(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s, other := x.node(t, "here"), x.node(t, "there")
		key, err := chansec.HMACKey("k", "HS256", []byte("a key of thirty-two bytes at least"))
		require.NoError(t, err)
		tokens, err := chansec.OpenJWTSecurity(t.Context(), other.Revocations(), key)
		require.NoError(t, err)
		require.NoError(t, other.Revocations().OnChange(t.Context(), tokens.Refresh))
		addUsers(t, s, "kim", "ann")
		mint := func(who string) string {
			token, err := tokens.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: who, Role: chansec.RoleRead, AllChannels: true})
			require.NoError(t, err)
			return token
		}
		kim, ann := mint("kim"), mint("ann")
		_, err = tokens.Authenticate(t.Context(), kim)
		require.NoError(t, err)
		require.NoError(t, s.Users().Delete(t.Context(), policy.Root(), "kim"))
		addUsers(t, s, "kim")
		within(t, 10*time.Second, "the other node knows the new user", func() bool {
			_, err := tokens.Authenticate(t.Context(), kim)
			return err != nil
		})
		_, err = tokens.Authenticate(t.Context(), kim)
		require.ErrorIs(t, err, chansec.ErrRevoked)
		_, err = tokens.Authenticate(t.Context(), ann)
		require.NoError(t, err, "nobody else's is")
	})
}

func TestWhoeverIsToldOfADeletionHearsFirstThatTheSessionsAreOver(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.node(t, "here")
		addUsers(t, s, "kim")
		var was []bool
		s.Sessions().OnKick(func(Kick) { was = append(was, s.Users().Active("kim")) })
		require.NoError(t, connect(t.Context(), s, "kim", 7))
		require.NoError(t, s.Sessions().Open(t.Context(), session.Record{ID: "8", Principal: "kim", Transport: TransportWAMP, OpenedAt: time.Now()}))
		require.NoError(t, s.Users().Delete(t.Context(), policy.Root(), "kim"))
		require.Equal(t, []bool{true, true}, was, "before the login can be anybody else's")
	})
}

// Its record has no user, since there was none when it began.
func TestTheSessionOfATokenOfNoUserEndsWithTheUserOfThatLogin(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.node(t, "here")
		told := follow(s)
		require.NoError(t, s.Sessions().Open(t.Context(), session.Record{ID: "9", Principal: "kim", Transport: TransportWAMP, OpenedAt: time.Now()}))
		addUsers(t, s, "kim")
		require.NoError(t, s.Users().Delete(t.Context(), policy.ActorNamed("adm"), "kim"))
		require.Equal(t, []string{"9 9 kicked adm the user was deleted"}, told.ids())
	})
}

func TestNobodyDeletesAUserWhileTheirSessionIsRecorded(t *testing.T) {
	x := newStorage(t, PostgreSQL) // SQLite has one writer
	s := x.node(t, "here")
	addUsers(t, s, "kim")
	raw := x.raw(t)
	require.NoError(t, s.inTx(t.Context(), func(tx *tx) error {
		id, _, err := s.sessions.userOf(t.Context(), tx, "kim")
		require.NoError(t, err)
		require.True(t, id.Valid)
		_, err = raw.ExecContext(t.Context(), `select 1 from "user" where login = 'kim' for update nowait`)
		require.ErrorContains(t, err, "55P03")
		return nil
	}))
}

func TestNobodyGivesTheInternalUserASecret(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.node(t, "here")
		_, _, err := s.Bootstrap(t.Context(), "the administrator's")
		require.NoError(t, err)
		a, err := s.Administration(AdministrationOptions{})
		require.NoError(t, err)
		adm := policy.ActorNamed(LoginAdm)
		_, err = a.Do(t.Context(), adm, "user.update", []byte(`{"login": "sys", "fullname": "The System"}`))
		require.NoError(t, err)
		_, err = a.Do(t.Context(), adm, "user.update", []byte(`{"login": "sys", "secret": "mine"}`))
		require.ErrorIs(t, err, Invalid)
		c, err := s.Users().CRA(t.Context(), LoginSys)
		require.NoError(t, err)
		require.False(t, c.Known, "it may do more than the administrator, who would log in as it")
		_, err = a.Do(t.Context(), adm, "user.update", []byte(`{"login": "adm", "secret": "another"}`))
		require.NoError(t, err)
	})
}
