package chansec_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

// TestLaw1 is the promise of the package: after a revocation returned, no message whose write starts later reaches anybody
// whom it cut, and those who are still allowed lose nothing. Each seed is a channel with writers, with some who lose their
// right by one cause each while messages are under way, and with some who keep it. CHANSEC_LAW1_SEEDS says how many.
func TestLaw1(t *testing.T) {
	seeds := number(t, "CHANSEC_LAW1_SEEDS", 500)
	first := number(t, "CHANSEC_LAW1_SEED", 1)
	if testing.Short() {
		seeds = min(seeds, 60)
	}
	for part, procs := range []int{1, 2, 8} {
		t.Run(fmt.Sprintf("with %d processors", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			for seed := first + part; seed < first+seeds; seed += 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				w := newLaw1World(ctx, rand.New(rand.NewPCG(uint64(seed), 0)))
				w.run(rand.New(rand.NewPCG(uint64(seed), 1)))
				cancel()
				if len(w.problems) > 0 {
					t.Fatalf("seed %d, %s:\n%s", seed, w.kind, strings.Join(w.problems, "\n"))
				}
			}
		})
	}
}

const (
	law1Writers = 2
	law1Notes   = 12 // of each writer while rights are taken
	law1Late    = 3  // of each writer afterwards
)

// run lets everybody do their part, and compares what came to whom.
func (w *law1World) run(rng *rand.Rand) {
	defer func() { w.check(w.close()) }()
	victims, names := w.victims(rng)
	var others []*law1Got
	for i := range 1 + rng.IntN(3) { // alone, nobody else wakes up instead
		name := fmt.Sprint("other ", i)
		names = append(names, name)
		others = append(others, w.watch(rng, name, w.other(name)))
	}
	if w.kind == "keyed" { // there is nothing for one of them only, and they race for the same keys
		names = law1Keyed
	}
	if w.jobs { // nobody does what is addressed to those who may not
		names = names[len(victims):]
	}
	w.take(rng, victims)
	for range law1Writers {
		w.write(rng, names, law1Notes)
	}
	<-w.over
	w.finish(rng, names)
	w.group.Wait()
	for _, g := range others {
		w.compare(g)
	}
	if w.kind == "keyed" {
		w.comparePasses()
	}
	if w.jobs {
		w.compareJobs()
	}
}

// victims makes those who will be cut, by different causes, and lets them read or work.
func (w *law1World) victims(rng *rand.Rand) (list []*law1Victim, names []string) {
	causes := slices.Clone(w.causes())
	rng.Shuffle(len(causes), func(i, j int) { causes[i], causes[j] = causes[j], causes[i] })
	if w.jwt != nil {
		w.check(w.jwt.Rotate(law1Keys[1]))
	}
	for i, cause := range causes[:1+rng.IntN(3)] {
		v := w.victim(fmt.Sprint("victim ", i), cause)
		list, names = append(list, v), append(names, v.name)
		for range 1 + rng.IntN(2) {
			w.endure(rng.IntN(4), v)
		}
	}
	return list, names
}

// endure lets a victim go on until they are stopped.
func (w *law1World) endure(way int, v *law1Victim) {
	switch {
	case w.kind == "keyed" && way == 2:
		w.group.Go(func() { w.gets(v) })
	case w.kind == "keyed" && way == 3:
		w.racers.Go(func() { w.sets(v) })
	case w.jobs && way%2 == 0:
		w.group.Go(func() { w.claims(v) })
	case w.jobs:
		w.group.Go(func() { w.claimsNext(v) })
	case way%2 == 0:
		w.group.Go(func() { w.reads(v) })
	default:
		w.group.Go(func() { w.follows(v) })
	}
}

// reach checks a message that came to a victim by an operation that began at a time.
func (w *law1World) reach(v *law1Victim, how string, began uint64, m chansec.Message[law1Note]) {
	switch cut := v.cut.Load(); {
	case cut == 0:
		// The revocation has not returned: whatever comes now was written before that.
	case m.Content.Started > cut:
		w.fail("%s, cut by %s at %d, got by %s what was written from %d on", v.name, v.cause, cut, how, m.Content.Started)
	case began > cut:
		w.fail("%s, cut by %s at %d, was let in by %s at %d", v.name, v.cause, cut, how, began)
	}
}

