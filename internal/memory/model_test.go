package memory

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/driver"
)

// Operations of one log in the model test, and of all of them together unless the environment asks for more.
const (
	modelRun   = 1500
	modelTotal = 210_000
)

// modes are the configurations in which a log works differently.
var modes = []struct {
	name string
	cfg  driver.Config
}{
	{"without claims and boxes, without a lock for readers", driver.Config{}},
	{"with claims", driver.Config{Claims: true}},
	{"with claims, refusing rather than dropping", driver.Config{Claims: true, Reject: true}},
	{"with boxes", driver.Config{Boxes: true, MaxBoxes: 1000}},
	{"with claims and boxes", driver.Config{Claims: true, Boxes: true, MaxBoxes: 1000}},
	{"with claims, boxes and an age limit", driver.Config{Claims: true, Boxes: true, MaxBoxes: 1000, MaxAge: 40 * time.Millisecond}},
	{"without a lock, with an age limit", driver.Config{MaxAge: 40 * time.Millisecond}},
}

// TestLogEqualsReference does random operations on a log and on the naive reference, and compares every answer.
// CHANSEC_MODEL_OPS sets how many operations there are, CHANSEC_MODEL_SEED the first seed.
func TestLogEqualsReference(t *testing.T) {
	total, seed := setting(t, "CHANSEC_MODEL_OPS", modelTotal), uint64(setting(t, "CHANSEC_MODEL_SEED", 1))
	if testing.Short() && total == modelTotal {
		total = modelTotal / 10
	}
	runs := max(1, total/modelRun/len(modes))
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			for i := range uint64(runs) {
				synctest.Test(t, func(t *testing.T) {
					newWalk(t, mode.cfg, seed+i).run(modelRun)
				})
			}
		})
	}
}

func setting(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// walk is one log beside the reference, with whatever random operations need to choose from.
type walk struct {
	*testing.T
	rand    *rand.Rand
	seed    uint64
	log     *Log[int]
	model   *reference
	value   int
	readers []*walkReader
	claims  []holding
	trace   []string
}

type walkReader struct {
	driver.Reader[int]
	model *refReader
}

// holding is a claim that was made at some time.
type holding struct {
	name    string
	receipt driver.Receipt
}

var (
	walkKeys  = []string{"", "", "", "k", "k.1", "other"}
	walkBoxes = []string{"", "", "a", "b", "c"}
	walkNames = []string{"x", "y"}
	walkSizes = []int{1, 2, 7, 60, 127, 128, 129, 300, 1000}
)

func newWalk(t *testing.T, cfg driver.Config, seed uint64) *walk {
	w := &walk{T: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 0))}
	cfg.MaxMessages = pick(w, walkSizes)
	log, err := New[int](cfg)
	require.NoError(t, err)
	w.log, w.model = log, newReference(cfg)
	t.Cleanup(func() { _ = log.Close() })
	return w
}

func pick[E any](w *walk, list []E) E { return list[w.rand.IntN(len(list))] }

// note adds a line to what is printed when a difference is found.
func (w *walk) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
	if len(w.trace) > 60 {
		w.trace = w.trace[1:]
	}
}

func (w *walk) differ(format string, args ...any) {
	w.Helper()
	w.Fatalf("%s\nseed %d, %+v; the last operations:\n\t%s", fmt.Sprintf(format, args...), w.seed, w.log.cfg, strings.Join(w.trace, "\n\t"))
}

func same[E comparable](w *walk, what string, want, got E) {
	w.Helper()
	if want != got {
		w.differ("%s: the contract says %v, the log %v", what, want, got)
	}
}

func (w *walk) run(n int) {
	steps := []struct {
		weight int
		do     func()
	}{
		{30, w.append}, {3, w.appendIf}, {3, w.last}, {3, w.open}, {20, w.read}, {2, w.closeReader},
		{12, w.claim}, {10, w.settle}, {1, w.release}, {4, w.remove}, {1, w.evict}, {1, w.pass},
		{2, w.wakeReaders}, {2, w.wakeWorkers},
	}
	sum := 0
	for _, s := range steps {
		sum += s.weight
	}
	for range n {
		x := w.rand.IntN(sum)
		for _, s := range steps {
			if x -= s.weight; x < 0 {
				s.do()
				break
			}
		}
		if w.rand.IntN(400) == 0 {
			w.clear()
		}
		count, err := w.log.Len(w.Context())
		require.NoError(w, err)
		same(w, "Len", len(w.model.stored()), count)
	}
}

