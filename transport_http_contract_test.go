package chansec_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

// The tests of this file go through the wire contract: sssn's (its specification, section 4), and what was added.

// messages returns the messages of an answer to a read.
func (a answered) messages(t *testing.T) (list []map[string]any) {
	t.Helper()
	require.Equal(t, 200, a.Status, a.Body)
	for _, m := range a.json(t)["messages"].([]any) {
		list = append(list, m.(map[string]any))
	}
	return list
}

// data returns the contents of the messages of an answer.
func (a answered) data(t *testing.T) (list []any) {
	t.Helper()
	for _, m := range a.messages(t) {
		list = append(list, m["content"].(map[string]any)["data"])
	}
	return list
}

// problem returns the kind of an error's problem document, after checking the rest of it.
func (a answered) problem(t *testing.T) string {
	t.Helper()
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), a.Body)
	p := a.json(t)
	require.EqualValues(t, a.Status, p["status"])
	require.NotEmpty(t, p["title"])
	require.IsType(t, "", p["detail"])
	require.NotEmpty(t, p["detail"])
	require.Equal(t, a.Header.Get("X-Request-Id"), p["request_id"])
	return strings.TrimPrefix(p["type"].(string), "urn:chansec:problem:")
}

func TestHTTPReadParameters(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewPassthrough[any]("c", chansec.WithSecurity(s.jwt)))
	write, read := s.token("w", chansec.RoleWrite), s.token("r", chansec.RoleRead)
	var ids []string
	for i := range 12 {
		a := s.send("PUT /channels/c", write, fmt.Sprint(i))
		require.Equal(t, 200, a.Status)
		ids = append(ids, a.json(t)["item_id"].(string))
	}
	require.Len(t, s.send("GET /channels/c", read, "").data(t), 10, "the limit is 10 unless given")
	require.Equal(t, []any{10.0, 11.0}, s.send("GET /channels/c?limit=5", read, "").data(t), "the cursor moves")
	require.Empty(t, s.send("GET /channels/c?limit=5", read, "").data(t))
	require.Equal(t, []any{3.0}, s.send("GET /channels/c?limit=1&after="+ids[2], read, "").data(t))
	require.Equal(t, []any{4.0}, s.send("GET /channels/c?limit=1&ignored=1", read, "").data(t), "after moves the cursor, too")

	for query, want := range map[string]int{
		"limit=abc": 422, "limit=": 422, "limit=1.0": 422, "limit=0": 400, "limit=-1": 400, "limit=1001": 400, "limit=99999999999999999999": 400,
		"limit=1&limit=1": 400, "exclusive=maybe": 422, "exclusive=": 422, "after=": 400, "after=nothing": 400,
		"after=" + uuid.NewString(): 400, "after=00000000-0000-0000-0000-000000000000": 400, "limit=1;x": 400, "%zz": 400, "exclusive=true&wait=31": 400,
		"limit=1000": 200, "exclusive=OFF": 200, "exclusive=No": 200, "exclusive=0": 200, "exclusive=False": 200,
	} {
		require.Equal(t, want, s.send("GET /channels/c?"+query, read, "").Status, query)
	}
}

func TestHTTPWriteTakesAnyJSON(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewPassthrough[any]("c", chansec.WithSecurity(s.jwt)))
	write := s.token("w", chansec.RoleWrite)
	for _, value := range []string{`null`, `true`, `-1.5e3`, `"text"`, `[1,"two",null]`, `{"a":{"b":[]}}`, " \n7\t"} {
		require.Equal(t, 200, s.send("PUT /channels/c", write, value).Status, value)
		var want any
		require.NoError(t, json.Unmarshal([]byte(value), &want))
		require.Equal(t, []any{want}, s.send("GET /channels/c", write, "").data(t))
	}
	for _, value := range []string{``, ` `, `{`, `nul`, `NaN`, `Infinity`, `1 2`, `{"a":1,"a":2}`, `"\ud800"`, "\"\xff\"", "\ufeff1", strings.Repeat("[", 65) + strings.Repeat("]", 65), `01`, `1e999`, `{"a":1,}`} {
		a := s.send("PUT /channels/c", write, value)
		require.Equal(t, 400, a.Status, value)
		require.Equal(t, "invalid", a.problem(t))
	}
	require.Empty(t, s.send("GET /channels/c", write, "").data(t), "nothing of that was stored")
}

