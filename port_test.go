package chansec

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// operation is one thing that a port can do. A wrong one has arguments that make no sense, which nobody gets to know who
// is denied.
type operation struct {
	name  string
	op    Operation
	wrong bool
	do    func(context.Context) error
}

// operationsOf are all operations of a port, whatever its kind, in ways that are right and in all ways that are wrong.
func operationsOf(port any) (list []operation) {
	add := func(name string, op Operation, do func(context.Context) error) {
		list = append(list, operation{name, op, strings.Contains(name, "!"), do})
	}
	unknown := uuid.New()
	if p, ok := port.(Writer[string]); ok {
		message := func(name string, m Message[string]) {
			add(name, OpWrite, func(ctx context.Context) error { _, err := p.WriteMessage(ctx, m); return err })
		}
		add("Write", OpWrite, func(ctx context.Context) error { _, err := p.Write(ctx, "m"); return err })
		message("WriteMessage", Message[string]{Content: "m", Metadata: map[string]any{"k": 1}})
		message("WriteMessage of another sender!", Message[string]{SenderID: "another"})
		message("WriteMessage with an ID!", Message[string]{ID: unknown})
		message("WriteMessage with a time!", Message[string]{Timestamp: time.Unix(1, 0)})
		message("WriteMessage to an impossible recipient!", Message[string]{RecipientID: "\x00"})
	}
	if p, ok := port.(interface {
		WriteTo(context.Context, string, string) (uuid.UUID, error)
	}); ok {
		add("WriteTo", OpWrite, func(ctx context.Context) error { _, err := p.WriteTo(ctx, "somebody", "m"); return err })
		add("WriteTo nobody!", OpWrite, func(ctx context.Context) error { _, err := p.WriteTo(ctx, "", "m"); return err })
	}
	if p, ok := port.(Reader[string]); ok {
		for name, limit := range map[string]int{"Read": 10, "Read of none!": 0, "Read of less than none!": -1, "Read of too many!": MaxReadLimit + 1} {
			add(name, OpRead, func(ctx context.Context) error { _, err := p.Read(ctx, limit); return err })
		}
		add("ReadAfter an unknown message!", OpRead, func(ctx context.Context) error { _, err := p.ReadAfter(ctx, unknown, 1); return err })
		add("ReadAfter no message!", OpRead, func(ctx context.Context) error { _, err := p.ReadAfter(ctx, uuid.Nil, 1); return err })
	}
	if p, ok := port.(Subscriber[string]); ok {
		end := func(l Lease[string], err error) error {
			if err == nil {
				err = l.Close()
			}
			return err
		}
		add("Subscribe", OpSubscribe, func(ctx context.Context) error { return end(p.Subscribe(ctx)) })
		add("SubscribeAfter an unknown message!", OpSubscribe, func(ctx context.Context) error { return end(p.SubscribeAfter(ctx, unknown)) })
		add("SubscribeAfter no message!", OpSubscribe, func(ctx context.Context) error { return end(p.SubscribeAfter(ctx, uuid.Nil)) })
		add("SubscribeFunc", OpSubscribe, func(ctx context.Context) error {
			return end(p.SubscribeFunc(ctx, func(context.Context, Message[string]) error { return nil }))
		})
		add("SubscribeFunc without a function!", OpSubscribe, func(ctx context.Context) error { return end(p.SubscribeFunc(ctx, nil)) })
	}
	if p, ok := port.(Worker[string]); ok {
		receipt := Receipt{ID: unknown, Attempt: 1}
		for name, limit := range map[string]int{"Claim": 1, "Claim of none!": 0, "Claim of too many!": MaxReadLimit + 1} {
			add(name, OpClaim, func(ctx context.Context) error { _, err := p.Claim(ctx, limit); return err })
		}
		add("ClaimNext", OpClaim, func(ctx context.Context) error { _, err := p.ClaimNext(ctx); return err })
		add("Acknowledge", OpAcknowledge, func(ctx context.Context) error { _, err := p.Acknowledge(ctx, receipt); return err })
		add("Acknowledge of nothing", OpAcknowledge, func(ctx context.Context) error { _, err := p.Acknowledge(ctx); return err })
		add("Nack", OpNack, func(ctx context.Context) error { _, err := p.Nack(ctx, receipt); return err })
		add("Extend", OpExtend, func(ctx context.Context) error { _, err := p.Extend(ctx, receipt); return err })

		held := Claim[string]{Message: Message[string]{ID: unknown}, Attempt: 1, settle: port.(settler)}
		add("Acknowledge of a lost claim!", OpAcknowledge, func(ctx context.Context) error { return held.Acknowledge(ctx) })
		add("Nack of a lost claim!", OpNack, func(ctx context.Context) error { return held.Nack(ctx) })
		add("Extend of a lost claim!", OpExtend, func(ctx context.Context) error { return held.Extend(ctx) })
	}
	if p, ok := port.(Host[string]); ok {
		add("Remove", OpRemove, func(ctx context.Context) error { _, err := p.Remove(ctx, unknown); return err })
		add("RemoveFunc", OpRemove, func(ctx context.Context) error {
			_, err := p.RemoveFunc(ctx, func(Message[string]) bool { return false })
			return err
		})
		add("RemoveFunc without a function!", OpRemove, func(ctx context.Context) error { _, err := p.RemoveFunc(ctx, nil); return err })
		add("EvictBefore", OpEvict, func(ctx context.Context) error { _, err := p.EvictBefore(ctx, time.Unix(1, 0)); return err })
		add("EvictBefore no time!", OpEvict, func(ctx context.Context) error { _, err := p.EvictBefore(ctx, time.Time{}); return err })
		add("EvictBeyond", OpEvict, func(ctx context.Context) error { _, err := p.EvictBeyond(ctx, 1000); return err })
		add("EvictBeyond less than none!", OpEvict, func(ctx context.Context) error { _, err := p.EvictBeyond(ctx, -1); return err })
		add("Clear", OpClear, func(ctx context.Context) error { _, err := p.Clear(ctx); return err })
		add("Len", OpAdmin, func(ctx context.Context) error { _, err := p.Len(ctx); return err })
	}
	if p, ok := port.(Inspector); ok {
		add("Info", OpInfo, func(ctx context.Context) error { _, err := p.Info(ctx); return err })
	}
	return list
}

// Code that finds out at run time what a port can do is told the truth.
func TestPortHasTheMethodsOfItsKindOnly(t *testing.T) {
	broadcast, err := NewBroadcast[string]("room")
	require.NoError(t, err)
	defer broadcast.Close()
	port := any(broadcast.As("a"))
	require.NotImplements(t, (*Worker[string])(nil), port)

	queue, err := NewWorkQueue[string]("room")
	require.NoError(t, err)
	defer queue.Close()
	port = any(queue.As("a"))
	require.NotImplements(t, (*Reader[string])(nil), port)
	require.NotImplements(t, (*Subscriber[string])(nil), port)
}

func TestWrongArgumentsOfWhoIsAllowedAreTypedErrors(t *testing.T) {
	for _, k := range everyKind {
		ch := k.started(t, WithSecurity(aclOf(t, ACLAdmin("boss"))))
		for _, op := range operationsOf(ch.as("boss")) {
			if !op.wrong {
				continue
			}
			t.Run(k.name+"/"+op.name, func(t *testing.T) {
				err := op.do(t.Context())
				require.Error(t, err)
				require.NotErrorIs(t, err, ErrPermission)
				switch {
				case strings.Contains(op.name, "After"):
					require.ErrorIs(t, err, ErrUnknownMessage)
				case strings.Contains(op.name, "lost claim"):
					require.ErrorIs(t, err, ErrClaimLost)
				default:
					var invalid *InvalidError
					require.ErrorAs(t, err, &invalid)
				}
			})
		}
	}
}

func TestReadGoesOnWhereTheSystemStopped(t *testing.T) {
	ctx := t.Context()
	ch, err := NewBroadcast[int]("room", WithSecurity(OpenSecurity{}))
	require.NoError(t, err)
	defer ch.Close()
	require.NoError(t, ch.Start(ctx))
	var ids []uuid.UUID
	for i := range 5 {
		id, err := ch.As("w").Write(ctx, i)
		require.NoError(t, err)
		ids = append(ids, id)
	}
	read := func(name string, limit int) []int {
		t.Helper()
		m, err := ch.As(name).Read(ctx, limit)
		require.NoError(t, err)
		return contents(m)
	}
	require.Equal(t, []int{0, 1}, read("a", 2))
	require.Equal(t, []int{0, 1, 2}, read("b", 3), "each reader has a place of its own")
	require.Equal(t, []int{2, 3, 4}, read("a", 10), "on another port of the same system, too")
	require.Empty(t, read("a", 10), "none is no error")

	m, err := ch.As("a").ReadAfter(ctx, ids[0], 2)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, contents(m))
	require.Equal(t, []int{3, 4}, read("a", 10), "ReadAfter moved the place")

	_, err = ch.As("b").ReadAfter(ctx, uuid.New(), 2)
	require.ErrorIs(t, err, ErrUnknownMessage)
	require.Equal(t, []int{3, 4}, read("b", 10), "an unknown message moves nothing")

	other, err := NewBroadcast[int]("other", WithSecurity(OpenSecurity{}))
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, other.Start(ctx))
	foreign, err := other.As("w").Write(ctx, 1)
	require.NoError(t, err)
	_, err = ch.As("b").ReadAfter(ctx, foreign, 2)
	require.ErrorIs(t, err, ErrUnknownMessage, "a message of another channel is unknown here")
}

func TestReadAfterThatFailsLeavesThePlaceAlone(t *testing.T) {
	ctx := t.Context()
	acl := aclOf(t, ACLWrite("w"), ACLRead("r"))
	s := newSpy()
	ch := aBroadcast.started(t, WithSecurity(acl), s.option())
	first, err := ch.as("w").Write(ctx, "1")
	require.NoError(t, err)
	write(t, ch, "2", "3", "4")
	r := ch.as("r").(Reader[string])
	m, err := r.Read(ctx, 3)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3"}, contents(m))

	s.after("Reader.Next", once(func() { acl.Revoke("r") }))
	s.noted()
	_, err = r.ReadAfter(ctx, first, 1)
	require.ErrorIs(t, err, ErrPermission)
	require.Contains(t, driverCalls(s.noted()), "Reader.Close", "what was opened for it is given up")
	require.NoError(t, acl.Grant("r", RoleRead))
	m, err = r.Read(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"4"}, contents(m))

	s.noted()
	m, err = r.ReadAfter(ctx, first, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"2"}, contents(m))
	require.Contains(t, driverCalls(s.noted()), "Reader.Close", "the place that was left is given up")
}

func TestReadTakesItsBounds(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	for i := range MaxReadLimit + 1 {
		_, err := ch.as("w").Write(t.Context(), fmt.Sprint(i))
		require.NoError(t, err)
	}
	r := ch.as("r").(Reader[string])
	m, err := r.Read(t.Context(), MaxReadLimit)
	require.NoError(t, err)
	require.Len(t, m, MaxReadLimit, "over the batches in which a driver hands them out")
	m, err = r.Read(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []string{fmt.Sprint(MaxReadLimit)}, contents(m))
}

func TestReadOfTheSamePlaceByManyGivesEveryMessageOnce(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	const n = 200
	for i := range n {
		_, err := ch.as("w").Write(t.Context(), fmt.Sprint(i))
		require.NoError(t, err)
	}
	var all []string
	var mu sync.Mutex
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				m, err := ch.as("r").(Reader[string]).Read(t.Context(), 3)
				if err != nil || len(m) == 0 {
					return
				}
				mu.Lock()
				all = append(all, contents(m)...)
				mu.Unlock()
			}
		})
	}
	readers.Wait()
	require.Len(t, all, n)
	slices.Sort(all)
	require.Len(t, slices.Compact(all), n)
}

