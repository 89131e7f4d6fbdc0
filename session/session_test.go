package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/session"
)

func TestNewRefusesWhatMakesNoSense(t *testing.T) {
	for name, c := range map[string]session.Config{
		"no chain":                        {},
		"a negative maximum":              {Chain: &chain{}, MaxSessions: -1},
		"a negative maximum of principal": {Chain: &chain{}, MaxPerPrincipal: -1},
		"a negative maximum of anonymous": {Chain: &chain{}, MaxAnonymous: -1},
		"a negative age":                  {Chain: &chain{}, MaxAge: -1},
		"a negative idleness":             {Chain: &chain{}, MaxIdle: -1},
		"an impossible name":              {Chain: &chain{}, Anonymous: "a\nb"},
		"an impossible server":            {Chain: &chain{}, ServerName: "a\nb"},
	} {
		_, err := session.New(t.Context(), c)
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
}

func TestOpenAsksTheChain(t *testing.T) {
	c := &chain{}
	s := sessionsOf(t, session.Config{Chain: c, ServerName: "here", MaxAge: time.Hour,
		DefaultRoles: func(principal string) []string { return []string{"default of " + principal} }})
	c.answer(func(r *authn.Request) (*authn.Login, error) {
		l := in(r)
		l.Principal.Attributes = map[string]any{"clearance": 7}
		l.ClientData = "welcome"
		l.Properties = map[string]string{"desk": "7", "$Country": "CH", "$SessionId": "forged", "$Roles": `"forged"`, "$Unknown": "x"}
		return l, nil
	})
	r := as("alice", "asked")
	r.Credentials = []byte("secret")
	r.Proposed = map[string]string{"desk": "proposed"}
	r.Properties = map[string]string{"$ClientType": "go"}
	n, err := s.Open(t.Context(), r)
	require.NoError(t, err)

	asked := c.last()
	require.Equal(t, "alice", asked.Principal)
	require.Equal(t, []byte("secret"), asked.Credentials)
	require.Equal(t, map[string]string{"desk": "proposed"}, asked.Proposed)
	require.Equal(t, map[string]string{"$Principal": "alice", "$Roles": `"default of alice"`, "$ClientIP": "192.0.2.1", "$ClientType": "go",
		"$Transport": "test", "$ServerName": "here"}, asked.Properties, "the fixed ones that there are without a session")
	require.False(t, asked.Change)
	require.Equal(t, []string{"default of alice"}, asked.Roles)

	p, err := n.Principal()
	require.NoError(t, err)
	require.Equal(t, chansec.Principal{SystemID: "alice", Proof: "test", Roles: []string{"default of alice"}, Attributes: map[string]any{"clearance": 7}}, p)
	require.Equal(t, "welcome", n.ClientData())
	i := n.Info()
	require.Equal(t, n.ID(), i.ID)
	require.Equal(t, "alice", i.Principal)
	require.Equal(t, []string{"default of alice"}, i.Roles())
	require.True(t, i.HasRole("default of alice"))
	require.False(t, i.HasRole("asked"))
	require.Equal(t, map[string]string{
		"$SessionId": n.ID(), "$Principal": "alice", "$Roles": `"default of alice"`, "$ClientIP": "192.0.2.1", "$Transport": "test",
		"$ServerName": "here", "$StartTime": fmt.Sprint(i.Since.UnixMilli()), "$ExpiryTime": fmt.Sprint(i.Since.Add(time.Hour).UnixMilli()),
		"$ClientType": "go", "$Country": "CH", "desk": "7",
	}, i.Properties())
}

func TestOpenRefuses(t *testing.T) {
	many := make(map[string]string)
	for i := range session.MaxProperties + 1 {
		many[fmt.Sprint(i)] = ""
	}
	withProperties := func(p map[string]string) func(*authn.Request) (*authn.Login, error) {
		return func(r *authn.Request) (*authn.Login, error) {
			l := in(r)
			l.Properties = p
			return l, nil
		}
	}
	withRoles := func(roles ...string) func(*authn.Request) (*authn.Login, error) {
		return func(r *authn.Request) (*authn.Login, error) {
			l := in(r)
			l.Principal.Roles = roles
			return l, nil
		}
	}
	for _, row := range []struct {
		name  string
		r     *authn.Request
		login func(*authn.Request) (*authn.Login, error)
		want  error
	}{
		{"no request", nil, nil, chansec.ErrInvalid},
		{"whom the chain refuses", as("alice"), refused, chansec.ErrUnauthenticated},
		{"everybody if the chain fails", as("alice"), func(*authn.Request) (*authn.Login, error) {
			return nil, &authn.RefusedError{By: "db", Err: errDisk}
		}, chansec.ErrUndecided},
		{"everybody if the chain panics", as("alice"), func(*authn.Request) (*authn.Login, error) { panic("secret") }, chansec.ErrUndecided},
		{"everybody if the chain says nothing", as("alice"), func(*authn.Request) (*authn.Login, error) { return nil, nil }, chansec.ErrUndecided},
		{"a login that is over already", as("alice"), func(r *authn.Request) (*authn.Login, error) {
			l := in(r)
			l.ExpiresAt = time.Now()
			return l, nil
		}, chansec.ErrExpired},
		{"a principal that is no name", as("a\nb"), nil, chansec.ErrInvalid},
		{"the name that stands for those who have none", as("nobody"), nil, chansec.ErrInvalid},
		{"a property that is not the transport's to say", &authn.Request{Properties: map[string]string{"$Principal": "root"}}, nil, chansec.ErrInvalid},
		{"a transport that is not one line", &authn.Request{Connection: authn.Connection{Transport: "a\nb"}}, nil, chansec.ErrInvalid},
		{"a property with a blank in its name", as("alice"), withProperties(map[string]string{"a b": ""}), chansec.ErrInvalid},
		{"a property without a name", as("alice"), withProperties(map[string]string{"": ""}), chansec.ErrInvalid},
		{"more properties than there may be", as("alice"), withProperties(many), chansec.ErrLimit},
		{"a property that is too long", as("alice"), withProperties(map[string]string{"a": string(make([]byte, session.MaxPropertyValue+1))}), chansec.ErrLimit},
		{"a role without a name", as("alice"), withRoles(""), chansec.ErrInvalid},
		{"more roles than there may be", as("alice"), withRoles(make([]string, session.MaxRoles+1)...), chansec.ErrLimit},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, l := &chain{}, &trail{}
			c.answer(row.login)
			s := sessionsOf(t, session.Config{Chain: c, Anonymous: "nobody", Observe: l.observe})
			n, err := s.Open(t.Context(), row.r)
			require.ErrorIs(t, err, row.want)
			require.Nil(t, n)
			require.Zero(t, s.Len())
			require.Equal(t, []session.Kind{session.Refused}, l.kinds())
			require.NotContains(t, err.Error(), "secret")

			c.answer(nil)
			open(t, s, "alice") // and nothing is left of it
			require.Equal(t, 1, s.Len())
		})
	}
}

