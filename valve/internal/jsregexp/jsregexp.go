// Package jsregexp matches JavaScript regular expressions on UTF-16 text, exactly (ECMA-262, with annex B for patterns
// without the flag u), and within a number of steps that the caller sets: whoever writes the text, and even who writes the
// pattern, cannot make a match run longer than that.
//
// Patterns without back references and lookaround take steps in proportion to the text's length times the pattern's.
package jsregexp

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf16"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// ErrSteps is that a match was given up, with no answer.
var ErrSteps = errors.New("the regular expression takes too many steps")

// maxProgram bounds the size of a compiled pattern, in instructions.
const maxProgram = 20_000

// maxStack bounds what a match in progress remembers, in places to go back to.
const maxStack = 200_000

// Budget is what matches may take together. It is used by one goroutine at a time.
//
// Matches take 4 bytes of memory for each step at most, and 4 MiB for what there is to go back to.
type Budget struct {
	Steps int // that are left
	stack []frame
}

// Regexp is a compiled pattern. It may be used from many goroutines at once.
type Regexp struct {
	Global, Sticky bool

	ignoreCase, multiline, dotAll, unicode bool
	code                                   []instr
	groups                                 int // capture groups, the whole match included
	registers                              int // positions to remember beside the groups
	names                                  []Name
	pure                                   bool // without back references and lookaround
}

// Name is a named group.
type Name struct {
	Name  string
	Group int
}

// Size is how many instructions the pattern was compiled to, at most 20,000.
func (re *Regexp) Size() int { return len(re.code) }

// Names returns the named groups in the order of the pattern.
func (re *Regexp) Names() []Name { return re.names }

// Compile compiles a pattern with flags out of "gimsuy", or says what is wrong with them.
func Compile(pattern []uint16, flags string) (*Regexp, error) {
	re := &Regexp{}
	for i, f := range flags {
		for _, before := range flags[:i] {
			if before == f {
				return nil, fmt.Errorf("the flag %q is given twice", f)
			}
		}
		switch f {
		case 'g':
			re.Global = true
		case 'i':
			re.ignoreCase = true
		case 'm':
			re.multiline = true
		case 's':
			re.dotAll = true
		case 'u':
			re.unicode = true
		case 'y':
			re.Sticky = true
		default:
			return nil, fmt.Errorf("unknown flag %q", f)
		}
	}
	p := &parser{re: re}
	if re.unicode {
		p.src = utf16.Decode(pattern)
		for i, j := 0, 0; i < len(pattern); i, j = i+1, j+1 { // Decode loses lone surrogates
			if p.src[j] == unicode.ReplacementChar {
				p.src[j] = rune(pattern[i])
			}
			if p.src[j] > 0xFFFF {
				i++
			}
		}
	} else {
		p.src = make([]rune, len(pattern))
		for i, u := range pattern {
			p.src[i] = rune(u)
		}
	}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	re.groups, re.names = p.groups, p.names
	c := &compiler{re: re, registers: 2 * re.groups}
	c.emit(instr{op: opSave, n: 0})
	c.node(root, false)
	c.emit(instr{op: opSave, n: 1})
	c.emit(instr{op: opMatch})
	if c.tooLarge {
		return nil, errors.New("the regular expression is too large")
	}
	re.code, re.registers, re.pure = c.code, c.registers, !c.impure
	return re, nil
}

// After is the position behind the character at a position.
func (re *Regexp) After(text []uint16, at int) int {
	if re.unicode && at+1 < len(text) && high(text[at]) && low(text[at+1]) {
		return at + 2
	}
	return at + 1
}

// Match looks for the first match at or after a position; a sticky pattern matches there or not at all. It returns the
// beginning and end of each group, -1 for those that took no part, or nil where there is no match. It takes its steps off
// the budget, and returns ErrSteps when there are no more, or when it would have to remember too much.
//
// With the flag u it begins at the character that a position is in the middle of, if it is sticky or global. Else it tries such
// positions like others, as V8 does and ECMA-262 does not; only what reads no character matches there.
func (re *Regexp) Match(text []uint16, from int, b *Budget) ([]int, error) {
	if from < 0 || from > len(text) {
		return nil, nil
	}
	if re.unicode && (re.Sticky || re.Global) && inside(text, from) {
		from--
	}
	m := &machine{re: re, text: text, steps: &b.Steps, slots: make([]int, re.registers), stack: b.stack[:0]}
	defer func() { b.stack = m.stack }()
	if re.pure {
		words := (len(re.code)*(len(text)+1) + 63) / 64
		if b.Steps -= 2 * words; b.Steps < 0 {
			return nil, ErrSteps
		}
		m.visited = make([]uint64, words)
	}
	for at := from; at <= len(text); at++ {
		for i := range m.slots {
			m.slots[i] = -1
		}
		if m.run(0, at) {
			return m.slots[:2*re.groups], nil
		}
		if b.Steps < 0 {
			return nil, ErrSteps
		}
		if re.Sticky {
			break
		}
	}
	return nil, nil
}

