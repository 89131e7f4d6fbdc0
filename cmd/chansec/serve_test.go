package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/sqlstore"
)

// screen is what a command that runs on has printed so far.
type screen struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wants string
	there chan struct{}
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.text.Write(b)
	if s.there != nil && strings.Contains(s.text.String(), s.wants) {
		close(s.there)
		s.there = nil
	}
	return n, err
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// serving runs chansec serve until the test ends, or until the returned function ends it, which returns its status.
func serving(t *testing.T, env []string, args ...string) (printed string, end func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	there := make(chan struct{})
	out := &screen{wants: "Ctrl-C", there: there}
	if slices.Contains(args, "--json") {
		out.wants = "}\n"
	}
	var failures screen
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append([]string{"serve"}, args...), strings.NewReader(""), out, &failures, func(name string) string {
			for _, pair := range env {
				if value, ok := strings.CutPrefix(pair, name+"="); ok {
					return value
				}
			}
			return ""
		})
	}()
	end = sync.OnceValue(func() int {
		cancel()
		select {
		case s := <-status:
			return s
		case <-time.After(30 * time.Second):
			return -1
		}
	})
	t.Cleanup(func() { require.Equal(t, exitInterrupted, end()) })
	select {
	case <-there:
	case s := <-status:
		status <- s
		require.Fail(t, "serve ended", "%d: %s", s, failures.String())
	case <-time.After(60 * time.Second):
		require.Fail(t, "serve does not begin", failures.String())
	}
	return out.String(), end
}

// match returns what a pattern finds in its parentheses.
func match(t *testing.T, pattern, text string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	require.Len(t, found, 2, "%s in %s", pattern, text)
	return found[1]
}

func TestTheDemoShowsWhatItSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "demo.db")
	printed, end := serving(t, nil, "--demo", "--listen", "127.0.0.1:0", "--database", file)
	url := "CHANSEC_URL=" + match(t, `CHANSEC_URL=(\S+)`, printed)
	gregSecret, admSecret := match(t, `USER=greg CHANSEC_SECRET=(\S+)`, printed), match(t, `USER=adm CHANSEC_SECRET=(\S+)`, printed)
	greg := []string{url, "CHANSEC_USER=greg", "CHANSEC_SECRET=" + gregSecret}
	adm := []string{url, "CHANSEC_USER=adm", "CHANSEC_SECRET=" + admSecret, "CHANSEC_NEW_SECRET=zed's own"}
	do := func(env []string, line string) answer {
		got := ran(t.Context(), "", env, strings.Fields(line)...)
		require.NotContains(t, got.out+got.err, gregSecret)
		require.NotContains(t, got.out+got.err, admSecret)
		require.NotContains(t, got.out+got.err, "zed's own")
		return got
	}
	done := func(env []string, line string) string {
		t.Helper()
		got := do(env, line)
		require.Zero(t, got.status, "%s: %s", line, got.err)
		require.Empty(t, got.err, line)
		return got.out
	}
	refused := func(env []string, line, name string) {
		t.Helper()
		got := do(env, line)
		require.Equal(t, exitRefused, got.status, line)
		require.Contains(t, got.err, "chansec: "+name+": ", line)
		require.Empty(t, got.out, line)
	}
	require.Contains(t, done(greg, "router call com.home.garage.door.open"), "the garage door is open")
	refused(greg, "router call com.home.safe.open", "not-authorized")
	refused(greg, "user list", "not-authorized")
	require.Contains(t, done(adm, "user list"), "greg   Greg           America/Chicago  family\n")
	require.Equal(t, "[no results]\n", done(adm, "topicrole permission greg com.home.safe.open call"))

	// Somebody new, who may do what the role may, until it is taken back.
	require.Equal(t, "user zed: added\n", done(adm, "user add zed --fullname Zed"))
	zed := []string{url, "CHANSEC_USER=zed", "CHANSEC_SECRET=zed's own"}
	refused(zed, "router call com.home.garage.door.open", "not-authorized")
	refused(adm, "userrole add zed sys", "no-admin-role")
	require.Equal(t, "userrole zed family: added\n", done(adm, "userrole add zed family"))
	require.Contains(t, done(zed, "router call com.home.garage.door.open"), "open")
	require.Equal(t, "topicrole com.home.garage family: taken back\n", done(append([]string{"CHANSEC_DATABASE=" + file}, url), "topicrole delete com.home.garage family --activity call"))
	require.Eventually(t, func() bool { return do(zed, "router call com.home.garage.door.open").status == exitRefused }, 10*time.Second, 50*time.Millisecond,
		"another process changed the database, and the router follows")

	refused(adm, "user add zed", "exists")
	refused(adm, "user get nobody", "not-found")
	refused(adm, "role delete sys", "no-admin-role")
	refused(adm, "topic delete role.adm", "in-use")
	require.Equal(t, exitMisused, do(adm, "topicrole add com.home.safe com --activity fly").status)
	var log []struct {
		Login, Action, Topic string
		Allow                bool
	}
	require.NoError(t, json.Unmarshal([]byte(done(adm, "activity list --all --json")), &log))
	require.Contains(t, log, struct {
		Login, Action, Topic string
		Allow                bool
	}{"greg", "call", "com.home.safe.open", false})
	require.Equal(t, "user zed: deleted\n", done(adm, "user delete zed"))
	require.Equal(t, exitRefused, do(zed, "router call com.home.garage.door.open").status)
	require.Equal(t, exitInterrupted, end())

	// The database is what it was, and shows no secret again.
	printed, _ = serving(t, nil, "--demo", "--listen", "127.0.0.1:0", "--database", file)
	require.NotContains(t, printed, admSecret)
	require.NotContains(t, printed, "CHANSEC_SECRET")
}

