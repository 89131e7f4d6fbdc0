package sqlstore

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/topicvectors"
	"github.com/chansec/chansec/policy"
)

// newTown is a store with the initial rows, and users beside those: greg is in public, zed in nothing, and chief may call
// everything and administers nothing.
func newTown(t *testing.T, x storage) *town {
	s := x.open(t, quickly())
	_, done, err := s.Bootstrap(t.Context(), "secret of adm")
	require.NoError(t, err)
	require.True(t, done)
	addUsers(t, s, "greg", "zed", "chief")
	require.NoError(t, s.policy.Update(t.Context(), policy.Root(), func(p *policy.Tx) error {
		p.SetRoleBinding("callers", "")
		p.Grant("callers", "sys", "call")
		p.AssignNewRole("chief", "callers")
		return p.AssignNewRole("greg", "public")
	}))
	admin, err := s.Administration(AdministrationOptions{})
	require.NoError(t, err)
	return &town{t, s, admin}
}

func (w *town) do(by, operation, args string) (any, error) {
	who := policy.ActorNamed(by)
	if by == "root" {
		who = policy.Root()
	}
	return w.admin.Do(w.Context(), who, operation, json.RawMessage(args))
}

func (w *town) must(by, operation, args string) any {
	w.Helper()
	result, err := w.do(by, operation, args)
	require.NoError(w, err)
	return result
}

// everything is what a store says that operations can change.
func (w *town) everything() any {
	users, err := w.users.List(w.Context())
	require.NoError(w, err)
	roles, err := w.admin.roles(w.Context())
	require.NoError(w, err)
	topics, err := w.admin.topics(w.Context())
	require.NoError(w, err)
	return []any{users, roles, topics, w.policy.Snapshot().Script()}
}

