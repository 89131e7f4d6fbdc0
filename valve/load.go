package valve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Code is what is wrong with a permission file, in a word.
type Code string

// What can be wrong with a permission file, in the order of the checks.
const (
	UnparsableText      Code = "unparsable-text"
	MaxIterations       Code = "max-iterations"
	NotAnObject         Code = "not-an-object"
	MissingSection      Code = "missing-section"
	UnexpectedSection   Code = "unexpected-section"
	EmptySection        Code = "empty-section"
	InvalidPath         Code = "invalid-path"
	MissingRoot         Code = "missing-root"
	UnknownRuleType     Code = "unknown-rule-type"
	RuleNotText         Code = "rule-not-text"
	RuleEmpty           Code = "rule-empty"
	NewKeyword          Code = "new-keyword"
	UserFunction        Code = "user-function"
	UnsupportedFunction Code = "unsupported-function"
	SyntaxError         Code = "syntax-error"
	NoOldData           Code = "no-oldData"
	NoData              Code = "no-data"
	PathRegexp          Code = "path-regexp"
	CompileError        Code = "compile-error"
	// Unsafe is what deepstream accepts and this package does not; see the package comment.
	Unsafe Code = "unsafe"
	// TooLarge is a file, path or rule beyond the bounds of this package.
	TooLarge Code = "too-large"
)

// LoadError says what is wrong with a permission file and where, and what would be right.
type LoadError struct {
	Code    Code
	File    string // empty if it has no name
	Line    int    // of the file, from 1; 0 where it is not known
	Section Section
	Path    string
	Type    RuleType
	Column  int // of the rule's text, in UTF-16 units from 1; 0 where it is the rule as a whole
	Problem string
	Want    string
}

func (e *LoadError) Error() string {
	var b strings.Builder
	b.WriteString("valve: ")
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	} else if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Section != "" {
		fmt.Fprintf(&b, "section %s: ", quote(string(e.Section)))
	}
	if e.Path != "" {
		fmt.Fprintf(&b, "path %s: ", quote(e.Path))
	}
	if e.Type != "" {
		fmt.Fprintf(&b, "rule %s: ", quote(string(e.Type)))
	}
	if e.Column > 0 {
		fmt.Fprintf(&b, "column %d: ", e.Column)
	}
	b.WriteString(e.Problem)
	if e.Want != "" {
		b.WriteString(": want ")
		b.WriteString(e.Want)
	}
	return b.String()
}

// quote shortens and quotes text of a file, so that an error stays one short line.
func quote(s string) string {
	const most = 80
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:most]) + "..."
}

// Section is a part of a permission file.
type Section string

// The sections, in the order in which they are checked.
const (
	Record   Section = "record"
	Event    Section = "event"
	RPC      Section = "rpc"
	Presence Section = "presence"
)

var sections = [...]Section{Record, Event, RPC, Presence}

// sectionCount is how many sections there are, and typeCount how many rule types a section has at most.
const (
	sectionCount = len(sections)
	typeCount    = 6
)

// number is the place of a section among them, or -1.
func (s Section) number() int {
	switch s {
	case Record:
		return 0
	case Event:
		return 1
	case RPC:
		return 2
	case Presence:
		return 3
	}
	return -1
}

// RuleType is what a rule is for.
type RuleType string

// The rule types. Not every section has each.
const (
	Create    RuleType = "create"
	Read      RuleType = "read"
	Write     RuleType = "write"
	Delete    RuleType = "delete"
	Listen    RuleType = "listen"
	Notify    RuleType = "notify"
	Publish   RuleType = "publish"
	Subscribe RuleType = "subscribe"
	Provide   RuleType = "provide"
	Request   RuleType = "request"
	Allow     RuleType = "allow"
)

// ruleTypes is what each section knows.
var ruleTypes = map[Section][]RuleType{
	Record:   {Create, Read, Write, Delete, Listen, Notify},
	Event:    {Publish, Subscribe, Listen},
	RPC:      {Provide, Request},
	Presence: {Allow},
}

// Bounds of a permission file.
const (
	maxFileBytes = 8 << 20
	maxPaths     = 100_000 // in all sections together
	maxPathBytes = 1024
	maxRuleBytes = 8 << 10
	maxDepth     = 64
)

// shape is what a value of the file is, as far as it matters.
type shape uint8

const (
	absent shape = iota // null, or nothing at all
	object
	list
	text
	boolean
	number
)

// value is a value of the file.
type value struct {
	shape   shape
	text    string   // of a text
	yes     bool     // of a boolean; of a number whether it is neither 0 nor NaN
	line    int      // where it, or its key, begins
	twice   bool     // its key was there before
	members []member // of an object; the elements of a list under their indices
}

type member struct {
	key string
	value
}

