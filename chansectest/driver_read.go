package chansectest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

var noTime time.Time

func testingShort() bool { return testing.Short() }

func checkFrom(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		sees := func(what string, from driver.From, values ...string) {
			got, missed, _ := s.drain(s.reader(driver.View{All: true}, from))
			want(x, "what a reader sees that begins "+what, values, got)
			want(x, "missed by a reader that begins "+what, 0, missed)
		}
		early := s.reader(driver.View{All: true}, driver.From{Tail: true})
		sees("in an empty backend", driver.From{})
		stamps := s.put(driver.Head{}, "1", "2", "3", "4")
		sees("at the oldest entry", driver.From{}, "1", "2", "3", "4")
		sees("behind the newest", driver.From{Tail: true})
		sees("behind the second", driver.From{After: stamps[1].ID}, "3", "4")
		sees("behind the last", driver.From{After: stamps[3].ID})
		s.remove(stamps[0], stamps[2])
		sees("at the oldest after a removal", driver.From{}, "2", "4")
		sees("behind an entry that was removed", driver.From{After: stamps[2].ID}, "4")
		values, _, _ := s.drain(early)
		want(x, "what a reader sees that began behind the newest of none", []string{"2", "4"}, values)
		late := s.reader(driver.View{All: true}, driver.From{Tail: true})
		s.put(driver.Head{}, "5")
		values, _, _ = s.drain(late)
		want(x, "what a reader sees that began behind the newest", []string{"5"}, values)

		other := x.open(cfg)
		foreign := other.put(driver.Head{}, "1", "2", "3", "4", "5", "6", "7")
		for what, id := range map[string]uuid.UUID{"a random ID": uuid.New(), "an ID of another backend": foreign[1].ID, "an ID that is not there yet": foreign[6].ID} {
			if r, err := s.Open(x.Context(), driver.View{}, driver.From{After: id}); err == nil {
				r.Close()
				x.wrong("Open behind %s: there is no error", what)
			} else {
				wantError(x, "Open behind "+what, driver.ErrNotFound, err)
			}
		}
	})
}

func checkBatches(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		const n = 300
		stamps := make([]driver.Stamp, n)
		for i := range stamps {
			h := driver.Head{}
			if cfg.Boxes && i%3 == 0 {
				h.Box = "a"
			}
			stamps[i] = s.put(h, fmt.Sprint(i))[0]
		}
		for _, limit := range []int{1, 2, 7, 100, n, 10 * n} {
			r := s.reader(driver.View{Box: "a"}, driver.From{})
			for i := 0; i < n; {
				b := s.next(r, limit)
				if len(b.Entries) == 0 || len(b.Entries) > limit || b.Missed > 0 {
					x.stop("Next(%d) returns %d entries and %d missed, where there are %d", limit, len(b.Entries), b.Missed, n-i)
				}
				for _, e := range b.Entries {
					if e.ID != stamps[i].ID || string(e.Value) != fmt.Sprint(i) {
						x.stop("Next(%d) returns entry %d in place %d", limit, e.Seq, i)
					}
					i++
				}
				r.Commit(len(b.Entries))
			}
			if b := s.next(r, limit); len(b.Entries) > 0 {
				x.wrong("Next returns entries behind the last one")
			}
		}
		for i, stamp := range stamps { // holes, also larger than a batch
			if i%5 == 0 || 20 < i && i < 250 {
				s.remove(stamp)
			}
		}
		var left []string
		for i := range n {
			if i%5 != 0 && !(20 < i && i < 250) {
				left = append(left, fmt.Sprint(i))
			}
		}
		want(x, "what is read where entries were removed", left, s.contents())
	})
}

