package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chansec/chansec/policy"
)

// maxPolicyBytes bounds files of policies and rules.
const maxPolicyBytes = 64 << 20

// policyKind says what a policy file is for, which the file itself does not say.
type policyKind struct {
	kind                            string
	said                            func(flag string) bool // on the command line
	delegation, denyRows, variables bool
}

var policyKinds = []string{"diffusion", "wamp", "plain"}

func (k *policyKind) flags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&k.kind, "kind", "diffusion", "the rule and the permissions: diffusion, wamp or plain")
	f.BoolVar(&k.delegation, "delegation", false, "there are topics and roles bound to them (wamp)")
	f.BoolVar(&k.denyRows, "deny-rows", false, "there are rows that deny (wamp)")
	k.said = f.Changed
	f.BoolVar(&k.variables, "variables", false, "$principal in a path stands for the name of whoever asks")
	completes(cmd, "kind", policyKinds...)
}

func (k *policyKind) config() (policy.Config, error) {
	var c policy.Config
	switch k.kind {
	case "diffusion":
		c = policy.DiffusionConfig()
	case "wamp":
		c = policy.WAMPConfig()
	case "plain":
		c = policy.PlainConfig()
	default:
		return c, notOneOf("--kind", k.kind, policyKinds)
	}
	c.Delegation, c.DenyRows, c.Variables = k.delegation, k.denyRows, k.variables
	if (k.delegation || k.denyRows) && k.kind != "wamp" {
		return c, misused("", "--delegation and --deny-rows are for --kind wamp")
	}
	return c, nil
}

// of returns what a file or a database is for.
func (k *policyKind) of(file string) (c policy.Config, isADatabase bool, err error) {
	if !isDatabase(file) {
		c, err = k.config()
		return c, false, err
	}
	if k.said("kind") && k.kind != "wamp" || k.denyRows || k.variables {
		return c, true, misused("its programs, chansec serve among them, could not read it any more", "%s: a database is of the kind wamp, with delegation, without rows that deny and variables",
			quoted(file))
	}
	return databasePolicy(), true, nil
}

// matches are the ways in which a name of WAMP is a pattern, or not.
var matches = []string{string(policy.MatchExact), string(policy.MatchPrefix), string(policy.MatchWildcard)}

// fixed returns what is decided on where a path is a pattern: what all that matches has in common (sqlauth.md 4.3). If there
// is nothing, that is empty, where nothing can be granted.
func (k *policyKind) fixed(file, match, path string) (string, error) {
	switch {
	case match == "":
		return path, nil
	case !slices.Contains(matches, match):
		return "", notOneOf("--match", match, matches)
	case k.kind != "wamp" && !isDatabase(file):
		return "", misused("", "--match is for --kind wamp")
	}
	part, _ := policy.FixedPart(path, policy.Match(match))
	return part, nil
}

// load reads a whole policy from a file or a database, which it leaves as it is.
func (k *policyKind) load(ctx context.Context, p *program, file string) (*policy.Store, error) {
	config, isADatabase, err := k.of(file)
	if err != nil {
		return nil, err
	}
	if isADatabase {
		return p.copied(ctx, file)
	}
	text, err := p.readFile(ctx, file, maxPolicyBytes)
	if err != nil {
		return nil, err
	}
	bar := p.progress("reading the policy", -1)
	defer bar.end()
	store, err := policy.Open(ctx, config, written{file, string(text), 1})
	if err != nil {
		return nil, scriptProblems(file, err)
	}
	return store, nil
}

// written is a policy that was read, and that nothing changes.
type written struct {
	file, script string
	revision     uint64
}

func (w written) Changes(_ context.Context, after uint64) iter.Seq2[policy.Change, error] {
	return func(yield func(policy.Change, error) bool) {
		if after == 0 {
			yield(policy.Change{Revision: w.revision, Whole: true, At: time.Now(), Script: w.script, Where: w.file}, nil)
		}
	}
}

func (written) Append(context.Context, policy.Change) error  { return policy.Conflict }
func (written) Compact(context.Context, policy.Change) error { return policy.Conflict }

