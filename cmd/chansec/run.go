package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chansec/chansec/sqlstore"
)

// The exit statuses.
const (
	exitDone        = 0
	exitRefused     = 1   // what was asked for was refused, or failed
	exitMisused     = 2   // it could not be understood
	exitInterrupted = 130 // by Ctrl-C
)

// program is one run of the command line.
type program struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	json     bool
	open     func(*target, context.Context) (administrator, error)
}

// run does what the arguments say and returns the exit status. Results go to stdout, everything else to stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	p := &program{in: stdin, out: stdout, err: stderr, env: env, open: (*target).connect}
	return p.run(ctx, args)
}

func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(slices.Concat([]string{}, args)) // nil would be those of the process
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	return p.status(ctx, root.ExecuteContext(ctx))
}

// root returns the whole tree of commands.
func (p *program) root() *cobra.Command {
	root := p.group("chansec", "Keys, tokens, policies, rules, trails and the users of a database or a router",
		"  chansec serve --demo\n  chansec user list --database demo.db")
	root.Long = "chansec does by hand what the Go library chansec does for programs.\n\n" +
		"Exit status: 0 done, 1 refused or failed, 2 not understood, 130 interrupted."
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	root.PersistentFlags().BoolVar(&p.json, "json", false, "print one JSON document, for programs")
	root.AddCommand(p.keyCommand(), p.tokenCommand(), p.policyCommand(), p.rulesCommand(), p.auditCommand(),
		p.serveCommand(), p.completionCommand(), p.versionCommand())
	for _, t := range things {
		root.AddCommand(p.thingCommand(t))
	}
	root.SetHelpCommand(p.helpCommand(root))
	return root
}

// status says why the program ends, unless that was said already, and with which exit status.
func (p *program) status(ctx context.Context, err error) int {
	var wrong *misuse
	var stop signalled
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		if errors.As(context.Cause(ctx), &stop) && stop.Signal == syscall.SIGTERM {
			p.complain("terminated")
			return exitInterrupted + int(syscall.SIGTERM) - int(syscall.SIGINT)
		}
		p.complain("interrupted")
		return exitInterrupted
	case errors.Is(err, errSaid):
		return exitRefused
	case errors.As(err, &wrong):
		p.complain(err.Error())
		if wrong.hint != "" {
			fmt.Fprintln(p.err, "  "+visible(wrong.hint))
		}
		return exitMisused
	default:
		p.complain(err.Error())
		if errors.Is(err, sqlstore.ErrKey) {
			fmt.Fprintln(p.err, "  "+sealingHint)
		}
		return exitRefused
	}
}

// complain writes a message to stderr. Further lines are indented, so that none can pass for another message.
func (p *program) complain(text string) {
	lines := strings.Split(strings.TrimPrefix(strings.TrimRight(text, "\n"), "chansec: "), "\n")
	for i, line := range lines {
		lines[i] = visible(strings.TrimLeft(line, "\t")) // with which some libraries indent
	}
	fmt.Fprintln(p.err, "chansec: "+strings.Join(lines, "\n  "))
}

// errSaid is that something was refused, as the result says.
var errSaid = errors.New("refused")

// misuse is that the arguments make no sense. What it says of them must hold no secret.
type misuse struct{ text, hint string }

func (m *misuse) Error() string { return m.text }

func misused(hint, format string, args ...any) error {
	return &misuse{fmt.Sprintf(format, args...), hint}
}

// group returns a command that only has further ones.
func (p *program) group(use, short, example string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Example: example, DisableFlagsInUseLine: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			var names []string
			for _, sub := range cmd.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name())
				}
			}
			return misused("see "+cmd.CommandPath()+" --help", "%s what? There is %s", cmd.CommandPath(), strings.Join(names, ", "))
		}}
}

