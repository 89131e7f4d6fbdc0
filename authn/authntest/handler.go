// Package authntest checks what users of the package authn write themselves: handlers.
package authntest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/authn"
)

// Expectations say how a handler must answer. Its answers to equal requests must be equal.
//
// A good one lists, for every request that is let in, a neighbour that is not.
type Expectations struct {
	Allow, Deny, Abstain []authn.Request

	// Unproved says that the handler lets people in without a proof, as authn.None does: it is not expected to look at
	// credentials.
	Unproved bool
}

// TestHandler checks a handler.
func TestHandler(t *testing.T, h authn.Handler, want Expectations) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Log(r.rule)
			x := &trial{ctx: t.Context(), handler: h, want: want}
			r.check(x)
			for _, p := range x.problems {
				t.Error(p)
			}
		})
	}
}

// rules are what a Handler promises.
var rules = []struct {
	name, rule string
	check      func(*trial)
}{
	{"answers", "Every request has the answer that is expected, as often as it is asked.", checkAnswers},
	{"proof", "Whoever is let in has a name that channels take, or is anonymous, and a proof unless there is none.", checkProof},
	{"neighbours", "Credentials that are not quite those of somebody who is let in let nobody in.", checkNeighbours},
	{"nothing", "A request without anything is not let in by a proof.", checkNothing},
	{"read only", "The request is the same afterwards.", checkReadOnly},
	{"secrets", "Neither an answer's reason nor an error, nor the handler itself, shows credentials.", checkSecrets},
	{"many", "Many callers at once get the same answers.", checkMany},
	{"contexts", "A context that has ended lets nobody wait for long.", checkContexts},
}

// longest is how long a handler may take for a context that has ended: as long as one password takes on a slow machine.
const longest = 10 * time.Second

type trial struct {
	ctx     context.Context
	handler authn.Handler
	want    Expectations

	mu       sync.Mutex
	problems []string
}

func (x *trial) errorf(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.problems = append(x.problems, fmt.Sprintf(format, args...))
}

// ask asks the handler, with a copy of the request.
func (x *trial) ask(ctx context.Context, r authn.Request) (authn.Response, error) {
	own := copyOf(r)
	return x.call(ctx, &own)
}

// call asks the handler. A panic is a problem.
func (x *trial) call(ctx context.Context, r *authn.Request) (answer authn.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			x.errorf("the handler panicked with a %T at %v", p, r)
		}
	}()
	return x.handler.Authenticate(ctx, r)
}

// each asks for every request, and says what the answer is to be.
func (x *trial) each(f func(r authn.Request, want authn.Answer)) {
	for want, list := range [...][]authn.Request{authn.Deny: x.want.Deny, authn.Allow: x.want.Allow, authn.Abstain: x.want.Abstain} {
		for _, r := range list {
			f(r, authn.Answer(want))
		}
	}
}

func (x *trial) expect(r authn.Request, want authn.Answer) {
	switch got, err := x.ask(x.ctx, r); {
	case err != nil:
		x.errorf("%v: want %s, got an error: %v", r, want, err)
	case got.Answer != want:
		x.errorf("%v: want %s, got %s (%s)", r, want, got.Answer, got.Reason)
	}
}

func checkAnswers(x *trial) {
	if len(x.want.Allow)+len(x.want.Deny)+len(x.want.Abstain) == 0 {
		x.errorf("nothing is expected")
	}
	for range 3 {
		x.each(x.expect)
	}
}

func checkProof(x *trial) {
	for _, r := range x.want.Allow {
		got, err := x.ask(x.ctx, r)
		if err != nil || got.Answer != authn.Allow {
			continue // which is another rule
		}
		name := got.Principal
		if name == "" {
			name = r.Principal
		}
		if name != "" && chansec.CheckSystemID(name) != nil {
			x.errorf("%v: the principal is %q, which no channel takes", r, name)
		}
		if got.Proof == chansec.ProofNone && name != "" && !x.want.Unproved {
			x.errorf("%v: there is no proof", r)
		}
		if got.Proof != chansec.ProofNone && x.want.Unproved {
			x.errorf("%v: the proof is %q, and there is to be none", r, got.Proof)
		}
		if slices.Contains(got.Roles, "") {
			x.errorf("%v: one of the roles has no name", r)
		}
	}
}

