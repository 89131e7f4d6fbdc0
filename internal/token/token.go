package token

import (
	"math"
	"slices"
	"time"

	"github.com/chansec/chansec/internal/strictjson"
)

// Bounds on claims.
const (
	maxNameBytes = 512 // of "sub" and "iss"
	maxIDBytes   = 255 // of "jti"
	maxAudiences = 64
	// maxTime is the first second of the year 10000 (RFC 3339 ends before it).
	maxTime = 253402300800
)

// Token is what a verified token says. Only a [Door] makes one that means
// anything. It is not to be changed.
type Token struct {
	// Key is the key that verified the token.
	Key *Key
	// Subject, Issuer and ID are the claims "sub", "iss" and "jti"; empty if
	// absent.
	Subject, Issuer, ID string
	// ExpiresAt, NotBefore and IssuedAt are the claims "exp", "nbf" and "iat";
	// zero if absent.
	ExpiresAt, NotBefore, IssuedAt time.Time

	claims []strictjson.Member
}

// WithoutClaims returns a copy that keeps the fields only.
func (t *Token) WithoutClaims() Token {
	without := *t
	without.claims = nil
	return without
}

// Claim returns the value of the claim with exactly this name.
func (t *Token) Claim(name string) (value strictjson.Value, ok bool) {
	for i := range t.claims {
		if t.claims[i].Name == name {
			return t.claims[i].Value, true
		}
	}
	return strictjson.Value{}, false
}

// registeredClaims are the names of RFC 7519 section 4.1.
func registeredClaims() []string {
	return []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}
}

// claimLimits bounds the shape of a claims set.
func claimLimits() strictjson.Limits { return strictjson.Limits{Depth: 16, Items: 1024} }

// readClaims reads a claims set into t. It checks the type and content of each
// registered claim, but not yet whether they fit the profile.
func (d *Door) readClaims(t *Token, text string) Reason {
	claims, err := strictjson.Object(text, t.claims, claimLimits())
	if err != nil {
		return BadClaims
	}
	t.claims = claims
	for i := range claims {
		value := claims[i].Value
		ok := true
		switch name := claims[i].Name; name {
		case "exp":
			t.ExpiresAt, ok = numericDate(value)
		case "nbf":
			t.NotBefore, ok = numericDate(value)
		case "iat":
			t.IssuedAt, ok = numericDate(value)
		case "sub":
			if t.Subject, ok = nameClaim(value, maxNameBytes); !ok && d.profile.LooseSubject {
				t.Subject, ok = "", true
			}
		case "iss":
			t.Issuer, ok = nameClaim(value, maxNameBytes)
		case "jti":
			t.ID, ok = nameClaim(value, maxIDBytes)
		case "aud":
			// for checkParties
		default:
			ok = slices.Contains(d.profile.Claims, name) || !foldsToAny(name, d.known)
		}
		if !ok {
			return BadClaims
		}
	}
	if t.Subject == "" && !d.profile.AllowNoSubject {
		return BadClaims
	}
	if t.ExpiresAt.IsZero() && !d.profile.AllowNoExpiry {
		return BadClaims
	}
	return 0
}

// numericDate reads a NumericDate (RFC 7519 section 2): seconds since 1970,
// which may have a fraction. It must lie after 1970 and before the year 10000:
// no conversion can then overflow, and a float64 holds whole seconds exactly and
// fractions to some hundred nanoseconds in our times.
func numericDate(value strictjson.Value) (t time.Time, ok bool) {
	if seconds, ok := value.Int64(); ok {
		return time.Unix(seconds, 0), 0 < seconds && seconds < maxTime
	}
	seconds, ok := value.Float64()
	if !ok || seconds <= 0 || seconds >= maxTime {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true
}

func nameClaim(value strictjson.Value, maxBytes int) (text string, ok bool) {
	text, ok = value.Text()
	return text, ok && isName(text, maxBytes)
}

// checkTimes compares the times with the clock.
func (d *Door) checkTimes(t *Token) Reason {
	now := d.profile.Now()
	if d.surelyInTime(t, now.Unix()) {
		return 0
	}
	return d.compareTimes(t, now)
}

// surelyInTime reports whether whole seconds, rounded to the disadvantage of the
// token, tell that compareTimes will find nothing. They do for all but the first
// second and the last, at a small part of the cost.
func (d *Door) surelyInTime(t *Token, now int64) bool {
	if t.ExpiresAt.IsZero() {
		return false
	}
	expires, leeway := t.ExpiresAt.Unix(), int64(d.profile.Leeway/time.Second)
	latest := now + leeway
	return now < expires+leeway &&
		(d.profile.MaxLifetime == 0 || expires < latest+int64(d.profile.MaxLifetime/time.Second)) &&
		t.NotBefore.Unix() < latest && t.IssuedAt.Unix() < latest
}

// compareTimes follows RFC 7519 sections 4.1.4 to 4.1.6.
func (d *Door) compareTimes(t *Token, now time.Time) Reason {
	earliest, latest := now.Add(-d.profile.Leeway), now.Add(d.profile.Leeway)
	if !t.ExpiresAt.IsZero() {
		if !t.ExpiresAt.After(earliest) {
			return Expired
		}
		if d.profile.MaxLifetime > 0 && t.ExpiresAt.After(latest.Add(d.profile.MaxLifetime)) {
			return TooLongLived
		}
	}
	if t.NotBefore.After(latest) || t.IssuedAt.After(latest) {
		return NotYetValid
	}
	return 0
}

// checkParties compares issuer and audience with the profile (RFC 7519 sections
// 4.1.1 and 4.1.3).
func (d *Door) checkParties(t *Token) Reason {
	if d.profile.Issuer != "" && t.Issuer != d.profile.Issuer {
		return WrongIssuer
	}
	audience, present := t.Claim("aud")
	if d.profile.Audience == "" {
		if present {
			return WrongAudience
		}
		return 0
	}
	if single, ok := audience.Text(); ok {
		if single != d.profile.Audience {
			return WrongAudience
		}
		return 0
	}
	list, _ := audience.Strings(maxAudiences)
	for _, entry := range list {
		if entry == d.profile.Audience {
			return 0
		}
	}
	return WrongAudience
}
