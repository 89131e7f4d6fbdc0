package script

// Lines is a script in its canonical form (diffusion.md 7.4): one command a line, without a line end behind the last,
// strings in single quotes, blanks between the items of lists. Its zero value is empty.
type Lines struct {
	text []byte
}

// Word is keywords, which are written as they are.
type Word string

// Words is a list of bare words.
type Words []string

// Secret is a string that no error may say.
type Secret string

// Add adds one command: a Word, a string or a Secret, which are quoted, a list of strings, or Words.
func (l *Lines) Add(parts ...any) {
	if len(l.text) > 0 {
		l.text = append(l.text, '\n')
	}
	for i, p := range parts {
		if i > 0 {
			l.text = append(l.text, ' ')
		}
		switch p := p.(type) {
		case Word:
			l.text = append(l.text, p...)
		case string:
			l.text = appendQuoted(l.text, p)
		case Secret:
			l.text = appendQuoted(l.text, string(p))
		case []string:
			l.text = appendList(l.text, p, appendQuoted)
		case Words:
			l.text = appendList(l.text, p, func(b []byte, w string) []byte { return append(b, w...) })
		}
	}
}

// String returns the script.
func (l *Lines) String() string { return string(l.text) }

func appendList(b []byte, items []string, item func([]byte, string) []byte) []byte {
	b = append(b, '[')
	for i, x := range items {
		if i > 0 {
			b = append(b, ' ')
		}
		b = item(b, x)
	}
	return append(b, ']')
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '\'')
	for i := range len(s) {
		if s[i] == '\'' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '\'')
}

// Builder writes a script of what others want in it. Its zero value is ready.
type Builder struct {
	lines   Lines
	problem *Problem
}

// Add adds a command as [Lines.Add] does, if its parts can be written: strings without control characters, bare words that
// are words. It adds nothing otherwise, and Build tells of the first such part.
func (b *Builder) Add(parts ...any) {
	for _, p := range parts {
		if bad := Unwritable(p); bad != nil {
			if b.problem == nil {
				b.problem = bad
			}
			return
		}
	}
	b.lines.Add(parts...)
}

// Unwritable says why a part of a command can be in no script, if that is so: a string with control characters, or a bare
// word that is none.
func Unwritable(part any) *Problem {
	var texts []string
	switch p := part.(type) {
	case Secret:
		if !IsText(string(p)) {
			return &Problem{What: "password", Want: "UTF-8 without control characters"}
		}
	case Words:
		for _, w := range p {
			if !IsWord(w) {
				return &Problem{What: "permission", Value: w, Want: "letters, digits and _ after a letter"}
			}
		}
	case string:
		texts = []string{p}
	case []string:
		texts = p
	}
	for _, s := range texts {
		if !IsText(s) {
			return &Problem{What: "string", Value: s, Want: "UTF-8 without control characters"}
		}
	}
	return nil
}

// Build returns the script, or what of it could not be written.
func (b *Builder) Build() (string, *Problem) {
	if b.problem != nil {
		return "", b.problem
	}
	return b.lines.String(), nil
}
