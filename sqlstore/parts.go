package sqlstore

import "context"

// openParts opens what a store is made of, before anything follows the database. Each part calls [Store.follow] for what others
// may change of it. What is taken from somebody is learned before who has the login next, and what they may do: see
// [Store.learnBefore].
func (s *Store) openParts(ctx context.Context) error {
	for _, open := range []func(context.Context) error{s.openActivity, s.openRevocations, s.openSessions, s.openPolicy, s.openUsers} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	return nil
}
