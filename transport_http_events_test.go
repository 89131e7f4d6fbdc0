package chansec_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/sse"
)

// follower is a subscriber as curl would be one.
type follower struct {
	*sse.Reader
	t     *testing.T
	body  io.Closer
	leave context.CancelFunc
}

func (s *site) tryFollow(path, token string, header ...string) (*follower, int) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	s.t.Cleanup(cancel)
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	return &follower{Reader: sse.NewReader(resp.Body, 1<<20), t: s.t, body: resp.Body, leave: cancel}, resp.StatusCode
}

// follow subscribes, and passes over the event that says where it begins.
func (s *site) follow(path, token string, header ...string) *follower {
	s.t.Helper()
	f, status := s.tryFollow(path, token, header...)
	require.Equal(s.t, 200, status)
	e := f.event()
	require.Empty(s.t, e.Data)
	require.NoError(s.t, uuid.Validate(e.ID))
	return f
}

func (f *follower) event() sse.Event {
	f.t.Helper()
	e, err := f.Next()
	require.NoError(f.t, err)
	return e
}

// message reads the next event, which must be a message, and returns its content.
func (f *follower) message() any {
	f.t.Helper()
	e := f.event()
	require.Empty(f.t, e.Name, e.Data)
	m := answered{Body: e.Data}.json(f.t)
	require.Equal(f.t, e.ID, m["id"])
	return m["content"].(map[string]any)["data"]
}

// ends requires that the stream's last event has a name.
func (f *follower) ends(name string) {
	f.t.Helper()
	e := f.event()
	require.Equal(f.t, name, e.Name, e.Data)
	require.Equal(f.t, name, answered{Body: e.Data}.json(f.t)["reason"])
	_, err := f.Next()
	require.ErrorIs(f.t, err, io.EOF)
}

func TestHTTPEvents(t *testing.T) {
	s := newSite(t)
	c, err := chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt))
	s.mount(c, err)
	write, read := s.token("w", chansec.RoleWrite), s.token("r", chansec.RoleRead)
	s.send("PUT /channels/c", write, `"before"`)
	f := s.follow("/channels/c/events", read)
	for _, v := range []any{"one", 2.0, map[string]any{"three": "\n\r\n\u2028"}} {
		_, err := c.As("w").Write(t.Context(), v)
		require.NoError(t, err)
		require.Equal(t, v, f.message())
	}
}

func TestHTTPEventsResume(t *testing.T) {
	s := newSite(t)
	c, err := chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt), chansec.WithMaxMessages(3))
	s.mount(c, err)
	read := s.token("r", chansec.RoleRead)
	var ids []uuid.UUID
	write := func(values ...any) {
		for _, v := range values {
			id, err := c.As("w").Write(t.Context(), v)
			require.NoError(t, err)
			ids = append(ids, id)
		}
	}
	empty, _ := s.tryFollow("/channels/c/events", read)
	begin := empty.event().ID
	write(0.0, 1.0)
	require.Equal(t, 0.0, s.follow("/channels/c/events", read, "Last-Event-ID", begin).message(), "behind the beginning of a channel that was empty")

	require.Equal(t, 1.0, s.follow("/channels/c/events?after="+ids[0].String(), read).message())
	require.Equal(t, 1.0, s.follow("/channels/c/events?after="+ids[1].String(), read, "Last-Event-ID", ids[0].String()).message(), "the header is the later word")

	tail, _ := s.tryFollow("/channels/c/events", read)
	at := tail.event().ID
	tail.leave()
	write(2.0, 3.0, 4.0)
	f := s.follow("/channels/c/events", read, "Last-Event-ID", at)
	require.Equal(t, []any{2.0, 3.0, 4.0}, []any{f.message(), f.message(), f.message()}, "whoever was cut off before the first message misses none")

	f = s.follow("/channels/c/events?after="+ids[0].String(), read)
	e := f.event()
	require.Equal(t, "missed", e.Name)
	require.Equal(t, map[string]any{"missed": 1.0, "at_most": false}, answered{Body: e.Data}.json(t))
	require.Equal(t, 2.0, f.message(), "the stream goes on")

	for _, unknown := range []string{"x", uuid.NewString()} {
		_, status := s.tryFollow("/channels/c/events", read, "Last-Event-ID", unknown)
		require.Equal(t, 400, status)
	}
}

