package authn_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// A token outlives its revocation in whoever it let in. What they hold over others must not.
func TestARevokedTokenAdministratesNothing(t *testing.T) {
	t.Parallel()
	jwt := newJWT(t)
	token, err := jwt.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "root", Role: chansec.RoleAdmin, AllChannels: true})
	require.NoError(t, err)
	login, err := chain(t, authn.Config{}, authn.Tokens(jwt)).Login(t.Context(), &authn.Request{Credentials: []byte(token)})
	require.NoError(t, err)
	caller := chansec.StaticCaller(login.Principal)

	c := weak
	c.Permits = everybody
	s := newSystem(t, c)
	controls, err := authn.NewControls(everybody, "c")
	require.NoError(t, err)
	registered, err := controls.Register(authn.Registrant{ID: "before", Caller: caller}, "c", says(authn.Allow))
	require.NoError(t, err)
	_, err = s.Configuration(authn.ActorOf(login.Principal))
	require.NoError(t, err)

	require.NoError(t, jwt.RevokeSubject("root", time.Now().Add(time.Second)))

	_, err = s.Configuration(authn.ActorOf(login.Principal))
	require.ErrorIs(t, err, chansec.ErrPermission)
	require.ErrorIs(t, err, chansec.ErrRevoked)
	require.ErrorIs(t, s.UpdateScript(t.Context(), authn.ActorOf(login.Principal), "allow anonymous connections"), chansec.ErrRevoked)
	_, err = controls.Register(authn.Registrant{ID: "after", Caller: caller}, "c", says(authn.Allow))
	require.ErrorIs(t, err, chansec.ErrPermission)
	require.ErrorIs(t, err, chansec.ErrRevoked)
	require.Equal(t, authn.Abstain, ask(t, controls.Entry("c").Handler, &authn.Request{Principal: "mallory"}).Answer)
	require.ErrorIs(t, registered.Err(), chansec.ErrRevoked)
}