func checkPositions(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		one, two := s.all(), s.all()
		s.put(driver.Head{}, "1", "2", "3", "4")
		first := func(r driver.Reader[[]byte]) string {
			b := s.next(r, 1)
			if len(b.Entries) != 1 {
				x.stop("Next(1) returns %d entries", len(b.Entries))
			}
			return string(b.Entries[0].Value)
		}
		want(x, "the first entry", "1", first(one))
		want(x, "the first entry again, without Commit", "1", first(one))
		one.Commit(0)
		want(x, "the first entry after Commit(0)", "1", first(one))
		one.Commit(1)
		want(x, "the entry after Commit(1)", "2", first(one))
		b := s.next(one, 3)
		one.Commit(min(2, len(b.Entries)))
		want(x, "the entry after Commit of a part of a batch", "4", first(one))
		want(x, "the first entry of another reader", "1", first(two))
		s.put(driver.Head{}, "5")
		one.Commit(1)
		want(x, "the entry after Commit, where more was appended since Next", "5", first(one))
		one.Commit(1)
		want(x, "what is left for the other reader", 5, func() int { values, _, _ := s.drain(two); return len(values) }())
		s.put(driver.Head{}, "6")
		want(x, "the next entry of a reader that had come to the end", "6", first(one))
		want(x, "the next entry of the other", "6", first(two))
	})
}

func checkViews(x *driverTrial) {
	s := x.open(driver.Config{Boxes: true, Claims: true})
	sees := func(v driver.View, values ...string) {
		got, _, _ := s.drain(s.reader(v, driver.From{}))
		want(x, fmt.Sprintf("what a reader of %+v sees", v), values, got)
	}
	sees(driver.View{Box: "a"})
	early := s.reader(driver.View{Box: "a"}, driver.From{})
	s.put(driver.Head{}, "1")
	s.put(driver.Head{Box: "a"}, "2")
	s.put(driver.Head{Box: "b"}, "3")
	s.put(driver.Head{}, "4")
	s.put(driver.Head{Box: "a"}, "5")
	sees(driver.View{}, "1", "4")
	sees(driver.View{Box: "a"}, "1", "2", "4", "5")
	sees(driver.View{Box: "b"}, "1", "3", "4")
	sees(driver.View{Box: "c"}, "1", "4")
	sees(driver.View{Box: "A"}, "1", "4")
	sees(driver.View{All: true}, "1", "2", "3", "4", "5")
	sees(driver.View{All: true, Box: "a"}, "1", "2", "3", "4", "5")
	values, _, _ := s.drain(early)
	want(x, "what a reader sees that was there before the box", []string{"1", "2", "4", "5"}, values)

	held := s.claim(consumer("w"), "a", 2, long)
	if len(held) != 2 {
		x.stop("%d of 2 entries can be claimed", len(held))
	}
	want(x, "what was claimed", []string{"1", "2"}, valuesOf(held))
	sees(driver.View{Box: "a", HideClaimed: true}, "4", "5")
	sees(driver.View{All: true, HideClaimed: true}, "3", "4", "5")
	sees(driver.View{Box: "a"}, "1", "2", "4", "5")
	s.nack("w", receiptOf(held[1]))
	sees(driver.View{Box: "a", HideClaimed: true}, "2", "4", "5")
	s.ack("w", receiptOf(held[0]))
	sees(driver.View{Box: "a"}, "2", "4", "5")
}

