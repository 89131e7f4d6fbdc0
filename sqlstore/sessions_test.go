package sqlstore

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

// node opens a store as another process would.
func (x storage) node(t *testing.T, name string) *Store {
	o := quickly()
	o.Node = name
	return x.open(t, o)
}

// kicks collects what a node is told.
type kicks struct {
	mu   sync.Mutex
	list []Kick
}

func follow(s *Store) *kicks {
	k := &kicks{}
	s.Sessions().OnKick(func(x Kick) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.list = append(k.list, x)
	})
	return k
}

func (k *kicks) ids() (list []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, x := range k.list {
		list = append(list, fmt.Sprint(x.Session, " ", x.Number, " ", x.Cause, " ", x.By, " ", x.Reason))
	}
	return list
}

// connect opens the record of a router's session, as wampauth does.
func connect(ctx context.Context, s *Store, login string, number int64) error {
	return s.Sessions().Open(ctx, session.Record{ID: strconv.FormatInt(number, 10), Principal: login, Transport: TransportWAMP, RemoteAddr: "192.0.2.1:80",
		OpenedAt: time.Now()})
}

// disconnect closes it.
func disconnect(ctx context.Context, s *Store, number int64, cause session.Cause) error {
	return s.Sessions().Close(ctx, []session.EndedError{{Session: strconv.FormatInt(number, 10), Cause: cause, At: time.Now()}})
}

func TestAKickReachesTheNodeOfTheSession(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		here, there := x.node(t, "here"), x.node(t, "there")
		addUsers(t, here, "ann", "greg")
		atHere, atThere := follow(here), follow(there)
		within(t, 10*time.Second, "both know the users", func() bool { return there.Users().Active("greg") })
		require.NoError(t, connect(t.Context(), there, "ann", 7))
		require.NoError(t, connect(t.Context(), there, "greg", 8))
		require.ErrorIs(t, connect(t.Context(), here, "greg", 7), Exists, "a number is one session's")

		n, err := here.Sessions().Kill(t.Context(), policy.ActorNamed("adm"), SessionRef{Number: 7}, "on holiday")
		require.NoError(t, err)
		require.Equal(t, 1, n)
		list, err := here.Sessions().Live(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1, "it is over at once")
		require.Equal(t, []any{"greg", "there", int64(8)}, []any{list[0].Login, list[0].Node, *list[0].Session})
		within(t, 10*time.Second, "its node hears of it", func() bool { return len(atThere.ids()) == 1 })
		require.Equal(t, []string{"7 7 kicked adm on holiday"}, atThere.ids())
		require.Empty(t, atHere.ids(), "others have nothing to do")
		require.NoError(t, disconnect(t.Context(), there, 7, session.LoggedOut), "it may be told again")

		_, err = here.Sessions().Kill(t.Context(), policy.Root(), SessionRef{Login: "ann"}, "")
		require.ErrorIs(t, err, NotFound)
		_, err = here.Sessions().Kill(t.Context(), policy.Root(), SessionRef{Login: "greg"}, strings.Repeat("x", 256))
		require.ErrorIs(t, err, Invalid)
		_, err = here.Sessions().Kill(t.Context(), policy.Root(), SessionRef{}, "")
		require.ErrorIs(t, err, Invalid, "no filter is nobody")
		require.NoError(t, here.Users().Delete(t.Context(), policy.ActorNamed("adm"), "greg"))
		within(t, 10*time.Second, "a deletion is a kick", func() bool { return len(atThere.ids()) == 2 })

		require.NoError(t, connect(t.Context(), there, "ann", 9))
		require.NoError(t, disconnect(t.Context(), there, 9, session.LoggedOut))
		require.Len(t, atThere.ids(), 2, "what a node ends itself is no kick")
	})
}

func TestALiveSessionOfTheSessionsPackageIsKickedByItsRecord(t *testing.T) {
	s := newStorage(t, SQLite).open(t, quickly())
	b := s.Sessions()
	require.NoError(t, b.Open(t.Context(), session.Record{ID: "web", Principal: "ann", Transport: "http", OpenedAt: time.Now()}))
	require.NoError(t, b.Open(t.Context(), session.Record{ID: "4711", Principal: "ann", Transport: TransportWAMP, OpenedAt: time.Now()}))
	list, err := b.Live(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, int64(4711), *list[0].Session, "a router's number is one whoever opens the record")
	require.Nil(t, list[1].Session)
	require.NoError(t, b.Open(t.Context(), session.Record{ID: "0815", Principal: "ann", Transport: TransportWAMP, OpenedAt: time.Now()}))
	other, err := b.Get(t.Context(), SessionRef{ID: "0815"})
	require.NoError(t, err)
	require.Nil(t, other.Session, "which is written in one way only")
	told := follow(s)
	n, err := b.Kill(t.Context(), policy.Root(), SessionRef{ID: "web"}, "")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []string{"web 0 kicked  "}, told.ids(), "Kill returns when this process was told")
}

