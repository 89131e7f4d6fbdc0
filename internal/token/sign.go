package token

import (
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// ErrSign matches every refusal to sign.
var ErrSign = errors.New("token: not signed")

// SignProblem says why a token was not signed. errors.Is matches it with itself
// and with [ErrSign]. Its text is constant and holds nothing of the claims.
type SignProblem string

// The reasons for which a token is not signed.
const (
	CannotSign    SignProblem = "the key cannot sign"
	BadType       SignProblem = "the type is too long, not UTF-8 or has control characters or U+FFFD"
	BadClaimName  SignProblem = "a claim name is empty, repeated, or another one in other letters"
	BadClaimValue SignProblem = "a claim has a wrong type, is not UTF-8 or has control characters or U+FFFD"
)

// Error returns the problem after the prefix "token: not signed: ".
func (p SignProblem) Error() string { return ErrSign.Error() + ": " + string(p) }

// Is reports whether target is [ErrSign].
func (p SignProblem) Is(target error) bool { return target == ErrSign }

// Claim is a claim to be signed: a name and a string, an integer or a list of
// strings. Make one with [StringClaim], [IntClaim] or [ListClaim].
type Claim struct {
	name  string
	value any
}

// StringClaim returns a claim whose value is a string.
func StringClaim(name, value string) Claim { return Claim{name, value} }

// IntClaim returns a claim whose value is an integer, such as a time in seconds
// since 1970.
func IntClaim(name string, value int64) Claim { return Claim{name, value} }

// ListClaim returns a claim whose value is a list of strings. A nil list is
// signed as an empty one.
func ListClaim(name string, value []string) Claim { return Claim{name, value} }

// Sign returns a compact token with these claims in their order. The header has
// the algorithm of the key, its ID if it has one, and the type; an empty typ
// means "JWT".
//
// What a [Door] would refuse for its form is not signed: all strings must be
// valid UTF-8 without control characters and U+FFFD, names must be unique also
// when letter case is ignored, and registered claims must have their type.
func Sign(key *Key, typ string, claims []Claim) (string, error) {
	if !key.CanSign() {
		return "", CannotSign
	}
	if typ == "" {
		typ = "JWT"
	}
	if !isName(typ, maxNameBytes) {
		return "", BadType
	}
	header := []byte(`{"alg":`)
	header = appendString(header, key.Algorithm())
	if id := key.ID(); id != "" {
		header = append(header, `,"kid":`...)
		header = appendString(header, id)
	}
	header = append(header, `,"typ":`...)
	header = appendString(header, typ)
	header = append(header, '}')

	payload, err := encodeClaims(claims)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	text.WriteString(base64.RawURLEncoding.EncodeToString(header))
	text.WriteByte('.')
	text.WriteString(base64.RawURLEncoding.EncodeToString(payload))
	signature, err := key.material.sign(text.String())
	if err != nil {
		return "", CannotSign
	}
	text.WriteByte('.')
	text.WriteString(base64.RawURLEncoding.EncodeToString(signature))
	return text.String(), nil
}

func encodeClaims(claims []Claim) ([]byte, error) {
	out := []byte{'{'}
	var seen []string
	registered := registeredClaims()
	for i, claim := range claims {
		misspelt := !slices.Contains(registered, claim.name) && foldsToAny(claim.name, registered)
		if !isName(claim.name, maxNameBytes) || misspelt || foldsToAny(claim.name, seen) {
			return nil, BadClaimName
		}
		seen = append(seen, claim.name)
		if !claim.valid() {
			return nil, BadClaimValue
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = appendString(out, claim.name)
		out = append(out, ':')
		out = claim.appendValue(out)
	}
	return append(out, '}'), nil
}

// valid reports whether the value is one that readClaims would accept.
func (c Claim) valid() bool {
	text, isString := c.value.(string)
	number, isNumber := c.value.(int64)
	switch c.name {
	case "exp", "nbf", "iat":
		return isNumber && 0 < number && number < maxTime
	case "sub", "iss":
		return isString && isName(text, maxNameBytes)
	case "jti":
		return isString && isName(text, maxIDBytes)
	case "aud":
		if isNumber {
			return false
		}
	}
	switch value := c.value.(type) {
	case string:
		return isText(value)
	case []string:
		return !slices.ContainsFunc(value, func(s string) bool { return !isText(s) })
	default:
		return isNumber
	}
}

// appendValue appends the value, which must be valid, as JSON.
func (c Claim) appendValue(out []byte) []byte {
	switch value := c.value.(type) {
	case int64:
		return strconv.AppendInt(out, value, 10)
	case []string:
		out = append(out, '[')
		for i, element := range value {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendString(out, element)
		}
		return append(out, ']')
	default:
		text, _ := value.(string)
		return appendString(out, text)
	}
}

// appendString appends a text without control characters as a JSON string.
func appendString(out []byte, text string) []byte {
	out = append(out, '"')
	for i := 0; i < len(text); i++ {
		if text[i] == '"' || text[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, text[i])
	}
	return append(out, '"')
}