// scriptProblems says everything that is wrong with a script, each with its place.
func scriptProblems(file string, err error) error {
	script, ok := errors.AsType[*policy.ScriptError](err)
	if !ok {
		return err
	}
	var lines []string
	for _, r := range script.Reports {
		lines = append(lines, fmt.Sprintf("%s:%d:%d: %s", visible(file), r.Line, r.Column, strings.TrimPrefix(r.Err.Error(), "policy: ")))
	}
	return &scriptProblem{strings.Join(lines, "\n"), err}
}

// scriptProblem is a ScriptError with the name of the file in each line.
type scriptProblem struct {
	text string
	err  error
}

func (s *scriptProblem) Error() string { return s.text }
func (s *scriptProblem) Unwrap() error { return s.err }

func (p *program) policyCommand() *cobra.Command {
	kind := &policyKind{}
	group := p.group("policy", "Check, explain, test and change policy files", "  chansec policy explain policy.script --as alice READ_TOPIC prices/fx")
	group.Long = `A policy file is one script of commands that make the policy from nothing: who has which role, and which role may do what
on which path. "-" is standard input. In its place there may be a database (a file of SQLite, or postgres://...), whose policy is
of the kind wamp, with delegation.`
	kind.flags(group)
	group.AddCommand(p.policyCheckCommand(kind), p.policyExplainCommand(kind), p.policyLintCommand(kind), p.policyTestCommand(kind),
		p.policyDiffCommand(kind), p.policyApplyCommand(kind))
	return group
}

func (p *program) policyCheckCommand(kind *policyKind) *cobra.Command {
	return &cobra.Command{Use: "check FILE...", Short: "Say what is wrong in policy files", Example: "  chansec policy check policy.script",
		Args: atLeastOne("FILE"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			type problem struct {
				Line    int    `json:"line,omitempty"`
				Column  int    `json:"column,omitempty"`
				Message string `json:"message"`
			}
			type checked struct {
				File     string    `json:"file"`
				OK       bool      `json:"ok"`
				Problems []problem `json:"problems"`
			}
			return p.checkFiles(cmd.Context(), args, func(file string) (any, string, error) {
				c := checked{File: file, Problems: []problem{}}
				_, err := kind.load(cmd.Context(), p, file)
				if script, ok := errors.AsType[*policy.ScriptError](err); ok {
					for _, r := range script.Reports {
						c.Problems = append(c.Problems, problem{r.Line, r.Column, r.Err.Error()})
					}
				} else if err != nil {
					c.Problems = append(c.Problems, problem{Message: err.Error()})
				}
				c.OK = err == nil
				return c, "", err
			})
		}}
}

// checkFiles checks files one after the other. For each, check returns what programs are told, what people are told beside
// whether it is well, and what is wrong with it; that the command was misused ends it.
func (p *program) checkFiles(ctx context.Context, files []string, check func(file string) (result any, text string, err error)) error {
	var all []any
	var text strings.Builder
	var failed []error
	for _, file := range files {
		result, more, err := check(file)
		if _, wrong := errors.AsType[*misuse](err); wrong || ctx.Err() != nil {
			return cmp.Or(err, ctx.Err())
		}
		text.WriteString(more)
		if err == nil {
			fmt.Fprintf(&text, "%s: ok\n", name(file))
		}
		failed = append(failed, err)
		all = append(all, result)
	}
	err := errors.Join(failed...)
	if p.json {
		return errors.Join(p.printJSON(all), said(err))
	}
	return errors.Join(p.print(text.String()), err)
}

// said is for an error that the result on stdout says already.
func said(err error) error {
	if err != nil {
		return errSaid
	}
	return nil
}

// asker is the session that a question is about.
type asker struct {
	principal string
	roles     []string
	anonymous bool
}

func (a *asker) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.principal, "as", "", "the principal who asks")
	f.StringArrayVar(&a.roles, "role", nil, "a role that an authenticator vouches for; may be repeated")
	f.BoolVar(&a.anonymous, "anonymous", false, "somebody without a principal asks")
}

