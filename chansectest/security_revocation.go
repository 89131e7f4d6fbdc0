package chansectest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chansec/chansec"
)

// loser is whoever a revocation is about, on one channel.
type loser struct {
	port     port
	systemID string
	token    string // empty for a system
}

func (x *securityTrial) loser(at *site, s chansec.ChannelSecurity, r Revocation) loser {
	x.Helper()
	if r.Token == "" {
		return loser{port: at.as(r.System), systemID: r.System}
	}
	for _, k := range x.expect.Tokens {
		if k.Name == r.Token {
			text := x.token(s, k)
			return loser{port: x.holder(at, k, text), systemID: k.SystemID, token: text}
		}
	}
	panic("chansectest: " + r.Token + " was checked before")
}

// before checks that what is about to be taken is there.
func (x *securityTrial) before(at *site, l loser, r Revocation) bool {
	for _, o := range at.operations(l.port, x.expect.content()) {
		if o.op.Role() == r.Role && answerOf(o.do(x.Context())) != yes {
			x.wrong("before the revocation %s, %s is not allowed on a %s", r.Name, o.name, at.kind)
			return false
		}
	}
	return true
}

// after checks that a port has nothing of what was taken.
func (x *securityTrial) after(at *site, p port, what string, r Revocation) {
	for _, o := range at.operations(p, x.expect.content()) {
		if includes(o.op.Role(), r.Role) {
			if got := answerOf(o.do(x.Context())); got != no {
				x.wrong("after the revocation %s, %s on a %s is %s by %s", r.Name, o.name, at.kind, got, what)
			}
		}
	}
}

func checkRevocation(x *securityTrial) {
	if len(x.expect.Revocations) == 0 {
		x.leaveOut("the expectations have no revocations")
	}
	var waits []func() // all at once: a security that is not Versioned takes a second each time
	for _, r := range x.expect.Revocations {
		for kind := range kinds {
			waits = append(waits, x.revoke(kind, r))
		}
	}
	for _, wait := range waits {
		wait()
	}
}

// revoke makes one revocation on one kind of channel, with whatever is open at the time, and returns what waits for that
// to end.
func (x *securityTrial) revoke(kind int, r Revocation) (wait func()) {
	s := x.new()
	at := x.site(kind, r.ChannelID, s)
	end := func() { _ = at.Close() }
	l := x.loser(at, s, r)
	if !x.before(at, l, r) {
		return end
	}
	write := func(string) {}
	if of, ok := x.somebody(s, chansec.RoleWrite, r.ChannelID, l.systemID); ok {
		p := of(at)
		write = func(mark string) {
			_, err := p.WriteMessage(x.Context(), chansec.Message[any]{Content: x.expect.content(), CorrelationID: mark})
			if err != nil && !errors.Is(err, chansec.ErrFull) {
				x.wrong("somebody who may write cannot: %v", err)
			}
		}
	}
	var leases []*watched
	if p := l.port.Subscriber; p != nil && r.Role == chansec.RoleRead {
		leases = []*watched{x.subscribe(p, "an idle lease", r), x.subscribe(p, "a lease that is read", r)}
		if x.broken() {
			return end
		}
		leases[1].read(x)
	}
	claimed := false
	if p := l.port.Worker; p != nil && r.Role == chansec.RoleRead {
		write("job")
		got, err := p.Claim(x.Context(), 1000)
		claimed = err == nil && len(got) > 0 && got[len(got)-1].Message.CorrelationID == "job"
	}

	x.must("the revocation "+r.Name, r.Revoke(s))

	write("after")
	x.after(at, l.port, "the port that was open", r)
	if l.token == "" {
		x.after(at, at.as(l.systemID), "a new port", r)
		for _, role := range roles {
			if includes(role, r.Role) && !x.expect.AnyName {
				x.byName(s, l.systemID, r.ChannelID, role, false)
			}
		}
	} else if who, err := at.Authenticate(x.Context(), l.token); err == nil {
		x.after(at, at.forCaller(who), "the holder of the token, authenticated anew", r)
	}
	return func() {
		for _, w := range leases {
			w.ended(x)
		}
		if of, ok := x.somebody(s, chansec.RoleRead, r.ChannelID, l.systemID); ok && claimed {
			x.claimable(of(at), r)
		}
		end()
	}
}

// claimable waits until somebody else has the job that the loser had claimed.
func (x *securityTrial) claimable(p chansec.Worker[any], r Revocation) {
	ctx, cancel := context.WithTimeout(x.Context(), x.patience)
	defer cancel()
	for {
		c, err := p.ClaimNext(ctx)
		if err != nil {
			x.wrong("after the revocation %s, what was claimed did not go back to the others: %v", r.Name, err)
			return
		}
		if c.Message.CorrelationID == "job" {
			return
		}
	}
}

