package sqlstore

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/session"
)

func TestActionsAreListedAsTheyAreAskedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		s := x.open(t, quickly())
		addUsers(t, s, "ann", "greg")
		log := s.Activity()
		ids := map[string]string{}
		for i, login := range []string{"ann", "greg"} {
			require.NoError(t, connect(t.Context(), s, login, int64(i+1)))
			ids[login] = strconv.Itoa(i + 1)
			require.NoError(t, log.Log(t.Context(), audit.Record{Time: time.Now(), Kind: audit.KindSession, Principal: login, Session: ids[login],
				Operation: audit.OpLogin, Outcome: chansec.Allowed}))
		}
		at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		does := func(login, action, topic string, o chansec.Outcome) {
			at = at.Add(time.Hour)
			require.NoError(t, log.Log(t.Context(), audit.Record{Time: at, Kind: audit.KindDecision, Principal: login, Session: ids[login], Target: topic,
				Operation: chansec.Operation(action), Outcome: o}))
		}
		does("ann", "publish", "com.x", chansec.Allowed)
		does("ann", "call", "com", chansec.Allowed)
		does("greg", "subscribe", "community", chansec.Denied)
		does("greg", "register", "com.\u0430_%", chansec.Undecided)
		does("greg", "publish", "pub\x00y", chansec.Allowed)
		does("greg", "write", "a/channel", chansec.Allowed) // of no router
		require.NoError(t, log.Log(t.Context(), audit.Record{Time: time.Now(), Kind: audit.KindSession, Principal: "greg", Session: "2",
			Operation: audit.OpLogout, Outcome: chansec.Allowed}))
		require.NoError(t, disconnect(t.Context(), s, 2, session.Lost))

		list := func(f ActionFilter) (all []string) {
			got, err := log.List(t.Context(), f)
			require.NoError(t, err)
			for _, a := range got {
				all = append(all, fmt.Sprint(a.Login, " ", *a.Session, " ", a.Action, " ", a.Topic, " ", a.Allow))
			}
			return all
		}
		ann := []string{"ann 1 publish com.x true", "ann 1 call com true"}
		greg := []string{"greg 2 subscribe community false", "greg 2 register com.\u0430_% false", "greg 2 publish pub\x00y true"}
		require.Equal(t, ann, list(ActionFilter{}), "what was allowed, of who is here")
		require.Equal(t, ann, list(ActionFilter{Denied: true}))
		require.Equal(t, append(ann[:2:2], greg[2]), list(ActionFilter{Ended: true}))
		require.Equal(t, append(ann[:2:2], greg...), list(ActionFilter{Denied: true, Ended: true}))
		all := append([]string{"ann 1 start  true", "greg 2 start  true"}, append(append(ann[:2:2], greg...), "greg 2 end  true")...)
		require.Equal(t, all, list(ActionFilter{All: true}))
		require.Equal(t, all[:3], list(ActionFilter{All: true, Limit: 3}))
		got, err := log.List(t.Context(), ActionFilter{All: true, Limit: 3})
		require.NoError(t, err)
		require.Equal(t, all[3:], list(ActionFilter{All: true, After: got[2].ID}))
		require.Equal(t, greg, list(ActionFilter{Denied: true, Ended: true, Login: "greg"}))
		require.Equal(t, greg, list(ActionFilter{Denied: true, Ended: true, Session: 2}))
		require.Equal(t, append(ann[:2:2], greg[1]), list(ActionFilter{Denied: true, Ended: true, Topic: "com"}), "a topic and what is below")
		require.Empty(t, list(ActionFilter{All: true, Topic: "co_"}))
		require.Equal(t, greg[2:], list(ActionFilter{All: true, Topic: "pub\x00y"}))
		require.Equal(t, []string{greg[0]}, list(ActionFilter{All: true, Action: "subscribe"}))
		first := time.Date(2030, 1, 1, 1, 0, 0, 0, time.UTC)
		require.Equal(t, ann[1:], list(ActionFilter{Since: first.Add(time.Minute), Until: first.Add(2 * time.Hour)}))

		one, err := log.Get(t.Context(), got[2].ID)
		require.NoError(t, err)
		require.Equal(t, got[2], one)
		_, err = log.Get(t.Context(), 4711)
		require.ErrorIs(t, err, NotFound)

		n, err := log.Purge(t.Context(), first.Add(2*time.Hour))
		require.NoError(t, err)
		require.Equal(t, int64(5), n, "what is older: also the starts and the end, which were now")
		require.Equal(t, greg, list(ActionFilter{All: true}))
	})
}

