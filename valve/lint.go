package valve

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Warning is something in a permission file that is most likely not what its author meant. It is in force as it is written.
type Warning struct {
	Section Section
	Path    string   // empty where it is about the section
	Type    RuleType // empty where it is about the section or path
	Line    int      // of the file, from 1
	Problem string
}

// String is the warning on one line.
func (w Warning) String() string {
	text := fmt.Sprintf("line %d: section %s: ", w.Line, w.Section)
	if w.Path != "" {
		text += fmt.Sprintf("path %s: ", quote(w.Path))
	}
	if w.Type != "" {
		text += "rule " + string(w.Type) + ": "
	}
	return text + w.Problem
}

var (
	oldDataAtEnd = regexp.MustCompile(`(?:^|[^\w~])oldData$`)
	userName     = regexp.MustCompile(`(?:^|[^\w.$])user\.name(?:$|[^\w$])`)
	noBoolean    = regexp.MustCompile(`^\s*(?i:yes|no|on|off|true|false)\s*$`)
	environment  = regexp.MustCompile(`\$\{\w+\}`)
	actionText   = regexp.MustCompile(`(?:^|[^\w.$])action\s*[!=]==?\s*['"]`)
)

// Lint returns what is suspicious in the file, in its order: the sections first, then the paths, and then the rules.
func (p *Permissions) Lint() []Warning {
	found := slices.Clone(p.repeated)
	for _, e := range p.paths {
		warn := func(format string, args ...any) {
			found = append(found, Warning{Section: e.section, Path: e.text, Line: e.line, Problem: fmt.Sprintf(format, args...)})
		}
		if e.twice {
			warn("the path is given twice: the last one counts, in the place of the first")
		}
		if e.empty && (e.text != "*" || !e.object) {
			warn("it has no rules, and changes nothing: other paths decide")
		}
		if i := strings.IndexFunc(e.text, unseen); i >= 0 || strings.TrimSpace(e.text) != e.text {
			warn("blanks at its ends and characters that cannot be seen belong to the path: %q", e.text)
		}
		if strings.ContainsAny(e.text, `"'`) {
			warn("the quotes belong to the path: it matches only names that have them")
		}
		if i := strings.IndexAny(e.text, `.+?()[]{}|^\`); i >= 0 {
			warn("%q has the meaning that it has in a regular expression", e.text[i])
		}
		for i := range len(e.text) {
			if end := variableEnd(e.text, i); e.text[i] == '$' && end < len(e.text) && e.text[end] == '_' {
				warn("the variable is %s: what follows it is text", e.text[i:end])
			}
		}
	}
	for _, r := range p.rules {
		warn := func(format string, args ...any) {
			found = append(found, Warning{Section: r.section, Path: r.path.text, Type: r.kind, Line: r.line, Problem: fmt.Sprintf(format, args...)})
		}
		if r.twice {
			warn("the rule is given twice: the last one counts")
		}
		if r.constant {
			continue
		}
		if text := strings.TrimSpace(r.text); noBoolean.MatchString(text) && text != "true" && text != "false" {
			warn("%s is neither true nor false in JavaScript, but a name that does not exist: it throws", text)
		}
		if v := environment.FindString(r.text); v != "" {
			warn("deepstream puts an environment variable in place of %s: here it stays as it is", v)
		}
		if r.code.nothing {
			warn("it never allows: the expression begins on another line than the text")
		}
		if r.code.dead && !r.code.nothing {
			warn("what follows the first expression is never looked at")
		}
		for _, v := range r.code.unbound {
			warn("the path has no variable %s: it throws", v)
		}
		if !r.oldData && oldDataAtEnd.MatchString(r.text) {
			warn("oldData is undefined where it stands at the end only: put it into parentheses")
		}
		if userName.MatchString(r.text) {
			warn("user.name does not exist: the name is user.id")
		}
		if actionText.MatchString(r.text) {
			warn("action is a number, and never a text")
		}
	}
	return found
}

// unseen reports whether a character leaves nothing to see.
func unseen(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }
