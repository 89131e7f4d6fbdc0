package valve

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/chansec/chansec/valve/internal/jsregexp"
)

// path is a path of a permission file, compiled. Most paths are plain: texts, variables that end with their segment, and
// a star at the end; the others are the regular expressions that deepstream makes of all.
type path struct {
	text   string
	length int      // in UTF-16 units
	names  []string // of the variables, with their dollar signs, in order; may repeat

	prefix string // what every name that matches begins with
	exact  bool   // and nothing else
	parts  []part // of a plain path, what follows the prefix
	re     *jsregexp.Regexp
}

// part is a part of a plain path: a text, or what its kind stands for where that is empty.
type part struct {
	text     string
	variable bool
	star     bool
}

// invalidPath says what is wrong with the text of a path, if something is.
func invalidPath(text string) string {
	switch {
	case text == "":
		return "the path is empty"
	case text[0] == '/':
		return "the path begins with /"
	}
	for i := 0; i+1 < len(text); i++ {
		if text[i] == '$' && !alphanumeric(text[i+1]) {
			return "a $ is followed by neither a letter nor a digit"
		}
	}
	return ""
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// variableEnd is where a variable ends that begins at a dollar sign.
func variableEnd(text string, at int) int {
	end := at + 1
	for end < len(text) && alphanumeric(text[end]) {
		end++
	}
	return end
}

// maxPathSteps bounds the match of a name with a path that is not plain. Back references, lookaround and names of many
// kilobytes can get there.
const maxPathSteps = 2_000_000

// Why it cannot be said whether a name matches. No other rule is taken then.
var (
	errPathSteps = fmt.Errorf("%w: the name takes too long to match", errTooMuch)
	errPathSplit = errors.New("the path splits a character of the name")
)

func (p *path) compile() error {
	p.length = len(utf16.Encode([]rune(p.text)))
	for i := 0; i < len(p.text); i++ {
		if p.text[i] == '$' && variableEnd(p.text, i) > i+1 {
			p.names = append(p.names, p.text[i:variableEnd(p.text, i)])
		}
	}
	if p.plain() {
		return nil
	}
	return p.compileRegexp()
}

func (p *path) compileRegexp() error {
	p.prefix, p.parts, p.exact = literalPrefix(p.text), nil, false
	var b strings.Builder
	b.WriteByte('^')
	for i := 0; i < len(p.text); i++ {
		switch end := variableEnd(p.text, i); {
		case p.text[i] == '*':
			b.WriteString(".*")
		case p.text[i] == '$' && end > i+1:
			b.WriteString("([^/]+)")
			i = end - 1
		default:
			b.WriteByte(p.text[i])
		}
	}
	b.WriteByte('$')
	var err error
	p.re, err = jsregexp.Compile(utf16.Encode([]rune(b.String())), "")
	if err != nil {
		return fmt.Errorf("the path is no regular expression: %w", err)
	}
	return nil
}

// literalPrefix is a text that every name begins with that matches a path.
func literalPrefix(text string) string {
	if strings.Contains(text, "|") {
		return ""
	}
	end := strings.IndexAny(text, `$*.+?()[]{}^\`)
	if end < 0 {
		return text
	}
	if strings.IndexByte("+?{", text[end]) >= 0 { // it is about the character before
		_, n := utf8.DecodeLastRuneInString(text[:end])
		end -= n
	}
	return text[:end]
}

// plain takes a plain path apart, and reports whether it is one.
func (p *path) plain() bool {
	if strings.ContainsAny(p.text, `.+?()[]{}|^\`) || strings.HasSuffix(p.text, "$") {
		return false
	}
	for i := 0; i < len(p.text); {
		switch p.text[i] {
		case '*':
			if i != len(p.text)-1 {
				return false
			}
			p.parts = append(p.parts, part{star: true})
			i++
		case '$':
			i = variableEnd(p.text, i)
			if i < len(p.text) && p.text[i] != '/' {
				return false
			}
			p.parts = append(p.parts, part{variable: true})
		default:
			end := i + strings.IndexAny(p.text[i:]+"$", "*$")
			p.parts = append(p.parts, part{text: p.text[i:end]})
			i = end
		}
	}
	if p.parts[0].text != "" {
		p.prefix = p.parts[0].text
		p.parts = p.parts[1:]
	}
	p.exact = len(p.parts) == 0
	return true
}

// maxVariables is how many variables fit without an allocation.
const maxVariables = 8

// match reports whether a name matches, and appends the values of the variables.
func (p *path) match(name string, values []binding) ([]binding, bool, error) {
	if p.re != nil {
		return p.matchRegexp(name, values)
	}
	rest, ok := strings.CutPrefix(name, p.prefix)
	if !ok || p.exact && rest != "" {
		return values, false, nil
	}
	n := 0
	for _, part := range p.parts {
		switch {
		case part.star:
			return values, !strings.ContainsAny(rest, "\n\r\u2028\u2029"), nil
		case part.variable:
			end := strings.IndexByte(rest, '/')
			if end < 0 {
				end = len(rest)
			}
			if end == 0 {
				return values, false, nil
			}
			values = append(values, binding{p.names[n], rest[:end], true})
			rest = rest[end:]
			n++
		default:
			if rest, ok = strings.CutPrefix(rest, part.text); !ok {
				return values, false, nil
			}
		}
	}
	return values, rest == "", nil
}

// binding is the value of a variable of a path.
type binding struct {
	name, value string
	bound       bool // false: undefined
}

func (p *path) matchRegexp(name string, values []binding) ([]binding, bool, error) {
	units := utf16.Encode([]rune(name))
	budget := jsregexp.Budget{Steps: maxPathSteps}
	at, err := p.re.Match(units, 0, &budget)
	if err != nil {
		return values, false, errPathSteps
	}
	if at == nil {
		return values, false, nil
	}
	for i, variable := range p.names {
		b := binding{name: variable}
		if from, to := at[2*i+2], at[2*i+3]; from >= 0 {
			b.value, b.bound = string(utf16.Decode(units[from:to])), true
			if strings.ContainsRune(b.value, utf8.RuneError) && !strings.ContainsRune(name, utf8.RuneError) {
				return values, false, errPathSplit
			}
		}
		values = append(values, b)
	}
	return values, true, nil
}
