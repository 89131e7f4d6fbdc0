package chansec_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// soon is a timeout that tests can wait for, and no honest request here needs.
const soon = 200 * time.Millisecond

// A client that takes its time over the headers keeps its connection for as long as the server says (CWE-400; Slowloris).
func TestHTTPAttackSlowHeaders(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	for name, text := range map[string]string{
		"nothing at all":           "",
		"one letter after another": "G|E|T| |/|c|h|a|n|n|e|l|s|/|c| |H|T|T|P|/|1|.|1|\r|\n|X|:| ",
		"one header after another": "X-Header: x\r\n|",
	} {
		t.Run(name, func(t *testing.T) {
			start := ""
			if strings.HasPrefix(text, "X") {
				start = "GET /channels/c HTTP/1.1\r\nHost: x\r\n"
			}
			c := s.behindServer(t, func(server *http.Server) { server.ReadHeaderTimeout = soon }).send(start)
			if text != "" {
				go c.drip(text, soon/20)
			}
			c.requireClosed()
		})
	}
}

// A client that takes its time over the body is told so, and its connection closed (CWE-400; R.U.D.Y.).
func TestHTTPAttackSlowBody(t *testing.T) {
	t.Parallel()
	s := attacked(t, chansec.HTTPTimeouts(soon, time.Minute))
	token := s.token("ann", chansec.RoleWrite)
	for name, test := range map[string]struct{ framing, drip string }{
		"a body that does not come":   {"Content-Length: 1000", ""},
		"one byte after another":      {"Content-Length: 1000000", " "},
		"one chunk after another":     {"Transfer-Encoding: chunked", "1\r\n |\r\n"},
		"a chunk that does not begin": {"Transfer-Encoding: chunked", "0"},
	} {
		c := s.dial().send("PUT /channels/c HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n" + test.framing + "\r\n\r\n")
		if test.drip != "" {
			go c.drip(test.drip, soon/20)
		}
		a := c.next()
		require.Equal(t, 408, a.Status, name)
		c.requireClosed()
	}
	require.Equal(t, []any{"good"}, s.sound("c"))
}

// A claim that waits does so for as long as it was asked to, whatever the server's time for reading a request is.
func TestHTTPClaimWaitsLongerThanARequestMayTake(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.mount(chansec.NewWorkQueue[any]("jobs", chansec.WithSecurity(s.jwt)))
	c := s.behindServer(t, func(server *http.Server) { server.ReadTimeout, server.WriteTimeout = soon, soon })
	c.send("GET /channels/jobs?exclusive=true&wait=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + s.token("ann", chansec.RoleRead) + "\r\n\r\n")
	a := c.next()
	require.Equal(t, 200, a.Status)
	require.JSONEq(t, `{"messages":[],"claims":[]}`, a.Body)
}

// A subscriber that does not read what it subscribed to is cut off, and its place is free (CWE-400, CWE-772).
func TestHTTPAttackSubscriberThatDoesNotRead(t *testing.T) {
	t.Parallel()
	s := attacked(t, chansec.HTTPTimeouts(time.Minute, soon), chansec.HTTPHeartbeat(soon/2), chansec.HTTPMaxStreams(1))
	subscribe := func() *rawConn {
		return s.dial().send("GET /channels/c/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + s.token("eve", chansec.RoleRead) + "\r\n\r\n")
	}
	lazy := subscribe()
	resp, err := http.ReadResponse(lazy.r, nil)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)

	large := `"` + strings.Repeat("x", 900_000) + `"`
	for deadline := time.Now().Add(patience); ; {
		require.True(t, time.Now().Before(deadline), "the first subscriber keeps its place")
		require.Equal(t, 200, s.send("PUT /channels/c", s.token("ann", chansec.RoleWrite), large).Status, "a slow subscriber is nothing to a writer")
		second := subscribe()
		resp, err := http.ReadResponse(second.r, nil)
		require.NoError(t, err)
		if resp.StatusCode == 200 {
			_ = second.Close()
			return
		}
		require.Equal(t, 503, resp.StatusCode)
		require.NotEmpty(t, resp.Header.Get("Retry-After"))
		_ = second.Close()
	}
}

// Many headers, or long ones (CWE-400, CWE-770).
func TestHTTPAttackHeaderFlood(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	token := s.token("ann", chansec.RoleRead)
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: %d\r\n", i, i)
		}
		return b.String()
	}
	for name, test := range map[string]struct {
		line, headers string
		want          int
	}{
		"a few headers":                {"/channels/c", many(20), 200},
		"many headers":                 {"/channels/c", many(3000), 431},
		"many headers of one name":     {"/channels/c", strings.Repeat("X:\r\n", 5000), 431},
		"a long header":                {"/channels/c", "X: " + strings.Repeat("x", 17<<10) + "\r\n", 431},
		"a header that does not end":   {"/channels/c", "X: " + strings.Repeat("x", 1<<20), 431},
		"a long name":                  {"/channels/c", strings.Repeat("x", 17<<10) + ": x\r\n", 431},
		"a long token":                 {"/channels/c", "Authorization: Bearer " + strings.Repeat("x", 17<<10) + "\r\n", 431},
		"a long cookie":                {"/channels/c", "Cookie: " + strings.Repeat("x=y; ", 4<<10) + "\r\n", 431},
		"a long path":                  {"/channels/" + strings.Repeat("x", 9<<10), "", 414},
		"a long query":                 {"/channels/c?x=" + strings.Repeat("x", 9<<10), "", 414},
		"a path that does not end":     {"/channels/" + strings.Repeat("x", 1<<20), "", 431},
		"many parameters of the query": {"/channels/c?" + strings.Repeat("a&", 4<<10), "", 414},
	} {
		for who, c := range map[string]*rawConn{"a server of the transport": s.behindServer(t, nil), "any server": s.dial()} {
			credential := "Authorization: Bearer " + token + "\r\n"
			if strings.Contains(test.headers, "Authorization") {
				credential = ""
			}
			if test.want == 431 && who == "any server" && len(test.line)+len(test.headers) >= 1<<20 {
				continue // its limit is that of net/http, 1 MiB
			}
			go func() {
				_, _ = io.WriteString(c, "GET "+test.line+" HTTP/1.1\r\nHost: x\r\n"+credential+test.headers+"\r\n")
			}()
			require.Equal(t, test.want, c.next().Status, "%s: %s", name, who)
		}
	}
}

