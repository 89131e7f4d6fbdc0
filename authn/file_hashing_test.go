package authn

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestHashingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Passwords{users: nothing{}, work: work{{sha256Name, 32}: 10}, hashing: newHashing(1, 1)}
		login := func(ctx context.Context) error {
			_, err := p.Authenticate(ctx, &Request{Principal: "a", Credentials: []byte("b")})
			return err
		}
		require.NoError(t, p.hashing.enter(t.Context()), "one is at work")
		ctx, cancel := context.WithCancel(t.Context())
		waits := make(chan error)
		go func() { waits <- login(ctx) }()
		synctest.Wait()
		require.ErrorIs(t, login(t.Context()), ErrOverloaded, "one waits, and one is too many")
		cancel()
		require.ErrorIs(t, <-waits, context.Canceled, "who waits gives up")
		go func() { waits <- login(t.Context()) }()
		synctest.Wait()
		p.hashing.leave()
		require.NoError(t, <-waits, "it is its turn")
		require.NoError(t, login(t.Context()), "and everybody has left")
	})
}

// nothing has no users.
type nothing struct{}

func (nothing) LookupUser(context.Context, string) (User, bool, error) { return User{}, false, nil }
