package chansec_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// dial opens a channel of the site for whoever a token proves.
func dial[T any](s *site, channelID, token string, opts ...chansec.DialOption) *chansec.RemoteChannel[T] {
	s.t.Helper()
	c, err := chansec.Dial[T](chansec.ChannelURL(s.URL, channelID), append([]chansec.DialOption{chansec.DialToken(token)}, opts...)...)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, c.Close()) })
	return c
}

// here and there are the two ways to the same kind of channel.
func hereAndThere(t *testing.T, test func(t *testing.T, open func(systemID string, role chansec.Role) chansec.PassthroughPort[reading])) {
	t.Run("in this process", func(t *testing.T) {
		acl, err := chansec.NewACLSecurity()
		require.NoError(t, err)
		c, err := chansec.NewPassthrough[reading]("c", chansec.WithSecurity(acl), chansec.WithMaxMessages(4))
		require.NoError(t, err)
		require.NoError(t, c.Start(t.Context()))
		defer c.Close()
		test(t, func(systemID string, role chansec.Role) chansec.PassthroughPort[reading] {
			require.NoError(t, acl.Grant(systemID, role))
			return c.As(systemID)
		})
	})
	t.Run("over HTTP", func(t *testing.T) {
		s := newSite(t)
		s.mount(chansec.NewPassthrough[reading]("c", chansec.WithSecurity(s.jwt), chansec.WithMaxMessages(4)))
		test(t, func(systemID string, role chansec.Role) chansec.PassthroughPort[reading] {
			return dial[reading](s, "c", s.token(systemID, role)).Passthrough()
		})
	})
}

func celsius(list []chansec.Message[reading]) (values []float64) {
	for _, m := range list {
		values = append(values, m.Content.Celsius)
	}
	return values
}

// TestRemotePortIsAPort: the same code has the same effects and errors, wherever its channel is.
func TestRemotePortIsAPort(t *testing.T) {
	hereAndThere(t, func(t *testing.T, open func(string, chansec.Role) chansec.PassthroughPort[reading]) {
		ctx := t.Context()
		writer, reader, admin := open("writer", chansec.RoleWrite), open("reader", chansec.RoleRead), open("admin", chansec.RoleAdmin)

		first, err := writer.Write(ctx, reading{1})
		require.NoError(t, err)
		second, err := writer.WriteMessage(ctx, chansec.Message[reading]{Content: reading{2}, SenderID: "writer", Metadata: map[string]any{"k": "v"}, CorrelationID: "x", ReplyTo: "y", RecipientID: "z"})
		require.NoError(t, err)
		got, err := reader.Read(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, []float64{1, 2}, celsius(got))
		require.Equal(t, []uuid.UUID{first, second}, []uuid.UUID{got[0].ID, got[1].ID})
		require.Equal(t, "writer", got[1].SenderID)
		require.WithinDuration(t, time.Now(), got[1].Timestamp, time.Minute)
		require.Equal(t, []any{map[string]any{"k": "v"}, "x", "y", "z"}, []any{got[1].Metadata, got[1].CorrelationID, got[1].ReplyTo, got[1].RecipientID})
		got, err = reader.Read(ctx, 10)
		require.NoError(t, err)
		require.Empty(t, got)
		got, err = reader.ReadAfter(ctx, first, 1)
		require.NoError(t, err)
		require.Equal(t, []float64{2}, celsius(got))

		claims, err := reader.Claim(ctx, 1)
		require.NoError(t, err)
		require.Len(t, claims, 1)
		require.EqualValues(t, 1, claims[0].Attempt)
		require.WithinDuration(t, time.Now().Add(chansec.DefaultClaimTimeout), claims[0].Deadline, time.Minute)
		require.NoError(t, claims[0].Extend(ctx))
		require.NoError(t, claims[0].Nack(ctx))
		require.ErrorIs(t, claims[0].Nack(ctx), chansec.ErrClaimLost)
		next, err := reader.ClaimNext(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 2, next.Attempt)
		n, err := reader.Acknowledge(ctx, claims[0].Receipt(), next.Receipt(), next.Receipt())
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = reader.Acknowledge(ctx)
		require.NoError(t, err)
		require.Zero(t, n)
		waiting, cancel := context.WithCancel(ctx)
		claims, err = reader.Claim(ctx, 10)
		require.NoError(t, err)
		require.Len(t, claims, 1)
		cancel()
		_, err = reader.ClaimNext(waiting)
		require.ErrorIs(t, err, context.Canceled)

		for range 6 {
			_, err = writer.Write(ctx, reading{3})
			require.NoError(t, err)
		}
		var lagged *chansec.LaggedError
		_, err = open("slow", chansec.RoleRead).ReadAfter(ctx, first, 1)
		require.ErrorAs(t, err, &lagged)
		require.ErrorIs(t, err, chansec.ErrLagged)

		count, err := admin.Len(ctx)
		require.NoError(t, err)
		require.Equal(t, 4, count)
		_, err = writer.Write(ctx, reading{9})
		require.NoError(t, err)
		n, err = admin.RemoveFunc(ctx, func(m chansec.Message[reading]) bool { return m.Content.Celsius == 9 })
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = admin.EvictBeyond(ctx, 2)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = admin.Remove(ctx, first, second)
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = admin.EvictBefore(ctx, time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, 2, n)
		n, err = admin.Clear(ctx)
		require.NoError(t, err)
		require.Zero(t, n)
		info, err := reader.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, "c", info.ID)
	})
}

