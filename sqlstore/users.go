package sqlstore

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
	"github.com/chansec/chansec/internal/signal"
	"github.com/chansec/chansec/policy"
)

// Costs of a login, in iterations of PBKDF2-HMAC-SHA256 (sqlauth.md 8).
const (
	MinIterations     = 100_000
	DefaultIterations = 200_000
	MaxIterations     = authn.MaxIterations
)

// Bounds of what a user has.
const (
	MaxName     = 255 // bytes of a login, role, topic or description
	MaxFullName = 255 // bytes
	MaxSecret   = authn.MaxPassword
)

// saltBytes and keyBytes are how much of either there is, before base64.
const (
	saltBytes = 32
	keyBytes  = 32
)

// UserOptions say how the users of a store log in.
type UserOptions struct {
	// Iterations of new secrets; 0 is DefaultIterations. Clients take the number from the challenge, so that users with others
	// still log in.
	Iterations int
	// Keys seal what logs users in, which is as good as their passwords: the first is used, all can read. Without any it is
	// stored as it is. Who lacks one that is in use reads and changes everything else, but stores no secret, and lets nobody
	// in whose key it cannot read: see Users.CheckKeys. To have another key, give it to every process, put it first, call
	// Users.Reseal, and drop the old one.
	Keys []SealingKey
}

func (o *UserOptions) check() (*ring, error) {
	if o.Iterations == 0 {
		o.Iterations = DefaultIterations
	}
	if o.Iterations < MinIterations || o.Iterations > MaxIterations {
		return nil, &chansec.InvalidError{What: "iterations of a secret", Value: strconv.Itoa(o.Iterations), Want: "100000 to 6000000, or 0 for 200000"}
	}
	return newRing(o.Keys)
}

// Users is who can log in. It may be used from many goroutines at once. Nothing is refused here because of who asks: that
// is the Administration's to do.
type Users struct {
	store *Store
	roster
	ring       *ring
	iterations int
	decoys     []byte        // the server key of what unknown users are shown
	complained atomic.Int64  // when it was last said that a key cannot be read
	either     signal.Signal // of the roster and the policy
}

// User is somebody who can log in.
type User struct {
	ID         int64     `json:"id"`
	Login      string    `json:"login"`
	FullName   string    `json:"fullname"`
	TZName     string    `json:"tzname"`      // IANA zone; may be empty
	Roles      []string  `json:"roles"`       // sorted
	ModifiedBy string    `json:"modified_by"` // a principal; empty is the program itself
	ModifiedAt time.Time `json:"modified_at"`
}

// NewUser is somebody who is to be a user.
type NewUser struct {
	Login    string // [A-Za-z0-9][A-Za-z0-9_.@-]*, 255 bytes at most
	FullName string
	TZName   string // a zone that time.LoadLocation finds, or empty
	Secret   string `json:"-"` // what they log in with
	Roles    []string
}

// Format writes the login only, whatever the verb.
func (n NewUser) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "new user "+quote(n.Login)) }

// UserChange is what is to be another; nil stays as it is.
type UserChange struct {
	FullName, TZName *string
	Secret           *string `json:"-"`
}

// Format writes nothing of it, whatever the verb.
func (UserChange) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "change of a user") }

// CheckLogin returns an Invalid error unless a user may be called that: [A-Za-z0-9][A-Za-z0-9_.@-]*, 255 bytes at most.
func CheckLogin(login string) error {
	ok := login != "" && len(login) <= MaxName && strings.IndexByte("_.@-", login[0]) < 0
	for i := range len(login) {
		ok = ok && (isWord(login[i:i+1], 1) || login[i] == '.' || login[i] == '@')
	}
	if !ok {
		return invalid("login", login, "a letter or digit, and then letters, digits, _ . @ and -, 255 at most")
	}
	return nil
}

func checkFullName(name string) error { return checkLine("fullname", name, MaxFullName) }

// checkLine refuses what would not be one line of a table.
func checkLine(what, text string, most int) error {
	ok := len(text) <= most && utf8.ValidString(text)
	for _, c := range text {
		ok = ok && !unicode.IsControl(c)
	}
	if !ok {
		return invalid(what, text, "at most "+strconv.Itoa(most)+" bytes of UTF-8 without control characters")
	}
	return nil
}

