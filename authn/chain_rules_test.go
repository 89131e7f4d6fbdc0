package authn_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// after is a handler that answers after a time, whatever its context says.
func after(d time.Duration, answer authn.Answer) authn.Handler {
	return authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
		time.Sleep(d) // in a bubble
		return authn.Response{Answer: answer}, nil
	})
}

func TestAHandlerHasItsOwnDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct {
			name     string
			takes    time.Duration
			timeout  time.Duration
			all      time.Duration
			refusal  time.Duration // 0: it is let in
			parallel bool
		}{
			{name: "it answers in time", takes: time.Second, timeout: 2 * time.Second},
			{name: "it does not", takes: 2 * time.Second, timeout: time.Second, refusal: time.Second},
			{name: "the default is ten seconds", takes: 11 * time.Second, refusal: authn.DefaultHandlerTimeout},
			{name: "the time of the whole login is over before", takes: 5 * time.Second, all: time.Second, refusal: time.Second},
			{name: "the default of that is half a minute", takes: time.Hour, timeout: time.Hour, refusal: authn.DefaultTimeout},
			{name: "it does not, and others were asked as well", takes: 2 * time.Second, timeout: time.Second, refusal: time.Second, parallel: true},
		} {
			c, err := authn.NewChain(authn.Config{Timeout: row.all, Parallel: row.parallel, Handlers: []authn.Entry{
				{Name: "a", Handler: after(row.takes, authn.Allow), Timeout: row.timeout},
				{Name: "b", Handler: says(authn.Allow)},
			}})
			require.NoError(t, err)
			began := time.Now()
			login, err := c.Login(t.Context(), alice)
			if row.refusal == 0 {
				require.NoError(t, err, row.name)
				require.Equal(t, row.takes, login.Votes[0].Took)
			} else {
				require.Equal(t, row.refusal, time.Since(began), row.name)
				late, ok := errors.AsType[*authn.TimeoutError](err)
				require.True(t, ok, row.name)
				require.Equal(t, row.refusal, late.After)
				require.Equal(t, "a", refused(t, err).By)
			}
			time.Sleep(2 * time.Hour)
		}
	})
}

// TestParallelWaitsForHigherPrioritiesOnly: three that take 3, 1 and 100 seconds.
func TestParallelWaitsForHigherPrioritiesOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		last := authn.HandlerFunc(func(ctx context.Context, _ *authn.Request) (authn.Response, error) {
			<-ctx.Done()
			ended.Store(true)
			return authn.Response{}, ctx.Err()
		})
		c := chain(t, authn.Config{Parallel: true}, after(3*time.Second, authn.Abstain), after(time.Second, authn.Allow), last)
		began := time.Now()
		login, err := c.Login(t.Context(), alice)
		require.NoError(t, err)
		require.Equal(t, 3*time.Second, time.Since(began), "not 1, and not 4")
		require.Equal(t, "b", login.By)
		require.Len(t, login.Votes, 2, "what the third would have said does not count")
		require.Equal(t, time.Second, login.Votes[1].Took)
		synctest.Wait()
		require.True(t, ended.Load(), "the third is told that nobody waits any more")
	})
}

// TestParallelCountsAnswersThatCameInTime: also where they are looked at much later.
func TestParallelCountsAnswersThatCameInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := authn.NewChain(authn.Config{Parallel: true, Handlers: []authn.Entry{
			{Name: "slow", Handler: after(9*time.Second, authn.Abstain)},
			{Name: "quick", Handler: after(time.Second, authn.Allow), Timeout: 2 * time.Second},
		}})
		require.NoError(t, err)
		login, err := c.Login(t.Context(), alice)
		require.NoError(t, err)
		require.Equal(t, "quick", login.By)
	})
}

func TestHandlersThatNeverReturnAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int64
		stuck := authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
			asked.Add(1)
			<-release
			return authn.Response{Answer: authn.Allow}, nil
		})
		c := chain(t, authn.Config{Calls: 3}, stuck)
		for range 3 {
			_, err := c.Login(t.Context(), alice)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		began := time.Now()
		for range 5 {
			_, err := c.Login(t.Context(), alice)
			require.ErrorIs(t, err, authn.ErrOverloaded)
			require.ErrorIs(t, err, chansec.ErrUndecided)
		}
		require.Zero(t, time.Since(began), "nobody waits for it")
		require.EqualValues(t, 3, asked.Load())
		close(release)
		synctest.Wait()
		_, err := c.Login(t.Context(), alice)
		require.NoError(t, err, "those that returned make room")
	})
}

func TestAStuckHandlerTakesNothingFromOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := chain(t, authn.Config{Calls: 1, Parallel: true}, says(authn.Allow), deaf)
		for range 5 {
			_, err := c.Login(t.Context(), alice)
			require.NoError(t, err)
			synctest.Wait()
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestALoginEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := chain(t, authn.Config{}, says(authn.Allow)).Login(ctx, alice)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, chansec.ErrUndecided)
	require.Equal(t, "a", refused(t, err).By)
}

func TestWhatAHandlerFailsWith(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name      string
		handler   authn.Handler
		undecided bool
		is        error
	}{
		{"an error", fails(errBroken), true, errBroken},
		{"what says that somebody is not who they say", fails(fmt.Errorf("no: %w", chansec.ErrUnauthenticated)), false, nil},
		{"what says that, and that nobody knows", fails(errors.Join(chansec.ErrUnauthenticated, chansec.ErrUndecided)), true, nil},
		{"what would look like a denial of an operation", fails(chansec.ErrPermission), true, nil},
		{"the end of its goroutine", authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
			runtime.Goexit()
			return authn.Response{Answer: authn.Allow}, nil
		}), true, nil},
		{"an answer that is none", says(7), true, chansec.ErrInvalid},
		{"a principal with a line feed", allows(authn.Response{Principal: "a\nb"}), true, chansec.ErrInvalid},
		{"a role without a name", allows(authn.Response{Roles: []string{""}}), true, chansec.ErrInvalid},
		{"too many roles", allows(authn.Response{Roles: strings.Split(strings.Repeat("x ", 1024)+"x", " ")}), true, chansec.ErrInvalid},
		{"a property with a blank", allows(authn.Response{Properties: map[string]string{"A B": ""}}), true, chansec.ErrInvalid},
		{"a property without a name", allows(authn.Response{Properties: map[string]string{"": ""}}), true, chansec.ErrInvalid},
		{"a property that is too long", allows(authn.Response{Properties: map[string]string{"A": strings.Repeat("x", 9000)}}), true, chansec.ErrInvalid},
		{"two principals", allows(authn.Response{Principal: "a", Properties: map[string]string{"$Principal": "b"}}), true, chansec.ErrInvalid},
		{"roles twice", allows(authn.Response{Roles: []string{}, Properties: map[string]string{"$Roles": `"A"`}}), true, chansec.ErrInvalid},
		{"roles with an open quote", allows(authn.Response{Properties: map[string]string{"$Roles": `"A","B`}}), true, chansec.ErrInvalid},
		{"an expiry that is no number", allows(authn.Response{Properties: map[string]string{"$ExpiryTime": "soon"}}), true, chansec.ErrInvalid},
		{"a time that is over", allows(authn.Response{ExpiresAt: time.Now().Add(-time.Second)}), false, nil},
		{"a grant that is over", allows(authn.Response{Grant: &chansec.Grant{Role: chansec.RoleRead, AllChannels: true}}), false, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := chain(t, authn.Config{}, row.handler, says(authn.Allow)).Login(t.Context(), alice)
			require.Equal(t, "a", refused(t, err).By)
			require.Equal(t, row.undecided, errors.Is(err, chansec.ErrUndecided))
			require.NotErrorIs(t, err, chansec.ErrPermission)
			if row.is != nil {
				require.ErrorIs(t, err, row.is)
			}
		})
	}
}

func TestARequestHasBounds(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 300 {
		many[fmt.Sprint(i)] = ""
	}
	c := chain(t, authn.Config{}, says(authn.Allow))
	for name, r := range map[string]*authn.Request{
		"a name with a NUL":       {Principal: "a\x00"},
		"a name that is too long": {Principal: strings.Repeat("x", 513)},
		"a name in no UTF-8":      {Principal: "\xff"},
		"long credentials":        {Principal: "a", Credentials: make([]byte, 64<<10+1)},
		"many properties":         {Principal: "a", Proposed: many},
		"a long property":         {Principal: "a", Proposed: map[string]string{"A": strings.Repeat("x", 9000)}},
	} {
		_, err := c.Login(t.Context(), r)
		require.ErrorIs(t, err, chansec.ErrUnauthenticated, name)
		require.Empty(t, refused(t, err).Votes, name)
	}
	_, err := c.Login(t.Context(), &authn.Request{Principal: strings.Repeat("x", 512), Credentials: make([]byte, 64<<10)})
	require.NoError(t, err)
}

