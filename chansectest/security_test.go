package chansectest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/chansectest"
)

const (
	readings = "plant/readings"
	alarms   = "plant/alarms"
)

// five hides everything but the five methods.
type five struct{ chansec.ChannelSecurity }

// under is a security whose inside the expectations need.
type under[S chansec.ChannelSecurity] struct {
	mu     sync.Mutex
	inside map[chansec.ChannelSecurity]S
}

func (u *under[S]) put(outer chansec.ChannelSecurity, inner S) chansec.ChannelSecurity {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.inside == nil {
		u.inside = make(map[chansec.ChannelSecurity]S)
	}
	u.inside[outer] = inner
	return outer
}

func (u *under[S]) get(outer chansec.ChannelSecurity) S {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.inside[outer]
}

// wraps runs a test with the securities as they are, decorated, and in parts.
func wraps(t *testing.T, test func(t *testing.T, wrap func(chansec.ChannelSecurity) chansec.ChannelSecurity)) {
	t.Parallel()
	for _, w := range []struct {
		name string
		wrap func(chansec.ChannelSecurity) chansec.ChannelSecurity
	}{
		{"as it is", func(s chansec.ChannelSecurity) chansec.ChannelSecurity { return s }},
		{"in a decorator", func(s chansec.ChannelSecurity) chansec.ChannelSecurity { return &five{s} }},
		{"joined of its parts", func(s chansec.ChannelSecurity) chansec.ChannelSecurity {
			j, err := chansec.Join(s, s, s)
			require.NoError(t, err)
			return j
		}},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && w.name != "joined of its parts" {
				t.Skip("the suite takes a while: one of the three goes through all that the others do")
			}
			test(t, w.wrap)
		})
	}
}

func TestOpenSecurity(t *testing.T) {
	wraps(t, func(t *testing.T, wrap func(chansec.ChannelSecurity) chansec.ChannelSecurity) {
		chansectest.TestSecurity(t, func(*testing.T) chansec.ChannelSecurity { return wrap(chansec.OpenSecurity{}) }, chansectest.Expectations{
			Systems: []chansectest.System{{ID: "anybody", Rights: []chansectest.Right{{ChannelID: readings, Read: true, Write: true, Admin: true}}}},
			Tokens: []chansectest.Token{{Name: "name", Make: chansectest.Text("anybody"), SystemID: "anybody",
				Rights: []chansectest.Right{{ChannelID: readings, Read: true, Write: true, Admin: true}}}},
			AnyName: true, AnyToken: true, AnyRequest: true,
		})
	})
}

// aclExpectations are for newACL. of finds the list behind a security.
func aclExpectations(of func(chansec.ChannelSecurity) *chansec.ACLSecurity) chansectest.Expectations {
	return chansectest.Expectations{
		Systems: []chansectest.System{
			{ID: "display", Rights: []chansectest.Right{{ChannelID: readings, Read: true}, {ChannelID: alarms, Read: true}}},
			{ID: "sensor", Rights: []chansectest.Right{{ChannelID: readings, Read: true, Write: true}, {ChannelID: alarms, Read: true, Write: true}}},
			{ID: "operator", Rights: []chansectest.Right{{ChannelID: readings, Read: true, Write: true, Admin: true}}},
			{ID: "pump", Rights: []chansectest.Right{{ChannelID: readings, Read: true, Write: true}, {ChannelID: alarms}}},
			{ID: "guest", Rights: []chansectest.Right{{ChannelID: readings, Read: true}, {ChannelID: alarms}}},
			{ID: "former", Rights: []chansectest.Right{{ChannelID: readings}, {ChannelID: alarms}}},
		},
		Tokens: []chansectest.Token{
			{Name: "sensor's", Make: chansectest.Text("sensor"), SystemID: "sensor", Rights: []chansectest.Right{{ChannelID: readings, Read: true, Write: true}}},
			{Name: "guest's", Make: func(s chansec.ChannelSecurity) (string, error) {
				return s.GenerateToken(context.Background(), chansec.TokenRequest{SystemID: "guest", Role: "READ", Channels: []string{readings}})
			}, SystemID: "guest", Rights: []chansectest.Right{{ChannelID: readings, Read: true}, {ChannelID: alarms}}},
			{Name: "former", Make: chansectest.Text("former")},
			{Name: "unlisted", Make: chansectest.Text("not-on-the-list")},
		},
		Revocations: []chansectest.Revocation{
			{Name: "of everything", System: "display", ChannelID: readings, Role: chansec.RoleRead, Revoke: func(s chansec.ChannelSecurity) error {
				of(s).Revoke("display")
				return nil
			}},
			{Name: "of the admin role", System: "operator", ChannelID: readings, Role: chansec.RoleAdmin, Revoke: func(s chansec.ChannelSecurity) error {
				_, err := of(s).RevokeRole("operator", chansec.RoleAdmin)
				return err
			}},
			{Name: "of writing on one channel", System: "pump", ChannelID: readings, Role: chansec.RoleWrite, Revoke: func(s chansec.ChannelSecurity) error {
				_, err := of(s).RevokeOn("pump", chansec.RoleWrite, readings)
				return err
			}},
			{Name: "of all on one channel", System: "pump", ChannelID: readings, Role: chansec.RoleRead, Revoke: func(s chansec.ChannelSecurity) error {
				_, err := of(s).RevokeOn("pump", chansec.RoleRead, readings)
				return err
			}},
			{Name: "of the holder of a token", Token: "guest's", ChannelID: readings, Role: chansec.RoleRead, Revoke: func(s chansec.ChannelSecurity) error {
				of(s).Revoke("guest")
				return nil
			}},
		},
	}
}

