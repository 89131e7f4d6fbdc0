package chansec_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// newIssuingSite is a site that makes tokens, with two channels, a and b.
func newIssuingSite(t *testing.T, others chansec.Delegation) *site {
	t.Helper()
	key, err := chansec.HMACKey("", "HS256", siteSecret)
	require.NoError(t, err)
	jwt, err := chansec.NewJWTSecurity(key, chansec.JWTAudience("here"))
	require.NoError(t, err)
	s := newSite(t, chansec.HTTPTokens(jwt, others))
	s.jwt = jwt
	for _, id := range []string{"a", "b"} {
		s.mount(chansec.NewBroadcast[any](id, chansec.WithSecurity(jwt)))
	}
	return s
}

func TestHTTPTokens(t *testing.T) {
	s := newIssuingSite(t, nil)
	admin, of := s.token("boss", chansec.RoleAdmin), s.token("chief", chansec.RoleAdmin, "a")
	for _, row := range []struct {
		name, token, body string
		status            int
	}{
		{"for one channel", admin, `{"role":"read","channels":["a"],"expires_in":60}`, 200},
		{"for all channels", admin, `{"role":"admin","all_channels":true}`, 200},
		{"for a channel that does not exist yet", admin, `{"role":"read","channels":["none"]}`, 200},
		{"for one's only channel", of, `{"role":"write","channels":["a"]}`, 200},
		{"for another channel", of, `{"role":"read","channels":["a","b"]}`, 403},
		{"for an unknown channel", of, `{"role":"read","channels":["none"]}`, 403},
		{"for all channels, with one", of, `{"role":"read","all_channels":true}`, 403},
		{"for somebody else", admin, `{"role":"read","channels":["a"],"system_id":"x"}`, 403},
		{"for longer than one has", of, `{"role":"read","channels":["a"],"expires_in":86401}`, 403},
		{"by a writer", s.token("w", chansec.RoleWrite), `{"role":"read","channels":["a"]}`, 403},
		{"by a writer, for nothing", s.token("w", chansec.RoleWrite), `{"role":"read","channels":[]}`, 403},
		{"by nobody", "nonsense", `{"role":"read","channels":["a"]}`, 401},
		{"without a role", admin, `{"channels":["a"]}`, 400},
		{"of an unknown role", admin, `{"role":"god","channels":["a"]}`, 400},
		{"for a channel and for all", admin, `{"role":"read","channels":["a"],"all_channels":true}`, 400},
		{"for a channel that is none", admin, `{"role":"read","channels":["\u0000"]}`, 400},
		{"for a time that is none", admin, `{"role":"read","channels":["a"],"expires_in":-1}`, 400},
		{"for half a second", admin, `{"role":"read","channels":["a"],"expires_in":0.5}`, 400},
		{"with a member that it does not have", admin, `{"role":"read","channels":["a"],"scope":"all"}`, 400},
		{"twice the same member", admin, `{"role":"read","role":"admin","channels":["a"]}`, 400},
		{"with a list", admin, `[]`, 400},
	} {
		a := s.send("POST /tokens", row.token, row.body)
		require.Equal(t, row.status, a.Status, "%s: %s", row.name, a.Body)
		if row.status == 200 {
			p, err := s.jwt.Authenticate(t.Context(), a.json(t)["token"].(string))
			require.NoError(t, err)
			require.Contains(t, []string{"boss", "chief"}, p.SystemID)
			require.Equal(t, "Bearer", a.json(t)["token_type"])
			require.InDelta(t, time.Until(p.Grant.ExpiresAt).Seconds(), a.json(t)["expires_in"], 2)
		}
	}
	s.mount(chansec.NewBroadcast[any]("of another security", chansec.WithSecurity(newSite(t).jwt)))
	require.Equal(t, 200, s.send("POST /tokens", admin, `{"role":"read","all_channels":true}`).Status)
	require.Equal(t, 405, s.send("GET /tokens", admin, "").Status)
	require.Equal(t, 401, s.send("GET /tokens", "", "").Status)
	require.Equal(t, 404, newHTTPSite(t).send("POST /tokens", admin, "{}").Status, "only if asked for")
}

// newHTTPSite is a site without a token endpoint, which takes the same tokens.
func newHTTPSite(t *testing.T) *site {
	s := newSite(t)
	key, err := chansec.HMACKey("", "HS256", siteSecret)
	require.NoError(t, err)
	s.jwt, err = chansec.NewJWTSecurity(key, chansec.JWTAudience("here"))
	require.NoError(t, err)
	s.mount(chansec.NewBroadcast[any]("a", chansec.WithSecurity(s.jwt)))
	return s
}

func TestHTTPTokensForOthers(t *testing.T) {
	s := newIssuingSite(t, func(_ context.Context, p chansec.Principal, req chansec.TokenRequest) error {
		if p.SystemID == "boss" && req.SystemID == "friend" {
			return nil
		}
		return errors.New("canary")
	})
	admin := s.token("boss", chansec.RoleAdmin)
	ask := func(system string) answered {
		return s.send("POST /tokens", admin, fmt.Sprintf(`{"role":"read","channels":["a"],"system_id":%q}`, system))
	}
	a := ask("enemy")
	require.Equal(t, 403, a.Status)
	require.NotContains(t, a.Body, "canary")
	a = ask("friend")
	require.Equal(t, 200, a.Status)
	friend := a.json(t)["token"].(string)
	require.Equal(t, 200, s.send("GET /channels/a", friend, "").Status)
	require.Equal(t, 403, s.send("GET /channels/b", friend, "").Status)
	require.Equal(t, 403, s.send("POST /tokens", friend, `{"role":"read","channels":["a"]}`).Status)
	require.NoError(t, s.jwt.RevokeSubject("boss", time.Now()))
	require.Equal(t, 401, s.send("GET /channels/a", friend, "").Status, "it dies with its parent")
}
