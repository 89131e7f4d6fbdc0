package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

// trouble is in the context of what is to fail: one of the things that it asks the database for, counted from 1. What others ask
// for meanwhile, such as the goroutine that follows, is not counted.
type trouble struct {
	at     int
	late   bool   // what was asked for is done, and only the answer is lost
	with   error  // what it fails with; nil is errBroken
	cancel func() // nil; or what is called instead of failing

	mu      sync.Mutex
	asked   int
	commits int
}

var errBroken = errors.New("the database is broken")

type troubleKey struct{}

// now reports whether this is what fails.
func (x *trouble) now() bool {
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked++
	return x.asked == x.at
}

func (x *trouble) fired() bool { return x.asked >= x.at }

func (x *trouble) error() error {
	if x.with != nil {
		return x.with
	}
	return errBroken
}

// troubled asks for something, which fails if its time has come.
func troubled[T any](ctx context.Context, ask func() (T, error), lost func(T) (T, error)) (none T, err error) {
	x, _ := ctx.Value(troubleKey{}).(*trouble)
	fails := x.now()
	switch {
	case fails && x.cancel != nil:
		x.cancel()
	case fails && !x.late:
		return none, x.error()
	}
	is, err := ask()
	if err == nil && fails && x.late {
		return lost(is)
	}
	return is, err
}

// failing is a connection to a database that fails as trouble says.
type failing struct{ driver.Conn }

type failingConnector struct {
	driver driver.Driver
	source string
}

func (c failingConnector) Driver() driver.Driver { return c.driver }

func (c failingConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.source)
	return failing{conn}, err
}

func (c failing) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return troubled(ctx, func() (driver.Result, error) { return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args) },
		func(driver.Result) (driver.Result, error) { return nil, ctx.Value(troubleKey{}).(*trouble).error() })
}

func (c failing) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return troubled(ctx, func() (driver.Rows, error) { return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args) },
		func(r driver.Rows) (driver.Rows, error) {
			return lostRows{r, ctx.Value(troubleKey{}).(*trouble).error()}, nil
		})
}

// lostRows fail at the first.
type lostRows struct {
	driver.Rows
	err error
}

func (r lostRows) Next(into []driver.Value) error {
	for r.Rows.Next(into) != io.EOF { // it was done, all of it
	}
	return r.err
}

func (c failing) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return troubled(ctx, func() (driver.Tx, error) {
		tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
		return failingTx{tx, ctx}, err
	}, func(tx driver.Tx) (driver.Tx, error) {
		return nil, errors.Join(ctx.Value(troubleKey{}).(*trouble).error(), tx.Rollback())
	})
}

type failingTx struct {
	driver.Tx
	ctx context.Context
}

func (t failingTx) Commit() error {
	x, _ := t.ctx.Value(troubleKey{}).(*trouble)
	_, err := troubled(t.ctx, func() (struct{}, error) {
		err := t.Tx.Commit()
		if x != nil && err == nil {
			x.commits++
		}
		return struct{}{}, err
	}, func(struct{}) (struct{}, error) { return struct{}{}, x.error() })
	if err != nil {
		_ = t.Tx.Rollback() // as one who loses the connection does
	}
	return err
}

// The rest is passed on.

func (c failing) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

