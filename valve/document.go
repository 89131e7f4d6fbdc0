package valve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// document is a JSON value on its way into a rule. Its texts and numbers are values of JavaScript already, which belong to
// no runtime.
type document struct {
	kind   documentKind
	scalar goja.Value
	*parts // of a list or an object that is seen
}

type parts struct {
	keys   []string   // of an object; of a list those that are no index, which only a patch can make
	values []document // of an object or the elements of a list
	named  []document // of a list, the values of its keys
}

// open makes the document a list or an object, which has parts if it is seen.
func (d *document) open(kind documentKind, see *reach) {
	if d.kind = kind; see != nil {
		d.parts = &parts{}
	}
}

type documentKind uint8

const (
	scalarDocument documentKind = iota
	listDocument
	objectDocument
	holeDocument // in a list
)

// errInput is that a rule would read more than it may.
var errInput = fmt.Errorf("%w: what the rule reads is too large", errTooMuch)

// maxNesting bounds how deep lists and objects lie in one another.
const maxNesting = 200

// reader builds documents, as long as they are within what is left to read.
type reader struct {
	left int // bytes, or units of the text that it would become
}

// spend takes the size of a part off.
func (r *reader) spend(n int) error {
	if r.left -= n; r.left < 0 {
		return errInput
	}
	return nil
}

var errNotJSON = errors.New("it is not JSON")

// parse reads a JSON text as JSON.parse does: numbers beyond range are infinite, halves of surrogate pairs stay, and of a
// key that is given twice the last value counts. Halves of pairs in a key are refused. What is out of reach is checked and
// counted, and nothing is made of it.
func (r *reader) parse(text []byte, see *reach) (d document, err error) {
	if len(text) > r.left {
		return d, errInput
	}
	if !utf8.Valid(text) {
		return d, errNotJSON
	}
	p := jsonParser{reader: r, text: text}
	if err = p.value(&d, see, 0); err != nil {
		return d, err
	}
	if p.space(); p.at < len(p.text) {
		return d, errNotJSON
	}
	return d, nil
}

type jsonParser struct {
	*reader
	text   []byte
	at     int
	unseen document // where what is not seen goes
}

func (p *jsonParser) space() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t' || p.text[p.at] == '\n' || p.text[p.at] == '\r') {
		p.at++
	}
}

// next is the character that comes next, white space aside, or 0.
func (p *jsonParser) next() byte {
	if p.space(); p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// value reads a value into d, as far as it is seen.
func (p *jsonParser) value(d *document, see *reach, depth int) error {
	if depth > maxNesting {
		return errInput
	}
	switch c := p.next(); {
	case c == '{':
		return p.object(d, see, depth)
	case c == '[':
		return p.list(d, see, depth)
	case c == '"':
		s, err := p.string()
		if err != nil {
			return err
		}
		if see != nil {
			d.scalar = s.value()
		}
		return p.spend(s.units + textUnits)
	case c == '-' || '0' <= c && c <= '9':
		return p.number(d, see)
	}
	switch rest := p.text[p.at:]; {
	case bytes.HasPrefix(rest, []byte("null")):
		p.at, d.scalar = p.at+4, goja.Null()
	case bytes.HasPrefix(rest, []byte("true")):
		p.at, d.scalar = p.at+4, truth
	case bytes.HasPrefix(rest, []byte("false")):
		p.at, d.scalar = p.at+5, falsehood
	default:
		return errNotJSON
	}
	return p.spend(scalar)
}

// What scalars are in every runtime.
var (
	constants = goja.New()
	truth     = constants.ToValue(true)
	falsehood = constants.ToValue(false)
)

func constant(yes bool) goja.Value {
	if yes {
		return truth
	}
	return falsehood
}

func numberValue(f float64) goja.Value {
	if i := int64(f); float64(i) == f && (i != 0 || !math.Signbit(f)) && i > -1<<53 && i < 1<<53 {
		return constants.ToValue(i)
	}
	return constants.ToValue(f)
}

func (p *jsonParser) digits() bool {
	from := p.at
	for p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > from
}

func (p *jsonParser) one(of string) bool {
	for i := range len(of) {
		if p.at < len(p.text) && p.text[p.at] == of[i] {
			p.at++
			return true
		}
	}
	return false
}

func (p *jsonParser) number(d *document, see *reach) error {
	from := p.at
	p.one("-")
	if !p.one("0") && !p.digits() {
		return errNotJSON
	}
	if p.one(".") && !p.digits() {
		return errNotJSON
	}
	if p.one("eE") {
		p.one("+-")
		if !p.digits() {
			return errNotJSON
		}
	}
	if see != nil {
		f, _ := strconv.ParseFloat(string(p.text[from:p.at]), 64) // out of range: infinite, as in JavaScript
		d.scalar = numberValue(f)
	}
	return p.spend(scalar)
}

// jsonString is a text in JSON, without its quotes.
type jsonString struct {
	raw   []byte
	plain bool // it has no escapes
	units int  // how long it is
}

// string reads a text.
func (p *jsonParser) string() (s jsonString, err error) {
	p.at++
	from := p.at
	s.plain = true
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			s.raw = p.text[from:p.at]
			p.at++
			return s, nil
		case c < ' ':
			return s, errNotJSON
		case c == '\\':
			s.plain = false
			p.at++
			if !p.escape() {
				return s, errNotJSON
			}
			s.units++
			continue
		case c >= 0xF0: // it becomes a surrogate pair
			s.units += 2
		case c < 0x80 || c >= 0xC0: // the others continue a character
			s.units++
		}
		p.at++
	}
	return s, errNotJSON
}

