// Package sessiontest checks what users of the package session write themselves: backends.
package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chansec/chansec/session"
)

// TestBackend checks a session.Backend. newStorage makes an empty storage and returns how to open it, which is done more
// than once, as by a program that is started again: what one of them keeps, the next ones have.
func TestBackend(t *testing.T, newStorage func(t *testing.T) (open func() session.Backend)) {
	for _, r := range backendRules {
		t.Run(r.name, func(t *testing.T) {
			t.Log(r.rule)
			x := &backendTrial{T: t, open: newStorage(t)}
			x.Backend = x.open()
			r.check(x)
		})
	}
}

// backendRules are what a Backend promises.
var backendRules = []struct {
	name, rule string
	check      func(*backendTrial)
}{
	{"empty", "A new storage has no records, and nothing to close.", checkEmpty},
	{"open", "Records come back in the order in which they were opened, with all that was in them.", checkOpen},
	{"taken", "An ID that has a record already, open or closed, is an error, and the record stays as it was.", checkTaken},
	{"change", "Change replaces the principal and the roles of an open record, and nothing else.", checkChange},
	{"close", "Close closes records for good: they are not yielded as open, are kept, and have the end that was said first.", checkClose},
	{"late", "What comes late changes nothing and is no error: to change or to close what is closed or unknown.", checkLate},
	{"start", "Start closes what is open, as abandoned, and nothing else; a later Start finds nothing to do.", checkStart},
	{"start again", "What was kept is there for whoever opens the storage later.", checkStartAgain},
	{"text", "Names and reasons are kept byte for byte; times to the microsecond.", checkText},
	{"many", "Many records can be closed at a time.", checkMany},
	{"stopped", "Records can be left in the middle.", checkStopped},
	{"race", "Many may write at the same time, and each record is opened once.", checkRace},
	{"contexts", "With a context that has ended, nothing is kept and nothing is yielded but its error.", checkContexts},
}

type backendTrial struct {
	*testing.T
	session.Backend
	open func() session.Backend
}

var noon = time.Date(2030, 1, 2, 12, 0, 0, 345_000, time.UTC)

func record(id string) session.Record {
	return session.Record{ID: id, Principal: "principal of " + id, Roles: []string{"b", "a " + id}, Transport: "http", RemoteAddr: "192.0.2.7:80", OpenedAt: noon}
}

func end(id string) session.EndedError {
	return session.EndedError{Session: id, Cause: session.Kicked, By: "admin", Reason: "reason of " + id, At: noon.Add(time.Hour)}
}

func closed(id string) session.Record {
	r := record(id)
	r.End = end(id)
	return r
}

func (x *backendTrial) do(what string, err error) {
	x.Helper()
	if err != nil {
		x.Fatalf("%s: %v", what, err)
	}
}

func (x *backendTrial) opened(ids ...string) {
	x.Helper()
	for _, id := range ids {
		x.do("Open of "+id, x.Open(x.Context(), record(id)))
	}
}

// has checks what is yielded.
func (x *backendTrial) has(open bool, want ...session.Record) {
	x.Helper()
	var got []session.Record
	for r, err := range x.Records(x.Context(), open) {
		x.do("Records", err)
		got = append(got, r)
	}
	if !slices.EqualFunc(got, want, same) {
		x.Fatalf("Records(open: %v) yields\n%+v, want\n%+v", open, got, want)
	}
}

func same(a, b session.Record) bool {
	return a.ID == b.ID && a.Principal == b.Principal && slices.Equal(a.Roles, b.Roles) && a.Transport == b.Transport &&
		a.RemoteAddr == b.RemoteAddr && a.OpenedAt.Equal(b.OpenedAt) && a.IsOpen() == b.IsOpen() && a.End.Session == b.End.Session &&
		a.End.Cause == b.End.Cause && a.End.By == b.End.By && a.End.Reason == b.End.Reason && a.End.At.Equal(b.End.At)
}

func checkEmpty(x *backendTrial) {
	n, err := x.Start(x.Context(), noon)
	x.do("Start", err)
	if n != 0 {
		x.Fatalf("Start closed %d records of an empty storage", n)
	}
	x.has(false)
	x.has(true)
}

func checkOpen(x *backendTrial) {
	x.opened("z", "a", "m")
	x.has(false, record("z"), record("a"), record("m"))
	x.has(true, record("z"), record("a"), record("m"))
	anonymous := session.Record{ID: "anonymous", OpenedAt: noon}
	x.do("Open of one with nothing in it", x.Open(x.Context(), anonymous))
	x.has(true, record("z"), record("a"), record("m"), anonymous)
}

func checkTaken(x *backendTrial) {
	x.opened("a", "b")
	x.do("Close", x.Close(x.Context(), []session.EndedError{end("b")}))
	for _, id := range []string{"a", "b"} {
		r := record(id)
		r.Principal = "another"
		if x.Open(x.Context(), r) == nil {
			x.Fatalf("Open took the ID %q, which is taken", id)
		}
	}
	x.has(false, record("a"), closed("b"))
}

func checkChange(x *backendTrial) {
	x.opened("a", "b", "c")
	for id, roles := range map[string][]string{"b": {"x"}, "c": nil} {
		x.do("Change", x.Change(x.Context(), session.Record{ID: id, Principal: "new " + id, Roles: roles, Transport: "other", RemoteAddr: "other", OpenedAt: noon.Add(1)}))
	}
	b, c := record("b"), record("c")
	b.Principal, b.Roles = "new b", []string{"x"}
	c.Principal, c.Roles = "new c", nil
	x.has(true, record("a"), b, c)
}