func newACL(t *testing.T) *chansec.ACLSecurity {
	acl, err := chansec.NewACLSecurity(chansec.ACLRead("display"), chansec.ACLWrite("sensor", "former"), chansec.ACLAdmin("operator"))
	require.NoError(t, err)
	require.NoError(t, acl.GrantOn("pump", chansec.RoleWrite, readings))
	require.NoError(t, acl.GrantOn("guest", chansec.RoleRead, readings))
	require.True(t, acl.Revoke("former"))
	return acl
}

func TestACLSecurity(t *testing.T) {
	wraps(t, func(t *testing.T, wrap func(chansec.ChannelSecurity) chansec.ChannelSecurity) {
		var u under[*chansec.ACLSecurity]
		chansectest.TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity {
			acl := newACL(t)
			return u.put(wrap(acl), acl)
		}, aclExpectations(u.get))
	})
}

func newJWT(t *testing.T, opts ...chansec.JWTOption) *chansec.JWTSecurity {
	key, err := chansec.HMACKey("k1", "HS256", []byte(strings.Repeat("s", 32)))
	require.NoError(t, err)
	s, err := chansec.NewJWTSecurity(key, opts...)
	require.NoError(t, err)
	return s
}

// jwtExpectations are what every JWTSecurity must make of tokens.
func jwtExpectations(t *testing.T, of func(chansec.ChannelSecurity) *chansec.JWTSecurity) chansectest.Expectations {
	ask := func(req chansec.TokenRequest) func(chansec.ChannelSecurity) (string, error) {
		return func(s chansec.ChannelSecurity) (string, error) { return s.GenerateToken(context.Background(), req) }
	}
	otherKey, err := chansec.HMACKey("k1", "HS256", []byte(strings.Repeat("x", 32)))
	require.NoError(t, err)
	other, err := chansec.NewJWTSecurity(otherKey)
	require.NoError(t, err)
	late := newJWT(t, chansec.JWTClock(func() time.Time { return time.Now().Add(-2 * time.Hour) }))
	revokeToken := func(name, systemID string) chansectest.Revocation {
		return chansectest.Revocation{Name: "of the token " + name, Token: name, ChannelID: readings, Role: chansec.RoleRead,
			Revoke: func(s chansec.ChannelSecurity) error {
				return of(s).RevokeSubject(systemID, time.Now().Add(time.Minute))
			}}
	}
	return chansectest.Expectations{
		Tokens: []chansectest.Token{
			{Name: "reader's", SystemID: "display", Make: ask(chansec.TokenRequest{SystemID: "display", Role: chansec.RoleRead, Channels: []string{readings}}),
				Rights: []chansectest.Right{{ChannelID: readings, Read: true}, {ChannelID: alarms}}},
			{Name: "writer's", SystemID: "sensor", Make: ask(chansec.TokenRequest{SystemID: "sensor", Role: chansec.RoleWrite, AllChannels: true}),
				Rights: []chansectest.Right{{ChannelID: readings, Read: true, Write: true}, {ChannelID: alarms, Read: true, Write: true}}},
			{Name: "admin's", SystemID: "operator", Make: ask(chansec.TokenRequest{SystemID: "operator", Role: "Admin", Channels: []string{alarms, readings}}),
				Rights: []chansectest.Right{{ChannelID: readings, Read: true, Write: true, Admin: true}, {ChannelID: alarms, Read: true, Write: true, Admin: true}, {ChannelID: "plant"}}},
			{Name: "useless", SystemID: "guest", Make: ask(chansec.TokenRequest{SystemID: "guest", Role: chansec.RoleAdmin}),
				Rights: []chansectest.Right{{ChannelID: readings}, {ChannelID: alarms}}},
			{Name: "foreign", Make: func(chansec.ChannelSecurity) (string, error) {
				return other.GenerateToken(context.Background(), chansec.TokenRequest{SystemID: "display", Role: chansec.RoleAdmin, AllChannels: true})
			}},
			{Name: "expired", Make: func(chansec.ChannelSecurity) (string, error) {
				return late.GenerateToken(context.Background(), chansec.TokenRequest{SystemID: "display", Role: chansec.RoleAdmin, AllChannels: true, ExpiresIn: time.Hour})
			}},
			{Name: "revoked", Make: func(s chansec.ChannelSecurity) (string, error) {
				text, err := s.GenerateToken(context.Background(), chansec.TokenRequest{SystemID: "former", Role: chansec.RoleAdmin, AllChannels: true})
				if err != nil {
					return "", err
				}
				p, err := s.Authenticate(context.Background(), text)
				if err != nil {
					return "", err
				}
				return text, of(s).RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt)
			}},
		},
		Revocations: []chansectest.Revocation{revokeToken("reader's", "display"), revokeToken("admin's", "operator")},
	}
}

