package chansec_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// A channel's ID is one segment of the path, decoded once and taken as it is (RFC 3986 sections 2.1, 2.4 and 6; CWE-22,
// CWE-158, CWE-172, CWE-176, CWE-180). Each channel holds its own ID, so that it shows which one answered.
func TestHTTPAttackPath(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const nfc, nfd = "caf\u00e9", "cafe\u0301"
	for _, id := range []string{"a", "A", "a/b", "..", ".", "a;x", "{id}", nfc, nfd, "%2e", "a b"} {
		s.mount(chansec.NewPassthrough[any](id, chansec.WithSecurity(s.jwt)))
		require.Equal(t, 200, s.send("PUT "+strings.TrimPrefix(chansec.ChannelURL("", id), s.URL), s.token("ann", chansec.RoleAdmin), `{"id":"`+id+`"}`).Status, id)
	}
	const (
		nowhere = "\x00no path"
		unknown = "\x00no channel"
		bad     = "\x00no ID"
		refused = "\x00no request"
	)
	tests := []struct {
		name   string
		target string
		want   string // a channel's ID
	}{
		{"an ID", "/channels/a", "a"},
		{"an ID whose letters are coded", "/channels/%61", "a"},
		{"an ID in another case", "/channels/A", "A"},
		{"a coded slash", "/channels/a%2Fb", "a/b"},
		{"a coded slash in lower case", "/channels/a%2fb", "a/b"},
		{"a slash is no part of an ID", "/channels/a/b", nowhere},
		{"a slash that is coded twice", "/channels/a%252Fb", unknown},
		{"two coded dots", "/channels/%2e%2e", ".."},
		{"two dots, one of them coded", "/channels/.%2E", ".."},
		{"a coded dot", "/channels/%2E", "."},
		{"a dot that is coded twice", "/channels/%252e", "%2e"},
		{"two dots", "/channels/..", nowhere},
		{"two dots that lead back to an ID", "/channels/x/../a", nowhere},
		{"coded dots and slashes that would lead to an ID", "/channels/x%2f%2e%2e%2fa", unknown},
		{"a way out that is coded", "/channels/%2e%2e%2f%2e%2e%2fetc%2fpasswd", unknown},
		{"a dot that leads nowhere", "/channels/./a", nowhere},
		{"a dot at the end", "/channels/a/.", nowhere},
		{"two dots at the end", "/channels/a/info/..", nowhere},
		{"two slashes", "/channels//a", nowhere},
		{"two slashes at the start", "//channels/a", nowhere},
		{"a host at the start", "//x/channels/a", nowhere},
		{"a slash at the end", "/channels/a/", nowhere},
		{"a coded slash at the end", "/channels/a%2F", unknown},
		{"an ID that ends like a route", "/channels/a%2Finfo", unknown},
		{"no ID", "/channels/", nowhere},
		{"no ID, and a route", "/channels//info", nowhere},
		{"a coded separator", "/channels%2Fa", nowhere},
		{"backslashes", `\channels\a`, refused},
		{"a backslash in an ID", `/channels/x\..\a`, unknown},
		{"a coded backslash", "/channels/x%5C..%5Ca", unknown},
		{"another case of the route", "/Channels/a", nowhere},
		{"a semicolon", "/channels/a;x", "a;x"},
		{"a coded semicolon", "/channels/a%3Bx", "a;x"},
		{"a parameter of the segment", "/channels/a;v=1", unknown},
		{"a dot after the ID", "/channels/a.", unknown},
		{"a suffix", "/channels/a.json", unknown},
		{"a space after the ID", "/channels/a%20", unknown},
		{"a coded space", "/channels/a%20b", "a b"},
		{"a plus is no space", "/channels/a+b", unknown},
		{"a wildcard is an ID like others", "/channels/%7Bid%7D", "{id}"},
		{"a wildcard takes nobody else's place", "/channels/anything", unknown},
		{"a star", "/channels/*", unknown},
		{"composed letters", "/channels/caf%C3%A9", nfc},
		{"decomposed letters", "/channels/cafe%CC%81", nfd},
		{"letters of full width", "/channels/%EF%BD%81", unknown},
		{"an ID and an invisible letter", "/channels/a%E2%80%8B", unknown},
		{"a coded NUL", "/channels/a%00", bad},
		{"a coded NUL before a suffix", "/channels/a%00.json", bad},
		{"a coded line end", "/channels/a%0d%0aX-Y:%20z", bad},
		{"a coded delete", "/channels/a%7F", bad},
		{"a control character beyond ASCII", "/channels/a%C2%85", bad},
		{"a byte that is no UTF-8", "/channels/a%FF", bad},
		{"dots that are overlong UTF-8", "/channels/%C0%AE%C0%AE", bad},
		{"a slash that is overlong UTF-8", "/channels/a%C0%AFb", bad},
		{"half a surrogate pair", "/channels/%ED%A0%80", bad},
		{"more than 512 bytes", "/channels/" + strings.Repeat("a", 513), bad},
		{"a query", "/channels/a?b/c", "a"},
		{"two questions", "/channels/a??", "a"},
		{"a fragment is no fragment here", "/channels/a#b", unknown},
		{"a whole URL (RFC 9112 section 3.2.2)", "http://elsewhere.example/channels/a", "a"},
		{"a whole URL of another scheme", "ftp://elsewhere.example/channels/a", "a"},
		{"a whole URL without a path", "http://elsewhere.example", nowhere},
		{"a whole URL with the way up", "http://elsewhere.example/x/../channels/a", nowhere},
		{"a star for the whole server", "*", nowhere},
		{"half a coded byte", "/channels/a%2", refused},
		{"a code that is none", "/channels/a%zz", refused},
		{"no slash at the start", "channels/a", refused},
		{"a NUL", "/channels/a\x00", refused},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			get := func(token string) answered {
				return s.dial().send("GET " + test.target + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n\r\n").next()
			}
			status := map[string][3]int{nowhere: {404, 404, 401}, unknown: {404, 403, 401}, bad: {400, 400, 401}, refused: {400, 400, 400}, "a": {200, 200, 401}}
			want, special := status[test.want]
			if !special {
				want = [3]int{200, 403, 401}
			}
			a := get(s.token("reader of "+test.name, chansec.RoleAdmin))
			require.Equal(t, want[0], a.Status, a.Body)
			require.Empty(t, a.Header.Get("Location"))
			if a.Status == 200 {
				require.Contains(t, a.Body, `"id":"`+test.want+`"}`)
			}
			require.Equal(t, want[1], get(s.token("bob", chansec.RoleRead, "a")).Status, "one who may read only a")
			require.Equal(t, want[2], get("x.y.z").Status, "nobody")
		})
	}
}