// TestRolesAreThoseOfWhoTheyTurnOutToBe: never those of whom they only said they were.
func TestRolesAreThoseOfWhoTheyTurnOutToBe(t *testing.T) {
	t.Parallel()
	defaults := func(principal string) []string {
		if principal == "" {
			return []string{"ANONYMOUS"}
		}
		return []string{"role of " + principal, "A", "A"}
	}
	for _, row := range []struct {
		name    string
		request authn.Request
		answer  authn.Response
		want    []string
	}{
		{"the one they named", authn.Request{Principal: "bob"}, authn.Response{}, []string{"A", "role of bob"}},
		{"another one", authn.Request{Principal: "root"}, authn.Response{Principal: "bob"}, []string{"A", "role of bob"}},
		{"another one, as a property", authn.Request{Principal: "root"}, authn.Response{Properties: map[string]string{"$Principal": "bob"}}, []string{"A", "role of bob"}},
		{"one that the token named", authn.Request{Credentials: []byte("token")}, authn.Response{Principal: "bob"}, []string{"A", "role of bob"}},
		{"nobody", authn.Request{}, authn.Response{}, []string{"ANONYMOUS"}},
		{"nobody who was given a name", authn.Request{}, authn.Response{Principal: "guest-1"}, []string{"ANONYMOUS"}},
		{"exactly what the handler says", authn.Request{Principal: "bob"}, authn.Response{Roles: []string{"Z", "B", "Z"}}, []string{"B", "Z"}},
		{"nothing, if the handler says so", authn.Request{Principal: "bob"}, authn.Response{Roles: []string{}}, []string{}},
		{"what the handler says as a property", authn.Request{Principal: "bob"}, authn.Response{Properties: map[string]string{"$Roles": `"A \"x\"", 'B'`}}, []string{`A "x"`, "B"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			login, err := chain(t, authn.Config{Roles: defaults}, allows(row.answer)).Login(t.Context(), &row.request)
			require.NoError(t, err)
			require.Equal(t, row.want, login.Principal.Roles)
		})
	}
	t.Run("those of the request where the chain has no defaults", func(t *testing.T) {
		t.Parallel()
		login, err := chain(t, authn.Config{}, says(authn.Allow)).Login(t.Context(), &authn.Request{Principal: "bob", Roles: []string{"R"}})
		require.NoError(t, err)
		require.Equal(t, []string{"R"}, login.Principal.Roles)
	})
	t.Run("nobody is let in if the defaults cannot be found out", func(t *testing.T) {
		t.Parallel()
		_, err := chain(t, authn.Config{Roles: func(string) []string { panic("broken") }}, says(authn.Allow)).Login(t.Context(), alice)
		require.ErrorIs(t, err, chansec.ErrUndecided)
	})
}

func TestAHandlerSetsFewFixedProperties(t *testing.T) {
	t.Parallel()
	expires := time.UnixMilli(4_000_000_000_000)
	login, err := chain(t, authn.Config{}, allows(authn.Response{Properties: map[string]string{
		"$Country": "CH", "$Language": "de", "$Latitude": "47", "$Longitude": "8", "$ClientIP": "6.6.6.6", "$SessionId": "1",
		"$Environment": "x", "$Principal": "bob", "$ExpiryTime": "4000000000000", "TEAM": "fx",
	}})).Login(t.Context(), alice)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"$Country": "CH", "$Language": "de", "$Latitude": "47", "$Longitude": "8", "TEAM": "fx"}, login.Properties)
	require.Equal(t, "bob", login.Principal.SystemID)
	require.True(t, expires.Equal(login.ExpiresAt))
	require.True(t, expires.Equal(login.Principal.Grant.ExpiresAt), "the guard knows of it, too")
}

func TestALoginEndsWithWhatEndsFirst(t *testing.T) {
	t.Parallel()
	soon, later := time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	grant := func(at time.Time) *chansec.Grant {
		return &chansec.Grant{Role: chansec.RoleRead, Channels: []string{"c"}, ExpiresAt: at, TokenID: "7"}
	}
	for _, row := range []struct {
		name    string
		expires time.Time
		grant   *chansec.Grant
		want    time.Time
	}{
		{"never", time.Time{}, nil, time.Time{}},
		{"the session", soon, nil, soon},
		{"the grant", time.Time{}, grant(soon), soon},
		{"the session before the grant", soon, grant(later), soon},
		{"the grant before the session", later, grant(soon), soon},
	} {
		given := row.grant
		login, err := chain(t, authn.Config{}, allows(authn.Response{ExpiresAt: row.expires, Grant: given})).Login(t.Context(), alice)
		require.NoError(t, err, row.name)
		require.Equal(t, row.want, login.ExpiresAt, row.name)
		if row.want.IsZero() {
			require.Nil(t, login.Principal.Grant)
			continue
		}
		require.Equal(t, row.want, login.Principal.Grant.ExpiresAt, row.name)
		require.NoError(t, login.Principal.Grant.Covers("c", chansec.OpRead, time.Now()))
		if given != nil {
			require.ErrorIs(t, login.Principal.Grant.Covers("c", chansec.OpWrite, time.Now()), chansec.ErrGrant, "it became no wider")
			login.Principal.Grant.Channels[0] = "changed"
			require.Equal(t, "c", given.Channels[0], "it is a copy")
		}
	}
}

