package chansectest

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

func newIDs(stamps ...driver.Stamp) (ids []uuid.UUID) {
	for _, s := range stamps {
		ids = append(ids, s.ID)
	}
	return ids
}

func checkAppend(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		values := [][]byte{[]byte("one"), {}, nil, {0, 0xff, '\n'}, bytes.Repeat([]byte("x"), 100_000), []byte("one")}
		ids := make(map[uuid.UUID]bool)
		reader := s.all()
		var last uint64
		for i, v := range values {
			h := driver.Head{Key: fmt.Sprint("key ", i%2)}
			if cfg.Boxes && i%2 == 1 {
				h.Box = "box"
			}
			stamp, err := s.Append(x.Context(), h, v)
			s.failed("Append", err)
			switch {
			case stamp.Seq <= last:
				x.wrong("the sequence number %d follows %d", stamp.Seq, last)
			case ids[stamp.ID] || stamp.ID == uuid.Nil:
				x.wrong("the ID %v is not new", stamp.ID)
			case stamp.Time.IsZero():
				x.wrong("the stamp has no time")
			}
			last, ids[stamp.ID] = stamp.Seq, true
			b := s.next(reader, 10)
			if len(b.Entries) != 1 {
				x.stop("%d entries are readable when the Append of one has returned", len(b.Entries))
			}
			wantEntry(x, "what is read", stamp, h, v, b.Entries[0])
			reader.Commit(1)
			e, err := s.Last(x.Context(), h.Key)
			s.failed("Last", err)
			wantEntry(x, "what Last returns", stamp, h, v, e)
			want(x, "Len", i+1, s.len())
		}
	})
}

// bytesOfAllKinds are texts that a careless encoding mixes up.
var bytesOfAllKinds = []string{
	"a", "A", "a.b", "a.*", "a.>", "*", ">", "a b", "a\x00", "a\x00b", "\x00", "\xff", "\xfe\xff", "a\nb", "a/b", "a_b", "a%2Eb", "%",
	"'", "\"", "\\", "\u00e9", "e\u0301", "\ufffd", string(bytes.Repeat([]byte("k"), 512)), string(bytes.Repeat([]byte{0xff}, 512)),
}

func checkBytes(x *driverTrial) {
	s := x.open(driver.Config{Boxes: true, Claims: true})
	var stamps []driver.Stamp
	for _, text := range bytesOfAllKinds {
		stamps = append(stamps, s.put(driver.Head{Key: text, Box: text, Once: text}, "value of "+text)...)
	}
	want(x, "Len", len(bytesOfAllKinds), s.len())
	for i, text := range bytesOfAllKinds {
		h, value := driver.Head{Key: text, Box: text}, []byte("value of "+text)
		e, err := s.Last(x.Context(), text)
		if err != nil {
			x.wrong("Last of the key %.20q: %v", text, err)
			continue
		}
		wantEntry(x, "the last entry of a key", stamps[i], h, value, e)
		values, _, _ := s.drain(s.reader(driver.View{Box: text}, driver.From{}))
		want(x, fmt.Sprintf("what a reader of the box %.20q sees", text), []string{string(value)}, values)
		again := s.put(driver.Head{Once: text}, "again")
		want(x, fmt.Sprintf("the stamp of a second Append with Once %.20q", text), stamps[i].ID, again[0].ID)
		got := s.claim(consumer("w"), text, 10, long)
		want(x, fmt.Sprintf("what can be claimed from the box %.20q", text), []string{string(value)}, valuesOf(got))
	}
}

func checkOnce(x *driverTrial) {
	window := driver.OnceWindow
	if testingShort() {
		window = 100
	}
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		first := s.put(driver.Head{Once: "first"}, "1")
		again := s.put(driver.Head{Once: "first"}, "2")
		want(x, "the stamp of an Append that was done before", first[0].ID, again[0].ID)
		want(x, "the sequence number of an Append that was done before", first[0].Seq, again[0].Seq)
		if a := s.put(driver.Head{}, "3"); a[0].ID == s.put(driver.Head{}, "4")[0].ID {
			x.wrong("two Appends without Once are taken for one")
		}
		conditional, err := s.AppendIf(x.Context(), driver.Head{Key: "k", Once: "if"}, []byte("5"), 0)
		s.failed("AppendIf", err)
		stamp, err := s.AppendIf(x.Context(), driver.Head{Key: "k", Once: "if"}, []byte("6"), 0)
		if err != nil || stamp.ID != conditional.ID {
			x.wrong("an AppendIf that was done before returns %v, %v, want the stamp of then", stamp.ID, err)
		}
		want(x, "what is stored", []string{"1", "3", "4", "5"}, s.contents())
	})
	s := x.open(driver.Config{MaxMessages: 10})
	first := s.put(driver.Head{Once: "0"}, "")
	for i := 1; i < window; i++ {
		s.put(driver.Head{Once: fmt.Sprint(i)}, "")
	}
	again := s.put(driver.Head{Once: "0"}, "")
	want(x, "the stamp of an Append that was done before, although many came between and its entry is gone", first[0].ID, again[0].ID)
}

