package chansec_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/driver"
	"github.com/chansec/chansec/internal/memory"
)

// Law 1 where it is hardest to keep: a revocation returns, and a message is written, at each single point between the guard's
// look and the hand-over of what the driver found.

// between calls a function once, at a point of an operation's way.
type between struct {
	point string
	do    func()
	armed atomic.Bool
}

var betweenPoints = []string{"while it is decided", "before the driver opens", "after the driver opened", "before the driver reads",
	"after the driver read", "before the driver claims", "after the driver claimed", "while it is recorded"}

func (b *between) at(point string) {
	if b.point == point && b.armed.CompareAndSwap(true, false) {
		b.do()
	}
}

// betweenSecurity decides before the point, and answers after it.
type betweenSecurity struct {
	*chansec.ACLSecurity
	*between
}

func (s betweenSecurity) Decide(ctx context.Context, req chansec.Request) (chansec.Decision, error) {
	d, err := s.ACLSecurity.Decide(ctx, req)
	if req.Principal.SystemID == "ann" {
		s.at("while it is decided")
	}
	return d, err
}

func (b *between) Record(_ context.Context, e chansec.Event) error {
	if e.SystemID == "ann" {
		b.at("while it is recorded")
	}
	return nil
}

type betweenBackend struct {
	driver.Backend[[]byte]
	*between
}

func (b betweenBackend) Open(ctx context.Context, view driver.View, from driver.From) (driver.Reader[[]byte], error) {
	b.at("before the driver opens")
	r, err := b.Backend.Open(ctx, view, from)
	b.at("after the driver opened")
	return betweenReader{r, b.between}, err
}

func (b betweenBackend) Claim(ctx context.Context, who driver.Consumer, box string, limit int, timeout time.Duration, dst []driver.Claimed[[]byte]) ([]driver.Claimed[[]byte], error) {
	b.at("before the driver claims")
	got, err := b.Backend.Claim(ctx, who, box, limit, timeout, dst)
	b.at("after the driver claimed")
	return got, err
}

type betweenReader struct {
	driver.Reader[[]byte]
	*between
}

func (r betweenReader) Next(ctx context.Context, limit int) (driver.Batch[[]byte], error) {
	r.at("before the driver reads")
	batch, err := r.Reader.Next(ctx, limit)
	r.at("after the driver read")
	return batch, err
}

// betweenLate is the content of what is written after the revocation.
const betweenLate = "late"

// betweenWays are the ways by which a message comes to ann. Each tells what came, and returns the error that was the end.
var betweenWays = map[string]func(ctx context.Context, p chansec.PassthroughPort[string], came func(string)) error{
	"Read": func(ctx context.Context, p chansec.PassthroughPort[string], came func(string)) error {
		list, err := p.Read(ctx, 5)
		for _, m := range list {
			came(m.Content)
		}
		return err
	},
	"Claim": func(ctx context.Context, p chansec.PassthroughPort[string], came func(string)) error {
		claims, err := p.Claim(ctx, 5)
		for _, c := range claims {
			came(c.Message.Content)
		}
		return err
	},
	"ClaimNext": func(ctx context.Context, p chansec.PassthroughPort[string], came func(string)) error {
		for {
			c, err := p.ClaimNext(ctx)
			if err != nil {
				return err
			}
			came(c.Message.Content)
		}
	},
	"a lease": func(ctx context.Context, p chansec.PassthroughPort[string], came func(string)) error {
		lease, err := p.Subscribe(ctx)
		if err != nil {
			return err
		}
		for m, err := range lease.Messages(ctx) {
			if err != nil {
				return err
			}
			came(m.Content)
		}
		return nil
	},
	"a callback": func(ctx context.Context, p chansec.PassthroughPort[string], came func(string)) error {
		lease, err := p.SubscribeFunc(ctx, func(_ context.Context, m chansec.Message[string]) error {
			came(m.Content)
			return nil
		})
		if err != nil {
			return err
		}
		<-lease.Done()
		return lease.Err()
	},
}

type betweenGot struct {
	mu   sync.Mutex
	list []string
}

func (g *betweenGot) add(content string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = append(g.list, content)
}

func TestARevocationCountsAtEveryPointOfAnOperation(t *testing.T) {
	for _, point := range betweenPoints {
		for way, do := range betweenWays {
			for _, audited := range []bool{false, true} {
				for _, then := range []betweenThen{writtenAtOnce, writtenOnceCut, givenBack} {
					t.Run(fmt.Sprintf("%s, %s, %s, audited %v", way, point, then, audited), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { betweenOnce(t, point, do, audited, then) })
					})
				}
			}
		}
	}
}

// betweenThen is what follows a revocation.
type betweenThen string

const (
	writtenAtOnce  betweenThen = "written at once"
	writtenOnceCut betweenThen = "written once all that is idle was cut"
	givenBack      betweenThen = "and given back"
)

type betweenWay = func(context.Context, chansec.PassthroughPort[string], func(string)) error

func betweenOnce(t *testing.T, point string, do betweenWay, audited bool, then betweenThen) {
	ctx := t.Context()
	acl := must(chansec.NewACLSecurity(chansec.ACLAdmin("ann", "bob")))
	b := &between{point: point}
	opts := []chansec.Option{chansec.WithSecurity(betweenSecurity{acl, b}), chansec.WithBackend(
		func(ctx context.Context, id string, cfg driver.Config) (driver.Backend[[]byte], error) {
			backend, err := memory.Open[[]byte](ctx, id, cfg)
			return betweenBackend{backend, b}, err
		})}
	if audited {
		opts = append(opts, chansec.WithAudit(b))
	}
	channel := must(chansec.NewPassthrough[string]("c", opts...))
	defer channel.Close()
	require.NoError(t, channel.Start(ctx))
	ann, bob := channel.As("ann"), channel.As("bob")
	must(bob.Write(ctx, "early"))
	claim := must(ann.ClaimNext(ctx)) // from then on she is a worker
	require.NoError(t, claim.Nack(ctx))
	happened := make(chan struct{})
	b.do = func() {
		defer close(happened)
		acl.Revoke("ann")
		if then != writtenAtOnce {
			time.Sleep(time.Millisecond)
		}
		must(bob.Write(ctx, betweenLate))
		if then == givenBack {
			require.NoError(t, acl.Grant("ann", chansec.RoleRead))
		}
	}
	b.armed.Store(true)

	var got betweenGot
	ended := make(chan error)
	go func() { ended <- do(ctx, ann, got.add) }()
	synctest.Wait()
	if b.armed.Swap(false) { // that way does not come by the point, or waits before it
		b.do()
	}
	<-happened
	synctest.Wait()
	if then == givenBack {
		acl.Revoke("ann")
	}
	if err := <-ended; err != nil {
		require.ErrorIs(t, err, chansec.ErrPermission)
	}
	synctest.Wait()
	if then != givenBack {
		require.NotContains(t, got.list, betweenLate)
	}

	_, err := ann.Read(ctx, 5)
	require.ErrorIs(t, err, chansec.ErrPermission)
	require.Len(t, must(bob.Claim(ctx, 5)), 2, "nothing is lost for the others")
}