// Requests that two readers would divide in two ways (RFC 9112 sections 6.1 and 11.2; CWE-444). What comes after the first
// request is another one, which proves itself or is refused, or the connection is closed.
func TestHTTPAttackSmuggling(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	token := s.token("ann", chansec.RoleWrite)
	const hidden = "PUT /channels/c HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n\"hidden\"\r\n"
	for name, headers := range map[string]string{
		"a length, and chunks":                "Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"chunks, and a length":                "Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"two lengths":                         "Content-Length: 3\r\nContent-Length: %d\r\n\r\n\"x\"" + hidden,
		"a list of lengths":                   "Content-Length: 3, %d\r\n\r\n\"x\"" + hidden,
		"a length with a sign":                "Content-Length: +3\r\nX: %d\r\n\r\n\"x\"" + hidden,
		"a length below nothing":              "Content-Length: -3\r\nX: %d\r\n\r\n\"x\"" + hidden,
		"a length in other digits":            "Content-Length: 0x3\r\nX: %d\r\n\r\n\"x\"" + hidden,
		"a coding in disguise":                "Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n\r\n3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"two codings":                         "Transfer-Encoding: chunked, identity\r\nX: %d\r\n\r\n3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"two headers of codings":              "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\nX: %d\r\n\r\n3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"a coding after a vertical tab":       "Transfer-Encoding: \vchunked\r\nContent-Length: %d\r\n\r\n3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"a space before the colon":            "Transfer-Encoding : chunked\r\nContent-Length: %d\r\n\r\n3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"a folded coding":                     "Transfer-Encoding:\r\n chunked\r\nContent-Length: %d\r\n\r\n3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"a chunk size that is none":           "Transfer-Encoding: chunked\r\nX: %d\r\n\r\nx\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"a chunk size with a sign":            "Transfer-Encoding: chunked\r\nX: %d\r\n\r\n+3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"a chunk size below nothing":          "Transfer-Encoding: chunked\r\nX: %d\r\n\r\n-1\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"a chunk size that wraps":             "Transfer-Encoding: chunked\r\nX: %d\r\n\r\n10000000000000003\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"a chunk size and a space":            "Transfer-Encoding: chunked\r\nX: %d\r\n\r\n3 x\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"a chunk that is longer":              "Transfer-Encoding: chunked\r\nX: %d\r\n\r\n3\r\n\"x\"x\r\n0\r\n\r\n" + hidden,
		"a chunk extension that does not end": "Transfer-Encoding: chunked\r\nX: %d\r\n\r\n3;" + strings.Repeat("x", 1<<16) + "\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"chunks under HTTP/1.0":               "X: %d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\"x\"\r\n0\r\n\r\n" + hidden,
		"two hosts":                           "Host: y\r\nContent-Length: 3\r\nX: %d\r\n\r\n\"x\"" + hidden,
	} {
		version := "1.1"
		if strings.Contains(name, "HTTP/1.0") {
			version = "1.0"
		}
		request := "PUT /channels/c HTTP/" + version + "\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n" + headers
		c := s.dial()
		go func() { _, _ = io.WriteString(c, fmt.Sprintf(request, len(hidden)+3)) }()
		first := c.next()
		require.Contains(t, []int{200, 400, 501}, first.Status, name)
		for {
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil {
				break
			}
			require.Contains(t, []int{400, 401}, resp.StatusCode, name)
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode == 401 {
				_ = c.Close()
			}
		}
		require.NotContains(t, s.sound("c"), "hidden", name)
	}
	for _, content := range s.sound("c")[1:] {
		require.Equal(t, "x", content)
	}
}