// escape passes what follows a backslash, and reports whether it may.
func (p *jsonParser) escape() bool {
	if !p.one("u") {
		return p.one(`"\/bfnrt`)
	}
	for range 4 {
		if !p.one("0123456789abcdefABCDEF") {
			return false
		}
	}
	return true
}

// value is the text in JavaScript.
func (s *jsonString) value() goja.String {
	if s.plain {
		return goText8(string(s.raw))
	}
	return goja.StringFromUTF16(s.decode())
}

// key is the text as a key, which cannot hold half of a surrogate pair.
func (s *jsonString) key() (string, error) {
	if s.plain {
		return string(s.raw), nil
	}
	u := s.decode()
	text := utf16.Decode(u)
	if !slices.Equal(u, utf16.Encode(text)) {
		return "", fmt.Errorf("%w: half of a surrogate pair in a key", errTooMuch)
	}
	return string(text), nil
}

// decode replaces the escapes.
func (s *jsonString) decode() []uint16 {
	u := make([]uint16, 0, s.units)
	for i := 0; i < len(s.raw); {
		if s.raw[i] != '\\' {
			r, n := utf8.DecodeRune(s.raw[i:])
			u = utf16.AppendRune(u, r)
			i += n
			continue
		}
		c := s.raw[i+1]
		i += 2
		switch at := strings.IndexByte("bfnrt", c); {
		case c == 'u':
			n, _ := strconv.ParseUint(string(s.raw[i:i+4]), 16, 16)
			u = append(u, uint16(n))
			i += 4
		case at >= 0:
			u = append(u, uint16("\b\f\n\r\t"[at]))
		default:
			u = append(u, uint16(c))
		}
	}
	return u
}

func goText8(s string) goja.String { return constants.ToValue(s).(goja.String) }

func (p *jsonParser) list(d *document, see *reach, depth int) error {
	p.at++
	d.open(listDocument, see)
	if err := p.spend(scalar); err != nil {
		return err
	}
	if p.next() == ']' {
		p.at++
		return nil
	}
	see = see.list()
	for {
		if err := p.value(p.element(d, see), see, depth+1); err != nil {
			return err
		}
		if err := p.spend(1); err != nil {
			return err
		}
		switch p.next() {
		case ',':
			p.at++
		case ']':
			p.at++
			return nil
		default:
			return errNotJSON
		}
	}
}

// element adds a place to a list, if it is seen.
func (p *jsonParser) element(d *document, see *reach) *document {
	if see == nil {
		return &p.unseen
	}
	d.values = append(d.values, document{})
	return &d.values[len(d.values)-1]
}

