package sqlstore

import (
	"context"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/policy"
)

// UserAuthorizer decides by the policy for those who are active users, and denies everybody else, whatever roles they have:
// step 1 of sqlauth.md 4. It asks no database, and may be used from many goroutines at once.
type UserAuthorizer struct {
	users  *Users
	policy *policy.Authorizer
}

var (
	_ chansec.Authorizer   = (*UserAuthorizer)(nil)
	_ chansec.Decider      = (*UserAuthorizer)(nil)
	_ chansec.Versioned    = (*UserAuthorizer)(nil)
	_ chansec.ContentBlind = (*UserAuthorizer)(nil)
)

// Authorizer returns what decides for users, as [Store.Authorizer] does.
func (u *Users) Authorizer(opts ...policy.AuthorizerOption) *UserAuthorizer {
	return &UserAuthorizer{u, u.store.Authorizer(opts...)}
}

// ContentBlind says that messages make no difference.
func (a *UserAuthorizer) ContentBlind() {}

// Version returns a number that rises with each change of the policy and of the users.
func (a *UserAuthorizer) Version() uint64 { return a.policy.Version() + a.users.roster.revision.Load() }

// Changed returns a channel that is closed at the next change of either.
func (a *UserAuthorizer) Changed() <-chan struct{} { return a.users.either.Next() }

// AuthorizeRead reports whether a user may read and subscribe to a channel.
func (a *UserAuthorizer) AuthorizeRead(ctx context.Context, systemID, channelID string) (bool, error) {
	ok, err := a.policy.AuthorizeRead(ctx, systemID, channelID)
	return ok && a.users.Active(systemID), err
}

// AuthorizeWrite reports whether a user may write a channel.
func (a *UserAuthorizer) AuthorizeWrite(ctx context.Context, systemID, channelID string) (bool, error) {
	ok, err := a.policy.AuthorizeWrite(ctx, systemID, channelID)
	return ok && a.users.Active(systemID), err
}

// AuthorizeAdmin reports whether a user may administer a channel.
func (a *UserAuthorizer) AuthorizeAdmin(ctx context.Context, systemID, channelID string) (bool, error) {
	ok, err := a.policy.AuthorizeAdmin(ctx, systemID, channelID)
	return ok && a.users.Active(systemID), err
}

// Decide decides on an operation on a channel.
func (a *UserAuthorizer) Decide(ctx context.Context, req chansec.Request) (chansec.Decision, error) {
	version := a.Version()
	d, err := a.policy.Decide(ctx, req)
	return a.decided(d, version, req.Principal.SystemID), err
}

// Check decides by one of call, register, publish, subscribe and admin on a topic or procedure. A pattern is to be given as
// its policy.FixedPart.
func (a *UserAuthorizer) Check(p chansec.Principal, permission, topic string) (chansec.Decision, error) {
	version := a.Version()
	d, err := a.policy.Check(p, permission, topic)
	return a.decided(d, version, p.SystemID), err
}

// decided gives a decision the version from before it was made, and denies what somebody wants who is no active user.
func (a *UserAuthorizer) decided(d chansec.Decision, version uint64, login string) chansec.Decision {
	if !a.users.Active(login) {
		d = chansec.Decision{Reason: "no active user"}
	}
	d.Version = version
	return d
}

// tellOfEither tells those who wait for a change of the users or the policy, until the store is closed.
func (s *Store) tellOfEither(users, policies <-chan struct{}) {
	for {
		select {
		case <-users:
		case <-policies:
		case <-s.life.Done():
			return
		}
		// What changes from here on is seen in the next round, and what changed before by those who are told now.
		users, policies = s.users.roster.changed.Next(), s.policy.Changed()
		s.users.either.Give()
	}
}
