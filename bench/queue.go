package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chansec/chansec"
)

// Queue: one operation writes a message, claims the oldest one and acknowledges it, one step after the other, while so
// many messages lie in the queue all the time. Each claimed message has to be the next one that was written.

// A queue is an opened work queue.
type queue struct {
	write     func(seq uint64) error
	claim     func() (seq uint64, err error)
	ack       func() error                // what was claimed last
	fill      func(first, n uint64) error // writes many at once, where that is faster; may be nil
	check     func() error                // further answers; may be nil
	close     func()
	unordered bool
	pipelined bool // one goroutine writes, and another one claims and acknowledges
}

// cycles is a queue and the number of messages that were written and taken.
type cycles struct {
	queue
	written, taken uint64
}

func (c *cycles) run(n int) error {
	if c.pipelined {
		taken := make(chan error, 1)
		go func() { taken <- times(n, c.take) }()
		if err := times(n, c.put); err != nil {
			return err
		}
		return <-taken
	}
	return times(n, func() error {
		if err := c.put(); err != nil {
			return err
		}
		return c.take()
	})
}

func times(n int, do func() error) error {
	for range n {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cycles) put() error {
	c.written++
	return c.write(c.written)
}

func (c *cycles) take() error {
	seq, err := c.claim()
	if err != nil {
		return err
	}
	c.taken++
	if seq != c.taken && !c.unordered {
		return fmt.Errorf("%w: claimed message %d, not %d", errWrong, seq, c.taken)
	}
	return c.ack()
}

func queueGroups(s scale) (out []group) {
	for _, stored := range s.stored {
		var g group
		add := func(name string, open func(stored int) (queue, error)) {
			g = append(g, contender{
				row: "queue/" + count(stored) + "_stored", name: name, floor: name == "floor: mutex and slice",
				open: func() (*work, error) { return openQueue(open, stored) },
			})
		}
		add("floor: mutex and slice", openSliceQueue)
		add("chansec", openWorkQueue)
		if stored <= s.peerStored {
			add("watermill gochannel", openWatermillQueue)
		}
		add("jetstream in memory, one by one", openJetStream)
		add("jetstream in memory, pipelined", openJetStreamPipelined)
		out = append(out, g)
	}
	return out
}

func openQueue(open func(stored int) (queue, error), stored int) (*work, error) {
	q, err := open(stored)
	if err != nil {
		return nil, err
	}
	c := &cycles{queue: q}
	if c.fill != nil {
		c.written, err = uint64(stored), c.fill(1, uint64(stored))
	} else {
		err = times(stored, c.put)
	}
	if err != nil {
		return nil, err
	}
	return &work{
		close: q.close,
		check: func() error {
			if err := c.run(100); err != nil || q.check == nil {
				return err
			}
			return q.check()
		},
		bench: func(b *testing.B) error { return c.run(b.N) },
	}, nil
}

// openSliceQueue is the floor: a ring in a slice under a mutex, and a map of what is claimed until when.
func openSliceQueue(int) (queue, error) {
	var (
		mu         sync.Mutex
		ring       = make([]uint64, 16)
		head, size int
		held       = map[uint64]time.Time{}
		last       uint64
	)
	return queue{
		write: func(seq uint64) error {
			mu.Lock()
			defer mu.Unlock()
			if size == len(ring) {
				bigger := make([]uint64, 2*size)
				n := copy(bigger, ring[head:])
				copy(bigger[n:], ring[:head])
				ring, head = bigger, 0
			}
			ring[(head+size)&(len(ring)-1)] = seq
			size++
			return nil
		},
		claim: func() (uint64, error) {
			mu.Lock()
			defer mu.Unlock()
			if size == 0 {
				return 0, errors.New("empty")
			}
			last = ring[head]
			head = (head + 1) & (len(ring) - 1)
			size--
			held[last] = time.Now().Add(time.Minute)
			return last, nil
		},
		ack: func() error {
			mu.Lock()
			defer mu.Unlock()
			if _, ok := held[last]; !ok {
				return errors.New("not held")
			}
			delete(held, last)
			return nil
		},
	}, nil
}

// openWorkQueue is ours: claims have deadlines and receipts, and each of the three steps asks the ACL.
func openWorkQueue(stored int) (queue, error) {
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("writer"), chansec.ACLRead("worker"))
	if err != nil {
		return queue{}, err
	}
	ch, err := chansec.NewWorkQueue[uint64](channelID, chansec.WithSecurity(acl), chansec.WithMaxMessages(stored+10_000))
	if err != nil {
		return queue{}, err
	}
	var (
		ctx    = context.Background()
		writer = ch.As("writer")
		worker = ch.As("worker")
		held   chansec.Claim[uint64]
	)
	return queue{
		write: func(seq uint64) error {
			_, err := writer.Write(ctx, seq)
			return err
		},
		claim: func() (seq uint64, err error) {
			held, err = worker.ClaimNext(ctx)
			return held.Message.Content, err
		},
		ack: func() error { return held.Acknowledge(ctx) },
		check: func() error {
			if err := held.Acknowledge(ctx); !errors.Is(err, chansec.ErrClaimLost) {
				return fmt.Errorf("acknowledged twice: %v", err)
			}
			if _, err := worker.Write(ctx, 0); !errors.Is(err, chansec.ErrPermission) {
				return fmt.Errorf("a reader wrote: %v", err)
			}
			if _, err := ch.As(nobody).ClaimNext(ctx); !errors.Is(err, chansec.ErrPermission) {
				return fmt.Errorf("an unknown system claimed: %v", err)
			}
			return nil
		},
		close: func() { _ = ch.Close() },
	}, ch.Start(ctx)
}