func TestADatabaseIsAdministratedWithoutARouter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "demo.db")
	_, end := serving(t, nil, "--demo", "--listen", "127.0.0.1:0", "--database", file)
	end()
	env := []string{"CHANSEC_DATABASE=" + file, "CHANSEC_NEW_SECRET=ann's own"}
	require.Equal(t, answer{0, "user ann: added\n", ""}, ran(t.Context(), "", env, "user", "add", "ann", "--role", "com"))
	got := ran(t.Context(), "", env, "user", "get", "ann")
	require.Equal(t, answer{0, "login  ann\nroles  com\n", ""}, got)
	got = ran(t.Context(), "", env, "user", "delete", "greg", "--user", "ann")
	require.Equal(t, exitRefused, got.status)
	require.Contains(t, got.err, "not-authorized")
	for what, bad := range hostile {
		for _, args := range [][]string{{"user", "add", "--", bad}, {"user", "get", "--", bad}, {"role", "add", "--", bad}, {"topic", "add", "--", bad},
			{"topicrole", "list", "--role=" + bad}, {"activity", "list", "--topic=" + bad}, {"userrole", "add", "--", bad, bad}, {"session", "kill", "--login=" + bad}} {
			got := ran(t.Context(), "", env, args...)
			requireClean(t, what, got.out)
			requireClean(t, what, got.err)
			if !strings.HasPrefix(args[1], "list") && what != "Cyrillic" {
				require.NotZero(t, got.status, "%s: %v: %s", what, args, got.out)
			}
			require.NotContains(t, got.err, "SQL logic", what)
		}
	}
	require.Equal(t, exitMisused, ran(t.Context(), "", env, "router", "call", "com.x").status)
	missing := filepath.Join(t.TempDir(), "typo.db")
	got = ran(t.Context(), "", nil, "user", "list", "--database", missing)
	require.Equal(t, exitRefused, got.status)
	require.NoFileExists(t, missing)
}

