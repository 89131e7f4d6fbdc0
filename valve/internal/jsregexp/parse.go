package jsregexp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// kind is what a node of a pattern is.
type kind uint8

const (
	empty kind = iota
	char
	begin
	end
	word
	group  // captures as index
	repeat // min to max times, max < 0 without end
	sequence
	choice
	reference
	look
)

type node struct {
	kind        kind
	set         *set
	not         bool
	behind      bool
	lazy        bool
	min, max    int
	index       int
	first, last int // groups inside of a repeat: from first up to, but not including last
	name        string
	subs        []*node
}

type parser struct {
	re     *Regexp
	src    []rune
	at     int
	groups int
	names  []Name
	refs   []*node
	total  int  // groups of the whole pattern
	named  bool // it has named groups
	depth  int
}

// maxDepth bounds how deep groups lie in one another.
const maxDepth = 250

func (p *parser) parse() (*node, error) {
	p.count()
	p.groups = 1
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if p.at < len(p.src) {
		return nil, errors.New("unmatched ')'")
	}
	for _, r := range p.refs {
		if r.name == "" {
			continue
		}
		i := slices.IndexFunc(p.names, func(n Name) bool { return n.Name == r.name })
		if i < 0 {
			return nil, fmt.Errorf("no group is called %q", r.name)
		}
		r.index = p.names[i].Group
	}
	return n, nil
}

// count counts the groups, on which the meaning of \1 and \k depends.
func (p *parser) count() {
	p.total = 1
	class := false
	for i := 0; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			if i+1 >= len(p.src) || p.src[i+1] != '?' {
				p.total++
			} else if i+3 < len(p.src) && p.src[i+2] == '<' && p.src[i+3] != '=' && p.src[i+3] != '!' {
				p.total++
				p.named = true
			}
		}
	}
}

func (p *parser) peek() rune {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return -1
}

func (p *parser) eat(text string) bool {
	for i, c := range []rune(text) {
		if p.at+i >= len(p.src) || p.src[p.at+i] != c {
			return false
		}
	}
	p.at += len([]rune(text))
	return true
}

func (p *parser) alternatives() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errors.New("the groups are nested too deep")
	}
	defer func() { p.depth-- }()
	n := &node{kind: choice}
	for {
		s := &node{kind: sequence}
		for p.at < len(p.src) && p.peek() != '|' && p.peek() != ')' {
			t, err := p.term()
			if err != nil {
				return nil, err
			}
			s.subs = append(s.subs, t)
		}
		n.subs = append(n.subs, s)
		if !p.eat("|") {
			return n, nil
		}
	}
}

func (p *parser) term() (*node, error) {
	first := p.groups
	n, quantifiable, err := p.atom()
	if err != nil {
		return nil, err
	}
	low, high, ok, err := p.quantifier()
	if err != nil || !ok {
		return n, err
	}
	if !quantifiable {
		return nil, errors.New("nothing to repeat")
	}
	if high >= 0 && low > high {
		return nil, errors.New("the numbers of a repetition are out of order")
	}
	return &node{kind: repeat, min: low, max: high, lazy: p.eat("?"), first: first, last: p.groups, subs: []*node{n}}, nil
}

func (p *parser) quantifier() (low, high int, ok bool, err error) {
	switch p.peek() {
	case '*':
		p.at++
		return 0, -1, true, nil
	case '+':
		p.at++
		return 1, -1, true, nil
	case '?':
		p.at++
		return 0, 1, true, nil
	case '{':
		low, high, ok = p.braces()
		if !ok && p.re.unicode {
			err = errors.New("an incomplete repetition")
		}
		return low, high, ok, err
	}
	return 0, 0, false, nil
}

// braces reads {2}, {2,} or {2,5}; anything else is not one, and is left.
func (p *parser) braces() (low, high int, ok bool) {
	start := p.at
	p.at++
	low, ok = p.number()
	if ok {
		high = low
		if p.eat(",") {
			if p.peek() == '}' {
				high = -1
			} else {
				high, ok = p.number()
			}
		}
		ok = ok && p.eat("}")
	}
	if !ok {
		p.at = start
	}
	return low, high, ok
}

// number reads digits; all numbers from a million on are the same here.
func (p *parser) number() (n int, ok bool) {
	for '0' <= p.peek() && p.peek() <= '9' {
		n, ok = min(n*10+int(p.peek()-'0'), 1_000_000), true
		p.at++
	}
	return n, ok
}

