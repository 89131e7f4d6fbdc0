package chansec

import (
	"context"
	"time"
	"unicode"
	"unicode/utf8"
)

// ChannelSecurity is who, what and the means to prove it. Each part can be had alone; Join makes one of three. It may be
// called from many goroutines at once.
type ChannelSecurity interface {
	Authenticator
	Authorizer
	TokenIssuer
}

// Authenticator finds out whom a credential proves.
type Authenticator interface {
	// Authenticate returns the principal of a token, or an error: ErrUnauthenticated (also for what is expired,
	// revoked or malformed), or any other if it could not be found out. No error may hold the token.
	Authenticate(ctx context.Context, token string) (Principal, error)
}

// Authorizer decides. False with a nil error is a denial; an error means that no decision could be made, and stops the
// operation too. An error that is ErrPermission is a denial that keeps its cause.
//
// The implementation sees the name only. One that needs more implements Decider, too.
type Authorizer interface {
	AuthorizeRead(ctx context.Context, systemID, channelID string) (bool, error)
	AuthorizeWrite(ctx context.Context, systemID, channelID string) (bool, error)
	AuthorizeAdmin(ctx context.Context, systemID, channelID string) (bool, error)
}

// TokenIssuer makes credentials.
type TokenIssuer interface {
	GenerateToken(ctx context.Context, req TokenRequest) (string, error)
}

// Decider is an Authorizer that gives richer answers. The guard asks it instead of Authorize*.
//
// Authorize* may say yes only where Decide would for every message and operation of that class, so that a decorator that
// hides Decide can only deny more.
type Decider interface {
	Decide(ctx context.Context, req Request) (Decision, error)
}

// Versioned is an Authorizer whose decisions stay true until its version changes. Without it, the guard asks again for
// every delivery, and every second for leases that are idle.
//
// A change publishes the new state first, then the version, then closes the channel that Changed returned, all of it
// before the call that made the change returns.
type Versioned interface {
	Version() uint64
	// Changed returns a channel that is closed when the version becomes another than it is now.
	Changed() <-chan struct{}
}

// Affected is a Versioned that knows whom its changes were about. Their leases are looked at first. It is a hint: everybody
// else's are looked at as well.
type Affected interface {
	Versioned
	// AffectedSince returns the system IDs that the changes after a version were about, or none if it does not know.
	AffectedSince(version uint64) []string
}

// ContentBlind is a Decider that never looks at Request.Message, which saves the guard from providing it.
type ContentBlind interface {
	ContentBlind()
}

// Request is what a Decider is asked.
type Request struct {
	Principal Principal
	ChannelID string
	Operation Operation
	// Message is what is to be written (without ID and time) or delivered, or, of what is to be deleted, the key; nil for
	// operations on no message in particular, and always nil for a ContentBlind decider. It is read-only.
	Message *Message[any]
	// Previous is what Message replaces or, for OpDelete, takes away: the last one under its key. Nil where there is none,
	// in channels without keys, and always for a ContentBlind decider. It is read-only.
	Previous *Message[any]

	local bool // a port that the program wired itself with As
}

// Decision is an answer. Its zero value is a denial.
type Decision struct {
	Allowed    bool
	Reason     string    // for people; in a denial it becomes part of the error. No payload, no secret
	Rule       string    // what decided
	Version    uint64    // of the state that was looked at
	Until      time.Time // a yes may not be reused from then on; zero: no such time
	PerMessage bool      // a yes holds for this message only
}

// Proof is how a principal was proved. The zero value means that it was not: the credential was a mere name. Every
// transport refuses that unless told otherwise. Authenticators name their own methods.
type Proof string

const (
	// ProofNone is a name without proof.
	ProofNone Proof = ""
	// ProofToken is a signed token.
	ProofToken Proof = "token"
)

// Principal is who a credential proved, and the most that the credential lets them do. It is read-only, with all that it
// refers to.
type Principal struct {
	SystemID   string
	Proof      Proof
	Grant      *Grant         // nil only for a credential that sets no bound
	Roles      []string       // that the authenticator vouches for, never copied from foreign claims unasked
	Attributes map[string]any // server data for rules

	// credential is the bound as it was issued, and whether it was revoked since. The guard enforces it beside Grant,
	// so that whatever happens to the exported fields on the way can only narrow. A copy of the principal keeps it.
	credential credential

	live *liveness // the caller whom the principal follows; nil for none. See Live
}

