package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestABarIsShownOnceSomethingTakesLongerThanASecond(t *testing.T) {
	shown := func(takes time.Duration, total int64, done int) string {
		var out bytes.Buffer
		synctest.Test(t, func(*testing.T) {
			b := &progress{stop: make(chan struct{}), ended: make(chan struct{})}
			go b.show(&out, "verifying", total)
			b.add(done)
			time.Sleep(takes)
			b.end()
		})
		return out.String()
	}
	require.Empty(t, shown(900*time.Millisecond, 1000, 500))
	bar := shown(2*time.Second, 1000, 500)
	require.Contains(t, bar, "verifying")
	require.Contains(t, bar, "50%")
	require.Contains(t, shown(2*time.Second, 1000, 5000), "99%", "it is full only when all is over")
	require.Contains(t, shown(2*time.Second, -1, 0), "verifying")
}

func TestWhereThereIsNoTerminalThereIsNoBar(t *testing.T) {
	var out bytes.Buffer
	b := (&program{err: &out, env: func(string) string { return "" }}).progress("verifying", 10)
	b.add(1)
	b.end()
	require.Empty(t, out.String())
}

func TestAWatchedFolderIsOneStill(t *testing.T) {
	folder := fstest.MapFS{"a": {Data: []byte("12345")}, "b/c": {Data: []byte("678")}}
	b := &progress{}
	require.NoError(t, fstest.TestFS(watchedFS{folder, b}, "a", "b/c"))
	require.Positive(t, b.done.Load())
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), make([]byte, 100), 0o600))
	require.EqualValues(t, 100, folderBytes(dir))
	require.Zero(t, folderBytes(filepath.Join(dir, "nowhere")))
}