func (v *value) get(key string) (value, bool) {
	for _, m := range v.members {
		if m.key == key {
			return m.value, true
		}
	}
	return value{}, false
}

func (v *value) truthy() bool {
	switch v.shape {
	case object, list:
		return true
	case text:
		return v.text != ""
	}
	return v.yes
}

// order puts keys that are array indices first, by number (ECMA-262, OrdinaryOwnPropertyKeys).
func order(members []member) {
	slices.SortStableFunc(members, func(a, b member) int {
		x, isX := arrayIndex(a.key)
		y, isY := arrayIndex(b.key)
		switch {
		case isX && isY:
			return int(x - y)
		case isX:
			return -1
		case isY:
			return 1
		}
		return 0
	})
}

func arrayIndex(key string) (int64, bool) {
	n, err := strconv.ParseInt(key, 10, 64)
	return n, err == nil && n >= 0 && n < math.MaxUint32 && strconv.FormatInt(n, 10) == key
}

// unparsable is an error about the text as YAML or JSON.
func unparsable(line int, want, format string, args ...any) *LoadError {
	return &LoadError{Code: UnparsableText, Line: line, Problem: fmt.Sprintf(format, args...), Want: want}
}

func tooDeep(line int) *LoadError {
	return unparsable(line, fmt.Sprintf("at most %d", maxDepth), "more levels than a permission file has")
}

const wantText = "a text that is valid Unicode"

// parseJSON reads a JSON text. A key that is given twice keeps its first place and its last value.
func parseJSON(source []byte) (value, error) {
	if bytes.HasPrefix(source, []byte("\uFEFF")) {
		return value{}, unparsable(1, "JSON without it", "the file begins with a byte order mark")
	}
	f := &jsonFile{Decoder: json.NewDecoder(bytes.NewReader(source)), source: source, lines: 1}
	f.UseNumber()
	v, err := f.value(0)
	if err == nil {
		if _, err = f.Token(); err == io.EOF {
			return v, nil
		}
		return v, unparsable(f.line(), "one JSON value", "there is more text after the end")
	}
	if _, told := errors.AsType[*LoadError](err); told {
		return v, err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return v, unparsable(f.line(), "a whole JSON text", "the file ends too early")
	}
	return v, unparsable(f.line(), "JSON", "%v, in this line or after it", err)
}

// jsonFile is a JSON text that is being read, in which lines are counted.
type jsonFile struct {
	*json.Decoder
	source  []byte
	counted int // bytes
	lines   int
}

// line is the line that was come to.
func (f *jsonFile) line() int {
	at := min(len(f.source), int(f.InputOffset()))
	f.lines += bytes.Count(f.source[f.counted:at], []byte("\n"))
	f.counted = at
	return f.lines
}

func (f *jsonFile) value(depth int) (v value, err error) {
	if depth > maxDepth {
		return v, tooDeep(f.line())
	}
	t, err := f.Token()
	if err != nil {
		return v, err
	}
	v.line = f.line()
	switch t := t.(type) {
	case bool:
		v.shape, v.yes = boolean, t
	case json.Number:
		n, _ := t.Float64()
		v.shape, v.yes = number, n != 0
	case string:
		if strings.ContainsRune(t, utf8.RuneError) {
			return v, unparsable(v.line, wantText, "a text with U+FFFD or half of a surrogate pair")
		}
		v.shape, v.text = text, t
	case json.Delim:
		v.shape = list
		if t == '{' {
			v.shape = object
		}
		at := map[string]int{}
		for f.More() {
			key, line := strconv.Itoa(len(v.members)), 0
			if v.shape == object {
				k, err := f.value(depth)
				if err != nil {
					return v, err
				}
				key, line = k.text, k.line
			}
			element, err := f.value(depth + 1)
			if err != nil {
				return v, err
			}
			if line > 0 {
				element.line = line
			}
			if i, twice := at[key]; twice {
				element.twice = true
				v.members[i].value = element
				continue
			}
			at[key] = len(v.members)
			v.members = append(v.members, member{key, element})
		}
		if _, err := f.Token(); err != nil {
			return v, err
		}
		order(v.members)
	}
	return v, nil
}

// parseYAML reads a YAML document in the core schema of YAML 1.2: no key twice, no merge keys, no tags but those of the core
// schema, and numbers as keys only as JavaScript would write them.
//
// The parser takes U+0085, U+2028 and U+2029 for ends of lines, as YAML 1.1 does and 1.2 does not: they are refused.
func parseYAML(source []byte) (value, error) {
	if i := bytes.IndexAny(source, "\u0085\u2028\u2029"); i >= 0 {
		return value{}, unparsable(1+bytes.Count(source[:i], []byte("\n")), `it as an escape in quotes, such as "\u2028"`, "an unusual end of a line")
	}
	d := yaml.NewDecoder(bytes.NewReader(source))
	var n, more yaml.Node
	if err := d.Decode(&n); err == io.EOF {
		return value{}, nil
	} else if err != nil {
		return value{}, unparsable(0, "YAML", "%v", err)
	}
	if err := d.Decode(&more); err != io.EOF {
		return value{}, unparsable(0, "one", "there is more than one document")
	}
	budget := maxFileBytes / 8
	return yamlValue(n.Content[0], 0, &budget)
}