func one(c rune) *node { return &node{kind: char, set: &set{ranges: [][2]rune{{c, c}}}} }

// atom reads what can stand in front of a quantifier, and the assertions, which mostly cannot.
func (p *parser) atom() (n *node, quantifiable bool, err error) {
	c := p.src[p.at]
	switch c {
	case '^':
		p.at++
		return &node{kind: begin}, false, nil
	case '$':
		p.at++
		return &node{kind: end}, false, nil
	case '(':
		return p.group()
	case '.':
		p.at++
		s := &set{not: true}
		if !p.re.dotAll {
			s.ranges = [][2]rune{{'\n', '\n'}, {'\r', '\r'}, {'\u2028', '\u2029'}}
		}
		return &node{kind: char, set: s}, true, nil
	case '[':
		n, err = p.class()
		return n, true, err
	case '\\':
		return p.escape()
	case '*', '+', '?':
		return nil, false, errors.New("nothing to repeat")
	case '{':
		if _, _, ok := p.braces(); ok || p.re.unicode {
			return nil, false, errors.New("nothing to repeat")
		}
	case ']', '}':
		if p.re.unicode {
			return nil, false, fmt.Errorf("a lone %q", c)
		}
	}
	p.at++
	return one(c), true, nil
}

func (p *parser) group() (n *node, quantifiable bool, err error) {
	quantifiable = true
	switch {
	case p.eat("(?:"):
		n = &node{kind: sequence}
	case p.eat("(?="), p.eat("(?!"):
		n = &node{kind: look, not: p.src[p.at-1] == '!'}
		quantifiable = !p.re.unicode
	case p.eat("(?<="), p.eat("(?<!"):
		n = &node{kind: look, behind: true, not: p.src[p.at-1] == '!'}
		quantifiable = false
	case p.eat("(?<"):
		name, err := p.name()
		if err != nil {
			return nil, false, err
		}
		if slices.ContainsFunc(p.names, func(n Name) bool { return n.Name == name }) {
			return nil, false, fmt.Errorf("two groups are called %q", name)
		}
		p.names = append(p.names, Name{name, p.groups})
		n = &node{kind: group, index: p.groups}
		p.groups++
	case p.eat("(?"):
		return nil, false, errors.New("an unknown kind of group")
	default:
		p.at++
		n = &node{kind: group, index: p.groups}
		p.groups++
	}
	inside, err := p.alternatives()
	if err != nil {
		return nil, false, err
	}
	if !p.eat(")") {
		return nil, false, errors.New("a group without end")
	}
	n.subs = []*node{inside}
	return n, quantifiable, nil
}

// name reads the name of a group up to its end.
func (p *parser) name() (string, error) {
	start := p.at
	for p.at < len(p.src) && p.src[p.at] != '>' {
		c := p.src[p.at]
		if !(c == '$' || c == '_' || unicode.IsLetter(c) || p.at > start && (unicode.IsDigit(c) || unicode.Is(unicode.M, c))) {
			return "", errors.New("the name of a group is no name")
		}
		p.at++
	}
	if p.at == start || p.at == len(p.src) {
		return "", errors.New("the name of a group is incomplete")
	}
	p.at++
	return string(p.src[start : p.at-1]), nil
}

// escape reads what begins with a backslash, outside of a class.
func (p *parser) escape() (n *node, quantifiable bool, err error) {
	if p.at+1 >= len(p.src) {
		return nil, false, errors.New("a backslash at the end")
	}
	switch c := p.src[p.at+1]; {
	case c == 'b' || c == 'B':
		p.at += 2
		return &node{kind: word, not: c == 'B'}, false, nil
	case '1' <= c && c <= '9':
		start := p.at
		p.at++
		if i, _ := p.number(); i < p.total {
			return &node{kind: reference, index: i}, true, nil
		}
		if p.re.unicode {
			return nil, false, errors.New("a reference to no group")
		}
		p.at = start
	case c == 'k' && (p.re.unicode || p.named):
		p.at += 2
		if !p.eat("<") {
			return nil, false, errors.New("a reference without a name")
		}
		name, err := p.name()
		if err != nil {
			return nil, false, err
		}
		n = &node{kind: reference, name: name}
		p.refs = append(p.refs, n)
		return n, true, nil
	}
	s, c, err := p.classEscape(false)
	if err != nil {
		return nil, false, err
	}
	if s != nil {
		return &node{kind: char, set: s}, true, nil
	}
	return one(c), true, nil
}

