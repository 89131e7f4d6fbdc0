package memory

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

// releaseCountsLate: Release counts claims whose deadline has passed, although they have ended. It goes to false, and then
// away, when the log keeps to the contract.
const releaseCountsLate = false

// reference is the contract of a backend in slices and maps: no index, no segment, everything is walked every time.
type reference struct {
	cfg     driver.Config
	entries []*refEntry // every one there ever was: entry i has sequence number i+1
	once    map[string]driver.Stamp
}

type refEntry struct {
	driver.Entry[int]
	state    refState
	attempts uint64
	claim    *refClaim // nil: nobody holds it
}

type refState uint8

const (
	stored  refState = iota
	removed          // on purpose: readers do not miss it
	dropped          // by retention: readers that had not come so far missed it
)

type refClaim struct {
	who      driver.Consumer
	deadline time.Time
}

func newReference(cfg driver.Config) *reference {
	return &reference{cfg: cfg, once: make(map[string]driver.Stamp)}
}

func (m *reference) stored() []*refEntry {
	var list []*refEntry
	for _, e := range m.entries {
		if e.state == stored {
			list = append(list, e)
		}
	}
	return list
}

func (m *reference) byID(id uuid.UUID) *refEntry {
	for _, e := range m.entries {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// end discards an entry.
func (m *reference) end(e *refEntry, s refState) { e.state, e.claim = s, nil }

// last returns the last stored entry of a key, or nil.
func (m *reference) last(key string) *refEntry {
	for _, e := range slices.Backward(m.entries) {
		if e.Key == key && e.state == stored {
			return e
		}
	}
	return nil
}

// append stores a value and returns the stamp, without its ID, or the error.
func (m *reference) append(h driver.Head, v int, now time.Time) (driver.Stamp, error) {
	if s, ok := m.once[h.Once]; ok && h.Once != "" {
		return s, nil
	}
	if live := m.stored(); len(live) >= m.cfg.MaxMessages {
		if m.cfg.Reject {
			return driver.Stamp{}, driver.ErrFull
		}
		m.end(live[0], dropped)
	}
	e := &refEntry{Entry: driver.Entry[int]{Stamp: driver.Stamp{Seq: uint64(len(m.entries)) + 1, Time: now.Round(0)}, Key: h.Key, Value: v}}
	if m.cfg.Boxes {
		e.Box = h.Box
	}
	m.entries = append(m.entries, e)
	return e.Stamp, nil
}

func (m *reference) appendIf(h driver.Head, v int, last uint64, now time.Time) (driver.Stamp, error) {
	if s, ok := m.once[h.Once]; ok && h.Once != "" {
		return s, nil
	}
	var seq uint64
	if e := m.last(h.Key); e != nil {
		seq = e.Seq
	}
	if seq != last {
		return driver.Stamp{}, driver.ErrConflict
	}
	return m.append(h, v, now)
}

// refReader is a position: the sequence number of the last entry behind it.
type refReader struct {
	view  driver.View
	pos   uint64
	moved uint64   // the position after Commit(0) of the last batch
	batch []uint64 // sequence numbers of the last batch
}

func (m *reference) open(v driver.View, from driver.From) (*refReader, error) {
	r := &refReader{view: v}
	switch {
	case from.Tail:
		r.pos = uint64(len(m.entries))
	case from.After != uuid.Nil:
		e := m.byID(from.After)
		if e == nil {
			return nil, driver.ErrNotFound
		}
		r.pos = e.Seq
	default:
		r.pos = m.first() - 1
	}
	r.moved = r.pos
	return r, nil
}

// first is the sequence number of the oldest stored entry, or of the next one.
func (m *reference) first() uint64 {
	if live := m.stored(); len(live) > 0 {
		return live[0].Seq
	}
	return uint64(len(m.entries)) + 1
}

func (m *reference) sees(v driver.View, e *refEntry) bool { return !m.cfg.Boxes || v.Sees(e.Box) }

// next returns all that there is to read, and how much was missed.
func (m *reference) next(r *refReader) (missed uint64, list []*refEntry) {
	r.moved = r.pos
	for _, e := range m.entries[r.pos:] {
		switch {
		case !m.sees(r.view, e):
		case e.state == dropped:
			missed++
			r.moved = e.Seq
		case e.state == stored && !(r.view.HideClaimed && e.claim != nil):
			list = append(list, e)
		}
	}
	return missed, list
}

func (r *refReader) commit(n int) {
	r.pos = r.moved
	if n > 0 {
		r.pos = r.batch[n-1]
	}
}

// reclaim ends the claims whose deadline has come.
func (m *reference) reclaim(now time.Time) {
	for _, e := range m.entries {
		if e.claim != nil && !now.Before(e.claim.deadline) {
			e.claim = nil
		}
	}
}

// claimable returns what a consumer may claim, in order.
func (m *reference) claimable(box string) []*refEntry {
	var back, fresh []*refEntry
	for _, e := range m.stored() {
		switch {
		case m.cfg.Boxes && e.Box != "" && e.Box != box:
		case e.claim != nil:
		case e.attempts > 0:
			back = append(back, e)
		default:
			fresh = append(fresh, e)
		}
	}
	return append(back, fresh...)
}

func (m *reference) claim(who driver.Consumer, box string, limit int, timeout time.Duration, now time.Time) []*refEntry {
	list := m.claimable(box)
	list = list[:min(limit, len(list))]
	for _, e := range list {
		e.attempts++
		e.claim = &refClaim{who: who, deadline: now.Add(timeout)}
	}
	return list
}

// held returns the entry of the claim that a receipt names, or nil.
func (m *reference) held(name string, r driver.Receipt) *refEntry {
	e := m.byID(r.ID)
	if e == nil || e.state != stored || e.claim == nil || e.claim.who.Name != name {
		return nil
	}
	if r.Attempt != e.attempts && (r.Attempt != 0 || e.attempts != 1) {
		return nil
	}
	return e
}

func (m *reference) release(who driver.Consumer) (n int) {
	for _, e := range m.entries {
		if e.claim != nil && e.claim.who == who {
			e.claim = nil
			n++
		}
	}
	return n
}

func (m *reference) remove(ids []uuid.UUID) (n int) {
	for _, id := range ids {
		if e := m.byID(id); e != nil && e.state == stored {
			m.end(e, removed)
			n++
		}
	}
	return n
}

func (m *reference) evict(before time.Time, keep int) (n int) {
	live := m.stored()
	for i, e := range live {
		if !(keep >= 0 && len(live)-i > keep || !before.IsZero() && e.Time.Before(before)) {
			break
		}
		m.end(e, dropped)
		n++
	}
	return n
}

func (m *reference) clear() (n int) {
	for _, e := range m.stored() {
		m.end(e, removed)
		n++
	}
	return n
}

// pass is what time does: claims end, and what is too old is discarded.
func (m *reference) pass(now time.Time) {
	m.reclaim(now)
	if m.cfg.MaxAge > 0 {
		m.evict(now.Add(-m.cfg.MaxAge+1), -1)
	}
}