func TestHTTPWriteOfAStruct(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewPassthrough[reading]("c", chansec.WithSecurity(s.jwt)))
	write := s.token("w", chansec.RoleWrite)
	require.Equal(t, 200, s.send("PUT /channels/c", write, `{"celsius": 3}`).Status)
	require.Equal(t, 200, s.send("PUT /channels/c?direct=true", write, `{"content":{"celsius": 4}}`).Status)
	a := s.send("PUT /channels/c", write, `{"celsius": "warm"}`)
	require.Equal(t, 400, a.Status)
	require.NotContains(t, a.Body, "reading", "the program's types are its own business")
	list := s.send("GET /channels/c", write, "").messages(t)
	require.Len(t, list, 2)
	require.Equal(t, map[string]any{"celsius": 3.0}, list[0]["content"])
	require.Equal(t, map[string]any{"celsius": 4.0}, list[1]["content"])
}

// An sssn client sends all eight fields. Sender and time are the server's own, whatever it says.
func TestHTTPDirectWrite(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewMailbox[any]("c", chansec.WithSecurity(s.jwt)))
	write := s.token("w", chansec.RoleWrite)
	full := `{"id":"m-1","timestamp":1.5,"sender_id":"w","content":{"data":7},"metadata":{"k":[1]},"correlation_id":"x","reply_to":"y","recipient_id":"w"}`
	a := s.send("PUT /channels/c?direct=true", write, full)
	require.Equal(t, 200, a.Status, a.Body)
	require.Equal(t, a.json(t)["item_id"], s.send("PUT /channels/c?direct=1", write, full).json(t)["item_id"], "the client's ID is its key for the message")
	list := s.send("GET /channels/c", write, "").messages(t)
	require.Len(t, list, 1)
	m := list[0]
	require.Equal(t, a.json(t)["item_id"], m["id"])
	require.InDelta(t, float64(time.Now().Unix()), m["timestamp"], 60)
	delete(m, "id")
	delete(m, "timestamp")
	require.Equal(t, map[string]any{"sender_id": "w", "content": map[string]any{"data": 7.0}, "metadata": map[string]any{"k": []any{1.0}},
		"correlation_id": "x", "reply_to": "y", "recipient_id": "w"}, m)

	for body, want := range map[string]int{
		`{"content":{"data":1}}`: 200,
		`{"content":{"data":1},"id":null,"timestamp":"1","sender_id":null,"metadata":null,"recipient_id":null,"more":1}`: 200,
		`{"content":{"data":1},"sender_id":"somebody"}`:                                                                  400,
		`{"content":{"data":1},"sender_id":1}`:                                                                           400,
		`{"content":{"data":1},"id":1}`:                                                                                  400,
		`{"content":{"data":1},"id":"` + strings.Repeat("x", 256) + `"}`:                                                 400,
		`{"content":{"data":1},"timestamp":{}}`:                                                                          400,
		`{"content":{"data":1},"metadata":[]}`:                                                                           400,
		`{"content":{"data":1},"recipient_id":"\u0001"}`:                                                                 400,
		`{"content":{"data":1,"more":2}}`:                                                                                400,
		`{"content":{}}`:                                                                                                 400,
		`{"content":1}`:                                                                                                  400,
		`{"Content":{"data":1}}`:                                                                                         400,
		`{}`:                                                                                                             400,
		`[]`:                                                                                                             400,
	} {
		require.Equal(t, want, s.send("PUT /channels/c?direct=true", write, body).Status, body)
	}
}

