package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

// ActivityOptions say how a store logs what is done.
type ActivityOptions struct {
	// Queue is how many records may wait to be written by Log; 0 is audit.DefaultQueue.
	Queue int
	// Required makes Log fail for what is allowed while the database takes nothing: no log, no action.
	Required bool
}

// Activity is the log of what was done or refused, and of who came and went: an audit.Store, an audit.BatchSink, and the
// table activity of sqlauth.md. It may be used from many goroutines at once.
//
// Record waits for the database, and what it took is kept. Log puts records into a queue, and is what those should call who
// decide.
type Activity struct {
	store    *Store
	queue    *audit.Async
	required bool
}

var (
	_ audit.Store     = (*Activity)(nil)
	_ audit.BatchSink = (*Activity)(nil)
)

func newActivity(s *Store, o ActivityOptions) (*Activity, error) {
	a := &Activity{store: s, required: o.Required}
	var err error
	a.queue, err = audit.NewAsync(written{a}, o.Queue)
	return a, err
}

// written is what the queue writes to: Activity without its own Flush, which is the queue's.
type written struct{ audit.BatchSink }

// Log has a record written soon, in a batch with others. What was not allowed is never left out: where the queue is full, or a
// sixteenth of it is denials of that principal, Log waits, so that who is denied in a flood keeps nobody from what they may do.
// What was allowed is left out where the queue is full, and Log fails with audit.ErrDropped; a record in the log says how many
// are missing.
// If the log is required, Log also fails for what was allowed while writing fails, and whoever called must not do it.
//
//	chansec.WithAudit(audit.Decisions(audit.SinkFunc(store.Activity().Log)))
func (a *Activity) Log(ctx context.Context, r audit.Record) error {
	if err := a.allows(&r); err != nil {
		return err
	}
	return a.queue.Keep(ctx, r)
}

// Offer is Log for those whom others wait for, as an authorizer of a router is: where Log would wait, it fails with
// audit.ErrFull, and the record is still to be logged.
func (a *Activity) Offer(ctx context.Context, r audit.Record) error {
	if err := a.allows(&r); err != nil {
		return err
	}
	return a.queue.Offer(ctx, r)
}

// allows returns why what a record is about must not be done.
func (a *Activity) allows(r *audit.Record) error {
	if a.required && r.Outcome == chansec.Allowed {
		if err := a.queue.Stats().Failing; err != nil {
			return errors.Join(chansec.ErrAudit, err)
		}
	}
	return nil
}

// Flush waits until what was logged is written.
func (a *Activity) Flush(ctx context.Context) error { return a.queue.Flush(ctx) }

// Stats returns what the queue has done so far.
func (a *Activity) Stats() audit.AsyncStats { return a.queue.Stats() }

// Record writes one record.
func (a *Activity) Record(ctx context.Context, r audit.Record) error {
	return a.RecordAll(ctx, []audit.Record{r})
}

// RecordAll writes records, in their order, all or none.
func (a *Activity) RecordAll(ctx context.Context, records []audit.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	clean := make([]audit.Record, len(records))
	for i, r := range records {
		var err error
		if clean[i], err = r.Clean(); err != nil {
			return err
		}
	}
	if len(clean) == 0 {
		return nil
	}
	return a.store.inTx(ctx, func(t *tx) error { return a.insert(ctx, t, clean) })
}

// The keys of activity_type that are not themselves operations.
const (
	typeStart = "start"
	typeEnd   = "end"
)

// activityType is the key of what a record is about, null for what sqlauth does not know.
func activityType(r *audit.Record) sql.NullString {
	key := string(r.Operation)
	switch {
	case r.Kind == audit.KindSession && (r.Operation == audit.OpLogin || key == typeStart):
		key = typeStart
	case r.Kind == audit.KindSession && (r.Operation == audit.OpLogout || key == typeEnd):
		key = typeEnd
	case r.Kind == audit.KindDecision && (key == "call" || key == "register" || key == "publish" || key == "subscribe" || key == "admin"):
	default:
		return sql.NullString{}
	}
	return sql.NullString{String: key, Valid: true}
}

