package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/audit"
)

func (p *program) auditCommand() *cobra.Command {
	group := p.group("audit", "Verify and search the trail of who did what", "  chansec audit query trail --outcome denied --from 24h")
	group.AddCommand(p.auditVerifyCommand(), p.auditQueryCommand())
	return group
}

func (p *program) auditVerifyCommand() *cobra.Command {
	var keyFile, anchor string
	cmd := &cobra.Command{Use: "verify DIR", Short: "Find out whether a trail is as it was written",
		Long: `Find out whether every record of a trail that was written with a chain is as it was written: none changed, added, moved or
removed. Keep the head that is printed where nobody who can write the trail can write, and give it as --anchor the next
time: only so is it seen if the end was cut off. Without --key, somebody who wrote the whole chain anew is not seen either.`,
		Example: "  chansec audit verify trail --anchor 17:09af...", Args: exactly("DIR"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			var c audit.VerifyConfig
			if anchor != "" {
				head, err := audit.ParseHead(anchor)
				if err != nil {
					return misused("it is the head that an earlier verify printed", "--anchor %s: want NUMBER:HASH", quoted(anchor))
				}
				c.Anchor = &head
			}
			if keyFile != "" {
				m, _, err := p.loadKey(cmd.Context(), keyFile, "", "")
				if err != nil {
					return err
				}
				if c.Key = m.secret; c.Key == nil {
					return fmt.Errorf("key file %s: the key of a trail is a secret, such as chansec key new hs256 makes", quoted(keyFile))
				}
			}
			if err := isFolder(args[0]); err != nil {
				return err
			}
			bar := p.progress("verifying", folderBytes(args[0]))
			v, err := audit.VerifyFS(cmd.Context(), watchedFS{os.DirFS(args[0]), bar}, c)
			bar.end()
			damage, damaged := errors.AsType[*audit.DamagedError](err)
			if err != nil && !damaged {
				return err
			}
			if v.Records == 0 && !damaged && c.Anchor == nil {
				return fmt.Errorf("%s: there are no records in it, which proves nothing", quoted(args[0]))
			}
			type problem struct {
				File  string `json:"file,omitempty"`
				Line  int    `json:"line,omitempty"`
				Fault string `json:"fault"`
				Text  string `json:"text"`
			}
			problems := []problem{}
			var text strings.Builder
			if damaged {
				for _, f := range damage.Problems {
					problems = append(problems, problem{f.File, f.Line, string(f.Fault), f.Text})
					where := name(f.File)
					if f.Line > 0 {
						where += ":" + strconv.Itoa(f.Line)
					}
					if where != "" {
						where += ": "
					}
					fmt.Fprintf(&text, "%s%s: %s\n", where, f.Fault, visible(f.Text))
				}
				text.WriteString("damaged\n")
			} else {
				text.WriteString("every record is as it was written\n")
			}
			text.WriteString(fields("files", strconv.Itoa(v.Files), "records", strconv.FormatUint(v.Records, 10),
				"first", strconv.FormatUint(v.First, 10), "head", v.Head.String()))
			err = p.show(struct {
				OK       bool      `json:"ok"`
				Files    int       `json:"files"`
				Records  uint64    `json:"records"`
				First    uint64    `json:"first"`
				Head     string    `json:"head"`
				Problems []problem `json:"problems"`
			}{!damaged, v.Files, v.Records, v.First, v.Head.String(), problems}, text.String())
			if err == nil && damaged {
				err = errSaid
			}
			return err
		}}
	cmd.Flags().StringVar(&keyFile, "key", "", "the file of the key that the trail was written with")
	cmd.Flags().StringVar(&anchor, "anchor", "", "a head that the trail once had")
	return cmd
}

func isFolder(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", quoted(dir))
	}
	return err
}

// instant reads a time: RFC 3339, a day, or how long ago it was.
func instant(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UTC(), nil
	}
	return time.Time{}, misused("", "--%s %s: want a time such as 2026-11-28T09:00:00Z, a day such as 2026-11-28, or how long ago, such as 24h", flag, quoted(text))
}