func checkNeighbours(x *trial) {
	if x.want.Unproved {
		return
	}
	for _, r := range x.want.Allow {
		c := r.Credentials
		if len(c) == 0 {
			continue
		}
		half := len(c) / 2
		for name, other := range map[string][]byte{
			"none": nil, "empty ones": {}, "all but the last byte": c[:len(c)-1], "all but the first byte": c[1:],
			"a NUL after": append(slices.Clone(c), 0), "a blank after": append(slices.Clone(c), ' '), "a blank before": append([]byte{' '}, c...),
			"twice": slices.Concat(c, c), "in upper case": bytes.ToUpper(c), "in lower case": bytes.ToLower(c),
			"another bit in the middle": slices.Concat(c[:half], []byte{c[half] ^ 1}, c[half+1:]), "zeros": make([]byte, len(c)),
		} {
			changed := r
			changed.Credentials = other
			if bytes.Equal(other, c) {
				continue
			}
			if got, err := x.ask(x.ctx, changed); err == nil && got.Answer == authn.Allow && (got.Proof != chansec.ProofNone || got.Principal != "" || r.Principal != "") {
				x.errorf("%v: let in with other credentials: %s", r, name)
			}
		}
	}
}

func checkNothing(x *trial) {
	got, err := x.ask(x.ctx, authn.Request{})
	if err == nil && got.Answer == authn.Allow && got.Proof != chansec.ProofNone {
		x.errorf("let in with the proof %q", got.Proof)
	}
}

func checkReadOnly(x *trial) {
	x.each(func(r authn.Request, _ authn.Answer) {
		given := copyOf(r)
		_, _ = x.call(x.ctx, &given)
		same := given.Principal == r.Principal && given.Change == r.Change && bytes.Equal(given.Credentials, r.Credentials) &&
			slices.Equal(given.Roles, r.Roles) && maps.Equal(given.Properties, r.Properties) && maps.Equal(given.Proposed, r.Proposed) &&
			maps.EqualFunc(given.Connection.Header, r.Connection.Header, slices.Equal[[]string])
		if !same {
			x.errorf("%v: the request was changed", r)
		}
	})
}

func checkSecrets(x *trial) {
	x.each(func(r authn.Request, _ authn.Answer) {
		for _, secret := range []string{string(r.Credentials), "nobody's password 5c1e"} {
			if len(secret) < 4 || secret == r.Principal {
				continue
			}
			changed := r
			changed.Credentials = []byte(secret)
			got, err := x.ask(x.ctx, changed)
			shown := fmt.Sprintf("%v %+v %#v %s", err, err, err, got.Reason) + fmt.Sprintf("%v %+v %#v", x.handler, x.handler, x.handler)
			if strings.Contains(shown, secret) {
				x.errorf("%v: the credentials are shown", r)
			}
		}
	})
}

func checkMany(x *trial) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { x.each(x.expect) })
	}
	wg.Wait()
}

func checkContexts(x *trial) {
	ctx, cancel := context.WithCancel(x.ctx)
	cancel()
	x.each(func(r authn.Request, want authn.Answer) {
		type reply struct {
			answer authn.Answer
			err    error
		}
		done := make(chan reply, 1)
		go func() {
			got, err := x.ask(ctx, r)
			done <- reply{got.Answer, err}
		}()
		select {
		case got := <-done:
			if got.err == nil && got.answer == authn.Allow && want != authn.Allow {
				x.errorf("%v: let in", r)
			}
		case <-time.After(longest):
			x.errorf("%v: no answer after %v", r, longest)
		}
	})
}

func copyOf(r authn.Request) authn.Request {
	r.Credentials = slices.Clone(r.Credentials)
	r.Roles = slices.Clone(r.Roles)
	r.Properties, r.Proposed = maps.Clone(r.Properties), maps.Clone(r.Proposed)
	r.Connection.Header = http.Header(maps.Clone(r.Connection.Header)).Clone()
	return r
}
