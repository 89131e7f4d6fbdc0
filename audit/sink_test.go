package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

func TestADecisionBecomesARecordWithAllThatIsInIt(t *testing.T) {
	ring, err := NewRing(10)
	require.NoError(t, err)
	at := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600))
	require.NoError(t, Decisions(ring).Record(t.Context(), chansec.Event{Time: at, ChannelID: "readings", Operation: chansec.OpWrite, SystemID: "alice",
		Proof: chansec.ProofToken, TokenID: "jti-1", Outcome: chansec.Undecided, Reason: "because", Rule: "r7", Version: 42, Latency: 3}))
	for r, err := range ring.Records(t.Context(), Filter{}) {
		require.NoError(t, err)
		require.Equal(t, Record{Seq: 1, Time: at.UTC(), Kind: KindDecision, Principal: "alice", Proof: chansec.ProofToken, TokenID: "jti-1", Target: "readings",
			Operation: chansec.OpWrite, Outcome: chansec.Undecided, Reason: "because", Rule: "r7", Version: 42, Latency: 3}, r)
	}
	require.Equal(t, 1, ring.Len())
}

func TestATeeTellsAllAlsoWhereOneFails(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	var got []string
	sink := func(name string, err error) Sink {
		return SinkFunc(func(_ context.Context, r Record) error { got = append(got, name+" "+r.Principal); return err })
	}
	tee := Tee(sink("a", nil), sink("b", one), SinkFunc(func(context.Context, Record) error { panic("secret") }), sink("c", two))
	err := tee.Record(t.Context(), login("alice"))
	require.ErrorIs(t, err, one)
	require.ErrorIs(t, err, two)
	require.NotContains(t, err.Error(), "secret")
	require.Equal(t, []string{"a alice", "b alice", "c alice"}, got)
	require.NoError(t, Tee().Record(t.Context(), login("alice")))
	require.NoError(t, Tee(sink("a", nil)).Record(t.Context(), login("alice")))
}

func TestAnOptionalSinkStopsNothingAndCounts(t *testing.T) {
	fails := true
	o := NewOptional(SinkFunc(func(context.Context, Record) error {
		if fails {
			return errDisk
		}
		return nil
	}))
	required := Tee(o)
	for range 3 {
		require.NoError(t, required.Record(t.Context(), login("alice")))
	}
	fails = false
	require.NoError(t, required.Record(t.Context(), login("alice")))
	require.Equal(t, uint64(3), o.Failed())
}

func TestASampleLeavesOutAllowedDecisionsOnly(t *testing.T) {
	for every, want := range map[uint64]int{1: 100, 2: 50, 7: 15, 1000: 1} {
		g := newGate(true)
		s, err := Sample(g, every)
		require.NoError(t, err)
		for range 100 {
			require.NoError(t, s.Record(t.Context(), decision("let in", chansec.Allowed)))
			require.NoError(t, s.Record(t.Context(), decision("refused", chansec.Denied)))
			require.NoError(t, s.Record(t.Context(), decision("nobody knew", chansec.Undecided)))
			require.NoError(t, s.Record(t.Context(), login("came in")))
		}
		got := map[string]int{}
		for _, who := range g.said() {
			got[who]++
		}
		require.Equal(t, map[string]int{"let in": want, "refused": 100, "nobody knew": 100, "came in": 100}, got)
		require.Equal(t, uint64(100-want), s.Skipped())
		require.Equal(t, "let in", g.said()[0], "the first one is there")
	}
	_, err := Sample(Tee(), 0)
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

func TestSlogSaysWhatIsInARecord(t *testing.T) {
	var text bytes.Buffer
	s := Slog(slog.New(slog.NewTextHandler(&text, nil)))
	r := decision("alice\nbob", chansec.Denied)
	r.Time = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	r.Reason, r.Version, r.Latency = "because", 7, 9
	require.NoError(t, s.Record(t.Context(), r))
	require.Equal(t, `time=2030-01-02T03:04:05.000Z level=WARN msg="chansec audit" kind=decision principal="alice\nbob" target=readings operation=write outcome=denied reason=because version=7 latency_ns=9`+"\n", text.String())
	text.Reset()
	r = login("alice")
	r.Detail, r.Votes = "more", []Vote{{Handler: "h", Answer: "allow", Took: 5}}
	require.NoError(t, s.Record(t.Context(), r))
	require.Contains(t, text.String(), "level=INFO")
	require.Contains(t, text.String(), "detail=more vote.handler=h vote.answer=allow vote.reason=\"\" vote.took_ns=5")
	require.ErrorIs(t, s.Record(t.Context(), Record{}), chansec.ErrInvalid)

	text.Reset()
	quiet := Slog(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn})))
	require.NoError(t, quiet.Record(t.Context(), decision("alice", chansec.Allowed)))
	require.Empty(t, text.String())
}

// failingHandler is a handler whose disk is full.
type failingHandler struct{ slog.Handler }

func (failingHandler) Handle(context.Context, slog.Record) error { return errDisk }

func TestSlogFailsWhereTheHandlerDoes(t *testing.T) {
	s := Slog(slog.New(failingHandler{slog.NewTextHandler(new(bytes.Buffer), nil)}))
	require.ErrorIs(t, s.Record(t.Context(), login("alice")), errDisk)
}

func TestARingKeepsTheLastRecords(t *testing.T) {
	for _, size := range []int{0, -1, MaxRing + 1} {
		_, err := NewRing(size)
		require.ErrorIs(t, err, chansec.ErrInvalid)
	}
	ring, err := NewRing(10)
	require.NoError(t, err)
	for i := range 25 {
		require.NoError(t, ring.Record(t.Context(), login(fmt.Sprint(i))))
	}
	var got []string
	for r := range ring.Records(t.Context(), Filter{NewestFirst: true}) {
		got = append(got, r.Principal)
		require.NoError(t, ring.Record(t.Context(), login("meanwhile"))) // overwrites the oldest
	}
	require.Equal(t, "24 23 22 21 20", strings.Join(got, " "), "what is overwritten meanwhile is left out")
	require.Equal(t, 10, ring.Len())
	require.Equal(t, uint64(30), ring.Total())
}
