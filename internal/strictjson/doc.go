// Package strictjson reads JSON (RFC 8259) that an attacker may have written
// and that decides about access: token headers, claims sets, request bodies.
//
// encoding/json is too forgiving for that. It keeps the last of two members
// with the same name, matches struct fields without regard to case (including
// U+017F and U+212A), replaces invalid UTF-8 and lone surrogates by U+FFFD and
// lets a number silently lose precision, so that two readers of one text can
// see two different meanings. This package refuses such texts:
//
//   - Every member name is unique within its object, at every depth, compared
//     after unescaping.
//   - The text is valid UTF-8 without a byte order mark, and escapes form no
//     lone surrogate.
//   - A number lies within the range of float64 and does not vanish to zero;
//     one written without fraction and exponent also fits int64 or uint64, so
//     that it can be read exactly.
//   - Nothing but white space surrounds the one value.
//   - Nesting and the number of items per object or array are bounded.
//
// Names are compared byte for byte and never folded.
//
// Reading takes time n log n in the length of the text at most, and memory
// only for the names of open objects. All functions may be called
// concurrently; they keep no state.
package strictjson