var kindNames = []string{string(audit.KindDecision), string(audit.KindSession), string(audit.KindPolicy), string(audit.KindToken), string(audit.KindTrail)}

var outcomeNames = []string{"allowed", "denied", "undecided"}

func (p *program) auditQueryCommand() *cobra.Command {
	var f audit.Filter
	var kind, operation, from, to string
	var outcomes []string
	cmd := &cobra.Command{Use: "query DIR", Short: "Search a trail",
		Long: "Search a trail, also while it is being written. Filters must all match. Hashes are not looked at: see chansec audit verify.\n" +
			"Times are in UTC.",
		Example: "  chansec audit query trail --principal alice --outcome denied --from 24h --newest --limit 20",
		Args:    exactly("DIR"), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			now := time.Now()
			if f.From, err = instant("from", from, now); err != nil {
				return err
			}
			if f.To, err = instant("to", to, now); err != nil {
				return err
			}
			for _, text := range outcomes {
				outcome, err := audit.ParseOutcome(text)
				if err != nil {
					return notOneOf("--outcome", text, outcomeNames)
				}
				f.Outcomes = append(f.Outcomes, outcome)
			}
			if kind != "" && !slices.Contains(kindNames, kind) {
				return notOneOf("--kind", kind, kindNames)
			}
			f.Kind, f.Operation = audit.Kind(kind), chansec.Operation(operation)
			if err := f.Check(); err != nil {
				return invalidIsMisuse(err)
			}
			if err := isFolder(args[0]); err != nil {
				return err
			}
			return p.search(cmd.Context(), args[0], f)
		}}
	fl := cmd.Flags()
	fl.StringVar(&kind, "kind", "", strings.Join(kindNames, ", "))
	fl.StringVar(&f.Principal, "principal", "", "who did it")
	fl.StringVar(&f.Session, "session", "", "the session of the principal")
	fl.StringVar(&f.Target, "target", "", "what it was done to, such as a channel")
	fl.StringVar(&operation, "operation", "", "the operation, such as write")
	fl.StringArrayVar(&outcomes, "outcome", nil, "allowed, denied or undecided; may be repeated")
	fl.StringVar(&from, "from", "", "not before this time; 24h is a day ago")
	fl.StringVar(&to, "to", "", "before this time")
	fl.Uint64Var(&f.After, "after", 0, "only records with a higher number")
	fl.Uint64Var(&f.Before, "before", 0, "only records with a lower number")
	fl.BoolVar(&f.NewestFirst, "newest", false, "the newest first")
	fl.IntVar(&f.Limit, "limit", 1000, "no more than so many; 0 is all")
	completes(cmd, "kind", kindNames...)
	completes(cmd, "outcome", outcomeNames...)
	return cmd
}

func (p *program) search(ctx context.Context, dir string, f audit.Filter) error {
	bar := p.progress("searching", -1)
	records := []audit.Record{}
	var problems []error
	for r, err := range audit.Search(ctx, dir, f) {
		if problem, ok := errors.AsType[*audit.Problem](err); ok {
			problems = append(problems, problem)
			continue
		}
		if err != nil {
			bar.end()
			return err
		}
		records = append(records, r)
	}
	bar.end()
	if len(records) == 0 && len(problems) == 0 {
		some := false
		for range audit.Search(ctx, dir, audit.Filter{Limit: 1}) {
			some = true
		}
		if !some {
			p.complain(quoted(dir) + ": there are no records in it at all")
		}
	}
	var rows [][]string
	for _, r := range records {
		rows = append(rows, []string{strconv.FormatUint(r.Seq, 10), r.Time.UTC().Format("2006-01-02 15:04:05.000"), r.Outcome.String(), r.Principal,
			string(r.Operation), r.Target, r.Reason})
	}
	err := p.show(records, table([]string{"SEQ", "TIME", "OUTCOME", "PRINCIPAL", "OPERATION", "TARGET", "REASON"}, rows))
	return errors.Join(err, errors.Join(problems...))
}
