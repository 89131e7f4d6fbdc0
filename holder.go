package chansec

import (
	"cmp"
	"iter"
	"slices"
)

// Holder is somebody who holds something open on a channel: a lease, or a worker's claims.
type Holder struct {
	ChannelID string
	Operation Operation // OpSubscribe for a lease, OpClaim for a worker
	Principal Principal // as they are now; just a name where the program opened the port with As
}

// Holders yields who holds a lease, and which workers there are, by their system IDs: once for each lease and worker. It
// is for the program, which may ask before a change whom that would cut off. Those who come and go meanwhile may be
// among them or not.
func (c *core[T]) Holders() iter.Seq[Holder] {
	return func(yield func(Holder) bool) {
		c.watched.mu.Lock()
		watches := slices.Clone(c.watched.list)
		c.watched.mu.Unlock()
		list := make([]Holder, 0, len(watches))
		for _, w := range watches {
			var p Principal
			err := calm(ErrUndecided, func() error { return w.who.principal(&p, new(ticket)) }) // somebody else's caller may panic
			if err == nil && w.err() == nil {
				list = append(list, Holder{c.channelID, w.op, p})
			}
		}
		slices.SortStableFunc(list, func(a, b Holder) int {
			return cmp.Or(cmp.Compare(a.Principal.SystemID, b.Principal.SystemID), cmp.Compare(a.Operation, b.Operation))
		})
		for _, h := range list {
			if !yield(h) {
				return
			}
		}
	}
}
