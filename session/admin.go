package session

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// The global permissions that it takes to look at the sessions of others, and to change and end them (diffusion.md 8); to end
// one by revoking its authentication takes authn.PermissionAuthenticate as well.
const (
	PermissionViewSession   = "VIEW_SESSION"
	PermissionModifySession = "MODIFY_SESSION"
)

// Admin is somebody who looks at the sessions of others, and changes and ends them. Each call asks Config.Permits first,
// and does nothing if that does not say yes: it fails with an AccessError, or with chansec.ErrUndecided. It may be used from
// many goroutines at once.
//
// A credential must be one that chansec.Unbounded takes: it reaches every channel as an administrator, and was not revoked.
type Admin struct {
	of     *Sessions
	caller chansec.Caller // nil for the program itself
	root   bool
}

// For returns the administration as a caller may use it, as they are at each call. A caller may well be a session.
func (s *Sessions) For(caller chansec.Caller) *Admin { return &Admin{of: s, caller: caller} }

// Root returns the administration as the program itself may use it: nothing is refused. Hand it to nobody.
func (s *Sessions) Root() *Admin { return &Admin{of: s, root: true} }

// may returns who acts, unless they may not.
func (a *Admin) may(ctx context.Context, operation string, needs ...string) (actor string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if a.root {
		return "root", nil
	}
	p, err := a.asked(operation, needs)
	if err != nil {
		a.of.observe(Event{Kind: Refused, Operation: operation, By: p.SystemID, Err: err})
	}
	return p.SystemID, err
}

func (a *Admin) asked(operation string, needs []string) (p chansec.Principal, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = undecided("who administrates", fmt.Errorf("it panicked with a %T", r))
		}
	}()
	denied := func(cause error, needs string) error {
		return &AccessError{Actor: p.SystemID, Operation: operation, Needs: needs, Cause: cause}
	}
	if p, err = chansec.Unbounded(a.caller); err != nil {
		if errors.Is(err, chansec.ErrUndecided) {
			return p, undecided("the caller", err)
		}
		return p, denied(err, needs[0])
	}
	for _, permission := range needs {
		if a.of.config.Permits == nil {
			return p, denied(nil, permission)
		}
		ok, err := a.of.config.Permits(p, permission)
		switch {
		case err != nil && errors.Is(err, chansec.ErrPermission) && !errors.Is(err, chansec.ErrUndecided):
			return p, denied(err, permission)
		case err != nil:
			return p, undecided("who administrates", err)
		case !ok:
			return p, denied(nil, permission)
		}
	}
	return p, nil
}

// List yields the sessions that a filter means, in the order in which they were opened; those of one principal in the order
// in which they became that. It takes VIEW_SESSION. Sessions that end meanwhile are left out.
func (a *Admin) List(ctx context.Context, f Filter) (iter.Seq[Info], error) {
	if _, err := a.may(ctx, listSessions, PermissionViewSession); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return func(yield func(Info) bool) {
		for _, m := range a.of.meant(f) {
			is := m.state.Load()
			if i := m.info(is); is.ended == nil && (is == m.is || f.match(i)) && !yield(i) {
				return
			}
		}
	}, nil
}

// Get returns the session of an ID, and whether there is one. It takes VIEW_SESSION.
func (a *Admin) Get(ctx context.Context, id string) (Info, bool, error) {
	list, err := a.List(ctx, ID(id))
	if err != nil {
		return Info{}, false, err
	}
	for i := range list {
		return i, true, nil
	}
	return Info{}, false, nil
}

// Kick ends the sessions that a filter means, at once, and returns how many that were. What they hold ends with an
// EndedError that says who did it, and why: the reason, one line of at most 256 bytes, which HTTP does not send. It takes
// MODIFY_SESSION.
func (a *Admin) Kick(ctx context.Context, f Filter, reason string) (int, error) {
	actor, err := a.may(ctx, kickSessions, PermissionModifySession)
	if err != nil {
		return 0, err
	}
	return a.end(f, actor, Kicked, reason)
}

// Revoke is Kick for those whose authentication does not hold any more. It takes MODIFY_SESSION and AUTHENTICATE.
func (a *Admin) Revoke(ctx context.Context, f Filter, reason string) (int, error) {
	actor, err := a.may(ctx, revokeSessions, PermissionModifySession, authn.PermissionAuthenticate)
	if err != nil {
		return 0, err
	}
	return a.end(f, actor, Revoked, reason)
}

const maxReason = 256 // bytes