func checkAppendIf(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		try := func(what, key string, last uint64, fail bool) driver.Stamp {
			stamp, err := s.AppendIf(x.Context(), driver.Head{Key: key}, []byte(what), last)
			switch {
			case fail:
				wantError(x, what, driver.ErrConflict, err)
			case err != nil:
				x.stop("%s: %v", what, err)
			}
			return stamp
		}
		try("on an empty key, expecting an entry", "k", 1, true)
		one := try("on an empty key, expecting none", "k", 0, false)
		try("on a key with an entry, expecting none", "k", 0, true)
		two := try("on a key with an entry, expecting it", "k", one.Seq, false)
		try("on a key with a later entry", "k", one.Seq, true)
		other := try("on another key, expecting none", "l", 0, false)
		try("on a key, expecting the entry of another", "l", two.Seq, true)
		try("expecting a sequence number that is not there yet", "k", other.Seq+1, true)
		plain := s.put(driver.Head{Key: "k"}, "Append")
		try("after an Append, expecting what was before", "k", two.Seq, true)
		three := try("after an Append, expecting that", "k", plain[0].Seq, false)
		want(x, "what is stored", 5, s.len())

		s.remove(three)
		try("after a removal, expecting what was removed", "k", three.Seq, true)
		try("after a removal, expecting none", "k", 0, true)
		four := try("after a removal, expecting the one before", "k", plain[0].Seq, false)
		s.clear()
		try("after everything was cleared, expecting what was", "k", four.Seq, true)
		try("after everything was cleared, expecting none", "k", 0, false)
	})
}

func checkAppendIfRaces(x *driverTrial) {
	s := x.open(driver.Config{})
	var last uint64
	for round := range 30 {
		var wg sync.WaitGroup
		var winners, conflicts atomic.Int32
		var won atomic.Uint64
		start := make(chan struct{})
		for g := range 8 {
			wg.Go(func() {
				<-start
				stamp, err := s.AppendIf(x.Context(), driver.Head{Key: "k"}, []byte{byte(g)}, last)
				switch {
				case err == nil:
					winners.Add(1)
					won.Store(stamp.Seq)
				default:
					wantError(x, "AppendIf in a race", driver.ErrConflict, err)
					conflicts.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		if winners.Load() != 1 || conflicts.Load() != 7 {
			x.stop("of 8 AppendIf on the same condition %d succeed", winners.Load())
		}
		last = won.Load()
		want(x, "Len", round+1, s.len())
	}
}

func checkLast(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		is := func(when, key, value string) {
			e, err := s.Last(x.Context(), key)
			if value == "" {
				wantError(x, when, driver.ErrNotFound, err)
				return
			}
			if err != nil || string(e.Value) != value {
				x.wrong("%s: the last entry of the key is %q, %v, want %q", when, e.Value, err, value)
			}
		}
		is("before anything was stored", "k", "")
		stamps := s.put(driver.Head{Key: "k"}, "1", "2", "3")
		s.put(driver.Head{Key: "other"}, "4")
		s.put(driver.Head{}, "5")
		is("after three entries", "k", "3")
		is("of another key", "other", "4")
		is("of a key that was never used", "never", "")
		s.remove(stamps[1])
		is("after one before it was removed", "k", "3")
		s.remove(stamps[2])
		is("after it was removed", "k", "1")
		s.remove(stamps[0])
		is("after all of them were removed", "k", "")
		s.put(driver.Head{Key: "k"}, "6")
		is("after one more", "k", "6")
		s.evict(noTime, 0)
		is("after everything was evicted", "k", "")
	})
	s := x.open(driver.Config{MaxMessages: 2})
	s.put(driver.Head{Key: "k"}, "1")
	s.put(driver.Head{}, "2", "3")
	_, err := s.Last(x.Context(), "k")
	wantError(x, "Last of a key whose entry retention took", driver.ErrNotFound, err)
}

func checkNewest(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		is := func(when string, id uuid.UUID) {
			got, err := s.Newest(x.Context())
			if err != nil {
				x.wrong("Newest %s: %v", when, err)
			}
			want(x, "Newest "+when, id, got)
		}
		is("before anything was stored", uuid.Nil)
		stamps := s.put(driver.Head{}, "1", "2")
		is("of two entries", stamps[1].ID)
		s.remove(stamps[1])
		is("after it was removed", stamps[1].ID)
		s.evict(noTime, 0)
		is("after everything was evicted", stamps[1].ID)
		is("of one more", s.put(driver.Head{}, "3")[0].ID)
	})
}

