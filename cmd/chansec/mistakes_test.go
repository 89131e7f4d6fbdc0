package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Who names a wrong file or database is told so, and it stays as it is.
func TestWhatIsNoDatabaseOfOursIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	foreign := filepath.Join(dir, "foreign # 100%.db")
	db, err := sql.Open("sqlite", "file:"+strings.NewReplacer("#", "%23", "%", "%25").Replace(foreign))
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "create table bookmark (a text)")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for name, tt := range map[string]struct {
		address string
		status  int
		says    string
	}{
		"another program's":             {foreign, exitRefused, "there is nothing of chansec in it"},
		"an empty file":                 {put("empty.db", ""), exitRefused, "is no database"},
		"another file":                  {put("notes.txt", "what a day"), exitRefused, "is no database"},
		"a folder":                      {dir, exitRefused, "is no database"},
		"nothing":                       {filepath.Join(dir, "typo.db"), exitRefused, "no such file or directory; chansec serve makes one"},
		"another engine":                {"mysql://u@h/d", exitMisused, "want a file, or postgres://user@host/name"},
		"words of PostgreSQL":           {"host=h dbname=d", exitMisused, "want a file, or postgres://user@host/name"},
		"a password, written otherwise": {"postgres://u@127.0.0.1:1/d?pass%77ord=hunter2", exitMisused, "PGPASSWORD"},
	} {
		was, _ := os.ReadFile(tt.address)
		for _, args := range [][]string{{"user", "list", "-d", tt.address}, {"user", "reseal", "-d", tt.address}} {
			got := ran(t.Context(), "", nil, args...)
			require.Equal(t, tt.status, got.status, "%s: %s", name, got.err)
			require.Contains(t, got.err, tt.says, name)
			require.NotContains(t, got.err, "hunter2", name)
		}
		is, _ := os.ReadFile(tt.address)
		require.Equal(t, was, is, name)
	}
	got := ran(t.Context(), "", nil, "policy", "lint", foreign)
	require.Equal(t, exitRefused, got.status)
	require.Contains(t, got.err, "there is nothing of chansec in it")
}

// A policy may come out of a pipe, of which nothing can be read twice.
func TestAPolicyMayComeOutOfAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	file := filepath.Join("/dev/fd", strconv.Itoa(int(r.Fd())))
	if _, err := os.Stat(file); err != nil {
		t.Skip("there is no /dev/fd")
	}
	_, err = w.WriteString("set \"family\" path \"com\" permissions [call]\nassign roles \"greg\" [\"family\"]\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	got := ran(t.Context(), "", nil, "policy", "explain", file, "--kind", "wamp", "--as", "greg", "call", "com.door")
	require.Equal(t, exitDone, got.status, got.err)
}

func TestHowLongAnAnswerMayTake(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	env := []string{"CHANSEC_URL=ws://" + silent.Addr().String() + "/ws", "CHANSEC_USER=ann", "CHANSEC_SECRET=x"}
	got := ran(t.Context(), "", env, "user", "list", "--timeout", "50ms")
	require.Equal(t, answer{exitRefused, "", "chansec: there was no answer within 50ms; --timeout says how long to wait\n"}, got)
	for _, bad := range []string{"0", "-1s"} {
		got = ran(t.Context(), "", env, "user", "list", "--timeout", bad)
		require.Equal(t, exitMisused, got.status, bad)
		require.Contains(t, got.err, "--timeout", bad)
	}

	// Who types a secret may take longer than the router.
	synctest.Test(t, func(t *testing.T) {
		var out, failures bytes.Buffer
		p := &program{in: strings.NewReader(""), out: &out, err: &failures, env: func(string) string { return "" },
			open: func(*target, context.Context) (administrator, error) {
				<-time.After(time.Hour)
				return &timed{}, nil
			}}
		require.Equal(t, exitDone, p.run(t.Context(), []string{"user", "list", "--timeout", "10s"}), failures.String())
	})
}

