package token

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/chansec/chansec/internal/strictjson"
)

// parts is a token taken apart. Its buffers are used again for other tokens,
// so nothing may refer to them once the token has been dealt with.
type parts struct {
	header    []byte // decoded, as are the next two
	payload   []byte
	signature []byte
	signed    []byte // the first two parts with the dot between them

	encoded []byte              // copy of text
	decoded []byte              // holds header, payload and signature
	sum     []byte              // for macPool and digest
	der     []byte              // for derSignature
	members []strictjson.Member // for parseHeader
}

func newParts() *parts { return &parts{members: make([]strictjson.Member, 32)} }

// split takes a compact token (RFC 7515 section 7.1) apart and decodes its
// three parts. It reports whether there are exactly three, all of strict
// base64url. Only the payload may be empty: RFC 7515 allows for that, though no
// claims set is.
func (p *parts) split(text string) bool {
	header, rest, _ := strings.Cut(text, ".")
	payload, signature, _ := strings.Cut(rest, ".") // a third dot is no base64url
	if header == "" || signature == "" {
		return false
	}
	p.encoded = append(p.encoded[:0], text...)
	p.signed = p.encoded[:len(header)+1+len(payload)]

	var ok bool
	if p.decoded, ok = appendDecoded(p.decoded[:0], header); !ok {
		return false
	}
	headerEnd := len(p.decoded)
	if p.decoded, ok = appendDecoded(p.decoded, payload); !ok {
		return false
	}
	payloadEnd := len(p.decoded)
	if p.decoded, ok = appendDecoded(p.decoded, signature); !ok {
		return false
	}
	p.header = p.decoded[:headerEnd]
	p.payload = p.decoded[headerEnd:payloadEnd]
	p.signature = p.decoded[payloadEnd:]
	return true
}

// digest returns the hash of what is signed.
func (p *parts) digest(hash crypto.Hash) []byte {
	switch hash {
	case crypto.SHA256:
		sum := sha256.Sum256(p.signed)
		p.sum = append(p.sum[:0], sum[:]...)
	case crypto.SHA384:
		sum := sha512.Sum384(p.signed)
		p.sum = append(p.sum[:0], sum[:]...)
	default:
		sum := sha512.Sum512(p.signed)
		p.sum = append(p.sum[:0], sum[:]...)
	}
	return p.sum
}

// derSignature returns the signature of ECDSA, two numbers r and s of so many
// bytes each (RFC 7518 section 3.4), in the form that crypto/ecdsa takes: a
// SEQUENCE of two INTEGERs. Whether they are in range is for its verifier.
func (p *parts) derSignature(size int) (der []byte, ok bool) {
	if len(p.signature) != 2*size {
		return nil, false
	}
	der = appendDERInteger(append(p.der[:0], 0, 0x81, 0), p.signature[:size])
	der = appendDERInteger(der, p.signature[size:])
	p.der = der
	n := len(der) - 3
	der[2] = byte(n)
	if n < 0x80 {
		der = der[1:] // a short length is one byte
	}
	der[0] = 0x30
	return der, true
}

func appendDERInteger(der, number []byte) []byte {
	number = bytes.TrimLeft(number, "\x00")
	if len(number) == 0 || number[0] >= 0x80 {
		return append(append(der, 2, byte(len(number)+1), 0), number...)
	}
	return append(append(der, 2, byte(len(number))), number...)
}

// quartets tells what each of four characters of base64url adds to the three
// bytes that they stand for together, which are the upper ones of a uint32. A
// character that is none adds the lowest bit.
var quartets = func() (table [4][256]uint32) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for at := range table {
		for c := range table[at] {
			table[at][c] = 1
		}
		for sextet := range len(alphabet) {
			table[at][alphabet[sextet]] = uint32(sextet) << (26 - 6*at)
		}
	}
	return table
}()

// appendDecoded decodes base64url without padding, white space or unused bits
// that are not zero, so that the text has no other spelling. Even the strict
// decoder of the standard library skips CR and LF, and it takes nearly twice the
// instructions.
func appendDecoded(dst []byte, text string) ([]byte, bool) {
	dst = slices.Grow(dst, len(text)+4)
	n := len(dst)
	out := dst[:cap(dst)]
	wrong := uint32(0)
	for len(text) >= 4 {
		three := quartets[0][text[0]] | quartets[1][text[1]] | quartets[2][text[2]] | quartets[3][text[3]]
		wrong |= three
		binary.BigEndian.PutUint32(out[n:n+4], three) // the fourth byte does not count
		text = text[4:]
		n += 3
	}
	wrong &= 1
	switch len(text) {
	case 1:
		wrong = 1
	case 2:
		one := quartets[0][text[0]] | quartets[1][text[1]]
		wrong |= one << 8
		out[n] = byte(one >> 24)
		n++
	case 3:
		two := quartets[0][text[0]] | quartets[1][text[1]] | quartets[2][text[2]]
		wrong |= two << 16
		out[n], out[n+1] = byte(two>>24), byte(two>>16)
		n += 2
	}
	return out[:n], wrong == 0
}
