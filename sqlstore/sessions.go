package sqlstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/internal/signal"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

// DefaultNodeTimeout is how long a node may be silent before others close its sessions.
const DefaultNodeTimeout = time.Minute

// MaxSessionNumber is the largest number that a router gives a session: 53 bits.
const MaxSessionNumber = 1<<53 - 1

// TransportWAMP is the transport of sessions that have a router's number.
const TransportWAMP = "wamp"

// Sessions is the records of who is here, and who was: of all processes that share the database. It is a session.Backend, for the
// package session and for wampauth, which keep the sessions themselves, and log their starts and ends. It may be used from many
// goroutines at once.
//
// Every session belongs to a node, which is Options.Node of the process that opened it. Start closes what is open of its
// own node, so that the name must be the same after a restart, and another one in every process that runs at the same time.
// If two have the same name nevertheless, the one that started last has it: the sessions of the other end.
//
// A node that has stopped for good closes nothing. Each node therefore counts, three times within Options.NodeTimeout, and
// whose count another node has not seen going on for all of that time, by its own clock, is dead: its sessions are closed
// as abandoned, and their ends logged. No clocks are compared. A node that only could not reach the database for so long hears
// of it as soon as it can, and ends them, so that their ends are there twice.
type Sessions struct {
	store    *Store
	node     string
	instance string // this run of the node
	timeout  time.Duration

	mu       sync.Mutex
	claimed  bool
	hooks    []func(Kick)
	revision uint64               // of what the hooks were told of
	told     signal.Signal        // revision changed
	seen     map[string]heartbeat // of the other nodes
}

// heartbeat is when a node's count last went on, by this process's clock.
type heartbeat struct {
	instance string
	beat     int64
	at       time.Time
}

var _ session.Backend = (*Sessions)(nil)

// Kick is the end of a session of this node that somebody else decided, or that another node did.
type Kick struct {
	session.EndedError
	Number int64 // of the router; 0 where there is none
}

func newSessions(s *Store, node string, timeout time.Duration, revision uint64) *Sessions {
	return &Sessions{store: s, node: node, instance: rand.Text(), timeout: timeout, revision: revision, seen: map[string]heartbeat{}}
}

// OnKick has a function called for every session of this node whose record was ended by somebody else than its own process:
// it must see to it that the session itself ends. It may be called again for one that is over, one call at a time, and must
// not hold up who calls it. While it panics the store counts as stale. What is given to anybody is in force only after it has
// returned, so that it must not change the policy or the users, nor wait for either.
//
//	store.Sessions().OnKick(func(k sqlstore.Kick) { sessions.Root().Kick(ctx, session.ID(k.Session), k.Reason) })
func (s *Sessions) OnKick(f func(Kick)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, f)
}

