package chansec

import (
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/chansec/chansec/internal/atomicmap"
	"github.com/chansec/chansec/internal/strictjson"
	"github.com/chansec/chansec/internal/token"
)

// JWTSecurity proves callers by signed tokens (RFC 7519) that say who they are, how much they may do, where, and until when.
// It may be used from many goroutines at once; checking and deciding take no lock.
//
// Whoever holds one of its tokens may do what the token says, unless it, its subject or its key was revoked. In-process
// ports (As) may do everything, as in sssn, unless JWTStrictLocal or JWTLocal says otherwise; callers that something
// else authenticated may do nothing, unless JWTLocal does. A decorator that hides Decide must pass the context on, since
// that is what then tells the two apart.
//
// The token must be a compact JWS whose algorithm is that of the key, with the claims
//
//	sub       who: a non-empty string
//	role      how much: "read", "write" or "admin"
//	channels  where: a list of channel IDs; absent or null is every channel
//	exp       until when, in Unix seconds; nbf and iat are checked if present
//	jti       its name, for revocation
//
// Everything is read strictly: see internal/token. Every refusal is ErrUnauthenticated and says no more, except that a
// token whose signature is right but whose time is over is ErrExpired, too, and that one is undecided that may have been
// revoked: see JWTMaxStaleness.
type JWTSecurity struct {
	version
	door          *token.Door
	keys          atomic.Pointer[jwtKeys]
	issuer        string
	audience      string
	typ           string
	maxBytes      int
	maxLifetime   time.Duration
	leeway        time.Duration
	now           func() time.Time
	noAllChannels bool
	strictLocal   bool
	local         Authorizer
	cache         *tokenCache
	stale         atomic.Pointer[StaleError] // nil: what is known of revocations is new enough to decide by

	mu       sync.Mutex // of changes
	max      int
	backend  RevocationBackend                     // nil: in memory only
	turn     chan struct{}                         // whoever holds its one place may refresh
	revision uint64                                // of the last revocation that was taken over
	tokens   atomicmap.Map[string, revokedToken]   // by jti
	subjects atomicmap.Map[string, revokedSubject] // by sub

	maxStaleness time.Duration // 0: revocations may have been read however long ago
	asked        time.Time     // when the last Refresh that succeeded began
	failed       error         // why the last one since failed; nil if none did
	expiry       *time.Timer   // for when what is known is too old
}

var (
	_ ChannelSecurity = (*JWTSecurity)(nil)
	_ Decider         = (*JWTSecurity)(nil)
	_ Affected        = (*JWTSecurity)(nil)
	_ ContentBlind    = (*JWTSecurity)(nil)
	_ Delegator       = (*JWTSecurity)(nil)
)

// jwtKeys are the keys in force.
type jwtKeys struct {
	list   []*token.Key
	set    *token.KeySet
	signer *token.Key // nil: verify only
}

// Key is a key with the one algorithm it is good for and its ID. It cannot be printed.
type Key struct{ key *token.Key }

// HMACKey returns a key for HS256, HS384 or HS512, with a secret that is at least as long as the hash: 32, 48 or 64 bytes.
// The ID (kid) may be empty. It fails with an InvalidError.
func HMACKey(id, algorithm string, secret []byte) (Key, error) {
	k, err := token.NewHMACKey(id, algorithm, secret)
	return Key{k}, keyError(id, algorithm, err)
}

// SigningKey returns a key that signs and verifies: an *rsa.PrivateKey of at least 2048 bits for RS256 to RS512 and PS256 to
// PS512, an *ecdsa.PrivateKey on the algorithm's curve for ES256 to ES512, an ed25519.PrivateKey for EdDSA.
// The ID (kid) may be empty. It fails with an InvalidError.
func SigningKey(id, algorithm string, private crypto.Signer) (Key, error) {
	k, err := token.NewSigningKey(id, algorithm, private)
	return Key{k}, keyError(id, algorithm, err)
}

// VerifyKey returns the public half of a SigningKey, which verifies only.
func VerifyKey(id, algorithm string, public crypto.PublicKey) (Key, error) {
	k, err := token.NewVerifyKey(id, algorithm, public)
	return Key{k}, keyError(id, algorithm, err)
}

// ID returns the key ID.
func (k Key) ID() string { return k.key.ID() }

