package chansec_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// asked is a request to a channel, apart from who sends it.
type asked struct {
	method, rest string // "/events?after=x"
	header       http.Header
	body         string
}

func (q asked) String() string {
	return fmt.Sprintf("%s %s %v %.40q", q.method, q.rest, q.header, q.body)
}

// everyRequest is every route with good and bad parameters, headers and bodies, and what is no route.
func everyRequest() (list []asked) {
	add := func(method, rest, body string, header ...string) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Add(header[i], header[i+1])
		}
		list = append(list, asked{method, rest, h, body})
	}
	const id = "01a20298-e8e6-7000-8000-0000061b0856"
	for _, query := range []string{"", "?limit=1", "?limit=0", "?limit=x", "?limit=1&limit=2", "?limit=99999999999999999999", "?after=" + id, "?after=x", "?after=",
		"?exclusive=true", "?exclusive=maybe", "?exclusive=true&wait=0", "?exclusive=true&wait=x", "?exclusive=true&wait=99", "?exclusive=1&limit=-1", "?%zz", "?;", "?x=y"} {
		add("GET", query, "")
		add("GET", "/messages"+query, "")
	}
	for _, query := range []string{"", "?after=" + id, "?after=x", "?after=" + id + "&after=" + id} {
		add("GET", "/events"+query, "")
		add("GET", "/events"+query, "", "Last-Event-Id", "x")
		add("GET", "/events"+query, "", "Last-Event-Id", id, "Last-Event-Id", id)
	}
	bodies := []string{"", "1", "{}", "x", `{"a":1,"a":2}`, `{"celsius":"x"}`, `{"content":{"data":1}}`, `{"content":{"data":1},"sender_id":"ann"}`, `{"message_ids":["` + id + `"]}`, `{"message_ids":0}`, "[]", "[1,2]", "[1,", strings.Repeat("[", 200), `"` + strings.Repeat("x", 3000) + `"`}
	for _, body := range bodies {
		for _, query := range []string{"", "?direct=true", "?direct=maybe", "?direct=1&direct=1"} {
			add("PUT", query, body)
			add("POST", "/batch"+query, body)
		}
		for _, header := range []string{"k", "", strings.Repeat("k", 300)} {
			add("PUT", "", body, "Idempotency-Key", header)
		}
		add("PUT", "", body, "Content-Encoding", "gzip")
		add("PUT", "", body, "Content-Type", "text/plain")
		for _, route := range []string{"/acknowledge", "/nack", "/extend"} {
			add("POST", route, body)
			add("POST", route, body, "Content-Encoding", "gzip")
		}
	}
	add("GET", "/info", "")
	add("GET", "/length", "")
	for _, query := range []string{"", "?all=true", "?all=false", "?all=true&keep=1", "?keep=0", "?keep=x", "?keep=-1", "?before=1", "?before=NaN", "?before=-Inf", "?id=" + id, "?id=x", "?id=x&id=y"} {
		add("DELETE", "/messages"+query, "")
	}
	for _, method := range []string{"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"} {
		for _, rest := range []string{"", "/", "/info", "/batch", "/nothing", "/info/more", "/events", "/messages", "/length", "/extend"} {
			if (method != "GET" || rest != "/events") && (method != "DELETE" || rest != "/messages") {
				add(method, rest, "")
			}
		}
	}
	return list
}

// told is all that an answer tells, apart from what is its own: the request's ID, and the time.
type told struct {
	Status int
	Header http.Header
	Body   string
	Read   int // bytes of the body that were read before it
}