// TestAHandlerCannotChangeWhatOthersSee: each has a copy of the request.
func TestAHandlerCannotChangeWhatOthersSee(t *testing.T) {
	t.Parallel()
	hostile := authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
		r.Principal, r.Change = "root", true
		copy(r.Credentials, "xx")
		r.Proposed["A"], r.Properties["A"], r.Roles[0] = "x", "x", "x"
		r.Connection.Header.Set("A", "x")
		return authn.Response{Answer: authn.Abstain}, nil
	})
	request := func() *authn.Request {
		return &authn.Request{Principal: "alice", Credentials: []byte("pw"), Proposed: map[string]string{"A": "a"}, Properties: map[string]string{"A": "a"},
			Roles: []string{"a"}, Connection: authn.Connection{Header: http.Header{"A": {"a"}}}}
	}
	for _, parallel := range []bool{false, true} {
		given := request()
		login, err := chain(t, authn.Config{Parallel: parallel}, hostile, authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
			require.Equal(t, request(), r)
			return authn.Response{Answer: authn.Allow}, nil
		})).Login(t.Context(), given)
		require.NoError(t, err)
		require.Equal(t, "alice", login.Principal.SystemID)
		require.Equal(t, request(), given)
	}
}

func TestEveryLoginIsObserved(t *testing.T) {
	t.Parallel()
	var seen []authn.Attempt
	observe := authn.Config{Observe: func(_ context.Context, a authn.Attempt) error { seen = append(seen, a); return nil }}
	request := &authn.Request{Principal: "alice", Change: true, Connection: authn.Connection{Transport: "http", RemoteAddr: "10.0.0.1:7"}}
	for _, row := range []struct {
		name     string
		handlers []authn.Handler
		want     authn.Attempt
	}{
		{"let in", []authn.Handler{says(authn.Abstain), says(authn.Allow)}, authn.Attempt{Outcome: chansec.Allowed, SystemID: "alice", Proof: "test", By: "b", Reason: "allow"}},
		{"refused", []authn.Handler{says(authn.Deny)}, authn.Attempt{By: "a", Reason: "deny"}},
		{"by nobody", []authn.Handler{says(authn.Abstain)}, authn.Attempt{Reason: "all handlers abstained"}},
		{"nobody was asked", nil, authn.Attempt{Reason: "no handler was asked"}},
		{"a failure", []authn.Handler{fails(errBroken)}, authn.Attempt{Outcome: chansec.Undecided, By: "a", Err: errBroken}},
	} {
		seen = nil
		_, err := chain(t, observe, row.handlers...).Login(t.Context(), request)
		require.Equal(t, row.want.Outcome == chansec.Allowed, err == nil, row.name)
		require.Len(t, seen, 1, row.name)
		got := seen[0]
		require.Len(t, got.Votes, len(row.handlers), row.name)
		require.WithinDuration(t, time.Now(), got.Time, time.Minute)
		require.Positive(t, got.Took)
		got.Votes, got.Time, got.Took = nil, time.Time{}, 0
		row.want.Asked, row.want.Change, row.want.Transport, row.want.RemoteAddr = "alice", true, "http", "10.0.0.1:7"
		require.Equal(t, row.want, got, row.name)
	}
}

func TestNobodyIsLetInUnobserved(t *testing.T) {
	t.Parallel()
	for name, observe := range map[string]func(context.Context, authn.Attempt) error{
		"it fails":                               func(context.Context, authn.Attempt) error { return errBroken },
		"it panics":                              func(context.Context, authn.Attempt) error { panic("broken") },
		"it fails with what looks like a denial": func(context.Context, authn.Attempt) error { return chansec.ErrUnauthenticated },
	} {
		c := chain(t, authn.Config{Observe: observe}, says(authn.Allow))
		login, err := c.Login(t.Context(), alice)
		require.Nil(t, login, name)
		require.ErrorIs(t, err, chansec.ErrAudit, name)
		refused(t, err)
		_, err = c.Authenticate(t.Context(), "token")
		require.ErrorIs(t, err, chansec.ErrAudit, name)
	}
}

