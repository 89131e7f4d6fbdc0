package authn

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/internal/strictjson"
	"github.com/chansec/chansec/internal/token"
)

// Defaults of an [IssuersConfig] and an [Issuer].
const (
	DefaultFetchInterval  = 30 * time.Second
	DefaultKeyRefresh     = 5 * time.Minute
	DefaultKeyMaxStale    = time.Hour
	DefaultFetchTimeout   = 10 * time.Second
	DefaultFetchBytes     = 256 << 10
	DefaultIssuerLifetime = chansec.DefaultTokenLifetime
)

// Bounds of what is configured.
const (
	maxIssuers          = 64
	maxIssuerAttributes = 64
)

// IssuersConfig is what [Issuers] are made of. The times and sizes are about keys that are fetched.
type IssuersConfig struct {
	// Issuers are those whose tokens are taken: 1 to 64.
	Issuers []Issuer

	// FetchInterval is the least time between two fetches of one issuer's keys, also after one that failed: 30 seconds
	// otherwise. It is not longer than KeyRefresh.
	FetchInterval time.Duration
	// KeyRefresh is the age from which keys are fetched anew while the old ones serve: 5 minutes otherwise. A key that the
	// issuer withdrew is good for as long as that, and the time of a fetch.
	KeyRefresh time.Duration
	// KeyMaxStale is the age from which keys that could not be fetched anew are good for nothing: an hour otherwise.
	KeyMaxStale time.Duration
	// FetchTimeout bounds a fetch: 10 seconds otherwise.
	FetchTimeout time.Duration
	// MaxBytes bounds each document that is fetched: 256 KiB otherwise.
	MaxBytes int
	// TLS is the client's side of TLS; at least version 1.2, and never without verifying the server.
	TLS *tls.Config
	// Transport, if there is one, sends the requests, with what it knows about TLS and proxies. It must heed the request's
	// context.
	Transport http.RoundTripper
}

// Issuer is somebody else who signs tokens, and what those are good for here.
type Issuer struct {
	// Issuer is the exact value of iss.
	Issuer string

	// Audience must be among those of aud. A service that takes tokens meant for others can be sent those that others got.
	Audience string
	// NoAudience, instead of an Audience, takes tokens without aud, and no others.
	NoAudience bool

	// Keys are the issuer's keys, if they are known. Exactly one of Keys, JWKS and Discovery is needed.
	Keys []IssuerKey
	// JWKS is the https URL of its keys (RFC 7517).
	JWKS string
	// Discovery finds that URL with OpenID Connect Discovery; Issuer then is an https URL.
	Discovery bool
	// Algorithms are those that its keys may be used with, for JWKS and Discovery: RS256, RS384, RS512, PS256, PS384, PS512,
	// ES256, ES384, ES512, EdDSA. A key that names none is bound to the first of these that it fits.
	Algorithms []string

	// Type is what the header's typ must be, such as "at+jwt"; otherwise "JWT" or absent.
	Type string
	// Leeway is how far its clock may differ from ours: up to a minute.
	Leeway time.Duration
	// MaxLifetime is how much time a token may have left: 24 hours otherwise.
	MaxLifetime time.Duration

	// SubjectPrefix is put before sub, which makes the system ID: the issuer and a "#" otherwise, as Kubernetes does. No
	// prefix may be the beginning of another, so that no issuer can name who belongs to another one.
	SubjectPrefix string
	// BareSubject takes sub as the system ID. Who does that lets the issuer be anybody, also whom another one named.
	BareSubject bool

	// Roles makes roles of claims. Where it is nil, those are the roles of the request, and none come from the token.
	Roles *RoleMap
	// Attributes are the names of the claims that rules may see, as the principal's attributes.
	Attributes []string
}