func (p *jsonParser) object(d *document, see *reach, depth int) error {
	p.at++
	d.open(objectDocument, see)
	if err := p.spend(scalar); err != nil {
		return err
	}
	if p.next() == '}' {
		p.at++
		return nil
	}
	for {
		if p.next() != '"' {
			return errNotJSON
		}
		key, err := p.string()
		if err != nil {
			return err
		}
		if p.next() != ':' {
			return errNotJSON
		}
		p.at++
		place, below, err := p.place(d, &key, see)
		if err != nil {
			return err
		}
		if err := p.value(place, below, depth+1); err != nil {
			return err
		}
		if err := p.spend(key.units + 1); err != nil {
			return err
		}
		switch p.next() {
		case ',':
			p.at++
		case '}':
			p.at++
			return nil
		default:
			return errNotJSON
		}
	}
}

// place adds a place for a key to an object, if it is seen.
func (p *jsonParser) place(d *document, key *jsonString, see *reach) (*document, *reach, error) {
	var name string
	var below *reach
	if see != nil && !see.whole && key.plain {
		if below = see.members[string(key.raw)]; below != nil {
			name = below.name
		}
	} else if see != nil || !key.plain {
		var err error
		if name, err = key.key(); err != nil {
			return nil, nil, err
		}
		below = see.member(name)
	}
	if below == nil {
		return &p.unseen, nil, nil
	}
	if d.values == nil {
		room := 4
		if !see.whole {
			room = len(see.members)
		}
		d.keys, d.values = make([]string, 0, room), make([]document, 0, room)
	}
	d.keys, d.values = append(d.keys, name), append(d.values, document{})
	return &d.values[len(d.values)-1], below, nil
}

// goValue reads a Go value: JSON text in a json.RawMessage, what encoding/json decodes into an any, or whatever it can encode.
func (r *reader) goValue(v any, see *reach, depth int) (d document, err error) {
	if depth > maxNesting {
		return d, errInput
	}
	switch v := v.(type) {
	case nil:
		d.scalar = goja.Null()
		return d, r.spend(scalar)
	case json.RawMessage:
		return r.parse(v, see)
	case bool:
		d.scalar = constant(v)
		return d, r.spend(scalar)
	case string:
		if !utf8.ValidString(v) {
			return d, errNotJSON
		}
		if err := r.spend(len(v) + textUnits); err != nil {
			return d, err
		}
		if see != nil {
			d.scalar = goText8(v)
		}
		return d, nil
	case float64:
		return r.goNumber(v, see)
	case int:
		return r.goNumber(float64(v), see)
	case int64:
		return r.goNumber(float64(v), see)
	case []any:
		return goList(r, v, see, depth)
	case []string:
		return goList(r, v, see, depth)
	case map[string]any:
		d.open(objectDocument, see)
		if err := r.spend(scalar); err != nil {
			return d, err
		}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if !utf8.ValidString(k) {
				return d, errNotJSON
			}
			below := see.member(k)
			x, err := r.goValue(v[k], below, depth+1)
			if err == nil {
				err = r.spend(len(k) + 1)
			}
			if err != nil {
				return d, err
			}
			if below != nil {
				d.keys, d.values = append(d.keys, k), append(d.values, x)
			}
		}
		return d, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return d, errNotJSON
	}
	return r.parse(text, see)
}

func (r *reader) goNumber(f float64, see *reach) (d document, err error) {
	if see != nil {
		d.scalar = numberValue(f)
	}
	return d, r.spend(scalar)
}

func goList[E any](r *reader, list []E, see *reach, depth int) (d document, err error) {
	d.open(listDocument, see)
	if err := r.spend(scalar); err != nil {
		return d, err
	}
	see = see.list()
	for _, e := range list {
		x, err := r.goValue(e, see, depth+1)
		if err == nil {
			err = r.spend(1)
		}
		if err != nil {
			return d, err
		}
		if see != nil {
			d.values = append(d.values, x)
		}
	}
	return d, nil
}

// define sets a property of its own, whatever the prototype has under that name.
func define(o *goja.Object, key string, v goja.Value) {
	if err := o.DefineDataProperty(key, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE); err != nil {
		panic(err) // cannot be: the object is new
	}
}