// credential is a verified token, as the guard sees it.
type credential interface {
	Versioned
	covers(channelID string, op Operation, now time.Time) error // ErrExpired, ErrGrant
	revoked() error                                             // ErrRevoked, or ErrUndecided if nobody can say
	expires() time.Time
	source() Versioned // what Version and Changed belong to, the same for all its credentials
}

// Grant is an upper bound carried by a credential. Its zero value allows nothing.
type Grant struct {
	Role        Role
	AllChannels bool
	Channels    []string // exactly these, byte for byte; looked at only if AllChannels is false
	ExpiresAt   time.Time
	TokenID     string // jti
}

// Covers reports whether the grant reaches an operation on a channel at a time: nil, or ErrExpired or ErrGrant. A nil
// grant covers nothing.
func (g *Grant) Covers(channelID string, op Operation, now time.Time) error {
	if g == nil {
		return ErrGrant
	}
	if !now.Before(g.ExpiresAt) {
		return ErrExpired
	}
	if g.Role.rank() < op.Role().rank() || op.Role() == "" {
		return ErrGrant
	}
	if g.AllChannels {
		return nil
	}
	for _, id := range g.Channels {
		if id == channelID {
			return nil
		}
	}
	return ErrGrant
}

// TokenRequest is what GenerateToken makes a credential for. Its zero value is refused.
type TokenRequest struct {
	SystemID    string
	Role        Role
	AllChannels bool          // every channel, and Channels must be empty
	Channels    []string      // exactly these; empty is none
	ExpiresIn   time.Duration // 0 is DefaultTokenLifetime, or the security's maximum if that is shorter
}

// DefaultTokenLifetime is how long a token lasts that was asked for without a lifetime.
const DefaultTokenLifetime = 24 * time.Hour

// Bounds of what a token may name.
const (
	maxTokenChannels = 256
	maxIDBytes       = 512
)

func (r TokenRequest) check() (Role, error) {
	role, err := ParseRole(string(r.Role))
	if err != nil {
		return "", err
	}
	if err := checkName("system id", r.SystemID); err != nil {
		return "", err
	}
	if r.AllChannels && len(r.Channels) > 0 {
		return "", invalid("token request", "AllChannels with Channels", "one of the two")
	}
	if len(r.Channels) > maxTokenChannels {
		return "", invalid("token request", "too many channels", "at most 256 channels, or AllChannels")
	}
	for _, id := range r.Channels {
		if err := checkName("channel id", id); err != nil {
			return "", err
		}
	}
	if r.ExpiresIn < 0 {
		return "", invalid("token lifetime", r.ExpiresIn.String(), "a positive duration, or 0 for the default")
	}
	return role, nil
}

// Role is how much a grant lets its holder do: read, write or admin, each including the one before. It is compared after
// lower-casing ASCII letters. Its zero value is no role.
type Role string

// The roles.
const (
	RoleRead  Role = "read"
	RoleWrite Role = "write"
	RoleAdmin Role = "admin"
)

// ranks is the roles in order.
var ranks = [...]Role{RoleRead, RoleWrite, RoleAdmin}

// ParseRole returns the role in lower case, or an InvalidError.
func ParseRole(s string) (Role, error) {
	if r := Role(lower(s)); r.rank() > 0 {
		return r, nil
	}
	return "", invalid("role", s, `"read", "write" or "admin"`)
}

// rank orders roles; 0 is no role.
func (r Role) rank() int {
	switch r {
	case RoleRead:
		return 1
	case RoleWrite:
		return 2
	case RoleAdmin:
		return 3
	}
	if l := lower(string(r)); l != string(r) {
		return Role(l).rank()
	}
	return 0
}

// lower lower-cases ASCII letters and nothing else: strings.ToLower makes the Turkish capital I with dot an i.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// Operation is what a port does on a channel. Each belongs to the class of one role.
type Operation string

// The operations, by the role they take.
const (
	OpRead        Operation = "read"
	OpSubscribe   Operation = "subscribe"
	OpClaim       Operation = "claim"
	OpAcknowledge Operation = "acknowledge"
	OpNack        Operation = "nack"
	OpExtend      Operation = "extend"
	OpInfo        Operation = "info"

	OpWrite  Operation = "write"
	OpDelete Operation = "delete" // of what a keyed channel holds under a key

	OpAdmin  Operation = "admin" // any of the class; the guard itself always names one of the following
	OpClear  Operation = "clear"
	OpEvict  Operation = "evict"
	OpRemove Operation = "remove"
)

