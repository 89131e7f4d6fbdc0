// Package script reads and writes the language of Diffusion's stores (diffusion.md 7): text with one command a line. It
// knows words, strings, lists and the forms of commands, and not what any command means.
package script

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Command is one form of a line, and what it means to the store that takes it.
type Command[Do any] struct {
	form []element
	Do   Do
}

// element is one part of a form, which takes one token.
type element struct {
	kind     byte     // of the token
	items    byte     // of a list, the kind of its items
	words    []string // of a keyword, those that it may be
	optional bool
	secret   bool
	want     string // for people
}

// New returns the command of a form, which is as in the grammar of diffusion.md 7: lower-case words are keywords, S is a
// string, SECRET one that [Redact] takes out, NAMES a list of strings, PERMS one of bare words, and what is in brackets,
// at the end, may be left out, which means the empty list. A word with a bar is either of two keywords.
func New[Do any](form string, do Do) Command[Do] {
	c := Command[Do]{Do: do}
	for _, text := range strings.Fields(form) {
		e := element{kind: 'w', optional: text[0] == '['}
		switch text = strings.Trim(text, "[]"); text {
		case "S", "SECRET":
			e.kind, e.want, e.secret = 's', "a string in quotes", text == "SECRET"
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

// Line is a line that is in the grammar.
type Line[Do any] struct {
	Line, Column int // where the command begins, from 1, the column in characters
	Do           Do
	Texts        []string // the strings of the command, in their order
	List         []string // the items of its list
}

// Problem is what is wrong with a script, or with what was to be written as one.
type Problem struct {
	Line, Column int // from 1, the column in characters; 0 for what was to be written
	What         string
	Value        string // as it is, which may be a secret; empty for what was to be written as one
	Want         string // what would be right
}

// mostProblems is how many problems of one script are told.
const mostProblems = 20

// MostBytes bounds what Parse and Redact can be given.
const MostBytes = 1 << 30

// Parse reads a whole script: its lines, or, by lines, what is wrong with the first of those that are in no form.
func Parse[Do any](text string, commands []Command[Do]) ([]Line[Do], []Problem) {
	list := make([]Line[Do], 0, strings.Count(text, "\n")+1)
	var problems []Problem
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		tokens, command, bad := parseLine(strings.TrimSuffix(line, "\r"), commands)
		switch {
		case bad != nil:
			bad.Line = number
			if problems = append(problems, *bad); len(problems) == mostProblems {
				return nil, problems
			}
		case command != nil:
			p := Line[Do]{Line: number, Column: int(tokens[0].column), Do: command.Do}
			p.take(tokens)
			list = append(list, p)
		}
	}
	if problems != nil {
		return nil, problems
	}
	return list, nil
}

// parseLine reads one line. A blank one, or one that begins with #, is no command.
func parseLine[Do any](line string, commands []Command[Do]) ([]token, *Command[Do], *Problem) {
	s := &scanner{line: line}
	if s.blanks(); s.at == len(line) || line[s.at] == '#' {
		return nil, nil, nil
	}
	if !utf8.ValidString(line) {
		return nil, nil, s.complain(s.at, line, "UTF-8")
	}
	tokens, bad := s.tokens()
	if bad != nil {
		return nil, nil, bad
	}
	for i := range commands {
		if n, _ := commands[i].fit(tokens); n == fits {
			return tokens, &commands[i], nil
		}
	}
	return nil, nil, complain(tokens, s.column(len(line)), commands)
}

// fits is what fit returns for tokens that are in the form.
const fits = -1

// fit holds tokens against the form. It returns how many of them are right, or fits, and the one that is wrong; nil is the
// end of the line.
func (c *Command[Do]) fit(tokens []token) (right int, wrong *token) {
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

// take keeps the strings and the list among tokens that are in a form.
func (l *Line[Do]) take(tokens []token) {
	for _, t := range tokens {
		switch t.kind {
		case 's':
			l.Texts = append(l.Texts, t.text)
		case '[':
			for _, item := range t.items {
				l.List = append(l.List, item.text)
			}
		}
	}
}

// complain says what is wrong with tokens that are in no form: the first that the forms which go furthest do not take.
func complain[Do any](tokens []token, end int, commands []Command[Do]) *Problem {
	furthest := -1
	var worst Problem
	for i := range commands {
		right, wrong := commands[i].fit(tokens)
		want := "the end of the line"
		if right < len(commands[i].form) {
			want = commands[i].form[right].want
		}
		switch {
		case right > furthest:
			furthest, worst = right, Problem{Column: end, What: "script", Value: "end of line", Want: want}
			if wrong != nil {
				worst.Column, worst.Value = int(wrong.column), wrong.text
			}
		case right == furthest && !strings.Contains(worst.Want, want):
			worst.Want += " or " + want
		}
	}
	return &worst
}

// Redacted stands where a secret was.
const Redacted = "***"

// Redact returns a script without what may be secret, line for line: strings in the place of a SECRET are '***', and of
// comments and of lines that are in no form, which may hold anything, only that they are there.
func Redact[Do any](text string, commands []Command[Do]) string {
	var b strings.Builder
	first := true
	for line := range strings.SplitSeq(text, "\n") {
		if !first {
			b.WriteByte('\n')
		}
		first = false
		line = strings.TrimSuffix(line, "\r")
		tokens, command, bad := parseLine(line, commands)
		switch {
		case bad != nil:
			b.WriteString("# not a command")
		case command != nil:
			from := int32(0)
			for i := range tokens {
				if command.form[i].secret {
					b.WriteString(line[from:tokens[i].at] + "'" + Redacted + "'")
					from = tokens[i].end
				}
			}
			b.WriteString(line[from:])
		case strings.Trim(line, " \t") != "":
			b.WriteString("# a comment")
		}
	}
	return b.String()
}

// ErrorText is what an error about a script says: its first problem, where that is, and how many more there are.
func ErrorText(line, column int, first error, more int) string {
	text := fmt.Sprintf("line %d, column %d: %v", line, column, first)
	if more > 0 {
		text += " (and " + strconv.Itoa(more) + " more)"
	}
	return text
}

// Quote shortens and quotes what came from outside, so that an error stays one short line.
func Quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "... (" + strconv.Itoa(len(s)) + " bytes)"
	}
	return strconv.Quote(s)
}

// IsText reports whether a string is UTF-8 without control characters.
func IsText(s string) bool {
	for _, c := range s {
		if c < ' ' || 0x7f <= c && c < 0xa0 {
			return false
		}
	}
	return utf8.ValidString(s)
}
