package policy

import (
	"sync"

	"github.com/chansec/chansec/internal/signal"
)

// announcements tell of changes, as chansec.Versioned and chansec.Affected promise.
type announcements struct {
	changed signal.Signal

	mu     sync.Mutex
	recent [recentChanges]announcement
}

type announcement struct {
	revision   uint64
	principals []string // whom it was about; nil is everybody
}

// Bounds of what is remembered about whom changes were about.
const (
	recentChanges   = 64
	recentAboutMany = 1024 // principals of one change; more are everybody
)

// Changed returns a channel that is closed at the next change.
func (a *announcements) Changed() <-chan struct{} { return a.changed.Next() }

// announce tells of a change that was published before.
func (a *announcements) announce(revision uint64, t *touched) {
	var about []string
	if !t.everybody && len(t.principals) <= recentAboutMany {
		for name := range t.principals {
			about = append(about, name)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recent[revision%recentChanges] = announcement{revision, about}
	a.changed.Give()
}

// since returns whom the changes after one revision, up to another, were about, or nil if they were about everybody, or
// too many to know.
func (a *announcements) since(revision, now uint64) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now-revision > recentChanges {
		return nil
	}
	var about []string
	for n := revision + 1; n <= now; n++ {
		c := &a.recent[n%recentChanges]
		if c.revision != n&revisionBits || c.principals == nil {
			return nil
		}
		about = append(about, c.principals...)
	}
	return about
}

// announceTurn tells of what is about everybody and no change.
func (a *announcements) announceTurn() { a.changed.Give() }

// AffectedSince returns whom the changes after a version of an Authorizer were about. It returns none if they were about
// everybody, as changes of what a role may do are.
func (s *Store) AffectedSince(version uint64) []string {
	now := s.current.Load().version()
	if (now^version)>>turnsFrom != 0 {
		return nil
	}
	return s.since(version, now)
}
