package chansec_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

// Law 1 on keyed channels: writers race for a few keys, some of them lose their right meanwhile, and of any old message only
// one is passed on.

// law1Keyed are the keys that writers race for.
var law1Keyed = []string{"door", "lamp"}

// law1Chain lets a note replace only what its writer saw.
type law1Chain struct {
	chansec.Versioned
	chansec.Decider
}

func (c law1Chain) Decide(ctx context.Context, req chansec.Request) (chansec.Decision, error) {
	d, err := c.Decider.Decide(ctx, req)
	if d.PerMessage = true; req.Operation != chansec.OpWrite || req.Message == nil {
		return d, err
	}
	old := uuid.Nil
	if req.Previous != nil {
		old = req.Previous.ID
	}
	d.Allowed = d.Allowed && req.Message.Content.(law1Note).Old == old
	return d, err
}

func (law1Chain) AuthorizeRead(context.Context, string, string) (bool, error)  { return false, nil }
func (law1Chain) AuthorizeWrite(context.Context, string, string) (bool, error) { return false, nil }
func (law1Chain) AuthorizeAdmin(context.Context, string, string) (bool, error) { return false, nil }

// try looks at what lies under a key and stores a note in its place, if it is still there: on that condition, or because
// the security says so. It reports when the write began.
func (w *law1World) try(port law1Port, key string, last bool) (began uint64, id uuid.UUID, err error) {
	was, err := port.keeper.Get(w.ctx, key)
	if err != nil && !errors.Is(err, chansec.ErrUnknownKey) {
		return w.clock.Load(), id, err
	}
	began = w.clock.Add(1)
	note := law1Note{Started: began, Last: last, Old: was.ID}
	if w.chain && rand.IntN(2) == 0 {
		id, err = port.keeper.Set(w.ctx, key, note)
		if errors.Is(err, chansec.ErrPermission) {
			err = chansec.ErrChanged // or not allowed any more, which Get tells
		}
	} else {
		id, err = port.keeper.SetIf(w.ctx, key, note, was.ID)
		if w.chain && errors.Is(err, chansec.ErrPermission) {
			err = chansec.ErrChanged
		}
	}
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, law1Sent{id: id})
		w.passed[law1Pass{key, was.ID}]++
	}
	return began, id, err
}

// keep lets a writer store a note, after the others if they are faster.
func (w *law1World) keep(port law1Port, key string, last bool) {
	if last {
		key = "last"
	} else if key == "" {
		key = law1Keyed[0]
	}
	for w.ctx.Err() == nil {
		_, _, err := w.try(port, key, last)
		if !errors.Is(err, chansec.ErrChanged) {
			w.check(err)
			break
		}
		runtime.Gosched()
	}
	if !last && rand.IntN(6) == 0 {
		gone, err := port.keeper.Delete(w.ctx, key)
		if w.check(err); gone {
			w.mu.Lock()
			w.deleted[key]++
			w.mu.Unlock()
		}
	}
	w.written.Add(1)
}

func (w *law1World) gets(v *law1Victim) {
	for {
		began := w.clock.Add(1)
		m, err := v.port.keeper.Get(w.ctx, law1Keyed[rand.IntN(len(law1Keyed))])
		if err == nil {
			w.reach(v, "Get", began, m)
		} else if !errors.Is(err, chansec.ErrUnknownKey) && w.stopped(v, "Get", err, chansec.ErrPermission) {
			return
		}
		runtime.Gosched()
	}
}

// sets lets a victim race with the writers.
func (w *law1World) sets(v *law1Victim) {
	for {
		began, _, err := w.try(v.port, law1Keyed[rand.IntN(len(law1Keyed))], false)
		cut := v.cut.Load()
		switch {
		case err == nil && cut > 0 && began > cut:
			w.fail("%s, cut by %s at %d, wrote what it began to write at %d", v.name, v.cause, cut, began)
			return
		case err != nil && !errors.Is(err, chansec.ErrChanged) && w.stopped(v, "SetIf", err, chansec.ErrPermission):
			return
		}
		runtime.Gosched()
	}
}

// compareKeyed checks that somebody who kept their right saw what was written in order, each at most once, and of every key
// what lay there last.
func (w *law1World) compareKeyed(g *law1Got) {
	written := make(map[uuid.UUID]bool)
	for _, s := range w.sent {
		written[s.id] = true
	}
	for i, id := range g.ids {
		if !written[id] || i > 0 && cmp.Compare(g.ids[i-1].String(), id.String()) >= 0 {
			w.fail("%s got by %s %s as message %d, which was never written, or before", g.name, g.how, id, i)
		}
	}
	host := w.other("writer")
	for _, key := range append(law1Keyed, "last") {
		m, err := host.keeper.Get(w.ctx, key)
		if err == nil && !slices.Contains(g.ids, m.ID) {
			w.fail("%s did not get by %s what lies under %s at last", g.name, g.how, key)
		}
	}
}

// comparePasses checks that no two writers passed on the same old message, nor on none, unless the key was deleted.
func (w *law1World) comparePasses() {
	for on, n := range w.passed {
		most := 1
		if on.old == uuid.Nil {
			most += w.deleted[on.key]
		}
		if n > most {
			w.fail("%d writers passed on %s of %s, which lay there %d times", n, on.old, on.key, most)
		}
	}
}
