package chansec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpenBelievesAnyToken(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"sensor-1", "", "\xff\x00", "eyJhbGciOiJub25lIn0.e30."} {
		p, err := OpenSecurity{}.Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, Principal{SystemID: token}, p, "a name, without proof and without bound")
	}
}

func TestOpenAllowsEveryKnownOperation(t *testing.T) {
	t.Parallel()
	for _, op := range append(everyOperation(), OpAdmin) {
		d, err := OpenSecurity{}.Decide(t.Context(), Request{Principal: Principal{SystemID: "x"}, ChannelID: "c", Operation: op})
		require.NoError(t, err)
		require.True(t, d.Allowed, op)
	}
	for _, op := range []Operation{"", "READ", "destroy", OpAuthenticate} {
		d, err := OpenSecurity{}.Decide(t.Context(), Request{Principal: Principal{SystemID: "x"}, ChannelID: "c", Operation: op})
		require.NoError(t, err)
		require.False(t, d.Allowed, op)
		require.NotEmpty(t, d.Reason)
	}
}

func TestOpenTokensAreNames(t *testing.T) {
	t.Parallel()
	for _, req := range []TokenRequest{
		{SystemID: "x"},
		{SystemID: "x", Role: "superuser", ExpiresIn: -1},
		{SystemID: "x", Role: RoleAdmin, AllChannels: true, Channels: []string{"c"}},
		{SystemID: ""},
	} {
		token, err := OpenSecurity{}.GenerateToken(t.Context(), req)
		require.NoError(t, err)
		require.Equal(t, req.SystemID, token)
	}
}

func TestOpenNeverChanges(t *testing.T) {
	t.Parallel()
	var v Versioned = OpenSecurity{}
	require.Zero(t, v.Version())
	require.Nil(t, v.Changed())
	var s ChannelSecurity = OpenSecurity{}
	_, blind := s.(ContentBlind)
	require.True(t, blind)
	OpenSecurity{}.ContentBlind()
}
