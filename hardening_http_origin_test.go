package chansec_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// Pages of other origins may send nothing, unless they were named (Fetch standard, section 3.2; CWE-346, CWE-942).
func TestHTTPAttackOrigin(t *testing.T) {
	t.Parallel()
	s := attacked(t, chansec.HTTPAllowOrigins("https://app.example.com"))
	token := s.token("ann", chansec.RoleAdmin)
	own := "http://" + s.Listener.Addr().String()
	tests := []struct {
		name    string
		origins []string
		want    int
	}{
		{"no page at all", nil, 200},
		{"a page of the same host", []string{own}, 200},
		{"a page that was named", []string{"https://app.example.com"}, 200},
		{"a page of another host", []string{"https://evil.example"}, 403},
		{"a page without an origin", []string{"null"}, 403},
		{"an empty origin", []string{""}, 403},
		{"a star", []string{"*"}, 403},
		{"a named page without TLS", []string{"http://app.example.com"}, 403},
		{"a named page at another port", []string{"https://app.example.com:444"}, 403},
		{"a name that goes on", []string{"https://app.example.com.evil.example"}, 403},
		{"a name that begins earlier", []string{"https://evilapp.example.com"}, 403},
		{"a name below it", []string{"https://x.app.example.com"}, 403},
		{"another case", []string{"https://APP.example.com"}, 403},
		{"a path", []string{"https://app.example.com/"}, 403},
		{"a user", []string{"https://app.example.com@evil.example"}, 403},
		{"two in one header", []string{"https://app.example.com, https://evil.example"}, 403},
		{"two headers", []string{"https://app.example.com", "https://evil.example"}, 403},
		{"a file", []string{"file://"}, 403},
		{"an extension", []string{"chrome-extension://app.example.com"}, 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var headers []string
			for _, o := range test.origins {
				headers = append(headers, "Origin", o)
			}
			a := s.send("GET /channels/c/info", token, "", headers...)
			require.Equal(t, test.want, a.Status)
			require.NotEqual(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
			require.Empty(t, a.Header.Get("Access-Control-Allow-Credentials"))
			named := len(test.origins) == 1 && test.origins[0] == "https://app.example.com"
			require.Equal(t, named, a.Header.Get("Access-Control-Allow-Origin") == "https://app.example.com")
			require.Equal(t, len(test.origins) > 0, a.Header.Get("Vary") == "Origin", "no cache may mix them up")

			preflight := append([]string{"Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization"}, headers...)
			p := s.send("OPTIONS /channels/c/messages", "", "", preflight...)
			switch {
			case named:
				require.Equal(t, 204, p.Status)
				require.Contains(t, p.Header.Get("Access-Control-Allow-Headers"), "Authorization")
			case test.want == 200:
				require.Equal(t, 401, p.Status, "it is a request like others")
			default:
				require.Equal(t, 403, p.Status)
			}
			require.Equal(t, named, p.Header.Get("Access-Control-Allow-Methods") != "")
			unknown := s.send("OPTIONS /channels/unknown/messages", "", "", preflight...)
			require.Equal(t, p.Status, unknown.Status, "a preflight tells nothing of channels")

			simple := s.send("POST /channels/c/acknowledge", "", "message_ids=x", append([]string{"Content-Type", "application/x-www-form-urlencoded", "Cookie", "token=" + token}, headers...)...)
			require.Contains(t, []int{401, 403}, simple.Status, "what a page may send without asking has no credential")
		})
	}
	r := httptest.NewRequest("GET", "/channels/c/info", nil)
	r.Host, r.Header = "", http.Header{"Origin": {"https://"}, "Authorization": {"Bearer " + token}}
	w := httptest.NewRecorder()
	s.transport.ServeHTTP(w, r)
	require.Equal(t, 403, w.Code, "an origin without a host is not that of a request without one")
	for _, o := range []string{"*", "null", "", "https://", "https://a.example/", "https://a.example/x", "app.example.com", "https://u@a.example", "ftp://a.example", "https://*.example.com?"} {
		_, err := chansec.NewHTTPTransport(chansec.HTTPAllowOrigins(o))
		require.ErrorIs(t, err, chansec.ErrInvalid, strings.TrimSpace(o))
	}
}
