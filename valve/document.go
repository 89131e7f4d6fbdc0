package valve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// document is a JSON value on its way into a rule. Its texts and numbers are values of JavaScript already, which belong to
// no runtime.
type document struct {
	kind   documentKind
	scalar goja.Value
	keys   []string   // of an object; of a list those that are no index, which only a patch can make
	values []document // of an object or the elements of a list
	named  []document // of a list, the values of its keys
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
// key that is given twice the last value counts. Halves of pairs in a key are refused.
func (r *reader) parse(text []byte) (d document, err error) {
	if len(text) > r.left {
		return d, errInput
	}
	if !utf8.Valid(text) {
		return d, errNotJSON
	}
	p := jsonParser{reader: r, text: text}
	if err = p.value(&d, 0); err != nil {
		return d, err
	}
	if p.space(); p.at < len(p.text) {
		return d, errNotJSON
	}
	return d, nil
}

type jsonParser struct {
	*reader
	text []byte
	at   int
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

// value reads a value into d.
func (p *jsonParser) value(d *document, depth int) error {
	if depth > maxNesting {
		return errInput
	}
	switch c := p.next(); {
	case c == '{':
		return p.object(d, depth)
	case c == '[':
		return p.list(d, depth)
	case c == '"':
		v, _, err := p.string()
		if err != nil {
			return err
		}
		d.scalar = v
		return p.spend(v.Length())
	case c == '-' || '0' <= c && c <= '9':
		return p.number(d)
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

func (p *jsonParser) number(d *document) error {
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
	f, _ := strconv.ParseFloat(string(p.text[from:p.at]), 64) // out of range: infinite, as in JavaScript
	d.scalar = numberValue(f)
	return p.spend(scalar)
}

// string reads a text, and says whether it is whole: without halves of surrogate pairs.
func (p *jsonParser) string() (v goja.String, whole bool, err error) {
	p.at++
	from := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return goText8(string(p.text[from : p.at-1])), true, nil
		case c == '\\':
			return p.escaped(from)
		case c < ' ':
			return nil, false, errNotJSON
		}
		p.at++
	}
	return nil, false, errNotJSON
}

func goText8(s string) goja.String { return constants.ToValue(s).(goja.String) }

// escaped reads a text that holds escapes.
func (p *jsonParser) escaped(from int) (v goja.String, whole bool, err error) {
	u := utf16.Encode([]rune(string(p.text[from:p.at])))
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			whole := slices.Equal(u, utf16.Encode(utf16.Decode(u)))
			return goja.StringFromUTF16(u), whole, nil
		case c < ' ':
			return nil, false, errNotJSON
		case c != '\\':
			r, n := utf8.DecodeRune(p.text[p.at:])
			u = utf16.AppendRune(u, r)
			p.at += n
			continue
		}
		if p.at+1 >= len(p.text) {
			break
		}
		c := p.text[p.at+1]
		p.at += 2
		switch c {
		case '"', '\\', '/':
			u = append(u, uint16(c))
		case 'b':
			u = append(u, '\b')
		case 'f':
			u = append(u, '\f')
		case 'n':
			u = append(u, '\n')
		case 'r':
			u = append(u, '\r')
		case 't':
			u = append(u, '\t')
		case 'u':
			if p.at+4 > len(p.text) {
				return nil, false, errNotJSON
			}
			n, err := strconv.ParseUint(string(p.text[p.at:p.at+4]), 16, 16)
			if err != nil {
				return nil, false, errNotJSON
			}
			u = append(u, uint16(n))
			p.at += 4
		default:
			return nil, false, errNotJSON
		}
	}
	return nil, false, errNotJSON
}

func (p *jsonParser) list(d *document, depth int) error {
	p.at++
	d.kind = listDocument
	if p.next() == ']' {
		p.at++
		return nil
	}
	for {
		d.values = append(d.values, document{})
		if err := p.value(&d.values[len(d.values)-1], depth+1); err != nil {
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

func (p *jsonParser) object(d *document, depth int) error {
	p.at++
	d.kind = objectDocument
	if err := p.spend(scalar); err != nil {
		return err
	}
	if p.next() == '}' {
		p.at++
		return nil
	}
	d.keys, d.values = make([]string, 0, 4), make([]document, 0, 4)
	for {
		if p.next() != '"' {
			return errNotJSON
		}
		key, whole, err := p.string()
		if err != nil {
			return err
		}
		if !whole {
			return fmt.Errorf("%w: half of a surrogate pair in a key", errTooMuch)
		}
		if p.next() != ':' {
			return errNotJSON
		}
		p.at++
		d.keys, d.values = append(d.keys, key.String()), append(d.values, document{})
		if err := p.value(&d.values[len(d.values)-1], depth+1); err != nil {
			return err
		}
		if err := p.spend(key.Length() + 1); err != nil {
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

// goValue reads a Go value: JSON text in a json.RawMessage, what encoding/json decodes into an any, or whatever it can encode.
func (r *reader) goValue(v any, depth int) (d document, err error) {
	if depth > maxNesting {
		return d, errInput
	}
	one := func(v goja.Value, size int) (document, error) { return document{scalar: v}, r.spend(size) }
	switch v := v.(type) {
	case nil:
		return one(goja.Null(), scalar)
	case json.RawMessage:
		return r.parse(v)
	case bool:
		if v {
			return one(truth, scalar)
		}
		return one(falsehood, scalar)
	case string:
		if !utf8.ValidString(v) {
			return d, errNotJSON
		}
		if len(v) > r.left {
			return d, errInput
		}
		return one(goText8(v), len(v))
	case float64:
		return one(numberValue(v), scalar)
	case int:
		return one(numberValue(float64(v)), scalar)
	case int64:
		return one(numberValue(float64(v)), scalar)
	case []any:
		d.kind = listDocument
		for _, e := range v {
			x, err := r.goValue(e, depth+1)
			if err == nil {
				err = r.spend(1)
			}
			if err != nil {
				return d, err
			}
			d.values = append(d.values, x)
		}
		return d, nil
	case []string:
		d.kind = listDocument
		for _, e := range v {
			x, err := r.goValue(e, depth+1)
			if err == nil {
				err = r.spend(1)
			}
			if err != nil {
				return d, err
			}
			d.values = append(d.values, x)
		}
		return d, nil
	case map[string]any:
		d.kind = objectDocument
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
			x, err := r.goValue(v[k], depth+1)
			if err == nil {
				err = r.spend(len(k) + 1)
			}
			if err != nil {
				return d, err
			}
			d.keys, d.values = append(d.keys, k), append(d.values, x)
		}
		return d, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return d, errNotJSON
	}
	return r.parse(text)
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
	c := &document{kind: d.kind, keys: slices.Clone(d.keys), values: slices.Clone(d.values), named: slices.Clone(d.named)}
	if len(path) > 1 {
		below := c.get(path[0].key)
		switch {
		case below != nil && below.kind != scalarDocument:
		case below != nil && goja.IsNull(below.scalar):
			return nil, errPatch
		case path[1].index:
			below = &document{kind: listDocument}
		default:
			below = &document{kind: objectDocument}
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