func (c failing) CheckNamedValue(v *driver.NamedValue) error {
	if x, ok := c.Conn.(driver.NamedValueChecker); ok {
		return x.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c failing) ResetSession(ctx context.Context) error {
	if x, ok := c.Conn.(driver.SessionResetter); ok {
		return x.ResetSession(ctx)
	}
	return nil
}

func (c failing) IsValid() bool {
	x, ok := c.Conn.(driver.Validator)
	return !ok || x.IsValid()
}

// failing is a database that fails as the contexts say.
func (x storage) failing(t testing.TB) *sql.DB {
	source := x.where
	if x.dialect == SQLite {
		var err error
		source, err = sqliteSource(x.where)
		require.NoError(t, err)
	}
	return sql.OpenDB(failingConnector{x.raw(t).Driver(), source})
}

// copied is a copy of a database that nobody has open, and what removes it.
func (x storage) copied(t testing.TB) (y storage, remove func()) {
	if x.dialect == SQLite {
		text, err := os.ReadFile(x.where)
		require.NoError(t, err)
		name := filepath.Join(t.TempDir(), "copy.db")
		require.NoError(t, os.WriteFile(name, text, 0o600))
		return storage{SQLite, name}, func() {}
	}
	u, err := url.Parse(x.where)
	require.NoError(t, err)
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	server, err := sql.Open("pgx", u.String())
	require.NoError(t, err)
	run := func(text string) {
		_, err := server.Exec(text)
		require.NoError(t, err)
	}
	copied := "copy_" + strings.ToLower(rand.Text())
	run("create database " + copied + " template " + name)
	u.Path = "/" + copied
	return storage{PostgreSQL, u.String()}, func() {
		run("drop database " + copied + " with (force)")
		require.NoError(t, server.Close())
	}
}

// everything is what the tables of a database hold, but for what is another each time: times, and what is drawn at random.
func (x storage) everything(t testing.TB, db *sql.DB) string {
	t.Helper()
	varies := []string{"at", "modified_at", "created", "created_at", "ended", "password", "salt", "record", "profile", "value", "instance"}
	list := "select name from sqlite_master where type = 'table' order by name"
	if x.dialect == PostgreSQL {
		list = "select table_name from information_schema.tables where table_schema = 'public' order by table_name"
	}
	var tables []string
	require.NoError(t, collect(context.Background(), db, list, nil, func(row scanner) error {
		tables = append(tables, "")
		return row.Scan(&tables[len(tables)-1])
	}))
	var all strings.Builder
	for _, table := range tables {
		rows, err := db.Query(`select * from "` + table + `"`)
		require.NoError(t, err)
		names, err := rows.Columns()
		require.NoError(t, err)
		var lines []string
		for rows.Next() {
			v := make([]any, len(names))
			into := make([]any, len(v))
			for i := range v {
				into[i] = &v[i]
			}
			require.NoError(t, rows.Scan(into...))
			line := table
			for i, name := range names {
				if !slices.Contains(varies, name) || v[i] == nil {
					line += fmt.Sprintf(" %s=%v", name, v[i])
				}
			}
			lines = append(lines, line)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
		slices.Sort(lines)
		for _, line := range lines {
			all.WriteString(line + "\n")
		}
	}
	return all.String()
}

// inMemory is what a store decides by.
func inMemory(s *Store) string {
	return fmt.Sprint(s.Policy().Snapshot().Script(), s.users.logins())
}

// troubled is a store in a database that fails as the contexts say, and what closes both.
func (x storage) troubled(t testing.TB, keys ...SealingKey) (s *Store, end func()) {
	o := quickly(keys...)
	o.Node, o.Poll, o.MaxStaleness = "here", time.Hour, 2*time.Hour
	db := x.failing(t)
	s, err := Open(t.Context(), db, x.dialect, o)
	require.NoError(t, err)
	s.users.iterations = 1 // what a secret costs is not what is tested
	return s, func() {
		require.NoError(t, s.Close())
		require.NoError(t, db.Close())
	}
}

// populated is a database with something of everything in it.
func populated(t testing.TB, d Dialect) storage {
	x := newStorage(t, d)
	s, end := x.troubled(t, sealingKey("old"))
	defer end()
	_, done, err := s.Bootstrap(t.Context(), "secret")
	require.NoError(t, err)
	require.True(t, done)
	a, err := s.Administration(AdministrationOptions{})
	require.NoError(t, err)
	for _, step := range [][2]string{
		{"role.add", `{"name": "ops", "bind_topic": "adm", "description": "they operate"}`},
		{"topic.add", `{"name": "adm.disk"}`}, {"topic.add", `{"name": "adm.spare"}`},
		{"topicrole.add", `{"topic_name": "adm.disk", "name": "ops"}`},
		{"user.add", `{"login": "kim", "secret": "s", "roles": ["ops", "public"]}`},
		{"user.add", `{"login": "lee", "secret": "s"}`},
	} {
		_, err := a.Do(t.Context(), policy.Root(), step[0], []byte(step[1]))
		require.NoError(t, err, step[0])
	}
	for i, login := range []string{"kim", "lee", "kim"} {
		id := fmt.Sprint(i + 1)
		require.NoError(t, s.Sessions().Open(t.Context(), session.Record{ID: id, Principal: login, Transport: TransportWAMP, OpenedAt: time.Now()}))
		require.NoError(t, s.Activity().Record(t.Context(), doing(login, id)))
	}
	return x
}

func doing(login, session string) audit.Record {
	return audit.Record{Time: time.Now(), Kind: audit.KindDecision, Principal: login, Session: session, Target: "com", Operation: "call"}
}

// undertakings is what changes a database: each is one transaction.
func undertakings() map[string]func(context.Context, *Store) error {
	list := map[string]func(context.Context, *Store) error{}
	for name, args := range map[string]string{
		"user.add":         `{"login": "new", "secret": "s", "roles": ["ops", "public"]}`,
		"user.update":      `{"login": "kim", "secret": "another", "fullname": "Kim", "tzname": "UTC"}`,
		"user.delete":      `{"login": "kim"}`,
		"role.add":         `{"name": "night", "bind_topic": "adm", "description": "at night"}`,
		"role.update":      `{"name": "ops", "description": "at day"}`,
		"role.delete":      `{"name": "ops"}`,
		"userrole.add":     `{"login": "lee", "name": "ops"}`,
		"userrole.delete":  `{"login": "kim", "name": "ops"}`,
		"topic.add":        `{"name": "adm.tape", "description": "reels"}`,
		"topic.update":     `{"name": "adm.disk", "description": "plates"}`,
		"topic.delete":     `{"name": "adm.disk"}`,
		"topicrole.add":    `{"topic_name": "adm.spare", "name": "ops", "activity": ["call", "publish"]}`,
		"topicrole.delete": `{"topic_name": "adm.disk", "name": "ops"}`,
		"session.kill":     `{"login": "kim", "reason": "enough"}`,
		"activity.delete":  `{"before": "2999-01-01T00:00:00Z"}`,
	} {
		list[name] = func(ctx context.Context, s *Store) error {
			a, err := s.Administration(AdministrationOptions{})
			if err == nil {
				_, err = a.Do(ctx, policy.ActorNamed(LoginAdm), name, []byte(args))
			}
			return err
		}
	}
	ends := []session.EndedError{{Session: "1", Cause: session.Lost, At: time.Now()}, {Session: "2", Cause: session.LoggedOut, At: time.Now()}}
	list["a session begins"] = func(ctx context.Context, s *Store) error {
		return s.Sessions().Open(ctx, session.Record{ID: "7", Principal: "lee", Transport: TransportWAMP, OpenedAt: time.Now()})
	}
	list["a session is another's"] = func(ctx context.Context, s *Store) error {
		return s.Sessions().Change(ctx, session.Record{ID: "1", Principal: "lee", Roles: []string{"x"}})
	}
	list["sessions end"] = func(ctx context.Context, s *Store) error { return s.Sessions().Close(ctx, ends) }
	list["a node starts"] = func(ctx context.Context, s *Store) error {
		_, err := s.Sessions().Start(ctx, time.Now())
		return err
	}
	list["actions are logged"] = func(ctx context.Context, s *Store) error {
		return s.Activity().RecordAll(ctx, slices.Repeat([]audit.Record{doing("kim", "1"), doing("lee", "2")}, 20))
	}
	list["a token is revoked"] = func(ctx context.Context, s *Store) error {
		return s.Revocations().Append(ctx, chansec.Revocation{TokenID: "t", ExpiresAt: time.Now().Add(time.Hour)})
	}
	list["keys are sealed anew"] = func(ctx context.Context, s *Store) error {
		_, err := s.Users().Reseal(ctx)
		return err
	}
	list["the policy is changed"] = func(ctx context.Context, s *Store) error {
		return s.Policy().Update(ctx, policy.Root(), func(tx *policy.Tx) error {
			_ = tx.Grant("r", "p", "call")
			return tx.AssignNewRole("lee", "r")
		})
	}
	list["the policy is compacted"] = func(ctx context.Context, s *Store) error { return s.Policy().Compact(ctx) }
	list["the policy is changed in the caller's transaction"] = func(ctx context.Context, s *Store) error {
		tx, err := s.DB().BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		revision, err := s.UpdateIn(ctx, tx, policy.Root(), func(tx *policy.Tx) error { return tx.Grant("r", "p", "call") })
		if err == nil {
			err = tx.Commit()
		}
		if err == nil {
			err = s.AtLeast(ctx, revision)
		}
		return err
	}
	return list
}

// several of them ask for all that any does.
var several = []string{"user.add", "user.delete", "role.delete", "a node starts"}

// Whatever the database is asked for may fail, before it was done or after, or be too late for the caller. Then nothing was
// changed, or all of it, as the one commit says; and what is decided by is what the database holds.
func TestWhateverFailsNothingIsHalfDone(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		x = populated(t, x.dialect)
		hows := []string{"lost", "failed", "cancelled"}
		for name, do := range undertakings() {
			if x.dialect == PostgreSQL { // whose databases are slow to make: what asks for most, and the hardest
				if hows = hows[:1]; !slices.Contains(several, name) {
					continue
				}
			}
			for _, how := range hows {
				t.Run(name+" "+how, func(t *testing.T) {
					for n := 1; n > 0; {
						n = failFrom(t, x, do, how, n)
					}
				})
			}
		}
	})
}

