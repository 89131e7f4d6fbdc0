package chansec_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// The tests in this file are sssn's own tests of messages, the message store, its channels and what of its systems touches
// access (tests/core/test_channel.py, test_message_store.py and test_system.py, tests/channels/test_*.py), one for one and in
// their order. The name says the block and the test. They assert effects, not state. Where chansec differs on purpose, the
// comment of the test says how.
//
// Everywhere: a reader is a port (ch.As(reader)), shared read is Read, exclusive read is Claim, and a subscription is a
// lease.

// upstream makes a channel with the default security of sssn, which lets everybody in.
func upstream[C interface {
	Start(context.Context) error
	Close() error
}](t *testing.T, make func(string, ...chansec.Option) (C, error), opts ...chansec.Option) C {
	t.Helper()
	ch, err := make("ch-1", append([]chansec.Option{chansec.WithSecurity(chansec.OpenSecurity{})}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ch.Close()) })
	require.NoError(t, ch.Start(t.Context()))
	return ch
}

// storeOf makes a store with messages of these contents, and returns their IDs.
func storeOf(t *testing.T, list ...string) (*chansec.PassthroughChannel[string], []uuid.UUID) {
	t.Helper()
	ch := upstream(t, chansec.NewPassthrough[string])
	return ch, append([]uuid.UUID(nil), storeMore(t, ch.As("writer"), list...)...)
}

func storeMore(t *testing.T, w chansec.Writer[string], list ...string) (ids []uuid.UUID) {
	t.Helper()
	for _, m := range list {
		id, err := w.Write(t.Context(), m)
		require.NoError(t, err)
		ids = append(ids, id)
	}
	return ids
}

func sharedRead(t *testing.T, r chansec.Reader[string], limit int) (list []string) {
	t.Helper()
	messages, err := r.Read(t.Context(), limit)
	require.NoError(t, err)
	for _, m := range messages {
		list = append(list, m.Content)
	}
	return list
}

func exclusiveRead(t *testing.T, w chansec.Worker[string], limit int) (list []string, claims []chansec.Claim[string]) {
	t.Helper()
	claims, err := w.Claim(t.Context(), limit)
	require.NoError(t, err)
	for _, c := range claims {
		list = append(list, c.Message.Content)
	}
	return list, claims
}

// delivered starts a subscription and returns how to read what came so far, inside a bubble.
func delivered(t *testing.T, s chansec.Subscriber[string]) (got *[]chansec.Message[string], lease chansec.Lease[string]) {
	t.Helper()
	got = new([]chansec.Message[string])
	lease, err := s.SubscribeFunc(t.Context(), func(_ context.Context, m chansec.Message[string]) error {
		*got = append(*got, m)
		return nil
	})
	require.NoError(t, err)
	return got, lease
}

// --- message model -------------------------------------------------------------------------------------------------------

func contentOf[T any](t *testing.T, content T) string {
	t.Helper()
	text, err := json.Marshal(chansec.Message[T]{Content: content})
	require.NoError(t, err)
	var wire struct{ Content json.RawMessage }
	require.NoError(t, json.Unmarshal(text, &wire))
	return string(wire.Content)
}

func TestModelGenericContentDefault(t *testing.T) {
	require.JSONEq(t, `{"data":null}`, contentOf[any](t, nil))
}

func TestModelGenericContentWithData(t *testing.T) {
	require.JSONEq(t, `{"data":[1,"two"]}`, contentOf[any](t, []any{1, "two"}))
}

// Differs: the type of the content says which members it has. Content of any members is a map, under "data".
func TestModelMessageContentExtraAllowed(t *testing.T) {
	require.JSONEq(t, `{"data":{"known":1,"extra":true}}`, contentOf(t, map[string]any{"known": 1, "extra": true}))
}

