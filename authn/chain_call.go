package authn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chansec/chansec"
)

// calls are those to one handler that have not returned yet.
type calls struct{ slots chan struct{} }

func newCalls(most int) *calls { return &calls{make(chan struct{}, most)} }

// call is a handler at work.
type call struct {
	ctx    context.Context
	cancel context.CancelFunc
	began  time.Time
	done   chan reply // holds one
}

type reply struct {
	response Response
	err      error
	took     time.Duration
}

// start asks a handler in a goroutine of its own, which ends when the handler returns. The handler gets a copy of the
// request: it may go on reading when the login is long over, and what it does to its copy concerns nobody. Whoever starts
// a call waits for it, or ends its context.
func (c *calls) start(ctx context.Context, h Handler, r *Request, limit time.Duration) *call {
	k := &call{began: time.Now(), done: make(chan reply, 1)}
	k.ctx, k.cancel = context.WithTimeout(ctx, limit)
	select {
	case c.slots <- struct{}{}:
	default:
		k.done <- reply{err: ErrOverloaded}
		return k
	}
	own, secret := r.clone(), string(r.Credentials)
	go func() {
		defer func() { <-c.slots }()
		k.run(h, own, secret)
	}()
	return k
}

func (k *call) run(h Handler, r *Request, secret string) {
	answer := reply{err: errEnded}
	defer func() {
		if p := recover(); p != nil {
			answer = reply{err: newPanicError(p)}
		}
		if k.ctx.Err() != nil {
			answer = reply{err: k.ended()}
		}
		answer.took = time.Since(k.began)
		k.done <- answer
	}()
	response, err := h.Authenticate(k.ctx, r)
	if holds(response.Reason, secret) {
		response.Reason = concealed
	}
	if err != nil && holds(err.Error(), secret) {
		if errors.Is(err, chansec.ErrUnauthenticated) && !errors.Is(err, chansec.ErrUndecided) {
			err = fmt.Errorf("%w: %s", chansec.ErrUnauthenticated, concealed)
		} else {
			err = errors.New("authn: the handler failed: " + concealed)
		}
	}
	answer = reply{response: response, err: err}
}

// concealed stands for what a handler should not have said.
const concealed = "(concealed: it held the credentials)"

// holds reports whether a text has the credentials in it, if they are long enough for that to be no accident.
func holds(text, secret string) bool {
	if len(secret) < 4 {
		return false
	}
	quoted := strconv.Quote(secret) // as %q writes it
	return strings.Contains(text, secret) || strings.Contains(text, quoted[1:len(quoted)-1])
}

// errEnded: the handler ended its goroutine.
var errEnded = errors.New("authn: the handler did not return")

// errGone: the handler was taken away while it was asked.
var errGone = errors.New("authn: the handler is gone")

// wait waits for the answer, for the time-out, or until the handler is gone; nil is never.
func (k *call) wait(gone <-chan struct{}) (Response, time.Duration, error) {
	defer k.cancel()
	select {
	case answer := <-k.done:
		return answer.response, answer.took, answer.err
	case <-gone:
		return Response{}, time.Since(k.began), errGone
	case <-k.ctx.Done():
	}
	select {
	case answer := <-k.done: // it came in time, we did not
		return answer.response, answer.took, answer.err
	default:
		return Response{}, time.Since(k.began), k.ended()
	}
}

// ended is why the handler's time was over.
func (k *call) ended() error {
	if err := k.ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &TimeoutError{After: time.Since(k.began)}
}

// TimeoutError says that a handler did not answer in time. It is context.DeadlineExceeded.
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string {
	return "authn: the handler gave no answer within " + e.After.String()
}

// Is makes the error context.DeadlineExceeded.
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// PanicError says that a handler panicked. What it panicked with may hold credentials, so only its type is kept.
type PanicError struct {
	Type  string
	Stack []byte // of the goroutine
}

func newPanicError(p any) error { return &PanicError{fmt.Sprintf("%T", p), debug.Stack()} }

// recovered makes an error of a panic. It is to be deferred.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = newPanicError(p)
	}
}

func (e *PanicError) Error() string { return "authn: panic with a " + e.Type }

// clone returns a copy that shares nothing that could be changed.
func (r *Request) clone() *Request {
	own := *r
	own.Credentials = slices.Clone(r.Credentials)
	own.Properties, own.Proposed = maps.Clone(r.Properties), maps.Clone(r.Proposed)
	own.Roles = slices.Clone(r.Roles)
	own.Connection.Header = r.Connection.Header.Clone()
	return &own
}