func TestRemotePortHasTheSameErrors(t *testing.T) {
	hereAndThere(t, func(t *testing.T, open func(string, chansec.Role) chansec.PassthroughPort[reading]) {
		ctx := t.Context()
		reader, admin := open("reader", chansec.RoleRead), open("admin", chansec.RoleAdmin)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		for _, row := range []struct {
			name string
			want error
			do   func() error
		}{
			{"writing without the right", chansec.ErrPermission, func() error { _, err := reader.Write(ctx, reading{}); return err }},
			{"clearing without the right", chansec.ErrPermission, func() error { _, err := reader.Clear(ctx); return err }},
			{"evicting without the right", chansec.ErrPermission, func() error { _, err := reader.EvictBeyond(ctx, 1); return err }},
			{"removing without the right", chansec.ErrPermission, func() error { _, err := reader.Remove(ctx); return err }},
			{"removing by looking without the right", chansec.ErrPermission, func() error {
				_, err := reader.RemoveFunc(ctx, func(chansec.Message[reading]) bool { return true })
				return err
			}},
			{"counting without the right", chansec.ErrPermission, func() error { _, err := reader.Len(ctx); return err }},
			{"reading none", chansec.ErrInvalid, func() error { _, err := reader.Read(ctx, 0); return err }},
			{"reading too many", chansec.ErrInvalid, func() error { _, err := reader.Read(ctx, chansec.MaxReadLimit+1); return err }},
			{"claiming none", chansec.ErrInvalid, func() error { _, err := reader.Claim(ctx, 0); return err }},
			{"reading behind an unknown message", chansec.ErrUnknownMessage, func() error { _, err := reader.ReadAfter(ctx, uuid.New(), 1); return err }},
			{"reading behind no message", chansec.ErrUnknownMessage, func() error { _, err := reader.ReadAfter(ctx, uuid.Nil, 1); return err }},
			{"following behind an unknown message", chansec.ErrUnknownMessage, func() error { _, err := reader.SubscribeAfter(ctx, uuid.New()); return err }},
			{"following behind no message", chansec.ErrUnknownMessage, func() error { _, err := reader.SubscribeAfter(ctx, uuid.Nil); return err }},
			{"following with nothing", chansec.ErrInvalid, func() error { _, err := reader.SubscribeFunc(ctx, nil); return err }},
			{"removing by nothing", chansec.ErrInvalid, func() error { _, err := admin.RemoveFunc(ctx, nil); return err }},
			{"evicting before no time", chansec.ErrInvalid, func() error { _, err := admin.EvictBefore(ctx, time.Time{}); return err }},
			{"keeping less than none", chansec.ErrInvalid, func() error { _, err := admin.EvictBeyond(ctx, -1); return err }},
			{"writing a message with an ID", chansec.ErrInvalid, func() error {
				_, err := admin.WriteMessage(ctx, chansec.Message[reading]{ID: uuid.New()})
				return err
			}},
			{"writing a message with a time", chansec.ErrInvalid, func() error {
				_, err := admin.WriteMessage(ctx, chansec.Message[reading]{Timestamp: time.Now()})
				return err
			}},
			{"writing to nobody", chansec.ErrInvalid, func() error {
				_, err := admin.WriteMessage(ctx, chansec.Message[reading]{RecipientID: "\n"})
				return err
			}},
			{"an ended context", context.Canceled, func() error { _, err := admin.Write(ended, reading{}); return err }},
			{"an ended context, reading", context.Canceled, func() error { _, err := admin.Read(ended, 1); return err }},
			{"an ended context, following", context.Canceled, func() error { _, err := admin.Subscribe(ended); return err }},
		} {
			err := row.do()
			require.ErrorIs(t, err, row.want, row.name)
			require.Equal(t, row.want == chansec.ErrPermission, errors.Is(err, chansec.ErrPermission), row.name)
		}
	})
}

