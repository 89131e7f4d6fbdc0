package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// intrusion is what others do just before a database is asked for something, once.
type intrusion struct {
	mu    sync.Mutex
	asked string // a part of the statement
	does  func()
}

func (x *intrusion) arm(asked string, does func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked, x.does = asked, does
}

func (x *intrusion) before(query string) {
	x.mu.Lock()
	does := x.does
	if does == nil || !strings.Contains(query, x.asked) {
		does = func() {}
	} else {
		x.does = nil
	}
	x.mu.Unlock()
	does()
}

func (x *intrusion) armed() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.does != nil
}

type intruded struct {
	failing
	by *intrusion
}

func (c intruded) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.by.before(query)
	return c.failing.QueryContext(ctx, query, args)
}

type intrudedConnector struct {
	failingConnector
	by *intrusion
}

func (c intrudedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.failingConnector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return intruded{conn.(failing), c.by}, nil
}

// succession is a login that one store deletes and makes anew while another one looks, with a session and a token of the first
// who had it. The one who had it might do "was", the next may do "is". The other store learns what it is told to, and nothing by
// itself.
type succession struct {
	*testing.T
	here, there *Store
	by          *intrusion
	tokens      *chansec.JWTSecurity
	token       string
	told        *kicks
	early       []bool // whether the rights of the next were in force when it was told of what is taken
}

func newSuccession(t *testing.T, x storage) *succession {
	s := &succession{T: t, by: &intrusion{}}
	s.there = x.node(t, "there")
	addUsers(t, s.there, "kim")
	require.NoError(t, s.there.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
		_, _ = tx.Grant("old", "was", "publish"), tx.Grant("new", "is", "publish")
		return tx.AssignRoles("kim", "old")
	}))
	source := x.where
	if x.dialect == SQLite {
		var err error
		source, err = sqliteSource(x.where)
		require.NoError(t, err)
	}
	db := sql.OpenDB(intrudedConnector{failingConnector{x.raw(t).Driver(), source}, s.by})
	db.SetMaxOpenConns(1) // whoever has it must not wait for another one
	o := quickly()
	o.Node, o.Poll, o.MaxStaleness = "here", time.Hour, 2*time.Hour
	here, err := Open(t.Context(), db, x.dialect, o)
	require.NoError(t, err)
	s.here = here
	key, err := chansec.HMACKey("", "HS256", []byte("a secret for tests of at least thirty-two bytes"))
	require.NoError(t, err)
	s.tokens, err = chansec.OpenJWTSecurity(t.Context(), here.Revocations(), key)
	require.NoError(t, err)
	s.token, err = s.tokens.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "kim", Role: chansec.RoleRead, AllChannels: true})
	require.NoError(t, err)
	require.NoError(t, connect(t.Context(), here, "kim", 7))
	require.NoError(t, here.Revocations().OnChange(t.Context(), func(ctx context.Context) error {
		err := s.tokens.Refresh(ctx)
		s.early = append(s.early, s.may("is"))
		return err
	}))
	s.told = follow(here)
	here.Sessions().OnKick(func(Kick) { s.early = append(s.early, s.may("is")) })
	here.learning.Lock()
	t.Cleanup(func() {
		here.learning.Unlock()
		require.NoError(t, errors.Join(here.Close(), db.Close()))
	})
	require.NoError(t, here.learnAll(t.Context()))
	require.True(t, s.may("was"))
	s.early = nil
	return s
}

func (s *succession) may(path string) bool {
	ok, err := s.here.Users().Authorizer().AuthorizeWrite(s.Context(), "kim", path)
	require.NoError(s, err)
	return ok
}

// replace gives the login to another.
func (s *succession) replace(roles ...string) {
	require.NoError(s, s.there.Users().Delete(s.Context(), policy.Root(), "kim"))
	addUsers(s, s.there, "kim")
	if len(roles) > 0 {
		member(s, s.there, "kim", roles...)
	}
}