func TestLimits(t *testing.T) {
	s := sessionsOf(t, session.Config{MaxSessions: 5, MaxPerPrincipal: 2, MaxAnonymous: 1})
	alice := open(t, s, "alice")
	open(t, s, "alice")
	refuses := func(name, what string) {
		t.Helper()
		_, err := s.Open(t.Context(), as(name))
		limit, ok := errors.AsType[*session.LimitError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, what, limit.What)
		require.ErrorIs(t, err, chansec.ErrLimit)
	}
	refuses("alice", "sessions of a principal")
	bob := open(t, s, "bob")
	require.ErrorIs(t, bob.ChangePrincipal(t.Context(), as("alice")), chansec.ErrLimit)
	require.Equal(t, "bob", bob.Info().Principal, "nothing has changed")
	anonymous := open(t, s, "")
	refuses("", "anonymous sessions")
	require.NoError(t, anonymous.ChangePrincipal(t.Context(), as("bob")))
	open(t, s, "")
	refuses("carol", "sessions")
	require.NoError(t, alice.Close())
	refuses("bob", "sessions of a principal")
	require.NoError(t, bob.ChangePrincipal(t.Context(), as("alice")), "there is room again")
	open(t, s, "carol")
	refuses("bob", "sessions")
	require.NoError(t, bob.ChangePrincipal(t.Context(), as("alice")), "who they are already takes no room")
}

