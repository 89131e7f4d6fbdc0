package audit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What makes this test binary a process that records until it is killed: where, and how.
const (
	killedDir = "CHANSEC_AUDIT_WRITES_TO"
	killedHow = "CHANSEC_AUDIT_WRITES_HOW"
)

const killedWriters = 4

// TestKilledWritersLoseAtMostTheirQueue kills a recording process again and again. CHANSEC_AUDIT_KILLS sets how often.
//
// The process says for each record that it was taken; a file has all of these. Where there is a queue before it, the process
// says how far each writer was when the queue had been flushed; the file has all up to there, and of what follows a beginning.
func TestKilledWritersLoseAtMostTheirQueue(t *testing.T) {
	if dir := os.Getenv(killedDir); dir != "" {
		recordUntilKilled(t, dir, os.Getenv(killedHow))
		return
	}
	kills := 3
	if s := os.Getenv("CHANSEC_AUDIT_KILLS"); s != "" {
		var err error
		kills, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	for _, how := range []string{"sync", "lazy", "async"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			safe := make([]int, killedWriters) // how many records of each writer must be there
			for round := range kills {
				for w, n := range killOne(t, dir, how, 20+17*round) {
					safe[w] = max(safe[w], n)
				}
				c := killedConfig(dir, "sync")
				f := openTest(t, c)
				require.NoError(t, f.Close())
				requireVerified(t, dir, testKey, new(f.Head()))
				next := make([]int, killedWriters)
				for _, who := range principals(t, dir) {
					var w, n int
					_, err := fmt.Sscanf(who, "writer %d record %d", &w, &n)
					require.NoError(t, err)
					require.Equal(t, next[w], n, "of writer %d nothing is missing before the end, or there twice", w)
					next[w]++
				}
				for w := range next {
					require.GreaterOrEqual(t, next[w], safe[w], "writer %d lost records that were taken", w)
				}
				safe = next
			}
		})
	}
}

// killOne starts a process, kills it after some lines, and returns how many records of each writer it said were safe.
func killOne(t *testing.T, dir, how string, after int) (safe map[int]int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWritersLoseAtMostTheirQueue$")
	cmd.Env = append(os.Environ(), killedDir+"="+dir, killedHow+"="+how)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	safe = map[int]int{}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == after {
			require.NoError(t, cmd.Process.Kill())
		}
		if !strings.HasSuffix(lines.Text(), ".") { // cut off by the kill
			continue
		}
		var w, records int
		_, err := fmt.Sscanf(lines.Text(), "safe %d %d.", &w, &records)
		require.NoError(t, err, lines.Text())
		safe[w] = records
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // killed
	require.NotEmpty(t, safe)
	return safe
}

func killedConfig(dir, how string) FileConfig {
	c := FileConfig{Dir: dir, Key: testKey, MaxFileBytes: 1 << 16}
	if how != "sync" {
		c.SyncEvery = 50 * time.Millisecond
	}
	return c
}

func recordUntilKilled(t *testing.T, dir, how string) {
	next := make([]int, killedWriters)
	for _, who := range principals(t, dir) {
		var w, n int
		_, err := fmt.Sscanf(who, "writer %d record %d", &w, &n)
		require.NoError(t, err)
		next[w] = n + 1
	}
	f := openTest(t, killedConfig(dir, how))
	ctx := context.Background()
	ends := time.Now().Add(time.Minute)
	var all sync.WaitGroup
	for w := range killedWriters {
		all.Go(func() {
			var sink Sink = f
			var queue *Async
			if how == "async" {
				var err error
				if queue, err = NewAsync(f, 0); err != nil {
					panic(err)
				}
				sink = queue
			}
			for n := next[w]; time.Now().Before(ends); n++ {
				if err := sink.Record(ctx, login(fmt.Sprintf("writer %d record %d", w, n))); err != nil {
					panic(err)
				}
				if queue != nil {
					if n%100 != 0 {
						continue
					}
					if err := queue.Flush(ctx); err != nil {
						panic(err)
					}
				}
				fmt.Printf("safe %d %d.\n", w, n+1)
			}
		})
	}
	all.Wait()
}
