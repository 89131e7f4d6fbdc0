package authn

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chansec/chansec"
)

// Entry is a handler in its place in a chain.
type Entry struct {
	Name    string // unique in the chain; in votes and in the audit trail
	Handler Handler
	Timeout time.Duration // of one call; 0 is DefaultHandlerTimeout
}

// Config is what a chain is made of. Its zero value makes a chain that refuses everybody.
type Config struct {
	Handlers []Entry // highest priority first

	// Roles returns the roles that a principal has where the handler that lets them in names none; "" is anonymous. Nil
	// leaves it at those of the request. It may be called from many goroutines at once.
	Roles func(principal string) []string

	// Parallel asks all handlers at once. The result is the same; what is gained is time where several handlers wait for
	// others, and what it costs is that handlers are asked in vain.
	Parallel bool

	Timeout time.Duration // of a whole login; 0 is DefaultTimeout
	Calls   int           // to one handler that may not have returned yet; 0 is DefaultCalls

	// Token reads the token of Authenticate; nil is BearerToken.
	Token func(token string) (principal string, credentials []byte)

	// Observe is told how every login ended, before it is answered, from many goroutines at once. If it fails, nobody is
	// let in: the error is chansec.ErrAudit.
	Observe func(ctx context.Context, a Attempt) error
}

// Defaults of a chain.
const (
	DefaultHandlerTimeout = 10 * time.Second
	DefaultTimeout        = 30 * time.Second
	DefaultCalls          = 1024
)

// Bounds of a request and of what a handler may answer. What is beyond them is refused.
const (
	maxCredentials = 64 << 10 // bytes
	maxProperties  = 256
	maxProperty    = 8 << 10 // bytes of a name and its value
	maxRoles       = 1024
)

// ErrOverloaded: a handler was not asked, or a password not looked at, because too many before are not done yet. It is
// chansec.ErrLimit.
var ErrOverloaded = fmt.Errorf("authn: overloaded: %w", chansec.ErrLimit)

// Chain asks handlers, one after the other in the order of their priority, until one allows or denies (diffusion.md 9.1).
// Where all abstain, or there is none, it is a denial. A handler that fails, panics, is late or gives an answer that makes
// no sense has denied. Its zero value refuses everybody. It may be used from many goroutines at once.
//
// A handler that is late is not waited for, and its answer comes to nothing. It keeps its goroutine for as long as it does
// not return: when Config.Calls of them are waiting in one handler, that handler fails with ErrOverloaded without being
// asked.
type Chain struct {
	config  Config
	entries []entry
}

var _ chansec.Authenticator = (*Chain)(nil)

// entry is a handler with all that is known about it.
type entry struct {
	Entry
	calls *calls
}

// Format writes no more than what it is, whatever the verb: some look into handlers.
func (c *Chain) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authn.Chain")) }

// NewChain makes a chain, or returns a chansec.InvalidError.
func NewChain(config Config) (*Chain, error) {
	switch {
	case config.Timeout < 0:
		return nil, invalid("Timeout of a chain", config.Timeout.String(), "a positive duration, or 0 for the default")
	case config.Calls < 0:
		return nil, invalid("Calls of a chain", strconv.Itoa(config.Calls), "a positive number, or 0 for the default")
	}
	config.Handlers = slices.Clone(config.Handlers)
	setDefault(&config.Timeout, DefaultTimeout)
	setDefault(&config.Calls, DefaultCalls)
	if config.Token == nil {
		config.Token = BearerToken
	}
	entries, err := newEntries(config.Handlers, config.Calls)
	if err != nil {
		return nil, err
	}
	return &Chain{config: config, entries: entries}, nil
}