// follow tells the hooks what has changed.
func (s *Sessions) follow(ctx context.Context, q querier, revision uint64) error {
	s.mu.Lock()
	since, hooks := s.revision, slices.Clone(s.hooks)
	s.mu.Unlock()
	if revision <= since {
		return nil
	}
	var kicks []Kick
	err := collect(ctx, q, `select name, number, cause, ended_by, reason, ended, revision from session where node = $1 and revision > $2 order by revision, id`,
		[]any{s.node, int64(since)}, func(row scanner) error {
			var k Kick
			var number sql.NullInt64
			var at string
			var r int64
			if err := row.Scan(&k.Session, &number, &k.Cause, &k.By, &k.Reason, &at, &r); err != nil {
				return err
			}
			k.Number, revision = number.Int64, max(revision, uint64(r))
			var err error
			k.At, err = parseStamp(at)
			kicks = append(kicks, k)
			return err
		})
	if err != nil {
		return err
	}
	var failed error
	for _, k := range kicks {
		for _, hook := range hooks {
			failed = errors.Join(failed, hooked(func() error { hook(k); return nil }))
		}
	}
	if failed != nil {
		return failed // and all of them are told again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = revision
	s.told.Give()
	return nil
}

// wait waits until the hooks were told of a revision.
func (s *Sessions) wait(ctx context.Context, revision uint64) error {
	for {
		s.mu.Lock()
		told, now := s.told.Next(), s.revision
		s.mu.Unlock()
		if now >= revision {
			return nil
		}
		select {
		case <-told:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.store.life.Done():
			return Closed
		}
	}
}

// Start takes the name of the node, and closes what an earlier run of it left open, as abandoned.
func (s *Sessions) Start(ctx context.Context, at time.Time) (closed int, err error) {
	err = s.change(ctx, func(t *tx, revision uint64) error {
		if _, err := t.ExecContext(ctx, `insert into node (name, instance, beat) values ($1, $2, 0)
			on conflict (name) do update set instance = excluded.instance, beat = node.beat + 1`, s.node, s.instance); err != nil {
			return err
		}
		closed, err = s.end(ctx, t, session.EndedError{Cause: session.Abandoned, At: at}, revision, "node = $1", s.node)
		return err
	})
	if err != nil {
		return 0, err
	}
	s.beats()
	return closed, nil
}

// beats has the node count, from now on.
func (s *Sessions) beats() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claimed {
		return
	}
	s.claimed = true
	s.store.work.Go(func() {
		ctx := s.store.life
		tick := time.NewTicker(s.timeout / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if err := s.beat(ctx, time.Now()); err != nil && ctx.Err() == nil {
				s.store.options.Logger.Warn("sqlstore: the node could not say that it is alive", "node", s.node, "error", err)
			}
		}
	})
}

// beat counts for this node, and closes the sessions of those that do not count any more.
func (s *Sessions) beat(ctx context.Context, now time.Time) error {
	var instance string
	err := s.store.inTx(ctx, func(t *tx) error {
		if _, err := t.ExecContext(ctx, `insert into node (name, instance, beat) values ($1, $2, 0) on conflict (name) do nothing`, s.node, s.instance); err != nil {
			return err // others thought that it was dead, and forgot it
		}
		return t.QueryRowContext(ctx, `update node set beat = beat + case when instance = $1 then 1 else 0 end where name = $2 returning instance`,
			s.instance, s.node).Scan(&instance)
	})
	if err != nil {
		return err
	}
	if instance != s.instance {
		return fmt.Errorf("sqlstore: another process has the node's name now, %q, and its sessions were closed: each needs a name of its own in Options.Node", s.node)
	}
	for _, dead := range s.dead(ctx, now, &err) {
		err = errors.Join(err, s.bury(ctx, dead))
	}
	return err
}

// dead returns the nodes that have been silent for too long.
func (s *Sessions) dead(ctx context.Context, now time.Time, failed *error) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := map[string]bool{}
	*failed = collect(ctx, s.store.db, `select name, instance, beat from node where name <> $1`, []any{s.node}, func(row scanner) error {
		var name string
		is := heartbeat{at: now}
		if err := row.Scan(&name, &is.instance, &is.beat); err != nil {
			return err
		}
		there[name] = true
		was, known := s.seen[name]
		switch {
		case !known || was.instance != is.instance || was.beat != is.beat:
			s.seen[name] = is
		case now.Sub(was.at) >= s.timeout:
			list = append(list, name)
		}
		return nil
	})
	for name := range s.seen {
		if *failed == nil && !there[name] {
			delete(s.seen, name)
		}
	}
	slices.Sort(list)
	return list
}

// bury forgets a node, and closes its sessions, unless it counted meanwhile.
func (s *Sessions) bury(ctx context.Context, node string) error {
	s.mu.Lock()
	was := s.seen[node]
	delete(s.seen, node)
	s.mu.Unlock()
	closed := 0
	err := s.change(ctx, func(t *tx, revision uint64) error {
		r, err := t.ExecContext(ctx, `delete from node where name = $1 and instance = $2 and beat = $3`, node, was.instance, was.beat)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		closed, err = s.end(ctx, t, session.EndedError{Cause: session.Abandoned, At: time.Now()}, revision, "node = $1", node)
		return err
	})
	if err == nil {
		s.store.options.Logger.Warn("sqlstore: a node is silent, and its sessions were closed", "node", node, "sessions", closed)
	}
	return err
}

