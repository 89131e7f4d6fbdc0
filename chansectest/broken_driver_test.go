package chansectest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

// driverFindings runs one rule and returns what it found wrong.
func driverFindings(t *testing.T, name string, fault func(*faulty)) []string {
	t.Helper()
	i := slices.IndexFunc(driverRules, func(r rule[*driverTrial]) bool { return r.name == name })
	require.NotEqual(t, -1, i, "there is no rule %q", name)
	x := &trial{T: t, options: newOptions([]Option{Patience(300 * time.Millisecond)})}
	fresh := func(t *testing.T, cfg driver.Config) backend { return newFaulty(t, cfg, fault) }
	x.do(func() { driverRules[i].check(&driverTrial{x, fresh}) })
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.problems)
}

var errAway = errors.New("the database is away")

// TestEveryRuleFindsBackendsThatBreakIt breaks a backend in one place at a time.
func TestEveryRuleFindsBackendsThatBreakIt(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	covered := make(map[string]bool)
	for _, tt := range []struct {
		rule  string
		name  string // what the backend does wrong
		fault func(f *faulty)
		want  string // part of what is found
	}{
		{"append", "fails", func(f *faulty) {
			f.onAppend = func(backend, driver.Head, []byte) (driver.Stamp, error) { return driver.Stamp{}, errAway }
		}, "Append: the database is away"},
		{"append", "counts from the beginning again", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				s, err := b.Append(ctx, h, v)
				s.Seq = 1
				return s, err
			}
		}, "the sequence number 1 follows 1"},
		{"append", "gives every entry the same ID", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				s, err := b.Append(ctx, h, v)
				s.ID = uuid.Max
				return s, err
			}
		}, "is not new"},
		{"append", "returns before the entry is stored", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				return driver.Stamp{Seq: 1, ID: uuid.New(), Time: time.Now()}, nil
			}
		}, "0 entries are readable"},
		{"append", "forgets the key", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				return b.Append(ctx, driver.Head{Box: h.Box}, v)
			}
		}, `want key "key 0"`},
		{"append", "cuts large values", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				return b.Append(ctx, h, v[:min(len(v), 65536)])
			}
		}, "want a value of 100000 bytes"},

		{"bytes", "folds the case of keys", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				h.Key = strings.ToLower(h.Key)
				return b.Append(ctx, h, v)
			}
		}, "the last entry of a key"},
		{"bytes", "takes text that is no UTF-8 for damaged", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				h.Box = strings.ToValidUTF8(h.Box, "\ufffd")
				return b.Append(ctx, h, v)
			}
		}, "what a reader of the box"},
		{"bytes", "cuts Once at a zero byte", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				h.Once, _, _ = strings.Cut(h.Once, "\x00")
				return b.Append(ctx, h, v)
			}
		}, "Len: want"},

		{"once", "stores an entry twice", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				h.Once = ""
				return b.Append(ctx, h, v)
			}
		}, "the stamp of an Append that was done before"},
		{"once", "forgets it with the entry", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				if h.Once == "0" {
					h.Once = ""
				}
				return b.Append(ctx, h, v)
			}
		}, "although many came between"},
		{"once", "looks at the condition first", func(f *faulty) {
			f.onAppendIf = func(b backend, h driver.Head, v []byte, last uint64) (driver.Stamp, error) {
				h.Once = ""
				return b.AppendIf(ctx, h, v, last)
			}
		}, "an AppendIf that was done before returns"},

		{"append if", "does not look at the condition", func(f *faulty) {
			f.onAppendIf = func(b backend, h driver.Head, v []byte, _ uint64) (driver.Stamp, error) { return b.Append(ctx, h, v) }
		}, "on an empty key, expecting an entry"},
		{"append if", "takes 0 for no condition", func(f *faulty) {
			f.onAppendIf = func(b backend, h driver.Head, v []byte, last uint64) (driver.Stamp, error) {
				if last == 0 {
					return b.Append(ctx, h, v)
				}
				return b.AppendIf(ctx, h, v, last)
			}
		}, "on a key with an entry, expecting none"},
		{"append if", "conflicts with other keys", func(f *faulty) {
			f.onAppendIf = func(b backend, h driver.Head, v []byte, last uint64) (driver.Stamp, error) {
				h.Key = "one for all"
				return b.AppendIf(ctx, h, v, last)
			}
		}, "on another key, expecting none"},

		{"append if races", "looks first and stores then", func(f *faulty) {
			var looked sync.WaitGroup
			looked.Add(8)
			var first atomic.Int32
			f.onAppendIf = func(b backend, h driver.Head, v []byte, last uint64) (driver.Stamp, error) {
				if first.Add(1) <= 8 { // in the first round they all look before any of them stores
					looked.Done()
					looked.Wait()
				}
				return b.Append(ctx, h, v)
			}
		}, "of 8 AppendIf on the same condition 8 succeed"},
		{"append if races", "conflicts with everybody", func(f *faulty) {
			f.onAppendIf = func(backend, driver.Head, []byte, uint64) (driver.Stamp, error) {
				return driver.Stamp{}, driver.ErrConflict
			}
		}, "0 succeed"},

		{"last", "returns the first", func(f *faulty) {
			first := make(map[string]driver.Entry[[]byte])
			f.onLast = func(b backend, key string) (driver.Entry[[]byte], error) {
				e, err := b.Last(ctx, key)
				if old, ok := first[key]; ok {
					return old, nil
				} else if err == nil {
					first[key] = e
				}
				return e, err
			}
		}, "after it was removed"},
		{"last", "has no error for nothing", func(f *faulty) {
			f.onLast = func(b backend, key string) (driver.Entry[[]byte], error) {
				e, _ := b.Last(ctx, key)
				return e, nil
			}
		}, "before anything was stored: want the error"},

		{"newest", "forgets what was removed", func(f *faulty) {
			f.onNewest = func(b backend) (uuid.UUID, error) {
				id, err := b.Newest(ctx)
				if n, _ := b.Len(ctx); n == 0 {
					id = uuid.Nil
				}
				return id, err
			}
		}, "after everything was evicted"},
		{"newest", "has none", func(f *faulty) {
			f.onNewest = func(backend) (uuid.UUID, error) { return uuid.Nil, nil }
		}, "of two entries"},

		{"from", "always begins at the oldest entry", func(f *faulty) {
			f.onOpen = func(b backend, v driver.View, _ driver.From) (entries, error) { return b.Open(ctx, v, driver.From{}) }
		}, "begins behind the newest"},
		{"from", "begins at the oldest entry for an unknown ID", func(f *faulty) {
			f.onOpen = func(b backend, v driver.View, from driver.From) (entries, error) {
				r, err := b.Open(ctx, v, from)
				if err == driver.ErrNotFound {
					return b.Open(ctx, v, driver.From{})
				}
				return r, err
			}
		}, "Open behind a random ID: there is no error"},

		{"batches", "returns more than were asked for", func(f *faulty) {
			f.onNext = func(r entries, limit int) (batch, error) { return r.Next(ctx, limit+1) }
		}, "Next(1) returns 2 entries"},
		{"batches", "returns none although there are some", func(f *faulty) {
			f.onNext = func(r entries, limit int) (batch, error) {
				b, err := r.Next(ctx, limit)
				if len(b.Entries) > 0 && b.Entries[0].Seq == 200 {
					b.Entries = nil
				}
				return b, err
			}
		}, "returns 0 entries"},
		{"batches", "turns the order around", func(f *faulty) {
			f.onNext = func(r entries, limit int) (batch, error) {
				b, err := r.Next(ctx, limit)
				b.Entries = slices.Clone(b.Entries)
				slices.Reverse(b.Entries)
				return b, err
			}
		}, "in place 0"},

		{"positions", "moves the position in Next", func(f *faulty) {
			f.onNext = func(r entries, limit int) (batch, error) {
				b, err := r.Next(ctx, limit)
				r.Commit(len(b.Entries))
				return b, err
			}
		}, "the first entry again, without Commit"},
		{"positions", "commits the whole batch", func(f *faulty) {
			f.onCommit = func(r entries, n int) {
				if n > 0 {
					b, _ := r.Next(ctx, 3)
					n = len(b.Entries)
				}
				r.Commit(n)
			}
		}, "the entry after Commit(1)"},

		{"views", "shows everything to everybody", func(f *faulty) {
			f.onOpen = func(b backend, v driver.View, from driver.From) (entries, error) {
				v.All = true
				return b.Open(ctx, v, from)
			}
		}, "what a reader of {All:false Box: HideClaimed:false} sees"},
		{"views", "shows what is claimed", func(f *faulty) {
			f.onOpen = func(b backend, v driver.View, from driver.From) (entries, error) {
				v.HideClaimed = false
				return b.Open(ctx, v, from)
			}
		}, "HideClaimed:true} sees"},
		{"views", "hides everyone's from who has a box", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				h.Box += "everyone's"
				return b.Append(ctx, h, v)
			}
		}, "what a reader of {All:false Box: "},

		{"missed", "keeps quiet", func(f *faulty) {
			f.onNext = func(r entries, limit int) (batch, error) {
				b, err := r.Next(ctx, limit)
				b.Missed = 0
				return b, err
			}
		}, "a reader from the beginning is told of 0 missed entries, want 15"},
		{"missed", "is not sure and says so, but too little", func(f *faulty) {
			f.onNext = func(r entries, limit int) (batch, error) {
				b, err := r.Next(ctx, limit)
				if b.Missed > 0 {
					b.Missed, b.AtMost = b.Missed-1, true
				}
				return b, err
			}
		}, "told of at most 14 missed entries, and missed 15"},
		{"missed", "does not move behind what was missed", func(f *faulty) {
			f.onCommit = func(r entries, n int) {
				if n > 0 {
					r.Commit(n)
				}
			}
		}, "is told twice"},

		{"removed is not missed", "counts what was removed", func(f *faulty) {
			gone := uint64(0)
			f.onRemove = func(b backend, ids []uuid.UUID) (int, error) {
				n, err := b.Remove(ctx, ids)
				gone += uint64(n)
				return n, err
			}
			f.onNext = func(r entries, limit int) (batch, error) {
				b, err := r.Next(ctx, limit)
				b.Missed += gone
				gone = 0
				return b, err
			}
		}, "after the oldest were removed: a reader is told of 2 missed entries"},

		{"retention", "keeps one more", func(f *faulty) { f.cfg.MaxMessages++ }, "at most 1 may be"},
		{"retention", "keeps one less", func(f *faulty) { f.cfg.MaxMessages = max(1, f.cfg.MaxMessages-1) }, "what is kept of many entries where 3 may be"},

		{"keyed", "keeps what was replaced", func(f *faulty) { f.cfg.Keyed, f.cfg.MaxMessages = false, 1000 }, "Len with three keys"},
		{"keyed", "wants room for what replaces", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				if n, err := b.Len(ctx); err != nil || n >= f.cfg.MaxMessages {
					return driver.Stamp{}, driver.ErrFull
				}
				return b.Append(ctx, h, v)
			}
		}, "Append: driver: full"},
		{"keyed", "discards before it looks at the condition", func(f *faulty) {
			f.onAppendIf = func(b backend, h driver.Head, v []byte, last uint64) (driver.Stamp, error) {
				e, err := b.Last(ctx, h.Key)
				if err == nil {
					_, _ = b.Remove(ctx, []uuid.UUID{e.ID})
				}
				if e.Seq != last {
					return driver.Stamp{}, driver.ErrConflict
				}
				return b.AppendIf(ctx, h, v, 0)
			}
		}, "Len after refusals"},
		{"keyed", "counts what was replaced as missed", func(f *faulty) {
			f.onNext = func(r entries, limit int) (batch, error) {
				b, err := r.Next(ctx, limit)
				b.Missed = uint64(len(b.Entries))
				return b, err
			}
		}, "missed"},
		{"keyed", "forgets where replaced entries were", func(f *faulty) {
			f.onOpen = func(b backend, v driver.View, from driver.From) (entries, error) {
				if from.After != uuid.Nil {
					return nil, driver.ErrNotFound
				}
				return b.Open(ctx, v, from)
			}
		}, "Open behind an entry that was replaced"},
		{"full", "drops instead", func(f *faulty) { f.cfg.Reject = false }, "Append beyond the maximum: want the error"},
		{"full", "frees what is claimed", func(f *faulty) {
			n := 0
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				s, err := b.Append(ctx, h, v)
				if n++; err == driver.ErrFull && n == 5 {
					return driver.Stamp{Seq: 9}, nil
				}
				return s, err
			}
		}, "Append beyond the maximum while some are claimed"},
		{"full", "stays full", func(f *faulty) {
			full := false
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				if full {
					return driver.Stamp{}, driver.ErrFull
				}
				s, err := b.Append(ctx, h, v)
				full = err == driver.ErrFull
				return s, err
			}
		}, "Append: driver: full"},

		{"age", "keeps everything", func(f *faulty) { f.cfg.MaxAge = 0 }, "entries being discarded for their age: it did not happen"},
		{"age", "discards too early", func(f *faulty) {
			f.onLen = func(b backend) (int, error) {
				_, _ = b.Clear(ctx)
				return b.Len(ctx)
			}
		}, "0 of 2 entries are left after"},
		{"age", "takes any age for too old", func(f *faulty) {
			if f.cfg.MaxAge > time.Minute {
				f.onLen = func(backend) (int, error) { return 0, nil }
			}
		}, "what is kept of what is not old"},

		{"boxes", "has no limit", func(f *faulty) { f.cfg.MaxBoxes = 100 }, "Append to one box more than there may be: want the error"},
		{"boxes", "counts everyone's", func(f *faulty) { f.cfg.MaxBoxes-- }, "Append: driver: too many boxes"},

		{"claims", "hands out what is held", func(f *faulty) {
			f.onClaim = func(b backend, who driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
				got, err := b.Claim(ctx, who, box, limit, timeout, dst)
				_, _ = b.Release(ctx, who)
				return got, err
			}
		}, "what the same consumer claims then"},
		{"claims", "does not append", func(f *faulty) {
			f.onClaim = func(b backend, who driver.Consumer, box string, limit int, timeout time.Duration, _ []claimed) ([]claimed, error) {
				return b.Claim(ctx, who, box, limit, timeout, nil)
			}
		}, "does not append to dst"},
		{"claims", "claims from every box", func(f *faulty) { f.cfg.Boxes = false }, "what can be claimed from no box"},
		{"claims", "takes one more", func(f *faulty) {
			f.onClaim = func(b backend, who driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
				return b.Claim(ctx, who, box, limit+1, timeout, dst)
			}
		}, "Claim"},
		{"claims", "takes the newest first", func(f *faulty) {
			f.onClaim = func(b backend, who driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
				got, err := b.Claim(ctx, who, box, 100, timeout, nil)
				slices.Reverse(got)
				for _, c := range got[min(limit, len(got)):] {
					_, _ = b.Nack(ctx, who.Name, receiptOf(c))
				}
				return append(dst, got[:min(limit, len(got))]...), err
			}
		}, "what is claimed first"},

		{"attempts", "begins with 0", func(f *faulty) {
			f.onClaim = func(b backend, who driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
				got, err := b.Claim(ctx, who, box, limit, timeout, dst)
				for i := range got {
					got[i].Attempt--
				}
				return got, err
			}
		}, "the first attempt: want 1, got 0"},
		{"attempts", "does not count", func(f *faulty) {
			f.onClaim = func(b backend, who driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
				got, err := b.Claim(ctx, who, box, limit, timeout, dst)
				for i := range got {
					got[i].Attempt = 1
				}
				return got, err
			}
		}, "attempt 1 follows 1"},

		{"receipts", "believes the ID", func(f *faulty) {
			var who string
			f.onClaim = func(b backend, c driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
				who = c.Name
				return b.Claim(ctx, c, box, limit, timeout, dst)
			}
			f.onAck = func(b backend, _ string, r driver.Receipt) (bool, error) { return b.Ack(ctx, who, r) }
		}, "Ack by another name"},
		{"receipts", "does not fence", func(f *faulty) {
			attempts := make(map[uuid.UUID]uint64)
			f.onClaim = func(b backend, c driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
				got, err := b.Claim(ctx, c, box, limit, timeout, dst)
				for _, g := range got {
					attempts[g.ID] = g.Attempt
				}
				return got, err
			}
			f.onNack = func(b backend, name string, r driver.Receipt) (bool, error) {
				r.Attempt = attempts[r.ID]
				return b.Nack(ctx, name, r)
			}
		}, "Nack by an earlier attempt of the same name"},
		{"receipts", "knows no bare receipts", func(f *faulty) {
			f.onNack = func(b backend, name string, r driver.Receipt) (bool, error) {
				if r.Attempt == 0 {
					return false, nil
				}
				return b.Nack(ctx, name, r)
			}
		}, "Nack by the bare ID of what was claimed once"},

		{"settling", "keeps what is acknowledged", func(f *faulty) {
			f.onAck = func(b backend, name string, r driver.Receipt) (bool, error) { return b.Nack(ctx, name, r) }
		}, "what is left after Ack"},
		{"settling", "discards what is given back", func(f *faulty) {
			f.onNack = func(b backend, name string, r driver.Receipt) (bool, error) { return b.Ack(ctx, name, r) }
		}, "what is left after Nack"},
		{"settling", "says yes to everything", func(f *faulty) {
			f.onAck = func(b backend, name string, r driver.Receipt) (bool, error) {
				_, err := b.Ack(ctx, name, r)
				return true, err
			}
		}, "Ack, again"},
		{"settling", "returns the old deadline", func(f *faulty) {
			f.onExtend = func(b backend, name string, r driver.Receipt, timeout time.Duration) (time.Time, bool, error) {
				return b.Extend(ctx, name, r, timeout/2)
			}
		}, "the deadline that Extend"},

		{"release", "does nothing", func(f *faulty) {
			f.onRelease = func(backend, driver.Consumer) (int, error) { return 0, nil }
		}, "Release: want 2, got 0"},
		{"release", "gives back every session of the name", func(f *faulty) {
			f.onRelease = func(b backend, who driver.Consumer) (int, error) {
				n := 0
				for s := range uint64(5) {
					m, _ := b.Release(ctx, driver.Consumer{Name: who.Name, Session: s})
					n += m
				}
				return n, nil
			}
		}, "Release: want 2, got 3"},

		{"deadlines", "has none", func(f *faulty) {
			f.onClaim = func(b backend, who driver.Consumer, box string, limit int, _ time.Duration, dst []claimed) ([]claimed, error) {
				return b.Claim(ctx, who, box, limit, long, dst)
			}
		}, "an entry becoming claimable at its deadline: it did not happen"},
		{"deadlines", "lets a late one settle", func(f *faulty) {
			f.onAck = func(b backend, name string, r driver.Receipt) (bool, error) {
				ok, err := b.Ack(ctx, name, r)
				return ok || name == "slow", err
			}
		}, "Ack after the deadline"},
		{"deadlines", "ends claims early", func(f *faulty) {
			f.onClaim = func(b backend, who driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
				got, err := b.Claim(ctx, who, box, limit, timeout, dst)
				for i := range got {
					got[i].Deadline = got[i].Deadline.Add(time.Minute)
				}
				return got, err
			}
		}, "before its deadline"},
		{"deadlines", "extends nothing", func(f *faulty) {
			f.onExtend = func(b backend, name string, r driver.Receipt, timeout time.Duration) (time.Time, bool, error) {
				return time.Now().Add(timeout), true, nil
			}
		}, "what can be claimed at the deadline"},

		{"remove", "removes nothing", func(f *faulty) { f.onRemove = func(backend, []uuid.UUID) (int, error) { return 2, nil } }, "what is left"},
		{"remove", "counts what it was asked for", func(f *faulty) {
			f.onRemove = func(b backend, ids []uuid.UUID) (int, error) {
				_, err := b.Remove(ctx, ids)
				return len(ids), err
			}
		}, "Remove of one that is gone"},
		{"remove", "counts on from what is stored", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				s, err := b.Append(ctx, h, v)
				n, _ := b.Len(ctx)
				s.Seq = uint64(n)
				return s, err
			}
		}, "after a removal, the sequence number"},

		{"evict", "takes 0 for no limit", func(f *faulty) {
			f.onEvict = func(b backend, before time.Time, keep int) (int, error) {
				if keep == 0 {
					keep = -1
				}
				return b.Evict(ctx, before, keep)
			}
		}, "Evict beyond none: want 2, got 0"},
		{"evict", "takes the zero time for now", func(f *faulty) {
			f.onEvict = func(b backend, before time.Time, keep int) (int, error) {
				if before.IsZero() {
					before = time.Now().Add(time.Second)
				}
				return b.Evict(ctx, before, keep)
			}
		}, "Evict of nothing: want 0, got 5"},
		{"evict", "takes the time itself, too", func(f *faulty) {
			f.onEvict = func(b backend, before time.Time, keep int) (int, error) {
				if !before.IsZero() {
					before = before.Add(time.Second)
				}
				return b.Evict(ctx, before, keep)
			}
		}, "the entry of the time itself went"},

		{"clear", "leaves what is claimed", func(f *faulty) {
			f.onClear = func(b backend) (int, error) {
				held, _ := b.Claim(ctx, consumer("clear"), "", 1000, long, nil)
				ids := make([]uuid.UUID, len(held))
				for i, c := range held {
					ids[i] = c.ID
				}
				return b.Remove(ctx, ids)
			}
			if !f.cfg.Claims {
				f.onClear = nil
			}
		}, "Clear: want 2, got 1"},
		{"clear", "starts numbers again", func(f *faulty) {
			cleared := false
			f.onClear = func(b backend) (int, error) { cleared = true; return b.Clear(ctx) }
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				s, err := b.Append(ctx, h, v)
				if cleared {
					s.Seq = 1
				}
				return s, err
			}
		}, "after Clear, the sequence number"},

		{"wake", "never does", func(f *faulty) { f.onWake = func(entries, chan<- struct{}) bool { return false } }, "a reader is not woken by an Append"},
		{"wake", "arranges a wake-up although there is something", func(f *faulty) {
			f.onWake = func(r entries, ch chan<- struct{}) bool {
				if r.Wake(ch) {
					ch <- struct{}{}
				}
				return false
			}
		}, "Wake returns false although there is an entry"},
		{"wake", "always returns true", func(f *faulty) { f.onWake = func(entries, chan<- struct{}) bool { return true } }, "Wake returns true although there is nothing"},
		{"wake", "looks first and arranges then", func(f *faulty) {
			var lost atomic.Int32
			f.onWake = func(r entries, ch chan<- struct{}) bool {
				if lost.Add(1) == 60 { // an entry that comes between the two
					b, _ := r.Next(ctx, 1)
					return len(b.Entries) > 0
				}
				return r.Wake(ch)
			}
		}, "a wake-up was lost"},

		{"wake claim", "never does", func(f *faulty) {
			f.onWakeClaim = func(backend, string, chan<- struct{}) (func(), bool) { return func() {}, false }
		}, "a worker is not woken by an Append"},
		{"wake claim", "forgets deadlines", func(f *faulty) {
			f.onWakeClaim = func(b backend, box string, ch chan<- struct{}) (func(), bool) {
				through := make(chan struct{}, 1)
				cancel, ready := b.WakeClaim(box, through)
				if ready {
					return cancel, ready
				}
				armed, over := time.Now(), make(chan struct{})
				go func() {
					select {
					case <-through:
						if time.Since(armed) < 10*time.Millisecond {
							ch <- struct{}{}
						}
					case <-over:
					}
				}()
				return func() { cancel(); close(over) }, false
			}
		}, "a worker is not woken by a deadline"},
		{"wake claim", "reports something although there is nothing", func(f *faulty) {
			f.onWakeClaim = func(backend, string, chan<- struct{}) (func(), bool) { return nil, true }
		}, "WakeClaim reports that there is something to claim, and there is not"},

		{"close", "does nothing", func(f *faulty) { f.onClose = func(backend) error { return nil } }, "Append after Close: want the error"},
		{"close", "wakes nobody", func(f *faulty) {
			f.onWake = func(r entries, _ chan<- struct{}) bool { return r.Wake(make(chan struct{}, 1)) }
		}, "Close does not wake a reader"},
		{"close", "goes on reading", func(f *faulty) {
			f.onNext = func(r entries, limit int) (batch, error) {
				b, err := r.Next(ctx, limit)
				if err == driver.ErrClosed {
					err = nil
				}
				return b, err
			}
		}, "Next of a reader that was opened after Close"},
		{"close", "waits for somebody", func(f *faulty) {
			f.onClose = func(backend) error { select {} }
		}, "Close does not return"},

		{"reader close", "does not expect it", func(f *faulty) {
			var mu sync.Mutex
			closed := make(map[entries]chan struct{})
			of := func(r entries) chan struct{} {
				mu.Lock()
				defer mu.Unlock()
				if closed[r] == nil {
					closed[r] = make(chan struct{})
				}
				return closed[r]
			}
			f.onShut = func(r entries) {
				r.Close()
				mu.Lock()
				defer mu.Unlock()
				if closed[r] != nil && !isClosed(closed[r]) {
					close(closed[r])
				}
			}
			f.onWake = func(r entries, ch chan<- struct{}) bool {
				select {
				case <-of(r): // until the other goroutine has closed it
					panic("used after Close")
				case <-time.After(50 * time.Millisecond): // it was first
					return r.Wake(ch)
				}
			}
		}, "a reader that is closed meanwhile panicked"},
		{"reader close", "clears everything", func(f *faulty) {
			var b backend
			f.onOpen = func(inner backend, v driver.View, from driver.From) (entries, error) {
				b = inner
				return inner.Open(ctx, v, from)
			}
			f.onShut = func(r entries) { r.Close(); _, _ = b.Clear(ctx) }
		}, "what others read afterwards"},

		{"concurrency", "shows an entry twice", func(f *faulty) {
			f.onCommit = func(r entries, n int) {
				if n > 7 {
					n = 7
				}
				r.Commit(n)
			}
		}, "or in another order than others do"},
		{"concurrency", "gives an entry to two workers", func(f *faulty) {
			var mu sync.Mutex
			var first []claimed
			f.onClaim = func(b backend, who driver.Consumer, box string, limit int, timeout time.Duration, dst []claimed) ([]claimed, error) {
				mu.Lock()
				defer mu.Unlock()
				got, err := b.Claim(ctx, who, box, limit, timeout, dst)
				if first == nil {
					first = slices.Clone(got)
				} else if len(got) > 0 {
					got = append(got, first...)
				}
				return got, err
			}
		}, "was done twice"},

		{"contexts", "waits for ever", func(f *faulty) {
			f.onLen = func(backend) (int, error) { select {} }
		}, "Len does not return although its context has ended"},
		{"contexts", "takes it for being full", func(f *faulty) {
			f.onAppend = func(b backend, h driver.Head, v []byte) (driver.Stamp, error) {
				if bytes.Equal(v, []byte("2")) {
					return driver.Stamp{}, driver.ErrFull
				}
				return b.Append(ctx, h, v)
			}
		}, "Append whose context has ended returns"},
	} {
		covered[tt.rule] = true
		t.Run(fmt.Sprint(tt.rule, ": it ", tt.name), func(t *testing.T) {
			t.Parallel()
			found := driverFindings(t, tt.rule, tt.fault)
			require.True(t, slices.ContainsFunc(found, func(p string) bool { return strings.Contains(p, tt.want) }), "%q is not among %q", tt.want, found)
		})
	}
	for _, r := range driverRules {
		require.True(t, covered[r.name], "no broken backend shows that the rule %q can find anything", r.name)
	}
}
