package sqlstore

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"time"

	"github.com/chansec/chansec"
)

// Users returns who can log in.
func (s *Store) Users() *Users { return s.users }

// Sessions returns who is here, and who was.
func (s *Store) Sessions() *Sessions { return s.sessions }

// Activity returns the log of what was done or refused.
func (s *Store) Activity() *Activity { return s.activity }

// Revocations returns the tokens and subjects that were revoked.
func (s *Store) Revocations() *Revocations { return s.revocations }

func (s *Store) openActivity(context.Context) (err error) {
	s.activity, err = newActivity(s, s.options.Activity)
	return err
}

// longestFlush is how long Close waits for the database to take what is in the queue.
const longestFlush = 10 * time.Second

func (s *Store) closeActivity() {
	if s.activity == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), longestFlush)
	defer cancel()
	if err := s.activity.queue.Close(ctx); err != nil {
		s.options.Logger.Error("sqlstore: not all activity was written", "error", err, "records", s.activity.queue.Stats().Queued)
	}
}

func (s *Store) openUsers(ctx context.Context) error {
	ring, err := s.options.Users.check()
	if err != nil {
		return err
	}
	s.users = &Users{store: s, ring: ring, iterations: s.options.Users.Iterations}
	s.users.roster.init()
	if s.users.decoys, err = s.serverKey(ctx, "decoys"); err != nil {
		return err
	}
	before := func(ctx context.Context) error { return s.learnBefore(ctx, usersFamily) }
	s.follow(usersFamily, func(ctx context.Context, revision uint64) error { return s.users.follow(ctx, s.db, revision, before) })
	users, policies := s.users.roster.changed.Next(), s.policy.Changed() // before anybody can wait for them
	s.work.Go(func() { s.tellOfEither(users, policies) })
	return nil
}

// serverKey returns a key of the database, which is made when it is first asked for.
func (s *Store) serverKey(ctx context.Context, name string) (key []byte, err error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	err = s.inTx(ctx, func(t *tx) error {
		if _, err := t.ExecContext(ctx, `insert into server_key (name, value) values ($1, $2) on conflict (name) do nothing`,
			name, base64.StdEncoding.EncodeToString(fresh)); err != nil {
			return err
		}
		var text string
		if err := t.QueryRowContext(ctx, `select value from server_key where name = $1`, name).Scan(&text); err != nil {
			return err
		}
		if key, err = base64.StdEncoding.DecodeString(text); err != nil || len(key) != len(fresh) {
			return errors.New("sqlstore: damaged: a server key is not what was stored")
		}
		return nil
	})
	return key, err
}

func (s *Store) openSessions(ctx context.Context) error {
	node, timeout := s.options.Node, s.options.NodeTimeout
	if node == "" {
		node, _ = os.Hostname()
	}
	if node == "" {
		node = "localhost"
	}
	if timeout == 0 {
		timeout = DefaultNodeTimeout
	}
	if err := checkLine("node", node, MaxName); err != nil {
		return err
	}
	if timeout < time.Second {
		return &chansec.InvalidError{What: "time-out of nodes", Value: timeout.String(), Want: "a second or more, or 0 for the default"}
	}
	is, err := heads(ctx, s.db)
	if err != nil {
		return wrap(ctx, err)
	}
	s.sessions = newSessions(s, node, timeout, is[sessionsFamily])
	s.follow(sessionsFamily, func(ctx context.Context, revision uint64) error { return s.sessions.follow(ctx, s.db, revision) })
	return nil
}

func (s *Store) openRevocations(context.Context) error {
	s.revocations = &Revocations{store: s}
	s.follow(revocationsFamily, s.revocations.follow).always = true // that there is nothing new is news for JWTMaxStaleness
	return nil
}

// inForce waits until this process decides by a revision of the users, and by what was changed of the policy with it.
func (s *Store) inForce(ctx context.Context, users uint64) error {
	if err := s.users.wait(ctx, s.life.Done(), users); err != nil {
		return err
	}
	is, err := heads(ctx, s.db)
	if err != nil {
		return wrap(ctx, err)
	}
	return s.AtLeast(ctx, is[policyFamily])
}
