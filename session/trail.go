package session

import (
	"errors"
	"strings"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

// Operations of records beside those that audit names.
const (
	opRefresh    chansec.Operation = "refresh"
	opProperties chansec.Operation = "set-properties"
)

// refusedOps is what was refused, by the words that an event has for it.
var refusedOps = map[string]chansec.Operation{
	openSession: audit.OpLogin, changePrincipal: audit.OpChange, refreshSession: opRefresh, listSessions: "list",
	kickSessions: audit.OpKick, revokeSessions: audit.OpRevoke, changeRoles: audit.OpAssign, setProperties: opProperties,
}

// Record returns the event as a record of a trail: who did it, in which session, and to which.
func (e Event) Record() audit.Record {
	s := e.Session
	r := audit.Record{Time: e.Time, Kind: audit.KindSession, Principal: s.Principal, Session: s.ID, Remote: s.RemoteAddr, Outcome: chansec.Allowed}
	bySomebody := func() {
		if e.By != "" {
			r.Principal, r.Session, r.Remote, r.Target = e.By, "", "", s.ID
		}
	}
	switch e.Kind {
	case Opened:
		r.Operation = audit.OpLogin
	case Refreshed:
		r.Operation = opRefresh
	case Changed:
		r.Operation, r.Principal, r.Target = audit.OpChange, e.Before.Principal, s.Principal
	case RolesChanged:
		bySomebody()
		r.Operation, r.Detail = audit.OpAssign, strings.Join(s.Roles(), ", ")
	case PropertiesChanged:
		bySomebody()
		r.Operation = opProperties
	case Ended:
		r.Operation = audit.OpLogout
		if ended, ok := errors.AsType[*EndedError](e.Err); ok {
			e.By = ended.By
			r.Reason = strings.TrimSuffix(string(ended.Cause)+": "+ended.Reason, ": ")
			switch ended.Cause {
			case Kicked:
				r.Operation = audit.OpKick
			case Revoked:
				r.Operation = audit.OpRevoke
			}
		}
		bySomebody()
	case Refused:
		r.Operation, r.Outcome, r.Reason = refusedOps[e.Operation], chansec.Denied, "refused"
		if e.By != "" {
			r.Principal = e.By
		}
		if e.Err != nil {
			r.Reason = e.Err.Error()
		}
		if errors.Is(e.Err, chansec.ErrUndecided) {
			r.Outcome = chansec.Undecided
		}
	}
	return r
}
