package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	nexus "github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/router/auth"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/gammazero/nexus/v3/client"

	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/wampauth"
)

// told is an administration that remembers what it was told and answers what a test wants.
type told struct {
	mu        sync.Mutex
	by        string
	operation string
	arguments string
	result    any
	err       error
}

func (a *told) Operations() []string {
	var names []string
	for _, t := range things {
		for _, v := range t.verbs {
			if t.name != "router" {
				names = append(names, t.name+"."+v.name)
			}
		}
	}
	return names
}

func (a *told) Do(_ context.Context, by policy.Actor, operation string, arguments json.RawMessage) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by, a.operation, a.arguments = by.String(), operation, string(arguments)
	return a.result, a.err
}

// answers sets what the administration says next.
func (a *told) answers(result any, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by, a.operation, a.arguments, a.result, a.err = "", "", "", result, err
}

const aliceSecret = "what only alice knows"

// guarded serves a guarded router, where alice may call and publish below com and administrate, and opens a door.
func guarded(t *testing.T) (url string, a *told) {
	store, err := policy.New(policy.WAMPConfig())
	require.NoError(t, err)
	require.NoError(t, store.Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
		tx.Grant("family", "com.garage", "call", "publish")
		tx.Grant("family", "sys", "call")
		return tx.AssignRoles("alice", "family")
	}))
	key, err := wampauth.NewKey(aliceSecret, wampauth.MinIterations)
	require.NoError(t, err)
	guard, err := wampauth.New(wampauth.Config{Policy: store.Authorizer(), Log: slog.New(slog.DiscardHandler),
		Keys: wampauth.KeysFunc(func(_ context.Context, login string) (wampauth.Key, error) {
			if login == "alice" {
				return key, nil
			}
			return wampauth.Decoy([]byte("what only this server knows, and nobody else"), login, wampauth.MinIterations)
		})})
	require.NoError(t, err)
	realm := &nexus.RealmConfig{URI: "realm1"}
	require.NoError(t, guard.Protect(realm))
	quiet := log.New(io.Discard, "", 0)
	r, err := nexus.NewRouter(&nexus.Config{RealmConfigs: []*nexus.RealmConfig{realm}}, quiet)
	require.NoError(t, err)
	require.NoError(t, guard.Start(t.Context(), r))
	a = &told{}
	require.NoError(t, guard.Serve(t.Context(), a))
	local, err := client.ConnectLocal(r, client.Config{Realm: "realm1", Logger: quiet})
	require.NoError(t, err)
	for _, name := range []string{"com.garage.open", "com.safe.open"} {
		require.NoError(t, local.Register(name, func(_ context.Context, inv *wamp.Invocation) client.InvokeResult {
			return client.InvokeResult{Args: append(wamp.List{"open"}, inv.Arguments...), Kwargs: inv.ArgumentsKw}
		}, nil))
	}
	s := httptest.NewServer(nexus.NewWebsocketServer(wampauth.CopyEvents(r)))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, guard.Close(ctx))
		r.Close()
		s.Close()
	})
	return "ws" + strings.TrimPrefix(s.URL, "http"), a
}

func environment(url string) []string {
	return []string{"CHANSEC_URL=" + url, "CHANSEC_USER=alice", "CHANSEC_SECRET=" + aliceSecret, "CHANSEC_NEW_SECRET=hunter2 secret"}
}

