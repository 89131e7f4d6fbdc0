package chansectest

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

// claiming calls a check with every configuration that has claims.
func (x *driverTrial) claiming(check func(s *store, boxes bool)) {
	x.modes(func(cfg driver.Config) {
		if cfg.Claims {
			check(x.open(cfg), cfg.Boxes)
		}
	})
}

func checkClaims(x *driverTrial) {
	a, b := consumer("a"), consumer("b")
	x.claiming(func(s *store, boxes bool) {
		want(x, "what can be claimed of nothing", 0, len(s.claim(a, "", 3, long)))
		stamps := s.put(driver.Head{}, "1", "2", "3", "4", "5")
		before := time.Now()
		dst := []driver.Claimed[[]byte]{{Attempt: 99}}
		got, err := s.Claim(x.Context(), a, "", 2, long, dst)
		s.failed("Claim", err)
		if len(got) != 3 || got[0].Attempt != 99 {
			x.stop("Claim does not append to dst")
		}
		got = got[1:]
		want(x, "what is claimed first", []string{"1", "2"}, valuesOf(got))
		for i, c := range got {
			wantEntry(x, "a claimed entry", stamps[i], driver.Head{}, []byte(fmt.Sprint(i+1)), c.Entry)
			if c.Deadline.Before(before.Add(long/2)) || c.Deadline.After(time.Now().Add(2*long)) {
				x.wrong("the deadline of a claim for %v is %v away", long, time.Until(c.Deadline))
			}
		}
		want(x, "what the same consumer claims then", []string{"3"}, valuesOf(s.claim(a, "", 1, long)))
		want(x, "what another claims then", []string{"4", "5"}, valuesOf(s.claim(b, "", 9, long)))
		want(x, "what there is left to claim", 0, len(s.claim(a, "", 9, long)))
		s.nack("a", receiptOf(got[1]))
		s.put(driver.Head{}, "6")
		want(x, "what is claimed where one was given back and one is new", []string{"2", "6"}, valuesOf(s.claim(b, "", 9, long)))
		want(x, "what is stored all the time", 6, s.len())
	})

	s := x.open(driver.Config{Claims: true, Boxes: true})
	s.put(driver.Head{Box: "x"}, "1")
	s.put(driver.Head{}, "2")
	s.put(driver.Head{Box: "y"}, "3")
	s.put(driver.Head{Box: "x"}, "4")
	want(x, "what can be claimed from no box", []string{"2"}, valuesOf(s.claim(a, "", 9, long)))
	want(x, "what can be claimed from a box without entries", 0, len(s.claim(a, "z", 9, long)))
	first := s.claim(a, "x", 1, long)
	want(x, "what is claimed first from a box", []string{"1"}, valuesOf(first))
	s.put(driver.Head{}, "5")
	want(x, "what can be claimed from a box and everyone's", []string{"4", "5"}, valuesOf(s.claim(a, "x", 9, long)))
	for _, c := range first {
		s.nack("a", receiptOf(c))
	}
	s.put(driver.Head{}, "6")
	want(x, "what is claimed where one was given back", []string{"1"}, valuesOf(s.claim(b, "x", 1, long)))
	want(x, "what can be claimed from the other box", []string{"3", "6"}, valuesOf(s.claim(b, "y", 9, long)))

	// Given back to everyone, and an older one that only one box has.
	s = x.open(driver.Config{Claims: true, Boxes: true})
	s.put(driver.Head{Box: "x"}, "older, for one")
	s.put(driver.Head{}, "for everyone")
	for _, c := range s.claim(a, "y", 1, long) {
		s.nack("a", receiptOf(c))
	}
	want(x, "what is claimed first of one that was given back and an older one", []string{"for everyone", "older, for one"}, valuesOf(s.claim(a, "x", 2, long)))
}