func checkMissed(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		if cfg.Reject {
			return
		}
		cfg.MaxMessages = 10
		s := x.open(cfg)
		everything, behind := s.all(), s.all()
		boxed := s.reader(driver.View{Box: "a"}, driver.From{})
		stamps := s.put(driver.Head{}, "1", "2", "3", "4")
		s.next(behind, 2)
		behind.Commit(2) // "3" is next
		mine := uint64(0)
		for i := 5; i <= 25; i++ { // the first 15 go
			h := driver.Head{}
			if cfg.Boxes {
				h.Box = []string{"a", "b", ""}[i%3]
			}
			if i <= 15 && (h.Box == "a" || h.Box == "") {
				mine++
			}
			s.put(h, fmt.Sprint(i))
		}
		told := func(what string, r driver.Reader[[]byte], exactly uint64) {
			b := s.next(r, 100)
			switch {
			case !b.AtMost && b.Missed != exactly:
				x.wrong("%s is told of %d missed entries, want %d", what, b.Missed, exactly)
			case b.AtMost && b.Missed < exactly:
				x.wrong("%s is told of at most %d missed entries, and missed %d", what, b.Missed, exactly)
			}
			r.Commit(0)
			if b = s.next(r, 100); b.Missed > 0 {
				x.wrong("%s is told twice", what)
			}
			if len(b.Entries) == 0 {
				x.wrong("%s does not go on at the oldest entry that is left", what)
			}
			r.Commit(len(b.Entries))
			if _, missed, _ := s.drain(r); missed > 0 {
				x.wrong("%s is told of more missed entries at the end", what)
			}
		}
		told("a reader from the beginning", everything, 15)
		told("a reader in the middle", behind, 13)
		told("a reader of one box", boxed, mine+4)
		told("a reader from behind an entry that is gone", s.reader(driver.View{All: true}, driver.From{After: stamps[0].ID}), 14)
		told("a reader that begins at the oldest", s.all(), 0)

		evicted := s.all()
		s.evict(noTime, 4)
		told("a reader that was overtaken by Evict", evicted, 6)

		late := s.all()
		s.next(late, 2)
		s.evict(noTime, 1)
		late.Commit(2)
		told("a reader that was overtaken between Next and Commit", late, 1)
	})
}

func checkRemovedIsNotMissed(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		r, tail := s.all(), s.reader(driver.View{All: true}, driver.From{})
		told := func(what string, exactly uint64) {
			_, missed, atMost := s.drain(r)
			if !atMost && missed != exactly || missed < exactly {
				x.wrong("%s: a reader is told of %d missed entries, want %d", what, missed, exactly)
			}
		}
		stamps := s.put(driver.Head{}, "1", "2", "3")
		s.remove(stamps[:2]...)
		told("after the oldest were removed", 0)
		s.put(driver.Head{}, "4", "5")
		s.clear()
		told("after everything was cleared", 0)
		if cfg.Claims {
			s.put(driver.Head{}, "6", "7")
			for _, c := range s.claim(consumer("w"), "", 2, long) {
				s.ack("w", receiptOf(c))
			}
			told("after everything was acknowledged", 0)
		}
		stamps = s.put(driver.Head{}, "8", "9", "10", "11")
		s.remove(stamps[1])
		s.evict(noTime, 1)
		told("after one of four was removed and two more evicted", 2)
		if _, missed, _ := s.drain(tail); missed < 2 {
			x.wrong("a reader that was behind all along is told of %d missed entries, want at least 2", missed)
		}
	})
}

func checkRetention(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		if cfg.Reject {
			return
		}
		for _, most := range []int{1, 3, 200} {
			cfg.MaxMessages = most
			s := x.open(cfg)
			var all []string
			for i := range 2*most + 5 {
				s.put(driver.Head{}, fmt.Sprint(i))
				all = append(all, fmt.Sprint(i))
				if n := s.len(); n > most {
					x.stop("%d entries are stored, at most %d may be", n, most)
				}
			}
			want(x, fmt.Sprintf("what is kept of many entries where %d may be", most), all[len(all)-most:], s.contents())
			if cfg.Claims {
				got := s.claim(consumer("w"), "", 1, long)
				want(x, "what is claimed first of what is kept", all[len(all)-most:len(all)-most+1], valuesOf(got))
				s.put(driver.Head{}, "more")
				for _, c := range got {
					want(x, "Ack of a claim on what retention took", false, s.ack("w", receiptOf(c)))
				}
			}
		}
	})
}

