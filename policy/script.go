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
	form []element
	do   func(*Tx, arguments) error
}

// element is one part of a form, which takes one token.
type element struct {
	kind     byte     // of the token
	items    byte     // of a list, the kind of its items
	words    []string // of a keyword, those that it may be
	optional bool
	want     string // for people
}

func newCommand(form string, do func(*Tx, arguments) error) command {
	c := command{do: do}
	for _, text := range strings.Fields(form) {
		e := element{kind: 'w', optional: text[0] == '['}
		switch text = strings.Trim(text, "[]"); text {
		case "S":
			e.kind, e.want = 's', "a string in quotes"
		case "NAMES":
			e.kind, e.items, e.want = '[', 's', "a list of strings in brackets"
		case "PERMS":
			e.kind, e.items, e.want = '[', 'w', "a list of permissions in brackets"
		default:
			e.words, e.want = strings.Split(text, "|"), text
		}
		c.form = append(c.form, e)
	}
	return c
}

// takes reports whether a token is one for the element; if not, bad is what is wrong: the token or an item of it.
func (e *element) takes(t *token) (bad *token) {
	switch {
	case t.kind != e.kind:
		return t
	case e.kind == 'w':
		for _, w := range e.words {
			if strings.EqualFold(w, t.text) { // both are ASCII
				return nil
			}
		}
		return t
	case e.kind == '[':
		for i := range t.items {
			if t.items[i].kind != e.items {
				return &t.items[i]
			}
		}
	}
	return nil
}

// arguments are the strings and the list of a command, in their order.
type arguments struct {
	texts []string
	list  []string
}

// securityCommands are those of Diffusion's security store.
var securityCommands = []command{
	newCommand("set roles for anonymous sessions [NAMES]", func(tx *Tx, a arguments) error { return tx.SetRolesForAnonymousSessions(a.list...) }),
	newCommand("set roles for named sessions [NAMES]", func(tx *Tx, a arguments) error { return tx.SetRolesForNamedSessions(a.list...) }),
	newCommand("set S permissions [PERMS]", func(tx *Tx, a arguments) error { return tx.SetGlobalPermissions(a.texts[0], a.list...) }),
	newCommand("set S default path|topic permissions [PERMS]", func(tx *Tx, a arguments) error { return tx.SetDefaultPathPermissions(a.texts[0], a.list...) }),
	newCommand("set S path|topic S permissions [PERMS]", func(tx *Tx, a arguments) error { return tx.SetPathPermissions(a.texts[0], a.texts[1], a.list...) }),
	newCommand("remove S permissions for path|topic S", func(tx *Tx, a arguments) error { return tx.RemovePathPermissions(a.texts[0], a.texts[1]) }),
	newCommand("set S includes NAMES", func(tx *Tx, a arguments) error { return tx.SetRoleIncludes(a.texts[0], a.list...) }),
	newCommand("set role S locked by principal S", func(tx *Tx, a arguments) error { return tx.SetRoleLockedByPrincipal(a.texts[0], a.texts[1]) }),
	newCommand("isolate path S", func(tx *Tx, a arguments) error { return tx.IsolatePath(a.texts[0]) }),
	newCommand("deisolate path S", func(tx *Tx, a arguments) error { return tx.DeisolatePath(a.texts[0]) }),
}

// storeCommands are all that a store can be told. Beside Diffusion's there are the roles of principals, which Diffusion
// keeps in its other store, the rows that deny, and the bound roles and topics of stores with Delegation.
var storeCommands = append(securityCommands[:len(securityCommands):len(securityCommands)],
	newCommand("set S path S denials [PERMS]", func(tx *Tx, a arguments) error { return tx.SetPathDenials(a.texts[0], a.texts[1], a.list...) }),
	newCommand("assign roles S NAMES", func(tx *Tx, a arguments) error { return tx.AssignRoles(a.texts[0], a.list...) }),
	newCommand("assign role S S until S", func(tx *Tx, a arguments) error {
		until, err := parseUntil(a.texts[2])
		if err != nil {
			return tx.fail(err)
		}
		return tx.AssignRoleUntil(a.texts[0], a.texts[1], until)
	}),
	newCommand("unassign role S S", func(tx *Tx, a arguments) error { return tx.UnassignRole(a.texts[0], a.texts[1]) }),
	newCommand("add role S bound to S", func(tx *Tx, a arguments) error { return tx.AddRole(a.texts[0], a.texts[1]) }),
	newCommand("remove role S", func(tx *Tx, a arguments) error { return tx.RemoveRole(a.texts[0]) }),
	newCommand("set role S bound to S", func(tx *Tx, a arguments) error { return tx.SetRoleBinding(a.texts[0], a.texts[1]) }),
	newCommand("add topic S", func(tx *Tx, a arguments) error { return tx.AddTopic(a.texts[0]) }),
	newCommand("remove topic S", func(tx *Tx, a arguments) error { return tx.RemoveTopic(a.texts[0]) }),
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
	list := make([]parsed, 0, strings.Count(text, "\n")+1)
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
	for i := range commands {
		if n, _ := commands[i].fit(tokens); n == fits {
			return &parsed{column: tokens[0].column, command: &commands[i], arguments: argumentsOf(tokens)}, nil
		}
	}
	return nil, complain(tokens, s.column(len(line)), commands)
}

// fits is what fit returns for tokens that are in the form.
const fits = -1

// fit holds tokens against the form. It returns how many of them are right, or fits, and the one that is wrong; nil is the
// end of the line.
func (c *command) fit(tokens []token) (right int, wrong *token) {
	for i := range c.form {
		switch {
		case i == len(tokens) && c.form[i].optional:
			return fits, nil
		case i == len(tokens):
			return i, nil
		}
		if bad := c.form[i].takes(&tokens[i]); bad != nil {
			return i, bad
		}
	}
	if len(tokens) > len(c.form) {
		return len(c.form), &tokens[len(c.form)]
	}
	return fits, nil
}

// argumentsOf returns the strings and the list among tokens that are in a form.
func argumentsOf(tokens []token) (a arguments) {
	for _, t := range tokens {
		switch t.kind {
		case 's':
			a.texts = append(a.texts, t.text)
		case '[':
			for _, item := range t.items {
				a.list = append(a.list, item.text)
			}
		}
	}
	return a
}

// complain says what is wrong with tokens that are in no form: the first that the forms which go furthest do not take.
func complain(tokens []token, end int, commands []command) *complaint {
	furthest := -1
	var worst complaint
	for i := range commands {
		right, wrong := commands[i].fit(tokens)
		want := "the end of the line"
		if right < len(commands[i].form) {
			want = commands[i].form[right].want
		}
		switch {
		case right > furthest:
			furthest, worst = right, complaint{end, "end of line", want}
			if wrong != nil {
				worst.column, worst.value = wrong.column, wrong.text
			}
		case right == furthest && !strings.Contains(worst.want, want):
			worst.want += " or " + want
		}
	}
	return &worst
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
// [Store.UpdateScript] takes, the roles of principals, rows that deny, bound roles, and topics.
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
