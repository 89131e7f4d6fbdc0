package policy

import (
	"context"
	"strconv"
)

// Config is what a store is made for. It does not change during the store's life. DiffusionConfig, WAMPConfig and
// PlainConfig return the usual ones; the zero value is refused.
type Config struct {
	Vocabulary  Vocabulary
	Inheritance Inheritance
	Separator   Separator
	// DenyRows allows rows that deny (sqlauth.md 4.2), in a store where any ancestor counts.
	DenyRows bool

	// Delegation lets every principal administer what it has the vocabulary's Admin permission for, without a global
	// permission: the paths where it has it, and the roles that are bound to such a path. Each command is checked by itself,
	// in the state that those before it left; see [Tx]. What is neither a path nor a role that is bound is for Root,
	// and for who holds the Modify permission (sqlauth.md 6). It takes a store where any ancestor counts.
	Delegation bool
	// NoSelfGrant leaves out what [Tx.AddRole] gives a new role otherwise: the right to administer itself, so that each of
	// its members may add others (sqlauth.md 6.3).
	NoSelfGrant bool

	// Variables lets the segment $principal of an assigned or isolated path stand for the caller's name: inbox/$principal
	// is inbox/ann for ann, and nothing for who has no name, or is called $principal. Without it, $ is a character like others, as in both
	// systems.
	Variables bool

	// Ceiling refuses every change by an actor other than Root after which anybody, or a role by itself, would have anywhere
	// what they had not before and the actor does not hold there; by whichever command it would come about. Without
	// it, whoever holds the vocabulary's Modify permission may hand out everything, as in Diffusion, and who administers
	// a role may join it. With Delegation, who has the Admin permission on a path holds everything there: it is the
	// right to grant.
	//
	// Principals are looked at with the roles stored for them, now and after each of these ends, and roles by themselves.
	// With NearestAssignment or DenyRows, what an authenticator vouches for beside that can make combinations in which one
	// role hides another, and a change that ends the hiding is not seen.
	Ceiling bool

	// Observe is told of every attempt to change the store, before the change comes into force. If it fails, nothing is
	// changed, and the error is chansec.ErrAudit. It must not change the store itself.
	Observe func(context.Context, Attempt) error

	// MaxSize bounds how many roles, assignments, isolated paths, topics, inclusions, and roles of principals there may be, all
	// together; 0 is DefaultMaxSize.
	MaxSize int
}

// DefaultMaxSize is how large a store becomes at most, unless told otherwise.
const DefaultMaxSize = 10_000_000

// Inheritance is how what is assigned at a path acts on those below it.
type Inheritance uint8

// The rules of inheritance.
const (
	// NearestAssignment: the nearest path with an assignment for any of the roles decides; isolation cuts off what is
	// above, and where nothing is found there are defaults (diffusion.md 6).
	NearestAssignment Inheritance = iota + 1
	// AnyAncestor: a grant at the path or any of its ancestors is enough (sqlauth.md 4).
	AnyAncestor
)

// DiffusionConfig is for a store as Diffusion has it.
func DiffusionConfig() Config {
	return Config{Vocabulary: Diffusion(), Inheritance: NearestAssignment, Separator: Slash}
}

// WAMPConfig is for a store as sqlauth has it.
func WAMPConfig() Config {
	return Config{Vocabulary: WAMP(), Inheritance: AnyAncestor, Separator: Dot}
}

// PlainConfig is for a store of read, write and admin on paths with slashes, where the nearest assignment counts.
func PlainConfig() Config {
	return Config{Vocabulary: Plain(), Inheritance: NearestAssignment, Separator: Slash}
}

// config is a Config in use.
type config struct {
	*vocabulary
	inheritance Inheritance
	separator   Separator
	denyRows    bool
	variables   bool
	ceiling     bool
	delegation  bool
	selfGrant   bool
	observe     func(context.Context, Attempt) error
	maxSize     int
}

func newConfig(c Config) (*config, error) {
	v, err := newVocabulary(c.Vocabulary)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Inheritance != NearestAssignment && c.Inheritance != AnyAncestor:
		return nil, refuse(InvalidArgument, "inheritance", strconv.Itoa(int(c.Inheritance)), "NearestAssignment or AnyAncestor")
	case c.Separator != Slash && c.Separator != Dot:
		return nil, refuse(InvalidArgument, "separator", string(rune(c.Separator)), "Slash or Dot")
	case c.DenyRows && c.Inheritance != AnyAncestor:
		return nil, refuse(InvalidArgument, "deny rows", "NearestAssignment", "AnyAncestor: Diffusion has no negative permission")
	case c.Delegation && c.Inheritance != AnyAncestor:
		return nil, refuse(InvalidArgument, "delegation", "NearestAssignment", "AnyAncestor: elsewhere who administers a path does not administer all below it")
	case c.NoSelfGrant && !c.Delegation:
		return nil, refuse(InvalidArgument, "self-grant", "none", "a store with Delegation")
	case c.MaxSize < 0:
		return nil, refuse(InvalidArgument, "maximum size", strconv.Itoa(c.MaxSize), "a positive number, or 0 for the default")
	}
	max := c.MaxSize
	if max == 0 {
		max = DefaultMaxSize
	}
	return &config{v, c.Inheritance, c.Separator, c.DenyRows, c.Variables, c.Ceiling, c.Delegation, !c.NoSelfGrant, c.Observe, max}, nil
}
