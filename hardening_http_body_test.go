package chansec_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// sound requires that everything a channel holds comes out as it should, and returns the contents.
func (s *site) sound(channel string) (contents []any) {
	s.t.Helper()
	a := s.send("GET /channels/"+channel+"/messages", s.token("auditor", chansec.RoleAdmin), "")
	require.Equal(s.t, 200, a.Status, a.Body)
	for _, m := range a.json(s.t)["messages"].([]any) {
		contents = append(contents, m.(map[string]any)["content"].(map[string]any)["data"])
	}
	return contents
}

// Bodies that are longer than they may be, say so or not, and end or not (CWE-400, CWE-770).
func TestHTTPAttackLongBody(t *testing.T) {
	t.Parallel()
	const most = 1000
	s := attacked(t, chansec.HTTPMaxBody(most))
	token := s.token("ann", chansec.RoleWrite)
	text := func(bytes int) string { return `"` + strings.Repeat("x", bytes-2) + `"` }
	require.Equal(t, 200, s.send("PUT /channels/c", token, text(most)).Status)
	for _, line := range []string{"PUT /channels/c", "PUT /channels/c?direct=true", "POST /channels/c/batch", "POST /channels/c/acknowledge", "POST /channels/c/nack", "POST /channels/c/extend"} {
		head := line + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n"
		chunk := fmt.Sprintf("%x\r\n%s\r\n", most, strings.Repeat(" ", most))
		for name, request := range map[string]string{
			"one byte too long":                         head + fmt.Sprintf("Content-Length: %d\r\n\r\n", most+1) + text(most+1),
			"one that says how long it is, and no more": head + "Content-Length: 9223372036854775807\r\n\r\n",
			"in chunks":                 head + "Transfer-Encoding: chunked\r\n\r\n" + chunk + "1\r\n1\r\n0\r\n\r\n",
			"in chunks that do not end": head + "Transfer-Encoding: chunked\r\n\r\n" + chunk + chunk,
			"in one chunk that is long": head + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n" + strings.Repeat(" ", 2*most),
		} {
			t.Run(line+", "+name, func(t *testing.T) {
				t.Parallel()
				c := s.dialFor(t).send(request)
				a := c.next()
				require.Equal(t, 413, a.Status, a.Body)
				require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
				c.requireClosed()
				require.Len(t, s.sound("c"), 2)
			})
		}
	}
}

// Whoever may not write is told so at once, not when the body has come (CWE-400, CWE-405).
func TestHTTPAttackBodyThatNeverComes(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	reader := s.token("ann", chansec.RoleRead)
	for name, test := range map[string]struct {
		token string
		want  int
	}{"nobody": {"x.y.z", 401}, "one who may only read": {reader, 403}} {
		for _, framing := range []string{"Content-Length: 100000", "Transfer-Encoding: chunked", "Content-Length: 100000\r\nExpect: 100-continue"} {
			for _, line := range []string{"PUT /channels/c", "POST /channels/c/batch", "PUT /channels/unknown", "POST /nothing"} {
				t.Run(name+", "+line+", "+framing, func(t *testing.T) {
					t.Parallel()
					c := s.dialFor(t).send(line + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + test.token + "\r\n" + framing + "\r\n\r\n")
					want := test.want
					if want == 403 && line == "POST /nothing" {
						want = 404
					}
					require.Equal(t, want, c.next().Status)
					c.requireClosed()
				})
			}
		}
	}
}

// Bodies that are small on the way and large here are not unpacked at all (RFC 9110 section 8.4; CWE-409).
func TestHTTPAttackCompressedBody(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	t.Parallel()
	s := attacked(t)
	token := s.token("ann", chansec.RoleWrite)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	must(z.Write([]byte(`"` + strings.Repeat("x", 10<<20) + `"`)))
	require.NoError(t, z.Close())
	for _, encoding := range []string{"gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "gzip, identity", "identity, gzip", "aws-chunked", "unknown", " gzip"} {
		for _, body := range []string{bomb.String(), `1`} {
			a := s.send("PUT /channels/c", token, body, "Content-Encoding", encoding)
			require.Equal(t, 415, a.Status, encoding)
		}
	}
	for _, first := range []string{"identity", ""} {
		a := s.send("PUT /channels/c", token, `1`, "Content-Encoding", first, "Content-Encoding", "gzip")
		require.Equal(t, 415, a.Status, "the second of two headers counts as well")
	}
	require.Equal(t, 400, s.send("PUT /channels/c", token, bomb.String()).Status, "without a header it is no JSON")
	require.Equal(t, 200, s.send("PUT /channels/c", token, `"plain"`, "Content-Encoding", "identity").Status)
	a := s.send("GET /channels/c", s.token("ann", chansec.RoleRead), "", "Accept-Encoding", "gzip, br")
	require.Equal(t, 200, a.Status)
	require.Empty(t, a.Header.Get("Content-Encoding"), "nothing is compressed beside secrets (CWE-200, BREACH)")
	require.Equal(t, []any{"good", "plain"}, s.sound("c"))
}