func (a *asker) session(s *policy.Snapshot) (policy.Session, error) {
	if (a.principal == "") != a.anonymous {
		return policy.Session{}, misused("", "say who asks: either --as NAME or --anonymous")
	}
	return s.Session(a.principal, a.roles...), nil
}

// explanation is a policy.Explanation for programs.
type explanation struct {
	Allowed   bool     `json:"allowed"`
	Path      string   `json:"path"`
	Needed    []string `json:"needed"`
	Granted   []string `json:"granted"`
	Basis     string   `json:"basis"`
	DecidedBy string   `json:"decided_by"`
	Roles     []string `json:"roles"`
	Missing   string   `json:"missing,omitempty"`
	Revision  uint64   `json:"revision"`
	Pattern   string   `json:"pattern,omitempty"` // of which path is the fixed part
	Match     string   `json:"match,omitempty"`   // prefix or wildcard, with a pattern
}

func newExplanation(x policy.Explanation) explanation {
	e := explanation{Allowed: x.Allowed, Path: x.Path, Needed: list(x.Needed), Granted: list(x.Granted), Basis: x.Basis.String(),
		DecidedBy: x.DecidedBy, Roles: []string{}, Missing: x.Missing, Revision: x.Revision}
	for _, r := range x.Because {
		e.Roles = append(e.Roles, r.Role)
	}
	return e
}

// list is never null in JSON.
func list(s []string) []string { return append([]string{}, s...) }

// paragraph makes a text of several lines visible.
func paragraph(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = visible(line)
	}
	return strings.Join(lines, "\n") + "\n"
}

func (p *program) policyExplainCommand(kind *policyKind) *cobra.Command {
	var who asker
	var match string
	cmd := &cobra.Command{Use: "explain FILE (--as NAME | --anonymous) PERMISSION PATH", Short: "Say whether somebody may do something, and why",
		Long: "Say whether somebody may do something on a path, and why. Several permissions are separated by commas; all of them are needed.\n" +
			"With --match, PATH is a pattern to subscribe or register by, and the answer is about all that matches.\n" +
			"The exit status is 1 if the answer is no.",
		Example: "  chansec policy explain policy.script --as alice READ_TOPIC,SELECT_TOPIC prices/fx\n" +
			"  chansec policy explain home.db --as greg subscribe com.home. --match prefix",
		Args: exactly("FILE", "PERMISSION", "PATH"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := kind.fixed(args[0], match, args[2])
			if err != nil {
				return err
			}
			store, err := kind.load(cmd.Context(), p, args[0])
			if err != nil {
				return err
			}
			s := store.Snapshot()
			session, err := who.session(s)
			if err != nil {
				return err
			}
			x, err := s.Explain(session, path, strings.Split(args[1], ",")...)
			if err != nil {
				return policyMisuse(err)
			}
			result, text := newExplanation(x), paragraph(x.String())
			if match != "" && match != string(policy.MatchExact) {
				result.Pattern, result.Match = args[2], match
				text = fmt.Sprintf("all that matches the %s %s has in common %s\n", match, quoted(args[2]), quoted(path)) + text
			}
			if err := p.show(result, text); err != nil || x.Allowed {
				return err
			}
			return errSaid
		}}
	who.flags(cmd)
	cmd.Flags().StringVar(&match, "match", "", "exact, prefix or wildcard (wamp)")
	completes(cmd, "match", matches...)
	return cmd
}

// policyMisuse makes a misuse of an error about an argument that a policy does not know.
func policyMisuse(err error) error {
	if errors.Is(err, policy.UnknownPermission) || errors.Is(err, policy.InvalidPath) || errors.Is(err, policy.InvalidArgument) {
		return &misuse{text: err.Error()}
	}
	return err
}