func TestRemoteLeaseIsALease(t *testing.T) {
	hereAndThere(t, func(t *testing.T, open func(string, chansec.Role) chansec.PassthroughPort[reading]) {
		ctx := t.Context()
		port := open("ann", chansec.RoleWrite)
		before, err := port.Write(ctx, reading{0})
		require.NoError(t, err)
		lease, err := port.Subscribe(ctx)
		require.NoError(t, err)
		behind, err := port.SubscribeAfter(ctx, before)
		require.NoError(t, err)
		called := make(chan float64)
		fn, err := port.SubscribeFunc(ctx, func(_ context.Context, m chansec.Message[reading]) error {
			called <- m.Content.Celsius
			return io.ErrUnexpectedEOF
		})
		require.NoError(t, err)
		_, err = port.Write(ctx, reading{1})
		require.NoError(t, err)
		_, err = port.Write(ctx, reading{2})
		require.NoError(t, err)
		for _, l := range []chansec.Lease[reading]{lease, behind} {
			want := 1.0
			for m, err := range l.Messages(ctx) {
				require.NoError(t, err)
				require.Equal(t, want, m.Content.Celsius)
				for _, err := range l.Messages(ctx) {
					require.ErrorIs(t, err, chansec.ErrBusy)
				}
				break
			}
			for m, err := range l.Messages(ctx) {
				require.NoError(t, err)
				require.Equal(t, 2.0, m.Content.Celsius, "a loop that was left goes on")
				break
			}
			gone, cancel := context.WithCancel(ctx)
			cancel()
			for _, err := range l.Messages(gone) {
				require.ErrorIs(t, err, context.Canceled)
			}
			require.NoError(t, l.Err())
			require.NoError(t, l.Close())
			require.NoError(t, l.Close())
			<-l.Done()
			require.ErrorIs(t, l.Err(), chansec.ErrClosed)
			for _, err := range l.Messages(ctx) {
				require.ErrorIs(t, err, chansec.ErrClosed)
			}
		}
		require.Equal(t, 1.0, <-called)
		<-fn.Done()
		require.ErrorIs(t, fn.Err(), io.ErrUnexpectedEOF)
	})
}

func TestRemotePortOfAnotherKind(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewWorkQueue[int]("q", chansec.WithSecurity(s.jwt), chansec.WithMaxMessages(1)))
	remote := dial[int](s, "q", s.token("w", chansec.RoleWrite))
	_, err := remote.Broadcast().Read(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrUnsupported)
	_, err = remote.WorkQueue().Write(t.Context(), 1)
	require.NoError(t, err)
	_, err = remote.WorkQueue().Write(t.Context(), 2)
	require.ErrorIs(t, err, chansec.ErrFull)
	_, isReader := remote.WorkQueue().(chansec.Reader[int])
	require.False(t, isReader, "a port has the operations of its kind only")
	_, err = dial[int](s, "none", s.token("w", chansec.RoleWrite)).Broadcast().Read(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrUnknownChannel)
	_, err = dial[int](s, "q", "nonsense").WorkQueue().Claim(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrUnauthenticated)
}