// IssuerKey is a public key and the one algorithm that it is good for. Secrets that are shared with an issuer are not
// offered: with one of those, whoever checks tokens can make them.
type IssuerKey struct {
	ID        string // kid; may be empty
	Algorithm string
	Public    crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// Issuers takes the tokens (RFC 7519) of other issuers. It may be used from many goroutines at once. Close it when it is not
// needed any more.
//
// The credentials of the request are the token. It chooses its issuer by iss, before anything about it was verified, and for
// nothing but this: then only the keys of that issuer can verify it, and the verified iss must be the same. What is no
// token, or one of an unknown issuer, is abstained from; every other refusal denies. A request that names a principal is
// denied unless that is exactly whom the token names.
//
// A token sets no bound but time: the grant is for everything until exp (and the leeway), so that the guard ends what is
// open then. What its holder may do is up to the authorizer.
//
// Keys are fetched when a token needs them: if there are none, if they are as old as KeyRefresh (they serve meanwhile), or
// if none of them verifies the token, but never twice within FetchInterval. At most 64 callers wait for newer keys than there
// are. A set of keys replaces the one before, so that keys which vanished are refused. Where keys are missing, or those who
// know newer ones are away, nobody can say anything: an [IssuerError].
type Issuers struct {
	issuers map[string]*issuer
	out     *outbound
}

var _ Handler = (*Issuers)(nil)

// issuer is an Issuer, ready to work.
type issuer struct {
	name       string
	door       *token.Door
	source     *jwksSource
	prefix     string
	bare       bool
	leeway     time.Duration
	roles      *RoleMap
	attributes []string
}

// NewIssuers returns a handler for the tokens of other issuers. It fetches nothing yet. It fails with a
// chansec.InvalidError that names the field.
func NewIssuers(config IssuersConfig) (*Issuers, error) {
	if len(config.Issuers) == 0 || len(config.Issuers) > maxIssuers {
		return nil, invalidSetting("IssuersConfig.Issuers", strconv.Itoa(len(config.Issuers)), "1 to 64 issuers")
	}
	if err := errors.Join(
		within("IssuersConfig.KeyRefresh", &config.KeyRefresh, DefaultKeyRefresh, time.Second, 24*time.Hour, time.Duration.String),
		within("IssuersConfig.FetchInterval", &config.FetchInterval, min(DefaultFetchInterval, config.KeyRefresh), time.Second, config.KeyRefresh, time.Duration.String),
		within("IssuersConfig.KeyMaxStale", &config.KeyMaxStale, max(DefaultKeyMaxStale, config.KeyRefresh), config.KeyRefresh, 7*24*time.Hour, time.Duration.String),
		within("IssuersConfig.FetchTimeout", &config.FetchTimeout, DefaultFetchTimeout, time.Millisecond, time.Minute, time.Duration.String),
		within("IssuersConfig.MaxBytes", &config.MaxBytes, DefaultFetchBytes, 1, 16<<20, strconv.Itoa),
	); err != nil {
		return nil, err
	}
	out, err := newOutbound("IssuersConfig", config.Transport, config.TLS, config.FetchTimeout, config.MaxBytes)
	if err != nil {
		return nil, err
	}
	if own, ok := out.transport.(*http.Transport); ok && config.Transport == nil {
		own.DisableKeepAlives = true // the next fetch is far away
	}
	s := &Issuers{issuers: make(map[string]*issuer, len(config.Issuers)), out: out}
	for _, given := range config.Issuers {
		i, err := newIssuer(given, out)
		if err != nil {
			return nil, err
		}
		for _, other := range s.issuers {
			switch {
			case other.name == i.name:
				return nil, invalidSetting("Issuer.Issuer", i.name, "each issuer once")
			case i.bare || other.bare:
			case strings.HasPrefix(i.prefix, other.prefix), strings.HasPrefix(other.prefix, i.prefix):
				return nil, invalidSetting("Issuer.SubjectPrefix", i.prefix, "a prefix that is not the beginning of another issuer's, or the other way round")
			}
		}
		i.source.interval, i.source.refresh, i.source.maxStale, i.source.timeout = config.FetchInterval, config.KeyRefresh, config.KeyMaxStale, config.FetchTimeout
		s.issuers[i.name] = i
	}
	return s, nil
}

func newIssuer(given Issuer, out *outbound) (*issuer, error) {
	i := &issuer{name: given.Issuer, source: &jwksSource{out: out}, prefix: given.SubjectPrefix, bare: given.BareSubject,
		leeway: given.Leeway, attributes: slices.Clone(given.Attributes)}
	switch {
	case given.Issuer == "":
		return nil, invalidSetting("Issuer.Issuer", "", "the value of iss")
	case given.Audience == "" && !given.NoAudience:
		return nil, invalidSetting("Issuer.Audience", "", "the audience that tokens for us name, or NoAudience")
	case given.Audience != "" && given.NoAudience:
		return nil, invalidSetting("Issuer.Audience", given.Audience, "an Audience or NoAudience, not both")
	case given.SubjectPrefix != "" && given.BareSubject:
		return nil, invalidSetting("Issuer.SubjectPrefix", given.SubjectPrefix, "a SubjectPrefix or BareSubject, not both")
	case given.SubjectPrefix != "" && chansec.CheckSystemID(given.SubjectPrefix) != nil:
		return nil, invalidSetting("Issuer.SubjectPrefix", given.SubjectPrefix, "UTF-8 without control characters")
	case len(given.Attributes) > maxIssuerAttributes || slices.Contains(given.Attributes, ""):
		return nil, invalidSetting("Issuer.Attributes", "", "at most 64 names of claims, none of them empty")
	case given.MaxLifetime < 0:
		return nil, invalidSetting("Issuer.MaxLifetime", given.MaxLifetime.String(), "a positive duration, or 0 for 24 hours")
	}
	if i.prefix == "" && !i.bare {
		i.prefix = i.name + "#"
	}
	var err error
	if i.roles, err = given.Roles.checked("Issuer.Roles"); err != nil {
		return nil, err
	}
	if err := i.setSource(given); err != nil {
		return nil, err
	}
	if given.MaxLifetime == 0 {
		given.MaxLifetime = DefaultIssuerLifetime
	}
	i.door, err = token.NewDoor(token.Profile{Type: given.Type, Issuer: given.Issuer, Audience: given.Audience, Leeway: given.Leeway,
		MaxLifetime: given.MaxLifetime, Claims: i.claims()})
	if problem, ok := errors.AsType[*token.ProfileError](err); ok {
		return nil, invalidSetting("Issuer."+strings.Replace(problem.Field, "Claims", "Attributes or Roles", 1), "",
			"names of at most 512 bytes of UTF-8, claims that differ by more than their letters' case, and a Leeway of 0 to 1m0s")
	}
	return i, err
}

// claims are the names of the claims that are read, beside those that the door reads anyway.
func (i *issuer) claims() []string {
	names := slices.Clone(i.attributes)
	if i.roles != nil {
		names = append(names, i.roles.Path[0])
	}
	slices.Sort(names)
	registered := []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return slices.Contains(registered, name) })
}

