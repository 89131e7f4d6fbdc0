package chansectest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/chansec/chansec"
)

// Right is what somebody may do on one channel. What is not set must be denied.
type Right struct {
	ChannelID          string
	Read, Write, Admin bool
}

// may reports whether the right is for the operations of a role.
func (r Right) may(role chansec.Role) bool {
	switch role {
	case chansec.RoleRead:
		return r.Read
	case chansec.RoleWrite:
		return r.Write
	case chansec.RoleAdmin:
		return r.Admin
	}
	return false
}

// System is what may be done under a name: by the Authorize methods, and by the ports that a channel's As returns.
type System struct {
	ID     string
	Rights []Right
}

// Token is a credential, and what its holder may do by the ports that a channel's For returns.
type Token struct {
	Name     string                                          // for messages
	Make     func(s chansec.ChannelSecurity) (string, error) // see Text
	SystemID string                                          // whom it proves; empty for a token that must be refused
	Rights   []Right
}

// Text is a Token.Make for a token that is always the same.
func Text(token string) func(chansec.ChannelSecurity) (string, error) {
	return func(chansec.ChannelSecurity) (string, error) { return token, nil }
}

// Revocation takes something away from a system or from the holder of a token, and nothing from anybody else.
type Revocation struct {
	Name      string
	System    string // the ID of one of Expectations.Systems; or:
	Token     string // the Name of one of Expectations.Tokens
	ChannelID string
	Role      chansec.Role // what they can do before: this role and all above it must be gone afterwards
	Revoke    func(s chansec.ChannelSecurity) error
}

// Expectations say how a security must answer. The zero value expects it to let nobody do anything.
//
// A good one lists, for everyone who may do something, somebody who may not, and more than one channel.
type Expectations struct {
	Systems     []System
	Tokens      []Token
	Revocations []Revocation

	// Contents are messages that the security may treat differently. The rights above are for the first of them. It is
	// needed only for a Decider that looks at messages.
	Contents []any

	AnyName    bool // by name alone, everybody may do everything (as OpenSecurity and JWTSecurity have it)
	AnyToken   bool // every token proves the name that it is (as OpenSecurity has it)
	AnyRequest bool // GenerateToken takes requests that make no sense (as OpenSecurity has it)
}

// securityTrial is one run of one rule on a security.
type securityTrial struct {
	*trial
	fresh  func(*testing.T) chansec.ChannelSecurity
	expect Expectations
	open   func(ctx context.Context, kind int, id string, s chansec.ChannelSecurity) (*site, error)
}

// TestSecurity checks a ChannelSecurity. newSecurity makes a new one, in the state that the expectations describe; every
// rule gets at least one of its own.
func TestSecurity(t *testing.T, newSecurity func(t *testing.T) chansec.ChannelSecurity, expect Expectations, opts ...Option) {
	if err := expect.check(); err != nil {
		t.Fatalf("chansectest: expectations: %v", err)
	}
	o := newOptions(opts)
	for _, r := range securityRules {
		run(t, r, o, func(x *trial) *securityTrial {
			return &securityTrial{x, newSecurity, expect, openSite}
		})
	}
}

// check finds expectations that cannot be meant.
func (e *Expectations) check() error {
	for _, k := range e.Tokens {
		if k.Make == nil {
			return errors.New("token " + k.Name + " has no Make")
		}
	}
	for _, r := range e.Revocations {
		rights, ok := e.revoked(r)
		if !ok {
			return errors.New("revocation " + r.Name + " names no system or token")
		}
		if i := slices.IndexFunc(rights, func(x Right) bool { return x.ChannelID == r.ChannelID }); i < 0 || !rights[i].may(r.Role) {
			return errors.New("revocation " + r.Name + " takes what was not there")
		}
		if r.Revoke == nil {
			return errors.New("revocation " + r.Name + " has no Revoke")
		}
	}
	return nil
}

// revoked returns the rights of whoever a revocation is about.
func (e *Expectations) revoked(r Revocation) ([]Right, bool) {
	for _, s := range e.Systems {
		if r.Token == "" && s.ID == r.System {
			return s.Rights, true
		}
	}
	for _, k := range e.Tokens {
		if r.Token != "" && k.Name == r.Token {
			return k.Rights, true
		}
	}
	return nil, false
}

// channels returns the IDs of all channels that are mentioned, or of one if there are none.
func (e *Expectations) channels() (ids []string) {
	add := func(rights []Right) {
		for _, r := range rights {
			if !slices.Contains(ids, r.ChannelID) {
				ids = append(ids, r.ChannelID)
			}
		}
	}
	for _, s := range e.Systems {
		add(s.Rights)
	}
	for _, k := range e.Tokens {
		add(k.Rights)
	}
	if len(ids) == 0 {
		ids = []string{"chansectest/channel"}
	}
	return ids
}