func TestLimitsHoldForLoginsAtTheSameTime(t *testing.T) {
	s := sessionsOf(t, session.Config{MaxSessions: 20, MaxPerPrincipal: 5})
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() { _, _ = s.Open(context.Background(), as(fmt.Sprint(i%4))) })
	}
	all.Wait()
	require.Equal(t, 20, s.Len())
	for i := range 4 {
		list, err := s.Root().List(t.Context(), session.OfPrincipal(fmt.Sprint(i)))
		require.NoError(t, err)
		require.Len(t, slices.Collect(list), 5)
	}
}

func TestSessionEndsWhenItsTimeIsOver(t *testing.T) {
	for _, row := range []struct {
		name      string
		c         session.Config
		expiresIn time.Duration // of the login; 0 is never
		touch     time.Duration // how often there is a sign of life; 0 is never
		want      time.Duration
		cause     session.Cause
	}{
		{"a day after the login", session.Config{}, 0, 0, session.DefaultMaxAge, session.Expired},
		{"when the login says", session.Config{}, time.Hour, 0, time.Hour, session.Expired},
		{"at the age that sessions may have", session.Config{MaxAge: time.Hour}, 2 * time.Hour, 0, time.Hour, session.Expired},
		{"when nobody was seen for too long", session.Config{MaxIdle: time.Minute}, 0, 0, time.Minute, session.Idle},
		{"although somebody is seen", session.Config{MaxIdle: time.Minute, MaxAge: time.Hour}, 0, 59 * time.Second, time.Hour, session.Expired},
		{"some time after somebody was seen last", session.Config{MaxIdle: time.Minute, MaxAge: time.Hour}, 0, 45 * time.Minute, time.Minute, session.Idle},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l := &chain{}, &trail{}
				row.c.Chain, row.c.Observe = c, l.observe
				s := sessionsOf(t, row.c)
				c.answer(func(r *authn.Request) (*authn.Login, error) {
					l := in(r)
					if row.expiresIn > 0 {
						l.ExpiresAt = time.Now().Add(row.expiresIn)
					}
					return l, nil
				})
				ch := broadcast(t, roleReads{})
				n := open(t, s, "alice", "reader")
				lease, err := ch.For(n).Subscribe(t.Context())
				require.NoError(t, err)
				began := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if row.touch > 0 {
					go func() {
						for ctx.Err() == nil {
							select {
							case <-time.After(row.touch):
								n.Touch()
							case <-ctx.Done():
							}
						}
					}()
				}
				<-n.Done()
				require.Equal(t, row.want, time.Since(began))
				requireEnded(t, n.Err(), row.cause)
				_, err = n.Principal()
				require.ErrorIs(t, err, chansec.ErrExpired)
				err = over(t, lease)
				require.ErrorIs(t, err, chansec.ErrExpired)
				require.ErrorIs(t, err, chansec.ErrRevoked)
				require.Zero(t, s.Len())
				synctest.Wait()
				require.Equal(t, []session.Kind{session.Opened, session.Ended}, l.kinds())
			})
		})
	}
}

// A message that is written when the time is over does not reach the lease, also if nobody has noticed yet.
func TestExpiryIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sessionsOf(t, session.Config{MaxAge: time.Minute})
		ch := broadcast(t, roleReads{})
		lease, err := ch.For(open(t, s, "alice", "reader")).Subscribe(t.Context())
		require.NoError(t, err)
		w := ch.As("w")
		time.Sleep(time.Minute - 1)
		_, err = w.Write(t.Context(), 1)
		require.NoError(t, err)
		time.Sleep(time.Nanosecond)
		_, err = w.Write(t.Context(), 2)
		require.NoError(t, err)
		for m, err := range lease.Messages(t.Context()) {
			if err != nil {
				require.ErrorIs(t, err, chansec.ErrExpired)
				continue
			}
			require.Equal(t, 1, m.Content)
		}
	})
}

