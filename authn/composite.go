package authn

import (
	"context"
	"fmt"
	"strconv"
)

// Composite is a handler made of others: the first that does not abstain has its answer, and where all abstain, so does
// it. One that fails has denied (diffusion.md 9.4). Its votes are those of the whole; the reason names the one.
type Composite struct{ entries []entry }

// NewComposite makes a handler of others, the highest priority first, or returns a chansec.InvalidError.
func NewComposite(handlers ...Entry) (*Composite, error) {
	entries, err := newEntries(handlers, DefaultCalls)
	if err != nil {
		return nil, err
	}
	return &Composite{entries}, nil
}

// Format writes no more than what it is, as that of Chain does.
func (c *Composite) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authn.Composite")) }

// Authenticate asks the handlers.
func (c *Composite) Authenticate(ctx context.Context, r *Request) (Response, error) {
	answer, votes := walk(ctx, c.entries, r, false)
	if answer == nil {
		return Response{Answer: Abstain, Reason: "all handlers abstained"}, nil
	}
	v := votes[len(votes)-1]
	answer.Reason = said(v.Handler, v.Reason)
	return *answer, v.Err
}

// said is the reason of a handler that speaks for another.
func said(who, reason string) string {
	if reason == "" {
		return strconv.Quote(who)
	}
	return strconv.Quote(who) + ": " + reason
}
