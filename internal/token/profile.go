package token

import (
	"slices"
	"time"
)

// Defaults and bounds of a [Profile].
const (
	DefaultMaxBytes = 8 << 10
	MaxLeeway       = time.Minute
)

// Profile says which tokens a [Door] lets in. The zero Profile is valid and
// the strictest but for the issuer, the lifetime and the key.
type Profile struct {
	// MaxBytes is the greatest length of a token. Zero means
	// [DefaultMaxBytes]; 1 MiB is the most.
	MaxBytes int

	// Type is the value that "typ" must have, compared exactly, such as
	// "at+jwt". If it is empty, "typ" must be absent or "JWT" in any letters.
	Type string

	// Issuer is the value that "iss" must have. If it is empty, any issuer or
	// none will do.
	Issuer string

	// Audience is the value that must be among those of "aud". If it is empty,
	// a token with an audience is refused, because it is meant for others.
	Audience string

	// Leeway is how far the clock of the issuer may differ from ours, for
	// "exp", "nbf" and "iat" alike; from 0 to [MaxLeeway].
	Leeway time.Duration

	// MaxLifetime bounds the time that is left to a token when it is
	// verified. Zero means no bound. It excludes AllowNoExpiry.
	MaxLifetime time.Duration

	// AllowNoExpiry lets in a token without "exp", which never expires.
	AllowNoExpiry bool

	// AllowNoSubject lets in a token without "sub".
	AllowNoSubject bool

	// LooseSubject lets in a token whose "sub" names nobody, such as an empty
	// one or a number, as one without: for issuers whose tokens say what their
	// holders may do rather than who they are. It needs AllowNoSubject.
	LooseSubject bool

	// IgnoreKeyID gives "kid" no meaning, whatever its value: all keys of the
	// algorithm are tried.
	IgnoreKeyID bool

	// Claims are the other claims that the caller reads. A claim that differs
	// from one of these, or from a registered one, only in letter case is
	// refused.
	Claims []string

	// Now is the clock. Nil means [time.Now].
	Now func() time.Time
}

// ProfileError says which field of a [Profile] was refused.
type ProfileError struct {
	Field string
}

// Error names the field.
func (e *ProfileError) Error() string { return "token: invalid profile: " + e.Field }

// withDefaults returns a checked copy with its zero values replaced.
func (p Profile) withDefaults() (Profile, error) {
	if p.MaxBytes == 0 {
		p.MaxBytes = DefaultMaxBytes
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	p.Claims = slices.Clone(p.Claims)
	switch {
	case p.MaxBytes < 0 || p.MaxBytes > 1<<20:
		return Profile{}, &ProfileError{"MaxBytes"}
	case p.Type != "" && !isName(p.Type, maxNameBytes):
		return Profile{}, &ProfileError{"Type"}
	case p.Issuer != "" && !isName(p.Issuer, maxNameBytes):
		return Profile{}, &ProfileError{"Issuer"}
	case p.Audience != "" && !isName(p.Audience, maxNameBytes):
		return Profile{}, &ProfileError{"Audience"}
	case p.Leeway < 0 || p.Leeway > MaxLeeway:
		return Profile{}, &ProfileError{"Leeway"}
	case p.MaxLifetime < 0, p.MaxLifetime > 0 && p.AllowNoExpiry:
		return Profile{}, &ProfileError{"MaxLifetime"}
	case p.LooseSubject && !p.AllowNoSubject:
		return Profile{}, &ProfileError{"LooseSubject"}
	}
	known := registeredClaims()
	for _, name := range p.Claims {
		if !isName(name, maxNameBytes) || foldsToAny(name, known) {
			return Profile{}, &ProfileError{"Claims"}
		}
		known = append(known, name)
	}
	return p, nil
}
