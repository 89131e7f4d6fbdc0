package sse_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/internal/sse"
)

// all reads until the stream ends.
func all(r io.Reader, limit int) (events []sse.Event, err error) {
	reader := sse.NewReader(r, limit)
	for {
		e, err := reader.Next()
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		stream string
		want   []sse.Event
	}{
		{"an event is its fields up to an empty line", "id: 7\nevent: add\ndata: x\n\n", []sse.Event{{Name: "add", Data: "x", ID: "7"}}},
		{"the order of fields means nothing", "data: x\nevent: add\nid: 7\n\n", []sse.Event{{Name: "add", Data: "x", ID: "7"}}},
		{"several lines of data are joined", "data: a\ndata: b\ndata:\n\n", []sse.Event{{Data: "a\nb\n"}}},
		{"one space after the colon is not data", "data:  x\n\ndata:x\n\n", []sse.Event{{Data: " x"}, {Data: "x"}}},
		{"a tab after the colon is data", "data:\tx\n\n", []sse.Event{{Data: "\tx"}}},
		{"further colons are data", "data: a:b: c\n\n", []sse.Event{{Data: "a:b: c"}}},
		{"a field without a colon is empty", "data\n\n", []sse.Event{{}}},
		{"the last name counts", "event: a\nevent: b\ndata: x\n\n", []sse.Event{{Name: "b", Data: "x"}}},
		{"a name is for its event only", "event: a\ndata: x\n\ndata: y\n\n", []sse.Event{{Name: "a", Data: "x"}, {Data: "y"}}},
		{"an ID is for the events after it as well", "id: 7\ndata: x\n\ndata: y\n\n", []sse.Event{{ID: "7", Data: "x"}, {ID: "7", Data: "y"}}},
		{"an empty ID forgets the last one", "id: 7\ndata: x\n\nid\ndata: y\n\n", []sse.Event{{ID: "7", Data: "x"}, {Data: "y"}}},
		{"an ID with a NUL means nothing", "id: 7\n\nid: 8\x00\ndata: x\n\n", []sse.Event{{ID: "7"}, {ID: "7", Data: "x"}}},
		{"an ID without data is returned", "id: 7\n\n", []sse.Event{{ID: "7"}}},
		{"a name without data is returned", "event: closed\n\n", []sse.Event{{Name: "closed"}}},
		{"comments mean nothing", ": hello\ndata: x\n:\n:data: y\n\n", []sse.Event{{Data: "x"}}},
		{"signs of life are no events", ":\n\n:\n\n\n\n", nil},
		{"unknown fields mean nothing", "retry: 10\nfoo: bar\nDATA: y\n data: z\ndata : z\ndata: x\n\n", []sse.Event{{Data: "x"}}},
		{"a byte order mark at the start is skipped", "\ufeffdata: x\n\n", []sse.Event{{Data: "x"}}},
		{"a second byte order mark is not", "\ufeff\ufeffdata: x\n\n", nil},
		{"a byte order mark further on is not", "data: x\n\n\ufeffdata: y\n\n", []sse.Event{{Data: "x"}}},
		{"lines may end in carriage return and line feed", "id: 7\r\ndata: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", []sse.Event{{ID: "7", Data: "a\nb"}, {ID: "7", Data: "c"}}},
		{"lines may end in a carriage return", "data: a\rdata: b\r\rdata: c\r\r", []sse.Event{{Data: "a\nb"}, {Data: "c"}}},
		{"line ends may be mixed", "data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\r", []sse.Event{{Data: "a\nb\nc"}, {Data: "d"}}},
		{"a line feed and a carriage return are two line ends", "data: a\n\rdata: b\n\n", []sse.Event{{Data: "a"}, {Data: "b"}}},
		{"no other character ends a line", "data: a\vb\fc\u0085d\u2028e\n\n", []sse.Event{{Data: "a\vb\fc\u0085d\u2028e"}}},
		{"NULs and bytes that are no UTF-8 are data", "data: \x00\xff\n\n", []sse.Event{{Data: "\x00\xff"}}},
		{"an event that the end cut off is none", "data: a\n\ndata: b\n", []sse.Event{{Data: "a"}}},
		{"a line that the end cut off is none", "data: a\n\ndata: b", []sse.Event{{Data: "a"}}},
		{"an empty stream has no events", "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for way, r := range map[string]io.Reader{"at once": strings.NewReader(test.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(test.stream))} {
				got, err := all(r, 1<<10)
				require.Equal(t, io.EOF, err, way)
				require.Equal(t, test.want, got, way)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	const limit = 100
	line := func(n int) string { return "data:" + strings.Repeat("x", n-len("data:")) }
	tests := []struct {
		name   string
		stream string
		events int
		want   error
	}{
		{"a line of that length", line(limit) + "\n\n", 1, io.EOF},
		{"a longer line", line(limit+1) + "\n\n", 0, sse.ErrTooLarge},
		{"a longer line that never ends", line(limit + 1), 0, sse.ErrTooLarge},
		{"lines of that length together", line(limit/2) + "\n" + line(limit/2) + "\n\n", 1, io.EOF},
		{"more lines", line(limit/2) + "\n" + line(limit/2) + "\n:\n\n", 0, sse.ErrTooLarge},
		{"a long comment", ":" + strings.Repeat("x", limit) + "\n\n", 0, sse.ErrTooLarge},
		{"any number of events of that length", strings.Repeat(line(limit)+"\n\n", 50), 50, io.EOF},
		{"any number of signs of life", strings.Repeat(":\n\n", 500), 0, io.EOF},
		{"any number of empty lines", strings.Repeat("\n", 500), 0, io.EOF},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			events, err := all(strings.NewReader(test.stream), limit)
			require.Equal(t, test.want, err)
			require.Len(t, events, test.events)
		})
	}
}

// An event must reach the client when it is complete, not when the next byte arrives.
func TestEventsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\n", "\r", "\r\n"} {
		in, out := io.Pipe()
		r := sse.NewReader(in, 1<<10)
		go func() {
			for range 2 {
				_, _ = io.WriteString(out, "data: x"+end+end)
			}
			_ = out.CloseWithError(errors.ErrUnsupported)
		}()
		for range 2 {
			e, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, sse.Event{Data: "x"}, e)
		}
		_, err := r.Next()
		require.Equal(t, errors.ErrUnsupported, err, "the stream's own error")
	}
}
