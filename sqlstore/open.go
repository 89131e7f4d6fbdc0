package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/chansec/chansec/policy"
)

// Options are what a store may be told. The zero value is all defaults.
type Options struct {
	// Policy is what the policy is made for; its zero value is policy.WAMPConfig with Delegation, as sqlauth has it.
	Policy policy.Config

	// Poll is how often the database is asked for what others changed, 0 is DefaultPoll. It bounds how late a change is in
	// force in another process where no notification came, as with SQLite, which has none.
	Poll time.Duration
	// MaxStaleness is for how long the store decides by what it knows while it cannot ask the database, 0 is
	// DefaultMaxStaleness. After that everything is denied, and leases end, until it can. It must be longer than Poll.
	MaxStaleness time.Duration

	Users    UserOptions
	Activity ActivityOptions
	// Node is this process's name among those that share the database: the same after a restart, and another one in each that
	// runs at the same time. Empty is the name of the host. See Sessions.
	Node string
	// NodeTimeout is how long another node may be silent before its sessions are closed; 0 is DefaultNodeTimeout.
	NodeTimeout time.Duration

	// CompactAfter is after how many changes of the policy the store puts the whole state in their place, 0 is
	// DefaultCompactAfter and a negative number never. It bounds the table policy_change, and how long opening takes.
	CompactAfter int

	// Changed is told of every change of the tables that hold the policy, whoever made it, after it came into force here; what
	// several changes made together may come as one. It is called by one goroutine, which follows nothing else
	// meanwhile. Users, sessions and revocations have their own ways to tell: Users.Authorizer().Changed, Sessions.OnKick and
	// Revocations.OnChange.
	Changed func(TableChange)

	// Logger is told of what goes wrong in the background; nil is slog.Default.
	Logger *slog.Logger
}

// Defaults.
const (
	DefaultPoll         = 250 * time.Millisecond
	DefaultMaxStaleness = 30 * time.Second
	DefaultCompactAfter = 100_000
)

func (o Options) checked() (Options, error) {
	if o.Policy.Vocabulary.Path == nil {
		o.Policy = policy.WAMPConfig()
		o.Policy.Delegation = true
	}
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	if o.MaxStaleness == 0 {
		o.MaxStaleness = DefaultMaxStaleness
	}
	if o.CompactAfter == 0 {
		o.CompactAfter = DefaultCompactAfter
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch {
	case o.Poll < 0:
		return o, refuse(InvalidArgument, "poll interval", o.Poll.String(), "a positive duration, or 0 for the default")
	case o.MaxStaleness <= o.Poll:
		return o, refuse(InvalidArgument, "staleness", o.MaxStaleness.String(), "more than the poll interval, which is "+o.Poll.String())
	}
	return o, nil
}

// Store is a database, and what is known of it in memory. It may be used from many goroutines at once, and the database by
// many stores in many processes.
type Store struct {
	db      *sql.DB
	ownDB   bool
	dialect Dialect
	options Options
	writing chan struct{} // held by who writes to SQLite

	policy      *policy.Store
	users       *Users
	sessions    *Sessions
	activity    *Activity
	revocations *Revocations
	// For the goroutine that follows.
	told      *policy.Snapshot // what Options.Changed was told of
	compactAt uint64           // the revision at which there may be enough to compact

	following
}

// Open opens a store in a database, whose schema it makes or brings up to date. The database stays the caller's: Close does
// not close it. One of SQLite must be a file; it is put into WAL mode. Of one with a single connection, changes by
// others are polled for; else PostgreSQL's notifications take one connection.
func Open(ctx context.Context, db *sql.DB, d Dialect, o Options) (*Store, error) {
	if d != SQLite && d != PostgreSQL {
		return nil, refuse(InvalidArgument, "dialect", strconv.Itoa(int(d)), "SQLite or PostgreSQL")
	}
	if db == nil {
		return nil, refuse(InvalidArgument, "database", "nil", "an open one")
	}
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, dialect: d, options: o, writing: make(chan struct{}, 1)}
	s.following.init()
	if err := s.open(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if s.dialect == SQLite {
		if err := again(ctx, func() error { return writeAhead(ctx, s.db) }); err != nil {
			return err
		}
	}
	list, err := migrations(embedded)
	if err != nil {
		return err
	}
	if err := s.migrate(ctx, list); err != nil {
		return err
	}
	if err := s.openParts(ctx); err != nil {
		return err
	}
	return s.startFollowing(ctx)
}

// writeAhead puts a database into WAL mode, in which it stays.
func writeAhead(ctx context.Context, db *sql.DB) error {
	var mode string
	if err := db.QueryRowContext(ctx, "pragma journal_mode = wal").Scan(&mode); err != nil {
		return wrap(ctx, err)
	}
	if mode != "wal" {
		return refuse(InvalidArgument, "database", "in journal mode "+mode, "a file, which can be in WAL mode")
	}
	return nil
}

// OpenSQLite opens a store in a file, which is made, for its owner alone, if it is not there.
func OpenSQLite(ctx context.Context, path string, o Options) (*Store, error) {
	if path == "" {
		return nil, refuse(InvalidArgument, "path", `""`, "that of a file")
	}
	source, err := sqliteSource(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite gives its other files the same mode
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("sqlstore: %w", err)
	}
	db, err := sql.Open("sqlite", source)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: %w", err)
	}
	return openOwn(ctx, db, SQLite, o)
}

// sqliteSource is how database/sql opens a file so that each connection is as the store wants it.
func sqliteSource(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("sqlstore: %w", err)
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(absolute), RawQuery: url.Values{
		"_txlock": {"immediate"}, "_pragma": {"busy_timeout(" + sqliteWait + ")", "foreign_keys(on)", "synchronous(full)"},
	}.Encode()}
	return u.String(), nil
}

// OpenPostgreSQL opens a store in the database of a URL, or of a text of words such as host=... dbname=...
func OpenPostgreSQL(ctx context.Context, text string, o Options) (*Store, error) {
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, &Error{Kind: InvalidArgument, What: "URL", Want: "one of PostgreSQL, such as postgres://user:password@host/database"}
	}
	return openOwn(ctx, stdlib.OpenDB(*config), PostgreSQL, o)
}

func openOwn(ctx context.Context, db *sql.DB, d Dialect, o Options) (*Store, error) {
	s, err := Open(ctx, db, d, o)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	s.ownDB = true
	return s, nil
}

// DB returns the database, for what an application keeps beside.
func (s *Store) DB() *sql.DB { return s.db }

// Close ends everything that the store does in the background, and waits for it. What was decided by it is denied from then on.
func (s *Store) Close() error {
	s.closeActivity()
	s.stopFollowing()
	var err error
	s.closing.Do(func() {
		if s.ownDB {
			err = s.db.Close()
		}
	})
	return err
}
