package valve

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/chansec/chansec"
)

// Defaults of the options.
const (
	DefaultMaxRuleIterations = 3
	DefaultTimeLimit         = 50 * time.Millisecond
	DefaultMaxInput          = 64 << 10
	DefaultMaxMemory         = 16 << 20
)

// Option configures the rules.
type Option func(*options) error

type options struct {
	maxRounds int
	limit     time.Duration
	maxInput  int
	maxMemory int
	runtimes  int
	strict    bool
	optional  bool  // sections may be missing
	pool      *pool // of the file before, or nil
}

func newOptions(opts []Option) (*options, error) {
	o := &options{maxRounds: DefaultMaxRuleIterations, limit: DefaultTimeLimit, maxInput: DefaultMaxInput, maxMemory: DefaultMaxMemory,
		runtimes: runtime.GOMAXPROCS(0)}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// MaxRuleIterations sets how often a rule is run at most until all records that it looks up are loaded; 3 by default.
// A file does not load with less than 1.
func MaxRuleIterations(n int) Option {
	return func(o *options) error {
		o.maxRounds = n
		return nil
	}
}

// TimeLimit sets how long one run of a rule takes at most, without the loading of records; 50 ms by default.
func TimeLimit(d time.Duration) Option {
	return func(o *options) error {
		o.limit = d
		return positive("time limit", int64(d))
	}
}

// MaxInput sets how much a rule may read in one decision, in bytes of JSON: the message, the old one, the user's data and
// records together; 64 KiB by default. A number, a boolean, a list and an object count for 32 at least, and a text for 8 more than
// it has. A rule that would read more is an error, which denies.
func MaxInput(bytes int) Option {
	return func(o *options) error {
		o.maxInput = bytes
		return positive("input", int64(bytes))
	}
}

// MaxMemory sets how much memory one run of a rule may take, in bytes, garbage included; 16 MiB by default. A file with a rule
// that could take more, with an input of MaxInput, does not load. 64 times MaxInput is for what is read, and 5 MiB are for
// regular expressions, or 8.5 where there are patterns that are no literals; the rest is for what the rule builds.
func MaxMemory(bytes int) Option {
	return func(o *options) error {
		o.maxMemory = bytes
		return positive("memory", int64(bytes))
	}
}

// Runtimes sets how many JavaScript runtimes there are, and with it how many rules run at the same time; GOMAXPROCS by
// default. Who finds none free waits for one, as long as the context of the decision allows.
func Runtimes(n int) Option {
	return func(o *options) error {
		o.runtimes = n
		return positive("number of runtimes", int64(n))
	}
}

// Strict makes a rule allow only by exactly true. Otherwise every value allows that JavaScript takes for true.
func Strict() Option {
	return func(o *options) error {
		o.strict = true
		return nil
	}
}

// OptionalSections lets a file load in which sections are missing: nothing is permitted in them. deepstream refuses such a file,
// and so does this package without the option.
func OptionalSections() Option {
	return func(o *options) error {
		o.optional = true
		return nil
	}
}

func positive(what string, n int64) error {
	if n > 0 {
		return nil
	}
	return &chansec.InvalidError{What: what, Value: fmt.Sprint(n), Want: "more than 0"}
}

// Permissions is a permission file: loaded, checked and compiled. It does not change, and may be used from many goroutines
// at once.
type Permissions struct {
	options  *options
	pool     *pool
	rules    []*rule   // in the order of the file
	paths    []entry   // in the order of the file
	repeated []Warning // about sections
	indexes  [sectionCount][typeCount]*index
}

// ParseJSON loads a permission file in JSON. It fails with a LoadError, or with a chansec.InvalidError of an option.
func ParseJSON(source []byte, opts ...Option) (*Permissions, error) {
	return parseAs("", ".json", source, opts)
}

// ParseYAML loads a permission file in YAML. It fails with a LoadError, or with a chansec.InvalidError of an option.
func ParseYAML(source []byte, opts ...Option) (*Permissions, error) {
	return parseAs("", ".yaml", source, opts)
}

func parseAs(file, ext string, source []byte, opts []Option) (*Permissions, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	switch strings.ToLower(ext) {
	case ".json":
		return load(file, source, parseJSON, o)
	case ".yaml", ".yml":
		return load(file, source, parseYAML, o)
	}
	return nil, &LoadError{Code: UnparsableText, File: file, Problem: "the name of the file ends in " + quote(ext), Want: ".yml, .yaml or .json"}
}

// parseFile loads a file of that name.
func parseFile(name string, source []byte, opts []Option) (*Permissions, error) {
	return parseAs(filepath.Base(name), filepath.Ext(name), source, opts)
}

func newPermissions(o *options) *Permissions {
	p := &Permissions{options: o, pool: o.pool}
	if p.pool == nil {
		p.pool = newPool(o.runtimes)
	}
	return p
}

// add takes a rule in. Its path is compiled later.
func (p *Permissions) add(r *rule) {
	x := &p.indexes[r.section.number()][slices.Index(ruleTypes[r.section], r.kind)]
	if *x == nil {
		*x = &index{}
	}
	(*x).rules = append((*x).rules, r)
	p.rules = append(p.rules, r)
}

// entry is a path in a section.
type entry struct {
	section Section
	text    string
	line    int
	twice   bool // it was there before
	empty   bool // it has no rules
	object  bool
}

// ready builds the indexes, and runs the code of every rule as far as that it makes the rule.
func (p *Permissions) ready() *LoadError {
	for _, types := range p.indexes {
		for _, x := range types {
			if x != nil {
				x.build()
			}
		}
	}
	var m *machine
	for _, r := range p.rules {
		if r.constant {
			continue
		}
		if m == nil {
			var err error
			if m, err = p.pool.take(context.Background(), p); err != nil {
				return &LoadError{Code: CompileError, Problem: "there is no runtime: " + err.Error()}
			}
			defer p.pool.give(m)
		}
		_, err := m.rule(r.code)
		if err == nil && r.code.quick != nil {
			_, err = m.rule(r.code.quick)
		}
		if err != nil {
			return &LoadError{Code: CompileError, Line: r.line, Section: r.section, Path: r.path.text, Type: r.kind,
				Problem: "the rule cannot be made: " + err.Error(), Want: "an expression"}
		}
	}
	return nil
}

// choose returns the rule for a name, and the values of its path's variables in room; nil is that there is none.
func (p *Permissions) choose(s Section, a *act, name string, room []binding) (*rule, []binding, error) {
	x := p.indexes[s.number()][a.slot]
	if x == nil {
		return nil, nil, nil
	}
	return x.choose(name, room)
}

// index finds the rule for a name among those of one type in one section: the one with the longest path that matches, and
// of several as long the last. Paths are found by the text that they begin with, so that most are never tried.
type index struct {
	rules  []*rule // in the order of the file, and then from the best to the last
	exact  map[string]int
	prefix []beginning
}

// beginning is the rules of the paths that begin with a text of some length, and go on.
type beginning struct {
	length int
	best   int              // of these rules
	only   string           // the text, if there is one
	rules  []int            // of that
	of     map[string][]int // if there are several
}

func (b *beginning) find(name string) []int {
	switch {
	case len(name) < b.length:
		return nil
	case b.of != nil:
		return b.of[name[:b.length]]
	case name[:b.length] == b.only:
		return b.rules
	}
	return nil
}

func (x *index) build() {
	slices.Reverse(x.rules)
	slices.SortStableFunc(x.rules, func(a, b *rule) int { return b.path.length - a.path.length })
	x.exact = map[string]int{}
	prefixes := map[string][]int{}
	for i, r := range x.rules {
		if !r.path.exact {
			prefixes[r.path.prefix] = append(prefixes[r.path.prefix], i)
		} else if _, better := x.exact[r.path.prefix]; !better {
			x.exact[r.path.prefix] = i
		}
	}
	lengths := map[int]*beginning{}
	for text, rules := range prefixes {
		b := lengths[len(text)]
		switch {
		case b == nil:
			lengths[len(text)] = &beginning{length: len(text), best: rules[0], only: text, rules: rules}
			continue
		case b.of == nil:
			b.of = map[string][]int{b.only: b.rules}
		}
		b.of[text] = rules
		b.best = min(b.best, rules[0])
	}
	for _, b := range lengths {
		x.prefix = append(x.prefix, *b)
	}
	slices.SortFunc(x.prefix, func(a, b beginning) int { return b.length - a.length })
}

func (x *index) choose(name string, room []binding) (*rule, []binding, error) {
	best, values := len(x.rules), room[:0]
	if i, ok := x.exact[name]; ok {
		best = i
	}
	for k := range x.prefix {
		b := &x.prefix[k]
		if b.best > best {
			continue
		}
		for _, i := range b.find(name) {
			if i > best {
				break
			}
			into := values
			if len(values) > 0 { // they are still needed if this one does not match
				into = nil
			}
			found, ok, err := x.rules[i].path.match(name, into)
			if err != nil {
				return x.rules[i], nil, err
			}
			if ok {
				best, values = i, found
				break
			}
		}
	}
	if best == len(x.rules) {
		return nil, nil, nil
	}
	return x.rules[best], values, nil
}
