package chansec

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
	"github.com/chansec/chansec/internal/memory"
)

// part is content that survives encoding/json.
type part struct {
	Name  string            `json:"name"`
	Sizes []float64         `json:"sizes"`
	Next  *part             `json:"next,omitempty"`
	Tags  map[string]string `json:"tags,omitempty"`
}

// story does everything that a port can do and tells what came of it.
func story(t *testing.T, opts ...Option) (lines []string) {
	ctx := t.Context()
	m, err := NewMailbox[part]("room", append(opts, WithSecurity(OpenSecurity{}), WithMaxMessages(6), WithClaimTimeout(time.Minute))...)
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, m.Start(ctx))
	tell := func(what string, args ...any) {
		for i, a := range args {
			switch a := a.(type) {
			case []Message[part]:
				args[i] = stripped(a...)
			case []Claim[part]:
				var list []Message[part]
				for _, c := range a {
					list = append(list, c.Message)
					args[i] = fmt.Sprint(args[i], c.Attempt, c.Deadline.Equal(time.Now().Add(time.Minute)))
				}
				args[i] = stripped(list...)
			}
		}
		lines = append(lines, fmt.Sprint(append([]any{what}, args...)...))
	}
	alice, bob, host := m.As("alice"), m.As("bob"), m.As("host")
	lease, err := alice.Subscribe(ctx)
	require.NoError(t, err)

	first, err := bob.WriteMessage(ctx, Message[part]{Content: part{Name: "wheel", Sizes: []float64{1.25, -0.5}, Next: &part{Name: "nut"}, Tags: map[string]string{"é": "<&>"}},
		Metadata: map[string]any{"n": 1.0, "deep": map[string]any{"l": []any{"x", nil, true}}}, CorrelationID: "c", ReplyTo: "r", RecipientID: "alice"})
	require.NoError(t, err)
	_, err = bob.WriteTo(ctx, "carol", part{})
	require.NoError(t, err)
	for i := range 3 {
		_, err = alice.Write(ctx, part{Name: fmt.Sprint(i)})
		require.NoError(t, err)
	}
	messages, err := alice.Read(ctx, 2)
	tell("Read", messages, err)
	messages, err = alice.ReadAfter(ctx, first, 10)
	tell("ReadAfter", messages, err)
	for m, err := range lease.Messages(ctx) {
		tell("lease", stripped(m), err)
		if m.Content.Name == "2" {
			break
		}
	}
	claims, err := alice.Claim(ctx, 2)
	tell("Claim", claims, err)
	n, err := alice.Extend(ctx, claims[0].Receipt())
	tell("Extend", n, err)
	n, err = alice.Nack(ctx, claims[1].Receipt())
	tell("Nack", n, err)
	tell("Acknowledge", claims[0].Acknowledge(ctx), claims[0].Acknowledge(ctx))
	one, err := alice.ClaimNext(ctx)
	tell("ClaimNext", []Claim[part]{one}, err)
	n, err = host.Len(ctx)
	tell("Len", n, err)
	n, err = host.RemoveFunc(ctx, func(m Message[part]) bool { return m.RecipientID == "carol" })
	tell("RemoveFunc", n, err)
	n, err = host.Remove(ctx, one.Message.ID)
	tell("Remove", n, err)
	for i := range 6 {
		_, err = alice.Write(ctx, part{Name: fmt.Sprint("more-", i)})
		require.NoError(t, err)
	}
	messages, err = bob.Read(ctx, 3)
	tell("Read", messages, err)
	n, err = host.EvictBeyond(ctx, 2)
	tell("EvictBeyond", n, err)
	messages, err = bob.Read(ctx, 3)
	tell("Read", messages, err)
	messages, err = bob.Read(ctx, 3)
	tell("Read", messages, err)
	n, err = host.EvictBefore(ctx, time.Now().Add(time.Hour))
	tell("EvictBefore", n, err)
	n, err = host.Clear(ctx)
	tell("Clear", n, err)
	return lines
}

// stripped is messages without their IDs, which are random.
func stripped(list ...Message[part]) string {
	text := ""
	for _, m := range list {
		text += fmt.Sprintf("[%s %+v %v %s %s %s %v", m.SenderID, m.Content, m.Metadata, m.CorrelationID, m.ReplyTo, m.RecipientID, m.Timestamp.Equal(time.Now()))
		for p := m.Content.Next; p != nil; p = p.Next {
			text += p.Name
		}
		text += "]"
	}
	return text
}

