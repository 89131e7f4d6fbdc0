package valve_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec/valve"
)

type parser func([]byte, ...valve.Option) (*valve.Permissions, error)

// The sections that a test is not about, and that section in YAML and JSON.
const (
	otherSections     = "rpc: {'*': {}}\npresence: {'*': {}}\nrecord: {'*': {}}\n"
	otherSectionsJSON = `"rpc": {"*": {}}, "presence": {"*": {}}, "record": {"*": {}}`
)

func y(event string) string { return otherSections + "event:\n" + event }

func j(event string) string { return "{" + otherSectionsJSON + `, "event": ` + event + "}" }

// nested is lists in lists.
func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// TestAMalformedFileIsRefusedAndSaysWhy: where, what, and what would be right.
func TestAMalformedFileIsRefusedAndSaysWhy(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	yaml, json := parser(valve.ParseYAML), parser(valve.ParseJSON)
	for _, tt := range []struct {
		name string
		load parser
		text string
		want string
	}{
		{"alias twice the same key", yaml, y("  &k x: {publish: true}\n  *k : {publish: false}\n  '*': {}\n"), `line 6: the key "x" is given twice: want each key once`},
		{"merge key", yaml, y("  '*': &a {publish: true}\n  x:\n    <<: *a\n"), `line 7: a merge key: want the rules themselves`},
		{"quoted merge key", yaml, y("  '*': {publish: true}\n  x:\n    '<<': {publish: true}\n"), `line 7: section "event": path "x": rule "<<": there is no such rule type in this section: want publish, subscribe, listen`},
		{"recursive alias", yaml, y("  '*': &a\n    publish: *a\n"), `line 6: more levels than a permission file has: want at most 64`},
		{"unknown alias", yaml, y("  '*': *nope\n"), `yaml: unknown anchor 'nope' referenced: want YAML`},
		{"billion laughs", yaml, "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n" + otherSections, `line 1: aliases that multiply: want fewer`},
		{"duplicate path", yaml, y("  '*': {}\n  x: {publish: false}\n  x: {publish: true}\n"), `line 7: the key "x" is given twice: want each key once`},
		{"duplicate rule type", yaml, y("  '*': {publish: false, publish: true}\n"), `line 5: the key "publish" is given twice: want each key once`},
		{"duplicate quoted and plain", yaml, y("  '*': {}\n  \"x\": {publish: false}\n  x: {publish: true}\n"), `line 7: the key "x" is given twice: want each key once`},
		{"duplicate number key 1 and '1'", yaml, y("  '*': {}\n  1: {publish: false}\n  '1': {publish: true}\n"), `line 7: the key "1" is given twice: want each key once`},
		{"duplicate section", yaml, y("  '*': {}\n") + "event: {'*': {publish: true}}\n", `line 6: the key "event" is given twice: want each key once`},
		{"tabs", yaml, y("\t'*': {}\n"), `yaml: line 5: found character that cannot start any token: want YAML`},
		{"BOM json", json, "\uFEFF" + j(`{"*": {}}`), `line 1: the file begins with a byte order mark: want JSON without it`},
		{"NUL yaml", yaml, y("  '*': {}\n  'x\x00': {}\n"), `yaml: control characters are not allowed: want YAML`},
		{"NUL json", json, j("{\"*\": {}, \"x\x00\": {}}"), `line 1: invalid character '\x00' in string literal, in this line or after it: want JSON`},
		{"NUL in rule", json, j(`{"*": {"publish": "true\u0000"}}`), `line 1: section "event": path "*": rule "publish": column 5: the text is no JavaScript: Unexpected token ILLEGAL: want one expression`},
		{"NUL at end yaml", yaml, y("  '*': {}\n") + "\x00", `yaml: control characters are not allowed: want YAML`},
		{"NUL at end json", json, j(`{"*": {}}`) + "\x00", `line 1: there is more text after the end: want one JSON value`},
		{"deep json", json, j(`{"*": {"publish": ` + nested(1000) + `}}`), `line 1: more levels than a permission file has: want at most 64`},
		{"deep json millions", json, nested(1_000_000), `line 1: more levels than a permission file has: want at most 64`},
		{"deep yaml", yaml, y("  '*': {publish: " + nested(1000) + "}\n"), `line 5: more levels than a permission file has: want at most 64`},
		{"deep yaml 100k", yaml, nested(100_000), `yaml: exceeded max depth of 10000: want YAML`},
		{"huge number path", yaml, y("  '*': {}\n  99999999999999999999999: {publish: true}\n"), `line 6: the key "99999999999999999999999" is no text: want it in quotes`},
		{"huge number rule", yaml, y("  '*': {publish: 1e999}\n"), `line 5: section "event": path "*": rule "publish": the rule is neither a text nor true or false: want true, false or a text with an expression`},
		{"huge number rule json", json, j(`{"*": {"publish": 1e99999}}`), `line 1: section "event": path "*": rule "publish": the rule is neither a text nor true or false: want true, false or a text with an expression`},
		{"float key", yaml, y("  '*': {}\n  1.5: {publish: true}\n"), `line 6: the key "1.5" is no text: want it in quotes`},
		{"exponent key", yaml, y("  '*': {}\n  1e3: {publish: true}\n"), `line 6: the key "1e3" is no text: want it in quotes`},
		{"hex key", yaml, y("  '*': {}\n  0x10: {publish: true}\n"), `line 6: the key "0x10" is no text: want it in quotes`},
		{"octal key", yaml, y("  '*': {}\n  0o10: {publish: true}\n"), `line 6: the key "0o10" is no text: want it in quotes`},
		{"leading zero key", yaml, y("  '*': {}\n  010: {publish: true}\n"), `line 6: the key "010" is no text: want it in quotes`},
		{"underscore int key", yaml, y("  '*': {}\n  1_000: {publish: true}\n"), `line 6: the key "1_000" is no text: want it in quotes`},
		{"date key", yaml, y("  '*': {}\n  2020-01-01: {publish: true}\n"), `line 6: the key "2020-01-01" is no text: want it in quotes`},
		{"null key", yaml, y("  '*': {}\n  null: {publish: true}\n"), `line 6: the key "null" is no text: want it in quotes`},
		{"empty key", yaml, y("  '*': {}\n  : {publish: true}\n"), `yaml: line 4: did not find expected key: want YAML`},
		{"list key", yaml, y("  '*': {}\n  [a]: {publish: true}\n"), `line 6: a key that is a list or an object: want a text`},
		{"map key", yaml, y("  '*': {}\n  ? {a: b}\n  : {publish: true}\n"), `line 6: a key that is a list or an object: want a text`},
		{"star alone plain", yaml, y("  *: {publish: true}\n"), `yaml: line 5: did not find expected alphabetic or numeric character: want YAML`},
		{"null rule", yaml, y("  '*': {publish: null}\n"), `line 5: section "event": path "*": rule "publish": the rule is neither a text nor true or false: want true, false or a text with an expression`},
		{"empty rule", yaml, y("  '*': {publish: }\n"), `line 5: section "event": path "*": rule "publish": the rule is neither a text nor true or false: want true, false or a text with an expression`},
		{"number rule", yaml, y("  '*': {publish: 1}\n"), `line 5: section "event": path "*": rule "publish": the rule is neither a text nor true or false: want true, false or a text with an expression`},
		{"list rule", yaml, y("  '*': {publish: [true]}\n"), `line 5: section "event": path "*": rule "publish": the rule is neither a text nor true or false: want true, false or a text with an expression`},
		{"object rule", yaml, y("  '*': {publish: {x: true}}\n"), `line 5: section "event": path "*": rule "publish": the rule is neither a text nor true or false: want true, false or a text with an expression`},
		{"date rule", yaml, y("  '*': {publish: 2020-01-01}\n"), `line 5: a value of the type "!!timestamp": want objects, texts, and true or false`},
		{"binary rule", yaml, y("  '*': {publish: !!binary dHJ1ZQ==}\n"), `line 5: a value of the type "!!binary": want objects, texts, and true or false`},
		{"bool tag yes", yaml, y("  '*': {publish: !!bool yes}\n"), `line 5: "yes" is no value of the type !!bool: want a value that fits`},
		{"custom tag", yaml, y("  '*': {publish: !js/function 'true'}\n"), `line 5: a value of the type "!js/function": want objects, texts, and true or false`},
		{"custom tag on map", yaml, y("  '*': !foo {publish: true}\n"), `line 5: a value of the type "!foo": want objects, texts, and true or false`},
		{"set tag on map", yaml, y("  '*': !!set {publish: true}\n"), `line 5: a value of the type "!!set": want objects, texts, and true or false`},
		{"omap", yaml, y("  '*': !!omap [publish: true]\n"), `line 5: a value of the type "!!omap": want objects, texts, and true or false`},
		{"null tag on text", yaml, y("  '*': {publish: !!null 'x'}\n"), `line 5: section "event": path "*": rule "publish": the rule is neither a text nor true or false: want true, false or a text with an expression`},
		{"unknown rule type", yaml, y("  '*': {Publish: true}\n"), `line 5: section "event": path "*": rule "Publish": there is no such rule type in this section: want publish, subscribe, listen`},
		{"rule type with blank", yaml, y("  '*': {'publish ': true}\n"), `line 5: section "event": path "*": rule "publish ": there is no such rule type in this section: want publish, subscribe, listen`},
		{"rule type of another section", yaml, y("  '*': {read: true}\n"), `line 5: section "event": path "*": rule "read": there is no such rule type in this section: want publish, subscribe, listen`},
		{"unknown section", yaml, y("  '*': {}\n") + "events: {'*': {}}\n", `line 6: section "events": there is no such section: want record, event, rpc or presence`},
		{"constructor section", yaml, y("  '*': {}\n") + "constructor: {'*': {}}\n", `line 6: section "constructor": there is no such section: want record, event, rpc or presence`},
		{"__proto__ section", json, j(`{"*": {}}, "__proto__": {"*": {}}`), `line 1: section "__proto__": there is no such section: want record, event, rpc or presence`},
		{"section text", yaml, otherSections + "event: none\n", `line 4: section "event": the section is no object: want an object with at least the path "*"`},
		{"section null", yaml, otherSections + "event:\n", `line 4: section "event": the section is empty: want at least the path "*"`},
		{"section empty map", yaml, otherSections + "event: {}\n", `line 4: section "event": the section is empty: want at least the path "*"`},
		{"section list", yaml, otherSections + "event: [a]\n", `line 4: section "event": path "*": the path is missing: want an object with the rules for what no other path has rules for, or {}`},
		{"section missing", yaml, otherSections, `section "event": the section is missing: want an object with at least the path "*"`},
		{"path text", yaml, y("  '*': {}\n  x: 'true'\n"), `line 6: section "event": path "x": the path has a text or a list in place of an object: want an object, with publish, subscribe, listen or some of them`},
		{"path list", yaml, y("  '*': {}\n  x: [publish]\n"), `line 6: section "event": path "x": the path has a text or a list in place of an object: want an object, with publish, subscribe, listen or some of them`},
		{"root null", yaml, y("  '*':\n"), `line 5: section "event": path "*": the path has no rules: want an object with the rules for what no other path has rules for, or {}`},
		{"root false", yaml, y("  '*': false\n"), `line 5: section "event": path "*": the path has no rules: want an object with the rules for what no other path has rules for, or {}`},
		{"path slash", yaml, y("  '*': {}\n  /x: {publish: true}\n"), `line 6: section "event": path "/x": the path begins with /: want a path that does not begin with /, with variables of a dollar sign, letters and digits`},
		{"path empty", yaml, y("  '*': {}\n  '': {publish: true}\n"), `line 6: section "event": the path is empty: want a path that does not begin with /, with variables of a dollar sign, letters and digits`},
		{"path dollar", yaml, y("  '*': {}\n  'a/$/b': {publish: true}\n"), `line 6: section "event": path "a/$/b": a $ is followed by neither a letter nor a digit: want a path that does not begin with /, with variables of a dollar sign, letters and digits`},
		{"path umlaut var", yaml, y("  '*': {}\n  'a/$ä': {publish: true}\n"), `line 6: section "event": path "a/$ä": a $ is followed by neither a letter nor a digit: want a path that does not begin with /, with variables of a dollar sign, letters and digits`},
		{"path bad regexp", yaml, y("  '*': {}\n  'a(': {publish: true}\n"), `line 6: section "event": path "a(": the path is no regular expression: a group without end: want a path that is a valid regular expression once * and the variables are replaced`},
		{"path bad regexp no rules", yaml, y("  '*': {}\n  'a(': {}\n"), `line 6: section "event": path "a(": the path is no regular expression: a group without end: want a path that is a valid regular expression once * and the variables are replaced`},
		{"path too long", yaml, y("  '*': {}\n  ? " + strings.Repeat("x", 1025) + "\n  : {publish: true}\n"), `line 6: section "event": path "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"...: the path is too long: want at most 1024 bytes`},
		{"rule too long", yaml, y("  '*': {publish: \"" + strings.Repeat(" ", 9000) + "true\"}\n"), `line 5: section "event": path "*": rule "publish": the rule is too long: want at most 8192 bytes`},
		{"rule surrogate json", json, j(`{"*": {"publish": "user.id === '\ud800'"}}`), `line 1: a text with U+FFFD or half of a surrogate pair: want a text that is valid Unicode`},
		{"rule FFFD", json, j(`{"*": {"publish": "user.id === '` + "\uFFFD" + `'"}}`), `line 1: a text with U+FFFD or half of a surrogate pair: want a text that is valid Unicode`},
		{"invalid utf8", yaml, y("  '*': {publish: \"user.id === '\xff'\"}\n"), `the file is not valid UTF-8: want UTF-8`},
		{"multi documents", yaml, y("  '*': {}\n") + "---\n" + y("  '*': {publish: true}\n"), `there is more than one document: want one`},
		{"document end broken junk", yaml, y("  '*': {}\n") + "...\n{{{{\n", `there is more than one document: want one`},
		{"yaml directive 2.0", yaml, "%YAML 2.0\n---\n" + y("  '*': {}\n"), `yaml: found incompatible YAML document: want YAML`},
		{"json trailing comma", json, j(`{"*": {},}`), `line 1: invalid character '}' looking for beginning of object key string, in this line or after it: want JSON`},
		{"json comment", json, "// x\n" + j(`{"*": {}}`), `line 1: invalid character '/' looking for beginning of value, in this line or after it: want JSON`},
		{"json single quotes", json, strings.ReplaceAll(j(`{"*": {}}`), `"`, `'`), `line 1: invalid character '\'', in this line or after it: want JSON`},
		{"json trailing", json, j(`{"*": {}}`) + " {}", `line 1: there is more text after the end: want one JSON value`},
		{"json trailing brace", json, j(`{"*": {}}`) + "}", `line 1: there is more text after the end: want one JSON value`},
		{"json truncated", json, j(`{"*": {}}`)[:40], `line 1: the file ends too early: want a whole JSON text`},
		{"json empty", json, "", `line 1: the file ends too early: want a whole JSON text`},
		{"json null", json, "null", `the file is no object: want the sections record, event, rpc and presence`},
		{"json list", json, "[]", `section "record": the section is missing: want an object with at least the path "*"`},
		{"json text", json, `"x"`, `the file is no object: want the sections record, event, rpc and presence`},
		{"json missing colon", json, `{"record" {"*": {}}}`, `line 1: invalid character '{' after object key, in this line or after it: want JSON`},
		{"json number key", json, `{5: {"*": {}}}`, `line 1: invalid character '5', in this line or after it: want JSON`},
		{"json NaN", json, j(`{"*": {"publish": NaN}}`), `line 1: invalid character 'N' looking for beginning of value, in this line or after it: want JSON`},
		{"json raw newline in text", json, j("{\"*\": {\"publish\": \"a\nb\"}}"), `line 1: invalid character '\n' in string literal, in this line or after it: want JSON`},
		{"json bad escape", json, j(`{"*": {"publish": "\x41"}}`), `line 1: invalid character 'x' in string escape code, in this line or after it: want JSON`},
		{"yaml empty", yaml, "", `the file is no object: want the sections record, event, rpc and presence`},
		{"yaml comment", yaml, "# nothing\n", `the file is no object: want the sections record, event, rpc and presence`},
		{"yaml text", yaml, "hello", `the file is no object: want the sections record, event, rpc and presence`},
		{"yaml list", yaml, "- a\n", `section "record": the section is missing: want an object with at least the path "*"`},
		{"yaml null", yaml, "~", `the file is no object: want the sections record, event, rpc and presence`},
		{"json as yaml", json, y("  '*': {}\n"), `line 1: invalid character 'r' looking for beginning of value, in this line or after it: want JSON`},
		{"yaml unclosed quote", yaml, y("  '*': {publish: \"true}\n"), `yaml: line 5: found unexpected end of stream: want YAML`},
		{"yaml bad indent", yaml, y("  '*': {}\n x: {}\n"), `yaml: line 5: did not find expected key: want YAML`},
		{"yaml bad escape", yaml, y("  '*': {publish: \"\\q\"}\n"), `yaml: line 5: found unknown escape character: want YAML`},
		{"yaml surrogate escape", yaml, y("  '*': {publish: \"user.id === '\\uD800'\"}\n"), `yaml: line 5: found invalid Unicode character escape code: want YAML`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.load([]byte(tt.text), valve.Sharing)
			e, ok := errors.AsType[*valve.LoadError](err)
			require.True(t, ok, err)
			require.Equal(t, "valve: "+tt.want, err.Error())
			require.NotEmpty(t, e.Code)
			require.NotEmpty(t, e.Want)
		})
	}
}