func (w *walk) head() driver.Head {
	h := driver.Head{Key: pick(w, walkKeys), Box: pick(w, walkBoxes)}
	if w.rand.IntN(8) == 0 {
		h.Once = fmt.Sprint("once ", w.rand.IntN(50))
	}
	return h
}

func (w *walk) append() {
	h := w.head()
	w.value++
	w.note("Append %+v", h)
	want, failure := w.model.append(h, w.value, time.Now())
	got, err := w.log.Append(w.Context(), h, w.value)
	w.appended(h, want, failure, got, err)
}

func (w *walk) appendIf() {
	h := w.head()
	h.Key = pick(w, walkKeys[3:])
	w.value++
	var last uint64
	if e := w.model.last(h.Key); e != nil && w.rand.IntN(4) > 0 {
		last = e.Seq
	} else if w.rand.IntN(4) == 0 {
		last = uint64(w.rand.IntN(len(w.model.entries) + 1))
	}
	w.note("AppendIf %+v after %d", h, last)
	want, failure := w.model.appendIf(h, w.value, last, time.Now())
	got, err := w.log.AppendIf(w.Context(), h, w.value, last)
	w.appended(h, want, failure, got, err)
}

func (w *walk) appended(h driver.Head, want driver.Stamp, failure error, got driver.Stamp, err error) {
	w.Helper()
	same(w, "error", failure, err)
	if err != nil {
		return
	}
	if want.ID == uuid.Nil { // a new one; only the log makes IDs
		want.ID = got.ID
		w.model.entries[want.Seq-1].ID = got.ID
		if h.Once != "" {
			w.model.once[h.Once] = want
		}
	}
	same(w, "stamp", want, got)
}

func (w *walk) last() {
	key := pick(w, walkKeys[3:])
	w.note("Last %q", key)
	e, err := w.log.Last(w.Context(), key)
	if want := w.model.last(key); want != nil {
		same(w, "error", nil, err)
		same(w, "last entry", want.Entry, e)
		return
	}
	same(w, "error", error(driver.ErrNotFound), err)
}

func (w *walk) open() {
	if len(w.readers) > 12 {
		return
	}
	v := driver.View{All: w.rand.IntN(5) == 0, Box: pick(w, walkBoxes), HideClaimed: w.rand.IntN(2) == 0}
	var from driver.From
	switch w.rand.IntN(6) {
	case 0, 1:
		from.Tail = true
	case 2:
		from.After = w.anyID(v)
	}
	w.note("Open %+v from %+v", v, from)
	want, failure := w.model.open(v, from)
	got, err := w.log.Open(w.Context(), v, from)
	same(w, "error", failure, err)
	if err == nil {
		w.readers = append(w.readers, &walkReader{got, want})
	}
}

// anyID returns the ID of an entry that is or was stored, or of none. For a view of single boxes it is one that retention
// did not take: there the log does not know how much it took behind it.
func (w *walk) anyID(v driver.View) uuid.UUID {
	if w.rand.IntN(6) == 0 || len(w.model.entries) == 0 {
		return uuid.New()
	}
	e := pick(w, w.model.entries)
	if w.model.cfg.Boxes && !v.All && e.Seq < w.model.first() {
		return uuid.New()
	}
	return e.ID
}

func (w *walk) reader() *walkReader {
	if len(w.readers) == 0 {
		return nil
	}
	return pick(w, w.readers)
}

func (w *walk) read() {
	r := w.reader()
	if r == nil {
		return
	}
	limit := 1 + w.rand.IntN(pick(w, []int{1, 10, 200}))
	n := w.next(r, limit)
	if w.rand.IntN(3) > 0 {
		n = w.rand.IntN(n + 1)
	}
	if w.rand.IntN(8) == 0 {
		return // what was not committed comes again
	}
	if w.rand.IntN(4) == 0 {
		w.append() // what happens between the two calls changes nothing
	}
	w.note("Commit %d", n)
	r.Commit(n)
	r.model.commit(n)
}

