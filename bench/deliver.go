package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/dunglas/mercure"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/chansec/chansec"
)

// Delivery: one operation is one message that one writer writes and every subscriber gets. Pipelined, the writer goes on
// while subscribers drain, with a bounded number of messages on their way. Parked, each message waits until
// everybody has got the one before. The time of the parked Write alone is a row of its own.

const (
	bufferedMessages = 1024            // of a Go channel
	inFlight         = 768             // messages on their way, pipelined; Mercure cuts off who is 1000 behind
	lost             = 2 * time.Minute // a round takes about a second
)

// A meter counts what arrives and holds the writer back. Arrivals are counted in steps of so many messages; the writer
// may be a fixed number of steps ahead of the slowest subscriber.
type meter struct {
	subs, step, ahead int
	unordered         bool // the contender promises no order
	target            atomic.Int64
	arrived           []counter // subscribers that finished the step, in a circle
	credit            chan struct{}
	wrong             atomic.Int64
}

type counter struct {
	n atomic.Int64
	_ [56]byte // one cache line each
}

func newMeter(subs, step, ahead int) *meter {
	m := &meter{subs: subs, step: step, ahead: ahead, arrived: make([]counter, ahead), credit: make(chan struct{}, ahead)}
	for range ahead {
		m.credit <- struct{}{}
	}
	return m
}

// A receiver is one subscriber's end of the meter.
type receiver struct {
	m             *meter
	n, sum, steps int
	_             [32]byte
}

// got takes one message; messages of a run are numbered from 1.
func (r *receiver) got(seq uint64) {
	r.n++
	r.sum += int(seq)
	if !r.m.unordered && seq != uint64(r.n) {
		r.m.wrong.Add(1)
	}
	target := int(r.m.target.Load())
	if r.n%r.m.step != 0 && r.n != target {
		return
	}
	m, slot := r.m, &r.m.arrived[r.steps%r.m.ahead]
	r.steps++
	if r.n == target {
		if r.sum != target*(target+1)/2 {
			m.wrong.Add(1)
		}
		r.n, r.sum, r.steps = 0, 0, 0
	}
	if slot.n.Add(1) == int64(m.subs) {
		slot.n.Store(0)
		m.credit <- struct{}{}
	}
}

// run writes n messages and returns when every subscriber has got all of them.
func (m *meter) run(n int, write func(seq uint64) error) error {
	late := time.NewTimer(lost)
	defer late.Stop()
	wait := func() error {
		select {
		case <-m.credit:
			return nil
		case <-late.C:
			return fmt.Errorf("some of %d messages did not reach every subscriber within %v", n, lost)
		}
	}
	m.target.Store(int64(n))
	for i := range n {
		if i%m.step == 0 {
			if err := wait(); err != nil {
				return err
			}
		}
		if err := write(uint64(i + 1)); err != nil {
			return err
		}
	}
	for range m.ahead {
		if err := wait(); err != nil {
			return err
		}
	}
	for range m.ahead {
		m.credit <- struct{}{}
	}
	if n := m.wrong.Load(); n > 0 {
		return fmt.Errorf("%w: %d messages out of order, doubled or missing", errWrong, n)
	}
	return nil
}

// A bus is an opened way of delivery.
type bus struct {
	write     func(seq uint64) error
	check     func() error // further answers, such as who is refused; may be nil
	close     func()
	unordered bool
	inFlight  int // fewer than the usual messages on their way; 0 is the usual
}

// A busOpener starts so many subscribers, each of which calls got for every message, one at a time.
type busOpener func(subs int, got func(sub int, seq uint64)) (bus, error)

var buses = []struct {
	name string
	open busOpener
}{
	{"floor: Go channels", openGoChannels},
	{"floor: locked fan-out", openLocked},
	{"chansec, ACL", openBroadcastACL},
	{"chansec, callers with JWT", openBroadcastJWT},
	{"watermill gochannel", openWatermill},
	{"nats in-process", openNATS},
	{"mercure local transport", openMercure},
}

