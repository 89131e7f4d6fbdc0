package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/sqlstore"
)

// checkAddress refuses the address of a database that others can read a password in, in one of the places where PostgreSQL looks
// for it, or that is none. It is not repeated.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	words := strings.ReplaceAll(address, " ", "")
	has := strings.Contains(words, "password=") // also sslpassword, and among words
	if err == nil {
		_, in := u.User.Password()
		query := u.Query()
		has = has || in || query.Has("password") || query.Has("sslpassword")
	}
	switch {
	case has:
		return misused("", "the database's address has a password in it: use a password file or the variable PGPASSWORD")
	case err != nil && strings.Contains(address, "://"), strings.Contains(address, "://") && !isPostgreSQL(address),
		strings.Contains(words, "host=") && strings.Contains(words, "dbname="):
		return misused("", "the database's address is none: want a file, or postgres://user@host/name")
	}
	return nil
}

// isPostgreSQL reports whether the address of a database is one of PostgreSQL; a file of SQLite otherwise.
func isPostgreSQL(address string) bool {
	return strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}

// openStore opens the database of an address: a file of SQLite, or postgres://. It is made if it is not there.
func (p *program) openStore(ctx context.Context, address string, o sqlstore.Options) (*sqlstore.Store, error) {
	bar := p.progress("opening the database", -1)
	defer bar.end()
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	if isPostgreSQL(address) {
		return sqlstore.OpenPostgreSQL(ctx, address, o)
	}
	return sqlstore.OpenSQLite(ctx, address, o)
}

// checkOurs returns an error unless there is a database of chansec at an address. Whoever opened another one would make tables
// in it, even to read.
func checkOurs(ctx context.Context, address string) error {
	if err := checkAddress(address); err != nil {
		return err
	}
	driver, source, tables := "pgx", address, "information_schema.tables where table_schema = any(current_schemas(false)) and table_name" // sqlstore's
	if !isPostgreSQL(address) {
		if _, err := os.Stat(address); err != nil {
			return fmt.Errorf("database %s: %w; chansec serve makes one", quoted(address), errors.Unwrap(err))
		}
		if !isDatabase(address) {
			return fmt.Errorf("%s is no database; chansec serve makes one", quoted(address))
		}
		absolute, err := filepath.Abs(address)
		if err != nil {
			return err
		}
		file := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(absolute), RawQuery: "mode=rw&_pragma=busy_timeout(5000)"}
		driver, source, tables = "sqlite", file.String(), "sqlite_schema where name"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var there int
	if err := db.QueryRowContext(ctx, "select count(*) from "+tables+" = 'sqlauth'").Scan(&there); err != nil {
		return fmt.Errorf("database %s: %w", quoted(address), err)
	}
	if there == 0 {
		return fmt.Errorf("database %s: there is nothing of chansec in it; chansec serve makes one", quoted(address))
	}
	return nil
}

// openExisting opens a database that is there. Only what goes wrong in the background is printed. Without the keys that users are
// sealed with, no secret can be stored.
func (p *program) openExisting(ctx context.Context, address string, keys ...sqlstore.SealingKey) (*sqlstore.Store, error) {
	if err := checkOurs(ctx, address); err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return p.openStore(ctx, address, sqlstore.Options{Logger: log, Users: sqlstore.UserOptions{Keys: keys}})
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
