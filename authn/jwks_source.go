package authn

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec/internal/token"
)

// jwksSource has the keys of one issuer. Those that are given never change. Those that are fetched are fetched on demand:
// when there are none, when they are old, or when a token was signed with none of them; one fetch at a time, and at most one
// per interval, whatever it comes to.
type jwksSource struct {
	fetch    func(ctx context.Context) (*token.KeySet, error) // nil: the keys are given
	out      *outbound
	interval time.Duration // between the starts of two fetches
	refresh  time.Duration // from this age on, new keys are fetched while the old ones serve
	maxStale time.Duration // from this age on, keys are no keys
	timeout  time.Duration // of a fetch

	fetched atomic.Pointer[jwksFetched]

	waiting atomic.Int32 // callers who have keys and wait for newer ones

	mu      sync.Mutex
	last    time.Time     // when the last fetch started
	flight  chan struct{} // closed when the fetch that runs has ended; nil if none runs
	problem error         // of the last fetch
}

// jwksFetched is keys and when they were asked for.
type jwksFetched struct {
	keys *token.KeySet
	at   time.Time
}

// age is how old the keys are. The monotonic clock stops while the machine sleeps, the other one can be set back: the
// greater age counts.
func (f *jwksFetched) age(now time.Time) time.Duration {
	return max(now.Sub(f.at), now.Round(0).Sub(f.at.Round(0)))
}

// current returns the keys in force. It waits for a fetch only if there are none.
func (s *jwksSource) current(ctx context.Context) (*jwksFetched, error) {
	f := s.fetched.Load()
	if s.fetch == nil {
		return f, nil
	}
	if f != nil {
		age := f.age(time.Now())
		if age >= s.refresh {
			s.start()
		}
		if age < s.maxStale {
			return f, nil
		}
	}
	return s.renewed(ctx, f)
}

// renewed returns keys that are newer than some, if there are any or can be had now; otherwise those, if they are in force.
// The error says why there is nothing newer: it is nil if a fetch is not due.
func (s *jwksSource) renewed(ctx context.Context, than *jwksFetched) (*jwksFetched, error) {
	f := s.fetched.Load()
	var problem error
	if s.fetch != nil && f == than {
		if err := s.await(ctx, than != nil); err != nil {
			return nil, err
		}
		f = s.fetched.Load()
		if f == than {
			s.mu.Lock()
			problem = s.problem
			s.mu.Unlock()
		}
	}
	if f == nil || s.fetch != nil && f.age(time.Now()) >= s.maxStale {
		if problem == nil {
			problem = jwksStale
		}
		return nil, problem
	}
	return f, problem
}

const (
	jwksStale jwksProblem = "it is too old"
	jwksBusy  jwksProblem = "too many wait for a newer one"
)

// maxJWKSWaiting bounds those who have keys and wait for newer ones: anybody can make up a token that none of the keys has
// signed, and a slow issuer must not let them keep the others from being heard.
const maxJWKSWaiting = 64

// await waits for a fetch, if one runs or is due. The error is that of the context, or jwksBusy.
func (s *jwksSource) await(ctx context.Context, bounded bool) error {
	flight := s.start()
	if flight == nil {
		return nil
	}
	if bounded {
		defer s.waiting.Add(-1)
		if s.waiting.Add(1) > maxJWKSWaiting {
			return jwksBusy
		}
	}
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start starts a fetch, if it is time for one. It returns a channel that is closed when the fetch that runs has ended, or
// nil if none runs.
func (s *jwksSource) start() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.flight != nil || !s.last.IsZero() && now.Sub(s.last) < s.interval {
		return s.flight
	}
	// The fetch is for everybody who waits, and does not end with the first of them.
	ctx, end, err := s.out.begin(context.Background(), s.timeout)
	if err != nil {
		s.problem = err
		return nil
	}
	flight := make(chan struct{})
	s.last, s.flight = now, flight
	go func() {
		defer end()
		keys, err := s.fetch(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			s.fetched.Store(&jwksFetched{keys, now})
		}
		s.problem, s.flight = err, nil
		close(flight)
	}()
	return flight
}

// jwksStatus and the like are why a document could not be fetched.
const (
	jwksStatus outboundProblem = "the server did not answer with status 200"
	jwksType   outboundProblem = "the answer is not JSON in UTF-8"
)

// fetchDocument returns a JSON document. The error is a constant text, or that of the context.
func fetchDocument(ctx context.Context, out *outbound, at *url.URL) (string, error) {
	answer, err := out.do(ctx, http.MethodGet, at, http.Header{"Accept": {"application/json"}}, "")
	switch {
	case err != nil:
		return "", err
	case answer.status != http.StatusOK:
		return "", jwksStatus
	case !answer.isJSON():
		return "", jwksType
	}
	return answer.body, nil
}
