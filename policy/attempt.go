package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

// Attempt is a change of a store that somebody made, or that was refused.
type Attempt struct {
	Time     time.Time
	Actor    string // the principal, or "root"
	Script   string // the commands, up to the one that failed
	Revision uint64 // that it leads to; 0 if it was refused
	Err      error  // why it was refused
}

// Record returns the attempt as a record of a trail.
func (a Attempt) Record() audit.Record {
	r := audit.Record{
		Time: a.Time, Kind: audit.KindPolicy, Principal: a.Actor, Target: "policy", Operation: audit.OpScript,
		Outcome: chansec.Allowed, Version: a.Revision, Detail: a.Script,
	}
	if a.Err != nil {
		r.Outcome, r.Reason = chansec.Denied, a.Err.Error()
	}
	if errors.Is(a.Err, chansec.ErrUndecided) {
		r.Outcome = chansec.Undecided
	}
	return r
}

// observe tells of an attempt. If that fails, what was to be done must not be.
func (s *Store) observe(ctx context.Context, actor Actor, log *lines, revision uint64, err error) error {
	if s.config.observe == nil {
		return nil
	}
	a := Attempt{Time: time.Now(), Actor: actor.String(), Script: log.String(), Revision: revision, Err: err}
	if err := s.config.observe(ctx, a); err != nil {
		return fmt.Errorf("%w: %v", chansec.ErrAudit, err)
	}
	return nil
}
