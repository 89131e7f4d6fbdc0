package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/pgtest"
	"github.com/chansec/chansec/policy"
)

// quiet is for stores whose background is meant to fail.
var quiet = slog.New(slog.DiscardHandler)

func grant(t testing.TB, s *Store, role, path string) uint64 {
	t.Helper()
	require.NoError(t, s.Policy().Update(context.Background(), policy.Root(), func(tx *policy.Tx) error {
		return tx.Grant(role, path, "publish", "subscribe")
	}))
	return s.Policy().Version()
}

func member(t testing.TB, s *Store, principal string, roles ...string) uint64 {
	t.Helper()
	require.NoError(t, s.Policy().Update(context.Background(), policy.Root(), func(tx *policy.Tx) error {
		return tx.AssignRoles(principal, roles...)
	}))
	return s.Policy().Version()
}

func writes(t testing.TB, s *Store, principal, path string) bool {
	t.Helper()
	ok, err := s.Authorizer().AuthorizeWrite(context.Background(), principal, path)
	require.NoError(t, err)
	return ok
}

func within(t testing.TB, d time.Duration, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, d, time.Millisecond, what)
}

func TestWhatOneStoreChangesHoldsInTheOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		one, other := x.open(t, Options{}), x.open(t, Options{})
		grant(t, one, "r", "p")
		require.NoError(t, other.AtLeast(t.Context(), member(t, one, "ann", "r")))
		require.True(t, writes(t, other, "ann", "p.q"))
		require.False(t, writes(t, other, "ben", "p.q"))
		require.NoError(t, one.AtLeast(t.Context(), member(t, other, "ann")))
		require.False(t, writes(t, one, "ann", "p.q"))

		later := x.open(t, Options{})
		require.Equal(t, one.Policy().Version(), later.Policy().Version())
		require.Equal(t, one.Policy().Snapshot().Script(), later.Policy().Snapshot().Script())
	})
}

func TestAtLeastWaitsForNoLongerThanItIsTold(t *testing.T) {
	s := newStorage(t, SQLite).open(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.AtLeast(ctx, 1), context.DeadlineExceeded)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.AtLeast(t.Context(), 1), Closed)
}

// A notification that comes is worth more than the poll; whatever else comes does no harm.
func TestNotificationsMayBeLostLateDoubledOrWrong(t *testing.T) {
	x := newStorage(t, PostgreSQL)
	one, other := x.open(t, Options{}), x.open(t, Options{Poll: time.Hour, MaxStaleness: 2 * time.Hour})
	grant(t, one, "r", "p")
	within(t, 5*time.Second, "by notification alone", func() bool { return other.Policy().Version() == 1 })

	// Every change is told of twice, with revisions in any order, and with nonsense between.
	say := func(text string) {
		_, err := one.db.Exec("select pg_notify($1, $2)", channel, text)
		require.NoError(t, err)
	}
	for i := range 20 {
		is := member(t, one, "ann", []string{"r"}[:i%2]...)
		for _, text := range []string{fmt.Sprint("policy ", is), fmt.Sprint("policy ", is+7), "policy 1", "", "x", "policy -1"} {
			say(text)
		}
		within(t, 5*time.Second, "the same state", func() bool { return other.Policy().Version() == is })
		require.Equal(t, writes(t, one, "ann", "p"), writes(t, other, "ann", "p"))
	}
	require.NoError(t, other.fresh())

	// Where none comes there is the poll: this one has a single connection, and so hears none.
	db := x.raw(t)
	db.SetMaxOpenConns(1)
	deaf, err := Open(t.Context(), db, PostgreSQL, Options{Poll: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, deaf.Close()) })
	is := member(t, one, "ann")
	within(t, 5*time.Second, "by polling", func() bool { return deaf.Policy().Version() == is })
}

// What was compacted while a store was not looking reaches it as a whole.
func TestAGapIsFilled(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		one := x.open(t, Options{})
		slow, err := x.openWith(t.Context(), Options{Poll: time.Hour, MaxStaleness: 2 * time.Hour})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, slow.Close()) })
		slow.learning.Lock() // it looks at nothing
		for i := range 20 {
			grant(t, one, "r", fmt.Sprint("p", i))
		}
		require.NoError(t, one.Policy().Compact(t.Context()))
		last := member(t, one, "ann", "r")
		require.NoError(t, one.Policy().Compact(t.Context()))
		slow.learning.Unlock()
		require.NoError(t, slow.AtLeast(t.Context(), last))
		require.True(t, writes(t, slow, "ann", "p7"))
		require.Equal(t, one.Policy().Snapshot().Script(), slow.Policy().Snapshot().Script())
	})
}

// A hole in the log, or a log that ends before head says, is no state to go on with.
func TestADamagedLogIsNotFollowed(t *testing.T) {
	for name, damage := range map[string]string{
		"a hole":                   "delete from policy_change where revision = 2",
		"an end that is missing":   "delete from policy_change where revision = 3",
		"a head that went back":    "update head set revision = 1 where family = 'policy'",
		"a head that is gone":      "delete from head where family = 'policy'",
		"a script that is changed": "update policy_change set script = 'do as you like' where revision = 2",
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, x storage) {
				s := x.open(t, Options{Poll: 5 * time.Millisecond, MaxStaleness: 150 * time.Millisecond, Logger: quiet})
				grant(t, s, "r", "p")
				one := x.raw(t)
				s.learning.Lock()
				require.NoError(t, func() error {
					other, err := x.openWith(t.Context(), Options{})
					if err != nil {
						return err
					}
					grant(t, other, "r", "q")
					grant(t, other, "r", "s")
					return other.Close()
				}())
				if name == "a head that went back" || name == "a head that is gone" {
					s.learning.Unlock()
					require.NoError(t, s.AtLeast(t.Context(), 3))
					s.learning.Lock()
				}
				_, err := one.Exec(damage)
				require.NoError(t, err)
				s.learning.Unlock()
				within(t, busy, "denied", func() bool {
					ok, err := s.Authorizer().AuthorizeWrite(t.Context(), "ann", "p")
					return !ok && errors.Is(err, chansec.ErrUndecided)
				})
				_, err = x.openWith(t.Context(), Options{Logger: quiet})
				require.Error(t, err, "nor opened")
			})
		})
	}
}