// setSource says where the keys come from.
func (i *issuer) setSource(given Issuer) error {
	sources := 0
	for _, has := range []bool{len(given.Keys) > 0, given.JWKS != "", given.Discovery} {
		if has {
			sources++
		}
	}
	if sources != 1 {
		return invalidSetting("Issuer.Keys", "", "exactly one of Keys, JWKS and Discovery")
	}
	algorithms := slices.Clone(given.Algorithms)
	if len(given.Keys) > 0 {
		if len(algorithms) > 0 {
			return invalidSetting("Issuer.Algorithms", strings.Join(algorithms, ", "), "none beside Keys, which have their own")
		}
		return i.setKeys(given.Keys)
	}
	if len(algorithms) == 0 {
		return invalidSetting("Issuer.Algorithms", "", "at least one, such as RS256")
	}
	known := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	for _, algorithm := range algorithms {
		if !slices.Contains(known, algorithm) {
			return invalidSetting("Issuer.Algorithms", algorithm, strings.Join(known, ", "))
		}
	}
	if given.Discovery {
		at, err := oidcLocation(given.Issuer)
		i.source.fetch = func(ctx context.Context) (*token.KeySet, error) {
			return fetchOIDC(ctx, i.source.out, at, i.name, algorithms)
		}
		return err
	}
	at, err := checkOutboundURL("Issuer.JWKS", given.JWKS, false)
	i.source.fetch = func(ctx context.Context) (*token.KeySet, error) {
		return fetchJWKS(ctx, i.source.out, at, algorithms)
	}
	return err
}

func (i *issuer) setKeys(given []IssuerKey) error {
	keys := make([]*token.Key, len(given))
	for n, k := range given {
		key, err := token.NewVerifyKey(k.ID, k.Algorithm, k.Public)
		if err != nil {
			return invalidSetting("Issuer.Keys", k.ID, "a public key that fits its algorithm: "+err.Error())
		}
		keys[n] = key
	}
	set, err := token.NewKeySet(keys...)
	if err != nil {
		return invalidSetting("Issuer.Keys", "", "1 to 16 keys with different IDs: "+err.Error())
	}
	i.source.fetched.Store(&jwksFetched{keys: set})
	return nil
}

// Close ends fetches and waits for them. The handler fails from then on.
func (s *Issuers) Close() error {
	s.out.close()
	return nil
}

