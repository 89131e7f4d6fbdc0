package chansectest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/driver"
)

func checkWake(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		ch := make(chan struct{}, 1)
		// woken waits until a reader that waits has something to read. Wake-ups may come too early.
		woken := func(r driver.Reader[[]byte], when string, values ...string) {
			for n := 0; ; n++ {
				if !x.within(ch) {
					x.stop("a reader is not woken %s", when)
				}
				if got, _, _ := s.drain(r); len(got) > 0 {
					want(x, "what a reader sees that was woken "+when, values, got)
					return
				}
				if r.Wake(ch) && n == 100 {
					x.stop("Wake returns true again and again, and there is nothing")
				}
			}
		}
		r := s.reader(driver.View{Box: "a"}, driver.From{})
		if r.Wake(ch) {
			x.wrong("Wake returns true although there is nothing")
		}
		stamps := s.put(driver.Head{}, "1")
		woken(r, "by an Append", "1")
		s.put(driver.Head{}, "2")
		if !r.Wake(ch) {
			x.stop("Wake returns false although there is an entry")
		}
		s.drain(r)
		if cfg.Boxes && !r.Wake(ch) {
			s.put(driver.Head{Box: "b"}, "not for it")
			s.put(driver.Head{Box: "a"}, "3")
			woken(r, "by an Append to its box", "3")
		}
		s.remove(stamps...)
		late := s.reader(driver.View{}, driver.From{Tail: true})
		if !late.Wake(ch) {
			_, err := s.AppendIf(x.Context(), driver.Head{Key: "k"}, []byte("4"), 0)
			s.failed("AppendIf", err)
			woken(late, "by an AppendIf", "4")
		}
		x.neverLost(cfg)
	})
}

// neverLost lets readers wait for every single entry: the next one is appended only when all of them have it.
func (x *driverTrial) neverLost(cfg driver.Config) {
	const readers, rounds = 4, 300
	s := x.open(cfg)
	have := make(chan struct{}, readers)
	for range readers {
		r := s.reader(driver.View{}, driver.From{})
		go func() {
			ch := make(chan struct{}, 1)
			for got := 0; got < rounds; {
				b, err := r.Next(x.Context(), 10)
				if err != nil {
					return // the rule is over
				}
				r.Commit(len(b.Entries))
				for range b.Entries {
					got++
					have <- struct{}{}
				}
				if len(b.Entries) == 0 && !r.Wake(ch) {
					select {
					case <-ch:
					case <-x.Context().Done():
						return
					}
				}
			}
		}()
	}
	for i := range rounds {
		s.put(driver.Head{}, fmt.Sprint(i))
		for range readers {
			if !x.within(have) {
				x.stop("a wake-up was lost: a reader waits although there is an entry")
			}
		}
	}
}

func checkWakeClaim(x *driverTrial) {
	x.claiming(func(s *store, boxes bool) {
		box := ""
		if boxes {
			box = "a"
		}
		ch := make(chan struct{}, 1)
		// arm begins to wait, where there is nothing to claim.
		arm := func() func() {
			for len(ch) > 0 {
				<-ch
			}
			cancel, ready := s.WakeClaim(box, ch)
			if ready {
				x.stop("WakeClaim reports that there is something to claim, and there is not")
			}
			return cancel
		}
		// woken waits until a worker that waits has something to claim. Wake-ups may come too early.
		woken := func(when string, cancel func(), timeout time.Duration) driver.Claimed[[]byte] {
			for {
				if !x.within(ch) {
					x.stop("a worker is not woken %s", when)
				}
				cancel()
				if got := s.claim(consumer("w"), box, 1, timeout); len(got) == 1 {
					return got[0]
				}
				again, ready := s.WakeClaim(box, ch)
				if cancel = again; ready { // since then
					cancel = func() {}
					select {
					case ch <- struct{}{}:
					default:
					}
				}
			}
		}
		arm()() // withdrawn
		cancel := arm()
		s.put(driver.Head{Box: box}, "1")
		c := woken("by an Append", cancel, long)
		cancel = arm()
		s.nack("w", receiptOf(c))
		if _, ready := s.WakeClaim(box, make(chan struct{}, 1)); !ready {
			x.stop("WakeClaim does not report that there is something to claim")
		}
		woken("by a Nack", cancel, long)
		cancel = arm()
		s.release(consumer("w"))
		c = woken("by a Release", cancel, x.claim)
		if cancel, ready := s.WakeClaim(box, ch); !ready {
			c = woken("by a deadline", cancel, x.claim)
		}
		if _, ok := s.extend("w", receiptOf(c), 2*x.claim); ok {
			if cancel, ready := s.WakeClaim(box, ch); !ready {
				woken("by a deadline that was extended", cancel, long)
			}
		}
		s.clear()
		x.everyJob(s, box)
	})
}

