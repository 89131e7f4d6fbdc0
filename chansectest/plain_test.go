package chansectest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
)

const (
	here  = "here"
	there = "there"
)

// plain is a small security as a user would write it, correct unless a hook replaces a method. It lists who may do what,
// issues tokens that it remembers, and keeps one system ("limited") from foul messages.
type plain struct {
	mu      sync.RWMutex
	rights  map[[2]string]chansec.Role // by system and channel
	tokens  map[string]chansec.Principal
	version uint64
	changed chan struct{}

	hooks
}

// hooks replace methods.
type hooks struct {
	authenticate func(ctx context.Context, token string) (chansec.Principal, error)
	authorize    func(ctx context.Context, role chansec.Role, systemID, channelID string) (bool, error)
	decide       func(ctx context.Context, req chansec.Request) (chansec.Decision, error)
	generate     func(ctx context.Context, req chansec.TokenRequest) (string, error)
	versionIs    func() uint64
	changes      func() <-chan struct{}
	revoke       func(systemID, channelID string, role chansec.Role)
}

var (
	_ chansec.ChannelSecurity = (*plain)(nil)
	_ chansec.Decider         = (*plain)(nil)
	_ chansec.Versioned       = (*plain)(nil)
)

func newPlain(*testing.T) *plain {
	return &plain{
		rights: map[[2]string]chansec.Role{
			{"reader", here}: chansec.RoleRead, {"reader", there}: chansec.RoleRead,
			{"writer", here}: chansec.RoleWrite, {"admin", here}: chansec.RoleAdmin,
			{"limited", here}: chansec.RoleWrite, {"guest", here}: chansec.RoleRead,
		},
		tokens:  make(map[string]chansec.Principal),
		changed: make(chan struct{}),
	}
}

func rank(r chansec.Role) int { return slices.Index(roles, r) + 1 }

func (p *plain) holds(role chansec.Role, systemID, channelID string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return rank(role) > 0 && rank(p.rights[[2]string{systemID, channelID}]) >= rank(role)
}

