package chansectest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Option changes how a suite runs.
type Option func(*options)

type options struct {
	patience time.Duration
	skip     map[string]string
	claim    time.Duration
}

// Skip leaves out the rule of a name. The subtest is reported as skipped, with the reason.
func Skip(rule, reason string) Option {
	return func(o *options) { o.skip[rule] = reason }
}

// Patience sets how long a suite waits for what must happen at last, such as the end of a lease; 10 seconds otherwise.
// Rules that are kept do not take that long.
func Patience(d time.Duration) Option {
	return func(o *options) { o.patience = d }
}

// ShortestClaim sets the claim timeout with which TestDriver tests that deadlines pass; 20 milliseconds otherwise. A
// backend that rounds timeouts up says so by it.
func ShortestClaim(d time.Duration) Option {
	return func(o *options) { o.claim = d }
}

func newOptions(opts []Option) options {
	o := options{patience: 10 * time.Second, claim: 20 * time.Millisecond, skip: make(map[string]string)}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// rule is one promise. Its check tells the trial what is wrong, rather than a *testing.T, so that the tests of this package
// can see that it finds something wrong.
type rule[X any] struct {
	name  string
	why   string // what it demands, for those who broke it
	check func(X)
}

// trial is one run of one rule.
type trial struct {
	*testing.T
	options

	mu       sync.Mutex
	problems []string
	skipped  string
}

// mostProblems is how many violations of one rule are printed.
const mostProblems = 10

// wrong records a violation. It may be called from any goroutine.
func (x *trial) wrong(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := fmt.Sprintf(format, args...); !slices.Contains(x.problems, p) {
		x.problems = append(x.problems, p)
	}
}

// stop records a violation after which the rule cannot go on. It is for the goroutine of the rule only.
func (x *trial) stop(format string, args ...any) {
	x.wrong(format, args...)
	panic(stopped{})
}

type stopped struct{}

// do runs a check until its end or until it stops.
func (x *trial) do(check func()) {
	defer func() {
		if r := recover(); r != nil && r != (stopped{}) {
			panic(r)
		}
	}()
	check()
}

// broken reports whether something is wrong already.
func (x *trial) broken() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.problems) > 0
}

// leaveOut says that the rule does not apply.
func (x *trial) leaveOut(reason string) { x.skipped = reason }

// run is one subtest.
func run[X any](t *testing.T, r rule[X], o options, start func(*trial) X) {
	t.Run(r.name, func(t *testing.T) {
		if reason, ok := o.skip[r.name]; ok {
			t.Skip(reason)
		}
		x := &trial{T: t, options: o}
		x.do(func() { r.check(start(x)) })
		switch report := x.report(r.why); {
		case report != "":
			t.Error(report)
		case x.skipped != "":
			t.Skip(x.skipped)
		}
	})
}

// report is what is printed of a rule that is broken.
func (x *trial) report(why string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.problems) == 0 {
		return ""
	}
	lines := slices.Clone(x.problems[:min(mostProblems, len(x.problems))])
	if more := len(x.problems) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n") + "\nThe rule: " + why
}

// within waits for a channel. It reports false if that takes longer than the trial's patience.
func (x *trial) within(ch <-chan struct{}) bool {
	t := time.NewTimer(x.patience)
	defer t.Stop()
	select {
	case <-ch:
		return true
	case <-t.C:
		return false
	}
}

// returns reports whether a call returns within the trial's patience.
func (x *trial) returns(call func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	return x.within(done)
}

// safely runs a call and reports whether it did not panic; what says what was called.
func (x *trial) safely(what string, call func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			x.wrong("%s panicked: %v", what, r)
		}
	}()
	call()
	return true
}

// must ends the test for a failure that no rule is about.
func (x *trial) must(what string, err error) {
	x.Helper()
	if err != nil {
		x.Fatalf("%s: %v", what, err)
	}
}
