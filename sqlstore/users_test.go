package sqlstore

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/policy"
)

// quickly is options with which logging in costs as little as it may.
func quickly(keys ...SealingKey) Options {
	return Options{Users: UserOptions{Iterations: MinIterations, Keys: keys}, Logger: quiet}
}

func sealingKey(id string) SealingKey {
	key := sha256.Sum256([]byte(id))
	return SealingKey{ID: id, Key: key[:]}
}

// derived is what a client makes of a secret (sqlauth.md 8).
func derived(t *testing.T, secret string, c CRA) string {
	key, err := pbkdf2.Key(sha256.New, secret, []byte(c.Salt), c.Iterations, c.KeyLen)
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(key)
}

func newUser(t *testing.T, s *Store, login, secret string) User {
	u, err := s.Users().Add(t.Context(), policy.Root(), NewUser{Login: login, Secret: secret, FullName: "Full " + login, TZName: "Europe/Berlin"})
	require.NoError(t, err)
	return u
}

func TestUsersAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, quickly())
		u := newUser(t, s, "kim", "s")
		require.Equal(t, "Full kim", u.FullName)
		require.Equal(t, "Europe/Berlin", u.TZName)
		require.Empty(t, u.Roles)
		newUser(t, s, "ann", "s")
		_, err := s.Users().Add(t.Context(), policy.Root(), NewUser{Login: "kim", Secret: "t"})
		require.ErrorIs(t, err, Exists)

		name, zone := "Kim", ""
		require.NoError(t, s.Users().Update(t.Context(), policy.ActorNamed("ann"), "kim", UserChange{FullName: &name, TZName: &zone}))
		for _, s := range []*Store{s, x.open(t, quickly())} {
			got, err := s.Users().Get(t.Context(), "kim")
			require.NoError(t, err)
			require.Equal(t, []string{"Kim", "", "ann"}, []string{got.FullName, got.TZName, got.ModifiedBy})
			list, err := s.Users().List(t.Context())
			require.NoError(t, err)
			require.Len(t, list, 2)
			require.Equal(t, "ann", list[0].Login)
			require.True(t, s.Users().Active("kim"))
		}
		for _, login := range []string{"ghost", "", "Kim", "KIM", "kim\x00", "kim' or '1'='1", "k\u0131m", "\xff", strings.Repeat("k", 300)} {
			_, err := s.Users().Get(t.Context(), login)
			require.ErrorIs(t, err, NotFound, "%q", login)
			require.ErrorIs(t, s.Users().Update(t.Context(), policy.Root(), login, UserChange{}), NotFound, "%q", login)
			require.ErrorIs(t, s.Users().Delete(t.Context(), policy.Root(), login), NotFound, "%q", login)
			require.False(t, s.Users().Active(login), "%q", login)
			c, err := s.Users().CRA(t.Context(), login)
			require.NoError(t, err)
			require.False(t, c.Known, "%q", login)
		}
	})
}

func TestWhatNoUserMayBe(t *testing.T) {
	s := newStorage(t, SQLite).open(t, quickly())
	for name, n := range map[string]NewUser{
		"no login":                 {Secret: "s"},
		"two words":                {Login: "two words", Secret: "s"},
		"begins with a dot":        {Login: ".kim", Secret: "s"},
		"not ASCII":                {Login: "\u043aim", Secret: "s"},
		"too long":                 {Login: strings.Repeat("k", 256), Secret: "s"},
		"a quote":                  {Login: `kim"`, Secret: "s"},
		"no secret":                {Login: "kim"},
		"a secret that is no text": {Login: "kim", Secret: "\xff"},
		"an endless secret":        {Login: "kim", Secret: strings.Repeat("s", MaxSecret+1)},
		"a zone that is none":      {Login: "kim", Secret: "s", TZName: "Mars/Olympus"},
		"a zone that is a file":    {Login: "kim", Secret: "s", TZName: "../../etc/passwd"},
		"the zone of the machine":  {Login: "kim", Secret: "s", TZName: "Local"},
		"a name of two lines":      {Login: "kim", Secret: "s", FullName: "Kim\nKim"},
		"a name that is too long":  {Login: "kim", Secret: "s", FullName: strings.Repeat("k", 256)},
		"a name that is no text":   {Login: "kim", Secret: "s", FullName: "\xff"},
		"a role that is not there": {Login: "kim", Secret: "s", Roles: []string{"nobody"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Users().Add(t.Context(), policy.Root(), n)
			kind, ok := KindOf(err)
			require.True(t, ok, "%v", err)
			if n.Roles != nil {
				require.Equal(t, NotFound, kind)
			} else {
				require.Equal(t, Invalid, kind)
				require.ErrorIs(t, err, chansec.ErrInvalid)
			}
			list, err := s.Users().List(t.Context())
			require.NoError(t, err)
			require.Empty(t, list)
		})
	}
}