func checkFull(x *driverTrial) {
	for _, boxes := range []bool{false, true} {
		s := x.open(driver.Config{MaxMessages: 3, Reject: true, Claims: true, Boxes: boxes})
		full := func(when string) {
			_, err := s.Append(x.Context(), driver.Head{}, []byte("too much"))
			wantError(x, "Append "+when, driver.ErrFull, err)
			_, err = s.AppendIf(x.Context(), driver.Head{Key: "k"}, []byte("too much"), 0)
			wantError(x, "AppendIf "+when, driver.ErrFull, err)
		}
		stamps := s.put(driver.Head{}, "1", "2", "3")
		full("beyond the maximum")
		held := s.claim(consumer("w"), "", 2, long)
		full("beyond the maximum while some are claimed")
		want(x, "what is stored", []string{"1", "2", "3"}, s.contents())
		s.ack("w", receiptOf(held[0]))
		s.put(driver.Head{}, "4")
		full("beyond the maximum, again")
		s.remove(stamps[2])
		s.put(driver.Head{}, "5")
		want(x, "what is stored at the end", []string{"2", "4", "5"}, s.contents())
		s.clear()
		s.put(driver.Head{}, "6")
	}
}

func checkAge(x *driverTrial) {
	const age = 30 * time.Millisecond
	x.modes(func(cfg driver.Config) {
		if cfg.Reject {
			return
		}
		cfg.MaxAge = age
		s := x.open(cfg)
		began := time.Now()
		r := s.all()
		s.put(driver.Head{Key: "k"}, "1", "2")
		n := s.len()
		if took := time.Since(began); took < age && n != 2 {
			x.wrong("%d of 2 entries are left after %v, where they may be %v old", n, took, age)
		}
		x.eventually("entries being discarded for their age", func() bool { return s.len() == 0 })
		want(x, "what is read after that", 0, len(s.contents()))
		_, err := s.Last(x.Context(), "k")
		wantError(x, "Last of a key whose entry was too old", driver.ErrNotFound, err)
		values, missed, atMost := s.drain(r)
		if len(values) > 0 || !atMost && missed != 2 || missed < 2 {
			x.wrong("a reader is told of %d missed entries and reads %v, want 2 and none", missed, values)
		}
		s.put(driver.Head{}, "3")
		x.eventually("a later entry being discarded for its age", func() bool { return s.len() == 0 })
	})
	s := x.open(driver.Config{MaxAge: time.Hour})
	s.put(driver.Head{}, "1")
	want(x, "what is kept of what is not old", 1, s.len())
}

func checkBoxes(x *driverTrial) {
	for _, claims := range []bool{false, true} {
		s := x.open(driver.Config{Boxes: true, Claims: claims, MaxBoxes: 3})
		s.put(driver.Head{}, "everyone's")
		var stamps []driver.Stamp
		for _, box := range []string{"a", "b", "c"} {
			stamps = append(stamps, s.put(driver.Head{Box: box}, box)...)
		}
		_, err := s.Append(x.Context(), driver.Head{Box: "d"}, nil)
		wantError(x, "Append to one box more than there may be", driver.ErrTooManyBoxes, err)
		s.put(driver.Head{Box: "b"}, "more of b")
		s.put(driver.Head{}, "more of everyone's")
		want(x, "what is stored", 6, s.len())
		s.remove(stamps[2])
		s.put(driver.Head{Box: "d"}, "d")
		_, err = s.Append(x.Context(), driver.Head{Box: "c"}, nil)
		wantError(x, "Append to one box more than there may be, again", driver.ErrTooManyBoxes, err)
		s.clear()
		for _, box := range []string{"e", "f", "g"} {
			s.put(driver.Head{Box: box}, box)
		}
	}
}

func checkReaderClose(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		s.put(driver.Head{}, "1", "2", "3")
		for range 20 {
			r, err := s.Open(x.Context(), driver.View{}, driver.From{})
			s.failed("Open", err)
			var wg sync.WaitGroup
			wg.Go(func() {
				x.safely("a reader that is closed meanwhile", func() {
					wake := make(chan struct{}, 1)
					for range 20 {
						b, err := r.Next(x.Context(), 1)
						if err != nil {
							return
						}
						r.Commit(len(b.Entries))
						r.Wake(wake)
					}
				})
			})
			wg.Go(func() { r.Close() })
			wg.Go(func() { r.Close() })
			if !x.returns(wg.Wait) {
				x.stop("Close or the use of a closed reader does not return")
			}
			r.Close()
		}
		values, _, _ := s.drain(s.all())
		want(x, "what others read afterwards", []string{"1", "2", "3"}, values)
	})
}

