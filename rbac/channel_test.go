package rbac_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/chansectest"
	"github.com/chansec/chansec/rbac"
)

// mailRules: everybody's channel is their own; editors write, and chiefs do everything.
func mailRules() *rbac.Rules {
	return new(rbac.Rules).DenyAll().
		Require(rbac.AnyOf{rbac.CurrentSubject("object_id"), rbac.Role("editor"), rbac.Role("chief")}, "GET").
		Require(rbac.AnyOf{rbac.Role("editor"), rbac.Role("chief")}, "POST").
		Require(rbac.Role("chief"), "DELETE")
}

func newSecurity(t *testing.T, r *rbac.Rules) (chansec.ChannelSecurity, *rbac.Tokens) {
	t.Helper()
	tokens := newTokens(t, rbac.Clock(time.Now))
	channels, err := newService(t, tokens, r).Authorizer("object_id")
	require.NoError(t, err)
	s, err := chansec.Join(tokens, channels, tokens)
	require.NoError(t, err)
	return s, tokens
}

// TestSecurity runs the suite for securities on a service and its tokens.
func TestSecurity(t *testing.T) {
	text := func(id string, roles ...string) func(chansec.ChannelSecurity) (string, error) {
		return chansectest.Text(newToken(t, newTokens(t, rbac.Clock(time.Now)), id, roles...))
	}
	all := chansec.TokenRequest{SystemID: "generated", Role: chansec.RoleRead, AllChannels: true}
	chansectest.TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity {
		s, _ := newSecurity(t, mailRules())
		return s
	}, chansectest.Expectations{
		Systems: []chansectest.System{ // names alone, which have no roles
			{ID: "rita", Rights: []chansectest.Right{{ChannelID: "rita", Read: true}, {ChannelID: "carla"}, {ChannelID: "rit"}}},
			{ID: "carla", Rights: []chansectest.Right{{ChannelID: "rita"}}},
			{ID: "editor", Rights: []chansectest.Right{{ChannelID: "rita"}}},
		},
		Tokens: []chansectest.Token{
			{Name: "a reader", SystemID: "rita", Make: text("rita"), Rights: []chansectest.Right{{ChannelID: "rita", Read: true}, {ChannelID: "carla"}}},
			{Name: "an editor", SystemID: "edward", Make: text("edward", "editor"), Rights: []chansectest.Right{{ChannelID: "rita", Read: true, Write: true}}},
			{Name: "a chief", SystemID: "carla", Make: text("carla", "chief"), Rights: []chansectest.Right{{ChannelID: "rita", Read: true, Write: true, Admin: true}}},
			{Name: "somebody with a role of no rule", SystemID: "guest", Make: text("guest", "Chief", "denied2"), Rights: []chansectest.Right{{ChannelID: "rita"}}},
			{Name: "one that was generated", SystemID: "generated", Rights: []chansectest.Right{{ChannelID: "generated", Read: true}, {ChannelID: "rita"}},
				Make: func(s chansec.ChannelSecurity) (string, error) { return s.GenerateToken(t.Context(), all) }},
			{Name: "a role without a name", Make: chansectest.Text(signed(t, goodHeader, `{"exp":4102444800,"roles":["chief"]}`))},
			{Name: "an expired one", Make: chansectest.Text(signed(t, goodHeader, `{"sub":"carla","exp":1,"roles":["chief"]}`))},
			{Name: "one for somebody else", Make: chansectest.Text(signed(t, goodHeader, `{"sub":"carla","exp":4102444800,"aud":"x","roles":["chief"]}`))},
			{Name: "no token", Make: chansectest.Text("rita")},
		},
	}, chansectest.Skip("strange names", "by CurrentSubject, everybody may use the channel that bears their name"))
}

// TestSecurityOfRoles: the same where names alone can do nothing.
func TestSecurityOfRoles(t *testing.T) {
	roles := new(rbac.Rules).DenyAll().Require(rbac.AnyOf{rbac.Role("editor"), rbac.Role("admin")}, "GET", "POST").Require(rbac.Role("admin"), "DELETE")
	admin := chansec.TokenRequest{SystemID: "generated", Role: chansec.RoleAdmin, AllChannels: true}
	chansectest.TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity {
		s, _ := newSecurity(t, roles)
		return s
	}, chansectest.Expectations{
		Systems: []chansectest.System{{ID: "editor", Rights: []chansectest.Right{{ChannelID: "editor"}}}},
		Tokens: []chansectest.Token{
			{Name: "an editor", SystemID: "edward", Make: chansectest.Text(newToken(t, newTokens(t, rbac.Clock(time.Now)), "edward", "editor")),
				Rights: []chansectest.Right{{ChannelID: "news", Read: true, Write: true}}},
			{Name: "one that was generated", SystemID: "generated", Rights: []chansectest.Right{{ChannelID: "news", Read: true, Write: true, Admin: true}},
				Make: func(s chansec.ChannelSecurity) (string, error) { return s.GenerateToken(t.Context(), admin) }},
		},
	})
}