func TestStartClosesWhatIsLeftOfItsOwnNode(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		here, there := x.node(t, "here"), x.node(t, "there")
		addUsers(t, here, "ann")
		within(t, 10*time.Second, "both know her", func() bool { return there.Users().Active("ann") })
		old := follow(here)
		for i, s := range []*Store{here, there} {
			require.NoError(t, connect(t.Context(), s, "ann", int64(i+1)))
		}
		again := x.node(t, "here") // while the old one still runs
		n, err := again.Sessions().Start(t.Context(), time.Now())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		list, err := again.Sessions().Live(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "there", list[0].Node)
		within(t, 10*time.Second, "the old one is told", func() bool { return len(old.ids()) == 1 })
		require.Contains(t, old.ids()[0], "abandoned")
		require.ErrorContains(t, here.Sessions().beat(t.Context(), time.Now()), "another process has the node's name", "and hears why")
		require.NoError(t, again.Sessions().beat(t.Context(), time.Now()))

		actions, err := again.Activity().List(t.Context(), ActionFilter{All: true, Session: 1})
		require.NoError(t, err)
		require.Len(t, actions, 1)
		require.Equal(t, []string{"end", "ann", "abandoned"}, []string{actions[0].Action, actions[0].Login, actions[0].Reason}, "which nobody else would log")
	})
}

func TestANodeThatIsSilentIsDead(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		here, there := x.node(t, "here"), x.node(t, "there")
		addUsers(t, here, "ann")
		within(t, 10*time.Second, "both know her", func() bool { return there.Users().Active("ann") })
		told := follow(there)
		_, err := here.Sessions().Start(t.Context(), time.Now())
		require.NoError(t, err)
		_, err = there.Sessions().Start(t.Context(), time.Now())
		require.NoError(t, err)
		require.NoError(t, connect(t.Context(), there, "ann", 7))
		now := time.Now()
		lives := func() int {
			list, err := here.Sessions().Live(t.Context())
			require.NoError(t, err)
			return len(list)
		}
		require.NoError(t, here.Sessions().beat(t.Context(), now))
		require.NoError(t, here.Sessions().beat(t.Context(), now.Add(DefaultNodeTimeout-1)))
		require.Equal(t, 1, lives(), "not yet")
		require.NoError(t, there.Sessions().beat(t.Context(), now))
		require.NoError(t, here.Sessions().beat(t.Context(), now.Add(DefaultNodeTimeout)))
		require.Equal(t, 1, lives(), "it counted")
		require.NoError(t, here.Sessions().beat(t.Context(), now.Add(2*DefaultNodeTimeout)))
		require.Zero(t, lives(), "it did not")
		within(t, 10*time.Second, "should it be there nevertheless, it hears of it", func() bool { return len(told.ids()) == 1 })
		require.NoError(t, there.Sessions().beat(t.Context(), now), "and is a node again")
		require.NoError(t, connect(t.Context(), there, "ann", 8))
		require.NoError(t, here.Sessions().beat(t.Context(), now.Add(2*DefaultNodeTimeout+1)))
		require.Equal(t, 1, lives())
	})
}

func TestTheListIsComparedWithTheRouter(t *testing.T) {
	o := quickly()
	o.Logger = slog.New(slog.DiscardHandler)
	s := newStorage(t, SQLite).open(t, o)
	addUsers(t, s, "ann")
	for number := range int64(3) {
		require.NoError(t, connect(t.Context(), s, "ann", number+1))
	}
	a, err := s.Administration(AdministrationOptions{Router: func(context.Context) ([]int64, error) { return []int64{9, 3, 1}, nil }})
	require.NoError(t, err)
	result, err := a.Do(t.Context(), policy.Root(), "session.list", nil)
	require.NoError(t, err)
	var got []string
	for _, l := range result.([]Live) {
		got = append(got, fmt.Sprint(*l.Session, l.Warning != ""))
	}
	require.Equal(t, []string{"1 false", "3 false", "9 true"}, got)
}

func TestANodeHasAName(t *testing.T) {
	for _, o := range []Options{{Node: "a\nb"}, {Node: strings.Repeat("x", 256)}, {NodeTimeout: time.Millisecond}, {NodeTimeout: -1}} {
		_, err := newStorage(t, SQLite).openWith(t.Context(), o)
		require.ErrorIs(t, err, chansec.ErrInvalid)
	}
}

// Two processes that open a session of the same number at once do so one after the other.
func TestANumberIsOneSessionsHoweverManyOpenItAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		stores := []*Store{x.node(t, "here"), x.node(t, "there")}
		for number := range int64(10) {
			errs := make(chan error)
			for _, s := range stores {
				go func() { errs <- connect(t.Context(), s, "ann", number+1) }()
			}
			one, other := <-errs, <-errs
			if one != nil {
				one, other = other, one
			}
			require.NoError(t, one)
			require.ErrorIs(t, other, Exists)
		}
	})
}