func TestEveryVerbTellsTheRouterItsOperationAndArguments(t *testing.T) {
	url, a := guarded(t)
	login := program{env: func(name string) string { return map[string]string{"CHANSEC_SECRET": aliceSecret}[name] }}
	connection, err := (&target{program: &login, url: url, realm: defaultRealm, base: defaultBase, user: "alice", timeout: time.Minute}).connect(t.Context())
	require.NoError(t, err)
	defer connection.Close()
	for line, want := range map[string]string{
		"user list":     `user.list {}`,
		"user get greg": `user.get {"login":"greg"}`,
		"user add greg --fullname Greg --tz America/Chicago --role com --role ops": `user.add {"login":"greg","fullname":"Greg","tzname":"America/Chicago","roles":["com","ops"],"secret":"hunter2 secret"}`,
		"user add greg": `user.add {"login":"greg","secret":"hunter2 secret"}`,
		`user add -a {"login":"greg","roles":"com"}`:  `user.add {"login":"greg","roles":"com","secret":"hunter2 secret"}`,
		"user update greg --fullname Gregor":          `user.update {"login":"greg","fullname":"Gregor"}`,
		"user update greg --tz= --new-secret":         `user.update {"login":"greg","tzname":"","secret":"hunter2 secret"}`,
		"user delete greg":                            `user.delete {"login":"greg"}`,
		"role list":                                   `role.list {}`,
		"role get ops":                                `role.get {"name":"ops"}`,
		"role add ops --bind adm --description d":     `role.add {"name":"ops","bind_topic":"adm","description":"d"}`,
		"role update ops --description d":             `role.update {"name":"ops","description":"d"}`,
		"role delete ops":                             `role.delete {"name":"ops"}`,
		"userrole add greg ops":                       `userrole.add {"login":"greg","name":"ops"}`,
		"userrole delete greg ops":                    `userrole.delete {"login":"greg","name":"ops"}`,
		"topic list":                                  `topic.list {}`,
		"topic get com.x":                             `topic.get {"name":"com.x"}`,
		"topic add com.x --description d":             `topic.add {"name":"com.x","description":"d"}`,
		"topic update com.x --description d":          `topic.update {"name":"com.x","description":"d"}`,
		"topic delete com.x":                          `topic.delete {"name":"com.x"}`,
		"topicrole list":                              `topicrole.list {}`,
		"topicrole list --topic com.x --role ops":     `topicrole.list {"topic_name":"com.x","name":"ops"}`,
		"topicrole permission greg com.x call":        `topicrole.permission {"login":"greg","topic_name":"com.x","type_id":"call"}`,
		"topicrole add com.x ops":                     `topicrole.add {"topic_name":"com.x","name":"ops"}`,
		"topicrole add com.x ops --activity call":     `topicrole.add {"topic_name":"com.x","name":"ops","activity":["call"]}`,
		"topicrole delete com.x ops --activity admin": `topicrole.delete {"topic_name":"com.x","name":"ops","activity":["admin"]}`,
		"session list":                                `session.list {}`,
		"ses get 7":                                   `session.get {"session":7}`,
		"session kill --session 9007199254740991":     `session.kill {"session":9007199254740991}`,
		"session kill --login greg --reason gone":     `session.kill {"login":"greg","reason":"gone"}`,
		"activity list":                               `activity.list {}`,
		"activity list --denied --login greg --since 2026-01-01 --limit 5": `activity.list {"filter":{"denied":true,"login":"greg","since":"2026-01-01T00:00:00Z","limit":5}}`,
		"activity get 17":            `activity.get {"id":17}`,
		"activity delete 2026-01-01": `activity.delete {"before":"2026-01-01T00:00:00Z"}`,
	} {
		a.answers(nil, nil)
		got := administer(t, connection, strings.Fields(line)...)
		require.Zero(t, got.status, "%s: %s", line, got.err)
		require.Empty(t, got.err, line)
		operation, arguments, _ := strings.Cut(want, " ")
		require.Equal(t, operation, a.operation, line)
		require.JSONEq(t, arguments, a.arguments, line)
		require.Equal(t, "alice", a.by)
	}
}

func TestResultsAreTablesForPeopleAndJSONForPrograms(t *testing.T) {
	url, a := guarded(t)
	users := []map[string]any{
		{"login": "greg", "fullname": "Greg", "tzname": "America/Chicago", "roles": []string{"com", "ops"}},
		{"login": "zed", "fullname": "Zed\x1b[2K\u202e", "tzname": "", "roles": []string{}},
	}
	a.answers(users, nil)
	got := ran(t.Context(), "", environment(url), "user", "list")
	require.Equal(t, answer{0, `LOGIN  FULLNAME            TZNAME           ROLES
greg   Greg                America/Chicago  com, ops
zed    "Zed\x1b[2K\u202e"
`, ""}, got)
	got = ran(t.Context(), "", environment(url), "user", "list", "--json")
	require.Zero(t, got.status)
	text, err := json.Marshal(users)
	require.NoError(t, err)
	require.JSONEq(t, string(text), got.out)
	require.NotContains(t, got.out, "\x1b")
	require.NotContains(t, got.out, "\u202e")
	a.answers([]any{}, nil)
	require.Equal(t, answer{0, "[no results]\n", ""}, ran(t.Context(), "", environment(url), "topic", "list"))
	require.Equal(t, answer{0, "[]\n", ""}, ran(t.Context(), "", environment(url), "topic", "list", "--json"))
	a.answers(nil, nil)
	require.Equal(t, answer{0, "userrole greg ops: added\n", ""}, ran(t.Context(), "", environment(url), "userrole", "add", "greg", "ops"))
}