// Of several things that are wrong, callers are told the one that comes first in the table of sqlauth.md 6.
func TestWhatIsWrongIsNamedInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		w := newTown(t, x)
		for _, row := range []struct {
			by, operation, args string
			kind                Kind
		}{
			{"zed", "user.add", `{"login":""}`, NotAuthorized},
			{"zed", "no.such", `{`, NotAuthorized},
			{"ghost", "role.list", `{}`, NotAuthorized},
			{"", "role.list", `{}`, NotAuthorized},
			{"chief", "no.such", `{}`, NotFound},
			{"chief", "session.add", `{}`, NotFound},
			{"chief", "activity.add", `{}`, NotFound},
			{"chief", "db.query", `{}`, NotFound},

			{"chief", "user.add", `{"login":"a b","secret":"s","roles":["ghost"]}`, Invalid},
			{"chief", "user.add", `{"login":"zed","secret":"","roles":["sys"]}`, Invalid},
			{"chief", "user.add", `{"login":"zed","secret":"s","roles":["sys","ghost"]}`, NoAdminRole},
			{"chief", "user.add", `{"login":"zed","secret":"s","roles":["ghost","sys"]}`, NotFound},
			{"chief", "user.add", `{"login":"zed","secret":"s","roles":"sys"}`, NoAdminRole},
			{"adm", "user.add", `{"login":"zed","secret":"s","roles":"adm"}`, Exists},
			{"chief", "user.add", `{"login":"new","secret":"s","roles":[]}`, Invalid},
			{"chief", "user.get", `{"login":"ghost"}`, NotFound},
			{"chief", "user.get", `{}`, Invalid},
			{"chief", "user.update", `{"login":"ghost","tzname":"Mars"}`, Invalid},
			{"chief", "user.update", `{"login":"ghost"}`, NotFound},
			{"chief", "user.delete", `{"login":"two words"}`, NotFound},

			{"chief", "role.get", `{"name":"ghost"}`, NotFound},
			{"chief", "role.add", `{"name":"a.b","bind_topic":"adm"}`, Invalid},
			{"chief", "role.add", `{"name":"adm","bind_topic":"adm"}`, NoAdminTopic},
			{"adm", "role.add", `{"name":"adm","bind_topic":"adm"}`, Exists},
			{"sys", "role.add", `{"name":"\u0430dm"}`, Invalid},
			{"sys", "role.add", `{"name":"x","bind_topic":"role..x"}`, Invalid},
			{"sys", "role.add", `{"name":"x","bind_topic":"..."}`, Invalid},
			{"chief", "role.update", `{"name":"ghost","description":"d"}`, NotFound},
			{"chief", "role.update", `{"name":"adm","description":"d"}`, NoAdminRole},
			{"chief", "role.update", `{"name":"adm"}`, Invalid},
			{"chief", "role.delete", `{"name":"ghost"}`, NotFound},
			{"chief", "role.delete", `{"name":"adm"}`, NoAdminRole},

			{"chief", "userrole.add", `{"login":"ghost","name":"ghost"}`, NotFound},
			{"chief", "userrole.add", `{"login":"ghost","name":"adm"}`, NoAdminRole},
			{"adm", "userrole.add", `{"login":"ghost","name":"adm"}`, NotFound},
			{"adm", "userrole.add", `{"login":"adm","name":"adm"}`, Exists},
			{"chief", "userrole.delete", `{"login":"ghost","name":"ghost"}`, NotFound},
			{"chief", "userrole.delete", `{"login":"ghost","name":"adm"}`, NoAdminRole},

			{"chief", "topic.get", `{"name":"ghost"}`, NotFound},
			{"chief", "topic.add", `{"name":"adm..x"}`, Invalid},
			{"chief", "topic.add", `{"name":"adm.\u0430"}`, Invalid},
			{"chief", "topic.add", `{"name":"com"}`, NoAdminTopic},
			{"adm", "topic.add", `{"name":"com"}`, Exists},
			{"sys", "topic.add", `{"name":"newroot"}`, NoAdminTopic},
			{"chief", "topic.update", `{"name":"com","description":""}`, NoAdminTopic},
			{"adm", "topic.update", `{"name":"com.ghost","description":""}`, NotFound},
			{"chief", "topic.delete", `{"name":"role.adm"}`, NoAdminTopic},
			{"adm", "topic.delete", `{"name":"role.adm.ghost"}`, NotFound},
			{"adm", "topic.delete", `{"name":"role.adm"}`, InUse},

			{"chief", "topicrole.add", `{"topic_name":"ghost","name":"ghost","activity":"fly"}`, Invalid},
			{"chief", "topicrole.add", `{"topic_name":"ghost","name":"ghost","activity":[]}`, Invalid},
			{"chief", "topicrole.add", `{"topic_name":"com","name":"com","activity":"start"}`, Invalid},
			{"chief", "topicrole.add", `{"topic_name":"com","name":"com","activity":["call",7]}`, Invalid},
			{"chief", "topicrole.add", `{"topic_name":"ghost","name":"ghost"}`, NotFound},
			{"chief", "topicrole.add", `{"topic_name":"ghost","name":"com"}`, NoAdminRole},
			{"adm", "topicrole.add", `{"topic_name":"sys.ghost","name":"com"}`, NoAdminTopic},
			{"adm", "topicrole.add", `{"topic_name":"com.ghost","name":"com"}`, NotFound},
			{"adm", "topicrole.add", `{"topic_name":"com","name":"com","activity":"call"}`, Exists},
			{"chief", "topicrole.delete", `{"topic_name":"ghost","name":"ghost"}`, NotFound},
			{"chief", "topicrole.delete", `{"topic_name":"ghost","name":"com"}`, NoAdminRole},
			{"adm", "topicrole.delete", `{"topic_name":"sys","name":"com"}`, NoAdminTopic},
			{"chief", "topicrole.permission", `{"login":"adm","topic_name":"com","type_id":"fly"}`, Invalid},

			{"chief", "session.get", `{"session":7}`, NotFound},
			{"chief", "session.get", `{}`, Invalid},
			{"chief", "session.kill", `{}`, Invalid},
			{"chief", "session.kill", `{"session":7,"login":"adm"}`, Invalid},
			{"chief", "session.kill", `{"session":-7}`, Invalid},
			{"chief", "session.kill", `{"session":7.5}`, Invalid},
			{"chief", "session.kill", `{"session":9007199254740992}`, Invalid},
			{"chief", "session.kill", `{"session":7}`, NotFound},
			{"chief", "session.kill", `{"login":"adm"}`, NotFound},
			{"chief", "activity.list", `{"filter":{"action":"fly"}}`, Invalid},
			{"chief", "activity.list", `{"filter":{"since":"yesterday"}}`, Invalid},
			{"chief", "activity.list", `{"filter":{"limit":0}}`, Invalid},
			{"chief", "activity.list", `{"filter":{"limit":10001}}`, Invalid},
			{"chief", "activity.list", `{"filter":{"limit":9223372036854775807}}`, Invalid},
			{"chief", "activity.list", `{"filter":{"x":1}}`, Invalid},
			{"chief", "activity.list", `{"filter":[]}`, Invalid},
			{"chief", "activity.get", `{"id":1}`, NotFound},
			{"chief", "activity.get", `{}`, Invalid},
			{"chief", "activity.delete", `{}`, Invalid},
			{"chief", "activity.delete", `{"before":"2026-13-01T00:00:00Z"}`, Invalid},
		} {
			before := w.everything()
			_, err := w.do(row.by, row.operation, row.args)
			kind, ok := KindOf(err)
			require.True(t, ok, "%s %s %s: %v", row.by, row.operation, row.args, err)
			require.Equal(t, row.kind, kind, "%s %s %s: %v", row.by, row.operation, row.args, err)
			require.Equal(t, string(row.kind), kind.ErrorName())
			require.ErrorIs(t, err, policy.Kind(row.kind), "for those who know the kinds of policies only")
			require.Equal(t, before, w.everything(), "nothing was changed")
		}
	})
}