var address = regexp.MustCompile(`0x[0-9a-f]+`)

func TestBackendOfBytesIsLikeTheOneInMemory(t *testing.T) {
	var want, got []string
	synctest.Test(t, func(t *testing.T) { want = story(t) })
	synctest.Test(t, func(t *testing.T) { got = story(t, newSpy().option()) })
	for _, lines := range [][]string{want, got} {
		for i, line := range lines { // what points elsewhere prints as an address
			lines[i] = address.ReplaceAllString(line, "&")
		}
	}
	require.Equal(t, want, got)
}

func TestMessageIsEncodedOnce(t *testing.T) {
	ch, err := NewBroadcast[*counting]("room", WithSecurity(OpenSecurity{}), newSpy().option())
	require.NoError(t, err)
	defer ch.Close()
	require.NoError(t, ch.Start(t.Context()))
	c := &counting{}
	_, err = ch.As("w").Write(t.Context(), c)
	require.NoError(t, err)
	for _, name := range []string{"a", "b", "c"} {
		m, err := ch.As(name).Read(t.Context(), 1)
		require.NoError(t, err)
		require.Len(t, m, 1)
		require.NotSame(t, c, m[0].Content)
	}
	require.Equal(t, 1, c.encoded)
}

type counting struct{ encoded int }

func (c *counting) MarshalJSON() ([]byte, error) { c.encoded++; return []byte(`{}`), nil }

func TestContentThatCannotBeEncodedIsRefused(t *testing.T) {
	ctx := t.Context()
	ch, err := NewBroadcast[any]("room", WithSecurity(OpenSecurity{}), newSpy().option())
	require.NoError(t, err)
	defer ch.Close()
	require.NoError(t, ch.Start(ctx))
	for name, m := range map[string]Message[any]{
		"a channel":               {Content: make(chan int)},
		"a number that is none":   {Content: math.NaN()},
		"metadata with a func":    {Content: 1, Metadata: map[string]any{"f": func() {}}},
		"content that is a cycle": {Content: cycle()},
	} {
		_, err := ch.As("w").WriteMessage(ctx, m)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	n, err := ch.As("host").Len(ctx)
	require.NoError(t, err)
	require.Zero(t, n)
}

func cycle() any {
	m := map[string]any{}
	m["m"] = m
	return m
}

// An entry may come from another program, or from before a type changed.
func TestEntryThatCannotBeDecoded(t *testing.T) {
	ctx := t.Context()
	set := func(t *testing.T, k anyKind) (anyChannel, *spy) {
		s := newSpy()
		ch := k.started(t, WithSecurity(OpenSecurity{}), s.option())
		write(t, ch, "1")
		_, err := s.Backend.Append(ctx, driver.Head{}, []byte(`{"Content":`))
		require.NoError(t, err)
		write(t, ch, "3")
		return ch, s
	}
	t.Run("stops a read in front of it", func(t *testing.T) {
		ch, _ := set(t, aBroadcast)
		r := ch.as("r").(Reader[string])
		m, err := r.Read(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"1"}, contents(m))
		for range 2 {
			_, err = r.Read(ctx, 10)
			require.Error(t, err, "it is not passed over in silence")
			require.NotErrorIs(t, err, ErrLagged)
		}
		_, err = ch.as("host").RemoveFunc(ctx, func(Message[string]) bool { return false })
		require.Error(t, err)
		_, err = ch.as("host").EvictBeyond(ctx, 1)
		require.NoError(t, err)
		_, err = r.Read(ctx, 10)
		require.Equal(t, &LaggedError{Missed: 1}, err)
		m, err = r.Read(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"3"}, contents(m))
	})
	t.Run("ends a lease behind what came before", func(t *testing.T) {
		s := newSpy()
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), s.option())
		lease := subscribe(t, ch.as("r"))
		write(t, ch, "1")
		_, err := s.Backend.Append(ctx, driver.Head{}, []byte(`null{`))
		require.NoError(t, err)
		var got []string
		var last error
		for m, err := range lease.Messages(ctx) {
			if last = err; err == nil {
				got = append(got, m.Content)
			}
		}
		require.Equal(t, []string{"1"}, got)
		require.Error(t, last)
		require.Equal(t, last, lease.Err())
	})
	t.Run("goes back to the queue, and the others do not stay out of sight", func(t *testing.T) {
		ch, _ := set(t, aWorkQueue)
		w := ch.as("a").(Worker[string])
		c, err := w.Claim(ctx, 3)
		require.NoError(t, err)
		require.Equal(t, []string{"1", "3"}, claimed(c))
		_, err = w.Claim(ctx, 3)
		require.Error(t, err)
		_, err = w.ClaimNext(ctx)
		require.Error(t, err)
	})
	t.Run("is reported where it cannot even be given back", func(t *testing.T) {
		broken := errors.New("connection lost")
		s := newSpy()
		q := workQueueOf(t, WithBackend(func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
			b, err := s.open(ctx, id, cfg)
			return deafQueue{b, broken, make(chan struct{}, 9)}, err
		}))
		_, err := s.Backend.Append(ctx, driver.Head{}, []byte(`[]`))
		require.NoError(t, err)
		_, err = q.As("a").Claim(ctx, 1)
		require.ErrorIs(t, err, broken)
	})
}

