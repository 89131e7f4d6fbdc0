package chansec

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Authorizers that can do this and that beyond their interface.
type (
	plainAuthorizer struct{ Authorizer }
	decides         struct {
		Authorizer
		Decider
	}
	decidesVersioned struct {
		Authorizer
		Decider
		Versioned
	}
	decidesBlindly struct{ decides }
	versioned      struct {
		Authorizer
		Versioned
	}
)

func (decidesBlindly) ContentBlind() {}

// TestJoinKeepsWhatTheAuthorizerCanDo: neither less nor more.
func TestJoinKeepsWhatTheAuthorizerCanDo(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name                               string
		z                                  func(*ACLSecurity) Authorizer
		decides, versions, affected, blind bool
	}{
		{"nothing more", func(a *ACLSecurity) Authorizer { return plainAuthorizer{a} }, false, false, false, false},
		{"decide", func(a *ACLSecurity) Authorizer { return decides{a, a} }, true, false, false, false},
		{"decide, with a version", func(a *ACLSecurity) Authorizer { return decidesVersioned{a, a, a} }, true, true, false, false},
		{"decide, whatever the message", func(a *ACLSecurity) Authorizer { return decidesBlindly{decides{a, a}} }, true, false, false, true},
		{"say its version", func(a *ACLSecurity) Authorizer { return versioned{a, a} }, false, true, false, false},
		{"everything", func(a *ACLSecurity) Authorizer { return a }, true, true, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			acl := aclWith(t, ACLRead("r"))
			s := joinOf(t, OpenSecurity{}, row.z(acl), OpenSecurity{})
			d, ok := s.(Decider)
			require.Equal(t, row.decides, ok)
			if ok {
				answer, err := d.Decide(t.Context(), Request{Principal: Principal{SystemID: "r"}, ChannelID: "c", Operation: OpRead})
				require.NoError(t, err)
				require.True(t, answer.Allowed)
				answer, err = d.Decide(t.Context(), Request{Principal: Principal{SystemID: "r"}, ChannelID: "c", Operation: OpWrite})
				require.NoError(t, err)
				require.False(t, answer.Allowed)
			}
			v, ok := s.(Versioned)
			require.Equal(t, row.versions, ok)
			if ok {
				require.Equal(t, acl.Version(), v.Version())
				require.Equal(t, acl.Changed(), v.Changed())
			}
			if a, ok := s.(Affected); ok {
				before := a.Version()
				require.NoError(t, acl.Grant("r", RoleRead))
				if row.affected {
					require.Equal(t, []string{"r"}, a.AffectedSince(before))
				} else {
					require.Empty(t, a.AffectedSince(before), "it does not know")
				}
			} else {
				require.False(t, row.affected)
			}
			b, ok := s.(ContentBlind)
			require.Equal(t, row.blind, ok)
			if ok {
				b.ContentBlind()
			}
			require.Equal(t, [3]bool{true, false, false}, rightsOf(t, s, "r", "c"))
			require.Equal(t, "x", mint(t, s, TokenRequest{SystemID: "x"}))
			require.Equal(t, "x", authenticated(t, s, "x").SystemID)

			again := joinOf(t, s, s, s)
			require.IsType(t, s, again)
			require.Equal(t, [3]bool{true, false, false}, rightsOf(t, again, "r", "c"))
		})
	}
}

func TestJoinWantsThreeParts(t *testing.T) {
	t.Parallel()
	o := OpenSecurity{}
	for says, join := range map[string]func() (ChannelSecurity, error){
		"Authenticator": func() (ChannelSecurity, error) { return Join(nil, o, o) },
		"Authorizer":    func() (ChannelSecurity, error) { return Join(o, nil, o) },
		"TokenIssuer":   func() (ChannelSecurity, error) { return Join(o, o, nil) },
	} {
		s, err := join()
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, says)
		require.Nil(t, s)
	}
}

// TestJoinedPartsAllCut: a lease rests on the token and on the list, and ends, idle, with whichever goes first.
func TestJoinedPartsAllCut(t *testing.T) {
	t.Parallel()
	type parts struct {
		acl *ACLSecurity
		jwt *JWTSecurity
		p   Principal
	}
	for _, row := range []struct {
		name string
		cut  func(*testing.T, parts)
		is   error
	}{
		{"the list", func(t *testing.T, s parts) { require.True(t, s.acl.Revoke("s")) }, ErrPermission},
		{"an entry of the list", func(t *testing.T, s parts) { must(s.acl.RevokeRole("s", RoleRead)) }, ErrPermission},
		{"the token", func(t *testing.T, s parts) {
			require.NoError(t, s.jwt.RevokeToken(s.p.Grant.TokenID, s.p.Grant.ExpiresAt))
		}, ErrPermission},
		{"the subject", func(t *testing.T, s parts) { require.NoError(t, s.jwt.RevokeSubject("s", time.Now())) }, ErrPermission},
		{"the key", func(t *testing.T, s parts) {
			require.NoError(t, s.jwt.Rotate(hs256(t, "next")))
			require.NoError(t, s.jwt.RemoveKey("k"))
		}, ErrPermission},
		{"time", func(*testing.T, parts) { time.Sleep(time.Hour) }, ErrExpired},
	} {
		for _, hidden := range []bool{false, true} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := parts{acl: aclWith(t, ACLRead("s", "other")), jwt: jwtWith(t, hs256(t, "k"))}
					joined := joinOf(t, s.jwt, s.acl, s.jwt)
					if hidden {
						joined = fiveMethods{joined}
					}
					ch, err := NewBroadcast[int]("c", WithSecurity(joined))
					require.NoError(t, err)
					s.p = authenticated(t, joined, mint(t, joined, TokenRequest{SystemID: "s", Role: RoleRead, Channels: []string{"c"}, ExpiresIn: time.Hour}))
					lease, err := ch.For(StaticCaller(s.p)).Subscribe(t.Context())
					require.NoError(t, err)
					other, err := ch.As("other").Subscribe(t.Context())
					require.NoError(t, err)
					synctest.Wait()
					require.NoError(t, lease.Err())

					row.cut(t, s)
					if hidden {
						time.Sleep(recheckInterval) // whose version cannot be seen is asked every second
					}
					synctest.Wait()
					select {
					case <-lease.Done():
					default:
						require.Fail(t, "the lease goes on")
					}
					require.ErrorIs(t, lease.Err(), ErrRevoked)
					require.ErrorIs(t, lease.Err(), row.is)
					require.NoError(t, other.Err())
					require.NoError(t, ch.Close())
				})
			})
		}
	}
}
