package valve

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"github.com/chansec/chansec/valve/internal/v8"
)

// inventor invents rules, and what they are asked about.
type inventor struct{ *rand.Rand }

func (r *inventor) of(list ...string) string { return list[r.IntN(len(list))] }

func (r *inventor) one(in int) bool { return r.IntN(in) == 0 }

// rule is a rule with cases.
func (r *inventor) rule(text string) v8.Rule {
	rule := v8.Rule{Ask: "rule", Text: text, Kind: "write", Variables: [][]string{{"$x"}, {"$x", "$y"}, {"$x", "$x"}}[r.IntN(3)]}
	for range 6 {
		c := v8.Case{User: r.of("ann", "open", "ádmin", "", "5", "undefined"), UserData: r.payload(), Data: r.payload(), Variables: []string{}, Action: 18,
			Now: []int64{0, 1700000000000, -1}[r.IntN(3)], Records: map[string]string{}, Plain: r.one(2)}
		if c.Plain {
			c.UserData = plain(c.UserData)
		}
		if r.one(12) {
			c.Data = ""
		}
		c.Name = "r"
		for range rule.Variables {
			v := r.of("a", "ann", "5", "😀", "A", "role", "length", "é", "__proto__")
			c.Variables = append(c.Variables, v)
			c.Name += "/" + v
		}
		for _, name := range []string{c.Name, "a", "b", "ann", "__proto__", ""} {
			if !r.one(3) {
				c.Records[name] = r.payload()
			}
		}
		if r.one(6) {
			path := r.of("a", "b.c", "a[0]", "c.d[1].e", "", "a.__proto__", "length", "a[x]", " a . b ", "l[0]", "l[3]", "toString", "a[0][1]", "0", "a[1", "l.x", "[0]")
			c.Path, c.Action = &path, 19
		}
		rule.Cases = append(rule.Cases, c)
	}
	return rule
}

// plain is what becomes of JSON that is decoded and encoded by Go, in order.
func plain(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	again, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(again)
}

// payload is JSON that is hostile.
func (r *inventor) payload() string {
	if r.one(8) {
		return r.json(0)
	}
	var b strings.Builder
	b.WriteByte('{')
	for i := range 1 + r.IntN(6) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%s", r.key(), r.json(1))
	}
	b.WriteByte('}')
	return b.String()
}

func (r *inventor) key() string {
	return r.of(`"a"`, `"a"`, `"b"`, `"b"`, `"c"`, `"role"`, `"l"`, `"d"`, `"e"`, `"length"`, `"__proto__"`, `"constructor"`, `"toString"`, `"valueOf"`, `""`, `"0"`, `"1"`, `"2"`,
		`"\u0061"`, `"includes"`, `"indexOf"`, `"é"`, `"-0"`, `"ann"`, `"id"`, `"data"`, `"01"`, `"4294967295"`, `"join"`, `"isAuthenticated"`, `"hasOwnProperty"`, `"$x"`)
}