func deliverGroups(s scale) (out []group) {
	for _, subs := range s.subs {
		var g group
		for _, mode := range []string{"pipelined", "parked", "write"} {
			for _, k := range buses {
				g = append(g, contender{
					row: "deliver/" + mode + "/" + count(subs), name: k.name, floor: k.name == "floor: Go channels",
					open: func() (*work, error) { return openBus(k.open, subs, mode) },
				})
			}
		}
		out = append(out, g)
	}
	return out
}

func openBus(open busOpener, subs int, mode string) (*work, error) {
	receivers := make([]receiver, subs)
	b, err := open(subs, func(sub int, seq uint64) { receivers[sub].got(seq) })
	if err != nil {
		return nil, err
	}
	m := newMeter(subs, 1, 1)
	if mode == "pipelined" {
		if b.inFlight == 0 {
			b.inFlight = inFlight
		}
		m = newMeter(subs, max(1, b.inFlight/3), 3)
	}
	m.unordered = b.unordered
	for i := range receivers {
		receivers[i].m = m
	}
	w := &work{close: b.close}
	w.check = func() error {
		if err := m.run(1000, b.write); err != nil || b.check == nil {
			return err
		}
		return b.check()
	}
	w.bench = func(tb *testing.B) error { return m.run(tb.N, b.write) }
	if w.mixed = mode == "write"; w.mixed {
		w.bench = func(tb *testing.B) error {
			var took time.Duration
			err := m.run(tb.N, func(seq uint64) error {
				time.Sleep(100 * time.Microsecond) // the last ones to get a message have to park, too
				start := time.Now()
				err := b.write(seq)
				took += time.Since(start)
				return err
			})
			tb.ReportMetric(float64(took)/float64(tb.N), "ns/op")
			return err
		}
	}
	return w, nil
}

// openGoChannels is the floor: a buffered Go channel for each subscriber.
func openGoChannels(subs int, got func(int, uint64)) (bus, error) {
	chans := make([]chan uint64, subs)
	var wg sync.WaitGroup
	for i := range chans {
		ch := make(chan uint64, bufferedMessages)
		chans[i] = ch
		wg.Go(func() {
			for seq := range ch {
				got(i, seq)
			}
		})
	}
	return bus{
		write: func(seq uint64) error {
			for _, ch := range chans {
				ch <- seq
			}
			return nil
		},
		close: func() {
			for _, ch := range chans {
				close(ch)
			}
			wg.Wait()
		},
	}, nil
}

// lockedQueue is a subscriber of the locked fan-out.
type lockedQueue struct {
	mu     sync.Mutex
	wake   sync.Cond
	queue  []uint64
	closed bool
}

func (q *lockedQueue) push(seq uint64, closed bool) {
	q.mu.Lock()
	if closed {
		q.closed = true
	} else {
		q.queue = append(q.queue, seq)
	}
	q.mu.Unlock()
	q.wake.Signal()
}

// take swaps the queue for an empty one; it waits until there is something.
func (q *lockedQueue) take(empty []uint64) []uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.queue) == 0 && !q.closed {
		q.wake.Wait()
	}
	full := q.queue
	q.queue = empty
	return full
}

func openLocked(subs int, got func(int, uint64)) (bus, error) {
	var (
		mu     sync.Mutex // of the list of subscribers
		queues = make([]*lockedQueue, subs)
		wg     sync.WaitGroup
	)
	for i := range queues {
		q := &lockedQueue{}
		q.wake.L = &q.mu
		queues[i] = q
		wg.Go(func() {
			for batch := q.take(nil); len(batch) > 0; batch = q.take(batch[:0]) {
				for _, seq := range batch {
					got(i, seq)
				}
			}
		})
	}
	push := func(seq uint64, closed bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, q := range queues {
			q.push(seq, closed)
		}
	}
	return bus{
		write: func(seq uint64) error { push(seq, false); return nil },
		close: func() { push(0, true); wg.Wait() },
	}, nil
}

