package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chansec/chansec"
)

// Revocation: leases lie idle, each with a goroutine that waits for messages. One operation takes a principal's rights
// away and waits until every lease of that principal has ended; then, while nothing is timed, they are opened again. A
// change that cuts nobody makes the guard look at every lease again; the time until it has done so is a row of its
// own, while somebody keeps writing.

func revokeGroups(s scale) []group {
	farms := func(owners, per int) group {
		row := func(name string, floor bool, open func() farm) contender {
			return contender{
				row: fmt.Sprintf("revoke/%s_of_%s", count(per), count(owners*per)), name: name, floor: floor,
				open: func() (*work, error) { return openFarm(open(), owners, per) },
			}
		}
		return group{row("floor: close a Go channel each", true, newChanFarm), row("chansec", false, newLeaseFarm)}
	}
	recheck := "recheck/" + count(s.swept)
	return []group{
		farms(s.leases/s.perOwner, s.perOwner),
		farms(1, s.leases),
		{
			{row: recheck, name: "floor: ask a map for each", floor: true,
				open: func() (*work, error) { return openMapSweep(s.swept), nil }},
			{row: recheck, name: "chansec, writing on another channel",
				open: func() (*work, error) { return openSweep(s.swept, false) }},
		},
		{{row: recheck + "/write", name: "chansec, Write to the same channel meanwhile",
			open: func() (*work, error) { return openSweep(s.swept, true) }}},
	}
}

// A farm is leases that can be taken away from their owners.
type farm interface {
	// open gives an owner so many leases; each calls ended when it ends.
	open(owner string, n int, ended func(error)) error
	revoke(owner string) error
	close()
}

func openFarm(f farm, owners, per int) (*work, error) {
	var (
		live  atomic.Int64 // of the owner that is revoked, until they have ended
		gone  = make(chan struct{}, 1)
		wrong atomic.Pointer[error]
	)
	ended := func(err error) {
		if err != nil {
			wrong.Store(&err)
		}
		if live.Add(-1) == 0 {
			gone <- struct{}{}
		}
	}
	for i := range owners {
		if err := f.open(subject(i), per, ended); err != nil {
			return nil, err
		}
	}
	next := 0
	one := func() (time.Duration, error) {
		owner := subject(next % owners)
		next++
		time.Sleep(20 * time.Millisecond) // until what was opened waits
		if n := live.Load(); n != 0 {
			return 0, fmt.Errorf("%w: %d leases of others ended", errWrong, -n)
		}
		live.Store(int64(per))
		start := time.Now()
		if err := f.revoke(owner); err != nil {
			return 0, err
		}
		select {
		case <-gone:
		case <-time.After(lost):
			return 0, fmt.Errorf("%d leases have not ended", live.Load())
		}
		took := time.Since(start)
		if err := wrong.Load(); err != nil {
			return 0, fmt.Errorf("%w: %w", errWrong, *err)
		}
		return took, f.open(owner, per, ended)
	}
	return &work{
		mixed: true,
		check: func() error { _, err := one(); return err },
		bench: func(b *testing.B) error {
			var sum, slowest time.Duration
			for range b.N {
				took, err := one()
				if err != nil {
					return err
				}
				sum, slowest = sum+took, max(slowest, took)
			}
			b.ReportMetric(float64(sum)/float64(b.N), "ns/op")
			b.ReportMetric(float64(slowest), "slowest-ns")
			return nil
		},
		close: func() {
			live.Store(1 << 40) // whatever ends now is not counted
			f.close()
		},
	}, nil
}

// chanFarm is the floor: it knows who owns what, and tells each by closing a channel.
type chanFarm map[string][]chan struct{}

func newChanFarm() farm { return chanFarm{} }

func (f chanFarm) open(owner string, n int, ended func(error)) error {
	for range n {
		ch := make(chan struct{})
		f[owner] = append(f[owner], ch)
		go func() {
			<-ch
			ended(nil)
		}()
	}
	return nil
}

