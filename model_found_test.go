package chansec_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// The shortest ways to what TestModel and TestLaw1 found, and to what was found while they were written.

func TestAPortHasTheOperationsOfItsKindOnly(t *testing.T) {
	news := must(chansec.NewBroadcast[int]("news"))
	jobs := must(chansec.NewWorkQueue[int]("jobs"))
	defer news.Close()
	defer jobs.Close()

	_, claims := news.As("ann").(chansec.Worker[int])
	require.False(t, claims, "a broadcast has no claims")
	_, reads := jobs.As("ann").(chansec.Reader[int])
	require.False(t, reads, "a work queue is not read")
	_, follows := jobs.As("ann").(chansec.Subscriber[int])
	require.False(t, follows, "a work queue is not subscribed to")
}

func TestRevokingWhatHasExpiredTakesNothing(t *testing.T) {
	for name, revoke := range map[string]func(*chansec.ACLSecurity) bool{
		"Revoke":     func(a *chansec.ACLSecurity) bool { return a.Revoke("ann") },
		"RevokeRole": func(a *chansec.ACLSecurity) bool { return must(a.RevokeRole("ann", chansec.RoleRead)) },
		"RevokeOn":   func(a *chansec.ACLSecurity) bool { return must(a.RevokeOn("ann", chansec.RoleRead, "news")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acl := must(chansec.NewACLSecurity())
				require.NoError(t, acl.GrantOn("ann", chansec.RoleRead, "jobs"))
				require.NoError(t, acl.Add(chansec.ACLEntry{SystemID: "ann", Role: chansec.RoleRead, ChannelID: "news", ExpiresAt: time.Now().Add(time.Second)}))
				must(acl.RevokeOn("ann", chansec.RoleRead, "jobs"))
				time.Sleep(2 * time.Second)
				require.Empty(t, acl.Entries())
				require.False(t, revoke(acl))
			})
		})
	}
}

func TestAClaimEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := must(chansec.NewMailbox[int]("mail", chansec.WithClaimTimeout(time.Second)))
		defer mail.Close()
		require.NoError(t, mail.Start(t.Context()))
		ann := mail.As("ann")
		must(ann.Write(t.Context(), 1))
		claims := must(ann.Claim(t.Context(), 1))
		time.Sleep(time.Second - 1)
		require.NoError(t, claims[0].Extend(t.Context()))
		time.Sleep(time.Second)
		require.Len(t, must(ann.Read(t.Context(), 1)), 1, "whether or not anybody else wanted it")
		require.ErrorIs(t, claims[0].Acknowledge(t.Context()), chansec.ErrClaimLost)
	})
}

func TestAMailboxSaysWhatMayHaveBeenMissedAfterAMessageThatIsGone(t *testing.T) {
	ctx := t.Context()
	mail := must(chansec.NewMailbox[int]("mail", chansec.WithMaxMessages(1)))
	defer mail.Close()
	require.NoError(t, mail.Start(ctx))
	ann := mail.As("ann")
	first := must(ann.Write(ctx, 1))
	must(ann.Write(ctx, 2))
	must(ann.Write(ctx, 3))
	_, err := ann.ReadAfter(ctx, first, 10)
	require.Equal(t, &chansec.LaggedError{Missed: 1, AtMost: true}, err)
}

func TestAReaderOfAMailboxDoesNotGoBack(t *testing.T) {
	ctx := t.Context()
	mail := must(chansec.NewMailbox[int]("mail"))
	defer mail.Close()
	require.NoError(t, mail.Start(ctx))
	ann, bob := mail.As("ann"), mail.As("bob")
	must(ann.Write(ctx, 1))
	must(ann.WriteTo(ctx, "bob", 2))
	claims := must(ann.Claim(ctx, 1))
	require.Equal(t, 2, must(bob.Read(ctx, 1))[0].Content)
	require.NoError(t, claims[0].Nack(ctx))
	require.Empty(t, must(bob.Read(ctx, 1)), "what was passed over is behind the position")
}

func TestAClosedBroadcastCannotBeRead(t *testing.T) {
	ctx := t.Context()
	news := must(chansec.NewBroadcast[int]("news"))
	require.NoError(t, news.Start(ctx))
	ann := news.As("ann")
	require.Empty(t, must(ann.Read(ctx, 1)))
	must(ann.Write(ctx, 1))
	require.NoError(t, news.Close())
	_, err := ann.Read(ctx, 1)
	require.ErrorIs(t, err, chansec.ErrClosed)
}

func TestTheCacheOfTokensAnswersForKeysInForceOnly(t *testing.T) {
	key := func(id string) chansec.Key {
		return must(chansec.HMACKey(id, "HS256", []byte("0123456789abcdef0123456789abcdef")))
	}
	ctx := t.Context()
	for _, cached := range []int{0, 8} {
		jwt := must(chansec.NewJWTSecurity(key("a"), chansec.JWTCache(cached)))
		token := must(jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleRead, AllChannels: true}))
		must(jwt.Authenticate(ctx, token))
		require.NoError(t, jwt.Rotate(key("b")))
		require.NoError(t, jwt.RemoveKey("a"))
		_, err := jwt.Authenticate(ctx, token)
		require.ErrorIs(t, err, chansec.ErrUnauthenticated)
		require.NoError(t, jwt.AddKey(key("a")))
		_, err = jwt.Authenticate(ctx, token)
		require.NoError(t, err, "with a cache of %d", cached)
	}
}

