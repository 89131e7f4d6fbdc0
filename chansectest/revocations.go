package chansectest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chansec/chansec"
)

// TestRevocations checks a backend of revocations. newStorage makes an empty storage and returns how to open it, which is
// done more than once: what is appended by one of the backends, all of them yield. Revocations of a storage that several
// processes share should be opened as by several processes, and those of a file as after a restart.
func TestRevocations(t *testing.T, newStorage func(t *testing.T) (open func() chansec.RevocationBackend), opts ...Option) {
	o := newOptions(opts)
	for _, r := range revocationRules {
		run(t, r, o, func(x *trial) *revocationTrial { return &revocationTrial{x, newStorage(x.T)} })
	}
}

// revocationRules are what TestRevocations checks, in order.
var revocationRules = []rule[*revocationTrial]{
	{"empty", "A new storage holds nothing.", checkNoRevocations},
	{"append", "When Append returns, every backend of the storage yields the revocation as it was given, also one that is opened " +
		"later. The revision in what is given means nothing.", checkRevocationAppend},
	{"order", "Changes yields by revisions that rise from 1 on, stops when it is told to, and may be ranged over again.", checkRevocationOrder},
	{"since", "Changes yields nothing up to the revision that was given, and all above that no other outdoes.", checkRevocationsSince},
	{"bytes", "IDs are compared byte for byte and come back as they were, and a token is not a subject of the same name.", checkRevocationBytes},
	{"times", "Times are kept to the second, from 1970 to 9999, and a zero ExpiresAt stays zero.", checkRevocationTimes},
	{"outdone", "A revocation never weakens another: of one token the latest ExpiresAt counts, of which zero is the last of all; of one " +
		"subject the latest IssuedBefore. What strengthens another is yielded to those who know the other.", checkOutdone},
	{"grace", "A token that expired less than RevocationGrace ago is not forgotten, and neither is anything else, for as many as " +
		"there are.", checkRevocationGrace},
	{"follow", "Nothing appears at or below a revision that was yielded before, also while many append: whoever goes on from the last " +
		"revision misses nothing.", checkRevocationFollow},
	{"contexts", "With a context that has ended, Append fails with its error and keeps nothing, and Changes yields its error and " +
		"nothing else.", checkRevocationContexts},
	{"security", "A token that one security revoked, another one on the same storage refuses after Refresh, and one that is " +
		"opened later at once; the others stay good.", checkRevocationSecurity},
}

// revocationTrial is one run of one rule on a storage.
type revocationTrial struct {
	*trial
	fresh func() chansec.RevocationBackend
}

// open opens the storage.
func (x *revocationTrial) open() chansec.RevocationBackend {
	x.Helper()
	b := x.fresh()
	if b == nil {
		x.Fatal("chansectest: open returned nil")
	}
	return b
}

// revokedUntil is the revocation of a token that expires at a Unix time, where 0 is never.
func revokedUntil(id string, at int64) chansec.Revocation {
	if at == 0 {
		return chansec.Revocation{TokenID: id}
	}
	return chansec.Revocation{TokenID: id, ExpiresAt: time.Unix(at, 0).UTC()}
}

func revokedBefore(subject string, at int64) chansec.Revocation {
	return chansec.Revocation{Subject: subject, IssuedBefore: time.Unix(at, 0).UTC()}
}

// later is a Unix time at which nothing here has expired.
var later = time.Now().Add(24 * time.Hour).Unix()

func (x *revocationTrial) append(b chansec.RevocationBackend, list ...chansec.Revocation) {
	for _, r := range list {
		if err := b.Append(x.Context(), r); err != nil {
			x.stop("Append of %s: %v", showRevocation(r), err)
		}
	}
}

// after returns what is yielded after a revision.
func (x *revocationTrial) after(b chansec.RevocationBackend, revision uint64) (list []chansec.Revocation) {
	for r, err := range b.Changes(x.Context(), revision) {
		if err != nil {
			x.stop("Changes after revision %d: %v", revision, err)
		}
		list = append(list, r)
	}
	return list
}

// revokes is what revocations do together: by "token" or "subject" and ID, the Unix time that counts.
type revokes map[[2]string]int64