// Differs: the channel, not the writer, gives the message its ID, time and sender.
func TestModelChannelMessageBasic(t *testing.T) {
	ch, ids := storeOf(t, "hello")
	messages, err := ch.As("reader").Read(t.Context(), 1)
	require.NoError(t, err)
	m := messages[0]
	require.Equal(t, ids[0], m.ID)
	require.Equal(t, "writer", m.SenderID)
	require.False(t, m.Timestamp.IsZero())
	text, err := json.Marshal(m)
	require.NoError(t, err)
	var wire map[string]any
	require.NoError(t, json.Unmarshal(text, &wire))
	require.Len(t, wire, 8)
	for _, name := range []string{"correlation_id", "reply_to", "recipient_id"} {
		require.Contains(t, wire, name)
		require.Nil(t, wire[name])
	}
	require.Equal(t, map[string]any{}, wire["metadata"])
}

func TestModelChannelMessageOptionalFields(t *testing.T) {
	ch, _ := storeOf(t)
	_, err := ch.As("writer").WriteMessage(t.Context(), chansec.Message[string]{Content: "x", CorrelationID: "c", ReplyTo: "r",
		RecipientID: "p", Metadata: map[string]any{"k": "v"}})
	require.NoError(t, err)
	messages, err := ch.As("reader").Read(t.Context(), 1)
	require.NoError(t, err)
	m := messages[0]
	require.Equal(t, []any{"c", "r", "p", map[string]any{"k": "v"}}, []any{m.CorrelationID, m.ReplyTo, m.RecipientID, m.Metadata})
}

// Differs: assigning a field is no error, but readers have copies of their own.
func TestModelChannelMessageImmutable(t *testing.T) {
	ch, _ := storeOf(t, "as written")
	messages, err := ch.As("a").Read(t.Context(), 1)
	require.NoError(t, err)
	messages[0].Content, messages[0].SenderID = "changed", "somebody"
	require.Equal(t, []string{"as written"}, sharedRead(t, ch.As("b"), 1))
}

func TestModelChannelInfoFields(t *testing.T) {
	ch := upstream(t, chansec.NewPassthrough[string], chansec.WithDescription("Readings", "of all sensors"))
	info, err := ch.As("reader").Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, chansec.Info{ID: "ch-1", Name: "Readings", Description: "of all sensors", Visibility: chansec.Private, Period: 60}, info)
}

func TestModelChannelInfoPublic(t *testing.T) {
	ch := upstream(t, chansec.NewPassthrough[string], chansec.WithVisibility(chansec.Public))
	info, err := ch.As("reader").Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, chansec.Public, info.Visibility)
}