// Algorithm returns the algorithm.
func (k Key) Algorithm() string { return k.key.Algorithm() }

func keyError(id, algorithm string, err error) error {
	if err == nil {
		return nil
	}
	var problem token.KeyProblem
	want := err.Error()
	if errors.As(err, &problem) {
		want = map[token.KeyProblem]string{
			token.UnknownAlgorithm: "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA, for a key of that kind",
			token.WrongKeyType:     "a key of the type that the algorithm takes",
			token.BadKeyID:         "an id of at most 255 bytes of UTF-8 without control characters",
			token.ShortSecret:      "a secret at least as long as the hash: 32, 48 or 64 bytes",
			token.PEMSecret:        "a random secret; this one is PEM text, which belongs to SigningKey or VerifyKey",
			token.BadModulusSize:   "an RSA key of 2048 to 16384 bits",
			token.BadExponent:      "an RSA key with an odd exponent of at least 65537",
			token.WeakModulus:      "an RSA key without the ROCA weakness",
			token.WrongCurve:       "a key on the curve of the algorithm",
			token.BadPoint:         "a public key on its curve",
			token.BadPrivateKey:    "a private key that fits its public key",
		}[problem]
	}
	return &InvalidError{What: "key", Value: quote(id) + " for " + quote(algorithm), Want: want}
}

// jwtOptions are what JWTOptions set before there is a JWTSecurity.
type jwtOptions struct {
	profile        token.Profile
	keys           []Key
	maxRevocations int
	maxStaleness   time.Duration
	cacheSize      int
	noAllChannels  bool
	strictLocal    bool
	local          Authorizer
}

// JWTOption configures a JWTSecurity.
type JWTOption func(*jwtOptions) error

// JWTKeys adds keys that verify beside the first one.
func JWTKeys(keys ...Key) JWTOption {
	return func(o *jwtOptions) error { o.keys = append(o.keys, keys...); return nil }
}

// JWTIssuer sets the issuer (iss) that tokens must name, and that those made here do.
func JWTIssuer(issuer string) JWTOption {
	return func(o *jwtOptions) error { o.profile.Issuer = issuer; return checkName("issuer", issuer) }
}

// JWTAudience sets the audience (aud) that tokens must name among theirs, and that those made here do. Without it a token
// that names any is refused.
func JWTAudience(audience string) JWTOption {
	return func(o *jwtOptions) error { o.profile.Audience = audience; return checkName("audience", audience) }
}

// JWTType sets what the header's typ must be, and is in the tokens made here, such as "at+jwt". Otherwise it is "JWT" or
// absent.
func JWTType(typ string) JWTOption {
	return func(o *jwtOptions) error { o.profile.Type = typ; return checkName("token type", typ) }
}

// JWTLeeway sets how far clocks may differ, for exp, nbf and iat alike: 0, the default, to a minute.
func JWTLeeway(d time.Duration) JWTOption {
	return func(o *jwtOptions) error {
		if d < 0 || d > token.MaxLeeway {
			return invalid("leeway", d.String(), "0 to "+token.MaxLeeway.String())
		}
		o.profile.Leeway = d
		return nil
	}
}

// JWTMaxLifetime sets how much time a token may have left, 24 hours otherwise: one with more is refused until then.
func JWTMaxLifetime(d time.Duration) JWTOption {
	return func(o *jwtOptions) error {
		o.profile.MaxLifetime = d
		return atLeast("maximum lifetime", d, time.Second)
	}
}

// JWTMaxBytes sets how long a token may be, 8 KiB otherwise.
func JWTMaxBytes(n int) JWTOption {
	return func(o *jwtOptions) error {
		o.profile.MaxBytes = n
		return between("maximum length of a token", n, 256, 1<<20)
	}
}

// JWTRefuseAllChannels refuses tokens without a list of channels, and makes none.
func JWTRefuseAllChannels() JWTOption {
	return func(o *jwtOptions) error { o.noAllChannels = true; return nil }
}

// JWTStrictLocal refuses in-process ports.
func JWTStrictLocal() JWTOption {
	return func(o *jwtOptions) error { o.strictLocal = true; return nil }
}

