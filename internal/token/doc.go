// Package token is the one door through which signed tokens (JWT, RFC 7519, in
// the compact serialization of RFC 7515) come in, and the one place that signs
// them.
//
// A [Door] checks in a fixed order and stops at the first failure: length,
// alphabet and parts, header, signature, claims, times and parties. Nothing is
// read from the claims before the signature has been verified, and no claim is
// returned beside an error. The parser of golang-jwt is not used, because it
// decodes the claims first, keeps the last of two equal names and ignores most
// header parameters; that module only signs.
//
// The algorithm belongs to the [Key] and never to the token: a header whose
// "alg" differs from that of its key is refused, as is "none". Keys and key
// sets are checked when they are made, so that a weak or mismatched key is an
// error of configuration and not a hole.
//
// One token has one spelling for every algorithm but ES256, ES384 and ES512,
// where whoever holds a token can turn its signature (r, s) into (r, n-s).
// Identify tokens by their claims and not by their text.
package token