// aFunc is an authenticator whose type cannot be a key of a map.
type aFunc func(ctx context.Context, token string) (chansec.Principal, error)

func (f aFunc) Authenticate(ctx context.Context, token string) (chansec.Principal, error) {
	return f(ctx, token)
}

func TestASecurityMayBeOfATypeThatCannotBeCompared(t *testing.T) {
	ctx := t.Context()
	acl := must(chansec.NewACLSecurity(chansec.ACLRead("ann")))
	security := must(chansec.Join(aFunc(acl.Authenticate), acl, acl))
	news := must(chansec.NewBroadcast[int]("news", chansec.WithSecurity(security)))
	defer news.Close()
	require.NotPanics(t, func() { must(news.As("ann").Subscribe(ctx)) })
}

func TestAnIdleLeaseEndsWhenTheTokenThatItsCallerCameToHoldIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		acl := must(chansec.NewACLSecurity(chansec.ACLRead("ann")))
		jwt := must(chansec.NewJWTSecurity(newModelKey("k0").key))
		news := must(chansec.NewBroadcast[int]("news", chansec.WithSecurity(acl)))
		defer news.Close()
		caller := newLiveCaller(chansec.Principal{SystemID: "ann"})
		lease := must(news.For(caller).Subscribe(ctx))

		token := must(jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleRead, AllChannels: true}))
		p := must(jwt.Authenticate(ctx, token))
		caller.become(p, nil)
		synctest.Wait()
		require.NoError(t, lease.Err())

		require.NoError(t, jwt.RevokeToken(p.Grant.TokenID, time.Time{}))
		synctest.Wait()
		require.ErrorIs(t, lease.Err(), chansec.ErrRevoked)
	})
}

func TestACallerWhoRefreshesTheirTokenStaysOneWorker(t *testing.T) {
	ctx := t.Context()
	jwt := must(chansec.NewJWTSecurity(newModelKey("k0").key))
	jobs := must(chansec.NewWorkQueue[int]("jobs", chansec.WithSecurity(jwt), chansec.WithMaxReaders(3)))
	defer jobs.Close()
	caller := newLiveCaller(chansec.Principal{})
	port := jobs.For(caller)
	for range 10 {
		token := must(jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleRead, AllChannels: true}))
		caller.become(must(jwt.Authenticate(ctx, token)), nil)
		_, err := port.Claim(ctx, 1)
		require.NoError(t, err)
	}
}

func TestWorkersWithoutClaimsDoNotCount(t *testing.T) {
	ctx := t.Context()
	jobs := must(chansec.NewWorkQueue[int]("jobs", chansec.WithMaxReaders(1)))
	defer jobs.Close()
	for _, name := range []string{"ann", "bob"} {
		_, err := jobs.As(name).Claim(ctx, 1)
		require.NoError(t, err, "nobody holds a claim")
	}
}

func TestClaimsEndWithTheNarrowerGrantOfAPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		jwt := must(chansec.NewJWTSecurity(newModelKey("k0").key))
		jobs := must(chansec.NewWorkQueue[int]("jobs", chansec.WithSecurity(jwt)))
		defer jobs.Close()
		require.NoError(t, jobs.Start(ctx))
		must(jobs.As("host").Write(ctx, 1))
		must(jobs.As("host").Write(ctx, 2))

		token := must(jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleRead, AllChannels: true}))
		wide := must(jwt.Authenticate(ctx, token))
		narrow, short := wide, *wide.Grant
		short.ExpiresAt = time.Now().Add(time.Second)
		narrow.Grant = &short
		kept := must(jobs.For(chansec.StaticCaller(wide)).Claim(ctx, 1))
		must(jobs.For(chansec.StaticCaller(narrow)).Claim(ctx, 1))

		time.Sleep(2 * time.Second)
		again := must(jobs.As("host").Claim(ctx, 2))
		require.Len(t, again, 1, "the claim of the narrower port went back")
		require.Equal(t, 2, again[0].Message.Content)
		require.NoError(t, kept[0].Extend(ctx), "that of the other did not")
	})
}

func TestTheEventOfARevokedTokenNamesIt(t *testing.T) {
	ctx := t.Context()
	var audit modelAudit
	jwt := must(chansec.NewJWTSecurity(newModelKey("k0").key))
	news := must(chansec.NewBroadcast[int]("news", chansec.WithSecurity(jwt), chansec.WithAudit(&audit)))
	defer news.Close()
	token := must(jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "ann", Role: chansec.RoleRead, AllChannels: true}))
	p := must(jwt.Authenticate(ctx, token))
	require.NoError(t, jwt.RevokeToken(p.Grant.TokenID, time.Time{}))
	_, err := news.For(chansec.StaticCaller(p)).Read(ctx, 1)
	require.ErrorIs(t, err, chansec.ErrRevoked)
	events := audit.drain()
	require.Len(t, events, 1)
	require.Equal(t, p.Grant.TokenID, events[0].TokenID)
}
