package session_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/session"
)

func tokensOf(t *testing.T, a chansec.Authenticator) *authn.Chain {
	c, err := authn.NewChain(authn.Config{Handlers: []authn.Entry{{Name: "tokens", Handler: authn.Tokens(a)}}})
	require.NoError(t, err)
	return c
}

func TestASessionOfARevokedTokenAdministratesNothing(t *testing.T) {
	signer, err := chansec.HMACKey("k", "HS256", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	jwt, err := chansec.NewJWTSecurity(signer)
	require.NoError(t, err)
	token, err := jwt.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "ops", Role: chansec.RoleAdmin, AllChannels: true})
	require.NoError(t, err)
	s := sessionsOf(t, session.Config{Chain: tokensOf(t, jwt), Permits: func(chansec.Principal, string) (bool, error) { return true, nil }})
	ops, err := s.Open(t.Context(), &authn.Request{Credentials: []byte(token)})
	require.NoError(t, err)
	_, err = s.For(ops).List(t.Context(), session.All)
	require.NoError(t, err)

	require.NoError(t, jwt.RevokeSubject("ops", time.Now().Add(time.Second)))
	_, err = s.For(ops).List(t.Context(), session.All)
	require.ErrorIs(t, err, chansec.ErrPermission)
	require.ErrorIs(t, err, chansec.ErrRevoked)
	n, err := s.For(ops).Kick(t.Context(), session.All, "")
	require.ErrorIs(t, err, chansec.ErrRevoked)
	require.Zero(t, n)
}

// A session that was opened with the token of another one is over when that is.
func TestASessionOfASessionEndsWithIt(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(*testing.T, *session.Sessions, *session.Session)
	}{
		{"by a kick", func(t *testing.T, s *session.Sessions, n *session.Session) {
			require.Equal(t, 1, must(s.Root().Kick(t.Context(), session.ID(n.ID()), "")))
		}},
		{"by a change of principal", func(t *testing.T, s *session.Sessions, n *session.Session) {
			require.NoError(t, n.ChangePrincipal(t.Context(), as("guest", "reader")))
		}},
		{"by a change of roles", func(t *testing.T, s *session.Sessions, n *session.Session) {
			require.Equal(t, 1, must(s.Root().ChangeRoles(t.Context(), session.ID(n.ID()), []string{"reader"}, nil)))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			first := sessionsOf(t, session.Config{})
			second := sessionsOf(t, session.Config{Chain: tokensOf(t, first)})
			n := open(t, first, "alice", "reader")
			token, err := n.NewToken()
			require.NoError(t, err)
			of, err := second.Open(t.Context(), &authn.Request{Credentials: []byte(token)})
			require.NoError(t, err)

			c := broadcast(t, roleReads{})
			port := c.For(of)
			lease, err := port.Subscribe(t.Context())
			require.NoError(t, err)
			_, err = c.As("w").Write(t.Context(), 1)
			require.NoError(t, err)
			var got int
			for m, err := range lease.Messages(t.Context()) {
				require.NoError(t, err)
				got = m.Content
				break
			}
			require.Equal(t, 1, got)

			row.end(t, first, n)
			_, err = c.As("w").Write(t.Context(), 2)
			require.NoError(t, err)
			_, err = port.Read(t.Context(), 10)
			require.ErrorIs(t, err, chansec.ErrPermission)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for _, err = range lease.Messages(ctx) {
				break
			}
			require.ErrorIs(t, err, chansec.ErrRevoked)
			_, err = second.For(of).List(t.Context(), session.All)
			require.ErrorIs(t, err, chansec.ErrRevoked)
		})
	}
}