func TestRemoteMailbox(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewMailbox[string]("m", chansec.WithSecurity(s.jwt)))
	open := func(name string) chansec.MailboxPort[string] {
		return dial[string](s, "m", s.token(name, chansec.RoleWrite)).Mailbox()
	}
	_, err := open("ann").WriteTo(t.Context(), "bob", "hello")
	require.NoError(t, err)
	for name, want := range map[string]int{"bob": 1, "eve": 0} {
		got, err := open(name).Read(t.Context(), 10)
		require.NoError(t, err)
		require.Len(t, got, want, name)
	}
	_, err = open("ann").WriteTo(t.Context(), "", "hello")
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

// A lease goes on where it was when its connection breaks, and loses nothing.
func TestRemoteLeaseResumes(t *testing.T) {
	s := newSite(t)
	c, err := chansec.NewBroadcast[int]("c", chansec.WithSecurity(s.jwt))
	s.mount(c, err)
	lease, err := dial[int](s, "c", s.token("r", chansec.RoleRead)).Broadcast().Subscribe(t.Context())
	require.NoError(t, err)
	want := 0
	s.CloseClientConnections() // before the first message
	for i := range 5 {
		_, err := c.As("w").Write(t.Context(), i)
		require.NoError(t, err)
	}
	for m, err := range lease.Messages(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, want, m.Content)
		if want++; want == 50 {
			break
		}
		if want%5 == 0 {
			s.CloseClientConnections()
			for i := range 5 {
				_, err := c.As("w").Write(t.Context(), want+i)
				require.NoError(t, err)
			}
		}
	}
	require.True(t, s.transport.Unmount("c"))
	<-lease.Done()
	require.ErrorIs(t, lease.Err(), chansec.ErrClosed)
}

func TestRemoteLeaseThatCannotResumeEnds(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewBroadcast[int]("c", chansec.WithSecurity(s.jwt)))
	lease, err := dial[int](s, "c", s.token("r", chansec.RoleRead), chansec.DialPatience(50*time.Millisecond, time.Minute)).Broadcast().Subscribe(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.transport.Close())
	s.Server.Close()
	<-lease.Done()
	require.Error(t, lease.Err())
	require.NotErrorIs(t, lease.Err(), chansec.ErrPermission)
}

// A connection without any sign of life counts as broken.
func TestRemoteLeaseNoticesSilence(t *testing.T) {
	s := newSite(t, chansec.HTTPHeartbeat(time.Hour), chansec.HTTPTimeouts(time.Second, 2*time.Hour))
	c, err := chansec.NewBroadcast[int]("c", chansec.WithSecurity(s.jwt))
	s.mount(c, err)
	var opened atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			opened.Add(1)
		}
		s.transport.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	defer s.transport.Close()
	remote, err := chansec.Dial[int](chansec.ChannelURL(proxy.URL, "c"), chansec.DialToken(s.token("r", chansec.RoleRead)), chansec.DialPatience(time.Minute, 20*time.Millisecond))
	require.NoError(t, err)
	defer remote.Close()
	lease, err := remote.Broadcast().Subscribe(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return opened.Load() > 2 }, 10*time.Second, time.Millisecond)
	require.NoError(t, lease.Err())
}

// A token that was refused or has expired is replaced, if there is another.
func TestRemoteTokenIsRefreshed(t *testing.T) {
	s := newSite(t)
	c, err := chansec.NewBroadcast[int]("c", chansec.WithSecurity(s.jwt))
	s.mount(c, err)
	var asked atomic.Int64
	short := func(ctx context.Context) (string, error) {
		asked.Add(1)
		return s.jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "r", Role: chansec.RoleWrite, AllChannels: true, ExpiresIn: 2 * time.Second})
	}
	port := dial[int](s, "c", "", chansec.DialTokenSource(short)).Broadcast()
	lease, err := port.Subscribe(t.Context())
	require.NoError(t, err)
	began := time.Now()
	for n := 0; time.Since(began) < 5*time.Second; n++ {
		_, err := port.Write(t.Context(), n)
		require.NoError(t, err)
		for m, err := range lease.Messages(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, n, m.Content)
			break
		}
	}
	require.Greater(t, asked.Load(), int64(1))

	stubborn := dial[int](s, "c", "nonsense").Broadcast()
	_, err = stubborn.Write(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrUnauthenticated)
	failing := dial[int](s, "c", "", chansec.DialTokenSource(func(context.Context) (string, error) { return "", io.ErrNoProgress })).Broadcast()
	_, err = failing.Write(t.Context(), 1)
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// brittleServer breaks the connection of a request after it was served, a few times.
func brittleServer(t *testing.T, h http.Handler, breaks int) (url string, served *atomic.Int64) {
	served = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1) <= int64(breaks) {
			h.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(server.Close)
	return server.URL, served
}