// inside reports whether a position is in the middle of a surrogate pair.
func inside(text []uint16, at int) bool {
	return at > 0 && at < len(text) && low(text[at]) && high(text[at-1])
}

func high(u uint16) bool { return u&0xFC00 == 0xD800 }
func low(u uint16) bool  { return u&0xFC00 == 0xDC00 }

// op is what an instruction does.
type op uint8

const (
	opChar  op = iota // a character of a set
	opBegin           // ^
	opEnd             // $
	opWord            // \b, or \B where not
	opSave            // remember the position in slot n
	opReset           // forget the groups from n to m
	opSplit           // try n, then m
	opJump            // go to n
	opMoved           // fail if the position is that of slot n
	opBack            // group n again
	opLook            // match or, where not, do not match what follows up to opMatch; go on at n
	opMatch           // done
)

type instr struct {
	op    op
	n, m  int
	not   bool
	back  bool // read backwards
	set   *set
	which []int // groups of a back reference by name
}

// machine is a match in progress.
type machine struct {
	re      *Regexp
	text    []uint16
	slots   []int
	stack   []frame
	visited []uint64
	steps   *int
}

// frame is what to go back to: an instruction at a position, or the old value of a slot where pc is negative.
type frame struct{ pc, at int32 }

// run runs the program from an instruction and position on. Lookaround runs parts of it by recursion, which is as deep as
// the pattern is.
func (m *machine) run(pc, at int) bool {
	bottom := len(m.stack)
	for {
		if *m.steps--; *m.steps < 0 {
			return false
		}
		if len(m.stack) > maxStack {
			*m.steps = -1
			return false
		}
		in := &m.re.code[pc]
		ok := true
		switch in.op {
		case opMatch:
			m.keep(bottom)
			return true
		case opChar:
			var c rune
			if c, at, ok = m.next(at, in.back); ok {
				ok = in.set.has(c, m.re)
			}
		case opBegin:
			ok = at == 0 || m.re.multiline && terminator(rune(m.text[at-1]))
		case opEnd:
			ok = at == len(m.text) || m.re.multiline && terminator(rune(m.text[at]))
		case opWord:
			ok = (m.word(at-1) != m.word(at)) != in.not
		case opSave:
			m.set(in.n, at)
		case opReset:
			for g := in.n; g < in.m; g++ {
				m.set(2*g, -1)
				m.set(2*g+1, -1)
			}
		case opJump:
			pc = in.n
			continue
		case opSplit:
			if m.visited != nil {
				bit := pc*(len(m.text)+1) + at
				if m.visited[bit/64]&(1<<(bit%64)) != 0 {
					ok = false
					break
				}
				m.visited[bit/64] |= 1 << (bit % 64)
			}
			m.push(in.m, at)
			pc = in.n
			continue
		case opMoved:
			ok = m.slots[in.n] != at
		case opBack:
			at, ok = m.again(in, at)
		case opLook:
			mark := len(m.stack)
			found := m.run(pc+1, at)
			if *m.steps < 0 {
				return false
			}
			if found && in.not {
				m.undo(mark)
			}
			if ok = found != in.not; ok {
				pc = in.n
				continue
			}
		}
		if ok {
			pc++
			continue
		}
		for { // go back
			if len(m.stack) == bottom {
				return false
			}
			f := m.stack[len(m.stack)-1]
			m.stack = m.stack[:len(m.stack)-1]
			if f.pc >= 0 {
				pc, at = int(f.pc), int(f.at)
				break
			}
			m.slots[-f.pc-1] = int(f.at)
		}
	}
}

// push remembers a place to go back to, or the value of a slot. The stack doubles, so that what it leaves behind as it grows is
// no more than it is.
func (m *machine) push(pc, at int) {
	if len(m.stack) == cap(m.stack) {
		m.stack = append(make([]frame, 0, max(16, min(2*cap(m.stack), cap(m.stack)+maxStack/2))), m.stack...)
	}
	m.stack = append(m.stack, frame{int32(pc), int32(at)})
}

