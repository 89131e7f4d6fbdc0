package sse_test

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/sse"
)

var lineEnd = regexp.MustCompile("\r\n|\r|\n")

// reference reads a whole stream with the patience that a test has.
func reference(stream string, limit int) (events []sse.Event, err error) {
	lines := lineEnd.Split(strings.TrimPrefix(stream, "\ufeff"), -1)
	var (
		fields []string
		size   int
		id     string
	)
	for i, line := range lines {
		complete := i < len(lines)-1
		if len(line) > limit || complete && size+len(line) > limit {
			return events, sse.ErrTooLarge
		}
		if !complete {
			break
		}
		size += len(line)
		if line != "" {
			fields = append(fields, line)
			continue
		}
		e, some := sse.Event{}, false
		var data []string
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case name == "data":
				data, some = append(data, value), true
			case name == "event":
				e.Name, some = value, true
			case name == "id" && !strings.Contains(value, "\x00"):
				id, some = value, true
			}
		}
		fields, size = nil, 0
		if some {
			e.ID, e.Data = id, strings.Join(data, "\n")
			events = append(events, e)
		}
	}
	return events, io.EOF
}

// FuzzSSE compares the reader with one that has the whole stream before it. No event is larger than the limit allows.
func FuzzSSE(f *testing.F) {
	for _, s := range []string{"", "data: x\n\n", "id: 1\r\nevent: e\r\ndata: a\r\ndata: b\r\n\r\n:\r\n\r\n", "data\r\rid\r\r", "\ufeffdata:x\n\n",
		"id: a\x00\ndata\n\n", ":\n\n", "data: a\n\r\ndata: b\r\r\n", "\r\n\r\n\n\r", "event: lagged\ndata: {}\n\nid: 7\n\ndata: \xff", strings.Repeat("data\n", 30)} {
		f.Add([]byte(s), uint8(64))
		f.Add([]byte(s), uint8(4))
	}
	f.Fuzz(func(t *testing.T, stream []byte, limit uint8) {
		want, wantErr := reference(string(stream), int(limit))
		for _, r := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream))} {
			got, err := all(r, int(limit))
			require.Equal(t, wantErr, err)
			require.Equal(t, want, got)
		}
		for _, e := range want {
			require.LessOrEqual(t, len(e.Name)+len(e.Data), 2*int(limit))
		}
	})
}