// fill logs as much as the queue takes.
func fill(t *testing.T, a *Activity, o chansec.Outcome) (taken int, err error) {
	for {
		err := a.Log(t.Context(), audit.Record{Time: time.Now(), Kind: audit.KindDecision, Operation: "call", Outcome: o})
		if err != nil {
			return taken, err
		}
		taken++
		require.Less(t, taken, 1000)
	}
}

func TestADeniedActionIsNeverDropped(t *testing.T) {
	x := newStorage(t, SQLite)
	o := quickly()
	o.Activity.Queue = 16
	s := x.open(t, o)
	db := x.raw(t)
	c, err := db.Conn(t.Context())
	require.NoError(t, err)
	_, err = c.ExecContext(t.Context(), "begin immediate") // nobody else writes
	require.NoError(t, err)
	taken, err := fill(t, s.Activity(), chansec.Allowed)
	require.ErrorIs(t, err, audit.ErrDropped, "what was allowed is dropped when the queue is full")
	denied := make(chan error, 40)
	for i := range cap(denied) {
		go func() {
			denied <- s.Activity().Log(t.Context(), audit.Record{Time: time.Now(), Kind: audit.KindDecision, Principal: fmt.Sprint(i), Operation: "call", Outcome: chansec.Denied})
		}()
	}
	within(t, 10*time.Second, "the queue is full", func() bool { return s.Activity().Stats().Queued == 16 })
	_, err = c.ExecContext(t.Context(), "rollback")
	require.NoError(t, err)
	require.NoError(t, c.Close())
	for range cap(denied) {
		require.NoError(t, <-denied)
	}
	require.NoError(t, s.Activity().Flush(t.Context()))
	count := map[chansec.Outcome]int{}
	for r, err := range s.Activity().Records(t.Context(), audit.Filter{Kind: audit.KindDecision}) {
		require.NoError(t, err)
		count[r.Outcome]++
	}
	require.Equal(t, map[chansec.Outcome]int{chansec.Allowed: taken, chansec.Denied: cap(denied)}, count)
}

func TestWithoutALogNothingIsDoneIfThatIsRequired(t *testing.T) {
	for _, required := range []bool{false, true} {
		x := newStorage(t, SQLite)
		o := quickly()
		o.Activity.Required = required
		s := x.open(t, o)
		log := func() error {
			return s.Activity().Log(t.Context(), audit.Record{Time: time.Now(), Kind: audit.KindDecision, Operation: "call", Outcome: chansec.Allowed})
		}
		require.NoError(t, log())
		require.NoError(t, s.Activity().Flush(t.Context()))
		_, err := x.raw(t).Exec("alter table activity rename to gone")
		require.NoError(t, err)
		require.NoError(t, log(), "nobody knows yet")
		within(t, 10*time.Second, "it fails", func() bool { return s.Activity().Stats().Failing != nil })
		if err := log(); required {
			require.ErrorIs(t, err, chansec.ErrAudit)
			require.False(t, errors.Is(err, chansec.ErrPermission))
		} else {
			require.NoError(t, err)
		}
		_, err = x.raw(t).Exec("alter table gone rename to activity")
		require.NoError(t, err)
		within(t, 10*time.Second, "it works again", func() bool { return log() == nil && s.Activity().Stats().Failing == nil })
	}
}