// JWTLocal lets an authorizer decide for in-process ports, and for callers that were not authenticated here. It is asked
// anew for every delivery, and every second for idle leases; a Join with it watches its version instead.
func JWTLocal(z Authorizer) JWTOption {
	return func(o *jwtOptions) error {
		if z == nil {
			return &InvalidError{What: "Authorizer", Value: "nil", Want: "one"}
		}
		o.local = z
		return nil
	}
}

// DefaultJWTCache is how many verified tokens are remembered unless told otherwise.
const DefaultJWTCache = 16384

// JWTCache sets how many verified tokens are remembered, so that they need not be verified again; 0 is none. What is kept
// is a SHA-256 of the token, and what it says.
func JWTCache(n int) JWTOption {
	return func(o *jwtOptions) error { o.cacheSize = n; return between("cache size", n, 0, 1<<24) }
}

// DefaultJWTRevocations is how many revocations are remembered unless told otherwise.
const DefaultJWTRevocations = 1_000_000

// JWTMaxRevocations sets how many revoked tokens, and as many subjects, are remembered: DefaultJWTRevocations otherwise. A
// full table refuses more; it forgets nothing but tokens that have expired.
func JWTMaxRevocations(n int) JWTOption {
	return func(o *jwtOptions) error {
		o.maxRevocations = n
		return between("maximum of revocations", n, 1, 1<<30)
	}
}

// JWTMaxStaleness sets for how long a security of OpenJWTSecurity decides by the revocations that it knows while Refresh
// fails, or is not called. Once that long has passed since the last one that succeeded began, Authenticate and every decision
// fail with a StaleError, which is ErrUndecided, and what is open ends, until a Refresh succeeds. In-process ports are no
// exception, as far as this security decides about them. Time is measured by the real clock, whatever JWTClock says.
//
// Without it a token that was revoked elsewhere is accepted for as long as the backend is away, which may be for ever: use
// it wherever others revoke. There is no default because how often Refresh is called is up to the caller; several
// times that interval leaves room for one that fails.
func JWTMaxStaleness(d time.Duration) JWTOption {
	return func(o *jwtOptions) error {
		o.maxStaleness = d
		if d <= 0 {
			return &InvalidError{What: "maximum staleness", Value: d.String(), Want: "a positive duration, longer than the interval of Refresh"}
		}
		return nil
	}
}

// JWTClock sets the clock, time.Now otherwise. Leases and claims end by the real one.
func JWTClock(now func() time.Time) JWTOption {
	return func(o *jwtOptions) error {
		if now == nil {
			return &InvalidError{What: "clock", Value: "nil", Want: "a function"}
		}
		o.profile.Now = now
		return nil
	}
}

// NewJWTSecurity returns a security that signs with a key, if it can sign, and verifies with it and those of JWTKeys. It
// remembers revocations in memory only; OpenJWTSecurity keeps them. It fails with an InvalidError.
func NewJWTSecurity(key Key, opts ...JWTOption) (*JWTSecurity, error) {
	return newJWTSecurity(nil, key, opts)
}

