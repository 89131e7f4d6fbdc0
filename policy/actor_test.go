package policy_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// A token that only reads, or that was revoked, is no less an administrator's name. It must not administrate.
func TestWhatACredentialReachesBoundsWhoAdministrates(t *testing.T) {
	s := newStore(t, policy.DiffusionConfig())
	change(t, s, func(tx *policy.Tx) {
		tx.SetGlobalPermissions("ADMINISTRATOR", "MODIFY_SECURITY", "VIEW_SECURITY")
		tx.AssignRoles("boss", "ADMINISTRATOR")
	})
	signer, err := chansec.HMACKey("k", "HS256", []byte(rand.Text()+rand.Text()))
	require.NoError(t, err)
	jwt, err := chansec.NewJWTSecurity(signer)
	require.NoError(t, err)
	of := func(r chansec.TokenRequest) chansec.Principal {
		r.SystemID = "boss"
		token, err := jwt.GenerateToken(t.Context(), r)
		require.NoError(t, err)
		p, err := jwt.Authenticate(t.Context(), token)
		require.NoError(t, err)
		return p
	}
	revoked := of(chansec.TokenRequest{Role: chansec.RoleAdmin, AllChannels: true})
	require.NoError(t, jwt.RevokeToken(revoked.Grant.TokenID, time.Time{}))
	for _, row := range []struct {
		name string
		p    chansec.Principal
		may  bool
	}{
		{"one without a bound", chansec.Principal{SystemID: "boss"}, true},
		{"an administrator's token", of(chansec.TokenRequest{Role: chansec.RoleAdmin, AllChannels: true}), true},
		{"a token that only writes", of(chansec.TokenRequest{Role: chansec.RoleWrite, AllChannels: true}), false},
		{"a token of one channel", of(chansec.TokenRequest{Role: chansec.RoleAdmin, Channels: []string{"c"}}), false},
		{"a token that was revoked", revoked, false},
		{"a grant that is over", chansec.Principal{SystemID: "boss", Grant: &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true}}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			called := false
			err := s.Update(t.Context(), policy.ActorOf(row.p), func(*policy.Tx) error { called = true; return nil })
			_, viewed := s.View(policy.ActorOf(row.p))
			require.Equal(t, row.may, called)
			if row.may {
				require.NoError(t, err)
				require.NoError(t, viewed)
				return
			}
			require.ErrorIs(t, err, chansec.ErrPermission)
			require.ErrorIs(t, viewed, chansec.ErrPermission)
			require.ErrorContains(t, err, "a credential that reaches everything")
		})
	}
}