// Texts that one reader takes in one way and another in another, or not at all (RFC 8259; RFC 7493; CWE-20, CWE-436,
// CWE-674). A reader that cannot decode what a writer got stored is a reader that reads no more.
func TestHTTPAttackPoisonJSON(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	token := s.token("ann", chansec.RoleWrite)
	nested := func(open, close string, depth int) string {
		return strings.Repeat(open, depth) + strings.Repeat(close, depth)
	}
	tests := []struct {
		name string
		text string
		want int
	}{
		{"nothing", "", 400},
		{"white space", " \r\n\t", 400},
		{"NaN", `NaN`, 400},
		{"NaN within", `{"x":NaN}`, 400},
		{"infinity", `-Infinity`, 400},
		{"a number beyond what a float holds", `1e400`, 400},
		{"the first half of a surrogate pair", `"\ud800"`, 400},
		{"the second half of a surrogate pair", `"\udc00"`, 400},
		{"two first halves", `"\ud800\ud800"`, 400},
		{"half a pair in a name", `{"\udfff":1}`, 400},
		{"a whole pair", `"\ud83d\ude00"`, 200},
		{"bytes that are no UTF-8", "\"\xff\"", 400},
		{"an overlong slash", "\"\xc0\xaf\"", 400},
		{"two members of a name", `{"a":1,"a":2}`, 400},
		{"two members of a name, one of them coded", `{"a":1,"\u0061":2}`, 400},
		{"two members of a name further down", `[{"x":{"a":1,"a":1}}]`, 400},
		{"two members in two cases", `{"a":1,"A":2}`, 200},
		{"something after the value", `1 2`, 400},
		{"a second value", `{}{}`, 400},
		{"a NUL after the value", "1\x00", 400},
		{"a byte order mark", "\ufeff1", 400},
		{"UTF-16", "\"\x00a\x00\"\x00", 400},
		{"a comment", `{} // x`, 400},
		{"a trailing comma", `[1,]`, 400},
		{"apostrophes", `'x'`, 400},
		{"a control character in a string", "\"\x01\"", 400},
		{"a line end in a string", "\"\n\"", 400},
		{"a leading zero", `01`, 400},
		{"a hexadecimal number", `0x10`, 400},
		{"arrays 64 deep", nested("[", "]", 64), 200},
		{"arrays 65 deep", nested("[", "]", 65), 400},
		{"arrays 100,000 deep", nested("[", "]", 100_000), 400},
		{"arrays that do not end", strings.Repeat("[", 500_000), 400},
		{"objects 100,000 deep", nested(`{"a":`, "}", 100_000), 400},
		{"an array of 100,000", "[" + strings.Repeat("0,", 99_999) + "0]", 400},
		{"an ID as of another system", `{"$ref":"#"}`, 200},
		{"a prototype", `{"__proto__":{"admin":true}}`, 200},
		{"null", `null`, 200},
	}
	stored := 1
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := s.send("PUT /channels/c", token, test.text)
			require.Equal(t, test.want, a.Status, a.Body)
			if test.want == 200 {
				stored++
			} else {
				require.NotEmpty(t, a.json(t)["detail"])
				for line, body := range map[string]string{
					"POST /channels/c/batch":           `["first",` + test.text + `]`,
					"PUT /channels/c?direct=true":      `{"content":{"data":` + test.text + `}}`,
					"POST /channels/c/acknowledge":     `{"message_ids":[],"x":` + test.text + `}`,
					"POST /channels/c/batch?direct=on": `[{"content":{"data":1},"metadata":{"x":` + test.text + `}}]`,
				} {
					if strings.TrimSpace(test.text) == "" && line == "POST /channels/c/batch" {
						body = `["first",]`
					}
					require.Equal(t, 400, s.send(line, token, body).Status, line)
				}
			}
			require.Len(t, s.sound("c"), stored)
		})
	}
}