func (p *plain) Authenticate(ctx context.Context, token string) (chansec.Principal, error) {
	if p.hooks.authenticate != nil {
		return p.hooks.authenticate(ctx, token)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if who, ok := p.tokens[token]; ok {
		return who, nil
	}
	return chansec.Principal{}, chansec.ErrUnauthenticated
}

func (p *plain) authorized(ctx context.Context, role chansec.Role, systemID, channelID string) (bool, error) {
	if p.hooks.authorize != nil {
		return p.hooks.authorize(ctx, role, systemID, channelID)
	}
	return systemID != "limited" && p.holds(role, systemID, channelID), nil
}

func (p *plain) AuthorizeRead(ctx context.Context, systemID, channelID string) (bool, error) {
	return p.authorized(ctx, chansec.RoleRead, systemID, channelID)
}

func (p *plain) AuthorizeWrite(ctx context.Context, systemID, channelID string) (bool, error) {
	return p.authorized(ctx, chansec.RoleWrite, systemID, channelID)
}

func (p *plain) AuthorizeAdmin(ctx context.Context, systemID, channelID string) (bool, error) {
	return p.authorized(ctx, chansec.RoleAdmin, systemID, channelID)
}

func (p *plain) Decide(ctx context.Context, req chansec.Request) (chansec.Decision, error) {
	if p.hooks.decide != nil {
		return p.hooks.decide(ctx, req)
	}
	return p.decides(req), nil
}

func (p *plain) decides(req chansec.Request) chansec.Decision {
	name := req.Principal.SystemID
	if !p.holds(req.Operation.Role(), name, req.ChannelID) {
		return chansec.Decision{Reason: "not listed"}
	}
	if name == "limited" {
		if req.Message != nil && req.Message.Content == "foul" {
			return chansec.Decision{Reason: "foul"}
		}
		return chansec.Decision{Allowed: true, PerMessage: true}
	}
	return chansec.Decision{Allowed: true}
}

func (p *plain) GenerateToken(ctx context.Context, req chansec.TokenRequest) (string, error) {
	if p.hooks.generate != nil {
		return p.hooks.generate(ctx, req)
	}
	return p.issue(req)
}

func (p *plain) issue(req chansec.TokenRequest) (string, error) {
	role, err := chansec.ParseRole(string(req.Role))
	switch {
	case err != nil:
		return "", err
	case chansec.CheckSystemID(req.SystemID) != nil || req.AllChannels && len(req.Channels) > 0 || req.ExpiresIn < 0:
		return "", errors.New("plain: that makes no sense")
	}
	for _, id := range req.Channels {
		if err := chansec.CheckChannelID(id); err != nil {
			return "", err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	token := fmt.Sprintf("token-%d-%s", len(p.tokens), strings.Repeat("z", 20))
	p.tokens[token] = chansec.Principal{SystemID: req.SystemID, Proof: "plain", Grant: &chansec.Grant{
		Role: role, AllChannels: req.AllChannels, Channels: req.Channels, ExpiresAt: time.Now().Add(time.Hour), TokenID: fmt.Sprint(len(p.tokens))}}
	return token, nil
}

func (p *plain) Version() uint64 {
	if p.hooks.versionIs != nil {
		return p.hooks.versionIs()
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.version
}

func (p *plain) Changed() <-chan struct{} {
	if p.hooks.changes != nil {
		return p.hooks.changes()
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.changed
}

// Revoke leaves a system with less than a role on a channel.
func (p *plain) Revoke(systemID, channelID string, role chansec.Role) {
	if p.hooks.revoke != nil {
		p.hooks.revoke(systemID, channelID, role)
		return
	}
	p.take(systemID, channelID, role)
	p.announce()
}

func (p *plain) take(systemID, channelID string, role chansec.Role) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rights[[2]string{systemID, channelID}] = append([]chansec.Role{""}, roles...)[rank(role)-1]
}

func (p *plain) announce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version++
	close(p.changed)
	p.changed = make(chan struct{})
}

func plainExpectations() Expectations {
	revoke := func(name, systemID string, role chansec.Role) Revocation {
		return Revocation{Name: name, System: systemID, ChannelID: here, Role: role, Revoke: func(s chansec.ChannelSecurity) error {
			s.(*plain).Revoke(systemID, here, role)
			return nil
		}}
	}
	token := func(name, systemID string, role chansec.Role, rights ...Right) Token {
		return Token{Name: name, SystemID: systemID, Rights: rights, Make: func(s chansec.ChannelSecurity) (string, error) {
			return s.(*plain).issue(chansec.TokenRequest{SystemID: systemID, Role: role, Channels: []string{here}})
		}}
	}
	ofGuest := revoke("of a guest", "guest", chansec.RoleRead)
	ofGuest.System, ofGuest.Token = "", "guest's"
	return Expectations{
		Systems: []System{
			{ID: "reader", Rights: []Right{{ChannelID: here, Read: true}, {ChannelID: there, Read: true}}},
			{ID: "writer", Rights: []Right{{ChannelID: here, Read: true, Write: true}, {ChannelID: there}}},
			{ID: "admin", Rights: []Right{{ChannelID: here, Read: true, Write: true, Admin: true}, {ChannelID: there}}},
			{ID: "limited", Rights: []Right{{ChannelID: here, Read: true, Write: true}}},
		},
		Tokens: []Token{
			token("admin's", "admin", chansec.RoleAdmin, Right{ChannelID: here, Read: true, Write: true, Admin: true}, Right{ChannelID: there}),
			token("reading admin's", "admin", chansec.RoleRead, Right{ChannelID: here, Read: true}),
			token("guest's", "guest", chansec.RoleAdmin, Right{ChannelID: here, Read: true}, Right{ChannelID: there}),
			{Name: "made up", Make: Text("token-99-made-up")},
		},
		Revocations: []Revocation{
			revoke("of a reader", "reader", chansec.RoleRead),
			revoke("of a writer", "writer", chansec.RoleWrite),
			revoke("of an admin", "admin", chansec.RoleAdmin),
			ofGuest,
		},
		Contents: []any{"fine", "foul"},
	}
}

func TestPlainSecurityKeepsEveryRule(t *testing.T) {
	TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity { return newPlain(t) }, plainExpectations())
}

// TestPlainSecurityWithoutItsOptionalInterfaces is what a user who knows only the five methods has.
func TestPlainSecurityWithoutItsOptionalInterfaces(t *testing.T) {
	expect := plainExpectations()
	expect.Contents = nil
	expect.Systems = expect.Systems[:3] // the messages of the limited one cannot be told apart
	for i, r := range expect.Revocations {
		expect.Revocations[i].Revoke = func(s chansec.ChannelSecurity) error { return r.Revoke(s.(five).ChannelSecurity) }
	}
	for i, k := range expect.Tokens {
		if k.SystemID != "" {
			expect.Tokens[i].Make = func(s chansec.ChannelSecurity) (string, error) { return k.Make(s.(five).ChannelSecurity) }
		}
	}
	TestSecurity(t, func(t *testing.T) chansec.ChannelSecurity { return five{newPlain(t)} }, expect)
}

func TestExpectationsThatCannotBeMeantAreRefused(t *testing.T) {
	revoke := func(chansec.ChannelSecurity) error { return nil }
	system := []System{{ID: "a", Rights: []Right{{ChannelID: here, Read: true}}}}
	for _, tt := range []struct {
		name   string
		expect Expectations
	}{
		{"a token that cannot be made", Expectations{Tokens: []Token{{Name: "k"}}}},
		{"a revocation of nobody", Expectations{Systems: system, Revocations: []Revocation{{System: "b", ChannelID: here, Role: chansec.RoleRead, Revoke: revoke}}}},
		{"a revocation of a token that is not listed", Expectations{Systems: system, Revocations: []Revocation{{Token: "k", ChannelID: here, Role: chansec.RoleRead, Revoke: revoke}}}},
		{"a revocation on a channel where there is nothing", Expectations{Systems: system, Revocations: []Revocation{{System: "a", ChannelID: there, Role: chansec.RoleRead, Revoke: revoke}}}},
		{"a revocation of a role that was not held", Expectations{Systems: system, Revocations: []Revocation{{System: "a", ChannelID: here, Role: chansec.RoleWrite, Revoke: revoke}}}},
		{"a revocation that does nothing", Expectations{Systems: system, Revocations: []Revocation{{System: "a", ChannelID: here, Role: chansec.RoleRead}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Error(t, tt.expect.check())
		})
	}
	require.NoError(t, (&Expectations{}).check(), "nobody may do anything")
}
