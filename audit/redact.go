package audit

import (
	"regexp"
	"strings"
)

// RedactScript returns a script of a security store or an authentication store (diffusion.md 7) for the Detail of a record,
// without what may be a password. Commands without one are left as they are; of those with one, everything after the principal
// is replaced by ***; comments, and lines that are no command, are replaced as a whole, because somebody may have mistyped one.
func RedactScript(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		text := strings.TrimRight(line, "\r\n")
		switch end := line[len(text):]; {
		case strings.Trim(text, " \t") == "" || harmless.MatchString(text):
			b.WriteString(line)
		default:
			b.WriteString(secretive.FindString(text))
			b.WriteString("***" + end)
		}
	}
	return b.String()
}

// The forms of commands, in which a blank is any number of them, S is a string, N a list of strings and W one of words.
var (
	harmless = forms(`^ ?(?:`, `) ?$`,
		`set roles for (?:anonymous|named) sessions(?: ?N)?`,
		`set S permissions(?: ?W)?`,
		`set S default (?:path|topic) permissions(?: ?W)?`,
		`set S (?:path|topic) S (?:permissions|denials)(?: ?W)?`,
		`remove S permissions for (?:path|topic) S`,
		`set S includes ?N`,
		`set role S locked by principal S`,
		`(?:isolate|deisolate) path S`,
		`remove principal S`,
		`assign roles S ?N`,
		`assign role S S until S`,
		`(?:allow|deny|abstain) anonymous connections(?: ?N)?`,
		`trust client proposed property S if value (?:in ?N|matches S)`,
		`ignore client proposed property S`)
	secretive = forms(`^ ?(?:`, `) `, `add principal S`, `set password S`, `verify password S`)
)

func forms(before, after string, all ...string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)` + strings.NewReplacer(
		" ?", `[ \t]*`,
		" ", `[ \t]+`,
		"S", `(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")`,
		"N", `\[(?:[ \t,]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")*\]`,
		"W", `\[[A-Za-z_, \t]*\]`,
	).Replace(before+strings.Join(all, "|")+after))
}
