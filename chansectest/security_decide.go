package chansectest

import (
	"time"

	"github.com/chansec/chansec"
)

// operationsOf are the operations of each role.
var operationsOf = map[chansec.Role][]chansec.Operation{
	chansec.RoleRead: {chansec.OpRead, chansec.OpSubscribe, chansec.OpClaim, chansec.OpAcknowledge, chansec.OpNack, chansec.OpExtend,
		chansec.OpInfo},
	chansec.RoleWrite: {chansec.OpWrite, chansec.OpDelete},
	chansec.RoleAdmin: {chansec.OpAdmin, chansec.OpClear, chansec.OpEvict, chansec.OpRemove},
}

// wide is a grant of everything.
func wide() *chansec.Grant {
	return &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: time.Now().Add(24 * time.Hour), TokenID: "chansectest"}
}

// decider returns the security as a Decider, or nil, and then the rule does not apply.
func (x *securityTrial) decider(s chansec.ChannelSecurity) chansec.Decider {
	d, ok := s.(chansec.Decider)
	if !ok {
		x.leaveOut("the security is no Decider")
		return nil
	}
	return d
}

// decide asks a Decider. A yes beside an error is wrong.
func (x *securityTrial) decide(d chansec.Decider, req chansec.Request) (decision chansec.Decision, err error) {
	if !x.safely("Decide", func() { decision, err = d.Decide(x.Context(), req) }) {
		return chansec.Decision{}, nil
	}
	if err != nil && decision.Allowed {
		x.wrong("Decide(%q, %q, %q) says yes and returns an error: %v", req.Principal.SystemID, req.ChannelID, req.Operation, err)
	}
	return decision, err
}

// messages are those that a Decider may be asked about, and none.
func (x *securityTrial) messages(sender string) []*chansec.Message[any] {
	list := []*chansec.Message[any]{nil, {SenderID: sender, Content: x.expect.content()}}
	for _, c := range x.expect.Contents {
		list = append(list, &chansec.Message[any]{SenderID: sender, Content: c})
	}
	return list
}

func checkUnknownOperations(x *securityTrial) {
	s := x.new()
	d := x.decider(s)
	if d == nil {
		return
	}
	deny := func(what string, req chansec.Request) {
		if got, _ := x.decide(d, req); got.Allowed {
			x.wrong("Decide allows %s: %q may %q on %q", what, req.Principal.SystemID, req.Operation, req.ChannelID)
		}
	}
	deny("the zero request", chansec.Request{})
	names := append(x.expect.names(), stranger, "")
	for _, channelID := range append(x.expect.channels(), nowhere, "") {
		for _, name := range names {
			p := chansec.Principal{SystemID: name}
			granted := chansec.Principal{SystemID: name, Proof: chansec.ProofToken, Grant: wide(), Roles: []string{"admin"}}
			for _, op := range []chansec.Operation{"", " ", "\x00", "publish", "read ", "admin\n", "*", "READ\u0130", chansec.OpAuthenticate} {
				for _, who := range []chansec.Principal{p, granted} {
					deny("an unknown operation", chansec.Request{Principal: who, ChannelID: channelID, Operation: op})
				}
			}
		}
		for role, ops := range operationsOf {
			for _, op := range ops {
				for _, name := range []string{stranger, ""} {
					who := chansec.Principal{SystemID: name, Proof: chansec.ProofToken, Grant: wide()}
					if req := (chansec.Request{Principal: who, ChannelID: channelID, Operation: op}); !x.expect.AnyName {
						deny("an unknown principal the operations of "+string(role), req)
					}
				}
			}
		}
	}
}

func checkDecide(x *securityTrial) {
	s := x.new()
	d := x.decider(s)
	switch {
	case d == nil:
		return
	case x.expect.AnyName:
		x.leaveOut("what a name may do is what the program wired: the rule \"decorator\" compares the ports")
		return
	}
	for _, name := range append(x.expect.names(), stranger) {
		for _, channelID := range append(x.expect.channels(), nowhere) {
			for _, role := range roles {
				var ok bool
				x.safely(method(role), func() {
					allowed, err := authorize(x.Context(), s, role, name, channelID)
					ok = allowed && err == nil
				})
				if !ok {
					continue
				}
				for _, op := range operationsOf[role] {
					for _, m := range x.messages(name) {
						req := chansec.Request{Principal: chansec.Principal{SystemID: name}, ChannelID: channelID, Operation: op, Message: m}
						if got, err := x.decide(d, req); !got.Allowed || err != nil {
							x.wrong("%s(%q, %q) = true, but Decide denies %q%s", method(role), name, channelID, op, about(m))
						}
					}
				}
			}
		}
	}
}

func about(m *chansec.Message[any]) string {
	if m == nil {
		return ""
	}
	return " of a message"
}

func checkContents(x *securityTrial) {
	s := x.new()
	d := x.decider(s)
	if d == nil {
		return
	}
	_, blind := s.(chansec.ContentBlind)
	for _, name := range append(x.expect.names(), stranger) {
		for _, channelID := range x.expect.channels() {
			for _, op := range []chansec.Operation{chansec.OpWrite, chansec.OpRead, chansec.OpSubscribe, chansec.OpClaim} {
				var allowed, lasting, denied int
				for _, m := range x.messages(name) {
					got, err := x.decide(d, chansec.Request{Principal: chansec.Principal{SystemID: name}, ChannelID: channelID, Operation: op, Message: m})
					switch {
					case !got.Allowed || err != nil:
						denied++
					case !got.PerMessage:
						lasting++
						allowed++
					default:
						allowed++
					}
				}
				switch {
				case denied == 0 || allowed == 0:
				case blind:
					x.wrong("Decide(%q, %q, %q) depends on the message, although the security is ContentBlind", name, channelID, op)
				case lasting > 0:
					x.wrong("Decide(%q, %q, %q) depends on the message, but a yes is not PerMessage", name, channelID, op)
				}
			}
		}
	}
}