// ask sends a request to the transport itself.
func (s *site) ask(q asked, channel, authorization string) told {
	s.t.Helper()
	body := &counted{Reader: strings.NewReader(q.body)}
	r, err := http.NewRequestWithContext(s.t.Context(), q.method, "http://x/channels/"+channel+q.rest, body)
	require.NoError(s.t, err)
	r.RequestURI = r.URL.RequestURI()
	r.Header, r.ContentLength = http.Header{}, int64(len(q.body))
	maps.Copy(r.Header, q.header)
	if q.body == "" {
		r.Body = http.NoBody
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	s.transport.ServeHTTP(w, r)
	id := w.Header().Get("X-Request-Id")
	require.NotEmpty(s.t, id)
	h := w.Header()
	h.Del("X-Request-Id")
	return told{w.Code, h, strings.ReplaceAll(w.Body.String(), id, "ID"), body.n}
}

type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// A channel that somebody may not know of is like one that does not exist: in status, headers, body, and in how much of the
// request is looked at (CWE-203, CWE-204).
func TestHTTPUniformForbiddenAndUnknown(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	t.Parallel()
	s := newSite(t, chansec.HTTPMaxBody(2000))
	key := must(chansec.HMACKey("", "HS256", []byte("another secret, which has 32 bytes or more")))
	other := must(chansec.NewJWTSecurity(key))
	unproved := must(chansec.NewACLSecurity(chansec.ACLAdmin("ann")))
	mount := func(prefix string, security chansec.ChannelSecurity) (ids []string) {
		with := chansec.WithSecurity(security)
		s.mount(chansec.NewPassthrough[any](prefix+"-p", with))
		s.mount(chansec.NewBroadcast[reading](prefix+"-b", with))
		s.mount(chansec.NewWorkQueue[string](prefix+"-w", with, chansec.WithMaxMessages(1)))
		s.mount(chansec.NewMailbox[any](prefix+"-m", with))
		s.mount(chansec.NewKeyed[any](prefix+"-k", with))
		stopped, err := chansec.NewPassthrough[any](prefix+"-s", with)
		require.NoError(t, err)
		require.NoError(t, s.transport.Mount(stopped))
		return []string{prefix + "-p", prefix + "-b", prefix + "-w", prefix + "-m", prefix + "-k", prefix + "-s"}
	}
	own, others, names := mount("own", s.jwt), mount("other", other), mount("names", unproved)
	names = append(names, mount("open", chansec.OpenSecurity{})...)
	everything := must(other.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "eve", Role: chansec.RoleAdmin, AllChannels: true}))
	something := must(other.GenerateToken(t.Context(), chansec.TokenRequest{SystemID: "eve", Role: chansec.RoleAdmin, Channels: []string{"mine"}}))
	tests := []struct {
		name     string
		token    string
		channels []string
	}{
		{"a reader of another channel", s.token("eve", chansec.RoleRead, "mine"), own},
		{"a writer of another channel", s.token("eve", chansec.RoleWrite, "mine"), own},
		{"an administrator of another channel", s.token("eve", chansec.RoleAdmin, "mine"), own},
		{"an administrator of all that another security protects", everything, own},
		{"somebody whom another security knows", something, own},
		{"an administrator of all, where another security protects", s.token("eve", chansec.RoleAdmin), others},
		{"an administrator of all, where names are believed", s.token("eve", chansec.RoleAdmin), names},
		{"a reader of another channel, where names are believed", s.token("eve", chansec.RoleRead, "mine"), names},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, q := range everyRequest() {
				want := s.ask(q, "unknown", "Bearer "+test.token)
				require.Contains(t, []int{400, 403, 404, 405, 422}, want.Status, q)
				for _, id := range test.channels {
					require.Equal(t, want, s.ask(q, id, "Bearer "+test.token), "%s: %s", id, q)
				}
			}
		})
	}
}

// readsMessages is a security that wants to see every message, and refuses every one to "eve".
type readsMessages struct{ chansec.ChannelSecurity }

func (r readsMessages) Decide(ctx context.Context, req chansec.Request) (chansec.Decision, error) {
	if req.Principal.SystemID == "eve" {
		return chansec.Decision{}, nil
	}
	return r.ChannelSecurity.(chansec.Decider).Decide(ctx, req)
}

// A security that looks at messages makes the transport read them before it asks. That shows in how the connection goes on,
// and in when the answer comes: it must be so for a channel that does not exist, too.
func TestHTTPUniformWhereTheSecurityLooksAtMessages(t *testing.T) {
	t.Parallel()
	s := newSite(t, chansec.HTTPMaxBody(2000))
	with := chansec.WithSecurity(readsMessages{s.jwt})
	s.mount(chansec.NewPassthrough[any]("p", with))
	s.mount(chansec.NewWorkQueue[any]("w", with))
	s.mount(chansec.NewKeyed[any]("k", with))
	for name, token := range map[string]string{"whom the security refuses": s.token("eve", chansec.RoleAdmin), "whose grant does not reach": s.token("eve", chansec.RoleAdmin, "mine")} {
		for _, q := range everyRequest() {
			want := s.ask(q, "unknown", "Bearer "+token)
			require.Contains(t, []int{400, 403, 404, 405, 422}, want.Status, q)
			for _, id := range []string{"p", "w", "k"} {
				require.Equal(t, want, s.ask(q, id, "Bearer "+token), "%s: %s: %s", name, id, q)
			}
		}
	}
}

