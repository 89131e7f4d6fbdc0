package authn

import (
	"strconv"

	"github.com/chansec/chansec/internal/script"
)

// maxScriptBytes bounds scripts that change a store.
const maxScriptBytes = 1 << 20

// ScriptError is why a script was refused. It is the Kind of each of its reports. It says no string of the script that may
// be a password.
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

type systemCommand = script.Command[func(*Tx, []string, []string) error]

func newSystemCommand(form string, do func(tx *Tx, texts, list []string) error) systemCommand {
	return script.New(form, do)
}

// systemCommands are those of a system authentication store (diffusion.md 7).
var systemCommands = []systemCommand{
	newSystemCommand("add principal S SECRET [NAMES]", func(tx *Tx, s, list []string) error { return tx.AddPrincipal(s[0], s[1], list...) }),
	newSystemCommand("add principal S SECRET locked by S", func(tx *Tx, s, _ []string) error { return tx.AddLockedPrincipal(s[0], s[1], s[2]) }),
	newSystemCommand("add principal S SECRET NAMES locked by S", func(tx *Tx, s, list []string) error { return tx.AddLockedPrincipal(s[0], s[1], s[2], list...) }),
	newSystemCommand("remove principal S", func(tx *Tx, s, _ []string) error { return tx.RemovePrincipal(s[0]) }),
	newSystemCommand("assign roles S NAMES", func(tx *Tx, s, list []string) error { return tx.AssignRoles(s[0], list...) }),
	newSystemCommand("set password S SECRET", func(tx *Tx, s, _ []string) error { return tx.SetPassword(s[0], s[1]) }),
	newSystemCommand("verify password S SECRET", func(tx *Tx, s, _ []string) error { return tx.VerifyPassword(s[0], s[1]) }),
	newSystemCommand("allow anonymous connections [NAMES]", func(tx *Tx, _, list []string) error { return tx.AllowAnonymousConnections(list...) }),
	newSystemCommand("deny anonymous connections", func(tx *Tx, _, _ []string) error { return tx.DenyAnonymousConnections() }),
	newSystemCommand("abstain anonymous connections", func(tx *Tx, _, _ []string) error { return tx.AbstainAnonymousConnections() }),
	newSystemCommand("trust client proposed property S if value in NAMES", func(tx *Tx, s, list []string) error { return tx.TrustClientProposedPropertyIn(s[0], list...) }),
	newSystemCommand("trust client proposed property S if value matches S", func(tx *Tx, s, _ []string) error { return tx.TrustClientProposedPropertyMatches(s[0], s[1]) }),
	newSystemCommand("ignore client proposed property S", func(tx *Tx, s, _ []string) error { return tx.IgnoreClientProposedProperty(s[0]) }),
}

// redactScript returns a script as it may be shown: without passwords, comments and lines that are no commands.
func redactScript(text string) string {
	if len(text) > maxScriptBytes {
		return "# a script of " + strconv.Itoa(len(text)) + " bytes"
	}
	return script.Redact(text, systemCommands)
}

// Run runs a script: parsed wholly, then command by command.
func (tx *Tx) Run(text string) error {
	if err := tx.over(); err != nil {
		return err
	}
	if len(text) > maxScriptBytes {
		return tx.fail(refuse(Limit, "script", strconv.Itoa(len(text))+" bytes", "at most "+strconv.Itoa(maxScriptBytes)))
	}
	return tx.run(text)
}

func (tx *Tx) run(text string) error {
	list, problems := script.Parse(text, systemCommands)
	if problems != nil {
		if tx.store.config.Audit != nil && !tx.loading {
			tx.log.Add(script.Word(redactScript(text)))
		}
		failed := &ScriptError{}
		for _, p := range problems {
			// What is there may be a password that was put in the wrong place.
			failed.Reports = append(failed.Reports, Report{p.Line, p.Column, refuse(Syntax, p.What, "", p.Want)})
		}
		return tx.fail(failed)
	}
	for _, c := range list {
		if err := c.Do(tx, c.Texts, c.List); err != nil {
			failed := &ScriptError{[]Report{{c.Line, c.Column, err}}}
			tx.err = failed
			return failed
		}
	}
	return nil
}