// TestHTTPEventsEnd: a stream ends by itself, idle or not, and says why.
func TestHTTPEventsEnd(t *testing.T) {
	for _, row := range []struct {
		name string
		by   func(*site, *chansec.BroadcastChannel[any])
		last string
	}{
		{"its token is revoked", func(s *site, _ *chansec.BroadcastChannel[any]) {
			require.NoError(s.t, s.jwt.RevokeSubject("r", time.Now()))
		}, "revoked"},
		{"the channel is closed", func(s *site, c *chansec.BroadcastChannel[any]) { require.NoError(s.t, c.Close()) }, "closed"},
		{"the channel is unmounted", func(s *site, _ *chansec.BroadcastChannel[any]) { require.True(s.t, s.transport.Unmount("c")) }, "closed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			c, err := chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt))
			s.mount(c, err)
			f := s.follow("/channels/c/events", s.token("r", chansec.RoleRead))
			row.by(s, c)
			f.ends(row.last)
		})
	}
	t.Run("its token expires", func(t *testing.T) {
		s := newSite(t)
		s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt)))
		token, err := s.jwt.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "r", Role: chansec.RoleRead, AllChannels: true, ExpiresIn: 2 * time.Second})
		require.NoError(t, err)
		s.follow("/channels/c/events", token).ends("expired")
	})
	t.Run("the transport is closed: without a word, so that clients resume elsewhere", func(t *testing.T) {
		s := newSite(t)
		s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt)))
		f := s.follow("/channels/c/events", s.token("r", chansec.RoleRead))
		require.NoError(t, s.transport.Close())
		_, err := f.Next()
		require.ErrorIs(t, err, io.EOF)
	})
}

// streamed is a ResponseWriter into which a stream is written, for tests in which time stands still.
type streamed struct {
	header http.Header
	io.Writer
}

func (s *streamed) Header() http.Header { return s.header }
func (s *streamed) WriteHeader(int)     {}
func (s *streamed) Flush()              {}

func TestHTTPEventsShowSignsOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := chansec.HMACKey("", "HS256", siteSecret)
		require.NoError(t, err)
		jwt, err := chansec.NewJWTSecurity(key)
		require.NoError(t, err)
		tr, err := chansec.NewHTTPTransport(chansec.HTTPHeartbeat(10 * time.Second))
		require.NoError(t, err)
		c, err := chansec.NewBroadcast[any]("c", chansec.WithSecurity(jwt))
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, tr.Mount(c))
		token, err := jwt.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "r", Role: chansec.RoleRead, AllChannels: true, ExpiresIn: 55 * time.Second})
		require.NoError(t, err)

		r, w := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/channels/c/events", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		go func() {
			tr.ServeHTTP(&streamed{http.Header{}, w}, req)
			_ = w.Close()
		}()
		began := time.Now()
		buf := make([]byte, 1000)
		var beats []time.Duration
		for {
			n, err := r.Read(buf)
			if err != nil {
				break
			}
			if string(buf[:n]) == ":\n\n" {
				beats = append(beats, time.Since(began))
			}
		}
		require.Equal(t, []time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second, 40 * time.Second, 50 * time.Second}, beats)
		require.Equal(t, 55*time.Second, time.Since(began).Round(time.Second), "the token's time is over")
	})
}

// A client that takes too long is cut off by what the channel retains; it is told so, resumes, and is told how much it missed.
func TestHTTPEventsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := chansec.HMACKey("", "HS256", siteSecret)
		require.NoError(t, err)
		jwt, err := chansec.NewJWTSecurity(key)
		require.NoError(t, err)
		tr, err := chansec.NewHTTPTransport()
		require.NoError(t, err)
		c, err := chansec.NewBroadcast[any]("c", chansec.WithSecurity(jwt), chansec.WithMaxMessages(2))
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.Start(t.Context()))
		require.NoError(t, tr.Mount(c))
		token, err := jwt.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "r", Role: chansec.RoleRead, AllChannels: true})
		require.NoError(t, err)
		r, w := io.Pipe() // takes nothing by itself
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/channels/c/events", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		go func() {
			tr.ServeHTTP(&streamed{http.Header{}, w}, req)
			_ = w.Close()
		}()
		events := sse.NewReader(r, 1<<20)
		_, err = events.Next()
		require.NoError(t, err)
		for i := range 10 {
			_, err := c.As("w").Write(t.Context(), i)
			require.NoError(t, err)
			synctest.Wait()
		}
		var last sse.Event
		for {
			e, err := events.Next()
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
				break
			}
			last = e
		}
		require.Equal(t, "lagged", last.Name)
	})
}