// Every operation reads its arguments in the same way.
func TestArgumentsAreReadStrictly(t *testing.T) {
	w := newTown(t, newStorage(t, SQLite))
	for _, operation := range w.admin.Operations() {
		for name, args := range map[string]string{
			"a member that is unknown":  `{"x":1}`,
			"one in another case":       `{"LOGIN":"zed","Name":"com"}`,
			"one twice":                 `{"login":"zed","login":"zed","name":"com","name":"com"}`,
			"no object":                 `["zed"]`,
			"null":                      `null`,
			"not JSON":                  `{"login":"zed"`,
			"something behind":          `{} {}`,
			"text that is not UTF-8":    "{\"login\":\"\xff\"}",
			"too much":                  `{"login":"` + strings.Repeat("x", MaxArguments) + `"}`,
			"nested too deeply":         strings.Repeat(`{"filter":`, 9) + "1" + strings.Repeat("}", 9),
			"names that are too long":   `{"login":"` + strings.Repeat("x", 256) + `","name":"` + strings.Repeat("x", 256) + `"}`,
			"numbers instead of names":  `{"login":7,"name":7,"id":"7","before":7}`,
			"nulls instead of anything": `{"login":null,"name":null,"id":null,"before":null,"session":null,"filter":null}`,
		} {
			before := w.everything()
			_, err := w.do("root", operation, args)
			kind, ok := KindOf(err)
			require.True(t, ok, "%s, %s: %v", operation, name, err)
			require.Equal(t, Invalid, kind, "%s, %s: %v", operation, name, err)
			require.Less(t, len(err.Error()), 400, "%s, %s", operation, name)
			require.Equal(t, before, w.everything())
		}
	}
	for _, args := range []string{"", "{}", " { } "} {
		_, err := w.do("root", "user.list", args)
		require.NoError(t, err)
	}
}

