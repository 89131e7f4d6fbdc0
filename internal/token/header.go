package token

import (
	"strings"

	"github.com/chansec/chansec/internal/strictjson"
)

// header is what a JOSE header (RFC 7515 section 4) says.
type header struct {
	algorithm string
	keyID     string
	hasKeyID  bool
}

// headerLimits leaves room for a "jwk" or an "x5c", which are ignored.
func headerLimits() strictjson.Limits { return strictjson.Limits{Depth: 4, Items: 32} }

// parseHeader reads a header and checks all that can be checked without a key,
// by the Type and the IgnoreKeyID of a profile. The buffer is for reading the
// members.
//
// The parameters that carry or point to a key (jwk, jku, x5u, x5c, x5t) are
// ignored: only configured keys count. Parameters that are not known are
// ignored too, as RFC 7515 section 4 demands, unless they are a known name in
// other letters.
func parseHeader(text string, profile *Profile, buffer []strictjson.Member) (header, Reason) {
	members, err := strictjson.Object(text, buffer, headerLimits())
	if err != nil {
		return header{}, BadHeader
	}
	var h header
	var hasType bool
	for _, member := range members {
		ok := true
		switch member.Name {
		case "alg":
			h.algorithm, ok = member.Value.Text()
		case "kid":
			if profile.IgnoreKeyID {
				break
			}
			h.keyID, ok = member.Value.Text()
			h.hasKeyID = true
		case "typ":
			var got string
			got, ok = member.Value.Text()
			if ok && !isType(got, profile.Type) {
				return header{}, WrongType
			}
			hasType = true
		case "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256":
			// ignored
		case "crit", // an extension that must be understood: we know none
			"b64",        // RFC 7797: unencoded payload
			"cty",        // a nested token
			"zip", "enc": // an encrypted one
			ok = false
		default:
			ok = !foldsToAny(member.Name, headerNames())
		}
		if !ok {
			return header{}, BadHeader
		}
	}
	if h.algorithm == "" {
		return header{}, WrongAlg
	}
	if profile.Type != "" && !hasType {
		return header{}, WrongType
	}
	return h, 0
}

// isType compares a "typ" with the expected one. RFC 7519 section 5.1 writes
// "JWT" and allows for other letters, none of which has a counterpart outside of
// ASCII; the long form "application/jwt" is refused, as nobody writes it. A type
// that was configured is compared exactly.
func isType(got, want string) bool {
	if want == "" {
		return strings.EqualFold(got, "JWT")
	}
	return got == want
}