func checkZone(name string) error {
	if name == "" {
		return nil
	}
	if _, err := time.LoadLocation(name); err != nil || name == "Local" || len(name) > MaxName {
		return invalid("tzname", name, "an IANA time zone such as Europe/Berlin, or nothing")
	}
	return nil
}

func checkSecret(secret string) error {
	if secret == "" || len(secret) > MaxSecret || !utf8.ValidString(secret) || strings.IndexByte(secret, 0) >= 0 {
		return invalid("secret", "", "1 to 1024 bytes of UTF-8 without NUL")
	}
	return nil
}

func (n *NewUser) check() error {
	if err := CheckLogin(n.Login); err != nil {
		return err
	}
	if err := checkFullName(n.FullName); err != nil {
		return err
	}
	if err := checkZone(n.TZName); err != nil {
		return err
	}
	return checkSecret(n.Secret)
}

// secretKey is what is stored of a secret.
type secretKey struct {
	salt       string
	iterations int
	key        string // base64
}

func deriveKey(secret string, iterations int) (k secretKey, err error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	k = secretKey{salt: base64.StdEncoding.EncodeToString(salt), iterations: iterations}
	key, err := pbkdf2.Key(sha256.New, secret, []byte(k.salt), iterations, keyBytes)
	if err != nil { // a program in FIPS mode takes no short ones
		return k, fmt.Errorf("sqlstore: a secret cannot be used: %w", err)
	}
	k.key = base64.StdEncoding.EncodeToString(key)
	return k, nil
}

// Add adds a user, with exactly the roles that are given, whatever a user of that name had before, and returns it. It fails
// with Invalid, Exists, NotFound for a role, NoAdminRole where the actor does not administer one, and as CheckKeys does.
func (u *Users) Add(ctx context.Context, by policy.Actor, n NewUser) (User, error) {
	if err := n.check(); err != nil {
		return User{}, err
	}
	key, err := deriveKey(n.Secret, u.iterations)
	if err != nil {
		return User{}, err
	}
	err = u.change(ctx, by, func(t *tx, revision uint64) error { return u.add(ctx, t, by, n, key, revision) })
	if err != nil {
		return User{}, err
	}
	return u.Get(ctx, n.Login)
}

