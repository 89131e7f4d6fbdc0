package authn

import (
	"context"
	"fmt"
	"strconv"

	"github.com/chansec/chansec"
)

// User is somebody with a password.
type User struct {
	Principal  string // who they are; empty is the name they gave
	Password   Password
	Roles      []string       // nil: the default ones. Not nil: exactly these
	ClientData any            // returned to them
	ServerData map[string]any // kept for rules
}

// Users is where users are stored. It may be called from many goroutines at once.
type Users interface {
	// LookupUser returns a user, or false if there is none of that name. It should take the same time for both.
	LookupUser(ctx context.Context, name string) (User, bool, error)
}

// Creator is a Users that can take new ones.
type Creator interface {
	Users
	// CreateUser stores a user, with a hash for ParsePassword, unless there is one of that name, which is an error.
	CreateUser(ctx context.Context, name, hash string) (User, error)
}

// PasswordConfig says how passwords are asked for. Its zero value does.
type PasswordConfig struct {
	// PassOn abstains where a password is wrong, so that later handlers are asked. Otherwise it is a denial.
	PassOn bool
	// RefuseIncomplete denies requests without a name or a password, and tells the caller so in ClientData; it is for
	// a handler that is alone in its chain. Otherwise they are left to other handlers. PassOn goes before it.
	RefuseIncomplete bool

	Hashing int // passwords that are looked at at once; 0 is GOMAXPROCS
	Queue   int // logins that may wait for that; 0 is DefaultQueue
}

// UsersConfig is PasswordConfig for NewPasswords.
type UsersConfig struct {
	PasswordConfig

	Iterations int // that a login costs at least, and of new users; 0 is DefaultIterations. Fewer are for tests

	// Create makes a user of everybody who gives a name that is not there yet, with the password they give. Users must be
	// a Creator.
	Create bool
}

// DefaultQueue is how many logins may wait until it is their turn to have their password looked at; more are refused with
// ErrOverloaded.
const DefaultQueue = 128

func (c PasswordConfig) check() error {
	if c.Hashing < 0 || c.Queue < 0 {
		return invalid("PasswordConfig", "a negative number", "positive ones, or 0 for the defaults")
	}
	return nil
}

// Passwords is a handler for users with passwords (valve.md 15.2). An unknown user is left to other handlers; a wrong
// password is a denial. Both take the time that the right one takes. It may be used from many goroutines at once.
type Passwords struct {
	config  UsersConfig
	users   Users
	work    work
	hashing *hashing
}

// NewPasswords makes a handler of stored users, or returns a chansec.InvalidError.
//
// Every login takes as long as config.Iterations of PBKDF2 with SHA-256, whoever it is. A user whose hash costs more, or is
// made in another way, takes that time, and can be told from others: have one cost for all, or use a File, which knows all
// its users.
func NewPasswords(users Users, config UsersConfig) (*Passwords, error) {
	if users == nil {
		return nil, invalid("Users", "nil", "where users are stored")
	}
	if _, ok := users.(Creator); config.Create && !ok {
		return nil, invalid("Users", "", "a Creator, as Create is set")
	}
	if config.Iterations < 0 || config.Iterations > MaxIterations {
		return nil, invalid("Iterations", strconv.Itoa(config.Iterations), "1 to 6000000, or 0 for 600000")
	}
	if err := config.check(); err != nil {
		return nil, err
	}
	setDefault(&config.Iterations, DefaultIterations)
	return &Passwords{config: config, users: users, work: work{{sha256Name, 32}: config.Iterations},
		hashing: newHashing(config.Hashing, config.Queue)}, nil
}

// Format writes no more than what it is, as that of Chain does.
func (p *Passwords) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authn.Passwords")) }

// Authenticate looks a user up and compares the password.
func (p *Passwords) Authenticate(ctx context.Context, r *Request) (Response, error) {
	if answer, incomplete := p.config.incomplete(r); incomplete {
		return answer, nil
	}
	user, found, err := p.users.LookupUser(ctx, r.Principal)
	switch {
	case err != nil:
		return Response{}, fmt.Errorf("authn: a user could not be looked up: %w", err)
	case !found && p.config.Create && len(r.Credentials) > 0:
		return p.create(ctx, r)
	}
	return p.config.compare(ctx, p.hashing, p.work, r, &user, found)
}

// incomplete answers a request without a name or a password.
func (c PasswordConfig) incomplete(r *Request) (Response, bool) {
	switch {
	case r.Principal != "" && r.Credentials != nil:
		return Response{}, false
	case c.RefuseIncomplete && !c.PassOn:
		return Response{Reason: "no name or no password", ClientData: map[string]any{
			"error": "missing authentication parameter: username or/and password"}}, true
	}
	return Response{Answer: Abstain, Reason: "no name or no password"}, true
}

// compare answers for a user. It is the only place that compares passwords.
func (c PasswordConfig) compare(ctx context.Context, h *hashing, w work, r *Request, user *User, found bool) (Response, error) {
	if err := h.enter(ctx); err != nil {
		return Response{}, err
	}
	defer h.leave()
	stored := &user.Password
	if !found {
		stored = nil
	}
	right, err := w.verify(stored, r.Credentials)
	switch {
	case err != nil:
		return Response{}, err
	case right && found:
		return user.response(r.Principal), nil
	case !found:
		return Response{Answer: Abstain, Reason: "unknown user"}, nil
	case c.PassOn:
		return Response{Answer: Abstain, Reason: "wrong password"}, nil
	}
	return Response{Reason: "wrong password"}, nil
}

func (u *User) response(name string) Response {
	if u.Principal != "" {
		name = u.Principal
	}
	return Response{Answer: Allow, Principal: name, Proof: ProofPassword, Roles: u.Roles, ClientData: u.ClientData, ServerData: u.ServerData}
}

func (p *Passwords) create(ctx context.Context, r *Request) (Response, error) {
	if err := chansec.CheckSystemID(r.Principal); err != nil {
		return Response{}, err
	}
	if err := p.hashing.enter(ctx); err != nil {
		return Response{}, err
	}
	hash, err := HashPassword(string(r.Credentials), p.config.Iterations)
	p.hashing.leave()
	if err != nil {
		return Response{}, err
	}
	user, err := p.users.(Creator).CreateUser(ctx, r.Principal, hash)
	if err != nil {
		return Response{}, fmt.Errorf("authn: a user could not be created: %w", err)
	}
	return user.response(r.Principal), nil
}
