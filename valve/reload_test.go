package valve_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/valve"
)

func fileFor(rule string) []byte {
	return []byte(`{"record": {"*": {}}, "rpc": {"*": {}}, "presence": {"*": {}}, "event": {"*": {"publish": ` + rule + `}}}`)
}

func openRules(t *testing.T) (r *valve.Rules, write func([]byte), may func() bool) {
	return openRulesIn(t, filepath.Join(t.TempDir(), "permissions.json"))
}

func openRulesIn(t *testing.T, file string) (r *valve.Rules, write func([]byte), may func() bool) {
	write = func(text []byte) { require.NoError(t, os.WriteFile(file, text, 0o600)) }
	write(fileFor(`"name.includes('a')"`))
	r, err := valve.Open(file, valve.Config{Channels: []valve.Binding{{Channels: "*", Section: valve.Event}}},
		valve.TimeLimit(time.Minute)) // the machine of the test may be slow
	require.NoError(t, err)
	return r, write, func() bool {
		d, err := r.Decide(t.Context(), chansec.Request{Principal: chansec.Principal{SystemID: "x"}, ChannelID: "a", Operation: chansec.OpWrite})
		require.NoError(t, err)
		require.Equal(t, r.Version(), d.Version)
		return d.Allowed
	}
}

func TestABrokenFileKeepsTheLastGoodRules(t *testing.T) {
	r, write, may := openRules(t)
	require.True(t, may())
	for _, broken := range [][]byte{nil, []byte("{"), fileFor(`"name.slice(1)"`), fileFor(`"1 < 2 < 3"`), fileFor(`"("`)} {
		write(broken)
		before, changed := r.Version(), r.Changed()
		require.ErrorAs(t, r.Reload(), new(*valve.LoadError))
		require.Equal(t, before, r.Version())
		require.True(t, may())
		select {
		case <-changed:
			require.Fail(t, "nothing has changed")
		default:
		}
	}
	changed := r.Changed()
	write(fileFor(`"name.includes('b')"`))
	require.NoError(t, r.Reload())
	<-changed
	require.False(t, may())
}

func TestReloadsLeaveNoGap(t *testing.T) {
	r, write, may := openRules(t)
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				d, err := r.Decide(context.Background(), chansec.Request{Principal: chansec.Principal{SystemID: "x"}, ChannelID: "ab", Operation: chansec.OpWrite})
				if err != nil || !d.Allowed {
					t.Error(d, err)
					return
				}
			}
		})
	}
	for range 20 {
		write(fileFor(`"name.includes('b') || name.includes('a')"`))
		require.NoError(t, r.Reload())
		write(fileFor(`"name.includes('a')"`))
		require.NoError(t, r.Reload())
	}
	stop()
	wg.Wait()
	require.True(t, may())
}

// TestNoReloadOvertakesALaterOne: what was read earlier is never put in force later.
func TestNoReloadOvertakesALaterOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "permissions.json")
	r, _, _ := openRulesIn(t, file)
	may := func() bool {
		d, err := r.Decide(t.Context(), chansec.Request{Principal: chansec.Principal{SystemID: "x"}, ChannelID: "a", Operation: chansec.OpWrite})
		require.NoError(t, err)
		return d.Allowed
	}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer wg.Wait()
	defer stop()
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := r.Reload(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 10 {
		text := fileFor("false")
		if i%2 == 0 { // this one takes longer to load
			text = fileFor("true}, " + strings.Repeat(`"x": {}, `, 5000) + `"y": {"publish": true`)
		}
		require.NoError(t, os.WriteFile(file+"~", text, 0o600))
		require.NoError(t, os.Rename(file+"~", file))
		require.NoError(t, r.Reload())
		for enough := r.Version() + 6; r.Version() < enough; {
			require.Equal(t, i%2 == 0, may())
		}
	}
}

// watching is rules that are watched, in a bubble, with a second between two looks.
type watching struct {
	*testing.T
	file  string
	write func([]byte)
	may   func() bool
	mu    sync.Mutex
	told  []error
}

// heard is what was told since it was asked last.
func (w *watching) heard() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

func (w *watching) tell(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, err)
}

// watch runs a test on a watched file that lies in the directory of a symbolic link; at first the file permits.
func watch(t *testing.T, f func(w *watching)) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "v1"), 0o700))
		require.NoError(t, os.Symlink("v1", filepath.Join(dir, "now")))
		w := &watching{T: t, file: filepath.Join(dir, "now", "permissions.json")}
		var r *valve.Rules
		r, w.write, w.may = openRulesIn(t, w.file)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.Watch(ctx, time.Second, w.tell) })
		w.after(2500 * time.Millisecond)
		require.Equal(t, []error{nil}, w.heard(), "what there is at first")
		f(w)
		stop()
		wg.Wait()
	})
}

func (w *watching) after(d time.Duration) {
	time.Sleep(d) // in the bubble
	synctest.Wait()
}

func (w *watching) dir() string { return filepath.Dir(filepath.Dir(w.file)) }