// watched is a lease that is to be cut.
type watched struct {
	chansec.Lease[any]
	what string
	got  []string // marks of the messages that reached it
	done chan struct{}
}

func (x *securityTrial) subscribe(p chansec.Subscriber[any], what string, r Revocation) *watched {
	l, err := p.Subscribe(x.Context())
	if err != nil {
		x.wrong("before the revocation %s, subscribing is refused: %v", r.Name, err)
		return nil
	}
	return &watched{Lease: l, what: what + ", at the revocation " + r.Name}
}

// read follows the lease in a goroutine.
func (w *watched) read(x *securityTrial) {
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		for m, err := range w.Messages(x.Context()) {
			if err == nil {
				w.got = append(w.got, m.CorrelationID)
			}
		}
	}()
}

// ended checks that the lease ended as it must.
func (w *watched) ended(x *securityTrial) {
	defer w.Close()
	if !x.within(w.Done()) {
		x.wrong("%s: it did not end", w.what)
		return
	}
	if !errors.Is(w.Err(), chansec.ErrRevoked) {
		x.wrong("%s: it ended with an error that is not ErrRevoked: %v", w.what, w.Err())
	}
	if w.done == nil {
		w.read(x)
	}
	if !x.within(w.done) {
		x.wrong("%s: its loop did not end", w.what)
		return
	}
	for _, mark := range w.got {
		if mark == "after" {
			x.wrong("%s: a message that was written afterwards reached it", w.what)
		}
	}
}

func checkRevocationRace(x *securityTrial) {
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	found := false
	for _, r := range x.expect.Revocations {
		if r.Role != chansec.RoleRead {
			continue
		}
		for range rounds {
			found = x.race(r) || found
			if x.broken() {
				return
			}
		}
	}
	if !found {
		x.leaveOut("the expectations have no revocation of a reader on a channel that somebody else may write to")
	}
}

// race revokes while somebody else writes. It reports false if nobody else may.
func (x *securityTrial) race(r Revocation) bool {
	s := x.new()
	at := x.site(broadcast, r.ChannelID, s)
	defer at.Close()
	l := x.loser(at, s, r)
	of, ok := x.somebody(s, chansec.RoleWrite, r.ChannelID, l.systemID)
	if !ok {
		return false
	}
	lease, err := l.port.Subscribe(x.Context())
	if err != nil {
		x.wrong("before the revocation %s, subscribing is refused: %v", r.Name, err)
		return true
	}
	defer lease.Close()

	var started, last atomic.Int64 // numbers of the writes that began, and of the last message that arrived
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(x.Context())
	defer cancel()
	writer := of(at)
	wg.Go(func() {
		for ctx.Err() == nil {
			m := chansec.Message[any]{Content: x.expect.content(), CorrelationID: strconv.FormatInt(started.Add(1), 10)}
			_, _ = writer.WriteMessage(ctx, m)
		}
	})
	running := make(chan struct{})
	wg.Go(func() {
		n := 0
		for m, err := range lease.Messages(ctx) {
			if err != nil {
				continue // the last one, or what was missed
			}
			i, _ := strconv.ParseInt(m.CorrelationID, 10, 64)
			last.Store(i)
			if n++; n == 10 {
				close(running)
			}
		}
	})
	if !x.within(running) {
		x.wrong("messages do not reach the lease")
		return true
	}
	x.must("the revocation "+r.Name, r.Revoke(s))
	limit := started.Load()
	if !x.within(lease.Done()) {
		x.wrong("at the revocation %s, a lease did not end while messages were written", r.Name)
	}
	cancel()
	wg.Wait()
	if n := last.Load(); n > limit {
		x.wrong("at the revocation %s, message %d reached the lease, although only %d were begun when the revocation returned", r.Name, n, limit)
	}
	return true
}

