package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// command is one form of a line, and what it does. The form is the grammar of diffusion.md 7: lower-case words are
// keywords, S is a string, NAMES a list of strings, PERMS one of bare words, and what is in brackets may be left out,
// which means the empty list. A word with a bar is either of two keywords.
type command struct {
	form string
	do   func(*Tx, arguments) error
}

// arguments are the strings and the list of a command, in their order.
type arguments struct {
	texts []string
	list  []string
}

// securityCommands are those of Diffusion's security store.
var securityCommands = []command{
	{"set roles for anonymous sessions [NAMES]", func(tx *Tx, a arguments) error { return tx.SetRolesForAnonymousSessions(a.list...) }},
	{"set roles for named sessions [NAMES]", func(tx *Tx, a arguments) error { return tx.SetRolesForNamedSessions(a.list...) }},
	{"set S permissions [PERMS]", func(tx *Tx, a arguments) error { return tx.SetGlobalPermissions(a.texts[0], a.list...) }},
	{"set S default path|topic permissions [PERMS]", func(tx *Tx, a arguments) error { return tx.SetDefaultPathPermissions(a.texts[0], a.list...) }},
	{"set S path|topic S permissions [PERMS]", func(tx *Tx, a arguments) error { return tx.SetPathPermissions(a.texts[0], a.texts[1], a.list...) }},
	{"remove S permissions for path|topic S", func(tx *Tx, a arguments) error { return tx.RemovePathPermissions(a.texts[0], a.texts[1]) }},
	{"set S includes NAMES", func(tx *Tx, a arguments) error { return tx.SetRoleIncludes(a.texts[0], a.list...) }},
	{"set role S locked by principal S", func(tx *Tx, a arguments) error { return tx.SetRoleLockedByPrincipal(a.texts[0], a.texts[1]) }},
	{"isolate path S", func(tx *Tx, a arguments) error { return tx.IsolatePath(a.texts[0]) }},
	{"deisolate path S", func(tx *Tx, a arguments) error { return tx.DeisolatePath(a.texts[0]) }},
}

// storeCommands are all that a store can be told. Beside Diffusion's there are the roles of principals, which Diffusion
// keeps in its other store, and the rows that deny.
var storeCommands = append(securityCommands[:len(securityCommands):len(securityCommands)],
	command{"set S path S denials [PERMS]", func(tx *Tx, a arguments) error { return tx.SetPathDenials(a.texts[0], a.texts[1], a.list...) }},
	command{"assign roles S NAMES", func(tx *Tx, a arguments) error { return tx.AssignRoles(a.texts[0], a.list...) }},
	command{"assign role S S until S", func(tx *Tx, a arguments) error {
		until, err := parseUntil(a.texts[2])
		if err != nil {
			return tx.fail(err)
		}
		return tx.AssignRoleUntil(a.texts[0], a.texts[1], until)
	}},
)

func parseUntil(text string) (t time.Time, err error) {
	if text == "" {
		return t, nil
	}
	if t, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return t, refuse(InvalidArgument, "end of a grant", text, "a time such as 2030-01-31T12:00:00Z, or '' for ever")
	}
	return t, nil
}

// ScriptError is why a script was refused. It is the Kind of each of its reports.
type ScriptError struct {
	Reports []Report // by lines; at least one
}

// Report is one thing that is wrong with a script.
type Report struct {
	Line, Column int // from 1, the column in characters
	Err          error
}

func (e *ScriptError) Error() string {
	r := e.Reports[0]
	text := fmt.Sprintf("line %d, column %d: %v", r.Line, r.Column, r.Err)
	if n := len(e.Reports) - 1; n > 0 {
		text += " (and " + strconv.Itoa(n) + " more)"
	}
	return text
}

// Unwrap returns the errors of all reports.
func (e *ScriptError) Unwrap() []error {
	list := make([]error, len(e.Reports))
	for i, r := range e.Reports {
		list[i] = r.Err
	}
	return list
}

// Bounds of scripts.
const (
	maxScriptBytes = 1 << 30
	mostReports    = 20 // of one script
)

// parsed is a line that is in the grammar.
type parsed struct {
	line, column int
	command      *command
	arguments    arguments
}

