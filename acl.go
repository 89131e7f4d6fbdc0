package chansec

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chansec/chansec/internal/atomicmap"
)

// ACLSecurity decides by a list of who has which role, on one channel or on all. A token is the system's name, which
// everybody can see, so that its principals have no proof and transports refuse them. It may be used from many
// goroutines at once; deciding takes no lock and costs the same however long the list is.
//
// Every change is in force, for open leases too, when the method that made it returns. What one call changes for a system
// becomes visible at once.
type ACLSecurity struct {
	version
	max int

	mu       sync.Mutex // of changes
	epoch    uint64     // of the last change that concerned single channels
	grants   atomicmap.Map[string, aclRecord]
	single   atomicmap.Map[aclKey, aclRecord]
	channels map[string]map[string]struct{} // those that a system has records of its own for
}

var (
	_ ChannelSecurity = (*ACLSecurity)(nil)
	_ Decider         = (*ACLSecurity)(nil)
	_ Affected        = (*ACLSecurity)(nil)
	_ ContentBlind    = (*ACLSecurity)(nil)
)

type aclKey struct{ systemID, channelID string }

// aclRecord is what a system holds on one channel, or on all of them. It is never changed, only replaced.
//
// A change writes the records of single channels first, with the next epoch, and the system's own record last: until then,
// readers pass over what is newer than the system's epoch, to the record before it.
type aclRecord struct {
	until [3]int64   // per role: Unix nanoseconds until which it is held; 0 is not held
	rest  *aclEpochs // nil for a system that has nothing on single channels
}

type aclEpochs struct {
	epoch  uint64
	prev   *aclRecord // of a channel's record: the one before
	latest int64      // of a system's: until when, at most, it has something on single channels
}

// lasting are the records of systems that hold what they hold for ever, and nothing on single channels, by the set of
// their roles: most systems share one of these, which deciders therefore find in their cache.
var lasting = func() (all [8]aclRecord) {
	for set := range all {
		for i := range all[set].until {
			if set&(1<<i) != 0 {
				all[set].until[i] = forever
			}
		}
	}
	return all
}()

// keep returns where a record like r may stay: nobody changes it there.
func (r *aclRecord) keep() *aclRecord {
	set := 0
	for i, until := range r.until {
		switch until {
		case 0:
		case forever:
			set |= 1 << i
		default:
			set = len(lasting)
		}
	}
	if set >= len(lasting) || r.rest != nil {
		kept := *r
		return &kept
	}
	return &lasting[set]
}

// ACLEntry says that a system has a role on one channel, or on all of them.
type ACLEntry struct {
	SystemID    string
	Role        Role
	AllChannels bool      // and then no ChannelID
	ChannelID   string    // one channel
	ExpiresAt   time.Time // zero: never

	alone bool // without the roles that it includes, as in the constructor's lists
}

// ACLOption configures an ACLSecurity.
type ACLOption func(*ACLSecurity) error

// ACLRead lists systems that may read every channel.
func ACLRead(systemIDs ...string) ACLOption { return aclList(RoleRead, systemIDs) }

// ACLWrite lists systems that may write, and therefore read, every channel.
func ACLWrite(systemIDs ...string) ACLOption { return aclList(RoleWrite, systemIDs) }

// ACLAdmin lists systems that may do everything on every channel.
func ACLAdmin(systemIDs ...string) ACLOption { return aclList(RoleAdmin, systemIDs) }

func aclList(role Role, systemIDs []string) ACLOption {
	return func(a *ACLSecurity) error {
		entries := make([]ACLEntry, len(systemIDs))
		for i, id := range systemIDs {
			entries[i] = ACLEntry{SystemID: id, Role: role, AllChannels: true, alone: true}
		}
		return a.Add(entries...)
	}
}

// DefaultACLEntries is how many entries an ACLSecurity holds at most, unless told otherwise. A system takes 64 to 128 bytes
// beside its name if what it holds lasts for ever on all channels, and up to 200 for what ends. A change for which the table
// has no room copies it, in up to half a second among a million; deciding never waits.
const DefaultACLEntries = 10_000_000