// timed is an administration that answers if it has the time.
type timed struct{}

func (*timed) Close() error { return nil }
func (*timed) Do(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
	return json.RawMessage("[]"), ctx.Err()
}

// What is said on the command line goes before what is in the environment, and what contradicts is not chosen from.
func TestARouterOrADatabase(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "typo.db")
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"the variable":          {nil, "typo.db"},
		"the flag of a router":  {[]string{"--url", "ws://127.0.0.1:1/ws"}, "who are you?"},
		"the flag of another":   {[]string{"--database", missing + "2"}, "typo.db2"},
		"both flags contradict": {[]string{"--url", "ws://127.0.0.1:1/ws", "--database", missing}, "say either --url or --database"},
	} {
		got := ran(t.Context(), "", []string{"CHANSEC_DATABASE=" + missing}, append([]string{"user", "list"}, tt.args...)...)
		require.NotZero(t, got.status, name)
		require.Contains(t, got.err, tt.says, name)
	}
}

func TestWhatProvesNothingIsNoProof(t *testing.T) {
	dir := t.TempDir()
	got := ran(t.Context(), "", nil, "audit", "verify", dir)
	require.Equal(t, exitRefused, got.status, "somebody may have taken the whole trail away")
	require.Contains(t, got.err, "there are no records in it, which proves nothing")
	got = ran(t.Context(), "", nil, "audit", "query", dir, "--json")
	require.Equal(t, answer{exitDone, "[]\n", "chansec: " + quoted(dir) + ": there are no records in it at all\n"}, got)
}

func TestWordsOfFlagsAreExplained(t *testing.T) {
	key := filepath.Join(t.TempDir(), "k.jwk")
	require.Zero(t, ran(t.Context(), "", nil, "key", "new", "hs256", "--out", key).status)
	for line, want := range map[string]string{
		"token mint --subject a --role read --all-channels --expires 0 --key " + key: "--expires 0s: want a positive time",
		"audit query . --kind sesion": "did you mean session?",
		"audit query . --limit x":     "want a whole number",
		"user list --json=maybe":      "want true or false",
	} {
		got := ran(t.Context(), "", nil, strings.Fields(line)...)
		require.Equal(t, exitMisused, got.status, line)
		require.Contains(t, got.err, want, line)
	}
}

func TestWhatServeWouldIgnoreIsRefused(t *testing.T) {
	for _, args := range [][]string{{"--config", "c.yaml", "--listen", "127.0.0.1:0"}, {"--config", "c.yaml", "--database", "d.db"}, {"--demo", "--json"}} {
		got := ran(t.Context(), "", nil, append([]string{"serve"}, args...)...)
		require.Equal(t, exitMisused, got.status, "%v: %s", args, got.err)
	}
}

func TestWordsAreCompleted(t *testing.T) {
	for line, want := range map[string]string{
		"topicrole permission greg com|":    "call register subscribe publish admin",
		"topicrole add com ops --activity|": "call register subscribe publish admin",
		"activity list --action|":           "call register publish subscribe",
		"audit query trail --outcome|":      "allowed denied undecided",
		"audit query trail --kind|":         "decision session policy token trail",
		"token mint --role|":                "read write admin",
		"rules explain --section|":          "record event rpc presence",
		"key new ed25519 --format|":         "jwk pem",
		"policy explain p --match|":         "exact prefix wildcard",
		"user get|":                         "",
		"session kill --login|":             "",
		"router call|":                      "",
	} {
		got := ran(t.Context(), "", nil, append(append([]string{"__complete"}, strings.Fields(strings.TrimSuffix(line, "|"))...), "")...)
		words, directive, _ := strings.Cut(got.out, ":")
		require.Equal(t, want, strings.Join(strings.Fields(words), " "), line)
		require.Equal(t, "4\n", directive, "%s: no names of files instead", line)
	}
}
