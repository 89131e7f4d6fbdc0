package policy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
)

func TestEveryAttemptIsObserved(t *testing.T) {
	var seen []audit.Record
	config := policy.DiffusionConfig()
	config.Observe = func(_ context.Context, a policy.Attempt) error {
		seen = append(seen, a.Record())
		return nil
	}
	s := newStore(t, config)
	change(t, s, func(tx *policy.Tx) { tx.Grant("R", "a", "READ_TOPIC") })
	change(t, s, func(tx *policy.Tx) { tx.Grant("R", "a", "READ_TOPIC") }) // changes nothing
	err := s.UpdateScript(t.Context(), policy.Root(), "isolate path 'b'\nset 'R' includes ['R']")
	require.ErrorIs(t, err, policy.Cycle)
	err = s.UpdateScript(t.Context(), policy.ActorNamed("eve"), "isolate path 'b'")
	require.ErrorIs(t, err, chansec.ErrPermission)

	require.Len(t, seen, 3)
	for i, want := range []audit.Record{
		{Principal: "root", Outcome: chansec.Allowed, Version: 1, Detail: "set 'R' path 'a' permissions [READ_TOPIC]"},
		{Principal: "root", Outcome: chansec.Denied, Detail: "isolate path 'b'"},
		{Principal: "eve", Outcome: chansec.Denied},
	} {
		got, err := seen[i].Clean()
		require.NoError(t, err)
		require.Equal(t, want.Outcome != chansec.Allowed, got.Reason != "")
		want.Time, want.Reason = got.Time, got.Reason
		want.Kind, want.Operation, want.Target = audit.KindPolicy, audit.OpScript, "policy"
		require.Equal(t, want, got)
	}
}

func TestAChangeThatCannotBeRecordedIsNotMade(t *testing.T) {
	for name, backend := range map[string]policy.Backend{"in memory": nil, "with a backend": policy.NewMemoryBackend()} {
		t.Run(name, func(t *testing.T) {
			full := errors.New("the disk is full")
			config := policy.DiffusionConfig()
			config.Observe = func(context.Context, policy.Attempt) error { return full }
			s, err := policy.New(config)
			if backend != nil {
				s, err = policy.Open(t.Context(), config, backend)
			}
			require.NoError(t, err)
			err = s.Update(t.Context(), policy.Root(), isolate("a"))
			require.ErrorIs(t, err, chansec.ErrAudit)
			require.ErrorIs(t, err, chansec.ErrUndecided)
			require.Zero(t, s.Version())
			err = s.Update(t.Context(), policy.ActorNamed("eve"), isolate("a"))
			require.ErrorIs(t, err, chansec.ErrPermission, "a denial stays one")
			require.NotErrorIs(t, err, chansec.ErrUndecided)
			require.NoError(t, s.Refresh(t.Context()))
			require.Zero(t, s.Version())
		})
	}
}
