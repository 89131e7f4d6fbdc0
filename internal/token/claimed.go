package token

import "github.com/chansec/chansec/internal/strictjson"

// ClaimedIssuer returns the "iss" of a token of which nothing has been verified:
// anybody can write it. It is good for choosing the [Door] and the keys that the
// token has to pass next, where there are several, and for nothing else; the
// Profile of that door must demand the same issuer.
//
// The form is checked as a Door does: length (zero is [DefaultMaxBytes]), parts,
// header, and a strict claims set. The error is a [Reason]; a token without
// "iss" is WrongIssuer.
func ClaimedIssuer(text string, maxBytes int) (string, error) {
	if maxBytes == 0 {
		maxBytes = DefaultMaxBytes
	}
	if len(text) > maxBytes {
		return "", TooLong
	}
	p := newParts()
	if !p.split(text) || len(p.payload) == 0 {
		return "", Malformed
	}
	if _, reason := parseHeader(string(p.header), &Profile{}, p.members[:0]); reason != 0 && reason != WrongType {
		return "", reason
	}
	claims, err := strictjson.Object(string(p.payload), nil, claimLimits())
	if err != nil {
		return "", BadClaims
	}
	for _, claim := range claims {
		if claim.Name == "iss" {
			issuer, ok := nameClaim(claim.Value, maxNameBytes)
			if !ok {
				return "", BadClaims
			}
			return issuer, nil
		}
	}
	return "", WrongIssuer
}