func TestHTTPIdempotencyKey(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewPassthrough[any]("c", chansec.WithSecurity(s.jwt)))
	put := func(token, key, body string) answered {
		return s.send("PUT /channels/c", token, body, "Idempotency-Key", key)
	}
	ann, bob := s.token("ann", chansec.RoleWrite), s.token("bob", chansec.RoleWrite)
	first := put(ann, "k", "1").json(t)["item_id"]
	require.Equal(t, first, put(ann, "k", "1").json(t)["item_id"])
	require.NotEqual(t, first, put(ann, "l", "1").json(t)["item_id"])
	require.NotEqual(t, first, put(bob, "k", "1").json(t)["item_id"], "each caller has keys of its own")
	require.Len(t, s.send("GET /channels/c", ann, "").data(t), 3)
	require.Equal(t, 400, put(ann, strings.Repeat("k", 256), "1").Status)
	require.Equal(t, 400, s.send("PUT /channels/c", ann, "1", "Idempotency-Key", "a", "Idempotency-Key", "b").Status)
}

func TestHTTPBatch(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewWorkQueue[any]("q", chansec.WithSecurity(s.jwt), chansec.WithMaxMessages(3)))
	s.mount(chansec.NewPassthrough[any]("c", chansec.WithSecurity(s.jwt)))
	write := s.token("w", chansec.RoleWrite)
	a := s.send("POST /channels/c/batch", write, `[1, {"a":[2]}, "three"]`, "Idempotency-Key", "b")
	require.Equal(t, 200, a.Status, a.Body)
	require.Len(t, a.json(t)["item_ids"], 3)
	require.Equal(t, a.Body, s.send("POST /channels/c/batch", write, `[1, {"a":[2]}, "three"]`, "Idempotency-Key", "b").Body)
	require.Equal(t, []any{1.0, map[string]any{"a": []any{2.0}}, "three"}, s.send("GET /channels/c", write, "").data(t))
	require.Empty(t, s.send("POST /channels/c/batch", write, `[]`).json(t)["item_ids"])

	for _, body := range []string{`{}`, `1`, `[1,`, `[1 2]`, "[" + strings.Repeat("1,", 1000) + "1]"} {
		require.Equal(t, 400, s.send("POST /channels/c/batch", write, body).Status)
	}
	require.Equal(t, 400, s.send("POST /channels/c/batch?direct=true", write, `[{"content":{"data":1}}, {}]`).Status)
	require.Equal(t, 400, s.send("POST /channels/c/batch?direct=true", write, `[{"content":{"data":1}}, {"content":{"data":1},"sender_id":"x"}]`).Status)
	require.Empty(t, s.send("GET /channels/c", write, "").data(t), "one bad message keeps out all of them")

	a = s.send("POST /channels/q/batch", write, `[1,2,3,4]`)
	require.Equal(t, 207, a.Status, "what was stored before the queue was full is named")
	require.Len(t, a.json(t)["item_ids"], 3)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.Equal(t, 429, s.send("POST /channels/q/batch", write, `[5]`).Status)
}

