package chansec

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

// Message is what a channel carries. It is handed out by value; what it refers to (the metadata, and whatever the content
// points to) is shared by all readers and must not be changed, by the writer neither once it is written.
//
// In JSON it is sssn's message: an object of always eight members, with the time as fractional Unix seconds, and a ninth,
// "key", in keyed channels. Content of a struct type without a marshaller of its own is written as that object; everything
// else as {"data": content}.
type Message[T any] struct {
	ID            uuid.UUID // UUIDv7, made by the backend; increasing within a channel
	Timestamp     time.Time // when the channel received it
	SenderID      string    // the system ID of the port that wrote it
	Content       T
	Metadata      map[string]any
	CorrelationID string
	ReplyTo       string
	RecipientID   string // in a mailbox: who may read it; empty is everyone
	Key           string // in a keyed channel: what it is the last message of
}

// body is what the driver stores of a message as its value.
type body[T any] struct {
	SenderID string
	Content  T
	Rest     *rest // nil if all of it is empty
}

// rest is what most messages do without.
type rest struct {
	Metadata      map[string]any
	CorrelationID string
	ReplyTo       string
	RecipientID   string
	Key           string
}

func (b *body[T]) message(s *driver.Stamp) (m Message[T]) {
	b.fill(&m, s)
	return m
}

// fill makes an empty message the one of a body, in its place: it is large.
func (b *body[T]) fill(m *Message[T], s *driver.Stamp) {
	m.ID, m.Timestamp, m.SenderID, m.Content = s.ID, s.Time, b.SenderID, b.Content
	if r := b.Rest; r != nil {
		m.Metadata, m.CorrelationID, m.ReplyTo, m.RecipientID, m.Key = r.Metadata, r.CorrelationID, r.ReplyTo, r.RecipientID, r.Key
	}
}

// matter is a stored message as what is decided about.
func (b *body[T]) matter(s *driver.Stamp) matter {
	return func(string) (message, previous *Message[any], err error) { return b.untyped(s), nil, nil }
}

// unwritten is a message that is to be written by whoever asks, as what is decided about.
func (b *body[T]) unwritten() matter {
	return func(systemID string) (message, previous *Message[any], err error) {
		message = b.untyped(&driver.Stamp{})
		message.SenderID = systemID
		return message, nil, nil
	}
}

// untyped is the message as a Decider sees it.
func (b *body[T]) untyped(s *driver.Stamp) *Message[any] {
	m := (&body[any]{SenderID: b.SenderID, Content: b.Content, Rest: b.Rest}).message(s)
	return &m
}

// messageJSON is the JSON form (sssn, core/channel.py).
type messageJSON struct {
	ID            string          `json:"id"`
	Timestamp     json.Number     `json:"timestamp"`
	SenderID      string          `json:"sender_id"`
	Content       json.RawMessage `json:"content"`
	Metadata      map[string]any  `json:"metadata"`
	CorrelationID *string         `json:"correlation_id"`
	ReplyTo       *string         `json:"reply_to"`
	RecipientID   *string         `json:"recipient_id"`
	Key           string          `json:"key"`
}

type data[T any] struct {
	Data T `json:"data"`
}

// MarshalJSON writes the members.
func (m Message[T]) MarshalJSON() ([]byte, error) { return m.appendJSON(nil) }

// appendJSON is MarshalJSON behind what is there. It is done by hand since every message that goes to a subscriber elsewhere
// passes here.
func (m *Message[T]) appendJSON(b []byte) ([]byte, error) {
	content, err := contentJSON(m.Content)
	if err != nil {
		return b, err
	}
	b = append(b, `{"id":"`...)
	b = appendUUID(b, m.ID)
	b = append(b, `","timestamp":`...)
	b = appendSeconds(b, m.Timestamp)
	b = append(b, `,"sender_id":`...)
	b = appendString(b, m.SenderID)
	b = append(b, `,"content":`...)
	b = append(b, content...)
	b = append(b, `,"metadata":`...)
	if len(m.Metadata) == 0 {
		b = append(b, "{}"...)
	} else {
		metadata, err := json.Marshal(m.Metadata)
		if err != nil {
			return b, err
		}
		b = append(b, metadata...)
	}
	b = appendNullable(append(b, `,"correlation_id":`...), m.CorrelationID)
	b = appendNullable(append(b, `,"reply_to":`...), m.ReplyTo)
	b = appendNullable(append(b, `,"recipient_id":`...), m.RecipientID)
	if m.Key != "" {
		b = appendString(append(b, `,"key":`...), m.Key)
	}
	return append(b, '}'), nil
}

func appendUUID(b []byte, id uuid.UUID) []byte {
	at := len(b)
	b = append(b, "00000000-0000-0000-0000-000000000000"...)
	text := b[at:]
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	return b
}

// appendSeconds writes a time as fractional Unix seconds, with as many digits as a float64 keeps.
func appendSeconds(b []byte, t time.Time) []byte {
	return strconv.AppendFloat(b, float64(t.UnixMicro())/1e6, 'f', -1, 64)
}

// appendString is json.Marshal of a string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // cannot fail
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// contentJSON is the content of a message in JSON: an object.
func contentJSON[T any](content T) ([]byte, error) {
	if isObject[T]() {
		return json.Marshal(content)
	}
	return json.Marshal(data[T]{content})
}

// UnmarshalJSON reads what MarshalJSON writes; other members are ignored. The time is exact to a microsecond.
func (m *Message[T]) UnmarshalJSON(text []byte) error {
	var w messageJSON
	if err := json.Unmarshal(text, &w); err != nil {
		return err
	}
	id, err := uuid.Parse(w.ID)
	if err != nil {
		return invalid("message id", w.ID, "a UUID")
	}
	at, err := w.Timestamp.Float64()
	if err != nil || math.Abs(at) > 1<<40 {
		return invalid("message timestamp", w.Timestamp.String(), "Unix seconds")
	}
	*m = Message[T]{ID: id, Timestamp: time.UnixMicro(int64(math.Round(at * 1e6))), SenderID: w.SenderID, Metadata: w.Metadata,
		CorrelationID: value(w.CorrelationID), ReplyTo: value(w.ReplyTo), RecipientID: value(w.RecipientID), Key: w.Key}
	if len(m.Metadata) == 0 {
		m.Metadata = nil
	}
	if c := bytes.TrimSpace(w.Content); len(c) == 0 || c[0] != '{' {
		return invalid("message content", "", "a JSON object")
	}
	if isObject[T]() {
		return json.Unmarshal(w.Content, &m.Content)
	}
	var d data[T]
	err = json.Unmarshal(w.Content, &d)
	m.Content = d.Data
	return err
}

// isObject reports whether values of the type are JSON objects by themselves: structs that encoding/json takes apart.
func isObject[T any]() bool {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return false
	}
	p := reflect.PointerTo(t)
	return !p.Implements(reflect.TypeFor[json.Marshaler]()) && !p.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