func TestChangePrincipalIsAllOrNothing(t *testing.T) {
	c, l := &chain{}, &trail{}
	s := sessionsOf(t, session.Config{Chain: c, Observe: l.observe, DefaultRoles: func(name string) []string { return []string{"of " + name} }})
	c.answer(func(r *authn.Request) (*authn.Login, error) {
		l := in(r)
		l.Properties = map[string]string{"desk": "7", "$Country": "CH", "$Language": "de"}
		l.ClientData = 1
		return l, nil
	})
	n := open(t, s, "alice")
	before, changed := n.Info(), n.Changed()

	c.answer(refused)
	err := n.ChangePrincipal(t.Context(), as("bob"))
	require.ErrorIs(t, err, chansec.ErrUnauthenticated)
	asked := c.last()
	require.True(t, asked.Change)
	require.Equal(t, []string{"of bob"}, asked.Roles)
	want := before.Properties()
	want["$Roles"] = `"of bob"`
	require.Equal(t, want, asked.Properties, "all of the session, with the roles that are to be (diffusion.md 9.2)")
	require.Equal(t, "alice", asked.Properties["$Principal"])

	for name, login := range map[string]func(*authn.Request) (*authn.Login, error){
		"a failure": func(*authn.Request) (*authn.Login, error) { return nil, errDisk },
		"a panic":   func(*authn.Request) (*authn.Login, error) { panic(1) },
		"nonsense": func(r *authn.Request) (*authn.Login, error) {
			l := in(r)
			l.Properties = map[string]string{"(": ""}
			return l, nil
		},
	} {
		c.answer(login)
		require.Error(t, n.ChangePrincipal(t.Context(), as("bob")), name)
	}
	now := n.Info()
	require.Equal(t, before.Properties(), now.Properties())
	require.Equal(t, before.Roles(), now.Roles())
	require.Equal(t, 1, n.ClientData())
	select {
	case <-changed:
		require.Fail(t, "nothing has changed")
	default:
	}

	c.answer(func(r *authn.Request) (*authn.Login, error) {
		l := in(r)
		l.Properties = map[string]string{"floor": "2", "$Language": "fr"}
		l.ExpiresAt = before.Since.Add(time.Hour)
		return l, nil
	})
	require.NoError(t, n.ChangePrincipal(t.Context(), as("bob")))
	<-changed
	now = n.Info()
	require.Equal(t, "bob", now.Principal)
	require.Equal(t, before.ID, now.ID)
	require.Equal(t, before.Since, now.Since)
	require.Equal(t, []string{"of bob"}, now.Roles())
	require.Equal(t, before.Since.Add(time.Hour), now.ExpiresAt)
	require.Nil(t, n.ClientData())
	for name, want := range map[string]string{"floor": "2", "$Language": "fr", "$Country": "CH", "$Principal": "bob", "$Roles": `"of bob"`} {
		got, _ := now.Property(name)
		require.Equal(t, want, got, name)
	}
	_, ok := now.Property("desk")
	require.False(t, ok, "user properties are those of the new login")
	require.Equal(t, []session.Kind{session.Opened, session.Refused, session.Refused, session.Refused, session.Refused, session.Changed}, l.kinds())
	last := l.all()[5]
	require.Equal(t, "alice", last.Before.Principal)
	require.Equal(t, "bob", last.Session.Principal)

	list, err := s.Root().List(t.Context(), session.OfPrincipal("alice"))
	require.NoError(t, err)
	require.Empty(t, slices.Collect(list))
}