// next compares one batch and returns how many entries it had.
func (w *walk) next(r *walkReader, limit int) int {
	got, err := r.Next(w.Context(), limit)
	missed, want := w.model.next(r.model)
	w.note("Next %d of %+v behind %d: %d missed, %d entries", limit, r.model.view, r.model.pos, missed, len(want))
	same(w, "error", nil, err)
	same(w, "missed", missed, got.Missed)
	same(w, "at most", false, got.AtMost)
	if len(got.Entries) > limit || len(got.Entries) > len(want) || len(want) > 0 && len(got.Entries) == 0 {
		w.differ("%d entries, where there are %d and %d were asked for", len(got.Entries), len(want), limit)
	}
	r.model.batch = r.model.batch[:0]
	for i, e := range got.Entries {
		same(w, "entry", want[i].Entry, e)
		r.model.batch = append(r.model.batch, e.Seq)
	}
	return len(got.Entries)
}

func (w *walk) closeReader() {
	if len(w.readers) > 0 {
		i := w.rand.IntN(len(w.readers))
		w.note("Close of a reader")
		w.readers[i].Close()
		w.readers[i].Close()
		_, err := w.readers[i].Next(w.Context(), 1)
		same(w, "error of a closed reader", error(driver.ErrClosed), err)
		w.readers = slices.Delete(w.readers, i, i+1)
	}
}

func (w *walk) consumer() driver.Consumer {
	name := w.rand.IntN(len(walkNames))
	return driver.Consumer{Name: walkNames[name], Session: uint64(2*name + w.rand.IntN(2))}
}

func (w *walk) timeout() time.Duration { return time.Duration(1+w.rand.IntN(50)) * time.Millisecond }

func (w *walk) claim() {
	if !w.log.cfg.Claims {
		return
	}
	who, box, limit, timeout := w.consumer(), pick(w, walkBoxes), 1+w.rand.IntN(4), w.timeout()
	w.note("Claim %d for %v of %q", limit, who, box)
	want := w.model.claim(who, box, limit, timeout, time.Now())
	before := []driver.Claimed[int]{{Attempt: 77}}
	got, err := w.log.Claim(w.Context(), who, box, limit, timeout, before)
	same(w, "error", nil, err)
	same(w, "claimed", len(want)+1, len(got))
	same(w, "what was in dst before", before[0], got[0])
	for i, c := range got[1:] {
		same(w, "entry", want[i].Entry, c.Entry)
		same(w, "attempt", want[i].attempts, c.Attempt)
		same(w, "deadline", want[i].claim.deadline, c.Deadline)
		w.claims = append(w.claims, holding{who.Name, driver.Receipt{ID: c.ID, Attempt: c.Attempt}})
	}
}

func (w *walk) settle() {
	if len(w.claims) == 0 {
		return
	}
	h := w.claims[max(0, len(w.claims)-1-w.rand.IntN(20))]
	switch w.rand.IntN(6) {
	case 0:
		h.receipt.Attempt = 0
	case 1:
		h.name = pick(w, walkNames)
	case 2:
		h.receipt.Attempt++
	}
	e := w.model.held(h.name, h.receipt)
	var ok bool
	var err error
	switch w.rand.IntN(3) {
	case 0:
		w.note("Ack %q %v: %v", h.name, h.receipt.Attempt, e != nil)
		ok, err = w.log.Ack(w.Context(), h.name, h.receipt)
		if e != nil {
			w.model.end(e, removed)
		}
	case 1:
		w.note("Nack %q %v: %v", h.name, h.receipt.Attempt, e != nil)
		ok, err = w.log.Nack(w.Context(), h.name, h.receipt)
		if e != nil {
			e.claim = nil
		}
	case 2:
		w.note("Extend %q %v: %v", h.name, h.receipt.Attempt, e != nil)
		timeout := w.timeout()
		var deadline, want time.Time
		deadline, ok, err = w.log.Extend(w.Context(), h.name, h.receipt, timeout)
		if e != nil {
			want = time.Now().Add(timeout)
			e.claim.deadline = want
		}
		same(w, "deadline", want.Round(0), deadline)
	}
	same(w, "error", nil, err)
	same(w, "receipt had an effect", e != nil, ok)
}