func TestADeletedUserLeavesNothingToWhoHasTheLoginNext(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, quickly())
		other := x.open(t, quickly())
		require.NoError(t, s.policy.Update(t.Context(), policy.Root(), func(p *policy.Tx) error {
			p.AddTopic("com")
			p.AddRole("com", "")
			p.Grant("com", "com", "publish")
			return p.AssignRoles("kim", "com") // a login that nobody has yet
		}))
		kim := chansec.Principal{SystemID: "kim"}
		publishes := func(s *Store) bool {
			d, err := s.Users().Authorizer().Check(kim, "publish", "com.x")
			require.NoError(t, err)
			return d.Allowed
		}
		require.False(t, publishes(s), "who is no user may do nothing, whatever the policy says")
		first := newUser(t, s, "kim", "s")
		require.False(t, publishes(s), "and does not inherit it")
		require.Empty(t, first.Roles)
		require.NoError(t, s.policy.Update(t.Context(), policy.Root(), func(p *policy.Tx) error { return p.AssignNewRole("kim", "com") }))
		require.True(t, publishes(s))
		require.NoError(t, connect(t.Context(), s, "kim", 77))

		require.NoError(t, s.Users().Delete(t.Context(), policy.ActorNamed("adm"), "kim"))
		require.False(t, publishes(s))
		within(t, 10*time.Second, "the other store hears of it", func() bool { return !other.Users().Active("kim") && !publishes(other) })
		_, err := s.Sessions().Get(t.Context(), SessionRef{ID: "77"})
		require.ErrorIs(t, err, NotFound, "sessions end")

		next := newUser(t, s, "kim", "other")
		require.NotEqual(t, first.ID, next.ID)
		require.Empty(t, next.Roles)
		require.False(t, publishes(s))

		var old, by string
		var inactive bool
		require.NoError(t, x.raw(t).QueryRow(`select old_login, inactive, modified_by from "user" where id = $1 and login is null and password is null and salt is null`, first.ID).
			Scan(&old, &inactive, &by), "the row stays, without what logs in")
		require.Equal(t, []any{"kim", true, "adm"}, []any{old, inactive, by})
	})
}

func TestWhatLogsInIsWhatClientsMakeOfTheSecret(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, quickly())
		newUser(t, s, "kim", "one secret")
		was, err := s.Users().CRA(t.Context(), "kim")
		require.NoError(t, err)
		require.True(t, was.Known)
		require.Equal(t, []int{MinIterations, 32}, []int{was.Iterations, was.KeyLen})
		salt, err := base64.StdEncoding.DecodeString(was.Salt)
		require.NoError(t, err)
		require.Len(t, salt, 32)
		require.Equal(t, derived(t, "one secret", was), string(was.Key()))

		secret := "another"
		require.NoError(t, s.Users().Update(t.Context(), policy.Root(), "kim", UserChange{Secret: &secret}))
		is, err := s.Users().CRA(t.Context(), "kim")
		require.NoError(t, err)
		require.NotEqual(t, was.Salt, is.Salt)
		require.Equal(t, derived(t, "another", is), string(is.Key()))
	})
}

func TestAnUnknownUserLooksLikeOneWhoIsThere(t *testing.T) {
	x := newStorage(t, SQLite)
	s := x.open(t, quickly())
	newUser(t, s, "kim", "s")
	costly := quickly()
	costly.Users.Iterations = 2 * MinIterations
	s2 := x.open(t, costly)
	newUser(t, s2, "lee", "s")
	within(t, 10*time.Second, "both know both", func() bool { return s.Users().Active("lee") })
	seen := map[int]int{}
	for i := range 200 {
		login := fmt.Sprint("ghost", i)
		c, err := s.Users().CRA(t.Context(), login)
		require.NoError(t, err)
		require.False(t, c.Known)
		require.Equal(t, 32, c.KeyLen)
		salt, err := base64.StdEncoding.DecodeString(c.Salt)
		require.NoError(t, err)
		require.Len(t, salt, 32)
		require.NotEqual(t, derivedQuick("", c), string(c.Key()))
		again, err := s2.Users().CRA(t.Context(), login)
		require.NoError(t, err)
		require.Equal(t, c, again, "the same each time, in every process")
		seen[c.Iterations]++
	}
	require.Len(t, seen, 2, "as many iterations as users have, and no others")
	require.Greater(t, seen[MinIterations], 50)
	require.Greater(t, seen[2*MinIterations], 50)
}

