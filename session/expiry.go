package session

import (
	"container/heap"
	"math"
	"time"
)

// deadlines is the sessions that end by themselves, the next one first. A session that was touched keeps its place, and is
// looked at when that is reached: a touch costs no more than a store.
type deadlines []*Session

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].due < d[j].due }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push is for container/heap.
func (d *deadlines) Push(x any) {
	s := x.(*Session)
	s.place = len(*d)
	*d = append(*d, s)
}

// Pop is for container/heap.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	s := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return s
}

func (d *deadlines) remove(s *Session) {
	if heap.Remove(d, s.place); cap(*d) > 1024 && len(*d) < cap(*d)/4 {
		*d = append(make(deadlines, 0, 2*len(*d)), *d...)
	}
}

// deadline returns when a session ends if nothing happens, in Unix nanoseconds, and why.
func (s *Session) deadline() (int64, Cause) {
	at, cause := int64(math.MaxInt64), Expired
	if t := s.state.Load().expires; t.Before(time.Unix(0, math.MaxInt64)) {
		at = t.UnixNano()
	}
	if idle, seen := int64(s.of.config.MaxIdle), s.seen.Load(); idle > 0 && seen < at-idle {
		at, cause = seen+idle, Idle
	}
	return at, cause
}

// isDue reports whether a session's time is over, noticed or not.
func (s *Session) isDue(is *state, now time.Time) bool {
	return !now.Before(is.expires) || s.isIdle(s.seen.Load(), now.UnixNano())
}

// isIdle reports whether a session that was seen last at a time, in Unix nanoseconds, is idle too long at another one.
func (s *Session) isIdle(seen, at int64) bool {
	idle := int64(s.of.config.MaxIdle)
	return idle > 0 && at-idle >= seen
}

// scheduleLocked sets when a session is looked at.
func (s *Sessions) scheduleLocked(n *Session) {
	at, _ := n.deadline()
	first := len(s.due) == 0 || at < s.due[0].due
	if n.due == 0 {
		n.due = at
		heap.Push(&s.due, n)
	} else {
		n.due = at
		heap.Fix(&s.due, n.place)
	}
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// watchDeadlines ends the sessions whose time is over, until Close.
func (s *Sessions) watchDeadlines() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		case <-timer.C:
		}
		next := s.endDue()
		timer.Reset(next)
	}
}

// endDue ends what is due and returns when to look again. It holds the mutex for a few at a time.
func (s *Sessions) endDue() time.Duration {
	const few = 256
	for {
		var list []Event
		s.mu.Lock()
		now := time.Now()
		for len(s.due) > 0 && len(list) < few && s.due[0].due <= now.UnixNano() {
			n := s.due[0]
			if at, cause := n.deadline(); at <= now.UnixNano() {
				list = s.endLocked(n, &EndedError{Cause: cause, At: now}, list)
			} else {
				n.due = at
				heap.Fix(&s.due, 0)
			}
		}
		next := time.Hour // the clock may be set meanwhile
		if len(s.due) > 0 {
			next = min(next, time.Duration(s.due[0].due-now.UnixNano()))
		}
		s.mu.Unlock()
		s.announce(list)
		if len(list) < few {
			return max(next, 0)
		}
	}
}