func (r *inventor) json(depth int) string {
	switch k := r.IntN(12); {
	case k < 3:
		return r.of("0", "-0", "1", "5", "-1", "2.5", "1e308", "1e400", "-1e400", "9007199254740993", "4294967296", "2147483648", "1e21", "1e-7", "0.1", "123456789012345680000",
			"5e-324", "1E2", "0.30000000000000004", "1e-400", "10", "100")
	case k < 7:
		return `"` + r.of("", "a", "b", "ann", "A", "abc", "aaa", "0", "5", " 5 ", "0x10", "1e3", "true", "null", "undefined", "é", `e\u0301`, "ß", "ẞ", "İ", "ı", `\u212a`, "K", "k", "Σας", "ς",
			"😀", `\ud83d\ude00`, `\ud800`, `\udc00x`, `\u2028`, `\n`, `\u00a0x\ufeff`, "length", "__proto__", "constructor", "a,b", "[object Object]", "-0", "Infinity", "1_000", "12n", "5n",
			"ŉ", "ﬁ", "ǆ", "ǅ", "a/b", "undefinedx", "^a+$", "(a)(b)?", "[", ".", "a|b", "\\\\d+", "(?<x>a)", "Ω", "ω", "Ω", "ſ", "s", "ΑΣ", "Σ", "aΣb", "ΐ", "0b1", "0o7", "+5", ".5", "5.", "--5", "\\u180e5") + `"`
	case k == 7:
		return r.of("true", "false", "null", "null")
	case depth > 3:
		return "{}"
	case k < 10:
		var parts []string
		for range r.IntN(4) {
			parts = append(parts, r.json(depth+1))
		}
		return "[" + strings.Join(parts, r.of(",", " , ")) + "]"
	}
	var parts []string
	for range r.IntN(4) {
		parts = append(parts, r.key()+":"+r.json(depth+1))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// leaf is what stands by itself.
func (r *inventor) leaf() string {
	switch k := r.IntN(20); {
	case k < 8:
		e := r.of("data", "data", "data", "oldData", "user.data", "user.data", "user", "_('a')", "_('b')", "this", "arguments", "_(name)")
		if r.one(25) {
			e = r.of("_('b')", "_(data.a)", "_($x)", "_('ann')", "_('__proto__')", "_('')", "_(user.id)", "_('undefined')", "_(5)", "_(data)")
		}
		for range r.IntN(4) {
			e += r.of(".a", ".b", ".c", ".role", ".l", ".d", "?.a", "?.b", ".length", "[0]", "[1]", "['a']", "['b']", "?.[0]", "[$x]", ".toString", ".__proto__", ".constructor", "[data.a]",
				"['length']", ".id", ".data", "[name]", "['0']", "[-0]", "[1.0]", "['']", ".é", "?.['c']", ".valueOf", "[[0]]", "[null]", ".isAuthenticated", ".\\u0061", "[2]")
		}
		return e
	case k < 10:
		return r.of("name", "$x", "user.id", "now", "action", "user.isAuthenticated", "$x.length", "name.length", "$x[0]", "undefined", "NaN", "Infinity", "user.data.role", "$y", "typeof $y")
	case k < 12:
		return r.of("0", "-0", "1", "5", "2.5", "1e308", "9007199254740993", "0x10", "0b11", "0o17", "1_000", ".5", "5.", "1e21", "1e-7", "4294967296", "2147483648", "010", "1e999", "0xFFFFFFFF",
			"5n", "0n", "-3n", "123456789012345678901234567890", "0.1", "3", "-1", "31", "32", "0.5", "1.5", "-2.5", "1e-324", "0x1fffffffffffff8", "1n", "0x10n", "1000000000000000000000n")
	case k < 16:
		return r.literal()
	case k < 17:
		return r.of("true", "false", "null", "[]", "{}", "({})", "[1]", "[,]", "[null]", "['a', 'b']", "[[5]]", "''", "Math.PI", "({ a: 1 })", "[NaN]", "Math", "[1,,2]", "[undefined]", "class {}", "(class A {})",
			"Number.MAX_SAFE_INTEGER", "Object", "({ __proto__: null })", "({ '0': 1 })", "Symbol.iterator", "Math.E", "({ toString: 1, valueOf: 2 })", "({ length: 2 })")
	case k < 18:
		return "/" + r.pattern(0) + "/" + r.of("", "", "", "i", "i", "g", "u", "iu", "y", "m", "s", "gi", "gu", "gy", "ims")
	case k < 19:
		return r.of("`a${data.a}`", "`${$x}`", "`${data.b}/${1 + 1}`", "``", "`\\u0061`", "`a\nb`", "`\\``", "`${`${data.a}`}`")
	}
	return r.of("data.a", "data.b", "oldData.a", "oldData.b", "user.data.a", "data.l", "data.c")
}

func (r *inventor) literal() string {
	return r.of("''", "'a'", "'b'", "'ann'", "'A'", "'0'", "'5'", "' 5 '", "'0x10'", "'1e3'", "'abc'", "'role'", "'é'", "'e\\u0301'", "'ß'", "'İ'", "'ı'", "'\\u212a'", "'K'", "'k'", "'Σ'", "'ς'", "'😀'",
		"'\\ud83d\\ude00'", "'\\ud800'", "'\\u2028'", "'length'", "'__proto__'", "'constructor'", "'undefined'", "'true'", "'\\x41'", "'\\101'", "'\\0'", "\"a\"", "'\\\na'", "'[object Object]'", "'a,b'", "'-0'",
		"'Infinity'", "'1_000'", "'5n'", "'\\u{61}'", "'ǆ'", "'\\a'", "'ΑΣ'", "'aΣ'", "'\u2028'", "'\\'", "'\\8'", "'\ufeff5\u00a0'", "'\\u180e5'", "'.'", "'^a'", "'(a)|b'", "'['", "'\\\\d'", "'toString'", "'r/a'", "'function'")
}

// pattern is a regular expression, mostly a valid one.
func (r *inventor) pattern(depth int) string {
	var b strings.Builder
	for range 1 + r.IntN(3) {
		switch k := r.IntN(16); {
		case k < 6:
			b.WriteString(r.of("a", "b", "k", "K", ".", "\\d", "\\w", "\\s", "\\D", "\\W", "\\S", "é", "ß", "ſ", "\\u212a", "\\x41", "😀", "\\u{61}", "\\/", "\\b", "\\B", "\\ud800", "σ", "[^]", "[]", "\\0", "\\1", "\\k<n>",
				"\\p{L}", "\\P{Lu}", "\\p{Script=Greek}", "\\cA", "\\t", "\\.", "\\-", "5", ",", "\\101", "İ", "ı", "Ω", "\\u03a9", "ǅ"))
		case k < 9:
			b.WriteString("[" + r.of("", "^") + r.of("a-z", "A-Z", "\\d", "\\w", "\\W", "ab", "é", "\\s\\S", "-a", "a-", "\\b", "0-9a-f", "k", "\\u212a", "\\d-x", "[", "/", "^", "ſ", "\\D5", "😀", "à-ÿ", "\\]") + "]")
		case k < 11 && depth < 3:
			b.WriteString(r.of("(", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?<n>", "(", "(?:") + r.pattern(depth+1) + ")")
		case k < 12:
			b.WriteString(r.of("^", "$", "^", "$", "|"))
		case k < 13:
			b.WriteString(r.pattern(depth+1) + "|" + r.pattern(depth+1))
		default:
			b.WriteString(r.of("a", "b", "\\d", "[ab]"))
		}
		if r.one(3) {
			b.WriteString(r.of("*", "+", "?", "*?", "+?", "{2}", "{1,2}", "{0}", "{1,}?", "{,2}", "{", "}", "??", "{2,1}"))
		}
		if depth > 4 {
			break
		}
	}
	return b.String()
}

// expression is an expression of every kind that rules may have.
func (r *inventor) expression(depth int) string {
	if depth > 3 || r.IntN(5) < depth {
		return r.leaf()
	}
	sub := func() string { return r.expression(depth + 1) }
	in := func() string {
		e := sub()
		if r.one(5) {
			return e
		}
		return "(" + e + ")"
	}
	switch r.IntN(24) {
	case 0, 1:
		return in() + r.of(" && ", " || ", " ?? ", "&&", "||") + in()
	case 2:
		return r.of("!", "!!", "-", "+", "~", "void ", "typeof ", "- -", "!-", "+ +", "typeof!") + r.of(r.leaf(), "("+sub()+")")
	case 3, 4, 5:
		return in() + r.of(" === ", " == ", " !== ", " != ") + in()
	case 6, 7:
		return in() + r.of(" < ", " > ", " <= ", " >= ", "<", ">") + in()
	case 8, 9:
		return in() + r.of(" + ", " - ", " * ", " / ", " % ", " ** ", " + ", " + ") + in()
	case 10:
		return in() + r.of(" | ", " & ", " ^ ", " << ", " >> ", " >>> ") + in()
	case 11:
		return in() + r.of(" in ", " instanceof ") + r.leaf()
	case 12:
		return in() + " ? " + in() + " : " + in()
	case 13, 14:
		return in() + r.of(".", "?.", ".") + r.of("startsWith", "endsWith", "includes", "indexOf") + "(" + sub() + r.of("", "", "", ", "+r.leaf()) + ")"
	case 15:
		return in() + "." + r.of("toUpperCase()", "toLowerCase()", "trim()", "trim?.()", "toUpperCase().trim()", "toLowerCase().length")
	case 16, 17:
		m := r.of(in(), "data.a", "$x", "''"+"+"+r.leaf()) + r.of(".", "?.") + "match(" + r.of("/"+r.pattern(0)+"/"+r.of("", "i", "g", "u", "iu", "y", "m", "gi"), sub(), "data.b", r.literal()) + ")"
		return m + r.of("", "", "[0]", "?.[1]", "?.length", "?.index", "?.groups?.n", "?.input")
	case 18:
		return "[" + sub() + r.of(", ", ", ...", ",, ") + r.of(sub(), "data.l", "data.a", "[]") + "]" + r.of("", "[0]", "[1]", ".length", ".includes("+r.leaf()+")", ".indexOf("+r.leaf()+")")
	case 19:
		return "({ " + r.of("a: "+in(), "['a']: "+in(), "..."+in(), "name", "a: 1, ..."+r.leaf(), "["+r.leaf()+"]: 1", "__proto__: { a: 1 }", "'a': "+in()+", a: 2", "0: 1, a: "+in(), "...data, ...oldData") + " })" + r.of("", ".a", "['a']", ".b", "[0]", ".name", "?.a.a")
	case 20:
		return "`" + r.of("", "x", "é") + "${" + sub() + "}" + r.of("", "/") + "${" + r.leaf() + "}`"
	case 21:
		return in() + r.of("[", "?.[") + sub() + "]"
	case 22:
		return "(" + sub() + ", " + sub() + ")"
	}
	target := r.of("data.x", "user.id", "user.data.a", "$x", "data.a", "this.a", "user", "data", "name", "oldData.a", "user['q']", "_('a').x", "data.a.b")
	change := target + r.of(" = ", " += ", " ||= ", " &&= ", " ??= ", " -= ", " *= ", " |= ", " >>>= ", " **= ", " %= ") + in()
	if r.one(4) {
		change = r.of(target+"++", "--"+target, target+"--", "++"+target, "delete "+target, "({ a: "+target+" } = data)", "(["+target+"] = data.l)", "({ a: "+target+" = 5 } = user.data)", "(["+target+", $x] = 'ab')")
	}
	return "(" + change + ", " + r.of(target, sub(), target+" === "+sub()) + ")"
}

var lexeme = regexp.MustCompile("[A-Za-z_$\\\\][\\w$\\\\]*|[0-9][\\w.]*|'[^'\n]*'|\"[^\"\n]*\"|\\s+|[=!<>]==?|&&=?|\\|\\|=?|\\?\\?=?|\\?\\.|\\*\\*|\\+\\+|--|=>|\\.\\.\\.|.|\n")

// garbled is the text of a rule of which some parts are missing, changed places, or are others.
func (r *inventor) garbled() string {
	tokens := lexeme.FindAllString(r.expression(r.IntN(3)), -1)
	if r.one(4) {
		tokens = nil
		for range 1 + r.IntN(6) {
			tokens = append(tokens, r.token())
		}
	}
	for range r.IntN(4) {
		i := r.IntN(len(tokens) + 1)
		switch {
		case i == len(tokens) || r.one(2):
			tokens = slices.Insert(tokens, i, r.token())
		case r.one(2):
			tokens = slices.Delete(tokens, i, i+1)
		case r.one(2):
			tokens[i] = r.token()
		default:
			j := r.IntN(len(tokens))
			tokens[i], tokens[j] = tokens[j], tokens[i]
		}
		if len(tokens) == 0 {
			tokens = []string{"data"}
		}
	}
	return strings.Join(tokens, "")
}

func (r *inventor) token() string {
	if r.one(4) {
		return r.leaf()
	}
	return r.of("+", "-", "*", "/", "%", "**", "<", ">", "<=", ">=", "==", "!=", "===", "!==", "=", "+=", "&&", "||", "??", "?", ":", "?.", ".", ",", ";", "(", ")", "[", "]", "{", "}", "!", "~", "++", "--", "...",
		"&", "|", "^", "<<", ">>", ">>>", "&&=", "||=", "??=", "**=", "\n", " ", "\u2028", "\t", "\u00a0", "\ufeff", "// x\n", "/* x */", "/*\n*/", "//", "<!--", "-->", "\n-->", "`", "'", "\"", "\\", "#", "@", "$", "_", "in ", " instanceof ",
		"typeof ", "void ", "delete ", "await ", "yield ", "async ", "let ", "const ", "var ", "static ", "of ", "get ", "if", "else ", "return ", "throw ", "this", "super", "import", "import.meta", "new.target", "null", "true", "false", "undefined",
		"class {}", "class a {}", "a", "b", "data", "oldData", "user", "name", "$x", "eval", "arguments", "enum", "implements", "0", "1", "5n", "08", "0x", "1_", "1__0", "0_1", "1e", ".5", "1.", "1..a", "5.a", "'\\u{110000}'", "'\\u00'", "'\\x4'", "\\u0061",
		"d\\u0061ta", "\\u{61}", "/a/", "/a/gg", "/[/]/", "/(/", "/a", "/=/", "${", "=>", "``", "`${1}`", "{ a }", "{ a: 1 }", "[1, 2]", "debugger", "with", "while", "do ", "for", "switch", "try {} ", "break", "continue", "export ", "''", "0777", "0o8", "0b2", "\\", "\u2029", "\r\n", "\r", "\v", "\u180e", "\u200b", "\u200d", "ﬁ", "ª", "𝒳", "℘", "·", "$\u200d")
}