func TestRunningLeasesAreLookedAtAgain(t *testing.T) {
	for _, row := range []struct {
		name    string
		do      func(t *testing.T, s *session.Sessions, n *session.Session) error
		refuses bool
		lasts   bool
	}{
		{"a new principal who may read", func(t *testing.T, _ *session.Sessions, n *session.Session) error {
			return n.ChangePrincipal(t.Context(), as("bob", "reader"))
		}, false, true},
		{"a new principal who may not", func(t *testing.T, _ *session.Sessions, n *session.Session) error {
			return n.ChangePrincipal(t.Context(), as("bob"))
		}, false, false},
		{"a refresh that still covers the lease", func(t *testing.T, _ *session.Sessions, n *session.Session) error {
			return n.Refresh(t.Context(), as("alice", "other", "reader"))
		}, false, true},
		{"a refresh that does not", func(t *testing.T, _ *session.Sessions, n *session.Session) error {
			return n.Refresh(t.Context(), as("alice", "other"))
		}, false, false},
		{"a refresh by somebody else", func(t *testing.T, _ *session.Sessions, n *session.Session) error {
			return n.Refresh(t.Context(), as("bob"))
		}, true, true},
		{"a role is taken", func(t *testing.T, s *session.Sessions, n *session.Session) error {
			_, err := s.Root().ChangeRoles(t.Context(), session.ID(n.ID()), []string{"reader"}, nil)
			return err
		}, false, false},
		{"another role is taken", func(t *testing.T, s *session.Sessions, n *session.Session) error {
			_, err := s.Root().ChangeRoles(t.Context(), session.ID(n.ID()), []string{"other"}, []string{"more"})
			return err
		}, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := sessionsOf(t, session.Config{})
			ch := broadcast(t, roleReads{})
			w := ch.As("w")
			n := open(t, s, "alice", "reader")
			lease, err := ch.For(n).Subscribe(t.Context())
			require.NoError(t, err)
			for i := range 3 {
				_, err := w.Write(t.Context(), i)
				require.NoError(t, err)
			}
			err = row.do(t, s, n)
			require.Equal(t, row.refuses, err != nil, "%v", err)
			if row.refuses {
				require.ErrorIs(t, err, chansec.ErrUnauthenticated)
				_, ok := errors.AsType[*session.AnotherError](err)
				require.True(t, ok)
			}
			if !row.lasts {
				require.ErrorIs(t, over(t, lease), chansec.ErrRevoked)
				_, err := w.Write(t.Context(), 3)
				require.NoError(t, err)
				for m, err := range lease.Messages(t.Context()) {
					require.Error(t, err, "message %d", m.Content)
				}
				require.NoError(t, n.Err(), "the session itself lasts")
				return
			}
			_, err = w.Write(t.Context(), 3)
			require.NoError(t, err)
			want := 0
			for m, err := range lease.Messages(t.Context()) {
				require.NoError(t, err)
				require.Equal(t, want, m.Content, "nothing is lost")
				if want++; want == 4 {
					break
				}
			}
		})
	}
}

func TestARefreshPutsOffTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sessionsOf(t, session.Config{MaxAge: time.Hour})
		ch := broadcast(t, roleReads{})
		n := open(t, s, "alice", "reader")
		lease, err := ch.For(n).Subscribe(t.Context())
		require.NoError(t, err)
		for range 5 {
			time.Sleep(50 * time.Minute)
			require.NoError(t, n.Refresh(t.Context(), as("alice", "reader")))
		}
		require.NoError(t, lease.Err())
		time.Sleep(59 * time.Minute)
		require.NoError(t, n.Err())
		time.Sleep(time.Minute)
		requireEnded(t, over(t, lease), session.Expired)
	})
}

func TestAnEndIsFinal(t *testing.T) {
	for name, end := range map[string]func(*session.Sessions, *session.Session) error{
		"a logout": func(_ *session.Sessions, n *session.Session) error { return n.Close() },
		"a loss":   func(_ *session.Sessions, n *session.Session) error { n.Lose(); return nil },
		"a kick": func(s *session.Sessions, n *session.Session) error {
			_, err := s.Root().Kick(context.Background(), session.All, "")
			return err
		},
		"a shutdown": func(s *session.Sessions, n *session.Session) error { return s.Close(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			s := sessionsOf(t, session.Config{})
			n := open(t, s, "alice")
			token, err := n.NewToken()
			require.NoError(t, err)
			changed := n.Changed()
			require.NoError(t, end(s, n))
			<-changed
			<-n.Done()
			first := n.Err()
			_, err = n.Principal()
			require.Equal(t, first, err)
			require.ErrorIs(t, err, chansec.ErrRevoked)
			require.Nil(t, n.Changed(), "it will never be another")
			require.Equal(t, first, n.ChangePrincipal(t.Context(), as("bob")))
			require.Equal(t, first, n.Refresh(t.Context(), as("alice")))
			_, err = n.NewToken()
			require.Equal(t, first, err)
			_, err = s.Authenticate(t.Context(), token)
			require.ErrorIs(t, err, chansec.ErrUnauthenticated)
			require.NoError(t, n.Close())
			n.Lose()
			k, err := s.Root().Kick(t.Context(), session.ID(n.ID()), "")
			require.NoError(t, err)
			require.Zero(t, k)
			require.Equal(t, first, n.Err())
		})
	}
}