// failFrom lets the n-th of what is asked for fail, and the ones behind it, until something was changed. It returns where to go
// on, or 0.
func failFrom(t *testing.T, x storage, do func(context.Context, *Store) error, how string, n int) int {
	x, remove := x.copied(t)
	defer remove()
	s, end := x.troubled(t, sealingKey("new"), sealingKey("old"))
	defer end()
	was, decided := x.everything(t, s.db), inMemory(s)
	for ; ; n++ {
		require.Less(t, n, 100)
		ctx, cancel := context.WithCancel(context.Background())
		y := &trouble{at: n, late: how == "lost"}
		if how == "cancelled" {
			y.cancel = cancel
		}
		err := do(context.WithValue(ctx, troubleKey{}, y), s)
		cancel()
		require.NoError(t, s.learn(t.Context()))
		sameAsTables(t, s)
		is := x.everything(t, s.db)
		if y.commits == 0 {
			require.True(t, y.fired(), "nothing was changed, and yet nothing failed")
			require.Error(t, err, "at %d", n)
			require.Equal(t, was, is, "at %d", n)
			require.Equal(t, decided, inMemory(s), "at %d", n)
			continue
		}
		require.Equal(t, 1, y.commits, "one transaction")
		require.NotEqual(t, was, is)
		switch {
		case !y.fired():
			require.NoError(t, err)
			require.Greater(t, n, 3)
			return 0
		case how != "cancelled": // which may come too late
			require.ErrorIs(t, err, errBroken, "at %d", n)
		}
		return n + 1
	}
}

