package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chansec/chansec"
)

// Kind is what a record is about.
type Kind string

// The kinds. There are no others.
const (
	KindDecision Kind = "decision" // what somebody wanted to do on a channel, and whether they were let
	KindSession  Kind = "session"  // who came, went, or was made to go
	KindPolicy   Kind = "policy"   // a change of who may do what
	KindToken    Kind = "token"    // a credential that was made or taken back
	KindTrail    Kind = "trail"    // what happened to the trail itself
)

var kinds = []Kind{KindDecision, KindSession, KindPolicy, KindToken, KindTrail}

// The operations of records that are no decisions. A decision has that of its [chansec.Event]; other rooms may name more.
const (
	OpLogin  chansec.Operation = "login"            // a session begins, or would have: see Votes
	OpChange chansec.Operation = "change-principal" // of an open session
	OpLogout chansec.Operation = "logout"           // a session ends by itself
	OpKick   chansec.Operation = "kick"             // the principal ends the target, a session

	OpScript chansec.Operation = "script" // a change of the policy; Detail is the script without its secrets
	OpAssign chansec.Operation = "assign" // the target, a principal, gets other roles, which Detail names

	OpIssue  chansec.Operation = "issue"  // a token, of which TokenID is the jti, for the target
	OpRevoke chansec.Operation = "revoke" // a token, or all of the target

	OpDrop   chansec.Operation = "drop"   // Version records are not here, because a queue was full or a disk failed
	OpRepair chansec.Operation = "repair" // the beginning of a record that a crash had left, now in Detail, was cut off
	OpPrune  chansec.Operation = "prune"  // old files were removed; Version is the number of the first record that was kept
)

// Record is one entry of a trail. Its JSON form has the names in the comments, in this order, and leaves out what is empty,
// except kind, operation, outcome and time. It never holds a token, a password or a hash of one.
type Record struct {
	Seq       uint64            // seq: its number in the store that it came from, from 1 on. What Record is given is not looked at
	Time      time.Time         // time: RFC 3339 with up to nine decimals, UTC
	Kind      Kind              // kind
	Principal string            // principal: who did it; empty where nobody was proved
	Proof     chansec.Proof     // proof: how that was proved
	TokenID   string            // token_id: jti
	Session   string            // session: of the principal
	Remote    string            // remote: the address that it came from, where that is known
	Target    string            // target: what it was done to: a channel, a path, a session, a principal
	Operation chansec.Operation // operation
	Outcome   chansec.Outcome   // outcome: "allowed", "denied" or "undecided"
	Reason    string            // reason: for people
	Rule      string            // rule: what decided
	Version   uint64            // version: of the state that was looked at, or what came of a change
	Latency   time.Duration     // latency_ns
	Detail    string            // detail: what was done, such as a script without its secrets
	Votes     []Vote            // votes: those of a login. Read-only
}

// Vote is what one handler said to a login.
type Vote struct {
	Handler string        // handler
	Answer  string        // answer: "allow", "deny" or "abstain"
	Reason  string        // reason: for people
	Took    time.Duration // took_ns
}

// What a record may hold. Longer texts are cut, and say so at their end; no record is lost because of its length.
const (
	MaxTextBytes   = 1024 // of each text but these
	MaxDetailBytes = 16 << 10
	MaxVotes       = 16 // the first ones are kept
)

// Decision returns the record of a decision of the guard.
func Decision(e chansec.Event) Record {
	return Record{Time: e.Time, Kind: KindDecision, Principal: e.SystemID, Proof: e.Proof, TokenID: e.TokenID, Target: e.ChannelID,
		Operation: e.Operation, Outcome: e.Outcome, Reason: e.Reason, Rule: e.Rule, Version: e.Version, Latency: e.Latency}
}

// Clean returns the record as a store keeps it: the time in UTC without its monotonic part, text that is not UTF-8 with
// U+FFFD in the wrong places, and what is too long cut. A record without a time of the years 1 to 9999, a kind, an operation or
// an outcome is a [chansec.InvalidError]. To clean again changes nothing.
func (r Record) Clean() (Record, error) {
	err := r.clean()
	return r, err
}