// The rights of whoever has a login next are in force when the sessions and tokens of who had it before are over, and not sooner,
// whenever the one becomes the other: in the middle of what another process does to know of it, or to change the policy itself.
func TestNobodyHasTheRightsOfWhoHasTheirLoginNext(t *testing.T) {
	for name, learn := range map[string]func(s *succession) error{
		"while a round reads the policy": func(s *succession) error {
			grant(s, s.there, "any", "thing")
			s.by.arm("from policy_change where revision", func() { s.replace("new") })
			return s.here.learnAll(s.Context())
		},
		"while a round reads the users": func(s *succession) error {
			addUsers(s, s.there, "lee")
			s.by.arm(`from "user" where revision`, func() { s.replace("new") })
			return s.here.learnAll(s.Context())
		},
		"before a change that finds it": func(s *succession) error {
			s.replace("new")
			return s.here.Policy().Update(s.Context(), policy.Root(), add("thing"))
		},
		"during a change that finds it": func(s *succession) error {
			replace := sync.OnceFunc(func() { s.replace("new") })
			return s.here.Policy().Update(s.Context(), policy.Root(), func(tx *policy.Tx) error {
				replace()
				return add("thing")(tx)
			})
		},
		"before what changes nothing": func(s *succession) error {
			s.replace("new")
			return s.here.Policy().Update(s.Context(), policy.Root(), func(*policy.Tx) error { return nil })
		},
		"before what is refused": func(s *succession) error {
			s.replace("new")
			_ = s.here.Policy().Update(s.Context(), policy.Root(), func(*policy.Tx) error { return errors.New("no") })
			return nil
		},
		"before a change that makes it so": func(s *succession) error {
			member(s, s.there, "kim")
			if err := s.here.learnAll(s.Context()); err != nil {
				return err
			}
			s.early = nil
			s.replace()
			is := s.here.Policy().Version()
			err := s.here.Policy().Update(s.Context(), policy.Root(), func(tx *policy.Tx) error { return tx.AssignRoles("kim", "new") })
			require.Equal(s, is+1, s.here.Policy().Version(), "nothing of the policy was new")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, x storage) {
				s := newSuccession(t, x)
				require.NoError(t, learn(s))
				require.False(t, s.by.armed(), "it was done in between")
				require.True(t, s.may("is"), "what is given is in force")
				require.False(t, s.may("was"), "and what was taken is not")
				require.Equal(t, []string{"7 7 kicked  the user was deleted"}, s.told.ids())
				_, err := s.tokens.Authenticate(t.Context(), s.token)
				require.ErrorIs(t, err, chansec.ErrRevoked)
				require.NotEmpty(t, s.early)
				require.NotContains(t, s.early, true)
			})
		})
	}
}

// Who has a login next has nothing of what was the other's, also where the two come between the policy and the users.
func TestNobodyHasTheRightsOfWhoHadTheirLoginBefore(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := newSuccession(t, x)
		addUsers(t, s.there, "lee")
		s.by.arm(`from "user" where revision`, func() { s.replace() })
		require.NoError(t, s.here.learnAll(t.Context()))
		require.False(t, s.by.armed())
		require.True(t, s.here.Users().Active("kim"))
		require.False(t, s.may("was"))
	})
}

// Whoever acts by way of a session from before changes nothing with the rights of who has the login next, which the transaction
// knows before this process does.
func TestNobodyAdministratesWithTheRightsOfWhoHasTheirLoginNext(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := newSuccession(t, x)
		a, err := s.here.Administration(AdministrationOptions{})
		require.NoError(t, err)
		require.NoError(t, s.there.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
			_ = tx.Grant("old", a.base, "call")
			_ = tx.Grant("new", a.base, "call")
			return tx.Grant("new", "adm", "admin")
		}))
		require.NoError(t, s.here.learnAll(t.Context()))
		s.replace("new")
		kim := policy.ActorNamed("kim")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // nothing is learned that could be waited for
		defer cancel()
		_, err = a.Do(ctx, kim, "topic.add", []byte(`{"name": "adm.theirs"}`))
		require.ErrorIs(t, err, NotAuthorized)
		err = s.here.Policy().Update(t.Context(), kim, func(tx *policy.Tx) error { return tx.AddTopic("adm.theirs") })
		require.ErrorIs(t, err, NotAuthorized)

		require.NoError(t, s.here.learnAll(t.Context()))
		require.NotContains(t, slices.Collect(s.here.Policy().Snapshot().Topics()), "adm.theirs")
		require.NoError(t, s.here.Policy().Update(t.Context(), kim, func(tx *policy.Tx) error { return tx.AddTopic("adm.theirs") }))
	})
}

