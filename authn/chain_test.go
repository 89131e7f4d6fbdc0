package authn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// says is a handler that always answers the same.
func says(answer authn.Answer) authn.Handler {
	return authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
		return authn.Response{Answer: answer, Reason: answer.String(), Proof: "test"}, nil
	})
}

func allows(response authn.Response) authn.Handler {
	response.Answer = authn.Allow
	return authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) { return response, nil })
}

func fails(err error) authn.Handler {
	return authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
		return authn.Response{Answer: authn.Allow, Principal: "root"}, err
	})
}

var (
	errBroken = errors.New("broken")
	panics    = authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) { panic("broken") })
	hangs     = authn.HandlerFunc(func(ctx context.Context, _ *authn.Request) (authn.Response, error) {
		<-ctx.Done()
		return authn.Response{Answer: authn.Allow}, nil
	})
	// deaf does not even hear that it is too late, for a while.
	deaf = authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) {
		time.Sleep(time.Hour) // in a bubble
		return authn.Response{Answer: authn.Allow}, nil
	})
)

// chain makes a chain of handlers that are called a, b, c ...
func chain(t *testing.T, config authn.Config, handlers ...authn.Handler) *authn.Chain {
	for i, h := range handlers {
		config.Handlers = append(config.Handlers, authn.Entry{Name: string(rune('a' + i)), Handler: h})
	}
	c, err := authn.NewChain(config)
	require.NoError(t, err)
	return c
}

var alice = &authn.Request{Principal: "alice", Credentials: []byte("pw")}

// refused returns the refusal that an error is.
func refused(t *testing.T, err error) *authn.RefusedError {
	r, ok := errors.AsType[*authn.RefusedError](err)
	require.True(t, ok, "%v", err)
	require.NotEqual(t, errors.Is(err, chansec.ErrUnauthenticated), errors.Is(err, chansec.ErrUndecided), "one of the two: %v", err)
	return r
}

// TestEveryChainOfThree is the whole truth table: three handlers, each of which does one of seven things, asked one after
// the other and all at once.
func TestEveryChainOfThree(t *testing.T) {
	kinds := []struct {
		name    string
		handler authn.Handler
		answer  authn.Answer
		failed  error
	}{
		{"allow", says(authn.Allow), authn.Allow, nil},
		{"deny", says(authn.Deny), authn.Deny, nil},
		{"abstain", says(authn.Abstain), authn.Abstain, nil},
		{"error", fails(errBroken), authn.Deny, errBroken},
		{"panic", panics, authn.Deny, &authn.PanicError{}},
		{"time-out", hangs, authn.Deny, context.DeadlineExceeded},
		{"deaf", deaf, authn.Deny, context.DeadlineExceeded},
	}
	n := len(kinds)
	for row := range n * n * n {
		three := []int{row / n / n, row / n % n, row % n}
		name := kinds[three[0]].name + ", " + kinds[three[1]].name + ", " + kinds[three[2]].name
		t.Run(name, func(t *testing.T) {
			var results [2]string
			for i, parallel := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					var handlers []authn.Handler
					for _, k := range three {
						handlers = append(handlers, kinds[k].handler)
					}
					login, err := chain(t, authn.Config{Parallel: parallel}, handlers...).Login(t.Context(), alice)
					var votes []authn.Vote
					if err == nil {
						require.Equal(t, "alice", login.Principal.SystemID)
						votes = login.Votes
						require.Equal(t, authn.Allow, votes[len(votes)-1].Answer)
						require.Equal(t, login.By, votes[len(votes)-1].Handler)
					} else {
						require.Nil(t, login)
						votes = refused(t, err).Votes
					}
					decider := 3
					for i, k := range three {
						if kinds[k].answer != authn.Abstain {
							decider = i
							break
						}
					}
					require.Len(t, votes, min(decider+1, 3))
					for i, v := range votes {
						k := kinds[three[i]]
						require.Equal(t, string(rune('a'+i)), v.Handler)
						require.Equal(t, k.answer, v.Answer)
						switch want := k.failed.(type) {
						case nil:
							require.NoError(t, v.Err)
							require.Equal(t, k.name, v.Reason)
						case *authn.PanicError:
							require.ErrorAs(t, v.Err, &want)
						default:
							require.ErrorIs(t, v.Err, want)
							require.ErrorIs(t, err, want)
						}
					}
					if decider < 3 {
						k := kinds[three[decider]]
						require.Equal(t, k.answer == authn.Allow, err == nil)
						if err != nil {
							require.Equal(t, k.failed != nil, errors.Is(err, chansec.ErrUndecided))
							require.Equal(t, votes[decider].Handler, refused(t, err).By)
						}
					} else {
						require.ErrorIs(t, err, chansec.ErrUnauthenticated)
						require.Empty(t, refused(t, err).By)
					}
					for i := range votes {
						votes[i].Took = 0
						if _, ok := errors.AsType[*authn.PanicError](votes[i].Err); ok {
							votes[i].Err = nil
						}
					}
					results[i] = fmt.Sprintf("%v %v", votes, err)
					time.Sleep(2 * time.Hour) // until the deaf have returned
				})
			}
			require.Equal(t, results[0], results[1], "serial and parallel")
		})
	}
}