// While a security cannot say whom a credential proves, those whom another one knows see no difference (CWE-203).
func TestHTTPUniformWhileASecurityFails(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.mount(chansec.NewPassthrough[any]("mine", chansec.WithSecurity(s.jwt)))
	s.mount(chansec.NewPassthrough[any]("theirs", chansec.WithSecurity(failing{})))
	q := asked{method: "GET", rest: "/info"}
	eve := "Bearer " + s.token("eve", chansec.RoleRead, "mine")
	require.Equal(t, 200, s.ask(q, "mine", eve).Status)
	want := s.ask(q, "unknown", eve)
	require.Equal(t, 503, want.Status, "it may be known to that one, too")
	for range 20 {
		require.Equal(t, want, s.ask(q, "unknown", eve))
		require.Equal(t, want, s.ask(q, "theirs", eve))
	}
	stranger := s.ask(q, "unknown", "Bearer x.y.z")
	require.Equal(t, 503, stranger.Status)
	require.Equal(t, stranger, s.ask(q, "theirs", "Bearer x.y.z"))
	require.Equal(t, stranger, s.ask(q, "mine", "Bearer x.y.z"))
}

// failing is a security whose database is gone.
type failing struct{ chansec.OpenSecurity }

var errDatabase = errors.New("dial tcp 10.0.0.7: password hunter2-canary")

func (failing) Authenticate(context.Context, string) (chansec.Principal, error) {
	return chansec.Principal{}, errDatabase
}

// Nobody learns anything but that they are nobody, wherever they ask (CWE-204, CWE-306).
func TestHTTPUniformUnauthenticated(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	t.Parallel()
	s := newSite(t)
	s.mount(chansec.NewPassthrough[any]("c", chansec.WithSecurity(s.jwt)))
	s.mount(chansec.NewWorkQueue[string]("q", chansec.WithSecurity(s.jwt)))
	s.mount(chansec.NewMailbox[string]("o", chansec.WithSecurity(chansec.OpenSecurity{})))
	s.mount(chansec.NewKeyed[string]("k", chansec.WithSecurity(s.jwt)))
	expired := forged(plainHeader, `{"sub":"ann","role":"admin","exp":1}`)
	revoked := s.token("bob", chansec.RoleAdmin)
	require.NoError(t, s.jwt.RevokeSubject("bob", time.Now()))
	for name, authorization := range map[string]string{"nothing": "", "another scheme": "Basic eDp5", "no token": "Bearer", "rubbish": "Bearer rubbish",
		"an expired token": "Bearer " + expired, "a revoked token": "Bearer " + revoked, "a name": "Bearer ann"} {
		want := s.ask(asked{method: "GET"}, "c", authorization)
		require.Equal(t, 401, want.Status, name)
		require.NotEmpty(t, want.Header.Get("WWW-Authenticate"), name)
		for _, q := range everyRequest() {
			for _, id := range []string{"c", "q", "o", "k", "unknown", "%00", "..", "a%2Fb", ""} {
				got := s.ask(q, id, authorization)
				got.Header.Del("Connection") // a body that is not read ends the connection
				require.Equal(t, want, got, "%s: %s: %s", name, id, q)
			}
		}
		for _, path := range []string{"/", "/channels", "/channels/", "/tokens", "/health", "/.well-known/oauth-protected-resource", "/openapi.json", "/docs", "/metrics", "/debug/pprof/", "/favicon.ico", "/../x", "//"} {
			for _, method := range []string{"GET", "POST", "HEAD", "OPTIONS", "DELETE"} {
				r := httptest.NewRequest(method, "http://x"+path, nil)
				if authorization != "" {
					r.Header.Set("Authorization", authorization)
				}
				w := httptest.NewRecorder()
				s.transport.ServeHTTP(w, r)
				require.Equal(t, 401, w.Code, "%s: %s %s", name, method, path)
			}
		}
	}
}
