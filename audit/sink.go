package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec"
)

// Sink takes records, from many goroutines at once. Whether what is recorded may be done although Record failed is up to
// whoever calls it.
type Sink interface {
	Record(ctx context.Context, r Record) error
}

// BatchSink is a Sink that takes several records at once with less effort. An error says that not all of them may have been
// recorded. The slice belongs to the caller again afterwards.
type BatchSink interface {
	Sink
	RecordAll(ctx context.Context, records []Record) error
}

// Store is a sink that can be asked for what it took. Records yields what matches the filter, in the order of the numbers
// that the store gave, and an error where something cannot be read; an error that is a *Problem is about one line only, and
// does not end it. What is recorded while it runs may be missing.
type Store interface {
	Sink
	Records(ctx context.Context, f Filter) iter.Seq2[Record, error]
}

// SinkFunc makes a sink of a function.
type SinkFunc func(ctx context.Context, r Record) error

// Record calls f.
func (f SinkFunc) Record(ctx context.Context, r Record) error { return f(ctx, r) }

// Decisions makes a sink into one for the decisions of channels:
//
//	chansec.WithRequiredAudit(audit.Decisions(file))
//	chansec.WithAudit(audit.Decisions(async))
func Decisions(s Sink) chansec.AuditSink { return decisions{s} }

type decisions struct{ Sink }

func (d decisions) Record(ctx context.Context, e chansec.Event) error {
	return d.Sink.Record(ctx, Decision(e))
}

// recordAll hands several records to a sink. A panic is a failure.
func recordAll(ctx context.Context, s Sink, records []Record) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("audit: the sink panicked with a %T", r)
		}
	}()
	if b, ok := s.(BatchSink); ok {
		return b.RecordAll(ctx, records)
	}
	for _, r := range records {
		if err := s.Record(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// Tee returns a sink that hands every record to all of these, also where one fails. Its error joins theirs. An Async belongs
// before each of them, not before the Tee: it would try them all again, as long as one fails, and those that work would have
// the same records again and again.
func Tee(sinks ...Sink) Sink { return tee(append([]Sink(nil), sinks...)) }

type tee []Sink

func (t tee) Record(ctx context.Context, r Record) error { return t.RecordAll(ctx, []Record{r}) }

func (t tee) RecordAll(ctx context.Context, records []Record) error {
	var failed error
	for _, s := range t {
		if err := recordAll(ctx, s, records); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// Optional is a sink whose failures stop nothing, and are counted. It is for a Tee, and for whoever records by themselves; a
// channel has [chansec.WithAudit].
type Optional struct {
	sink   Sink
	failed atomic.Uint64
}

// NewOptional makes a sink optional.
func NewOptional(s Sink) *Optional { return &Optional{sink: s} }

// Record returns nil.
func (o *Optional) Record(ctx context.Context, r Record) error {
	if err := recordAll(ctx, o.sink, []Record{r}); err != nil {
		o.failed.Add(1)
	}
	return nil
}

// Failed returns how many records were not taken.
func (o *Optional) Failed() uint64 { return o.failed.Load() }

// Sampler leaves out most of the decisions that let somebody in, and nothing else.
type Sampler struct {
	sink    Sink
	every   uint64
	seen    atomic.Uint64
	skipped atomic.Uint64
}

// Sample returns a sink that hands on the first of every so many allowed decisions; denials, what nobody could decide, and
// all records that are no decisions are always handed on. 1 leaves out nothing; 0 is a [chansec.InvalidError].
func Sample(s Sink, every uint64) (*Sampler, error) {
	if every == 0 {
		return nil, invalid("rate of a sample", "0", "1 for all, or every how many-th allowed decision is recorded")
	}
	return &Sampler{sink: s, every: every}, nil
}

// Record hands the record on or leaves it out.
func (s *Sampler) Record(ctx context.Context, r Record) error {
	if r.sheddable() && (s.seen.Add(1)-1)%s.every != 0 {
		s.skipped.Add(1)
		return nil
	}
	return s.sink.Record(ctx, r)
}

// Skipped returns how many records were left out.
func (s *Sampler) Skipped() uint64 { return s.skipped.Load() }

// Slog returns a sink that logs what was allowed at level Info and everything else at Warn, with the names of the JSON form.
// Where the handler fails, so does Record; what the handler's level leaves out counts as recorded.
func Slog(log *slog.Logger) Sink { return logSink{log.Handler()} }

type logSink struct{ handler slog.Handler }

func (s logSink) Record(ctx context.Context, r Record) error {
	if err := r.clean(); err != nil {
		return err
	}
	level := slog.LevelWarn
	if r.Outcome == chansec.Allowed {
		level = slog.LevelInfo
	}
	if !s.handler.Enabled(ctx, level) {
		return nil
	}
	line := slog.NewRecord(r.Time, level, "chansec audit", 0)
	line.AddAttrs(slog.String("kind", string(r.Kind)))
	for _, a := range [...]slog.Attr{
		slog.String("principal", r.Principal), slog.String("proof", string(r.Proof)), slog.String("token_id", r.TokenID),
		slog.String("session", r.Session), slog.String("remote", r.Remote), slog.String("target", r.Target),
		slog.String("operation", string(r.Operation)), slog.String("outcome", r.Outcome.String()), slog.String("reason", r.Reason),
		slog.String("rule", r.Rule),
	} {
		if a.Value.String() != "" {
			line.AddAttrs(a)
		}
	}
	if r.Version != 0 {
		line.AddAttrs(slog.Uint64("version", r.Version))
	}
	if r.Latency != 0 {
		line.AddAttrs(slog.Int64("latency_ns", int64(r.Latency)))
	}
	if r.Detail != "" {
		line.AddAttrs(slog.String("detail", r.Detail))
	}
	for _, v := range r.Votes {
		line.AddAttrs(slog.Group("vote", slog.String("handler", v.Handler), slog.String("answer", v.Answer),
			slog.String("reason", v.Reason), slog.Int64("took_ns", int64(v.Took))))
	}
	return s.handler.Handle(ctx, line)
}

// about is a record of the trail about itself.
func about(op chansec.Operation, outcome chansec.Outcome, version uint64, reason, detail string) Record {
	return Record{Time: time.Now().Round(0).UTC(), Kind: KindTrail, Operation: op, Outcome: outcome, Reason: reason, Version: version, Detail: detail}
}
