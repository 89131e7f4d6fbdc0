package policy

import (
	"strconv"
	"time"

	"github.com/chansec/chansec/internal/script"
)

// command is one form of a line, and what it does.
type command = script.Command[func(*Tx, arguments) error]

func newCommand(form string, do func(*Tx, arguments) error) command { return script.New(form, do) }

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
	return script.ErrorText(r.Line, r.Column, r.Err, len(e.Reports)-1)
}

// Unwrap returns the errors of all reports.
func (e *ScriptError) Unwrap() []error {
	list := make([]error, len(e.Reports))
	for i, r := range e.Reports {
		list[i] = r.Err
	}
	return list
}

// maxScriptBytes bounds scripts.
const maxScriptBytes = script.MostBytes

// parsed is a line that is in the grammar.
type parsed = script.Line[func(*Tx, arguments) error]

// parse reads a whole script.
func parse(text string, commands []command) ([]parsed, error) {
	if len(text) > maxScriptBytes {
		return nil, refuse(Limit, "script", strconv.Itoa(len(text))+" bytes", "at most "+strconv.Itoa(maxScriptBytes))
	}
	list, problems := script.Parse(text, commands)
	if problems == nil {
		return list, nil
	}
	failed := &ScriptError{}
	for _, p := range problems {
		failed.Reports = append(failed.Reports, Report{p.Line, p.Column, refuse(Syntax, p.What, p.Value, p.Want)})
	}
	return nil, failed
}

// run does the commands one after the other.
func (tx *Tx) run(list []parsed) error {
	for i := range list {
		if err := list[i].Do(tx, arguments{list[i].Texts, list[i].List}); err != nil {
			return tx.failAt(err, &list[i])
		}
	}
	return nil
}

func (tx *Tx) failAt(err error, at *parsed) error {
	failed := &ScriptError{[]Report{{at.Line, at.Column, err}}}
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