// derivedQuick is something that a client might know without work.
func derivedQuick(secret string, c CRA) string {
	sum := sha256.Sum256([]byte(secret + c.Salt))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestWhatLogsInIsSealed(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		plain := x.open(t, quickly())
		newUser(t, plain, "kim", "s")
		clear, err := plain.Users().CRA(t.Context(), "kim")
		require.NoError(t, err)

		one := x.open(t, quickly(sealingKey("one")))
		c, err := one.Users().CRA(t.Context(), "kim")
		require.NoError(t, err)
		require.Equal(t, clear.Key(), c.Key(), "what was not sealed is read")
		n, err := one.Users().Reseal(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		newUser(t, one, "lee", "s")
		stored := func(login string) (text, id string) {
			require.NoError(t, x.raw(t).QueryRow(`select password, key_id from "user" where login = $1`, login).Scan(&text, &id))
			return text, id
		}
		text, id := stored("kim")
		require.Equal(t, "one", id)
		require.NotContains(t, text, string(clear.Key()))
		c, err = one.Users().CRA(t.Context(), "kim")
		require.NoError(t, err)
		require.Equal(t, clear.Key(), c.Key())

		_, err = plain.Users().Reseal(t.Context())
		require.ErrorIs(t, err, ErrKey)

		two := x.open(t, quickly(sealingKey("two"), sealingKey("one")))
		n, err = two.Users().Reseal(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, n)
		n, err = two.Users().Reseal(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
		require.ErrorIs(t, one.Users().CheckKeys(t.Context()), ErrKey)

		text, _ = stored("kim")
		_, err = x.raw(t).Exec(`update "user" set password = $1 where login = 'lee'`, text)
		require.NoError(t, err)
		c, err = two.Users().CRA(t.Context(), "lee")
		require.NoError(t, err)
		require.NotEqual(t, clear.Key(), c.Key(), "one's key does not log in another")
		_, err = two.Users().Reseal(t.Context())
		require.NoError(t, err, "what is sealed already is left alone")
		require.NoError(t, two.Users().CheckKeys(t.Context()), "the key is right: kim's is opened by it")
	})
	for name, o := range map[string]UserOptions{
		"a short key":       {Keys: []SealingKey{{ID: "a", Key: make([]byte, 31)}}},
		"no ID":             {Keys: []SealingKey{{Key: make([]byte, 32)}}},
		"an ID twice":       {Keys: []SealingKey{sealingKey("a"), sealingKey("a")}},
		"few iterations":    {Iterations: MinIterations - 1},
		"endless iteration": {Iterations: MaxIterations + 1},
	} {
		_, err := newStorage(t, SQLite).openWith(t.Context(), Options{Users: o})
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
}

// Whatever the keys, nobody learns from a login who is there.
func TestWhoseKeyCannotBeReadLooksLikeAnybodyAndCannotLogIn(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		one := x.open(t, quickly(sealingKey("one")))
		newUser(t, one, "kim", "right")
		was, err := one.Users().CRA(t.Context(), "kim")
		require.NoError(t, err)
		for name, keys := range map[string][]SealingKey{
			"no key":               nil,
			"another key":          {sealingKey("two")},
			"another of that name": {{ID: "one", Key: sealingKey("two").Key}},
		} {
			var log bytes.Buffer
			o := quickly(keys...)
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s := x.open(t, o)
			kim, err := s.Users().CRA(t.Context(), "kim")
			require.NoError(t, err, name)
			require.Equal(t, []any{was.Salt, was.Iterations, was.KeyLen}, []any{kim.Salt, kim.Iterations, kim.KeyLen}, "%s: the challenge is as ever", name)
			require.Len(t, kim.Key(), len(was.Key()), name)
			require.NotEqual(t, was.Key(), kim.Key(), name)
			require.Contains(t, log.String(), "the key of a user cannot be read", name)
			for range 10 {
				again, err := s.Users().CRA(t.Context(), "kim")
				require.NoError(t, err)
				require.Equal(t, kim, again, name)
			}
			require.Equal(t, 1, strings.Count(log.String(), "\n"), "%s: it is said now and then, not at each attempt", name)

			h, err := s.Users().Passwords(authn.PasswordConfig{})
			require.NoError(t, err)
			for _, password := range []string{"right", "wrong", string(kim.Key()), string(was.Key())} {
				r, err := h.Authenticate(t.Context(), &authn.Request{Principal: "kim", Credentials: []byte(password)})
				require.NoError(t, err, name)
				require.Equal(t, authn.Deny, r.Answer, "%s: and nobody else is asked who kim is", name)
			}
			_, err = s.Users().Get(t.Context(), "kim")
			require.NoError(t, err, "what takes no key goes on")
		}
	})
}

