package session

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/chansec/chansec"
)

// Backend keeps the records of sessions, those that are over too (sqlauth.md 7.1). It may be called from many goroutines at once,
// and honours contexts. What it acknowledges without an error is kept. sessiontest.TestBackend checks one.
type Backend interface {
	// Start closes what an earlier run of this program left open, as Abandoned at a time, and returns how much that was.
	Start(ctx context.Context, at time.Time) (closed int, err error)
	// Open keeps a new record, which is open. An ID that it has already is an error.
	Open(ctx context.Context, r Record) error
	// Change replaces who an open record is about: principal and roles. It changes nothing of one that is closed or unknown,
	// which is no error: the session ended at the same time.
	Change(ctx context.Context, r Record) error
	// Close closes records, all or none. It does nothing to one that is closed or unknown: it may be told again.
	Close(ctx context.Context, ends []EndedError) error
	// Records yields the records, in the order in which they were opened, only those that are open if asked for. After an
	// error it yields nothing more.
	Records(ctx context.Context, open bool) iter.Seq2[Record, error]
}

// Record is what is kept of a session. It holds no credential.
type Record struct {
	ID         string
	Principal  string   // empty is anonymous
	Roles      []string // of the last login or refresh
	Transport  string
	RemoteAddr string
	OpenedAt   time.Time
	End        EndedError // zero while it is open
}

// IsOpen reports whether the session has not ended.
func (r Record) IsOpen() bool { return r.End.Cause == "" }

func (s *Session) record(is *state) Record {
	return Record{ID: s.id, Principal: is.name, Roles: is.principal.Roles, Transport: s.transport, RemoteAddr: s.remote, OpenedAt: s.since.Round(0)}
}

// What the recorder does with a backend that fails.
const (
	maxUnrecorded = 65_536 // ends that wait to be kept, before no session is opened any more
	recordBatch   = 256
	recordTimeout = 30 * time.Second // of one batch
	retrySoonest  = 100 * time.Millisecond
	retryLatest   = 10 * time.Second
)

// recorder writes to a backend. A login waits for its record; an end never does, and is told again until it is kept. Ends are
// not forgotten: while too many wait, nobody is let in.
type recorder struct {
	backend Backend
	log     *slog.Logger

	mu     sync.Mutex
	ends   []EndedError
	closed bool

	wake   chan struct{}
	life   context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

func newRecorder(b Backend, log *slog.Logger) *recorder {
	r := &recorder{backend: b, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	r.life, r.cancel = context.WithCancel(context.Background())
	go r.run()
	return r
}

// room says whether the backend is keeping up.
func (r *recorder) room() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ends) >= maxUnrecorded {
		return undecided("the backend", &LimitError{"ends of sessions that wait to be recorded", maxUnrecorded})
	}
	return nil
}

func (r *recorder) opened(ctx context.Context, record Record) error {
	return r.ask(func() error { return r.backend.Open(ctx, record) })
}

func (r *recorder) changed(ctx context.Context, record Record) error {
	return r.ask(func() error { return r.backend.Change(ctx, record) })
}

// ask asks the backend. A panic is a failure.
func (r *recorder) ask(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = undecided("the backend", fmt.Errorf("it panicked with a %T", p))
		}
	}()
	if err := f(); err != nil {
		return undecided("the backend", err)
	}
	return nil
}

// ended has the end of a session kept, some time.
func (r *recorder) ended(e EndedError) {
	e.At = e.At.Round(0)
	r.mu.Lock()
	r.ends = append(r.ends, e)
	r.mu.Unlock()
	r.signal()
}

func (r *recorder) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *recorder) run() {
	defer close(r.done)
	for pause := time.Duration(0); ; {
		r.mu.Lock()
		batch := r.ends[:min(recordBatch, len(r.ends))]
		over := r.closed && len(batch) == 0
		r.mu.Unlock()
		switch {
		case over || r.life.Err() != nil:
			return
		case len(batch) == 0:
			select {
			case <-r.wake:
			case <-r.life.Done():
			}
			continue
		}
		err := r.ask(func() error {
			ctx, cancel := context.WithTimeout(r.life, recordTimeout)
			defer cancel()
			return r.backend.Close(ctx, batch)
		})
		if err == nil {
			pause = 0
			r.mu.Lock()
			if r.ends = r.ends[len(batch):]; len(r.ends) == 0 {
				r.ends = nil
			}
			r.mu.Unlock()
			continue
		}
		if pause == 0 && r.life.Err() == nil {
			r.log.Error("session: the backend does not close records; it is asked again until it does", "error", err)
		}
		pause = min(max(2*pause, retrySoonest), retryLatest)
		retry := time.NewTimer(pause)
		select {
		case <-retry.C:
		case <-r.life.Done():
			retry.Stop()
		}
	}
}

// close waits until all is kept, or the context is over.
func (r *recorder) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.signal()
	select {
	case <-r.done:
	case <-ctx.Done():
		r.cancel()
		<-r.done
	}
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.ends); n > 0 {
		return fmt.Errorf("session: the ends of %d sessions were not recorded; the next Start closes them: %w", n, chansec.ErrUndecided)
	}
	return nil
}