// everyJob lets workers wait for every single entry.
func (x *driverTrial) everyJob(s *store, box string) {
	const workers, rounds = 3, 300
	did := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(x.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for g := range workers {
		who := driver.Consumer{Name: "w", Session: uint64(g)}
		wg.Go(func() {
			ch := make(chan struct{}, 1)
			for {
				got, err := s.Claim(x.Context(), who, box, 1, long, nil)
				if err != nil || ctx.Err() != nil {
					return
				}
				for _, c := range got {
					_, _ = s.Ack(x.Context(), "w", receiptOf(c))
					did <- struct{}{}
				}
				if len(got) > 0 {
					continue
				}
				withdraw, ready := s.WakeClaim(box, ch)
				if ready {
					continue
				}
				select {
				case <-ch:
				case <-ctx.Done():
				}
				withdraw()
			}
		})
	}
	for range rounds {
		s.put(driver.Head{Box: box}, "")
		if !x.within(did) {
			x.stop("a wake-up was lost: all workers wait although there is an entry")
		}
	}
}

func checkClose(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		ctx := x.Context()
		stamps := s.put(driver.Head{Key: "k", Once: "once"}, "1")
		r := s.reader(driver.View{}, driver.From{})
		waiting := s.reader(driver.View{}, driver.From{Tail: true})
		reader, worker := make(chan struct{}, 1), make(chan struct{}, 1)
		waits := !waiting.Wake(reader)
		receipt := driver.Receipt{ID: stamps[0].ID, Attempt: 1}
		works := false
		if cfg.Claims {
			if got := s.claim(consumer("w"), "", 1, long); len(got) == 1 {
				_, ready := s.WakeClaim("", worker)
				works = !ready
			}
		}
		if !x.returns(func() { s.failed("Close", s.Close()) }) {
			x.stop("Close does not return")
		}
		if waits && !x.within(reader) {
			x.wrong("Close does not wake a reader")
		}
		if works && !x.within(worker) {
			x.wrong("Close does not wake a worker")
		}
		late := make(chan struct{}, 1)
		if !waiting.Wake(late) && !x.within(late) {
			x.wrong("who begins to wait after Close is not woken")
		}
		for what, call := range map[string]func() error{
			"Append":                           func() error { _, err := s.Append(ctx, driver.Head{}, nil); return err },
			"an Append that was done before":   func() error { _, err := s.Append(ctx, driver.Head{Once: "once"}, nil); return err },
			"AppendIf":                         func() error { _, err := s.AppendIf(ctx, driver.Head{Key: "k"}, nil, stamps[0].Seq); return err },
			"AppendIf on a wrong condition":    func() error { _, err := s.AppendIf(ctx, driver.Head{Key: "k"}, nil, stamps[0].Seq+1); return err },
			"Last":                             func() error { _, err := s.Last(ctx, "k"); return err },
			"Last of a key without entries":    func() error { _, err := s.Last(ctx, "other"); return err },
			"Newest":                           func() error { _, err := s.Newest(ctx); return err },
			"Open":                             func() error { _, err := s.Open(ctx, driver.View{}, driver.From{}); return err },
			"Open behind an unknown entry":     func() error { _, err := s.Open(ctx, driver.View{}, driver.From{After: uuid.New()}); return err },
			"Next of a reader that was opened": func() error { _, err := r.Next(ctx, 1); return err },
			"Remove":                           func() error { _, err := s.Remove(ctx, newIDs(stamps...)); return err },
			"Evict":                            func() error { _, err := s.Evict(ctx, noTime, 0); return err },
			"Clear":                            func() error { _, err := s.Clear(ctx); return err },
			"Len":                              func() error { _, err := s.Len(ctx); return err },
		} {
			x.safely(what+" after Close", func() { wantError(x, what+" after Close", driver.ErrClosed, call()) })
		}
		if !cfg.Claims {
			return
		}
		for what, call := range map[string]func() error{
			"Claim":   func() error { _, err := s.Claim(ctx, consumer("w"), "", 1, long, nil); return err },
			"Ack":     func() error { _, err := s.Ack(ctx, "w", receipt); return err },
			"Nack":    func() error { _, err := s.Nack(ctx, "w", receipt); return err },
			"Extend":  func() error { _, _, err := s.Extend(ctx, "w", receipt, long); return err },
			"Release": func() error { _, err := s.Release(ctx, consumer("w")); return err },
		} {
			x.safely(what+" after Close", func() { wantError(x, what+" after Close", driver.ErrClosed, call()) })
		}
	})
}

func checkDriverContexts(x *driverTrial) {
	x.modes(func(cfg driver.Config) {
		s := x.open(cfg)
		stamps := s.put(driver.Head{Key: "k"}, "1")
		r := s.all()
		ended, cancel := context.WithCancel(x.Context())
		cancel()
		calls := map[string]func() error{
			"Append":   func() error { _, err := s.Append(ended, driver.Head{}, []byte("2")); return err },
			"AppendIf": func() error { _, err := s.AppendIf(ended, driver.Head{Key: "other"}, []byte("3"), 0); return err },
			"Last":     func() error { _, err := s.Last(ended, "k"); return err },
			"Newest":   func() error { _, err := s.Newest(ended); return err },
			"Open": func() error {
				r, err := s.Open(ended, driver.View{}, driver.From{})
				if err == nil {
					r.Close()
				}
				return err
			},
			"Next":   func() error { _, err := r.Next(ended, 1); return err },
			"Remove": func() error { _, err := s.Remove(ended, newIDs(stamps...)); return err },
			"Evict":  func() error { _, err := s.Evict(ended, noTime, -1); return err },
			"Len":    func() error { _, err := s.Len(ended); return err },
		}
		if cfg.Claims {
			calls["Claim"] = func() error { _, err := s.Claim(ended, consumer("w"), "", 1, long, nil); return err }
			calls["Release"] = func() error { _, err := s.Release(ended, consumer("w")); return err }
		}
		for what, call := range calls {
			var err error
			if !x.returns(func() { err = call() }) {
				x.stop("%s does not return although its context has ended", what)
			}
			if err != nil && ended.Err() != nil && isDriverError(err) {
				x.wrong("%s whose context has ended returns %v", what, err)
			}
		}
	})
}

// isDriverError reports whether an error says something about the backend that an ended context does not.
func isDriverError(err error) bool {
	return err == driver.ErrClosed || err == driver.ErrFull || err == driver.ErrConflict
}