func checkAttempts(x *driverTrial) {
	x.claiming(func(s *store, boxes bool) {
		s.put(driver.Head{}, "1")
		last := uint64(0)
		for i := range 4 {
			got := s.claim(consumer(fmt.Sprint(i)), "", 1, long)
			if len(got) != 1 {
				x.stop("what was given back cannot be claimed")
			}
			if i == 0 {
				want(x, "the first attempt", 1, got[0].Attempt)
			} else if got[0].Attempt <= last {
				x.wrong("attempt %d follows %d", got[0].Attempt, last)
			}
			last = got[0].Attempt
			if i%2 == 0 {
				s.nack(fmt.Sprint(i), receiptOf(got[0]))
			} else {
				s.release(consumer(fmt.Sprint(i)))
			}
		}
		s.remove(s.put(driver.Head{}, "2")[0])
		s.put(driver.Head{}, "3")
		for _, c := range s.claim(consumer("w"), "", 9, long) {
			if string(c.Value) == "3" {
				want(x, "the first attempt at another entry", 1, c.Attempt)
			}
		}
	})
}

func checkReceipts(x *driverTrial) {
	x.claiming(func(s *store, boxes bool) {
		one := func(who driver.Consumer) driver.Claimed[[]byte] {
			got := s.claim(who, "", 1, long)
			if len(got) != 1 {
				x.stop("an entry that nobody holds cannot be claimed")
			}
			return got[0]
		}
		nobody := func(what, name string, r driver.Receipt) {
			want(x, "Ack by "+what, false, s.ack(name, r))
			want(x, "Nack by "+what, false, s.nack(name, r))
			_, ok := s.extend(name, r, long)
			want(x, "Extend by "+what, false, ok)
		}
		s.put(driver.Head{}, "1")
		first := one(driver.Consumer{Name: "a", Session: 1})
		nobody("another name", "b", receiptOf(first))
		nobody("no name", "", receiptOf(first))
		nobody("a later attempt", "a", driver.Receipt{ID: first.ID, Attempt: first.Attempt + 1})
		nobody("an unknown ID", "a", driver.Receipt{ID: uuid.New(), Attempt: 1})
		nobody("the zero receipt", "a", driver.Receipt{})
		_, ok := s.extend("a", driver.Receipt{ID: first.ID}, long)
		want(x, "Extend by the bare ID of what was claimed once", true, ok)
		want(x, "Nack by the bare ID of what was claimed once", true, s.nack("a", driver.Receipt{ID: first.ID}))
		nobody("a receipt whose claim ended", "a", receiptOf(first))

		second := one(driver.Consumer{Name: "a", Session: 2})
		nobody("an earlier attempt of the same name", "a", receiptOf(first))
		nobody("the bare ID of what was claimed twice", "a", driver.Receipt{ID: first.ID})
		want(x, "Nack of the second attempt", true, s.nack("a", receiptOf(second)))

		third := one(driver.Consumer{Name: "b", Session: 3})
		nobody("who held it before", "a", receiptOf(second))
		nobody("who held it before, with the attempt of the other", "a", receiptOf(third))
		want(x, "Ack by the one who holds it", true, s.ack("b", receiptOf(third)))
		nobody("who has acknowledged it", "b", receiptOf(third))
		want(x, "Len", 0, s.len())
	})
}

func checkSettling(x *driverTrial) {
	x.claiming(func(s *store, boxes bool) {
		h := driver.Head{Key: "k"}
		if boxes {
			h.Box = "box"
		}
		s.put(h, "1", "2", "3")
		got := s.claim(consumer("w"), "box", 3, long)
		if len(got) != 3 {
			x.stop("%d of 3 entries can be claimed", len(got))
		}
		want(x, "Ack", true, s.ack("w", receiptOf(got[1])))
		want(x, "what is left after Ack", []string{"1", "3"}, s.contents())
		want(x, "Ack, again", false, s.ack("w", receiptOf(got[1])))
		want(x, "Nack after Ack", false, s.nack("w", receiptOf(got[1])))
		want(x, "Nack", true, s.nack("w", receiptOf(got[2])))
		want(x, "Nack, again", false, s.nack("w", receiptOf(got[2])))
		want(x, "Ack after Nack", false, s.ack("w", receiptOf(got[2])))
		want(x, "what is left after Nack", []string{"1", "3"}, s.contents())
		before := time.Now()
		at, ok := s.extend("w", receiptOf(got[0]), 2*long)
		want(x, "Extend", true, ok)
		if at.Before(before.Add(long+long/2)) || at.After(time.Now().Add(3*long)) {
			x.wrong("the deadline that Extend by %v returns is %v away", 2*long, time.Until(at))
		}
		want(x, "what can be claimed after Nack", []string{"3"}, valuesOf(s.claim(consumer("w"), "box", 9, long)))
		s.ack("w", receiptOf(got[0]))
		e, err := s.Last(x.Context(), "k")
		s.failed("Last", err)
		want(x, "the last entry of the key", "3", string(e.Value))
		stamps := s.put(h, "4")
		held := s.claim(consumer("w"), "box", 1, long)
		want(x, "Remove of what is claimed", 1, s.remove(stamps[0]))
		for _, c := range held {
			want(x, "Ack of what was removed", false, s.ack("w", receiptOf(c)))
		}
	})
}

