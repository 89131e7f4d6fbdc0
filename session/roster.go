package session

// roster is a set of sessions in the order in which they came. Adding and removing is cheap: a removal leaves a hole, and the
// list closes up when it is mostly holes. The zero value, with an index, is empty.
type roster struct {
	list  []*Session
	holes int
	index int // of Session.at: where a session notes its place
}

// The rosters that a session is on.
const (
	inAll = iota
	inName
	rosters
)

func (r *roster) len() int { return len(r.list) - r.holes }

func (r *roster) add(s *Session) {
	s.at[r.index] = len(r.list)
	r.list = append(r.list, s)
}

func (r *roster) remove(s *Session) {
	r.list[s.at[r.index]] = nil
	if r.holes++; r.holes < 16 || r.holes <= len(r.list)/2 {
		return
	}
	list := make([]*Session, 0, r.len())
	for _, s := range r.list {
		if s != nil {
			s.at[r.index] = len(list)
			list = append(list, s)
		}
	}
	r.list, r.holes = list, 0
}

// snapshot returns the sessions in order.
func (r *roster) snapshot() []*Session {
	list := make([]*Session, 0, r.len())
	for _, s := range r.list {
		if s != nil {
			list = append(list, s)
		}
	}
	return list
}