func TestASessionThatEndsWhileTheChainIsAskedStaysOver(t *testing.T) {
	c := &chain{}
	s := sessionsOf(t, session.Config{Chain: c})
	n := open(t, s, "alice")
	c.answer(func(r *authn.Request) (*authn.Login, error) {
		_, err := s.Root().Kick(t.Context(), session.OfPrincipal("alice"), "meanwhile")
		return in(r), err
	})
	requireEnded(t, n.ChangePrincipal(t.Context(), as("bob")), session.Kicked)
	requireEnded(t, n.Err(), session.Kicked)
	require.Zero(t, s.Len())
	c.answer(nil)
	open(t, s, "bob")
}

// It would be alive again otherwise, with leases that were cut already.
func TestARefreshThatTakesLongerThanTheSessionLastsComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chain{}
		s := sessionsOf(t, session.Config{Chain: c, MaxAge: time.Minute})
		n := open(t, s, "alice")
		c.answer(func(r *authn.Request) (*authn.Login, error) { time.Sleep(time.Minute); return in(r), nil })
		requireEnded(t, n.Refresh(t.Context(), as("alice")), session.Expired)
		requireEnded(t, n.Err(), session.Expired)
		require.Zero(t, s.Len())
	})
}

func TestChangesOfOneSessionTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &chain{}
		s := sessionsOf(t, session.Config{Chain: c})
		n := open(t, s, "alice")
		c.answer(func(r *authn.Request) (*authn.Login, error) { time.Sleep(time.Second); return in(r), nil })
		var all sync.WaitGroup
		all.Go(func() { require.NoError(t, n.ChangePrincipal(t.Context(), as("bob"))) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, n.ChangePrincipal(ctx, as("carol")), context.DeadlineExceeded)
		all.Wait()
		require.Equal(t, "bob", n.Info().Principal)
	})
}

func TestAnonymousSessions(t *testing.T) {
	for name, id := range map[string]string{"may use channels under a name for all of them": "anyone", "or may not use channels": ""} {
		t.Run(name, func(t *testing.T) {
			s := sessionsOf(t, session.Config{Anonymous: id})
			ch := broadcast(t, roleReads{})
			n := open(t, s, "", "reader")
			require.Empty(t, n.Info().Principal)
			property, ok := n.Info().Property("$Principal")
			require.True(t, ok)
			require.Empty(t, property)
			_, err := ch.For(n).Read(t.Context(), 1)
			if id == "" {
				require.ErrorIs(t, err, chansec.ErrPermission)
			} else {
				require.NoError(t, err)
			}
			k, err := s.Root().Kick(t.Context(), session.OfPrincipal(id), "")
			require.NoError(t, err)
			if id != "" {
				require.Zero(t, k, "the name is nobody's")
			}
			n = open(t, s, "", "reader")
			require.NoError(t, n.ChangePrincipal(t.Context(), as("alice", "reader")))
			_, err = ch.For(n).Read(t.Context(), 1)
			require.NoError(t, err)
		})
	}
}

func TestClaimsOfAKickedSessionGoBackToTheQueue(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	q, err := chansec.NewWorkQueue[int]("q", chansec.WithSecurity(roleReads{}))
	require.NoError(t, err)
	require.NoError(t, q.Start(t.Context()))
	defer q.Close()
	_, err = q.As("w").Write(t.Context(), 7)
	require.NoError(t, err)
	n := open(t, s, "alice", "reader")
	claim, err := q.For(n).ClaimNext(t.Context())
	require.NoError(t, err)
	_, err = s.Root().Kick(t.Context(), session.OfPrincipal("alice"), "")
	require.NoError(t, err)
	err = claim.Acknowledge(t.Context())
	require.Error(t, err)
	again, err := q.For(open(t, s, "bob", "reader")).ClaimNext(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, again.Message.Content)
}

