package chansectest

import (
	"fmt"
	"time"

	"github.com/chansec/chansec"
)

// five forwards the methods of ChannelSecurity and hides all others.
type five struct{ chansec.ChannelSecurity }

// actor is somebody who comes to a channel.
type actor struct {
	who  string
	port func(*site) port
}

// actors are everybody whom the expectations mention and some whom they do not, by name and as callers with all kinds of
// grants, or none.
func (x *securityTrial) actors(s chansec.ChannelSecurity, channelID string) (list []actor) {
	hour := time.Now().Add(time.Hour)
	grants := []struct {
		what string
		g    *chansec.Grant
	}{
		{"no grant", nil},
		{"a zero grant", &chansec.Grant{}},
		{"a wide grant", wide()},
		{"a grant to read", &chansec.Grant{Role: chansec.RoleRead, Channels: []string{channelID}, ExpiresAt: hour}},
	}
	for _, name := range append(x.expect.names(), stranger, "") {
		list = append(list, actor{fmt.Sprintf("As(%q)", name), func(at *site) port { return at.as(name) }})
		for _, b := range grants {
			for _, proof := range []chansec.Proof{chansec.ProofNone, chansec.ProofToken} {
				p := chansec.Principal{SystemID: name, Proof: proof, Grant: b.g}
				list = append(list, actor{fmt.Sprintf("a caller %q with %s", name, b.what), func(at *site) port { return at.forCaller(chansec.StaticCaller(p)) }})
			}
		}
	}
	for _, k := range x.expect.Tokens {
		text := x.token(s, k)
		list = append(list, actor{"the holder of the " + k.Name + " token", func(at *site) port {
			who, err := at.Authenticate(x.Context(), text)
			if err != nil {
				return at.forCaller(nil)
			}
			return at.forCaller(who)
		}})
	}
	return list
}

func checkDecorator(x *securityTrial) {
	for _, channelID := range x.expect.channels() {
		s := x.new()
		actors := x.actors(s, channelID)
		for kind := range kinds {
			x.compare(kind, channelID, s, actors)
		}
		x.compareReads(channelID, s, actors)
	}
	for _, r := range x.expect.Revocations {
		s := x.new()
		actors := x.actors(s, r.ChannelID)
		for _, k := range x.expect.Tokens {
			if p, err := s.Authenticate(x.Context(), x.token(s, k)); err == nil { // before the revocation
				actors = append(actors, actor{"who held the " + k.Name + " token", func(at *site) port { return at.forCaller(chansec.StaticCaller(p)) }})
			}
		}
		x.must("the revocation "+r.Name, r.Revoke(s))
		for kind := range kinds {
			x.compare(kind, r.ChannelID, s, actors)
		}
	}
}

// compare does everything with the decorator and with the security itself.
func (x *securityTrial) compare(kind int, channelID string, s chansec.ChannelSecurity, actors []actor) {
	outer, inner := x.site(kind, channelID, five{s}), x.site(kind, channelID, s)
	defer outer.Close()
	defer inner.Close()
	for _, a := range actors {
		for _, content := range append([]any{x.expect.content()}, x.expect.Contents...) {
			want := inner.operations(a.port(inner), content)
			for i, o := range outer.operations(a.port(outer), content) {
				if answerOf(o.do(x.Context())) == yes && answerOf(want[i].do(x.Context())) != yes {
					x.wrong("behind a decorator, %s on a %s may %s on %q, and without it not", a.who, outer.kind, o.name, channelID)
				}
			}
		}
	}
}

// compareReads looks at which messages the decorator lets through.
func (x *securityTrial) compareReads(channelID string, s chansec.ChannelSecurity, actors []actor) {
	outer, inner := x.site(broadcast, channelID, five{s}), x.site(broadcast, channelID, s)
	defer outer.Close()
	defer inner.Close()
	write, ok := x.somebody(s, chansec.RoleWrite, channelID, "")
	if !ok || len(x.expect.Contents) == 0 {
		return
	}
	for i, content := range x.expect.Contents {
		for _, at := range []*site{outer, inner} {
			_, _ = write(at).WriteMessage(x.Context(), chansec.Message[any]{Content: content, CorrelationID: fmt.Sprint(i)})
		}
	}
	for _, a := range actors {
		got, _ := a.port(outer).Read(x.Context(), 100)
		own, _ := a.port(inner).Read(x.Context(), 100)
		seen := make(map[string]bool)
		for _, m := range own {
			seen[m.CorrelationID] = true
		}
		for _, m := range got {
			if !seen[m.CorrelationID] {
				x.wrong("behind a decorator, %s reads %v on %q, and without it not", a.who, m.Content, channelID)
			}
		}
	}
}

func checkGrants(x *securityTrial) {
	s := x.new()
	hour, ago := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for _, channelID := range x.expect.channels() {
		for _, b := range []struct {
			what string
			g    chansec.Grant
			role chansec.Role // the highest that it reaches on this channel
		}{
			{"a zero grant", chansec.Grant{}, ""},
			{"a grant without a role", chansec.Grant{AllChannels: true, ExpiresAt: hour}, ""},
			{"a grant of an unknown role", chansec.Grant{Role: "root", AllChannels: true, ExpiresAt: hour}, ""},
			{"a grant that has expired", chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: ago}, ""},
			{"a grant without an end", chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true}, ""},
			{"a grant for no channel", chansec.Grant{Role: chansec.RoleAdmin, ExpiresAt: hour}, ""},
			{"a grant for another channel", chansec.Grant{Role: chansec.RoleAdmin, Channels: []string{nowhere, swapCase(channelID) + " "}, ExpiresAt: hour}, ""},
			{"a grant to read", chansec.Grant{Role: chansec.RoleRead, AllChannels: true, ExpiresAt: hour}, chansec.RoleRead},
			{"a grant to write", chansec.Grant{Role: chansec.RoleWrite, Channels: []string{channelID}, ExpiresAt: hour}, chansec.RoleWrite},
			{"a wide grant", *wide(), chansec.RoleAdmin},
		} {
			for _, name := range append(x.expect.names(), stranger) {
				for kind := range kinds {
					x.bound(x.site(kind, channelID, s), name, b.what, &b.g, b.role)
				}
			}
		}
	}
}

// bound checks that a caller with a grant may do nothing that the grant does not reach or that the caller may not do anyway.
func (x *securityTrial) bound(at *site, name, what string, g *chansec.Grant, reaches chansec.Role) {
	defer at.Close()
	content := x.expect.content()
	free := at.operations(at.forCaller(chansec.StaticCaller(chansec.Principal{SystemID: name, Proof: chansec.ProofToken})), content)
	for i, o := range at.operations(at.forCaller(chansec.StaticCaller(chansec.Principal{SystemID: name, Proof: chansec.ProofToken, Grant: g})), content) {
		if answerOf(o.do(x.Context())) != yes {
			continue
		}
		if !includes(reaches, o.op.Role()) {
			x.wrong("with %s, %q may %s on %q", what, name, o.name, at.id)
		} else if answerOf(free[i].do(x.Context())) != yes {
			x.wrong("with %s, %q may %s on %q, and without it not", what, name, o.name, at.id)
		}
	}
}

// includes reports whether a role includes another.
func includes(role, other chansec.Role) bool {
	for i := len(roles) - 1; i >= 0; i-- {
		switch roles[i] {
		case role:
			for _, r := range roles[:i+1] {
				if r == other {
					return true
				}
			}
			return false
		}
	}
	return false
}