func TestModelChannelInfoSerialisable(t *testing.T) {
	text, err := json.Marshal(chansec.Info{ID: "ch-1", Visibility: chansec.Public})
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"ch-1","name":"","description":"","visibility":"public","period":0}`, string(text))
}

// --- store ---------------------------------------------------------------------------------------------------------------

func TestStoreSharedReadReturnsAll(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2", "m3")
	require.Equal(t, []string{"m1", "m2", "m3"}, sharedRead(t, ch.As("r"), 10))
}

// Differs (6.B14): a limit of none, of less, or beyond MaxReadLimit is an error.
func TestStoreSharedReadRespectsLimit(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2", "m3")
	require.Equal(t, []string{"m1", "m2"}, sharedRead(t, ch.As("r"), 2))
	for _, limit := range []int{0, -1, chansec.MaxReadLimit + 1} {
		_, err := ch.As("r").Read(t.Context(), limit)
		require.ErrorIs(t, err, chansec.ErrInvalid)
	}
}

// Differs (6.B7): places are sequence numbers, and eviction does not shift them.
func TestStoreSharedReadAdvancesCursor(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2", "m3", "m4", "m5")
	require.Equal(t, []string{"m1", "m2", "m3", "m4"}, sharedRead(t, ch.As("r"), 4))
	_, err := ch.As("host").EvictBeyond(t.Context(), 1)
	require.NoError(t, err)
	storeMore(t, ch.As("writer"), "m6")
	require.Equal(t, []string{"m5", "m6"}, sharedRead(t, ch.As("r"), 10))
}

// Differs (6.B14): an unknown or empty "after" is an error, and does not replay everything.
func TestStoreSharedReadAfterOverride(t *testing.T) {
	ch, ids := storeOf(t, "m1", "m2", "m3")
	messages, err := ch.As("r").ReadAfter(t.Context(), ids[0], 10)
	require.NoError(t, err)
	require.Len(t, messages, 2)
	require.Equal(t, ids[1:], []uuid.UUID{messages[0].ID, messages[1].ID})
	for _, after := range []uuid.UUID{uuid.Nil, uuid.New()} {
		_, err := ch.As("r").ReadAfter(t.Context(), after, 10)
		require.ErrorIs(t, err, chansec.ErrUnknownMessage)
	}
}

// Differs (6.B8): a message that is given back is shown to readers who have read nothing behind it.
func TestStoreSharedReadSkipsClaimed(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2", "m3")
	_, claims := exclusiveRead(t, ch.As("worker"), 1)
	require.Equal(t, []string{"m2", "m3"}, sharedRead(t, ch.As("early"), 10))
	_, rest := exclusiveRead(t, ch.As("worker"), 10)
	require.Empty(t, sharedRead(t, ch.As("late"), 10))
	for _, c := range append(claims, rest...) {
		require.NoError(t, c.Nack(t.Context()))
	}
	require.Equal(t, []string{"m1", "m2", "m3"}, sharedRead(t, ch.As("late"), 10))
}

func TestStoreSharedReadSkipsAcknowledged(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2")
	_, claims := exclusiveRead(t, ch.As("worker"), 1)
	require.NoError(t, claims[0].Acknowledge(t.Context()))
	require.Equal(t, []string{"m2"}, sharedRead(t, ch.As("r"), 10))
}

func TestStoreSharedReadIndependentCursors(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2")
	require.Equal(t, []string{"m1", "m2"}, sharedRead(t, ch.As("r1"), 10))
	require.Equal(t, []string{"m1", "m2"}, sharedRead(t, ch.As("r2"), 10))
}

func TestStoreExclusiveReadClaimsMessages(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2", "m3")
	list, claims := exclusiveRead(t, ch.As("w1"), 2)
	require.Equal(t, []string{"m1", "m2"}, list)
	n, err := ch.As("w2").Acknowledge(t.Context(), claims[0].Receipt())
	require.NoError(t, err)
	require.Zero(t, n, "w1 is the owner")
	require.NoError(t, claims[0].Acknowledge(t.Context()))
}

func TestStoreExclusiveReadHidesClaimedFromOthers(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2", "m3")
	exclusiveRead(t, ch.As("w1"), 2)
	list, _ := exclusiveRead(t, ch.As("w2"), 10)
	require.Equal(t, []string{"m3"}, list)
}

func TestStoreExclusiveReadSkipsAcknowledged(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2")
	_, claims := exclusiveRead(t, ch.As("w1"), 1)
	require.NoError(t, claims[0].Acknowledge(t.Context()))
	list, _ := exclusiveRead(t, ch.As("w1"), 10)
	require.Equal(t, []string{"m2"}, list)
}

// Differs (6.A1, 6.B12): only the holder can acknowledge, the number of those that took effect is returned, and the message
// is not kept in memory.
func TestStoreAcknowledgeRemovesClaim(t *testing.T) {
	ch, ids := storeOf(t, "m1")
	bare := chansec.Receipt{ID: ids[0]}
	n, err := ch.As("w1").Acknowledge(t.Context(), bare)
	require.NoError(t, err)
	require.Zero(t, n, "nobody holds it yet")
	exclusiveRead(t, ch.As("w1"), 1)
	n, err = ch.As("w2").Acknowledge(t.Context(), bare)
	require.NoError(t, err)
	require.Zero(t, n, "somebody else does")
	n, err = ch.As("w1").Acknowledge(t.Context(), bare)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = ch.As("host").Len(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestStoreAcknowledgeMakesInvisibleToExclusive(t *testing.T) {
	ch, _ := storeOf(t, "m1")
	_, claims := exclusiveRead(t, ch.As("w1"), 1)
	require.NoError(t, claims[0].Acknowledge(t.Context()))
	list, _ := exclusiveRead(t, ch.As("w2"), 10)
	require.Empty(t, list)
}

// Differs (6.B11): a late acknowledge after it cannot touch the claim of whoever has the message now.
func TestStoreNackReleasesClaim(t *testing.T) {
	ch, _ := storeOf(t, "m1")
	_, first := exclusiveRead(t, ch.As("w1"), 1)
	require.NoError(t, first[0].Nack(t.Context()))
	_, second := exclusiveRead(t, ch.As("w1"), 1)
	require.Len(t, second, 1)
	require.ErrorIs(t, first[0].Acknowledge(t.Context()), chansec.ErrClaimLost)
	require.NoError(t, second[0].Acknowledge(t.Context()))
}

func TestStoreNackMakesAvailableAgain(t *testing.T) {
	ch, _ := storeOf(t, "m1")
	_, claims := exclusiveRead(t, ch.As("w1"), 1)
	require.NoError(t, claims[0].Nack(t.Context()))
	list, _ := exclusiveRead(t, ch.As("w2"), 1)
	require.Equal(t, []string{"m1"}, list)
}

func TestStoreNackOnlyReleasesOwnClaims(t *testing.T) {
	ch, _ := storeOf(t, "m1")
	_, claims := exclusiveRead(t, ch.As("w1"), 1)
	n, err := ch.As("w2").Nack(t.Context(), claims[0].Receipt())
	require.NoError(t, err)
	require.Zero(t, n)
	list, _ := exclusiveRead(t, ch.As("w2"), 1)
	require.Empty(t, list)
}

// Differs (6.B10): claims have a timeout on every channel that has claims.
func TestStoreReclaimExpiredRemovesOldClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := upstream(t, chansec.NewPassthrough[string], chansec.WithClaimTimeout(time.Minute))
		storeMore(t, ch.As("writer"), "m1")
		exclusiveRead(t, ch.As("w1"), 1)
		<-time.After(1000 * time.Second)
		list, _ := exclusiveRead(t, ch.As("w2"), 1)
		require.Equal(t, []string{"m1"}, list)
	})
}

func TestStoreReclaimExpiredLeavesFreshClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := upstream(t, chansec.NewPassthrough[string], chansec.WithClaimTimeout(time.Minute))
		storeMore(t, ch.As("writer"), "m1")
		exclusiveRead(t, ch.As("w1"), 1)
		<-time.After(59 * time.Second)
		list, _ := exclusiveRead(t, ch.As("w2"), 1)
		require.Empty(t, list)
	})
}

func TestStoreNotifySubscribersCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch, _ := storeOf(t)
		got, _ := delivered(t, ch.As("s"))
		ids := storeMore(t, ch.As("writer"), "m1")
		synctest.Wait()
		require.Len(t, *got, 1)
		require.Equal(t, ids[0], (*got)[0].ID)
	})
}

// Differs (6.B6): also for callbacks that panic. Their own lease ends.
func TestStoreNotifySubscribersExceptionIsolation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch, _ := storeOf(t)
		failed := errors.New("failed")
		bad, err := ch.As("bad").SubscribeFunc(t.Context(), func(context.Context, chansec.Message[string]) error { return failed })
		require.NoError(t, err)
		worse, err := ch.As("worse").SubscribeFunc(t.Context(), func(context.Context, chansec.Message[string]) error { panic(failed) })
		require.NoError(t, err)
		got, _ := delivered(t, ch.As("good"))
		storeMore(t, ch.As("writer"), "m1", "m2")
		synctest.Wait()
		require.Len(t, *got, 2)
		require.ErrorIs(t, bad.Err(), failed)
		require.Error(t, worse.Err())
	})
}

// Differs: cursors are kept, and point behind what was cleared.
func TestStoreClearAll(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2", "m3")
	require.Equal(t, []string{"m1"}, sharedRead(t, ch.As("r"), 1))
	_, claims := exclusiveRead(t, ch.As("w1"), 1)
	n, err := ch.As("host").Clear(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Empty(t, sharedRead(t, ch.As("r"), 10))
	require.ErrorIs(t, claims[0].Acknowledge(t.Context()), chansec.ErrClaimLost)
	storeMore(t, ch.As("writer"), "m4")
	require.Equal(t, []string{"m4"}, sharedRead(t, ch.As("r"), 10))
}

func TestStoreClearWithFilter(t *testing.T) {
	ch, _ := storeOf(t, "keep", "drop", "keep too")
	n, err := ch.As("host").RemoveFunc(t.Context(), func(m chansec.Message[string]) bool { return m.Content == "drop" })
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []string{"keep", "keep too"}, sharedRead(t, ch.As("r"), 10))
}

// Differs (6.B3): age counts from when the channel received the message.
func TestStoreEvictByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch, _ := storeOf(t, "old")
		<-time.After(time.Hour)
		storeMore(t, ch.As("writer"), "new")
		n, err := ch.As("host").EvictBefore(t.Context(), time.Now().Add(-time.Minute))
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, []string{"new"}, sharedRead(t, ch.As("r"), 10))
	})
}

func TestStoreEvictByCount(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2", "m3", "m4")
	n, err := ch.As("host").EvictBeyond(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"m3", "m4"}, sharedRead(t, ch.As("r"), 10))
}

func TestStoreRemoveByID(t *testing.T) {
	ch, ids := storeOf(t, "m1", "m2", "m3")
	n, err := ch.As("host").Remove(t.Context(), ids[0], ids[2])
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"m2"}, sharedRead(t, ch.As("r"), 10))
}

// --- passthrough ---------------------------------------------------------------------------------------------------------

// Asserted by effect: the channel takes writes, and there is no goroutine that would keep the bubble from ending.
func TestPassthroughStartNoLoopTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch, _ := storeOf(t, "m1")
		require.Equal(t, []string{"m1"}, sharedRead(t, ch.As("r"), 1))
	})
}

func TestPassthroughWriteRawData(t *testing.T) {
	ch := upstream(t, chansec.NewPassthrough[map[string]int])
	_, err := ch.As("writer").Write(t.Context(), map[string]int{"temp": 42})
	require.NoError(t, err)
	messages, err := ch.As("r").Read(t.Context(), 1)
	require.NoError(t, err)
	require.JSONEq(t, `{"data":{"temp":42}}`, contentOf(t, messages[0].Content))
}

func TestPassthroughWriteReturnsStableID(t *testing.T) {
	ch, ids := storeOf(t, "m1")
	messages, err := ch.As("r").Read(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, ids[0], messages[0].ID)
}

// Differs (6.B1 to 6.B3): a ready-made message cannot bring its ID, its time or another sender.
func TestPassthroughWriteDirect(t *testing.T) {
	ch, _ := storeOf(t)
	w := ch.As("writer")
	id, err := w.WriteMessage(t.Context(), chansec.Message[string]{Content: "m1", SenderID: "writer", CorrelationID: "c"})
	require.NoError(t, err)
	messages, err := ch.As("r").Read(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, id, messages[0].ID)
	require.Equal(t, "c", messages[0].CorrelationID)
	for _, m := range []chansec.Message[string]{{ID: uuid.New()}, {Timestamp: time.Unix(1, 0)}, {SenderID: "somebody"}} {
		_, err := w.WriteMessage(t.Context(), m)
		require.ErrorIs(t, err, chansec.ErrInvalid)
	}
}

// Differs: WriteMessage takes a message, so that anything else does not compile.
func TestPassthroughWriteDirectRequiresChannelMessage(t *testing.T) {
	ch, _ := storeOf(t)
	var write func(context.Context, chansec.Message[string]) (uuid.UUID, error) = ch.As("writer").WriteMessage
	require.NotNil(t, write)
}

func TestPassthroughWriteRejectedWhenNotAccepting(t *testing.T) {
	ch, err := chansec.NewPassthrough[string]("ch-1", chansec.WithSecurity(chansec.OpenSecurity{}))
	require.NoError(t, err)
	defer ch.Close()
	_, err = ch.As("writer").Write(t.Context(), "m1")
	require.ErrorIs(t, err, chansec.ErrNotAccepting)
	require.ErrorContains(t, err, "not accepting writes")
}

func TestPassthroughReadSharedReturnsMessages(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2")
	require.Equal(t, []string{"m1", "m2"}, sharedRead(t, ch.As("r"), 10))
}

func TestPassthroughReadSharedCursorAdvances(t *testing.T) {
	ch, _ := storeOf(t, "m1", "m2")
	require.Equal(t, []string{"m1"}, sharedRead(t, ch.As("r"), 1))
	require.Equal(t, []string{"m2"}, sharedRead(t, ch.As("r"), 10))
}

func emptyACL(t *testing.T) *chansec.PassthroughChannel[string] {
	t.Helper()
	acl, err := chansec.NewACLSecurity()
	require.NoError(t, err)
	return upstream(t, chansec.NewPassthrough[string], chansec.WithSecurity(acl))
}

func TestPassthroughReadPermissionDenied(t *testing.T) {
	_, err := emptyACL(t).As("r").Read(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrPermission)
}

// Differs (6.B6): a write does not wait for those who subscribed.
func TestPassthroughSubscribeReceivesMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch, _ := storeOf(t)
		got, _ := delivered(t, ch.As("s"))
		ids := storeMore(t, ch.As("writer"), "m1")
		synctest.Wait()
		require.Len(t, *got, 1)
		require.Equal(t, ids[0], (*got)[0].ID)
	})
}

// Differs (6.B4): who has the lease ends it, and nobody can by naming the subscriber.
func TestPassthroughUnsubscribeStopsDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch, _ := storeOf(t)
		got, lease := delivered(t, ch.As("s"))
		require.NoError(t, lease.Close())
		storeMore(t, ch.As("writer"), "m1")
		synctest.Wait()
		require.Empty(t, *got)
	})
}

// Differs (6.B5): and it is asked again for every message, and when something changes.
func TestPassthroughSubscribePermissionDenied(t *testing.T) {
	_, err := emptyACL(t).As("s").Subscribe(t.Context())
	require.ErrorIs(t, err, chansec.ErrPermission)

	synctest.Test(t, func(t *testing.T) {
		acl, err := chansec.NewACLSecurity(chansec.ACLRead("s"), chansec.ACLWrite("writer"))
		require.NoError(t, err)
		ch := upstream(t, chansec.NewPassthrough[string], chansec.WithSecurity(acl))
		got, lease := delivered(t, ch.As("s"))
		require.True(t, acl.Revoke("s"))
		storeMore(t, ch.As("writer"), "m1")
		<-lease.Done()
		synctest.Wait()
		require.Empty(t, *got)
		require.ErrorIs(t, lease.Err(), chansec.ErrRevoked)
	})
}

// Differs: there is no conversion: the content has the channel's type. In memory it is the very value that was written.
func TestPassthroughConvertFnPassthroughChannelMessage(t *testing.T) {
	type content struct{ N int }
	ch := upstream(t, chansec.NewPassthrough[*content])
	written := &content{1}
	_, err := ch.As("writer").Write(t.Context(), written)
	require.NoError(t, err)
	messages, err := ch.As("r").Read(t.Context(), 1)
	require.NoError(t, err)
	require.Same(t, written, messages[0].Content)
}

func TestPassthroughConvertFnWrapsMessageContent(t *testing.T) {
	type content struct {
		N int `json:"n"`
	}
	ch := upstream(t, chansec.NewPassthrough[content])
	_, err := ch.As("writer").Write(t.Context(), content{1})
	require.NoError(t, err)
	messages, err := ch.As("r").Read(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, content{1}, messages[0].Content)
	require.JSONEq(t, `{"n":1}`, contentOf(t, messages[0].Content))
}

func TestPassthroughConvertFnWrapsArbitraryData(t *testing.T) {
	ch := upstream(t, chansec.NewPassthrough[any])
	_, err := ch.As("writer").Write(t.Context(), []int{1, 2, 3})
	require.NoError(t, err)
	messages, err := ch.As("r").Read(t.Context(), 1)
	require.NoError(t, err)
	require.JSONEq(t, `{"data":[1,2,3]}`, contentOf(t, messages[0].Content))
}

// --- broadcast -----------------------------------------------------------------------------------------------------------

// Differs: a broadcast's port has no Claim, so that it does not compile.
func TestBroadcastExclusiveReadRaises(t *testing.T) {
	var port chansec.BroadcastPort[string] = upstream(t, chansec.NewBroadcast[string]).As("r")
	var _ interface {
		chansec.Writer[string]
		chansec.Reader[string]
		chansec.Subscriber[string]
		chansec.Host[string]
		chansec.Inspector
	} = port
}

func TestBroadcastSharedRead(t *testing.T) {
	ch := upstream(t, chansec.NewBroadcast[string])
	storeMore(t, ch.As("writer"), "m1")
	messages, err := ch.As("r").Read(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "writer", messages[0].SenderID)
}

func TestBroadcastMultipleReadersEachSeeAll(t *testing.T) {
	ch := upstream(t, chansec.NewBroadcast[string])
	storeMore(t, ch.As("writer"), "m1", "m2")
	for _, r := range []string{"r1", "r2"} {
		require.Equal(t, []string{"m1", "m2"}, sharedRead(t, ch.As(r), 10))
	}
}

func TestBroadcastSubscribersReceiveMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := upstream(t, chansec.NewBroadcast[string])
		first, _ := delivered(t, ch.As("s1"))
		second, _ := delivered(t, ch.As("s2"))
		ids := storeMore(t, ch.As("writer"), "m1")
		synctest.Wait()
		require.Equal(t, ids[0], (*first)[0].ID)
		require.Equal(t, ids[0], (*second)[0].ID)
	})
}

func TestBroadcastUnsubscribeStopsDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := upstream(t, chansec.NewBroadcast[string])
		got, lease := delivered(t, ch.As("s"))
		require.NoError(t, lease.Close())
		storeMore(t, ch.As("writer"), "m1")
		synctest.Wait()
		require.Empty(t, *got)
	})
}

// --- work queue ----------------------------------------------------------------------------------------------------------

func jobs(t *testing.T, list ...string) *chansec.WorkQueueChannel[string] {
	t.Helper()
	q := upstream(t, chansec.NewWorkQueue[string], chansec.WithClaimTimeout(time.Minute))
	storeMore(t, q.As("writer"), list...)
	return q
}

func TestWorkQueueExclusiveReadClaimsMessages(t *testing.T) {
	q := jobs(t, "m1", "m2", "m3")
	list, _ := exclusiveRead(t, q.As("w1"), 2)
	require.Equal(t, []string{"m1", "m2"}, list)
}

// Differs: a work queue's port has no Read and no Subscribe, so that they do not compile, and no default could choose them.
func TestWorkQueueSharedReadRaises(t *testing.T) {
	var port chansec.WorkQueuePort[string] = jobs(t).As("w1")
	var _ interface {
		chansec.Writer[string]
		chansec.Worker[string]
		chansec.Host[string]
		chansec.Inspector
	} = port
}

func TestWorkQueueDefaultExclusiveFalseRaises(t *testing.T) { TestWorkQueueSharedReadRaises(t) }

func TestWorkQueueClaimedHiddenFromOtherWorkers(t *testing.T) {
	q := jobs(t, "m1", "m2", "m3")
	exclusiveRead(t, q.As("w1"), 2)
	list, _ := exclusiveRead(t, q.As("w2"), 10)
	require.Equal(t, []string{"m3"}, list)
}

func TestWorkQueueAcknowledgePermanentlyRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := jobs(t, "m1", "m2")
		_, claims := exclusiveRead(t, q.As("w1"), 2)
		require.NoError(t, claims[0].Acknowledge(t.Context()))
		<-time.After(time.Hour)
		list, _ := exclusiveRead(t, q.As("w1"), 10)
		require.Equal(t, []string{"m2"}, list)
	})
}

func TestWorkQueueNackReleasesForOtherWorker(t *testing.T) {
	q := jobs(t, "m1")
	_, claims := exclusiveRead(t, q.As("w1"), 1)
	require.NoError(t, claims[0].Nack(t.Context()))
	list, _ := exclusiveRead(t, q.As("w2"), 1)
	require.Equal(t, []string{"m1"}, list)
}

func TestWorkQueueNackOtherWorkersClaimIgnored(t *testing.T) {
	q := jobs(t, "m1")
	_, claims := exclusiveRead(t, q.As("w1"), 1)
	n, err := q.As("w2").Nack(t.Context(), claims[0].Receipt())
	require.NoError(t, err)
	require.Zero(t, n)
	list, _ := exclusiveRead(t, q.As("w2"), 1)
	require.Empty(t, list)
}

func TestWorkQueueLazyReclaimOnRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := jobs(t, "m1")
		exclusiveRead(t, q.As("w1"), 1)
		<-time.After(time.Minute)
		list, _ := exclusiveRead(t, q.As("w2"), 1)
		require.Equal(t, []string{"m1"}, list)
	})
}

// Differs: there is no maintenance to wait for. Whoever waits for work gets it when the time of another's claim is over.
func TestWorkQueueOnMaintainReclaimsExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := jobs(t, "m1")
		exclusiveRead(t, q.As("w1"), 1)
		began := time.Now()
		c, err := q.As("w2").ClaimNext(t.Context())
		require.NoError(t, err)
		require.Equal(t, "m1", c.Message.Content)
		require.Equal(t, time.Minute, time.Since(began))
	})
}

// --- system --------------------------------------------------------------------------------------------------------------

// component is what a system hands to a child: the ports it may use, and nothing to make others of.
type component struct {
	in  chansec.Subscriber[string]
	out chansec.Writer[string]
}

func (c component) step(ctx context.Context, m string) error {
	_, err := c.out.Write(ctx, m)
	return err
}

// Differs: there is no object for a system. A child is given ports, and neither sees other channels nor can name others.
func TestSystemAddSubsystemConnectsOnlyExplicitChannels(t *testing.T) {
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("child"))
	require.NoError(t, err)
	require.NoError(t, acl.GrantOn("parent", chansec.RoleAdmin, "secret"))
	wired := upstream(t, chansec.NewBroadcast[string], chansec.WithSecurity(acl))
	child := component{in: wired.As("child"), out: wired.As("child")}
	require.NoError(t, child.step(t.Context(), "m1"))
	messages, err := wired.As("child").Read(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "child", messages[0].SenderID)
	_, err = wired.As("parent").Read(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrPermission)
}

// Differs: whoever makes the channels starts them.
func TestSystemLaunchStartsChannelsAndSubsystemsInProcess(t *testing.T) {
	ch, err := chansec.NewBroadcast[string]("ch-1", chansec.WithSecurity(chansec.OpenSecurity{}))
	require.NoError(t, err)
	defer ch.Close()
	child := component{in: ch.As("child"), out: ch.As("child")}
	lease, err := child.in.Subscribe(t.Context())
	require.NoError(t, err, "wired before it is launched")
	require.ErrorIs(t, child.step(t.Context(), "m1"), chansec.ErrNotAccepting)
	require.NoError(t, ch.Start(t.Context()))
	require.NoError(t, child.step(t.Context(), "m1"))
	for m, err := range lease.Messages(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "m1", m.Content)
		break
	}
}

// Here, what publishing looks at: the visibility, private unless it was asked for. It allows nothing by itself.
func TestSystemPublishAttachesHTTPTransportOnlyToPublicChannelsAndRegistersDiscovery(t *testing.T) {
	acl, err := chansec.NewACLSecurity(chansec.ACLRead("r"))
	require.NoError(t, err)
	private := upstream(t, chansec.NewBroadcast[string], chansec.WithSecurity(acl))
	public := upstream(t, chansec.NewBroadcast[string], chansec.WithSecurity(acl), chansec.WithVisibility(chansec.Public))
	for want, ch := range map[chansec.Visibility]*chansec.BroadcastChannel[string]{chansec.Private: private, chansec.Public: public} {
		info, err := ch.As("r").Info(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, info.Visibility)
		_, err = ch.As("anyone").Info(t.Context())
		require.ErrorIs(t, err, chansec.ErrPermission)
	}
}