func setDefault[T time.Duration | int](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

func newEntries(handlers []Entry, most int) ([]entry, error) {
	var entries []entry
	names, kinds := map[string]bool{}, map[string]bool{}
	for _, e := range handlers {
		switch {
		case chansec.CheckSystemID(e.Name) != nil:
			return nil, invalid("name of a handler", e.Name, "1 to 512 bytes of UTF-8 without control characters")
		case names[e.Name]:
			return nil, invalid("name of a handler", e.Name, "a name that no other handler has")
		case e.Handler == nil:
			return nil, invalid("Handler", e.Name, "a handler, not nil")
		case e.Timeout < 0:
			return nil, invalid("Timeout of a handler", e.Timeout.String(), "a positive duration, or 0 for the default")
		}
		if s, ok := e.Handler.(single); ok {
			if kinds[s.single()] {
				return nil, invalid("Handler", e.Name, "at most one "+s.single()+" handler")
			}
			kinds[s.single()] = true
		}
		names[e.Name] = true
		setDefault(&e.Timeout, DefaultHandlerTimeout)
		entries = append(entries, entry{e, newCalls(most)})
	}
	return entries, nil
}

// single is a kind of handler of which a chain has one at most.
type single interface {
	Handler
	single() string // the name of the kind
}

// Attempt is how a login ended. It holds no credentials.
type Attempt struct {
	Time       time.Time // when it began
	Asked      string    // the name in the request, which may be anything; empty is anonymous, or unknown beforehand
	Change     bool      // of the principal of an open session
	Transport  string
	RemoteAddr string

	Outcome  chansec.Outcome
	SystemID string        // who was let in; empty where nobody was, and for an anonymous one
	Proof    chansec.Proof // how they proved it
	TokenID  string        // of their grant, if there is one
	By       string        // the handler that decided; empty where all abstained
	Reason   string        // of that handler, or why none was asked
	Err      error         // the failure, where Outcome is chansec.Undecided
	Votes    []Vote        // as in Login; read-only
	Took     time.Duration
}

// Login lets somebody in, or returns a RefusedError.
//
// Who names nobody is anonymous, whatever the credentials are; a handler may find a name in the credentials. Roles that the
// handler does not name are those that Config.Roles has for who they turned out to be, but an anonymous caller without
// credentials who was given a name keeps those of an anonymous one (diffusion.md 9.2).
func (c *Chain) Login(ctx context.Context, r *Request) (*Login, error) {
	return c.observed(ctx, r, false)
}

// observed lets somebody in, or not, and tells the observer. Whether an anonymous login is one depends.
func (c *Chain) observed(ctx context.Context, r *Request, named bool) (*Login, error) {
	began := time.Now()
	login, err := c.login(ctx, r, named)
	if c.config.Observe == nil {
		if err != nil {
			return nil, err
		}
		return login, nil
	}
	a := Attempt{Time: began, Took: time.Since(began)}
	if r != nil {
		a.Asked, a.Change = shorten(r.Principal), r.Change
		a.Transport, a.RemoteAddr = r.Connection.Transport, r.Connection.RemoteAddr
	}
	if err != nil {
		a.By, a.Votes, a.Err = err.By, err.Votes, err.Err
		if err.Err != nil {
			a.Outcome = chansec.Undecided
		}
	} else {
		p := login.Principal
		a.Outcome, a.SystemID, a.Proof, a.By, a.Votes = chansec.Allowed, p.SystemID, p.Proof, login.By, login.Votes
		if p.Grant != nil {
			a.TokenID = p.Grant.TokenID
		}
	}
	switch last := len(a.Votes) - 1; {
	case a.By != "" && last >= 0:
		a.Reason = a.Votes[last].Reason
	case last >= 0:
		a.Reason = "all handlers abstained"
	default:
		a.Reason = "no handler was asked"
	}
	if failed := c.observe(ctx, a); failed != nil {
		return nil, &RefusedError{By: a.By, Votes: a.Votes, Err: fmt.Errorf("%w: %w", chansec.ErrAudit, undecided(failed))}
	}
	if err != nil {
		return nil, err
	}
	return login, nil
}

// observe tells the observer. A panic is a failure.
func (c *Chain) observe(ctx context.Context, a Attempt) (err error) {
	defer recovered(&err)
	return c.config.Observe(ctx, a)
}

// login is Login without the observer.
func (c *Chain) login(ctx context.Context, r *Request, named bool) (*Login, *RefusedError) {
	if r == nil {
		return nil, &RefusedError{Err: invalid("Request", "nil", "one")}
	}
	if !r.sensible() {
		return nil, &RefusedError{} // says no more, and shows nobody the bounds
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	asked := *r
	if c.config.Roles != nil {
		roles, err := c.roles(r.Principal)
		if err != nil {
			return nil, &RefusedError{Err: err}
		}
		asked.Roles = roles
	}
	answer, votes := walk(ctx, c.entries, &asked, c.config.Parallel)
	if answer == nil {
		return nil, &RefusedError{Votes: votes}
	}
	v := &votes[len(votes)-1]
	if v.Answer == Allow {
		login, err := c.admit(&asked, answer)
		switch {
		case err != nil:
			v.Answer, v.Err = Deny, err
		case named && login.Principal.SystemID == "":
			v.Answer, v.Reason, answer.ClientData = Deny, "the token names nobody", nil
		default:
			login.By, login.Votes = v.Handler, votes
			return login, nil
		}
	}
	refused := &RefusedError{By: v.Handler, Votes: votes, ClientData: answer.ClientData}
	if v.Err != nil && (!errors.Is(v.Err, chansec.ErrUnauthenticated) || errors.Is(v.Err, chansec.ErrUndecided)) {
		refused.Err = undecided(v.Err)
	}
	return nil, refused
}

// roles asks Config.Roles. A panic is a failure.
func (c *Chain) roles(principal string) (roles []string, err error) {
	defer recovered(&err)
	return c.config.Roles(principal), nil
}

// undecided is a failure that is no denial at the same time.
func undecided(err error) error {
	if errors.Is(err, chansec.ErrUnauthenticated) || errors.Is(err, chansec.ErrPermission) {
		return errors.New(err.Error())
	}
	return err
}

// walk asks handlers until one does not abstain. It returns that one's answer, or nil, and the votes up to it.
func walk(ctx context.Context, entries []entry, r *Request, parallel bool) (*Response, []Vote) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var started []*call
	if parallel {
		for i := range entries {
			started = append(started, entries[i].start(ctx, r))
		}
	}
	votes := make([]Vote, 0, len(entries))
	for i := range entries {
		var k *call
		if parallel {
			k = started[i]
		} else {
			k = entries[i].start(ctx, r)
		}
		answer, took, err := k.wait(nil)
		v := Vote{Handler: entries[i].Name, Answer: answer.Answer, Reason: shorten(answer.Reason), Err: err, Took: took}
		if err == nil && v.Answer > Abstain {
			v.Err = invalid("answer of a handler", answer.Answer.String(), "Deny, Allow or Abstain")
		}
		if v.Err != nil {
			v.Answer, answer = Deny, Response{ClientData: answer.ClientData}
		}
		votes = append(votes, v)
		if v.Answer != Abstain {
			return &answer, votes
		}
	}
	return nil, votes
}

func (e *entry) start(ctx context.Context, r *Request) *call {
	return e.calls.start(ctx, e.Handler, r, e.Timeout)
}

// ErrCredentialExpired: a handler let somebody in whose time was over. It is chansec.ErrUnauthenticated and
// chansec.ErrExpired.
var ErrCredentialExpired = fmt.Errorf("%w: %w", chansec.ErrUnauthenticated, chansec.ErrExpired)

// admit makes a login of what a handler allowed.
func (c *Chain) admit(r *Request, a *Response) (*Login, error) {
	name, roles, expires, err := a.fixed()
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = r.Principal
	}
	if name != "" && chansec.CheckSystemID(name) != nil {
		return nil, invalid("principal that a handler answered", "", "1 to 512 bytes of UTF-8 without control characters")
	}
	if roles == nil {
		roles = r.Roles
		if anonymous := r.Principal == "" && len(r.Credentials) == 0; name != r.Principal && !anonymous && c.config.Roles != nil {
			if roles, err = c.roles(name); err != nil {
				return nil, err
			}
		}
	}
	if len(roles) > maxRoles || slices.Contains(roles, "") {
		return nil, invalid("roles that a handler answered", "", "at most 1024 names, none of them empty")
	}
	roles = slices.Clone(roles)
	slices.Sort(roles)

	login := &Login{ClientData: a.ClientData, ExpiresAt: expires}
	if login.Properties, err = a.properties(); err != nil {
		return nil, err
	}
	p := &login.Principal
	if a.Verified != nil {
		*p = *a.Verified
	}
	p.SystemID, p.Proof, p.Grant = name, a.Proof, bounded(a.Grant, expires)
	p.Roles, p.Attributes = slices.Compact(roles), maps.Clone(a.ServerData)
	if g := p.Grant; g != nil {
		if !time.Now().Before(g.ExpiresAt) {
			return nil, ErrCredentialExpired
		}
		login.ExpiresAt = g.ExpiresAt
	}
	return login, nil
}