// Methods, and other ways to say one (RFC 9110 section 9; CWE-650): a route does what its own method says, or nothing.
func TestHTTPAttackMethod(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	admin := s.token("ann", chansec.RoleAdmin)
	paths := []string{"/channels/c", "/channels/c/batch", "/channels/c/events", "/channels/c/acknowledge", "/channels/c/nack",
		"/channels/c/extend", "/channels/c/info", "/channels/c/messages", "/channels/c/length", "/channels/unknown"}
	for _, method := range []string{"HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PROPFIND", "QUERY", "get", "Put", "GETS", "X"} {
		for _, path := range paths {
			for _, body := range []string{"", "Content-Length: 1\r\n\r\n1"} {
				if body == "" {
					body = "\r\n"
				}
				request := method + " " + path + "?exclusive=true&all=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %\r\n" + body
				name := method + " " + path
				a := s.dial().send(strings.Replace(request, "%", admin, 1)).status()
				require.Equal(t, 405, a.Status, name)
				require.NotEmpty(t, a.Header.Get("Allow"), name)
				require.NotContains(t, a.Header.Get("Allow"), method, name)
				a = s.dial().send(strings.Replace(request, "%", "x.y.z", 1)).status()
				require.Equal(t, 401, a.Status, name)
				require.Empty(t, a.Header.Get("Allow"), name)
			}
		}
	}
	for _, header := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Method"} {
		a := s.send("GET /channels/c/messages?all=true&_method=DELETE", admin, "", header, "DELETE")
		require.Equal(t, 200, a.Status, header)
		require.NotEmpty(t, a.json(t)["messages"], header)
		a = s.send("POST /channels/c?_method=PUT", admin, `"override"`, header, "PUT")
		require.Equal(t, 405, a.Status, header)
	}
	bob := s.token("bob", chansec.RoleAdmin, "other")
	for _, header := range []string{"X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Uri", "X-Forwarded-Prefix", "X-Accel-Redirect"} {
		require.Equal(t, 404, s.send("GET /channels/other", bob, "", header, "/channels/c").Status, header)
	}
	a := s.send("GET /channels/c/messages", admin, "")
	require.Len(t, a.json(t)["messages"], 1, "nothing came and nothing went")
	a = s.send("GET /channels/c?exclusive=true", admin, "")
	require.Len(t, a.json(t)["claims"], 1, "and nobody claimed it")
}

// The question what the whole server can do is answered by net/http itself, to everybody, unless it is told not to.
func TestHTTPAttackOptionsOfTheWholeServer(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	c := s.behindServer(t, nil).send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
	requireNobody(t, c.next(), "OPTIONS *")
}

// status reads an answer's status and headers, and not the body, of which there is none after HEAD.
func (c *rawConn) status() answered {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: http.MethodHead})
	require.NoError(c.t, err)
	return answered{Status: resp.StatusCode, Header: resp.Header}
}

// behindServer puts the transport into the server that it recommends, which a test may change, and connects to that.
func (s *site) behindServer(t *testing.T, change func(*http.Server)) *rawConn {
	t.Helper()
	server := s.transport.Server("")
	if change != nil {
		change(server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return dialRaw(t, l.Addr().String())
}