// openWatermillQueue subscribes once; gochannel has no store from which one could claim, so that messages that nobody
// has taken wait in one goroutine each, in no order.
func openWatermillQueue(stored int) (queue, error) {
	ps := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: bufferedMessages}, watermill.NopLogger{})
	messages, err := ps.Subscribe(context.Background(), channelID)
	var held *message.Message
	return queue{
		write: func(seq uint64) error {
			return ps.Publish(channelID, message.NewMessage(watermill.NewUUID(), binary.BigEndian.AppendUint64(nil, seq)))
		},
		claim: func() (uint64, error) {
			m, ok := <-messages
			if !ok {
				return 0, errors.New("closed")
			}
			held = m
			return binary.BigEndian.Uint64(m.Payload), nil
		},
		ack: func() error {
			if !held.Ack() {
				return errors.New("not acknowledged")
			}
			return nil
		},
		close:     func() { _ = ps.Close() },
		unordered: stored > 0,
	}, err
}

// A jetStream is a server in this process with one stream in memory that drops what was acknowledged.
type jetStream struct {
	server   *server.Server
	dir      string
	conn     *nats.Conn
	js       jetstream.JetStream
	consumer jetstream.Consumer
}

func (j *jetStream) close() {
	if j.conn != nil {
		j.conn.Close()
	}
	if j.server != nil {
		j.server.Shutdown()
		j.server.WaitForShutdown()
	}
	_ = os.RemoveAll(j.dir)
}

func startJetStream() (j *jetStream, err error) {
	j = &jetStream{}
	defer func() {
		if err != nil {
			j.close()
		}
	}()
	if j.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return j, err
	}
	if j.server, err = startNATS(server.Options{JetStream: true, StoreDir: j.dir}); err != nil {
		return j, err
	}
	if j.conn, err = nats.Connect("", nats.InProcessServer(j.server)); err != nil {
		return j, err
	}
	if j.js, err = jetstream.New(j.conn, jetstream.WithPublishAsyncMaxPending(1024)); err != nil {
		return j, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stream, err := j.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "WORK", Subjects: []string{"work"}, Storage: jetstream.MemoryStorage, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		return j, err
	}
	j.consumer, err = stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, // what was fetched ahead lies in the client between the rounds
	})
	return j, err
}

func (j *jetStream) fill(first, n uint64) error {
	for i := range n {
		if err := j.publishAsync(first + i); err != nil {
			return err
		}
	}
	return j.published()
}

// publishAsync waits when too many answers are outstanding.
func (j *jetStream) publishAsync(seq uint64) error {
	_, err := j.js.PublishAsync("work", binary.BigEndian.AppendUint64(nil, seq), jetstream.WithStallWait(lost))
	return err
}

func (j *jetStream) published() error {
	select {
	case <-j.js.PublishAsyncComplete():
		return nil
	case <-time.After(lost):
		return errors.New("publishing did not complete")
	}
}

// openJetStream publishes, takes and acknowledges as JetStream's documentation shows for work queues: Messages with
// one message per pull.
func openJetStream(int) (queue, error) {
	q, j, err := openStream(jetstream.PullMaxMessages(1))
	q.write = func(seq uint64) error {
		_, err := j.js.Publish(context.Background(), "work", binary.BigEndian.AppendUint64(nil, seq))
		return err
	}
	return q, err
}

// openJetStreamPipelined publishes without waiting for each answer and takes messages that were fetched ahead, which is
// what JetStream's documentation offers for speed.
func openJetStreamPipelined(int) (queue, error) {
	q, j, err := openStream()
	q.write = j.publishAsync
	q.pipelined = true
	return q, err
}

func openStream(o ...jetstream.PullMessagesOpt) (queue, *jetStream, error) {
	j, err := startJetStream()
	if err != nil {
		return queue{}, j, err
	}
	it, err := j.consumer.Messages(append(o, jetstream.WithMessagesErrOnMissingHeartbeat(false))...) // the machine may be busy
	if err != nil {
		j.close()
		return queue{}, j, err
	}
	var held jetstream.Msg
	return queue{
		fill: j.fill,
		claim: func() (uint64, error) {
			m, err := it.Next()
			if err != nil {
				return 0, err
			}
			held = m
			return binary.BigEndian.Uint64(m.Data()), nil
		},
		ack:   func() error { return held.Ack() },
		close: func() { it.Stop(); j.close() },
	}, j, nil
}