func TestHostileNamesAreNamesAndNothingElse(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		w := newTown(t, x)
		before := w.everything()
		for _, name := range []string{`'; drop table "user"; --`, `" or 1=1 --`, `\`, "\x00", "com\x00", "%", "_%", "$1", "\u202ecom", "c\u043em", "\U0001f511", "..", ".com", " com", "com\n"} {
			text, err := json.Marshal(name)
			require.NoError(t, err)
			for operation, args := range map[string]string{
				"user.get": `{"login":@}`, "user.delete": `{"login":@}`, "user.update": `{"login":@,"fullname":"x"}`, "user.add": `{"login":@,"secret":"s"}`,
				"role.get": `{"name":@}`, "role.add": `{"name":@}`, "role.update": `{"name":@,"description":"x"}`, "role.delete": `{"name":@}`,
				"userrole.add": `{"login":@,"name":@}`, "userrole.delete": `{"login":"zed","name":@}`,
				"topic.get": `{"name":@}`, "topic.add": `{"name":@}`, "topic.update": `{"name":@,"description":"x"}`, "topic.delete": `{"name":@}`,
				"topicrole.add": `{"topic_name":@,"name":@}`, "topicrole.delete": `{"topic_name":@,"name":@}`,
				"session.get": `{"session":@}`, "session.kill": `{"login":@}`,
			} {
				for _, by := range []string{"root", "adm", name} {
					_, err := w.do(by, operation, strings.ReplaceAll(args, "@", string(text)))
					_, ok := KindOf(err)
					require.True(t, ok, "%q %s %q: %v", by, operation, name, err)
				}
			}
			w.must("root", "userrole.delete", `{"login":`+string(text)+`,"name":"com"}`)
			w.must("root", "activity.list", `{"filter":{"login":`+string(text)+`,"topic":`+string(text)+`}}`)
			w.must("root", "topicrole.list", `{"name":`+string(text)+`,"topic_name":`+string(text)+`}`)
			w.must("root", "topicrole.permission", `{"login":`+string(text)+`,"topic_name":`+string(text)+`,"type_id":"call"}`)
		}
		require.Equal(t, before, w.everything())
	})
}

func TestDescriptionsAndLists(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		w := newTown(t, x)
		w.must("adm", "role.add", `{"name":"ops","bind_topic":"adm","description":"who operates"}`)
		require.Equal(t, RoleInfo{"ops", "who operates", "role.adm.ops", []string{}}, w.must("adm", "role.get", `{"name":"ops"}`))
		w.must("adm", "userrole.add", `{"login":"greg","name":"ops"}`)
		w.must("greg", "role.update", `{"name":"ops","description":"it's \"them\""}`)
		require.Equal(t, RoleInfo{"ops", `it's "them"`, "role.adm.ops", []string{"greg"}}, w.must("adm", "role.get", `{"name":"ops"}`))
		w.must("adm", "topic.add", `{"name":"adm.disk","description":"disks"}`)
		w.must("adm", "topicrole.add", `{"topic_name":"adm.disk","name":"ops","activity":["publish","admin"]}`)
		w.must("adm", "topic.update", `{"name":"adm.disk","description":""}`)
		require.Equal(t, TopicInfo{"adm.disk", "", []string{"ops"}}, w.must("adm", "topic.get", `{"name":"adm.disk"}`))
		require.Equal(t, []GrantInfo{{"adm.disk", "ops", "admin", true}, {"adm.disk", "ops", "publish", true}},
			w.must("adm", "topicrole.list", `{"topic_name":"adm.disk","name":"ops"}`))
		w.must("adm", "topicrole.delete", `{"topic_name":"adm.disk","name":"ops","activity":["publish","call"]}`)
		require.Equal(t, []GrantInfo{{"adm.disk", "ops", "admin", true}, {"role.adm.ops", "ops", "admin", true}}, w.must("adm", "topicrole.list", `{"name":"ops"}`))

		w.must("adm", "user.add", `{"login":"kim","secret":"s","roles":"ops"}`)
		require.Equal(t, []string{"ops"}, w.must("adm", "user.get", `{"login":"kim"}`).(User).Roles)
		w.must("adm", "user.update", `{"login":"kim","fullname":"Kim","tzname":"UTC"}`)
		u := w.must("adm", "user.get", `{"login":"kim"}`).(User)
		require.Equal(t, []string{"Kim", "UTC", "adm"}, []string{u.FullName, u.TZName, u.ModifiedBy})
		text, err := json.Marshal(u)
		require.NoError(t, err)
		for _, word := range []string{"salt", "password", "iterations", "key"} {
			require.NotContains(t, string(text), word, "a user is shown without key material")
		}
		w.must("adm", "role.delete", `{"name":"ops"}`)
		require.Empty(t, w.must("adm", "user.get", `{"login":"kim"}`).(User).Roles)
	})
}