// openBroadcastACL is ours, wired in the program; the ACL is asked for every write, and again by every lease when it changes.
func openBroadcastACL(subs int, got func(int, uint64)) (bus, error) {
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("writer"), chansec.ACLRead("reader"))
	if err != nil {
		return bus{}, err
	}
	return openBroadcast(acl, subs, got, func(ch *chansec.BroadcastChannel[uint64], name string, _ chansec.Role) (chansec.BroadcastPort[uint64], error) {
		return ch.As(name), nil
	})
}

// openBroadcastJWT is ours as a transport has it: whoever writes or subscribes holds a token.
func openBroadcastJWT(subs int, got func(int, uint64)) (bus, error) {
	w, err := newWallet("HS256", 0)
	if err != nil {
		return bus{}, err
	}
	sec, err := openJWT(w, 1024)
	if err != nil {
		return bus{}, err
	}
	return openBroadcast(sec, subs, got, func(ch *chansec.BroadcastChannel[uint64], name string, role chansec.Role) (chansec.BroadcastPort[uint64], error) {
		ctx := context.Background()
		channel := ch.ID()
		if name == nobody {
			channel = "another"
		}
		text, err := sec.GenerateToken(ctx, chansec.TokenRequest{SystemID: name, Role: role, Channels: []string{channel}, ExpiresIn: 12 * time.Hour})
		if err != nil {
			return nil, err
		}
		caller, err := ch.Authenticate(ctx, text)
		if err != nil {
			return nil, err
		}
		return ch.For(caller), nil
	})
}

func openBroadcast(sec chansec.ChannelSecurity, subs int, got func(int, uint64),
	portOf func(ch *chansec.BroadcastChannel[uint64], name string, role chansec.Role) (chansec.BroadcastPort[uint64], error),
) (bus, error) {
	ctx := context.Background()
	ch, err := chansec.NewBroadcast[uint64](channelID, chansec.WithSecurity(sec))
	if err != nil {
		return bus{}, err
	}
	writer, err := portOf(ch, "writer", chansec.RoleWrite)
	if err != nil {
		return bus{}, err
	}
	var wg sync.WaitGroup
	for i := range subs {
		reader, err := portOf(ch, "reader", chansec.RoleRead)
		if err != nil {
			return bus{}, err
		}
		lease, err := reader.Subscribe(ctx)
		if err != nil {
			return bus{}, err
		}
		wg.Go(func() {
			for m, err := range lease.Messages(ctx) {
				if err != nil {
					return
				}
				got(i, m.Content)
			}
		})
	}
	return bus{
		write: func(seq uint64) error {
			_, err := writer.Write(ctx, seq)
			return err
		},
		check: func() error {
			reader, err := portOf(ch, "reader", chansec.RoleRead)
			if err != nil {
				return err
			}
			if _, err := reader.Write(ctx, 0); !errors.Is(err, chansec.ErrPermission) {
				return fmt.Errorf("a reader wrote: %v", err)
			}
			stranger, err := portOf(ch, nobody, chansec.RoleRead)
			if err != nil {
				return err
			}
			if _, err := stranger.Subscribe(ctx); !errors.Is(err, chansec.ErrPermission) {
				return fmt.Errorf("a stranger subscribed: %v", err)
			}
			return nil
		},
		close: func() { _ = ch.Close(); wg.Wait() },
	}, ch.Start(ctx)
}

// openWatermill keeps fewer messages on their way: gochannel starts a goroutine per message and subscriber.
func openWatermill(subs int, got func(int, uint64)) (bus, error) {
	ps := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: bufferedMessages}, watermill.NopLogger{})
	for i := range subs {
		messages, err := ps.Subscribe(context.Background(), channelID)
		if err != nil {
			return bus{}, err
		}
		go func() {
			for m := range messages {
				got(i, binary.BigEndian.Uint64(m.Payload))
				m.Ack()
			}
		}()
	}
	return bus{
		write: func(seq uint64) error {
			return ps.Publish(channelID, message.NewMessage(watermill.NewUUID(), binary.BigEndian.AppendUint64(nil, seq)))
		},
		close:     func() { _ = ps.Close() },
		unordered: true,
		inFlight:  min(inFlight, max(3, 48_000/subs)),
	}, nil
}