func (p *program) policyLintCommand(kind *policyKind) *cobra.Command {
	return &cobra.Command{Use: "lint FILE", Short: "Find what may be a mistake in a policy",
		Long:    "Find what may be a mistake in a policy that is correct, each with the command that would mend it, where there is one.\nThe exit status is 1 if there is anything.",
		Example: "  chansec policy lint policy.script", Args: exactly("FILE"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := kind.load(cmd.Context(), p, args[0])
			if err != nil {
				return err
			}
			type finding struct {
				Kind        string   `json:"kind"`
				Role        string   `json:"role,omitempty"`
				Path        string   `json:"path,omitempty"`
				Permissions []string `json:"permissions"`
				Message     string   `json:"message"`
				Fix         string   `json:"fix,omitempty"`
			}
			bar := p.progress("looking for mistakes", -1)
			found := store.Snapshot().Lint()
			bar.end()
			all := []finding{}
			var text strings.Builder
			for _, f := range found {
				all = append(all, finding{f.Kind.String(), f.Role, f.Path, list(f.Permissions), f.Message, f.Fix})
				fmt.Fprintf(&text, "%s: %s\n", f.Kind, visible(f.Message))
				if f.Fix != "" {
					fmt.Fprintf(&text, "  fix: %s\n", visible(f.Fix))
				}
			}
			if len(all) == 0 {
				text.WriteString("nothing found\n")
			}
			if err := p.show(all, text.String()); err != nil || len(all) == 0 {
				return err
			}
			return errSaid
		}}
}

// policyCase is a question about a policy, and the answer that is expected.
type policyCase struct {
	Name       string   `yaml:"name"`
	As         string   `yaml:"as"`
	Anonymous  bool     `yaml:"anonymous"`
	Roles      []string `yaml:"roles"`
	Permission string   `yaml:"permission"`
	Path       *string  `yaml:"path"`
	Match      string   `yaml:"match"`
	Allow      *bool    `yaml:"allow"`
	DecidedBy  *string  `yaml:"decided_by"`
}

func (p *program) policyTestCommand(kind *policyKind) *cobra.Command {
	return &cobra.Command{Use: "test FILE CASES", Short: "Compare a policy with the answers that are expected of it",
		Long: `Compare a policy with the answers that are expected of it. CASES is a YAML or JSON list:

  - {name: traders read prices, as: alice, permission: READ_TOPIC, path: prices/fx, allow: true}
  - {name: guests do not, anonymous: true, permission: READ_TOPIC, path: prices/fx, allow: false}
  - {as: bob, roles: [TRADER], permission: READ_TOPIC, path: prices/fx, allow: true, decided_by: prices}
  - {as: greg, permission: subscribe, path: com.home., match: prefix, allow: true}  # of --kind wamp, or a database

The exit status is 1 if an answer is another.`,
		Example: "  chansec policy test policy.script policy.cases.yaml", Args: exactly("FILE", "CASES"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := kind.load(cmd.Context(), p, args[0])
			if err != nil {
				return err
			}
			text, err := p.readFile(cmd.Context(), args[1], maxPolicyBytes)
			if err != nil {
				return err
			}
			var cases []policyCase
			if err := decodeStrict(args[1], text, &cases); err != nil {
				return err
			}
			if len(cases) == 0 {
				return fmt.Errorf("%s: there are no cases, which proves nothing", quoted(args[1]))
			}
			type failure struct {
				Case int         `json:"case"`
				Name string      `json:"name,omitempty"`
				Want bool        `json:"want"`
				Got  explanation `json:"got"`
			}
			failures := []failure{}
			var report strings.Builder
			s := store.Snapshot()
			for i, c := range cases {
				where := fmt.Sprintf("%s: case %d", quoted(args[1]), i+1)
				if c.Allow == nil || c.Permission == "" || c.Path == nil {
					return fmt.Errorf("%s: permission, path and allow are needed", where)
				}
				who := asker{c.As, c.Roles, c.Anonymous}
				session, err := who.session(s)
				if err != nil {
					return fmt.Errorf("%s: either as or anonymous is needed", where)
				}
				path, err := kind.fixed(args[0], c.Match, *c.Path)
				if err != nil {
					return fmt.Errorf("%s: %v", where, err)
				}
				x, err := s.Explain(session, path, strings.Split(c.Permission, ",")...)
				if err != nil {
					return fmt.Errorf("%s: %w", where, err)
				}
				if x.Allowed != *c.Allow || c.DecidedBy != nil && *c.DecidedBy != x.DecidedBy {
					failures = append(failures, failure{i + 1, c.Name, *c.Allow, newExplanation(x)})
					want := map[bool]string{true: "allowed", false: "denied"}[*c.Allow]
					if c.DecidedBy != nil {
						want += " by " + quoted(*c.DecidedBy)
					}
					fmt.Fprintf(&report, "FAIL case %d %s: want %s, got\n  %s\n", i+1, name(c.Name), want,
						strings.ReplaceAll(strings.TrimRight(paragraph(x.String()), "\n"), "\n", "\n  "))
				}
			}
			fmt.Fprintf(&report, "%d of %d cases are as expected\n", len(cases)-len(failures), len(cases))
			err = p.show(struct {
				Cases    int       `json:"cases"`
				Failures []failure `json:"failures"`
			}{len(cases), failures}, report.String())
			if err != nil || len(failures) == 0 {
				return err
			}
			return errSaid
		}}
}

