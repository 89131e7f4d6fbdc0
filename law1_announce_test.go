package chansec_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// What Law 1 rests on: whoever sees the version of a revocation sees that it is in force.
func TestARevocationIsInForceBeforeItIsAnnounced(t *testing.T) {
	ctx := t.Context()
	name := func(i uint64) string { return fmt.Sprint("system ", i) }
	list := func(revoke func(a *chansec.ACLSecurity, i uint64)) func(uint64) announced {
		return func(n uint64) announced {
			acl := must(chansec.NewACLSecurity())
			for i := range n {
				require.NoError(t, acl.GrantOn(name(i), chansec.RoleAdmin, "c"))
			}
			return announced{acl, func(i uint64) { revoke(acl, i) }, func(i uint64) bool {
				return must(acl.AuthorizeRead(ctx, name(i), "c"))
			}}
		}
	}
	tokens := func(revoke func(j *chansec.JWTSecurity, i uint64)) func(uint64) announced {
		return func(n uint64) announced {
			keys := make([]chansec.Key, n)
			texts := make([]string, n)
			for i := range n {
				keys[i] = must(chansec.HMACKey(name(i), "HS256", []byte(law1Secret)))
			}
			j := must(chansec.NewJWTSecurity(law1Keys[0]))
			for i := range n {
				if n <= 15 {
					require.NoError(t, j.Rotate(keys[i]))
				}
				texts[i] = must(j.GenerateToken(ctx, chansec.TokenRequest{SystemID: name(i), Role: chansec.RoleRead, AllChannels: true}))
			}
			if n <= 15 {
				require.NoError(t, j.Rotate(law1Keys[0]))
			}
			asked := make([]chansec.Request, n)
			for i := range n {
				asked[i] = chansec.Request{Principal: must(j.Authenticate(ctx, texts[i])), ChannelID: "c", Operation: chansec.OpRead}
			}
			return announced{j, func(i uint64) {
				if revoke != nil {
					revoke(j, i)
				} else {
					require.NoError(t, j.RevokeToken(asked[i].Principal.Grant.TokenID, time.Time{}))
				}
			}, func(i uint64) bool {
				return must(j.Decide(ctx, asked[i])).Allowed
			}}
		}
	}
	for _, row := range []struct {
		name   string
		n      uint64
		rounds int
		make   func(n uint64) announced
	}{
		{"everything of a listed system", 3000, 1, list(func(a *chansec.ACLSecurity, i uint64) { a.Revoke(name(i)) })},
		{"a role of a listed system", 3000, 1, list(func(a *chansec.ACLSecurity, i uint64) {
			must(a.RevokeRole(name(i), chansec.RoleRead))
		})},
		{"a role on one channel", 3000, 1, list(func(a *chansec.ACLSecurity, i uint64) {
			must(a.RevokeOn(name(i), chansec.RoleRead, "c"))
		})},
		{"a token", 3000, 1, tokens(nil)},
		{"a subject", 3000, 1, tokens(func(j *chansec.JWTSecurity, i uint64) {
			require.NoError(t, j.RevokeSubject(name(i), time.Now()))
		})},
		{"a key", 15, 40, tokens(func(j *chansec.JWTSecurity, i uint64) { require.NoError(t, j.RemoveKey(name(i))) })},
	} {
		t.Run(row.name, func(t *testing.T) {
			for range row.rounds {
				row.make(row.n).check(t, row.n)
			}
		})
	}
}

// announced is a security with as many rights as there will be revocations, each of which makes one version.
type announced struct {
	chansec.Versioned
	revoke  func(i uint64)
	allowed func(i uint64) bool
}

// check revokes one right after the other while somebody looks at the one that was announced last.
func (a announced) check(t *testing.T, n uint64) {
	first := a.Version()
	var all sync.WaitGroup
	all.Go(func() {
		for seen := uint64(0); seen < n; {
			if seen = a.Version() - first; seen > 0 && a.allowed(seen-1) {
				t.Errorf("revocation %d was announced before it was in force", seen)
				return
			}
		}
	})
	for i := range n {
		a.revoke(i)
		require.Equal(t, first+i+1, a.Version())
	}
	all.Wait()
}