func TestRefusalsSayTheirNameAndEndWithOne(t *testing.T) {
	url, a := guarded(t)
	for _, tt := range []struct {
		err    error
		status int
		name   string
	}{
		{policy.NoAdminRole, 1, "no-admin-role"}, {policy.NoAdminTopic, 1, "no-admin-topic"}, {policy.Exists, 1, "exists"},
		{policy.NotFound, 1, "not-found"}, {policy.InUse, 1, "in-use"}, {policy.InvalidArgument, 2, "invalid"},
	} {
		a.answers(nil, tt.err)
		got := ran(t.Context(), "", environment(url), "role", "add", "ops")
		require.Equal(t, tt.status, got.status, tt.name)
		require.Contains(t, got.err, "chansec: "+tt.name, tt.name)
		require.Empty(t, got.out)
	}
	got := ran(t.Context(), "", append([]string{"CHANSEC_SECRET=another"}, environment(url)...), "user", "list")
	require.Equal(t, answer{1, "", "chansec: not-authorized: the router refused the login: authentication failed\n"}, got)
	require.Equal(t, got, ran(t.Context(), "", append([]string{"CHANSEC_USER=nobody"}, environment(url)...), "user", "list"))
}

func TestCallingAndPublishingIsAllowedOrNotAsThePolicySays(t *testing.T) {
	url, _ := guarded(t)
	got := ran(t.Context(), "", environment(url), "router", "call", "com.garage.open", "left", "5", `{"fast":true}`, "--kwargs", `{"why":"rain"}`)
	require.Zero(t, got.status, got.err)
	require.JSONEq(t, `{"args":["open","left",5,{"fast":true}],"kwargs":{"why":"rain"}}`, got.out)
	got = ran(t.Context(), "", environment(url), "router", "call", "com.safe.open")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.err, "not-authorized")
	require.Equal(t, answer{0, "router com.garage.light: published\n", ""}, ran(t.Context(), "", environment(url), "router", "publish", "com.garage.light", "on"))
	got = ran(t.Context(), "", environment(url), "router", "publish", "com.safe.light", "on")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.err, "not-authorized")
}

func TestASecretGoesNowhereButToTheRouter(t *testing.T) {
	url, a := guarded(t)
	for _, args := range []string{"user list", "user add greg", "user add greg -v", "user get", "user list --nonsense", "router call com.safe.open"} {
		a.answers(nil, nil)
		got := ran(t.Context(), "", environment(url), strings.Fields(args)...)
		require.NotContains(t, got.out+got.err, aliceSecret, args)
		require.NotContains(t, got.out+got.err, "hunter2 secret", args)
	}
	for _, bad := range []string{"http://x/", "ws://greg:hunter2@127.0.0.1/", "ws://192.0.2.1/ws", "ws://", "::", ""} {
		got := ran(t.Context(), "", environment(url), "user", "list", "--url", bad)
		require.Equal(t, 2, got.status, bad)
		require.NotContains(t, got.err, "hunter2")
	}
}

// pretender is a router's keys that would have a client sign with its secret itself, which whoever has that can try out quickly.
type pretender struct{ rounds int }

func (pretender) AuthKey(string, string) ([]byte, error) { return []byte(aliceSecret), nil }
func (pretender) AuthRole(string) (string, error)        { return "user", nil }
func (pretender) Provider() string                       { return "x" }
func (p pretender) PasswordInfo(string) (string, int, int) {
	if p.rounds == 0 {
		return "", 0, 0
	}
	return "salt", 32, p.rounds
}

func TestNoRouterGetsAnAnswerThatGivesTheSecretAway(t *testing.T) {
	for name, rounds := range map[string]int{"without salt": 0, "few rounds": 1, "endless rounds": mostRounds + 1} {
		t.Run(name, func(t *testing.T) {
			r, err := nexus.NewRouter(&nexus.Config{RealmConfigs: []*nexus.RealmConfig{{URI: "realm1",
				Authenticators: []auth.Authenticator{auth.NewCRAuthenticator(pretender{rounds}, 10*time.Second)}}}}, log.New(io.Discard, "", 0))
			require.NoError(t, err)
			s := httptest.NewServer(nexus.NewWebsocketServer(r))
			t.Cleanup(func() { r.Close(); s.Close() })
			got := ran(t.Context(), "", environment("ws"+strings.TrimPrefix(s.URL, "http")), "router", "publish", "com.x")
			require.Equal(t, exitRefused, got.status)
			require.Contains(t, got.err, "the challenge of the router is not one that a secret should be used with")
		})
	}
}
