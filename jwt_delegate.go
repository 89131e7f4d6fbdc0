package chansec

import (
	"context"
	"errors"
	"time"

	"github.com/chansec/chansec/internal/token"
)

// The claims by which a token names the one that it was made from: its ID, subject and time of issue.
const (
	claimParent        = "parent"
	claimParentSubject = "parent_sub"
	claimParentIssued  = "parent_iat"
)

// parent is the token that another was made from.
type parent struct {
	id, subject string
	issued      int64 // Unix seconds; 0 if it did not say
}

// Delegate makes a token that reaches no further than that of a principal which this security authenticated, and that dies
// with it: when that token, or the tokens of its subject, are revoked. A token that was made like this makes no others. The
// audience is this security's own. Too much is ErrGrant, as is a parent that has expired or was revoked; of one that may have
// been the error is a StaleError.
func (j *JWTSecurity) Delegate(_ context.Context, from Principal, req TokenRequest) (string, error) {
	v, ok := from.credential.(*jwtCredential)
	if !ok || v.JWTSecurity != j || from.Grant == nil || v.parent != nil || v.token.ID == "" {
		return "", ErrGrant
	}
	switch err := v.revoked(); {
	case errors.Is(err, ErrUndecided):
		return "", err
	case err != nil:
		return "", ErrGrant
	}
	role, err := req.check()
	if err != nil {
		return "", err
	}
	now := j.now()
	// Both bounds hold: that of the token, and what is left of it in hands through which it went.
	for _, g := range []*Grant{&v.grant, from.Grant} {
		switch {
		case !now.Before(g.ExpiresAt), role.rank() > g.Role.rank(), req.AllChannels && !g.AllChannels:
			return "", ErrGrant
		}
		for _, id := range req.Channels {
			if err := g.Covers(id, Operation(role), now); err != nil {
				return "", ErrGrant
			}
		}
	}
	latest := min(v.token.ExpiresAt.Unix(), from.Grant.ExpiresAt.Unix())
	if req.ExpiresIn == 0 {
		req.ExpiresIn = min(DefaultTokenLifetime, j.maxLifetime, time.Unix(latest, 0).Sub(now))
	}
	if now.Add(req.ExpiresIn).Unix() > latest || time.Unix(latest, 0).Sub(now) < time.Second {
		return "", ErrGrant
	}
	claims := []token.Claim{token.StringClaim(claimParent, v.token.ID), token.StringClaim(claimParentSubject, v.token.Subject)}
	if !v.token.IssuedAt.IsZero() {
		claims = append(claims, token.IntClaim(claimParentIssued, v.token.IssuedAt.Unix()))
	}
	return j.mint(req, role, claims...)
}

// readParent reads whom a token was made from, or nil. What is no proper parent is an error.
func readParent(t *token.Token) (*parent, error) {
	id, has := t.Claim(claimParent)
	subject, named := t.Claim(claimParentSubject)
	issued, dated := t.Claim(claimParentIssued)
	if !has && !named && !dated {
		return nil, nil
	}
	p := &parent{}
	var ok bool
	if p.id, ok = id.Text(); !ok || !goodName("token id", p.id) {
		return nil, token.BadClaims
	}
	if p.subject, ok = subject.Text(); !ok || !goodName("system id", p.subject) {
		return nil, token.BadClaims
	}
	if dated {
		if p.issued, ok = issued.Int64(); !ok || p.issued <= 0 {
			return nil, token.BadClaims
		}
	}
	return p, nil
}

// revokedIn reports whether the parent was revoked.
func (p *parent) revokedIn(j *JWTSecurity) bool {
	if j.tokens.Get(p.id) != nil {
		return true
	}
	r := j.subjects.Get(p.subject)
	return r != nil && p.issued <= r.cutOff
}
