package rbac

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/strictjson"
	"github.com/chansec/chansec/internal/token"
)

// DefaultLifetime is how long a token lasts unless told otherwise.
const DefaultLifetime = time.Hour

// maxRoles is how many roles of a token count, which is as many as the token door lets in.
const maxRoles = 1024

// Tokens verifies AppKernel's tokens and, where it has the private key, makes them: compact JWTs with RS256
// (appkernel.md 3). It may be used from many goroutines at once. However it is printed, it shows its type only.
type Tokens struct {
	keys        Keys
	door        *token.Door
	application string
	lifetime    time.Duration
	leeway      time.Duration
	now         func() time.Time
}

var (
	_ Verifier              = (*Tokens)(nil)
	_ chansec.Authenticator = (*Tokens)(nil)
	_ chansec.TokenIssuer   = (*Tokens)(nil)
)

// TokenOption configures Tokens.
type TokenOption func(*Tokens) error

// Application sets the application's ID: tokens must name it among their audience (aud), and those made here do. Without
// it a token with an audience is refused, since it is meant for somebody else.
func Application(id string) TokenOption {
	return func(t *Tokens) error {
		if !goodName(id) {
			return invalid("application id", quote(id), "1 to 512 bytes of UTF-8 without control characters")
		}
		t.application = id
		return nil
	}
}

// Lifetime sets how long the tokens made here last: whole seconds, [DefaultLifetime] otherwise.
func Lifetime(d time.Duration) TokenOption {
	return func(t *Tokens) error {
		if d < time.Second {
			return invalid("lifetime", d.String(), "at least a second")
		}
		t.lifetime = d
		return nil
	}
}

// Leeway sets how far the issuer's clock may differ from ours: 0, the default, to a minute.
func Leeway(d time.Duration) TokenOption {
	return func(t *Tokens) error {
		if d < 0 || d > token.MaxLeeway {
			return invalid("leeway", d.String(), "0 to "+token.MaxLeeway.String())
		}
		t.leeway = d
		return nil
	}
}

// Clock sets the clock, time.Now otherwise.
func Clock(now func() time.Time) TokenOption {
	return func(t *Tokens) error {
		if now == nil {
			return invalid("clock", "nil", "a function")
		}
		t.now = now
		return nil
	}
}

// NewTokens returns what verifies tokens by keys, and makes them if the keys include a private one. It fails with a
// chansec.InvalidError.
func NewTokens(keys Keys, opts ...TokenOption) (*Tokens, error) {
	t := &Tokens{keys: keys, lifetime: DefaultLifetime, now: time.Now}
	if keys.public == nil {
		return nil, invalid("keys", "none", "those of rbac.NewKeys or an rbac.KeyFiles")
	}
	for _, opt := range opts {
		if opt == nil {
			return nil, invalid("option", "nil", "an rbac.TokenOption")
		}
		if err := opt(t); err != nil {
			return nil, err
		}
	}
	door, err := token.NewDoor(token.Profile{
		Audience:       t.application,
		Leeway:         t.leeway,
		AllowNoSubject: true,
		LooseSubject:   true,
		IgnoreKeyID:    true,
		Claims:         []string{"roles"},
		Now:            t.now,
	})
	if err != nil {
		return nil, invalid("option", "", err.Error())
	}
	t.door = door
	return t, nil
}

// Format prints the name of the type only.
func (t *Tokens) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("rbac.Tokens")) }

// refusedToken is a token that is no good, and why. Its text is always the same.
type refusedToken struct{ reason error }

func (e *refusedToken) Error() string { return chansec.ErrUnauthenticated.Error() }

func (e *refusedToken) Is(target error) bool {
	return target == chansec.ErrUnauthenticated || target == chansec.ErrExpired && errors.Is(e.reason, token.Expired)
}

// Claims is what a verified token says. It is read-only.
type Claims struct {
	Subject   string    // empty: the token proves no identity, only its roles
	Roles     []string  // in the token's order
	IssuedAt  time.Time // zero: not said
	ExpiresAt time.Time

	token *token.Token // nil: there are no other claims
}

// HasRole reports whether the roles include exactly this name.
func (c *Claims) HasRole(name string) bool { return c != nil && slices.Contains(c.Roles, name) }

// Text returns a claim that is a string, such as "iss" or one of your own. ok is false if there is none of exactly this name.
func (c *Claims) Text(name string) (text string, ok bool) {
	if c == nil || c.token == nil {
		return "", false
	}
	value, _ := c.token.Claim(name)
	return value.Text()
}