func TestWhatIsOddAndWellFormedLoads(t *testing.T) {
	yaml, json := parser(valve.ParseYAML), parser(valve.ParseJSON)
	for _, tt := range []struct {
		name string
		load parser
		text string
	}{
		{"anchor and alias", yaml, y("  '*': &a {publish: true}\n  x: *a\n")},
		{"alias as rule", yaml, y("  '*': {publish: &r \"user.id === 'a'\", subscribe: *r}\n")},
		{"alias as key", yaml, y("  '*': {publish: &r 'true'}\n  *r : {publish: true}\n")},
		{"tab after key", yaml, y("  '*':\t{}\n")},
		{"BOM yaml", yaml, "\uFEFF" + y("  '*': {}\n")},
		{"CRLF yaml", yaml, strings.ReplaceAll(y("  '*': {}\n  x:\n    publish: true\n"), "\n", "\r\n")},
		{"CRLF block rule", yaml, strings.ReplaceAll(y("  '*':\n    publish: |\n      user.id\n      === 'a'\n"), "\n", "\r\n")},
		{"CRLF json", json, strings.ReplaceAll(j("{\n\"*\": {}}"), "\n", "\r\n")},
		{"negative key", yaml, y("  '*': {}\n  -1: {publish: true}\n")},
		{"sexagesimal", yaml, y("  '*': {}\n  1:30: {publish: true}\n")},
		{"bool key", yaml, y("  '*': {}\n  true: {publish: true}\n")},
		{"TRUE key", yaml, y("  '*': {}\n  TRUE: {publish: true}\n")},
		{"yes key", yaml, y("  '*': {}\n  yes: {publish: true}\n")},
		{"TRUE rule", yaml, y("  '*': {publish: TRUE}\n")},
		{"str tag bool", yaml, y("  '*': {publish: !!str true}\n")},
		{"bool tag text", yaml, y("  '*': {publish: !!bool 'true'}\n")},
		{"tagged key", yaml, y("  '*': {}\n  !!int '5': {publish: true}\n")},
		{"start marker", yaml, "---\n" + y("  '*': {}\n")},
		{"yaml directive", yaml, "%YAML 1.1\n---\n" + y("  '*': {}\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.load([]byte(tt.text), valve.Sharing)
			require.NoError(t, err)
		})
	}
}

