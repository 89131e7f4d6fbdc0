package valve

import (
	"regexp"
	"slices"
	"unicode/utf16"
)

// functions is what a rule may call.
var functions = []string{"_", "startsWith", "endsWith", "includes", "indexOf", "match", "toUpperCase", "toLowerCase", "trim"}

const wantFunctions = "_, startsWith, endsWith, includes, indexOf, match, toUpperCase, toLowerCase or trim"

// The checks of a rule's text look at its characters, in strings and comments as well.
var (
	newKeyword   = regexp.MustCompile(`(?:^|[^\w$])(new)[^\w$]`)
	userFunction = regexp.MustCompile(`(=>)|[^\w$](function)[^\w$]`)
	calls        = regexp.MustCompile("(\\w+(?:['\"`]\\])?)[\\t\\n\\v\\f\\r \\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}\\x{FEFF}]*\\(")
	usesData     = regexp.MustCompile(`(?:^|[^\w.~])(data)(?:$|[^\w~])`)
	usesOldData  = regexp.MustCompile(`(?:^|[^\w~])(oldData)[^\w~]`)
	usesBigInt   = regexp.MustCompile(`(?:^|[^\w$])[0-9]\w*n`)
)

// rule is a rule of a permission file.
type rule struct {
	section Section
	path    *path
	kind    RuleType
	line    int
	twice   bool   // it was given before
	label   string // section, path and type

	constant bool // the rule is true or false and nothing else
	yes      bool
	text     string
	data     bool // the text uses data
	oldData  bool // the text uses oldData

	code *code
}

// read takes a rule from the file, and checks its text.
func (r *rule) read(v *value) *LoadError {
	switch v.shape {
	case boolean:
		r.constant, r.yes = true, v.yes
		return nil
	case text:
	default:
		return &LoadError{Code: RuleNotText, Problem: "the rule is neither a text nor true or false", Want: "true, false or a text with an expression"}
	}
	r.text = v.text
	column := func(at int) int { return 1 + len(utf16.Encode([]rune(r.text[:at]))) }
	if r.text == "" {
		return &LoadError{Code: RuleEmpty, Problem: "the rule is empty", Want: "true, false or an expression"}
	}
	if len(r.text) > maxRuleBytes {
		return &LoadError{Code: TooLarge, Problem: "the rule is too long", Want: "at most 8192 bytes"}
	}
	if at := newKeyword.FindStringSubmatchIndex(r.text); at != nil {
		return &LoadError{Code: NewKeyword, Column: column(at[2]), Problem: "the word new", Want: "an expression that makes no objects with it"}
	}
	if at := userFunction.FindStringSubmatchIndex(r.text); at != nil {
		return &LoadError{Code: UserFunction, Column: column(max(at[2], at[4])), Problem: "a function in a rule", Want: "calls of " + wantFunctions}
	}
	for _, at := range calls.FindAllStringSubmatchIndex(r.text, -1) {
		if called := r.text[at[2]:at[3]]; !slices.Contains(functions, called) {
			return &LoadError{Code: UnsupportedFunction, Column: column(at[2]), Problem: "a call of " + quote(called), Want: wantFunctions}
		}
	}
	if e := r.parses(); e != nil {
		return e
	}
	old, now := usesOldData.FindStringSubmatchIndex(r.text), usesData.FindStringSubmatchIndex(r.text)
	r.oldData, r.data = old != nil, now != nil
	if r.oldData && r.kind != Read && r.kind != Write && r.kind != Delete {
		return &LoadError{Code: NoOldData, Column: column(old[2]), Problem: "this rule type has no oldData", Want: "it in read, write and delete only"}
	}
	if r.data && r.kind != Write && r.kind != Publish && r.kind != Subscribe && r.kind != Request {
		return &LoadError{Code: NoData, Column: column(now[2]), Problem: "this rule type has no data", Want: "it in write, publish, subscribe and request only"}
	}
	return nil
}
