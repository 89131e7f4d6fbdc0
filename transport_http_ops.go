package chansec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/chansec/chansec/internal/strictjson"
)

// request is a request of somebody authenticated to a channel.
type request struct {
	*exchange
	t     *HTTPTransport
	wire  wire
	life  context.Context // ends when the channel is unmounted
	query url.Values
}

// route is what a method does on a path.
type route struct {
	name  string
	op    Operation // the role that it takes is told to those who lack it
	serve func(*request) error
}

// routes are the methods by the last segment of the path.
var routes map[string]map[string]route

func init() {
	routes = map[string]map[string]route{
		"": {
			http.MethodGet: {"read", OpRead, (*request).get},
			http.MethodPut: {"write", OpWrite, (*request).put},
		},
		"batch":       {http.MethodPost: {"batch", OpWrite, (*request).batch}},
		"events":      {http.MethodGet: {"events", OpSubscribe, (*request).events}},
		"acknowledge": {http.MethodPost: {"acknowledge", OpAcknowledge, settles(OpAcknowledge, "acknowledged")}},
		"nack":        {http.MethodPost: {"nack", OpNack, settles(OpNack, "nacked")}},
		"extend":      {http.MethodPost: {"extend", OpExtend, settles(OpExtend, "extended")}},
		"info":        {http.MethodGet: {"info", OpInfo, (*request).info}},
		"messages": {
			http.MethodGet:    {"list", OpRemove, (*request).list},
			http.MethodDelete: {"remove", OpRemove, (*request).remove},
		},
		"length": {http.MethodGet: {"length", OpAdmin, (*request).length}},
	}
}

// defaultReadLimit is sssn's.
const defaultReadLimit = 10

// reply sends a JSON text.
func reply[S string | []byte](x *exchange, body S) {
	h := x.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	_, _ = x.Write([]byte(body))
}

var jsonType = []string{"application/json"}

func (q *request) ctx() context.Context { return q.r.Context() }

// The query. Names that a route does not know mean nothing, as in sssn; one that it knows may come once.

func parseQuery(raw string) (url.Values, error) {
	if raw == "" {
		return nil, nil
	}
	v, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("the query is malformed")
	}
	return v, nil
}

func (q *request) one(name string) (string, bool, error) {
	switch v := q.query[name]; len(v) {
	case 0:
		return "", false, nil
	case 1:
		return v[0], true, nil
	}
	return "", false, badRequest("more than one " + name)
}

func unparsable(name, want string) error {
	return refuse(http.StatusUnprocessableEntity, problemInvalid, name+" must be "+want)
}

func (q *request) number(name string, otherwise, lo, hi int) (int, error) {
	text, given, err := q.one(name)
	if err != nil || !given {
		return otherwise, err
	}
	n, err := strconv.Atoi(text)
	if errors.Is(err, strconv.ErrRange) {
		n, err = hi+1, nil
	}
	if err != nil {
		return 0, unparsable(name, "a whole number")
	}
	if n < lo || n > hi {
		return 0, badRequest(name + " must be " + strconv.Itoa(lo) + " to " + strconv.Itoa(hi))
	}
	return n, nil
}

func (q *request) flag(name string) (bool, error) {
	text, given, err := q.one(name)
	if err != nil || !given {
		return false, err
	}
	switch lower(text) {
	case "true", "1", "on", "yes":
		return true, nil
	case "false", "0", "off", "no":
		return false, nil
	}
	return false, unparsable(name, "true or false")
}

func (q *request) after() (*uuid.UUID, error) {
	text, given, err := q.one("after")
	if err != nil || !given {
		return nil, err
	}
	id := messageID(text)
	return &id, nil
}

// messageID reads the ID of a message. What is none becomes one that no message has, so that only those who may do the
// operation learn of it.
func messageID(text string) uuid.UUID {
	id, err := uuid.Parse(text)
	if err != nil || id.String() != lower(text) {
		return uuid.Max
	}
	return id
}

// The body.

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxBufferKept keeps the pool from holding on to the largest bodies.
const maxBufferKept = 64 << 10