func newJWTSecurity(b RevocationBackend, key Key, opts []JWTOption) (*JWTSecurity, error) {
	o := jwtOptions{
		profile:        token.Profile{MaxBytes: token.DefaultMaxBytes, MaxLifetime: DefaultTokenLifetime, Claims: []string{"role", "channels", claimParent, claimParentSubject, claimParentIssued}, Now: time.Now},
		keys:           []Key{key},
		maxRevocations: DefaultJWTRevocations,
		cacheSize:      DefaultJWTCache,
	}
	for _, opt := range opts {
		if opt == nil {
			return nil, &InvalidError{What: "option", Value: "nil", Want: "a JWTOption"}
		}
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if o.strictLocal && o.local != nil {
		return nil, &InvalidError{What: "options", Value: "JWTStrictLocal with JWTLocal", Want: "one of the two"}
	}
	if o.maxStaleness != 0 && b == nil {
		return nil, &InvalidError{What: "options", Value: "JWTMaxStaleness without a RevocationBackend", Want: "OpenJWTSecurity: what is in memory only is never stale"}
	}
	door, err := token.NewDoor(o.profile)
	if err != nil {
		return nil, &InvalidError{What: "option", Want: err.Error()}
	}
	j := &JWTSecurity{door: door, issuer: o.profile.Issuer, audience: o.profile.Audience, typ: o.profile.Type,
		maxBytes: o.profile.MaxBytes, maxLifetime: o.profile.MaxLifetime, leeway: o.profile.Leeway, now: o.profile.Now,
		noAllChannels: o.noAllChannels, strictLocal: o.strictLocal, local: o.local, cache: newTokenCache(o.cacheSize),
		max: o.maxRevocations, backend: b, maxStaleness: o.maxStaleness, turn: make(chan struct{}, 1)}
	j.tokens.Init(j.dead, func(string) {})
	j.subjects.Init(func(*revokedSubject) bool { return false }, func(string) {})
	list := make([]*token.Key, len(o.keys))
	for i, k := range o.keys {
		list[i] = k.key
	}
	if err := j.setKeys(list, key.key); err != nil {
		return nil, err
	}
	return j, nil
}

// setKeys puts keys in force. signer is one of them.
func (j *JWTSecurity) setKeys(list []*token.Key, signer *token.Key) error {
	set, err := token.NewKeySet(list...)
	if err != nil {
		return &InvalidError{What: "keys", Want: "1 to 16 keys with different ids, all HMAC or none: " + err.Error()}
	}
	if !signer.CanSign() {
		signer = nil
	}
	j.keys.Store(&jwtKeys{list: list, set: set, signer: signer})
	return nil
}

// AddKey lets a further key verify. A key whose ID is in use is an InvalidError.
func (j *JWTSecurity) AddKey(key Key) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	old := j.keys.Load()
	if err := j.setKeys(append(slices.Clone(old.list), key.key), old.signer); err != nil {
		return err
	}
	j.bump("")
	return nil
}