func TestTokens(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	n := open(t, s, "alice")
	first, err := n.NewToken()
	require.NoError(t, err)
	p, err := s.Authenticate(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, "alice", p.SystemID)
	same, err := s.Resume(first)
	require.NoError(t, err)
	require.Same(t, n, same)
	second, err := n.NewToken()
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	for name, token := range map[string]string{"the one before": first, "none": "", "a prefix": second[:len(second)-1], "more": second + "A",
		"the ID": n.ID(), "the ID with the prefix": "chss_" + n.ID(), "something huge": "chss_" + string(make([]byte, 1<<20))} {
		_, err := s.Authenticate(t.Context(), token)
		require.Equal(t, chansec.ErrUnauthenticated, err, name)
	}
	_, err = s.Authenticate(t.Context(), second)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(n.ID()), 26, "128 bits and more, in 5 bits a letter")
}

func TestATokensUseIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sessionsOf(t, session.Config{MaxIdle: time.Minute})
		n := open(t, s, "alice")
		token, err := n.NewToken()
		require.NoError(t, err)
		for range 5 {
			time.Sleep(50 * time.Second)
			_, err = s.Authenticate(t.Context(), token)
			require.NoError(t, err)
			require.True(t, n.Info().LastSeen.Equal(time.Now()))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		_, err = s.Authenticate(t.Context(), token)
		require.ErrorIs(t, err, chansec.ErrUnauthenticated)
		requireEnded(t, n.Err(), session.Idle)
	})
}

// When a kick returned, nobody holds a ticket that still looks good, also of those who were told of a change just before by
// somebody who is not done with it.
func TestAfterAKickEverythingThatWasTrueIsKnownToBeOver(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	for range 20 {
		n := open(t, s, "alice", "reader")
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for n.ChangePrincipal(context.Background(), as("alice")) == nil {
				}
			})
		}
		seen := make(map[<-chan struct{}]bool)
		for len(seen) < 10 {
			seen[n.Changed()] = true
		}
		_, err := s.Root().Kick(t.Context(), session.OfPrincipal("alice"), "")
		require.NoError(t, err)
		for changed := range seen {
			select {
			case <-changed:
			default:
				require.Fail(t, "a change is not known")
			}
		}
		all.Wait()
	}
}

func TestNoMessageAfterAKickThatCameTogetherWithOtherChanges(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	ch := broadcast(t, roleReads{})
	w := ch.As("w")
	for round := range 300 {
		n := open(t, s, "alice", "reader")
		lease, err := ch.For(n).Subscribe(t.Context())
		require.NoError(t, err)
		var all sync.WaitGroup
		all.Go(func() { _ = n.Refresh(context.Background(), as("alice", "reader")) })
		all.Go(func() {
			_, _ = s.Root().ChangeRoles(context.Background(), session.ID(n.ID()), nil, []string{fmt.Sprint(round)})
		})
		_, err = s.Root().Kick(t.Context(), session.OfPrincipal("alice"), "")
		require.NoError(t, err)
		_, err = w.Write(t.Context(), round)
		require.NoError(t, err)
		for m, err := range lease.Messages(t.Context()) {
			require.Error(t, err, "message %d", m.Content)
		}
		all.Wait()
		require.Zero(t, s.Len())
	}
}

func TestClosedSessionsLetNobodyIn(t *testing.T) {
	s := sessionsOf(t, session.Config{})
	n := open(t, s, "alice")
	require.NoError(t, s.Close(t.Context()))
	requireEnded(t, n.Err(), session.Shutdown)
	_, err := s.Open(t.Context(), as("alice"))
	require.ErrorIs(t, err, chansec.ErrClosed)
	require.NoError(t, s.Close(t.Context()))
}

func TestObserverThatPanicsHarmsNobody(t *testing.T) {
	log, logged := logTo()
	s := sessionsOf(t, session.Config{Log: log, Observe: func(session.Event) { panic("secret") }})
	require.NoError(t, open(t, s, "alice").Close())
	require.Contains(t, logged(), "panicked")
	require.NotContains(t, logged(), "secret")
}