// Format prints the name of the type only.
func (s *Issuers) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authn.Issuers")) }

// IssuerError is why nobody could say whether a token of an issuer is good: its keys could not be had. It is
// chansec.ErrUndecided, and the error of the context where that ended.
type IssuerError struct {
	Issuer  string // as configured
	Problem string // a constant text

	cause error // of the context
}

func newIssuerError(ctx context.Context, name string, err error) error {
	e := &IssuerError{Issuer: name, Problem: "the time is over", cause: ctx.Err()}
	if e.cause == nil && err != nil {
		// All errors of a fetch are constant texts of this package, but for those of its context.
		e.Problem = strings.TrimPrefix(err.Error(), "authn: ")
	}
	return e
}

func (e *IssuerError) Error() string {
	return "authn: no keys of the issuer " + strconv.Quote(e.Issuer) + ": " + e.Problem
}

// Is makes the error chansec.ErrUndecided.
func (e *IssuerError) Is(target error) bool { return target == chansec.ErrUndecided }

// Unwrap returns the error of the context, if that ended.
func (e *IssuerError) Unwrap() error { return e.cause }

// Authenticate checks a token.
func (s *Issuers) Authenticate(ctx context.Context, r *Request) (Response, error) {
	if s.out.ctx.Err() != nil {
		return Response{}, outboundClosed
	}
	if len(r.Credentials) > token.DefaultMaxBytes {
		return Response{Answer: Abstain, Reason: "too long for a token"}, nil
	}
	text := string(r.Credentials)
	name, err := token.ClaimedIssuer(text, 0)
	if err != nil {
		return Response{Answer: Abstain, Reason: "no token that names its issuer"}, nil
	}
	i := s.issuers[name]
	if i == nil {
		return Response{Answer: Abstain, Reason: "a token of an issuer that is unknown"}, nil
	}
	t, err := i.verify(ctx, text)
	if reason, ok := errors.AsType[token.Reason](err); ok {
		return Response{Reason: "a token of " + i.name + ": " + reason.String()}, nil
	}
	if err != nil {
		return Response{}, newIssuerError(ctx, i.name, err)
	}
	return i.response(r, t), nil
}

// verify returns a token that is good. The error is a token.Reason if it is not, and otherwise why that could not be found
// out.
func (i *issuer) verify(ctx context.Context, text string) (*token.Token, error) {
	f, err := i.source.current(ctx)
	if f == nil {
		return nil, err
	}
	t, reason := i.door.Verify(f.keys, text)
	if reason != token.UnknownKey && reason != token.BadSignature && reason != token.WrongAlg {
		return t, reason
	}
	// No key verifies it. It may have been signed with a newer one than those we have.
	newer, err := i.source.renewed(ctx, f)
	switch {
	case newer == nil:
		return nil, err
	case newer != f:
		return i.door.Verify(newer.keys, text)
	case err != nil && reason == token.UnknownKey:
		return nil, err // and the issuer, who knows, is away
	}
	return nil, reason
}

// response says whom a verified token proves.
func (i *issuer) response(r *Request, t *token.Token) Response {
	subject := i.prefix + t.Subject
	switch {
	case chansec.CheckSystemID(subject) != nil:
		return Response{Reason: "a token of " + i.name + ": the subject is too long"}
	case r.Principal != "" && r.Principal != subject:
		return Response{Reason: "a token of " + i.name + ": it names somebody else than the request"}
	}
	roles, ok := i.rolesOf(t)
	if !ok {
		return Response{Reason: "a token of " + i.name + ": roles that are no strings"}
	}
	var attributes map[string]any
	for _, name := range i.attributes {
		if value, ok := t.Claim(name); ok {
			if attributes == nil {
				attributes = make(map[string]any, len(i.attributes))
			}
			attributes[name] = decodeJSON(value.Raw(), false)
		}
	}
	until := t.ExpiresAt.Add(i.leeway)
	return Response{Answer: Allow, Principal: subject, Proof: chansec.ProofToken, Roles: roles, ServerData: attributes, ExpiresAt: until,
		Grant: &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: until, TokenID: t.ID}}
}

func (i *issuer) rolesOf(t *token.Token) ([]string, bool) {
	if i.roles == nil {
		return nil, true
	}
	var members []strictjson.Member
	if value, ok := t.Claim(i.roles.Path[0]); ok {
		members = []strictjson.Member{{Name: i.roles.Path[0], Value: value}}
	}
	return i.roles.of(members)
}
