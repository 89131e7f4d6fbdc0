package wampauth_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/wampauth"
)

// crowdedLog is a log that has no room for what must not be left out, while it is full.
type crowdedLog struct {
	*audit.Ring
	full    atomic.Bool
	refused atomic.Int64
}

func (c *crowdedLog) Record(ctx context.Context, r audit.Record) error {
	if c.full.Load() && (r.Kind != audit.KindDecision || r.Outcome != chansec.Allowed) {
		c.refused.Add(1)
		return audit.ErrFull
	}
	return c.Ring.Record(ctx, r)
}

func newCrowded(t *testing.T) (*world, *crowdedLog) {
	trail := &crowdedLog{}
	w := newWorld(t, func(c *wampauth.Config) {
		trail.Ring, c.Activity, c.RequireActivity = c.Activity.(*audit.Ring), trail, true
	})
	t.Cleanup(func() { trail.full.Store(false) }) // before the guard is closed
	return w, trail
}

// of counts the records about a login that a condition holds for.
func (c *crowdedLog) of(login string, is func(audit.Record) bool) (n int) {
	for r, err := range c.Records(context.Background(), audit.Filter{}) {
		if err == nil && (r.Principal == login || r.Target == login) && is(r) {
			n++
		}
	}
	return n
}

func denied(r audit.Record) bool {
	return r.Kind == audit.KindDecision && r.Outcome == chansec.Denied
}

// Who is refused while the log has no room is closed, and delays nobody: neither by what they are denied, nor by leaving.
func TestWhoIsDeniedMoreThanCanBeRecordedIsClosed(t *testing.T) {
	w, trail := newCrowded(t)
	w.grant("ann", "publish", "com")
	w.grant("ben", "subscribe", "com")
	w.grant("pip", "subscribe", "com")
	ann, ben, pip := w.login("ann"), w.login("ben"), w.login("pip")
	heard, unheard := make(chan *wamp.Event, 10), make(chan *wamp.Event, 10)
	require.NoError(t, doSubscribe(ben, "com.x", "", heard))
	require.NoError(t, doSubscribe(pip, "com.x", "", unheard))

	trail.full.Store(true)
	refused(t, doPublish(pip, "org"))
	_ = pip.Publish("org", wamp.Dict{}, nil, nil)
	ends(t, pip, "wamp.close.killed")
	for range 20 {
		require.NoError(t, doPublish(ann, "com.x"), "nobody waits for pip")
		arrives(t, heard, "com.x")
	}
	require.Zero(t, trail.of("pip", denied))
	trail.full.Store(false)
	eventually(t, "what was denied is recorded, once", func() bool { return trail.of("pip", denied) == 1 })
	eventually(t, "and the end of the session", func() bool {
		return trail.of("pip", func(r audit.Record) bool { return r.Operation == audit.OpLogout }) == 1
	})
	again := w.login("pip")
	refused(t, doPublish(again, "org"))
	require.Equal(t, 2, trail.of("pip", denied))
}

func TestALogWithoutRoomKeepsNobodyFromKickingAndLeaving(t *testing.T) {
	w, trail := newCrowded(t)
	ann, ben := w.login("ann"), w.login("ben")
	trail.full.Store(true)
	require.NoError(t, w.guard.KickSession(number(ann), "root", "enough"))
	ends(t, ann, "wamp.close.killed")
	require.NoError(t, ben.Close())
	eventually(t, "both are gone", func() bool {
		open, err := w.guard.Numbers(t.Context())
		return err == nil && len(open) == 0
	})
	eventually(t, "their records wait", func() bool { return trail.refused.Load() > 2 })
	trail.full.Store(false)
	for _, tt := range []struct {
		who string
		op  chansec.Operation
	}{{"root", audit.OpKick}, {"ann", audit.OpLogout}, {"ben", audit.OpLogout}} {
		eventually(t, string(tt.op)+" of "+tt.who, func() bool {
			return trail.of(tt.who, func(r audit.Record) bool { return r.Operation == tt.op }) == 1
		})
	}
}

// A login is not let in before it is recorded.
func TestALoginWaitsForRoomInTheLog(t *testing.T) {
	w, trail := newCrowded(t)
	w.user("ann")
	trail.full.Store(true)
	in := make(chan error, 1)
	go func() {
		c, err := w.connect("ann", byKey(keyOf(t, "ann")))
		if err == nil {
			defer func() { _ = c.Close() }()
		}
		in <- err
	}()
	eventually(t, "it was tried twice", func() bool { return trail.refused.Load() > 1 })
	select {
	case err := <-in:
		require.Fail(t, "it is let in", err)
	default:
	}
	trail.full.Store(false)
	require.NoError(t, <-in)
	require.Equal(t, 1, trail.of("ann", func(r audit.Record) bool { return r.Operation == audit.OpLogin }))
}

func TestCloseSaysThatRecordsAreLeft(t *testing.T) {
	w, trail := newCrowded(t)
	w.login("ann")
	trail.full.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := w.guard.Close(ctx)
	require.ErrorIs(t, err, chansec.ErrAudit)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