func (f chanFarm) revoke(owner string) error {
	for _, ch := range f[owner] {
		close(ch)
	}
	delete(f, owner)
	return nil
}

func (f chanFarm) close() {
	for owner := range f {
		_ = f.revoke(owner)
	}
}

// leaseFarm is ours. The revocation is the ACL's, which knows nothing of leases.
type leaseFarm struct {
	acl *chansec.ACLSecurity
	ch  *chansec.BroadcastChannel[uint64]
	err error
}

func newLeaseFarm() farm {
	f := &leaseFarm{}
	if f.acl, f.err = chansec.NewACLSecurity(); f.err == nil {
		f.ch, f.err = chansec.NewBroadcast[uint64](channelID, chansec.WithSecurity(f.acl))
	}
	return f
}

func (f *leaseFarm) open(owner string, n int, ended func(error)) error {
	if f.err != nil {
		return f.err
	}
	if err := f.acl.Grant(owner, chansec.RoleRead); err != nil {
		return err
	}
	for range n {
		err := follow(f.ch.As(owner), func(uint64) {}, func(err error) {
			if errors.Is(err, chansec.ErrRevoked) || errors.Is(err, chansec.ErrClosed) {
				err = nil
			}
			ended(err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// follow opens a lease and a goroutine that waits on it until it ends.
func follow(port chansec.BroadcastPort[uint64], got func(uint64), ended func(error)) error {
	ctx := context.Background()
	lease, err := port.Subscribe(ctx)
	if err != nil {
		return err
	}
	go func() {
		for m, err := range lease.Messages(ctx) {
			if err != nil {
				ended(err)
				return
			}
			got(m.Content)
		}
	}()
	return nil
}

func (f *leaseFarm) revoke(owner string) error { f.acl.Revoke(owner); return nil }
func (f *leaseFarm) close()                    { _ = f.ch.Close() }

// openMapSweep is the floor: one look at an immutable map for every lease.
func openMapSweep(n int) *work {
	p := newPopulation(n, n)
	d := openMap(p.ids).authorize
	return &work{
		check: func() error { return d.check(p) },
		bench: func(b *testing.B) error {
			for range b.N {
				if err := d.loop(p, 0, n); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// countingACL is an ACL that says when the guard has asked for so many leases of the swept channel.
type countingACL struct {
	*chansec.ACLSecurity
	left atomic.Int64
	done chan struct{}
}

func (c *countingACL) Decide(ctx context.Context, r chansec.Request) (chansec.Decision, error) {
	d, err := c.ACLSecurity.Decide(ctx, r)
	if r.ChannelID == channelID && r.Operation == chansec.OpSubscribe && c.left.Add(-1) == 0 {
		c.done <- struct{}{}
	}
	return d, err
}

// A sweep is leases that are all looked at again when the ACL changes.
type sweep struct {
	acl           *countingACL
	leases        int
	swept, other  *chansec.BroadcastChannel[uint64]
	delivered     atomic.Int64
	all           chan struct{} // every lease has got the message
	ended         atomic.Int64
	changes       int
	writer, apart chansec.BroadcastPort[uint64]
}

func openSweep(leases int, write bool) (*work, error) {
	acl, err := chansec.NewACLSecurity(chansec.ACLWrite("writer"))
	if err != nil {
		return nil, err
	}
	s := &sweep{acl: &countingACL{ACLSecurity: acl, done: make(chan struct{}, 1)}, leases: leases, all: make(chan struct{}, 1)}
	if s.swept, err = chansec.NewBroadcast[uint64](channelID, chansec.WithSecurity(s.acl)); err != nil {
		return nil, err
	}
	if s.other, err = chansec.NewBroadcast[uint64]("another", chansec.WithSecurity(s.acl)); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := errors.Join(s.swept.Start(ctx), s.other.Start(ctx)); err != nil {
		return nil, err
	}
	s.writer, s.apart = s.swept.As("writer"), s.other.As("writer")
	got := func(uint64) {
		if s.delivered.Add(1) == int64(leases) {
			s.all <- struct{}{}
		}
	}
	ended := func(err error) { s.ended.Add(int64(b2i(!errors.Is(err, chansec.ErrClosed)))) }
	const owners = 1000
	for i := range leases {
		owner := subject(i % owners)
		if i < owners {
			if err := acl.Grant(owner, chansec.RoleRead); err != nil {
				return nil, err
			}
		}
		if err := follow(s.swept.As(owner), got, ended); err != nil {
			return nil, err
		}
	}
	if err := follow(s.other.As("writer"), func(uint64) {}, ended); err != nil {
		return nil, err
	}
	time.Sleep(time.Second) // until all of them wait
	return &work{
		mixed: true,
		check: func() error {
			if _, err := s.recheck(); err != nil {
				return err
			}
			_, err := s.writeMeanwhile()
			return err
		},
		bench: func(b *testing.B) error {
			if write {
				return timed(b, s.writeMeanwhile)
			}
			stop := s.keepWriting()
			err := timed(b, s.recheck)
			stall, failed := stop()
			b.ReportMetric(float64(stall), "slowest-write-ns")
			return errors.Join(err, failed)
		},
		close: func() { _ = s.swept.Close(); _ = s.other.Close() },
	}, nil
}

func timed(b *testing.B, one func() (time.Duration, error)) error {
	var sum time.Duration
	for range b.N {
		took, err := one()
		if err != nil {
			return err
		}
		sum += took
	}
	b.ReportMetric(float64(sum)/float64(b.N), "ns/op")
	return nil
}

// change is one that concerns no lease's owner.
func (s *sweep) change() error {
	s.acl.left.Store(int64(s.leases))
	if s.changes++; s.changes%2 == 0 {
		s.acl.Revoke("newcomer")
		return nil
	}
	return s.acl.Grant("newcomer", chansec.RoleRead)
}

// settled waits until every lease was asked for, and none has ended.
func (s *sweep) settled() error {
	select {
	case <-s.acl.done:
	case <-time.After(lost):
		return errors.New("not every lease was looked at again")
	}
	if n := s.ended.Load(); n > 0 {
		return fmt.Errorf("%w: %d leases ended", errWrong, n)
	}
	return nil
}

// recheck takes the time from the change until every lease was asked for.
func (s *sweep) recheck() (time.Duration, error) {
	start := time.Now()
	if err := s.change(); err != nil {
		return 0, err
	}
	err := s.settled()
	return time.Since(start), err
}

// writeMeanwhile takes the time of a Write to the swept channel right after the change.
func (s *sweep) writeMeanwhile() (time.Duration, error) {
	s.delivered.Store(0)
	if err := s.change(); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := s.writer.Write(context.Background(), 1); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if err := s.settled(); err != nil {
		return 0, err
	}
	select {
	case <-s.all:
	case <-time.After(lost):
		return 0, fmt.Errorf("the message reached %d leases of %d", s.delivered.Load(), s.leases)
	}
	time.Sleep(10 * time.Millisecond) // until they wait again
	return took, nil
}

// keepWriting writes to the other channel until it is stopped, which returns the longest time that a Write took.
func (s *sweep) keepWriting() (stop func() (time.Duration, error)) {
	end, done := make(chan struct{}), make(chan struct{})
	var slowest time.Duration
	var failed error
	go func() {
		defer close(done)
		for failed == nil {
			select {
			case <-end:
				return
			case <-time.After(50 * time.Microsecond):
			}
			start := time.Now()
			_, failed = s.apart.Write(context.Background(), 1)
			slowest = max(slowest, time.Since(start))
		}
	}()
	return func() (time.Duration, error) {
		close(end)
		<-done
		return slowest, failed
	}
}
