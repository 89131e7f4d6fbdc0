package main

import (
	"context"
	"io"
	"os"

	"github.com/chansec/chansec/policy"
)

// isDatabase reports whether what stands for a file of a policy is the address of a database, or a file of SQLite.
func isDatabase(file string) bool {
	if isPostgreSQL(file) {
		return true
	}
	const begin = "SQLite format 3\x00"
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() { // what is read of a pipe is gone
		return false
	}
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, len(begin))
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == begin
}

// databasePolicy is what the policy of a database is for: the default of sqlstore.Options.
func databasePolicy() policy.Config {
	c := policy.WAMPConfig()
	c.Delegation = true
	return c
}

// copied is the policy of a database as it is now.
func (p *program) copied(ctx context.Context, address string) (*policy.Store, error) {
	s, err := p.openExisting(ctx, address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	bar := p.progress("reading the policy", -1)
	defer bar.end()
	return policy.Open(ctx, databasePolicy(), written{address, s.Policy().Snapshot().Script(), max(s.Policy().Version(), 1)})
}

// openPolicy opens a policy to be changed, and returns what closes it.
func (p *program) openPolicy(ctx context.Context, config policy.Config, file string) (*policy.Store, func() error, error) {
	if isDatabase(file) {
		s, err := p.openExisting(ctx, file)
		if err != nil {
			return nil, nil, err
		}
		return s.Policy(), s.Close, nil
	}
	if _, err := os.Stat(file); err != nil {
		return nil, nil, err
	}
	store, err := policy.Open(ctx, config, policy.NewScriptFile(file, ""))
	if err != nil {
		return nil, nil, scriptProblems(file, err)
	}
	return store, func() error { return nil }, nil
}