func TestARouterAndChannelsOverOneDatabase(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.Zero(t, ran(t.Context(), "", nil, "key", "new", "hs256", "--out", at("key.jwk")).status)
	require.NoError(t, os.WriteFile(at("c.yaml"), []byte("database: "+at("c.db")+`
activity: {required: true}
wamp: {listen: "127.0.0.1:0", tickets: true}
http:
  listen: 127.0.0.1:0
  key: `+at("key.jwk")+`
  channels:
    - {id: com.home.news, kind: broadcast}
    - {id: com.home.jobs, kind: queue}
`), 0o600))
	got := ran(t.Context(), "", nil, "serve", "--config", at("c.yaml"))
	require.Equal(t, exitRefused, got.status)
	require.Contains(t, got.err, "CHANSEC_ADMIN_SECRET")
	printed, _ := serving(t, []string{"CHANSEC_ADMIN_SECRET=the administrator's"}, "--config", at("c.yaml"))
	require.NotContains(t, printed, "the administrator's")
	adm := []string{"CHANSEC_URL=" + match(t, `(ws://\S+),`, printed), "CHANSEC_USER=adm", "CHANSEC_SECRET=the administrator's", "CHANSEC_NEW_SECRET=x"}
	base := match(t, `(http://\S+)`, printed)
	require.Zero(t, ran(t.Context(), "", adm, "user", "add", "ann").status)
	mint := func(who, role string) string {
		got := ran(t.Context(), "", nil, "token", "mint", "--key", at("key.jwk"), "--subject", who, "--role", role, "--all-channels")
		require.Zero(t, got.status, got.err)
		return strings.TrimSpace(got.out)
	}
	write := func(token, channel string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, base+channel, strings.NewReader(`{"hello":1}`))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		return res.StatusCode
	}
	ann := mint("ann", "write")
	require.Equal(t, http.StatusForbidden, write(ann, "com.home.news"), "the token reaches there, and the policy does not")
	require.Equal(t, http.StatusOK, write(mint("adm", "write"), "com.home.news"))
	require.Equal(t, http.StatusForbidden, write(mint("adm", "read"), "com.home.news"), "the policy reaches there, and the token does not")
	require.Zero(t, ran(t.Context(), "", adm, "userrole", "add", "ann", "com").status)
	require.Equal(t, http.StatusOK, write(ann, "com.home.jobs"))

	ticket := func(who, token string) (*client.Client, error) {
		return client.ConnectNet(t.Context(), strings.TrimPrefix(adm[0], "CHANSEC_URL="), client.Config{Realm: "realm1", HelloDetails: wamp.Dict{"authid": who},
			Logger:       log.New(io.Discard, "", 0),
			AuthHandlers: map[string]client.AuthFunc{"ticket": func(*wamp.Challenge) (string, wamp.Dict) { return token, nil }}})
	}
	_, err := ticket("ann", mint("adm", "write"))
	require.Error(t, err, "the token is somebody else's")
	guest, err := ticket("ann", ann)
	require.NoError(t, err, "a token lets in")
	acknowledged := wamp.Dict{wamp.OptAcknowledge: true}
	require.NoError(t, guest.Publish("com.home.news", acknowledged, nil, nil))
	require.ErrorContains(t, guest.Register("com.home.door", func(context.Context, *wamp.Invocation) client.InvokeResult { return client.InvokeResult{} }, nil),
		string(wamp.ErrNotAuthorized), "the policy reaches there, and the token does not")
	require.ErrorContains(t, guest.Publish("adm.x", acknowledged, nil, nil), string(wamp.ErrNotAuthorized), "the token reaches there, and the policy does not")
	require.Zero(t, ran(t.Context(), "", adm, "user", "delete", "ann").status)
	<-guest.Done()
	require.Equal(t, http.StatusUnauthorized, write(ann, "com.home.news"))
	require.Zero(t, ran(t.Context(), "", adm, "user", "add", "ann", "--role", "com").status)
	require.Equal(t, http.StatusUnauthorized, write(ann, "com.home.jobs"), "the new ann has nothing of the old one, and the old one nothing of the new one")

	// What a kick leaves in the log, and what it does to a session on another terminal.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p := program{env: func(name string) string { return map[string]string{"CHANSEC_SECRET": "x"}[name] }}
	session, err := (&target{program: &p, url: strings.TrimPrefix(adm[0], "CHANSEC_URL="), realm: defaultRealm, base: defaultBase, user: "ann", timeout: time.Minute}).connect(ctx)
	require.NoError(t, err)
	defer session.Close()
	require.Zero(t, ran(ctx, "", adm, "session", "kill", "--login", "ann", "--reason", "go home").status)
	_, err = session.Do(ctx, "topic.list", nil)
	require.Error(t, err)
	var log []struct{ Login, Action string }
	require.Eventually(t, func() bool {
		got := ran(ctx, "", adm, "activity", "list", "--all", "--login", "ann", "--json")
		require.Zero(t, got.status, got.err)
		require.NoError(t, json.Unmarshal([]byte(got.out), &log))
		starts, ends := 0, 0
		for _, row := range log {
			if row.Action == "start" {
				starts++
			} else if row.Action == "end" {
				ends++
			}
		}
		return starts == 2 && ends == 2 // of the guest with a token, too
	}, 10*time.Second, 50*time.Millisecond)
}