// TestTheClassesOfOperations: reading takes what GET takes, writing what POST takes, administering what DELETE takes.
func TestTheClassesOfOperations(t *testing.T) {
	channels, err := newService(t, newTokens(t), new(rbac.Rules).
		Require(rbac.Role("reader"), "GET").Require(rbac.Role("writer"), "POST").Require(rbac.Role("chief"), "DELETE")).Authorizer("object_id")
	require.NoError(t, err)
	for _, tt := range []struct {
		op   chansec.Operation
		role string
	}{
		{chansec.OpRead, "reader"}, {chansec.OpSubscribe, "reader"}, {chansec.OpClaim, "reader"}, {chansec.OpAcknowledge, "reader"}, {chansec.OpInfo, "reader"},
		{chansec.OpWrite, "writer"}, {chansec.OpDelete, "writer"},
		{chansec.OpAdmin, "chief"}, {chansec.OpClear, "chief"}, {chansec.OpEvict, "chief"}, {chansec.OpRemove, "chief"},
		{"DELETE", ""}, {"made up", ""}, {"", ""},
	} {
		for _, role := range []string{"reader", "writer", "chief", "GET", ""} {
			d, err := channels.Decide(t.Context(), chansec.Request{Principal: chansec.Principal{SystemID: "a", Roles: []string{role}}, ChannelID: "c", Operation: tt.op})
			require.NoError(t, err)
			require.Equal(t, role == tt.role && role != "", d.Allowed, "%s by %q", tt.op, role)
			require.NotEmpty(t, d.Reason)
		}
	}
}

// TestAPermissionOfYourOwnIsAskedForEveryMessage: nobody knows how long it stays true.
func TestAPermissionOfYourOwnIsAskedForEveryMessage(t *testing.T) {
	open := true
	rules := new(rbac.Rules).DenyAll().Require(rbac.AnyOf{rbac.Role("user"), whenever(func() bool { return open })}, "GET", "POST")
	s, tokens := newSecurity(t, rules)
	news, err := chansec.NewBroadcast[string]("news", chansec.WithSecurity(s))
	require.NoError(t, err)
	defer news.Close()
	require.NoError(t, news.Start(t.Context()))
	caller, err := news.Authenticate(t.Context(), newToken(t, tokens, "guest"))
	require.NoError(t, err)
	guest := news.For(caller)
	_, err = guest.Write(t.Context(), "one")
	require.NoError(t, err)
	open = false
	_, err = guest.Write(t.Context(), "two")
	require.ErrorIs(t, err, chansec.ErrPermission)

	caller, err = news.Authenticate(t.Context(), newToken(t, tokens, "user", "user"))
	require.NoError(t, err)
	_, err = news.For(caller).Write(t.Context(), "three")
	require.NoError(t, err)
}

// whenever is a permission that everybody has while the function says so.
type whenever func() bool

func (w whenever) Satisfied(*rbac.Claims, rbac.Params) bool { return w() }
func (whenever) String() string                             { return "AUTHORITY_WHENEVER" }

// TestAPrincipalLastsAsLongAsItsToken: the guard of a channel keeps to its expiry, which the rules know nothing of.
func TestAPrincipalLastsAsLongAsItsToken(t *testing.T) {
	s, tokens := newSecurity(t, new(rbac.Rules).AllowAll())
	p, err := s.Authenticate(t.Context(), newToken(t, tokens, "U1"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), p.Grant.ExpiresAt, time.Minute)
	require.NoError(t, p.Grant.Covers("c", chansec.OpClear, time.Now()))
	require.ErrorIs(t, p.Grant.Covers("c", chansec.OpRead, p.Grant.ExpiresAt), chansec.ErrExpired)
}

// TestNamesThatAreNoneProveNobody: not even where they are the channel's.
func TestNamesThatAreNoneProveNobody(t *testing.T) {
	channels, err := newService(t, newTokens(t), mailRules()).Authorizer("object_id")
	require.NoError(t, err)
	for id, want := range map[string]bool{"rita": true, "a/b": true, "": false, "a\n": false, "\xff": false, strings.Repeat("x", 513): false} {
		ok, err := channels.AuthorizeRead(t.Context(), id, id)
		require.NoError(t, err)
		require.Equal(t, want, ok, "%.8q", id)
		ok, err = channels.AuthorizeWrite(t.Context(), id, id)
		require.NoError(t, err)
		require.False(t, ok)
	}
}

func TestAuthorizerRefused(t *testing.T) {
	s := newService(t, newTokens(t), new(rbac.Rules).AllowAll())
	_, err := s.Authorizer("")
	require.ErrorIs(t, err, chansec.ErrInvalid)
	_, err = newService(t, nil, nil, rbac.Check(allow)).Authorizer("object_id")
	require.ErrorIs(t, err, chansec.ErrInvalid)
	var nobody *rbac.Service
	_, err = nobody.Authorizer("object_id")
	require.ErrorIs(t, err, chansec.ErrInvalid)
}
