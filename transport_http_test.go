package chansec_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// site is a transport behind a real server, with a security that signs tokens.
type site struct {
	*httptest.Server
	t         *testing.T
	jwt       *chansec.JWTSecurity
	transport *chansec.HTTPTransport
}

var siteSecret = []byte("0123456789abcdef0123456789abcdef")

func newSite(t *testing.T, opts ...chansec.HTTPOption) *site {
	t.Helper()
	key, err := chansec.HMACKey("", "HS256", siteSecret)
	require.NoError(t, err)
	jwt, err := chansec.NewJWTSecurity(key)
	require.NoError(t, err)
	quiet := chansec.HTTPLogger(slog.New(slog.DiscardHandler))
	tr, err := chansec.NewHTTPTransport(append([]chansec.HTTPOption{quiet}, opts...)...)
	require.NoError(t, err)
	s := &site{Server: httptest.NewServer(tr), t: t, jwt: jwt, transport: tr}
	t.Cleanup(func() {
		_ = tr.Close()
		s.Close()
	})
	return s
}

// token makes a token for a system; no channels are all of them.
func (s *site) token(systemID string, role chansec.Role, channels ...string) string {
	s.t.Helper()
	text, err := s.jwt.GenerateToken(context.Background(), chansec.TokenRequest{SystemID: systemID, Role: role, Channels: channels, AllChannels: len(channels) == 0})
	require.NoError(s.t, err)
	return text
}

type mountable interface {
	chansec.Channel
	Start(context.Context) error
	Close() error
}

func (s *site) mount(c mountable, err error) {
	s.t.Helper()
	require.NoError(s.t, err)
	require.NoError(s.t, c.Start(context.Background()))
	require.NoError(s.t, s.transport.Mount(c))
	s.t.Cleanup(func() { require.NoError(s.t, c.Close()) })
}

type reading struct {
	Celsius float64 `json:"celsius"`
}

// answered is what came back.
type answered struct {
	Status int
	Header http.Header
	Body   string
}

func (a answered) json(t *testing.T) (v map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(a.Body), &v), a.Body)
	return v
}

// send sends a request: "PUT /channels/x", a token, a body, and headers as name and value.
func (s *site) send(line, token, body string, header ...string) answered {
	s.t.Helper()
	method, path, _ := strings.Cut(line, " ")
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, s.URL+path, r)
	require.NoError(s.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return answered{resp.StatusCode, resp.Header, string(text)}
}

func TestHTTPRoundTrip(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewPassthrough[any]("events", chansec.WithSecurity(s.jwt)))
	a := s.send("PUT /channels/events", s.token("writer", chansec.RoleWrite), `{"x": 1}`)
	require.Equal(t, 200, a.Status, a.Body)
	require.Equal(t, "accepted", a.json(t)["status"])
	require.NotEmpty(t, a.json(t)["item_id"])
	a = s.send("GET /channels/events?limit=5&exclusive=false", s.token("reader", chansec.RoleRead), "")
	require.Equal(t, 200, a.Status, a.Body)
	messages := a.json(t)["messages"].([]any)
	require.Len(t, messages, 1)
	m := messages[0].(map[string]any)
	require.Equal(t, "writer", m["sender_id"])
	require.Equal(t, map[string]any{"data": map[string]any{"x": 1.0}}, m["content"])
	require.Len(t, m, 8)
}

func TestDialIsAPort(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewPassthrough[reading]("a/b c", chansec.WithSecurity(s.jwt)))
	remote, err := chansec.Dial[reading](chansec.ChannelURL(s.URL, "a/b c"), chansec.DialToken(s.token("ann", chansec.RoleAdmin)))
	require.NoError(t, err)
	defer remote.Close()
	port := remote.Passthrough()
	ctx := t.Context()
	lease, err := port.Subscribe(ctx)
	require.NoError(t, err)
	id, err := port.Write(ctx, reading{21.5})
	require.NoError(t, err)
	for m, err := range lease.Messages(ctx) {
		require.NoError(t, err)
		require.Equal(t, id, m.ID)
		require.Equal(t, reading{21.5}, m.Content)
		break
	}
	got, err := port.Read(ctx, 10)
	require.NoError(t, err)
	require.Len(t, got, 1)
	claims, err := port.Claim(ctx, 1)
	require.NoError(t, err)
	require.Len(t, claims, 1)
	require.NoError(t, claims[0].Acknowledge(ctx))
	require.ErrorIs(t, claims[0].Acknowledge(ctx), chansec.ErrClaimLost)
	n, err := port.Len(ctx)
	require.NoError(t, err)
	require.Zero(t, n)
	info, err := port.Info(ctx)
	require.NoError(t, err)
	require.Equal(t, "a/b c", info.ID)

	require.NoError(t, s.jwt.RevokeSubject("ann", time.Now()))
	<-lease.Done()
	require.ErrorIs(t, lease.Err(), chansec.ErrRevoked)
	_, err = port.Write(ctx, reading{})
	require.ErrorIs(t, err, chansec.ErrPermission)
	require.ErrorIs(t, err, chansec.ErrUnauthenticated)
	var remoteErr *chansec.RemoteError
	require.True(t, errors.As(err, &remoteErr))
	require.Equal(t, 401, remoteErr.Status)
}
