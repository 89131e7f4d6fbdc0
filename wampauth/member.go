package wampauth

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gammazero/nexus/v3/wamp"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
	"github.com/chansec/chansec/policy"
	"github.com/chansec/chansec/session"
)

// Proofs of the sessions of a router.
const (
	ProofCRA chansec.Proof = "wampcra"
)

// transport is what a session's record says of it.
const transport = "wamp"

// member is a session that logged in. What the router says of it is not looked at again.
type member struct {
	id        wamp.ID
	number    string // id, as records have it
	principal chansec.Principal
	caller    chansec.Caller // of a ticket; nil for a login by secret
	remote    string
	since     time.Time
	announced func(role, feature string) bool // by the client

	ended  atomic.Pointer[session.EndedError] // why it may do nothing any more
	bye    atomic.Bool                        // it said so itself
	gone   atomic.Bool                        // it left the router
	called atomic.Bool                        // it ever asked for a registration
	floods atomic.Bool                        // it is refused more than can be recorded

	later atomic.Uint64 // counts the messages that came after one that asked for a registration

	// Of the goroutine that handles its messages.
	calls          calls
	asked          memory
	doing          audit.Record // its last action; who does it is always the same
	asksToRegister bool         // by its last message, so far as that was not refused at once

	heard memory // the broker's

	// Guarded by Guard.mu.
	held map[held]uint64 // the registrations that it may hold, and what later was when it asked for each
	in   time.Time       // when it was let in; zero before
}

func newMember(id wamp.ID, details wamp.Dict, p chansec.Principal, caller chansec.Caller, remote string) *member {
	m := &member{
		id: id, number: strconv.FormatUint(uint64(id), 10), principal: p, caller: caller, remote: remote, since: time.Now(),
		announced: wamp.NewSession(nil, id, nil, details).HasFeature, held: make(map[held]uint64),
	}
	m.doing = audit.Record{Kind: audit.KindDecision, Principal: p.SystemID, Proof: p.Proof, Session: m.number, Remote: remote}
	if p.Grant != nil {
		m.doing.TokenID = p.Grant.TokenID
	}
	return m
}

// covers reports whether the credential reaches an action; see the package comment.
func (m *member) covers(permission, name string, match policy.Match) bool {
	g := m.principal.Grant
	if g == nil {
		return true
	}
	if !g.AllChannels && match != "" && match != policy.MatchExact {
		return false
	}
	op := chansec.OpAdmin
	switch permission {
	case subscribe:
		op = chansec.OpSubscribe
	case publish, call:
		op = chansec.OpWrite
	}
	return g.Covers(name, op, time.Now()) == nil
}