func TestRemoteWriteIsRepeatedAndStoredOnce(t *testing.T) {
	s := newSite(t)
	c, err := chansec.NewPassthrough[int]("c", chansec.WithSecurity(s.jwt))
	s.mount(c, err)
	url, served := brittleServer(t, s.transport, 2)
	remote, err := chansec.Dial[int](chansec.ChannelURL(url, "c"), chansec.DialToken(s.token("w", chansec.RoleAdmin)))
	require.NoError(t, err)
	defer remote.Close()
	id, err := remote.Passthrough().Write(t.Context(), 7)
	require.NoError(t, err)
	require.EqualValues(t, 3, served.Load())
	got, err := c.As("r").Read(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, id, got[0].ID)
}

// What moves a position or ends a claim is sent once, also by net/http, which repeats requests that look harmless.
func TestRemoteReadIsNotRepeated(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewPassthrough[int]("c", chansec.WithSecurity(s.jwt)))
	for name, do := range map[string]func(chansec.PassthroughPort[int]) error{
		"read":        func(p chansec.PassthroughPort[int]) error { _, err := p.Read(t.Context(), 1); return err },
		"claim":       func(p chansec.PassthroughPort[int]) error { _, err := p.Claim(t.Context(), 1); return err },
		"acknowledge": func(p chansec.PassthroughPort[int]) error { _, err := p.Acknowledge(t.Context()); return err },
		"clear":       func(p chansec.PassthroughPort[int]) error { _, err := p.Clear(t.Context()); return err },
	} {
		var served atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if served.Add(1) == 2 { // on a connection that was used before
				panic(http.ErrAbortHandler)
			}
			s.transport.ServeHTTP(w, r)
		}))
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		remote, err := chansec.Dial[int](chansec.ChannelURL(server.URL, "c"), chansec.DialToken(s.token("a", chansec.RoleAdmin)))
		require.NoError(t, err)
		require.NoError(t, do(remote.Passthrough()), name)
		require.Error(t, do(remote.Passthrough()), name)
		require.EqualValues(t, 2, served.Load(), name)
		require.NoError(t, remote.Close())
		server.Close()
	}
}

// The token goes to nobody but the server that was named.
func TestRemoteFollowsNoRedirects(t *testing.T) {
	var got atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
	defer thief.Close()
	server := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	remote, err := chansec.Dial[int](chansec.ChannelURL(server.URL, "c"), chansec.DialToken("secret"))
	require.NoError(t, err)
	defer remote.Close()
	_, err = remote.Broadcast().Read(t.Context(), 1)
	var answer *chansec.RemoteError
	require.ErrorAs(t, err, &answer)
	require.Equal(t, http.StatusTemporaryRedirect, answer.Status)
	require.Zero(t, got.Load())
}

func TestRemoteAnswersThatMakeNoSense(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no JSON":        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"another shape":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"messages": 7}`) },
		"a short answer": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "9") },
		"a bad gateway": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, strings.Repeat("x", 1<<20), http.StatusBadGateway)
		},
		"a bad problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(500)
		},
		"a stolen claim": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"messages":[{"id":"0190f5fe-8b4c-7a1e-9f3c-2b6d5e4f3a21","timestamp":1,"content":{"data":1}}],"claims":[{"receipt":"x"}]}`)
		},
		"a missing claim": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"messages":[{"id":"0190f5fe-8b4c-7a1e-9f3c-2b6d5e4f3a21","timestamp":1,"content":{"data":1}}]}`)
		},
	} {
		server := httptest.NewServer(h)
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		remote, err := chansec.Dial[int](chansec.ChannelURL(server.URL, "c"), chansec.DialToken("t"))
		require.NoError(t, err)
		_, err = remote.WorkQueue().Claim(t.Context(), 1)
		require.Error(t, err, name)
		require.Less(t, len(err.Error()), 512, name)
		require.NoError(t, remote.Close())
		server.Close()
	}
}