func (r *Record) clean() error {
	if err := r.check(); err != nil {
		return err
	}
	r.tidy()
	return nil
}

// check refuses what Clean refuses, and makes the time what it makes of it.
func (r *Record) check() error {
	switch {
	case !slices.Contains(kinds, r.Kind):
		return invalid("kind of record", string(r.Kind), "one of the Kind constants")
	case r.Operation == "":
		return invalid("operation of a record", "", "the name of what was done")
	case r.Outcome > chansec.Undecided:
		return invalid("outcome of a record", r.Outcome.String(), "one of the outcomes")
	}
	r.Time = r.Time.Round(0).UTC()
	if r.Time.IsZero() || !inYears(r.Time) {
		return invalid("time of a record", strconv.Itoa(r.Time.Year()), "a time of the years 1 to 9999")
	}
	return nil
}

// tidy makes the texts and votes what Clean makes of them.
func (r *Record) tidy() {
	if !r.plain() {
		shorten(&r.Principal, MaxTextBytes)
		shorten(&r.Proof, MaxTextBytes)
		shorten(&r.TokenID, MaxTextBytes)
		shorten(&r.Session, MaxTextBytes)
		shorten(&r.Remote, MaxTextBytes)
		shorten(&r.Target, MaxTextBytes)
		shorten(&r.Operation, MaxTextBytes)
		shorten(&r.Reason, MaxTextBytes)
		shorten(&r.Rule, MaxTextBytes)
		shorten(&r.Detail, MaxDetailBytes)
	}
	if len(r.Votes) == 0 {
		r.Votes = nil
		return
	}
	votes := slices.Clone(r.Votes[:min(len(r.Votes), MaxVotes)])
	for i := range votes {
		shorten(&votes[i].Handler, MaxTextBytes)
		shorten(&votes[i].Answer, MaxTextBytes)
		shorten(&votes[i].Reason, MaxTextBytes)
	}
	r.Votes = votes
}

// small reports whether no text is longer than MaxTextBytes, and there are no votes, as is nearly always so.
func (r *Record) small() bool {
	lengths := len(r.Principal) | len(r.Proof) | len(r.TokenID) | len(r.Session) | len(r.Remote) |
		len(r.Target) | len(r.Operation) | len(r.Reason) | len(r.Rule) | len(r.Detail) // no less than the longest
	return lengths <= MaxTextBytes && len(r.Votes) == 0
}

// plain reports whether shorten has nothing to do to the texts, as is nearly always so: they are short, and ASCII.
func (r *Record) plain() bool {
	for _, s := range [...]string{r.Principal, string(r.Proof), r.TokenID, r.Session, r.Remote, r.Target, string(r.Operation), r.Reason, r.Rule, r.Detail} {
		if len(s) > MaxTextBytes || !ascii(s) {
			return false
		}
	}
	return true
}

// ascii looks at eight bytes at a time, at some of them twice in the end.
func ascii(s string) bool {
	var seen uint64
	if len(s) < 8 {
		for i := range len(s) {
			seen |= uint64(s[i])
		}
		return seen < utf8.RuneSelf
	}
	for i := 0; i+8 < len(s); i += 8 {
		seen |= eight(s[i : i+8])
	}
	seen |= eight(s[len(s)-8:])
	return seen&0x8080808080808080 == 0
}

// eight is one load to the compiler.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// shorten makes a text UTF-8 of a length.
func shorten[T ~string](s *T, most int) {
	text := string(*s)
	if len(text) <= most {
		if !utf8.ValidString(text) {
			valid := strings.ToValidUTF8(text, "\uFFFD")
			*s = T(valid)
			if len(valid) > most {
				shorten(s, most)
			}
		}
		return
	}
	mark := fmt.Sprintf("... (%d bytes)", len(text))
	end := most - len(mark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	*s = T(text[:end] + mark)
	shorten(s, most)
}

// sheddable reports whether a record may be left out where there is too much: only decisions that let somebody in.
func (r *Record) sheddable() bool { return r.Kind == KindDecision && r.Outcome == chansec.Allowed }

// denial reports whether a record is of a decision that let nobody in.
func (r *Record) denial() bool { return r.Kind == KindDecision && r.Outcome != chansec.Allowed }
