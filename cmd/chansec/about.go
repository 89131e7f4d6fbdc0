package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print which version this is", Example: "  chansec version", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Revision string `json:"revision,omitempty"`
				Modified bool   `json:"modified,omitempty"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				v.Version = info.Main.Version
				for _, s := range info.Settings {
					switch s.Key {
					case "vcs.revision":
						v.Revision = s.Value
					case "vcs.modified":
						v.Modified = s.Value == "true"
					}
				}
			}
			return p.show(v, fmt.Sprintf("chansec %s %s %s\n", v.Version, v.Go, v.Platform))
		}}
}

func (p *program) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{Use: "completion SHELL", Short: "Print a script that lets a shell complete commands and flags",
		Long: "Print a script that lets a shell complete commands and flags: bash, zsh or fish.",
		Example: `  source <(chansec completion bash)
  chansec completion zsh > "${fpath[1]}/_chansec"
  chansec completion fish > ~/.config/fish/completions/chansec.fish`,
		Args: exactly("SHELL"), ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			var b strings.Builder
			var err error
			switch root := cmd.Root(); args[0] {
			case "bash":
				err = root.GenBashCompletionV2(&b, true)
			case "zsh":
				err = root.GenZshCompletion(&b)
			case "fish":
				err = root.GenFishCompletion(&b, true)
			default:
				return notOneOf("SHELL", args[0], shells)
			}
			if err != nil {
				return err
			}
			return p.print(b.String())
		}}
}

// completes has shells offer these words for a flag, and no names of files.
func completes(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// helpCommand is cobra's, but for what it does with what is not there.
func (p *program) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND]", Short: "Explain a command", Example: "  chansec help policy diff", DisableFlagsInUseLine: true,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range cmd.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd := root
			for _, word := range args {
				i := slices.IndexFunc(cmd.Commands(), func(sub *cobra.Command) bool { return sub.Name() == word || sub.HasAlias(word) })
				if i < 0 {
					return unknownCommand(cmd, word)
				}
				cmd = cmd.Commands()[i]
			}
			return cmd.Help()
		}}
}

// notOneOf is that an argument is not one of some words.
func notOneOf(what, value string, words []string) error {
	spellings := map[string]string{}
	for _, w := range words {
		spellings[w] = w
	}
	hint := ""
	if near, ok := nearest(value, spellings); ok {
		hint = "did you mean " + near + "?"
	}
	return misused(hint, "%s %s: want one of %s", what, quoted(value), strings.Join(words, ", "))
}
