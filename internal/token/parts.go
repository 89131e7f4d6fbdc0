package token

import (
	"encoding/base64"
	"strings"

	"github.com/chansec/chansec/internal/strictjson"
)

// parts is a token taken apart. Its buffers are used again for other tokens,
// so nothing may refer to them once the token has been dealt with.
type parts struct {
	text      string
	signedLen int    // length of the first two parts with the dot between them
	header    []byte // decoded, as are the next two
	payload   []byte
	signature []byte

	base64  *base64.Encoding    // strict base64url without padding
	encoded []byte              // copy of text
	decoded []byte              // holds header, payload and signature
	sum     []byte              // for macPool
	members []strictjson.Member // for parseHeader
}

func newParts() *parts {
	return &parts{
		base64:  base64.RawURLEncoding.Strict(),
		members: make([]strictjson.Member, 32),
	}
}

// split takes a compact token (RFC 7515 section 7.1) apart and decodes its
// three parts. It reports whether there are exactly three, of base64url without
// padding, white space or unused bits that are not zero, so that the token has
// no other spelling. Only the payload may be empty: RFC 7515 allows for that,
// though no claims set is.
func (p *parts) split(text string) bool {
	first := strings.IndexByte(text, '.')
	last := strings.LastIndexByte(text, '.')
	if first < 1 || last == first || last == len(text)-1 {
		return false
	}
	// Even the strict decoder skips CR and LF. It refuses any other character
	// outside of the alphabet, as is a third dot.
	if strings.IndexByte(text, '\r') >= 0 || strings.IndexByte(text, '\n') >= 0 {
		return false
	}
	p.text, p.signedLen = text, last
	p.encoded = append(p.encoded[:0], text...)

	var err error
	if p.decoded, err = p.base64.AppendDecode(p.decoded[:0], p.encoded[:first]); err != nil {
		return false
	}
	headerEnd := len(p.decoded)
	if p.decoded, err = p.base64.AppendDecode(p.decoded, p.encoded[first+1:last]); err != nil {
		return false
	}
	payloadEnd := len(p.decoded)
	if p.decoded, err = p.base64.AppendDecode(p.decoded, p.encoded[last+1:]); err != nil {
		return false
	}
	p.header = p.decoded[:headerEnd]
	p.payload = p.decoded[headerEnd:payloadEnd]
	p.signature = p.decoded[payloadEnd:]
	return true
}