func TestTheAdministratorOfAnotherBaseMayCallIt(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	require.NoError(t, os.WriteFile(file, []byte("database: "+filepath.Join(dir, "c.db")+"\nwamp: {listen: '127.0.0.1:0', base: house.admin}\n"), 0o600))
	for range 2 { // a new database, and one that is there
		printed, end := serving(t, []string{"CHANSEC_ADMIN_SECRET=the administrator's"}, "--config", file)
		adm := []string{"CHANSEC_URL=" + match(t, `(ws://\S+),`, printed), "CHANSEC_USER=adm", "CHANSEC_SECRET=the administrator's", "CHANSEC_BASE=house.admin"}
		got := ran(t.Context(), "", adm, "user", "list")
		require.Zero(t, got.status, got.err)
		got = ran(t.Context(), "", adm[:3], "user", "list")
		require.Equal(t, exitRefused, got.status)
		require.Equal(t, exitInterrupted, end())
	}
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.Zero(t, ran(t.Context(), "", nil, "key", "new", "hs256", "--out", at("key.jwk")).status)
	require.NoError(t, os.WriteFile(at("c.yaml"), []byte("database: "+at("c.db")+"\nhttp: {listen: '127.0.0.1:0', key: "+at("key.jwk")+
		", channels: [{id: com.home.news, kind: broadcast}]}\n"), 0o600))
	printed, _ := serving(t, []string{"CHANSEC_ADMIN_SECRET=the administrator's"}, "--config", at("c.yaml"))
	token := ran(t.Context(), "", nil, "token", "mint", "--key", at("key.jwk"), "--subject", "adm", "--role", "read", "--all-channels").out
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, match(t, `(http://\S+)`, printed)+"com.home.news/events", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	store, err := sqlstore.OpenSQLite(ctx, at("c.db"), sqlstore.Options{Node: "another"})
	require.NoError(t, err)
	defer store.Close()
	require.NoError(t, store.Revocations().Append(ctx, chansec.Revocation{Subject: "adm", IssuedBefore: time.Now()}))
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	require.NoError(t, ctx.Err(), "the stream ends before the test does")
}

func TestServeRefusesWhatItCannotDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	require.NoError(t, os.WriteFile(file, []byte("databse: x\n"), 0o600))
	require.Equal(t, exitMisused, ran(t.Context(), "", nil, "serve").status)
	require.Equal(t, exitMisused, ran(t.Context(), "", nil, "serve", "--demo", "--config", file).status)
	require.Equal(t, exitMisused, ran(t.Context(), "", nil, "serve", "--demo", "--listen", "0.0.0.0:0").status)
	got := ran(t.Context(), "", nil, "serve", "--config", file)
	require.Equal(t, exitRefused, got.status)
	require.Contains(t, got.err, `c.yaml:1: there is no key "databse": did you mean database?`)
	require.True(t, errors.Is(os.Remove(filepath.Join(dir, "x")), os.ErrNotExist))
}
