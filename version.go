package chansec

import (
	"sync"
	"sync/atomic"

	"github.com/chansec/chansec/internal/signal"
)

// version implements Versioned and Affected.
type version struct {
	_ [64]byte // alone on its cache line: every delivery of every lease reads it
	n atomic.Uint64
	_ [56]byte

	changed signal.Signal

	mu     sync.Mutex
	recent [recentChanges]string // whom the last changes were about, by version; "" is everybody
}

// recentChanges is for how many changes it is remembered whom they were about.
const recentChanges = 64

// Version returns a number that is another after every change.
func (v *version) Version() uint64 { return v.n.Load() }

// Changed returns a channel that is closed at the next change.
func (v *version) Changed() <-chan struct{} { return v.changed.Next() }

// bump announces a change that was published before, about one system or, for "", about all.
func (v *version) bump(systemID string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.recent[(v.n.Load()+1)%recentChanges] = systemID
	v.n.Add(1)
	v.changed.Give()
}

// AffectedSince returns whom the changes after a version were about, or nothing if they were too many or about everybody.
func (v *version) AffectedSince(version uint64) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.n.Load()
	if now-version > recentChanges {
		return nil
	}
	var ids []string
	for n := version + 1; n <= now; n++ {
		id := v.recent[n%recentChanges]
		if id == "" {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}