func (w *walk) release() {
	who := w.consumer()
	w.note("Release %v", who)
	n, err := w.log.Release(w.Context(), who)
	same(w, "error", nil, err)
	want := w.model.release(who)
	if releaseCountsLate {
		want = max(want, n)
	}
	same(w, "released", want, n)
}

func (w *walk) remove() {
	var ids []uuid.UUID
	for range w.rand.IntN(4) {
		ids = append(ids, w.anyID(driver.View{All: true}))
		if w.rand.IntN(2) == 0 {
			ids = append(ids, pick(w, ids))
		}
	}
	if w.rand.IntN(30) == 0 { // a whole stretch, so that segments become empty
		ids = ids[:0]
		live := w.model.stored()
		for _, e := range live[:w.rand.IntN(len(live)+1)] {
			ids = append(ids, e.ID)
		}
	}
	w.note("Remove %d", len(ids))
	n, err := w.log.Remove(w.Context(), ids)
	same(w, "error", nil, err)
	same(w, "removed", w.model.remove(ids), n)
}

func (w *walk) evict() {
	var before time.Time
	if w.rand.IntN(2) == 0 {
		before = time.Now().Add(-time.Duration(w.rand.IntN(40)) * time.Millisecond)
	}
	keep := w.rand.IntN(w.model.cfg.MaxMessages+2) - 1
	w.note("Evict %v %d", before, keep)
	n, err := w.log.Evict(w.Context(), before, keep)
	same(w, "error", nil, err)
	same(w, "evicted", w.model.evict(before, keep), n)
}

func (w *walk) clear() {
	w.note("Clear")
	n, err := w.log.Clear(w.Context())
	same(w, "error", nil, err)
	same(w, "cleared", w.model.clear(), n)
}

// pass lets time go by.
func (w *walk) pass() {
	d := time.Duration(1+w.rand.IntN(30)) * time.Millisecond
	w.note("%v pass", d)
	time.Sleep(d)
	synctest.Wait()
	w.model.pass(time.Now())
}

// wakeReaders lets readers wait that have nothing to read, and appends one entry.
func (w *walk) wakeReaders() {
	type armed struct {
		*walkReader
		ch chan struct{}
	}
	var list []armed
	for _, r := range w.readers {
		ch := make(chan struct{}, 1)
		missed, entries := w.model.next(r.model)
		ready := r.Wake(ch)
		if (missed > 0 || len(entries) > 0) && !ready {
			w.differ("Wake arranged a wake-up although there is something to read")
		}
		if !ready {
			list = append(list, armed{r, ch})
		}
	}
	w.append()
	synctest.Wait()
	for _, a := range list {
		if _, entries := w.model.next(a.model); len(entries) > 0 && len(a.ch) == 0 {
			w.differ("a reader was not woken")
		}
	}
}

// wakeWorkers lets workers wait for whom there is nothing to claim, and makes something happen.
func (w *walk) wakeWorkers() {
	if !w.log.cfg.Claims {
		return
	}
	type armed struct {
		box    string
		ch     chan struct{}
		cancel func()
	}
	var list []armed
	for range w.rand.IntN(6) {
		box, ch := pick(w, walkBoxes), make(chan struct{}, 1)
		cancel, ready := w.log.WakeClaim(box, ch)
		same(w, "WakeClaim", len(w.model.claimable(box)) > 0, ready)
		if !ready {
			list = append(list, armed{box, ch, cancel})
		}
	}
	switch w.rand.IntN(4) {
	case 0:
		w.append()
	case 1:
		w.settle()
	case 2:
		w.release()
	case 3:
		w.pass()
	}
	synctest.Wait()
	for _, a := range list {
		if len(w.model.claimable(a.box)) > 0 && len(a.ch) == 0 {
			w.differ("a worker was not woken")
		}
		a.cancel()
	}
}