// column is a text as a column for queries holds it: PostgreSQL has no NUL. The record itself keeps it.
func column(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// insert writes clean records.
func (a *Activity) insert(ctx context.Context, t *tx, records []audit.Record) error {
	const columns, most = 14, 16 // what a statement with more parameters costs grows faster than it saves
	for len(records) > 0 {
		batch := records[:min(len(records), most)]
		records = records[len(batch):]
		sessions, err := a.sessions(ctx, t, batch)
		if err != nil {
			return err
		}
		first, err := nextID(ctx, t, "activity", len(batch))
		if err != nil {
			return err
		}
		var query strings.Builder
		query.WriteString(`insert into activity (id, session_id, topic_name, type_id, allow, at, kind, principal, session, operation, outcome, record, modified_by, modified_at) values `)
		args := make([]any, 0, columns*len(batch))
		for i, r := range batch {
			text, err := json.Marshal(r)
			if err != nil {
				return err
			}
			for c := range columns {
				query.WriteString([]string{", $", "($"}[btoi(c == 0)])
				query.WriteString(strconv.Itoa(columns*i + c + 1))
			}
			query.WriteString([]string{"), ", ")"}[btoi(i == len(batch)-1)])
			args = append(args, first+int64(i), sessions[r.Session], column(r.Target), activityType(&r), r.Outcome == chansec.Allowed, stamp(r.Time), string(r.Kind),
				column(r.Principal), column(r.Session), column(string(r.Operation)), int(r.Outcome), string(text), column(r.Principal), stamp(r.Time))
		}
		if _, err := t.ExecContext(ctx, query.String(), args...); err != nil {
			return err
		}
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sessions returns the rows of the sessions that records are about.
func (a *Activity) sessions(ctx context.Context, t *tx, batch []audit.Record) (map[string]sql.NullInt64, error) {
	list := map[string]sql.NullInt64{}
	var marks []string
	var args []any
	for _, r := range batch {
		if _, ok := list[r.Session]; !ok && r.Session != "" && column(r.Session) == r.Session {
			list[r.Session] = sql.NullInt64{}
			args = append(args, r.Session)
			marks = append(marks, "$"+strconv.Itoa(len(args)))
		}
	}
	if len(args) == 0 {
		return list, nil
	}
	err := collect(ctx, t, `select name, id from session where name in (`+strings.Join(marks, ", ")+`)`, args, func(row scanner) error {
		var name string
		var id sql.NullInt64
		err := row.Scan(&name, &id)
		list[name] = id
		return err
	})
	return list, err
}

// where is conditions of a query, and what they compare with.
type where struct {
	text strings.Builder
	args []any
}

// and adds a condition, in which ? is the value.
func (w *where) and(condition string, value any) {
	w.args = append(w.args, value)
	w.text.WriteString(" and " + strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(w.args))))
}

// activityPage is how many records are read at once, so that nobody holds a connection while records are looked at.
const activityPage = 500

// Records yields what is in the log, as it is when a page of it is read.
func (a *Activity) Records(ctx context.Context, f audit.Filter) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		err := cmp.Or(ctx.Err(), f.Check())
		left, last := f.Limit, int64(0)
		for more := true; more && err == nil; {
			var page []audit.Record
			if page, err = a.page(ctx, f, last); err != nil {
				break
			}
			for _, r := range page {
				last = int64(r.Seq)
				if !f.Matches(r) { // a column may hold less than the record
					continue
				}
				if !yield(r, nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
			more, err = len(page) == activityPage, ctx.Err()
		}
		if err != nil {
			yield(audit.Record{}, err)
		}
	}
}

// page returns the records that may match, behind the last one of the page before; 0 is the first page.
func (a *Activity) page(ctx context.Context, f audit.Filter, last int64) (list []audit.Record, err error) {
	w := where{}
	for _, c := range []struct{ condition, value string }{
		{"kind = ?", string(f.Kind)}, {"principal = ?", f.Principal}, {"session = ?", f.Session}, {"topic_name = ?", f.Target}, {"operation = ?", string(f.Operation)},
	} {
		if c.value != "" {
			w.and(c.condition, column(strings.ToValidUTF8(c.value, "\uFFFD")))
		}
	}
	w.times(f.From, f.To)
	if f.After != 0 {
		w.and("id > ?", int64(min(f.After, math.MaxInt64)))
	}
	if f.Before != 0 {
		w.and("id < ?", int64(min(f.Before, math.MaxInt64)))
	}
	order := " order by id"
	if f.NewestFirst {
		order = " order by id desc"
	}
	if last != 0 && f.NewestFirst {
		w.and("id < ?", last)
	} else if last != 0 {
		w.and("id > ?", last)
	}
	err = collect(ctx, a.store.db, `select id, record from activity where true`+w.text.String()+order+` limit `+strconv.Itoa(activityPage), w.args, func(row scanner) error {
		var id int64
		var text string
		if err := row.Scan(&id, &text); err != nil {
			return err
		}
		var r audit.Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return fmt.Errorf("sqlstore: damaged: activity %d: %w", id, err)
		}
		r.Seq = uint64(id)
		list = append(list, r)
		return nil
	})
	return list, wrap(ctx, err)
}

// times adds bounds of the time, where the table can compare them.
func (w *where) times(from, to time.Time) {
	comparable := func(t time.Time) bool { return !t.IsZero() && t.UTC().Year() >= 1 && t.UTC().Year() <= 9999 }
	if comparable(from) {
		w.and("at >= ?", stamp(from))
	}
	if comparable(to) {
		w.and("at < ?", stamp(to))
	}
}

// Purge removes what is older than a time, and returns how much that was.
func (a *Activity) Purge(ctx context.Context, before time.Time) (n int64, err error) {
	if year := before.UTC().Year(); year < 1 || year > 9999 {
		return 0, invalid("time", strconv.Itoa(year), "one of the years 1 to 9999")
	}
	err = a.store.inTx(ctx, func(t *tx) error {
		r, err := t.ExecContext(ctx, `delete from activity where at < $1`, stamp(before))
		if err == nil {
			n, err = r.RowsAffected()
		}
		return err
	})
	return n, err
}