// body reads a body that is one JSON value by the strict rules.
func (q *request) body() (string, error) {
	r := q.r
	for _, e := range r.Header["Content-Encoding"] {
		if e != "" && lower(e) != "identity" {
			return "", refuse(http.StatusUnsupportedMediaType, problemMediaType, "compressed bodies are not accepted")
		}
	}
	if r.ContentLength > q.t.maxBody {
		return "", &http.MaxBytesError{Limit: q.t.maxBody}
	}
	_ = http.NewResponseController(q.ResponseWriter).SetReadDeadline(time.Now().Add(q.t.body))
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxBufferKept {
			buf.Reset()
			buffers.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(http.MaxBytesReader(q.ResponseWriter, r.Body, q.t.maxBody)); err != nil {
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			return "", err
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "", refuse(http.StatusRequestTimeout, problemInvalid, "the body did not arrive in time")
		}
		return "", badRequest("the body broke off")
	}
	q.read = true
	if q.life.Err() != nil {
		return "", ErrClosed // unmounted meanwhile
	}
	text := buf.String()
	return text, checkJSON(text)
}

func checkJSON(text string) error {
	if err := strictjson.Valid(text, wireLimits); err != nil {
		return badRequest("the body: " + err.Error())
	}
	return nil
}

// Reading and claiming.

func (q *request) get() error {
	limit, err := q.number("limit", defaultReadLimit, 1, MaxReadLimit)
	if err != nil {
		return err
	}
	exclusive, err := q.flag("exclusive")
	if err != nil {
		return err
	}
	if exclusive {
		return q.claim(limit)
	}
	after, err := q.after()
	if err != nil {
		return err
	}
	list, err := q.wire.read(q.ctx(), after, limit)
	var missed *LaggedError
	if errors.As(err, &missed) {
		b := append([]byte(`{"messages":[],"missed":`), strconv.FormatUint(missed.Missed, 10)...)
		b = append(b, `,"at_most":`...)
		reply(q.exchange, append(strconv.AppendBool(b, missed.AtMost), '}'))
		return nil
	}
	if err != nil {
		return err
	}
	reply(q.exchange, append(appendMessages(nil, list), '}'))
	return nil
}

func appendMessages(b []byte, list []*frame) []byte {
	n := len(`{"messages":[]}`)
	for _, f := range list {
		n += len(f.event)
	}
	if b == nil {
		b = make([]byte, 0, n)
	}
	b = append(b, `{"messages":[`...)
	for i, f := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, f.json()...)
	}
	return append(b, ']')
}

func (q *request) claim(limit int) error {
	wait, err := q.number("wait", 0, 0, int(MaxHTTPWait/time.Second))
	if err != nil {
		return err
	}
	if wait > 0 && q.r.ContentLength != 0 { // a connection that ends shows only behind the body
		return badRequest("a request that waits has no body")
	}
	ctx := q.ctx()
	if wait > 0 {
		_ = http.NewResponseController(q.ResponseWriter).SetWriteDeadline(time.Now().Add(MaxHTTPWait + q.t.stall))
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(q.life, cancel)()
	}
	claims, err := q.wire.claim(ctx, limit, time.Duration(wait)*time.Second)
	if err != nil && q.life.Err() != nil && q.ctx().Err() == nil {
		err = ErrClosed
	}
	if err != nil {
		return err
	}
	if gone := q.ctx().Err(); gone != nil {
		receipts := func() (list []Receipt, _ error) {
			for _, c := range claims {
				list = append(list, c.receipt)
			}
			return list, nil
		}
		_, _ = q.wire.settle(context.WithoutCancel(q.ctx()), OpNack, receipts) // or nobody has them until their deadline
		return gone
	}
	list := make([]*frame, len(claims))
	for i, c := range claims {
		list[i] = c.message
	}
	b := append(appendMessages(nil, list), `,"claims":[`...)
	for i, c := range claims {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"message_id":"`...)
		b = append(b, c.receipt.ID.String()...)
		b = append(b, `","receipt":"`...)
		b = append(b, c.receipt.String()...)
		b = append(b, `","attempt":`...)
		b = strconv.AppendUint(b, c.receipt.Attempt, 10)
		b = append(b, `,"deadline":`...)
		b = append(appendSeconds(b, c.deadline), '}')
	}
	reply(q.exchange, append(b, ']', '}'))
	return nil
}

// settles serves acknowledge, nack and extend.
func settles(op Operation, counted string) func(*request) error {
	return func(q *request) error {
		n, err := q.wire.settle(q.ctx(), op, q.receipts)
		if err != nil {
			return err
		}
		reply(q.exchange, `{"status":"ok","`+counted+`":`+strconv.Itoa(n)+`}`)
		return nil
	}
}

