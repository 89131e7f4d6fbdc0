package sqlstore

import (
	"context"
	"crypto/rand"

	"github.com/chansec/chansec/policy"
)

// The users and roles that a store begins with (sqlauth.md 3.1).
const (
	LoginSys = "sys" // internal: nobody can log in as it
	LoginAdm = "adm" // the administrator
)

// internalID is the number of LoginSys in the table user. Others begin with 1.
const internalID = 0

// bootstrapped is the initial rows.
var bootstrapped = struct {
	roles, topics []string
	members       map[string][]string
	grants        []policy.Rule
}{
	roles:   []string{"sys", "adm", "com", "public"},
	topics:  []string{"sys", "sys.topic", "sys.role", "sys.userrole", "sys.topicrole", "adm", "com", "pub", "role"},
	members: map[string][]string{LoginSys: {"sys", "adm", "com", "public"}, LoginAdm: {"adm", "com", "public"}},
	grants:  []policy.Rule{{Role: "sys", Path: "sys"}, {Role: "adm", Path: "adm"}, {Role: "com", Path: "com"}, {Role: "public", Path: "pub"}},
}

// Bootstrap gives a store without users what it begins with: the administrator adm, the internal user sys, and their roles,
// topics and grants (sqlauth.md 3.1). The administrator logs in with the secret, or, if that is empty, with one that is
// made up and returned, now and never again. A store that has users stays as it is, and done is false: a program may call
// this at every start.
//
// Where the policy has other roles or topics of these names already the error is Exists, and nothing is changed.
func (s *Store) Bootstrap(ctx context.Context, secret string) (generated string, done bool, err error) {
	if secret == "" {
		generated = rand.Text()
		secret = generated
	}
	if err := checkSecret(secret); err != nil {
		return "", false, err
	}
	if s.users.len() > 0 {
		return "", false, nil
	}
	key, err := deriveKey(secret, s.users.iterations)
	if err != nil {
		return "", false, err
	}
	err = s.users.change(ctx, policy.Root(), func(t *tx, revision uint64) error {
		var users int
		if err := t.QueryRowContext(ctx, `select count(*) from "user"`).Scan(&users); err != nil {
			return err
		}
		if done = users == 0; !done {
			return nil
		}
		if _, err := s.UpdateIn(ctx, t.Tx, policy.Root(), initialPolicy); err != nil {
			return err
		}
		for id, n := range []NewUser{{Login: LoginSys, FullName: "Internal"}, {Login: LoginAdm, FullName: "Administrator"}} {
			if err := s.users.insert(ctx, t, int64(id), n, key, policy.Root(), revision); err != nil {
				return err
			}
		}
		_, err := t.ExecContext(ctx, `update "user" set password = null, salt = null, key_id = '' where id = $1`, internalID)
		return err
	})
	if err != nil || !done {
		return "", false, err
	}
	return generated, true, nil
}

// initialPolicy makes the roles, topics, memberships and grants.
func initialPolicy(p *policy.Tx) error {
	for _, topic := range bootstrapped.topics {
		if err := p.AddTopic(topic); err != nil {
			return err
		}
	}
	for _, role := range bootstrapped.roles {
		if err := p.AddRole(role, ""); err != nil {
			return err
		}
		if err := p.SetPathPermissions(role, "role."+role, "admin"); err != nil { // with Config.NoSelfGrant, too
			return err
		}
	}
	for _, g := range bootstrapped.grants {
		if err := p.Grant(g.Role, g.Path, policy.WAMP().Path...); err != nil {
			return err
		}
	}
	for _, thing := range []string{"topic", "role", "userrole", "topicrole"} {
		if err := p.Grant("public", "sys."+thing, "call"); err != nil {
			return err
		}
	}
	if err := p.Grant("adm", "sys", "call"); err != nil {
		return err
	}
	if err := p.Grant("sys", "role", "admin"); err != nil {
		return err
	}
	for _, login := range []string{LoginSys, LoginAdm} {
		if err := p.AssignRoles(login, bootstrapped.members[login]...); err != nil {
			return err
		}
	}
	return nil
}
