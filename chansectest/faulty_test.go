package chansectest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
	"github.com/chansec/chansec/internal/memory"
)

type (
	backend = driver.Backend[[]byte]
	entries = driver.Reader[[]byte]
	batch   = driver.Batch[[]byte]
	claimed = driver.Claimed[[]byte]
)

// faulty is a backend in memory of which a test replaces methods. Each hook gets what is behind it.
type faulty struct {
	backend
	cfg driver.Config

	onAppend    func(b backend, h driver.Head, v []byte) (driver.Stamp, error)
	onAppendIf  func(b backend, h driver.Head, v []byte, last uint64) (driver.Stamp, error)
	onNewest    func(b backend) (uuid.UUID, error)
	onLast      func(b backend, key string) (driver.Entry[[]byte], error)
	onOpen      func(b backend, v driver.View, from driver.From) (entries, error)
	onClaim     func(b backend, who driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error)
	onWakeClaim func(b backend, box string, ch chan<- struct{}) (func(), bool)
	onAck       func(b backend, name string, r driver.Receipt) (bool, error)
	onNack      func(b backend, name string, r driver.Receipt) (bool, error)
	onExtend    func(b backend, name string, r driver.Receipt, timeout time.Duration) (time.Time, bool, error)
	onRelease   func(b backend, who driver.Consumer) (int, error)
	onRemove    func(b backend, ids []uuid.UUID) (int, error)
	onEvict     func(b backend, before time.Time, keep int) (int, error)
	onClear     func(b backend) (int, error)
	onLen       func(b backend) (int, error)
	onClose     func(b backend) error

	onNext   func(r entries, limit int) (batch, error)
	onCommit func(r entries, n int)
	onWake   func(r entries, ch chan<- struct{}) bool
	onShut   func(r entries)
}

// newFaulty makes a backend with a fault. The fault may change the configuration that the backend gets.
func newFaulty(t *testing.T, cfg driver.Config, fault func(f *faulty)) backend {
	f := &faulty{cfg: cfg}
	fault(f)
	b, err := memory.Open[[]byte](t.Context(), "channel", f.cfg)
	require.NoError(t, err)
	f.backend = b
	return f
}

var ctx = context.Background()

func (f *faulty) Append(c context.Context, h driver.Head, v []byte) (driver.Stamp, error) {
	if f.onAppend != nil {
		return f.onAppend(f.backend, h, v)
	}
	return f.backend.Append(c, h, v)
}

func (f *faulty) AppendIf(c context.Context, h driver.Head, v []byte, last uint64) (driver.Stamp, error) {
	if f.onAppendIf != nil {
		return f.onAppendIf(f.backend, h, v, last)
	}
	return f.backend.AppendIf(c, h, v, last)
}

func (f *faulty) Last(c context.Context, key string) (driver.Entry[[]byte], error) {
	if f.onLast != nil {
		return f.onLast(f.backend, key)
	}
	return f.backend.Last(c, key)
}

func (f *faulty) Newest(c context.Context) (uuid.UUID, error) {
	if f.onNewest != nil {
		return f.onNewest(f.backend)
	}
	return f.backend.Newest(c)
}

func (f *faulty) Open(c context.Context, v driver.View, from driver.From) (entries, error) {
	open := func(b backend, v driver.View, from driver.From) (entries, error) { return b.Open(c, v, from) }
	if f.onOpen != nil {
		open = f.onOpen
	}
	r, err := open(f.backend, v, from)
	if err != nil {
		return nil, err
	}
	return &faultyReader{r, f}, nil
}

func (f *faulty) Claim(c context.Context, who driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
	if f.onClaim != nil {
		return f.onClaim(f.backend, who, box, limit, timeout, dst)
	}
	return f.backend.Claim(c, who, box, limit, timeout, dst)
}

func (f *faulty) WakeClaim(box string, ch chan<- struct{}) (func(), bool) {
	if f.onWakeClaim != nil {
		return f.onWakeClaim(f.backend, box, ch)
	}
	return f.backend.WakeClaim(box, ch)
}

func (f *faulty) Ack(c context.Context, name string, r driver.Receipt) (bool, error) {
	if f.onAck != nil {
		return f.onAck(f.backend, name, r)
	}
	return f.backend.Ack(c, name, r)
}

func (f *faulty) Nack(c context.Context, name string, r driver.Receipt) (bool, error) {
	if f.onNack != nil {
		return f.onNack(f.backend, name, r)
	}
	return f.backend.Nack(c, name, r)
}

func (f *faulty) Extend(c context.Context, name string, r driver.Receipt, timeout time.Duration) (time.Time, bool, error) {
	if f.onExtend != nil {
		return f.onExtend(f.backend, name, r, timeout)
	}
	return f.backend.Extend(c, name, r, timeout)
}

func (f *faulty) Release(c context.Context, who driver.Consumer) (int, error) {
	if f.onRelease != nil {
		return f.onRelease(f.backend, who)
	}
	return f.backend.Release(c, who)
}

func (f *faulty) Remove(c context.Context, ids []uuid.UUID) (int, error) {
	if f.onRemove != nil {
		return f.onRemove(f.backend, ids)
	}
	return f.backend.Remove(c, ids)
}

func (f *faulty) Evict(c context.Context, before time.Time, keep int) (int, error) {
	if f.onEvict != nil {
		return f.onEvict(f.backend, before, keep)
	}
	return f.backend.Evict(c, before, keep)
}

func (f *faulty) Clear(c context.Context) (int, error) {
	if f.onClear != nil {
		return f.onClear(f.backend)
	}
	return f.backend.Clear(c)
}

func (f *faulty) Len(c context.Context) (int, error) {
	if f.onLen != nil {
		return f.onLen(f.backend)
	}
	return f.backend.Len(c)
}

func (f *faulty) Close() error {
	if f.onClose != nil {
		return f.onClose(f.backend)
	}
	return f.backend.Close()
}

type faultyReader struct {
	entries
	f *faulty
}

func (r *faultyReader) Next(c context.Context, limit int) (batch, error) {
	if r.f.onNext != nil {
		return r.f.onNext(r.entries, limit)
	}
	return r.entries.Next(c, limit)
}

func (r *faultyReader) Commit(n int) {
	if r.f.onCommit != nil {
		r.f.onCommit(r.entries, n)
		return
	}
	r.entries.Commit(n)
}

func (r *faultyReader) Wake(ch chan<- struct{}) bool {
	if r.f.onWake != nil {
		return r.f.onWake(r.entries, ch)
	}
	return r.entries.Wake(ch)
}

func (r *faultyReader) Close() {
	if r.f.onShut != nil {
		r.f.onShut(r.entries)
		return
	}
	r.entries.Close()
}
