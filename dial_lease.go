package chansec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/internal/sse"
)

// remoteLease follows a stream of events. Its goroutine reads ahead by a few messages, and resumes when the connection
// breaks; it ends with the lease.
type remoteLease[T any] struct {
	remote *remote
	items  chan remoteItem[T] // closed when there will be no more
	life   context.Context
	cancel context.CancelFunc
	busy   atomic.Bool

	once  sync.Once
	done  chan struct{}
	cause error // read only after done was closed
}

type remoteItem[T any] struct {
	message Message[T]
	lagged  *LaggedError
}

// readAhead is how many messages wait for a consumer at this side. More wait at the server's.
const readAhead = 64

func (p remoteSubscribe[T]) Subscribe(ctx context.Context) (Lease[T], error) {
	return p.subscribe(ctx, nil)
}

func (p remoteSubscribe[T]) SubscribeAfter(ctx context.Context, after uuid.UUID) (Lease[T], error) {
	if after == uuid.Nil {
		after = uuid.Max // which no message has either
	}
	return p.subscribe(ctx, url.Values{"after": {after.String()}})
}

func (p remoteSubscribe[T]) SubscribeFunc(ctx context.Context, fn func(context.Context, Message[T]) error) (Lease[T], error) {
	if fn == nil {
		return nil, &InvalidError{What: "callback", Value: "nil", Want: "a function"}
	}
	l, err := p.subscribe(ctx, nil)
	if err != nil {
		return nil, err
	}
	go l.call(ctx, fn)
	return l, nil
}

func (p *remotePort[T]) subscribe(ctx context.Context, query url.Values) (*remoteLease[T], error) {
	r := p.remote
	life, cancel := context.WithCancel(r.life)
	l := &remoteLease[T]{remote: r, items: make(chan remoteItem[T], readAhead), life: life, cancel: cancel, done: make(chan struct{})}
	// The stream outlives the call, but opening it does not.
	stop := context.AfterFunc(ctx, cancel)
	s, err := l.open(query, "")
	if !stop() && err == nil {
		s.close()
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.life.Err() != nil {
		cancel()
		s.close()
		return nil, ErrClosed
	}
	r.leases.Go(func() {
		defer cancel()
		l.end(l.follow(s))
		close(l.items)
	})
	return l, nil
}

// remoteStream is one connection of a lease.
type remoteStream struct {
	events  *sse.Reader
	token   string
	place   string // behind which it begins
	silence *time.Timer
	after   time.Duration
	close   func()
}

// open opens a stream, behind a message if one is given, and waits for its first event, which tells the place: whoever is
// cut off before the first message can resume there.
func (l *remoteLease[T]) open(query url.Values, last string) (*remoteStream, error) {
	ctx, cancel := context.WithCancel(l.life)
	silence := time.AfterFunc(l.remote.silence, cancel)
	c := call{method: http.MethodGet, path: "/events", query: query, repeat: true}
	if last != "" {
		c.header = http.Header{lastEventID: {last}}
	}
	resp, token, err := l.remote.send(ctx, c)
	if err == nil {
		s := &remoteStream{token: token, silence: silence, after: l.remote.silence}
		s.close = func() {
			silence.Stop()
			cancel()
			_ = resp.Body.Close()
		}
		s.events = sse.NewReader(alive{resp.Body, silence, l.remote.silence}, maxEvent)
		var e sse.Event
		if e, err = s.events.Next(); err == nil && e.Name == "" && e.Data == "" {
			s.place = e.ID
			return s, nil
		}
		s.close()
		if err == nil {
			return nil, &finished{errors.New("chansec: the remote channel's stream does not begin with its place")}
		}
	}
	silence.Stop()
	if ctx.Err() != nil && l.life.Err() == nil {
		err = errors.New("no sign of life")
	}
	cancel()
	var refused *RemoteError
	if errors.As(err, &refused) || l.life.Err() != nil {
		return nil, err
	}
	return nil, fmt.Errorf("chansec: the remote channel cannot be reached: %w", err)
}

// end ends the lease, once.
func (l *remoteLease[T]) end(cause error) {
	l.once.Do(func() {
		l.cause = cause
		l.cancel()
		close(l.done)
	})
}

// finished is the end of a stream that says why.
type finished struct{ cause error }

func (e *finished) Error() string { return e.cause.Error() }

// follow reads the stream, and its continuations, until the lease ends. It returns why.
func (l *remoteLease[T]) follow(s *remoteStream) error {
	var (
		last    = s.place
		trouble time.Time // when it began; zero if there is none
		pause   = firstPause
	)
	for {
		began := time.Now()
		got, err := l.read(s, &last)
		s.close()
		if got || time.Since(began) > longestPause {
			trouble, pause = time.Time{}, firstPause
		}
		var end *finished
		if errors.As(err, &end) {
			if !errors.Is(end.cause, ErrExpired) || !l.renewed(s.token) {
				return end.cause
			}
		}
		for s = nil; s == nil; {
			if l.life.Err() != nil {
				return ErrClosed
			}
			wait := time.Duration(0)
			if trouble.IsZero() {
				trouble = time.Now() // the first attempt comes at once
			} else {
				wait = pause
				pause = min(2*pause, longestPause)
			}
			var refused *RemoteError
			if errors.As(err, &refused) {
				wait = max(wait, refused.RetryAfter)
			}
			left := l.remote.patience - time.Since(trouble)
			if left <= 0 || wait > left {
				return err
			}
			if wait > 0 {
				if err := pauseFor(l.life, l.life, wait); err != nil {
					return ErrClosed
				}
			}
			if s, err = l.open(nil, last); err == nil {
				break
			}
			if errors.As(err, &refused) && !passing(refused) {
				return ended(refused)
			}
			if errors.As(err, &end) {
				return end.cause
			}
		}
	}
}

// passing reports whether an answer may be another soon.
func passing(e *RemoteError) bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// ended is how a lease ends that may not be resumed.
func ended(e *RemoteError) error {
	if errors.Is(e, ErrPermission) {
		return &RevokedError{At: time.Now(), Cause: e}
	}
	return e
}

// renewed asks for another token than the one that a stream was opened with. It reports whether there is one.
func (l *remoteLease[T]) renewed(used string) bool {
	fresh, err := l.remote.credential(l.life, used)
	return err == nil && fresh != used
}

// read hands on the events of one stream. It reports whether there were messages, and returns a finished if the stream is not
// to be resumed.
func (l *remoteLease[T]) read(s *remoteStream, last *string) (got bool, err error) {
	for {
		e, err := s.events.Next()
		if errors.Is(err, sse.ErrTooLarge) {
			return got, &finished{fmt.Errorf("chansec: the remote channel's event cannot be read: %w", err)}
		}
		if err != nil {
			return got, err
		}
		var item remoteItem[T]
		switch {
		case e.Name == eventMissed:
			var m struct {
				Missed uint64 `json:"missed"`
				AtMost bool   `json:"at_most"`
			}
			if err := json.Unmarshal([]byte(e.Data), &m); err != nil {
				return got, &finished{fmt.Errorf("chansec: the remote channel's event cannot be read: %w", err)}
			}
			item.lagged = &LaggedError{m.Missed, m.AtMost}
		case e.Name != "":
			if err := final(e.Name); err != nil {
				return got, err
			}
			continue // one that a later server may have
		case e.Data == "":
			*last = e.ID
			continue
		default:
			if err := json.Unmarshal([]byte(e.Data), &item.message); err != nil {
				return got, &finished{fmt.Errorf("chansec: the remote channel's message cannot be read: %w", err)}
			}
		}
		s.silence.Stop() // a slow consumer is no broken connection
		select {
		case l.items <- item:
		case <-l.life.Done():
			return got, ErrClosed
		}
		s.silence.Reset(s.after)
		*last, got = e.ID, true
	}
}

// final is what the last event of a stream stands for. One that the client was too slow for is resumed, and tells then how
// much was missed. It is nil for an event that is not the last.
func final(name string) error {
	switch name {
	case eventRevoked:
		return &finished{&RevokedError{At: time.Now(), Cause: ErrPermission}}
	case eventExpired:
		return &finished{&RevokedError{At: time.Now(), Cause: ErrExpired}}
	case eventClosed:
		return &finished{ErrClosed}
	case eventLagged:
		return io.EOF
	case eventFailed:
		return &finished{errors.New("chansec: the remote channel ended the subscription")}
	}
	return nil
}

// alive puts off what happens after silence.
type alive struct {
	io.Reader
	silence *time.Timer
	after   time.Duration
}

func (a alive) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	if n > 0 {
		a.silence.Reset(a.after)
	}
	return n, err
}