func (w *law1World) reads(v *law1Victim) {
	for {
		began := w.clock.Add(1)
		list, err := v.port.reader.Read(w.ctx, 4)
		for _, m := range list {
			w.reach(v, "Read", began, m)
		}
		if err != nil && w.stopped(v, "Read", err, chansec.ErrPermission) {
			return
		}
		runtime.Gosched()
	}
}

// follows opens leases, one after the other if need be. They end by themselves, also when nothing is written any more.
func (w *law1World) follows(v *law1Victim) {
	for {
		lease, err := w.subscribe(v)
		if err == nil {
			select {
			case <-lease.Done():
				err = lease.Err()
			case <-w.ctx.Done():
				w.fail("%s, cut by %s: the lease did not end", v.name, v.cause)
				return
			}
		}
		// A right that ends by itself may be over before there is a lease.
		if w.stopped(v, "a lease", err, chansec.ErrPermission) {
			return
		}
	}
}

// subscribe opens a lease in one way or the other, and lets its messages be checked.
func (w *law1World) subscribe(v *law1Victim) (chansec.Lease[law1Note], error) {
	if rand.IntN(2) == 0 {
		return v.port.subscriber.SubscribeFunc(w.ctx, func(_ context.Context, m chansec.Message[law1Note]) error {
			w.reach(v, "a callback", 0, m)
			return nil
		})
	}
	lease, err := v.port.subscriber.Subscribe(w.ctx)
	if err == nil {
		w.group.Go(func() {
			for m, err := range lease.Messages(w.ctx) {
				if err == nil {
					w.reach(v, "a lease", 0, m)
				}
			}
		})
	}
	return lease, err
}

func (w *law1World) claims(v *law1Victim) {
	for {
		began := w.clock.Add(1)
		list, err := v.port.worker.Claim(w.ctx, 2)
		for _, c := range list {
			w.reach(v, "Claim", began, c.Message)
			if rand.IntN(3) == 0 {
				w.acknowledge(&c)
			}
		}
		if err != nil && w.stopped(v, "Claim", err, chansec.ErrPermission) {
			return
		}
		runtime.Gosched()
	}
}

func (w *law1World) claimsNext(v *law1Victim) {
	for {
		began := w.clock.Add(1)
		c, err := v.port.worker.ClaimNext(w.ctx)
		switch {
		case err != nil && w.stopped(v, "ClaimNext", err, chansec.ErrPermission):
			return
		case err == nil:
			w.reach(v, "ClaimNext", began, c.Message)
			if rand.IntN(3) == 0 {
				w.acknowledge(&c)
			}
		}
	}
}

// stopped checks why a victim could not go on, and reports whether that is for good.
func (w *law1World) stopped(v *law1Victim, how string, err, want error) bool {
	if v.cause == law1Flicker && v.cut.Load() == 0 && w.ctx.Err() == nil {
		runtime.Gosched()
		return false
	}
	if !errors.Is(err, want) {
		w.fail("%s, cut by %s: %s ended with %v", v.name, v.cause, how, err)
	}
	return true
}

func (w *law1World) acknowledge(c *chansec.Claim[law1Note]) {
	if c.Acknowledge(w.ctx) == nil {
		w.mu.Lock()
		w.done[c.Message.ID]++
		w.mu.Unlock()
		w.acked.Add(1)
	}
}

// take revokes, each right at a time of its own, and notes when that had returned.
func (w *law1World) take(rng *rand.Rand, victims []*law1Victim) {
	left := make(chan struct{}, len(victims))
	for _, v := range victims {
		when := rng.Int64N(law1Writers * law1Notes)
		w.group.Go(func() {
			for w.written.Load() < when && w.ctx.Err() == nil {
				runtime.Gosched()
			}
			v.take()
			v.cut.Store(w.clock.Add(1))
			left <- struct{}{}
		})
	}
	w.group.Go(func() {
		for range victims {
			<-left
		}
		close(w.over)
	})
}

// write lets a writer send notes to everyone and, in a mailbox, to some.
func (w *law1World) write(rng *rand.Rand, names []string, n int) {
	to := make([]string, n)
	for i := range to {
		to[i] = append(names, "", "")[rng.IntN(len(names)+2)]
	}
	port := w.other("writer")
	w.group.Go(func() {
		for _, name := range to {
			w.send(port, name, false)
			if rand.IntN(4) == 0 {
				runtime.Gosched()
			}
		}
	})
}

