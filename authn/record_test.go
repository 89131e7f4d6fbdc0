package authn_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/authn"
)

func TestAttemptsAreRecorded(t *testing.T) {
	t.Parallel()
	var seen []audit.Record
	answer := authn.Response{}
	c, err := authn.NewChain(authn.Config{
		Handlers: []authn.Entry{
			{Name: "first", Handler: says(authn.Abstain)},
			{Name: "second", Handler: authn.HandlerFunc(func(context.Context, *authn.Request) (authn.Response, error) { return answer, nil })},
		},
		Observe: func(_ context.Context, a authn.Attempt) error {
			r, err := a.Record().Clean()
			seen = append(seen, r)
			return err
		},
	})
	require.NoError(t, err)
	r := &authn.Request{Principal: "alice", Credentials: []byte("hunter2"), Connection: authn.Connection{RemoteAddr: "192.0.2.1:7"}}
	answer = authn.Response{Answer: authn.Allow, Principal: "alice@corp", Proof: authn.ProofPassword, Reason: "known"}
	_, err = c.Login(t.Context(), r)
	require.NoError(t, err)
	r.Change, answer = true, authn.Response{Reason: "another password"}
	_, err = c.Login(t.Context(), r)
	require.ErrorIs(t, err, chansec.ErrUnauthenticated)

	want := []audit.Record{
		{Kind: audit.KindSession, Operation: audit.OpLogin, Outcome: chansec.Allowed, Principal: "alice@corp", Proof: authn.ProofPassword,
			Target: "alice", Remote: "192.0.2.1:7", Rule: "second", Reason: "known",
			Votes: []audit.Vote{{Handler: "first", Answer: "abstain", Reason: "abstain"}, {Handler: "second", Answer: "allow", Reason: "known"}}},
		{Kind: audit.KindSession, Operation: audit.OpChange, Outcome: chansec.Denied, Target: "alice", Remote: "192.0.2.1:7", Rule: "second",
			Reason: "another password", Votes: []audit.Vote{{Handler: "first", Answer: "abstain", Reason: "abstain"}, {Handler: "second", Answer: "deny", Reason: "another password"}}},
	}
	require.Len(t, seen, len(want))
	for i := range want {
		got := seen[i]
		require.False(t, got.Time.IsZero())
		got.Time, got.Latency = time.Time{}, 0
		for j := range got.Votes {
			got.Votes[j].Took = 0
		}
		require.Equal(t, want[i], got)
	}
}

func TestChangesOfTheSystemStoreAreRecorded(t *testing.T) {
	t.Parallel()
	var seen []audit.Record
	s, err := authn.NewSystemStore(authn.SystemConfig{Iterations: 10, AllowWeak: true, Audit: func(_ context.Context, c authn.SystemChange) {
		r, err := c.Record().Clean()
		require.NoError(t, err)
		seen = append(seen, r)
	}})
	require.NoError(t, err)
	require.NoError(t, s.UpdateScript(t.Context(), authn.Root(), "add principal 'ann' 'hunter2'"))
	require.ErrorIs(t, s.UpdateScript(t.Context(), authn.ActorOf(chansec.Principal{SystemID: "eve"}), "remove principal 'ann'"), chansec.ErrPermission)
	require.Len(t, seen, 2)
	require.Equal(t, "add principal 'ann' '***'", seen[0].Detail)
	require.EqualValues(t, 1, seen[0].Version)
	require.Equal(t, chansec.Allowed, seen[0].Outcome)
	require.Equal(t, "eve", seen[1].Principal)
	require.Equal(t, chansec.Denied, seen[1].Outcome)
	undecided := authn.SystemChange{Time: time.Now(), Err: &chansec.UndecidedError{Cause: errors.New("away")}}
	require.Equal(t, chansec.Undecided, undecided.Record().Outcome)
}