// end ends sessions, and tells of it when all are over.
func (a *Admin) end(f Filter, actor string, cause Cause, reason string) (int, error) {
	if err := errors.Join(f.check(), checkText("reason", reason, maxReason)); err != nil {
		return 0, err
	}
	var list []Event
	s := a.of
	for meant := s.meant(f); len(meant) > 0; {
		var moved []*Session
		list = slices.Grow(list, len(meant))
		s.mu.Lock()
		now := time.Now()
		for _, m := range meant {
			if m.state.Load() == m.is {
				list = s.endLocked(m.Session, &EndedError{Cause: cause, By: actor, Reason: reason, At: now}, list)
			} else {
				moved = append(moved, m.Session)
			}
		}
		s.mu.Unlock()
		meant = f.among(moved)
	}
	s.announce(list)
	return len(list), nil
}

// ChangeRoles takes roles from the sessions that a filter means and gives them others, until their next login or refresh. It
// comes into force at once, for all or none of them, and returns how many sessions have other roles now: to take what they do
// not have, or to give what they have, is no change. It is an InvalidError if there is nothing to do, or the same role to be
// given and taken. It takes MODIFY_SESSION.
func (a *Admin) ChangeRoles(ctx context.Context, f Filter, remove, add []string) (int, error) {
	actor, err := a.may(ctx, changeRoles, PermissionModifySession)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(f.check(), checkRoles(remove), checkRoles(add)); err != nil {
		return 0, err
	}
	if len(remove)+len(add) == 0 {
		return 0, invalid("change of roles", "nothing", "a role to give or to take")
	}
	for _, r := range add {
		if slices.Contains(remove, r) {
			return 0, invalid("role", r, "either to be given or to be taken")
		}
	}
	return a.replace(f, actor, RolesChanged, func(is *state) (bool, error) {
		roles := slices.DeleteFunc(slices.Clone(is.principal.Roles), func(r string) bool { return slices.Contains(remove, r) })
		for _, r := range add {
			if !slices.Contains(roles, r) {
				roles = append(roles, r)
			}
		}
		if slices.Equal(roles, is.principal.Roles) {
			return false, nil
		}
		is.principal.Roles = roles
		return true, checkRoles(roles)
	})
}

// SetProperties sets user properties of the sessions that a filter means, and removes others, for all or none of them. It
// returns how many sessions have other properties now. It takes VIEW_SESSION and MODIFY_SESSION.
func (a *Admin) SetProperties(ctx context.Context, f Filter, set map[string]string, remove ...string) (int, error) {
	actor, err := a.may(ctx, setProperties, PermissionViewSession, PermissionModifySession)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(f.check(), checkUser(set)); err != nil {
		return 0, err
	}
	for _, name := range remove {
		if err := CheckProperty(name); err != nil {
			return 0, err
		}
		if _, ok := set[name]; ok {
			return 0, invalid("property", name, "either to be set or to be removed")
		}
	}
	return a.replace(f, actor, PropertiesChanged, func(is *state) (bool, error) {
		user := make(map[string]string, len(is.user)+len(set))
		maps.Copy(user, is.user)
		maps.Copy(user, set)
		for _, name := range remove {
			delete(user, name)
		}
		if maps.Equal(user, is.user) {
			return false, nil
		}
		is.user = user
		return true, checkUser(user)
	})
}

// replace makes others of the sessions that a filter means, all or none of them. change changes a copy of a session's state,
// and says whether it did.
func (a *Admin) replace(f Filter, actor string, kind Kind, change func(*state) (bool, error)) (int, error) {
	var events []Event
	var err error
	for meant := a.of.meant(f); len(meant) > 0; {
		var moved []*Session
		if events, moved, err = a.of.tryReplace(meant, kind, change); len(moved) == 0 {
			break
		}
		meant = slices.DeleteFunc(meant, func(m matched) bool { return m.state.Load() != m.is })
		meant = append(meant, f.among(moved)...)
	}
	for _, e := range events {
		e.By = actor
		a.of.observe(e)
	}
	return len(events), err
}

// tryReplace does nothing if some sessions are not what they were when the filter was asked, and returns those.
func (s *Sessions) tryReplace(meant []matched, kind Kind, change func(*state) (bool, error)) (events []Event, moved []*Session, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	after := make([]*state, len(meant))
	for i, m := range meant {
		if m.state.Load() != m.is {
			moved = append(moved, m.Session)
			continue
		}
		is := *m.is
		differs, err := change(&is)
		if err != nil {
			return nil, nil, err
		}
		if differs {
			is.changed = make(chan struct{})
			after[i] = &is
		}
	}
	if len(moved) > 0 {
		return nil, moved, nil
	}
	for i, m := range meant {
		if after[i] != nil {
			events = append(events, s.replaceLocked(m.Session, kind, m.is, after[i]))
		}
	}
	return events, nil, nil
}