// value makes a fresh value of a document.
func (d *document) value(vm *goja.Runtime) goja.Value {
	switch d.kind {
	case listDocument:
		items := make([]any, len(d.values))
		for i, v := range d.values {
			items[i] = v.value(vm)
		}
		o := vm.NewArray(items...)
		for i, v := range d.values {
			if v.kind == holeDocument {
				_ = o.Delete(strconv.Itoa(i))
			}
		}
		for i, v := range d.named {
			define(o, d.keys[i], v.value(vm))
		}
		return o
	case objectDocument:
		o := vm.NewObject()
		for i, v := range d.values {
			define(o, d.keys[i], v.value(vm))
		}
		return o
	case holeDocument:
		return goja.Undefined()
	}
	return d.scalar
}

// errPatch is that a patch does not fit the record.
var errPatch = errors.New("the path of the patch does not fit the record")

// step is a step of a patch's path: a key, or an index of a list, the key of which is what JavaScript makes of the number.
type step struct {
	key   string
	index bool
}

// patched returns a copy of a document in which what is at a path is replaced, or taken away where v is nil. It leaves
// the document as it is.
func patched(d *document, path []step, v *document) (*document, error) {
	for _, s := range path {
		if s.key == "__proto__" || s.key == "constructor" || s.key == "prototype" {
			return nil, errPatch
		}
	}
	if d.kind == scalarDocument {
		return nil, errPatch
	}
	return d.patch(path, v)
}

func (d *document) patch(path []step, v *document) (*document, error) {
	c := &document{kind: d.kind, parts: &parts{slices.Clone(d.keys), slices.Clone(d.values), slices.Clone(d.named)}}
	if len(path) > 1 {
		below := c.get(path[0].key)
		switch {
		case below != nil && below.kind != scalarDocument:
		case below != nil && goja.IsNull(below.scalar):
			return nil, errPatch
		case path[1].index:
			below = &document{kind: listDocument, parts: &parts{}}
		default:
			below = &document{kind: objectDocument, parts: &parts{}}
		}
		var err error
		if v, err = below.patch(path[1:], v); err != nil {
			return nil, err
		}
	}
	return c, c.put(path[0].key, v)
}

// get returns a member of an object, or an element or a property of a list, or nil.
func (d *document) get(key string) *document {
	if i, ok := arrayIndex(key); ok && d.kind == listDocument {
		if i < int64(len(d.values)) && d.values[i].kind != holeDocument {
			return &d.values[i]
		}
		return nil
	}
	for i, k := range slices.Backward(d.keys) { // the last one counts
		if k == key {
			return &d.members()[i]
		}
	}
	return nil
}

// members is the values of the keys.
func (d *document) members() []document {
	if d.kind == listDocument {
		return d.named
	}
	return d.values
}

// put sets what get returns, or takes it away where v is nil.
func (d *document) put(key string, v *document) error {
	if i, ok := arrayIndex(key); ok && d.kind == listDocument {
		switch there := i < int64(len(d.values)); {
		case there && v == nil:
			d.values[i] = document{kind: holeDocument}
		case there:
			d.values[i] = *v
		case v == nil:
		case i > maxPatchIndex:
			return errInput
		default:
			for int64(len(d.values)) < i {
				d.values = append(d.values, document{kind: holeDocument})
			}
			d.values = append(d.values, *v)
		}
		return nil
	}
	if d.kind == listDocument && key == "length" {
		return errPatch
	}
	values := &d.values
	if d.kind == listDocument {
		values = &d.named
	}
	for i := len(d.keys) - 1; i >= 0; i-- {
		if d.keys[i] != key {
			continue
		}
		if v != nil {
			(*values)[i] = *v
			return nil
		}
		d.keys, *values = slices.Delete(d.keys, i, i+1), slices.Delete(*values, i, i+1)
	}
	if v != nil {
		d.keys, *values = append(d.keys, key), append(*values, *v)
	}
	return nil
}

// maxPatchIndex bounds how far a patch can make a list grow.
const maxPatchIndex = 10_000
