package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/pgtest"
	"github.com/chansec/chansec/internal/topicvectors"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/sqlstore"
)

// onBothEngines runs a test with the address of a new database of each kind, with -short only of PostgreSQL, which the race
// detector does not slow down.
func onBothEngines(t *testing.T, f func(t *testing.T, database string)) {
	if !testing.Short() {
		t.Run("SQLite", func(t *testing.T) { f(t, filepath.Join(t.TempDir(), "chansec.db")) })
	}
	t.Run("PostgreSQL", func(t *testing.T) {
		u, err := url.Parse(pgtest.Database(t))
		require.NoError(t, err)
		if password, is := u.User.Password(); is { // which the command line does not take in an address
			t.Setenv("PGPASSWORD", password)
			u.User = url.User(u.User.Username())
		}
		f(t, u.String())
	})
}

// besides opens a database in this process, beside the one that serves it.
func besides(t *testing.T, database string) *sqlstore.Store {
	open := sqlstore.OpenSQLite
	if strings.Contains(database, "://") {
		open = sqlstore.OpenPostgreSQL
	}
	s, err := open(t.Context(), database, sqlstore.Options{Node: "the test", Users: sqlstore.UserOptions{Iterations: sqlstore.MinIterations}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// routed has a program serve a database, and returns the service and the address of its router.
func routed(t *testing.T, database string, p *program) (*service, *url.URL) {
	c := config{Database: database, Node: "the router", WAMP: &wampConfig{Listen: "127.0.0.1:0"}}
	c.Activity.Required = true
	require.Empty(t, c.complete())
	s, err := p.start(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.close()) })
	return s, &url.URL{Scheme: "ws", Host: s.wampAt, Path: c.WAMP.Path}
}

func secretOf(login string) string { return "what only " + login + " knows" }

// town is a router over a database, where the sessions have the numbers of the vectors.
type town struct {
	*testing.T
	database string
	own      *sqlstore.Store // of the test, beside the router's
	service  *service
	at       *url.URL
	secrets  map[string]string
	sessions map[int64]*router
	numbers  map[int64]int64 // of the vectors, by the router's
}

func newTown(t *testing.T, database string) *town {
	w := &town{T: t, database: database, own: besides(t, database), secrets: map[string]string{}, sessions: map[int64]*router{}, numbers: map[int64]int64{}}
	w.service, w.at = routed(t, database, &program{err: t.Output(), env: func(string) string { return "" }})
	return w
}

// user adds a user who can log in.
func (w *town) user(login string) {
	w.secrets[login] = secretOf(login)
	_, err := w.own.Users().Add(w.Context(), policy.Root(), sqlstore.NewUser{Login: login, Secret: w.secrets[login]})
	require.NoError(w, err)
}

// catchUp waits until the router knows what is in the database.
func (w *town) catchUp() {
	require.NoError(w, w.own.Policy().Refresh(w.Context()))
	require.NoError(w, w.service.store.AtLeast(w.Context(), w.own.Policy().Version()))
}

// nameOf is the name of a refusal; of none it is empty.
func (w *town) nameOf(err error) string {
	if err == nil {
		return ""
	}
	r, is := errors.AsType[*refusal](err)
	require.True(w, is, "%v", err)
	return r.name
}

// do has somebody do an operation: the internal user, who cannot log in, by the command line on the database, and everybody else
// by the router.
func (w *town) do(as, operation string, args map[string]any) (result any, refused string) {
	arguments := maps.Clone(args)
	if n, ok := args["session"].(float64); ok {
		arguments["session"] = int64(w.sessions[int64(n)].client.ID())
	}
	text, err := json.Marshal(arguments)
	require.NoError(w, err)
	var printed []byte
	if as == sqlstore.LoginSys {
		thing, verb, _ := strings.Cut(operation, ".")
		got := ran(w.Context(), "", nil, thing, verb, "-d", w.database, "-u", as, "-a", string(text), "--json")
		if got.status != exitDone {
			refused, _, _ = strings.Cut(strings.TrimPrefix(got.err, "chansec: "), ":")
			return nil, strings.TrimSpace(refused)
		}
		printed = []byte(got.out)
		w.catchUp()
	} else {
		r, err := w.logIn(as)
		require.NoError(w, err)
		defer func() { require.NoError(w, r.Close()) }()
		printed, err = r.Do(w.Context(), operation, text)
		if err != nil {
			return nil, w.nameOf(err)
		}
	}
	if operation == "user.add" {
		w.secrets[args["login"].(string)] = args["secret"].(string)
	}
	if len(printed) > 0 {
		require.NoError(w, json.Unmarshal(printed, &result), "%s", printed)
	}
	return result, ""
}

func (w *town) logIn(login string) (*router, error) {
	return dialRouter(w.Context(), w.at, &target{realm: "realm1", base: "sys", user: login}, w.secrets[login])
}

// act has a session do something, and returns whether the router let it.
func (w *town) act(number int64, action, name string) (allowed bool, refused string) {
	r := w.sessions[number]
	select {
	case <-r.client.Done():
		return false, "no-session"
	default:
	}
	var err error
	switch action {
	case "publish":
		_, err = r.Do(w.Context(), "router.publish", quote(w, map[string]any{"topic": name}))
	case "call":
		_, err = r.Do(w.Context(), "router.call", quote(w, map[string]any{"procedure": name}))
	case "subscribe":
		err = r.client.Subscribe(name, func(*wamp.Event) {}, nil)
	case "register":
		err = r.client.Register(name, func(context.Context, *wamp.Invocation) client.InvokeResult { return client.InvokeResult{} }, nil)
	default:
		require.Fail(w, "the vectors have a new action", action)
	}
	if errors.Is(err, client.ErrNotConn) {
		return false, "no-session"
	}
	if e, is := errors.AsType[client.RPCError](err); is {
		err = r.refused(e)
	}
	if err != nil && strings.Contains(err.Error(), string(wamp.ErrNotAuthorized)) {
		return false, ""
	}
	if err == nil {
		return true, ""
	}
	refused = w.nameOf(err)
	return refused != "not-authorized", "" // a procedure that nobody registered was asked for all the same
}

func quote(w *town, v any) json.RawMessage {
	text, err := json.Marshal(v)
	require.NoError(w, err)
	return text
}

// shown is as much of a result as the vectors show: of sessions, those that they opened, by their numbers.
func (w *town) shown(operation string, want, got any) any {
	switch want := want.(type) {
	case []any:
		list, _ := got.([]any)
		all := []any{}
		for _, item := range list {
			if object, is := item.(map[string]any); is {
				if number, is := object["session"].(float64); is {
					known, there := w.numbers[int64(number)]
					if !there {
						continue // somebody who administrated
					}
					object = maps.Clone(object)
					object["session"] = float64(known)
					item = object
				}
			}
			all = append(all, item)
		}
		if len(all) != len(want) {
			return all
		}
		if operation == "session.list" { // which is sorted by numbers
			slices.SortFunc(all, func(a, b any) int {
				return int(a.(map[string]any)["session"].(float64) - b.(map[string]any)["session"].(float64))
			})
		}
		for i := range all {
			all[i] = w.shown(operation, want[i], all[i])
		}
		return all
	case map[string]any:
		object, is := got.(map[string]any)
		if !is {
			return got
		}
		some := map[string]any{}
		for key := range want {
			some[key] = object[key]
		}
		return some
	}
	return got
}

// step does a step of a scenario.
func (w *town) step(s topicvectors.Step) (result any, allowed bool, refused string) {
	switch {
	case s.Op != "":
		result, refused = w.do(s.As, s.Op, s.Args)
	case s.Connect != nil:
		r, err := w.logIn(s.Connect.User)
		if err != nil {
			return nil, false, "denied"
		}
		w.Cleanup(func() { _ = r.Close() })
		w.sessions[s.Connect.Session], w.numbers[int64(r.client.ID())] = r, s.Connect.Session
	case s.Disconnect != nil:
		require.NoError(w, w.sessions[s.Disconnect.Session].Close())
	case s.Act != nil:
		allowed, refused = w.act(s.Act.Session, s.Act.Action, s.Act.Topic)
	case s.Audit != nil: // the whole log
		result, refused = w.do(sqlstore.LoginSys, "activity.list", map[string]any{"filter": map[string]any{"all": true}})
	}
	return result, allowed, refused
}

// What is asked of others than the router comes true in it a moment later: a session that was ended elsewhere, what is in the log.
const soon = 10 * time.Second

func TestScenariosOfTheVectorsOnARouter(t *testing.T) {
	if testing.Short() {
		t.Skip("one step after the other")
	}
	v := topicvectors.Scenarios(t)
	for _, scenario := range v.Scenarios {
		t.Run(scenario.ID, func(t *testing.T) {
			onBothEngines(t, func(t *testing.T, database string) {
				w := newTown(t, database)
				w.secrets[sqlstore.LoginAdm] = secretOf(sqlstore.LoginAdm)
				_, _, err := w.own.Bootstrap(t.Context(), w.secrets[sqlstore.LoginAdm]) // what the vectors begin with, but for three users
				require.NoError(t, err)
				for _, login := range v.DB.Users[2:] {
					w.user(login)
				}
				require.NoError(t, w.own.Policy().Update(t.Context(), policy.Root(), func(tx *policy.Tx) error {
					for _, m := range v.DB.UserRoles {
						if err := tx.AssignRoleUntil(m[0], m[1], time.Time{}); err != nil {
							return err
						}
					}
					return nil
				}))
				w.catchUp()
				for i, step := range scenario.Steps {
					at := scenario.ID + " " + strconv.Itoa(i) + " " + step.Op
					if step.Check != nil {
						w.catchUp()
						c := chansec.Principal{SystemID: step.Check.User}
						require.Eventually(t, func() bool {
							d, err := w.service.store.Users().Authorizer().Check(c, step.Check.Action, step.Check.Topic)
							return err == nil && d.Allowed == step.Expect.Allowed && (step.Expect.DecidedBy == nil || d.Rule == *step.Expect.DecidedBy)
						}, soon, time.Millisecond, at)
						continue
					}
					if step.Expect.Error == "no-session" {
						select {
						case <-w.sessions[step.Act.Session].client.Done():
						case <-time.After(soon):
							require.Fail(t, "the session goes on", at)
						}
					}
					result, allowed, refused := w.step(step)
					for until := time.Now().Add(soon); step.Expect.Result != nil && time.Now().Before(until); result, allowed, refused = w.step(step) {
						if assert.ObjectsAreEqual(step.Expect.Result, w.shown(step.Op, step.Expect.Result, result)) {
							break
						}
						runtime.Gosched()
					}
					require.Equal(t, step.Expect.Error, refused, at)
					if step.Act != nil && step.Expect.OK {
						require.Equal(t, step.Expect.Allowed, allowed, at)
					}
					if step.Expect.Result != nil {
						require.Equal(t, step.Expect.Result, w.shown(step.Op, step.Expect.Result, result), at)
					}
				}
			})
		})
	}
}
