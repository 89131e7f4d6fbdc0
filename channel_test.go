package chansec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

// anyPort is what the ports of all kinds can do.
type anyPort interface {
	Writer[string]
	Host[string]
	Inspector
}

// anyChannel is a channel of one of the kinds.
type anyChannel struct {
	*core[string]
	as func(systemID string) anyPort
	of func(caller Caller) anyPort // For
}

// anyKind makes channels of one kind, closed when the test ends.
type anyKind struct {
	name string
	try  func(id string, opts ...Option) (anyChannel, error)
}

func (k anyKind) open(t testing.TB, opts ...Option) anyChannel {
	t.Helper()
	ch, err := k.try("room", opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ch.Close()) })
	return ch
}

func (k anyKind) started(t testing.TB, opts ...Option) anyChannel {
	t.Helper()
	ch := k.open(t, opts...)
	require.NoError(t, ch.Start(t.Context()))
	return ch
}

// The ports of the kinds, with the methods that their interfaces promise and no other. The settler is what a claim settles
// itself by.
type (
	onlyPassthrough struct {
		PassthroughPort[string]
		settler
	}
	onlyBroadcast struct{ BroadcastPort[string] }
	onlyWorkQueue struct {
		WorkQueuePort[string]
		settler
	}
	onlyMailbox struct {
		MailboxPort[string]
		settler
	}
)

var (
	aPassthrough = anyKind{"passthrough", func(id string, opts ...Option) (anyChannel, error) {
		c, err := NewPassthrough[string](id, opts...)
		if err != nil {
			return anyChannel{}, err
		}
		return anyChannel{c.core,
			func(s string) anyPort { return onlyPassthrough{c.As(s), &port[string]{c: c.core, who: wired(s)}} },
			func(s Caller) anyPort { return onlyPassthrough{c.For(s), &port[string]{c: c.core, who: verified(s)}} }}, nil
	}}
	aBroadcast = anyKind{"broadcast", func(id string, opts ...Option) (anyChannel, error) {
		c, err := NewBroadcast[string](id, opts...)
		if err != nil {
			return anyChannel{}, err
		}
		return anyChannel{c.core,
			func(s string) anyPort { return onlyBroadcast{c.As(s)} },
			func(s Caller) anyPort { return onlyBroadcast{c.For(s)} }}, nil
	}}
	aWorkQueue = anyKind{"work queue", func(id string, opts ...Option) (anyChannel, error) {
		c, err := NewWorkQueue[string](id, opts...)
		if err != nil {
			return anyChannel{}, err
		}
		return anyChannel{c.core,
			func(s string) anyPort { return onlyWorkQueue{c.As(s), &port[string]{c: c.core, who: wired(s)}} },
			func(s Caller) anyPort { return onlyWorkQueue{c.For(s), &port[string]{c: c.core, who: verified(s)}} }}, nil
	}}
	aMailbox = anyKind{"mailbox", func(id string, opts ...Option) (anyChannel, error) {
		c, err := NewMailbox[string](id, opts...)
		if err != nil {
			return anyChannel{}, err
		}
		return anyChannel{c.core,
			func(s string) anyPort { return onlyMailbox{c.As(s), &port[string]{c: c.core, who: wired(s)}} },
			func(s Caller) anyPort { return onlyMailbox{c.For(s), &port[string]{c: c.core, who: verified(s)}} }}, nil
	}}
	everyKind = []anyKind{aPassthrough, aBroadcast, aWorkQueue, aMailbox}
)

// aclOf returns a list, aclOf(t, ACLRead("r")).
func aclOf(t testing.TB, opts ...ACLOption) *ACLSecurity {
	t.Helper()
	acl, err := NewACLSecurity(opts...)
	require.NoError(t, err)
	return acl
}

// jwtOf returns a security that signs with a key of ID "k1".
func jwtOf(t testing.TB, opts ...JWTOption) *JWTSecurity {
	t.Helper()
	j, err := NewJWTSecurity(hmacOf(t, "k1"), opts...)
	require.NoError(t, err)
	return j
}

func hmacOf(t testing.TB, id string) Key {
	t.Helper()
	key, err := HMACKey(id, "HS256", bytes.Repeat([]byte(id), 32)[:32])
	require.NoError(t, err)
	return key
}