// The texts of JSONTestSuite as the bodies of everything that takes one.
func TestHTTPAttackJSONTestSuite(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	token := s.token("ann", chansec.RoleWrite)
	files, err := filepath.Glob("internal/strictjson/testdata/JSONTestSuite/*.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 191)
	want := []any{"good"}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		name, text := filepath.Base(file), string(data)
		a := s.send("PUT /channels/c", token, text)
		switch {
		case strings.HasPrefix(name, "y_") && !strings.Contains(name, "duplicated_key"):
			require.Equal(t, 200, a.Status, "%s: %s", name, a.Body)
		case strings.HasPrefix(name, "i_"):
			require.Contains(t, []int{200, 400}, a.Status, "%s: %s", name, a.Body)
		default:
			require.Equal(t, 400, a.Status, "%s: %s", name, a.Body)
		}
		if a.Status == 200 {
			var v any
			require.NoError(t, json.Unmarshal(data, &v))
			want = append(want, v)
		}
		for _, route := range []string{"batch", "acknowledge", "nack", "extend"} {
			before := len(want)
			got := s.send("POST /channels/c/"+route, token, text)
			if a.Status == 400 {
				require.Equal(t, 400, got.Status, "%s: %s", route, name)
			}
			require.Less(t, got.Status, 500, "%s: %s: %s", route, name, got.Body)
			if list, ok := want[before-1].([]any); ok && route == "batch" && got.Status == 200 {
				want = append(want, list...)
			}
		}
	}
	require.Equal(t, want, s.sound("c"))
}

// A message that says it is from somebody else (CWE-290, CWE-345).
func TestHTTPAttackSender(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	token := s.token("eve", chansec.RoleWrite)
	message := func(more string) string { return `{"content":{"data":"by eve"}` + more + `}` }
	for name, test := range map[string]struct {
		more string
		want int
	}{
		"nothing":             {``, 200},
		"null":                {`,"sender_id":null`, 200},
		"the empty string":    {`,"sender_id":""`, 200},
		"the caller":          {`,"sender_id":"eve"`, 200},
		"another":             {`,"sender_id":"ann"`, 400},
		"the caller in part":  {`,"sender_id":"ev"`, 400},
		"another case":        {`,"sender_id":"Eve"`, 400},
		"more white space":    {`,"sender_id":"eve "`, 400},
		"a NUL":               {`,"sender_id":"eve\u0000"`, 400},
		"a letter like it":    {`,"sender_id":"\u0435ve"`, 400},
		"a number":            {`,"sender_id":1`, 400},
		"a list":              {`,"sender_id":["eve","ann"]`, 400},
		"two":                 {`,"sender_id":"eve","sender_id":"ann"`, 400},
		"another case of it":  {`,"Sender_ID":"ann"`, 200},
		"metadata":            {`,"metadata":{"sender_id":"ann"}`, 200},
		"an ID of its own":    {`,"id":"` + uuid.NewString() + `"`, 200},
		"a time of its own":   {`,"timestamp":1`, 200},
		"a time in no format": {`,"timestamp":{}`, 400},
	} {
		require.Equal(t, test.want, s.send("PUT /channels/c?direct=true", token, message(test.more)).Status, name)
		require.Equal(t, test.want, s.send("POST /channels/c/batch?direct=true", token, "["+message("")+","+message(test.more)+"]").Status, name)
	}
	require.Equal(t, 200, s.send("PUT /channels/c", token, message(`,"sender_id":"ann"`), "X-Sender-Id", "ann", "From", "ann").Status, "without direct it is a value like others")

	a := s.send("GET /channels/c/messages", s.token("auditor", chansec.RoleAdmin), "")
	for i, m := range a.json(t)["messages"].([]any) {
		m := m.(map[string]any)
		if i > 0 {
			require.Equal(t, "eve", m["sender_id"])
		}
		require.InDelta(t, float64(time.Now().Unix()), m["timestamp"], 600)
	}
}

// A key of one client is not that of another: nobody learns with it what others wrote, or keeps them from writing (CWE-639).
func TestHTTPAttackKeyOfAnother(t *testing.T) {
	t.Parallel()
	s := attacked(t)
	put := func(who, body string) (id string) {
		a := s.send("PUT /channels/c", s.token(who, chansec.RoleWrite), body, "Idempotency-Key", "k")
		require.Equal(t, 200, a.Status)
		return a.json(t)["item_id"].(string)
	}
	first := put("ann", `"ann's"`)
	require.Equal(t, first, put("ann", `"ann's"`), "the same message, once")
	require.NotEqual(t, first, put("eve", `"eve's"`))
	require.NotEqual(t, first, put("ann\u0020", `"a neighbour's"`))
	for _, key := range []string{"", "a\tb", strings.Repeat("k", 256), "\xff"} {
		r := httptest.NewRequest("PUT", "/channels/c", strings.NewReader("1"))
		r.Header.Set("Authorization", "Bearer "+s.token("ann", chansec.RoleWrite))
		r.Header["Idempotency-Key"] = []string{key}
		w := httptest.NewRecorder()
		s.transport.ServeHTTP(w, r)
		require.Equal(t, 400, w.Code, "%q", key)
	}
	require.Equal(t, []any{"good", "ann's", "eve's", "a neighbour's"}, s.sound("c"))
}