// What is sealed with a key stays readable by who has that key: nothing is stored beside it that is not.
func TestNothingIsStoredByWhoCannotReadWhatIsThere(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		one := x.open(t, quickly(sealingKey("one")))
		require.NoError(t, one.Users().CheckKeys(t.Context()), "nothing is sealed yet")
		newUser(t, one, "kim", "s")
		require.NoError(t, one.Users().CheckKeys(t.Context()))
		for name, tt := range map[string]struct {
			keys []SealingKey
			want KeyError
		}{
			"no key":                             {nil, KeyError{ID: "one"}},
			"another key":                        {[]SealingKey{sealingKey("two")}, KeyError{ID: "one"}},
			"another of that name":               {[]SealingKey{{ID: "one", Key: sealingKey("two").Key}}, KeyError{ID: "one", Given: true}},
			"another of that name, after others": {[]SealingKey{sealingKey("two"), {ID: "one", Key: sealingKey("three").Key}}, KeyError{ID: "one", Given: true}},
		} {
			s := x.open(t, quickly(tt.keys...))
			secret, name2 := "t", "Kim"
			_, added := s.Users().Add(t.Context(), policy.Root(), NewUser{Login: "lee", Secret: secret})
			_, resealed := s.Users().Reseal(t.Context())
			for _, err := range []error{s.Users().CheckKeys(t.Context()), added, resealed,
				s.Users().Update(t.Context(), policy.Root(), "kim", UserChange{Secret: &secret})} {
				var is *KeyError
				require.ErrorAs(t, err, &is, name)
				require.Equal(t, tt.want, *is, name)
				require.ErrorIs(t, err, ErrKey, name)
				require.Contains(t, err.Error(), `"one"`, name)
			}
			_, err := s.Users().Get(t.Context(), "lee")
			require.ErrorIs(t, err, NotFound, name)
			require.NoError(t, s.Users().Update(t.Context(), policy.Root(), "kim", UserChange{FullName: &name2}), "%s: what takes no key goes on", name)
		}
		n, err := x.open(t, quickly(sealingKey("one"))).Users().Reseal(t.Context())
		require.NoError(t, err)
		require.Zero(t, n)
		// With the last of them, nothing is sealed any more.
		require.NoError(t, one.Users().Delete(t.Context(), policy.Root(), "kim"))
		plain := x.open(t, quickly())
		require.NoError(t, plain.Users().CheckKeys(t.Context()))
		newUser(t, plain, "lee", "s")
	})
}

func TestNoSecretIsWritten(t *testing.T) {
	const secret = "hunter2hunter2"
	x := newStorage(t, SQLite)
	s := x.open(t, quickly(sealingKey("one")))
	n := NewUser{Login: "kim", Secret: secret}
	_, err := s.Users().Add(t.Context(), policy.Root(), n)
	require.NoError(t, err)
	c, err := s.Users().CRA(t.Context(), "kim")
	require.NoError(t, err)
	change := UserChange{Secret: &n.Secret}
	admin, err := s.Administration(AdministrationOptions{})
	require.NoError(t, err)
	var log bytes.Buffer
	l := slog.New(slog.NewMultiHandler(slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)))
	for _, v := range []any{n, &n, c, &c, change, &change, s.Users(), admin, sealingKey("one"), s.options.Users.Keys} {
		text := fmt.Sprintf("%v %+v %#v %s %d %x", v, v, v, v, v, v)
		l.Info("x", "v", v)
		for _, kept := range []string{secret, string(c.Key()), string(sealingKey("one").Key), fmt.Sprintf("%x", secret), fmt.Sprintf("%x", sealingKey("one").Key)} {
			require.NotContains(t, text, kept, "%T", v)
			require.NotContains(t, log.String(), kept, "%T", v)
		}
	}
	_, err = s.Users().Add(t.Context(), policy.Root(), NewUser{Login: "lee", Secret: secret + "\x00"})
	require.NotContains(t, err.Error(), secret)
	_, err = admin.Do(t.Context(), policy.Root(), "user.add", []byte(`{"login":"lee","secret":["`+secret+`"]}`))
	require.NotContains(t, err.Error(), secret)
	_, err = admin.Do(t.Context(), policy.Root(), "user.add", []byte(`{"login":"lee","secret":"`+secret+`"`))
	require.NotContains(t, err.Error(), secret)
}