func checkVersions(x *securityTrial) {
	s := x.new()
	v, ok := s.(chansec.Versioned)
	if !ok {
		x.leaveOut("the security is not Versioned")
		return
	}
	version, changed := v.Version(), v.Changed()
	for _, name := range append(x.expect.names(), stranger) {
		_, _ = authorize(x.Context(), s, chansec.RoleRead, name, x.expect.channels()[0])
	}
	_, _ = s.Authenticate(x.Context(), secret)
	if v.Version() != version || isClosed(changed) {
		x.wrong("the version changes, or the channel of Changed closes, although nothing changed")
	}
	for _, r := range x.expect.Revocations {
		s := x.new()
		v, ok := s.(chansec.Versioned)
		if !ok {
			x.wrong("only some of the securities are Versioned")
			return
		}
		at := x.site(broadcast, r.ChannelID, s)
		l := x.loser(at, s, r)
		version, changed := v.Version(), v.Changed()
		if changed == nil || isClosed(changed) {
			x.wrong("Changed returns a channel that is nil or closed already, although there is something to revoke")
			_ = at.Close()
			continue
		}
		seen := make(chan struct{})
		go func() { // whoever hears of the change meets the new version and the new state
			defer close(seen)
			<-changed
			if v.Version() == version {
				x.wrong("at the revocation %s, the channel of Changed closes before there is another version", r.Name)
			}
			for _, o := range at.operations(l.port, x.expect.content()) {
				if o.op.Role() == r.Role && answerOf(o.do(x.Context())) == yes {
					x.wrong("at the revocation %s, the channel of Changed closes before the change is in force", r.Name)
					return
				}
			}
		}()
		x.must("the revocation "+r.Name, r.Revoke(s))
		if !isClosed(changed) {
			x.wrong("the revocation %s returned before the channel of Changed was closed", r.Name)
		} else {
			<-seen
		}
		if v.Version() == version {
			x.wrong("the revocation %s returned and the version is the same", r.Name)
		}
		if isClosed(v.Changed()) {
			x.wrong("after the revocation %s, Changed returns a channel that is closed already", r.Name)
		}
		_ = at.Close()
	}
}

func checkAffected(x *securityTrial) {
	for i, r := range append([]Revocation{{}}, x.expect.Revocations...) {
		s := x.new()
		a, ok := s.(chansec.Affected)
		if !ok {
			x.leaveOut("the security is not Affected")
			return
		}
		before := a.Version()
		for _, n := range []uint64{0, before, before + 1, 1 << 63, 1<<64 - 1} {
			x.safely("AffectedSince", func() { a.AffectedSince(n) })
		}
		if i == 0 {
			continue
		}
		at := x.site(broadcast, r.ChannelID, s)
		l := x.loser(at, s, r)
		before = a.Version()
		x.must("the revocation "+r.Name, r.Revoke(s))
		if list := a.AffectedSince(before); len(list) > 0 && !slices.Contains(list, l.systemID) {
			x.wrong("after the revocation %s, AffectedSince returns %q, without %q", r.Name, list, l.systemID)
		}
		_ = at.Close()
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func checkConcurrency(x *securityTrial) {
	s := x.new()
	var texts []string
	for _, k := range x.expect.Tokens {
		texts = append(texts, x.token(s, k))
	}
	touched := make(map[string]bool)
	for _, r := range x.expect.Revocations {
		touched[r.System] = true
		for _, k := range x.expect.Tokens {
			if k.Name == r.Token {
				touched[k.SystemID] = true
			}
		}
	}
	stop := time.Now().Add(x.patience / 100)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for time.Now().Before(stop) && !x.broken() {
				x.safely("a method called by several goroutines", func() { x.ask(s, texts, touched) })
			}
		})
	}
	for _, r := range x.expect.Revocations {
		x.must("the revocation "+r.Name, r.Revoke(s))
	}
	wg.Wait()
}

// ask calls every method of a security once for everybody, and compares what no revocation touches.
func (x *securityTrial) ask(s chansec.ChannelSecurity, texts []string, touched map[string]bool) {
	ctx := x.Context()
	for _, k := range x.expect.Systems {
		for _, r := range k.Rights {
			for _, role := range roles {
				if !touched[k.ID] {
					x.byName(s, k.ID, r.ChannelID, role, r.may(role))
					continue
				}
				_, _ = authorize(ctx, s, role, k.ID, r.ChannelID)
				x.decides(s, k.ID, r.ChannelID, role)
			}
		}
	}
	for i, k := range x.expect.Tokens {
		p, err := s.Authenticate(ctx, texts[i])
		if k.SystemID == "" && err == nil || k.SystemID != "" && !touched[k.SystemID] && (err != nil || p.SystemID != k.SystemID) {
			x.wrong("the %s token proves %q, %v while others are revoked, want %q", k.Name, p.SystemID, err, k.SystemID)
		}
	}
	if v, ok := s.(chansec.Versioned); ok {
		_, _ = v.Version(), v.Changed()
	}
	_, _ = s.GenerateToken(ctx, chansec.TokenRequest{SystemID: helper, Role: chansec.RoleRead, Channels: []string{nowhere}, ExpiresIn: time.Minute})
}
