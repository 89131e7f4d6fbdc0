package strictjson

import "strconv"

// SyntaxError says why and where a text was refused. It holds nothing of the
// text itself, so it may be logged and shown to anyone.
type SyntaxError struct {
	Offset int    // bytes before the place where reading stopped
	Reason Reason // one of the constants of this package
}

// Error returns the reason and the offset.
func (e *SyntaxError) Error() string {
	return "json: " + string(e.Reason) + " at offset " + strconv.Itoa(e.Offset)
}

// Reason is a constant text that names the broken rule.
type Reason string

// The reasons for which a text is refused.
const (
	BadUTF8       Reason = "invalid UTF-8"
	BadValue      Reason = "invalid or missing value"
	BadObject     Reason = "malformed object"
	BadArray      Reason = "malformed array"
	BadString     Reason = "malformed string"
	BadEscape     Reason = "malformed escape sequence"
	LoneSurrogate Reason = "lone surrogate"
	BadNumber     Reason = "malformed number"
	NumberRange   Reason = "number out of range"
	DuplicateName Reason = "duplicate member name"
	TooDeep       Reason = "nested too deeply"
	TooMany       Reason = "too many items"
	TrailingData  Reason = "data after the value"
	NotObject     Reason = "not an object"
)
