package chansectest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/chansec/chansec/driver"
)

func checkKeyed(x *driverTrial) {
	open := func(max int) *store { return x.open(driver.Config{MaxMessages: max, Keyed: true, Reject: true}) }
	checkReplaced(x, open(3))
	checkKeyedReaders(x, open(1000))
	checkKeyedRaces(x, open(1000))
}

// checkReplaced checks what is stored, at the edge of what there is room for.
func checkReplaced(x *driverTrial, s *store) {
	is := func(when string, len int, values map[string]string) {
		x.Helper()
		want(x, "Len "+when, len, s.len())
		for key, value := range values {
			e, err := s.Last(x.Context(), key)
			if err != nil || string(e.Value) != value {
				x.wrong("%s the last entry of %q is %q, %v, want %q", when, key, e.Value, err, value)
			}
		}
	}
	a := s.put(driver.Head{Key: "a"}, "1", "2")
	b := s.put(driver.Head{Key: "b"}, "3")
	s.put(driver.Head{Key: "c"}, "4")
	is("with three keys", 3, map[string]string{"a": "2", "b": "3", "c": "4"})
	_, err := s.Append(x.Context(), driver.Head{Key: "d"}, []byte("5"))
	wantError(x, "an Append under one key more than there is room for", driver.ErrFull, err)
	_, err = s.AppendIf(x.Context(), driver.Head{Key: "a"}, []byte("6"), a[0].Seq)
	wantError(x, "an AppendIf that expects an entry which was replaced", driver.ErrConflict, err)
	is("after refusals", 3, map[string]string{"a": "2"})
	six, err := s.AppendIf(x.Context(), driver.Head{Key: "a"}, []byte("6"), a[1].Seq)
	s.failed("AppendIf under a key that is there, without room for another", err)
	s.put(driver.Head{Key: "b"}, "7")
	is("after replacements", 3, map[string]string{"a": "6", "b": "7", "c": "4"})
	n, err := s.Remove(x.Context(), newIDs(a[1], b[0], six))
	s.failed("Remove", err)
	want(x, "how many a Remove of two replaced entries and one that is there finds", 1, n)
	_, err = s.Last(x.Context(), "a")
	wantError(x, "Last of a key whose entry was removed", driver.ErrNotFound, err)
	_, err = s.AppendIf(x.Context(), driver.Head{Key: "a"}, []byte("8"), 0)
	s.failed("AppendIf under a key whose entry was removed, expecting none", err)
	is("at the end", 3, map[string]string{"a": "8", "b": "7", "c": "4"})
}

// checkKeyedReaders checks what readers see that are behind: the last entry of every key, in order, and nothing missed.
func checkKeyedReaders(x *driverTrial, s *store) {
	const keys, rounds = 10, 100
	early := s.all()
	var first driver.Stamp
	for i := range keys * rounds {
		stamps := s.put(driver.Head{Key: fmt.Sprint(i % keys)}, fmt.Sprint(i))
		if i == 0 {
			first = stamps[0]
		}
	}
	behind, err := s.Open(x.Context(), driver.View{All: true}, driver.From{After: first.ID})
	s.failed("Open behind an entry that was replaced", err)
	for what, r := range map[string]driver.Reader[[]byte]{"a reader from before all": early, "one from behind an entry that was replaced": behind} {
		var seen []string
		for range keys + 1 {
			b := s.next(r, 3)
			if b.Missed != 0 {
				x.wrong("%s missed %d", what, b.Missed)
			}
			for _, e := range b.Entries {
				seen = append(seen, string(e.Value))
			}
			r.Commit(len(b.Entries))
		}
		var all []string
		for i := keys * (rounds - 1); i < keys*rounds; i++ {
			all = append(all, fmt.Sprint(i))
		}
		want(x, "what is seen by "+what, fmt.Sprint(all), fmt.Sprint(seen))
	}
}

// checkKeyedRaces lets writers replace each other's entries: what a reader saw last of each key is what is there.
func checkKeyedRaces(x *driverTrial, s *store) {
	const keys, writers, each = 7, 4, 500
	seen := map[string]uint64{}
	r := s.all()
	drain := func() {
		for {
			b := s.next(r, 64)
			for _, e := range b.Entries {
				if e.Seq <= seen[e.Key] {
					x.wrong("a reader sees %d of key %q after %d", e.Seq, e.Key, seen[e.Key])
				}
				seen[e.Key] = e.Seq
			}
			r.Commit(len(b.Entries))
			if len(b.Entries) == 0 {
				return
			}
		}
	}
	var done atomic.Int32
	var wg sync.WaitGroup
	for g := range writers {
		wg.Go(func() {
			defer done.Add(1)
			for i := range each {
				if _, err := s.Append(x.Context(), driver.Head{Key: fmt.Sprint((g + i) % keys)}, nil); err != nil {
					x.wrong("Append: %v", err)
					return
				}
			}
		})
	}
	for done.Load() < writers {
		drain()
	}
	wg.Wait()
	drain()
	want(x, "Len", keys, s.len())
	for key, seq := range seen {
		e, err := s.Last(x.Context(), key)
		s.failed("Last", err)
		want(x, "the last entry of key "+key, e.Seq, seq)
	}
}