// add takes one more into account.
func (s revokes) add(list ...chansec.Revocation) {
	for _, r := range list {
		key, at := [2]string{"subject", r.Subject}, r.IssuedBefore.Unix()
		if r.TokenID != "" {
			key, at = [2]string{"token", r.TokenID}, r.ExpiresAt.Unix()
			if r.ExpiresAt.IsZero() {
				at = 1<<63 - 1
			}
		}
		if old, ok := s[key]; !ok || old < at {
			s[key] = at
		}
	}
}

// equal compares what revocations do with what they should.
func (x *revocationTrial) equal(what string, got []chansec.Revocation, want ...chansec.Revocation) {
	has, should := make(revokes), make(revokes)
	has.add(got...)
	should.add(want...)
	for _, r := range want {
		one := make(revokes)
		one.add(r)
		for key := range one {
			if at, ok := has[key]; !ok {
				x.wrong("%s: %s is missing", what, showRevocation(r))
			} else if at != should[key] {
				x.wrong("%s: the %s %.40q is revoked until or up to %d, want %d", what, key[0], key[1], at, should[key])
			}
		}
	}
	for _, r := range got {
		if (r.TokenID == "") == (r.Subject == "") {
			x.wrong("%s: %s is of no token and no subject, or of both", what, showRevocation(r))
			continue
		}
		one := make(revokes)
		one.add(r)
		for key := range one {
			if _, ok := should[key]; !ok {
				x.wrong("%s: %s was never appended", what, showRevocation(r))
			}
		}
	}
}

