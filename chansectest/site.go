package chansectest

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/chansec/chansec"
)

// port is what a port can do. What its kind does not have is nil: the static types say so, which one cannot see by a type
// assertion.
type port struct {
	chansec.Writer[any]
	chansec.Reader[any]
	chansec.Subscriber[any]
	chansec.Worker[any]
	chansec.Host[any]
	chansec.Inspector
	writeTo func(ctx context.Context, recipientID string, content any) error
}

func ofPassthrough(p chansec.PassthroughPort[any]) port { return port{p, p, p, p, p, p, nil} }
func ofBroadcast(p chansec.BroadcastPort[any]) port     { return port{p, p, p, nil, p, p, nil} }
func ofWorkQueue(p chansec.WorkQueuePort[any]) port     { return port{p, nil, nil, p, p, p, nil} }
func ofMailbox(p chansec.MailboxPort[any]) port {
	return port{p, p, p, p, p, p, func(ctx context.Context, recipientID string, content any) error {
		_, err := p.WriteTo(ctx, recipientID, content)
		return err
	}}
}

// channel is what the four kinds of channel have in common.
type channel interface {
	Start(context.Context) error
	Authenticate(ctx context.Context, token string) (chansec.Caller, error)
	Close() error
}

// opened is a channel of some kind with what makes its ports.
type opened struct {
	channel
	as        func(systemID string) port
	forCaller func(chansec.Caller) port
}

// The kinds of channel that rules need one of, by their place in kinds.
const broadcast = 1

var kinds = []struct {
	name string
	open func(id string, opts ...chansec.Option) (opened, error)
}{
	{"passthrough channel", func(id string, opts ...chansec.Option) (opened, error) {
		c, err := chansec.NewPassthrough[any](id, opts...)
		return opened{c, func(id string) port { return ofPassthrough(c.As(id)) }, func(w chansec.Caller) port { return ofPassthrough(c.For(w)) }}, err
	}},
	{"broadcast channel", func(id string, opts ...chansec.Option) (opened, error) {
		c, err := chansec.NewBroadcast[any](id, opts...)
		return opened{c, func(id string) port { return ofBroadcast(c.As(id)) }, func(w chansec.Caller) port { return ofBroadcast(c.For(w)) }}, err
	}},
	{"work queue", func(id string, opts ...chansec.Option) (opened, error) {
		c, err := chansec.NewWorkQueue[any](id, opts...)
		return opened{c, func(id string) port { return ofWorkQueue(c.As(id)) }, func(w chansec.Caller) port { return ofWorkQueue(c.For(w)) }}, err
	}},
	{"mailbox", func(id string, opts ...chansec.Option) (opened, error) {
		c, err := chansec.NewMailbox[any](id, opts...)
		return opened{c, func(id string) port { return ofMailbox(c.As(id)) }, func(w chansec.Caller) port { return ofMailbox(c.For(w)) }}, err
	}},
}

// site is a channel that guards itself with the security under test.
type site struct {
	opened
	kind    string
	id      string
	events  *Recorder
	claimed atomic.Pointer[context.CancelFunc] // called when a claim was allowed
}