// Many do everything at once; at the end, everybody is gone, and the books agree.
func TestEverythingAtOnce(t *testing.T) {
	s := sessionsOf(t, session.Config{Backend: memory(t), MaxPerPrincipal: 20, MaxIdle: time.Hour, Observe: (&trail{}).observe})
	ch := broadcast(t, roleReads{})
	root, ctx := s.Root(), t.Context()
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 100 {
				name := fmt.Sprint("p", (worker+i)%5)
				n, err := s.Open(ctx, as(name, "reader"))
				if err != nil {
					if !errors.Is(err, chansec.ErrLimit) {
						t.Error(err)
					}
					_, _ = root.Kick(ctx, session.OfPrincipal(name), "room")
					continue
				}
				token, _ := n.NewToken()
				lease, err := ch.For(n).Subscribe(ctx)
				switch i % 6 {
				case 0:
					_ = n.ChangePrincipal(ctx, as(fmt.Sprint("p", i%5), "reader"))
				case 1:
					_, _ = root.ChangeRoles(ctx, session.OfPrincipal(name), []string{"reader"}, []string{"other"})
				case 2:
					_, _ = root.SetProperties(ctx, session.All, map[string]string{"k": fmt.Sprint(i)})
				case 3:
					_, _ = s.Authenticate(ctx, token)
					_ = n.Refresh(ctx, as(name))
				case 4:
					for i := range must(root.List(ctx, session.All)) {
						_ = i.Properties()
					}
				case 5:
					_ = n.Close()
				}
				if err == nil && i%6 == 5 {
					<-lease.Done()
				}
			}
		})
	}
	all.Wait()
	counted := 0
	for i := range 5 {
		counted += len(slices.Collect(must(root.List(ctx, session.OfPrincipal(fmt.Sprint("p", i))))))
	}
	require.Equal(t, s.Len(), counted)
	n, err := root.Kick(ctx, session.All, "")
	require.NoError(t, err)
	require.Equal(t, counted, n)
	require.Zero(t, s.Len())
	for i := range 5 {
		for range 20 {
			open(t, s, fmt.Sprint("p", i)) // there is room for all again
		}
	}
}

// The chain of this test takes tokens. What a token covers is what its session may do, and its revocation ends that.
func TestRefreshWithATokenThatCoversLess(t *testing.T) {
	key, err := chansec.HMACKey("k", "HS256", []byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	tokens, err := chansec.NewJWTSecurity(key)
	require.NoError(t, err)
	c := &chain{}
	c.answer(func(r *authn.Request) (*authn.Login, error) {
		p, err := tokens.Authenticate(t.Context(), string(r.Credentials))
		return &authn.Login{Principal: p}, err
	})
	s := sessionsOf(t, session.Config{Chain: c})
	request := func(channels ...string) *authn.Request {
		token, err := tokens.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "alice", Role: chansec.RoleRead, Channels: channels})
		require.NoError(t, err)
		return &authn.Request{Principal: "alice", Credentials: []byte(token)}
	}
	n, err := s.Open(t.Context(), request("a", "b"))
	require.NoError(t, err)
	leases := make(map[string]chansec.Lease[int])
	writers := make(map[string]chansec.BroadcastPort[int])
	for _, id := range []string{"a", "b"} {
		ch, err := chansec.NewBroadcast[int](id, chansec.WithSecurity(tokens))
		require.NoError(t, err)
		require.NoError(t, ch.Start(t.Context()))
		defer ch.Close()
		writers[id] = ch.As("w")
		leases[id], err = ch.For(n).Subscribe(t.Context())
		require.NoError(t, err)
		_, err = writers[id].Write(t.Context(), 0)
		require.NoError(t, err)
	}
	require.NoError(t, n.Refresh(t.Context(), request("a")))
	for id, w := range writers {
		_, err = w.Write(t.Context(), 1)
		require.NoError(t, err, id)
	}
	require.ErrorIs(t, over(t, leases["b"]), chansec.ErrGrant)
	want := 0
	for m, err := range leases["a"].Messages(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, want, m.Content)
		if want++; want == 2 {
			break
		}
	}
	p, err := n.Principal()
	require.NoError(t, err)
	require.NoError(t, tokens.RevokeToken(p.Grant.TokenID, p.Grant.ExpiresAt))
	require.ErrorIs(t, over(t, leases["a"]), chansec.ErrRevoked)
	require.NoError(t, n.Refresh(t.Context(), request("a")), "the session itself goes on")
}