// set changes a slot so that it can be undone.
func (m *machine) set(slot, value int) {
	m.push(-slot-1, m.slots[slot])
	m.slots[slot] = value
}

// undo takes everything back that was done since.
func (m *machine) undo(mark int) {
	for len(m.stack) > mark {
		f := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		if f.pc < 0 {
			m.slots[-f.pc-1] = int(f.at)
		}
	}
}

// keep drops the alternatives since a mark, which a match does not go back to, but not what can be undone.
func (m *machine) keep(mark int) {
	kept := m.stack[:mark]
	for _, f := range m.stack[mark:] {
		if f.pc < 0 {
			kept = append(kept, f)
		}
	}
	m.stack = kept
}

// next reads a character.
func (m *machine) next(at int, back bool) (c rune, next int, ok bool) {
	if m.re.unicode && inside(m.text, at) {
		return 0, at, false
	}
	if back {
		if at == 0 {
			return 0, at, false
		}
		at--
		if m.re.unicode && at > 0 && low(m.text[at]) && high(m.text[at-1]) {
			return utf16.DecodeRune(rune(m.text[at-1]), rune(m.text[at])), at - 1, true
		}
		return rune(m.text[at]), at, true
	}
	if at == len(m.text) {
		return 0, at, false
	}
	if m.re.unicode && at+1 < len(m.text) && high(m.text[at]) && low(m.text[at+1]) {
		return utf16.DecodeRune(rune(m.text[at]), rune(m.text[at+1])), at + 2, true
	}
	return rune(m.text[at]), at + 1, true
}

// again matches what a group matched before; a group that took no part matches nothing.
func (m *machine) again(in *instr, at int) (int, bool) {
	for _, g := range in.which {
		from, to := m.slots[2*g], m.slots[2*g+1]
		if from < 0 || to < 0 {
			continue
		}
		n := to - from
		begin, end := at, at+n
		if in.back {
			begin, end = at-n, at
		}
		if begin < 0 || end > len(m.text) {
			return at, false
		}
		*m.steps -= n
		for i := range n {
			if a, b := rune(m.text[from+i]), rune(m.text[begin+i]); a != b && (!m.re.ignoreCase || m.re.canonical(a) != m.re.canonical(b)) {
				return at, false
			}
		}
		if in.back {
			end = begin
		}
		return end, !m.re.unicode || !inside(m.text, end)
	}
	return at, true
}

func (m *machine) word(at int) bool {
	if at < 0 || at >= len(m.text) {
		return false
	}
	c := rune(m.text[at])
	return wordChar(c) || m.re.unicode && m.re.ignoreCase && (c == 'ſ' || c == '\u212A')
}

func wordChar(c rune) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func terminator(c rune) bool { return c == '\n' || c == '\r' || c == '\u2028' || c == '\u2029' }

// canonical is what characters are compared as where case is ignored (ECMA-262, Canonicalize).
func (re *Regexp) canonical(c rune) rune {
	switch {
	case 'a' <= c && c <= 'z' && !re.unicode:
		return c - 'a' + 'A'
	case c < 0x80 && !re.unicode:
		return c
	case re.unicode:
		least := c
		for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	case c&0xF800 == 0xD800:
		return c
	}
	upper := []rune(cases.Upper(language.Und).String(string(c)))
	if len(upper) != 1 || upper[0] < 0x80 || upper[0] > 0xFFFF {
		return c
	}
	return upper[0]
}

// set is a set of characters.
type set struct {
	not    bool
	ranges [][2]rune
	tables []table
}

type table struct {
	*unicode.RangeTable
	not bool
}

func (s *set) add(from, to rune) { s.ranges = append(s.ranges, [2]rune{from, to}) }

// has reports whether the set has a character, or one that is the same where case is ignored.
func (s *set) has(c rune, re *Regexp) bool {
	found := s.holds(c)
	if !found && re.ignoreCase {
		for f := unicode.SimpleFold(c); f != c && !found; f = unicode.SimpleFold(f) {
			found = re.canonical(f) == re.canonical(c) && s.holds(f)
		}
	}
	return found != s.not
}

func (s *set) holds(c rune) bool {
	for _, r := range s.ranges {
		if r[0] <= c && c <= r[1] {
			return true
		}
	}
	for _, t := range s.tables {
		if unicode.Is(t.RangeTable, c) != t.not {
			return true
		}
	}
	return false
}
