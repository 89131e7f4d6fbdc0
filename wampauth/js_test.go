package wampauth_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"
)

// node installs the clients of testdata/js into a folder, and returns it. Without Node.js or its registry the test is skipped,
// or fails if CHANSEC_NODE_REQUIRED is 1.
func node(t *testing.T) string {
	missing := func(why ...any) {
		if os.Getenv("CHANSEC_NODE_REQUIRED") == "1" {
			t.Fatal(why...)
		}
		t.Skip(why...)
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing("there is no ", program, ": ", err)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.mjs"} {
		text, err := os.ReadFile(filepath.Join("testdata", "js", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		missing("the clients could not be installed: ", err, "\n", string(out))
	}
	return dir
}

// script is a client in another process.
type script struct {
	*testing.T
	in    io.Writer
	said  chan map[string]any
	asked int
}

// run starts a client of a kind, which logs in.
func (w *world) run(t *testing.T, dir, kind, url, login, secret string) *script {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // the test's own ends before the client is told to
	cmd := exec.CommandContext(ctx, "node", "client.mjs", kind, url, "realm1", login)
	cmd.Dir, cmd.Stderr = dir, &strings.Builder{}
	cmd.Env = append(os.Environ(), "SECRET="+secret)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s := &script{t, in, make(chan map[string]any, 100), 0}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var said map[string]any
			if json.Unmarshal(lines.Bytes(), &said) == nil { // clients write warnings, too
				s.said <- said
			}
		}
	}()
	t.Cleanup(func() {
		defer cancel()
		_ = in.Close()
		<-read
		if err := cmd.Wait(); err != nil && !t.Failed() {
			t.Errorf("%s: %v: %s", kind, err, cmd.Stderr)
		}
	})
	return s
}

// hears waits for a line with a member, and returns that.
func (s *script) hears(member string) any {
	s.Helper()
	for {
		select {
		case said := <-s.said:
			if v, ok := said[member]; ok {
				return v
			}
			require.Fail(s, "something else was said", "%v instead of %s", said, member)
		case <-time.After(20 * time.Second):
			require.Fail(s, "nothing was said", "no %s", member)
		}
	}
}

// does has the client do something, and returns its result, or the name of the error.
func (s *script) does(do, name, match string, kwargs map[string]any) (result any, failed string) {
	s.Helper()
	s.asked++
	args := []string{name}
	if kwargs != nil {
		args = []string{}
	}
	ask, err := json.Marshal(map[string]any{"id": s.asked, "do": do, "name": name, "match": match, "args": args, "kwargs": kwargs})
	require.NoError(s, err)
	_, err = s.in.Write(append(ask, '\n'))
	require.NoError(s, err)
	var said map[string]any
	select {
	case said = <-s.said:
	case <-time.After(20 * time.Second):
		require.Fail(s, "no answer", "%s %s", do, name)
	}
	require.EqualValues(s, s.asked, said["id"], "%v", said)
	failed, _ = said["error"].(string)
	return said["result"], failed
}

func (s *script) may(do, name, match string) {
	s.Helper()
	_, failed := s.does(do, name, match, nil)
	require.Empty(s, failed, "%s %s", do, name)
}

func (s *script) mayNot(do, name, match string) {
	s.Helper()
	_, failed := s.does(do, name, match, nil)
	require.Equal(s, string(wamp.ErrNotAuthorized), failed, "%s %s", do, name)
}

func TestRealClientsSeeWhatThePolicySays(t *testing.T) {
	dir := node(t)
	for _, kind := range []string{"autobahn", "wampy"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			sockets := router.NewWebsocketServer(w.router)
			sockets.EnableRequestCapture = true
			server := httptest.NewServer(sockets)
			defer server.Close()
			url := "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
			require.NoError(t, w.guard.Serve(t.Context(), nil))
			w.user("ann")
			for permission, topics := range map[string][]string{"publish": {"com.home"}, "subscribe": {"com.home"}, "call": {"com.home", "sys.session"}, "register": {"com.home.door"}} {
				w.grant("ann", permission, topics...)
			}
			program := w.local()

			stranger := w.run(t, dir, kind, url, "ann", "a guess")
			ann := w.run(t, dir, kind, url, "ann", secretOf("ann")) // each derives a key, which takes autobahn seconds
			require.Equal(t, string(wamp.ErrAuthenticationFailed), stranger.hears("closed"))
			require.Equal(t, "ann", ann.hears("open"))
			ann.may("publish", "com.home.door", "")
			ann.mayNot("publish", "com.work", "")
			ann.may("subscribe", "com.home.door", "")
			ann.may("subscribe", "com.home.l", "prefix")
			ann.may("subscribe", "com.home.shade", "")
			ann.mayNot("subscribe", "com.home", "prefix")
			ann.mayNot("subscribe", "com..door", "wildcard")
			ann.may("register", "com.home.door.open", "")
			ann.mayNot("register", "com.home.garage", "")
			ann.mayNot("register", "sys.user.add", "")
			ann.mayNot("call", "com.work.f", "")
			ann.mayNot("call", "wamp.session.list", "")
			answer, err := doCall(program, "com.home.door.open")
			require.NoError(t, err)
			require.Equal(t, "done", answer)
			require.Equal(t, "com.home.door.open", ann.hears("called"))

			list, failed := ann.does("call", "sys.session.list", "", map[string]any{"arguments": map[string]any{}})
			require.Empty(t, failed)
			one := list.([]any)[0].(map[string]any)
			require.Equal(t, "ann", one["login"])
			require.Contains(t, one["remote"], "127.0.0.1:", "the transport says where they are")

			require.NoError(t, doPublish(program, "com.home.light"))
			require.Equal(t, "com.home.light", ann.hears("event"))
			w.revoke("ann", "subscribe", "com.home")
			require.NoError(t, doPublish(program, "com.home.light"))
			require.NoError(t, doPublish(program, "com.barrier")) // the broker is through with the one before
			w.grant("ann", "subscribe", "com.home.shade")
			require.NoError(t, doPublish(program, "com.home.shade"))
			require.Equal(t, "com.home.shade", ann.hears("event"), "and nothing before")

			require.Equal(t, 1, w.guard.KickLogin("ann", "adm", "enough"))
			ann.hears("closed")
			require.Equal(t, 0, w.guard.KickLogin("ann", "adm", "enough"))
		})
	}
}
