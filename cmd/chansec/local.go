package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/sqlstore"
)

// checkAddress refuses the address of a database that others can read a password in, in one of the places where PostgreSQL looks
// for it, or that is none. It is not repeated.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	if strings.Contains(address, "://") && err != nil {
		return misused("", "the database's address is none: want a file, or postgres://user@host/name")
	}
	has := strings.Contains(strings.ReplaceAll(address, " ", ""), "password=") // also sslpassword, and among words
	if err == nil && u.User != nil {
		_, in := u.User.Password()
		has = has || in
	}
	if has {
		return misused("", "the database's address has a password in it: use a password file or the variable PGPASSWORD")
	}
	return nil
}

// isPostgreSQL reports whether the address of a database is one of PostgreSQL; a file of SQLite otherwise.
func isPostgreSQL(address string) bool {
	return strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}

// openStore opens the database of an address: a file of SQLite, or postgres://. Only who may make one makes a file.
func openStore(ctx context.Context, address string, o sqlstore.Options, make bool) (*sqlstore.Store, error) {
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	if isPostgreSQL(address) {
		return sqlstore.OpenPostgreSQL(ctx, address, o)
	}
	if _, err := os.Stat(address); err != nil && !make {
		return nil, fmt.Errorf("database %s: %w; chansec serve makes one", quoted(address), errors.Unwrap(err))
	}
	return sqlstore.OpenSQLite(ctx, address, o)
}

// openExisting opens a database that is there. Only what goes wrong in the background is printed. Without the keys that users are
// sealed with, no secret can be stored.
func (p *program) openExisting(ctx context.Context, address string, keys ...sqlstore.SealingKey) (*sqlstore.Store, error) {
	log := slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return openStore(ctx, address, sqlstore.Options{Logger: log, Users: sqlstore.UserOptions{Keys: keys}}, false)
}

// database is an administrator of a database that is opened for it.
type database struct {
	store *sqlstore.Store
	*sqlstore.Administration
	by     policy.Actor
	sealed bool // there are sealing keys
}

var _ administrator = (*database)(nil)

// openDatabase opens a database for whoever the target names, or, without a name, for who may do everything, since whoever can
// open a database can write into it anyway.
func openDatabase(ctx context.Context, t *target) (*database, error) {
	keys, err := t.program.sealingKeys(ctx, t.sealingKeys)
	if err != nil {
		return nil, err
	}
	s, err := t.program.openExisting(ctx, t.database, keys...)
	if err != nil {
		return nil, err
	}
	a, err := s.Administration(sqlstore.AdministrationOptions{Base: t.base})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	by := policy.Root()
	if t.user != "" {
		by = policy.ActorNamed(t.user)
	}
	return &database{s, a, by, len(keys) > 0}, nil
}

func (d *database) Close() error { return d.store.Close() }

// Do does an operation.
func (d *database) Do(ctx context.Context, operation string, arguments json.RawMessage) (json.RawMessage, error) {
	if strings.HasPrefix(operation, "router.") {
		return nil, misused("leave out --database, and say --url", "a database is no router")
	}
	if operation == "user.reseal" {
		return d.reseal(ctx)
	}
	result, err := d.Administration.Do(ctx, d.by, operation, arguments)
	if err != nil {
		if kind, ok := sqlstore.KindOf(err); ok {
			return nil, newRefusal(string(kind), err.Error())
		}
		return nil, err
	}
	return json.Marshal(result)
}

// reseal is no operation of an administration: who has the keys and the database does so.
func (d *database) reseal(ctx context.Context) (json.RawMessage, error) {
	switch {
	case !d.by.IsRoot():
		return nil, misused("leave out --user", "no user may do that, and whoever has the database and its keys can")
	case !d.sealed:
		return nil, misused(sealingHint, "there is no sealing key")
	}
	n, err := d.store.Users().Reseal(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]int{"users": n})
}