func yamlValue(n *yaml.Node, depth int, budget *int) (v value, err error) {
	if *budget--; *budget < 0 {
		return v, unparsable(n.Line, "fewer", "aliases that multiply")
	}
	if depth > maxDepth {
		return v, tooDeep(n.Line)
	}
	v.line = n.Line
	switch tag := n.ShortTag(); n.Kind {
	case yaml.AliasNode:
		return yamlValue(n.Alias, depth+1, budget)
	case yaml.SequenceNode:
		if tag != "!!seq" {
			return v, wrongTag(n)
		}
		v.shape = list
		for i, c := range n.Content {
			element, err := yamlValue(c, depth+1, budget)
			if err != nil {
				return v, err
			}
			v.members = append(v.members, member{strconv.Itoa(i), element})
		}
		return v, nil
	case yaml.MappingNode:
		if tag != "!!map" {
			return v, wrongTag(n)
		}
		v.shape = object
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, err := yamlKey(n.Content[i])
			if err != nil {
				return v, err
			}
			if seen[key] {
				return v, unparsable(n.Content[i].Line, "each key once", "the key %s is given twice", quote(key))
			}
			seen[key] = true
			element, err := yamlValue(n.Content[i+1], depth+1, budget)
			if err != nil {
				return v, err
			}
			element.line = n.Content[i].Line
			v.members = append(v.members, member{key, element})
		}
		order(v.members)
		return v, nil
	}
	switch n.ShortTag() {
	case "!!str":
		v.shape, v.text = text, n.Value
		switch {
		case strings.ContainsRune(n.Value, utf8.RuneError):
			return v, unparsable(n.Line, wantText, "a text with U+FFFD")
		case isHugeNumber(n): // deepstream sees a number, which is no rule, where this parser sees a text
			v.shape, v.yes = number, true
		}
	case "!!bool":
		v.shape = boolean
		err = n.Decode(&v.yes)
	case "!!int", "!!float":
		var f float64
		v.shape = number
		err = n.Decode(&f)
		v.yes = f != 0 && !math.IsNaN(f)
	case "!!null":
	default:
		return v, wrongTag(n)
	}
	if err != nil {
		return v, unparsable(n.Line, "a value that fits", "%s is no value of the type %s", quote(n.Value), n.ShortTag())
	}
	return v, nil
}

func wrongTag(n *yaml.Node) *LoadError {
	return unparsable(n.Line, "objects, texts, and true or false", "a value of the type %s", quote(n.ShortTag()))
}