// parse reads a whole script.
func parse(text string, commands []command) ([]parsed, error) {
	if len(text) > maxScriptBytes {
		return nil, refuse(Limit, "script", strconv.Itoa(len(text))+" bytes", "at most "+strconv.Itoa(maxScriptBytes))
	}
	var list []parsed
	failed := &ScriptError{}
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		p, bad := parseLine(strings.TrimSuffix(line, "\r"), commands)
		if bad != nil {
			failed.Reports = append(failed.Reports, Report{number, bad.column, refuse(Syntax, "script", bad.value, bad.want)})
			if len(failed.Reports) == mostReports {
				break
			}
			continue
		}
		if p != nil {
			p.line = number
			list = append(list, *p)
		}
	}
	if len(failed.Reports) > 0 {
		return nil, failed
	}
	return list, nil
}

// parseLine reads one line. A blank one, or one that begins with #, is nothing.
func parseLine(line string, commands []command) (*parsed, *complaint) {
	s := &scanner{line: line}
	if s.blanks(); s.at == len(line) || line[s.at] == '#' {
		return nil, nil
	}
	if !utf8.ValidString(line) {
		return nil, &complaint{s.column(s.at), line, "UTF-8"}
	}
	tokens, bad := s.tokens()
	if bad != nil {
		return nil, bad
	}
	best := &complaint{column: 0}
	for i := range commands {
		a, bad := commands[i].match(tokens, s.column(len(line)))
		if bad == nil {
			return &parsed{column: tokens[0].column, command: &commands[i], arguments: a}, nil
		}
		switch {
		case bad.column > best.column:
			best = bad
		case bad.column == best.column && !strings.Contains(best.want, bad.want):
			best.want += " or " + bad.want
		}
	}
	return nil, best
}

// match holds tokens against the form. The complaint is about the first token that does not fit; end is the column behind
// the line.
func (c *command) match(tokens []token, end int) (a arguments, bad *complaint) {
	missing := func(want string) *complaint {
		if len(tokens) == 0 {
			return &complaint{end, "end of line", want}
		}
		return &complaint{tokens[0].column, tokens[0].text, want}
	}
	for form := range strings.FieldsSeq(c.form) {
		optional := form[0] == '['
		switch form = strings.Trim(form, "[]"); {
		case optional && len(tokens) == 0:
			return a, nil
		case len(tokens) == 0:
			return a, missing(describe(form))
		case form == "S":
			if tokens[0].kind != 's' {
				return a, missing(describe(form))
			}
			a.texts = append(a.texts, tokens[0].text)
		case form == "NAMES" || form == "PERMS":
			kind := byte('s')
			if form == "PERMS" {
				kind = 'w'
			}
			if tokens[0].kind != '[' {
				return a, missing(describe(form))
			}
			for _, item := range tokens[0].items {
				if item.kind != kind {
					return a, &complaint{item.column, item.text, describe(form)}
				}
				a.list = append(a.list, item.text)
			}
		default:
			if tokens[0].kind != 'w' || !isKeyword(form, tokens[0].text) {
				return a, missing(describe(form))
			}
		}
		tokens = tokens[1:]
	}
	if len(tokens) > 0 {
		return a, missing("the end of the line")
	}
	return a, nil
}

// isKeyword reports whether a word is one of the keywords a|b, in any case.
func isKeyword(form, word string) bool {
	word = asciiLower(word)
	for k := range strings.SplitSeq(form, "|") {
		if k == word {
			return true
		}
	}
	return false
}

func describe(form string) string {
	switch form {
	case "S":
		return "a string in quotes"
	case "NAMES":
		return "a list of strings in brackets"
	case "PERMS":
		return "a list of permissions in brackets"
	}
	return form
}

// run does the commands one after the other.
func (tx *Tx) run(list []parsed) error {
	for i := range list {
		if err := list[i].command.do(tx, list[i].arguments); err != nil {
			return tx.failAt(err, &list[i])
		}
	}
	return nil
}

func (tx *Tx) failAt(err error, at *parsed) error {
	failed := &ScriptError{[]Report{{at.line, at.column, err}}}
	tx.err = failed
	return failed
}

// Run runs a script: parsed wholly, then command by command. It may hold all that a store can be told: what
// [Store.UpdateScript] takes, the roles of principals, and rows that deny.
func (tx *Tx) Run(script string) error { return tx.runScript(script, storeCommands) }

func (tx *Tx) runScript(script string, commands []command) error {
	if err := tx.over(); err != nil {
		return err
	}
	list, err := parse(script, commands)
	if err != nil {
		return tx.fail(err)
	}
	return tx.run(list)
}