// Verify returns the claims of a token. Any refusal is chansec.ErrUnauthenticated and says no more, except that a token
// whose signature is right but whose time is over is chansec.ErrExpired, too.
func (t *Tokens) Verify(_ context.Context, text string) (*Claims, error) {
	if t == nil {
		return nil, &refusedToken{token.UnknownKey}
	}
	verified, err := t.door.Verify(t.keys.public, text)
	if err != nil {
		return nil, &refusedToken{err}
	}
	return &Claims{Subject: verified.Subject, Roles: rolesOf(verified), IssuedAt: verified.IssuedAt, ExpiresAt: verified.ExpiresAt,
		token: verified}, nil
}

// rolesOf returns the strings in the list "roles". Whatever else it may be, or hold, is no role.
func rolesOf(t *token.Token) []string {
	value, _ := t.Claim("roles")
	if value.Kind() != strictjson.KindArray {
		return nil
	}
	if list, ok := value.Strings(maxRoles); ok {
		return list
	}
	elements, _ := strictjson.Elements(value.Raw(), maxRoles)
	var list []string
	for _, element := range elements {
		var role string
		if element[0] == '"' && json.Unmarshal([]byte(element), &role) == nil {
			list = append(list, role)
		}
	}
	return list
}

// Authenticate returns whom a token proves, with its roles, until it expires; the rules say what that is worth. A token
// without a subject proves nobody. Any refusal is chansec.ErrUnauthenticated.
func (t *Tokens) Authenticate(ctx context.Context, text string) (chansec.Principal, error) {
	claims, err := t.Verify(ctx, text)
	if err != nil {
		return chansec.Principal{}, err
	}
	if chansec.CheckSystemID(claims.Subject) != nil {
		return chansec.Principal{}, &refusedToken{token.BadClaims}
	}
	return chansec.Principal{
		SystemID: claims.Subject,
		Proof:    chansec.ProofToken,
		Grant:    &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: claims.ExpiresAt.Add(t.leeway)},
		Roles:    claims.Roles,
	}, nil
}

// Identity is whom a token is for.
type Identity struct {
	ID    string   // becomes the token's subject
	Roles []string // none: the holder can do what Anonymous and CurrentSubject allow
}

// Token signs a token for an identity. It fails with a chansec.InvalidError, or chansec.ErrNoSigner where there is no
// private key.
func (t *Tokens) Token(id Identity) (string, error) { return t.issue(id, 0) }

// GenerateToken signs a token for a system that has the request's role, by that name. AppKernel's tokens know no channels:
// what is for some of them only is refused, since it would reach further than it was asked to.
func (t *Tokens) GenerateToken(_ context.Context, req chansec.TokenRequest) (string, error) {
	role, err := chansec.ParseRole(string(req.Role))
	if err != nil {
		return "", err
	}
	if !req.AllChannels || len(req.Channels) > 0 {
		return "", invalid("token request", "", "AllChannels and no list of channels: these tokens hold none")
	}
	if req.ExpiresIn < 0 {
		return "", invalid("token lifetime", req.ExpiresIn.String(), "a positive duration, or 0 for the default")
	}
	return t.issue(Identity{ID: req.SystemID, Roles: []string{string(role)}}, req.ExpiresIn)
}

func (t *Tokens) issue(id Identity, lifetime time.Duration) (string, error) {
	if t == nil || t.keys.private == nil {
		return "", chansec.ErrNoSigner
	}
	if !goodName(id.ID) {
		return "", invalid("identity", quote(id.ID), "an id of 1 to 512 bytes of UTF-8 without control characters")
	}
	for _, role := range id.Roles {
		if !goodName(role) || strings.EqualFold(role, "anonymous") || strings.EqualFold(role, "denied") {
			return "", invalid("role", quote(role), `the name of a role; "anonymous" and "denied" are none`)
		}
	}
	now := t.now().Unix()
	exp := max(t.now().Add(cmp.Or(lifetime, t.lifetime)).Unix(), now+1)
	claims := []token.Claim{token.StringClaim("sub", id.ID), token.IntClaim("iat", now), token.IntClaim("exp", exp)}
	if len(id.Roles) > 0 {
		claims = append(claims, token.ListClaim("roles", id.Roles))
	}
	if t.application != "" {
		claims = append(claims, token.StringClaim("aud", t.application))
	}
	text, err := token.Sign(t.keys.private, "", claims)
	if err != nil {
		return "", invalid("identity", "", "what can be signed: "+err.Error())
	}
	if len(text) > token.DefaultMaxBytes {
		return "", invalid("identity", fmt.Sprintf("with a token of %d bytes", len(text)), fmt.Sprintf("fewer or shorter roles: at most %d bytes", token.DefaultMaxBytes))
	}
	return text, nil
}