func TestWatchSeesEveryWayToChangeAFile(t *testing.T) {
	for name, change := range map[string]func(w *watching){
		"written in place": func(w *watching) { w.write(fileFor("false")) },
		"another one renamed over it, as editors do": func(w *watching) {
			require.NoError(w, os.WriteFile(w.file+"~", fileFor("false"), 0o600))
			require.NoError(w, os.Rename(w.file+"~", w.file))
		},
		"moved away and written anew": func(w *watching) {
			require.NoError(w, os.Rename(w.file, w.file+"~"))
			w.after(time.Second)
			w.write(fileFor("false"))
		},
		"the directory exchanged by a symbolic link, as Kubernetes does": func(w *watching) {
			v2 := filepath.Join(w.dir(), "v2")
			require.NoError(w, os.Mkdir(v2, 0o700))
			require.NoError(w, os.WriteFile(filepath.Join(v2, "permissions.json"), fileFor("false"), 0o600))
			require.NoError(w, os.Symlink("v2", filepath.Join(w.dir(), "next")))
			require.NoError(w, os.Rename(filepath.Join(w.dir(), "next"), filepath.Join(w.dir(), "now")))
		},
		"size and time as before": func(w *watching) {
			before, err := os.Stat(w.file)
			require.NoError(w, err)
			w.write(fileFor(`"name.includes('b')"`))
			require.NoError(w, os.Chtimes(w.file, before.ModTime(), before.ModTime()))
			after, err := os.Stat(w.file)
			require.NoError(w, err)
			require.Equal(w, before.Size(), after.Size())
			require.Equal(w, before.ModTime(), after.ModTime())
		},
		"written in two parts": func(w *watching) {
			whole := fileFor("false")
			w.write(whole[:len(whole)/2])
			w.after(time.Second)
			w.write(whole)
		},
		"emptied first": func(w *watching) {
			w.write(nil)
			w.after(time.Second)
			w.write(fileFor("false"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			watch(t, func(w *watching) {
				change(w)
				require.True(t, w.may(), "not yet")
				w.after(2 * time.Second)
				require.False(t, w.may())
				w.after(5 * time.Second)
				require.Equal(t, []error{nil}, w.heard(), "once, and of nothing on the way there")
			})
		})
	}
}

// TestWatchKeepsTheRulesOfAFileThatIsGone: and says so, once, and when it is back.
func TestWatchKeepsTheRulesOfAFileThatIsGone(t *testing.T) {
	for name, tt := range map[string]struct {
		take func(w *watching)
		give func(w *watching)
		want string
	}{
		"removed": {
			func(w *watching) { require.NoError(w, os.Remove(w.file)) },
			func(*watching) {}, "no such file",
		},
		"not permitted to be read": {
			func(w *watching) {
				if os.Geteuid() == 0 {
					w.Skip("root may read everything")
				}
				require.NoError(w, os.Chmod(w.file, 0))
			},
			func(w *watching) { require.NoError(w, os.Chmod(w.file, 0o600)) }, "permission denied",
		},
		"a directory in its place": {
			func(w *watching) {
				require.NoError(w, os.Remove(w.file))
				require.NoError(w, os.Mkdir(w.file, 0o700))
			},
			func(w *watching) { require.NoError(w, os.Remove(w.file)) }, "no regular file",
		},
		"a pipe in its place, which nobody writes to": {
			func(w *watching) {
				require.NoError(w, os.Remove(w.file))
				require.NoError(w, syscall.Mkfifo(w.file, 0o600))
			},
			func(w *watching) { require.NoError(w, os.Remove(w.file)) }, "no regular file",
		},
		"a symbolic link to itself": {
			func(w *watching) {
				require.NoError(w, os.Remove(w.file))
				require.NoError(w, os.Symlink("permissions.json", w.file))
			},
			func(w *watching) { require.NoError(w, os.Remove(w.file)) }, "too many",
		},
		"broken": {
			func(w *watching) { w.write([]byte("{")) },
			func(*watching) {}, "ends too early",
		},
		"larger than it may be": {
			func(w *watching) { w.write(make([]byte, 9<<20)) },
			func(*watching) {}, "at most 8 MiB",
		},
	} {
		t.Run(name, func(t *testing.T) {
			watch(t, func(w *watching) {
				tt.take(w)
				w.after(9 * time.Second)
				require.True(t, w.may(), "the last good rules")
				told := w.heard()
				require.Len(t, told, 1)
				require.ErrorContains(t, told[0], tt.want)
				tt.give(w)
				w.write(fileFor(`"name.includes('a')"`)) // as it was
				w.after(3 * time.Second)
				require.True(t, w.may())
				require.Equal(t, []error{nil}, w.heard(), "it is well again")
				w.write(fileFor("false"))
				w.after(3 * time.Second)
				require.False(t, w.may())
			})
		})
	}
}

func TestRulesWithoutAFileAreNotReloaded(t *testing.T) {
	r := newRules(t, valve.Config{Permissions: permit(t, nil), Channels: []valve.Binding{{Channels: "*", Section: valve.Event}}})
	require.ErrorIs(t, r.Reload(), chansec.ErrInvalid)
	require.ErrorIs(t, r.Watch(t.Context(), time.Second, func(error) {}), chansec.ErrInvalid)
	require.ErrorIs(t, r.Replace(nil), chansec.ErrInvalid)
}
