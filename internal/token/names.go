package token

import (
	"strings"
	"unicode"
)

// headerNames are the parameters that parseHeader knows.
func headerNames() []string {
	return []string{"alg", "kid", "typ", "crit", "b64", "cty", "zip", "enc",
		"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"}
}

// foldsToAny reports whether a name equals one of the known names in other
// letters, as EXP does exp. A reader that does not tell them apart, such as
// encoding/json, would take it for the known one. The comparison follows
// Unicode, so that U+017F stands for s and U+212A for k.
func foldsToAny(name string, known []string) bool {
	for _, k := range known {
		if strings.EqualFold(name, k) {
			return true
		}
	}
	return false
}

// isText reports whether a text is valid UTF-8 without control characters and
// without U+FFFD, which is what lenient writers put in place of what they cannot
// encode. Ranging over a string yields U+FFFD for invalid UTF-8 as well.
func isText(text string) bool {
	for i, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return isWideText(text[i:])
		}
	}
	return true
}

// isWideText is isText for what is not all printable ASCII.
func isWideText(text string) bool {
	for _, r := range text {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

// isName reports whether a text may name a subject, an issuer or the like.
func isName(text string, maxBytes int) bool {
	return text != "" && len(text) <= maxBytes && isText(text)
}
