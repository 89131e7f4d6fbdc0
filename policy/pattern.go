package policy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/chansec/chansec/internal/script"
)

// PatternSyntax is how patterns of paths are written.
type PatternSyntax uint8

// The syntaxes.
const (
	ExactPath    PatternSyntax = iota + 1 // no pattern: one path
	MQTTFilter                            // a/+/b is one segment, a/# is a and everything below it
	NATSSubject                           // a.*.b is one segment, a.> is everything below a
	WAMPWildcard                          // a..b is one component, and nothing stands for more
	WAMPPrefix                            // a.b is every name that begins with this text
)

// Pattern is a set of paths, as subscribers ask for them.
type Pattern struct {
	syntax PatternSyntax
	// Every path matches that has these segments, and no more unless there is a rest.
	segments []patternSegment
	rest     rest
}

type patternSegment struct {
	kind segmentKind
	text string
}

type segmentKind uint8

const (
	literal    segmentKind = iota
	anySegment             // any one
	begins                 // any one that begins with the text; the last one only
)

// rest is what may follow the segments.
type rest uint8

const (
	nothingMore rest = iota
	anythingMore
	somethingMore // at least one segment
)

// ParsePattern reads a pattern.
func ParsePattern(syntax PatternSyntax, text string) (Pattern, error) {
	p := Pattern{syntax: syntax}
	if len(text) > maxPathBytes || !script.IsText(text) {
		return p, refuse(InvalidArgument, "pattern", text, "at most 512 bytes of UTF-8 without control characters")
	}
	if syntax < MQTTFilter || syntax > WAMPPrefix {
		return p, refuse(InvalidArgument, "syntax", strconv.Itoa(int(syntax)), "MQTTFilter, NATSSubject, WAMPWildcard or WAMPPrefix")
	}
	parts := strings.Split(text, string(rune(p.separator())))
	for i, s := range parts {
		last := i == len(parts)-1
		is := patternSegment{literal, s}
		switch {
		case syntax == WAMPPrefix && last:
			is.kind, p.rest = begins, anythingMore
		case syntax == WAMPWildcard && s == "" || syntax == MQTTFilter && s == "+" || syntax == NATSSubject && s == "*":
			is = patternSegment{kind: anySegment}
		case syntax == MQTTFilter && s == "#" && last:
			p.rest = anythingMore
			continue
		case syntax == NATSSubject && s == ">" && last:
			p.rest = somethingMore
			continue
		case s == "" || syntax == MQTTFilter && strings.ContainsAny(s, "+#") || syntax == NATSSubject && strings.ContainsAny(s, "*>"):
			return p, refuse(InvalidArgument, "pattern", text, "segments that are not empty, and wildcards that are segments of their own")
		}
		p.segments = append(p.segments, is)
	}
	return p, nil
}

func (p *Pattern) separator() Separator {
	if p.syntax == MQTTFilter {
		return Slash
	}
	return Dot
}

// Syntax returns in which syntax String writes the pattern. Parts of a pattern may be exact paths.
func (p Pattern) Syntax() PatternSyntax {
	if p.rest == nothingMore && !slices.ContainsFunc(p.segments, func(s patternSegment) bool { return s.kind != literal }) {
		return ExactPath
	}
	return p.syntax
}

// String writes the pattern.
func (p Pattern) String() string {
	var parts []string
	for _, s := range p.segments {
		if s.kind == anySegment {
			s.text = map[PatternSyntax]string{MQTTFilter: "+", NATSSubject: "*"}[p.syntax]
		}
		parts = append(parts, s.text)
	}
	switch {
	case p.syntax == MQTTFilter && p.rest != nothingMore:
		parts = append(parts, "#")
	case p.syntax == NATSSubject && p.rest != nothingMore:
		parts = append(parts, ">")
	}
	return strings.Join(parts, string(rune(p.separator())))
}

// Matches reports whether a path is in the set. Paths with empty segments are in none, except by a WAMPPrefix.
func (p Pattern) Matches(path string) bool {
	parts := strings.Split(path, string(rune(p.separator())))
	if p.syntax != WAMPPrefix && slices.Contains(parts, "") {
		return false
	}
	least := len(p.segments)
	if p.rest == somethingMore {
		least++
	}
	if len(parts) < least || p.rest == nothingMore && len(parts) > least {
		return false
	}
	for i, s := range p.segments {
		if s.kind == literal && parts[i] != s.text || s.kind == begins && !strings.HasPrefix(parts[i], s.text) {
			return false
		}
	}
	return true
}
