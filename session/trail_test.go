package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/session"
)

func TestEventsAreRecorded(t *testing.T) {
	var seen []audit.Record
	c := &chain{}
	s := sessionsOf(t, session.Config{Chain: c, Permits: byRole, Observe: func(e session.Event) {
		r, err := e.Record().Clean()
		require.NoError(t, err)
		require.False(t, r.Time.IsZero())
		r.Time = time.Time{}
		seen = append(seen, r)
	}})
	boss := open(t, s, "boss", "MODIFY_SESSION", "VIEW_SESSION")
	ann := open(t, s, "ann", "TRADER")
	require.NoError(t, ann.Refresh(t.Context(), as("ann", "TRADER")))
	require.NoError(t, ann.ChangePrincipal(t.Context(), as("amy")))
	c.answer(refused)
	require.ErrorIs(t, ann.ChangePrincipal(t.Context(), as("root")), chansec.ErrUnauthenticated)
	c.answer(nil)
	_, err := s.For(ann).Kick(t.Context(), session.ID(boss.ID()), "")
	require.ErrorIs(t, err, chansec.ErrPermission)
	_, err = s.For(boss).ChangeRoles(t.Context(), session.ID(ann.ID()), nil, []string{"GUEST"})
	require.NoError(t, err)
	_, err = s.For(boss).Kick(t.Context(), session.ID(ann.ID()), "left the company")
	require.NoError(t, err)
	require.NoError(t, boss.Close())

	const at = "192.0.2.1:77"
	b, a := boss.ID(), ann.ID()
	yes, no := chansec.Allowed, chansec.Denied
	for i, want := range []audit.Record{
		{Operation: audit.OpLogin, Outcome: yes, Principal: "boss", Session: b, Remote: at},
		{Operation: audit.OpLogin, Outcome: yes, Principal: "ann", Session: a, Remote: at},
		{Operation: "refresh", Outcome: yes, Principal: "ann", Session: a, Remote: at},
		{Operation: audit.OpChange, Outcome: yes, Principal: "ann", Session: a, Remote: at, Target: "amy"},
		{Operation: audit.OpChange, Outcome: no, Principal: "amy", Session: a, Remote: at, Reason: "authn: not authenticated"},
		{Operation: audit.OpKick, Outcome: no, Principal: "amy"},
		{Operation: audit.OpAssign, Outcome: yes, Principal: "boss", Target: a, Detail: "GUEST"},
		{Operation: audit.OpKick, Outcome: yes, Principal: "boss", Target: a, Reason: "kicked: left the company"},
		{Operation: audit.OpLogout, Outcome: yes, Principal: "boss", Session: b, Remote: at, Reason: "logged out"},
	} {
		want.Kind = audit.KindSession
		require.Greater(t, len(seen), i)
		if got := seen[i]; got.Outcome == no && want.Reason == "" {
			require.NotEmpty(t, got.Reason)
			want.Reason = got.Reason
		}
		require.Equal(t, want, seen[i], i)
	}
	require.Len(t, seen, 9)
}
