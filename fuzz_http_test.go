package chansec_test

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// needs is the role that a route takes, told in another way than in the transport.
func needs(method, action string) (rank int) {
	switch method + " " + action {
	case "GET ", "GET events", "GET info", "POST acknowledge", "POST nack", "POST extend":
		return 1
	case "PUT ", "POST batch":
		return 2
	case "GET messages", "DELETE messages", "GET length":
		return 3
	}
	return 4
}

// FuzzHTTPHandler serves the bytes of a request, as they are or with a token that may read, or write, the channel "open" and
// nothing else. Whatever they are, nothing panics, nothing is the server's fault, and nothing succeeds that the token does
// not allow: the channel "shut" stays as it was.
func FuzzHTTPHandler(f *testing.F) {
	key := must(chansec.HMACKey("", "HS256", siteSecret))
	jwt := must(chansec.NewJWTSecurity(key))
	quiet := slog.New(slog.DiscardHandler)
	transport := must(chansec.NewHTTPTransport(chansec.HTTPLogger(quiet), chansec.HTTPMaxBody(4096), chansec.HTTPAllowOrigins("https://app.example.com")))
	open := must(chansec.NewPassthrough[any]("open", chansec.WithSecurity(jwt), chansec.WithLogger(quiet), chansec.WithMaxMessages(100)))
	shut := must(chansec.NewPassthrough[any]("shut", chansec.WithSecurity(jwt), chansec.WithLogger(quiet)))
	ctx := context.Background()
	token := func(role chansec.Role, channels ...string) string {
		return must(jwt.GenerateToken(ctx, chansec.TokenRequest{SystemID: "eve", Role: role, Channels: channels, AllChannels: channels == nil, ExpiresIn: time.Hour}))
	}
	tokens := [...]string{"", token(chansec.RoleRead, "open"), token(chansec.RoleWrite, "open")}
	for _, c := range []*chansec.PassthroughChannel[any]{open, shut} {
		require.NoError(f, c.Start(ctx))
		require.NoError(f, transport.Mount(c))
		f.Cleanup(func() { _ = c.Close() })
	}
	admin := shut.For(chansec.StaticCaller(must(jwt.Authenticate(ctx, token(chansec.RoleAdmin)))))
	_, err := admin.Write(ctx, "known to none but its administrators")
	require.NoError(f, err)

	ids := []string{"open", "shut", "open", "%6fpen", "nothing"}
	for i, q := range everyRequest() {
		if i%2 > 0 || len(q.body) > 100 {
			continue // more seeds would take longer to run than they find
		}
		var b strings.Builder
		b.WriteString(q.method + " /channels/" + ids[i/2%len(ids)] + q.rest + " HTTP/1.1\r\nHost: x\r\n")
		_ = q.header.Write(&b)
		if q.body == "" {
			b.WriteString("\r\n")
		} else {
			b.WriteString("Transfer-Encoding: chunked\r\n\r\n" + hexLength(q.body) + "\r\n" + q.body + "\r\n0\r\n\r\n")
		}
		f.Add([]byte(b.String()), uint8(i/2))
	}
	for _, text := range []string{"GET /channels/open/../shut HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://x HTTP/1.0\r\n\r\n", "CONNECT shut:443 HTTP/1.1\r\n\r\n",
		"PUT /channels/open HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1", "GET /channels/open/events HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com\r\n\r\n",
		"OPTIONS /channels/shut HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example.com\r\nAccess-Control-Request-Method: PUT\r\n\r\n"} {
		f.Add([]byte(text), uint8(2))
	}
	f.Fuzz(func(t *testing.T, request []byte, who uint8) {
		who %= uint8(len(tokens))
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // a claim may wait
		defer cancel()
		r = r.WithContext(ctx)
		if who > 0 {
			r.Header["Authorization"] = []string{"Bearer " + tokens[who]}
		}
		method, path, preflight := r.Method, r.URL.EscapedPath(), r.Header.Get("Access-Control-Request-Method") != ""
		w := httptest.NewRecorder()
		serveUntilFlushed(transport, w, r, cancel)

		require.Less(t, w.Code, 500, "%s", w.Body)
		switch {
		case w.Code >= 300:
			require.NotContains(t, w.Body.String(), "known to none but its administrators")
			if len(r.Header["Authorization"]) == 0 {
				require.Contains(t, []int{401, 403, 414, 431}, w.Code, "%s", w.Body)
			}
		case w.Code == 204:
			require.True(t, method == "OPTIONS" && preflight && w.Body.Len() == 0)
		default:
			segments := strings.Split(path, "/")
			require.Contains(t, []int{3, 4}, len(segments), path)
			id, err := url.PathUnescape(segments[2])
			require.NoError(t, err)
			action, err := url.PathUnescape(strings.Join(segments[3:], ""))
			require.NoError(t, err)
			require.Equal(t, [3]string{"", "channels", "open"}, [3]string{segments[0], segments[1], id})
			require.LessOrEqual(t, needs(method, action), int(who), "%s %s", method, path)
		}
		n, err := admin.Len(context.Background())
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}
