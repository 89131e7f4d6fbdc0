// Package sse reads server-sent events (HTML, section 9.2.6).
package sse

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// Event is one event. An event without data and name, which tells an ID only, is returned as well.
type Event struct {
	Name string // "" is "message"
	Data string // lines joined by line feeds
	ID   string // of this event or of the last one that had one
}

// ErrTooLarge says that a line or an event is longer than allowed.
var ErrTooLarge = errors.New("sse: event too large")

// Reader reads the events of a stream. It is for one goroutine.
type Reader struct {
	r     *bufio.Reader
	limit int
	id    string
	begun bool

	returned bool // the last line ended in a carriage return
}

// NewReader returns a reader of events of at most limit bytes.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 4096), limit: limit}
}

// Next returns the next event. What the stream's end cut off is no event. The error is ErrTooLarge or that of the stream.
func (s *Reader) Next() (Event, error) {
	var (
		e     Event
		data  strings.Builder
		lines int
		some  bool
		size  int
	)
	for {
		line, err := s.line()
		if err != nil {
			return Event{}, err
		}
		if size += len(line); size > s.limit {
			return Event{}, ErrTooLarge
		}
		if line == "" {
			if !some {
				size = 0
				continue
			}
			e.ID, e.Data = s.id, data.String()
			return e, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			if lines > 0 {
				data.WriteByte('\n')
			}
			data.WriteString(value)
			lines, some = lines+1, true
		case "event":
			e.Name, some = value, true
		case "id":
			if !strings.Contains(value, "\x00") {
				s.id, some = value, true
			}
		}
	}
}

// line reads up to a line end, which is a line feed, a carriage return, or both.
func (s *Reader) line() (string, error) {
	if !s.begun {
		s.begun = true
		if b, _ := s.r.Peek(3); string(b) == "\ufeff" {
			_, _ = s.r.Discard(3)
		}
	}
	var line []byte
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return "", err
		}
		feed := s.returned && c == '\n'
		s.returned = c == '\r' // waiting for the line feed that may follow would hold back the event
		switch {
		case feed: // it belongs to the line before
		case c == '\n', c == '\r':
			return string(line), nil
		case len(line) >= s.limit:
			return "", ErrTooLarge
		default:
			line = append(line, c)
		}
	}
}