func unknownCommand(cmd *cobra.Command, word string) error {
	names := map[string]string{}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			for _, name := range slices.Concat([]string{sub.Name()}, sub.Aliases, sub.SuggestFor) {
				names[name] = sub.Name()
			}
		}
	}
	hint := "see " + cmd.CommandPath() + " --help"
	if name, ok := nearest(word, names); ok {
		hint = "did you mean " + cmd.CommandPath() + " " + name + "?"
	}
	return misused(hint, "%s: there is no command %s", cmd.CommandPath(), quoted(word))
}

// flagError says what is wrong with a flag: only its name, because what was given may be a secret.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if given := cmd.Flags().Args(); cmd.HasSubCommands() && len(given) > 0 { // the command is wrong, and therefore its flags
		return unknownCommand(cmd, given[0])
	}
	see := "see " + cmd.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var value *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			return misused(cmp.Or(secretHint[name], see), "there is no flag -%s", visible(name[:1]))
		}
		names := map[string]string{}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names[f.Name] = f.Name
			}
		})
		hint := see
		if near, ok := nearest(name, names); ok {
			hint = "did you mean --" + near + "?"
		}
		return misused(cmp.Or(secretHint[name], hint), "there is no flag --%s", visible(name))
	case errors.As(err, &missing):
		return misused(see, "the flag --%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &value):
		want := value.GetFlag().Value.Type()
		return misused(see, "--%s %s: want %s", value.GetFlag().Name, quoted(value.GetValue()), cmp.Or(kinds[want], want))
	case errors.As(err, &syntax):
		return misused(see, "flags are written --name or --name=value")
	}
	return misused(see, "a flag is wrong")
}

// kinds are what values of flags are, in words.
var kinds = map[string]string{"bool": "true or false", "duration": "a time such as 90s or 24h", "int": "a whole number", "uint64": "a whole number"}

// secretHint is for who wants to give a secret in an argument, where other users of the machine can read it.
var secretHint = func() map[string]string {
	hint := "secrets are not given in arguments, which others can read: use --secret-file, the variable CHANSEC_SECRET or the prompt"
	return map[string]string{"s": hint, "secret": hint, "password": hint, "token": "tokens are read from a file or from standard input", "key-secret": hint}
}()

// exactly demands so many arguments, with these names.
func exactly(names ...string) cobra.PositionalArgs { return between(len(names), names...) }

// between demands at least some of the arguments with these names.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := "usage: " + cmd.UseLine()
		switch {
		case len(args) < least:
			return misused(hint, "%s: %s is missing", cmd.CommandPath(), names[len(args)])
		case len(args) > len(names):
			return misused(hint, "%s: there is an argument too many: %s", cmd.CommandPath(), quoted(args[len(names)]))
		}
		return nil
	}
}

// atLeastOne demands one or more arguments.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return misused("usage: "+cmd.UseLine(), "%s: %s is missing", cmd.CommandPath(), name)
		}
		return nil
	}
}

// show prints a result: as JSON for programs, or as a text for people, whose values must be visible already.
func (p *program) show(result any, text string) error {
	if p.json {
		return p.printJSON(result)
	}
	return p.print(text)
}

// printJSON prints one document. What terminals would not show as it is becomes \u escapes, which mean the same.
func (p *program) printJSON(result any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(result); err != nil {
		return err
	}
	return p.print(visibleJSON(b.String()))
}

func (p *program) print(text string) error {
	_, err := io.WriteString(p.out, text)
	return err
}

// readFile reads a file of at most so many bytes; "-" is standard input.
func (p *program) readFile(ctx context.Context, name string, most int64) ([]byte, error) {
	if name == "-" {
		return p.readInput(ctx, most)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readMost(f, most, name)
}

// readInput reads standard input, until it or the context ends.
func (p *program) readInput(ctx context.Context, most int64) ([]byte, error) {
	type read struct {
		text []byte
		err  error
	}
	done := make(chan read, 1)
	go func() { // a read of a terminal cannot be stopped: then the goroutine ends with the process
		text, err := readMost(p.in, most, "standard input")
		done <- read{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func readMost(r io.Reader, most int64, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(text)) > most {
		return nil, fmt.Errorf("%s: more than %d bytes", name, most)
	}
	return text, err
}