func TestATokenMayBeANameAndAPassword(t *testing.T) {
	t.Parallel()
	for token, want := range map[string][2]string{
		"alice:pw":   {"alice", "pw"},
		"alice:p:w":  {"alice", "p:w"},
		"alice:":     {"alice", ""},
		":pw":        {"", ":pw"},
		"aaa.bbb.cc": {"", "aaa.bbb.cc"},
	} {
		name, credentials := authn.PasswordToken(token)
		require.Equal(t, want, [2]string{name, string(credentials)})
		require.NotNil(t, credentials)
	}
	for token, want := range map[string][2]string{
		"YWxpY2U6cMOkw58sICI=":   {"alice", `päß, "`},
		"YWxpY2U6":               {"alice", ""},
		"YWxpY2U6cMOkw58sICI":    {"", "YWxpY2U6cMOkw58sICI"}, // no padding
		"YWxp\nY2U6":             {"", "YWxp\nY2U6"},
		"OnB3":                   {"", "OnB3"}, // no name
		"YWxpY2U=":               {"", "YWxpY2U="},
		"YWxpY2U6/w==":           {"", "YWxpY2U6/w=="}, // no UTF-8
		"alice:pw":               {"", "alice:pw"},
		"eyJhbGciOiJIUzI1NiJ9.x": {"", "eyJhbGciOiJIUzI1NiJ9.x"},
	} {
		name, credentials := authn.BasicToken(token)
		require.Equal(t, want, [2]string{name, string(credentials)}, token)
	}
	file, err := openText(t, `{"users": {"alice": {"password": "pw"}}}`, authn.FileConfig{ClearText: true})
	require.NoError(t, err)
	c := chain(t, authn.Config{Token: authn.PasswordToken}, file)
	p, err := c.Authenticate(t.Context(), "alice:pw")
	require.NoError(t, err)
	require.Equal(t, chansec.Principal{SystemID: "alice", Proof: authn.ProofPassword}, p)
	for _, token := range []string{"alice:no", "alice:", "alice", ":pw", "bob:pw", "Alice:pw", "alice :pw", "alice:pw ", "YWxpY2U6cHc="} {
		_, err := c.Authenticate(t.Context(), token)
		require.ErrorIs(t, err, chansec.ErrUnauthenticated, token)
	}
	_, err = chain(t, authn.Config{}, file).Authenticate(t.Context(), "alice:pw")
	require.ErrorIs(t, err, chansec.ErrUnauthenticated, "only where the chain says so")
}

// TestRefusalsSayNothing: one text for all that is a plain no.
func TestRefusalsSayNothing(t *testing.T) {
	t.Parallel()
	file, err := openText(t, `{"users": {"alice": {"password": "pw"}}}`, authn.FileConfig{ClearText: true})
	require.NoError(t, err)
	c := chain(t, authn.Config{}, file)
	_, unknown := c.Login(t.Context(), &authn.Request{Principal: "nobody", Credentials: []byte("x")})
	_, wrong := c.Login(t.Context(), &authn.Request{Principal: "alice", Credentials: []byte("x")})
	require.Equal(t, unknown.Error(), wrong.Error())
	require.Equal(t, refused(t, unknown).ClientData, refused(t, wrong).ClientData)
}

func TestAChainHasOneSystemHandlerAtMost(t *testing.T) {
	t.Parallel()
	var handlers []authn.Entry
	for _, name := range []string{"first", "second"} {
		store, err := authn.NewSystemStore(authn.SystemConfig{Iterations: 10, AllowWeak: true})
		require.NoError(t, err)
		handlers = append(handlers, authn.Entry{Name: name, Handler: store})
		_, err = authn.NewChain(authn.Config{Handlers: handlers})
		if len(handlers) == 1 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, chansec.ErrInvalid)
		}
	}
}

// What a handler that failed wants the caller to know gets there, and nothing else of its answer.
func TestAFailureKeepsTheClientData(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	c, err := authn.NewChain(authn.Config{Handlers: []authn.Entry{{Name: "a", Handler: authn.HandlerFunc(
		func(context.Context, *authn.Request) (authn.Response, error) {
			return authn.Response{Answer: authn.Allow, ClientData: "try later"}, away
		})}}})
	require.NoError(t, err)
	login, err := c.Login(t.Context(), &authn.Request{Principal: "alice"})
	require.Nil(t, login)
	refused, ok := errors.AsType[*authn.RefusedError](err)
	require.True(t, ok)
	require.Equal(t, "try later", refused.ClientData)
	require.ErrorIs(t, err, away)
	require.ErrorIs(t, err, chansec.ErrUndecided)
}