func TestHTTPClaims(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewWorkQueue[any]("q", chansec.WithSecurity(s.jwt)))
	ann, bob := s.token("ann", chansec.RoleWrite), s.token("bob", chansec.RoleRead)
	for i := range 4 {
		s.send("PUT /channels/q", ann, fmt.Sprint(i))
	}
	claim := func(token, query string) (receipts []string, attempts []float64) {
		t.Helper()
		a := s.send("GET /channels/q?exclusive=true&"+query, token, "")
		messages := a.messages(t)
		for i, c := range a.json(t)["claims"].([]any) {
			c := c.(map[string]any)
			require.Equal(t, messages[i]["id"], c["message_id"])
			require.Greater(t, c["deadline"], messages[i]["timestamp"])
			receipts, attempts = append(receipts, c["receipt"].(string)), append(attempts, c["attempt"].(float64))
		}
		return receipts, attempts
	}
	settle := func(how, token string, receipts ...string) any {
		t.Helper()
		body, _ := json.Marshal(map[string]any{"message_ids": receipts})
		a := s.send("POST /channels/q/"+how, token, string(body))
		require.Equal(t, 200, a.Status, a.Body)
		require.Equal(t, "ok", a.json(t)["status"])
		return a.json(t)[map[string]string{"acknowledge": "acknowledged", "nack": "nacked", "extend": "extended"}[how]]
	}
	receipts, _ := claim(ann, "limit=2")
	require.Len(t, receipts, 2)
	require.EqualValues(t, 0, settle("acknowledge", bob, receipts...), "by the holder only")
	require.EqualValues(t, 2, settle("extend", ann, receipts...))
	require.EqualValues(t, 1, settle("acknowledge", ann, receipts[0], receipts[0], "no receipt"), "what took effect is counted")
	require.EqualValues(t, 1, settle("nack", ann, receipts[1]))
	again, attempts := claim(bob, "limit=1")
	require.Equal(t, []float64{2}, attempts, "what was given back comes first")
	require.EqualValues(t, 0, settle("acknowledge", ann, receipts[1]), "a late receipt touches nobody else's claim")
	bare, _, _ := strings.Cut(again[0], ".")
	require.EqualValues(t, 0, settle("acknowledge", bob, bare), "a bare ID is ambiguous once a message was claimed twice")
	require.EqualValues(t, 1, settle("acknowledge", bob, again[0]))
	third, _ := claim(bob, "limit=1")
	bare, _, _ = strings.Cut(third[0], ".")
	require.EqualValues(t, 1, settle("acknowledge", bob, bare), "and good before")

	for body, want := range map[string]int{`{}`: 200, `{"message_ids":[]}`: 200, `{"message_ids":[],"more":1}`: 200, `{"message_ids":null}`: 400,
		`{"message_ids":"x"}`: 400, `{"message_ids":[1]}`: 400, `{"message_ids":{}}`: 400, `[]`: 400, `7`: 400, ``: 400,
		`{"message_ids":["` + strings.Repeat(`x","`, 1000) + `"]}`: 400} {
		require.Equal(t, want, s.send("POST /channels/q/acknowledge", bob, body).Status, body)
	}
}

func TestHTTPClaimWaits(t *testing.T) {
	arrived := make(chan struct{}, 4)
	s := newSite(t, chansec.HTTPRateLimit(func(context.Context, chansec.Principal, string) time.Duration {
		arrived <- struct{}{}
		return 0
	}))
	s.mount(chansec.NewWorkQueue[any]("q", chansec.WithSecurity(s.jwt)))
	s.mount(chansec.NewWorkQueue[any]("another", chansec.WithSecurity(s.jwt)))
	write := s.token("w", chansec.RoleWrite)
	got := make(chan answered)
	go func() { got <- s.send("GET /channels/q?exclusive=true&wait=30", write, "") }()
	require.Equal(t, 200, s.send("PUT /channels/q", write, `"now"`).Status)
	require.Equal(t, []any{"now"}, (<-got).data(t))
	require.Empty(t, s.send("GET /channels/q?exclusive=true&wait=1", write, "").data(t), "in vain")
	go func() { got <- s.send("GET /channels/q?exclusive=true&wait=30", write, "") }()
	for range 4 {
		<-arrived
	}
	s.transport.Unmount("q")
	require.Contains(t, []int{404, 503}, (<-got).Status, "not for longer than the channel is there")
}