func TestUsersLogInByPassword(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, quickly(sealingKey("one")))
		newUser(t, s, "kim", "right")
		h, err := s.Users().Passwords(authn.PasswordConfig{})
		require.NoError(t, err)
		for _, row := range []struct {
			name, login, password string
			answer                authn.Answer
		}{
			{"the secret lets in", "kim", "right", authn.Allow},
			{"another does not", "kim", "wrong", authn.Deny},
			{"nor nothing", "kim", "", authn.Deny},
			{"the stored key is no password", "kim", mustKey(t, s, "kim"), authn.Deny},
			{"who is not there is somebody else's to know", "lee", "right", authn.Abstain},
			{"whatever they are called", "'; drop table session; --", "right", authn.Abstain},
		} {
			r, err := h.Authenticate(t.Context(), &authn.Request{Principal: row.login, Credentials: []byte(row.password)})
			require.NoError(t, err, row.name)
			require.Equal(t, row.answer, r.Answer, row.name)
		}
		require.NoError(t, s.Users().Delete(t.Context(), policy.Root(), "kim"))
		r, err := h.Authenticate(t.Context(), &authn.Request{Principal: "kim", Credentials: []byte("right")})
		require.NoError(t, err)
		require.Equal(t, authn.Abstain, r.Answer, "who was deleted is let in no more")
	})
}

func mustKey(t *testing.T, s *Store, login string) string {
	c, err := s.Users().CRA(t.Context(), login)
	require.NoError(t, err)
	return string(c.Key())
}

// A session that is open is looked at again when its user is deleted, although nothing was stored for them in the policy.
func TestLeasesEndWithTheirUser(t *testing.T) {
	s := newStorage(t, SQLite).open(t, quickly())
	addUsers(t, s, "kim", "lee")
	require.NoError(t, s.policy.Update(t.Context(), policy.Root(), func(p *policy.Tx) error {
		p.Grant("all", "com", "subscribe", "publish")
		return p.SetRolesForNamedSessions("all")
	}))
	security, err := chansec.Join(chansec.OpenSecurity{}, s.Users().Authorizer(), chansec.OpenSecurity{})
	require.NoError(t, err)
	ch, err := chansec.NewBroadcast[string]("com.x", chansec.WithSecurity(security))
	require.NoError(t, err)
	defer ch.Close()
	require.NoError(t, ch.Start(t.Context()))
	kim, err := ch.As("kim").Subscribe(t.Context())
	require.NoError(t, err)
	lee, err := ch.As("lee").Subscribe(t.Context())
	require.NoError(t, err)
	_, err = ch.As("ghost").Subscribe(t.Context())
	require.ErrorIs(t, err, chansec.ErrPermission)
	require.NoError(t, s.Users().Delete(t.Context(), policy.Root(), "kim"))
	_, err = ch.As("lee").Write(t.Context(), "hello")
	require.NoError(t, err)
	for _, err := range kim.Messages(t.Context()) {
		require.ErrorIs(t, err, chansec.ErrRevoked)
	}
	for m, err := range lee.Messages(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "hello", m.Content)
		break
	}
}

func TestConcurrentAddsOfOneLoginGiveOneUser(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		stores := []*Store{x.open(t, quickly()), x.open(t, quickly())}
		done := make(chan error)
		for i := range 8 {
			go func() {
				s := stores[i%2]
				done <- s.users.change(context.Background(), policy.Root(), func(q *tx, revision uint64) error {
					return s.users.add(context.Background(), q, policy.Root(), NewUser{Login: "kim"}, quickKey, revision)
				})
			}()
		}
		added := 0
		for range 8 {
			if err := <-done; err == nil {
				added++
			} else {
				require.ErrorIs(t, err, Exists)
			}
		}
		require.Equal(t, 1, added)
	})
}