// Keyed channels will use these.
func TestEncodedEntriesOfAKey(t *testing.T) {
	ctx := t.Context()
	raw, err := memory.Open[[]byte](ctx, "room", driver.Config{MaxMessages: 10})
	require.NoError(t, err)
	b := encoded[float64]{raw}
	first, err := b.AppendIf(ctx, driver.Head{Key: "k"}, body[float64]{SenderID: "w", Content: 1}, 0)
	require.NoError(t, err)
	_, err = b.AppendIf(ctx, driver.Head{Key: "k"}, body[float64]{Content: 2}, 0)
	require.ErrorIs(t, err, driver.ErrConflict)
	_, err = b.AppendIf(ctx, driver.Head{Key: "k"}, body[float64]{Content: math.Inf(1)}, first.Seq)
	require.ErrorIs(t, err, ErrInvalid)
	last, err := b.Last(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, driver.Entry[body[float64]]{Stamp: first, Key: "k", Value: body[float64]{SenderID: "w", Content: 1}}, last)
	_, err = b.Last(ctx, "other")
	require.ErrorIs(t, err, driver.ErrNotFound)
}

func TestErrorsOfADriverAreTranslated(t *testing.T) {
	ctx := t.Context()
	for from, to := range map[error]error{
		driver.ErrClosed: ErrClosed, driver.ErrFull: ErrFull, driver.ErrNotFound: ErrUnknownMessage,
		fmt.Errorf("nats: %w", driver.ErrClosed): ErrClosed, context.DeadlineExceeded: context.DeadlineExceeded, errTest: errTest,
	} {
		s := newSpy()
		ch := aPassthrough.started(t, WithSecurity(OpenSecurity{}), WithBackend(func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
			b, err := s.open(ctx, id, cfg)
			return brokenBackend{b, from}, err
		}))
		for _, op := range operationsOf(ch.as("x")) {
			switch op.name {
			case "Write", "WriteMessage", "Read", "Subscribe", "SubscribeFunc", "Claim", "ClaimNext", "Acknowledge", "Extend", "Clear", "Len", "Remove", "RemoveFunc", "EvictBefore", "EvictBeyond":
				err := op.do(ctx)
				require.ErrorIs(t, err, to, "%s: %v", op.name, from)
				require.NotErrorIs(t, err, ErrPermission)
			}
		}
	}
}

var errTest = errors.New("connection lost")

// brokenBackend fails at everything.
type brokenBackend struct {
	driver.Backend[[]byte]
	err error
}

func (b brokenBackend) Append(context.Context, driver.Head, []byte) (driver.Stamp, error) {
	return driver.Stamp{}, b.err
}
func (b brokenBackend) Open(context.Context, driver.View, driver.From) (driver.Reader[[]byte], error) {
	return nil, b.err
}
func (b brokenBackend) Claim(_ context.Context, _ driver.Consumer, _ string, _ int, _ time.Duration, dst []driver.Claimed[[]byte]) ([]driver.Claimed[[]byte], error) {
	return dst, b.err
}
func (b brokenBackend) Ack(context.Context, string, driver.Receipt) (bool, error) {
	return false, b.err
}
func (b brokenBackend) Extend(context.Context, string, driver.Receipt, time.Duration) (time.Time, bool, error) {
	return time.Time{}, false, b.err
}
func (b brokenBackend) Clear(context.Context) (int, error)                 { return 0, b.err }
func (b brokenBackend) Len(context.Context) (int, error)                   { return 0, b.err }
func (b brokenBackend) Evict(context.Context, time.Time, int) (int, error) { return 0, b.err }
func (b brokenBackend) Remove(context.Context, []uuid.UUID) (int, error)   { return 0, b.err }