// ACLMaxEntries sets how many systems, and channels that they have something of their own on, the list may have together.
func ACLMaxEntries(n int) ACLOption {
	return func(a *ACLSecurity) error { a.max = n; return between("maximum of entries", n, 1, 1<<31) }
}

// NewACLSecurity returns a security that lets nobody do anything but those it was told of.
func NewACLSecurity(opts ...ACLOption) (*ACLSecurity, error) {
	a := &ACLSecurity{max: DefaultACLEntries, channels: make(map[string]map[string]struct{})}
	a.grants.Init((*aclRecord).dead, func(string) {})
	a.single.Init((*aclRecord).dead, a.dropped)
	for _, opt := range opts {
		if opt == nil {
			return nil, &InvalidError{What: "option", Value: "nil", Want: "an ACLOption"}
		}
		if err := opt(a); err != nil {
			return nil, err
		}
	}
	if a.grants.Places()+a.single.Places() > a.max {
		return nil, fmt.Errorf("%w: an access control list of %d entries", ErrLimit, a.max)
	}
	return a, nil
}

// Grant gives a system a role on every channel, with the roles that it includes, for ever. A lower role than the one that
// is held takes nothing away.
func (a *ACLSecurity) Grant(systemID string, role Role) error {
	return a.Add(ACLEntry{SystemID: systemID, Role: role, AllChannels: true})
}

// GrantOn gives a system a role on these channels only, with the roles that it includes, for ever.
func (a *ACLSecurity) GrantOn(systemID string, role Role, channelIDs ...string) error {
	if len(channelIDs) == 0 {
		return &InvalidError{What: "channels", Value: "none", Want: "at least one channel id, or Grant for all"}
	}
	entries := make([]ACLEntry, len(channelIDs))
	for i, id := range channelIDs {
		entries[i] = ACLEntry{SystemID: systemID, Role: role, ChannelID: id}
	}
	return a.Add(entries...)
}

// Add lists entries, all of them or, where one makes no sense (InvalidError) or the list would grow too long (ErrLimit),
// none. Roles come with those they include. What a system has for longer is not shortened.
func (a *ACLSecurity) Add(entries ...ACLEntry) error {
	now := time.Now()
	entries = slices.Clone(entries)
	for i := range entries {
		if err := entries[i].check(now); err != nil {
			return err
		}
	}
	// The entries of one system together, since they become visible together.
	slices.SortStableFunc(entries, func(x, y ACLEntry) int { return cmp.Compare(x.SystemID, y.SystemID) })
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.grants.Places()+a.single.Places()+2*len(entries) > a.max && a.grants.Rebuild()+a.single.Rebuild()+a.places(entries) > a.max {
		return fmt.Errorf("%w: an access control list of %d entries", ErrLimit, a.max)
	}
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].SystemID == entries[0].SystemID {
			n++
		}
		a.add(entries[0].SystemID, entries[:n])
		a.bump(entries[0].SystemID)
		entries = entries[n:]
	}
	return nil
}

func (e *ACLEntry) check(now time.Time) (err error) {
	if err := CheckSystemID(e.SystemID); err != nil {
		return err
	}
	if e.Role, err = ParseRole(string(e.Role)); err != nil {
		return err
	}
	switch {
	case e.AllChannels && e.ChannelID != "":
		return invalid("entry", e.ChannelID, "AllChannels or a ChannelID, not both")
	case !e.AllChannels:
		if err := CheckChannelID(e.ChannelID); err != nil {
			return err
		}
	}
	if !e.ExpiresAt.IsZero() && !e.ExpiresAt.After(now) {
		return invalid("expiry", e.ExpiresAt.String(), "a time to come, or zero for never")
	}
	return nil
}

// places returns how many records more the entries need.
func (a *ACLSecurity) places(entries []ACLEntry) int {
	more := make(map[aclKey]struct{})
	for i := range entries {
		e := &entries[i]
		if a.grants.Get(e.SystemID) == nil {
			more[aclKey{e.SystemID, ""}] = struct{}{}
		}
		if on := (aclKey{e.SystemID, e.ChannelID}); !e.AllChannels && a.single.Get(on) == nil {
			more[on] = struct{}{}
		}
	}
	return len(more)
}