// Rotate makes a key the one that signs, and lets it verify. What the other keys signed stays valid until they are removed.
func (j *JWTSecurity) Rotate(key Key) error {
	if !key.key.CanSign() {
		return &InvalidError{What: "key", Value: quote(key.ID()), Want: "a key that can sign"}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.keys.Load().list
	if !slices.Contains(list, key.key) {
		list = append(slices.Clone(list), key.key)
	}
	if err := j.setKeys(list, key.key); err != nil {
		return err
	}
	j.bump("")
	return nil
}

// RemoveKey takes a key out of force, by its ID: what it signed is refused from now on, and leases that rest on it end. The
// key that signs cannot be removed, nor one of several without an ID: Rotate first.
func (j *JWTSecurity) RemoveKey(id string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	old := j.keys.Load()
	list := slices.DeleteFunc(slices.Clone(old.list), func(k *token.Key) bool { return k.ID() == id && k != old.signer })
	if len(list) != len(old.list)-1 || len(list) == 0 {
		return invalid("key id", id, "the id of one key in force that does not sign and is not the last: rotate first")
	}
	if err := j.setKeys(list, old.signer); err != nil {
		return err
	}
	j.bump("")
	return nil
}

// credentialError is a refused token. Its text is always the same.
type credentialError struct{ reason error }

func (e *credentialError) Error() string { return ErrUnauthenticated.Error() }

func (e *credentialError) Is(target error) bool {
	return target == ErrUnauthenticated || target == ErrExpired && errors.Is(e.reason, token.Expired) ||
		target == ErrRevoked && e.reason == ErrRevoked
}

// Authenticate returns whom a token proves and how far it reaches. Any refusal is ErrUnauthenticated; a StaleError is none.
func (j *JWTSecurity) Authenticate(_ context.Context, text string) (Principal, error) {
	v, err := j.verify(text)
	switch {
	case errors.Is(err, ErrUndecided):
		return Principal{}, err
	case err != nil:
		return Principal{}, &credentialError{err}
	}
	return v.principal(), nil
}

// AuthorizeToken is sssn's check of a token, a channel and an operation in one call. The error is ErrUnauthenticated for a
// token that proves nobody, a PermissionError for one that does not reach that far, and a StaleError as of Authenticate.
func (j *JWTSecurity) AuthorizeToken(ctx context.Context, text, channelID string, op Operation) (Principal, error) {
	p, err := j.Authenticate(ctx, text)
	if err != nil {
		return Principal{}, err
	}
	if err := CheckChannelID(channelID); err != nil {
		return Principal{}, err
	}
	op = Operation(lower(string(op)))
	if err := p.credential.covers(channelID, op, j.now()); err != nil {
		return Principal{}, denied(p.SystemID, channelID, op, grantReason(err), err)
	}
	return p, nil
}

// verify returns what a valid token says.
func (j *JWTSecurity) verify(text string) (*jwtCredential, error) {
	if len(text) > j.maxBytes {
		return nil, token.TooLong
	}
	var sum [sha256.Size]byte
	if j.cache != nil {
		sum = j.cache.sum(text)
		if v := j.cache.get(&sum); v != nil && v.keyInForce() {
			if err := j.door.Recheck(&v.token); err != nil {
				return nil, err
			}
			return v, v.revoked()
		}
	}
	t, err := j.door.Borrow(j.keys.Load().set, text)
	if err != nil {
		return nil, err
	}
	v, err := j.read(t)
	j.door.Return(t)
	if err != nil {
		return nil, err
	}
	if err := v.revoked(); err != nil {
		return nil, err
	}
	if j.cache != nil {
		v.sum = sum
		j.cache.put(v)
	}
	return v, nil
}

// jwtCredential is a verified token. It is immutable.
type jwtCredential struct {
	*JWTSecurity
	sum      [sha256.Size]byte
	token    token.Token         // without its claims
	handed   Grant               // the principal's, which others may get their hands on
	grant    Grant               // ours
	channels map[string]struct{} // where the grant lists many
	parent   *parent             // of a token that Delegate made
}

// manyChannels is from how many on a set is faster than a list.
const manyChannels = 8

// read reads the claims that make a principal.
func (j *JWTSecurity) read(t *token.Token) (*jwtCredential, error) {
	v := &jwtCredential{JWTSecurity: j, token: t.WithoutClaims()}
	g := &v.grant
	claim, _ := t.Claim("role")
	text, _ := claim.Text()
	role, err := ParseRole(text)
	if err != nil || !goodName("system id", t.Subject) {
		return nil, token.BadClaims
	}
	g.Role = role
	switch claim, _ = t.Claim("channels"); claim.Kind() {
	case strictjson.KindNone, strictjson.KindNull:
		if j.noAllChannels {
			return nil, token.BadClaims
		}
		g.AllChannels = true
	default:
		list, ok := claim.Strings(maxTokenChannels)
		if !ok {
			return nil, token.BadClaims
		}
		for _, id := range list {
			if !goodName("channel id", id) {
				return nil, token.BadClaims
			}
		}
		g.Channels = list
		if len(list) > manyChannels {
			v.channels = make(map[string]struct{}, len(list))
			for _, id := range list {
				v.channels[id] = struct{}{}
			}
		}
	}
	if v.parent, err = readParent(t); err != nil {
		return nil, err
	}
	g.ExpiresAt, g.TokenID = t.ExpiresAt.Add(j.leeway), t.ID
	v.handed = v.grant
	v.handed.Channels = slices.Clone(g.Channels)
	return v, nil
}

func (v *jwtCredential) principal() Principal {
	return Principal{SystemID: v.token.Subject, Proof: ProofToken, Grant: &v.handed, credential: v}
}

// goodName reports whether checkName finds nothing, which is soon clear of printable ASCII.
func goodName(what, id string) bool {
	for _, c := range []byte(id) {
		if c < ' ' || c > '~' {
			return checkName(what, id) == nil
		}
	}
	return id != "" && len(id) <= maxIDBytes
}

func (v *jwtCredential) covers(channelID string, op Operation, now time.Time) error {
	if v.channels == nil {
		return v.grant.Covers(channelID, op, now)
	}
	all := v.grant
	all.AllChannels = true
	if err := all.Covers(channelID, op, now); err != nil {
		return err
	}
	if _, ok := v.channels[channelID]; !ok {
		return ErrGrant
	}
	return nil
}

func (v *jwtCredential) expires() time.Time { return v.grant.ExpiresAt }

func (v *jwtCredential) source() Versioned { return v.JWTSecurity }

func (v *jwtCredential) keyInForce() bool {
	return slices.Contains(v.keys.Load().list, v.token.Key)
}

// revoked returns ErrRevoked if the token, its subject or its key was revoked, and a StaleError if they may have been.
func (v *jwtCredential) revoked() error {
	j := v.JWTSecurity
	if !v.keyInForce() {
		return ErrRevoked
	}
	if v.token.ID != "" && j.tokens.Get(v.token.ID) != nil {
		return ErrRevoked
	}
	if r := j.subjects.Get(v.token.Subject); r != nil && (v.token.IssuedAt.IsZero() || v.token.IssuedAt.Unix() <= r.cutOff) {
		return ErrRevoked
	}
	if v.parent != nil && v.parent.revokedIn(j) {
		return ErrRevoked
	}
	return j.fresh()
}

// AuthorizeRead says yes to in-process ports, unless the options say otherwise.
func (j *JWTSecurity) AuthorizeRead(ctx context.Context, systemID, channelID string) (bool, error) {
	return j.authorize(ctx, systemID, channelID, OpRead)
}

// AuthorizeWrite says yes to in-process ports, unless the options say otherwise.
func (j *JWTSecurity) AuthorizeWrite(ctx context.Context, systemID, channelID string) (bool, error) {
	return j.authorize(ctx, systemID, channelID, OpWrite)
}

// AuthorizeAdmin says yes to in-process ports, unless the options say otherwise.
func (j *JWTSecurity) AuthorizeAdmin(ctx context.Context, systemID, channelID string) (bool, error) {
	return j.authorize(ctx, systemID, channelID, OpAdmin)
}

func (j *JWTSecurity) authorize(ctx context.Context, systemID, channelID string, op Operation) (bool, error) {
	req := Request{Principal: Principal{SystemID: systemID}, ChannelID: channelID, Operation: op, local: true}
	if p, remote := principalOf(ctx); remote {
		req.local = false
		if p.SystemID == systemID {
			req.Principal = p // what is known of the caller is not known of whom a decorator asks about instead
		}
	}
	d, err := j.Decide(ctx, req)
	return d.Allowed, err
}

// Decide says yes to the holders of its own tokens, unless those were revoked: what a token reaches is for the guard to
// enforce. For everybody else see JWTSecurity. The error is a StaleError, or that of the Authorizer of JWTLocal.
func (j *JWTSecurity) Decide(ctx context.Context, req Request) (Decision, error) {
	d := Decision{Version: j.Version()}
	if j.door == nil {
		d.Reason = "NewJWTSecurity did not make this"
		return d, nil
	}
	if req.Operation.Role() == "" {
		d.Reason = "unknown operation"
		return d, nil
	}
	if v, ok := req.Principal.credential.(*jwtCredential); ok && v.JWTSecurity == j && v.token.Subject == req.Principal.SystemID {
		switch err := v.revoked(); {
		case errors.Is(err, ErrUndecided):
			return d, err
		case err != nil:
			d.Reason = "the token was revoked"
			return d, nil
		}
		d.Allowed, d.Reason = true, "token"
		return d, nil
	}
	if err := j.fresh(); err != nil {
		return d, err
	}
	switch {
	case j.local != nil:
		return j.askLocal(ctx, req)
	case !req.local:
		d.Reason = "not authenticated by a token of this security"
	case j.strictLocal:
		d.Reason = "in-process ports are refused"
	default:
		d.Allowed, d.Reason = true, "in-process"
	}
	return d, nil
}

// askLocal asks the authorizer of JWTLocal. Its version is not ours, so that a yes is for once only.
func (j *JWTSecurity) askLocal(ctx context.Context, req Request) (d Decision, err error) {
	if z, ok := j.local.(Decider); ok {
		d, err = z.Decide(ctx, req)
	} else {
		switch req.Operation.Role() {
		case RoleRead:
			d.Allowed, err = j.local.AuthorizeRead(ctx, req.Principal.SystemID, req.ChannelID)
		case RoleWrite:
			d.Allowed, err = j.local.AuthorizeWrite(ctx, req.Principal.SystemID, req.ChannelID)
		case RoleAdmin:
			d.Allowed, err = j.local.AuthorizeAdmin(ctx, req.Principal.SystemID, req.ChannelID)
		}
	}
	if err != nil {
		return Decision{}, err
	}
	d.PerMessage = true
	if soon := time.Now().Add(recheckInterval); d.Until.IsZero() || d.Until.After(soon) {
		d.Until = soon
	}
	return d, nil
}

// GenerateToken signs a token for a subject, with the same strictness with which tokens are read. It fails with an
// InvalidError, or ErrNoSigner.
func (j *JWTSecurity) GenerateToken(_ context.Context, req TokenRequest) (string, error) {
	role, err := req.check()
	if err != nil {
		return "", err
	}
	return j.mint(req, role)
}

// mint signs a token for a request that was checked, with claims beside the usual ones.
func (j *JWTSecurity) mint(req TokenRequest, role Role, more ...token.Claim) (string, error) {
	if req.AllChannels && j.noAllChannels {
		return "", &InvalidError{What: "token request", Value: "AllChannels", Want: "a list of channels: JWTRefuseAllChannels is set"}
	}
	lifetime := cmp.Or(req.ExpiresIn, min(DefaultTokenLifetime, j.maxLifetime))
	if lifetime > j.maxLifetime {
		return "", invalid("token lifetime", lifetime.String(), "at most "+j.maxLifetime.String())
	}
	signer := j.keys.Load().signer
	if signer == nil {
		return "", ErrNoSigner
	}
	now := j.now()
	exp := now.Add(lifetime).Unix()
	if exp <= now.Unix() {
		exp = now.Unix() + 1 // whole seconds, as every verifier reads them, but never expired at birth
	}
	id := uuid.New()
	claims := make([]token.Claim, 0, 8)
	claims = append(claims, token.StringClaim("sub", req.SystemID), token.StringClaim("role", string(role)))
	if !req.AllChannels {
		claims = append(claims, token.ListClaim("channels", req.Channels))
	}
	claims = append(claims, token.IntClaim("iat", now.Unix()), token.IntClaim("exp", exp), token.StringClaim("jti", hex.EncodeToString(id[:])))
	if j.issuer != "" {
		claims = append(claims, token.StringClaim("iss", j.issuer))
	}
	if j.audience != "" {
		claims = append(claims, token.StringClaim("aud", j.audience))
	}
	text, err := token.Sign(signer, j.typ, append(claims, more...))
	if err != nil {
		return "", &InvalidError{What: "token request", Want: "what can be signed: " + err.Error()}
	}
	if len(text) > j.maxBytes {
		return "", &InvalidError{What: "token request", Value: fmt.Sprintf("of %d bytes", len(text)), Want: fmt.Sprintf("fewer or shorter channel ids: at most %d bytes", j.maxBytes)}
	}
	return text, nil
}

// ContentBlind says that messages make no difference.
func (j *JWTSecurity) ContentBlind() {}

// Format prints the name of the type only.
func (j *JWTSecurity) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("chansec.JWTSecurity")) }

