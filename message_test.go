package chansec

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type measurement struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
}

// celsius has an object form of its own making that is a string.
type celsius struct{ degrees float64 }

func (c celsius) MarshalText() ([]byte, error) { return json.Marshal(c.degrees) }
func (c *celsius) UnmarshalText(b []byte) error {
	return json.Unmarshal(b, &c.degrees)
}

var (
	goldenID   = uuid.MustParse("0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b")
	goldenTime = time.UnixMicro(1700000000_250001)
)

// golden tests the JSON of one message, in both directions.
func golden[T any](t *testing.T, name string, content T, want string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		m := Message[T]{ID: goldenID, Timestamp: goldenTime, SenderID: "sensor-1", Content: content}
		text, err := json.Marshal(m)
		require.NoError(t, err)
		require.Equal(t, `{"id":"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b","timestamp":1700000000.250001,"sender_id":"sensor-1","content":`+
			want+`,"metadata":{},"correlation_id":null,"reply_to":null,"recipient_id":null}`, string(text))
		pointed, err := json.Marshal(&m)
		require.NoError(t, err)
		require.Equal(t, text, pointed)
		var back Message[T]
		require.NoError(t, json.Unmarshal(text, &back))
		require.True(t, m.Timestamp.Equal(back.Timestamp))
		back.Timestamp = m.Timestamp
		require.Equal(t, m, back)
	})
}

func TestMessageInJSON(t *testing.T) {
	golden(t, "a struct is the content itself", measurement{21.5, "C"}, `{"value":21.5,"unit":"C"}`)
	golden(t, "an empty struct, too", struct{}{}, `{}`)
	golden(t, "a struct with an embedded one", struct {
		measurement
		Floor int `json:"floor"`
	}{measurement{Value: 1}, 2}, `{"value":1,"floor":2}`)
	golden(t, "a string is data", "hello", `{"data":"hello"}`)
	golden(t, "an empty string", "", `{"data":""}`)
	golden(t, "a number", 42, `{"data":42}`)
	golden(t, "a truth", true, `{"data":true}`)
	golden(t, "a list", []int{1, 2}, `{"data":[1,2]}`)
	golden(t, "no list", []int(nil), `{"data":null}`)
	golden(t, "bytes", []byte{0, 255}, `{"data":"AP8="}`)
	golden(t, "a map", map[string]any{"a": 1.5}, `{"data":{"a":1.5}}`)
	golden(t, "anything: a text", any("x"), `{"data":"x"}`)
	golden(t, "anything: an object", any(map[string]any{"k": []any{nil, true}}), `{"data":{"k":[null,true]}}`)
	golden(t, "anything: nothing", any(nil), `{"data":null}`)
	golden(t, "a pointer to a struct", &measurement{Value: 3}, `{"data":{"value":3}}`)
	golden(t, "a pointer to nothing", (*measurement)(nil), `{"data":null}`)
	golden(t, "raw JSON", json.RawMessage(`{"a":[1,2]}`), `{"data":{"a":[1,2]}}`)
	golden(t, "a time, which writes itself", time.Unix(0, 5).UTC(), `{"data":"1970-01-01T00:00:00.000000005Z"}`)
	golden(t, "a struct that writes itself as text", celsius{21.5}, `{"data":"21.5"}`)
	golden(t, "letters of any kind", measurement{1, "°C — Ωμέγα 温度 \u2028 🌡 <&>"}, `{"value":1,"unit":"°C — Ωμέγα 温度 \u2028 🌡 \u003c\u0026\u003e"}`)
}

func TestMessageInJSONWithAllItsMembers(t *testing.T) {
	m := Message[string]{ID: goldenID, Timestamp: time.Unix(1700000000, 0), SenderID: "a\"b", Content: "x",
		Metadata: map[string]any{"b": 1.0, "a": map[string]any{"c": nil}}, CorrelationID: "c-1", ReplyTo: "r-1", RecipientID: "bob"}
	text, err := json.Marshal(m)
	require.NoError(t, err)
	require.Equal(t, `{"id":"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b","timestamp":1700000000,"sender_id":"a\"b","content":{"data":"x"},`+
		`"metadata":{"a":{"c":null},"b":1},"correlation_id":"c-1","reply_to":"r-1","recipient_id":"bob"}`, string(text))
	var back Message[string]
	require.NoError(t, json.Unmarshal(text, &back))
	require.True(t, m.Timestamp.Equal(back.Timestamp))
	back.Timestamp = m.Timestamp
	require.Equal(t, m, back)
}

