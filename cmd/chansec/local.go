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

// holdsPassword reports whether the address of a database has a password in one of the places where PostgreSQL looks for it.
// Its URL is nil if it is none.
func holdsPassword(address string, u *url.URL) bool {
	if u != nil && u.User != nil {
		if _, has := u.User.Password(); has {
			return true
		}
	}
	return strings.Contains(strings.ReplaceAll(address, " ", ""), "password=") // also sslpassword, and among words
}

// openStore opens the database of an address: a file of SQLite, or postgres://. Only who may make one makes a file.
func openStore(ctx context.Context, address string, o sqlstore.Options, make bool) (*sqlstore.Store, error) {
	if strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://") {
		return sqlstore.OpenPostgreSQL(ctx, address, o)
	}
	if _, err := os.Stat(address); err != nil && !make {
		return nil, fmt.Errorf("database %s: %w; chansec serve makes one", quoted(address), errors.Unwrap(err))
	}
	return sqlstore.OpenSQLite(ctx, address, o)
}

// database is an administrator of a database that is opened for it.
type database struct {
	store *sqlstore.Store
	*sqlstore.Administration
	by policy.Actor
}

var _ administrator = (*database)(nil)

// openDatabase opens a database for whoever the target names, or, without a name, for who may do everything, since whoever can
// open a database can write into it anyway.
func openDatabase(ctx context.Context, t *target) (*database, error) {
	log := slog.New(slog.NewTextHandler(t.program.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := openStore(ctx, t.database, sqlstore.Options{Logger: log}, false)
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
	return &database{s, a, by}, nil
}

func (d *database) Close() error { return d.store.Close() }

// Do does an operation.
func (d *database) Do(ctx context.Context, operation string, arguments json.RawMessage) (json.RawMessage, error) {
	if strings.HasPrefix(operation, "router.") {
		return nil, misused("leave out --database, and say --url", "a database is no router")
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