func TestHTTPHostOperations(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt)))
	write, admin := s.token("w", chansec.RoleWrite), s.token("a", chansec.RoleAdmin)
	var ids []string
	fill := func() {
		ids = nil
		for i := range 5 {
			ids = append(ids, s.send("PUT /channels/c", write, fmt.Sprint(i)).json(t)["item_id"].(string))
		}
	}
	remove := func(query string) any {
		t.Helper()
		a := s.send("DELETE /channels/c/messages?"+query, admin, "")
		require.Equal(t, 200, a.Status, a.Body)
		return a.json(t)["removed"]
	}
	length := func() any { return s.send("GET /channels/c/length", admin, "").json(t)["length"] }
	fill()
	require.EqualValues(t, 5, length())
	require.EqualValues(t, 2, remove("id="+ids[0]+"&id="+ids[3]+"&id=nothing&id="+uuid.NewString()))
	require.Equal(t, []any{1.0, 2.0, 4.0}, s.send("GET /channels/c/messages", admin, "").data(t))
	require.Equal(t, []any{4.0}, s.send("GET /channels/c/messages?limit=2&after="+ids[2], admin, "").data(t))
	require.EqualValues(t, 2, remove("keep=1"))
	require.EqualValues(t, 0, remove("before=1.5"))
	require.EqualValues(t, 1, remove(fmt.Sprintf("before=%d", time.Now().Add(time.Hour).Unix())))
	fill()
	require.EqualValues(t, 5, remove("all=true"))
	require.EqualValues(t, 0, length())

	for query, want := range map[string]int{"": 400, "all=false": 400, "all=perhaps": 422, "all=true&keep=1": 400, "keep=x": 422, "keep=-1": 400,
		"keep=1&keep=2": 400, "before=": 422, "before=NaN": 422, "before=1e300": 422} {
		require.Equal(t, want, s.send("DELETE /channels/c/messages?"+query, admin, "").Status, query)
	}
	for _, line := range []string{"DELETE /channels/c/messages?all=true", "GET /channels/c/messages", "GET /channels/c/length"} {
		a := s.send(line, write, "")
		require.Equal(t, 403, a.Status, line)
		require.Contains(t, a.Header.Get("WWW-Authenticate"), `error="insufficient_scope", scope="admin"`)
	}
}

func TestHTTPInfo(t *testing.T) {
	s := newSite(t)
	s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt), chansec.WithDescription("News", "all of it"), chansec.WithVisibility(chansec.Public)))
	a := s.send("GET /channels/c/info", s.token("r", chansec.RoleRead), "")
	require.Equal(t, 200, a.Status)
	require.Equal(t, map[string]any{"id": "c", "name": "News", "description": "all of it", "visibility": "public", "period": 60.0}, a.json(t))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
}

// troubled is a security that cannot decide.
type troubled struct{ chansec.ChannelSecurity }

func (troubled) Authenticate(context.Context, string) (chansec.Principal, error) {
	return chansec.Principal{SystemID: "x", Proof: "test"}, nil
}

func (troubled) AuthorizeRead(context.Context, string, string) (bool, error) {
	return false, errors.New("canary: the database is gone")
}

