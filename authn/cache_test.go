package authn_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// counted counts how often a handler is asked.
type counted struct {
	authn.Handler
	times atomic.Int64
}

func (c *counted) Authenticate(ctx context.Context, r *authn.Request) (authn.Response, error) {
	c.times.Add(1)
	return c.Handler.Authenticate(ctx, r)
}

// doorkeeper lets in whoever has the password "pw", as who they say they are.
var doorkeeper = authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
	switch {
	case r.Principal == "nobody":
		return authn.Response{Answer: authn.Abstain}, nil
	case string(r.Credentials) != "pw":
		return authn.Response{}, nil
	}
	return authn.Response{Answer: authn.Allow, Principal: "who " + r.Principal, Proof: "test"}, nil
})

func newCache(t testing.TB, h authn.Handler, config authn.CacheConfig) (*authn.Cache, *counted) {
	c := &counted{Handler: h}
	cache, err := authn.NewCache(c, config)
	require.NoError(t, err)
	return cache, c
}

func by(name, password string) *authn.Request {
	return &authn.Request{Principal: name, Credentials: []byte(password)}
}

func TestYesAndNoLiveForTheirOwnTime(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		config  authn.CacheConfig
		request *authn.Request
		want    authn.Answer
		lasts   time.Duration
	}{
		{"yes", authn.CacheConfig{Yes: time.Minute, No: time.Second}, by("a", "pw"), authn.Allow, time.Minute},
		{"no", authn.CacheConfig{Yes: time.Minute, No: time.Second}, by("a", "no"), authn.Deny, time.Second},
		{"abstaining is a no", authn.CacheConfig{Yes: time.Minute, No: time.Second}, by("nobody", "pw"), authn.Abstain, time.Second},
		{"yes, which is not remembered", authn.CacheConfig{No: time.Second}, by("a", "pw"), authn.Allow, 0},
		{"no, which is not remembered", authn.CacheConfig{Yes: time.Second}, by("a", "no"), authn.Deny, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cache, asked := newCache(t, doorkeeper, row.config)
				require.Equal(t, row.want, ask(t, cache, row.request).Answer)
				if row.lasts > 0 {
					time.Sleep(row.lasts - 1)
					require.Equal(t, row.want, ask(t, cache, row.request).Answer)
					require.EqualValues(t, 1, asked.times.Load())
					time.Sleep(time.Nanosecond)
				}
				require.Equal(t, row.want, ask(t, cache, row.request).Answer)
				require.EqualValues(t, 2, asked.times.Load())
			})
		})
	}
}

func TestAnAnswerIsNotRememberedForLongerThanItHolds(t *testing.T) {
	t.Parallel()
	grant := func(d time.Duration) *chansec.Grant {
		return &chansec.Grant{Role: chansec.RoleRead, AllChannels: true, ExpiresAt: time.Now().Add(d)}
	}
	for name, answer := range map[string]func() authn.Response{
		"the session ends": func() authn.Response { return authn.Response{ExpiresAt: time.Now().Add(time.Minute)} },
		"the session ends, as a property": func() authn.Response {
			return authn.Response{Properties: map[string]string{"$ExpiryTime": fmt.Sprint(time.Now().Add(time.Minute).UnixMilli())}}
		},
		"the grant ends": func() authn.Response { return authn.Response{Grant: grant(time.Minute)} },
		"the grant ends before": func() authn.Response {
			return authn.Response{Grant: grant(time.Minute), ExpiresAt: time.Now().Add(2 * time.Minute)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cache, asked := newCache(t, allows(answer()), authn.CacheConfig{Yes: time.Hour})
				ask(t, cache, alice)
				time.Sleep(time.Minute - 1)
				ask(t, cache, alice)
				require.EqualValues(t, 1, asked.times.Load())
				time.Sleep(time.Nanosecond)
				ask(t, cache, alice)
				ask(t, cache, alice)
				require.EqualValues(t, 3, asked.times.Load(), "what is over is not remembered at all")
			})
		})
	}
}

func TestFailuresAreNotRemembered(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]authn.Handler{"an error": fails(errBroken), "a panic": panics, "an answer that is none": says(7)} {
		cache, asked := newCache(t, h, authn.CacheConfig{Yes: time.Hour, No: time.Hour})
		for range 3 {
			_, err := chain(t, authn.Config{}, cache).Login(t.Context(), alice)
			require.ErrorIs(t, err, chansec.ErrUndecided, name)
		}
		require.EqualValues(t, 3, asked.times.Load(), name)
	}
}