// content returns the message that the rights are for.
func (e *Expectations) content() any {
	if len(e.Contents) > 0 {
		return e.Contents[0]
	}
	return "chansectest content"
}

// names returns the IDs of all systems that are mentioned.
func (e *Expectations) names() (ids []string) {
	for _, s := range e.Systems {
		ids = append(ids, s.ID)
	}
	for _, k := range e.Tokens {
		if k.SystemID != "" && !slices.Contains(ids, k.SystemID) {
			ids = append(ids, k.SystemID)
		}
	}
	return ids
}

// Names that nobody has.
const (
	stranger = "chansectest stranger 4b1d"
	helper   = "chansectest helper 97c2"
	nowhere  = "chansectest/nowhere/5e0f"
)

var roles = []chansec.Role{chansec.RoleRead, chansec.RoleWrite, chansec.RoleAdmin}

// strangeIDs are impossible names, and names that look like one that is possible.
func strangeIDs(like string) []string {
	list := []string{
		"", " ", "\x00", "\n", "\x1b[2J", "\u0085", "\xff\xfe", "\ufffd", "*", "#", ">", "..", "/", "%", "null", "0",
		strings.Repeat("a", 513), strings.Repeat("\u00e9", 257), strings.Repeat("a", 1<<20),
	}
	if like != "" {
		list = append(list, like+"\x00", "\x00"+like, like+" ", " "+like, like+"\n", like+"/", like+"\u200b", like+like,
			like[:len(like)-1], swapCase(like), like+"\xff")
	}
	return list
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

// new returns a security and whatever Decider and Versioned it is.
func (x *securityTrial) new() chansec.ChannelSecurity {
	x.Helper()
	s := x.fresh(x.T)
	if s == nil {
		x.Fatal("chansectest: newSecurity returned nil")
	}
	return s
}

// site opens a channel of a kind.
func (x *securityTrial) site(kind int, id string, s chansec.ChannelSecurity) *site {
	x.Helper()
	at, err := x.open(x.Context(), kind, id, s)
	x.must("opening a "+kinds[kind].name, err)
	return at
}

// token makes a token.
func (x *securityTrial) token(s chansec.ChannelSecurity, k Token) string {
	x.Helper()
	text, err := k.Make(s)
	x.must("making the token "+k.Name, err)
	return text
}

// authorize asks a security by name for the operations of a role.
func authorize(ctx context.Context, s chansec.Authorizer, role chansec.Role, systemID, channelID string) (bool, error) {
	switch role {
	case chansec.RoleRead:
		return s.AuthorizeRead(ctx, systemID, channelID)
	case chansec.RoleWrite:
		return s.AuthorizeWrite(ctx, systemID, channelID)
	}
	return s.AuthorizeAdmin(ctx, systemID, channelID)
}

// method is the name of what authorize calls.
func method(role chansec.Role) string {
	return map[chansec.Role]string{chansec.RoleRead: "AuthorizeRead", chansec.RoleWrite: "AuthorizeWrite", chansec.RoleAdmin: "AuthorizeAdmin"}[role]
}

// somebody returns what makes a port of somebody who may do the operations of a role on a channel, and is not the system
// of that name; or false if nobody is known who may.
func (x *securityTrial) somebody(s chansec.ChannelSecurity, role chansec.Role, channelID, except string) (func(*site) port, bool) {
	x.Helper()
	may := func(rights []Right) bool {
		return slices.ContainsFunc(rights, func(r Right) bool { return r.ChannelID == channelID && r.may(role) })
	}
	if x.expect.AnyName {
		return func(at *site) port { return at.as(helper) }, true
	}
	for _, k := range x.expect.Systems {
		if k.ID != except && may(k.Rights) {
			return func(at *site) port { return at.as(k.ID) }, true
		}
	}
	for _, k := range x.expect.Tokens {
		if k.SystemID != "" && k.SystemID != except && may(k.Rights) {
			text := x.token(s, k)
			return func(at *site) port { return x.holder(at, k, text) }, true
		}
	}
	return nil, false
}

// holder returns the port of the holder of a token that must be good.
func (x *securityTrial) holder(at *site, k Token, text string) port {
	x.Helper()
	who, err := at.Authenticate(x.Context(), text)
	if err != nil {
		x.wrong("the %s token is refused: %v", k.Name, err)
		return at.forCaller(nil)
	}
	return at.forCaller(who)
}