func (w *law1World) send(port law1Port, recipient string, last bool) {
	if w.kind == "keyed" {
		w.keep(port, recipient, last)
		return
	}
	if mail, ok := port.writer.(chansec.MailboxPort[law1Note]); !ok || mail == nil || w.kind[:4] != "mail" {
		recipient = ""
	}
	m := chansec.Message[law1Note]{RecipientID: recipient, Content: law1Note{Started: w.clock.Add(1), Last: last}}
	id, err := port.writer.WriteMessage(w.ctx, m)
	w.check(err)
	w.mu.Lock()
	w.sent = append(w.sent, law1Sent{id, recipient})
	w.mu.Unlock()
	w.written.Add(1)
}

// finish writes what nobody who was cut may see, and at last a note that ends the watching of the others.
func (w *law1World) finish(rng *rand.Rand, names []string) {
	for w.written.Load() < law1Writers*law1Notes && w.ctx.Err() == nil {
		runtime.Gosched()
	}
	w.racers.Wait() // what they were let in with is stored before the last
	port := w.other("writer")
	for range law1Late {
		w.send(port, append(names, "")[rng.IntN(len(names)+1)], false)
	}
	w.send(port, "", true)
}

// law1Got is what came to somebody who keeps their right.
type law1Got struct {
	name string
	how  string
	ids  []uuid.UUID
}

// watch lets somebody read, follow or work until everything is done.
func (w *law1World) watch(rng *rand.Rand, name string, port law1Port) *law1Got {
	g := &law1Got{name: name}
	switch {
	case w.jobs:
		g.how = "claims"
		w.group.Go(func() { w.works(port) })
	case rng.IntN(3) == 0:
		g.how = "Read"
		w.group.Go(func() { w.readsAll(g, port) })
	case rng.IntN(2) == 0:
		g.how = "a callback"
		ended := make(chan struct{})
		lease := must(port.subscriber.SubscribeFunc(w.ctx, func(_ context.Context, m chansec.Message[law1Note]) error {
			if g.ids = append(g.ids, m.ID); m.Content.Last {
				close(ended)
			}
			return nil
		}))
		w.group.Go(func() {
			select {
			case <-ended:
			case <-lease.Done():
				w.fail("the lease of %s ended: %v", name, lease.Err())
			}
		})
	default:
		g.how = "a lease"
		lease := must(port.subscriber.Subscribe(w.ctx))
		w.group.Go(func() {
			for m, err := range lease.Messages(w.ctx) {
				w.check(err)
				if g.ids = append(g.ids, m.ID); m.Content.Last {
					break
				}
			}
		})
	}
	return g
}

func (w *law1World) readsAll(g *law1Got, port law1Port) {
	for {
		list, err := port.reader.Read(w.ctx, 5)
		if err != nil {
			w.fail("%s could not read: %v", g.name, err)
			return
		}
		for _, m := range list {
			if g.ids = append(g.ids, m.ID); m.Content.Last {
				return
			}
		}
		runtime.Gosched()
	}
}

// works does jobs until all of them were done by somebody.
func (w *law1World) works(port law1Port) {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	w.group.Go(func() {
		for w.acked.Load() < law1Writers*law1Notes+law1Late+1 && w.ctx.Err() == nil {
			runtime.Gosched()
		}
		cancel()
	})
	for {
		c, err := port.worker.ClaimNext(ctx)
		switch {
		case err == nil:
			w.acknowledge(&c)
		case ctx.Err() != nil:
			return
		default:
			w.fail("a worker could not claim: %v", err)
			return
		}
	}
}

// compare checks that everything came that was to be seen, once and in order.
func (w *law1World) compare(g *law1Got) {
	if w.jobs {
		return
	}
	if w.kind == "keyed" {
		w.compareKeyed(g)
		return
	}
	var want []uuid.UUID
	for _, s := range w.sent {
		if s.recipient == "" || s.recipient == g.name {
			want = append(want, s.id)
		}
	}
	slices.SortFunc(want, func(a, b uuid.UUID) int { return cmp.Compare(a.String(), b.String()) })
	if !slices.Equal(g.ids, want) {
		w.fail("%s got by %s %d messages, not the %d in order that were written", g.name, g.how, len(g.ids), len(want))
	}
}

// compareJobs checks that every job was done, and acknowledged once.
func (w *law1World) compareJobs() {
	for _, s := range w.sent {
		if n := w.done[s.id]; n != 1 {
			w.fail("job %s for %q was acknowledged %d times", s.id, s.recipient, n)
		}
	}
}