// receipts reads {"message_ids": [...]}. What is no receipt names no claim.
func (q *request) receipts() ([]Receipt, error) {
	text, err := q.body()
	if err != nil {
		return nil, err
	}
	members, err := strictjson.Object(text, nil, wireLimits)
	if err != nil {
		return nil, badRequest("the body must be an object")
	}
	var receipts []Receipt
	for _, m := range members {
		if m.Name != "message_ids" {
			continue
		}
		list, ok := m.Value.Strings(MaxReadLimit)
		if !ok {
			return nil, badRequest("message_ids must be a list of at most " + strconv.Itoa(MaxReadLimit) + " strings")
		}
		for _, s := range list {
			if r, err := ParseReceipt(s); err == nil {
				receipts = append(receipts, r)
			}
		}
	}
	return receipts, nil
}

// Writing.

// writing reads what a write says beside its body: whether that holds messages, and the client's key for it.
func (q *request) writing() (direct bool, key string, err error) {
	if direct, err = q.flag("direct"); err != nil {
		return false, "", err
	}
	key, err = q.idempotencyKey()
	return direct, key, err
}

func (q *request) put() error {
	direct, key, err := q.writing()
	if err != nil {
		return err
	}
	ids, err := q.wire.write(q.ctx(), func() ([]wireMessage, error) {
		text, err := q.body()
		if err != nil {
			return nil, err
		}
		m, err := readMessage(text, direct, key)
		return []wireMessage{m}, err
	})
	if err != nil {
		return err
	}
	reply(q.exchange, `{"status":"accepted","item_id":"`+ids[0].String()+`"}`)
	return nil
}

func (q *request) batch() error {
	direct, key, err := q.writing()
	if err != nil {
		return err
	}
	ids, err := q.wire.write(q.ctx(), func() ([]wireMessage, error) {
		text, err := q.body()
		if err != nil {
			return nil, err
		}
		values, ok := strictjson.Elements(text, MaxHTTPBatch)
		if !ok {
			return nil, badRequest("the body must be an array of at most " + strconv.Itoa(MaxHTTPBatch))
		}
		list := make([]wireMessage, len(values))
		for i, v := range values {
			once := key
			if once != "" {
				once = "batch/" + strconv.Itoa(i) + "/" + once
			}
			if list[i], err = readMessage(v, direct, once); err != nil {
				return nil, err
			}
		}
		return list, nil
	})
	b := []byte(`{"status":"accepted","item_ids":[`)
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), id.String()...), '"')
	}
	b = append(b, ']', '}')
	if err != nil && len(ids) > 0 {
		// Those are stored, and the client must know which: the rest may be sent again.
		q.failure = err
		p := problemOf(err)
		q.Header().Set("Retry-After", strconv.Itoa(int(max(p.retry, retryDefault)/time.Second)))
		b = bytes.Replace(b, []byte("accepted"), []byte("partly accepted"), 1)
		q.Header()["Content-Type"] = jsonType
		q.WriteHeader(http.StatusMultiStatus)
		_, _ = q.Write(b)
		return nil
	}
	if err != nil {
		return err
	}
	reply(q.exchange, b)
	return nil
}

// maxKey is how long a client's key for a message may be.
const maxKey = 255

// idempotencyKey returns the key of the header, or none. The channel remembers so many (driver.OnceWindow); one that comes
// again stands for the message of then, whatever the body.
func (q *request) idempotencyKey() (string, error) {
	v := q.r.Header["Idempotency-Key"]
	if len(v) == 0 {
		return "", nil
	}
	if len(v) > 1 {
		return "", badRequest("more than one Idempotency-Key")
	}
	return "key/" + v[0], checkKey(v[0])
}

func checkKey(key string) error {
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return badRequest("an Idempotency-Key has 1 to " + strconv.Itoa(maxKey) + " bytes, and no control characters")
	}
	return nil
}