func TestALargeFileIsRefusedQuickly(t *testing.T) {
	if testing.Short() {
		t.Skip("it does one thing after the other, and all of that without -short")
	}
	for name, tt := range map[string]struct {
		text string
		want valve.Code
	}{
		"10 MB of comments":       {y("  '*': {}\n") + strings.Repeat("# "+strings.Repeat("x", 98)+"\n", 100_000), valve.TooLarge},
		"one text of almost 8 MB": {y("  '*': {publish: \"" + strings.Repeat("x", 7_900_000) + "\"}\n"), valve.TooLarge},
		"200,000 paths":           {y("  '*': {}\n" + manyPaths(200_000)), valve.TooLarge},
		"100,000 documents":       {strings.Repeat("---\n", 100_000), valve.UnparsableText},
		"20,000 lists in lists":   {strings.Repeat("- ", 20_000) + "x", valve.UnparsableText},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := valve.ParseYAML([]byte(tt.text), valve.Sharing)
			e, ok := errors.AsType[*valve.LoadError](err)
			require.True(t, ok, err)
			require.Equal(t, tt.want, e.Code)
			require.Less(t, len(err.Error()), 300)
			require.Less(t, time.Since(began), 20*time.Second, "the machine of the test may be slow")
		})
	}
}

func manyPaths(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("  p" + strings.Repeat("x", i%7) + strconv.Itoa(i) + ": {}\n")
	}
	return b.String()
}