// change is what a file makes of a policy: another one, or, with commands, a further one.
func change(text string, commands bool) func(*policy.Tx) error {
	if commands {
		return func(tx *policy.Tx) error { return tx.Run(text) }
	}
	return func(tx *policy.Tx) error { return tx.Restore(text) }
}

// difference is what a change would make different, for programs.
type difference struct {
	Removed []string `json:"removed"`
	Added   []string `json:"added"`
	Access  []access `json:"access"`
}

// access is what somebody gains and loses.
type access struct {
	Who    string   `json:"who"` // "principal", "anonymous" or "others"
	Name   string   `json:"name,omitempty"`
	Path   string   `json:"path"`
	Global bool     `json:"global,omitempty"`
	Gained []string `json:"gained"`
	Lost   []string `json:"lost"`
}

func newDifference(v *policy.Preview) difference {
	before, after := commandsOf(v.Before), commandsOf(v.After)
	d := difference{Removed: without(before, after), Added: without(after, before), Access: []access{}}
	add := func(list []policy.Difference, global bool) {
		for _, x := range list {
			who := map[policy.Whom]string{policy.AnonymousSessions: "anonymous", policy.OnePrincipal: "principal", policy.OtherPrincipals: "others"}[x.Whom]
			d.Access = append(d.Access, access{who, x.Principal, x.Path, global, append([]string{}, x.Gained...), append([]string{}, x.Lost...)})
		}
	}
	add(v.Paths, false)
	add(v.Globals, true)
	return d
}

func commandsOf(s *policy.Snapshot) []string {
	return strings.Split(strings.TrimRight(s.Script(), "\n"), "\n")
}

// without returns the lines that are not among others.
func without(lines, others []string) []string {
	there := make(map[string]bool, len(others))
	for _, o := range others {
		there[o] = true
	}
	left := []string{}
	for _, line := range lines {
		if line != "" && !there[line] {
			left = append(left, line)
		}
	}
	return left
}

// String is the difference for people.
func (d difference) String() string {
	if len(d.Removed)+len(d.Added) == 0 {
		return "no difference\n"
	}
	var b strings.Builder
	for _, line := range d.Removed {
		b.WriteString("- " + visible(line) + "\n")
	}
	for _, line := range d.Added {
		b.WriteString("+ " + visible(line) + "\n")
	}
	var rows [][]string
	for _, a := range d.Access {
		who, path := a.Name, a.Path
		switch {
		case a.Who == "anonymous":
			who = "(without a principal)"
		case a.Who == "others":
			who = "(all others)"
		}
		switch {
		case a.Global:
			path = "(global)"
		case path == "":
			path = "(everywhere)"
		}
		gained, lost := strings.Join(a.Gained, " "), strings.Join(a.Lost, " ")
		if gained+lost == "" {
			gained, lost = "(as before)", "(as before)"
		}
		rows = append(rows, []string{who, path, gained, lost})
	}
	if len(rows) == 0 {
		return b.String() + "\nnobody gains or loses anything\n"
	}
	return b.String() + "\n" + table([]string{"WHO", "PATH", "GAINS", "LOSES"}, rows)
}