// readMessage reads the body of a write: a value or, if it is direct, sssn's message. Of that, the ID is the client's key
// for it, unless there is one, and the time means nothing: the channel has its own of both.
func readMessage(text string, direct bool, key string) (wireMessage, error) {
	m := wireMessage{content: text, once: key}
	if !direct {
		return m, nil
	}
	m.direct, m.content, m.rest = true, "", &rest{}
	members, err := strictjson.Object(text, nil, wireLimits)
	if err != nil {
		return m, badRequest("with direct=true the body must be a message: an object")
	}
	for _, member := range members {
		var into *string
		switch v := member.Value; member.Name {
		case "id":
			id, ok := v.Text()
			if !ok && !v.IsNull() {
				return m, badRequest("the message's id must be a string")
			}
			if id != "" && key == "" {
				if err := checkKey(id); err != nil {
					return m, badRequest("the message's id must have at most 255 bytes, and no control characters")
				}
				m.once = "id/" + id
			}
		case "timestamp":
			if k := v.Kind(); k != strictjson.KindNumber && k != strictjson.KindString && k != strictjson.KindNull {
				return m, badRequest("the message's timestamp must be a number")
			}
		case "content":
			if v.Kind() != strictjson.KindObject {
				return m, badRequest("the message's content must be an object")
			}
			m.content = v.Raw()
		case "metadata":
			if v.IsNull() {
				break
			}
			if v.Kind() != strictjson.KindObject || json.Unmarshal([]byte(v.Raw()), &m.rest.Metadata) != nil {
				return m, badRequest("the message's metadata must be an object")
			}
		case "sender_id":
			into = &m.sender
		case "correlation_id":
			into = &m.rest.CorrelationID
		case "reply_to":
			into = &m.rest.ReplyTo
		case "recipient_id":
			into = &m.rest.RecipientID
		}
		if into != nil && !member.Value.IsNull() {
			text, ok := member.Value.Text()
			if !ok {
				return m, badRequest("the message's " + member.Name + " must be a string or null")
			}
			*into = text
		}
	}
	if m.content == "" {
		return m, badRequest("the message has no content")
	}
	if m.rest.RecipientID != "" {
		return m, CheckSystemID(m.rest.RecipientID)
	}
	return m, nil
}

// Describing and managing.

func (q *request) info() error {
	info, err := q.wire.Info(q.ctx())
	if err != nil {
		return err
	}
	b, err := json.Marshal(info)
	if err != nil {
		return err
	}
	reply(q.exchange, b)
	return nil
}

func (q *request) length() error {
	n, err := q.wire.Len(q.ctx())
	if err != nil {
		return err
	}
	reply(q.exchange, `{"length":`+strconv.Itoa(n)+`}`)
	return nil
}

func (q *request) list() error {
	limit, err := q.number("limit", MaxReadLimit, 1, MaxReadLimit)
	if err != nil {
		return err
	}
	after, err := q.after()
	if err != nil {
		return err
	}
	list, err := q.wire.list(q.ctx(), after, limit)
	if err != nil {
		return err
	}
	reply(q.exchange, append(appendMessages(nil, list), '}'))
	return nil
}

func (q *request) remove() error {
	do, err := q.removal()
	if err != nil {
		return err
	}
	n, err := do(q.ctx())
	if err != nil {
		return err
	}
	reply(q.exchange, `{"status":"ok","removed":`+strconv.Itoa(n)+`}`)
	return nil
}

// removal reads which messages are to go. Exactly one of the four ways must be given: all of them is spelled out.
func (q *request) removal() (func(context.Context) (int, error), error) {
	given := 0
	for _, name := range []string{"all", "before", "keep", "id"} {
		if _, ok := q.query[name]; ok {
			given++
		}
	}
	if given != 1 {
		return nil, badRequest("one of all=true, before, keep or id must be given")
	}
	if ids, ok := q.query["id"]; ok {
		list := make([]uuid.UUID, 0, len(ids))
		for _, text := range ids {
			list = append(list, messageID(text))
		}
		return func(ctx context.Context) (int, error) { return q.wire.Remove(ctx, list...) }, nil
	}
	if _, ok := q.query["keep"]; ok {
		keep, err := q.number("keep", 0, 0, 1<<30)
		return func(ctx context.Context) (int, error) { return q.wire.EvictBeyond(ctx, keep) }, err
	}
	if _, ok := q.query["before"]; ok {
		text, _, err := q.one("before")
		if err != nil {
			return nil, err
		}
		at, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(at) || math.Abs(at) > 1<<40 {
			return nil, unparsable("before", "Unix seconds")
		}
		before := time.UnixMicro(int64(math.Round(at * 1e6)))
		return func(ctx context.Context) (int, error) { return q.wire.EvictBefore(ctx, before) }, nil
	}
	all, err := q.flag("all")
	if err == nil && !all {
		err = badRequest("all must be true")
	}
	return q.wire.Clear, err
}