// TestHTTPStatuses is the README's table.
func TestHTTPStatuses(t *testing.T) {
	s := newSite(t, chansec.HTTPMaxBody(100), chansec.HTTPMaxURL(300))
	s.mount(chansec.NewPassthrough[any]("c", chansec.WithSecurity(s.jwt)))
	s.mount(chansec.NewBroadcast[any]("news", chansec.WithSecurity(s.jwt)))
	s.mount(chansec.NewWorkQueue[any]("full", chansec.WithSecurity(s.jwt), chansec.WithMaxMessages(1)))
	drained, err := chansec.NewBroadcast[any]("drained", chansec.WithSecurity(s.jwt))
	s.mount(drained, err)
	require.NoError(t, drained.Drain(t.Context()))
	closed, err := chansec.NewBroadcast[any]("closed", chansec.WithSecurity(s.jwt))
	s.mount(closed, err)
	require.NoError(t, closed.Close())
	admin, narrow := s.token("a", chansec.RoleAdmin), s.token("n", chansec.RoleRead, "c")
	require.Equal(t, 200, s.send("PUT /channels/full", admin, "1").Status)

	for _, row := range []struct {
		about, line, token, body string
		status                   int
		problem                  string
	}{
		{"no credential", "GET /channels/c", "", "", 401, "unauthenticated"},
		{"a credential that proves nobody", "GET /channels/c", "nonsense", "", 401, "unauthenticated"},
		{"a role that does not suffice", "PUT /channels/c", narrow, "1", 403, "forbidden"},
		{"a channel beyond the token", "GET /channels/news", narrow, "", 403, "forbidden"},
		{"a channel that does not exist, beyond the token", "GET /channels/none", narrow, "", 403, "forbidden"},
		{"a channel that does not exist", "GET /channels/none", admin, "", 404, "not-found"},
		{"a channel that was closed", "GET /channels/closed", admin, "", 404, "not-found"},
		{"a path that means nothing", "GET /channels/c/nothing", admin, "", 404, "not-found"},
		{"another path that means nothing", "GET /", admin, "", 404, "not-found"},
		{"a channel ID that is none", "GET /channels/%00", admin, "", 400, "invalid"},
		{"another method", "PATCH /channels/c", admin, "", 405, "method-not-allowed"},
		{"HEAD, which must not read", "HEAD /channels/c", admin, "", 405, ""},
		{"claims on a broadcast", "GET /channels/news?exclusive=true", admin, "", 409, "unsupported"},
		{"acknowledging on a broadcast", "POST /channels/news/acknowledge", admin, "{}", 409, "unsupported"},
		{"plain reads of a work queue", "GET /channels/full", admin, "", 409, "unsupported"},
		{"following a work queue", "GET /channels/full/events", admin, "", 409, "unsupported"},
		{"an unknown message", "GET /channels/c/events?after=x", admin, "", 400, "unknown-message"},
		{"a body that is too long", "PUT /channels/c", admin, `"` + strings.Repeat("x", 100) + `"`, 413, "too-large"},
		{"a URL that is too long", "GET /channels/c?x=" + strings.Repeat("x", 300), admin, "", 414, "too-large"},
		{"a full queue", "PUT /channels/full", admin, "2", 429, "full"},
		{"a channel that drains", "PUT /channels/drained", admin, "1", 503, "not-accepting"},
		{"a security that cannot say", "GET /channels/troubled", "any", "", 503, "undecided"},
	} {
		t.Run(row.about, func(t *testing.T) {
			s := s
			if row.token == "any" {
				s = newSite(t)
				s.mount(chansec.NewBroadcast[any]("troubled", chansec.WithSecurity(troubled{s.jwt})))
			}
			a := s.send(row.line, row.token, row.body)
			require.Equal(t, row.status, a.Status, a.Body)
			require.NotContains(t, a.Body, "canary")
			if row.problem != "" {
				require.Equal(t, row.problem, a.problem(t))
			}
			if row.status == 401 {
				require.True(t, strings.HasPrefix(a.Header.Get("WWW-Authenticate"), `Bearer realm="chansec"`))
				require.Equal(t, row.token != "", strings.Contains(a.Header.Get("WWW-Authenticate"), `error="invalid_token"`))
			}
			require.Equal(t, row.status == 429 || row.status == 503, a.Header.Get("Retry-After") != "")
			require.Equal(t, row.status == 405, a.Header.Get("Allow") != "")
		})
	}
}

