package pgtest

import (
	"bufio"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ask runs SQL in a database.
func ask(t *testing.T, database, sql string) (string, error) {
	s, err := shared()
	require.NoError(t, err)
	out, err := exec.Command(filepath.Join(s.bin, "psql"), "-At", "-c", sql, database).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestEveryDatabaseIsEmpty(t *testing.T) {
	x, y := Database(t), Database(t)
	_, err := ask(t, x, "create table a (b text)")
	require.NoError(t, err)
	got, err := ask(t, x, "select count(*) from a")
	require.NoError(t, err)
	require.Equal(t, "0", got)
	_, err = ask(t, y, "select count(*) from a")
	require.Error(t, err)
}

func TestAServerIsDurableAndTakesNobodyWithoutThePassword(t *testing.T) {
	db := Database(t)
	got, err := ask(t, db, "show fsync")
	require.NoError(t, err)
	if os.Getenv(fsyncEnv) != "off" {
		require.Equal(t, "on", got)
	}
	u, err := url.Parse(db)
	require.NoError(t, err)
	u.User = url.UserPassword(superuser, "wrong")
	got, err = ask(t, u.String(), "select 1")
	require.Error(t, err)
	require.Contains(t, got, "password authentication failed")
}

// diesEnv makes this test binary a process that starts a server, says which, and waits to be killed.
const diesEnv = "CHANSEC_PGTEST_DIES"

func TestAServerEndsWithAProcessThatIsKilled(t *testing.T) {
	if os.Getenv(diesEnv) != "" {
		s, err := start()
		require.NoError(t, err)
		_, _ = os.Stdout.WriteString("dir " + s.dir + "\naddress " + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) + "\n")
		select {}
	}
	Database(t) // skips without a server
	cmd := exec.Command(os.Args[0], "-test.run=^TestAServerEndsWithAProcessThatIsKilled$")
	cmd.Env = append(os.Environ(), diesEnv+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var dir, address string
	for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
		dir = after(dir, lines.Text(), "dir ")
		address = after(address, lines.Text(), "address ")
	}
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool {
		_, gone := os.Stat(dir)
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return os.IsNotExist(gone) && err != nil
	}, 20*time.Second, 20*time.Millisecond)
}

func after(was, line, prefix string) string {
	if rest, ok := strings.CutPrefix(line, prefix); ok {
		return rest
	}
	return was
}

func TestAServerThatWasStoppedComesBackWithWhatItHad(t *testing.T) {
	s := New(t)
	db := s.Database(t)
	_, err := ask(t, db, "create table a (b text); insert into a values ('kept')")
	require.NoError(t, err)
	for _, crash := range []bool{false, true} {
		s.Stop(t, crash)
		_, err = ask(t, db, "select b from a")
		require.Error(t, err)
		s.Start(t)
		got, err := ask(t, db, "select b from a")
		require.NoError(t, err)
		require.Equal(t, "kept", got)
	}
}
