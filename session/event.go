package session

import "time"

// Kind is what happened to a session.
type Kind string

// The kinds.
const (
	Opened            Kind = "opened"
	Changed           Kind = "changed" // its principal
	Refreshed         Kind = "refreshed"
	RolesChanged      Kind = "roles changed"
	PropertiesChanged Kind = "properties changed"
	Ended             Kind = "ended"
	Refused           Kind = "refused" // a login, a change, or an act on the sessions of others
)

// Event is what happened. It holds no credential, and of attributes and properties only what Session and Before say when they are
// asked.
type Event struct {
	Number    uint64 // counts the events, from 1; of those at the same time, the later may be reported first
	Time      time.Time
	Kind      Kind
	Session   Info   // after it happened; zero if it was about none, or about several
	Before    Info   // before it, for a change
	By        string // the principal who did it to somebody else's session; "root" is the program
	Operation string // that was refused, in words
	Err       error  // why it was refused; the EndedError of a session that ended
}

// What may be refused, in words.
const (
	openSession     = "open a session"
	changePrincipal = "change the principal of a session"
	refreshSession  = "refresh a session"
	listSessions    = "list sessions"
	kickSessions    = "kick sessions"
	revokeSessions  = "revoke the authentication of sessions"
	changeRoles     = "change the roles of sessions"
	setProperties   = "set the properties of sessions"
)

// eventLocked makes an event of a session.
func (s *Sessions) eventLocked(kind Kind, n *Session, is *state) Event {
	s.number++
	return Event{Number: s.number, Time: time.Now(), Kind: kind, Session: n.info(is)}
}