func TestReaderBehindRetentionIsToldOnceHowManyItMissed(t *testing.T) {
	for _, k := range []anyKind{aBroadcast, aPassthrough, aMailbox} {
		t.Run(k.name, func(t *testing.T) {
			ctx := t.Context()
			ch := k.started(t, WithSecurity(OpenSecurity{}), WithMaxMessages(3))
			write := func(from, to int) {
				for i := from; i <= to; i++ {
					_, err := ch.as("w").Write(ctx, fmt.Sprint(i))
					require.NoError(t, err)
				}
			}
			r := ch.as("r").(Reader[string])
			write(1, 2)
			m, err := r.Read(ctx, 1)
			require.NoError(t, err)
			require.Equal(t, []string{"1"}, contents(m))

			write(3, 8) // 2 to 5 are gone
			_, err = r.Read(ctx, 10)
			var lagged *LaggedError
			require.ErrorAs(t, err, &lagged)
			require.ErrorIs(t, err, ErrLagged)
			require.Equal(t, LaggedError{Missed: 4}, *lagged)

			m, err = r.Read(ctx, 10)
			require.NoError(t, err, "once only")
			require.Equal(t, []string{"6", "7", "8"}, contents(m))
		})
	}
}

func TestReadThatMeetsALossAfterMessagesHandsThemOutFirst(t *testing.T) {
	s := newSpy()
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), WithMaxMessages(3), s.option())
	ctx := t.Context()
	write := func(list ...string) {
		for _, m := range list {
			_, err := ch.as("w").Write(ctx, m)
			require.NoError(t, err)
		}
	}
	write("1")
	r := ch.as("r").(Reader[string])
	s.after("Reader.Next", once(func() { write("2", "3", "4", "5", "6") })) // 1, 2 and 3 are gone, 1 in the reader's hands
	m, err := r.Read(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, contents(m))
	_, err = r.Read(ctx, 10)
	require.Equal(t, &LaggedError{Missed: 2}, err)
	m, err = r.Read(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"4", "5", "6"}, contents(m))
}

func TestReadAfterAMessageThatRetentionTookTellsHowManyAreMissing(t *testing.T) {
	ctx := t.Context()
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), WithMaxMessages(2))
	first, err := ch.as("w").Write(ctx, "0")
	require.NoError(t, err)
	for i := 1; i <= 4; i++ {
		_, err := ch.as("w").Write(ctx, fmt.Sprint(i))
		require.NoError(t, err)
	}
	r := ch.as("r").(Reader[string])
	_, err = r.ReadAfter(ctx, first, 10)
	require.Equal(t, &LaggedError{Missed: 2}, err)
	m, err := r.Read(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"3", "4"}, contents(m))
}

func TestRetentionByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), WithMaxAge(time.Minute))
		r, host := ch.as("r").(Reader[string]), ch.as("host")
		_, err := ch.as("w").Write(ctx, "old")
		require.NoError(t, err)
		pass(40 * time.Second)
		_, err = ch.as("w").Write(ctx, "new")
		require.NoError(t, err)
		m, err := ch.as("early").(Reader[string]).Read(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"old", "new"}, contents(m))

		pass(21 * time.Second)
		n, err := host.Len(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, n, "without anybody reading or writing")
		m, err = r.Read(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"new"}, contents(m), "who begins now has missed nothing")

		pass(time.Minute)
		n, err = host.Len(ctx)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

// later lets fake time go by.
func later(d time.Duration) { <-time.After(d) }

// pass lets fake time go by, and what it wakes settle.
func pass(d time.Duration) {
	later(d)
	synctest.Wait()
}

func TestWrittenMessageIsStampedByTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		ch := aPassthrough.started(t, WithSecurity(OpenSecurity{}))
		metadata := map[string]any{"unit": "C"}
		id, err := ch.as("sensor").WriteMessage(ctx, Message[string]{SenderID: "sensor", Content: "21.5", Metadata: metadata,
			CorrelationID: "c", ReplyTo: "r", RecipientID: "dashboard"})
		require.NoError(t, err)
		metadata["unit"] = "F"

		m, err := ch.as("anyone").(Reader[string]).Read(ctx, 1)
		require.NoError(t, err)
		require.Len(t, m, 1)
		require.True(t, m[0].Timestamp.Equal(time.Now()), "the channel's clock")
		m[0].Timestamp = time.Time{}
		require.Equal(t, Message[string]{ID: id, SenderID: "sensor", Content: "21.5", Metadata: map[string]any{"unit": "C"},
			CorrelationID: "c", ReplyTo: "r", RecipientID: "dashboard"}, m[0], "the metadata are a copy")
		require.EqualValues(t, 7, id.Version())
	})
}

func TestSenderIsThePortsSystemWhateverTheMessageSays(t *testing.T) {
	ctx := t.Context()
	j := jwtOf(t)
	ch := aBroadcast.started(t, WithSecurity(j))
	holder := holderOf(t, j, TokenRequest{SystemID: "sensor-1", Role: RoleWrite, AllChannels: true})
	for name, p := range map[string]anyPort{"As": ch.as("sensor-1"), "For": ch.of(holder)} {
		_, err := p.WriteMessage(ctx, Message[string]{SenderID: "sensor-2"})
		require.ErrorIs(t, err, ErrInvalid, name)
		_, err = p.Write(ctx, name)
		require.NoError(t, err)
	}
	m, err := ch.as("r").(Reader[string]).Read(ctx, 10)
	require.NoError(t, err)
	require.Len(t, m, 2, "what was refused was not stored")
	for _, m := range m {
		require.Equal(t, "sensor-1", m.SenderID)
	}
}

func TestIDsIncreaseWithinAChannel(t *testing.T) {
	ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
	var last uuid.UUID
	for range 1000 {
		id, err := ch.as("w").Write(t.Context(), "m")
		require.NoError(t, err)
		require.Negative(t, strings.Compare(last.String(), id.String()))
		last = id
	}
}