func (s *Sessions) change(ctx context.Context, f func(t *tx, revision uint64) error) error {
	revision, err := s.store.changed(ctx, sessionsFamily, f)
	if err != nil {
		return err
	}
	return s.wait(ctx, revision)
}

// Open keeps a new record. One of the transport "wamp" whose ID is a number is that of a router.
func (s *Sessions) Open(ctx context.Context, r session.Record) error {
	err := checkRecord(r)
	if err != nil {
		return err
	}
	err = s.store.inTx(ctx, func(t *tx) error {
		user, zone, err := s.userOf(ctx, t, r.Principal)
		if err != nil {
			return err
		}
		number, err := strconv.ParseInt(r.ID, 10, 64)
		isNumber := err == nil && r.Transport == TransportWAMP && 1 <= number && number <= MaxSessionNumber &&
			strconv.FormatInt(number, 10) == r.ID // no other spelling, or a kick of the one could be one of the other
		return s.insert(ctx, t, r, user, zone, sql.NullInt64{Int64: number, Valid: isNumber})
	})
	if err == nil {
		s.beats()
	}
	return err
}

func checkRecord(r session.Record) error {
	return checkText("session", r.ID, r.Principal, r.Transport, r.RemoteAddr)
}

// userOf returns the user of a principal, who need not be one.
func (s *Sessions) userOf(ctx context.Context, t *tx, principal string) (id sql.NullInt64, zone string, err error) {
	n, zone, err := hold(ctx, t, principal) // or whoever deletes the user now would not see the session
	if errors.Is(err, NotFound) {
		return id, "", nil
	}
	return sql.NullInt64{Int64: n, Valid: err == nil}, zone, err
}