// openSite makes and starts a channel of a kind.
func openSite(ctx context.Context, kind int, id string, s chansec.ChannelSecurity) (*site, error) {
	k := kinds[kind]
	at := &site{kind: k.name, id: id, events: new(Recorder)}
	sink := chansec.AuditFunc(func(ctx context.Context, e chansec.Event) error {
		if cancel := at.claimed.Load(); cancel != nil && e.Operation == chansec.OpClaim && e.Outcome == chansec.Allowed {
			(*cancel)()
		}
		return at.events.Record(ctx, e)
	})
	var err error
	at.opened, err = k.open(id, chansec.WithSecurity(s), chansec.WithAudit(sink), chansec.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	return at, at.Start(ctx)
}

// operation is one thing that a port can do.
type operation struct {
	name string
	op   chansec.Operation
	do   func(context.Context) error
}

// noMessage is an ID that no channel made.
var noMessage = [16]byte{6: 0x70, 8: 0x80, 15: 1}

// operations returns everything that a port can do. Writes write the content.
func (at *site) operations(p port, content any) (list []operation) {
	add := func(name string, op chansec.Operation, do func(context.Context) error) {
		list = append(list, operation{name, op, do})
	}
	if p.Writer != nil {
		add("Write", chansec.OpWrite, func(ctx context.Context) error { _, err := p.Write(ctx, content); return err })
		add("WriteMessage", chansec.OpWrite, func(ctx context.Context) error {
			_, err := p.WriteMessage(ctx, chansec.Message[any]{Content: content})
			return err
		})
	}
	if p.writeTo != nil {
		add("WriteTo", chansec.OpWrite, func(ctx context.Context) error { return p.writeTo(ctx, helper, content) })
	}
	if p.Reader != nil {
		add("Read", chansec.OpRead, func(ctx context.Context) error { _, err := p.Read(ctx, 10); return err })
		add("ReadAfter", chansec.OpRead, func(ctx context.Context) error { _, err := p.ReadAfter(ctx, noMessage, 10); return err })
	}
	if p.Subscriber != nil {
		add("Subscribe", chansec.OpSubscribe, func(ctx context.Context) error { return closed(p.Subscribe(ctx)) })
		add("SubscribeAfter", chansec.OpSubscribe, func(ctx context.Context) error { return closed(p.SubscribeAfter(ctx, noMessage)) })
		add("SubscribeFunc", chansec.OpSubscribe, func(ctx context.Context) error {
			return closed(p.SubscribeFunc(ctx, func(context.Context, chansec.Message[any]) error { return nil }))
		})
	}
	if p.Worker != nil {
		add("Claim", chansec.OpClaim, func(ctx context.Context) error { _, err := p.Claim(ctx, 1); return err })
		add("ClaimNext", chansec.OpClaim, func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx) // so that it does not wait for a message that nobody writes
			defer cancel()
			at.claimed.Store(&cancel)
			defer at.claimed.Store(nil)
			_, err := p.ClaimNext(ctx)
			return err
		})
		receipt := chansec.Receipt{ID: noMessage, Attempt: 1}
		add("Acknowledge", chansec.OpAcknowledge, func(ctx context.Context) error { _, err := p.Acknowledge(ctx, receipt); return err })
		add("Nack", chansec.OpNack, func(ctx context.Context) error { _, err := p.Nack(ctx, receipt); return err })
		add("Extend", chansec.OpExtend, func(ctx context.Context) error { _, err := p.Extend(ctx, receipt); return err })
	}
	if p.Inspector != nil {
		add("Info", chansec.OpInfo, func(ctx context.Context) error { _, err := p.Info(ctx); return err })
	}
	if p.Host != nil {
		add("Len", chansec.OpAdmin, func(ctx context.Context) error { _, err := p.Len(ctx); return err })
		add("Remove", chansec.OpRemove, func(ctx context.Context) error { _, err := p.Remove(ctx, noMessage); return err })
		add("RemoveFunc", chansec.OpRemove, func(ctx context.Context) error {
			_, err := p.RemoveFunc(ctx, func(chansec.Message[any]) bool { return false })
			return err
		})
		add("EvictBefore", chansec.OpEvict, func(ctx context.Context) error { _, err := p.EvictBefore(ctx, time.Unix(1, 0)); return err })
		add("EvictBeyond", chansec.OpEvict, func(ctx context.Context) error { _, err := p.EvictBeyond(ctx, 1<<20); return err })
		add("Clear", chansec.OpClear, func(ctx context.Context) error { _, err := p.Clear(ctx); return err })
	}
	return list
}

func closed(l chansec.Lease[any], err error) error {
	if err == nil {
		_ = l.Close()
	}
	return err
}

// answer is how a guarded operation ended, as far as a security is concerned.
type answer string

const (
	yes       answer = "allowed"
	no        answer = "denied"
	undecided answer = "undecided"
)

// answerOf tells a denial from everything else that an operation may return.
func answerOf(err error) answer {
	switch {
	case errors.Is(err, chansec.ErrUndecided):
		return undecided
	case errors.Is(err, chansec.ErrPermission):
		return no
	}
	return yes
}