func checkRemove(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		stamps := s.put(driver.Head{}, "1", "2", "3", "4", "5")
		want(x, "Remove of two entries", 2, s.remove(stamps[1], stamps[3]))
		want(x, "what is left", []string{"1", "3", "5"}, s.contents())
		want(x, "Remove of one that is gone, one twice and one that never was", 1, s.remove(stamps[1], stamps[0], stamps[0], driver.Stamp{ID: uuid.New()}, driver.Stamp{}))
		want(x, "Remove of none", 0, s.remove())
		want(x, "Len", 2, s.len())
		next := s.put(driver.Head{}, "6")
		if next[0].Seq <= stamps[4].Seq {
			x.wrong("after a removal, the sequence number %d follows %d", next[0].Seq, stamps[4].Seq)
		}
		want(x, "what is left", []string{"3", "5", "6"}, s.contents())
	})
	other, s := x.open(driver.Config{}), x.open(driver.Config{})
	foreign := other.put(driver.Head{}, "1", "2")
	s.put(driver.Head{}, "1", "2")
	want(x, "Remove of the IDs of another backend", 0, s.remove(foreign...))
}

func checkEvict(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		stamps := s.put(driver.Head{}, "1", "2", "3", "4", "5")
		want(x, "Evict of nothing", 0, s.evict(noTime, -1))
		want(x, "Evict beyond more than there are", 0, s.evict(noTime, 9))
		want(x, "Evict beyond the newest three", 2, s.evict(noTime, 3))
		want(x, "what is left", []string{"3", "4", "5"}, s.contents())
		want(x, "Evict before the first", 0, s.evict(stamps[0].Time, -1))
		want(x, "Evict before a time to come", 3, s.evict(stamps[4].Time.Add(long), -1))
		want(x, "Len", 0, s.len())
		next := s.put(driver.Head{}, "6", "7")
		if next[0].Seq <= stamps[4].Seq {
			x.wrong("after everything was evicted, the sequence number %d follows %d", next[0].Seq, stamps[4].Seq)
		}
		want(x, "Evict beyond none", 2, s.evict(noTime, 0))
	})
	s := x.open(driver.Config{})
	var middle driver.Stamp
	s.put(driver.Head{}, "1")
	x.eventually("a later time of an entry", func() bool {
		middle = s.put(driver.Head{}, "2")[0]
		return middle.Time.After(s.next(s.all(), 1).Entries[0].Time)
	})
	s.evict(middle.Time, -1)
	for _, e := range s.next(s.all(), 1000).Entries {
		if e.Time.Before(middle.Time) {
			x.wrong("an entry from before the time is left")
		}
	}
	if values := s.contents(); len(values) == 0 {
		x.wrong("the entry of the time itself went")
	}
}

func checkClear(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		want(x, "Clear of nothing", 0, s.clear())
		stamps := s.put(driver.Head{Key: "k"}, "1", "2", "3")
		s.remove(stamps[1])
		var held []driver.Claimed[[]byte]
		if cfg.Claims {
			held = s.claim(consumer("w"), "", 1, long)
		}
		want(x, "Clear", 2, s.clear())
		want(x, "Len", 0, s.len())
		want(x, "what is left", 0, len(s.contents()))
		for _, c := range held {
			want(x, "Ack of a claim on what was cleared", false, s.ack("w", receiptOf(c)))
		}
		next := s.put(driver.Head{}, "4")
		if next[0].Seq <= stamps[2].Seq {
			x.wrong("after Clear, the sequence number %d follows %d", next[0].Seq, stamps[2].Seq)
		}
		want(x, "what is stored afterwards", []string{"4"}, s.contents())
		if cfg.Claims {
			want(x, "what can be claimed afterwards", []string{"4"}, valuesOf(s.claim(consumer("w"), "", 9, long)))
		}
	})
}