// bounded returns a copy of a grant that ends at a time, if it would not end before. Zero is never.
func bounded(g *chansec.Grant, at time.Time) *chansec.Grant {
	switch {
	case g == nil && at.IsZero():
		return nil
	case g == nil: // no bound but that of time
		return &chansec.Grant{Role: chansec.RoleAdmin, AllChannels: true, ExpiresAt: at}
	}
	own := *g
	own.Channels = slices.Clone(g.Channels)
	if !at.IsZero() && at.Before(own.ExpiresAt) {
		own.ExpiresAt = at
	}
	return &own
}

// Authenticate lets somebody in who has nothing but a token, or returns a RefusedError. Nobody is let in without a name: an
// anonymous login is refused. The handlers see a request without a connection, so that those that look at one abstain.
//
// Where Config.Token is BearerToken, the token is the credentials and the request names nobody. Handlers that find out who
// it is then belong before those that have an answer for anonymous callers.
func (c *Chain) Authenticate(ctx context.Context, token string) (chansec.Principal, error) {
	if token == "" || c.config.Token == nil {
		return chansec.Principal{}, &RefusedError{}
	}
	r, err := c.read(token)
	if err != nil {
		return chansec.Principal{}, &RefusedError{Err: err}
	}
	login, err := c.observed(ctx, r, true)
	if err != nil {
		return chansec.Principal{}, err
	}
	return login.Principal, nil
}