// What others are in the way of is done again, from the beginning, and leads to what it leads to at once.
func TestWhatOthersAreInTheWayOfIsDoneOnce(t *testing.T) {
	x := populated(t, SQLite)
	for _, name := range several {
		t.Run(name, func(t *testing.T) {
			do := undertakings()[name]
			try := func(n int) (y *trouble, is string, err error) {
				x, remove := x.copied(t)
				defer remove()
				s, end := x.troubled(t, sealingKey("new"), sealingKey("old"))
				defer end()
				y = &trouble{at: n, with: &pgconn.PgError{Code: "40001"}}
				err = do(context.WithValue(t.Context(), troubleKey{}, y), s)
				return y, x.everything(t, s.db), err
			}
			y, once, err := try(1000)
			require.NoError(t, err)
			for n := range y.asked {
				y, is, err := try(n + 1)
				require.True(t, y.fired())
				if y.commits == 0 { // what is asked before there is a transaction
					require.Error(t, err, "at %d", n+1)
					continue
				}
				require.Equal(t, once, is, "at %d", n+1)
			}
		})
	}
}

// A database whose schema could not be made wholly is one that the next may open.
func TestWhateverFailsASchemaIsMadeInTheEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, x storage) {
		db := x.failing(t)
		defer func() { require.NoError(t, db.Close()) }()
		for n, done := 1, false; !done; n++ {
			y := &trouble{at: n, late: n%2 == 0}
			s, err := Open(context.WithValue(t.Context(), troubleKey{}, y), db, x.dialect, quickly())
			done = !y.fired()
			if err != nil {
				require.ErrorIs(t, err, errBroken, "at %d", n)
				require.False(t, done)
				continue
			}
			require.NoError(t, s.Close())
			require.Greater(t, n, 10)
		}
		other := newStorage(t, x.dialect)
		require.NoError(t, other.open(t, quickly()).Close())
		require.Equal(t, other.everything(t, other.raw(t)), x.everything(t, x.raw(t)))
	})
}