// Role returns the role that the operation takes, or "" for an unknown operation, which no role allows.
func (op Operation) Role() Role {
	if rank := op.rank(); rank > 0 {
		return ranks[rank-1]
	}
	return ""
}

// rank is that of the operation's role; 0 is an unknown operation.
func (op Operation) rank() int {
	switch op {
	case OpRead, OpSubscribe, OpClaim, OpAcknowledge, OpNack, OpExtend, OpInfo:
		return 1
	case OpWrite, OpDelete:
		return 2
	case OpAdmin, OpClear, OpEvict, OpRemove:
		return 3
	}
	return 0
}

// text is the operation for an error, quoted unless it is known.
func (op Operation) text() string {
	if op.Role() == "" && op != OpAuthenticate {
		return quote(string(op))
	}
	return string(op)
}

// ParseOperation returns the operation in lower case, or an InvalidError.
func ParseOperation(s string) (Operation, error) {
	if op := Operation(lower(s)); op.Role() != "" {
		return op, nil
	}
	return "", invalid("operation", s, `"read", "write", "admin" or one of the finer ones`)
}

// CheckChannelID returns an InvalidError unless id is non-empty UTF-8 of at most 512 bytes without control characters.
// IDs are compared byte for byte: no case folding, no normalisation. The separators / and . are ordinary here.
func CheckChannelID(id string) error { return checkID("channel id", id) }

// CheckSystemID is CheckChannelID for the names of callers.
func CheckSystemID(id string) error { return checkID("system id", id) }

func checkID(what, id string) error {
	ok := id != "" && len(id) <= maxIDBytes && utf8.ValidString(id)
	for i := 0; ok && i < len(id); {
		c, n := utf8.DecodeRuneInString(id[i:])
		ok = !unicode.IsControl(c)
		i += n
	}
	if !ok {
		return invalid(what, id, "1 to 512 bytes of UTF-8 without control characters")
	}
	return nil
}

// checkName is checkID for names that go into a token, where U+FFFD is the mark of an ID that was damaged on its way.
func checkName(what, id string) error {
	for _, c := range id {
		if c == utf8.RuneError {
			return invalid(what, id, "valid UTF-8 without U+FFFD")
		}
	}
	return checkID(what, id)
}

// Join makes one security of three parts. What the authorizer can do beyond its interface (Decider, Versioned, Affected,
// ContentBlind) it can still do. It fails if a part is nil.
func Join(a Authenticator, z Authorizer, i TokenIssuer) (ChannelSecurity, error) {
	switch {
	case a == nil:
		return nil, &InvalidError{What: "Authenticator", Value: "nil", Want: "one"}
	case z == nil:
		return nil, &InvalidError{What: "Authorizer", Value: "nil", Want: "one"}
	case i == nil:
		return nil, &InvalidError{What: "TokenIssuer", Value: "nil", Want: "one"}
	}
	j := &joined{a, z, i}
	d, decides := z.(Decider)
	v, versioned := z.(Versioned)
	_, blind := z.(ContentBlind)
	switch {
	case decides && versioned:
		w := &joinedVersions{joinedDecider{j, d}, v}
		if blind {
			return &joinedBlind{w}, nil
		}
		return w, nil
	case decides && blind:
		return &joinedBlindDecider{&joinedDecider{j, d}}, nil
	case decides:
		return &joinedDecider{j, d}, nil
	case versioned:
		return &struct {
			*joined
			Versioned
		}{j, v}, nil
	}
	return j, nil
}

// What the authorizer of a Join can do shows in the type of the result.
type (
	joined struct {
		Authenticator
		Authorizer
		TokenIssuer
	}
	joinedDecider struct {
		*joined
		Decider
	}
	joinedVersions struct {
		joinedDecider
		Versioned
	}
	joinedBlindDecider struct{ *joinedDecider }
	joinedBlind        struct{ *joinedVersions }
)

// AffectedSince asks the authorizer, if it knows.
func (j *joinedVersions) AffectedSince(version uint64) []string {
	if a, ok := j.Versioned.(Affected); ok {
		return a.AffectedSince(version)
	}
	return nil
}

// ContentBlind says that messages make no difference to the authorizer.
func (*joinedBlindDecider) ContentBlind() {}

// ContentBlind says that messages make no difference to the authorizer.
func (*joinedBlind) ContentBlind() {}