// busy is added to what is measured against a clock, for a machine that does other things, too.
const busy = 5 * time.Second

// away checks what a store does while its database is away, and when it is back.
func away(t *testing.T, s *Store, leave, back func()) {
	grant(t, s, "r", "p")
	member(t, s, "ann", "r")
	lease := chansecLease(t, s)
	version := s.Authorizer().Version()

	began := time.Now()
	leave()
	left := time.Now()
	slow := left.Sub(began) > s.options.MaxStaleness/2
	served := 0
	within(t, 20*time.Second, "denied in the end", func() bool {
		ok, err := s.Authorizer().AuthorizeWrite(t.Context(), "ann", "p")
		if err == nil {
			require.True(t, ok, "the last good snapshot")
			served++
			return false
		}
		require.False(t, ok)
		require.ErrorIs(t, err, chansec.ErrUndecided)
		_, is := errors.AsType[*StaleError](err)
		require.True(t, is)
		return true
	})
	require.True(t, slow || served > 10, "for a while it serves")
	require.Less(t, time.Since(left), s.options.MaxStaleness+busy)
	require.NotEqual(t, version, s.Authorizer().Version())
	require.ErrorIs(t, lease(), chansec.ErrRevoked, "an open lease ends")
	ok, err := s.Authorizer().Decide(t.Context(), chansec.Request{Principal: chansec.Principal{SystemID: "ann"}, ChannelID: "p", Operation: chansec.OpWrite})
	require.False(t, ok.Allowed)
	require.Error(t, err)

	back()
	within(t, 30*time.Second, "it comes back by itself", func() bool {
		ok, err := s.Authorizer().AuthorizeWrite(t.Context(), "ann", "p")
		return ok && err == nil
	})
	member(t, s, "ann")
	require.False(t, writes(t, s, "ann", "p"))
}

// chansecLease opens a lease for ann on p, and returns how it ended.
func chansecLease(t *testing.T, s *Store) func() error {
	security, err := chansec.Join(&chansec.OpenSecurity{}, s.Authorizer(), &chansec.OpenSecurity{})
	require.NoError(t, err)
	ch, err := chansec.NewBroadcast[int]("p", chansec.WithSecurity(security))
	require.NoError(t, err)
	require.NoError(t, ch.Start(t.Context()))
	t.Cleanup(func() { _ = ch.Close() })
	lease, err := ch.As("ann").Subscribe(t.Context())
	require.NoError(t, err)
	return func() error {
		for _, err := range lease.Messages(t.Context()) {
			return err
		}
		return nil
	}
}

func TestPostgreSQLMayGoAwayAndComeBack(t *testing.T) {
	server := pgtest.New(t)
	for _, crash := range []bool{false, true} {
		x := storage{PostgreSQL, server.Database(t)}
		s := x.open(t, Options{Poll: 20 * time.Millisecond, MaxStaleness: 500 * time.Millisecond, Logger: quiet})
		away(t, s, func() { server.Stop(t, crash) }, func() { server.Start(t) })
	}
}

// A network that swallows everything is worse than one that says no: nothing fails, and nothing comes.
func TestPostgreSQLMayFallSilent(t *testing.T) {
	where, err := url.Parse(pgtest.Database(t))
	require.NoError(t, err)
	p := newProxy(t, where.Host)
	where.Host = p.listener.Addr().String()
	s := storage{PostgreSQL, where.String()}.open(t, Options{Poll: 20 * time.Millisecond, MaxStaleness: 500 * time.Millisecond, Logger: quiet})
	away(t, s, p.silence, p.restore)
}

// proxy passes bytes on until it is silenced; then it keeps connections and passes nothing.
type proxy struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	silent   chan struct{} // open while it is silent; nil otherwise
	conns    []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, to: to}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, c, d)
			p.mu.Unlock()
			for _, x := range [][2]net.Conn{{c, d}, {d, c}} {
				wg.Go(func() { p.pass(x[0], x[1]) })
			}
		}
	})
	t.Cleanup(func() {
		p.restore()
		_ = l.Close()
		wg.Wait()
	})
	return p
}

func (p *proxy) pass(from, to net.Conn) {
	defer func() { _ = errors.Join(from.Close(), to.Close()) }()
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		silent := p.silent
		p.mu.Unlock()
		if silent != nil {
			<-silent
			return
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = make(chan struct{})
}

// restore lets new connections through; those that were silenced are lost.
func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent != nil {
		close(p.silent)
		p.silent = nil
	}
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// A file does not go away; what can be wrong with it is that it cannot be read as what it was.
func TestSQLiteMayBecomeUnreadable(t *testing.T) {
	x := newStorage(t, SQLite)
	s := x.open(t, Options{Poll: 20 * time.Millisecond, MaxStaleness: 500 * time.Millisecond, Logger: quiet})
	db := x.raw(t)
	away(t, s, func() {
		_, err := db.Exec("alter table head rename to gone")
		require.NoError(t, err)
	}, func() {
		_, err := db.Exec("alter table gone rename to head")
		require.NoError(t, err)
	})
}
