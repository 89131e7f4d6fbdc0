package chansectest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/chansec/chansec"
)

func checkContexts(x *securityTrial) {
	s := x.new()
	channelID := x.expect.channels()[0]
	type call struct {
		what string
		do   func(ctx context.Context) bool // whether it says yes
	}
	calls := []call{
		{"Authenticate of an unknown token", func(ctx context.Context) bool {
			_, err := s.Authenticate(ctx, secret)
			return err == nil && !x.expect.AnyToken
		}},
		{"GenerateToken of a request that makes no sense", func(ctx context.Context) bool {
			_, err := s.GenerateToken(ctx, chansec.TokenRequest{})
			return err == nil && !x.expect.AnyRequest
		}},
	}
	for _, k := range x.expect.Tokens {
		text := x.token(s, k)
		calls = append(calls, call{"Authenticate of the " + k.Name + " token", func(ctx context.Context) bool {
			_, err := s.Authenticate(ctx, text)
			return err == nil && k.SystemID == ""
		}})
	}
	for _, name := range append(x.expect.names(), stranger) {
		for _, role := range roles {
			known, _ := authorize(x.Context(), s, role, name, channelID)
			calls = append(calls, call{method(role) + " of " + name, func(ctx context.Context) bool {
				ok, err := authorize(ctx, s, role, name, channelID)
				return ok && err == nil && !known
			}})
		}
		if d, ok := s.(chansec.Decider); ok {
			req := chansec.Request{Principal: chansec.Principal{SystemID: name}, ChannelID: channelID, Operation: chansec.OpRead}
			known, _ := d.Decide(x.Context(), req)
			calls = append(calls, call{"Decide of " + name, func(ctx context.Context) bool {
				got, err := d.Decide(ctx, req)
				return got.Allowed && err == nil && !known.Allowed
			}})
		}
	}
	for _, c := range calls {
		for _, when := range []string{"before", "while"} {
			ctx, cancel := context.WithCancel(x.Context())
			if when == "before" {
				cancel()
			}
			began := make(chan struct{})
			done := make(chan struct{})
			go func() {
				defer close(done)
				close(began)
				x.safely(c.what, func() {
					if c.do(ctx) {
						x.wrong("%s says yes because its context ended %s it was called", c.what, when)
					}
				})
			}()
			<-began
			cancel()
			if !x.within(done) {
				x.wrong("%s does not return, although its context ended %s it was called", c.what, when)
			}
		}
	}
}

func checkRequests(x *securityTrial) {
	s := x.new()
	channels := x.expect.channels()
	good := func(change func(*chansec.TokenRequest)) chansec.TokenRequest {
		r := chansec.TokenRequest{SystemID: stranger, Role: chansec.RoleAdmin, Channels: channels, ExpiresIn: time.Minute}
		change(&r)
		return r
	}
	for _, bad := range []struct {
		what string
		req  chansec.TokenRequest
	}{
		{"the zero request", chansec.TokenRequest{}},
		{"no role", good(func(r *chansec.TokenRequest) { r.Role = "" })},
		{"an unknown role", good(func(r *chansec.TokenRequest) { r.Role = "superuser" })},
		{"a role with a blank", good(func(r *chansec.TokenRequest) { r.Role = " admin" })},
		{"a role in letters that only look like it", good(func(r *chansec.TokenRequest) { r.Role = "ADM\u0130N" })},
		{"no system id", good(func(r *chansec.TokenRequest) { r.SystemID = "" })},
		{"a system id with a control character", good(func(r *chansec.TokenRequest) { r.SystemID += "\x00" })},
		{"a system id that is no UTF-8", good(func(r *chansec.TokenRequest) { r.SystemID += "\xff" })},
		{"a system id of a megabyte", good(func(r *chansec.TokenRequest) { r.SystemID = strings.Repeat("a", 1<<20) })},
		{"a channel id that is empty", good(func(r *chansec.TokenRequest) { r.Channels = []string{channels[0], ""} })},
		{"a channel id with a control character", good(func(r *chansec.TokenRequest) { r.Channels = []string{channels[0] + "\n"} })},
		{"all channels and some", good(func(r *chansec.TokenRequest) { r.AllChannels = true })},
		{"a negative lifetime", good(func(r *chansec.TokenRequest) { r.ExpiresIn = -time.Second })},
	} {
		x.safely("GenerateToken for "+bad.what, func() {
			text, err := s.GenerateToken(x.Context(), bad.req)
			switch {
			case x.expect.AnyRequest:
			case err == nil:
				x.wrong("GenerateToken takes a request with %s", bad.what)
			case text != "":
				x.wrong("GenerateToken with %s returns a token beside the error", bad.what)
			}
			if x.expect.AnyName {
				return
			}
			for _, role := range roles {
				if ok, _ := authorize(x.Context(), s, role, bad.req.SystemID, channels[0]); ok {
					x.wrong("after GenerateToken with %s, %s of %.40q says yes", bad.what, method(role), bad.req.SystemID)
				}
			}
		})
	}
}

func checkSecrets(x *securityTrial) {
	s := x.new()
	find := map[string]string{secret: "what a message says"}
	texts := make([]string, len(x.expect.Tokens))
	for i, k := range x.expect.Tokens {
		texts[i] = x.token(s, k)
		if texts[i] != "" && !slices.Contains(x.expect.names(), texts[i]) {
			find[texts[i]] = "the " + k.Name + " token"
		}
	}
	unknown := "unknown-" + secret
	look := func(where, text string) {
		for part, what := range find {
			if strings.Contains(text, part) {
				x.wrong("%s contains %s", where, what)
			}
		}
	}
	for _, channelID := range x.expect.channels() {
		for kind := range kinds {
			at := x.site(kind, channelID, s)
			ports := []port{at.as(stranger)}
			for _, name := range x.expect.names() {
				ports = append(ports, at.as(name), at.forCaller(chansec.StaticCaller(chansec.Principal{SystemID: name})))
			}
			if !x.expect.AnyToken { // where a token is a name, it is no secret
				texts := append([]string{unknown}, texts...)
				for _, text := range texts {
					who, err := at.Authenticate(x.Context(), text)
					if err != nil {
						look("an error of Authenticate", err.Error())
						continue
					}
					ports = append(ports, at.forCaller(who))
				}
			}
			for _, p := range ports {
				for _, content := range []any{secret, x.expect.content()} {
					for _, o := range at.operations(p, content) {
						if err := o.do(x.Context()); err != nil && answerOf(err) != yes {
							look("an error of "+o.name, err.Error())
						}
					}
				}
			}
			for _, e := range at.events.Events() {
				look("an audit event", strings.Join([]string{e.ChannelID, string(e.Operation), e.SystemID, string(e.Proof), e.TokenID, e.Reason, e.Rule}, "\n"))
			}
			_ = at.Close()
		}
	}
}
