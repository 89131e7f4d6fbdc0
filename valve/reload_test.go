package valve_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
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
	file := filepath.Join(t.TempDir(), "permissions.json")
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

func TestWatchLoadsWhatHasSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, write, may := openRules(t)
		ctx, stop := context.WithCancel(t.Context())
		var told []error
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.Watch(ctx, time.Second, func(err error) { told = append(told, err) }) })
		after := func(d time.Duration) {
			time.Sleep(d) // in the bubble
			synctest.Wait()
		}
		after(2500 * time.Millisecond)
		told = nil
		write(fileFor(`false`))
		after(time.Second)
		require.True(t, may(), "it may be half of a file")
		after(time.Second)
		require.False(t, may())
		require.Equal(t, []error{nil}, told)
		write([]byte("{"))
		after(5 * time.Second)
		require.Len(t, told, 2, "once")
		require.ErrorAs(t, told[1], new(*valve.LoadError))
		require.False(t, may())
		write(fileFor(`true`))
		after(3 * time.Second)
		require.True(t, may())
		stop()
		wg.Wait()
	})
}

func TestRulesWithoutAFileAreNotReloaded(t *testing.T) {
	r := newRules(t, valve.Config{Permissions: permit(t, nil), Channels: []valve.Binding{{Channels: "*", Section: valve.Event}}})
	require.ErrorIs(t, r.Reload(), chansec.ErrInvalid)
	require.ErrorIs(t, r.Watch(t.Context(), time.Second, func(error) {}), chansec.ErrInvalid)
	require.ErrorIs(t, r.Replace(nil), chansec.ErrInvalid)
}