// TestNoNumberOfYAMLBecomesARule: what is a number for deepstream is none of its rules, however large it is. Taken for a
// text, each of these would be true.
func TestNoNumberOfYAMLBecomesARule(t *testing.T) {
	for _, n := range []string{"1", "1e999", "-1e999", ".5e999", "1_000.5e400", "+12", "0x" + strings.Repeat("f", 40), "0o" + strings.Repeat("7", 40),
		"0b" + strings.Repeat("1", 99), "0" + strings.Repeat("7", 40), strings.Repeat("9", 400), ".inf", "-.Inf", ".NaN"} {
		_, err := valve.ParseYAML([]byte(y("  '*': {publish: "+n+"}\n")), valve.Sharing)
		e, ok := errors.AsType[*valve.LoadError](err)
		require.True(t, ok, "%s: %v", n, err)
		require.Equal(t, valve.RuleNotText, e.Code)
		_, err = valve.ParseYAML([]byte(y("  '*': {}\n  "+n+": {publish: true}\n")), valve.Sharing)
		if n == "1" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "the key", n)
	}
}

// TestASectionMayBeMissingIfThatIsAskedFor: as in the example of deepstream's own documentation, which deepstream refuses.
func TestASectionMayBeMissingIfThatIsAskedFor(t *testing.T) {
	sections := []struct {
		name   valve.Section
		rule   valve.RuleType
		action valve.Action
	}{
		{valve.Record, valve.Read, valve.ActionRead}, {valve.Event, valve.Publish, valve.ActionEmit},
		{valve.RPC, valve.Request, valve.ActionRequest}, {valve.Presence, valve.Allow, valve.ActionQuery},
	}
	for _, missing := range sections {
		var b strings.Builder
		for _, s := range sections {
			if s != missing {
				fmt.Fprintf(&b, "%s: {'*': {%s: true}}\n", s.name, s.rule)
			}
		}
		_, err := valve.ParseYAML([]byte(b.String()), valve.Sharing)
		e, ok := errors.AsType[*valve.LoadError](err)
		require.True(t, ok, err)
		require.Equal(t, valve.MissingSection, e.Code)
		require.Equal(t, missing.name, e.Section)

		p, err := valve.ParseYAML([]byte(b.String()), valve.Sharing, valve.OptionalSections())
		require.NoError(t, err)
		for _, s := range sections {
			res, err := p.Evaluate(t.Context(), &valve.Query{User: "u", Section: s.name, Action: s.action, Name: "x"})
			require.NoError(t, err)
			require.Equal(t, s != missing, res.Allowed, s)
		}
	}
	for _, text := range []string{y("  {}\n"), y("  x: {}\n"), otherSections + "event:\n", otherSections + "event: true\n", "", "[a]"} {
		_, err := valve.ParseYAML([]byte(text), valve.Sharing, valve.OptionalSections())
		require.ErrorAs(t, err, new(*valve.LoadError), "what is there must be whole: %s", text)
	}
}

