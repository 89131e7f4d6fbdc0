package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chansec/chansec/valve"
)

func (p *program) rulesCommand() *cobra.Command {
	group := p.group("rules", "Check, explain and test permission files in deepstream's Valve language",
		"  chansec rules explain permissions.yml --user alice --section event --action EMIT news")
	group.AddCommand(p.rulesCheckCommand(), p.rulesExplainCommand(), p.rulesTestCommand())
	return group
}

// loadRules reads a permission file, whose name says whether it is YAML or JSON.
func (p *program) loadRules(ctx context.Context, file string) (*valve.Permissions, error) {
	parse := valve.ParseYAML
	switch strings.ToLower(filepath.Ext(file)) {
	case ".json":
		parse = valve.ParseJSON
	case ".yml", ".yaml":
	default:
		if file != "-" {
			return nil, misused("", "%s: the name of a permission file ends in .yml, .yaml or .json", quoted(file))
		}
	}
	text, err := p.readFile(ctx, file, maxPolicyBytes)
	if err != nil {
		return nil, err
	}
	bar := p.progress("reading the rules", -1)
	rules, err := parse(text)
	bar.end()
	if wrong, ok := errors.AsType[*valve.LoadError](err); ok {
		wrong.File = file
	}
	return rules, err
}

func (p *program) rulesCheckCommand() *cobra.Command {
	return &cobra.Command{Use: "check FILE...", Short: "Say what is wrong in permission files, and what may be a mistake",
		Long:    "Say what is wrong in permission files, which then do not load, and what may be a mistake (a warning).",
		Example: "  chansec rules check permissions.yml", Args: atLeastOne("FILE"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			type checked struct {
				File     string   `json:"file"`
				OK       bool     `json:"ok"`
				Problem  string   `json:"problem,omitempty"`
				Warnings []string `json:"warnings"`
			}
			return p.checkFiles(cmd.Context(), args, func(file string) (any, string, error) {
				c := checked{File: file, Warnings: []string{}}
				rules, err := p.loadRules(cmd.Context(), file)
				if err != nil {
					c.Problem = err.Error()
					return c, "", err
				}
				var text strings.Builder
				for _, w := range rules.Lint() {
					c.Warnings = append(c.Warnings, w.String())
					fmt.Fprintf(&text, "%s: warning: %s\n", name(file), visible(w.String()))
				}
				c.OK = true
				return c, text.String(), nil
			})
		}}
}

var sections = []string{string(valve.Record), string(valve.Event), string(valve.RPC), string(valve.Presence)}

func (p *program) rulesExplainCommand() *cobra.Command {
	var user, userData, section, action, data, old, path string
	var content bool
	cmd := &cobra.Command{Use: "explain FILE --user NAME --section SECTION --action ACTION NAME", Short: "Say whether a rule lets somebody do something, and why",
		Long: `Say whether a rule lets somebody do something, and why. The exit status is 1 if the answer is no.

SECTION is record, event, rpc or presence; ACTION is deepstream's name, such as READ, CREATE, UPDATE, PATCH, DELETE (record),
EMIT, SUBSCRIBE (event), REQUEST, PROVIDE (rpc), QUERY (presence). NAME is that of the record, event, procedure or user.
Records that a rule looks up by _() are not there. Values are shown with --content only.`,
		Example: `  chansec rules explain permissions.yml --user alice --section record --action UPDATE --data '{"price":5}' items/7`,
		Args:    exactly("FILE", "NAME"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case user == "":
				return misused(`"open" is nobody`, "--user NAME is missing")
			case !slices.Contains(sections, section):
				return notOneOf("--section", section, sections)
			case action == "":
				return misused("", "--action ACTION is missing")
			}
			q := &valve.Query{User: user, Section: valve.Section(section), Action: valve.Action(strings.ToUpper(action)), Name: args[1], Path: path}
			for _, given := range []struct {
				flag, text string
				set        func(json.RawMessage)
			}{
				{"user-data", userData, func(r json.RawMessage) { q.UserData = r }},
				{"data", data, func(r json.RawMessage) { q.Data, q.HasData = r, true }},
				{"old", old, func(r json.RawMessage) { q.Old, q.HasOld = r, true }},
			} {
				if !cmd.Flags().Changed(given.flag) {
					continue
				}
				if !json.Valid([]byte(given.text)) {
					return misused("", "--%s is not JSON", given.flag)
				}
				given.set(json.RawMessage(given.text))
			}
			q.NoOld = !q.HasOld
			rules, err := p.loadRules(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			x := rules.Explain(cmd.Context(), q, content)
			if failed, ok := errors.AsType[*valve.EvalError](x.Err); ok && failed.Failure == valve.UnknownAction {
				return misused("see chansec rules explain --help", "--action %s: there is no such action in the section %s", quoted(action), section)
			}
			result := struct {
				Allowed bool           `json:"allowed"`
				Section valve.Section  `json:"section"`
				Path    string         `json:"path"`
				Type    valve.RuleType `json:"type"`
				Line    int            `json:"line,omitempty"`
				Rule    string         `json:"rule,omitempty"`
				Error   string         `json:"error,omitempty"`
			}{Allowed: x.Allowed, Section: x.Section, Path: x.Rule, Type: x.Type, Line: x.Line, Rule: x.Text}
			if x.Err != nil {
				result.Error = x.Err.Error()
			}
			if err := p.show(result, paragraph(x.String())); err != nil || x.Allowed {
				return err
			}
			return errSaid
		}}
	f := cmd.Flags()
	f.StringVar(&user, "user", "", "the ID of the user")
	f.StringVar(&userData, "user-data", "", "the user's data, as JSON")
	f.StringVar(&section, "section", "", "record, event, rpc or presence")
	completes(cmd, "section", sections...)
	f.StringVar(&action, "action", "", "what the user wants to do")
	f.StringVar(&data, "data", "", "the message, as JSON")
	f.StringVar(&old, "old", "", "the record as it is, as JSON; without it there is none")
	f.StringVar(&path, "path", "", "where the data of a PATCH belongs")
	f.BoolVar(&content, "content", false, "show the values of texts and numbers, which may be secret")
	return cmd
}

// recorder is a valve.TB that keeps what it is told.
type recorder struct{ failures, notes []string }

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}
func (r *recorder) Logf(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (p *program) rulesTestCommand() *cobra.Command {
	return &cobra.Command{Use: "test FILE", Short: "Compare a permission file with the answers that are expected of it",
		Long: "Compare a permission file with the cases in the file beside it, whose name ends in .cases.json instead, and say what no case\n" +
			"exercises. The exit status is 1 if an answer is another.",
		Example: "  chansec rules test permissions.yml", Args: exactly("FILE"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &recorder{failures: []string{}, notes: []string{}}
			bar := p.progress("testing", -1)
			valve.TestFile(r, args[0])
			bar.end()
			var text strings.Builder
			for _, failure := range r.failures {
				text.WriteString("FAIL " + paragraph(failure))
			}
			for _, note := range r.notes {
				text.WriteString(paragraph(note))
			}
			if len(r.failures) == 0 {
				text.WriteString("all cases are as expected\n")
			}
			err := p.show(struct {
				OK       bool     `json:"ok"`
				Failures []string `json:"failures"`
				Notes    []string `json:"notes"`
			}{len(r.failures) == 0, r.failures, r.notes}, text.String())
			if err != nil || len(r.failures) == 0 {
				return err
			}
			return errSaid
		}}
}
