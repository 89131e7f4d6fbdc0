package chansec

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// The events of a stream, beside messages, which have no name. Those of the second group are the last of their stream.
const (
	eventMissed = "missed" // retention discarded what the client resumed behind; the stream goes on

	eventRevoked = "revoked"
	eventExpired = "expired"
	eventClosed  = "closed" // the channel, or its being mounted
	eventLagged  = "lagged" // the client was too slow; it may resume, and is told how much it missed
	eventFailed  = "failed"
)

// lastEventID is the header with which a client resumes (HTML, section 9.2.3).
const lastEventID = "Last-Event-Id"

// events serves a live subscription. Its first event has an ID and nothing else: the place behind which it begins.
func (q *request) events() error {
	after, err := q.after()
	if err != nil {
		return err
	}
	if v := q.r.Header[lastEventID]; len(v) == 1 { // a reconnecting client's last word, over the URL's
		id := messageID(v[0])
		after = &id
	} else if len(v) > 1 {
		return badRequest("more than one Last-Event-ID")
	}
	ctx, cancel := context.WithCancel(q.ctx())
	defer cancel()
	s, at, err := q.wire.follow(ctx, after)
	if err != nil {
		return err
	}
	defer s.Close()
	select {
	case q.t.streams <- struct{}{}:
		defer func() { <-q.t.streams }()
	default:
		return busy("too many live subscriptions")
	}
	defer context.AfterFunc(q.life, cancel)()

	h := q.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	out := &eventWriter{w: q.ResponseWriter, control: http.NewResponseController(q.ResponseWriter), stall: q.t.stall, beat: q.t.beat, fail: cancel}
	_ = out.control.SetReadDeadline(time.Time{}) // the server's is for requests that end
	out.wake = s.wake
	q.begin(http.StatusOK)
	out.write([]byte(frameID + at.String() + frameEnd))
	out.flush()
	out.timer = time.AfterFunc(out.beat, s.wake) // after the flush, or the first beat may find that it is not time yet
	defer out.timer.Stop()

	err = s.run(ctx, out)
	switch {
	case q.life.Err() != nil && q.t.life.Err() == nil:
		err = ErrClosed // unmounted
	case q.ctx().Err() != nil || out.err != nil || q.t.life.Err() != nil:
		return nil
	}
	out.end(err)
	return nil
}

// eventWriter sends events, as many at a time as there are.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	beat    time.Duration
	wake    func()
	fail    context.CancelFunc
	timer   *time.Timer
	bounded time.Time // when the time for writing was set last
	flushed time.Time
	dirty   bool
	any     bool // a message was sent
	err     error
}

func (o *eventWriter) send(f *frame) {
	o.any = true
	o.write(f.event)
}

func (o *eventWriter) write(b []byte) {
	if o.err != nil {
		return
	}
	if now := time.Now(); now.Sub(o.bounded) > o.stall/8 {
		o.bounded = now
		_ = o.control.SetWriteDeadline(now.Add(o.stall)) // not every writer can
	}
	o.dirty = true
	if _, err := o.w.Write(b); err != nil {
		o.failed(err)
	}
}

func (o *eventWriter) failed(err error) {
	o.err = err
	o.fail()
}

func (o *eventWriter) flush() {
	if o.err != nil || !o.dirty {
		return
	}
	o.dirty = false
	o.flushed = time.Now()
	if err := o.control.Flush(); err != nil {
		o.failed(err)
	}
}

// idle is called when there is nothing to send: then all goes out, or a sign of life if it is time for one.
func (o *eventWriter) idle() {
	if !o.dirty && time.Since(o.flushed) >= o.beat {
		o.write([]byte(":\n\n"))
	}
	if o.dirty {
		o.flush()
		o.timer.Reset(o.beat)
	}
}

// missed tells a client that resumes what it missed; it reports whether the stream goes on.
func (o *eventWriter) missed(e *LaggedError) bool {
	if o.any {
		return false
	}
	o.event(eventMissed, struct {
		Missed uint64 `json:"missed"`
		AtMost bool   `json:"at_most"`
	}{e.Missed, e.AtMost})
	return true
}

func (o *eventWriter) event(name string, data any) {
	text, _ := json.Marshal(data)
	o.write([]byte("event: " + name + frameData + string(text) + frameEnd))
}

// end says why the stream ends.
func (o *eventWriter) end(err error) {
	name := eventFailed
	switch {
	case errors.Is(err, ErrExpired):
		name = eventExpired
	case errors.Is(err, ErrRevoked):
		name = eventRevoked
	case errors.Is(err, ErrClosed):
		name = eventClosed
	case errors.Is(err, ErrLagged):
		name = eventLagged
	}
	o.event(name, struct {
		Reason string `json:"reason"`
	}{name})
	o.flush()
}
