package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chansec/chansec"
)

// OAuth is a ChannelSecurity that asks an OAuth server about every token (RFC 7662). The scope in the answer is the
// role; its member "channels" lists the channels, and where it has none, the token reaches none.
type OAuth struct {
	Endpoint, Secret string        // the secret of this service, so that the server answers it
	Believe          time.Duration // for how long, without asking again
	Client           *http.Client  // with a timeout
}

const proof chansec.Proof = "introspection"

// Authenticate asks the server. What the token may do goes into the grant, which the guard of every channel enforces.
func (s *OAuth) Authenticate(ctx context.Context, token string) (p chansec.Principal, err error) {
	grant := &chansec.Grant{ExpiresAt: time.Now().Add(s.Believe)}
	ask, err := http.NewRequestWithContext(ctx, "POST", s.Endpoint, strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		return p, err
	}
	ask.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ask.Header.Set("Authorization", "Bearer "+s.Secret)
	answer, err := s.Client.Do(ask)
	if err != nil {
		return p, err
	}
	defer answer.Body.Close()
	var says struct {
		Active     bool
		Sub, Scope string
		Channels   []string
		Exp        int64
	}
	err = json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&says)
	switch {
	case answer.StatusCode != http.StatusOK || err != nil:
		return p, fmt.Errorf("introspection: %s without a usable answer", answer.Status)
	case !says.Active:
		return p, chansec.ErrUnauthenticated
	}
	grant.Role, grant.Channels = chansec.Role(says.Scope), says.Channels
	if end := time.Unix(says.Exp, 0); says.Exp != 0 && end.Before(grant.ExpiresAt) {
		grant.ExpiresAt = end
	}
	return chansec.Principal{SystemID: says.Sub, Proof: proof, Grant: grant}, nil
}

// Decide says yes to those whom the server vouched for, within their grant, and to nobody else.
func (*OAuth) Decide(_ context.Context, req chansec.Request) (chansec.Decision, error) {
	vouched := req.Principal.Proof == proof && req.Principal.Grant != nil
	return chansec.Decision{Allowed: vouched, Rule: "the OAuth server vouches for it"}, nil
}

// The guard asks Decide instead of these: a name is no reason to let anybody in.
func (*OAuth) AuthorizeRead(context.Context, string, string) (bool, error)  { return false, nil }
func (*OAuth) AuthorizeWrite(context.Context, string, string) (bool, error) { return false, nil }
func (*OAuth) AuthorizeAdmin(context.Context, string, string) (bool, error) { return false, nil }

// GenerateToken fails: the OAuth server makes the tokens.
func (*OAuth) GenerateToken(context.Context, chansec.TokenRequest) (string, error) {
	return "", chansec.ErrNoSigner
}
