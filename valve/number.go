package valve

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/dop251/goja"
)

var (
	decimal = regexp.MustCompile(`^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
	radixes = regexp.MustCompile(`^0([xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)$`)
)

// toNumber is the number that JavaScript makes of a text (ECMA-262, StringToNumber), but NaN for one of more than 53 bits with a
// prefix.
func toNumber(text string) float64 {
	text = strings.Trim(text, jsSpace)
	switch {
	case text == "":
		return 0
	case text == "Infinity", text == "+Infinity":
		return math.Inf(1)
	case text == "-Infinity":
		return math.Inf(-1)
	case decimal.MatchString(text):
		f, _ := strconv.ParseFloat(text, 64) // out of range: infinite
		return f
	case radixes.MatchString(text):
		base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[text[1]|0x20]
		n, err := strconv.ParseUint(text[2:], base, 53)
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	}
	return math.NaN()
}

// misread reports whether a value is a text of which goja makes another number than JavaScript does, such as "0x-5", or which is
// a number of more than 53 bits with a prefix. An object is, too, since it may become such a text.
func misread(v goja.Value) bool {
	if _, ok := v.(*goja.Object); ok {
		return true
	}
	s, ok := v.(goja.String)
	if !ok {
		return false
	}
	blank := func(c uint16) bool { return c == 0x85 || strings.ContainsRune(jsSpace, rune(c)) } // U+0085 is blank for Go only
	from, to := 0, s.Length()
	for from < to && blank(s.CharAt(from)) {
		from++
	}
	for from < to && blank(s.CharAt(to-1)) {
		to--
	}
	if from < to && !strings.ContainsRune("+-.0123456789IiNn", rune(s.CharAt(from))) {
		return false
	}
	for i := from; i < to; i++ {
		if s.CharAt(i) >= 0x80 {
			return false
		}
	}
	if from == 0 && to == s.Length() && plainDigits(s.String()) {
		return false
	}
	exact := toNumber(s.String())
	if exact != exact && radixes.MatchString(s.Substring(from, to).String()) {
		return true // it has too many digits
	}
	return differs(exact, s.ToNumber().ToFloat()) || differs(exact, s.ToFloat())
}

// plainDigits reports whether a text is a whole number that is small.
func plainDigits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return 0 < len(text) && len(text) < 16
}

func differs(a, b float64) bool {
	return a != b && (a == a || b == b) || a == 0 && math.Signbit(a) != math.Signbit(b)
}

// power is base ** exponent (ECMA-262, Number::exponentiate), and whether that is exact: where it is not, engines round it in
// their own ways.
func power(base, exponent float64) (p float64, exact bool) {
	switch {
	case base != base || exponent != exponent || exponent == 0 || base == 0 || math.IsInf(base, 0) || math.IsInf(exponent, 0):
		if (base == 1 || base == -1) && (math.IsInf(exponent, 0) || exponent != exponent) { // in C that is 1
			return math.NaN(), true
		}
		return math.Pow(base, exponent), true
	case base == 1, exponent == 1:
		return base, true
	case exponent != math.Trunc(exponent):
		return math.NaN(), base < 0
	}
	odd, twos := math.Frexp(base) // base = odd * 2**twos
	for odd != math.Trunc(odd) {
		odd, twos = 2*odd, twos-1
	}
	p = 1
	switch {
	case odd == 1:
	case odd == -1:
		if math.Mod(exponent, 2) != 0 {
			p = -1
		}
	case exponent < 0 || exponent > 53:
		return 0, false
	default:
		for range int(exponent) {
			if p *= odd; math.Abs(p) > 1<<53 {
				return 0, false
			}
		}
	}
	shift := float64(twos) * exponent
	if shift < -1000 || shift > 900 {
		return 0, false
	}
	return math.Ldexp(p, int(shift)), true
}
