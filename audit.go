package chansec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Outcome is how a decision ended. Its zero value is Denied.
type Outcome uint8

// The outcomes.
const (
	Denied Outcome = iota
	Allowed
	Undecided // nobody could say, so it was not done
)

func (o Outcome) String() string {
	switch o {
	case Denied:
		return "denied"
	case Allowed:
		return "allowed"
	case Undecided:
		return "undecided"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// OpAuthenticate is the operation of an event that reports a failed authentication. No role allows it.
const OpAuthenticate Operation = "authenticate"

// Event is one fresh decision, or one failed authentication. A decision that is used again for further deliveries makes
// no further event. It never holds a token or a payload.
type Event struct {
	Time      time.Time
	ChannelID string
	Operation Operation
	SystemID  string // empty where nobody was proved
	Proof     Proof
	TokenID   string // jti, if there is one
	Outcome   Outcome
	Reason    string
	Rule      string // Decision.Rule
	Version   uint64 // Decision.Version
	Latency   time.Duration
}

// AuditSink takes events, from many goroutines at once. It is called on the path of the operation, before the operation
// is done: a slow one needs a queue of its own.
type AuditSink interface {
	Record(ctx context.Context, e Event) error
}

// AuditFunc makes a sink of a function.
type AuditFunc func(ctx context.Context, e Event) error

// Record calls f.
func (f AuditFunc) Record(ctx context.Context, e Event) error { return f(ctx, e) }

// SlogAudit returns a sink that logs allowed operations at level Info and others at Warn.
func SlogAudit(log *slog.Logger) AuditSink {
	return AuditFunc(func(ctx context.Context, e Event) error {
		level := slog.LevelWarn
		if e.Outcome == Allowed {
			level = slog.LevelInfo
		}
		log.LogAttrs(ctx, level, "chansec decision",
			slog.String("channel", e.ChannelID),
			slog.String("operation", string(e.Operation)),
			slog.String("system", e.SystemID),
			slog.String("proof", string(e.Proof)),
			slog.String("token_id", e.TokenID),
			slog.String("outcome", e.Outcome.String()),
			slog.String("reason", e.Reason),
			slog.String("rule", e.Rule),
			slog.Uint64("version", e.Version),
			slog.Duration("latency", e.Latency))
		return nil
	})
}

// sink is an AuditSink and whether an operation may go on without it.
type sink struct {
	AuditSink
	required bool
}

// record calls the sink. A panic is a failure.
func (s sink) record(ctx context.Context, e Event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic of type %T", r)
		}
	}()
	return s.Record(ctx, e)
}

// record tells every sink of an event; it fails if a required one does. It is the only place that hands out events.
func (g *guard) record(ctx context.Context, e Event) error {
	var failed error
	for i, s := range g.sinks {
		err := s.record(ctx, e)
		switch {
		case err == nil:
		case s.required && failed == nil && errors.Is(err, ErrPermission): // of the sink, not of the operation
			failed = fmt.Errorf("%w: %v", ErrAudit, err)
		case s.required && failed == nil:
			failed = fmt.Errorf("%w: %w", ErrAudit, err)
		case !s.required:
			g.sinkFailed[i].Do(func() {
				g.log.Warn("chansec: an audit sink failed; further failures are not logged",
					"channel", g.channelID, "error", err)
			})
		}
	}
	return failed
}
