package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed migrations/*.sql
var embedded embed.FS

// migration is a file of migrations, which are named by their numbers, from 0001. Numbers may be left out.
type migration struct {
	version int
	name    string
	script  string
}

// profile is what the table sqlauth says of a migration that was made.
type profile struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	At     string `json:"at"`
}

func (m migration) sum() string {
	sum := sha256.Sum256([]byte(m.script))
	return hex.EncodeToString(sum[:])
}

// migrations reads all of a folder, in order.
func migrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var list []migration
	for _, name := range names { // sorted
		base := strings.TrimPrefix(name, "migrations/")
		number, _, _ := strings.Cut(base, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version <= 0 || len(number) != 4 || slices.ContainsFunc(list, func(m migration) bool { return m.version == version }) {
			return nil, refuse(InvalidArgument, "migration", strconv.Quote(base), "a number of four digits that no other has, _ and a name")
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		list = append(list, migration{version, base, string(text)})
	}
	return list, nil
}

// component is what the store's rows in the table sqlauth are about.
const component = "chansec"

// migrationLock is a number for PostgreSQL's advisory locks that nobody else is likely to use.
const migrationLock = 0x636861_6e736563

// migrate brings the schema up to date. Of several who do it at once, one does, and the others wait. Each migration is a
// transaction.
func (s *Store) migrate(ctx context.Context, list []migration) error {
	for {
		var done bool
		err := again(ctx, func() (err error) {
			done, err = s.migrateOnce(ctx, list)
			return err
		})
		if err != nil || done {
			return err
		}
	}
}

// migrateOnce does the first migration that was not made, and reports whether there is none.
func (s *Store) migrateOnce(ctx context.Context, list []migration) (done bool, err error) {
	t, release, err := s.dialect.begin(ctx, s.db)
	if err != nil {
		return false, wrap(ctx, err)
	}
	defer release()
	defer func() { _ = t.Rollback() }()
	if s.dialect == PostgreSQL {
		if _, err := t.ExecContext(ctx, "select pg_advisory_xact_lock($1)", migrationLock); err != nil {
			return false, wrap(ctx, err)
		}
	}
	for _, text := range []string{ // the second takes SQLite's lock
		"create table if not exists sqlauth (component text not null, version integer not null, profile text not null, primary key (component, version))",
		"update sqlauth set version = version where component = ''",
	} {
		if _, err := t.ExecContext(ctx, text); err != nil {
			return false, wrap(ctx, err)
		}
	}
	made, err := made(ctx, t)
	if err != nil {
		return false, wrap(ctx, err)
	}
	next, err := missing(list, made)
	if err != nil || next == nil {
		return true, err
	}
	if _, err := t.ExecContext(ctx, s.dialect.types(next.script)); err != nil {
		return false, wrap(ctx, fmt.Errorf("sqlstore: migration %s: %w", next.name, err))
	}
	text, err := json.Marshal(profile{next.name, next.sum(), stamp(time.Now())})
	if err != nil {
		return false, err
	}
	_, err = t.ExecContext(ctx, "insert into sqlauth (component, version, profile) values ($1, $2, $3)", component, next.version, string(text))
	if err != nil {
		return false, wrap(ctx, err)
	}
	return false, wrap(ctx, t.Commit())
}

// made returns the migrations that were made, by their numbers.
func made(ctx context.Context, t *sql.Tx) (map[int]profile, error) {
	rows, err := t.QueryContext(ctx, "select version, profile from sqlauth where component = $1", component)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := map[int]profile{}
	for rows.Next() {
		var version int
		var text string
		if err := rows.Scan(&version, &text); err != nil {
			return nil, err
		}
		var p profile
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return nil, fmt.Errorf("sqlstore: the profile of migration %d: %w", version, err)
		}
		list[version] = p
	}
	return list, rows.Err()
}

// missing returns the first migration that was not made, or nil.
func missing(list []migration, made map[int]profile) (next *migration, err error) {
	for i, m := range list {
		is, ok := made[m.version]
		switch {
		case !ok && next == nil:
			next = &list[i]
		case ok && is.SHA256 != m.sum():
			return nil, refuse(ChangedMigration, "migration", strconv.Quote(is.Name), "what "+m.name+" is now; migrations that were made are never changed")
		}
		delete(made, m.version)
	}
	for version, is := range made {
		return nil, refuse(FutureSchema, "migration", strconv.Itoa(version)+" ("+strconv.Quote(is.Name)+")",
			"none that this version does not know; use a newer one")
	}
	return next, nil
}