func TestAChainOfNothingRefuses(t *testing.T) {
	t.Parallel()
	_, err := chain(t, authn.Config{}).Login(t.Context(), alice)
	require.Empty(t, refused(t, err).Votes)
	require.ErrorIs(t, err, chansec.ErrUnauthenticated)

	var zero authn.Chain
	_, err = zero.Login(t.Context(), alice)
	require.ErrorIs(t, err, chansec.ErrUnauthenticated)
	_, err = zero.Authenticate(t.Context(), "token")
	require.ErrorIs(t, err, chansec.ErrUnauthenticated)
	_, err = chain(t, authn.Config{}, says(authn.Allow)).Login(t.Context(), nil)
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

func TestAChainIsMadeOfWhatMakesSense(t *testing.T) {
	t.Parallel()
	yes := says(authn.Allow)
	for name, config := range map[string]authn.Config{
		"a handler without a name":   {Handlers: []authn.Entry{{Handler: yes}}},
		"a name with a control char": {Handlers: []authn.Entry{{Name: "a\n", Handler: yes}}},
		"a name twice":               {Handlers: []authn.Entry{{Name: "a", Handler: yes}, {Name: "a", Handler: yes}}},
		"a name without a handler":   {Handlers: []authn.Entry{{Name: "a"}}},
		"a negative time-out":        {Handlers: []authn.Entry{{Name: "a", Handler: yes, Timeout: -1}}},
		"a negative time-out of all": {Timeout: -1},
		"a negative number of calls": {Calls: -1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := authn.NewChain(config)
			require.ErrorIs(t, err, chansec.ErrInvalid)
		})
	}
}

func TestABearerTokenIsNobodyByItself(t *testing.T) {
	t.Parallel()
	c := chain(t, authn.Config{}, authn.HandlerFunc(func(_ context.Context, r *authn.Request) (authn.Response, error) {
		require.Empty(t, r.Principal)
		if string(r.Credentials) == "good" {
			return authn.Response{Answer: authn.Allow, Principal: "alice", Proof: "test"}, nil
		}
		return authn.Response{Answer: authn.Abstain}, nil
	}), says(authn.Allow)) // the second lets anonymous callers in
	p, err := c.Authenticate(t.Context(), "good")
	require.NoError(t, err)
	require.Equal(t, "alice", p.SystemID)
	for _, token := range []string{"", "garbage", "alice:good", strings.Repeat("x", 1<<20)} {
		_, err = c.Authenticate(t.Context(), token)
		require.ErrorIs(t, err, chansec.ErrUnauthenticated)
	}
	login, err := c.Login(t.Context(), &authn.Request{})
	require.NoError(t, err, "whoever asks to be anonymous may be")
	require.Empty(t, login.Principal.SystemID)
}