// holderOf returns the caller that a fresh token proves.
func holderOf(t testing.TB, j *JWTSecurity, req TokenRequest) Caller {
	t.Helper()
	token, err := j.GenerateToken(t.Context(), req)
	require.NoError(t, err)
	p, err := j.Authenticate(t.Context(), token)
	require.NoError(t, err)
	return StaticCaller(p)
}

// logTo returns an option that collects the channel's log, and what it wrote so far.
func logTo() (Option, func() string) {
	b := &lockedBuffer{}
	return WithLogger(slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))), b.String
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// contents are those of messages.
func contents[T any](messages []Message[T]) []T {
	var list []T
	for _, m := range messages {
		list = append(list, m.Content)
	}
	return list
}

func TestChannelRefusesOptionsThatMakeNoSense(t *testing.T) {
	for _, row := range []struct {
		name string
		opt  Option
		in   anyKind
		what string // the argument that the error names
	}{
		{"no option at all", nil, aBroadcast, "option"},
		{"no security", WithSecurity(nil), aBroadcast, "ChannelSecurity"},
		{"no sink", WithAudit(nil), aBroadcast, "AuditSink"},
		{"no required sink", WithRequiredAudit(nil), aBroadcast, "AuditSink"},
		{"no logger", WithLogger(nil), aBroadcast, "logger"},
		{"no backend", WithBackend(nil), aBroadcast, "backend"},
		{"a visibility in upper case", WithVisibility("PUBLIC"), aBroadcast, "visibility"},
		{"no visibility", WithVisibility(""), aBroadcast, "visibility"},
		{"no room for messages", WithMaxMessages(0), aBroadcast, "maximum of messages"},
		{"room for more than memory", WithMaxMessages(1<<30 + 1), aBroadcast, "maximum of messages"},
		{"no readers", WithMaxReaders(0), aBroadcast, "maximum of readers"},
		{"a negative number of leases", WithMaxLeases(-1), aBroadcast, "maximum of leases"},
		{"an age of nothing", WithMaxAge(0), aBroadcast, "maximum age"},
		{"an age below a millisecond", WithMaxAge(time.Millisecond - 1), aBroadcast, "maximum age"},
		{"a work queue that forgets", WithMaxAge(time.Hour), aWorkQueue, "option WithMaxAge"},
		{"a broadcast with claims", WithClaimTimeout(time.Hour), aBroadcast, "option WithClaimTimeout"},
		{"a negative claim timeout", WithClaimTimeout(-time.Second), aWorkQueue, "claim timeout"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := row.in.try("room", row.opt)
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			require.ErrorIs(t, err, ErrInvalid)
			require.Equal(t, row.what, invalid.What)
			require.NotEmpty(t, invalid.Want, "the remedy")
		})
	}
}

func TestChannelTakesTheBoundsOfItsOptions(t *testing.T) {
	for _, k := range everyKind {
		t.Run(k.name, func(t *testing.T) {
			k.open(t, WithMaxMessages(1), WithMaxReaders(1), WithMaxLeases(1), WithVisibility(Public), WithVisibility(Private))
			k.open(t, WithMaxMessages(1<<30), WithMaxReaders(1<<30), WithMaxLeases(1<<30))
		})
	}
	for _, k := range []anyKind{aPassthrough, aWorkQueue, aMailbox} {
		k.open(t, WithClaimTimeout(time.Millisecond))
	}
	for _, k := range []anyKind{aPassthrough, aBroadcast, aMailbox} {
		k.open(t, WithMaxAge(time.Millisecond))
	}
}

func TestChannelOfEveryKindRefusesAnImpossibleID(t *testing.T) {
	for _, k := range everyKind {
		for _, id := range []string{"", "line\nbreak", "\xff"} {
			_, err := k.try(id)
			require.ErrorIs(t, err, ErrInvalid, "%s %q", k.name, id)
		}
	}
}

func TestChannelReportsABackendThatDoesNotOpen(t *testing.T) {
	broken := errors.New("no such server")
	_, err := aBroadcast.try("room", WithBackend(func(context.Context, string, driver.Config) (driver.Backend[[]byte], error) {
		return nil, broken
	}))
	require.ErrorIs(t, err, broken)
}