func checkClose(x *backendTrial) {
	x.opened("a", "b", "c")
	x.do("Close of nothing", x.Close(x.Context(), nil))
	x.do("Close", x.Close(x.Context(), []session.EndedError{end("c"), end("a")}))
	x.has(true, record("b"))
	x.has(false, closed("a"), record("b"), closed("c"))
	again := end("a")
	again.Cause, again.Reason = session.Expired, "again"
	x.do("Close again, of some", x.Close(x.Context(), []session.EndedError{again, end("b")}))
	x.has(true)
	x.has(false, closed("a"), closed("b"), closed("c"))
}

func checkLate(x *backendTrial) {
	x.opened("a")
	x.do("Close", x.Close(x.Context(), []session.EndedError{end("a"), end("unknown")}))
	late := record("a")
	late.Principal = "late"
	x.do("Change of what is closed", x.Change(x.Context(), late))
	x.do("Change of what is unknown", x.Change(x.Context(), record("unknown")))
	x.has(true)
	x.has(false, closed("a"))
}

func checkStart(x *backendTrial) {
	x.opened("a", "b", "c")
	x.do("Close", x.Close(x.Context(), []session.EndedError{end("b")}))
	at := noon.Add(2 * time.Hour)
	n, err := x.Start(x.Context(), at)
	x.do("Start", err)
	if n != 2 {
		x.Fatalf("Start closed %d records, want 2", n)
	}
	a, c := record("a"), record("c")
	a.End = session.EndedError{Session: "a", Cause: session.Abandoned, At: at}
	c.End = session.EndedError{Session: "c", Cause: session.Abandoned, At: at}
	x.has(false, a, closed("b"), c)
	n, err = x.Start(x.Context(), at.Add(time.Hour))
	x.do("Start", err)
	if n != 0 {
		x.Fatalf("a second Start closed %d records, want none", n)
	}
	x.has(false, a, closed("b"), c)
	x.opened("d")
	x.has(true, record("d"))
}

func checkStartAgain(x *backendTrial) {
	x.opened("a", "b")
	x.do("Close", x.Close(x.Context(), []session.EndedError{end("a")}))
	x.Backend = x.open()
	x.has(false, closed("a"), record("b"))
	n, err := x.Start(x.Context(), noon)
	x.do("Start", err)
	if n != 1 {
		x.Fatalf("Start closed %d records, want 1", n)
	}
}

func checkText(x *backendTrial) {
	r := record("id")
	r.Principal = `'"; DROP TABLE session; -- \ % _ é e` + "\u0301 \U0001F511"
	r.Roles = []string{`a,b`, `"quoted"`, `'`, `\`, " ", strings.Repeat("r", session.MaxRoleName)}
	r.OpenedAt = time.Date(2030, 1, 1, 0, 0, 0, 1000, time.FixedZone("", 3600))
	x.do("Open", x.Open(x.Context(), r))
	x.has(true, r)
	r.End = end("id")
	r.End.By, r.End.Reason = r.Principal, strings.Repeat("é", 128)
	x.do("Close", x.Close(x.Context(), []session.EndedError{r.End}))
	x.has(false, r)
}

func checkMany(x *backendTrial) {
	var ends []session.EndedError
	for i := range 1000 {
		id := fmt.Sprint(i)
		x.opened(id)
		ends = append(ends, end(id))
	}
	x.do("Close of 1000", x.Close(x.Context(), ends))
	x.has(true)
}

func checkStopped(x *backendTrial) {
	x.opened("a", "b", "c")
	for r, err := range x.Records(x.Context(), true) {
		x.do("Records", err)
		if r.ID == "b" {
			break
		}
	}
	x.opened("d")
}

func checkRace(x *backendTrial) {
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		all.Go(func() {
			own := fmt.Sprint("own ", i)
			err := errors.Join(x.Open(x.Context(), record(own)), x.Change(x.Context(), record(own)), x.Close(x.Context(), []session.EndedError{end(own)}))
			if err != nil {
				x.Errorf("of its own: %v", err)
			}
			if x.Open(x.Context(), record("shared")) == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if won != 1 {
		x.Fatalf("the same ID was opened %d times", won)
	}
	x.has(true, record("shared"))
}

func checkContexts(x *backendTrial) {
	x.opened("a")
	ctx, cancel := context.WithCancel(x.Context())
	cancel()
	changed := record("a")
	changed.Principal = "new"
	_, err := x.Start(ctx, noon)
	for what, err := range map[string]error{"Start": err, "Open": x.Open(ctx, record("b")), "Change": x.Change(ctx, changed),
		"Close": x.Close(ctx, []session.EndedError{end("a")})} {
		if !errors.Is(err, context.Canceled) {
			x.Errorf("%s with a context that has ended: %v, want its error", what, err)
		}
	}
	n := 0
	for _, err := range x.Records(ctx, false) {
		if n++; !errors.Is(err, context.Canceled) {
			x.Errorf("Records with a context that has ended yields %v, want its error", err)
		}
	}
	if n != 1 {
		x.Errorf("Records with a context that has ended yields %d pairs, want its error", n)
	}
	x.has(false, record("a"))
}