func (u *Users) add(ctx context.Context, t *tx, by policy.Actor, n NewUser, key secretKey, revision uint64) error {
	if len(n.Roles) > 0 {
		if _, err := u.store.UpdateIn(ctx, t.Tx, by, func(p *policy.Tx) error {
			for _, role := range n.Roles {
				if err := p.CheckRole(role); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	switch _, _, err := find(ctx, t, n.Login); {
	case err == nil:
		return no(Exists, "login", n.Login, "a new one")
	case !errors.Is(err, NotFound):
		return err
	}
	forget := func(p *policy.Tx) error { return p.AssignRoles(n.Login) }
	if _, err := u.store.UpdateIn(ctx, t.Tx, onBehalfOf(by), forget); err != nil {
		return err
	}
	if len(n.Roles) > 0 {
		if _, err := u.store.UpdateIn(ctx, t.Tx, by, func(p *policy.Tx) error { return p.AssignRoles(n.Login, n.Roles...) }); err != nil {
			return err
		}
	}
	id, err := nextID(ctx, t, "user", 1)
	if err != nil {
		return err
	}
	return u.insert(ctx, t, id, n, key, by, revision)
}

func (u *Users) insert(ctx context.Context, t *tx, id int64, n NewUser, key secretKey, by policy.Actor, revision uint64) error {
	if err := u.ring.check(ctx, t); err != nil {
		return err
	}
	sealed, keyID := u.ring.seal(key.key, ofUser(id))
	_, err := t.ExecContext(ctx, `insert into "user" (id, login, fullname, tzname, password, salt, iterations, key_id, inactive, revision,
		modified_by, modified_at) values ($1, $2, $3, $4, $5, $6, $7, $8, false, $9, $10, $11)`,
		id, n.Login, n.FullName, n.TZName, sealed, key.salt, key.iterations, keyID, int64(revision), nameOf(by), stamp(time.Now()))
	return err
}

// ofUser is what the sealed key of a user is bound to.
func ofUser(id int64) string { return "chansec user " + strconv.FormatInt(id, 10) }

// onBehalfOf is the program, acting for somebody whose name is recorded.
func onBehalfOf(by policy.Actor) policy.Actor {
	if by.IsRoot() {
		return by
	}
	return policy.RootFor(by.String())
}

// change runs a transaction that changes users, and waits until it is in force here.
func (u *Users) change(ctx context.Context, by policy.Actor, f func(t *tx, revision uint64) error) error {
	if err := checkText("actor", by.String()); err != nil {
		return err
	}
	users, err := u.store.changed(ctx, usersFamily, f)
	if err != nil {
		return kinded(err)
	}
	return u.store.inForce(ctx, users)
}

// find returns the number of an active user and their zone, or NotFound.
func find(ctx context.Context, q querier, login string) (id int64, zone string, err error) {
	if CheckLogin(login) != nil { // nobody's, and perhaps nothing that a database takes
		return 0, "", no(NotFound, "user", login, "a user that is there")
	}
	err = q.QueryRowContext(ctx, `select id, tzname from "user" where login = $1 and inactive = false`, login).Scan(&id, &zone)
	if errors.Is(err, sql.ErrNoRows) {
		err = no(NotFound, "user", login, "a user that is there")
	}
	return id, zone, err
}

// hold is find, and nobody deletes the user before the transaction is over.
func hold(ctx context.Context, t *tx, login string) (id int64, zone string, err error) {
	id, zone, err = find(ctx, t, login)
	if err != nil {
		return 0, "", err
	}
	err = t.QueryRowContext(ctx, `update "user" set login = login where id = $1 and inactive = false returning tzname`, id).Scan(&zone)
	if errors.Is(err, sql.ErrNoRows) {
		err = no(NotFound, "user", login, "a user that is there")
	}
	return id, zone, err
}

// nameOf is who an actor is in the tables.
func nameOf(by policy.Actor) string {
	if by.IsRoot() && by.String() == policy.Root().String() {
		return ""
	}
	return by.String()
}

// Get returns an active user, or NotFound.
func (u *Users) Get(ctx context.Context, login string) (User, error) {
	id, _, err := find(ctx, u.store.db, login)
	if err != nil {
		return User{}, err
	}
	list, err := u.query(ctx, `where id = $1 and inactive = false`, id)
	if err == nil && len(list) == 0 {
		err = no(NotFound, "user", login, "a user that is there")
	}
	if err != nil {
		return User{}, err
	}
	return list[0], nil
}

// List returns the active users, by login.
func (u *Users) List(ctx context.Context) ([]User, error) {
	return u.query(ctx, `where login is not null and inactive = false`)
}

func (u *Users) query(ctx context.Context, where string, args ...any) ([]User, error) {
	policies := u.store.policy.Snapshot()
	list := []User{}
	err := collect(ctx, u.store.db, `select id, login, fullname, tzname, modified_by, modified_at from "user" `+where, args, func(row scanner) error {
		var x User
		var at string
		if err := row.Scan(&x.ID, &x.Login, &x.FullName, &x.TZName, &x.ModifiedBy, &at); err != nil {
			return err
		}
		x.Roles = append([]string{}, policies.Roles(x.Login)...)
		var err error
		x.ModifiedAt, err = parseStamp(at)
		list = append(list, x)
		return err
	})
	sortBy(list, func(x User) string { return x.Login })
	return list, err
}

func (c *UserChange) check() error {
	if c.FullName != nil {
		if err := checkFullName(*c.FullName); err != nil {
			return err
		}
	}
	if c.TZName != nil {
		if err := checkZone(*c.TZName); err != nil {
			return err
		}
	}
	if c.Secret != nil {
		return checkSecret(*c.Secret)
	}
	return nil
}

// Update changes a user. It fails with Invalid, as for a secret of the internal user, NotFound, or, with a secret, as CheckKeys
// does. Who is logged in stays so.
func (u *Users) Update(ctx context.Context, by policy.Actor, login string, c UserChange) error {
	err := c.check()
	var key secretKey
	if err == nil && c.Secret != nil {
		key, err = deriveKey(*c.Secret, u.iterations)
	}
	if err != nil {
		return err
	}
	return u.change(ctx, by, func(t *tx, revision uint64) error {
		id, _, err := find(ctx, t, login)
		if err != nil {
			return err
		}
		if id == internalID && c.Secret != nil {
			return invalid("login", login, "a user who logs in: this one is internal, and may do more than who administrates it")
		}
		set := func(column string, value any) {
			if err == nil {
				_, err = t.ExecContext(ctx, `update "user" set `+column+` = $1 where id = $2`, value, id)
			}
		}
		if c.FullName != nil {
			set("fullname", *c.FullName)
		}
		if c.TZName != nil {
			set("tzname", *c.TZName)
		}
		if c.Secret != nil {
			if err := u.ring.check(ctx, t); err != nil {
				return err
			}
			sealed, keyID := u.ring.seal(key.key, ofUser(id))
			set("password", sealed)
			set("key_id", keyID)
			set("salt", key.salt)
			set("iterations", key.iterations)
		}
		set("revision", int64(revision))
		set("modified_by", nameOf(by))
		set("modified_at", stamp(time.Now()))
		return err
	})
}

// Delete deletes a user: their memberships, what they log in with, their sessions, and their tokens, which are revoked for the
// JWTSecurities of Revocations. The row stays, and the login is free again, for somebody who inherits nothing, and whose
// tokens are those that are issued after the second of the deletion. It fails with NotFound.
func (u *Users) Delete(ctx context.Context, by policy.Actor, login string) error {
	var kicked uint64
	err := u.change(ctx, by, func(t *tx, revision uint64) error {
		id, _, err := find(ctx, t, login)
		if err != nil {
			return err
		}
		forget := func(p *policy.Tx) error { return p.AssignRoles(login) }
		if _, err := u.store.UpdateIn(ctx, t.Tx, onBehalfOf(by), forget); err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `update "user" set login = null, old_login = $1, inactive = true, password = null, salt = null,
			key_id = '', revision = $2, modified_by = $3, modified_at = $4 where id = $5`,
			login, int64(revision), nameOf(by), stamp(time.Now()), id); err != nil {
			return err
		}
		if err := u.store.revocations.insert(ctx, t, chansec.Revocation{Subject: login, IssuedBefore: time.Now()}); err != nil {
			return err
		}
		// Also one that a token opened before there was this user.
		_, kicked, err = u.store.sessions.kick(ctx, t, by, "principal = $1", login, "the user was deleted")
		return err
	})
	if err != nil {
		return err
	}
	return u.store.sessions.wait(ctx, kicked)
}

// CheckKeys returns a KeyError, which is ErrKey, unless the keys of UserOptions are those that the users are sealed with. Ask it
// before a service lets anybody log in: whose key cannot be read is refused like somebody unknown, so that no one can tell.
func (u *Users) CheckKeys(ctx context.Context) error {
	return u.store.read(ctx, func(t *sql.Tx) error { return u.ring.check(ctx, t) })
}

// Reseal seals what logs users in with the first of the keys, where it is not yet, and returns how many that were. It fails
// with a KeyError if there is one that cannot be read; then nothing was changed.
func (u *Users) Reseal(ctx context.Context) (n int, err error) {
	err = u.change(ctx, policy.Root(), func(t *tx, _ uint64) error {
		if err := u.ring.check(ctx, t); err != nil {
			return err
		}
		n = 0
		type row struct {
			id         int64
			sealed, by string
		}
		var rows []row
		if err := collect(ctx, t, `select id, password, key_id from "user" where password is not null and key_id <> $1`, []any{u.ring.seals}, func(s scanner) error {
			var r row
			err := s.Scan(&r.id, &r.sealed, &r.by)
			rows = append(rows, r)
			return err
		}); err != nil {
			return err
		}
		for _, r := range rows {
			text, err := u.ring.open(r.sealed, r.by, ofUser(r.id))
			if err != nil {
				return err
			}
			sealed, keyID := u.ring.seal(text, ofUser(r.id))
			if _, err := t.ExecContext(ctx, `update "user" set password = $1, key_id = $2 where id = $3`, sealed, keyID, r.id); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// CRA is what a challenge for a login says, and what its answer is checked with (sqlauth.md 8). It writes itself without
// the key.
type CRA struct {
	Known      bool   // false: there is no such user, and the salt is made up, the same one each time
	Salt       string // of PBKDF2-HMAC-SHA256, base64
	Iterations int
	KeyLen     int // in bytes
	key        string
}

// Key is the text that the HMAC of the answer is made with: the derived key in base64. It is as good as the password.
func (c CRA) Key() []byte { return []byte(c.key) }

// Format writes nothing that is secret, whatever the verb.
func (c CRA) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(key of a user)") }

// CRA returns what a login is asked for. An unknown user gets a challenge as well, like that of a user, the same each time,
// and nobody can answer it. Nor can anybody answer that of a user whose key cannot be read, which looks as it always does:
// Options.Logger is told of that, at most once a minute. It fails if the database does.
func (u *Users) CRA(ctx context.Context, login string) (CRA, error) {
	var id int64
	var key secretKey
	var keyID string
	decoy := u.decoy(login)
	if CheckLogin(login) != nil {
		return decoy, nil
	}
	err := u.store.db.QueryRowContext(ctx, `select id, password, salt, iterations, key_id from "user"
		where login = $1 and inactive = false and password is not null`, login).
		Scan(&id, &key.key, &key.salt, &key.iterations, &keyID)
	if errors.Is(err, sql.ErrNoRows) {
		return decoy, nil
	}
	if err != nil {
		return CRA{}, fmt.Errorf("%w: %w", chansec.ErrUndecided, err)
	}
	if key.key, err = u.ring.open(key.key, keyID, ofUser(id)); err != nil {
		u.complain(login, err)
		key.key = decoy.key // an error would say that there is such a user
	}
	return CRA{Known: true, Salt: key.salt, Iterations: key.iterations, KeyLen: keyBytes, key: key.key}, nil
}

// complain says that somebody cannot log in, seldom enough that nobody sees it in how long an attempt takes.
func (u *Users) complain(login string, err error) {
	now := time.Now().UnixNano()
	if last := u.complained.Load(); (last == 0 || now-last > int64(time.Minute)) && u.complained.CompareAndSwap(last, now) {
		u.store.options.Logger.Error("sqlstore: a user cannot log in", "login", login, "error", err)
	}
}

// decoy is what is said of a login that is nobody's. Its iterations are those of some user, so that no number is nobody's.
func (u *Users) decoy(login string) CRA {
	mac := func(what, more string) []byte {
		h := hmac.New(sha256.New, u.decoys)
		_, _ = io.WriteString(h, what+"\x00"+login+"\x00"+more)
		return h.Sum(nil)
	}
	iterations := u.roster.usual(binary.BigEndian.Uint64(mac("iterations", "")), u.iterations)
	n := strconv.Itoa(iterations)
	return CRA{Salt: base64.StdEncoding.EncodeToString(mac("salt", n)), Iterations: iterations, KeyLen: keyBytes,
		key: base64.StdEncoding.EncodeToString(mac("key", n))}
}

// LookupUser makes Users an authn.Users.
func (u *Users) LookupUser(ctx context.Context, login string) (authn.User, bool, error) {
	c, err := u.CRA(ctx, login)
	if err != nil || !c.Known {
		return authn.User{}, false, err
	}
	p, err := authn.DeepstreamHash{Hash: "sha256", Iterations: c.Iterations, KeyLength: c.KeyLen}.ParsePassword(c.key + c.Salt)
	if err != nil {
		return authn.User{}, false, err
	}
	return authn.User{Password: p}, true, nil
}

// Passwords returns a handler that lets users in by name and secret, as they are, at the same cost for all who try.
func (u *Users) Passwords(c authn.PasswordConfig) (*authn.Passwords, error) {
	return authn.NewPasswords(u, authn.UsersConfig{PasswordConfig: c, Iterations: u.roster.dearest(u.iterations)})
}

// Format writes how many users there are, whatever the verb, since what is inside is not for dumps.
func (u *Users) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d users", u.roster.len()) }