func checkConcurrentUse(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		cfg.MaxMessages = 100_000
		s := x.open(cfg)
		const writers, each = 4, 250
		var wg, writing sync.WaitGroup
		done := make(chan struct{})
		orders := make([][]uint64, 3)
		for i := range orders {
			r := s.reader(driver.View{All: true}, driver.From{})
			wg.Go(func() { orders[i] = x.follow(r, done) })
		}
		for g := range writers {
			writing.Go(func() {
				for i := range each {
					h := driver.Head{Key: fmt.Sprint(i % 7), Once: fmt.Sprint(g, " ", i)}
					if cfg.Boxes {
						h.Box = []string{"", "a"}[i%2]
					}
					if _, err := s.Append(x.Context(), h, []byte(fmt.Sprint(g, " ", i))); err != nil {
						x.wrong("Append: %v", err)
						return
					}
					_, _ = s.Last(x.Context(), h.Key)
				}
			})
		}
		writing.Wait()
		close(done)
		wg.Wait()
		for _, o := range orders {
			if len(o) != writers*each || !slices.Equal(o, orders[0]) || !slices.IsSorted(o) {
				x.wrong("of %d entries a reader sees %d, or in another order than others do", writers*each, len(o))
			}
		}
		if cfg.Claims && !x.broken() {
			x.work(s, writers*each)
		}
	})
}

// follow reads until everything was read that was stored when done was closed.
func (x *driverTrial) follow(r driver.Reader[[]byte], done <-chan struct{}) (order []uint64) {
	wake := make(chan struct{}, 1)
	for {
		last := isClosed(done)
		b, err := r.Next(x.Context(), 10)
		if err != nil {
			x.wrong("Next: %v", err)
			return order
		}
		for _, e := range b.Entries {
			order = append(order, e.Seq)
		}
		r.Commit(len(b.Entries))
		if len(b.Entries) > 0 {
			continue
		}
		if last {
			return order
		}
		if !r.Wake(wake) {
			select {
			case <-wake:
			case <-done:
			}
		}
	}
}

// work lets several workers do n entries, each of which must be done once.
func (x *driverTrial) work(s *store, n int) {
	var mu sync.Mutex
	did := make(map[uint64]int)
	var wg sync.WaitGroup
	for g := range 4 {
		who := driver.Consumer{Name: fmt.Sprint("worker ", g%2), Session: uint64(g)}
		wg.Go(func() {
			for round := 0; ; round++ {
				got, err := s.Claim(x.Context(), who, "a", 5, long, nil)
				if err != nil {
					x.wrong("Claim: %v", err)
					return
				}
				mu.Lock()
				finished := len(did) == n
				mu.Unlock()
				if len(got) == 0 && finished || x.broken() {
					return
				}
				for i, c := range got {
					if round%3 == 0 && i == 0 {
						_, _ = s.Nack(x.Context(), who.Name, receiptOf(c))
						continue
					}
					if ok, err := s.Ack(x.Context(), who.Name, receiptOf(c)); !ok || err != nil {
						x.wrong("Ack of what was just claimed: %v, %v", ok, err)
					}
					mu.Lock()
					if did[c.Seq]++; did[c.Seq] > 1 {
						x.wrong("entry %d was done twice", c.Seq)
					}
					mu.Unlock()
				}
			}
		})
	}
	if !x.returns(wg.Wait) {
		x.stop("not all entries can be claimed: %d of %d were done", len(did), n)
	}
	want(x, "what is left after all were acknowledged", 0, s.len())
}