const changeHelp = `
NEW is a whole policy file. With --commands it is a script of commands that are run on what is there.`

func (p *program) policyDiffCommand(kind *policyKind) *cobra.Command {
	var commands bool
	cmd := &cobra.Command{Use: "diff FILE NEW", Short: "Say what another policy would change, and who would gain or lose what",
		Long:    "Say what another policy would change in a policy file, and who would gain or lose what." + changeHelp,
		Example: "  chansec policy diff policy.script new.script", Args: exactly("FILE", "NEW"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := kind.load(cmd.Context(), p, args[0])
			if err != nil {
				return err
			}
			d, _, err := p.preview(cmd.Context(), store, policy.Root(), args[1], commands)
			if err != nil {
				return err
			}
			return p.show(d, d.String())
		}}
	cmd.Flags().BoolVar(&commands, "commands", false, "NEW is commands to run on FILE, not a whole policy")
	return cmd
}

// preview reads a change and returns what it would make different, and what makes it.
func (p *program) preview(ctx context.Context, store *policy.Store, actor policy.Actor, file string, commands bool) (difference, func(*policy.Tx) error, error) {
	text, err := p.readFile(ctx, file, maxPolicyBytes)
	if err != nil {
		return difference{}, nil, err
	}
	bar := p.progress("comparing", -1)
	defer bar.end()
	do := change(string(text), commands)
	v, err := store.Preview(ctx, actor, do)
	if err != nil {
		return difference{}, nil, scriptProblems(file, err)
	}
	return newDifference(v), do, nil
}

func (p *program) policyApplyCommand(kind *policyKind) *cobra.Command {
	var commands, yes bool
	var as string
	cmd := &cobra.Command{Use: "apply FILE NEW", Short: "Make a policy file what another one is",
		Long: "Make a policy file what another one is, all of it or nothing, after showing what that changes and asking. If the file changes\n" +
			"meanwhile, nothing is done. Programs that have the file open take the change over when they refresh." + changeHelp,
		Example: "  chansec policy apply policy.script new.script\n  echo 'set \"TRADER\" path \"prices\" permissions [READ_TOPIC]' | chansec policy apply policy.script - --commands --yes",
		Args:    exactly("FILE", "NEW"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx := cmd.Context()
			if args[0] == "-" {
				return misused("", "FILE must be a file, which is changed")
			}
			config, _, err := kind.of(args[0])
			if err != nil {
				return err
			}
			if args[1] == "-" && !yes {
				return misused("say --yes", "nobody can be asked when NEW is read from standard input")
			}
			store, end, err := p.openPolicy(ctx, config, args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, end()) }()
			actor := policy.Root()
			if as != "" {
				actor = policy.ActorNamed(as)
			}
			revision := store.Version()
			d, do, err := p.preview(ctx, store, actor, args[1], commands)
			if err != nil {
				return err
			}
			type applied struct {
				difference
				Revision uint64 `json:"revision"`
			}
			if len(d.Removed)+len(d.Added) == 0 {
				return p.show(applied{d, revision}, d.String())
			}
			if !p.json {
				err = p.print(d.String())
			} else if !yes { // who is asked must see about what
				_, err = io.WriteString(p.err, d.String())
			}
			if err != nil {
				return err
			}
			if err := p.confirm(ctx, yes, "Apply this to "+quoted(args[0])+"?"); err != nil {
				return err
			}
			bar := p.progress("applying", -1)
			err = store.Update(ctx, actor, func(tx *policy.Tx) error {
				if err := tx.Expect(revision); err != nil {
					return err
				}
				return do(tx)
			})
			bar.end()
			if err != nil {
				return err
			}
			return p.show(applied{d, store.Version()}, fmt.Sprintf("applied: revision %d\n", store.Version()))
		}}
	f := cmd.Flags()
	f.BoolVar(&commands, "commands", false, "NEW is commands to run on FILE, not a whole policy")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	f.StringVar(&as, "as", "", "make the change as that principal, who must be allowed to")
	return cmd
}