// Action is a row of the log as sqlauth has it.
type Action struct {
	ID      int64     `json:"id"`
	Session *int64    `json:"session"` // the router's number; nil where there is none
	Login   string    `json:"login"`
	Action  string    `json:"action"`
	Topic   string    `json:"topic"` // empty for start and end
	Allow   bool      `json:"allow"`
	Time    time.Time `json:"time"`
	Reason  string    `json:"reason"`
}

// MaxActions is how many rows a query returns at most; After of the filter goes on from there.
const MaxActions = 10_000

// ActionFilter says which rows are wanted. Its zero value is those of live sessions that were allowed, and are actions of a
// router (sqlauth.md 7.2).
type ActionFilter struct {
	All    bool // everything: also what was denied, of sessions that are over, starts and ends
	Denied bool // what was denied, too
	Ended  bool // of sessions that are over, too

	Login   string
	Session int64  // the router's number, of a live session or, with All or Ended, another
	Topic   string // itself and what is below
	Action  string // call, register, publish, subscribe; with All also start and end

	Since, Until time.Time // not before, and before
	After        int64     // only higher IDs
	Limit        int       // 0 is MaxActions
}

func (f *ActionFilter) check() error {
	switch {
	case f.Limit < 0 || f.Limit > MaxActions:
		return invalid("limit", strconv.Itoa(f.Limit), "1 to 10000, or 0 for that")
	case !slices.Contains([]string{"", "call", "register", "publish", "subscribe", typeStart, typeEnd}, f.Action):
		return invalid("action", f.Action, "call, register, publish, subscribe, start or end")
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until):
		return invalid("time", "", "a beginning before the end")
	}
	return nil
}

// List returns the rows that a filter wants, oldest first, after what is in the queue of this process was written.
func (a *Activity) List(ctx context.Context, f ActionFilter) ([]Action, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.Limit == 0 {
		f.Limit = MaxActions
	}
	if err := a.Flush(ctx); err != nil {
		return nil, err
	}
	w := where{}
	if !f.All {
		w.text.WriteString(` and a.type_id in ('call', 'register', 'publish', 'subscribe')`)
		if !f.Denied {
			w.text.WriteString(` and a.allow = true`)
		}
		if !f.Ended {
			w.text.WriteString(` and s.id is not null and s.ended is null`)
		}
	} else {
		w.text.WriteString(` and a.type_id is not null`)
	}
	if f.Login != "" {
		w.and("a.principal = ?", column(strings.ToValidUTF8(f.Login, "\uFFFD")))
	}
	if f.Session != 0 {
		w.and("s.number = ?", f.Session)
	}
	if f.Topic != "" {
		topic := column(strings.ToValidUTF8(f.Topic, "\uFFFD"))
		w.and("(a.topic_name = ? or substr(a.topic_name, 1, "+strconv.Itoa(utf8.RuneCountInString(topic)+1)+") = ? || '.')", topic)
	}
	if f.Action != "" {
		w.and("a.type_id = ?", f.Action)
	}
	w.times(f.Since, f.Until)
	if f.After != 0 {
		w.and("a.id > ?", f.After)
	}
	return a.actions(ctx, w, f.Limit)
}

// Get returns one row, or NotFound.
func (a *Activity) Get(ctx context.Context, id int64) (Action, error) {
	if err := a.Flush(ctx); err != nil {
		return Action{}, err
	}
	w := where{}
	w.and("a.id = ?", id)
	list, err := a.actions(ctx, w, 1)
	if err == nil && len(list) == 0 {
		err = no(NotFound, "activity", strconv.FormatInt(id, 10), "one that is there")
	}
	if err != nil {
		return Action{}, err
	}
	return list[0], nil
}

func (a *Activity) actions(ctx context.Context, w where, limit int) ([]Action, error) {
	list := []Action{}
	err := collect(ctx, a.store.db, `select a.id, s.number, a.operation, a.type_id, a.record from activity a left join session s on s.id = a.session_id where true`+
		w.text.String()+` order by a.id limit `+strconv.Itoa(limit), w.args, func(row scanner) error {
		var x Action
		var number sql.NullInt64
		var key sql.NullString
		var text string
		if err := row.Scan(&x.ID, &number, &x.Action, &key, &text); err != nil {
			return err
		}
		var r audit.Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return fmt.Errorf("sqlstore: damaged: activity %d: %w", x.ID, err)
		}
		if key.Valid {
			x.Action = key.String
		}
		if number.Valid {
			x.Session = &number.Int64
		}
		x.Login, x.Topic, x.Allow, x.Time, x.Reason = r.Principal, r.Target, r.Outcome == chansec.Allowed, r.Time, r.Reason
		list = append(list, x)
		return nil
	})
	return list, wrap(ctx, err)
}
