package rbac

import (
	"context"
	"time"

	"github.com/chansec/chansec"
)

// Authorizer decides on channels by the rules of a service: to read a channel takes what GET takes, to write it what POST
// takes and to administer it what DELETE takes. It may be used from many goroutines at once.
//
// The channel's ID is the path parameter, so that with CurrentSubject somebody may use the channel that bears their name.
// Roles are those of the principal, which an authenticator such as [Tokens] vouches for; a mere name, as in-process ports
// have it, has none. A permission of your own sees the subject and the roles, and is asked for every message.
type Authorizer struct {
	service *Service
	param   string
}

var (
	_ chansec.Authorizer   = (*Authorizer)(nil)
	_ chansec.Decider      = (*Authorizer)(nil)
	_ chansec.Versioned    = (*Authorizer)(nil)
	_ chansec.ContentBlind = (*Authorizer)(nil)
)

// Authorizer returns what decides on channels by the rules of the default endpoints, with a channel's ID for the path
// parameter of this name. A service with a Check, which wants to see a request's headers, has none: that is a
// chansec.InvalidError.
//
//	channels, err := service.Authorizer("object_id")
//	security, err := chansec.Join(tokens, channels, tokens)
func (s *Service) Authorizer(param string) (*Authorizer, error) {
	if s == nil || s.check != nil {
		return nil, invalid("service", "", "one that decides by rules")
	}
	if !goodName(param) {
		return nil, invalid("path parameter", quote(param), `a name, such as "object_id"`)
	}
	return &Authorizer{s, param}, nil
}

// methods are what the classes of operations take.
var methods = map[chansec.Role]string{chansec.RoleRead: "GET", chansec.RoleWrite: "POST", chansec.RoleAdmin: "DELETE"}

// Decide decides by the principal's name and roles. The decision's Rule is that of the service.
func (a *Authorizer) Decide(_ context.Context, req chansec.Request) (chansec.Decision, error) {
	d := chansec.Decision{Version: a.Version()}
	method := methods[req.Operation.Role()]
	if method == "" {
		d.Reason = "unknown operation"
		return d, nil
	}
	r := a.service.rules.find(method, Every)
	if r == nil {
		d.Reason = string(NoRule)
		return d, nil
	}
	claims := &Claims{Subject: req.Principal.SystemID, Roles: req.Principal.Roles}
	if chansec.CheckSystemID(claims.Subject) != nil {
		claims.Subject = ""
	}
	if req.Principal.Grant != nil {
		claims.ExpiresAt = req.Principal.Grant.ExpiresAt
	}
	found := r.judge(claims, func(name string) string {
		if name == a.param {
			return req.ChannelID
		}
		return ""
	})
	d.Allowed, d.Reason, d.Rule = found.Allowed, string(found.Reason), method+": "+r.text
	if found.Reason == ByAuthority { // which may think better of it at any time
		d.PerMessage = true
		d.Until = time.Now().Add(time.Second)
	}
	return d, nil
}

// AuthorizeRead reports whether a name alone, without roles, may do what GET does.
func (a *Authorizer) AuthorizeRead(ctx context.Context, systemID, channelID string) (bool, error) {
	return a.authorize(ctx, systemID, channelID, chansec.OpRead)
}

// AuthorizeWrite reports whether a name alone, without roles, may do what POST does.
func (a *Authorizer) AuthorizeWrite(ctx context.Context, systemID, channelID string) (bool, error) {
	return a.authorize(ctx, systemID, channelID, chansec.OpWrite)
}

// AuthorizeAdmin reports whether a name alone, without roles, may do what DELETE does.
func (a *Authorizer) AuthorizeAdmin(ctx context.Context, systemID, channelID string) (bool, error) {
	return a.authorize(ctx, systemID, channelID, chansec.OpAdmin)
}

func (a *Authorizer) authorize(ctx context.Context, systemID, channelID string, op chansec.Operation) (bool, error) {
	d, err := a.Decide(ctx, chansec.Request{Principal: chansec.Principal{SystemID: systemID}, ChannelID: channelID, Operation: op})
	return d.Allowed, err
}

// ContentBlind says that messages make no difference.
func (*Authorizer) ContentBlind() {}

// Version is always the same: a service does not change.
func (*Authorizer) Version() uint64 { return 1 }

// Changed returns a channel that is never closed.
func (*Authorizer) Changed() <-chan struct{} { return never }

var never = make(chan struct{})