func (s *Sessions) insert(ctx context.Context, t *tx, r session.Record, user sql.NullInt64, zone string, number sql.NullInt64) error {
	roles, err := json.Marshal(r.Roles)
	if err != nil {
		return err
	}
	id, err := nextID(ctx, t, "session", 1) // from here on no other is opened
	if err != nil {
		return err
	}
	var there int
	err = t.QueryRowContext(ctx, `select 1 from session where name = $1 or ab_session_id = $2`, r.ID, number).Scan(&there)
	switch {
	case err == nil:
		return no(Exists, "session", r.ID, "a new one")
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	at := stamp(r.OpenedAt)
	_, err = t.ExecContext(ctx, `insert into session (id, name, node, login_id, principal, roles, transport, remote_addr, ab_session_id, number, tzname, created,
		cause, ended_by, reason, revision, created_by, created_at, modified_by, modified_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, '', '', '', 0, $5, $11, $5, $11)`,
		id, r.ID, s.node, user, r.Principal, string(roles), r.Transport, r.RemoteAddr, number, zone, at)
	return err
}

// Change replaces who an open record is about.
func (s *Sessions) Change(ctx context.Context, r session.Record) error {
	if err := checkRecord(r); err != nil {
		return err
	}
	roles, err := json.Marshal(r.Roles)
	if err != nil {
		return err
	}
	return s.store.inTx(ctx, func(t *tx) error {
		user, _, err := s.userOf(ctx, t, r.Principal)
		if err != nil {
			return err
		}
		_, err = t.ExecContext(ctx, `update session set principal = $1, roles = $2, login_id = $3, modified_by = $1, modified_at = $4 where name = $5 and ended is null`,
			r.Principal, string(roles), user, stamp(time.Now()), r.ID)
		return err
	})
}

// Close closes records.
func (s *Sessions) Close(ctx context.Context, ends []session.EndedError) error {
	for _, e := range ends {
		if err := checkText("end of a session", e.Session, string(e.Cause), e.By, e.Reason); err != nil {
			return err
		}
	}
	return s.store.inTx(ctx, func(t *tx) error {
		for _, e := range ends {
			if _, err := s.end(ctx, t, e, 0, "name = $1", e.Session); err != nil {
				return err
			}
		}
		return nil
	})
}

// end ends open sessions. The revision is 0 where their own process does it. Whoever has a session writes its end into the log;
// for those that were abandoned there is nobody to do so but this.
func (s *Sessions) end(ctx context.Context, t *tx, e session.EndedError, revision uint64, where string, arg any) (n int, err error) {
	at := stamp(e.At)
	var log []audit.Record
	err = collect(ctx, t, `update session set ended = $2, cause = $3, ended_by = $4, reason = $5, revision = $6, ab_session_id = null, modified_by = $4, modified_at = $2
		where ended is null and `+where+` returning name, principal, remote_addr`,
		[]any{arg, at, string(e.Cause), e.By, e.Reason, int64(revision)}, func(row scanner) error {
			n++
			r := audit.Record{Time: e.At, Kind: audit.KindSession, Operation: audit.OpLogout, Outcome: chansec.Allowed, Reason: string(e.Cause)}
			log = append(log, r)
			return row.Scan(&log[n-1].Session, &log[n-1].Principal, &log[n-1].Remote)
		})
	if err != nil || e.Cause != session.Abandoned {
		return n, err
	}
	sortBy(log, func(r audit.Record) string { return r.Session })
	return n, s.store.activity.insert(ctx, t, log)
}

// kick ends open sessions because somebody wants it; their processes hear of it.
func (s *Sessions) kick(ctx context.Context, t *tx, by policy.Actor, where string, arg any, reason string) (n int, revision uint64, err error) {
	if revision, err = t.raise(ctx, sessionsFamily); err != nil {
		return 0, 0, err
	}
	n, err = s.end(ctx, t, session.EndedError{Cause: session.Kicked, By: nameOf(by), Reason: reason, At: time.Now()}, revision, where, arg)
	return n, revision, err
}

// Records yields the records of all nodes.
func (s *Sessions) Records(ctx context.Context, open bool) iter.Seq2[session.Record, error] {
	const page = 500
	where := ""
	if open {
		where = " and ended is null"
	}
	return func(yield func(session.Record, error) bool) {
		for after := int64(0); ; {
			var list []session.Record
			err := collect(ctx, s.store.db, `select id, name, principal, roles, transport, remote_addr, created, ended, cause, ended_by, reason from session
				where id > $1`+where+` order by id limit `+strconv.Itoa(page), []any{after}, func(row scanner) error {
				r, err := scanRecord(row, &after)
				list = append(list, r)
				return err
			})
			for _, r := range list {
				if err == nil && ctx.Err() == nil && !yield(r, nil) {
					return
				}
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(session.Record{}, err)
				return
			}
			if len(list) < page {
				return
			}
		}
	}
}

func scanRecord(row scanner, id *int64) (r session.Record, err error) {
	var roles, created string
	var ended sql.NullString
	if err = row.Scan(id, &r.ID, &r.Principal, &roles, &r.Transport, &r.RemoteAddr, &created, &ended, &r.End.Cause, &r.End.By, &r.End.Reason); err != nil {
		return r, err
	}
	if ended.Valid {
		r.End.Session = r.ID
		r.End.At, err = parseStamp(ended.String)
	}
	if err == nil {
		r.OpenedAt, err = parseStamp(created)
	}
	if err == nil {
		err = json.Unmarshal([]byte(roles), &r.Roles)
	}
	return r, err
}

// Live is somebody who is here.
type Live struct {
	Session  *int64    `json:"session"` // the router's number; nil where there is none
	ID       string    `json:"id"`
	Login    string    `json:"login"`
	FullName string    `json:"fullname"`
	TZName   string    `json:"tzname"`
	Node     string    `json:"node"`
	Remote   string    `json:"remote"`
	Start    time.Time `json:"start"`
	Duration float64   `json:"duration"`          // in seconds
	Warning  string    `json:"warning,omitempty"` // what does not fit
}

// Live returns who is here, at all nodes, by the routers' numbers; those without one come last.
func (s *Sessions) Live(ctx context.Context) ([]Live, error) { return s.live(ctx, "true", nil) }

func (s *Sessions) live(ctx context.Context, where string, args []any) ([]Live, error) {
	list := []Live{}
	now := time.Now()
	err := collect(ctx, s.store.db, `select s.ab_session_id, s.name, s.principal, u.fullname, s.tzname, s.node, s.remote_addr, s.created
		from session s left join "user" u on u.id = s.login_id where s.ended is null and `+where, args, func(row scanner) error {
		var l Live
		var number sql.NullInt64
		var fullname sql.NullString
		var created string
		if err := row.Scan(&number, &l.ID, &l.Login, &fullname, &l.TZName, &l.Node, &l.Remote, &created); err != nil {
			return err
		}
		if number.Valid {
			l.Session = &number.Int64
		}
		l.FullName = fullname.String
		var err error
		l.Start, err = parseStamp(created)
		l.Duration = now.Sub(l.Start).Seconds()
		list = append(list, l)
		return err
	})
	sortLive(list)
	return list, wrap(ctx, err)
}

// sortLive sorts by number; those without one come last, by ID.
func sortLive(list []Live) {
	slices.SortFunc(list, func(a, b Live) int {
		switch {
		case a.Session != nil && b.Session != nil:
			return cmp.Compare(*a.Session, *b.Session)
		case a.Session != nil:
			return -1
		case b.Session != nil:
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// Get returns a live session of a number or an ID, or NotFound.
func (s *Sessions) Get(ctx context.Context, ref SessionRef) (Live, error) {
	where, arg, err := ref.where()
	if err == nil && ref.Login != "" {
		err = invalid("session", "", "a number or an ID")
	}
	if err != nil {
		return Live{}, err
	}
	list, err := s.live(ctx, "s."+where, []any{arg})
	if err == nil && len(list) == 0 {
		err = no(NotFound, "session", "", "one that is live")
	}
	if err != nil {
		return Live{}, err
	}
	return list[0], nil
}

// SessionRef says which sessions are meant: that of a router's number, that of an ID, or all of a login. Exactly one is set.
type SessionRef struct {
	Number    int64
	ID, Login string
}

func (r SessionRef) where() (where string, arg any, err error) {
	switch {
	case r.Number > 0 && r.ID == "" && r.Login == "":
		return "ab_session_id = $1", r.Number, nil
	case r.Number == 0 && r.ID != "" && r.Login == "":
		return "name = $1", r.ID, checkLine("session", r.ID, MaxName)
	case r.Number == 0 && r.ID == "" && r.Login != "":
		return "principal = $1", r.Login, checkLine("login", r.Login, MaxName)
	}
	return "", nil, invalid("session", "", "a number, an ID or a login")
}

// Kill ends sessions at whichever node they are: they are over when it returns, and their nodes, which write the end into the
// log, hear of it. It returns how many there were, or NotFound.
func (s *Sessions) Kill(ctx context.Context, by policy.Actor, ref SessionRef, reason string) (n int, err error) {
	where, arg, err := ref.where()
	if err == nil {
		err = checkLine("reason", reason, MaxName)
	}
	if err == nil {
		err = checkText("actor", by.String())
	}
	if err != nil {
		return 0, err
	}
	var revision uint64
	err = s.store.inTx(ctx, func(t *tx) (err error) {
		n, revision, err = s.kick(ctx, t, by, where, arg, reason)
		if err == nil && n == 0 {
			err = no(NotFound, "session", "", "one that is live")
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, s.wait(ctx, revision)
}