// startNATS starts a server that listens nowhere.
func startNATS(o server.Options) (*server.Server, error) {
	o.DontListen, o.NoSigs, o.NoLog = true, true, true
	s, err := server.NewServer(&o)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("nats-server did not start")
	}
	return s, nil
}

// openNATS has one connection for the writer and one for all subscribers; their rights differ, and are checked.
func openNATS(subs int, got func(int, uint64)) (bus, error) {
	s, err := startNATS(server.Options{Users: []*server.User{
		{Username: "writer", Password: "w", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{channelID}},
			Subscribe: &server.SubjectPermission{Deny: []string{">"}}}},
		{Username: "reader", Password: "r", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Deny: []string{">"}},
			Subscribe: &server.SubjectPermission{Allow: []string{channelID}}}},
	}})
	if err != nil {
		return bus{}, err
	}
	refused := make(chan error, 16)
	connect := func(user, password string) (*nats.Conn, error) {
		return nats.Connect("", nats.InProcessServer(s), nats.UserInfo(user, password),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	}
	writer, err := connect("writer", "w")
	if err != nil {
		return bus{}, err
	}
	reader, err := connect("reader", "r")
	if err != nil {
		return bus{}, err
	}
	for i := range subs {
		_, err := reader.Subscribe(channelID, func(m *nats.Msg) { got(i, binary.BigEndian.Uint64(m.Data)) })
		if err != nil {
			return bus{}, err
		}
	}
	return bus{
		write: func(seq uint64) error {
			return writer.Publish(channelID, binary.BigEndian.AppendUint64(nil, seq))
		},
		check: func() error {
			if err := reader.Publish(channelID, nil); err != nil {
				return err
			}
			select {
			case err := <-refused:
				if !errors.Is(err, nats.ErrPermissionViolation) {
					return fmt.Errorf("not a permissions violation: %w", err)
				}
				return nil
			case <-time.After(5 * time.Second):
				return errors.New("nats let a reader publish")
			}
		},
		close: func() {
			writer.Close()
			reader.Close()
			s.Shutdown()
			s.WaitForShutdown()
		},
	}, reader.Flush()
}

// openMercure sends private updates, which reach those subscribers only that were allowed the topic.
func openMercure(subs int, got func(int, uint64)) (bus, error) {
	const topic = "https://example.com/readings"
	var (
		ctx       = context.Background()
		log       = slog.New(slog.NewTextHandler(io.Discard, nil))
		transport = mercure.NewLocalTransport(mercure.NewSubscriberList(mercure.DefaultSubscriberListCacheSize))
		wg        sync.WaitGroup
	)
	store, err := mercure.NewTopicSelectorStore(mercure.DefaultTopicSelectorStoreCacheSize)
	if err != nil {
		return bus{}, err
	}
	subscribe := func(allowed []string) (*mercure.LocalSubscriber, error) {
		s := mercure.NewLocalSubscriber("", log, store)
		s.SetTopics([]string{topic}, allowed)
		return s, transport.AddSubscriber(ctx, s)
	}
	for i := range subs {
		s, err := subscribe([]string{topic})
		if err != nil {
			return bus{}, err
		}
		wg.Go(func() {
			for u := range s.Receive() {
				seq, err := strconv.ParseUint(u.Data, 10, 64)
				if err == nil {
					got(i, seq)
				}
			}
		})
	}
	write := func(seq uint64) error {
		return transport.Dispatch(ctx, &mercure.Update{
			Topics: []string{topic}, Private: true, Event: mercure.Event{Data: strconv.FormatUint(seq, 10)},
		})
	}
	outsider, err := subscribe(nil)
	return bus{
		write: write,
		check: func() error {
			if n := len(outsider.Receive()); n > 0 {
				return fmt.Errorf("%d private updates reached a subscriber who was not allowed the topic", n)
			}
			return transport.RemoveSubscriber(ctx, outsider)
		},
		close: func() { _ = transport.Close(ctx); wg.Wait() },
	}, err
}