// read makes a request of a token. A panic is a failure.
func (c *Chain) read(token string) (r *Request, err error) {
	defer recovered(&err)
	r = &Request{}
	r.Principal, r.Credentials = c.config.Token(token)
	return r, nil
}

// BearerToken reads a token that is a credential by itself, such as a JWT: it names nobody.
func BearerToken(token string) (principal string, credentials []byte) { return "", []byte(token) }

// PasswordToken reads a token that is a name and a password with a colon between, as in RFC 7617 before it is encoded in
// base64: the name ends at the first colon. A token without a name and a colon is read by BearerToken.
func PasswordToken(token string) (principal string, credentials []byte) {
	name, password, found := strings.Cut(token, ":")
	if !found || name == "" {
		return BearerToken(token)
	}
	return name, []byte(password)
}

// BasicToken is PasswordToken for a name and a password that are encoded in base64, as in RFC 7617, so that any password
// fits into a header of HTTP. Any other token is read by BearerToken.
func BasicToken(token string) (principal string, credentials []byte) {
	text, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || !utf8.Valid(text) || strings.ContainsAny(token, "\r\n") || bytes.IndexByte(text, ':') < 1 {
		return BearerToken(token)
	}
	return PasswordToken(string(text))
}

func invalid(what, value, want string) error {
	if value != "" {
		value = strconv.Quote(shorten(value))
	}
	return &chansec.InvalidError{What: what, Value: value, Want: want}
}

// shorten cuts what came from outside.
func shorten(s string) string {
	const most = 512
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