func TestHTTPMount(t *testing.T) {
	s := newSite(t)
	c, err := chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt))
	require.NoError(t, err)
	require.NoError(t, s.transport.Mount(c))
	require.ErrorIs(t, s.transport.Mount(c), chansec.ErrInvalid, "one channel of an ID at a time")
	require.True(t, s.transport.Unmount("c"))
	require.False(t, s.transport.Unmount("c"))
	require.NoError(t, s.transport.Mount(c))
	require.NoError(t, c.Close())
	require.ErrorIs(t, s.transport.Mount(c), chansec.ErrClosed)
	require.ErrorIs(t, s.transport.Mount(nil), chansec.ErrInvalid)
	require.ErrorIs(t, s.transport.Mount((*chansec.BroadcastChannel[int])(nil)), chansec.ErrInvalid)
	unset, err := chansec.NewBroadcast[any]("u", chansec.RequireSecurity())
	require.NoError(t, err)
	require.ErrorIs(t, s.transport.Mount(unset), chansec.ErrSecurityRequired)
	require.NoError(t, s.transport.Close())
	fresh, err := chansec.NewBroadcast[any]("f", chansec.WithSecurity(s.jwt))
	require.NoError(t, err)
	require.ErrorIs(t, s.transport.Mount(fresh), chansec.ErrClosed)
	require.Equal(t, 503, s.send("GET /channels/c", s.token("a", chansec.RoleAdmin), "").Status)
}

func TestHTTPOptionsThatMakeNoSense(t *testing.T) {
	for name, opt := range map[string]chansec.HTTPOption{
		"nil":                   nil,
		"no logger":             chansec.HTTPLogger(nil),
		"no body":               chansec.HTTPMaxBody(0),
		"no URL":                chansec.HTTPMaxURL(0),
		"no requests":           chansec.HTTPMaxRequests(0),
		"no streams":            chansec.HTTPMaxStreams(-1),
		"no time for a body":    chansec.HTTPTimeouts(0, time.Second),
		"no time to take":       chansec.HTTPTimeouts(time.Second, 0),
		"no heartbeat":          chansec.HTTPHeartbeat(0),
		"no rate limit":         chansec.HTTPRateLimit(nil),
		"no health check":       chansec.HTTPHealth(nil),
		"any origin":            chansec.HTTPAllowOrigins("*"),
		"an origin with a path": chansec.HTTPAllowOrigins("https://a.example/"),
		"an http resource":      chansec.HTTPResource("http://a.example"),
		"no resource":           chansec.HTTPResource(""),
		"a bad server":          chansec.HTTPResource("https://a.example", "a.example"),
		"tokens of a list":      chansec.HTTPTokens(chansec.OpenSecurity{}, nil),
	} {
		_, err := chansec.NewHTTPTransport(opt)
		require.ErrorIs(t, err, chansec.ErrInvalid, name)
	}
}

func TestHTTPHealth(t *testing.T) {
	var sick error
	s := newSite(t, chansec.HTTPHealth(func(context.Context) error { return sick }))
	require.Equal(t, 200, s.send("GET /health", "", "").Status)
	sick = errors.New("canary")
	a := s.send("GET /health", "", "")
	require.Equal(t, 503, a.Status)
	require.NotContains(t, a.Body, "canary")
	require.Equal(t, 401, newSite(t).send("GET /health", "", "").Status, "only if asked for")
}

func TestHTTPResourceMetadata(t *testing.T) {
	s := newSite(t, chansec.HTTPResource("https://api.example/v1", "https://login.example"))
	s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt)))
	const path = "/.well-known/oauth-protected-resource/v1"
	a := s.send("GET "+path, "", "")
	require.Equal(t, 200, a.Status)
	require.Equal(t, map[string]any{"resource": "https://api.example/v1", "authorization_servers": []any{"https://login.example"},
		"bearer_methods_supported": []any{"header"}, "scopes_supported": []any{"read", "write", "admin"}}, a.json(t))
	require.Contains(t, s.send("GET /channels/c", "", "").Header.Get("WWW-Authenticate"), `resource_metadata="https://api.example`+path+`"`)
}