func showRevocation(r chansec.Revocation) string {
	if r.TokenID != "" && r.Subject == "" {
		return fmt.Sprintf("the token %.40q until %s", r.TokenID, r.ExpiresAt.Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("the subject %.40q up to %s", r.Subject, r.IssuedBefore.Format(time.RFC3339Nano))
}

func checkNoRevocations(x *revocationTrial) {
	b := x.open()
	for _, revision := range []uint64{0, 7, 1<<63 - 1} {
		x.equal(fmt.Sprint("Changes after revision ", revision), x.after(b, revision))
	}
}

func checkRevocationAppend(x *revocationTrial) {
	b, other := x.open(), x.open()
	var all []chansec.Revocation
	for i, r := range []chansec.Revocation{revokedUntil("a", later), revokedBefore("s", later), revokedUntil("b", 0)} {
		all = append(all, r)
		given := r
		given.Revision = uint64(7 * i)
		x.append(b, given)
		x.equal("the one that appended", x.after(b, 0), all...)
		x.equal("one that was opened before", x.after(other, 0), all...)
		x.equal("one that is opened later", x.after(x.open(), 0), all...)
		b, other = other, b
	}
	for _, r := range x.after(b, 0) {
		if r.TokenID != "" && !r.IssuedBefore.IsZero() || r.Subject != "" && !r.ExpiresAt.IsZero() {
			x.wrong("%s has both times", showRevocation(r))
		}
	}
}

func checkRevocationOrder(x *revocationTrial) {
	b := x.open()
	for i := range 20 {
		x.append(b, revokedUntil(fmt.Sprint("token ", i), later), revokedBefore(fmt.Sprint("subject ", i), later))
	}
	last := uint64(0)
	for _, r := range x.after(b, 0) {
		if r.Revision <= last {
			x.wrong("revision %d follows %d", r.Revision, last)
		}
		last = r.Revision
	}
	changes := b.Changes(x.Context(), 0)
	for range 2 {
		n := 0
		for r, err := range changes {
			if n++; err != nil || n == 1 && r.TokenID != "token 0" {
				x.wrong("the first is %s, %v, want token 0", showRevocation(r), err)
			}
			if n == 3 {
				break
			}
		}
		if n != 3 {
			x.wrong("%d were yielded, want 3", n)
		}
	}
}

func checkRevocationsSince(x *revocationTrial) {
	b := x.open()
	var all []chansec.Revocation
	for i := range 10 {
		all = append(all, revokedUntil(fmt.Sprint("token ", i), later))
	}
	x.append(b, all...)
	list := x.after(b, 0)
	x.equal("Changes after revision 0", list, all...)
	for i, r := range list {
		rest := x.after(x.open(), r.Revision)
		x.equal(fmt.Sprint("Changes after revision ", r.Revision), rest, all[min(i+1, len(all)):]...)
		for _, r2 := range rest {
			if r2.Revision <= r.Revision {
				x.wrong("Changes after revision %d yields revision %d", r.Revision, r2.Revision)
			}
		}
	}
	x.append(b, revokedBefore("s", later))
	x.equal("Changes after the last revision", x.after(b, list[len(list)-1].Revision), revokedBefore("s", later))
}

func checkRevocationBytes(x *revocationTrial) {
	var all []chansec.Revocation
	long := strings.Repeat("x", 511)
	for i, id := range []string{"a", "A", " a", "a ", "a  ", "ä", "a\u0308", "Ä", "ß", "ss", "'", `"`, `\`, "%", "_", "*", "?", "$1", "NULL", "0", "00", "0x0",
		"-- ", "\u202e", "\u00a0", "\U0001f511", long + "y", long + "z"} {
		all = append(all, revokedUntil(id, later+int64(i)))
		if i%2 == 0 {
			all = append(all, revokedBefore(id, later-int64(i)))
		}
	}
	b := x.open()
	x.append(b, all...)
	x.equal("the one that appended", x.after(b, 0), all...)
	x.equal("one that is opened later", x.after(x.open(), 0), all...)
}

func checkRevocationTimes(x *revocationTrial) {
	var all []chansec.Revocation
	for _, at := range []int64{0, 1, 1<<31 - 1, 1 << 31, 1<<32 + 1, 9223372036, 9223372037, 253402300799} {
		all = append(all, revokedBefore(fmt.Sprint("before ", at), at))
		if at >= later {
			all = append(all, revokedUntil(fmt.Sprint("until ", at), at))
		}
	}
	all = append(all, revokedUntil("never forgotten", 0), revokedUntil("this second", later))
	b := x.open()
	x.append(b, all...)
	for _, b := range []chansec.RevocationBackend{b, x.open()} {
		list := x.after(b, 0)
		x.equal("Changes", list, all...)
		for _, r := range list {
			if r.ExpiresAt.Nanosecond()+r.IssuedBefore.Nanosecond() != 0 {
				x.wrong("%s: a time is not of a whole second", showRevocation(r))
			}
		}
	}
}

func checkOutdone(x *revocationTrial) {
	b := x.open()
	for kind, order := range [][]func(id string) chansec.Revocation{ // from weak to strong
		{func(id string) chansec.Revocation { return revokedUntil(id, later) },
			func(id string) chansec.Revocation { return revokedUntil(id, later+1) },
			func(id string) chansec.Revocation { return revokedUntil(id, 0) }},
		{func(id string) chansec.Revocation { return revokedBefore(id, 0) },
			func(id string) chansec.Revocation { return revokedBefore(id, later) },
			func(id string) chansec.Revocation { return revokedBefore(id, later+1) }},
	} {
		for i, first := range order {
			for j, second := range order {
				id := fmt.Sprint("case ", kind, i, j)
				what := showRevocation(first(id)) + " and then " + showRevocation(second(id))
				x.append(b, first(id))
				last := x.last(b)
				x.append(b, second(id))
				x.equal(what, of(id, x.after(x.open(), 0)), order[max(i, j)](id))
				if j > i {
					x.equal(what+", for those who know the first", of(id, x.after(b, last)), second(id))
				}
			}
		}
	}
}

// last returns the last revision that is yielded.
func (x *revocationTrial) last(b chansec.RevocationBackend) (revision uint64) {
	for _, r := range x.after(b, 0) {
		revision = r.Revision
	}
	return revision
}

// of returns the revocations of a token or subject.
func of(id string, list []chansec.Revocation) (some []chansec.Revocation) {
	for _, r := range list {
		if r.TokenID == id || r.Subject == id {
			some = append(some, r)
		}
	}
	return some
}

func checkRevocationGrace(x *revocationTrial) {
	b := x.open()
	over := time.Now().Add(-chansec.RevocationGrace / 2).Unix()
	all := []chansec.Revocation{revokedUntil("expired", over), revokedUntil("not yet", later), revokedUntil("never", 0), revokedBefore("s", over)}
	x.append(b, all...)
	x.append(b, revokedUntil("long ago", time.Now().Add(-2*chansec.RevocationGrace).Unix())) // which may be forgotten
	many := 1100
	if testing.Short() {
		many = 50
	}
	for i := range many {
		r := revokedUntil(fmt.Sprint("token ", i), over+int64(i))
		all = append(all, r)
		x.append(b, r)
	}
	for _, b := range []chansec.RevocationBackend{b, x.open()} {
		var got []chansec.Revocation
		for _, r := range x.after(b, 0) {
			if r.TokenID != "long ago" {
				got = append(got, r)
			}
		}
		x.equal("Changes", got, all...)
	}
}

func checkRevocationFollow(x *revocationTrial) {
	const writers, each = 4, 50
	var writing, following sync.WaitGroup
	var all []chansec.Revocation
	var done atomic.Bool
	for range 2 {
		b := x.open()
		var got []chansec.Revocation
		following.Go(func() {
			x.do(func() {
				last := uint64(0)
				for again := true; again && !x.broken(); {
					again = !done.Load() // once more after the last one
					for _, r := range x.after(b, last) {
						if r.Revision <= last {
							x.stop("revision %d appeared after %d had been yielded", r.Revision, last)
						}
						last = r.Revision
						got = append(got, r)
					}
				}
				x.equal("who goes on from the last revision", got, all...)
			})
		})
	}
	for i := range writers {
		list := make([]chansec.Revocation, 0, each)
		for n := range each {
			list = append(list, revokedUntil(fmt.Sprint("token ", i, " ", n), later))
		}
		all = append(all, list...)
	}
	for i := range writers {
		b := x.open()
		writing.Go(func() { x.do(func() { x.append(b, all[i*each:(i+1)*each]...) }) })
	}
	writing.Wait()
	done.Store(true)
	following.Wait()
}

func checkRevocationContexts(x *revocationTrial) {
	b := x.open()
	x.append(b, revokedUntil("a", later))
	ctx, cancel := context.WithCancel(x.Context())
	cancel()
	if err := b.Append(ctx, revokedUntil("b", later)); !errors.Is(err, context.Canceled) {
		x.wrong("Append: %v, want %v", err, context.Canceled)
	}
	x.equal("Changes", x.after(b, 0), revokedUntil("a", later))
	for _, revision := range []uint64{0, x.last(b)} {
		var errs []error
		for r, err := range b.Changes(ctx, revision) {
			if errs = append(errs, err); err == nil {
				x.wrong("Changes after revision %d yields %s", revision, showRevocation(r))
			}
		}
		if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
			x.wrong("Changes after revision %d yields the errors %v, want %v once", revision, errs, context.Canceled)
		}
	}
}

func checkRevocationSecurity(x *revocationTrial) {
	key, err := chansec.HMACKey("", "HS256", []byte("a secret for tests of at least thirty-two bytes"))
	x.must("HMACKey", err)
	secure := func() *chansec.JWTSecurity {
		s, err := chansec.OpenJWTSecurity(x.Context(), x.open(), key)
		if err != nil {
			x.stop("OpenJWTSecurity: %v", err)
		}
		return s
	}
	here, there := secure(), secure()
	token := func(subject string) string {
		text, err := here.GenerateToken(x.Context(), chansec.TokenRequest{SystemID: subject, Role: chansec.RoleRead, AllChannels: true})
		x.must("GenerateToken", err)
		return text
	}
	lost, gone, good := token("ann"), token("bob"), token("ann")
	p, err := here.Authenticate(x.Context(), lost)
	x.must("Authenticate", err)
	for _, r := range []chansec.Revocation{
		{TokenID: p.Grant.TokenID, ExpiresAt: p.Grant.ExpiresAt},
		{Subject: "bob", IssuedBefore: time.Now()},
	} {
		if err := here.Revoke(x.Context(), r); err != nil {
			x.stop("Revoke: %v", err)
		}
	}
	if err := there.Refresh(x.Context()); err != nil {
		x.stop("Refresh: %v", err)
	}
	for name, s := range map[string]*chansec.JWTSecurity{"the one that revoked": here, "another one": there, "one that is opened later": secure()} {
		for what, text := range map[string]string{"a revoked token": lost, "a token of a revoked subject": gone} {
			if _, err := s.Authenticate(x.Context(), text); !errors.Is(err, chansec.ErrRevoked) {
				x.wrong("%s: %s is not refused as revoked: %v", name, what, err)
			}
		}
		if _, err := s.Authenticate(x.Context(), good); err != nil {
			x.wrong("%s: a token that nobody revoked is refused: %v", name, err)
		}
	}
}