var (
	digits = [][2]rune{{'0', '9'}}
	words  = [][2]rune{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}
	spaces = [][2]rune{{'\t', '\r'}, {' ', ' '}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
		{0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}}
)

// classEscape reads an escape that stands for a character, or for a set of them.
func (p *parser) classEscape(inClass bool) (*set, rune, error) {
	p.at++ // the backslash
	if p.at >= len(p.src) {
		return nil, 0, errors.New("a backslash at the end")
	}
	c := p.src[p.at]
	p.at++
	switch c {
	case 'd', 'D':
		return escaped(digits, c == 'D'), 0, nil
	case 'w', 'W':
		s := words
		if p.re.unicode && p.re.ignoreCase {
			s = append(slices.Clone(s), [2]rune{'ſ', 'ſ'}, [2]rune{'\u212A', '\u212A'})
		}
		return escaped(s, c == 'W'), 0, nil
	case 's', 'S':
		return escaped(spaces, c == 'S'), 0, nil
	case 't':
		return nil, '\t', nil
	case 'n':
		return nil, '\n', nil
	case 'v':
		return nil, '\v', nil
	case 'f':
		return nil, '\f', nil
	case 'r':
		return nil, '\r', nil
	case 'b':
		if inClass {
			return nil, '\b', nil
		}
	case '-':
		if inClass && p.re.unicode {
			return nil, '-', nil
		}
	case 'p', 'P':
		if p.re.unicode {
			s, err := p.property(c == 'P')
			if err == nil && s.not && p.re.ignoreCase { // it is the characters that it has that are compared, and not those that it lacks
				others := &set{}
				others.include(s, 0)
				s = others
			}
			return s, 0, err
		}
	case 'c':
		if l := p.peek() | 0x20; 'a' <= l && l <= 'z' {
			p.at++
			return nil, p.src[p.at-1] % 32, nil
		}
		if l := p.peek(); inClass && !p.re.unicode && (l == '_' || '0' <= l && l <= '9') {
			p.at++
			return nil, l % 32, nil
		}
		if p.re.unicode {
			return nil, 0, errors.New("an incomplete control escape")
		}
		p.at--
		return nil, '\\', nil
	case 'x':
		if v, ok := p.hex(2); ok {
			return nil, v, nil
		}
	case 'u':
		if p.re.unicode && p.peek() == '{' {
			return p.codePoint()
		}
		if v, ok := p.hex(4); ok {
			if p.re.unicode && v&0xFC00 == 0xD800 {
				start := p.at
				if p.eat(`\u`) {
					if l, ok := p.hex(4); ok && l&0xFC00 == 0xDC00 {
						return nil, (v-0xD800)<<10 + (l - 0xDC00) + 0x10000, nil
					}
				}
				p.at = start
			}
			return nil, v, nil
		}
	case '0', '1', '2', '3', '4', '5', '6', '7':
		if !p.re.unicode {
			return nil, p.octal(c - '0'), nil
		}
		if c == '0' && !('0' <= p.peek() && p.peek() <= '9') {
			return nil, 0, nil
		}
	}
	if p.re.unicode && !strings.ContainsRune(`^$\.*+?()[]{}|/`, c) {
		return nil, 0, fmt.Errorf("an escape of %q", c)
	}
	if c == 'k' && p.named {
		return nil, 0, errors.New(`\k without a name`)
	}
	return nil, c, nil
}

func escaped(ranges [][2]rune, not bool) *set { return &set{ranges: ranges, not: not} }

// octal reads up to two more octal digits, as long as the number stays below 256.
func (p *parser) octal(v rune) rune {
	for range 2 {
		if c := p.peek(); '0' <= c && c <= '7' && v*8+c-'0' < 256 {
			v = v*8 + c - '0'
			p.at++
		}
	}
	return v
}

func (p *parser) hex(n int) (v rune, ok bool) {
	if p.at+n > len(p.src) {
		return 0, false
	}
	for _, c := range p.src[p.at : p.at+n] {
		d, ok := hexDigit(c)
		if !ok {
			return 0, false
		}
		v = v*16 + d
	}
	p.at += n
	return v, true
}