// While somebody cannot be told of what was taken, nothing is given, and in the end nothing is decided; what they do to whoever
// calls them is no harm to anything else.
func TestWhoeverCannotBeToldOfWhatIsTaken(t *testing.T) {
	released := make(chan struct{})
	broken := errors.New("not now")
	for name, trouble := range map[string]func() error{
		"fails":  func() error { return broken },
		"panics": func() error { panic("at the disco") },
		"blocks": func() error { <-released; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, x storage) {
				there := x.node(t, "there")
				o := quickly()
				o.Node, o.Poll, o.MaxStaleness = "here", 20*time.Millisecond, 500*time.Millisecond
				here := x.open(t, o)
				release := sync.OnceFunc(func() { close(released) })
				if name == "blocks" {
					released = make(chan struct{})
					defer release() // or Close would wait
				}
				grant(t, there, "r", "p")
				require.NoError(t, here.AtLeast(t.Context(), member(t, there, "ann", "r")))
				var bad, told atomic.Bool
				require.NoError(t, here.Revocations().OnChange(t.Context(), func(context.Context) error {
					if bad.Load() {
						told.Store(true)
						return trouble()
					}
					return nil
				}))
				bad.Store(true)
				within(t, busy, "in trouble", told.Load)
				require.NoError(t, there.Revocations().Append(t.Context(), chansec.Revocation{TokenID: "t"}))
				member(t, there, "ben", "r")
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				require.Error(t, here.Policy().Update(ctx, policy.Root(), add("q")))
				require.Empty(t, here.Policy().Snapshot().Roles("ben"), "it is not in force")
				within(t, busy, "denied", func() bool {
					ok, err := here.Authorizer().AuthorizeWrite(t.Context(), "ann", "p")
					_, stale := errors.AsType[*StaleError](err)
					return !ok && stale
				})
				bad.Store(false)
				if name == "blocks" {
					release()
				}
				within(t, busy, "all is well", func() bool {
					ok, err := here.Authorizer().AuthorizeWrite(t.Context(), "ben", "p")
					return ok && err == nil
				})
			})
		})
	}
}

// A hook that panics keeps no other from being told, and is told again itself.
func TestAKickReachesAllWhoAreToBeTold(t *testing.T) {
	s := newStorage(t, SQLite).node(t, "here")
	addUsers(t, s, "ann")
	var once sync.Once
	s.Sessions().OnKick(func(Kick) { once.Do(func() { panic("it is too much") }) })
	told := follow(s)
	require.NoError(t, connect(t.Context(), s, "ann", 7))
	require.NoError(t, connect(t.Context(), s, "ann", 8))
	n, err := s.Sessions().Kill(t.Context(), policy.Root(), SessionRef{Login: "ann"}, "")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"7 7 kicked  ", "8 8 kicked  "}, told.ids()[:2])
	require.Len(t, told.ids(), 4)
}

// A round in which nothing is new asks for nothing but the table head and the revocations that somebody waits for.
func TestAQuietRoundAsksForHeadOnly(t *testing.T) {
	s := newSuccession(t, newStorage(t, SQLite))
	x := &trouble{at: -1}
	require.NoError(t, s.here.learnAll(context.WithValue(t.Context(), troubleKey{}, x)))
	require.Equal(t, 2, x.asked)
}