// add lists the entries of one system.
func (a *ACLSecurity) add(systemID string, entries []ACLEntry) {
	own := a.own(systemID)
	var next *aclEpochs // once there is a single channel
	for i := range entries {
		e := &entries[i]
		until := int64(forever)
		if !e.ExpiresAt.IsZero() {
			until = unixNano(e.ExpiresAt)
		}
		if e.AllChannels {
			own.give(e, until)
			continue
		}
		if next == nil {
			next = a.advance(&own)
		}
		on := aclKey{systemID, e.ChannelID}
		of := a.next(on, next)
		of.give(e, until)
		a.single.Set(on, &of)
		next.latest = max(next.latest, until)
		if a.channels[systemID] == nil {
			a.channels[systemID] = make(map[string]struct{})
		}
		a.channels[systemID][e.ChannelID] = struct{}{}
	}
	if next != nil {
		own.rest = next
	}
	a.grants.Set(systemID, own.keep())
}

// advance returns what a system's epochs are after a change of single channels. Epochs are counted for all systems together,
// so that one that was forgotten and comes back is ahead of every record that is left of its channels.
func (a *ACLSecurity) advance(own *aclRecord) *aclEpochs {
	a.epoch++
	next := &aclEpochs{epoch: a.epoch}
	if own.rest != nil {
		next.latest = own.rest.latest
	}
	return next
}

func (r *aclRecord) give(e *ACLEntry, until int64) {
	for rank := range e.Role.rank() {
		if !e.alone || rank == e.Role.rank()-1 {
			r.until[rank] = max(r.until[rank], until)
		}
	}
}

// own returns a copy of a system's own record.
func (a *ACLSecurity) own(systemID string) aclRecord {
	if r := a.grants.Get(systemID); r != nil {
		return *r
	}
	return aclRecord{}
}

// next returns the record of a channel as it is to be at the epoch of its system, to be changed and set.
func (a *ACLSecurity) next(on aclKey, own *aclEpochs) aclRecord {
	old := a.single.Get(on)
	switch {
	case old == nil:
		return aclRecord{rest: &aclEpochs{epoch: own.epoch}}
	case old.rest.epoch == own.epoch: // changed by this same call
		return *old
	}
	prev := aclRecord{until: old.until, rest: &aclEpochs{epoch: old.rest.epoch}}
	return aclRecord{until: old.until, rest: &aclEpochs{epoch: own.epoch, prev: &prev}}
}

// at returns a system's own record, which was just looked up or is one from after that, and that of a channel at the same
// epoch; either may be nil.
func (a *ACLSecurity) at(own *aclRecord, on aclKey) (_, of *aclRecord) {
	for own != nil && own.rest != nil {
		newest := a.single.Get(on)
		for of = newest; of != nil && of.rest.epoch > own.rest.epoch; {
			of = of.rest.prev
		}
		if of == nil && newest != nil {
			// There was none then, or two changes went by since own was read.
			if now := a.grants.Get(on.systemID); now != own {
				own = now
				continue
			}
		}
		return own, of
	}
	return own, nil
}

// untilFor returns until when a rank is held, be it through a higher one.
func (r *aclRecord) untilFor(rank int) int64 {
	switch rank {
	case 1:
		return max(r.until[0], r.until[1], r.until[2])
	case 2:
		return max(r.until[1], r.until[2])
	}
	return r.until[2]
}

// dead reports whether nothing would change if the record were not there.
func (r *aclRecord) dead() bool {
	u := r.untilFor(1)
	if r.rest != nil {
		u = max(u, r.rest.latest)
	}
	return u == 0 || u != forever && u <= time.Now().UnixNano()
}

// dropped forgets a record that was dead when its table was rebuilt.
func (a *ACLSecurity) dropped(on aclKey) {
	if of := a.channels[on.systemID]; of != nil {
		if delete(of, on.channelID); len(of) == 0 {
			delete(a.channels, on.systemID)
		}
	}
}

// Revoke takes everything from a system. It reports whether there was anything to take.
func (a *ACLSecurity) Revoke(systemID string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	own := a.own(systemID)
	if own.dead() {
		return false
	}
	was := a.holds(systemID, &own)
	a.grants.Set(systemID, &lasting[0])
	if own.rest != nil {
		a.epoch++
		nothing := &aclRecord{rest: &aclEpochs{epoch: a.epoch}}
		for id := range a.channels[systemID] {
			a.single.Set(aclKey{systemID, id}, nothing)
		}
	}
	delete(a.channels, systemID)
	a.bump(systemID)
	return was
}