func TestHostOperations(t *testing.T) {
	setup := func(t *testing.T) (anyChannel, []uuid.UUID) {
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}))
		var ids []uuid.UUID
		for i := range 5 {
			id, err := ch.as("w").Write(t.Context(), fmt.Sprint(i))
			require.NoError(t, err)
			ids = append(ids, id)
		}
		return ch, ids
	}
	for _, row := range []struct {
		name   string
		do     func(context.Context, Host[string], []uuid.UUID) (int, error)
		gone   int
		left   []string
		missed uint64 // what a reader at the beginning is told
	}{
		{"Clear discards everything, on purpose", func(ctx context.Context, h Host[string], _ []uuid.UUID) (int, error) {
			return h.Clear(ctx)
		}, 5, nil, 0},
		{"Remove discards those of these IDs, known or not", func(ctx context.Context, h Host[string], ids []uuid.UUID) (int, error) {
			return h.Remove(ctx, ids[1], ids[3], ids[3], uuid.New(), uuid.Nil)
		}, 2, []string{"0", "2", "4"}, 0},
		{"RemoveFunc discards those that match", func(ctx context.Context, h Host[string], _ []uuid.UUID) (int, error) {
			return h.RemoveFunc(ctx, func(m Message[string]) bool { return m.SenderID == "w" && m.Content > "1" })
		}, 3, []string{"0", "1"}, 0},
		{"EvictBeyond keeps the newest, and readers are told", func(ctx context.Context, h Host[string], _ []uuid.UUID) (int, error) {
			return h.EvictBeyond(ctx, 2)
		}, 3, []string{"3", "4"}, 3},
		{"EvictBeyond none keeps none", func(ctx context.Context, h Host[string], _ []uuid.UUID) (int, error) {
			return h.EvictBeyond(ctx, 0)
		}, 5, nil, 5},
		{"EvictBefore a time to come discards everything", func(ctx context.Context, h Host[string], _ []uuid.UUID) (int, error) {
			return h.EvictBefore(ctx, time.Now().Add(time.Hour))
		}, 5, nil, 5},
		{"EvictBefore a time gone by discards nothing", func(ctx context.Context, h Host[string], _ []uuid.UUID) (int, error) {
			return h.EvictBefore(ctx, time.Now().Add(-time.Hour))
		}, 0, []string{"0", "1", "2", "3", "4"}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx := t.Context()
			ch, ids := setup(t)
			r := ch.as("r").(Reader[string])
			_, err := r.ReadAfter(ctx, ids[4], 1) // a place at the end ...
			require.NoError(t, err)
			n, err := row.do(ctx, ch.as("host"), ids)
			require.NoError(t, err)
			require.Equal(t, row.gone, n)
			left, err := ch.as("host").Len(ctx)
			require.NoError(t, err)
			require.Equal(t, len(row.left), left)
			m, err := ch.as("fresh").(Reader[string]).Read(ctx, 10)
			require.NoError(t, err, "who begins now has missed nothing")
			require.Equal(t, row.left, contents(m))

			_, err = ch.as("w").Write(ctx, "5")
			require.NoError(t, err)
			m, err = r.Read(ctx, 10)
			require.NoError(t, err, "... which does not shift")
			require.Equal(t, []string{"5"}, contents(m))
		})
		t.Run(row.name+", for who had read nothing of it", func(t *testing.T) {
			ctx := t.Context()
			ch, ids := setup(t)
			r := ch.as("r").(Reader[string])
			ch.as("w")
			_, err := r.ReadAfter(ctx, ids[0], 1) // has 0 and 1
			require.NoError(t, err)
			_, err = row.do(ctx, ch.as("host"), ids)
			require.NoError(t, err)
			_, err = r.Read(ctx, 10)
			if row.missed > 2 {
				require.Equal(t, &LaggedError{Missed: row.missed - 2}, err)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestRemoveFuncSeesEveryMessageOnce(t *testing.T) {
	ctx := t.Context()
	ch := aMailbox.started(t, WithSecurity(OpenSecurity{}))
	const n = MaxReadLimit + 10
	for i := range n {
		_, err := ch.as("w").(MailboxPort[string]).WriteTo(ctx, fmt.Sprint("box-", i%3), fmt.Sprint(i))
		require.NoError(t, err)
	}
	_, err := ch.as("box-0").(Worker[string]).Claim(ctx, 5)
	require.NoError(t, err)
	seen := 0
	gone, err := ch.as("host").RemoveFunc(ctx, func(Message[string]) bool { seen++; return true })
	require.NoError(t, err)
	require.Equal(t, n, seen, "of all boxes, and those that are claimed")
	require.Equal(t, n, gone)
}

// A match function is shown messages, like any reader.
func TestRemoveFuncOfAHostWhoseRightEndsSeesNothingWrittenLater(t *testing.T) {
	ctx := t.Context()
	acl := aclOf(t, ACLAdmin("host"), ACLWrite("w"))
	ch := aBroadcast.started(t, WithSecurity(acl))
	_, err := ch.as("w").Write(ctx, "before")
	require.NoError(t, err)
	var seen []string
	_, err = ch.as("host").RemoveFunc(ctx, func(m Message[string]) bool {
		if seen = append(seen, m.Content); len(seen) == 1 {
			require.True(t, acl.Revoke("host"))
			_, err := ch.as("w").Write(ctx, "after")
			require.NoError(t, err)
		}
		return true
	})
	require.Equal(t, []string{"before"}, seen)
	require.ErrorIs(t, err, ErrPermission)
}

func TestEndedContextStopsAnOperationBeforeItIsDecided(t *testing.T) {
	for _, k := range everyKind {
		s := newSpy()
		ch := k.started(t, WithSecurity(aclOf(t, ACLAdmin("boss"))), s.option(), s.audit())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.noted()
		for _, op := range operationsOf(ch.as("boss")) {
			require.ErrorIs(t, op.do(ctx), context.Canceled, "%s: %s", k.name, op.name)
		}
		require.Empty(t, s.noted())
	}
}
