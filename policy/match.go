package policy

import "strings"

// Match is how a WAMP subscription or registration means its name.
type Match string

// The ways to match; the empty one is MatchExact.
const (
	MatchExact    Match = "exact"
	MatchPrefix   Match = "prefix"
	MatchWildcard Match = "wildcard"
)

// FixedPart returns the longest path that every name which matches has above it or is, so that what is granted there is
// granted for all of them (sqlauth.md 4.3). It reports false if there is none, or the way to match is unknown: then
// nobody may.
//
// A prefix is one of the text: com.ho also matches com.hotel, so that its fixed part is com. An empty component of a
// wildcard matches anything.
func FixedPart(name string, match Match) (string, bool) {
	switch match {
	case "", MatchExact:
	case MatchPrefix:
		name = name[:max(strings.LastIndexByte(name, '.'), 0)]
	case MatchWildcard:
		if i := strings.Index("."+name+".", ".."); i >= 0 {
			name = name[:max(i-1, 0)]
		}
	default:
		return "", false
	}
	return name, name != ""
}