func (l *remoteLease[T]) Messages(ctx context.Context) iter.Seq2[Message[T], error] {
	return func(yield func(Message[T], error) bool) {
		if !l.busy.CompareAndSwap(false, true) {
			yield(Message[T]{}, ErrBusy)
			return
		}
		defer l.busy.Store(false)
		for {
			if err := ctx.Err(); err != nil {
				yield(Message[T]{}, err)
				return
			}
			if errors.Is(l.Err(), ErrClosed) {
				yield(Message[T]{}, l.Err())
				return
			}
			select {
			case item, ok := <-l.items:
				switch {
				case !ok:
					yield(Message[T]{}, l.Err())
					return
				case item.lagged != nil:
					if !yield(Message[T]{}, item.lagged) {
						return
					}
				case !yield(item.message, nil):
					return
				}
			case <-ctx.Done():
			}
		}
	}
}

func (l *remoteLease[T]) Done() <-chan struct{} { return l.done }

func (l *remoteLease[T]) Err() error {
	select {
	case <-l.done:
		return l.cause
	default:
		return nil
	}
}

func (l *remoteLease[T]) Close() error {
	l.end(ErrClosed)
	return nil
}

// call calls fn for every message until the lease ends.
func (l *remoteLease[T]) call(ctx context.Context, fn func(context.Context, Message[T]) error) {
	end := errors.New("chansec: the callback ended its goroutine")
	defer func() {
		if r := recover(); r != nil {
			end = fmt.Errorf("chansec: the callback panicked with a %T", r)
		}
		l.end(end)
	}()
	for m, err := range l.Messages(ctx) {
		if err == nil {
			err = fn(ctx, m)
		}
		if err != nil {
			end = err
			return
		}
	}
}
