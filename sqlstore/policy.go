package sqlstore

import (
	"context"

	"github.com/chansec/chansec/policy"
)

func (s *Store) openPolicy(context.Context) error {
	p, err := policy.New(s.options.Policy)
	s.policy = p
	s.follow(policyFamily, func(context.Context, uint64) error { return nil })
	return err
}
