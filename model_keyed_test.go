package chansec_test

import (
	"strconv"

	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

// The operations of the model test on what lies under keys.

func (w *modelWorld) key() string {
	if w.chance(20) {
		return "" // no key
	}
	return "key" + strconv.Itoa(w.rng.IntN(5))
}

func (w *modelWorld) get() {
	p, c, s, ok := port[chansec.Keeper[int]](w, chansec.OpRead)
	if !ok {
		return
	}
	key := w.key()
	w.say("%s gets %q of %s", s.ref.label, key, c.ref.id)
	m, err := p.Get(background, key)
	want, no := c.ref.get(s.ref, key)
	if w.agree("get", err, no) {
		w.compare("message of a key", w.show(m), w.name(want))
	}
}

func (w *modelWorld) set() { w.setIf(false) }

// remake stores on a condition, which holds or not.
func (w *modelWorld) remake() { w.setIf(true) }

func (w *modelWorld) setIf(conditional bool) {
	p, c, s, ok := port[chansec.Keeper[int]](w, chansec.OpWrite)
	if !ok {
		return
	}
	m := chansec.Message[int]{Content: w.rng.IntN(1000), Key: w.key()}
	var id uuid.UUID
	var last *uuid.UUID
	var err error
	if conditional {
		last = new(uuid.UUID)
		if old := c.ref.under(m.Key); old != nil && !w.chance(3) {
			*last = old.ID
		} else if w.chance(2) {
			*last = w.someID()
		}
		w.say("%s sets %q of %s to %d if it is %s", s.ref.label, m.Key, c.ref.id, m.Content, w.nameID(*last))
		id, err = p.SetIf(background, m.Key, m.Content, *last)
	} else {
		w.say("%s sets %q of %s to %d", s.ref.label, m.Key, c.ref.id, m.Content)
		id, err = p.Set(background, m.Key, m.Content)
	}
	want, no := c.ref.keep(s.ref, m, last)
	if w.agree("set", err, no) {
		w.stored(c, want, id)
	}
}

func (w *modelWorld) drop() {
	p, c, s, ok := port[chansec.Keeper[int]](w, chansec.OpDelete)
	if !ok {
		return
	}
	key := w.key()
	w.say("%s deletes %q of %s", s.ref.label, key, c.ref.id)
	gone, err := p.Delete(background, key)
	want, no := c.ref.drop(s.ref, key)
	w.agree("delete", err, no)
	w.compare("deleted", strconv.FormatBool(gone), strconv.FormatBool(want))
}
