package session

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/chansec/chansec"
)

// MemoryBackend keeps records in memory: all that are open, and the latest of those that are not.
type MemoryBackend struct {
	mu      sync.Mutex
	records map[string]*Record
	order   []string // as they were opened; some may be gone
	closed  []string // as they were closed
	max     int
}

// DefaultMaxClosed is how many records of sessions that are over a MemoryBackend keeps.
const DefaultMaxClosed = 10_000

// NewMemoryBackend returns a backend without records, which keeps so many of sessions that are over, and forgets the
// oldest first; 0 is DefaultMaxClosed.
func NewMemoryBackend(maxClosed int) (*MemoryBackend, error) {
	if maxClosed < 0 {
		return nil, invalid("maximum of closed records", fmt.Sprint(maxClosed), "a positive number, or 0 for the default")
	}
	if maxClosed == 0 {
		maxClosed = DefaultMaxClosed
	}
	return &MemoryBackend{records: make(map[string]*Record), max: maxClosed}, nil
}

// Start closes what is open.
func (m *MemoryBackend) Start(ctx context.Context, at time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, id := range slices.Clone(m.order) {
		if r := m.records[id]; r != nil && r.IsOpen() {
			m.close(EndedError{Session: id, Cause: Abandoned, At: at})
			n++
		}
	}
	return n, nil
}

// Open keeps a new record.
func (m *MemoryBackend) Open(ctx context.Context, r Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records[r.ID] != nil || r.ID == "" || !r.IsOpen() {
		return fmt.Errorf("session: the record of a new session has an ID of its own, and no end: %w", chansec.ErrInvalid)
	}
	r.Roles = slices.Clone(r.Roles)
	m.records[r.ID] = &r
	if len(m.order) >= 2*len(m.records)+16 {
		m.order = slices.DeleteFunc(m.order, func(id string) bool { return m.records[id] == nil })
	}
	m.order = append(m.order, r.ID)
	return nil
}

// Change replaces who an open record is about.
func (m *MemoryBackend) Change(ctx context.Context, r Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.records[r.ID]; old != nil && old.IsOpen() {
		old.Principal, old.Roles = r.Principal, slices.Clone(r.Roles)
	}
	return nil
}

// Close closes records.
func (m *MemoryBackend) Close(ctx context.Context, ends []EndedError) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range ends {
		m.close(e)
	}
	return nil
}

func (m *MemoryBackend) close(e EndedError) {
	r := m.records[e.Session]
	if r == nil || !r.IsOpen() {
		return
	}
	r.End = e
	if m.closed = append(m.closed, e.Session); len(m.closed) > m.max {
		delete(m.records, m.closed[0])
		m.closed = m.closed[1:]
	}
}

// Records yields the records.
func (m *MemoryBackend) Records(ctx context.Context, open bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(Record{}, err)
			return
		}
		m.mu.Lock()
		var list []Record
		for _, id := range m.order {
			if r := m.records[id]; r != nil && (!open || r.IsOpen()) {
				c := *r
				c.Roles = slices.Clone(r.Roles)
				list = append(list, c)
			}
		}
		m.mu.Unlock()
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}