// TestAnAnswerServesEqualRequestsOnly: each row is another request than the first.
func TestAnAnswerServesEqualRequestsOnly(t *testing.T) {
	t.Parallel()
	header := http.Header{"Cookie": {"a=b"}}
	cert := func(raw string) *tls.ConnectionState {
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte(raw)}}}
	}
	verified := cert("c")
	verified.VerifiedChains = [][]*x509.Certificate{{{Raw: []byte("c")}}}
	requests := []authn.Request{
		{},
		{Credentials: []byte{}},
		{Principal: "a"},
		{Principal: "a", Credentials: []byte("b")},
		{Principal: "ab"},
		{Credentials: []byte("ab")},
		{Principal: "a", Change: true},
		{Principal: "a", Roles: []string{}},
		{Principal: "a", Roles: []string{"x"}},
		{Principal: "a", Roles: []string{"x", "y"}},
		{Principal: "a", Roles: []string{"xy"}},
		{Principal: "a", Properties: map[string]string{"x": "y"}},
		{Principal: "a", Proposed: map[string]string{"x": "y"}},
		{Principal: "a", Proposed: map[string]string{"xy": ""}},
		{Principal: "a", Proposed: map[string]string{"x": "", "y": ""}},
		{Principal: "a", Connection: authn.Connection{Transport: "http"}},
		{Principal: "a", Connection: authn.Connection{RemoteAddr: "10.0.0.1:1"}},
		{Principal: "a", Connection: authn.Connection{RemoteAddr: "10.0.0.2:1"}},
		{Principal: "a", Connection: authn.Connection{Header: header}},
		{Principal: "a", Connection: authn.Connection{Header: http.Header{"Cookie": {"a=b", "c"}}}},
		{Principal: "a", Connection: authn.Connection{Header: http.Header{"Cookie": {"a=c"}}}},
		{Principal: "a", Connection: authn.Connection{TLS: &tls.ConnectionState{}}},
		{Principal: "a", Connection: authn.Connection{TLS: &tls.ConnectionState{ServerName: "x"}}},
		{Principal: "a", Connection: authn.Connection{TLS: &tls.ConnectionState{HandshakeComplete: true}}},
		{Principal: "a", Connection: authn.Connection{TLS: cert("c")}},
		{Principal: "a", Connection: authn.Connection{TLS: cert("d")}},
		{Principal: "a", Connection: authn.Connection{TLS: verified}},
	}
	cache, asked := newCache(t, doorkeeper, authn.CacheConfig{Yes: time.Hour, No: time.Hour})
	for i := range requests {
		ask(t, cache, &requests[i])
		require.EqualValues(t, i+1, asked.times.Load(), "request %d is one of its own", i)
	}
	for i := range requests {
		ask(t, cache, &requests[i])
	}
	require.EqualValues(t, len(requests), asked.times.Load(), "all of them are remembered")

	from := func(addr string) *authn.Request {
		return &authn.Request{Principal: "z", Connection: authn.Connection{RemoteAddr: addr}}
	}
	ask(t, cache, from("[::1]:1"))
	ask(t, cache, from("[::1]:2"))
	require.EqualValues(t, len(requests)+1, asked.times.Load(), "the port makes no difference")

	blind, asked := newCache(t, doorkeeper, authn.CacheConfig{Yes: time.Hour, No: time.Hour, IgnoreConnection: true})
	for i := 15; i < len(requests); i++ {
		ask(t, blind, &requests[i])
	}
	require.EqualValues(t, 1, asked.times.Load())
	ask(t, blind, &authn.Request{Principal: "a", Properties: map[string]string{"$ClientIP": "10.0.0.1", "$Transport": "http", "$ClientType": "go"}})
	ask(t, blind, &authn.Request{Principal: "a", Properties: map[string]string{"$ClientIP": "10.0.0.2", "$Transport": "ws", "$ClientType": "go"}})
	require.EqualValues(t, 2, asked.times.Load(), "what the session's properties say of the connection makes no difference, either")
}

func TestEqualRequestsAskOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		cache, asked := newCache(t, authn.HandlerFunc(func(ctx context.Context, r *authn.Request) (authn.Response, error) {
			if ctx.Value(key{}) != nil {
				panic("something of one caller in what is asked for all")
			}
			select {
			case <-ctx.Done():
				return authn.Response{}, ctx.Err()
			case <-time.After(time.Second):
				return doorkeeper(ctx, r)
			}
		}), authn.CacheConfig{Yes: time.Hour})
		impatient, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "x"), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { // the first, with whom it begins, gives up
			_, err := cache.Authenticate(impatient, by("a", "pw"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		synctest.Wait()
		for range 20 {
			wg.Go(func() { require.Equal(t, authn.Allow, ask(t, cache, by("a", "pw")).Answer) })
		}
		wg.Go(func() { require.Equal(t, authn.Deny, ask(t, cache, by("a", "no")).Answer) })
		wg.Wait()
		require.EqualValues(t, 2, asked.times.Load())
	})
}

func TestAskingForManyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, asked := newCache(t, deaf, authn.CacheConfig{Yes: time.Hour, Lookups: 2, Timeout: time.Minute})
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				_, err := cache.Authenticate(t.Context(), by(fmt.Sprint(i), "pw"))
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		synctest.Wait()
		_, err := cache.Authenticate(t.Context(), by("third", "pw"))
		require.ErrorIs(t, err, authn.ErrOverloaded)
		wg.Wait()
		require.Equal(t, time.Minute, time.Since(began))
		require.EqualValues(t, 2, asked.times.Load())
		time.Sleep(2 * time.Hour)
		_, err = cache.Authenticate(t.Context(), by("third", "pw"))
		require.ErrorIs(t, err, context.DeadlineExceeded, "there is room again")
		time.Sleep(2 * time.Hour)
	})
}

func TestPurgeForgetsAPrincipal(t *testing.T) {
	t.Parallel()
	cache, asked := newCache(t, doorkeeper, authn.CacheConfig{Yes: time.Hour, No: time.Hour})
	all := []*authn.Request{by("a", "pw"), by("a", "no"), by("b", "pw"), by("nobody", "")}
	remember := func() {
		for _, r := range all {
			ask(t, cache, r)
		}
	}
	again := func() int64 { // how many of them are asked again
		before := asked.times.Load()
		remember()
		return asked.times.Load() - before
	}
	remember()
	require.Zero(t, again())
	require.Equal(t, 2, cache.Purge("a"), "as the name in a request")
	require.EqualValues(t, 2, again())
	require.Equal(t, 1, cache.Purge("who b"), "as whom the answer names")
	require.EqualValues(t, 1, again())
	require.Zero(t, cache.Purge("c"))
	require.Zero(t, again())
	require.Equal(t, 4, cache.Clear())
	require.EqualValues(t, 4, again())
}

// TestWhatWasAskedBeforeAPurgeIsNotUsedAfterIt: neither remembered nor waited for.
func TestWhatWasAskedBeforeAPurgeIsNotUsedAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var locked atomic.Bool
		cache, asked := newCache(t, authn.HandlerFunc(func(ctx context.Context, r *authn.Request) (authn.Response, error) {
			if locked.Load() {
				return authn.Response{}, nil
			}
			<-time.After(time.Minute / 10)
			return doorkeeper(ctx, r)
		}), authn.CacheConfig{Yes: time.Hour})
		early := make(chan authn.Answer)
		go func() { early <- ask(t, cache, by("a", "pw")).Answer }()
		synctest.Wait()
		locked.Store(true)
		cache.Purge("a")
		require.Equal(t, authn.Deny, ask(t, cache, by("a", "pw")).Answer, "a new question")
		require.Equal(t, authn.Allow, <-early, "who came before has the answer of then")
		require.Equal(t, authn.Deny, ask(t, cache, by("a", "pw")).Answer)
		require.EqualValues(t, 3, asked.times.Load())
	})
}

// TestAFloodOfWrongPasswordsPushesNobodyOut: refusals have their own room, and not more of it than there is.
func TestAFloodOfWrongPasswordsPushesNobodyOut(t *testing.T) {
	t.Parallel()
	cache, asked := newCache(t, doorkeeper, authn.CacheConfig{Yes: time.Hour, No: time.Hour, Size: 64})
	ask(t, cache, by("a", "pw"))
	for i := range 2000 {
		ask(t, cache, by("a", fmt.Sprint(i)))
	}
	before := asked.times.Load()
	ask(t, cache, by("a", "pw"))
	require.Equal(t, before, asked.times.Load())
	n := cache.Clear()
	require.LessOrEqual(t, n, 65)
	require.Greater(t, n, 32)
}