func TestMessageInJSONKeepsTheTimeToAMicrosecond(t *testing.T) {
	for _, at := range []time.Time{time.UnixMicro(0), time.UnixMicro(1), time.UnixMicro(-1), time.UnixMicro(1700000000_999999),
		time.Date(2199, 12, 31, 23, 59, 59, 123456000, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)} {
		text, err := json.Marshal(Message[int]{Timestamp: at.Add(400 * time.Nanosecond)})
		require.NoError(t, err)
		var back Message[int]
		require.NoError(t, json.Unmarshal(text, &back), "%s", text)
		require.True(t, at.Equal(back.Timestamp), "%v became %v", at, back.Timestamp)
	}
}

func TestMessageFromJSON(t *testing.T) {
	const head = `"id":"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b","timestamp":1.5,"sender_id":"s"`
	for _, row := range []struct {
		name, text string
		ok         bool
	}{
		{"the least", `{` + head + `,"content":{"data":"x"}}`, true},
		{"members that nobody knows", `{` + head + `,"content":{"data":"x","more":1},"seq":7}`, true},
		{"no metadata, spelled out", `{` + head + `,"content":{"data":"x"},"metadata":null,"reply_to":""}`, true},
		{"a timestamp as text, as sssn takes it", strings.Replace(`{`+head+`,"content":{"data":"x"}}`, "1.5", `"1.5"`, 1), true},
		{"no content", `{` + head + `}`, false},
		{"content that is null", `{` + head + `,"content":null}`, false},
		{"content that is no object", `{` + head + `,"content":"x"}`, false},
		{"content that is a list", `{` + head + `,"content":["x"]}`, false},
		{"content of another type", `{` + head + `,"content":{"data":7}}`, false},
		{"an ID that is none", strings.Replace(`{`+head+`,"content":{"data":"x"}}`, "0190", "01-0", 1), false},
		{"no ID", `{"timestamp":1,"sender_id":"s","content":{"data":"x"}}`, false},
		{"no timestamp", `{"id":"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b","sender_id":"s","content":{"data":"x"}}`, false},
		{"a timestamp that is a word", strings.Replace(`{`+head+`,"content":{"data":"x"}}`, "1.5", `"soon"`, 1), false},
		{"a timestamp beyond all times", strings.Replace(`{`+head+`,"content":{"data":"x"}}`, "1.5", "1e300", 1), false},
		{"a timestamp beyond all numbers", strings.Replace(`{`+head+`,"content":{"data":"x"}}`, "1.5", "1e999", 1), false},
		{"metadata that are a list", `{` + head + `,"content":{"data":"x"},"metadata":[]}`, false},
		{"a sender that is a number", `{"id":"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b","timestamp":1,"sender_id":1,"content":{"data":"x"}}`, false},
		{"no object", `[]`, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var m Message[string]
			err := json.Unmarshal([]byte(row.text), &m)
			if !row.ok {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			at := m.Timestamp
			m.Timestamp = time.Time{}
			require.Equal(t, Message[string]{ID: goldenID, SenderID: "s", Content: "x"}, m)
			require.True(t, at.Equal(time.Unix(1, 5e8)))
		})
	}
}

func TestMessageThatCannotBeWrittenInJSON(t *testing.T) {
	_, err := json.Marshal(Message[float64]{Content: math.NaN()})
	require.Error(t, err)
	_, err = json.Marshal(Message[func()]{Content: func() {}})
	require.Error(t, err)
	_, err = json.Marshal(Message[int]{Metadata: map[string]any{"k": make(chan int)}})
	require.Error(t, err)
}
