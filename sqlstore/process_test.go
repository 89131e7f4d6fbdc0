package sqlstore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/policy"
)

// processEnv makes this test binary another process: what it does, the number of a dialect, and where the database is, with
// bars between.
const processEnv = "CHANSEC_SQL_PROCESS"

func TestMain(m *testing.M) {
	if text := os.Getenv(processEnv); text != "" {
		parts := strings.SplitN(text, "|", 3)
		d, err := strconv.Atoi(parts[1])
		if err == nil {
			err = processes[parts[0]](context.Background(), storage{Dialect(d), parts[2]})
		}
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var processes = map[string]func(context.Context, storage) error{"write": write, "read": read, "watch": watch, "watch deaf": watchDeaf}

// process is one that was started.
type process struct {
	*exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

func (x storage) start(t *testing.T, what string) *process {
	p := &process{Cmd: exec.Command(os.Args[0])}
	p.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d|%s", processEnv, what, x.dialect, x.where))
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	p.lines = bufio.NewScanner(out)
	p.in, err = p.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
	return p
}

// line returns the number in the next line, which begins with a word.
func (p *process) line(t *testing.T, word string) int64 {
	t.Helper()
	require.True(t, p.lines.Scan(), "%v", p.lines.Err())
	rest, ok := strings.CutPrefix(p.lines.Text(), word+" ")
	require.True(t, ok, p.lines.Text())
	n, err := strconv.ParseInt(rest, 10, 64)
	require.NoError(t, err)
	return n
}

// kill ends a process at once, and returns what it said before. A line that was cut off is none.
func (p *process) kill() (said []string) {
	_ = p.Process.Kill()
	for p.lines.Scan() {
		said = append(said, p.lines.Text())
	}
	_ = p.Wait()
	return said
}

// The changes of the writer: each is two grants, at two paths.
func bothGrants(n uint64) (one, other string) { return fmt.Sprint("a.c", n), fmt.Sprint("b.c", n) }

func write(ctx context.Context, x storage) error {
	s, err := x.openWith(ctx, Options{})
	if err != nil {
		return err
	}
	for {
		n := s.Policy().Version() + 1
		err := s.Policy().Update(ctx, policy.Root(), func(tx *policy.Tx) error {
			one, other := bothGrants(n)
			_ = tx.Grant("r", one, "publish")
			return tx.Grant("r", other, "publish")
		})
		if err != nil {
			return err
		}
		fmt.Println("acknowledged", n)
		if n%40 == 0 {
			if err := s.Policy().Compact(ctx); err != nil {
				return err
			}
		}
	}
}

// whole checks that a snapshot is all changes up to its revision, each wholly.
func whole(s *policy.Snapshot) error {
	for n := uint64(1); n <= s.Revision()+1; n++ {
		one, other := bothGrants(n)
		_, _, x := s.Assigned("r", one)
		_, _, y := s.Assigned("r", other)
		if is := n <= s.Revision(); x != is || y != is {
			return fmt.Errorf("change %d of %d: %v, %v", n, s.Revision(), x, y)
		}
	}
	return nil
}

func read(ctx context.Context, x storage) error {
	s, err := x.openWith(ctx, Options{Poll: 5 * time.Millisecond})
	if err != nil {
		return err
	}
	for {
		changed := s.Policy().Changed()
		is := s.Policy().Snapshot()
		if err := whole(is); err != nil {
			return err
		}
		fmt.Println("seen", is.Revision())
		<-changed
	}
}

// TestKilledProcessesLoseNothing kills a writer and a reader again and again. CHANSEC_SQL_KILLS sets how often.
func TestKilledProcessesLoseNothing(t *testing.T) {
	kills := 3
	if text := os.Getenv("CHANSEC_SQL_KILLS"); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	onBoth(t, func(t *testing.T, x storage) {
		for round := range kills {
			writer, reader := x.start(t, "write"), x.start(t, "read")
			last := int64(0)
			for range 1 + rand.IntN(60) {
				last = writer.line(t, "acknowledged")
			}
			victims := []*process{writer, reader}
			if round%2 == 1 {
				slices.Reverse(victims)
			}
			for _, p := range victims {
				for _, text := range p.kill() {
					require.NotContains(t, text, "error")
					var n int64
					if _, err := fmt.Sscanf(text, "acknowledged %d", &n); err == nil {
						last = max(last, n)
					}
				}
			}
			s, err := x.openWith(t.Context(), Options{})
			require.NoError(t, err)
			require.GreaterOrEqual(t, s.Policy().Version(), uint64(last), "an acknowledged change is lost")
			require.NoError(t, whole(s.Policy().Snapshot()))
			sameAsTables(t, s)
			var n, least, most uint64
			require.NoError(t, s.db.QueryRow("select count(*), min(revision), max(revision) from policy_change").Scan(&n, &least, &most))
			require.Equal(t, most-least+1, n, "revisions are dense")
			require.Equal(t, s.Policy().Version(), most)
			require.NoError(t, s.Close())
		}
	})
}

// watch says when ann may no more write p, for each line of its input. It hears notifications alone.
func watch(ctx context.Context, x storage) error {
	return watchWith(ctx, x, Options{Poll: time.Hour, MaxStaleness: 2 * time.Hour}, 0)
}

// testPoll is the interval of those who hear no notification.
const testPoll = 100 * time.Millisecond

func watchDeaf(ctx context.Context, x storage) error {
	return watchWith(ctx, x, Options{Poll: testPoll}, 1)
}

func watchWith(ctx context.Context, x storage, o Options, connections int) error {
	var s *Store
	var err error
	if connections > 0 {
		db, e := x.database()
		if e != nil {
			return e
		}
		db.SetMaxOpenConns(connections)
		s, err = Open(ctx, db, x.dialect, o)
	} else {
		s, err = x.openWith(ctx, o)
	}
	if err != nil {
		return err
	}
	until := func(want bool) error {
		for {
			changed := s.Policy().Changed()
			if ok, err := s.Authorizer().AuthorizeWrite(ctx, "ann", "p"); err != nil || ok == want {
				return err
			}
			<-changed
		}
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := until(true); err != nil {
			return err
		}
		fmt.Println("ready", 0)
		if err := until(false); err != nil {
			return err
		}
		fmt.Println("cut", time.Now().UnixNano())
	}
	return nil
}

// A revocation by one process is in force in two others within the delay of a notification, or, where none comes, within the
// poll interval.
func TestARevocationIsLateByNoMoreThanStated(t *testing.T) {
	for name, tt := range map[string]struct {
		dialect Dialect
		what    string
		bound   time.Duration
	}{
		"PostgreSQL with notifications":    {PostgreSQL, "watch", 0},
		"PostgreSQL with none that arrive": {PostgreSQL, "watch deaf", testPoll},
		"SQLite":                           {SQLite, "watch deaf", testPoll},
	} {
		t.Run(name, func(t *testing.T) {
			x := newStorage(t, tt.dialect)
			s := x.open(t, Options{})
			grant(t, s, "r", "p")
			member(t, s, "ann", "r")
			others := []*process{x.start(t, tt.what), x.start(t, tt.what)}
			var late []time.Duration
			for range 5 {
				member(t, s, "ann", "r")
				for _, p := range others {
					_, err := io.WriteString(p.in, "\n")
					require.NoError(t, err)
					p.line(t, "ready")
				}
				member(t, s, "ann")
				revoked := time.Now()
				for _, p := range others {
					late = append(late, time.Unix(0, p.line(t, "cut")).Sub(revoked))
				}
			}
			slices.Sort(late)
			t.Logf("late by %v to %v, median %v", late[0], late[len(late)-1], late[len(late)/2])
			require.Less(t, late[len(late)-1], tt.bound+busy)
		})
	}
}
