package wampauth

import (
	"hash/maphash"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
)

// Attempts bounds failed logins: so many in a row, and then one each time that Every has passed.
type Attempts struct {
	PerLogin   int           // 0 is DefaultAttemptsPerLogin
	PerAddress int           // 0 is DefaultAttemptsPerAddress
	Every      time.Duration // 0 is DefaultAttemptsEvery
}

// Defaults of Attempts.
const (
	DefaultAttemptsPerLogin   = 10
	DefaultAttemptsPerAddress = 100
	DefaultAttemptsEvery      = 10 * time.Second
)

// tally counts failures by name in a table that never grows: names whose hashes, which nobody outside can foresee, fall on the
// same place share it. So no flood of names pushes out what is counted of another. A place holds the time at which all that
// was counted there is forgiven (the generic cell rate algorithm).
type tally struct {
	places [1 << 16]atomic.Int64
	seed   maphash.Seed
	burst  int
	every  time.Duration
}

func newTally(burst int, every time.Duration) *tally {
	return &tally{seed: maphash.MakeSeed(), burst: burst, every: every}
}

func (t *tally) place(name string) *atomic.Int64 {
	return &t.places[maphash.String(t.seed, name)%uint64(len(t.places))]
}

// take counts an attempt before it is made, so that many at once are no way around, and reports whether it may be made.
func (t *tally) take(name string, now time.Time) bool {
	place := t.place(name)
	for {
		until := place.Load()
		from := max(until, now.UnixNano())
		if time.Duration(from-now.UnixNano()) > time.Duration(t.burst-1)*t.every {
			return false
		}
		if place.CompareAndSwap(until, from+int64(t.every)) {
			return true
		}
	}
}

// giveBack takes back what an attempt counted that was none.
func (t *tally) giveBack(name string) { t.place(name).Add(-int64(t.every)) }

// address returns where a client comes from, as far as its transport says so: the address for IPv4, the network of 64 bits for
// IPv6, or nothing.
func address(details wamp.Dict) (full, counted string) {
	v, err := wamp.DictValue(details, []string{"transport", "auth", "request"})
	if err != nil {
		return "", ""
	}
	r, ok := v.(*http.Request) // what a client writes into its HELLO never is one
	if !ok || r == nil {
		return "", ""
	}
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "", ""
	}
	ip := at.Addr().Unmap()
	if ip.Is6() {
		network, _ := ip.WithZone("").Prefix(64)
		return r.RemoteAddr, network.String()
	}
	return r.RemoteAddr, ip.String()
}