func TestChannelAsksItsBackendForWhatItsOptionsSay(t *testing.T) {
	for _, row := range []struct {
		kind anyKind
		opts []Option
		want driver.Config
	}{
		{aPassthrough, nil, driver.Config{MaxMessages: DefaultMaxMessages, Claims: true}},
		{aBroadcast, []Option{WithMaxMessages(7), WithMaxAge(time.Hour)}, driver.Config{MaxMessages: 7, MaxAge: time.Hour}},
		{aWorkQueue, nil, driver.Config{MaxMessages: DefaultQueueSize, Reject: true, Claims: true}},
		{aMailbox, []Option{WithMaxReaders(9)}, driver.Config{MaxMessages: DefaultMaxMessages, Claims: true, Boxes: true, MaxBoxes: 9}},
	} {
		t.Run(row.kind.name, func(t *testing.T) {
			s := newSpy()
			row.kind.open(t, append(row.opts, s.option())...)
			require.Equal(t, row.want, s.config)
			require.Equal(t, "room", s.channelID)
		})
	}
}

func TestInfoIsTheOneOfSssn(t *testing.T) {
	for _, row := range []struct {
		name string
		opts []Option
		want string
	}{
		{"with nothing set", nil,
			`{"id":"room","name":"room","description":"","visibility":"private","period":60}`},
		{"with everything set", []Option{WithDescription("Room 1", "temperatures"), WithVisibility(Public)},
			`{"id":"room","name":"Room 1","description":"temperatures","visibility":"public","period":60}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			ch := aBroadcast.open(t, append(row.opts, WithSecurity(OpenSecurity{}))...)
			info, err := ch.as("anyone").Info(t.Context())
			require.NoError(t, err)
			text, err := json.Marshal(info)
			require.NoError(t, err)
			require.Equal(t, row.want, string(text))
			require.Equal(t, "room", ch.ID())

			var back Info
			require.NoError(t, json.Unmarshal(text, &back))
			require.Equal(t, info, back)
		})
	}
}

func TestLimitsAreTypedErrorsThatChangeNothing(t *testing.T) {
	ctx := t.Context()
	t.Run("readers that the channel remembers", func(t *testing.T) {
		ch := aPassthrough.started(t, WithSecurity(OpenSecurity{}), WithMaxReaders(2))
		for _, name := range []string{"a", "b"} {
			_, err := ch.as(name).(Reader[string]).Read(ctx, 1)
			require.NoError(t, err)
		}
		_, err := ch.as("c").(Reader[string]).Read(ctx, 1)
		require.ErrorIs(t, err, ErrLimit)
		_, err = ch.as("a").(Reader[string]).Read(ctx, 1)
		require.NoError(t, err, "those who are remembered go on")
	})
	t.Run("workers with claims", func(t *testing.T) {
		ch := aWorkQueue.started(t, WithSecurity(OpenSecurity{}), WithMaxReaders(1))
		_, err := ch.as("z").(Worker[string]).Claim(ctx, 1)
		require.NoError(t, err, "who has none does not count")
		write(t, ch, "1", "2")
		_, err = ch.as("a").(Worker[string]).Claim(ctx, 1)
		require.NoError(t, err)
		_, err = ch.as("b").(Worker[string]).Claim(ctx, 1)
		require.ErrorIs(t, err, ErrLimit)
		_, err = ch.as("b").(Worker[string]).ClaimNext(ctx)
		require.ErrorIs(t, err, ErrLimit)
		c, err := ch.as("a").(Worker[string]).Claim(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, []string{"2"}, claimed(c), "what was refused was given back")
	})
	t.Run("leases, until one is closed", func(t *testing.T) {
		ch := aBroadcast.started(t, WithSecurity(OpenSecurity{}), WithMaxLeases(1))
		lease, err := ch.as("a").(Subscriber[string]).Subscribe(ctx)
		require.NoError(t, err)
		_, err = ch.as("b").(Subscriber[string]).Subscribe(ctx)
		require.ErrorIs(t, err, ErrLimit)
		require.NoError(t, lease.Close())
		_, err = ch.as("b").(Subscriber[string]).Subscribe(ctx)
		require.NoError(t, err)
	})
	t.Run("workers count as leases", func(t *testing.T) {
		ch := aPassthrough.started(t, WithSecurity(OpenSecurity{}), WithMaxLeases(1))
		lease := subscribe(t, ch.as("a"))
		write(t, ch, "1")
		_, err := ch.as("a").(Worker[string]).Claim(ctx, 1)
		require.ErrorIs(t, err, ErrLimit)
		require.NoError(t, lease.Close())
		_, err = ch.as("a").(Worker[string]).ClaimNext(ctx)
		require.NoError(t, err)
	})
}