// TestLintReportsWhatChangesNothing: what is accepted as deepstream accepts it, and is most likely not meant.
func TestLintReportsWhatChangesNothing(t *testing.T) {
	p, err := valve.ParseYAML([]byte(y(`  '*': {publish: "true"}
  secret: false
  nothing:
  none: {}
  "trailing ": {publish: yes}
  "nul\0": {publish: True, subscribe: "user.id === '${HOME}'"}
`)), valve.Sharing)
	require.NoError(t, err)
	require.Equal(t, []string{
		`line 6: section event: path "secret": it has no rules, and changes nothing: other paths decide`,
		`line 7: section event: path "nothing": it has no rules, and changes nothing: other paths decide`,
		`line 8: section event: path "none": it has no rules, and changes nothing: other paths decide`,
		`line 9: section event: path "trailing ": blanks at its ends and characters that cannot be seen belong to the path: "trailing "`,
		`line 10: section event: path "nul\x00": blanks at its ends and characters that cannot be seen belong to the path: "nul\x00"`,
		`line 9: section event: path "trailing ": rule publish: yes is neither true nor false in JavaScript, but a name that does not exist: it throws`,
		`line 10: section event: path "nul\x00": rule subscribe: deepstream puts an environment variable in place of ${HOME}: here it stays as it is`,
	}, lines(p.Lint()))

	p, err = valve.ParseJSON([]byte(j(`{"*": {"publish": true}}, "event": {"*": {}, "x": {}, "x": {"publish": false, "publish": true}}`)), valve.Sharing)
	require.NoError(t, err)
	require.Equal(t, []string{
		"line 1: section event: the section is given twice: the last one counts",
		`line 1: section event: path "x": the path is given twice: the last one counts, in the place of the first`,
		`line 1: section event: path "x": rule publish: the rule is given twice: the last one counts`,
	}, lines(p.Lint()))
	may := func(name string) bool {
		res, err := p.Evaluate(t.Context(), &valve.Query{User: "u", Section: valve.Event, Action: valve.ActionEmit, Name: name})
		require.NoError(t, err)
		return res.Allowed
	}
	require.True(t, may("x"))
	require.False(t, may("y"))
}

func lines(warnings []valve.Warning) (list []string) {
	for _, w := range warnings {
		list = append(list, w.String())
	}
	return list
}

func TestUnusualEndsOfLinesInYAMLAreRefused(t *testing.T) {
	const file = "record: {'*': {}}\nrpc: {'*': {}}\npresence: {'*': {}}\nevent:\n  '*':\n    publish: true%s # not a comment in YAML 1.2\n"
	_, err := valve.ParseYAML(fmt.Appendf(nil, file, ""))
	require.NoError(t, err)
	for _, end := range []string{"\u0085", "\u2028", "\u2029"} {
		_, err := valve.ParseYAML(fmt.Appendf(nil, file, end))
		e, ok := errors.AsType[*valve.LoadError](err)
		require.True(t, ok, "%q: %v", end, err)
		require.Equal(t, valve.UnparsableText, e.Code)
		require.Equal(t, 6, e.Line)
	}
}