// RevokeRole takes a role, and every role that includes it, from a system on all channels: afterwards it has less than
// that role everywhere. It reports whether there was anything to take, or returns an InvalidError for an unknown role.
func (a *ACLSecurity) RevokeRole(systemID string, role Role) (bool, error) {
	role, err := ParseRole(string(role))
	if err != nil {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.take(systemID, "", role), nil
}

// RevokeOn takes a role, and every role that includes it, from what a system was given on that one channel. What it has
// on all channels stays: ACLSecurity has no exceptions. It reports whether there was anything to take.
func (a *ACLSecurity) RevokeOn(systemID string, role Role, channelID string) (bool, error) {
	role, err := ParseRole(string(role))
	if err != nil {
		return false, err
	}
	if err := CheckChannelID(channelID); err != nil {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.take(systemID, channelID, role), nil
}

// take takes a role and those above it, on one channel or, for "", everywhere.
func (a *ACLSecurity) take(systemID, channelID string, role Role) bool {
	own := a.own(systemID)
	next := &aclEpochs{}
	if len(a.channels[systemID]) > 0 {
		next = a.advance(&own)
		next.latest = 0
	}
	changed := false
	for id := range a.channels[systemID] {
		on := aclKey{systemID, id}
		r := a.next(on, next)
		if (channelID == "" || channelID == id) && r.take(role) {
			changed = true
			a.single.Set(on, &r)
		}
		if r.untilFor(1) == 0 {
			delete(a.channels[systemID], id)
		}
		next.latest = max(next.latest, r.untilFor(1))
	}
	if channelID == "" && own.take(role) {
		changed = true
	}
	if !changed {
		return false
	}
	if own.rest = next; next.latest == 0 {
		own.rest = nil
		delete(a.channels, systemID)
	}
	a.grants.Set(systemID, own.keep())
	a.bump(systemID)
	return true
}

// take takes a role and those above it, and reports whether one of them was still held.
func (r *aclRecord) take(role Role) (changed bool) {
	now := time.Now().UnixNano()
	for rank := role.rank() - 1; rank < 3; rank++ {
		changed = changed || r.until[rank] > now
		r.until[rank] = 0
	}
	return changed
}

// Entries returns who has what now, in the order of systems, channels (all of them first) and roles. Roles that another
// entry of the same system and channel includes for as long are left out.
func (a *ACLSecurity) Entries() []ACLEntry {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now().UnixNano()
	var list []ACLEntry
	add := func(of ACLEntry, r *aclRecord) {
		longest := now
		for rank := 3; rank >= 1; rank-- {
			if u := r.until[rank-1]; u > longest {
				longest = u
				of.Role, of.ExpiresAt = ranks[rank-1], time.Time{}
				if u != forever {
					of.ExpiresAt = time.Unix(0, u)
				}
				list = append(list, of)
			}
		}
	}
	for systemID, r := range a.grants.All() {
		add(ACLEntry{SystemID: systemID, AllChannels: true}, r)
	}
	for on, r := range a.single.All() {
		add(ACLEntry{SystemID: on.systemID, ChannelID: on.channelID}, r)
	}
	slices.SortFunc(list, func(x, y ACLEntry) int {
		return cmp.Or(cmp.Compare(x.SystemID, y.SystemID), cmp.Compare(x.ChannelID, y.ChannelID), cmp.Compare(x.Role.rank(), y.Role.rank()))
	})
	return list
}

// Authenticate returns a principal without proof for a name that is listed, and ErrUnauthenticated for any other.
func (a *ACLSecurity) Authenticate(_ context.Context, token string) (Principal, error) {
	own := a.own(token)
	if own.dead() {
		return Principal{}, ErrUnauthenticated
	}
	if own.untilFor(1) != forever { // otherwise without a lock
		a.mu.Lock()
		defer a.mu.Unlock()
		if own = a.own(token); !a.holds(token, &own) {
			return Principal{}, ErrUnauthenticated
		}
	}
	return Principal{SystemID: token}, nil
}

// holds reports whether a system holds anything now, on whichever channel. The caller holds the mutex.
func (a *ACLSecurity) holds(systemID string, own *aclRecord) bool {
	now := time.Now().UnixNano()
	if own.untilFor(1) > now {
		return true
	}
	for id := range a.channels[systemID] {
		if _, of := a.at(own, aclKey{systemID, id}); of != nil && of.untilFor(1) > now {
			return true
		}
	}
	return false
}

// AuthorizeRead reports whether the system is listed for reading, writing or everything.
func (a *ACLSecurity) AuthorizeRead(_ context.Context, systemID, channelID string) (bool, error) {
	return now(a.until(systemID, channelID, 1)), nil
}

// AuthorizeWrite reports whether the system is listed for writing or everything.
func (a *ACLSecurity) AuthorizeWrite(_ context.Context, systemID, channelID string) (bool, error) {
	return now(a.until(systemID, channelID, 2)), nil
}

// AuthorizeAdmin reports whether the system is listed for everything.
func (a *ACLSecurity) AuthorizeAdmin(_ context.Context, systemID, channelID string) (bool, error) {
	return now(a.until(systemID, channelID, 3)), nil
}

// now reports whether what holds until a time holds now.
func now(until int64) bool {
	return until == forever || until != 0 && beyondNow(until) // without the clock, this is inlined
}

func beyondNow(until int64) bool { return time.Now().UnixNano() < until }

// until returns until when a system has a rank on a channel.
func (a *ACLSecurity) until(systemID, channelID string, rank int) int64 {
	own := a.grants.Get(systemID)
	if own == nil {
		return 0
	}
	if until := own.untilFor(rank); own.rest == nil || until == forever {
		return until
	}
	return a.untilOn(own, aclKey{systemID, channelID}, rank)
}

// untilOn is until for a system that has something on single channels.
func (a *ACLSecurity) untilOn(own *aclRecord, on aclKey, rank int) (until int64) {
	own, of := a.at(own, on)
	if own != nil {
		until = own.untilFor(rank)
	}
	if of != nil {
		until = max(until, of.untilFor(rank))
	}
	return until
}

// Decide decides by the system's name.
func (a *ACLSecurity) Decide(_ context.Context, req Request) (d Decision, _ error) {
	d.Version = a.Version()
	rank := req.Operation.rank()
	if rank == 0 {
		d.Reason = "unknown operation"
		return d, nil
	}
	switch until := a.until(req.Principal.SystemID, req.ChannelID, rank); {
	case until == forever:
		d.Allowed, d.Reason = true, "listed"
	case until == 0:
		d.Reason = "not listed"
		if rank > 1 && a.until(req.Principal.SystemID, req.ChannelID, 1) > 0 {
			d.Reason = "not listed for that role"
		}
	case now(until):
		d.Allowed, d.Reason, d.Until = true, "listed", time.Unix(0, until)
	default:
		d.Reason = "listed until an earlier time"
	}
	return d, nil
}

// GenerateToken grants what is asked for until it expires, and returns the system's name, which is its token here.
func (a *ACLSecurity) GenerateToken(_ context.Context, req TokenRequest) (string, error) {
	role, err := req.check()
	if err != nil {
		return "", err
	}
	until := time.Now().Add(cmp.Or(req.ExpiresIn, DefaultTokenLifetime))
	var entries []ACLEntry
	if req.AllChannels {
		entries = []ACLEntry{{SystemID: req.SystemID, Role: role, AllChannels: true, ExpiresAt: until}}
	}
	for _, id := range req.Channels {
		entries = append(entries, ACLEntry{SystemID: req.SystemID, Role: role, ChannelID: id, ExpiresAt: until})
	}
	if len(entries) == 0 {
		return "", &InvalidError{What: "token request", Value: "no channels", Want: "Channels or AllChannels: a name without an entry is no token"}
	}
	if err := a.Add(entries...); err != nil {
		return "", err
	}
	return req.SystemID, nil
}

// ContentBlind says that messages make no difference.
func (a *ACLSecurity) ContentBlind() {}
