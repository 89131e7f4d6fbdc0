package sqlstore

import "context"

// openParts opens what a store is made of, before anything follows the database. Each part calls [Store.follow] for what others
// may change of it.
func (s *Store) openParts(ctx context.Context) error {
	for _, open := range []func(context.Context) error{s.openPolicy, s.openActivity, s.openUsers, s.openSessions, s.openRevocations} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	return nil
}
