package authn

import (
	"errors"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

// Record returns the attempt as a record of a trail: a login, or a change of principal, of whom they were let in as, with the
// name that they asked for as the target.
func (a Attempt) Record() audit.Record {
	r := audit.Record{
		Time: a.Time, Kind: audit.KindSession, Principal: a.SystemID, Proof: a.Proof, TokenID: a.TokenID, Remote: a.RemoteAddr,
		Target: a.Asked, Operation: audit.OpLogin, Outcome: a.Outcome, Reason: a.Reason, Rule: a.By, Latency: a.Took,
	}
	if a.Change {
		r.Operation = audit.OpChange
	}
	for _, v := range a.Votes {
		r.Votes = append(r.Votes, audit.Vote{Handler: v.Handler, Answer: v.Answer.String(), Reason: v.Reason, Took: v.Took})
	}
	return r
}

// Record returns the change as a record of a trail, made or not.
func (c SystemChange) Record() audit.Record {
	r := audit.Record{
		Time: c.Time, Kind: audit.KindPolicy, Principal: c.Actor, Target: "system authentication store",
		Operation: audit.OpScript, Outcome: chansec.Allowed, Version: c.Revision, Detail: c.Script,
	}
	if c.Err != nil {
		r.Outcome, r.Reason = chansec.Denied, c.Err.Error()
	}
	if errors.Is(c.Err, chansec.ErrUndecided) {
		r.Outcome = chansec.Undecided
	}
	return r
}