func TestWhatACacheReturnsIsNobodyElses(t *testing.T) {
	t.Parallel()
	cache, _ := newCache(t, authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
		return authn.Response{Answer: authn.Allow, Roles: []string{"A"}, Properties: map[string]string{"A": "a"}, ServerData: map[string]any{"A": "a"},
			Grant: &chansec.Grant{Role: chansec.RoleRead, Channels: []string{"a"}, ExpiresAt: time.Now().Add(time.Hour)}}, nil
	}), authn.CacheConfig{Yes: time.Hour})
	for range 3 {
		got := ask(t, cache, alice)
		require.Equal(t, []string{"A"}, got.Roles)
		require.Equal(t, map[string]string{"A": "a"}, got.Properties)
		require.Equal(t, map[string]any{"A": "a"}, got.ServerData)
		require.Equal(t, []string{"a"}, got.Grant.Channels)
		require.Equal(t, chansec.RoleRead, got.Grant.Role)
		got.Roles[0], got.Properties["A"], got.ServerData["A"], got.Grant.Channels[0], got.Grant.Role = "root", "x", "x", "x", chansec.RoleAdmin
	}
}

// TestACacheChangesNoAnswer does random things with a small cache and without one.
func TestACacheChangesNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		passwords := map[string]string{"a": "1", "b": "2", "c": "3"}
		handler := authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
			if p, ok := passwords[r.Principal]; !ok {
				return authn.Response{Answer: authn.Abstain}, nil
			} else if p != string(r.Credentials) {
				return authn.Response{}, nil
			}
			return authn.Response{Answer: authn.Allow}, nil
		})
		cache, asked := newCache(t, handler, authn.CacheConfig{Yes: time.Minute, No: time.Minute, Size: 8})
		random := rand.New(rand.NewPCG(1, 1))
		for range 5000 {
			name, password := string("abcd"[random.IntN(4)]), string("123"[random.IntN(3)])
			switch random.IntN(10) {
			case 0:
				passwords[name] = password
				cache.Purge(name)
			case 1:
				delete(passwords, name)
				cache.Purge(name)
			case 2:
				time.Sleep(time.Duration(random.IntN(60)) * time.Second)
			default:
				want := ask(t, handler, by(name, password))
				require.Equal(t, want.Answer, ask(t, cache, by(name, password)).Answer)
			}
		}
		require.Less(t, asked.times.Load(), int64(3000), "it was of some use")
	})
}

func TestACacheIsMadeOfWhatMakesSense(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]authn.CacheConfig{
		"nothing to remember":  {},
		"a negative lifetime":  {Yes: -1},
		"a negative one of no": {Yes: 1, No: -1},
		"a negative size":      {Yes: 1, Size: -1},
		"a size beyond reason": {Yes: 1, Size: 1 << 30},
		"a negative time-out":  {Yes: 1, Timeout: -1},
		"negative look-ups":    {Yes: 1, Lookups: -1},
	} {
		_, err := authn.NewCache(doorkeeper, config)
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
	_, err := authn.NewCache(nil, authn.CacheConfig{Yes: 1})
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

// TestACacheIsUsedByManyAtOnce: everything together, for the race detector. Nobody is let in after a purge that came after
// they were locked out.
func TestACacheIsUsedByManyAtOnce(t *testing.T) {
	t.Parallel()
	for range 50 {
		var locked atomic.Bool
		cache, _ := newCache(t, authn.HandlerFunc(func(ctx context.Context, r *authn.Request) (authn.Response, error) {
			if locked.Load() {
				return authn.Response{}, nil
			}
			return doorkeeper(ctx, r)
		}), authn.CacheConfig{Yes: time.Hour, No: time.Hour})
		var purged atomic.Bool
		var wrong atomic.Int64
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for range 50 {
					after := purged.Load()
					answer, err := cache.Authenticate(t.Context(), by(fmt.Sprint(i%2), "pw"))
					if err != nil || after && answer.Answer == authn.Allow {
						wrong.Add(1)
					}
				}
			})
		}
		locked.Store(true)
		cache.Purge("0")
		cache.Purge("who 1")
		purged.Store(true)
		wg.Wait()
		require.Zero(t, wrong.Load())
	}
}
