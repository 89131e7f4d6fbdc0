package chansectest

import (
	"errors"
	"slices"

	"github.com/chansec/chansec"
)

func checkNames(x *securityTrial) {
	s := x.new()
	for range 2 { // the same every time
		for _, k := range x.expect.Systems {
			for _, r := range k.Rights {
				for _, role := range roles {
					x.byName(s, k.ID, r.ChannelID, role, r.may(role))
				}
			}
		}
		if x.expect.AnyName {
			continue
		}
		for _, id := range append(x.expect.channels(), nowhere) {
			for _, role := range roles {
				x.byName(s, stranger, id, role, false)
			}
		}
	}
}

// byName compares what an Authorize method says.
func (x *securityTrial) byName(s chansec.ChannelSecurity, systemID, channelID string, role chansec.Role, want bool) {
	x.safely(method(role), func() {
		got, err := authorize(x.Context(), s, role, systemID, channelID)
		switch {
		case want && err == nil && !got && x.decides(s, systemID, channelID, role):
		case want && (err != nil || !got):
			x.wrong("%s(%q, %q) = %v, %v, want true", method(role), systemID, channelID, got, err)
		case !want && got:
			x.wrong("%s(%q, %q) = %v, %v, want false", method(role), systemID, channelID, got, err)
		case err != nil && (!errors.Is(err, chansec.ErrPermission) || errors.Is(err, chansec.ErrUndecided)):
			x.wrong("%s(%q, %q) could not decide: %v", method(role), systemID, channelID, err)
		}
	})
}

// decides reports whether a Decider allows the operations of a role for the first of the expected contents: then its
// Authorize methods may say no, since they must not say yes unless every message is allowed.
func (x *securityTrial) decides(s chansec.ChannelSecurity, systemID, channelID string, role chansec.Role) bool {
	d, ok := s.(chansec.Decider)
	if !ok || x.expect.AnyName || len(x.expect.Contents) == 0 {
		return false
	}
	for _, op := range operationsOf[role] {
		m := &chansec.Message[any]{SenderID: systemID, Content: x.expect.content()}
		got, err := x.decide(d, chansec.Request{Principal: chansec.Principal{SystemID: systemID}, ChannelID: channelID, Operation: op, Message: m})
		if err != nil || !got.Allowed {
			return false
		}
	}
	return true
}

func checkPorts(x *securityTrial) {
	s := x.new()
	for kind := range kinds {
		for _, k := range x.expect.Systems {
			for _, r := range k.Rights {
				at := x.site(kind, r.ChannelID, s)
				x.byPort(at, at.as(k.ID), "As("+k.ID+")", r)
				_ = at.Close()
			}
		}
		for _, id := range x.expect.channels() {
			at := x.site(kind, id, s)
			if !x.expect.AnyName {
				x.byPort(at, at.as(stranger), "As(a stranger)", Right{})
			}
			x.byPort(at, at.as(""), "As of an empty name", Right{})
			x.byPort(at, at.forCaller(nil), "For(nil)", Right{})
			x.byPort(at, at.forCaller(chansec.StaticCaller(chansec.Principal{})), "For of the zero principal", Right{})
			_ = at.Close()
		}
	}
}

// byPort compares what a port may do with a right.
func (x *securityTrial) byPort(at *site, p port, who string, want Right) {
	for _, o := range at.operations(p, x.expect.content()) {
		got, role := answerOf(o.do(x.Context())), o.op.Role()
		switch {
		case got == undecided:
			x.wrong("%s on a %s: %s(%q) could not be decided", who, at.kind, o.name, at.id)
		case want.may(role) && got != yes:
			x.wrong("%s on a %s: %s(%q) is %s, want it allowed", who, at.kind, o.name, at.id, got)
		case !want.may(role) && got != no:
			x.wrong("%s on a %s: %s(%q) is %s, want it denied", who, at.kind, o.name, at.id, got)
		}
	}
}

func checkStrangeNames(x *securityTrial) {
	s := x.new()
	known := x.expect.names()
	var strange []string
	for _, like := range append([]string{""}, known...) {
		for _, id := range strangeIDs(like) {
			if !slices.Contains(known, id) && !slices.Contains(strange, id) {
				strange = append(strange, id)
			}
		}
	}
	channels := x.expect.channels()
	for _, id := range strange {
		for _, role := range roles {
			for _, channelID := range channels {
				x.neverByName(s, role, id, channelID)
			}
			x.neverByName(s, role, stranger, id) // a strange channel
			if len(known) > 0 {
				x.safely(method(role)+" with a strange channel", func() { _, _ = authorize(x.Context(), s, role, known[0], id) })
			}
		}
	}
	for kind := range kinds {
		at := x.site(kind, channels[0], s)
		for _, id := range strange {
			if x.expect.AnyName && chansec.CheckSystemID(id) == nil {
				continue
			}
			for _, o := range at.operations(at.as(id), x.expect.content()) {
				if answerOf(o.do(x.Context())) == yes {
					x.wrong("the port of %.40q on a %s may %s", id, at.kind, o.name)
				}
			}
		}
		_ = at.Close()
	}
}

// neverByName asks for what must be refused one way or the other.
func (x *securityTrial) neverByName(s chansec.ChannelSecurity, role chansec.Role, systemID, channelID string) {
	x.safely(method(role)+" with a strange name", func() {
		if ok, _ := authorize(x.Context(), s, role, systemID, channelID); ok && !x.expect.AnyName {
			x.wrong("%s(%.40q, %.40q) = true, want false", method(role), systemID, channelID)
		}
	})
}