// tokenCache remembers verified tokens in sets of a few places each, found by the SHA-256 of the whole text. Readers take
// no lock. A full set gives up what has expired, or one at random.
type tokenCache struct {
	sets    [][cacheWays]atomic.Pointer[jwtCredential]
	buffers sync.Pool // of *[]byte
}

const cacheWays = 8

func newTokenCache(n int) *tokenCache {
	if n == 0 {
		return nil
	}
	size := 1
	for size*cacheWays < n {
		size *= 2
	}
	return &tokenCache{sets: make([][cacheWays]atomic.Pointer[jwtCredential], size), buffers: sync.Pool{New: func() any { return new([]byte) }}}
}

// sum returns the SHA-256 of a text.
func (c *tokenCache) sum(text string) [sha256.Size]byte {
	b := c.buffers.Get().(*[]byte)
	*b = append((*b)[:0], text...)
	s := sha256.Sum256(*b)
	clear(*b)
	c.buffers.Put(b)
	return s
}

func (c *tokenCache) set(sum *[sha256.Size]byte) *[cacheWays]atomic.Pointer[jwtCredential] {
	return &c.sets[binary.LittleEndian.Uint64(sum[:])&uint64(len(c.sets)-1)]
}

func (c *tokenCache) get(sum *[sha256.Size]byte) *jwtCredential {
	set := c.set(sum)
	for i := range set {
		if v := set[i].Load(); v != nil && v.sum == *sum {
			return v
		}
	}
	return nil
}

func (c *tokenCache) put(v *jwtCredential) {
	set := c.set(&v.sum)
	now := v.now()
	at := int(v.sum[8]) % cacheWays
	for i := range set {
		if old := set[i].Load(); old == nil || old.sum == v.sum || !now.Before(old.grant.ExpiresAt) {
			at = i
			break
		}
	}
	set[at].Store(v)
}