func TestJWTSecurity(t *testing.T) {
	wraps(t, func(t *testing.T, wrap func(chansec.ChannelSecurity) chansec.ChannelSecurity) {
		var u under[*chansec.JWTSecurity]
		expect := jwtExpectations(t, u.get)
		expect.AnyName = true // in-process ports are believed
		chansectest.TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity {
			s := newJWT(t)
			return u.put(wrap(s), s)
		}, expect)
	})
}

func TestJWTSecurityThatIsStrictLocally(t *testing.T) {
	wraps(t, func(t *testing.T, wrap func(chansec.ChannelSecurity) chansec.ChannelSecurity) {
		var u under[*chansec.JWTSecurity]
		expect := jwtExpectations(t, u.get)
		expect.Systems = []chansectest.System{{ID: "display", Rights: []chansectest.Right{{ChannelID: readings}, {ChannelID: alarms}}}}
		chansectest.TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity {
			s := newJWT(t, chansec.JWTStrictLocal())
			return u.put(wrap(s), s)
		}, expect)
	})
}

// TestJWTSecurityWithAList proves remote callers by tokens and decides for local ones by a list.
func TestJWTSecurityWithAList(t *testing.T) {
	wraps(t, func(t *testing.T, wrap func(chansec.ChannelSecurity) chansec.ChannelSecurity) {
		var tokens under[*chansec.JWTSecurity]
		var lists under[*chansec.ACLSecurity]
		expect := jwtExpectations(t, tokens.get)
		list := aclExpectations(lists.get)
		expect.Systems = list.Systems
		for _, r := range list.Revocations {
			if r.Token == "" {
				expect.Revocations = append(expect.Revocations, r)
			}
		}
		chansectest.TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity {
			acl := newACL(t)
			s := newJWT(t, chansec.JWTLocal(acl))
			outer := wrap(s)
			lists.put(outer, acl)
			return tokens.put(outer, s)
		}, expect, chansectest.Skip("versions", "the list has a version of its own, which JWTLocal asks anew"))
	})
}

// TestTokensOfOneAndListOfAnother joins the authenticator of one security with the authorizer of another: both must agree.
func TestTokensOfOneAndListOfAnother(t *testing.T) {
	t.Parallel()
	var lists under[*chansec.ACLSecurity]
	list := aclExpectations(lists.get)
	expect := chansectest.Expectations{Systems: list.Systems}
	for _, r := range list.Revocations {
		if r.Token == "" {
			expect.Revocations = append(expect.Revocations, r)
		}
	}
	signed := func(name string, role chansec.Role, systemID string, rights ...chansectest.Right) chansectest.Token {
		return chansectest.Token{Name: name, SystemID: systemID, Rights: rights, Make: func(s chansec.ChannelSecurity) (string, error) {
			return s.GenerateToken(context.Background(), chansec.TokenRequest{SystemID: systemID, Role: role, Channels: []string{readings}})
		}}
	}
	expect.Tokens = []chansectest.Token{
		signed("operator's, to read", chansec.RoleRead, "operator", chansectest.Right{ChannelID: readings, Read: true}, chansectest.Right{ChannelID: alarms}),
		signed("guest's, to write", chansec.RoleWrite, "guest", chansectest.Right{ChannelID: readings, Read: true}),
		signed("stranger's", chansec.RoleAdmin, "stranger", chansectest.Right{ChannelID: readings}),
	}
	chansectest.TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity {
		acl, jwt := newACL(t), newJWT(t)
		j, err := chansec.Join(jwt, acl, jwt)
		require.NoError(t, err)
		return lists.put(j, acl)
	}, expect)
}
