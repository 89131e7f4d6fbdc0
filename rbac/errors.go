package rbac

import (
	"strconv"
	"strings"

	"github.com/chansec/chansec"
)

// RuleError says which call on [Rules] makes no sense, and what would. It is chansec.ErrInvalid.
type RuleError struct {
	Call   string // such as "Require"
	Number int    // of all calls on the rules, from 1
	Value  string // what was wrong, shortened
	Want   string // what would be right
}

func (e *RuleError) Error() string {
	return "rbac: call " + strconv.Itoa(e.Number) + ", " + e.Call + ": " + e.Value + ": want " + e.Want
}

// Is makes the error chansec.ErrInvalid.
func (e *RuleError) Is(target error) bool { return target == chansec.ErrInvalid }

// NoRuleError lists the routes that have no rule, or none for some of their methods, so that requests would be refused. It is chansec.ErrInvalid.
type NoRuleError struct{ Routes []Route }

func (e *NoRuleError) Error() string {
	lines := make([]string, len(e.Routes))
	for i, r := range e.Routes {
		lines[i] = r.String()
	}
	return "rbac: routes without a rule for all of their methods: " + strings.Join(lines, ", ") + ": want one for each, or DenyAll first"
}

// Is makes the error chansec.ErrInvalid.
func (e *NoRuleError) Is(target error) bool { return target == chansec.ErrInvalid }

func invalid(what, value, want string) error {
	return &chansec.InvalidError{What: what, Value: value, Want: want}
}

// quote shortens and quotes a text, so that an error stays one short line.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "... (" + strconv.Itoa(len(s)) + " bytes)"
	}
	return strconv.Quote(s)
}