var (
	plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,14})$`)
	anyNumber    = regexp.MustCompile(`^[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?)$`)
)

// isHugeNumber reports whether a text is a number that is out of range.
func isHugeNumber(n *yaml.Node) bool {
	return n.Style == 0 && anyNumber.MatchString(n.Value)
}

// yamlKey is the text that a key becomes.
func yamlKey(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", unparsable(n.Line, "a text", "a key that is a list or an object")
	}
	switch n.ShortTag() {
	case "!!str":
		if strings.ContainsRune(n.Value, utf8.RuneError) {
			return "", unparsable(n.Line, wantText, "a key with U+FFFD")
		}
		if !isHugeNumber(n) {
			return n.Value, nil
		}
	case "!!int":
		if plainInteger.MatchString(n.Value) {
			return n.Value, nil
		}
	case "!!bool":
		return strings.ToLower(n.Value), nil
	case "!!merge":
		return "", unparsable(n.Line, "the rules themselves", "a merge key")
	}
	return "", unparsable(n.Line, "it in quotes", "the key %s is no text", quote(n.Value))
}

// load checks a permission file and compiles it. file is its name for errors.
func load(file string, source []byte, parse func([]byte) (value, error), o *options) (*Permissions, error) {
	fail := func(e LoadError) (*Permissions, error) {
		e.File = file
		return nil, &e
	}
	if len(source) > maxFileBytes {
		return fail(LoadError{Code: TooLarge, Problem: fmt.Sprintf("a file of %d bytes", len(source)), Want: "at most 8 MiB"})
	}
	if !utf8.Valid(source) {
		return fail(LoadError{Code: UnparsableText, Problem: "the file is not valid UTF-8", Want: "UTF-8"})
	}
	top, err := parse(source)
	if err != nil {
		e, _ := errors.AsType[*LoadError](err)
		return fail(*e)
	}
	p := newPermissions(o)
	if e := check(&top, o, p); e != nil {
		return fail(*e)
	}
	for _, r := range p.rules {
		if e := r.compile(o); e != nil {
			e.Line, e.Section, e.Path, e.Type = r.line, r.section, r.path.text, r.kind
			return fail(*e)
		}
	}
	if e := p.ready(); e != nil {
		return fail(*e)
	}
	return p, nil
}

// check makes the checks of the file's structure and of its texts, in deepstream's order.
func check(top *value, o *options, p *Permissions) *LoadError {
	if o.maxRounds < 1 {
		return &LoadError{Code: MaxIterations, Problem: "no round of evaluation is allowed", Want: "MaxRuleIterations of at least 1"}
	}
	if top.shape != object && top.shape != list {
		return &LoadError{Code: NotAnObject, Problem: "the file is no object", Want: "the sections record, event, rpc and presence"}
	}
	for _, s := range sections {
		v, ok := top.get(string(s))
		if ok && (v.shape == object || v.shape == list || v.shape == absent) || !ok && o.optional {
			continue
		}
		e := &LoadError{Code: MissingSection, Line: v.line, Section: s, Problem: "the section is missing", Want: `an object with at least the path "*"`}
		if ok {
			e.Problem = "the section is no object"
		}
		return e
	}
	paths := 0
	for _, m := range top.members {
		paths += len(m.members)
		if _, known := ruleTypes[Section(m.key)]; !known {
			return &LoadError{Code: UnexpectedSection, Line: m.line, Section: Section(m.key), Problem: "there is no such section",
				Want: "record, event, rpc or presence"}
		}
	}
	if paths > maxPaths {
		return &LoadError{Code: TooLarge, Problem: fmt.Sprintf("%d paths", paths), Want: "at most 100,000"}
	}
	for _, s := range sections {
		v, ok := top.get(string(s))
		if v.twice {
			p.repeated = append(p.repeated, Warning{Section: s, Line: v.line, Problem: "the section is given twice: the last one counts"})
		}
		if ok && len(v.members) == 0 {
			return &LoadError{Code: EmptySection, Line: v.line, Section: s, Problem: "the section is empty", Want: `at least the path "*"`}
		}
		for _, m := range v.members {
			if problem := invalidPath(m.key); problem != "" {
				return &LoadError{Code: InvalidPath, Line: m.line, Section: s, Path: m.key, Problem: problem,
					Want: "a path that does not begin with /, with variables of a dollar sign, letters and digits"}
			}
			if len(m.key) > maxPathBytes {
				return &LoadError{Code: TooLarge, Line: m.line, Section: s, Path: m.key, Problem: "the path is too long", Want: "at most 1024 bytes"}
			}
		}
	}
	for _, s := range sections {
		v, ok := top.get(string(s))
		root, there := v.get("*")
		if !ok || root.truthy() {
			continue
		}
		e := &LoadError{Code: MissingRoot, Line: v.line, Section: s, Path: "*", Problem: "the path is missing",
			Want: "an object with the rules for what no other path has rules for, or {}"}
		if there {
			e.Line, e.Problem = root.line, "the path has no rules"
		}
		return e
	}
	var compiled []*path
	for _, s := range sections {
		v, _ := top.get(string(s))
		for _, m := range v.members {
			pt := &path{text: m.key}
			p.paths = append(p.paths, entry{s, m.key, m.line, m.twice, len(m.members) == 0, m.shape == object})
			compiled = append(compiled, pt)
			if m.shape == text && m.text != "" || m.shape == list && len(m.members) > 0 {
				return &LoadError{Code: UnknownRuleType, Line: m.line, Section: s, Path: m.key, Problem: "the path has a text or a list in place of an object",
					Want: "an object, with " + wantTypes(s) + " or some of them"}
			}
			for _, e := range m.members {
				kind := RuleType(e.key)
				r := &rule{section: s, path: pt, kind: kind, line: e.line, twice: e.twice, label: string(s) + " " + pt.text + " " + e.key}
				at := func(e *LoadError) *LoadError {
					e.Line, e.Section, e.Path, e.Type = r.line, s, pt.text, kind
					return e
				}
				if !slices.Contains(ruleTypes[s], kind) {
					return at(&LoadError{Code: UnknownRuleType, Problem: "there is no such rule type in this section", Want: wantTypes(s)})
				}
				if e := r.read(&e.value); e != nil {
					return at(e)
				}
				p.add(r)
			}
		}
	}
	for i, pt := range compiled {
		if err := pt.compile(); err != nil {
			return &LoadError{Code: PathRegexp, Line: p.paths[i].line, Section: p.paths[i].section, Path: pt.text, Problem: err.Error(),
				Want: "a path that is a valid regular expression once * and the variables are replaced"}
		}
	}
	return nil
}

func wantTypes(s Section) string {
	var names []string
	for _, t := range ruleTypes[s] {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}