func TestHTTPRateLimit(t *testing.T) {
	var asked []string
	s := newSite(t, chansec.HTTPRateLimit(func(_ context.Context, p chansec.Principal, id string) time.Duration {
		asked = append(asked, p.SystemID+" on "+id)
		if p.SystemID == "greedy" {
			return 1500 * time.Millisecond
		}
		return 0
	}))
	s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt)))
	require.Equal(t, 200, s.send("GET /channels/c", s.token("modest", chansec.RoleRead), "").Status)
	a := s.send("GET /channels/c", s.token("greedy", chansec.RoleRead), "")
	require.Equal(t, 429, a.Status)
	require.Equal(t, "2", a.Header.Get("Retry-After"))
	require.Equal(t, 401, s.send("GET /channels/c", "nobody", "").Status)
	require.Equal(t, []string{"modest on c", "greedy on c"}, asked)
}

func TestHTTPCrossOrigin(t *testing.T) {
	s := newSite(t, chansec.HTTPAllowOrigins("https://app.example"))
	s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt)))
	read := s.token("r", chansec.RoleRead)
	get := func(origin string) answered { return s.send("GET /channels/c", read, "", "Origin", origin) }
	require.Equal(t, 200, get("https://app.example").Status)
	require.Equal(t, "https://app.example", get("https://app.example").Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, 200, get(s.URL).Status, "pages of the same host")
	for _, origin := range []string{"https://evil.example", "http://app.example", "https://app.example.evil.example", "null", ""} {
		a := get(origin)
		require.Equal(t, 403, a.Status, origin)
		require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))
	}
	ask := func(origin string) answered {
		return s.send("OPTIONS /channels/c", "", "", "Origin", origin, "Access-Control-Request-Method", "PUT")
	}
	require.Equal(t, 204, ask("https://app.example").Status)
	require.Contains(t, ask("https://app.example").Header.Get("Access-Control-Allow-Headers"), "Authorization")
	require.Empty(t, ask("https://app.example").Header.Get("Access-Control-Allow-Credentials"))
	require.Equal(t, 403, ask("https://evil.example").Status)
	require.Equal(t, 403, newSite(t).send("GET /", "", "", "Origin", "https://app.example").Status, "closed unless opened")
}

// decorated hides what a security is.
type decorated struct{ chansec.ChannelSecurity }

func TestHTTPRefusesMereNames(t *testing.T) {
	acl, err := chansec.NewACLSecurity(chansec.ACLAdmin("ann"))
	require.NoError(t, err)
	for name, security := range map[string]chansec.ChannelSecurity{"Open": chansec.OpenSecurity{}, "ACL": acl, "a decorator": decorated{acl}} {
		s := newSite(t)
		s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(security)))
		require.Equal(t, 401, s.send("GET /channels/c", "ann", "").Status, name)
		open := newSite(t, chansec.AllowInsecure())
		open.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(security)))
		require.Equal(t, 200, open.send("GET /channels/c", "ann", "").Status, name)
	}
	var logged bytes.Buffer
	s := newSite(t, chansec.AllowInsecure(), chansec.HTTPLogger(slog.New(slog.NewTextHandler(&logged, nil))))
	s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(acl)))
	require.Contains(t, logged.String(), "believes mere names", "mounting one warns")
	require.Equal(t, 401, s.send("GET /channels/c", "mallory", "").Status)
}

func TestHTTPLimitsOfRequests(t *testing.T) {
	s := newSite(t, chansec.HTTPMaxStreams(1))
	s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt)))
	read := s.token("r", chansec.RoleRead)
	first := s.follow("/channels/c/events", read)
	require.Equal(t, 503, s.send("GET /channels/c/events", read, "").Status)
	first.leave()
	require.Eventually(t, func() bool {
		f, status := s.tryFollow("/channels/c/events", read)
		f.leave()
		return status == http.StatusOK
	}, 10*time.Second, time.Millisecond)

	s = newSite(t, chansec.HTTPMaxRequests(1))
	s.mount(chansec.NewBroadcast[any]("c", chansec.WithSecurity(s.jwt)))
	read = s.token("r", chansec.RoleRead)
	first = s.follow("/channels/c/events", read)
	a := s.send("GET /channels/c", read, "")
	require.Equal(t, 503, a.Status)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	first.leave()
}