func TestDialRefusesWhatMakesNoSense(t *testing.T) {
	ok := chansec.DialToken("t")
	for name, try := range map[string]struct {
		url  string
		opts []chansec.DialOption
	}{
		"no URL":                       {"", []chansec.DialOption{ok}},
		"no scheme":                    {"example.com/channels/c", []chansec.DialOption{ok}},
		"another scheme":               {"ftp://example.com/channels/c", []chansec.DialOption{ok}},
		"a token in the URL":           {"https://t@example.com/channels/c", []chansec.DialOption{ok}},
		"a query":                      {"https://example.com/channels/c?x=1", []chansec.DialOption{ok}},
		"a fragment":                   {"https://example.com/channels/c#x", []chansec.DialOption{ok}},
		"a token over an open network": {"http://example.com/channels/c", []chansec.DialOption{ok}},
		"no token":                     {"https://example.com/channels/c", nil},
		"no source":                    {"https://example.com/channels/c", []chansec.DialOption{chansec.DialTokenSource(nil)}},
		"no client":                    {"https://example.com/channels/c", []chansec.DialOption{ok, chansec.DialClient(nil)}},
		"a client with a timeout":      {"https://example.com/channels/c", []chansec.DialOption{ok, chansec.DialClient(&http.Client{Timeout: time.Second})}},
		"no patience":                  {"https://example.com/channels/c", []chansec.DialOption{ok, chansec.DialPatience(0, time.Second)}},
		"no option":                    {"https://example.com/channels/c", []chansec.DialOption{ok, nil}},
	} {
		_, err := chansec.Dial[int](try.url, try.opts...)
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
	for _, url := range []string{"http://localhost:1/channels/c", "http://127.0.0.1/channels/c", "http://[::1]/channels/c"} {
		_, err := chansec.Dial[int](url, ok)
		require.NoError(t, err)
	}
	_, err := chansec.Dial[int]("http://example.com/channels/c", ok, chansec.DialInsecure())
	require.NoError(t, err)
	bad, err := chansec.Dial[int]("http://127.0.0.1:1/channels/c", chansec.DialToken("two words"))
	require.NoError(t, err)
	_, err = bad.Broadcast().Read(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrInvalid)
	require.NotContains(t, err.Error(), "two words")
}

func TestChannelURLNamesAnyChannel(t *testing.T) {
	s := newSite(t)
	for _, id := range []string{"a", "a/b", "/", "a//b", "..", ".", "a b", "a?b#c", "%2F", "ä", "\u2028", "a;b", "{id}", "a/info", "events", strings.Repeat("x", 512)} {
		s.mount(chansec.NewBroadcast[string](id, chansec.WithSecurity(s.jwt)))
	}
	for _, id := range []string{"a", "a/b", "/", "a//b", "..", ".", "a b", "a?b#c", "%2F", "ä", "\u2028", "a;b", "{id}", "a/info", "events", strings.Repeat("x", 512)} {
		port := dial[string](s, id, s.token("w", chansec.RoleWrite, id)).Broadcast()
		_, err := port.Write(t.Context(), id)
		require.NoError(t, err, id)
		info, err := port.Info(t.Context())
		require.NoError(t, err, id)
		require.Equal(t, id, info.ID)
	}
}

func TestClosedRemoteChannel(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewBroadcast[int]("c", chansec.WithSecurity(s.jwt)))
	remote := dial[int](s, "c", s.token("w", chansec.RoleWrite))
	lease, err := remote.Broadcast().Subscribe(t.Context())
	require.NoError(t, err)
	require.NoError(t, remote.Close())
	<-lease.Done()
	require.ErrorIs(t, lease.Err(), chansec.ErrClosed)
	_, err = remote.Broadcast().Write(t.Context(), 1)
	require.ErrorIs(t, err, chansec.ErrClosed)
	_, err = remote.Broadcast().Subscribe(t.Context())
	require.ErrorIs(t, err, chansec.ErrClosed)
}