func checkRelease(x *driverTrial) {
	x.claiming(func(s *store, boxes bool) {
		one, two := driver.Consumer{Name: "a", Session: 1}, driver.Consumer{Name: "a", Session: 2}
		other := driver.Consumer{Name: "b", Session: 1}
		s.put(driver.Head{}, "1", "2", "3", "4", "5", "6")
		first := s.claim(one, "", 2, long)
		s.claim(two, "", 1, long)
		s.claim(other, "", 1, long)
		s.claim(one, "", 1, long)
		if len(first) != 2 {
			x.stop("%d of 2 entries can be claimed", len(first))
		}
		s.ack("a", receiptOf(first[0]))
		want(x, "Release of a session without claims", 0, s.release(driver.Consumer{Name: "c", Session: 1}))
		want(x, "Release", 2, s.release(one))
		want(x, "Release, again", 0, s.release(one))
		got := s.claim(other, "", 9, long)
		want(x, "how much can be claimed after Release", 3, len(got)) // 2 and 5, given back, and 6
		want(x, "Nack of a claim that was given back", false, s.nack("a", receiptOf(first[1])))
		want(x, "Release of the other session of the name", 1, s.release(two))
		want(x, "Release of another name with the same session", 4, s.release(other))
	})
}

func checkDeadlines(x *driverTrial) {
	x.claiming(func(s *store, boxes bool) {
		s.put(driver.Head{}, "1", "2")
		short := s.claim(consumer("slow"), "", 2, x.claim)
		if len(short) != 2 {
			x.stop("%d of 2 entries can be claimed", len(short))
		}
		if _, ok := s.extend("slow", receiptOf(short[1]), long); !ok {
			x.leaveOut("this machine is too slow for claims of " + x.claim.String())
			return
		}
		hiding := s.reader(driver.View{HideClaimed: true}, driver.From{})
		var got []driver.Claimed[[]byte]
		x.eventually("an entry becoming claimable at its deadline", func() bool {
			got = s.claim(consumer("quick"), "", 9, long)
			return len(got) > 0
		})
		if early := time.Until(short[0].Deadline); early > x.claim/2 {
			x.wrong("an entry could be claimed %v before its deadline", early)
		}
		want(x, "what can be claimed at the deadline", []string{"1"}, valuesOf(got))
		if got[0].Attempt <= short[0].Attempt {
			x.wrong("attempt %d follows %d", got[0].Attempt, short[0].Attempt)
		}
		want(x, "Ack after the deadline", false, s.ack("slow", receiptOf(short[0])))
		want(x, "Nack after the deadline", false, s.nack("slow", receiptOf(short[0])))
		_, ok := s.extend("slow", receiptOf(short[0]), long)
		want(x, "Extend after the deadline", false, ok)
		want(x, "Ack of what was extended", true, s.ack("slow", receiptOf(short[1])))
		want(x, "Ack by the new holder", true, s.ack("quick", receiptOf(got[0])))

		s.put(driver.Head{}, "3")
		late := s.claim(consumer("slow"), "", 1, x.claim)
		if len(late) != 1 {
			x.stop("an entry that nobody holds cannot be claimed")
		}
		x.eventually("a claim ending at its deadline, although nobody else wants the entry", func() bool {
			values, _, _ := s.drain(hiding)
			return len(values) > 0
		})
		want(x, "Ack after the deadline, although nobody else wanted the entry", false, s.ack("slow", receiptOf(late[0])))
		want(x, "what is stored", []string{"3"}, s.contents())
	})
}