func hexDigit(c rune) (rune, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func (p *parser) codePoint() (*set, rune, error) {
	p.at++
	var v rune
	start := p.at
	for p.at < len(p.src) && p.src[p.at] != '}' {
		d, ok := hexDigit(p.src[p.at])
		if v = v*16 + d; !ok || v > unicode.MaxRune {
			return nil, 0, errors.New("a code point that is none")
		}
		p.at++
	}
	if p.at == start || !p.eat("}") {
		return nil, 0, errors.New("an incomplete code point")
	}
	return nil, v, nil
}

// property reads \p{...}: general categories, scripts, and the binary properties that Go knows by the same name.
func (p *parser) property(not bool) (*set, error) {
	end := slices.Index(p.src[p.at:], '}')
	if p.peek() != '{' || end < 0 {
		return nil, errors.New("an incomplete property")
	}
	text := string(p.src[p.at+1 : p.at+end])
	p.at += end + 1
	key, value, pair := strings.Cut(text, "=")
	var t *unicode.RangeTable
	switch {
	case pair && (key == "Script" || key == "sc"):
		t = unicode.Scripts[value]
	case pair && (key == "General_Category" || key == "gc"):
		t = category(value)
	case pair:
	case text == "Any":
		return &set{not: not, ranges: [][2]rune{{0, unicode.MaxRune}}}, nil
	case text == "ASCII":
		return &set{not: not, ranges: [][2]rune{{0, 0x7F}}}, nil
	case text == "Alphabetic" || text == "Alpha":
		return union(not, unicode.L, unicode.Nl, unicode.Other_Alphabetic), nil
	case text == "Uppercase" || text == "Upper":
		return union(not, unicode.Lu, unicode.Other_Uppercase), nil
	case text == "Lowercase" || text == "Lower":
		return union(not, unicode.Ll, unicode.Other_Lowercase), nil
	default:
		if t = category(text); t == nil {
			t = unicode.Properties[text]
		}
	}
	if t == nil {
		return nil, fmt.Errorf("the property %q is not supported", text)
	}
	return union(not, t), nil
}

func union(not bool, tables ...*unicode.RangeTable) *set {
	s := &set{not: not}
	for _, t := range tables {
		s.tables = append(s.tables, table{t, false})
	}
	return s
}

// category is a general category by its short or long name; those of which Go's tables leave parts out are not supported.
func category(name string) *unicode.RangeTable {
	if alias, ok := unicode.CategoryAliases[name]; ok {
		name = alias
	}
	if name == "C" || name == "Cn" || name == "LC" {
		return nil
	}
	return unicode.Categories[name]
}

// class reads [...].
func (p *parser) class() (*node, error) {
	p.at++
	s := &set{not: p.eat("^")}
	for {
		if p.at >= len(p.src) {
			return nil, errors.New("a class without end")
		}
		if p.eat("]") {
			return &node{kind: char, set: s}, nil
		}
		from, a, err := p.classAtom()
		if err != nil {
			return nil, err
		}
		if p.peek() != '-' || p.at+1 < len(p.src) && p.src[p.at+1] == ']' {
			s.include(from, a)
			continue
		}
		p.at++
		if p.at >= len(p.src) {
			return nil, errors.New("a class without end")
		}
		to, b, err := p.classAtom()
		switch {
		case err != nil:
			return nil, err
		case from != nil || to != nil:
			if p.re.unicode {
				return nil, errors.New("a range between sets")
			}
			s.include(from, a)
			s.add('-', '-')
			s.include(to, b)
		case a > b:
			return nil, errors.New("a range that is out of order")
		default:
			s.add(a, b)
		}
	}
}

func (p *parser) classAtom() (*set, rune, error) {
	if p.peek() == '\\' {
		return p.classEscape(true)
	}
	p.at++
	return nil, p.src[p.at-1], nil
}

// include adds a set, or a character where that is nil.
func (s *set) include(other *set, c rune) {
	switch {
	case other == nil:
		s.add(c, c)
	case !other.not:
		s.ranges = append(s.ranges, other.ranges...)
		s.tables = append(s.tables, other.tables...)
	case len(other.tables) == 0:
		next := rune(0)
		for _, r := range other.ranges { // in order
			if r[0] > next {
				s.add(next, r[0]-1)
			}
			next = r[1] + 1
		}
		if next <= unicode.MaxRune {
			s.add(next, unicode.MaxRune)
		}
	case len(other.tables) == 1 && len(other.ranges) == 0:
		s.tables = append(s.tables, table{other.tables[0].RangeTable, true})
	default: // not (a or b): what is in none of the tables
		s.tables = append(s.tables, table{complement(other), false})
	}
}

// complement is the table of the characters that are in no table of a set.
func complement(s *set) *unicode.RangeTable {
	t := &unicode.RangeTable{}
	from := rune(-1)
	for c := rune(0); c <= unicode.MaxRune+1; c++ {
		out := c <= unicode.MaxRune && !s.holds(c)
		if out && from < 0 {
			from = c
		}
		if !out && from >= 0 {
			t.R32 = append(t.R32, unicode.Range32{Lo: uint32(from), Hi: uint32(c - 1), Stride: 1})
			from = -1
		}
	}
	return t
}

// compiler turns nodes into instructions.
type compiler struct {
	re        *Regexp
	code      []instr
	registers int
	impure    bool
	tooLarge  bool
}

func (c *compiler) emit(in instr) int {
	if len(c.code) >= maxProgram {
		c.tooLarge = true
		return 0
	}
	if len(c.code) == cap(c.code) {
		c.code = append(make([]instr, 0, min(max(16, 2*cap(c.code)), maxProgram)), c.code...)
	}
	c.code = append(c.code, in)
	return len(c.code) - 1
}

func (c *compiler) node(n *node, back bool) {
	if c.tooLarge {
		return
	}
	switch n.kind {
	case char:
		c.emit(instr{op: opChar, set: n.set, back: back})
	case begin:
		c.emit(instr{op: opBegin})
	case end:
		c.emit(instr{op: opEnd})
	case word:
		c.emit(instr{op: opWord, not: n.not})
	case sequence:
		for i := range n.subs {
			if back {
				i = len(n.subs) - 1 - i
			}
			c.node(n.subs[i], back)
		}
	case choice:
		var ends []int
		for i, s := range n.subs {
			if i == len(n.subs)-1 {
				c.node(s, back)
				break
			}
			split := c.emit(instr{op: opSplit, n: len(c.code) + 1})
			c.node(s, back)
			ends = append(ends, c.emit(instr{op: opJump}))
			c.code[split].m = len(c.code)
		}
		for _, e := range ends {
			c.code[e].n = len(c.code)
		}
	case group:
		first, second := 2*n.index, 2*n.index+1
		if back {
			first, second = second, first
		}
		c.emit(instr{op: opSave, n: first})
		c.node(n.subs[0], back)
		c.emit(instr{op: opSave, n: second})
	case reference:
		c.impure = true
		c.emit(instr{op: opBack, which: []int{n.index}, back: back})
	case look:
		c.impure = true
		at := c.emit(instr{op: opLook, not: n.not})
		c.node(n.subs[0], n.behind)
		c.emit(instr{op: opMatch})
		c.code[at].n = len(c.code)
	case repeat:
		c.repeat(n, back)
	}
}

// repeat writes the iterations that must be, and then those that may be, each of which must move on.
func (c *compiler) repeat(n *node, back bool) {
	for range n.min {
		c.reset(n)
		c.node(n.subs[0], back)
		if c.tooLarge {
			return
		}
	}
	register := c.registers
	c.registers++
	iteration := func() (split int) {
		split = c.emit(instr{op: opSplit})
		c.emit(instr{op: opSave, n: register})
		c.reset(n)
		c.node(n.subs[0], back)
		c.emit(instr{op: opMoved, n: register})
		return split
	}
	leave := func(split int) {
		in := &c.code[split]
		in.n, in.m = split+1, len(c.code)
		if n.lazy {
			in.n, in.m = in.m, in.n
		}
	}
	if n.max < 0 {
		split := iteration()
		c.emit(instr{op: opJump, n: split})
		leave(split)
		return
	}
	var splits []int
	for i := n.min; i < n.max && !c.tooLarge; i++ {
		splits = append(splits, iteration())
	}
	for _, s := range splits {
		leave(s)
	}
}

func (c *compiler) reset(n *node) {
	if n.first < n.last {
		c.emit(instr{op: opReset, n: n.first, m: n.last})
	}
}
