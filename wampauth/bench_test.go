package wampauth_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"slices"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/wampauth"
)

// discard is a log that keeps nothing, behind a queue that does its work.
type discard struct{}

func (discard) Record(context.Context, audit.Record) error      { return nil }
func (discard) RecordAll(context.Context, []audit.Record) error { return nil }

// flow is a publisher and a subscriber of one topic.
type flow struct {
	publisher, subscriber wamp.Peer
	log                   *audit.Async // that every publication takes; nil for none
}

const benchTopic = "com.home.garage.door"

// publish publishes n events and waits for them, a hundred under way at most. It fails where one does not come: the first that
// is missing is told by the number of the next, or by the time that passes without any.
func (f flow) publish(b testing.TB, n int) {
	const ahead, patience = 100, 10 * time.Second
	late := time.NewTicker(patience)
	defer late.Stop()
	seen := -1 // the number of the last event when the ticker ticked last
	for sent, got := 0, 0; got < n; {
		for ; sent < n && sent < got+ahead; sent++ {
			f.publisher.Send() <- &wamp.Publish{Request: wamp.ID(sent + 1), Topic: benchTopic, Options: wamp.Dict{}, Arguments: wamp.List{sent}}
		}
		select {
		case msg := <-f.subscriber.Recv():
			event, ok := msg.(*wamp.Event)
			if !ok || len(event.Arguments) != 1 || event.Arguments[0] != got {
				b.Fatalf("instead of event %d of %d came %+v; %s", got, n, msg, f.dropped())
			}
			got++
		case <-late.C:
			if got == seen {
				b.Fatalf("event %d of %d did not come within %v, and %d were published; %s", got, n, patience, sent, f.dropped())
			}
			seen = got
		}
	}
}

// dropped says whether publications were refused because there was no room for their records.
func (f flow) dropped() string {
	if f.log == nil {
		return "there is no log"
	}
	return fmt.Sprintf("the log: %+v", f.log.Stats())
}

// guarded is a flow through a guard with a log; open is one without either.
func guarded(b testing.TB) flow {
	async, err := audit.NewAsync(discard{}, 1<<16)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, async.Close(context.Background())) })
	w := newWorld(b, func(c *wampauth.Config) { c.Activity, c.RequireActivity = async, true })
	w.grant("ann", "publish", "com")
	w.grant("bob", "subscribe", "com.home")
	f := flow{w.raw("ann"), w.raw("bob"), async}
	f.subscribe(b)
	return f
}

func open(b testing.TB) flow {
	r, err := router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{{URI: "realm1", AnonymousAuth: true}}}, log.New(io.Discard, "", 0))
	require.NoError(b, err)
	b.Cleanup(r.Close)
	w := &world{TB: b, router: r}
	var peers []wamp.Peer
	for range 2 {
		p := w.attach(nil)
		p.Send() <- &wamp.Hello{Realm: "realm1", Details: wamp.Dict{"roles": wamp.Dict{"publisher": wamp.Dict{}, "subscriber": wamp.Dict{}}}}
		receive[*wamp.Welcome](b, p)
		b.Cleanup(p.Close)
		peers = append(peers, p)
	}
	f := flow{peers[0], peers[1], nil}
	f.subscribe(b)
	return f
}

func (f flow) subscribe(b testing.TB) {
	f.subscriber.Send() <- &wamp.Subscribe{Request: 1, Topic: benchTopic, Options: wamp.Dict{}}
	receive[*wamp.Subscribed](b, f.subscriber)
}

func BenchmarkPublish(b *testing.B) {
	for name, make := range map[string]func(testing.TB) flow{"nexus": open, "guarded": guarded} {
		b.Run(name, func(b *testing.B) {
			f := make(b)
			b.ReportAllocs()
			b.ResetTimer()
			f.publish(b, b.N)
		})
	}
}

// BenchmarkPublishRatio is how much longer it takes through a guard, in rounds by turns: the medians, and their ratio.
func BenchmarkPublishRatio(b *testing.B) {
	const rounds, each = 15, 20_000
	plain, checked := open(b), guarded(b)
	took := func(f flow) float64 {
		began := time.Now()
		f.publish(b, each)
		return float64(time.Since(began).Nanoseconds()) / each
	}
	took(plain)
	took(checked)
	for b.Loop() {
		var without, with []float64
		for range rounds {
			without, with = append(without, took(plain)), append(with, took(checked))
		}
		slices.Sort(without)
		slices.Sort(with)
		b.ReportMetric(without[rounds/2], "nexus-ns/op")
		b.ReportMetric(with[rounds/2], "guarded-ns/op")
		b.ReportMetric(with[rounds/2]/without[rounds/2], "ratio")
	}
}

// BenchmarkAuthorize is the decision on one message, with its record.
func BenchmarkAuthorize(b *testing.B) {
	async, err := audit.NewAsync(discard{}, 1<<16)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, async.Close(context.Background())) })
	w := newWorld(b, func(c *wampauth.Config) { c.Activity = async })
	w.grant("ann", "publish", "com")
	s := &wamp.Session{ID: w.login("ann").ID()}
	msg := &wamp.Publish{Request: 1, Topic: benchTopic, Options: wamp.Dict{}}
	authorizer := w.authorizer()
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := authorizer.Authorize(s, msg); !ok {
			b.Fatal("refused")
		}
	}
}

// BenchmarkDeliver is the decision on one delivery.
func BenchmarkDeliver(b *testing.B) {
	w := newWorld(b)
	w.grant("ann", "subscribe", "com")
	s := &wamp.Session{ID: w.login("ann").ID()}
	filter := w.realm.PublishFilterFactory(&wamp.Publish{Topic: benchTopic})
	b.ReportAllocs()
	for b.Loop() {
		if !filter.Allowed(s) {
			b.Fatal("refused")
		}
	}
}