// The initial rows are those that the vectors have as shipped data, but for what Root may do.
func TestBootstrap(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, quickly())
		secret, done, err := s.Bootstrap(t.Context(), "")
		require.NoError(t, err)
		require.True(t, done)
		require.GreaterOrEqual(t, len(secret), 20)
		c, err := s.Users().CRA(t.Context(), "adm")
		require.NoError(t, err)
		require.Equal(t, derived(t, secret, c), string(c.Key()), "the administrator logs in with it")
		c, err = s.Users().CRA(t.Context(), "sys")
		require.NoError(t, err)
		require.False(t, c.Known, "nobody logs in as sys")
		again, done, err := s.Bootstrap(t.Context(), "")
		require.NoError(t, err)
		require.False(t, done)
		require.Empty(t, again)
		_, done, err = x.open(t, quickly()).Bootstrap(t.Context(), "another")
		require.NoError(t, err)
		require.False(t, done)
		require.Equal(t, derived(t, secret, c0(t, s)), mustKey(t, s, "adm"), "and the secret is what it was")

		db := topicvectors.Checks(t)["checks-base-shipped-data"].DB
		addUsers(t, s, slices.DeleteFunc(slices.Clone(db.Users), func(u string) bool { return u == "sys" || u == "adm" })...)
		require.NoError(t, s.policy.Update(t.Context(), policy.Root(), func(p *policy.Tx) error {
			for _, m := range db.UserRoles {
				if m[0] != "sys" && m[0] != "adm" {
					if err := p.AssignNewRole(m[0], m[1]); err != nil {
						return err
					}
				}
			}
			return nil
		}))
		want := newStorage(t, SQLite).open(t, quickly())
		populate(t, want, db)
		require.Equal(t, want.policy.Snapshot().Script(), s.policy.Snapshot().Script())
		var ids []int64
		for _, login := range []string{"sys", "adm"} {
			u, err := s.Users().Get(t.Context(), login)
			require.NoError(t, err)
			ids = append(ids, u.ID)
		}
		require.Equal(t, []int64{0, 1}, ids)
		require.Greater(t, newUser(t, s, "next", "s").ID, int64(1))
	})
	s := newStorage(t, SQLite).open(t, quickly())
	_, _, err := s.Bootstrap(t.Context(), "\xff")
	require.ErrorIs(t, err, Invalid)
	require.NoError(t, s.policy.Update(t.Context(), policy.Root(), func(p *policy.Tx) error { return p.AddTopic("com") }))
	_, done, err := s.Bootstrap(t.Context(), "s")
	require.False(t, done)
	kind, _ := KindOf(err)
	require.Equal(t, Exists, kind)
	require.Zero(t, s.users.len(), "all or nothing")
}

func c0(t *testing.T, s *Store) CRA {
	c, err := s.Users().CRA(t.Context(), "adm")
	require.NoError(t, err)
	return c
}

// Administrators at two processes who do the same at once do it once, and nobody hears of locks.
func TestConcurrentAdministrators(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		w := newTown(t, x)
		other, err := x.open(t, quickly()).Administration(AdministrationOptions{})
		require.NoError(t, err)
		var all sync.WaitGroup
		var mu sync.Mutex
		outcomes := map[Kind]int{}
		for i := range 4 {
			a := []*Administration{w.admin, other}[i%2]
			all.Go(func() {
				for _, do := range [][2]string{{"role.add", `{"name":"ops","bind_topic":"adm"}`}, {"userrole.add", `{"login":"greg","name":"com"}`},
					{"user.delete", `{"login":"zed"}`}, {"topic.add", `{"name":"adm.disk"}`}} {
					_, err := a.Do(t.Context(), policy.ActorNamed("adm"), do[0], json.RawMessage(do[1]))
					kind, ok := KindOf(err)
					if err != nil && !ok {
						t.Errorf("%s: %v", do, err)
					}
					mu.Lock()
					outcomes[kind]++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		require.Equal(t, map[Kind]int{"": 4, Exists: 9, NotFound: 3}, outcomes)
	})
}

func TestTheAdministrationTakesAPolicyOfItsKind(t *testing.T) {
	s := newStorage(t, SQLite).open(t, Options{Policy: policy.PlainConfig()})
	_, err := s.Administration(AdministrationOptions{})
	require.ErrorIs(t, err, chansec.ErrInvalid)
	s = newStorage(t, SQLite).open(t, Options{})
	for _, base := range []string{".", "a..b", "a b", "sys.", strings.Repeat("x", 256)} {
		_, err = s.Administration(AdministrationOptions{Base: base})
		require.ErrorIs(t, err, chansec.ErrInvalid, base)
	}
	_, err = s.Administration(AdministrationOptions{Base: "my.admin-1"})
	require.NoError(t, err)
	require.False(t, errors.Is(NotFound, chansec.ErrPermission))
}
